/* SPDX-License-Identifier: BSD-2-Clause */
/* optimizer.h - learning-rate schedules and the update of one parameter. */
#ifndef SSLD_LIB_DISTILL_OPTIMIZER_H
#define SSLD_LIB_DISTILL_OPTIMIZER_H

#include "core/context.h"

struct ssld_schedule {
    int32_t  kind; /* SSLD_SCHEDULE_x */
    double   rate; /* peak */
    uint64_t total_steps, warmup_steps;
};

/* Rate of step 0, 1, 2 ...: linear warmup from 0 (step / warmup * rate), then the schedule. Past total_steps: the last rate. */
double ssld_schedule_rate(const struct ssld_schedule *schedule, uint64_t step);

/* PaddlePaddle's Momentum with L2 decay in the gradient:
 *   g = diff_weights + l2 * weights      velocity = momentum * velocity + g      weights -= rate * velocity
 * Elementwise, so any layout will do as long as the three agree. */
void ssld_sgd_update(size_t count, float *weights, float *velocity, const float *diff_weights, float rate, float momentum,
                     float l2);

#endif
