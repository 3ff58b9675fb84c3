/* SPDX-License-Identifier: BSD-2-Clause */
/* ops.h - what the files of shape rules share: ops.c has the table and the operators of feature maps, general.c those of any
 * rank. */
#ifndef SSLD_LIB_GRAPH_OPS_H
#define SSLD_LIB_GRAPH_OPS_H

#include "graph/graph.h"

#define REFUSE(graph, node, status, format, ...)                                                                       \
    ssld_fail((graph)->context, status, "node '%.80s' (%s): " format, (node)->name, ssld_node_operator(node),          \
              __VA_ARGS__)
#define MISFIT(graph, node, ...) REFUSE(graph, node, SSLD_INVALID_ARGUMENT, __VA_ARGS__)

static inline const struct ssld_value *input_of(const struct ssld_graph *graph, const struct ssld_node *node,
                                                int32_t index)
{
    if (index >= node->input_count || node->inputs[index] == SSLD_NO_VALUE)
        return NULL;
    return &graph->values[node->inputs[index]];
}

typedef ssld_status shape_rule(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst);

/* general.c */
shape_rule ssld_unary_shape, ssld_binary_shape, ssld_where_shape, ssld_matmul_shape, ssld_softmax_shape,
    ssld_reduce_shape, ssld_transpose_shape, ssld_reshape_shape, ssld_join_shape, ssld_strided_slice_shape,
    ssld_gather_shape, ssld_pad_shape, ssld_tile_shape, ssld_resize_shape, ssld_lrn_shape, ssld_group_norm_shape,
    ssld_reorder_shape;
int64_t ssld_matmul_macs(const struct ssld_graph *graph, const struct ssld_node *node);

/* A constant vector with a number for each of `count` channels. */
ssld_status ssld_need_vector(const struct ssld_graph *graph, const struct ssld_node *node, int32_t index,
                             int64_t count);
/* attributes.axis is one of the node's first input. */
ssld_status ssld_need_axis(const struct ssld_graph *graph, const struct ssld_node *node);

#endif
