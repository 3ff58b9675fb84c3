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
 *   idx:IMAGES[,LABELS]  MNIST's format, gzip-compressed or not; one channel
 */
#ifndef SSLD_DATASET_H
#define SSLD_DATASET_H

#include "context.h"

SSLD_BEGIN_DECLS

typedef struct ssld_dataset ssld_dataset;

/** Options of ssld_dataset_open(). Set by ssld_dataset_options_init(); 0 in a field is its default. */
typedef struct ssld_dataset_options {
    size_t      struct_size;  /**< set by ssld_dataset_options_init() */
    const char *root;         /**< folder that a list's paths start from (default NULL: the list's folder) */
    uint64_t    limit;        /**< take the first `limit` samples only (default 0: all); classes are those of all */
    int32_t     classes;      /**< labels must be below it (default 0: largest label + 1) */
    int32_t     padding;      /**< 0 */
} ssld_dataset_options;

SSLD_API void ssld_dataset_options_init(ssld_dataset_options *options, size_t struct_size);

/**
 * Open a data set by its text.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for an unknown prefix or option; SSLD_NOT_FOUND, SSLD_IO for files and
 *         folders that cannot be read; SSLD_FORMAT for a list line that does not parse, a label outside its range or a
 *         damaged IDX file, naming file and line or offset; SSLD_OUT_OF_MEMORY.
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

/** Number of samples. Since 0.1. */
SSLD_API uint64_t ssld_dataset_count(const ssld_dataset *dataset);

/** Number of classes: the option's, else the largest label + 1; 0 if no sample has a label. Since 0.1. */
SSLD_API int32_t ssld_dataset_classes(const ssld_dataset *dataset);

/** The class of a sample, -1 if none is known or the sample does not exist. Since 0.1. */
SSLD_API int32_t ssld_dataset_label(const ssld_dataset *dataset, uint64_t sample);

/** Channels, height and width of every sample; height and width are 0 where files may differ. Since 0.1. */
SSLD_API void ssld_dataset_image(const ssld_dataset *dataset, int32_t image[3]);

/** 16 bytes over every sample's name and size (IDX and host pixels: the pixels themselves), in order. A store's labels
 *  are bound to their data set by it. Labels are not part of it: SSLD does not use them. Since 0.1. */
SSLD_API void ssld_dataset_fingerprint(const ssld_dataset *dataset, uint8_t fingerprint[16]);

/** Copy a sample's name (its path as listed, or "#17" for IDX and host pixels), cut to `size`, with a terminating zero.
 *  Returns the whole length. Since 0.1. */
SSLD_API size_t ssld_dataset_name(const ssld_dataset *dataset, uint64_t sample, char *buffer, size_t size);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_dataset_destroy(ssld_dataset *dataset);

SSLD_END_DECLS

#endif
