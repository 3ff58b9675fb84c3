/* SPDX-License-Identifier: BSD-2-Clause */
/* run.c - a plan at work: pixels in, logits out, diffs back. */
#include "engine/kernels.h"

#include <string.h>
#include <time.h>

/* Copy pixels (count, C, H, W) into the input tensor, which may be blocked; images that are not there become zeros. */
static void load_pixels(struct ssld_plan *plan, const float *pixels, int32_t count)
{
    const struct planes *planes = &plan->tensors[plan->graph->input].planes;
    int64_t hw = planes->h * planes->w, image = planes->blocks * hw * planes->b;
#pragma omp parallel for
    for (int64_t n = 0; n < plan->options.batch; n++) {
        float *dst = plan->pixels + n * image;
        const float *src = pixels + n * planes->channels * hw;
        if (n >= count) {
            memset(dst, 0, (size_t)image * sizeof(float));
        } else if (planes->b == 1) {
            memcpy(dst, src, (size_t)image * sizeof(float));
        } else {
            for (int64_t c = 0; c < planes->channels; c++)
                for (int64_t p = 0; p < hw; p++)
                    dst[((c / planes->b) * hw + p) * planes->b + c % planes->b] = src[c * hw + p];
        }
    }
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
    plan->chunk = chunk;
    plan->chunk_first = (int64_t)chunk * segment->images;
    for (int32_t i = 0; i < segment->place_count; i++) {
        const struct place *place = &plan->places[segment->first_place + i];
        float *at = (float *)(place->base + place->stride * (size_t)plan->chunk_first);
        if (place->id >= values)
            plan->steps[place->id - values].workspace = at;
        else if (place->id % 2)
            plan->tensors[place->id / 2].diff = at;
        else
            plan->tensors[place->id / 2].data = at;
    }
}

static void set_images(struct ssld_plan *plan, int32_t images)
{
    for (int32_t v = 0; v < plan->graph->value_count; v++) {
        struct tensor *tensor = &plan->tensors[v];
        if (tensor->parameter >= 0)
            continue;
        tensor->planes.n = images;
        tensor->bytes = tensor->image_bytes * (size_t)images;
    }
}

/* diff += what another reader's backward had for it */
static void accumulate(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    const float *part = ssld_step_diff_src(plan, step, input);
    struct tensor *tensor = ssld_step_src(plan, step, input);
    int64_t count = (int64_t)(tensor->bytes / sizeof(float));
    float *diff = tensor->diff;
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++)
        diff[i] += part[i];
}

static ssld_status run_backward(struct ssld_plan *plan, struct step *step)
{
    ssld_status status = step->op->backward(plan, step);
    for (int32_t k = 0; !status && step->accumulate >> k; k++)
        if (step->accumulate >> k & 1)
            accumulate(plan, step, k);
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

static void end_segment(struct ssld_plan *plan, const struct segment *segment)
{
    for (int32_t i = segment->first; i < segment->first + segment->count; i++) {
        struct step *step = &plan->steps[plan->actions[i].step];
        if (plan->actions[i].kind == ACTION_OBSERVE)
            step->op->observed(plan, step);
        else if (plan->actions[i].kind == ACTION_OBSERVE_DIFF)
            step->op->diff_observed(plan, step);
    }
}

/* `look`, if given, sees every action's result. */
static ssld_status run_segments(struct ssld_plan *plan, int32_t first, int32_t end, bool add,
                                bool (*look)(struct ssld_plan *plan, const struct action *action))
{
    ssld_status status = SSLD_OK;
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    for (int32_t s = first; !status && s < end; s++) {
        const struct segment *segment = &plan->segments[s];
        set_images(plan, segment->images);
        for (int32_t chunk = 0; !status && chunk < plan->options.batch / segment->images; chunk++) {
            enter_chunk(plan, segment, chunk);
            plan->fresh_diffs = chunk == 0 && !add;
            for (int32_t i = segment->first; !status && i < segment->first + segment->count; i++) {
                status = plan->profiled ? run_profiled(plan, &plan->actions[i]) : run_action(plan, &plan->actions[i]);
                if (!status && look && look(plan, &plan->actions[i]))
                    goto done;
            }
            if (!status)
                status = ssld_check_cancelled(plan->context);
        }
        if (!status)
            end_segment(plan, segment);
    }
done:
    ssld_threads_leave(before);
    return status;
}

/* -- Forward and backward ----------------------------------------------------------------------------------------- */

ssld_status ssld_plan_forward(struct ssld_plan *plan, const float *pixels, int32_t count, uint64_t step,
                              const float **logits)
{
    ssld_status status = check_count(plan, count);
    if (!status)
        status = ssld_threads_check(plan->context);
    if (status)
        return status;
    plan->ready = false;
    plan->step = step;
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    load_pixels(plan, pixels, count);
    ssld_threads_leave(before);
    status = run_segments(plan, 0, plan->forward_segments, false, NULL);
    if (!status) {
        plan->ready = true;
        *logits = plan->logits;
    }
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
    const struct tensor *output = &plan->tensors[plan->graph->output];
    memcpy(plan->diff_logits, diff_logits, output->image_bytes * (size_t)plan->options.batch);
    plan->ready = false; /* diffs may lie where activations were */
    return run_segments(plan, plan->forward_segments, plan->segment_count, add, NULL);
}

/* -- Where a loss stopped being finite ---------------------------------------------------------------------------- */

static bool all_finite(const float *values, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++)
        finite &= (values[i] - values[i] == 0); /* infinite and NaN are not */
    return finite;
}

static bool is_not_finite(struct ssld_plan *plan, const struct action *action)
{
    const struct tensor *dst = ssld_step_dst(plan, &plan->steps[action->step]);
    plan->suspect = action->step;
    return action->kind == ACTION_FORWARD && !all_finite(dst->data, dst->bytes / sizeof(float));
}

const char *ssld_plan_first_non_finite(struct ssld_plan *plan)
{
    const struct tensor *input = &plan->tensors[plan->graph->input];
    if (!all_finite(plan->pixels, input->image_bytes / sizeof(float) * (size_t)plan->options.batch))
        return "the pixels";
    plan->ready = false;
    plan->suspect = -1;
    if (run_segments(plan, 0, plan->forward_segments, false, is_not_finite) || plan->suspect < 0)
        return NULL;
    const struct step *step = &plan->steps[plan->suspect];
    const struct tensor *dst = ssld_step_dst(plan, step);
    return all_finite(dst->data, dst->bytes / sizeof(float)) ? NULL : step->node->name;
}

void ssld_plan_run(struct ssld_plan *plan, void (*work)(void *argument), void *argument)
{
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    work(argument);
    ssld_threads_leave(before);
}
