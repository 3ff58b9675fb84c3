/* SPDX-License-Identifier: BSD-2-Clause */
/* render.c - from an image to a view: the spec's operations in turn, then bytes to floats, interleaved to planes. */
#include "image/operation.h"

#include <string.h>

/* dst[c][y][x] = levels[c][pixels[y][x][c]] */
static void write_floats(const ssld_view_spec *spec, const struct ssld_image *image, float *dst)
{
    size_t width = (size_t)image->width, channels = (size_t)image->channels, plane = (size_t)image->height * width;
    for (size_t y = 0; y < (size_t)image->height; y++) {
        const uint8_t *row = image->pixels + y * image->stride;
        for (size_t c = 0; c < channels; c++) {
            const float *levels = spec->levels[c];
            float *to = dst + c * plane + y * width;
            for (size_t x = 0; x < width; x++)
                to[x] = levels[row[x * channels + c]];
        }
    }
}

/* The operations behind normalize, but for mixing. */
static void apply_floats(const ssld_view_spec *spec, const int32_t shape[3], uint64_t seed, uint64_t sample,
                         uint32_t view, float *dst)
{
    for (int32_t i = spec->normalize + 1; i < (spec->mix < 0 ? spec->count : spec->mix); i++) {
        struct ssld_stream stream = ssld_stream_start(seed, sample, view, (uint16_t)i);
        spec->operations[i].kind->apply_floats(&spec->operations[i], &stream, shape, dst);
    }
}

/* Frees the image. Nothing is written to dst unless all of it is. */
static ssld_status draw(const ssld_view_spec *spec, struct ssld_image *image, uint64_t seed, uint64_t sample,
                        uint32_t view, float *dst, size_t capacity, struct ssld_fault *fault)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; i <= spec->normalize && !status; i++) {
        const struct operation *operation = &spec->operations[i];
        int32_t in[3] = { image->channels, image->height, image->width }, out[3];
        struct ssld_stream stream = ssld_stream_start(seed, sample, view, (uint16_t)i);
        status = ssld_operation_shape(operation, in, out, fault);
        if (!status && operation->kind->apply)
            status = operation->kind->apply(operation, spec->context, &stream, out, image, fault);
    }
    size_t floats = (size_t)image->channels * (size_t)image->height * (size_t)image->width;
    if (!status && floats > capacity)
        status = ssld_fault_set(fault, SSLD_INVALID_ARGUMENT, "the view has %zu floats, there is room for %zu", floats,
                                capacity);
    if (!status) {
        int32_t shape[3] = { image->channels, image->height, image->width };
        write_floats(spec, image, dst);
        apply_floats(spec, shape, seed, sample, view, dst);
    }
    ssld_image_free(spec->context, image);
    return status;
}

ssld_status ssld_view_draw(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                           uint32_t view, float *dst, size_t capacity, struct ssld_fault *fault)
{
    struct ssld_image image;
    if (ssld_image_decode(spec->context, bytes, size, &image, fault))
        return fault->status;
    return draw(spec, &image, seed, sample, view, dst, capacity, fault);
}

ssld_status ssld_view_draw_pixels(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                  uint64_t seed, uint64_t sample, uint32_t view, float *dst, size_t capacity,
                                  struct ssld_fault *fault)
{
    int32_t channels = image[0], height = image[1], width = image[2];
    if ((channels != 1 && channels != 3) || height < 1 || width < 1)
        return ssld_fault_set(fault, SSLD_INVALID_ARGUMENT,
                              "pixels of shape %d x %d x %d; an image has 1 or 3 channels and at least one pixel",
                              channels, height, width);
    if (height > SSLD_IMAGE_MOST_PIXELS / width)
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%d x %d pixels; at most 2^28 are supported", height, width);
    struct ssld_image borrowed = { channels, height, width, (size_t)width * (size_t)channels, pixels, NULL };
    return draw(spec, &borrowed, seed, sample, view, dst, capacity, fault);
}

/* -- Public ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_view_render(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                             uint32_t view, float *dst, size_t capacity)
{
    struct ssld_fault fault;
    if (ssld_view_draw(spec, bytes, size, seed, sample, view, dst, capacity, &fault))
        return ssld_fail(spec->context, fault.status, "ssld_view_render: %s", fault.text);
    return SSLD_OK;
}

ssld_status ssld_view_render_pixels(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                    uint64_t seed, uint64_t sample, uint32_t view, float *dst, size_t capacity)
{
    struct ssld_fault fault;
    if (ssld_view_draw_pixels(spec, pixels, image, seed, sample, view, dst, capacity, &fault))
        return ssld_fail(spec->context, fault.status, "ssld_view_render_pixels: %s", fault.text);
    return SSLD_OK;
}
