/* SPDX-License-Identifier: BSD-2-Clause */
/* student_options.c - a student's options: a table says which values each may have and which optimizer or schedule knows it;
 * then the defaults. */
#include "distill/student.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "distill/model.h"

#define DEFAULT_BATCH 32
#define DEFAULT_LOSS "sym_kl"

void ssld_student_options_init(ssld_student_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- What an option may be ---------------------------------------------------------------------------------------- */

#define BIT(kind) (1u << (kind))
#define EVERY (~0u)
#define SGD BIT(SSLD_OPTIMIZER_SGD)
#define ADAMW BIT(SSLD_OPTIMIZER_ADAMW)
#define LARS BIT(SSLD_OPTIMIZER_LARS)
#define COSINE BIT(SSLD_SCHEDULE_COSINE)
#define STEP BIT(SSLD_SCHEDULE_STEP)
#define MULTISTEP BIT(SSLD_SCHEDULE_MULTISTEP)
#define ONE_CYCLE BIT(SSLD_SCHEDULE_ONE_CYCLE)

/* A real number and its range: least <= value < below. 0 is the default and always allowed. */
struct real_row {
    const char *name;
    size_t      offset;
    float       least, below;
    const char *range;      /* for people */
    uint32_t    optimizers; /* that know it */
    uint32_t    schedules;
};

#define AT(field) #field, offsetof(ssld_student_options, field)

static const struct real_row reals[] = {
    { AT(learning_rate), 0, INFINITY, "not negative", EVERY, EVERY },
    { AT(momentum), -FLT_MAX, 1, "below 1; negative for none", SGD | LARS, EVERY },
    { AT(l2), 0, INFINITY, "not negative", SGD | LARS, EVERY },
    { AT(beta1), -FLT_MAX, 1, "below 1; negative for 0", ADAMW, EVERY },
    { AT(beta2), 0, 1, "from 0 to below 1", ADAMW, EVERY },
    { AT(epsilon), 0, INFINITY, "not negative", ADAMW | LARS, EVERY },
    { AT(weight_decay), 0, INFINITY, "not negative", ADAMW, EVERY },
    { AT(trust), 0, INFINITY, "not negative", LARS, EVERY },
    { AT(ema_decay), 0, 1, "from 0 to below 1", EVERY, EVERY },
    { AT(clip_norm), 0, INFINITY, "not negative", EVERY, EVERY },
    { AT(clip_value), 0, INFINITY, "not negative", EVERY, EVERY },
    { AT(gamma), 0, INFINITY, "not negative", EVERY, STEP | MULTISTEP },
    { AT(final_rate), 0, INFINITY, "not negative", EVERY, COSINE },
    { AT(rise), 0, 1, "from 0 to below 1", EVERY, ONE_CYCLE },
    { AT(start_divisor), 1, INFINITY, "at least 1", EVERY, ONE_CYCLE },
    { AT(final_divisor), 1, INFINITY, "at least 1", EVERY, ONE_CYCLE },
};

static const char *const optimizer_names[] = { "SSLD_OPTIMIZER_SGD", "SSLD_OPTIMIZER_ADAMW", "SSLD_OPTIMIZER_LARS" };
static const char *const schedule_names[] = { "SSLD_SCHEDULE_CONSTANT", "SSLD_SCHEDULE_COSINE", "SSLD_SCHEDULE_STEP",
                                              "SSLD_SCHEDULE_MULTISTEP", "SSLD_SCHEDULE_ONE_CYCLE" };

#define OPTIMIZERS ((int32_t)(sizeof optimizer_names / sizeof optimizer_names[0]))
#define SCHEDULES ((int32_t)(sizeof schedule_names / sizeof schedule_names[0]))

static ssld_status fail(ssld_context *context, const char *what, const char *wrong)
{
    return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_student_create: %s %s", what, wrong);
}

static ssld_status fail_unknown(ssld_context *context, const char *name, const char *user)
{
    return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_student_create: %s is set, but %s does not know it; leave it 0",
                     name, user);
}

static ssld_status check_reals(ssld_context *context, const ssld_student_options *options)
{
    for (size_t r = 0; r < sizeof reals / sizeof reals[0]; r++) {
        const struct real_row *row = &reals[r];
        float value;
        memcpy(&value, (const char *)options + row->offset, sizeof value);
        if (value == 0)
            continue;
        if (!(value >= row->least && value < row->below))
            return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_student_create: %s is %g; it must be %s", row->name,
                             (double)value, row->range);
        if (!(row->optimizers & BIT(options->optimizer)))
            return fail_unknown(context, row->name, optimizer_names[options->optimizer]);
        if (!(row->schedules & BIT(options->schedule)))
            return fail_unknown(context, row->name, schedule_names[options->schedule]);
    }
    return SSLD_OK;
}

static ssld_status check_milestones(ssld_context *context, const ssld_student_options *options)
{
    if (options->schedule != SSLD_SCHEDULE_MULTISTEP)
        return options->milestones || options->milestone_count
                   ? fail_unknown(context, "milestones", schedule_names[options->schedule]) : SSLD_OK;
    if (!options->milestones || options->milestone_count < 1)
        return fail(context, "SSLD_SCHEDULE_MULTISTEP", "needs milestones, at least one");
    for (int32_t i = 1; i < options->milestone_count; i++)
        if (options->milestones[i] <= options->milestones[i - 1])
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "ssld_student_create: milestones must rise, but %" PRIu64 " follows %" PRIu64,
                             options->milestones[i], options->milestones[i - 1]);
    return SSLD_OK;
}

static ssld_status check_schedule(ssld_context *context, const ssld_student_options *options)
{
    const char *name = schedule_names[options->schedule];
    if ((BIT(options->schedule) & (COSINE | ONE_CYCLE)) && !options->total_steps)
        return fail(context, name, "needs total_steps");
    if (options->total_steps && options->warmup_steps > options->total_steps)
        return fail(context, "warmup_steps", "is more than total_steps");
    if (options->schedule == SSLD_SCHEDULE_STEP && !options->decay_steps)
        return fail(context, name, "needs decay_steps");
    if (options->schedule != SSLD_SCHEDULE_STEP && options->decay_steps)
        return fail_unknown(context, "decay_steps", name);
    return check_milestones(context, options);
}

static ssld_status check(ssld_context *context, const ssld_student_options *options)
{
    if (options->batch < 0 || options->threads < 0)
        return fail(context, "batch and threads", "must not be negative");
    if (options->optimizer < 0 || options->optimizer >= OPTIMIZERS)
        return fail(context, "optimizer", "is no SSLD_OPTIMIZER_x");
    if (options->schedule < 0 || options->schedule >= SCHEDULES)
        return fail(context, "schedule", "is no SSLD_SCHEDULE_x");
    if (options->nesterov < 0 || options->nesterov > 1)
        return fail(context, "nesterov", "must be 0 or 1");
    if (options->nesterov && options->optimizer != SSLD_OPTIMIZER_SGD)
        return fail_unknown(context, "nesterov", optimizer_names[options->optimizer]);
    if (options->nesterov && options->momentum < 0)
        return fail(context, "nesterov", "needs a momentum");
    ssld_status status = check_reals(context, options);
    if (!status)
        status = check_schedule(context, options);
    int32_t batch = options->batch ? options->batch : DEFAULT_BATCH;
    if (!status && (options->accumulate < 0 || (options->accumulate && batch % options->accumulate)))
        status = ssld_fail(context, SSLD_INVALID_ARGUMENT,
                           "ssld_student_create: accumulate is %d; it must divide the batch of %d", options->accumulate, batch);
    return status;
}

/* -- Defaults ----------------------------------------------------------------------------------------------------- */

/* 0 is the default; a negative number, where the table allows one, is 0. */
static double value_or(float value, double initial)
{
    return value > 0 ? (double)value : value < 0 ? 0 : initial;
}

static struct ssld_optimizer_options optimizer_of(const ssld_student_options *options)
{
    bool adamw = options->optimizer == SSLD_OPTIMIZER_ADAMW;
    return (struct ssld_optimizer_options){
        .kind = options->optimizer,
        .nesterov = options->nesterov,
        .momentum = value_or(options->momentum, (double)0.9f),
        .decay = (double)(adamw ? options->weight_decay : options->l2),
        .beta1 = value_or(options->beta1, 0.9),
        .beta2 = value_or(options->beta2, 0.999),
        .epsilon = value_or(options->epsilon, adamw ? 1e-8 : 0),
        .trust = value_or(options->trust, 0.001),
        .ema_decay = (double)options->ema_decay,
        .clip_norm = (double)options->clip_norm,
        .clip_value = (double)options->clip_value,
        .groups = options->parameter_groups,
    };
}

static struct ssld_schedule schedule_of(const ssld_student_options *options)
{
    return (struct ssld_schedule){
        .kind = options->schedule,
        .rate = value_or(options->learning_rate, options->optimizer == SSLD_OPTIMIZER_ADAMW ? (double)0.001f : (double)0.1f),
        .total_steps = options->total_steps,
        .warmup_steps = options->warmup_steps,
        .final_rate = (double)options->final_rate,
        .gamma = value_or(options->gamma, 0.1),
        .decay_steps = options->decay_steps,
        .milestones = options->milestones,
        .milestone_count = options->milestone_count,
        .rise = value_or(options->rise, 0.3),
        .start_divisor = value_or(options->start_divisor, 25),
        .final_divisor = value_or(options->final_divisor, 10000),
    };
}

ssld_status ssld_student_settings_take(ssld_context *context, const ssld_student_options *given,
                                       struct ssld_student_settings *settings)
{
    ssld_student_options options;
    /* The first release ended before `optimizer`. */
    ssld_status status = ssld_options_take(context, "ssld_student_create", &options, sizeof options, given,
                                           offsetof(ssld_student_options, optimizer));
    if (!status)
        status = check(context, &options);
    if (status)
        return status;
    *settings = (struct ssld_student_settings){
        .optimizer = optimizer_of(&options),
        .schedule = schedule_of(&options),
        .loss = options.loss ? options.loss : DEFAULT_LOSS,
        .parts = options.accumulate ? options.accumulate : 1,
    };
    settings->plan = (struct ssld_plan_options){
        .mode = SSLD_PLAN_TRAIN,
        .batch = (options.batch ? options.batch : DEFAULT_BATCH) / settings->parts,
        .seed = options.seed,
        .threads = options.threads ? options.threads : ssld_context_threads(context),
    };
    return ssld_precision_take(context, "ssld_student_create", options.precision, &settings->plan);
}
