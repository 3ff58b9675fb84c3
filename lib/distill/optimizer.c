/* SPDX-License-Identifier: BSD-2-Clause */
/* optimizer.c - the learning rate of a step and SGD's update: PaddleClas's Cosine with linear warmup, PaddlePaddle's
 * Momentum. */
#include "distill/optimizer.h"

#include <math.h>

#include "ssld/student.h"

#define PI 3.14159265358979323846

/*   warmup:  rate * step / warmup
 *   cosine:  rate * (1 + cos(pi * (step - warmup) / (total - warmup))) / 2, which falls to 0 at step = total */
double ssld_schedule_rate(const struct ssld_schedule *schedule, uint64_t step)
{
    uint64_t warmup = schedule->warmup_steps, total = schedule->total_steps;
    if (total && step >= total)
        step = total - 1;
    if (step < warmup)
        return schedule->rate * (double)step / (double)warmup;
    if (schedule->kind == SSLD_SCHEDULE_CONSTANT || total <= warmup)
        return schedule->rate;
    return schedule->rate * (1 + cos(PI * (double)(step - warmup) / (double)(total - warmup))) / 2;
}

/* Tensors below this are updated faster by one core than several cores are woken. */
#define PARALLEL_FROM 32768

void ssld_sgd_update(size_t count, float *restrict weights, float *restrict velocity, const float *restrict diff_weights,
                     float rate, float momentum, float l2)
{
#ifdef _OPENMP
#pragma omp parallel for simd if (count >= PARALLEL_FROM)
#endif
    for (size_t i = 0; i < count; i++) {
        float v = momentum * velocity[i] + (diff_weights[i] + l2 * weights[i]);
        velocity[i] = v;
        weights[i] -= rate * v;
    }
}
