/* SPDX-License-Identifier: BSD-2-Clause */
/* op_group_norm.c - norms of few networks, on plain tensors (outer, C, inner): GroupNormalization and LRN.
 *
 *   group norm   dst = scale (x - mean) / sqrt(variance + epsilon) + shift, over C / groups channels and all of inner
 *   LRN          dst = x / (bias + alpha / size * sum of squares of the `size` channels around)^beta */
#include "engine/kernels.h"
#include "engine/layouts.h"

#define RUN 256 /* positions of LRN at a time */

static ssld_status norm_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_status status = SSLD_OK;
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_planes_of_value(plan, &plan->graph->values[step->node->output]));
    for (int32_t i = 1; !status && i < step->node->input_count; i++)
        if (step->node->inputs[i] != SSLD_NO_VALUE)
            status = ssld_plan_add_vector(plan, step, i);
    return status;
}

struct sizes {
    int64_t outer, channels, inner; /* outer with all images */
};

static struct sizes sizes_of(struct ssld_plan *plan, const struct step *step)
{
    const struct ssld_value *value = &plan->graph->values[step->node->output];
    struct sizes sizes = { ssld_step_dst(plan, step)->planes.n * value->dims[0], value->dims[1], 1 };
    for (int32_t i = 2; i < value->ndims; i++)
        sizes.inner *= value->dims[i];
    return sizes;
}

/* -- Group norm --------------------------------------------------------------------------------------------------- */

/* Two passes: the variance is that of differences from the mean. */
ALWAYS_INLINE void moments_loop(int32_t type, int64_t count, const void *src, float epsilon, float *mean, float *inv_std)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)element_load(type, src, i);
    double average = sum / (double)count;
    for (int64_t i = 0; i < count; i++) {
        double x = (double)element_load(type, src, i) - average;
        squares += x * x;
    }
    *mean = (float)average;
    *inv_std = (float)(1 / sqrt(squares / (double)count + (double)epsilon));
}

ALWAYS_INLINE void group_loop(int32_t type, int64_t channels, int64_t inner, float epsilon, const float *scale,
                              const float *shift, const void *src, void *dst)
{
    float mean, inv_std;
    moments_loop(type, channels * inner, src, epsilon, &mean, &inv_std);
    for (int64_t c = 0; c < channels; c++) {
        float factor = inv_std * scale[c];
        for (int64_t i = c * inner; i < (c + 1) * inner; i++)
            element_store(type, dst, i, (element_load(type, src, i) - mean) * factor + shift[c]);
    }
}

MULTIVERSION static void group_of(int32_t type, int64_t channels, int64_t inner, float epsilon, const float *scale,
                                  const float *shift, const void *src, void *dst)
{
    WITH_TYPE(type, group_loop(TYPE, channels, inner, epsilon, scale, shift, src, dst));
}

static ssld_status group_norm_forward(struct ssld_plan *plan, struct step *step)
{
    const struct sizes s = sizes_of(plan, step);
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const float *scale = ssld_step_parameter(plan, step, 1)->value, *shift = ssld_step_parameter(plan, step, 2)->value;
    int64_t groups = step->node->attributes.group, channels = s.channels / groups, size = channels * s.inner;
    float epsilon = step->node->attributes.epsilon;
    int32_t type = plan->type;
#pragma omp parallel for
    for (int64_t i = 0; i < s.outer * groups; i++)
        group_of(type, channels, s.inner, epsilon, scale + i % groups * channels, shift + i % groups * channels,
                 element_at_const(type, src->data, i * size), element_at(type, dst->data, i * size));
    return SSLD_OK;
}

/* -- LRN ---------------------------------------------------------------------------------------------------------- */

/* Channel c and `count` positions of an image. ONNX's window begins (size - 1) / 2 channels before. */
ALWAYS_INLINE void lrn_loop(int32_t type, const struct ssld_attributes *attributes, int64_t channels, int64_t inner, int64_t c,
                            int64_t count, const void *src, void *dst)
{
    float sums[RUN] = { 0 }, factor = attributes->alpha / (float)attributes->size;
    int64_t first = c - (attributes->size - 1) / 2, last = first + attributes->size;
    for (int64_t k = first < 0 ? 0 : first; k < last && k < channels; k++)
        for (int64_t i = 0; i < count; i++) {
            float x = element_load(type, src, k * inner + i);
            sums[i] += x * x;
        }
    for (int64_t i = 0; i < count; i++)
        sums[i] = powf(attributes->scale + factor * sums[i], attributes->beta);
    for (int64_t i = 0; i < count; i++)
        element_store(type, dst, c * inner + i, element_load(type, src, c * inner + i) / sums[i]);
}

MULTIVERSION static void lrn_of(int32_t type, const struct ssld_attributes *attributes, int64_t channels, int64_t inner,
                                int64_t c, int64_t count, const void *src, void *dst)
{
    WITH_TYPE(type, lrn_loop(TYPE, attributes, channels, inner, c, count, src, dst));
}

static ssld_status lrn_forward(struct ssld_plan *plan, struct step *step)
{
    const struct sizes s = sizes_of(plan, step);
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    int32_t type = plan->type;
#pragma omp parallel for
    for (int64_t i = 0; i < s.outer * s.channels; i++)
        for (int64_t first = 0; first < s.inner; first += RUN) {
            int64_t at = i / s.channels * s.channels * s.inner + first;
            lrn_of(type, &step->node->attributes, s.channels, s.inner, i % s.channels,
                   s.inner - first < RUN ? s.inner - first : RUN, element_at_const(type, src->data, at),
                   element_at(type, dst->data, at));
        }
    return SSLD_OK;
}

const struct engine_op ssld_op_group_norm = {
    .kind = SSLD_OP_GROUP_NORM,
    .layout = LAYOUT_PLAIN,
    .prepare = norm_prepare,
    .forward = group_norm_forward,
};

const struct engine_op ssld_op_lrn = {
    .kind = SSLD_OP_LRN,
    .layout = LAYOUT_PLAIN,
    .prepare = norm_prepare,
    .forward = lrn_forward,
};
