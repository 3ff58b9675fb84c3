/* SPDX-License-Identifier: BSD-2-Clause */
/* plan.c - a graph made ready: operators prepared, every tensor given its place in one arena. */
#include "engine/layouts.h"
#include "engine/weighted.h"

#include <stdio.h>
#include <string.h>

const struct engine_op *const ssld_engine_ops[SSLD_OP_KINDS] = {
    [SSLD_OP_CONV] = &ssld_op_convolution,
    [SSLD_OP_BATCH_NORM] = &ssld_op_batch_norm,
    [SSLD_OP_RELU] = &ssld_op_relu,
    [SSLD_OP_CLIP] = &ssld_op_clip,
    [SSLD_OP_HARD_SWISH] = &ssld_op_hard_swish,
    [SSLD_OP_HARD_SIGMOID] = &ssld_op_hard_sigmoid,
    [SSLD_OP_SIGMOID] = &ssld_op_sigmoid,
    [SSLD_OP_MAX_POOL] = &ssld_op_max_pool,
    [SSLD_OP_AVERAGE_POOL] = &ssld_op_average_pool,
    [SSLD_OP_GLOBAL_AVERAGE_POOL] = &ssld_op_global_average_pool,
    [SSLD_OP_ADD] = &ssld_op_add,
    [SSLD_OP_MUL] = &ssld_op_mul,
    [SSLD_OP_SCALE] = &ssld_op_scale,
    [SSLD_OP_GEMM] = &ssld_op_inner_product,
    [SSLD_OP_FLATTEN] = &ssld_op_flatten,
    [SSLD_OP_DROPOUT] = &ssld_op_dropout,
    [SSLD_OP_IDENTITY] = &ssld_op_identity,
    [SSLD_OP_LEAKY_RELU] = &ssld_op_leaky_relu,
    [SSLD_OP_PRELU] = &ssld_op_prelu,
    [SSLD_OP_SILU] = &ssld_op_silu,
    [SSLD_OP_GELU] = &ssld_op_gelu,
    [SSLD_OP_GELU_TANH] = &ssld_op_gelu_tanh,
    [SSLD_OP_TANH] = &ssld_op_tanh,
    [SSLD_OP_CONCAT] = &ssld_op_concat,
    [SSLD_OP_SLICE] = &ssld_op_slice,
    [SSLD_OP_LAYER_NORM] = &ssld_op_layer_norm,
    [SSLD_OP_TRANSPOSE] = &ssld_op_transpose,
    [SSLD_OP_RESHAPE] = &ssld_op_reshape,
    [SSLD_OP_STRIDED_SLICE] = &ssld_op_strided_slice,
    [SSLD_OP_TILE] = &ssld_op_tile,
    [SSLD_OP_UNARY] = &ssld_op_unary,
    [SSLD_OP_BINARY] = &ssld_op_binary,
    [SSLD_OP_WHERE] = &ssld_op_where,
    [SSLD_OP_SOFTMAX] = &ssld_op_softmax,
    [SSLD_OP_LOG_SOFTMAX] = &ssld_op_log_softmax,
    [SSLD_OP_REDUCE] = &ssld_op_reduce,
    [SSLD_OP_JOIN] = &ssld_op_join,
    [SSLD_OP_GATHER] = &ssld_op_gather,
    [SSLD_OP_PAD] = &ssld_op_pad,
    [SSLD_OP_RESIZE] = &ssld_op_resize,
    [SSLD_OP_GROUP_NORM] = &ssld_op_group_norm,
    [SSLD_OP_LRN] = &ssld_op_lrn,
    [SSLD_OP_MATMUL] = &ssld_op_matmul,
    [SSLD_OP_REORDER] = &ssld_op_reorder,
};

/* -- What operators ask of the plan ------------------------------------------------------------------------------- */

struct tensor *ssld_step_src(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    return &plan->tensors[step->node->inputs[input]];
}

struct tensor *ssld_step_dst(struct ssld_plan *plan, const struct step *step)
{
    return &plan->tensors[step->node->output];
}

void *ssld_step_diff_src(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    if (step->accumulate >> input & 1)
        return (plan->accumulator + (size_t)input * plan->accumulator_bytes);
    return ssld_step_src(plan, step, input)->diff;
}

int64_t ssld_planes_elements(const struct planes *planes)
{
    return planes->n * planes->blocks * planes->h * planes->w * planes->b;
}

void ssld_tensor_set_planes(struct tensor *tensor, struct planes planes)
{
    tensor->planes = planes;
    tensor->channels = planes.channels;
    tensor->blocks = planes.blocks;
    tensor->bytes = (size_t)ssld_planes_elements(&planes) * element_size(planes.type);
    tensor->image_bytes = tensor->bytes / (size_t)planes.n;
}

struct planes ssld_planes_of_value(const struct ssld_plan *plan, const struct ssld_value *value)
{
    bool map = ssld_value_is_map(value);
    int64_t channels = map ? value->dims[1] : ssld_value_elements(value);
    int64_t b = plan->layouts[value - plan->graph->values].blocked ? plan_block_of(plan, channels) : 1;
    return (struct planes){ .n = plan->options.batch,
                            .channels = channels,
                            .blocks = (channels + b - 1) / b,
                            .h = map ? value->dims[2] : 1,
                            .w = map ? value->dims[3] : 1,
                            .b = b,
                            .type = plan->type };
}

ssld_status ssld_planes_md(struct ssld_plan *plan, const struct planes *planes, bool flat, ssld_md **md)
{
    int64_t dims[4] = { planes->n, planes->channels, planes->h, planes->w };
    bool last = plan->channels_last && planes->b == planes->channels;
    dnnl_format_tag_t tag = flat              ? dnnl_nc
                            : last            ? dnnl_nhwc
                            : planes->b == 16 ? dnnl_nChw16c
                            : planes->b == 8  ? dnnl_nChw8c
                                              : dnnl_nchw;
    return ssld_md_create(&plan->dnnl, flat ? 2 : 4, dims, ssld_dnnl_type(planes->type), tag, md);
}

void ssld_plan_need(size_t *bytes, size_t needed)
{
    if (*bytes < needed)
        *bytes = needed;
}

size_t ssld_plan_need_weights(struct ssld_plan *plan, int32_t segment, size_t bytes)
{
    /* Inference reorders once and keeps what it made: there no segment has the memory of another. */
    struct segment *owner = &plan->segments[plan->options.mode == SSLD_PLAN_EVAL ? 0 : segment];
    size_t offset = owner->weights_bytes;
    owner->weights_bytes += (bytes + 63) / 64 * 64;
    ssld_plan_need(&plan->reordered_weights_bytes, owner->weights_bytes);
    return offset;
}

struct planes ssld_planes_of_output(const struct ssld_plan *plan, const struct step *step)
{
    struct planes planes = ssld_planes_of_value(plan, &plan->graph->values[step->node->output]);
    if (step->node->output == plan->layouts[plan->graph->output].root)
        planes.type = ELEMENT_F32;
    return planes;
}

struct planes ssld_planes_for(const struct planes *planes, int64_t images)
{
    struct planes chunk = *planes;
    chunk.n = images;
    return chunk;
}

struct planes ssld_planes_of_part(const struct planes *planes, int32_t parts)
{
    struct planes part = *planes;
    part.n = 1;
    part.blocks /= parts;
    part.channels = part.blocks * part.b;
    return part;
}

/* -- The block width ---------------------------------------------------------------------------------------------- */

/* The widest blocks for which this CPU has a generated convolution: asked of oneDNN with an ordinary layer. */
static ssld_status choose_block(struct ssld_plan *plan)
{
    static const struct ssld_window window = { { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } };
    static const int64_t weights_dims[4] = { 64, 64, 3, 3 };
    static const int64_t widths[] = { 16, 8 };
    ssld_status status = SSLD_OK;
    if (plan->options.block) {
        plan->block = plan->options.block;
        return SSLD_OK;
    }
    plan->block = 1;
    for (size_t i = 0; !status && plan->block == 1 && i < sizeof widths / sizeof widths[0]; i++) {
        struct planes planes = { .n = 1, .channels = 64, .blocks = 64 / widths[i], .h = 28, .w = 28, .b = widths[i] };
        ssld_md *activations = NULL, *weights = NULL;
        struct ssld_primitive primitive = { 0 };
        status = ssld_planes_md(plan, &planes, false, &activations);
        if (!status)
            status = ssld_md_create(&plan->dnnl, 4, weights_dims, dnnl_f32, dnnl_format_tag_any, &weights);
        if (!status && ssld_convolution_forward(&plan->dnnl, dnnl_forward_training, activations, weights, NULL,
                                                activations, &window, NULL, &primitive) == dnnl_success) {
            const char *name = ssld_primitive_name(&primitive);
            if (!strncmp(name, "jit", 3) || !strncmp(name, "brg", 3))
                plan->block = widths[i];
        }
        ssld_primitive_destroy(&primitive);
        ssld_md_destroy(&plan->dnnl, activations);
        ssld_md_destroy(&plan->dnnl, weights);
    }
    return status;
}

/* bfloat16 where it is asked for, or worth it: where the CPU multiplies it natively. */
static ssld_status choose_type(struct ssld_plan *plan)
{
    int32_t precision = plan->options.precision;
    bool able = plan->block == 16, native = able && ssld_dnnl_multiplies_bf16();
    if (precision == SSLD_PRECISION_BF16 && !able)
        return ssld_fail(plan->context, SSLD_UNSUPPORTED, "%s: bf16 needs AVX-512, which this CPU has not; use f32",
                         plan->graph->name);
    plan->type = precision == SSLD_PRECISION_BF16 || (precision == SSLD_PRECISION_AUTO && native) ? ELEMENT_BF16 : ELEMENT_F32;
    return SSLD_OK;
}

/* oneDNN multiplies bf16 in tiles (AMX) where channels come last, several times as fast as in blocks. Inference keeps them so
 * throughout. What training needs more of (batch norm, depthwise backward) is ours and works in blocks: there convolutions
 * copy their operands. */
static void choose_order(struct ssld_plan *plan)
{
    bool tiles = plan->type == ELEMENT_BF16 && ssld_dnnl_has_tiles();
    plan->channels_last = tiles && plan->options.mode == SSLD_PLAN_EVAL && !plan->options.block &&
                          ssld_layouts_suit_channels_last(plan->graph);
    plan->copies_last = tiles && plan->block == 16 && !plan->channels_last;
}

/* -- Preparing the operators -------------------------------------------------------------------------------------- */

static ssld_status run_passes(struct ssld_plan *plan)
{
    ssld_status status = SSLD_OK;
    int32_t mode = plan->options.mode;
    if (mode != SSLD_PLAN_TRAIN)
        status = ssld_graph_drop_training_nodes(plan->graph);
    if (!status && mode == SSLD_PLAN_EVAL)
        status = ssld_graph_fold_batch_norm(plan->graph);
    if (!status && mode == SSLD_PLAN_EVAL)
        status = ssld_graph_merge_branches(plan->graph);
    /* Training keeps what stands before an activation where its derivative needs it: only batch norm, which computes it
     * again, and additions before ReLU take one in. */
    if (!status && mode == SSLD_PLAN_EVAL)
        status = ssld_graph_fold_constants(plan->graph);
    if (!status)
        status = ssld_graph_fuse_activations(plan->graph, mode == SSLD_PLAN_TRAIN);
    if (!status && mode == SSLD_PLAN_EVAL)
        status = ssld_graph_join_results(plan->graph);
    return status;
}

/* All nodes that have no operator here, or that training cannot pass, in one text. */
static ssld_status refuse_nodes(struct ssld_plan *plan)
{
    char nodes[1024] = "";
    size_t length = 0;
    int32_t count = 0, missing = 0;
    for (int32_t i = 0; i < plan->graph->node_count; i++) {
        const struct ssld_node *node = &plan->graph->nodes[i];
        const struct engine_op *op = ssld_engine_ops[node->kind];
        if (op && (op->backward || !plan_trains(plan)))
            continue;
        if (length < sizeof nodes)
            length += (size_t)snprintf(nodes + length, sizeof nodes - length, "%s%s '%s'", count ? ", " : "",
                                       ssld_node_operator(node), node->name);
        count++;
        missing += !op;
    }
    return count ? ssld_fail(plan->context, SSLD_UNSUPPORTED, "%s: %d nodes cannot be %s: %s", plan->graph->name, count,
                             missing ? "computed" : "trained through", nodes)
                 : SSLD_OK;
}

static bool node_wants_diff(const struct ssld_plan *plan, const struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        int32_t input = node->inputs[i];
        if (input != SSLD_NO_VALUE &&
            (plan->graph->values[input].role == SSLD_VALUE_PARAMETER || plan->tensors[input].wants_diff))
            return true;
    }
    return false;
}

/* Which diffs are wanted, and the order of work, which operators must know before they are prepared. */
static ssld_status schedule_steps(struct ssld_plan *plan)
{
    struct ssld_graph *graph = plan->graph;
    for (int32_t i = 0; i < graph->node_count; i++) {
        struct step *step = &plan->steps[i];
        step->node = &graph->nodes[i];
        bool rows = step->node->kind == SSLD_OP_MATMUL && ssld_is_fully_connected(graph, step->node);
        step->op = rows ? &ssld_op_inner_product : ssld_engine_ops[step->node->kind];
        ssld_step_dst(plan, step)->wants_diff = plan_trains(plan) && node_wants_diff(plan, step->node);
    }
    if (plan_trains(plan) && !plan->tensors[graph->output].wants_diff)
        return ssld_fail(plan->context, SSLD_UNSUPPORTED, "%s: the network has no parameter to train", graph->name);
    return ssld_schedule_make(plan);
}

static ssld_status prepare_steps(struct ssld_plan *plan)
{
    struct ssld_graph *graph = plan->graph;
    ssld_status status = SSLD_OK;

    ssld_tensor_set_planes(&plan->tensors[graph->input], ssld_planes_of_value(plan, &graph->values[graph->input]));

    for (int32_t i = 0; !status && i < graph->node_count; i++)
        status = plan->steps[i].op->prepare(plan, &plan->steps[i]);
    return status;
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

/* What one backward adds to others' diffs: a chunk of each of its inputs. */
static void need_accumulators(struct ssld_plan *plan)
{
    for (int32_t i = 0; i < plan->graph->node_count; i++) {
        const struct step *step = &plan->steps[i];
        for (int32_t k = 0; k < step->node->input_count; k++) {
            if (!(step->accumulate >> k & 1))
                continue;
            ssld_plan_need(&plan->accumulator_bytes, ssld_step_src(plan, step, k)->image_bytes *
                                                         (size_t)ssld_step_images(plan, step, true));
            ssld_plan_need(&plan->accumulators, (size_t)k + 1);
        }
    }
}

/* Two workers' pieces share no cache line. */
static void round_up(size_t *bytes)
{
    *bytes = (*bytes + 63) / 64 * 64;
}

static void round_up_pieces(struct ssld_plan *plan)
{
    size_t *pieces[] = { &plan->scratchpad_bytes, &plan->reordered_diff_bytes, &plan->diff_part_bytes, &plan->bias_part_bytes,
                         &plan->widened_bytes,    &plan->last_bytes,           &plan->partial_bytes,        &plan->accumulator_bytes };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        round_up(pieces[i]);
}

/* Buffers that steps use one after the other, most of them one for each worker. */
static ssld_status allocate_buffers(struct ssld_plan *plan)
{
    need_accumulators(plan);
    round_up_pieces(plan);
    const struct {
        char **buffer;
        size_t bytes;
        bool   shared;
    } buffers[] = {
        { &plan->scratchpad, plan->scratchpad_bytes, false },
        { &plan->reordered_weights, plan->reordered_weights_bytes, true },
        { &plan->reordered_diff, plan->reordered_diff_bytes, false },
        { &plan->diff_part, plan->diff_part_bytes, false },
        { &plan->bias_part, plan->bias_part_bytes, false },
        { &plan->widened, plan->widened_bytes, false },
        { &plan->last, plan->last_bytes, false },
        { &plan->partial, plan->partial_bytes, false },
        { &plan->accumulator, plan->accumulators * plan->accumulator_bytes, false },
    };
    const struct tensor *output = &plan->tensors[plan->graph->output];
    size_t logits = (size_t)ssld_value_elements(&plan->graph->values[plan->graph->output]) * (size_t)plan->options.batch;
    if (output->planes.type != ELEMENT_F32) {
        plan->float_logits = ssld_alloc(plan->context, logits * sizeof(float));
        if (!plan->float_logits)
            return ssld_fail_memory(plan->context, "logits", logits * sizeof(float));
    }
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        size_t bytes = buffers[i].bytes * (buffers[i].shared ? 1 : (size_t)plan->worker_count);
        *buffers[i].buffer = ssld_alloc(plan->context, bytes);
        if (!*buffers[i].buffer)
            return ssld_fail_memory(plan->context, "a plan's working buffers", bytes);
    }
    return SSLD_OK;
}

/* -- The plan ----------------------------------------------------------------------------------------------------- */

static ssld_status build(struct ssld_plan *plan, const struct ssld_graph *graph)
{
    ssld_status status = ssld_graph_clone(graph, &plan->graph);
    if (!status)
        status = ssld_outputs_mark(plan);
    if (!status)
        status = run_passes(plan);
    if (!status)
        status = ssld_dnnl_open(plan->context, &plan->dnnl);
    if (!status)
        status = choose_block(plan);
    if (!status)
        status = choose_type(plan);
    if (!status)
        choose_order(plan);
    if (status)
        return status;

    status = refuse_nodes(plan);
    if (!status)
        status = ssld_layouts_make(plan);
    if (status)
        return status;
    ssld_outputs_find(plan);
    size_t values = (size_t)plan->graph->value_count;
    plan->tensors = ssld_alloc_zero(plan->context, values, sizeof *plan->tensors);
    plan->parameters = ssld_alloc_zero(plan->context, values, sizeof *plan->parameters);
    plan->steps = ssld_alloc_zero(plan->context, (size_t)plan->graph->node_count, sizeof *plan->steps);
    if (!plan->tensors || !plan->parameters || !plan->steps)
        return ssld_fail_memory(plan->context, "a plan", values * sizeof *plan->tensors);
    for (size_t v = 0; v < values; v++)
        plan->tensors[v].parameter = -1;

    status = schedule_steps(plan);
    if (!status)
        status = prepare_steps(plan);
    if (!status)
        status = ssld_parameters_allocate(plan);
    if (!status)
        status = allocate_buffers(plan);
    if (!status)
        status = ssld_parameters_load(plan);
    /* The parameters hold all numbers now: of the graphs only their form is kept. */
    ssld_graph_release_data(plan->graph);
    if (!status)
        status = ssld_graph_clone_form(graph, &plan->source);
    if (!status)
        status = ssld_memory_make(plan);
    for (int32_t i = 0; !status && i < plan->graph->node_count; i++)
        if (plan->steps[i].op->bind)
            status = plan->steps[i].op->bind(plan, &plan->steps[i]);
    return status ? status : ssld_workers_make(plan);
}

ssld_status ssld_plan_create(ssld_context *context, const struct ssld_graph *graph,
                             const struct ssld_plan_options *options, struct ssld_plan **plan)
{
    ssld_status status = ssld_threads_check(context);
    if (status)
        return status;
    struct ssld_plan *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a plan", sizeof *made);
    made->context = context;
    made->options = *options;
    made->options.threads = ssld_threads_granted(options->threads);
    if (made->options.threads < options->threads)
        ssld_log(context, SSLD_LOG_WARNING, "%d threads were asked for, OpenMP gives %d", options->threads,
                 made->options.threads);
    made->worker_count = ssld_workers_wanted(graph, &made->options);
    /* Primitives are made for a thread count. */
    struct thread_settings before = ssld_threads_enter(plan_primitive_threads(made));
    status = build(made, graph);
    ssld_threads_leave(before);
    if (status) {
        ssld_plan_destroy(made);
        return status;
    }
    ssld_log(context, SSLD_LOG_INFO, "%s: batch %d, %s, blocks of %d channels, %d segments, %.1f MB of activations, %.1f MB in chunks, %d threads, %d workers",
             graph->name, options->batch, made->type == ELEMENT_BF16 ? "bf16" : "f32", (int)made->block, made->segment_count, (double)made->arena_bytes / 1e6,
             (double)made->chunk_arena_bytes / 1e6, made->options.threads, made->worker_count);
    *plan = made;
    return SSLD_OK;
}

void ssld_plan_destroy(struct ssld_plan *plan)
{
    if (!plan)
        return;
    ssld_context *context = plan->context;
    for (int32_t i = 0; plan->steps && i < plan->graph->node_count; i++) {
        struct step *step = &plan->steps[i];
        if (step->state && step->op->release)
            step->op->release(plan, step);
        ssld_free(context, step->state);
    }
    ssld_workers_release(plan);
    if (plan->parameters)
        ssld_parameters_release(plan);
    ssld_dnnl_close(&plan->dnnl);
    ssld_free(context, plan->steps);
    ssld_free(context, plan->tensors);
    ssld_free(context, plan->layouts);
    ssld_free(context, plan->kept);
    ssld_free(context, plan->parameters);
    ssld_memory_release(plan);
    ssld_free(context, plan->scratchpad);
    ssld_free(context, plan->reordered_weights);
    ssld_free(context, plan->reordered_diff);
    ssld_free(context, plan->diff_part);
    ssld_free(context, plan->widened);
    ssld_free(context, plan->last);
    ssld_free(context, plan->float_logits);
    ssld_free(context, plan->bias_part);
    ssld_free(context, plan->partial);
    ssld_free(context, plan->accumulator);
    ssld_graph_destroy(plan->graph);
    ssld_graph_destroy(plan->source);
    ssld_free(context, plan);
}
