/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * dataset.h - where images come from. A sample's id is its position in the data set, so ids are stable as long as the
 * data set is the same; its fingerprint says whether it is.
 *
 *   list:FILE            PaddleClas's list: a line a sample, "path label" or "path"; paths are relative to
 *                        ssld_dataset_options.root, else to the list's own folder. The label is the text behind the
 *                        last space; either every line has one or none.
 *   dir:FOLDER           a folder for each class, in byte order of their names; JPEG and PNG files below each, in byte
 *                        order of their paths; names that begin with a dot are left out
 *   tar:SHARDS           WebDataset's tar files: all .tar in a folder in byte order, or a file, or a pattern with ranges,
 *                        "train-{0000..0012}.tar". Members that stand together and have the same name up to the first dot
 *                        of its last part are a sample: 7.jpg (or .jpeg, .png) is its image, 7.cls its label, a number as
 *                        text; either every sample has one or none. What else it has (7.json, 7.txt) is not read. ustar, pax
 *                        and GNU's long names; not compressed. Headers are read once, samples in any order.
 *   idx:IMAGES[,LABELS]  MNIST's format, gzip-compressed or not; one channel
 *
 * The manifest. Looking at 200000 files takes seconds, on a cold or remote disk minutes. So what was found of a data set of
 * 1000 samples or more is kept in a file beside it: FOLDER/.ssld-manifest, or LIST.ssld-manifest, PATTERN.ssld-manifest
 * (docs/manifest-format.md). The next opening looks at the times of folders, list and tar files only, and again at those parts
 * that have changed. It notices every file that came, went, was renamed or replaced by another. It does not notice a file that
 * was written over in place: a loader does, when the file's size (or, with hash_contents, its content) is another, with
 * SSLD_MISMATCH; SSLD_MANIFEST_CHECK looks at every file's size and times instead. A manifest that is damaged, of another
 * version or another data set is made again, which a log line says; so is one for which there is no room or permission, which
 * is no failure. Any number of processes may open a data set at once.
 */
#ifndef SSLD_DATASET_H
#define SSLD_DATASET_H

#include "context.h"

SSLD_BEGIN_DECLS

typedef struct ssld_dataset ssld_dataset;

#define SSLD_MANIFEST_KEEP 0  /**< use the manifest, write it where it is missing or out of date (default) */
#define SSLD_MANIFEST_CHECK 1 /**< likewise, but look at every file */
#define SSLD_MANIFEST_NONE 2  /**< neither read nor write one */

/** Options of ssld_dataset_open(). Set by ssld_dataset_options_init(); 0 in a field is its default. idx: knows limit and
 *  classes only. */
typedef struct ssld_dataset_options {
    size_t      struct_size;   /**< set by ssld_dataset_options_init() */
    const char *root;          /**< folder that a list's paths start from (default NULL: the list's folder) */
    uint64_t    limit;         /**< take the first `limit` samples only (default 0: all); classes are those of all */
    int32_t     classes;       /**< labels must be below it (default 0: largest label + 1) */
    int32_t     hash_contents; /**< 1: read and hash every file's content that is not in the manifest with its hash; the
                                *   fingerprint is then over the contents alone, in order, and the same for files, lists and tar
                                *   files of any names (default 0: over names and sizes) */
    const char *manifest_path; /**< where the manifest is, for folders that cannot be written to; of a data set of any size
                                *   (default NULL: beside the data set) */
    int32_t     manifest;      /**< SSLD_MANIFEST_x */
    int32_t     padding;       /**< 0 */
} ssld_dataset_options;

SSLD_API void ssld_dataset_options_init(ssld_dataset_options *options, size_t struct_size);

/**
 * Open a data set by its text.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for an unknown prefix or option; SSLD_NOT_FOUND, SSLD_IO for files and
 *         folders that cannot be read; SSLD_FORMAT for a list line that does not parse, a label outside its range, a
 *         damaged IDX file, a damaged or cut-off tar file, naming file and line or offset; SSLD_CANCELLED;
 *         SSLD_OUT_OF_MEMORY. Works on as many threads as the context has.
 *
 * Thread-safety: any thread; a data set is immutable and may be used by any number of threads. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_dataset_open(ssld_context *context, const char *text,
                                                      const ssld_dataset_options *options, ssld_dataset **dataset);

/**
 * A data set of the host's own pixels.
 *
 * @param count     number of samples
 * @param image     channels (1 or 3), height, width of each
 * @param pixels    count x height x width x channels bytes; borrowed: they must outlive the data set, unchanged
 * @param labels    count labels, -1 for none; copied; NULL for no labels
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_dataset_from_pixels(ssld_context *context, uint64_t count,
                                                             const int32_t image[3], const uint8_t *pixels,
                                                             const int32_t *labels, ssld_dataset **dataset);

/** A sample that a host's function gives. `bytes` must stay as they are until `release` is called, or for as long as the data
 *  set lives if there is none. */
typedef struct ssld_sample {
    size_t      struct_size; /**< set by the library */
    const void *bytes;       /**< content of a JPEG or PNG file, or height x width x channels bytes of pixels */
    size_t      size;        /**< of the file's content; not needed for pixels */
    int32_t     height;      /**< of pixels; 0: bytes are a file's content */
    int32_t     width;       /**< likewise */
    void       *token;       /**< passed to release */
    char        text[256];   /**< on failure: why, without the sample's name; "" if there is nothing to say */
} ssld_sample;

/** Gives sample `sample`. Returns SSLD_OK, or the status of a failure (SSLD_IO, SSLD_CORRUPT ...), which a loader treats like that
 *  of a file. Called on a loader's threads and in ssld_loader_next(), several at a time, perhaps for the same sample; it must
 *  not use the loader that calls it, throw or longjmp. */
typedef ssld_status (*ssld_sample_function)(void *user, uint64_t sample, ssld_sample *given);

/** What a sample function gave is not needed any more. Called after each that succeeded, on the same thread. */
typedef void (*ssld_release_function)(void *user, uint64_t sample, void *token);

/** Where a host's samples come from. Set by ssld_dataset_source_init(); 0 in a field is its default. */
typedef struct ssld_dataset_source {
    size_t                struct_size;     /**< set by ssld_dataset_source_init() */
    ssld_sample_function  read;            /**< gives them; needed */
    ssld_release_function release;         /**< takes them back (default NULL: nothing to do) */
    void                 *user;            /**< passed to both */
    uint64_t              count;           /**< number of samples */
    const int32_t        *labels;          /**< count labels, -1 for none; copied (default NULL: none) */
    int32_t               classes;         /**< labels must be below it (default 0: largest label + 1) */
    int32_t               image[3];        /**< channels of pixels, 1 or 3 (default 0: 3, which files' contents always have);
                                            *   height and width if all samples are pixels of one size (default 0) */
    uint8_t               fingerprint[16]; /**< what stores are bound to: the host answers for it that samples are the same
                                            *   when it is (default: zeros) */
} ssld_dataset_source;

SSLD_API void ssld_dataset_source_init(ssld_dataset_source *source, size_t struct_size);

/**
 * A data set of samples that a host's function gives when they are needed: from a database, an archive, the network.
 *
 * @param source    copied; its functions and `user` must outlive the data set
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT; SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: any thread. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_dataset_from_source(ssld_context *context, const ssld_dataset_source *source,
                                                             ssld_dataset **dataset);

/** Number of samples. Since 0.1. */
SSLD_API uint64_t ssld_dataset_count(const ssld_dataset *dataset);

/** Number of classes: the option's, else the largest label + 1; 0 if no sample has a label. Since 0.1. */
SSLD_API int32_t ssld_dataset_classes(const ssld_dataset *dataset);

/** The class of a sample, -1 if none is known or the sample does not exist. Since 0.1. */
SSLD_API int32_t ssld_dataset_label(const ssld_dataset *dataset, uint64_t sample);

/** Channels, height and width of every sample; height and width are 0 where files may differ. Since 0.1. */
SSLD_API void ssld_dataset_image(const ssld_dataset *dataset, int32_t image[3]);

/** 16 bytes over every sample's name and size, or with hash_contents its content (IDX and host pixels: the pixels themselves;
 *  a host's function: what the host said), in order. A store's labels are bound to their data set by it. Labels are not part
 *  of it: SSLD does not use them. Since 0.1. */
SSLD_API void ssld_dataset_fingerprint(const ssld_dataset *dataset, uint8_t fingerprint[16]);

/** Copy a sample's name (its path as listed, or in its tar file; "#17" for IDX and a host's samples), cut to `size`, with a
 *  terminating zero. Returns the whole length. Since 0.1. */
SSLD_API size_t ssld_dataset_name(const ssld_dataset *dataset, uint64_t sample, char *buffer, size_t size);

/** XXH3-128 (canonical) of a sample's content. SSLD_NOT_FOUND unless the data set was opened with hash_contents, or if there is
 *  no such sample. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_dataset_content_hash(const ssld_dataset *dataset, uint64_t sample, uint8_t hash[16]);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_dataset_destroy(ssld_dataset *dataset);

SSLD_END_DECLS

#endif
