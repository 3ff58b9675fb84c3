/* SPDX-License-Identifier: BSD-2-Clause */
/* batch.h - the inside of a batch: pointers to memory that a loader or a host owns. */
#ifndef SSLD_LIB_CORE_BATCH_H
#define SSLD_LIB_CORE_BATCH_H

#include "core/context.h"
#include "ssld/batch.h"

struct ssld_batch {
    ssld_context   *context;
    int32_t         count;
    int32_t         shape[3]; /* channels, height, width */
    const float    *pixels;   /* (count, channels, height, width) */
    const uint64_t *samples;  /* or NULL */
    const uint32_t *views;    /* or NULL */
    const int32_t  *labels;   /* or NULL */
    /* Who lent the memory, told when the batch lets go of it; NULL for a host's memory. */
    void          (*release)(void *owner, void *slot);
    void           *owner;
    void           *slot;
};

/* Give the memory back to who lent it, if anyone; the batch is empty then. */
void ssld_batch_empty(ssld_batch *batch);

#endif
