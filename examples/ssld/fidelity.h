/* SPDX-License-Identifier: BSD-2-Clause */
/* fidelity.h - how far one distribution is from another, and how far the gradients are that a student gets of them.
 *
 * p is a student's distribution softmax(z), q a label, C the number of classes, e = 1e-12 as in libssld's losses:
 *
 *     soft_ce    -sum q ln p                  gradient by z:   p - q
 *     sym_kl     (KL(q||p) + KL(p||q)) / 2    gradient by z:   (p - q + p (r - sum p r)) / 2,  r = ln(p + e) - ln(q + e) */
#ifndef SSLD_PROGRAM_FIDELITY_H
#define SSLD_PROGRAM_FIDELITY_H

#include <stdint.h>

/* Probabilities of a row of logits, in double precision. */
void softmax_of(const float *logits, int32_t classes, double *p);

/* KL(p || q) in nats: sum p ln(p / q), both with e added, so that a class that q leaves out costs ln(1 / e) and no
 * more. */
double kl_divergence(const double *p, const double *q, int32_t classes);

/* Half of sum |p - q|: the largest probability that an event can differ by. */
double total_variation(const double *p, const double *q, int32_t classes);

/* Cosine between the gradients that two labels give one student. `work` has 2 C numbers. */
double soft_ce_cosine(const double *p, const double *q1, const double *q2, int32_t classes, double *work);
double sym_kl_cosine(const double *p, const double *q1, const double *q2, int32_t classes, double *work);

#endif
