/* SPDX-License-Identifier: BSD-2-Clause */
/* recovery.c - walking the frames of a store. */
#include "store/recovery.h"

#include "store/block.h"

/* -- Runs --------------------------------------------------------------------------------------------------------- */

ssld_status ssld_run_list_reserve(ssld_context *context, struct ssld_run_list *list, size_t more)
{
    if (more <= list->capacity - list->count)
        return SSLD_OK;
    size_t capacity = list->count + more + list->capacity / 2;
    struct ssld_run *runs = capacity > SIZE_MAX / sizeof *runs ? NULL
                            : ssld_realloc(context, list->runs, list->count * sizeof *runs, capacity * sizeof *runs);
    if (!runs)
        return ssld_fail_memory(context, "the list of stored views", capacity * sizeof *runs);
    list->runs = runs;
    list->capacity = capacity;
    return SSLD_OK;
}

void ssld_run_list_add(struct ssld_run_list *list, const struct ssld_block *block)
{
    uint32_t record = 0;
    for (uint32_t i = 0; i < block->runs; i++) {
        struct ssld_run run = ssld_block_run(block, i);
        run.record = record;
        record += run.count;
        list->runs[list->count++] = run;
    }
}

static void sift_down(struct ssld_run *runs, size_t size, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && ssld_run_before(&runs[child], &runs[child + 1]))
            child++;
        if (!ssld_run_before(&runs[at], &runs[child]))
            return;
        struct ssld_run swap = runs[at];
        runs[at] = runs[child];
        runs[child] = swap;
    }
}

ssld_status ssld_run_list_sort(ssld_context *context, const char *path, struct ssld_run_list *list)
{
    struct ssld_run *runs = list->runs;
    size_t count = list->count, sorted = 1;
    while (sorted < count && !ssld_run_before(&runs[sorted], &runs[sorted - 1]))
        sorted++;
    if (sorted < count) { /* heap sort: in place, and no order of runs is a bad one */
        for (size_t at = count / 2; at-- > 0;)
            sift_down(runs, count, at);
        for (size_t last = count; last-- > 1;) {
            struct ssld_run swap = runs[0];
            runs[0] = runs[last];
            runs[last] = swap;
            sift_down(runs, last, 0);
        }
    }
    for (size_t i = 1; i < count; i++)
        if (runs[i - 1].view == runs[i].view && runs[i - 1].sample + runs[i - 1].count > runs[i].sample)
            return ssld_fail(context, SSLD_CORRUPT,
                             "%s: sample %llu, view %u is stored twice, in the blocks at offsets %llu "
                             "and %llu; the file is not as libssld writes it", path, (unsigned long long)runs[i].sample,
                             runs[i].view, (unsigned long long)runs[i - 1].block, (unsigned long long)runs[i].block);
    return SSLD_OK;
}

/* -- The walk ----------------------------------------------------------------------------------------------------- */

/* The next place at or behind `offset` where a sound frame begins; the file's size if there is none. `work` bounds the
 * bytes looked at: a file full of beginnings of large frames would cost its size squared. */
static uint64_t next_frame(const struct ssld_store_file *file, uint64_t offset, uint64_t *work)
{
    static const uint8_t magic[4] = { 0x5D, 0x2A, 0x4D, 0x18 };
    while (offset < file->size && *work) {
        const uint8_t *found = memchr(file->bytes + offset, magic[0], (size_t)(file->size - offset));
        if (!found)
            break;
        offset = (uint64_t)(found - file->bytes);
        if (file->size - offset >= SSLD_MARK_BYTES && !memcmp(found, magic, sizeof magic)) {
            struct ssld_frame frame;
            struct ssld_block block;
            if (ssld_frame_read(file, offset, &frame) &&
                (frame.kind != SSLD_FRAME_BLOCK || ssld_block_read(file, offset, &block)))
                return offset;
            uint64_t cost = 8 + (uint64_t)ssld_get_u32(found + 4);
            if (cost <= file->size - offset)
                *work -= cost < *work ? cost : *work;
        }
        offset++;
    }
    return file->size;
}

#define WORK(file) (16 * (file)->size + (UINT64_C(1) << 20))

uint64_t ssld_next_frame(const struct ssld_store_file *file, uint64_t offset)
{
    uint64_t work = WORK(file);
    return next_frame(file, offset, &work);
}

/* Take the sound frame at `*offset` in and go behind it. SSLD_NOT_FOUND if none is there. */
static ssld_status take_frame(ssld_context *context, const char *path, const struct ssld_store_file *file,
                              uint64_t *offset, struct ssld_scan *scan)
{
    struct ssld_frame frame;
    struct ssld_block block;
    struct ssld_index index;
    if (!ssld_frame_read(file, *offset, &frame))
        return SSLD_NOT_FOUND;
    uint64_t next = *offset + frame.size;
    bool whole = scan->broken == 0;
    switch (frame.kind) {
    case SSLD_FRAME_BLOCK:
        if (!ssld_block_read(file, *offset, &block))
            return SSLD_NOT_FOUND;
        if (ssld_run_list_reserve(context, &scan->list, block.runs))
            return SSLD_OUT_OF_MEMORY;
        ssld_run_list_add(&scan->list, &block);
        scan->blocks++;
        next = block.end;
        break;
    case SSLD_FRAME_MODEL:
        if (scan->model_count == SSLD_MOST_MODELS)
            return ssld_fail(context, SSLD_FORMAT, "%s: more than %d models; no writer writes as many", path, SSLD_MOST_MODELS);
        if (!scan->models && !(scan->models = ssld_alloc(context, SSLD_MOST_MODELS * sizeof *scan->models)))
            return ssld_fail_memory(context, "the list of models", SSLD_MOST_MODELS * sizeof *scan->models);
        scan->models[scan->model_count++] = *offset;
        break;
    case SSLD_FRAME_MARK:
        scan->durable = whole ? next : scan->durable;
        scan->damaged |= !whole;
        break;
    case SSLD_FRAME_INDEX:
        /* An index ends its file: whoever goes on writing cuts it off first. */
        if (!ssld_index_find(file, &index) || index.offset != *offset || !ssld_index_intact(file, &index))
            return SSLD_NOT_FOUND;
        scan->closed = whole;
        scan->durable = whole ? *offset : scan->durable;
        scan->damaged |= !whole;
        break;
    case SSLD_FRAME_UNKNOWN:
        return ssld_fail(context, SSLD_FORMAT,
                         "%s: a frame '%.8s' at offset %llu is unknown to this libssld; install a later "
                         "version", path, (const char *)frame.bytes + 8, (unsigned long long)*offset);
    default: /* may be skipped */
        break;
    }
    if (whole && frame.kind != SSLD_FRAME_INDEX)
        scan->end = next;
    *offset = next;
    return SSLD_OK;
}

ssld_status ssld_scan_run(ssld_context *context, const char *path, const struct ssld_store_file *file,
                          struct ssld_scan *scan)
{
    uint64_t offset = file->header->size, work = WORK(file);
    *scan = (struct ssld_scan){ .end = offset, .durable = offset };
    while (offset < file->size) {
        ssld_status status = take_frame(context, path, file, &offset, scan);
        if (status == SSLD_NOT_FOUND) {
            uint64_t sound = next_frame(file, offset + 1, &work);
            if (sound < file->size && !scan->broken)
                scan->broken = offset;
            offset = sound;
        } else if (status) {
            ssld_scan_free(context, scan);
            return status;
        }
    }
    return SSLD_OK;
}

ssld_status ssld_scan_cut_torn(ssld_context *context, const struct ssld_store_file *file, struct ssld_scan *scan)
{
    uint64_t offset = scan->durable;
    struct ssld_unpacker unpacker;
    ssld_status status = ssld_unpacker_make(context, file->header, &unpacker);
    while (!status && offset < scan->end) {
        struct ssld_frame frame;
        struct ssld_block block;
        if (ssld_block_read(file, offset, &block)) {
            if (!ssld_block_payload(&unpacker, &block))
                break;
            offset = block.end;
        } else if (ssld_frame_read(file, offset, &frame)) {
            offset += frame.size;
        } else {
            break; /* the file changed under us */
        }
    }
    ssld_unpacker_free(context, &unpacker);
    if (status)
        return status;
    if (offset < scan->end)
        scan->closed = false;
    scan->end = offset < scan->end ? offset : scan->end;
    /* Runs and models are in the order of the file here. */
    size_t kept = 0;
    while (kept < scan->list.count && scan->list.runs[kept].block < scan->end)
        kept++;
    for (size_t i = kept; i < scan->list.count; i++)
        scan->blocks -= i == kept || scan->list.runs[i].block != scan->list.runs[i - 1].block;
    scan->list.count = kept;
    while (scan->model_count && scan->models[scan->model_count - 1] >= scan->end)
        scan->model_count--;
    return SSLD_OK;
}

void ssld_scan_free(ssld_context *context, struct ssld_scan *scan)
{
    ssld_free(context, scan->list.runs);
    ssld_free(context, scan->models);
    *scan = (struct ssld_scan){ 0 };
}
