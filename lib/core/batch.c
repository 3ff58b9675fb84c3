/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/batch.h"

#include <string.h>

ssld_status ssld_batch_create(ssld_context *context, ssld_batch **batch)
{
    ssld_batch *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a batch", sizeof *made);
    made->context = context;
    *batch = made;
    return SSLD_OK;
}

void ssld_batch_empty(ssld_batch *batch)
{
    if (batch->release)
        batch->release(batch->owner, batch->slot);
    ssld_context *context = batch->context;
    memset(batch, 0, sizeof *batch);
    batch->context = context;
}

ssld_status ssld_batch_wrap(ssld_batch *batch, int32_t count, const int32_t shape[3], const float *pixels,
                            const uint64_t *samples, const uint32_t *views, const int32_t *labels)
{
    if (count < 1 || !pixels || shape[0] < 1 || shape[1] < 1 || shape[2] < 1)
        return ssld_fail(batch->context, SSLD_INVALID_ARGUMENT,
                         "ssld_batch_wrap: %d views of shape %d x %d x %d; a batch has at least one view with pixels", count,
                         shape[0], shape[1], shape[2]);
    ssld_batch_empty(batch);
    batch->count = count;
    memcpy(batch->shape, shape, sizeof batch->shape);
    batch->pixels = pixels;
    batch->samples = samples;
    batch->views = views;
    batch->labels = labels;
    return SSLD_OK;
}

int32_t ssld_batch_count(const ssld_batch *batch)
{
    return batch->count;
}

void ssld_batch_shape(const ssld_batch *batch, int32_t shape[3])
{
    memcpy(shape, batch->shape, sizeof batch->shape);
}

const float *ssld_batch_pixels(const ssld_batch *batch)
{
    return batch->pixels;
}

const uint64_t *ssld_batch_samples(const ssld_batch *batch)
{
    return batch->samples;
}

const uint32_t *ssld_batch_views(const ssld_batch *batch)
{
    return batch->views;
}

const int32_t *ssld_batch_labels(const ssld_batch *batch)
{
    return batch->labels;
}

void ssld_batch_destroy(ssld_batch *batch)
{
    if (!batch)
        return;
    ssld_batch_empty(batch);
    ssld_free(batch->context, batch);
}
