/* SPDX-License-Identifier: BSD-2-Clause */
/* op_binary.c - addition with its activation, multiplication (squeeze-and-excitation's broadcast too), scaling by a
 * constant. */
#include "engine/kernels.h"

/* Both inputs must stand in memory alike. */
static ssld_status check_layout(struct ssld_plan *plan, const struct step *step)
{
    const struct planes *a = &ssld_step_src(plan, step, 0)->planes, *b = &ssld_step_src(plan, step, 1)->planes;
    if (a->b == b->b && a->blocks == b->blocks)
        return SSLD_OK;
    return ssld_fail(plan->context, SSLD_UNSUPPORTED,
                     "%s '%s': one input is the image itself, the other a layer's output",
                     ssld_ops[step->node->kind].name, step->node->name);
}

/* -- Add: dst = act(a + b) ---------------------------------------------------------------------------------------- */

static ssld_status add_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_step_src(plan, step, 0)->planes);
    return check_layout(plan, step);
}

static ssld_status add_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    const float *a = ssld_step_src(plan, step, 0)->data, *b = ssld_step_src(plan, step, 1)->data;
    int64_t count = (int64_t)(dst->bytes / sizeof(float));
    float *sum = dst->data;
    if (step->node->activation.kind == SSLD_OP_RELU) {
#pragma omp parallel for simd
        for (int64_t i = 0; i < count; i++)
            sum[i] = relu_value(a[i] + b[i]);
        return SSLD_OK;
    }
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++)
        sum[i] = a[i] + b[i];
    if (step->node->activation.kind != SSLD_OP_IDENTITY) {
        ssld_activation_forward(&step->node->activation, (size_t)count, sum, sum);
        if (ssld_activation_of_zero(&step->node->activation) != 0)
            ssld_zero_padding(&dst->planes, sum);
    }
    return SSLD_OK;
}

/* diff_a = diff_b = diff_dst * act'; training fuses only ReLU, whose slope shows in dst. */
static ssld_status add_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    const float *diff = dst->diff, *sum = dst->data;
    int64_t count = (int64_t)(dst->bytes / sizeof(float));
    bool relu = step->node->activation.kind == SSLD_OP_RELU;
    for (int32_t input = 0; input < 2; input++) {
        float *diff_src = ssld_step_diff_src(plan, step, input);
        if (!diff_src)
            continue;
#pragma omp parallel for simd
        for (int64_t i = 0; i < count; i++)
            diff_src[i] = relu && !(sum[i] > 0) ? 0 : diff[i];
    }
    return SSLD_OK;
}

const struct engine_op ssld_op_add = {
    .kind = SSLD_OP_ADD,
    .backward_reads = READS_DST,
    .prepare = add_prepare,
    .forward = add_forward,
    .backward = add_backward,
};

/* -- Mul: dst = x * s, where s is (N, C, 1, 1) or of x's shape -------------------------------------------------------- */

static ssld_status mul_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_step_src(plan, step, 0)->planes);
    return check_layout(plan, step);
}

/* What a block of x finds in s: as many positions, or a single one for all. */
static int64_t positions(const struct tensor *tensor)
{
    return tensor->planes.h * tensor->planes.w;
}

ALWAYS_INLINE void mul_block(int64_t b, int64_t hw, bool broadcast, const float *x, const float *s, float *dst)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++)
            dst[p * b + l] = x[p * b + l] * s[broadcast ? l : p * b + l];
}

MULTIVERSION static void mul_of_block(int64_t b, int64_t hw, bool broadcast, const float *x, const float *s, float *dst)
{
    if (broadcast)
        WITH_BLOCK(b, mul_block(B, hw, true, x, s, dst));
    else
        WITH_BLOCK(b, mul_block(B, hw, false, x, s, dst));
}

/* Of two tensors' layouts, on any data that stands like them. */
static void mul(const struct tensor *first, const struct tensor *second, const float *x, const float *s, float *dst)
{
    int64_t b = first->planes.b, hw = positions(first), second_hw = positions(second);
    int64_t blocks = first->planes.n * first->planes.blocks;
#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++)
        mul_of_block(b, hw, second_hw == 1, x + i * hw * b, s + i * second_hw * b, dst + i * hw * b);
}

static ssld_status mul_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *x = ssld_step_src(plan, step, 0), *s = ssld_step_src(plan, step, 1);
    mul(x, s, x->data, s->data, ssld_step_dst(plan, step)->data);
    return SSLD_OK;
}

/* diff_s = sum over positions of diff_dst * x */
ALWAYS_INLINE void mul_sum_block(int64_t b, int64_t hw, const float *x, const float *diff_dst, float *diff_s)
{
    float sum[16] = { 0 };
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++)
            sum[l] += x[p * b + l] * diff_dst[p * b + l];
    for (int64_t l = 0; l < b; l++)
        diff_s[l] = sum[l];
}

MULTIVERSION static void mul_sum_of_block(int64_t b, int64_t hw, const float *x, const float *diff_dst, float *diff_s)
{
    WITH_BLOCK(b, mul_sum_block(B, hw, x, diff_dst, diff_s));
}

static ssld_status mul_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *x = ssld_step_src(plan, step, 0), *s = ssld_step_src(plan, step, 1),
                  *dst = ssld_step_dst(plan, step);
    int64_t b = x->planes.b, hw = positions(x), blocks = x->planes.n * x->planes.blocks;
    float *diff_x = ssld_step_diff_src(plan, step, 0), *diff_s = ssld_step_diff_src(plan, step, 1);
    if (diff_x)
        mul(x, s, dst->diff, s->data, diff_x);
    if (diff_s && positions(s) == hw)
        mul(x, x, dst->diff, x->data, diff_s);
    else if (diff_s) {
#pragma omp parallel for
        for (int64_t i = 0; i < blocks; i++)
            mul_sum_of_block(b, hw, x->data + i * hw * b, dst->diff + i * hw * b, diff_s + i * b);
    }
    return SSLD_OK;
}

const struct engine_op ssld_op_mul = {
    .kind = SSLD_OP_MUL,
    .backward_reads = READS_SRC,
    .prepare = mul_prepare,
    .forward = mul_forward,
    .backward = mul_backward,
};

/* -- Scale: dst = scale * src ------------------------------------------------------------------------------------- */

static ssld_status scale_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_step_src(plan, step, 0)->planes);
    return SSLD_OK;
}

static void scale(float factor, size_t bytes, const float *src, float *dst)
{
    int64_t count = (int64_t)(bytes / sizeof(float));
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++)
        dst[i] = factor * src[i];
}

static ssld_status scale_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0);
    scale(step->node->attributes.scale, src->bytes, src->data, ssld_step_dst(plan, step)->data);
    return SSLD_OK;
}

static ssld_status scale_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    float *diff_src = ssld_step_diff_src(plan, step, 0);
    if (diff_src)
        scale(step->node->attributes.scale, dst->bytes, dst->diff, diff_src);
    return SSLD_OK;
}

const struct engine_op ssld_op_scale = {
    .kind = SSLD_OP_SCALE,
    .prepare = scale_prepare,
    .forward = scale_forward,
    .backward = scale_backward,
};
