/* SPDX-License-Identifier: BSD-2-Clause */
/* convert.h - for converters: what they ask of a node's attributes and inputs, and how its output comes into the graph.
 *
 * operators.c has the table and the converters of one node; channels.c those that move channels; gelu.c one of an operator
 * that older files spell with several nodes. */
#ifndef SSLD_LIB_ONNX_CONVERT_H
#define SSLD_LIB_ONNX_CONVERT_H

#include "onnx/reader.h"

#define ELEMENT_FLOAT 1 /* TensorProto.data_type */

/* AttributeProto.type */
#define TYPE_FLOAT 1
#define TYPE_INT 2
#define TYPE_STRING 3
#define TYPE_TENSOR 4
#define TYPE_INTS 7

/* -- Attributes (attributes.c) ------------------------------------------------------------------------------------ */

const onnx_attribute *ssld_onnx_find_attribute(const onnx_node *node, const char *name);
/* The attribute is of the type its operator gives it. Files before IR version 3 leave `type` out. */
ssld_status ssld_onnx_check_attribute_type(const struct reader *reader, const onnx_node *node,
                                           const onnx_attribute *attribute, int32_t type);
/* The value keeps its default where the attribute is left out. */
ssld_status ssld_onnx_attribute_int(const struct reader *reader, const onnx_node *node, const char *name, int64_t *value);
/* An attribute up to some opset, constant input `index` later: at most `most` numbers; count is 0 where both are left out. */
ssld_status ssld_onnx_integers(const struct reader *reader, const onnx_node *node, const char *name, size_t index,
                               int32_t most, int64_t *integers, int32_t *count);
/* Refuse an attribute 'axis', 1 or counted from the end, that is not the channels of `ndims` dimensions. */
ssld_status ssld_onnx_need_channel_axis(const struct reader *reader, const onnx_node *node, int64_t axis, int32_t ndims);

/* -- Inputs and outputs (inputs.c) -------------------------------------------------------------------------------- */

ssld_status ssld_onnx_need_inputs(const struct reader *reader, const onnx_node *node, size_t least, size_t most);
ssld_status ssld_onnx_activation_input(const struct reader *reader, const onnx_node *node, size_t index, int32_t *value);
/* Input 0, which must be (N, C, H, W). */
ssld_status ssld_onnx_image_input(const struct reader *reader, const onnx_node *node, int32_t *value);
bool        ssld_onnx_is_constant(const struct reader *reader, const onnx_node *node, size_t index);
/* An optional constant number; `number` keeps its default without one. */
ssld_status ssld_onnx_number_input(const struct reader *reader, const onnx_node *node, size_t index, float *number);
/* Shape of constant input `index`, which must have `ndims` dimensions. */
ssld_status ssld_onnx_constant_shape(const struct reader *reader, const onnx_node *node, size_t index, int32_t ndims,
                                     int64_t dims[SSLD_MOST_DIMS]);
/* A vector of `count` elements: of shape (count), or (1, count) as some exporters write a bias. */
ssld_status ssld_onnx_vector_input(struct reader *reader, const onnx_node *node, size_t index, int32_t role,
                                   int64_t count, int32_t *value);

/* The file's output `index` of the node stands for a graph value from here on. */
void ssld_onnx_set_output(struct reader *reader, const onnx_node *node, size_t index, int32_t value, int32_t graph_node);
/* The file's first output is another name for input 0, an activation. */
void ssld_onnx_same_output(struct reader *reader, const onnx_node *node);
/* Append a graph node; it takes names of node and output from the file. */
ssld_status ssld_onnx_add_node(struct reader *reader, const onnx_node *node, int32_t kind, int32_t input_count,
                               const int32_t *inputs, const struct ssld_attributes *attributes);

/* -- Converters of other files ------------------------------------------------------------------------------------ */

typedef ssld_status onnx_convert(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes);

onnx_convert ssld_onnx_convert_concat, ssld_onnx_convert_split, ssld_onnx_convert_slice, ssld_onnx_convert_transpose,
    ssld_onnx_convert_layer_norm; /* channels.c */
onnx_convert ssld_onnx_convert_gelu, ssld_onnx_convert_erf; /* gelu.c */

/* Add or Mul where an input is a part of GELU: `taken` says whether it was one. */
ssld_status ssld_onnx_continue_gelu(struct reader *reader, const onnx_node *node, bool *taken);

#endif
