/* SPDX-License-Identifier: BSD-2-Clause */
/* The foundations: randomness against published vectors, files that appear whole, options that grow. */
#include "test.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "core/batch.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/labels.h"
#include "core/philox.h"

static ssld_context *make_context(void)
{
    ssld_context *context = NULL;
    ssld_status status = ssld_context_create(NULL, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    return context;
}

/* The known-answer vectors of Random123 1.14 (kat_vectors), philox4x32 10. */
TEST(philox_gives_the_published_vectors)
{
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } vectors[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint32_t words[4];
        ssld_philox4x32(vectors[i].counter, vectors[i].key, words);
        for (int w = 0; w < 4; w++)
            CHECK(words[w] == vectors[i].words[w], "vector %zu word %d: %08x", i, w, words[w]);
    }
}

TEST(stream_is_the_counter_it_says)
{
    struct ssld_stream stream = ssld_stream_start(0x1122334455667788u, 0x99aabbccddeeff00u, 7, 3);
    uint32_t counter[4] = { 0xddeeff00u, 0x99aabbccu, 7, 3u << 16 | 1 }, key[2] = { 0x55667788u, 0x11223344u }, words[4];
    ssld_philox4x32(counter, key, words);
    for (int i = 0; i < 4; i++)
        ssld_stream_word(&stream);
    for (int i = 0; i < 4; i++) {
        uint32_t word = ssld_stream_word(&stream);
        CHECK(word == words[i], "word %d of block 1: %08x", i, word);
    }
    for (int i = 0; i < 1000; i++) {
        double uniform = ssld_stream_uniform(&stream);
        uint32_t below = ssld_stream_below(&stream, 10);
        CHECK(uniform >= 0 && uniform < 1 && below < 10, "%g %u", uniform, below);
    }
}

TEST(options_of_a_later_header_are_taken_if_their_rest_is_zero)
{
    struct {
        ssld_context_options options;
        uint64_t later;
    } larger;
    ssld_context *context = NULL;
    memset(&larger, 0, sizeof larger);
    ssld_context_options_init(&larger.options, sizeof larger);
    ssld_status status = ssld_context_create(&larger.options, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    ssld_context_destroy(context);
    context = NULL;
    larger.later = 1;
    status = ssld_context_create(&larger.options, &context);
    CHECK(status == SSLD_INVALID_ARGUMENT && !context, "status %d", status);
}

TEST(context_refuses_what_it_cannot_be)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    memset(&options, 0, sizeof options);
    CHECK_STATUS(NULL, ssld_context_create(&options, &context), SSLD_INVALID_ARGUMENT); /* struct_size not set */
    ssld_context_options_init(&options, sizeof options);
    options.threads = -1;
    CHECK_STATUS(NULL, ssld_context_create(&options, &context), SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(NULL, ssld_context_create_version(SSLD_VERSION + 1000, NULL, &context), SSLD_MISMATCH);
    CHECK_OK(NULL, ssld_context_create_version(SSLD_VERSION + 1, NULL, &context)); /* a patch is compatible */
    ssld_context_destroy(context);
}

TEST(error_text_is_copied_and_cut)
{
    ssld_context *context = make_context();
    char buffer[8];
    CHECK(ssld_context_error(context, NULL, 0) == 0, "a fresh context has a text");
    ssld_status status = ssld_fail(context, SSLD_IO, "%s: %d", "a file", 42);
    CHECK(status == SSLD_IO, "status %d", status);
    size_t length = ssld_context_error(context, buffer, sizeof buffer);
    CHECK(length == 10 && !strcmp(buffer, "a file:"), "%zu '%s'", length, buffer);
    ssld_context_destroy(context);
}

TEST(every_allocation_may_fail)
{
    for (int allowed = 0;; allowed++) {
        int left = allowed;
        ssld_context *context = NULL;
        ssld_context_options options;
        ssld_context_options_init(&options, sizeof options);
        options.allocator = test_allocator(&left);
        ssld_status status = ssld_context_create(&options, &context);
        if (allowed == 0) {
            CHECK(status == SSLD_OUT_OF_MEMORY, "status %d", status);
            continue;
        }
        ssld_batch *batch = NULL;
        ssld_labels *labels = NULL;
        ssld_status first = ssld_batch_create(context, &batch);
        ssld_status second = ssld_labels_create(context, 4, 10, &labels);
        CHECK(!!batch == (first == SSLD_OK) && !!labels == (second == SSLD_OK), "a failed create gave an object");
        bool done = batch && labels;
        ssld_batch_destroy(batch);
        ssld_labels_destroy(labels);
        ssld_context_destroy(context);
        if (done)
            break;
    }
}

TEST(softmax_is_the_only_way_from_logits_to_probabilities)
{
    ssld_context *context = make_context();
    ssld_labels *labels = NULL;
    CHECK_OK(context, ssld_labels_create(context, 2, 3, &labels));
    CHECK(!ssld_labels_logits(labels) && !ssld_labels_probabilities(labels), "empty labels have values");
    static const float logits[6] = { 0, 0, 0, 1000, 0, -1000 };
    CHECK_STATUS(context, ssld_labels_wrap_logits(labels, 3, logits), SSLD_INVALID_ARGUMENT);
    CHECK_OK(context, ssld_labels_wrap_logits(labels, 2, logits));
    CHECK(ssld_labels_logits(labels) == logits && !ssld_labels_probabilities(labels), "kind %d", ssld_labels_kind(labels));
    CHECK_OK(context, ssld_labels_softmax(labels));
    const float *p = ssld_labels_probabilities(labels);
    CHECK(p && !ssld_labels_logits(labels), "kind %d", ssld_labels_kind(labels));
    CHECK(p[0] == p[1] && p[3] == 1.0f && p[4] == 0.0f, "%g %g %g", p[0], p[3], p[4]);
    ssld_labels_destroy(labels);
    ssld_context_destroy(context);
}

TEST(replaced_file_appears_whole_or_not_at_all)
{
    ssld_context *context = make_context();
    char folder[] = "/tmp/ssld-test-XXXXXX", path[64];
    CHECK(mkdtemp(folder), "no folder");
    snprintf(path, sizeof path, "%s/file", folder);
    struct ssld_replacement file;
    CHECK_OK(context, ssld_replacement_open(context, path, &file));
    CHECK_OK(context, ssld_replacement_write(&file, "one", 3));
    CHECK(access(path, F_OK) != 0, "the file is there before commit");
    CHECK_OK(context, ssld_replacement_commit(&file));
    CHECK_OK(context, ssld_replacement_open(context, path, &file));
    CHECK_OK(context, ssld_replacement_write(&file, "twotwo", 6));
    ssld_replacement_discard(&file);
    struct ssld_map map;
    CHECK_OK(context, ssld_map_open(context, path, &map));
    CHECK(map.size == 3 && !memcmp(map.bytes, "one", 3), "%zu bytes", map.size);
    ssld_map_close(&map);
    int entries = 0;
    DIR *listing = opendir(folder);
    while (readdir(listing))
        entries++;
    closedir(listing);
    CHECK(entries == 3, "%d entries: a temporary file was left", entries); /* ., .., file */
    unlink(path);
    rmdir(folder);
    CHECK_STATUS(context, ssld_replacement_open(context, path, &file), SSLD_NOT_FOUND);
    CHECK_TEXT(context, path);
    ssld_context_destroy(context);
}

TEST(full_disk_is_said_and_leaves_nothing)
{
    if (access("/dev/full", W_OK))
        SKIP("no /dev/full");
    ssld_context *context = make_context();
    struct ssld_replacement file = { .context = context, .descriptor = -1 };
    file.path = ssld_strdup(context, "/dev/full");
    FILE *full = fopen("/dev/full", "w");
    file.descriptor = fileno(full);
    CHECK_STATUS(context, ssld_replacement_write(&file, "x", 1), SSLD_NO_SPACE);
    CHECK_TEXT(context, "/dev/full: cannot write");
    ssld_free(context, file.path);
    fclose(full);
    ssld_context_destroy(context);
}

TEST(fingerprint_is_pinned)
{
    ssld_context *context = make_context();
    struct ssld_hash *hash = ssld_hash_create(context);
    uint8_t print[16];
    ssld_hash_finish(hash, print);
    /* XXH3's 128-bit hash of nothing, from xxHash's specification tests. */
    static const uint8_t nothing[16] = { 0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                         0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f };
    CHECK(!memcmp(print, nothing, 16), "%02x %02x ...", print[0], print[1]);
    CHECK(ssld_checksum("", 0) == 0xEF46DB3751D8E999u, "%llx", (unsigned long long)ssld_checksum("", 0));
    ssld_context_destroy(context);
}

static void *cancel_soon(void *context)
{
    usleep(1000);
    ssld_context_cancel(context);
    return NULL;
}

TEST(cancel_reaches_other_threads_and_can_be_taken_back)
{
    ssld_context *context = make_context();
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_soon, context);
    while (!ssld_cancelled(context))
        usleep(100);
    pthread_join(thread, NULL);
    CHECK_STATUS(context, ssld_check_cancelled(context), SSLD_CANCELLED);
    ssld_context_resume(context);
    CHECK_OK(context, ssld_check_cancelled(context));
    ssld_context_destroy(context);
}

TEST_MAIN(TEST_ROW(philox_gives_the_published_vectors), TEST_ROW(stream_is_the_counter_it_says),
          TEST_ROW(options_of_a_later_header_are_taken_if_their_rest_is_zero), TEST_ROW(context_refuses_what_it_cannot_be),
          TEST_ROW(error_text_is_copied_and_cut), TEST_ROW(every_allocation_may_fail),
          TEST_ROW(softmax_is_the_only_way_from_logits_to_probabilities),
          TEST_ROW(replaced_file_appears_whole_or_not_at_all), TEST_ROW(full_disk_is_said_and_leaves_nothing),
          TEST_ROW(fingerprint_is_pinned), TEST_ROW(cancel_reaches_other_threads_and_can_be_taken_back))
