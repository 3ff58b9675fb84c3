/* SPDX-License-Identifier: BSD-2-Clause */
/* student.h - the inside of a student: a plan, a loss, a schedule, an optimizer, and what stands between two updates. */
#ifndef SSLD_LIB_DISTILL_STUDENT_H
#define SSLD_LIB_DISTILL_STUDENT_H

#include "distill/loss.h"
#include "distill/optimizer.h"
#include "distill/schedule.h"
#include "ssld/student.h"

struct ssld_student {
    ssld_context          *context;
    struct ssld_plan      *plan;        /* for `part` views */
    struct ssld_loss       loss;
    struct ssld_schedule   schedule;
    uint64_t              *milestones;  /* the schedule's */
    struct ssld_optimizer *optimizer;
    int32_t                parts, part; /* a step is `parts` times `part` views */
    ssld_model_info        info;
    uint64_t               steps;
    float                 *diff_logits; /* (part, classes) */
    void                  *scratch;     /* the loss's */
    float                 *statistics;  /* the buffers as they were before an update's first part, one behind the other */
    bool                   kept;        /* `statistics` are such: running statistics have moved since */
    /* Of the update to come. */
    const float           *logits;      /* of the last forward; NULL: there was none, or backward used it */
    uint64_t               done;        /* parts whose gradients are there; update wants at least one */
    bool                   observed;    /* the plan has the batch statistics of the last of them */
    double                 norm;        /* of the last update's gradients; -1: not computed */
    /* While profiled. */
    uint64_t               profiled_from; /* steps done when it began */
    double                 loss_seconds;
};

/* Options with their defaults in place; SSLD_INVALID_ARGUMENT names the option that is impossible. The texts and arrays in
 * `optimizer` and `schedule` are still the caller's. */
struct ssld_student_settings {
    struct ssld_optimizer_options optimizer;
    struct ssld_schedule          schedule;
    struct ssld_plan_options      plan; /* for a part */
    const char                   *loss;
    int32_t                       parts;
};

ssld_status ssld_student_settings_take(ssld_context *context, const ssld_student_options *given,
                                       struct ssld_student_settings *settings);

#endif
