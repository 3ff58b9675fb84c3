/* SPDX-License-Identifier: BSD-2-Clause */
/* fuse_inference.c - what only a network whose weights stay as they are can leave out: factors and sums of channels become part
 * of weights (which no two nodes share then), zeros around an image become pads, scores are scaled inside their product, and residual sums, activations and
 * products are one node. */
#include <math.h>
#include <string.h>

#include "graph/uses.h"

struct fuser {
    struct ssld_graph *graph;
    struct uses        uses;
};

static struct ssld_value *value_at(const struct fuser *f, int32_t value)
{
    return &f->graph->values[value];
}

static bool is_constant(const struct fuser *f, int32_t value)
{
    return value_at(f, value)->role != SSLD_VALUE_ACTIVATION;
}

/* A product with constant weights, which can take up what is done to its outputs one by one. */
static bool has_weights(const struct fuser *f, const struct ssld_node *node)
{
    return node->kind == SSLD_OP_CONV || node->kind == SSLD_OP_GEMM ||
           (node->kind == SSLD_OP_MATMUL && is_constant(f, node->inputs[1]) && value_at(f, node->inputs[1])->ndims == 2);
}

static int32_t input_or_none(const struct ssld_node *node, int32_t input)
{
    return input < node->input_count ? node->inputs[input] : SSLD_NO_VALUE;
}

static void set_input(struct ssld_node *node, int32_t input, int32_t value)
{
    while (node->input_count <= input)
        node->inputs[node->input_count++] = SSLD_NO_VALUE;
    node->inputs[input] = value;
}

/* -- Factors and sums of outputs ---------------------------------------------------------------------------------- */

/* y = factor * x + shift, of each output by itself */
struct affine {
    int32_t x;
    int32_t constant; /* SSLD_NO_VALUE: the number below */
    float   number;
    int32_t function; /* SSLD_BINARY_MUL, DIV, ADD, SUB */
};

static int64_t outputs_of(const struct fuser *f, const struct ssld_node *product)
{
    const struct ssld_value *weights = value_at(f, product->inputs[1]);
    return weights->dims[product->kind == SSLD_OP_MATMUL ? 1 : 0];
}

/* Whether a constant has one number, or one for each index of an axis of dst. */
static bool goes_along(const struct ssld_value *constant, const struct ssld_value *dst, int32_t axis)
{
    int32_t more = dst->ndims - constant->ndims;
    for (int32_t i = 0; i < constant->ndims; i++)
        if (constant->dims[i] != 1 && (i + more != axis || constant->dims[i] != dst->dims[axis]))
            return false;
    return more >= 0;
}

static bool is_affine(const struct fuser *f, const struct ssld_node *node, struct affine *affine)
{
    *affine = (struct affine){ .x = node->inputs[0], .constant = SSLD_NO_VALUE, .function = SSLD_BINARY_MUL };
    if (node->kind == SSLD_OP_SCALE) {
        affine->number = node->attributes.scale;
        return true;
    }
    int32_t function = node->attributes.function;
    bool turns = function == SSLD_BINARY_MUL || function == SSLD_BINARY_ADD;
    if (node->kind != SSLD_OP_BINARY || node->activation.kind != SSLD_OP_IDENTITY ||
        (!turns && function != SSLD_BINARY_DIV && function != SSLD_BINARY_SUB))
        return false;
    bool first = is_constant(f, node->inputs[0]);
    if (first == is_constant(f, node->inputs[1]) || (first && !turns))
        return false;
    affine->x = node->inputs[first ? 1 : 0];
    affine->constant = node->inputs[first ? 0 : 1];
    affine->function = function;
    return true;
}

static void numbers_of(const struct fuser *f, const struct affine *affine, int64_t output, double *factor, double *shift)
{
    const struct ssld_value *constant = affine->constant == SSLD_NO_VALUE ? NULL : value_at(f, affine->constant);
    double number = !constant ? affine->number : constant->data[ssld_value_elements(constant) == 1 ? 0 : output];
    *factor = affine->function == SSLD_BINARY_MUL ? number : affine->function == SSLD_BINARY_DIV ? 1 / number : 1;
    *shift = affine->function == SSLD_BINARY_ADD ? number : affine->function == SSLD_BINARY_SUB ? -number : 0;
}

/* New weights and bias beside the old ones, which others may read too. */
static ssld_status fold(struct fuser *f, struct ssld_node *product, const struct affine *affine)
{
    struct ssld_graph *graph = f->graph;
    const struct ssld_value *old = value_at(f, product->inputs[1]);
    int32_t old_bias = input_or_none(product, 2), weights, bias;
    int64_t outputs = outputs_of(f, product), elements = ssld_value_elements(old), dims[SSLD_MOST_DIMS];
    memcpy(dims, old->dims, sizeof dims);
    ssld_status status = ssld_graph_add_value(graph, NULL, SSLD_VALUE_PARAMETER, old->ndims, dims, old->data, &weights);
    if (!status)
        status = ssld_graph_add_value(graph, NULL, SSLD_VALUE_PARAMETER, 1, &outputs, NULL, &bias);
    if (status)
        return status;
    float *w = value_at(f, weights)->data, *b = value_at(f, bias)->data;
    bool behind = product->kind == SSLD_OP_MATMUL; /* outputs are the last axis */
    for (int64_t o = 0; o < outputs; o++) {
        double factor, shift;
        numbers_of(f, affine, o, &factor, &shift);
        for (int64_t i = 0; i < elements / outputs; i++) {
            float *at = &w[behind ? i * outputs + o : o * (elements / outputs) + i];
            *at = (float)(*at * factor);
        }
        b[o] = (float)((old_bias == SSLD_NO_VALUE ? 0.0 : value_at(f, old_bias)->data[o]) * factor + shift);
    }
    set_input(product, 1, weights);
    set_input(product, 2, bias);
    return SSLD_OK;
}

static ssld_status fold_into_weights(struct fuser *f, struct ssld_node *node)
{
    struct affine affine;
    if (!is_affine(f, node, &affine))
        return SSLD_OK;
    struct ssld_node *product = ssld_uses_sole_producer(f->graph, &f->uses, affine.x);
    const struct ssld_value *dst = value_at(f, node->output);
    if (!product || !has_weights(f, product) || product->activation.kind != SSLD_OP_IDENTITY || product->input_count > 3 ||
        product->attributes.scale != 1.0f || dst->ndims != value_at(f, affine.x)->ndims ||
        ssld_value_elements(dst) != ssld_value_elements(value_at(f, affine.x)))
        return SSLD_OK;
    int32_t axis = product->kind == SSLD_OP_CONV ? 1 : dst->ndims - 1;
    if (affine.constant != SSLD_NO_VALUE && !goes_along(value_at(f, affine.constant), dst, axis))
        return SSLD_OK;
    /* Numbers that float cannot hold as a factor stay where they are. */
    for (int64_t o = 0; o < outputs_of(f, product); o++) {
        double factor, shift;
        numbers_of(f, &affine, o, &factor, &shift);
        if (!isfinite(factor) || !isfinite(shift))
            return SSLD_OK;
    }
    ssld_status status = fold(f, product, &affine);
    if (!status)
        ssld_uses_swap_outputs(&f->uses, product, node);
    return status;
}

/* -- Products of two activations ------------------------------------------------------------------------------------ */

/* A factor that is one number. */
static bool is_number(const struct fuser *f, const struct ssld_node *node, struct affine *affine, float *number)
{
    double factor, shift;
    if (!is_affine(f, node, affine) || (affine->function != SSLD_BINARY_MUL && affine->function != SSLD_BINARY_DIV) ||
        (affine->constant != SSLD_NO_VALUE && ssld_value_elements(value_at(f, affine->constant)) != 1) ||
        value_at(f, affine->x)->ndims != value_at(f, node->output)->ndims)
        return false;
    numbers_of(f, affine, 0, &factor, &shift);
    *number = (float)factor;
    return isfinite(factor);
}

static bool only_moves(int32_t kind)
{
    return kind == SSLD_OP_TRANSPOSE || kind == SSLD_OP_RESHAPE || kind == SSLD_OP_STRIDED_SLICE;
}

/* The number that an operand was multiplied with on its way here, maybe before it was turned round; that node is left out. */
static bool take_number(struct fuser *f, struct ssld_node *reader, int32_t input, float *number)
{
    struct affine affine;
    for (;;) {
        struct ssld_node *maker = ssld_uses_sole_producer(f->graph, &f->uses, reader->inputs[input]);
        if (!maker)
            return false;
        if (is_number(f, maker, &affine, number)) {
            reader->inputs[input] = affine.x;
            return true;
        }
        if (!only_moves(maker->kind))
            return false;
        reader = maker;
        input = 0;
    }
}

static void scale_product(struct fuser *f, struct ssld_node *node)
{
    float number;
    if (node->kind != SSLD_OP_MATMUL || has_weights(f, node) || input_or_none(node, 2) != SSLD_NO_VALUE)
        return;
    for (int32_t input = 0; input < 2; input++)
        while (take_number(f, node, input, &number))
            node->attributes.scale *= number;
}

static void scale_result(struct fuser *f, struct ssld_node *node)
{
    struct affine affine;
    float number;
    if (!is_number(f, node, &affine, &number))
        return;
    struct ssld_node *product = ssld_uses_sole_producer(f->graph, &f->uses, affine.x);
    if (!product || product->kind != SSLD_OP_MATMUL || has_weights(f, product) ||
        product->activation.kind != SSLD_OP_IDENTITY || input_or_none(product, 2) != SSLD_NO_VALUE)
        return;
    product->attributes.scale *= number;
    ssld_uses_swap_outputs(&f->uses, product, node);
}

/* -- Zeros around an image ---------------------------------------------------------------------------------------- */

static bool is_zero_border(const struct ssld_node *node)
{
    const struct ssld_attributes *a = &node->attributes;
    return node->kind == SSLD_OP_PAD && a->mode == SSLD_PAD_CONSTANT && a->alpha == 0 && !a->before[0] && !a->after[0] &&
           !a->before[1] && !a->after[1];
}

/* An average that counts its pads sees zeros there. */
static bool takes_border(const struct ssld_node *node)
{
    const struct ssld_window *window = &node->attributes.window;
    bool padded = window->pads[0] || window->pads[1] || window->pads[2] || window->pads[3];
    return node->kind == SSLD_OP_CONV || (node->kind == SSLD_OP_AVERAGE_POOL && (!padded || node->attributes.count_include_pad));
}

static void join_border(struct fuser *f, struct ssld_node *node)
{
    if (!takes_border(node))
        return;
    struct ssld_node *pad = ssld_uses_sole_producer(f->graph, &f->uses, node->inputs[0]);
    struct ssld_window *window = &node->attributes.window;
    if (!pad || !is_zero_border(pad))
        return;
    for (int32_t side = 0; side < 2; side++) {
        int32_t reach = (window->kernel[side] - 1) * window->dilations[side] + 1;
        if (node->kind == SSLD_OP_AVERAGE_POOL && (pad->attributes.before[2 + side] + window->pads[side] >= reach ||
                                                   pad->attributes.after[2 + side] + window->pads[2 + side] >= reach))
            return; /* a window of zeros alone */
    }
    for (int32_t side = 0; side < 2; side++) {
        window->pads[side] += pad->attributes.before[2 + side];
        window->pads[2 + side] += pad->attributes.after[2 + side];
    }
    node->attributes.count_include_pad = 1;
    node->inputs[0] = pad->inputs[0];
}

/* -- Behind a product --------------------------------------------------------------------------------------------- */

static void join_activation(struct fuser *f, struct ssld_node *node)
{
    struct ssld_node *product =
        ssld_op_is_activation(node->kind) ? ssld_uses_sole_producer(f->graph, &f->uses, node->inputs[0]) : NULL;
    if (!product || product->kind != SSLD_OP_MATMUL || product->activation.kind != SSLD_OP_IDENTITY)
        return;
    product->activation = ssld_node_as_activation(node);
    ssld_uses_swap_outputs(&f->uses, product, node);
}

/* A convolution that runs behind whatever made the other summand adds it: input 3. */
static bool join_residual(struct fuser *f, struct ssld_node *sum, int32_t input)
{
    struct ssld_graph *graph = f->graph;
    struct ssld_node *conv = ssld_uses_sole_producer(graph, &f->uses, sum->inputs[input]);
    int32_t other = sum->inputs[1 - input], maker = f->uses.producers[other];
    if (!conv || conv->kind != SSLD_OP_CONV || conv->attributes.group != 1 || conv->input_count > 3 ||
        conv->activation.kind != SSLD_OP_IDENTITY || (maker != SSLD_NO_VALUE && maker > conv - graph->nodes))
        return false;
    set_input(conv, 3, other);
    conv->activation = sum->activation;
    ssld_uses_swap_outputs(&f->uses, conv, sum);
    return true;
}

/* -- Shared weights ----------------------------------------------------------------------------------------------- */

/* Each product keeps its weights in the layout it wants: those of several nodes are copied. */
static ssld_status own_weights(struct fuser *f, struct ssld_node *node)
{
    if (node->kind != SSLD_OP_CONV && node->kind != SSLD_OP_GEMM && node->kind != SSLD_OP_MATMUL)
        return SSLD_OK;
    int32_t shared = node->inputs[1], own;
    if (!is_constant(f, shared) || f->uses.readers[shared] < 2)
        return SSLD_OK;
    struct ssld_value weights = *value_at(f, shared);
    ssld_status status =
        ssld_graph_add_value(f->graph, NULL, weights.role, weights.ndims, weights.dims, weights.data, &own);
    if (!status) {
        f->uses.readers[shared]--;
        node->inputs[1] = own;
    }
    return status;
}

/* -- The passes --------------------------------------------------------------------------------------------------- */

static ssld_status for_nodes(struct ssld_graph *graph, ssld_status (*visit)(struct fuser *f, struct ssld_node *node))
{
    struct fuser f = { .graph = graph };
    ssld_status status = ssld_uses_take(graph, &f.uses);
    for (int32_t n = 0; !status && n < graph->node_count; n++)
        status = visit(&f, &graph->nodes[n]);
    ssld_uses_free(graph, &f.uses);
    return status ? status : ssld_graph_remove_unused(graph);
}

static ssld_status fold_node(struct fuser *f, struct ssld_node *node)
{
    join_border(f, node);
    scale_product(f, node);
    scale_result(f, node);
    return fold_into_weights(f, node);
}

static ssld_status join_node(struct fuser *f, struct ssld_node *node)
{
    join_activation(f, node);
    if (node->kind == SSLD_OP_ADD && !join_residual(f, node, 1))
        join_residual(f, node, 0);
    return SSLD_OK;
}

ssld_status ssld_graph_fold_constants(struct ssld_graph *graph)
{
    ssld_status status = for_nodes(graph, own_weights);
    return status ? status : for_nodes(graph, fold_node);
}

ssld_status ssld_graph_join_results(struct ssld_graph *graph)
{
    return for_nodes(graph, join_node);
}
