/* SPDX-License-Identifier: BSD-2-Clause */
/* writer.c - appending to a store. Labels wait as records until they fill a block; a block is one write at the end of
 * the file; commit makes what was written durable and says so with a mark. A failed write is cut off again and its
 * records go on waiting, so every call may be repeated. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "core/batch.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/labels.h"
#include "store/codec.h"
#include "store/recovery.h"
#include "ssld/store.h"

#define DEFAULT_TOP_K 10
#define DENSE_CLASSES 64 /* AUTO: dense up to here */
#define DEFAULT_BLOCK_RECORDS 256
#define DEFAULT_BLOCK_BYTES (UINT64_C(1) << 20) /* the default stays below, however many classes there are */
#define DEFAULT_LEVEL 3
#define MOST_LEVEL 19

/* Which samples of one view are stored or waiting. */
struct view_state {
    uint64_t *bits; /* a bit a sample; NULL while there are none */
    uint64_t  count;
};

/* A record that waits, and where in the buffer it is. */
struct waiting {
    uint64_t sample;
    uint32_t view;
    uint32_t slot;
};

struct ssld_store_writer {
    ssld_context            *context;
    char                    *path;
    int                      descriptor;
    struct ssld_store_header header;
    const struct ssld_codec *codec;
    ZSTD_CCtx               *compressor;

    struct view_state   *views; /* of the views from 0 to the largest seen so far */
    uint32_t             view_count;
    uint64_t             records;
    struct ssld_run_list list; /* of what is in the file */
    uint64_t             blocks;

    uint64_t end;       /* of what is sound in the file: the next frame's offset */
    uint64_t file_size; /* larger where a torn end or an index has not been cut off yet */
    uint64_t durable;
    bool     fresh;       /* made by this writer: there was no header, so there are no labels of anybody */
    bool     indexed;     /* what is behind `end` is an index of all there is */
    bool     sync_failed; /* the system may have dropped what it could not write: no later sync is to be believed */

    struct waiting  *waiting;
    uint32_t         waiting_count;
    size_t           record_bytes;
    uint8_t         *records_buffer; /* block_records records */
    struct ssld_run *runs;           /* of the block being made: block_records */
    uint8_t         *payload;        /* of the block being made: block_bytes */
    uint8_t         *frame;          /* the largest block frame, then the compressed bytes */
    size_t           frame_capacity;
};

void ssld_store_writer_options_init(ssld_store_writer_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Which views are there ---------------------------------------------------------------------------------------- */

static ssld_status view_reserve(struct ssld_store_writer *writer, uint32_t view)
{
    if (view >= writer->view_count) {
        size_t count = (size_t)view + 1, old = writer->view_count;
        struct view_state *views = ssld_realloc(writer->context, writer->views, old * sizeof *views,
                                                count * sizeof *views);
        if (!views)
            return ssld_fail_memory(writer->context, "the table of views", count * sizeof *views);
        memset(views + old, 0, (count - old) * sizeof *views);
        writer->views = views;
        writer->view_count = (uint32_t)count;
    }
    struct view_state *state = &writer->views[view];
    if (!state->bits) {
        size_t words = (size_t)((writer->header.samples + 63) / 64);
        state->bits = ssld_alloc_zero(writer->context, words, sizeof *state->bits);
        if (!state->bits)
            return ssld_fail_memory(writer->context, "the map of labelled samples", words * sizeof *state->bits);
    }
    return SSLD_OK;
}

/* Note a view as stored; false if it was already. Its state is reserved. */
static bool view_note(struct ssld_store_writer *writer, uint32_t view, uint64_t sample)
{
    struct view_state *state = &writer->views[view];
    uint64_t bit = UINT64_C(1) << sample % 64;
    if (state->bits[sample / 64] & bit)
        return false;
    state->bits[sample / 64] |= bit;
    state->count++;
    writer->records++;
    return true;
}

/* The first sample from `from` on whose bit is `set`; samples if there is none. */
static uint64_t view_next(const struct ssld_store_writer *writer, const struct view_state *state, uint64_t from,
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
        const struct view_state *state = v < writer->view_count ? &writer->views[v] : NULL;
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

/* -- Writing to the file ------------------------------------------------------------------------------------------ */

static ssld_status fail_write(struct ssld_store_writer *writer, const char *verb)
{
    if (errno == EFBIG) /* a limit of the process or of the file system: to the caller it is a full disk */
        return ssld_fail(writer->context, SSLD_NO_SPACE,
                         "%s: cannot %s: the file would grow past the size limit of this process or file system; raise it "
                         "(ulimit -f) and go on", writer->path, verb);
    return ssld_fail_errno(writer->context, writer->path, verb);
}

static ssld_status sync_file(struct ssld_store_writer *writer)
{
    if (writer->sync_failed)
        return ssld_fail(writer->context, SSLD_IO,
                         "%s: the system could not write what it had accepted; open the store again "
                         "with SSLD_STORE_RESUME", writer->path);
    if (!fdatasync(writer->descriptor))
        return SSLD_OK;
    writer->sync_failed = true;
    return fail_write(writer, "sync");
}

/* What is behind the end goes before the first write, not earlier: a store that is opened and left is not touched. */
static ssld_status cut_to_end(struct ssld_store_writer *writer)
{
    if (writer->file_size == writer->end)
        return SSLD_OK;
    if (ftruncate(writer->descriptor, (off_t)writer->end))
        return fail_write(writer, "cut the end off");
    writer->file_size = writer->end;
    writer->indexed = false;
    return sync_file(writer);
}

/* Write at the end. A failure leaves the file as it was, as far as the system lets it. */
static ssld_status write_at_end(struct ssld_store_writer *writer, const void *bytes, size_t size)
{
    ssld_status status = cut_to_end(writer);
    if (status)
        return status;
    if (lseek(writer->descriptor, (off_t)writer->end, SEEK_SET) < 0 ||
        ssld_write_all(writer->descriptor, bytes, size)) {
        status = fail_write(writer, "write");
        /* If this fails too, the next write's cut_to_end() tries it again. */
        if (ftruncate(writer->descriptor, (off_t)writer->end))
            writer->file_size = UINT64_MAX;
        return status;
    }
    writer->end += size;
    writer->file_size = writer->end;
    return SSLD_OK;
}

static int compare_waiting(const void *left, const void *right)
{
    const struct waiting *a = left, *b = right;
    if (a->view != b->view)
        return a->view < b->view ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

/* Sort the waiting records and gather them into runs. Returns how many. */
static uint32_t make_runs(struct ssld_store_writer *writer)
{
    uint32_t count = 0;
    qsort(writer->waiting, writer->waiting_count, sizeof *writer->waiting, compare_waiting);
    for (uint32_t i = 0; i < writer->waiting_count; i++) {
        const struct waiting *record = &writer->waiting[i];
        struct ssld_run *last = count ? &writer->runs[count - 1] : NULL;
        if (last && last->view == record->view && last->sample + last->count == record->sample)
            last->count++;
        else
            writer->runs[count++] = (struct ssld_run){ .sample = record->sample, .view = record->view, .count = 1 };
    }
    return count;
}

static void make_payload(struct ssld_store_writer *writer)
{
    uint8_t *columns[SSLD_MOST_COLUMNS];
    uint32_t records = writer->waiting_count;
    ssld_payload_begin(writer->codec, &writer->header, records, writer->payload, columns);
    for (uint32_t i = 0; i < records; i++) {
        const uint8_t *record = writer->records_buffer + (size_t)writer->waiting[i].slot * writer->record_bytes;
        writer->codec->pack(&writer->header, record, i, columns, records);
    }
}

/* Write the waiting records as a block. On failure they go on waiting. */
static ssld_status flush(struct ssld_store_writer *writer)
{
    if (!writer->waiting_count)
        return SSLD_OK;
    uint32_t records = writer->waiting_count, runs = make_runs(writer);
    ssld_status status = ssld_run_list_reserve(writer->context, &writer->list, runs);
    if (status)
        return status;
    make_payload(writer);
    struct ssld_block block = { .offset = writer->end, .records = records, .runs = runs };
    block.payload_bytes = (uint32_t)ssld_payload_bytes(writer->codec, &writer->header, records);
    size_t frame = ssld_block_frame_size(runs);
    size_t compressed = ZSTD_compress2(writer->compressor, writer->frame + frame, writer->frame_capacity - frame,
                                       writer->payload, block.payload_bytes);
    if (ZSTD_isError(compressed))
        return ssld_fail(writer->context, SSLD_OUT_OF_MEMORY, "%s: cannot compress a block: %s", writer->path,
                         ZSTD_getErrorName(compressed));
    block.compressed_bytes = (uint32_t)compressed;
    block.checksum = ssld_checksum(writer->frame + frame, compressed);
    ssld_block_write(&writer->header, &block, writer->runs, writer->frame);
    status = write_at_end(writer, writer->frame, frame + compressed);
    if (status)
        return status;
    uint32_t record = 0;
    for (uint32_t i = 0; i < runs; i++) {
        writer->runs[i].block = block.offset;
        writer->runs[i].record = record;
        record += writer->runs[i].count;
        writer->list.runs[writer->list.count++] = writer->runs[i];
    }
    writer->blocks++;
    writer->waiting_count = 0;
    return SSLD_OK;
}

static ssld_status make_durable(struct ssld_store_writer *writer)
{
    ssld_status status = flush(writer);
    if (status || writer->durable == writer->end)
        return status;
    status = sync_file(writer);
    if (!status)
        writer->durable = writer->end;
    return status;
}

ssld_status ssld_store_writer_commit(ssld_store_writer *writer)
{
    uint64_t before = writer->durable;
    ssld_status status = make_durable(writer);
    if (status || writer->durable == before)
        return status;
    /* The mark tells a later recovery what must be whole. It only says what is so already: without it nothing is lost. */
    uint8_t mark[SSLD_MARK_BYTES];
    ssld_mark_write(&writer->header, writer->end, mark);
    if (!write_at_end(writer, mark, sizeof mark))
        writer->durable = writer->end;
    return SSLD_OK;
}

/* -- Appending ---------------------------------------------------------------------------------------------------- */

static ssld_status check_labels(struct ssld_store_writer *writer, int32_t count, const uint64_t *samples,
                                const uint32_t *views, const ssld_labels *labels)
{
    const struct ssld_store_header *header = &writer->header;
    ssld_context *context = writer->context;
    if (labels->kind == SSLD_LABELS_EMPTY || labels->count != count || count < 1)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "%s: %d labels for %d views; give one label a view", writer->path, labels->count, count);
    if (labels->classes != header->classes)
        return ssld_fail(context, SSLD_MISMATCH,
                         "%s: made for %d classes, the labels have %d", writer->path, header->classes, labels->classes);
    if (!samples || !views)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "%s: the batch has no sample ids or no view numbers; a store needs both", writer->path);
    for (int32_t i = 0; i < count; i++) {
        if (samples[i] >= header->samples || views[i] >= header->views)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "%s: sample %llu, view %u is outside the store: it has %llu samples with %u views each",
                             writer->path, (unsigned long long)samples[i], views[i], (unsigned long long)header->samples,
                             header->views);
        const char *wrong = ssld_label_check(labels->values + (size_t)i * (size_t)labels->classes, labels->classes,
                                             labels->kind == SSLD_LABELS_LOGITS);
        if (wrong)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "%s: the label of sample %llu, view %u %s; nothing of its batch was "
                             "stored", writer->path, (unsigned long long)samples[i], views[i], wrong);
    }
    for (int32_t i = 0; i < count; i++)
        if (view_reserve(writer, views[i]))
            return SSLD_OUT_OF_MEMORY;
    return SSLD_OK;
}

ssld_status ssld_store_writer_append_views(ssld_store_writer *writer, int32_t count, const uint64_t *samples,
                                           const uint32_t *views, const ssld_labels *labels)
{
    ssld_status status = check_labels(writer, count, samples, views, labels);
    for (int32_t i = 0; i < count && !status; i++) {
        if (writer->waiting_count == writer->header.block_records && (status = flush(writer)))
            break;
        if (!view_note(writer, views[i], samples[i]))
            continue;
        uint32_t slot = writer->waiting_count++;
        struct ssld_label label = ssld_label_read(labels->values + (size_t)i * (size_t)labels->classes, labels->classes,
                                                  labels->kind == SSLD_LABELS_LOGITS);
        writer->codec->quantise(&writer->header, &label, writer->records_buffer + slot * writer->record_bytes);
        writer->waiting[slot] = (struct waiting){ samples[i], views[i], slot };
    }
    if (!status && writer->waiting_count == writer->header.block_records)
        status = flush(writer);
    return status;
}

ssld_status ssld_store_writer_append(ssld_store_writer *writer, const ssld_batch *batch, const ssld_labels *labels)
{
    return ssld_store_writer_append_views(writer, batch->count, batch->samples, batch->views, labels);
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

static ssld_status refuse(ssld_context *context, const char *option, const char *range)
{
    return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_store_writer_open: %s must be %s", option, range);
}

static ssld_status check_options(ssld_context *context, const ssld_store_writer_options *options)
{
    if (options->mode != SSLD_STORE_CREATE && options->mode != SSLD_STORE_RESUME)
        return refuse(context, "mode", "SSLD_STORE_CREATE or SSLD_STORE_RESUME");
    if (options->classes < 1 || (uint32_t)options->classes > SSLD_FORMAT_CLASSES)
        return refuse(context, "classes", "given, 1 to 16777216");
    if (options->samples < 1 || options->samples > SSLD_FORMAT_SAMPLES)
        return refuse(context, "samples", "given, 1 to 2^48");
    if (options->views > SSLD_FORMAT_VIEWS)
        return refuse(context, "views", "1 to 16777216");
    if (options->codec != SSLD_CODEC_AUTO && !ssld_codec_find(options->codec))
        return refuse(context, "codec", "an SSLD_CODEC_x");
    if (options->top_k < 0 || options->top_k > options->classes)
        return refuse(context, "top_k", "1 to the number of classes");
    if (options->block_records < 0 || (uint32_t)options->block_records > SSLD_FORMAT_BLOCK_RECORDS)
        return refuse(context, "block_records", "1 to 65536");
    if (options->level < 0 || options->level > MOST_LEVEL)
        return refuse(context, "level", "1 to 19");
    if (options->batch_norm < 0)
        return refuse(context, "batch_norm", "an SSLD_BATCH_NORM_x");
    if (options->view_spec && strlen(options->view_spec) > SSLD_FORMAT_VIEW_SPEC)
        return refuse(context, "view_spec", "at most 65536 bytes long");
    return SSLD_OK;
}

/* The header of a new store. view_spec is the caller's, not owned. */
static ssld_status plan_header(ssld_context *context, const ssld_store_writer_options *options,
                               struct ssld_store_header *header)
{
    *header = (struct ssld_store_header){
        .samples = options->samples,
        .views = options->views ? options->views : 1,
        .classes = options->classes,
        .codec = options->codec,
        .batch_norm = options->batch_norm,
        .view_seed = options->view_seed,
        .view_spec = (char *)(uintptr_t)(options->view_spec ? options->view_spec : ""),
    };
    memcpy(header->dataset_fingerprint, options->dataset_fingerprint, 16);
    memcpy(header->teacher_fingerprint, options->teacher_fingerprint, 16);
    if (header->codec == SSLD_CODEC_AUTO)
        header->codec = header->classes <= DENSE_CLASSES ? SSLD_CODEC_DENSE_F16 : SSLD_CODEC_TOPK;
    if (header->codec == SSLD_CODEC_TOPK)
        header->top_k = options->top_k ? options->top_k : header->classes < DEFAULT_TOP_K ? header->classes : DEFAULT_TOP_K;
    const struct ssld_codec *codec = ssld_codec_find(header->codec);
    uint32_t records = options->block_records ? (uint32_t)options->block_records : DEFAULT_BLOCK_RECORDS;
    while (!options->block_records && records > 1 &&
           ssld_payload_bytes(codec, header, records) > DEFAULT_BLOCK_BYTES)
        records /= 2;
    uint64_t bytes = ssld_payload_bytes(codec, header, records);
    if (bytes > SSLD_FORMAT_BLOCK_BYTES)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "ssld_store_writer_open: %u records of %d classes are %llu bytes, a block holds %u; give fewer "
                         "block_records or a smaller top_k", records, header->classes, (unsigned long long)bytes,
                         SSLD_FORMAT_BLOCK_BYTES);
    header->block_records = records;
    header->block_bytes = (uint32_t)bytes;
    return SSLD_OK;
}

static ssld_status open_locked(ssld_context *context, const char *path, bool create, int *descriptor)
{
    for (;;) {
        struct stat locked, named;
        int file = open(path, O_RDWR | O_CLOEXEC | O_CREAT | (create ? O_EXCL : 0), 0644);
        if (file < 0) {
            if (create && errno == EEXIST)
                return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                                 "%s: exists already; resume it (SSLD_STORE_RESUME) or choose another name", path);
            return ssld_fail_errno(context, path, "open");
        }
        ssld_status status = SSLD_OK;
        if (flock(file, LOCK_EX | LOCK_NB))
            status = errno == EWOULDBLOCK ? ssld_fail(context, SSLD_BUSY, "%s: another writer has it open", path)
                                          : ssld_fail_errno(context, path, "lock");
        else if (fstat(file, &locked))
            status = ssld_fail_errno(context, path, "stat");
        else if (!S_ISREG(locked.st_mode))
            status = ssld_fail(context, SSLD_IO, "%s: not a regular file", path);
        /* A creator that failed may have taken the name away between open and lock. */
        else if (stat(path, &named) == 0 && named.st_ino == locked.st_ino && named.st_dev == locked.st_dev) {
            *descriptor = file;
            return SSLD_OK;
        }
        close(file);
        if (status || create)
            return status ? status : ssld_fail(context, SSLD_BUSY, "%s: another writer is replacing it", path);
    }
}

/* Write the header of a new store, in place of the `file_size` bytes an interrupted creation left. */
static ssld_status begin_file(struct ssld_store_writer *writer, const struct ssld_store_header *planned,
                              uint64_t file_size)
{
    writer->header = *planned;
    writer->header.view_spec = ssld_strdup(writer->context, planned->view_spec);
    uint8_t *bytes = writer->header.view_spec ? ssld_alloc(writer->context, ssld_header_size(planned)) : NULL;
    if (!bytes)
        return ssld_fail_memory(writer->context, "a store's header", ssld_header_size(planned));
    ssld_header_write(&writer->header, bytes);
    writer->end = 0;
    writer->file_size = file_size;
    ssld_status status = write_at_end(writer, bytes, (size_t)writer->header.size);
    if (!status && fsync(writer->descriptor))
        status = fail_write(writer, "sync");
    if (!status && ssld_sync_folder(writer->path))
        status = fail_write(writer, "sync the folder of");
    writer->durable = writer->end;
    ssld_free(writer->context, bytes);
    return status;
}

/* Whether the file is what an interrupted creation leaves: a beginning of the very header, then at most zeros (a power
 * cut may have kept the size and lost the bytes), all of it no longer than the header. */
static ssld_status is_interrupted_creation(ssld_context *context, const struct ssld_map *map,
                                           const struct ssld_store_header *planned, bool *interrupted)
{
    struct ssld_store_header header = *planned;
    size_t size = ssld_header_size(&header), same = 0;
    uint8_t *bytes = ssld_alloc(context, size);
    if (!bytes)
        return ssld_fail_memory(context, "a store's header", size);
    ssld_header_write(&header, bytes);
    while (same < map->size && same < size && map->bytes[same] == bytes[same])
        same++;
    *interrupted = map->size <= size && same < size;
    for (size_t i = same; i < map->size && *interrupted; i++)
        *interrupted = map->bytes[i] == 0;
    ssld_free(context, bytes);
    return SSLD_OK;
}

/* Take over what a sound scan found. */
static ssld_status take_scan(struct ssld_store_writer *writer, struct ssld_scan *scan, uint64_t file_size)
{
    for (size_t i = 0; i < scan->list.count; i++) {
        const struct ssld_run *run = &scan->list.runs[i];
        if (view_reserve(writer, run->view))
            return SSLD_OUT_OF_MEMORY;
        for (uint32_t record = 0; record < run->count; record++)
            if (!view_note(writer, run->view, run->sample + record))
                return ssld_fail(writer->context, SSLD_CORRUPT,
                                 "%s: sample %llu, view %u is stored twice, the second time in "
                                 "the block at offset %llu; the file is not as libssld writes it", writer->path,
                                 (unsigned long long)(run->sample + record), run->view, (unsigned long long)run->block);
    }
    writer->list = scan->list;
    writer->blocks = scan->blocks;
    scan->list = (struct ssld_run_list){ 0 };
    writer->end = scan->end;
    writer->durable = scan->durable < scan->end ? scan->durable : scan->end;
    writer->file_size = file_size;
    writer->indexed = scan->closed;
    return SSLD_OK;
}

static ssld_status expect_options(struct ssld_store_writer *writer, const ssld_store_writer_options *options,
                                  const struct ssld_store_header *planned)
{
    struct ssld_expected expected = {
        .classes = &planned->classes,
        .samples = &planned->samples,
        .views = &planned->views,
        .codec = options->codec == SSLD_CODEC_AUTO ? NULL : &planned->codec,
        .top_k = options->top_k && planned->codec == SSLD_CODEC_TOPK ? &planned->top_k : NULL,
        .block_records = options->block_records ? &planned->block_records : NULL,
        .batch_norm = &planned->batch_norm,
        .view_seed = &planned->view_seed,
        .view_spec = planned->view_spec,
        .dataset_fingerprint = planned->dataset_fingerprint,
        .teacher_fingerprint = planned->teacher_fingerprint,
    };
    return ssld_header_expect(writer->context, writer->path, &writer->header, &expected);
}

static ssld_status check_appendable(struct ssld_store_writer *writer)
{
    const struct ssld_store_header *header = &writer->header;
    const struct ssld_codec *codec = ssld_codec_find(header->codec);
    if (!codec || header->newer)
        return ssld_fail(writer->context, SSLD_FORMAT,
                         "%s: written by a later libssld with features unknown to this one; install "
                         "that version to go on with it", writer->path);
    if (ssld_payload_bytes(codec, header, header->block_records) > header->block_bytes)
        return ssld_fail(writer->context, SSLD_FORMAT, "%s: the store's header allows blocks smaller than its records",
                         writer->path);
    return SSLD_OK;
}

static ssld_status resume_file(struct ssld_store_writer *writer, const ssld_store_writer_options *options,
                               const struct ssld_store_header *planned)
{
    ssld_context *context = writer->context;
    struct ssld_map map = { 0 };
    struct ssld_scan scan = { 0 };
    bool interrupted = false;
    ssld_status status = ssld_map_open(context, writer->path, &map);
    writer->fresh = !status && map.size == 0;
    if (!status)
        status = is_interrupted_creation(context, &map, planned, &interrupted);
    if (!status && interrupted) {
        writer->fresh = true;
        status = begin_file(writer, planned, map.size);
        goto done;
    }
    if (status || (status = ssld_header_read(context, writer->path, map.bytes, map.size, &writer->header)) ||
        (status = expect_options(writer, options, planned)) || (status = check_appendable(writer)))
        goto done;
    const struct ssld_store_file file = { &writer->header, map.bytes, map.size };
    if ((status = ssld_scan_run(context, writer->path, &file, &scan)))
        goto done;
    if (scan.damaged) {
        status = ssld_fail(context, SSLD_CORRUPT,
                           "%s: damaged at offset %llu, before labels that were committed; nothing was "
                           "changed. Its other blocks can still be read", writer->path, (unsigned long long)scan.broken);
        goto done;
    }
    ssld_scan_cut_torn(&file, &scan);
    if (scan.end < map.size && !scan.closed)
        ssld_log(context, SSLD_LOG_WARNING,
                 "%s: the last write was interrupted; %llu bytes behind offset %llu are given up",
                 writer->path, (unsigned long long)(map.size - scan.end), (unsigned long long)scan.end);
    status = take_scan(writer, &scan, map.size);
done:
    ssld_scan_free(context, &scan);
    ssld_map_close(&map);
    return status;
}

static ssld_status make_buffers(struct ssld_store_writer *writer, int32_t level)
{
    ssld_context *context = writer->context;
    const struct ssld_store_header *header = &writer->header;
    size_t records = header->block_records;
    writer->codec = ssld_codec_find(header->codec);
    writer->record_bytes = writer->codec->record_bytes(header);
    writer->frame_capacity = ssld_block_frame_size(header->block_records) + ZSTD_compressBound(header->block_bytes);
    writer->waiting = ssld_alloc_zero(context, records, sizeof *writer->waiting);
    writer->records_buffer = ssld_alloc_zero(context, records, writer->record_bytes);
    writer->runs = ssld_alloc_zero(context, records, sizeof *writer->runs);
    writer->payload = ssld_alloc(context, header->block_bytes);
    writer->frame = ssld_alloc(context, writer->frame_capacity);
    /* zstd takes an allocator only through its experimental interface, which a shared library need not have: its
     * working memory comes from the C library. */
    writer->compressor = ZSTD_createCCtx();
    if (!writer->waiting || !writer->records_buffer || !writer->runs || !writer->payload || !writer->frame ||
        !writer->compressor)
        return ssld_fail_memory(context, "a store writer's block", writer->frame_capacity);
    ZSTD_CCtx_setParameter(writer->compressor, ZSTD_c_compressionLevel, level ? level : DEFAULT_LEVEL);
    ZSTD_CCtx_setParameter(writer->compressor, ZSTD_c_checksumFlag, 1);
    return SSLD_OK;
}

ssld_status ssld_store_writer_open(ssld_context *context, const char *path, const ssld_store_writer_options *given,
                                   ssld_store_writer **writer)
{
    ssld_store_writer_options options;
    struct ssld_store_header planned;
    ssld_store_writer *made = NULL;
    ssld_status status = ssld_options_take(context, __func__, &options, sizeof options, given, sizeof options);
    if (status || (status = check_options(context, &options)) || (status = plan_header(context, &options, &planned)))
        return status;
    made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a store writer", sizeof *made);
    made->context = context;
    made->descriptor = -1;
    made->path = ssld_strdup(context, path);
    if (!made->path) {
        status = ssld_fail_memory(context, "a path", strlen(path) + 1);
        goto fail;
    }
    if ((status = open_locked(context, path, options.mode == SSLD_STORE_CREATE, &made->descriptor)))
        goto fail;
    /* A new file is one whose creation was interrupted at once. */
    if ((status = resume_file(made, &options, &planned)) || (status = make_buffers(made, options.level)))
        goto fail;
    *writer = made;
    return SSLD_OK;
fail:
    /* While the lock is held: nobody else can have begun to use it. */
    if (made->fresh)
        unlink(path);
    ssld_store_writer_abandon(made);
    return status;
}

/* -- Closing ------------------------------------------------------------------------------------------------------ */

static ssld_status write_index(struct ssld_store_writer *writer)
{
    uint64_t size = ssld_index_size(writer->list.count);
    if (!size) {
        ssld_log(writer->context, SSLD_LOG_WARNING,
                 "%s: too many runs for an index; opening the store will walk its blocks", writer->path);
        return SSLD_OK;
    }
    ssld_status status = ssld_run_list_sort(writer->context, writer->path, &writer->list);
    uint8_t *bytes = status ? NULL : ssld_alloc(writer->context, (size_t)size);
    if (status || !bytes)
        return status ? status : ssld_fail_memory(writer->context, "a store's index", (size_t)size);
    ssld_index_write(&writer->header, writer->end, writer->list.runs, writer->list.count, writer->blocks, bytes);
    status = write_at_end(writer, bytes, (size_t)size);
    ssld_free(writer->context, bytes);
    return status ? status : sync_file(writer);
}

ssld_status ssld_store_writer_close(ssld_store_writer *writer)
{
    if (!writer)
        return SSLD_OK;
    ssld_status status = make_durable(writer);
    if (!status && !writer->indexed)
        status = write_index(writer);
    ssld_store_writer_abandon(writer);
    return status;
}

void ssld_store_writer_abandon(ssld_store_writer *writer)
{
    if (!writer)
        return;
    ssld_context *context = writer->context;
    if (writer->descriptor >= 0)
        close(writer->descriptor);
    ZSTD_freeCCtx(writer->compressor);
    for (uint32_t view = 0; view < writer->view_count; view++)
        ssld_free(context, writer->views[view].bits);
    ssld_free(context, writer->views);
    ssld_free(context, writer->list.runs);
    ssld_free(context, writer->waiting);
    ssld_free(context, writer->records_buffer);
    ssld_free(context, writer->runs);
    ssld_free(context, writer->payload);
    ssld_free(context, writer->frame);
    ssld_header_free(context, &writer->header);
    ssld_free(context, writer->path);
    ssld_free(context, writer);
}
