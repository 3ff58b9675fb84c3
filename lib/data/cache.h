/* SPDX-License-Identifier: BSD-2-Clause */
/* cache.h - samples that stay in memory, as files' contents or as decoded pixels. */
#ifndef SSLD_LIB_DATA_CACHE_H
#define SSLD_LIB_DATA_CACHE_H

#include "data/dataset.h"
#include "ssld/loader.h"

struct ssld_cache;

/* `kind` is SSLD_CACHE_x. NULL: no memory for its table. */
struct ssld_cache *ssld_cache_create(ssld_context *context, const ssld_dataset *dataset, uint64_t bytes, int32_t kind);
void               ssld_cache_destroy(struct ssld_cache *cache); /* NULL is ignored */

/* A sample from the cache, where it stays valid, or else from the data set, and into the cache if there is room. Any number of
 * threads. *kept: the content is the cache's, and not to be released. `cache` may be NULL. */
ssld_status ssld_cache_fetch(struct ssld_cache *cache, const ssld_dataset *dataset, uint64_t sample,
                             struct read_buffer *buffer, struct sample_content *content, bool *kept,
                             struct ssld_fault *fault);

/* Samples and bytes in it. */
void ssld_cache_count(const struct ssld_cache *cache, uint64_t *samples, uint64_t *bytes);

#endif
