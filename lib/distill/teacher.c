/* SPDX-License-Identifier: BSD-2-Clause */
/* teacher.c - inference of a model, and its evaluation on labelled samples. */
#include "ssld/teacher.h"

#include <math.h>
#include <string.h>

#include "core/batch.h"
#include "core/hash.h"
#include "core/labels.h"
#include "distill/model.h"
#include "engine/engine.h"

#define DEFAULT_BATCH 32

struct ssld_teacher {
    ssld_context            *context;
    struct ssld_graph       *graph;       /* for plans of other batch sizes */
    struct ssld_plan_options options;
    struct ssld_plan        *plan;        /* for options.batch views */
    struct ssld_plan        *small;       /* batch statistics only: for the last size that was not options.batch */
    int32_t                  small_batch;
    ssld_model_info          info;
    uint8_t                  fingerprint[16];
};

void ssld_teacher_options_init(ssld_teacher_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

static ssld_status check_options(ssld_context *context, const ssld_model *model, const ssld_teacher_options *options,
                                 const ssld_model_info *info)
{
    if (options->batch < 0 || options->threads < 0)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_teacher_create: batch %d and threads %d must not be negative",
                         options->batch, options->threads);
    if (options->batch_norm != SSLD_BATCH_NORM_EVAL && options->batch_norm != SSLD_BATCH_NORM_BATCH)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_teacher_create: batch_norm %d is no SSLD_BATCH_NORM_x",
                         options->batch_norm);
    if (options->batch_norm == SSLD_BATCH_NORM_BATCH && !info->batch_norms)
        return ssld_fail(context, SSLD_UNSUPPORTED,
                         "%s: it has no batch norm to run with batch statistics, because its exporter folded it into the "
                         "convolutions; export it again without folding (PyTorch: torch.onnx.export(..., "
                         "training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)) or use the eval mode",
                         ssld_model_name(model));
    return SSLD_OK;
}

/* The model's fingerprint with the mode: labels of the two modes are of two teachers. */
static ssld_status take_fingerprint(ssld_teacher *teacher, const ssld_model *model, int32_t batch_norm)
{
    uint8_t of_model[16];
    struct ssld_hash *hash = ssld_hash_create(teacher->context);
    if (!hash)
        return ssld_fail_memory(teacher->context, "a fingerprint", sizeof of_model);
    ssld_model_fingerprint(model, of_model);
    ssld_hash_add(hash, of_model, sizeof of_model);
    ssld_hash_add_u64(hash, (uint64_t)batch_norm);
    ssld_hash_finish(hash, teacher->fingerprint);
    return SSLD_OK;
}

ssld_status ssld_teacher_create(ssld_context *context, const ssld_model *model, const ssld_teacher_options *given,
                                ssld_teacher **teacher)
{
    ssld_teacher_options options;
    ssld_model_info info = { .struct_size = sizeof info };
    ssld_status status = ssld_options_take(context, __func__, &options, sizeof options, given, sizeof options);
    if (!status)
        status = ssld_model_get_info(model, &info);
    if (!status)
        status = check_options(context, model, &options, &info);
    if (status)
        return status;

    ssld_teacher *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a teacher", sizeof *made);
    made->context = context;
    made->info = info;
    made->options = (struct ssld_plan_options){
        .mode = options.batch_norm == SSLD_BATCH_NORM_BATCH ? SSLD_PLAN_BATCH_STATISTICS : SSLD_PLAN_EVAL,
        .batch = options.batch ? options.batch : DEFAULT_BATCH,
        .threads = options.threads ? options.threads : ssld_context_threads(context),
    };
    status = ssld_precision_take(context, "ssld_teacher_create", options.precision, &made->options);
    if (!status)
        status = take_fingerprint(made, model, options.batch_norm);
    if (!status)
        status = ssld_plan_create(context, model->graph, &made->options, &made->plan);
    if (!status && options.batch_norm == SSLD_BATCH_NORM_BATCH)
        status = ssld_graph_clone(model->graph, &made->graph);
    if (status) {
        ssld_teacher_destroy(made);
        return status;
    }
    *teacher = made;
    return SSLD_OK;
}

ssld_status ssld_teacher_open(ssld_context *context, const char *path, const ssld_teacher_options *given,
                              ssld_teacher **teacher)
{
    ssld_teacher_options options;
    ssld_model *model = NULL;
    ssld_status status = ssld_options_take(context, __func__, &options, sizeof options, given, sizeof options);
    if (status)
        return status;
    ssld_model_load_options load;
    ssld_model_load_options_init(&load, sizeof load);
    load.height = options.height;
    load.width = options.width;
    status = ssld_model_load(context, path, &load, &model);
    if (!status)
        status = ssld_teacher_create(context, model, &options, teacher);
    ssld_model_destroy(model);
    return status;
}

void ssld_teacher_destroy(ssld_teacher *teacher)
{
    if (!teacher)
        return;
    ssld_plan_destroy(teacher->plan);
    ssld_plan_destroy(teacher->small);
    ssld_graph_destroy(teacher->graph);
    ssld_free(teacher->context, teacher);
}

ssld_status ssld_teacher_get_info(const ssld_teacher *teacher, ssld_model_info *info)
{
    ssld_model_info own = teacher->info;
    return ssld_info_give(teacher->context, __func__, info, &own, sizeof own);
}

void ssld_teacher_fingerprint(const ssld_teacher *teacher, uint8_t fingerprint[16])
{
    memcpy(fingerprint, teacher->fingerprint, 16);
}

/* -- Predicting --------------------------------------------------------------------------------------------------- */

static ssld_status check_batch(ssld_teacher *teacher, const ssld_batch *batch, const ssld_labels *labels)
{
    const ssld_model_info *info = &teacher->info;
    const int32_t *shape = batch->shape;
    if (!batch->count)
        return ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "ssld_teacher_predict: the batch is empty");
    if (shape[0] != info->channels || shape[1] != info->height || shape[2] != info->width)
        return ssld_fail(teacher->context, SSLD_MISMATCH,
                         "the views are %d x %d x %d (channels, height, width), the teacher takes %d x %d x %d; change the view spec",
                         shape[0], shape[1], shape[2], info->channels, info->height, info->width);
    if (batch->count > teacher->options.batch)
        return ssld_fail(teacher->context, SSLD_MISMATCH, "%d views, the teacher was made for batches of up to %d",
                         batch->count, teacher->options.batch);
    if (labels->classes != info->classes || labels->capacity < batch->count)
        return ssld_fail(teacher->context, SSLD_MISMATCH, "the labels take %d x %d, the teacher gives %d x %d", labels->capacity,
                         labels->classes, batch->count, info->classes);
    return SSLD_OK;
}

/* With batch statistics a smaller batch needs a plan of its size; the last one is kept. */
static ssld_status plan_for(ssld_teacher *teacher, int32_t count, struct ssld_plan **plan)
{
    *plan = teacher->plan;
    if (teacher->options.mode == SSLD_PLAN_EVAL || count == teacher->options.batch)
        return SSLD_OK;
    ssld_status status = SSLD_OK;
    if (!teacher->small || teacher->small_batch != count) {
        struct ssld_plan_options options = teacher->options;
        options.batch = count;
        ssld_plan_destroy(teacher->small);
        teacher->small = NULL;
        status = ssld_plan_create(teacher->context, teacher->graph, &options, &teacher->small);
        teacher->small_batch = count;
    }
    *plan = teacher->small;
    return status;
}

ssld_status ssld_teacher_predict(ssld_teacher *teacher, const ssld_batch *batch, ssld_labels *labels)
{
    struct ssld_plan *plan = NULL;
    const float *logits = NULL;
    ssld_status status = check_batch(teacher, batch, labels);
    if (!status)
        status = plan_for(teacher, batch->count, &plan);
    if (!status)
        status = ssld_plan_forward(plan, batch->pixels, batch->count, 0, &logits);
    if (!status)
        memcpy(ssld_labels_write(labels, SSLD_LABELS_LOGITS, batch->count), logits,
               (size_t)batch->count * (size_t)labels->classes * sizeof(float));
    return status;
}

/* -- Evaluating --------------------------------------------------------------------------------------------------- */

struct tally {
    uint64_t samples, top1, top5;
    double   loss;
};

/* How many classes a row puts before `label`; of equal logits the first class counts as larger. */
static int32_t rank_of(const float *logits, int32_t classes, int32_t label)
{
    int32_t rank = 0;
    for (int32_t c = 0; c < classes; c++)
        rank += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    return rank;
}

/* -ln softmax(logits)[label] */
static double cross_entropy(const float *logits, int32_t classes, int32_t label)
{
    double largest = logits[0], sum = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = fmax(largest, logits[c]);
    for (int32_t c = 0; c < classes; c++)
        sum += exp(logits[c] - largest);
    return log(sum) + largest - logits[label];
}

static ssld_status count_batch(ssld_teacher *teacher, const ssld_batch *batch, const ssld_labels *labels, struct tally *tally)
{
    int32_t classes = teacher->info.classes;
    for (int32_t i = 0; batch->labels && i < batch->count; i++) {
        const float *logits = labels->values + (size_t)i * (size_t)classes;
        int32_t label = batch->labels[i];
        if (label < 0)
            continue;
        if (label >= classes)
            return ssld_fail(teacher->context, SSLD_MISMATCH, "a sample is of class %d, the network has %d classes", label,
                             classes);
        int32_t rank = rank_of(logits, classes, label);
        tally->samples++;
        tally->top1 += rank == 0;
        tally->top5 += rank < 5;
        tally->loss += cross_entropy(logits, classes, label);
    }
    return SSLD_OK;
}

ssld_status ssld_teacher_evaluate(ssld_teacher *teacher, ssld_loader *loader, ssld_evaluation *evaluation)
{
    ssld_batch *batch = NULL;
    ssld_labels *labels = NULL;
    struct tally tally = { 0 };
    ssld_status status = ssld_batch_create(teacher->context, &batch);
    if (!status)
        status = ssld_labels_create(teacher->context, teacher->options.batch, teacher->info.classes, &labels);
    while (!status && !(status = ssld_loader_next(loader, batch))) {
        status = ssld_teacher_predict(teacher, batch, labels);
        if (!status)
            status = count_batch(teacher, batch, labels, &tally);
    }
    if (status == SSLD_END && !tally.samples)
        status = ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "no sample has a label to compare with");
    if (status == SSLD_END) {
        ssld_evaluation own = { .samples = tally.samples, .top1 = (double)tally.top1 / (double)tally.samples,
                                .top5 = (double)tally.top5 / (double)tally.samples,
                                .loss = tally.loss / (double)tally.samples };
        status = ssld_info_give(teacher->context, __func__, evaluation, &own, sizeof own);
    }
    ssld_batch_destroy(batch);
    ssld_labels_destroy(labels);
    return status;
}
