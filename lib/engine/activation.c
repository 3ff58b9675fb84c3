/* SPDX-License-Identifier: BSD-2-Clause */
/* activation.c - activations: a row each with value and derivative, and the operators made of them.
 *
 * They stand here as loops over elements of any layout; op_batch_norm.c uses the same rows inside its own loops, and
 * inference hands them to oneDNN as post-ops. */
#include "engine/kernels.h"
#include "engine/layouts.h"

#include <string.h>

/* -- Value and derivative ----------------------------------------------------------------------------------------- *
 *
 *   Relu         max(x, 0)                        1 where x > 0
 *   Clip         min(max(x, alpha), beta)         1 where alpha < x < beta
 *   HardSigmoid  clip(alpha x + beta, 0, 1)       alpha where 0 < alpha x + beta < 1
 *   HardSwish    x clip(x / 6 + 1 / 2, 0, 1)      0 below -3, 1 above 3, x / 3 + 1 / 2 between
 *   Sigmoid      s = 1 / (1 + e^-x)               s (1 - s)
 *   LeakyRelu    x, alpha x below 0               1, alpha below 0
 *   Silu         x s(x), s the sigmoid            s + x s (1 - s)
 *   Gelu         x P(x), P the standard normal    P + x p, p its density
 *   GeluTanh     x s(u), u = k (x + c x^3)        s + x s (1 - s) u'      k = 2 sqrt(2 / pi), c = 0.044715
 *   Tanh         t = tanh(x)                      1 - t^2
 */
ALWAYS_INLINE void forward_loop(int32_t type, int32_t kind, float alpha, float beta, int64_t count, const void *src,
                                void *dst)
{
    for (int64_t i = 0; i < count; i++)
        element_store(type, dst, i, activation_value(kind, element_load(type, src, i), alpha, beta));
}

MULTIVERSION static void forward_range(const struct ssld_activation *activation, int32_t type, int64_t count,
                                       const void *src, void *dst)
{
    float alpha = activation->alpha, beta = activation->beta;
    WITH_ACTIVATION(activation->kind, WITH_TYPE(type, forward_loop(TYPE, ACTIVATION, alpha, beta, count, src, dst)));
}

ALWAYS_INLINE void backward_loop(int32_t type, int32_t kind, float alpha, float beta, int64_t count, const void *src,
                                 const void *diff_dst, void *diff_src)
{
    for (int64_t i = 0; i < count; i++) {
        float slope = activation_slope(kind, element_load(type, src, i), alpha, beta);
        element_store(type, diff_src, i, element_load(type, diff_dst, i) * slope);
    }
}

MULTIVERSION static void backward_range(const struct ssld_activation *activation, int32_t type, int64_t count,
                                        const void *src, const void *diff_dst, void *diff_src)
{
    float alpha = activation->alpha, beta = activation->beta;
    WITH_ACTIVATION(activation->kind,
                    WITH_TYPE(type, backward_loop(TYPE, ACTIVATION, alpha, beta, count, src, diff_dst, diff_src)));
}

/* Spread over threads in pieces that fit into a first-level cache. */
#define PIECE 4096

void ssld_activation_forward(const struct ssld_activation *activation, int32_t type, int64_t count, const void *src,
                             void *dst)
{
#pragma omp parallel for
    for (int64_t first = 0; first < count; first += PIECE)
        forward_range(activation, type, count - first < PIECE ? count - first : PIECE,
                      element_at_const(type, src, first), element_at(type, dst, first));
}

void ssld_activation_backward(const struct ssld_activation *activation, int32_t type, int64_t count, const void *src,
                              const void *diff_dst, void *diff_src)
{
#pragma omp parallel for
    for (int64_t first = 0; first < count; first += PIECE)
        backward_range(activation, type, count - first < PIECE ? count - first : PIECE,
                       element_at_const(type, src, first), element_at_const(type, diff_dst, first),
                       element_at(type, diff_src, first));
}

float ssld_activation_of_zero(const struct ssld_activation *activation)
{
    float zero = 0;
    if (activation->kind != SSLD_OP_IDENTITY)
        forward_range(activation, ELEMENT_F32, 1, &zero, &zero);
    return zero;
}

/* Zero is all bits zero in either type. */
void ssld_zero_padding(const struct planes *planes, void *data)
{
    int64_t b = planes->b, used = planes->channels % b, hw = planes->h * planes->w;
    for (int64_t n = 0; used && n < planes->n; n++)
        for (int64_t p = 0; p < hw; p++)
            memset(element_at(planes->type, data, (((n + 1) * planes->blocks - 1) * hw + p) * b + used), 0,
                   (size_t)(b - used) * element_size(planes->type));
}

/* -- Post-ops ----------------------------------------------------------------------------------------------------- */

void ssld_activation_post_ops(const struct ssld_activation *activation, struct ssld_dnnl_post_ops *post_ops)
{
    float alpha = activation->alpha, beta = activation->beta;
    *post_ops = (struct ssld_dnnl_post_ops){ .count = 1 };
    switch (activation->kind) {
    case SSLD_OP_RELU:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_relu, 0, 0 };
        break;
    case SSLD_OP_CLIP:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_clip, alpha, beta };
        break;
    case SSLD_OP_HARD_SWISH: /* 3.x wants the constants that 2.x has built in */
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_hardswish, 1.0f / 6.0f, 0.5f };
        break;
    case SSLD_OP_HARD_SIGMOID: /* which 2.x has not */
        post_ops->count = 2;
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_linear, alpha, beta };
        post_ops->eltwise[1] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_clip, 0, 1 };
        break;
    case SSLD_OP_SIGMOID:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_logistic, 0, 0 };
        break;
    case SSLD_OP_LEAKY_RELU:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_relu, alpha, 0 };
        break;
    case SSLD_OP_SILU:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_swish, 1, 0 };
        break;
    case SSLD_OP_GELU:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_gelu_erf, 0, 0 };
        break;
    case SSLD_OP_GELU_TANH:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_gelu_tanh, 0, 0 };
        break;
    case SSLD_OP_TANH:
        post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_tanh, 0, 0 };
        break;
    default:
        post_ops->count = 0;
    }
}

/* -- The operators ------------------------------------------------------------------------------------------------ */

static ssld_status prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_step_src(plan, step, 0)->planes);
    return SSLD_OK;
}

static ssld_status forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct ssld_activation activation = ssld_node_as_activation(step->node);
    ssld_activation_forward(&activation, src->planes.type, tensor_elements(src), src->data, dst->data);
    if (ssld_activation_of_zero(&activation) != 0)
        ssld_zero_padding(&dst->planes, dst->data);
    return SSLD_OK;
}

static ssld_status backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct ssld_activation activation = ssld_node_as_activation(step->node);
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (diff_src)
        ssld_activation_backward(&activation, src->planes.type, tensor_elements(src), src->data, dst->diff, diff_src);
    return SSLD_OK;
}

#define ACTIVATION(name, operator)                                                                                     \
    const struct engine_op name = { .kind = operator,                                                                  \
                                    .layout = LAYOUT_SAME,                                                             \
                                    .cheap = true,                                                                     \
                                    .backward_reads = READS_SRC,                                                       \
                                    .prepare = prepare,                                                                \
                                    .forward = forward,                                                                \
                                    .backward = backward }

ACTIVATION(ssld_op_relu, SSLD_OP_RELU);
ACTIVATION(ssld_op_clip, SSLD_OP_CLIP);
ACTIVATION(ssld_op_hard_swish, SSLD_OP_HARD_SWISH);
ACTIVATION(ssld_op_hard_sigmoid, SSLD_OP_HARD_SIGMOID);
ACTIVATION(ssld_op_sigmoid, SSLD_OP_SIGMOID);
ACTIVATION(ssld_op_leaky_relu, SSLD_OP_LEAKY_RELU);
ACTIVATION(ssld_op_silu, SSLD_OP_SILU);
ACTIVATION(ssld_op_gelu, SSLD_OP_GELU);
ACTIVATION(ssld_op_gelu_tanh, SSLD_OP_GELU_TANH);
ACTIVATION(ssld_op_tanh, SSLD_OP_TANH);
