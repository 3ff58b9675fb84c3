/* SPDX-License-Identifier: BSD-2-Clause */
/* inputs.c - what a converter asks of its node's inputs, and how its output comes into the graph. */
#include "onnx/convert.h"

ssld_status ssld_onnx_need_inputs(const struct reader *reader, const onnx_node *node, size_t least, size_t most)
{
    size_t given = node->n_input;
    while (given && !*node->input[given - 1])
        given--;
    bool missing = false;
    for (size_t i = 0; i < least && i < given; i++)
        missing = missing || !*node->input[i];
    if (given < least || given > most || missing)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it has %zu inputs; %s takes %zu to %zu", given, node->op_type, least,
                                most);
    return SSLD_OK;
}

ssld_status ssld_onnx_activation_input(const struct reader *reader, const onnx_node *node, size_t index, int32_t *value)
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    if (!entry || entry->kind == ENTRY_TENSOR || entry->kind == ENTRY_COLUMN)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is a constant", index);
    if (entry->kind == ENTRY_INPUT)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it reads '%.80s', an input beside the image", entry->name);
    if (entry->gelu.stage)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it reads '%.80s', the inside of a GELU", entry->name);
    if (entry->channels_last)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it reads '%.80s', whose channels a Transpose has put last",
                                entry->name);
    *value = entry->value;
    return SSLD_OK;
}

ssld_status ssld_onnx_image_input(const struct reader *reader, const onnx_node *node, int32_t *value)
{
    ssld_status status = ssld_onnx_activation_input(reader, node, 0, value);
    if (!status && reader->graph->values[*value].ndims != 4)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, H, W)");
    return status;
}

bool ssld_onnx_is_constant(const struct reader *reader, const onnx_node *node, size_t index)
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    return entry && entry->kind == ENTRY_TENSOR;
}

void ssld_onnx_set_output(struct reader *reader, const onnx_node *node, size_t index, int32_t value, int32_t graph_node)
{
    struct entry *entry = ssld_names_find(&reader->names, node->output[index]);
    entry->value = value;
    entry->graph_node = graph_node;
}

void ssld_onnx_same_output(struct reader *reader, const onnx_node *node)
{
    const struct entry *src = ssld_onnx_input(reader, node, 0);
    struct entry *dst = ssld_names_find(&reader->names, node->output[0]);
    dst->value = src->value;
    dst->graph_node = src->graph_node;
    dst->readers += src->readers - 1; /* whoever reads one name reads the other */
}

ssld_status ssld_onnx_add_node(struct reader *reader, const onnx_node *node, int32_t kind, int32_t input_count,
                               const int32_t *inputs, const struct ssld_attributes *attributes)
{
    int32_t value;
    const char *name = node->name && *node->name ? node->name : node->output[0];
    ssld_status status = ssld_graph_add_node(reader->graph, kind, name, input_count, inputs, attributes, node->output[0],
                                             &value);
    if (!status)
        ssld_onnx_set_output(reader, node, 0, value, reader->graph->node_count - 1);
    return status;
}

ssld_status ssld_onnx_number_input(const struct reader *reader, const onnx_node *node, size_t index, float *number)
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    if (!entry)
        return SSLD_OK;
    if (entry->kind != ENTRY_TENSOR)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is not a constant", index);
    return ssld_onnx_tensor_number(reader, node, entry->tensor, number);
}

ssld_status ssld_onnx_constant_shape(const struct reader *reader, const onnx_node *node, size_t index, int32_t ndims,
                                     int64_t dims[SSLD_MOST_DIMS])
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    int32_t given;
    int64_t elements;
    if (!entry || entry->kind != ENTRY_TENSOR)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is not a constant", index);
    ssld_status status = ssld_onnx_tensor_shape(reader, node, entry->tensor, &given, dims, &elements);
    if (!status && given != ndims)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' has %d dimensions, not %d", entry->name,
                                  given, ndims);
    return status;
}

ssld_status ssld_onnx_vector_input(struct reader *reader, const onnx_node *node, size_t index, int32_t role,
                                   int64_t count, int32_t *value)
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    int32_t ndims;
    int64_t dims[SSLD_MOST_DIMS], elements = 0;
    if (!entry || entry->kind != ENTRY_TENSOR)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is not a constant", index);
    ssld_status status = ssld_onnx_tensor_shape(reader, node, entry->tensor, &ndims, dims, &elements);
    if (status)
        return status;
    if (ndims < 1 || elements != count || dims[ndims - 1] != count)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' is not a vector of %lld elements",
                                entry->name, (long long)count);
    return ssld_onnx_add_constant(reader, node, index, role, 1, &count, false, value);
}
