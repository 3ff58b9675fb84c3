/* SPDX-License-Identifier: BSD-2-Clause */
/* image_server.c - for test_pillow.py: answers requests on standard input until it ends, in native byte order.
 *
 *   'r' int32 channels, height, width, top, left, crop height, crop width, out height, out width, filter; pixels -> crop
 *   'd' int32 size; bytes                                       -> int32 status, height, width; RGB pixels if 0
 *   'v' int32 length; spec; int32 channels, height, width; uint64 seed, sample; uint32 view; pixels
 *                                                               -> int32 status, channels, height, width; bytes if 0
 *
 *   'f' int32 length; spec; int32 size; bytes; int32 height, width of the view; uint64 seed, sample; uint32 view
 *                                                               -> int32 status; RGB bytes if 0
 *
 * A view's floats come back as bytes, which they are multiples of 1/255 of when the spec does not normalise. */
#include <stdio.h>
#include <stdlib.h>

#include "image/operation.h"

static void get(void *to, size_t size)
{
    if (fread(to, 1, size, stdin) != size)
        exit(0);
}

static uint8_t *get_bytes(size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        exit(1);
    get(bytes, size);
    bytes[size] = 0;
    return bytes;
}

static void put(const void *from, size_t size)
{
    if (fwrite(from, 1, size, stdout) != size)
        exit(1);
}

static void put_rows(const struct ssld_image *image)
{
    for (int32_t y = 0; y < image->height; y++)
        put(image->pixels + (size_t)y * image->stride, (size_t)image->width * (size_t)image->channels);
}

static void resample(ssld_context *context)
{
    int32_t n[10];
    struct ssld_fault fault;
    struct ssld_resampler resampler = { 0 };
    get(n, sizeof n);
    uint8_t *pixels = get_bytes((size_t)n[0] * (size_t)n[1] * (size_t)n[2]);
    struct ssld_image image = { n[0], n[1], n[2], (size_t)n[2] * (size_t)n[0], pixels, NULL };
    struct ssld_sampling sampling = { (enum resample_filter)n[9], n[0], n[5], n[6], n[7], n[8], { 0, 0, n[7], n[8] }, false };
    if (ssld_resampler_plan(context, &sampling, &resampler, &fault))
        exit(1);
    ssld_image_cut(&image, n[3] + resampler.need.top, n[4] + resampler.need.left, resampler.need.height,
                   resampler.need.width);
    if (ssld_resampler_feed(context, &resampler, &image, &fault))
        exit(1);
    for (int32_t y = 0; y < n[7]; y++) {
        const uint8_t *planes = ssld_resampler_row(&resampler, y);
        for (int32_t i = 0; i < n[8] * n[0]; i++)
            put(&planes[(size_t)(i % n[0]) * resampler.plane + (size_t)(i / n[0])], 1);
    }
    ssld_resampler_free(context, &resampler);
    free(pixels);
}

static void decode(ssld_context *context)
{
    int32_t size;
    struct ssld_fault fault;
    struct ssld_image image = { 0 };
    get(&size, sizeof size);
    uint8_t *bytes = get_bytes((size_t)size);
    ssld_status status = ssld_image_decode(context, bytes, (size_t)size, &image, &fault);
    int32_t answer[3] = { status, image.height, image.width };
    put(answer, sizeof answer);
    put_rows(&image);
    ssld_image_free(context, &image);
    free(bytes);
}

static void view(ssld_context *context)
{
    int32_t length, image[3], shape[3] = { 0, 0, 0 };
    uint64_t place[2];
    uint32_t number;
    ssld_view_spec *spec = NULL;
    get(&length, sizeof length);
    uint8_t *text = get_bytes((size_t)length);
    get(image, sizeof image);
    get(place, sizeof place);
    get(&number, sizeof number);
    uint8_t *pixels = get_bytes((size_t)image[0] * (size_t)image[1] * (size_t)image[2]);
    ssld_status status = ssld_view_spec_parse(context, (const char *)text, &spec);
    if (!status)
        status = ssld_view_spec_shape(spec, image, shape);
    size_t plane = (size_t)shape[1] * (size_t)shape[2], floats = plane * (size_t)shape[0];
    float *dst = malloc((floats + 1) * sizeof *dst);
    if (!status)
        status = ssld_view_render_pixels(spec, pixels, image, place[0], place[1], number, dst, floats);
    int32_t answer[4] = { status, shape[0], shape[1], shape[2] };
    put(answer, sizeof answer);
    for (size_t i = 0; !status && i < floats; i++) {
        uint8_t byte = (uint8_t)(dst[i % (size_t)shape[0] * plane + i / (size_t)shape[0]] * 255.0f + 0.5f);
        put(&byte, 1);
    }
    ssld_view_spec_destroy(spec);
    free(dst);
    free(text);
    free(pixels);
}

static void view_of_file(ssld_context *context)
{
    int32_t length, size, shape[2];
    uint64_t place[2];
    uint32_t number;
    ssld_view_spec *spec = NULL;
    get(&length, sizeof length);
    uint8_t *text = get_bytes((size_t)length);
    get(&size, sizeof size);
    uint8_t *bytes = get_bytes((size_t)size);
    get(shape, sizeof shape);
    get(place, sizeof place);
    get(&number, sizeof number);
    size_t plane = (size_t)shape[0] * (size_t)shape[1];
    float *dst = malloc(3 * plane * sizeof *dst);
    int32_t status = ssld_view_spec_parse(context, (const char *)text, &spec);
    if (!status)
        status = ssld_view_render(spec, bytes, (size_t)size, place[0], place[1], number, dst, 3 * plane);
    put(&status, sizeof status);
    for (size_t i = 0; !status && i < 3 * plane; i++) {
        uint8_t byte = (uint8_t)(dst[i % 3 * plane + i / 3] * 255.0f + 0.5f);
        put(&byte, 1);
    }
    ssld_view_spec_destroy(spec);
    free(dst);
    free(text);
    free(bytes);
}

int main(void)
{
    ssld_context *context = NULL;
    if (ssld_context_create(NULL, &context))
        return 1;
    for (int request; (request = getchar()) != EOF; fflush(stdout)) {
        if (request == 'r')
            resample(context);
        else if (request == 'd')
            decode(context);
        else if (request == 'v')
            view(context);
        else if (request == 'f')
            view_of_file(context);
        else
            return 1;
    }
    ssld_context_destroy(context);
    return 0;
}
