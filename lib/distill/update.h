/* SPDX-License-Identifier: BSD-2-Clause */
/* update.h - the loops of the optimizers over a slice of one parameter: a table row an optimizer. */
#ifndef SSLD_LIB_DISTILL_UPDATE_H
#define SSLD_LIB_DISTILL_UPDATE_H

#include "distill/optimizer.h"

#define SSLD_MOST_STATES 2

/* One slice: arrays of `count` floats that do not overlap. */
struct ssld_update {
    const struct ssld_optimizer_options *options;
    uint64_t                             step;  /* updates before this one */
    double                               rate;  /* of this parameter */
    double                               decay; /* of this parameter */
    float                                scale; /* the gradient's, by clip_norm */
    size_t                               count;
    float                               *weights;
    const float                         *diff;
    float                               *state[SSLD_MOST_STATES];
    float                               *average; /* or NULL */
};

struct ssld_optimizer_row {
    const char *states[SSLD_MOST_STATES]; /* names of its arrays in a checkpoint; NULL: no more */
    bool        local_rate;               /* LARS: a rate for each parameter, from its norms */
    void      (*update)(const struct ssld_update *update);
};

extern const struct ssld_optimizer_row ssld_optimizer_rows[]; /* by SSLD_OPTIMIZER_x */

/* Sums of squares of a slice: of the weights, and of the gradient clamped to -limit .. limit. A gradient with a value that
 * is not finite gives a sum that is not finite, limit or not. */
void ssld_sums_of_squares(size_t count, const float *weights, const float *diff, float limit, double *of_weights,
                          double *of_diff);

/* average = decay * average + (1 - decay) * values */
void ssld_average(size_t count, const float *values, double decay, float *average);

#endif
