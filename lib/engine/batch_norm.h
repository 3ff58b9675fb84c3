/* SPDX-License-Identifier: BSD-2-Clause */
/* batch_norm.h - batch norm's loops over a piece of one block of channels of one image, (count, b) numbers. */
#ifndef SSLD_LIB_ENGINE_BATCH_NORM_H
#define SSLD_LIB_ENGINE_BATCH_NORM_H

#include "engine/kernels.h"

/* What the loops need of a batch norm, for the channels of the block. */
struct norm_lanes {
    const float *factor;   /* y = factor * src + offset, dst = act(y) */
    const float *offset;
    const float *mean;
    const float *slope;    /* diff_src = factor * g + slope * src + constant, g = diff_dst * act'(y) */
    const float *constant;
    int32_t      kind;     /* of the activation */
    float        alpha, beta;
};

/* sums[0 .. b) = sum of src, sums[b .. 2b) = sum of src * src */
void ssld_norm_moments(int32_t type, int64_t b, int64_t count, const void *src, double *sums);
void ssld_norm_apply(int32_t type, int64_t b, const struct norm_lanes *norm, int64_t count, const void *src, void *dst);
/* sums[0 .. b) = sum of g, sums[b .. 2b) = sum of g * (src - mean) */
void ssld_norm_diff_sums(int32_t type, int64_t b, const struct norm_lanes *norm, int64_t count, const void *src,
                         const void *diff_dst, double *sums);
void ssld_norm_diff_src(int32_t type, int64_t b, const struct norm_lanes *norm, int64_t count, const void *src,
                        const void *diff_dst, void *diff_src);

#endif
