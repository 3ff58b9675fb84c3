/* SPDX-License-Identifier: BSD-2-Clause */
/* colour.c - operations on the channels of a pixel: grey, RGB, and normalize, which makes floats of bytes. */
#include "image/operation.h"

#include <string.h>

/* -- gray, rgb ---------------------------------------------------------------------------------------------------- */

static ssld_status gray_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                              struct ssld_fault *fault)
{
    (void)operation;
    (void)fault;
    memcpy(out, in, 3 * sizeof *out);
    out[0] = 1;
    return SSLD_OK;
}

/* Luma in 16-bit fixed point, rounded: 0.299 R + 0.587 G + 0.114 B. Grey stays grey. */
static ssld_status gray_apply(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                              const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault)
{
    (void)operation;
    (void)stream;
    struct ssld_image made;
    if (image->channels == 1)
        return SSLD_OK;
    if (ssld_image_make(context, 1, out[1], out[2], &made, fault))
        return fault->status;
    for (int32_t y = 0; y < image->height; y++) {
        const uint8_t *from = image->pixels + (size_t)y * image->stride;
        uint8_t *to = made.own + (size_t)y * made.stride;
        for (int32_t x = 0; x < image->width; x++, from += 3)
            to[x] = (uint8_t)((from[0] * 19595 + from[1] * 38470 + from[2] * 7471 + 32768) >> 16);
    }
    ssld_image_replace(context, image, &made);
    return SSLD_OK;
}

static ssld_status rgb_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                             struct ssld_fault *fault)
{
    (void)operation;
    (void)fault;
    memcpy(out, in, 3 * sizeof *out);
    out[0] = 3;
    return SSLD_OK;
}

static ssld_status rgb_apply(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                             const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault)
{
    (void)operation;
    (void)stream;
    struct ssld_image made;
    if (image->channels == 3)
        return SSLD_OK;
    if (ssld_image_make(context, 3, out[1], out[2], &made, fault))
        return fault->status;
    for (int32_t y = 0; y < image->height; y++) {
        const uint8_t *from = image->pixels + (size_t)y * image->stride;
        uint8_t *to = made.own + (size_t)y * made.stride;
        for (int32_t x = 0; x < image->width; x++, to += 3)
            to[0] = to[1] = to[2] = from[x];
    }
    ssld_image_replace(context, image, &made);
    return SSLD_OK;
}

const struct operation_kind ssld_operation_gray = {
    .name = "gray",
    .shape = gray_shape,
    .apply = gray_apply,
};

const struct operation_kind ssld_operation_rgb = {
    .name = "rgb",
    .shape = rgb_shape,
    .apply = rgb_apply,
};

/* -- normalize(mean, std) ----------------------------------------------------------------------------------------- */

/* One number serves any channels, three need three. */
static ssld_status normalize_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                   struct ssld_fault *fault)
{
    for (int a = 0; a < 2; a++)
        if (ssld_check_channels(operation, a, in, fault))
            return fault->status;
    memcpy(out, in, 3 * sizeof *out);
    return SSLD_OK;
}

const struct operation_kind ssld_operation_normalize = {
    .name = "normalize",
    .arguments = { { "mean", ARGUMENT_CHANNELS, -1e6, 1e6, NULL, NULL },
                   { "std", ARGUMENT_CHANNELS, 1e-6, 1e6, NULL, NULL } },
    .preset = "imagenet",
    .preset_arguments = "0.485/0.456/0.406, 0.229/0.224/0.225",
    .stage = STAGE_NORMALIZE,
    .shape = normalize_shape,
};
