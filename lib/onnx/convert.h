/* SPDX-License-Identifier: BSD-2-Clause */
/* convert.h - for converters: what they ask of a node's attributes and inputs, and how its outputs come into the graph.
 *
 * A converter works out the graph's attributes and how the file sees the result, and calls ssld_onnx_emit(): of activations that
 * makes a node, of constants alone the numbers. So each operator is said once, for both. */
#ifndef SSLD_LIB_ONNX_CONVERT_H
#define SSLD_LIB_ONNX_CONVERT_H

#include "onnx/reader.h"

/* TensorProto.data_type */
enum element_type {
    ELEMENT_FLOAT = 1, ELEMENT_UINT8, ELEMENT_INT8, ELEMENT_UINT16, ELEMENT_INT16, ELEMENT_INT32, ELEMENT_INT64,
    ELEMENT_STRING, ELEMENT_BOOL, ELEMENT_FLOAT16, ELEMENT_DOUBLE, ELEMENT_UINT32, ELEMENT_UINT64, ELEMENT_COMPLEX64,
    ELEMENT_COMPLEX128, ELEMENT_BFLOAT16, ELEMENT_TYPES
};

/* ONNX's name of an element type; "unknown" for numbers that are none. */
const char *ssld_onnx_type_name(int32_t type);
bool        ssld_onnx_type_is_real(int32_t type); /* float, double, float16, bfloat16 */

/* AttributeProto.type */
#define TYPE_FLOAT 1
#define TYPE_INT 2
#define TYPE_STRING 3
#define TYPE_TENSOR 4
#define TYPE_FLOATS 6
#define TYPE_INTS 7

/* -- Attributes (attributes.c) ------------------------------------------------------------------------------------ */

const onnx_attribute *ssld_onnx_find_attribute(const onnx_node *node, const char *name);
/* The attribute is of the type its operator gives it. Files before IR version 3 leave `type` out. */
ssld_status ssld_onnx_check_attribute_type(const struct reader *reader, const onnx_node *node,
                                           const onnx_attribute *attribute, int32_t type);
/* The value keeps its default where the attribute is left out. */
ssld_status ssld_onnx_attribute_int(const struct reader *reader, const onnx_node *node, const char *name,
                                    int64_t *value);
ssld_status ssld_onnx_attribute_float(const struct reader *reader, const onnx_node *node, const char *name,
                                      float *value);
/* Which of the words, which end with NULL, a string is; `choice` keeps its default where the attribute is left out. */
ssld_status ssld_onnx_attribute_word(const struct reader *reader, const onnx_node *node, const char *name,
                                     const char *const *words, int32_t *choice);
/* An attribute up to some opset, constant input `index` later: at most `most` whole numbers; count is -1 where both are left
 * out. name may be NULL. */
ssld_status ssld_onnx_wholes(struct reader *reader, const onnx_node *node, const char *name, size_t index, int32_t most,
                             struct whole *wholes, int32_t *count);
/* The same, none of which may depend on N. */
ssld_status ssld_onnx_integers(struct reader *reader, const onnx_node *node, const char *name, size_t index,
                               int32_t most, int64_t *integers, int32_t *count);
/* The same of floats. */
ssld_status ssld_onnx_floats(struct reader *reader, const onnx_node *node, const char *name, size_t index, int32_t most,
                             float *floats, int32_t *count);
/* An axis of so many, counted from the end where it is negative. */
ssld_status ssld_onnx_resolve_axis(const struct reader *reader, const onnx_node *node, int32_t ndims, int64_t *axis);

/* -- Inputs (emit.c) ---------------------------------------------------------------------------------------------- */

ssld_status ssld_onnx_need_inputs(const struct reader *reader, const onnx_node *node, size_t least, size_t most);
/* An input as it is; refused where it is an input of the file beside the image. */
ssld_status ssld_onnx_operand(struct reader *reader, const onnx_node *node, size_t index, struct operand *operand);
/* An input that must be an activation. */
ssld_status ssld_onnx_activation(struct reader *reader, const onnx_node *node, size_t index, struct operand *operand);
/* Input 0, which must be (N, C, H, W) with the batch in its place. */
ssld_status ssld_onnx_image(struct reader *reader, const onnx_node *node, struct operand *operand);
/* An input that must be a constant; left out: neither value nor constant. */
ssld_status ssld_onnx_constant(struct reader *reader, const onnx_node *node, size_t index, struct operand *operand);
/* An optional constant number; `number` keeps its default without one. */
ssld_status ssld_onnx_number(struct reader *reader, const onnx_node *node, size_t index, float *number);
/* The graph's value for a constant, of the given shape. Every use gets a value of its own, so that training treats two layers
 * apart even where the exporter stored equal initial values once. transposed: (b, a) in the file is (a, b) here. */
ssld_status ssld_onnx_add_constant(struct reader *reader, const onnx_node *node, struct constant *constant,
                                   int32_t role, int32_t ndims, const int64_t *dims, bool transposed, int32_t *value);
/* Constant input `index` as a vector of `count` elements: of shape (count), or with ones before it as some write a bias. */
ssld_status ssld_onnx_vector(struct reader *reader, const onnx_node *node, size_t index, int32_t role, int64_t count,
                             int32_t *value);
/* `axis` is not the batch's, which no operator may mix. */
ssld_status ssld_onnx_need_own_axis(const struct reader *reader, const onnx_node *node, const struct view *view,
                                    int32_t axis);

/* -- Making (emit.c) ---------------------------------------------------------------------------------------------- */

/* A node of the graph from values: `values` as the graph's operator takes them; view: of the result. */
ssld_status ssld_onnx_add_node(struct reader *reader, const onnx_node *node, int32_t kind,
                               const struct ssld_attributes *attributes, int32_t count, const int32_t *values,
                               const struct view *view, struct operand *result);
/* A node from operands, or, of constants alone, a constant. Constants that were learned become parameters for operators that
 * have such. */
ssld_status ssld_onnx_emit(struct reader *reader, const onnx_node *node, int32_t kind,
                           const struct ssld_attributes *attributes, int32_t count, const struct operand *operands,
                           const struct view *view, struct operand *result);
/* The node's output `index` stands for an operand from here on. A value that this node made takes its name. */
ssld_status ssld_onnx_give(struct reader *reader, const onnx_node *node, size_t index, const struct operand *operand);

/* Common steps of converters, each one emit. RESHAPE takes the view wanted, whose batch is worked out; without need nothing is
 * emitted. */
ssld_status ssld_onnx_unary(struct reader *reader, const onnx_node *node, int32_t function, float alpha, float beta,
                            const struct operand *src, struct operand *result);
ssld_status ssld_onnx_binary(struct reader *reader, const onnx_node *node, int32_t function, const struct operand *a,
                             const struct operand *b, struct operand *result);
/* A product of matrices, the last two axes of each. */
ssld_status ssld_onnx_product(struct reader *reader, const onnx_node *node, const struct operand *a,
                              const struct operand *b, struct operand *result);
ssld_status ssld_onnx_scalar(struct reader *reader, float number, struct operand *result); /* a constant */
ssld_status ssld_onnx_transpose(struct reader *reader, const onnx_node *node, const struct operand *src,
                                const int32_t *perm, struct operand *result);
ssld_status ssld_onnx_reshape(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t ndims,
                              const struct whole *dims, struct operand *result);
/* The same of a file that left the size of axis `open` to be worked out (-1: of none). */
ssld_status ssld_onnx_reshape_open(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t ndims,
                                   const struct whole *dims, int32_t open, struct operand *result);
/* RESHAPE that only adds and takes away axes of one element: `from` says for each axis of the result which one it was, -1: new. */
ssld_status ssld_onnx_rearrange(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t ndims,
                                const int32_t *from, struct operand *result);

/* How the file sees the result of broadcasting; refuses what would mix images. */
ssld_status ssld_onnx_broadcast_views(const struct reader *reader, const onnx_node *node, int32_t count,
                                      const struct operand *operands, struct view *view);
int64_t ssld_view_elements(const struct view *view);

/* -- Folding (fold.c) --------------------------------------------------------------------------------------------- */

/* The constant that an operator makes of constants. */
ssld_status ssld_onnx_fold(struct reader *reader, const onnx_node *node, int32_t kind,
                           const struct ssld_attributes *attributes, int32_t count, const struct operand *operands,
                           const struct view *view, struct operand *result);
/* A comparison of two whole numbers for every N: -1, 0, 1; SSLD_UNSUPPORTED where N decides. */
ssld_status ssld_whole_compare(const struct reader *reader, const onnx_node *node, struct whole a, struct whole b,
                               int *order);

/* -- Converters of other files ------------------------------------------------------------------------------------ */

typedef ssld_status onnx_convert(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes);

/* elementwise.c */
onnx_convert ssld_onnx_convert_binary, ssld_onnx_convert_unary, ssld_onnx_convert_variadic, ssld_onnx_convert_where,
    ssld_onnx_convert_clip, ssld_onnx_convert_prelu, ssld_onnx_convert_thresholded_relu, ssld_onnx_convert_cast;
/* attention.c */
onnx_convert ssld_onnx_convert_attention;
/* matrices.c */
onnx_convert ssld_onnx_convert_gemm, ssld_onnx_convert_matmul, ssld_onnx_convert_softmax, ssld_onnx_convert_reduce,
    ssld_onnx_convert_layer_norm, ssld_onnx_convert_group_norm, ssld_onnx_convert_instance_norm;
/* moves.c */
onnx_convert ssld_onnx_convert_reshape, ssld_onnx_convert_flatten, ssld_onnx_convert_squeeze,
    ssld_onnx_convert_unsqueeze, ssld_onnx_convert_transpose, ssld_onnx_convert_concat, ssld_onnx_convert_split,
    ssld_onnx_convert_slice, ssld_onnx_convert_gather, ssld_onnx_convert_expand, ssld_onnx_convert_tile,
    ssld_onnx_convert_depth_to_space, ssld_onnx_convert_space_to_depth, ssld_onnx_convert_pad;
/* windows.c */
onnx_convert ssld_onnx_convert_conv, ssld_onnx_convert_pool, ssld_onnx_convert_lp_pool, ssld_onnx_convert_global_pool;
/* resize.c */
onnx_convert ssld_onnx_convert_resize, ssld_onnx_convert_upsample;
/* shapes.c: of whole numbers */
onnx_convert ssld_onnx_convert_constant, ssld_onnx_convert_shape, ssld_onnx_convert_size, ssld_onnx_convert_range,
    ssld_onnx_convert_constant_of_shape, ssld_onnx_convert_scatter_nd;

#endif
