/* SPDX-License-Identifier: BSD-2-Clause */
/* weights.c - initial weights: normal and uniform draws that are the same bits on every machine.
 *
 * One Philox block of four words serves four elements. Logarithm, sine and cosine are written out in additions and
 * multiplications, which IEEE 754 defines to the last bit, because those of libm differ between C libraries. */
#include "graph/graph.h"

#include <math.h>

#include "core/philox.h"

#define WORDS 4 /* of a block */

/* The block for elements 4 * index .. 4 * index + 3: counter { index low, index high, parameter, purpose << 16 }. */
static void draw_block(uint64_t seed, uint32_t parameter, uint64_t index, uint32_t words[WORDS])
{
    uint32_t counter[4] = { (uint32_t)index, (uint32_t)(index >> 32), parameter, (uint32_t)SSLD_PURPOSE_WEIGHTS << 16 };
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    ssld_philox4x32(counter, key, words);
}

/* (0, 1), never 0: (word + 1/2) / 2^32. */
static double open_uniform(uint32_t word)
{
    return (word + 0.5) * (1.0 / 4294967296.0);
}

/* x = m * 2^e with m in [sqrt(1/2), sqrt(2)), f = (m - 1) / (m + 1):
 *   ln x = e * ln 2 + 2 * (f + f^3 / 3 + f^5 / 5 + ...),   |f| < 0.172, so that f^23 is below the last bit */
static double plain_log(double x)
{
    int exponent;
    double m = frexp(x, &exponent); /* exact */
    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    double f = (m - 1) / (m + 1), square = f * f, sum = 0;
    for (int k = 21; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return exponent * 0.69314718055994531 + 2 * f * sum;
}

/* Cosine and sine of 2 * pi * turn, 0 <= turn < 1: the nearest quarter turn is taken off, Taylor series do the rest on
 * -pi/4 .. pi/4, where x^18 / 18! is below the last bit. */
static void plain_cosine_sine(double turn, double *cosine, double *sine)
{
    int quarter = (int)(4 * turn + 0.5);
    double x = (turn - 0.25 * quarter) * 6.2831853071795865, square = x * x, c = 1, s = 1;
    for (int k = 16; k >= 2; k -= 2) {
        c = 1 - c * square / (k * (k - 1));
        s = 1 - s * square / (k * (k + 1));
    }
    s *= x;
    *cosine = quarter % 2 ? (quarter == 1 ? -s : s) : (quarter == 2 ? -c : c);
    *sine = quarter % 2 ? (quarter == 1 ? c : -c) : (quarter == 2 ? -s : s);
}

/* Box and Muller: two uniforms make two independent standard normals,
 *   sqrt(-2 ln u) * cos(2 pi v)   and   sqrt(-2 ln u) * sin(2 pi v) */
static void normal_pair(const uint32_t words[2], double pair[2])
{
    double radius = sqrt(-2 * plain_log(open_uniform(words[0])));
    plain_cosine_sine(words[1] * (1.0 / 4294967296.0), &pair[0], &pair[1]);
    pair[0] *= radius;
    pair[1] *= radius;
}

void ssld_fill_normal(struct ssld_value *value, uint64_t seed, uint32_t parameter, double deviation)
{
    int64_t elements = ssld_value_elements(value);
    for (int64_t first = 0; first < elements; first += WORDS) {
        uint32_t words[WORDS];
        double normals[WORDS];
        draw_block(seed, parameter, (uint64_t)(first / WORDS), words);
        normal_pair(words, normals);
        normal_pair(words + 2, normals + 2);
        for (int64_t i = first; i < elements && i < first + WORDS; i++)
            value->data[i] = (float)(normals[i - first] * deviation);
    }
}

void ssld_fill_uniform(struct ssld_value *value, uint64_t seed, uint32_t parameter, double bound)
{
    int64_t elements = ssld_value_elements(value);
    for (int64_t first = 0; first < elements; first += WORDS) {
        uint32_t words[WORDS];
        draw_block(seed, parameter, (uint64_t)(first / WORDS), words);
        for (int64_t i = first; i < elements && i < first + WORDS; i++)
            value->data[i] = (float)((2 * open_uniform(words[i - first]) - 1) * bound);
    }
}
