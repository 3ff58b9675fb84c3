/* SPDX-License-Identifier: BSD-2-Clause */
/* evaluate.h - operators on constants: what is known when a network is read need not be computed for every image. */
#ifndef SSLD_LIB_GRAPH_EVALUATE_H
#define SSLD_LIB_GRAPH_EVALUATE_H

#include "graph/graph.h"

/* An operator that moves elements takes, for the output's element (i0, i1, ...), the input's at offset
 * t0[i0] + t1[i1] + ..., or the fill value where a term is negative. Writes the table of one axis of the output:
 * TRANSPOSE, STRIDED_SLICE, GATHER (indices: its second input's data), TILE, PAD; RESIZE by nearest. */
void ssld_axis_offsets(const struct ssld_node *node, const struct ssld_value *src, const float *indices,
                       const struct ssld_value *dst, int32_t axis, int64_t *offsets);

/* Is it such an operator, or RESHAPE or JOIN, which move elements too? */
bool ssld_op_moves(int32_t kind);

/* A moving node's output of elements of any size from its inputs' (JOIN has several); fill: one element for PAD. */
ssld_status ssld_move_elements(ssld_context *context, const struct ssld_node *node,
                               const struct ssld_value *const *inputs, const void *const *data, size_t element_size,
                               const void *fill, const struct ssld_value *dst, void *dst_data);

/* The output of a node whose inputs are all constants, in float, each element computed in double. dst has its dims and
 * memory. SSLD_UNSUPPORTED for operators that no exporter leaves without an activation. */
ssld_status ssld_evaluate(ssld_context *context, const struct ssld_node *node, const struct ssld_value *const *inputs,
                          const float *const *data, const struct ssld_value *dst, float *dst_data);

/* Row-major steps of a value along the axes of a shape that it is broadcast to: 0 where it repeats. */
void ssld_broadcast_strides(const struct ssld_value *value, const struct ssld_value *to,
                            int64_t strides[SSLD_MOST_DIMS]);

#endif
