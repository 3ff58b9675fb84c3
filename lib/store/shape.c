/* SPDX-License-Identifier: BSD-2-Clause */
/* shape.c - the shape of a label: its numbers in a record, the weights of a tail, fitting it to a label; and rows. */
#include <float.h>

#include "store/codec.h"
#include "store/vector.h"

void ssld_shape_put(struct ssld_sink *sink, const struct ssld_model *model, unsigned first_code, const struct ssld_shape *shape)
{
    for (int32_t j = 0; j < model->rank; j++)
        ssld_put_number(sink, first_code + model->number_codes[j], ssld_zigzag((int32_t)shape->numbers[j]));
}

MULTIVERSION void ssld_shape_get(struct ssld_source *source, const struct ssld_model *model, unsigned first_code,
                                 struct ssld_shape *shape)
{
    struct ssld_window window = ssld_window_open(source);
    ssld_shapes_read(1, &window, model, first_code, &shape);
    source->at = window.at;
}

float ssld_shape_leave_out(const struct ssld_model *model, const uint32_t *explicit, uint32_t count, float *row, float sum)
{
    float left = sum;
    for (uint32_t k = 0; k < count; k++) {
        left -= row[explicit[k]];
        row[explicit[k]] = 0;
    }
    /* Where little is left of much, the difference has little of a float's precision left. */
    return left > 0.25f * sum ? left : ssld_row_sum(row, (size_t)model->classes);
}

/* y_c = (p_c / p_base)^(1/4), at most 1; 0 behind the classes. */
MULTIVERSION void ssld_shape_roots(const float *log_p, size_t classes, float base, float *y)
{
    size_t c = 0;
    for (; c < classes; c++) {
        float quarter = 0.25f * (log_p[c] - base);
        y[c] = ssld_exp(quarter < 0 ? quarter : 0);
    }
    for (; c % SSLD_SHAPE_VECTOR; c++)
        y[c] = 0;
}

MULTIVERSION float ssld_row_sum(const float *row, size_t classes)
{
    float lanes[SSLD_LANES] = { 0 };
    size_t c = 0;
    for (; c + SSLD_LANES <= classes; c += SSLD_LANES)
        for (size_t i = 0; i < SSLD_LANES; i++)
            lanes[i] += row[c + i];
    for (size_t i = 0; c + i < classes; i++)
        lanes[i] += row[c + i];
    return ssld_sum_lanes(lanes);
}

MULTIVERSION void ssld_row_scale(float *row, size_t classes, float factor)
{
    for (size_t c = 0; c < classes; c++) {
        float value = row[c] * factor;
        row[c] = value > FLT_MIN ? value : FLT_MIN; /* no class has probability 0 */
    }
}

void ssld_row_moments(const float *row, int32_t classes, float *mean, float *deviation)
{
    double sum = 0, squares = 0;
    for (int32_t c = 0; c < classes; c++) {
        double l = log((double)row[c]);
        sum += l;
        squares += l * l;
    }
    sum /= classes;
    *mean = (float)sum;
    *deviation = (float)sqrt(squares / classes > sum * sum ? squares / classes - sum * sum : 0);
}

MULTIVERSION void ssld_shape_project(const struct ssld_model *model, const float *y, float *work, float *numbers)
{
    size_t stride = model->stride;
    for (size_t c = 0; c < stride; c++)
        work[c] = y[c] - model->rows[c];
    for (int32_t j = 0; j < model->rank; j++) {
        const float *row = model->analysis + (size_t)j * stride;
        float lanes[SSLD_LANES] = { 0 };
        for (size_t c = 0; c < stride; c += SSLD_LANES)
            for (int i = 0; i < SSLD_LANES; i++)
                lanes[i] += work[c + (size_t)i] * row[c + (size_t)i];
        numbers[j] = ssld_sum_lanes(lanes);
    }
}
