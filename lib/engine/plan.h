/* SPDX-License-Identifier: BSD-2-Clause */
/* plan.h - the inside of a plan, for the operators of this folder. */
#ifndef SSLD_LIB_ENGINE_PLAN_H
#define SSLD_LIB_ENGINE_PLAN_H

#include "engine/adapter.h"
#include "engine/engine.h"

/* -- Tensors ------------------------------------------------------------------------------------------------------ *
 *
 * Activations are (N, C/b, H, W, b): blocks of b channels, b the width that this CPU's convolutions want (16, 8) or 1,
 * which is plain NCHW. The last block is padded with zeros, and every operator keeps them zero. (N, F) tensors are plain. */
struct planes {
    int64_t n;        /* images */
    int64_t channels; /* without padding */
    int64_t blocks;   /* ceil(channels / b) */
    int64_t h, w;
    int64_t b;
};

struct tensor {
    struct planes planes;     /* (N, F): blocks = F, h = w = b = 1 */
    size_t        bytes;
    float        *data;       /* in the arena; parameters: their value */
    float        *diff;       /* in the arena; NULL if nobody wants it */
    int32_t       parameter;  /* index into plan->parameters, or -1 */
    bool          wants_diff; /* a parameter stands before it */
};

/* -- Parameters --------------------------------------------------------------------------------------------------- */

struct parameter {
    struct ssld_parameter visible;
    ssld_md              *plain;   /* both NULL for vectors, whose layout is plain with zeros behind */
    ssld_md              *layout;
    struct ssld_primitive to_plain, from_plain;
    int32_t               value;   /* in the graph */
};

/* -- Steps: a node with what its operator prepared ------------------------------------------------------------------ */

struct ssld_plan;

struct step {
    const struct ssld_node *node;
    const struct engine_op *op;
    void                   *state;           /* the operator's own, freed by its release */
    float                  *workspace;       /* in the arena, from forward to backward */
    size_t                  workspace_bytes; /* asked for in prepare */
    uint8_t                 accumulate;      /* bit i: diff of input i has an earlier part, ours is added to it */
};

/* What backward reads, which decides how long tensors live. */
#define READS_SRC 1 /* the node's activations that come in */
#define READS_DST 2 /* the one that goes out */

struct engine_op {
    int32_t kind; /* enum ssld_op_kind */
    uint8_t backward_reads;
    /* Give the output its planes, create primitives, declare parameters, ask for workspace. */
    ssld_status (*prepare)(struct ssld_plan *plan, struct step *step);
    /* All memory has its place now: create what needs addresses. NULL: nothing does. */
    ssld_status (*bind)(struct ssld_plan *plan, struct step *step);
    ssld_status (*forward)(struct ssld_plan *plan, struct step *step);
    /* Write every ssld_step_diff_src() that is not NULL, and the diffs of parameters. NULL: no backward. */
    ssld_status (*backward)(struct ssld_plan *plan, struct step *step);
    void (*release)(struct ssld_plan *plan, struct step *step); /* NULL: state needs no more than ssld_free */
};

extern const struct engine_op *const ssld_engine_ops[SSLD_OP_KINDS];
extern const struct engine_op ssld_op_convolution, ssld_op_inner_product, ssld_op_batch_norm, ssld_op_relu, ssld_op_clip,
    ssld_op_hard_swish, ssld_op_hard_sigmoid, ssld_op_sigmoid, ssld_op_max_pool, ssld_op_average_pool,
    ssld_op_global_average_pool, ssld_op_add, ssld_op_mul, ssld_op_scale, ssld_op_flatten, ssld_op_dropout,
    ssld_op_identity;

struct ssld_plan {
    ssld_context            *context;
    struct ssld_plan_options options;
    struct ssld_dnnl         dnnl;
    struct ssld_graph       *source; /* as it came: what a snapshot is made of */
    struct ssld_graph       *graph;  /* after the passes: what is run */
    int64_t                  block;  /* b */
    struct tensor           *tensors; /* one for each value of graph */
    struct step             *steps;   /* one for each node of graph */
    struct parameter        *parameters;
    int32_t                  parameter_count;
    char                    *arena;
    size_t                   arena_bytes;
    char                    *values;     /* all parameters' values, then all diffs */
    char                    *scratchpad; /* oneDNN's, shared by all primitives */
    size_t                   scratchpad_bytes;
    float                   *reordered;  /* weights on their way between two layouts, shared */
    size_t                   reordered_bytes;
    float                   *partial;    /* a kernel's partial sums, shared */
    size_t                   partial_bytes;
    char                    *accumulator; /* diffs added to an earlier part: one for each of two inputs */
    size_t                   accumulator_bytes; /* of one */
    uint64_t                 step;       /* of the last forward: dropout's */
    bool                     ready;      /* a forward has run: backward may */
};

static inline bool plan_trains(const struct ssld_plan *plan)
{
    return plan->options.mode == SSLD_PLAN_TRAIN;
}

/* -- For operators ------------------------------------------------------------------------------------------------ */

struct tensor *ssld_step_src(struct ssld_plan *plan, const struct step *step, int32_t input);
struct tensor *ssld_step_dst(struct ssld_plan *plan, const struct step *step);
/* Where backward writes the diff of input `input`: NULL if nobody wants it. */
float *ssld_step_diff_src(struct ssld_plan *plan, const struct step *step, int32_t input);

/* The output gets the planes; its size follows. */
void          ssld_tensor_set_planes(struct tensor *tensor, struct planes planes);
struct planes ssld_planes_of_value(const struct ssld_plan *plan, const struct ssld_value *value); /* in plan->block */
int64_t       ssld_planes_elements(const struct planes *planes); /* padding included */
/* A oneDNN descriptor of such a tensor: (N, C, H, W), or (N, F) with `flat`. */
ssld_status   ssld_planes_md(struct ssld_plan *plan, const struct planes *planes, bool flat, ssld_md **md);

/* Declare that input `input` is a parameter: a vector padded to whole blocks, or weights with two descriptors, which the
 * plan owns from then on. */
ssld_status ssld_plan_add_vector(struct ssld_plan *plan, const struct step *step, int32_t input);
ssld_status ssld_plan_add_weights(struct ssld_plan *plan, const struct step *step, int32_t input, ssld_md *plain,
                                  ssld_md *layout);
/* NULL: the input is left out. */
struct ssld_parameter *ssld_step_parameter(struct ssld_plan *plan, const struct step *step, int32_t input);

/* Say in prepare how much of a shared buffer an operator will use. */
void ssld_plan_need(size_t *bytes, size_t needed);

/* SSLD_BACKEND with the operator, the node and the direction: "Conv 'conv1', backward data: oneDNN ... answered ...". */
ssld_status ssld_step_fail(struct ssld_plan *plan, const struct step *step, dnnl_status_t status, const char *direction);

/* -- Calls: a oneDNN primitive with its arguments bound to the arena ------------------------------------------------ */

#define CALL_MOST_ARGUMENTS 6

struct call {
    struct ssld_primitive primitive;
    int32_t               count;
    dnnl_exec_arg_t       arguments[CALL_MOST_ARGUMENTS];
};

/* In prepare, once the primitive is made: its scratchpad is counted. */
void        ssld_call_made(struct ssld_plan *plan, const struct call *call);
/* In bind: argument DNNL_ARG_x, described by the primitive's own answer to (what, index), is at `handle`. */
ssld_status ssld_call_bind(struct ssld_plan *plan, struct call *call, int argument, dnnl_query_t what, int index,
                           float *handle);
/* In bind, last: the scratchpad. */
ssld_status ssld_call_bind_scratchpad(struct ssld_plan *plan, struct call *call);
ssld_status ssld_call_run(struct ssld_plan *plan, const struct step *step, const struct call *call,
                          const char *direction);
void        ssld_call_release(struct call *call);

/* In the order of a plan's making: memory for all parameters, then their values from the graph. */
ssld_status ssld_parameters_allocate(struct ssld_plan *plan);
ssld_status ssld_parameters_load(struct ssld_plan *plan);
void        ssld_parameters_release(struct ssld_plan *plan);

/* -- Threads ------------------------------------------------------------------------------------------------------ */

struct thread_settings {
    int32_t threads, dynamic;
};

struct thread_settings ssld_threads_enter(int32_t threads); /* returns what ssld_threads_leave() takes */
void                   ssld_threads_leave(struct thread_settings before);
int32_t                ssld_threads_granted(int32_t threads); /* how many of them OpenMP gives */
ssld_status            ssld_threads_check(ssld_context *context); /* SSLD_UNSUPPORTED where it would give one */

/* -- The arena ---------------------------------------------------------------------------------------------------- */

/* A block of memory wanted from time `first` to time `last`, both included. */
struct lifetime {
    size_t bytes;
    int32_t first, last;
    size_t offset; /* the answer */
};

/* Place the blocks so that no two that live at the same time overlap; returns the arena's size. `order` is working memory
 * for count indices. Greedy by size: largest first, each at the lowest gap that fits. */
size_t ssld_arena_place(struct lifetime *blocks, int32_t count, int32_t *order);

#endif
