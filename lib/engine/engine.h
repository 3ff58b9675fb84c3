/* SPDX-License-Identifier: BSD-2-Clause */
/* engine.h - a graph made ready to compute: forward, backward, parameters. What distill/ sees of the engine.
 *
 * A plan is a graph for one batch size with its primitives created and all its memory laid out (schedule.c, memory.c). Forward
 * and backward allocate nothing. Parameters live in the layout that the primitives chose; they are read and written in plain
 * row-major order through functions, and updated in place element by element (padding stays zero). */
#ifndef SSLD_LIB_ENGINE_ENGINE_H
#define SSLD_LIB_ENGINE_ENGINE_H

#include "graph/graph.h"
#include "ssld/model.h"
#include "ssld/profile.h"

#define SSLD_PLAN_EVAL 0             /* inference: batch norm by running statistics, folded where it can be */
#define SSLD_PLAN_BATCH_STATISTICS 1 /* inference with batch norm by each batch's statistics; no dropout */
#define SSLD_PLAN_TRAIN 2            /* forward in training mode, and backward */

struct ssld_plan;

struct ssld_plan_options {
    int32_t  mode;    /* SSLD_PLAN_x */
    int32_t  batch;   /* images in every call */
    int32_t  threads;
    uint64_t seed;    /* of dropout */
    int32_t  precision; /* SSLD_PRECISION_x: of activations, their diffs and what convolutions multiply; parameters, statistics
                         * and sums are f32 */
    size_t   cache_bytes; /* what a chunk of images may touch; 0: as schedule.c thinks best */
    int32_t  block;   /* channels in a block of activations: 16, 8, 1 (plain); 0: the widest this CPU can convolve */
    int32_t  keep_count; /* inference only: activations of the graph that ssld_plan_output() will be asked for */
    const int32_t *keep; /* keep_count of its values */
};

/* A trainable tensor, or a buffer (running mean or variance, which has no gradient). */
struct ssld_parameter {
    const char    *name;
    int32_t        role;    /* SSLD_VALUE_PARAMETER or SSLD_VALUE_BUFFER */
    bool           no_decay;
    const int64_t *dims;    /* as in the graph */
    int64_t        elements; /* in plain order */
    size_t         count;   /* floats of value and diff, padding included */
    float         *value;
    float         *diff;    /* NULL in inference plans and for buffers */
};

/* The graph is cloned. SSLD_UNSUPPORTED names nodes without backward, for SSLD_PLAN_TRAIN. */
ssld_status ssld_plan_create(ssld_context *context, const struct ssld_graph *graph,
                             const struct ssld_plan_options *options, struct ssld_plan **plan);
void        ssld_plan_destroy(struct ssld_plan *plan); /* NULL is ignored */

/* pixels (batch, C, H, W) -> logits (batch, classes), the plan's own, valid until the next call. An inference plan may
 * get fewer images than its batch, except with batch statistics. `step` numbers the dropout masks. */
ssld_status ssld_plan_forward(struct ssld_plan *plan, const float *pixels, int32_t count, uint64_t step,
                              const float **logits);
/* The index-th of options.keep as the last forward, of `count` images, has made it: row-major floats, image after image. */
ssld_status ssld_plan_output(const struct ssld_plan *plan, int32_t index, int32_t count, float *dst);
/* diff_logits (batch, classes) of the last forward -> the diff of every parameter; with `add` the sum of it and what is
 * there. */
ssld_status ssld_plan_backward(struct ssld_plan *plan, const float *diff_logits, bool add);
/* Looks at the last forward again, before any other, node by node: the name of the first whose output is not finite, or
 * "the pixels", or NULL. No backward may follow. */
const char *ssld_plan_first_non_finite(struct ssld_plan *plan);
/* Let the last forward's batch statistics into the running ones. Apart from forward, so that a step whose loss is not
 * finite leaves no trace. */
void        ssld_plan_update_statistics(struct ssld_plan *plan);

bool ssld_plan_is_bf16(const struct ssld_plan *plan); /* what was chosen */

int32_t                      ssld_plan_parameter_count(const struct ssld_plan *plan);
const struct ssld_parameter *ssld_plan_parameter(const struct ssld_plan *plan, int32_t index);

/* Between the layout of a parameter (its value, its diff or any array made like them) and plain order. */
ssld_status ssld_plan_parameter_to_plain(struct ssld_plan *plan, int32_t index, const float *layout, float *plain);
ssld_status ssld_plan_parameter_from_plain(struct ssld_plan *plan, int32_t index, const float *plain, float *layout);

/* A copy of the graph that the plan was made of, with the parameters as they are now. */
ssld_status ssld_plan_snapshot(struct ssld_plan *plan, struct ssld_graph **graph);

/* Run `work` with the plan's thread count for what it starts in parallel: loops over parameters outside the engine. */
void ssld_plan_run(struct ssld_plan *plan, void (*work)(void *argument), void *argument);

/* -- Measuring (profile.c) ---------------------------------------------------------------------------------------- */

double ssld_seconds(void); /* of a clock that only goes forward */

/* From begin on, all counters 0, every action is timed; end stops that and forgets. */
void ssld_plan_profile_begin(struct ssld_plan *plan);
void ssld_plan_profile_end(struct ssld_plan *plan);
bool ssld_plan_profiled(const struct ssld_plan *plan);
/* The index-th sum over operators of a kind and direction since begin: calls, gflop and bytes of one forward and backward,
 * milliseconds of all of them. False past the last. What ssld_plan_run() ran is the last. */
bool ssld_plan_profile_entry(const struct ssld_plan *plan, int32_t index, ssld_profile_entry *entry);
/* Seconds that the bare primitives of all convolutions and fully connected layers take for the whole batch: each run alone,
 * once to warm up, then `repeats` times, of which the median counts. */
ssld_status ssld_plan_measure_primitives(struct ssld_plan *plan, int32_t repeats, double *seconds);

#endif
