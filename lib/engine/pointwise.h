/* SPDX-License-Identifier: BSD-2-Clause */
/* pointwise.h - 1 x 1 convolution of bfloat16 on the processor's tiles (AMX), on blocks of 16 channels as they are.
 *
 * Forward and backward data multiply the matrix of positions by channels with that of the weights, backward weights multiplies
 * two such matrices over their positions. Why our own: oneDNN uses tiles only where channels come last, so operands are
 * copied there and back, and its backward weights puts pairs of positions together anew for every part of the weights. */
#ifndef SSLD_LIB_ENGINE_POINTWISE_H
#define SSLD_LIB_ENGINE_POINTWISE_H

#include "engine/plan.h"

/* True where this build has the kernels and oneDNN may use tiles, for which it has asked the system. */
bool ssld_pointwise_usable(void);

/* dst(position, o) = bias(o) + sum over i of src(position, i) * weights(i, o), in single precision, then rounded.
 *
 * Weights are tiles of (8 pairs of inputs, 16 outputs, 2); `by_input` and `by_output` are the elements from a tile to that of the
 * next 16 inputs and outputs. bias: of all blocks, or NULL. */
void ssld_pointwise_multiply(const struct planes *src, const struct planes *dst, const uint16_t *weights, int64_t by_input,
                             int64_t by_output, const float *bias, const void *src_data, void *dst_data);

/* diff_weights(o, i), added to what is there with `add`, = sum over positions of diff_dst(position, o) * src(position, i).
 *
 * They are (O/16, I/16, 16, 16): rows of a tile are inputs where ..._rows_are_inputs(), which is the cheaper way, else outputs.
 * `room` has room for ..._room_bytes(), on cache lines of its own. */
bool   ssld_pointwise_rows_are_inputs(const struct planes *src, const struct planes *dst);
size_t ssld_pointwise_room_bytes(const struct planes *src, const struct planes *dst);
void   ssld_pointwise_backward_weights(const struct planes *src, const struct planes *dst, const void *src_data,
                                       const void *diff_dst, char *room, bool add, float *diff_weights);

/* diff_bias(o), likewise, = sum over positions of diff_dst(position, o), without what pads the channels. */
void ssld_pointwise_backward_bias(const struct planes *dst, const void *diff_dst, bool add, float *diff_bias);

#endif
