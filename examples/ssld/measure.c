/* SPDX-License-Identifier: BSD-2-Clause */
/* measure.c - top-1, top-5, loss and entropy of logits; medians of durations. */
#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How many classes come before the label when sorted by logit, ties by class. Not-a-number is never ahead of anything. */
static int32_t rank_of(const float *logits, int32_t classes, int32_t label)
{
    int32_t rank = 0;
    for (int32_t c = 0; c < classes; c++)
        if (c != label && !(logits[c] < logits[label]) && (logits[c] != logits[label] || c < label))
            rank++;
    return rank;
}

/* ln sum exp(z), and the entropy ln sum exp(z) - sum p z. */
static double log_sum(const float *logits, int32_t classes, double *entropy)
{
    double largest = logits[0], sum = 0, weighted = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = logits[c] > largest ? logits[c] : largest;
    for (int32_t c = 0; c < classes; c++) {
        double power = exp(logits[c] - largest);
        sum += power;
        weighted += power * (logits[c] - largest);
    }
    *entropy = log(sum) - weighted / sum;
    return log(sum) + largest;
}

void quality_add(struct quality *quality, const ssld_batch *batch, const ssld_labels *labels)
{
    int32_t count = ssld_batch_count(batch), classes = ssld_labels_classes(labels);
    const float *logits = ssld_labels_logits(labels);
    const int32_t *hard = ssld_batch_labels(batch);
    for (int32_t n = 0; n < count; n++, logits += classes) {
        double entropy, sum = log_sum(logits, classes, &entropy);
        quality->views++;
        quality->entropy += entropy;
        if (!hard || hard[n] < 0 || hard[n] >= classes)
            continue;
        int32_t rank = rank_of(logits, classes, hard[n]);
        quality->labelled++;
        quality->top1 += rank < 1;
        quality->top5 += rank < 5;
        quality->loss += sum - logits[hard[n]];
    }
}

void timings_add(struct timings *timings, double milliseconds)
{
    if (timings->count == timings->capacity) {
        size_t capacity = timings->capacity ? 2 * timings->capacity : 1024;
        double *larger = realloc(timings->values, capacity * sizeof *larger);
        if (!larger) /* a measurement less is no reason to stop the work */
            return;
        timings->values = larger;
        timings->capacity = capacity;
    }
    timings->values[timings->count++] = milliseconds;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double timings_median(const struct timings *timings, size_t first)
{
    size_t count = timings->count - first;
    double *sorted = count ? malloc(count * sizeof *sorted) : NULL;
    if (!sorted)
        return 0;
    memcpy(sorted, timings->values + first, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    double median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
    free(sorted);
    return median;
}

void timings_free(struct timings *timings)
{
    free(timings->values);
    *timings = (struct timings){ 0 };
}
