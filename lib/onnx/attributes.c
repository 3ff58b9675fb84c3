/* SPDX-License-Identifier: BSD-2-Clause */
/* attributes.c - the attributes of an ONNX node: those the graph has too go where its operator table says, what is asked of
 * the others stands in a table here. */
#include "onnx/convert.h"

#include <stdio.h>
#include <string.h>

#define MOST_ATTRIBUTES 32 /* of one node: ONNX's operators have far fewer */

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
    { "Concat", "axis", RULE_HANDLED, 0, "must be the channel axis" },
    { "Constant", "value", RULE_HANDLED, 0, "the only form read" },
    { "Conv", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "Dropout", "is_test", RULE_IGNORED, 0, NULL },
    { "Dropout", "seed", RULE_IGNORED, 0, NULL },
    { "Flatten", "axis", RULE_HANDLED, 0, "must be the channel axis" },
    { "Gelu", "approximate", RULE_HANDLED, 0, "none or tanh" },
    { "Gemm", "alpha", RULE_FLOAT, 1, NULL },
    { "Gemm", "beta", RULE_FLOAT, 1, NULL },
    { "Gemm", "transA", RULE_INT, 0, NULL },
    { "Gemm", "transB", RULE_HANDLED, 0, "0 or 1" },
    { "LayerNormalization", "axis", RULE_HANDLED, 0, "must be the last" },
    { "LayerNormalization", "stash_type", RULE_IGNORED, 0, NULL },
    { "LogSoftmax", "axis", RULE_HANDLED, 0, "must be the class axis" },
    { "MaxPool", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "MaxPool", "storage_order", RULE_INT, 0, NULL },
    { "ReduceMean", "axes", RULE_HANDLED, 0, "must be height and width" },
    { "ReduceMean", "keepdims", RULE_HANDLED, 0, "0 or 1" },
    { "ReduceMean", "noop_with_empty_axes", RULE_IGNORED, 0, NULL },
    { "Reshape", "allowzero", RULE_INT, 0, NULL },
    { "Slice", "axes", RULE_HANDLED, 0, "must be the channel axis" },
    { "Slice", "ends", RULE_HANDLED, 0, "up to opset 9" },
    { "Slice", "starts", RULE_HANDLED, 0, "up to opset 9" },
    { "Softmax", "axis", RULE_HANDLED, 0, "must be the class axis" },
    { "Split", "axis", RULE_HANDLED, 0, "must be the channel axis" },
    { "Split", "num_outputs", RULE_IGNORED, 0, NULL },
    { "Split", "split", RULE_HANDLED, 0, "up to opset 12" },
    { "Swish", "alpha", RULE_FLOAT, 1, NULL },
    { "Transpose", "perm", RULE_HANDLED, 0, "0, 2, 3, 1 or back" },
    { "Unsqueeze", "axes", RULE_HANDLED, 0, "must be 1, 2" },
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

const onnx_attribute *ssld_onnx_find_attribute(const onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!strcmp(node->attribute[i]->name, name))
            return node->attribute[i];
    return NULL;
}

ssld_status ssld_onnx_check_attribute_type(const struct reader *reader, const onnx_node *node,
                                           const onnx_attribute *attribute, int32_t type)
{
    bool there = type == TYPE_FLOAT ? attribute->has_f : type == TYPE_INT ? attribute->has_i
               : type == TYPE_STRING ? attribute->has_s : type == TYPE_TENSOR ? attribute->t != NULL : true;
    if ((attribute->has_type && attribute->type && attribute->type != type) || !there)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%.80s' is not of its operator's type", attribute->name);
    return SSLD_OK;
}

ssld_status ssld_onnx_attribute_int(const struct reader *reader, const onnx_node *node, const char *name, int64_t *value)
{
    const onnx_attribute *attribute = ssld_onnx_find_attribute(node, name);
    if (!attribute)
        return SSLD_OK;
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, attribute, TYPE_INT);
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
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, attribute, types[rule->kind]);
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
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, given, types[place->type]);
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
    /* All names first: ssld_onnx_find_attribute() relies on them. */
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!node->attribute[i]->name)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute %zu has no name", i);
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (ssld_onnx_find_attribute(node, node->attribute[i]->name) != node->attribute[i])
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%.80s' is there twice", node->attribute[i]->name);
        ssld_status status = read_attribute(reader, row, node, node->attribute[i], attributes);
        if (status)
            return status;
    }
    return SSLD_OK;
}

ssld_status ssld_onnx_integers(const struct reader *reader, const onnx_node *node, const char *name, size_t index,
                               int32_t most, int64_t *integers, int32_t *count)
{
    const onnx_attribute *attribute = name ? ssld_onnx_find_attribute(node, name) : NULL;
    const struct entry *entry = ssld_onnx_input(reader, node, index);
    *count = 0;
    if (entry && entry->kind != ENTRY_TENSOR)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is not a constant", index);
    if (entry)
        return ssld_onnx_tensor_integers(reader, node, entry->tensor, most, integers, count);
    if (!attribute)
        return SSLD_OK;
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, attribute, TYPE_INTS);
    if (!status && attribute->n_ints > (size_t)most)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "attribute '%s' has %zu numbers, more than %d", name,
                                  attribute->n_ints, most);
    if (status || !attribute->n_ints)
        return status;
    *count = (int32_t)attribute->n_ints;
    memcpy(integers, attribute->ints, attribute->n_ints * sizeof *integers);
    return SSLD_OK;
}

ssld_status ssld_onnx_need_channel_axis(const struct reader *reader, const onnx_node *node, int64_t axis, int32_t ndims)
{
    if (axis == 1 || axis == 1 - ndims)
        return SSLD_OK;
    return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "axis %lld; only 1, the channels, is supported", (long long)axis);
}
