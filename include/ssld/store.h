/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * store.h - soft labels on disk: written once by a teacher, read by every student.
 *
 * A store is one file, and a valid Zstandard file; docs/format.md is its specification. It holds a record for each
 * (sample, view), is bound to the data set, view spec, seed and teacher its labels come from, and keeps everything
 * that was committed through kill -9, a full disk or a power cut.
 *
 * Caveats. A reader maps the file: cutting it short under a reader is a SIGBUS, so replace a store by rename, never in
 * place. Network file systems must honour fsync and locks for commit and the writer's lock to mean anything. A writer
 * must not be used across fork().
 */
#ifndef SSLD_STORE_H
#define SSLD_STORE_H

#include "batch.h"
#include "labels.h"

SSLD_BEGIN_DECLS

#define SSLD_CODEC_AUTO 0       /**< dense below 65 classes, else top-K (default) */
#define SSLD_CODEC_DENSE_F16 1  /**< every class's log-probability as a half-precision float: 2 bytes a class */
#define SSLD_CODEC_TOPK 2       /**< the K most probable classes, and the rest of the probability spread over the others */

/* -- Writing ------------------------------------------------------------------------------------------------------ */

typedef struct ssld_store_writer ssld_store_writer;

#define SSLD_STORE_CREATE 0  /**< a new store; SSLD_INVALID_ARGUMENT if the file exists (default) */
#define SSLD_STORE_RESUME 1  /**< go on with the store if the file exists, else a new one */

/** Options of ssld_store_writer_open(). Set by ssld_store_writer_options_init(); 0 in a field is its default. Strings
 *  and bytes are copied. On resume, what is given here must agree with the file. */
typedef struct ssld_store_writer_options {
    size_t      struct_size;              /**< set by ssld_store_writer_options_init() */
    int32_t     mode;                     /**< SSLD_STORE_CREATE or SSLD_STORE_RESUME */
    int32_t     classes;                  /**< classes of a label; must be given */
    uint64_t    samples;                  /**< samples in the data set; must be given */
    uint32_t    views;                    /**< views to be labelled of each sample (default 1) */
    int32_t     codec;                    /**< SSLD_CODEC_x */
    int32_t     top_k;                    /**< K of SSLD_CODEC_TOPK (default 10) */
    int32_t     batch_norm;               /**< the teacher's SSLD_BATCH_NORM_x */
    uint64_t    view_seed;                /**< seed of the views */
    const char *view_spec;                /**< ssld_view_spec_text() of the views (default "") */
    uint8_t     dataset_fingerprint[16];  /**< of ssld_dataset_fingerprint() */
    uint8_t     teacher_fingerprint[16];  /**< of ssld_teacher_fingerprint() */
    int32_t     block_records;            /**< records compressed together (default 256) */
    int32_t     level;                    /**< zstd level, 1 to 19 (default 3) */
} ssld_store_writer_options;

SSLD_API void ssld_store_writer_options_init(ssld_store_writer_options *options, size_t struct_size);

/**
 * Create a store, or go on with one after an interruption: a torn end is cut off, everything before it is kept.
 *
 * @return SSLD_OK; SSLD_BUSY if another writer has the file; SSLD_MISMATCH if resuming a store of other labels, the text
 *         saying which of classes, codec, data set, teacher, view spec or seed differs; SSLD_CORRUPT if the file is damaged
 *         before its end (nothing is changed then); SSLD_FORMAT if it is no store; SSLD_INVALID_ARGUMENT; SSLD_NOT_FOUND,
 *         SSLD_IO, SSLD_NO_SPACE; SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: one thread at a time. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_open(ssld_context *context, const char *path,
                                                           const ssld_store_writer_options *options,
                                                           ssld_store_writer **writer);

/**
 * Add the labels of a batch. They are durable after the next commit.
 *
 * @param batch     its samples and views say what the labels are of; a view already stored is left as it is
 * @param labels    logits or probabilities, a row for each view of the batch
 *
 * @return SSLD_OK; SSLD_MISMATCH if the class counts differ; SSLD_INVALID_ARGUMENT for a sample or view outside the store,
 *         a batch without ids, a label that is not finite, or probabilities that are negative or do not sum to 1 within
 *         0.001 (nothing of the batch is added); SSLD_NO_SPACE, SSLD_IO: what
 *         was committed stays, and append may be tried again; SSLD_OUT_OF_MEMORY.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_append(ssld_store_writer *writer, const ssld_batch *batch,
                                                             const ssld_labels *labels);

/** As ssld_store_writer_append(), with ids from the host: `count` samples and views. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_append_views(ssld_store_writer *writer, int32_t count,
                                                                   const uint64_t *samples, const uint32_t *views,
                                                                   const ssld_labels *labels);

/** Return when everything appended is on the disk: after SSLD_OK it survives a power cut. SSLD_NO_SPACE, SSLD_IO. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_commit(ssld_store_writer *writer);

/**
 * The first views that are not stored yet, in order of view, then sample.
 *
 * @param view, sample   where to start; receive the first missing view's place
 * @param count          receives how many consecutive samples of that view are missing from there
 *
 * @return SSLD_OK; SSLD_END if nothing is missing from there on (outputs unchanged).
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_missing(const ssld_store_writer *writer, uint32_t *view,
                                                              uint64_t *sample, uint64_t *count);

/** Records stored or appended so far. Since 0.1. */
SSLD_API uint64_t ssld_store_writer_records(const ssld_store_writer *writer);

/** Commit, write the index and free the writer. The writer is gone whatever is returned; on failure what was committed
 *  before is in the file, and the next open finds it without the index. NULL is SSLD_OK. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_close(ssld_store_writer *writer);

/** Free the writer without committing what is pending. NULL is ignored. */
SSLD_API void ssld_store_writer_abandon(ssld_store_writer *writer);

/* -- Reading ------------------------------------------------------------------------------------------------------ */

typedef struct ssld_store ssld_store;

/** Options of ssld_store_open(). Set by ssld_store_options_init(); 0 in a field is its default. What is given of the
 *  last group is compared with the file and refused if it differs. */
typedef struct ssld_store_options {
    size_t         struct_size;          /**< set by ssld_store_options_init() */
    int32_t        verify;               /**< 1: check every block now (default 0: each when it is read) */
    int32_t        classes;              /**< expected classes (default 0: any) */
    uint64_t       samples;              /**< expected samples (default 0: any) */
    const char    *view_spec;            /**< expected ssld_view_spec_text() (default NULL: any) */
    const uint64_t *view_seed;           /**< expected seed (default NULL: any) */
    const uint8_t *dataset_fingerprint;  /**< expected 16 bytes (default NULL: any) */
    const uint8_t *teacher_fingerprint;  /**< expected 16 bytes (default NULL: any) */
} ssld_store_options;

/** Filled by ssld_store_get_info(). */
typedef struct ssld_store_info {
    size_t   struct_size;              /**< set by the caller to sizeof(ssld_store_info); no more than this is written */
    uint64_t file_bytes;               /**< size of the file */
    uint64_t records;                  /**< stored labels */
    uint64_t samples;                  /**< samples in the data set */
    uint32_t views;                    /**< views of each that were to be labelled */
    int32_t  classes;
    int32_t  codec;                    /**< SSLD_CODEC_x, never AUTO */
    int32_t  top_k;                    /**< 0 for dense codecs */
    int32_t  batch_norm;               /**< the teacher's SSLD_BATCH_NORM_x */
    int32_t  closed;                   /**< 1 if the writer was closed; 0 after an interruption */
    uint64_t blocks;                   /**< blocks in the file */
    uint64_t view_seed;
    uint8_t  dataset_fingerprint[16];
    uint8_t  teacher_fingerprint[16];
} ssld_store_info;

SSLD_API void ssld_store_options_init(ssld_store_options *options, size_t struct_size);

/**
 * Open a store for reading. A store that is being written or was interrupted shows what its file holds at this moment.
 *
 * @return SSLD_OK; SSLD_NOT_FOUND, SSLD_IO; SSLD_FORMAT if it is no store or of a later version; SSLD_CORRUPT if its header,
 *         or with `verify` a block, fails its checksum, the text naming the offset; SSLD_MISMATCH if it is not what
 *         the options expect, the text saying what differs; SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: any number of threads may read one store, each with its own labels. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_open(ssld_context *context, const char *path,
                                                    const ssld_store_options *options, ssld_store **store);

/**
 * Read the labels of a batch's samples and views.
 *
 * @param labels    receives a row of probabilities for each view; its classes must be the store's
 *
 * @return SSLD_OK; SSLD_NOT_FOUND if a view is not stored, SSLD_CORRUPT if its block fails its checksum or it may have been
 *         in a part of the file that is damaged, the text naming sample, view and offset (labels are then empty); SSLD_MISMATCH; SSLD_INVALID_ARGUMENT for a batch without ids.
 *
 * No lock, and no allocation after the first read with these labels.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_read(const ssld_store *store, const ssld_batch *batch,
                                                    ssld_labels *labels);

/** As ssld_store_read(), with ids from the host: `count` samples and views in any order, repeats allowed. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_read_views(const ssld_store *store, int32_t count,
                                                          const uint64_t *samples, const uint32_t *views,
                                                          ssld_labels *labels);

/** What the header says, and what is there. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_get_info(const ssld_store *store, ssld_store_info *info);

/** The canonical view spec the labels are bound to. Lives as long as the store. Since 0.1. */
SSLD_API const char *ssld_store_view_spec(const ssld_store *store);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_store_close(ssld_store *store);

SSLD_END_DECLS

#endif
