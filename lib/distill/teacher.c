/* SPDX-License-Identifier: BSD-2-Clause */
/* teacher.c - inference of a model: logits for batches, and the intermediate outputs that were asked for. */
#include "distill/teacher.h"

#include <string.h>

#include "core/hash.h"
#include "engine/engine.h"

#define DEFAULT_BATCH 32
#define MOST_OUTPUTS 1024

void ssld_teacher_options_init(ssld_teacher_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Intermediate outputs ----------------------------------------------------------------------------------------- */

/* Letters that two names have in common at their beginnings and ends. */
static size_t likeness(const char *one, const char *other)
{
    size_t first = strlen(one), second = strlen(other), shorter = first < second ? first : second, head = 0, tail = 0;
    while (head < shorter && one[head] == other[head])
        head++;
    while (tail < shorter - head && one[first - 1 - tail] == other[second - 1 - tail])
        tail++;
    return head + tail;
}

/* The value that a node makes under this name; SSLD_NO_VALUE if there is none: then `nearest` is the name most like it. */
static int32_t find_value(const struct ssld_graph *graph, const char *name, const char **nearest)
{
    size_t most = 0;
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_value *value = &graph->values[graph->nodes[n].output];
        if (!value->name)
            continue;
        if (!strcmp(value->name, name))
            return graph->nodes[n].output;
        size_t common = likeness(value->name, name);
        if (common > most) {
            most = common;
            *nearest = value->name;
        }
    }
    return SSLD_NO_VALUE;
}

static ssld_status take_output(ssld_teacher *teacher, const struct ssld_graph *graph, const char *name,
                               struct teacher_output *output, int32_t *index)
{
    const char *nearest = NULL;
    if (!name)
        return ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "ssld_teacher_create: a name in outputs is NULL");
    *index = find_value(graph, name, &nearest);
    if (*index == SSLD_NO_VALUE)
        return ssld_fail(teacher->context, SSLD_NOT_FOUND,
                         "%s: no tensor is called '%s'; '%s' is the name most like it (`ssld model info` lists all)", graph->name,
                         name, nearest ? nearest : "");
    const struct ssld_value *value = &graph->values[*index];
    size_t bytes = (size_t)ssld_value_elements(value) * (size_t)teacher->batch * sizeof(float);
    output->ndims = value->ndims;
    ssld_model_dims(value, output->dims);
    output->name = ssld_strdup(teacher->context, name);
    output->data = ssld_alloc(teacher->context, bytes);
    return output->name && output->data ? SSLD_OK : ssld_fail_memory(teacher->context, "an intermediate output", bytes);
}

static ssld_status take_outputs(ssld_teacher *teacher, const struct ssld_graph *graph, const ssld_teacher_options *options)
{
    size_t count = (size_t)options->output_count;
    ssld_status status = SSLD_OK;
    if (!count)
        return SSLD_OK;
    teacher->outputs = ssld_alloc_zero(teacher->context, count, sizeof *teacher->outputs);
    teacher->keep = ssld_alloc_zero(teacher->context, count, sizeof *teacher->keep);
    if (!teacher->outputs || !teacher->keep)
        return ssld_fail_memory(teacher->context, "intermediate outputs", count * sizeof *teacher->outputs);
    for (int32_t i = 0; !status && i < options->output_count; i++) {
        teacher->output_count++;
        status = take_output(teacher, graph, options->outputs[i], &teacher->outputs[i], &teacher->keep[i]);
    }
    teacher->options.keep = teacher->keep;
    teacher->options.keep_count = teacher->output_count;
    return status;
}

static void release_outputs(ssld_teacher *teacher)
{
    for (int32_t i = 0; teacher->outputs && i < teacher->output_count; i++) {
        ssld_free(teacher->context, teacher->outputs[i].name);
        ssld_free(teacher->context, teacher->outputs[i].data);
    }
    ssld_free(teacher->context, teacher->outputs);
    ssld_free(teacher->context, teacher->keep);
}

static ssld_status read_outputs(ssld_teacher *teacher, const struct ssld_plan *plan, int32_t count)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < teacher->output_count; i++)
        status = ssld_plan_output(plan, i, count, teacher->outputs[i].data);
    teacher->output_views = status ? 0 : count;
    return status;
}

ssld_status ssld_teacher_output(const ssld_teacher *teacher, int32_t index, ssld_output *output)
{
    for (int32_t m = 0, first = 0; m < teacher->member_count; first += teacher->members[m++]->output_count)
        if (index >= first && index < first + teacher->members[m]->output_count)
            return ssld_teacher_output(teacher->members[m], index - first, output);
    if (index < 0 || index >= teacher->output_count || teacher->member_count)
        return ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "ssld_teacher_output: output %d: %d were asked for", index,
                         teacher->output_count);
    if (!teacher->output_views)
        return ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "ssld_teacher_output: predict first");
    const struct teacher_output *from = &teacher->outputs[index];
    ssld_output own = { .struct_size = sizeof own, .name = from->name, .data = from->data, .ndims = from->ndims };
    memcpy(own.dims, from->dims, sizeof own.dims);
    own.dims[0] *= teacher->output_views;
    return ssld_info_give(teacher->context, __func__, output, &own, sizeof own);
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

static ssld_status check_options(ssld_context *context, const ssld_model *model, const ssld_teacher_options *options,
                                 const ssld_model_info *info)
{
    if (options->batch < 0 || options->threads < 0)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_teacher_create: batch %d and threads %d must not be negative",
                         options->batch, options->threads);
    if (options->output_count < 0 || options->output_count > MOST_OUTPUTS || (options->output_count && !options->outputs))
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_teacher_create: output_count %d%s; it must be 0 to %d, with names "
                         "in outputs", options->output_count, options->outputs ? "" : " without outputs", MOST_OUTPUTS);
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

/* Does a node that computes with single numbers read the pixels? Then they need not be normalised before. */
static bool begins_with_arithmetic(const struct ssld_graph *graph)
{
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        bool arithmetic = node->kind == SSLD_OP_SCALE || node->kind == SSLD_OP_ADD || node->kind == SSLD_OP_MUL ||
                          node->kind == SSLD_OP_BINARY || node->kind == SSLD_OP_BATCH_NORM;
        for (int32_t i = 0; arithmetic && i < node->input_count; i++)
            if (node->inputs[i] == graph->input)
                return true;
    }
    return false;
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
    made->batch = options.batch ? options.batch : DEFAULT_BATCH;
    made->normalises = begins_with_arithmetic(model->graph);
    made->options = (struct ssld_plan_options){
        .mode = options.batch_norm == SSLD_BATCH_NORM_BATCH ? SSLD_PLAN_BATCH_STATISTICS : SSLD_PLAN_EVAL,
        .batch = made->batch,
        .threads = options.threads ? options.threads : ssld_context_threads(context),
    };
    status = ssld_precision_take(context, "ssld_teacher_create", options.precision, &made->options);
    if (!status)
        status = take_fingerprint(made, model, options.batch_norm);
    if (!status)
        status = take_outputs(made, model->graph, &options);
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
    release_outputs(teacher);
    for (int32_t i = 0; i < teacher->owned; i++)
        ssld_teacher_destroy(teacher->members[i]);
    ssld_free(teacher->context, teacher->members);
    ssld_free(teacher->context, teacher->weights);
    ssld_free(teacher->context, teacher->answer);
    ssld_free(teacher->context, teacher->sum);
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

ssld_status ssld_teacher_check_shape(const ssld_teacher *teacher, const ssld_batch *batch)
{
    const ssld_model_info *info = &teacher->info;
    const int32_t *shape = batch->shape;
    if (!batch->count)
        return ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "ssld_teacher_predict: the batch is empty");
    if (shape[0] != info->channels || shape[1] != info->height || shape[2] != info->width)
        return ssld_fail(teacher->context, SSLD_MISMATCH,
                         "the views are %d x %d x %d (channels, height, width), the teacher takes %d x %d x %d; change the view spec",
                         shape[0], shape[1], shape[2], info->channels, info->height, info->width);
    if (batch->count > teacher->batch)
        return ssld_fail(teacher->context, SSLD_MISMATCH, "%d views, the teacher was made for batches of up to %d",
                         batch->count, teacher->batch);
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

ssld_status ssld_teacher_answer(ssld_teacher *teacher, const ssld_batch *batch, const float **logits)
{
    struct ssld_plan *plan = NULL;
    if (teacher->member_count)
        return ssld_ensemble_answer(teacher, batch, logits);
    ssld_status status = plan_for(teacher, batch->count, &plan);
    if (!status)
        status = ssld_plan_forward(plan, batch->pixels, batch->count, 0, logits);
    if (!status)
        status = read_outputs(teacher, plan, batch->count);
    teacher->forwards += !status && plan == teacher->plan;
    return status;
}

ssld_status ssld_teacher_predict(ssld_teacher *teacher, const ssld_batch *batch, ssld_labels *labels)
{
    const float *logits = NULL;
    ssld_status status = ssld_teacher_check_shape(teacher, batch);
    if (!status && (labels->classes != teacher->info.classes || labels->capacity < batch->count))
        status = ssld_fail(teacher->context, SSLD_MISMATCH, "the labels take %d x %d, the teacher gives %d x %d", labels->capacity,
                           labels->classes, batch->count, teacher->info.classes);
    if (!status)
        status = ssld_teacher_answer(teacher, batch, &logits);
    if (!status)
        memcpy(ssld_labels_write(labels, SSLD_LABELS_LOGITS, batch->count), logits,
               (size_t)batch->count * (size_t)labels->classes * sizeof(float));
    return status;
}
