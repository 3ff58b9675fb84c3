/* SPDX-License-Identifier: BSD-2-Clause */
/* views.c - which views a store has: a bit each, a map of bits for each view number that was met. */
#include "store/writer.h"

ssld_status ssld_writer_reserve_view(ssld_store_writer *writer, uint32_t view)
{
    if (view >= writer->view_count) {
        size_t count = (size_t)view + 1, old = writer->view_count;
        struct ssld_view_state *views = ssld_realloc(writer->context, writer->views, old * sizeof *views,
                                                     count * sizeof *views);
        if (!views)
            return ssld_fail_memory(writer->context, "the table of views", count * sizeof *views);
        memset(views + old, 0, (count - old) * sizeof *views);
        writer->views = views;
        writer->view_count = (uint32_t)count;
    }
    struct ssld_view_state *state = &writer->views[view];
    if (!state->bits) {
        size_t words = (size_t)((writer->header.samples + 63) / 64);
        state->bits = ssld_alloc_zero(writer->context, words, sizeof *state->bits);
        if (!state->bits)
            return ssld_fail_memory(writer->context, "the map of labelled samples", words * sizeof *state->bits);
    }
    return SSLD_OK;
}

bool ssld_writer_note(ssld_store_writer *writer, uint32_t view, uint64_t sample)
{
    struct ssld_view_state *state = &writer->views[view];
    uint64_t bit = UINT64_C(1) << sample % 64;
    if (state->bits[sample / 64] & bit)
        return false;
    state->bits[sample / 64] |= bit;
    state->count++;
    writer->records++;
    return true;
}

void ssld_writer_forget(ssld_store_writer *writer, uint32_t view, uint64_t sample)
{
    struct ssld_view_state *state = &writer->views[view];
    state->bits[sample / 64] &= ~(UINT64_C(1) << sample % 64);
    state->count--;
    writer->records--;
}

bool ssld_writer_has(const ssld_store_writer *writer, uint32_t view, uint64_t sample)
{
    const struct ssld_view_state *state = view < writer->view_count ? &writer->views[view] : NULL;
    return state && state->bits && state->bits[sample / 64] >> sample % 64 & 1;
}

/* The first sample from `from` on whose bit is `set`; samples if there is none. */
static uint64_t view_next(const struct ssld_store_writer *writer, const struct ssld_view_state *state, uint64_t from,
                          bool set)
{
    uint64_t samples = writer->header.samples;
    while (from < samples) {
        uint64_t word = set ? state->bits[from / 64] : ~state->bits[from / 64];
        word >>= from % 64;
        if (word) {
            while (!(word & 1)) {
                word >>= 1;
                from++;
            }
            return from < samples ? from : samples;
        }
        from = from / 64 * 64 + 64;
    }
    return samples;
}

ssld_status ssld_store_writer_missing(const ssld_store_writer *writer, uint32_t *view, uint64_t *sample,
                                      uint64_t *count)
{
    uint64_t samples = writer->header.samples, from = *sample;
    for (uint32_t v = *view; v < writer->header.views; v++, from = 0) {
        const struct ssld_view_state *state = v < writer->view_count ? &writer->views[v] : NULL;
        bool empty = !state || !state->bits;
        if (!empty && state->count == samples)
            continue;
        uint64_t first = empty ? from : view_next(writer, state, from, false);
        if (first >= samples)
            continue;
        uint64_t next = empty ? samples : view_next(writer, state, first, true);
        *view = v;
        *sample = first;
        *count = next - first;
        return SSLD_OK;
    }
    return SSLD_END;
}

uint64_t ssld_store_writer_records(const ssld_store_writer *writer)
{
    return writer->records;
}
