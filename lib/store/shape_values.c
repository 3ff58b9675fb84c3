/* SPDX-License-Identifier: BSD-2-Clause */
/* shape_values.c - what the rows of a model and a record's few numbers say of every class.
 *
 * This file alone is compiled so that a*b+c may be one instruction: its products have 14 bits and are exact, so the sum is the
 * same with one rounding as with two. And no value here is infinite or none, so that a maximum may be one instruction. */
#include "store/codec.h"
#include "store/vector.h"

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

/* 2 SLICE values of SSLD_SPREAD records from class c on, with one pass over the rows. */
ALWAYS_INLINE void part_values_together(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                        size_t c, float *const values[SSLD_SPREAD])
{
    const float *row = model->rows + c, *p = shapes[0]->numbers, *q = shapes[1]->numbers, *r = shapes[2]->numbers,
                *s = shapes[3]->numbers;
    slice low[SSLD_SPREAD] = { AT(row), AT(row), AT(row), AT(row) };
    slice high[SSLD_SPREAD] = { AT(row + SLICE), AT(row + SLICE), AT(row + SLICE), AT(row + SLICE) };
    for (int32_t j = 0; j < model->rank; j++) {
        row += model->stride;
        low[0] += p[j] * AT(row);
        low[1] += q[j] * AT(row);
        low[2] += r[j] * AT(row);
        low[3] += s[j] * AT(row);
        high[0] += p[j] * AT(row + SLICE);
        high[1] += q[j] * AT(row + SLICE);
        high[2] += r[j] * AT(row + SLICE);
        high[3] += s[j] * AT(row + SLICE);
    }
    for (int i = 0; i < SSLD_SPREAD; i++) {
        TO(values[i]) = low[i];
        TO(values[i] + SLICE) = high[i];
    }
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

MULTIVERSION void ssld_shape_row(const struct ssld_model *model, const struct ssld_shape *shape, float *row)
{
    size_t classes = (size_t)model->classes, c = 0;
    for (; c + SSLD_SHAPE_VECTOR <= classes; c += SSLD_SHAPE_VECTOR)
        part_values(model, shape->numbers, c, row + c);
    if (c < classes) {
        float rest[SSLD_SHAPE_VECTOR];
        part_values(model, shape->numbers, c, rest);
        memcpy(row + c, rest, (classes - c) * sizeof *rest);
    }
}

MULTIVERSION void ssld_shape_rows_together(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                           float *const rows[SSLD_SPREAD])
{
    size_t classes = (size_t)model->classes, c = 0;
    for (; c + 2 * SLICE <= classes; c += 2 * SLICE) {
        float *const places[SSLD_SPREAD] = { rows[0] + c, rows[1] + c, rows[2] + c, rows[3] + c };
        part_values_together(model, shapes, c, places);
    }
    if (c < classes) {
        float rest[SSLD_SPREAD][2 * SLICE];
        float *const places[SSLD_SPREAD] = { rest[0], rest[1], rest[2], rest[3] };
        part_values_together(model, shapes, c, places);
        for (int i = 0; i < SSLD_SPREAD; i++)
            memcpy(rows[i] + c, rest[i], (classes - c) * sizeof *rest[i]);
    }
}

#define LEAST_ROOT 0.03f /* of a weight: 8e-7 */

/* Fourth powers, and their sum in the order of vector.h. */
MULTIVERSION static float raise(float *row, size_t classes)
{
    float lanes[SSLD_LANES] = { 0 };
    size_t c = 0;
    for (; c + SSLD_LANES <= classes; c += SSLD_LANES)
        for (size_t i = 0; i < SSLD_LANES; i++) {
            float root = row[c + i] > LEAST_ROOT ? row[c + i] : LEAST_ROOT, square = root * root;
            row[c + i] = square * square;
            lanes[i] += row[c + i];
        }
    for (size_t i = 0; c + i < classes; i++) {
        float root = row[c + i] > LEAST_ROOT ? row[c + i] : LEAST_ROOT, square = root * root;
        row[c + i] = square * square;
        lanes[i] += row[c + i];
    }
    return ssld_sum_lanes(lanes);
}

float ssld_shape_raise(const struct ssld_model *model, const uint32_t *explicit, uint32_t count, float *row)
{
    /* The explicit classes have the least weight while the sum is made: what is taken off it again is next to nothing. */
    float least = LEAST_ROOT * LEAST_ROOT;
    for (uint32_t k = 0; k < count; k++)
        row[explicit[k]] = 0;
    float sum = raise(row, (size_t)model->classes);
    return sum - (float)count * (least * least);
}
