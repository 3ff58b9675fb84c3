/* SPDX-License-Identifier: BSD-2-Clause */
/* writer.h - the inside of a store's writer, shared by the files that open it, append to it and write its file.
 *
 *   labels --learning buffer, until there is a model--> encoders --records that wait--> sorted --blocks--> end of the file */
#ifndef SSLD_LIB_STORE_WRITER_H
#define SSLD_LIB_STORE_WRITER_H

#include <zstd.h>

#include "ssld/store.h"
#include "store/block.h"
#include "store/learn.h"
#include "store/parallel.h"
#include "store/recovery.h"

/* Which samples of one view are stored or waiting. */
struct ssld_view_state {
    uint64_t *bits; /* a bit a sample; NULL while there are none */
    uint64_t  count;
};

#define SSLD_PLAIN (-1) /* instead of the number of a model: a record of halves, for want of one */

/* A record that waits for its block. */
struct ssld_waiting {
    uint64_t sample;
    uint64_t at; /* of its first byte in the arena */
    uint64_t bits;
    uint32_t view;
    int32_t  model; /* number in the list of models, or SSLD_PLAIN */
};

/* A growing array of bytes. */
struct ssld_bytes {
    uint8_t *bytes;
    size_t   size, capacity;
};

/* What one thread of the crew works with. */
struct ssld_writer_worker {
    struct ssld_encoder encoder; /* of the store's codec */
    struct ssld_encoder plain;   /* of halves */
    ZSTD_CCtx          *compressor;
    uint8_t            *payload; /* block_bytes */
    struct ssld_bytes   records; /* encoded by its last task */
    ssld_status         status;
};

/* Labels that a model is to be fitted to. */
struct ssld_lesson {
    size_t    wanted, capacity, count; /* rows */
    size_t    stored;  /* of them, those written as halves already */
    float    *log_p;   /* (capacity, stride) */
    int32_t  *classes; /* (capacity) */
    uint64_t *samples;
    uint32_t *views;
};

struct ssld_store_writer {
    ssld_context            *context;
    char                    *path;
    int                      descriptor;
    struct ssld_store_header header;
    const struct ssld_codec *codec, *plain;
    struct ssld_coding       coding, plain_coding;
    int32_t                  level;

    struct ssld_view_state *views; /* of the views from 0 to the largest seen so far */
    uint32_t                view_count;
    uint64_t                records;
    struct ssld_run_list    list; /* of what is in the file */
    uint64_t                blocks;

    uint64_t end;         /* of what is sound in the file: the next frame's offset */
    uint64_t file_size;   /* larger where a torn end or an index has not been cut off yet */
    uint64_t durable;
    bool     fresh;       /* made by this writer: there was no header, so there are no labels of anybody */
    bool     indexed;     /* what is behind `end` is an index of all there is */
    bool     sync_failed; /* the system may have dropped what it could not write: no later sync is to be believed */

    struct ssld_model **models; /* those in the file and those that are to be: the last one is used */
    int32_t             model_count;
    int32_t             models_written;
    uint64_t           *model_offsets; /* of their frames, SSLD_MOST_MODELS */
    uint64_t            model_frames;
    struct ssld_lesson  lesson;

    struct ssld_waiting *waiting;
    size_t               waiting_count, waiting_capacity, window;
    struct ssld_bytes    arena; /* the waiting records */

    struct ssld_crew          *crew;
    struct ssld_writer_worker *workers;
};

/* -- views.c: which views there are ------------------------------------------------------------------------------- */

ssld_status ssld_writer_reserve_view(ssld_store_writer *writer, uint32_t view);
/* Note a view as stored; false if it was already. Its state is reserved. */
bool        ssld_writer_note(ssld_store_writer *writer, uint32_t view, uint64_t sample);
void        ssld_writer_forget(ssld_store_writer *writer, uint32_t view, uint64_t sample);
bool        ssld_writer_has(const ssld_store_writer *writer, uint32_t view, uint64_t sample);

/* -- append.c ----------------------------------------------------------------------------------------------------- */

/* Crew, encoders, arena. Once the header is known. */
ssld_status ssld_writer_prepare(ssld_store_writer *writer);
void        ssld_writer_unprepare(ssld_store_writer *writer);
/* Use a model from now on; it is the writer's then, also on failure. */
ssld_status ssld_writer_take_model(ssld_store_writer *writer, struct ssld_model *model, int32_t *number);
/* Labels from log-probabilities, of views that are noted: to the lesson or to the waiting records. */
ssld_status ssld_writer_add(ssld_store_writer *writer, int32_t count, const uint64_t *samples, const uint32_t *views,
                            const int32_t *classes, const float *values, bool logits);
/* Add a label that is stored as halves to the lesson, if it still learns. */
ssld_status ssld_writer_teach(ssld_store_writer *writer, const struct ssld_label *label);
/* A record as it is, of a view that is noted. */
ssld_status ssld_writer_add_record(ssld_store_writer *writer, uint64_t sample, uint32_t view, int32_t model,
                                   const struct ssld_source *source, uint64_t bits);
/* Fit a model if there are at least so many labels; else they wait as halves. */
ssld_status ssld_writer_settle_lesson(ssld_store_writer *writer, size_t least);
/* Fit a model and write blocks if there are enough labels for them. */
ssld_status ssld_writer_advance(ssld_store_writer *writer);
/* Write all waiting records as blocks. Those that could not be written go on waiting. */
ssld_status ssld_writer_flush(ssld_store_writer *writer);

/* -- file_end.c: the end of the file ------------------------------------------------------------------------------ */

ssld_status ssld_writer_fail(ssld_store_writer *writer, const char *verb);
ssld_status ssld_writer_write(ssld_store_writer *writer, const void *bytes, size_t size);
ssld_status ssld_writer_sync(ssld_store_writer *writer);
ssld_status ssld_writer_make_durable(ssld_store_writer *writer, size_t least);
ssld_status ssld_writer_write_index(ssld_store_writer *writer);

/* Room for `more` bytes. False: no memory. */
bool ssld_bytes_reserve(ssld_context *context, struct ssld_bytes *bytes, size_t more);

#endif
