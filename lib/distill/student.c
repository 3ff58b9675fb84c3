/* SPDX-License-Identifier: BSD-2-Clause */
/* student.c - training: a step in its parts, the trained network, parameters by name. */
#include "distill/student.h"

#include <math.h>
#include <string.h>

#include "core/batch.h"
#include "core/labels.h"
#include "distill/model.h"

/* Dropout masks are numbered by the step, and within it by the part, which stands above 2^48 steps. */
#define PART_SHIFT 48

static bool trainable(const struct ssld_parameter *parameter)
{
    return parameter->role == SSLD_VALUE_PARAMETER;
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

/* Floats of all buffers. */
static size_t statistics_count(const ssld_student *student)
{
    size_t count = 0;
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        count += trainable(parameter) ? 0 : parameter->count;
    }
    return count;
}

static ssld_status make_optimizer(ssld_student *student, const struct ssld_optimizer_options *options)
{
    int32_t count = ssld_plan_parameter_count(student->plan);
    const struct ssld_parameter **parameters = ssld_alloc(student->context, (size_t)count * sizeof *parameters);
    if (!parameters)
        return ssld_fail_memory(student->context, "an optimizer", (size_t)count * sizeof *parameters);
    for (int32_t i = 0; i < count; i++)
        parameters[i] = ssld_plan_parameter(student->plan, i);
    ssld_status status = ssld_optimizer_create(student->context, options, count, parameters, &student->optimizer);
    ssld_free(student->context, parameters);
    return status;
}

static ssld_status take_schedule(ssld_student *student, const struct ssld_schedule *schedule)
{
    size_t size = (size_t)schedule->milestone_count * sizeof *student->milestones;
    student->schedule = *schedule;
    if (!size)
        return SSLD_OK;
    student->milestones = ssld_alloc(student->context, size);
    if (!student->milestones)
        return ssld_fail_memory(student->context, "the milestones", size);
    memcpy(student->milestones, schedule->milestones, size);
    student->schedule.milestones = student->milestones;
    return SSLD_OK;
}

static ssld_status allocate(ssld_student *student)
{
    size_t logits = (size_t)student->part * (size_t)student->info.classes, statistics = statistics_count(student);
    student->diff_logits = ssld_alloc_zero(student->context, logits, sizeof(float));
    student->scratch = ssld_alloc(student->context, ssld_loss_scratch(student->info.classes));
    student->statistics = ssld_alloc(student->context, statistics * sizeof(float));
    if (!student->diff_logits || !student->scratch || !student->statistics)
        return ssld_fail_memory(student->context, "a step", (logits + statistics) * sizeof(float));
    return SSLD_OK;
}

ssld_status ssld_student_create(ssld_context *context, const ssld_model *model, const ssld_student_options *given,
                                ssld_student **student)
{
    struct ssld_student_settings settings;
    ssld_status status = ssld_student_settings_take(context, given, &settings);
    if (status)
        return status;
    ssld_student *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a student", sizeof *made);
    made->context = context;
    made->parts = settings.parts;
    made->part = settings.plan.batch;
    made->norm = -1;
    made->info.struct_size = sizeof made->info;
    if ((status = ssld_loss_parse(context, settings.loss, &made->loss)) ||
        (status = ssld_model_get_info(model, &made->info)) || (status = take_schedule(made, &settings.schedule)) ||
        (status = ssld_plan_create(context, model->graph, &settings.plan, &made->plan)) ||
        (status = make_optimizer(made, &settings.optimizer)) || (status = allocate(made)))
        goto fail;
    *student = made;
    return SSLD_OK;
fail:
    ssld_student_destroy(made);
    return status;
}

void ssld_student_destroy(ssld_student *student)
{
    if (!student)
        return;
    ssld_optimizer_destroy(student->optimizer);
    ssld_plan_destroy(student->plan);
    ssld_free(student->context, student->milestones);
    ssld_free(student->context, student->diff_logits);
    ssld_free(student->context, student->scratch);
    ssld_free(student->context, student->statistics);
    ssld_free(student->context, student);
}

/* -- Running statistics between two updates ----------------------------------------------------------------------- *
 *
 * The plan has the batch statistics of one forward. An update with one part lets them in when it is sure to happen. With
 * more parts those of the part before must be let in before the next forward, so the running ones are kept as they were
 * until the update has happened. */

static void copy_statistics(ssld_student *student, bool back)
{
    float *kept = student->statistics;
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        if (trainable(parameter))
            continue;
        memcpy(back ? parameter->value : kept, back ? kept : parameter->value, parameter->count * sizeof(float));
        kept += parameter->count;
    }
}

/* Before a forward that follows a part. */
static void let_in(ssld_student *student)
{
    if (!student->observed)
        return;
    if (!student->kept)
        copy_statistics(student, false);
    student->kept = true;
    ssld_plan_update_statistics(student->plan);
    student->observed = false;
}

/* The parts so far are dropped: no gradients, statistics as they were. */
static void drop_parts(ssld_student *student)
{
    if (student->kept)
        copy_statistics(student, true);
    student->kept = false;
    student->observed = false;
    student->done = 0;
}

/* -- A step in three parts ---------------------------------------------------------------------------------------- */

static ssld_status check_batch(ssld_student *student, const ssld_batch *batch, int32_t count)
{
    const ssld_model_info *info = &student->info;
    const int32_t *shape = batch->shape;
    if (batch->count != count)
        return ssld_fail(student->context, SSLD_MISMATCH, "%d views, the student was made for %s of %d", batch->count,
                         student->parts > 1 && count == student->part ? "parts" : "steps", count);
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
    if (student->loss.needs_soft && (!labels || labels->kind == SSLD_LABELS_EMPTY))
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "the loss needs a teacher's labels, there are none");
    if (student->loss.needs_soft && (labels->classes != student->info.classes || labels->count != batch->count))
        return ssld_fail(student->context, SSLD_MISMATCH, "the labels are %d x %d, the student needs %d x %d", labels->count,
                         labels->classes, batch->count, student->info.classes);
    return ssld_loss_check_labels(student->context, &student->loss, batch->count, student->info.classes, labels,
                                  batch->labels);
}

ssld_status ssld_student_forward(ssld_student *student, const ssld_batch *batch, float *logits)
{
    ssld_status status = check_batch(student, batch, student->part);
    if (status)
        return status;
    student->logits = NULL;
    let_in(student);
    status = ssld_plan_forward(student->plan, batch->pixels, batch->count,
                               student->steps + (student->done << PART_SHIFT), &student->logits);
    if (!status && logits)
        memcpy(logits, student->logits, (size_t)batch->count * (size_t)student->info.classes * sizeof(float));
    return status;
}

/* A loss that is not finite comes from the pixels or from a layer: say from which, instead of the loss's own text. */
static ssld_status explain(ssld_student *student, const ssld_batch *batch)
{
    size_t view = (size_t)batch->shape[0] * (size_t)batch->shape[1] * (size_t)batch->shape[2];
    for (size_t i = 0; i < (size_t)batch->count * view; i++)
        if (!isfinite(batch->pixels[i]))
            return ssld_fail(student->context, SSLD_NOT_FINITE,
                             "the loss is not finite because a pixel of view %zu of the batch is %g; check the view spec and "
                             "the images", i / view, (double)batch->pixels[i]);
    const char *node = ssld_plan_first_non_finite(student->plan);
    return !node ? SSLD_NOT_FINITE
                 : ssld_fail(student->context, SSLD_NOT_FINITE,
                             "the loss is not finite: '%s' is the first layer whose output is not; lower the learning rate, "
                             "lengthen the warmup or clip the gradients (clip_norm)", node);
}

/* Loss and gradients of the last forward; `scale` times them are added to those that are there, if any are. */
static ssld_status run_backward(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels, double scale,
                                double *loss)
{
    double value = 0, start = ssld_plan_profiled(student->plan) ? ssld_seconds() : 0;
    ssld_status status = check_batch(student, batch, student->part);
    if (!status)
        status = check_labels(student, batch, labels);
    if (status)
        return status;
    status = ssld_loss_compute(student->context, &student->loss, batch->count, student->info.classes, student->logits,
                               labels, batch->labels, scale, student->scratch, student->diff_logits, &value);
    if (status == SSLD_NOT_FINITE)
        status = explain(student, batch);
    if (ssld_plan_profiled(student->plan))
        student->loss_seconds += ssld_seconds() - start;
    if (!status)
        status = ssld_plan_backward(student->plan, student->diff_logits, student->done > 0);
    student->logits = NULL;
    if (status)
        return status;
    student->done++;
    student->observed = true;
    if (loss)
        *loss = value;
    return SSLD_OK;
}

ssld_status ssld_student_accumulate(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels, float scale,
                                    double *loss)
{
    ssld_status status;
    if (!student->logits)
        status = ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "ssld_student_accumulate: no forward was run before it");
    else if (!isfinite(scale))
        status = ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "ssld_student_accumulate: the scale is %g", (double)scale);
    else
        status = run_backward(student, batch, labels, (double)scale, loss);
    if (status)
        drop_parts(student);
    return status;
}

ssld_status ssld_student_backward(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels, double *loss)
{
    if (!student->logits) {
        drop_parts(student);
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "ssld_student_backward: no forward was run before it");
    }
    drop_parts(student);
    return run_backward(student, batch, labels, 1, loss);
}

/* What ssld_plan_run() hands to its thread count. */
struct update {
    ssld_student *student;
    ssld_status   status;
};

static void run_update(void *argument)
{
    struct update *update = argument;
    ssld_student *student = update->student;
    double rate = ssld_schedule_rate(&student->schedule, student->steps);
    update->status = ssld_optimizer_update(student->optimizer, rate, student->steps, &student->norm);
}

ssld_status ssld_student_update(ssld_student *student)
{
    struct update update = { student, SSLD_OK };
    if (!student->done)
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT,
                         "ssld_student_update: no backward was run before it, or it failed");
    ssld_plan_run(student->plan, run_update, &update);
    if (update.status) {
        drop_parts(student);
        return update.status;
    }
    if (student->observed)
        ssld_plan_update_statistics(student->plan);
    ssld_optimizer_average_buffers(student->optimizer);
    student->kept = false;
    student->observed = false;
    student->done = 0;
    student->steps++;
    return SSLD_OK;
}

/* -- A whole step ------------------------------------------------------------------------------------------------- */

/* Counts the labelled views, and those whose largest logit is the label's. */
static void count_right(const ssld_student *student, const ssld_batch *batch, int32_t *known, int32_t *right)
{
    int32_t classes = student->info.classes;
    for (int32_t i = 0; batch->labels && i < batch->count; i++) {
        const float *row = student->logits + (size_t)i * (size_t)classes;
        int32_t best = 0;
        for (int32_t c = 1; c < classes; c++)
            best = row[c] > row[best] ? c : best;
        *known += batch->labels[i] >= 0;
        *right += batch->labels[i] == best;
    }
}

/* Part `index` of a batch with its labels, which stay where they are. */
static void take_part(const ssld_student *student, int32_t index, const ssld_batch *batch, const ssld_labels *labels,
                      ssld_batch *part, ssld_labels *part_labels)
{
    size_t first = (size_t)index * (size_t)student->part;
    size_t view = (size_t)batch->shape[0] * (size_t)batch->shape[1] * (size_t)batch->shape[2];
    *part = (ssld_batch){ .context = batch->context, .count = student->part };
    memcpy(part->shape, batch->shape, sizeof part->shape);
    part->pixels = batch->pixels + first * view;
    part->labels = batch->labels ? batch->labels + first : NULL;
    if (labels && labels->values) {
        *part_labels = *labels;
        part_labels->count = student->part;
        part_labels->values = labels->values + first * (size_t)labels->classes;
    }
}

static ssld_status run_parts(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels, ssld_step *step)
{
    int32_t known = 0, right = 0;
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < student->parts; i++) {
        ssld_batch part;
        ssld_labels part_labels = { 0 };
        double loss = 0;
        take_part(student, i, batch, labels, &part, &part_labels);
        if ((status = ssld_student_forward(student, &part, NULL)))
            break;
        count_right(student, &part, &known, &right);
        status = run_backward(student, &part, labels ? &part_labels : NULL, 1.0 / student->parts, &loss);
        step->loss += loss / student->parts;
    }
    step->top1 = known ? (double)right / known : -1;
    return status;
}

ssld_status ssld_student_step(ssld_student *student, const ssld_batch *batch, const ssld_labels *labels, ssld_step *step)
{
    ssld_step own = { .step = student->steps + 1,
                      .learning_rate = ssld_schedule_rate(&student->schedule, student->steps) };
    drop_parts(student);
    ssld_status status = check_batch(student, batch, student->part * student->parts);
    if (!status)
        status = check_labels(student, batch, labels);
    if (!status)
        status = run_parts(student, batch, labels, &own);
    if (status) {
        drop_parts(student);
        return status;
    }
    if ((status = ssld_student_update(student)))
        return status;
    own.gradient_norm = student->norm;
    return step ? ssld_info_give(student->context, __func__, step, &own, sizeof own) : SSLD_OK;
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

static struct ssld_value *value_of_name(struct ssld_graph *graph, const char *name)
{
    for (int32_t v = 0; v < graph->value_count; v++)
        if (graph->values[v].data && !strcmp(graph->values[v].name, name))
            return &graph->values[v];
    return NULL;
}

ssld_status ssld_student_get_ema_model(const ssld_student *student, ssld_model **model)
{
    struct ssld_graph *graph = NULL;
    if (!ssld_optimizer_average(student->optimizer, 0))
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT,
                         "ssld_student_get_ema_model: the student keeps no average; make it with ema_decay");
    ssld_status status = ssld_plan_snapshot(student->plan, &graph);
    for (int32_t i = 0; !status && i < ssld_plan_parameter_count(student->plan); i++)
        status = ssld_plan_parameter_to_plain(student->plan, i, ssld_optimizer_average(student->optimizer, i),
                                              value_of_name(graph, ssld_plan_parameter(student->plan, i)->name)->data);
    if (!status)
        return ssld_model_adopt(student->context, graph, model);
    ssld_graph_destroy(graph);
    return status;
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

/* The plan's index of the index-th trainable parameter, -1 past the last. */
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
    if (!array)
        return SSLD_INVALID_ARGUMENT;
    ssld_status status = ssld_plan_parameter_from_plain(student->plan, found, src, array);
    float *average = ssld_optimizer_average(student->optimizer, found);
    if (!status && what == SSLD_PARAMETER_VALUE && average && !student->steps)
        memcpy(average, array, ssld_plan_parameter(student->plan, found)->count * sizeof(float));
    return status;
}
