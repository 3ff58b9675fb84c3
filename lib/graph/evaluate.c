/* SPDX-License-Identifier: BSD-2-Clause */
/* evaluate.c - operators on constants: moving elements by tables of offsets, and arithmetic in double. */
#include "graph/evaluate.h"

#include <math.h>
#include <string.h>

/* -- Walking over shapes ------------------------------------------------------------------------------------------ */

static void row_major(const struct ssld_value *value, int64_t strides[SSLD_MOST_DIMS])
{
    int64_t step = 1;
    for (int32_t i = SSLD_MOST_DIMS - 1; i >= 0; i--) {
        strides[i] = i < value->ndims ? step : 0;
        step *= i < value->ndims ? value->dims[i] : 1;
    }
}

void ssld_broadcast_strides(const struct ssld_value *value, const struct ssld_value *to,
                            int64_t strides[SSLD_MOST_DIMS])
{
    int64_t own[SSLD_MOST_DIMS];
    int32_t shift = to->ndims - value->ndims;
    row_major(value, own);
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        strides[i] = i >= shift && i < to->ndims && value->dims[i - shift] > 1 ? own[i - shift] : 0;
}

/* The next index in row-major order; false behind the last. */
static bool advance(const struct ssld_value *shape, int64_t index[SSLD_MOST_DIMS])
{
    for (int32_t i = shape->ndims - 1; i >= 0; i--) {
        if (++index[i] < shape->dims[i])
            return true;
        index[i] = 0;
    }
    return false;
}

static int64_t place(const int64_t index[SSLD_MOST_DIMS], const int64_t strides[SSLD_MOST_DIMS])
{
    int64_t offset = 0;
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        offset += index[i] * strides[i];
    return offset;
}

/* -- Moving ------------------------------------------------------------------------------------------------------- */

bool ssld_op_moves(int32_t kind)
{
    return kind == SSLD_OP_TRANSPOSE || kind == SSLD_OP_RESHAPE || kind == SSLD_OP_JOIN ||
           kind == SSLD_OP_STRIDED_SLICE || kind == SSLD_OP_GATHER || kind == SSLD_OP_TILE || kind == SSLD_OP_PAD;
}

/* Which element of an axis of `size` a padded axis shows at `i` (counted from the first that is not padding); -1: none. */
static int64_t padded_index(int32_t mode, int64_t i, int64_t size)
{
    if (i >= 0 && i < size)
        return i;
    switch (mode) {
    case SSLD_PAD_EDGE:
        return i < 0 ? 0 : size - 1;
    case SSLD_PAD_REFLECT:
        return i < 0 ? -i : 2 * (size - 1) - i;
    case SSLD_PAD_WRAP:
        return i < 0 ? i + size : i - size;
    default:
        return -1;
    }
}

void ssld_axis_offsets(const struct ssld_node *node, const struct ssld_value *src, const float *indices,
                       const struct ssld_value *dst, int32_t axis, int64_t *offsets)
{
    const struct ssld_attributes *attributes = &node->attributes;
    int64_t strides[SSLD_MOST_DIMS], size = src->dims[axis];
    row_major(src, strides);
    int64_t step = strides[node->kind == SSLD_OP_TRANSPOSE ? attributes->perm[axis] : axis];
    for (int64_t i = 0; i < dst->dims[axis]; i++) {
        int64_t from = i;
        if (node->kind == SSLD_OP_STRIDED_SLICE)
            from = attributes->starts[axis] + i * attributes->steps[axis];
        else if (node->kind == SSLD_OP_GATHER && axis == attributes->axis)
            from = (int64_t)indices[i];
        else if (node->kind == SSLD_OP_TILE)
            from = i % size;
        else if (node->kind == SSLD_OP_PAD)
            from = padded_index(attributes->mode, i - attributes->before[axis], size);
        else if (node->kind == SSLD_OP_RESIZE && axis >= 2)
            from = ssld_resize_round(attributes->rounding,
                                     ssld_resize_source(attributes, axis - 2, size, dst->dims[axis], i), size);
        offsets[i] = from < 0 ? -1 : from * step;
    }
}

static void join_elements(const struct ssld_node *node, const struct ssld_value *const *inputs, const void *const *data,
                          size_t element_size, const struct ssld_value *dst, char *dst_data)
{
    int64_t outer = 1;
    for (int32_t i = 0; i < node->attributes.axis; i++)
        outer *= dst->dims[i];
    for (int64_t o = 0; o < outer; o++)
        for (int32_t i = 0; i < node->input_count; i++) {
            size_t bytes = (size_t)(ssld_value_elements(inputs[i]) / outer) * element_size;
            memcpy(dst_data, (const char *)data[i] + (size_t)o * bytes, bytes);
            dst_data += bytes;
        }
}

ssld_status ssld_move_elements(ssld_context *context, const struct ssld_node *node,
                               const struct ssld_value *const *inputs, const void *const *data, size_t element_size,
                               const void *fill, const struct ssld_value *dst, void *dst_data)
{
    int64_t *tables[SSLD_MOST_DIMS], count = 0, index[SSLD_MOST_DIMS] = { 0 };
    char *to = dst_data;
    if (node->kind == SSLD_OP_JOIN) {
        join_elements(node, inputs, data, element_size, dst, dst_data);
        return SSLD_OK;
    }
    if (node->kind == SSLD_OP_RESHAPE) {
        memcpy(dst_data, data[0], (size_t)ssld_value_elements(dst) * element_size);
        return SSLD_OK;
    }
    for (int32_t i = 0; i < dst->ndims; i++)
        count += dst->dims[i];
    int64_t *offsets = ssld_alloc(context, (size_t)count * sizeof *offsets);
    if (!offsets)
        return ssld_fail_memory(context, "moving a constant", (size_t)count * sizeof *offsets);
    count = 0;
    for (int32_t i = 0; i < dst->ndims; i++) {
        tables[i] = offsets + count;
        ssld_axis_offsets(node, inputs[0], node->kind == SSLD_OP_GATHER ? data[1] : NULL, dst, i, tables[i]);
        count += dst->dims[i];
    }
    do {
        int64_t from = 0;
        for (int32_t i = 0; i < dst->ndims && from >= 0; i++) {
            int64_t term = tables[i][index[i]];
            from = term < 0 ? -1 : from + term;
        }
        memcpy(to, from < 0 ? fill : (const char *)data[0] + (size_t)from * element_size, element_size);
        to += element_size;
    } while (advance(dst, index));
    ssld_free(context, offsets);
    return SSLD_OK;
}

/* -- Arithmetic --------------------------------------------------------------------------------------------------- */

static void evaluate_elements(const struct ssld_node *node, const struct ssld_value *const *inputs,
                              const float *const *data, const struct ssld_value *dst, float *dst_data)
{
    const struct ssld_attributes *attributes = &node->attributes;
    int64_t strides[3][SSLD_MOST_DIMS], index[SSLD_MOST_DIMS] = { 0 };
    double x[3] = { 0, 0, 0 };
    for (int32_t i = 0; i < node->input_count; i++)
        ssld_broadcast_strides(inputs[i], dst, strides[i]);
    do {
        for (int32_t i = 0; i < node->input_count; i++)
            x[i] = data[i][place(index, strides[i])];
        *dst_data++ = (float)(node->kind == SSLD_OP_WHERE ? x[0] != 0 ? x[1] : x[2]
                              : node->kind == SSLD_OP_BINARY
                                  ? ssld_binary_value(attributes->function, x[0], x[1])
                                  : ssld_unary_value(attributes->function, attributes->alpha, attributes->beta, x[0]));
    } while (advance(dst, index));
}

/* (M, K) (K, N) for every index of the leading axes. */
static void evaluate_matmul(const struct ssld_value *const *inputs, const float *const *data,
                            const struct ssld_value *dst, float *dst_data)
{
    int64_t strides[2][SSLD_MOST_DIMS], index[SSLD_MOST_DIMS] = { 0 };
    int32_t row = dst->ndims - 2, column = dst->ndims - 1;
    int64_t inner = inputs[0]->dims[inputs[0]->ndims - 1];
    for (int32_t i = 0; i < 2; i++)
        ssld_broadcast_strides(inputs[i], dst, strides[i]);
    /* Along its inner axis an input is not broadcast: a's is its last, b's the last but one. */
    int64_t step_a = 1, step_b = inputs[1]->dims[inputs[1]->ndims - 1];
    strides[0][column] = 0;
    strides[1][row] = 0;
    strides[0][row] = inner;
    strides[1][column] = 1;
    do {
        const float *a = data[0] + place(index, strides[0]), *b = data[1] + place(index, strides[1]);
        double sum = 0;
        for (int64_t k = 0; k < inner; k++)
            sum += (double)a[k * step_a] * b[k * step_b];
        *dst_data++ = (float)sum;
    } while (advance(dst, index));
}

/* What a sum starts with, what an element adds to it, and what it is in the end. */
static double reduce_start(int32_t function)
{
    return function == SSLD_REDUCE_MAX || function == SSLD_REDUCE_LOG_SUM_EXP ? -INFINITY
           : function == SSLD_REDUCE_MIN                                      ? INFINITY
           : function == SSLD_REDUCE_PROD                                     ? 1
                                                                              : 0;
}

static double reduce_step(int32_t function, double sum, double x)
{
    switch (function) {
    case SSLD_REDUCE_MAX: return ssld_binary_value(SSLD_BINARY_MAX, sum, x);
    case SSLD_REDUCE_MIN: return ssld_binary_value(SSLD_BINARY_MIN, sum, x);
    case SSLD_REDUCE_PROD: return sum * x;
    case SSLD_REDUCE_L1: return sum + fabs(x);
    case SSLD_REDUCE_L2: case SSLD_REDUCE_SUM_SQUARE: return sum + x * x;
    case SSLD_REDUCE_LOG_SUM_EXP: return sum > x ? sum + log1p(exp(x - sum)) : isinf(x) ? x : x + log1p(exp(sum - x));
    default: return sum + x;
    }
}

static double reduce_end(int32_t function, double sum, int64_t count)
{
    return function == SSLD_REDUCE_MEAN      ? sum / (double)count
           : function == SSLD_REDUCE_L2      ? sqrt(sum)
           : function == SSLD_REDUCE_LOG_SUM ? log(sum)
                                             : sum;
}

static ssld_status evaluate_reduce(ssld_context *context, const struct ssld_node *node, const struct ssld_value *src,
                                   const float *data, const struct ssld_value *dst, float *dst_data)
{
    const struct ssld_attributes *attributes = &node->attributes;
    int64_t strides[SSLD_MOST_DIMS] = { 0 }, index[SSLD_MOST_DIMS] = { 0 }, step = 1,
            results = ssld_value_elements(dst);
    double *sums = ssld_alloc(context, (size_t)results * sizeof *sums);
    if (!sums)
        return ssld_fail_memory(context, "reducing a constant", (size_t)results * sizeof *sums);
    for (int32_t i = src->ndims - 1; i >= 0; i--) {
        strides[i] = attributes->axes[i] ? 0 : step;
        step *= attributes->axes[i] ? 1 : src->dims[i];
    }
    for (int64_t i = 0; i < results; i++)
        sums[i] = reduce_start(attributes->function);
    int64_t elements = ssld_value_elements(src); /* a constant may have none: then the sums are what they start with */
    for (int64_t i = 0; i < elements; i++, advance(src, index)) {
        double *sum = &sums[place(index, strides)];
        *sum = reduce_step(attributes->function, *sum, data[i]);
    }
    for (int64_t i = 0; i < results; i++)
        dst_data[i] = (float)reduce_end(attributes->function, sums[i], elements / results);
    ssld_free(context, sums);
    return SSLD_OK;
}

ssld_status ssld_evaluate(ssld_context *context, const struct ssld_node *node, const struct ssld_value *const *inputs,
                          const float *const *data, const struct ssld_value *dst, float *dst_data)
{
    if (ssld_op_moves(node->kind)) {
        const void *from[SSLD_MOST_INPUTS];
        for (int32_t i = 0; i < node->input_count; i++)
            from[i] = data[i];
        return ssld_move_elements(context, node, inputs, from, sizeof(float), &node->attributes.alpha, dst, dst_data);
    }
    if (ssld_op_is_activation(node->kind)) {
        struct ssld_activation activation = ssld_node_as_activation(node);
        for (int64_t i = 0; i < ssld_value_elements(dst); i++)
            dst_data[i] = (float)ssld_activation_value(&activation, data[0][i]);
        return SSLD_OK;
    }
    switch (node->kind) {
    case SSLD_OP_UNARY:
    case SSLD_OP_BINARY:
    case SSLD_OP_WHERE:
        evaluate_elements(node, inputs, data, dst, dst_data);
        return SSLD_OK;
    case SSLD_OP_MATMUL:
        evaluate_matmul(inputs, data, dst, dst_data);
        return SSLD_OK;
    case SSLD_OP_REDUCE:
        return evaluate_reduce(context, node, inputs[0], data[0], dst, dst_data);
    default:
        return ssld_fail(context, SSLD_UNSUPPORTED, "node '%.80s' (%s): it has constants alone", node->name,
                         ssld_node_operator(node));
    }
}
