/* SPDX-License-Identifier: BSD-2-Clause */
/* ops.c - the operator table: for each operator its name, inputs, attributes, shape rule and cost.
 *
 * Shape rules are ONNX's. They also bring attributes into one form: kernels are filled in from weights, ceil_mode becomes
 * explicit pads, so whoever runs a graph reads `pads` and never asks how they came about. */
#include "graph/ops.h"

#include <float.h>
#include <string.h>

/* Kernels, strides, dilations and pads beyond this are no image network's; below it no sum of them overflows. */
#define MOST_WINDOW (1 << 20)

/* (N, C, H, W) or (N, F): what operators of channels take. */
static bool is_one_map(const struct ssld_value *value)
{
    return (value->ndims == 4 || value->ndims == 2) && value->dims[0] == 1;
}

static bool same_dims(const struct ssld_value *a, const struct ssld_value *b)
{
    return a->ndims == b->ndims && !memcmp(a->dims, b->dims, sizeof a->dims);
}

static void set_dims(struct ssld_value *dst, int32_t ndims, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    dst->ndims = ndims;
    dst->dims[0] = d0;
    dst->dims[1] = d1;
    dst->dims[2] = d2;
    dst->dims[3] = d3;
    dst->dims[4] = dst->dims[5] = 1;
}

static ssld_status need_image(const struct ssld_graph *graph, const struct ssld_node *node)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    if (src->ndims != 4)
        return MISFIT(graph, node, "its input has %d dimensions; it takes (N, C, H, W)", src->ndims);
    if (src->dims[0] != 1)
        return MISFIT(graph, node, "its input has %lld feature maps for an image; it takes one",
                      (long long)src->dims[0]);
    return SSLD_OK;
}

/* A constant vector with a number for each of `count` channels. */
ssld_status ssld_need_vector(const struct ssld_graph *graph, const struct ssld_node *node, int32_t index, int64_t count)
{
    const struct ssld_value *value = input_of(graph, node, index);
    if (!value)
        return SSLD_OK;
    if (value->role == SSLD_VALUE_ACTIVATION || value->ndims != 1 || value->dims[0] != count)
        return MISFIT(graph, node, "input %d '%.80s' is not a constant vector of %lld elements", index, value->name,
                      (long long)count);
    return SSLD_OK;
}

/* -- Windows: convolution and pooling ----------------------------------------------------------------------------- */

void ssld_window_pad_same(struct ssld_window *window, const int64_t input[2], bool upper)
{
    for (int axis = 0; axis < 2; axis++) {
        int64_t stride = window->strides[axis];
        int64_t reach = (int64_t)(window->kernel[axis] - 1) * window->dilations[axis] + 1;
        int64_t total = ((input[axis] + stride - 1) / stride - 1) * stride + reach - input[axis];
        if (total < 0)
            total = 0;
        int64_t less = total / 2, more = total - less;
        window->pads[axis] = (int32_t)(upper ? less : more);
        window->pads[axis + 2] = (int32_t)(upper ? more : less);
    }
}

static ssld_status check_window(const struct ssld_graph *graph, const struct ssld_node *node)
{
    const struct ssld_window *window = &node->attributes.window;
    for (int axis = 0; axis < 2; axis++)
        if (window->kernel[axis] < 1 || window->kernel[axis] > MOST_WINDOW || window->strides[axis] < 1 ||
            window->strides[axis] > MOST_WINDOW || window->dilations[axis] < 1 ||
            window->dilations[axis] > MOST_WINDOW || window->pads[axis] < 0 || window->pads[axis] > MOST_WINDOW ||
            window->pads[axis + 2] < 0 || window->pads[axis + 2] > MOST_WINDOW)
            return MISFIT(graph, node, "kernel %d, stride %d, dilation %d, pads %d and %d are no window",
                          window->kernel[axis], window->strides[axis], window->dilations[axis], window->pads[axis],
                          window->pads[axis + 2]);
    return SSLD_OK;
}

/* ceil_mode as pads at the end: one more window where cells are left over, unless it would start behind the input and the
 * pads in front of it (PyTorch's rule; ONNX has it since opset 22, and without it such a window sees no input at all).
 * Returns the cells added. */
static int64_t resolve_ceil(struct ssld_window *window, int axis, int64_t input)
{
    int64_t stride = window->strides[axis];
    int64_t reach = (int64_t)(window->kernel[axis] - 1) * window->dilations[axis] + 1;
    int64_t padded = input + window->pads[axis] + window->pads[axis + 2];
    int64_t rest = (padded - reach) % stride;
    int64_t next = padded - reach - rest + stride; /* where the additional window starts */
    if (padded < reach || rest == 0 || next >= input + window->pads[axis])
        return 0;
    window->pads[axis + 2] += (int32_t)(stride - rest);
    return stride - rest;
}

void ssld_window_pad_ceil(struct ssld_window *window, const int64_t input[2])
{
    for (int axis = 0; axis < 2; axis++)
        if (window->strides[axis] > 0)
            resolve_ceil(window, axis, input[axis]);
}

/*   out = floor((in + pads - ((kernel - 1) * dilation + 1)) / stride) + 1 */
static ssld_status window_sizes(const struct ssld_graph *graph, const struct ssld_node *node, int64_t sizes[2])
{
    const struct ssld_window *window = &node->attributes.window;
    const struct ssld_value *src = input_of(graph, node, 0);
    for (int axis = 0; axis < 2; axis++) {
        int64_t reach = (int64_t)(window->kernel[axis] - 1) * window->dilations[axis] + 1;
        int64_t padded = src->dims[2 + axis] + window->pads[axis] + window->pads[axis + 2];
        if (padded < reach)
            return MISFIT(graph, node, "its window covers %lld cells, its padded input has %lld; give a larger image",
                          (long long)reach, (long long)padded);
        sizes[axis] = (padded - reach) / window->strides[axis] + 1;
    }
    return SSLD_OK;
}

static ssld_status conv_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0), *weights = input_of(graph, node, 1);
    struct ssld_attributes *attributes = &node->attributes;
    int64_t sizes[2];
    ssld_status status = need_image(graph, node);
    if (status)
        return status;
    if (weights->role == SSLD_VALUE_ACTIVATION || weights->ndims != 4)
        return MISFIT(graph, node, "weights '%.80s' are not a constant (O, I, KH, KW)", weights->name);
    int64_t group = attributes->group;
    if (group < 1 || weights->dims[0] % group || weights->dims[1] * group != src->dims[1])
        return MISFIT(graph, node, "%lld input channels do not suit weights of (%lld, %lld, ...) in %lld groups",
                      (long long)src->dims[1], (long long)weights->dims[0], (long long)weights->dims[1],
                      (long long)group);
    for (int axis = 0; axis < 2; axis++) {
        int32_t *kernel = &attributes->window.kernel[axis];
        if (*kernel && *kernel != weights->dims[2 + axis])
            return MISFIT(graph, node, "kernel_shape says %d, the weights say %lld", *kernel,
                          (long long)weights->dims[2 + axis]);
        *kernel = (int32_t)weights->dims[2 + axis];
    }
    if ((status = check_window(graph, node)) || (status = ssld_need_vector(graph, node, 2, weights->dims[0])) ||
        (status = window_sizes(graph, node, sizes)))
        return status;
    set_dims(dst, 4, 1, weights->dims[0], sizes[0], sizes[1]);
    return SSLD_OK;
}

static int64_t conv_macs(const struct ssld_graph *graph, const struct ssld_node *node)
{
    const struct ssld_value *weights = input_of(graph, node, 1);
    return ssld_value_elements(&graph->values[node->output]) * (ssld_value_elements(weights) / weights->dims[0]);
}

static ssld_status pool_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    struct ssld_attributes *attributes = &node->attributes;
    struct ssld_window *window = &attributes->window;
    const struct ssld_value *src = input_of(graph, node, 0);
    int64_t sizes[2], added = 0;
    ssld_status status;
    if ((status = need_image(graph, node)) || (status = check_window(graph, node)))
        return status;
    bool padded = window->pads[0] || window->pads[1] || window->pads[2] || window->pads[3];
    for (int axis = 0; axis < 2; axis++) {
        int64_t reach = (int64_t)(window->kernel[axis] - 1) * window->dilations[axis] + 1;
        if (window->pads[axis] >= reach || window->pads[axis + 2] >= reach)
            return MISFIT(graph, node, "pads %d and %d: a window of %lld cells would lie outside the image",
                          window->pads[axis], window->pads[axis + 2], (long long)reach);
        if (attributes->ceil_mode)
            added += resolve_ceil(window, axis, src->dims[2 + axis]);
    }
    attributes->ceil_mode = 0;
    /* Cells that ceil_mode added are never counted in an average. Where they are the only pads, no pad is. */
    if (node->kind == SSLD_OP_AVERAGE_POOL && added && attributes->count_include_pad) {
        if (padded)
            return REFUSE(graph, node, SSLD_UNSUPPORTED, "%s", "count_include_pad with both pads and ceil_mode");
        attributes->count_include_pad = 0;
    }
    if ((status = window_sizes(graph, node, sizes)))
        return status;
    set_dims(dst, 4, 1, src->dims[1], sizes[0], sizes[1]);
    return SSLD_OK;
}

/* -- Everything else ---------------------------------------------------------------------------------------------- */

static ssld_status same_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    dst->ndims = src->ndims;
    memcpy(dst->dims, src->dims, sizeof dst->dims);
    return SSLD_OK;
}

static ssld_status batch_norm_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    ssld_status status = need_image(graph, node);
    for (int32_t i = 1; i < node->input_count && !status; i++)
        status = ssld_need_vector(graph, node, i, input_of(graph, node, 0)->dims[1]);
    return status ? status : same_shape(graph, node, dst);
}

static ssld_status clip_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    if (!(node->attributes.alpha <= node->attributes.beta))
        return MISFIT(graph, node, "clips to %g .. %g", (double)node->attributes.alpha, (double)node->attributes.beta);
    return same_shape(graph, node, dst);
}

static ssld_status dropout_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    if (!(node->attributes.ratio >= 0 && node->attributes.ratio < 1))
        return MISFIT(graph, node, "ratio %g is not in 0 .. 1 (without 1)", (double)node->attributes.ratio);
    return same_shape(graph, node, dst);
}

static ssld_status global_pool_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    ssld_status status = need_image(graph, node);
    if (!status)
        set_dims(dst, 4, 1, input_of(graph, node, 0)->dims[1], 1, 1);
    return status;
}

static ssld_status need_activations(const struct ssld_graph *graph, const struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++)
        if (input_of(graph, node, i)->role != SSLD_VALUE_ACTIVATION)
            return MISFIT(graph, node, "input %d '%.80s' is a constant, not an activation", i,
                          input_of(graph, node, i)->name);
    return SSLD_OK;
}

static ssld_status add_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *a = input_of(graph, node, 0), *b = input_of(graph, node, 1);
    ssld_status status = need_activations(graph, node);
    if (!status && !same_dims(a, b))
        status = MISFIT(graph, node, "'%.80s' and '%.80s' are not of one shape", a->name, b->name);
    return status ? status : same_shape(graph, node, dst);
}

/* b is one number for each channel of a, (N, C, 1, 1), or for each position, (N, 1, H, W). */
static bool is_factor_of(const struct ssld_value *a, const struct ssld_value *b)
{
    bool by_channel = b->dims[1] == a->dims[1] && b->dims[2] == 1 && b->dims[3] == 1;
    bool by_position = b->dims[1] == 1 && b->dims[2] == a->dims[2] && b->dims[3] == a->dims[3];
    return a->ndims == 4 && b->ndims == 4 && is_one_map(a) && is_one_map(b) && (by_channel || by_position);
}

/* The factor comes second, whichever way round the node was given. */
static ssld_status mul_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *a = input_of(graph, node, 0), *b = input_of(graph, node, 1);
    ssld_status status = need_activations(graph, node);
    if (status)
        return status;
    if (!same_dims(a, b) && !is_factor_of(a, b)) {
        int32_t first = node->inputs[0];
        if (!is_factor_of(b, a))
            return MISFIT(graph, node,
                          "'%.80s' and '%.80s' are not of one shape, nor is one a number for each channel or "
                          "each position of the other",
                          a->name, b->name);
        node->inputs[0] = node->inputs[1];
        node->inputs[1] = first;
    }
    return same_shape(graph, node, dst);
}

static ssld_status prelu_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0), *slopes = input_of(graph, node, 1);
    if (slopes->role == SSLD_VALUE_ACTIVATION || slopes->ndims != 1 ||
        (slopes->dims[0] != 1 && slopes->dims[0] != src->dims[1]))
        return MISFIT(graph, node, "slopes '%.80s' are not a constant vector of 1 or %lld elements", slopes->name,
                      (long long)src->dims[1]);
    return same_shape(graph, node, dst);
}

static ssld_status layer_norm_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    ssld_status status = ssld_need_axis(graph, node);
    for (int32_t i = 1; i < node->input_count && !status; i++)
        status = ssld_need_vector(graph, node, i, input_of(graph, node, 0)->dims[node->attributes.axis]);
    return status ? status : same_shape(graph, node, dst);
}

/* (N, C1, H, W), (N, C2, H, W) ... -> (N, C1 + C2 + ..., H, W), or the same of (N, F). */
static ssld_status concat_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *first = input_of(graph, node, 0);
    ssld_status status = need_activations(graph, node);
    int64_t channels = 0;
    for (int32_t i = 0; i < node->input_count && !status; i++) {
        const struct ssld_value *src = input_of(graph, node, i);
        if (src->ndims != first->ndims || src->dims[2] != first->dims[2] || src->dims[3] != first->dims[3] ||
            !is_one_map(src))
            return MISFIT(graph, node, "'%.80s' and '%.80s' differ in more than their channels", first->name,
                          src->name);
        channels += src->dims[1];
    }
    if (!status)
        set_dims(dst, first->ndims, 1, channels, first->dims[2], first->dims[3]);
    return status;
}

static ssld_status slice_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    int32_t begin = node->attributes.begin, end = node->attributes.end;
    if (!is_one_map(src))
        return MISFIT(graph, node, "'%.80s' is neither (N, C, H, W) nor (N, F)", src->name);
    if (begin < 0 || begin >= end || end > src->dims[1])
        return MISFIT(graph, node, "channels %d to %d of %lld; it takes 0 <= begin < end <= channels", begin, end,
                      (long long)src->dims[1]);
    set_dims(dst, src->ndims, 1, end - begin, src->dims[2], src->dims[3]);
    return SSLD_OK;
}

static ssld_status gemm_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0), *weights = input_of(graph, node, 1);
    if (src->ndims != 2 || src->dims[0] != 1)
        return MISFIT(graph, node, "its input has %d dimensions and %lld rows; it takes (N, F)", src->ndims,
                      (long long)src->dims[0]);
    if (weights->role == SSLD_VALUE_ACTIVATION || weights->ndims != 2 || weights->dims[1] != src->dims[1])
        return MISFIT(graph, node, "weights '%.80s' are not a constant (K, %lld)", weights->name,
                      (long long)src->dims[1]);
    ssld_status status = ssld_need_vector(graph, node, 2, weights->dims[0]);
    if (!status)
        set_dims(dst, 2, 1, weights->dims[0], 1, 1);
    return status;
}

static int64_t gemm_macs(const struct ssld_graph *graph, const struct ssld_node *node)
{
    return ssld_value_elements(input_of(graph, node, 1));
}

static ssld_status flatten_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    set_dims(dst, 2, 1, ssld_value_elements(input_of(graph, node, 0)), 1, 1);
    return SSLD_OK;
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

#define INT(name, member) { name, SSLD_ATTRIBUTE_INT, offsetof(struct ssld_attributes, member), 1, false }
#define FLOAT(name, member) { name, SSLD_ATTRIBUTE_FLOAT, offsetof(struct ssld_attributes, member), 1, false }
#define INTS(name, member, count) { name, SSLD_ATTRIBUTE_INTS, offsetof(struct ssld_attributes, member), count, false }
/* Forms that no file has: resolved, with a number for each axis of the graph's. */
#define OWN_INT(member) { #member, SSLD_ATTRIBUTE_INT, offsetof(struct ssld_attributes, member), 1, true }
#define OWN_FLOAT(member) { #member, SSLD_ATTRIBUTE_FLOAT, offsetof(struct ssld_attributes, member), 1, true }
#define OWN_INTS(member) { #member, SSLD_ATTRIBUTE_INTS, offsetof(struct ssld_attributes, member), SSLD_MOST_DIMS, true }
#define END { NULL, 0, 0, 0, false }

static const struct ssld_attribute no_attributes[] = { END };
static const struct ssld_attribute conv_attributes[] = {
    INTS("kernel_shape", window.kernel, 2), INTS("strides", window.strides, 2), INTS("dilations", window.dilations, 2),
    INTS("pads", window.pads, 4),           INT("group", group),                END,
};
static const struct ssld_attribute max_pool_attributes[] = {
    INTS("kernel_shape", window.kernel, 2), INTS("strides", window.strides, 2), INTS("dilations", window.dilations, 2),
    INTS("pads", window.pads, 4),           INT("ceil_mode", ceil_mode),        END,
};
static const struct ssld_attribute average_pool_attributes[] = {
    INTS("kernel_shape", window.kernel, 2), INTS("strides", window.strides, 2), INTS("pads", window.pads, 4),
    INT("ceil_mode", ceil_mode), INT("count_include_pad", count_include_pad), END,
};
static const struct ssld_attribute batch_norm_attributes[] = {
    FLOAT("epsilon", epsilon), FLOAT("momentum", momentum), END,
};
static const struct ssld_attribute clip_attributes[] = { FLOAT("min", alpha), FLOAT("max", beta), END };
static const struct ssld_attribute hard_sigmoid_attributes[] = { FLOAT("alpha", alpha), FLOAT("beta", beta), END };
static const struct ssld_attribute scale_attributes[] = { FLOAT("scale", scale), END };
static const struct ssld_attribute dropout_attributes[] = { FLOAT("ratio", ratio), END };
static const struct ssld_attribute leaky_relu_attributes[] = { FLOAT("alpha", alpha), END };
static const struct ssld_attribute slice_attributes[] = { INT("begin", begin), INT("end", end), END };
static const struct ssld_attribute layer_norm_attributes[] = { FLOAT("epsilon", epsilon), OWN_INT(axis), END };
static const struct ssld_attribute unary_attributes[] = { FLOAT("alpha", alpha), FLOAT("gamma", beta),
                                                          OWN_INT(function), END };
static const struct ssld_attribute function_attributes[] = { OWN_INT(function), END };
static const struct ssld_attribute axis_attributes[] = { OWN_INT(axis), END };
static const struct ssld_attribute reduce_attributes[] = { OWN_INT(function), OWN_INTS(axes), OWN_INT(keepdims), END };
static const struct ssld_attribute transpose_attributes[] = { OWN_INTS(perm), END };
static const struct ssld_attribute reshape_attributes[] = { OWN_INT(rank), OWN_INTS(sizes), END };
static const struct ssld_attribute strided_slice_attributes[] = { OWN_INTS(starts), OWN_INTS(steps), OWN_INTS(sizes),
                                                                  END };
static const struct ssld_attribute pad_attributes[] = { OWN_INT(mode), OWN_INTS(before), OWN_INTS(after),
                                                        OWN_FLOAT(alpha), END };
static const struct ssld_attribute tile_attributes[] = { OWN_INTS(sizes), END };
static const struct ssld_attribute resize_attributes[] = {
    OWN_INT(mode), OWN_INT(coordinates), OWN_INT(rounding), OWN_INTS(sizes), OWN_FLOAT(scales[0]), OWN_FLOAT(scales[1]),
    END,
};
static const struct ssld_attribute lrn_attributes[] = {
    INT("size", size), FLOAT("alpha", alpha), FLOAT("beta", beta), FLOAT("bias", scale), END,
};
static const struct ssld_attribute group_norm_attributes[] = { FLOAT("epsilon", epsilon), OWN_INT(group), END };
static const struct ssld_attribute reorder_attributes[] = { OWN_INT(mode), END };

const struct ssld_op ssld_ops[SSLD_OP_KINDS] = {
    [SSLD_OP_CONV] = { "Conv", 2, 3, conv_attributes, conv_shape, conv_macs },
    [SSLD_OP_BATCH_NORM] = { "BatchNormalization", 5, 5, batch_norm_attributes, batch_norm_shape, NULL },
    [SSLD_OP_RELU] = { "Relu", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_CLIP] = { "Clip", 1, 1, clip_attributes, clip_shape, NULL },
    [SSLD_OP_HARD_SWISH] = { "HardSwish", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_HARD_SIGMOID] = { "HardSigmoid", 1, 1, hard_sigmoid_attributes, same_shape, NULL },
    [SSLD_OP_SIGMOID] = { "Sigmoid", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_MAX_POOL] = { "MaxPool", 1, 1, max_pool_attributes, pool_shape, NULL },
    [SSLD_OP_AVERAGE_POOL] = { "AveragePool", 1, 1, average_pool_attributes, pool_shape, NULL },
    [SSLD_OP_GLOBAL_AVERAGE_POOL] = { "GlobalAveragePool", 1, 1, no_attributes, global_pool_shape, NULL },
    [SSLD_OP_ADD] = { "Add", 2, 2, no_attributes, add_shape, NULL },
    [SSLD_OP_MUL] = { "Mul", 2, 2, no_attributes, mul_shape, NULL },
    [SSLD_OP_SCALE] = { "Scale", 1, 1, scale_attributes, same_shape, NULL },
    [SSLD_OP_GEMM] = { "Gemm", 2, 3, no_attributes, gemm_shape, gemm_macs },
    [SSLD_OP_FLATTEN] = { "Flatten", 1, 1, no_attributes, flatten_shape, NULL },
    [SSLD_OP_DROPOUT] = { "Dropout", 1, 1, dropout_attributes, dropout_shape, NULL },
    [SSLD_OP_IDENTITY] = { "Identity", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_LEAKY_RELU] = { "LeakyRelu", 1, 1, leaky_relu_attributes, same_shape, NULL },
    [SSLD_OP_PRELU] = { "PRelu", 2, 2, no_attributes, prelu_shape, NULL },
    [SSLD_OP_SILU] = { "Silu", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_GELU] = { "Gelu", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_GELU_TANH] = { "GeluTanh", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_TANH] = { "Tanh", 1, 1, no_attributes, same_shape, NULL },
    [SSLD_OP_CONCAT] = { "Concat", 1, SSLD_MOST_INPUTS, no_attributes, concat_shape, NULL },
    [SSLD_OP_SLICE] = { "Slice", 1, 1, slice_attributes, slice_shape, NULL },
    [SSLD_OP_LAYER_NORM] = { "LayerNormalization", 2, 3, layer_norm_attributes, layer_norm_shape, NULL },
    [SSLD_OP_UNARY] = { "Unary", 1, 1, unary_attributes, ssld_unary_shape, NULL },
    [SSLD_OP_BINARY] = { "Binary", 2, 2, function_attributes, ssld_binary_shape, NULL },
    [SSLD_OP_WHERE] = { "Where", 3, 3, no_attributes, ssld_where_shape, NULL },
    [SSLD_OP_MATMUL] = { "MatMul", 2, 3, no_attributes, ssld_matmul_shape, ssld_matmul_macs },
    [SSLD_OP_SOFTMAX] = { "Softmax", 1, 1, axis_attributes, ssld_softmax_shape, NULL },
    [SSLD_OP_LOG_SOFTMAX] = { "LogSoftmax", 1, 1, axis_attributes, ssld_softmax_shape, NULL },
    [SSLD_OP_REDUCE] = { "Reduce", 1, 1, reduce_attributes, ssld_reduce_shape, NULL },
    [SSLD_OP_TRANSPOSE] = { "Transpose", 1, 1, transpose_attributes, ssld_transpose_shape, NULL },
    [SSLD_OP_RESHAPE] = { "Reshape", 1, 1, reshape_attributes, ssld_reshape_shape, NULL },
    [SSLD_OP_JOIN] = { "Join", 1, SSLD_MOST_INPUTS, axis_attributes, ssld_join_shape, NULL },
    [SSLD_OP_STRIDED_SLICE] = { "StridedSlice", 1, 1, strided_slice_attributes, ssld_strided_slice_shape, NULL },
    [SSLD_OP_GATHER] = { "Gather", 2, 2, axis_attributes, ssld_gather_shape, NULL },
    [SSLD_OP_PAD] = { "Pad", 1, 1, pad_attributes, ssld_pad_shape, NULL },
    [SSLD_OP_TILE] = { "Tile", 1, 1, tile_attributes, ssld_tile_shape, NULL },
    [SSLD_OP_RESIZE] = { "Resize", 1, 1, resize_attributes, ssld_resize_shape, NULL },
    [SSLD_OP_LRN] = { "LRN", 1, 1, lrn_attributes, ssld_lrn_shape, NULL },
    [SSLD_OP_GROUP_NORM] = { "GroupNormalization", 3, 3, group_norm_attributes, ssld_group_norm_shape, NULL },
    [SSLD_OP_REORDER] = { "Reorder", 1, 1, reorder_attributes, ssld_reorder_shape, NULL },
};

/* ONNX's values for what a file leaves out. alpha and beta mean something else for each operator that has them. */
struct ssld_attributes ssld_op_defaults(int32_t kind)
{
    static const struct {
        float alpha, beta;
    } pairs[SSLD_OP_KINDS] = {
        [SSLD_OP_CLIP] = { -FLT_MAX, FLT_MAX },
        [SSLD_OP_HARD_SIGMOID] = { 0.2f, 0.5f },
        [SSLD_OP_HARD_SWISH] = { 1.0f / 6.0f, 0.5f },
        [SSLD_OP_LEAKY_RELU] = { 0.01f, 0 },
        [SSLD_OP_LRN] = { 0.0001f, 0.75f },
    };
    struct ssld_attributes defaults = {
        .window = { .strides = { 1, 1 }, .dilations = { 1, 1 } },
        .group = 1,
        .epsilon = 1e-5f,
        .momentum = 0.9f,
        .scale = 1.0f,
        .ratio = 0.5f,
        .axis = 1,
        .keepdims = 1,
        .steps = { 1, 1, 1, 1, 1, 1 },
        .scales = { 1, 1 },
    };
    if (kind >= 0 && kind < SSLD_OP_KINDS) {
        defaults.alpha = pairs[kind].alpha;
        defaults.beta = pairs[kind].beta;
    }
    return defaults;
}

bool ssld_op_is_activation(int32_t kind)
{
    return kind == SSLD_OP_RELU || kind == SSLD_OP_CLIP || kind == SSLD_OP_HARD_SWISH || kind == SSLD_OP_HARD_SIGMOID ||
           kind == SSLD_OP_SIGMOID || kind == SSLD_OP_LEAKY_RELU || kind == SSLD_OP_SILU || kind == SSLD_OP_GELU ||
           kind == SSLD_OP_GELU_TANH || kind == SSLD_OP_TANH;
}

struct ssld_activation ssld_node_as_activation(const struct ssld_node *node)
{
    return (struct ssld_activation){ node->kind, node->attributes.alpha, node->attributes.beta };
}
