/* SPDX-License-Identifier: BSD-2-Clause */
/* Checkpoints: what is read is what was written, or nothing is. */
#include "test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/context.h"
#include "distill/checkpoint.h"

#define TENSORS 3

static float conv[6] = { 1, -2.5f, 3e-38f, 2e38f, 0, -0.0f }, shift[1] = { 0.125f };
static const struct ssld_checkpoint_tensor written[TENSORS] = {
    { "weights/conv1.weight", 6, conv }, { "momentum/x", 0, conv }, { "buffers/bn1.shift", 1, shift }
};

static char folder[64], path[80];
static ssld_context *context;

static void set_up(void)
{
    strcpy(folder, "/tmp/ssld-test-XXXXXX");
    CHECK(mkdtemp(folder), "no folder");
    snprintf(path, sizeof path, "%s/state.ckpt", folder);
    CHECK(ssld_context_create(NULL, &context) == SSLD_OK, "no context");
}

static void tear_down(void)
{
    unlink(path);
    rmdir(folder);
    ssld_context_destroy(context);
}

/* The file's bytes; the caller frees them. */
static unsigned char *slurp(size_t *size)
{
    FILE *file = fopen(path, "rb");
    CHECK(file, "%s cannot be read", path);
    struct stat info;
    fstat(fileno(file), &info);
    *size = (size_t)info.st_size;
    unsigned char *bytes = malloc(*size);
    size_t got = fread(bytes, 1, *size, file);
    fclose(file);
    CHECK(got == *size, "read %zu of %zu bytes", got, *size);
    return bytes;
}

static void spill(const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file, "%s cannot be written", path);
    size_t put = fwrite(bytes, 1, size, file);
    CHECK(fclose(file) == 0 && put == size, "wrote %zu of %zu bytes", put, size);
}

/* Room to read into, filled with what a checkpoint does not have. */
static float read_conv[6], read_shift[1];
static const struct ssld_checkpoint_tensor wanted[TENSORS] = {
    { "weights/conv1.weight", 6, read_conv }, { "momentum/x", 0, read_conv }, { "buffers/bn1.shift", 1, read_shift }
};
static uint64_t step;

static void forget(void)
{
    for (int i = 0; i < 6; i++)
        read_conv[i] = 42;
    read_shift[0] = 42;
    step = 42;
}

static bool untouched(void)
{
    for (int i = 0; i < 6; i++)
        if (read_conv[i] != 42)
            return false;
    return read_shift[0] == 42 && step == 42;
}

TEST(checkpoint_reads_back_bit_for_bit)
{
    set_up();
    forget();
    CHECK_OK(context, ssld_checkpoint_write(context, path, 0x123456789abcu, TENSORS, written));
    CHECK_OK(context, ssld_checkpoint_read(context, path, &step, TENSORS, wanted));
    CHECK(step == 0x123456789abcu, "step %llx", (unsigned long long)step);
    CHECK(!memcmp(read_conv, conv, sizeof conv) && !memcmp(read_shift, shift, sizeof shift), "values differ");
    tear_down();
}

/* The bytes of docs/checkpoint-format.md's example, so that files of this version stay readable. */
TEST(checkpoint_has_the_documented_bytes)
{
    static float one[1] = { 1 };
    static const struct ssld_checkpoint_tensor example = { "w", 1, one };
    static const unsigned char head[] = {
        'S', 'S', 'L', 'D', 'C', 'K', 'P', 'T', 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
        72, 0, 0, 0, 0, 0, 0, 0, 76, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0
    };
    static const unsigned char name[] = { 1, 0, 0, 0, 'w', 0, 0, 0 }, data[] = { 0, 0, 0x80, 0x3f };
    size_t size;
    set_up();
    CHECK_OK(context, ssld_checkpoint_write(context, path, 7, 1, &example));
    unsigned char *bytes = slurp(&size);
    CHECK(size == 76, "%zu bytes", size);
    CHECK(!memcmp(bytes, head, sizeof head) && !memcmp(bytes + 56, name, sizeof name) && !memcmp(bytes + 72, data, sizeof data),
          "bytes differ");
    free(bytes);
    tear_down();
}

TEST(checkpoint_cut_off_anywhere_is_refused)
{
    size_t size;
    set_up();
    CHECK_OK(context, ssld_checkpoint_write(context, path, 9, TENSORS, written));
    unsigned char *bytes = slurp(&size);
    for (size_t length = 0; length < size; length++) {
        forget();
        spill(bytes, length);
        ssld_status status = ssld_checkpoint_read(context, path, &step, TENSORS, wanted);
        CHECK(status == (length ? SSLD_CORRUPT : SSLD_FORMAT), "%zu of %zu bytes: %s", length, size, ssld_status_name(status));
        CHECK_TEXT(context, path);
        CHECK(untouched(), "%zu of %zu bytes: something was written out", length, size);
    }
    forget();
    bytes = realloc(bytes, size + 1);
    bytes[size] = 0;
    spill(bytes, size + 1);
    CHECK_STATUS(context, ssld_checkpoint_read(context, path, &step, TENSORS, wanted), SSLD_CORRUPT);
    CHECK(untouched(), "a byte too many: something was written out");
    free(bytes);
    tear_down();
}

TEST(checkpoint_with_any_bit_flipped_is_refused)
{
    size_t size;
    set_up();
    CHECK_OK(context, ssld_checkpoint_write(context, path, 9, TENSORS, written));
    unsigned char *bytes = slurp(&size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        forget();
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        spill(bytes, size);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ssld_status status = ssld_checkpoint_read(context, path, &step, TENSORS, wanted);
        /* Magic and version say what the file is; the rest says that it is damaged. */
        CHECK(status == (bit < 8 * 12 ? SSLD_FORMAT : SSLD_CORRUPT), "bit %zu: %s", bit, ssld_status_name(status));
        CHECK(untouched(), "bit %zu: something was written out", bit);
    }
    free(bytes);
    tear_down();
}

TEST(checkpoint_of_another_network_is_named)
{
    static float other[8];
    static const struct {
        int32_t count;
        struct ssld_checkpoint_tensor tensors[TENSORS + 1];
        const char *text;
    } cases[] = {
        { 3, { { "weights/conv1.weight", 7, other }, { "momentum/x", 0, other }, { "buffers/bn1.shift", 1, other } },
          "'weights/conv1.weight' has 6 values, this one's 7" },
        { 3, { { "weights/conv1.weight", 6, other }, { "momentum/y", 0, other }, { "buffers/bn1.shift", 1, other } },
          "'momentum/x' where this one has 'momentum/y'" },
        { 2, { { "weights/conv1.weight", 6, other }, { "momentum/x", 0, other } }, "it also has 'buffers/bn1.shift'" },
        { 4, { { "weights/conv1.weight", 6, other }, { "momentum/x", 0, other }, { "buffers/bn1.shift", 1, other },
               { "buffers/new", 1, other } }, "it has no 'buffers/new'" },
    };
    set_up();
    CHECK_OK(context, ssld_checkpoint_write(context, path, 9, TENSORS, written));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        step = 42;
        CHECK_STATUS(context, ssld_checkpoint_read(context, path, &step, cases[i].count, cases[i].tensors), SSLD_MISMATCH);
        CHECK_TEXT(context, cases[i].text);
        CHECK_TEXT(context, path);
        for (int k = 0; k < 8; k++)
            CHECK(other[k] == 0 && step == 42, "case %zu: something was written out", i);
    }
    tear_down();
}

TEST(file_that_is_no_checkpoint_is_said)
{
    set_up();
    CHECK_STATUS(context, ssld_checkpoint_read(context, path, &step, TENSORS, wanted), SSLD_NOT_FOUND);
    CHECK_TEXT(context, path);
    spill((const unsigned char *)"# a list of images\n", 19);
    CHECK_STATUS(context, ssld_checkpoint_read(context, path, &step, TENSORS, wanted), SSLD_FORMAT);
    CHECK_TEXT(context, "not a checkpoint");
    tear_down();
}

TEST(checkpoint_replaces_the_old_one_or_leaves_it)
{
    static char longer[5000];
    set_up();
    CHECK_OK(context, ssld_checkpoint_write(context, path, 1, TENSORS, written));
    CHECK_OK(context, ssld_checkpoint_write(context, path, 2, TENSORS, written));
    memset(longer, 'n', sizeof longer - 1);
    struct ssld_checkpoint_tensor wrong = { longer, 6, conv };
    CHECK_STATUS(context, ssld_checkpoint_write(context, path, 3, 1, &wrong), SSLD_INVALID_ARGUMENT);
    CHECK_OK(context, ssld_checkpoint_read(context, path, &step, TENSORS, wanted));
    CHECK(step == 2, "step %d", (int)step);
    CHECK_STATUS(context, ssld_checkpoint_write(context, "/nowhere/at/all", 3, TENSORS, written), SSLD_NOT_FOUND);
    tear_down();
}

/* -- Memory that cannot be had ------------------------------------------------------------------------------------ */

static int allocations_left;

static void *refuse(void *user, size_t size, size_t alignment)
{
    (void)user;
    return allocations_left-- > 0 ? aligned_alloc(alignment, size) : NULL;
}

static void give_back(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static int entries_in(const char *name)
{
    int entries = 0;
    DIR *listing = opendir(name);
    while (listing && readdir(listing))
        entries++;
    closedir(listing);
    return entries;
}

TEST(every_allocation_may_fail)
{
    ssld_context *poor = NULL;
    ssld_context_options options;
    int refused = 0;
    set_up();
    ssld_context_options_init(&options, sizeof options);
    options.allocator = (ssld_allocator){ NULL, refuse, give_back };
    allocations_left = 1;
    CHECK(ssld_context_create(&options, &poor) == SSLD_OK, "no context");
    for (int allowed = 0;; allowed++) {
        allocations_left = allowed;
        ssld_status status = ssld_checkpoint_write(poor, path, 5, TENSORS, written);
        if (status == SSLD_OK)
            break;
        CHECK(status == SSLD_OUT_OF_MEMORY, "%d allocations: %s", allowed, ssld_status_name(status));
        CHECK(entries_in(folder) == 2, "%d allocations: a file was left", allowed);
        refused++;
    }
    CHECK(refused == 3, "%d allocations were refused", refused); /* the head and the replacement's two paths */
    allocations_left = 0;
    CHECK_OK(poor, ssld_checkpoint_read(poor, path, &step, TENSORS, wanted)); /* reading allocates nothing */
    ssld_context_destroy(poor);
    tear_down();
}

TEST_MAIN(TEST_ROW(checkpoint_reads_back_bit_for_bit), TEST_ROW(checkpoint_has_the_documented_bytes),
          TEST_ROW(checkpoint_cut_off_anywhere_is_refused), TEST_ROW(checkpoint_with_any_bit_flipped_is_refused),
          TEST_ROW(checkpoint_of_another_network_is_named), TEST_ROW(file_that_is_no_checkpoint_is_said),
          TEST_ROW(checkpoint_replaces_the_old_one_or_leaves_it), TEST_ROW(every_allocation_may_fail))
