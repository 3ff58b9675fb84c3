/* SPDX-License-Identifier: BSD-2-Clause */
/* schedule.c - in which order a plan computes, and how much of the batch at a time.
 *
 * Memory is five times slower than cache, and a layer of a whole batch never fits into cache. So forward and backward are cut
 * into segments, each run from end to end for one chunk of images before the next chunk begins: what a convolution writes is
 * still in cache when batch norm takes its moments, and batch norm's result goes into the next convolution without ever
 * reaching memory. Only batch norm needs all images at once, which ends a segment:
 *
 *   forward     segment k   for each chunk:  normalise with layer k-1's moments, activate, convolve, take moments of layer k
 *               then        layer k's moments are complete
 *   backward    segment k   for each chunk:  layer k+1's diff of its src, convolution backward, sums of layer k's diffs
 *               then        layer k's sums are complete
 *
 * A value whose operator is cheap is never stored: each segment that reads it makes it again, from what is in memory anyway
 * (a convolution's dst instead of its normalised and activated form, which also halves the memory that training needs).
 *
 * Where one image alone is too large and a segment keeps channels apart, as a depthwise convolution between two batch norms does,
 * a chunk is a part of an image: some of its blocks of channels.
 *
 * A value's level is the number of batch norms' moments that must be complete before it can be computed, a diff's level the
 * number of sums of diffs. Everything of a level is one segment. */
#include "engine/layouts.h"

#include <string.h>
#include <unistd.h>

/* A value made again is made from others that are; so many in a row and no more. */
#define MOST_AGAIN 16

struct builder {
    struct ssld_plan *plan;
    int32_t  *producer;    /* node of each value, or -1 */
    int32_t  *level;       /* of each value in forward */
    int32_t  *diff_level;  /* of each value's diff, once complete */
    int32_t  *made;        /* the last segment in which each value was made again */
    bool     *written;     /* diffs that have a part */
    bool     *adds;        /* values that are made again by adding */
    int32_t   action_capacity, access_capacity, segment_capacity;
    int32_t   segment;     /* being built */
    ssld_status status;
};

static bool batch_decides(const struct ssld_plan *plan, const struct ssld_node *node)
{
    return node->kind == SSLD_OP_BATCH_NORM && plan->options.mode != SSLD_PLAN_EVAL;
}

/* -- Lists that grow ---------------------------------------------------------------------------------------------- */

static bool grow(struct builder *b, void **list, int32_t count, int32_t *capacity, size_t size)
{
    if (b->status || count < *capacity)
        return !b->status;
    int32_t wanted = *capacity ? 2 * *capacity : 256;
    void *longer = ssld_alloc_zero(b->plan->context, (size_t)wanted, size);
    if (!longer) {
        b->status = ssld_fail_memory(b->plan->context, "a plan's schedule", (size_t)wanted * size);
        return false;
    }
    if (count)
        memcpy(longer, *list, (size_t)count * size);
    ssld_free(b->plan->context, *list);
    *list = longer;
    *capacity = wanted;
    return true;
}

static void touch(struct builder *b, int32_t id)
{
    struct ssld_plan *plan = b->plan;
    if (grow(b, (void **)&plan->accesses, plan->access_count, &b->access_capacity, sizeof *plan->accesses))
        plan->accesses[plan->access_count++] = (struct access){ id, plan->action_count - 1 };
}

static void touch_data(struct builder *b, int32_t value)
{
    if (plan_has_activation(b->plan, value))
        touch(b, 2 * b->plan->layouts[value].root);
}

static void touch_diff(struct builder *b, int32_t value)
{
    if (plan_has_activation(b->plan, value) && b->plan->tensors[value].wants_diff)
        touch(b, 2 * value + 1);
}

static void emit(struct builder *b, int32_t step, int32_t kind)
{
    struct ssld_plan *plan = b->plan;
    if (!grow(b, (void **)&plan->actions, plan->action_count, &b->action_capacity, sizeof *plan->actions))
        return;
    plan->actions[plan->action_count++] = (struct action){ .step = step, .kind = kind };
    plan->segments[b->segment].count++;
}

static void begin_segment(struct builder *b)
{
    struct ssld_plan *plan = b->plan;
    if (!grow(b, (void **)&plan->segments, plan->segment_count, &b->segment_capacity, sizeof *plan->segments))
        return;
    b->segment = plan->segment_count++;
    plan->segments[b->segment] = (struct segment){ .first = plan->action_count };
}

/* -- Forward ------------------------------------------------------------------------------------------------------ */

static void forward(struct builder *b, int32_t step);

/* See that a value can be read by the next action of this segment. */
static void need(struct builder *b, int32_t value)
{
    if (b->status || !plan_has_activation(b->plan, value) || !b->plan->again[value] || b->made[value] == b->segment)
        return;
    b->made[value] = b->segment;
    forward(b, b->producer[value]);
}

static void need_inputs(struct builder *b, const struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++)
        need(b, node->inputs[i]);
}

static void touch_inputs(struct builder *b, const struct ssld_node *node)
{
    for (int32_t i = 0; i < node->input_count; i++)
        touch_data(b, node->inputs[i]);
}

static void forward(struct builder *b, int32_t step)
{
    const struct ssld_node *node = &b->plan->graph->nodes[step];
    need_inputs(b, node);
    emit(b, step, ACTION_FORWARD);
    touch_inputs(b, node);
    touch_data(b, node->output);
    if (!b->plan->again[node->output]) {
        touch(b, 2 * b->plan->graph->value_count + step);
        b->plan->steps[step].forward_segment = b->segment;
    }
}

static void observe(struct builder *b, int32_t step)
{
    const struct ssld_node *node = &b->plan->graph->nodes[step];
    need(b, node->inputs[0]);
    emit(b, step, ACTION_OBSERVE);
    touch_data(b, node->inputs[0]);
}

/* Whether sums of residual blocks are made again, every second one, from the one before, which is stored: an eighth less
 * memory for ResNet50_vd. In f32 that costs it 2 % of its time, in bf16, whose convolutions take half as long, 5 %:
 * there they are stored. */
static bool adds_again(const struct ssld_plan *plan)
{
    return plan->type == ELEMENT_F32;
}

/* Levels of all values, and which values are made again. */
static int32_t find_levels(struct builder *b)
{
    struct ssld_plan *plan = b->plan;
    const struct ssld_graph *graph = plan->graph;
    int32_t highest = 0;
    int32_t *depth = b->made; /* of values made from values made again; reset below */
    for (int32_t v = 0; v < graph->value_count; v++)
        b->producer[v] = -1;
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        int32_t level = 0, deepest = 0;
        bool adds = node->kind == SSLD_OP_ADD, added = false;
        for (int32_t i = 0; i < node->input_count; i++) {
            int32_t input = node->inputs[i];
            if (!plan_has_activation(plan, input))
                continue;
            level = b->level[input] > level ? b->level[input] : level;
            if (plan->again[input] && depth[input] > deepest)
                deepest = depth[input];
            added |= plan->again[input] && b->adds[input];
        }
        level += batch_decides(plan, node);
        b->producer[node->output] = n;
        b->level[node->output] = level;
        plan->again[node->output] = plan->options.mode != SSLD_PLAN_EVAL && ssld_engine_ops[node->kind]->cheap &&
                                    node->output != graph->output && !ssld_output_is_kept(plan, node->output) &&
                                    deepest < MOST_AGAIN && !(adds && (added || !adds_again(plan)));
        b->adds[node->output] = adds || added;
        /* What could not be made again still needs its moments first: a batch norm is stored a level later. */
        depth[node->output] = deepest + 1;
        highest = level > highest ? level : highest;
    }
    for (int32_t v = 0; v < graph->value_count; v++)
        b->made[v] = -1;
    return highest;
}

static bool is_vector(const struct ssld_value *value)
{
    return value->ndims >= 2 && ssld_value_elements(value) == value->dims[1];
}

/* Inference: the first of the last nodes, those of vectors (a classifier's fully connected layers, 1x1 convolutions behind the
 * pooling). Their weights are large and their activations small, so they get a segment and chunks of their own.
 * node_count: there is nothing to divide. */
static int32_t find_head(const struct ssld_plan *plan)
{
    const struct ssld_graph *graph = plan->graph;
    int32_t head = graph->node_count;
    bool multiplies = false;
    if (plan->options.mode != SSLD_PLAN_EVAL || plan->worker_count == 1)
        return head;
    while (head > 0 && is_vector(&graph->values[graph->nodes[head - 1].output])) {
        head--;
        multiplies |= graph->nodes[head].kind == SSLD_OP_GEMM;
    }
    return multiplies ? head : graph->node_count;
}

static void schedule_forward(struct builder *b)
{
    struct ssld_plan *plan = b->plan;
    const struct ssld_graph *graph = plan->graph;
    int32_t highest = find_levels(b), head = find_head(plan);
    for (int32_t level = 0; level <= highest && !b->status; level++) {
        begin_segment(b);
        for (int32_t n = 0; n < graph->node_count && !b->status; n++) {
            const struct ssld_node *node = &graph->nodes[n];
            if (n == head && n)
                begin_segment(b);
            if (batch_decides(plan, node) && b->level[node->output] - 1 == level)
                observe(b, n);
            if (b->level[node->output] == level && !plan->again[node->output])
                forward(b, n);
        }
    }
    plan->forward_segments = plan->segment_count;
}

/* -- Backward ----------------------------------------------------------------------------------------------------- */

static void observe_diff(struct builder *b, int32_t step)
{
    const struct ssld_node *node = &b->plan->graph->nodes[step];
    need(b, node->inputs[0]);
    emit(b, step, ACTION_OBSERVE_DIFF);
    touch_data(b, node->inputs[0]);
    touch_diff(b, node->output);
}

static void backward(struct builder *b, int32_t index)
{
    struct ssld_plan *plan = b->plan;
    struct step *step = &plan->steps[index];
    const struct ssld_node *node = &plan->graph->nodes[index];
    uint8_t reads = ssld_engine_ops[node->kind]->backward_reads;
    if (reads & READS_SRC)
        need_inputs(b, node);
    if (reads & READS_DST)
        need(b, node->output);
    emit(b, index, ACTION_BACKWARD);
    step->backward_segment = b->segment;
    if (reads & READS_SRC)
        touch_inputs(b, node);
    if (reads & READS_DST)
        touch_data(b, node->output);
    touch_diff(b, node->output);
    touch(b, 2 * plan->graph->value_count + index);
    for (int32_t i = 0; i < node->input_count; i++) {
        int32_t input = node->inputs[i];
        if (!plan_has_activation(plan, input) || !plan->tensors[input].wants_diff)
            continue;
        touch_diff(b, input);
        /* The first backward to write a diff writes it, later ones add to it. */
        if (b->written[input])
            step->accumulate |= 1u << i;
        b->written[input] = true;
    }
}

/* The level of each value's diff: that of the last of its readers' backward. */
static int32_t find_diff_levels(struct builder *b)
{
    struct ssld_plan *plan = b->plan;
    const struct ssld_graph *graph = plan->graph;
    int32_t highest = 0;
    for (int32_t n = graph->node_count - 1; n >= 0; n--) {
        const struct ssld_node *node = &graph->nodes[n];
        if (!plan->tensors[node->output].wants_diff)
            continue;
        int32_t level = b->diff_level[node->output] + batch_decides(plan, node);
        highest = level > highest ? level : highest;
        for (int32_t i = 0; i < node->input_count; i++) {
            int32_t input = node->inputs[i];
            if (plan_has_activation(plan, input) && b->diff_level[input] < level)
                b->diff_level[input] = level;
        }
    }
    return highest;
}

static void schedule_backward(struct builder *b)
{
    struct ssld_plan *plan = b->plan;
    const struct ssld_graph *graph = plan->graph;
    int32_t highest = find_diff_levels(b);
    for (int32_t level = 0; level <= highest && !b->status; level++) {
        begin_segment(b);
        for (int32_t n = graph->node_count - 1; n >= 0 && !b->status; n--) {
            const struct ssld_node *node = &graph->nodes[n];
            if (!plan->tensors[node->output].wants_diff)
                continue;
            int32_t complete = b->diff_level[node->output];
            if (batch_decides(plan, node) && complete == level)
                observe_diff(b, n);
            if (complete + batch_decides(plan, node) == level)
                backward(b, n);
        }
    }
}

/* -- Chunks ------------------------------------------------------------------------------------------------------- */

/* What a segment may touch in one chunk: the cache that a core has to itself. (Four times as much, in a fair share of the
 * last-level cache, cost 2 to 7 % on a Xeon, whose last level is as slow as memory.) The last level's own size says little: it
 * may be shared with others (a virtual machine's neighbours), and the C library's answer may be that of all sockets together. */
static size_t cache_budget(const struct ssld_plan *plan)
{
    long cache = -1;
    if (plan->options.cache_bytes)
        return plan->options.cache_bytes / (size_t)plan->worker_count;
#ifdef _SC_LEVEL2_CACHE_SIZE
    cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    if (cache <= 0)
        cache = 1 << 20;
    return (size_t)cache * (size_t)(plan->options.threads / plan->worker_count);
}

/* Bytes of one image behind an id, and of the parameters that a step reads. */
static size_t image_bytes(const struct ssld_plan *plan, int32_t id)
{
    if (id >= 2 * plan->graph->value_count)
        return 0;
    struct planes planes = ssld_planes_of_value(plan, &plan->graph->values[id / 2]);
    planes.n = 1;
    return (size_t)ssld_planes_elements(&planes) * element_size(planes.type);
}

static size_t parameter_bytes(const struct ssld_plan *plan, int32_t step)
{
    const struct ssld_node *node = &plan->graph->nodes[step];
    size_t bytes = 0;
    for (int32_t i = 1; i < node->input_count; i++)
        if (node->inputs[i] != SSLD_NO_VALUE && !plan_has_activation(plan, node->inputs[i]))
            bytes += (size_t)ssld_value_elements(&plan->graph->values[node->inputs[i]]) * sizeof(float);
    return bytes;
}

/* The largest divisor of the batch whose chunk stays in cache; more where weights, which every chunk reads again, are more
 * than the images. At most `most`, so that every worker has a chunk. */
static int32_t choose_images(int32_t batch, int32_t most, size_t budget, size_t images, size_t parameters)
{
    int32_t chosen = 1;
    for (int32_t m = 1; m <= most; m++)
        if (batch % m == 0 && ((size_t)m * images <= budget || (size_t)chosen * images < parameters))
            chosen = m;
    return chosen;
}

/* Into how many parts an image may be cut at most: its blocks of channels, if all that the segment does to them and everything it
 * touches have the same and keep them apart (a depthwise convolution between batch norms); 1 if not. */
static int64_t most_parts(const struct ssld_plan *plan, const struct segment *segment)
{
    int64_t channels = 0, blocks = 1;
    for (int32_t a = segment->first; a < segment->first + segment->count; a++) {
        const struct ssld_node *node = &plan->graph->nodes[plan->actions[a].step];
        const struct engine_op *op = ssld_engine_ops[node->kind];
        int32_t touched[] = { node->inputs[0], node->output };
        if (plan->options.mode == SSLD_PLAN_EVAL || !op->channels_apart || !op->channels_apart(plan, node))
            return 1;
        for (size_t i = 0; i < sizeof touched / sizeof touched[0]; i++) {
            const struct layout *layout = &plan->layouts[touched[i]];
            struct planes planes = ssld_planes_of_value(plan, &plan->graph->values[touched[i]]);
            if (!layout->blocked || layout->root != touched[i] || (channels && planes.channels != channels))
                return 1;
            channels = planes.channels;
            blocks = planes.blocks;
        }
    }
    return blocks;
}

/* As few parts of an image as let one stay in cache, or as many as there can be. */
static int32_t choose_parts(size_t budget, size_t image, int64_t most)
{
    int64_t parts = 1;
    while (parts < most && (most % parts || image / (size_t)parts > budget))
        parts++;
    return (int32_t)parts;
}

static void choose_chunks(struct builder *b, int32_t *seen)
{
    struct ssld_plan *plan = b->plan;
    int32_t access = 0, ids = 2 * plan->graph->value_count + plan->graph->node_count;
    size_t budget = cache_budget(plan);
    for (int32_t id = 0; id < ids; id++)
        seen[id] = -1;
    for (int32_t s = 0; s < plan->segment_count; s++) {
        struct segment *segment = &plan->segments[s];
        size_t images = 0, parameters = 0;
        for (; access < plan->access_count && plan->accesses[access].action < segment->first + segment->count; access++) {
            int32_t id = plan->accesses[access].id;
            if (seen[id] != s)
                images += image_bytes(plan, id);
            seen[id] = s;
        }
        for (int32_t a = segment->first; a < segment->first + segment->count; a++)
            parameters += parameter_bytes(plan, plan->actions[a].step);
        segment->images = plan->options.mode == SSLD_PLAN_EVAL && plan->worker_count == 1
                              ? plan->options.batch
                              : choose_images(plan->options.batch, plan->options.batch / plan->worker_count, budget, images,
                                              parameters);
        segment->parts = images > budget && segment->images == 1
                             ? choose_parts(budget, images, most_parts(plan, segment)) : 1;
    }
}

/* -- All of it ---------------------------------------------------------------------------------------------------- */

ssld_status ssld_schedule_make(struct ssld_plan *plan)
{
    const struct ssld_graph *graph = plan->graph;
    size_t values = (size_t)graph->value_count, ids = 2 * values + (size_t)graph->node_count;
    struct builder b = { .plan = plan };
    int32_t *numbers = ssld_alloc_zero(plan->context, 4 * values + ids, sizeof *numbers);
    b.written = ssld_alloc_zero(plan->context, values, sizeof *b.written);
    b.adds = ssld_alloc_zero(plan->context, values, sizeof *b.adds);
    plan->again = ssld_alloc_zero(plan->context, values, sizeof *plan->again);
    if (!numbers || !b.written || !b.adds || !plan->again) {
        b.status = ssld_fail_memory(plan->context, "a plan's schedule", (4 * values + ids) * sizeof *numbers);
        goto done;
    }
    b.producer = numbers;
    b.level = numbers + values;
    b.diff_level = numbers + 2 * values;
    b.made = numbers + 3 * values;
    for (int32_t n = 0; n < graph->node_count; n++)
        plan->steps[n].forward_segment = plan->steps[n].backward_segment = -1;
    schedule_forward(&b);
    if (plan_trains(plan))
        schedule_backward(&b);
    if (!b.status)
        choose_chunks(&b, numbers + 4 * values);
done:
    ssld_free(plan->context, numbers);
    ssld_free(plan->context, b.written);
    ssld_free(plan->context, b.adds);
    return b.status;
}
