/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * loader.h - batches of rendered views, prepared ahead by threads of their own.
 *
 * An epoch visits every sample once, in the order of the data set or in a permutation that is a pure function of
 * (seed, epoch). Epoch e renders view (first_view + e) mod views of each sample, so `views` = V replays V stored views
 * for ever.
 */
#ifndef SSLD_LOADER_H
#define SSLD_LOADER_H

#include "batch.h"
#include "dataset.h"
#include "view.h"

SSLD_BEGIN_DECLS

typedef struct ssld_loader ssld_loader;

#define SSLD_ORDER_DATASET 0  /**< samples in the data set's order (default) */
#define SSLD_ORDER_SHUFFLED 1 /**< a new permutation each epoch */

#define SSLD_LAST_KEEP 0 /**< the last batch of an epoch may be smaller (default) */
#define SSLD_LAST_DROP 1 /**< samples that do not fill a batch are left out of this epoch */

/** Options of ssld_loader_create(). Set by ssld_loader_options_init(); 0 in a field is its default. */
typedef struct ssld_loader_options {
    size_t   struct_size;  /**< set by ssld_loader_options_init() */
    int32_t  batch;        /**< views a batch (default 32) */
    int32_t  order;        /**< SSLD_ORDER_x */
    int32_t  last;         /**< SSLD_LAST_x */
    int32_t  threads;      /**< prefetch threads (default 0: the context's) */
    int32_t  prefetch;     /**< batches prepared ahead (default 0: 2 + threads) */
    uint32_t views;        /**< views of a sample to cycle through (default 0: a new one every epoch) */
    uint32_t first_view;   /**< view number of epoch 0 */
    int32_t  padding;      /**< 0 */
    uint64_t view_seed;    /**< seed of the views' randomness; a store's labels are bound to it */
    uint64_t order_seed;   /**< seed of the permutations */
} ssld_loader_options;

SSLD_API void ssld_loader_options_init(ssld_loader_options *options, size_t struct_size);

/**
 * Make a loader and start its threads on epoch 0.
 *
 * @param dataset, spec   borrowed: they must outlive the loader
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for an impossible option, an empty data set, or a spec that does not lead to one
 *         size; SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: one thread at a time. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_loader_create(ssld_context *context, const ssld_dataset *dataset,
                                                       const ssld_view_spec *spec, const ssld_loader_options *options,
                                                       ssld_loader **loader);

/**
 * The next batch of the epoch, waiting for it if need be.
 *
 * @param batch     receives it without a copy; its memory is the loader's until the batch is given to this function
 *                  again or destroyed, and the batch must be emptied that way before the loader is destroyed
 *
 * @return SSLD_OK; SSLD_END after the last batch of an epoch (the next call starts the next epoch); otherwise the status
 *         of the first image of the batch that could not be rendered, the text naming it: the call after that goes on
 *         with the following batch (`batch` is empty after both); SSLD_INVALID_ARGUMENT if the host's own batches hold all
 *         that the loader has, prefetch + 1; SSLD_CANCELLED.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_loader_next(ssld_loader *loader, ssld_batch *batch);

/** Go to a batch of an epoch: what comes next is what an uninterrupted run would see there. A batch number past the last
 *  is SSLD_INVALID_ARGUMENT. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_loader_seek(ssld_loader *loader, uint64_t epoch, uint64_t batch_number);

/** Batches in an epoch. Since 0.1. */
SSLD_API uint64_t ssld_loader_batches(const ssld_loader *loader);

/** Channels, height, width of the views. Since 0.1. */
SSLD_API void ssld_loader_shape(const ssld_loader *loader, int32_t shape[3]);

/** Seconds that ssld_loader_next() has waited for batches so far: the reader's part of a slow training run. Since 0.1. */
SSLD_API double ssld_loader_wait_seconds(const ssld_loader *loader);

/** Stops the threads. NULL is ignored. Since 0.1. */
SSLD_API void ssld_loader_destroy(ssld_loader *loader);

SSLD_END_DECLS

#endif
