/* SPDX-License-Identifier: BSD-2-Clause */
/* Every system call that a writer makes on its file, refused in turn: a full disk, an input/output error, a write that takes
 * only a part. Nothing committed is lost, no wrong label is given, and the writer, or the next one, goes on. */
#include "store_helpers.h"

#include <errno.h>

static const struct plan small = { .classes = 10, .codec = SSLD_CODEC_DENSE_F16, .block_records = 4, .samples = 9,
                                   .views = 2 };
static const struct plan small_topk = { .classes = 100, .codec = SSLD_CODEC_TOPK, .top_k = 3, .block_records = 8,
                                        .samples = 9, .views = 2 };

/* -- The calls, led through here by the linker ---------------------------------------------------------------------- */

static long calls, refused = -1; /* number of the call to be refused */
static int refused_with;         /* errno; 0: a write takes half of its bytes */
static bool again;               /* refuse every call from there on */

ssize_t __real_write(int file, const void *bytes, size_t size);
int __real_ftruncate(int file, off_t size);
int __real_fdatasync(int file);
int __real_fsync(int file);
off_t __real_lseek(int file, off_t offset, int whence);
ssize_t __wrap_write(int file, const void *bytes, size_t size);
int __wrap_ftruncate(int file, off_t size);
int __wrap_fdatasync(int file);
int __wrap_fsync(int file);
off_t __wrap_lseek(int file, off_t offset, int whence);

static bool refuse(void)
{
    long call = calls++;
    if (refused < 0 || (again ? call < refused : call != refused) || !refused_with)
        return false;
    errno = refused_with;
    return true;
}

ssize_t __wrap_write(int file, const void *bytes, size_t size)
{
    bool half = refused >= 0 && calls == refused && !refused_with;
    if (file <= 2)
        return __real_write(file, bytes, size);
    if (refuse()) {
        ssize_t part = size > 8 ? __real_write(file, bytes, size / 3) : 0; /* some of it is there all the same */
        (void)part;
        errno = refused_with;
        return -1;
    }
    return __real_write(file, bytes, half && size > 1 ? size / 2 : size);
}

int __wrap_ftruncate(int file, off_t size)
{
    return refuse() ? -1 : __real_ftruncate(file, size);
}

int __wrap_fdatasync(int file)
{
    return refuse() ? -1 : __real_fdatasync(file);
}

int __wrap_fsync(int file)
{
    return refuse() ? -1 : __real_fsync(file);
}

off_t __wrap_lseek(int file, off_t offset, int whence)
{
    return refuse() ? -1 : __real_lseek(file, offset, whence);
}

/* -- The tests ---------------------------------------------------------------------------------------------------- */

/* Label the plan with commits; `committed` receives what was acknowledged last. */
static ssld_status label(ssld_context *context, const char *path, const struct plan *plan, uint64_t *committed)
{
    ssld_store_writer_options options = writer_options(plan);
    ssld_store_writer *writer = NULL;
    uint64_t ids[3];
    options.mode = SSLD_STORE_RESUME;
    ssld_status status = ssld_store_writer_open(context, path, &options, &writer);
    for (uint64_t first = 0; first < 18 && !status; first += 3) {
        for (uint64_t i = 0; i < 3; i++)
            ids[i] = first + i;
        status = append_ids(context, writer, plan, ids, 3);
        if (!status && first % 2 == 0 && !(status = ssld_store_writer_commit(writer)))
            *committed = ssld_store_writer_records(writer);
        if (status == SSLD_NO_SPACE && !again) /* as a host that makes room and goes on */
            status = SSLD_OK;
    }
    if (!status)
        status = label_missing(context, writer, plan, 3, 2);
    if (status) {
        ssld_store_writer_abandon(writer);
        return status;
    }
    return ssld_store_writer_close(writer);
}

/* Copy another store, as merging does if it is of the same codec, and coding anew if not; with commits. */
static const char *source;

static ssld_status copy(ssld_context *context, const char *path, const struct plan *plan, uint64_t *committed)
{
    ssld_store_writer_options options = writer_options(plan);
    ssld_store_writer *writer = NULL;
    ssld_store *store = NULL;
    options.mode = SSLD_STORE_RESUME;
    ssld_status status = ssld_store_open(context, source, NULL, &store);
    if (!status)
        status = ssld_store_writer_open(context, path, &options, &writer);
    for (uint64_t sample = 0; sample < plan->samples && !status; sample += 3) {
        ssld_store_range range = { sizeof range, sample, 3, 0, plan->views };
        status = ssld_store_writer_copy(writer, store, &range, NULL);
        if (!status && !(status = ssld_store_writer_commit(writer)))
            *committed = ssld_store_writer_records(writer);
        if (status == SSLD_NO_SPACE && !again)
            status = SSLD_OK;
    }
    if (!status)
        status = ssld_store_writer_copy(writer, store, NULL, NULL);
    ssld_store_close(store);
    if (status) {
        ssld_store_writer_abandon(writer);
        return status;
    }
    return ssld_store_writer_close(writer);
}

typedef ssld_status work_function(ssld_context *context, const char *path, const struct plan *plan, uint64_t *committed);

static void check_what_is_there(ssld_context *context, const char *path, const struct plan *plan, const float *rows,
                                uint64_t committed)
{
    ssld_store *store = NULL;
    int64_t missing, corrupt, right;
    refused = -1;
    if (ssld_store_open(context, path, NULL, &store)) {
        CHECK(committed == 0, "%llu records were committed, and the store does not open", (unsigned long long)committed);
        return;
    }
    right = count_right(context, store, plan, rows, &missing, &corrupt);
    ssld_store_close(store);
    CHECK(right >= (int64_t)committed && !corrupt, "call %ld: %lld right, %lld corrupt, %llu committed", calls,
          (long long)right, (long long)corrupt, (unsigned long long)committed);
}

static void refuse_each_call_of(work_function *work, const struct plan *plan, int error, bool from_there_on, const float *rows)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    uint64_t committed = 0;
    refused = -1;
    calls = 0;
    CHECK_OK(context, work(context, path, plan, &committed));
    long all = calls, failures = 0;
    for (long call = 0; call < all; call++) {
        unlink(path);
        committed = 0;
        calls = 0;
        refused = call;
        refused_with = error;
        again = from_there_on;
        ssld_status status = work(context, path, plan, &committed);
        failures += status != SSLD_OK;
        CHECK(status == SSLD_OK || status == SSLD_NO_SPACE || status == SSLD_IO, "call %ld: %s", call,
              ssld_status_name(status));
        check_what_is_there(context, path, plan, rows, committed);
        CHECK_OK(context, work(context, path, plan, &committed));
        check_complete(context, path, plan, rows);
    }
    CHECK(!error == !failures, "%ld of %ld calls refused were noticed", failures, all);
    printf("# %ld calls, %ld of them made a call of the library fail\n", all, failures);
    ssld_context_destroy(context);
}

static void refuse_each_call(const struct plan *plan, int error, bool from_there_on)
{
    float *rows = expected_rows(plan);
    refuse_each_call_of(label, plan, error, from_there_on, rows);
    free(rows);
}

TEST(a_full_disk_at_any_call_loses_nothing)
{
    for (int from_there_on = 0; from_there_on < 2; from_there_on++) {
        refuse_each_call(&small, ENOSPC, from_there_on);
        refuse_each_call(&small_topk, ENOSPC, from_there_on);
    }
}

TEST(an_input_output_error_at_any_call_loses_nothing)
{
    for (int from_there_on = 0; from_there_on < 2; from_there_on++) {
        refuse_each_call(&small, EIO, from_there_on);
        refuse_each_call(&small_topk, EIO, from_there_on);
    }
}

TEST(short_writes_are_completed)
{
    refuse_each_call(&small, 0, false);
    refuse_each_call(&small_topk, 0, false);
}

TEST(merging_and_coding_anew_lose_nothing_at_any_call)
{
    static const int errors[] = { ENOSPC, EIO, 0 };
    struct plan dense = small_topk;
    char path[128];
    dense.codec = SSLD_CODEC_DENSE_F32;
    dense.top_k = 0;
    ssld_context *context = make_context();
    fresh_path(); /* the folder is there then */
    snprintf(path, sizeof path, "%s/source", test_folder);
    source = path;
    for (int recoded = 0; recoded < 2; recoded++) {
        uint64_t committed;
        size_t row = (size_t)small_topk.classes;
        float *rows = malloc(18 * row * sizeof *rows);
        ssld_store *store = NULL;
        ssld_labels *labels = NULL;
        unlink(path);
        refused = -1;
        CHECK_OK(context, complete_store(context, path, recoded ? &dense : &small_topk, SSLD_STORE_CREATE));
        const char *whole = fresh_path();
        CHECK_OK(context, copy(context, whole, &small_topk, &committed));
        CHECK_OK(context, ssld_store_open(context, whole, NULL, &store));
        CHECK_OK(context, ssld_labels_create(context, 1, small_topk.classes, &labels));
        for (uint64_t id = 0; id < 18; id++) {
            uint64_t sample = id % 9;
            uint32_t view = (uint32_t)(id / 9);
            CHECK_OK(context, ssld_store_read_views(store, 1, &sample, &view, labels));
            memcpy(rows + id * row, ssld_labels_probabilities(labels), row * sizeof *rows);
        }
        ssld_labels_destroy(labels);
        ssld_store_close(store);
        for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++)
            for (int from_there_on = 0; from_there_on < (errors[e] ? 2 : 1); from_there_on++)
                refuse_each_call_of(copy, &small_topk, errors[e], from_there_on, rows);
        free(rows);
    }
    refused = -1;
    unlink(path);
    ssld_context_destroy(context);
}

TEST(the_folder_is_left_as_it_was)
{
    remove_folder();
    CHECK(access(test_folder, F_OK), "%s is not empty", test_folder);
}

TEST_MAIN(TEST_ROW(a_full_disk_at_any_call_loses_nothing), TEST_ROW(an_input_output_error_at_any_call_loses_nothing),
          TEST_ROW(short_writes_are_completed),
          TEST_ROW(merging_and_coding_anew_lose_nothing_at_any_call), TEST_ROW(the_folder_is_left_as_it_was))
