/* SPDX-License-Identifier: BSD-2-Clause */
/* attributes.c - the attributes of an ONNX node: those the graph has too go where its operator table says, what is asked of
 * the others stands in a table here. */
#include "onnx/convert.h"

#include <stdio.h>
#include <string.h>

#define MOST_ATTRIBUTES 32 /* of one node: ONNX's operators have far fewer */
#define MOST_NUMBERS 256   /* of a list of axes, sizes of parts and so on */

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
    { "Attention", "is_causal", RULE_HANDLED, 0, "" },
    { "Attention", "kv_num_heads", RULE_HANDLED, 0, "" },
    { "Attention", "left_window_size", RULE_HANDLED, 0, "-1" },
    { "Attention", "q_num_heads", RULE_HANDLED, 0, "" },
    { "Attention", "qk_matmul_output_mode", RULE_IGNORED, 0, NULL },
    { "Attention", "right_window_size", RULE_HANDLED, 0, "-1" },
    { "Attention", "scale", RULE_HANDLED, 0, "" },
    { "Attention", "softcap", RULE_HANDLED, 0, "" },
    { "Attention", "softmax_precision", RULE_IGNORED, 0, NULL },
    { "AveragePool", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "AveragePool", "dilations", RULE_HANDLED, 0, "" },
    { "AveragePool", "kernel_shape", RULE_HANDLED, 0, "" },
    { "AveragePool", "pads", RULE_HANDLED, 0, "" },
    { "AveragePool", "strides", RULE_HANDLED, 0, "" },
    { "BatchNormalization", "consumed_inputs", RULE_IGNORED, 0, NULL },
    { "BatchNormalization", "is_test", RULE_IGNORED, 0, NULL },
    { "BatchNormalization", "spatial", RULE_INT, 1, NULL },
    { "BatchNormalization", "training_mode", RULE_IGNORED, 0, NULL },
    { "Cast", "saturate", RULE_IGNORED, 0, NULL },
    { "Cast", "to", RULE_HANDLED, 0, "any real or whole type; computed in float32" },
    { "CastLike", "saturate", RULE_IGNORED, 0, NULL },
    { "Celu", "alpha", RULE_HANDLED, 0, "" },
    { "Concat", "axis", RULE_HANDLED, 0, "any but the batch" },
    { "Constant", "value", RULE_HANDLED, 0, "a tensor" },
    { "Constant", "value_float", RULE_HANDLED, 0, "" },
    { "Constant", "value_floats", RULE_HANDLED, 0, "" },
    { "Constant", "value_int", RULE_HANDLED, 0, "" },
    { "Constant", "value_ints", RULE_HANDLED, 0, "" },
    { "ConstantOfShape", "value", RULE_HANDLED, 0, "" },
    { "Conv", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "Conv", "dilations", RULE_HANDLED, 0, "" },
    { "Conv", "kernel_shape", RULE_HANDLED, 0, "" },
    { "Conv", "pads", RULE_HANDLED, 0, "" },
    { "Conv", "strides", RULE_HANDLED, 0, "" },
    { "DepthToSpace", "blocksize", RULE_HANDLED, 0, "" },
    { "DepthToSpace", "mode", RULE_HANDLED, 0, "DCR, CRD" },
    { "Dropout", "is_test", RULE_IGNORED, 0, NULL },
    { "Dropout", "seed", RULE_IGNORED, 0, NULL },
    { "Elu", "alpha", RULE_HANDLED, 0, "" },
    { "Flatten", "axis", RULE_HANDLED, 0, "" },
    { "Gather", "axis", RULE_HANDLED, 0, "any but the batch" },
    { "Gelu", "approximate", RULE_HANDLED, 0, "none or tanh" },
    { "Gemm", "alpha", RULE_HANDLED, 0, "" },
    { "Gemm", "beta", RULE_HANDLED, 0, "" },
    { "Gemm", "transA", RULE_HANDLED, 0, "" },
    { "Gemm", "transB", RULE_HANDLED, 0, "" },
    { "GlobalLpPool", "p", RULE_HANDLED, 0, "" },
    { "GroupNormalization", "num_groups", RULE_HANDLED, 0, "" },
    { "GroupNormalization", "stash_type", RULE_IGNORED, 0, NULL },
    { "LayerNormalization", "axis", RULE_HANDLED, 0, "any but the batch" },
    { "LayerNormalization", "stash_type", RULE_IGNORED, 0, NULL },
    { "LogSoftmax", "axis", RULE_HANDLED, 0, "any but the batch" },
    { "LpPool", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "LpPool", "ceil_mode", RULE_HANDLED, 0, "" },
    { "LpPool", "dilations", RULE_HANDLED, 0, "" },
    { "LpPool", "kernel_shape", RULE_HANDLED, 0, "" },
    { "LpPool", "p", RULE_HANDLED, 0, "" },
    { "LpPool", "pads", RULE_HANDLED, 0, "" },
    { "LpPool", "strides", RULE_HANDLED, 0, "" },
    { "MaxPool", "auto_pad", RULE_HANDLED, 0, "becomes pads" },
    { "MaxPool", "dilations", RULE_HANDLED, 0, "" },
    { "MaxPool", "kernel_shape", RULE_HANDLED, 0, "" },
    { "MaxPool", "pads", RULE_HANDLED, 0, "" },
    { "MaxPool", "storage_order", RULE_IGNORED, 0, NULL },
    { "MaxPool", "strides", RULE_HANDLED, 0, "" },
    { "Mod", "fmod", RULE_HANDLED, 0, "" },
    { "Pad", "mode", RULE_HANDLED, 0, "constant, reflect, edge, wrap" },
    { "Pad", "pads", RULE_HANDLED, 0, "up to opset 10" },
    { "Pad", "paddings", RULE_HANDLED, 0, "opset 1" },
    { "Pad", "value", RULE_HANDLED, 0, "up to opset 10" },
    { "ReduceL1", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceL1", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceL1", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceL2", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceL2", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceL2", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceLogSum", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceLogSum", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceLogSum", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceLogSumExp", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceLogSumExp", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceLogSumExp", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceMax", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceMax", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceMax", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceMean", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceMean", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceMean", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceMin", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceMin", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceMin", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceProd", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceProd", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceProd", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceSum", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceSum", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceSum", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "ReduceSumSquare", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "ReduceSumSquare", "keepdims", RULE_HANDLED, 0, "" },
    { "ReduceSumSquare", "noop_with_empty_axes", RULE_HANDLED, 0, "" },
    { "Reshape", "allowzero", RULE_HANDLED, 0, "" },
    { "Resize", "antialias", RULE_HANDLED, 0, "" },
    { "Resize", "axes", RULE_HANDLED, 0, "" },
    { "Resize", "coordinate_transformation_mode", RULE_HANDLED, 0, "" },
    { "Resize", "cubic_coeff_a", RULE_HANDLED, 0, "" },
    { "Resize", "exclude_outside", RULE_HANDLED, 0, "" },
    { "Resize", "extrapolation_value", RULE_HANDLED, 0, "" },
    { "Resize", "keep_aspect_ratio_policy", RULE_HANDLED, 0, "" },
    { "Resize", "mode", RULE_HANDLED, 0, "nearest, linear, cubic" },
    { "Resize", "nearest_mode", RULE_HANDLED, 0, "" },
    { "ScatterND", "reduction", RULE_HANDLED, 0, "none" },
    { "Selu", "alpha", RULE_HANDLED, 0, "" },
    { "Selu", "gamma", RULE_HANDLED, 0, "" },
    { "Shape", "end", RULE_HANDLED, 0, "" },
    { "Shape", "start", RULE_HANDLED, 0, "" },
    { "Slice", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "Slice", "ends", RULE_HANDLED, 0, "up to opset 9" },
    { "Slice", "starts", RULE_HANDLED, 0, "up to opset 9" },
    { "Softmax", "axis", RULE_HANDLED, 0, "any but the batch" },
    { "SpaceToDepth", "blocksize", RULE_HANDLED, 0, "" },
    { "SpaceToDepth", "mode", RULE_HANDLED, 0, "DCR, CRD" },
    { "Split", "axis", RULE_HANDLED, 0, "any but the batch" },
    { "Split", "num_outputs", RULE_IGNORED, 0, NULL },
    { "Split", "split", RULE_HANDLED, 0, "up to opset 12" },
    { "Squeeze", "axes", RULE_HANDLED, 0, "any but the batch" },
    { "Swish", "alpha", RULE_HANDLED, 0, "" },
    { "ThresholdedRelu", "alpha", RULE_HANDLED, 0, "" },
    { "Transpose", "perm", RULE_HANDLED, 0, "any" },
    { "Unsqueeze", "axes", RULE_HANDLED, 0, "" },
    { "Upsample", "mode", RULE_HANDLED, 0, "nearest, linear" },
    { "Upsample", "scales", RULE_HANDLED, 0, "up to opset 8" },
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
            snprintf(text, size, "%s", rules[i].note); /* may be empty: any value */
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
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%.80s' is not of its operator's type",
                                attribute->name);
    return SSLD_OK;
}

ssld_status ssld_onnx_attribute_int(const struct reader *reader, const onnx_node *node, const char *name,
                                    int64_t *value)
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
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%s' is %lld", place->name,
                                    (long long)number);
        memcpy(dst + (size_t)i * sizeof narrow, &narrow, sizeof narrow);
    }
    return SSLD_OK;
}

static ssld_status read_attribute(const struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                  const onnx_attribute *given, struct ssld_attributes *attributes)
{
    for (size_t i = 0; i < RULES; i++)
        if (!strcmp(rules[i].op, row->name) && !strcmp(rules[i].attribute, given->name))
            return check_rule(reader, node, given, &rules[i]);
    if (row->kind < SSLD_OP_KINDS)
        for (const struct ssld_attribute *place = ssld_ops[row->kind].attributes; place->name; place++)
            if (!place->internal && !strcmp(place->name, given->name))
                return place_attribute(reader, node, given, place, attributes);
    return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "attribute '%.80s' is not known", given->name);
}

ssld_status ssld_onnx_read_attributes(const struct reader *reader, const struct onnx_operator *row,
                                      const onnx_node *node, struct ssld_attributes *attributes)
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
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%.80s' is there twice",
                                    node->attribute[i]->name);
        ssld_status status = read_attribute(reader, row, node, node->attribute[i], attributes);
        if (status)
            return status;
    }
    return SSLD_OK;
}

ssld_status ssld_onnx_attribute_float(const struct reader *reader, const onnx_node *node, const char *name,
                                      float *value)
{
    const onnx_attribute *attribute = ssld_onnx_find_attribute(node, name);
    if (!attribute)
        return SSLD_OK;
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, attribute, TYPE_FLOAT);
    if (!status)
        *value = attribute->f;
    return status;
}

ssld_status ssld_onnx_attribute_word(const struct reader *reader, const onnx_node *node, const char *name,
                                     const char *const *words, int32_t *choice)
{
    const onnx_attribute *attribute = ssld_onnx_find_attribute(node, name);
    if (!attribute)
        return SSLD_OK;
    ssld_status status = ssld_onnx_check_attribute_type(reader, node, attribute, TYPE_STRING);
    if (status)
        return status;
    for (int32_t i = 0; words[i]; i++)
        if (strlen(words[i]) == attribute->s.len && !memcmp(words[i], attribute->s.data, attribute->s.len)) {
            *choice = i;
            return SSLD_OK;
        }
    return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "%s '%.*s' is not supported", name,
                            attribute->s.len < 40 ? (int)attribute->s.len : 40, (const char *)attribute->s.data);
}

/* -- Numbers that were attributes once ------------------------------------------------------------------------------ */

static ssld_status refuse_many(const struct reader *reader, const onnx_node *node, const char *name, int64_t count,
                               int32_t most)
{
    return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "'%s' has %lld numbers, more than %d", name,
                            (long long)count, most);
}

ssld_status ssld_onnx_wholes(struct reader *reader, const onnx_node *node, const char *name, size_t index, int32_t most,
                             struct whole *wholes, int32_t *count)
{
    const onnx_attribute *attribute = name ? ssld_onnx_find_attribute(node, name) : NULL;
    struct operand operand;
    ssld_status status = ssld_onnx_constant(reader, node, index, &operand);
    *count = -1;
    if (status)
        return status;
    if (operand.constant) {
        if (!operand.constant->whole)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "'%.80s' is not of whole numbers", node->input[index]);
        if (operand.constant->elements > most)
            return refuse_many(reader, node, node->input[index], operand.constant->elements, most);
        *count = (int32_t)operand.constant->elements;
        memcpy(wholes, operand.constant->wholes, (size_t)*count * sizeof *wholes);
        return SSLD_OK;
    }
    if (!attribute)
        return SSLD_OK;
    if ((status = ssld_onnx_check_attribute_type(reader, node, attribute, TYPE_INTS)))
        return status;
    if (attribute->n_ints > (size_t)most)
        return refuse_many(reader, node, name, (int64_t)attribute->n_ints, most);
    *count = (int32_t)attribute->n_ints;
    for (int32_t i = 0; i < *count; i++)
        wholes[i] = (struct whole){ 0, attribute->ints[i] };
    return SSLD_OK;
}

ssld_status ssld_onnx_integers(struct reader *reader, const onnx_node *node, const char *name, size_t index,
                               int32_t most, int64_t *integers, int32_t *count)
{
    struct whole wholes[MOST_NUMBERS];
    ssld_status status =
        ssld_onnx_wholes(reader, node, name, index, most < MOST_NUMBERS ? most : MOST_NUMBERS, wholes, count);
    for (int32_t i = 0; i < *count && !status; i++) {
        if (wholes[i].per)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "number %d depends on the size of the batch", i);
        integers[i] = wholes[i].plus;
    }
    return status;
}

ssld_status ssld_onnx_floats(struct reader *reader, const onnx_node *node, const char *name, size_t index, int32_t most,
                             float *floats, int32_t *count)
{
    const onnx_attribute *attribute = name ? ssld_onnx_find_attribute(node, name) : NULL;
    struct operand operand;
    const float *numbers;
    ssld_status status = ssld_onnx_constant(reader, node, index, &operand);
    *count = -1;
    if (status)
        return status;
    if (operand.constant) {
        if (operand.constant->elements > most)
            return refuse_many(reader, node, node->input[index], operand.constant->elements, most);
        if ((status = ssld_onnx_constant_floats(reader, node, operand.constant, &numbers)))
            return status;
        *count = (int32_t)operand.constant->elements;
        memcpy(floats, numbers, (size_t)*count * sizeof *floats);
        return SSLD_OK;
    }
    if (!attribute)
        return SSLD_OK;
    if ((status = ssld_onnx_check_attribute_type(reader, node, attribute, TYPE_FLOATS)))
        return status;
    if (attribute->n_floats > (size_t)most)
        return refuse_many(reader, node, name, (int64_t)attribute->n_floats, most);
    *count = (int32_t)attribute->n_floats;
    if (*count)
        memcpy(floats, attribute->floats, (size_t)*count * sizeof *floats);
    return SSLD_OK;
}

ssld_status ssld_onnx_resolve_axis(const struct reader *reader, const onnx_node *node, int32_t ndims, int64_t *axis)
{
    if (*axis < -ndims || *axis >= ndims)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %lld of %d", (long long)*axis, ndims);
    *axis += *axis < 0 ? ndims : 0;
    return SSLD_OK;
}
