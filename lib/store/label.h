/* SPDX-License-Identifier: BSD-2-Clause */
/* label.h - a teacher's answer on its way in: checked, and made log-probabilities with their moments. */
#ifndef SSLD_LIB_STORE_LABEL_H
#define SSLD_LIB_STORE_LABEL_H

#include "core/context.h"

struct ssld_label {
    const float *log_p;     /* of every class, at least SSLD_LOG_FLOOR, at most 0 */
    float        mean;      /* of log_p over all classes */
    float        deviation; /* standard, of log_p */
    int32_t      class;     /* the hard label, -1 if none is known */
};

/* What is wrong with a row, to stand behind "the label ..."; NULL for nothing. */
const char *ssld_label_check(const float *values, int32_t classes, bool logits);

/* ln p of a row that was checked, and its moments. `log_p` has room for `classes`. */
struct ssld_label ssld_label_read(const float *values, int32_t classes, bool logits, int32_t class, float *log_p);
/* A label of log-probabilities that ssld_label_read() made. */
struct ssld_label ssld_label_of(const float *log_p, int32_t classes, int32_t class);

#endif
