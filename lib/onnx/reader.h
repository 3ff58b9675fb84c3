/* SPDX-License-Identifier: BSD-2-Clause */
/* reader.h - the state of reading one ONNX file: what its names stand for, the graph as far as it is made, what it may cost.
 *
 * read.c checks the file as a whole and walks its nodes; operators.c turns one node into graph nodes, driven by a table, with
 * convert.h's helpers; tensors.c reads constants; names.c is the dictionary. */
#ifndef SSLD_LIB_ONNX_READER_H
#define SSLD_LIB_ONNX_READER_H

#include "graph/graph.h"
#include "onnx.pb-c.h"
#include "onnx/operators.h"

typedef Ssld__Onnx__NodeProto      onnx_node;
typedef Ssld__Onnx__TensorProto    onnx_tensor;
typedef Ssld__Onnx__AttributeProto onnx_attribute;

/* -- Names -------------------------------------------------------------------------------------------------------- */

enum entry_kind {
    ENTRY_IMAGE,  /* the input */
    ENTRY_INPUT,  /* any further input without a value */
    ENTRY_TENSOR, /* an initializer, a Constant's output, or another name for one */
    ENTRY_COLUMN, /* such a vector, (C), as (C, 1, 1): PReLU's slopes */
    ENTRY_OUTPUT  /* of a node */
};

/* What a name inside a GELU spelled with Erf stands for (gelu.c): factor * erf or factor * (1 + erf), times x or not. The entry's
 * value is x. */
struct gelu_part {
    enum { GELU_NONE, GELU_ERF, GELU_ERF_PLUS_ONE } stage;
    float factor;
    bool  times_x;
};

/* What a name of the file stands for. */
struct entry {
    const char        *name;       /* lives as long as the message or the graph */
    int32_t            kind;
    const onnx_tensor *tensor;     /* ENTRY_TENSOR, ENTRY_COLUMN */
    int32_t            value;      /* in the graph; SSLD_NO_VALUE: not there (yet) */
    int32_t            graph_node; /* that makes value, SSLD_NO_VALUE: none */
    int32_t            readers;    /* live nodes that read it, and the file's output */
    bool               live;       /* the file's output depends on it */
    bool               unknown;    /* it comes from a node that is not supported */
    bool               channels_last; /* the file sees (N, H, W, C) where the graph has (N, C, H, W) */
    struct gelu_part   gelu;
};

struct names {
    ssld_context *context;
    struct entry *entries;
    int32_t       count, capacity;
    int32_t      *slots; /* open addressing: index + 1 of an entry, 0 for free */
    uint32_t      slot_count; /* a power of two */
};

void ssld_names_free(struct names *names);
/* The entry of a name, NULL if there is none. Valid until the next ssld_names_add(). */
struct entry *ssld_names_find(const struct names *names, const char *name);
/* A new entry, which the caller has looked for before; NULL without memory. */
struct entry *ssld_names_add(struct names *names, const char *name, int32_t kind);

/* -- The reader --------------------------------------------------------------------------------------------------- */

struct reader {
    ssld_context      *context;
    const char        *file; /* for texts */
    struct ssld_graph *graph;
    struct names       names;
    const char        *output; /* name of the logits */
    size_t             budget; /* bytes that may still be allocated */
    bool               over_budget, no_memory; /* why parsing failed, if not for the bytes */
    uint32_t           made_up; /* counts made-up names */
};

/* A text "node 'name' (Operator): ..." with its status; read.c puts the file's name before it and collects SSLD_UNSUPPORTED. */
ssld_status ssld_onnx_refuse(const struct reader *reader, const onnx_node *node, ssld_status status, const char *format, ...)
    SSLD_PRINTF(4, 5);

/* The name of input `index`, NULL if it is left out. */
const char *ssld_onnx_input_name(const onnx_node *node, size_t index);
/* Its entry; NULL if it is left out. */
struct entry *ssld_onnx_input(const struct reader *reader, const onnx_node *node, size_t index);

/* "name_7": a name that the file does not have. `size` at least 256. */
const char *ssld_onnx_new_name(struct reader *reader, const char *name, char *made_up, size_t size);

/* -- Constants ---------------------------------------------------------------------------------------------------- */

/* Dimensions (at most SSLD_MOST_DIMS, the rest 1) and number of elements of a tensor, every claim checked. A scalar has 0
 * dimensions and 1 element. */
ssld_status ssld_onnx_tensor_shape(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                   int32_t *ndims, int64_t dims[SSLD_MOST_DIMS], int64_t *elements);
/* One float. */
ssld_status ssld_onnx_tensor_number(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                    float *number);
/* At most `most` 64-bit integers. */
ssld_status ssld_onnx_tensor_integers(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                      int32_t most, int64_t *integers, int32_t *count);
/* Add input `index`, a float constant, to the graph with the given shape; transposed: (a, b) in the file is (b, a) here.
 * Every use gets a value of its own, so that training treats two layers apart even where the exporter stored equal
 * initial values once. */
ssld_status ssld_onnx_add_constant(struct reader *reader, const onnx_node *node, size_t index, int32_t role, int32_t ndims,
                                   const int64_t *dims, bool transposed, int32_t *value);

/* -- Operators ---------------------------------------------------------------------------------------------------- */

/* The node's attributes, those the operator's row does not give a place checked against what this library can do. */
ssld_status ssld_onnx_read_attributes(const struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes);

#endif
