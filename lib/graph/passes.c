/* SPDX-License-Identifier: BSD-2-Clause */
/* passes.c - changes to a whole graph: folding, fusing, dropping. Each leaves a graph that ssld_graph_check() accepts. */
#include "graph/uses.h"

#include <math.h>
#include <string.h>

/* -- Unused nodes and values -------------------------------------------------------------------------------------- */

static void mark_live(const struct ssld_graph *graph, bool *live_nodes, bool *live_values)
{
    for (int32_t i = 0; i < graph->value_count; i++)
        live_values[i] = i == graph->output || graph->values[i].kept;
    for (int32_t n = graph->node_count - 1; n >= 0; n--) {
        const struct ssld_node *node = &graph->nodes[n];
        if (!live_values[node->output])
            continue;
        live_nodes[n] = true;
        for (int32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] != SSLD_NO_VALUE)
                live_values[node->inputs[i]] = true;
    }
    live_values[graph->input] = true;
}

ssld_status ssld_graph_remove_unused(struct ssld_graph *graph)
{
    size_t values = (size_t)graph->value_count, nodes = (size_t)graph->node_count;
    ssld_status status = SSLD_OK;
    int32_t kept = 0;
    int32_t *renumbered = ssld_alloc(graph->context, values * sizeof *renumbered);
    bool *live = ssld_alloc_zero(graph->context, values + nodes, sizeof *live);
    if (!renumbered || !live) {
        status = ssld_fail_memory(graph->context, "a graph pass", values * sizeof *renumbered);
        goto done;
    }
    mark_live(graph, live + values, live);
    for (int32_t i = 0; i < graph->value_count; i++) {
        if (!live[i]) {
            ssld_free(graph->context, graph->values[i].name);
            ssld_free(graph->context, graph->values[i].data);
            continue;
        }
        renumbered[i] = kept;
        graph->values[kept++] = graph->values[i];
    }
    graph->value_count = kept;
    graph->input = renumbered[graph->input];
    graph->output = renumbered[graph->output];
    kept = 0;
    for (int32_t n = 0; n < graph->node_count; n++) {
        struct ssld_node *node = &graph->nodes[n];
        if (!live[values + (size_t)n]) {
            ssld_free(graph->context, node->name);
            continue;
        }
        for (int32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] != SSLD_NO_VALUE)
                node->inputs[i] = renumbered[node->inputs[i]];
        node->output = renumbered[node->output];
        graph->nodes[kept++] = *node;
    }
    graph->node_count = kept;
done:
    ssld_free(graph->context, renumbered);
    ssld_free(graph->context, live);
    return status;
}

/* -- Batch norm into convolutions --------------------------------------------------------------------------------- */

/* New weights and bias beside the old ones, which other nodes may read too:
 *
 *   factor = scale / sqrt(variance + epsilon)      weights' = weights * factor      bias' = (bias - mean) * factor + shift */
static ssld_status fold_weights(struct ssld_graph *graph, const struct ssld_node *conv, const struct ssld_node *norm,
                                int32_t *weights, int32_t *bias)
{
    const struct ssld_value *old = &graph->values[conv->inputs[1]];
    int64_t outputs = old->dims[0], each = ssld_value_elements(old) / outputs;
    int64_t weight_dims[SSLD_MOST_DIMS];
    memcpy(weight_dims, old->dims, sizeof weight_dims);
    /* Adding a value may move the array: pointers to data survive, pointers to values do not. */
    ssld_status status = ssld_graph_add_value(graph, NULL, SSLD_VALUE_PARAMETER, 4, weight_dims, old->data, weights);
    if (!status)
        status = ssld_graph_add_value(graph, NULL, SSLD_VALUE_PARAMETER, 1, &outputs, NULL, bias);
    if (status)
        return status;

    float *new_weights = graph->values[*weights].data, *new_bias = graph->values[*bias].data;
    const float *old_bias = conv->input_count > 2 && conv->inputs[2] != SSLD_NO_VALUE
                                ? graph->values[conv->inputs[2]].data : NULL;
    const float *scale = graph->values[norm->inputs[1]].data, *shift = graph->values[norm->inputs[2]].data;
    const float *mean = graph->values[norm->inputs[3]].data, *variance = graph->values[norm->inputs[4]].data;
    for (int64_t o = 0; o < outputs; o++) {
        double factor = scale[o] / sqrt((double)variance[o] + norm->attributes.epsilon);
        for (int64_t i = o * each; i < (o + 1) * each; i++)
            new_weights[i] = (float)(new_weights[i] * factor);
        new_bias[o] = (float)(((old_bias ? old_bias[o] : 0.0) - mean[o]) * factor + shift[o]);
    }
    return SSLD_OK;
}

ssld_status ssld_graph_fold_batch_norm(struct ssld_graph *graph)
{
    struct uses uses = { NULL, NULL };
    ssld_status status = ssld_uses_take(graph, &uses);
    if (status)
        return status;
    for (int32_t n = 0; n < graph->node_count && !status; n++) {
        struct ssld_node *norm = &graph->nodes[n];
        struct ssld_node *conv = norm->kind == SSLD_OP_BATCH_NORM ? ssld_uses_sole_producer(graph, &uses, norm->inputs[0]) : NULL;
        if (!conv || conv->kind != SSLD_OP_CONV || conv->activation.kind != SSLD_OP_IDENTITY)
            continue;
        int32_t weights, bias;
        status = fold_weights(graph, conv, norm, &weights, &bias);
        if (status)
            break;
        conv->inputs[1] = weights;
        conv->inputs[2] = bias;
        conv->input_count = 3;
        conv->activation = norm->activation;
        ssld_uses_swap_outputs(&uses, conv, norm);
    }
    ssld_uses_free(graph, &uses);
    return status ? status : ssld_graph_remove_unused(graph);
}

/* -- Activations into the nodes before them ----------------------------------------------------------------------- */

/* Training's backward computes batch norm's output again and sees a ReLU's sign in its result; it keeps what other nodes give. */
static bool takes_activation(const struct ssld_node *node, int32_t activation, bool for_training)
{
    if (node->activation.kind != SSLD_OP_IDENTITY)
        return false;
    if (for_training)
        return node->kind == SSLD_OP_BATCH_NORM || (node->kind == SSLD_OP_ADD && activation == SSLD_OP_RELU);
    return node->kind == SSLD_OP_CONV || node->kind == SSLD_OP_BATCH_NORM || node->kind == SSLD_OP_ADD ||
           node->kind == SSLD_OP_GEMM;
}

ssld_status ssld_graph_fuse_activations(struct ssld_graph *graph, bool for_training)
{
    struct uses uses = { NULL, NULL };
    ssld_status status = ssld_uses_take(graph, &uses);
    if (status)
        return status;
    for (int32_t n = 0; n < graph->node_count; n++) {
        struct ssld_node *node = &graph->nodes[n];
        struct ssld_node *before = ssld_op_is_activation(node->kind) ? ssld_uses_sole_producer(graph, &uses, node->inputs[0]) : NULL;
        if (!before || !takes_activation(before, node->kind, for_training))
            continue;
        before->activation = ssld_node_as_activation(node);
        ssld_uses_swap_outputs(&uses, before, node);
    }
    ssld_uses_free(graph, &uses);
    return ssld_graph_remove_unused(graph);
}

/* -- Products of x and a gate of x -------------------------------------------------------------------------------- */

static bool close_to(float number, double wanted)
{
    return fabs((double)number - wanted) < 1e-6;
}

/* The node of this kind that makes `value` for a single reader; NULL if there is none. */
static struct ssld_node *sole_of_kind(struct ssld_graph *graph, const struct uses *uses, int32_t value, int32_t kind)
{
    struct ssld_node *node = ssld_uses_sole_producer(graph, uses, value);
    return node && node->kind == kind && node->activation.kind == SSLD_OP_IDENTITY ? node : NULL;
}

/* The other input of a node of two, one of which is `value`; SSLD_NO_VALUE if none is. */
static int32_t other_input(const struct ssld_node *node, int32_t value)
{
    return node->inputs[0] == value ? node->inputs[1] : node->inputs[1] == value ? node->inputs[0] : SSLD_NO_VALUE;
}

/* `value` is 2 * sqrt(2 / pi) * (x + 0.044715 * (x * x) * x). */
static bool is_gelu_argument(struct ssld_graph *graph, const struct uses *uses, int32_t value, int32_t x)
{
    const struct ssld_node *outer = sole_of_kind(graph, uses, value, SSLD_OP_SCALE);
    const struct ssld_node *sum = outer ? sole_of_kind(graph, uses, outer->inputs[0], SSLD_OP_ADD) : NULL;
    int32_t term = sum ? other_input(sum, x) : SSLD_NO_VALUE;
    const struct ssld_node *inner = term != SSLD_NO_VALUE ? sole_of_kind(graph, uses, term, SSLD_OP_SCALE) : NULL;
    const struct ssld_node *cube = inner ? sole_of_kind(graph, uses, inner->inputs[0], SSLD_OP_MUL) : NULL;
    int32_t factor = cube ? other_input(cube, x) : SSLD_NO_VALUE;
    const struct ssld_node *square = factor != SSLD_NO_VALUE ? sole_of_kind(graph, uses, factor, SSLD_OP_MUL) : NULL;
    return square && square->inputs[0] == x && square->inputs[1] == x &&
           close_to(outer->attributes.scale, 1.5957691216057308) && close_to(inner->attributes.scale, 0.044715);
}

/* What x times the value `gate` is; SSLD_OP_MUL if nothing better. */
static int32_t kind_of_product(struct ssld_graph *graph, const struct uses *uses, int32_t x, int32_t gate)
{
    const struct ssld_node *node = ssld_uses_sole_producer(graph, uses, gate);
    if (!node)
        return SSLD_OP_MUL;
    if (node->kind == SSLD_OP_HARD_SIGMOID && node->inputs[0] == x && close_to(node->attributes.alpha, 1.0 / 6) &&
        node->attributes.beta == 0.5f)
        return SSLD_OP_HARD_SWISH;
    if (node->kind == SSLD_OP_SIGMOID && node->inputs[0] == x)
        return SSLD_OP_SILU;
    if (node->kind == SSLD_OP_SIGMOID && is_gelu_argument(graph, uses, node->inputs[0], x))
        return SSLD_OP_GELU_TANH;
    return SSLD_OP_MUL;
}

ssld_status ssld_graph_join_gates(struct ssld_graph *graph)
{
    struct uses uses = { NULL, NULL };
    ssld_status status = ssld_uses_take(graph, &uses);
    if (status)
        return status;
    for (int32_t n = 0; n < graph->node_count; n++) {
        struct ssld_node *node = &graph->nodes[n];
        for (int32_t i = 0; i < 2 && node->kind == SSLD_OP_MUL; i++) {
            int32_t x = node->inputs[i], kind = kind_of_product(graph, &uses, x, node->inputs[1 - i]);
            if (kind == SSLD_OP_MUL)
                continue;
            node->kind = kind;
            node->attributes = ssld_op_defaults(kind);
            node->inputs[0] = x;
            node->inputs[1] = SSLD_NO_VALUE;
            node->input_count = 1;
        }
    }
    ssld_uses_free(graph, &uses);
    return ssld_graph_remove_unused(graph);
}

/* -- What only training needs ------------------------------------------------------------------------------------- */

ssld_status ssld_graph_drop_training_nodes(struct ssld_graph *graph)
{
    size_t size = (size_t)graph->value_count * sizeof(int32_t);
    int32_t *same_as = ssld_alloc(graph->context, size); /* the value that stands for each */
    if (!same_as)
        return ssld_fail_memory(graph->context, "a graph pass", size);
    for (int32_t i = 0; i < graph->value_count; i++)
        same_as[i] = i;
    for (int32_t n = 0; n < graph->node_count; n++) {
        struct ssld_node *node = &graph->nodes[n];
        for (int32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] != SSLD_NO_VALUE)
                node->inputs[i] = same_as[node->inputs[i]];
        if (node->kind == SSLD_OP_DROPOUT && node->attributes.downscale_in_infer) {
            float scale = 1.0f - node->attributes.ratio;
            node->kind = SSLD_OP_SCALE;
            node->attributes = ssld_op_defaults(SSLD_OP_SCALE);
            node->attributes.scale = scale;
        } else if (node->kind == SSLD_OP_DROPOUT || node->kind == SSLD_OP_IDENTITY) {
            same_as[node->output] = node->inputs[0];
        }
    }
    graph->output = same_as[graph->output];
    ssld_free(graph->context, same_as);
    return ssld_graph_remove_unused(graph);
}
