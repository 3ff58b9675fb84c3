/* SPDX-License-Identifier: BSD-2-Clause */
/* emit.c - what a converter asks of its node's inputs, and how its outputs come into the graph.
 *
 * The graph has no batch axis (graph.h), the file has one. Here is decided whether what a file does keeps images apart: every
 * operand's view says where the batch is, and each step below either works out where it is afterwards or refuses the node. */
#include "onnx/convert.h"

#include <stdio.h>
#include <string.h>

/* -- Inputs ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_onnx_need_inputs(const struct reader *reader, const onnx_node *node, size_t least, size_t most)
{
    size_t given = node->n_input;
    while (given && !*node->input[given - 1])
        given--;
    bool missing = !node->n_output || !*node->output[0];
    for (size_t i = 0; i < least && i < given; i++)
        missing = missing || !*node->input[i];
    if (given < least || given > most || missing)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it has %zu inputs; %s takes %zu to %zu", given,
                                node->op_type, least, most);
    return SSLD_OK;
}

ssld_status ssld_onnx_operand(struct reader *reader, const onnx_node *node, size_t index, struct operand *operand)
{
    struct entry *entry = ssld_onnx_input(reader, node, index);
    if (entry->kind == ENTRY_INPUT)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it reads '%.80s', an input beside the image",
                                entry->name);
    if (entry->kind == ENTRY_TENSOR && !entry->operand.constant) {
        ssld_status status = ssld_onnx_tensor_operand(reader, node, entry->tensor, &entry->operand);
        if (status)
            return status;
        entry->operand.constant->name = entry->name;
    }
    if (!entry->operand.constant && entry->operand.value == SSLD_NO_VALUE)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it reads '%.80s', which is not made", entry->name);
    *operand = entry->operand;
    return SSLD_OK;
}

ssld_status ssld_onnx_activation(struct reader *reader, const onnx_node *node, size_t index, struct operand *operand)
{
    ssld_status status = ssld_onnx_operand(reader, node, index, operand);
    if (!status && operand->constant)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is a constant", index);
    return status;
}

ssld_status ssld_onnx_image(struct reader *reader, const onnx_node *node, struct operand *operand)
{
    ssld_status status = ssld_onnx_activation(reader, node, 0, operand);
    if (!status && (operand->view.ndims != 4 || operand->view.batch || operand->view.dims[0] != 1))
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, H, W)");
    return status;
}

ssld_status ssld_onnx_constant(struct reader *reader, const onnx_node *node, size_t index, struct operand *operand)
{
    *operand = (struct operand){ .value = SSLD_NO_VALUE };
    if (!ssld_onnx_input_name(node, index))
        return SSLD_OK;
    ssld_status status = ssld_onnx_operand(reader, node, index, operand);
    if (!status && !operand->constant)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is not a constant", index);
    if (!status && operand->constant->each)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                  "it computes with the number of an image in its batch");
    return status;
}

ssld_status ssld_onnx_number(struct reader *reader, const onnx_node *node, size_t index, float *number)
{
    struct operand operand;
    const float *floats;
    ssld_status status = ssld_onnx_constant(reader, node, index, &operand);
    if (status || !operand.constant || !operand.constant->elements)
        return status;
    if (operand.constant->elements != 1)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' is not one number",
                                node->input[index]);
    status = ssld_onnx_constant_floats(reader, node, operand.constant, &floats);
    if (!status)
        *number = floats[0];
    return status;
}

/* -- Constants in the graph --------------------------------------------------------------------------------------- */

const char *ssld_onnx_new_name(struct reader *reader, const char *name, char *made_up, size_t size)
{
    do
        snprintf(made_up, size, "%.200s_%u", name, reader->made_up++);
    while (ssld_names_find(&reader->names, made_up));
    return made_up;
}

ssld_status ssld_onnx_add_constant(struct reader *reader, const onnx_node *node, struct constant *constant,
                                   int32_t role, int32_t ndims, const int64_t *dims, bool transposed, int32_t *value)
{
    char made_up[256];
    int32_t added;
    ssld_status status = ssld_onnx_spend(reader, (uint64_t)constant->elements * sizeof(float));
    if (status)
        return status;
    const char *base = constant->name ? constant->name : node->output[0];
    const char *name = constant->name && !constant->used ? constant->name
                                                         : ssld_onnx_new_name(reader, base, made_up, sizeof made_up);
    status = ssld_graph_add_value(reader->graph, name, role, ndims, dims, NULL, &added);
    if (!status)
        status = ssld_onnx_copy_floats(reader, node, constant, dims[0], constant->elements / dims[0], transposed,
                                       reader->graph->values[added].data);
    if (status)
        return status;
    constant->used = true;
    *value = added;
    return SSLD_OK;
}

ssld_status ssld_onnx_vector(struct reader *reader, const onnx_node *node, size_t index, int32_t role, int64_t count,
                             int32_t *value)
{
    struct operand operand;
    ssld_status status = ssld_onnx_constant(reader, node, index, &operand);
    if (status)
        return status;
    int32_t ndims = operand.constant ? operand.view.ndims : 0;
    if (ndims < 1 || operand.constant->elements != count || operand.view.dims[ndims - 1] != count)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' is not a vector of %lld elements",
                                node->input[index], (long long)count);
    return ssld_onnx_add_constant(reader, node, operand.constant, role, 1, &count, false, value);
}

/* -- Views -------------------------------------------------------------------------------------------------------- */

int64_t ssld_view_elements(const struct view *view)
{
    int64_t elements = 1;
    for (int32_t i = 0; i < view->ndims; i++)
        elements *= view->dims[i];
    return elements;
}

ssld_status ssld_onnx_need_own_axis(const struct reader *reader, const onnx_node *node, const struct view *view,
                                    int32_t axis)
{
    return axis == view->batch ? ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                                  "its axis %d is the batch's: it would mix images", axis)
                               : SSLD_OK;
}

/* Axes are aligned at their ends. Where two operands have the batch, it is the same axis, in the same order. */
ssld_status ssld_onnx_broadcast_views(const struct reader *reader, const onnx_node *node, int32_t count,
                                      const struct operand *operands, struct view *view)
{
    *view = (struct view){ .batch = -1, .outer = 1 };
    for (int32_t i = 0; i < count; i++)
        if (operands[i].view.ndims > view->ndims)
            view->ndims = operands[i].view.ndims;
    for (int32_t d = 0; d < SSLD_MOST_DIMS; d++)
        view->dims[d] = 1;
    for (int32_t i = 0; i < count; i++) {
        const struct view *own = &operands[i].view;
        int32_t shift = view->ndims - own->ndims;
        for (int32_t d = 0; d < own->ndims; d++) {
            int64_t *size = &view->dims[d + shift];
            if (own->dims[d] != *size && own->dims[d] != 1 && *size != 1)
                return ssld_onnx_refuse(reader, node, SSLD_FORMAT,
                                        "shapes do not fit: %lld and %lld elements in axis %d", (long long)own->dims[d],
                                        (long long)*size, d + shift);
            *size = *size == 1 ? own->dims[d] : *size;
        }
        if (own->batch < 0)
            continue;
        if (view->batch >= 0 && (view->batch != own->batch + shift || view->outer != own->outer))
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                    "its inputs have the batch in different places: it would mix images");
        view->batch = own->batch + shift;
        view->outer = own->outer;
    }
    return SSLD_OK;
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_onnx_add_node(struct reader *reader, const onnx_node *node, int32_t kind,
                               const struct ssld_attributes *attributes, int32_t count, const int32_t *values,
                               const struct view *view, struct operand *result)
{
    char made_up[256];
    int32_t value;
    const char *name = ssld_onnx_new_name(reader, node->output[0], made_up, sizeof made_up);
    ssld_status status =
        ssld_onnx_spend(reader, sizeof(struct ssld_node) + sizeof(struct ssld_value) + 2 * strlen(name));
    if (!status)
        status = ssld_graph_add_node(reader->graph, kind, name, count, values, attributes, name, &value);
    if (status)
        return status;
    const struct ssld_value *made = &reader->graph->values[value];
    int32_t ndims = view->ndims ? view->ndims : 1;
    if (made->ndims != ndims || memcmp(made->dims, view->dims, sizeof made->dims))
        return ssld_onnx_refuse(reader, node, SSLD_INTERNAL, "its shape is not what was expected");
    *result = (struct operand){ *view, value, NULL };
    return SSLD_OK;
}

/* Weights, biases, tokens and position tables are learned; bounds, divisors and conditions are not. */
static int32_t role_of(int32_t kind, const struct ssld_attributes *attributes, const struct constant *constant)
{
    bool learns = kind == SSLD_OP_MATMUL || kind == SSLD_OP_JOIN ||
                  (kind == SSLD_OP_BINARY && attributes &&
                   (attributes->function == SSLD_BINARY_ADD || attributes->function == SSLD_BINARY_MUL));
    return learns && constant->learned && constant->elements > 1 ? SSLD_VALUE_PARAMETER : SSLD_VALUE_BUFFER;
}

ssld_status ssld_onnx_emit(struct reader *reader, const onnx_node *node, int32_t kind,
                           const struct ssld_attributes *attributes, int32_t count, const struct operand *operands,
                           const struct view *view, struct operand *result)
{
    int32_t values[SSLD_MOST_INPUTS], constants = 0;
    int64_t elements = 1;
    for (int32_t i = 0; i < view->ndims; i++)
        if (view->dims[i] < 0 || view->dims[i] > INT32_MAX || (elements *= view->dims[i]) > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %d of what it makes has %lld elements", i,
                                    (long long)view->dims[i]);
    for (int32_t i = 0; i < count; i++)
        constants += operands[i].constant != NULL;
    if (constants == count)
        return ssld_onnx_fold(reader, node, kind, attributes, count, operands, view, result);
    if (!elements)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "what it makes has no elements");
    for (int32_t i = 0; i < count; i++) {
        const struct view *own = &operands[i].view;
        ssld_status status = SSLD_OK;
        values[i] = operands[i].value;
        if (operands[i].constant && !operands[i].constant->elements)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %d has no elements", i);
        if (operands[i].constant)
            status = ssld_onnx_add_constant(reader, node, operands[i].constant,
                                            role_of(kind, attributes, operands[i].constant),
                                            own->ndims ? own->ndims : 1, own->dims, false, &values[i]);
        if (status)
            return status;
    }
    return ssld_onnx_add_node(reader, node, kind, attributes, count, values, view, result);
}

/* A copy of the text in the place of the old one. */
static ssld_status replace_name(struct reader *reader, char **name, const char *to)
{
    char *copy = ssld_strdup(reader->context, to);
    if (!copy)
        return ssld_fail_memory(reader->context, "a name", strlen(to));
    ssld_free(reader->context, *name);
    *name = copy;
    return SSLD_OK;
}

ssld_status ssld_onnx_give(struct reader *reader, const onnx_node *node, size_t index, const struct operand *operand)
{
    if (index >= node->n_output || !*node->output[index])
        return SSLD_OK;
    ssld_names_find(&reader->names, node->output[index])->operand = *operand;
    if (operand->constant || operand->value < reader->own_values)
        return SSLD_OK;
    struct ssld_graph *graph = reader->graph;
    const char *name = index == 0 && node->name && *node->name ? node->name : node->output[index];
    ssld_status status = replace_name(reader, &graph->values[operand->value].name, node->output[index]);
    for (int32_t n = graph->node_count - 1; n >= 0 && !status; n--)
        if (graph->nodes[n].output == operand->value)
            return replace_name(reader, &graph->nodes[n].name, name);
    return status;
}

/* -- Common steps ------------------------------------------------------------------------------------------------- */

ssld_status ssld_onnx_unary(struct reader *reader, const onnx_node *node, int32_t function, float alpha, float beta,
                            const struct operand *src, struct operand *result)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_UNARY);
    attributes.function = function;
    attributes.alpha = alpha;
    attributes.beta = beta;
    struct view view = src->view;
    return ssld_onnx_emit(reader, node, SSLD_OP_UNARY, &attributes, 1, src, &view, result);
}

ssld_status ssld_onnx_binary(struct reader *reader, const onnx_node *node, int32_t function, const struct operand *a,
                             const struct operand *b, struct operand *result)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_BINARY);
    struct operand operands[2] = { *a, *b };
    struct view view;
    attributes.function = function;
    ssld_status status = ssld_onnx_broadcast_views(reader, node, 2, operands, &view);
    return status ? status : ssld_onnx_emit(reader, node, SSLD_OP_BINARY, &attributes, 2, operands, &view, result);
}

ssld_status ssld_onnx_scalar(struct reader *reader, float number, struct operand *result)
{
    struct constant *made = NULL;
    ssld_status status = ssld_onnx_new_constant(reader, false, 1, &made);
    if (status)
        return status;
    made->floats[0] = number;
    *result = (struct operand){ { .dims = { 1, 1, 1, 1, 1, 1 }, .batch = -1, .outer = 1 }, SSLD_NO_VALUE, made };
    return SSLD_OK;
}

ssld_status ssld_onnx_transpose(struct reader *reader, const onnx_node *node, const struct operand *src,
                                const int32_t *perm, struct operand *result)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_TRANSPOSE);
    struct view view = src->view;
    bool moves = false;
    for (int32_t i = 0; i < view.ndims; i++) {
        view.dims[i] = src->view.dims[perm[i]];
        attributes.perm[i] = perm[i];
        if (src->view.batch == perm[i])
            view.batch = i;
        moves = moves || perm[i] != i;
    }
    if (moves)
        return ssld_onnx_emit(reader, node, SSLD_OP_TRANSPOSE, &attributes, 1, src, &view, result);
    *result = *src;
    return SSLD_OK;
}

/* Where the batch is among new axes: as many elements stand before it as did. Of several axes of one element that would do, the
 * one that was the batch's, else the one whose size the file left open, else the first. */
static bool place_batch(const struct view *from, int32_t ndims, const struct whole *dims, int32_t open, struct view *view)
{
    int64_t before = from->outer, product = 1;
    for (int32_t i = 0; i < from->batch; i++)
        before *= from->dims[i];
    int32_t best = -1;
    view->batch = -1;
    for (int32_t i = 0; i < ndims; i++) {
        int64_t size = view->dims[i];
        bool fits = before % product == 0 && size % (before / product) == 0 && before / product >= 1;
        bool named = dims[i].per != 0;
        int32_t claim = named ? 4 : i == from->batch && size == 1 ? 3 : i == open ? 2 : i == from->batch ? 1 : 0;
        if (fits && (claim > best || named)) {
            best = claim;
            view->batch = i;
            view->outer = before / product;
        }
        product *= size;
        if (named && !fits)
            return false;
    }
    return view->batch >= 0;
}

static ssld_status emit_reshape(struct reader *reader, const onnx_node *node, const struct operand *src,
                                const struct view *view, struct operand *result)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_RESHAPE);
    if (view->ndims == src->view.ndims && !memcmp(view->dims, src->view.dims, sizeof view->dims)) {
        *result = *src;
        result->view = *view;
        return SSLD_OK;
    }
    attributes.rank = view->ndims ? view->ndims : 1;
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        attributes.sizes[i] = (int32_t)view->dims[i];
    return ssld_onnx_emit(reader, node, SSLD_OP_RESHAPE, &attributes, 1, src, view, result);
}

ssld_status ssld_onnx_reshape(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t ndims,
                              const struct whole *dims, struct operand *result)
{
    return ssld_onnx_reshape_open(reader, node, src, ndims, dims, -1, result);
}

ssld_status ssld_onnx_reshape_open(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t ndims,
                                   const struct whole *dims, int32_t open, struct operand *result)
{
    struct view view = { .ndims = ndims, .dims = { 1, 1, 1, 1, 1, 1 }, .batch = -1, .outer = 1 };
    int64_t elements = 1;
    for (int32_t i = 0; i < ndims; i++) {
        if ((dims[i].per && dims[i].plus) || (dims[i].per && src->view.batch < 0))
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "axis %d has %lld * N + %lld elements", i,
                                    (long long)dims[i].per, (long long)dims[i].plus);
        view.dims[i] = dims[i].per ? dims[i].per : dims[i].plus;
        if (view.dims[i] < 0 || view.dims[i] > INT32_MAX || (elements *= view.dims[i]) > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %d of its new shape has %lld elements", i,
                                    (long long)view.dims[i]);
    }
    if (elements != ssld_view_elements(&src->view))
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT,
                                "its new shape has %lld elements for an image, its input %lld", (long long)elements,
                                (long long)ssld_view_elements(&src->view));
    if (src->view.batch >= 0 && elements && !place_batch(&src->view, ndims, dims, open, &view))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "its new shape tears the batch apart: it would mix images");
    return emit_reshape(reader, node, src, &view, result);
}

ssld_status ssld_onnx_rearrange(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t ndims,
                                const int32_t *from, struct operand *result)
{
    struct view view = { .ndims = ndims, .dims = { 1, 1, 1, 1, 1, 1 }, .batch = -1, .outer = src->view.outer };
    for (int32_t i = 0; i < ndims; i++) {
        view.dims[i] = from[i] < 0 ? 1 : src->view.dims[from[i]];
        if (from[i] >= 0 && from[i] == src->view.batch)
            view.batch = i;
    }
    if (src->view.batch >= 0 && view.batch < 0)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "it takes the batch's axis away; export with an open batch");
    return emit_reshape(reader, node, src, &view, result);
}
