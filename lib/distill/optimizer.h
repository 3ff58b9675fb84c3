/* SPDX-License-Identifier: BSD-2-Clause */
/* optimizer.h - from gradients to parameters: clipping, the update itself, the average of the weights, and the state that a
 * checkpoint keeps of them. Formulas: ssld/student.h.
 *
 * An optimizer works on parameters in whatever layout they have: value, gradient, state and average are arrays of one
 * layout, and padding stays zero because zeros update to zeros. */
#ifndef SSLD_LIB_DISTILL_OPTIMIZER_H
#define SSLD_LIB_DISTILL_OPTIMIZER_H

#include "engine/engine.h"

struct ssld_optimizer_options { /* resolved: no defaults left */
    int32_t     kind;       /* SSLD_OPTIMIZER_x */
    bool        nesterov;
    double      momentum;   /* SGD, LARS */
    double      decay;      /* SGD, LARS: l2; AdamW: weight_decay */
    double      beta1, beta2, epsilon, trust;
    double      ema_decay;  /* 0: no average is kept */
    double      clip_norm;  /* 0: any norm */
    double      clip_value; /* 0: any value */
    const char *groups;     /* may be NULL; not needed after creation */
};

struct ssld_optimizer;

/* For the `count` parameters and buffers of a plan, which must outlive the optimizer: the structs and their arrays, not the
 * array of pointers. The average begins as their values. */
ssld_status ssld_optimizer_create(ssld_context *context, const struct ssld_optimizer_options *options, int32_t count,
                                  const struct ssld_parameter *const *parameters, struct ssld_optimizer **optimizer);
void        ssld_optimizer_destroy(struct ssld_optimizer *optimizer); /* NULL is ignored */

/* Change every parameter by its gradient. `rate` is the schedule's, `step` counts the updates before this one. `norm`
 * receives that of all gradients together where clipping or LARS need it, else -1. SSLD_NOT_FINITE names the last parameter
 * whose gradient is not finite, where backward met it first; nothing is changed then. No allocation. */
ssld_status ssld_optimizer_update(struct ssld_optimizer *optimizer, double rate, uint64_t step, double *norm);
/* Let the buffers, as they are now, into their average. */
void        ssld_optimizer_average_buffers(struct ssld_optimizer *optimizer);

/* The arrays that an optimizer keeps beside the values: those of the update, then the average. */
int32_t     ssld_optimizer_array_count(const struct ssld_optimizer *optimizer);
const char *ssld_optimizer_array_name(const struct ssld_optimizer *optimizer, int32_t array); /* "velocity", "ema" */
/* NULL: there is none for this one (buffers have no state, and nothing has an average without ema_decay). */
float      *ssld_optimizer_array(const struct ssld_optimizer *optimizer, int32_t parameter, int32_t array);
/* The average of a parameter or buffer; NULL without ema_decay. */
float      *ssld_optimizer_average(const struct ssld_optimizer *optimizer, int32_t parameter);

#endif
