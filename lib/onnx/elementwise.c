/* SPDX-License-Identifier: BSD-2-Clause */
/* elementwise.c - operators of one number at a time, with broadcasting, and what casts between types. */
#include "onnx/convert.h"

#include <float.h>
#include <string.h>

/* -- Two inputs --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int32_t     function;
} binaries[] = {
    { "Add", SSLD_BINARY_ADD }, { "And", SSLD_BINARY_AND }, { "Div", SSLD_BINARY_DIV }, { "Equal", SSLD_BINARY_EQUAL },
    { "Greater", SSLD_BINARY_GREATER }, { "GreaterOrEqual", SSLD_BINARY_GREATER_OR_EQUAL }, { "Less", SSLD_BINARY_LESS },
    { "LessOrEqual", SSLD_BINARY_LESS_OR_EQUAL }, { "Max", SSLD_BINARY_MAX }, { "Min", SSLD_BINARY_MIN },
    { "Mod", SSLD_BINARY_MOD }, { "Mul", SSLD_BINARY_MUL }, { "Or", SSLD_BINARY_OR }, { "Pow", SSLD_BINARY_POW },
    { "Sub", SSLD_BINARY_SUB }, { "Sum", SSLD_BINARY_ADD }, { "Xor", SSLD_BINARY_XOR },
};

static int32_t binary_of(const char *name)
{
    size_t i = 0;
    while (i + 1 < sizeof binaries / sizeof binaries[0] && strcmp(binaries[i].name, name))
        i++;
    return binaries[i].function;
}

ssld_status ssld_onnx_convert_binary(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    struct operand a, b, result;
    int32_t function = binary_of(row->name);
    int64_t fmod_asked = 0;
    ssld_status status;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 2)) || (status = ssld_onnx_operand(reader, node, 0, &a)) ||
        (status = ssld_onnx_operand(reader, node, 1, &b)) ||
        (status = ssld_onnx_attribute_int(reader, node, "fmod", &fmod_asked)))
        return status;
    if (function == SSLD_BINARY_MOD && fmod_asked)
        function = SSLD_BINARY_FMOD;
    status = ssld_onnx_binary(reader, node, function, &a, &b, &result);
    return status ? status : ssld_onnx_give(reader, node, 0, &result);
}

/* Max, Min, Sum of any number of inputs, one after the other. */
ssld_status ssld_onnx_convert_variadic(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                       struct ssld_attributes *attributes)
{
    struct operand sum, next;
    ssld_status status;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, node->n_input)) ||
        (status = ssld_onnx_operand(reader, node, 0, &sum)))
        return status;
    for (size_t i = 1; i < node->n_input; i++)
        if (!ssld_onnx_input_name(node, i) || (status = ssld_onnx_operand(reader, node, i, &next)) ||
            (status = ssld_onnx_binary(reader, node, binary_of(row->name), &sum, &next, &sum)))
            return status ? status : ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its input %zu is left out", i);
    return ssld_onnx_give(reader, node, 0, &sum);
}

ssld_status ssld_onnx_convert_where(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand operands[3], result;
    struct view view;
    ssld_status status = ssld_onnx_need_inputs(reader, node, 3, 3);
    for (size_t i = 0; i < 3 && !status; i++)
        status = ssld_onnx_operand(reader, node, i, &operands[i]);
    if (status || (status = ssld_onnx_broadcast_views(reader, node, 3, operands, &view)) ||
        (status = ssld_onnx_emit(reader, node, row->kind, attributes, 3, operands, &view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- One input ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int32_t     function;
    float       alpha, beta; /* ONNX's defaults */
} unaries[] = {
    { "Abs", SSLD_UNARY_ABS, 0, 0 }, { "Ceil", SSLD_UNARY_CEIL, 0, 0 }, { "Celu", SSLD_UNARY_CELU, 1, 0 },
    { "Cos", SSLD_UNARY_COS, 0, 0 }, { "Elu", SSLD_UNARY_ELU, 1, 0 }, { "Erf", SSLD_UNARY_ERF, 0, 0 },
    { "Exp", SSLD_UNARY_EXP, 0, 0 }, { "Floor", SSLD_UNARY_FLOOR, 0, 0 }, { "Log", SSLD_UNARY_LOG, 0, 0 },
    { "Mish", SSLD_UNARY_MISH, 0, 0 }, { "Neg", SSLD_UNARY_NEG, 0, 0 }, { "Not", SSLD_UNARY_NOT, 0, 0 },
    { "Reciprocal", SSLD_UNARY_RECIPROCAL, 0, 0 }, { "Round", SSLD_UNARY_ROUND, 0, 0 },
    { "Selu", SSLD_UNARY_SELU, 1.67326319217681884765625f, 1.05070102214813232421875f }, { "Sign", SSLD_UNARY_SIGN, 0, 0 },
    { "Sin", SSLD_UNARY_SIN, 0, 0 }, { "Softplus", SSLD_UNARY_SOFTPLUS, 0, 0 }, { "Softsign", SSLD_UNARY_SOFTSIGN, 0, 0 },
    { "Sqrt", SSLD_UNARY_SQRT, 0, 0 },
};

ssld_status ssld_onnx_convert_unary(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand src, result;
    size_t i = 0;
    ssld_status status;
    (void)attributes;
    while (i + 1 < sizeof unaries / sizeof unaries[0] && strcmp(unaries[i].name, row->name))
        i++;
    float alpha = unaries[i].alpha, beta = unaries[i].beta;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_float(reader, node, "alpha", &alpha)) ||
        (status = ssld_onnx_attribute_float(reader, node, "gamma", &beta)) ||
        (status = ssld_onnx_unary(reader, node, unaries[i].function, alpha, beta, &src, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* Bounds are attributes up to opset 10, inputs later. Of a constant: two comparisons. */
ssld_status ssld_onnx_convert_clip(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    struct operand src, result, bounds[2];
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 3)) || (status = ssld_onnx_operand(reader, node, 0, &src)))
        return status;
    for (size_t i = 0; i < 2; i++) {
        float *bound = i ? &attributes->beta : &attributes->alpha;
        if (ssld_onnx_input_name(node, i + 1))
            status = src.constant ? ssld_onnx_operand(reader, node, i + 1, &bounds[i])
                                  : ssld_onnx_number(reader, node, i + 1, bound);
        else if (src.constant)
            status = ssld_onnx_scalar(reader, *bound, &bounds[i]);
        if (status)
            return status;
    }
    if (!src.constant) {
        /* Where the bounds cross, ONNX gives the upper one. */
        attributes->alpha = attributes->alpha > attributes->beta ? attributes->beta : attributes->alpha;
        status = ssld_onnx_emit(reader, node, row->kind, attributes, 1, &src, &src.view, &result);
    } else if (!(status = ssld_onnx_binary(reader, node, SSLD_BINARY_MAX, &src, &bounds[0], &result))) {
        status = ssld_onnx_binary(reader, node, SSLD_BINARY_MIN, &result, &bounds[1], &result);
    }
    return status ? status : ssld_onnx_give(reader, node, 0, &result);
}

/* PRELU where there is one constant slope, or one for each channel; else max(x, 0) + slope * min(x, 0). */
ssld_status ssld_onnx_convert_prelu(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand src, slope, zero, above, below, result;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 2)) || (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_operand(reader, node, 1, &slope)))
        return status;
    const struct view *view = &src.view;
    int64_t count = slope.constant ? slope.constant->elements : 0;
    int32_t channel_axis = slope.view.ndims - (view->ndims - 1);
    bool by_channel = view->batch == 0 && view->dims[0] == 1 && (view->ndims == 4 || view->ndims == 2) &&
                      count == view->dims[1] && channel_axis >= 0 && slope.view.dims[channel_axis] == count;
    if (!src.constant && (count == 1 || (count && by_channel))) {
        int32_t values[2] = { src.value, SSLD_NO_VALUE };
        if ((status = ssld_onnx_add_constant(reader, node, slope.constant, SSLD_VALUE_PARAMETER, 1, &count, false,
                                             &values[1])) ||
            (status = ssld_onnx_add_node(reader, node, row->kind, attributes, 2, values, view, &result)))
            return status;
        return ssld_onnx_give(reader, node, 0, &result);
    }
    if ((status = ssld_onnx_scalar(reader, 0, &zero)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MAX, &src, &zero, &above)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MIN, &src, &zero, &below)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, &below, &slope, &below)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_ADD, &above, &below, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* x above alpha, else 0 */
ssld_status ssld_onnx_convert_thresholded_relu(struct reader *reader, const struct onnx_operator *row,
                                               const onnx_node *node, struct ssld_attributes *attributes)
{
    struct operand src, zero, threshold, operands[3], result;
    float alpha = 1;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_float(reader, node, "alpha", &alpha)) ||
        (status = ssld_onnx_scalar(reader, 0, &zero)) || (status = ssld_onnx_scalar(reader, alpha, &threshold)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_GREATER, &src, &threshold, &operands[0])))
        return status;
    operands[1] = src;
    operands[2] = zero;
    if ((status = ssld_onnx_emit(reader, node, SSLD_OP_WHERE, NULL, 3, operands, &src.view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Types -------------------------------------------------------------------------------------------------------- */

static ssld_status cast_constant(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t type,
                                 struct operand *result)
{
    struct constant *from = src->constant, *made = NULL;
    bool real = ssld_onnx_type_is_real(type);
    const float *floats = NULL;
    ssld_status status;
    *result = *src;
    if (real ? !from->whole : from->whole && type != ELEMENT_BOOL)
        return SSLD_OK;
    if (!from->whole || real || from->each)
        if ((status = ssld_onnx_constant_floats(reader, node, from, &floats)))
            return status;
    if ((status = ssld_onnx_new_constant(reader, !real, from->elements, &made)))
        return status;
    for (int64_t i = 0; i < from->elements; i++) {
        if (real)
            made->floats[i] = floats[i];
        else if (type == ELEMENT_BOOL)
            made->wholes[i].plus = floats ? floats[i] != 0 : from->wholes[i].per || from->wholes[i].plus;
        else /* toward 0; what no number of 64 bits is, is the largest or smallest */
            made->wholes[i].plus = floats[i] >= 0x1p62f   ? INT64_MAX
                                   : floats[i] > -0x1p62f ? (int64_t)floats[i]
                                                          : INT64_MIN;
    }
    made->learned = false;
    result->constant = made;
    return SSLD_OK;
}

/* Activations are float32 whatever the file calls them: to a real type nothing happens, to a whole one fractions go. */
static ssld_status cast_activation(struct reader *reader, const onnx_node *node, const struct operand *src,
                                   int32_t type, struct operand *result)
{
    struct operand zero, positive, below, above;
    ssld_status status;
    *result = *src;
    if (ssld_onnx_type_is_real(type))
        return SSLD_OK;
    if ((status = ssld_onnx_scalar(reader, 0, &zero)))
        return status;
    if (type == ELEMENT_BOOL) {
        status = ssld_onnx_binary(reader, node, SSLD_BINARY_EQUAL, src, &zero, &above);
        return status ? status : ssld_onnx_unary(reader, node, SSLD_UNARY_NOT, 0, 0, &above, result);
    }
    if ((status = ssld_onnx_binary(reader, node, SSLD_BINARY_MAX, src, &zero, &positive)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MIN, src, &zero, &below)) ||
        (status = ssld_onnx_unary(reader, node, SSLD_UNARY_FLOOR, 0, 0, &positive, &above)) ||
        (status = ssld_onnx_unary(reader, node, SSLD_UNARY_CEIL, 0, 0, &below, &below)))
        return status;
    return ssld_onnx_binary(reader, node, SSLD_BINARY_ADD, &above, &below, result);
}

/* Cast says its type, CastLike takes its second input's. */
ssld_status ssld_onnx_convert_cast(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    struct operand src, like, result;
    int64_t type = 0;
    bool says = !strcmp(row->name, "Cast");
    ssld_status status;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, says ? 1 : 2, says ? 1 : 2)) ||
        (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "to", &type)))
        return status;
    if (!says) {
        if ((status = ssld_onnx_operand(reader, node, 1, &like)))
            return status;
        type = like.constant && like.constant->whole ? ELEMENT_INT64 : ELEMENT_FLOAT;
    }
    bool known = type > 0 && type < ELEMENT_TYPES && type != ELEMENT_STRING && type != ELEMENT_COMPLEX64 &&
                 type != ELEMENT_COMPLEX128;
    if (!known)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it casts to type %lld", (long long)type);
    status = src.constant ? cast_constant(reader, node, &src, (int32_t)type, &result)
                          : cast_activation(reader, node, &src, (int32_t)type, &result);
    return status ? status : ssld_onnx_give(reader, node, 0, &result);
}
