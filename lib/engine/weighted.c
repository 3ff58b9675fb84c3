/* SPDX-License-Identifier: BSD-2-Clause */
/* weighted.c - convolutions and fully connected layers: their parameters, their arguments, their runs. */
#include "engine/weighted.h"

#include "engine/channels_last.h"
#include "engine/layouts.h"

void ssld_weighted_release_descriptors(struct ssld_plan *plan, struct weighted_descriptors *d)
{
    ssld_md *all[] = { d->src, d->dst, d->diff_dst, d->bias, d->weights_plain, d->weights_kept, d->weights_any,
                       d->diff_weights_any, d->weights_forward, d->weights_backward };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        ssld_md_destroy(&plan->dnnl, all[i]);
}

ssld_status ssld_weighted_describe(struct ssld_plan *plan, int ndims, const int64_t *dims, dnnl_format_tag_t plain,
                                   dnnl_format_tag_t chosen, struct weighted_descriptors *d)
{
    dnnl_format_tag_t kept = chosen == dnnl_format_tag_any ? plain : chosen;
    ssld_status status = ssld_md_create(&plan->dnnl, ndims, dims, dnnl_f32, plain, &d->weights_plain);
    if (!status)
        status = ssld_md_create(&plan->dnnl, ndims, dims, dnnl_f32, kept, &d->weights_kept);
    if (!status)
        status = ssld_md_create(&plan->dnnl, ndims, dims, ssld_dnnl_type(plan->type), chosen, &d->weights_any);
    if (!status)
        status = ssld_md_create(&plan->dnnl, ndims, dims, dnnl_f32, chosen, &d->diff_weights_any);
    return status;
}

static ssld_status create_reorder(struct ssld_plan *plan, const struct step *step, const ssld_md *from, const ssld_md *to,
                                  struct call *reorder)
{
    dnnl_status_t created = ssld_reorder(&plan->dnnl, from, to, &reorder->primitive);
    if (created != dnnl_success)
        return ssld_step_fail(plan, step, created, "reorder of weights");
    ssld_call_made(plan, reorder);
    return SSLD_OK;
}

/* A reorder between the layout of the parameter and that of `other`, unless they are one. */
static ssld_status prepare_reorder(struct ssld_plan *plan, const struct step *step, const ssld_md *ours,
                                   const struct call *other, dnnl_query_t what, bool to_other, struct call *reorder,
                                   size_t *bytes)
{
    ssld_md *theirs = NULL;
    *bytes = 0;
    if (!other->primitive.primitive)
        return SSLD_OK;
    ssld_status status = ssld_md_of(&plan->dnnl, &other->primitive, what, 0, &theirs);
    if (!status && !ssld_md_equal(ours, theirs)) {
        status = create_reorder(plan, step, to_other ? ours : theirs, to_other ? theirs : ours, reorder);
        *bytes = ssld_md_size(theirs);
    }
    ssld_md_destroy(&plan->dnnl, theirs);
    return status;
}

/* From the parameter to what a kernel of ours wants, or a primitive, which for a part of an image's channels does not describe all
 * weights: but those are d->weights_any, whose layout is a chosen one there. */
static ssld_status prepare_reorder_of_weights(struct ssld_plan *plan, const struct step *step, const ssld_md *ours,
                                              const struct weighted_descriptors *d, int32_t parts, const struct call *other,
                                              const ssld_md *kernels, struct call *reorder, size_t *bytes)
{
    const ssld_md *wanted = kernels ? kernels : d->weights_any;
    if (!kernels && parts < 2)
        return prepare_reorder(plan, step, ours, other, dnnl_query_weights_md, true, reorder, bytes);
    if ((!kernels && !other->primitive.primitive) || ssld_md_equal(ours, wanted))
        return SSLD_OK;
    *bytes = ssld_md_size(wanted);
    return create_reorder(plan, step, ours, wanted, reorder);
}

static ssld_status prepare_reorders(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                    const struct weighted_descriptors *d, const ssld_md *layout)
{
    size_t forward = 0, backward = 0, diff = 0;
    ssld_status status = prepare_reorder_of_weights(plan, step, layout, d, calls->forward_parts, &calls->forward,
                                                    d->weights_forward, &calls->reorder_forward, &forward);
    if (!status)
        status = prepare_reorder_of_weights(plan, step, layout, d, calls->backward_parts, &calls->backward_data,
                                            d->weights_backward, &calls->reorder_weights, &backward);
    if (!status)
        status = prepare_reorder(plan, step, layout, &calls->backward_weights, dnnl_query_diff_weights_md, false,
                                 &calls->reorder_diff, &diff);
    calls->forward_offset = ssld_plan_need_weights(plan, step->forward_segment, forward);
    if (step->backward_segment >= 0)
        calls->backward_offset = ssld_plan_need_weights(plan, step->backward_segment, backward);
    ssld_plan_need(&plan->reordered_diff_bytes, diff);
    return status;
}

ssld_status ssld_weighted_add_parameters(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                         struct weighted_descriptors *d)
{
    ssld_md *layout = NULL;
    ssld_status status = SSLD_OK;
    if (plan->type == ELEMENT_F32 && calls->forward_parts < 2) {
        status = ssld_md_of(&plan->dnnl, &calls->forward.primitive, dnnl_query_weights_md, 0, &layout);
    } else if (calls->backward_weights.primitive.primitive) {
        status = ssld_md_of(&plan->dnnl, &calls->backward_weights.primitive, dnnl_query_diff_weights_md, 0, &layout);
    } else {
        layout = d->weights_kept;
        d->weights_kept = NULL;
    }
    if (status)
        return status;
    calls->weights_count = ssld_md_size(layout) / sizeof(float);
    ssld_plan_need(&plan->diff_part_bytes, calls->weights_count * sizeof(float));
    status = prepare_reorders(plan, step, calls, d, layout);
    if (status) {
        ssld_md_destroy(&plan->dnnl, layout);
        return status;
    }
    status = ssld_plan_add_weights(plan, step, 1, d->weights_plain, layout);
    d->weights_plain = NULL;
    if (!status && d->bias) {
        status = ssld_plan_add_vector(plan, step, 2);
        if (!status)
            ssld_plan_need(&plan->bias_part_bytes, ssld_step_parameter(plan, step, 2)->count * sizeof(float));
    }
    return status;
}

/* -- Binding ------------------------------------------------------------------------------------------------------ */

static ssld_status bind_reorder(struct ssld_plan *plan, struct call *reorder, struct operand from, struct operand to)
{
    if (!reorder->primitive.primitive)
        return SSLD_OK;
    ssld_status status = ssld_call_bind(plan, reorder, DNNL_ARG_FROM, dnnl_query_src_md, 0, from);
    if (!status)
        status = ssld_call_bind(plan, reorder, DNNL_ARG_TO, dnnl_query_dst_md, 0, to);
    if (!status)
        status = ssld_call_bind_scratchpad(plan, reorder);
    return status;
}

/* The tensor itself, or its copy with channels last. */
static struct operand copy_or(const struct ssld_plan *plan, size_t bytes, int copy, struct operand tensor)
{
    if (!bytes)
        return tensor;
    tensor = ssld_operand_of_worker(plan, plan->last, plan->last_bytes);
    tensor.base += (size_t)copy * bytes;
    return tensor;
}

static ssld_status bind_forward(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                struct operand weights)
{
    struct ssld_parameter *bias = ssld_step_parameter(plan, step, 2);
    struct call *call = &calls->forward;
    size_t last = calls->last_forward;
    if (!call->primitive.primitive)
        return SSLD_OK;
    ssld_status status = ssld_call_bind(plan, call, DNNL_ARG_SRC, dnnl_query_src_md, 0,
                                        copy_or(plan, last, LAST_SRC, ssld_operand_src(plan, step, false, 0)));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, weights);
    if (!status && bias)
        status = ssld_call_bind(plan, call, DNNL_ARG_BIAS, dnnl_query_weights_md, 1, ssld_operand_at(bias->value));
    if (!status && step->node->input_count > WEIGHTED_SUMMAND)
        status = ssld_call_bind(plan, call, SSLD_ARG_SUMMAND, dnnl_query_dst_md, 0,
                                copy_or(plan, last, LAST_OTHER, ssld_operand_src(plan, step, false, WEIGHTED_SUMMAND)));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_DST, dnnl_query_dst_md, 0,
                                copy_or(plan, last, LAST_DST, ssld_operand_dst(plan, step)));
    return status ? status : ssld_call_bind_scratchpad(plan, call);
}

static ssld_status bind_backward_data(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                      struct operand weights)
{
    struct call *call = &calls->backward_data;
    if (!call->primitive.primitive)
        return SSLD_OK;
    ssld_status status =
        ssld_call_bind(plan, call, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0,
                       copy_or(plan, calls->last_backward, LAST_DST, ssld_operand_diff_dst(plan, step)));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, weights);
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, 0,
                                copy_or(plan, calls->last_backward, LAST_OTHER, ssld_operand_diff_src(plan, step, 0)));
    return status ? status : ssld_call_bind_scratchpad(plan, call);
}

static struct operand reordered_diff(const struct ssld_plan *plan)
{
    return ssld_operand_of_worker(plan, plan->reordered_diff, plan->reordered_diff_bytes);
}

static struct operand diff_part(const struct ssld_plan *plan)
{
    return ssld_operand_of_worker(plan, plan->diff_part, plan->diff_part_bytes);
}

static ssld_status bind_backward_weights(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    struct call *call = &calls->backward_weights;
    if (!call->primitive.primitive)
        return SSLD_OK;
    struct operand diff = calls->reorder_diff.primitive.primitive ? reordered_diff(plan) : diff_part(plan);
    struct operand src = copy_or(plan, calls->last_backward, LAST_SRC, ssld_operand_src(plan, step, true, 0));
    struct operand diff_dst = copy_or(plan, calls->last_backward, LAST_DST, ssld_operand_diff_dst(plan, step));
    if (calls->widened_src) {
        src = ssld_operand_of_worker(plan, plan->widened, plan->widened_bytes);
        diff_dst = src;
        diff_dst.base += (size_t)calls->widened_src * sizeof(float);
    }
    ssld_status status = ssld_call_bind(plan, call, DNNL_ARG_SRC, dnnl_query_src_md, 0, src);
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, diff_dst);
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md, 0, diff);
    if (!status && ssld_step_parameter(plan, step, 2))
        status = ssld_call_bind(plan, call, DNNL_ARG_DIFF_BIAS, dnnl_query_diff_weights_md, 1,
                                ssld_operand_of_worker(plan, plan->bias_part, plan->bias_part_bytes));
    return status ? status : ssld_call_bind_scratchpad(plan, call);
}

/* The weights at `address`, or those of each part of an image's channels. */
static struct operand weights_operand(const struct ssld_plan *plan, const struct weighted *calls, int32_t parts,
                                      void *address)
{
    size_t bytes = calls->weights_count * element_size(plan->type);
    return parts > 1 ? ssld_operand_of_part(address, bytes, parts) : ssld_operand_at(address);
}

static void *weights_for(struct ssld_plan *plan, const struct call *reorder, size_t offset, float *kept)
{
    return reorder->primitive.primitive ? (void *)(plan->reordered_weights + offset) : kept;
}

ssld_status ssld_weighted_bind(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    float *kept = ssld_step_parameter(plan, step, 1)->value;
    void *forward = weights_for(plan, &calls->reorder_forward, calls->forward_offset, kept);
    void *backward = weights_for(plan, &calls->reorder_weights, calls->backward_offset, kept);
    ssld_status status = bind_forward(plan, step, calls, weights_operand(plan, calls, calls->forward_parts, forward));
    if (!status)
        status = bind_backward_data(plan, step, calls, weights_operand(plan, calls, calls->backward_parts, backward));
    if (!status)
        status = bind_backward_weights(plan, step, calls);
    if (!status)
        status = bind_reorder(plan, &calls->reorder_forward, ssld_operand_at(kept), ssld_operand_at(forward));
    if (!status)
        status = bind_reorder(plan, &calls->reorder_weights, ssld_operand_at(kept), ssld_operand_at(backward));
    if (!status)
        status = bind_reorder(plan, &calls->reorder_diff, reordered_diff(plan), diff_part(plan));
    return status;
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

static ssld_status run_if_made(struct ssld_plan *plan, const struct step *step, struct call *call,
                               const char *direction)
{
    return call->primitive.primitive ? ssld_call_run(plan, step, call, direction) : SSLD_OK;
}

#define WIDEN_PIECE 16384 /* numbers that a thread takes at a time */

static void widen(int64_t count, const uint16_t *src, float *dst)
{
#pragma omp parallel for
    for (int64_t first = 0; first < count; first += WIDEN_PIECE)
        ssld_widen(count - first < WIDEN_PIECE ? count - first : WIDEN_PIECE, src + first, dst + first);
}

static void widen_operands(struct ssld_plan *plan, const struct step *step, const struct weighted *calls)
{
    float *widened = (float *)plan->widened;
    widen(calls->widened_src, ssld_step_src(plan, step, 0)->data, widened);
    widen(calls->widened_diff_dst, ssld_step_dst(plan, step)->diff, widened + calls->widened_src);
}

/* Below this one thread is done before several have started. */
#define PARALLEL_FROM 32768

/* A chunk's part of a parameter's diff: the first replaces what was there. What pads a parameter stays as it is, zero. */
static void give_part(const struct ssld_plan *plan, struct ssld_parameter *parameter, size_t count, const char *given)
{
    const float *part = (const float *)given;
    float *diff = parameter->diff;
    bool fresh = plan->fresh_diffs;
#pragma omp parallel for simd if (count >= PARALLEL_FROM)
    for (size_t i = 0; i < count; i++)
        diff[i] = fresh ? part[i] : diff[i] + part[i];
}

ssld_status ssld_weighted_begin(struct ssld_plan *plan, const struct step *step, struct weighted *calls, bool backward)
{
    if (backward)
        return run_if_made(plan, step, &calls->reorder_weights, "reorder of weights");
    if (calls->forward_made)
        return SSLD_OK;
    ssld_status status = run_if_made(plan, step, &calls->reorder_forward, "reorder of weights");
    calls->forward_made = !status && plan->options.mode == SSLD_PLAN_EVAL;
    return status;
}

/* The worker's copy of what a step reads or writes. */
static char *copy_at(const struct ssld_plan *plan, size_t bytes, int copy)
{
    return plan->last + (size_t)copy * bytes;
}

static void copy_in(struct ssld_plan *plan, const struct step *step, int32_t input, size_t bytes, int copy)
{
    ssld_to_channels_last(&ssld_step_src(plan, step, input)->planes, ssld_value_data(plan, step->node->inputs[input]),
                          copy_at(plan, bytes, copy));
}

ssld_status ssld_weighted_forward(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    size_t last = calls->last_forward;
    if (last)
        copy_in(plan, step, 0, last, LAST_SRC);
    if (last && step->node->input_count > WEIGHTED_SUMMAND)
        copy_in(plan, step, WEIGHTED_SUMMAND, last, LAST_OTHER);
    ssld_status status = ssld_call_run(plan, step, &calls->forward, "forward");
    if (last && !status)
        ssld_from_channels_last(&ssld_step_dst(plan, step)->planes, copy_at(plan, last, LAST_DST),
                                ssld_value_data(plan, step->node->output));
    return status;
}

ssld_status ssld_weighted_backward(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    ssld_status status = SSLD_OK;
    size_t last = calls->last_backward;
    if (last) {
        copy_in(plan, step, 0, last, LAST_SRC);
        ssld_to_channels_last(&ssld_step_dst(plan, step)->planes, ssld_step_dst(plan, step)->diff,
                              copy_at(plan, last, LAST_DST));
    }
    if (calls->backward_weights.primitive.primitive) {
        struct ssld_parameter *bias = ssld_step_parameter(plan, step, 2);
        if (calls->widened_src)
            widen_operands(plan, step, calls);
        status = ssld_call_run(plan, step, &calls->backward_weights, "backward weights");
        if (!status)
            status = run_if_made(plan, step, &calls->reorder_diff, "reorder of diff weights");
        if (!status)
            give_part(plan, ssld_step_parameter(plan, step, 1), calls->weights_count, plan->diff_part);
        if (!status && bias)
            give_part(plan, bias, (size_t)bias->elements, plan->bias_part);
    }
    if (!status)
        status = run_if_made(plan, step, &calls->backward_data, "backward data");
    if (last && !status && calls->backward_data.primitive.primitive)
        ssld_from_channels_last(&ssld_step_src(plan, step, 0)->planes, copy_at(plan, last, LAST_OTHER),
                                ssld_step_diff_src(plan, step, 0));
    return status;
}

void ssld_weighted_release(struct ssld_plan *plan, struct weighted *calls)
{
    ssld_call_release(plan, &calls->forward);
    ssld_call_release(plan, &calls->backward_data);
    ssld_call_release(plan, &calls->backward_weights);
    ssld_call_release(plan, &calls->reorder_forward);
    ssld_call_release(plan, &calls->reorder_weights);
    ssld_call_release(plan, &calls->reorder_diff);
}
