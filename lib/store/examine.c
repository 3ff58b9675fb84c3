/* SPDX-License-Identifier: BSD-2-Clause */
/* examine.c - a store looked at as a whole: what is stored, what is damaged, what the bytes are for. */
#include "store/reader.h"

/* -- What is stored ----------------------------------------------------------------------------------------------- */

/* The first run of a file that ends behind a place; false if there is none. */
static bool next_run(const struct ssld_part *part, uint32_t view, uint64_t sample, struct ssld_run *found)
{
    uint64_t low = 0, high = part->runs; /* the wanted one is in [low, high] */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct ssld_run run = ssld_run_entry_read(part->entries + middle * SSLD_RUN_ENTRY);
        if (run.view < view || (run.view == view && run.sample + run.count <= sample))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == part->runs)
        return false;
    *found = ssld_run_entry_read(part->entries + low * SSLD_RUN_ENTRY);
    return true;
}

/* The first stored views of all files from a place on. */
static bool next_stored(const ssld_store *store, uint32_t view, uint64_t sample, struct ssld_run *found)
{
    bool any = false;
    for (int32_t i = 0; i < store->part_count; i++) {
        struct ssld_run run;
        if (!next_run(&store->parts[i], view, sample, &run))
            continue;
        if (run.view == view && run.sample < sample) {
            run.count -= (uint32_t)(sample - run.sample);
            run.sample = sample;
        }
        if (!any || ssld_run_before(&run, found))
            *found = run;
        any = true;
    }
    return any;
}

ssld_status ssld_store_stored(const ssld_store *store, uint32_t *view, uint64_t *sample, uint64_t *count)
{
    struct ssld_run run, more;
    if (!next_stored(store, *view, *sample, &run))
        return SSLD_END;
    uint64_t end = run.sample + run.count;
    while (next_stored(store, run.view, end, &more) && more.view == run.view && more.sample == end)
        end += more.count;
    *view = run.view;
    *sample = run.sample;
    *count = end - run.sample;
    return SSLD_OK;
}

/* -- Walking with the contents ------------------------------------------------------------------------------------ */

/* What is done with what a file holds, in its order. */
struct examination {
    const ssld_store     *store;
    struct ssld_part     *part;
    struct ssld_reading   reading;
    float                *row;
    /* verifying */
    ssld_store_damage_function report;
    void                 *user;
    uint64_t              damaged;
    /* measuring */
    ssld_store_sizes     *sizes;
    struct ssld_record_sizes bits;
};

static void report_damage(struct examination *examination, uint64_t offset, const struct ssld_block *block, const char *text)
{
    ssld_store_damage damage = { .struct_size = sizeof damage, .path = examination->part->path, .offset = offset,
                                 .text = text };
    if (block) {
        struct ssld_run run = ssld_block_run(block, 0);
        damage.records = block->records;
        damage.sample = run.sample;
        damage.view = run.view;
    }
    /* The first one is what the call fails with. */
    if (!examination->damaged++) {
        if (block)
            (void)ssld_fail(examination->store->context, SSLD_CORRUPT,
                            "%s: the block at offset %llu, which has sample %llu, view %u, %s; its labels are lost, those of "
                            "other blocks are not: take a copy of the file or label again", damage.path,
                            (unsigned long long)offset, (unsigned long long)damage.sample, damage.view, text);
        else
            (void)ssld_fail(examination->store->context, SSLD_CORRUPT,
                            "%s: damaged at offset %llu, labels there may be lost: %s; take a copy of the file or label again",
                            damage.path, (unsigned long long)offset, text);
    }
    if (examination->report)
        examination->report(examination->user, &damage);
}

/* Decode every record of a block. */
static void examine_block(struct examination *examination, const struct ssld_block *block)
{
    struct ssld_reading *reading = &examination->reading;
    const char *text;
    if (!ssld_reading_open(reading, examination->store, examination->part, block->offset, &text)) {
        report_damage(examination, block->offset, block, text);
        return;
    }
    for (uint32_t i = 0; i < block->records; i++) {
        struct ssld_source source;
        if (!ssld_reading_record_at(reading, i, &source) ||
            !reading->codec->decode(reading->coding, reading->model, &source, examination->row, &examination->bits)) {
            report_damage(examination, block->offset, block, "has a record that no writer writes");
            return;
        }
        ssld_payload_passed(&reading->unpacker, &source);
    }
    if (!examination->sizes)
        return;
    /* Records of columns are compressed: all of the frame is their values. */
    if (reading->codec->columns)
        examination->sizes->values += block->compressed_bytes;
    else
        examination->sizes->offsets += ssld_payload_overhead(block, reading->payload);
    if (reading->codec->columns)
        examination->bits = (struct ssld_record_sizes){ 0 };
    /* Bytes, as exactly as bits let: what is rounded goes to the framing. */
    examination->sizes->classes += examination->bits.classes / 8;
    examination->sizes->values += examination->bits.values / 8;
    examination->sizes->tail += examination->bits.tail / 8;
    examination->sizes->statistics += examination->bits.moments / 8;
    examination->bits.classes %= 8;
    examination->bits.values %= 8;
    examination->bits.tail %= 8;
    examination->bits.moments %= 8;
}

/* The frame at `*offset`, or what lies there instead up to the next one. */
static ssld_status examine_frame(struct examination *examination, uint64_t *offset)
{
    struct ssld_part *part = examination->part;
    const struct ssld_store_file file = { &part->header, part->map.bytes, part->map.size };
    struct ssld_frame frame;
    struct ssld_block block;
    bool sound = ssld_frame_read(&file, *offset, &frame);
    if (sound && frame.kind == SSLD_FRAME_BLOCK)
        sound = ssld_block_read(&file, *offset, &block);
    if (!sound) {
        uint64_t next = ssld_next_frame(&file, *offset + 1);
        if (next < file.size) /* with nothing behind it, it is a write that was interrupted */
            report_damage(examination, *offset, NULL, "no sound frame begins here, and sound ones follow");
        else if (part->closed)
            report_damage(examination, *offset, NULL, "the index ends the file, and is damaged");
        *offset = next;
        return SSLD_OK;
    }
    if (frame.kind == SSLD_FRAME_BLOCK) {
        examine_block(examination, &block);
        *offset = block.end;
        return SSLD_OK;
    }
    if (examination->sizes && frame.kind == SSLD_FRAME_MODEL)
        examination->sizes->model += frame.size;
    if (examination->sizes && frame.kind == SSLD_FRAME_INDEX)
        examination->sizes->index += frame.size;
    *offset += frame.size;
    return SSLD_OK;
}

/* Whether the index says what the blocks say: each of its runs is in the block that it names. */
static void examine_index(struct examination *examination)
{
    const struct ssld_part *part = examination->part;
    const struct ssld_store_file file = { &part->header, part->map.bytes, part->map.size };
    uint64_t records = 0;
    if (part->own_entries)
        return;
    for (uint64_t i = 0; i < part->runs; i++)
        records += ssld_run_entry_read(part->entries + i * SSLD_RUN_ENTRY).count;
    if (!ssld_index_intact(&file, &part->index) || records != part->records)
        report_damage(examination, part->index.offset, NULL, "the index is damaged");
}

static ssld_status examine(struct examination *examination)
{
    const ssld_store *store = examination->store;
    ssld_context *context = store->context;
    ssld_status status = ssld_reading_make(context, store, &examination->reading);
    examination->row = ssld_alloc(context, (size_t)store->parts[0].header.classes * sizeof(float));
    if (!status && !examination->row)
        status = ssld_fail_memory(context, "looking at a store", (size_t)store->parts[0].header.classes * sizeof(float));
    for (int32_t i = 0; i < store->part_count && !status; i++) {
        examination->part = &store->parts[i];
        uint64_t offset = examination->part->header.size;
        while (offset < examination->part->map.size && !status)
            if (!(status = ssld_check_cancelled(context)))
                status = examine_frame(examination, &offset);
        if (!status && !examination->sizes)
            examine_index(examination);
    }
    ssld_reading_free(context, &examination->reading);
    ssld_free(context, examination->row);
    return status;
}

ssld_status ssld_store_verify(const ssld_store *store, ssld_store_damage_function report, void *user, uint64_t *damaged)
{
    struct examination examination = { .store = store, .report = report, .user = user };
    ssld_status status = examine(&examination);
    if (status)
        return status;
    if (damaged)
        *damaged = examination.damaged;
    return examination.damaged ? SSLD_CORRUPT : SSLD_OK;
}

ssld_status ssld_store_measure(const ssld_store *store, ssld_store_sizes *sizes)
{
    ssld_store_sizes own = { .struct_size = sizeof own };
    struct examination examination = { .store = store, .sizes = &own };
    ssld_status status = examine(&examination);
    if (status)
        return status;
    for (int32_t i = 0; i < store->part_count; i++)
        own.file_bytes += store->parts[i].map.size;
    own.framing = own.file_bytes - own.classes - own.values - own.tail - own.statistics - own.offsets - own.model - own.index;
    return ssld_info_give(store->context, __func__, sizes, &own, sizeof own);
}
