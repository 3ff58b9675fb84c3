/* SPDX-License-Identifier: BSD-2-Clause */
/* recovery.h - what a store's file holds, found by walking its frames: after an interruption, while it is written, or
 * past damage. The rules are those of docs/format.md, "Recovery". */
#ifndef SSLD_LIB_STORE_RECOVERY_H
#define SSLD_LIB_STORE_RECOVERY_H

#include "store/format.h"

/* A growing list of runs. */
struct ssld_run_list {
    struct ssld_run *runs;
    size_t           count;
    size_t           capacity;
};

/* Room for `more` runs. SSLD_OUT_OF_MEMORY. */
ssld_status ssld_run_list_reserve(ssld_context *context, struct ssld_run_list *list, size_t more);
/* Add a block's runs; there is room. */
void ssld_run_list_add(struct ssld_run_list *list, const struct ssld_block *block);
/* In order of view and sample. SSLD_CORRUPT if two runs overlap: a view would be stored twice. */
ssld_status ssld_run_list_sort(ssld_context *context, const char *path, struct ssld_run_list *list);

struct ssld_scan {
    struct ssld_run_list list;
    uint64_t *models; /* offsets of the models' frames, in the order of the file */
    uint64_t model_count;
    uint64_t blocks;
    uint64_t end;     /* behind the last frame of the unbroken chain that starts at the header; not counting an index */
    uint64_t durable; /* behind the last mark of that chain: no byte before it may be wrong */
    uint64_t broken;  /* where sound frames follow something unreadable: the offset of that; 0 if nothing does */
    bool     damaged; /* the unreadable was durable once: a mark or an index follows it */
    bool     closed;  /* the chain ends with an index, and the file with it */
};

/* SSLD_OK also for damaged files: `scan` says so. SSLD_FORMAT for frames of a later version, SSLD_OUT_OF_MEMORY; `scan`
 * holds nothing then. */
ssld_status ssld_scan_run(ssld_context *context, const char *path, const struct ssld_store_file *file,
                          struct ssld_scan *scan);

/* Look at the payloads of the blocks behind the last mark, which a power cut may have torn one by one, and move `end` before
 * the first torn one. Runs and models from `end` on leave their lists. SSLD_OUT_OF_MEMORY. */
ssld_status ssld_scan_cut_torn(ssld_context *context, const struct ssld_store_file *file, struct ssld_scan *scan);

/* The next place at or behind `offset` where a sound frame begins; the file's size if there is none. */
uint64_t ssld_next_frame(const struct ssld_store_file *file, uint64_t offset);

void ssld_scan_free(ssld_context *context, struct ssld_scan *scan);

#endif
