/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/labels.h"

#include <math.h>

ssld_status ssld_labels_create(ssld_context *context, int32_t capacity, int32_t classes, ssld_labels **labels)
{
    if (capacity < 1 || classes < 1)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_labels_create: %d rows of %d classes; both must be at least 1",
                         capacity, classes);
    ssld_labels *made = ssld_alloc_zero(context, 1, sizeof *made);
    float *own = ssld_alloc_zero(context, (size_t)capacity, (size_t)classes * sizeof(float));
    if (!made || !own) {
        ssld_free(context, made);
        ssld_free(context, own);
        return ssld_fail_memory(context, "labels", (size_t)capacity * (size_t)classes * sizeof(float));
    }
    made->context = context;
    made->capacity = capacity;
    made->classes = classes;
    made->own = own;
    *labels = made;
    return SSLD_OK;
}

static ssld_status wrap(ssld_labels *labels, int32_t kind, int32_t count, const float *values, const char *function)
{
    if (count < 1 || count > labels->capacity || !values)
        return ssld_fail(labels->context, SSLD_INVALID_ARGUMENT, "%s: %d rows; these labels take 1 to %d", function, count,
                         labels->capacity);
    labels->kind = kind;
    labels->count = count;
    labels->values = values;
    return SSLD_OK;
}

ssld_status ssld_labels_wrap_logits(ssld_labels *labels, int32_t count, const float *logits)
{
    return wrap(labels, SSLD_LABELS_LOGITS, count, logits, __func__);
}

ssld_status ssld_labels_wrap_probabilities(ssld_labels *labels, int32_t count, const float *probabilities)
{
    return wrap(labels, SSLD_LABELS_PROBABILITIES, count, probabilities, __func__);
}

float *ssld_labels_write(ssld_labels *labels, int32_t kind, int32_t count)
{
    labels->kind = kind;
    labels->count = count;
    labels->values = labels->own;
    return labels->own;
}

void ssld_labels_clear(ssld_labels *labels)
{
    labels->kind = SSLD_LABELS_EMPTY;
    labels->count = 0;
    labels->values = NULL;
}

void ssld_softmax(const float *src, int32_t classes, float *dst)
{
    float largest = src[0];
    for (int32_t c = 1; c < classes; c++)
        largest = src[c] > largest ? src[c] : largest;
    double sum = 0;
    for (int32_t c = 0; c < classes; c++) {
        dst[c] = expf(src[c] - largest);
        sum += dst[c];
    }
    float scale = (float)(1 / sum);
    for (int32_t c = 0; c < classes; c++)
        dst[c] *= scale;
}

ssld_status ssld_labels_softmax(ssld_labels *labels)
{
    if (labels->kind == SSLD_LABELS_EMPTY)
        return ssld_fail(labels->context, SSLD_INVALID_ARGUMENT, "ssld_labels_softmax: the labels are empty");
    if (labels->kind == SSLD_LABELS_LOGITS) {
        const float *logits = labels->values;
        size_t stride = (size_t)labels->classes;
        for (size_t row = 0; row < (size_t)labels->count; row++)
            ssld_softmax(logits + row * stride, labels->classes, labels->own + row * stride);
        labels->kind = SSLD_LABELS_PROBABILITIES;
        labels->values = labels->own;
    }
    return SSLD_OK;
}

int32_t ssld_labels_kind(const ssld_labels *labels)
{
    return labels->kind;
}

int32_t ssld_labels_count(const ssld_labels *labels)
{
    return labels->count;
}

int32_t ssld_labels_capacity(const ssld_labels *labels)
{
    return labels->capacity;
}

int32_t ssld_labels_classes(const ssld_labels *labels)
{
    return labels->classes;
}

const float *ssld_labels_logits(const ssld_labels *labels)
{
    return labels->kind == SSLD_LABELS_LOGITS ? labels->values : NULL;
}

const float *ssld_labels_probabilities(const ssld_labels *labels)
{
    return labels->kind == SSLD_LABELS_PROBABILITIES ? labels->values : NULL;
}

void ssld_labels_destroy(ssld_labels *labels)
{
    if (!labels)
        return;
    if (labels->scratch)
        labels->scratch_free(labels->context, labels->scratch);
    ssld_free(labels->context, labels->own);
    ssld_free(labels->context, labels);
}
