/* SPDX-License-Identifier: BSD-2-Clause */
/* operators.c - ONNX operators into graph nodes: the table of operators, and what makes a node of one of them.
 *
 * An operator whose inputs and attributes are the graph's needs no function: convert_plain() serves it. */
#include "onnx/convert.h"

#include <string.h>

#define MOST_AXES 4

/* -- Windows ------------------------------------------------------------------------------------------------------ */

/* auto_pad into pads. The kernel must be known. */
static ssld_status resolve_auto_pad(const struct reader *reader, const onnx_node *node, int32_t src,
                                    struct ssld_window *window)
{
    const onnx_attribute *attribute = ssld_onnx_find_attribute(node, "auto_pad");
    if (!attribute)
        return SSLD_OK;
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, attribute, TYPE_STRING);
    if (status)
        return status;
    static const struct {
        const char *name;
        bool        same, upper;
    } modes[] = { { "NOTSET", false, false }, { "VALID", false, false }, { "SAME_UPPER", true, true },
                  { "SAME_LOWER", true, false } };
    size_t mode = 0, count = sizeof modes / sizeof modes[0];
    while (mode < count && (strlen(modes[mode].name) != attribute->s.len ||
                            memcmp(modes[mode].name, attribute->s.data, attribute->s.len)))
        mode++;
    if (mode == count)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "auto_pad '%.*s' does not exist",
                                attribute->s.len < 40 ? (int)attribute->s.len : 40, (const char *)attribute->s.data);
    if (mode == 0)
        return SSLD_OK;
    memset(window->pads, 0, sizeof window->pads);
    for (int axis = 0; axis < 2; axis++)
        if (window->strides[axis] < 1 || window->kernel[axis] < 1 || window->kernel[axis] > UINT16_MAX ||
            window->dilations[axis] < 1 || window->dilations[axis] > INT16_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "kernel %d, stride %d, dilation %d are no window",
                                    window->kernel[axis], window->strides[axis], window->dilations[axis]);
    if (modes[mode].same)
        ssld_window_pad_same(window, reader->graph->values[src].dims + 2, modes[mode].upper);
    return SSLD_OK;
}

static ssld_status convert_conv(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    int32_t values[3] = { SSLD_NO_VALUE, SSLD_NO_VALUE, SSLD_NO_VALUE };
    int64_t dims[SSLD_MOST_DIMS];
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 3)) || (status = ssld_onnx_image_input(reader, node, &values[0])) ||
        (status = ssld_onnx_constant_shape(reader, node, 1, 4, dims)))
        return status;
    for (int axis = 0; axis < 2; axis++)
        if (!attributes->window.kernel[axis])
            attributes->window.kernel[axis] = (int32_t)dims[2 + axis];
    if ((status = resolve_auto_pad(reader, node, values[0], &attributes->window)) ||
        (status = ssld_onnx_add_constant(reader, node, 1, SSLD_VALUE_PARAMETER, 4, dims, false, &values[1])))
        return status;
    bool bias = ssld_onnx_input(reader, node, 2) != NULL;
    if (bias && (status = ssld_onnx_vector_input(reader, node, 2, SSLD_VALUE_PARAMETER, dims[0], &values[2])))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, bias ? 3 : 2, values, attributes);
}

static ssld_status convert_pool(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_image_input(reader, node, &src)) ||
        (status = resolve_auto_pad(reader, node, src, &attributes->window)))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, 1, &src, attributes);
}

/* -- Normalisation and activations -------------------------------------------------------------------------------- */

static ssld_status convert_batch_norm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    int32_t values[5] = { 0 };
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 5, 5)) || (status = ssld_onnx_image_input(reader, node, &values[0])))
        return status;
    int64_t channels = reader->graph->values[values[0]].dims[1];
    for (size_t i = 1; i < 5; i++) {
        int32_t role = i < 3 ? SSLD_VALUE_PARAMETER : SSLD_VALUE_BUFFER;
        if ((status = ssld_onnx_vector_input(reader, node, i, role, channels, &values[i])))
            return status;
        reader->graph->values[values[i]].no_decay = i < 3;
    }
    return ssld_onnx_add_node(reader, node, row->kind, 5, values, attributes);
}

/* One activation in, one out, nothing else. */
static ssld_status convert_plain(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, 1, &src, attributes);
}

/* Bounds are attributes up to opset 10, inputs later. */
static ssld_status convert_clip(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 3)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (status = ssld_onnx_number_input(reader, node, 1, &attributes->alpha)) ||
        (status = ssld_onnx_number_input(reader, node, 2, &attributes->beta)))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, 1, &src, attributes);
}

/* Slopes stand where the channels stand: of shape (C, 1, 1) or (1, C, 1, 1) for an image, (C) or (1, C) for features; or one
 * for all. */
static ssld_status convert_prelu(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes)
{
    int32_t values[2] = { SSLD_NO_VALUE, SSLD_NO_VALUE }, ndims;
    int64_t dims[SSLD_MOST_DIMS], count;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 2)) ||
        (status = ssld_onnx_activation_input(reader, node, 0, &values[0])))
        return status;
    const struct entry *slopes = ssld_onnx_input(reader, node, 1);
    const struct ssld_value *src = &reader->graph->values[values[0]];
    if (slopes->kind != ENTRY_TENSOR && slopes->kind != ENTRY_COLUMN)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its slopes are not a constant");
    if ((status = ssld_onnx_tensor_shape(reader, node, slopes->tensor, &ndims, dims, &count)))
        return status;
    int32_t axis = ndims + (slopes->kind == ENTRY_COLUMN ? 2 : 0) - (src->ndims - 1);
    if (count != 1 && (count != src->dims[1] || axis < 0 || dims[axis] != count))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its slopes '%.80s' are not one for each of %lld channels",
                                slopes->name, (long long)src->dims[1]);
    if ((status = ssld_onnx_add_constant(reader, node, 1, SSLD_VALUE_PARAMETER, 1, &count, false, &values[1])))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, 2, values, attributes);
}

/* The ratio is an attribute up to opset 11, an input later; the input that says whether to train is the host's business. */
static ssld_status convert_dropout(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 3)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (status = ssld_onnx_number_input(reader, node, 1, &attributes->ratio)))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, 1, &src, attributes);
}

/* -- Arithmetic --------------------------------------------------------------------------------------------------- */

/* The bias of a MatMul that only this node reads moves into it: true if it did. */
static ssld_status take_bias(struct reader *reader, const onnx_node *node, size_t constant, bool *taken)
{
    const struct entry *before = ssld_onnx_input(reader, node, 1 - constant);
    struct ssld_node *gemm = before && before->graph_node != SSLD_NO_VALUE ? &reader->graph->nodes[before->graph_node] : NULL;
    *taken = false;
    if (!gemm || gemm->kind != SSLD_OP_GEMM || gemm->input_count != 2 || before->readers != 1)
        return SSLD_OK;
    int32_t value = before->value, graph_node = before->graph_node, bias;
    int64_t outputs = reader->graph->values[value].dims[1];
    ssld_status status = ssld_onnx_vector_input(reader, node, constant, SSLD_VALUE_PARAMETER, outputs, &bias);
    if (status)
        return status;
    gemm->inputs[2] = bias;
    gemm->input_count = 3;
    ssld_onnx_set_output(reader, node, 0, value, graph_node);
    *taken = true;
    return SSLD_OK;
}

static ssld_status convert_add(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                               struct ssld_attributes *attributes)
{
    int32_t values[2] = { 0 };
    bool taken = false;
    ssld_status status = ssld_onnx_need_inputs(reader, node, 2, 2);
    if (!status)
        status = ssld_onnx_continue_gelu(reader, node, &taken);
    for (size_t i = 0; i < 2 && !status && !taken; i++)
        if (ssld_onnx_is_constant(reader, node, i) && !ssld_onnx_is_constant(reader, node, 1 - i))
            status = take_bias(reader, node, i, &taken);
    if (taken)
        return status;
    if (status || (status = ssld_onnx_activation_input(reader, node, 0, &values[0])) ||
        (status = ssld_onnx_activation_input(reader, node, 1, &values[1])))
        return status;
    const struct ssld_value *a = &reader->graph->values[values[0]], *b = &reader->graph->values[values[1]];
    if (a->ndims != b->ndims || memcmp(a->dims, b->dims, sizeof a->dims))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it adds activations of different shapes");
    return ssld_onnx_add_node(reader, node, row->kind, 2, values, attributes);
}

/* b is of a's shape, or a number for each of its channels or for each of its positions. */
static bool is_factor_of(const struct ssld_value *a, const struct ssld_value *b)
{
    bool same = a->ndims == b->ndims && !memcmp(a->dims, b->dims, sizeof a->dims);
    bool by_channel = a->dims[1] == b->dims[1] && b->dims[2] == 1 && b->dims[3] == 1;
    bool by_position = b->dims[1] == 1 && b->dims[2] == a->dims[2] && b->dims[3] == a->dims[3];
    return same || (a->ndims == 4 && b->ndims == 4 && (by_channel || by_position));
}

/* An activation times a constant number, or a factor of it, in either order. */
static ssld_status convert_mul(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                               struct ssld_attributes *attributes)
{
    int32_t values[2] = { 0 };
    bool taken = false;
    ssld_status status = ssld_onnx_need_inputs(reader, node, 2, 2);
    if (status || (status = ssld_onnx_continue_gelu(reader, node, &taken)) || taken)
        return status;
    for (size_t i = 0; i < 2; i++)
        if (ssld_onnx_is_constant(reader, node, i)) {
            if ((status = ssld_onnx_activation_input(reader, node, 1 - i, &values[0])) ||
                (status = ssld_onnx_number_input(reader, node, i, &attributes->scale)))
                return status;
            return ssld_onnx_add_node(reader, node, SSLD_OP_SCALE, 1, values, attributes);
        }
    if ((status = ssld_onnx_activation_input(reader, node, 0, &values[0])) ||
        (status = ssld_onnx_activation_input(reader, node, 1, &values[1])))
        return status;
    const struct ssld_value *a = &reader->graph->values[values[0]], *b = &reader->graph->values[values[1]];
    if (!is_factor_of(a, b) && !is_factor_of(b, a))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "it multiplies activations that are neither of one shape nor one a number for each channel or "
                                "each position");
    return ssld_onnx_add_node(reader, node, row->kind, 2, values, attributes);
}

/* By a constant number. */
static ssld_status convert_div(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                               struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    float divisor = 1;
    ssld_status status;
    (void)row;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 2)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (status = ssld_onnx_number_input(reader, node, 1, &divisor)))
        return status;
    if (divisor == 0)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it divides by 0");
    attributes->scale = 1 / divisor;
    return ssld_onnx_add_node(reader, node, SSLD_OP_SCALE, 1, &src, attributes);
}

/* Weights are kept as (K, F): as they stand with transB, else transposed. */
static ssld_status convert_gemm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    int32_t values[3] = { SSLD_NO_VALUE, SSLD_NO_VALUE, SSLD_NO_VALUE };
    int64_t dims[SSLD_MOST_DIMS], transposed = 0;
    bool gemm = row->kind == SSLD_OP_GEMM;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, gemm ? 3 : 2)) ||
        (status = ssld_onnx_activation_input(reader, node, 0, &values[0])) ||
        (status = ssld_onnx_constant_shape(reader, node, 1, 2, dims)) ||
        (status = ssld_onnx_attribute_int(reader, node, "transB", &transposed)))
        return status;
    if (reader->graph->values[values[0]].ndims != 2)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, F)");
    int64_t own[2] = { transposed ? dims[0] : dims[1], transposed ? dims[1] : dims[0] };
    if ((status = ssld_onnx_add_constant(reader, node, 1, SSLD_VALUE_PARAMETER, 2, own, !transposed, &values[1])))
        return status;
    bool bias = gemm && ssld_onnx_input(reader, node, 2) != NULL;
    if (bias && (status = ssld_onnx_vector_input(reader, node, 2, SSLD_VALUE_PARAMETER, own[0], &values[2])))
        return status;
    return ssld_onnx_add_node(reader, node, SSLD_OP_GEMM, bias ? 3 : 2, values, attributes);
}

/* -- Shapes ------------------------------------------------------------------------------------------------------- */

static ssld_status convert_flatten(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    int64_t axis = 1;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)))
        return status;
    if ((status = ssld_onnx_need_channel_axis(reader, node, axis, reader->graph->values[src].ndims)))
        return status;
    return ssld_onnx_add_node(reader, node, row->kind, 1, &src, attributes);
}

/* To (N, -1) or (N, F), where N may be 0, -1 or a number: a Flatten. */
static ssld_status convert_reshape(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE, count = 0;
    int64_t target[SSLD_MOST_DIMS];
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 2)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)))
        return status;
    const struct entry *shape = ssld_onnx_input(reader, node, 1);
    if (shape->kind != ENTRY_TENSOR)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its shape is computed; export with torch.flatten(x, 1)");
    if ((status = ssld_onnx_tensor_integers(reader, node, shape->tensor, SSLD_MOST_DIMS, target, &count)))
        return status;
    int64_t features = ssld_value_elements(&reader->graph->values[src]);
    bool flattens = count == 2 && target[0] >= -1 && (target[1] == features || (target[1] == -1 && target[0] >= 0));
    if (!flattens)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its shape is not (N, %lld); only flattening is",
                                (long long)features);
    return ssld_onnx_add_node(reader, node, row->kind, 1, &src, attributes);
}

/* The mean over height and width is a global average pool; without keepdims it is flat too. */
static ssld_status convert_reduce_mean(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                       struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE, count = 0, pooled = SSLD_NO_VALUE;
    int64_t axes[MOST_AXES], keep = 1, seen = 0;
    char made_up[256];
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 2)) || (status = ssld_onnx_image_input(reader, node, &src)) ||
        (status = ssld_onnx_integers(reader, node, "axes", 1, MOST_AXES, axes, &count)) ||
        (status = ssld_onnx_attribute_int(reader, node, "keepdims", &keep)))
        return status;
    for (int32_t i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + 4 : axes[i];
        seen |= axis >= 0 && axis < 4 ? 1 << axis : 1 << 4;
    }
    if (count != 2 || seen != (1 << 2 | 1 << 3))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its axes are not height and width");
    if (keep)
        return ssld_onnx_add_node(reader, node, row->kind, 1, &src, attributes);
    const char *name = ssld_onnx_new_name(reader, node->output[0], made_up, sizeof made_up);
    status = ssld_graph_add_node(reader->graph, row->kind, name, 1, &src, attributes, name, &pooled);
    if (!status && !ssld_names_add(&reader->names, reader->graph->values[pooled].name, ENTRY_OUTPUT))
        status = ssld_fail_memory(reader->context, "a name", strlen(name));
    return status ? status : ssld_onnx_add_node(reader, node, SSLD_OP_FLATTEN, 1, &pooled, NULL);
}

/* -- Names for what is already there ------------------------------------------------------------------------------ */

static ssld_status convert_constant(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    const onnx_attribute *value = ssld_onnx_find_attribute(node, "value");
    (void)row;
    (void)attributes;
    if (!value)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it has no attribute 'value'");
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, value, TYPE_TENSOR);
    if (status)
        return status;
    struct entry *entry = ssld_names_find(&reader->names, node->output[0]);
    entry->kind = ENTRY_TENSOR;
    entry->tensor = value->t;
    return SSLD_OK;
}

/* Its output is another name for its input. PyTorch writes constants of equal value this way. */
static ssld_status convert_identity(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    (void)row;
    (void)attributes;
    int32_t value;
    ssld_status status = ssld_onnx_need_inputs(reader, node, 1, 1);
    if (status)
        return status;
    const struct entry *src = ssld_onnx_input(reader, node, 0);
    if (src->kind == ENTRY_TENSOR) {
        struct entry *dst = ssld_names_find(&reader->names, node->output[0]);
        dst->kind = ENTRY_TENSOR;
        dst->tensor = src->tensor;
        return SSLD_OK;
    }
    if ((status = ssld_onnx_activation_input(reader, node, 0, &value)))
        return status;
    ssld_onnx_same_output(reader, node);
    return SSLD_OK;
}

/* A constant vector (C) into (C, 1, 1), as PyTorch writes PReLU's slopes. */
static ssld_status convert_unsqueeze(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    int32_t ndims = 0, count = 0;
    int64_t dims[SSLD_MOST_DIMS], elements, axes[MOST_AXES] = { 0 };
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 2)) ||
        (status = ssld_onnx_integers(reader, node, "axes", 1, MOST_AXES, axes, &count)))
        return status;
    const struct entry *src = ssld_onnx_input(reader, node, 0);
    if (src->kind == ENTRY_TENSOR && (status = ssld_onnx_tensor_shape(reader, node, src->tensor, &ndims, dims, &elements)))
        return status;
    if (ndims != 1 || count != 2 || axes[0] != 1 || axes[1] != 2)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it does not make a constant vector (C) into (C, 1, 1)");
    struct entry *dst = ssld_names_find(&reader->names, node->output[0]);
    dst->kind = ENTRY_COLUMN;
    dst->tensor = src->tensor;
    return SSLD_OK;
}

/* From float to float, which PyTorch writes before bounds of Clip: nothing. */
static ssld_status convert_cast(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    ssld_status status = ssld_onnx_need_inputs(reader, node, 1, 1);
    const struct entry *src = status ? NULL : ssld_onnx_input(reader, node, 0);
    if (!status && src->kind == ENTRY_TENSOR && src->tensor->data_type != ELEMENT_FLOAT)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it casts '%.80s', which is not of type float", src->name);
    return status ? status : convert_identity(reader, row, node, attributes);
}

/* At the end of the network: logits are asked for, so what makes probabilities of them is left off. */
static ssld_status convert_softmax(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    int64_t axis = -1;
    ssld_status status;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)))
        return status;
    const struct entry *entry = ssld_names_find(&reader->names, node->output[0]);
    if (strcmp(node->output[0], reader->output) || entry->readers != 1)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "%s stands in the middle of the network", row->name);
    if (reader->graph->values[src].ndims != 2 || (axis != 1 && axis != -1))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it is not over the classes of (N, classes)");
    ssld_onnx_set_output(reader, node, 0, src, SSLD_NO_VALUE);
    return SSLD_OK;
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

static const struct onnx_operator operators[] = {
    { "Add", SSLD_OP_ADD, convert_add, "two activations of one shape; or the bias behind a MatMul" },
    { "AveragePool", SSLD_OP_AVERAGE_POOL, convert_pool, "two-dimensional; not count_include_pad with both pads and ceil_mode" },
    { "BatchNormalization", SSLD_OP_BATCH_NORM, convert_batch_norm, "of (N, C, H, W) with constant inputs" },
    { "Cast", SSLD_OP_KINDS, convert_cast, "from float to float" },
    { "Clip", SSLD_OP_CLIP, convert_clip, "constant bounds" },
    { "Concat", SSLD_OP_CONCAT, ssld_onnx_convert_concat, "activations, at most 32, behind one another in their channels" },
    { "Constant", SSLD_OP_KINDS, convert_constant, "a tensor" },
    { "Conv", SSLD_OP_CONV, convert_conv, "two-dimensional, constant weights and bias" },
    { "Div", SSLD_OP_KINDS, convert_div, "by a constant number" },
    { "Dropout", SSLD_OP_DROPOUT, convert_dropout, "constant ratio" },
    { "Erf", SSLD_OP_KINDS, ssld_onnx_convert_erf, "only as a part of x / 2 * (1 + erf(x / sqrt(2))), which is Gelu" },
    { "Flatten", SSLD_OP_FLATTEN, convert_flatten, "" },
    { "Gelu", SSLD_OP_KINDS, ssld_onnx_convert_gelu, "also spelled with Erf" },
    { "Gemm", SSLD_OP_GEMM, convert_gemm, "constant weights and bias" },
    { "GlobalAveragePool", SSLD_OP_GLOBAL_AVERAGE_POOL, convert_pool, "two-dimensional" },
    { "HardSigmoid", SSLD_OP_HARD_SIGMOID, convert_plain, "" },
    { "HardSwish", SSLD_OP_HARD_SWISH, convert_plain, "also spelled x * HardSigmoid(x) with alpha 1/6 and beta 1/2" },
    { "Identity", SSLD_OP_KINDS, convert_identity, "also of constants" },
    { "LayerNormalization", SSLD_OP_LAYER_NORM, ssld_onnx_convert_layer_norm,
      "of (N, F), or of an image between two Transposes; constant scale and shift" },
    { "LeakyRelu", SSLD_OP_LEAKY_RELU, convert_plain, "" },
    { "LogSoftmax", SSLD_OP_KINDS, convert_softmax, "only as the last node, which is left off" },
    { "MatMul", SSLD_OP_KINDS, convert_gemm, "(N, F) by a constant (F, K)" },
    { "MaxPool", SSLD_OP_MAX_POOL, convert_pool, "two-dimensional, without Indices" },
    { "Mul", SSLD_OP_MUL, convert_mul,
      "an activation by a constant number, by one of its shape, or by one number for each channel or each position" },
    { "PRelu", SSLD_OP_PRELU, convert_prelu, "one constant slope, or one for each channel" },
    { "ReduceMean", SSLD_OP_GLOBAL_AVERAGE_POOL, convert_reduce_mean, "over height and width" },
    { "Relu", SSLD_OP_RELU, convert_plain, "" },
    { "Reshape", SSLD_OP_FLATTEN, convert_reshape, "only as a Flatten, to a constant shape (N, -1) or (N, F)" },
    { "Sigmoid", SSLD_OP_SIGMOID, convert_plain, "x * Sigmoid(x) is Silu here" },
    { "Slice", SSLD_OP_KINDS, ssld_onnx_convert_slice, "channels, step 1, constant places" },
    { "Softmax", SSLD_OP_KINDS, convert_softmax, "only as the last node, which is left off" },
    { "Split", SSLD_OP_KINDS, ssld_onnx_convert_split, "of channels, constant sizes" },
    { "Swish", SSLD_OP_SILU, convert_plain, "also spelled x * Sigmoid(x)" },
    { "Tanh", SSLD_OP_TANH, convert_plain, "" },
    { "Transpose", SSLD_OP_KINDS, ssld_onnx_convert_transpose, "only around LayerNormalization" },
    { "Unsqueeze", SSLD_OP_KINDS, convert_unsqueeze, "of a constant vector (C) to (C, 1, 1), for PRelu" },
};

const struct onnx_operator *ssld_onnx_operator_at(int32_t index)
{
    return index >= 0 && (size_t)index < sizeof operators / sizeof operators[0] ? &operators[index] : NULL;
}

const struct onnx_operator *ssld_onnx_operator_find(const char *name)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (!strcmp(operators[i].name, name))
            return &operators[i];
    return NULL;
}
