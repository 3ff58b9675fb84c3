/* SPDX-License-Identifier: BSD-2-Clause */
/* run.c - a plan at work: pixels in, logits out, diffs back. */
#include "engine/kernels.h"

#include <string.h>
#include <time.h>

/* Copy an image's channel c into the input tensor, which may be blocked. */
static void load_channel(const struct planes *planes, int64_t c, const float *src, char *dst)
{
    int64_t hw = planes->h * planes->w, b = planes->b, first = c / b * hw * b + c % b;
    if (b == 1 && planes->type == ELEMENT_F32)
        memcpy(dst + (size_t)first * sizeof *src, src, (size_t)hw * sizeof *src);
    else if (planes->type == ELEMENT_BF16)
        for (int64_t p = 0; p < hw; p++)
            ((uint16_t *)(void *)dst)[first + p * b] = bf16_of_any(src[p]);
    else
        for (int64_t p = 0; p < hw; p++)
            ((float *)(void *)dst)[first + p * b] = src[p];
}

/* Pixels (count, C, H, W) become the input tensor; images that are not there become zeros. */
static void load_pixels(struct ssld_plan *plan, const float *pixels, int32_t count)
{
    const struct tensor *input = &plan->tensors[plan->graph->input];
    const struct planes *planes = &input->planes;
    int64_t channels = planes->channels, hw = planes->h * planes->w;
    if (count < plan->options.batch)
        memset((char *)plan->pixels + (size_t)count * input->image_bytes, 0,
               (size_t)(plan->options.batch - count) * input->image_bytes);
#pragma omp parallel for
    for (int64_t i = 0; i < count * channels; i++)
        load_channel(planes, i % channels, pixels + i * hw, (char *)plan->pixels + (size_t)(i / channels) * input->image_bytes);
}

static ssld_status check_count(struct ssld_plan *plan, int32_t count)
{
    int32_t batch = plan->options.batch;
    bool exact = plan->options.mode != SSLD_PLAN_EVAL;
    if (count == batch || (!exact && count > 0 && count < batch))
        return SSLD_OK;
    return ssld_fail(plan->context, SSLD_MISMATCH, "%s: %d views, but it was made for batches of %s%d",
                     plan->graph->name, count, exact ? "exactly " : "1 to ", batch);
}

/* -- Segments ----------------------------------------------------------------------------------------------------- */

/* Point every tensor that the segment touches at the chunk. */
static void enter_chunk(struct ssld_plan *plan, const struct segment *segment, int32_t chunk)
{
    int32_t values = 2 * plan->graph->value_count;
    size_t own = (size_t)plan->worker * plan->chunk_arena_bytes;
    plan->chunk = chunk;
    plan->part = chunk % segment->parts;
    plan->chunk_first = (int64_t)(chunk / segment->parts) * segment->images;
    for (int32_t i = 0; i < segment->place_count; i++) {
        const struct place *place = &plan->places[segment->first_place + i];
        size_t of_part = place->stride / (size_t)segment->parts * (size_t)plan->part;
        char *at = place->base + (place->stride ? place->stride * (size_t)plan->chunk_first + of_part : own);
        if (place->id >= values)
            plan->steps[place->id - values].workspace = at;
        else if (place->id % 2)
            plan->tensors[place->id / 2].diff = at;
        else
            plan->tensors[place->id / 2].data = at;
    }
}

/* Every tensor has the size of the segment's chunks. In parts, those that it does not touch mean nothing. */
static void set_images(struct ssld_plan *plan, const struct segment *segment)
{
    for (int32_t v = 0; v < plan->graph->value_count; v++) {
        struct tensor *tensor = &plan->tensors[v];
        struct planes *planes = &tensor->planes;
        if (tensor->parameter >= 0)
            continue;
        planes->n = segment->images;
        planes->blocks = tensor->blocks / segment->parts;
        planes->channels = segment->parts == 1 ? tensor->channels : planes->blocks * planes->b;
        tensor->bytes = tensor->image_bytes * (size_t)segment->images / (size_t)segment->parts;
    }
}

ALWAYS_INLINE void add_loop(int32_t type, int64_t first, int64_t last, const void *restrict part, void *restrict diff)
{
    for (int64_t i = first; i < last; i++)
        element_store(type, diff, i, element_load(type, diff, i) + element_load(type, part, i));
}

MULTIVERSION static void add_range(int32_t type, int64_t first, int64_t last, const void *part, void *diff)
{
    WITH_TYPE(type, add_loop(TYPE, first, last, part, diff));
}

/* diff += what another reader's backward had for it */
static void accumulate(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    enum { PIECE = 4096 };
    struct tensor *tensor = ssld_step_src(plan, step, input);
    const void *part = ssld_step_diff_src(plan, step, input);
    int64_t count = ssld_planes_elements(&tensor->planes), pieces = (count + PIECE - 1) / PIECE;
#pragma omp parallel for
    for (int64_t i = 0; i < pieces; i++)
        add_range(plan->type, i * PIECE, i == pieces - 1 ? count : (i + 1) * PIECE, part, tensor->diff);
}

/* While the plan is profiled: what began at `before` has come to its end. */
static double begin_timing(const struct ssld_plan *plan)
{
    return plan->profiled ? ssld_seconds() : 0;
}

static void end_timing(const struct ssld_plan *plan, double before, double *seconds)
{
    if (plan->profiled)
        *seconds += ssld_seconds() - before;
}

static ssld_status run_backward(struct ssld_plan *plan, struct step *step)
{
    ssld_status status = step->op->backward(plan, step);
    double before = begin_timing(plan);
    for (int32_t k = 0; !status && k < step->node->input_count; k++)
        if (step->accumulate >> k & 1)
            accumulate(plan, step, k);
    if (step->accumulate)
        end_timing(plan, before, &step->accumulate_seconds);
    return status;
}

double ssld_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static ssld_status run_action(struct ssld_plan *plan, const struct action *action)
{
    struct step *step = &plan->steps[action->step];
    switch (action->kind) {
    case ACTION_FORWARD:
        return step->op->forward(plan, step);
    case ACTION_OBSERVE:
        return step->op->observe(plan, step);
    case ACTION_BACKWARD:
        return run_backward(plan, step);
    default:
        return step->op->observe_diff(plan, step);
    }
}

static ssld_status run_profiled(struct ssld_plan *plan, struct action *action)
{
    double before = ssld_seconds();
    ssld_status status = run_action(plan, action);
    action->seconds += ssld_seconds() - before;
    return status;
}

/* What a worker runs: its share of these segments' chunks. */
struct work {
    int32_t  first, end; /* segments */
    int32_t  count;      /* images; chunks without any are left out */
    uint64_t step;
    bool     add;        /* to the diffs of parameters that are there */
};

/* What all chunks share, and what follows when all are done, is divided among the workers by step. */
static ssld_status begin_segment(struct ssld_plan *plan, const struct segment *segment, int32_t worker)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = segment->first + worker; !status && i < segment->first + segment->count; i += plan->worker_count) {
        const struct action *action = &plan->actions[i];
        struct step *step = &plan->steps[action->step];
        bool backward = action->kind == ACTION_BACKWARD;
        if (step->op->begin && (backward || action->kind == ACTION_FORWARD))
            status = step->op->begin(plan, step, backward);
    }
    return status;
}

static void end_segment(struct ssld_plan *plan, const struct segment *segment, int32_t worker)
{
    for (int32_t i = segment->first + worker; i < segment->first + segment->count; i += plan->worker_count) {
        struct step *step = &plan->steps[plan->actions[i].step];
        if (plan->actions[i].kind == ACTION_OBSERVE)
            step->op->observed(plan, step);
        else if (plan->actions[i].kind == ACTION_OBSERVE_DIFF)
            step->op->diff_observed(plan, step);
    }
    if (plan->worker_count > 1)
        ssld_workers_join_diffs(plan, segment, worker);
}

static ssld_status run_chunk(struct ssld_plan *plan, const struct segment *segment)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = segment->first; !status && i < segment->first + segment->count; i++)
        status = plan->profiled ? run_profiled(plan, &plan->actions[i]) : run_action(plan, &plan->actions[i]);
    /* The application is asked on the thread that it called from. */
    return status || plan->worker ? status : ssld_check_cancelled(plan->context);
}

/* Chunks first .. end - 1 of so many images are the worker's: neighbours, so that each reads and writes its own part of every
 * tensor, and whole images. */
static void share_of_chunks(const struct ssld_plan *plan, const struct segment *segment, int32_t images, int32_t *first,
                            int32_t *end)
{
    int32_t chunks = (images + segment->images - 1) / segment->images;
    *first = chunks * plan->worker / plan->worker_count * segment->parts;
    *end = chunks * (plan->worker + 1) / plan->worker_count * segment->parts;
}

static ssld_status run_chunks(struct ssld_plan *plan, const struct segment *segment, const struct work *work)
{
    int32_t first, end;
    ssld_status status = SSLD_OK;
    share_of_chunks(plan, segment, work->count, &first, &end);
    for (int32_t i = first; !status && i < end; i++) {
        int32_t chunk = (segment - plan->segments) % 2 ? first + end - 1 - i : i;
        enter_chunk(plan, segment, chunk);
        plan->first_chunk = i == first;
        plan->fresh_diffs = i - first < segment->parts && !(work->add && !plan->worker);
        status = run_chunk(plan, segment);
    }
    return status;
}

static void enter_work(struct ssld_plan *plan, const struct work *work)
{
    for (int32_t worker = 0; worker < plan->worker_count; worker++) {
        struct ssld_plan *view = ssld_worker(plan, worker);
        view->step = work->step;
        view->status = SSLD_OK;
    }
}

static ssld_status first_failure(struct ssld_plan *plan)
{
    ssld_status status = SSLD_OK;
    for (int32_t worker = 0; !status && worker < plan->worker_count; worker++)
        status = ssld_worker(plan, worker)->status;
    return status;
}

/* One worker's way through the segments; all meet between a segment's beginning, its chunks and its end. */
static void run_worker(struct ssld_plan *plan, struct ssld_plan *view, const struct work *work)
{
    for (int32_t s = work->first; s < work->end; s++) {
        const struct segment *segment = &plan->segments[s];
        view->status = begin_segment(view, segment, view->worker);
#pragma omp barrier
        if (first_failure(plan))
            return;
        set_images(view, segment);
        ssld_status status = run_chunks(view, segment, work);
#pragma omp barrier
        view->status = status;
#pragma omp barrier
        if (first_failure(plan))
            return;
        end_segment(plan, segment, view->worker);
#pragma omp barrier
    }
}

static ssld_status run_segments(struct ssld_plan *plan, const struct work *work)
{
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    enter_work(plan, work);
    if (plan->worker_count == 1) {
        run_worker(plan, plan, work);
    } else {
#pragma omp parallel
        {
            /* Whatever the host has set, a worker's operators start no threads of their own. */
            struct thread_settings mine = ssld_threads_enter(1);
            run_worker(plan, ssld_worker(plan, ssld_thread_number()), work);
            ssld_threads_leave(mine);
        }
    }
    ssld_threads_leave(before);
    return first_failure(plan);
}

/* -- Forward and backward ----------------------------------------------------------------------------------------- */

/* Numbers of the network's output, or their diffs. */
static size_t logits_of(const struct ssld_plan *plan)
{
    return (size_t)ssld_value_elements(&plan->graph->values[plan->graph->output]) * (size_t)plan->options.batch;
}

static const float *float_logits(struct ssld_plan *plan)
{
    if (!plan->float_logits)
        return plan->logits;
    for (size_t i = 0; i < logits_of(plan); i++)
        plan->float_logits[i] = bf16_to_float(((const uint16_t *)plan->logits)[i]);
    return plan->float_logits;
}

ssld_status ssld_plan_forward(struct ssld_plan *plan, const float *pixels, int32_t count, uint64_t step,
                              const float **logits)
{
    ssld_status status = check_count(plan, count);
    if (!status)
        status = ssld_threads_check(plan->context);
    if (status)
        return status;
    double start = begin_timing(plan);
    plan->ready = false;
    ssld_memory_clear(plan);
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    load_pixels(plan, pixels, count);
    ssld_threads_leave(before);
    struct work work = { .end = plan->forward_segments, .count = count, .step = step };
    status = run_segments(plan, &work);
    if (!status) {
        plan->ready = true;
        *logits = float_logits(plan);
    }
    end_timing(plan, start, &plan->forward_seconds);
    return status;
}

ssld_status ssld_plan_backward(struct ssld_plan *plan, const float *diff_logits, bool add)
{
    if (!plan->ready || !plan_trains(plan))
        return ssld_fail(plan->context, SSLD_INVALID_ARGUMENT, "%s: backward without a forward before it",
                         plan->graph->name);
    ssld_status status = ssld_threads_check(plan->context);
    if (status)
        return status;
    double start = begin_timing(plan);
    for (size_t i = 0; i < logits_of(plan); i++)
        element_store(plan->type, plan->diff_logits, (int64_t)i, diff_logits[i]);
    plan->ready = false; /* diffs may lie where activations were */
    struct work work = { .first = plan->forward_segments, .end = plan->segment_count, .count = plan->options.batch,
                         .step = plan->step, .add = add };
    status = run_segments(plan, &work);
    end_timing(plan, start, &plan->backward_seconds);
    return status;
}

/* -- Where a loss stopped being finite ---------------------------------------------------------------------------- */

static bool all_finite(int32_t type, const void *values, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        float value = element_load(type, values, (int64_t)i);
        finite &= value - value == 0; /* infinity and NaN less themselves are NaN */
    }
    return finite;
}

static bool is_finite_after(struct ssld_plan *plan, const struct action *action)
{
    const struct tensor *dst = ssld_step_dst(plan, &plan->steps[action->step]);
    return action->kind != ACTION_FORWARD ||
           all_finite(dst->planes.type, dst->data, dst->bytes / element_size(dst->planes.type));
}

/* The first action of the segment, in any chunk, whose output is not finite: its step, or -1. */
static ssld_status look_at_chunks(struct ssld_plan *view, const struct segment *segment, int32_t *suspect)
{
    int32_t first, end;
    ssld_status status = SSLD_OK;
    share_of_chunks(view, segment, view->options.batch, &first, &end);
    set_images(view, segment);
    for (int32_t chunk = first; !status && *suspect < 0 && chunk < end; chunk++) {
        enter_chunk(view, segment, chunk);
        view->first_chunk = chunk == first;
        for (int32_t i = segment->first; !status && *suspect < 0 && i < segment->first + segment->count; i++) {
            status = run_action(view, &view->actions[i]);
            if (!status && !is_finite_after(view, &view->actions[i]))
                *suspect = view->actions[i].step;
        }
    }
    return status;
}

/* One worker after the other: who looks for a fault is in no hurry. */
static ssld_status look_at_segment(struct ssld_plan *plan, const struct segment *segment, int32_t *suspect)
{
    ssld_status status = SSLD_OK;
    for (int32_t worker = 0; !status && worker < plan->worker_count; worker++)
        status = begin_segment(plan, segment, worker);
    for (int32_t worker = 0; !status && *suspect < 0 && worker < plan->worker_count; worker++)
        status = look_at_chunks(ssld_worker(plan, worker), segment, suspect);
    for (int32_t worker = 0; !status && *suspect < 0 && worker < plan->worker_count; worker++)
        end_segment(plan, segment, worker);
    return status;
}

const char *ssld_plan_first_non_finite(struct ssld_plan *plan)
{
    const struct tensor *input = &plan->tensors[plan->graph->input];
    size_t pixels = input->image_bytes / element_size(input->planes.type) * (size_t)plan->options.batch;
    int32_t suspect = -1;
    ssld_status status = SSLD_OK;
    if (!all_finite(input->planes.type, plan->pixels, pixels))
        return "the pixels";
    plan->ready = false;
    struct thread_settings before = ssld_threads_enter(plan_primitive_threads(plan));
    for (int32_t s = 0; !status && suspect < 0 && s < plan->forward_segments; s++)
        status = look_at_segment(plan, &plan->segments[s], &suspect);
    ssld_threads_leave(before);
    return status || suspect < 0 ? NULL : plan->steps[suspect].node->name;
}

bool ssld_plan_is_bf16(const struct ssld_plan *plan)
{
    return plan->type == ELEMENT_BF16;
}

void ssld_plan_run(struct ssld_plan *plan, void (*work)(void *argument), void *argument)
{
    double start = begin_timing(plan);
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    work(argument);
    ssld_threads_leave(before);
    end_timing(plan, start, &plan->outside_seconds);
}
