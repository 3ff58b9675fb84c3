/* SPDX-License-Identifier: BSD-2-Clause */
/* fold.c - constants that follow from constants: shapes computed node by node, weights transposed, masks and tables of indices.
 *
 * Whole numbers may depend on the batch, as per * N + plus: what a file computes with the first entry of a Shape. They are
 * moved as they are, added and multiplied as polynomials of degree one; N is at least 1, which decides most comparisons. All
 * else is float and the graph's own evaluation. */
#include "onnx/convert.h"

#include <math.h>
#include <string.h>

#include "graph/evaluate.h"

/* -- Arithmetic of whole numbers ---------------------------------------------------------------------------------- */

/* Sums and products that overflow wrap: what such a shape is used for refuses it. */
static int64_t add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t multiply(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

ssld_status ssld_whole_compare(const struct reader *reader, const onnx_node *node, struct whole a, struct whole b,
                               int *order)
{
    int64_t per = add(a.per, -b.per), plus = add(a.plus, -b.plus);
    int64_t least = add(per, plus); /* the difference for N = 1; it grows or falls from there */
    if (per == 0)
        *order = plus < 0 ? -1 : plus > 0;
    else if (per > 0 && least > 0)
        *order = 1;
    else if (per < 0 && least < 0)
        *order = -1;
    else
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "what it makes depends on the size of the batch");
    return SSLD_OK;
}

/* Is one number the other for no N? Then they differ, though their order may depend on N. */
static bool never_equal(struct whole a, struct whole b)
{
    int64_t per = add(a.per, -b.per), plus = add(a.plus, -b.plus);
    return per != 0 && (plus == INT64_MIN || -plus % per != 0 || -plus / per < 1);
}

static ssld_status divide(const struct reader *reader, const onnx_node *node, struct whole a, struct whole b,
                          struct whole *result)
{
    *result = (struct whole){ 0, 0 };
    if (!b.per && !b.plus)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it divides by 0");
    if (!b.per && b.plus == -1) {
        *result = (struct whole){ multiply(a.per, -1), multiply(a.plus, -1) };
        return SSLD_OK;
    }
    if (!b.per && !(a.per % b.plus) && (!a.per || !(a.plus % b.plus)))
        *result = (struct whole){ a.per / b.plus, a.plus / b.plus };
    else if (b.per && !b.plus && !a.plus && a.per != INT64_MIN && !(a.per % b.per))
        result->plus = a.per / b.per;
    else
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "what it makes depends on the size of the batch");
    return SSLD_OK;
}

static ssld_status compare(const struct reader *reader, const onnx_node *node, int32_t function, struct whole a,
                           struct whole b, struct whole *result)
{
    int order = 1;
    *result = (struct whole){ 0, 0 };
    if (function == SSLD_BINARY_EQUAL && never_equal(a, b))
        return SSLD_OK;
    ssld_status status = ssld_whole_compare(reader, node, a, b, &order);
    if (status)
        return status;
    if (function == SSLD_BINARY_MIN || function == SSLD_BINARY_MAX)
        *result = (function == SSLD_BINARY_MIN) == (order < 0) ? a : b;
    else
        result->plus = function == SSLD_BINARY_EQUAL              ? order == 0
                       : function == SSLD_BINARY_GREATER          ? order > 0
                       : function == SSLD_BINARY_GREATER_OR_EQUAL ? order >= 0
                       : function == SSLD_BINARY_LESS             ? order < 0
                                                                  : order <= 0;
    return SSLD_OK;
}

static ssld_status binary(const struct reader *reader, const onnx_node *node, int32_t function, struct whole a,
                          struct whole b, struct whole *result)
{
    switch (function) {
    case SSLD_BINARY_ADD:
        *result = (struct whole){ add(a.per, b.per), add(a.plus, b.plus) };
        return SSLD_OK;
    case SSLD_BINARY_SUB:
        *result = (struct whole){ add(a.per, multiply(b.per, -1)), add(a.plus, multiply(b.plus, -1)) };
        return SSLD_OK;
    case SSLD_BINARY_MUL:
        if (a.per && b.per)
            break;
        *result = (struct whole){ add(multiply(a.per, b.plus), multiply(b.per, a.plus)), multiply(a.plus, b.plus) };
        return SSLD_OK;
    case SSLD_BINARY_DIV:
        return divide(reader, node, a, b, result);
    case SSLD_BINARY_MIN: case SSLD_BINARY_MAX: case SSLD_BINARY_EQUAL: case SSLD_BINARY_GREATER:
    case SSLD_BINARY_GREATER_OR_EQUAL: case SSLD_BINARY_LESS: case SSLD_BINARY_LESS_OR_EQUAL:
        return compare(reader, node, function, a, b, result);
    default: /* what is left is small numbers: double has them exactly */
        if (a.per || b.per || a.plus > 1LL << 52 || a.plus < -(1LL << 52) || b.plus > 1LL << 52 ||
            b.plus < -(1LL << 52))
            break;
        double number = ssld_binary_value(function, (double)a.plus, (double)b.plus);
        if (!(fabs(number) < 0x1p62))
            break;
        *result = (struct whole){ 0, (int64_t)number };
        return SSLD_OK;
    }
    return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "what it makes depends on the size of the batch");
}

static ssld_status unary(const struct reader *reader, const onnx_node *node, int32_t function, struct whole x,
                         struct whole *result)
{
    static const struct whole zero = { 0, 0 };
    int order = 0;
    ssld_status status = function == SSLD_UNARY_NEG ? SSLD_OK : ssld_whole_compare(reader, node, x, zero, &order);
    switch (function) {
    case SSLD_UNARY_NEG: return binary(reader, node, SSLD_BINARY_SUB, zero, x, result);
    case SSLD_UNARY_ABS:
        return status ? status : binary(reader, node, order < 0 ? SSLD_BINARY_SUB : SSLD_BINARY_ADD, zero, x, result);
    case SSLD_UNARY_SIGN: *result = (struct whole){ 0, order }; return status;
    case SSLD_UNARY_NOT: *result = (struct whole){ 0, order == 0 }; return status;
    default:
        *result = x;
        return SSLD_OK; /* floor, ceil and round of a whole number; others are float before they come here */
    }
}

/* -- Whole tensors ------------------------------------------------------------------------------------------------ */

/* The graph's idea of a constant: no axis becomes one of one element. */
static struct ssld_value value_of(const struct view *view)
{
    struct ssld_value value = { .role = SSLD_VALUE_BUFFER, .ndims = view->ndims ? view->ndims : 1 };
    memcpy(value.dims, view->dims, sizeof value.dims);
    return value;
}

static int64_t offset_of(int64_t element, const struct ssld_value *shape, const int64_t strides[SSLD_MOST_DIMS])
{
    int64_t offset = 0;
    for (int32_t i = shape->ndims - 1; i >= 0; i--) {
        offset += element % shape->dims[i] * strides[i];
        element /= shape->dims[i];
    }
    return offset;
}

static ssld_status fold_reduce(struct reader *reader, const onnx_node *node, const struct ssld_attributes *attributes,
                               const struct constant *src, const struct ssld_value *shape, struct constant *result)
{
    static const int32_t functions[SSLD_REDUCTIONS] = {
        [SSLD_REDUCE_SUM] = SSLD_BINARY_ADD, [SSLD_REDUCE_PROD] = SSLD_BINARY_MUL, [SSLD_REDUCE_MIN] = SSLD_BINARY_MIN,
        [SSLD_REDUCE_MAX] = SSLD_BINARY_MAX,
    };
    int64_t strides[SSLD_MOST_DIMS] = { 0 }, step = 1;
    bool first = true;
    ssld_status status = SSLD_OK;
    for (int32_t i = shape->ndims - 1; i >= 0; i--) {
        strides[i] = attributes->axes[i] ? 0 : step;
        step *= attributes->axes[i] ? 1 : shape->dims[i];
    }
    for (int64_t r = 0; r < result->elements && !status; r++) {
        first = true;
        result->wholes[r].plus = attributes->function == SSLD_REDUCE_PROD; /* of nothing */
        for (int64_t i = 0; i < src->elements && !status; i++) {
            if (offset_of(i, shape, strides) != r)
                continue;
            if (first)
                result->wholes[r] = src->wholes[i];
            else
                status = binary(reader, node, functions[attributes->function], result->wholes[r], src->wholes[i],
                                &result->wholes[r]);
            first = false;
        }
    }
    return status;
}

static ssld_status fold_elements(struct reader *reader, const onnx_node *node, int32_t kind,
                                 const struct ssld_attributes *attributes, int32_t count,
                                 const struct operand *operands, const struct ssld_value *dst, struct constant *result)
{
    struct ssld_value shapes[3];
    int64_t strides[3][SSLD_MOST_DIMS];
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; i < count; i++) {
        shapes[i] = value_of(&operands[i].view);
        ssld_broadcast_strides(&shapes[i], dst, strides[i]);
    }
    for (int64_t e = 0; e < result->elements && !status; e++) {
        struct whole x[3] = { { 0, 0 } }, zero = { 0, 0 };
        int order = 0;
        for (int32_t i = 0; i < count; i++)
            x[i] = operands[i].constant->wholes[offset_of(e, dst, strides[i])];
        if (kind == SSLD_OP_UNARY)
            status = unary(reader, node, attributes->function, x[0], &result->wholes[e]);
        else if (kind == SSLD_OP_BINARY)
            status = binary(reader, node, attributes->function, x[0], x[1], &result->wholes[e]);
        else if (!(status = ssld_whole_compare(reader, node, x[0], zero, &order)))
            result->wholes[e] = order ? x[1] : x[2];
    }
    return status;
}

/* -- The number of an image ---------------------------------------------------------------------------------------- */

/* Whether all numbers are one, which does not depend on N. */
static bool is_one_number(const struct constant *constant)
{
    for (int64_t i = 0; i < constant->elements; i++)
        if (constant->wholes[i].per || constant->wholes[i].plus != constant->wholes[0].plus)
            return false;
    return constant->elements > 0 && !constant->each;
}

/* What the numbers of an operator's result grow by from image to image. */
static ssld_status find_each(const struct reader *reader, const onnx_node *node, int32_t kind, int32_t function, int32_t count,
                             const struct operand *operands, int64_t *each)
{
    const struct constant *a = operands[0].constant, *b = count > 1 ? operands[1].constant : NULL;
    bool any = false;
    *each = 0;
    for (int32_t i = 0; i < count; i++)
        any = any || operands[i].constant->each;
    if (!any)
        return SSLD_OK;
    if (count == 1 && ssld_op_moves(kind))
        *each = a->each;
    else if (kind == SSLD_OP_BINARY && b->whole && a->whole && function == SSLD_BINARY_ADD)
        *each = add(a->each, b->each);
    else if (kind == SSLD_OP_BINARY && b->whole && a->whole && function == SSLD_BINARY_SUB)
        *each = add(a->each, multiply(b->each, -1));
    else if (kind == SSLD_OP_BINARY && b->whole && function == SSLD_BINARY_MUL && is_one_number(b))
        *each = multiply(a->each, b->wholes[0].plus);
    else if (kind == SSLD_OP_BINARY && a->whole && function == SSLD_BINARY_MUL && is_one_number(a))
        *each = multiply(b->each, a->wholes[0].plus);
    else
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it computes with the number of an image in its batch");
    return SSLD_OK;
}

/* -- One node ----------------------------------------------------------------------------------------------------- */

static bool gives_truth(int32_t function)
{
    return function >= SSLD_BINARY_EQUAL && function <= SSLD_BINARY_XOR;
}

/* Can the operator be computed in whole numbers? All inputs are such; but indices and conditions are so anyway. */
static bool stays_whole(int32_t kind, const struct ssld_attributes *attributes, int32_t count,
                        const struct operand *operands)
{
    for (int32_t i = 0; i < count; i++)
        if (!operands[i].constant->whole && !(kind == SSLD_OP_GATHER && i == 1))
            return false;
    int32_t function = attributes ? attributes->function : 0;
    return ssld_op_moves(kind) || kind == SSLD_OP_BINARY || kind == SSLD_OP_WHERE ||
           (kind == SSLD_OP_UNARY && (function == SSLD_UNARY_NEG || function == SSLD_UNARY_ABS ||
                                      function == SSLD_UNARY_SIGN || function == SSLD_UNARY_NOT)) ||
           (kind == SSLD_OP_REDUCE && (function == SSLD_REDUCE_SUM || function == SSLD_REDUCE_PROD ||
                                       function == SSLD_REDUCE_MIN || function == SSLD_REDUCE_MAX));
}

static ssld_status fold_moved(struct reader *reader, const onnx_node *from, const struct ssld_node *node, int32_t count,
                              const struct operand *operands, const struct ssld_value *dst, struct constant *result)
{
    struct ssld_value shapes[SSLD_MOST_INPUTS];
    const struct ssld_value *inputs[SSLD_MOST_INPUTS];
    const void *data[SSLD_MOST_INPUTS];
    const struct whole fill = { 0, (int64_t)node->attributes.alpha };
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; i < count && !status; i++) {
        shapes[i] = value_of(&operands[i].view);
        inputs[i] = &shapes[i];
        const float *floats = NULL;
        if (node->kind == SSLD_OP_GATHER && i == 1)
            status = ssld_onnx_constant_floats(reader, from, operands[i].constant, &floats);
        data[i] = floats ? (const void *)floats : operands[i].constant->wholes;
    }
    return status ? status
                  : ssld_move_elements(reader->context, node, inputs, data, sizeof(struct whole), &fill, dst,
                                       result->wholes);
}

static ssld_status fold_floats(struct reader *reader, const onnx_node *from, const struct ssld_node *node,
                               int32_t count, const struct operand *operands, const struct ssld_value *dst,
                               struct constant *result)
{
    struct ssld_value shapes[SSLD_MOST_INPUTS];
    const struct ssld_value *inputs[SSLD_MOST_INPUTS];
    const float *data[SSLD_MOST_INPUTS];
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; i < count && !status; i++) {
        shapes[i] = value_of(&operands[i].view);
        inputs[i] = &shapes[i];
        status = ssld_onnx_constant_floats(reader, from, operands[i].constant, &data[i]);
        result->learned = result->learned || operands[i].constant->learned;
    }
    return status ? status : ssld_evaluate(reader->context, node, inputs, data, dst, result->floats);
}

ssld_status ssld_onnx_fold(struct reader *reader, const onnx_node *from, int32_t kind,
                           const struct ssld_attributes *attributes, int32_t count, const struct operand *operands,
                           const struct view *view, struct operand *result)
{
    struct ssld_node node = { .kind = kind,
                              .input_count = count,
                              .attributes = attributes ? *attributes : ssld_op_defaults(kind) };
    struct ssld_value dst = value_of(view), first = value_of(&operands[0].view);
    struct constant *made = NULL;
    bool whole = stays_whole(kind, &node.attributes, count, operands);
    int64_t each;
    ssld_status status = find_each(reader, from, kind, node.attributes.function, count, operands, &each);
    if (!status)
        status = ssld_onnx_new_constant(reader, whole, ssld_view_elements(view), &made);
    node.name = (char *)(from->n_output ? from->output[0] : "");
    if (status)
        return status;
    made->each = each;
    if (!made->elements)
        status = SSLD_OK;
    else if (!whole)
        status = fold_floats(reader, from, &node, count, operands, &dst, made);
    else if (ssld_op_moves(kind))
        status = fold_moved(reader, from, &node, count, operands, &dst, made);
    else if (kind == SSLD_OP_REDUCE)
        status = fold_reduce(reader, from, &node.attributes, operands[0].constant, &first, made);
    else
        status = fold_elements(reader, from, kind, &node.attributes, count, operands, &dst, made);
    /* Comparisons of floats are truth values, which files treat as whole numbers. */
    if (!status && !whole && kind == SSLD_OP_BINARY && gives_truth(node.attributes.function)) {
        struct constant *truth = NULL;
        if ((status = ssld_onnx_new_constant(reader, true, made->elements, &truth)))
            return status;
        for (int64_t i = 0; i < made->elements; i++)
            truth->wholes[i].plus = made->floats[i] != 0;
        made = truth;
    }
    /* Only now: the result may be where an operand is. */
    if (!status)
        *result = (struct operand){ *view, SSLD_NO_VALUE, made };
    return status;
}
