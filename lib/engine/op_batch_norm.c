/* SPDX-License-Identifier: BSD-2-Clause */
/* op_batch_norm.c - batch norm with its activation, in the fewest passes over memory. Shapes: src, dst
 * (N, C/b, HW, b); scale, shift, mean, variance (C).
 *
 *   x^ = (src - mean) * inv_std        y = scale * x^ + shift        dst = act(y)
 *
 * Training takes mean and variance of the batch: one pass for the moments, one for dst. y is not stored: backward
 * computes it again, two multiplications instead of a tensor. Sums are taken per block and image and added in one
 * order, so the result does not depend on the number of threads. */
#include "engine/kernels.h"

/* Single precision holds for so many positions; then the sum goes on in double. */
#define RUN 64

struct batch_norm {
    int32_t lanes; /* channels, padded to whole blocks */
    float *mean;   /* what forward used, for backward and for the running statistics */
    float *inv_std;
    float *variance;
    float *factor; /* y = factor * src + offset */
    float *offset;
};

/* -- Kernels: one block of one image ------------------------------------------------------------------------------- */

/* sums[0 .. b) += src, sums[b .. 2b) += src * src */
ALWAYS_INLINE void moments_block(int64_t b, int64_t hw, const float *src, double *sums)
{
    for (int64_t first = 0; first < hw; first += RUN) {
        int64_t last = first + RUN < hw ? first + RUN : hw;
        float sum[16] = { 0 }, square[16] = { 0 };
        for (int64_t p = first; p < last; p++)
            for (int64_t l = 0; l < b; l++) {
                float x = src[p * b + l];
                sum[l] += x;
                square[l] += x * x;
            }
        for (int64_t l = 0; l < b; l++) {
            sums[l] += (double)sum[l];
            sums[b + l] += (double)square[l];
        }
    }
}

MULTIVERSION static void moments(int64_t b, int64_t hw, const float *src, double *sums)
{
    WITH_BLOCK(b, moments_block(B, hw, src, sums));
}

ALWAYS_INLINE void apply_block(int64_t b, int32_t kind, float alpha, float beta, int64_t hw, const float *factor,
                               const float *offset, const float *src, float *dst)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++)
            dst[p * b + l] = activation_value(kind, src[p * b + l] * factor[l] + offset[l], alpha, beta);
}

MULTIVERSION static void apply(int64_t b, const struct ssld_activation *activation, int64_t hw, const float *factor,
                               const float *offset, const float *src, float *dst)
{
    float alpha = activation->alpha, beta = activation->beta;
    WITH_ACTIVATION(activation->kind,
                    WITH_BLOCK(b, apply_block(B, ACTIVATION, alpha, beta, hw, factor, offset, src, dst)));
}

/* g = diff_dst * act'(y): sums[0 .. b) += g, sums[b .. 2b) += g * (src - mean) */
ALWAYS_INLINE void diff_sums_block(int64_t b, int32_t kind, float alpha, float beta, int64_t hw, const float *factor,
                                   const float *offset, const float *mean, const float *src, const float *diff_dst,
                                   double *sums)
{
    for (int64_t first = 0; first < hw; first += RUN) {
        int64_t last = first + RUN < hw ? first + RUN : hw;
        float sum[16] = { 0 }, product[16] = { 0 };
        for (int64_t p = first; p < last; p++)
            for (int64_t l = 0; l < b; l++) {
                float x = src[p * b + l];
                float g = diff_dst[p * b + l] * activation_slope(kind, x * factor[l] + offset[l], alpha, beta);
                sum[l] += g;
                product[l] += g * (x - mean[l]);
            }
        for (int64_t l = 0; l < b; l++) {
            sums[l] += (double)sum[l];
            sums[b + l] += (double)product[l];
        }
    }
}

MULTIVERSION static void diff_sums(int64_t b, const struct ssld_activation *activation, int64_t hw, const float *factor,
                                   const float *offset, const float *mean, const float *src, const float *diff_dst,
                                   double *sums)
{
    float alpha = activation->alpha, beta = activation->beta;
    WITH_ACTIVATION(activation->kind, WITH_BLOCK(b, diff_sums_block(B, ACTIVATION, alpha, beta, hw, factor, offset,
                                                                    mean, src, diff_dst, sums)));
}

/* diff_src = factor * g + slope * src + constant */
ALWAYS_INLINE void diff_src_block(int64_t b, int32_t kind, float alpha, float beta, int64_t hw, const float *factor,
                                  const float *offset, const float *slope, const float *constant, const float *src,
                                  const float *diff_dst, float *diff_src)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++) {
            float x = src[p * b + l];
            float g = diff_dst[p * b + l] * activation_slope(kind, x * factor[l] + offset[l], alpha, beta);
            diff_src[p * b + l] = factor[l] * g + slope[l] * x + constant[l];
        }
}

MULTIVERSION static void diff_src_pass(int64_t b, const struct ssld_activation *activation, int64_t hw,
                                       const float *factor, const float *offset, const float *slope,
                                       const float *constant, const float *src, const float *diff_dst, float *diff_src)
{
    float alpha = activation->alpha, beta = activation->beta;
    WITH_ACTIVATION(activation->kind, WITH_BLOCK(b, diff_src_block(B, ACTIVATION, alpha, beta, hw, factor, offset,
                                                                   slope, constant, src, diff_dst, diff_src)));
}

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

static ssld_status batch_norm_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct planes *planes = &ssld_step_src(plan, step, 0)->planes;
    struct batch_norm *norm = ssld_alloc_zero(plan->context, 1, sizeof *norm);
    step->state = norm;
    if (!norm)
        return ssld_fail_memory(plan->context, "a batch norm", sizeof *norm);
    norm->lanes = (int32_t)(planes->blocks * planes->b);
    norm->mean = ssld_alloc_zero(plan->context, 5 * (size_t)norm->lanes, sizeof(float));
    if (!norm->mean)
        return ssld_fail_memory(plan->context, "a batch norm", 5 * (size_t)norm->lanes * sizeof(float));
    norm->inv_std = norm->mean + norm->lanes;
    norm->variance = norm->inv_std + norm->lanes;
    norm->factor = norm->variance + norm->lanes;
    norm->offset = norm->factor + norm->lanes;

    ssld_tensor_set_planes(ssld_step_dst(plan, step), *planes);
    /* Sums of two kinds for each image and channel; backward's slope and constant for each channel behind them. */
    ssld_plan_need(&plan->partial_bytes,
                   (size_t)(planes->n * norm->lanes) * 2 * sizeof(double) + (size_t)norm->lanes * 2 * sizeof(float));
    ssld_status status = SSLD_OK;
    for (int32_t input = 1; !status && input <= 4; input++)
        status = ssld_plan_add_vector(plan, step, input);
    return status;
}

static void batch_norm_release(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    ssld_free(plan->context, norm->mean);
}

/* -- Forward ------------------------------------------------------------------------------------------------------ */

/* Sums over the images, in their order, of partial (N, C/b, 2, b). */
static double sum_over_images(const struct planes *planes, const double *partial, int64_t channel, int64_t which)
{
    double sum = 0;
    int64_t block = channel / planes->b, lane = channel % planes->b;
    for (int64_t n = 0; n < planes->n; n++)
        sum += partial[((n * planes->blocks + block) * 2 + which) * planes->b + lane];
    return sum;
}

static void take_batch_statistics(struct ssld_plan *plan, const struct planes *planes, const float *src,
                                  struct batch_norm *norm)
{
    int64_t hw = planes->h * planes->w, blocks = planes->n * planes->blocks;
    double *partial = (double *)plan->partial, count = (double)(planes->n * hw);
#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++) {
        double *sums = partial + i * 2 * planes->b;
        for (int64_t l = 0; l < 2 * planes->b; l++)
            sums[l] = 0;
        moments(planes->b, hw, src + i * hw * planes->b, sums);
    }
    for (int32_t c = 0; c < norm->lanes; c++) {
        double mean = sum_over_images(planes, partial, c, 0) / count;
        double variance = sum_over_images(planes, partial, c, 1) / count - mean * mean;
        norm->mean[c] = (float)mean;
        norm->variance[c] = (float)(variance < 0 ? 0 : variance); /* not by fmax, which would hide NaN */
    }
}

static ssld_status batch_norm_forward(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct planes *planes = &src->planes;
    const struct ssld_activation *activation = &step->node->activation;
    const float *scale = ssld_step_parameter(plan, step, 1)->value, *shift = ssld_step_parameter(plan, step, 2)->value;
    int64_t hw = planes->h * planes->w, blocks = planes->n * planes->blocks;
    bool running = plan->options.mode == SSLD_PLAN_EVAL;
    const float *mean = running ? ssld_step_parameter(plan, step, 3)->value : norm->mean;
    const float *variance = running ? ssld_step_parameter(plan, step, 4)->value : norm->variance;

    if (!running)
        take_batch_statistics(plan, planes, src->data, norm);
    for (int32_t c = 0; c < norm->lanes; c++) {
        bool used = c < planes->channels;
        norm->inv_std[c] = (float)(1 / sqrt((double)(used ? variance[c] : 0) + (double)step->node->attributes.epsilon));
        norm->factor[c] = used ? scale[c] * norm->inv_std[c] : 0;
        norm->offset[c] = used ? shift[c] - mean[c] * norm->factor[c] : 0;
    }
#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++) {
        int64_t lane = i % planes->blocks * planes->b, at = i * hw * planes->b;
        apply(planes->b, activation, hw, norm->factor + lane, norm->offset + lane, src->data + at, dst->data + at);
    }
    if (ssld_activation_of_zero(activation) != 0)
        ssld_zero_padding(planes, dst->data);
    return SSLD_OK;
}

/* -- Backward ----------------------------------------------------------------------------------------------------- *
 *
 *   g = diff_dst * act'(y)             diff_shift = sum g            diff_scale = sum g * x^
 *   diff_src = scale * inv_std * (g - diff_shift / M - x^ * diff_scale / M),   M = N * HW
 */
static ssld_status batch_norm_backward(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct planes *planes = &src->planes;
    const struct ssld_activation *activation = &step->node->activation;
    float *diff_scale = ssld_step_parameter(plan, step, 1)->diff,
          *diff_shift = ssld_step_parameter(plan, step, 2)->diff;
    float *diff_src = ssld_step_diff_src(plan, step, 0);
    int64_t hw = planes->h * planes->w, blocks = planes->n * planes->blocks;
    double *partial = (double *)plan->partial, count = (double)(planes->n * hw);
    float *slope = (float *)(partial + blocks * 2 * planes->b), *constant = slope + norm->lanes;

#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++) {
        int64_t lane = i % planes->blocks * planes->b, at = i * hw * planes->b;
        double *sums = partial + i * 2 * planes->b;
        for (int64_t l = 0; l < 2 * planes->b; l++)
            sums[l] = 0;
        diff_sums(planes->b, activation, hw, norm->factor + lane, norm->offset + lane, norm->mean + lane,
                  src->data + at, dst->diff + at, sums);
    }
    for (int32_t c = 0; c < norm->lanes; c++) {
        bool used = c < planes->channels;
        double sum = sum_over_images(planes, partial, c, 0);
        double product = sum_over_images(planes, partial, c, 1) * (double)norm->inv_std[c];
        if (used) {
            diff_shift[c] = (float)sum;
            diff_scale[c] = (float)product;
        }
        double along = (double)norm->factor[c] * (double)norm->inv_std[c] * product / count;
        slope[c] = (float)-along;
        constant[c] = (float)(along * (double)norm->mean[c] - (double)norm->factor[c] * sum / count);
    }
    if (!diff_src)
        return SSLD_OK;
#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++) {
        int64_t lane = i % planes->blocks * planes->b, at = i * hw * planes->b;
        diff_src_pass(planes->b, activation, hw, norm->factor + lane, norm->offset + lane, slope + lane,
                      constant + lane, src->data + at, dst->diff + at, diff_src + at);
    }
    return SSLD_OK;
}

/* -- Running statistics: ONNX's and Paddle's rule, with the batch's population variance ------------------------------ */

void ssld_plan_update_statistics(struct ssld_plan *plan)
{
    for (int32_t i = 0; i < plan->graph->node_count; i++) {
        struct step *step = &plan->steps[i];
        if (step->node->kind != SSLD_OP_BATCH_NORM)
            continue;
        const struct batch_norm *norm = step->state;
        struct ssld_parameter *mean = ssld_step_parameter(plan, step, 3),
                              *variance = ssld_step_parameter(plan, step, 4);
        float keep = step->node->attributes.momentum;
        for (int64_t c = 0; c < mean->elements; c++) {
            mean->value[c] = keep * mean->value[c] + (1 - keep) * norm->mean[c];
            variance->value[c] = keep * variance->value[c] + (1 - keep) * norm->variance[c];
        }
    }
}

const struct engine_op ssld_op_batch_norm = {
    .kind = SSLD_OP_BATCH_NORM,
    .backward_reads = READS_SRC,
    .prepare = batch_norm_prepare,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .release = batch_norm_release,
};
