/* SPDX-License-Identifier: BSD-2-Clause */
/* weights.c - initial weights: normal and uniform draws that are the same bits on every machine.
 *
 * One Philox block of four words serves four elements. Logarithm, sine and cosine are written out in additions,
 * multiplications and divisions, which IEEE 754 defines to the last bit, because those of libm differ between C
 * libraries. Loops run over many blocks at once and without branches, so that the compiler makes vectors of them:
 * making a network is mostly this. */
#include "graph/graph.h"

#include <math.h>
#include <string.h>

#include "core/multiversion.h"
#include "core/philox.h"

#define WORDS 4 /* of a block */
#define BLOCKS SSLD_PHILOX_BLOCKS

/* The words of elements first .. first + 4 * BLOCKS of a parameter. */
static void draw_blocks(uint64_t seed, uint32_t parameter, int64_t first, uint32_t words[WORDS][BLOCKS])
{
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    ssld_philox_blocks((uint64_t)(first / WORDS), parameter, (uint32_t)SSLD_PURPOSE_WEIGHTS << 16, key, words);
}

/* (0, 1), never 0: (word + 1/2) / 2^32. */
static inline double open_uniform(uint32_t word)
{
    return (word + 0.5) * (1.0 / 4294967296.0);
}

/* x = m * 2^e with m in [sqrt(1/2), sqrt(2)), f = (m - 1) / (m + 1):
 *   ln x = e * ln 2 + 2 * (f + f^3 / 3 + f^5 / 5 + ...),   |f| < 0.172, so that f^23 is below the last bit
 * x is no less than 2^-33. Its exponent goes into the low bits of 2^52, from where a subtraction takes it out as a
 * double. */
static inline double plain_log(double x)
{
    uint64_t bits, mantissa, exponent;
    double m, e;
    memcpy(&bits, &x, sizeof bits);
    mantissa = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FE0000000000000u; /* [1/2, 1) */
    exponent = bits >> 52 | 0x4330000000000000u;
    memcpy(&m, &mantissa, sizeof m);
    memcpy(&e, &exponent, sizeof e);
    e -= 4503599627370496.0 + 1022;
    bool low = m < 0.70710678118654752;
    m = low ? m * 2 : m;
    e = low ? e - 1 : e;
    double f = (m - 1) / (m + 1), square = f * f, sum = 0;
    for (int k = 21; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return e * 0.69314718055994531 + 2 * f * sum;
}

/* Cosine and sine of 2 * pi * word / 2^32: the nearest quarter turn is taken off (modulo 2^32, as angles are),
 * Taylor series do the rest on -pi/4 .. pi/4, where x^18 / 18! is below the last bit. */
static inline void plain_cosine_sine(uint32_t word, double *cosine, double *sine)
{
    uint32_t quarter = (word + 0x20000000u) >> 30;
    double x = (double)(int32_t)(word - (quarter << 30)) * (1.0 / 4294967296.0) * 6.2831853071795865;
    double square = x * x, c = 1, s = 1;
    for (int k = 16; k >= 2; k -= 2) {
        c = 1 - c * square / (k * (k - 1));
        s = 1 - s * square / (k * (k + 1));
    }
    s *= x;
    double across = quarter & 1 ? s : c, up = quarter & 1 ? c : s;
    *cosine = quarter == 1 || quarter == 2 ? -across : across;
    *sine = quarter >= 2 ? -up : up;
}

/* Box and Muller: two uniforms make two independent standard normals,
 *   sqrt(-2 ln u) * cos(2 pi v)   and   sqrt(-2 ln u) * sin(2 pi v) */
MULTIVERSION
static void normal_pairs(const uint32_t u[BLOCKS], const uint32_t v[BLOCKS], double deviation, float first[BLOCKS],
                         float second[BLOCKS])
{
    for (int i = 0; i < BLOCKS; i++) {
        double radius = sqrt(-2 * plain_log(open_uniform(u[i]))), cosine, sine;
        plain_cosine_sine(v[i], &cosine, &sine);
        first[i] = (float)(cosine * radius * deviation);
        second[i] = (float)(sine * radius * deviation);
    }
}

/* Element w of block i is floats[w][i]; the last block of an array may be cut short. */
static void put_blocks(float floats[WORDS][BLOCKS], float *dst, int64_t elements)
{
    if (elements >= WORDS * BLOCKS) {
        for (int i = 0; i < BLOCKS; i++)
            for (int w = 0; w < WORDS; w++)
                dst[WORDS * i + w] = floats[w][i];
    } else {
        for (int64_t e = 0; e < elements; e++)
            dst[e] = floats[e % WORDS][e / WORDS];
    }
}

void ssld_fill_normal(struct ssld_value *value, uint64_t seed, uint32_t parameter, double deviation)
{
    uint32_t words[WORDS][BLOCKS];
    float floats[WORDS][BLOCKS];
    int64_t elements = ssld_value_elements(value);
    for (int64_t first = 0; first < elements; first += WORDS * BLOCKS) {
        draw_blocks(seed, parameter, first, words);
        normal_pairs(words[0], words[1], deviation, floats[0], floats[1]);
        normal_pairs(words[2], words[3], deviation, floats[2], floats[3]);
        put_blocks(floats, value->data + first, elements - first);
    }
}

void ssld_fill_uniform(struct ssld_value *value, uint64_t seed, uint32_t parameter, double bound)
{
    uint32_t words[WORDS][BLOCKS];
    float floats[WORDS][BLOCKS];
    int64_t elements = ssld_value_elements(value);
    for (int64_t first = 0; first < elements; first += WORDS * BLOCKS) {
        draw_blocks(seed, parameter, first, words);
        for (int w = 0; w < WORDS; w++)
            for (int i = 0; i < BLOCKS; i++)
                floats[w][i] = (float)((2 * open_uniform(words[w][i]) - 1) * bound);
        put_blocks(floats, value->data + first, elements - first);
    }
}
