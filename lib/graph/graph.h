/* SPDX-License-Identifier: BSD-2-Clause */
/* graph.h - a network as data: values, nodes, attributes. No ONNX types, no oneDNN types, no computing.
 *
 * Operators, their attributes and their defaults are ONNX's, so that the ONNX part needs no operator of its own: a row of the
 * operator table (ops.c) names the operator and says where each attribute stands in the node.
 *
 * An activation's dims are those it has for one image: the exporter's tensor with N = 1. A batch is that tensor once for each
 * image, one behind the other, and no operator mixes images, so none of an activation's axes is the batch: (1, C, H, W) is a
 * feature map and (1, F) features, but (64, 49, 96) may be the windows of an image, and (3, 1, 6, 197, 64) its queries, keys
 * and values, all axes of which may be moved, sliced and summed over. Whoever runs the graph chooses the batch. Nodes stand in
 * execution order. */
#ifndef SSLD_LIB_GRAPH_GRAPH_H
#define SSLD_LIB_GRAPH_GRAPH_H

#include "core/context.h"

#define SSLD_MOST_DIMS 6
#define SSLD_MOST_INPUTS 32 /* of a Concat */
#define SSLD_NO_VALUE (-1)

/* What an operator is. New ones go to the end: fingerprints of models hold these numbers. */
enum ssld_op_kind {
    SSLD_OP_CONV, /* src, weights (O, I / group, KH, KW) [, bias (O)]; fused: [, a summand of its output's shape] */
    SSLD_OP_BATCH_NORM, /* src, scale (C), shift (C), mean (C), variance (C) */
    SSLD_OP_RELU,
    SSLD_OP_CLIP,         /* to 0 .. 6 and the like; constant bounds are attributes here */
    SSLD_OP_HARD_SWISH,   /* x * clip(x / 6 + 1 / 2, 0, 1) */
    SSLD_OP_HARD_SIGMOID, /* clip(alpha * x + beta, 0, 1) */
    SSLD_OP_SIGMOID,
    SSLD_OP_MAX_POOL,
    SSLD_OP_AVERAGE_POOL,
    SSLD_OP_GLOBAL_AVERAGE_POOL, /* (N, C, H, W) -> (N, C, 1, 1) */
    SSLD_OP_ADD,                 /* two activations of one shape */
    SSLD_OP_MUL,                 /* activation (N, C, H, W) times (N, C, 1, 1) or (N, 1, H, W), or of one shape */
    SSLD_OP_SCALE,               /* activation times a constant number: Mul by a scalar initializer; attributes.scale */
    SSLD_OP_GEMM,                /* src (N, F), weights (K, F) after transB, [, bias (K)] */
    SSLD_OP_FLATTEN,             /* (N, C, H, W) -> (N, C * H * W) */
    SSLD_OP_DROPOUT,
    SSLD_OP_IDENTITY,
    SSLD_OP_LEAKY_RELU, /* x, alpha * x below 0 */
    SSLD_OP_PRELU,      /* src, slopes (C) or (1): x, slope * x below 0 */
    SSLD_OP_SILU,       /* x * sigmoid(x) */
    SSLD_OP_GELU,       /* x / 2 * (1 + erf(x / sqrt(2))) */
    SSLD_OP_GELU_TANH,  /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) */
    SSLD_OP_TANH,
    SSLD_OP_CONCAT,     /* activations that differ in their channels only, behind one another */
    SSLD_OP_SLICE,      /* channels begin .. end (without end) */
    SSLD_OP_LAYER_NORM, /* src, scale (C) [, shift (C)]: over `axis` of C elements, at each position of the others apart */

    /* General operators, of any rank. Where an input is said to be any, it may be a constant (a parameter or a buffer), the first
     * one too, but not all of them. */
    SSLD_OP_UNARY,         /* `function` of one number: SSLD_UNARY_x, with alpha and beta */
    SSLD_OP_BINARY,        /* a, b, any: `function` SSLD_BINARY_x with ONNX's broadcasting */
    SSLD_OP_WHERE,         /* condition, a, b, any: a where the condition is not 0, else b; with broadcasting */
    SSLD_OP_MATMUL,        /* a (..., M, K), b (..., K, N), any [, bias (N)]: leading axes broadcast */
    SSLD_OP_SOFTMAX,       /* over `axis` */
    SSLD_OP_LOG_SOFTMAX,   /* over `axis` */
    SSLD_OP_REDUCE,        /* `function` SSLD_REDUCE_x over all axes whose flag is set in `axes`; keepdims */
    SSLD_OP_TRANSPOSE,     /* axis i of the output is axis perm[i] of the input */
    SSLD_OP_RESHAPE,       /* to `rank` axes of `sizes` */
    SSLD_OP_JOIN,          /* any: behind one another along `axis`. CONCAT is this for channels of activations alone */
    SSLD_OP_STRIDED_SLICE, /* of each axis `sizes` elements from `starts` on, `steps` apart (may be negative) */
    SSLD_OP_GATHER, /* src, indices: a constant vector; element i along `axis` is the indices[i]-th (0 or more) */
    SSLD_OP_PAD,    /* `before` and `after` each axis; `mode` SSLD_PAD_x, with alpha as the constant */
    SSLD_OP_TILE,   /* each axis repeated `sizes` times */
    SSLD_OP_RESIZE, /* (1, C, H, W) to sizes[2], sizes[3]: `mode`, `coordinates`, `rounding`; see ssld_resize_source() */
    SSLD_OP_LRN,    /* x / (bias + alpha / size * sum of squares over `size` channels around)^beta, axis 1 */
    SSLD_OP_GROUP_NORM, /* src, scale (C), shift (C): axis 1 in `group` groups, each normalised over its channels and all
                            * further axes. Instance norm has C groups */
    SSLD_OP_REORDER,    /* the engine's: the same numbers in another layout, `mode` */
    SSLD_OP_KINDS
};

/* New ones go to the end here too. */
enum ssld_unary {
    SSLD_UNARY_SQRT,
    SSLD_UNARY_EXP,
    SSLD_UNARY_LOG,
    SSLD_UNARY_ABS,
    SSLD_UNARY_NEG,
    SSLD_UNARY_RECIPROCAL,
    SSLD_UNARY_ERF,
    SSLD_UNARY_SOFTPLUS, /* ln(1 + e^x) */
    SSLD_UNARY_SOFTSIGN, /* x / (1 + |x|) */
    SSLD_UNARY_ELU,      /* x, alpha * (e^x - 1) below 0 */
    SSLD_UNARY_CELU,     /* x, alpha * (e^(x / alpha) - 1) below 0 */
    SSLD_UNARY_SELU,     /* beta * (x, alpha * (e^x - 1) below 0); ONNX calls beta gamma */
    SSLD_UNARY_MISH,     /* x * tanh(ln(1 + e^x)) */
    SSLD_UNARY_FLOOR,
    SSLD_UNARY_CEIL,
    SSLD_UNARY_ROUND, /* halves to even */
    SSLD_UNARY_SIGN,
    SSLD_UNARY_SIN,
    SSLD_UNARY_COS,
    SSLD_UNARY_NOT, /* 1 of 0, 0 of everything else */
    SSLD_UNARIES
};

/* Comparisons and logic give 1 or 0. */
enum ssld_binary {
    SSLD_BINARY_ADD,
    SSLD_BINARY_SUB,
    SSLD_BINARY_MUL,
    SSLD_BINARY_DIV,
    SSLD_BINARY_POW,
    SSLD_BINARY_MIN,
    SSLD_BINARY_MAX,
    SSLD_BINARY_EQUAL,
    SSLD_BINARY_GREATER,
    SSLD_BINARY_GREATER_OR_EQUAL,
    SSLD_BINARY_LESS,
    SSLD_BINARY_LESS_OR_EQUAL,
    SSLD_BINARY_AND,
    SSLD_BINARY_OR,
    SSLD_BINARY_XOR,
    SSLD_BINARY_MOD,  /* the remainder has the divisor's sign */
    SSLD_BINARY_FMOD, /* it has the dividend's, as C's fmod() */
    SSLD_BINARIES
};

enum ssld_reduce {
    SSLD_REDUCE_MEAN, SSLD_REDUCE_SUM, SSLD_REDUCE_MAX, SSLD_REDUCE_MIN, SSLD_REDUCE_PROD,
    SSLD_REDUCE_L1,         /* sum |x| */
    SSLD_REDUCE_L2,         /* sqrt(sum x^2) */
    SSLD_REDUCE_LOG_SUM,    /* ln(sum x) */
    SSLD_REDUCE_LOG_SUM_EXP, /* ln(sum e^x) */
    SSLD_REDUCE_SUM_SQUARE, /* sum x^2 */
    SSLD_REDUCTIONS
};

enum ssld_pad { SSLD_PAD_CONSTANT, SSLD_PAD_REFLECT, SSLD_PAD_EDGE, SSLD_PAD_WRAP, SSLD_PAD_MODES };
enum ssld_resize { SSLD_RESIZE_NEAREST, SSLD_RESIZE_LINEAR, SSLD_RESIZE_MODES };

/* Where pixel x of the output lies in the input: ONNX's coordinate_transformation_mode. */
enum ssld_coordinates {
    SSLD_COORDINATES_HALF_PIXEL,         /* (x + 1/2) / scale - 1/2 */
    SSLD_COORDINATES_PYTORCH_HALF_PIXEL, /* the same, 0 for an output of one pixel */
    SSLD_COORDINATES_ALIGN_CORNERS,      /* x * (in - 1) / (in * scale - 1) */
    SSLD_COORDINATES_ASYMMETRIC,         /* x / scale */
    SSLD_COORDINATES_HALF_PIXEL_SYMMETRIC, /* as half_pixel, centred where out is not in * scale */
    SSLD_COORDINATES_TF_HALF_PIXEL,      /* (x + 1/2) / scale: opset 11's tf_half_pixel_for_nn */
    SSLD_COORDINATES
};

/* What nearest takes of a coordinate: ONNX's nearest_mode. */
enum ssld_rounding {
    SSLD_ROUND_PREFER_FLOOR, /* halves down */
    SSLD_ROUND_PREFER_CEIL,  /* halves up */
    SSLD_ROUND_FLOOR, SSLD_ROUND_CEIL,
    SSLD_ROUNDINGS
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
    int32_t group;              /* CONV, GROUP_NORM */
    int32_t count_include_pad;  /* AVERAGE_POOL */
    int32_t ceil_mode;          /* MAX_POOL, AVERAGE_POOL */
    float   epsilon;            /* BATCH_NORM, LAYER_NORM, GROUP_NORM */
    float   momentum;           /* BATCH_NORM: running = momentum * running + (1 - momentum) * batch */
    float   alpha, beta;        /* as in struct ssld_activation; UNARY, LRN; PAD: alpha */
    float   scale;              /* SCALE; MATMUL: of the product; LRN: the bias */
    float   ratio;              /* DROPOUT */
    int32_t begin, end;         /* SLICE */
    int32_t downscale_in_infer; /* DROPOUT: PaddleClas's mode: x * mask when training, x * (1 - ratio) at inference */
    int32_t function;           /* UNARY, BINARY, REDUCE: SSLD_UNARY_x and so on */
    int32_t axis;               /* LAYER_NORM, SOFTMAX, LOG_SOFTMAX, JOIN, GATHER: 0 or more */
    int32_t keepdims;           /* REDUCE: reduced axes stay, of one element; else they go */
    int32_t rank;               /* RESHAPE */
    int32_t mode;               /* PAD, RESIZE, REORDER */
    int32_t coordinates, rounding; /* RESIZE */
    int32_t size;               /* LRN: channels in a sum */
    float   scales[2];          /* RESIZE: of height and width */
    int32_t axes[SSLD_MOST_DIMS];   /* REDUCE: 1 for an axis that is reduced */
    int32_t perm[SSLD_MOST_DIMS];   /* TRANSPOSE */
    int32_t sizes[SSLD_MOST_DIMS];  /* RESHAPE, STRIDED_SLICE, RESIZE: of the output; TILE: repeats */
    int32_t starts[SSLD_MOST_DIMS], steps[SSLD_MOST_DIMS]; /* STRIDED_SLICE */
    int32_t before[SSLD_MOST_DIMS], after[SSLD_MOST_DIMS]; /* PAD */
};

/* What a value is. */
enum ssld_value_role {
    SSLD_VALUE_ACTIVATION, /* the input, and every node's output */
    SSLD_VALUE_PARAMETER, /* trainable: convolution and Gemm weights and biases, norms' scale and shift, PReLU's slopes, tokens */
    SSLD_VALUE_BUFFER /* batch norm's mean and variance; indices, bounds and other numbers that nobody learns */
};

struct ssld_value {
    char   *name;
    int32_t role;
    int32_t ndims;
    int64_t dims[SSLD_MOST_DIMS]; /* unused ones are 1; of an activation: for one image */
    float  *data;                 /* row-major; NULL for activations */
    bool    no_decay;             /* L2 leaves it alone: norms' scale and shift where the recipe says so */
    int32_t kept; /* 1 and more: wanted for itself too, as if one more node read it; not copied with the graph */
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
    int32_t            input;  /* value: (1, C, H, W), whatever order of axes a file had */
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
                                const int32_t *inputs, const struct ssld_attributes *attributes,
                                const char *output_name, int32_t *output);

/* The same, at place `at` of the nodes; node and value get a name that begins with `name` and that no other value has. */
ssld_status ssld_graph_insert_node(struct ssld_graph *graph, int32_t at, int32_t kind, const char *name,
                                   int32_t input_count, const int32_t *inputs, const struct ssld_attributes *attributes,
                                   int32_t *output);
/* Append a node that is whole already, whose output is a value of the graph. It takes the node's name over, on failure too. */
ssld_status ssld_graph_append_node(struct ssld_graph *graph, const struct ssld_node *node);

/* -- The operator table ------------------------------------------------------------------------------------------- */

/* Where an ONNX attribute stands in struct ssld_attributes, and its type there. */
enum ssld_attribute_type { SSLD_ATTRIBUTE_INT, SSLD_ATTRIBUTE_FLOAT, SSLD_ATTRIBUTE_INTS };

struct ssld_attribute {
    const char *name;   /* ONNX's */
    int32_t     type;
    size_t      offset; /* in struct ssld_attributes */
    int32_t     count;  /* SSLD_ATTRIBUTE_INTS: how many */
    bool        internal; /* the graph's own form: no file has it so */
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

/* Pads at the ends for one window more where cells are left over: ONNX's ceil_mode. */
void ssld_window_pad_ceil(struct ssld_window *window, const int64_t input[2]);

/* ONNX's name for the operator of a node: of its function, where the kind has one. */
const char *ssld_node_operator(const struct ssld_node *node);

/* One number through a function, as every part of the library defines it: in double, so that a constant folded at load and a
 * reference in a test are the same. */
double ssld_unary_value(int32_t function, double alpha, double beta, double x);
double ssld_binary_value(int32_t function, double a, double b);
double ssld_activation_value(const struct ssld_activation *activation, double x);

/* RESIZE: the place in an input of `in` pixels where pixel x of `out` lies, axis 0 height, 1 width; not clipped. Nearest takes
 * ssld_resize_round() of it, linear the two pixels around it, clipped to 0 .. in - 1. */
double  ssld_resize_source(const struct ssld_attributes *attributes, int32_t axis, int64_t in, int64_t out, int64_t x);
int64_t ssld_resize_round(int32_t rounding, double place, int64_t in); /* clipped */

/* ONNX's broadcasting of two shapes, last axes aligned; false if they do not fit. */
bool ssld_broadcast_dims(const struct ssld_value *a, const struct ssld_value *b, struct ssld_value *dst);

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
/* What files spell with several nodes becomes the one that it is: GELU in both forms, hard swish and hard sigmoid, mish, softplus,
 * layer norm, softmax (patterns.c). */
ssld_status ssld_graph_join_patterns(struct ssld_graph *graph);
/* TRANSPOSE moves down until it meets its inverse: a file with its channels last (TensorFlow's, or ConvNeXt's blocks) is run with
 * (N, C, H, W) throughout. What remains is where the order of elements really changes (transposes.c). */
ssld_status ssld_graph_move_transposes(struct ssld_graph *graph);
/* The special operators, which training and fusion know, in the place of general ones: BINARY into ADD, MUL, SCALE, RELU, CLIP
 * and biases, REDUCE into GLOBAL_AVERAGE_POOL, RESHAPE into FLATTEN, JOIN into CONCAT, STRIDED_SLICE into SLICE (specialise.c). */
ssld_status ssld_graph_specialise(struct ssld_graph *graph);
/* MUL of x with a gate of x that nobody else reads is one node: HARD_SIGMOID(x; 1/6, 1/2) makes HARD_SWISH(x), SIGMOID(x)
 * makes SILU(x), SIGMOID(2 * sqrt(2 / pi) * (x + 0.044715 * x^3)) makes GELU_TANH(x). */
ssld_status ssld_graph_join_gates(struct ssld_graph *graph);

/* Batch norm behind a convolution without other readers becomes part of its weights and bias (computed in double). What
 * remains (a batch norm elsewhere) stays a BATCH_NORM node. */
ssld_status ssld_graph_fold_batch_norm(struct ssld_graph *graph);
/* Convolutions of one source that are added become one, in the larger one's place. */
ssld_status ssld_graph_merge_branches(struct ssld_graph *graph);
/* An activation whose input is a CONV, BATCH_NORM, ADD or GEMM output without other readers moves into that node. For training
 * only where backward needs nothing more than before: into BATCH_NORM, and RELU into ADD. */
ssld_status ssld_graph_fuse_activations(struct ssld_graph *graph, bool for_training);
/* IDENTITY goes; DROPOUT becomes nothing or, with downscale_in_infer, a SCALE by 1 - ratio. */
ssld_status ssld_graph_drop_training_nodes(struct ssld_graph *graph);

/* For inference only (fuse_inference.c). First: numbers that outputs of a product are multiplied with, or that are added to them, go
 * into its weights and bias, those of attention's scores into MATMUL's scale; PAD by zeros into the window behind it. */
ssld_status ssld_graph_fold_constants(struct ssld_graph *graph);
/* Then, behind ssld_graph_fuse_activations(): activations into MATMUL, residual sums into CONV as its input 3. */
ssld_status ssld_graph_join_results(struct ssld_graph *graph);

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
