/* SPDX-License-Identifier: BSD-2-Clause */
/* kernels.h - loops of our own over (N, C/b, HW, b) tensors.
 *
 * Each works on one block of channels of one image, (HW, b) floats, and is compiled for several instruction sets; who
 * calls it spreads the blocks over threads. b is a constant in the inner loops (16, 8 or 1), so that they become vectors. */
#ifndef SSLD_LIB_ENGINE_KERNELS_H
#define SSLD_LIB_ENGINE_KERNELS_H

#include "engine/element.h"
#include "engine/functions.h"
#include "engine/plan.h"

/* Calls KERNEL with a constant block width where it is a usual one: the compiler makes one loop nest for each. */
#define WITH_BLOCK(b, CALL)                       \
    do {                                          \
        if ((b) == 16) {                          \
            enum { B = 16 };                      \
            CALL;                                 \
        } else if ((b) == 8) {                    \
            enum { B = 8 };                       \
            CALL;                                 \
        } else if ((b) == 1) {                    \
            enum { B = 1 };                       \
            CALL;                                 \
        } else { /* channels last */              \
            const int64_t B = (b);                \
            CALL;                                 \
        }                                         \
    } while (0)

/* The same for the kind of activation: ACTIVATION is a constant in CALL. */
#define WITH_ACTIVATION_CASE(kind, CALL)   \
    case kind: {                           \
        enum { ACTIVATION = kind };        \
        CALL;                              \
        break;                             \
    }
#define WITH_ACTIVATION(kind, CALL)                         \
    switch (kind) {                                         \
        WITH_ACTIVATION_CASE(SSLD_OP_RELU, CALL)            \
        WITH_ACTIVATION_CASE(SSLD_OP_CLIP, CALL)            \
        WITH_ACTIVATION_CASE(SSLD_OP_HARD_SWISH, CALL)      \
        WITH_ACTIVATION_CASE(SSLD_OP_HARD_SIGMOID, CALL)    \
        WITH_ACTIVATION_CASE(SSLD_OP_SIGMOID, CALL)         \
        WITH_ACTIVATION_CASE(SSLD_OP_LEAKY_RELU, CALL)      \
        WITH_ACTIVATION_CASE(SSLD_OP_SILU, CALL)            \
        WITH_ACTIVATION_CASE(SSLD_OP_GELU, CALL)            \
        WITH_ACTIVATION_CASE(SSLD_OP_GELU_TANH, CALL)       \
        WITH_ACTIVATION_CASE(SSLD_OP_TANH, CALL)            \
        WITH_ACTIVATION_CASE(SSLD_OP_IDENTITY, CALL)        \
    }

/* -- Activations of one number -------------------------------------------------------------------------------------- */

/* Written so that NaN comes through: a broken network must show in its loss. */
ALWAYS_INLINE float relu_value(float x) { return x < 0 ? 0 : x; }
ALWAYS_INLINE float relu_slope(float x) { return x > 0 ? 1.0f : 0; }
ALWAYS_INLINE float clip_value(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}
ALWAYS_INLINE float clip_slope(float x, float low, float high) { return ((x > low) & (x < high)) ? 1.0f : 0; }
ALWAYS_INLINE float hard_sigmoid_value(float x, float alpha, float beta) { return clip_value(alpha * x + beta, 0, 1); }
ALWAYS_INLINE float hard_sigmoid_slope(float x, float alpha, float beta)
{
    float y = alpha * x + beta;
    return ((y > 0) & (y < 1)) ? alpha : 0;
}
ALWAYS_INLINE float hard_swish_value(float x) { return x * clip_value(x * (1.0f / 6.0f) + 0.5f, 0, 1); }
ALWAYS_INLINE float hard_swish_slope(float x)
{
    float middle = x * (1.0f / 3.0f) + 0.5f;
    return x < -3 ? 0 : x > 3 ? 1.0f : middle;
}

ALWAYS_INLINE float leaky_relu_value(float x, float alpha) { return x < 0 ? alpha * x : x; }
ALWAYS_INLINE float leaky_relu_slope(float x, float alpha) { return x > 0 ? 1.0f : alpha; }

ALWAYS_INLINE float sigmoid_slope(float x)
{
    float s = sigmoid_of(x);
    return s * (1.0f - s);
}
ALWAYS_INLINE float tanh_slope(float x)
{
    float t = tanh_of(x);
    return 1.0f - t * t;
}
ALWAYS_INLINE float silu_value(float x) { return x * sigmoid_of(x); }
ALWAYS_INLINE float silu_slope(float x)
{
    float s = sigmoid_of(x);
    return s + x * (s * (1.0f - s));
}

/* The standard normal distribution up to x, and its density there. */
ALWAYS_INLINE float normal_below(float x) { return 0.5f + 0.5f * erf_of(x * 0.707106781f); }
ALWAYS_INLINE float normal_density(float x) { return 0.398942280f * exp_of(-0.5f * x * x); }
ALWAYS_INLINE float gelu_value(float x) { return x * normal_below(x); }
ALWAYS_INLINE float gelu_slope(float x) { return normal_below(x) + x * normal_density(x); }

/* (1 + tanh(u)) / 2 is the sigmoid of 2 u: x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)). */
ALWAYS_INLINE float gelu_tanh_gate(float x) { return sigmoid_of(1.59576912f * (x + 0.044715f * x * x * x)); }
ALWAYS_INLINE float gelu_tanh_value(float x) { return x * gelu_tanh_gate(x); }
ALWAYS_INLINE float gelu_tanh_slope(float x)
{
    float s = gelu_tanh_gate(x);
    return s + x * (s * (1.0f - s)) * (1.59576912f + 0.214070848f * x * x);
}

/* With a constant kind these are one of the above. */
ALWAYS_INLINE float activation_value(int32_t kind, float x, float alpha, float beta)
{
    return kind == SSLD_OP_RELU           ? relu_value(x)
           : kind == SSLD_OP_CLIP         ? clip_value(x, alpha, beta)
           : kind == SSLD_OP_HARD_SWISH   ? hard_swish_value(x)
           : kind == SSLD_OP_HARD_SIGMOID ? hard_sigmoid_value(x, alpha, beta)
           : kind == SSLD_OP_SIGMOID      ? sigmoid_of(x)
           : kind == SSLD_OP_LEAKY_RELU   ? leaky_relu_value(x, alpha)
           : kind == SSLD_OP_SILU         ? silu_value(x)
           : kind == SSLD_OP_GELU         ? gelu_value(x)
           : kind == SSLD_OP_GELU_TANH    ? gelu_tanh_value(x)
           : kind == SSLD_OP_TANH         ? tanh_of(x)
                                          : x;
}

ALWAYS_INLINE float activation_slope(int32_t kind, float x, float alpha, float beta)
{
    return kind == SSLD_OP_RELU           ? relu_slope(x)
           : kind == SSLD_OP_CLIP         ? clip_slope(x, alpha, beta)
           : kind == SSLD_OP_HARD_SWISH   ? hard_swish_slope(x)
           : kind == SSLD_OP_HARD_SIGMOID ? hard_sigmoid_slope(x, alpha, beta)
           : kind == SSLD_OP_SIGMOID      ? sigmoid_slope(x)
           : kind == SSLD_OP_LEAKY_RELU   ? leaky_relu_slope(x, alpha)
           : kind == SSLD_OP_SILU         ? silu_slope(x)
           : kind == SSLD_OP_GELU         ? gelu_slope(x)
           : kind == SSLD_OP_GELU_TANH    ? gelu_tanh_slope(x)
           : kind == SSLD_OP_TANH         ? tanh_slope(x)
                                          : 1.0f;
}

/* -- Activations of count elements: dst = act(src), diff_src = diff_dst * act'(src); src may be dst -------------------- */

void  ssld_activation_forward(const struct ssld_activation *activation, int32_t type, int64_t count, const void *src,
                              void *dst);
void  ssld_activation_backward(const struct ssld_activation *activation, int32_t type, int64_t count, const void *src,
                               const void *diff_dst, void *diff_src);
float ssld_activation_of_zero(const struct ssld_activation *activation);
void  ssld_activation_post_ops(const struct ssld_activation *activation, struct ssld_dnnl_post_ops *post_ops);

/* Zero the padding lanes of the last block, for kernels that may have written others there. */
void ssld_zero_padding(const struct planes *planes, void *data);

/* Elements of the chunk at hand, padding included. */
static inline int64_t tensor_elements(const struct tensor *tensor)
{
    return ssld_planes_elements(&tensor->planes);
}

#endif
