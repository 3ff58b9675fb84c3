/* SPDX-License-Identifier: BSD-2-Clause */
/* append.c - labels on their way to the file. They are encoded as they come, by all threads; records wait, sorted into blocks
 * when there are enough. Until there is a model, labels of codecs that need one are kept in the lesson. A failed write leaves
 * its records waiting, so every call may be repeated. */
#include "store/writer.h"

#include <stdlib.h>

#include "core/batch.h"
#include "core/labels.h"

#define WINDOW_BLOCKS 16
#define WINDOW_BYTES (UINT64_C(32) << 20) /* of waiting records */
#define ROWS_A_TASK 8

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

bool ssld_bytes_reserve(ssld_context *context, struct ssld_bytes *bytes, size_t more)
{
    if (more <= bytes->capacity - bytes->size)
        return true;
    size_t capacity = bytes->size + more + bytes->capacity / 2;
    uint8_t *larger = ssld_realloc(context, bytes->bytes, bytes->size, capacity);
    if (!larger)
        return false;
    bytes->bytes = larger;
    bytes->capacity = capacity;
    return true;
}

static ssld_status prepare_worker(ssld_store_writer *writer, struct ssld_writer_worker *worker)
{
    ssld_context *context = writer->context;
    ssld_status status = ssld_encoder_make(context, &writer->coding, &worker->encoder);
    if (!status)
        status = ssld_encoder_make(context, &writer->plain_coding, &worker->plain);
    worker->payload = ssld_alloc(context, writer->header.block_bytes);
    /* zstd takes an allocator only through its experimental interface: see ssld_unpacker_make() */
    worker->compressor = ZSTD_createCCtx();
    if (!status && (!worker->payload || !worker->compressor))
        status = ssld_fail_memory(context, "a store writer's block", writer->header.block_bytes);
    if (!status) {
        ZSTD_CCtx_setParameter(worker->compressor, ZSTD_c_compressionLevel, writer->level);
        ZSTD_CCtx_setParameter(worker->compressor, ZSTD_c_checksumFlag, 1);
    }
    return status;
}

ssld_status ssld_writer_prepare(ssld_store_writer *writer)
{
    ssld_context *context = writer->context;
    writer->crew = ssld_crew_create(context, ssld_context_threads(context));
    if (!writer->crew)
        return ssld_fail_memory(context, "a store writer's threads", sizeof(void *));
    int32_t size = ssld_crew_size(writer->crew);
    writer->workers = ssld_alloc_zero(context, (size_t)size, sizeof *writer->workers);
    if (!writer->workers)
        return ssld_fail_memory(context, "a store writer's threads", (size_t)size * sizeof *writer->workers);
    writer->window = (size_t)writer->header.block_records * WINDOW_BLOCKS;
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; i < size && !status; i++)
        status = prepare_worker(writer, &writer->workers[i]);
    return status;
}

void ssld_writer_unprepare(ssld_store_writer *writer)
{
    ssld_context *context = writer->context;
    for (int32_t i = 0; writer->workers && i < ssld_crew_size(writer->crew); i++) {
        struct ssld_writer_worker *worker = &writer->workers[i];
        ssld_encoder_free(context, &worker->encoder);
        ssld_encoder_free(context, &worker->plain);
        ZSTD_freeCCtx(worker->compressor);
        ssld_free(context, worker->payload);
        ssld_free(context, worker->records.bytes);
    }
    ssld_free(context, writer->workers);
    ssld_crew_destroy(writer->crew);
    ssld_free(context, writer->waiting);
    ssld_free(context, writer->arena.bytes);
    ssld_free(context, writer->lesson.log_p);
    ssld_free(context, writer->lesson.classes);
    ssld_free(context, writer->lesson.samples);
    ssld_free(context, writer->lesson.views);
}

/* -- Models ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_writer_take_model(ssld_store_writer *writer, struct ssld_model *model, int32_t *number)
{
    ssld_context *context = writer->context;
    ssld_status status = ssld_model_analyse(context, model);
    for (int32_t i = 0; i < writer->model_count && !status; i++)
        if (writer->models[i]->id == model->id) {
            *number = i;
            ssld_model_free(context, model);
            return SSLD_OK;
        }
    size_t count = (size_t)writer->model_count, size = sizeof *writer->models;
    if (!status && count >= SSLD_MOST_MODELS / 2)
        status = ssld_fail(context, SSLD_UNSUPPORTED, "%s: more than %d models; code the labels anew with one (recode)",
                           writer->path, SSLD_MOST_MODELS / 2);
    struct ssld_model **models = status ? NULL : ssld_realloc(context, writer->models, count * size, (count + 1) * size);
    if (!models) {
        ssld_model_free(context, model);
        return status ? status : ssld_fail_memory(context, "a store's models", (count + 1) * size);
    }
    writer->models = models;
    models[count] = model;
    *number = writer->model_count++;
    for (int32_t i = 0; i < ssld_crew_size(writer->crew); i++)
        writer->workers[i].encoder.model = model;
    return SSLD_OK;
}

/* Write the frames of models that are not in the file yet, each twice: all blocks depend on them. */
static ssld_status write_models(ssld_store_writer *writer)
{
    ssld_status status = SSLD_OK;
    for (; writer->models_written < writer->model_count && !status; writer->models_written += !status) {
        const struct ssld_model *model = writer->models[writer->models_written];
        size_t size = ssld_model_frame_size(model->size);
        uint8_t *bytes = ssld_alloc(writer->context, 2 * size);
        if (!bytes)
            return ssld_fail_memory(writer->context, "a model's frame", 2 * size);
        ssld_model_frame_write(&writer->header, writer->end, model->bytes, model->size, bytes);
        ssld_model_frame_write(&writer->header, writer->end + size, model->bytes, model->size, bytes + size);
        uint64_t offset = writer->end;
        status = ssld_writer_write(writer, bytes, 2 * size);
        ssld_free(writer->context, bytes);
        for (uint64_t copy = 0; copy < 2 && !status; copy++)
            writer->model_offsets[writer->model_frames++] = offset + copy * size;
    }
    return status;
}

/* -- Encoding ----------------------------------------------------------------------------------------------------- */

/* Rows to be encoded, and what became of them. */
struct encoding {
    ssld_store_writer *writer;
    const float       *values; /* (count, stride): logits, probabilities or log-probabilities */
    size_t             stride;
    int32_t            kind;   /* SSLD_LABELS_x; EMPTY for log-probabilities */
    const int32_t     *classes; /* or NULL */
    int32_t            model;  /* SSLD_PLAIN for halves */
    int32_t            count;
    struct ssld_record *records; /* of each row: its bytes are an offset into its worker's until all are done */
    int32_t           *workers;  /* who has it */
};

static void encode_rows(void *user, int32_t number, int32_t task)
{
    struct encoding *encoding = user;
    ssld_store_writer *writer = encoding->writer;
    struct ssld_writer_worker *worker = &writer->workers[number];
    bool plain = encoding->model == SSLD_PLAIN;
    const struct ssld_codec *codec = plain ? writer->plain : writer->codec;
    struct ssld_encoder *encoder = plain ? &worker->plain : &worker->encoder;
    size_t most = (size_t)(codec->most_bits(&encoder->coding) / 8) + 16;
    int32_t end = (task + 1) * ROWS_A_TASK < encoding->count ? (task + 1) * ROWS_A_TASK : encoding->count;
    for (int32_t row = task * ROWS_A_TASK; row < end && !worker->status; row++) {
        if (!ssld_bytes_reserve(writer->context, &worker->records, most)) {
            worker->status = ssld_fail_memory(writer->context, "records", most);
            return;
        }
        const float *values = encoding->values + (size_t)row * encoding->stride;
        int32_t class = encoding->classes ? encoding->classes[row] : -1;
        struct ssld_label label = encoding->kind == SSLD_LABELS_EMPTY
                                      ? ssld_label_of(values, writer->header.classes, class)
                                      : ssld_label_read(values, writer->header.classes, encoding->kind == SSLD_LABELS_LOGITS,
                                                        class, encoder->log_p);
        struct ssld_sink sink = { .codes = encoder->model ? encoder->model->codes : NULL,
                                  .bytes = worker->records.bytes + worker->records.size };
        codec->encode(encoder, &label, &sink);
        encoding->records[row] = (struct ssld_record){ (const uint8_t *)(uintptr_t)worker->records.size, sink.bits };
        encoding->workers[row] = number;
        worker->records.size += (size_t)(sink.bits + 7) / 8;
    }
}

static ssld_status reserve_waiting(ssld_store_writer *writer, size_t more, size_t bytes)
{
    size_t wanted = writer->waiting_count + more, size = sizeof *writer->waiting;
    if (wanted > writer->waiting_capacity) {
        size_t capacity = wanted + writer->waiting_capacity / 2;
        struct ssld_waiting *waiting = ssld_realloc(writer->context, writer->waiting, writer->waiting_count * size,
                                                    capacity * size);
        if (!waiting)
            return ssld_fail_memory(writer->context, "waiting records", capacity * size);
        writer->waiting = waiting;
        writer->waiting_capacity = capacity;
    }
    return ssld_bytes_reserve(writer->context, &writer->arena, bytes)
               ? SSLD_OK
               : ssld_fail_memory(writer->context, "waiting records", bytes);
}

/* There is room. */
static void add_waiting(ssld_store_writer *writer, uint64_t sample, uint32_t view, int32_t model, const uint8_t *bytes,
                        uint64_t bits)
{
    size_t size = (size_t)(bits + 7) / 8;
    writer->waiting[writer->waiting_count++] = (struct ssld_waiting){ sample, writer->arena.size, bits, view, model };
    memcpy(writer->arena.bytes + writer->arena.size, bytes, size);
    writer->arena.size += size;
}

/* Encode rows and let them wait. Nothing has changed on failure. */
static ssld_status encode_and_wait(struct encoding *encoding, const uint64_t *samples, const uint32_t *views)
{
    ssld_store_writer *writer = encoding->writer;
    ssld_context *context = writer->context;
    size_t count = (size_t)encoding->count, bytes = 0;
    ssld_status status = SSLD_OK;
    encoding->records = ssld_alloc(context, count * sizeof *encoding->records);
    encoding->workers = ssld_alloc(context, count * sizeof *encoding->workers);
    if (!encoding->records || !encoding->workers) {
        status = ssld_fail_memory(context, "encoding labels", count * sizeof *encoding->records);
        goto done;
    }
    for (int32_t i = 0; i < ssld_crew_size(writer->crew); i++) {
        writer->workers[i].records.size = 0;
        writer->workers[i].status = SSLD_OK;
    }
    ssld_crew_run(writer->crew, (encoding->count + ROWS_A_TASK - 1) / ROWS_A_TASK, encode_rows, encoding);
    for (int32_t i = 0; i < ssld_crew_size(writer->crew) && !status; i++) {
        status = writer->workers[i].status;
        bytes += writer->workers[i].records.size;
    }
    if (!status)
        status = reserve_waiting(writer, count, bytes);
    for (size_t i = 0; i < count && !status; i++)
        add_waiting(writer, samples[i], views[i], encoding->model,
                    writer->workers[encoding->workers[i]].records.bytes + (uintptr_t)encoding->records[i].bytes,
                    encoding->records[i].bits);
done:
    ssld_free(context, encoding->records);
    ssld_free(context, encoding->workers);
    return status;
}

/* -- The lesson --------------------------------------------------------------------------------------------------- */

static size_t lesson_stride(const ssld_store_writer *writer)
{
    return ((size_t)writer->header.classes + SSLD_SHAPE_VECTOR - 1) / SSLD_SHAPE_VECTOR * SSLD_SHAPE_VECTOR;
}

static bool learns(const ssld_store_writer *writer)
{
    return !writer->codec->columns && !writer->model_count;
}

static ssld_status lesson_reserve(ssld_store_writer *writer, size_t more)
{
    struct ssld_lesson *lesson = &writer->lesson;
    ssld_context *context = writer->context;
    size_t stride = lesson_stride(writer), count = lesson->count + more, old = lesson->capacity;
    if (count <= old)
        return SSLD_OK;
    count += old / 2;
    struct ssld_lesson larger = *lesson;
    larger.capacity = count;
    larger.log_p = ssld_alloc_zero(context, count * stride, sizeof(float));
    larger.classes = ssld_alloc(context, count * sizeof(int32_t));
    larger.samples = ssld_alloc(context, count * sizeof(uint64_t));
    larger.views = ssld_alloc(context, count * sizeof(uint32_t));
    if (!larger.log_p || !larger.classes || !larger.samples || !larger.views) {
        ssld_free(context, larger.log_p);
        ssld_free(context, larger.classes);
        ssld_free(context, larger.samples);
        ssld_free(context, larger.views);
        return ssld_fail_memory(context, "labels to fit a model to", count * stride * sizeof(float));
    }
    if (lesson->count) {
        memcpy(larger.log_p, lesson->log_p, lesson->count * stride * sizeof(float));
        memcpy(larger.classes, lesson->classes, lesson->count * sizeof(int32_t));
        memcpy(larger.samples, lesson->samples, lesson->count * sizeof(uint64_t));
        memcpy(larger.views, lesson->views, lesson->count * sizeof(uint32_t));
    }
    ssld_free(context, lesson->log_p);
    ssld_free(context, lesson->classes);
    ssld_free(context, lesson->samples);
    ssld_free(context, lesson->views);
    *lesson = larger;
    return SSLD_OK;
}

static void lesson_end(ssld_store_writer *writer)
{
    struct ssld_lesson *lesson = &writer->lesson;
    ssld_free(writer->context, lesson->log_p);
    ssld_free(writer->context, lesson->classes);
    ssld_free(writer->context, lesson->samples);
    ssld_free(writer->context, lesson->views);
    *lesson = (struct ssld_lesson){ .wanted = lesson->wanted };
}

ssld_status ssld_writer_teach(ssld_store_writer *writer, const struct ssld_label *label)
{
    struct ssld_lesson *lesson = &writer->lesson;
    if (!learns(writer) || lesson->count >= lesson->wanted)
        return SSLD_OK;
    ssld_status status = lesson_reserve(writer, 1);
    if (status)
        return status;
    memcpy(lesson->log_p + lesson->count * lesson_stride(writer), label->log_p,
           (size_t)writer->header.classes * sizeof(float));
    lesson->classes[lesson->count++] = label->class;
    lesson->stored = lesson->count;
    return SSLD_OK;
}

/* Let the lesson's labels that are not stored wait, coded with `model`. */
static ssld_status lesson_store(ssld_store_writer *writer, int32_t model)
{
    struct ssld_lesson *lesson = &writer->lesson;
    size_t first = lesson->stored;
    if (lesson->count == first)
        return SSLD_OK;
    struct encoding encoding = { .writer = writer, .values = lesson->log_p + first * lesson_stride(writer),
                                 .stride = lesson_stride(writer), .kind = SSLD_LABELS_EMPTY,
                                 .classes = lesson->classes + first, .model = model,
                                 .count = (int32_t)(lesson->count - first) };
    ssld_status status = encode_and_wait(&encoding, lesson->samples + first, lesson->views + first);
    if (!status)
        lesson->stored = lesson->count;
    return status;
}

ssld_status ssld_writer_settle_lesson(ssld_store_writer *writer, size_t least)
{
    struct ssld_lesson *lesson = &writer->lesson;
    struct ssld_model *model = NULL;
    ssld_status status;
    int32_t number;
    /* A model that a call before this one fitted, and then had no memory to use. */
    if (!writer->codec->columns && writer->model_count && lesson->count) {
        if (!(status = lesson_store(writer, writer->model_count - 1)))
            lesson_end(writer);
        return status;
    }
    if (!learns(writer) || !lesson->count)
        return SSLD_OK;
    if (lesson->count < least || !least)
        return lesson_store(writer, SSLD_PLAIN);
    status = ssld_learn(writer->context, writer->codec, &writer->workers[0].encoder, lesson->count, lesson->log_p,
                        lesson->classes, &model);
    if (status || (status = ssld_writer_take_model(writer, model, &number)) || (status = lesson_store(writer, number)))
        return status;
    lesson_end(writer);
    return SSLD_OK;
}

static ssld_status lesson_add(ssld_store_writer *writer, int32_t count, const uint64_t *samples, const uint32_t *views,
                              const int32_t *classes, const float *values, bool logits)
{
    struct ssld_lesson *lesson = &writer->lesson;
    ssld_status status = lesson_reserve(writer, (size_t)count);
    for (int32_t i = 0; i < count && !status; i++) {
        size_t at = lesson->count++;
        lesson->classes[at] = classes ? classes[i] : -1;
        lesson->samples[at] = samples[i];
        lesson->views[at] = views[i];
        ssld_label_read(values + (size_t)i * (size_t)writer->header.classes, writer->header.classes, logits,
                        lesson->classes[at], lesson->log_p + at * lesson_stride(writer));
    }
    return status;
}

/* -- Appending ---------------------------------------------------------------------------------------------------- */

static bool window_full(const ssld_store_writer *writer)
{
    return writer->waiting_count >= writer->window || writer->arena.size >= WINDOW_BYTES;
}

ssld_status ssld_writer_add(ssld_store_writer *writer, int32_t count, const uint64_t *samples, const uint32_t *views,
                            const int32_t *classes, const float *values, bool logits)
{
    if (learns(writer))
        return lesson_add(writer, count, samples, views, classes, values, logits);
    struct encoding encoding = { .writer = writer, .values = values, .stride = (size_t)writer->header.classes,
                                 .kind = logits ? SSLD_LABELS_LOGITS : SSLD_LABELS_PROBABILITIES, .classes = classes,
                                 .model = writer->codec->columns ? 0 : writer->model_count - 1, .count = count };
    return encode_and_wait(&encoding, samples, views);
}

ssld_status ssld_writer_add_record(ssld_store_writer *writer, uint64_t sample, uint32_t view, int32_t model,
                                   const struct ssld_source *source, uint64_t bits)
{
    size_t size = (size_t)(bits + 7) / 8;
    ssld_status status = window_full(writer) ? ssld_writer_flush(writer) : SSLD_OK;
    if (!status)
        status = reserve_waiting(writer, 1, size + 16);
    if (status)
        return status;
    struct ssld_source from = *source;
    struct ssld_sink to = { .bytes = writer->arena.bytes + writer->arena.size };
    for (uint64_t left = bits; left; ) {
        unsigned part = left < 32 ? (unsigned)left : 32;
        ssld_put_bits(&to, ssld_get_bits(&from, part), part);
        left -= part;
    }
    writer->waiting[writer->waiting_count++] = (struct ssld_waiting){ sample, writer->arena.size, bits, view, model };
    writer->arena.size += size;
    return SSLD_OK;
}

static ssld_status check_labels(ssld_store_writer *writer, int32_t count, const uint64_t *samples,
                                const uint32_t *views, const int32_t *classes, const ssld_labels *labels)
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
        if (classes && (classes[i] < -1 || classes[i] >= header->classes))
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "%s: sample %llu, view %u is said to be of class %d; there are %d", writer->path,
                             (unsigned long long)samples[i], views[i], classes[i], header->classes);
        const char *wrong = ssld_label_check(labels->values + (size_t)i * (size_t)labels->classes, labels->classes,
                                             labels->kind == SSLD_LABELS_LOGITS);
        if (wrong)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "%s: the label of sample %llu, view %u %s; nothing of its batch was "
                             "stored", writer->path, (unsigned long long)samples[i], views[i], wrong);
    }
    for (int32_t i = 0; i < count; i++)
        if (ssld_writer_reserve_view(writer, views[i]))
            return SSLD_OUT_OF_MEMORY;
    return SSLD_OK;
}

/* Add the rows whose views are new, as many consecutive ones at a time as there are. */
static ssld_status add_new_rows(ssld_store_writer *writer, int32_t count, const uint64_t *samples, const uint32_t *views,
                                const int32_t *classes, const ssld_labels *labels)
{
    ssld_status status = SSLD_OK;
    for (int32_t first = 0, next; first < count && !status; first = next) {
        next = first + 1;
        if (!ssld_writer_note(writer, views[first], samples[first]))
            continue;
        while (next < count && ssld_writer_note(writer, views[next], samples[next]))
            next++;
        status = ssld_writer_add(writer, next - first, samples + first, views + first, classes ? classes + first : NULL,
                                 labels->values + (size_t)first * (size_t)labels->classes,
                                 labels->kind == SSLD_LABELS_LOGITS);
        for (int32_t i = first; i < next && status; i++)
            ssld_writer_forget(writer, views[i], samples[i]);
    }
    return status;
}

ssld_status ssld_writer_advance(ssld_store_writer *writer)
{
    ssld_status status = SSLD_OK;
    if (learns(writer) && writer->lesson.count >= writer->lesson.wanted)
        status = ssld_writer_settle_lesson(writer, writer->lesson.wanted);
    return !status && window_full(writer) ? ssld_writer_flush(writer) : status;
}

ssld_status ssld_store_writer_append_labelled(ssld_store_writer *writer, int32_t count, const uint64_t *samples,
                                              const uint32_t *views, const int32_t *classes, const ssld_labels *labels)
{
    ssld_status status = check_labels(writer, count, samples, views, classes, labels);
    if (!status && window_full(writer)) /* a write that failed before: its records must not grow without end */
        status = ssld_writer_flush(writer);
    if (!status)
        status = add_new_rows(writer, count, samples, views, classes, labels);
    return status ? status : ssld_writer_advance(writer);
}

ssld_status ssld_store_writer_append_views(ssld_store_writer *writer, int32_t count, const uint64_t *samples,
                                           const uint32_t *views, const ssld_labels *labels)
{
    return ssld_store_writer_append_labelled(writer, count, samples, views, NULL, labels);
}

ssld_status ssld_store_writer_append(ssld_store_writer *writer, const ssld_batch *batch, const ssld_labels *labels)
{
    return ssld_store_writer_append_labelled(writer, batch->count, batch->samples, batch->views, batch->labels, labels);
}

/* -- Blocks ------------------------------------------------------------------------------------------------------- */

/* Waiting records that make a block, and what is made of them. */
struct draft {
    size_t            first;
    struct ssld_block block;
    struct ssld_run  *runs;  /* part of the flush's */
    uint8_t          *frame; /* block frame and zstd frame */
    size_t            size;
    ssld_status       status;
};

struct flushing {
    ssld_store_writer  *writer;
    struct draft       *drafts;
    size_t              count;
    struct ssld_run    *runs;    /* one for each waiting record at most */
    struct ssld_record *records; /* of the waiting records */
};

static int compare_waiting(const void *left, const void *right)
{
    const struct ssld_waiting *a = left, *b = right;
    if (a->view != b->view)
        return a->view < b->view ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

/* How many of the waiting records from `first` on make a block: of one model, within the header's limits. */
static uint32_t block_length(const ssld_store_writer *writer, size_t first)
{
    const struct ssld_store_header *header = &writer->header;
    bool columns = writer->codec->columns || writer->waiting[first].model == SSLD_PLAIN;
    uint64_t bits = 0;
    uint32_t count = 0;
    for (size_t i = first; i < writer->waiting_count && count < header->block_records; i++, count++) {
        bits += writer->waiting[i].bits;
        /* What stands around coded records takes less than 5 bytes a record and 16. */
        uint64_t around = columns ? 0 : 5 * (uint64_t)(count + 1) + 16;
        if (count && (writer->waiting[i].model != writer->waiting[first].model || bits / 8 + around > header->block_bytes))
            break;
    }
    return count;
}

static void plan_drafts(struct flushing *flushing)
{
    ssld_store_writer *writer = flushing->writer;
    for (size_t first = 0; first < writer->waiting_count; first += flushing->drafts[flushing->count++].block.records) {
        struct draft *draft = &flushing->drafts[flushing->count];
        int32_t model = writer->waiting[first].model;
        bool plain = model == SSLD_PLAIN;
        *draft = (struct draft){ .first = first, .runs = flushing->runs + first };
        draft->block.records = block_length(writer, first);
        draft->block.codec = plain ? writer->plain->id : writer->codec->id;
        draft->block.model = plain || writer->codec->columns ? 0 : writer->models[model]->id;
        for (uint32_t i = 0; i < draft->block.records; i++) {
            const struct ssld_waiting *record = &writer->waiting[first + i];
            struct ssld_run *last = draft->block.runs ? &draft->runs[draft->block.runs - 1] : NULL;
            flushing->records[first + i] = (struct ssld_record){ writer->arena.bytes + record->at, record->bits };
            if (last && last->view == record->view && last->sample + last->count == record->sample)
                last->count++;
            else
                draft->runs[draft->block.runs++] = (struct ssld_run){ .sample = record->sample, .view = record->view,
                                                                      .count = 1 };
        }
    }
}

static void make_draft(void *user, int32_t number, int32_t task)
{
    struct flushing *flushing = user;
    ssld_store_writer *writer = flushing->writer;
    struct ssld_writer_worker *worker = &writer->workers[number];
    struct draft *draft = &flushing->drafts[task];
    const struct ssld_codec *codec = draft->block.codec == writer->codec->id ? writer->codec : writer->plain;
    const struct ssld_coding *coding = codec == writer->codec ? &writer->coding : &writer->plain_coding;
    const struct ssld_record *records = flushing->records + draft->first;
    uint64_t payload = ssld_payload_size(codec, coding, records, draft->block.records);
    size_t head = ssld_block_frame_size(draft->block.runs);
    draft->frame = ssld_alloc(writer->context, head + ssld_payload_bound(payload));
    if (!draft->frame) {
        draft->status = ssld_fail_memory(writer->context, "a block", head + (size_t)payload);
        return;
    }
    size_t packed = ssld_payload_pack(codec, coding, records, draft->block.records, worker->compressor, worker->payload,
                                      draft->frame + head, &draft->block.checksum);
    if (!packed)
        draft->status = ssld_fail(writer->context, SSLD_OUT_OF_MEMORY, "%s: zstd cannot compress a block", writer->path);
    draft->block.payload_bytes = (uint32_t)payload;
    draft->block.compressed_bytes = (uint32_t)packed;
    draft->size = head + packed;
}

/* Write a block and note what is in it. */
static ssld_status write_draft(ssld_store_writer *writer, struct draft *draft)
{
    uint32_t record = 0, runs = draft->block.runs;
    ssld_status status = draft->status ? draft->status : ssld_run_list_reserve(writer->context, &writer->list, runs);
    if (status)
        return status;
    draft->block.offset = writer->end;
    ssld_block_write(&writer->header, &draft->block, draft->runs, draft->frame);
    if ((status = ssld_writer_write(writer, draft->frame, draft->size)))
        return status;
    for (uint32_t i = 0; i < runs; i++) {
        draft->runs[i].block = draft->block.offset;
        draft->runs[i].record = record;
        record += draft->runs[i].count;
        writer->list.runs[writer->list.count++] = draft->runs[i];
    }
    writer->blocks++;
    return SSLD_OK;
}

/* The first `count` waiting records are written. */
static void drop_waiting(ssld_store_writer *writer, size_t count)
{
    size_t left = writer->waiting_count - count;
    if (!left)
        writer->arena.size = 0;
    memmove(writer->waiting, writer->waiting + count, left * sizeof *writer->waiting);
    writer->waiting_count = left;
}

ssld_status ssld_writer_flush(ssld_store_writer *writer)
{
    ssld_context *context = writer->context;
    size_t count = writer->waiting_count, written = 0;
    if (!count)
        return SSLD_OK;
    struct flushing flushing = { .writer = writer };
    flushing.drafts = ssld_alloc(context, count * sizeof *flushing.drafts);
    flushing.runs = ssld_alloc(context, count * sizeof *flushing.runs);
    flushing.records = ssld_alloc(context, count * sizeof *flushing.records);
    ssld_status status = flushing.drafts && flushing.runs && flushing.records
                             ? SSLD_OK
                             : ssld_fail_memory(context, "blocks", count * sizeof *flushing.drafts);
    if (!status && !(status = write_models(writer))) {
        qsort(writer->waiting, count, sizeof *writer->waiting, compare_waiting);
        plan_drafts(&flushing);
        ssld_crew_run(writer->crew, (int32_t)flushing.count, make_draft, &flushing);
    }
    for (size_t i = 0; i < flushing.count && !status; i++)
        if (!(status = write_draft(writer, &flushing.drafts[i])))
            written += flushing.drafts[i].block.records;
    for (size_t i = 0; i < flushing.count; i++)
        ssld_free(context, flushing.drafts[i].frame);
    drop_waiting(writer, written);
    ssld_free(context, flushing.drafts);
    ssld_free(context, flushing.runs);
    ssld_free(context, flushing.records);
    return status;
}
