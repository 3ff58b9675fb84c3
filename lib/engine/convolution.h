/* SPDX-License-Identifier: BSD-2-Clause */
/* convolution.h - convolutions whose every direction is a kernel of ours, where a plan trains in bfloat16: those of 1 x 1 where
 * the processor has tiles (pointwise.h), and depthwise ones (depthwise.h). They have no primitives. */
#ifndef SSLD_LIB_ENGINE_CONVOLUTION_H
#define SSLD_LIB_ENGINE_CONVOLUTION_H

#include "engine/weighted.h"

struct convolution {
    struct weighted calls;
    bool            depthwise;
};

/* Whether oneDNN's tiles may work on copies of a step's operands with channels last. */
bool ssld_convolution_may_be_last(struct ssld_plan *plan, const struct step *step, const struct convolution *conv);

bool ssld_convolution_is_ours(struct ssld_plan *plan, const struct step *step, const struct convolution *conv);
void ssld_convolution_prepare_ours(struct ssld_plan *plan, const struct step *step, const struct convolution *conv);
void ssld_convolution_forward_ours(struct ssld_plan *plan, const struct step *step, const struct convolution *conv);
/* Of a depthwise convolution without its diff of weights, which is ..._backward_depthwise() in either precision. */
void ssld_convolution_backward_ours(struct ssld_plan *plan, const struct step *step, struct convolution *conv);
void ssld_convolution_backward_depthwise(struct ssld_plan *plan, const struct step *step);

/* Of weights and bias, in what the kernels of pointwise.h want. */
ssld_status ssld_convolution_describe_pointwise(struct ssld_plan *plan, const struct step *step,
                                                struct weighted_descriptors *d);

#endif
