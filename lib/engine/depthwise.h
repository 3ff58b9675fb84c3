/* SPDX-License-Identifier: BSD-2-Clause */
/* depthwise.h - depthwise convolution, and the rows of one block of channels of one image that it works on.
 *
 * The kernels compute in single precision and read each row several times, and columns outside of the image: so the rows that
 * are needed at the moment are copied into a ring that stays in the first-level cache, with zeros at both ends. */
#ifndef SSLD_LIB_ENGINE_DEPTHWISE_H
#define SSLD_LIB_ENGINE_DEPTHWISE_H

#include "engine/element.h"
#include "engine/plan.h"

struct rows_ring {
    const void *src;      /* (H, W, b) of `type` */
    int32_t     type;
    int64_t     h, w, b;
    int64_t     left;     /* zeros before column 0 */
    int64_t     width;    /* columns of a row, zeros included */
    int64_t     slots;    /* rows that are there at the same time; 0: rows are read where they are, in single precision */
    int64_t     next;     /* the first row that was not copied yet */
    float      *rows;     /* (slots + 1, width, b); the last is zeros, and stands for rows outside of the image */
};

/* Floats that a ring takes, and an empty one in such memory. Columns -left .. width - left - 1 can be read, and so many rows, one
 * behind the other, at the same time. */
int64_t ssld_rows_ring_floats(int64_t width, int64_t slots, int64_t b);
void    ssld_rows_ring_make(struct rows_ring *ring, const struct planes *planes, int64_t left, int64_t width, int64_t slots,
                            float *memory);
void    ssld_rows_ring_begin(struct rows_ring *ring, const void *src); /* another image or block */
void    ssld_rows_ring_need(struct rows_ring *ring, int64_t row);      /* copy all rows up to this one */

/* Column -left of a row that is there. */
static inline const float *rows_ring_at(const struct rows_ring *ring, int64_t row)
{
    if (!ring->slots && row >= 0 && row < ring->h)
        return (const float *)ring->src + row * ring->w * ring->b;
    int64_t slot = row < 0 || row >= ring->h ? ring->slots : (int64_t)((uint32_t)row % (uint32_t)ring->slots);
    return ring->rows + slot * ring->width * ring->b;
}

/* -- Convolution -------------------------------------------------------------------------------------------------- *
 *
 * Weights are (C/b, KH, KW, b) in single precision, src is (N, C/b, H, W, b), dst (N, C/b, OH, OW, b). */

#define DEPTHWISE_MOST_WIDTH 7 /* of the kernels of forward and backward data; backward weights takes wider ones in pieces */

/* diff_weights, added to what is there with `add`. `room` has room for ..._room_bytes().
 *
 * Why our own: oneDNN's covers 3x3 well, 5x5 takes 100 times as long as it should. */
size_t ssld_depthwise_weights_room_bytes(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                         int32_t threads);
void   ssld_depthwise_backward_weights(const struct planes *src, const struct planes *dst,
                                       const struct ssld_window *window, const void *src_data, const void *diff_dst,
                                       float *room, bool add, float *diff_weights);

/* Forward, and backward data; in blocks of 16, and for kernels and strides that are ..._usable(). Weights are rounded to bfloat16
 * where the numbers are.
 *
 * Why our own: oneDNN's bfloat16 takes up to 2.5 times as long as its single precision (2.6; DNNL_VERBOSE=1 shows both). */
bool   ssld_depthwise_usable(const struct ssld_window *window);
size_t ssld_depthwise_room_bytes(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                 int32_t threads);
void   ssld_depthwise_forward(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                              const void *src_data, const float *weights, float *room, void *dst_data);
void   ssld_depthwise_backward_data(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                    const void *diff_dst, const float *weights, float *room, void *diff_src);

#endif
