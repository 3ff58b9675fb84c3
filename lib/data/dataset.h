/* SPDX-License-Identifier: BSD-2-Clause */
/* dataset.h - the inside of a data set, and what a source must provide.
 *
 * A source is a row: a prefix, a function that fills the data set, a function that fetches a sample. Another one is
 * another file with its row in dataset.c. */
#ifndef SSLD_LIB_DATA_DATASET_H
#define SSLD_LIB_DATA_DATASET_H

#include "core/file.h"
#include "core/hash.h"
#include "image/image.h"
#include "ssld/dataset.h"

/* The longest path of a sample, with its zero. */
#define SSLD_MOST_PATH 4096

/* A sample as it was fetched: a file's bytes, or decoded pixels of the data set's shape (size is 0 then). */
struct sample_content {
    const uint8_t *bytes;
    size_t         size;
    bool           decoded;
};

/* Memory that a thread reads files into, again and again. */
struct read_buffer {
    uint8_t *bytes;
    size_t   capacity;
};

struct source {
    const char *prefix; /* "list" */
    ssld_status (*open)(ssld_dataset *dataset, const char *place, const ssld_dataset_options *options);
    ssld_status (*fetch)(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                         struct sample_content *content, struct ssld_fault *fault);
};

struct ssld_dataset {
    ssld_context        *context;
    const struct source *source;
    uint64_t             count;
    int32_t              classes;
    int32_t              image[3];
    int32_t             *labels; /* (count), NULL if no sample has one */
    uint8_t              fingerprint[16];
    /* Files: */
    char                *root;   /* the folder that relative names start from */
    char                *names;  /* each with its zero */
    size_t              *starts; /* (count) of names */
    /* Pixels: */
    const uint8_t       *pixels; /* (count, height, width, channels) */
    uint8_t             *own;    /* memory that pixels points into, or ... */
    struct ssld_map      map;    /* ... a mapped file, or neither: the host's */
};

extern const struct source ssld_source_list;
extern const struct source ssld_source_folder;
extern const struct source ssld_source_idx;

/* -- For sources -------------------------------------------------------------------------------------------------- */

/* Files with their labels, collected one by one; what is added past `limit` is counted in classes only. */
struct file_list {
    ssld_dataset     *dataset;
    uint64_t          limit; /* 0: none */
    uint64_t          capacity;
    size_t            names_used;
    size_t            names_capacity;
    int32_t           largest_label;
    struct ssld_hash *hash; /* of names and sizes */
};

ssld_status ssld_files_begin(struct file_list *files, ssld_dataset *dataset, const char *root,
                             const ssld_dataset_options *options);
bool        ssld_files_full(const struct file_list *files); /* the limit is reached */
ssld_status ssld_files_add(struct file_list *files, const char *name, size_t length, uint64_t size, int32_t label);
/* Classes and fingerprint of the data set. It or ssld_files_discard() ends what begin began. */
void        ssld_files_end(struct file_list *files);
void        ssld_files_discard(struct file_list *files);
/* Where a named file is: the name itself if it is absolute. False if the path is too long. */
bool        ssld_files_path(const char *root, const char *name, size_t length, char path[SSLD_MOST_PATH]);
ssld_status ssld_files_fetch(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                             struct sample_content *content, struct ssld_fault *fault);

/* From labels to the data set: copies the first `count` of `all` labels, sets classes. `place` is named in errors; on
 * failure *wrong is the sample whose label is out of range. */
ssld_status ssld_dataset_take_labels(ssld_dataset *dataset, const int32_t *labels, uint64_t all, uint64_t *wrong);
/* The fingerprint of pixels, which idx: and a host's pixels share. */
ssld_status ssld_dataset_hash_pixels(ssld_dataset *dataset);
ssld_status ssld_pixels_fetch(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                              struct sample_content *content, struct ssld_fault *fault);

/* -- For the loader ----------------------------------------------------------------------------------------------- */

/* What an error calls a sample: its path, or "sample #17". */
void ssld_dataset_place(const ssld_dataset *dataset, uint64_t sample, char place[SSLD_MOST_PATH]);

#endif
