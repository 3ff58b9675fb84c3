/* SPDX-License-Identifier: BSD-2-Clause */
/* Who allocates memory in a training step. malloc and its relatives are this program's own here, so every allocation of the
 * process is seen, oneDNN's and OpenMP's too; the address it returns to tells whose it is. */
#define _GNU_SOURCE /* RTLD_NEXT, dladdr */
#include "fixture.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED

/* -- Seeing allocations ------------------------------------------------------------------------------------------- */

static atomic_bool counting;

/* Allocations by the library (or program) whose code asked for them. */
#define MOST_MODULES 32

static struct module {
    _Atomic(const void *) base;
    atomic_int            count;
    const char           *path;
} modules[MOST_MODULES];

/* The next definition of a function: the C library's. A pointer to data is not one to a function in C, hence memcpy. */
static void find_next(const char *name, void *function)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

static void see(const void *from)
{
    Dl_info info = { 0 };
    if (!counting)
        return;
    dladdr(from, &info);
    for (int i = 0; i < MOST_MODULES; i++) {
        const void *nobody = NULL;
        if (atomic_compare_exchange_strong(&modules[i].base, &nobody, info.dli_fbase))
            modules[i].path = info.dli_fname;
        if (modules[i].base != info.dli_fbase)
            continue;
        modules[i].count++;
        return;
    }
}

static void start_counting(void)
{
    for (int i = 0; i < MOST_MODULES; i++)
        modules[i].count = 0;
    counting = true;
}

/* Each finds the C library's on its first call, before any thread has been started. */
#define NEXT(result, name, ...)                          \
    static result (*next)(__VA_ARGS__);                  \
    if (!next)                                           \
        find_next(#name, &next);                         \
    see(__builtin_return_address(0))

void *malloc(size_t size)
{
    NEXT(void *, malloc, size_t);
    return next(size);
}

void *realloc(void *memory, size_t size)
{
    NEXT(void *, realloc, void *, size_t);
    return next(memory, size);
}

/* dlsym itself may ask for zeroed memory. */
void *calloc(size_t count, size_t size)
{
    static _Alignas(64) char first[4096];
    static size_t used;
    static bool searching, found;
    if (searching) {
        void *memory = first + used;
        used += (count * size + 63) / 64 * 64;
        return used <= sizeof first ? memory : NULL;
    }
    searching = !found;
    NEXT(void *, calloc, size_t, size_t);
    searching = false;
    found = true;
    return next(count, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    NEXT(int, posix_memalign, void **, size_t, size_t);
    return next(memory, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    NEXT(void *, aligned_alloc, size_t, size_t);
    return next(alignment, size);
}

/* -- Steps -------------------------------------------------------------------------------------------------------- */

/* A step behind two that warmed up is counted. False if this CPU has no such precision. */
static bool count_step(struct fixture *f, const ssld_student_options *options)
{
    ssld_student *student = NULL;
    ssld_step step = { .struct_size = sizeof step };
    ssld_status status = ssld_student_create(f->context, f->model, options, &student);
    if (status == SSLD_UNSUPPORTED)
        return false;
    CHECK_OK(f->context, status);
    for (int i = 0; i < 2; i++)
        CHECK_OK(f->context, ssld_student_step(student, f->batch, f->labels, &step));
    start_counting();
    status = ssld_student_step(student, f->batch, f->labels, &step);
    counting = false;
    CHECK_OK(f->context, status);
    ssld_student_destroy(student);
    return true;
}

/* oneDNN 2.6 makes a table of arguments whenever a primitive runs, with C++'s operator new. */
static bool may_allocate(const char *path)
{
    static const char *const names[] = { "libdnnl", "libstdc++", "libc++", "libgomp", "libomp" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (path && strstr(path, names[i]))
            return true;
    return false;
}

TEST(allocations_are_seen)
{
    Dl_info info = { 0 };
    int seen = 0;
    CHECK(dladdr(&modules, &info), "the program does not know where it is");
    start_counting();
    void *volatile memory = malloc(10);
    void *volatile aligned = aligned_alloc(64, 64);
    memory = realloc(memory, 100000);
    void *volatile zeros = calloc(3, 7);
    counting = false;
    for (int i = 0; i < MOST_MODULES; i++)
        seen += modules[i].base == info.dli_fbase ? modules[i].count : 0;
    free(memory);
    free(aligned);
    free(zeros);
    CHECK(seen == 4, "%d of 4 allocations were seen", seen);
}

/* libssld is linked into this program, so its allocations are the program's, or the C library's on its behalf. */
TEST(libssld_allocates_nothing_in_a_step)
{
    static const struct {
        int32_t precision, optimizer;
    } cases[] = {
        { SSLD_PRECISION_F32, SSLD_OPTIMIZER_SGD },
        { SSLD_PRECISION_F32, SSLD_OPTIMIZER_ADAMW },
        { SSLD_PRECISION_F32, SSLD_OPTIMIZER_LARS },
        { SSLD_PRECISION_BF16, SSLD_OPTIMIZER_SGD },
    };
    struct fixture f;
    setup(&f, NULL);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        ssld_student_options options;
        ssld_student_options_init(&options, sizeof options);
        options.batch = BATCH;
        options.optimizer = cases[c].optimizer;
        options.precision = cases[c].precision;
        options.ema_decay = 0.9f;
        options.clip_norm = 1;
        options.accumulate = 2;
        if (!count_step(&f, &options))
            continue;
        for (int i = 0; i < MOST_MODULES && modules[i].base; i++) {
            CHECK(may_allocate(modules[i].path) || !modules[i].count, "%s allocated %d times (precision %d, optimizer %d)",
                  modules[i].path, modules[i].count, cases[c].precision, cases[c].optimizer);
            if (modules[i].count)
                printf("# precision %d, optimizer %d: %s allocated %d times\n", cases[c].precision, cases[c].optimizer,
                       modules[i].path, modules[i].count);
        }
    }
    teardown(&f);
}

TEST_MAIN(TEST_ROW(allocations_are_seen), TEST_ROW(libssld_allocates_nothing_in_a_step))

#else

TEST(libssld_allocates_nothing_in_a_step)
{
    SKIP("a sanitizer has taken malloc");
}

TEST_MAIN(TEST_ROW(libssld_allocates_nothing_in_a_step))

#endif
