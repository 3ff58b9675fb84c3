/* SPDX-License-Identifier: BSD-2-Clause */
/* matrices.c - products of matrices, and operators that sum along axes: softmax, reductions, layer and group norm. */
#include "onnx/convert.h"

#include <string.h>

/* -- Gemm, MatMul ------------------------------------------------------------------------------------------------- */

/* (N, F) by a constant matrix is GEMM, whose weights are (K, F): as they stand with transB, else transposed. */
static ssld_status fully_connected(struct reader *reader, const onnx_node *node, const struct operand *src,
                                   const struct operand *weights, bool transposed, bool bias, struct operand *result)
{
    int32_t values[3] = { src->value, SSLD_NO_VALUE, SSLD_NO_VALUE };
    const int64_t *dims = weights->view.dims;
    int64_t own[2] = { transposed ? dims[0] : dims[1], transposed ? dims[1] : dims[0] };
    struct view view = src->view;
    view.dims[1] = own[0];
    ssld_status status =
        ssld_onnx_add_constant(reader, node, weights->constant, SSLD_VALUE_PARAMETER, 2, own, !transposed, &values[1]);
    if (!status && bias)
        status = ssld_onnx_vector(reader, node, 2, SSLD_VALUE_PARAMETER, own[0], &values[2]);
    return status ? status
                  : ssld_onnx_add_node(reader, node, SSLD_OP_GEMM, NULL, bias ? 3 : 2, values, &view, result);
}

static bool is_features(const struct operand *operand)
{
    return !operand->constant && operand->view.ndims == 2 && operand->view.batch == 0 && operand->view.dims[0] == 1;
}

static ssld_status check_product(const struct reader *reader, const onnx_node *node, int64_t columns, int64_t rows)
{
    return columns == rows ? SSLD_OK
                           : ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it multiplies %lld columns with %lld rows",
                                              (long long)columns, (long long)rows);
}

/* The batch may be in the rows of a where b has none, or in a leading axis of both, or of one. */
ssld_status ssld_onnx_product(struct reader *reader, const onnx_node *node, const struct operand *a,
                              const struct operand *b, struct operand *result)
{
    struct operand leading[2] = { *a, *b }, operands[2] = { *a, *b };
    struct view view;
    ssld_status status = check_product(reader, node, a->view.dims[a->view.ndims - 1], b->view.dims[b->view.ndims - 2]);
    if (status)
        return status;
    bool rows = a->view.batch == a->view.ndims - 2;
    if (a->view.batch == a->view.ndims - 1 || (b->view.batch >= 0 && (rows || b->view.batch >= b->view.ndims - 2)))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it multiplies images with one another");
    for (int i = 0; i < 2; i++) {
        int32_t ndims = leading[i].view.ndims;
        leading[i].view.dims[ndims - 1] = leading[i].view.dims[ndims - 2] = 1;
    }
    if ((status = ssld_onnx_broadcast_views(reader, node, 2, leading, &view)))
        return status;
    view.dims[view.ndims - 2] = a->view.dims[a->view.ndims - 2];
    view.dims[view.ndims - 1] = b->view.dims[b->view.ndims - 1];
    return ssld_onnx_emit(reader, node, SSLD_OP_MATMUL, NULL, 2, operands, &view, result);
}

/* As numpy has it: a vector on the left is a row, one on the right a column, and that axis goes again. */
ssld_status ssld_onnx_convert_matmul(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    static const int32_t as_row[2] = { -1, 0 }, as_column[2] = { 0, -1 };
    struct operand a, b, result;
    int32_t kept[SSLD_MOST_DIMS], count = 0;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 2)) || (status = ssld_onnx_operand(reader, node, 0, &a)) ||
        (status = ssld_onnx_operand(reader, node, 1, &b)))
        return status;
    bool vector_a = a.view.ndims == 1, vector_b = b.view.ndims == 1;
    if (a.view.ndims < 1 || b.view.ndims < 1)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it multiplies a number");
    if ((vector_a && (status = ssld_onnx_rearrange(reader, node, &a, 2, as_row, &a))) ||
        (vector_b && (status = ssld_onnx_rearrange(reader, node, &b, 2, as_column, &b))))
        return status;
    if (is_features(&a) && b.constant && b.view.ndims == 2 && b.view.batch < 0 && b.constant->learned) {
        if ((status = check_product(reader, node, a.view.dims[1], b.view.dims[0])) ||
            (status = fully_connected(reader, node, &a, &b, false, false, &result)))
            return status;
    } else if ((status = ssld_onnx_product(reader, node, &a, &b, &result))) {
        return status;
    }
    for (int32_t i = 0; i < result.view.ndims; i++)
        if (!(vector_a && i == result.view.ndims - 2) && !(vector_b && i == result.view.ndims - 1))
            kept[count++] = i;
    if (count < result.view.ndims && (status = ssld_onnx_rearrange(reader, node, &result, count, kept, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

static ssld_status scale_by(struct reader *reader, const onnx_node *node, float factor, struct operand *operand)
{
    struct operand number;
    if (factor == 1)
        return SSLD_OK;
    ssld_status status = ssld_onnx_scalar(reader, factor, &number);
    return status ? status : ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, operand, &number, operand);
}

/* alpha * a' * b' + beta * c */
ssld_status ssld_onnx_convert_gemm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    static const int32_t swap[2] = { 1, 0 };
    struct operand a, b, c, result;
    int64_t transpose_a = 0, transpose_b = 0;
    float alpha = 1, beta = 1;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 3)) || (status = ssld_onnx_operand(reader, node, 0, &a)) ||
        (status = ssld_onnx_operand(reader, node, 1, &b)) ||
        (status = ssld_onnx_attribute_int(reader, node, "transA", &transpose_a)) ||
        (status = ssld_onnx_attribute_int(reader, node, "transB", &transpose_b)) ||
        (status = ssld_onnx_attribute_float(reader, node, "alpha", &alpha)) ||
        (status = ssld_onnx_attribute_float(reader, node, "beta", &beta)))
        return status;
    if (a.view.ndims != 2 || b.view.ndims != 2)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its inputs have %d and %d dimensions, not 2", a.view.ndims,
                                b.view.ndims);
    bool added = ssld_onnx_input_name(node, 2) != NULL;
    if (added && (status = ssld_onnx_operand(reader, node, 2, &c)))
        return status;
    int64_t outputs = b.view.dims[transpose_b ? 0 : 1];
    bool vector = added && c.constant && c.view.ndims >= 1 && c.constant->elements == outputs &&
                  c.view.dims[c.view.ndims - 1] == outputs;
    if (is_features(&a) && !transpose_a && b.constant && alpha == 1 && beta == 1 && (!added || vector)) {
        if ((status = check_product(reader, node, a.view.dims[1], b.view.dims[transpose_b ? 1 : 0])) ||
            (status = fully_connected(reader, node, &a, &b, transpose_b != 0, added, &result)))
            return status;
        return ssld_onnx_give(reader, node, 0, &result);
    }
    if ((transpose_a && (status = ssld_onnx_transpose(reader, node, &a, swap, &a))) ||
        (transpose_b && (status = ssld_onnx_transpose(reader, node, &b, swap, &b))) ||
        (status = ssld_onnx_product(reader, node, &a, &b, &result)) || (status = scale_by(reader, node, alpha, &result)) ||
        (added && (status = scale_by(reader, node, beta, &c))) ||
        (added && (status = ssld_onnx_binary(reader, node, SSLD_BINARY_ADD, &result, &c, &result))))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Softmax ------------------------------------------------------------------------------------------------------ */

/* Up to opset 12 all axes from `axis` on are one. */
ssld_status ssld_onnx_convert_softmax(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    struct operand src, flat, result;
    int64_t axis = reader->opset < 13 ? 1 : -1;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) ||
        (status = ssld_onnx_activation(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)) ||
        (status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axis)))
        return status;
    bool merges = reader->opset < 13 && axis != src.view.ndims - 1;
    struct whole dims[SSLD_MOST_DIMS];
    int64_t merged = 1;
    for (int32_t i = 0; i < src.view.ndims; i++) {
        bool last = merges && i >= axis;
        if (i >= axis && (i == axis || last) && (status = ssld_onnx_need_own_axis(reader, node, &src.view, i)))
            return status;
        merged *= last ? src.view.dims[i] : 1;
        dims[i] = (struct whole){ 0, src.view.dims[i] };
        if (i == src.view.batch)
            dims[i] = (struct whole){ src.view.dims[i], 0 };
    }
    flat = src;
    struct whole back[SSLD_MOST_DIMS];
    memcpy(back, dims, sizeof back);
    dims[axis] = (struct whole){ 0, merged };
    if (merges && (status = ssld_onnx_reshape(reader, node, &src, (int32_t)axis + 1, dims, &flat)))
        return status;
    attributes->axis = (int32_t)axis;
    if ((status = ssld_onnx_emit(reader, node, row->kind, attributes, 1, &flat, &flat.view, &result)) ||
        (merges && (status = ssld_onnx_reshape(reader, node, &result, src.view.ndims, back, &result))))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Reductions --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int32_t     function;
} reductions[] = {
    { "ReduceL1", SSLD_REDUCE_L1 }, { "ReduceL2", SSLD_REDUCE_L2 }, { "ReduceLogSum", SSLD_REDUCE_LOG_SUM },
    { "ReduceLogSumExp", SSLD_REDUCE_LOG_SUM_EXP }, { "ReduceMax", SSLD_REDUCE_MAX }, { "ReduceMean", SSLD_REDUCE_MEAN },
    { "ReduceMin", SSLD_REDUCE_MIN }, { "ReduceProd", SSLD_REDUCE_PROD }, { "ReduceSum", SSLD_REDUCE_SUM },
    { "ReduceSumSquare", SSLD_REDUCE_SUM_SQUARE },
};

/* Axes are an attribute up to opset 17 (ReduceSum: 12), an input later; without any, all. */
ssld_status ssld_onnx_convert_reduce(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    struct operand src, result;
    int32_t count, kept = 0, f = 0;
    int64_t axes[SSLD_MOST_DIMS], keep = 1, none_means_none = 0;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 2)) || (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_integers(reader, node, "axes", 1, SSLD_MOST_DIMS, axes, &count)) ||
        (status = ssld_onnx_attribute_int(reader, node, "keepdims", &keep)) ||
        (status = ssld_onnx_attribute_int(reader, node, "noop_with_empty_axes", &none_means_none)))
        return status;
    if (count <= 0 && none_means_none)
        return ssld_onnx_give(reader, node, 0, &src);
    while (strcmp(reductions[f].name, row->name))
        f++;
    attributes->function = reductions[f].function;
    attributes->keepdims = keep != 0;
    for (int32_t i = 0; i < src.view.ndims && count <= 0; i++)
        attributes->axes[i] = 1;
    for (int32_t i = 0; i < count; i++) {
        if ((status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axes[i])))
            return status;
        attributes->axes[axes[i]] = 1;
    }
    struct view view = { .dims = { 1, 1, 1, 1, 1, 1 }, .batch = -1, .outer = src.view.outer };
    for (int32_t i = 0; i < src.view.ndims; i++) {
        if (attributes->axes[i] && (status = ssld_onnx_need_own_axis(reader, node, &src.view, i)))
            return status;
        if (attributes->axes[i] && !keep)
            continue;
        if (i == src.view.batch)
            view.batch = kept;
        view.dims[kept++] = attributes->axes[i] ? 1 : src.view.dims[i];
    }
    view.ndims = kept;
    if ((status = ssld_onnx_emit(reader, node, SSLD_OP_REDUCE, attributes, 1, &src, &view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Norms -------------------------------------------------------------------------------------------------------- */

/* LAYER_NORM over one axis; several last ones are made one before and apart again after it. */
ssld_status ssld_onnx_convert_layer_norm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                         struct ssld_attributes *attributes)
{
    struct operand src, flat, result, scale, shift;
    int64_t axis = -1, count = 1;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 3)) ||
        (status = ssld_onnx_activation(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)) ||
        (status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axis)) ||
        (status = ssld_onnx_constant(reader, node, 1, &scale)) ||
        (status = ssld_onnx_constant(reader, node, 2, &shift)))
        return status;
    struct whole dims[SSLD_MOST_DIMS], back[SSLD_MOST_DIMS];
    for (int32_t i = 0; i < src.view.ndims; i++) {
        if (i >= axis && (status = ssld_onnx_need_own_axis(reader, node, &src.view, i)))
            return status;
        count *= i >= axis ? src.view.dims[i] : 1;
        back[i] = i == src.view.batch ? (struct whole){ src.view.dims[i], 0 } : (struct whole){ 0, src.view.dims[i] };
    }
    memcpy(dims, back, sizeof dims);
    dims[axis] = (struct whole){ 0, count };
    if (scale.constant->elements != count || (shift.constant && shift.constant->elements != count))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its scale and shift are not of %lld elements",
                                (long long)count);
    if ((status = ssld_onnx_reshape(reader, node, &src, (int32_t)axis + 1, dims, &flat)))
        return status;
    int32_t values[3] = { flat.value, SSLD_NO_VALUE, SSLD_NO_VALUE };
    if ((status = ssld_onnx_add_constant(reader, node, scale.constant, SSLD_VALUE_PARAMETER, 1, &count, false,
                                         &values[1])) ||
        (shift.constant && (status = ssld_onnx_add_constant(reader, node, shift.constant, SSLD_VALUE_PARAMETER, 1,
                                                            &count, false, &values[2]))))
        return status;
    for (int i = 1; i < (shift.constant ? 3 : 2); i++)
        reader->graph->values[values[i]].no_decay = true;
    attributes->axis = (int32_t)axis;
    if ((status = ssld_onnx_add_node(reader, node, row->kind, attributes, shift.constant ? 3 : 2, values, &flat.view,
                                     &result)) ||
        (status = ssld_onnx_reshape(reader, node, &result, src.view.ndims, back, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* A constant of one number a group as one of one a channel, or as it is. */
static ssld_status add_per_channel(struct reader *reader, const onnx_node *node, size_t index, int64_t channels,
                                   int64_t groups, int32_t *value)
{
    struct operand operand;
    const float *floats;
    ssld_status status = ssld_onnx_constant(reader, node, index, &operand);
    if (status)
        return status;
    int64_t given = operand.constant->elements;
    if (operand.view.ndims != 1 || (given != channels && given != groups))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' is not a vector of %lld elements",
                                node->input[index], (long long)channels);
    if (given == channels) {
        status =
            ssld_onnx_add_constant(reader, node, operand.constant, SSLD_VALUE_PARAMETER, 1, &channels, false, value);
    } else {
        char made_up[256];
        const char *name = ssld_onnx_new_name(reader, node->input[index], made_up, sizeof made_up);
        if ((status = ssld_onnx_constant_floats(reader, node, operand.constant, &floats)) ||
            (status = ssld_onnx_spend(reader, (uint64_t)channels * sizeof(float))) ||
            (status = ssld_graph_add_value(reader->graph, name, SSLD_VALUE_PARAMETER, 1, &channels, NULL, value)))
            return status;
        for (int64_t c = 0; c < channels; c++)
            reader->graph->values[*value].data[c] = floats[c / (channels / groups)];
    }
    if (!status)
        reader->graph->values[*value].no_decay = true;
    return status;
}

static ssld_status group_norm(struct reader *reader, const onnx_node *node, bool instance,
                              struct ssld_attributes *attributes)
{
    struct operand src, result;
    int64_t groups = 0;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 3, 3)) ||
        (status = ssld_onnx_activation(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "num_groups", &groups)))
        return status;
    int64_t channels = src.view.ndims > 1 ? src.view.dims[1] : 0;
    groups = instance ? channels : groups;
    if (src.view.batch || src.view.dims[0] != 1 || groups < 1 || groups > channels || channels % groups)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "its %lld channels do not make %lld groups of (N, C, ...)", (long long)channels,
                                (long long)groups);
    int32_t values[3] = { src.value, SSLD_NO_VALUE, SSLD_NO_VALUE };
    for (size_t i = 1; i < 3; i++)
        if ((status = add_per_channel(reader, node, i, channels, groups, &values[i])))
            return status;
    attributes->group = (int32_t)groups;
    if ((status = ssld_onnx_add_node(reader, node, SSLD_OP_GROUP_NORM, attributes, 3, values, &src.view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

ssld_status ssld_onnx_convert_group_norm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                         struct ssld_attributes *attributes)
{
    (void)row;
    return group_norm(reader, node, false, attributes);
}

ssld_status ssld_onnx_convert_instance_norm(struct reader *reader, const struct onnx_operator *row,
                                            const onnx_node *node, struct ssld_attributes *attributes)
{
    (void)row;
    return group_norm(reader, node, true, attributes);
}
