/* SPDX-License-Identifier: BSD-2-Clause */
/* graph.c - the graph as a container: growing, cloning, checking. What operators mean stands in ops.c. */
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

#define MOST_ITEMS (1 << 24) /* nodes or values: far above any network, far below overflow */

/* -- Life --------------------------------------------------------------------------------------------------------- */

ssld_status ssld_graph_create(ssld_context *context, const char *name, struct ssld_graph **graph)
{
    struct ssld_graph *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a graph", sizeof *made);
    made->context = context;
    made->input = made->output = SSLD_NO_VALUE;
    made->name = ssld_strdup(context, name);
    if (!made->name) {
        ssld_free(context, made);
        return ssld_fail_memory(context, "a graph's name", strlen(name));
    }
    *graph = made;
    return SSLD_OK;
}

void ssld_graph_destroy(struct ssld_graph *graph)
{
    if (!graph)
        return;
    ssld_context *context = graph->context;
    for (int32_t i = 0; i < graph->value_count; i++) {
        ssld_free(context, graph->values[i].name);
        ssld_free(context, graph->values[i].data);
    }
    for (int32_t i = 0; i < graph->node_count; i++)
        ssld_free(context, graph->nodes[i].name);
    ssld_free(context, graph->values);
    ssld_free(context, graph->nodes);
    ssld_free(context, graph->name);
    ssld_free(context, graph);
}

/* Room for one item more in a dynamic array. */
static ssld_status reserve(ssld_context *context, void **items, int32_t count, int32_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return SSLD_OK;
    if (count >= MOST_ITEMS)
        return ssld_fail(context, SSLD_UNSUPPORTED, "a graph has at most %d nodes and %d values", MOST_ITEMS, MOST_ITEMS);
    int32_t larger = *capacity ? 2 * *capacity : 64;
    void *moved = ssld_realloc(context, *items, (size_t)count * item_size, (size_t)larger * item_size);
    if (!moved)
        return ssld_fail_memory(context, "a graph", (size_t)larger * item_size);
    *items = moved;
    *capacity = larger;
    return SSLD_OK;
}

static ssld_status reserve_value(struct ssld_graph *graph)
{
    void *items = graph->values;
    ssld_status status =
        reserve(graph->context, &items, graph->value_count, &graph->value_capacity, sizeof *graph->values);
    graph->values = items;
    return status;
}

static ssld_status reserve_node(struct ssld_graph *graph)
{
    void *items = graph->nodes;
    ssld_status status = reserve(graph->context, &items, graph->node_count, &graph->node_capacity, sizeof *graph->nodes);
    graph->nodes = items;
    return status;
}

void ssld_graph_release_data(struct ssld_graph *graph)
{
    for (int32_t i = 0; i < graph->value_count; i++) {
        ssld_free(graph->context, graph->values[i].data);
        graph->values[i].data = NULL;
    }
}

/* Added as an activation, which has no data, a value gets its role afterwards. */
static ssld_status clone_value(struct ssld_graph *made, const struct ssld_value *value, bool form_only)
{
    int32_t index, role = form_only ? SSLD_VALUE_ACTIVATION : value->role;
    ssld_status status =
        ssld_graph_add_value(made, value->name, role, value->ndims, value->dims, form_only ? NULL : value->data, &index);
    if (!status) {
        made->values[index].role = value->role;
        made->values[index].no_decay = value->no_decay;
    }
    return status;
}

static ssld_status clone(const struct ssld_graph *graph, bool form_only, struct ssld_graph **copy)
{
    struct ssld_graph *made = NULL;
    ssld_status status = ssld_graph_create(graph->context, graph->name, &made);
    if (status)
        return status;
    for (int32_t i = 0; i < graph->value_count && !status; i++)
        status = clone_value(made, &graph->values[i], form_only);
    for (int32_t i = 0; i < graph->node_count && !status; i++) {
        char *name = NULL;
        status = reserve_node(made);
        if (!status && !(name = ssld_strdup(made->context, graph->nodes[i].name)))
            status = ssld_fail_memory(made->context, "a node's name", strlen(graph->nodes[i].name));
        if (!status) {
            made->nodes[i] = graph->nodes[i];
            made->nodes[i].name = name;
            made->node_count++;
        }
    }
    if (status) {
        ssld_graph_destroy(made);
        return status;
    }
    made->input = graph->input;
    made->output = graph->output;
    *copy = made;
    return SSLD_OK;
}

ssld_status ssld_graph_clone(const struct ssld_graph *graph, struct ssld_graph **copy)
{
    return clone(graph, false, copy);
}

ssld_status ssld_graph_clone_form(const struct ssld_graph *graph, struct ssld_graph **copy)
{
    return clone(graph, true, copy);
}

/* -- Values ------------------------------------------------------------------------------------------------------- */

int64_t ssld_value_elements(const struct ssld_value *value)
{
    int64_t elements = 1;
    for (int32_t i = 0; i < value->ndims; i++)
        elements *= value->dims[i];
    return elements;
}

/* At most INT32_MAX elements: then no product of two sizes overflows 64 bits, here or in whoever runs the graph. */
static ssld_status check_dims(ssld_context *context, const char *name, int32_t ndims, const int64_t *dims)
{
    if (ndims < 1 || ndims > SSLD_MOST_DIMS)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "value '%.80s': %d dimensions; 1 to %d are possible",
                         name ? name : "", ndims, SSLD_MOST_DIMS);
    int64_t elements = 1;
    for (int32_t i = 0; i < ndims; i++) {
        if (dims[i] < 1 || dims[i] > INT32_MAX || (elements *= dims[i]) > INT32_MAX)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "value '%.80s': dimension %d is %lld; sizes start at 1 and a value has at most 2^31 - 1 elements",
                             name ? name : "", i, (long long)dims[i]);
    }
    return SSLD_OK;
}

static bool value_name_taken(const struct ssld_graph *graph, const char *name)
{
    for (int32_t i = 0; i < graph->value_count; i++)
        if (!strcmp(graph->values[i].name, name))
            return true;
    return false;
}

/* "value_17", with a larger number if some value is called so already. */
static char *make_up_value_name(const struct ssld_graph *graph)
{
    char name[32];
    int32_t number = graph->value_count;
    do
        snprintf(name, sizeof name, "value_%d", number++);
    while (value_name_taken(graph, name));
    return ssld_strdup(graph->context, name);
}

ssld_status ssld_graph_add_value(struct ssld_graph *graph, const char *name, int32_t role, int32_t ndims,
                                 const int64_t *dims, const float *data, int32_t *value)
{
    ssld_status status = check_dims(graph->context, name, ndims, dims);
    if (!status)
        status = reserve_value(graph);
    if (status)
        return status;

    struct ssld_value made = { .role = role, .ndims = ndims };
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        made.dims[i] = i < ndims ? dims[i] : 1;
    size_t size = role == SSLD_VALUE_ACTIVATION ? 0 : (size_t)ssld_value_elements(&made) * sizeof(float);
    made.name = name ? ssld_strdup(graph->context, name) : make_up_value_name(graph);
    made.data = size ? ssld_alloc(graph->context, size) : NULL;
    if (!made.name || (size && !made.data)) {
        ssld_free(graph->context, made.name);
        ssld_free(graph->context, made.data);
        return ssld_fail_memory(graph->context, "a value", size);
    }
    if (size && data)
        memcpy(made.data, data, size);
    else if (size)
        memset(made.data, 0, size);
    *value = graph->value_count;
    graph->values[graph->value_count++] = made;
    return SSLD_OK;
}

/* -- Nodes -------------------------------------------------------------------------------------------------------- */

/* Operators that take constants for any of their inputs, but not for all. */
static bool takes_constants(int32_t kind)
{
    return kind == SSLD_OP_BINARY || kind == SSLD_OP_WHERE || kind == SSLD_OP_MATMUL || kind == SSLD_OP_JOIN;
}

/* Inputs: as many as the operator takes, all of them values of the graph; the first, or at least one, is an activation. */
static ssld_status check_inputs(const struct ssld_graph *graph, const struct ssld_node *node)
{
    const struct ssld_op *op = &ssld_ops[node->kind];
    if (node->input_count < op->inputs_least || node->input_count > op->inputs_most)
        return ssld_fail(graph->context, SSLD_INVALID_ARGUMENT, "node '%.80s' (%s): %d inputs; it takes %d to %d", node->name,
                         op->name, node->input_count, op->inputs_least, op->inputs_most);
    int32_t first = SSLD_NO_VALUE; /* activation */
    for (int32_t i = 0; i < node->input_count; i++) {
        int32_t input = node->inputs[i];
        if (input == SSLD_NO_VALUE && i >= op->inputs_least)
            continue;
        if (input < 0 || input >= graph->value_count)
            return ssld_fail(graph->context, SSLD_INVALID_ARGUMENT, "node '%.80s' (%s): input %d is missing", node->name,
                             op->name, i);
        if (first == SSLD_NO_VALUE && graph->values[input].role == SSLD_VALUE_ACTIVATION)
            first = i;
    }
    if (first == SSLD_NO_VALUE || (first > 0 && !takes_constants(node->kind)))
        return ssld_fail(graph->context, SSLD_INVALID_ARGUMENT, "node '%.80s' (%s): its first input is a constant", node->name,
                         op->name);
    return SSLD_OK;
}

ssld_status ssld_graph_add_node(struct ssld_graph *graph, int32_t kind, const char *name, int32_t input_count,
                                const int32_t *inputs, const struct ssld_attributes *attributes, const char *output_name,
                                int32_t *output)
{
    struct ssld_node node = { .kind = kind, .input_count = input_count, .activation.kind = SSLD_OP_IDENTITY };
    struct ssld_value shape = { .role = SSLD_VALUE_ACTIVATION };
    char made_up[64];
    int32_t value;
    if (kind < 0 || kind >= SSLD_OP_KINDS || input_count < 0 || input_count > SSLD_MOST_INPUTS)
        return ssld_fail(graph->context, SSLD_INVALID_ARGUMENT, "node '%.80s': no operator %d with %d inputs",
                         name ? name : "", kind, input_count);
    if (!name) {
        snprintf(made_up, sizeof made_up, "%s_%d", ssld_ops[kind].name, graph->node_count);
        name = made_up;
    }
    memcpy(node.inputs, inputs, (size_t)input_count * sizeof *inputs);
    for (int32_t i = input_count; i < SSLD_MOST_INPUTS; i++)
        node.inputs[i] = SSLD_NO_VALUE;
    node.attributes = attributes ? *attributes : ssld_op_defaults(kind);
    node.name = ssld_strdup(graph->context, name);
    if (!node.name)
        return ssld_fail_memory(graph->context, "a node's name", strlen(name));

    ssld_status status = check_inputs(graph, &node);
    if (!status)
        status = ssld_ops[kind].shape(graph, &node, &shape);
    if (!status)
        status = reserve_node(graph);
    /* The last step that can fail: the graph is unchanged until here. */
    if (!status)
        status = ssld_graph_add_value(graph, output_name ? output_name : name, SSLD_VALUE_ACTIVATION, shape.ndims, shape.dims,
                                      NULL, &value);
    if (status) {
        ssld_free(graph->context, node.name);
        return status;
    }
    node.output = value;
    graph->nodes[graph->node_count++] = node;
    *output = value;
    return SSLD_OK;
}

ssld_status ssld_graph_insert_node(struct ssld_graph *graph, int32_t at, int32_t kind, const char *name, int32_t input_count,
                                   const int32_t *inputs, const struct ssld_attributes *attributes, int32_t *output)
{
    char unique[256];
    int32_t number = graph->value_count;
    do
        snprintf(unique, sizeof unique, "%.200s_%d", name, number++);
    while (value_name_taken(graph, unique));
    ssld_status status = ssld_graph_add_node(graph, kind, unique, input_count, inputs, attributes, unique, output);
    if (status)
        return status;
    struct ssld_node node = graph->nodes[graph->node_count - 1];
    memmove(&graph->nodes[at + 1], &graph->nodes[at], (size_t)(graph->node_count - 1 - at) * sizeof node);
    graph->nodes[at] = node;
    return SSLD_OK;
}

ssld_status ssld_graph_append_node(struct ssld_graph *graph, const struct ssld_node *node)
{
    ssld_status status = reserve_node(graph);
    if (status)
        ssld_free(graph->context, node->name);
    else
        graph->nodes[graph->node_count++] = *node;
    return status;
}

/* -- Questions ---------------------------------------------------------------------------------------------------- */

void ssld_graph_count_readers(const struct ssld_graph *graph, int32_t *readers, int32_t *producers)
{
    for (int32_t i = 0; i < graph->value_count; i++) {
        if (readers)
            readers[i] = (i == graph->output) + (graph->values[i].kept > 0);
        if (producers)
            producers[i] = SSLD_NO_VALUE;
    }
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        for (int32_t i = 0; readers && i < node->input_count; i++)
            if (node->inputs[i] != SSLD_NO_VALUE)
                readers[node->inputs[i]]++;
        if (producers)
            producers[node->output] = n;
    }
}

/* What is wrong with a node, NULL if nothing; marks its output as made. */
static const char *node_defect(const struct ssld_graph *graph, const struct ssld_node *node, bool *made)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        int32_t input = node->inputs[i];
        if (input == SSLD_NO_VALUE)
            continue;
        if (input < 0 || input >= graph->value_count)
            return "reads a value that does not exist";
        if (graph->values[input].role == SSLD_VALUE_ACTIVATION && !made[input])
            return "reads a value before it is made";
    }
    if (node->output < 0 || node->output >= graph->value_count)
        return "makes a value that does not exist";
    if (graph->values[node->output].role != SSLD_VALUE_ACTIVATION || made[node->output])
        return "makes a value that is already there";
    made[node->output] = true;
    return NULL;
}

ssld_status ssld_graph_check(const struct ssld_graph *graph)
{
    ssld_status status = SSLD_OK;
    bool *made = ssld_alloc_zero(graph->context, (size_t)graph->value_count + 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(graph->context, "checking a graph", (size_t)graph->value_count + 1);
    if (graph->input < 0 || graph->input >= graph->value_count || graph->output < 0 || graph->output >= graph->value_count) {
        status = ssld_fail(graph->context, SSLD_INTERNAL, "graph '%.80s' has no input or no output", graph->name);
        goto done;
    }
    made[graph->input] = true;
    for (int32_t n = 0; n < graph->node_count; n++) {
        const char *defect = node_defect(graph, &graph->nodes[n], made);
        if (defect) {
            status = ssld_fail(graph->context, SSLD_INTERNAL, "graph '%.80s': node '%.80s' %s", graph->name,
                               graph->nodes[n].name, defect);
            goto done;
        }
    }
    if (!made[graph->output])
        status = ssld_fail(graph->context, SSLD_INTERNAL, "graph '%.80s': no node makes its output", graph->name);
done:
    ssld_free(graph->context, made);
    return status;
}

int64_t ssld_graph_macs(const struct ssld_graph *graph)
{
    int64_t total = 0;
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        int64_t macs = ssld_ops[node->kind].macs ? ssld_ops[node->kind].macs(graph, node) : 0;
        total = macs > INT64_MAX - total ? INT64_MAX : total + macs;
    }
    return total;
}
