/* SPDX-License-Identifier: BSD-2-Clause */
/* learn.c - fitting a model: the mean label and the directions in which labels differ most (principal components by
 * subspace iteration), made small whole numbers; then codes for what the codec makes of the labels with them. */
#include "store/learn.h"

#include <math.h>

#include "store/vector.h"

#define ITERATIONS 4
#define SPARE 4 /* directions more than wanted, so that the wanted ones settle sooner */

/* The labels as points: log_p with the most probable classes brought down to the first of the tail, without their mean. */
struct points {
    size_t count, stride, classes, directions;
    float *values; /* (count, stride) */
    float *mean;   /* (stride) */
    float *basis;  /* (directions, stride) */
    float *image;  /* (directions, stride): what the covariance makes of the basis */
};

/* dot products and sums over the padded stride, in the order that vector.h says */
MULTIVERSION static float dot(const float *a, const float *b, size_t stride)
{
    float lanes[SSLD_LANES] = { 0 };
    for (size_t c = 0; c < stride; c += SSLD_LANES)
        for (int i = 0; i < SSLD_LANES; i++)
            lanes[i] += a[c + (size_t)i] * b[c + (size_t)i];
    return ssld_sum_lanes(lanes);
}

MULTIVERSION static void add_scaled(float *sum, const float *values, float factor, size_t stride)
{
    for (size_t c = 0; c < stride; c++)
        sum[c] += factor * values[c];
}

/* The value that `above` classes are above: by bisection, which is as near as it need be. */
MULTIVERSION static float bound_of_top(const float *log_p, size_t classes, size_t above)
{
    float low = SSLD_LOG_FLOOR, high = 0;
    for (int round = 0; round < 14; round++) {
        float middle = 0.5f * (low + high);
        int count = 0;
        for (size_t c = 0; c < classes; c++)
            count += log_p[c] > middle;
        if ((size_t)count > above)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* What the codec wants the shape of: fourth roots of the tail (TOPK), or logarithms without their mean. */
static void make_point(const struct points *points, const struct ssld_coding *coding, const float *log_p, float *to)
{
    if (coding->top_k) {
        ssld_shape_roots(log_p, points->classes, bound_of_top(log_p, points->classes, (size_t)coding->top_k), to);
        return;
    }
    float mean = ssld_row_sum(log_p, points->classes) / (float)points->classes;
    for (size_t c = 0; c < points->classes; c++)
        to[c] = log_p[c] - mean;
}

static void make_points(struct points *points, const struct ssld_coding *coding, const float *log_p)
{
    for (size_t i = 0; i < points->count; i++) {
        float *to = points->values + i * points->stride;
        make_point(points, coding, log_p + i * points->stride, to);
        add_scaled(points->mean, to, 1 / (float)points->count, points->stride);
    }
    for (size_t i = 0; i < points->count; i++)
        add_scaled(points->values + i * points->stride, points->mean, -1, points->stride);
}

/* Rows of `rows` made orthogonal and of length 1, each against those before it; twice, for rounding. */
static void orthonormalise(float *rows, size_t count, size_t stride)
{
    for (size_t i = 0; i < count; i++)
        for (int again = 0; again < 2; again++) {
            float *row = rows + i * stride;
            for (size_t j = 0; j < i; j++)
                add_scaled(row, rows + j * stride, -dot(row, rows + j * stride, stride), stride);
            float length = sqrtf(dot(row, row, stride));
            float factor = length > 1e-6f ? 1 / length : 0;
            for (size_t c = 0; c < stride; c++)
                row[c] *= factor;
        }
}

/* rows = orthonormal basis of what the points' covariance makes of rows. */
static ssld_status iterate(ssld_context *context, struct points *points)
{
    size_t stride = points->stride;
    memset(points->image, 0, points->directions * stride * sizeof(float));
    for (size_t i = 0; i < points->count; i++) {
        const float *point = points->values + i * stride;
        for (size_t j = 0; j < points->directions; j++)
            add_scaled(points->image + j * stride, point, dot(point, points->basis + j * stride, stride), stride);
        if (i % 256 == 0 && ssld_cancelled(context))
            return ssld_check_cancelled(context);
    }
    memcpy(points->basis, points->image, points->directions * stride * sizeof(float));
    orthonormalise(points->basis, points->directions, stride);
    return SSLD_OK;
}

/* Any start does that is not orthogonal to what is looked for; this one is the same everywhere. */
static void begin_directions(struct points *points)
{
    uint32_t state = 1;
    for (size_t j = 0; j < points->directions; j++)
        for (size_t c = 0; c < points->classes; c++) {
            state = state * UINT32_C(1664525) + UINT32_C(1013904223);
            points->basis[j * points->stride + c] = (float)(state >> 16) / 65536 - 0.5f;
        }
}

/* A row as whole numbers times the least power of two that lets them be -127 to 127. */
static void quantise_row(const float *row, size_t classes, int8_t *values, int8_t *exponent)
{
    float largest = 0;
    for (size_t c = 0; c < classes; c++)
        largest = fabsf(row[c]) > largest ? fabsf(row[c]) : largest;
    int power = -14;
    while (power < 0 && largest > 127 * ldexpf(1, power))
        power++;
    for (size_t c = 0; c < classes; c++) {
        float value = rintf(ldexpf(row[c], -power));
        values[c] = (int8_t)(value < -127 ? -127 : value > 127 ? 127 : value);
    }
    *exponent = (int8_t)power;
}

static ssld_status learn_rows(ssld_context *context, const struct ssld_coding *coding, float step, size_t count,
                              const float *log_p, int8_t *rows, int8_t *exponents)
{
    size_t classes = (size_t)coding->classes, rank = (size_t)coding->rank;
    size_t stride = (classes + SSLD_SHAPE_VECTOR - 1) / SSLD_SHAPE_VECTOR * SSLD_SHAPE_VECTOR;
    struct points points = { .count = count, .stride = stride, .classes = classes, .directions = rank ? rank + SPARE : 0 };
    points.values = ssld_alloc_zero(context, count * stride, sizeof(float));
    points.mean = ssld_alloc_zero(context, stride, sizeof(float));
    points.basis = ssld_alloc_zero(context, points.directions * stride, sizeof(float));
    points.image = ssld_alloc_zero(context, points.directions * stride, sizeof(float));
    ssld_status status = SSLD_OK;
    if (!points.values || !points.mean || !points.basis || !points.image) {
        status = ssld_fail_memory(context, "fitting a model", count * stride * sizeof(float));
        goto done;
    }
    make_points(&points, coding, log_p);
    begin_directions(&points);
    for (int round = 0; round < ITERATIONS && rank && !status; round++)
        status = iterate(context, &points);
    quantise_row(points.mean, classes, rows, exponents);
    for (size_t j = 0; j < rank && !status; j++) {
        float *row = points.basis + j * stride;
        for (size_t c = 0; c < classes; c++)
            row[c] *= step;
        quantise_row(row, classes, rows + (j + 1) * classes, exponents + j + 1);
    }
done:
    ssld_free(context, points.values);
    ssld_free(context, points.mean);
    ssld_free(context, points.basis);
    ssld_free(context, points.image);
    return status;
}

/* Encode the labels with a model whose codes are not there yet, and count. */
static void learn_codes(const struct ssld_codec *codec, struct ssld_encoder *encoder, size_t count, const float *log_p,
                        const int32_t *classes, int32_t codes, uint32_t (*counts)[SSLD_TOKENS],
                        uint8_t (*lengths)[SSLD_TOKENS])
{
    size_t stride = (size_t)encoder->model->stride;
    for (size_t i = 0; i < count; i++) {
        struct ssld_sink sink = { .counts = counts };
        struct ssld_label label = ssld_label_of(log_p + i * stride, encoder->coding.classes, classes[i]);
        codec->encode(encoder, &label, &sink);
    }
    for (int32_t i = 0; i < codes; i++)
        ssld_prefix_fit(counts[i], lengths[i]);
}

ssld_status ssld_learn(ssld_context *context, const struct ssld_codec *codec, struct ssld_encoder *encoder, size_t count,
                       const float *log_p, const int32_t *classes, struct ssld_model **model)
{
    const struct ssld_coding *coding = &encoder->coding;
    int32_t rank = coding->shaped ? coding->rank : -1, codes = codec->codes + (rank > 0 ? SSLD_SHAPE_CODES : 0);
    size_t rows = (size_t)(rank + 1), size = 0;
    size_t stride = ((size_t)coding->classes + SSLD_SHAPE_VECTOR - 1) / SSLD_SHAPE_VECTOR * SSLD_SHAPE_VECTOR;
    float scale[3], step;
    struct ssld_model *draft = NULL;
    uint8_t *bytes = NULL;
    int8_t *values = ssld_alloc_zero(context, rows, (size_t)coding->classes);
    int8_t exponents[SSLD_MOST_RANK + 1] = { 0 };
    uint8_t(*lengths)[SSLD_TOKENS] = ssld_alloc_zero(context, (size_t)codes, sizeof *lengths);
    uint32_t(*counts)[SSLD_TOKENS] = ssld_alloc_zero(context, (size_t)codes, sizeof *counts);
    ssld_status status = values && lengths && counts ? SSLD_OK
                                                     : ssld_fail_memory(context, "fitting a model", sizeof *counts);
    if (!status)
        codec->fit(coding, count, stride, log_p, scale, &step);
    if (!status && rows)
        status = learn_rows(context, coding, step, count, log_p, values, exponents);
    if (status)
        goto done;
    for (int32_t i = 0; i < codes; i++)
        ssld_prefix_fit(counts[i], lengths[i]);
    struct ssld_model_parts parts = { codec->id, coding->classes, rank, codes, scale[0], scale[1], scale[2], values, exponents,
                                      (const uint8_t (*)[SSLD_TOKENS])lengths };
    for (int draft_only = 1; draft_only >= 0 && !status; draft_only--) {
        ssld_free(context, bytes);
        bytes = ssld_model_write(context, &parts, &size);
        status = bytes ? ssld_model_read(context, bytes, size, draft_only ? &draft : model)
                       : ssld_fail_memory(context, "a model", size);
        if (!status && draft_only && !(status = ssld_model_analyse(context, draft))) {
            encoder->model = draft;
            learn_codes(codec, encoder, count, log_p, classes, codes, counts, lengths);
            encoder->model = NULL;
        }
    }
done:
    ssld_model_free(context, draft);
    ssld_free(context, bytes);
    ssld_free(context, values);
    ssld_free(context, lengths);
    ssld_free(context, counts);
    return status;
}
