/* SPDX-License-Identifier: BSD-2-Clause */
/* op_gemm.c - fully connected layer: dst (N, K) = src (N, F) weights (K, F)^T + bias (K), as oneDNN's inner product.
 *
 * A MatMul with constant weights (F, K) is the same for every row of an image. */
#include "engine/kernels.h"
#include "engine/weighted.h"

/* An image's tensor as rows. */
static struct planes rows_of(const struct planes *planes, int64_t images, int64_t columns)
{
    struct planes rows = *planes;
    rows.n = ssld_planes_elements(planes) / planes->n / columns * images;
    rows.channels = rows.blocks = columns;
    rows.h = rows.w = 1;
    return rows;
}

static ssld_status describe(struct ssld_plan *plan, const struct step *step, int64_t images, struct weighted_descriptors *d)
{
    const struct ssld_node *node = step->node;
    const int64_t *given = plan->graph->values[node->inputs[1]].dims;
    bool turned = node->kind == SSLD_OP_MATMUL;
    const int64_t dims[2] = { given[turned ? 1 : 0], given[turned ? 0 : 1] };
    struct planes src = rows_of(&ssld_step_src(plan, step, 0)->planes, images, dims[1]);
    struct planes dst = rows_of(&ssld_step_dst(plan, step)->planes, images, dims[0]);
    ssld_status status = ssld_planes_md(plan, &src, true, &d->src);
    if (!status)
        status = ssld_planes_md(plan, &dst, true, &d->dst);
    dst.type = plan->type;
    if (!status)
        status = ssld_planes_md(plan, &dst, true, &d->diff_dst);
    if (!status)
        status = ssld_weighted_describe(plan, 2, dims, turned ? dnnl_io : dnnl_oi, dnnl_format_tag_any, d);
    if (!status && node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE)
        status = ssld_md_create(&plan->dnnl, 1, dims, dnnl_f32, dnnl_x, &d->bias);
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
static ssld_status create_backward(struct ssld_plan *plan, const struct step *step, const struct weighted_descriptors *d,
                                   const struct ssld_primitive *hint, struct weighted *calls)
{
    if (ssld_step_src(plan, step, 0)->wants_diff) {
        dnnl_status_t created = ssld_inner_product_backward_data(
            &plan->dnnl, d->src, d->weights_any, d->diff_dst, hint, &calls->backward_data.primitive);
        if (created != dnnl_success)
            return ssld_step_fail(plan, step, created, "backward data");
    }
    dnnl_status_t created =
        ssld_inner_product_backward_weights(&plan->dnnl, d->src, d->diff_weights_any, d->bias, d->diff_dst, hint,
                                            &calls->backward_weights.primitive);
    return created == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, created, "backward weights");
}

static ssld_status prepare_backward_chunks(struct ssld_plan *plan, struct step *step, struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive hint = { 0 };
    int64_t images = ssld_step_images(plan, step, true);
    bool same = images == ssld_step_images(plan, step, false);
    ssld_status status = describe(plan, step, images, &d);
    if (!status && !same)
        status = create_forward(plan, step, &d, &hint);
    if (!status)
        status = create_backward(plan, step, &d, same ? &calls->forward.primitive : &hint, calls);
    ssld_call_made(plan, &calls->backward_data);
    ssld_call_made(plan, &calls->backward_weights);
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
    ssld_tensor_set_planes(dst, ssld_planes_of_output(plan, step));
    ssld_status status = describe(plan, step, ssld_step_images(plan, step, false), &d);
    if (!status)
        status = create_forward(plan, step, &d, &calls->forward.primitive);
    if (!status)
        ssld_call_made(plan, &calls->forward);
    if (!status && dst->wants_diff)
        status = prepare_backward_chunks(plan, step, calls);
    if (!status)
        status = ssld_weighted_add_parameters(plan, step, calls, &d);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status inner_product_bind(struct ssld_plan *plan, struct step *step)
{
    return ssld_weighted_bind(plan, step, step->state);
}

static ssld_status inner_product_begin(struct ssld_plan *plan, struct step *step, bool backward)
{
    return ssld_weighted_begin(plan, step, step->state, backward);
}

static ssld_status inner_product_forward(struct ssld_plan *plan, struct step *step)
{
    return ssld_weighted_forward(plan, step, step->state);
}

static ssld_status inner_product_backward(struct ssld_plan *plan, struct step *step)
{
    return ssld_weighted_backward(plan, step, step->state);
}

static ssld_status inner_product_make_whole(struct ssld_plan *plan, struct step *step, struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    ssld_status status = describe(plan, step, plan->options.batch, &d);
    if (!status)
        status = create_forward(plan, step, &d, &calls->forward.primitive);
    if (!status && ssld_step_dst(plan, step)->wants_diff)
        status = create_backward(plan, step, &d, &calls->forward.primitive, calls);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
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
    .begin = inner_product_begin,
    .forward = inner_product_forward,
    .backward = inner_product_backward,
    .release = inner_product_release,
    .make_whole = inner_product_make_whole,
};
