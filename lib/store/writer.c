/* SPDX-License-Identifier: BSD-2-Clause */
/* writer.c - opening a store for writing: a new one, or one to go on with; closing it. */
#include <fcntl.h>
#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "store/reader.h"
#include "store/writer.h"

#define DEFAULT_TOP_K 10
#define DENSE_CLASSES 64 /* AUTO: dense up to here */
#define DEFAULT_TAIL_COEFFICIENTS 8
#define DENSE_COEFFICIENTS 64 /* of DENSE_LOG8 */
#define DEFAULT_LEVEL 3
#define MOST_LEVEL 19

#define MOST_BLOCK_RECORDS 256        /* by default */
#define TOPK_BLOCK_BYTES 6144         /* what a reader of one record looks through */
#define LOG8_BLOCK_BYTES 16384
#define COLUMN_BLOCK_BYTES 65536      /* what a reader of one record decompresses */
#define DEFAULT_BLOCK_BYTES (UINT32_C(1) << 16)

#define DEFAULT_LESSON 2048
#define LESSON_BYTES (UINT64_C(64) << 20)
#define MOST_LESSON 65536
#define LEAST_LESSON 32 /* labels that a closed store's model is fitted to at least */

void ssld_store_writer_options_init(ssld_store_writer_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
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
    if (options->top_k < 0 || options->top_k > options->classes || options->top_k > SSLD_FORMAT_TOP_K)
        return refuse(context, "top_k", "1 to the number of classes, and at most 1024");
    if (options->tail < SSLD_TAIL_AUTO || options->tail > SSLD_TAIL_LEARNED)
        return refuse(context, "tail", "an SSLD_TAIL_x");
    if (options->tail_coefficients < 0 || options->tail_coefficients > SSLD_MOST_RANK)
        return refuse(context, "tail_coefficients", "1 to 128");
    if (options->tail == SSLD_TAIL_LEARNED && options->classes > SSLD_MOST_SHAPED_CLASSES)
        return refuse(context, "tail", "SSLD_TAIL_UNIFORM for more than 65536 classes");
    if (!(options->kl_bound >= 0 && options->kl_bound <= 64))
        return refuse(context, "kl_bound", "0 to 64 nats");
    if (options->learn_records < 0 || options->learn_records > MOST_LESSON)
        return refuse(context, "learn_records", "1 to 65536");
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

/* What the codec is to be told. */
static void plan_codec(const ssld_store_writer_options *options, struct ssld_store_header *header)
{
    bool shaped = header->classes <= SSLD_MOST_SHAPED_CLASSES;
    if (header->codec == SSLD_CODEC_AUTO)
        header->codec = header->classes <= DENSE_CLASSES ? SSLD_CODEC_DENSE_LOG8 : SSLD_CODEC_TOPK;
    if (header->codec == SSLD_CODEC_DENSE_LOG8) {
        int32_t rank = options->tail_coefficients ? options->tail_coefficients : DENSE_COEFFICIENTS;
        header->shape_rows = shaped ? 1 + (rank < header->classes / 4 ? rank : header->classes / 4) : 0;
    }
    if (header->codec != SSLD_CODEC_TOPK)
        return;
    int32_t most = header->classes < SSLD_FORMAT_TOP_K ? header->classes : SSLD_FORMAT_TOP_K;
    int32_t usual = options->kl_bound > 0 ? most : most < DEFAULT_TOP_K ? most : DEFAULT_TOP_K;
    int32_t rank = options->tail_coefficients ? options->tail_coefficients : DEFAULT_TAIL_COEFFICIENTS;
    header->top_k = options->top_k ? options->top_k : usual;
    header->kl_bound = options->kl_bound;
    if (shaped && options->tail != SSLD_TAIL_UNIFORM && header->top_k < header->classes)
        header->shape_rows = 1 + (rank < header->classes ? rank : header->classes - 1);
}

/* Blocks so large that what stands around them counts little, and so small that one record is not far away. */
static ssld_status plan_blocks(ssld_context *context, const ssld_store_writer_options *options,
                               struct ssld_store_header *header)
{
    const struct ssld_codec *codec = ssld_codec_find(header->codec);
    struct ssld_coding coding = ssld_coding_of(header), plain = coding;
    uint64_t most = codec->most_bits(&coding) / 8, halves = ssld_codec_f16.most_bits(&plain) / 8;
    uint64_t usual = codec->columns                         ? most
                     : header->codec == SSLD_CODEC_TOPK ? (uint64_t)(header->top_k + header->shape_rows / 2 + 5)
                                                        : (uint64_t)header->classes / 2 + 1;
    uint64_t records = (codec->columns                     ? COLUMN_BLOCK_BYTES
                        : header->codec == SSLD_CODEC_TOPK ? TOPK_BLOCK_BYTES
                                                           : LOG8_BLOCK_BYTES) / usual;
    records = records < 1 ? 1 : records > MOST_BLOCK_RECORDS ? MOST_BLOCK_RECORDS : records;
    header->block_records = options->block_records ? (uint32_t)options->block_records : (uint32_t)records;
    /* One record of any size must fit, coded or as halves; a block of columns all its records. */
    uint64_t bytes = codec->columns ? most * header->block_records : DEFAULT_BLOCK_BYTES;
    bytes = bytes < most + 64 ? most + 64 : bytes;
    bytes = bytes < halves + 64 ? halves + 64 : bytes;
    if (bytes > SSLD_FORMAT_BLOCK_BYTES)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "ssld_store_writer_open: %u records of %d classes are %llu bytes, a block holds %u; give fewer "
                         "block_records or a smaller top_k", header->block_records, header->classes,
                         (unsigned long long)bytes, SSLD_FORMAT_BLOCK_BYTES);
    header->block_bytes = (uint32_t)bytes;
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
    plan_codec(options, header);
    return plan_blocks(context, options, header);
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
    ssld_status status = ssld_writer_write(writer, bytes, (size_t)writer->header.size);
    if (!status && fsync(writer->descriptor))
        status = ssld_writer_fail(writer, "sync");
    if (!status && ssld_sync_folder(writer->path))
        status = ssld_writer_fail(writer, "sync the folder of");
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
        if (ssld_writer_reserve_view(writer, run->view))
            return SSLD_OUT_OF_MEMORY;
        for (uint32_t record = 0; record < run->count; record++)
            if (!ssld_writer_note(writer, run->view, run->sample + record))
                return ssld_fail(writer->context, SSLD_CORRUPT,
                                 "%s: sample %llu, view %u is stored twice, the second time in "
                                 "the block at offset %llu; the file is not as libssld writes it", writer->path,
                                 (unsigned long long)(run->sample + record), run->view, (unsigned long long)run->block);
    }
    writer->list = scan->list;
    writer->blocks = scan->blocks;
    scan->list = (struct ssld_run_list){ 0 };
    for (uint64_t i = 0; i < scan->model_count; i++)
        writer->model_offsets[i] = scan->models[i];
    writer->model_frames = scan->model_count;
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
        .shape_rows = options->tail_coefficients || options->tail ? &planned->shape_rows : NULL,
        .kl_bound = options->kl_bound > 0 ? &planned->kl_bound : NULL,
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
    struct ssld_coding coding = ssld_coding_of(header);
    if (codec->most_bits(&coding) / 8 + 64 > header->block_bytes)
        return ssld_fail(writer->context, SSLD_FORMAT, "%s: the store's header allows blocks smaller than its records",
                         writer->path);
    return SSLD_OK;
}

/* What depends on the header alone: codec, crew, how many labels a model is fitted to. */
static ssld_status prepare_codec(ssld_store_writer *writer, const ssld_store_writer_options *options)
{
    const struct ssld_store_header *header = &writer->header;
    uint64_t wanted = options->learn_records ? (uint64_t)options->learn_records : DEFAULT_LESSON;
    uint64_t most = LESSON_BYTES / ((uint64_t)header->classes * sizeof(float));
    writer->codec = ssld_codec_find(header->codec);
    writer->plain = &ssld_codec_f16;
    writer->coding = ssld_coding_of(header);
    writer->plain_coding = (struct ssld_coding){ .classes = header->classes };
    writer->level = options->level ? options->level : DEFAULT_LEVEL;
    writer->lesson.wanted = (size_t)(!options->learn_records && wanted > most ? most < 1 ? 1 : most : wanted);
    return ssld_writer_prepare(writer);
}

/* The models in the file: the writer goes on with the last one. */
static ssld_status take_models(ssld_store_writer *writer, const struct ssld_store_file *file)
{
    for (uint64_t i = 0; i < writer->model_frames; i++) {
        struct ssld_frame frame;
        struct ssld_model *model;
        size_t size;
        int32_t number;
        if (!ssld_frame_read(file, writer->model_offsets[i], &frame))
            continue; /* its twin may be sound */
        const uint8_t *bytes = ssld_model_frame_content(&frame, &size);
        ssld_status status = ssld_model_read(writer->context, bytes, size, &model);
        if (status)
            return status;
        if (!ssld_model_fits(model, &writer->header)) {
            ssld_model_free(writer->context, model);
            return ssld_fail(writer->context, SSLD_FORMAT, "%s: the model at offset %llu is for another codec", writer->path,
                             (unsigned long long)writer->model_offsets[i]);
        }
        if ((status = ssld_writer_take_model(writer, model, &number)))
            return status;
    }
    writer->models_written = writer->model_count;
    return SSLD_OK;
}

/* Labels that were committed before there was a model are what it is fitted to, too. */
static ssld_status take_plain_labels(ssld_store_writer *writer, const struct ssld_store_file *file)
{
    ssld_context *context = writer->context;
    struct ssld_unpacker unpacker;
    struct ssld_encoder *encoder = &writer->workers[0].plain;
    if (writer->codec->columns || writer->model_count)
        return SSLD_OK;
    ssld_status status = ssld_unpacker_make(context, &writer->header, &unpacker);
    for (size_t i = 0; i < writer->list.count && !status; i++) {
        struct ssld_block block;
        const struct ssld_run *run = &writer->list.runs[i];
        const uint8_t *payload;
        if (!ssld_block_read(file, run->block, &block) || block.codec != writer->plain->id ||
            !(payload = ssld_block_payload(&unpacker, &block)))
            continue; /* a damaged one teaches nothing */
        for (uint32_t record = 0; record < run->count && !status; record++) {
            struct ssld_source source;
            if (!ssld_payload_record(&unpacker, writer->plain, &writer->plain_coding, NULL, &block, payload,
                                     run->record + record, &source) ||
                !writer->plain->decode(&writer->plain_coding, NULL, &source, encoder->work, NULL))
                continue;
            struct ssld_label label = ssld_label_read(encoder->work, writer->header.classes, false, -1, encoder->log_p);
            status = ssld_writer_teach(writer, &label);
        }
    }
    ssld_unpacker_free(context, &unpacker);
    return status;
}

/* The model of another store, for a new one. */
static ssld_status borrow_model(ssld_store_writer *writer, const char *path)
{
    ssld_store *store = NULL;
    struct ssld_model *model = NULL;
    int32_t number;
    ssld_status status = ssld_store_open(writer->context, path, NULL, &store);
    if (status)
        return status;
    const struct ssld_model *found = ssld_store_last_model(store);
    if (!found || !ssld_model_fits(found, &writer->header))
        status = ssld_fail(writer->context, SSLD_MISMATCH,
                           "%s: has no model for this store: it must be of the same classes, codec and tail_coefficients, and "
                           "have labels", path);
    else
        status = ssld_model_read(writer->context, found->bytes, found->size, &model);
    if (!status)
        status = ssld_writer_take_model(writer, model, &number);
    ssld_store_close(store);
    return status;
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
        if (!(status = begin_file(writer, planned, map.size)))
            status = prepare_codec(writer, options);
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
    if ((status = ssld_scan_cut_torn(context, &file, &scan)))
        goto done;
    if (scan.end < map.size && !scan.closed)
        ssld_log(context, SSLD_LOG_WARNING,
                 "%s: the last write was interrupted; %llu bytes behind offset %llu are given up",
                 writer->path, (unsigned long long)(map.size - scan.end), (unsigned long long)scan.end);
    status = take_scan(writer, &scan, map.size);
    if (!status)
        status = prepare_codec(writer, options);
    if (!status)
        status = take_models(writer, &file);
    if (!status)
        status = take_plain_labels(writer, &file);
done:
    ssld_scan_free(context, &scan);
    ssld_map_close(&map);
    return status;
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
    made->model_offsets = ssld_alloc(context, SSLD_MOST_MODELS * sizeof *made->model_offsets);
    if (!made->path || !made->model_offsets) {
        status = ssld_fail_memory(context, "a path", strlen(path) + 1);
        goto fail;
    }
    if ((status = open_locked(context, path, options.mode == SSLD_STORE_CREATE, &made->descriptor)))
        goto fail;
    /* A new file is one whose creation was interrupted at once. */
    if ((status = resume_file(made, &options, &planned)) ||
        (options.model_from && !made->codec->columns && !made->model_count &&
         (status = borrow_model(made, options.model_from))))
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

ssld_status ssld_store_writer_close(ssld_store_writer *writer)
{
    if (!writer)
        return SSLD_OK;
    size_t least = writer->lesson.wanted < LEAST_LESSON ? writer->lesson.wanted : LEAST_LESSON;
    ssld_status status = ssld_writer_make_durable(writer, least);
    if (!status && !writer->indexed)
        status = ssld_writer_write_index(writer);
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
    ssld_writer_unprepare(writer);
    for (int32_t i = 0; i < writer->model_count; i++)
        ssld_model_free(context, writer->models[i]);
    ssld_free(context, writer->models);
    ssld_free(context, writer->model_offsets);
    for (uint32_t view = 0; view < writer->view_count; view++)
        ssld_free(context, writer->views[view].bits);
    ssld_free(context, writer->views);
    ssld_free(context, writer->list.runs);
    ssld_header_free(context, &writer->header);
    ssld_free(context, writer->path);
    ssld_free(context, writer);
}
