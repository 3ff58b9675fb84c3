/* SPDX-License-Identifier: BSD-2-Clause */
/* branches.c - parallel convolutions of one source whose results are added are one convolution.
 *
 * Networks that are trained with several kernels side by side (RepVGG, PPLCNetV2) add their outputs. Convolution is linear, so
 * the sum of the kernels, each where its centre belongs in the largest, gives the same output in one pass.
 * Source: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021, section 3.3. */
#include "graph/uses.h"

#include <string.h>

static bool has_bias(const struct ssld_node *conv)
{
    return conv->input_count > 2 && conv->inputs[2] != SSLD_NO_VALUE;
}

/* Where the kernel of `small` begins in that of `large`, along one side; -1: it does not fit between its cells. */
static int32_t offset_along(const struct ssld_window *large, const struct ssld_window *small, int side)
{
    int32_t cells = large->pads[side] - small->pads[side], dilation = large->dilations[side];
    bool spaced_alike = small->kernel[side] == 1 || small->dilations[side] == dilation;
    if (cells < 0 || cells % dilation || !spaced_alike)
        return -1;
    return cells / dilation + small->kernel[side] <= large->kernel[side] ? cells / dilation : -1;
}

static bool same_weights_but_window(const struct ssld_graph *graph, const struct ssld_node *a, const struct ssld_node *b)
{
    const struct ssld_value *of_a = &graph->values[a->inputs[1]], *of_b = &graph->values[b->inputs[1]];
    return of_a->dims[0] == of_b->dims[0] && of_a->dims[1] == of_b->dims[1];
}

/* Can `small` become a part of `large`? */
static bool fits(const struct ssld_graph *graph, const struct ssld_node *large, const struct ssld_node *small, int32_t offset[2])
{
    const struct ssld_window *of_large = &large->attributes.window, *of_small = &small->attributes.window;
    if (large->kind != SSLD_OP_CONV || small->kind != SSLD_OP_CONV || large->inputs[0] != small->inputs[0] ||
        large->activation.kind != SSLD_OP_IDENTITY || small->activation.kind != SSLD_OP_IDENTITY ||
        large->attributes.group != small->attributes.group || !same_weights_but_window(graph, large, small))
        return false;
    for (int side = 0; side < 2; side++) {
        offset[side] = offset_along(of_large, of_small, side);
        if (of_large->strides[side] != of_small->strides[side] || offset[side] < 0)
            return false;
    }
    return true;
}

/* weights, bias: new values, the sums; the old ones may have other readers. */
static ssld_status sum_weights(struct ssld_graph *graph, const struct ssld_node *large, const struct ssld_node *small,
                               const int32_t offset[2], int32_t *weights, int32_t *bias)
{
    struct ssld_value into = graph->values[large->inputs[1]], from = graph->values[small->inputs[1]];
    ssld_status status = ssld_graph_add_value(graph, NULL, SSLD_VALUE_PARAMETER, 4, into.dims, into.data, weights);
    if (!status)
        status = ssld_graph_add_value(graph, NULL, SSLD_VALUE_PARAMETER, 1, into.dims, NULL, bias);
    if (status)
        return status;
    float *sum = graph->values[*weights].data, *sum_bias = graph->values[*bias].data;
    for (int64_t filter = 0; filter < into.dims[0] * into.dims[1]; filter++)
        for (int64_t y = 0; y < from.dims[2]; y++)
            for (int64_t x = 0; x < from.dims[3]; x++)
                sum[(filter * into.dims[2] + y + offset[0]) * into.dims[3] + x + offset[1]] +=
                    from.data[(filter * from.dims[2] + y) * from.dims[3] + x];
    for (int64_t o = 0; o < into.dims[0]; o++)
        sum_bias[o] = (has_bias(large) ? graph->values[large->inputs[2]].data[o] : 0) +
                      (has_bias(small) ? graph->values[small->inputs[2]].data[o] : 0);
    return SSLD_OK;
}

static ssld_status merge(struct ssld_graph *graph, struct uses *uses, struct ssld_node *sum, struct ssld_node *large,
                         const struct ssld_node *small, const int32_t offset[2])
{
    int32_t weights, bias;
    ssld_status status = sum_weights(graph, large, small, offset, &weights, &bias);
    if (status)
        return status;
    large->inputs[1] = weights;
    large->inputs[2] = bias;
    large->input_count = 3;
    large->activation = sum->activation;
    ssld_uses_swap_outputs(uses, large, sum);
    return SSLD_OK;
}

ssld_status ssld_graph_merge_branches(struct ssld_graph *graph)
{
    struct uses uses = { NULL, NULL };
    ssld_status status = ssld_uses_take(graph, &uses);
    for (int32_t n = 0; !status && n < graph->node_count; n++) {
        struct ssld_node *sum = &graph->nodes[n];
        if (sum->kind != SSLD_OP_ADD)
            continue;
        struct ssld_node *a = ssld_uses_sole_producer(graph, &uses, sum->inputs[0]);
        struct ssld_node *b = ssld_uses_sole_producer(graph, &uses, sum->inputs[1]);
        int32_t offset[2];
        if (a && b && fits(graph, a, b, offset))
            status = merge(graph, &uses, sum, a, b, offset);
        else if (a && b && fits(graph, b, a, offset))
            status = merge(graph, &uses, sum, b, a, offset);
    }
    ssld_uses_free(graph, &uses);
    return status ? status : ssld_graph_remove_unused(graph);
}
