/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * labels.h - the teacher's answers for a batch: logits or probabilities, and never one taken for the other.
 *
 * Hard labels are not in here: they are ssld_batch_labels().
 */
#ifndef SSLD_LABELS_H
#define SSLD_LABELS_H

#include "context.h"

SSLD_BEGIN_DECLS

typedef struct ssld_labels ssld_labels;

#define SSLD_LABELS_EMPTY 0          /**< nothing was written yet */
#define SSLD_LABELS_LOGITS 1         /**< any real numbers; their softmax is the distribution */
#define SSLD_LABELS_PROBABILITIES 2  /**< a distribution a row: not negative, sum 1 */

/**
 * Labels of at most `capacity` views over `classes` classes, empty.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT; SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: one thread at a time. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_labels_create(ssld_context *context, int32_t capacity, int32_t classes,
                                                       ssld_labels **labels);

/** Stand for the host's own `count` x classes logits without a copy; borrowed until labels are written or wrapped again.
 *  SSLD_INVALID_ARGUMENT if count is not 1 to capacity. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_labels_wrap_logits(ssld_labels *labels, int32_t count, const float *logits);

/** As ssld_labels_wrap_logits(), for probabilities. */
SSLD_API SSLD_NODISCARD ssld_status ssld_labels_wrap_probabilities(ssld_labels *labels, int32_t count,
                                                                   const float *probabilities);

/** Turn logits into probabilities (softmax of each row, in labels' own memory); probabilities stay as they are.
 *  SSLD_INVALID_ARGUMENT if the labels are empty. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_labels_softmax(ssld_labels *labels);

SSLD_API int32_t ssld_labels_kind(const ssld_labels *labels);      /**< SSLD_LABELS_x */
SSLD_API int32_t ssld_labels_count(const ssld_labels *labels);     /**< rows */
SSLD_API int32_t ssld_labels_capacity(const ssld_labels *labels);  /**< most rows */
SSLD_API int32_t ssld_labels_classes(const ssld_labels *labels);   /**< columns */

/** count x classes logits; NULL if the labels are not logits. Valid until labels are written again. Since 0.1. */
SSLD_API const float *ssld_labels_logits(const ssld_labels *labels);

/** count x classes probabilities; NULL if the labels are not probabilities. Valid until labels are written again. */
SSLD_API const float *ssld_labels_probabilities(const ssld_labels *labels);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_labels_destroy(ssld_labels *labels);

SSLD_END_DECLS

#endif
