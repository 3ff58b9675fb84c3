/* SPDX-License-Identifier: BSD-2-Clause */
/* What the store takes and shares: every allocation refused in turn, threads side by side, labels that see many stores. */
#include "store_helpers.h"

#include <pthread.h>

static const struct plan small = { .classes = 10, .codec = SSLD_CODEC_DENSE_F16, .block_records = 4, .samples = 11,
                                   .views = 2 };
static const struct plan small_topk = { .classes = 100, .codec = SSLD_CODEC_TOPK, .top_k = 5, .block_records = 8,
                                        .samples = 50, .views = 3 };

struct budget {
    long left;  /* allocations that succeed */
    long taken; /* asked for */
    long held;  /* not freed */
};

static void *budget_alloc(void *user, size_t size, size_t alignment)
{
    struct budget *budget = user;
    budget->taken++;
    if (budget->left-- <= 0)
        return NULL;
    budget->held++;
    return aligned_alloc(alignment, size);
}

static void budget_free(void *user, void *memory)
{
    ((struct budget *)user)->held--;
    free(memory);
}

static ssld_context *budget_context(struct budget *budget)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.allocator = (ssld_allocator){ budget, budget_alloc, budget_free };
    ssld_status status = ssld_context_create(&options, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    return context;
}

TEST(every_allocation_of_a_writer_may_fail)
{
    float *rows = expected_rows(&small);
    ssld_context *plain = make_context();
    for (int resume = 0; resume < 2; resume++)
        for (long allowed = 0;; allowed++) {
            const char *path = fresh_path();
            struct budget budget = { .left = LONG_MAX };
            ssld_context *context = budget_context(&budget);
            ssld_store_writer_options options = writer_options(&small);
            ssld_store_writer *writer = NULL;
            if (resume) {
                uint64_t ids[6] = { 0, 1, 2, 3, 4, 5 };
                CHECK_OK(plain, ssld_store_writer_open(plain, path, &options, &writer));
                CHECK_OK(plain, append_ids(plain, writer, &small, ids, 6));
                CHECK_OK(plain, ssld_store_writer_close(writer));
                writer = NULL;
                options.mode = SSLD_STORE_RESUME;
            }
            budget.left = allowed;
            ssld_status status = ssld_store_writer_open(context, path, &options, &writer);
            CHECK(!writer == (status != SSLD_OK), "a writer in spite of %s", ssld_status_name(status));
            CHECK(writer || resume || access(path, F_OK), "a file was left by a failed creation");
            if (writer) {
                status = label_missing(context, writer, &small, 3, 2);
                ssld_status last = ssld_store_writer_close(writer);
                status = status ? status : last;
            }
            CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%s", ssld_status_name(status));
            ssld_context_destroy(context);
            CHECK(budget.held == 0, "%ld blocks not freed after %ld", budget.held, allowed);
            CHECK_OK(plain, complete_store(plain, path, &small, SSLD_STORE_RESUME));
            check_complete(plain, path, &small, rows);
            if (status == SSLD_OK)
                break;
        }
    free(rows);
    ssld_context_destroy(plain);
}

TEST(every_allocation_of_a_reader_may_fail_and_only_the_first_read_makes_any)
{
    const char *path = fresh_path();
    float *rows = expected_rows(&small_topk);
    ssld_context *plain = make_context();
    CHECK_OK(plain, complete_store(plain, path, &small_topk, SSLD_STORE_CREATE));
    for (int verify = 0; verify < 2; verify++)
        for (long allowed = 0;; allowed++) {
            struct budget budget = { .left = LONG_MAX };
            ssld_context *context = budget_context(&budget);
            ssld_store_options options;
            ssld_store *store = NULL;
            ssld_labels *labels = NULL;
            const uint64_t samples[3] = { 49, 3, 20 };
            const uint32_t views[3] = { 0, 2, 1 };
            ssld_store_options_init(&options, sizeof options);
            options.verify = verify;
            budget.left = allowed;
            ssld_status status = ssld_store_open(context, path, &options, &store);
            CHECK(!store == (status != SSLD_OK), "a store in spite of %s", ssld_status_name(status));
            if (!status)
                status = ssld_labels_create(context, 3, small_topk.classes, &labels);
            if (!status)
                status = ssld_store_read_views(store, 3, samples, views, labels);
            CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%s", ssld_status_name(status));
            if (status == SSLD_OK) {
                long taken = budget.taken;
                for (uint64_t i = 0; i < 50; i++)
                    CHECK_OK(context,
                             ssld_store_read_views(store, 3, (const uint64_t[]){ i, 49 - i, 7 }, views, labels));
                CHECK(budget.taken == taken, "%ld allocations after the first read", budget.taken - taken);
            }
            ssld_labels_destroy(labels);
            ssld_store_close(store);
            ssld_context_destroy(context);
            CHECK(budget.held == 0, "%ld blocks not freed after %ld", budget.held, allowed);
            if (status == SSLD_OK)
                break;
        }
    free(rows);
    ssld_context_destroy(plain);
}

struct reader {
    pthread_t thread;
    ssld_context *context;
    const ssld_store *store;
    const float *rows;
    uint64_t state;
    int wrong;
};

static void *read_much(void *argument)
{
    struct reader *reader = argument;
    const struct plan *plan = &small_topk;
    size_t classes = (size_t)plan->classes;
    ssld_labels *labels = NULL;
    uint64_t samples[16];
    uint32_t views[16];
    if (ssld_labels_create(reader->context, 16, plan->classes, &labels)) {
        reader->wrong = 1;
        return NULL;
    }
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 16; i++) {
            samples[i] = next_random(&reader->state) % plan->samples;
            views[i] = (uint32_t)(next_random(&reader->state) % plan->views);
        }
        reader->wrong += ssld_store_read_views(reader->store, 16, samples, views, labels) != SSLD_OK;
        const float *read = ssld_labels_probabilities(labels);
        for (size_t i = 0; i < 16 && read; i++)
            reader->wrong += !!memcmp(read + i * classes,
                                      reader->rows + (views[i] * plan->samples + samples[i]) * classes, classes * 4);
    }
    ssld_labels_destroy(labels);
    return NULL;
}

TEST(four_threads_read_one_store)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    float *rows = expected_rows(&small_topk);
    ssld_store *store = NULL;
    struct reader readers[4];
    CHECK_OK(context, complete_store(context, path, &small_topk, SSLD_STORE_CREATE));
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    for (uint64_t i = 0; i < 4; i++) {
        readers[i] = (struct reader){ .context = context, .store = store, .rows = rows, .state = i };
        int failed = pthread_create(&readers[i].thread, NULL, read_much, &readers[i]);
        CHECK(!failed, "no thread");
    }
    for (int i = 0; i < 4; i++)
        pthread_join(readers[i].thread, NULL);
    for (int i = 0; i < 4; i++)
        CHECK(readers[i].wrong == 0, "thread %d: %d wrong", i, readers[i].wrong);
    ssld_store_close(store);
    free(rows);
    ssld_context_destroy(context);
}

TEST(labels_serve_several_stores_in_turn)
{
    ssld_context *context = make_context();
    ssld_labels *labels = NULL;
    CHECK_OK(context, ssld_labels_create(context, 1, 10, &labels));
    for (uint64_t round = 0; round < 6; round++) {
        /* Same header, same block sizes, other labels: a block kept from the store before would be wrong. */
        struct plan plan = { .classes = 10, .codec = SSLD_CODEC_DENSE_F16, .samples = 11, .views = 2,
                             .block_records = round == 3 ? 16 : 4 };
        const char *path = fresh_path();
        ssld_store_writer_options options = writer_options(&plan);
        ssld_store_writer *writer = NULL;
        ssld_store *store = NULL;
        uint64_t sample = 0;
        uint32_t view = 0;
        float values[10] = { 0 };
        values[round] = 1;
        CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
        CHECK_OK(context, ssld_labels_wrap_probabilities(labels, 1, values));
        CHECK_OK(context, ssld_store_writer_append_views(writer, 1, &sample, &view, labels));
        CHECK_OK(context, ssld_store_writer_close(writer));
        CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
        CHECK_OK(context, ssld_store_read_views(store, 1, &sample, &view, labels));
        CHECK(ssld_labels_probabilities(labels)[round] > 0.999f, "round %llu", (unsigned long long)round);
        ssld_store_close(store);
    }
    ssld_labels_destroy(labels);
    ssld_context_destroy(context);
}

TEST(the_folder_is_left_as_it_was)
{
    remove_folder();
    CHECK(access(test_folder, F_OK), "%s is not empty", test_folder);
}

TEST_MAIN(TEST_ROW(every_allocation_of_a_writer_may_fail),
          TEST_ROW(every_allocation_of_a_reader_may_fail_and_only_the_first_read_makes_any),
          TEST_ROW(four_threads_read_one_store), TEST_ROW(labels_serve_several_stores_in_turn),
          TEST_ROW(the_folder_is_left_as_it_was))
