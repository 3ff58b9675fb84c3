/* SPDX-License-Identifier: BSD-2-Clause */
/* general_networks.h - small graphs of the operators of teachers: each operator on maps, views and rows, and blocks of networks as
 * exporters write them. They begin with an image (1, 3, 6, 8) in net->value and leave their output there. */
#ifndef SSLD_TESTS_ENGINE_GENERAL_NETWORKS_H
#define SSLD_TESTS_ENGINE_GENERAL_NETWORKS_H

#include <stdarg.h>

#include "networks.h"

/* -- Building ----------------------------------------------------------------------------------------------------- */

static inline int32_t reshape(struct net *net, int32_t rank, ...)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_RESHAPE);
    va_list sizes;
    va_start(sizes, rank);
    attributes.rank = rank;
    for (int32_t i = 0; i < rank; i++)
        attributes.sizes[i] = va_arg(sizes, int);
    va_end(sizes);
    return net_node(net, SSLD_OP_RESHAPE, 1, &net->value, &attributes);
}

static inline int32_t transpose(struct net *net, int32_t rank, ...)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_TRANSPOSE);
    va_list perm;
    va_start(perm, rank);
    for (int32_t i = 0; i < rank; i++)
        attributes.perm[i] = va_arg(perm, int);
    va_end(perm);
    return net_node(net, SSLD_OP_TRANSPOSE, 1, &net->value, &attributes);
}

/* Of one axis; the others whole. */
static inline int32_t slice_of(struct net *net, int32_t src, int32_t axis, int32_t start, int32_t step, int32_t size)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_STRIDED_SLICE);
    const struct ssld_value *value = &net->graph->values[src];
    for (int32_t i = 0; i < value->ndims; i++)
        attributes.sizes[i] = (int32_t)value->dims[i];
    attributes.starts[axis] = start;
    attributes.steps[axis] = step;
    attributes.sizes[axis] = size;
    return net_node(net, SSLD_OP_STRIDED_SLICE, 1, &src, &attributes);
}

static inline int32_t function_of(struct net *net, int32_t kind, int32_t function, int32_t count, const int32_t *inputs)
{
    struct ssld_attributes attributes = ssld_op_defaults(kind);
    attributes.function = function;
    attributes.alpha = 1.25f;
    attributes.beta = 1.5f;
    return net_node(net, kind, count, inputs, &attributes);
}

static inline int32_t binary(struct net *net, int32_t function, int32_t a, int32_t b)
{
    return function_of(net, SSLD_OP_BINARY, function, 2, (int32_t[]){ a, b });
}

static inline int32_t unary(struct net *net, int32_t function)
{
    return function_of(net, SSLD_OP_UNARY, function, 1, &net->value);
}

static inline int32_t constant(struct net *net, double scale, double add, int32_t rank, ...)
{
    int64_t dims[SSLD_MOST_DIMS];
    va_list sizes;
    va_start(sizes, rank);
    for (int32_t i = 0; i < rank; i++)
        dims[i] = va_arg(sizes, int);
    va_end(sizes);
    return net_constant(net, SSLD_VALUE_PARAMETER, rank, dims, scale, add);
}

/* net->value = function(net->value, a constant) */
static inline int32_t with_constant(struct net *net, int32_t function, int32_t value)
{
    return binary(net, function, net->value, value);
}

static inline int32_t last_dim(const struct net *net, int32_t from_behind)
{
    const struct ssld_value *value = &net->graph->values[net->value];
    return (int32_t)value->dims[value->ndims - from_behind];
}

static inline int32_t matmul(struct net *net, int32_t a, int32_t b)
{
    return net_node(net, SSLD_OP_MATMUL, 2, (int32_t[]){ a, b }, NULL);
}

/* x W + b, as PyTorch exports a linear layer of (1, T, C) */
static inline int32_t linear(struct net *net, int32_t outputs)
{
    int32_t inputs = last_dim(net, 1);
    matmul(net, net->value, constant(net, 2 / sqrt(inputs), 0, 2, inputs, outputs));
    return binary(net, SSLD_BINARY_ADD, constant(net, 0.5, 0, 1, outputs), net->value);
}

static inline int32_t layer_norm(struct net *net, int32_t axis)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_LAYER_NORM);
    int32_t channels = (int32_t)net_dims(net)[axis];
    attributes.axis = axis;
    int32_t inputs[3] = { net->value, constant(net, 0.5, 1, 1, channels), constant(net, 0.5, 0, 1, channels) };
    return net_node(net, SSLD_OP_LAYER_NORM, 3, inputs, &attributes);
}

static inline int32_t with_axis(struct net *net, int32_t kind, int32_t axis, int32_t count, const int32_t *inputs)
{
    struct ssld_attributes attributes = ssld_op_defaults(kind);
    attributes.axis = axis;
    return net_node(net, kind, count, inputs, &attributes);
}

static inline int32_t softmax(struct net *net, int32_t axis)
{
    return with_axis(net, SSLD_OP_SOFTMAX, axis, 1, &net->value);
}

static inline int32_t reduce(struct net *net, int32_t function, int32_t keepdims, uint32_t axes)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_REDUCE);
    attributes.function = function;
    attributes.keepdims = keepdims;
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        attributes.axes[i] = axes >> i & 1;
    return net_node(net, SSLD_OP_REDUCE, 1, &net->value, &attributes);
}

/* What operators are tried on: (1, C, 6, 8) from a convolution, in blocks; (1, 48, C) rows, a view of those; (1, C, 48) plain. */
static inline int32_t maps(struct net *net, int32_t channels) { return net_conv3(net, channels); }
static inline int32_t rows(struct net *net, int32_t channels)
{
    maps(net, channels);
    reshape(net, 3, 1, channels, 48);
    return transpose(net, 3, 0, 2, 1);
}
static inline int32_t plain_rows(struct net *net, int32_t channels)
{
    rows(net, channels);
    return linear(net, channels);
}

/* -- Elementwise -------------------------------------------------------------------------------------------------- */

static inline void every_unary(struct net *net)
{
    int32_t x = plain_rows(net, 20), sum = x;
    for (int32_t function = 0; function < SSLD_UNARIES; function++) {
        net->value = x;
        if (function == SSLD_UNARY_FLOOR || function == SSLD_UNARY_CEIL || function == SSLD_UNARY_ROUND ||
            function == SSLD_UNARY_SIGN || function == SSLD_UNARY_NOT)
            continue; /* they jump: steps_of_numbers() */
        if (function == SSLD_UNARY_SQRT || function == SSLD_UNARY_LOG || function == SSLD_UNARY_RECIPROCAL) {
            unary(net, SSLD_UNARY_ABS);
            with_constant(net, SSLD_BINARY_ADD, constant(net, 0, 0.5, 1, 1));
        }
        unary(net, function);
        net->value = binary(net, SSLD_BINARY_ADD, sum, net->value);
        sum = net->value;
    }
}
/* Pixels lie on a grid of 1/256 and come unchanged: both precisions see the same steps. */
static inline void steps_of_numbers(struct net *net)
{
    int32_t functions[] = { SSLD_UNARY_FLOOR, SSLD_UNARY_CEIL, SSLD_UNARY_ROUND, SSLD_UNARY_SIGN, SSLD_UNARY_NOT };
    int32_t x = unary(net, SSLD_UNARY_NEG), parts[5];
    for (int i = 0; i < 5; i++) {
        net->value = x;
        parts[i] = unary(net, functions[i]);
    }
    with_axis(net, SSLD_OP_JOIN, 1, 5, parts);
}
static inline void unary_in_blocks(struct net *net)
{
    maps(net, 10);
    unary(net, SSLD_UNARY_EXP);
    unary(net, SSLD_UNARY_MISH);
    maps(net, 7);
}
static inline void unary_of_a_view(struct net *net)
{
    rows(net, 32);
    unary(net, SSLD_UNARY_ELU);
}
static inline void every_binary(struct net *net)
{
    int32_t x = plain_rows(net, 20), y = linear(net, 20), parts[SSLD_BINARIES], count = 0;
    for (int32_t function = 0; function <= SSLD_BINARY_MAX; function++) {
        net->value = y;
        if (function == SSLD_BINARY_DIV || function == SSLD_BINARY_POW) {
            unary(net, SSLD_UNARY_ABS);
            with_constant(net, SSLD_BINARY_ADD, constant(net, 0, 1, 1, 1));
        }
        int32_t second = net->value;
        if (function == SSLD_BINARY_POW) {
            net->value = x;
            unary(net, SSLD_UNARY_ABS);
            parts[count++] = binary(net, function, net->value, second);
        } else {
            parts[count++] = binary(net, function, x, second);
        }
    }
    with_axis(net, SSLD_OP_JOIN, 2, count, parts);
}
static inline void comparisons(struct net *net)
{
    int32_t x = net->value, half = constant(net, 0, 0.25, 1, 1), whole = constant(net, 0, 3, 1, 1), parts[SSLD_BINARIES], count = 0;
    for (int32_t function = SSLD_BINARY_EQUAL; function < SSLD_BINARIES; function++)
        parts[count++] = binary(net, function, x, function < SSLD_BINARY_MOD ? half : whole);
    with_axis(net, SSLD_OP_JOIN, 3, count, parts);
}
static inline void squares_and_roots(struct net *net)
{
    plain_rows(net, 20);
    with_constant(net, SSLD_BINARY_POW, constant(net, 0, 2, 1, 1));
    with_constant(net, SSLD_BINARY_ADD, constant(net, 0, 1, 1, 1));
    with_constant(net, SSLD_BINARY_POW, constant(net, 0, 0.5, 1, 1));
}
static inline void constants_by_channel_of(struct net *net, int32_t channels)
{
    maps(net, channels);
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 4, 1, channels, 1, 1));
    with_constant(net, SSLD_BINARY_ADD, constant(net, 0.5, 0, 3, channels, 1, 1));
    with_constant(net, SSLD_BINARY_DIV, constant(net, 0.25, 1, 3, channels, 1, 1));
    binary(net, SSLD_BINARY_SUB, constant(net, 0.25, 1, 3, channels, 1, 1), net->value);
    maps(net, 5);
}
static inline void constants_by_channel(struct net *net) { constants_by_channel_of(net, 32); }
static inline void constants_by_channel_padded(struct net *net) { constants_by_channel_of(net, 10); }
static inline void constants_by_position_of(struct net *net, int32_t channels)
{
    maps(net, channels);
    with_constant(net, SSLD_BINARY_ADD, constant(net, 0.5, 1, 2, 6, 8));
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 1, 8));
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 3, channels, 6, 8));
    maps(net, 5);
}
static inline void constants_by_position(struct net *net) { constants_by_position_of(net, 32); }
static inline void constants_by_position_padded(struct net *net) { constants_by_position_of(net, 10); }
static inline void channels_times_positions(struct net *net) /* (1, C, 1, 1) and (1, 1, H, W) beside (1, C, H, W), all in blocks */
{
    int32_t x = maps(net, 10), one = maps(net, 1);
    net->value = x;
    int32_t mean = net_unary(net, SSLD_OP_GLOBAL_AVERAGE_POOL);
    binary(net, SSLD_BINARY_MUL, x, one);
    binary(net, SSLD_BINARY_SUB, mean, net->value);
    maps(net, 5);
}
static inline void rows_and_columns(struct net *net) /* (48, 1) and (1, 20) of (48, 20) */
{
    int32_t x = plain_rows(net, 20), column = reduce(net, SSLD_REDUCE_MEAN, 1, 1u << 2);
    net->value = x;
    int32_t row = reduce(net, SSLD_REDUCE_MAX, 1, 1u << 1);
    binary(net, SSLD_BINARY_ADD, column, row);
    binary(net, SSLD_BINARY_SUB, net->value, x);
}
static inline void where(struct net *net)
{
    int32_t x = plain_rows(net, 20), mask = constant(net, 1, 0, 2, 48, 1);
    for (int i = 0; i < 48; i++)
        net->graph->values[mask].data[i] = (float)(i % 3 == 0);
    net_node(net, SSLD_OP_WHERE, 3, (int32_t[]){ mask, x, constant(net, 0.5, 0, 1, 20) }, NULL);
}
static inline void the_image_itself(struct net *net) /* normalised in the graph, as some exporters do */
{
    with_constant(net, SSLD_BINARY_SUB, constant(net, 0.5, 0, 4, 1, 3, 1, 1));
    with_constant(net, SSLD_BINARY_DIV, constant(net, 0.25, 1, 4, 1, 3, 1, 1));
    maps(net, 10);
}
static inline void image_beside_layers(struct net *net)
{
    int32_t image = net->value;
    maps(net, 3);
    binary(net, SSLD_BINARY_MUL, image, net->value);
}

/* -- Matrices, rows ----------------------------------------------------------------------------------------------- */

static inline void linear_of_rows(struct net *net)
{
    rows(net, 20);
    linear(net, 33);
    net_unary(net, SSLD_OP_GELU);
    linear(net, 7);
}
static inline void matmul_with_bias_and_scale(struct net *net)
{
    rows(net, 20);
    net_node(net, SSLD_OP_MATMUL, 3,
             (int32_t[]){ net->value, constant(net, 0.5, 0, 2, 20, 11), constant(net, 0.5, 0, 1, 11) }, NULL);
}
static inline void product_of_two(struct net *net)
{
    int32_t x = plain_rows(net, 20);
    transpose(net, 3, 0, 2, 1);
    int32_t turned = net->value;
    matmul(net, x, turned);
    matmul(net, net->value, x);
}
static inline void product_with_constants(struct net *net) /* of several matrices, on either side */
{
    plain_rows(net, 20);
    reshape(net, 4, 1, 4, 12, 20);
    matmul(net, net->value, constant(net, 0.5, 0, 3, 4, 20, 6));
    matmul(net, constant(net, 0.5, 0, 2, 9, 12), net->value);
}
static inline void product_of_one_row(struct net *net)
{
    plain_rows(net, 20);
    int32_t all = net->value;
    reduce(net, SSLD_REDUCE_MEAN, 1, 1u << 1);
    int32_t mean = net->value;
    net->value = all;
    transpose(net, 3, 0, 2, 1);
    matmul(net, mean, net->value);
}
static inline void softmax_of_rows(struct net *net)
{
    plain_rows(net, 35);
    softmax(net, 2);
}
static inline void softmax_of_columns(struct net *net)
{
    plain_rows(net, 35);
    with_axis(net, SSLD_OP_SOFTMAX, 1, 1, &net->value);
}
static inline void log_softmax(struct net *net)
{
    plain_rows(net, 35);
    with_axis(net, SSLD_OP_LOG_SOFTMAX, 2, 1, &net->value);
    with_axis(net, SSLD_OP_LOG_SOFTMAX, 1, 1, &net->value);
}
static inline void softmax_of_channels_in_blocks(struct net *net)
{
    maps(net, 10);
    softmax(net, 1);
    maps(net, 5);
}
static inline void softmax_of_long_rows(struct net *net)
{
    plain_rows(net, 48);
    reshape(net, 2, 1, 2304);
    softmax(net, 1);
}
static inline void layer_norm_of_rows(struct net *net)
{
    plain_rows(net, 35);
    layer_norm(net, 2);
}
static inline void layer_norm_of_an_axis_between(struct net *net)
{
    plain_rows(net, 20);
    reshape(net, 4, 2, 24, 4, 5);
    layer_norm(net, 1);
}
static inline void layer_norm_of_maps_and_rows(struct net *net)
{
    maps(net, 32);
    layer_norm(net, 1);
    transpose(net, 4, 0, 2, 3, 1);
    layer_norm(net, 3);
}
static inline void group_norm(struct net *net)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_GROUP_NORM);
    for (int i = 0; i < 2; i++) {
        maps(net, 20);
        attributes.group = i ? 20 : 4;
        int32_t inputs[3] = { net->value, constant(net, 0.5, 1, 1, 20), constant(net, 0.5, 0, 1, 20) };
        net_node(net, SSLD_OP_GROUP_NORM, 3, inputs, &attributes);
    }
}
static inline void lrn(struct net *net)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_LRN);
    attributes.alpha = 0.5f;
    attributes.beta = 0.75f;
    attributes.scale = 1.5f;
    for (attributes.size = 4; attributes.size < 6; attributes.size++) {
        maps(net, 20);
        net_node(net, SSLD_OP_LRN, 1, &net->value, &attributes);
    }
}

/* -- Reductions --------------------------------------------------------------------------------------------------- */

static inline void reduce_rows(struct net *net)
{
    static const double factors[SSLD_REDUCTIONS] = { /* each function counts, whatever the size of its results */
        [SSLD_REDUCE_MEAN] = 8,  [SSLD_REDUCE_SUM] = 0.5, [SSLD_REDUCE_MAX] = 1,     [SSLD_REDUCE_MIN] = 1,
        [SSLD_REDUCE_PROD] = 1,  [SSLD_REDUCE_L1] = 0.125, [SSLD_REDUCE_L2] = 0.5,   [SSLD_REDUCE_LOG_SUM] = 1,
        [SSLD_REDUCE_LOG_SUM_EXP] = 1, [SSLD_REDUCE_SUM_SQUARE] = 0.0625,
    };
    int32_t x = plain_rows(net, 35), parts[SSLD_REDUCTIONS], count = 0;
    for (int32_t function = 0; function < SSLD_REDUCTIONS; function++) {
        net->value = x;
        if (function == SSLD_REDUCE_PROD || function == SSLD_REDUCE_LOG_SUM) { /* neither 0 nor below it */
            with_constant(net, SSLD_BINARY_MUL, constant(net, 0, 0.125, 1, 1));
            unary(net, SSLD_UNARY_EXP);
        }
        reduce(net, function, 1, 1u << 2);
        parts[count++] = with_constant(net, SSLD_BINARY_MUL, constant(net, 0, factors[function], 1, 1));
    }
    with_axis(net, SSLD_OP_JOIN, 2, count, parts);
}
static inline void reduce_columns(struct net *net)
{
    int32_t x = plain_rows(net, 35), parts[4];
    const int32_t functions[4] = { SSLD_REDUCE_MEAN, SSLD_REDUCE_MAX, SSLD_REDUCE_L2, SSLD_REDUCE_LOG_SUM_EXP };
    for (int i = 0; i < 4; i++) {
        net->value = x;
        parts[i] = reduce(net, functions[i], 1, 1u << 1);
    }
    with_axis(net, SSLD_OP_JOIN, 1, 4, parts);
}
static inline void reduce_maps(struct net *net)
{
    maps(net, 32);
    reduce(net, SSLD_REDUCE_MEAN, 1, 3u << 2);
    maps(net, 5);
}
static inline void reduce_maps_padded(struct net *net)
{
    maps(net, 10);
    reduce(net, SSLD_REDUCE_L1, 0, 3u << 2);
}
static inline void reduce_channels(struct net *net)
{
    int32_t x = maps(net, 32);
    reduce(net, SSLD_REDUCE_MEAN, 1, 1u << 1);
    binary(net, SSLD_BINARY_SUB, x, net->value);
    maps(net, 5);
}
static inline void reduce_all(struct net *net)
{
    plain_rows(net, 20);
    reduce(net, SSLD_REDUCE_SUM_SQUARE, 0, 7);
}
static inline void reduce_outer_and_inner(struct net *net)
{
    plain_rows(net, 20);
    reshape(net, 4, 6, 8, 4, 5);
    reduce(net, SSLD_REDUCE_MEAN, 0, 5);
}
static inline void reduce_a_view(struct net *net)
{
    rows(net, 32);
    reduce(net, SSLD_REDUCE_MEAN, 0, 1u << 1);
}

/* -- Moving ------------------------------------------------------------------------------------------------------- */

static inline void transpose_of_a_transpose(struct net *net)
{
    maps(net, 32);
    transpose(net, 4, 0, 2, 3, 1);
    unary(net, SSLD_UNARY_NEG);
    transpose(net, 4, 0, 3, 1, 2);
    maps(net, 5);
}
static inline void transpose_padded(struct net *net)
{
    maps(net, 10);
    transpose(net, 4, 0, 3, 1, 2);
    maps(net, 5);
}
static inline void every_transpose_of_three(struct net *net)
{
    static const int32_t perms[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    plain_rows(net, 20);
    int32_t x = reshape(net, 3, 8, 24, 5), parts[6];
    for (int i = 0; i < 6; i++) {
        net->value = x;
        transpose(net, 3, perms[i][0], perms[i][1], perms[i][2]);
        parts[i] = reshape(net, 2, 1, 960);
    }
    with_axis(net, SSLD_OP_JOIN, 0, 6, parts);
}
static inline void slices(struct net *net)
{
    int32_t x = plain_rows(net, 20), parts[4];
    parts[0] = slice_of(net, x, 1, 5, 3, 12);
    parts[1] = slice_of(net, x, 1, 47, -2, 12);
    parts[2] = slice_of(net, slice_of(net, x, 2, 19, -1, 20), 1, 36, 1, 12);
    parts[3] = slice_of(net, x, 1, 0, 1, 12);
    with_axis(net, SSLD_OP_JOIN, 2, 4, parts);
}
static inline void slices_of_maps(struct net *net) /* whole blocks, a part of one, across two, and of positions */
{
    int32_t x = maps(net, 32), parts[4];
    const int32_t starts[3] = { 16, 3, 11 };
    for (int i = 0; i < 3; i++)
        parts[i] = slice_of(net, x, 1, starts[i], 1, 8);
    parts[3] = slice_of(net, x, 1, 0, 4, 8);
    with_axis(net, SSLD_OP_JOIN, 1, 4, parts);
    slice_of(net, slice_of(net, net->value, 2, 1, 2, 3), 3, 0, 1, 7);
    maps(net, 5);
}
static inline void patches_of_pixels(struct net *net) /* Focus: four shifted halves, joined */
{
    int32_t x = net->value, parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = slice_of(net, slice_of(net, x, 2, i % 2, 2, 3), 3, i / 2, 2, 4);
    with_axis(net, SSLD_OP_JOIN, 1, 4, parts);
    maps(net, 10);
}
static inline void gather(struct net *net)
{
    plain_rows(net, 20);
    int64_t count = 7;
    int32_t indices = net_constant(net, SSLD_VALUE_BUFFER, 1, &count, 0, 0);
    for (int i = 0; i < 7; i++)
        net->graph->values[indices].data[i] = (float)(i * 5 % 20);
    with_axis(net, SSLD_OP_GATHER, 2, 2, (int32_t[]){ net->value, indices });
    with_axis(net, SSLD_OP_GATHER, 1, 2, (int32_t[]){ net->value, indices });
}
static inline void tile(struct net *net)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_TILE);
    maps(net, 32);
    reduce(net, SSLD_REDUCE_MEAN, 0, 3u << 2); /* (1, 32) */
    reshape(net, 3, 1, 1, 32);
    attributes.sizes[0] = 2;
    attributes.sizes[1] = 3;
    attributes.sizes[2] = 2;
    net_node(net, SSLD_OP_TILE, 1, &net->value, &attributes);
}
static inline void pads(struct net *net)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_PAD);
    maps(net, 10);
    for (attributes.mode = 0; attributes.mode < SSLD_PAD_MODES; attributes.mode++) {
        attributes.alpha = 0.75f;
        attributes.before[2] = attributes.after[3] = 2;
        attributes.before[3] = attributes.after[2] = 1;
        attributes.before[1] = attributes.mode == SSLD_PAD_CONSTANT;
        net_node(net, SSLD_OP_PAD, 1, &net->value, &attributes);
    }
    maps(net, 5);
}
static inline void class_token(struct net *net)
{
    int32_t x = rows(net, 32), parts[2] = { constant(net, 1, 0, 3, 1, 1, 32), x };
    with_axis(net, SSLD_OP_JOIN, 1, 2, parts);
    with_constant(net, SSLD_BINARY_ADD, constant(net, 0.5, 0, 3, 1, 49, 32));
    slice_of(net, net->value, 1, 0, 1, 1);
    reshape(net, 2, 1, 32);
}
static inline void resize_of(struct net *net, int32_t mode, int32_t coordinates, int32_t rounding)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_RESIZE);
    const int64_t *dims = net_dims(net);
    int32_t outs[2] = { 11, 5 };
    attributes.mode = mode;
    attributes.coordinates = coordinates;
    attributes.rounding = rounding;
    for (int i = 0; i < 2; i++) {
        attributes.sizes[2 + i] = outs[i];
        attributes.scales[i] = (float)outs[i] / (float)dims[2 + i];
    }
    attributes.sizes[0] = 1;
    attributes.sizes[1] = (int32_t)dims[1];
    net_node(net, SSLD_OP_RESIZE, 1, &net->value, &attributes);
}
static inline void resizes(struct net *net)
{
    int32_t x = maps(net, 10), parts[SSLD_COORDINATES + SSLD_ROUNDINGS], count = 0;
    for (int32_t coordinates = 0; coordinates < SSLD_COORDINATES; coordinates++) {
        net->value = x;
        resize_of(net, SSLD_RESIZE_LINEAR, coordinates, 0);
        parts[count++] = net->value;
    }
    for (int32_t rounding = 0; rounding < SSLD_ROUNDINGS; rounding++) {
        net->value = x;
        resize_of(net, SSLD_RESIZE_NEAREST, SSLD_COORDINATES_HALF_PIXEL, rounding);
        parts[count++] = net->value;
    }
    with_axis(net, SSLD_OP_JOIN, 1, count, parts);
}
static inline void resize_of_many_maps(struct net *net)
{
    maps(net, 10);
    reshape(net, 4, 2, 5, 6, 8);
    resize_of(net, SSLD_RESIZE_LINEAR, SSLD_COORDINATES_HALF_PIXEL, 0);
}

/* -- As exporters write them -------------------------------------------------------------------------------------- */

/* x W_qkv -> (1, T, 3, heads, D) -> (3, 1, heads, T, D); softmax(q k^T / sqrt(D)) v -> (1, T, C) -> W */
static inline int32_t attention(struct net *net, int32_t batch, int32_t tokens, int32_t heads, int32_t mask)
{
    int32_t channels = last_dim(net, 1), depth = channels / heads, parts[3];
    linear(net, 3 * channels);
    reshape(net, 5, batch, tokens, 3, heads, depth);
    int32_t all = transpose(net, 5, 2, 0, 3, 1, 4);
    for (int i = 0; i < 3; i++) {
        slice_of(net, all, 0, i, 1, 1);
        parts[i] = reshape(net, 4, batch, heads, tokens, depth);
    }
    net->value = parts[0];
    int32_t q = with_constant(net, SSLD_BINARY_MUL, constant(net, 0, 0.3125, 1, 1));
    net->value = parts[1];
    int32_t k = transpose(net, 4, 0, 1, 3, 2);
    matmul(net, q, k);
    if (mask)
        with_constant(net, SSLD_BINARY_ADD, constant(net, 2, 0, 4, batch, 1, tokens, tokens));
    softmax(net, 3);
    matmul(net, net->value, parts[2]);
    transpose(net, 4, 0, 2, 1, 3);
    reshape(net, 3, batch, tokens, channels);
    return linear(net, channels);
}

static inline void mlp(struct net *net)
{
    int32_t channels = last_dim(net, 1);
    linear(net, 4 * channels);
    net_unary(net, SSLD_OP_GELU);
    linear(net, channels);
}

static inline void vit_block(struct net *net)
{
    int32_t x = rows(net, 32);
    layer_norm(net, 2);
    attention(net, 1, 48, 4, 0);
    x = binary(net, SSLD_BINARY_ADD, x, net->value);
    layer_norm(net, 2);
    mlp(net);
    binary(net, SSLD_BINARY_ADD, x, net->value);
    layer_norm(net, 2);
    slice_of(net, net->value, 1, 0, 1, 1);
    reshape(net, 2, 1, 32);
    linear(net, CLASSES);
}
/* (1, H, W, C) -> windows of 2 x 4, shifted around, with a mask, and back. */
static inline void swin_block(struct net *net)
{
    maps(net, 32);
    int32_t x = transpose(net, 4, 0, 2, 3, 1), parts[2];
    layer_norm(net, 3);
    int32_t y = net->value;
    parts[0] = slice_of(net, y, 1, 1, 1, 5);
    parts[1] = slice_of(net, y, 1, 0, 1, 1);
    y = with_axis(net, SSLD_OP_JOIN, 1, 2, parts);
    parts[0] = slice_of(net, y, 2, 2, 1, 6);
    parts[1] = slice_of(net, y, 2, 0, 1, 2);
    with_axis(net, SSLD_OP_JOIN, 2, 2, parts);
    reshape(net, 6, 1, 3, 2, 2, 4, 32);
    transpose(net, 6, 0, 1, 3, 2, 4, 5);
    reshape(net, 3, 6, 8, 32);
    attention(net, 6, 8, 4, 1);
    reshape(net, 6, 1, 3, 2, 2, 4, 32);
    transpose(net, 6, 0, 1, 3, 2, 4, 5);
    y = reshape(net, 4, 1, 6, 8, 32);
    parts[0] = slice_of(net, y, 1, 5, 1, 1);
    parts[1] = slice_of(net, y, 1, 0, 1, 5);
    with_axis(net, SSLD_OP_JOIN, 1, 2, parts);
    x = binary(net, SSLD_BINARY_ADD, x, net->value);
    layer_norm(net, 3);
    mlp(net);
    binary(net, SSLD_BINARY_ADD, x, net->value);
    /* patch merging */
    reshape(net, 6, 1, 3, 2, 4, 2, 32);
    transpose(net, 6, 0, 1, 3, 4, 2, 5);
    reshape(net, 4, 1, 3, 4, 128);
    layer_norm(net, 3);
    linear(net, 64);
    reduce(net, SSLD_REDUCE_MEAN, 0, 6);
}
static inline void convnext_block(struct net *net)
{
    int32_t shortcut = maps(net, 20);
    net_conv(net, 20, (struct ssld_window){ { 7, 7 }, { 1, 1 }, { 1, 1 }, { 3, 3, 3, 3 } }, 20, true);
    transpose(net, 4, 0, 2, 3, 1);
    layer_norm(net, 3);
    mlp(net);
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 1, 20));
    transpose(net, 4, 0, 3, 1, 2);
    net_binary(net, SSLD_OP_ADD, shortcut, net->value);
    maps(net, 5);
}
static inline void channel_shuffle_of(struct net *net, int32_t channels)
{
    maps(net, channels);
    reshape(net, 5, 1, 2, channels / 2, 6, 8);
    transpose(net, 5, 0, 2, 1, 3, 4);
    reshape(net, 4, 1, channels, 6, 8);
    int32_t all = net->value;
    slice_of(net, all, 1, 0, 1, channels / 2);
    maps(net, 5);
}
static inline void channel_shuffle(struct net *net) { channel_shuffle_of(net, 32); }
static inline void channel_shuffle_padded(struct net *net) { channel_shuffle_of(net, 20); }
static inline void pixel_shuffle(struct net *net) /* DepthToSpace, by parts */
{
    maps(net, 20);
    reshape(net, 6, 1, 5, 2, 2, 6, 8);
    transpose(net, 6, 0, 1, 4, 2, 5, 3);
    reshape(net, 4, 1, 5, 12, 16);
    maps(net, 5);
}

#endif
