/* SPDX-License-Identifier: BSD-2-Clause */
/* The store used as it is meant to be, and refused where it is not: round trips, resuming, expectations. */
#include "store_helpers.h"

#include "core/hash.h"
#include "store/format.h"

static const struct plan small = { .classes = 10, .codec = SSLD_CODEC_DENSE_F16, .block_records = 4, .samples = 11,
                                   .views = 2 };
static const struct plan small_topk = { .classes = 100, .codec = SSLD_CODEC_TOPK, .top_k = 5, .block_records = 8,
                                        .samples = 50, .views = 3 };

/* -- Round trips -------------------------------------------------------------------------------------------------- */

static void round_trip(ssld_context *context, const struct plan *plan)
{
    const char *path = fresh_path();
    float *rows = expected_rows(plan);
    CHECK_OK(context, complete_store(context, path, plan, SSLD_STORE_CREATE));
    check_complete(context, path, plan, rows);
    /* Batches in random order, with repeats. */
    uint64_t state = 5, samples[MOST_BATCH];
    uint32_t views[MOST_BATCH];
    size_t classes = (size_t)plan->classes;
    ssld_store *store = NULL;
    ssld_labels *labels = NULL;
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    CHECK_OK(context, ssld_labels_create(context, MOST_BATCH, plan->classes, &labels));
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MOST_BATCH; i++) {
            samples[i] = next_random(&state) % plan->samples;
            views[i] = (uint32_t)(next_random(&state) % plan->views);
        }
        CHECK_OK(context, ssld_store_read_views(store, MOST_BATCH, samples, views, labels));
        const float *read = ssld_labels_probabilities(labels);
        CHECK(read && ssld_labels_count(labels) == MOST_BATCH, "kind %d", ssld_labels_kind(labels));
        for (size_t i = 0; i < MOST_BATCH; i++)
            CHECK(!memcmp(read + i * classes, rows + (views[i] * plan->samples + samples[i]) * classes, classes * 4),
                  "%d classes, codec %d: row %zu", plan->classes, plan->codec, i);
    }
    ssld_labels_destroy(labels);
    ssld_store_close(store);
    free(rows);
}

TEST(what_is_stored_is_read_back_for_every_class_count_and_codec)
{
    static const int32_t counts[] = { 2, 10, 100, 1000, 21841 };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (int32_t codec = SSLD_CODEC_DENSE_F32; codec <= SSLD_CODEC_TOPK; codec++) {
            struct plan plan = { .classes = counts[i], .codec = codec, .samples = 40, .views = 2, .block_records = 0 };
            plan.top_k = codec == SSLD_CODEC_TOPK ? (counts[i] < 10 ? counts[i] : 10) : 0;
            plan.samples = counts[i] < 10000 ? 40 : 15;
            round_trip(context, &plan);
        }
    ssld_context_destroy(context);
}

TEST(order_of_labelling_does_not_matter)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    const struct plan *plan = &small_topk;
    float *rows = expected_rows(plan);
    ssld_store_writer_options options = writer_options(plan);
    ssld_store_writer *writer = NULL;
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    uint64_t ids[150], state = 3;
    for (uint64_t i = 0; i < 150; i++)
        ids[i] = i;
    for (uint64_t i = 149; i > 0; i--) {
        uint64_t other = next_random(&state) % (i + 1), swap = ids[i];
        ids[i] = ids[other];
        ids[other] = swap;
    }
    for (int i = 0; i < 150; i += 30)
        CHECK_OK(context, append_ids(context, writer, plan, ids + i, 30));
    CHECK(ssld_store_writer_records(writer) == 150, "%llu", (unsigned long long)ssld_store_writer_records(writer));
    CHECK_OK(context, ssld_store_writer_close(writer));
    check_complete(context, path, plan, rows);
    free(rows);
    ssld_context_destroy(context);
}

TEST(auto_is_dense_for_few_classes_and_topk_for_many)
{
    ssld_context *context = make_context();
    for (int32_t classes = 64; classes <= 65; classes++) {
        const char *path = fresh_path();
        struct plan plan = { .classes = classes, .samples = 3, .views = 0 };
        ssld_store_writer_options options = writer_options(&plan);
        ssld_store_writer *writer = NULL;
        ssld_store *store = NULL;
        CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
        CHECK_OK(context, ssld_store_writer_close(writer));
        CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
        ssld_store_info info = { .struct_size = sizeof info };
        CHECK_OK(context, ssld_store_get_info(store, &info));
        CHECK(info.codec == (classes == 64 ? SSLD_CODEC_DENSE_LOG8 : SSLD_CODEC_TOPK) &&
              info.top_k == (classes == 64 ? 0 : 10) &&
              info.views == 1 && info.closed && info.records == 0, "codec %d top_k %d", info.codec, info.top_k);
        CHECK(!strcmp(ssld_store_view_spec(store), options.view_spec), "%s", ssld_store_view_spec(store));
        CHECK(info.view_seed == 7 && !memcmp(info.dataset_fingerprint, options.dataset_fingerprint, 16) &&
              !memcmp(info.teacher_fingerprint, options.teacher_fingerprint, 16), "what the labels are bound to");
        ssld_store_close(store);
    }
    ssld_context_destroy(context);
}

TEST(a_view_already_stored_is_left_as_it_is)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    ssld_labels *labels = NULL;
    float *rows = expected_rows(&small), other[10] = { 1 };
    uint64_t sample = 0;
    uint32_t view = 0;
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    CHECK_OK(context, label_missing(context, writer, &small, 1, 0));
    CHECK_OK(context, ssld_labels_create(context, 1, 10, &labels));
    CHECK_OK(context, ssld_labels_wrap_probabilities(labels, 1, other));
    CHECK_OK(context, ssld_store_writer_append_views(writer, 1, &sample, &view, labels)); /* in the file */
    sample = 10, view = 1;
    CHECK_OK(context, ssld_store_writer_append_views(writer, 1, &sample, &view, labels)); /* waiting */
    CHECK(ssld_store_writer_records(writer) == 22, "%llu", (unsigned long long)ssld_store_writer_records(writer));
    CHECK_OK(context, ssld_store_writer_close(writer));
    check_complete(context, path, &small, rows);
    ssld_labels_destroy(labels);
    free(rows);
    ssld_context_destroy(context);
}

TEST(batches_carry_their_ids)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    ssld_store *store = NULL;
    ssld_labels *labels = NULL;
    ssld_batch *batch = NULL;
    float pixels[2] = { 0, 0 }, probabilities[20] = { [3] = 1, [14] = 1 };
    const int32_t shape[3] = { 1, 1, 1 };
    const uint64_t samples[2] = { 9, 2 };
    const uint32_t views[2] = { 1, 0 };
    CHECK_OK(context, ssld_batch_create(context, &batch));
    CHECK_OK(context, ssld_labels_create(context, 2, 10, &labels));
    CHECK_OK(context, ssld_labels_wrap_probabilities(labels, 2, probabilities));
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    CHECK_OK(context, ssld_batch_wrap(batch, 2, shape, pixels, NULL, NULL, NULL));
    CHECK_STATUS(context, ssld_store_writer_append(writer, batch, labels), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "no sample ids");
    CHECK_OK(context, ssld_batch_wrap(batch, 2, shape, pixels, samples, views, NULL));
    CHECK_OK(context, ssld_store_writer_append(writer, batch, labels));
    CHECK_OK(context, ssld_store_writer_close(writer));
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    CHECK_OK(context, ssld_store_read(store, batch, labels));
    const float *read = ssld_labels_probabilities(labels);
    CHECK(read[3] > 0.999f && read[14] > 0.999f, "%g %g", read[3], read[14]);
    CHECK_OK(context, ssld_batch_wrap(batch, 2, shape, pixels, NULL, NULL, NULL));
    CHECK_STATUS(context, ssld_store_read(store, batch, labels), SSLD_INVALID_ARGUMENT);
    ssld_store_close(store);
    ssld_batch_destroy(batch);
    ssld_labels_destroy(labels);
    ssld_context_destroy(context);
}

/* -- Going on ----------------------------------------------------------------------------------------------------- */

TEST(missing_says_what_is_left)
{
    ssld_context *context = make_context();
    struct plan plan = { .classes = 2, .codec = SSLD_CODEC_DENSE_F16, .block_records = 16, .samples = 200, .views = 3 };
    ssld_store_writer_options options = writer_options(&plan);
    ssld_store_writer *writer = NULL;
    uint32_t view = 0;
    uint64_t sample = 0, count = 0, ids[64];
    CHECK_OK(context, ssld_store_writer_open(context, fresh_path(), &options, &writer));
    CHECK_OK(context, ssld_store_writer_missing(writer, &view, &sample, &count));
    CHECK(view == 0 && sample == 0 && count == 200,
          "%u %llu %llu", view, (unsigned long long)sample, (unsigned long long)count);
    for (uint64_t i = 0; i < 64; i++) /* samples 0..63 of view 0, and 64..127 of view 1 */
        ids[i] = i;
    CHECK_OK(context, append_ids(context, writer, &plan, ids, 64));
    for (uint64_t i = 0; i < 64; i++)
        ids[i] = 200 + 64 + i;
    CHECK_OK(context, append_ids(context, writer, &plan, ids, 64));
    static const uint64_t want[][3] = { { 0, 64, 136 }, { 1, 0, 64 }, { 1, 128, 72 }, { 2, 0, 200 } };
    view = 0, sample = 0;
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(context, ssld_store_writer_missing(writer, &view, &sample, &count));
        CHECK(view == want[i][0] && sample == want[i][1] && count == want[i][2], "range %zu: %u %llu %llu", i, view,
              (unsigned long long)sample, (unsigned long long)count);
        sample += count;
    }
    CHECK_STATUS(context, ssld_store_writer_missing(writer, &view, &sample, &count), SSLD_END);
    CHECK(view == 2 && sample == 200 && count == 200, "outputs changed at the end");
    view = 0, sample = 100;
    CHECK_OK(context, ssld_store_writer_missing(writer, &view, &sample, &count));
    CHECK(view == 0 && sample == 100 && count == 100, "from the middle: %llu", (unsigned long long)sample);
    ssld_store_writer_abandon(writer);
    ssld_context_destroy(context);
}

TEST(resuming_a_closed_or_abandoned_store_completes_it)
{
    ssld_context *context = make_context();
    const struct plan *plan = &small_topk;
    float *rows = expected_rows(plan);
    for (int closed = 0; closed < 2; closed++)
        for (int extra = 0; extra < 2; extra++) {
            const char *path = fresh_path();
            ssld_store_writer_options options = writer_options(plan);
            ssld_store_writer *writer = NULL;
            uint64_t ids[60];
            for (uint64_t i = 0; i < 60; i++)
                ids[i] = i + 37;
            options.mode = SSLD_STORE_RESUME; /* which also begins */
            CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
            CHECK_OK(context, append_ids(context, writer, plan, ids, 40));
            CHECK_OK(context, ssld_store_writer_commit(writer));
            if (extra) { /* blocks that no commit has followed, and records that wait */
                CHECK_OK(context, append_ids(context, writer, plan, ids + 40, 16));
                CHECK_OK(context, ssld_writer_flush(writer));
                CHECK_OK(context, append_ids(context, writer, plan, ids + 56, 4));
            }
            if (closed)
                CHECK_OK(context, ssld_store_writer_close(writer));
            else
                ssld_store_writer_abandon(writer);
            writer = NULL;
            CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
            uint64_t records = ssld_store_writer_records(writer), want = 40u + (extra ? (closed ? 20u : 16u) : 0u);
            CHECK(records == want, "%llu records, not %llu", (unsigned long long)records, (unsigned long long)want);
            CHECK_OK(context, label_missing(context, writer, plan, 7, 3));
            CHECK_OK(context, ssld_store_writer_close(writer));
            check_complete(context, path, plan, rows);
            CHECK(zstd_test(path) <= 0, "zstd -t fails");
        }
    free(rows);
    ssld_context_destroy(context);
}

TEST(a_complete_store_opened_again_is_not_touched)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    size_t size;
    CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_CREATE));
    uint8_t *bytes = load_file(path, &size);
    CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_RESUME));
    CHECK(file_is(path, bytes, size), "the file changed");
    free(bytes);
    ssld_context_destroy(context);
}

TEST(a_reader_sees_what_is_committed_while_the_writer_goes_on)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    const struct plan *plan = &small_topk;
    float *rows = expected_rows(plan);
    ssld_store_writer_options options = writer_options(plan);
    ssld_store_writer *writer = NULL;
    uint64_t ids[30];
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    for (uint64_t done = 0; done < 150; done += 30) {
        for (uint64_t i = 0; i < 30; i++)
            ids[i] = done + i;
        CHECK_OK(context, append_ids(context, writer, plan, ids, 30));
        CHECK_OK(context, ssld_store_writer_commit(writer));
        ssld_store *store = NULL;
        int64_t missing, corrupt, right;
        CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
        right = count_right(context, store, plan, rows, &missing, &corrupt);
        CHECK(right == (int64_t)done + 30 && missing == 120 - (int64_t)done && !corrupt, "%lld of %llu, %lld missing",
              (long long)right, (unsigned long long)done + 30, (long long)missing);
        ssld_store_close(store);
    }
    CHECK_OK(context, ssld_store_writer_close(writer));
    free(rows);
    ssld_context_destroy(context);
}

TEST(zstd_accepts_the_file_while_written_and_closed)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    if (zstd_test(path) < 0) {
        ssld_store_writer_abandon(writer);
        ssld_context_destroy(context);
        SKIP("the zstd program is not installed");
    }
    CHECK(zstd_test(path) == 0, "a header alone");
    CHECK_OK(context, label_missing(context, writer, &small, 3, 2));
    CHECK_OK(context, ssld_store_writer_commit(writer));
    CHECK(zstd_test(path) == 0, "a committed store");
    CHECK_OK(context, ssld_store_writer_close(writer));
    CHECK(zstd_test(path) == 0, "a closed store");
    ssld_context_destroy(context);
}

/* -- Refusals ----------------------------------------------------------------------------------------------------- */

TEST(a_second_writer_is_refused)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *first = NULL, *second = NULL;
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &first));
    options.mode = SSLD_STORE_RESUME;
    CHECK_STATUS(context, ssld_store_writer_open(context, path, &options, &second), SSLD_BUSY);
    CHECK_TEXT(context, "another writer");
    CHECK(!second, "a writer was given");
    CHECK_OK(context, ssld_store_writer_close(first));
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &second));
    ssld_store_writer_abandon(second);
    ssld_context_destroy(context);
}

TEST(creating_over_a_store_is_refused)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    size_t size;
    CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_CREATE));
    uint8_t *bytes = load_file(path, &size);
    CHECK_STATUS(context, complete_store(context, path, &small, SSLD_STORE_CREATE), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "exists already");
    CHECK(file_is(path, bytes, size), "the file changed");
    free(bytes);
    ssld_context_destroy(context);
}

TEST(resuming_with_other_labels_names_what_differs)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    CHECK_OK(context, complete_store(context, path, &small_topk, SSLD_STORE_CREATE));
    static const char *const texts[] = { "number of classes", "number of samples", "number of views", "codec", "top_k",
                                         "block_records", "batch-norm mode", "view seed", "view spec", "data set", "teacher" };
    for (int field = 0; field < 11; field++) {
        ssld_store_writer_options options = writer_options(&small_topk);
        ssld_store_writer *writer = NULL;
        options.mode = SSLD_STORE_RESUME;
        switch (field) {
        case 0: options.classes++; break;
        case 1: options.samples++; break;
        case 2: options.views++; break;
        case 3: options.codec = SSLD_CODEC_DENSE_F16; break;
        case 4: options.top_k++; break;
        case 5: options.block_records++; break;
        case 6: options.batch_norm++; break;
        case 7: options.view_seed++; break;
        case 8: options.view_spec = "center_crop(224)"; break;
        case 9: options.dataset_fingerprint[15]++; break;
        default: options.teacher_fingerprint[0]++; break;
        }
        CHECK_STATUS(context, ssld_store_writer_open(context, path, &options, &writer), SSLD_MISMATCH);
        CHECK_TEXT(context, texts[field]);
        CHECK_TEXT(context, path);
        CHECK(!writer, "a writer was given");
    }
    ssld_context_destroy(context);
}

TEST(opening_for_another_use_names_what_differs)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_CREATE));
    static const char *const texts[] = { "number of classes", "number of samples", "view spec", "view seed", "data set",
                                         "teacher" };
    const ssld_store_writer_options made = writer_options(&small);
    for (int field = -1; field < 6; field++) {
        ssld_store_options options;
        ssld_store *store = NULL;
        uint64_t seed = made.view_seed + (field == 3);
        uint8_t dataset[16], teacher[16];
        memcpy(dataset, made.dataset_fingerprint, 16);
        memcpy(teacher, made.teacher_fingerprint, 16);
        dataset[0] ^= field == 4;
        teacher[15] ^= field == 5;
        ssld_store_options_init(&options, sizeof options);
        options.classes = made.classes + (field == 0);
        options.samples = made.samples + (field == 1);
        options.view_spec = field == 2 ? "" : made.view_spec;
        options.view_seed = &seed;
        options.dataset_fingerprint = dataset;
        options.teacher_fingerprint = teacher;
        if (field < 0) {
            CHECK_OK(context, ssld_store_open(context, path, &options, &store));
            ssld_store_close(store);
            continue;
        }
        CHECK_STATUS(context, ssld_store_open(context, path, &options, &store), SSLD_MISMATCH);
        CHECK_TEXT(context, texts[field]);
        CHECK(!store, "a store was given");
    }
    ssld_context_destroy(context);
}

TEST(impossible_options_are_named)
{
    ssld_context *context = make_context();
    static const char *const texts[] = { "mode", "classes", "classes", "samples", "views", "codec", "top_k",
                                         "block_records", "level", "batch_norm", "block holds", "tail", "tail_coefficients", "kl_bound", "learn_records", "tail", "struct_size" };
    char *long_spec = malloc(70000);
    for (int field = 0; field < 17; field++) {
        const char *path = fresh_path();
        ssld_store_writer_options options = writer_options(&small_topk);
        ssld_store_writer *writer = NULL;
        switch (field) {
        case 0: options.mode = 2; break;
        case 1: options.classes = 0; break;
        case 2: options.classes = (1 << 24) + 1; break;
        case 3: options.samples = 0; break;
        case 4: options.views = (1 << 24) + 1; break;
        case 5: options.codec = 99; break;
        case 6: options.top_k = 101; break;
        case 7: options.block_records = 65537; break;
        case 8: options.level = 20; break;
        case 9: options.batch_norm = -1; break;
        case 10: options.block_records = 65536, options.classes = 10000, options.codec = SSLD_CODEC_DENSE_F16; break;
        case 11: options.tail = 3; break;
        case 12: options.tail_coefficients = 129; break;
        case 13: options.kl_bound = (double)NAN; break;
        case 14: options.learn_records = 65537; break;
        case 15: options.tail = SSLD_TAIL_LEARNED, options.classes = 70000; break;
        default: options.struct_size = 0; break;
        }
        CHECK_STATUS(context, ssld_store_writer_open(context, path, &options, &writer), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, texts[field]);
        CHECK(!writer && access(path, F_OK), "a writer or a file was made");
    }
    memset(long_spec, 'x', 69999);
    long_spec[69999] = 0;
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    options.view_spec = long_spec;
    CHECK_STATUS(context, ssld_store_writer_open(context, fresh_path(), &options, &writer), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "view_spec");
    free(long_spec);
    ssld_context_destroy(context);
}

TEST(labels_that_are_no_distribution_are_refused_with_their_whole_batch)
{
    ssld_context *context = make_context();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    ssld_labels *labels = NULL, *wide = NULL;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    float values[20];
    uint64_t samples[2] = { 4, 5 };
    uint32_t views[2] = { 0, 1 };
    CHECK_OK(context, ssld_store_writer_open(context, fresh_path(), &options, &writer));
    CHECK_OK(context, ssld_labels_create(context, 2, 10, &labels));
    CHECK_OK(context, ssld_labels_create(context, 2, 11, &wide));
    CHECK_STATUS(context, ssld_store_writer_append_views(writer, 2, samples, views, labels), SSLD_INVALID_ARGUMENT); /* empty */
    for (int i = 0; i < 20; i++)
        values[i] = 0.1f;
    for (int i = 0; i < 3; i++)
        for (int logits = 0; logits < 2; logits++) {
            values[13] = bad[i];
            CHECK_OK(context, logits ? ssld_labels_wrap_logits(labels, 2, values)
                                     : ssld_labels_wrap_probabilities(labels, 2, values));
            CHECK_STATUS(context, ssld_store_writer_append_views(writer, 2, samples, views, labels),
                         SSLD_INVALID_ARGUMENT);
            CHECK_TEXT(context, "sample 5, view 1 is not finite");
        }
    CHECK_OK(context, ssld_labels_wrap_probabilities(labels, 2, values));
    values[13] = 0.2f;
    CHECK_STATUS(context, ssld_store_writer_append_views(writer, 2, samples, views, labels), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "sum to 1");
    values[13] = -0.1f;
    CHECK_STATUS(context, ssld_store_writer_append_views(writer, 2, samples, views, labels), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "negative");
    values[13] = 0.1f;
    CHECK_STATUS(context, ssld_store_writer_append_views(writer, 1, samples, views, labels), SSLD_INVALID_ARGUMENT); /* two rows */
    samples[1] = 11;
    CHECK_STATUS(context, ssld_store_writer_append_views(writer, 2, samples, views, labels), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "sample 11, view 1 is outside");
    samples[1] = 5, views[1] = 2;
    CHECK_STATUS(context, ssld_store_writer_append_views(writer, 2, samples, views, labels), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "view 2 is outside");
    views[1] = 1;
    float wide_values[22] = { 0 };
    CHECK_OK(context, ssld_labels_wrap_logits(wide, 2, wide_values));
    CHECK_STATUS(context, ssld_store_writer_append_views(writer, 2, samples, views, wide), SSLD_MISMATCH);
    CHECK_TEXT(context, "10 classes, the labels have 11");
    CHECK(ssld_store_writer_records(writer) == 0, "something was stored");
    CHECK_OK(context, ssld_store_writer_append_views(writer, 2, samples, views, labels));
    CHECK(ssld_store_writer_records(writer) == 2, "nothing was stored");
    ssld_labels_destroy(labels);
    ssld_labels_destroy(wide);
    ssld_store_writer_abandon(writer);
    ssld_context_destroy(context);
}

TEST(views_that_are_not_there_are_not_found)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    ssld_store *store = NULL;
    ssld_labels *labels = NULL, *wide = NULL;
    const uint64_t ids[2] = { 3, 5 };
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    CHECK_OK(context, append_ids(context, writer, &small, ids, 2));
    CHECK_OK(context, ssld_store_writer_close(writer));
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    CHECK_OK(context, ssld_labels_create(context, 2, 10, &labels));
    CHECK_OK(context, ssld_labels_create(context, 2, 9, &wide));
    static const struct {
        uint64_t sample;
        uint32_t view;
        const char *text;
    } absent[] = { { 4, 0, "not labelled yet" }, { 0, 0, "not labelled yet" }, { 10, 1, "not labelled yet" },
                   { 11, 0, "has 11 samples" }, { UINT64_MAX, UINT32_MAX, "2 views" }, { 3, 2, "view 2" } };
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        uint64_t samples[2] = { 3, absent[i].sample };
        uint32_t views[2] = { 0, absent[i].view };
        CHECK_STATUS(context, ssld_store_read_views(store, 2, samples, views, labels), SSLD_NOT_FOUND);
        CHECK_TEXT(context, absent[i].text);
        CHECK_TEXT(context, path);
        CHECK(ssld_labels_kind(labels) == SSLD_LABELS_EMPTY, "labels were given");
    }
    uint64_t samples[3] = { 3, 5, 3 };
    uint32_t views[3] = { 0, 0, 0 };
    CHECK_STATUS(context, ssld_store_read_views(store, 3, samples, views, labels), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "labels take 2");
    CHECK_STATUS(context, ssld_store_read_views(store, 2, samples, views, wide), SSLD_MISMATCH);
    CHECK_STATUS(context, ssld_store_read_views(store, 0, samples, views, labels), SSLD_INVALID_ARGUMENT);
    CHECK_OK(context, ssld_store_read_views(store, 2, samples, views, labels));
    ssld_store_close(store);
    ssld_labels_destroy(labels);
    ssld_labels_destroy(wide);
    ssld_context_destroy(context);
}

TEST(files_that_are_no_store_are_refused)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    ssld_store *store = NULL;
    ssld_store_writer *writer = NULL;
    ssld_store_writer_options options = writer_options(&small);
    CHECK_STATUS(context, ssld_store_open(context, path, NULL, &store), SSLD_NOT_FOUND);
    CHECK_TEXT(context, path);
    save_file(path, (const uint8_t *)"a text file that is certainly no store of labels", 48);
    options.mode = SSLD_STORE_RESUME;
    CHECK_STATUS(context, ssld_store_open(context, path, NULL, &store), SSLD_FORMAT);
    CHECK_STATUS(context, ssld_store_writer_open(context, path, &options, &writer), SSLD_FORMAT);
    save_file(path, (const uint8_t *)"", 0);
    CHECK_STATUS(context, ssld_store_open(context, path, NULL, &store), SSLD_FORMAT);
    CHECK_STATUS(context, ssld_store_open(context, "/", NULL, &store), SSLD_IO);
    CHECK_STATUS(context, ssld_store_writer_open(context, "/nowhere/labels.ssld", &options, &writer), SSLD_NOT_FOUND);
    CHECK(!store && !writer, "an object was given");
    ssld_context_destroy(context);
}

/* -- Later versions ----------------------------------------------------------------------------------------------- */

TEST(stores_of_format_1_0_are_read)
{
    static const struct {
        const char *name;
        int32_t codec;
        double least; /* probabilities from here on are looked at: of 20 classes, 8 of them explicit in a top 8 */
        double most;  /* relative error */
    } fixtures[] = {
        { "dense-f32.ssld", SSLD_CODEC_DENSE_F32, 0.01, 1e-5 },   /* exp() and log() of another machine */
        { "dense-f16.ssld", SSLD_CODEC_DENSE_F16, 0.01, 0.01 },   /* half a unit of a half at ln 0.01 */
        { "dense-log8.ssld", SSLD_CODEC_DENSE_LOG8, 0.01, 0.12 }, /* half a step of the scale, and the row's rescaling */
        { "topk.ssld", SSLD_CODEC_TOPK, 0.12, 0.12 },
        { "interrupted.ssld", SSLD_CODEC_TOPK, 0.12, 0.12 },      /* no index, and labels stored before there was a model */
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        char path[512];
        float logits[20];
        double p[20];
        ssld_store *store = NULL;
        ssld_labels *labels = NULL;
        ssld_store_options options;
        ssld_store_info info = { .struct_size = sizeof info };
        ssld_store_options_init(&options, sizeof options);
        options.verify = 1;
        snprintf(path, sizeof path, SSLD_FIXTURES "/%s", fixtures[i].name);
        CHECK_OK(context, ssld_store_open(context, path, &options, &store));
        CHECK_OK(context, ssld_labels_create(context, 1, 20, &labels));
        CHECK_OK(context, ssld_store_get_info(store, &info));
        CHECK(info.records == 60 && info.codec == fixtures[i].codec && info.classes == 20 &&
              info.closed == !strstr(path, "interrupted"), "%s: %llu records", path, (unsigned long long)info.records);
        for (uint64_t id = 0; id < 60; id++) {
            uint64_t sample = id % 30;
            uint32_t view = (uint32_t)(id / 30);
            make_logits(sample, view, 20, logits);
            double sum = 0;
            for (int c = 0; c < 20; c++)
                sum += p[c] = exp((double)logits[c]);
            CHECK_OK(context, ssld_store_read_views(store, 1, &sample, &view, labels));
            for (int c = 0; c < 20; c++) {
                double read = (double)ssld_labels_probabilities(labels)[c], want = p[c] / sum;
                CHECK(want < fixtures[i].least || fabs(read / want - 1) <= fixtures[i].most, "%s: label %llu class %d: %g, not %g", path,
                      (unsigned long long)id, c, read, want);
            }
        }
        ssld_labels_destroy(labels);
        ssld_store_close(store);
    }
    ssld_context_destroy(context);
}

/* The header of a store, with a number at `offset` changed and its checksum right again. */
static void change_header(uint8_t *bytes, size_t offset, uint32_t value)
{
    size_t size = 8 + (size_t)ssld_get_u32(bytes + 4);
    ssld_put_u32(bytes + offset, value);
    ssld_put_u64(bytes + size - 8, ssld_checksum(bytes, size - 8));
}

TEST(later_versions_are_read_if_they_say_so_and_never_appended_to)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    static const struct {
        size_t offset;
        uint32_t value;
        ssld_status open, resume;
    } changes[] = {
        { 16, 2, SSLD_FORMAT, SSLD_FORMAT },          /* major version */
        { 16, 1 | 1 << 16, SSLD_OK, SSLD_FORMAT },    /* minor version */
        { 24, 1, SSLD_FORMAT, SSLD_FORMAT },          /* a required feature */
        { 36, 1u << 31, SSLD_OK, SSLD_FORMAT },       /* an optional feature */
        { 56, 77, SSLD_FORMAT, SSLD_MISMATCH },       /* codec */
        { 128, 99, SSLD_FORMAT, SSLD_FORMAT },        /* a section that must be known */
        { 20, 4000, SSLD_FORMAT, SSLD_FORMAT },       /* where sections begin */
        { 132, 4000, SSLD_FORMAT, SSLD_FORMAT },      /* a section's length */
        { 40, 0, SSLD_FORMAT, SSLD_FORMAT },          /* no samples */
        { 52, 1u << 31, SSLD_FORMAT, SSLD_FORMAT },   /* classes */
        { 68, 1u << 27, SSLD_FORMAT, SSLD_FORMAT },   /* bytes of a block */
    };
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    ssld_store_writer_abandon(writer);
    size_t size;
    uint8_t *bytes = load_file(path, &size), *changed = malloc(size);
    options.mode = SSLD_STORE_RESUME;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        ssld_store *store = NULL;
        writer = NULL;
        memcpy(changed, bytes, size);
        change_header(changed, changes[i].offset, changes[i].value);
        save_file(path, changed, size);
        ssld_status status = ssld_store_open(context, path, NULL, &store);
        CHECK(status == changes[i].open && !store == (status != SSLD_OK),
              "change %zu: open: %s", i, ssld_status_name(status));
        ssld_store_close(store);
        CHECK_STATUS(context, ssld_store_writer_open(context, path, &options, &writer), changes[i].resume);
        CHECK(!writer && file_is(path, changed, size), "change %zu: the file changed", i);
    }
    free(bytes);
    free(changed);
    ssld_context_destroy(context);
}

TEST(unknown_frames_are_skipped_or_refused_as_they_say)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    float *rows = expected_rows(&small);
    for (int required = 0; required < 2; required++) {
        ssld_store_writer_options options = writer_options(&small);
        ssld_store_writer *writer = NULL;
        ssld_store *store = NULL;
        unlink(path);
        CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
        const uint64_t ids[4] = { 0, 1, 2, 3 };
        CHECK_OK(context, append_ids(context, writer, &small, ids, 4));
        ssld_store_writer_abandon(writer);
        /* A frame of 48 bytes of a kind that a later version may have. */
        size_t size;
        uint8_t *bytes = load_file(path, &size), frame[48] = { 0x5D, 0x2A, 0x4D, 0x18, 40 };
        memcpy(frame + 8, required ? "SSLDNOTE" : "SSLDnote", 8);
        memcpy(frame + 16, bytes + 8 + ssld_get_u32(bytes + 4) - 8, 8); /* the header's checksum */
        ssld_put_u64(frame + 24, size);
        ssld_put_u64(frame + 40, ssld_checksum(frame, 40));
        FILE *file = fopen(path, "ab");
        fwrite(frame, 1, sizeof frame, file);
        fclose(file);
        free(bytes);
        if (required) {
            CHECK_STATUS(context, ssld_store_open(context, path, NULL, &store), SSLD_FORMAT);
            CHECK_TEXT(context, "SSLDNOTE");
            CHECK_STATUS(context, complete_store(context, path, &small, SSLD_STORE_RESUME), SSLD_FORMAT);
        } else {
            CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_RESUME));
            check_complete(context, path, &small, rows);
        }
    }
    free(rows);
    ssld_context_destroy(context);
}

TEST(the_folder_is_left_as_it_was)
{
    remove_folder();
    CHECK(access(test_folder, F_OK), "%s is not empty", test_folder);
}

TEST_MAIN(TEST_ROW(what_is_stored_is_read_back_for_every_class_count_and_codec),
          TEST_ROW(order_of_labelling_does_not_matter),
          TEST_ROW(auto_is_dense_for_few_classes_and_topk_for_many), TEST_ROW(a_view_already_stored_is_left_as_it_is),
          TEST_ROW(batches_carry_their_ids), TEST_ROW(missing_says_what_is_left),
          TEST_ROW(resuming_a_closed_or_abandoned_store_completes_it), TEST_ROW(a_complete_store_opened_again_is_not_touched),
          TEST_ROW(a_reader_sees_what_is_committed_while_the_writer_goes_on),
          TEST_ROW(zstd_accepts_the_file_while_written_and_closed), TEST_ROW(a_second_writer_is_refused),
          TEST_ROW(creating_over_a_store_is_refused), TEST_ROW(resuming_with_other_labels_names_what_differs),
          TEST_ROW(opening_for_another_use_names_what_differs), TEST_ROW(impossible_options_are_named),
          TEST_ROW(labels_that_are_no_distribution_are_refused_with_their_whole_batch),
          TEST_ROW(views_that_are_not_there_are_not_found), TEST_ROW(files_that_are_no_store_are_refused),
          TEST_ROW(stores_of_format_1_0_are_read),
          TEST_ROW(later_versions_are_read_if_they_say_so_and_never_appended_to),
          TEST_ROW(unknown_frames_are_skipped_or_refused_as_they_say),
          TEST_ROW(the_folder_is_left_as_it_was))
