/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_decode.c - any bytes as an image file. A PNG's checksums are made right first: a fuzzer would not get past them. What
 * decodes whole must decode in part, to the same pixels; and a view of it must render. */
#include "fuzz.h"

#include "core/hash.h"
#include "image/operation.h"

#define MOST_PIXELS (1 << 16)

static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0xedb88320u ^ crc >> 1 : crc >> 1;
    }
    return ~crc;
}

static void mend_png(uint8_t *bytes, size_t size)
{
    for (size_t at = 8; size > at && size - at >= 12;) {
        size_t length = (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 | (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (length > size - at - 12)
            return;
        uint32_t crc = crc32_of(bytes + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            bytes[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
}

/* A box that the bytes choose. */
static struct crop_box choose_box(uint64_t random, int32_t height, int32_t width)
{
    struct crop_box box;
    box.top = (int32_t)(random % 0x10000) % height;
    box.left = (int32_t)(random >> 16 & 0xffff) % width;
    box.height = 1 + (int32_t)(random >> 32 & 0xffff) % (height - box.top);
    box.width = 1 + (int32_t)(random >> 48) % (width - box.left);
    return box;
}

static void read_part(ssld_context *context, const uint8_t *bytes, size_t size, const struct ssld_image *whole)
{
    struct crop_box box = choose_box(ssld_checksum(bytes, size), whole->height, whole->width);
    struct ssld_decoder *decoder = NULL;
    struct ssld_room room = { NULL, 0 };
    struct ssld_image part;
    struct ssld_fault fault;
    if (ssld_decoder_open(context, bytes, size, true, &decoder, &fault) ||
        ssld_decoder_read(decoder, &box, &room, &part, &fault)) {
        fprintf(stderr, "the whole decodes, a part does not: %s\n", fault.text);
        abort();
    }
    for (int32_t y = 0; y < box.height; y++)
        if (memcmp(part.pixels + (size_t)y * part.stride,
                   whole->pixels + (size_t)(box.top + y) * whole->stride + 3 * (size_t)box.left, 3 * (size_t)box.width)) {
            fprintf(stderr, "the part %d x %d at %d, %d of %d x %d differs in its row %d\n", box.height, box.width, box.top,
                    box.left, whole->height, whole->width, y);
            abort();
        }
    ssld_decoder_close(decoder);
    ssld_room_free(context, &room);
}

static void render(ssld_context *context, const uint8_t *bytes, size_t size)
{
    static const char *const specs[] = { "exif rrc(20, 0.1..0.5) flip normalize(imagenet)",
                                         "exif resize(40, filter=cv_cubic) center_crop(16) flip(1)" };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ssld_view_spec *spec = NULL;
        static float dst[3 * 20 * 20];
        if (ssld_view_spec_parse(context, specs[i], &spec))
            abort();
        ssld_status status = ssld_view_render(spec, bytes, size, size, 0, 0, dst, 3 * 20 * 20);
        ssld_view_spec_destroy(spec);
        if (status == SSLD_INVALID_ARGUMENT)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.threads = 1;
    options.image_pixels_limit = MOST_PIXELS;
    if (size > 1 << 20 || ssld_context_create(&options, &context))
        return 0;
    struct ssld_fault fault;
    struct ssld_image whole;
    uint8_t *bytes = malloc(size + 1);
    memcpy(bytes, data, size);
    if (size > 8 && bytes[0] == 0x89)
        mend_png(bytes, size);
    if (!ssld_image_decode(context, bytes, size, &whole, &fault)) {
        read_part(context, bytes, size, &whole);
        ssld_image_free(context, &whole);
    }
    render(context, bytes, size);
    free(bytes);
    ssld_context_destroy(context);
    return 0;
}
