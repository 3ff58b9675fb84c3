/* SPDX-License-Identifier: BSD-2-Clause */
/* fidelity.c - divergences and gradient cosines in double precision: a reference, so nothing is fast here. */
#include "fidelity.h"

#include <math.h>

#define EPSILON 1e-12 /* that of libssld's losses */

void softmax_of(const float *logits, int32_t classes, double *p)
{
    double largest = (double)logits[0], sum = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = fmax(largest, (double)logits[c]);
    for (int32_t c = 0; c < classes; c++)
        sum += p[c] = exp((double)logits[c] - largest);
    for (int32_t c = 0; c < classes; c++)
        p[c] /= sum;
}

double kl_divergence(const double *p, const double *q, int32_t classes)
{
    double sum = 0;
    for (int32_t c = 0; c < classes; c++)
        sum += p[c] * (log(p[c] + EPSILON) - log(q[c] + EPSILON));
    return sum;
}

double total_variation(const double *p, const double *q, int32_t classes)
{
    double sum = 0;
    for (int32_t c = 0; c < classes; c++)
        sum += fabs(p[c] - q[c]);
    return sum / 2;
}

static double cosine(const double *a, const double *b, int32_t classes)
{
    double aa = 0, bb = 0, ab = 0;
    for (int32_t c = 0; c < classes; c++) {
        aa += a[c] * a[c];
        bb += b[c] * b[c];
        ab += a[c] * b[c];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : aa == bb;
}

static void soft_ce_gradient(const double *p, const double *q, int32_t classes, double *gradient)
{
    for (int32_t c = 0; c < classes; c++)
        gradient[c] = p[c] - q[c];
}

static void sym_kl_gradient(const double *p, const double *q, int32_t classes, double *gradient)
{
    double mean = kl_divergence(p, q, classes);
    for (int32_t c = 0; c < classes; c++)
        gradient[c] = (p[c] - q[c] + p[c] * (log(p[c] + EPSILON) - log(q[c] + EPSILON) - mean)) / 2;
}

double soft_ce_cosine(const double *p, const double *q1, const double *q2, int32_t classes, double *work)
{
    soft_ce_gradient(p, q1, classes, work);
    soft_ce_gradient(p, q2, classes, work + classes);
    return cosine(work, work + classes, classes);
}

double sym_kl_cosine(const double *p, const double *q1, const double *q2, int32_t classes, double *work)
{
    sym_kl_gradient(p, q1, classes, work);
    sym_kl_gradient(p, q2, classes, work + classes);
    return cosine(work, work + classes, classes);
}
