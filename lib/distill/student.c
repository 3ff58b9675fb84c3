/* SPDX-License-Identifier: BSD-2-Clause */
/* student.c - training: a plan, a loss, an optimizer, and the state that a checkpoint keeps. */
#include "ssld/student.h"

#include <string.h>

#include "core/batch.h"
#include "core/labels.h"
#include "distill/checkpoint.h"
#include "distill/loss.h"
#include "distill/model.h"
#include "distill/optimizer.h"
#include "engine/engine.h"

#define DEFAULT_BATCH 32
#define DEFAULT_LOSS "sym_kl"
#define DEFAULT_RATE 0.1f
#define DEFAULT_MOMENTUM 0.9f

struct ssld_student {
    ssld_context        *context;
    struct ssld_plan    *plan;
    struct ssld_loss     loss;
    struct ssld_schedule schedule;
    float                momentum;
    float                l2;
    int32_t              batch;
    ssld_model_info      info;
    uint64_t             steps;
    float               *velocity;    /* of all trainable parameters, one behind the other, in the plan's layouts */
    float               *diff_logits; /* (batch, classes) */
    void                *scratch;     /* the loss's */
    const float         *logits;      /* of the last forward; NULL: there was none, or backward used it */
    bool                 has_diffs;   /* backward has run: update may */
};

void ssld_student_options_init(ssld_student_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

static ssld_status check_options(ssld_context *context, const ssld_student_options *options)
{
    const char *wrong = NULL;
    if (options->batch < 0 || options->threads < 0)
        wrong = "batch and threads must not be negative";
    else if (!(options->learning_rate >= 0))
        wrong = "learning_rate must not be negative";
    else if (!(options->momentum < 1))
        wrong = "momentum must be below 1";
    else if (!(options->l2 >= 0))
        wrong = "l2 must not be negative";
    else if (options->schedule != SSLD_SCHEDULE_CONSTANT && options->schedule != SSLD_SCHEDULE_COSINE)
        wrong = "schedule is no SSLD_SCHEDULE_x";
    else if (options->schedule == SSLD_SCHEDULE_COSINE && !options->total_steps)
        wrong = "a cosine schedule needs total_steps";
    else if (options->total_steps && options->warmup_steps > options->total_steps)
        wrong = "warmup_steps is more than total_steps";
    return wrong ? ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_student_create: %s", wrong) : SSLD_OK;
}

static bool trainable(const struct ssld_parameter *parameter)
{
    return parameter->role == SSLD_VALUE_PARAMETER;
}

static ssld_status allocate(ssld_student *student)
{
    size_t velocities = 0, logits = (size_t)student->batch * (size_t)student->info.classes;
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        velocities += trainable(parameter) ? parameter->count : 0;
    }
    student->velocity = ssld_alloc_zero(student->context, velocities, sizeof(float));
    student->diff_logits = ssld_alloc_zero(student->context, logits, sizeof(float));
    student->scratch = ssld_alloc(student->context, ssld_loss_scratch(student->info.classes));
    if (!student->velocity || !student->diff_logits || !student->scratch)
        return ssld_fail_memory(student->context, "the optimizer's state", velocities * sizeof(float));
    return SSLD_OK;
}

ssld_status ssld_student_create(ssld_context *context, const ssld_model *model, const ssld_student_options *given,
                                ssld_student **student)
{
    ssld_student_options options;
    ssld_status status = ssld_options_take(context, __func__, &options, sizeof options, given, sizeof options);
    if (!status)
        status = check_options(context, &options);
    if (status)
        return status;

    ssld_student *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a student", sizeof *made);
    made->context = context;
    made->batch = options.batch ? options.batch : DEFAULT_BATCH;
    made->momentum = options.momentum > 0 ? options.momentum : options.momentum < 0 ? 0 : DEFAULT_MOMENTUM;
    made->l2 = options.l2;
    made->schedule = (struct ssld_schedule){ .kind = options.schedule, .total_steps = options.total_steps,
                                             .rate = (double)(options.learning_rate > 0 ? options.learning_rate : DEFAULT_RATE),
                                             .warmup_steps = options.warmup_steps };
    made->info.struct_size = sizeof made->info;
    struct ssld_plan_options plan = { .mode = SSLD_PLAN_TRAIN, .batch = made->batch, .seed = options.seed,
                                      .threads = options.threads ? options.threads : ssld_context_threads(context) };
    status = ssld_loss_parse(context, options.loss ? options.loss : DEFAULT_LOSS, &made->loss);
    if (!status)
        status = ssld_model_get_info(model, &made->info);
    if (!status)
        status = ssld_plan_create(context, model->graph, &plan, &made->plan);
    if (!status)
        status = allocate(made);
    if (status) {
        ssld_student_destroy(made);
        return status;
    }
    *student = made;
    return SSLD_OK;
}

void ssld_student_destroy(ssld_student *student)
{
    if (!student)
        return;
    ssld_plan_destroy(student->plan);
    ssld_free(student->context, student->velocity);
    ssld_free(student->context, student->diff_logits);
    ssld_free(student->context, student->scratch);
    ssld_free(student->context, student);
}

/* -- A step in three parts ---------------------------------------------------------------------------------------- */

static ssld_status check_batch(ssld_student *student, const ssld_batch *batch)
{
    const ssld_model_info *info = &student->info;
    const int32_t *shape = batch->shape;
    if (batch->count != student->batch)
        return ssld_fail(student->context, SSLD_MISMATCH, "%d views, the student was made for steps of %d", batch->count,
                         student->batch);
    if (shape[0] != info->channels || shape[1] != info->height || shape[2] != info->width)
        return ssld_fail(student->context, SSLD_MISMATCH,
                         "the views are %d x %d x %d (channels, height, width), the student takes %d x %d x %d; change the view "
                         "spec or build the student with that size",
                         shape[0], shape[1], shape[2], info->channels, info->height, info->width);
    return SSLD_OK;
}

static ssld_status check_labels(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels)
{
    if (student->loss.needs_hard && !batch->labels)
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "the loss needs hard labels, the batch has none");
    if (!student->loss.needs_soft)
        return SSLD_OK;
    if (!labels || labels->kind == SSLD_LABELS_EMPTY)
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "the loss needs a teacher's labels, there are none");
    if (labels->classes != student->info.classes || labels->count != batch->count)
        return ssld_fail(student->context, SSLD_MISMATCH, "the labels are %d x %d, the student needs %d x %d", labels->count,
                         labels->classes, batch->count, student->info.classes);
    return SSLD_OK;
}

ssld_status ssld_student_forward(ssld_student *student, const ssld_batch *batch, float *logits)
{
    ssld_status status = check_batch(student, batch);
    if (status)
        return status;
    student->logits = NULL;
    student->has_diffs = false;
    status = ssld_plan_forward(student->plan, batch->pixels, batch->count, student->steps, &student->logits);
    if (!status && logits)
        memcpy(logits, student->logits, (size_t)batch->count * (size_t)student->info.classes * sizeof(float));
    return status;
}

ssld_status ssld_student_backward(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels, double *loss)
{
    double value = 0;
    if (!student->logits)
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "ssld_student_backward: no forward was run before it");
    ssld_status status = check_batch(student, batch);
    if (!status)
        status = check_labels(student, batch, labels);
    if (!status)
        status = ssld_loss_compute(student->context, &student->loss, batch->count, student->info.classes, student->logits,
                                   labels, batch->labels, student->scratch, student->diff_logits, &value);
    if (!status)
        status = ssld_plan_backward(student->plan, student->diff_logits);
    if (!status) {
        student->logits = NULL;
        student->has_diffs = true;
        if (loss)
            *loss = value;
    }
    return status;
}

static void update_parameters(void *argument)
{
    ssld_student *student = argument;
    float *velocity = student->velocity;
    float rate = (float)ssld_schedule_rate(&student->schedule, student->steps);
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        if (!trainable(parameter))
            continue;
        ssld_sgd_update(parameter->count, parameter->value, velocity, parameter->diff, rate, student->momentum,
                        parameter->no_decay ? 0 : student->l2);
        velocity += parameter->count;
    }
}

ssld_status ssld_student_update(ssld_student *student)
{
    if (!student->has_diffs)
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "ssld_student_update: no backward was run before it");
    ssld_plan_run(student->plan, update_parameters, student);
    ssld_plan_update_statistics(student->plan);
    student->has_diffs = false;
    student->steps++;
    return SSLD_OK;
}

/* Share of the labelled views whose largest logit is the label's; -1 without labels. */
static double top1_of(const ssld_student *student, const ssld_batch *batch)
{
    int32_t classes = student->info.classes, known = 0, right = 0;
    for (int32_t i = 0; batch->labels && i < batch->count; i++) {
        const float *row = student->logits + (size_t)i * (size_t)classes;
        int32_t best = 0;
        for (int32_t c = 1; c < classes; c++)
            best = row[c] > row[best] ? c : best;
        known += batch->labels[i] >= 0;
        right += batch->labels[i] == best;
    }
    return known ? (double)right / known : -1;
}

ssld_status ssld_student_step(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels, ssld_step *step)
{
    ssld_step own = { .step = student->steps + 1,
                      .learning_rate = ssld_schedule_rate(&student->schedule, student->steps) };
    ssld_status status = check_batch(student, batch);
    if (!status)
        status = check_labels(student, batch, labels);
    if (!status)
        status = ssld_student_forward(student, batch, NULL);
    if (status)
        return status;
    own.top1 = top1_of(student, batch);
    status = ssld_student_backward(student, batch, labels, &own.loss);
    if (!status)
        status = ssld_student_update(student);
    if (!status && step)
        status = ssld_info_give(student->context, __func__, step, &own, sizeof own);
    return status;
}

uint64_t ssld_student_steps(const ssld_student *student)
{
    return student->steps;
}

/* -- The trained network ------------------------------------------------------------------------------------------ */

ssld_status ssld_student_get_model(const ssld_student *student, ssld_model **model)
{
    struct ssld_graph *graph = NULL;
    ssld_status status = ssld_plan_snapshot(student->plan, &graph);
    return status ? status : ssld_model_adopt(student->context, graph, model);
}

ssld_status ssld_student_export(const ssld_student *student, const char *path)
{
    ssld_model *model = NULL;
    ssld_status status = ssld_student_get_model(student, &model);
    if (!status)
        status = ssld_model_save(model, path);
    ssld_model_destroy(model);
    return status;
}

/* -- Parameters --------------------------------------------------------------------------------------------------- */

/* The plan's index of the index-th trainable parameter, -1 past the last; and where its velocity stands. */
static int32_t trainable_index(const ssld_student *student, int32_t index)
{
    for (int32_t i = 0; index >= 0 && i < ssld_plan_parameter_count(student->plan); i++)
        if (trainable(ssld_plan_parameter(student->plan, i)) && index-- == 0)
            return i;
    return -1;
}

int32_t ssld_student_parameter_count(const ssld_student *student)
{
    int32_t count = 0;
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++)
        count += trainable(ssld_plan_parameter(student->plan, i));
    return count;
}

const char *ssld_student_parameter_name(const ssld_student *student, int32_t index, int32_t dims[4])
{
    int32_t i = trainable_index(student, index);
    if (i < 0)
        return NULL;
    const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
    for (int32_t d = 0; d < 4; d++)
        dims[d] = (int32_t)parameter->dims[d];
    return parameter->name;
}

/* The array that `what` names, in the plan's layout; NULL with a text if there is no such parameter or array. */
static float *parameter_array(const ssld_student *student, const char *function, int32_t index, int32_t what, int32_t *found)
{
    *found = trainable_index(student, index);
    if (*found >= 0 && what == SSLD_PARAMETER_VALUE)
        return ssld_plan_parameter(student->plan, *found)->value;
    if (*found >= 0 && what == SSLD_PARAMETER_GRADIENT)
        return ssld_plan_parameter(student->plan, *found)->diff;
    ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "%s: parameter %d, array %d: there are %d parameters and arrays 0 and 1",
              function, index, what, ssld_student_parameter_count(student));
    return NULL;
}

ssld_status ssld_student_parameter_read(const ssld_student *student, int32_t index, int32_t what, float *dst)
{
    int32_t found;
    const float *array = parameter_array(student, __func__, index, what, &found);
    return array ? ssld_plan_parameter_to_plain(student->plan, found, array, dst) : SSLD_INVALID_ARGUMENT;
}

ssld_status ssld_student_parameter_write(ssld_student *student, int32_t index, int32_t what, const float *src)
{
    int32_t found;
    float *array = parameter_array(student, __func__, index, what, &found);
    return array ? ssld_plan_parameter_from_plain(student->plan, found, src, array) : SSLD_INVALID_ARGUMENT;
}

/* -- Checkpoints -------------------------------------------------------------------------------------------------- *
 *
 * Tensors in plain order, so that a checkpoint made on one CPU is right on another: "weights/NAME" of every parameter and
 * buffer, "velocity/NAME" of every parameter. */
struct state {
    ssld_context                  *context;
    int32_t                        count;
    struct ssld_checkpoint_tensor *tensors;
    float                         *data;  /* all of them */
    char                          *names; /* all of them */
};

static void state_release(struct state *state)
{
    ssld_free(state->context, state->tensors);
    ssld_free(state->context, state->data);
    ssld_free(state->context, state->names);
}

static void state_add(struct state *state, const char *prefix, const struct ssld_parameter *parameter, float **data,
                      char **name)
{
    struct ssld_checkpoint_tensor *tensor = &state->tensors[state->count++];
    *tensor = (struct ssld_checkpoint_tensor){ .name = *name, .count = (uint64_t)parameter->elements, .data = *data };
    strcpy(*name, prefix);
    strcat(*name, parameter->name);
    *name += strlen(*name) + 1;
    *data += parameter->elements;
}

/* Names and room for everything, no values yet. Order: parameter by parameter, weights before velocity. */
static ssld_status state_create(const ssld_student *student, struct state *state)
{
    static const char weights[] = "weights/", velocity[] = "velocity/";
    int32_t parameters = ssld_plan_parameter_count(student->plan);
    size_t floats = 0, names = 0;
    for (int32_t i = 0; i < parameters; i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        floats += 2 * (size_t)parameter->elements;
        names += 2 * (strlen(parameter->name) + sizeof velocity);
    }
    *state = (struct state){ .context = student->context };
    state->tensors = ssld_alloc(student->context, 2 * (size_t)parameters * sizeof *state->tensors);
    state->data = ssld_alloc(student->context, floats * sizeof(float));
    state->names = ssld_alloc(student->context, names);
    if (!state->tensors || !state->data || !state->names) {
        state_release(state);
        return ssld_fail_memory(student->context, "a checkpoint", floats * sizeof(float));
    }
    float *data = state->data;
    char *name = state->names;
    for (int32_t i = 0; i < parameters; i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        state_add(state, weights, parameter, &data, &name);
        if (trainable(parameter))
            state_add(state, velocity, parameter, &data, &name);
    }
    return SSLD_OK;
}

/* Between the student and the state's tensors, in the order of state_create(). */
static ssld_status state_exchange(const ssld_student *student, const struct state *state, bool into_student)
{
    const struct ssld_checkpoint_tensor *tensor = state->tensors;
    float *velocity = student->velocity;
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < ssld_plan_parameter_count(student->plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        float *arrays[] = { parameter->value, velocity };
        int32_t count = trainable(parameter) ? 2 : 1;
        for (int32_t a = 0; !status && a < count; a++, tensor++)
            status = into_student ? ssld_plan_parameter_from_plain(student->plan, i, tensor->data, arrays[a])
                                  : ssld_plan_parameter_to_plain(student->plan, i, arrays[a], tensor->data);
        velocity += count == 2 ? parameter->count : 0;
    }
    return status;
}

ssld_status ssld_student_save(const ssld_student *student, const char *path)
{
    struct state state;
    ssld_status status = state_create(student, &state);
    if (status)
        return status;
    status = state_exchange(student, &state, false);
    if (!status)
        status = ssld_checkpoint_write(student->context, path, student->steps, state.count, state.tensors);
    state_release(&state);
    return status;
}

ssld_status ssld_student_restore(ssld_student *student, const char *path)
{
    struct state state;
    uint64_t steps = 0;
    ssld_status status = state_create(student, &state);
    if (status)
        return status;
    status = ssld_checkpoint_read(student->context, path, &steps, state.count, state.tensors);
    if (!status)
        status = state_exchange(student, &state, true);
    if (!status) {
        student->steps = steps;
        student->logits = NULL;
        student->has_diffs = false;
    }
    state_release(&state);
    return status;
}
