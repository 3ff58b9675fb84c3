/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/weighted.h"

void ssld_weighted_release_descriptors(struct ssld_plan *plan, struct weighted_descriptors *d)
{
    ssld_md_destroy(&plan->dnnl, d->src);
    ssld_md_destroy(&plan->dnnl, d->dst);
    ssld_md_destroy(&plan->dnnl, d->bias);
    ssld_md_destroy(&plan->dnnl, d->weights_plain);
    ssld_md_destroy(&plan->dnnl, d->weights_any);
}

ssld_status ssld_weighted_add_parameters(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                         struct weighted_descriptors *d)
{
    ssld_md *layout = NULL;
    ssld_call_made(plan, &calls->forward);
    ssld_status status = ssld_md_of(&plan->dnnl, &calls->forward.primitive, dnnl_query_weights_md, 0, &layout);
    if (!status) {
        calls->weights_count = ssld_md_size(layout) / sizeof(float);
        status = ssld_plan_add_weights(plan, step, 1, d->weights_plain, layout);
        d->weights_plain = NULL;
    }
    if (!status && d->bias)
        status = ssld_plan_add_vector(plan, step, 2);
    return status;
}

/* A reorder between the layout of the parameter and that of `other`, unless they are one. */
static ssld_status prepare_reorder(struct ssld_plan *plan, const struct step *step, const struct call *forward,
                                   const struct call *other, dnnl_query_t what, bool to_other, struct call *reorder,
                                   size_t *bytes)
{
    ssld_md *ours = NULL, *theirs = NULL;
    ssld_status status = ssld_md_of(&plan->dnnl, &forward->primitive, dnnl_query_weights_md, 0, &ours);
    if (!status)
        status = ssld_md_of(&plan->dnnl, &other->primitive, what, 0, &theirs);
    if (!status && !ssld_md_equal(ours, theirs)) {
        dnnl_status_t created =
            ssld_reorder(&plan->dnnl, to_other ? ours : theirs, to_other ? theirs : ours, &reorder->primitive);
        if (created != dnnl_success)
            status = ssld_step_fail(plan, step, created, "reorder of weights");
        else
            ssld_call_made(plan, reorder);
        *bytes = ssld_md_size(theirs);
    }
    ssld_md_destroy(&plan->dnnl, ours);
    ssld_md_destroy(&plan->dnnl, theirs);
    return status;
}

ssld_status ssld_weighted_prepare_reorder_weights(struct ssld_plan *plan, const struct step *step,
                                                  struct weighted *calls)
{
    size_t bytes = 0;
    ssld_status status = prepare_reorder(plan, step, &calls->forward, &calls->backward_data, dnnl_query_weights_md, true,
                                         &calls->reorder_weights, &bytes);
    calls->weights_offset = ssld_plan_need_weights(plan, step->backward_segment, bytes);
    return status;
}

ssld_status ssld_weighted_prepare_reorder_diff(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    size_t bytes = 0;
    ssld_status status = prepare_reorder(plan, step, &calls->forward, &calls->backward_weights,
                                         dnnl_query_diff_weights_md, false, &calls->reorder_diff, &bytes);
    const struct ssld_parameter *weights = ssld_step_parameter(plan, step, 1), *bias = ssld_step_parameter(plan, step, 2);
    ssld_plan_need(&plan->reordered_diff_bytes, bytes);
    ssld_plan_need(&plan->diff_part_bytes, weights->count * sizeof(float));
    ssld_plan_need(&plan->bias_part_bytes, bias ? bias->count * sizeof(float) : 0);
    return status;
}

/* -- Binding ------------------------------------------------------------------------------------------------------ */

static ssld_status bind_reorder(struct ssld_plan *plan, struct call *reorder, void *from, void *to)
{
    if (!reorder->primitive.primitive)
        return SSLD_OK;
    ssld_status status = ssld_call_bind(plan, reorder, DNNL_ARG_FROM, dnnl_query_src_md, 0, ssld_operand_at(from));
    if (!status)
        status = ssld_call_bind(plan, reorder, DNNL_ARG_TO, dnnl_query_dst_md, 0, ssld_operand_at(to));
    if (!status)
        status = ssld_call_bind_scratchpad(plan, reorder);
    return status;
}

static ssld_status bind_forward(struct ssld_plan *plan, const struct step *step, struct call *call)
{
    struct ssld_parameter *weights = ssld_step_parameter(plan, step, 1), *bias = ssld_step_parameter(plan, step, 2);
    ssld_status status =
        ssld_call_bind(plan, call, DNNL_ARG_SRC, dnnl_query_src_md, 0, ssld_operand_src(plan, step, false, 0));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, ssld_operand_at(weights->value));
    if (!status && bias)
        status = ssld_call_bind(plan, call, DNNL_ARG_BIAS, dnnl_query_weights_md, 1, ssld_operand_at(bias->value));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_DST, dnnl_query_dst_md, 0, ssld_operand_dst(plan, step));
    return status ? status : ssld_call_bind_scratchpad(plan, call);
}

static ssld_status bind_backward_data(struct ssld_plan *plan, const struct step *step, struct weighted *calls,
                                      void *weights)
{
    struct call *call = &calls->backward_data;
    if (!call->primitive.primitive)
        return SSLD_OK;
    ssld_status status =
        ssld_call_bind(plan, call, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, ssld_operand_diff_dst(plan, step));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, ssld_operand_at(weights));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, 0,
                                ssld_operand_diff_src(plan, step, 0));
    return status ? status : ssld_call_bind_scratchpad(plan, call);
}

static ssld_status bind_backward_weights(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    struct call *call = &calls->backward_weights;
    if (!call->primitive.primitive)
        return SSLD_OK;
    void *diff = calls->reorder_diff.primitive.primitive ? plan->reordered_diff : plan->diff_part;
    ssld_status status =
        ssld_call_bind(plan, call, DNNL_ARG_SRC, dnnl_query_src_md, 0, ssld_operand_src(plan, step, true, 0));
    if (!status)
        status =
            ssld_call_bind(plan, call, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, ssld_operand_diff_dst(plan, step));
    if (!status)
        status = ssld_call_bind(plan, call, DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md, 0, ssld_operand_at(diff));
    if (!status && ssld_step_parameter(plan, step, 2))
        status = ssld_call_bind(plan, call, DNNL_ARG_DIFF_BIAS, dnnl_query_diff_weights_md, 1,
                                ssld_operand_at(plan->bias_part));
    return status ? status : ssld_call_bind_scratchpad(plan, call);
}

ssld_status ssld_weighted_bind(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    struct ssld_parameter *weights = ssld_step_parameter(plan, step, 1);
    bool other = calls->reorder_weights.primitive.primitive;
    void *for_data = other ? (void *)(plan->reordered_weights + calls->weights_offset) : weights->value;
    ssld_status status = bind_forward(plan, step, &calls->forward);
    if (!status)
        status = bind_backward_data(plan, step, calls, for_data);
    if (!status)
        status = bind_backward_weights(plan, step, calls);
    if (!status)
        status = bind_reorder(plan, &calls->reorder_weights, weights->value, for_data);
    if (!status)
        status = bind_reorder(plan, &calls->reorder_diff, plan->reordered_diff, plan->diff_part);
    return status;
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

static ssld_status run_if_made(struct ssld_plan *plan, const struct step *step, struct call *call,
                               const char *direction)
{
    return call->primitive.primitive ? ssld_call_run(plan, step, call, direction) : SSLD_OK;
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

ssld_status ssld_weighted_backward(struct ssld_plan *plan, const struct step *step, struct weighted *calls)
{
    ssld_status status = SSLD_OK;
    if (calls->backward_weights.primitive.primitive) {
        struct ssld_parameter *bias = ssld_step_parameter(plan, step, 2);
        status = ssld_call_run(plan, step, &calls->backward_weights, "backward weights");
        if (!status)
            status = run_if_made(plan, step, &calls->reorder_diff, "reorder of diff weights");
        if (!status)
            give_part(plan, ssld_step_parameter(plan, step, 1), calls->weights_count, plan->diff_part);
        if (!status && bias)
            give_part(plan, bias, (size_t)bias->elements, plan->bias_part);
    }
    if (!status && plan->chunk == 0)
        status = run_if_made(plan, step, &calls->reorder_weights, "reorder of weights");
    if (!status)
        status = run_if_made(plan, step, &calls->backward_data, "backward data");
    return status;
}

void ssld_weighted_release(struct ssld_plan *plan, struct weighted *calls)
{
    ssld_call_release(plan, &calls->forward);
    ssld_call_release(plan, &calls->backward_data);
    ssld_call_release(plan, &calls->backward_weights);
    ssld_call_release(plan, &calls->reorder_weights);
    ssld_call_release(plan, &calls->reorder_diff);
}
