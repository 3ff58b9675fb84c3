/* SPDX-License-Identifier: BSD-2-Clause */
/* ensemble.c - a teacher of several teachers: the weighted average of their logits or of their probabilities. */
#include "distill/teacher.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"

void ssld_ensemble_options_init(ssld_ensemble_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

static ssld_status check_options(ssld_context *context, int32_t count, const ssld_ensemble_options *options)
{
    if (count < 1)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_teacher_create_ensemble: %d members; there must be at least 1", count);
    if (options->average != SSLD_AVERAGE_LOGITS && options->average != SSLD_AVERAGE_PROBABILITIES)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_teacher_create_ensemble: average %d is no SSLD_AVERAGE_x",
                         options->average);
    for (int32_t m = 0; options->weights && m < count; m++)
        if (!(options->weights[m] > 0 && isfinite(options->weights[m])))
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "ssld_teacher_create_ensemble: weights[%d] is %g; it must be above 0: leave a member out instead", m,
                             (double)options->weights[m]);
    return SSLD_OK;
}

/* The members' common shape, and all of them together. */
static ssld_status take_info(ssld_teacher *ensemble)
{
    ssld_model_info *info = &ensemble->info;
    for (int32_t m = 0; m < ensemble->member_count; m++) {
        const ssld_teacher *member = ensemble->members[m];
        const ssld_model_info *own = &member->info;
        if (m == 0) {
            *info = *own;
            ensemble->batch = member->batch;
            ensemble->normalises = member->normalises;
            ensemble->output_count = member->output_count;
            continue;
        }
        if (own->classes != info->classes)
            return ssld_fail(ensemble->context, SSLD_MISMATCH,
                             "an ensemble's members must know the same classes: teacher 1 knows %d, teacher %d %d", info->classes,
                             m + 1, own->classes);
        if (own->channels != info->channels || own->height != info->height || own->width != info->width)
            return ssld_fail(ensemble->context, SSLD_MISMATCH,
                             "an ensemble's members must take the same images: teacher 1 takes %d x %d x %d (channels, height, "
                             "width), teacher %d %d x %d x %d", info->channels, info->height, info->width, m + 1, own->channels,
                             own->height, own->width);
        ensemble->batch = member->batch < ensemble->batch ? member->batch : ensemble->batch;
        ensemble->normalises = ensemble->normalises && member->normalises;
        ensemble->output_count += member->output_count;
        info->nodes += own->nodes;
        info->batch_norms += own->batch_norms;
        info->parameters += own->parameters;
        info->buffers += own->buffers;
        info->macs += own->macs;
    }
    return SSLD_OK;
}

static void take_weights(ssld_teacher *ensemble, const float *given)
{
    double sum = 0;
    for (int32_t m = 0; m < ensemble->member_count; m++)
        sum += given ? (double)given[m] : 1.0;
    for (int32_t m = 0; m < ensemble->member_count; m++)
        ensemble->weights[m] = (given ? (double)given[m] : 1.0) / sum;
}

/* Weights count after division by their sum and in single precision: 1, 3 and 0.25, 0.75 are the same ensemble. */
static ssld_status take_fingerprint(ssld_teacher *ensemble)
{
    static const char mark[] = "ensemble";
    struct ssld_hash *hash = ssld_hash_create(ensemble->context);
    if (!hash)
        return ssld_fail_memory(ensemble->context, "a fingerprint", sizeof ensemble->fingerprint);
    ssld_hash_add(hash, mark, sizeof mark);
    ssld_hash_add_u64(hash, (uint64_t)ensemble->average);
    for (int32_t m = 0; m < ensemble->member_count; m++) {
        float weight = (float)ensemble->weights[m];
        uint32_t bits;
        memcpy(&bits, &weight, sizeof bits);
        ssld_hash_add(hash, ensemble->members[m]->fingerprint, sizeof ensemble->fingerprint);
        ssld_hash_add_u64(hash, bits);
    }
    ssld_hash_finish(hash, ensemble->fingerprint);
    return SSLD_OK;
}

/* Takes nothing over: `owned` is 0. */
static ssld_status make_ensemble(ssld_context *context, int32_t count, ssld_teacher *const *members,
                                 const ssld_ensemble_options *options, ssld_teacher **teacher)
{
    ssld_status status;
    size_t cells = 0;
    ssld_teacher *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "an ensemble", sizeof *made);
    made->context = context;
    made->average = options->average;
    made->members = ssld_alloc_zero(context, (size_t)count, sizeof *made->members);
    made->weights = ssld_alloc_zero(context, (size_t)count, sizeof *made->weights);
    if (!made->members || !made->weights) {
        status = ssld_fail_memory(context, "an ensemble", (size_t)count * sizeof *made->members);
        goto fail;
    }
    made->member_count = count;
    for (int32_t m = 0; m < count; m++)
        made->members[m] = members[m];
    if ((status = take_info(made)))
        goto fail;
    take_weights(made, options->weights);
    if ((status = take_fingerprint(made)))
        goto fail;
    cells = (size_t)made->batch * (size_t)made->info.classes;
    made->answer = ssld_alloc_zero(context, cells, sizeof *made->answer);
    made->sum = ssld_alloc_zero(context, cells, sizeof *made->sum);
    if (!made->answer || !made->sum) {
        status = ssld_fail_memory(context, "an ensemble's answers", cells * sizeof *made->sum);
        goto fail;
    }
    *teacher = made;
    return SSLD_OK;
fail:
    ssld_teacher_destroy(made);
    return status;
}

ssld_status ssld_teacher_create_ensemble(ssld_context *context, int32_t count, ssld_teacher *const *members,
                                         const ssld_ensemble_options *given, ssld_teacher **teacher)
{
    ssld_ensemble_options options;
    ssld_status status = ssld_options_take(context, __func__, &options, sizeof options, given, sizeof options);
    if (!status)
        status = check_options(context, count, &options);
    return status ? status : make_ensemble(context, count, members, &options, teacher);
}

ssld_status ssld_teacher_open_ensemble(ssld_context *context, int32_t count, const char *const *paths,
                                       const ssld_teacher_options *teacher_options,
                                       const ssld_ensemble_options *given, ssld_teacher **teacher)
{
    ssld_ensemble_options options;
    ssld_teacher **members = NULL, *made = NULL;
    int32_t opened = 0;
    ssld_status status = ssld_options_take(context, __func__, &options, sizeof options, given, sizeof options);
    if (!status)
        status = check_options(context, count, &options);
    if (status)
        return status;
    members = ssld_alloc_zero(context, (size_t)count, sizeof *members);
    if (!members)
        return ssld_fail_memory(context, "an ensemble", (size_t)count * sizeof *members);
    for (; opened < count; opened++)
        if ((status = ssld_teacher_open(context, paths[opened], teacher_options, &members[opened])))
            goto fail;
    if ((status = make_ensemble(context, count, members, &options, &made)))
        goto fail;
    made->owned = count;
    *teacher = made;
    ssld_free(context, members);
    return SSLD_OK;
fail:
    for (int32_t m = 0; m < opened; m++)
        ssld_teacher_destroy(members[m]);
    ssld_free(context, members);
    return status;
}

/* -- Averages ----------------------------------------------------------------------------------------------------- */

/* ln sum exp(z) of a row. */
static double log_sum_exp(const float *logits, int32_t classes)
{
    double largest = logits[0], sum = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = fmax(largest, logits[c]);
    for (int32_t c = 0; c < classes; c++)
        sum += exp(logits[c] - largest);
    return log(sum) + largest;
}

/* sum += w * z, for rows x classes numbers. */
static void add_logits(const float *logits, double weight, int32_t rows, int32_t classes, double *sum)
{
    for (size_t i = 0; i < (size_t)rows * (size_t)classes; i++)
        sum[i] += weight * logits[i];
}

/* sum = ln(exp(sum) + w * softmax(z)), by logarithms all the way: no probability is too small for it. */
static void add_probabilities(const float *logits, double weight, int32_t rows, int32_t classes, double *sum)
{
    for (int32_t r = 0; r < rows; r++, logits += classes, sum += classes) {
        double shift = log(weight) - log_sum_exp(logits, classes);
        for (int32_t c = 0; c < classes; c++) {
            double next = logits[c] + shift, larger = fmax(sum[c], next), smaller = fmin(sum[c], next);
            sum[c] = larger + log1p(exp(smaller - larger));
        }
    }
}

ssld_status ssld_ensemble_answer(ssld_teacher *ensemble, const ssld_batch *batch, const float **logits)
{
    int32_t rows = batch->count, classes = ensemble->info.classes;
    size_t cells = (size_t)rows * (size_t)classes;
    bool probabilities = ensemble->average == SSLD_AVERAGE_PROBABILITIES;
    for (size_t i = 0; i < cells; i++)
        ensemble->sum[i] = probabilities ? -INFINITY : 0;
    for (int32_t m = 0; m < ensemble->member_count; m++) {
        const float *member = NULL;
        ssld_status status = ssld_teacher_answer(ensemble->members[m], batch, &member);
        if (status)
            return status;
        (probabilities ? add_probabilities : add_logits)(member, ensemble->weights[m], rows, classes, ensemble->sum);
    }
    for (size_t i = 0; i < cells; i++)
        ensemble->answer[i] = (float)ensemble->sum[i];
    *logits = ensemble->answer;
    return SSLD_OK;
}
