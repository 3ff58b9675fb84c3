/* SPDX-License-Identifier: BSD-2-Clause */
/* codec_log8.c - every class's log-probability as a level of the model's scale.
 *
 * A record is its mean m, the shape's numbers, and for each class how many levels its own is behind the one that m + v_c falls
 * on. How far that is likely to be depends on where on the scale it is, so each stretch of it has a code of its own. */
#include "ssld/store.h"
#include "store/codec.h"
#include "store/vector.h"

#define CODE_MEAN 0
#define CODE_LEVEL 1
#define STRETCHES 8 /* of 2 nats each, the last to the floor */
#define CODE_SHAPE (CODE_LEVEL + STRETCHES)
#define MEAN_STEPS 8 /* to a nat */

static uint64_t most_bits(const struct ssld_coding *coding)
{
    /* mean, numbers, levels: a number below 2^13 takes at most a code of 10 + 7 bits and 11 more */
    return 28 * ((uint64_t)coding->classes + SSLD_MOST_RANK + 1);
}

/* Where on the scale class c is expected: sixteenths of a nat below 0. */
static inline int32_t expected(float v, float mean)
{
    float below = -16 * (mean + v);
    return below > 0 ? below < 16 * 64 ? (int32_t)below : 16 * 64 : 0;
}

static inline unsigned stretch(int32_t place)
{
    int32_t number = place / 32;
    return CODE_LEVEL + (unsigned)(number < STRETCHES ? number : STRETCHES - 1);
}

/* The shape's numbers and values, or none if the model has no rows. */
static void fit_shape(struct ssld_encoder *encoder, const struct ssld_label *label, float mean, struct ssld_shape *shape)
{
    const struct ssld_model *model = encoder->model;
    size_t classes = (size_t)model->classes;
    if (model->rank > 0) {
        for (size_t c = 0; c < classes; c++)
            encoder->work[c] = label->log_p[c] - mean;
        memset(encoder->work + classes, 0, (model->stride - classes) * sizeof(float));
        ssld_shape_project(model, encoder->work, encoder->shape, shape->numbers);
        for (int32_t j = 0; j < model->rank; j++) {
            float number = rintf(shape->numbers[j]);
            shape->numbers[j] = number < -127 ? -127 : number > 127 ? 127 : number;
        }
    }
    if (model->rank >= 0)
        ssld_shape_values(model, shape, encoder->shape);
    else
        memset(encoder->shape, 0, model->stride * sizeof(float));
}

static void encode(struct ssld_encoder *encoder, const struct ssld_label *label, struct ssld_sink *sink)
{
    const struct ssld_model *model = encoder->model;
    struct ssld_shape shape;
    uint32_t steps = (uint32_t)(-label->mean * MEAN_STEPS + 0.5f);
    float mean = -(float)steps / MEAN_STEPS;
    fit_shape(encoder, label, mean, &shape);
    ssld_put_number(sink, CODE_MEAN, steps);
    ssld_shape_put(sink, model, CODE_SHAPE, &shape);
    for (int32_t c = 0; c < model->classes; c++) {
        int32_t place = expected(encoder->shape[c], mean);
        int32_t level = (int32_t)ssld_scale_level(&model->scale, label->log_p[c]);
        ssld_put_number(sink, stretch(place), ssld_zigzag(level - model->scale.start[place]));
    }
}

MULTIVERSION static bool levels_read(const struct ssld_model *model, struct ssld_source *source, const float *v, float mean,
                                     size_t count, float *row)
{
    struct ssld_window window = ssld_window_open(source);
    const struct ssld_scale *scale = &model->scale;
    for (size_t c = 0; c < count;) {
        ssld_window_fill(&window);
        for (size_t end = count - c < model->group ? count : c + model->group; c < end; c++) {
            int32_t place = expected(v[c], mean);
            int32_t level = scale->start[place] + ssld_unzigzag(ssld_get_next(&window, model, stretch(place)));
            if (level < 0 || level >= scale->levels)
                return false;
            row[c] = scale->probability[level];
        }
    }
    source->at = window.at;
    return true;
}

static bool decode(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source, float *row,
                   struct ssld_record_sizes *sizes)
{
    uint64_t begin = source->at;
    size_t classes = (size_t)coding->classes;
    struct ssld_shape shape;
    float v[SSLD_SHAPE_VECTOR], probabilities[SSLD_SHAPE_VECTOR];
    struct ssld_window window = ssld_window_open(source);
    float mean = -(float)ssld_get_number(&window, &model->codes[CODE_MEAN]) / MEAN_STEPS;
    source->at = window.at;
    ssld_shape_get(source, model, CODE_SHAPE, &shape);
    for (size_t c = 0; c < classes; c += SSLD_SHAPE_VECTOR) {
        size_t count = classes - c < SSLD_SHAPE_VECTOR ? classes - c : SSLD_SHAPE_VECTOR;
        ssld_shape_part(model, &shape, c, v);
        if (!levels_read(model, source, v, mean, count, row ? row + c : probabilities) || source->at > source->end)
            return false;
    }
    if (row)
        ssld_row_scale(row, classes, 1 / ssld_row_sum(row, classes));
    if (sizes)
        sizes->values += source->at - begin;
    return source->at <= source->end;
}

static bool moments(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source,
                    const float *row, float *mean, float *deviation)
{
    (void)model;
    (void)source;
    ssld_row_moments(row, coding->classes, mean, deviation);
    return true;
}

/* Steps are s(l) = 0.01 + 0.018 |l|, at most 0.3, times f. Errors of variance s^2 / 12 in each logarithm take from the cosine of a
 * gradient g half of
 *
 *   sum_c w_c^2 s(l_c)^2 / 12 (1 - g_c^2 / |g|^2) / |g|^2        the last factor but one: what lies along g turns nothing
 *
 *   soft_ce    w_c = q_c            g_c = q_c - 1 / C            of a student that knows nothing, p_c = 1 / C
 *   sym_kl     w_c = q_c + 1 / C    g_c = q_c - 1 / C + (l_c - mean l) / C
 *
 * f is as large as keeps the one at SOFT_CE_LOSS and the other at SYM_KL_LOSS in the geometric mean of the labels: so that what is
 * lost of the gradients of trained students, up to five times as much, stays below 1e-4. */
#define FIRST_STEP 0.01f
#define GROWTH 0.018f
#define CAP 0.3f
#define SOFT_CE_LOSS 1.6e-5
#define SYM_KL_LOSS 4e-5
#define MOST_FACTOR 2.5

static double step_of(float log_p)
{
    float step = FIRST_STEP - GROWTH * log_p;
    return (double)(step < CAP ? step : CAP);
}

static void losses_of(const float *log_p, size_t classes, double *soft_ce, double *sym_kl)
{
    double n = (double)classes, mean = 0, squares[2] = { 1e-12, 1e-12 }, errors[2] = { 1e-30, 1e-30 };
    for (size_t c = 0; c < classes; c++)
        mean += (double)log_p[c] / n;
    for (int pass = 0; pass < 2; pass++)
        for (size_t c = 0; c < classes; c++) {
            double q = (double)ssld_exp(log_p[c]), s = step_of(log_p[c]);
            double g[2] = { q - 1 / n, q - 1 / n + ((double)log_p[c] - mean) / n }, w[2] = { q, q + 1 / n };
            for (int loss = 0; loss < 2; loss++)
                if (pass)
                    errors[loss] += w[loss] * w[loss] * s * s * (1 - g[loss] * g[loss] / squares[loss]);
                else
                    squares[loss] += g[loss] * g[loss];
        }
    *soft_ce = errors[0] / 24 / squares[0];
    *sym_kl = errors[1] / 24 / squares[1];
}

static void fit(const struct ssld_coding *coding, size_t count, size_t stride, const float *log_p, float scale[3], float *step)
{
    double soft_ce = 0, sym_kl = 0, factor = MOST_FACTOR;
    for (size_t i = 0; i < count; i++) {
        double losses[2];
        losses_of(log_p + i * stride, (size_t)coding->classes, &losses[0], &losses[1]);
        soft_ce += log(losses[0]) / (double)count;
        sym_kl += log(losses[1]) / (double)count;
    }
    factor = fmin(factor, sqrt(fmin(SOFT_CE_LOSS / exp(soft_ce), SYM_KL_LOSS / exp(sym_kl))));
    factor = rint(16 * fmax(factor, 1)) / 16;
    scale[0] = FIRST_STEP * (float)factor;
    scale[1] = 1 + GROWTH * (float)factor;
    scale[2] = CAP * (float)factor;
    *step = 2;
}

const struct ssld_codec ssld_codec_log8 = {
    .id = SSLD_CODEC_DENSE_LOG8,
    .codes = CODE_SHAPE,
    .most_bits = most_bits,
    .encode = encode,
    .decode = decode,
    .moments = moments,
    .fit = fit,
};
