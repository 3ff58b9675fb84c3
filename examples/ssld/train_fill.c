/* SPDX-License-Identifier: BSD-2-Clause */
/* train_fill.c - a step takes a full batch: where images were left out of one, others of the same batch stand twice. The steps
 * of an epoch stay what they are, so that schedules and resumed runs do, too; how many rows that were is told at the end. */
#include <stdlib.h>
#include <string.h>

#include "train.h"

static bool make_room(struct training *t)
{
    size_t batch = (size_t)t->values->batch;
    const int32_t *shape = t->source.shape;
    if (t->filled.pixels)
        return true;
    t->filled.pixels = malloc(batch * (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2] * sizeof *t->filled.pixels);
    t->filled.samples = malloc(batch * sizeof *t->filled.samples);
    t->filled.views = malloc(batch * sizeof *t->filled.views);
    t->filled.labels = malloc(batch * sizeof *t->filled.labels);
    return t->filled.pixels && t->filled.samples && t->filled.views && t->filled.labels;
}

int32_t training_fill(struct training *t, ssld_batch **batch)
{
    int32_t count = ssld_batch_count(t->batch), whole = t->values->batch;
    const int32_t *labels = ssld_batch_labels(t->batch), *shape = t->source.shape;
    size_t view = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
    *batch = t->batch;
    if (count == whole)
        return 0;
    if (!make_room(t))
        return -1;
    for (int32_t i = 0; i < whole; i++) {
        int32_t from = i % count;
        memcpy(t->filled.pixels + (size_t)i * view, ssld_batch_pixels(t->batch) + (size_t)from * view,
               view * sizeof *t->filled.pixels);
        t->filled.samples[i] = ssld_batch_samples(t->batch)[from];
        t->filled.views[i] = ssld_batch_views(t->batch)[from];
        t->filled.labels[i] = labels ? labels[from] : -1;
    }
    if ((!t->filled.batch && ssld_batch_create(t->program->context, &t->filled.batch)) ||
        ssld_batch_wrap(t->filled.batch, whole, shape, t->filled.pixels, t->filled.samples, t->filled.views,
                        labels ? t->filled.labels : NULL))
        return -1;
    *batch = t->filled.batch;
    return whole - count;
}

void training_fill_end(struct training *t)
{
    ssld_batch_destroy(t->filled.batch);
    free(t->filled.pixels);
    free(t->filled.samples);
    free(t->filled.views);
    free(t->filled.labels);
}
