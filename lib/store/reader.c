/* SPDX-License-Identifier: BSD-2-Clause */
/* reader.c - looking labels up. An open store never changes, so any number of threads share it; what a read needs to
 * work with (a decompressor, the blocks decompressed last) stays with the labels it fills. */
#include <zstd.h>

#include "core/batch.h"
#include "core/file.h"
#include "core/labels.h"
#include "store/codec.h"
#include "store/recovery.h"
#include "ssld/store.h"

#define CACHE_BYTES (UINT64_C(8) << 20) /* decompressed blocks kept for one labels object, as far as they fit */
#define CACHE_MOST 64

struct ssld_store {
    ssld_context            *context;
    char                    *path;
    struct ssld_map          map;
    struct ssld_store_header header;
    const struct ssld_codec *codec;
    struct ssld_run_list     list; /* in order of view and sample */
    uint64_t                 records;
    uint64_t                 blocks;
    uint64_t                 broken; /* offset of damage that hides blocks; 0 for none */
    bool                     closed;
};

/* A decompressed block. What names it is its content (the checksum and size of its compressed bytes), not its store or
 * place: labels may outlive a store, and a later store may be at the same address. */
struct cached_block {
    uint64_t checksum;
    uint64_t used; /* the read that used it last; 0 for an empty one */
    uint32_t compressed_bytes;
    uint32_t payload_bytes;
    uint8_t *payload;
};

/* One row of a batch, to be taken in the order of the file. */
struct request {
    uint64_t block;  /* offset */
    uint32_t run;    /* position of its run in the list */
    uint32_t record; /* in its block */
    int32_t  row;
};

struct scratch {
    ZSTD_DCtx          *decompressor;
    struct request     *requests; /* as many as the labels' capacity */
    uint64_t            reads;
    uint64_t            block_bytes; /* room of each cached block */
    int32_t             block_count;
    struct cached_block blocks[CACHE_MOST];
};

void ssld_store_options_init(ssld_store_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Working memory ----------------------------------------------------------------------------------------------- */

static void scratch_free(ssld_context *context, void *memory)
{
    struct scratch *scratch = memory;
    ZSTD_freeDCtx(scratch->decompressor);
    for (int32_t i = 0; i < scratch->block_count; i++)
        ssld_free(context, scratch->blocks[i].payload);
    ssld_free(context, scratch->requests);
    ssld_free(context, scratch);
}

/* Working memory for `rows` rows from blocks of at most block_bytes. NULL: no memory. */
static struct scratch *scratch_create(ssld_context *context, int32_t rows, uint64_t block_bytes)
{
    struct scratch *scratch = ssld_alloc_zero(context, 1, sizeof *scratch);
    if (!scratch)
        return NULL;
    uint64_t count = CACHE_BYTES / block_bytes;
    scratch->block_bytes = block_bytes;
    scratch->block_count = count < 1 ? 1 : count > CACHE_MOST ? CACHE_MOST : (int32_t)count;
    scratch->requests = ssld_alloc_zero(context, (size_t)rows, sizeof *scratch->requests);
    scratch->decompressor = ZSTD_createDCtx(); /* the C library's memory, as in the writer */
    bool complete = scratch->requests && scratch->decompressor;
    for (int32_t i = 0; i < scratch->block_count && complete; i++)
        complete = (scratch->blocks[i].payload = ssld_alloc(context, (size_t)block_bytes)) != NULL;
    if (complete)
        return scratch;
    scratch_free(context, scratch);
    return NULL;
}

/* The labels' working memory, made on their first read and again if a store has larger blocks. */
static ssld_status scratch_of(const ssld_store *store, ssld_labels *labels, struct scratch **scratch)
{
    struct scratch *there = labels->scratch;
    if (there && there->block_bytes >= store->header.block_bytes) {
        *scratch = there;
        return SSLD_OK;
    }
    struct scratch *made = scratch_create(labels->context, labels->capacity, store->header.block_bytes);
    if (!made)
        return ssld_fail_memory(store->context, "reading a store", store->header.block_bytes);
    if (there)
        labels->scratch_free(labels->context, there);
    labels->scratch = made;
    labels->scratch_free = scratch_free;
    *scratch = made;
    return SSLD_OK;
}

/* -- Blocks ------------------------------------------------------------------------------------------------------- */

/* Decompress into a cached block, or find it there. NULL if its bytes are not what they were when written. */
static const struct cached_block *block_payload(struct scratch *scratch, const struct ssld_block *block)
{
    struct cached_block *oldest = &scratch->blocks[0];
    for (int32_t i = 0; i < scratch->block_count; i++) {
        struct cached_block *cached = &scratch->blocks[i];
        if (cached->used && cached->checksum == block->checksum &&
            cached->compressed_bytes == block->compressed_bytes &&
            cached->payload_bytes == block->payload_bytes) {
            cached->used = scratch->reads;
            return cached;
        }
        oldest = cached->used < oldest->used ? cached : oldest;
    }
    oldest->used = 0;
    if (!ssld_block_intact(block))
        return NULL;
    size_t size = ZSTD_decompressDCtx(scratch->decompressor, oldest->payload, block->payload_bytes, block->compressed,
                                      block->compressed_bytes);
    if (ZSTD_isError(size) || size != block->payload_bytes)
        return NULL;
    *oldest = (struct cached_block){ block->checksum, scratch->reads, block->compressed_bytes, block->payload_bytes,
                                     oldest->payload };
    return oldest;
}

/* A block's columns, ready to be unpacked. False if anything about it is wrong. */
static bool block_open(const ssld_store *store, struct scratch *scratch, uint64_t offset, struct ssld_block *block,
                       struct ssld_columns *columns)
{
    const struct ssld_store_file file = { &store->header, store->map.bytes, store->map.size };
    if (!ssld_block_read(&file, offset, block))
        return false;
    const struct cached_block *cached = block_payload(scratch, block);
    return cached && ssld_payload_read(store->codec, &store->header, cached->payload, block->payload_bytes,
                                       block->records, columns);
}

/* Whether the block holds the run where the index says it does. */
static bool block_has_run(const struct ssld_block *block, const struct ssld_run *wanted)
{
    uint32_t record = 0;
    for (uint32_t i = 0; i < block->runs; i++) {
        struct ssld_run run = ssld_block_run(block, i);
        if (run.view == wanted->view && run.sample == wanted->sample)
            return run.count == wanted->count && record == wanted->record;
        record += run.count;
    }
    return false;
}

/* -- Looking up --------------------------------------------------------------------------------------------------- */

static bool run_holds(const struct ssld_run *run, uint32_t view, uint64_t sample)
{
    return run->view == view && sample >= run->sample && sample - run->sample < run->count;
}

/* The run that holds a view; the list's count if none does. `hint`: where the one before was found. */
static size_t find_run(const struct ssld_run_list *list, uint32_t view, uint64_t sample, size_t hint)
{
    if (hint < list->count && run_holds(&list->runs[hint], view, sample))
        return hint;
    size_t low = 0, high = list->count; /* the last run that begins at or before the view is in [low, high) */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        const struct ssld_run *run = &list->runs[middle];
        if (run->view < view || (run->view == view && run->sample <= sample))
            low = middle;
        else
            high = middle;
    }
    return list->count && run_holds(&list->runs[low], view, sample) ? low : list->count;
}

static ssld_status fail_missing(const ssld_store *store, uint64_t sample, uint32_t view)
{
    const struct ssld_store_header *header = &store->header;
    if (sample >= header->samples || view >= header->views)
        return ssld_fail(store->context, SSLD_NOT_FOUND,
                         "%s: no label for sample %llu, view %u: the store has %llu samples with %u views each", store->path,
                         (unsigned long long)sample, view, (unsigned long long)header->samples, header->views);
    if (store->broken)
        return ssld_fail(store->context, SSLD_CORRUPT,
                         "%s: no label for sample %llu, view %u: the file is damaged at offset %llu, "
                         "where it may have been; take a copy of the file or label again", store->path,
                         (unsigned long long)sample, view, (unsigned long long)store->broken);
    return ssld_fail(store->context, SSLD_NOT_FOUND,
                     "%s: sample %llu, view %u is not labelled yet; resume labelling", store->path,
                     (unsigned long long)sample, view);
}

static ssld_status fail_block(const ssld_store *store, uint64_t offset, uint64_t sample, uint32_t view)
{
    return ssld_fail(store->context, SSLD_CORRUPT,
                     "%s: the block at offset %llu, which has sample %llu, view %u, is damaged; its "
                     "labels are lost, those of other blocks are not: take a copy of the file or label again", store->path,
                     (unsigned long long)offset, (unsigned long long)sample, view);
}

static bool request_before(const struct request *a, const struct request *b)
{
    return a->block != b->block ? a->block < b->block : a->record < b->record;
}

static void sift_down(struct request *requests, size_t size, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && request_before(&requests[child], &requests[child + 1]))
            child++;
        if (!request_before(&requests[at], &requests[child]))
            return;
        struct request swap = requests[at];
        requests[at] = requests[child];
        requests[child] = swap;
    }
}

/* Heap sort: the C library's qsort may allocate. A batch in the order of the file is left as it is. */
static void sort_requests(struct request *requests, size_t count)
{
    size_t sorted = 1;
    while (sorted < count && !request_before(&requests[sorted], &requests[sorted - 1]))
        sorted++;
    if (sorted >= count)
        return;
    for (size_t at = count / 2; at-- > 0;)
        sift_down(requests, count, at);
    for (size_t last = count; last-- > 1;) {
        struct request swap = requests[0];
        requests[0] = requests[last];
        requests[last] = swap;
        sift_down(requests, last, 0);
    }
}

static ssld_status plan_requests(const ssld_store *store, int32_t count, const uint64_t *samples, const uint32_t *views,
                                 struct request *requests)
{
    size_t run = 0;
    for (int32_t i = 0; i < count; i++) {
        run = find_run(&store->list, views[i], samples[i], run);
        if (run == store->list.count)
            return fail_missing(store, samples[i], views[i]);
        const struct ssld_run *found = &store->list.runs[run];
        requests[i] = (struct request){ found->block, (uint32_t)run,
                                        found->record + (uint32_t)(samples[i] - found->sample), i };
    }
    sort_requests(requests, (size_t)count);
    return SSLD_OK;
}

static ssld_status read_requests(const ssld_store *store, struct scratch *scratch, int32_t count,
                                 const uint64_t *samples, const uint32_t *views, float *rows)
{
    struct ssld_block block = { 0 };
    struct ssld_columns columns;
    uint64_t opened = 0; /* no block: the header is there */
    uint32_t checked = UINT32_MAX;
    scratch->reads++;
    for (int32_t i = 0; i < count; i++) {
        const struct request *request = &scratch->requests[i];
        uint64_t sample = samples[request->row];
        uint32_t view = views[request->row];
        if (request->block != opened) {
            if (!block_open(store, scratch, request->block, &block, &columns))
                return fail_block(store, request->block, sample, view);
            opened = request->block;
            checked = UINT32_MAX;
        }
        if (request->run != checked && !block_has_run(&block, &store->list.runs[request->run]))
            return fail_block(store, request->block, sample, view);
        checked = request->run;
        if (!store->codec->unpack(&store->header, &columns, request->record,
                                  rows + (size_t)request->row * (size_t)store->header.classes))
            return fail_block(store, request->block, sample, view);
    }
    return SSLD_OK;
}

ssld_status ssld_store_read_views(const ssld_store *store, int32_t count, const uint64_t *samples,
                                  const uint32_t *views, ssld_labels *labels)
{
    if (!samples || !views || count < 1)
        return ssld_fail(store->context, SSLD_INVALID_ARGUMENT,
                         "%s: the batch has no sample ids or no view numbers; a store is "
                         "read by both", store->path);
    if (count > labels->capacity)
        return ssld_fail(store->context, SSLD_INVALID_ARGUMENT,
                         "%s: %d views asked for, the labels take %d", store->path, count, labels->capacity);
    if (labels->classes != store->header.classes)
        return ssld_fail(store->context, SSLD_MISMATCH,
                         "%s: made for %d classes, the labels have %d; create labels of the store's",
                         store->path, store->header.classes, labels->classes);
    struct scratch *scratch = NULL;
    ssld_status status = scratch_of(store, labels, &scratch);
    if (status)
        return status;
    status = plan_requests(store, count, samples, views, scratch->requests);
    if (!status)
        status = read_requests(store, scratch, count, samples, views,
                               ssld_labels_write(labels, SSLD_LABELS_PROBABILITIES, count));
    if (status)
        ssld_labels_clear(labels);
    return status;
}

ssld_status ssld_store_read(const ssld_store *store, const ssld_batch *batch, ssld_labels *labels)
{
    return ssld_store_read_views(store, batch->count, batch->samples, batch->views, labels);
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

static ssld_status find_runs(ssld_store *store)
{
    struct ssld_scan scan;
    const struct ssld_store_file file = { &store->header, store->map.bytes, store->map.size };
    uint64_t index = ssld_index_find(&file);
    ssld_status status = index ? ssld_scan_index(store->context, &file, index, &scan)
                               : ssld_scan_run(store->context, store->path, &file, &scan);
    if (status)
        return status;
    store->list = scan.list; /* now the store's */
    store->blocks = scan.blocks;
    store->broken = scan.broken;
    store->closed = scan.closed;
    if (store->list.count >= UINT32_MAX)
        return ssld_fail(store->context, SSLD_UNSUPPORTED, "%s: more than 2^32 runs", store->path);
    for (size_t i = 0; i < store->list.count; i++)
        store->records += store->list.runs[i].count;
    return ssld_run_list_sort(store->context, store->path, &store->list);
}

static ssld_status verify_run(const ssld_store *store, struct scratch *scratch, const struct ssld_run *run, float *row)
{
    struct ssld_block block;
    struct ssld_columns columns;
    if (!block_open(store, scratch, run->block, &block, &columns) || !block_has_run(&block, run))
        return fail_block(store, run->block, run->sample, run->view);
    for (uint32_t i = 0; i < run->count; i++)
        if (!store->codec->unpack(&store->header, &columns, run->record + i, row))
            return fail_block(store, run->block, run->sample + i, run->view);
    return SSLD_OK;
}

/* Decode every label once. */
static ssld_status verify(const ssld_store *store)
{
    ssld_context *context = store->context;
    if (store->broken)
        return ssld_fail(context, SSLD_CORRUPT,
                         "%s: damaged at offset %llu, labels there are lost; take a copy of the file or "
                         "label again", store->path, (unsigned long long)store->broken);
    struct scratch *scratch = scratch_create(context, 1, store->header.block_bytes);
    float *row = ssld_alloc(context, (size_t)store->header.classes * sizeof *row);
    ssld_status status = scratch && row ? SSLD_OK
                                        : ssld_fail_memory(context, "verifying a store", store->header.block_bytes);
    for (size_t i = 0; i < store->list.count && !status; i++) {
        scratch->reads++;
        status = ssld_check_cancelled(context);
        if (!status)
            status = verify_run(store, scratch, &store->list.runs[i], row);
    }
    if (scratch)
        scratch_free(context, scratch);
    ssld_free(context, row);
    return status;
}

static ssld_status expect_options(const ssld_store *store, const ssld_store_options *options)
{
    struct ssld_expected expected = {
        .classes = options->classes ? &options->classes : NULL,
        .samples = options->samples ? &options->samples : NULL,
        .view_seed = options->view_seed,
        .view_spec = options->view_spec,
        .dataset_fingerprint = options->dataset_fingerprint,
        .teacher_fingerprint = options->teacher_fingerprint,
    };
    return ssld_header_expect(store->context, store->path, &store->header, &expected);
}

ssld_status ssld_store_open(ssld_context *context, const char *path, const ssld_store_options *given,
                            ssld_store **store)
{
    ssld_store_options options;
    ssld_store *made;
    ssld_status status = ssld_options_take(context, __func__, &options, sizeof options, given, sizeof options);
    if (status)
        return status;
    made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a store", sizeof *made);
    made->context = context;
    made->path = ssld_strdup(context, path);
    if (!made->path) {
        status = ssld_fail_memory(context, "a path", strlen(path) + 1);
        goto fail;
    }
    if ((status = ssld_map_open(context, path, &made->map)) ||
        (status = ssld_header_read(context, path, made->map.bytes, made->map.size, &made->header)) ||
        (status = expect_options(made, &options)))
        goto fail;
    made->codec = ssld_codec_find(made->header.codec);
    if (!made->codec) {
        status = ssld_fail(context, SSLD_FORMAT,
                           "%s: codec %d is unknown to this libssld; install a later version", path,
                           made->header.codec);
        goto fail;
    }
    if ((status = find_runs(made)) || (options.verify && (status = verify(made))))
        goto fail;
    *store = made;
    return SSLD_OK;
fail:
    ssld_store_close(made);
    return status;
}

ssld_status ssld_store_get_info(const ssld_store *store, ssld_store_info *info)
{
    const struct ssld_store_header *header = &store->header;
    ssld_store_info own = {
        .struct_size = sizeof own,
        .file_bytes = store->map.size,
        .records = store->records,
        .samples = header->samples,
        .views = header->views,
        .classes = header->classes,
        .codec = header->codec,
        .top_k = header->top_k,
        .batch_norm = header->batch_norm,
        .closed = store->closed,
        .blocks = store->blocks,
        .view_seed = header->view_seed,
    };
    memcpy(own.dataset_fingerprint, header->dataset_fingerprint, 16);
    memcpy(own.teacher_fingerprint, header->teacher_fingerprint, 16);
    return ssld_info_give(store->context, __func__, info, &own, sizeof own);
}

const char *ssld_store_view_spec(const ssld_store *store)
{
    return store->header.view_spec;
}

void ssld_store_close(ssld_store *store)
{
    if (!store)
        return;
    ssld_context *context = store->context;
    ssld_map_close(&store->map);
    ssld_header_free(context, &store->header);
    ssld_free(context, store->list.runs);
    ssld_free(context, store->path);
    ssld_free(context, store);
}
