/* SPDX-License-Identifier: BSD-2-Clause */
/* writer.h - the state of writing one ONNX file, and what its two files share: write.c has the message, the file and the operators
 * of feature maps, write_general.c those of any rank.
 *
 * The graph has no batch axis, a file needs one. The file's tensor for a value has the batch in its first axis together with the
 * rows an image has there, (N * dims[0], dims[1], ...); or, where an operator does something to that axis, apart before it,
 * (N, dims[0], dims[1], ...): the leading form. */
#ifndef SSLD_LIB_ONNX_WRITER_H
#define SSLD_LIB_ONNX_WRITER_H

#include "graph/graph.h"
#include "onnx.pb-c.h"

/* TensorProto.data_type, AttributeProto.type */
#define WRITE_FLOAT 1
#define WRITE_INT64 7
#define WRITE_BOOL 9
#define WRITE_ATTRIBUTE_FLOAT 1
#define WRITE_ATTRIBUTE_INT 2
#define WRITE_ATTRIBUTE_STRING 3
#define WRITE_ATTRIBUTE_INTS 7

struct chunk;

struct writer {
    ssld_context            *context;
    const struct ssld_graph *graph;
    Ssld__Onnx__GraphProto  *proto;
    struct chunk            *chunks;   /* all memory of the message */
    bool                    *written;  /* values that are initializers already */
    int32_t                 *standing; /* the value that stands for each: another where a node is left out */
    bool                    *leading;  /* of each value: the form it is made in */
    char                   **other_forms; /* its name in the other form, NULL: nobody wanted it yet */
    ssld_status              status;
};

/* Zeroed memory that lives as long as the writer; NULL when there is none, which is kept as the writer's status. All functions
 * take NULL for a name, do nothing then and give NULL. */
void *ssld_write_take(struct writer *writer, size_t size);
void *ssld_write_initialised(void *message, const ProtobufCMessageDescriptor *descriptor);

/* A message of a generated type, initialised; NULL without memory. */
#define NEW(writer, type, function)                                                                                  \
    ((Ssld__Onnx__##type *)ssld_write_initialised(ssld_write_take(writer, sizeof(Ssld__Onnx__##type)),                \
                                                  &ssld__onnx__##function##__descriptor))

char *ssld_write_text(struct writer *writer, const char *first, const char *second); /* joined */

Ssld__Onnx__TensorProto *ssld_write_tensor(struct writer *writer, char *name, int32_t type, int32_t ndims,
                                           const int64_t *dims);
void ssld_write_floats(struct writer *writer, char *name, int32_t ndims, const int64_t *dims, size_t elements,
                       float *data);
/* A value of the graph that is a constant, unless it is written already. */
void  ssld_write_constant(struct writer *writer, const struct ssld_node *reader, int32_t value);
/* A number that is an attribute in the graph and an input in ONNX; returns its name. */
char *ssld_write_number(struct writer *writer, const char *base, const char *suffix, float number);

/* A node with room for inputs and attributes; its strings are borrowed. */
Ssld__Onnx__NodeProto *ssld_write_node(struct writer *writer, char *name, const char *operator_name, char *output);
Ssld__Onnx__AttributeProto *ssld_write_attribute(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name,
                                                 int32_t type);
void  ssld_write_int(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name, int64_t number);
void ssld_write_ints(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name, int32_t count,
                     const int32_t *numbers);
void  ssld_write_listed(struct writer *writer, Ssld__Onnx__NodeProto *node, const struct ssld_node *from);
/* A node of one or two inputs; returns its output. */
char *ssld_write_part(struct writer *writer, char *name, const char *operator_name, char *first, char *second,
                      char *output);
/* The same, called "<output><suffix>". */
char *ssld_write_inner(struct writer *writer, const char *output, const char *suffix, const char *operator_name,
                       char *first, char *second);
void  ssld_write_transpose(struct writer *writer, char *name, char *src, int32_t ndims, const int32_t *perm, char *dst);

/* -- write_general.c ---------------------------------------------------------------------------------------------- */

/* Does the node want this input, and does it make its output, in the leading form? */
bool  ssld_write_is_leading(const struct writer *writer, const struct ssld_node *node, int32_t input);
bool  ssld_write_makes_leading(const struct writer *writer, const struct ssld_node *node);
/* The name of a value in a form; a Reshape makes it where it is not there yet. */
char *ssld_write_form(struct writer *writer, int32_t value, bool leading);
void  ssld_write_general(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output);

#endif
