/* SPDX-License-Identifier: BSD-2-Clause */
/* op_gemm.c - fully connected layer: dst (N, K) = src (N, F) weights (K, F)^T + bias (K), as oneDNN's inner product. */
#include "engine/kernels.h"
#include "engine/weighted.h"

static ssld_status describe(struct ssld_plan *plan, const struct step *step, bool backward,
                            struct weighted_descriptors *d)
{
    int64_t images = ssld_step_images(plan, step, backward);
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    const struct ssld_node *node = step->node;
    const int64_t *dims = plan->graph->values[node->inputs[1]].dims;
    ssld_status status = ssld_planes_md(plan, &src, true, &d->src);
    if (!status)
        status = ssld_planes_md(plan, &dst, true, &d->dst);
    if (!status)
        status = ssld_md_create(&plan->dnnl, 2, dims, dnnl_oi, &d->weights_plain);
    if (!status)
        status = ssld_md_create(&plan->dnnl, 2, dims, dnnl_format_tag_any, &d->weights_any);
    if (!status && node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE)
        status = ssld_md_create(&plan->dnnl, 1, dims, dnnl_x, &d->bias);
    return status;
}

static ssld_status create_forward(struct ssld_plan *plan, const struct step *step,
                                  const struct weighted_descriptors *d, struct ssld_primitive *primitive)
{
    struct ssld_dnnl_post_ops post_ops;
    ssld_activation_post_ops(&step->node->activation, &post_ops);
    dnnl_prop_kind_t propagation = plan_trains(plan) ? dnnl_forward_training : dnnl_forward_inference;
    dnnl_status_t created = ssld_inner_product_forward(&plan->dnnl, propagation, d->src, d->weights_any, d->bias,
                                                       d->dst, &post_ops, primitive);
    return created == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, created, "forward");
}

/* `hint` is a forward of as many images as backward has. */
static ssld_status prepare_backward(struct ssld_plan *plan, struct step *step, struct weighted *calls,
                                    const struct weighted_descriptors *d, const struct ssld_primitive *hint)
{
    ssld_status status = SSLD_OK;
    if (ssld_step_src(plan, step, 0)->wants_diff) {
        dnnl_status_t created = ssld_inner_product_backward_data(
            &plan->dnnl, d->src, d->weights_any, d->dst, hint, &calls->backward_data.primitive);
        if (created != dnnl_success)
            return ssld_step_fail(plan, step, created, "backward data");
        ssld_call_made(plan, &calls->backward_data);
        status = ssld_weighted_prepare_reorder_weights(plan, step, calls);
    }
    if (status)
        return status;
    dnnl_status_t created =
        ssld_inner_product_backward_weights(&plan->dnnl, d->src, d->weights_any, d->bias, d->dst, hint,
                                            &calls->backward_weights.primitive);
    if (created != dnnl_success)
        return ssld_step_fail(plan, step, created, "backward weights");
    ssld_call_made(plan, &calls->backward_weights);
    return ssld_weighted_prepare_reorder_diff(plan, step, calls);
}

static ssld_status prepare_backward_chunks(struct ssld_plan *plan, struct step *step, struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive hint = { 0 };
    bool same = ssld_step_images(plan, step, true) == ssld_step_images(plan, step, false);
    ssld_status status = describe(plan, step, true, &d);
    if (!status && !same)
        status = create_forward(plan, step, &d, &hint);
    if (!status)
        status = prepare_backward(plan, step, calls, &d, same ? &calls->forward.primitive : &hint);
    ssld_primitive_destroy(&hint);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status inner_product_prepare(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    struct weighted_descriptors d = { 0 };
    struct weighted *calls = ssld_alloc_zero(plan->context, 1, sizeof *calls);
    step->state = calls;
    if (!calls)
        return ssld_fail_memory(plan->context, "a fully connected layer", sizeof *calls);
    ssld_tensor_set_planes(dst, ssld_planes_of_value(plan, &plan->graph->values[step->node->output]));
    ssld_status status = describe(plan, step, false, &d);
    if (!status)
        status = create_forward(plan, step, &d, &calls->forward.primitive);
    if (!status)
        status = ssld_weighted_add_parameters(plan, step, calls, &d);
    if (!status && dst->wants_diff)
        status = prepare_backward_chunks(plan, step, calls);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status inner_product_bind(struct ssld_plan *plan, struct step *step)
{
    return ssld_weighted_bind(plan, step, step->state);
}

static ssld_status inner_product_forward(struct ssld_plan *plan, struct step *step)
{
    struct weighted *calls = step->state;
    return ssld_call_run(plan, step, &calls->forward, "forward");
}

static ssld_status inner_product_backward(struct ssld_plan *plan, struct step *step)
{
    return ssld_weighted_backward(plan, step, step->state);
}

static void inner_product_release(struct ssld_plan *plan, struct step *step)
{
    ssld_weighted_release(plan, step->state);
}

const struct engine_op ssld_op_inner_product = {
    .kind = SSLD_OP_GEMM,
    .backward_reads = READS_SRC,
    .prepare = inner_product_prepare,
    .bind = inner_product_bind,
    .forward = inner_product_forward,
    .backward = inner_product_backward,
    .release = inner_product_release,
};
