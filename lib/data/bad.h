/* SPDX-License-Identifier: BSD-2-Clause */
/* bad.h - images that could not be rendered and were left out. */
#ifndef SSLD_LIB_DATA_BAD_H
#define SSLD_LIB_DATA_BAD_H

#include "data/dataset.h"

struct ssld_bad {
    uint64_t    sample;
    int32_t     place; /* in its batch */
    ssld_status status;
    char       *text;
};

struct ssld_bad_list {
    struct ssld_bad *items;
    uint64_t         count, capacity;
};

/* Is the image at fault, and not the machine or the host's wish? */
bool ssld_bad_can_skip(ssld_status status);
/* The text is copied, with the sample's place before it. False: no memory. */
bool ssld_bad_add(ssld_context *context, struct ssld_bad_list *list, const ssld_dataset *dataset, uint64_t sample,
                  int32_t place, const struct ssld_fault *fault);
void ssld_bad_sort(struct ssld_bad_list *list); /* by place */
/* Move what is not in `to` yet to its end, in order; `from` is empty then. `seen` has a bit for each sample of `to`. False: no
 * memory, and what is left stays in `from`. */
bool ssld_bad_move(ssld_context *context, struct ssld_bad_list *to, uint8_t *seen, struct ssld_bad_list *from);
void ssld_bad_clear(ssld_context *context, struct ssld_bad_list *list); /* its memory stays for the next */
void ssld_bad_free(ssld_context *context, struct ssld_bad_list *list);

#endif
