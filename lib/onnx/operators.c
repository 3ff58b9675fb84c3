/* SPDX-License-Identifier: BSD-2-Clause */
/* operators.c - the table of ONNX's operators, and the converters of what needs little.
 *
 * Elementwise operators, windows, products and norms, moves, Resize and shapes have files of their own. */
#include "onnx/convert.h"

#include <string.h>

/* -- Normalisation and activations -------------------------------------------------------------------------------- */

/* Of features (N, C) too: they are images of one pixel. */
static ssld_status convert_batch_norm(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    struct operand src, image, result;
    int32_t values[5] = { 0 };
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 5, 5)) || (status = ssld_onnx_activation(reader, node, 0, &src)))
        return status;
    if (src.view.ndims < 2 || src.view.batch || src.view.dims[0] != 1)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, ...)");
    int64_t channels = src.view.dims[1], area = ssld_view_elements(&src.view) / channels;
    struct whole four[4] = { { 1, 0 }, { 0, channels }, { 0, area }, { 0, 1 } }, back[SSLD_MOST_DIMS];
    image = src;
    for (int32_t i = 0; i < src.view.ndims; i++)
        back[i] = i ? (struct whole){ 0, src.view.dims[i] } : (struct whole){ 1, 0 };
    if (src.view.ndims != 4 && (status = ssld_onnx_reshape(reader, node, &src, 4, four, &image)))
        return status;
    values[0] = image.value;
    for (size_t i = 1; i < 5; i++) {
        int32_t role = i < 3 ? SSLD_VALUE_PARAMETER : SSLD_VALUE_BUFFER;
        if ((status = ssld_onnx_vector(reader, node, i, role, channels, &values[i])))
            return status;
        reader->graph->values[values[i]].no_decay = i < 3;
    }
    if ((status = ssld_onnx_add_node(reader, node, row->kind, attributes, 5, values, &image.view, &result)) ||
        (status = ssld_onnx_reshape(reader, node, &result, src.view.ndims, back, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* One tensor in, one of its shape out, nothing else. */
static ssld_status convert_plain(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes)
{
    struct operand src, result;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_emit(reader, node, row->kind, attributes, 1, &src, &src.view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* Over the channels, which the batch's axis stands before. */
static ssld_status convert_lrn(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                               struct ssld_attributes *attributes)
{
    struct operand src;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_activation(reader, node, 0, &src)))
        return status;
    if (src.view.ndims < 2 || src.view.batch)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, ...)");
    return convert_plain(reader, row, node, attributes);
}

/* x * sigmoid(alpha * x) */
static ssld_status convert_swish(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes)
{
    const struct ssld_attributes sigmoid = ssld_op_defaults(SSLD_OP_SIGMOID);
    struct operand src, factor, result;
    float alpha = 1;
    ssld_status status = ssld_onnx_attribute_float(reader, node, "alpha", &alpha);
    if (!status && alpha == 1)
        return convert_plain(reader, row, node, attributes);
    if (status || (status = ssld_onnx_need_inputs(reader, node, 1, 1)) ||
        (status = ssld_onnx_operand(reader, node, 0, &src)) || (status = ssld_onnx_scalar(reader, alpha, &factor)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, &src, &factor, &result)) ||
        (status = ssld_onnx_emit(reader, node, SSLD_OP_SIGMOID, &sigmoid, 1, &result, &src.view, &result)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, &src, &result, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

static ssld_status convert_gelu(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                struct ssld_attributes *attributes)
{
    static const char *const forms[] = { "none", "tanh", NULL };
    struct onnx_operator own = *row;
    int32_t form = 0;
    ssld_status status = ssld_onnx_attribute_word(reader, node, "approximate", forms, &form);
    own.kind = form ? SSLD_OP_GELU_TANH : SSLD_OP_GELU;
    return status ? status : convert_plain(reader, &own, node, attributes);
}

/* The ratio is an attribute up to opset 11, an input later; the input that says whether to train is the host's business. */
static ssld_status convert_dropout(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    struct operand src, result;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 3)) ||
        (status = ssld_onnx_activation(reader, node, 0, &src)) ||
        (status = ssld_onnx_number(reader, node, 1, &attributes->ratio)) ||
        (status = ssld_onnx_emit(reader, node, row->kind, attributes, 1, &src, &src.view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* Its output is another name for its input. PyTorch writes constants of equal value this way. */
static ssld_status convert_identity(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand src;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_operand(reader, node, 0, &src)))
        return status;
    return ssld_onnx_give(reader, node, 0, &src);
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

static const struct onnx_operator operators[] = {
    { "Abs", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Add", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "And", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "Attention", SSLD_OP_KINDS, ssld_onnx_convert_attention, 23,
      "nothing kept from before; also spelled with MatMul and Softmax" },
    { "AveragePool", SSLD_OP_AVERAGE_POOL, ssld_onnx_convert_pool, 7, "one to three dimensions" },
    { "BatchNormalization", SSLD_OP_BATCH_NORM, convert_batch_norm, 7, "constant inputs; running statistics" },
    { "Cast", SSLD_OP_KINDS, ssld_onnx_convert_cast, 6, "" },
    { "CastLike", SSLD_OP_KINDS, ssld_onnx_convert_cast, 15, "" },
    { "Ceil", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Celu", SSLD_OP_KINDS, ssld_onnx_convert_unary, 12, "" },
    { "Clip", SSLD_OP_CLIP, ssld_onnx_convert_clip, 6, "constant bounds" },
    { "Concat", SSLD_OP_JOIN, ssld_onnx_convert_concat, 4, "" },
    { "Constant", SSLD_OP_KINDS, ssld_onnx_convert_constant, 1, "" },
    { "ConstantOfShape", SSLD_OP_KINDS, ssld_onnx_convert_constant_of_shape, 9, "of a shape known at load" },
    { "Conv", SSLD_OP_CONV, ssld_onnx_convert_conv, 1, "one or two dimensions, constant weights and bias" },
    { "Cos", SSLD_OP_KINDS, ssld_onnx_convert_unary, 7, "" },
    { "DepthToSpace", SSLD_OP_KINDS, ssld_onnx_convert_depth_to_space, 1, "" },
    { "Div", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "Dropout", SSLD_OP_DROPOUT, convert_dropout, 7, "constant ratio; the mask is not made" },
    { "Elu", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Equal", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "Erf", SSLD_OP_KINDS, ssld_onnx_convert_unary, 9, "" },
    { "Exp", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Expand", SSLD_OP_KINDS, ssld_onnx_convert_expand, 8, "to a shape known at load" },
    { "Flatten", SSLD_OP_KINDS, ssld_onnx_convert_flatten, 1, "" },
    { "Floor", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Gather", SSLD_OP_GATHER, ssld_onnx_convert_gather, 1, "indices known at load" },
    { "Gelu", SSLD_OP_KINDS, convert_gelu, 20, "also spelled with Erf or Tanh" },
    { "Gemm", SSLD_OP_GEMM, ssld_onnx_convert_gemm, 7, "" },
    { "GlobalAveragePool", SSLD_OP_KINDS, ssld_onnx_convert_global_pool, 1, "" },
    { "GlobalLpPool", SSLD_OP_KINDS, ssld_onnx_convert_global_pool, 2, "" },
    { "GlobalMaxPool", SSLD_OP_KINDS, ssld_onnx_convert_global_pool, 1, "" },
    { "Greater", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "GreaterOrEqual", SSLD_OP_KINDS, ssld_onnx_convert_binary, 12, "" },
    { "GroupNormalization", SSLD_OP_GROUP_NORM, ssld_onnx_convert_group_norm, 18, "constant scale and bias" },
    { "HardSigmoid", SSLD_OP_HARD_SIGMOID, convert_plain, 6, "also spelled with Add, Clip and Mul or Div" },
    { "HardSwish", SSLD_OP_HARD_SWISH, convert_plain, 14, "also spelled as x times a HardSigmoid" },
    { "Identity", SSLD_OP_KINDS, convert_identity, 1, "" },
    { "InstanceNormalization", SSLD_OP_GROUP_NORM, ssld_onnx_convert_instance_norm, 6, "constant scale and bias" },
    { "LRN", SSLD_OP_LRN, convert_lrn, 1, "" },
    { "LayerNormalization", SSLD_OP_LAYER_NORM, ssld_onnx_convert_layer_norm, 17,
      "constant scale and bias; also spelled with ReduceMean; its mean and deviation are not made" },
    { "LeakyRelu", SSLD_OP_LEAKY_RELU, convert_plain, 6, "" },
    { "Less", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "LessOrEqual", SSLD_OP_KINDS, ssld_onnx_convert_binary, 12, "" },
    { "Log", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "LogSoftmax", SSLD_OP_LOG_SOFTMAX, ssld_onnx_convert_softmax, 1, "as the last node it is left off" },
    { "LpPool", SSLD_OP_KINDS, ssld_onnx_convert_lp_pool, 2, "one to three dimensions" },
    { "MatMul", SSLD_OP_KINDS, ssld_onnx_convert_matmul, 1, "" },
    { "Max", SSLD_OP_KINDS, ssld_onnx_convert_variadic, 8, "" },
    { "MaxPool", SSLD_OP_MAX_POOL, ssld_onnx_convert_pool, 1, "one to three dimensions, without Indices" },
    { "Min", SSLD_OP_KINDS, ssld_onnx_convert_variadic, 8, "" },
    { "Mish", SSLD_OP_KINDS, ssld_onnx_convert_unary, 18, "also spelled as x * Tanh(Softplus(x))" },
    { "Mod", SSLD_OP_KINDS, ssld_onnx_convert_binary, 10, "" },
    { "Mul", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "Neg", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Not", SSLD_OP_KINDS, ssld_onnx_convert_unary, 1, "" },
    { "Or", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "PRelu", SSLD_OP_PRELU, ssld_onnx_convert_prelu, 7, "" },
    { "Pad", SSLD_OP_PAD, ssld_onnx_convert_pad, 2, "pads known at load" },
    { "Pow", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "Range", SSLD_OP_KINDS, ssld_onnx_convert_range, 11, "of constants" },
    { "Reciprocal", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "ReduceL1", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceL2", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceLogSum", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceLogSumExp", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceMax", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceMean", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceMin", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceProd", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceSum", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "ReduceSumSquare", SSLD_OP_REDUCE, ssld_onnx_convert_reduce, 1, "" },
    { "Relu", SSLD_OP_RELU, convert_plain, 6, "" },
    { "Reshape", SSLD_OP_KINDS, ssld_onnx_convert_reshape, 5, "to a shape known at load that keeps images apart" },
    { "Resize", SSLD_OP_RESIZE, ssld_onnx_convert_resize, 10, "of four axes, not of the batch" },
    { "Round", SSLD_OP_KINDS, ssld_onnx_convert_unary, 11, "" },
    { "ScatterND", SSLD_OP_KINDS, ssld_onnx_convert_scatter_nd, 11, "of constants, as masks of windows are made" },
    { "Selu", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Shape", SSLD_OP_KINDS, ssld_onnx_convert_shape, 1, "" },
    { "Sigmoid", SSLD_OP_SIGMOID, convert_plain, 6, "x * Sigmoid(x) is Swish" },
    { "Sign", SSLD_OP_KINDS, ssld_onnx_convert_unary, 9, "" },
    { "Sin", SSLD_OP_KINDS, ssld_onnx_convert_unary, 7, "" },
    { "Size", SSLD_OP_KINDS, ssld_onnx_convert_size, 1, "" },
    { "Slice", SSLD_OP_STRIDED_SLICE, ssld_onnx_convert_slice, 1, "places known at load" },
    { "Softmax", SSLD_OP_SOFTMAX, ssld_onnx_convert_softmax, 1, "as the last node it is left off" },
    { "Softplus", SSLD_OP_KINDS, ssld_onnx_convert_unary, 1, "" },
    { "Softsign", SSLD_OP_KINDS, ssld_onnx_convert_unary, 1, "" },
    { "SpaceToDepth", SSLD_OP_KINDS, ssld_onnx_convert_space_to_depth, 1, "" },
    { "Split", SSLD_OP_KINDS, ssld_onnx_convert_split, 2, "sizes known at load" },
    { "Sqrt", SSLD_OP_KINDS, ssld_onnx_convert_unary, 6, "" },
    { "Squeeze", SSLD_OP_KINDS, ssld_onnx_convert_squeeze, 1, "" },
    { "Sub", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
    { "Sum", SSLD_OP_KINDS, ssld_onnx_convert_variadic, 8, "" },
    { "Swish", SSLD_OP_SILU, convert_swish, 24, "also spelled x * Sigmoid(x)" },
    { "Tanh", SSLD_OP_TANH, convert_plain, 6, "" },
    { "ThresholdedRelu", SSLD_OP_KINDS, ssld_onnx_convert_thresholded_relu, 10, "" },
    { "Tile", SSLD_OP_TILE, ssld_onnx_convert_tile, 6, "repeats known at load" },
    { "Transpose", SSLD_OP_KINDS, ssld_onnx_convert_transpose, 1, "" },
    { "Unsqueeze", SSLD_OP_KINDS, ssld_onnx_convert_unsqueeze, 1, "" },
    { "Upsample", SSLD_OP_RESIZE, ssld_onnx_convert_upsample, 7, "height and width of images" },
    { "Where", SSLD_OP_WHERE, ssld_onnx_convert_where, 9, "" },
    { "Xor", SSLD_OP_KINDS, ssld_onnx_convert_binary, 7, "" },
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
