/* SPDX-License-Identifier: BSD-2-Clause */
/* lanes.h - channels of a block of 16 as vectors, for loops that compilers would else make of halves and keep in memory.
 *
 * GCC's and clang's vector types: one AVX-512 register, or as many smaller ones as the instruction set has. Vectors go by
 * pointer, since how they are passed by value depends on the instruction set.
 *
 * A unit is what is loaded at once: in single precision one position, a vector of its 16 channels. In bfloat16 it is two
 * positions, as 16 words of two numbers each: shifted, they are a vector of the even channels of both positions, masked one of
 * the odd channels. No number changes its place for that, where widening 16 numbers in their order takes four shuffles. */
#ifndef SSLD_LIB_ENGINE_LANES_H
#define SSLD_LIB_ENGINE_LANES_H

#include "engine/element.h"
#include "graph/graph.h"

#define LANES 16

typedef float    lanes8 __attribute__((vector_size(32))); /* of a block of 8, as oneDNN has them for AVX2: one register there */
typedef float    lanes16 __attribute__((vector_size(64)));
typedef int32_t  mask16 __attribute__((vector_size(64))); /* of each lane all bits, or none */
typedef uint32_t bits16 __attribute__((vector_size(64)));

/* Vectors in a unit, which is also the positions in it. */
#define UNIT(type) ((type) == ELEMENT_BF16 ? 2 : 1)
#define MOST_UNIT 2

/* A number for each of 16 channels, as the lanes of a unit want it. */
ALWAYS_INLINE void lanes_of_channels(int32_t type, const float *from, lanes16 x[MOST_UNIT])
{
    for (int l = 0; l < LANES; l++)
        if (type == ELEMENT_BF16)
            x[0][l] = from[2 * l % LANES], x[1][l] = from[2 * l % LANES + 1];
        else
            x[0][l] = from[l];
}

/* sums[channel] += the lanes of a unit that are that channel's */
ALWAYS_INLINE void lanes_add_to_channels(int32_t type, const lanes16 x[MOST_UNIT], double *sums)
{
    for (int l = 0; l < LANES; l++)
        sums[l] += (double)(type == ELEMENT_BF16 ? x[l % 2][l / 2] + x[l % 2][l / 2 + LANES / 2] : x[0][l]);
}

/* The positions from `position` on, `count` of them: a unit, or one of the two of a bfloat16 unit, whose other lanes are zero. */
ALWAYS_INLINE void lanes_load(int32_t type, const void *src, int64_t position, int64_t count, lanes16 x[MOST_UNIT])
{
    const char *at = (const char *)src + position * LANES * (int64_t)element_size(type);
    if (type == ELEMENT_BF16) {
        bits16 words = { 0 };
        memcpy(&words, at, count == 2 ? sizeof words : sizeof words / 2);
        x[0] = (lanes16)(words << 16);
        x[1] = (lanes16)(words & 0xFFFF0000);
    } else {
        memcpy(&x[0], at, sizeof x[0]);
    }
}

/* Rounded as by bf16_of_float(). */
ALWAYS_INLINE void lanes_store(int32_t type, void *dst, int64_t position, int64_t count, const lanes16 x[MOST_UNIT])
{
    char *at = (char *)dst + position * LANES * (int64_t)element_size(type);
    if (type == ELEMENT_BF16) {
        bits16 even = (bits16)x[0], odd = (bits16)x[1];
        even = even + 0x7FFF + (even >> 16 & 1);
        odd = odd + 0x7FFF + (odd >> 16 & 1);
        even = even >> 16 | (odd & 0xFFFF0000);
        memcpy(at, &even, count == 2 ? sizeof even : sizeof even / 2);
    } else {
        memcpy(at, &x[0], sizeof x[0]);
    }
}

ALWAYS_INLINE void lanes_fill(float value, lanes16 *x)
{
    *x = value - (lanes16){ 0 };
}

/* x where the mask is set, else zero. */
ALWAYS_INLINE void lanes_keep(const mask16 *mask, lanes16 *x)
{
    *x = (lanes16)(*mask & (mask16)*x);
}

/* x where the mask is not set, else `other`. */
ALWAYS_INLINE void lanes_replace(const mask16 *mask, const lanes16 *other, lanes16 *x)
{
    *x = (lanes16)((*mask & (mask16)*other) | (~*mask & (mask16)*x));
}

/* Activations that are a few instructions; the others call functions that are loops over lanes. */
ALWAYS_INLINE bool lanes_can(int32_t kind)
{
    return kind == SSLD_OP_RELU || kind == SSLD_OP_CLIP || kind == SSLD_OP_HARD_SWISH || kind == SSLD_OP_HARD_SIGMOID ||
           kind == SSLD_OP_LEAKY_RELU || kind == SSLD_OP_IDENTITY;
}

/* x limited to low .. high; NaN comes through. */
ALWAYS_INLINE void lanes_clip(float low, float high, lanes16 *x)
{
    lanes16 limit;
    mask16 outside = *x < low;
    lanes_fill(low, &limit);
    lanes_replace(&outside, &limit, x);
    outside = *x > high;
    lanes_fill(high, &limit);
    lanes_replace(&outside, &limit, x);
}

/* x = act(x): activation_value() of each lane, for kinds that lanes_can(). */
ALWAYS_INLINE void lanes_activate(int32_t kind, float alpha, float beta, lanes16 *x)
{
    lanes16 y = *x;
    mask16 below;
    switch (kind) {
    case SSLD_OP_RELU:
        below = y < 0;
        below = ~below;
        lanes_keep(&below, x);
        break;
    case SSLD_OP_CLIP:
        lanes_clip(alpha, beta, x);
        break;
    case SSLD_OP_HARD_SWISH:
        y = y * (1.0f / 6.0f) + 0.5f;
        lanes_clip(0, 1, &y);
        *x *= y;
        break;
    case SSLD_OP_HARD_SIGMOID:
        *x = alpha * y + beta;
        lanes_clip(0, 1, x);
        break;
    case SSLD_OP_LEAKY_RELU:
        below = y < 0;
        y *= alpha;
        lanes_replace(&below, &y, x);
        break;
    default:
        break;
    }
}

/* g *= act'(x): activation_slope() of each lane, for kinds that lanes_can(). */
ALWAYS_INLINE void lanes_slope(int32_t kind, const lanes16 *x, float alpha, float beta, lanes16 *g)
{
    lanes16 y = *x, other;
    mask16 mask;
    switch (kind) {
    case SSLD_OP_RELU:
        mask = y > 0;
        lanes_keep(&mask, g);
        break;
    case SSLD_OP_CLIP:
        mask = (y > alpha) & (y < beta);
        lanes_keep(&mask, g);
        break;
    case SSLD_OP_HARD_SWISH:
        other = *g * (y * (1.0f / 3.0f) + 0.5f);
        mask = y > 3.0f;
        mask = ~mask;
        lanes_replace(&mask, &other, g);
        mask = y < -3.0f;
        mask = ~mask;
        lanes_keep(&mask, g);
        break;
    case SSLD_OP_HARD_SIGMOID:
        y = alpha * y + beta;
        mask = (y > 0) & (y < 1);
        *g *= alpha;
        lanes_keep(&mask, g);
        break;
    case SSLD_OP_LEAKY_RELU:
        other = *g * alpha;
        mask = y > 0;
        mask = ~mask;
        lanes_replace(&mask, &other, g);
        break;
    default:
        break;
    }
}

#endif
