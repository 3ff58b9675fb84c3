/* SPDX-License-Identifier: BSD-2-Clause */
/* op_shape.c - operators that move or drop values: Flatten, Identity, Dropout. */
#include "engine/kernels.h"
#include "engine/layouts.h"

#include <string.h>

#include "core/philox.h"

/* -- Flatten: (N, C/b, HW, b) -> (N, C * HW) in NCHW order ----------------------------------------------------------- */

static ssld_status flatten_prepare(struct ssld_plan *plan, struct step *step)
{
    if (ssld_layout_of(plan, step->node->output)->root != step->node->output) /* no copy is needed */
        return ssld_move_prepare(plan, step);
    struct planes planes = ssld_planes_of_value(plan, &plan->graph->values[step->node->output]);
    ssld_tensor_set_planes(ssld_step_dst(plan, step), planes);
    return SSLD_OK;
}

/* Copy between the two orders: with `back`, from flat to blocked, padding zeroed. */
static void flatten(const struct tensor *blocked, const struct tensor *flat, bool back, void *in_blocks, void *in_rows)
{
    const struct planes *planes = &blocked->planes;
    int64_t hw = planes->h * planes->w, b = planes->b, lanes = planes->blocks * b;
    int32_t block_type = blocked->planes.type, row_type = flat->planes.type;
#pragma omp parallel for
    for (int64_t n = 0; n < planes->n; n++)
        for (int64_t c = 0; c < lanes; c++)
            for (int64_t p = 0; p < hw; p++) {
                int64_t at = ((n * planes->blocks + c / b) * hw + p) * b + c % b;
                int64_t to = (n * planes->channels + c) * hw + p;
                if (back)
                    element_store(block_type, in_blocks, at,
                                  c < planes->channels ? element_load(row_type, in_rows, to) : 0);
                else if (c < planes->channels)
                    element_store(row_type, in_rows, to, element_load(block_type, in_blocks, at));
            }
}

static ssld_status flatten_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    if (step->state)
        return ssld_move_forward(plan, step);
    flatten(src, dst, false, src->data, dst->data);
    return SSLD_OK;
}

static ssld_status flatten_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (diff_src)
        flatten(src, dst, true, diff_src, dst->diff);
    return SSLD_OK;
}

const struct engine_op ssld_op_flatten = {
    .kind = SSLD_OP_FLATTEN,
    .cheap = true,
    .prepare = flatten_prepare,
    .forward = flatten_forward,
    .backward = flatten_backward,
};

/* -- Identity ----------------------------------------------------------------------------------------------------- */

static ssld_status same_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_step_src(plan, step, 0)->planes);
    return SSLD_OK;
}

static ssld_status identity_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0);
    memcpy(ssld_step_dst(plan, step)->data, src->data, src->bytes);
    return SSLD_OK;
}

static ssld_status identity_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (diff_src)
        memcpy(diff_src, dst->diff, dst->bytes);
    return SSLD_OK;
}

const struct engine_op ssld_op_identity = {
    .kind = SSLD_OP_IDENTITY,
    .layout = LAYOUT_SAME,
    .cheap = true,
    .prepare = same_prepare,
    .forward = identity_forward,
    .backward = identity_backward,
};

/* -- Dropout ------------------------------------------------------------------------------------------------------ *
 *
 *   upscale in train (ONNX):       dst = src * keep / (1 - ratio)
 *   downscale in infer (Paddle):   dst = src * keep; inference multiplies by 1 - ratio
 *
 * keep is 1 with probability 1 - ratio: word i % 4 of Philox with counter (i / 4, image, node, purpose), i counting within
 * an image, and a key of seed and step. Backward draws the same words again instead of storing a mask. */

/* dst = src * mask for the images of the chunk; the same draws in both directions. */
static void mask(struct ssld_plan *plan, const struct step *step, const struct tensor *shape, const void *src,
                 void *dst)
{
    const struct ssld_attributes *attributes = &step->node->attributes;
    int64_t count = tensor_elements(shape) / shape->planes.n, quads = (count + 3) / 4; /* of an image */
    int32_t type = shape->planes.type;
    uint32_t node = (uint32_t)(step - plan->steps);
    double threshold = (double)attributes->ratio * 4294967296.0;
    float factor = attributes->downscale_in_infer ? 1 : attributes->ratio < 1 ? 1 / (1 - attributes->ratio) : 0;
    uint64_t seed = plan->options.seed + plan->step * 0x9E3779B97F4A7C15u; /* a key for every step */
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
#pragma omp parallel for
    for (int64_t task = 0; task < shape->planes.n * quads; task++) {
        int64_t image = task / quads, first = task % quads * 4;
        uint32_t counter[4] = { (uint32_t)(first / 4), (uint32_t)(plan->chunk_first + image), node,
                                (uint32_t)SSLD_PURPOSE_DROPOUT << 16 };
        uint32_t words[4];
        ssld_philox4x32(counter, key, words);
        for (int64_t i = image * count + first; i < image * count + count && i < image * count + first + 4; i++)
            element_store(type, dst, i,
                          (double)words[i - image * count - first] < threshold ? 0 : element_load(type, src, i) * factor);
    }
}

static ssld_status dropout_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0);
    mask(plan, step, src, src->data, ssld_step_dst(plan, step)->data);
    return SSLD_OK;
}

static ssld_status dropout_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (diff_src)
        mask(plan, step, dst, dst->diff, diff_src);
    return SSLD_OK;
}

const struct engine_op ssld_op_dropout = {
    .kind = SSLD_OP_DROPOUT,
    .layout = LAYOUT_SAME,
    .cheap = true,
    .prepare = same_prepare,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
