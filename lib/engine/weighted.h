/* SPDX-License-Identifier: BSD-2-Clause */
/* weighted.h - what convolution and inner product share: weights whose layout forward chose, and which backward may want,
 * or give, in another. */
#ifndef SSLD_LIB_ENGINE_WEIGHTED_H
#define SSLD_LIB_ENGINE_WEIGHTED_H

#include "engine/plan.h"

struct weighted {
    struct call forward;
    struct call backward_data;    /* no primitive: nobody wants the diff of src */
    struct call backward_weights; /* no primitive: a kernel of ours */
    struct call reorder_weights;  /* to what backward data wants; no primitive: it is the parameter's layout */
    struct call reorder_diff;     /* from what backward weights gives; likewise */
    size_t      weights_count;    /* floats of the parameter, blocks filled up with zeros */
    size_t      weights_offset;   /* in the segment's reordered weights */
};

/* What the primitives are made from. */
struct weighted_descriptors {
    ssld_md *src, *dst;
    ssld_md *bias;          /* NULL: none */
    ssld_md *weights_plain; /* as the graph has them */
    ssld_md *weights_any;   /* for oneDNN to choose */
};

void ssld_weighted_release_descriptors(struct ssld_plan *plan, struct weighted_descriptors *d);

/* In prepare, once forward is made: weights in its layout, and the bias, become the plan's parameters. d->weights_plain
 * is the plan's from then on. */
ssld_status ssld_weighted_add_parameters(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                         struct weighted_descriptors *d);
/* In prepare, once backward is made too. Reordered weights stay for all chunks of the segment. */
ssld_status ssld_weighted_prepare_reorder_weights(struct ssld_plan *plan, const struct step *step,
                                                  struct weighted *calls);
ssld_status ssld_weighted_prepare_reorder_diff(struct ssld_plan *plan, const struct step *step, struct weighted *calls);

/* Inputs of the step: 0 src, 1 weights, 2 bias (may be left out). */
ssld_status ssld_weighted_bind(struct ssld_plan *plan, const struct step *step, struct weighted *calls);
ssld_status ssld_weighted_backward(struct ssld_plan *plan, const struct step *step, struct weighted *calls);
void        ssld_weighted_release(struct ssld_plan *plan, struct weighted *calls);

#endif
