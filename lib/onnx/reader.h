/* SPDX-License-Identifier: BSD-2-Clause */
/* reader.h - the state of reading one ONNX file: what its names stand for, the graph as far as it is made, what it may cost.
 *
 * read.c checks the file as a whole and walks its nodes; operators.c has the table of operators, whose converters turn one node
 * into graph nodes with convert.h's helpers; constants.c decodes what the file stores, fold.c computes what follows from
 * constants alone; payloads.c keeps weights out of the parsed message; names.c is the dictionary. */
#ifndef SSLD_LIB_ONNX_READER_H
#define SSLD_LIB_ONNX_READER_H

#include "core/file.h"
#include "graph/graph.h"
#include "onnx.pb-c.h"
#include "onnx/operators.h"

typedef Ssld__Onnx__NodeProto      onnx_node;
typedef Ssld__Onnx__TensorProto    onnx_tensor;
typedef Ssld__Onnx__AttributeProto onnx_attribute;

/* -- Shapes as the file sees them --------------------------------------------------------------------------------- */

/* A whole number that may depend on the batch: per * N + plus. */
struct whole {
    int64_t per, plus;
};

/* A tensor's shape with N = 1, and where the batch is in it. The graph has dims alone (graph.h): the batch is apart there. In the
 * file, axis `batch` has dims[batch] * N elements, in the order (outer, N, dims[batch] / outer): an exporter may well put the
 * batch behind the positions of a transformer, and merge both. */
struct view {
    int32_t ndims;  /* 0: a number */
    int64_t dims[SSLD_MOST_DIMS]; /* unused ones are 1 */
    int32_t batch;  /* -1: it does not depend on N */
    int64_t outer;
};

/* -- Constants ---------------------------------------------------------------------------------------------------- */

struct constant {
    struct constant   *next;     /* all of a reader's */
    bool               whole;    /* numbers are whole (integers, booleans) and in `wholes`; else in `floats` */
    int64_t            each;     /* of whole numbers along the batch: those of image n are n * each more */
    bool               learned;  /* comes from weights in the file: may be trained */
    int64_t            elements;
    float             *floats;   /* NULL until somebody asks: `tensor` has them */
    struct whole      *wholes;
    const onnx_tensor *tensor;   /* NULL: computed */
    const char        *name;     /* the initializer's; NULL: none */
    bool               used;     /* a value of the graph bears the name */
};

/* What converters pass around: a value of the graph or a constant, and how the file sees it. */
struct operand {
    struct view      view;
    int32_t          value;    /* SSLD_NO_VALUE: a constant */
    struct constant *constant; /* NULL: a value */
};

/* -- Names -------------------------------------------------------------------------------------------------------- */

enum entry_kind {
    ENTRY_IMAGE,  /* the input */
    ENTRY_INPUT,  /* any further input without a value */
    ENTRY_TENSOR, /* an initializer */
    ENTRY_OUTPUT  /* of a node */
};

/* What a name of the file stands for. */
struct entry {
    const char        *name;    /* lives as long as the message */
    int32_t            kind;
    const onnx_tensor *tensor;  /* ENTRY_TENSOR */
    struct operand     operand; /* neither value nor constant: not known (yet) */
    bool               live;    /* the file's output depends on it */
    bool               unknown; /* it comes from a node that is not supported */
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

/* -- Files beside the file ---------------------------------------------------------------------------------------- */

struct external {
    struct external *next;
    struct ssld_map  map;
    char             location[]; /* as the file names it */
};

/* -- The reader --------------------------------------------------------------------------------------------------- */

struct reader {
    ssld_context      *context;
    const char        *file; /* for texts */
    const char        *folder; /* of external data; NULL: there is none */
    const uint8_t     *bytes;  /* the file */
    size_t             size;
    int64_t            opset;
    int64_t            fixed_batch; /* the batch that the file was exported with; 1: any */
    struct ssld_graph *graph;
    struct names       names;
    struct constant   *constants;
    struct external   *externals;
    const char        *output; /* name of the logits */
    uint64_t           limit;  /* the option memory_limit */
    uint64_t           allowed; /* bytes in all, by the limit and by the size of the file */
    uint64_t           taken;   /* of them, never given back: it bounds the work too */
    bool               over_budget, no_memory; /* why parsing failed, if not for the bytes */
    uint32_t           made_up; /* counts made-up names */
    int32_t            own_values; /* values of the graph that the node at hand made begin here */
};

/* Take so many bytes out of what the file may cost; a text with the remedy if there are not so many left. */
ssld_status ssld_onnx_spend(struct reader *reader, uint64_t bytes);

/* A text "node 'name' (Operator): ..." with its status; read.c puts the file's name before it and collects SSLD_UNSUPPORTED. */
ssld_status ssld_onnx_refuse(const struct reader *reader, const onnx_node *node, ssld_status status, const char *format,
                             ...) SSLD_PRINTF(4, 5);

/* The name of input `index`, NULL if it is left out. */
const char *ssld_onnx_input_name(const onnx_node *node, size_t index);
/* Its entry; NULL if it is left out. */
struct entry *ssld_onnx_input(const struct reader *reader, const onnx_node *node, size_t index);

/* "name_7": a name that the file does not have. `size` at least 256. */
const char *ssld_onnx_new_name(struct reader *reader, const char *name, char *made_up, size_t size);

/* -- Payloads (payloads.c) ---------------------------------------------------------------------------------------- */

/* A copy of a file in which large data of tensors is replaced by the place it has in the file: what is parsed then is small,
 * however large the weights are. SSLD_FORMAT if the bytes are no nest of messages. */
ssld_status ssld_onnx_take_payloads_out(struct reader *reader, uint8_t **stripped, size_t *size);

/* -- Constants (constants.c) -------------------------------------------------------------------------------------- */

/* A tensor of the file as an operand; its data is checked, numbers that are whole are decoded, floats when asked for. */
ssld_status ssld_onnx_tensor_operand(struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                     struct operand *operand);
/* An empty constant of so many elements with its memory, kept by the reader. */
ssld_status ssld_onnx_new_constant(struct reader *reader, bool whole, int64_t elements, struct constant **constant);
/* The floats of a constant, decoded or converted where they were not yet. SSLD_UNSUPPORTED where a whole number depends on N. */
ssld_status ssld_onnx_constant_floats(struct reader *reader, const onnx_node *node, struct constant *constant,
                                      const float **floats);
/* The same into memory of the caller's; transposed: (columns, rows) in the file is (rows, columns) here. */
ssld_status ssld_onnx_copy_floats(struct reader *reader, const onnx_node *node, struct constant *constant, int64_t rows,
                                  int64_t columns, bool transposed, float *dst);
void ssld_onnx_free_constants(struct reader *reader);

/* -- Operators ---------------------------------------------------------------------------------------------------- */

/* The node's attributes, those the operator's row does not give a place checked against what this library can do. */
ssld_status ssld_onnx_read_attributes(const struct reader *reader, const struct onnx_operator *row,
                                      const onnx_node *node, struct ssld_attributes *attributes);

#endif
