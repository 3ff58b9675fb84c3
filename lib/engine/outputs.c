/* SPDX-License-Identifier: BSD-2-Clause */
/* outputs.c - values that a plan keeps beside its logits. A kept value counts as read by one more than its nodes, so that no pass
 * fuses it away; its memory lives to the end of forward; and it is given out as plain row-major floats, whatever its layout. */
#include "engine/layouts.h"

/* What inference computes instead of a value that only training has. */
static int32_t seen_by_inference(const struct ssld_graph *graph, const int32_t *producers, int32_t value)
{
    while (producers[value] != SSLD_NO_VALUE) {
        const struct ssld_node *node = &graph->nodes[producers[value]];
        if (node->kind != SSLD_OP_IDENTITY && (node->kind != SSLD_OP_DROPOUT || node->attributes.downscale_in_infer))
            break;
        value = node->inputs[0];
    }
    return value;
}

ssld_status ssld_outputs_mark(struct ssld_plan *plan)
{
    struct ssld_graph *graph = plan->graph;
    int32_t count = plan->options.keep_count;
    if (!count)
        return SSLD_OK;
    int32_t *producers = ssld_alloc(plan->context, (size_t)graph->value_count * sizeof *producers);
    plan->kept = ssld_alloc_zero(plan->context, (size_t)count, sizeof *plan->kept);
    if (!producers || !plan->kept) {
        ssld_free(plan->context, producers);
        return ssld_fail_memory(plan->context, "intermediate outputs", (size_t)count * sizeof *plan->kept);
    }
    ssld_graph_count_readers(graph, NULL, producers);
    for (int32_t i = 0; i < count; i++) {
        struct ssld_value *value = &graph->values[seen_by_inference(graph, producers, plan->options.keep[i])];
        if (!value->kept)
            value->kept = i + 1;
        plan->kept[i].number = value->kept;
    }
    ssld_free(plan->context, producers);
    return SSLD_OK;
}

void ssld_outputs_find(struct ssld_plan *plan)
{
    for (int32_t i = 0; i < plan->options.keep_count; i++)
        for (int32_t v = 0; v < plan->graph->value_count; v++)
            if (plan->graph->values[v].kept == plan->kept[i].number)
                plan->kept[i].value = v;
}

bool ssld_output_is_kept(const struct ssld_plan *plan, int32_t value)
{
    for (int32_t i = 0; i < plan->options.keep_count; i++)
        if (plan->layouts[plan->kept[i].value].root == value || plan->kept[i].value == value)
            return true;
    return false;
}

/* The layout pass has a way from any layout to a dense one: at worst in two parts, full blocks and the rest. */
static int32_t walks_of(const struct ssld_plan *plan, int32_t index, struct walk walks[2])
{
    const struct ssld_value *value = &plan->graph->values[index];
    const struct layout *src = ssld_layout_of(plan, index);
    const struct layout dense = { .root = index, .has_view = true, .view = ssld_view_dense(value->ndims, value->dims) };
    const struct view *views[2] = { &dense.view, &src->view };
    if (ssld_value_is_map(value))
        return ssld_reorder_walks(value->dims, plan_block_of(plan, value->dims[1]), src, &dense, walks);
    return ssld_walk_make(2, views, &walks[0]);
}

ssld_status ssld_plan_output(const struct ssld_plan *plan, int32_t index, int32_t count, float *dst)
{
    const struct kept *kept = &plan->kept[index];
    const struct tensor *root = &plan->tensors[ssld_layout_of(plan, kept->value)->root];
    struct walk walks[2];
    int32_t parts = walks_of(plan, kept->value, walks);
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    for (int32_t i = 0; i < parts; i++)
        ssld_walk_copy(&walks[i], count, root->planes.type, kept->data, ELEMENT_F32, dst);
    ssld_threads_leave(before);
    return parts ? SSLD_OK : ssld_fail(plan->context, SSLD_INTERNAL, "'%s': no loops", plan->graph->values[kept->value].name);
}
