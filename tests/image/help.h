/* SPDX-License-Identifier: BSD-2-Clause */
/* help.h - what the tests of images and of data share: contexts, an allocator that refuses, hashes of views. */
#ifndef SSLD_TESTS_IMAGE_HELP_H
#define SSLD_TESTS_IMAGE_HELP_H

#include "test.h"

#include <stdatomic.h>

#include "core/hash.h"

static inline ssld_context *make_context(void)
{
    ssld_context *context = NULL;
    ssld_status status = ssld_context_create(NULL, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    return context;
}

/* An allocator that refuses when `left` is used up, and counts what is out. Threads may share it. */
struct budget {
    atomic_int left;
    atomic_int out;
};

static inline void *budget_alloc(void *user, size_t size, size_t alignment)
{
    struct budget *budget = user;
    void *memory = atomic_fetch_sub(&budget->left, 1) > 0 ? aligned_alloc(alignment, size) : NULL;
    atomic_fetch_add(&budget->out, memory != NULL);
    return memory;
}

static inline void budget_free(void *user, void *memory)
{
    struct budget *budget = user;
    atomic_fetch_sub(&budget->out, 1);
    free(memory);
}

/* A context that gets `allowed` allocations beyond its own. */
static inline ssld_context *make_poor_context(struct budget *budget, int allowed)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.threads = 2;
    options.allocator = (ssld_allocator){ budget, budget_alloc, budget_free };
    atomic_init(&budget->left, 1);
    atomic_init(&budget->out, 0);
    ssld_status status = ssld_context_create(&options, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    atomic_store(&budget->left, allowed);
    return context;
}

static inline ssld_view_spec *parse(ssld_context *context, const char *text)
{
    ssld_view_spec *spec = NULL;
    CHECK_OK(context, ssld_view_spec_parse(context, text, &spec));
    return spec;
}

/* Of the floats' bits, so that it is the same on a big-endian machine. */
static inline uint64_t hash_floats(const float *floats, size_t count)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &floats[i], sizeof bits);
        uint8_t bytes[12];
        for (int b = 0; b < 8; b++)
            bytes[b] = (uint8_t)(hash >> 8 * b);
        for (int b = 0; b < 4; b++)
            bytes[8 + b] = (uint8_t)(bits >> 8 * b);
        hash = ssld_checksum(bytes, sizeof bytes);
    }
    return hash;
}

#endif
