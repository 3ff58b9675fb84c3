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

/** How a label becomes bytes; docs/format.md states what each loses and what it costs. */
#define SSLD_CODEC_AUTO 0        /**< DENSE_LOG8 below 65 classes, else TOPK (default) */
#define SSLD_CODEC_DENSE_F32 1   /**< every class's log-probability as a float */
#define SSLD_CODEC_DENSE_F16 2   /**< every class's log-probability as a half-precision float */
#define SSLD_CODEC_DENSE_LOG8 3  /**< every class's log-probability on a scale of some 350 steps, entropy coded */
#define SSLD_CODEC_TOPK 4        /**< the K most probable classes, and a model of the others: the tail */

/** What TOPK knows of the tail beside its whole probability. */
#define SSLD_TAIL_AUTO 0     /**< LEARNED (default) */
#define SSLD_TAIL_UNIFORM 1  /**< nothing: spread evenly */
#define SSLD_TAIL_LEARNED 2  /**< its shape: a profile and a low-rank basis learned from the first labels, kept once in the
                                  file, with `tail_coefficients` numbers a record */

/* -- Writing ------------------------------------------------------------------------------------------------------ */

typedef struct ssld_store_writer ssld_store_writer;
typedef struct ssld_store ssld_store;

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
    int32_t     top_k;                    /**< K of SSLD_CODEC_TOPK, at most 1024 (default 10); with kl_bound the largest K
                                               (default: as many as there are classes, at most 1024) */
    int32_t     batch_norm;               /**< the teacher's SSLD_BATCH_NORM_x */
    uint64_t    view_seed;                /**< seed of the views */
    const char *view_spec;                /**< ssld_view_spec_text() of the views (default "") */
    uint8_t     dataset_fingerprint[16];  /**< of ssld_dataset_fingerprint() */
    uint8_t     teacher_fingerprint[16];  /**< of ssld_teacher_fingerprint() */
    int32_t     block_records;            /**< records in a block (default: as many as make blocks of a few KB) */
    int32_t     level;                    /**< zstd level of DENSE_F32 and DENSE_F16, 1 to 19 (default 3) */
    int32_t     tail;                     /**< SSLD_TAIL_x of SSLD_CODEC_TOPK */
    int32_t     tail_coefficients;        /**< numbers a record that say its shape, 1 to 128: of TOPK's learned tail (default 8),
                                               of DENSE_LOG8 (default 64). More make a tail truer, for half a byte each */
    double      kl_bound;                 /**< TOPK: as few classes as keep KL(label || stored) at most this many nats
                                               (default 0: always top_k classes) */
    int32_t     learn_records;            /**< labels that codecs are fitted to before the first block is coded, 1 to
                                               65536 (default: 2048, fewer if they would be more than 64 MB). Labels that
                                               are committed earlier are stored as DENSE_F16 */
    int32_t     padding;
    const char *model_from;               /**< a store of the same classes and codec whose fitted model is used instead of one
                                               fitted anew: records of one labelling then merge as they are (default NULL) */
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
 * @param batch     its samples and views say what the labels are of; a view already stored is left as it is; its hard
 *                  labels, where known, are used as by ssld_store_writer_append_labelled()
 * @param labels    logits or probabilities, a row for each view of the batch
 *
 * @return SSLD_OK; SSLD_MISMATCH if the class counts differ; SSLD_INVALID_ARGUMENT for a sample or view outside the store,
 *         a batch without ids, a label that is not finite, or probabilities that are negative or do not sum to 1 within
 *         0.001 (nothing of the batch is added); SSLD_NO_SPACE, SSLD_IO: what
 *         was committed stays, and append may be tried again; SSLD_OUT_OF_MEMORY.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_append(ssld_store_writer *writer, const ssld_batch *batch,
                                                             const ssld_labels *labels);

/** As ssld_store_writer_append(), with ids from the host: `count` samples and views. No hard labels are known then. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_append_views(ssld_store_writer *writer, int32_t count,
                                                                   const uint64_t *samples, const uint32_t *views,
                                                                   const ssld_labels *labels);

/** As ssld_store_writer_append_views(), told the hard labels: `classes` has `count` classes, -1 for none. TOPK keeps the
 *  probability of that class exactly as it keeps those of the top K, which dkd, nkd and wsl need. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_append_labelled(ssld_store_writer *writer, int32_t count,
                                                                      const uint64_t *samples, const uint32_t *views,
                                                                      const int32_t *classes, const ssld_labels *labels);

/** Part of a store: `view_count` views from `view` on of `sample_count` samples from `sample` on. */
typedef struct ssld_store_range {
    size_t   struct_size;              /**< set by the caller to sizeof(ssld_store_range) */
    uint64_t sample;
    uint64_t sample_count;
    uint32_t view;
    uint32_t view_count;
} ssld_store_range;

/**
 * Add what another store has and this one has not: what merging, splitting and coding anew are made of. Blocks move as they
 * are where both stores have the same codec and options; else labels are decoded and coded again.
 *
 * @param store     labels of as many classes, samples and views, of the same data set, teacher, view spec and seed
 * @param range     the part to be added; NULL for all
 * @param added     receives the number of records added; may be NULL
 *
 * @return SSLD_OK; SSLD_MISMATCH, the text saying what differs; SSLD_CORRUPT if a block of `store` is damaged, unless it was
 *         opened to skip damaged blocks (their number is in its statistics then); SSLD_CANCELLED; what append returns.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_copy(ssld_store_writer *writer, const ssld_store *store,
                                                           const ssld_store_range *range, uint64_t *added);

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

/** How a view that is not stored, or whose block is damaged, is answered. */
#define SSLD_STORE_ERROR 0  /**< the read fails (default) */
#define SSLD_STORE_REUSE 1  /**< the next stored view of the same sample, by view number, the first after the last; fails if
                                 there is none */
#define SSLD_STORE_SKIP 2   /**< a row of zeros: no label, which losses pass over */

/** What became of a row: see ssld_store_read_outcomes(). */
#define SSLD_ROW_STORED 0   /**< the label of this view */
#define SSLD_ROW_REUSED 1   /**< that of another view of the sample */
#define SSLD_ROW_MISSING 2  /**< zeros: not stored */
#define SSLD_ROW_DAMAGED 3  /**< zeros: in a damaged block */

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
    int32_t        missing;              /**< SSLD_STORE_x for a view that is not stored */
    int32_t        damaged;              /**< SSLD_STORE_x for a view whose block is damaged */
} ssld_store_options;

/** Filled by ssld_store_get_info(). */
typedef struct ssld_store_info {
    size_t   struct_size;              /**< set by the caller to sizeof(ssld_store_info); no more than this is written */
    uint64_t file_bytes;               /**< size of the file, of all files together */
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
    int32_t  tail;                     /**< SSLD_TAIL_UNIFORM or LEARNED; 0 for dense codecs */
    int32_t  tail_coefficients;        /**< 0 unless the tail is learned */
    double   kl_bound;                 /**< 0 if K is fixed */
    int32_t  files;                    /**< files opened together */
    int32_t  models;                   /**< fitted models in them */
} ssld_store_info;

/** Bytes of a store by what they are for, filled by ssld_store_measure(). They sum to file_bytes. */
typedef struct ssld_store_sizes {
    size_t   struct_size;              /**< set by the caller to sizeof(ssld_store_sizes); no more than this is written */
    uint64_t classes;                  /**< which classes are in the top K */
    uint64_t values;                   /**< their probabilities; all of a dense codec's */
    uint64_t tail;                     /**< probability and shape of the others */
    uint64_t statistics;               /**< mean and deviation of the logits */
    uint64_t offsets;                  /**< where records begin in their blocks */
    uint64_t model;                    /**< what was fitted, once a file */
    uint64_t index;                    /**< where views are */
    uint64_t framing;                  /**< everything else: header, block frames, checksums, marks, damage */
    uint64_t file_bytes;
} ssld_store_sizes;

/** What reads of a store met so far, filled by ssld_store_get_statistics(). */
typedef struct ssld_store_statistics {
    size_t   struct_size;              /**< set by the caller to sizeof(ssld_store_statistics); no more is written */
    uint64_t rows;                     /**< rows given */
    uint64_t reused;                   /**< of them, labels of another view of their sample */
    uint64_t missing;                  /**< of them, zeros for want of any */
    uint64_t damaged;                  /**< views asked for whose block is damaged, however they were answered */
} ssld_store_statistics;

/** A block that cannot be read, for ssld_store_verify(). */
typedef struct ssld_store_damage {
    size_t      struct_size;
    const char *path;                  /**< its file; valid during the call */
    uint64_t    offset;                /**< where in it */
    uint64_t    records;               /**< labels lost with it; 0 if that cannot be told */
    uint64_t    sample;                /**< the first of them, if records is not 0 */
    uint32_t    view;
    int32_t     padding;
    const char *text;                  /**< what is wrong, a sentence; valid during the call */
} ssld_store_damage;

/** Receives one damaged place. Called on the thread that verifies; it must not close the store. */
typedef void (*ssld_store_damage_function)(void *user, const ssld_store_damage *damage);

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
 * Open several files as one store: shards of one labelling, in any order. They must agree in all that they are bound to, and
 * in their classes; codecs may differ. A view in two of them is read from the first. The store's info is that of the
 * first file, with records, blocks and bytes of all; `closed` if all are.
 *
 * @return as ssld_store_open(); SSLD_MISMATCH if two files disagree, the text naming both and what differs;
 *         SSLD_INVALID_ARGUMENT for no file or more than 4096.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_open_files(ssld_context *context, const char *const *paths, int32_t count,
                                                          const ssld_store_options *options, ssld_store **store);

/**
 * Read the labels of a batch's samples and views.
 *
 * @param labels    receives a row of probabilities for each view; its classes must be the store's
 *
 * @return SSLD_OK; SSLD_NOT_FOUND if a view is not stored, SSLD_CORRUPT if its block fails its checksum or it may have been
 *         in a part of the file that is damaged, the text naming sample, view and offset (labels are then empty), both only
 *         if the store's options do not say otherwise; SSLD_MISMATCH; SSLD_INVALID_ARGUMENT for a batch without ids.
 *
 * No lock, and no allocation after the first read with these labels.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_read(const ssld_store *store, const ssld_batch *batch,
                                                    ssld_labels *labels);

/** As ssld_store_read(), with ids from the host: `count` samples and views in any order, repeats allowed. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_read_views(const ssld_store *store, int32_t count,
                                                          const uint64_t *samples, const uint32_t *views,
                                                          ssld_labels *labels);

/** As ssld_store_read_views(), saying what became of each row: `outcomes` receives `count` SSLD_ROW_x; NULL if not wanted. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_read_outcomes(const ssld_store *store, int32_t count,
                                                             const uint64_t *samples, const uint32_t *views,
                                                             ssld_labels *labels, int32_t *outcomes);

/**
 * Mean and standard deviation, over all classes, of the teacher's log-probabilities (its logits but for a constant), as they
 * were before coding: TOPK's rows have them nearly, this has them to 1/16 and 1/32.
 *
 * @param labels    for its working memory only; not changed
 * @param means, deviations  receive `count` floats each; NULL if not wanted
 *
 * @return SSLD_OK; SSLD_NOT_FOUND, SSLD_CORRUPT (nothing is replaced by anything here); SSLD_INVALID_ARGUMENT.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_read_moments(const ssld_store *store, int32_t count,
                                                            const uint64_t *samples, const uint32_t *views,
                                                            ssld_labels *labels, float *means, float *deviations);

/** Tell the system that these views will be read soon: it may fetch their blocks from the disk meanwhile. Views that are not
 *  stored are passed over. Returns at once. Since 0.1. */
SSLD_API void ssld_store_prefetch(const ssld_store *store, int32_t count, const uint64_t *samples, const uint32_t *views);

/**
 * The first views from there on that are stored, in order of view, then sample: as ssld_store_writer_missing().
 *
 * @param view, sample   where to start; receive the first stored view's place
 * @param count          receives how many consecutive samples of that view are stored from there
 *
 * @return SSLD_OK; SSLD_END if nothing is stored from there on (outputs unchanged).
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_stored(const ssld_store *store, uint32_t *view, uint64_t *sample,
                                                      uint64_t *count);

/**
 * Decode every label once, without a teacher, and report every damaged place.
 *
 * @param report    called for each; may be NULL
 * @param damaged   receives the number of damaged places; may be NULL
 *
 * @return SSLD_OK if nothing is damaged; SSLD_CORRUPT if something is, the text being that of the first; SSLD_CANCELLED;
 *         SSLD_OUT_OF_MEMORY.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_verify(const ssld_store *store, ssld_store_damage_function report, void *user,
                                                      uint64_t *damaged);

/** Bytes by what they are for. Reads the whole store once. SSLD_OK, SSLD_CANCELLED, SSLD_OUT_OF_MEMORY. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_measure(const ssld_store *store, ssld_store_sizes *sizes);

/** What reads met so far, of all threads. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_get_statistics(const ssld_store *store, ssld_store_statistics *statistics);

/** Fill writer options with all that a store is bound to and how it is coded: for a store of the same labels. Strings are the
 *  store's, so open the writer before closing it; mode, learn_records, block_records, level and model_from are the default. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_writer_options_like(const ssld_store *store,
                                                                   ssld_store_writer_options *options);

/** What the header says, and what is there. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_store_get_info(const ssld_store *store, ssld_store_info *info);

/** The canonical view spec the labels are bound to. Lives as long as the store. Since 0.1. */
SSLD_API const char *ssld_store_view_spec(const ssld_store *store);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_store_close(ssld_store *store);

SSLD_END_DECLS

#endif
