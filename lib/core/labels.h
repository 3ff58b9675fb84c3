/* SPDX-License-Identifier: BSD-2-Clause */
/* labels.h - the inside of labels. They stand in core because teacher, store and student all speak of them. */
#ifndef SSLD_LIB_CORE_LABELS_H
#define SSLD_LIB_CORE_LABELS_H

#include "core/context.h"
#include "ssld/labels.h"

struct ssld_labels {
    ssld_context *context;
    int32_t       kind;     /* SSLD_LABELS_x */
    int32_t       count;
    int32_t       capacity;
    int32_t       classes;
    const float  *values;   /* (count, classes): own, or a host's */
    float        *own;      /* (capacity, classes) */
    /* Working memory a store's reader keeps here, so that readers on several threads share nothing. */
    void         *scratch;
    void        (*scratch_free)(ssld_context *context, void *scratch);
};

/* The labels' own memory for `count` rows to be written, of `kind`; the labels are valid once the caller has filled it. */
float *ssld_labels_write(ssld_labels *labels, int32_t kind, int32_t count);
/* Empty again, for a writer that failed half-way. */
void ssld_labels_clear(ssld_labels *labels);

/* dst = softmax(src) over `classes`; the exponentials are summed in double, dst may be src. */
void ssld_softmax(const float *src, int32_t classes, float *dst);

#endif
