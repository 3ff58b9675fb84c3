/* SPDX-License-Identifier: BSD-2-Clause */
/* profile.c - where a plan's time goes, by operator and direction, and the time that its convolutions' bare primitives take.
 *
 * A plan runs a list of actions (schedule.c), each for every chunk of its segment. run.c adds up an action's seconds and,
 * inside of it, the addition of diffs; call.c adds up each primitive's. What is left of a convolution's backward when data,
 * reorders and addition are taken away is backward weights. Counts and bytes need no counters: they follow from the schedule. */
#include "engine/depthwise.h"
#include "engine/weighted.h"

#include <stdlib.h>
#include <string.h>

enum direction {
    DIRECTION_FORWARD,
    DIRECTION_AGAIN_FORWARD,
    DIRECTION_MOMENTS,
    DIRECTION_REORDER_FORWARD,
    DIRECTION_AGAIN_BACKWARD,
    DIRECTION_SUMS,
    DIRECTION_DATA,
    DIRECTION_WEIGHTS,
    DIRECTION_BACKWARD,
    DIRECTION_ADDITION,
    DIRECTION_REORDER_BACKWARD,
    DIRECTIONS
};

static const struct {
    const char *name;
    int32_t     stage;
} directions[DIRECTIONS] = {
    [DIRECTION_FORWARD] = { "forward", SSLD_STAGE_FORWARD },
    [DIRECTION_AGAIN_FORWARD] = { "forward again", SSLD_STAGE_FORWARD },
    [DIRECTION_MOMENTS] = { "moments", SSLD_STAGE_FORWARD },
    [DIRECTION_REORDER_FORWARD] = { "reorder", SSLD_STAGE_FORWARD },
    [DIRECTION_AGAIN_BACKWARD] = { "forward again", SSLD_STAGE_BACKWARD },
    [DIRECTION_SUMS] = { "sums", SSLD_STAGE_BACKWARD },
    [DIRECTION_DATA] = { "backward data", SSLD_STAGE_BACKWARD },
    [DIRECTION_WEIGHTS] = { "backward weights", SSLD_STAGE_BACKWARD },
    [DIRECTION_BACKWARD] = { "backward", SSLD_STAGE_BACKWARD },
    [DIRECTION_ADDITION] = { "addition", SSLD_STAGE_BACKWARD },
    [DIRECTION_REORDER_BACKWARD] = { "reorder", SSLD_STAGE_BACKWARD },
};

/* Sums over all actions of one operator and direction. */
struct cell {
    double  seconds, flop;
    int64_t calls, bytes;
};

struct table {
    struct cell cells[SSLD_OP_KINDS][DIRECTIONS];
    double      seconds[2]; /* in all actions of SSLD_STAGE_FORWARD, SSLD_STAGE_BACKWARD */
};

/* NULL: the step has no weights for oneDNN. */
static struct weighted *weighted_of(const struct step *step)
{
    return step->op->make_whole ? step->state : NULL;
}

/* -- On and off --------------------------------------------------------------------------------------------------- */

static void reset(struct ssld_plan *plan)
{
    for (int32_t a = 0; a < plan->action_count; a++)
        plan->actions[a].seconds = 0;
    for (int32_t i = 0; i < plan->graph->node_count; i++) {
        struct weighted *calls = weighted_of(&plan->steps[i]);
        plan->steps[i].accumulate_seconds = 0;
        if (!calls)
            continue;
        calls->forward.seconds = calls->backward_data.seconds = calls->backward_weights.seconds = 0;
        calls->data_seconds = calls->reorder_forward.seconds = calls->reorder_weights.seconds = calls->reorder_diff.seconds = 0;
    }
    plan->forward_seconds = plan->backward_seconds = plan->outside_seconds = 0;
}

void ssld_plan_profile_begin(struct ssld_plan *plan)
{
    reset(plan);
    plan->profiled = true;
}

void ssld_plan_profile_end(struct ssld_plan *plan)
{
    plan->profiled = false;
    reset(plan);
}

bool ssld_plan_profiled(const struct ssld_plan *plan)
{
    return plan->profiled;
}

/* -- Bytes of tensors, for the whole batch ------------------------------------------------------------------------ */

static int64_t data_bytes(const struct ssld_plan *plan, int32_t value)
{
    if (plan_has_activation(plan, value))
        return (int64_t)plan->tensors[value].image_bytes * plan->options.batch;
    return ssld_value_elements(&plan->graph->values[value]) * (int64_t)sizeof(float);
}

/* 0 if nobody wants the diff. */
static int64_t diff_bytes(const struct ssld_plan *plan, int32_t value)
{
    const struct tensor *tensor = &plan->tensors[value];
    if (!plan_has_activation(plan, value))
        return plan->graph->values[value].role == SSLD_VALUE_PARAMETER ? data_bytes(plan, value) : 0;
    return tensor->wants_diff ? data_bytes(plan, value) / (int64_t)element_size(tensor->planes.type) *
                                    (int64_t)element_size(plan->type)
                              : 0;
}

static int64_t sum_inputs(const struct ssld_plan *plan, const struct ssld_node *node,
                          int64_t (*bytes_of)(const struct ssld_plan *plan, int32_t value), bool activations, bool constants)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != SSLD_NO_VALUE && (plan_has_activation(plan, node->inputs[i]) ? activations : constants))
            bytes += bytes_of(plan, node->inputs[i]);
    return bytes;
}

static int64_t bytes_moved(const struct ssld_plan *plan, const struct step *step, int32_t direction)
{
    const struct ssld_node *node = step->node;
    int64_t src = sum_inputs(plan, node, data_bytes, true, false), constants = sum_inputs(plan, node, data_bytes, false, true);
    int64_t diff_src = sum_inputs(plan, node, diff_bytes, true, false), diff_dst = diff_bytes(plan, node->output);
    int64_t dst = data_bytes(plan, node->output), diff_constants = sum_inputs(plan, node, diff_bytes, false, true);
    uint8_t reads = step->op->backward_reads;
    switch (direction) {
    case DIRECTION_FORWARD:
    case DIRECTION_AGAIN_FORWARD:
    case DIRECTION_AGAIN_BACKWARD:
        return src + constants + dst;
    case DIRECTION_MOMENTS:
        return src;
    case DIRECTION_SUMS:
        return src + diff_dst;
    case DIRECTION_DATA:
        return diff_dst + constants + diff_src;
    case DIRECTION_WEIGHTS:
        return src + diff_dst + diff_constants;
    case DIRECTION_BACKWARD:
        return (reads & READS_SRC ? src : 0) + (reads & READS_DST ? dst : 0) + constants + diff_dst + diff_src + diff_constants;
    default:
        return 0; /* counted where they are found */
    }
}

/* -- From actions to the table ------------------------------------------------------------------------------------ */

static void add(struct table *table, const struct ssld_plan *plan, const struct step *step, int32_t direction, int64_t calls,
                double seconds)
{
    const struct ssld_op *op = &ssld_ops[step->node->kind];
    bool multiplies = direction == DIRECTION_FORWARD || direction == DIRECTION_DATA || direction == DIRECTION_WEIGHTS;
    struct cell *cell = &table->cells[step->node->kind][direction];
    if (!calls)
        return;
    cell->seconds += seconds;
    cell->calls += calls;
    cell->bytes += bytes_moved(plan, step, direction);
    if (multiplies && op->macs)
        cell->flop += 2.0 * (double)op->macs(plan->graph, step->node) * plan->options.batch;
}

/* Reorders read a tensor and write it. Returns their seconds. */
static double add_reorder(struct table *table, const struct ssld_plan *plan, const struct step *step, int32_t direction,
                          int64_t calls, const struct call *call)
{
    struct cell *cell = &table->cells[step->node->kind][direction];
    if (!call->primitive.primitive)
        return 0;
    add(table, plan, step, direction, calls, call->seconds);
    cell->bytes += 2 * calls * data_bytes(plan, step->node->inputs[1]);
    return call->seconds;
}

/* The sum with an earlier part: both are read, it is written. Returns its seconds. */
static double add_addition(struct table *table, const struct ssld_plan *plan, const struct step *step, int64_t chunks)
{
    struct cell *cell = &table->cells[step->node->kind][DIRECTION_ADDITION];
    for (int32_t k = 0; k < step->node->input_count; k++)
        if (step->accumulate >> k & 1) {
            add(table, plan, step, DIRECTION_ADDITION, chunks, 0);
            cell->bytes += 3 * diff_bytes(plan, step->node->inputs[k]);
        }
    cell->seconds += step->accumulate_seconds;
    return step->accumulate_seconds;
}

static void add_backward(struct table *table, const struct ssld_plan *plan, const struct step *step, int64_t chunks,
                         double seconds)
{
    const struct weighted *calls = weighted_of(step);
    double data = calls ? calls->backward_data.seconds + calls->data_seconds : 0;
    seconds -= add_addition(table, plan, step, chunks);
    if (!calls) {
        add(table, plan, step, DIRECTION_BACKWARD, chunks, seconds);
        return;
    }
    seconds -= add_reorder(table, plan, step, DIRECTION_REORDER_BACKWARD, 1, &calls->reorder_weights);
    seconds -= add_reorder(table, plan, step, DIRECTION_REORDER_BACKWARD, chunks, &calls->reorder_diff);
    add(table, plan, step, DIRECTION_DATA, data > 0 ? chunks : 0, data);
    add(table, plan, step, DIRECTION_WEIGHTS, chunks, seconds - data);
}

/* Has an earlier action made this one's value? */
static bool made_before(const struct ssld_plan *plan, int32_t action)
{
    int32_t step = plan->actions[action].step;
    if (!plan->again[plan->steps[step].node->output])
        return false;
    for (int32_t a = 0; a < action; a++)
        if (plan->actions[a].step == step && plan->actions[a].kind == ACTION_FORWARD)
            return true;
    return false;
}

static void add_forward(struct table *table, const struct ssld_plan *plan, int32_t action, int32_t stage, int64_t chunks)
{
    const struct step *step = &plan->steps[plan->actions[action].step];
    const struct weighted *calls = weighted_of(step);
    double seconds = plan->actions[action].seconds;
    int32_t direction = DIRECTION_FORWARD;
    if (made_before(plan, action))
        direction = stage == SSLD_STAGE_FORWARD ? DIRECTION_AGAIN_FORWARD : DIRECTION_AGAIN_BACKWARD;
    if (calls)
        seconds -= add_reorder(table, plan, step, DIRECTION_REORDER_FORWARD, 1, &calls->reorder_forward);
    add(table, plan, step, direction, chunks, seconds);
}

static void collect(const struct ssld_plan *plan, struct table *table)
{
    memset(table, 0, sizeof *table);
    for (int32_t s = 0; s < plan->segment_count; s++) {
        const struct segment *segment = &plan->segments[s];
        int32_t stage = s < plan->forward_segments ? SSLD_STAGE_FORWARD : SSLD_STAGE_BACKWARD;
        int64_t chunks = plan->options.batch / segment->images * segment->parts;
        for (int32_t a = segment->first; a < segment->first + segment->count; a++) {
            const struct action *action = &plan->actions[a];
            const struct step *step = &plan->steps[action->step];
            table->seconds[stage] += action->seconds;
            if (action->kind == ACTION_FORWARD)
                add_forward(table, plan, a, stage, chunks);
            else if (action->kind == ACTION_BACKWARD)
                add_backward(table, plan, step, chunks, action->seconds);
            else
                add(table, plan, step, action->kind == ACTION_OBSERVE ? DIRECTION_MOMENTS : DIRECTION_SUMS, chunks,
                    action->seconds);
        }
    }
}

/* -- Entries ------------------------------------------------------------------------------------------------------ */

static ssld_profile_entry entry_of(const char *name, const char *direction, int32_t stage, double seconds)
{
    return (ssld_profile_entry){ .struct_size = sizeof(ssld_profile_entry), .name = name, .direction = direction,
                                 .stage = stage, .calls = 1, .milliseconds = 1e3 * seconds };
}

/* Behind the operators: what is left of forward and backward, and what ran outside of both. */
static bool rest_entry(const struct ssld_plan *plan, const struct table *table, int32_t index, ssld_profile_entry *entry)
{
    const ssld_profile_entry rest[] = {
        entry_of("Rest", "forward", SSLD_STAGE_FORWARD, plan->forward_seconds - table->seconds[SSLD_STAGE_FORWARD]),
        entry_of("Rest", "backward", SSLD_STAGE_BACKWARD, plan->backward_seconds - table->seconds[SSLD_STAGE_BACKWARD]),
        entry_of("Optimizer", "update", SSLD_STAGE_UPDATE, plan->outside_seconds),
    };
    if (index < 0 || index >= (int32_t)(sizeof rest / sizeof rest[0]))
        return false;
    *entry = rest[index];
    return true;
}

bool ssld_plan_profile_entry(const struct ssld_plan *plan, int32_t index, ssld_profile_entry *entry)
{
    struct table table;
    if (index < 0)
        return false;
    collect(plan, &table);
    for (int32_t kind = 0; kind < SSLD_OP_KINDS; kind++)
        for (int32_t d = 0; d < DIRECTIONS; d++) {
            const struct cell *cell = &table.cells[kind][d];
            if (!cell->calls || index--)
                continue;
            *entry = entry_of(ssld_ops[kind].name, directions[d].name, directions[d].stage, cell->seconds);
            entry->calls = cell->calls;
            entry->gflop = 1e-9 * cell->flop;
            entry->bytes = cell->bytes;
            return true;
        }
    return rest_entry(plan, &table, index, entry);
}

/* -- Bare primitives ---------------------------------------------------------------------------------------------- */

#define MOST_REPEATS 100

enum place_name { PLACE_SRC, PLACE_WEIGHTS, PLACE_BIAS, PLACE_DST, PLACE_DIFF_SRC, PLACE_DIFF_WEIGHTS, PLACE_DIFF_BIAS,
                  PLACE_DIFF_DST, PLACE_SCRATCHPAD, PLACE_PARTIAL, PLACES };

/* A layer's primitives with memory of their own. */
struct bare {
    struct ssld_plan  *plan;
    const struct step *step;
    struct weighted    calls;
    char              *memory[PLACES];
    size_t             bytes[PLACES];
};

/* What a primitive reads and writes. */
struct argument {
    int          identifier; /* DNNL_ARG_x */
    dnnl_query_t what;
    int          index;
    int32_t      place;
};

#define MOST_BARE_ARGUMENTS 5

static const struct argument forward_arguments[MOST_BARE_ARGUMENTS] = {
    { DNNL_ARG_SRC, dnnl_query_src_md, 0, PLACE_SRC },
    { DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, PLACE_WEIGHTS },
    { DNNL_ARG_BIAS, dnnl_query_weights_md, 1, PLACE_BIAS },
    { DNNL_ARG_DST, dnnl_query_dst_md, 0, PLACE_DST },
    { DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md, 0, PLACE_SCRATCHPAD },
};
static const struct argument data_arguments[MOST_BARE_ARGUMENTS] = {
    { DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, PLACE_DIFF_DST },
    { DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, PLACE_WEIGHTS },
    { DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, 0, PLACE_DIFF_SRC },
    { DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md, 0, PLACE_SCRATCHPAD },
};
static const struct argument weights_arguments[MOST_BARE_ARGUMENTS] = {
    { DNNL_ARG_SRC, dnnl_query_src_md, 0, PLACE_SRC },
    { DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, PLACE_DIFF_DST },
    { DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md, 0, PLACE_DIFF_WEIGHTS },
    { DNNL_ARG_DIFF_BIAS, dnnl_query_diff_weights_md, 1, PLACE_DIFF_BIAS },
    { DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md, 0, PLACE_SCRATCHPAD },
};

/* Does the layer have this argument? */
static bool has(const struct bare *bare, const struct argument *argument)
{
    bool bias = argument->place == PLACE_BIAS || argument->place == PLACE_DIFF_BIAS;
    return argument->identifier && (!bias || ssld_step_parameter(bare->plan, bare->step, 2));
}

static ssld_status count_bytes(struct bare *bare, const struct call *call, const struct argument *arguments)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; call->primitive.primitive && !status && i < MOST_BARE_ARGUMENTS; i++) {
        ssld_md *md = NULL;
        if (!has(bare, &arguments[i]))
            continue;
        status = ssld_md_of(&bare->plan->dnnl, &call->primitive, arguments[i].what, arguments[i].index, &md);
        if (!status)
            ssld_plan_need(&bare->bytes[arguments[i].place], ssld_md_size(md));
        ssld_md_destroy(&bare->plan->dnnl, md);
    }
    return status;
}

static ssld_status bind(struct bare *bare, struct call *call, const struct argument *arguments)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; call->primitive.primitive && !status && i < MOST_BARE_ARGUMENTS; i++)
        if (has(bare, &arguments[i]))
            status = ssld_call_bind(bare->plan, call, arguments[i].identifier, arguments[i].what, arguments[i].index,
                                    ssld_operand_at(bare->memory[arguments[i].place]));
    return status;
}

static ssld_status allocate(struct bare *bare)
{
    for (int32_t i = 0; i < PLACES; i++) {
        if (!bare->bytes[i])
            continue;
        bare->memory[i] = ssld_arena_allocate(bare->plan, bare->bytes[i]);
        if (!bare->memory[i])
            return ssld_fail_memory(bare->plan->context, "measuring a layer alone", bare->bytes[i]);
        memset(bare->memory[i], 0x3C, bare->bytes[i]); /* 0.0115 in either precision: ordinary numbers, as in training */
    }
    return SSLD_OK;
}

/* Where depthwise backward weights is a kernel of ours: its sums over the whole batch. Of 1 x 1 convolutions oneDNN's are what is
 * compared with. */
static bool is_ours(const struct bare *bare)
{
    return ssld_step_dst(bare->plan, bare->step)->wants_diff && bare->step->node->attributes.group > 1 &&
           !weighted_of(bare->step)->backward_weights.primitive.primitive;
}

static ssld_status run_ours(struct bare *bare)
{
    struct ssld_plan *plan = bare->plan;
    struct planes src = ssld_planes_for(&ssld_step_src(plan, bare->step, 0)->planes, plan->options.batch);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, bare->step)->planes, plan->options.batch);
    ssld_depthwise_backward_weights(&src, &dst, &bare->step->node->attributes.window, bare->memory[PLACE_SRC],
                                    bare->memory[PLACE_DIFF_DST], (float *)bare->memory[PLACE_PARTIAL], false,
                                    (float *)bare->memory[PLACE_DIFF_WEIGHTS]);
    return SSLD_OK;
}

static size_t partial_bytes(const struct bare *bare)
{
    struct ssld_plan *plan = bare->plan;
    struct planes src = ssld_planes_for(&ssld_step_src(plan, bare->step, 0)->planes, plan->options.batch);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, bare->step)->planes, plan->options.batch);
    return ssld_depthwise_weights_room_bytes(&src, &dst, &bare->step->node->attributes.window, plan->options.threads);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* One run of a primitive, or of our kernel if `call` is NULL. */
static ssld_status run_once(struct bare *bare, struct call *call, double *seconds)
{
    double before = ssld_seconds();
    ssld_status status = call ? ssld_call_run(bare->plan, bare->step, call, "measured alone") : run_ours(bare);
    *seconds = ssld_seconds() - before;
    return status;
}

/* The median of `repeats` runs behind one that warms up. One that takes several times as long as `known` already does is not
 * run again (oneDNN's 5x5 depthwise backward weights takes 100 times as long as ours). */
static ssld_status measure(struct bare *bare, struct call *call, int32_t repeats, double known, double *median)
{
    double runs[MOST_REPEATS], warm;
    ssld_status status = run_once(bare, call, &warm);
    *median = warm;
    if (status || (known > 0 && warm > 4 * known))
        return status;
    for (int32_t i = 0; !status && i < repeats; i++)
        status = run_once(bare, call, &runs[i]);
    if (status)
        return status;
    qsort(runs, (size_t)repeats, sizeof *runs, compare);
    *median = (runs[(repeats - 1) / 2] + runs[repeats / 2]) / 2;
    return SSLD_OK;
}

static ssld_status measure_made(struct bare *bare, struct call *call, int32_t repeats, double *sum)
{
    double median = 0;
    ssld_status status = call->primitive.primitive ? measure(bare, call, repeats, 0, &median) : SSLD_OK;
    *sum += median;
    return status;
}

static ssld_status measure_weights(struct bare *bare, int32_t repeats, double *sum)
{
    double ours = 0, theirs = 0;
    if (!is_ours(bare))
        return measure_made(bare, &bare->calls.backward_weights, repeats, sum);
    ssld_status status = measure(bare, NULL, repeats, 0, &ours);
    if (!status)
        status = measure(bare, &bare->calls.backward_weights, repeats, ours, &theirs);
    *sum += theirs < ours ? theirs : ours;
    return status;
}

static ssld_status measure_layer(struct ssld_plan *plan, struct step *step, int32_t repeats, double *sum)
{
    struct bare bare = { .plan = plan, .step = step };
    struct weighted *calls = &bare.calls;
    ssld_status status = step->op->make_whole(plan, step, calls);
    if (!status && is_ours(&bare))
        bare.bytes[PLACE_PARTIAL] = partial_bytes(&bare);
    if (!status && !(status = count_bytes(&bare, &calls->forward, forward_arguments)) &&
        !(status = count_bytes(&bare, &calls->backward_data, data_arguments)) &&
        !(status = count_bytes(&bare, &calls->backward_weights, weights_arguments)) && !(status = allocate(&bare)) &&
        !(status = bind(&bare, &calls->forward, forward_arguments)) &&
        !(status = bind(&bare, &calls->backward_data, data_arguments)) &&
        !(status = bind(&bare, &calls->backward_weights, weights_arguments)) &&
        !(status = measure_made(&bare, &calls->forward, repeats, sum)) &&
        !(status = measure_made(&bare, &calls->backward_data, repeats, sum)))
        status = measure_weights(&bare, repeats, sum);
    ssld_weighted_release(plan, calls);
    for (int32_t i = 0; i < PLACES; i++)
        ssld_free(plan->context, bare.memory[i]);
    return status;
}

ssld_status ssld_plan_measure_primitives(struct ssld_plan *plan, int32_t repeats, double *seconds)
{
    double sum = 0;
    ssld_status status = ssld_threads_check(plan->context);
    if (!status && (repeats < 1 || repeats > MOST_REPEATS))
        status = ssld_fail(plan->context, SSLD_INVALID_ARGUMENT, "measuring primitives: %d repeats, it takes 1 to %d", repeats,
                           MOST_REPEATS);
    if (status)
        return status;
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
    for (int32_t i = 0; !status && i < plan->graph->node_count; i++) {
        if (!plan->steps[i].op->make_whole)
            continue;
        status = measure_layer(plan, &plan->steps[i], repeats, &sum);
        if (!status)
            status = ssld_check_cancelled(plan->context);
    }
    ssld_threads_leave(before);
    if (!status)
        *seconds = sum;
    return status;
}

size_t ssld_isa(char *buffer, size_t size)
{
    const char *name = ssld_dnnl_isa();
    size_t length = strlen(name), kept = length < size ? length : size - 1;
    if (size) {
        memcpy(buffer, name, kept);
        buffer[kept] = 0;
    }
    return length;
}
