/* SPDX-License-Identifier: BSD-2-Clause */
/* operators.c - ONNX operators into graph nodes: a table of operators and a table of what is asked of their attributes.
 *
 * Attributes that the graph has too are read by the graph's own operator table. An operator whose inputs and attributes are
 * the graph's needs no function: convert_plain() serves it. */
#include "onnx/reader.h"

#include <stdio.h>
#include <string.h>

#define MOST_ATTRIBUTES 32 /* of one node: ONNX's operators have far fewer */
#define MOST_AXES 4

#define ELEMENT_FLOAT 1 /* TensorProto.data_type */

/* AttributeProto.type */
#define TYPE_FLOAT 1
#define TYPE_INT 2
#define TYPE_STRING 3
#define TYPE_TENSOR 4
#define TYPE_INTS 7

/* -- Attributes --------------------------------------------------------------------------------------------------- */

enum rule_kind {
    RULE_IGNORED, /* means nothing to a classifier's logits */
    RULE_HANDLED, /* the operator's function reads it */
    RULE_INT,     /* must be `wanted` */
    RULE_FLOAT,
    RULE_INTS
};

/* Attributes that the graph has no place for. */
static const struct rule {
    const char *op, *attribute;
    int32_t     kind;
    int32_t     wanted;
    const char *note; /* for RULE_HANDLED */
} rules[] = {
    { "AveragePool", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "AveragePool", "dilations", RULE_INTS, 1, NULL },
    { "BatchNormalization", "consumed_inputs", RULE_IGNORED, 0, NULL },
    { "BatchNormalization", "is_test", RULE_IGNORED, 0, NULL },
    { "BatchNormalization", "spatial", RULE_INT, 1, NULL },
    { "BatchNormalization", "training_mode", RULE_IGNORED, 0, NULL },
    { "Cast", "saturate", RULE_IGNORED, 0, NULL },
    { "Cast", "to", RULE_INT, ELEMENT_FLOAT, NULL },
    { "Constant", "value", RULE_HANDLED, 0, "the only form read" },
    { "Conv", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "Dropout", "is_test", RULE_IGNORED, 0, NULL },
    { "Dropout", "seed", RULE_IGNORED, 0, NULL },
    { "Flatten", "axis", RULE_HANDLED, 0, "must be the channel axis" },
    { "Gemm", "alpha", RULE_FLOAT, 1, NULL },
    { "Gemm", "beta", RULE_FLOAT, 1, NULL },
    { "Gemm", "transA", RULE_INT, 0, NULL },
    { "Gemm", "transB", RULE_HANDLED, 0, "0 or 1" },
    { "LogSoftmax", "axis", RULE_HANDLED, 0, "must be the class axis" },
    { "MaxPool", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "MaxPool", "storage_order", RULE_INT, 0, NULL },
    { "ReduceMean", "axes", RULE_HANDLED, 0, "must be height and width" },
    { "ReduceMean", "keepdims", RULE_HANDLED, 0, "0 or 1" },
    { "ReduceMean", "noop_with_empty_axes", RULE_IGNORED, 0, NULL },
    { "Reshape", "allowzero", RULE_INT, 0, NULL },
    { "Softmax", "axis", RULE_HANDLED, 0, "must be the class axis" },
};

#define RULES (sizeof rules / sizeof rules[0])

const char *ssld_onnx_attribute_rule(const char *operator_name, int32_t index, char *text, size_t size)
{
    for (size_t i = 0; i < RULES; i++) {
        if (strcmp(rules[i].op, operator_name) || index--)
            continue;
        if (rules[i].kind == RULE_IGNORED)
            snprintf(text, size, "ignored");
        else if (rules[i].kind == RULE_HANDLED)
            snprintf(text, size, "%s", rules[i].note);
        else
            snprintf(text, size, "must be %d", rules[i].wanted);
        return rules[i].attribute;
    }
    return NULL;
}

static const onnx_attribute *find_attribute(const onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!strcmp(node->attribute[i]->name, name))
            return node->attribute[i];
    return NULL;
}

/* The attribute is of the type its operator gives it. Files before IR version 3 leave `type` out. */
static ssld_status check_attribute_type(const struct reader *reader, const onnx_node *node, const onnx_attribute *attribute,
                                        int32_t type)
{
    bool there = type == TYPE_FLOAT ? attribute->has_f : type == TYPE_INT ? attribute->has_i
               : type == TYPE_STRING ? attribute->has_s : type == TYPE_TENSOR ? attribute->t != NULL : true;
    if ((attribute->has_type && attribute->type && attribute->type != type) || !there)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%.80s' is not of its operator's type", attribute->name);
    return SSLD_OK;
}

static ssld_status attribute_int(const struct reader *reader, const onnx_node *node, const char *name, int64_t *value)
{
    const onnx_attribute *attribute = find_attribute(node, name);
    if (!attribute)
        return SSLD_OK;
    ssld_status status = check_attribute_type(reader, node, attribute, TYPE_INT);
    if (!status)
        *value = attribute->i;
    return status;
}

static ssld_status check_rule(const struct reader *reader, const onnx_node *node, const onnx_attribute *attribute,
                              const struct rule *rule)
{
    static const int32_t types[] = { [RULE_INT] = TYPE_INT, [RULE_FLOAT] = TYPE_FLOAT, [RULE_INTS] = TYPE_INTS };
    if (rule->kind == RULE_IGNORED || rule->kind == RULE_HANDLED)
        return SSLD_OK;
    ssld_status status = check_attribute_type(reader, node, attribute, types[rule->kind]);
    if (status)
        return status;
    bool as_wanted = rule->kind == RULE_INT     ? attribute->i == rule->wanted
                     : rule->kind == RULE_FLOAT ? attribute->f == (float)rule->wanted
                                                : true;
    for (size_t i = 0; rule->kind == RULE_INTS && i < attribute->n_ints; i++)
        as_wanted = as_wanted && attribute->ints[i] == rule->wanted;
    return as_wanted ? SSLD_OK
                     : ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "attribute '%s' is not %d", rule->attribute,
                                        rule->wanted);
}

/* Put an attribute where the graph's table says. */
static ssld_status place_attribute(const struct reader *reader, const onnx_node *node, const onnx_attribute *given,
                                   const struct ssld_attribute *place, struct ssld_attributes *attributes)
{
    static const int32_t types[] = { [SSLD_ATTRIBUTE_INT] = TYPE_INT, [SSLD_ATTRIBUTE_FLOAT] = TYPE_FLOAT,
                                     [SSLD_ATTRIBUTE_INTS] = TYPE_INTS };
    char *dst = (char *)attributes + place->offset;
    ssld_status status = check_attribute_type(reader, node, given, types[place->type]);
    if (status)
        return status;
    if (place->type == SSLD_ATTRIBUTE_FLOAT) {
        memcpy(dst, &given->f, sizeof given->f);
        return SSLD_OK;
    }
    if (place->type == SSLD_ATTRIBUTE_INTS && given->n_ints != (size_t)place->count)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "attribute '%s' has %zu numbers, not the %d of images",
                                place->name, given->n_ints, place->count);
    for (int32_t i = 0; i < place->count; i++) {
        int64_t number = place->type == SSLD_ATTRIBUTE_INT ? given->i : given->ints[i];
        int32_t narrow = (int32_t)number;
        if (number < INT32_MIN || number > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%s' is %lld", place->name, (long long)number);
        memcpy(dst + (size_t)i * sizeof narrow, &narrow, sizeof narrow);
    }
    return SSLD_OK;
}

static ssld_status read_attribute(const struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                  const onnx_attribute *given, struct ssld_attributes *attributes)
{
    if (row->kind < SSLD_OP_KINDS)
        for (const struct ssld_attribute *place = ssld_ops[row->kind].attributes; place->name; place++)
            if (!strcmp(place->name, given->name))
                return place_attribute(reader, node, given, place, attributes);
    for (size_t i = 0; i < RULES; i++)
        if (!strcmp(rules[i].op, row->name) && !strcmp(rules[i].attribute, given->name))
            return check_rule(reader, node, given, &rules[i]);
    return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "attribute '%.80s' is not known", given->name);
}

ssld_status ssld_onnx_read_attributes(const struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    if (node->n_attribute > MOST_ATTRIBUTES)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it has %zu attributes", node->n_attribute);
    *attributes = ssld_op_defaults(row->kind);
    /* All names first: find_attribute() relies on them. */
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!node->attribute[i]->name)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute %zu has no name", i);
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (find_attribute(node, node->attribute[i]->name) != node->attribute[i])
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%.80s' is there twice", node->attribute[i]->name);
        ssld_status status = read_attribute(reader, row, node, node->attribute[i], attributes);
        if (status)
            return status;
    }
    return SSLD_OK;
}

/* -- Inputs and outputs ------------------------------------------------------------------------------------------- */

static ssld_status need_inputs(const struct reader *reader, const onnx_node *node, size_t least, size_t most)
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

static ssld_status activation_input(const struct reader *reader, const onnx_node *node, size_t index, int32_t *value)
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    if (!entry || entry->kind == ENTRY_TENSOR)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is a constant", index);
    if (entry->kind == ENTRY_INPUT)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it reads '%.80s', an input beside the image", entry->name);
    *value = entry->value;
    return SSLD_OK;
}

static ssld_status image_input(const struct reader *reader, const onnx_node *node, int32_t *value)
{
    ssld_status status = activation_input(reader, node, 0, value);
    if (!status && reader->graph->values[*value].ndims != 4)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, H, W)");
    return status;
}

static bool is_constant(const struct reader *reader, const onnx_node *node, size_t index)
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    return entry && entry->kind == ENTRY_TENSOR;
}

/* The file's first output of the node stands for a graph value from here on. */
static void set_output(struct reader *reader, const onnx_node *node, int32_t value, int32_t graph_node)
{
    struct entry *entry = ssld_names_find(&reader->names, node->output[0]);
    entry->value = value;
    entry->graph_node = graph_node;
}

/* Append a graph node; it takes names of node and output from the file. */
static ssld_status add_node(struct reader *reader, const onnx_node *node, int32_t kind, int32_t input_count,
                            const int32_t *inputs, const struct ssld_attributes *attributes)
{
    int32_t value;
    const char *name = node->name && *node->name ? node->name : node->output[0];
    ssld_status status = ssld_graph_add_node(reader->graph, kind, name, input_count, inputs, attributes, node->output[0],
                                             &value);
    if (!status)
        set_output(reader, node, value, reader->graph->node_count - 1);
    return status;
}

/* An optional constant number as input; `number` keeps its default without one. */
static ssld_status number_input(const struct reader *reader, const onnx_node *node, size_t index, float *number)
{
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    if (!entry)
        return SSLD_OK;
    if (entry->kind != ENTRY_TENSOR)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is not a constant", index);
    return ssld_onnx_tensor_number(reader, node, entry->tensor, number);
}

/* Shape of constant input `index`, which must have `ndims` dimensions. */
static ssld_status constant_shape(const struct reader *reader, const onnx_node *node, size_t index, int32_t ndims,
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

/* A vector of `count` elements as input `index`: of shape (count), or (1, count) as some exporters write a bias. */
static ssld_status vector_input(struct reader *reader, const onnx_node *node, size_t index, int32_t role, int64_t count,
                                int32_t *value)
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

/* -- Windows ------------------------------------------------------------------------------------------------------ */

/* auto_pad into pads. The kernel must be known. */
static ssld_status resolve_auto_pad(const struct reader *reader, const onnx_node *node, int32_t src,
                                    struct ssld_window *window)
{
    const onnx_attribute *attribute = find_attribute(node, "auto_pad");
    if (!attribute)
        return SSLD_OK;
    ssld_status status = check_attribute_type(reader, node, attribute, TYPE_STRING);
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
    if ((status = need_inputs(reader, node, 2, 3)) || (status = image_input(reader, node, &values[0])) ||
        (status = constant_shape(reader, node, 1, 4, dims)))
        return status;
    for (int axis = 0; axis < 2; axis++)
        if (!attributes->window.kernel[axis])
            attributes->window.kernel[axis] = (int32_t)dims[2 + axis];
    if ((status = resolve_auto_pad(reader, node, values[0], &attributes->window)) ||
        (status = ssld_onnx_add_constant(reader, node, 1, SSLD_VALUE_PARAMETER, 4, dims, false, &values[1])))
        return status;
    bool bias = ssld_onnx_input(reader, node, 2) != NULL;
    if (bias && (status = vector_input(reader, node, 2, SSLD_VALUE_PARAMETER, dims[0], &values[2])))
        return status;
    return add_node(reader, node, row->kind, bias ? 3 : 2, values, attributes);
}

static ssld_status convert_pool(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = need_inputs(reader, node, 1, 1)) || (status = image_input(reader, node, &src)) ||
        (status = resolve_auto_pad(reader, node, src, &attributes->window)))
        return status;
    return add_node(reader, node, row->kind, 1, &src, attributes);
}

/* -- Normalisation and activations -------------------------------------------------------------------------------- */

static ssld_status convert_batch_norm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    int32_t values[5] = { 0 };
    ssld_status status;
    if ((status = need_inputs(reader, node, 5, 5)) || (status = image_input(reader, node, &values[0])))
        return status;
    int64_t channels = reader->graph->values[values[0]].dims[1];
    for (size_t i = 1; i < 5; i++) {
        int32_t role = i < 3 ? SSLD_VALUE_PARAMETER : SSLD_VALUE_BUFFER;
        if ((status = vector_input(reader, node, i, role, channels, &values[i])))
            return status;
        reader->graph->values[values[i]].no_decay = i < 3;
    }
    return add_node(reader, node, row->kind, 5, values, attributes);
}

/* One activation in, one out, nothing else. */
static ssld_status convert_plain(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = need_inputs(reader, node, 1, 1)) || (status = activation_input(reader, node, 0, &src)))
        return status;
    return add_node(reader, node, row->kind, 1, &src, attributes);
}

/* Bounds are attributes up to opset 10, inputs later. */
static ssld_status convert_clip(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = need_inputs(reader, node, 1, 3)) || (status = activation_input(reader, node, 0, &src)) ||
        (status = number_input(reader, node, 1, &attributes->alpha)) ||
        (status = number_input(reader, node, 2, &attributes->beta)))
        return status;
    return add_node(reader, node, row->kind, 1, &src, attributes);
}

/* The ratio is an attribute up to opset 11, an input later; the input that says whether to train is the host's business. */
static ssld_status convert_dropout(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    if ((status = need_inputs(reader, node, 1, 3)) || (status = activation_input(reader, node, 0, &src)) ||
        (status = number_input(reader, node, 1, &attributes->ratio)))
        return status;
    return add_node(reader, node, row->kind, 1, &src, attributes);
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
    ssld_status status = vector_input(reader, node, constant, SSLD_VALUE_PARAMETER, reader->graph->values[value].dims[1],
                                      &bias);
    if (status)
        return status;
    gemm->inputs[2] = bias;
    gemm->input_count = 3;
    set_output(reader, node, value, graph_node);
    *taken = true;
    return SSLD_OK;
}

static ssld_status convert_add(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                               struct ssld_attributes *attributes)
{
    int32_t values[2] = { 0 };
    ssld_status status = need_inputs(reader, node, 2, 2);
    for (size_t i = 0; i < 2 && !status; i++) {
        bool taken = false;
        if (is_constant(reader, node, i) && !is_constant(reader, node, 1 - i))
            status = take_bias(reader, node, i, &taken);
        if (taken)
            return SSLD_OK;
    }
    if (status || (status = activation_input(reader, node, 0, &values[0])) ||
        (status = activation_input(reader, node, 1, &values[1])))
        return status;
    const struct ssld_value *a = &reader->graph->values[values[0]], *b = &reader->graph->values[values[1]];
    if (a->ndims != b->ndims || memcmp(a->dims, b->dims, sizeof a->dims))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it adds activations of different shapes");
    return add_node(reader, node, row->kind, 2, values, attributes);
}

/* An activation times a constant number, one of its own shape, or a number for each channel, in either order. */
static ssld_status convert_mul(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                               struct ssld_attributes *attributes)
{
    int32_t values[2] = { 0 };
    ssld_status status = need_inputs(reader, node, 2, 2);
    for (size_t i = 0; i < 2 && !status; i++)
        if (is_constant(reader, node, i)) {
            if ((status = activation_input(reader, node, 1 - i, &values[0])) ||
                (status = number_input(reader, node, i, &attributes->scale)))
                return status;
            return add_node(reader, node, SSLD_OP_SCALE, 1, values, attributes);
        }
    if (status || (status = activation_input(reader, node, 0, &values[0])) ||
        (status = activation_input(reader, node, 1, &values[1])))
        return status;
    const struct ssld_value *a = &reader->graph->values[values[0]], *b = &reader->graph->values[values[1]];
    if (a->ndims == 4 && b->ndims == 4 && a->dims[2] == 1 && a->dims[3] == 1 && ssld_value_elements(b) > a->dims[1]) {
        const struct ssld_value *gate = a;
        int32_t first = values[0];
        values[0] = values[1];
        values[1] = first;
        a = b;
        b = gate;
    }
    bool same = a->ndims == b->ndims && !memcmp(a->dims, b->dims, sizeof a->dims);
    bool by_channel = a->ndims == 4 && b->ndims == 4 && a->dims[1] == b->dims[1] && b->dims[2] == 1 && b->dims[3] == 1;
    if (!same && !by_channel)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "it multiplies activations that are neither of one shape nor one a number for each channel");
    return add_node(reader, node, row->kind, 2, values, attributes);
}

/* Weights are kept as (K, F): as they stand with transB, else transposed. */
static ssld_status convert_gemm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    int32_t values[3] = { SSLD_NO_VALUE, SSLD_NO_VALUE, SSLD_NO_VALUE };
    int64_t dims[SSLD_MOST_DIMS], transposed = 0;
    bool gemm = row->kind == SSLD_OP_GEMM;
    ssld_status status;
    if ((status = need_inputs(reader, node, 2, gemm ? 3 : 2)) || (status = activation_input(reader, node, 0, &values[0])) ||
        (status = constant_shape(reader, node, 1, 2, dims)) || (status = attribute_int(reader, node, "transB", &transposed)))
        return status;
    if (reader->graph->values[values[0]].ndims != 2)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, F)");
    int64_t own[2] = { transposed ? dims[0] : dims[1], transposed ? dims[1] : dims[0] };
    if ((status = ssld_onnx_add_constant(reader, node, 1, SSLD_VALUE_PARAMETER, 2, own, !transposed, &values[1])))
        return status;
    bool bias = gemm && ssld_onnx_input(reader, node, 2) != NULL;
    if (bias && (status = vector_input(reader, node, 2, SSLD_VALUE_PARAMETER, own[0], &values[2])))
        return status;
    return add_node(reader, node, SSLD_OP_GEMM, bias ? 3 : 2, values, attributes);
}

/* -- Shapes ------------------------------------------------------------------------------------------------------- */

static ssld_status convert_flatten(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    int64_t axis = 1;
    ssld_status status;
    if ((status = need_inputs(reader, node, 1, 1)) || (status = activation_input(reader, node, 0, &src)) ||
        (status = attribute_int(reader, node, "axis", &axis)))
        return status;
    if (axis != 1 && axis != 1 - reader->graph->values[src].ndims)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "axis %lld; only 1 leaves a row for each image",
                                (long long)axis);
    return add_node(reader, node, row->kind, 1, &src, attributes);
}

/* To (N, -1) or (N, F), where N may be 0, -1 or a number: a Flatten. */
static ssld_status convert_reshape(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE, count = 0;
    int64_t target[SSLD_MOST_DIMS];
    ssld_status status;
    if ((status = need_inputs(reader, node, 2, 2)) || (status = activation_input(reader, node, 0, &src)))
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
    return add_node(reader, node, row->kind, 1, &src, attributes);
}

/* Axes as an attribute up to opset 17, as an input later. */
static ssld_status read_axes(const struct reader *reader, const onnx_node *node, int64_t axes[MOST_AXES], int32_t *count)
{
    const onnx_attribute *attribute = find_attribute(node, "axes");
    const struct entry *entry = ssld_onnx_input(reader, node, 1);
    *count = 0;
    if (entry && entry->kind == ENTRY_TENSOR)
        return ssld_onnx_tensor_integers(reader, node, entry->tensor, MOST_AXES, axes, count);
    if (!attribute || entry)
        return SSLD_OK;
    ssld_status status = check_attribute_type(reader, node, attribute, TYPE_INTS);
    if (!status && attribute->n_ints <= MOST_AXES) {
        *count = (int32_t)attribute->n_ints;
        memcpy(axes, attribute->ints, attribute->n_ints * sizeof *axes);
    }
    return status;
}

/* The mean over height and width is a global average pool; without keepdims it is flat too. */
static ssld_status convert_reduce_mean(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                       struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE, count = 0, pooled = SSLD_NO_VALUE;
    int64_t axes[MOST_AXES], keep = 1, seen = 0;
    char made_up[256];
    ssld_status status;
    if ((status = need_inputs(reader, node, 1, 2)) || (status = image_input(reader, node, &src)) ||
        (status = read_axes(reader, node, axes, &count)) || (status = attribute_int(reader, node, "keepdims", &keep)))
        return status;
    for (int32_t i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + 4 : axes[i];
        seen |= axis >= 0 && axis < 4 ? 1 << axis : 1 << 4;
    }
    if (count != 2 || seen != (1 << 2 | 1 << 3))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its axes are not height and width");
    if (keep)
        return add_node(reader, node, row->kind, 1, &src, attributes);
    const char *name = ssld_onnx_new_name(reader, node->output[0], made_up, sizeof made_up);
    status = ssld_graph_add_node(reader->graph, row->kind, name, 1, &src, attributes, name, &pooled);
    if (!status && !ssld_names_add(&reader->names, reader->graph->values[pooled].name, ENTRY_OUTPUT))
        status = ssld_fail_memory(reader->context, "a name", strlen(name));
    return status ? status : add_node(reader, node, SSLD_OP_FLATTEN, 1, &pooled, NULL);
}

/* -- Names for what is already there ------------------------------------------------------------------------------ */

static ssld_status convert_constant(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    const onnx_attribute *value = find_attribute(node, "value");
    (void)row;
    (void)attributes;
    if (!value)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it has no attribute 'value'");
    ssld_status status = check_attribute_type(reader, node, value, TYPE_TENSOR);
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
    ssld_status status = need_inputs(reader, node, 1, 1);
    if (status)
        return status;
    const struct entry *src = ssld_onnx_input(reader, node, 0);
    struct entry *dst = ssld_names_find(&reader->names, node->output[0]);
    if (src->kind == ENTRY_TENSOR) {
        dst->kind = ENTRY_TENSOR;
        dst->tensor = src->tensor;
        return SSLD_OK;
    }
    if ((status = activation_input(reader, node, 0, &value)))
        return status;
    dst->value = src->value;
    dst->graph_node = src->graph_node;
    dst->readers += src->readers - 1; /* whoever reads one name reads the other */
    return SSLD_OK;
}

/* From float to float, which PyTorch writes before bounds of Clip: nothing. */
static ssld_status convert_cast(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    ssld_status status = need_inputs(reader, node, 1, 1);
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
    if ((status = need_inputs(reader, node, 1, 1)) || (status = activation_input(reader, node, 0, &src)) ||
        (status = attribute_int(reader, node, "axis", &axis)))
        return status;
    const struct entry *entry = ssld_names_find(&reader->names, node->output[0]);
    if (strcmp(node->output[0], reader->output) || entry->readers != 1)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "%s stands in the middle of the network", row->name);
    if (reader->graph->values[src].ndims != 2 || (axis != 1 && axis != -1))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it is not over the classes of (N, classes)");
    set_output(reader, node, src, SSLD_NO_VALUE);
    return SSLD_OK;
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

static const struct onnx_operator operators[] = {
    { "Add", SSLD_OP_ADD, convert_add, "two activations of one shape; or the bias behind a MatMul" },
    { "AveragePool", SSLD_OP_AVERAGE_POOL, convert_pool, "two-dimensional; not count_include_pad with both pads and ceil_mode" },
    { "BatchNormalization", SSLD_OP_BATCH_NORM, convert_batch_norm, "of (N, C, H, W) with constant inputs" },
    { "Cast", SSLD_OP_KINDS, convert_cast, "from float to float" },
    { "Clip", SSLD_OP_CLIP, convert_clip, "constant bounds" },
    { "Constant", SSLD_OP_KINDS, convert_constant, "a tensor" },
    { "Conv", SSLD_OP_CONV, convert_conv, "two-dimensional, constant weights and bias" },
    { "Dropout", SSLD_OP_DROPOUT, convert_dropout, "constant ratio" },
    { "Flatten", SSLD_OP_FLATTEN, convert_flatten, "" },
    { "Gemm", SSLD_OP_GEMM, convert_gemm, "constant weights and bias" },
    { "GlobalAveragePool", SSLD_OP_GLOBAL_AVERAGE_POOL, convert_pool, "two-dimensional" },
    { "HardSigmoid", SSLD_OP_HARD_SIGMOID, convert_plain, "" },
    { "HardSwish", SSLD_OP_HARD_SWISH, convert_plain, "also spelled x * HardSigmoid(x) with alpha 1/6 and beta 1/2" },
    { "Identity", SSLD_OP_KINDS, convert_identity, "also of constants" },
    { "LogSoftmax", SSLD_OP_KINDS, convert_softmax, "only as the last node, which is left off" },
    { "MatMul", SSLD_OP_KINDS, convert_gemm, "(N, F) by a constant (F, K)" },
    { "MaxPool", SSLD_OP_MAX_POOL, convert_pool, "two-dimensional, without Indices" },
    { "Mul", SSLD_OP_MUL, convert_mul,
      "an activation by a constant number, by one of its shape, or by one number for each channel" },
    { "ReduceMean", SSLD_OP_GLOBAL_AVERAGE_POOL, convert_reduce_mean, "over height and width" },
    { "Relu", SSLD_OP_RELU, convert_plain, "" },
    { "Reshape", SSLD_OP_FLATTEN, convert_reshape, "only as a Flatten, to a constant shape (N, -1) or (N, F)" },
    { "Sigmoid", SSLD_OP_SIGMOID, convert_plain, "" },
    { "Softmax", SSLD_OP_KINDS, convert_softmax, "only as the last node, which is left off" },
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
