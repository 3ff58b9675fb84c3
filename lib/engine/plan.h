/* SPDX-License-Identifier: BSD-2-Clause */
/* plan.h - the inside of a plan, for the operators of this folder. */
#ifndef SSLD_LIB_ENGINE_PLAN_H
#define SSLD_LIB_ENGINE_PLAN_H

#include "engine/adapter.h"
#include "engine/element.h"
#include "engine/engine.h"

/* -- Tensors ------------------------------------------------------------------------------------------------------ *
 *
 * Activations are (N, C/b, H, W, b): blocks of b channels, b the width that this CPU's convolutions want (16, 8) or 1,
 * which is plain NCHW. The last block is padded with zeros, and every operator keeps them zero. (N, F) tensors are plain.
 * In a plan with its channels last b is the number of channels: one block, (N, H, W, C), nothing padded. */
struct planes {
    int64_t n;        /* images */
    int64_t channels; /* without padding */
    int64_t blocks;   /* ceil(channels / b) */
    int64_t h, w;
    int64_t b;
    int32_t type;     /* ELEMENT_x of the data; diffs are plan->type always */
};

/* While a step runs, planes, bytes, data and diff are those of the chunk at hand: some images, or a part of one (schedule.c). */
struct tensor {
    struct planes planes;      /* (N, F): blocks = F, h = w = b = 1 */
    size_t        image_bytes; /* of one image */
    size_t        bytes;       /* of the chunk */
    int64_t       channels, blocks; /* of whole images, where planes are those of a part */
    void         *data;        /* in the arena; parameters: their value */
    void         *diff;        /* in the arena; NULL if nobody wants it */
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
    size_t                given;   /* floats that backward gives of its diff; what pads it stays zero */
    size_t                part;    /* floats before it in what a worker has for the diffs of a segment */
};

/* -- Steps: a node with what its operator prepared ------------------------------------------------------------------ */

struct ssld_plan;

struct step {
    const struct ssld_node *node;
    const struct engine_op *op;
    void                   *state;           /* the operator's own, freed by its release */
    void                   *workspace;       /* in the arena, from forward to backward */
    size_t                  workspace_bytes; /* of one image, asked for in prepare */
    uint32_t                accumulate;      /* bit i: diff of input i has an earlier part, ours is added to it */
    int32_t                 forward_segment, backward_segment; /* where it runs; -1: nowhere, or wherever it is needed */
    double                  accumulate_seconds; /* of its backward's, spent on accumulate while the plan was profiled */
};

/* -- The schedule: segments of actions, each segment run chunk by chunk (schedule.c) --------------------------------- */

enum action_kind {
    ACTION_FORWARD,
    ACTION_OBSERVE,      /* batch norm: take a chunk's moments */
    ACTION_BACKWARD,
    ACTION_OBSERVE_DIFF, /* batch norm: take a chunk's sums of diffs */
};

struct action {
    int32_t step;
    int32_t kind;
    double  seconds; /* spent while the plan was profiled */
};

/* An action reads or writes what `id` names: 2v data of value v, 2v + 1 its diff, 2 * value_count + i workspace of step i. */
struct access {
    int32_t id, action;
};

struct segment {
    int32_t first, count;             /* actions */
    int32_t images;                   /* in a chunk; divides the batch */
    int32_t parts;                    /* that an image's channel blocks are cut into, each a chunk (of one image then); mostly 1 */
    size_t  weights_bytes;            /* of reordered weights, so far */
    int32_t first_place, place_count;
};

/* Where a segment finds what `id` names. A stride of 0: in a buffer of one chunk, which the next chunk overwrites. */
struct place {
    int32_t id;
    int32_t first, last; /* actions, for the arena */
    char   *base;
    size_t  stride;      /* bytes from one image to the next */
};

/* What backward reads, which decides how long tensors live. */
#define READS_SRC 1 /* the node's activations that come in */
#define READS_DST 2 /* the one that goes out */

struct weighted;

struct engine_op {
    int32_t kind; /* enum ssld_op_kind */
    uint8_t backward_reads;
    uint8_t layout; /* enum layout_rule */
    /* Whether the channels of a node's data and diffs have nothing to do with each other, so that a chunk may be some of an image's
     * blocks of channels. NULL: they do. */
    bool (*channels_apart)(const struct ssld_plan *plan, const struct ssld_node *node);
    bool    cheap; /* forward costs a pass over memory or less: better done again in cache than stored (never a oneDNN call) */
    /* Give the output its planes, create primitives, declare parameters, ask for workspace. */
    ssld_status (*prepare)(struct ssld_plan *plan, struct step *step);
    /* All memory has its place now: create what needs addresses. NULL: nothing does. */
    ssld_status (*bind)(struct ssld_plan *plan, struct step *step);
    /* Before a segment with the step's forward or backward runs: what all its chunks share, on one thread. NULL: nothing. */
    ssld_status (*begin)(struct ssld_plan *plan, struct step *step, bool backward);
    /* For the chunk at hand. Several workers run a step at a time: they change nothing in its state. */
    ssld_status (*forward)(struct ssld_plan *plan, struct step *step);
    /* Write every ssld_step_diff_src() that is not NULL; write the diffs of parameters if plan->fresh_diffs, else add to
     * them. NULL: no backward. */
    ssld_status (*backward)(struct ssld_plan *plan, struct step *step);
    /* Batch norm only: a chunk's part of what all images decide together, and the end of it, on one thread. The output of `observed` is
     * needed by forward, that of `diff_observed` by backward. */
    ssld_status (*observe)(struct ssld_plan *plan, struct step *step);
    void (*observed)(struct ssld_plan *plan, struct step *step);
    ssld_status (*observe_diff)(struct ssld_plan *plan, struct step *step);
    void (*diff_observed)(struct ssld_plan *plan, struct step *step);
    void (*release)(struct ssld_plan *plan, struct step *step); /* NULL: state needs no more than ssld_free */
    /* Operators whose state begins with a struct weighted only: primitives as the plan's, but of the whole batch, to be
     * measured alone. A backward weights of ours has oneDNN's beside it there, or none. */
    ssld_status (*make_whole)(struct ssld_plan *plan, struct step *step, struct weighted *calls);
};

extern const struct engine_op *const ssld_engine_ops[SSLD_OP_KINDS];
extern const struct engine_op ssld_op_convolution, ssld_op_inner_product, ssld_op_batch_norm, ssld_op_relu, ssld_op_clip,
    ssld_op_hard_swish, ssld_op_hard_sigmoid, ssld_op_sigmoid, ssld_op_max_pool, ssld_op_average_pool,
    ssld_op_global_average_pool, ssld_op_add, ssld_op_mul, ssld_op_scale, ssld_op_flatten, ssld_op_dropout,
    ssld_op_identity, ssld_op_leaky_relu, ssld_op_prelu, ssld_op_silu, ssld_op_gelu, ssld_op_gelu_tanh, ssld_op_tanh,
    ssld_op_concat, ssld_op_slice, ssld_op_layer_norm, ssld_op_transpose, ssld_op_reshape, ssld_op_strided_slice, ssld_op_tile,
    ssld_op_reorder, ssld_op_matmul, ssld_op_unary, ssld_op_binary, ssld_op_where,
    ssld_op_softmax, ssld_op_log_softmax, ssld_op_reduce, ssld_op_join, ssld_op_gather, ssld_op_pad, ssld_op_resize,
    ssld_op_group_norm, ssld_op_lrn;

/* A value that is kept beside the logits. */
struct kept {
    int32_t number, value; /* its mark; in graph, behind the passes */
    char   *data;          /* whole, in the arena */
};

struct ssld_plan {
    ssld_context            *context;
    struct ssld_plan_options options;
    struct ssld_dnnl         dnnl;
    struct ssld_graph       *source; /* as it came, without data: the form of a snapshot */
    struct ssld_graph       *graph;  /* after the passes, without data: what is run */
    int64_t                  block;  /* b */
    bool                     channels_last; /* b is the number of channels instead */
    bool                     copies_last; /* blocks stay, and convolutions work on copies with channels last */
    int32_t                  type;   /* ELEMENT_x that activations and their diffs are kept in; parameters are f32 */
    struct layout           *layouts; /* one for each value of graph (layouts.h) */
    struct tensor           *tensors; /* one for each value of graph */
    struct step             *steps;   /* one for each node of graph */
    struct parameter        *parameters;
    int32_t                  parameter_count;
    struct segment          *segments;    /* forward's, then backward's */
    int32_t                  segment_count, forward_segments;
    struct action           *actions;
    struct access           *accesses;
    struct place            *places;
    int32_t                  action_count, access_count;
    bool                    *again;       /* of each value: made again wherever it is read, never stored */
    char                    *arena;       /* what more than one segment needs, the whole batch of it */
    size_t                   arena_bytes;
    void                    *pixels, *logits, *diff_logits; /* whole, in the arena */
    struct kept             *kept;         /* one for each of options.keep */
    float                   *float_logits; /* where the network's output is not f32: converted */
    char                    *values;     /* all parameters' values, then all diffs, of each worker */
    size_t                   values_count, diffs_count; /* floats */
    size_t                   parts_count; /* and of what each worker but the first has, behind the diffs, for those of a segment */
    char                    *reordered_weights; /* as a segment's primitives want them, for all its chunks */
    size_t                   reordered_weights_bytes;
    /* What each worker has a piece of its own of: these many bytes, one worker's behind another's. */
    char                    *chunk_arena; /* what one segment needs, a chunk of it: stays in cache */
    size_t                   chunk_arena_bytes;
    char                    *scratchpad; /* oneDNN's, shared by all primitives */
    size_t                   scratchpad_bytes;
    char                    *reordered_diff; /* diff weights as backward weights gives them, shared */
    size_t                   reordered_diff_bytes;
    char                    *diff_part, *bias_part; /* a chunk's part of a parameter's diff, shared */
    size_t                   diff_part_bytes, bias_part_bytes;
    char                    *widened; /* operands of backward weights in f32, shared */
    size_t                   widened_bytes;
    char                    *last; /* copies of a convolution's operands with their channels last, shared */
    size_t                   last_bytes;
    char                    *partial;    /* a kernel's partial sums, shared */
    size_t                   partial_bytes;
    char                    *accumulator; /* diffs added to an earlier part: a buffer for each input of a step */
    size_t                   accumulators;
    size_t                   accumulator_bytes; /* of one */
    uint64_t                 step;       /* of the last forward: dropout's */
    int32_t                  worker_count;
    int32_t                  worker;      /* number of this one */
    struct ssld_plan        *workers;     /* those behind the first, which is the plan itself (workers.c) */
    ssld_status              status;      /* of this worker's part of a segment */
    int64_t                  chunk_first; /* image that the chunk at hand begins with */
    int32_t                  chunk;       /* its number */
    int32_t                  part;        /* which part of the image it is */
    bool                     first_chunk; /* the first of this worker's in the segment */
    bool                     fresh_diffs; /* no diff of a parameter of the chunk's channels is there yet */
    bool                     profiled;
    double                   forward_seconds, backward_seconds, outside_seconds; /* while profiled: all of forward and backward,
                                                                                  * and what ssld_plan_run() ran */
    bool                     ready;      /* a forward has run: backward may */
    bool                     cleared;    /* the arenas */
};

static inline bool plan_trains(const struct ssld_plan *plan)
{
    return plan->options.mode == SSLD_PLAN_TRAIN;
}

/* Whether a value (SSLD_NO_VALUE: none) is the image or made by a node, not a parameter. */
static inline bool plan_has_activation(const struct ssld_plan *plan, int32_t value)
{
    return value != SSLD_NO_VALUE && plan->graph->values[value].role == SSLD_VALUE_ACTIVATION;
}

/* -- For operators ------------------------------------------------------------------------------------------------ */

struct tensor *ssld_step_src(struct ssld_plan *plan, const struct step *step, int32_t input);
struct tensor *ssld_step_dst(struct ssld_plan *plan, const struct step *step);
/* Where backward writes the diff of input `input` of the chunk at hand: NULL if nobody wants it. */
void *ssld_step_diff_src(struct ssld_plan *plan, const struct step *step, int32_t input);

static inline int64_t plan_block_of(const struct ssld_plan *plan, int64_t channels)
{
    return plan->channels_last ? channels : plan->block;
}

/* In prepare: the output gets the planes (of the whole batch); its size follows. */
void          ssld_tensor_set_planes(struct tensor *tensor, struct planes planes);
struct planes ssld_planes_of_value(const struct ssld_plan *plan, const struct ssld_value *value); /* in plan->block */
struct planes ssld_planes_of_output(const struct ssld_plan *plan, const struct step *step); /* logits are f32 always */
struct planes ssld_planes_for(const struct planes *planes, int64_t images); /* the same of so many images */
/* Of a part of one: padding counts as channels, since the same primitive runs on parts with and without. */
struct planes ssld_planes_of_part(const struct planes *planes, int32_t parts);
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
/* Weights in another layout, kept while a segment runs, in inference for good: where in plan->reordered_weights. */
size_t ssld_plan_need_weights(struct ssld_plan *plan, int32_t segment, size_t bytes);

/* SSLD_BACKEND with the operator, the node and the direction: "Conv 'conv1', backward data: oneDNN ... answered ...". */
ssld_status ssld_step_fail(struct ssld_plan *plan, const struct step *step, dnnl_status_t status, const char *direction);

/* -- Calls: a oneDNN primitive with its arguments bound to where each chunk stands ----------------------------------- */

#define CALL_MOST_ARGUMENTS 6

struct call {
    struct ssld_primitive primitive;
    int32_t               count;
    int32_t               identifiers[CALL_MOST_ARGUMENTS]; /* DNNL_ARG_x */
    int32_t               by[CALL_MOST_ARGUMENTS];     /* OPERAND_x: which of them an execution takes */
    int32_t               copies[CALL_MOST_ARGUMENTS];
    dnnl_memory_t        *memories[CALL_MOST_ARGUMENTS];
    double                seconds; /* spent while the plan was profiled */
};

/* Something at one address, or with an address for each worker, each chunk, or each part of an image. */
enum operand_by { OPERAND_ONE, OPERAND_BY_WORKER, OPERAND_BY_CHUNK, OPERAND_BY_PART };

struct operand {
    char   *base;
    int32_t by;
    size_t  stride; /* bytes from one to the next */
    int32_t count;
};

struct operand ssld_operand_at(void *address);
/* A worker's piece of a shared buffer, so many bytes each. */
struct operand ssld_operand_of_worker(const struct ssld_plan *plan, void *address, size_t bytes);
/* What belongs to an image's channels, cut into so many parts. */
struct operand ssld_operand_of_part(void *address, size_t bytes, int32_t parts);
/* What a segment reads or writes under `id`; base is NULL if it does neither. */
struct operand ssld_operand_of(const struct ssld_plan *plan, int32_t segment, int32_t id);
struct operand ssld_operand_src(const struct ssld_plan *plan, const struct step *step, bool backward, int32_t input);
struct operand ssld_operand_dst(const struct ssld_plan *plan, const struct step *step);
struct operand ssld_operand_diff_dst(const struct ssld_plan *plan, const struct step *step);
struct operand ssld_operand_diff_src(struct ssld_plan *plan, const struct step *step, int32_t input);
struct operand ssld_operand_workspace(const struct ssld_plan *plan, const struct step *step, bool backward);

/* Images in the largest chunk of any segment. */
int64_t ssld_plan_most_images(const struct ssld_plan *plan);
/* Images in a chunk of a step's forward or backward. */
int64_t ssld_step_images(const struct ssld_plan *plan, const struct step *step, bool backward);
/* Parts that an image is cut into there. */
int32_t ssld_step_parts(const struct ssld_plan *plan, const struct step *step, bool backward);

/* In prepare, once the primitive is made: its scratchpad is counted. */
void        ssld_call_made(struct ssld_plan *plan, const struct call *call);
/* In bind: argument DNNL_ARG_x, described by the primitive's own answer to (what, index), is at `operand`. */
ssld_status ssld_call_bind(struct ssld_plan *plan, struct call *call, int argument, dnnl_query_t what, int index,
                           struct operand operand);
/* In bind, last: the scratchpad. */
ssld_status ssld_call_bind_scratchpad(struct ssld_plan *plan, struct call *call);
ssld_status ssld_call_run(struct ssld_plan *plan, const struct step *step, struct call *call,
                          const char *direction);
void        ssld_call_release(struct ssld_plan *plan, struct call *call);

/* -- Workers: the plan itself and views of it, each running its own chunks on its own thread (workers.c) -------------- */

int32_t           ssld_workers_wanted(const struct ssld_graph *graph, const struct ssld_plan_options *options);
/* Once the plan is complete: the views. */
ssld_status       ssld_workers_make(struct ssld_plan *plan);
void              ssld_workers_release(struct ssld_plan *plan);
struct ssld_plan *ssld_worker(struct ssld_plan *plan, int32_t worker);
/* Sum what the workers have of a segment's parameters' diffs; this is `worker`'s share of the work. */
void              ssld_workers_join_diffs(struct ssld_plan *plan, const struct segment *segment, int32_t worker);

/* Threads in a primitive: all, or one if there are several workers. */
static inline int32_t plan_primitive_threads(const struct ssld_plan *plan)
{
    return plan->worker_count > 1 ? 1 : plan->options.threads;
}

/* -- Making a plan, in this order ----------------------------------------------------------------------------------- */

/* Values to be kept: marked before the passes, found again behind them. */
ssld_status ssld_outputs_mark(struct ssld_plan *plan);
void        ssld_outputs_find(struct ssld_plan *plan);
bool        ssld_output_is_kept(const struct ssld_plan *plan, int32_t value); /* or one that is a view of it */
/* Segments, actions and what they touch, from the graph alone. */
ssld_status ssld_schedule_make(struct ssld_plan *plan);
/* Once operators are prepared: arenas, and the place of everything in them. */
ssld_status ssld_memory_make(struct ssld_plan *plan);
void        ssld_memory_release(struct ssld_plan *plan);

/* The parameter at an input whose diff the action's chunks sum up, each worker its own; NULL: none is. Batch norm's come from sums
 * that are joined already. */
struct parameter *ssld_action_parameter(struct ssld_plan *plan, const struct action *action, int32_t input);
/* In the order of a plan's making: memory for all parameters, then their values from the graph. */
ssld_status ssld_parameters_allocate(struct ssld_plan *plan);
ssld_status ssld_parameters_load(struct ssld_plan *plan);
void        ssld_parameters_release(struct ssld_plan *plan);

/* Memory in large pages where it can be, not touched yet; NULL without a text. And its bytes set to 0, by all threads. */
char *ssld_arena_allocate(struct ssld_plan *plan, size_t bytes);
void  ssld_arena_clear(const struct ssld_plan *plan, char *arena, size_t bytes);
/* Before the first forward: the plan's arenas. Not sooner, since whoever made the plan may still have a network's numbers then. */
void  ssld_memory_clear(struct ssld_plan *plan);

/* -- Threads ------------------------------------------------------------------------------------------------------ */

struct thread_settings {
    int32_t threads, dynamic;
};

struct thread_settings ssld_threads_enter(int32_t threads); /* returns what ssld_threads_leave() takes */
void                   ssld_threads_leave(struct thread_settings before);
int32_t                ssld_thread_number(void); /* of the calling thread in its team */
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
