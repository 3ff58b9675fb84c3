/* SPDX-License-Identifier: BSD-2-Clause */
/* shape_values.c - what the rows of a model and a record's few numbers say of every class.
 *
 * This file alone is compiled so that a*b+c may be one instruction: its products have 14 bits and are exact, so the sum is the
 * same with one rounding as with two. And no value here is infinite or none, so that a maximum may be one instruction. */
#include "store/codec.h"
#include "store/vector.h"

#ifdef MULTIVERSION_X86
#include <immintrin.h>
#endif

/* Sums of this many classes stay in registers while the rows go by. The compiler makes two or four vectors of one where its
 * vectors are smaller. */
typedef float slice __attribute__((vector_size(64), aligned(4), may_alias));
#define SLICE (sizeof(slice) / sizeof(float))

#define AT(row) (*(const slice *)(const void *)(row))
#define TO(row) (*(slice *)(void *)(row))

/* SSLD_SHAPE_VECTOR values from class c on. */
ALWAYS_INLINE void part_values(const struct ssld_model *model, const float *numbers, size_t c, float *values)
{
    const float *row = model->rows + c;
    slice a = AT(row), b = AT(row + SLICE), d = AT(row + 2 * SLICE), e = AT(row + 3 * SLICE);
    for (int32_t j = 0; j < model->rank; j++) {
        row += model->stride;
        a += numbers[j] * AT(row);
        b += numbers[j] * AT(row + SLICE);
        d += numbers[j] * AT(row + 2 * SLICE);
        e += numbers[j] * AT(row + 3 * SLICE);
    }
    TO(values) = a;
    TO(values + SLICE) = b;
    TO(values + 2 * SLICE) = d;
    TO(values + 3 * SLICE) = e;
}

MULTIVERSION void ssld_shape_part(const struct ssld_model *model, const struct ssld_shape *shape, size_t c,
                                  float v[SSLD_SHAPE_VECTOR])
{
    if (model->rank >= 0)
        part_values(model, shape->numbers, c, v);
    else
        memset(v, 0, SSLD_SHAPE_VECTOR * sizeof *v);
}

MULTIVERSION void ssld_shape_values(const struct ssld_model *model, const struct ssld_shape *shape, float *v)
{
    for (size_t c = 0; c < model->stride; c += SSLD_SHAPE_VECTOR)
        part_values(model, shape->numbers, c, v + c);
}

/* -- Weights of a tail -------------------------------------------------------------------------------------------- */

#define LEAST_ROOT 0.03f /* of a weight: 8e-7 */

/* v = max(v, e)^4 */
ALWAYS_INLINE void raise(slice *v)
{
    slice root = *v;
    for (size_t i = 0; i < SLICE; i++) /* the compiler makes it one instruction; of a mask it would make two */
        root[i] = root[i] > LEAST_ROOT ? root[i] : LEAST_ROOT;
    root *= root;
    *v = root * root;
}

/* One order of summing, whether records come alone or together: lane by lane over the slices, then the lanes one by one. */
ALWAYS_INLINE float sum_of_slices(const slice *low, const slice *high)
{
    float lanes[SLICE], sum = 0;
    TO(lanes) = *low + *high;
    for (size_t i = 0; i < SLICE; i++)
        sum += lanes[i];
    return sum;
}

/* Weights of classes c to c + 2 SLICE of a record, in `a` and `b`. */
ALWAYS_INLINE void weigh(const struct ssld_model *model, const float *numbers, size_t c, slice *a, slice *b)
{
    const float *row = model->rows + c;
    slice low = AT(row), high = AT(row + SLICE);
    for (int32_t j = 0; j < model->rank; j++) {
        row += model->stride;
        low += numbers[j] * AT(row);
        high += numbers[j] * AT(row + SLICE);
    }
    raise(&low);
    raise(&high);
    *a = low;
    *b = high;
}

/* Weights of the last classes, that do not fill two slices: into the row, and added to the sums. */
ALWAYS_INLINE void finish_rest(size_t count, const slice *a, const slice *b, float *row, slice *low, slice *high)
{
    float rest[2 * SLICE];
    TO(rest) = *a;
    TO(rest + SLICE) = *b;
    memcpy(row, rest, count * sizeof *rest);
    memset(rest + count, 0, (2 * SLICE - count) * sizeof *rest);
    *low += AT(rest);
    *high += AT(rest + SLICE);
}

MULTIVERSION float ssld_shape_weights(const struct ssld_model *model, const struct ssld_shape *shape, float *row)
{
    size_t classes = (size_t)model->classes, c = 0;
    slice low = { 0 }, high = { 0 }, a, b;
    for (; c + 2 * SLICE <= classes; c += 2 * SLICE) {
        weigh(model, shape->numbers, c, &a, &b);
        TO(row + c) = a;
        TO(row + c + SLICE) = b;
        low += a;
        high += b;
    }
    if (c < classes) {
        weigh(model, shape->numbers, c, &a, &b);
        finish_rest(classes - c, &a, &b, row + c, &low, &high);
    }
    return sum_of_slices(&low, &high);
}

/* -- Several records together ------------------------------------------------------------------------------------- */

/* Variables of each of the records: in arrays they would not stay in registers. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define DECLARE(i) \
    float *row##i = rows[i]; \
    slice low##i = { 0 }, high##i = { 0 };
#define BEGIN(i) slice a##i = first;
#define RAISE(i) raise(&a##i);
#define PUT_LOW(i) \
    TO(row##i + c) = a##i; \
    low##i += a##i;
#define PUT_HIGH(i) \
    TO(row##i + c + SLICE) = a##i; \
    high##i += a##i;
#define KEEP(i) TO(rest[i]) = a##i;
#define PUT_REST(i) \
    slice kept##i = AT(rest[i]); \
    finish_rest(classes - c, &kept##i, &a##i, row##i + c, &low##i, &high##i);
#define SUM(i) sums[i] = sum_of_slices(&low##i, &high##i);

/* The weights of a slice of classes, from `place` on, and what is done with each record's. */
#define WEIGH(place, ADD_ROWS, PUT) \
    do { \
        slice first = AT(model->rows + (place)); \
        EACH(BEGIN) \
        ADD_ROWS(place) \
        EACH(RAISE) \
        EACH(PUT) \
    } while (0)

#define WEIGH_ALL(ADD_ROWS) \
    size_t classes = (size_t)model->classes, c = 0; \
    float rest[SSLD_SPREAD][SLICE]; \
    EACH(DECLARE) \
    for (; c + 2 * SLICE <= classes; c += 2 * SLICE) { \
        WEIGH(c, ADD_ROWS, PUT_LOW); \
        WEIGH(c + SLICE, ADD_ROWS, PUT_HIGH); \
    } \
    if (c < classes) { \
        WEIGH(c, ADD_ROWS, KEEP); \
        WEIGH(c + SLICE, ADD_ROWS, PUT_REST); \
    } \
    EACH(SUM)

#define NUMBERS(i) const float *numbers##i = shapes[i]->numbers;
#define ADD(i) a##i += numbers##i[j] * AT(from);
#define ADD_ONE_BY_ONE(place) \
    const float *from = model->rows + (place); \
    for (int32_t j = 0; j < model->rank; j++) { \
        from += model->stride; \
        EACH(ADD) \
    }

MULTIVERSION static void weigh_one_by_one(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                          float *const rows[SSLD_SPREAD], float sums[SSLD_SPREAD])
{
    EACH(NUMBERS)
    WEIGH_ALL(ADD_ONE_BY_ONE)
}

#ifdef MULTIVERSION_X86

#define BFLOAT16 __attribute__((target("arch=x86-64-v4,avx512bf16")))

bool ssld_shape_multiplies_pairs(void)
{
    return __builtin_cpu_supports("avx512bf16");
}

/* AMD's processors begin as many of these instructions in a cycle as ordinary ones, which do half as much: reading in order is a
 * quarter faster (Zen 4). Intel's begin half as many: it is a tenth slower (Xeon with AMX). */
bool ssld_shape_gains_by_pairs(void)
{
    return ssld_shape_multiplies_pairs() && __builtin_cpu_is("amd");
}

/* A record's numbers as a model's rows stand in its pairs. Whole numbers below 128: bfloat16s have room for them. */
static void pair_numbers(const struct ssld_model *model, const struct ssld_shape *shape, int32_t pairs[SSLD_MOST_RANK / 2])
{
    for (int32_t j = 0; j < model->rank; j += 2) {
        uint32_t even, odd = 0;
        memcpy(&even, &shape->numbers[j], sizeof even);
        if (j + 1 < model->rank)
            memcpy(&odd, &shape->numbers[j + 1], sizeof odd);
        pairs[j / 2] = (int32_t)(even >> 16 | (odd & UINT32_C(0xffff0000)));
    }
}

#define PAIRS(i) \
    int32_t pairs##i[SSLD_MOST_RANK / 2]; \
    pair_numbers(model, shapes[i], pairs##i);
#define ADD_PAIR(i) a##i = (slice)_mm512_dpbf16_ps((__m512)a##i, (__m512bh)pair, (__m512bh)_mm512_set1_epi32(pairs##i[j]));
#define ADD_TWO_BY_TWO(place) \
    const uint16_t *from = model->pairs + 2 * (place); \
    for (int32_t j = 0; j < (model->rank + 1) / 2; j++) { \
        __m512i pair = _mm512_loadu_si512(from); \
        from += 2 * model->stride; \
        EACH(ADD_PAIR) \
    }

/* Two products and their sum are one instruction, and a model takes half of the cache. */
BFLOAT16 static void weigh_two_by_two(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                      float *const rows[SSLD_SPREAD], float sums[SSLD_SPREAD])
{
    EACH(PAIRS)
    WEIGH_ALL(ADD_TWO_BY_TWO)
}

#else

bool ssld_shape_multiplies_pairs(void)
{
    return false;
}

bool ssld_shape_gains_by_pairs(void)
{
    return false;
}

#endif

void ssld_shape_weights_together(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                 float *const rows[SSLD_SPREAD], float sums[SSLD_SPREAD])
{
#ifdef MULTIVERSION_X86
    if (model->pairs) {
        weigh_two_by_two(model, shapes, rows, sums);
        return;
    }
#endif
    weigh_one_by_one(model, shapes, rows, sums);
}
