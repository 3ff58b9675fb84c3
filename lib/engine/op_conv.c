/* SPDX-License-Identifier: BSD-2-Clause */
/* op_conv.c - convolution: dense, grouped and depthwise, on oneDNN; depthwise backward weights is ours. */
#include "engine/kernels.h"
#include "engine/weighted.h"

struct convolution {
    struct weighted calls;
    bool depthwise;
};

/* Weights are (O, I, KH, KW), or (G, O/G, I/G, KH, KW): the same memory as ONNX's (O, I/G, KH, KW). oneDNN chooses their
 * layout; depthwise it is (G/b, 1, 1, KH, KW, b), which our kernel writes. */
static ssld_status describe(struct ssld_plan *plan, const struct step *step, bool depthwise, bool backward,
                            struct weighted_descriptors *d)
{
    int64_t images = ssld_step_images(plan, step, backward);
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    const struct ssld_node *node = step->node;
    const int64_t *dims = plan->graph->values[node->inputs[1]].dims;
    int64_t group = node->attributes.group, outputs = dims[0];
    int64_t grouped[5] = { group, outputs / group, dims[1], dims[2], dims[3] };
    bool groups = group > 1 || depthwise;
    const int64_t *weights = groups ? grouped : dims;
    int ndims = groups ? 5 : 4;
    dnnl_format_tag_t chosen = !depthwise          ? dnnl_format_tag_any
                               : plan->block == 16 ? dnnl_Goihw16g
                               : plan->block == 8  ? dnnl_Goihw8g
                                                   : dnnl_goihw;
    ssld_status status = ssld_planes_md(plan, &src, false, &d->src);
    if (!status)
        status = ssld_planes_md(plan, &dst, false, &d->dst);
    if (!status)
        status = ssld_md_create(&plan->dnnl, ndims, weights, groups ? dnnl_goihw : dnnl_oihw, &d->weights_plain);
    if (!status)
        status = ssld_md_create(&plan->dnnl, ndims, weights, chosen, &d->weights_any);
    if (!status && node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE)
        status = ssld_md_create(&plan->dnnl, 1, &outputs, dnnl_x, &d->bias);
    return status;
}

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

static ssld_status create_forward(struct ssld_plan *plan, const struct step *step,
                                  const struct weighted_descriptors *d, struct ssld_primitive *primitive)
{
    struct ssld_dnnl_post_ops post_ops;
    ssld_activation_post_ops(&step->node->activation, &post_ops);
    dnnl_prop_kind_t propagation = plan_trains(plan) ? dnnl_forward_training : dnnl_forward_inference;
    dnnl_status_t created = ssld_convolution_forward(&plan->dnnl, propagation, d->src, d->weights_any, d->bias, d->dst,
                                                     &step->node->attributes.window, &post_ops, primitive);
    return created == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, created, "forward");
}

static ssld_status prepare_forward(struct ssld_plan *plan, struct step *step, struct convolution *conv,
                                   struct weighted_descriptors *d)
{
    ssld_status status = create_forward(plan, step, d, &conv->calls.forward.primitive);
    if (status)
        return status;
    ssld_log(plan->context, SSLD_LOG_INFO, "Conv '%s' forward: %s", step->node->name,
             ssld_primitive_name(&conv->calls.forward.primitive));
    return ssld_weighted_add_parameters(plan, step, &conv->calls, d);
}

/* `hint` is a forward of as many images as backward has. */
static ssld_status prepare_backward(struct ssld_plan *plan, struct step *step, struct convolution *conv,
                                    const struct weighted_descriptors *d, const struct ssld_primitive *hint)
{
    const struct ssld_window *window = &step->node->attributes.window;
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, ssld_step_images(plan, step, true));
    dnnl_status_t created = dnnl_success;
    ssld_status status = SSLD_OK;
    if (ssld_step_src(plan, step, 0)->wants_diff) {
        created = ssld_convolution_backward_data(&plan->dnnl, d->src, d->weights_any, d->dst, window,
                                                 hint, &conv->calls.backward_data.primitive);
        if (created != dnnl_success)
            return ssld_step_fail(plan, step, created, "backward data");
        ssld_call_made(plan, &conv->calls.backward_data);
        status = ssld_weighted_prepare_reorder_weights(plan, step, &conv->calls);
    }
    if (status)
        return status;
    if (conv->depthwise) {
        ssld_plan_need(&plan->partial_bytes, ssld_depthwise_partial_bytes(&src, &step->node->attributes.window));
        return SSLD_OK;
    }
    created = ssld_convolution_backward_weights(&plan->dnnl, d->src, d->weights_any, d->bias, d->dst, window, hint,
                                                &conv->calls.backward_weights.primitive);
    if (created != dnnl_success)
        return ssld_step_fail(plan, step, created, "backward weights");
    ssld_call_made(plan, &conv->calls.backward_weights);
    return ssld_weighted_prepare_reorder_diff(plan, step, &conv->calls);
}

static ssld_status prepare_backward_chunks(struct ssld_plan *plan, struct step *step, struct convolution *conv)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive hint = { 0 };
    bool same = ssld_step_images(plan, step, true) == ssld_step_images(plan, step, false);
    ssld_status status = describe(plan, step, conv->depthwise, true, &d);
    if (!status && !same)
        status = create_forward(plan, step, &d, &hint);
    if (!status)
        status = prepare_backward(plan, step, conv, &d, same ? &conv->calls.forward.primitive : &hint);
    ssld_primitive_destroy(&hint);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status convolution_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_node *node = step->node;
    const struct ssld_value *weights = &plan->graph->values[node->inputs[1]];
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct weighted_descriptors d = { 0 };
    struct convolution *conv = ssld_alloc_zero(plan->context, 1, sizeof *conv);
    step->state = conv;
    if (!conv)
        return ssld_fail_memory(plan->context, "a convolution", sizeof *conv);
    ssld_tensor_set_planes(dst, ssld_planes_of_value(plan, &plan->graph->values[node->output]));
    /* Ours reads and writes one block width, adds no bias, and wants each output to have an input of its own. */
    conv->depthwise = node->attributes.group > 1 && node->attributes.group == src->planes.channels &&
                      weights->dims[0] == weights->dims[1] * node->attributes.group && src->planes.b == dst->planes.b &&
                      !(plan_trains(plan) && node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE);
    ssld_status status = describe(plan, step, conv->depthwise, false, &d);
    if (!status)
        status = prepare_forward(plan, step, conv, &d);
    if (!status && dst->wants_diff)
        status = prepare_backward_chunks(plan, step, conv);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

static ssld_status convolution_bind(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    return ssld_weighted_bind(plan, step, &conv->calls);
}

static ssld_status convolution_forward(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    return ssld_call_run(plan, step, &conv->calls.forward, "forward");
}

static ssld_status convolution_backward(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    if (conv->depthwise)
        ssld_depthwise_backward_weights(&src->planes, &dst->planes, &step->node->attributes.window, src->data,
                                        dst->diff, (float *)plan->partial, !plan->fresh_diffs,
                                        ssld_step_parameter(plan, step, 1)->diff);
    return ssld_weighted_backward(plan, step, &conv->calls);
}

static void convolution_release(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    ssld_weighted_release(plan, &conv->calls);
}

const struct engine_op ssld_op_convolution = {
    .kind = SSLD_OP_CONV,
    .backward_reads = READS_SRC,
    .prepare = convolution_prepare,
    .bind = convolution_bind,
    .forward = convolution_forward,
    .backward = convolution_backward,
    .release = convolution_release,
};
