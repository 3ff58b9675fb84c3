/* SPDX-License-Identifier: BSD-2-Clause */
/* test.h - the whole test harness: a test states a promise in its name; a program of tests prints TAP.
 *
 *   TEST(store_survives_truncation) { CHECK(status == SSLD_OK, "status %d", status); }
 *   TEST_MAIN(TEST_ROW(store_survives_truncation))
 */
#ifndef SSLD_TESTS_TEST_H
#define SSLD_TESTS_TEST_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ssld/ssld.h"

struct test {
    const char *name;
    void (*run)(void);
};

static jmp_buf test_end;
static int test_outcome; /* 0 passed, 1 failed, 2 skipped */
static char test_text[2048];

#define TEST(name) static void test_##name(void)
#define TEST_ROW(name) { #name, test_##name }

/* End the test as failed unless `condition`; the rest is a printf that says what differed. */
#define CHECK(condition, ...)                                                                             \
    do {                                                                                                  \
        if (!(condition)) {                                                                               \
            int test_length = snprintf(test_text, sizeof test_text, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            snprintf(test_text + test_length, sizeof test_text - (size_t)test_length, __VA_ARGS__);       \
            test_outcome = 1;                                                                             \
            longjmp(test_end, 1);                                                                         \
        }                                                                                                 \
    } while (0)

/* End the test as failed unless `call` returns `expected`; prints the context's text. */
#define CHECK_STATUS(context, call, expected)                                                             \
    do {                                                                                                  \
        ssld_status test_status = (call);                                                                 \
        char test_error[1024] = "";                                                                       \
        if (test_status != (expected) && (context))                                                       \
            ssld_context_error((context), test_error, sizeof test_error);                                 \
        CHECK(test_status == (expected), "returned %s: %s", ssld_status_name(test_status), test_error);   \
    } while (0)
#define CHECK_OK(context, call) CHECK_STATUS(context, call, SSLD_OK)

/* End the test as failed unless the context's last text contains `part`. */
#define CHECK_TEXT(context, part)                                                                         \
    do {                                                                                                  \
        char test_error[1024] = "";                                                                       \
        ssld_context_error((context), test_error, sizeof test_error);                                     \
        CHECK(strstr(test_error, (part)), "the text is: %s", test_error);                                 \
    } while (0)

#define SKIP(...)                                                                                         \
    do {                                                                                                  \
        snprintf(test_text, sizeof test_text, __VA_ARGS__);                                               \
        test_outcome = 2;                                                                                 \
        longjmp(test_end, 1);                                                                             \
    } while (0)

/* An allocator that fails once *left calls have been given memory: `options.allocator = test_allocator(&left)`. */
static inline void *test_refuse(void *user, size_t size, size_t alignment)
{
    int *left = user;
    return (*left)-- > 0 ? aligned_alloc(alignment, size) : NULL;
}

static inline void test_give_back(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static inline ssld_allocator test_allocator(int *left)
{
    return (ssld_allocator){ left, test_refuse, test_give_back };
}

static inline void test_run(const struct test *test)
{
    test_outcome = 0;
    if (!setjmp(test_end))
        test->run();
}

static inline int test_run_all(const struct test *tests, size_t count, int argc, char **argv)
{
    int failed = 0;
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && !strstr(tests[i].name, argv[1])) {
            printf("ok %zu - %s # SKIP not asked for\n", i + 1, tests[i].name);
            continue;
        }
        test_run(&tests[i]);
        if (test_outcome == 1)
            printf("# %s\nnot ok %zu - %s\n", test_text, i + 1, tests[i].name);
        else if (test_outcome == 2)
            printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].name, test_text);
        else
            printf("ok %zu - %s\n", i + 1, tests[i].name);
        fflush(stdout);
        failed += test_outcome == 1;
    }
    return failed != 0;
}

/* The rows of all tests of the program. An argument runs only the tests whose name contains it. */
#define TEST_MAIN(...)                                                                                    \
    int main(int argc, char **argv)                                                                       \
    {                                                                                                     \
        static const struct test tests[] = { __VA_ARGS__ };                                               \
        return test_run_all(tests, sizeof tests / sizeof tests[0], argc, argv);                           \
    }

#endif
