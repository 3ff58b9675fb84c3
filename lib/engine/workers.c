/* SPDX-License-Identifier: BSD-2-Clause */
/* workers.c - each thread takes images of its own through a whole segment.
 *
 * Two ways to use n threads: split every operator over them, or give each thread a chunk of its own. The second has no barrier
 * behind every operator, a thread's chunk stays in the cache next to it, and while one thread waits for memory (batch norm)
 * another computes (convolution). So a plan has a worker for each thread, where the batch has enough images: views of the plan
 * that share everything but what the chunk at hand changes: where tensors stand, scratch memory, and the sums that make a
 * parameter's diff, which are joined at the end of a segment in the workers' order (the same bits in every run). */
#include "engine/plan.h"

#include <string.h>

/* Workers' diffs of a segment's parameters cost memory that a split operator does not need. A segment has more than one parameter
 * as a rule, but rarely two large ones. */
#define MOST_DIFF_BYTES ((size_t)1 << 30)

static size_t largest_parameter_bytes(const struct ssld_graph *graph)
{
    size_t most = 0;
    for (int32_t v = 0; v < graph->value_count; v++) {
        size_t bytes = (size_t)ssld_value_elements(&graph->values[v]) * sizeof(float);
        if (graph->values[v].role == SSLD_VALUE_PARAMETER && bytes > most)
            most = bytes;
    }
    return most;
}

int32_t ssld_workers_wanted(const struct ssld_graph *graph, const struct ssld_plan_options *options)
{
    int32_t threads = options->threads;
    bool even = options->batch % threads == 0 || options->batch >= 4 * threads;
    bool small = options->mode != SSLD_PLAN_TRAIN || largest_parameter_bytes(graph) <= MOST_DIFF_BYTES / (size_t)threads;
    return threads > 1 && even && small ? threads : 1;
}

struct ssld_plan *ssld_worker(struct ssld_plan *plan, int32_t worker)
{
    return worker ? &plan->workers[worker - 1] : plan;
}

/* -- Making the views --------------------------------------------------------------------------------------------- */

static ssld_status copy_lists(const struct ssld_plan *plan, struct ssld_plan *view)
{
    const struct {
        void      **list;
        const void *from;
        size_t      bytes;
    } lists[] = {
        { (void **)&view->tensors, plan->tensors, (size_t)plan->graph->value_count * sizeof *plan->tensors },
        { (void **)&view->steps, plan->steps, (size_t)plan->graph->node_count * sizeof *plan->steps },
        { (void **)&view->parameters, plan->parameters, (size_t)plan->parameter_count * sizeof *plan->parameters },
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        *lists[i].list = NULL;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        *lists[i].list = ssld_alloc(plan->context, lists[i].bytes);
        if (!*lists[i].list)
            return ssld_fail_memory(plan->context, "a worker of a plan", lists[i].bytes);
        memcpy(*lists[i].list, lists[i].from, lists[i].bytes);
    }
    return SSLD_OK;
}

/* Where a worker but the first sums up a parameter's diff, until the segment is over. */
static float *part_of_diff(const struct ssld_plan *plan, const struct parameter *parameter, int32_t worker)
{
    return (float *)plan->values + plan->values_count + plan->diffs_count + plan->parts_count * ((size_t)worker - 1) +
           parameter->part;
}

static void take_pieces(struct ssld_plan *view)
{
    size_t worker = (size_t)view->worker;
    view->scratchpad += worker * view->scratchpad_bytes;
    view->reordered_diff += worker * view->reordered_diff_bytes;
    view->diff_part += worker * view->diff_part_bytes;
    view->bias_part += worker * view->bias_part_bytes;
    view->widened += worker * view->widened_bytes;
    view->last += worker * view->last_bytes;
    view->partial += worker * view->partial_bytes;
    view->accumulator += worker * view->accumulators * view->accumulator_bytes;
    for (int32_t i = 0; i < view->parameter_count; i++)
        if (view->parameters[i].visible.diff)
            view->parameters[i].visible.diff = part_of_diff(view, &view->parameters[i], view->worker);
}

static ssld_status make_view(struct ssld_plan *plan, int32_t worker)
{
    struct ssld_plan *view = ssld_worker(plan, worker);
    *view = *plan;
    view->worker = worker;
    view->workers = NULL;
    view->dnnl = (struct ssld_dnnl){ .context = plan->context };
    ssld_status status = copy_lists(plan, view);
    if (!status)
        status = ssld_dnnl_share(&plan->dnnl, &view->dnnl);
    if (!status)
        take_pieces(view);
    return status;
}

ssld_status ssld_workers_make(struct ssld_plan *plan)
{
    ssld_status status = SSLD_OK;
    if (plan->worker_count == 1)
        return SSLD_OK;
    struct ssld_plan *views = ssld_alloc_zero(plan->context, (size_t)plan->worker_count - 1, sizeof *views);
    if (!views)
        return ssld_fail_memory(plan->context, "a plan's workers", (size_t)plan->worker_count * sizeof *views);
    plan->workers = views;
    for (int32_t worker = 1; !status && worker < plan->worker_count; worker++)
        status = make_view(plan, worker);
    return status;
}

void ssld_workers_release(struct ssld_plan *plan)
{
    for (int32_t worker = 1; plan->workers && worker < plan->worker_count; worker++) {
        struct ssld_plan *view = ssld_worker(plan, worker);
        ssld_free(plan->context, view->tensors);
        ssld_free(plan->context, view->steps);
        ssld_free(plan->context, view->parameters);
        ssld_dnnl_unshare(&view->dnnl);
    }
    ssld_free(plan->context, plan->workers);
    plan->workers = NULL;
}

/* -- Joining ------------------------------------------------------------------------------------------------------ */

/* The first's share of a parameter's diff += the others'. A step's workers divide the numbers among them. Behind what backward gives,
 * the others' have what is left of another segment. */
static void join_diff(const struct ssld_plan *plan, const struct parameter *parameter, int32_t worker)
{
    size_t count = parameter->given, workers = (size_t)plan->worker_count;
    size_t first = count * (size_t)worker / workers, last = count * ((size_t)worker + 1) / workers;
    for (int32_t other = 1; other < plan->worker_count; other++) {
        float *restrict sum = parameter->visible.diff;
        const float *restrict part = part_of_diff(plan, parameter, other);
#pragma omp simd
        for (size_t i = first; i < last; i++)
            sum[i] += part[i];
    }
}

void ssld_workers_join_diffs(struct ssld_plan *plan, const struct segment *segment, int32_t worker)
{
    for (int32_t a = segment->first; a < segment->first + segment->count; a++) {
        const struct step *step = &plan->steps[plan->actions[a].step];
        for (int32_t k = 1; k < step->node->input_count; k++) {
            const struct parameter *parameter = ssld_action_parameter(plan, &plan->actions[a], k);
            if (parameter)
                join_diff(plan, parameter, worker);
        }
    }
}
