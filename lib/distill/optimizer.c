/* SPDX-License-Identifier: BSD-2-Clause */
/* optimizer.c - an update of all parameters: their arrays as one list of slices, which threads share whatever the sizes of
 * the tensors are; norms in the same slices, so that they do not depend on the number of threads. */
#include "distill/optimizer.h"

#include <math.h>
#include <string.h>

#include "distill/groups.h"
#include "distill/update.h"

/* Floats of a slice: small enough that two threads end at about the same time, large enough to be worth a turn. */
#define SLICE 32768

/* A parameter or buffer of the plan. */
struct target {
    const struct ssld_parameter *parameter;
    float                       *state[SSLD_MOST_STATES]; /* NULL for buffers, and past the optimizer's */
    float                       *average;                 /* NULL without ema_decay */
    struct ssld_factors          factors;
    double                       rate;                    /* of this update */
};

struct slice {
    int32_t target;
    size_t  offset, count;
    double  of_weights, of_diff; /* sums of squares */
};

struct ssld_optimizer {
    ssld_context                    *context;
    struct ssld_optimizer_options    options;
    const struct ssld_optimizer_row *row;
    struct target                   *targets;
    int32_t                          target_count, slice_count, state_count;
    struct slice                    *slices;
    float                           *memory; /* states and averages of all targets */
};

static bool trainable(const struct ssld_parameter *parameter)
{
    return parameter->role == SSLD_VALUE_PARAMETER;
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

static size_t arrays_of(const struct ssld_optimizer *optimizer, const struct ssld_parameter *parameter)
{
    return (trainable(parameter) ? (size_t)optimizer->state_count : 0) + (optimizer->options.ema_decay > 0);
}

/* Room for targets, slices and arrays. */
static ssld_status allocate(struct ssld_optimizer *optimizer, int32_t count, const struct ssld_parameter *const *parameters)
{
    size_t floats = 0, slices = 0;
    for (int32_t i = 0; i < count; i++) {
        floats += arrays_of(optimizer, parameters[i]) * parameters[i]->count;
        slices += trainable(parameters[i]) ? (parameters[i]->count + SLICE - 1) / SLICE : 0;
    }
    optimizer->targets = ssld_alloc_zero(optimizer->context, (size_t)count, sizeof *optimizer->targets);
    optimizer->slices = ssld_alloc_zero(optimizer->context, slices, sizeof *optimizer->slices);
    optimizer->memory = ssld_alloc_zero(optimizer->context, floats, sizeof(float));
    if (!optimizer->targets || !optimizer->slices || !optimizer->memory)
        return ssld_fail_memory(optimizer->context, "the optimizer's state", floats * sizeof(float));
    return SSLD_OK;
}

static void add_slices(struct ssld_optimizer *optimizer, int32_t target)
{
    size_t count = optimizer->targets[target].parameter->count;
    for (size_t offset = 0; offset < count; offset += SLICE)
        optimizer->slices[optimizer->slice_count++] =
            (struct slice){ .target = target, .offset = offset, .count = count - offset < SLICE ? count - offset : SLICE };
}

static void fill(struct ssld_optimizer *optimizer, int32_t count, const struct ssld_parameter *const *parameters,
                 const struct ssld_factors *factors)
{
    float *next = optimizer->memory;
    for (int32_t i = 0; i < count; i++) {
        struct target *target = &optimizer->targets[i];
        size_t floats = parameters[i]->count;
        target->parameter = parameters[i];
        target->factors = factors[i];
        for (int32_t s = 0; trainable(parameters[i]) && s < optimizer->state_count; s++, next += floats)
            target->state[s] = next;
        if (optimizer->options.ema_decay > 0) {
            target->average = next;
            memcpy(next, parameters[i]->value, floats * sizeof(float));
            next += floats;
        }
        if (trainable(parameters[i]))
            add_slices(optimizer, i);
    }
    optimizer->target_count = count;
}

ssld_status ssld_optimizer_create(ssld_context *context, const struct ssld_optimizer_options *options, int32_t count,
                                  const struct ssld_parameter *const *parameters, struct ssld_optimizer **optimizer)
{
    struct ssld_factors *factors = NULL;
    struct ssld_optimizer *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "an optimizer", sizeof *made);
    ssld_status status = SSLD_OK;
    made->context = context;
    made->options = *options;
    made->row = &ssld_optimizer_rows[options->kind];
    while (made->state_count < SSLD_MOST_STATES && made->row->states[made->state_count])
        made->state_count++;
    if (!(factors = ssld_alloc(context, (size_t)count * sizeof *factors))) {
        status = ssld_fail_memory(context, "the parameter groups", (size_t)count * sizeof *factors);
        goto fail;
    }
    if ((status = ssld_groups_apply(context, options->groups, count, parameters, factors)) ||
        (status = allocate(made, count, parameters)))
        goto fail;
    made->options.groups = NULL;
    fill(made, count, parameters, factors);
    *optimizer = made;
    made = NULL;
fail:
    ssld_free(context, factors);
    ssld_optimizer_destroy(made);
    return status;
}

void ssld_optimizer_destroy(struct ssld_optimizer *optimizer)
{
    if (!optimizer)
        return;
    ssld_free(optimizer->context, optimizer->targets);
    ssld_free(optimizer->context, optimizer->slices);
    ssld_free(optimizer->context, optimizer->memory);
    ssld_free(optimizer->context, optimizer);
}

/* -- Norms -------------------------------------------------------------------------------------------------------- */

static void sum_slices(struct ssld_optimizer *optimizer)
{
    float limit = optimizer->options.clip_value > 0 ? (float)optimizer->options.clip_value : INFINITY;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic)
#endif
    for (int32_t s = 0; s < optimizer->slice_count; s++) {
        struct slice *slice = &optimizer->slices[s];
        const struct ssld_parameter *parameter = optimizer->targets[slice->target].parameter;
        ssld_sums_of_squares(slice->count, parameter->value + slice->offset, parameter->diff + slice->offset, limit,
                             &slice->of_weights, &slice->of_diff);
    }
}

static ssld_status fail_not_finite(const struct ssld_optimizer *optimizer)
{
    int32_t s = optimizer->slice_count - 1;
    while (s > 0 && isfinite(optimizer->slices[s].of_diff))
        s--;
    return ssld_fail(optimizer->context, SSLD_NOT_FINITE,
                     "the gradient of '%s' is not finite: it was the first that backward met; lower the learning rate, "
                     "lengthen the warmup or check the labels",
                     optimizer->targets[optimizer->slices[s].target].parameter->name);
}

/*   s = trust |w| / (|g| + decay |w| + epsilon), 1 where a norm is 0 or the parameter has no decay: PaddlePaddle's rule */
static double local_rate(const struct ssld_optimizer_options *options, const struct target *target, double of_weights,
                         double of_diff)
{
    double w = sqrt(of_weights), g = sqrt(of_diff), decay = target->factors.decay;
    if (!(decay > 0 && w > 0 && g > 0))
        return 1;
    return options->trust * w / (g + decay * options->decay * w + options->epsilon);
}

/* Of all gradients together, in the order of the slices. */
static double norm_of_all(const struct ssld_optimizer *optimizer)
{
    double total = 0;
    for (int32_t s = 0; s < optimizer->slice_count; s++)
        total += optimizer->slices[s].of_diff;
    return sqrt(total);
}

/* LARS: each target's rate becomes its own, for gradients scaled by `scale`. */
static void take_local_rates(struct ssld_optimizer *optimizer, double scale)
{
    for (int32_t s = 0; s < optimizer->slice_count;) {
        int32_t t = optimizer->slices[s].target;
        double of_weights = 0, of_diff = 0;
        for (; s < optimizer->slice_count && optimizer->slices[s].target == t; s++) {
            of_weights += optimizer->slices[s].of_weights;
            of_diff += optimizer->slices[s].of_diff;
        }
        optimizer->targets[t].rate *= local_rate(&optimizer->options, &optimizer->targets[t], of_weights,
                                                 scale * scale * of_diff);
    }
}

/* -- The update --------------------------------------------------------------------------------------------------- */

static void update_slices(struct ssld_optimizer *optimizer, uint64_t step, float scale)
{
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic)
#endif
    for (int32_t s = 0; s < optimizer->slice_count; s++) {
        const struct slice *slice = &optimizer->slices[s];
        const struct target *target = &optimizer->targets[slice->target];
        struct ssld_update update = {
            .options = &optimizer->options,
            .step = step,
            .rate = target->rate,
            .decay = optimizer->options.decay * target->factors.decay,
            .scale = scale,
            .count = slice->count,
            .weights = target->parameter->value + slice->offset,
            .diff = target->parameter->diff + slice->offset,
            .average = target->average ? target->average + slice->offset : NULL,
        };
        for (int32_t i = 0; i < optimizer->state_count; i++)
            update.state[i] = target->state[i] + slice->offset;
        optimizer->row->update(&update);
    }
}

ssld_status ssld_optimizer_update(struct ssld_optimizer *optimizer, double rate, uint64_t step, double *norm)
{
    const struct ssld_optimizer_options *options = &optimizer->options;
    double scale = 1;
    *norm = -1;
    for (int32_t t = 0; t < optimizer->target_count; t++)
        optimizer->targets[t].rate = rate * optimizer->targets[t].factors.rate;
    if (options->clip_norm > 0 || options->clip_value > 0 || optimizer->row->local_rate) {
        sum_slices(optimizer);
        double total = norm_of_all(optimizer);
        if (!isfinite(total))
            return fail_not_finite(optimizer);
        *norm = total;
        if (options->clip_norm > 0 && total > options->clip_norm)
            scale = options->clip_norm / total;
        if (optimizer->row->local_rate)
            take_local_rates(optimizer, scale);
    }
    update_slices(optimizer, step, (float)scale);
    return SSLD_OK;
}

void ssld_optimizer_average_buffers(struct ssld_optimizer *optimizer)
{
    for (int32_t t = 0; t < optimizer->target_count; t++) {
        const struct target *target = &optimizer->targets[t];
        if (target->average && !trainable(target->parameter))
            ssld_average(target->parameter->count, target->parameter->value, optimizer->options.ema_decay,
                         target->average);
    }
}

/* -- The arrays --------------------------------------------------------------------------------------------------- */

int32_t ssld_optimizer_array_count(const struct ssld_optimizer *optimizer)
{
    return optimizer->state_count + (optimizer->options.ema_decay > 0);
}

const char *ssld_optimizer_array_name(const struct ssld_optimizer *optimizer, int32_t array)
{
    return array < optimizer->state_count ? optimizer->row->states[array] : "ema";
}

float *ssld_optimizer_array(const struct ssld_optimizer *optimizer, int32_t parameter, int32_t array)
{
    const struct target *target = &optimizer->targets[parameter];
    return array < optimizer->state_count ? target->state[array] : target->average;
}

float *ssld_optimizer_average(const struct ssld_optimizer *optimizer, int32_t parameter)
{
    return optimizer->targets[parameter].average;
}
