/* SPDX-License-Identifier: BSD-2-Clause */
/* format.h - the bytes of a store, as docs/format.md specifies them: header, model, block, mark and index
 * frames.
 *
 *   HEAD  (MODL | BLCK zstd-frame | mark)*  [indx]
 *
 * Functions here turn frames into structs and back. They believe nothing: a frame is sound only if it lies inside the
 * file, names this store and its own place, passes its checksum, and its fields keep the header's limits. */
#ifndef SSLD_LIB_STORE_FORMAT_H
#define SSLD_LIB_STORE_FORMAT_H

#include <string.h>

#include "core/context.h"
#include "store/bytes.h"

/* -- Limits of format 1 ------------------------------------------------------------------------------------------- */

#define SSLD_FORMAT_SAMPLES (UINT64_C(1) << 48)
#define SSLD_FORMAT_VIEWS (UINT32_C(1) << 24)
#define SSLD_FORMAT_CLASSES (UINT32_C(1) << 24)
#define SSLD_FORMAT_TOP_K 1024
#define SSLD_FORMAT_BLOCK_RECORDS (UINT32_C(1) << 16)
#define SSLD_FORMAT_BLOCK_BYTES (UINT32_C(1) << 26)
#define SSLD_FORMAT_VIEW_SPEC (UINT32_C(1) << 16)

#define SSLD_MARK_BYTES 40

/* -- Header ------------------------------------------------------------------------------------------------------- */

struct ssld_store_header {
    uint64_t samples;
    uint32_t views;
    int32_t  classes;
    int32_t  codec;         /* SSLD_CODEC_x, never AUTO */
    int32_t  top_k;         /* 0 for dense codecs */
    int32_t  shape_rows;    /* rows of its models' shapes: 1 and the numbers a record; 0: no shape */
    uint32_t block_records; /* most records in a block */
    uint32_t block_bytes;   /* most decompressed bytes of a block */
    int32_t  batch_norm;
    double   kl_bound;      /* 0: K is fixed */
    uint64_t view_seed;
    uint8_t  dataset_fingerprint[16];
    uint8_t  teacher_fingerprint[16];
    char    *view_spec;     /* owned: ssld_header_free() */
    /* Of the file, not fields of their own: */
    bool     newer;         /* has optional features or a minor version unknown here: may be read, not appended to */
    uint64_t size;          /* bytes of the header frame: the first block's offset */
    uint64_t link;          /* its checksum, which every other frame repeats */
};

/* Sets size and link too. `bytes` has room for ssld_header_size(). */
size_t ssld_header_size(const struct ssld_store_header *header);
void   ssld_header_write(struct ssld_store_header *header, uint8_t *bytes);
/* From the first bytes of the file. SSLD_FORMAT, SSLD_CORRUPT, SSLD_OUT_OF_MEMORY; `header` holds nothing then. */
ssld_status ssld_header_read(ssld_context *context, const char *path, const uint8_t *bytes, uint64_t size,
                             struct ssld_store_header *header);
void        ssld_header_free(ssld_context *context, struct ssld_store_header *header);

/* What a caller expects of a header; NULL is any. The first difference is SSLD_MISMATCH with its text. */
struct ssld_expected {
    const int32_t  *classes, *codec, *top_k, *shape_rows, *batch_norm;
    const uint64_t *samples, *view_seed;
    const uint32_t *views, *block_records;
    const double   *kl_bound;
    const char     *view_spec;
    const uint8_t  *dataset_fingerprint, *teacher_fingerprint;
};

ssld_status ssld_header_expect(ssld_context *context, const char *path, const struct ssld_store_header *header,
                               const struct ssld_expected *expected);

/* -- Frames behind the header ------------------------------------------------------------------------------------- */

#define SSLD_FRAME_BLOCK 1
#define SSLD_FRAME_MARK 2
#define SSLD_FRAME_INDEX 3
#define SSLD_FRAME_SKIPPED 4 /* of a kind unknown here that may be skipped */
#define SSLD_FRAME_UNKNOWN 5 /* of a kind unknown here that may not */
#define SSLD_FRAME_MODEL 6

struct ssld_frame {
    int32_t        kind;
    const uint8_t *bytes; /* from its magic on */
    uint64_t       size;  /* magic to checksum */
};

/* The map of a file with what is said about it. */
struct ssld_store_file {
    const struct ssld_store_header *header;
    const uint8_t                  *bytes;
    uint64_t                        size;
};

/* The frame at `offset`, if a sound one is there. */
bool ssld_frame_read(const struct ssld_store_file *file, uint64_t offset, struct ssld_frame *frame);

/* Consecutive samples of one view whose records lie one behind the other in a block. */
struct ssld_run {
    uint64_t sample; /* the first */
    uint64_t block;  /* offset of the block's frame */
    uint32_t view;
    uint32_t count;
    uint32_t record; /* position of the first in its block */
};

/* A block: its frame, and the zstd frame right behind it. */
struct ssld_block {
    uint64_t       offset;
    uint64_t       end; /* behind the zstd frame */
    uint32_t       records;
    uint32_t       runs;
    uint32_t       payload_bytes;
    uint32_t       compressed_bytes;
    uint64_t       checksum; /* of the payload */
    uint64_t       model;    /* the id of the model its records are coded with; 0 for none */
    int32_t        codec;    /* SSLD_CODEC_x of its records */
    const uint8_t *run_table;
    const uint8_t *compressed;
};

/* The block at `offset`, if a sound frame with a whole zstd frame behind it is there. The zstd frame's own content is
 * not looked at: see block.h. */
bool            ssld_block_read(const struct ssld_store_file *file, uint64_t offset, struct ssld_block *block);
/* Run `i`, all fields but `record`, which is the sum of the counts before it. */
struct ssld_run ssld_block_run(const struct ssld_block *block, uint32_t i);
size_t          ssld_block_frame_size(uint32_t runs);
/* Write the frame that precedes the block's compressed bytes. */
void            ssld_block_write(const struct ssld_store_header *header, const struct ssld_block *block,
                                 const struct ssld_run *runs, uint8_t *bytes);

/* -- Models ------------------------------------------------------------------------------------------------------- */

#define SSLD_MOST_MODELS 4096 /* frames of a file, of which most are there twice */

size_t ssld_model_frame_size(size_t model_bytes);
void   ssld_model_frame_write(const struct ssld_store_header *header, uint64_t offset, const uint8_t *model, size_t model_bytes,
                              uint8_t *bytes);
/* What a model's frame holds. */
const uint8_t *ssld_model_frame_content(const struct ssld_frame *frame, size_t *size);

/* -- Mark, index -------------------------------------------------------------------------------------------------- */

void ssld_mark_write(const struct ssld_store_header *header, uint64_t offset, uint8_t bytes[SSLD_MARK_BYTES]);

#define SSLD_RUN_ENTRY 32 /* bytes of a run in an index */

struct ssld_index {
    uint64_t       offset; /* of its frame */
    uint64_t       size;
    uint64_t       runs, blocks, records, models;
    const uint8_t *model_offsets; /* 8 bytes each */
    const uint8_t *entries;       /* of runs */
};

/* Bytes of an index; 0 if it does not fit a frame. */
uint64_t ssld_index_size(uint64_t runs, uint64_t models);
/* Write it: the numbers and `offset` of `index`, runs and offsets of models. */
void     ssld_index_write(const struct ssld_store_header *header, const struct ssld_index *index, const struct ssld_run *runs,
                          const uint64_t *model_offsets, uint8_t *bytes);
/* The index that ends the file, if one does whose ends are sound. Its entries are not looked at, however many there are. */
bool     ssld_index_find(const struct ssld_store_file *file, struct ssld_index *index);
/* Look at every byte of it: whether its checksum is right and its runs are in order, inside the store and the file. */
bool     ssld_index_intact(const struct ssld_store_file *file, const struct ssld_index *index);

void            ssld_run_entry_write(const struct ssld_run *run, uint8_t *entry);
struct ssld_run ssld_run_entry_read(const uint8_t *entry);

/* In order of view, then sample. */
static inline bool ssld_run_before(const struct ssld_run *a, const struct ssld_run *b)
{
    return a->view != b->view ? a->view < b->view : a->sample < b->sample;
}

#endif
