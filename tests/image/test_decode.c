/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoding: pinned pixels, and all that can be wrong with a file. test_pillow.py shows that the pixels are right. */
#include "image/help.h"

#include <zlib.h>

#include "image/image.h"
#include "image/samples.h"

static const struct sample {
    const char    *name;
    const uint8_t *bytes;
    size_t         size;
    int32_t        height, width;
    uint64_t       pixels; /* checksum */
} samples[] = {
    { "jpeg_colour", jpeg_colour, sizeof jpeg_colour, 29, 37, 0x067a874d25b955a2 },
    { "jpeg_progressive", jpeg_progressive, sizeof jpeg_progressive, 29, 37, 0x067a874d25b955a2 },
    { "jpeg_grey", jpeg_grey, sizeof jpeg_grey, 17, 16, 0x4914c9b0214c795e },
    { "png_colour", png_colour, sizeof png_colour, 13, 19, 0xa43514404dcb1b1b },
};
#define SAMPLES (sizeof samples / sizeof *samples)

/* On a copy of exactly that size, so that a read beyond it is an error of the sanitizer. */
static ssld_status decode_copy(ssld_context *context, const uint8_t *bytes, size_t size, struct ssld_fault *fault)
{
    struct ssld_image image = { 0 };
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    memset(fault, 0, sizeof *fault);
    ssld_status status = ssld_image_decode(context, copy, size, &image, fault);
    CHECK(!status == !!image.own, "%s, but the image is %smade", ssld_status_name(status), image.own ? "" : "not ");
    CHECK(status == fault->status && !status == !fault->text[0], "%s: '%s'", ssld_status_name(status), fault->text);
    ssld_image_free(context, &image);
    free(copy);
    return status;
}

TEST(decoded_pixels_are_pinned)
{
    ssld_context *context = make_context();
    for (size_t i = 0; i < SAMPLES; i++) {
        struct ssld_fault fault;
        struct ssld_image image;
        ssld_status status = ssld_image_decode(context, samples[i].bytes, samples[i].size, &image, &fault);
        CHECK(status == SSLD_OK, "%s: %s", samples[i].name, fault.text);
        CHECK(image.channels == 3 && image.height == samples[i].height && image.width == samples[i].width,
              "%s: %d x %d x %d", samples[i].name, image.channels, image.height, image.width);
        uint64_t pixels = ssld_checksum(image.own, (size_t)image.height * image.stride);
        CHECK(pixels == samples[i].pixels, "%s: 0x%016llx", samples[i].name, (unsigned long long)pixels);
        ssld_image_free(context, &image);
    }
    ssld_context_destroy(context);
}

TEST(file_cut_off_anywhere_is_an_error)
{
    ssld_context *context = make_context();
    for (size_t i = 0; i < SAMPLES; i++)
        for (size_t size = 0; size < samples[i].size; size++) {
            struct ssld_fault fault;
            ssld_status status = decode_copy(context, samples[i].bytes, size, &fault);
            ssld_status expected = size < (samples[i].bytes[0] == 0xff ? 3 : 8) ? SSLD_FORMAT : SSLD_CORRUPT;
            CHECK(status == expected, "%s cut to %zu bytes: %s %s", samples[i].name, size, ssld_status_name(status),
                  fault.text);
        }
    ssld_context_destroy(context);
}

TEST(png_with_any_byte_changed_is_an_error)
{
    ssld_context *context = make_context();
    uint8_t copy[sizeof png_colour];
    for (size_t at = 0; at < sizeof png_colour; at++)
        for (int bit = 0; bit < 8; bit++) {
            struct ssld_fault fault;
            memcpy(copy, png_colour, sizeof copy);
            copy[at] ^= (uint8_t)(1 << bit);
            ssld_status status = decode_copy(context, copy, sizeof copy, &fault);
            CHECK(status == SSLD_CORRUPT || status == SSLD_FORMAT || status == SSLD_UNSUPPORTED, "byte %zu bit %d: %s",
                  at, bit, ssld_status_name(status));
        }
    ssld_context_destroy(context);
}

/* JPEG has no checksums, so some changes are other pictures; none may be more than that. */
TEST(jpeg_with_any_byte_changed_does_no_harm)
{
    ssld_context *context = make_context();
    static uint8_t copy[4096];
    for (size_t i = 0; i < SAMPLES; i++)
        for (size_t at = 0; samples[i].bytes[0] == 0xff && at < samples[i].size; at++)
            for (int value = 0; value < 256; value += 51) {
                struct ssld_fault fault;
                memcpy(copy, samples[i].bytes, samples[i].size);
                copy[at] = (uint8_t)value;
                ssld_status status = decode_copy(context, copy, samples[i].size, &fault);
                CHECK(status == SSLD_OK || status == SSLD_CORRUPT || status == SSLD_UNSUPPORTED ||
                          status == SSLD_FORMAT,
                      "%s byte %zu = %d: %s", samples[i].name, at, value, ssld_status_name(status));
            }
    ssld_context_destroy(context);
}

static size_t find_marker(const uint8_t *jpeg, size_t size, uint8_t marker)
{
    for (size_t i = 0; i + 1 < size; i++)
        if (jpeg[i] == 0xff && jpeg[i + 1] == marker)
            return i;
    CHECK(false, "no marker %02x", marker);
    return 0;
}

TEST(jpeg_of_an_unknown_kind_is_unsupported_not_damaged)
{
    ssld_context *context = make_context();
    struct ssld_fault fault;
    uint8_t copy[sizeof jpeg_colour];
    size_t frame = find_marker(jpeg_colour, sizeof jpeg_colour, 0xc0);
    memcpy(copy, jpeg_colour, sizeof copy);
    copy[frame + 4] = 12; /* bits a sample */
    CHECK_STATUS(NULL, decode_copy(context, copy, sizeof copy, &fault), SSLD_UNSUPPORTED);
    CHECK(strstr(fault.text, "cannot be read"), "%s", fault.text);
    memcpy(copy, jpeg_colour, sizeof copy);
    copy[frame + 1] = 0xc3; /* lossless */
    CHECK_STATUS(NULL, decode_copy(context, copy, sizeof copy, &fault), SSLD_UNSUPPORTED);
    ssld_context_destroy(context);
}

TEST(jpeg_with_stray_bytes_before_its_end_is_read)
{
    ssld_context *context = make_context();
    struct ssld_fault fault;
    uint8_t copy[sizeof jpeg_colour + 3];
    size_t end = sizeof jpeg_colour - 2;
    memcpy(copy, jpeg_colour, end);
    memset(copy + end, 0x55, 3);
    memcpy(copy + end + 3, jpeg_colour + end, 2);
    CHECK_STATUS(NULL, decode_copy(context, copy, sizeof copy, &fault), SSLD_OK);
    ssld_context_destroy(context);
}

static void write_big_endian(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

TEST(image_that_claims_too_many_pixels_is_refused_before_any_memory_is_taken)
{
    struct budget budget;
    ssld_context *context = make_context();
    struct ssld_fault fault;
    uint8_t jpeg[sizeof jpeg_colour], png[sizeof png_colour];
    memcpy(jpeg, jpeg_colour, sizeof jpeg);
    memset(jpeg + find_marker(jpeg, sizeof jpeg, 0xc0) + 5, 0xff, 4); /* 65535 x 65535: too much for libjpeg itself */
    CHECK_STATUS(NULL, decode_copy(context, jpeg, sizeof jpeg, &fault), SSLD_UNSUPPORTED);
    memset(jpeg + find_marker(jpeg, sizeof jpeg, 0xc0) + 5, 0x40, 4); /* 16448 x 16448 */
    CHECK_STATUS(NULL, decode_copy(context, jpeg, sizeof jpeg, &fault), SSLD_UNSUPPORTED);
    CHECK(strstr(fault.text, "16448 x 16448 pixels; the context's image_pixels_limit is 268435456"), "%s", fault.text);
    memcpy(png, png_colour, sizeof png);
    write_big_endian(png + 16, 0x7fffffff);
    write_big_endian(png + 20, 0x7fffffff);
    write_big_endian(png + 29, (uint32_t)crc32(0, png + 12, 17));
    ssld_context *poor = make_poor_context(&budget, 1000);
    CHECK_STATUS(NULL, decode_copy(poor, png, sizeof png, &fault), SSLD_UNSUPPORTED);
    CHECK(strstr(fault.text, "image_pixels_limit"), "%s", fault.text);
    ssld_context_destroy(poor);
    ssld_context_destroy(context);
}

TEST(png_of_no_width_is_damaged)
{
    ssld_context *context = make_context();
    struct ssld_fault fault;
    uint8_t png[sizeof png_colour];
    memcpy(png, png_colour, sizeof png);
    write_big_endian(png + 16, 0);
    write_big_endian(png + 29, (uint32_t)crc32(0, png + 12, 17));
    CHECK_STATUS(NULL, decode_copy(context, png, sizeof png, &fault), SSLD_CORRUPT);
    ssld_context_destroy(context);
}

TEST(other_formats_are_named_as_such)
{
    ssld_context *context = make_context();
    struct ssld_fault fault;
    static const char *const others[] = { "", "GIF89a, a picture", "<html>404</html>", "\xff\xd8", "\x89PNG" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ssld_status status = decode_copy(context, (const uint8_t *)others[i], strlen(others[i]), &fault);
        CHECK(status == SSLD_FORMAT && strstr(fault.text, others[i][0] ? "neither" : "the file is empty"), "'%s': %d %s", others[i], status, fault.text);
    }
    ssld_context_destroy(context);
}

/* libjpeg's own pools are malloc's; all of libpng's memory and the pixels of both are the context's. */
TEST(every_allocation_may_fail)
{
    for (size_t i = 0; i < SAMPLES; i++)
        for (int allowed = 0;; allowed++) {
            struct budget budget;
            struct ssld_fault fault;
            ssld_context *context = make_poor_context(&budget, allowed);
            ssld_status status = decode_copy(context, samples[i].bytes, samples[i].size, &fault);
            CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%s, %d allocations: %s: %s", samples[i].name,
                  allowed, ssld_status_name(status), fault.text);
            CHECK(atomic_load(&budget.out) == 1, "%s, %d allocations: %d blocks left", samples[i].name, allowed,
                  atomic_load(&budget.out) - 1);
            ssld_context_destroy(context);
            if (!status) {
                CHECK(allowed > 0, "%s needed no memory", samples[i].name);
                break;
            }
        }
}

TEST_MAIN(TEST_ROW(decoded_pixels_are_pinned), TEST_ROW(file_cut_off_anywhere_is_an_error),
          TEST_ROW(png_with_any_byte_changed_is_an_error), TEST_ROW(jpeg_with_any_byte_changed_does_no_harm),
          TEST_ROW(jpeg_of_an_unknown_kind_is_unsupported_not_damaged),
          TEST_ROW(jpeg_with_stray_bytes_before_its_end_is_read),
          TEST_ROW(image_that_claims_too_many_pixels_is_refused_before_any_memory_is_taken),
          TEST_ROW(png_of_no_width_is_damaged), TEST_ROW(other_formats_are_named_as_such),
          TEST_ROW(every_allocation_may_fail))
