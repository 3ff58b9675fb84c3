/* SPDX-License-Identifier: BSD-2-Clause */
/* vector.h - loops over classes that compilers make vectors of: exponentials, and sums whose order is always the same.
 *
 * A sum goes to 64 partial ones, element c to number c mod 64; of those the second half is added to the first until 8 are left,
 * which are added from first to last: the same bits with vectors of any width. */
#ifndef SSLD_LIB_STORE_VECTOR_H
#define SSLD_LIB_STORE_VECTOR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/multiversion.h"

#define SSLD_LANES 64

/* exp(x) within 2^-21 of it, for -87 <= x <= 87; what is outside is taken as the bound.
 *
 *   x = n ln 2 + r, |r| <= ln 2 / 2        exp(x) = 2^n (1 + r + r^2/2 + ... + r^6/720) */
ALWAYS_INLINE float ssld_exp(float x)
{
    x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's low bits are n */
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts: n times the first has no rounding */
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits, power;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&power, &p, sizeof power);
    power += bits << 23; /* the low bits of `shifted` are n, two's complement; the rest leaves on the left */
    memcpy(&p, &power, sizeof p);
    return p;
}

ALWAYS_INLINE float ssld_sum_lanes(const float lanes[SSLD_LANES])
{
    float part[SSLD_LANES / 2];
    double sum = 0;
    for (int i = 0; i < 32; i++)
        part[i] = lanes[i] + lanes[i + 32];
    for (int i = 0; i < 16; i++)
        part[i] += part[i + 16];
    for (int i = 0; i < 8; i++)
        part[i] += part[i + 8];
    for (int i = 0; i < 8; i++)
        sum += (double)part[i];
    return (float)sum;
}

#endif
