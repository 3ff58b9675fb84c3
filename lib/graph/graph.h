/* SPDX-License-Identifier: BSD-2-Clause */
/* graph.h - a network as data: values, nodes, attributes. No ONNX types, no oneDNN types, no computing.
 *
 * Operators, their attributes and their defaults are ONNX's, so that the ONNX part needs no operator of its own: a row of the
 * operator table (ops.c) names the operator and says where each attribute stands in the node. Shapes are (N, C, H, W) or
 * (N, F); activations are stored with N = 1, and whoever runs the graph chooses the batch. Nodes stand in execution order. */
#ifndef SSLD_LIB_GRAPH_GRAPH_H
#define SSLD_LIB_GRAPH_GRAPH_H

#include "core/context.h"

#define SSLD_MOST_DIMS 4
#define SSLD_MOST_INPUTS 32 /* of a Concat */
#define SSLD_NO_VALUE (-1)

/* What an operator is. New ones go to the end: fingerprints of models hold these numbers. */
enum ssld_op_kind {
    SSLD_OP_CONV,             /* src, weights (O, I / group, KH, KW) [, bias (O)] */
    SSLD_OP_BATCH_NORM,       /* src, scale (C), shift (C), mean (C), variance (C) */
    SSLD_OP_RELU,
    SSLD_OP_CLIP,             /* to 0 .. 6 and the like; constant bounds are attributes here */
    SSLD_OP_HARD_SWISH,       /* x * clip(x / 6 + 1 / 2, 0, 1) */
    SSLD_OP_HARD_SIGMOID,     /* clip(alpha * x + beta, 0, 1) */
    SSLD_OP_SIGMOID,
    SSLD_OP_MAX_POOL,
    SSLD_OP_AVERAGE_POOL,
    SSLD_OP_GLOBAL_AVERAGE_POOL, /* (N, C, H, W) -> (N, C, 1, 1) */
    SSLD_OP_ADD,              /* two activations of one shape */
    SSLD_OP_MUL,              /* activation (N, C, H, W) times (N, C, 1, 1) or (N, 1, H, W), or of one shape */
    SSLD_OP_SCALE,            /* activation times a constant number: Mul by a scalar initializer; attributes.scale */
    SSLD_OP_GEMM,             /* src (N, F), weights (K, F) after transB, [, bias (K)] */
    SSLD_OP_FLATTEN,          /* (N, C, H, W) -> (N, C * H * W) */
    SSLD_OP_DROPOUT,
    SSLD_OP_IDENTITY,
    SSLD_OP_LEAKY_RELU,       /* x, alpha * x below 0 */
    SSLD_OP_PRELU,            /* src, slopes (C) or (1): x, slope * x below 0 */
    SSLD_OP_SILU,             /* x * sigmoid(x) */
    SSLD_OP_GELU,             /* x / 2 * (1 + erf(x / sqrt(2))) */
    SSLD_OP_GELU_TANH,        /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) */
    SSLD_OP_TANH,
    SSLD_OP_CONCAT,           /* activations that differ in their channels only, behind one another */
    SSLD_OP_SLICE,            /* channels begin .. end (without end) */
    SSLD_OP_LAYER_NORM,       /* src, scale (C) [, shift (C)]: over the channels, at each position apart */
    SSLD_OP_KINDS
};

/* An activation that stands inside another node after fusion. */
struct ssld_activation {
    int32_t kind;  /* one that ssld_op_is_activation() knows; SSLD_OP_IDENTITY: none */
    float   alpha; /* clip: low; hard sigmoid, leaky ReLU: alpha */
    float   beta;  /* clip: high; hard sigmoid: beta */
};

struct ssld_window { /* convolution and pooling; order of a pair: height, width */
    int32_t kernel[2];
    int32_t strides[2];
    int32_t dilations[2];
    int32_t pads[4]; /* top, left, bottom, right: resolved, also for auto_pad and ceil_mode */
};

/* Attributes of a node; which member counts follows from its operator. */
struct ssld_attributes {
    struct ssld_window window;  /* CONV, MAX_POOL, AVERAGE_POOL */
    int32_t group;              /* CONV */
    int32_t count_include_pad;  /* AVERAGE_POOL */
    int32_t ceil_mode;          /* MAX_POOL, AVERAGE_POOL */
    float   epsilon;            /* BATCH_NORM, LAYER_NORM */
    float   momentum;           /* BATCH_NORM: running = momentum * running + (1 - momentum) * batch */
    float   alpha, beta;        /* as in struct ssld_activation */
    float   scale;              /* SCALE */
    float   ratio;              /* DROPOUT */
    int32_t begin, end;         /* SLICE */
    int32_t downscale_in_infer; /* DROPOUT: PaddleClas's mode: x * mask when training, x * (1 - ratio) at inference */
};

/* What a value is. */
enum ssld_value_role {
    SSLD_VALUE_ACTIVATION, /* the input, and every node's output */
    SSLD_VALUE_PARAMETER,  /* trainable: convolution and Gemm weights and biases, norms' scale and shift, PReLU's slopes */
    SSLD_VALUE_BUFFER      /* batch norm's mean and variance */
};

struct ssld_value {
    char   *name;
    int32_t role;
    int32_t ndims;
    int64_t dims[SSLD_MOST_DIMS]; /* unused ones are 1; dims[0] = 1 for activations */
    float  *data;                 /* row-major; NULL for activations */
    bool    no_decay;             /* L2 leaves it alone: norms' scale and shift where the recipe says so */
};

struct ssld_node {
    char                  *name;
    int32_t                kind; /* enum ssld_op_kind */
    int32_t                input_count;
    int32_t                inputs[SSLD_MOST_INPUTS]; /* value indices; SSLD_NO_VALUE for an optional one left out */
    int32_t                output;
    struct ssld_attributes attributes;
    struct ssld_activation activation; /* CONV, BATCH_NORM, ADD, GEMM: applied to the output */
};

struct ssld_graph {
    ssld_context      *context;
    char              *name;
    struct ssld_value *values;
    int32_t            value_count, value_capacity;
    struct ssld_node  *nodes;
    int32_t            node_count, node_capacity;
    int32_t            input;  /* value: (1, C, H, W) */
    int32_t            output; /* value: (1, classes) */
};

/* -- Making a graph ----------------------------------------------------------------------------------------------- */

ssld_status ssld_graph_create(ssld_context *context, const char *name, struct ssld_graph **graph);
void        ssld_graph_destroy(struct ssld_graph *graph); /* NULL is ignored */
ssld_status ssld_graph_clone(const struct ssld_graph *graph, struct ssld_graph **copy);
/* The same without constants' data (NULL); cloned once more by ssld_graph_clone() they get zeros. */
ssld_status ssld_graph_clone_form(const struct ssld_graph *graph, struct ssld_graph **copy);
void        ssld_graph_release_data(struct ssld_graph *graph); /* of all constants */

/* An activation (data NULL) or a constant, whose data is copied; data may be NULL for constants too: zeros then.
 * Names are copied; NULL makes one up. */
ssld_status ssld_graph_add_value(struct ssld_graph *graph, const char *name, int32_t role, int32_t ndims,
                                 const int64_t *dims, const float *data, int32_t *value);

/* The attributes of `kind` at their ONNX defaults. */
struct ssld_attributes ssld_op_defaults(int32_t kind);

/* Append a node and its output value, whose shape the operator's rule gives. SSLD_INVALID_ARGUMENT if the inputs do not fit,
 * the text naming the node. The output value's name is the node's unless given. */
ssld_status ssld_graph_add_node(struct ssld_graph *graph, int32_t kind, const char *name, int32_t input_count,
                                const int32_t *inputs, const struct ssld_attributes *attributes, const char *output_name,
                                int32_t *output);

/* -- The operator table ------------------------------------------------------------------------------------------- */

/* Where an ONNX attribute stands in struct ssld_attributes, and its type there. */
enum ssld_attribute_type { SSLD_ATTRIBUTE_INT, SSLD_ATTRIBUTE_FLOAT, SSLD_ATTRIBUTE_INTS };

struct ssld_attribute {
    const char *name;   /* ONNX's */
    int32_t     type;
    size_t      offset; /* in struct ssld_attributes */
    int32_t     count;  /* SSLD_ATTRIBUTE_INTS: how many */
};

struct ssld_op {
    const char                  *name; /* ONNX's operator; PaddleClas's for what ONNX has not */
    int32_t                      inputs_least, inputs_most;
    const struct ssld_attribute *attributes; /* ends with a NULL name */
    /* Shape of the output from the inputs' (values of the node's inputs); resolves pads. */
    ssld_status (*shape)(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst);
    /* Multiply-accumulates for one image; NULL: none worth counting. */
    int64_t (*macs)(const struct ssld_graph *graph, const struct ssld_node *node);
};

extern const struct ssld_op ssld_ops[SSLD_OP_KINDS];

/* Pads so that output = ceil(input / stride), ONNX's auto_pad: an odd cell goes to the end (upper) or the start. The window's
 * kernel must be known. */
void ssld_window_pad_same(struct ssld_window *window, const int64_t input[2], bool upper);

/* -- Questions ---------------------------------------------------------------------------------------------------- */

int64_t ssld_value_elements(const struct ssld_value *value); /* product of dims: for activations, of one image */
bool    ssld_op_is_activation(int32_t kind);                 /* of one number, without parameters: RELU to TANH */
struct ssld_activation ssld_node_as_activation(const struct ssld_node *node); /* of a node that is one */
int64_t ssld_graph_macs(const struct ssld_graph *graph);

/* SSLD_INTERNAL unless input and output are set, every value is made once and no node reads what is not made before it. */
ssld_status ssld_graph_check(const struct ssld_graph *graph);
/* How many nodes read each value (the graph's output counts as one more reader), and which node makes it (SSLD_NO_VALUE: none).
 * Arrays of value_count, each may be NULL. */
void ssld_graph_count_readers(const struct ssld_graph *graph, int32_t *readers, int32_t *producers);

/* -- Passes: they change the graph in place; one that fails (for want of memory) leaves a graph to be destroyed ---- */

/* Nodes and values that the output does not depend on go, the others are renumbered. The input stays. */
ssld_status ssld_graph_remove_unused(struct ssld_graph *graph);
/* MUL of x with a gate of x that nobody else reads is one node: HARD_SIGMOID(x; 1/6, 1/2) makes HARD_SWISH(x), SIGMOID(x)
 * makes SILU(x), SIGMOID(2 * sqrt(2 / pi) * (x + 0.044715 * x^3)) makes GELU_TANH(x). */
ssld_status ssld_graph_join_gates(struct ssld_graph *graph);

/* Batch norm behind a convolution without other readers becomes part of its weights and bias (computed in double). What
 * remains (a batch norm elsewhere) stays a BATCH_NORM node. */
ssld_status ssld_graph_fold_batch_norm(struct ssld_graph *graph);
/* An activation whose input is a CONV, BATCH_NORM, ADD or GEMM output without other readers moves into that node. For training
 * only where backward needs nothing more than before: into BATCH_NORM, and RELU into ADD. */
ssld_status ssld_graph_fuse_activations(struct ssld_graph *graph, bool for_training);
/* IDENTITY goes; DROPOUT becomes nothing or, with downscale_in_infer, a SCALE by 1 - ratio. */
ssld_status ssld_graph_drop_training_nodes(struct ssld_graph *graph);

/* -- The zoo ------------------------------------------------------------------------------------------------------ */

struct ssld_zoo_options { /* resolved: no defaults left */
    int32_t  classes, channels, height, width;
    bool     small;
    float    dropout; /* negative: the network's own */
    uint64_t seed;
};

/* Initial weights, a pure function of (seed, parameter index, element): the same bits on every machine. */
void ssld_fill_normal(struct ssld_value *value, uint64_t seed, uint32_t parameter, double deviation);
void ssld_fill_uniform(struct ssld_value *value, uint64_t seed, uint32_t parameter, double bound); /* -bound .. bound */

const char *ssld_zoo_name(int32_t index); /* NULL past the last */
ssld_status ssld_zoo_build(ssld_context *context, const char *name, const struct ssld_zoo_options *options,
                           struct ssld_graph **graph);

#endif
