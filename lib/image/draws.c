/* SPDX-License-Identifier: BSD-2-Clause */
/* draws.c - variates: Box and Muller's normal, Marsaglia and Tsang's gamma and the beta made of two. Additions,
 * multiplications, divisions and square roots alone, in a fixed order, so that vectors give the bits of scalars. */
#include "image/draws.h"

#include <math.h>
#include <string.h>

#include "core/multiversion.h"
#include "image/exact.h"

double ssld_draw_between(struct ssld_stream *stream, double low, double high)
{
    return low + (high - low) * ssld_stream_uniform(stream);
}

bool ssld_draw_chance(struct ssld_stream *stream, double p)
{
    return ssld_stream_uniform(stream) < p;
}

/* -- Normal ------------------------------------------------------------------------------------------------------- */

/* log x of a normal x: as ssld_exact_log(), without what vectors cannot do. */
ALWAYS_INLINE double plain_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t exponent = (int32_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    double half = m > 1.4142135623730951 ? 0.5 : 1.0, k = exponent + (m > 1.4142135623730951 ? 1.0 : 0.0);
    m *= half;
    double s = (m - 1.0) / (m + 1.0), square = s * s;
    double sum = square * (1.0 / 21);
    sum = square * (1.0 / 19 + sum);
    sum = square * (1.0 / 17 + sum);
    sum = square * (1.0 / 15 + sum);
    sum = square * (1.0 / 13 + sum);
    sum = square * (1.0 / 11 + sum);
    sum = square * (1.0 / 9 + sum);
    sum = square * (1.0 / 7 + sum);
    sum = square * (1.0 / 5 + sum);
    sum = square * (1.0 / 3 + sum);
    return k * 0.69314718055994531 + (2.0 * s + 2.0 * s * sum);
}

/* sqrt(-2 ln u) (cos t, sin t): u = (radius + 1/2) / 2^32 is never 0; t = angle * 2 pi / 2^32, less a quarter of pi.
 * The two upper bits of angle are the quarter, so the series need |x| <= pi / 4 only. */
ALWAYS_INLINE void box_muller(uint32_t radius, uint32_t angle, double *first, double *second)
{
    double r = sqrt(-2.0 * plain_log((radius + 0.5) * (1.0 / 4294967296.0)));
    double x = ((double)(int32_t)(angle & 0x3fffffffu) - 536870912.0) * (1.5707963267948966 / 1073741824.0);
    double q = x * x;
    double s = x * (1.0 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880 + q * (-1.0 / 39916800 +
               q * (1.0 / 6227020800.0 - q * (1.0 / 1307674368000.0))))))));
    double c = 1.0 + q * (-1.0 / 2 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 + q * (-1.0 / 3628800 +
               q * (1.0 / 479001600.0 - q * (1.0 / 87178291200.0)))))));
    bool odd = angle & 0x40000000u;
    double sign = angle & 0x80000000u ? -r : r;
    *first = sign * (odd ? -s : c);
    *second = sign * (odd ? c : s);
}

double ssld_draw_normal(struct ssld_stream *stream)
{
    double first, second;
    uint32_t radius = ssld_stream_word(stream);
    box_muller(radius, ssld_stream_word(stream), &first, &second);
    return first;
}

/* Words 0 and 1 of a block give two values, 2 and 3 two more. */
MULTIVERSION static void make_normals(uint32_t words[4][SSLD_PHILOX_BLOCKS], float values[SSLD_NOISE])
{
    float parts[4][SSLD_PHILOX_BLOCKS];
    for (int half = 0; half < 4; half += 2)
        for (int i = 0; i < SSLD_PHILOX_BLOCKS; i++) {
            double first, second;
            box_muller(words[half][i], words[half + 1][i], &first, &second);
            parts[half][i] = (float)first;
            parts[half + 1][i] = (float)second;
        }
    for (int i = 0; i < SSLD_PHILOX_BLOCKS; i++)
        for (int part = 0; part < 4; part++)
            values[4 * i + part] = parts[part][i];
}

void ssld_noise_start(struct noise *noise, struct ssld_stream *stream)
{
    for (int i = 0; i < 2; i++)
        noise->key[i] = ssld_stream_word(stream);
    for (int i = 0; i < 2; i++)
        noise->upper[i] = ssld_stream_word(stream);
    noise->block = 0;
    noise->used = SSLD_NOISE;
}

void ssld_noise_take(struct noise *noise, float *dst, size_t count)
{
    while (count) {
        if (noise->used == SSLD_NOISE) {
            uint32_t words[4][SSLD_PHILOX_BLOCKS];
            ssld_philox_blocks(noise->block, noise->upper[0], noise->upper[1], noise->key, words);
            make_normals(words, noise->values);
            noise->block += SSLD_PHILOX_BLOCKS;
            noise->used = 0;
        }
        size_t some = (size_t)(SSLD_NOISE - noise->used) < count ? (size_t)(SSLD_NOISE - noise->used) : count;
        memcpy(dst, noise->values + noise->used, some * sizeof *dst);
        noise->used += (int32_t)some;
        dst += some;
        count -= some;
    }
}

/* -- Beta --------------------------------------------------------------------------------------------------------- */

/* The logarithm of a Gamma(alpha, 1) variate. G. Marsaglia, W. W. Tsang, "A simple method for generating gamma
 * variables", ACM TOMS 26 (2000), for alpha >= 1: with d = alpha - 1/3, c = 1 / sqrt(9 d), v = (1 + c x)^3 and normal
 * x, d v is taken if ln u < x^2 / 2 + d - d v + d ln v. Draws of a try: 1., 2. x; 3. u, if v is positive. For alpha <
 * 1, of alpha + 1 and then times w^(1 / alpha): one more word. */
static double draw_log_gamma(struct ssld_stream *stream, double alpha)
{
    double raised = alpha < 1 ? alpha + 1 : alpha, d = raised - 1.0 / 3, c = 1 / sqrt(9 * d), log_v;
    for (;;) {
        double x = ssld_draw_normal(stream), root = 1 + c * x, v = root * root * root;
        if (v <= 0)
            continue;
        double u = (ssld_stream_word(stream) + 0.5) * (1.0 / 4294967296.0);
        log_v = ssld_exact_log(v);
        if (ssld_exact_log(u) < 0.5 * x * x + d - d * v + d * log_v)
            break;
    }
    double result = ssld_exact_log(d) + log_v;
    if (alpha < 1)
        result += ssld_exact_log((ssld_stream_word(stream) + 0.5) * (1.0 / 4294967296.0)) / alpha;
    return result;
}

/* a / (a + b) of two gamma variates, through their logarithms: for small alpha they are too small for doubles. */
double ssld_draw_beta(struct ssld_stream *stream, double alpha)
{
    double a = draw_log_gamma(stream, alpha), b = draw_log_gamma(stream, alpha);
    double difference = fmax(-700, fmin(700, b - a));
    return 1 / (1 + ssld_exact_exp(difference));
}
