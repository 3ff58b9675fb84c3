/* SPDX-License-Identifier: BSD-2-Clause */
/* update.c - the optimizers' loops. Each makes one pass over weights, gradient and state: clipping, decay, momentum, update
 * and average together, because memory is what an update waits for. Sources of the formulas: ssld/student.h. */
#include "distill/update.h"

#include <math.h>

#include "core/multiversion.h"
#include "ssld/student.h"

#ifdef _OPENMP
#define SIMD _Pragma("omp simd")
#define SIMD_SUM(a, b) SIMD_SUM_TEXT(omp simd reduction(+ : a, b))
#define SIMD_SUM_TEXT(text) _Pragma(#text)
#else
#define SIMD
#define SIMD_SUM(a, b)
#endif

/* Written so that NaN comes through. */
ALWAYS_INLINE float clamp(float value, float limit)
{
    value = value < -limit ? -limit : value;
    return value > limit ? limit : value;
}

/* What the loops need of an update, in single precision. */
struct loop {
    size_t       count;
    float        limit, scale, rate, decay, momentum, follow;
    const float *diff;
};

ALWAYS_INLINE struct loop loop_of(const struct ssld_update *update)
{
    const struct ssld_optimizer_options *options = update->options;
    return (struct loop){ .count = update->count,
                          .limit = options->clip_value > 0 ? (float)options->clip_value : INFINITY,
                          .scale = update->scale,
                          .rate = (float)update->rate,
                          .decay = (float)update->decay,
                          .momentum = (float)options->momentum,
                          .follow = (float)(1 - options->ema_decay),
                          .diff = update->diff };
}

/* -- SGD ---------------------------------------------------------------------------------------------------------- */

/*   g = diff + decay w        v = momentum v + g        w -= rate * (nesterov ? g + momentum v : v) */
ALWAYS_INLINE void sgd_loop(const struct ssld_update *update, bool nesterov, bool averaged)
{
    struct loop loop = loop_of(update);
    float *restrict weights = update->weights, *restrict velocity = update->state[0], *restrict average = update->average;
    const float *restrict diff = loop.diff;
    SIMD
    for (size_t i = 0; i < loop.count; i++) {
        float g = clamp(diff[i], loop.limit) * loop.scale + loop.decay * weights[i];
        float v = loop.momentum * velocity[i] + g;
        velocity[i] = v;
        float w = weights[i] - loop.rate * (nesterov ? g + loop.momentum * v : v);
        weights[i] = w;
        if (averaged)
            average[i] += loop.follow * (w - average[i]);
    }
}

MULTIVERSION static void sgd(const struct ssld_update *update)
{
    bool averaged = update->average != NULL;
    if (update->options->nesterov && averaged)
        sgd_loop(update, true, true);
    else if (update->options->nesterov)
        sgd_loop(update, true, false);
    else if (averaged)
        sgd_loop(update, false, true);
    else
        sgd_loop(update, false, false);
}

/* -- AdamW -------------------------------------------------------------------------------------------------------- */

/*   m = beta1 m + (1 - beta1) g      v = beta2 v + (1 - beta2) g^2
 *   w = (1 - rate * decay) w - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon) */
ALWAYS_INLINE void adamw_loop(const struct ssld_update *update, bool averaged)
{
    const struct ssld_optimizer_options *options = update->options;
    double t = (double)update->step + 1;
    struct loop loop = loop_of(update);
    float beta1 = (float)options->beta1, beta2 = (float)options->beta2;
    float rest1 = (float)(1 - options->beta1), rest2 = (float)(1 - options->beta2);
    float keep = (float)(1 - update->rate * update->decay);
    float rate = (float)(update->rate / (1 - pow(options->beta1, t)));
    float spread = (float)(1 / sqrt(1 - pow(options->beta2, t))), epsilon = (float)options->epsilon;
    float *restrict weights = update->weights, *restrict average = update->average;
    float *restrict moment1 = update->state[0], *restrict moment2 = update->state[1];
    const float *restrict diff = loop.diff;
    SIMD
    for (size_t i = 0; i < loop.count; i++) {
        float g = clamp(diff[i], loop.limit) * loop.scale;
        float m = beta1 * moment1[i] + rest1 * g, v = beta2 * moment2[i] + rest2 * g * g;
        moment1[i] = m;
        moment2[i] = v;
        float w = keep * weights[i] - rate * m / (sqrtf(v) * spread + epsilon);
        weights[i] = w;
        if (averaged)
            average[i] += loop.follow * (w - average[i]);
    }
}

MULTIVERSION static void adamw(const struct ssld_update *update)
{
    if (update->average)
        adamw_loop(update, true);
    else
        adamw_loop(update, false);
}

/* -- LARS --------------------------------------------------------------------------------------------------------- */

/*   v = momentum v + rate (g + decay w)        w -= v,   rate being the parameter's own */
ALWAYS_INLINE void lars_loop(const struct ssld_update *update, bool averaged)
{
    struct loop loop = loop_of(update);
    float *restrict weights = update->weights, *restrict velocity = update->state[0], *restrict average = update->average;
    const float *restrict diff = loop.diff;
    SIMD
    for (size_t i = 0; i < loop.count; i++) {
        float g = clamp(diff[i], loop.limit) * loop.scale + loop.decay * weights[i];
        float v = loop.momentum * velocity[i] + loop.rate * g;
        velocity[i] = v;
        float w = weights[i] - v;
        weights[i] = w;
        if (averaged)
            average[i] += loop.follow * (w - average[i]);
    }
}

MULTIVERSION static void lars(const struct ssld_update *update)
{
    if (update->average)
        lars_loop(update, true);
    else
        lars_loop(update, false);
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

/* Of LARS the velocity holds the rates of its steps, so it is another array than SGD's and is called otherwise. */
const struct ssld_optimizer_row ssld_optimizer_rows[] = {
    [SSLD_OPTIMIZER_SGD] = { { "velocity", NULL }, false, sgd },
    [SSLD_OPTIMIZER_ADAMW] = { { "moment1", "moment2" }, false, adamw },
    [SSLD_OPTIMIZER_LARS] = { { "lars_velocity", NULL }, true, lars },
};

/* -- Sums and averages -------------------------------------------------------------------------------------------- */

/* g - g is 0, or NaN where g is not finite: a clamp may not hide that. */
MULTIVERSION void ssld_sums_of_squares(size_t count, const float *weights, const float *diff, float limit,
                                       double *of_weights, double *of_diff)
{
    double sum = 0, sum_diff = 0;
    SIMD_SUM(sum, sum_diff)
    for (size_t i = 0; i < count; i++) {
        double w = weights[i], g = clamp(diff[i], limit) + (diff[i] - diff[i]);
        sum += w * w;
        sum_diff += g * g;
    }
    *of_weights = sum;
    *of_diff = sum_diff;
}

MULTIVERSION void ssld_average(size_t count, const float *values, double decay, float *average)
{
    float follow = (float)(1 - decay);
    for (size_t i = 0; i < count; i++)
        average[i] += follow * (values[i] - average[i]);
}
