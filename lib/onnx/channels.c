/* SPDX-License-Identifier: BSD-2-Clause */
/* channels.c - operators that move channels (Concat, Split, Slice) or put them last (Transpose), and layer norm, which in files
 * stands between two Transposes where its input is an image. */
#include "onnx/convert.h"

#include <string.h>

#define MOST_PARTS 256 /* outputs of a Split */

/* -- Concat, Split, Slice ----------------------------------------------------------------------------------------- */

ssld_status ssld_onnx_convert_concat(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    int32_t values[SSLD_MOST_INPUTS];
    int64_t axis = 0; /* not ONNX's default: it has none */
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, node->n_input)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)))
        return status;
    if (node->n_input > SSLD_MOST_INPUTS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it has %zu inputs, more than %d", node->n_input,
                                SSLD_MOST_INPUTS);
    for (size_t i = 0; i < node->n_input; i++)
        if ((status = ssld_onnx_activation_input(reader, node, i, &values[i])))
            return status;
    if ((status = ssld_onnx_need_channel_axis(reader, node, axis, reader->graph->values[values[0]].ndims)))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, (int32_t)node->n_input, values, attributes);
}

/* A Slice for one output of the node. */
static ssld_status add_slice(struct reader *reader, const onnx_node *node, size_t output, const char *name, int32_t src,
                             int64_t begin, int64_t end)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_SLICE);
    int32_t value;
    attributes.begin = (int32_t)begin;
    attributes.end = (int32_t)end;
    ssld_status status = ssld_graph_add_node(reader->graph, SSLD_OP_SLICE, name, 1, &src, &attributes,
                                             node->output[output], &value);
    if (!status)
        ssld_onnx_set_output(reader, node, output, value, reader->graph->node_count - 1);
    return status;
}

/* Sizes of the parts, where the file leaves them out: equal, the last one smaller if need be. */
static void equal_parts(int64_t channels, int64_t sizes[MOST_PARTS], int32_t count)
{
    int64_t each = (channels + count - 1) / count;
    for (int32_t i = 0; i < count; i++)
        sizes[i] = i + 1 < count ? each : channels - each * (count - 1);
}

ssld_status ssld_onnx_convert_split(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE, count = 0;
    int64_t axis = 0, sizes[MOST_PARTS], begin = 0;
    ssld_status status;
    (void)row;
    (void)attributes;
    if (node->n_output > MOST_PARTS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it has %zu outputs, more than %d", node->n_output, MOST_PARTS);
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 2)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)) ||
        (status = ssld_onnx_need_channel_axis(reader, node, axis, reader->graph->values[src].ndims)) ||
        (status = ssld_onnx_integers(reader, node, "split", 1, MOST_PARTS, sizes, &count)))
        return status;
    int64_t channels = reader->graph->values[src].dims[1], sum = 0;
    if (!count)
        equal_parts(channels, sizes, count = (int32_t)node->n_output);
    for (int32_t i = 0; i < count; i++)
        sum = sizes[i] < 1 || sizes[i] > channels ? INT32_MIN : sum + sizes[i];
    if ((size_t)count != node->n_output || sum != channels)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its %d parts do not make up %lld channels for %zu outputs", count,
                                (long long)channels, node->n_output);
    for (size_t i = 0; i < node->n_output && !status; begin += sizes[i++])
        if (*node->output[i] && ssld_names_find(&reader->names, node->output[i])->live)
            status = add_slice(reader, node, i, node->output[i], src, begin, begin + sizes[i]);
    return status;
}

/* ONNX counts a negative place from the end, and clamps what lies outside. */
static int64_t place(int64_t given, int64_t channels)
{
    if (given < 0)
        given = given < -channels ? 0 : given + channels;
    return given > channels ? channels : given;
}

ssld_status ssld_onnx_convert_slice(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE, begins = 0, ends = 0, axes = 0, steps = 0;
    int64_t begin = 0, end = 0, axis = 0, step = 1;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 5)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (status = ssld_onnx_integers(reader, node, "starts", 1, 1, &begin, &begins)) ||
        (status = ssld_onnx_integers(reader, node, "ends", 2, 1, &end, &ends)) ||
        (status = ssld_onnx_integers(reader, node, "axes", 3, 1, &axis, &axes)) ||
        (status = ssld_onnx_integers(reader, node, NULL, 4, 1, &step, &steps)) ||
        (status = ssld_onnx_need_channel_axis(reader, node, axis, reader->graph->values[src].ndims)))
        return status;
    if (begins != 1 || ends != 1)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it does not say where it starts and ends");
    if (step != 1)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its step is %lld, not 1", (long long)step);
    int64_t channels = reader->graph->values[src].dims[1];
    const char *name = node->name && *node->name ? node->name : node->output[0];
    return add_slice(reader, node, 0, name, src, place(begin, channels), place(end, channels));
}

/* -- Channels last ------------------------------------------------------------------------------------------------ */

/* The name a value has where channels are back in their place is the one that is written again. */
static ssld_status rename_value(struct reader *reader, int32_t value, const char *from, const char *to)
{
    char **name = &reader->graph->values[value].name;
    if (strcmp(*name, from))
        return SSLD_OK;
    char *copy = ssld_strdup(reader->context, to);
    if (!copy)
        return ssld_fail_memory(reader->context, "a name", strlen(to));
    ssld_free(reader->context, *name);
    *name = copy;
    return SSLD_OK;
}

/* Channels last, or back: the graph's value stays as it is, (N, C, H, W), and the entry says how the file sees it. */
ssld_status ssld_onnx_convert_transpose(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                        struct ssld_attributes *attributes)
{
    static const int64_t to_last[4] = { 0, 2, 3, 1 }, from_last[4] = { 0, 3, 1, 2 };
    int32_t value, count = 0;
    int64_t order[4] = { 0 };
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) ||
        (status = ssld_onnx_integers(reader, node, "perm", 1, 4, order, &count)))
        return status;
    const struct entry *src = ssld_onnx_input(reader, node, 0);
    bool last = src->channels_last;
    if (count != 4 || memcmp(order, last ? from_last : to_last, sizeof order))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "only an image's channels may go last, for layer norm, and come back");
    if (!last && (status = ssld_onnx_image_input(reader, node, &value)))
        return status;
    if (last && (status = rename_value(reader, src->value, src->name, node->output[0])))
        return status;
    ssld_onnx_same_output(reader, node);
    ssld_names_find(&reader->names, node->output[0])->channels_last = !last;
    return SSLD_OK;
}

/* Over the last axis: features of (N, F), or channels where a Transpose has put them last. */
ssld_status ssld_onnx_convert_layer_norm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                         struct ssld_attributes *attributes)
{
    int32_t values[3] = { SSLD_NO_VALUE, SSLD_NO_VALUE, SSLD_NO_VALUE };
    int64_t axis = -1;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 3)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)))
        return status;
    const struct entry *src = ssld_onnx_input(reader, node, 0);
    bool last = src->channels_last;
    values[0] = src->value;
    if (!last && (status = ssld_onnx_activation_input(reader, node, 0, &values[0])))
        return status;
    const struct ssld_value *value = &reader->graph->values[values[0]];
    if ((!last && value->ndims != 2) || (axis != -1 && axis != value->ndims - 1))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "axis %lld; only the features of (N, F), or the channels of an image where a Transpose has put "
                                "them last", (long long)axis);
    int64_t channels = value->dims[1];
    bool shift = ssld_onnx_input(reader, node, 2) != NULL;
    for (size_t i = 1; i < (shift ? 3u : 2u); i++) {
        if ((status = ssld_onnx_vector_input(reader, node, i, SSLD_VALUE_PARAMETER, channels, &values[i])))
            return status;
        reader->graph->values[values[i]].no_decay = true;
    }
    status = ssld_onnx_add_node(reader, node, row->kind, shift ? 3 : 2, values, attributes);
    if (!status)
        ssld_names_find(&reader->names, node->output[0])->channels_last = last;
    return status;
}
