/* SPDX-License-Identifier: BSD-2-Clause */
/* exact.h - exp, log, sin and cos that give the same bits on every machine.
 *
 * Pixels hang on their last bit (a crop's size is rounded from them), and no two C libraries agree there. These are
 * made of IEEE additions, multiplications and divisions alone. Within 2 units in the last place of the true value. */
#ifndef SSLD_LIB_IMAGE_EXACT_H
#define SSLD_LIB_IMAGE_EXACT_H

double ssld_exact_exp(double x); /* |x| at most 700 */
double ssld_exact_log(double x); /* x positive, finite and normal */
double ssld_exact_sin(double x); /* |x| at most 100 */
double ssld_exact_cos(double x);

#endif
