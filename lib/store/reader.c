/* SPDX-License-Identifier: BSD-2-Clause */
/* reader.c - opening files as a store, and what can be asked of it beside labels. */
#include "store/reader.h"

#include <time.h>

#include "core/hash.h"

#define MOST_FILES 4096
#define SMALL_INDEX (UINT64_C(16) << 20) /* looked at as a whole when opened: a few milliseconds */

void ssld_store_options_init(ssld_store_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- One file ----------------------------------------------------------------------------------------------------- */

/* Read the model whose frame is at `offset`, unless it is there already. A damaged frame is passed over: its twin may be
 * sound, and if it is not, the blocks that need it say so. */
static ssld_status take_model(ssld_context *context, struct ssld_part *part, uint64_t offset)
{
    const struct ssld_store_file file = { &part->header, part->map.bytes, part->map.size };
    struct ssld_frame frame;
    struct ssld_model *model = NULL;
    size_t size, count = (size_t)part->model_count;
    if (!ssld_frame_read(&file, offset, &frame) || frame.kind != SSLD_FRAME_MODEL)
        return SSLD_OK;
    const uint8_t *bytes = ssld_model_frame_content(&frame, &size);
    if (ssld_part_model(part, ssld_checksum(bytes, size)))
        return SSLD_OK;
    ssld_status status = ssld_model_read(context, bytes, size, &model);
    if (status == SSLD_FORMAT || (!status && !ssld_model_fits(model, &part->header))) {
        ssld_model_free(context, model);
        return ssld_fail(context, SSLD_FORMAT,
                         "%s: the model at offset %llu is not one that this libssld understands; install a later version",
                         part->path, (unsigned long long)offset);
    }
    struct ssld_model **models = status ? NULL : ssld_realloc(context, part->models, count * sizeof *models,
                                                              (count + 1) * sizeof *models);
    if (!models) {
        ssld_model_free(context, model);
        return status ? status : ssld_fail_memory(context, "a store's models", (count + 1) * sizeof *models);
    }
    part->models = models;
    models[part->model_count++] = model;
    return SSLD_OK;
}

static ssld_status use_index(ssld_context *context, struct ssld_part *part)
{
    ssld_status status = SSLD_OK;
    part->entries = part->index.entries;
    part->runs = part->index.runs;
    part->records = part->index.records;
    part->blocks = part->index.blocks;
    part->closed = true;
    for (uint64_t i = 0; i < part->index.models && !status; i++)
        status = take_model(context, part, ssld_get_u64(part->index.model_offsets + 8 * i));
    return status;
}

static ssld_status walk(ssld_context *context, struct ssld_part *part)
{
    const struct ssld_store_file file = { &part->header, part->map.bytes, part->map.size };
    struct ssld_scan scan;
    ssld_status status = ssld_scan_run(context, part->path, &file, &scan);
    if (status)
        return status;
    if ((status = ssld_run_list_sort(context, part->path, &scan.list)))
        goto done;
    part->own_entries = ssld_alloc_zero(context, scan.list.count, SSLD_RUN_ENTRY);
    if (!part->own_entries) {
        status = ssld_fail_memory(context, "the list of stored views", scan.list.count * SSLD_RUN_ENTRY);
        goto done;
    }
    for (size_t i = 0; i < scan.list.count; i++) {
        ssld_run_entry_write(&scan.list.runs[i], part->own_entries + i * SSLD_RUN_ENTRY);
        part->records += scan.list.runs[i].count;
    }
    part->entries = part->own_entries;
    part->runs = scan.list.count;
    part->blocks = scan.blocks;
    part->broken = scan.broken;
    part->closed = scan.closed;
    for (uint64_t i = 0; i < scan.model_count && !status; i++)
        status = take_model(context, part, scan.models[i]);
done:
    ssld_scan_free(context, &scan);
    return status;
}

/* The runs of a file: its index if a sound one ends it, else by walking its frames. */
static ssld_status find_runs(ssld_context *context, struct ssld_part *part)
{
    const struct ssld_store_file file = { &part->header, part->map.bytes, part->map.size };
    bool indexed = ssld_index_find(&file, &part->index);
    if (indexed && part->index.size <= SMALL_INDEX) {
        indexed = ssld_index_intact(&file, &part->index);
        atomic_store(&part->index_state, SSLD_INDEX_SOUND);
    }
    ssld_status status = indexed ? use_index(context, part) : walk(context, part);
    if (status || !part->runs)
        return status;
    struct ssld_run first = ssld_run_entry_read(part->entries);
    struct ssld_run last = ssld_run_entry_read(part->entries + (part->runs - 1) * SSLD_RUN_ENTRY);
    double samples = (double)part->header.samples;
    part->first_key = (double)first.view * samples + (double)first.sample;
    part->end_key = (double)last.view * samples + (double)last.sample + (double)last.count;
    return SSLD_OK;
}

static ssld_status open_part(ssld_context *context, const char *path, struct ssld_part *part)
{
    ssld_status status;
    part->path = ssld_strdup(context, path);
    if (!part->path)
        return ssld_fail_memory(context, "a path", strlen(path) + 1);
    if ((status = ssld_map_open(context, path, &part->map)) ||
        (status = ssld_header_read(context, path, part->map.bytes, part->map.size, &part->header)))
        return status;
    part->codec = ssld_codec_find(part->header.codec);
    part->coding = ssld_coding_of(&part->header);
    if (!part->codec)
        return ssld_fail(context, SSLD_FORMAT, "%s: codec %d is unknown to this libssld; install a later version", path,
                         part->header.codec);
    return find_runs(context, part);
}

static void close_part(ssld_context *context, struct ssld_part *part)
{
    for (int32_t i = 0; i < part->model_count; i++)
        ssld_model_free(context, part->models[i]);
    ssld_free(context, part->models);
    ssld_free(context, part->own_entries);
    ssld_map_close(&part->map);
    ssld_header_free(context, &part->header);
    ssld_free(context, part->path);
}

/* -- Files together ----------------------------------------------------------------------------------------------- */

static ssld_status expect_options(const ssld_store *store, const ssld_store_options *options)
{
    const struct ssld_part *part = &store->parts[0];
    struct ssld_expected expected = {
        .classes = options->classes ? &options->classes : NULL,
        .samples = options->samples ? &options->samples : NULL,
        .view_seed = options->view_seed,
        .view_spec = options->view_spec,
        .dataset_fingerprint = options->dataset_fingerprint,
        .teacher_fingerprint = options->teacher_fingerprint,
    };
    return ssld_header_expect(store->context, part->path, &part->header, &expected);
}

/* Whether a file belongs to those before it. */
static ssld_status expect_first(const ssld_store *store, const struct ssld_part *part)
{
    const struct ssld_part *first = &store->parts[0];
    struct ssld_expected expected = {
        .classes = &first->header.classes, .samples = &first->header.samples, .views = &first->header.views,
        .view_seed = &first->header.view_seed, .view_spec = first->header.view_spec,
        .batch_norm = &first->header.batch_norm,
        .dataset_fingerprint = first->header.dataset_fingerprint,
        .teacher_fingerprint = first->header.teacher_fingerprint,
    };
    char text[1024];
    ssld_status status = ssld_header_expect(store->context, part->path, &part->header, &expected);
    if (status != SSLD_MISMATCH)
        return status;
    ssld_context_error(store->context, text, sizeof text);
    return ssld_fail(store->context, status, "%s (opened together with %s, by which it is measured)", text, first->path);
}

static ssld_status check_options(ssld_context *context, int32_t count, const ssld_store_options *options)
{
    if (count < 1 || count > MOST_FILES)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_store_open_files: %d files; give 1 to %d", count, MOST_FILES);
    if (options->missing < SSLD_STORE_ERROR || options->missing > SSLD_STORE_SKIP ||
        options->damaged < SSLD_STORE_ERROR || options->damaged > SSLD_STORE_SKIP)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "ssld_store_open: missing and damaged must be SSLD_STORE_ERROR, REUSE or SKIP");
    return SSLD_OK;
}

ssld_status ssld_store_open_files(ssld_context *context, const char *const *paths, int32_t count,
                                  const ssld_store_options *given, ssld_store **store)
{
    ssld_store_options options;
    struct timespec now;
    ssld_store *made;
    ssld_status status = ssld_options_take(context, "ssld_store_open", &options, sizeof options, given, sizeof options);
    if (status || (status = check_options(context, count, &options)))
        return status;
    made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a store", sizeof *made);
    made->context = context;
    made->missing = options.missing;
    made->damaged = options.damaged;
    clock_gettime(CLOCK_MONOTONIC, &now);
    made->opened = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec + 1;
    made->parts = ssld_alloc_zero(context, (size_t)count, sizeof *made->parts);
    if (!made->parts) {
        status = ssld_fail_memory(context, "a store", (size_t)count * sizeof *made->parts);
        goto fail;
    }
    while (made->part_count < count && !status) {
        struct ssld_part *part = &made->parts[made->part_count];
        status = open_part(context, paths[made->part_count++], part);
        if (!status && made->part_count > 1)
            status = expect_first(made, part);
        else if (!status)
            status = expect_options(made, &options);
        made->block_bytes = part->header.block_bytes > made->block_bytes ? part->header.block_bytes : made->block_bytes;
    }
    if (status || (options.verify && (status = ssld_store_verify(made, NULL, NULL, NULL))))
        goto fail;
    *store = made;
    return SSLD_OK;
fail:
    ssld_store_close(made);
    return status;
}

ssld_status ssld_store_open(ssld_context *context, const char *path, const ssld_store_options *options, ssld_store **store)
{
    return ssld_store_open_files(context, &path, 1, options, store);
}

void ssld_store_close(ssld_store *store)
{
    if (!store)
        return;
    ssld_context *context = store->context;
    for (int32_t i = 0; i < store->part_count; i++)
        close_part(context, &store->parts[i]);
    ssld_free(context, store->parts);
    ssld_free(context, store);
}

/* -- What is there ------------------------------------------------------------------------------------------------ */

static int32_t tail_of(const struct ssld_store_header *header)
{
    return header->codec != SSLD_CODEC_TOPK ? 0 : header->shape_rows ? SSLD_TAIL_LEARNED : SSLD_TAIL_UNIFORM;
}

ssld_status ssld_store_get_info(const ssld_store *store, ssld_store_info *info)
{
    const struct ssld_store_header *header = &store->parts[0].header;
    ssld_store_info own = {
        .struct_size = sizeof own,
        .samples = header->samples,
        .views = header->views,
        .classes = header->classes,
        .codec = header->codec,
        .top_k = header->top_k,
        .batch_norm = header->batch_norm,
        .closed = 1,
        .view_seed = header->view_seed,
        .tail = tail_of(header),
        .tail_coefficients = header->shape_rows > 1 ? header->shape_rows - 1 : 0,
        .kl_bound = header->kl_bound,
        .files = store->part_count,
    };
    for (int32_t i = 0; i < store->part_count; i++) {
        const struct ssld_part *part = &store->parts[i];
        own.file_bytes += part->map.size;
        own.records += part->records;
        own.blocks += part->blocks;
        own.closed &= part->closed;
        own.models += part->model_count;
    }
    memcpy(own.dataset_fingerprint, header->dataset_fingerprint, 16);
    memcpy(own.teacher_fingerprint, header->teacher_fingerprint, 16);
    return ssld_info_give(store->context, __func__, info, &own, sizeof own);
}

ssld_status ssld_store_get_statistics(const ssld_store *store, ssld_store_statistics *statistics)
{
    ssld_store *counted = (ssld_store *)(uintptr_t)store;
    ssld_store_statistics own = {
        .struct_size = sizeof own,
        .rows = atomic_load(&counted->rows),
        .reused = atomic_load(&counted->reused_rows),
        .missing = atomic_load(&counted->missing_rows),
        .damaged = atomic_load(&counted->damaged_rows),
    };
    return ssld_info_give(store->context, __func__, statistics, &own, sizeof own);
}

const char *ssld_store_view_spec(const ssld_store *store)
{
    return store->parts[0].header.view_spec;
}

ssld_status ssld_store_writer_options_like(const ssld_store *store, ssld_store_writer_options *options)
{
    const struct ssld_store_header *header = &store->parts[0].header;
    ssld_store_writer_options own;
    ssld_store_writer_options_init(&own, sizeof own);
    own.classes = header->classes;
    own.samples = header->samples;
    own.views = header->views;
    own.codec = header->codec;
    own.top_k = header->top_k;
    own.batch_norm = header->batch_norm;
    own.view_seed = header->view_seed;
    own.view_spec = header->view_spec;
    own.tail = tail_of(header);
    own.tail_coefficients = header->shape_rows > 1 ? header->shape_rows - 1 : 0;
    own.kl_bound = header->kl_bound;
    memcpy(own.dataset_fingerprint, header->dataset_fingerprint, 16);
    memcpy(own.teacher_fingerprint, header->teacher_fingerprint, 16);
    return ssld_info_give(store->context, __func__, options, &own, sizeof own);
}
