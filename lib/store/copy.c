/* SPDX-License-Identifier: BSD-2-Clause */
/* copy.c - records from a store into a writer: as they are where both are coded alike, else decoded and coded again. */
#include "store/reader.h"
#include "store/writer.h"

#define MOST_ROWS 256 /* decoded before they are coded again */

struct copying {
    ssld_store_writer  *writer;
    const ssld_store   *store;
    struct ssld_reading reading;
    uint64_t            added;
    /* Rows to be coded again. */
    int32_t             rows, row_room;
    uint64_t            samples[MOST_ROWS];
    uint32_t            views[MOST_ROWS];
    float              *values; /* (row_room, classes) */
    /* The model copied last, by its place in the source and its number in the writer. */
    const struct ssld_model *model;
    int32_t             number;
};

static ssld_status expect_same_labels(const ssld_store_writer *writer, const ssld_store *store)
{
    const struct ssld_store_header *header = &writer->header;
    struct ssld_expected expected = {
        .classes = &header->classes, .samples = &header->samples, .views = &header->views,
        .view_seed = &header->view_seed, .view_spec = header->view_spec, .batch_norm = &header->batch_norm,
        .dataset_fingerprint = header->dataset_fingerprint, .teacher_fingerprint = header->teacher_fingerprint,
    };
    return ssld_header_expect(writer->context, store->parts[0].path, &store->parts[0].header, &expected);
}

static ssld_status flush_rows(struct copying *copying)
{
    int32_t rows = copying->rows;
    copying->rows = 0;
    if (!rows)
        return SSLD_OK;
    ssld_store_writer *writer = copying->writer;
    ssld_status status = ssld_writer_add(writer, rows, copying->samples, copying->views, NULL, copying->values, false);
    for (int32_t i = 0; i < rows && status; i++)
        ssld_writer_forget(writer, copying->views[i], copying->samples[i]);
    copying->added += status ? 0 : (uint64_t)rows;
    return status ? status : ssld_writer_advance(writer);
}

/* The number, in the writer, of the model that a block of the source is coded with. */
static ssld_status model_number(struct copying *copying, int32_t *number)
{
    const struct ssld_model *model = copying->reading.model;
    struct ssld_model *copy;
    if (copying->model != model) {
        ssld_status status = ssld_model_read(copying->writer->context, model->bytes, model->size, &copy);
        if (status || (status = ssld_writer_take_model(copying->writer, copy, &copying->number)))
            return status;
        copying->model = model;
    }
    *number = copying->number;
    return SSLD_OK;
}

/* Whether records of the open block can be taken as they are. */
static bool same_coding(const struct copying *copying)
{
    const struct ssld_reading *reading = &copying->reading;
    const struct ssld_coding *a = reading->coding, *b = &copying->writer->coding;
    if (reading->codec != copying->writer->codec || reading->codec->columns)
        return reading->codec == copying->writer->codec;
    return a->top_k == b->top_k && a->kl_bound == b->kl_bound && a->shaped == b->shaped && a->rank == b->rank;
}

static ssld_status copy_bits_of(struct copying *copying, uint64_t sample, uint32_t view, struct ssld_source *source)
{
    const struct ssld_reading *reading = &copying->reading;
    struct ssld_source start = *source;
    int32_t number = 0;
    ssld_status status = SSLD_OK;
    if (!reading->codec->decode(reading->coding, reading->model, source, NULL, NULL))
        return SSLD_CORRUPT;
    if (!reading->codec->columns)
        status = model_number(copying, &number);
    if (!status)
        status = ssld_writer_add_record(copying->writer, sample, view, number, &start, source->at - start.at);
    copying->added += !status;
    return status;
}

static ssld_status copy_row_of(struct copying *copying, uint64_t sample, uint32_t view, struct ssld_source *source)
{
    const struct ssld_reading *reading = &copying->reading;
    float *row = copying->values + (size_t)copying->rows * (size_t)copying->writer->header.classes;
    if (!reading->codec->decode(reading->coding, reading->model, source, row, NULL))
        return SSLD_CORRUPT;
    copying->samples[copying->rows] = sample;
    copying->views[copying->rows++] = view;
    return copying->rows == copying->row_room ? flush_rows(copying) : SSLD_OK;
}

/* A view whose block is damaged: left out if the store was opened so. */
static ssld_status leave_damaged(struct copying *copying, const struct ssld_place *place, uint64_t sample, uint32_t view,
                                 const char *text)
{
    ssld_store *store = (ssld_store *)(uintptr_t)copying->store;
    if (store->damaged == SSLD_STORE_SKIP) {
        atomic_fetch_add(&store->damaged_rows, 1);
        return SSLD_OK;
    }
    return ssld_fail(copying->writer->context, SSLD_CORRUPT,
                     "%s: the block at offset %llu, which has sample %llu, view %u, %s; open the store so that damaged blocks are "
                     "skipped to copy the others", place->part->path, (unsigned long long)place->block,
                     (unsigned long long)sample, view, text);
}

static ssld_status copy_view(struct copying *copying, uint64_t sample, uint32_t view)
{
    ssld_store_writer *writer = copying->writer;
    struct ssld_place place;
    struct ssld_source source;
    const char *text = "has other contents than its index says";
    if (ssld_writer_has(writer, view, sample) || !ssld_store_find(copying->store, view, sample, &place))
        return SSLD_OK;
    if (!ssld_reading_open(&copying->reading, copying->store, place.part, place.block, &text) ||
        !ssld_reading_record(&copying->reading, view, sample, &source))
        return leave_damaged(copying, &place, sample, view, text);
    ssld_status status = ssld_writer_reserve_view(writer, view);
    if (status)
        return status;
    ssld_writer_note(writer, view, sample);
    bool as_it_is = same_coding(copying);
    status = as_it_is ? copy_bits_of(copying, sample, view, &source) : copy_row_of(copying, sample, view, &source);
    if (status && (as_it_is || status == SSLD_CORRUPT))
        ssld_writer_forget(writer, view, sample); /* rows that could not be coded again were forgotten together */
    if (status == SSLD_CORRUPT)
        return leave_damaged(copying, &place, sample, view, "has a record that no writer writes");
    if (!status)
        ssld_payload_passed(&copying->reading.unpacker, &source);
    return status;
}

static ssld_status copy_range(struct copying *copying, const ssld_store_range *range)
{
    uint32_t view = range->view;
    uint64_t sample = range->sample, count, end_sample = range->sample + range->sample_count;
    uint64_t end_view = (uint64_t)range->view + range->view_count;
    ssld_status status = SSLD_OK;
    while (!status && view < end_view && ssld_store_stored(copying->store, &view, &sample, &count) == SSLD_OK) {
        uint64_t end = sample + count;
        if (view >= end_view)
            break;
        if (sample < range->sample)
            sample = range->sample;
        for (uint64_t last = end < end_sample ? end : end_sample; sample < last && !status; sample++)
            if (sample % 256 || !(status = ssld_check_cancelled(copying->writer->context)))
                status = copy_view(copying, sample, view);
        if (end >= end_sample) {
            view++;
            sample = range->sample;
        } else {
            sample = end;
        }
    }
    return status ? status : flush_rows(copying);
}

ssld_status ssld_store_writer_copy(ssld_store_writer *writer, const ssld_store *store, const ssld_store_range *range,
                                   uint64_t *added)
{
    ssld_context *context = writer->context;
    size_t classes = (size_t)writer->header.classes, most = (UINT64_C(16) << 20) / (classes * sizeof(float));
    ssld_store_range part = { sizeof part, 0, writer->header.samples, 0, writer->header.views };
    struct copying *copying = NULL;
    ssld_status status = expect_same_labels(writer, store);
    if (!status && range)
        status = ssld_options_take(context, __func__, &part, sizeof part, range, sizeof part);
    if (status)
        return status;
    if (part.sample > writer->header.samples || part.sample_count > writer->header.samples - part.sample ||
        part.view > writer->header.views || part.view_count > writer->header.views - part.view)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "ssld_store_writer_copy: the range is not inside the store's %llu samples with %u views each",
                         (unsigned long long)writer->header.samples, writer->header.views);
    copying = ssld_alloc_zero(context, 1, sizeof *copying);
    if (!copying)
        return ssld_fail_memory(context, "copying labels", sizeof *copying);
    copying->writer = writer;
    copying->store = store;
    copying->row_room = most < 1 ? 1 : most < MOST_ROWS ? (int32_t)most : MOST_ROWS;
    copying->values = ssld_alloc(context, (size_t)copying->row_room * classes * sizeof(float));
    status = copying->values ? ssld_reading_make(context, store, &copying->reading)
                             : ssld_fail_memory(context, "copying labels", classes * sizeof(float));
    if (!status)
        status = copy_range(copying, &part);
    for (int32_t i = 0; i < copying->rows; i++) /* decoded, and then something else failed */
        ssld_writer_forget(writer, copying->views[i], copying->samples[i]);
    if (added)
        *added = copying->added;
    ssld_reading_free(context, &copying->reading);
    ssld_free(context, copying->values);
    ssld_free(context, copying);
    return status;
}
