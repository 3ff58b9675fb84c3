/* SPDX-License-Identifier: BSD-2-Clause */
/* The store broken on purpose: killed, cut off, flipped, torn by a power cut, short of space. Whatever happens, no wrong
 * label is given, what was committed is kept, and labelling goes on to a complete store. */
#include "store_helpers.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "core/hash.h"
#include "store/format.h"

static const struct plan small = { .classes = 10, .codec = SSLD_CODEC_DENSE_F16, .block_records = 4, .samples = 9,
                                   .views = 2 };
static const struct plan small_topk = { .classes = 80, .codec = SSLD_CODEC_TOPK, .top_k = 3, .block_records = 8,
                                        .samples = 9, .views = 2 };

/* -- SIGKILL ------------------------------------------------------------------------------------------------------ */

/* What the child that is killed does to the store at `path`. */
struct work {
    const struct plan *plan;
    const char        *source; /* a store that is copied from; NULL: labels */
};

/* Copy from another store, as merging and coding anew do, a few samples at a time; committing now and then. */
static int copy_missing(ssld_context *context, ssld_store_writer *writer, const struct work *work, int acknowledge)
{
    ssld_store *source = NULL;
    if (ssld_store_open(context, work->source, NULL, &source))
        return 5;
    for (uint32_t view = 0; view < work->plan->views; view++)
        for (uint64_t sample = 0; sample < work->plan->samples; sample += 10) {
            ssld_store_range range = { sizeof range, sample, 10, view, 1 };
            if (ssld_store_writer_copy(writer, source, &range, NULL))
                return 6;
            uint64_t records = ssld_store_writer_records(writer);
            if (sample % 30 == 0 && (ssld_store_writer_commit(writer) ||
                                     (acknowledge >= 0 && write(acknowledge, &records, sizeof records) != sizeof records)))
                return 7;
        }
    ssld_store_close(source);
    return ssld_store_writer_close(writer) ? 8 : 0;
}

/* The child: labels or copies what is missing, says through the pipe how many records are committed, never returns. */
static void work_in_child(const char *path, const struct work *work, int acknowledge)
{
    const struct plan *plan = work->plan;
    ssld_context *context = NULL;
    ssld_store_writer *writer = NULL;
    ssld_store_writer_options options = writer_options(plan);
    options.mode = SSLD_STORE_RESUME;
    uint32_t view = 0;
    uint64_t sample = 0, count, ids[MOST_BATCH];
    if (ssld_context_create(NULL, &context) || ssld_store_writer_open(context, path, &options, &writer))
        _exit(1);
    if (work->source)
        _exit(copy_missing(context, writer, work, acknowledge));
    for (int32_t done = 1; ssld_store_writer_missing(writer, &view, &sample, &count) == SSLD_OK; done++) {
        int32_t taken = count < 5 ? (int32_t)count : 5;
        for (int32_t i = 0; i < taken; i++)
            ids[i] = view * plan->samples + sample + (uint64_t)i;
        if (append_ids(context, writer, plan, ids, taken))
            _exit(2);
        if (done % 3 == 0) {
            uint64_t records = ssld_store_writer_records(writer);
            if (ssld_store_writer_commit(writer) || write(acknowledge, &records, sizeof records) != sizeof records)
                _exit(3);
        }
    }
    _exit(ssld_store_writer_close(writer) ? 4 : 0);
}

/* Run the child for at most `nanoseconds`. Returns whether it was killed; `acknowledged` receives its last word. */
static bool run_and_kill(const char *path, const struct work *work, long nanoseconds, uint64_t *acknowledged)
{
    int words[2], how;
    CHECK(pipe(words) == 0, "no pipe");
    pid_t child = fork();
    CHECK(child >= 0, "no child");
    if (child == 0) {
        close(words[0]);
        work_in_child(path, work, words[1]);
    }
    close(words[1]);
    struct timespec pause = { .tv_nsec = nanoseconds };
    nanosleep(&pause, NULL);
    kill(child, SIGKILL);
    waitpid(child, &how, 0);
    for (uint64_t word; read(words[0], &word, sizeof word) == sizeof word;)
        *acknowledged = word;
    close(words[0]);
    CHECK(WIFSIGNALED(how) || WEXITSTATUS(how) == 0, "the child ended with %d", WEXITSTATUS(how));
    return WIFSIGNALED(how);
}

/* Whatever was going on, it is ended later. */
static void complete(ssld_context *context, const char *path, const struct work *work)
{
    ssld_store_writer *writer = NULL;
    ssld_store_writer_options options = writer_options(work->plan);
    options.mode = SSLD_STORE_RESUME;
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    if (work->source) {
        int code = copy_missing(context, writer, work, -1);
        CHECK(code == 0, "copying ended with %d", code);
        return;
    }
    CHECK_OK(context, label_missing(context, writer, work->plan, 3, 4));
    CHECK_OK(context, ssld_store_writer_close(writer));
}

static void kill_at_random_moments(const struct work *work, const float *rows)
{
    const struct plan *plan = work->plan;
    const char *asked = getenv("SSLD_TEST_KILLS");
    long wanted = asked ? atol(asked) : 60, kills = 0, stores = 0, resumed = 0;
    ssld_context *context = make_context();
    uint64_t state = (uint64_t)getpid(); /* other moments in every run */
    /* More and later ones on a machine so busy that none of those came while labels were written. */
    while (kills < wanted || (!resumed && kills < 20 * wanted)) {
        const char *path = fresh_path();
        uint64_t acknowledged = 0, latest = 4000000 * (uint64_t)(1 + kills / wanted);
        /* From the first instruction to past the last. */
        while (run_and_kill(path, work, (long)(next_random(&state) % latest), &acknowledged)) {
            kills++;
            ssld_store *store = NULL;
            int64_t missing, corrupt, right;
            ssld_status status = access(path, F_OK) ? SSLD_NOT_FOUND : ssld_store_open(context, path, NULL, &store);
            if (status) { /* killed before the header was there */
                CHECK(acknowledged == 0, "%llu records were committed: %s", (unsigned long long)acknowledged,
                      ssld_status_name(status));
                continue;
            }
            right = count_right(context, store, plan, rows, &missing, &corrupt);
            ssld_store_close(store);
            CHECK(right >= (int64_t)acknowledged && corrupt == 0,
                  "%lld right, %lld corrupt, %llu committed", (long long)right,
                  (long long)corrupt, (unsigned long long)acknowledged);
            resumed += right > 0;
            if (kills >= wanted)
                break;
        }
        stores++;
        complete(context, path, work);
        check_complete(context, path, plan, rows);
        CHECK(zstd_test(path) <= 0, "zstd -t fails");
    }
    printf("# %ld kills in %ld stores, %ld with labels in the file\n", kills, stores, resumed);
    CHECK(resumed > 0, "no kill came while labels were written");
    ssld_context_destroy(context);
}

static const struct plan killed = { .classes = 100, .codec = SSLD_CODEC_TOPK, .top_k = 5, .block_records = 7, .samples = 300,
                                    .views = 3 };

TEST(store_killed_at_random_moments_equals_one_made_in_one_go)
{
    const struct work work = { &killed, NULL };
    float *rows = expected_rows(&killed);
    kill_at_random_moments(&work, rows);
    free(rows);
}

/* A store of the killed one's labels with another codec or the same, and what copying it gives in one go. */
static float *make_source(ssld_context *context, const char *path, const struct plan *plan)
{
    size_t classes = (size_t)killed.classes, all = killed.views * (size_t)killed.samples;
    const struct work work = { &killed, path };
    ssld_labels *labels = NULL;
    ssld_store *store = NULL;
    float *rows = malloc(all * classes * sizeof *rows);
    unlink(path);
    CHECK_OK(context, complete_store(context, path, plan, SSLD_STORE_CREATE));
    const char *copy = fresh_path();
    complete(context, copy, &work);
    CHECK_OK(context, ssld_store_open(context, copy, NULL, &store));
    CHECK_OK(context, ssld_labels_create(context, 1, killed.classes, &labels));
    for (uint64_t id = 0; id < all; id++) {
        uint64_t sample = id % killed.samples;
        uint32_t view = (uint32_t)(id / killed.samples);
        CHECK_OK(context, ssld_store_read_views(store, 1, &sample, &view, labels));
        memcpy(rows + id * classes, ssld_labels_probabilities(labels), classes * sizeof *rows);
    }
    ssld_labels_destroy(labels);
    ssld_store_close(store);
    unlink(copy);
    return rows;
}

TEST(merging_and_coding_anew_killed_at_random_moments_equal_those_done_in_one_go)
{
    ssld_context *context = make_context();
    struct plan sources[] = { killed, killed };
    sources[1].codec = SSLD_CODEC_DENSE_F32;
    sources[1].top_k = 0;
    for (int i = 0; i < 2; i++) {
        char path[128];
        fresh_path(); /* the folder is there then */
        snprintf(path, sizeof path, "%s/source", test_folder);
        float *rows = make_source(context, path, &sources[i]);
        const struct work work = { &killed, path };
        kill_at_random_moments(&work, rows);
        unlink(path);
        free(rows);
    }
    ssld_context_destroy(context);
}

/* -- Truncation and flipped bits ---------------------------------------------------------------------------------- */

/* The bytes of a store: closed, or left by an abandoned writer after its last commit. */
static uint8_t *make_bytes(ssld_context *context, const struct plan *plan, bool closed, size_t *size)
{
    const char *path = fresh_path();
    ssld_store_writer_options options = writer_options(plan);
    ssld_store_writer *writer = NULL;
    options.view_spec = "v";
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    CHECK_OK(context, label_missing(context, writer, plan, 3, 2));
    CHECK_OK(context, ssld_store_writer_commit(writer));
    if (closed)
        CHECK_OK(context, ssld_store_writer_close(writer));
    else
        ssld_store_writer_abandon(writer);
    return load_file(path, size);
}

static ssld_status resume_and_complete(ssld_context *context, const char *path, const struct plan *plan)
{
    ssld_store_writer_options options = writer_options(plan);
    ssld_store_writer *writer = NULL;
    options.mode = SSLD_STORE_RESUME;
    options.view_spec = "v";
    ssld_status status = ssld_store_writer_open(context, path, &options, &writer);
    if (status)
        return status;
    CHECK_OK(context, label_missing(context, writer, plan, 4, 3));
    return ssld_store_writer_close(writer);
}

TEST(store_cut_off_at_any_byte_gives_no_wrong_label_and_can_be_completed)
{
    ssld_context *context = make_context();
    for (int closed = 0; closed < 2; closed++)
        for (int codec = 0; codec < 2; codec++) {
            const struct plan *plan = codec ? &small_topk : &small;
            float *rows = expected_rows(plan);
            size_t size;
            uint8_t *bytes = make_bytes(context, plan, closed, &size);
            int64_t last = 0;
            for (size_t cut = 0; cut <= size; cut++) {
                ssld_store *store = NULL;
                save_file(test_path, bytes, cut);
                ssld_status status = ssld_store_open(context, test_path, NULL, &store);
                CHECK(status == SSLD_OK || status == SSLD_FORMAT || status == SSLD_CORRUPT, "cut to %zu: %s", cut,
                      ssld_status_name(status));
                if (!status) {
                    int64_t missing, corrupt, right = count_right(context, store, plan, rows, &missing, &corrupt);
                    CHECK(right >= last && corrupt == 0, "cut to %zu: %lld right, %lld before, %lld corrupt", cut,
                          (long long)right, (long long)last, (long long)corrupt);
                    last = right;
                    ssld_store_close(store);
                }
                CHECK_OK(context, resume_and_complete(context, test_path, plan));
                check_complete(context, test_path, plan, rows);
            }
            CHECK(last == 18, "%lld of 18 in the whole file", (long long)last);
            free(bytes);
            free(rows);
        }
    ssld_context_destroy(context);
}

TEST(no_flipped_bit_gives_a_wrong_label)
{
    ssld_context *context = make_context();
    for (int closed = 0; closed < 2; closed++)
        for (int codec = 0; codec < 2; codec++) {
            const struct plan *plan = codec ? &small_topk : &small;
            float *rows = expected_rows(plan);
            size_t size;
            uint8_t *bytes = make_bytes(context, plan, closed, &size);
            for (size_t bit = 0; bit < 8 * size; bit++) {
                ssld_store *store = NULL;
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                save_file(test_path, bytes, size);
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                ssld_status status = ssld_store_open(context, test_path, NULL, &store);
                CHECK(status == SSLD_OK || status == SSLD_FORMAT || status == SSLD_CORRUPT, "bit %zu: %s", bit,
                      ssld_status_name(status));
                if (status)
                    continue;
                int64_t missing, corrupt, right = count_right(context, store, plan, rows, &missing, &corrupt);
                ssld_store_close(store);
                /* Every label was committed: one that is gone is corrupt, not missing; and one block's are gone at most. */
                CHECK(right + plan->block_records >= 18 && missing == 0 && right + corrupt == 18,
                      "bit %zu, closed %d: %lld right, %lld corrupt, %lld missing", bit, closed, (long long)right,
                      (long long)corrupt, (long long)missing);
                ssld_store_options options;
                ssld_store_options_init(&options, sizeof options);
                options.verify = 1;
                store = NULL;
                status = ssld_store_open(context, test_path, &options, &store);
                /* It may also report damage that hits no label: a mark. */
                CHECK(status == SSLD_CORRUPT || (status == SSLD_OK && !corrupt), "bit %zu: verify says %s", bit,
                      ssld_status_name(status));
                ssld_store_close(store);
            }
            free(bytes);
            free(rows);
        }
    ssld_context_destroy(context);
}

TEST(a_store_with_a_flipped_bit_is_gone_on_with_or_refused_unchanged)
{
    ssld_context *context = make_context();
    const struct plan *plan = &small;
    float *rows = expected_rows(plan);
    long refused = 0, completed = 0;
    for (int closed = 0; closed < 2; closed++) {
        size_t size;
        uint8_t *bytes = make_bytes(context, plan, closed, &size);
        /* 3 and 8 have no common divisor: every place, every position. */
        for (size_t bit = 0; bit < 8 * size; bit += 3) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            save_file(test_path, bytes, size);
            ssld_status status = resume_and_complete(context, test_path, plan);
            if (status) {
                CHECK(status == SSLD_CORRUPT || status == SSLD_FORMAT, "bit %zu: %s", bit, ssld_status_name(status));
                CHECK(file_is(test_path, bytes, size), "bit %zu: refused and changed", bit);
                refused++;
            } else {
                ssld_store *store = NULL;
                int64_t missing, corrupt, right;
                CHECK_OK(context, ssld_store_open(context, test_path, NULL, &store));
                right = count_right(context, store, plan, rows, &missing, &corrupt);
                ssld_store_close(store);
                CHECK(right + corrupt == 18 && right >= 14, "bit %zu: %lld right, %lld corrupt", bit, (long long)right,
                      (long long)corrupt);
                completed++;
            }
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(bytes);
    }
    printf("# %ld flips refused, %ld gone on with\n", refused, completed);
    CHECK(refused && completed, "%ld refused, %ld completed", refused, completed);
    free(rows);
    ssld_context_destroy(context);
}

/* -- Power cuts ---------------------------------------------------------------------------------------------------- */

/* Offsets of the frames of kind `kind` ("BLCK", "mark") in a store. Returns how many. */
static size_t find_frames(const uint8_t *bytes, size_t size, const char *kind, size_t *offsets, size_t most)
{
    size_t count = 0;
    for (size_t at = 0; at + 40 <= size; at++)
        if (count < most && !memcmp(bytes + at + 8, "SSLD", 4) && !memcmp(bytes + at + 12, kind, 4) &&
            ssld_get_u64(bytes + at + 24) == at)
            offsets[count++] = at;
    return count;
}

/* A store of `before` records committed, then `after` records in blocks that no commit followed. */
static uint8_t *make_tail(ssld_context *context, const char *path, uint64_t before, uint64_t after, size_t *size)
{
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    uint64_t ids[18];
    for (uint64_t i = 0; i < 18; i++)
        ids[i] = i;
    options.view_spec = "v";
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    CHECK_OK(context, append_ids(context, writer, &small, ids, (int32_t)before));
    CHECK_OK(context, ssld_store_writer_commit(writer));
    if (after)
        CHECK_OK(context, append_ids(context, writer, &small, ids + before, (int32_t)after));
    CHECK_OK(context, ssld_writer_flush(writer));
    ssld_store_writer_abandon(writer);
    return load_file(path, size);
}

TEST(blocks_torn_by_a_power_cut_are_given_up_in_whatever_order_they_reached_the_disk)
{
    ssld_context *context = make_context();
    float *rows = expected_rows(&small);
    const char *path = fresh_path();
    size_t size, blocks[8];
    uint8_t *bytes = make_tail(context, path, 4, 12, &size);
    CHECK(find_frames(bytes, size, "BLCK", blocks, 8) == 4, "not four blocks");
    /* Of the three blocks behind the commit, any set was not written, wholly or from some byte on. */
    for (int lost = 1; lost < 8; lost++)
        for (int part = 0; part < 3; part++) {
            uint8_t *torn = malloc(size);
            memcpy(torn, bytes, size);
            int first = 3;
            for (int i = 2; i >= 0; i--)
                if (lost >> i & 1) {
                    size_t begin = blocks[i + 1], end = i < 2 ? blocks[i + 2] : size;
                    begin += part == 0 ? 0 : part == 1 ? 50 : end - begin - 9; /* whole, in its frame, in its payload */
                    memset(torn + begin, 0, end - begin);
                    first = i;
                }
            save_file(path, torn, size);
            ssld_store_writer_options options = writer_options(&small);
            ssld_store_writer *writer = NULL;
            options.view_spec = "v";
            options.mode = SSLD_STORE_RESUME;
            CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
            uint64_t records = ssld_store_writer_records(writer);
            CHECK(records == 4u + 4u * (unsigned)first, "lost %d part %d: %llu records kept", lost, part,
                  (unsigned long long)records);
            CHECK_OK(context, label_missing(context, writer, &small, 2, 1));
            CHECK_OK(context, ssld_store_writer_close(writer));
            check_complete(context, path, &small, rows);
            free(torn);
        }
    free(bytes);
    free(rows);
    ssld_context_destroy(context);
}

TEST(damage_before_committed_labels_is_reported_and_nothing_is_changed)
{
    ssld_context *context = make_context();
    float *rows = expected_rows(&small);
    const char *path = fresh_path();
    size_t size, blocks[8], marks[8];
    uint8_t *bytes = make_tail(context, path, 12, 4, &size);
    CHECK(find_frames(bytes, size, "BLCK", blocks, 8) == 4, "not four blocks");
    CHECK(find_frames(bytes, size, "mark", marks, 8) == 1, "not one mark");
    bytes[blocks[1] + 40] ^= 1; /* the frame of the second block, before the mark */
    save_file(path, bytes, size);
    char offset[64];
    snprintf(offset, sizeof offset, "offset %zu", blocks[1]);
    CHECK_STATUS(context, resume_and_complete(context, path, &small), SSLD_CORRUPT);
    CHECK_TEXT(context, offset);
    CHECK_TEXT(context, path);
    CHECK(file_is(path, bytes, size), "the file changed");
    /* A reader loses that block's four labels and no others. */
    ssld_store *store = NULL;
    int64_t missing, corrupt, right;
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    right = count_right(context, store, &small, rows, &missing, &corrupt);
    CHECK(right == 12 && corrupt == 6 && missing == 0, "%lld right, %lld corrupt, %lld missing", (long long)right,
          (long long)corrupt, (long long)missing); /* of the 6: 4 lost, 2 never labelled, which cannot be told */
    ssld_store_close(store);
    free(bytes);
    free(rows);
    ssld_context_destroy(context);
}

TEST(a_damaged_block_is_named_with_its_file_offset_sample_and_view)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_CREATE));
    size_t size, blocks[8];
    uint8_t *bytes = load_file(path, &size);
    CHECK(find_frames(bytes, size, "BLCK", blocks, 8) >= 3, "too few blocks");
    bytes[blocks[2] - 1] ^= 0x10; /* the end of a payload or of a mark */
    bytes[blocks[1] + 8 + ssld_get_u32(bytes + blocks[1] + 4) + 12] ^= 0x10; /* the payload of the second block */
    save_file(path, bytes, size);
    ssld_store *store = NULL;
    ssld_labels *labels = NULL;
    uint64_t sample = 5;
    uint32_t view = 0;
    char text[64];
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    CHECK_OK(context, ssld_labels_create(context, 1, 10, &labels));
    CHECK_STATUS(context, ssld_store_read_views(store, 1, &sample, &view, labels), SSLD_CORRUPT);
    snprintf(text, sizeof text, "offset %zu, which has sample 5, view 0", blocks[1]);
    CHECK_TEXT(context, path);
    CHECK_TEXT(context, text);
    CHECK(ssld_labels_kind(labels) == SSLD_LABELS_EMPTY, "labels were given");
    sample = 0;
    CHECK_OK(context, ssld_store_read_views(store, 1, &sample, &view, labels));
    ssld_store_close(store);
    ssld_labels_destroy(labels);
    free(bytes);
    ssld_context_destroy(context);
}

TEST(creation_interrupted_at_any_byte_is_begun_again)
{
    ssld_context *context = make_context();
    float *rows = expected_rows(&small);
    const char *path = fresh_path();
    ssld_store_writer_options options = writer_options(&small);
    ssld_store_writer *writer = NULL;
    options.view_spec = "v";
    CHECK_OK(context, ssld_store_writer_open(context, path, &options, &writer));
    ssld_store_writer_abandon(writer);
    size_t size;
    uint8_t *bytes = load_file(path, &size);
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *torn = calloc(1, size + 1);
        memcpy(torn, bytes, cut);
        save_file(path, torn, size); /* the size was kept, the bytes from `cut` on were not */
        CHECK_OK(context, resume_and_complete(context, path, &small));
        check_complete(context, path, &small, rows);
        free(torn);
    }
    free(bytes);
    free(rows);
    ssld_context_destroy(context);
}

/* -- No space ----------------------------------------------------------------------------------------------------- */

/* In a child whose files may not grow past `limit`: label until the space ends, then raise the limit and go on with the
 * same writer. Exits 0 if all went as promised, else with the number of what did not. */
static void label_without_space(const char *path, const struct plan *plan, rlim_t limit)
{
    ssld_context *context = NULL;
    ssld_store_writer *writer = NULL;
    ssld_store_writer_options options = writer_options(plan);
    struct rlimit space;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &space);
    space.rlim_cur = limit;
    if (ssld_context_create(NULL, &context) || setrlimit(RLIMIT_FSIZE, &space))
        _exit(10);
    options.mode = SSLD_STORE_RESUME;
    ssld_status status = ssld_store_writer_open(context, path, &options, &writer);
    if (status == SSLD_NO_SPACE) /* not even the header: no file is left */
        _exit(access(path, F_OK) ? 0 : 11);
    if (status)
        _exit(12);
    status = label_missing(context, writer, plan, 3, 2);
    bool full = status == SSLD_NO_SPACE;
    char text[512] = "";
    ssld_context_error(context, text, sizeof text);
    if ((status && !full) || (full && !strstr(text, path)))
        _exit(13);
    status = ssld_store_writer_commit(writer); /* what waits does not fit either, unless nothing waits */
    if (status && status != SSLD_NO_SPACE)
        _exit(17);
    /* The file is a sound store of what was written so far. */
    ssld_store *store = NULL;
    if (ssld_store_open(context, path, NULL, &store))
        _exit(14);
    ssld_store_close(store);
    space.rlim_cur = space.rlim_max;
    setrlimit(RLIMIT_FSIZE, &space);
    if (label_missing(context, writer, plan, 3, 2))
        _exit(15);
    _exit(ssld_store_writer_close(writer) ? 16 : 0);
}

TEST(a_full_disk_loses_nothing_and_labelling_goes_on)
{
    ssld_context *context = make_context();
    float *rows = expected_rows(&small);
    size_t size;
    const char *path = fresh_path();
    CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_CREATE));
    free(load_file(path, &size));
    for (rlim_t limit = 1; limit <= size; limit += 7) { /* 7 is prime to every frame's size: all kinds of places */
        int how;
        unlink(path);
        pid_t child = fork();
        CHECK(child >= 0, "no child");
        if (child == 0)
            label_without_space(path, &small, limit);
        waitpid(child, &how, 0);
        CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0, "limit %lu: exit %d", (unsigned long)limit,
              WIFEXITED(how) ? WEXITSTATUS(how) : -1);
        CHECK_OK(context, complete_store(context, path, &small, SSLD_STORE_RESUME));
        check_complete(context, path, &small, rows);
    }
    free(rows);
    ssld_context_destroy(context);
}

TEST(committed_labels_outlive_a_disk_that_stays_full)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    size_t size;
    free(make_tail(context, path, 12, 0, &size));
    pid_t child = fork();
    CHECK(child >= 0, "no child");
    if (child == 0) {
        struct rlimit space;
        ssld_store_writer *writer = NULL;
        ssld_store_writer_options options = writer_options(&small);
        options.view_spec = "v";
        options.mode = SSLD_STORE_RESUME;
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &space);
        space.rlim_cur = size + 10;
        if (setrlimit(RLIMIT_FSIZE, &space) || ssld_store_writer_open(context, path, &options, &writer))
            _exit(1);
        if (label_missing(context, writer, &small, 3, 1) != SSLD_NO_SPACE)
            _exit(2);
        _exit(ssld_store_writer_close(writer) == SSLD_NO_SPACE ? 0 : 3);
    }
    int how;
    waitpid(child, &how, 0);
    CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0, "exit %d", WIFEXITED(how) ? WEXITSTATUS(how) : -1);
    float *rows = expected_rows(&small);
    ssld_store *store = NULL;
    int64_t missing, corrupt, right;
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    right = count_right(context, store, &small, rows, &missing, &corrupt);
    CHECK(right == 12 && corrupt == 0, "%lld right, %lld corrupt", (long long)right, (long long)corrupt);
    ssld_store_close(store);
    free(rows);
    ssld_context_destroy(context);
}

/* -- Hostile files ------------------------------------------------------------------------------------------------ */

TEST(a_file_full_of_beginnings_of_frames_is_opened_in_bounded_time)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    size_t head, size = 4 << 20;
    free(make_tail(context, path, 4, 0, &head));
    uint8_t *bytes = load_file(path, &head), *large = calloc(1, size);
    memcpy(large, bytes, head);
    for (size_t at = head; at + 40 <= size; at += 40) { /* each claims to reach to the end of the file */
        ssld_put_u32(large + at, 0x184D2A5D);
        ssld_put_u32(large + at + 4, (uint32_t)(size - at - 8));
        memcpy(large + at + 8, "SSLDmark", 8);
        memcpy(large + at + 16, bytes + 8 + ssld_get_u32(bytes + 4) - 8, 8);
        ssld_put_u64(large + at + 24, at);
    }
    save_file(path, large, size);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    ssld_store *store = NULL;
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    CHECK(seconds < 5, "%g s; without a bound it is 200 GB of checksums", seconds);
    ssld_store_close(store);
    free(bytes);
    free(large);
    ssld_context_destroy(context);
}

TEST(a_view_stored_twice_is_not_believed)
{
    ssld_context *context = make_context();
    const char *path = fresh_path();
    size_t size, blocks[8];
    uint8_t *bytes = make_tail(context, path, 8, 0, &size);
    CHECK(find_frames(bytes, size, "BLCK", blocks, 8) == 2, "not two blocks");
    /* The second block's run begins at sample 4: let it claim samples 2 to 5, checksum and all. */
    uint8_t *frame = bytes + blocks[1];
    size_t frame_size = 8 + (size_t)ssld_get_u32(frame + 4);
    ssld_put_u64(frame + 72, 2);
    ssld_put_u64(frame + frame_size - 8, ssld_checksum(frame, frame_size - 8));
    save_file(path, bytes, size);
    ssld_store *store = NULL;
    CHECK_STATUS(context, ssld_store_open(context, path, NULL, &store), SSLD_CORRUPT);
    CHECK_TEXT(context, "stored twice");
    CHECK_STATUS(context, resume_and_complete(context, path, &small), SSLD_CORRUPT);
    CHECK_TEXT(context, "stored twice");
    CHECK(file_is(path, bytes, size), "the file changed");
    free(bytes);
    ssld_context_destroy(context);
}

TEST(the_folder_is_left_as_it_was)
{
    remove_folder();
    CHECK(access(test_folder, F_OK), "%s is not empty", test_folder);
}

TEST_MAIN(TEST_ROW(store_killed_at_random_moments_equals_one_made_in_one_go),
          TEST_ROW(merging_and_coding_anew_killed_at_random_moments_equal_those_done_in_one_go),
          TEST_ROW(store_cut_off_at_any_byte_gives_no_wrong_label_and_can_be_completed),
          TEST_ROW(no_flipped_bit_gives_a_wrong_label), TEST_ROW(a_store_with_a_flipped_bit_is_gone_on_with_or_refused_unchanged),
          TEST_ROW(blocks_torn_by_a_power_cut_are_given_up_in_whatever_order_they_reached_the_disk),
          TEST_ROW(damage_before_committed_labels_is_reported_and_nothing_is_changed),
          TEST_ROW(a_damaged_block_is_named_with_its_file_offset_sample_and_view),
          TEST_ROW(creation_interrupted_at_any_byte_is_begun_again), TEST_ROW(a_full_disk_loses_nothing_and_labelling_goes_on),
          TEST_ROW(committed_labels_outlive_a_disk_that_stays_full),
          TEST_ROW(a_file_full_of_beginnings_of_frames_is_opened_in_bounded_time), TEST_ROW(a_view_stored_twice_is_not_believed),
          TEST_ROW(the_folder_is_left_as_it_was))
