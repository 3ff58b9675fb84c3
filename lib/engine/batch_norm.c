/* SPDX-License-Identifier: BSD-2-Clause */
/* batch_norm.c - the loops of batch_norm.h: one for blocks of 16 channels with an activation of a few instructions, on vectors,
 * and one for everything else. The formulas stand in batch_norm.h, where the loops come together in op_batch_norm.c. */
#include "engine/batch_norm.h"

#include "engine/lanes.h"

/* Single precision holds for so many positions; then the sum goes on in double. */
#define RUN 64

/* Sums of a run stand in four vectors: an addition need not wait for the one before it. */
#define STRANDS(type) (4 / UNIT(type))
#define MOST_STRANDS 4

/* CALL with TYPE and ACTIVATION constants, for kinds that lanes_can(). */
#define WITH_LANES(type, kind, CALL)                          \
    WITH_TYPE(type, switch (kind) {                           \
        WITH_ACTIVATION_CASE(SSLD_OP_RELU, CALL)              \
        WITH_ACTIVATION_CASE(SSLD_OP_CLIP, CALL)              \
        WITH_ACTIVATION_CASE(SSLD_OP_HARD_SWISH, CALL)        \
        WITH_ACTIVATION_CASE(SSLD_OP_HARD_SIGMOID, CALL)      \
        WITH_ACTIVATION_CASE(SSLD_OP_LEAKY_RELU, CALL)        \
        WITH_ACTIVATION_CASE(SSLD_OP_IDENTITY, CALL)          \
    })

ALWAYS_INLINE bool on_vectors(int64_t b, int32_t kind)
{
    return b == LANES && lanes_can(kind);
}

/* CALL with FIRST and COUNT for each unit of the positions first .. last - 1; the last may be half of one. */
#define FOR_UNITS(type, first, last, CALL)                             \
    do {                                                               \
        int64_t FIRST = (first);                                       \
        for (; FIRST + UNIT(type) <= (last); FIRST += UNIT(type)) {    \
            const int64_t COUNT = UNIT(type);                          \
            CALL;                                                      \
        }                                                              \
        if (UNIT(type) > 1 && FIRST < (last)) {                        \
            const int64_t COUNT = 1;                                   \
            CALL;                                                      \
        }                                                              \
    } while (0)

/* Loops over the channels of one position stand apart from each other, so that each becomes a few vector instructions. */
#define MOST_CHANNELS 16

ALWAYS_INLINE void load_position(int32_t type, int64_t b, const void *src, int64_t position, float *x)
{
    for (int64_t l = 0; l < b; l++)
        x[l] = element_load(type, src, position * b + l);
}

ALWAYS_INLINE void store_position(int32_t type, int64_t b, void *dst, int64_t position, const float *x)
{
    for (int64_t l = 0; l < b; l++)
        element_store(type, dst, position * b + l, x[l]);
}

/* -- Sums --------------------------------------------------------------------------------------------------------- */

/* A run's strands, added in one order. */
ALWAYS_INLINE void add_strands(int32_t type, lanes16 strands[MOST_STRANDS][MOST_UNIT], double *restrict sums)
{
    lanes16 sum[MOST_UNIT];
    for (int v = 0; v < UNIT(type); v++)
        sum[v] = STRANDS(type) == 2 ? strands[0][v] + strands[1][v]
                                    : (strands[0][v] + strands[1][v]) + (strands[2][v] + strands[3][v]);
    lanes_add_to_channels(type, sum, sums);
}

ALWAYS_INLINE void moments_unit(int32_t type, const void *src, int64_t position, int64_t count, lanes16 *restrict sum,
                                lanes16 *restrict square)
{
    lanes16 x[MOST_UNIT];
    lanes_load(type, src, position, count, x);
    for (int v = 0; v < UNIT(type); v++) {
        sum[v] += x[v];
        square[v] += x[v] * x[v];
    }
}

ALWAYS_INLINE void moments_vectors(int32_t type, int64_t count, const void *src, double *restrict sums)
{
    for (int64_t first = 0; first < count; first += RUN) {
        int64_t last = first + RUN < count ? first + RUN : count, p = first;
        lanes16 sum[MOST_STRANDS][MOST_UNIT] = { { { 0 } } }, square[MOST_STRANDS][MOST_UNIT] = { { { 0 } } };
        for (; p + STRANDS(type) * UNIT(type) <= last; p += STRANDS(type) * UNIT(type))
            for (int64_t s = 0; s < STRANDS(type); s++)
                moments_unit(type, src, p + s * UNIT(type), UNIT(type), sum[s], square[s]);
        FOR_UNITS(type, p, last, moments_unit(type, src, FIRST, COUNT, sum[0], square[0]));
        add_strands(type, sum, sums);
        add_strands(type, square, sums + LANES);
    }
}

/* Blocks of 8 channels in single precision. */
ALWAYS_INLINE void moments_of_eights(int64_t count, const float *restrict src, double *restrict sums)
{
    for (int64_t first = 0; first < count; first += RUN) {
        int64_t last = first + RUN < count ? first + RUN : count, p = first;
        lanes8 sum[MOST_STRANDS] = { { 0 } }, square[MOST_STRANDS] = { { 0 } };
        for (; p + MOST_STRANDS <= last; p += MOST_STRANDS)
            for (int64_t s = 0; s < MOST_STRANDS; s++) {
                lanes8 x;
                memcpy(&x, src + 8 * (p + s), sizeof x);
                sum[s] += x;
                square[s] += x * x;
            }
        for (; p < last; p++) {
            lanes8 x;
            memcpy(&x, src + 8 * p, sizeof x);
            sum[0] += x;
            square[0] += x * x;
        }
        sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        square[0] = (square[0] + square[1]) + (square[2] + square[3]);
        for (int l = 0; l < 8; l++) {
            sums[l] += (double)sum[0][l];
            sums[8 + l] += (double)square[0][l];
        }
    }
}

ALWAYS_INLINE void moments_loop(int32_t type, int64_t b, int64_t count, const void *src, double *restrict sums)
{
    for (int64_t first = 0; first < count; first += RUN) {
        int64_t last = first + RUN < count ? first + RUN : count;
        float sum[MOST_CHANNELS] = { 0 }, square[MOST_CHANNELS] = { 0 };
        for (int64_t p = first; p < last; p++) {
            float x[MOST_CHANNELS];
            load_position(type, b, src, p, x);
            for (int64_t l = 0; l < b; l++) {
                sum[l] += x[l];
                square[l] += x[l] * x[l];
            }
        }
        for (int64_t l = 0; l < b; l++) {
            sums[l] += (double)sum[l];
            sums[b + l] += (double)square[l];
        }
    }
}

MULTIVERSION void ssld_norm_moments(int32_t type, int64_t b, int64_t count, const void *src, double *sums)
{
    for (int64_t l = 0; l < 2 * b; l++)
        sums[l] = 0;
    if (b == LANES)
        WITH_TYPE(type, moments_vectors(TYPE, count, src, sums));
    else if (b == 8 && type == ELEMENT_F32)
        moments_of_eights(count, src, sums);
    else
        WITH_BLOCK(b, moments_loop(ELEMENT_F32, B, count, src, sums));
}

/* The numbers of norm_lanes as vectors. */
struct norm_vectors {
    lanes16 factor[MOST_UNIT], offset[MOST_UNIT], mean[MOST_UNIT], slope[MOST_UNIT], constant[MOST_UNIT];
    float   alpha, beta;
};

ALWAYS_INLINE void diff_sums_unit(int32_t type, int32_t kind, const struct norm_vectors *norm, const void *restrict src,
                                  const void *restrict diff_dst, int64_t position, int64_t count, lanes16 *restrict sum,
                                  lanes16 *restrict product)
{
    lanes16 x[MOST_UNIT], g[MOST_UNIT];
    lanes_load(type, src, position, count, x);
    lanes_load(type, diff_dst, position, count, g);
    for (int v = 0; v < UNIT(type); v++) {
        lanes16 y = x[v] * norm->factor[v] + norm->offset[v];
        lanes_slope(kind, &y, norm->alpha, norm->beta, &g[v]);
        sum[v] += g[v];
        product[v] += g[v] * (x[v] - norm->mean[v]);
    }
}

ALWAYS_INLINE void diff_sums_vectors(int32_t type, int32_t kind, const struct norm_lanes *norm, int64_t count,
                                     const void *restrict src, const void *restrict diff_dst, double *restrict sums)
{
    struct norm_vectors v = { .alpha = norm->alpha, .beta = norm->beta };
    lanes_of_channels(type, norm->factor, v.factor);
    lanes_of_channels(type, norm->offset, v.offset);
    lanes_of_channels(type, norm->mean, v.mean);
    for (int64_t first = 0; first < count; first += RUN) {
        int64_t last = first + RUN < count ? first + RUN : count, p = first;
        lanes16 sum[MOST_STRANDS][MOST_UNIT] = { { { 0 } } }, product[MOST_STRANDS][MOST_UNIT] = { { { 0 } } };
        for (; p + STRANDS(type) * UNIT(type) <= last; p += STRANDS(type) * UNIT(type))
            for (int64_t s = 0; s < STRANDS(type); s++)
                diff_sums_unit(type, kind, &v, src, diff_dst, p + s * UNIT(type), UNIT(type), sum[s], product[s]);
        FOR_UNITS(type, p, last, diff_sums_unit(type, kind, &v, src, diff_dst, FIRST, COUNT, sum[0], product[0]));
        add_strands(type, sum, sums);
        add_strands(type, product, sums + LANES);
    }
}

ALWAYS_INLINE void diff_sums_loop(int32_t type, int64_t b, int32_t kind, const struct norm_lanes *norm, int64_t count,
                                  const void *restrict src, const void *restrict diff_dst, double *restrict sums)
{
    float factor[MOST_CHANNELS], offset[MOST_CHANNELS], mean[MOST_CHANNELS], alpha = norm->alpha, beta = norm->beta;
    memcpy(factor, norm->factor, (size_t)b * sizeof(float));
    memcpy(offset, norm->offset, (size_t)b * sizeof(float));
    memcpy(mean, norm->mean, (size_t)b * sizeof(float));
    for (int64_t first = 0; first < count; first += RUN) {
        int64_t last = first + RUN < count ? first + RUN : count;
        float sum[MOST_CHANNELS] = { 0 }, product[MOST_CHANNELS] = { 0 };
        for (int64_t p = first; p < last; p++) {
#pragma omp simd
            for (int64_t l = 0; l < b; l++) {
                float x = element_load(type, src, p * b + l), g = element_load(type, diff_dst, p * b + l);
                g *= activation_slope(kind, x * factor[l] + offset[l], alpha, beta);
                sum[l] += g;
                product[l] += g * (x - mean[l]);
            }
        }
        for (int64_t l = 0; l < b; l++) {
            sums[l] += (double)sum[l];
            sums[b + l] += (double)product[l];
        }
    }
}

MULTIVERSION void ssld_norm_diff_sums(int32_t type, int64_t b, const struct norm_lanes *norm, int64_t count,
                                      const void *src, const void *diff_dst, double *sums)
{
    for (int64_t l = 0; l < 2 * b; l++)
        sums[l] = 0;
    if (on_vectors(b, norm->kind))
        WITH_LANES(type, norm->kind, diff_sums_vectors(TYPE, ACTIVATION, norm, count, src, diff_dst, sums));
    else
        WITH_ACTIVATION(norm->kind,
                        WITH_LAYOUT(type, b, diff_sums_loop(TYPE, B, ACTIVATION, norm, count, src, diff_dst, sums)));
}

/* -- From one tensor to another ----------------------------------------------------------------------------------- */

ALWAYS_INLINE void apply_unit(int32_t type, int32_t kind, const struct norm_vectors *norm, const void *restrict src,
                              int64_t position, int64_t count, void *restrict dst)
{
    lanes16 y[MOST_UNIT];
    lanes_load(type, src, position, count, y);
    for (int v = 0; v < UNIT(type); v++) {
        y[v] = y[v] * norm->factor[v] + norm->offset[v];
        lanes_activate(kind, norm->alpha, norm->beta, &y[v]);
    }
    lanes_store(type, dst, position, count, y);
}

ALWAYS_INLINE void apply_vectors(int32_t type, int32_t kind, const struct norm_lanes *norm, int64_t count,
                                 const void *restrict src, void *restrict dst)
{
    struct norm_vectors v = { .alpha = norm->alpha, .beta = norm->beta };
    lanes_of_channels(type, norm->factor, v.factor);
    lanes_of_channels(type, norm->offset, v.offset);
    FOR_UNITS(type, 0, count, apply_unit(type, kind, &v, src, FIRST, COUNT, dst));
}

ALWAYS_INLINE void apply_loop(int32_t type, int64_t b, int32_t kind, const struct norm_lanes *norm, int64_t count,
                              const void *restrict src, void *restrict dst)
{
    float factor[MOST_CHANNELS], offset[MOST_CHANNELS], alpha = norm->alpha, beta = norm->beta;
    memcpy(factor, norm->factor, (size_t)b * sizeof(float));
    memcpy(offset, norm->offset, (size_t)b * sizeof(float));
    for (int64_t p = 0; p < count; p++) {
        float y[MOST_CHANNELS];
        load_position(type, b, src, p, y);
        for (int64_t l = 0; l < b; l++)
            y[l] = y[l] * factor[l] + offset[l];
        for (int64_t l = 0; l < b; l++)
            y[l] = activation_value(kind, y[l], alpha, beta);
        store_position(type, b, dst, p, y);
    }
}

MULTIVERSION void ssld_norm_apply(int32_t type, int64_t b, const struct norm_lanes *norm, int64_t count, const void *src,
                                  void *dst)
{
    if (on_vectors(b, norm->kind))
        WITH_LANES(type, norm->kind, apply_vectors(TYPE, ACTIVATION, norm, count, src, dst));
    else
        WITH_ACTIVATION(norm->kind, WITH_LAYOUT(type, b, apply_loop(TYPE, B, ACTIVATION, norm, count, src, dst)));
}

ALWAYS_INLINE void diff_src_unit(int32_t type, int32_t kind, const struct norm_vectors *norm, const void *restrict src,
                                 const void *restrict diff_dst, int64_t position, int64_t count, void *restrict diff_src)
{
    lanes16 x[MOST_UNIT], g[MOST_UNIT];
    lanes_load(type, src, position, count, x);
    lanes_load(type, diff_dst, position, count, g);
    for (int v = 0; v < UNIT(type); v++) {
        lanes16 y = x[v] * norm->factor[v] + norm->offset[v];
        lanes_slope(kind, &y, norm->alpha, norm->beta, &g[v]);
        g[v] = norm->factor[v] * g[v] + (norm->slope[v] * x[v] + norm->constant[v]);
    }
    lanes_store(type, diff_src, position, count, g);
}

ALWAYS_INLINE void diff_src_vectors(int32_t type, int32_t kind, const struct norm_lanes *norm, int64_t count,
                                    const void *restrict src, const void *restrict diff_dst, void *restrict diff_src)
{
    struct norm_vectors v = { .alpha = norm->alpha, .beta = norm->beta };
    lanes_of_channels(type, norm->factor, v.factor);
    lanes_of_channels(type, norm->offset, v.offset);
    lanes_of_channels(type, norm->slope, v.slope);
    lanes_of_channels(type, norm->constant, v.constant);
    FOR_UNITS(type, 0, count, diff_src_unit(type, kind, &v, src, diff_dst, FIRST, COUNT, diff_src));
}

ALWAYS_INLINE void diff_src_loop(int32_t type, int64_t b, int32_t kind, const struct norm_lanes *norm, int64_t count,
                                 const void *restrict src, const void *restrict diff_dst, void *restrict diff_src)
{
    float factor[MOST_CHANNELS], offset[MOST_CHANNELS], slope[MOST_CHANNELS], constant[MOST_CHANNELS];
    float alpha = norm->alpha, beta = norm->beta;
    memcpy(factor, norm->factor, (size_t)b * sizeof(float));
    memcpy(offset, norm->offset, (size_t)b * sizeof(float));
    memcpy(slope, norm->slope, (size_t)b * sizeof(float));
    memcpy(constant, norm->constant, (size_t)b * sizeof(float));
    for (int64_t p = 0; p < count; p++) {
        float x[MOST_CHANNELS], g[MOST_CHANNELS];
        load_position(type, b, src, p, x);
        load_position(type, b, diff_dst, p, g);
        for (int64_t l = 0; l < b; l++)
            g[l] *= activation_slope(kind, x[l] * factor[l] + offset[l], alpha, beta);
        for (int64_t l = 0; l < b; l++)
            g[l] = factor[l] * g[l] + slope[l] * x[l] + constant[l];
        store_position(type, b, diff_src, p, g);
    }
}

MULTIVERSION void ssld_norm_diff_src(int32_t type, int64_t b, const struct norm_lanes *norm, int64_t count,
                                     const void *src, const void *diff_dst, void *diff_src)
{
    if (on_vectors(b, norm->kind))
        WITH_LANES(type, norm->kind, diff_src_vectors(TYPE, ACTIVATION, norm, count, src, diff_dst, diff_src));
    else
        WITH_ACTIVATION(norm->kind,
                        WITH_LAYOUT(type, b, diff_src_loop(TYPE, B, ACTIVATION, norm, count, src, diff_dst, diff_src)));
}
