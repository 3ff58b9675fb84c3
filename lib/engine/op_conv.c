/* SPDX-License-Identifier: BSD-2-Clause */
/* op_conv.c - convolution: dense, grouped and depthwise, on oneDNN; depthwise backward weights is ours, and in bfloat16 what
 * convolution.h says. */
#include <string.h>

#include "engine/convolution.h"
#include "engine/depthwise.h"
#include "engine/kernels.h"

static ssld_status activations_md(struct ssld_plan *plan, const struct planes *planes, bool last, ssld_md **md)
{
    int64_t dims[4] = { planes->n, planes->channels, planes->h, planes->w };
    return last ? ssld_md_create(&plan->dnnl, 4, dims, ssld_dnnl_type(planes->type), dnnl_nhwc, md)
                : ssld_planes_md(plan, planes, false, md);
}

/* Of each channel its own output, from a block of the same width; a bias, if training wants its diff, is not. */
static bool is_depthwise(const struct ssld_plan *plan, const struct ssld_node *node)
{
    const struct ssld_value *values = plan->graph->values;
    const int64_t *dims = values[node->inputs[1]].dims;
    struct planes src = ssld_planes_of_value(plan, &values[node->inputs[0]]);
    struct planes dst = ssld_planes_of_value(plan, &values[node->output]);
    return node->attributes.group > 1 && node->attributes.group == src.channels &&
           dims[0] == dims[1] * node->attributes.group && src.b == dst.b &&
           !(plan_trains(plan) && node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE);
}

/* For chunks of whole images, or of one of the parts that an image is cut into.
 *
 * Weights are (O, I, KH, KW), or (G, O/G, I/G, KH, KW): the same memory as ONNX's (O, I/G, KH, KW). oneDNN chooses their
 * layout; depthwise it is (G/b, 1, 1, KH, KW, b), which our kernel writes, and whose parts are those of the channels. */
static ssld_status describe(struct ssld_plan *plan, const struct step *step, bool depthwise, int64_t images, int32_t parts,
                            bool last, struct weighted_descriptors *d)
{
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    const struct ssld_node *node = step->node;
    const int64_t *dims = plan->graph->values[node->inputs[1]].dims;
    int64_t group = node->attributes.group, each = dims[0] / group;
    if (parts > 1) {
        src = ssld_planes_of_part(&src, parts);
        dst = ssld_planes_of_part(&dst, parts);
        group = src.channels;
    }
    int64_t outputs = group * each, grouped[5] = { group, each, dims[1], dims[2], dims[3] };
    bool groups = group > 1 || depthwise;
    const int64_t *weights = groups ? grouped : dims;
    int ndims = groups ? 5 : 4;
    dnnl_format_tag_t chosen = !depthwise || plan->channels_last ? dnnl_format_tag_any
                               : plan->block == 16               ? dnnl_Goihw16g
                               : plan->block == 8                ? dnnl_Goihw8g
                                                                 : dnnl_goihw;
    ssld_status status = activations_md(plan, &src, last, &d->src);
    if (!status)
        status = activations_md(plan, &dst, last, &d->dst);
    dst.type = plan->type;
    if (!status)
        status = activations_md(plan, &dst, last, &d->diff_dst);
    if (!status)
        status = ssld_weighted_describe(plan, ndims, weights, groups ? dnnl_goihw : dnnl_oihw, chosen, d);
    if (!status && node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE)
        status = ssld_md_create(&plan->dnnl, 1, &outputs, dnnl_f32, dnnl_x, &d->bias);
    return status;
}

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

/* Inference's fusion may have given a convolution something to add to its result; `alone` leaves that out. */
static ssld_status create_forward(struct ssld_plan *plan, const struct step *step, const struct weighted_descriptors *d,
                                  bool alone, struct ssld_primitive *primitive)
{
    struct ssld_dnnl_post_ops post_ops;
    ssld_activation_post_ops(&step->node->activation, &post_ops);
    if (step->node->input_count > WEIGHTED_SUMMAND && !alone)
        post_ops.summand = d->dst;
    dnnl_prop_kind_t propagation = plan_trains(plan) ? dnnl_forward_training : dnnl_forward_inference;
    dnnl_status_t created = ssld_convolution_forward(&plan->dnnl, propagation, d->src, d->weights_any, d->bias, d->dst,
                                                     &step->node->attributes.window, &post_ops, primitive);
    return created == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, created, "forward");
}

static ssld_status prepare_forward(struct ssld_plan *plan, struct step *step, struct convolution *conv,
                                   struct weighted_descriptors *d)
{
    ssld_status status = create_forward(plan, step, d, false, &conv->calls.forward.primitive);
    if (status)
        return status;
    ssld_call_made(plan, &conv->calls.forward);
    ssld_log(plan->context, SSLD_LOG_INFO, "Conv '%s' forward: %s", step->node->name,
             ssld_primitive_name(&conv->calls.forward.primitive));
    return SSLD_OK;
}

/* `hint` is a forward of as many images as backward has; `weights`: backward weights too. */
static ssld_status create_backward(struct ssld_plan *plan, const struct step *step, const struct weighted_descriptors *d,
                                   const struct ssld_primitive *hint, bool weights, struct weighted *calls)
{
    const struct ssld_window *window = &step->node->attributes.window;
    dnnl_status_t created = dnnl_success;
    if (ssld_step_src(plan, step, 0)->wants_diff)
        created = ssld_convolution_backward_data(&plan->dnnl, d->src, d->weights_any, d->diff_dst, window, hint,
                                                 &calls->backward_data.primitive);
    if (created != dnnl_success)
        return ssld_step_fail(plan, step, created, "backward data");
    if (weights)
        created = ssld_convolution_backward_weights(&plan->dnnl, d->src, d->diff_weights_any, d->bias, d->diff_dst, window,
                                                    hint, &calls->backward_weights.primitive);
    return created == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, created, "backward weights");
}

static ssld_status prepare_backward(struct ssld_plan *plan, struct step *step, struct convolution *conv,
                                    const struct weighted_descriptors *d, const struct ssld_primitive *hint)
{
    int64_t images = ssld_step_images(plan, step, true);
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    ssld_status status = create_backward(plan, step, d, hint, !conv->depthwise, &conv->calls);
    if (status)
        return status;
    ssld_call_made(plan, &conv->calls.backward_data);
    ssld_call_made(plan, &conv->calls.backward_weights);
    if (conv->depthwise)
        ssld_plan_need(&plan->partial_bytes, ssld_depthwise_weights_room_bytes(&src, &dst,
                                                                               &step->node->attributes.window,
                                                                               plan->options.threads));
    return SSLD_OK;
}

/* oneDNN has no generated code for some small layers in bf16 (a first layer of 8 outputs), and its plain loops take hundreds of
 * times as long. Backward weights then works on src and diff_dst in single precision. */
static ssld_status create_widened(struct ssld_plan *plan, const struct step *step, bool depthwise, int64_t images,
                                  struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive hint = { 0 };
    struct ssld_primitive *primitive = &calls->backward_weights.primitive;
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    const struct ssld_window *window = &step->node->attributes.window;
    dnnl_status_t created = dnnl_success;
    src.type = dst.type = ELEMENT_F32;
    ssld_status status = describe(plan, step, depthwise, images, 1, false, &d);
    ssld_md_destroy(&plan->dnnl, d.src);
    ssld_md_destroy(&plan->dnnl, d.dst);
    d.src = d.dst = NULL;
    if (!status)
        status = ssld_planes_md(plan, &src, false, &d.src);
    if (!status)
        status = ssld_planes_md(plan, &dst, false, &d.dst);
    if (status)
        goto done;
    created = ssld_convolution_forward(&plan->dnnl, dnnl_forward_training, d.src, d.diff_weights_any, d.bias, d.dst, window,
                                       NULL, &hint);
    ssld_primitive_destroy(primitive);
    if (created == dnnl_success)
        created = ssld_convolution_backward_weights(&plan->dnnl, d.src, d.diff_weights_any, d.bias, d.dst, window, &hint,
                                                    primitive);
    if (created != dnnl_success) {
        status = ssld_step_fail(plan, step, created, "backward weights");
        goto done;
    }
    calls->widened_src = ssld_planes_elements(&src);
    calls->widened_diff_dst = ssld_planes_elements(&dst);
done:
    ssld_primitive_destroy(&hint);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static bool wants_widened(const struct ssld_plan *plan, const struct ssld_primitive *backward_weights)
{
    return plan->type == ELEMENT_BF16 && backward_weights->primitive &&
           !strncmp(ssld_primitive_name(backward_weights), "ref", 3);
}

static ssld_status prepare_widened(struct ssld_plan *plan, const struct step *step, struct convolution *conv)
{
    struct weighted *calls = &conv->calls;
    ssld_status status = create_widened(plan, step, conv->depthwise, ssld_step_images(plan, step, true), calls);
    if (status)
        return status;
    ssld_call_made(plan, &calls->backward_weights);
    ssld_plan_need(&plan->widened_bytes, (size_t)(calls->widened_src + calls->widened_diff_dst) * sizeof(float));
    return SSLD_OK;
}

/* -- Channels last ------------------------------------------------------------------------------------------------ *
 *
 * oneDNN multiplies bfloat16 by the processor's tiles only where channels come last, several times as fast as without them. The
 * chunk stays in blocks, as all other operators want it, and is copied while it is in cache. */

static bool uses_tiles(const struct ssld_primitive *primitive)
{
    return strstr(ssld_primitive_name(primitive), "amx") != NULL;
}

/* Bytes of a copy: the larger of src and dst, on cache lines of its own. */
static size_t last_bytes(struct ssld_plan *plan, const struct step *step, int64_t images)
{
    const struct planes *src = &ssld_step_src(plan, step, 0)->planes, *dst = &ssld_step_dst(plan, step)->planes;
    int64_t of_src = src->channels * src->h * src->w, of_dst = dst->channels * dst->h * dst->w;
    size_t bytes = (size_t)((of_src > of_dst ? of_src : of_dst) * images) * element_size(ELEMENT_BF16);
    bytes = (bytes + 63) / 64 * 64;
    ssld_plan_need(&plan->last_bytes, LAST_COPIES * bytes);
    return bytes;
}

/* calls->last_forward stays 0 if oneDNN has no such convolution. */
static ssld_status prepare_last_forward(struct ssld_plan *plan, const struct step *step, int64_t images,
                                        struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive *primitive = &calls->forward.primitive;
    ssld_status status = describe(plan, step, false, images, 1, true, &d);
    if (!status && !create_forward(plan, step, &d, false, primitive) && uses_tiles(primitive)) {
        calls->last_forward = last_bytes(plan, step, images);
        ssld_call_made(plan, &calls->forward);
        ssld_log(plan->context, SSLD_LOG_INFO, "Conv '%s' forward, channels last: %s", step->node->name,
                 ssld_primitive_name(primitive));
    } else {
        ssld_primitive_destroy(primitive);
    }
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status prepare_last_backward(struct ssld_plan *plan, const struct step *step, int64_t images,
                                         struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive hint = { 0 }, *data = &calls->backward_data.primitive,
                          *weights = &calls->backward_weights.primitive;
    ssld_status status = describe(plan, step, false, images, 1, true, &d);
    if (!status && !create_forward(plan, step, &d, true, &hint) && !create_backward(plan, step, &d, &hint, true, calls) &&
        uses_tiles(weights) && (!data->primitive || uses_tiles(data))) {
        calls->last_backward = last_bytes(plan, step, images);
        ssld_call_made(plan, &calls->backward_data);
        ssld_call_made(plan, &calls->backward_weights);
    } else {
        ssld_primitive_destroy(data);
        ssld_primitive_destroy(weights);
    }
    ssld_primitive_destroy(&hint);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status prepare_backward_chunks(struct ssld_plan *plan, struct step *step, struct convolution *conv)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive hint = { 0 };
    int64_t images = ssld_step_images(plan, step, true);
    int32_t parts = ssld_step_parts(plan, step, true);
    bool same = images == ssld_step_images(plan, step, false) && parts == ssld_step_parts(plan, step, false) &&
                !conv->calls.last_forward;
    ssld_status status = SSLD_OK;
    if (ssld_convolution_may_be_last(plan, step, conv)) {
        status = prepare_last_backward(plan, step, images, &conv->calls);
        if (status || conv->calls.last_backward)
            return status;
    }
    conv->calls.backward_parts = parts;
    status = describe(plan, step, conv->depthwise, images, parts, false, &d);
    if (!status && !same)
        status = create_forward(plan, step, &d, true, &hint);
    if (!status)
        status = prepare_backward(plan, step, conv, &d, same ? &conv->calls.forward.primitive : &hint);
    if (!status && wants_widened(plan, &conv->calls.backward_weights.primitive))
        status = prepare_widened(plan, step, conv);
    ssld_primitive_destroy(&hint);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

/* Parameters are whole, whatever the chunks are. */
static ssld_status add_parameters(struct ssld_plan *plan, const struct step *step, struct convolution *conv)
{
    struct weighted_descriptors d = { 0 };
    ssld_status status = conv->calls.ours && !conv->depthwise
                             ? ssld_convolution_describe_pointwise(plan, step, &d)
                             : describe(plan, step, conv->depthwise, ssld_step_images(plan, step, false), 1, false, &d);
    if (!status)
        status = ssld_weighted_add_parameters(plan, step, &conv->calls, &d);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status convolution_prepare(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    struct weighted_descriptors d = { 0 };
    struct convolution *conv = ssld_alloc_zero(plan->context, 1, sizeof *conv);
    step->state = conv;
    if (!conv)
        return ssld_fail_memory(plan->context, "a convolution", sizeof *conv);
    ssld_tensor_set_planes(dst, ssld_planes_of_output(plan, step));
    conv->depthwise = is_depthwise(plan, step->node);
    conv->calls.forward_parts = ssld_step_parts(plan, step, false);
    int64_t images = ssld_step_images(plan, step, false);
    ssld_status status = SSLD_OK;
    conv->calls.ours = ssld_convolution_is_ours(plan, step, conv);
    if (conv->calls.ours) {
        ssld_convolution_prepare_ours(plan, step, conv);
        return add_parameters(plan, step, conv);
    }
    if (ssld_convolution_may_be_last(plan, step, conv))
        status = prepare_last_forward(plan, step, images, &conv->calls);
    if (!status)
        status = describe(plan, step, conv->depthwise, images, conv->calls.forward_parts, false, &d);
    if (!status && !conv->calls.last_forward)
        status = prepare_forward(plan, step, conv, &d);
    if (!status && dst->wants_diff)
        status = prepare_backward_chunks(plan, step, conv);
    ssld_weighted_release_descriptors(plan, &d);
    return status ? status : add_parameters(plan, step, conv);
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

static ssld_status convolution_bind(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    return ssld_weighted_bind(plan, step, &conv->calls);
}

static ssld_status convolution_begin(struct ssld_plan *plan, struct step *step, bool backward)
{
    struct convolution *conv = step->state;
    return ssld_weighted_begin(plan, step, &conv->calls, backward);
}

static ssld_status convolution_forward(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    if (!conv->calls.ours)
        return ssld_weighted_forward(plan, step, &conv->calls);
    ssld_convolution_forward_ours(plan, step, conv);
    return SSLD_OK;
}

static ssld_status convolution_backward(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    if (conv->depthwise)
        ssld_convolution_backward_depthwise(plan, step);
    if (!conv->calls.ours)
        return ssld_weighted_backward(plan, step, &conv->calls);
    ssld_convolution_backward_ours(plan, step, conv);
    return SSLD_OK;
}

/* In the layout of the plan's own, which may not be forward's. */
static ssld_status create_whole_backward(struct ssld_plan *plan, struct step *step, const struct weighted_descriptors *forward,
                                         bool last, const struct weighted *own, struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    struct ssld_primitive hint = { 0 };
    const struct convolution *conv = step->state;
    if (last == (own->last_backward > 0 || (own->ours && !conv->depthwise)))
        return create_backward(plan, step, forward, &calls->forward.primitive, true, calls);
    ssld_status status = describe(plan, step, conv->depthwise, plan->options.batch, 1, !last, &d);
    if (!status)
        status = create_forward(plan, step, &d, true, &hint);
    if (!status)
        status = create_backward(plan, step, &d, &hint, true, calls);
    ssld_primitive_destroy(&hint);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static ssld_status convolution_make_whole(struct ssld_plan *plan, struct step *step, struct weighted *calls)
{
    struct weighted_descriptors d = { 0 };
    const struct convolution *conv = step->state;
    bool last = conv->calls.last_forward > 0 || (conv->calls.ours && !conv->depthwise);
    ssld_status status = describe(plan, step, conv->depthwise, plan->options.batch, 1, last, &d);
    if (!status)
        status = create_forward(plan, step, &d, true, &calls->forward.primitive);
    if (!status && ssld_step_dst(plan, step)->wants_diff)
        status = create_whole_backward(plan, step, &d, last, &conv->calls, calls);
    if (!status && !conv->depthwise && !conv->calls.ours && !conv->calls.last_backward &&
        wants_widened(plan, &calls->backward_weights.primitive))
        status = create_widened(plan, step, false, plan->options.batch, calls);
    ssld_weighted_release_descriptors(plan, &d);
    return status;
}

static void convolution_release(struct ssld_plan *plan, struct step *step)
{
    struct convolution *conv = step->state;
    ssld_weighted_release(plan, &conv->calls);
}

const struct engine_op ssld_op_convolution = {
    .kind = SSLD_OP_CONV,
    .backward_reads = READS_SRC,
    .channels_apart = is_depthwise,
    .prepare = convolution_prepare,
    .bind = convolution_bind,
    .begin = convolution_begin,
    .forward = convolution_forward,
    .backward = convolution_backward,
    .release = convolution_release,
    .make_whole = convolution_make_whole,
};
