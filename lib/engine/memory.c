/* SPDX-License-Identifier: BSD-2-Clause */
/* memory.c - where everything stands: whole tensors in one arena shared by lifetime, chunks of them in a small one. */
#include "engine/layouts.h"

#include <stdio.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

/* -- What lives where and when ------------------------------------------------------------------------------------ */

/* Which segments touch an id first and last. */
struct span {
    int32_t first, last;
};

static struct span *find_spans(struct ssld_plan *plan, int32_t ids)
{
    struct span *spans = ssld_alloc(plan->context, (size_t)ids * sizeof *spans);
    int32_t access = 0;
    if (!spans)
        return NULL;
    for (int32_t id = 0; id < ids; id++)
        spans[id] = (struct span){ -1, -1 };
    for (int32_t s = 0; s < plan->segment_count; s++) {
        int32_t end = plan->segments[s].first + plan->segments[s].count;
        for (; access < plan->access_count && plan->accesses[access].action < end; access++) {
            struct span *span = &spans[plan->accesses[access].id];
            if (span->first < 0)
                span->first = s;
            span->last = s;
        }
    }
    /* The caller writes pixels before and reads logits after; a second look at a forward that failed needs the pixels. */
    const struct ssld_graph *graph = plan->graph;
    spans[2 * graph->input] = (struct span){ 0, plan->segment_count };
    spans[2 * plan->layouts[graph->output].root].last = plan->segment_count;
    for (int32_t i = 0; i < plan->options.keep_count; i++)
        spans[2 * plan->layouts[plan->kept[i].value].root].last = plan->segment_count;
    if (plan_trains(plan))
        spans[2 * graph->output + 1].first = plan->forward_segments - 1;
    return spans;
}

static bool is_whole(const struct ssld_plan *plan, const struct span *spans, int32_t id)
{
    int32_t values = 2 * plan->graph->value_count;
    bool again = id < values && id % 2 == 0 && plan->again[id / 2];
    return !again && spans[id].first < spans[id].last;
}

static size_t image_bytes(const struct ssld_plan *plan, int32_t id)
{
    int32_t values = 2 * plan->graph->value_count;
    if (id >= values)
        return plan->steps[id - values].workspace_bytes;
    const struct tensor *tensor = &plan->tensors[id / 2];
    return id % 2 ? tensor->image_bytes / element_size(tensor->planes.type) * element_size(plan->type)
                  : tensor->image_bytes;
}

/* -- Places: one for each id that a segment touches --------------------------------------------------------------- */

static ssld_status list_places(struct ssld_plan *plan, int32_t ids)
{
    int32_t access = 0, count = 0;
    int32_t *latest = ssld_alloc(plan->context, (size_t)ids * sizeof *latest);
    plan->places = ssld_alloc_zero(plan->context, (size_t)plan->access_count + 1, sizeof *plan->places);
    if (!latest || !plan->places) {
        ssld_free(plan->context, latest);
        return ssld_fail_memory(plan->context, "the memory plan", (size_t)plan->access_count * sizeof *plan->places);
    }
    for (int32_t id = 0; id < ids; id++)
        latest[id] = -1;
    for (int32_t s = 0; s < plan->segment_count; s++) {
        struct segment *segment = &plan->segments[s];
        segment->first_place = count;
        for (; access < plan->access_count && plan->accesses[access].action < segment->first + segment->count; access++) {
            const struct access *at = &plan->accesses[access];
            if (!image_bytes(plan, at->id))
                continue;
            if (latest[at->id] < segment->first_place) {
                latest[at->id] = count;
                plan->places[count++] = (struct place){ .id = at->id, .first = at->action };
            }
            plan->places[latest[at->id]].last = at->action;
        }
        segment->place_count = count - segment->first_place;
    }
    ssld_free(plan->context, latest);
    return SSLD_OK;
}

#define PAGE 4096 /* workers' pieces begin on pages of their own */

/* Chunks: each segment has the small arena to itself. `offsets` receives one for each place. */
static void place_chunks(struct ssld_plan *plan, const struct span *spans, struct lifetime *blocks, int32_t *order,
                         size_t *offsets)
{
    for (int32_t s = 0; s < plan->segment_count; s++) {
        const struct segment *segment = &plan->segments[s];
        for (int32_t i = 0; i < segment->place_count; i++) {
            const struct place *place = &plan->places[segment->first_place + i];
            bool whole = is_whole(plan, spans, place->id);
            blocks[i] = (struct lifetime){ .bytes = whole ? 0 : image_bytes(plan, place->id) * (size_t)segment->images /
                                                                  (size_t)segment->parts,
                                           .first = place->first,
                                           .last = place->last };
        }
        ssld_plan_need(&plan->chunk_arena_bytes, ssld_arena_place(blocks, segment->place_count, order));
        for (int32_t i = 0; i < segment->place_count; i++)
            offsets[segment->first_place + i] = blocks[i].offset;
    }
}

/* Large blocks want large pages: fewer misses in the table of pages, and a faster start. Advice that may be ignored. */
static void advise_large_pages(char *data, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    uintptr_t page = 2 << 20, first = ((uintptr_t)data + page - 1) / page * page, end = ((uintptr_t)data + bytes) / page * page;
    if (end > first)
        madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)data, (void)bytes;
#endif
}

char *ssld_arena_allocate(struct ssld_plan *plan, size_t bytes)
{
    char *arena = ssld_alloc(plan->context, bytes);
    if (arena)
        advise_large_pages(arena, bytes);
    return arena;
}

void ssld_arena_clear(const struct ssld_plan *plan, char *arena, size_t bytes)
{
    int64_t pieces = (int64_t)((bytes + (1 << 20) - 1) >> 20);
    struct thread_settings before = ssld_threads_enter(plan->options.threads);
#pragma omp parallel for
    for (int64_t i = 0; i < pieces; i++) {
        size_t at = (size_t)i << 20, left = bytes - at;
        memset(arena + at, 0, left < 1 << 20 ? left : 1 << 20);
    }
    ssld_threads_leave(before);
}

void ssld_memory_clear(struct ssld_plan *plan)
{
    if (plan->cleared)
        return;
    ssld_arena_clear(plan, plan->arena, plan->arena_bytes);
    ssld_arena_clear(plan, plan->chunk_arena, plan->chunk_arena_bytes * (size_t)plan->worker_count);
    plan->cleared = true;
}

static ssld_status allocate_arenas(struct ssld_plan *plan)
{
    plan->arena = ssld_arena_allocate(plan, plan->arena_bytes);
    plan->chunk_arena = ssld_arena_allocate(plan, plan->chunk_arena_bytes * (size_t)plan->worker_count);
    if (plan->arena && plan->chunk_arena)
        return SSLD_OK;
    return ssld_fail_memory(plan->context, "activations; a smaller batch needs less",
                            plan->arena_bytes + plan->chunk_arena_bytes);
}

ssld_status ssld_memory_make(struct ssld_plan *plan)
{
    int32_t ids = 2 * plan->graph->value_count + plan->graph->node_count;
    size_t blocks_count = (size_t)(ids > plan->access_count ? ids : plan->access_count) + 1;
    ssld_status status = SSLD_OK;
    struct span *spans = find_spans(plan, ids);
    struct lifetime *blocks = ssld_alloc_zero(plan->context, blocks_count, sizeof *blocks);
    int32_t *order = ssld_alloc_zero(plan->context, blocks_count, sizeof *order);
    size_t *offsets = ssld_alloc_zero(plan->context, blocks_count, sizeof *offsets);
    if (!spans || !blocks || !order || !offsets) {
        status = ssld_fail_memory(plan->context, "the memory plan", blocks_count * sizeof *blocks);
        goto done;
    }
    status = list_places(plan, ids);
    if (status)
        goto done;
    place_chunks(plan, spans, blocks, order, offsets);
    for (int32_t id = 0; id < ids; id++)
        blocks[id] = (struct lifetime){ .bytes = is_whole(plan, spans, id)
                                                     ? image_bytes(plan, id) * (size_t)plan->options.batch : 0,
                                        .first = spans[id].first,
                                        .last = spans[id].last };
    plan->arena_bytes = ssld_arena_place(blocks, ids, order);
    plan->chunk_arena_bytes = (plan->chunk_arena_bytes + PAGE - 1) / PAGE * PAGE;
    status = allocate_arenas(plan);
    if (status)
        goto done;
    for (int32_t s = 0; s < plan->segment_count; s++)
        for (int32_t i = 0; i < plan->segments[s].place_count; i++) {
            int32_t at = plan->segments[s].first_place + i;
            struct place *place = &plan->places[at];
            bool whole = is_whole(plan, spans, place->id);
            place->base = whole ? plan->arena + blocks[place->id].offset : plan->chunk_arena + offsets[at];
            place->stride = whole ? image_bytes(plan, place->id) : 0;
        }
    plan->pixels = (plan->arena + blocks[2 * plan->graph->input].offset);
    plan->logits = (plan->arena + blocks[2 * plan->layouts[plan->graph->output].root].offset);
    plan->diff_logits = (plan->arena + blocks[2 * plan->graph->output + 1].offset);
    for (int32_t i = 0; i < plan->options.keep_count; i++)
        plan->kept[i].data = plan->arena + blocks[2 * plan->layouts[plan->kept[i].value].root].offset;
done:
    ssld_free(plan->context, spans);
    ssld_free(plan->context, blocks);
    ssld_free(plan->context, order);
    ssld_free(plan->context, offsets);
    return status;
}

void ssld_memory_release(struct ssld_plan *plan)
{
    ssld_free(plan->context, plan->arena);
    ssld_free(plan->context, plan->chunk_arena);
    ssld_free(plan->context, plan->places);
    ssld_free(plan->context, plan->actions);
    ssld_free(plan->context, plan->accesses);
    ssld_free(plan->context, plan->segments);
    ssld_free(plan->context, plan->again);
}

/* -- For calls ---------------------------------------------------------------------------------------------------- */

struct operand ssld_operand_at(void *address)
{
    return (struct operand){ address, OPERAND_ONE, 0, 1 };
}

struct operand ssld_operand_of_worker(const struct ssld_plan *plan, void *address, size_t bytes)
{
    return (struct operand){ address, OPERAND_BY_WORKER, bytes, plan->worker_count };
}

struct operand ssld_operand_of_part(void *address, size_t bytes, int32_t parts)
{
    return (struct operand){ address, OPERAND_BY_PART, bytes / (size_t)parts, parts };
}

struct operand ssld_operand_of(const struct ssld_plan *plan, int32_t segment, int32_t id)
{
    const struct segment *in = &plan->segments[segment];
    for (int32_t i = 0; i < in->place_count; i++) {
        const struct place *place = &plan->places[in->first_place + i];
        if (place->id == id && place->stride)
            return (struct operand){ place->base, OPERAND_BY_CHUNK,
                                     place->stride * (size_t)in->images / (size_t)in->parts,
                                     plan->options.batch / in->images * in->parts };
        if (place->id == id)
            return ssld_operand_of_worker(plan, place->base, plan->chunk_arena_bytes);
    }
    return ssld_operand_at(NULL);
}

static int32_t segment_of(const struct step *step, bool backward)
{
    return backward ? step->backward_segment : step->forward_segment;
}

struct operand ssld_operand_src(const struct ssld_plan *plan, const struct step *step, bool backward, int32_t input)
{
    return ssld_operand_of(plan, segment_of(step, backward), 2 * plan->layouts[step->node->inputs[input]].root);
}

struct operand ssld_operand_dst(const struct ssld_plan *plan, const struct step *step)
{
    return ssld_operand_of(plan, step->forward_segment, 2 * plan->layouts[step->node->output].root);
}

struct operand ssld_operand_diff_dst(const struct ssld_plan *plan, const struct step *step)
{
    return ssld_operand_of(plan, step->backward_segment, 2 * step->node->output + 1);
}

struct operand ssld_operand_diff_src(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    if (step->accumulate >> input & 1)
        return ssld_operand_of_worker(plan, ssld_step_diff_src(plan, step, input),
                                      plan->accumulators * plan->accumulator_bytes);
    return ssld_operand_of(plan, step->backward_segment, 2 * step->node->inputs[input] + 1);
}

struct operand ssld_operand_workspace(const struct ssld_plan *plan, const struct step *step, bool backward)
{
    return ssld_operand_of(plan, segment_of(step, backward),
                           2 * plan->graph->value_count + (int32_t)(step - plan->steps));
}

int64_t ssld_plan_most_images(const struct ssld_plan *plan)
{
    int64_t most = 0;
    for (int32_t s = 0; s < plan->segment_count; s++)
        if (plan->segments[s].images > most)
            most = plan->segments[s].images;
    return most;
}

int64_t ssld_step_images(const struct ssld_plan *plan, const struct step *step, bool backward)
{
    return plan->segments[segment_of(step, backward)].images;
}

int32_t ssld_step_parts(const struct ssld_plan *plan, const struct step *step, bool backward)
{
    return plan->segments[segment_of(step, backward)].parts;
}
