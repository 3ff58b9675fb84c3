/* SPDX-License-Identifier: BSD-2-Clause */
/* op_batch_norm.c - batch norm with its activation, in the fewest passes over memory. Shapes: src, dst
 * (N, C/b, HW, b); scale, shift, mean, variance (C).
 *
 *   x^ = (src - mean) * inv_std        y = scale * x^ + shift        dst = act(y)
 *
 * Training takes mean and variance of the batch: each chunk's moments are taken while the convolution's dst is in cache. dst is
 * made again wherever it is read, y is not stored at all: two multiplications instead of two tensors. Sums are taken per
 * piece of a block and added in one order, so the result does not depend on the number of threads. */
#include "engine/batch_norm.h"

/* Positions that one task takes: enough tasks for all threads even where a chunk is one image of one block. */
#define PIECE 1024

/* Of each channel, padded to whole blocks. */
struct batch_norm {
    int32_t lanes;
    double *sums;       /* forward: of src and of its squares; backward: of g and of g * (src - mean) */
    float *mean;        /* what forward used, for backward and for the running statistics */
    float *inv_std;
    float *variance;
    float *factor;      /* y = factor * src + offset */
    float *offset;
    float *slope;       /* diff_src = factor * g + slope * src + constant */
    float *constant;
};

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

static int64_t pieces_of(const struct planes *planes)
{
    return (planes->h * planes->w + PIECE - 1) / PIECE;
}

static ssld_status batch_norm_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct planes *planes = &ssld_step_src(plan, step, 0)->planes;
    struct batch_norm *norm = ssld_alloc_zero(plan->context, 1, sizeof *norm);
    step->state = norm;
    if (!norm)
        return ssld_fail_memory(plan->context, "a batch norm", sizeof *norm);
    size_t lanes = (size_t)(planes->blocks * planes->b), sums = 2 * lanes * (size_t)plan->worker_count;
    size_t bytes = sums * sizeof(double) + 7 * lanes * sizeof(float);
    norm->lanes = (int32_t)lanes;
    norm->sums = ssld_alloc_zero(plan->context, 1, bytes);
    if (!norm->sums)
        return ssld_fail_memory(plan->context, "a batch norm", bytes);
    float **arrays[] = { &norm->mean, &norm->inv_std, &norm->variance, &norm->factor, &norm->offset, &norm->slope,
                         &norm->constant };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        *arrays[i] = (float *)(norm->sums + sums) + i * lanes;

    ssld_tensor_set_planes(ssld_step_dst(plan, step), *planes);
    ssld_plan_need(&plan->partial_bytes,
                   (size_t)(ssld_plan_most_images(plan) * pieces_of(planes)) * lanes * 2 * sizeof(double));
    ssld_status status = SSLD_OK;
    for (int32_t input = 1; !status && input <= 4; input++)
        status = ssld_plan_add_vector(plan, step, input);
    return status;
}

static void batch_norm_release(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    ssld_free(plan->context, norm->sums);
}

static struct norm_lanes lanes_from(const struct batch_norm *norm, const struct ssld_activation *activation, int64_t lane)
{
    return (struct norm_lanes){ norm->factor + lane, norm->offset + lane, norm->mean + lane, norm->slope + lane,
                                norm->constant + lane, activation->kind, activation->alpha, activation->beta };
}

/* -- Tasks: a piece of a block of an image -------------------------------------------------------------------------- */

struct task {
    int64_t lane;  /* channel that the block begins with, of the whole image's */
    int64_t at;    /* first element */
    int64_t count; /* positions */
};

static struct task task_of(const struct ssld_plan *plan, const struct planes *planes, int64_t index)
{
    int64_t hw = planes->h * planes->w, pieces = pieces_of(planes), block = index / pieces, first = index % pieces * PIECE;
    return (struct task){ .lane = (plan->part * planes->blocks + block % planes->blocks) * planes->b,
                          .at = (block * hw + first) * planes->b,
                          .count = hw - first < PIECE ? hw - first : PIECE };
}

static int64_t tasks_in(const struct planes *planes)
{
    return planes->n * planes->blocks * pieces_of(planes);
}

/* The chunk's partial sums, two for each lane of each task, join those of the worker's chunks before, in one order. */
static void add_sums(const struct ssld_plan *plan, const struct planes *planes, struct batch_norm *norm)
{
    const double *partial = (const double *)plan->partial;
    double *sums = norm->sums + (ptrdiff_t)plan->worker * 2 * norm->lanes;
    int64_t tasks = tasks_in(planes), b = planes->b;
    for (int32_t i = 0; plan->first_chunk && i < 2 * norm->lanes; i++)
        sums[i] = 0;
    for (int64_t i = 0; i < tasks; i++) {
        int64_t lane = task_of(plan, planes, i).lane;
        for (int64_t l = 0; l < b; l++) {
            sums[lane + l] += partial[i * 2 * b + l];
            sums[norm->lanes + lane + l] += partial[(i * 2 + 1) * b + l];
        }
    }
}

/* All workers' sums, in their order, become the first's. */
static void join_sums(const struct ssld_plan *plan, struct batch_norm *norm)
{
    for (int32_t worker = 1; worker < plan->worker_count; worker++)
        for (int32_t i = 0; i < 2 * norm->lanes; i++)
            norm->sums[i] += norm->sums[(ptrdiff_t)worker * 2 * norm->lanes + i];
}

/* -- Forward ------------------------------------------------------------------------------------------------------ */

static ssld_status batch_norm_observe(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    const struct tensor *src = ssld_step_src(plan, step, 0);
    const struct planes *planes = &src->planes;
    double *partial = (double *)plan->partial;
    int64_t tasks = tasks_in(planes);
#pragma omp parallel for
    for (int64_t i = 0; i < tasks; i++) {
        struct task task = task_of(plan, planes, i);
        ssld_norm_moments(planes->type, planes->b, task.count, element_at(planes->type, src->data, task.at), partial + i * 2 * planes->b);
    }
    add_sums(plan, planes, norm);
    return SSLD_OK;
}

/* y = factor * src + offset, from mean and variance. */
static void take_factors(struct ssld_plan *plan, struct step *step, const float *mean, const float *variance)
{
    struct batch_norm *norm = step->state;
    int64_t channels = ssld_step_src(plan, step, 0)->channels;
    const float *scale = ssld_step_parameter(plan, step, 1)->value, *shift = ssld_step_parameter(plan, step, 2)->value;
    for (int32_t c = 0; c < norm->lanes; c++) {
        bool used = c < channels;
        norm->inv_std[c] = (float)(1 / sqrt((double)(used ? variance[c] : 0) + (double)step->node->attributes.epsilon));
        norm->factor[c] = used ? scale[c] * norm->inv_std[c] : 0;
        norm->offset[c] = used ? shift[c] - mean[c] * norm->factor[c] : 0;
    }
}

static double values_of_channel(const struct ssld_plan *plan, const struct planes *planes)
{
    return (double)plan->options.batch * (double)(planes->h * planes->w);
}

static void batch_norm_observed(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    double count = values_of_channel(plan, &ssld_step_src(plan, step, 0)->planes);
    join_sums(plan, norm);
    for (int32_t c = 0; c < norm->lanes; c++) {
        double mean = norm->sums[c] / count, variance = norm->sums[norm->lanes + c] / count - mean * mean;
        norm->mean[c] = (float)mean;
        norm->variance[c] = (float)(variance < 0 ? 0 : variance); /* not by fmax, which would hide NaN */
    }
    take_factors(plan, step, norm->mean, norm->variance);
}

/* Inference: running statistics, as they are now. */
static ssld_status batch_norm_begin(struct ssld_plan *plan, struct step *step, bool backward)
{
    (void)backward;
    if (plan->options.mode == SSLD_PLAN_EVAL)
        take_factors(plan, step, ssld_step_parameter(plan, step, 3)->value, ssld_step_parameter(plan, step, 4)->value);
    return SSLD_OK;
}

/* Of the chunk: of a part of an image only the last has any. */
static void zero_padding(const struct ssld_plan *plan, const struct tensor *tensor, void *data)
{
    struct planes planes = tensor->planes;
    int64_t rest = tensor->channels - plan->part * planes.channels;
    planes.channels = rest < planes.channels ? rest : planes.channels;
    ssld_zero_padding(&planes, data);
}

static ssld_status batch_norm_forward(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct planes *planes = &src->planes;
    const struct ssld_activation *activation = &step->node->activation;
    int64_t tasks = tasks_in(planes);
#pragma omp parallel for
    for (int64_t i = 0; i < tasks; i++) {
        struct task task = task_of(plan, planes, i);
        struct norm_lanes lanes = lanes_from(norm, activation, task.lane);
        ssld_norm_apply(planes->type, planes->b, &lanes, task.count, element_at(planes->type, src->data, task.at),
              element_at(planes->type, dst->data, task.at));
    }
    if (ssld_activation_of_zero(activation) != 0)
        zero_padding(plan, src, dst->data);
    return SSLD_OK;
}

/* -- Backward ----------------------------------------------------------------------------------------------------- *
 *
 *   g = diff_dst * act'(y)             diff_shift = sum g            diff_scale = sum g * x^
 *   diff_src = scale * inv_std * (g - diff_shift / M - x^ * diff_scale / M),   M = N * HW
 */
static ssld_status batch_norm_observe_diff(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    const struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct planes *planes = &src->planes;
    double *partial = (double *)plan->partial;
    int64_t tasks = tasks_in(planes);
#pragma omp parallel for
    for (int64_t i = 0; i < tasks; i++) {
        struct task task = task_of(plan, planes, i);
        struct norm_lanes lanes = lanes_from(norm, &step->node->activation, task.lane);
        ssld_norm_diff_sums(planes->type, planes->b, &lanes, task.count,
                  element_at(planes->type, src->data, task.at), element_at(planes->type, dst->diff, task.at),
                  partial + i * 2 * planes->b);
    }
    add_sums(plan, planes, norm);
    return SSLD_OK;
}

static void batch_norm_diff_observed(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    const struct planes *planes = &ssld_step_src(plan, step, 0)->planes;
    double count = values_of_channel(plan, planes);
    join_sums(plan, norm);
    for (int32_t c = 0; c < norm->lanes; c++) {
        double sum = norm->sums[c], product = norm->sums[norm->lanes + c] * (double)norm->inv_std[c];
        double along = (double)norm->factor[c] * (double)norm->inv_std[c] * product / count;
        norm->slope[c] = (float)-along;
        norm->constant[c] = (float)(along * (double)norm->mean[c] - (double)norm->factor[c] * sum / count);
    }
}

/* The diffs of scale and shift are complete sums already: the first worker's first chunk gives them, whole. */
static void give_parameter_diffs(struct ssld_plan *plan, struct step *step)
{
    const struct batch_norm *norm = step->state;
    struct ssld_parameter *scale = ssld_step_parameter(plan, step, 1), *shift = ssld_step_parameter(plan, step, 2);
    for (int64_t c = 0; c < scale->elements; c++) {
        float diff_shift = (float)norm->sums[c];
        float diff_scale = (float)(norm->sums[norm->lanes + c] * (double)norm->inv_std[c]);
        shift->diff[c] = plan->fresh_diffs ? diff_shift : shift->diff[c] + diff_shift;
        scale->diff[c] = plan->fresh_diffs ? diff_scale : scale->diff[c] + diff_scale;
    }
}

static ssld_status batch_norm_backward(struct ssld_plan *plan, struct step *step)
{
    struct batch_norm *norm = step->state;
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    const struct planes *planes = &src->planes;
    float *diff_src = ssld_step_diff_src(plan, step, 0);
    int64_t tasks = tasks_in(planes);
    if (plan->first_chunk && !plan->worker)
        give_parameter_diffs(plan, step);
    if (!diff_src)
        return SSLD_OK;
#pragma omp parallel for
    for (int64_t i = 0; i < tasks; i++) {
        struct task task = task_of(plan, planes, i);
        struct norm_lanes lanes = lanes_from(norm, &step->node->activation, task.lane);
        ssld_norm_diff_src(planes->type, planes->b, &lanes, task.count,
                      element_at(planes->type, src->data, task.at), element_at(planes->type, dst->diff, task.at),
                      element_at(planes->type, diff_src, task.at));
    }
    return SSLD_OK;
}

/* -- Running statistics: ONNX's and Paddle's rule, with the batch's population variance ------------------------------ */

void ssld_plan_update_statistics(struct ssld_plan *plan)
{
    for (int32_t i = 0; i < plan->graph->node_count; i++) {
        struct step *step = &plan->steps[i];
        if (step->node->kind != SSLD_OP_BATCH_NORM)
            continue;
        const struct batch_norm *norm = step->state;
        struct ssld_parameter *mean = ssld_step_parameter(plan, step, 3),
                              *variance = ssld_step_parameter(plan, step, 4);
        float keep = step->node->attributes.momentum;
        for (int64_t c = 0; c < mean->elements; c++) {
            mean->value[c] = keep * mean->value[c] + (1 - keep) * norm->mean[c];
            variance->value[c] = keep * variance->value[c] + (1 - keep) * norm->variance[c];
        }
    }
}

static bool batch_norm_channels_apart(const struct ssld_plan *plan, const struct ssld_node *node)
{
    (void)plan, (void)node;
    return true;
}

const struct engine_op ssld_op_batch_norm = {
    .kind = SSLD_OP_BATCH_NORM,
    .backward_reads = READS_SRC,
    .channels_apart = batch_norm_channels_apart,
    .cheap = true,
    .prepare = batch_norm_prepare,
    .begin = batch_norm_begin,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .observe = batch_norm_observe,
    .observed = batch_norm_observed,
    .observe_diff = batch_norm_observe_diff,
    .diff_observed = batch_norm_diff_observed,
    .release = batch_norm_release,
};
