/* SPDX-License-Identifier: BSD-2-Clause */
/* image_server.c - for image_server.py: answers requests on standard input until it ends, in native byte order.
 *
 *   'r' int32 channels, height, width, top, left, crop height, crop width, out height, out width, filter; pixels -> crop
 *   'd' int32 size; bytes                                       -> int32 status, height, width; RGB pixels if 0
 *   'p' int32 operation (enum pixel_operation), filter; double value; 4 bytes fill; int32 channels, height, width; pixels
 *                                                               -> pixels
 *   'a' int32 length; spec; int32 height, width, draws          -> for samples 0 .. draws - 1 of the spec's first operation,
 *       which augments: int32 count; of each call int32 operation, filter; double value
 *   'v' int32 length; spec; int32 channels, height, width; uint64 seed, sample; uint32 view; pixels
 *                                                               -> int32 status, channels, height, width; bytes if 0
 *   'f' int32 length; spec; int32 size; bytes; int32 height, width of the view; uint64 seed, sample; uint32 view
 *                                                               -> int32 status; RGB bytes if 0
 *
 * A view's floats come back as bytes, which they are multiples of 1/255 of when the spec does not normalise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/augment.h"

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

static char *get_text(void)
{
    int32_t length;
    get(&length, sizeof length);
    return (char *)get_bytes((size_t)length);
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

static void change(ssld_context *context)
{
    int32_t kind[2], shape[3];
    uint8_t fill[4];
    struct pixel_call call;
    struct ssld_fault fault;
    get(kind, sizeof kind);
    get(&call.value, sizeof call.value);
    get(fill, sizeof fill);
    get(shape, sizeof shape);
    call.operation = (enum pixel_operation)kind[0];
    call.filter = (enum pixel_filter)kind[1];
    memcpy(call.fill, fill, sizeof call.fill);
    size_t row = (size_t)shape[0] * (size_t)shape[2];
    uint8_t *bytes = get_bytes(row * (size_t)shape[1]);
    struct ssld_image image = { shape[0], shape[1], shape[2], row, bytes, NULL };
    if (ssld_pixels_change(context, &call, &image, &fault))
        exit(1);
    put_rows(&image);
    ssld_image_free(context, &image);
    free(bytes);
}

static void augmentations(ssld_context *context)
{
    ssld_view_spec *spec = NULL;
    int32_t size[3];
    char *text = get_text();
    get(size, sizeof size);
    if (ssld_view_spec_parse(context, text, &spec))
        exit(1);
    free(text);
    for (int32_t i = 0; i < size[2]; i++) {
        struct augmentation drawn;
        struct ssld_stream stream = ssld_stream_start(3, (uint64_t)i, 0, 0);
        ssld_augment_draw(&spec->operations[0], size[0], size[1], &stream, &drawn);
        put(&drawn.count, sizeof drawn.count);
        for (int32_t c = 0; c < drawn.count; c++) {
            int32_t kind[2] = { (int32_t)drawn.calls[c].operation, (int32_t)drawn.calls[c].filter };
            put(kind, sizeof kind);
            put(&drawn.calls[c].value, sizeof drawn.calls[c].value);
        }
    }
    ssld_view_spec_destroy(spec);
}

/* Which view of a sample. */
struct place {
    uint64_t seed, sample;
    uint32_t view;
};

static struct place get_place(void)
{
    struct place place;
    get(&place.seed, sizeof place.seed);
    get(&place.sample, sizeof place.sample);
    get(&place.view, sizeof place.view);
    return place;
}

/* Planes of floats as rows of bytes, whose channels stand together. */
static void put_view(const float *view, const int32_t shape[3])
{
    size_t channels = (size_t)shape[0], plane = (size_t)shape[1] * (size_t)shape[2];
    for (size_t i = 0; i < channels * plane; i++) {
        uint8_t byte = (uint8_t)(view[i % channels * plane + i / channels] * 255.0f + 0.5f);
        put(&byte, 1);
    }
}

static void view(ssld_context *context)
{
    int32_t image[3], shape[3] = { 0, 0, 0 };
    ssld_view_spec *spec = NULL;
    char *text = get_text();
    get(image, sizeof image);
    struct place place = get_place();
    uint8_t *pixels = get_bytes((size_t)image[0] * (size_t)image[1] * (size_t)image[2]);
    ssld_status status = ssld_view_spec_parse(context, text, &spec);
    if (!status)
        status = ssld_view_spec_shape(spec, image, shape);
    size_t floats = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
    float *dst = malloc((floats + 1) * sizeof *dst);
    if (!status)
        status = ssld_view_render_pixels(spec, pixels, image, place.seed, place.sample, place.view, dst, floats);
    int32_t answer[4] = { status, shape[0], shape[1], shape[2] };
    put(answer, sizeof answer);
    if (!status)
        put_view(dst, shape);
    ssld_view_spec_destroy(spec);
    free(dst);
    free(text);
    free(pixels);
}

static void view_of_file(ssld_context *context)
{
    int32_t size, shape[3] = { 3, 0, 0 };
    ssld_view_spec *spec = NULL;
    char *text = get_text();
    get(&size, sizeof size);
    uint8_t *bytes = get_bytes((size_t)size);
    get(shape + 1, 2 * sizeof *shape);
    struct place place = get_place();
    size_t floats = 3 * (size_t)shape[1] * (size_t)shape[2];
    float *dst = malloc(floats * sizeof *dst);
    int32_t status = ssld_view_spec_parse(context, text, &spec);
    if (!status)
        status = ssld_view_render(spec, bytes, (size_t)size, place.seed, place.sample, place.view, dst, floats);
    put(&status, sizeof status);
    if (!status)
        put_view(dst, shape);
    ssld_view_spec_destroy(spec);
    free(dst);
    free(text);
    free(bytes);
}

int main(void)
{
    static const struct {
        char request;
        void (*answer)(ssld_context *context);
    } requests[] = { { 'r', resample }, { 'd', decode },       { 'p', change }, { 'a', augmentations },
                     { 'v', view },     { 'f', view_of_file } };
    ssld_context *context = NULL;
    if (ssld_context_create(NULL, &context))
        return 1;
    for (int request; (request = getchar()) != EOF; fflush(stdout)) {
        size_t i = 0;
        while (i < sizeof requests / sizeof *requests && requests[i].request != request)
            i++;
        if (i == sizeof requests / sizeof *requests)
            return 1;
        requests[i].answer(context);
    }
    ssld_context_destroy(context);
    return 0;
}
