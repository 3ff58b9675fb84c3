/* SPDX-License-Identifier: BSD-2-Clause */
/* Several files and several threads, models that are fitted on the way, what is answered for views that are not there, and stores
 * too large to be here. */
#include "store_helpers.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "core/hash.h"

static const struct plan small = { .classes = 10, .codec = SSLD_CODEC_DENSE_F16, .block_records = 4, .samples = 12,
                                   .views = 2 };
static const struct plan topk = { .classes = 100, .codec = SSLD_CODEC_TOPK, .top_k = 5, .block_records = 8, .samples = 60,
                                  .views = 3 };

static char shard_paths[3][128];

static const char *const *shard_names(void)
{
    static const char *names[3];
    fresh_path();
    for (int i = 0; i < 3; i++) {
        snprintf(shard_paths[i], sizeof shard_paths[i], "%s/shard%d", test_folder, i);
        names[i] = shard_paths[i];
        unlink(names[i]);
    }
    return names;
}

/* Write the ids from `first` to before `end` into a store of their own. */
static void write_part(ssld_context *context, const char *path, const struct plan *plan,
                       const ssld_store_writer_options *options, uint64_t first, uint64_t end)
{
    ssld_store_writer *writer = NULL;
    CHECK_OK(context, ssld_store_writer_open(context, path, options, &writer));
    for (uint64_t id = first; id < end; id++)
        CHECK_OK(context, append_ids(context, writer, plan, &id, 1));
    CHECK_OK(context, ssld_store_writer_close(writer));
}

static void check_rows(ssld_context *context, const ssld_store *store, const struct plan *plan, const float *rows)
{
    int64_t missing, corrupt, right = count_right(context, store, plan, rows, &missing, &corrupt);
    CHECK(right == (int64_t)(plan->samples * plan->views), "%lld right, %lld missing, %lld corrupt", (long long)right,
          (long long)missing, (long long)corrupt);
}

TEST(shards_open_together_as_one_store_and_merge_and_split_without_a_change)
{
    ssld_context *context = make_context();
    const struct plan *plans[] = { &small, &topk };
    for (int p = 0; p < 2; p++) {
        const struct plan *plan = plans[p];
        const char *const *names = shard_names();
        float *rows = expected_rows(plan);
        uint64_t all = plan->samples * plan->views, added = 0;
        ssld_store_writer_options options = writer_options(plan);
        for (uint64_t i = 0; i < 3; i++)
            write_part(context, names[2 - i], plan, &options, all * i / 3, all * (i + 1) / 3);
        ssld_store *store = NULL, *merged = NULL;
        ssld_store_writer *writer = NULL;
        ssld_store_info info = { .struct_size = sizeof info };
        CHECK_OK(context, ssld_store_open_files(context, names, 3, NULL, &store));
        CHECK_OK(context, ssld_store_get_info(store, &info));
        CHECK(info.records == all && info.files == 3 && info.closed, "%llu records", (unsigned long long)info.records);
        check_rows(context, store, plan, rows);
        uint32_t view = 0;
        uint64_t sample = 0, count = 0;
        CHECK_OK(context, ssld_store_stored(store, &view, &sample, &count));
        CHECK(view == 0 && sample == 0 && count == plan->samples, "%llu stored in a row", (unsigned long long)count);
        /* Merge. */
        const char *path = fresh_path();
        ssld_store_writer_options like;
        ssld_store_writer_options_init(&like, sizeof like);
        CHECK_OK(context, ssld_store_writer_options_like(store, &like));
        CHECK_OK(context, ssld_store_writer_open(context, path, &like, &writer));
        CHECK_OK(context, ssld_store_writer_copy(writer, store, NULL, &added));
        CHECK(added == all, "%llu added", (unsigned long long)added);
        CHECK_OK(context, ssld_store_writer_copy(writer, store, NULL, &added));
        CHECK(added == 0, "%llu added again", (unsigned long long)added);
        CHECK_OK(context, ssld_store_writer_close(writer));
        CHECK_OK(context, ssld_store_open(context, path, NULL, &merged));
        check_rows(context, merged, plan, rows);
        CHECK_OK(context, ssld_store_verify(merged, NULL, NULL, NULL));
        CHECK(zstd_test(path) <= 0, "zstd -t fails");
        /* Split: the last two samples of the last view. */
        ssld_store_range range = { sizeof range, plan->samples - 2, 2, plan->views - 1, 1 };
        unlink(names[0]);
        CHECK_OK(context, ssld_store_writer_open(context, names[0], &like, &writer));
        CHECK_OK(context, ssld_store_writer_copy(writer, merged, &range, &added));
        CHECK(added == 2 && ssld_store_writer_records(writer) == 2, "%llu added", (unsigned long long)added);
        range.sample_count = 3;
        CHECK_STATUS(context, ssld_store_writer_copy(writer, merged, &range, &added), SSLD_INVALID_ARGUMENT);
        CHECK_OK(context, ssld_store_writer_close(writer));
        ssld_store_close(merged);
        ssld_store_close(store); /* whose view spec the options have */
        for (int i = 0; i < 3; i++)
            unlink(names[i]);
        free(rows);
    }
    ssld_context_destroy(context);
}

TEST(a_label_is_the_same_bits_alone_and_in_any_company)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    const struct plan plan = { .classes = 333, .codec = SSLD_CODEC_TOPK, .top_k = 5, .samples = 60, .views = 1 };
    ssld_labels *one = NULL, *many = NULL;
    ssld_store *store = NULL;
    uint64_t samples[61], state = 3;
    uint32_t views[61] = { 0 };
    CHECK_OK(context, complete_store(context, path, &plan, SSLD_STORE_CREATE));
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    CHECK_OK(context, ssld_labels_create(context, 1, plan.classes, &one));
    CHECK_OK(context, ssld_labels_create(context, 61, plan.classes, &many));
    for (int32_t count = 1; count <= 61; count++) {
        /* In any order, or one after the other: records are read two at a time then. */
        for (int32_t i = 0; i < count; i++)
            samples[i] = count % 2 ? next_random(&state) % plan.samples : (uint64_t)(count / 3 + i) % plan.samples;
        CHECK_OK(context, ssld_store_read_views(store, count, samples, views, many));
        for (int32_t i = 0; i < count; i++) {
            CHECK_OK(context, ssld_store_read_views(store, 1, &samples[i], views, one));
            CHECK(!memcmp(ssld_labels_probabilities(one), ssld_labels_probabilities(many) + 333 * i, 333 * sizeof(float)),
                  "row %d of %d", i, count);
        }
    }
    ssld_store_close(store);
    ssld_labels_destroy(one);
    ssld_labels_destroy(many);
    ssld_context_destroy(context);
}

TEST(another_codec_gives_the_same_labels_as_far_as_it_can)
{
    ssld_context *context = make_context();
    const char *const *names = shard_names();
    const struct plan plan = { .classes = 100, .codec = SSLD_CODEC_DENSE_F16, .samples = 60, .views = 3 };
    float *rows = expected_rows(&plan);
    ssld_store_writer_options options = writer_options(&plan);
    write_part(context, names[0], &plan, &options, 0, 180);
    ssld_store *dense = NULL;
    CHECK_OK(context, ssld_store_open(context, names[0], NULL, &dense));
    for (int32_t codec = SSLD_CODEC_DENSE_F32; codec <= SSLD_CODEC_TOPK; codec++) {
        ssld_store_writer *writer = NULL;
        ssld_store *other = NULL;
        ssld_labels *labels = NULL;
        uint64_t added, sample = 7;
        uint32_t view = 1;
        unlink(names[1]);
        CHECK_OK(context, ssld_store_writer_options_like(dense, &options));
        options.codec = codec;
        options.top_k = codec == SSLD_CODEC_TOPK ? 20 : 0;
        CHECK_OK(context, ssld_store_writer_open(context, names[1], &options, &writer));
        CHECK_OK(context, ssld_store_writer_copy(writer, dense, NULL, &added));
        CHECK(added == 180, "codec %d: %llu added", codec, (unsigned long long)added);
        CHECK_OK(context, ssld_store_writer_close(writer));
        CHECK_OK(context, ssld_store_open(context, names[1], NULL, &other));
        CHECK_OK(context, ssld_labels_create(context, 1, 100, &labels));
        CHECK_OK(context, ssld_store_read_views(other, 1, &sample, &view, labels));
        const float *want = rows + (60 + 7) * 100, *read = ssld_labels_probabilities(labels);
        for (int c = 0; c < 100; c++) /* explicit in all codecs; half a step of the coarsest scale, and the rescaling */
            CHECK(want[c] < 0.05f || fabsf(read[c] / want[c] - 1) < 0.15f, "codec %d class %d: %g for %g", codec, c,
                  (double)read[c], (double)want[c]);
        ssld_labels_destroy(labels);
        ssld_store_close(other);
    }
    ssld_store_close(dense);
    unlink(names[0]);
    unlink(names[1]);
    free(rows);
    ssld_context_destroy(context);
}

TEST(files_of_other_labels_are_refused_with_both_names)
{
    ssld_context *context = make_context();
    const char *const *names = shard_names();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store *store = NULL;
    ssld_store_writer *writer = NULL;
    write_part(context, names[0], &small, &options, 0, 6);
    options.teacher_fingerprint[3] ^= 1;
    write_part(context, names[1], &small, &options, 6, 12);
    CHECK_STATUS(context, ssld_store_open_files(context, names, 2, NULL, &store), SSLD_MISMATCH);
    CHECK_TEXT(context, names[0]);
    CHECK_TEXT(context, names[1]);
    CHECK_TEXT(context, "teacher");
    CHECK_STATUS(context, ssld_store_open_files(context, names, 0, NULL, &store), SSLD_INVALID_ARGUMENT);
    CHECK_OK(context, ssld_store_open(context, names[0], NULL, &store));
    options.mode = SSLD_STORE_RESUME;
    CHECK_OK(context, ssld_store_writer_open(context, names[1], &options, &writer));
    CHECK_STATUS(context, ssld_store_writer_copy(writer, store, NULL, NULL), SSLD_MISMATCH);
    CHECK_TEXT(context, "teacher");
    ssld_store_writer_abandon(writer);
    ssld_store_close(store);
    unlink(names[0]);
    unlink(names[1]);
    ssld_context_destroy(context);
}

/* -- Models fitted on the way -------------------------------------------------------------------------------------- */

TEST(labels_committed_before_there_is_a_model_are_stored_and_learned_from_after_resuming)
{
    ssld_context *context = make_context();
    for (int32_t codec = SSLD_CODEC_DENSE_LOG8; codec <= SSLD_CODEC_TOPK; codec++) {
        const struct plan plan = { .classes = 100, .codec = codec, .top_k = codec == SSLD_CODEC_TOPK ? 5 : 0, .samples = 200 };
        const char *path = fresh_path();
        ssld_store_writer_options options = plain_options(&plan);
        ssld_store_writer *writer = NULL;
        ssld_store *store = NULL;
        ssld_store_info info = { .struct_size = sizeof info };
        options.views = 1;
        options.learn_records = 120;
        options.mode = SSLD_STORE_RESUME;
        for (uint64_t first = 0; first < 200; first += 25) { /* a writer for every 25, each of which only commits */
            uint64_t ids[25];
            for (uint64_t i = 0; i < 25; i++)
                ids[i] = first + i;
            struct plan one = plan;
            one.views = 1;
            CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
            CHECK(ssld_store_writer_records(writer) == first, "%llu records", (unsigned long long)first);
            CHECK_OK(context, append_ids(context, writer, &one, ids, 25));
            CHECK_OK(context, ssld_store_writer_commit(writer));
            ssld_store_writer_abandon(writer);
            CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
            CHECK_OK(context, ssld_store_get_info(store, &info));
            CHECK(info.records == first + 25 && info.models == (first + 25 >= 60), "%llu records, %d models",
                  (unsigned long long)info.records, info.models);
            CHECK_OK(context, ssld_store_verify(store, NULL, NULL, NULL));
            ssld_store_close(store);
        }
    }
    ssld_context_destroy(context);
}

TEST(the_number_of_threads_does_not_change_the_file)
{
    const char *const *names = shard_names();
    size_t sizes[2];
    uint8_t *bytes[2];
    for (int i = 0; i < 2; i++) {
        ssld_context *context = NULL;
        ssld_context_options context_options;
        ssld_context_options_init(&context_options, sizeof context_options);
        context_options.threads = i ? 4 : 1;
        ssld_status status = ssld_context_create(&context_options, &context);
        CHECK(!status, "no context");
        ssld_store_writer_options options = plain_options(&topk);
        ssld_store_writer *writer = NULL;
        options.learn_records = 100;
        CHECK_OK(context, ssld_store_writer_open(context, names[i], &options, &writer));
        CHECK_OK(context, label_missing(context, writer, &topk, 50, 0));
        CHECK_OK(context, ssld_store_writer_close(writer));
        bytes[i] = load_file(names[i], &sizes[i]);
        ssld_context_destroy(context);
    }
    CHECK(sizes[0] == sizes[1] && !memcmp(bytes[0], bytes[1], sizes[0]), "%zu and %zu bytes", sizes[0], sizes[1]);
    for (int i = 0; i < 2; i++) {
        free(bytes[i]);
        unlink(names[i]);
    }
}

/* -- Views that are not there -------------------------------------------------------------------------------------- */

TEST(absent_and_damaged_views_are_answered_as_asked_and_counted)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    float *rows = expected_rows(&small);
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    ssld_labels *labels = NULL;
    const uint64_t ids[8] = { 0, 1, 2, 3, 14, 15, 16, 17 }; /* samples 0 to 3 of view 0, 2 to 5 of view 1 */
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    CHECK_OK(context, append_ids(context, writer, &small, ids, 8));
    CHECK_OK(context, ssld_store_writer_close(writer));
    size_t size;
    uint8_t *bytes = load_file(path, &size);
    for (size_t at = 0, found = 0; at + 96 < size && !found; at++) /* the first block: damage its payload */
        if (!memcmp(bytes + at, "SSLDBLCK", 8)) {
            bytes[at - 8 + 96 + 12] ^= 1;
            found = 1;
        }
    save_file(path, bytes, size);
    CHECK_OK(context, ssld_labels_create(context, 4, 10, &labels));
    /* damaged; damaged, and stored in another view; stored; not stored */
    const uint64_t samples[4] = { 0, 2, 4, 6 };
    const uint32_t views[4] = { 0, 0, 1, 1 };
    static const int32_t outcomes[3][4] = { { 0 },
                                            { SSLD_ROW_DAMAGED, SSLD_ROW_REUSED, SSLD_ROW_STORED, SSLD_ROW_MISSING },
                                            { SSLD_ROW_DAMAGED, SSLD_ROW_DAMAGED, SSLD_ROW_STORED, SSLD_ROW_MISSING } };
    for (int32_t policy = SSLD_STORE_ERROR; policy <= SSLD_STORE_SKIP; policy++) {
        ssld_store_options open;
        ssld_store *store = NULL;
        ssld_store_statistics statistics = { .struct_size = sizeof statistics };
        int32_t outcome[4];
        ssld_store_options_init(&open, sizeof open);
        open.missing = open.damaged = policy;
        CHECK_OK(context, ssld_store_open(context, path, &open, &store));
        ssld_status status = ssld_store_read_outcomes(store, 4, samples, views, labels, outcome);
        if (policy == SSLD_STORE_ERROR) {
            CHECK(status == SSLD_NOT_FOUND, "%s", ssld_status_name(status));
            CHECK_STATUS(context, ssld_store_read_outcomes(store, 3, samples, views, labels, outcome), SSLD_CORRUPT);
        } else if (policy == SSLD_STORE_REUSE) { /* sample 6 has no view at all, sample 0 no other */
            CHECK(status == SSLD_NOT_FOUND, "%s", ssld_status_name(status));
            CHECK_STATUS(context, ssld_store_read_outcomes(store, 3, samples, views, labels, outcome), SSLD_CORRUPT);
            CHECK_OK(context, ssld_store_read_outcomes(store, 2, samples + 1, views + 1, labels, outcome));
            CHECK(outcome[0] == SSLD_ROW_REUSED && outcome[1] == SSLD_ROW_STORED, "%d %d", outcome[0], outcome[1]);
            CHECK(!memcmp(ssld_labels_probabilities(labels), rows + 14 * 10, 40), "not view 1 of sample 2");
            CHECK_OK(context, ssld_store_get_statistics(store, &statistics));
            CHECK(statistics.rows == 2 && statistics.reused == 1 && statistics.damaged == 1 && !statistics.missing,
                  "%llu rows, %llu reused, %llu damaged", (unsigned long long)statistics.rows,
                  (unsigned long long)statistics.reused, (unsigned long long)statistics.damaged);
        } else {
            CHECK_OK(context, status);
            for (int i = 0; i < 4; i++) {
                CHECK(outcome[i] == outcomes[policy][i], "row %d: %d", i, outcome[i]);
                float sum = 0;
                for (int c = 0; c < 10; c++)
                    sum += ssld_labels_probabilities(labels)[i * 10 + c];
                CHECK(i == 2 ? fabsf(sum - 1) < 1e-5f : sum == 0, "row %d sums to %g", i, (double)sum);
            }
            CHECK_OK(context, ssld_store_get_statistics(store, &statistics));
            CHECK(statistics.rows == 4 && statistics.missing == 3 && statistics.damaged == 2, "%llu missing, %llu damaged",
                  (unsigned long long)statistics.missing, (unsigned long long)statistics.damaged);
        }
        ssld_store_close(store);
    }
    ssld_labels_destroy(labels);
    free(bytes);
    free(rows);
    ssld_context_destroy(context);
}

struct damages {
    int count;
    uint64_t records, offset;
};

static void note_damage(void *user, const ssld_store_damage *damage)
{
    struct damages *damages = user;
    damages->count++;
    damages->records = damage->records;
    damages->offset = damage->offset;
}

TEST(verify_reports_each_damaged_block_and_copy_leaves_it_out_if_asked)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    const struct plan *plan = &topk;
    CHECK_OK(context, complete_store(context, path, plan, SSLD_STORE_CREATE));
    size_t size, blocks = 0, offset = 0;
    uint8_t *bytes = load_file(path, &size);
    for (size_t at = 8; at + 96 < size; at++)
        if (!memcmp(bytes + at, "SSLDBLCK", 8) && blocks++ == 2) {
            offset = at - 8;
            bytes[at - 8 + 120] ^= 0x40;
        }
    save_file(path, bytes, size);
    ssld_store *store = NULL;
    ssld_store_options open;
    ssld_store_options_init(&open, sizeof open);
    open.damaged = SSLD_STORE_SKIP;
    CHECK_OK(context, ssld_store_open(context, path, &open, &store));
    struct damages damages = { 0 };
    uint64_t damaged = 0, added = 0;
    CHECK_STATUS(context, ssld_store_verify(store, note_damage, &damages, &damaged), SSLD_CORRUPT);
    CHECK(damages.count == 1 && damaged == 1 && damages.records == 8 && damages.offset == offset, "%d places, %llu records at %llu",
          damages.count, (unsigned long long)damages.records, (unsigned long long)damages.offset);
    ssld_store_writer_options options;
    ssld_store_writer *writer = NULL;
    const char *const *names = shard_names();
    ssld_store_writer_options_init(&options, sizeof options);
    CHECK_OK(context, ssld_store_writer_options_like(store, &options));
    CHECK_OK(context, ssld_store_writer_open(context, names[0], &options, &writer));
    CHECK_OK(context, ssld_store_writer_copy(writer, store, NULL, &added));
    CHECK(added == 180 - 8, "%llu added", (unsigned long long)added);
    CHECK_OK(context, ssld_store_writer_close(writer));
    ssld_store_close(store);
    unlink(names[0]);
    unlink(test_path);
    free(bytes);
    ssld_context_destroy(context);
}

TEST(moments_are_those_of_the_dense_label_and_sizes_sum_to_the_file)
{
    ssld_context *context = make_context();
    for (int32_t codec = SSLD_CODEC_DENSE_F32; codec <= SSLD_CODEC_TOPK; codec++) {
        const struct plan plan = { .classes = 100, .codec = codec, .top_k = codec == SSLD_CODEC_TOPK ? 5 : 0, .samples = 60,
                                   .views = 1 };
        const char *path = fresh_path();
        ssld_store *store = NULL;
        ssld_labels *labels = NULL;
        CHECK_OK(context, complete_store(context, path, &plan, SSLD_STORE_CREATE));
        CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
        CHECK_OK(context, ssld_labels_create(context, 1, 100, &labels));
        for (uint64_t sample = 0; sample < 60; sample++) {
            uint32_t view = 0;
            float logits[100], mean, deviation;
            double sum = 0, squares = 0, total = 0;
            make_logits(sample, 0, 100, logits);
            for (int c = 0; c < 100; c++)
                total += exp((double)logits[c]);
            for (int c = 0; c < 100; c++) {
                double l = (double)logits[c] - log(total);
                sum += l / 100;
                squares += l * l / 100;
            }
            CHECK_OK(context, ssld_store_read_moments(store, 1, &sample, &view, labels, &mean, &deviation));
            CHECK(fabs((double)mean - sum) <= 1.0 / 16 + 1e-4 && fabs((double)deviation - sqrt(squares - sum * sum)) <= 1.0 / 32 + 1e-3,
                  "codec %d: %g and %g, not %g and %g", codec, (double)mean, (double)deviation, sum,
                  sqrt(squares - sum * sum));
        }
        ssld_store_sizes sizes = { .struct_size = sizeof sizes };
        CHECK_OK(context, ssld_store_measure(store, &sizes));
        uint64_t all = sizes.classes + sizes.values + sizes.tail + sizes.statistics + sizes.offsets + sizes.model + sizes.index +
                       sizes.framing;
        CHECK(all == sizes.file_bytes && sizes.values && sizes.index && sizes.framing < sizes.file_bytes / 2,
              "%llu of %llu, %llu framing", (unsigned long long)all, (unsigned long long)sizes.file_bytes,
              (unsigned long long)sizes.framing);
        ssld_labels_destroy(labels);
        ssld_store_close(store);
    }
    ssld_context_destroy(context);
}

/* -- Stores too large to be here ------------------------------------------------------------------------------------ */

TEST(a_store_of_five_billion_records_is_opened_at_once_and_read_at_both_ends)
{
    /* Blocks of 65536 records of 2 classes; all but the first and the last are holes in the file. */
    enum { BLOCK = 65536 };
    const uint64_t blocks = 76800, records = blocks * BLOCK, stride = UINT64_C(1) << 19;
    const struct plan plan = { .classes = 2, .codec = SSLD_CODEC_DENSE_F16, .block_records = BLOCK, .samples = records,
                               .views = 1 };
    ssld_context *context = make_context();
    const char *path = fresh_path();
    ssld_store_writer_options options = plain_options(&plan);
    ssld_store_writer *writer = NULL;
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    struct ssld_store_header header = writer->header;
    header.view_spec = NULL;
    ssld_store_writer_abandon(writer);
    /* The two blocks. */
    const struct ssld_codec *codec = &ssld_codec_f16;
    const struct ssld_coding coding = { .classes = 2 };
    static struct ssld_record list[BLOCK];
    static uint8_t values[BLOCK][4];
    uint8_t *payload = malloc(4 * BLOCK), *frame = malloc(ssld_payload_bound(4 * BLOCK) + 200);
    struct ssld_run *runs = malloc(blocks * sizeof *runs);
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    int file = open(path, O_WRONLY);
    uint64_t start = 4096;
    for (uint64_t b = 0; b < blocks; b++)
        runs[b] = (struct ssld_run){ .sample = b * BLOCK, .count = BLOCK, .block = start + b * stride };
    for (int last = 0; last < 2; last++) {
        for (uint32_t i = 0; i < BLOCK; i++) {
            ssld_put_u16(values[i], ssld_half_from(log(last ? 0.25 : 0.75)));
            ssld_put_u16(values[i] + 2, ssld_half_from(log(last ? 0.75 : 0.25)));
            list[i] = (struct ssld_record){ values[i], 32 };
        }
        struct ssld_run *run = &runs[last ? blocks - 1 : 0];
        size_t head = ssld_block_frame_size(1);
        struct ssld_block block = { .offset = run->block, .records = BLOCK, .runs = 1, .payload_bytes = 4 * BLOCK,
                                    .codec = codec->id };
        block.compressed_bytes = (uint32_t)ssld_payload_pack(codec, &coding, list, BLOCK, compressor, payload, frame + head,
                                                             &block.checksum);
        ssld_block_write(&header, &block, run, frame);
        ssize_t put = pwrite(file, frame, head + block.compressed_bytes, (off_t)run->block);
        CHECK(put == (ssize_t)(head + block.compressed_bytes), "not written");
    }
    struct ssld_index index = { .offset = start + blocks * stride, .runs = blocks, .blocks = blocks, .records = records };
    uint64_t size = ssld_index_size(blocks, 0);
    uint8_t *bytes = malloc(size);
    ssld_index_write(&header, &index, runs, NULL, bytes);
    ssize_t put = pwrite(file, bytes, size, (off_t)index.offset);
    close(file);
    CHECK(put == (ssize_t)size, "the index was not written");
    struct timespec begin, end;
    ssld_store *store = NULL;
    ssld_labels *labels = NULL;
    ssld_store_info info = { .struct_size = sizeof info };
    clock_gettime(CLOCK_MONOTONIC, &begin);
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    CHECK_OK(context, ssld_store_get_info(store, &info));
    CHECK(info.records == records && info.file_bytes > UINT64_C(1) << 35, "%llu records", (unsigned long long)info.records);
    printf("# %llu records, %llu bytes: opened in %.2f ms\n", (unsigned long long)info.records,
           (unsigned long long)info.file_bytes, seconds * 1e3);
    CHECK(seconds < 2, "%g s", seconds); /* milliseconds; a walk of the file would be minutes */
    CHECK_OK(context, ssld_labels_create(context, 2, 2, &labels));
    const uint64_t samples[2] = { records - 1, 5 }, hole = records / 2;
    const uint32_t views[2] = { 0, 0 };
    CHECK_OK(context, ssld_store_read_views(store, 2, samples, views, labels));
    const float *rows = ssld_labels_probabilities(labels);
    CHECK(fabsf(rows[0] - 0.25f) < 1e-3f && fabsf(rows[2] - 0.75f) < 1e-3f, "%g %g", (double)rows[0], (double)rows[2]);
    CHECK_STATUS(context, ssld_store_read_views(store, 1, &hole, views, labels), SSLD_CORRUPT); /* found, and not there */
    ssld_labels_destroy(labels);
    ssld_store_close(store);
    ZSTD_freeCCtx(compressor);
    free(payload);
    free(frame);
    free(runs);
    free(bytes);
    ssld_context_destroy(context);
}

TEST(a_store_in_a_folder_that_cannot_be_written_is_read)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    float *rows = expected_rows(&small);
    ssld_store *store = NULL;
    CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_CREATE));
    chmod(path, 0444);
    chmod(test_folder, 0555);
    ssld_status status = ssld_store_open(context, path, NULL, &store);
    chmod(test_folder, 0755);
    CHECK_OK(context, status);
    check_rows(context, store, &small, rows);
    if (geteuid()) { /* the superuser may write all the same */
        ssld_store_writer_options options = writer_options(&small);
        ssld_store_writer *writer = NULL;
        options.mode = SSLD_STORE_RESUME;
        CHECK_STATUS(context, ssld_store_writer_open(context, path, &options, &writer), SSLD_IO);
    }
    chmod(path, 0644);
    ssld_store_close(store);
    free(rows);
    ssld_context_destroy(context);
}

TEST(the_folder_is_left_as_it_was)
{
    remove_folder();
    CHECK(access(test_folder, F_OK), "%s is not empty", test_folder);
}

TEST_MAIN(TEST_ROW(shards_open_together_as_one_store_and_merge_and_split_without_a_change),
          TEST_ROW(a_label_is_the_same_bits_alone_and_in_any_company),
          TEST_ROW(another_codec_gives_the_same_labels_as_far_as_it_can),
          TEST_ROW(files_of_other_labels_are_refused_with_both_names),
          TEST_ROW(labels_committed_before_there_is_a_model_are_stored_and_learned_from_after_resuming),
          TEST_ROW(the_number_of_threads_does_not_change_the_file),
          TEST_ROW(absent_and_damaged_views_are_answered_as_asked_and_counted),
          TEST_ROW(verify_reports_each_damaged_block_and_copy_leaves_it_out_if_asked),
          TEST_ROW(moments_are_those_of_the_dense_label_and_sizes_sum_to_the_file),
          TEST_ROW(a_store_of_five_billion_records_is_opened_at_once_and_read_at_both_ends),
          TEST_ROW(a_store_in_a_folder_that_cannot_be_written_is_read), TEST_ROW(the_folder_is_left_as_it_was))
