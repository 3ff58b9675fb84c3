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
    struct call reorder_forward;  /* of weights to what forward wants; no primitive: it is the parameter's layout */
    struct call reorder_weights;  /* to what backward data wants; likewise */
    struct call reorder_diff;     /* from what backward weights gives; likewise */
    size_t      weights_count;    /* floats of the parameter, blocks filled up with zeros */
    size_t      forward_offset, backward_offset; /* in the segment's reordered weights */
    int64_t     widened_src, widened_diff_dst; /* numbers that backward weights reads in f32 instead of bf16; 0: it does not */
    size_t      last_forward, last_backward; /* primitives work on copies with channels last, so many bytes each; 0: they do not */
    int32_t     forward_parts, backward_parts; /* depthwise: what images are cut into; primitives are of one part's channels */
    bool        forward_made;     /* inference: weights stay reordered */
    bool        ours;             /* no primitives at all: pointwise.h, depthwise.h */
    double      data_seconds;     /* of our backward data, while the plan is profiled */
};

/* What stands in which copy. */
enum last_copy { LAST_SRC, LAST_DST, LAST_OTHER, LAST_COPIES }; /* other: forward's summand, backward's diff of src */

/* What the primitives are made from. */
struct weighted_descriptors {
    ssld_md *src, *dst;         /* in the plan's precision */
    ssld_md *diff_dst;
    ssld_md *bias;              /* NULL: none */
    ssld_md *weights_plain;     /* as the graph has them */
    ssld_md *weights_kept;      /* f32, how the parameter is kept where no primitive decides it */
    ssld_md *weights_any;       /* in the plan's precision, for oneDNN to choose */
    ssld_md *diff_weights_any;  /* f32 */
    ssld_md *weights_forward, *weights_backward; /* for kernels of ours; NULL: primitives say what they want */
};

/* A MATMUL whose second operand is a constant matrix is an inner product of all rows. */
bool ssld_is_fully_connected(const struct ssld_graph *graph, const struct ssld_node *node);

void ssld_weighted_release_descriptors(struct ssld_plan *plan, struct weighted_descriptors *d);

/* Descriptors of weights of these dims; `plain` and `chosen` are their tags in the graph and for oneDNN. */
ssld_status ssld_weighted_describe(struct ssld_plan *plan, int ndims, const int64_t *dims, dnnl_format_tag_t plain,
                                   dnnl_format_tag_t chosen, struct weighted_descriptors *d);

/* In prepare, once all primitives are made: weights and bias become the plan's parameters, in the layout that needs the fewest
 * reorders: forward's in f32, that of the diff where bf16 copies are made anyway. d->weights_plain is the plan's from then
 * on. */
ssld_status ssld_weighted_add_parameters(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                         struct weighted_descriptors *d);

/* Inputs of the step: 0 src, 1 weights, 2 bias (may be left out), 3 what a fused convolution adds. */
#define WEIGHTED_SUMMAND 3
ssld_status ssld_weighted_bind(struct ssld_plan *plan, const struct step *step, struct weighted *calls);
ssld_status ssld_weighted_begin(struct ssld_plan *plan, const struct step *step, struct weighted *calls, bool backward);
ssld_status ssld_weighted_forward(struct ssld_plan *plan, const struct step *step, struct weighted *calls);
ssld_status ssld_weighted_backward(struct ssld_plan *plan, const struct step *step, struct weighted *calls);
void        ssld_weighted_release(struct ssld_plan *plan, struct weighted *calls);

#endif
