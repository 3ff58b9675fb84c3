/* SPDX-License-Identifier: BSD-2-Clause */
/* shape_values.c - what the rows of a model and a record's few numbers say of every class.
 *
 * This file alone is compiled so that a*b+c may be one instruction: its products have 14 bits and are exact, so the sum is the
 * same with one rounding as with two. And no value here is infinite or none, so that a maximum may be one instruction. */
#include "store/codec.h"

#ifdef MULTIVERSION_X86
#include <immintrin.h>
#endif

#define LEAST_ROOT 0.03f /* of a weight: 8e-7 */

/* One order of summing weights, with vectors of any width and whether records come alone or together: class c is added to lane c
 * mod 32, the second half of the lanes to the first, then those one by one. */
#define SUMMED 32

static float sum_of_lanes(const float lanes[SUMMED])
{
    float sum = 0;
    for (size_t i = 0; i < SUMMED / 2; i++)
        sum += lanes[i] + lanes[i + SUMMED / 2];
    return sum;
}

#define LOOP(name) plain_##name
#define TARGET
#define WIDTH 16
#define PAIRS 0
#include "store/shape_loops.h"

#ifdef MULTIVERSION_X86

#define LOOP(name) v3_##name
#define TARGET __attribute__((target("arch=x86-64-v3")))
#define WIDTH 32
#define PAIRS 0
#include "store/shape_loops.h"

#define LOOP(name) v4_##name
#define TARGET __attribute__((target("arch=x86-64-v4")))
#define WIDTH 64
#define PAIRS 0
#include "store/shape_loops.h"

/* A record's numbers as a model's rows stand in its pairs. */
static void pair_numbers(const struct ssld_model *model, const struct ssld_shape *shape, int32_t pairs[SSLD_MOST_RANK / 2])
{
    for (int32_t j = 0; j < model->rank; j += 2) {
        int32_t even = (int32_t)shape->numbers[j], odd = j + 1 < model->rank ? (int32_t)shape->numbers[j + 1] : 0;
        pairs[j / 2] = (int32_t)((uint32_t)odd << 16 | ((uint32_t)even & 0xffff));
    }
}

/* Two products and their sum are one instruction, and a model takes half of the cache. */
#define LOOP(name) vnni_##name
#define TARGET __attribute__((target("arch=x86-64-v4,avx512vnni")))
#define WIDTH 64
#define PAIRS 1
#include "store/shape_loops.h"

#endif

/* -- What this processor has -------------------------------------------------------------------------------------- */

size_t ssld_shape_loops_here(struct ssld_shape_loops loops[SSLD_SHAPE_LOOPS])
{
    size_t count = 0;
#ifdef MULTIVERSION_X86
    if (__builtin_cpu_supports("x86-64-v4"))
        loops[count++] = (struct ssld_shape_loops){ "AVX-512", v4_values, v4_weights, v4_weights_together };
    if (__builtin_cpu_supports("x86-64-v3"))
        loops[count++] = (struct ssld_shape_loops){ "AVX2", v3_values, v3_weights, v3_weights_together };
#endif
    loops[count++] = (struct ssld_shape_loops){ "plain", plain_values, plain_weights, plain_weights_together };
    return count;
}

static struct ssld_shape_loops best_loops(void)
{
    struct ssld_shape_loops loops[SSLD_SHAPE_LOOPS];
    ssld_shape_loops_here(loops);
    return loops[0];
}

bool ssld_shape_multiplies_pairs(void)
{
#ifdef MULTIVERSION_X86
    return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

void ssld_shape_part(const struct ssld_model *model, const struct ssld_shape *shape, size_t c, float v[SSLD_SHAPE_VECTOR])
{
    if (model->rank >= 0)
        best_loops().values(model, shape->numbers, c, c + SSLD_SHAPE_VECTOR, v);
    else
        memset(v, 0, SSLD_SHAPE_VECTOR * sizeof *v);
}

void ssld_shape_values(const struct ssld_model *model, const struct ssld_shape *shape, float *v)
{
    best_loops().values(model, shape->numbers, 0, model->stride, v);
}

float ssld_shape_weights(const struct ssld_model *model, const struct ssld_shape *shape, float *row)
{
    return best_loops().weights(model, shape, row);
}

void ssld_shape_weights_together(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                 float *const rows[SSLD_SPREAD], float sums[SSLD_SPREAD])
{
#ifdef MULTIVERSION_X86
    if (model->pairs) {
        vnni_weights_together(model, shapes, rows, sums);
        return;
    }
#endif
    best_loops().weights_together(model, shapes, rows, sums);
}
