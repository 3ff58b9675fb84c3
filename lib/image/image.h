/* SPDX-License-Identifier: BSD-2-Clause */
/* image.h - 8-bit images between decoding and rendering: made, decoded, resampled.
 *
 * A failure goes into the caller's own ssld_fault instead of the context, because images fail on many threads at once
 * and the text must still be there, with the file's name before it, when the batch is delivered. */
#ifndef SSLD_LIB_IMAGE_IMAGE_H
#define SSLD_LIB_IMAGE_IMAGE_H

#include "core/context.h"

/* Larger images are refused: at three bytes a pixel this is 768 MiB. */
#define SSLD_IMAGE_MOST_PIXELS ((int64_t)1 << 28)

struct ssld_fault {
    ssld_status status;
    char        text[400];
};

/* Keep status and text, return the status. */
ssld_status ssld_fault_set(struct ssld_fault *fault, ssld_status status, const char *format, ...) SSLD_PRINTF(3, 4);
ssld_status ssld_fault_memory(struct ssld_fault *fault, const char *what, size_t size);

struct ssld_image {
    int32_t        channels; /* 1 or 3, interleaved */
    int32_t        height;
    int32_t        width;
    size_t         stride;   /* bytes from a row to the next; a crop keeps the stride of what it was cut from */
    const uint8_t *pixels;   /* the first row */
    uint8_t       *own;      /* the memory that `pixels` points into, NULL if it is borrowed */
};

/* An image of unset pixels in memory of its own. */
ssld_status ssld_image_make(ssld_context *context, int32_t channels, int32_t height, int32_t width,
                            struct ssld_image *image, struct ssld_fault *fault);
/* Give the memory back if it is the image's own. */
void ssld_image_free(ssld_context *context, struct ssld_image *image);
/* Free `image` and put `other` in its place. */
void ssld_image_replace(ssld_context *context, struct ssld_image *image, const struct ssld_image *other);
/* The part of the image that begins at (top, left), without a copy. */
void ssld_image_cut(struct ssld_image *image, int32_t top, int32_t left, int32_t height, int32_t width);

/* A JPEG or PNG file's content as RGB, see ssld_view_render(). */
ssld_status ssld_image_decode(ssld_context *context, const void *bytes, size_t size, struct ssld_image *image,
                              struct ssld_fault *fault);

/* Resize to height x width with a triangle filter widened by the reduction (antialiasing): byte for byte what Pillow's
 * Image.resize((width, height), BILINEAR) gives. `dst` is made. */
ssld_status ssld_image_resample(ssld_context *context, const struct ssld_image *src, int32_t height, int32_t width,
                                struct ssld_image *dst, struct ssld_fault *fault);

#endif
