/* SPDX-License-Identifier: BSD-2-Clause */
/* loss.h - losses on logits: a weighted sum of terms, each a row of a table with its value and gradient together. */
#ifndef SSLD_LIB_DISTILL_LOSS_H
#define SSLD_LIB_DISTILL_LOSS_H

#include "core/labels.h"

#define SSLD_MOST_LOSS_TERMS 8

struct ssld_loss_row; /* a row of the table in loss.c */

struct ssld_loss {
    int32_t term_count;
    struct {
        const struct ssld_loss_row *row;
        double weight;
        double parameters[4]; /* in the row's order, defaults filled in */
    } terms[SSLD_MOST_LOSS_TERMS];
    bool needs_soft; /* the teacher's labels */
    bool needs_hard; /* classes */
};

/* "0.5*soft_ce + hard_ce(smoothing=0.1)"; SSLD_INVALID_ARGUMENT quoting what it did not understand and listing the names. */
ssld_status ssld_loss_parse(ssld_context *context, const char *text, struct ssld_loss *loss);

/* Are the labels of a batch what the loss can use? Classes: SSLD_INVALID_ARGUMENT for one that is not 0 to classes - 1.
 * Soft labels: SSLD_NOT_FINITE, or SSLD_INVALID_ARGUMENT for a probability below 0. The text names the view. */
ssld_status ssld_loss_check_labels(ssld_context *context, const struct ssld_loss *loss, int32_t count, int32_t classes,
                                   const ssld_labels *soft, const int32_t *hard);

/*
 * Value and gradient for a batch whose labels were checked.
 *
 *   logits       (count, classes) of the student
 *   soft         teacher's logits or probabilities of the same shape; NULL if !needs_soft
 *   hard         count classes; NULL if !needs_hard
 *   diff_logits  (count, classes): receives scale * d(mean over the batch) / d(logits)
 *   value        receives the mean over the batch, summed in double in row order
 *
 * The caller has checked shapes. No allocation: working rows of `classes` doubles come from `scratch`, which has room for
 * ssld_loss_scratch(classes) bytes. SSLD_NOT_FINITE with a text if the value is not finite.
 */
size_t ssld_loss_scratch(int32_t classes);
ssld_status ssld_loss_compute(ssld_context *context, const struct ssld_loss *loss, int32_t count, int32_t classes,
                              const float *logits, const ssld_labels *soft, const int32_t *hard, double scale,
                              void *scratch, float *diff_logits, double *value);

#endif
