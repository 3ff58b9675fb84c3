/* SPDX-License-Identifier: BSD-2-Clause */
/* View specs and rendering: what a text means, that a view is a pure function, that its draws have the right
 * statistics. */
#include "image/help.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>

#include "image/exact.h"
#include "image/number.h"
#include "image/operation.h"
#include "image/samples.h"

/* -- Numbers that must be the same everywhere --------------------------------------------------------------------- */

static double steps_apart(double a, double b)
{
    double step = nextafter(fabs(b), INFINITY) - fabs(b);
    return fabs(a - b) / step;
}

/* The C library's functions are within 1 unit in the last place, ours within 2: 3 apart at most. */
TEST(exact_exp_and_log_are_close_to_the_true_ones_and_pinned)
{
    uint64_t hash = 0;
    double worst_exp = 0, worst_log = 0;
    for (int i = -20000; i <= 20000; i++) {
        double x = i * 0.00025 + i * 1e-9, y = ssld_exact_exp(x), z = ssld_exact_log(y);
        worst_exp = fmax(worst_exp, steps_apart(y, exp(x)));
        if (z != 0)
            worst_log = fmax(worst_log, steps_apart(z, log(y)));
        uint64_t bits[3] = { hash, 0, 0 };
        memcpy(&bits[1], &y, 8);
        memcpy(&bits[2], &z, 8);
        hash = ssld_checksum(bits, sizeof bits);
    }
    CHECK(worst_exp <= 3 && worst_log <= 3, "exp is %.1f, log %.1f steps from the C library's", worst_exp, worst_log);
    CHECK(ssld_exact_exp(0) == 1 && ssld_exact_log(1) == 0, "exp(0) = %a, log(1) = %a", ssld_exact_exp(0),
          ssld_exact_log(1));
    const uint16_t one = 1;
    if (*(const uint8_t *)&one) /* the hash is of little-endian bytes */
        CHECK(hash == 0x47a09d79271eca7eu, "0x%016llx", (unsigned long long)hash);
}

TEST(numbers_are_written_shortest_and_read_back)
{
    static const struct {
        double      value;
        const char *text;
    } rows[] = { { 0, "0" },       { 1, "1" },
                 { 0.1, "0.1" },   { 4.0 / 3, "1.3333333333333333" },
                 { 20, "20" },     { 1e-5, "1e-05" },
                 { 0.08, "0.08" }, { 16384, "16384" },
                 { -0.5, "-0.5" }, { 0.1 + 0.2, "0.30000000000000004" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[32];
        double back = -1;
        size_t length = ssld_number_write(rows[i].value, text);
        CHECK(!strcmp(text, rows[i].text) && length == strlen(text), "%.17g is written %s", rows[i].value, text);
        CHECK(ssld_number_read(text, length, &back) && back == rows[i].value, "%s is read %.17g", text, back);
    }
    static const char *const wrong[] = { "", " 1", "1 ", "0x10", "inf", "nan", "1e999", "1,5", "--1", "1e", "." };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        double value = 7;
        CHECK(!ssld_number_read(wrong[i], strlen(wrong[i]), &value) && value == 7, "'%s' is read as %g", wrong[i],
              value);
    }
}

TEST(a_spec_means_the_same_in_a_locale_with_decimal_commas)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "fr_FR" };
    const char *set = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]);
    if (!set)
        SKIP("no locale with a decimal comma is installed");
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "flip(0.25)");
    bool same = !strcmp(ssld_view_spec_text(spec), "flip(p=0.25) normalize(mean=0, std=1)");
    double half = strtod("0,5", NULL); /* the host's locale still stands */
    setlocale(LC_NUMERIC, "C");
    CHECK(same && half == 0.5, "%s %g", ssld_view_spec_text(spec), half);
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* -- Texts -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *text, *canonical;
} texts[] = {
    { "rrc(224) flip(0.5) normalize(imagenet)",
      "rrc(size=224, scale=0.08..1, ratio=0.75..1.3333333333333333, draw=torchvision, filter=bilinear) flip(p=0.5) "
      "normalize(mean=0.485/0.456/0.406, std=0.229/0.224/0.225)" },
    { "\t rrc( 20x30 ,ratio = 0.5..2 )\n flip", "rrc(size=20x30, scale=0.08..1, ratio=0.5..2, draw=torchvision, "
                                                "filter=bilinear) flip(p=0.5) normalize(mean=0, std=1)" },
    { "rrc(28x28, 0.5..0.5)",
      "rrc(size=28, scale=0.5..0.5, ratio=0.75..1.3333333333333333, draw=torchvision, filter=bilinear) "
      "normalize(mean=0, std=1)" },
    { "exif rrc(224, draw=paddle, filter=cv_cubic)",
      "exif rrc(size=224, scale=0.08..1, ratio=0.75..1.3333333333333333, draw=paddle, filter=cv_cubic) "
      "normalize(mean=0, std=1)" },
    { "resize(256, filter=bicubic) center_crop(224, paddle)",
      "resize(size=256, rule=torchvision, filter=bicubic) center_crop(size=224, rule=paddle) normalize(mean=0, "
      "std=1)" },
    { "resize(256) center_crop(224)", "resize(size=256, rule=torchvision, filter=bilinear) center_crop(size=224, "
                                      "rule=torchvision) normalize(mean=0, std=1)" },
    { "resize(256x256)", "resize(size=256x256, rule=torchvision, filter=bilinear) normalize(mean=0, std=1)" },
    { "pad_crop(28, 2) normalize(0.286, 0.353)", "pad_crop(size=28, pad=2, fill=0) normalize(mean=0.286, std=0.353)" },
    { "pad_crop(pad=4, size=32) gray() rgb normalize(std=1, mean=-0/0/0)",
      "pad_crop(size=32, pad=4, fill=0) gray rgb normalize(mean=0/0/0, std=1)" },
    { "normalize(0.5/0.5/0.5,0.25)", "normalize(mean=0.5/0.5/0.5, std=0.25)" },
};

TEST(spec_has_one_canonical_text_that_reads_back)
{
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ssld_view_spec *spec = parse(context, texts[i].text);
        CHECK(!strcmp(ssld_view_spec_text(spec), texts[i].canonical), "'%s' is written '%s'", texts[i].text,
              ssld_view_spec_text(spec));
        ssld_view_spec *again = parse(context, ssld_view_spec_text(spec));
        CHECK(!strcmp(ssld_view_spec_text(again), texts[i].canonical), "'%s' is written '%s'", texts[i].canonical,
              ssld_view_spec_text(again));
        CHECK(spec->count == again->count && !memcmp(spec->operations, again->operations, sizeof spec->operations) &&
                  !memcmp(spec->levels, again->levels, sizeof spec->levels),
              "'%s' reads back as something else", texts[i].canonical);
        ssld_view_spec_destroy(spec);
        ssld_view_spec_destroy(again);
    }
    ssld_context_destroy(context);
}

TEST(impossible_specs_are_refused_with_the_word_and_what_was_expected)
{
    static const struct {
        const char *text, *said;
    } rows[] = {
        { "", "it is empty" },
        { " \n", "it is empty" },
        { "crop(224)", "unknown operation 'crop'; there are exif, rrc, resize, center_crop" },
        { "RRC(224)", "unknown operation 'RRC'" },
        { "rrc", "rrc: no size; expected rrc(size, scale=0.08..1, ratio=0.75..1.3333333333333333, draw=torchvision, "
                 "filter=bilinear)" },
        { "rrc()", "rrc: no size" },
        { "rrc(224", "'rrc(224' has no ')'" },
        { "rrc(224)flip", "'flip' follows rrc without a space" },
        { "rrc(0)", "'0' is not a possible size; expected a size, S or HxW, from 1 to 16384" },
        { "rrc(16385)", "'16385'" },
        { "rrc(-5)", "'-5'" },
        { "rrc(22.5)", "'22.5'" },
        { "rrc(1e2)", "'1e2'" },
        { "rrc(20x)", "'20x'" },
        { "rrc(x20)", "'x20'" },
        { "rrc(20x30x3)", "'20x30x3'" },
        { "rrc(224, 0.5)", "'0.5' is not a possible scale; expected a range, low..high," },
        { "rrc(224, 1..0.5)", "'1..0.5'" },
        { "rrc(224, 0..1)", "'0..1'" },
        { "rrc(224, 0.5..1.5)", "'0.5..1.5'" },
        { "rrc(224, ratio=0.001..1)", "'0.001..1' is not a possible ratio" },
        { "rrc(224, area=0.5..1)", "unknown argument 'area'; expected rrc(size" },
        { "rrc(224, scale=0.5..1, 0.5..2)", "'0.5..2' has no name but stands behind one that has" },
        { "rrc(224, size=20)", "size is given twice" },
        { "rrc(224, 0.5..1, 0.5..2, paddle, box, 7)", "'7' is one argument too many" },
        { "rrc(224, draw=paddles)", "rrc: 'paddles' is not a possible draw; expected one of torchvision|paddle" },
        { "rrc(224, draw=)", "'' is not a possible draw" },
        { "rrc(224,)", "'' is not a possible scale" },
        { "pad_crop(28)", "pad_crop: no pad; expected pad_crop(size, pad, fill=0)" },
        { "pad_crop(28, 2.5)", "'2.5' is not a possible pad; expected a whole number" },
        { "flip(1.5)", "'1.5' is not a possible p; expected a number from 0 to 1" },
        { "flip(nan)", "'nan'" },
        { "flip(imagenet)", "'imagenet'" },
        { "gray(1)", "'1' is one argument too many; expected gray" },
        { "normalize", "normalize: no mean; expected normalize(mean, std)" },
        { "normalize(0.5)", "normalize: no std" },
        { "normalize(0.5, 0)", "'0' is not a possible std" },
        { "normalize(0.1/0.2, 1)", "'0.1/0.2' is not a possible mean; expected a number, or three as" },
        { "normalize(0.1/0.2/0.3/0.4, 1)", "'0.1/0.2/0.3/0.4'" },
        { "normalize(0, 1) flip", "'flip' stands behind normalize, which works on floats; put it before that" },
        { "normalize(0, 1) normalize(0, 1)", "'normalize(0, 1)': there is a normalize before it already" },
        { "normalize(cifar)", "'cifar' is not a possible mean" },
        { "rrc(224, filter=lanczos)",
          "'lanczos' is not a possible filter; expected one of bilinear|bicubic|box|cv_linear" },
        { "flip exif", "'exif' stands behind flip; exif must be first" },
        { "exif exif", "exif must be first" },
        { "flip) rrc(20)", "unknown operation 'flip)'" },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_view_spec *spec = NULL;
        char error[1024];
        ssld_status status = ssld_view_spec_parse(context, rows[i].text, &spec);
        ssld_context_error(context, error, sizeof error);
        CHECK(status == SSLD_INVALID_ARGUMENT && !spec && strstr(error, rows[i].said), "'%s': %d: %s", rows[i].text,
              status, error);
    }
    char many[SSLD_MOST_OPERATIONS * 5 + 1] = "";
    for (int i = 0; i < SSLD_MOST_OPERATIONS; i++)
        strcat(many, "flip ");
    ssld_view_spec *spec = NULL;
    CHECK_STATUS(context, ssld_view_spec_parse(context, many, &spec), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "more than 63 operations");
    /* One less, to which a normalize is added: the printed text is as long as any that is read. */
    many[(SSLD_MOST_OPERATIONS - 1) * 5] = 0;
    CHECK_OK(context, ssld_view_spec_parse(context, many, &spec));
    ssld_view_spec *again = NULL;
    CHECK_OK(context, ssld_view_spec_parse(context, ssld_view_spec_text(spec), &again));
    ssld_view_spec_destroy(again);
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* -- Shapes ------------------------------------------------------------------------------------------------------- */

TEST(shape_follows_the_operations)
{
    static const struct {
        const char *text;
        int32_t     image[3];
        int32_t     shape[3]; /* zeros: refused with `status` and `said` */
        ssld_status status;
        const char *said;
    } rows[] = {
        { "rrc(224)", { 3, 0, 0 }, { 3, 224, 224 }, SSLD_OK, "" },
        { "rrc(20x30)", { 1, 5, 7 }, { 1, 20, 30 }, SSLD_OK, "" },
        { "flip", { 1, 28, 29 }, { 1, 28, 29 }, SSLD_OK, "" },
        { "resize(256)", { 3, 300, 451 }, { 3, 256, 384 }, SSLD_OK, "" }, /* 256 * 451 / 300 = 384.85 */
        { "resize(256)", { 3, 451, 300 }, { 3, 384, 256 }, SSLD_OK, "" },
        { "resize(256) center_crop(224)", { 3, 0, 0 }, { 3, 224, 224 }, SSLD_OK, "" },
        { "gray", { 3, 4, 5 }, { 1, 4, 5 }, SSLD_OK, "" },
        { "rgb normalize(imagenet)", { 1, 4, 5 }, { 3, 4, 5 }, SSLD_OK, "" },
        { "pad_crop(32, 2)", { 1, 28, 28 }, { 1, 32, 32 }, SSLD_OK, "" },
        { "pad_crop(33, 2)", { 1, 28, 28 }, { 0 }, SSLD_INVALID_ARGUMENT, "pad_crop: the image is 28 x 28, too small" },
        { "center_crop(29)", { 1, 30, 28 }, { 0 }, SSLD_INVALID_ARGUMENT, "center_crop: the image is 30 x 28" },
        { "resize(256)", { 3, 0, 0 }, { 0 }, SSLD_INVALID_ARGUMENT, "views of different sizes" },
        { "flip", { 3, 0, 0 }, { 0 }, SSLD_INVALID_ARGUMENT, "views of different sizes" },
        { "normalize(imagenet)",
          { 1, 28, 28 },
          { 0 },
          SSLD_INVALID_ARGUMENT,
          "normalize: mean has 3 numbers, but there is 1 channel" },
        { "normalize(0, 1/1/1)", { 1, 28, 28 }, { 0 }, SSLD_INVALID_ARGUMENT, "normalize: std has 3 numbers" },
        { "flip", { 2, 28, 28 }, { 0 }, SSLD_INVALID_ARGUMENT, "1 or 3 channels" },
        { "flip", { 3, -1, 28 }, { 0 }, SSLD_INVALID_ARGUMENT, "3 x -1 x 28" },
        { "resize(16384)", { 3, 1, 20000 }, { 0 }, SSLD_UNSUPPORTED, "2^28" },
        { "resize(16384)", { 3, 100, 200 }, { 0 }, SSLD_UNSUPPORTED, "2^28" },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_view_spec *spec = parse(context, rows[i].text);
        int32_t shape[3] = { 0, 0, 0 };
        CHECK_STATUS(context, ssld_view_spec_shape(spec, rows[i].image, shape), rows[i].status);
        CHECK(!memcmp(shape, rows[i].shape, sizeof shape), "%s: %d x %d x %d", rows[i].text, shape[0], shape[1],
              shape[2]);
        if (rows[i].status)
            CHECK_TEXT(context, rows[i].said);
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

/* -- Rendering ---------------------------------------------------------------------------------------------------- */

#define GOLDEN_FLOATS (3 * 40 * 40)

/* A view is for ever: if one of these changes, every store ever written is worthless. */
TEST(rendered_views_are_pinned)
{
    static const struct {
        const char    *spec;
        const uint8_t *bytes;
        size_t         size;
        uint64_t       seed, sample;
        uint32_t       view;
        uint64_t       hash;
    } rows[] = {
        { "rrc(24) flip(0.5) normalize(imagenet)", jpeg_colour, sizeof jpeg_colour, 0, 0, 0, 0x1eeddbb4347e736e },
        { "rrc(24) flip(0.5) normalize(imagenet)", jpeg_colour, sizeof jpeg_colour, 0, 0, 1, 0x8db15464f1b5c7a7 },
        { "rrc(24) flip(0.5) normalize(imagenet)", jpeg_colour, sizeof jpeg_colour, 0, 1, 0, 0x2205dd6d23f870c7 },
        { "rrc(24) flip(0.5) normalize(imagenet)", jpeg_colour, sizeof jpeg_colour, 1, 0, 0, 0x14ad4f22e24f0ab8 },
        { "rrc(40, scale=0.2..0.9, ratio=0.5..2)", jpeg_progressive, sizeof jpeg_progressive, 1ull << 40, 1ull << 50, 7,
          0x58bb16162fbd9181 },
        { "rrc(16, ratio=9..10)", jpeg_grey, sizeof jpeg_grey, 3, 4, 5, 0x77c89d4ed6a02c37 },
        { "resize(32) center_crop(25x31) normalize(0.5, 0.25)", jpeg_colour, sizeof jpeg_colour, 0, 0, 0,
          0xb2d10e8df1e299aa },
        { "rrc(24, filter=bicubic) flip(0.5) normalize(imagenet)", jpeg_colour, sizeof jpeg_colour, 0, 0, 2,
          0x37c58d83861f1e5a },
        { "rrc(33x40, filter=box) normalize(0.5, 0.25)", jpeg_colour, sizeof jpeg_colour, 0, 0, 3,
          0x9da67fd4a246fe32 },
        { "rrc(24, draw=paddle, filter=cv_linear) flip(1)", jpeg_colour, sizeof jpeg_colour, 0, 0, 4,
          0x81351ea2f33f76c4 },
        { "rrc(24, draw=paddle, filter=cv_cubic) flip(1)", jpeg_colour, sizeof jpeg_colour, 0, 0, 5,
          0xee86abec5830846b },
        { "exif resize(35, paddle, cv_cubic) center_crop(20x31)", png_colour, sizeof png_colour, 0, 0, 6,
          0x68c605ec2b7daf61 },
        { "pad_crop(16x20, 4) flip(0.5) gray normalize(0.286, 0.353)", png_colour, sizeof png_colour, 11, 22, 33,
          0xe3bd621b2f8d7fe0 },
        { "resize(7x40) flip(1)", png_colour, sizeof png_colour, 0, 0, 0, 0x24977730082ffedd },
    };
    ssld_context *context = make_context();
    static float dst[GOLDEN_FLOATS];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_view_spec *spec = parse(context, rows[i].spec);
        int32_t shape[3];
        CHECK_OK(context, ssld_view_spec_shape(spec, (const int32_t[3]){ 3, 29, 37 }, shape));
        size_t floats = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
        CHECK_OK(context, ssld_view_render(spec, rows[i].bytes, rows[i].size, rows[i].seed, rows[i].sample,
                                           rows[i].view, dst, GOLDEN_FLOATS));
        uint64_t hash = hash_floats(dst, floats);
        CHECK(hash == rows[i].hash, "row %zu: 0x%016llxu", i, (unsigned long long)hash);
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

TEST(normalize_is_one_rounding_of_the_exact_formula)
{
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "normalize(imagenet)");
    static const double mean[3] = { 0.485, 0.456, 0.406 }, std[3] = { 0.229, 0.224, 0.225 };
    uint8_t pixels[256 * 3];
    float dst[256 * 3];
    for (int i = 0; i < 256 * 3; i++)
        pixels[i] = (uint8_t)(i / 3);
    CHECK_OK(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, 16, 16 }, 0, 0, 0, dst, 256 * 3));
    for (int c = 0; c < 3; c++)
        for (int x = 0; x < 256; x++) {
            float expected = (float)((x / 255.0 - mean[c]) / std[c]);
            CHECK(dst[c * 256 + x] == expected, "channel %d byte %d: %.9g instead of %.9g", c, x, dst[c * 256 + x],
                  expected);
        }
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

TEST(normalization_gives_every_byte_back)
{
    static const char *const specs[] = { "normalize(imagenet)", "normalize(0.286, 0.353)", "flip", "normalize(-2.5, 1e3)" };
    ssld_context *context = make_context();
    uint8_t pixels[256 * 3];
    float dst[256 * 3];
    for (int i = 0; i < 256 * 3; i++)
        pixels[i] = (uint8_t)(i / 3);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        double means[3], deviations[3];
        ssld_view_spec *spec = parse(context, specs[i]);
        ssld_view_spec_normalization(spec, means, deviations);
        CHECK_OK(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, 1, 256 }, 0, 0, 0, dst, 256 * 3));
        for (int x = 0; x < 256 * 3; x++) {
            double byte = 255 * (dst[x] * deviations[x / 256] + means[x / 256]);
            int flipped = i == 2 && dst[0] > 0.5f ? 255 - x % 256 : x % 256;
            CHECK(fabs(byte - flipped) < 0.02, "%s: %g instead of %d", specs[i], byte, flipped); /* 1e3 costs 255e3 x 2^-24 */
        }
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

#define VIEWS 64
#define VIEW_FLOATS (3 * 24 * 24)

struct part {
    const ssld_view_spec *spec;
    int                   first, step;
    float (*dst)[VIEW_FLOATS];
    ssld_status           status;
};

static void *render_part(void *argument)
{
    struct part *part = argument;
    for (int i = part->first; i >= 0 && i < VIEWS && !part->status; i += part->step)
        part->status = ssld_view_render(part->spec, jpeg_colour, sizeof jpeg_colour, 42, (uint64_t)i / 4,
                                        (uint32_t)i % 4, part->dst[i], VIEW_FLOATS);
    return NULL;
}

TEST(views_do_not_depend_on_order_or_threads)
{
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "rrc(24) flip(0.5) normalize(imagenet)");
    static float forward[VIEWS][VIEW_FLOATS], backward[VIEWS][VIEW_FLOATS], threaded[VIEWS][VIEW_FLOATS];
    struct part up = { spec, 0, 1, forward, SSLD_OK }, down = { spec, VIEWS - 1, -1, backward, SSLD_OK }, parts[4];
    pthread_t threads[4];
    render_part(&up);
    render_part(&down);
    for (int t = 0; t < 4; t++) {
        parts[t] = (struct part){ spec, t, 4, threaded, SSLD_OK };
        pthread_create(&threads[t], NULL, render_part, &parts[t]);
    }
    for (int t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
        CHECK_OK(context, parts[t].status);
    }
    CHECK(!up.status && !down.status, "%d %d", up.status, down.status);
    for (int i = 0; i < VIEWS; i++) {
        CHECK(!memcmp(forward[i], backward[i], sizeof forward[i]), "view %d differs when rendered backwards", i);
        CHECK(!memcmp(forward[i], threaded[i], sizeof forward[i]), "view %d differs when rendered by threads", i);
        for (int j = 0; j < i; j++)
            CHECK(memcmp(forward[i], forward[j], sizeof forward[i]), "views %d and %d are the same", i, j);
    }
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

TEST(failed_render_leaves_the_destination_alone)
{
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "resize(8x8)"), *large = parse(context, "center_crop(30)");
    static const uint8_t pixels[4 * 4 * 3];
    float dst[3 * 8 * 8];
    for (int i = 0; i < 192; i++)
        dst[i] = 7;
    CHECK_STATUS(context, ssld_view_render(spec, jpeg_colour, sizeof jpeg_colour, 0, 0, 0, dst, 191),
                 SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "the view has 192 floats, there is room for 191");
    CHECK_STATUS(context, ssld_view_render(spec, jpeg_colour, sizeof jpeg_colour - 20, 0, 0, 0, dst, 192),
                 SSLD_CORRUPT);
    CHECK_STATUS(context, ssld_view_render(spec, "GIF89a", 6, 0, 0, 0, dst, 192), SSLD_FORMAT);
    CHECK_STATUS(context, ssld_view_render(large, png_colour, sizeof png_colour, 0, 0, 0, dst, 192),
                 SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "center_crop: the image is 13 x 19, too small for a crop of 30 x 30");
    CHECK_STATUS(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 2, 4, 4 }, 0, 0, 0, dst, 192),
                 SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, 0, 4 }, 0, 0, 0, dst, 192),
                 SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context,
                 ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 1, 1 << 15, 1 << 15 }, 0, 0, 0, dst, 192),
                 SSLD_UNSUPPORTED);
    for (int i = 0; i < 192; i++)
        CHECK(dst[i] == 7, "float %d is %g", i, dst[i]);
    CHECK_OK(context, ssld_view_render(spec, jpeg_colour, sizeof jpeg_colour, 0, 0, 0, dst, 192));
    ssld_view_spec_destroy(spec);
    ssld_view_spec_destroy(large);
    ssld_context_destroy(context);
}

/* -- Statistics --------------------------------------------------------------------------------------------------- */

/* Pearson's statistic against equal shares, in standard deviations from its mean (chi-square with n - 1 degrees of
 * freedom: mean n - 1, variance 2 (n - 1)). Draws are fixed by their seed, so 4 is no matter of luck at each run. */
static double unevenness(const int *counts, int cells)
{
    double total = 0, sum = 0;
    for (int i = 0; i < cells; i++)
        total += counts[i];
    for (int i = 0; i < cells; i++)
        sum += (counts[i] - total / cells) * (counts[i] - total / cells) / (total / cells);
    return (sum - (cells - 1)) / sqrt(2.0 * (cells - 1));
}

/* On an image so large that every first try fits: area and log ratio are then uniform, and so are the positions. */
TEST(random_resized_crops_are_uniform_in_area_log_ratio_and_position)
{
    enum { CELLS = 20, DRAWS = 40000, SIDE = 10000 };
    static const double scale[2] = { 0.1, 0.4 }, ratio[2] = { 0.5, 2 };
    int areas[CELLS] = { 0 }, ratios[CELLS] = { 0 }, tops[CELLS] = { 0 }, lefts[CELLS] = { 0 };
    for (int i = 0; i < DRAWS; i++) {
        struct ssld_stream stream = ssld_stream_start(5, (uint64_t)i, 0, 0);
        struct crop_box box = ssld_random_resized_box(scale, ratio, SIDE, SIDE, &stream);
        CHECK(box.top >= 0 && box.left >= 0 && box.top + box.height <= SIDE && box.left + box.width <= SIDE,
              "box %d + %d, %d + %d", box.top, box.height, box.left, box.width);
        double area = (double)box.height * box.width / ((double)SIDE * SIDE), aspect = (double)box.width / box.height;
        int cell[4] = { (int)((area - 0.1) / 0.3 * CELLS), (int)((log(aspect) / log(2) + 1) / 2 * CELLS),
                        (int)((double)box.top / (SIDE - box.height + 1) * CELLS),
                        (int)((double)box.left / (SIDE - box.width + 1) * CELLS) };
        int *counts[4] = { areas, ratios, tops, lefts };
        for (int k = 0; k < 4; k++) /* rounding to whole pixels may step over an end */
            counts[k][cell[k] < 0 ? 0 : cell[k] >= CELLS ? CELLS - 1 : cell[k]]++;
    }
    CHECK(fabs(unevenness(areas, CELLS)) < 4, "areas: %g", unevenness(areas, CELLS));
    CHECK(fabs(unevenness(ratios, CELLS)) < 4, "log ratios: %g", unevenness(ratios, CELLS));
    CHECK(fabs(unevenness(tops, CELLS)) < 4, "tops: %g", unevenness(tops, CELLS));
    CHECK(fabs(unevenness(lefts, CELLS)) < 4, "lefts: %g", unevenness(lefts, CELLS));
}

TEST(crop_that_never_fits_is_the_largest_centred_one)
{
    static const double scale[2] = { 1, 1 }, ratio[2] = { 0.75, 4.0 / 3 }, wide[2] = { 5, 6 };
    static const struct {
        const double   *ratio;
        int32_t         height, width;
        struct crop_box box;
    } rows[] = {
        { ratio, 4, 4000, { 0, 1997, 4, 5 } },     /* 4 * 4/3 = 5.33 */
        { ratio, 4000, 4, { 1997, 0, 5, 4 } },
        { wide, 2, 3, { 0, 0, 1, 3 } },            /* 3 / 5 = 0.6 */
        { wide, 1, 1, { 0, 0, 1, 1 } },            /* 1 / 5 would be no row at all */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ssld_stream stream = ssld_stream_start(1, i, 0, 0);
        struct crop_box box = ssld_random_resized_box(scale, rows[i].ratio, rows[i].height, rows[i].width, &stream);
        CHECK(!memcmp(&box, &rows[i].box, sizeof box), "row %zu: %d %d %d %d", i, box.top, box.left, box.height,
              box.width);
    }
}

/* 3.9 standard deviations of a binomial: one run in 10^4 would leave it, and these draws are fixed. */
TEST(flips_come_with_their_probability_and_independently)
{
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "flip(0.3) flip(0)");
    static const uint8_t pixels[2] = { 0, 255 };
    const int draws = 20000;
    int flipped = 0, both = 0;
    bool before = false;
    for (int i = 0; i < draws; i++) {
        float dst[2];
        CHECK_OK(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 1, 1, 2 }, 8, (uint64_t)i / 2,
                                                  (uint32_t)i % 2, dst, 2));
        bool now = dst[0] == 1;
        flipped += now;
        both += now && before && i % 2;
        before = now;
    }
    double deviation = (flipped - 0.3 * draws) / sqrt(0.21 * draws);
    double pairs = (both - 0.09 * draws / 2) / sqrt(0.09 * 0.91 * draws / 2);
    CHECK(fabs(deviation) < 3.9 && fabs(pairs) < 3.9, "%d flipped, %d pairs", flipped, both);
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

TEST(every_allocation_may_fail)
{
    static const char text[] =
        "rrc(24) pad_crop(24, 3) flip(1) gray rgb resize(30x20) resize(20x20) normalize(imagenet)";
    bool done = false;
    for (int allowed = 0; !done; allowed++) {
        struct budget budget;
        ssld_context *context = make_poor_context(&budget, allowed);
        ssld_view_spec *spec = NULL;
        static float dst[3 * 20 * 20];
        ssld_status status = ssld_view_spec_parse(context, text, &spec);
        CHECK(!status == !!spec, "status %d, but the spec is %p", status, (void *)spec);
        if (!status)
            status = ssld_view_render(spec, jpeg_colour, sizeof jpeg_colour, 1, 2, 3, dst, 3 * 20 * 20);
        CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%d allocations: %s", allowed,
              ssld_status_name(status));
        done = !status;
        ssld_view_spec_destroy(spec);
        CHECK(atomic_load(&budget.out) == 1, "%d allocations: %d blocks left", allowed, atomic_load(&budget.out) - 1);
        ssld_context_destroy(context);
    }
}

TEST_MAIN(TEST_ROW(exact_exp_and_log_are_close_to_the_true_ones_and_pinned),
          TEST_ROW(numbers_are_written_shortest_and_read_back),
          TEST_ROW(a_spec_means_the_same_in_a_locale_with_decimal_commas),
          TEST_ROW(spec_has_one_canonical_text_that_reads_back),
          TEST_ROW(impossible_specs_are_refused_with_the_word_and_what_was_expected),
          TEST_ROW(shape_follows_the_operations), TEST_ROW(rendered_views_are_pinned),
          TEST_ROW(normalize_is_one_rounding_of_the_exact_formula), TEST_ROW(normalization_gives_every_byte_back),
          TEST_ROW(views_do_not_depend_on_order_or_threads),
          TEST_ROW(failed_render_leaves_the_destination_alone),
          TEST_ROW(random_resized_crops_are_uniform_in_area_log_ratio_and_position),
          TEST_ROW(crop_that_never_fits_is_the_largest_centred_one),
          TEST_ROW(flips_come_with_their_probability_and_independently), TEST_ROW(every_allocation_may_fail))
