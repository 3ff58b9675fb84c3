/* SPDX-License-Identifier: BSD-2-Clause */
/* cache.c - a table with a pointer for each sample, set once and never changed: readers take no lock.
 *
 * What is kept never leaves, so a data set that does not fit is kept in part, and that part is not read again. Pixels spare
 * decoding, contents only reading: which of them, the first samples tell by how much larger they become. */
#include "data/cache.h"

#include <stdatomic.h>
#include <string.h>

#define PROBES 16

struct kept {
    uint8_t *bytes;
    size_t   size;
    int32_t  height, width; /* of pixels; 0: a file's content */
};

struct ssld_cache {
    ssld_context           *context;
    uint64_t                count;
    uint64_t                limit;
    uint64_t                all_encoded; /* bytes of all files, 0: not known */
    atomic_int              kind;        /* SSLD_CACHE_x: AUTO until enough samples have been seen */
    atomic_uint_fast64_t    used, samples;
    atomic_uint_fast64_t    probed, probed_encoded, probed_decoded;
    _Atomic(struct kept *) *table; /* (count) */
};

struct ssld_cache *ssld_cache_create(ssld_context *context, const ssld_dataset *dataset, uint64_t bytes, int32_t kind)
{
    struct ssld_cache *cache = ssld_alloc_zero(context, 1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->context = context;
    cache->count = dataset->count;
    cache->limit = bytes;
    atomic_init(&cache->kind, kind);
    for (uint64_t i = 0; dataset->sizes && i < dataset->count; i++)
        cache->all_encoded += dataset->sizes[i];
    cache->table = ssld_alloc_zero(context, (size_t)dataset->count, sizeof *cache->table);
    if (!cache->table) {
        ssld_free(context, cache);
        return NULL;
    }
    return cache;
}

void ssld_cache_destroy(struct ssld_cache *cache)
{
    if (!cache)
        return;
    for (uint64_t i = 0; i < cache->count; i++) {
        struct kept *kept = atomic_load(&cache->table[i]);
        if (kept)
            ssld_free(cache->context, kept->bytes);
        ssld_free(cache->context, kept);
    }
    ssld_free(cache->context, cache->table);
    ssld_free(cache->context, cache);
}

void ssld_cache_count(const struct ssld_cache *cache, uint64_t *samples, uint64_t *bytes)
{
    *samples = cache ? atomic_load(&cache->samples) : 0;
    *bytes = cache ? atomic_load(&cache->used) : 0;
}

/* If all pixels will fit, at the rate of the samples seen: pixels. */
static void probe(struct ssld_cache *cache, size_t encoded, size_t decoded)
{
    uint64_t all_encoded = atomic_fetch_add(&cache->probed_encoded, encoded) + encoded;
    uint64_t all_decoded = atomic_fetch_add(&cache->probed_decoded, decoded) + decoded;
    uint64_t seen = atomic_fetch_add(&cache->probed, 1) + 1;
    if (seen < PROBES && seen < cache->count)
        return;
    double share = cache->all_encoded ? (double)cache->all_encoded / (double)all_encoded : (double)cache->count / (double)seen;
    int undecided = SSLD_CACHE_AUTO;
    atomic_compare_exchange_strong(&cache->kind, &undecided,
                                   (double)all_decoded * share <= (double)cache->limit ? SSLD_CACHE_PIXELS
                                                                                       : SSLD_CACHE_FILES);
}

/* Take the bytes over, which are the context's. False: there is no room, or another thread was first. */
static bool keep(struct ssld_cache *cache, uint64_t sample, uint8_t *bytes, size_t size, int32_t height, int32_t width)
{
    uint64_t whole = size + sizeof(struct kept);
    struct kept *none = NULL, *kept = NULL;
    if (atomic_fetch_add(&cache->used, whole) + whole <= cache->limit)
        kept = ssld_alloc(cache->context, sizeof *kept);
    if (kept) {
        *kept = (struct kept){ bytes, size, height, width };
        if (atomic_compare_exchange_strong(&cache->table[sample], &none, kept)) {
            atomic_fetch_add(&cache->samples, 1);
            return true;
        }
        ssld_free(cache->context, kept);
    }
    atomic_fetch_sub(&cache->used, whole);
    return false;
}

/* A file that cannot be decoded whole is given as it is: whether a view of it can be drawn is the renderer's to say. */
static void keep_pixels(struct ssld_cache *cache, uint64_t sample, struct sample_content *content, bool *kept)
{
    struct ssld_image image;
    struct ssld_fault unused;
    if (ssld_image_decode(cache->context, content->bytes, content->size, &image, &unused))
        return;
    size_t size = (size_t)image.height * image.stride;
    if (atomic_load(&cache->kind) == SSLD_CACHE_AUTO)
        probe(cache, content->size, size);
    *kept = keep(cache, sample, image.own, size, image.height, image.width);
    if (*kept)
        *content = (struct sample_content){ .bytes = image.own, .decoded = true,
                                            .image = { image.channels, image.height, image.width } };
    else
        ssld_image_free(cache->context, &image);
}

static void keep_file(struct ssld_cache *cache, uint64_t sample, const struct sample_content *content)
{
    if (atomic_load(&cache->used) + content->size > cache->limit)
        return;
    uint8_t *copy = ssld_alloc(cache->context, content->size);
    if (!copy)
        return;
    memcpy(copy, content->bytes, content->size);
    if (!keep(cache, sample, copy, content->size, 0, 0))
        ssld_free(cache->context, copy);
}

static void keep_content(struct ssld_cache *cache, const ssld_dataset *dataset, uint64_t sample,
                         struct sample_content *content, bool *kept)
{
    struct sample_content fetched = *content;
    if (atomic_load(&cache->kind) == SSLD_CACHE_FILES)
        keep_file(cache, sample, content);
    else if (atomic_load(&cache->used) < cache->limit)
        keep_pixels(cache, sample, content, kept);
    if (*kept)
        ssld_dataset_release(dataset, sample, &fetched);
}

ssld_status ssld_cache_fetch(struct ssld_cache *cache, const ssld_dataset *dataset, uint64_t sample,
                             struct read_buffer *buffer, struct sample_content *content, bool *kept,
                             struct ssld_fault *fault)
{
    const struct kept *found = cache ? atomic_load(&cache->table[sample]) : NULL;
    *kept = found != NULL;
    if (found) {
        *content = (struct sample_content){ .bytes = found->bytes, .size = found->height ? 0 : found->size,
                                            .decoded = found->height > 0, .image = { 3, found->height, found->width } };
        return SSLD_OK;
    }
    ssld_status status = dataset->source->fetch(dataset, sample, buffer, content, fault);
    if (!status && cache && !content->decoded)
        keep_content(cache, dataset, sample, content, kept);
    return status;
}
