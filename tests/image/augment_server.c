/* SPDX-License-Identifier: BSD-2-Clause */
/* augment_server.c - for test_augment.py: answers requests on standard input until it ends, in native byte order.
 *
 *   'p' int32 operation (enum pixel_operation), filter; double value; 4 bytes fill; int32 channels, height, width;
 *       pixels                                          -> pixels
 *   'd' int32 length; spec; int32 height, width, draws  -> for samples 0 .. draws - 1 of the spec's first operation,
 *       which augments: int32 count; of each call int32 operation, filter; double value
 *   'v' int32 length; spec; int32 channels, height, width; uint64 seed, sample; uint32 view; pixels
 *                                                       -> int32 channels, height, width; floats */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/augment.h"

static void get(void *to, size_t size)
{
    if (fread(to, 1, size, stdin) != size)
        exit(0);
}

static void put(const void *from, size_t size)
{
    if (fwrite(from, 1, size, stdout) != size)
        exit(1);
}

static void *get_bytes(size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        exit(1);
    get(bytes, size);
    bytes[size] = 0;
    return bytes;
}

static ssld_view_spec *get_spec(ssld_context *context)
{
    int32_t length;
    ssld_view_spec *spec = NULL;
    get(&length, sizeof length);
    char *text = get_bytes((size_t)length);
    if (ssld_view_spec_parse(context, text, &spec))
        exit(1);
    free(text);
    return spec;
}

static void pixels(ssld_context *context)
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
    for (int32_t y = 0; y < image.height; y++)
        put(image.pixels + (size_t)y * image.stride, row);
    ssld_image_free(context, &image);
    free(bytes);
}

static void draws(ssld_context *context)
{
    ssld_view_spec *spec = get_spec(context);
    int32_t size[3];
    get(size, sizeof size);
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

static void view(ssld_context *context)
{
    ssld_view_spec *spec = get_spec(context);
    int32_t image[3], shape[3];
    uint64_t place[2];
    uint32_t number;
    get(image, sizeof image);
    get(place, sizeof place);
    get(&number, sizeof number);
    uint8_t *bytes = get_bytes((size_t)image[0] * (size_t)image[1] * (size_t)image[2]);
    if (ssld_view_spec_shape(spec, image, shape))
        exit(1);
    size_t floats = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
    float *dst = malloc(floats * sizeof *dst);
    if (!dst || ssld_view_render_pixels(spec, bytes, image, place[0], place[1], number, dst, floats))
        exit(1);
    put(shape, sizeof shape);
    put(dst, floats * sizeof *dst);
    free(dst);
    free(bytes);
    ssld_view_spec_destroy(spec);
}

int main(void)
{
    ssld_context *context = NULL;
    if (ssld_context_create(NULL, &context))
        return 1;
    for (int request; (request = getchar()) != EOF; fflush(stdout)) {
        if (request == 'p')
            pixels(context);
        else if (request == 'd')
            draws(context);
        else if (request == 'v')
            view(context);
        else
            return 1;
    }
    ssld_context_destroy(context);
    return 0;
}
