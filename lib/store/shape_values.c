/* SPDX-License-Identifier: BSD-2-Clause */
/* shape_values.c - what the rows of a model and a record's few numbers say of every class.
 *
 * This file alone is compiled so that a*b+c may be one instruction: its products have 14 bits and are exact, so the sum is the
 * same with one rounding as with two. */
#include "store/codec.h"
#include "store/vector.h"

ALWAYS_INLINE void part_values(const struct ssld_model *model, const struct ssld_shape *shape, size_t c, float *v)
{
    const float *row = model->rows + c;
    memcpy(v, row, SSLD_SHAPE_VECTOR * sizeof *v);
    for (int32_t j = 0; j < model->rank; j++) {
        row += model->stride;
        float number = shape->numbers[j];
        for (int i = 0; i < SSLD_SHAPE_VECTOR; i++)
            v[i] += number * row[i];
    }
}

MULTIVERSION void ssld_shape_part(const struct ssld_model *model, const struct ssld_shape *shape, size_t c,
                                  float v[SSLD_SHAPE_VECTOR])
{
    if (model->rank >= 0)
        part_values(model, shape, c, v);
    else
        memset(v, 0, SSLD_SHAPE_VECTOR * sizeof *v);
}

MULTIVERSION void ssld_shape_values(const struct ssld_model *model, const struct ssld_shape *shape, float *v)
{
    for (size_t c = 0; c < model->stride; c += SSLD_SHAPE_VECTOR)
        part_values(model, shape, c, v + c);
}

#define LEAST_ROOT 0.03f /* of a weight: 8e-7 */

ALWAYS_INLINE void part_weights(const struct ssld_model *model, const struct ssld_shape *shape, size_t c, float *w)
{
    float v[SSLD_SHAPE_VECTOR];
    part_values(model, shape, c, v);
    for (int i = 0; i < SSLD_SHAPE_VECTOR; i++) {
        float root = v[i] > LEAST_ROOT ? v[i] : LEAST_ROOT;
        w[i] = root * root * (root * root);
    }
}

MULTIVERSION void ssld_shape_raw_weights(const struct ssld_model *model, const struct ssld_shape *shape, float *row)
{
    size_t classes = (size_t)model->classes, c = 0;
    for (; c + SSLD_SHAPE_VECTOR <= classes; c += SSLD_SHAPE_VECTOR)
        part_weights(model, shape, c, row + c);
    if (c < classes) {
        float w[SSLD_SHAPE_VECTOR];
        part_weights(model, shape, c, w);
        memcpy(row + c, w, (classes - c) * sizeof *w);
    }
}
