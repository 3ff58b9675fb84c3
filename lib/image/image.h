/* SPDX-License-Identifier: BSD-2-Clause */
/* image.h - 8-bit images between decoding and rendering: made, decoded, resampled.
 *
 * A failure goes into the caller's own ssld_fault instead of the context, because images fail on many threads at once
 * and the text must still be there, with the file's name before it, when the batch is delivered. */
#ifndef SSLD_LIB_IMAGE_IMAGE_H
#define SSLD_LIB_IMAGE_IMAGE_H

#include "core/context.h"

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

/* A part of an image. */
struct crop_box {
    int32_t top, left, height, width;
};

/* -- Decoding ----------------------------------------------------------------------------------------------------- */

/* Memory that is used again and again: what was in it is lost when it grows. Begins as zeros. */
struct ssld_room {
    uint8_t *memory;
    size_t   size;
};

/* At least `size` bytes; NULL: none, the fault is set, `what` names them. */
uint8_t *ssld_room_take(ssld_context *context, struct ssld_room *room, const char *what, size_t size,
                        struct ssld_fault *fault);
void ssld_room_free(ssld_context *context, struct ssld_room *room);

/* A JPEG or PNG file being decoded. */
struct ssld_decoder;

/* Read the header: the size is known then, and within the context's limits; nothing that depends on it was allocated.
 * The bytes are borrowed until the decoder is closed. exif: look for the orientation, which is 1 otherwise. */
ssld_status ssld_decoder_open(ssld_context *context, const void *bytes, size_t size, bool exif,
                              struct ssld_decoder **decoder, struct ssld_fault *fault);
/* As stored: the orientation is not applied. */
void    ssld_decoder_size(const struct ssld_decoder *decoder, int32_t *height, int32_t *width);
int32_t ssld_decoder_orientation(const struct ssld_decoder *decoder);
/* Decode the pixels of a box, once: they are those of the whole image, and so is what the file must be sound for, from
 * its beginning to the box's last row. box NULL: all of the image and of the file. The image is borrowed from `room`. */
ssld_status ssld_decoder_read(struct ssld_decoder *decoder, const struct crop_box *box, struct ssld_room *room,
                              struct ssld_image *image, struct ssld_fault *fault);
void        ssld_decoder_close(struct ssld_decoder *decoder); /* NULL is ignored */

/* All of a file's content as RGB in memory of its own, see ssld_view_render(). */
ssld_status ssld_image_decode(ssld_context *context, const void *bytes, size_t size, struct ssld_image *image,
                              struct ssld_fault *fault);

/* -- Orientation -------------------------------------------------------------------------------------------------- */

/* EXIF's orientation tag, 1 to 8, of TIFF data; 1 if there is none that can be read. */
int32_t ssld_exif_orientation(const uint8_t *tiff, size_t size);
/* Height and width change places. */
bool ssld_orientation_turns(int32_t orientation);
/* A box of the upright image as a box of the stored one, of the given size. */
struct crop_box ssld_orientation_stored(int32_t orientation, const struct crop_box *upright, int32_t height,
                                        int32_t width);
/* The stored image as it is to be seen: dst has its pixels and its shape set. */
void ssld_orientation_apply(int32_t orientation, const struct ssld_image *stored, uint8_t *pixels,
                            struct ssld_image *dst);

#endif
