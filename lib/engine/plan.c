/* SPDX-License-Identifier: BSD-2-Clause */
/* plan.c - a graph made ready: operators prepared, every tensor given its place in one arena. */
#include "engine/plan.h"

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

float *ssld_step_diff_src(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    if (step->accumulate >> input & 1)
        return (float *)(plan->accumulator + (size_t)input * plan->accumulator_bytes);
    return ssld_step_src(plan, step, input)->diff;
}

int64_t ssld_planes_elements(const struct planes *planes)
{
    return planes->n * planes->blocks * planes->h * planes->w * planes->b;
}

void ssld_tensor_set_planes(struct tensor *tensor, struct planes planes)
{
    tensor->planes = planes;
    tensor->bytes = (size_t)ssld_planes_elements(&planes) * sizeof(float);
}

struct planes ssld_planes_of_value(const struct ssld_plan *plan, const struct ssld_value *value)
{
    int64_t b = value->ndims == 4 ? plan->block : 1;
    return (struct planes){ .n = plan->options.batch,
                            .channels = value->dims[1],
                            .blocks = (value->dims[1] + b - 1) / b,
                            .h = value->dims[2],
                            .w = value->dims[3],
                            .b = b };
}

ssld_status ssld_planes_md(struct ssld_plan *plan, const struct planes *planes, bool flat, ssld_md **md)
{
    int64_t dims[4] = { planes->n, planes->channels, planes->h, planes->w };
    dnnl_format_tag_t tag = flat ? dnnl_nc : planes->b == 16 ? dnnl_nChw16c : planes->b == 8 ? dnnl_nChw8c : dnnl_nchw;
    return ssld_md_create(&plan->dnnl, flat ? 2 : 4, dims, tag, md);
}

void ssld_plan_need(size_t *bytes, size_t needed)
{
    if (*bytes < needed)
        *bytes = needed;
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
            status = ssld_md_create(&plan->dnnl, 4, weights_dims, dnnl_format_tag_any, &weights);
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

/* -- Preparing the operators -------------------------------------------------------------------------------------- */

static ssld_status run_passes(struct ssld_plan *plan)
{
    ssld_status status = SSLD_OK;
    int32_t mode = plan->options.mode;
    if (mode != SSLD_PLAN_TRAIN)
        status = ssld_graph_drop_training_nodes(plan->graph);
    if (!status && mode == SSLD_PLAN_EVAL)
        status = ssld_graph_fold_batch_norm(plan->graph);
    /* Training keeps what stands before an activation where its derivative needs it: only batch norm, which computes it
     * again, and additions before ReLU take one in. */
    if (!status)
        status = ssld_graph_fuse_activations(plan->graph, mode == SSLD_PLAN_TRAIN);
    return status;
}

/* All nodes that training cannot pass, in one text. */
static ssld_status refuse_without_backward(struct ssld_plan *plan)
{
    char nodes[1024] = "";
    size_t length = 0;
    int32_t count = 0;
    for (int32_t i = 0; i < plan->graph->node_count; i++) {
        const struct ssld_node *node = &plan->graph->nodes[i];
        if (ssld_engine_ops[node->kind]->backward)
            continue;
        if (length < sizeof nodes)
            length += (size_t)snprintf(nodes + length, sizeof nodes - length, "%s%s '%s'", count ? ", " : "",
                                       ssld_ops[node->kind].name, node->name);
        count++;
    }
    return count ? ssld_fail(plan->context, SSLD_UNSUPPORTED, "%s: %d nodes cannot be trained through: %s",
                             plan->graph->name, count, nodes)
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

static ssld_status prepare_steps(struct ssld_plan *plan)
{
    struct ssld_graph *graph = plan->graph;
    ssld_status status = plan_trains(plan) ? refuse_without_backward(plan) : SSLD_OK;

    /* A convolution reads one or three channels as they come, plain; others want blocks. */
    struct planes input = ssld_planes_of_value(plan, &graph->values[graph->input]);
    if (input.channels == 1 || input.channels == 3) {
        input.blocks = input.channels;
        input.b = 1;
    }
    ssld_tensor_set_planes(&plan->tensors[graph->input], input);

    for (int32_t i = 0; !status && i < graph->node_count; i++) {
        struct step *step = &plan->steps[i];
        step->node = &graph->nodes[i];
        step->op = ssld_engine_ops[step->node->kind];
        ssld_step_dst(plan, step)->wants_diff = plan_trains(plan) && node_wants_diff(plan, step->node);
        status = step->op->prepare(plan, step);
    }
    if (!status && plan_trains(plan) && !plan->tensors[graph->output].wants_diff)
        status = ssld_fail(plan->context, SSLD_UNSUPPORTED, "%s: the network has no parameter to train", graph->name);
    return status;
}

/* -- Lifetimes ---------------------------------------------------------------------------------------------------- *
 *
 * Time 0 .. n-1 is the forward of each step, n .. 2n-1 the backward in reverse. An activation lives from its producer to
 * its last reader, which in training may be a backward; a diff from the backward of the value's last reader to that of its
 * producer. Block 2v is the data of value v, 2v + 1 its diff; behind them stand the steps' workspaces. */

static void live_until(struct lifetime *block, int32_t time)
{
    if (block->last < time)
        block->last = time;
}

static void find_lifetimes(struct ssld_plan *plan, struct lifetime *blocks)
{
    const struct ssld_graph *graph = plan->graph;
    int32_t n = graph->node_count;
    for (int32_t i = 0; i < n; i++) {
        struct step *step = &plan->steps[i];
        int32_t forward = i, backward = 2 * n - 1 - i;
        bool active = ssld_step_dst(plan, step)->wants_diff;
        struct lifetime *dst = &blocks[2 * step->node->output], *workspace = &blocks[2 * graph->value_count + i];
        *dst = (struct lifetime){ .bytes = ssld_step_dst(plan, step)->bytes, .first = forward, .last = forward };
        *workspace =
            (struct lifetime){ .bytes = step->workspace_bytes, .first = forward, .last = active ? backward : forward };
        if (active) {
            dst[1] = (struct lifetime){ .bytes = dst->bytes, .first = n, .last = backward };
            if (step->op->backward_reads & READS_DST)
                live_until(dst, backward);
        }
        for (int32_t k = 0; k < step->node->input_count; k++) {
            int32_t input = step->node->inputs[k];
            if (input == SSLD_NO_VALUE || graph->values[input].role != SSLD_VALUE_ACTIVATION)
                continue;
            live_until(&blocks[2 * input], active && (step->op->backward_reads & READS_SRC) ? backward : forward);
            /* Readers come in order, so the last one visited has the earliest backward. */
            if (plan->tensors[input].wants_diff)
                blocks[2 * input + 1].first = backward;
        }
    }
    live_until(&blocks[2 * graph->output], 2 * n); /* the caller reads the logits */
}

/* The first backward to write a diff writes it, later ones add to it. */
static void find_accumulations(struct ssld_plan *plan, bool *written)
{
    const struct ssld_graph *graph = plan->graph;
    for (int32_t i = graph->node_count - 1; i >= 0; i--) {
        struct step *step = &plan->steps[i];
        if (!ssld_step_dst(plan, step)->wants_diff)
            continue;
        for (int32_t k = 0; k < step->node->input_count; k++) {
            int32_t input = step->node->inputs[k];
            if (input == SSLD_NO_VALUE || !plan->tensors[input].wants_diff)
                continue;
            if (written[input]) {
                step->accumulate |= (uint8_t)(1u << k);
                ssld_plan_need(&plan->accumulator_bytes, plan->tensors[input].bytes);
            }
            written[input] = true;
        }
    }
}

static ssld_status place_tensors(struct ssld_plan *plan)
{
    const struct ssld_graph *graph = plan->graph;
    ssld_status status = SSLD_OK;
    int32_t count = 2 * graph->value_count + graph->node_count;
    struct lifetime *blocks = ssld_alloc_zero(plan->context, (size_t)count, sizeof *blocks);
    int32_t *order = ssld_alloc_zero(plan->context, (size_t)count, sizeof *order);
    bool *written = ssld_alloc_zero(plan->context, (size_t)graph->value_count, sizeof *written);
    if (!blocks || !order || !written) {
        status = ssld_fail_memory(plan->context, "the memory plan", (size_t)count * sizeof *blocks);
        goto done;
    }
    blocks[2 * graph->input].bytes = plan->tensors[graph->input].bytes;
    find_accumulations(plan, written);
    find_lifetimes(plan, blocks);
    plan->arena_bytes = ssld_arena_place(blocks, count, order);
    plan->arena = ssld_alloc(plan->context, plan->arena_bytes);
    if (!plan->arena) {
        status = ssld_fail_memory(plan->context, "activations; a smaller batch needs less", plan->arena_bytes);
        goto done;
    }
    memset(plan->arena, 0, plan->arena_bytes);
    for (int32_t v = 0; v < graph->value_count; v++) {
        struct tensor *tensor = &plan->tensors[v];
        if (blocks[2 * v].bytes)
            tensor->data = (float *)(plan->arena + blocks[2 * v].offset);
        if (tensor->wants_diff)
            tensor->diff = (float *)(plan->arena + blocks[2 * v + 1].offset);
        if (tensor->parameter >= 0) {
            tensor->data = plan->parameters[tensor->parameter].visible.value;
            tensor->diff = plan->parameters[tensor->parameter].visible.diff;
        }
    }
    for (int32_t i = 0; i < graph->node_count; i++)
        if (plan->steps[i].workspace_bytes)
            plan->steps[i].workspace = (float *)(plan->arena + blocks[2 * graph->value_count + i].offset);
done:
    ssld_free(plan->context, blocks);
    ssld_free(plan->context, order);
    ssld_free(plan->context, written);
    return status;
}

static ssld_status allocate_shared(struct ssld_plan *plan)
{
    plan->accumulator_bytes = (plan->accumulator_bytes + 63) / 64 * 64;
    plan->scratchpad = ssld_alloc(plan->context, plan->scratchpad_bytes);
    plan->reordered = ssld_alloc(plan->context, plan->reordered_bytes);
    plan->partial = ssld_alloc(plan->context, plan->partial_bytes);
    plan->accumulator = ssld_alloc(plan->context, 2 * plan->accumulator_bytes);
    if (plan->scratchpad && plan->reordered && plan->partial && plan->accumulator)
        return SSLD_OK;
    return ssld_fail_memory(plan->context, "a plan's working buffers",
                            plan->scratchpad_bytes + plan->reordered_bytes + plan->partial_bytes +
                                2 * plan->accumulator_bytes);
}

/* -- The plan ----------------------------------------------------------------------------------------------------- */

static ssld_status build(struct ssld_plan *plan, const struct ssld_graph *graph)
{
    ssld_status status = ssld_graph_clone(graph, &plan->source);
    if (!status)
        status = ssld_graph_clone(graph, &plan->graph);
    if (!status)
        status = run_passes(plan);
    if (!status)
        status = ssld_dnnl_open(plan->context, &plan->dnnl);
    if (!status)
        status = choose_block(plan);
    if (status)
        return status;

    size_t values = (size_t)plan->graph->value_count;
    plan->tensors = ssld_alloc_zero(plan->context, values, sizeof *plan->tensors);
    plan->parameters = ssld_alloc_zero(plan->context, values, sizeof *plan->parameters);
    plan->steps = ssld_alloc_zero(plan->context, (size_t)plan->graph->node_count, sizeof *plan->steps);
    if (!plan->tensors || !plan->parameters || !plan->steps)
        return ssld_fail_memory(plan->context, "a plan", values * sizeof *plan->tensors);
    for (size_t v = 0; v < values; v++)
        plan->tensors[v].parameter = -1;

    status = prepare_steps(plan);
    if (!status)
        status = ssld_parameters_allocate(plan);
    if (!status)
        status = place_tensors(plan);
    if (!status)
        status = allocate_shared(plan);
    if (!status)
        status = ssld_parameters_load(plan);
    for (int32_t i = 0; !status && i < plan->graph->node_count; i++)
        if (plan->steps[i].op->bind)
            status = plan->steps[i].op->bind(plan, &plan->steps[i]);
    return status;
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
    /* Primitives are made for a thread count. */
    struct thread_settings before = ssld_threads_enter(made->options.threads);
    status = build(made, graph);
    ssld_threads_leave(before);
    if (status) {
        ssld_plan_destroy(made);
        return status;
    }
    ssld_log(context, SSLD_LOG_INFO, "%s: batch %d, blocks of %d channels, %.1f MB of activations, %d threads",
             graph->name, options->batch, (int)made->block, (double)made->arena_bytes / 1e6, made->options.threads);
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
    if (plan->parameters)
        ssld_parameters_release(plan);
    ssld_dnnl_close(&plan->dnnl);
    ssld_free(context, plan->steps);
    ssld_free(context, plan->tensors);
    ssld_free(context, plan->parameters);
    ssld_free(context, plan->arena);
    ssld_free(context, plan->scratchpad);
    ssld_free(context, plan->reordered);
    ssld_free(context, plan->partial);
    ssld_free(context, plan->accumulator);
    ssld_graph_destroy(plan->graph);
    ssld_graph_destroy(plan->source);
    ssld_free(context, plan);
}
