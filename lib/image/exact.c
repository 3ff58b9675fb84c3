/* SPDX-License-Identifier: BSD-2-Clause */
/* exact.c - reproducible exp and log: argument reduction by powers of two, then series long enough for a double. */
#include "image/exact.h"

#include <float.h>
#include <math.h>

_Static_assert(FLT_EVAL_METHOD == 0, "doubles must be computed as doubles: on 32-bit x86 add -msse2 -mfpmath=sse");

/* ln 2 in two parts; the high one has 21 trailing zero bits, so its product with an exponent is exact. */
#define LN2_HIGH 0x1.62e42feep-1
#define LN2_LOW 0x1.a39ef35793c76p-33

/* exp(x) = 2^k exp(r), |r| <= ln(2) / 2; the term after r^13 / 13! is below 2^-57. */
double ssld_exact_exp(double x)
{
    double k = floor(x / (LN2_HIGH + LN2_LOW) + 0.5);
    double r = (x - k * LN2_HIGH) - k * LN2_LOW;
    double sum = 1.0;
    for (int n = 13; n >= 1; n--)
        sum = 1.0 + r * sum / n;
    return ldexp(sum, (int)k);
}

/* log(2^k m) = k ln 2 + 2 artanh(s), s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2)): |s| < 0.172, so the term after
 * s^21 / 21 is below 2^-62. */
double ssld_exact_log(double x)
{
    int k;
    double m = frexp(x, &k);
    if (m < 0.70710678118654752) {
        m *= 2.0;
        k--;
    }
    double s = (m - 1.0) / (m + 1.0);
    double square = s * s, sum = 0.0;
    for (int n = 21; n >= 3; n -= 2)
        sum = square * (1.0 / n + sum);
    return k * LN2_HIGH + (2.0 * s + (2.0 * s * sum + k * LN2_LOW));
}
