/* SPDX-License-Identifier: BSD-2-Clause */
/* frame.h - an image that is not made yet: where its pixels are, and which part of them, in which size, is wanted.
 *
 * Operations of geometry change what is wanted and touch no pixel. When bytes are needed, by another operation or by the
 * view itself, only the wanted part is decoded and resampled. What was asked in steps gives the bytes that the steps would
 * have given one by one. */
#ifndef SSLD_LIB_IMAGE_FRAME_H
#define SSLD_LIB_IMAGE_FRAME_H

#include "image/resample.h"
#include "image/times.h"

/* What rendering needs for a while: a thread's own, used again for its next image. */
struct ssld_scratch {
    struct ssld_scratch  *next; /* in the pool */
    struct ssld_room      decoded;
    struct ssld_room      upright;
    struct ssld_room      settled[2]; /* used in turn: the second may be made from the first */
    struct ssld_room      floats;
    struct ssld_resampler resampler;
    struct ssld_view_times *times; /* of the view that is being rendered; NULL: nobody asks */
};

/* Scratches that no thread uses at the moment. Any number of threads may take and give. */
struct ssld_pool;
struct ssld_pool    *ssld_pool_create(ssld_context *context); /* NULL: no memory */
struct ssld_scratch *ssld_pool_take(struct ssld_pool *pool);  /* NULL: no memory */
void                 ssld_pool_give(struct ssld_pool *pool, struct ssld_scratch *scratch);
void                 ssld_pool_destroy(struct ssld_pool *pool); /* NULL is ignored */

struct ssld_frame {
    ssld_context        *context;
    struct ssld_scratch *scratch;
    struct ssld_decoder *decoder; /* the source, if it is not decoded yet; closed then */
    struct ssld_image    source;  /* its pixels otherwise; its shape always, upright */
    int32_t              orientation;
    struct crop_box      box;     /* the part of the upright source ... */
    struct ssld_sampling sampling; /* ... that is resized, cut and mirrored */
    int                  turn;    /* which of `settled` is next */
};

/* The source is a decoder, which the frame closes, or an image, which the frame frees. */
void ssld_frame_of_decoder(struct ssld_frame *frame, ssld_context *context, struct ssld_scratch *scratch,
                           struct ssld_decoder *decoder);
void ssld_frame_of_image(struct ssld_frame *frame, ssld_context *context, struct ssld_scratch *scratch,
                         const struct ssld_image *image);
void ssld_frame_free(struct ssld_frame *frame);

/* Channels, height, width of what is wanted. */
void ssld_frame_shape(const struct ssld_frame *frame, int32_t shape[3]);

/* -- For operations ----------------------------------------------------------------------------------------------- */

/* The first operation only: what is wanted is the upright image. */
void        ssld_frame_orient(struct ssld_frame *frame);
void        ssld_frame_crop(struct ssld_frame *frame, const struct crop_box *box);
ssld_status ssld_frame_resize(struct ssld_frame *frame, int32_t height, int32_t width, int32_t filter,
                              struct ssld_fault *fault);
void        ssld_frame_mirror(struct ssld_frame *frame);

/* -- For the renderer --------------------------------------------------------------------------------------------- */

/* Make the image: frame->source is what is wanted, and nothing more is asked of it. */
ssld_status ssld_frame_settle(struct ssld_frame *frame, struct ssld_fault *fault);
/* All of the source as it is, after something changed it. */
void        ssld_frame_want_all(struct ssld_frame *frame);
/* Ready the resampler, from which the rows of what is wanted come. */
ssld_status ssld_frame_begin_rows(struct ssld_frame *frame, struct ssld_fault *fault);

#endif
