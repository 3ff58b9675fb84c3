/* SPDX-License-Identifier: BSD-2-Clause */
/* decode.h - what decode.c and the formats share.
 *
 * libjpeg-turbo and libpng report failure by a call that must not return. Each format's function is therefore two: the
 * outer one calls the inner one, which holds the setjmp and only ever touches the job; close() releases what the job has,
 * whatever happened before. */
#ifndef SSLD_LIB_IMAGE_DECODE_H
#define SSLD_LIB_IMAGE_DECODE_H

#include "image/image.h"

#define SSLD_RGB 3

/* A format is a row: another one is another file. */
struct decode_format {
    const char *name;
    const char *signature;
    size_t      length;   /* of the signature */
    size_t      job_size; /* of its struct, which begins with a struct ssld_decoder; it is all zeros before open() */
    ssld_status (*open)(struct ssld_decoder *decoder, bool exif, struct ssld_fault *fault);
    ssld_status (*read)(struct ssld_decoder *decoder, const struct crop_box *box, bool whole, struct ssld_room *room,
                        struct ssld_image *image, struct ssld_fault *fault);
    void (*close)(struct ssld_decoder *decoder);
};

struct ssld_decoder {
    const struct decode_format *format;
    ssld_context               *context;
    const uint8_t              *bytes;
    size_t                      size;
    int32_t                     height; /* as stored */
    int32_t                     width;
    int32_t                     orientation;
};

extern const struct decode_format ssld_decode_jpeg, ssld_decode_png;

/* The size that a header claims, into the decoder, if the context allows it. */
ssld_status ssld_decoder_claim(struct ssld_decoder *decoder, int64_t height, int64_t width, struct ssld_fault *fault);

#endif
