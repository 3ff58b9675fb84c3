/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * batch.h - the pixels of N views with what is known of them: sample ids, view numbers, hard labels.
 *
 * Filled by a loader without a copy, or wrapped around a host's own memory without a copy.
 */
#ifndef SSLD_BATCH_H
#define SSLD_BATCH_H

#include "context.h"

SSLD_BEGIN_DECLS

typedef struct ssld_batch ssld_batch;

/**
 * An empty batch that a loader fills or a host wraps its memory with. Thread-safety: one thread at a time. Since 0.1.
 *
 * @return SSLD_OK; SSLD_OUT_OF_MEMORY.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_batch_create(ssld_context *context, ssld_batch **batch);

/**
 * Let the batch stand for the host's memory, without a copy: it is borrowed until the batch is wrapped or filled again
 * or destroyed.
 *
 * @param count     number of views, at least 1
 * @param shape     channels, height, width
 * @param pixels    count x channels x height x width floats, normalised as the network wants them
 * @param samples   count sample ids; NULL if the batch is not used with a store
 * @param views     count view numbers; NULL if the batch is not used with a store
 * @param labels    count classes, -1 for none; NULL if none is known
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_batch_wrap(ssld_batch *batch, int32_t count, const int32_t shape[3],
                                                    const float *pixels, const uint64_t *samples,
                                                    const uint32_t *views, const int32_t *labels);

SSLD_API int32_t ssld_batch_count(const ssld_batch *batch);              /**< views in it; 0 when empty */
SSLD_API void ssld_batch_shape(const ssld_batch *batch, int32_t shape[3]); /**< channels, height, width */
SSLD_API const float *ssld_batch_pixels(const ssld_batch *batch);        /**< (N, C, H, W) floats */
SSLD_API const uint64_t *ssld_batch_samples(const ssld_batch *batch);    /**< N sample ids, or NULL */
SSLD_API const uint32_t *ssld_batch_views(const ssld_batch *batch);      /**< N view numbers, or NULL */
SSLD_API const int32_t *ssld_batch_labels(const ssld_batch *batch);      /**< N classes or NULL; -1: none, mixed */
SSLD_API void ssld_batch_destroy(ssld_batch *batch);                     /**< NULL is ignored */

SSLD_END_DECLS

#endif
