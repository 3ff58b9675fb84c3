/* SPDX-License-Identifier: BSD-2-Clause */
/* `ssld views` as its users meet it: the pixels on the sheet are those that teacher and student see, the answers are the
 * store's, and what does not belong together is refused. */
#include "run.h"

#include <math.h>

#include "canvas.h"
#include "program.h"

#define MOST_FLOATS (3 * 4000 * 1500)
#define CELL 120          /* the least width of a column */
#define SHEET "views " DATA

/* A PNG as the library decodes it: libpng behind it checks what the program has packed. */
struct picture {
    int32_t height, width;
    float  *pixels; /* (3, height, width), x / 255 */
};

static struct picture read_picture(const char *name)
{
    static uint8_t bytes[1 << 24];
    struct picture picture;
    ssld_view_spec *spec = NULL;
    FILE *file = fopen(in_folder(name), "rb");
    CHECK(file, "no picture");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    CHECK(size > 33 && size < sizeof bytes, "%zu bytes", size);
    picture.width = bytes[16] << 24 | bytes[17] << 16 | bytes[18] << 8 | bytes[19];
    picture.height = bytes[20] << 24 | bytes[21] << 16 | bytes[22] << 8 | bytes[23];
    size_t floats = 3 * (size_t)picture.height * (size_t)picture.width;
    picture.pixels = malloc(floats * sizeof(float));
    CHECK(picture.pixels && floats < MOST_FLOATS, "%d x %d", picture.height, picture.width);
    CHECK_OK(context, ssld_view_spec_parse(context, "normalize(0, 1)", &spec));
    CHECK_OK(context, ssld_view_render(spec, bytes, size, 0, 0, 0, picture.pixels, floats));
    ssld_view_spec_destroy(spec);
    return picture;
}

static const float *pixel_at(const struct picture *picture, int32_t channel, int32_t y, int32_t x)
{
    return picture->pixels + ((size_t)channel * (size_t)picture->height + (size_t)y) * (size_t)picture->width + x;
}

/* Are these SIDE x SIDE grey pixels on the picture, each as scale x scale, with the top left there? */
static bool shows(const struct picture *picture, const float *view, int32_t scale, int32_t top, int32_t left)
{
    for (int32_t y = 0; y < SIDE * scale; y++)
        for (int32_t x = 0; x < SIDE * scale; x++)
            for (int32_t c = 0; c < 3; c++)
                if (*pixel_at(picture, c, top + y, left + x) != view[y / scale * SIDE + x / scale])
                    return false;
    return true;
}

/* How often they are on it. */
static int count_views(const struct picture *picture, const float *view, int32_t scale)
{
    int count = 0;
    for (int32_t top = 0; top + SIDE * scale <= picture->height; top++)
        for (int32_t left = 0; left + SIDE * scale <= picture->width; left++)
            count += shows(picture, view, scale, top, left);
    return count;
}

/* A view of the images that write_images() made, without normalisation. */
static void render(const char *text, uint64_t seed, uint64_t sample, uint32_t view, float *dst)
{
    uint8_t pixels[SIDE * SIDE];
    ssld_view_spec *spec = NULL;
    FILE *file = fopen(in_folder("images"), "rb");
    CHECK(file && !fseek(file, 16 + (long)sample * SIDE * SIDE, SEEK_SET) && fread(pixels, sizeof pixels, 1, file) == 1,
          "the images cannot be read");
    fclose(file);
    CHECK_OK(context, ssld_view_spec_parse(context, text, &spec));
    CHECK_OK(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 1, SIDE, SIDE }, seed, sample, view, dst,
                                              SIDE * SIDE));
    ssld_view_spec_destroy(spec);
}

/* -- Pixels ------------------------------------------------------------------------------------------------------- */

TEST(sheet_shows_the_pixels_that_teacher_and_student_see)
{
    static const struct {
        const char *arguments;
        uint64_t    seed, samples[3];
        uint32_t    views[3];
        int         rows, columns, scale;
    } sheets[] = {
        { VIEWS "--samples 3,198-199 --view-count 2 --scale 1", 0, { 3, 198, 199 }, { 0, 1 }, 3, 2, 1 },
        { VIEWS "--samples 7 --view-numbers 4000000000,2 --seed 18446744073709551615 --scale 3", UINT64_MAX, { 7 },
          { 4000000000u, 2 }, 1, 2, 3 },
        { VIEWS "--count 2 --view-numbers 5-7", 0, { 0, 100 }, { 5, 6, 7 }, 2, 3, 7 },
    };
    set_up();
    for (size_t s = 0; s < sizeof sheets / sizeof *sheets; s++) {
        float view[SIDE * SIDE];
        CHECK_RUN(0, SHEET "%s --out @/sheet.png", sheets[s].arguments);
        CHECK_SAYS(output, "sheet.png: ");
        struct picture picture = read_picture("sheet.png");
        for (int r = 0; r < sheets[s].rows; r++)
            for (int c = 0; c < sheets[s].columns; c++) {
                render("pad_crop(28,2) flip(0.5)", sheets[s].seed, sheets[s].samples[r], sheets[s].views[c], view);
                CHECK(count_views(&picture, view, sheets[s].scale) >= 1, "sheet %zu: view %u of sample %d is not on it", s,
                      sheets[s].views[c], (int)sheets[s].samples[r]);
            }
        free(picture.pixels);
    }
}

TEST(sheet_of_colours_has_its_channels_in_order)
{
    set_up();
    FILE *file = fopen(in_folder("classes.txt"), "w");
    CHECK(file && fputs("0 lies\n1 stands\n2 \xc3\xbc""ber & more than fits into a column of so few letters\n3 both\n", file) >= 0 &&
          !fclose(file), "no names");
    CHECK_RUN(0, SHEET VIEWS "--count 3 --names @/classes.txt --out @/grey.png");
    file = fopen(in_folder("list.txt"), "w");
    CHECK(file && fputs("grey.png\n", file) >= 0 && !fclose(file), "no list");
    /* A crop of the margin, which is white, with a standard deviation and a mean for each channel. */
    CHECK_RUN(0, "views --data list:@/list.txt --views \"center_crop(400x8) normalize(0.4/0.5/0.6, 0.2/0.3/0.4)\" "
                 "--view-count 1 --scale 1 --out @/colour.png");
    struct picture grey = read_picture("grey.png"), colour = read_picture("colour.png");
    int32_t top = (int32_t)rint((grey.height - 400) / 2.0), left = (int32_t)rint((grey.width - 8) / 2.0);
    bool found = false;
    for (int32_t at = 0; at + 400 <= colour.height && !found; at++) {
        found = true;
        for (int32_t i = 0; found && i < 400 * 8; i++)
            for (int32_t c = 0; c < 3; c++)
                found &= *pixel_at(&grey, c, top + i / 8, left + i % 8) == *pixel_at(&colour, c, at + i / 8, 16 + i % 8);
    }
    CHECK(found, "the crop is not on the sheet");
    free(grey.pixels);
    free(colour.pixels);
}

/* -- Answers ------------------------------------------------------------------------------------------------------ */

/* The longest run of a colour in a row of the picture, from the left edge of a column on. */
static int32_t bar_length(const struct picture *picture, int32_t y, int32_t left, const int colour[3])
{
    int32_t x = left;
    while (x < picture->width) {
        for (int32_t c = 0; c < 3; c++)
            if ((int)lrintf(255 * *pixel_at(picture, c, y, x)) != colour[c])
                return x - left;
        x++;
    }
    return x - left;
}

/* Bars of these lengths below each other, 16 rows apart? */
static bool has_bars(const struct picture *picture, const float *probabilities, const int *order, int count, int label)
{
    static const int blue[3] = { 214, 228, 244 }, green[3] = { 205, 236, 214 };
    for (int32_t y = 0; y + 16 * count < picture->height; y++) {
        bool good = true;
        for (int i = 0; good && i < count; i++)
            good = bar_length(picture, y + 16 * i, 16, order[i] == label ? green : blue) ==
                   (int32_t)lrint((double)probabilities[order[i]] * CELL);
        if (good)
            return true;
    }
    return false;
}

TEST(answers_under_a_view_are_those_of_the_store)
{
    ssld_store *store = NULL;
    ssld_labels *labels = NULL;
    set_up();
    CHECK_RUN(0, LABEL "--view-count 3 --seed 9 --labels @/shown.ssld");
    CHECK_OK(context, ssld_store_open(context, in_folder("shown.ssld"), NULL, &store));
    CHECK_OK(context, ssld_labels_create(context, 1, CLASSES, &labels));
    for (uint64_t sample = 40; sample < 44; sample++) {
        uint32_t view = 2;
        float plain[SIDE * SIDE];
        int order[CLASSES] = { 0, 1, 2, 3 };
        CHECK_OK(context, ssld_store_read_views(store, 1, &sample, &view, labels));
        const float *p = ssld_labels_probabilities(labels);
        for (int i = 1; i < CLASSES; i++)
            for (int k = i; k > 0 && p[order[k]] > p[order[k - 1]]; k--) {
                int swapped = order[k];
                order[k] = order[k - 1];
                order[k - 1] = swapped;
            }
        CHECK_RUN(0, SHEET "--labels @/shown.ssld --samples %d --view-numbers 2 --scale 1 --top 2 --out @/answers.png",
                  (int)sample);
        struct picture picture = read_picture("answers.png");
        CHECK(has_bars(&picture, p, order, 2, (int)sample % CLASSES), "sample %d: bars of %g and %g are not on it", (int)sample,
              p[order[0]], p[order[1]]);
        render("pad_crop(28,2) flip(0.5)", 9, sample, view, plain);
        CHECK(count_views(&picture, plain, 1) == 1, "the view is not drawn with the store's seed");
        free(picture.pixels);
    }
    ssld_labels_destroy(labels);
    ssld_store_close(store);
}

TEST(views_that_are_not_labelled_yet_are_shown_without_answers)
{
    set_up();
    CHECK_RUN(0, LABEL "--shard 1/2 --batch 50 --labels @/half.ssld");
    CHECK_RUN(0, SHEET "--labels @/half.ssld --samples 0,199 --out @/half.png");
    CHECK_SAYS(output, "2 samples with 1 views each");
    CHECK_RUN(0, SHEET "--labels @/half.ssld --samples 0,199 --top 0 --out @/none.png");
    CHECK_RUN(0, SHEET "--labels @/half.ssld --samples 0,199 --top 10 --out @/all.png");
    struct picture three = read_picture("half.png"), none = read_picture("none.png"), all = read_picture("all.png");
    CHECK(none.height < three.height && three.height < all.height, "%d, %d and %d rows", none.height, three.height, all.height);
    CHECK(all.height - three.height == 2 * 16, "4 classes, so one answer more for each"); /* of 16 rows */
    free(three.pixels);
    free(none.pixels);
    free(all.pixels);
}

/* -- Mixed views -------------------------------------------------------------------------------------------------- */

int program_complain(const char *format, ...) /* what canvas.c, which is the program's, has of it */
{
    (void)format;
    return 1;
}

/* How often a text in the sheet's black stands on white. */
static int count_texts(const struct picture *picture, const char *text)
{
    struct canvas canvas;
    int count = 0;
    CHECK(canvas_make((int32_t)strlen(text) * GLYPH_WIDTH, GLYPH_HEIGHT, &canvas), "no canvas");
    canvas_text(&canvas, 0, 0, canvas.width, (struct colour){ 24, 24, 27 }, text);
    for (int32_t top = 0; top + canvas.height <= picture->height; top++)
        for (int32_t left = 0; left + canvas.width <= picture->width; left++) {
            bool same = true;
            for (int32_t i = 0; same && i < canvas.width * canvas.height; i++)
                for (int32_t c = 0; c < 3; c++)
                    same &= canvas.pixels[3 * i + c] ==
                            lrintf(255 * *pixel_at(picture, c, top + i / canvas.width, left + i % canvas.width));
            count += same;
        }
    canvas_free(&canvas);
    return count;
}

TEST(mixed_views_show_the_mixture_and_name_the_partner)
{
    static const char spec[] = "pad_crop(28,2) flip(0.5) mixup_or_cutmix(0.8, 1, p=0.8)", plain[] = "pad_crop(28,2) flip(0.5)";
    const int32_t shape[3] = { 1, SIDE, SIDE };
    ssld_view_spec *parsed = NULL;
    int kinds[3] = { 0 };
    set_up();
    CHECK_OK(context, ssld_view_spec_parse(context, spec, &parsed));
    for (uint64_t sample = 180; sample < 190; sample++) {
        ssld_view_mix mix = { .struct_size = sizeof mix };
        float own[SIDE * SIDE], other[SIDE * SIDE];
        char text[64] = "";
        CHECK_RUN(0, SHEET "--views \"%s\" --seed 6 --samples %d --view-numbers 3 --scale 1 --out @/mixed.png", spec, (int)sample);
        struct picture picture = read_picture("mixed.png");
        CHECK_OK(context, ssld_view_partner(parsed, 6, sample, 3, IMAGES, shape, &mix));
        render(plain, 6, sample, 3, own);
        if (mix.kind != SSLD_MIX_NONE) {
            render(plain, 6, mix.partner, 3, other);
            ssld_view_mix_pixels(&mix, shape, other, own);
        }
        for (int i = 0; i < SIDE * SIDE; i++)
            own[i] = rintf(255 * own[i]) / 255;
        CHECK(count_views(&picture, own, 1) == 1, "the mixture of sample %d is not on the sheet", (int)sample);
        if (mix.kind == SSLD_MIX_BOX)
            snprintf(text, sizeof text, "+box sample %d", (int)mix.partner);
        else if (mix.kind == SSLD_MIX_BLEND)
            snprintf(text, sizeof text, "+%.0f%% sample %d", 100 * (1 - mix.share), (int)mix.partner);
        if (*text)
            CHECK(count_texts(&picture, text) == 1, "'%s' is not below sample %d", text, (int)sample);
        CHECK((count_texts(&picture, "+") > 0) == (*text != 0), "sample %d: '%s'", (int)sample, text);
        kinds[mix.kind]++;
        free(picture.pixels);
    }
    CHECK(kinds[SSLD_MIX_NONE] && kinds[SSLD_MIX_BLEND] && kinds[SSLD_MIX_BOX], "%d, %d, %d views of a kind", kinds[0], kinds[1],
          kinds[2]);
    ssld_view_spec_destroy(parsed);
}

/* -- What is refused ---------------------------------------------------------------------------------------------- */

TEST(store_of_other_views_seed_or_images_is_refused)
{
    set_up();
    CHECK_RUN(0, LABEL "--limit 80 --view-count 2 --seed 4 --labels @/bound.ssld");
    static const struct {
        const char *arguments, *text;
    } cases[] = {
        { "--views \"flip(0.5) normalize(0.286,0.353)\"", "view spec" },
        { "--seed 5", "seed" },
        { "--samples 80", "no sample 80; they are 0 to 79" },
        { "--view-numbers 2", "no view 2; they are 0 to 1" },
        { "--view-count 3", "has 2 views of each image" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = run(SHEET "--labels @/bound.ssld --out @/refused.png %s", cases[i].arguments);
        CHECK(code == 1 || code == 2, "%s: exit code %d", cases[i].arguments, code);
        CHECK_SAYS(errors, cases[i].text);
    }
    CHECK_RUN(0, SHEET VIEWS "--labels @/bound.ssld --seed 4 --out @/bound.png");
    write_images("others", "other-classes");
    FILE *file = fopen(in_folder("others"), "r+b");
    CHECK(file && !fseek(file, 20, SEEK_SET) && fputc(77, file) == 77 && !fclose(file), "no other images");
    CHECK_RUN(1, "views --data idx:@/others,@/classes --labels @/bound.ssld --out @/refused.png");
    CHECK_SAYS(errors, "data set");
    CHECK(size_of(in_folder("refused.png")) < 0, "a picture was written");
}

TEST(wrong_usage_and_bad_files_are_named)
{
    static const struct {
        int         code;
        const char *arguments, *text;
    } cases[] = {
        { 2, "--out @/x.png", "--views is missing" },
        { 2, VIEWS, "--out is missing" },
        { 2, VIEWS "--out @/x.png --samples 1,,2", "'1,,2' is not numbers and ranges" },
        { 2, VIEWS "--out @/x.png --samples 3-1", "is not numbers and ranges" },
        { 2, VIEWS "--out @/x.png --samples -1", "is not numbers and ranges" },
        { 2, VIEWS "--out @/x.png --samples 1-", "is not numbers and ranges" },
        { 2, VIEWS "--out @/x.png --samples 99999999999999999999", "is not numbers and ranges" },
        { 2, VIEWS "--out @/x.png --samples 200", "there is no sample 200; they are 0 to 199" },
        { 2, VIEWS "--out @/x.png --view-numbers 0-4294967295", "more than 1000 do not fit" },
        { 2, VIEWS "--out @/x.png --view-numbers 4294967296", "there is no view 4294967296" },
        { 2, VIEWS "--out @/x.png --view-numbers 1 --view-count 1", "exclude each other" },
        { 2, VIEWS "--out @/x.png --seed 1x", "--seed: '1x' is not a whole number" },
        { 2, VIEWS "--out @/x.png --seed 18446744073709551616", "is not a whole number" },
        { 2, VIEWS "--out @/x.png --top 11", "is not in 0 to 10" },
        { 1, VIEWS "--out @/x.png --names @/nobody", "nobody: cannot be read: No such file" },
        { 1, VIEWS "--out @/x.png --names @", "cannot be read" },
        { 1, VIEWS "--out @/x.png --labels @/nobody", "nobody" },
        { 1, VIEWS "--out @/nowhere/x.png", "nowhere/x.png" },
        { 1, VIEWS "--out @/x.png --samples 0-199 --view-count 1000", "is too large for a picture; show fewer" },
        { 1, "--views \"flop(3)\" --out @/x.png", "unknown operation 'flop'" },
        { 1, "--views \"center_crop(99)\" --out @/x.png", "too small for a crop" },
    };
    set_up();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_RUN(cases[i].code, SHEET "%s", cases[i].arguments);
        CHECK_SAYS(errors, cases[i].text);
    }
    FILE *file = fopen(in_folder("broken.jpg"), "wb"), *list = fopen(in_folder("broken.txt"), "w");
    CHECK(file && list && fputs("\xff\xd8\xff no more", file) >= 0 && fputs("broken.jpg\n", list) >= 0 && !fclose(file) &&
          !fclose(list), "no broken file");
    CHECK_RUN(1, "views --data list:@/broken.txt --views rrc(16) --out @/x.png");
    CHECK_SAYS(errors, "broken.jpg: damaged or cut-off JPEG");
    CHECK(size_of(in_folder("x.png")) < 0, "a picture was written");
}

TEST(names_of_any_bytes_are_drawn_or_boxed)
{
    static const char text[] = "\x80\xff\xc3\n\0\r\n\xf0\x9f\x98\x80 \x7f\x01\n\n0 zero";
    set_up();
    FILE *file = fopen(in_folder("odd.txt"), "wb");
    CHECK(file && fwrite(text, sizeof text - 1, 1, file) == 1 && !fclose(file), "no names");
    CHECK_RUN(0, SHEET VIEWS "--names @/odd.txt --out @/odd.png");
    file = fopen(in_folder("empty.txt"), "wb");
    CHECK(file && !fclose(file), "no names");
    CHECK_RUN(0, SHEET VIEWS "--names @/empty.txt --out @/odd.png"); /* and the picture is replaced */
    free(read_picture("odd.png").pixels);
}

TEST_MAIN(TEST_ROW(sheet_shows_the_pixels_that_teacher_and_student_see), TEST_ROW(sheet_of_colours_has_its_channels_in_order),
          TEST_ROW(answers_under_a_view_are_those_of_the_store),
          TEST_ROW(views_that_are_not_labelled_yet_are_shown_without_answers),
          TEST_ROW(mixed_views_show_the_mixture_and_name_the_partner),
          TEST_ROW(store_of_other_views_seed_or_images_is_refused), TEST_ROW(wrong_usage_and_bad_files_are_named),
          TEST_ROW(names_of_any_bytes_are_drawn_or_boxed))
