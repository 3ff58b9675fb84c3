/* SPDX-License-Identifier: BSD-2-Clause */
/* reader.h - the inside of an open store. It never changes but for its counters, so any number of threads share it; what a
 * read needs to work with stays with the labels it fills. */
#ifndef SSLD_LIB_STORE_READER_H
#define SSLD_LIB_STORE_READER_H

#include <stdatomic.h>

#include "core/file.h"
#include "ssld/store.h"
#include "store/block.h"
#include "store/recovery.h"

#define SSLD_INDEX_UNSEEN 0
#define SSLD_INDEX_SOUND 1
#define SSLD_INDEX_DAMAGED 2

/* One file of a store. */
struct ssld_part {
    char                    *path;
    struct ssld_map          map;
    struct ssld_store_header header;
    const struct ssld_codec *codec;
    struct ssld_coding       coding;
    struct ssld_model      **models;
    int32_t                  model_count;
    const uint8_t           *entries; /* runs as an index has them, in order of view and sample */
    uint64_t                 runs;
    uint8_t                 *own_entries; /* NULL if they are the file's index */
    struct ssld_index        index;       /* if `closed` */
    atomic_int               index_state; /* SSLD_INDEX_x: a large index is looked at as a whole only when in doubt */
    uint64_t                 records, blocks;
    uint64_t                 broken; /* offset of damage that hides blocks; 0 for none */
    bool                     closed;
    double                   first_key, end_key; /* of all its runs: see lookup.c */
};

struct ssld_store {
    ssld_context     *context;
    struct ssld_part *parts;
    int32_t           part_count;
    int32_t           missing, damaged; /* SSLD_STORE_x */
    uint64_t          opened;           /* tells it from other stores that were at its address before */
    uint64_t          block_bytes;      /* the largest of its parts */
    atomic_ullong     rows, reused_rows, missing_rows, damaged_rows;
};

/* Where a record is. */
struct ssld_place {
    const struct ssld_part *part;
    uint64_t                block; /* offset of its frame */
    uint32_t                record;
};

/* Working memory of a reader. */
struct ssld_reading {
    struct ssld_unpacker    unpacker;
    /* The block opened last: its payload need not be looked at again. */
    uint64_t                opened;
    const struct ssld_part *part;
    uint64_t                offset;
    struct ssld_block       block;
    const uint8_t          *payload;
    const struct ssld_codec *codec;
    const struct ssld_coding *coding;
    const struct ssld_model *model;
    struct ssld_coding      plain_coding;
};

ssld_status ssld_reading_make(ssld_context *context, const ssld_store *store, struct ssld_reading *reading);
void        ssld_reading_free(ssld_context *context, struct ssld_reading *reading);

const struct ssld_model *ssld_part_model(const struct ssld_part *part, uint64_t id);
/* The model fitted last in the first file; NULL if there is none. */
const struct ssld_model *ssld_store_last_model(const ssld_store *store);

/* Where a view is, in the first file that has it. */
bool ssld_store_find(const ssld_store *store, uint32_t view, uint64_t sample, struct ssld_place *place);

/* Open a block, its payload looked at. False, with what is wrong in `text`, if it is damaged. */
bool ssld_reading_open(struct ssld_reading *reading, const ssld_store *store, const struct ssld_part *part, uint64_t offset,
                       const char **text);
/* Where the record of a view begins in the open block. False if it is damaged, or does not have the view. */
bool ssld_reading_record(struct ssld_reading *reading, uint32_t view, uint64_t sample, struct ssld_source *source);
/* Record number `i` of the open block. */
bool ssld_reading_record_at(struct ssld_reading *reading, uint32_t i, struct ssld_source *source);

/* Whether damage hides views: the offset and file of it. */
bool ssld_store_hides(const ssld_store *store, const char **path, uint64_t *offset);

#endif
