/* SPDX-License-Identifier: BSD-2-Clause */
/* convolution.c - convolutions whose every direction is a kernel of ours: which they are, and how a step calls it. */
#include "engine/convolution.h"

#include "engine/depthwise.h"
#include "engine/lanes.h"
#include "engine/pointwise.h"

bool ssld_convolution_may_be_last(struct ssld_plan *plan, const struct step *step, const struct convolution *conv)
{
    const struct planes *src = &ssld_step_src(plan, step, 0)->planes, *dst = &ssld_step_dst(plan, step)->planes;
    return !conv->depthwise && plan->copies_last && src->b == 16 && dst->b == 16 && src->type == ELEMENT_BF16 &&
           dst->type == ELEMENT_BF16;
}

/* A bfloat16 step of training, where nothing is fused to it. */
static bool trains_alone(const struct ssld_plan *plan, const struct ssld_node *node)
{
    return plan_trains(plan) && plan->type == ELEMENT_BF16 && node->input_count <= WEIGHTED_SUMMAND &&
           node->activation.kind == SSLD_OP_IDENTITY;
}

/* -- Pointwise: on the processor's tiles ------------------------------------------------------------------------- */

static bool is_pointwise(struct ssld_plan *plan, const struct step *step, const struct convolution *conv)
{
    const struct ssld_node *node = step->node;
    const struct ssld_window *window = &node->attributes.window;
    const int64_t *weights = plan->graph->values[node->inputs[1]].dims;
    bool moves = window->strides[0] > 1 || window->strides[1] > 1;
    for (int i = 0; i < 4; i++)
        moves |= window->pads[i] != 0;
    return trains_alone(plan, node) && ssld_convolution_may_be_last(plan, step, conv) && node->attributes.group == 1 &&
           weights[2] == 1 && weights[3] == 1 && !moves && ssld_pointwise_usable();
}

static bool rows_are_inputs(struct ssld_plan *plan, const struct step *step)
{
    return ssld_pointwise_rows_are_inputs(&ssld_step_src(plan, step, 0)->planes, &ssld_step_dst(plan, step)->planes);
}

/* Weights only, in the layouts of pointwise.h: (O, I) in tiles of 16 x 16, for forward of pairs of inputs, for backward data of
 * outputs. */
ssld_status ssld_convolution_describe_pointwise(struct ssld_plan *plan, const struct step *step,
                                                struct weighted_descriptors *d)
{
    const struct ssld_node *node = step->node;
    const int64_t *dims = plan->graph->values[node->inputs[1]].dims;
    dnnl_format_tag_t kept = rows_are_inputs(plan, step) ? dnnl_OIhw16i16o : dnnl_OIhw16o16i;
    ssld_status status = ssld_weighted_describe(plan, 4, dims, dnnl_oihw, kept, d);
    if (!status)
        status = ssld_md_create(&plan->dnnl, 4, dims, dnnl_bf16, dnnl_OIhw8i16o2i, &d->weights_forward);
    if (!status && ssld_step_src(plan, step, 0)->wants_diff)
        status = ssld_md_create(&plan->dnnl, 4, dims, dnnl_bf16, dnnl_OIhw8o16i2o, &d->weights_backward);
    if (!status && node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE)
        status = ssld_md_create(&plan->dnnl, 1, dims, dnnl_f32, dnnl_x, &d->bias);
    return status;
}

static void prepare_pointwise(struct ssld_plan *plan, const struct step *step)
{
    int64_t images = ssld_step_images(plan, step, true);
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    if (ssld_step_dst(plan, step)->wants_diff)
        ssld_plan_need(&plan->partial_bytes, ssld_pointwise_room_bytes(&src, &dst));
}

/* A tile of weights is 16 x 16, whichever way. */
#define TILE_WEIGHTS 256

static void forward_pointwise(struct ssld_plan *plan, const struct step *step, const struct weighted *calls)
{
    const struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct ssld_parameter *bias = ssld_step_parameter(plan, step, 2);
    ssld_pointwise_multiply(&src->planes, &dst->planes, (const uint16_t *)(plan->reordered_weights + calls->forward_offset),
                            TILE_WEIGHTS, src->planes.blocks * TILE_WEIGHTS, bias ? bias->value : NULL, src->data, dst->data);
}

static void backward_weights_pointwise(struct ssld_plan *plan, const struct step *step)
{
    const struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct ssld_parameter *bias = ssld_step_parameter(plan, step, 2);
    ssld_pointwise_backward_weights(&src->planes, &dst->planes, src->data, dst->diff, plan->partial, !plan->fresh_diffs,
                                    ssld_step_parameter(plan, step, 1)->diff);
    if (bias)
        ssld_pointwise_backward_bias(&dst->planes, dst->diff, !plan->fresh_diffs, bias->diff);
}

static void backward_data_pointwise(struct ssld_plan *plan, const struct step *step, const struct weighted *calls,
                                    void *diff_src)
{
    const struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const uint16_t *weights = (const uint16_t *)(plan->reordered_weights + calls->backward_offset);
    ssld_pointwise_multiply(&dst->planes, &src->planes, weights, src->planes.blocks * TILE_WEIGHTS, TILE_WEIGHTS, NULL,
                            dst->diff, diff_src);
}

/* -- Depthwise ---------------------------------------------------------------------------------------------------- */

static bool is_depthwise(const struct ssld_plan *plan, const struct step *step, const struct convolution *conv)
{
    return conv->depthwise && trains_alone(plan, step->node) && plan->block == LANES && !plan->channels_last &&
           ssld_depthwise_usable(&step->node->attributes.window);
}

static void prepare_depthwise(struct ssld_plan *plan, const struct step *step)
{
    const struct ssld_window *window = &step->node->attributes.window;
    int64_t images = ssld_step_images(plan, step, true);
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    ssld_plan_need(&plan->partial_bytes, ssld_depthwise_room_bytes(&src, &dst, window, plan->options.threads));
    if (ssld_step_dst(plan, step)->wants_diff)
        ssld_plan_need(&plan->partial_bytes, ssld_depthwise_weights_room_bytes(&src, &dst, window, plan->options.threads));
}

/* Weights, or their diff, of the part of the channels at hand. */
static float *of_part(const struct ssld_plan *plan, const struct step *step, const struct planes *src, float *weights)
{
    const struct ssld_window *window = &step->node->attributes.window;
    return weights + plan->part * src->blocks * src->b * window->kernel[0] * window->kernel[1];
}

static void forward_depthwise(struct ssld_plan *plan, const struct step *step)
{
    const struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    ssld_depthwise_forward(&src->planes, &dst->planes, &step->node->attributes.window, src->data,
                           of_part(plan, step, &src->planes, ssld_step_parameter(plan, step, 1)->value), (float *)plan->partial,
                           dst->data);
}

static void backward_data_depthwise(struct ssld_plan *plan, const struct step *step, void *diff_src)
{
    const struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    ssld_depthwise_backward_data(&src->planes, &dst->planes, &step->node->attributes.window, dst->diff,
                                 of_part(plan, step, &src->planes, ssld_step_parameter(plan, step, 1)->value),
                                 (float *)plan->partial, diff_src);
}

void ssld_convolution_backward_depthwise(struct ssld_plan *plan, const struct step *step)
{
    const struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    ssld_depthwise_backward_weights(&src->planes, &dst->planes, &step->node->attributes.window, src->data, dst->diff,
                                    (float *)plan->partial, !plan->fresh_diffs,
                                    of_part(plan, step, &src->planes, ssld_step_parameter(plan, step, 1)->diff));
}

/* -- Either ------------------------------------------------------------------------------------------------------- */

bool ssld_convolution_is_ours(struct ssld_plan *plan, const struct step *step, const struct convolution *conv)
{
    return is_pointwise(plan, step, conv) || is_depthwise(plan, step, conv);
}

void ssld_convolution_prepare_ours(struct ssld_plan *plan, const struct step *step, const struct convolution *conv)
{
    if (conv->depthwise)
        prepare_depthwise(plan, step);
    else
        prepare_pointwise(plan, step);
    ssld_log(plan->context, SSLD_LOG_INFO, "Conv '%s': %s", step->node->name,
             conv->depthwise ? "depthwise kernels of libssld" : "pointwise kernels of libssld, on tiles");
}

void ssld_convolution_forward_ours(struct ssld_plan *plan, const struct step *step, const struct convolution *conv)
{
    if (conv->depthwise)
        forward_depthwise(plan, step);
    else
        forward_pointwise(plan, step, &conv->calls);
}

void ssld_convolution_backward_ours(struct ssld_plan *plan, const struct step *step, struct convolution *conv)
{
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (!conv->depthwise)
        backward_weights_pointwise(plan, step);
    if (!diff_src)
        return;
    double before = plan->profiled ? ssld_seconds() : 0;
    if (conv->depthwise)
        backward_data_depthwise(plan, step, diff_src);
    else
        backward_data_pointwise(plan, step, &conv->calls, diff_src);
    if (plan->profiled)
        conv->calls.data_seconds += ssld_seconds() - before;
}
