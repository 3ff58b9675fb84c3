/* SPDX-License-Identifier: BSD-2-Clause */
/* operation.c - the table of the operations of view specs, and the rules that several of them share.
 *
 * The order in which an operation draws its random words is part of what a view is: labels in stores all over the world
 * depend on it. It stands above each function that draws, and golden hashes in the tests hold it. An operation's stream
 * is ssld_stream_start(seed, sample, view, its position in the spec), so what others draw does not move it. */
#include "image/operation.h"

#include <string.h>

const struct operation_kind *const ssld_operation_kinds[] = {
    &ssld_operation_exif,
    &ssld_operation_rrc,
    &ssld_operation_resize,
    &ssld_operation_center_crop,
    &ssld_operation_pad_crop,
    &ssld_operation_flip,
    &ssld_operation_vflip,
    &ssld_operation_gray,
    &ssld_operation_rgb,
    &ssld_operation_color_jitter,
    &ssld_operation_randaugment,
    &ssld_operation_autoaugment,
    &ssld_operation_paddle_randaugment,
    &ssld_operation_paddle_autoaugment,
    &ssld_operation_normalize,
    &ssld_operation_erase,
    &ssld_operation_mixup,
    &ssld_operation_cutmix,
    &ssld_operation_mixup_or_cutmix,
    NULL,
};

ssld_status ssld_same_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                            struct ssld_fault *fault)
{
    (void)operation;
    (void)fault;
    memcpy(out, in, 3 * sizeof *out);
    return SSLD_OK;
}

ssld_status ssld_fixed_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                             struct ssld_fault *fault)
{
    (void)fault;
    out[0] = in[0];
    out[1] = (int32_t)operation->arguments[0].values[0];
    out[2] = (int32_t)operation->arguments[0].values[1];
    return SSLD_OK;
}

ssld_status ssld_operation_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                 struct ssld_fault *fault)
{
    if (operation->kind->shape(operation, in, out, fault))
        return fault->status;
    if (out[1] && out[2] && out[1] > SSLD_IMAGE_MOST_PIXELS / out[2])
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%s: it would make %d x %d pixels; at most 2^28 are supported",
                              operation->kind->name, out[1], out[2]);
    return SSLD_OK;
}

double ssld_channel_value(const struct argument *argument, int32_t channel)
{
    return argument->values[argument->count == 3 ? channel : 0];
}

ssld_status ssld_check_channels(const struct operation *operation, int argument, const int32_t in[3],
                                struct ssld_fault *fault)
{
    if (operation->arguments[argument].count == 3 && in[0] != 3)
        return ssld_fault_set(fault, SSLD_INVALID_ARGUMENT,
                              "%s: %s has 3 numbers, but there is 1 channel; give one, or put rgb before it",
                              operation->kind->name, operation->kind->arguments[argument].name);
    return SSLD_OK;
}

void ssld_image_fill(struct ssld_image *image, const struct argument *colour)
{
    size_t channels = (size_t)image->channels;
    uint8_t bytes[3];
    for (int32_t c = 0; c < image->channels; c++)
        bytes[c] = (uint8_t)(ssld_channel_value(colour, c) + 0.5);
    bool grey = channels == 1 || (bytes[0] == bytes[1] && bytes[1] == bytes[2]);
    for (int32_t y = 0; y < image->height; y++) {
        uint8_t *row = image->own + (size_t)y * image->stride;
        if (grey)
            memset(row, bytes[0], (size_t)image->width * channels);
        for (size_t x = 0; !grey && x < (size_t)image->width; x++)
            memcpy(row + 3 * x, bytes, 3);
    }
}
