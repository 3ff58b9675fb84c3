/* SPDX-License-Identifier: BSD-2-Clause */
/* Files as exporters write them: shapes computed with the batch, channels last, operators by parts, attributes that became inputs,
 * weights of other widths and in other files; and what mixes images, leaves the folder or outgrows its limit. */
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "onnx_files.h"

/* -- Pieces of files ---------------------------------------------------------------------------------------------- */

static void put_ints(struct bytes *graph, const char *operator_name, const char *inputs, const char *output,
                     const char *attribute, int count, const int64_t *values)
{
    struct bytes attributes = { NULL, 0 };
    if (count)
        put_attribute_ints(&attributes, attribute, count, values);
    put_node(graph, operator_name, "", inputs, output, count ? &attributes : NULL);
}

static void put_axis(struct bytes *graph, const char *operator_name, const char *inputs, const char *output,
                     int64_t axis)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_int(&attributes, "axis", axis);
    put_node(graph, operator_name, "", inputs, output, &attributes);
}

static void put_plain(struct bytes *graph, const char *operator_name, const char *inputs, const char *output)
{
    put_node(graph, operator_name, "", inputs, output, NULL);
}

static void put_whole(struct bytes *graph, const char *name, int64_t value)
{
    struct bytes tensor = make_tensor(name, 7, 0, NULL, &value, sizeof value);
    put_message(graph, 5, &tensor);
}

/* The size of axis `axis` of `src` as a number called `dst`. */
static void put_size_of(struct bytes *graph, const char *src, int64_t axis, const char *dst)
{
    char shape[32], index[32], inputs[72];
    snprintf(shape, sizeof shape, "%s.shape", dst);
    snprintf(index, sizeof index, "%s.axis", dst);
    snprintf(inputs, sizeof inputs, "%s,%s", shape, index);
    put_plain(graph, "Shape", src, shape);
    put_whole(graph, index, axis);
    put_plain(graph, "Gather", inputs, dst);
}

static void put_vector_of(struct bytes *graph, const char *number, const char *vector)
{
    put_ints(graph, "Unsqueeze", number, vector, "axes", 1, (int64_t[]){ 0 });
}

/* -- Shapes computed with the batch ------------------------------------------------------------------------------- */

/* x.view(N, groups, C / groups, H, W).transpose(1, 2).reshape(N, C, H, W), as PyTorch writes it */
static void spell_channel_shuffle(struct bytes *graph)
{
    put_axis(graph, "Concat", "x,x", "twice", 1);
    put_size_of(graph, "twice", 0, "n");
    put_size_of(graph, "twice", 1, "c");
    put_whole(graph, "two", 2);
    put_plain(graph, "Div", "c,two", "half");
    put_vector_of(graph, "n", "n1");
    put_vector_of(graph, "half", "half1");
    put_integers(graph, "groups", 1, (int64_t[]){ 2 });
    put_integers(graph, "area", 2, (int64_t[]){ 6, 6 });
    put_axis(graph, "Concat", "n1,groups,half1,area", "five", 0);
    put_plain(graph, "Reshape", "twice,five", "grouped");
    put_ints(graph, "Transpose", "grouped", "swapped", "perm", 5, (int64_t[]){ 0, 2, 1, 3, 4 });
    put_integers(graph, "minus", 1, (int64_t[]){ -1 });
    put_axis(graph, "Concat", "n1,minus,area", "four", 0);
    put_plain(graph, "Reshape", "swapped,four", "y");
}

/* A class token of a weight expanded to the batch: Where(shape == -1, 1, shape), as PyTorch's expand() comes out. */
static void spell_class_token(struct bytes *graph)
{
    put_size_of(graph, "x", 0, "n");
    put_vector_of(graph, "n", "n1");
    put_integers(graph, "rest", 2, (int64_t[]){ -1, -1 });
    put_axis(graph, "Concat", "n1,rest", "wanted", 0);
    put_whole(graph, "minus", -1);
    put_integers(graph, "ones", 3, (int64_t[]){ 1, 1, 1 });
    put_plain(graph, "Equal", "wanted,minus", "open");
    put_plain(graph, "Where", "open,ones,wanted", "shape");
    put_weights(graph, "token", 3, (int64_t[]){ 1, 1, 36 });
    put_plain(graph, "Expand", "token,shape", "tokens");
    put_integers(graph, "flat", 3, (int64_t[]){ 0, 0, -1 });
    put_plain(graph, "Reshape", "x,flat", "f");
    put_axis(graph, "Concat", "tokens,f", "y", 1);
}

/* The batch behind the positions and merged with them, as nn.MultiheadAttention works: it comes back to its place. */
static void spell_sequence_first(struct bytes *graph)
{
    put_integers(graph, "flat", 3, (int64_t[]){ 0, 2, 36 });
    put_plain(graph, "Reshape", "x,flat", "f");
    put_ints(graph, "Transpose", "f", "t", "perm", 3, (int64_t[]){ 1, 0, 2 });
    put_size_of(graph, "x", 0, "n");
    put_whole(graph, "three", 3);
    put_plain(graph, "Mul", "n,three", "heads");
    put_vector_of(graph, "heads", "heads1");
    put_integers(graph, "length", 1, (int64_t[]){ 2 });
    put_integers(graph, "depth", 1, (int64_t[]){ 12 });
    put_axis(graph, "Concat", "length,heads1,depth", "apart", 0);
    put_plain(graph, "Reshape", "t,apart", "h");
    put_ints(graph, "Transpose", "h", "y", "perm", 3, (int64_t[]){ 1, 0, 2 });
}

static void spell_range_gather(struct bytes *graph) /* every other row, by Range */
{
    put_size_of(graph, "x", 2, "h");
    put_whole(graph, "zero", 0);
    put_whole(graph, "two", 2);
    put_plain(graph, "Range", "zero,h,two", "rows");
    put_axis(graph, "Gather", "x,rows", "y", 2);
}

/* -- Attributes that became inputs -------------------------------------------------------------------------------- */

static void spell_pad_attributes(struct bytes *graph)
{
    put_ints(graph, "Pad", "x", "y", "pads", 8, (int64_t[]){ 0, 0, 1, 2, 0, 0, 3, 0 });
}

static void spell_pad_inputs(struct bytes *graph)
{
    put_integers(graph, "pads", 4, (int64_t[]){ 1, 2, 3, 0 });
    put_integers(graph, "axes", 2, (int64_t[]){ 2, -1 });
    put_plain(graph, "Pad", "x,pads,,axes", "y");
}

static void spell_squeeze_attributes(struct bytes *graph)
{
    put_plain(graph, "GlobalMaxPool", "x", "g");
    put_ints(graph, "Squeeze", "g", "y", "axes", 2, (int64_t[]){ 2, 3 });
}

static void spell_squeeze_inputs(struct bytes *graph)
{
    put_plain(graph, "GlobalMaxPool", "x", "g");
    put_integers(graph, "axes", 2, (int64_t[]){ -1, -2 });
    put_plain(graph, "Squeeze", "g,axes", "y");
}

static void spell_sum_attributes(struct bytes *graph)
{
    put_ints(graph, "ReduceSum", "x", "y", "axes", 1, (int64_t[]){ 1 });
}

static void spell_sum_inputs(struct bytes *graph)
{
    put_integers(graph, "axes", 1, (int64_t[]){ -3 });
    put_plain(graph, "ReduceSum", "x,axes", "y");
}

static void put_floats(struct bytes *graph, const char *name, int count, const float *values)
{
    struct bytes tensor = make_tensor(name, 1, 1, (int64_t[]){ count }, values, (size_t)count * sizeof *values);
    put_message(graph, 5, &tensor);
}

static void spell_upsample_7(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 }, inner = { NULL, 0 };
    put_text(&inner, 1, "scales");
    for (int i = 0; i < 4; i++)
        put_float(&inner, 7, i < 2 ? 1 : 2);
    put_int(&inner, 20, 6);
    put_message(&attributes, 5, &inner);
    put_node(graph, "Upsample", "", "x", "y", &attributes);
}

static void spell_upsample_9(struct bytes *graph)
{
    put_floats(graph, "scales", 4, (float[]){ 1, 1, 2, 2 });
    put_plain(graph, "Upsample", "x,scales", "y");
}

static void spell_resize_11(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_integers(graph, "sizes", 4, (int64_t[]){ 1, 2, 12, 9 });
    put_attribute_text(&attributes, "mode", "linear");
    put_node(graph, "Resize", "", "x,,,sizes", "y", &attributes);
}

static void spell_softmax_over_all(struct bytes *graph) /* up to opset 12: axes 1 to 3 are one */
{
    put_plain(graph, "Softmax", "x", "s");
    put_plain(graph, "Relu", "s", "y");
}

static void spell_softmax_over_last(struct bytes *graph)
{
    put_plain(graph, "Softmax", "x", "s");
    put_plain(graph, "Relu", "s", "y");
}

/* -- By parts ----------------------------------------------------------------------------------------------------- */

static void spell_layer_norm_by_parts(struct bytes *graph)
{
    put_number(graph, "two", 2);
    put_number(graph, "epsilon", 1e-5f);
    put_weights(graph, "scale", 1, (int64_t[]){ 6 });
    put_weights(graph, "shift", 1, (int64_t[]){ 6 });
    put_ints(graph, "ReduceMean", "x", "mean", "axes", 1, (int64_t[]){ -1 });
    put_plain(graph, "Sub", "x,mean", "d");
    put_plain(graph, "Pow", "d,two", "square");
    put_ints(graph, "ReduceMean", "square", "variance", "axes", 1, (int64_t[]){ -1 });
    put_plain(graph, "Add", "variance,epsilon", "sum");
    put_plain(graph, "Sqrt", "sum", "deviation");
    put_plain(graph, "Div", "d,deviation", "normed");
    put_plain(graph, "Mul", "normed,scale", "scaled");
    put_plain(graph, "Add", "scaled,shift", "y");
}

static void spell_layer_norm_of_tensorflow(struct bytes *graph)
{
    put_number(graph, "epsilon", 1e-3f);
    put_weights(graph, "scale", 1, (int64_t[]){ 6 });
    put_weights(graph, "shift", 1, (int64_t[]){ 6 });
    put_ints(graph, "ReduceMean", "x", "mean", "axes", 1, (int64_t[]){ 3 });
    put_plain(graph, "Sub", "x,mean", "d");
    put_plain(graph, "Mul", "d,d", "square");
    put_ints(graph, "ReduceMean", "square", "variance", "axes", 1, (int64_t[]){ 3 });
    put_plain(graph, "Add", "variance,epsilon", "sum");
    put_plain(graph, "Sqrt", "sum", "deviation");
    put_plain(graph, "Reciprocal", "deviation", "inverse");
    put_plain(graph, "Mul", "inverse,scale", "factor");
    put_plain(graph, "Mul", "x,factor", "scaled");
    put_plain(graph, "Mul", "mean,factor", "moved");
    put_plain(graph, "Sub", "shift,moved", "rest");
    put_plain(graph, "Add", "scaled,rest", "y");
}

static void put_hard_gate(struct bytes *graph)
{
    put_number(graph, "three", 3);
    put_number(graph, "six", 6);
    put_number(graph, "zero", 0);
    put_plain(graph, "Add", "x,three", "moved");
    put_plain(graph, "Clip", "moved,zero,six", "clipped");
}

static void spell_hard_swish_product_first(struct bytes *graph)
{
    put_hard_gate(graph);
    put_plain(graph, "Mul", "x,clipped", "product");
    put_plain(graph, "Div", "product,six", "y");
}

static void spell_hard_swish_gate_first(struct bytes *graph)
{
    put_hard_gate(graph);
    put_plain(graph, "Div", "clipped,six", "gate");
    put_plain(graph, "Mul", "gate,x", "y");
}

static void spell_hard_swish_by_sixth(struct bytes *graph)
{
    put_hard_gate(graph);
    put_number(graph, "sixth", 0.166666672f);
    put_plain(graph, "Mul", "x,sixth", "part");
    put_plain(graph, "Mul", "part,clipped", "y");
}

static void spell_hard_sigmoid_by_parts(struct bytes *graph)
{
    put_hard_gate(graph);
    put_plain(graph, "Div", "clipped,six", "y");
}

static void spell_mish(struct bytes *graph)
{
    put_plain(graph, "Softplus", "x", "s");
    put_plain(graph, "Tanh", "s", "t");
    put_plain(graph, "Mul", "x,t", "y");
}

/* 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x^3))) */
static void put_tanh_gate(struct bytes *graph, const char *argument)
{
    put_number(graph, "one", 1);
    put_number(graph, "half", 0.5f);
    put_plain(graph, "Tanh", argument, "tanh");
    put_plain(graph, "Add", "tanh,one", "gate");
    put_plain(graph, "Mul", "x,half", "part");
    put_plain(graph, "Mul", "part,gate", "y");
}

static void spell_gelu_tanh_by_pow(struct bytes *graph)
{
    put_number(graph, "three", 3);
    put_number(graph, "small", 0.044715f);
    put_number(graph, "slope", 0.797884583f);
    put_plain(graph, "Pow", "x,three", "cube");
    put_plain(graph, "Mul", "small,cube", "term");
    put_plain(graph, "Add", "x,term", "sum");
    put_plain(graph, "Mul", "slope,sum", "argument");
    put_tanh_gate(graph, "argument");
}

static void spell_gelu_tanh_by_products(struct bytes *graph)
{
    put_number(graph, "small", 0.044715f);
    put_number(graph, "slope", 0.797884583f);
    put_plain(graph, "Mul", "x,small", "first");
    put_plain(graph, "Mul", "first,x", "second");
    put_number(graph, "unit", 1);
    put_plain(graph, "Add", "unit,second", "sum");
    put_plain(graph, "Mul", "x,slope", "sloped");
    put_plain(graph, "Mul", "sloped,sum", "argument");
    put_tanh_gate(graph, "argument");
}

static void spell_softmax_by_parts(struct bytes *graph)
{
    put_ints(graph, "ReduceMax", "x", "largest", "axes", 1, (int64_t[]){ 3 });
    put_plain(graph, "Sub", "x,largest", "moved");
    put_plain(graph, "Exp", "moved", "e");
    put_integers(graph, "axes", 1, (int64_t[]){ 3 });
    put_plain(graph, "ReduceSum", "e,axes", "sum");
    put_plain(graph, "Div", "e,sum", "s");
    put_plain(graph, "Relu", "s", "y");
}

/* More inputs than a node has room for, as DenseNet169 and its larger kin have. */
static void spell_long_concat(struct bytes *graph)
{
    char inputs[40 * 2 + 1] = "";
    for (int i = 0; i < 40; i++)
        snprintf(inputs + strlen(inputs), sizeof inputs - strlen(inputs), "%sx", i ? "," : "");
    put_axis(graph, "Concat", inputs, "y", 1);
}

/* A view of a tensor as PyTorch's newer exporter writes it: all elements in a row, taken by 2 * n + c. */
static void put_strided_view(struct bytes *graph, int64_t stride)
{
    put_ints(graph, "ReduceMean", "x", "mean", "axes", 2, (int64_t[]){ 2, 3 });
    put_integers(graph, "row", 1, (int64_t[]){ -1 });
    put_plain(graph, "Reshape", "mean,row", "flat");
    put_size_of(graph, "x", 0, "n");
    put_whole(graph, "zero", 0);
    put_whole(graph, "one", 1);
    put_whole(graph, "stride", stride);
    put_plain(graph, "Range", "zero,n,one", "images");
    put_plain(graph, "Mul", "images,stride", "starts");
    put_ints(graph, "Unsqueeze", "starts", "column", "axes", 1, (int64_t[]){ 1 });
    put_integers(graph, "channels", 2, (int64_t[]){ 0, 1 });
    put_plain(graph, "Add", "column,channels", "places");
    put_plain(graph, "Gather", "flat,places", "y");
}

static void spell_strided_view(struct bytes *graph)
{
    put_strided_view(graph, 2);
}

/* (positions, N, heads * depth) in one row of all, where the batch stays with the positions. */
static void spell_positions_first(struct bytes *graph)
{
    put_integers(graph, "four", 4, (int64_t[]){ 0, 2, 12, 3 });
    put_plain(graph, "Reshape", "x,four", "apart");
    put_ints(graph, "Transpose", "apart", "first", "perm", 4, (int64_t[]){ 2, 0, 1, 3 });
    put_integers(graph, "rows", 2, (int64_t[]){ -1, 6 });
    put_plain(graph, "Reshape", "first,rows", "flat");
    put_weights(graph, "w", 2, (int64_t[]){ 6, 6 });
    put_weights(graph, "b", 1, (int64_t[]){ 6 });
    put_plain(graph, "Gemm", "flat,w,b", "g");
    put_integers(graph, "three", 3, (int64_t[]){ 12, -1, 6 });
    put_plain(graph, "Reshape", "g,three", "back");
    put_ints(graph, "Transpose", "back", "y", "perm", 3, (int64_t[]){ 1, 0, 2 });
}

static void spell_attention(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_integers(graph, "flat", 3, (int64_t[]){ 0, 12, 6 });
    put_plain(graph, "Reshape", "x,flat", "f");
    put_attribute_int(&attributes, "q_num_heads", 2);
    put_attribute_int(&attributes, "kv_num_heads", 2);
    put_node(graph, "Attention", "", "f,f,f", "y", &attributes);
}

/* Lines of pixels are images of one row. */
static void spell_conv_of_lines(struct bytes *graph)
{
    put_ints(graph, "ReduceMean", "x", "lines", "axes", 1, (int64_t[]){ 2 });
    put_integers(graph, "three", 3, (int64_t[]){ 0, 2, 6 });
    put_plain(graph, "Reshape", "lines,three", "l");
    put_weights(graph, "w", 3, (int64_t[]){ 4, 2, 3 });
    put_plain(graph, "Conv", "l,w", "c");
    put_ints(graph, "MaxPool", "c", "y", "kernel_shape", 1, (int64_t[]){ 2 });
}

/* What the graph's RESIZE has not: a product for each axis. */
static void spell_resize_cubic(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_text(&attributes, "mode", "cubic");
    put_integers(graph, "sizes", 4, (int64_t[]){ 1, 2, 9, 12 });
    put_node(graph, "Resize", "", "x,,,sizes", "y", &attributes);
}

static void spell_swish_of_slope(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_float(&attributes, "alpha", 1.702f);
    put_node(graph, "Swish", "", "x", "y", &attributes);
}

/* -- Channels last ------------------------------------------------------------------------------------------------ */

static void put_transposed(struct bytes *graph, const char *src, const char *dst, bool last)
{
    put_ints(graph, "Transpose", src, dst, "perm", 4, last ? (int64_t[]){ 0, 2, 3, 1 } : (int64_t[]){ 0, 3, 1, 2 });
}

/* Transposes around every convolution, as tf2onnx would write without its optimizer. */
static void spell_channels_last(struct bytes *graph)
{
    put_weights(graph, "w", 4, (int64_t[]){ 4, 2, 3, 3 });
    put_weights(graph, "b", 1, (int64_t[]){ 4 });
    put_weights(graph, "dense", 2, (int64_t[]){ 4, 5 });
    put_plain(graph, "Conv", "x,w", "c");
    put_transposed(graph, "c", "last", true);
    put_plain(graph, "Add", "last,b", "biased");
    put_plain(graph, "Relu", "biased", "r");
    put_ints(graph, "Pad", "r", "p", "pads", 8, (int64_t[]){ 0, 1, 1, 0, 0, 1, 1, 0 });
    put_plain(graph, "MatMul", "p,dense", "m");
    put_ints(graph, "ReduceMean", "m", "y", "axes", 2, (int64_t[]){ 1, 2 });
}

TEST(every_spelling_is_read_as_what_it_means)
{
    static const struct {
        void      (*spell)(struct bytes *graph);
        int64_t     opset;
        const char *kinds;
        int32_t     ndims;
        int64_t     dims[6]; /* of the output */
    } cases[] = {
        { spell_channel_shuffle, 11, "Concat Reshape Transpose Reshape", 4, { 1, 4, 6, 6 } },
        { spell_class_token, 11, "Reshape Join", 3, { 1, 3, 36 } },
        { spell_sequence_first, 11, "Reshape Transpose", 3, { 3, 2, 12 } },
        { spell_range_gather, 13, "Gather", 4, { 1, 2, 3, 6 } },
        { spell_pad_attributes, 10, "Pad", 4, { 1, 2, 10, 8 } },
        { spell_pad_inputs, 18, "Pad", 4, { 1, 2, 10, 8 } },
        { spell_squeeze_attributes, 11, "Reduce Flatten", 2, { 1, 2 } },
        { spell_squeeze_inputs, 13, "Reduce Flatten", 2, { 1, 2 } },
        { spell_sum_attributes, 11, "Reduce", 4, { 1, 1, 6, 6 } },
        { spell_sum_inputs, 13, "Reduce", 4, { 1, 1, 6, 6 } },
        { spell_upsample_7, 7, "Resize", 4, { 1, 2, 12, 12 } },
        { spell_upsample_9, 9, "Resize", 4, { 1, 2, 12, 12 } },
        { spell_resize_11, 11, "Resize", 4, { 1, 2, 12, 9 } },
        { spell_softmax_over_all, 12, "Flatten Softmax Reshape Relu", 4, { 1, 2, 6, 6 } },
        { spell_softmax_over_last, 13, "Softmax Relu", 4, { 1, 2, 6, 6 } },
        { spell_layer_norm_by_parts, 13, "LayerNormalization", 4, { 1, 2, 6, 6 } },
        { spell_layer_norm_of_tensorflow, 13, "LayerNormalization", 4, { 1, 2, 6, 6 } },
        { spell_hard_swish_product_first, 13, "HardSwish", 4, { 1, 2, 6, 6 } },
        { spell_hard_swish_gate_first, 13, "HardSwish", 4, { 1, 2, 6, 6 } },
        { spell_hard_swish_by_sixth, 13, "HardSwish", 4, { 1, 2, 6, 6 } },
        { spell_hard_sigmoid_by_parts, 13, "HardSigmoid", 4, { 1, 2, 6, 6 } },
        { spell_mish, 13, "Unary", 4, { 1, 2, 6, 6 } },
        { spell_gelu_tanh_by_pow, 13, "GeluTanh", 4, { 1, 2, 6, 6 } },
        { spell_gelu_tanh_by_products, 13, "GeluTanh", 4, { 1, 2, 6, 6 } },
        { spell_long_concat, 13, "Concat Concat", 4, { 1, 80, 6, 6 } },
        { spell_strided_view, 11, "GlobalAveragePool Flatten", 2, { 1, 2 } },
        { spell_positions_first, 13, "Reshape Transpose Reshape MatMul Reshape", 3, { 1, 12, 6 } },
        { spell_attention,
          23,
          "Reshape Reshape Reshape Transpose Transpose MatMul Scale Softmax Transpose MatMul Transpose Reshape",
          3,
          { 1, 12, 6 } },
        { spell_conv_of_lines, 13, "Reduce Conv MaxPool Reshape", 3, { 1, 4, 3 } },
        { spell_resize_cubic, 13, "MatMul MatMul", 4, { 1, 2, 9, 12 } },
        { spell_swish_of_slope, 24, "Scale Sigmoid Mul", 4, { 1, 2, 6, 6 } },
        { spell_softmax_by_parts, 13, "Softmax Relu", 4, { 1, 2, 6, 6 } },
        { spell_channels_last, 10, "Conv Relu Pad Conv GlobalAveragePool Reshape", 4, { 1, 1, 1, 5 } },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = start();
        struct ssld_graph *graph = NULL;
        cases[i].spell(&bytes);
        CHECK_OK(context, read_model(context, &bytes, cases[i].opset, &graph));
        const struct ssld_value *output = &graph->values[graph->output];
        CHECK(!strcmp(kinds_of(graph), cases[i].kinds), "case %zu: %s, not %s", i, kinds_of(graph), cases[i].kinds);
        CHECK(output->ndims == cases[i].ndims, "case %zu: %d dimensions", i, output->ndims);
        for (int32_t d = 0; d < output->ndims; d++)
            CHECK(output->dims[d] == cases[i].dims[d], "case %zu: dimension %d is %lld", i, d,
                  (long long)output->dims[d]);
        CHECK_OK(context, ssld_graph_check(graph));
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* The image of a TensorFlow file is (N, H, W, C); pixels are planes all the same. */
TEST(image_with_channels_last_is_run_in_planes)
{
    ssld_context *context = make_context();
    struct bytes bytes = { NULL, 0 };
    struct ssld_graph *graph = NULL;
    put_graph_input(&bytes, "x", 4, (int64_t[]){ 0, 0, 0, 3 });
    put_weights(&bytes, "w", 4, (int64_t[]){ 4, 3, 1, 1 });
    put_number(&bytes, "scale", 0.5f);
    put_plain(&bytes, "Mul", "x,scale", "scaled");
    put_transposed(&bytes, "scaled", "planes", false);
    put_plain(&bytes, "Conv", "planes,w", "y");
    put_graph_output(&bytes, "y");
    struct bytes model = finish_model(&bytes, 13);
    CHECK_OK(context, ssld_onnx_read(context, model.data, model.size, "last.onnx", 5, 7, &graph));
    const int64_t *dims = graph->values[graph->input].dims;
    CHECK(dims[1] == 3 && dims[2] == 5 && dims[3] == 7, "(%lld, %lld, %lld)", (long long)dims[1], (long long)dims[2],
          (long long)dims[3]);
    CHECK(!strcmp(kinds_of(graph), "Scale Conv"), "%s", kinds_of(graph));
    ssld_graph_destroy(graph);
    free(model.data);
    ssld_context_destroy(context);
}

/* -- Weights ------------------------------------------------------------------------------------------------------ */

static void put_scale_of_type(struct bytes *graph, int type, const void *data, size_t size)
{
    struct bytes tensor = make_tensor("w", type, 4, (int64_t[]){ 1, 2, 1, 1 }, data, size);
    put_message(graph, 5, &tensor);
    put_plain(graph, "Conv", "x,w", "y");
}

/* 1.5 and -2^-15 (subnormal as a half), in every width, and as whole numbers cast: 3 and -1. */
TEST(weights_of_every_width_are_read)
{
    static const uint16_t halves[2] = { 0x3e00, 0x8200 }, bfloats[2] = { 0x3fc0, 0xb800 };
    static const double doubles[2] = { 1.5, -0x1p-15 };
    static const float floats[2] = { 1.5f, -0x1p-15f };
    static const struct {
        int         type;
        const void *data;
        size_t      size;
    } cases[] = { { 1, floats, sizeof floats }, { 10, halves, sizeof halves }, { 16, bfloats, sizeof bfloats },
                  { 11, doubles, sizeof doubles } };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = start();
        struct ssld_graph *graph = NULL;
        put_scale_of_type(&bytes, cases[i].type, cases[i].data, cases[i].size);
        CHECK_OK(context, read_model(context, &bytes, 13, &graph));
        const float *weights = graph->values[graph->nodes[0].inputs[1]].data;
        CHECK(weights[0] == 1.5f && weights[1] == -0x1p-15f, "type %d: %g %g", cases[i].type, (double)weights[0],
              (double)weights[1]);
        ssld_graph_destroy(graph);
    }
    static const int8_t bytes_of_wholes[2] = { 3, -1 };
    struct bytes file = start(), attributes = { NULL, 0 };
    struct bytes tensor = make_tensor("whole", 3, 4, (int64_t[]){ 1, 2, 1, 1 }, bytes_of_wholes, 2);
    struct ssld_graph *graph = NULL;
    put_message(&file, 5, &tensor);
    put_attribute_int(&attributes, "to", 1);
    put_node(&file, "Cast", "", "whole", "w", &attributes);
    put_plain(&file, "Conv", "x,w", "y");
    CHECK_OK(context, read_model(context, &file, 13, &graph));
    const float *weights = graph->values[graph->nodes[0].inputs[1]].data;
    CHECK(weights[0] == 3 && weights[1] == -1, "%g %g", (double)weights[0], (double)weights[1]);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* Large data is left in the file while it is parsed: typed and raw data give the same weights. */
TEST(large_weights_are_read_from_where_they_stand)
{
    ssld_context *context = make_context();
    float floats[2][1024];
    for (int typed = 0; typed < 2; typed++) {
        struct bytes bytes = start(), tensor = { NULL, 0 };
        struct ssld_graph *graph = NULL;
        float data[1024];
        for (int i = 0; i < 1024; i++)
            data[i] = (float)i / 7;
        put_int(&tensor, 1, 512);
        put_int(&tensor, 1, 2);
        put_int(&tensor, 1, 1);
        put_int(&tensor, 1, 1);
        put_int(&tensor, 2, 1);
        put_block(&tensor, typed ? 4 : 9, data, sizeof data);
        put_text(&tensor, 8, "w");
        put_int(&tensor, 2001, 0); /* where this library keeps the place: no file may say it */
        put_int(&tensor, 2002, INT64_MAX);
        put_message(&bytes, 5, &tensor);
        put_plain(&bytes, "Conv", "x,w", "y");
        CHECK_OK(context, read_model(context, &bytes, 13, &graph));
        memcpy(floats[typed], graph->values[graph->nodes[0].inputs[1]].data, sizeof data);
        CHECK(!memcmp(floats[typed], data, sizeof data), "typed %d: weights differ", typed);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* -- Weights in other files --------------------------------------------------------------------------------------- */

static void put_entry(struct bytes *tensor, const char *key, const char *value)
{
    struct bytes entry = { NULL, 0 };
    put_text(&entry, 1, key);
    put_text(&entry, 2, value);
    put_message(tensor, 13, &entry);
}

static void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(data, 1, size, file) == size && !fclose(file), "cannot write %s", path);
}

/* Writes FOLDER/model.onnx, a convolution whose weights are where `location` says, and reads it. */
static ssld_status read_external(ssld_context *context, const char *folder, const char *location, const char *offset,
                                 const char *length, struct ssld_graph **graph)
{
    struct bytes bytes = start(), tensor = { NULL, 0 };
    struct ssld_onnx_options options = { .height = 6, .width = 6 };
    char path[96];
    static const int64_t dims[4] = { 1, 2, 1, 1 };
    for (int i = 0; i < 4; i++)
        put_int(&tensor, 1, dims[i]);
    put_int(&tensor, 2, 1);
    put_text(&tensor, 8, "w");
    put_entry(&tensor, "location", location);
    put_entry(&tensor, "offset", offset);
    put_entry(&tensor, "length", length);
    put_int(&tensor, 14, 1);
    put_message(&bytes, 5, &tensor);
    put_node(&bytes, "Conv", "conv", "x,w", "y", NULL);
    put_graph_output(&bytes, "y");
    struct bytes model = finish_model(&bytes, 13);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    write_bytes(path, model.data, model.size);
    free(model.data);
    ssld_status status = ssld_onnx_read_file(context, path, &options, graph);
    unlink(path);
    return status;
}

TEST(weights_in_another_file_are_read_from_the_folder_only)
{
    static const float weights[3] = { 9, 2, 3 };
    static const struct {
        const char *location, *offset, *length, *text;
    } cases[] = {
        { "/etc/hostname", "4", "8", "outside the model's folder" },
        { "../weights.bin", "4", "8", "outside the model's folder" },
        { "sub/../../weights.bin", "4", "8", "outside the model's folder" },
        { "link.bin", "4", "8", "outside the model's folder" },
        { "nowhere.bin", "4", "8", "not there" },
        { "weights.bin", "8", "8", "are not the 8 of its shape" },
        { "weights.bin", "4", "4", "are not the 8 of its shape" },
        { "weights.bin", "-4", "8", "does not say where" },
        { "", "4", "8", "does not say where" },
    };
    ssld_context *context = make_context();
    struct ssld_graph *graph = NULL;
    char folder[64], path[96], link[96];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/weights.bin", folder);
    snprintf(link, sizeof link, "%s/link.bin", folder);
    write_bytes(path, weights, sizeof weights);
    CHECK(symlink("/etc/hostname", link) == 0, "no link");
    CHECK_OK(context, read_external(context, folder, "weights.bin", "4", "8", &graph));
    const float *read = graph->values[graph->nodes[0].inputs[1]].data;
    CHECK(read[0] == 2 && read[1] == 3, "%g %g", (double)read[0], (double)read[1]);
    ssld_graph_destroy(graph);
    graph = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_STATUS(context,
                     read_external(context, folder, cases[i].location, cases[i].offset, cases[i].length, &graph),
                     SSLD_FORMAT);
        CHECK_TEXT(context, cases[i].text);
        CHECK_TEXT(context, "'conv'");
        CHECK(!graph, "case %zu gave a graph", i);
    }
    unlink(path);
    unlink(link);
    rmdir(folder);
    ssld_context_destroy(context);
}

/* -- What is refused ---------------------------------------------------------------------------------------------- */

static void refuse_mean_over_batch(struct bytes *graph)
{
    put_ints(graph, "ReduceMean", "x", "y", "axes", 1, (int64_t[]){ 0 });
}

static void refuse_softmax_over_batch(struct bytes *graph)
{
    put_axis(graph, "Softmax", "x", "s", 0);
    put_plain(graph, "Relu", "s", "y");
}

static void refuse_first_image(struct bytes *graph)
{
    put_whole(graph, "zero", 0);
    put_plain(graph, "Gather", "x,zero", "y");
}

static void refuse_images_multiplied(struct bytes *graph)
{
    put_plain(graph, "Flatten", "x", "f");
    put_ints(graph, "Transpose", "f", "t", "perm", 2, (int64_t[]){ 1, 0 });
    put_plain(graph, "MatMul", "f,t", "y");
}

static void refuse_batch_torn_apart(struct bytes *graph)
{
    put_ints(graph, "Transpose", "x", "t", "perm", 4, (int64_t[]){ 1, 0, 2, 3 });
    put_integers(graph, "shape", 2, (int64_t[]){ 1, -1 });
    put_plain(graph, "Reshape", "t,shape", "r"); /* (1, 2 * N * 36): fine */
    put_integers(graph, "pairs", 2, (int64_t[]){ 9, 8 });
    put_plain(graph, "Reshape", "r,pairs", "y");
}

static void refuse_sum_across_places(struct bytes *graph)
{
    put_ints(graph, "Transpose", "x", "t", "perm", 4, (int64_t[]){ 2, 1, 0, 3 });
    put_plain(graph, "Add", "t,x", "y");
}

static void refuse_batch_of_arithmetic(struct bytes *graph)
{
    put_size_of(graph, "x", 0, "n");
    put_whole(graph, "four", 4);
    put_plain(graph, "Greater", "n,four", "many");
    put_plain(graph, "Where", "many,x,x", "y");
}

static void refuse_several(struct bytes *graph)
{
    put_weights(graph, "w", 4, (int64_t[]){ 4, 3, 1, 1 });
    put_node(graph, "Conv", "wrong_channels", "x,w", "a", NULL);
    put_node(graph, "Einsum", "unknown", "x", "b", NULL);
    put_node(graph, "Add", "sum", "a,b", "y", NULL);
}

static void refuse_several_missing(struct bytes *graph)
{
    put_node(graph, "Add", "first", "x,left", "a", NULL);
    put_node(graph, "Add", "second", "a,right", "y", NULL);
}

static void refuse_huge_tile(struct bytes *graph)
{
    put_integers(graph, "repeats", 4, (int64_t[]){ 1, INT32_MAX, INT32_MAX, INT64_MAX });
    put_node(graph, "Tile", "tile", "x,repeats", "y", NULL);
}

static void refuse_huge_constant(struct bytes *graph)
{
    put_integers(graph, "shape", 4, (int64_t[]){ 1, 1 << 20, 1 << 20, 1 << 20 });
    put_node(graph, "ConstantOfShape", "huge", "shape", "c", NULL);
    put_node(graph, "Add", "sum", "x,c", "y", NULL);
}

static void refuse_endless_range(struct bytes *graph)
{
    put_whole(graph, "zero", 0);
    put_whole(graph, "many", INT64_MAX);
    put_node(graph, "Range", "range", "zero,many,zero", "r", NULL);
    put_node(graph, "Gather", "gather", "x,r", "y", NULL);
}

static void refuse_other_images(struct bytes *graph)
{
    put_strided_view(graph, 3);
}

TEST(every_file_that_cannot_be_read_is_refused_by_name)
{
    static const struct {
        void      (*spell)(struct bytes *graph);
        ssld_status status;
        const char *texts[3];
    } cases[] = {
        { refuse_mean_over_batch, SSLD_UNSUPPORTED, { "'y' (ReduceMean)", "mix images" } },
        { refuse_softmax_over_batch, SSLD_UNSUPPORTED, { "'s' (Softmax)", "mix images" } },
        { refuse_first_image, SSLD_UNSUPPORTED, { "'y' (Gather)", "mix images" } },
        { refuse_images_multiplied, SSLD_UNSUPPORTED, { "'y' (MatMul)", "images with one another" } },
        { refuse_batch_torn_apart, SSLD_UNSUPPORTED, { "'y' (Reshape)", "mix images" } },
        { refuse_sum_across_places, SSLD_UNSUPPORTED, { "'y' (Add)", "mix images" } },
        { refuse_batch_of_arithmetic, SSLD_UNSUPPORTED, { "'many' (Greater)", "size of the batch" } },
        { refuse_several, SSLD_FORMAT, { "2 problems", "'wrong_channels'", "'unknown' (Einsum)" } },
        { refuse_several_missing,
          SSLD_FORMAT,
          { "2 problems", "'left', which nothing makes", "'right', which nothing makes" } },
        { refuse_huge_tile, SSLD_UNSUPPORTED, { "'tile'", "repeats axis 3" } },
        { refuse_huge_constant, SSLD_FORMAT, { "'huge'", "elements" } },
        { refuse_other_images, SSLD_UNSUPPORTED, { "'y' (Gather)", "elements of other images" } },
        { refuse_endless_range, SSLD_FORMAT, { "'range'", "from 0" } },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = start();
        struct ssld_graph *graph = NULL;
        cases[i].spell(&bytes);
        ssld_status status = read_model(context, &bytes, 13, &graph);
        CHECK(status == cases[i].status, "case %zu: %s", i, ssld_status_name(status));
        for (int t = 0; t < 3 && cases[i].texts[t]; t++)
            CHECK_TEXT(context, cases[i].texts[t]);
        CHECK(!graph, "case %zu gave a graph", i);
    }
    ssld_context_destroy(context);
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

TEST(reading_stays_within_the_limit)
{
    ssld_context *context = make_context();
    struct bytes bytes = start();
    struct ssld_graph *graph = NULL;
    put_weights(&bytes, "w", 4, (int64_t[]){ 1024, 2, 8, 8 }); /* 512 KiB, once in the file and once in the graph */
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "pads", 4, (int64_t[]){ 4, 4, 4, 4 });
    put_node(&bytes, "Conv", "conv", "x,w", "y", &attributes);
    put_graph_output(&bytes, "y");
    struct bytes model = finish_model(&bytes, 13);
    struct ssld_onnx_options options = { .height = 6, .width = 6, .memory_limit = 256 << 10 };
    CHECK_STATUS(context, ssld_onnx_read_with(context, model.data, model.size, "large.onnx", &options, &graph),
                 SSLD_OUT_OF_MEMORY);
    CHECK_TEXT(context, "large.onnx: reading it would take more than 262144 bytes");
    CHECK_TEXT(context, "memory_limit");
    CHECK(!graph, "a graph was given");
    options.memory_limit = 1 << 20;
    CHECK_OK(context, ssld_onnx_read_with(context, model.data, model.size, "large.onnx", &options, &graph));
    ssld_graph_destroy(graph);
    free(model.data);
    ssld_context_destroy(context);
}

/* A file of many of these operators, read with memory that ends at every allocation in turn. */
TEST(every_allocation_may_fail)
{
    struct bytes bytes = start();
    spell_channels_last(&bytes);
    put_graph_output(&bytes, "y");
    struct bytes model = finish_model(&bytes, 10);
    struct bytes second = start();
    spell_layer_norm_of_tensorflow(&second);
    put_graph_output(&second, "y");
    struct bytes third = start();
    spell_class_token(&third);
    put_graph_output(&third, "y");
    struct bytes models[3] = { model, finish_model(&second, 13), finish_model(&third, 11) };
    for (int m = 0; m < 3; m++) {
        for (int allowed = 1;; allowed++) {
            int left = allowed;
            ssld_context *context = NULL;
            ssld_context_options options;
            struct ssld_graph *graph = NULL;
            ssld_context_options_init(&options, sizeof options);
            options.allocator = test_allocator(&left);
            CHECK_OK(NULL, ssld_context_create(&options, &context));
            ssld_status status = ssld_onnx_read(context, models[m].data, models[m].size, "model.onnx", 6, 6, &graph);
            CHECK((status == SSLD_OK) == (graph != NULL), "allocation %d: a graph or a failure, not both", allowed);
            CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "allocation %d: %s", allowed,
                  ssld_status_name(status));
            ssld_graph_destroy(graph);
            ssld_context_destroy(context);
            if (status == SSLD_OK)
                break;
        }
        free(models[m].data);
    }
}

TEST(damaged_files_get_a_verdict)
{
    static void (*const spellings[])(struct bytes *) = { spell_channel_shuffle, spell_class_token,
                                                         spell_channels_last,   spell_layer_norm_of_tensorflow,
                                                         spell_resize_11,       spell_range_gather };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        struct bytes bytes = start();
        spellings[i](&bytes);
        put_graph_output(&bytes, "y");
        struct bytes model = finish_model(&bytes, 11);
        read_damaged(&model, 3000);
        free(model.data);
    }
}

TEST_MAIN(TEST_ROW(every_spelling_is_read_as_what_it_means), TEST_ROW(image_with_channels_last_is_run_in_planes),
          TEST_ROW(weights_of_every_width_are_read), TEST_ROW(large_weights_are_read_from_where_they_stand),
          TEST_ROW(weights_in_another_file_are_read_from_the_folder_only),
          TEST_ROW(every_file_that_cannot_be_read_is_refused_by_name), TEST_ROW(reading_stays_within_the_limit),
          TEST_ROW(every_allocation_may_fail), TEST_ROW(damaged_files_get_a_verdict))
