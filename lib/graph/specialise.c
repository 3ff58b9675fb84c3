/* SPDX-License-Identifier: BSD-2-Clause */
/* specialise.c - special operators in the place of general ones, where they are the same: training, fusion and the fastest
 * kernels know the special ones. */
#include "graph/uses.h"

#include <float.h>
#include <string.h>

static const struct ssld_value *input_of(const struct ssld_graph *graph, const struct ssld_node *node, int32_t index)
{
    return &graph->values[node->inputs[index]];
}

static bool is_constant(const struct ssld_graph *graph, int32_t value)
{
    return graph->values[value].role != SSLD_VALUE_ACTIVATION;
}

/* A constant of one number that does not change the shape of what it is joined with. */
static bool number_of(const struct ssld_graph *graph, int32_t value, int32_t ndims, float *number)
{
    const struct ssld_value *constant = &graph->values[value];
    if (!is_constant(graph, value) || !constant->data || ssld_value_elements(constant) != 1 || constant->ndims > ndims)
        return false;
    *number = constant->data[0];
    return true;
}

/* (1, C, H, W) or (1, F): what the special operators take. */
static bool is_one_map(const struct ssld_value *value)
{
    return (value->ndims == 4 || value->ndims == 2) && value->dims[0] == 1;
}

static bool same_dims(const struct ssld_value *a, const struct ssld_value *b)
{
    return a->ndims == b->ndims && !memcmp(a->dims, b->dims, sizeof a->dims);
}

static void become(struct ssld_node *node, int32_t kind, int32_t input_count)
{
    node->kind = kind;
    node->attributes = ssld_op_defaults(kind);
    node->input_count = input_count;
    for (int32_t i = input_count; i < SSLD_MOST_INPUTS; i++)
        node->inputs[i] = SSLD_NO_VALUE;
}

/* -- Two inputs --------------------------------------------------------------------------------------------------- */

/* b is a's number for each channel or each position, as SSLD_OP_MUL takes it. */
static bool is_factor_of(const struct ssld_value *a, const struct ssld_value *b)
{
    bool by_channel = b->dims[1] == a->dims[1] && b->dims[2] == 1 && b->dims[3] == 1;
    bool by_position = b->dims[1] == 1 && b->dims[2] == a->dims[2] && b->dims[3] == a->dims[3];
    return a->ndims == 4 && b->ndims == 4 && (by_channel || by_position);
}

static void specialise_activations(const struct ssld_graph *graph, struct ssld_node *node)
{
    const struct ssld_value *a = input_of(graph, node, 0), *b = input_of(graph, node, 1);
    if (!is_one_map(a) || !is_one_map(b))
        return;
    if (node->attributes.function == SSLD_BINARY_ADD && same_dims(a, b)) {
        become(node, SSLD_OP_ADD, 2);
    } else if (node->attributes.function == SSLD_BINARY_MUL && (same_dims(a, b) || is_factor_of(a, b))) {
        become(node, SSLD_OP_MUL, 2);
    } else if (node->attributes.function == SSLD_BINARY_MUL && is_factor_of(b, a)) {
        int32_t first = node->inputs[0];
        node->inputs[0] = node->inputs[1];
        node->inputs[1] = first;
        become(node, SSLD_OP_MUL, 2);
    }
}

/* x with a constant number: times or divided by it is SCALE, the larger with 0 RELU, a bound CLIP, x^2 is x * x. */
static void specialise_number(const struct ssld_graph *graph, struct ssld_node *node)
{
    int32_t function = node->attributes.function, ndims = graph->values[node->output].ndims;
    float number = 0;
    int constant = is_constant(graph, node->inputs[1]) ? 1 : 0;
    int32_t x = node->inputs[1 - constant];
    bool commutes = function == SSLD_BINARY_MUL || function == SSLD_BINARY_MAX || function == SSLD_BINARY_MIN;
    if (!number_of(graph, node->inputs[constant], ndims, &number) || graph->values[x].ndims != ndims ||
        (!constant && !commutes))
        return;
    if (function == SSLD_BINARY_MUL || (function == SSLD_BINARY_DIV && number != 0)) {
        become(node, SSLD_OP_SCALE, 1);
        node->attributes.scale = function == SSLD_BINARY_MUL ? number : 1 / number;
    } else if (function == SSLD_BINARY_MAX || function == SSLD_BINARY_MIN) {
        bool relu = function == SSLD_BINARY_MAX && number == 0;
        become(node, relu ? SSLD_OP_RELU : SSLD_OP_CLIP, 1);
        if (!relu)
            *(function == SSLD_BINARY_MAX ? &node->attributes.alpha : &node->attributes.beta) = number;
    } else if (function == SSLD_BINARY_POW && number == 0.5f) {
        become(node, SSLD_OP_UNARY, 1);
        node->attributes.function = SSLD_UNARY_SQRT;
    } else if (function == SSLD_BINARY_POW && number == 2) {
        node->inputs[1] = x;
        node->attributes.function = SSLD_BINARY_MUL;
        specialise_activations(graph, node);
        return;
    } else {
        return;
    }
    node->inputs[0] = x;
}

/* -- Biases ------------------------------------------------------------------------------------------------------- */

/* Where the bias of a product goes: the axis of its outputs. */
static int32_t output_axis(const struct ssld_graph *graph, const struct ssld_node *node)
{
    bool fits = node->kind == SSLD_OP_CONV || node->kind == SSLD_OP_GEMM || node->kind == SSLD_OP_MATMUL;
    bool biased = node->input_count > 2 && node->inputs[2] != SSLD_NO_VALUE;
    if (!fits || biased || node->activation.kind != SSLD_OP_IDENTITY)
        return -1;
    return node->kind == SSLD_OP_MATMUL ? graph->values[node->output].ndims - 1 : 1;
}

/* Add of one number for each output, behind a product that nobody else reads, is its bias. */
static ssld_status join_bias(struct ssld_graph *graph, struct uses *uses, struct ssld_node *node, bool *joined)
{
    *joined = false;
    for (int i = 0; i < 2; i++) {
        const struct ssld_value *constant = input_of(graph, node, i);
        struct ssld_node *product = is_constant(graph, node->inputs[i])
                                        ? ssld_uses_sole_producer(graph, uses, node->inputs[1 - i]) : NULL;
        int32_t axis = product ? output_axis(graph, product) : -1, bias;
        if (axis < 0)
            continue;
        const struct ssld_value *dst = &graph->values[product->output];
        int32_t own = axis - (dst->ndims - constant->ndims);
        int64_t count = dst->dims[axis];
        if (ssld_value_elements(constant) != count || own < 0 || constant->dims[own] != count ||
            !same_dims(dst, &graph->values[node->output]))
            continue;
        /* The value stays what it is, under its name: a vector has the same elements. */
        bias = node->inputs[i];
        struct ssld_value *vector = &graph->values[bias];
        vector->ndims = 1;
        for (int32_t d = 0; d < SSLD_MOST_DIMS; d++)
            vector->dims[d] = d ? 1 : count;
        vector->role = SSLD_VALUE_PARAMETER;
        product->inputs[2] = bias;
        product->input_count = 3;
        node->inputs[i] = node->inputs[1 - i];
        ssld_uses_swap_outputs(uses, product, node);
        *joined = true;
        return SSLD_OK;
    }
    return SSLD_OK;
}

/* -- Shapes ------------------------------------------------------------------------------------------------------- */

static bool reduces_height_and_width(const struct ssld_node *node, const struct ssld_value *src)
{
    const int32_t *axes = node->attributes.axes;
    return src->ndims == 4 && src->dims[0] == 1 && !axes[0] && !axes[1] && axes[2] && axes[3];
}

/* Channels begin .. end, everything else as it is. */
static bool is_slice_of_channels(const struct ssld_node *node, const struct ssld_value *src)
{
    const struct ssld_attributes *attributes = &node->attributes;
    for (int32_t i = 0; i < src->ndims; i++)
        if (attributes->steps[i] != 1 || (i != 1 && attributes->sizes[i] != src->dims[i]))
            return false;
    return is_one_map(src);
}

static bool joins_channels(const struct ssld_graph *graph, const struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++)
        if (is_constant(graph, node->inputs[i]) || !is_one_map(input_of(graph, node, i)))
            return false;
    return node->attributes.axis == 1;
}

/* A mean without keepdims is the pool and then a Flatten: the one node that is put in. */
static ssld_status specialise_mean(struct ssld_graph *graph, int32_t n)
{
    struct ssld_node *node = &graph->nodes[n];
    int32_t pooled;
    if (node->attributes.keepdims) {
        become(node, SSLD_OP_GLOBAL_AVERAGE_POOL, 1);
        return SSLD_OK;
    }
    int32_t src = node->inputs[0];
    ssld_status status = ssld_graph_insert_node(graph, n, SSLD_OP_GLOBAL_AVERAGE_POOL, graph->values[node->output].name,
                                                1, &src, NULL, &pooled);
    if (status)
        return status;
    node = &graph->nodes[n + 1];
    node->inputs[0] = pooled;
    become(node, SSLD_OP_FLATTEN, 1);
    return SSLD_OK;
}

/* -- Feature maps ------------------------------------------------------------------------------------------------- */

/* Operators that only work on feature maps, and those whose output is one where an input is. */
static bool makes_map(int32_t kind)
{
    return kind == SSLD_OP_CONV || kind == SSLD_OP_BATCH_NORM || kind == SSLD_OP_MAX_POOL ||
           kind == SSLD_OP_AVERAGE_POOL || kind == SSLD_OP_GLOBAL_AVERAGE_POOL || kind == SSLD_OP_RESIZE ||
           kind == SSLD_OP_LRN;
}

static bool keeps_map(int32_t kind)
{
    return ssld_op_is_activation(kind) || kind == SSLD_OP_UNARY || kind == SSLD_OP_BINARY || kind == SSLD_OP_SCALE ||
           kind == SSLD_OP_PRELU || kind == SSLD_OP_DROPOUT || kind == SSLD_OP_PAD || kind == SSLD_OP_JOIN ||
           kind == SSLD_OP_STRIDED_SLICE || kind == SSLD_OP_LAYER_NORM || kind == SSLD_OP_GROUP_NORM ||
           kind == SSLD_OP_WHERE;
}

/* Which values are feature maps, not just tensors of four axes: made of such, or made into such. The window of a transformer is
 * none, and blocks of its first axis would serve nobody. */
static void find_maps(const struct ssld_graph *graph, bool *maps)
{
    maps[graph->input] = true;
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        bool map = makes_map(node->kind);
        for (int32_t i = 0; i < node->input_count && keeps_map(node->kind); i++)
            map = map || (node->inputs[i] != SSLD_NO_VALUE && maps[node->inputs[i]]);
        maps[node->output] = map && graph->values[node->output].ndims == 4;
    }
    for (int32_t n = graph->node_count - 1; n >= 0; n--) {
        const struct ssld_node *node = &graph->nodes[n];
        bool map = makes_map(node->kind) || (keeps_map(node->kind) && maps[node->output]);
        for (int32_t i = 0; i < node->input_count && map; i++)
            if (node->inputs[i] != SSLD_NO_VALUE)
                maps[node->inputs[i]] = maps[node->inputs[i]] || graph->values[node->inputs[i]].ndims == 4;
    }
}

/* -- The pass ----------------------------------------------------------------------------------------------------- */

static ssld_status specialise_node(struct ssld_graph *graph, const bool *maps, int32_t n)
{
    struct ssld_node *node = &graph->nodes[n];
    const struct ssld_value *src = input_of(graph, node, 0), *dst = &graph->values[node->output];
    int32_t begin = node->attributes.starts[1], size = node->attributes.sizes[1];
    switch (node->kind) {
    case SSLD_OP_BINARY:
        if (is_constant(graph, node->inputs[0]) || is_constant(graph, node->inputs[1]))
            specialise_number(graph, node);
        else
            specialise_activations(graph, node);
        return SSLD_OK;
    case SSLD_OP_REDUCE:
        return node->attributes.function == SSLD_REDUCE_MEAN && reduces_height_and_width(node, src)
                   ? specialise_mean(graph, n)
                   : SSLD_OK;
    case SSLD_OP_RESHAPE:
        if (is_one_map(src) && src->ndims == 4 && dst->ndims == 2 && dst->dims[0] == 1)
            become(node, SSLD_OP_FLATTEN, 1);
        return SSLD_OK;
    case SSLD_OP_JOIN:
        if (joins_channels(graph, node) && (dst->ndims == 2 || maps[node->output]))
            become(node, SSLD_OP_CONCAT, node->input_count);
        return SSLD_OK;
    case SSLD_OP_STRIDED_SLICE:
        if (is_slice_of_channels(node, src) && (src->ndims == 2 || maps[node->output])) {
            become(node, SSLD_OP_SLICE, 1);
            node->attributes.begin = begin;
            node->attributes.end = begin + size;
        }
        return SSLD_OK;
    default:
        return SSLD_OK;
    }
}

/* A reshape of a reshape is one of what that read; one to the shape that is there already, nothing. */
static void join_reshapes(struct ssld_graph *graph, int32_t *producers, int32_t *same_as)
{
    for (int32_t v = 0; v < graph->value_count; v++)
        same_as[v] = v;
    for (int32_t n = 0; n < graph->node_count; n++) {
        struct ssld_node *node = &graph->nodes[n];
        for (int32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] != SSLD_NO_VALUE)
                node->inputs[i] = same_as[node->inputs[i]];
        if (node->kind != SSLD_OP_RESHAPE)
            continue;
        int32_t before = producers[node->inputs[0]];
        if (before != SSLD_NO_VALUE && graph->nodes[before].kind == SSLD_OP_RESHAPE)
            node->inputs[0] = graph->nodes[before].inputs[0];
        if (same_dims(input_of(graph, node, 0), &graph->values[node->output]))
            same_as[node->output] = node->inputs[0];
    }
    graph->output = same_as[graph->output];
}

static ssld_status join_all_reshapes(struct ssld_graph *graph)
{
    size_t count = (size_t)graph->value_count;
    int32_t *producers = ssld_alloc(graph->context, 2 * count * sizeof *producers);
    if (!producers)
        return ssld_fail_memory(graph->context, "a graph pass", 2 * count * sizeof *producers);
    ssld_graph_count_readers(graph, NULL, producers);
    join_reshapes(graph, producers, producers + count);
    ssld_free(graph->context, producers);
    return SSLD_OK;
}

ssld_status ssld_graph_specialise(struct ssld_graph *graph)
{
    struct uses uses = { NULL, NULL };
    bool joined, *maps = NULL;
    ssld_status status = join_all_reshapes(graph);
    if (status || (status = ssld_uses_take(graph, &uses)))
        return status;
    for (int32_t n = 0; n < graph->node_count && !status; n++)
        if (graph->nodes[n].kind == SSLD_OP_BINARY && graph->nodes[n].attributes.function == SSLD_BINARY_ADD)
            status = join_bias(graph, &uses, &graph->nodes[n], &joined);
    ssld_uses_free(graph, &uses);
    if (!status)
        status = ssld_graph_remove_unused(graph);
    if (status)
        return status;
    /* Values that are put in stand behind the last, and are maps that nobody asks about. */
    maps = ssld_alloc_zero(graph->context, (size_t)graph->value_count, sizeof *maps);
    if (!maps)
        return ssld_fail_memory(graph->context, "a graph pass", (size_t)graph->value_count);
    find_maps(graph, maps);
    for (int32_t n = 0; n < graph->node_count && !status; n++)
        status = specialise_node(graph, maps, n);
    ssld_free(graph->context, maps);
    return status;
}
