/* SPDX-License-Identifier: BSD-2-Clause */
/* Profiles of training steps: they add up, change nothing, and go away; the bare primitives' time. */
#include "fixture.h"

#include <stdbool.h>
#include <time.h>

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static ssld_student_options options_for(int32_t accumulate)
{
    ssld_student_options options;
    ssld_student_options_init(&options, sizeof options);
    options.batch = BATCH;
    options.accumulate = accumulate;
    options.learning_rate = 0.01f;
    options.seed = 3;
    return options;
}

static ssld_student *student_for(struct fixture *f, const ssld_student_options *options)
{
    ssld_student *student = NULL;
    CHECK_OK(f->context, ssld_student_create(f->context, f->model, options, &student));
    return student;
}

static void steps(struct fixture *f, ssld_student *student, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_OK(f->context, ssld_student_step(student, f->batch, f->labels, NULL));
}

#define MOST_ENTRIES 128

static int32_t read_entries(struct fixture *f, const ssld_student *student, ssld_profile_entry entries[MOST_ENTRIES])
{
    int32_t count = ssld_student_profile_count(student);
    CHECK(count <= MOST_ENTRIES, "%d entries", count);
    for (int32_t i = 0; i < count; i++) {
        memset(&entries[i], 0, sizeof entries[i]);
        entries[i].struct_size = sizeof entries[i];
        CHECK_OK(f->context, ssld_student_profile_entry(student, i, &entries[i]));
    }
    return count;
}

/* The entry of a name, direction and stage; ends the test if there is none. */
static const ssld_profile_entry *find(const ssld_profile_entry *entries, int32_t count, const char *name,
                                      const char *direction, int32_t stage)
{
    for (int32_t i = 0; i < count; i++)
        if (!strcmp(entries[i].name, name) && !strcmp(entries[i].direction, direction) && entries[i].stage == stage)
            return &entries[i];
    CHECK(false, "no entry %s, %s, stage %d", name, direction, stage);
    return NULL;
}

/* What every convolutional student has. */
static const struct {
    const char *name, *direction;
    int32_t stage;
} expected[] = {
    { "Conv", "forward", SSLD_STAGE_FORWARD },
    { "Conv", "backward data", SSLD_STAGE_BACKWARD },
    { "Conv", "backward weights", SSLD_STAGE_BACKWARD },
    { "Gemm", "forward", SSLD_STAGE_FORWARD },
    { "Gemm", "backward data", SSLD_STAGE_BACKWARD },
    { "Gemm", "backward weights", SSLD_STAGE_BACKWARD },
    { "BatchNormalization", "moments", SSLD_STAGE_FORWARD },
    { "BatchNormalization", "forward", SSLD_STAGE_FORWARD },
    { "BatchNormalization", "forward again", SSLD_STAGE_BACKWARD },
    { "BatchNormalization", "sums", SSLD_STAGE_BACKWARD },
    { "BatchNormalization", "backward", SSLD_STAGE_BACKWARD },
    { "Mul", "backward", SSLD_STAGE_BACKWARD },
    { "Rest", "forward", SSLD_STAGE_FORWARD },
    { "Rest", "backward", SSLD_STAGE_BACKWARD },
    { "Loss", "loss", SSLD_STAGE_BACKWARD },
    { "Optimizer", "update", SSLD_STAGE_UPDATE },
};

TEST(entries_add_up_to_the_step)
{
    enum { STEPS = 5 };
    struct fixture f;
    ssld_profile_entry entries[MOST_ENTRIES];
    setup(&f, NULL);
    ssld_student_options options = options_for(1);
    ssld_student *student = student_for(&f, &options);
    steps(&f, student, 2);
    ssld_student_profile_begin(student);
    double before = milliseconds();
    steps(&f, student, STEPS);
    double wall = (milliseconds() - before) / STEPS, sum = 0;
    int32_t count = read_entries(&f, student, entries);
    for (int32_t i = 0; i < count; i++) {
        CHECK(entries[i].milliseconds >= 0 && entries[i].calls > 0 && entries[i].bytes >= 0, "%s, %s: %g ms, %lld calls",
              entries[i].name, entries[i].direction, entries[i].milliseconds, (long long)entries[i].calls);
        sum += entries[i].milliseconds;
    }
    /* Only the labels' first check and the counting of top-1 are outside, which are nothing beside convolutions; but another
     * process may come in between. */
    CHECK(sum <= wall && sum > 0.5 * wall, "%g ms in all entries, a step takes %g", sum, wall);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        find(entries, count, expected[i].name, expected[i].direction, expected[i].stage);
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(operations_are_those_of_the_model)
{
    struct fixture f;
    ssld_profile_entry entries[MOST_ENTRIES], parts[MOST_ENTRIES];
    ssld_model_info info = { .struct_size = sizeof info };
    double passes[3] = { 0 };
    static const char *const directions[3] = { "forward", "backward data", "backward weights" };
    setup(&f, NULL);
    CHECK_OK(f.context, ssld_model_get_info(f.model, &info));
    ssld_student_options options = options_for(1), halves = options_for(2);
    ssld_student *student = student_for(&f, &options), *divided = student_for(&f, &halves);
    ssld_student_profile_begin(student);
    ssld_student_profile_begin(divided);
    steps(&f, student, 1);
    steps(&f, divided, 3);
    int32_t count = read_entries(&f, student, entries), parts_count = read_entries(&f, divided, parts);
    double whole = 2e-9 * (double)info.macs * BATCH;
    for (int32_t i = 0; i < count; i++)
        for (int d = 0; d < 3; d++)
            if (!strcmp(entries[i].direction, directions[d]))
                passes[d] += entries[i].gflop;
    /* Sums of products of whole numbers below 2^53, scaled: equal but for the scaling's rounding. */
    CHECK(fabs(passes[0] - whole) < 1e-9 * whole && fabs(passes[2] - whole) < 1e-9 * whole,
          "forward %.9g, backward weights %.9g, the model %.9g GFLOP", passes[0], passes[2], whole);
    CHECK(passes[1] > 0 && passes[1] < whole, "backward data %.9g GFLOP: the pixels' gradient is not wanted", passes[1]);
    CHECK(count == parts_count, "%d entries, %d in parts", count, parts_count);
    for (int32_t i = 0; i < count; i++) {
        double difference = fabs(entries[i].gflop - parts[i].gflop);
        CHECK(difference <= 1e-9 * entries[i].gflop, "%s, %s: %g GFLOP, %g in parts", entries[i].name, entries[i].direction,
              entries[i].gflop, parts[i].gflop);
        CHECK(entries[i].bytes <= parts[i].bytes && 2 * entries[i].bytes >= parts[i].bytes,
              "%s, %s: %lld bytes, %lld in two parts", entries[i].name, entries[i].direction, (long long)entries[i].bytes,
              (long long)parts[i].bytes);
    }
    const ssld_profile_entry *loss = find(entries, count, "Loss", "loss", SSLD_STAGE_BACKWARD);
    CHECK(parts[loss - entries].calls == 2 * loss->calls, "the loss of two parts is called %lld times",
          (long long)parts[loss - entries].calls);
    ssld_student_destroy(student);
    ssld_student_destroy(divided);
    teardown(&f);
}

TEST(bfloat16_moves_fewer_bytes)
{
    struct fixture f;
    ssld_profile_entry single[MOST_ENTRIES], half[MOST_ENTRIES];
    setup(&f, NULL);
    ssld_student *other = NULL;
    ssld_student_options options = options_for(1);
    ssld_student *student = student_for(&f, &options);
    options.precision = SSLD_PRECISION_BF16;
    ssld_status status = ssld_student_create(f.context, f.model, &options, &other);
    CHECK(ssld_student_precision(student) == SSLD_PRECISION_F32, "the default is not f32");
    if (status == SSLD_UNSUPPORTED) {
        ssld_student_destroy(student);
        teardown(&f);
        SKIP("no bf16 on this CPU");
    }
    CHECK_OK(f.context, status);
    CHECK(ssld_student_precision(other) == SSLD_PRECISION_BF16, "bf16 was asked for, %d given", ssld_student_precision(other));
    ssld_student_profile_begin(student);
    ssld_student_profile_begin(other);
    steps(&f, student, 1);
    steps(&f, other, 1);
    int32_t count = read_entries(&f, student, single), other_count = read_entries(&f, other, half);
    int64_t all = find(single, count, "BatchNormalization", "moments", SSLD_STAGE_FORWARD)->bytes;
    int64_t halved = find(half, other_count, "BatchNormalization", "moments", SSLD_STAGE_FORWARD)->bytes;
    CHECK(all == 2 * halved, "moments read %lld bytes in f32, %lld in bf16", (long long)all, (long long)halved);
    ssld_student_destroy(student);
    ssld_student_destroy(other);
    teardown(&f);
}

TEST(profiling_changes_no_result_and_leaves_nothing)
{
    struct fixture f;
    float plain[BATCH * CLASSES], profiled[BATCH * CLASSES];
    double unused = 0;
    setup(&f, NULL);
    ssld_student_options options = options_for(1);
    ssld_student *student = student_for(&f, &options), *watched = student_for(&f, &options);
    steps(&f, student, 3);
    steps(&f, watched, 1);
    ssld_student_profile_begin(watched);
    CHECK(ssld_student_profile_count(watched) == 0, "entries before a step");
    steps(&f, watched, 1);
    CHECK(ssld_student_profile_count(watched) > 0, "no entries after a step");
    CHECK_OK(f.context, ssld_student_measure_primitives(watched, 1, &unused));
    ssld_student_profile_end(watched);
    CHECK(ssld_student_profile_count(watched) == 0, "entries are left");
    steps(&f, watched, 1);
    CHECK(ssld_student_profile_count(watched) == 0, "a step was counted after the end");
    CHECK_OK(f.context, ssld_student_forward(student, f.batch, plain));
    CHECK_OK(f.context, ssld_student_forward(watched, f.batch, profiled));
    CHECK(!memcmp(plain, profiled, sizeof plain), "logits differ: %.9g, %.9g", (double)plain[0], (double)profiled[0]);
    ssld_student_profile_begin(watched);
    steps(&f, watched, 1);
    ssld_profile_entry before[MOST_ENTRIES], after[MOST_ENTRIES];
    int32_t count = read_entries(&f, watched, before);
    steps(&f, watched, 9);
    CHECK(read_entries(&f, watched, after) == count, "entries came or went");
    for (int32_t i = 0; i < count; i++)
        CHECK(before[i].calls == after[i].calls && before[i].bytes == after[i].bytes, "%s, %s: not the same in every step",
              before[i].name, before[i].direction);
    ssld_student_destroy(student);
    ssld_student_destroy(watched);
    teardown(&f);
}

TEST(entries_that_are_not_there_are_refused)
{
    struct fixture f;
    ssld_profile_entry entry = { .struct_size = sizeof entry, .name = "untouched" };
    setup(&f, NULL);
    ssld_student_options options = options_for(1);
    ssld_student *student = student_for(&f, &options);
    CHECK_STATUS(f.context, ssld_student_profile_entry(student, 0, &entry), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "begin, and train a step before");
    ssld_student_profile_begin(student);
    CHECK_STATUS(f.context, ssld_student_profile_entry(student, 0, &entry), SSLD_INVALID_ARGUMENT);
    steps(&f, student, 1);
    int32_t count = ssld_student_profile_count(student);
    const int32_t wrong[] = { -1, count, count + 1, INT32_MAX };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_STATUS(f.context, ssld_student_profile_entry(student, wrong[i], &entry), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(f.context, "there are");
    }
    CHECK(!strcmp(entry.name, "untouched"), "written on failure: %s", entry.name);
    entry.struct_size = 0;
    CHECK_STATUS(f.context, ssld_student_profile_entry(student, 0, &entry), SSLD_INVALID_ARGUMENT);
    entry.struct_size = offsetof(ssld_profile_entry, direction);
    entry.direction = "untouched";
    CHECK_OK(f.context, ssld_student_profile_entry(student, 0, &entry));
    CHECK(strcmp(entry.name, "untouched") != 0 && !strcmp(entry.direction, "untouched"), "a shorter struct was not respected");
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(primitives_take_time_and_wrong_repeats_are_refused)
{
    struct fixture f;
    double one = -1, halves = -1;
    setup(&f, NULL);
    ssld_student_options options = options_for(1), two = options_for(2);
    ssld_student *student = student_for(&f, &options), *divided = student_for(&f, &two);
    CHECK_STATUS(f.context, ssld_student_measure_primitives(student, 0, &one), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "0 repeats, it takes 1 to 100");
    CHECK_STATUS(f.context, ssld_student_measure_primitives(student, 101, &one), SSLD_INVALID_ARGUMENT);
    ssld_context_cancel(f.context);
    CHECK_STATUS(f.context, ssld_student_measure_primitives(student, 1, &one), SSLD_CANCELLED);
    ssld_context_resume(f.context);
    CHECK(one == -1, "written on failure: %g", one);
    CHECK_OK(f.context, ssld_student_measure_primitives(student, 3, &one));
    CHECK_OK(f.context, ssld_student_measure_primitives(divided, 3, &halves));
    CHECK(one > 0 && halves > 0, "%g ms, %g ms in parts", one, halves);
    ssld_student_destroy(student);
    ssld_student_destroy(divided);
    teardown(&f);
}

/* What is measured alone must be what a step runs: not, for example, a loop without generated code where the step has found a
 * way around it, which takes hundreds of times as long. One thread, so that no thread waits for one that is not running. */
TEST(primitives_are_those_of_a_step)
{
    static const int32_t precisions[] = { SSLD_PRECISION_F32, SSLD_PRECISION_BF16 };
    struct fixture f;
    setup(&f, NULL);
    for (size_t p = 0; p < sizeof precisions / sizeof precisions[0]; p++) {
        ssld_student *student = NULL;
        double slowest = 0, alone = INFINITY;
        ssld_student_options options = options_for(1);
        options.threads = 1;
        options.precision = precisions[p];
        if (ssld_student_create(f.context, f.model, &options, &student) == SSLD_UNSUPPORTED)
            continue;
        for (int i = 0; i < 5; i++) {
            double before = milliseconds(), measured = 0;
            steps(&f, student, 1);
            slowest = fmax(slowest, milliseconds() - before);
            CHECK_OK(f.context, ssld_student_measure_primitives(student, 3, &measured));
            alone = fmin(alone, measured);
        }
        /* Alone they work on the batch at once, with other blocking: as long as the whole step is too long. */
        CHECK(alone < slowest, "precision %d: %g ms alone, a step takes %g", precisions[p], alone, slowest);
        ssld_student_destroy(student);
    }
    teardown(&f);
}

/* The k-th allocation fails, for all k; the student trains on as if nothing had been. */
TEST(every_allocation_of_a_measurement_may_fail)
{
    struct fixture f;
    int left = 1 << 20, refused = 0;
    ssld_context_options rich;
    double time = 0;
    ssld_context_options_init(&rich, sizeof rich);
    rich.allocator = test_allocator(&left);
    setup(&f, &rich);
    ssld_student_options options = options_for(1);
    ssld_student *student = student_for(&f, &options);
    ssld_status status = SSLD_OUT_OF_MEMORY;
    /* A layer has some twenty allocations, and layers are alike: all of the first ones, then one in 37 of the rest. */
    for (int k = 0; status == SSLD_OUT_OF_MEMORY; k += k < 60 ? 1 : 37) {
        left = k;
        status = ssld_student_measure_primitives(student, 1, &time);
        CHECK(status == SSLD_OK || (status == SSLD_OUT_OF_MEMORY && time == 0), "allocation %d: %s, %g ms", k,
              ssld_status_name(status), time);
        refused += status != SSLD_OK;
    }
    left = 1 << 20;
    CHECK(refused > 60 && time > 0, "%d allocations were refused", refused);
    steps(&f, student, 1);
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(instructions_have_a_name)
{
    char whole[64] = "", cut[4] = "???";
    size_t length = ssld_isa(whole, sizeof whole);
    CHECK(length > 0 && length == strlen(whole), "%zu: '%s'", length, whole);
    CHECK(ssld_isa(cut, sizeof cut) == length && strlen(cut) == 3 && !strncmp(cut, whole, 3), "cut to '%s'", cut);
    CHECK(ssld_isa(NULL, 0) == length, "the length of nothing");
}

TEST_MAIN(TEST_ROW(entries_add_up_to_the_step), TEST_ROW(operations_are_those_of_the_model),
          TEST_ROW(bfloat16_moves_fewer_bytes), TEST_ROW(profiling_changes_no_result_and_leaves_nothing),
          TEST_ROW(entries_that_are_not_there_are_refused), TEST_ROW(primitives_take_time_and_wrong_repeats_are_refused),
          TEST_ROW(primitives_are_those_of_a_step),
          TEST_ROW(every_allocation_of_a_measurement_may_fail), TEST_ROW(instructions_have_a_name))
