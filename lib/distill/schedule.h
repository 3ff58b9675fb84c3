/* SPDX-License-Identifier: BSD-2-Clause */
/* schedule.h - the learning rate of every step. Formulas: ssld/student.h. */
#ifndef SSLD_LIB_DISTILL_SCHEDULE_H
#define SSLD_LIB_DISTILL_SCHEDULE_H

#include "core/context.h"

/* Resolved: no defaults left. What a kind does not use does not count. */
struct ssld_schedule {
    int32_t         kind; /* SSLD_SCHEDULE_x */
    double          rate; /* peak */
    uint64_t        total_steps, warmup_steps;
    double          final_rate;                        /* cosine */
    double          gamma;                             /* step, multistep */
    uint64_t        decay_steps;                       /* step */
    const uint64_t *milestones;                        /* multistep: rising */
    int32_t         milestone_count;
    double          rise, start_divisor, final_divisor; /* one-cycle */
};

/* Rate of step 0, 1, 2 ...: linear warmup from 0, then the schedule. Past total_steps: the last rate. */
double ssld_schedule_rate(const struct ssld_schedule *schedule, uint64_t step);

#endif
