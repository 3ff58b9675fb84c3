/* SPDX-License-Identifier: BSD-2-Clause */
/* measure.h - what is counted on the way: how good logits are, and how long steps take. */
#ifndef SSLD_PROGRAM_MEASURE_H
#define SSLD_PROGRAM_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "ssld/ssld.h"

/* Sums over views. */
struct quality {
    uint64_t views, labelled, top1, top5; /* top1, top5: among the labelled ones */
    double   loss;                        /* sum of -ln p(label) */
    double   entropy;                     /* sum of -sum_c p ln p over all views */
};

/* Add a batch of logits and the hard labels it may have. */
void quality_add(struct quality *quality, const ssld_batch *batch, const ssld_labels *logits);

/* Durations in milliseconds. */
struct timings {
    double *values;
    size_t  count, capacity;
};

void   timings_add(struct timings *timings, double milliseconds);
/* The median from the `first` one on; 0 if there is none. */
double timings_median(const struct timings *timings, size_t first);
void   timings_free(struct timings *timings);

#endif
