/* SPDX-License-Identifier: BSD-2-Clause */
/* op_softmax.c - Softmax and LogSoftmax over one axis of a plain tensor (outer, C, inner).
 *
 *   m = max x      e = exp(x - m)      s = sum e          dst = e / s,  or  x - m - ln s
 *
 * Rows of C numbers close together are done one by one, in cache from their maximum to their quotient; otherwise `inner`
 * neighbours at a time, a vector of them in each pass. */
#include "engine/kernels.h"
#include "engine/layouts.h"

#define KEPT 2048   /* exponentials of a row, kept between two passes; longer rows take them twice */
#define LANES 16    /* sums side by side in a row */
#define COLUMNS 64  /* neighbours at a time */
#define LEAST 8192  /* numbers worth starting threads for */

struct softmax_shape {
    int64_t outer, channels, inner;
    bool    logarithm;
};

/* -- Rows: inner is 1 --------------------------------------------------------------------------------------------- */

ALWAYS_INLINE float row_maximum(int32_t type, int64_t count, const void *src)
{
    float lanes[LANES], most;
    int64_t i = 0;
    for (int64_t l = 0; l < LANES; l++)
        lanes[l] = element_load(type, src, 0);
    for (; i + LANES <= count; i += LANES)
        for (int64_t l = 0; l < LANES; l++) {
            float x = element_load(type, src, i + l);
            lanes[l] = x > lanes[l] ? x : lanes[l];
        }
    most = lanes[0];
    for (int64_t l = 1; l < LANES; l++)
        most = lanes[l] > most ? lanes[l] : most;
    for (; i < count; i++)
        most = element_load(type, src, i) > most ? element_load(type, src, i) : most;
    return most;
}

/* The sum of exponentials, which are kept if `kept` is not NULL. */
ALWAYS_INLINE float row_sum(int32_t type, int64_t count, const void *src, float most, float *kept)
{
    float lanes[LANES] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int64_t l = 0; l < LANES; l++) {
            float e = exp_of(element_load(type, src, i + l) - most);
            if (kept)
                kept[i + l] = e;
            lanes[l] += e;
        }
    for (; i < count; i++) {
        float e = exp_of(element_load(type, src, i) - most);
        if (kept)
            kept[i] = e;
        sum += e;
    }
    for (int64_t l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

ALWAYS_INLINE void rows_loop(int32_t type, bool logarithm, int64_t rows, int64_t count, const void *src, void *dst)
{
    float kept[KEPT];
    for (int64_t r = 0; r < rows; r++) {
        const void *from = element_at_const(type, src, r * count);
        void *to = element_at(type, dst, r * count);
        bool keeps = !logarithm && count <= KEPT;
        float most = row_maximum(type, count, from);
        float sum = keeps ? row_sum(type, count, from, most, kept) : row_sum(type, count, from, most, NULL);
        float factor = 1.0f / sum, shift = most + logf(sum);
        if (keeps)
            for (int64_t i = 0; i < count; i++)
                element_store(type, to, i, kept[i] * factor);
        else if (logarithm)
            for (int64_t i = 0; i < count; i++)
                element_store(type, to, i, element_load(type, from, i) - shift);
        else
            for (int64_t i = 0; i < count; i++)
                element_store(type, to, i, exp_of(element_load(type, from, i) - most) * factor);
    }
}

MULTIVERSION static void softmax_rows(int32_t type, bool logarithm, int64_t rows, int64_t count, const void *src, void *dst)
{
    WITH_TYPE(type, rows_loop(TYPE, logarithm, rows, count, src, dst));
}

/* -- Columns: `count` neighbours of (C, inner) ------------------------------------------------------------------------- */

ALWAYS_INLINE void columns_loop(int32_t type, bool logarithm, int64_t channels, int64_t inner, int64_t count,
                                const void *src, void *dst)
{
    float most[COLUMNS], sum[COLUMNS] = { 0 };
    for (int64_t i = 0; i < count; i++)
        most[i] = element_load(type, src, i);
    for (int64_t c = 1; c < channels; c++)
        for (int64_t i = 0; i < count; i++) {
            float x = element_load(type, src, c * inner + i);
            most[i] = x > most[i] ? x : most[i];
        }
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < count; i++)
            sum[i] += exp_of(element_load(type, src, c * inner + i) - most[i]);
    for (int64_t i = 0; i < count; i++)
        sum[i] = logarithm ? logf(sum[i]) : 1.0f / sum[i];
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < count; i++) {
            float x = element_load(type, src, c * inner + i) - most[i];
            element_store(type, dst, c * inner + i, logarithm ? x - sum[i] : exp_of(x) * sum[i]);
        }
}

MULTIVERSION static void softmax_columns(int32_t type, bool logarithm, int64_t channels, int64_t inner, int64_t count,
                                         const void *src, void *dst)
{
    WITH_TYPE(type, columns_loop(TYPE, logarithm, channels, inner, count, src, dst));
}

/* -- The operator ------------------------------------------------------------------------------------------------- */

static struct softmax_shape shape_of(const struct ssld_plan *plan, const struct step *step)
{
    const struct ssld_value *value = &plan->graph->values[step->node->output];
    struct softmax_shape shape = { 1, value->dims[step->node->attributes.axis], 1, step->node->kind == SSLD_OP_LOG_SOFTMAX };
    for (int32_t i = 0; i < value->ndims; i++)
        *(i < step->node->attributes.axis ? &shape.outer : &shape.inner) *= i == step->node->attributes.axis ? 1 : value->dims[i];
    return shape;
}

static ssld_status softmax_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_planes_of_value(plan, &plan->graph->values[step->node->output]));
    return SSLD_OK;
}

static ssld_status softmax_forward(struct ssld_plan *plan, struct step *step)
{
    const struct softmax_shape shape = shape_of(plan, step);
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    int64_t outer = dst->planes.n * shape.outer, area = shape.channels * shape.inner;
    int32_t type = plan->type;
    if (shape.inner == 1) {
        int64_t together = shape.channels < LEAST ? LEAST / shape.channels : 1; /* rows */
#pragma omp parallel for
        for (int64_t r = 0; r < outer; r += together)
            softmax_rows(type, shape.logarithm, outer - r < together ? outer - r : together, shape.channels,
                         element_at_const(type, src->data, r * area), element_at(type, dst->data, r * area));
        return SSLD_OK;
    }
    int64_t pieces = (shape.inner + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for
    for (int64_t task = 0; task < outer * pieces; task++) {
        int64_t first = task % pieces * COLUMNS, at = task / pieces * area + first;
        softmax_columns(type, shape.logarithm, shape.channels, shape.inner,
                        shape.inner - first < COLUMNS ? shape.inner - first : COLUMNS, element_at_const(type, src->data, at),
                        element_at(type, dst->data, at));
    }
    return SSLD_OK;
}

#define SOFTMAX(name, operator)                                                                                        \
    const struct engine_op name = { .kind = operator,                                                                  \
                                    .layout = LAYOUT_PLAIN,                                                            \
                                    .prepare = softmax_prepare,                                                        \
                                    .forward = softmax_forward }

SOFTMAX(ssld_op_softmax, SSLD_OP_SOFTMAX);
SOFTMAX(ssld_op_log_softmax, SSLD_OP_LOG_SOFTMAX);
