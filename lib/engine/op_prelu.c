/* SPDX-License-Identifier: BSD-2-Clause */
/* op_prelu.c - PReLU, whose slope below zero is trained: one for each channel, or one for all. */
#include "engine/kernels.h"

/* -- Kernels: one block of one image; slopes of its b channels ------------------------------------------------------- *
 *
 *   dst = src, slope * src below 0          diff_src = diff_dst, slope * diff_dst below 0
 *   diff_slope = sum over images and positions of diff_dst * src where src is below 0 */

ALWAYS_INLINE void forward_block(int32_t type, int64_t b, int64_t hw, const float *slopes, const void *src, void *dst)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++)
            element_store(type, dst, p * b + l, leaky_relu_value(element_load(type, src, p * b + l), slopes[l]));
}

MULTIVERSION static void forward_of_block(int32_t type, int64_t b, int64_t hw, const float *slopes, const void *src,
                                          void *dst)
{
    WITH_TYPE(type, WITH_BLOCK(b, forward_block(TYPE, B, hw, slopes, src, dst)));
}

ALWAYS_INLINE void backward_block(int32_t type, int64_t b, int64_t hw, const float *slopes, const void *src,
                                  const void *diff_dst, void *diff_src)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++) {
            float slope = leaky_relu_slope(element_load(type, src, p * b + l), slopes[l]);
            element_store(type, diff_src, p * b + l, element_load(type, diff_dst, p * b + l) * slope);
        }
}

MULTIVERSION static void backward_of_block(int32_t type, int64_t b, int64_t hw, const float *slopes, const void *src,
                                           const void *diff_dst, void *diff_src)
{
    WITH_TYPE(type, WITH_BLOCK(b, backward_block(TYPE, B, hw, slopes, src, diff_dst, diff_src)));
}

ALWAYS_INLINE void sum_block(int32_t type, int64_t b, int64_t hw, const void *src, const void *diff_dst, double *sums)
{
    double sum[16] = { 0 };
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++) {
            float x = element_load(type, src, p * b + l);
            sum[l] += (double)(x > 0 ? 0 : x * element_load(type, diff_dst, p * b + l));
        }
    for (int64_t l = 0; l < b; l++)
        sums[l] = sum[l];
}

MULTIVERSION static void sum_of_block(int32_t type, int64_t b, int64_t hw, const void *src, const void *diff_dst,
                                      double *sums)
{
    WITH_TYPE(type, WITH_BLOCK(b, sum_block(TYPE, B, hw, src, diff_dst, sums)));
}

/* -- The operator ------------------------------------------------------------------------------------------------- */

/* The slopes of a block's channels; one slope for all is spread over the lanes. */
static const float *slopes_of_block(const struct ssld_parameter *slopes, int64_t b, int64_t block, float spread[16])
{
    if (slopes->elements > 1)
        return slopes->value + block * b;
    for (int64_t l = 0; l < b; l++)
        spread[l] = slopes->value[0];
    return spread;
}

static ssld_status prelu_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct planes *planes = &ssld_step_src(plan, step, 0)->planes;
    ssld_tensor_set_planes(ssld_step_dst(plan, step), *planes);
    ssld_plan_need(&plan->partial_bytes, (size_t)(ssld_plan_most_images(plan) * planes->blocks * planes->b) * sizeof(double));
    return ssld_plan_add_vector(plan, step, 1);
}

static ssld_status prelu_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct planes *planes = &src->planes;
    const struct ssld_parameter *slopes = ssld_step_parameter(plan, step, 1);
    int64_t b = planes->b, size = planes->h * planes->w * b;
    int32_t type = src->planes.type;
#pragma omp parallel for
    for (int64_t i = 0; i < planes->n * planes->blocks; i++) {
        float spread[16];
        forward_of_block(type, b, size / b, slopes_of_block(slopes, b, i % planes->blocks, spread),
                         element_at_const(type, src->data, i * size), element_at(type, dst->data, i * size));
    }
    return SSLD_OK;
}

/* The sums of blocks, in their order: the same whatever the number of threads. */
static void add_up(const struct planes *planes, const double *partial, bool fresh, struct ssld_parameter *slopes)
{
    int64_t lanes = planes->blocks * planes->b;
    double all = 0;
    for (int64_t c = 0; c < planes->channels; c++) {
        double sum = 0;
        for (int64_t n = 0; n < planes->n; n++)
            sum += partial[n * lanes + c];
        if (slopes->elements > 1)
            slopes->diff[c] = (fresh ? 0 : slopes->diff[c]) + (float)sum;
        all += sum;
    }
    if (slopes->elements == 1)
        slopes->diff[0] = (fresh ? 0 : slopes->diff[0]) + (float)all;
}

static ssld_status prelu_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct planes *planes = &src->planes;
    struct ssld_parameter *slopes = ssld_step_parameter(plan, step, 1);
    int64_t b = planes->b, size = planes->h * planes->w * b;
    int32_t type = src->planes.type;
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    double *partial = (double *)plan->partial;
#pragma omp parallel for
    for (int64_t i = 0; i < planes->n * planes->blocks; i++) {
        float spread[16];
        const void *x = element_at_const(type, src->data, i * size), *diff = element_at_const(type, dst->diff, i * size);
        sum_of_block(type, b, size / b, x, diff, partial + i * b);
        if (diff_src)
            backward_of_block(type, b, size / b, slopes_of_block(slopes, b, i % planes->blocks, spread), x, diff,
                              element_at(type, diff_src, i * size));
    }
    add_up(planes, partial, plan->fresh_diffs, slopes);
    return SSLD_OK;
}

const struct engine_op ssld_op_prelu = {
    .kind = SSLD_OP_PRELU,
    .cheap = true,
    .backward_reads = READS_SRC,
    .prepare = prelu_prepare,
    .forward = prelu_forward,
    .backward = prelu_backward,
};
