/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * loader.h - batches of rendered views, prepared ahead by threads of their own.
 *
 * An epoch visits every sample once, in the order of the data set or in a permutation that is a pure function of
 * (seed, epoch). Epoch e renders view (first_view + e) mod views of each sample, so `views` = V replays V stored views
 * for ever.
 *
 * Threads. Prefetch threads render the oldest batch that is not complete, image by image. They have the lowest priority
 * (SSLD_PRIORITY_LOW): beside threads that compute they get what those leave, and all cores as soon as the host waits for a
 * batch; the host's thread then renders, too, so that a batch comes even where others' work takes every core. Training is not
 * disturbed, and what views cost appears as waiting (wait_seconds), not as a step that became slower: two threads that compute
 * in step lose twice the time that a third takes from one of them. Threads that spin while they wait leave nothing:
 * docs/threading.md says how libgomp's are kept from it.
 *
 * Memory. With cache_bytes a loader keeps samples in memory: decoded, which spares decoding, if at that rate all of them fit, else
 * as their files' contents, which spares reading. Nothing that is kept goes again; what does not fit is read every time. Pixels
 * are the same with and without. Files that change while they are kept are not noticed.
 *
 * Bad images. An image that cannot be read, decoded or rendered is an error of its batch (SSLD_BAD_STOP); or it is left out
 * (SSLD_BAD_SKIP): the batch is smaller, its sample ids say who is there, and ssld_loader_bad() lists who is not. No image ever
 * takes another's place: a view that is to be mixed with a bad image is left out, too, and the bad one is listed. Where memory
 * runs out the batch fails in any case.
 *
 * Several processes. Each makes the same loader with another `rank`. With a batch of B and R ranks an epoch's permutation is cut
 * into groups of B x R samples, and rank r gets the r-th B of each group: batch n of rank r is batch n x R + r of one process. With
 * SSLD_LAST_DROP all ranks have equally many batches; with SSLD_LAST_KEEP the samples behind the last whole group are shared out
 * evenly, so that every sample is seen once, and if there are fewer than R, some ranks have a batch less.
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

#define SSLD_BAD_STOP 0 /**< an image that cannot be rendered is an error of its batch (default) */
#define SSLD_BAD_SKIP 1 /**< it is left out and listed: see ssld_loader_bad() */

#define SSLD_CACHE_AUTO 0   /**< pixels if all of them will fit, else files (default) */
#define SSLD_CACHE_FILES 1  /**< the contents of files */
#define SSLD_CACHE_PIXELS 2 /**< decoded images, 3 bytes a pixel */

#define SSLD_PRIORITY_LOW 0    /**< prefetch threads run on cores that nothing else wants: Linux's SCHED_IDLE (default) */
#define SSLD_PRIORITY_NORMAL 1 /**< like the thread that makes the loader: for hosts that leave cores for them */

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
    int32_t  bad;          /**< SSLD_BAD_x */
    uint64_t view_seed;    /**< seed of the views' randomness; a store's labels are bound to it */
    uint64_t order_seed;   /**< seed of the permutations */
    uint64_t cache_bytes;  /**< memory for samples that are kept (default 0: none are); not for pixels in memory and idx: */
    int32_t  cache;        /**< SSLD_CACHE_x: as what */
    int32_t  priority;     /**< SSLD_PRIORITY_x: of the prefetch threads */
    int32_t  rank;         /**< which part of every epoch is this loader's, 0 to ranks - 1 */
    int32_t  ranks;        /**< parts of every epoch (default 0: 1) */
    int32_t  profile;      /**< 1: measure what rendering spends its time on, see ssld_loader_statistics (default 0: do not; it
                            *   takes some 10 microseconds a view) */
    int32_t  padding;      /**< 0 */
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
 * @return SSLD_OK, and at least one view; SSLD_END after the last batch of an epoch (the next call starts the next epoch);
 *         otherwise the status
 *         of the first image of the batch that could not be rendered, the text naming it: the call after that goes on
 *         with the following batch (`batch` is empty after both); SSLD_INVALID_ARGUMENT if the host's own batches hold all
 *         that the loader has, prefetch + 1; SSLD_CANCELLED.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_loader_next(ssld_loader *loader, ssld_batch *batch);

/** Go to a batch of an epoch: what comes next is what an uninterrupted run would see there. A batch number past the last
 *  is SSLD_INVALID_ARGUMENT. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_loader_seek(ssld_loader *loader, uint64_t epoch, uint64_t batch_number);

/** The batch that ssld_loader_next() gives next, which SSLD_BAD_SKIP passes over if all of its images are left out: its epoch
 *  and number, as ssld_loader_seek() takes them; the number of batches before SSLD_END. Since 0.1. */
SSLD_API void ssld_loader_position(const ssld_loader *loader, uint64_t *epoch, uint64_t *batch_number);

/** Batches in an epoch, of this rank. Since 0.1. */
SSLD_API uint64_t ssld_loader_batches(const ssld_loader *loader);

/** Channels, height, width of the views. Since 0.1. */
SSLD_API void ssld_loader_shape(const ssld_loader *loader, int32_t shape[3]);

/** Seconds that ssld_loader_next() has waited for batches so far, or rendered them itself: the reader's part of a slow training
 *  run. Since 0.1. */
SSLD_API double ssld_loader_wait_seconds(const ssld_loader *loader);

/** What a loader has done so far. Filled by ssld_loader_get_statistics(). */
typedef struct ssld_loader_statistics {
    size_t   struct_size;    /**< set by the caller to sizeof(ssld_loader_statistics) */
    uint64_t batches;        /**< given to the host */
    uint64_t images;         /**< in them */
    uint64_t skipped;        /**< left out of them, counted again in every epoch */
    uint64_t bytes_read;     /**< of files that were rendered without being kept in memory before */
    uint64_t cache_hits;     /**< samples that came from memory, or were just put there */
    uint64_t cache_images;   /**< samples in memory */
    uint64_t cache_bytes;    /**< their bytes, less than the option's */
    double   wait_seconds;   /**< as ssld_loader_wait_seconds() */
    double   read_seconds;   /**< that all threads took to fetch samples, added up */
    double   render_seconds; /**< of the CPU, that they took for everything, added up */
    uint64_t rendered;       /**< samples they have rendered: not all of them may be given to the host; a mixed view is of two */
    /* With the option `profile`, what they took for parts of it, by the clock and all together; else 0. */
    double   decode_seconds;   /**< from files to pixels */
    double   resample_seconds; /**< crop, resize and flip */
    double   augment_seconds;  /**< the other operations */
    double   write_seconds;    /**< normalisation, from rows of bytes to planes of floats */
} ssld_loader_statistics;

/** Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_loader_get_statistics(ssld_loader *loader, ssld_loader_statistics *statistics);

/** An image that was left out (SSLD_BAD_SKIP). */
typedef struct ssld_bad_image {
    size_t      struct_size; /**< set by the caller to sizeof(ssld_bad_image) */
    uint64_t    sample;      /**< its id */
    ssld_status status;      /**< what the batch would have failed with */
    int32_t     padding;     /**< 0 */
    const char *text;        /**< its file's name and what is wrong; lives as long as the loader */
} ssld_bad_image;

/** How many samples were left out of the batches given so far; each is counted once. Since 0.1. */
SSLD_API uint64_t ssld_loader_bad_count(const ssld_loader *loader);

/** The index-th of them, in the order of the batches they were missing in. SSLD_INVALID_ARGUMENT if there is none. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_loader_bad(const ssld_loader *loader, uint64_t index, ssld_bad_image *image);

/** Stops the threads. NULL is ignored. Since 0.1. */
SSLD_API void ssld_loader_destroy(ssld_loader *loader);

SSLD_END_DECLS

#endif
