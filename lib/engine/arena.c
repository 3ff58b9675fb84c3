/* SPDX-License-Identifier: BSD-2-Clause */
/* arena.c - one block of memory for everything a plan computes, shared by what does not live at the same time. */
#include "engine/plan.h"

#define ALIGNMENT 64

static bool overlap_in_time(const struct lifetime *a, const struct lifetime *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static void sort_by_size(const struct lifetime *blocks, int32_t count, int32_t *order)
{
    /* Insertion sort, stable, so that the plan is the same on every machine; a plan has hundreds of blocks. */
    for (int32_t i = 0; i < count; i++) {
        int32_t at = i;
        while (at > 0 && blocks[order[at - 1]].bytes < blocks[i].bytes) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

/* The lowest offset at which `block` touches none of the blocks placed before that live when it does. */
static size_t lowest_gap(const struct lifetime *blocks, const int32_t *order, int32_t placed,
                         const struct lifetime *block)
{
    size_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t i = 0; i < placed; i++) {
            const struct lifetime *other = &blocks[order[i]];
            if (other->bytes && overlap_in_time(block, other) && offset < other->offset + other->bytes &&
                other->offset < offset + block->bytes) {
                offset = other->offset + other->bytes;
                moved = true;
            }
        }
    }
    return offset;
}

size_t ssld_arena_place(struct lifetime *blocks, int32_t count, int32_t *order)
{
    size_t size = 0;
    for (int32_t i = 0; i < count; i++)
        blocks[i].bytes = (blocks[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    sort_by_size(blocks, count, order);
    for (int32_t i = 0; i < count; i++) {
        struct lifetime *block = &blocks[order[i]];
        block->offset = block->bytes ? lowest_gap(blocks, order, i, block) : 0;
        if (block->offset + block->bytes > size)
            size = block->offset + block->bytes;
    }
    return size;
}
