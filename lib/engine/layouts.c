/* SPDX-License-Identifier: BSD-2-Clause */
/* layouts.c - the layout pass. Values are followed from the image to the output; each operator says by its rule what it reads
 * and writes, and a REORDER is put in front of it where a value is not so. One value is reordered once, for all who want it so.
 *
 * At inference an operator that only moves numbers (Transpose, Reshape, a slice) makes a view, and no copy is made until someone
 * needs the numbers close together. Training copies: a value's diff must stand as the value does. */
#include "engine/layouts.h"

#include <string.h>

enum reorder_mode { REORDER_TO_PLAIN, REORDER_TO_BLOCKS };

struct maker {
    struct ssld_plan *plan;
    struct ssld_graph *graph;
    struct layout    *layouts;
    int32_t          *plain, *blocks; /* of each value: its reordered copy, or SSLD_NO_VALUE */
    int32_t          *readers;        /* nodes that read each value, before anything was inserted */
    int32_t          *reader;         /* the output of the last of them */
    int32_t           node;           /* at hand */
    bool              views;
};

bool ssld_value_is_map(const struct ssld_value *value)
{
    return value->ndims == 4 && value->dims[0] == 1;
}

const struct layout *ssld_layout_of(const struct ssld_plan *plan, int32_t value)
{
    return &plan->layouts[value];
}

void *ssld_value_data(struct ssld_plan *plan, int32_t value)
{
    return plan->tensors[plan->layouts[value].root].data;
}

struct view ssld_constant_view(const struct ssld_value *value)
{
    return ssld_view_dense(value->ndims, value->dims);
}

/* -- Layouts of values -------------------------------------------------------------------------------------------- */

static void set_dense(struct maker *m, int32_t value)
{
    const struct ssld_value *v = &m->graph->values[value];
    m->layouts[value] = (struct layout){ .root = value, .has_view = true, .view = ssld_view_dense(v->ndims, v->dims) };
}

static void set_blocked(struct maker *m, int32_t value)
{
    const struct ssld_value *v = &m->graph->values[value];
    int64_t b = plan_block_of(m->plan, v->dims[1]);
    m->layouts[value] = (struct layout){ .root = value, .blocked = true, .has_view = v->dims[1] % b == 0 };
    if (m->layouts[value].has_view)
        m->layouts[value].view = ssld_view_of_blocks(v->dims, b);
}

/* Feature maps in blocks, everything else dense. */
static void set_ordinary(struct maker *m, int32_t value)
{
    if (ssld_value_is_map(&m->graph->values[value]))
        set_blocked(m, value);
    else
        set_dense(m, value);
}

static bool is_dense(const struct layout *layout)
{
    return layout->has_view && ssld_view_is_dense(&layout->view);
}

/* An image that convolutions read as it comes. */
static bool is_plain_image(const struct maker *m, int32_t value)
{
    const struct ssld_value *v = &m->graph->values[value];
    return !m->layouts[value].blocked && is_dense(&m->layouts[value]) && (v->dims[1] == 1 || v->dims[1] == 3) &&
           !m->plan->channels_last;
}

/* -- Reorders ----------------------------------------------------------------------------------------------------- */

/* A REORDER node in front of the node at hand. */
static ssld_status insert_reorder(struct maker *m, int32_t value, int32_t mode, int32_t *reordered)
{
    struct ssld_graph *graph = m->graph;
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_REORDER);
    attributes.mode = mode;
    ssld_status status = ssld_graph_add_node(graph, SSLD_OP_REORDER, NULL, 1, &value, &attributes, NULL, reordered);
    if (status)
        return status;
    struct ssld_node node = graph->nodes[graph->node_count - 1];
    memmove(&graph->nodes[m->node + 1], &graph->nodes[m->node],
            (size_t)(graph->node_count - 1 - m->node) * sizeof node);
    graph->nodes[m->node++] = node;
    m->plain[*reordered] = m->blocks[*reordered] = m->reader[*reordered] = SSLD_NO_VALUE;
    m->readers[*reordered] = 0;
    return SSLD_OK;
}

static ssld_status make_plain(struct maker *m, int32_t input)
{
    int32_t value = m->graph->nodes[m->node].inputs[input];
    ssld_status status = SSLD_OK;
    if (m->plain[value] == SSLD_NO_VALUE) {
        status = insert_reorder(m, value, REORDER_TO_PLAIN, &m->plain[value]);
        if (!status)
            set_dense(m, m->plain[value]);
    }
    m->graph->nodes[m->node].inputs[input] = m->plain[value];
    return status;
}

/* In blocks the same bytes may stand in the same order. */
static void alias_blocks(struct maker *m, int32_t value, int32_t reordered)
{
    struct layout *layout = &m->layouts[reordered];
    if (m->views && is_dense(&m->layouts[value]) && is_dense(layout))
        layout->root = m->layouts[value].root;
}

static ssld_status want_blocked(struct maker *m, int32_t input)
{
    int32_t value = m->graph->nodes[m->node].inputs[input], reordered;
    struct walk walks[2];
    ssld_status status = SSLD_OK;
    if (m->layouts[value].blocked)
        return SSLD_OK;
    if (m->blocks[value] != SSLD_NO_VALUE) {
        m->graph->nodes[m->node].inputs[input] = m->blocks[value];
        return SSLD_OK;
    }
    const int64_t *dims = m->graph->values[value].dims;
    if (!ssld_reorder_walks(dims, plan_block_of(m->plan, dims[1]), &m->layouts[value], NULL, walks)) {
        status = make_plain(m, input);
        if (status)
            return status;
        value = m->graph->nodes[m->node].inputs[input];
    }
    status = insert_reorder(m, value, REORDER_TO_BLOCKS, &reordered);
    if (status)
        return status;
    set_blocked(m, reordered);
    alias_blocks(m, value, reordered);
    m->blocks[value] = reordered;
    m->graph->nodes[m->node].inputs[input] = reordered;
    return SSLD_OK;
}

static ssld_status want_dense(struct maker *m, int32_t input)
{
    return is_dense(&m->layouts[m->graph->nodes[m->node].inputs[input]]) ? SSLD_OK : make_plain(m, input);
}

static ssld_status want_view(struct maker *m, int32_t input)
{
    return m->layouts[m->graph->nodes[m->node].inputs[input]].has_view ? SSLD_OK : make_plain(m, input);
}

/* -- Rules -------------------------------------------------------------------------------------------------------- */

static ssld_status for_activations(struct maker *m, ssld_status (*want)(struct maker *m, int32_t input))
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < m->graph->nodes[m->node].input_count; i++)
        if (plan_has_activation(m->plan, m->graph->nodes[m->node].inputs[i]))
            status = want(m, i);
    return status;
}

static ssld_status want_ordinary(struct maker *m, int32_t input)
{
    const struct ssld_node *node = &m->graph->nodes[m->node];
    int32_t value = node->inputs[input];
    if (!ssld_value_is_map(&m->graph->values[value]))
        return want_dense(m, input);
    return node->kind == SSLD_OP_CONV && input == 0 && is_plain_image(m, value) ? SSLD_OK : want_blocked(m, input);
}

/* A constant beside blocks: a number, a number for each channel or each position; where blocks are full, anything. */
static bool constant_suits_blocks(const struct maker *m, const struct ssld_value *constant, const struct ssld_value *dst)
{
    int64_t channels = constant->ndims >= 3 ? constant->dims[constant->ndims - 3] : 1;
    int64_t positions = ssld_value_elements(constant) / channels;
    return channels == 1 || positions == 1 || dst->dims[1] % plan_block_of(m->plan, dst->dims[1]) == 0;
}

/* Whether the node at hand can work in blocks, and should: one of its large inputs is. */
static bool suits_blocks(const struct maker *m, const struct ssld_node *node)
{
    const struct ssld_value *dst = &m->graph->values[node->output];
    bool wanted = false;
    if (!ssld_value_is_map(dst))
        return false;
    for (int32_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] == SSLD_NO_VALUE)
            continue;
        const struct ssld_value *src = &m->graph->values[node->inputs[i]];
        if (src->role != SSLD_VALUE_ACTIVATION) {
            if (!constant_suits_blocks(m, src, dst))
                return false;
            continue;
        }
        if (!ssld_value_is_map(src))
            return false;
        wanted = wanted || (m->layouts[node->inputs[i]].blocked && ssld_value_elements(src) == ssld_value_elements(dst));
    }
    return wanted;
}

/* Operators of LAYOUT_SAME and LAYOUT_VIEWS read views only if their loops can follow all of them at once. */
static bool loops_exist(const struct maker *m, const struct ssld_node *node)
{
    const struct ssld_value *dst = &m->graph->values[node->output];
    struct view views[WALK_MOST_OPERANDS] = { ssld_view_dense(dst->ndims, dst->dims) };
    const struct view *pointers[WALK_MOST_OPERANDS] = { &views[0] };
    struct walk walk;
    int32_t count = 1;
    for (int32_t i = 0; i < node->input_count && count < WALK_MOST_OPERANDS; i++) {
        const struct ssld_value *src = &m->graph->values[node->inputs[i]];
        views[count] = src->role == SSLD_VALUE_ACTIVATION ? m->layouts[node->inputs[i]].view : ssld_constant_view(src);
        if (!ssld_view_expand(&views[count], dst->ndims, dst->dims))
            return false;
        pointers[count] = &views[count];
        count++;
    }
    return ssld_walk_make(count, pointers, &walk);
}

static bool reads_views(int32_t kind)
{
    return kind == SSLD_OP_BINARY || kind == SSLD_OP_WHERE || kind == SSLD_OP_UNARY;
}

static ssld_status rule_same(struct maker *m)
{
    const struct ssld_node *node = &m->graph->nodes[m->node];
    int32_t output = node->output;
    ssld_status status;
    if (suits_blocks(m, node)) {
        status = for_activations(m, want_blocked);
        set_blocked(m, output);
        return status;
    }
    set_dense(m, output);
    if (!reads_views(node->kind))
        return for_activations(m, want_dense);
    status = for_activations(m, want_view);
    return status || loops_exist(m, &m->graph->nodes[m->node]) ? status : for_activations(m, want_dense);
}

/* Views at inference. A plain copy always has the view; where it is the whole node, there is nothing left to do. */
static ssld_status rule_move(struct maker *m)
{
    struct ssld_node *node = &m->graph->nodes[m->node];
    int32_t output = node->output;
    struct view view;
    ssld_status status = want_view(m, 0);
    node = &m->graph->nodes[m->node];
    if (!status && !ssld_move_view(m->graph, node, &m->layouts[node->inputs[0]].view, &view)) {
        status = make_plain(m, 0);
        node = &m->graph->nodes[m->node];
    }
    if (status)
        return status;
    const struct layout *src = &m->layouts[node->inputs[0]];
    set_dense(m, output);
    if (m->views && ssld_move_view(m->graph, node, &src->view, &view)) {
        m->layouts[output].root = src->root;
        m->layouts[output].view = view;
    }
    return SSLD_OK;
}

/* Flatten reads blocks that are not full; everything else is a Reshape. */
static ssld_status rule_flatten(struct maker *m)
{
    const struct ssld_node *node = &m->graph->nodes[m->node];
    const struct layout *src = &m->layouts[node->inputs[0]];
    struct view view;
    bool dense = src->has_view && ssld_move_view(m->graph, node, &src->view, &view) && ssld_view_is_dense(&view);
    if (dense && m->views)
        return rule_move(m);
    set_dense(m, node->output);
    return src->blocked ? SSLD_OK : want_dense(m, 0);
}

/* -- Matrix products ---------------------------------------------------------------------------------------------- */

/* A product is stored in the order its only reader turns it to, so that the turned one is close together. */
static void store_transposed(struct maker *m, const struct ssld_node *node)
{
    int32_t output = node->output;
    const struct ssld_node *reader = node;
    if (m->readers[output] != 1 || !m->views || m->reader[output] == SSLD_NO_VALUE)
        return;
    while (reader->output != m->reader[output])
        reader++;
    if (reader->kind != SSLD_OP_TRANSPOSE)
        return;
    const struct ssld_value *turned = &m->graph->values[reader->output];
    int32_t back[SSLD_MOST_DIMS];
    struct view view = ssld_view_dense(turned->ndims, turned->dims);
    for (int32_t i = 0; i < turned->ndims; i++)
        back[reader->attributes.perm[i]] = i;
    ssld_view_transpose(&view, back);
    m->layouts[output].view = view;
}

/* Strides that a matrix product can follow: one for each axis, and rows or columns close together. */
static bool is_matrix(const struct view *view)
{
    for (int32_t i = 0; i < view->ndims; i++)
        if (view->counts[i] > 1)
            return false;
    int32_t last = view->atom_count - 1, columns = view->counts[view->ndims - 1], rows = view->counts[view->ndims - 2];
    if (!columns || !rows)
        return ssld_view_is_dense(view);
    for (int32_t i = 0; i <= last; i++)
        if (view->atoms[i].stride <= 0)
            return false;
    return view->atoms[last].stride == 1 || view->atoms[last - 1].stride == 1;
}

static ssld_status want_matrix(struct maker *m, int32_t input)
{
    const struct layout *layout = &m->layouts[m->graph->nodes[m->node].inputs[input]];
    return layout->has_view && is_matrix(&layout->view) ? SSLD_OK : make_plain(m, input);
}

static ssld_status rule_matmul(struct maker *m)
{
    const struct ssld_node *node = &m->graph->nodes[m->node];
    const struct ssld_value *b = &m->graph->values[node->inputs[1]];
    set_dense(m, node->output);
    if (b->role != SSLD_VALUE_ACTIVATION && b->ndims == 2)
        return for_activations(m, want_dense);
    store_transposed(m, node);
    return for_activations(m, want_matrix);
}

/* -- Channels last ------------------------------------------------------------------------------------------------ */

/* Operators on feature maps whose loops go through blocks of any width. */
static bool takes_any_width(int32_t kind)
{
    static const int32_t kinds[] = { SSLD_OP_CONV,   SSLD_OP_MAX_POOL, SSLD_OP_AVERAGE_POOL, SSLD_OP_GLOBAL_AVERAGE_POOL,
                                     SSLD_OP_ADD,    SSLD_OP_MUL,      SSLD_OP_SCALE,        SSLD_OP_FLATTEN,
                                     SSLD_OP_GEMM,   SSLD_OP_MATMUL,   SSLD_OP_IDENTITY,     SSLD_OP_CONCAT,
                                     SSLD_OP_SLICE,  SSLD_OP_UNARY,    SSLD_OP_BINARY,       SSLD_OP_WHERE };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i] == kind)
            return true;
    return ssld_op_is_activation(kind);
}

bool ssld_layouts_suit_channels_last(const struct ssld_graph *graph)
{
    bool convolves = false;
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        const struct engine_op *op = ssld_engine_ops[node->kind];
        const struct ssld_value *src = &graph->values[node->inputs[0]];
        bool plain = op->layout == LAYOUT_PLAIN || op->layout == LAYOUT_VIEWS || op->layout == LAYOUT_MOVE ||
                     (node->kind == SSLD_OP_LAYER_NORM && !(ssld_value_is_map(src) && node->attributes.axis == 1));
        if (!plain && !takes_any_width(node->kind))
            return false;
        convolves = convolves || node->kind == SSLD_OP_CONV;
    }
    return convolves;
}

/* -- The pass ----------------------------------------------------------------------------------------------------- */

static ssld_status rule_of_node(struct maker *m)
{
    const struct ssld_node *node = &m->graph->nodes[m->node];
    const struct engine_op *op = ssld_engine_ops[node->kind];
    const struct ssld_value *src = &m->graph->values[node->inputs[0]];
    int32_t output = node->output;
    int32_t rule = op->layout;
    ssld_status status;
    if (node->kind == SSLD_OP_MATMUL)
        return rule_matmul(m);
    if (node->kind == SSLD_OP_FLATTEN)
        return rule_flatten(m);
    if (node->kind == SSLD_OP_LAYER_NORM && !(ssld_value_is_map(src) && node->attributes.axis == 1))
        rule = LAYOUT_PLAIN;
    switch (rule) {
    case LAYOUT_SAME:
        return rule_same(m);
    case LAYOUT_MOVE:
        return rule_move(m);
    case LAYOUT_PLAIN:
        set_dense(m, output);
        return for_activations(m, want_dense);
    case LAYOUT_VIEWS:
        set_dense(m, output);
        return for_activations(m, want_view);
    default:
        status = for_activations(m, want_ordinary);
        set_ordinary(m, output);
        return status;
    }
}

/* The network's output is read from outside, row by row. */
static ssld_status finish_output(struct maker *m)
{
    struct ssld_graph *graph = m->graph;
    if (is_dense(&m->layouts[graph->output]))
        return SSLD_OK;
    m->node = graph->node_count;
    int32_t reordered = SSLD_NO_VALUE;
    ssld_status status = insert_reorder(m, graph->output, REORDER_TO_PLAIN, &reordered);
    if (!status) {
        set_dense(m, reordered);
        graph->output = reordered;
    }
    return status;
}

static void find_readers(struct maker *m)
{
    for (int32_t v = 0; v < m->graph->value_count; v++)
        m->reader[v] = SSLD_NO_VALUE;
    ssld_graph_count_readers(m->graph, m->readers, NULL);
    for (int32_t n = 0; n < m->graph->node_count; n++)
        for (int32_t i = 0; i < m->graph->nodes[n].input_count; i++)
            if (m->graph->nodes[n].inputs[i] != SSLD_NO_VALUE)
                m->reader[m->graph->nodes[n].inputs[i]] = m->graph->nodes[n].output;
}

static ssld_status run(struct maker *m)
{
    struct ssld_graph *graph = m->graph;
    ssld_status status = SSLD_OK;
    find_readers(m);
    for (int32_t v = 0; v < graph->value_count; v++) {
        m->plain[v] = m->blocks[v] = SSLD_NO_VALUE;
        if (graph->values[v].role != SSLD_VALUE_ACTIVATION)
            set_dense(m, v);
    }
    set_dense(m, graph->input);
    if (!is_plain_image(m, graph->input))
        set_ordinary(m, graph->input);
    for (m->node = 0; !status && m->node < graph->node_count; m->node++)
        status = rule_of_node(m);
    return status ? status : finish_output(m);
}

ssld_status ssld_layouts_make(struct ssld_plan *plan)
{
    struct maker m = { .plan = plan, .graph = plan->graph, .views = plan->options.mode == SSLD_PLAN_EVAL };
    size_t most = (size_t)plan->graph->value_count + 1;
    for (int32_t n = 0; n < plan->graph->node_count; n++) /* a reorder for each input */
        most += (size_t)plan->graph->nodes[n].input_count;
    ssld_status status = SSLD_OK;
    int32_t *numbers = ssld_alloc(plan->context, 4 * most * sizeof *numbers);
    m.layouts = plan->layouts = ssld_alloc_zero(plan->context, most, sizeof *plan->layouts);
    if (!numbers || !plan->layouts) {
        status = ssld_fail_memory(plan->context, "layouts", most * sizeof *plan->layouts);
        goto done;
    }
    m.plain = numbers;
    m.blocks = numbers + most;
    m.readers = numbers + 2 * most;
    m.reader = numbers + 3 * most;
    status = run(&m);
done:
    ssld_free(plan->context, numbers);
    return status;
}
