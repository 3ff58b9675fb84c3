/* SPDX-License-Identifier: BSD-2-Clause */
/* transposes.c - transposes are put off until something needs the order of elements they make.
 *
 * The nodes are walked once and written anew. A TRANSPOSE is not written: its output is noted as (base, perm), "what the base is
 * with its axes in that order". Transposes of such a value compose; where nothing is left, it is the base. For a feature map whose
 * channels a file has last, operators that can do as well with (N, C, H, W) are written for the base, with their axes, pads and
 * constants reordered, and their output is noted likewise; a product with a constant matrix is a 1 x 1 convolution there. All
 * other operators get what they read made first: once, wherever it is read first; as a RESHAPE where axes of one element alone
 * change places. */
#include "graph/evaluate.h"

#include <stdio.h>
#include <string.h>

struct view {
    int32_t base; /* SSLD_NO_VALUE: the value is made as it is */
    int32_t perm[SSLD_MOST_DIMS]; /* axis i of the value is axis perm[i] of the base */
    int32_t stand_in; /* a value that the pass made for this one, whose name it may have */
};

struct mover {
    struct ssld_graph *graph; /* with the nodes written so far */
    struct view       *views; /* of the values that were there before */
    int32_t            old_values;
};

static const int32_t to_last[4] = { 0, 2, 3, 1 };

static struct view *view_of(const struct mover *mover, int32_t value)
{
    bool put_off = value != SSLD_NO_VALUE && value < mover->old_values && mover->views[value].base != SSLD_NO_VALUE;
    return put_off ? &mover->views[value] : NULL;
}

/* A feature map with its channels last. */
static bool is_map(const struct mover *mover, const struct view *view)
{
    const struct ssld_value *base = view ? &mover->graph->values[view->base] : NULL;
    return base && base->ndims == 4 && base->dims[0] == 1 && !memcmp(view->perm, to_last, sizeof to_last);
}

/* Are the elements in the same order as the base's? Axes of one element do not count. */
static bool keeps_order(const struct ssld_value *base, const int32_t *perm)
{
    int32_t last = -1;
    for (int32_t i = 0; i < base->ndims; i++) {
        if (base->dims[perm[i]] == 1)
            continue;
        if (perm[i] < last)
            return false;
        last = perm[i];
    }
    return true;
}

static struct ssld_attributes reshape_to(const struct ssld_value *value)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_RESHAPE);
    attributes.rank = value->ndims;
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        attributes.sizes[i] = (int32_t)value->dims[i];
    return attributes;
}

/* -- Writing nodes ------------------------------------------------------------------------------------------------ */

/* A node whose output is a value that is there. */
static ssld_status write_making(struct mover *mover, int32_t kind, const struct ssld_attributes *attributes,
                                int32_t src, int32_t output)
{
    struct ssld_graph *graph = mover->graph;
    struct ssld_node node = { .kind = kind, .input_count = 1, .output = output, .attributes = *attributes,
                              .activation.kind = SSLD_OP_IDENTITY };
    for (int32_t i = 0; i < SSLD_MOST_INPUTS; i++)
        node.inputs[i] = SSLD_NO_VALUE;
    node.inputs[0] = src;
    node.name = ssld_strdup(graph->context, graph->values[output].name);
    if (!node.name)
        return ssld_fail_memory(graph->context, "a node's name", strlen(graph->values[output].name));
    return ssld_graph_append_node(graph, &node);
}

/* Make a value whose transpose was put off. */
static ssld_status make(struct mover *mover, int32_t value)
{
    struct view *view = view_of(mover, value);
    if (!view)
        return SSLD_OK;
    const struct ssld_value *base = &mover->graph->values[view->base];
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_TRANSPOSE);
    int32_t kind = SSLD_OP_TRANSPOSE, from = view->base;
    memcpy(attributes.perm, view->perm, sizeof attributes.perm);
    if (keeps_order(base, view->perm)) {
        kind = SSLD_OP_RESHAPE;
        attributes = reshape_to(&mover->graph->values[value]);
    }
    view->base = SSLD_NO_VALUE;
    view->stand_in = SSLD_NO_VALUE;
    return write_making(mover, kind, &attributes, from, value);
}

/* The node as it was, its inputs made. */
static ssld_status keep_node(struct mover *mover, struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        ssld_status status = make(mover, node->inputs[i]);
        if (status)
            return status;
    }
    struct ssld_node moved = *node;
    node->name = NULL; /* the new node has it now */
    return ssld_graph_append_node(mover->graph, &moved);
}

/* A node in the place of another, for the base: its output is what the old one's output is a view of. */
static ssld_status write_for_base(struct mover *mover, const struct ssld_node *old, int32_t kind, int32_t input_count,
                                  const int32_t *inputs, const struct ssld_attributes *attributes, const int32_t *perm)
{
    char name[256];
    int32_t output;
    snprintf(name, sizeof name, "%.200s_in_planes_%d", mover->graph->values[old->output].name, old->output);
    ssld_status status =
        ssld_graph_add_node(mover->graph, kind, old->name, input_count, inputs, attributes, name, &output);
    if (status)
        return status;
    struct ssld_node *node = &mover->graph->nodes[mover->graph->node_count - 1];
    node->activation = old->activation;
    struct view *view = &mover->views[old->output];
    view->base = view->stand_in = output;
    memcpy(view->perm, perm, sizeof view->perm);
    return SSLD_OK;
}

/* -- Constants ---------------------------------------------------------------------------------------------------- */

/* A constant as the base's axes want it: with the same rank, axes in the base's order. */
static ssld_status reorder_constant(struct mover *mover, int32_t value, const int32_t *perm, int32_t ndims,
                                    int32_t *reordered)
{
    struct ssld_graph *graph = mover->graph;
    struct ssld_value src = graph->values[value], dst = src;
    struct ssld_node node = { .kind = SSLD_OP_TRANSPOSE, .input_count = 1 };
    char name[256];
    int32_t shift = ndims - src.ndims;
    if (ssld_value_elements(&src) == 1) {
        *reordered = value;
        return SSLD_OK;
    }
    src.ndims = dst.ndims = ndims;
    for (int32_t i = ndims - 1; i >= 0; i--)
        src.dims[i] = i < shift ? 1 : src.dims[i - shift];
    for (int32_t i = 0; i < ndims; i++) {
        node.attributes.perm[perm[i]] = i;
        dst.dims[perm[i]] = src.dims[i];
    }
    snprintf(name, sizeof name, "%.200s_in_planes_%d", src.name, graph->value_count);
    ssld_status status = ssld_graph_add_value(graph, name, src.role, ndims, dst.dims, src.data, reordered);
    if (status)
        return status;
    graph->values[*reordered].no_decay = src.no_decay;
    const struct ssld_value *inputs[1] = { &src };
    const void *data[1] = { src.data };
    return ssld_move_elements(graph->context, &node, inputs, data, sizeof(float), NULL, &graph->values[*reordered],
                              graph->values[*reordered].data);
}

/* -- Operators that do as well with planes ------------------------------------------------------------------------ */

static bool is_elementwise(int32_t kind)
{
    return ssld_op_is_activation(kind) || kind == SSLD_OP_UNARY || kind == SSLD_OP_SCALE || kind == SSLD_OP_DROPOUT ||
           kind == SSLD_OP_IDENTITY || kind == SSLD_OP_BINARY || kind == SSLD_OP_WHERE || kind == SSLD_OP_ADD;
}

static bool goes_by_axes(int32_t kind)
{
    return kind == SSLD_OP_SOFTMAX || kind == SSLD_OP_LOG_SOFTMAX || kind == SSLD_OP_LAYER_NORM ||
           kind == SSLD_OP_JOIN || kind == SSLD_OP_GATHER || kind == SSLD_OP_STRIDED_SLICE || kind == SSLD_OP_PAD ||
           kind == SSLD_OP_TILE || kind == SSLD_OP_REDUCE;
}

/* What says something of each axis, said for the base's axes. */
static struct ssld_attributes reorder_attributes(const struct ssld_node *node, const int32_t *perm)
{
    const struct ssld_attributes *from = &node->attributes;
    struct ssld_attributes attributes = *from;
    attributes.axis = from->axis >= 0 && from->axis < 4 ? perm[from->axis] : from->axis;
    for (int32_t i = 0; i < 4; i++) {
        attributes.axes[perm[i]] = from->axes[i];
        attributes.sizes[perm[i]] = from->sizes[i];
        attributes.starts[perm[i]] = from->starts[i];
        attributes.steps[perm[i]] = from->steps[i];
        attributes.before[perm[i]] = from->before[i];
        attributes.after[perm[i]] = from->after[i];
    }
    return attributes;
}

/* Inputs as the base's axes want them, SSLD_NO_VALUE in inputs[0] if one of them cannot be had so: activations must be such
 * maps themselves. */
static ssld_status planes_of_inputs(struct mover *mover, const struct ssld_node *node, bool broadcasts, int32_t *inputs)
{
    int32_t ndims = 4;
    for (int32_t i = 0; i < node->input_count; i++) {
        const struct ssld_value *value = &mover->graph->values[node->inputs[i]];
        bool constant = value->role != SSLD_VALUE_ACTIVATION;
        if (!is_map(mover, view_of(mover, node->inputs[i])) &&
            !(constant && value->ndims <= ndims && (broadcasts || value->ndims == 4))) {
            inputs[0] = SSLD_NO_VALUE;
            return SSLD_OK;
        }
    }
    for (int32_t i = 0; i < node->input_count; i++) {
        struct view *view = view_of(mover, node->inputs[i]);
        ssld_status status = SSLD_OK;
        if (view)
            inputs[i] = view->base;
        else
            status = reorder_constant(mover, node->inputs[i], to_last, ndims, &inputs[i]);
        if (status)
            return status;
    }
    return SSLD_OK;
}

static bool reads_map(const struct mover *mover, const struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++)
        if (is_map(mover, view_of(mover, node->inputs[i])))
            return true;
    return false;
}

/* Without keepdims the axes that are left are in a new order. */
static void perm_after_reduce(const struct ssld_node *node, int32_t perm[SSLD_MOST_DIMS])
{
    int32_t left[SSLD_MOST_DIMS], count = 0, places[4], next = 0;
    for (int32_t axis = 0; axis < 4; axis++) { /* of the base: its place among those left */
        bool reduced = false;
        for (int32_t i = 0; i < 4; i++)
            reduced = reduced || (to_last[i] == axis && node->attributes.axes[i]);
        places[axis] = reduced ? -1 : next++;
    }
    for (int32_t i = 0; i < 4; i++)
        if (!node->attributes.axes[i])
            left[count++] = places[to_last[i]];
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        perm[i] = i < count ? left[i] : i;
}

static ssld_status write_in_planes(struct mover *mover, struct ssld_node *node, bool *written)
{
    struct ssld_attributes attributes = reorder_attributes(node, to_last);
    int32_t inputs[SSLD_MOST_INPUTS], perm[SSLD_MOST_DIMS] = { 0, 2, 3, 1, 4, 5 };
    ssld_status status;
    *written = false;
    if (node->kind == SSLD_OP_LAYER_NORM || node->kind == SSLD_OP_GATHER) {
        memcpy(inputs, node->inputs, sizeof inputs); /* vectors stay as they are */
        inputs[0] = view_of(mover, node->inputs[0])->base;
    } else if ((status = planes_of_inputs(mover, node, is_elementwise(node->kind), inputs)) ||
               inputs[0] == SSLD_NO_VALUE) {
        return status;
    }
    if (node->kind == SSLD_OP_REDUCE && !node->attributes.keepdims)
        perm_after_reduce(node, perm);
    status = write_for_base(mover, node, node->kind, node->input_count, inputs, &attributes, perm);
    *written = !status;
    return status;
}

/* (1, H, W, F) by a constant (F, K) is a convolution of one pixel: weights (K, F, 1, 1). */
static ssld_status write_convolution(struct mover *mover, const struct ssld_node *node)
{
    struct ssld_graph *graph = mover->graph;
    const struct ssld_value matrix = graph->values[node->inputs[1]];
    const int64_t dims[4] = { matrix.dims[1], matrix.dims[0], 1, 1 };
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_CONV);
    int32_t inputs[3] = { view_of(mover, node->inputs[0])->base, SSLD_NO_VALUE, SSLD_NO_VALUE };
    char name[256];
    snprintf(name, sizeof name, "%.200s_in_planes_%d", matrix.name, graph->value_count);
    ssld_status status = ssld_graph_add_value(graph, name, matrix.role, 4, dims, NULL, &inputs[1]);
    if (status)
        return status;
    float *weights = graph->values[inputs[1]].data;
    for (int64_t k = 0; k < dims[0]; k++)
        for (int64_t f = 0; f < dims[1]; f++)
            weights[k * dims[1] + f] = matrix.data[f * dims[0] + k];
    if (node->input_count > 2)
        inputs[2] = node->inputs[2];
    static const int32_t perm[SSLD_MOST_DIMS] = { 0, 2, 3, 1, 4, 5 };
    return write_for_base(mover, node, SSLD_OP_CONV, node->input_count, inputs, &attributes, perm);
}

static bool is_pointwise(const struct mover *mover, const struct ssld_node *node)
{
    const struct ssld_value *matrix = &mover->graph->values[node->inputs[1]];
    return node->kind == SSLD_OP_MATMUL && is_map(mover, view_of(mover, node->inputs[0])) &&
           matrix->role != SSLD_VALUE_ACTIVATION && matrix->ndims == 2;
}

/* -- Transposes and reshapes -------------------------------------------------------------------------------------- */

static void put_off(struct mover *mover, const struct ssld_node *node)
{
    const struct view *src = view_of(mover, node->inputs[0]);
    struct view *dst = &mover->views[node->output];
    int32_t perm[SSLD_MOST_DIMS], ndims = mover->graph->values[node->output].ndims;
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        perm[i] = i >= ndims ? i : src ? src->perm[node->attributes.perm[i]] : node->attributes.perm[i];
    dst->base = src ? src->base : node->inputs[0];
    dst->stand_in = SSLD_NO_VALUE;
    memcpy(dst->perm, perm, sizeof perm);
}

/* A reshape of a value whose elements are in the base's order is one of the base. */
static ssld_status reshape_view(struct mover *mover, struct ssld_node *node, bool *written)
{
    struct view *view = view_of(mover, node->inputs[0]);
    *written = view && keeps_order(&mover->graph->values[view->base], view->perm);
    if (!*written)
        return SSLD_OK;
    return write_making(mover, SSLD_OP_RESHAPE, &node->attributes, view->base, node->output);
}

/* -- The pass ----------------------------------------------------------------------------------------------------- */

static ssld_status move_node(struct mover *mover, struct ssld_node *node)
{
    bool written = false;
    ssld_status status = SSLD_OK;
    if (node->kind == SSLD_OP_TRANSPOSE) {
        put_off(mover, node);
        return SSLD_OK;
    }
    if (node->kind == SSLD_OP_RESHAPE)
        status = reshape_view(mover, node, &written);
    else if (is_pointwise(mover, node))
        status = write_convolution(mover, node), written = true;
    else if ((is_elementwise(node->kind) || goes_by_axes(node->kind)) && reads_map(mover, node))
        status = write_in_planes(mover, node, &written);
    return status || written ? status : keep_node(mover, node);
}

static bool is_base(const struct view *view)
{
    for (int32_t axis = 0; axis < SSLD_MOST_DIMS; axis++)
        if (view->perm[axis] != axis)
            return false;
    return true;
}

/* A value whose transpose undid itself is its base: readers read that. */
static void read_bases(const struct mover *mover, struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        const struct view *view = view_of(mover, node->inputs[i]);
        if (view && is_base(view))
            node->inputs[i] = view->base;
    }
}

static void swap_names(struct ssld_value *a, struct ssld_value *b)
{
    char *name = a->name;
    a->name = b->name;
    b->name = name;
}

/* What a file calls a value that is there in another order only is the name of that; but if it puts the channels back in their
 * place later, the name it has for it then. */
static void take_names(struct mover *mover)
{
    struct ssld_value *values = mover->graph->values;
    for (int32_t v = 0; v < mover->old_values; v++)
        if (mover->views[v].base != SSLD_NO_VALUE && mover->views[v].stand_in != SSLD_NO_VALUE)
            swap_names(&values[mover->views[v].stand_in], &values[v]);
    for (int32_t v = 0; v < mover->old_values; v++)
        if (mover->views[v].base >= mover->old_values && mover->views[v].stand_in == SSLD_NO_VALUE &&
            is_base(&mover->views[v]))
            swap_names(&values[mover->views[v].base], &values[v]);
}

ssld_status ssld_graph_move_transposes(struct ssld_graph *graph)
{
    struct mover mover = { graph, NULL, graph->value_count };
    struct ssld_node *old = graph->nodes;
    int32_t count = graph->node_count, transposes = 0;
    for (int32_t n = 0; n < count; n++)
        transposes += old[n].kind == SSLD_OP_TRANSPOSE;
    if (!transposes)
        return SSLD_OK;
    mover.views = ssld_alloc(graph->context, (size_t)mover.old_values * sizeof *mover.views);
    if (!mover.views)
        return ssld_fail_memory(graph->context, "a graph pass", (size_t)mover.old_values * sizeof *mover.views);
    for (int32_t v = 0; v < mover.old_values; v++)
        mover.views[v] = (struct view){ .base = SSLD_NO_VALUE, .stand_in = SSLD_NO_VALUE };
    graph->nodes = NULL;
    graph->node_count = graph->node_capacity = 0;
    ssld_status status = SSLD_OK;
    for (int32_t n = 0; n < count && !status; n++) {
        read_bases(&mover, &old[n]);
        status = move_node(&mover, &old[n]);
    }
    struct ssld_node end = { .input_count = 1, .inputs = { graph->output } };
    read_bases(&mover, &end);
    graph->output = end.inputs[0];
    if (!status)
        status = make(&mover, graph->output);
    if (!status)
        take_names(&mover);
    for (int32_t n = 0; n < count; n++)
        ssld_free(graph->context, old[n].name);
    ssld_free(graph->context, old);
    ssld_free(graph->context, mover.views);
    return status ? status : ssld_graph_remove_unused(graph);
}
