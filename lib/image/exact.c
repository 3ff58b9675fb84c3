/* SPDX-License-Identifier: BSD-2-Clause */
/* exact.c - reproducible exp, log, sin and cos: argument reduction, then series long enough for a double. */
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

/* pi / 2 in three parts; the first two end in zero bits, so that their products with a small whole number are exact. */
#define HALF_PI_HIGH 0x1.921fb544p+0
#define HALF_PI_MIDDLE 0x1.0b4611a6p-34
#define HALF_PI_LOW 0x1.3198a2e037073p-69

/* x = quarter * pi / 2 + r, |r| <= pi / 4. */
static double within_quarter(double x, int *quarter)
{
    double k = rint(x * (1 / (HALF_PI_HIGH + HALF_PI_MIDDLE)));
    *quarter = (int)k & 3;
    return ((x - k * HALF_PI_HIGH) - k * HALF_PI_MIDDLE) - k * HALF_PI_LOW;
}

/* sin r = r - r^3 / 3! + ...; the term after r^17 / 17! is below 2^-61. */
static double sine_series(double r)
{
    double square = r * r, sum = 0.0;
    for (int n = 16; n >= 2; n -= 2)
        sum = -square / (n * (n + 1)) * (1.0 + sum);
    return r + r * sum;
}

/* cos r = 1 - r^2 / 2! + ...; the term after r^16 / 16! is below 2^-58. */
static double cosine_series(double r)
{
    double square = r * r, sum = 0.0;
    for (int n = 15; n >= 3; n -= 2)
        sum = -square / (n * (n + 1)) * (1.0 + sum);
    return 1.0 - (0.5 * square + 0.5 * square * sum);
}

static double turned(double r, int quarter)
{
    double value = quarter & 1 ? cosine_series(r) : sine_series(r);
    return quarter & 2 ? -value : value;
}

double ssld_exact_sin(double x)
{
    int quarter;
    double r = within_quarter(x, &quarter);
    return turned(r, quarter);
}

double ssld_exact_cos(double x)
{
    int quarter;
    double r = within_quarter(x, &quarter);
    return turned(r, quarter + 1);
}
