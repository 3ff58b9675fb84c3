/* SPDX-License-Identifier: BSD-2-Clause */
/* rows_ring.c - the rows that a depthwise convolution works on: see depthwise.h. */
#include "engine/depthwise.h"

int64_t ssld_rows_ring_floats(int64_t width, int64_t slots, int64_t b)
{
    return (slots + 1) * width * b;
}

void ssld_rows_ring_make(struct rows_ring *ring, const struct planes *planes, int64_t left, int64_t width, int64_t slots,
                         float *memory)
{
    *ring = (struct rows_ring){ .type = planes->type, .h = planes->h, .w = planes->w, .b = planes->b, .left = left,
                                .width = width, .slots = slots, .rows = memory };
    memset(memory, 0, (size_t)ssld_rows_ring_floats(width, slots, planes->b) * sizeof *memory);
}

void ssld_rows_ring_begin(struct rows_ring *ring, const void *src)
{
    ring->src = src;
    ring->next = 0;
}

void ssld_rows_ring_need(struct rows_ring *ring, int64_t row)
{
    int64_t count = (ring->w < ring->width - ring->left ? ring->w : ring->width - ring->left) * ring->b;
    for (; ring->slots && ring->next <= row && ring->next < ring->h; ring->next++) {
        float *to = ring->rows + ((ring->next % ring->slots) * ring->width + ring->left) * ring->b;
        const void *from = element_at_const(ring->type, ring->src, ring->next * ring->w * ring->b);
        if (ring->type == ELEMENT_BF16)
            ssld_widen(count, from, to);
        else
            memcpy(to, from, (size_t)count * sizeof *to);
    }
}
