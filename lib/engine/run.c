/* SPDX-License-Identifier: BSD-2-Clause */
/* run.c - a plan at work: pixels in, logits out, diffs back. */
#include "engine/kernels.h"

#include <string.h>

/* Copy pixels (count, C, H, W) into the input tensor, which may be blocked; images that are not there become zeros. */
static void load_pixels(struct ssld_plan *plan, const float *pixels, int32_t count)
{
    struct tensor *input = &plan->tensors[plan->graph->input];
    const struct planes *planes = &input->planes;
    int64_t hw = planes->h * planes->w, image = planes->blocks * hw * planes->b;
#pragma omp parallel for
    for (int64_t n = 0; n < planes->n; n++) {
        float *dst = input->data + n * image;
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

ssld_status ssld_plan_forward(struct ssld_plan *plan, const float *pixels, int32_t count, uint64_t step,
                              const float **logits)
{
    ssld_status status = check_count(plan, count);
    if (!status)
        status = ssld_threads_check(plan->context);
    if (status)
        return status;
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    plan->ready = false;
    plan->step = step;
    load_pixels(plan, pixels, count);
    for (int32_t i = 0; !status && i < plan->graph->node_count; i++) {
        status = plan->steps[i].op->forward(plan, &plan->steps[i]);
        if (!status)
            status = ssld_check_cancelled(plan->context);
    }
    ssld_threads_leave(before);
    if (!status) {
        plan->ready = true;
        *logits = plan->tensors[plan->graph->output].data;
    }
    return status;
}

/* diff += what a later reader's backward had for it */
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

ssld_status ssld_plan_backward(struct ssld_plan *plan, const float *diff_logits)
{
    if (!plan->ready || !plan_trains(plan))
        return ssld_fail(plan->context, SSLD_INVALID_ARGUMENT, "%s: backward without a forward before it",
                         plan->graph->name);
    ssld_status status = ssld_threads_check(plan->context);
    if (status)
        return status;
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    struct tensor *output = &plan->tensors[plan->graph->output];
    memcpy(output->diff, diff_logits, output->bytes);
    for (int32_t i = plan->graph->node_count - 1; !status && i >= 0; i--) {
        struct step *step = &plan->steps[i];
        if (!ssld_step_dst(plan, step)->wants_diff)
            continue;
        status = step->op->backward(plan, step);
        for (int32_t k = 0; !status && k < step->node->input_count; k++)
            if (step->accumulate >> k & 1)
                accumulate(plan, step, k);
        if (!status)
            status = ssld_check_cancelled(plan->context);
    }
    plan->ready = false; /* diffs may lie where activations were */
    ssld_threads_leave(before);
    return status;
}

void ssld_plan_run(struct ssld_plan *plan, void (*work)(void *argument), void *argument)
{
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    work(argument);
    ssld_threads_leave(before);
}
