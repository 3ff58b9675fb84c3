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

/* A sample as it was fetched: a file's bytes, or decoded pixels (size is 0 then) of a shape. */
struct sample_content {
    const uint8_t *bytes;
    size_t         size;
    bool           decoded;
    int32_t        image[3]; /* of pixels: channels, height, width */
    void          *token;    /* for `release` */
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
    /* What an error calls a sample; NULL: "sample #17". */
    void (*place)(const ssld_dataset *dataset, uint64_t sample, char place[SSLD_MOST_PATH]);
    /* The content that was fetched is not needed any more; NULL: nothing to do. */
    void (*release)(const ssld_dataset *dataset, uint64_t sample, struct sample_content *content);
};

/* A tar file. */
struct shard {
    size_t   name; /* of dataset->names; its path from dataset->root */
    uint64_t size; /* when its headers were read */
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
    uint64_t            *sizes;  /* (count) */
    uint8_t            (*hashes)[16]; /* (count) of contents, NULL: not known */
    bool                 checked; /* a file of another size is another file */
    /* Members of tar files: */
    uint64_t            *offsets;  /* (count) */
    uint32_t            *shard_of; /* (count) of shards */
    struct shard        *shards;
    /* Pixels: */
    const uint8_t       *pixels; /* (count, height, width, channels) */
    uint8_t             *own;    /* memory that pixels points into, or ... */
    struct ssld_map      map;    /* ... a mapped file, or neither: the host's */
    /* A host's functions: */
    ssld_dataset_source  host;
};

extern const struct source ssld_source_list;
extern const struct source ssld_source_folder;
extern const struct source ssld_source_tar;
extern const struct source ssld_source_idx;

/* -- For sources -------------------------------------------------------------------------------------------------- */

/* Where a named file is: the name itself if it is absolute. False if the path is too long. */
bool        ssld_files_path(const char *root, const char *name, size_t length, char path[SSLD_MOST_PATH]);
void        ssld_files_place(const ssld_dataset *dataset, uint64_t sample, char place[SSLD_MOST_PATH]);
ssld_status ssld_files_fetch(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                             struct sample_content *content, struct ssld_fault *fault);
/* Bytes offset to offset + size of a file into the buffer. */
ssld_status ssld_read_part(ssld_context *context, int descriptor, uint64_t offset, uint64_t size,
                           struct read_buffer *buffer, struct ssld_fault *fault);
ssld_status ssld_fault_errno(struct ssld_fault *fault, const char *verb); /* "cannot VERB: <errno>" */
/* SSLD_MISMATCH if the content is known not to be what the data set's fingerprint is of. */
ssld_status ssld_content_check(const ssld_dataset *dataset, uint64_t sample, const struct sample_content *content,
                               struct ssld_fault *fault);

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
void ssld_dataset_release(const ssld_dataset *dataset, uint64_t sample, struct sample_content *content);

#endif
