/* SPDX-License-Identifier: BSD-2-Clause */
/* read.c - batches of labels from an open store: looked up, put into the order of the files, decoded row by row. */
#include <sys/mman.h>
#include <unistd.h>

#include "core/batch.h"
#include "core/labels.h"
#include "store/reader.h"

/* One row of a batch, to be taken in the order of the file. */
struct request {
    struct ssld_place place;
    int32_t           row;
    uint32_t          view; /* the one asked for, or the one that stands for it */
};

#define PARSED 32 /* records that are parsed before rows are made of them: rows push the tables for parsing out of the cache */

struct scratch {
    struct ssld_reading reading;
    uint64_t            block_bytes;
    struct request     *requests; /* as many as the labels' capacity */
    /* Records that are parsed, and become rows together. */
    const struct ssld_codec *codec;
    const struct ssld_model *model;
    uint8_t                 *parsed;
    int32_t                  parsed_count;
    float                   *rows[PARSED];
};

/* What a batch is answered with. */
struct answer {
    const ssld_store *store;
    int32_t           count;
    const uint64_t   *samples;
    const uint32_t   *views;
    float            *rows;     /* (count, classes) */
    int32_t          *outcomes; /* or NULL */
    uint64_t          reused, missing, damaged;
};

/* -- Working memory ----------------------------------------------------------------------------------------------- */

static void scratch_free(ssld_context *context, void *memory)
{
    struct scratch *scratch = memory;
    ssld_reading_free(context, &scratch->reading);
    ssld_free(context, scratch->requests);
    ssld_free(context, scratch->parsed);
    ssld_free(context, scratch);
}

/* The labels' working memory, made on their first read and again if a store has larger blocks. */
static ssld_status scratch_of(const ssld_store *store, ssld_labels *labels, struct scratch **scratch)
{
    struct scratch *there = labels->scratch;
    if (there && there->block_bytes >= store->block_bytes) {
        *scratch = there;
        return SSLD_OK;
    }
    struct scratch *made = ssld_alloc_zero(labels->context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(store->context, "reading a store", sizeof *made);
    ssld_status status = ssld_reading_make(labels->context, store, &made->reading);
    made->block_bytes = store->block_bytes;
    made->requests = ssld_alloc_zero(labels->context, (size_t)labels->capacity, sizeof *made->requests);
    made->parsed = ssld_alloc(labels->context, PARSED * ssld_codec_most_parsed());
    if (status || !made->requests || !made->parsed) {
        scratch_free(labels->context, made);
        return ssld_fail_memory(store->context, "reading a store", store->block_bytes);
    }
    if (there)
        labels->scratch_free(labels->context, there);
    labels->scratch = made;
    labels->scratch_free = scratch_free;
    *scratch = made;
    return SSLD_OK;
}

/* -- Failures ----------------------------------------------------------------------------------------------------- */

static ssld_status fail_missing(const ssld_store *store, uint64_t sample, uint32_t view)
{
    const struct ssld_store_header *header = &store->parts[0].header;
    const char *path = store->parts[0].path, *broken;
    uint64_t offset;
    if (sample >= header->samples || view >= header->views)
        return ssld_fail(store->context, SSLD_NOT_FOUND,
                         "%s: no label for sample %llu, view %u: the store has %llu samples with %u views each", path,
                         (unsigned long long)sample, view, (unsigned long long)header->samples, header->views);
    if (ssld_store_hides(store, &broken, &offset))
        return ssld_fail(store->context, SSLD_CORRUPT,
                         "%s: no label for sample %llu, view %u: the file is damaged at offset %llu, "
                         "where it may have been; take a copy of the file or label again", broken,
                         (unsigned long long)sample, view, (unsigned long long)offset);
    return ssld_fail(store->context, SSLD_NOT_FOUND,
                     "%s: sample %llu, view %u is not labelled yet; resume labelling", path,
                     (unsigned long long)sample, view);
}

static ssld_status fail_block(const ssld_store *store, const struct ssld_place *place, const char *text, uint64_t sample,
                              uint32_t view)
{
    return ssld_fail(store->context, SSLD_CORRUPT,
                     "%s: the block at offset %llu, which has sample %llu, view %u, %s; its "
                     "labels are lost, those of other blocks are not: take a copy of the file or label again",
                     place->part->path, (unsigned long long)place->block, (unsigned long long)sample, view, text);
}

/* -- Order -------------------------------------------------------------------------------------------------------- */

static bool request_before(const struct request *a, const struct request *b)
{
    if (a->place.part != b->place.part)
        return a->place.part < b->place.part;
    return a->place.block != b->place.block ? a->place.block < b->place.block : a->place.record < b->place.record;
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

/* -- Rows --------------------------------------------------------------------------------------------------------- */

static float *row_of(const struct answer *answer, int32_t row)
{
    return answer->rows + (size_t)row * (size_t)answer->store->parts[0].header.classes;
}

static void set_outcome(const struct answer *answer, int32_t row, int32_t outcome)
{
    if (answer->outcomes)
        answer->outcomes[row] = outcome;
}

static void leave_out(const struct answer *answer, int32_t row, int32_t outcome)
{
    memset(row_of(answer, row), 0, (size_t)answer->store->parts[0].header.classes * sizeof(float));
    set_outcome(answer, row, outcome);
}

static bool find_record(struct ssld_reading *reading, const ssld_store *store, const struct ssld_place *place, uint32_t view,
                        uint64_t sample, struct ssld_source *source, const char **text)
{
    if (!ssld_reading_open(reading, store, place->part, place->block, text))
        return false;
    *text = "has other contents than its index says";
    if (!ssld_reading_record(reading, view, sample, source))
        return false;
    *text = "has a record that no writer writes";
    return true;
}

static bool read_row(struct ssld_reading *reading, const ssld_store *store, const struct ssld_place *place, uint32_t view,
                     uint64_t sample, float *row, const char **text)
{
    struct ssld_source source;
    if (!find_record(reading, store, place, view, sample, &source, text) ||
        !reading->codec->decode(reading->coding, reading->model, &source, row, NULL))
        return false;
    ssld_payload_passed(&reading->unpacker, &source);
    return true;
}

static void spread_parsed(struct scratch *scratch)
{
    for (int32_t i = 0; i < scratch->parsed_count; i += SSLD_SPREAD) {
        int32_t left = scratch->parsed_count - i, count = left < SSLD_SPREAD ? left : SSLD_SPREAD;
        scratch->codec->spread(scratch->model, count, scratch->parsed + (size_t)i * scratch->codec->parsed_bytes,
                               scratch->rows + i);
    }
    scratch->parsed_count = 0;
}

/* Room for `count` records more that are parsed with the codec and model of the block that is open. */
static uint8_t *room_for_parsed(struct scratch *scratch, int32_t count)
{
    const struct ssld_reading *reading = &scratch->reading;
    if (scratch->parsed_count + count > PARSED || scratch->codec != reading->codec || scratch->model != reading->model)
        spread_parsed(scratch);
    scratch->codec = reading->codec;
    scratch->model = reading->model;
    return scratch->parsed + (size_t)scratch->parsed_count * reading->codec->parsed_bytes;
}

/* As read_row(), but the row may be there only after spread_parsed(). */
static bool begin_row(struct scratch *scratch, const struct answer *answer, const struct request *request, const char **text)
{
    struct ssld_reading *reading = &scratch->reading;
    struct ssld_source source;
    if (!find_record(reading, answer->store, &request->place, request->view, answer->samples[request->row], &source, text))
        return false;
    const struct ssld_codec *codec = reading->codec;
    float *row = row_of(answer, request->row);
    if (codec->parse) {
        if (!codec->parse(reading->coding, reading->model, &source, room_for_parsed(scratch, 1)))
            return false;
        scratch->rows[scratch->parsed_count++] = row;
    } else if (!codec->decode(reading->coding, reading->model, &source, row, NULL)) {
        return false;
    }
    ssld_payload_passed(&reading->unpacker, &source);
    return true;
}

/* Two rows of one block, of records in different groups, at once. False: nothing was done, they are to be begun one by one. */
static bool begin_two_rows(struct scratch *scratch, const struct answer *answer, const struct request *const requests[2])
{
    struct ssld_reading *reading = &scratch->reading;
    struct ssld_source sources[2];
    const char *text;
    for (int i = 0; i < 2; i++)
        if (!find_record(reading, answer->store, &requests[i]->place, requests[i]->view, answer->samples[requests[i]->row],
                         &sources[i], &text))
            return false;
    const struct ssld_codec *codec = reading->codec;
    if (!codec->parse_two)
        return false;
    uint8_t *parsed = room_for_parsed(scratch, 2);
    if (!codec->parse_two(reading->coding, reading->model, (struct ssld_source *const[2]){ &sources[0], &sources[1] },
                          (void *const[2]){ parsed, parsed + codec->parsed_bytes }))
        return false;
    for (int i = 0; i < 2; i++) {
        scratch->rows[scratch->parsed_count++] = row_of(answer, requests[i]->row);
        ssld_payload_passed(&reading->unpacker, &sources[i]);
    }
    return true;
}

/* Another view of the row's sample, into the row. */
static bool read_another(struct ssld_reading *reading, struct answer *answer, int32_t row)
{
    const ssld_store *store = answer->store;
    uint32_t views = store->parts[0].header.views, asked = answer->views[row];
    uint64_t sample = answer->samples[row];
    const char *text;
    for (uint32_t i = 1; i < views; i++) {
        struct ssld_place place;
        uint32_t view = (uint32_t)(((uint64_t)(asked < views ? asked : 0) + i) % views);
        if (ssld_store_find(store, view, sample, &place) &&
            read_row(reading, store, &place, view, sample, row_of(answer, row), &text)) {
            answer->reused++;
            set_outcome(answer, row, SSLD_ROW_REUSED);
            return true;
        }
    }
    return false;
}

/* A view that is not stored; where damage may hide it, it counts as damaged. */
static ssld_status answer_missing(struct ssld_reading *reading, struct answer *answer, int32_t row)
{
    const ssld_store *store = answer->store;
    const char *path;
    uint64_t offset, sample = answer->samples[row];
    uint32_t view = answer->views[row];
    const struct ssld_store_header *header = &store->parts[0].header;
    bool hidden = sample < header->samples && view < header->views && ssld_store_hides(store, &path, &offset);
    int32_t policy = hidden ? store->damaged : store->missing;
    answer->damaged += hidden;
    if (policy == SSLD_STORE_REUSE && read_another(reading, answer, row))
        return SSLD_OK;
    if (policy != SSLD_STORE_SKIP)
        return fail_missing(store, sample, view);
    answer->missing++;
    leave_out(answer, row, hidden ? SSLD_ROW_DAMAGED : SSLD_ROW_MISSING);
    return SSLD_OK;
}

static ssld_status answer_damaged(struct ssld_reading *reading, struct answer *answer, const struct request *request,
                                  const char *text)
{
    const ssld_store *store = answer->store;
    int32_t row = request->row;
    answer->damaged++;
    if (store->damaged == SSLD_STORE_REUSE && read_another(reading, answer, row))
        return SSLD_OK;
    if (store->damaged != SSLD_STORE_SKIP)
        return fail_block(store, &request->place, text, answer->samples[row], answer->views[row]);
    answer->missing++;
    leave_out(answer, row, SSLD_ROW_DAMAGED);
    return SSLD_OK;
}

/* Look all views up; those that are there become requests. */
static ssld_status plan_requests(struct scratch *scratch, struct answer *answer, size_t *requests)
{
    *requests = 0;
    for (int32_t i = 0; i < answer->count; i++) {
        struct request *request = &scratch->requests[*requests];
        *request = (struct request){ .row = i, .view = answer->views[i] };
        if (ssld_store_find(answer->store, answer->views[i], answer->samples[i], &request->place)) {
            ++*requests;
            continue;
        }
        ssld_status status = answer_missing(&scratch->reading, answer, i);
        if (status)
            return status;
    }
    sort_requests(scratch->requests, *requests);
    return SSLD_OK;
}

static ssld_status read_request(struct scratch *scratch, struct answer *answer, const struct request *request)
{
    const char *text;
    if (!begin_row(scratch, answer, request, &text))
        return answer_damaged(&scratch->reading, answer, request, text);
    set_outcome(answer, request->row, SSLD_ROW_STORED);
    return SSLD_OK;
}

#define GROUP 4 /* records of which a payload knows where the first begins; it may be fewer, then these are in several groups */

/* Whether the next requests are of two groups' records, one behind the other in a block. */
static bool are_two_groups(const struct request *requests, size_t count)
{
    if (count < 2 * GROUP)
        return false;
    const struct ssld_place *first = &requests[0].place, *last = &requests[2 * GROUP - 1].place;
    return first->part == last->part && first->block == last->block && last->record - first->record == 2 * GROUP - 1;
}

/* The first record of each, then the second: within a group each waits for the one before. */
static ssld_status read_two_groups(struct scratch *scratch, struct answer *answer, const struct request *requests)
{
    ssld_status status = SSLD_OK;
    for (int k = 0; k < GROUP && !status; k++) {
        const struct request *two[2] = { &requests[k], &requests[k + GROUP] };
        bool begun = begin_two_rows(scratch, answer, two);
        for (int i = 0; i < 2 && !status; i++)
            if (begun)
                set_outcome(answer, two[i]->row, SSLD_ROW_STORED);
            else
                status = read_request(scratch, answer, two[i]);
    }
    return status;
}

static void fetch_block(const struct ssld_place *place)
{
    const uint8_t *bytes = place->part->map.bytes + place->block;
    if (place->block < place->part->map.size) {
        __builtin_prefetch(bytes);
        __builtin_prefetch(bytes + 64);
        __builtin_prefetch(bytes + 128);
    }
}

#define AHEAD 4 /* rows of which the beginnings of blocks are fetched before they are needed */

static ssld_status read_requests(struct scratch *scratch, struct answer *answer, size_t count)
{
    const struct request *requests = scratch->requests;
    ssld_status status = SSLD_OK;
    for (size_t i = 0; i < count && !status;) {
        bool groups = are_two_groups(requests + i, count - i);
        size_t ahead = i + (groups ? 2 * GROUP : AHEAD);
        if (ahead < count)
            fetch_block(&requests[ahead].place);
        status = groups ? read_two_groups(scratch, answer, requests + i) : read_request(scratch, answer, &requests[i]);
        i += groups ? 2 * GROUP : 1;
    }
    spread_parsed(scratch);
    return status;
}

static ssld_status check_batch(const ssld_store *store, int32_t count, const uint64_t *samples, const uint32_t *views,
                               const ssld_labels *labels)
{
    const struct ssld_part *part = &store->parts[0];
    if (!samples || !views || count < 1)
        return ssld_fail(store->context, SSLD_INVALID_ARGUMENT,
                         "%s: the batch has no sample ids or no view numbers; a store is "
                         "read by both", part->path);
    if (count > labels->capacity)
        return ssld_fail(store->context, SSLD_INVALID_ARGUMENT,
                         "%s: %d views asked for, the labels take %d", part->path, count, labels->capacity);
    if (labels->classes != part->header.classes)
        return ssld_fail(store->context, SSLD_MISMATCH,
                         "%s: made for %d classes, the labels have %d; create labels of the store's",
                         part->path, part->header.classes, labels->classes);
    return SSLD_OK;
}

static void count_answer(const struct answer *answer)
{
    ssld_store *store = (ssld_store *)(uintptr_t)answer->store; /* its counters are all that changes */
    atomic_fetch_add_explicit(&store->rows, (unsigned long long)answer->count, memory_order_relaxed);
    if (answer->reused)
        atomic_fetch_add_explicit(&store->reused_rows, answer->reused, memory_order_relaxed);
    if (answer->missing)
        atomic_fetch_add_explicit(&store->missing_rows, answer->missing, memory_order_relaxed);
    if (answer->damaged)
        atomic_fetch_add_explicit(&store->damaged_rows, answer->damaged, memory_order_relaxed);
}

ssld_status ssld_store_read_outcomes(const ssld_store *store, int32_t count, const uint64_t *samples, const uint32_t *views,
                                     ssld_labels *labels, int32_t *outcomes)
{
    struct scratch *scratch = NULL;
    size_t requests;
    ssld_status status = check_batch(store, count, samples, views, labels);
    if (!status)
        status = scratch_of(store, labels, &scratch);
    if (status)
        return status;
    struct answer answer = { .store = store, .count = count, .samples = samples, .views = views, .outcomes = outcomes,
                             .rows = ssld_labels_write(labels, SSLD_LABELS_PROBABILITIES, count) };
    status = plan_requests(scratch, &answer, &requests);
    if (!status)
        status = read_requests(scratch, &answer, requests);
    if (status)
        ssld_labels_clear(labels);
    else
        count_answer(&answer);
    return status;
}

ssld_status ssld_store_read_views(const ssld_store *store, int32_t count, const uint64_t *samples,
                                  const uint32_t *views, ssld_labels *labels)
{
    return ssld_store_read_outcomes(store, count, samples, views, labels, NULL);
}

ssld_status ssld_store_read(const ssld_store *store, const ssld_batch *batch, ssld_labels *labels)
{
    return ssld_store_read_outcomes(store, batch->count, batch->samples, batch->views, labels, NULL);
}

/* -- Beside the rows ---------------------------------------------------------------------------------------------- */

ssld_status ssld_store_read_moments(const ssld_store *store, int32_t count, const uint64_t *samples, const uint32_t *views,
                                    ssld_labels *labels, float *means, float *deviations)
{
    struct scratch *scratch = NULL;
    ssld_status status = check_batch(store, count, samples, views, labels);
    if (!status)
        status = scratch_of(store, labels, &scratch);
    float *row = status ? NULL : ssld_alloc(store->context, (size_t)labels->classes * sizeof *row);
    if (!status && !row)
        status = ssld_fail_memory(store->context, "reading a store", (size_t)labels->classes * sizeof *row);
    for (int32_t i = 0; i < count && !status; i++) {
        struct ssld_reading *reading = &scratch->reading;
        struct ssld_place place;
        struct ssld_source source;
        float mean, deviation;
        const char *text;
        if (!ssld_store_find(store, views[i], samples[i], &place)) {
            status = fail_missing(store, samples[i], views[i]);
            break;
        }
        if (!read_row(reading, store, &place, views[i], samples[i], row, &text) ||
            !ssld_reading_record(reading, views[i], samples[i], &source) ||
            !reading->codec->moments(reading->coding, reading->model, &source, row, &mean, &deviation)) {
            status = fail_block(store, &place, text, samples[i], views[i]);
            break;
        }
        if (means)
            means[i] = mean;
        if (deviations)
            deviations[i] = deviation;
    }
    ssld_free(store->context, row);
    return status;
}

void ssld_store_prefetch(const ssld_store *store, int32_t count, const uint64_t *samples, const uint32_t *views)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int32_t i = 0; i < count; i++) {
        struct ssld_place place;
        if (!ssld_store_find(store, views[i], samples[i], &place) || place.block >= place.part->map.size)
            continue;
        /* A block's size stands in it, and to look would be to wait for it: as much as one has on average. */
        uint64_t bytes = place.part->map.size / (place.part->blocks ? place.part->blocks : 1) + 4096;
        uint64_t left = place.part->map.size - place.block;
        uintptr_t begin = (uintptr_t)(place.part->map.bytes + place.block), end = begin + (bytes < left ? bytes : left);
        begin -= begin % page;
        madvise((void *)begin, end - begin, MADV_WILLNEED);
    }
}
