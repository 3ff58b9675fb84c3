/* SPDX-License-Identifier: BSD-2-Clause */
/* functions.h - the exponential and its relatives of one float, in additions, multiplications and selections only.
 *
 * libm answers one number a call; loops over these become vectors of every width. Their errors are measured against double
 * by tests/engine/test_functions.c, which says the same figures. NaN comes through. The polynomials are minimax fits of our
 * own (weights chosen so that the error is relative to the result). */
#ifndef SSLD_LIB_ENGINE_FUNCTIONS_H
#define SSLD_LIB_ENGINE_FUNCTIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/element.h"

ALWAYS_INLINE float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ALWAYS_INLINE uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* e^x for -87 .. 88, which is almost all of float's range; beyond it the value at the bound. Within 1.1 units in the last
 * place.
 *
 *   n = round(x / ln 2)      r = x - n ln 2, |r| <= ln 2 / 2      e^x = 2^n (1 + r + r^2 q(r))
 *
 * Adding 3 * 2^22 leaves no bits for a fraction: it rounds, and the last bits of the sum are n. */
ALWAYS_INLINE float exp_of(float x)
{
    const float magic = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + magic, n = shifted - magic;
    float r = (x - n * 0.693145752f) - n * 1.42860677e-6f; /* ln 2 in two parts: the first has bits to spare for n */
    float q = 0.001381458f;
    q = q * r + 0.008368726f;
    q = q * r + 0.04166839f;
    q = q * r + 0.16666521f;
    q = q * r + 0.49999994f;
    float power = float_of_bits((bits_of_float(shifted) + 127u) << 23); /* the sum's upper bits fall off */
    return power * (r * r * q + r + 1.0f);
}

/* 1 / (1 + e^-x), within 2.5 units in the last place from -87 up; below, where it is less than 1e-38, the value there. */
ALWAYS_INLINE float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

/* Within 2 units in the last place:
 *
 *   |x| < 0.625   x + x^3 p(x^2)         else   sign(x) (1 - 2 / (e^2|x| + 1)) */
ALWAYS_INLINE float tanh_of(float x)
{
    float z = x * x, a = fabsf(x);
    float p = -0.0057049785f;
    p = p * z + 0.020639079f;
    p = p * z - 0.05373971f;
    p = p * z + 0.13331442f;
    p = p * z - 0.3333328f;
    float near = x + x * z * p;
    float far = copysignf(1.0f - 2.0f / (exp_of(2.0f * a) + 1.0f), x);
    return a < 0.625f ? near : far;
}

/* Within 2 units in the last place; e^-t there is 1 - erf, so its error counts little:
 *
 *   |x| < 0.875   x + x p(x^2)           else   sign(x) (1 - e^-t(|x|)),   t = -ln(1 - erf), a polynomial up to 4 */
ALWAYS_INLINE float erf_of(float x)
{
    float z = x * x, a = fabsf(x);
    float p = -0.0006203252f;
    p = p * z + 0.005032181f;
    p = p * z - 0.026791463f;
    p = p * z + 0.11282455f;
    p = p * z - 0.3761255f;
    p = p * z + 0.12837915f;
    a = a > 4.0f ? 4.0f : a; /* from 3.92 on it is 1 */
    float t = -0.00020099626f;
    t = t * a + 0.0030922925f;
    t = t * a - 0.022420218f;
    t = t * a + 0.10432751f;
    t = t * a + 0.6367372f;
    t = t * a + 1.1279361f;
    t = t * a + 0.00013357488f;
    float near = x + x * p, far = copysignf(1.0f - exp_of(-t), x);
    return a < 0.875f ? near : far;
}

#endif
