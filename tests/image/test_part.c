/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoding a part: the same pixels as the whole image's, whatever the file is like; the same damage found above its end. */
#include "image/help.h"

#include <math.h>

#include "image/encode.h"
#include "image/operation.h"

static uint32_t random_state = 1;

static int32_t random_below(int32_t bound)
{
    encode_noise(&random_state);
    return (int32_t)((uint64_t)random_state * (uint32_t)bound >> 32);
}

/* Boxes at the edges and corners first, then anywhere; small ones and large. */
static struct crop_box random_box(int number, int32_t height, int32_t width)
{
    struct crop_box box = { 0 };
    box.height = number % 3 ? 1 + random_below(height) : 1 + random_below(height < 9 ? height : 9);
    box.width = number % 5 ? 1 + random_below(width) : 1 + random_below(width < 9 ? width : 9);
    box.top = number & 1 ? random_below(height - box.height + 1) : number & 2 ? height - box.height : 0;
    box.left = number & 4 ? random_below(width - box.width + 1) : number & 8 ? width - box.width : 0;
    return box;
}

static ssld_status read_part(ssld_context *context, const uint8_t *bytes, size_t size, const struct crop_box *box,
                             struct ssld_room *room, struct ssld_image *image, struct ssld_fault *fault)
{
    struct ssld_decoder *decoder = NULL;
    if (ssld_decoder_open(context, bytes, size, false, &decoder, fault))
        return fault->status;
    ssld_status status = ssld_decoder_read(decoder, box, room, image, fault);
    ssld_decoder_close(decoder);
    return status;
}

static void compare(ssld_context *context, const char *name, const uint8_t *bytes, size_t size, int boxes)
{
    struct ssld_fault fault;
    struct ssld_image whole, part;
    struct ssld_room room = { NULL, 0 };
    CHECK(!ssld_image_decode(context, bytes, size, &whole, &fault), "%s: %s", name, fault.text);
    for (int i = 0; i < boxes; i++) {
        struct crop_box box = random_box(i, whole.height, whole.width);
        CHECK(!read_part(context, bytes, size, &box, &room, &part, &fault), "%s: %s", name, fault.text);
        CHECK(part.height == box.height && part.width == box.width, "%s: %d x %d", name, part.height, part.width);
        for (int32_t y = 0; y < box.height; y++)
            for (int32_t x = 0; x < box.width; x++)
                CHECK(!memcmp(part.pixels + (size_t)y * part.stride + 3 * (size_t)x,
                              whole.pixels + (size_t)(box.top + y) * whole.stride + 3 * (size_t)(box.left + x), 3),
                      "%s %d x %d: the part %d x %d at row %d, column %d differs in its row %d, column %d", name,
                      whole.height, whole.width, box.height, box.width, box.top, box.left, y, x);
    }
    ssld_room_free(context, &room);
    ssld_image_free(context, &whole);
}

static const int sizes[][2] = { { 1, 1 }, { 8, 16 }, { 17, 33 }, { 40, 200 }, { 131, 97 }, { 64, 96 }, { 150, 243 } };
#define SIZES (sizeof sizes / sizeof *sizes)

TEST(part_of_a_jpeg_has_the_pixels_of_the_whole)
{
    ssld_context *context = make_context();
    for (size_t k = 0; k < JPEG_KINDS; k++)
        for (size_t s = 0; s < SIZES; s++) {
            unsigned long size;
            uint8_t *bytes = encode_jpeg(&jpeg_kinds[k], sizes[s][0], sizes[s][1], &size);
            compare(context, jpeg_kinds[k].name, bytes, size, 80);
            free(bytes);
        }
    ssld_context_destroy(context);
}

/* Each first row and each first column: every position in an MCU. */
TEST(part_of_a_jpeg_may_begin_anywhere)
{
    ssld_context *context = make_context();
    for (size_t k = 0; k < JPEG_KINDS; k++) {
        unsigned long size;
        struct ssld_fault fault;
        struct ssld_image whole, part;
        struct ssld_room room = { NULL, 0 };
        uint8_t *bytes = encode_jpeg(&jpeg_kinds[k], 100, 150, &size);
        CHECK(!ssld_image_decode(context, bytes, size, &whole, &fault), "%s: %s", jpeg_kinds[k].name, fault.text);
        for (int32_t i = 0; i < 100; i++) {
            struct crop_box box = { i, 3 * i / 2, i % 2 ? 1 : 100 - i, i % 3 ? 1 : 150 - 3 * i / 2 };
            CHECK(!read_part(context, bytes, size, &box, &room, &part, &fault), "%s: %s", jpeg_kinds[k].name, fault.text);
            for (int32_t y = 0; y < box.height; y++)
                CHECK(!memcmp(part.pixels + (size_t)y * part.stride,
                              whole.pixels + (size_t)(box.top + y) * whole.stride + 3 * (size_t)box.left,
                              3 * (size_t)box.width),
                      "%s: the part %d x %d at row %d, column %d differs in its row %d", jpeg_kinds[k].name, box.height,
                      box.width, box.top, box.left, y);
        }
        ssld_room_free(context, &room);
        ssld_image_free(context, &whole);
        free(bytes);
    }
    ssld_context_destroy(context);
}

TEST(part_of_a_png_has_the_pixels_of_the_whole)
{
    ssld_context *context = make_context();
    for (size_t k = 0; k < PNG_KINDS; k++)
        for (size_t s = 0; s < SIZES; s++) {
            unsigned long size;
            uint8_t *bytes = encode_png(&png_kinds[k], sizes[s][0], sizes[s][1], &size);
            compare(context, png_kinds[k].name, bytes, size, 40);
            free(bytes);
        }
    ssld_context_destroy(context);
}

/* What is not looked at may be damaged; what is, may not. */
TEST(file_cut_off_within_the_needed_rows_is_an_error_and_behind_them_is_not)
{
    ssld_context *context = make_context();
    struct ssld_fault fault;
    struct ssld_image image;
    struct ssld_room room = { NULL, 0 };
    unsigned long size;
    uint8_t *files[2] = { encode_jpeg(&jpeg_kinds[2], 160, 64, &size), NULL };
    unsigned long file_sizes[2] = { size, 0 };
    files[1] = encode_png(&png_kinds[2], 160, 64, &file_sizes[1]);
    const struct crop_box top = { 0, 0, 32, 64 }, bottom = { 120, 0, 40, 64 };
    for (int f = 0; f < 2; f++) {
        unsigned long half = file_sizes[f] * 6 / 10;
        CHECK_STATUS(NULL, read_part(context, files[f], half, &top, &room, &image, &fault), SSLD_OK);
        CHECK_STATUS(NULL, read_part(context, files[f], half, &bottom, &room, &image, &fault), SSLD_CORRUPT);
        CHECK(strstr(fault.text, "damaged or cut-off"), "%s", fault.text);
        CHECK_STATUS(NULL, read_part(context, files[f], file_sizes[f] - 2, &bottom, &room, &image, &fault), SSLD_CORRUPT);
        CHECK_STATUS(NULL, read_part(context, files[f], half, NULL, &room, &image, &fault), SSLD_CORRUPT);
        int32_t shape[3] = { 7, 7, 7 };
        CHECK_STATUS(context, ssld_image_verify(context, files[f], half, shape), SSLD_CORRUPT);
        CHECK(shape[1] == 7, "%d", shape[1]);
        CHECK_OK(context, ssld_image_verify(context, files[f], file_sizes[f], shape));
        CHECK(shape[0] == 3 && shape[1] == 160 && shape[2] == 64, "%d %d %d", shape[0], shape[1], shape[2]);
        free(files[f]);
    }
    ssld_room_free(context, &room);
    ssld_context_destroy(context);
}

/* A PNG's checksums stand at the ends of its chunks: that of the chunk in which reading stops is compared too. */
TEST(changed_byte_in_the_needed_rows_of_a_png_is_an_error)
{
    ssld_context *context = make_context();
    struct ssld_fault fault;
    struct ssld_image image;
    struct ssld_room room = { NULL, 0 };
    unsigned long size;
    uint8_t *bytes = encode_png(&png_kinds[0], 160, 64, &size);
    const struct crop_box top = { 0, 0, 32, 64 };
    for (size_t at = 45; at < size / 6; at += 7) {
        bytes[at] ^= 4;
        CHECK_STATUS(NULL, read_part(context, bytes, size, &top, &room, &image, &fault), SSLD_CORRUPT);
        bytes[at] ^= 4;
    }
    free(bytes);
    ssld_room_free(context, &room);
    ssld_context_destroy(context);
}

/* -- Through view specs ------------------------------------------------------------------------------------------- */

/* The view of a file and of its decoded pixels, which are rendered without a decoder: the same floats. */
TEST(view_of_a_file_is_the_view_of_its_pixels)
{
    static const char *const specs[] = {
        "rrc(24)", "rrc(24, filter=bicubic) flip(0.5) normalize(imagenet)", "rrc(17x29, 0.01..0.2, filter=box) flip(1)",
        "rrc(20, filter=cv_linear) flip", "rrc(31, 0.05..0.3, filter=cv_cubic) flip(1)", "rrc(32, draw=paddle, filter=cv_cubic)",
        "resize(48) center_crop(32)", "resize(40, filter=cv_linear) center_crop(32) flip(1)", "center_crop(9x13) flip(1)",
        "flip(1) center_crop(9x13)", "flip(1) resize(30x20)", "flip(1) rrc(12) flip(1)", "resize(50x60) rrc(24) flip(0.5)",
        "rrc(24) vflip(1) flip(1) gray", "center_crop(16) pad_crop(16, 3) flip(1)", "resize(64) center_crop(40) center_crop(20x30)",
    };
    ssld_context *context = make_context();
    unsigned long size;
    uint8_t *bytes = encode_jpeg(&jpeg_kinds[2], 90, 131, &size);
    struct ssld_image whole;
    struct ssld_fault fault;
    CHECK(!ssld_image_decode(context, bytes, size, &whole, &fault), "%s", fault.text);
    const int32_t image[3] = { 3, whole.height, whole.width };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ssld_view_spec *spec = parse(context, specs[i]);
        static float a[3 * 64 * 64], b[3 * 64 * 64];
        for (uint32_t view = 0; view < 40; view++) {
            memset(a, 0, sizeof a);
            memset(b, 0, sizeof b);
            CHECK_OK(context, ssld_view_render(spec, bytes, size, 5, i, view, a, 3 * 64 * 64));
            CHECK_OK(context, ssld_view_render_pixels(spec, whole.pixels, image, 5, i, view, b, 3 * 64 * 64));
            CHECK(!memcmp(a, b, sizeof a), "%s: view %u differs", specs[i], view);
        }
        ssld_view_spec_destroy(spec);
    }
    ssld_image_free(context, &whole);
    free(bytes);
    ssld_context_destroy(context);
}

/* Crop, flip and resize collected give what they give one after the other. A step with an operation in between that changes
 * nothing, but works on bytes, is made at once. */
TEST(collected_geometry_equals_its_steps)
{
    static const char *const pairs[][2] = {
        { "resize(48) center_crop(32)", "resize(48) rgb center_crop(32)" },
        { "resize(48, filter=cv_cubic) center_crop(31x20) flip(1)", "resize(48, filter=cv_cubic) rgb center_crop(31x20) rgb flip(1)" },
        { "flip(1) center_crop(31x20)", "flip(1) rgb center_crop(31x20)" },
        { "flip(1) resize(31x20)", "flip(1) rgb resize(31x20)" },
        { "center_crop(40) resize(64x48, filter=bicubic) center_crop(30)", "center_crop(40) rgb resize(64x48, filter=bicubic) rgb center_crop(30)" },
        { "resize(64x90) resize(20x20, filter=box) flip(1)", "resize(64x90) rgb resize(20x20, filter=box) rgb flip(1)" },
    };
    ssld_context *context = make_context();
    unsigned long size;
    uint8_t *bytes = encode_jpeg(&jpeg_kinds[1], 71, 97, &size);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ssld_view_spec *one = parse(context, pairs[i][0]), *many = parse(context, pairs[i][1]);
        static float a[3 * 64 * 64], b[3 * 64 * 64];
        CHECK_OK(context, ssld_view_render(one, bytes, size, 5, i, 0, a, 3 * 64 * 64));
        CHECK_OK(context, ssld_view_render(many, bytes, size, 5, i, 0, b, 3 * 64 * 64));
        CHECK(!memcmp(a, b, sizeof a), "%s", pairs[i][0]);
        ssld_view_spec_destroy(one);
        ssld_view_spec_destroy(many);
    }
    free(bytes);
    ssld_context_destroy(context);
}

TEST(bf16_is_the_float_rounded_to_nearest_even)
{
    static const char *const specs[] = { "rrc(24) flip normalize(imagenet)", "rrc(24) normalize(imagenet) erase(1)" };
    ssld_context *context = make_context();
    unsigned long size;
    uint8_t *bytes = encode_jpeg(&jpeg_kinds[2], 90, 131, &size);
    for (size_t s = 0; s < 2; s++) {
        ssld_view_spec *spec = parse(context, specs[s]);
        static float floats[3 * 24 * 24];
        static uint16_t halves[3 * 24 * 24];
        CHECK_OK(context, ssld_view_render(spec, bytes, size, 1, 2, 3, floats, 3 * 24 * 24));
        CHECK_OK(context, ssld_view_render_bf16(spec, bytes, size, 1, 2, 3, halves, 3 * 24 * 24));
        for (int i = 0; i < 3 * 24 * 24; i++) {
            uint32_t bits, low, high;
            memcpy(&bits, &floats[i], sizeof bits);
            low = bits & 0xffff0000u;
            high = low + 0x10000u;
            float below, above, given;
            uint32_t half = (uint32_t)halves[i] << 16;
            memcpy(&below, &low, sizeof below);
            memcpy(&above, &high, sizeof above);
            memcpy(&given, &half, sizeof given);
            double down = fabs((double)floats[i] - below), up = fabs((double)above - floats[i]);
            bool upwards = down > up || (down == up && (low >> 16 & 1));
            CHECK(given == (upwards ? above : below), "float %d: %.9g became %.9g", i, floats[i], given);
        }
        CHECK_STATUS(context, ssld_view_render_bf16(spec, bytes, size, 1, 2, 3, halves, 3 * 24 * 24 - 1), SSLD_INVALID_ARGUMENT);
        ssld_view_spec_destroy(spec);
    }
    free(bytes);
    ssld_context_destroy(context);
}

/* The pixel that the upright image has at (y, x), by the definition of the tag: where the stored image's row 0 and column 0
 * are to be seen. */
static const uint8_t *upright_pixel(int orientation, const struct ssld_image *stored, int32_t y, int32_t x)
{
    int32_t last_row = stored->height - 1, last_column = stored->width - 1, row = 0, column = 0;
    switch (orientation) {
    case 1: row = y, column = x; break;                          /* top, left */
    case 2: row = y, column = last_column - x; break;            /* top, right */
    case 3: row = last_row - y, column = last_column - x; break; /* bottom, right */
    case 4: row = last_row - y, column = x; break;               /* bottom, left */
    case 5: row = x, column = y; break;                          /* left, top */
    case 6: row = last_row - x, column = y; break;               /* right, top */
    case 7: row = last_row - x, column = last_column - y; break; /* right, bottom */
    case 8: row = x, column = last_column - y; break;            /* left, bottom */
    }
    return stored->pixels + (size_t)row * stored->stride + 3 * (size_t)column;
}

TEST(exif_orientation_is_ignored_or_applied_as_the_spec_says)
{
    ssld_context *context = make_context();
    ssld_view_spec *ignoring = parse(context, "center_crop(21x30)"), *applying = parse(context, "exif center_crop(21x30)");
    for (int orientation = 1; orientation <= 9; orientation++) {
        unsigned long size;
        struct ssld_image stored;
        struct ssld_fault fault;
        static float plain[3 * 21 * 30], turned[3 * 21 * 30];
        uint8_t *bytes = encode_orientation(encode_jpeg(&jpeg_kinds[2], 45, 52, &size), &size, orientation);
        CHECK(!ssld_image_decode(context, bytes, size, &stored, &fault), "%s", fault.text);
        CHECK_OK(context, ssld_view_render(ignoring, bytes, size, 0, 0, 0, plain, 3 * 21 * 30));
        CHECK_OK(context, ssld_view_render(applying, bytes, size, 0, 0, 0, turned, 3 * 21 * 30));
        int32_t meant = orientation <= 8 ? orientation : 1; /* 9 means nothing */
        int32_t height = meant >= 5 ? 52 : 45, width = meant >= 5 ? 45 : 52;
        /* Half of an odd margin goes to the even side. */
        int32_t top = meant >= 5 ? 16 : 12, left = meant >= 5 ? 8 : 11;
        CHECK(height - 21 - 2 * top <= 1 && width - 30 - 2 * left <= 1, "%d %d", top, left);
        for (int32_t y = 0; y < 21; y++)
            for (int32_t x = 0; x < 30; x++)
                for (int32_t c = 0; c < 3; c++) {
                    size_t at = (size_t)((c * 21 + y) * 30 + x);
                    CHECK(turned[at] == (float)(upright_pixel(meant, &stored, top + y, left + x)[c] / 255.0),
                          "orientation %d: row %d, column %d", orientation, y, x);
                    CHECK(plain[at] == (float)(upright_pixel(1, &stored, 12 + y, 11 + x)[c] / 255.0), "row %d, column %d", y, x);
                }
        ssld_image_free(context, &stored);
        free(bytes);
    }
    ssld_view_spec_destroy(ignoring);
    ssld_view_spec_destroy(applying);
    ssld_context_destroy(context);
}

TEST(exif_data_that_cannot_be_read_means_upright)
{
    static const uint8_t good[] = { 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0 };
    CHECK(ssld_exif_orientation(good, sizeof good) == 6, "%d", ssld_exif_orientation(good, sizeof good));
    for (size_t size = 0; size < sizeof good; size++) {
        uint8_t *copy = malloc(size + 1);
        memcpy(copy, good, size);
        CHECK(ssld_exif_orientation(copy, size) == 1, "%zu bytes: %d", size, ssld_exif_orientation(copy, size));
        free(copy);
    }
    for (size_t at = 0; at < sizeof good; at++)
        for (int value = 0; value < 256; value++) {
            uint8_t copy[sizeof good];
            memcpy(copy, good, sizeof good);
            copy[at] = (uint8_t)value;
            int32_t orientation = ssld_exif_orientation(copy, sizeof good);
            CHECK(orientation >= 1 && orientation <= 8, "byte %zu = %d: %d", at, value, orientation);
        }
}

/* -- Limits ------------------------------------------------------------------------------------------------------- */

TEST(limits_of_the_host_are_kept_and_named)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.image_pixels_limit = 1000;
    options.image_bytes_limit = 3000;
    CHECK_STATUS(NULL, ssld_context_create(&options, &context), SSLD_OK);
    unsigned long size;
    int32_t shape[3];
    uint8_t *bytes = encode_jpeg(&jpeg_kinds[2], 20, 50, &size);
    CHECK_OK(context, ssld_image_verify(context, bytes, size, shape));
    free(bytes);
    bytes = encode_jpeg(&jpeg_kinds[2], 20, 51, &size);
    CHECK_STATUS(context, ssld_image_verify(context, bytes, size, shape), SSLD_UNSUPPORTED);
    CHECK_TEXT(context, "20 x 51 pixels; the context's image_pixels_limit is 1000");
    bytes = realloc(bytes, 3001);
    CHECK_STATUS(context, ssld_image_verify(context, bytes, 3001, shape), SSLD_UNSUPPORTED);
    CHECK_TEXT(context, "3001 bytes; the context's image_bytes_limit is 3000");
    free(bytes);
    ssld_context_destroy(context);
    context = NULL;
    options.image_pixels_limit = ((int64_t)1 << 28) + 1;
    CHECK_STATUS(NULL, ssld_context_create(&options, &context), SSLD_INVALID_ARGUMENT);
    options.image_pixels_limit = 0;
    options.image_bytes_limit = -1;
    CHECK_STATUS(NULL, ssld_context_create(&options, &context), SSLD_INVALID_ARGUMENT);
}

TEST(every_allocation_of_a_part_may_fail)
{
    static const char text[] = "exif rrc(24, filter=cv_cubic) gray resize(20x20) flip(1) normalize(0, 1)";
    unsigned long size;
    uint8_t *files[3];
    unsigned long file_sizes[3];
    files[0] = encode_orientation(encode_jpeg(&jpeg_kinds[2], 60, 90, &size), &size, 6);
    file_sizes[0] = size;
    files[1] = encode_png(&png_kinds[1], 60, 90, &file_sizes[1]);
    files[2] = encode_jpeg(&jpeg_kinds[21], 60, 90, &file_sizes[2]);
    for (int f = 0; f < 3; f++) {
        bool done = false;
        for (int allowed = 0; !done; allowed++) {
            struct budget budget;
            ssld_context *context = make_poor_context(&budget, allowed);
            ssld_view_spec *spec = NULL;
            static uint16_t dst[20 * 20];
            ssld_status status = ssld_view_spec_parse(context, text, &spec);
            if (!status)
                status = ssld_view_render_bf16(spec, files[f], file_sizes[f], 1, 2, 3, dst, 20 * 20);
            CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%d allocations: %s", allowed, ssld_status_name(status));
            done = !status;
            ssld_view_spec_destroy(spec);
            CHECK(atomic_load(&budget.out) == 1, "%d allocations: %d blocks left", allowed, atomic_load(&budget.out) - 1);
            ssld_context_destroy(context);
        }
        free(files[f]);
    }
}

TEST_MAIN(TEST_ROW(part_of_a_jpeg_has_the_pixels_of_the_whole), TEST_ROW(part_of_a_jpeg_may_begin_anywhere),
          TEST_ROW(part_of_a_png_has_the_pixels_of_the_whole),
          TEST_ROW(file_cut_off_within_the_needed_rows_is_an_error_and_behind_them_is_not),
          TEST_ROW(changed_byte_in_the_needed_rows_of_a_png_is_an_error), TEST_ROW(view_of_a_file_is_the_view_of_its_pixels),
          TEST_ROW(collected_geometry_equals_its_steps), TEST_ROW(bf16_is_the_float_rounded_to_nearest_even),
          TEST_ROW(exif_orientation_is_ignored_or_applied_as_the_spec_says),
          TEST_ROW(exif_data_that_cannot_be_read_means_upright), TEST_ROW(limits_of_the_host_are_kept_and_named),
          TEST_ROW(every_allocation_of_a_part_may_fail))
