/* SPDX-License-Identifier: BSD-2-Clause */
/* scratch.c - a rendering thread's memory, kept between images: allocating and touching it anew costs as much as resampling. */
#include "image/frame.h"

#include <pthread.h>

/* A scratch larger than this was made for an unusual image and is not kept. */
#define MOST_KEPT ((size_t)32 << 20)

struct ssld_pool {
    ssld_context        *context;
    pthread_mutex_t      lock; /* guards unused */
    struct ssld_scratch *unused;
};

static size_t size_of(const struct ssld_scratch *scratch)
{
    const struct ssld_resampler *resampler = &scratch->resampler;
    size_t size = scratch->decoded.size + scratch->upright.size + scratch->settled[0].size + scratch->settled[1].size +
                  scratch->floats.size;
    for (size_t i = 0; i < sizeof resampler->rooms / sizeof *resampler->rooms; i++)
        size += resampler->rooms[i].size;
    return size;
}

static void scratch_free(ssld_context *context, struct ssld_scratch *scratch)
{
    ssld_room_free(context, &scratch->decoded);
    ssld_room_free(context, &scratch->upright);
    ssld_room_free(context, &scratch->settled[0]);
    ssld_room_free(context, &scratch->settled[1]);
    ssld_room_free(context, &scratch->floats);
    ssld_resampler_free(context, &scratch->resampler);
    ssld_free(context, scratch);
}

struct ssld_pool *ssld_pool_create(ssld_context *context)
{
    struct ssld_pool *pool = ssld_alloc_zero(context, 1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->context = context;
    pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

struct ssld_scratch *ssld_pool_take(struct ssld_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct ssld_scratch *scratch = pool->unused;
    if (scratch)
        pool->unused = scratch->next;
    pthread_mutex_unlock(&pool->lock);
    return scratch ? scratch : ssld_alloc_zero(pool->context, 1, sizeof *scratch);
}

void ssld_pool_give(struct ssld_pool *pool, struct ssld_scratch *scratch)
{
    if (size_of(scratch) > MOST_KEPT) {
        scratch_free(pool->context, scratch);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    scratch->next = pool->unused;
    pool->unused = scratch;
    pthread_mutex_unlock(&pool->lock);
}

void ssld_pool_destroy(struct ssld_pool *pool)
{
    if (!pool)
        return;
    for (struct ssld_scratch *scratch = pool->unused, *next; scratch; scratch = next) {
        next = scratch->next;
        scratch_free(pool->context, scratch);
    }
    pthread_mutex_destroy(&pool->lock);
    ssld_free(pool->context, pool);
}
