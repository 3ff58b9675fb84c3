/* SPDX-License-Identifier: BSD-2-Clause */
/* op_layer_norm.c - layer norm over the channels at each position. Shapes: src, dst (N, C/b, HW, b); scale, shift (C).
 *
 *   x^ = (src - mean) * inv_std        dst = scale * x^ + shift,   mean and variance over the C channels of a position
 *
 * An image's positions are taken a tile at a time, small enough that the tile of all channels stays in cache between the
 * pass for the moments and the pass that uses them. Backward takes the moments again instead of storing them. */
#include "engine/kernels.h"

#define TILE 16   /* positions */
#define ROWS 16384 /* numbers of rows that a thread takes at a time */
#define SLICES 8  /* of an image's positions, at most: each has partial sums of its own, whatever the number of threads */

/* (N, F) stands in memory as (N, F / 16, 1, 16) does, if 16 divides F: as good as blocks. */
static struct planes as_blocks(const struct planes *planes)
{
    struct planes blocks = *planes;
    for (int64_t b = 16; b >= 8 && planes->b == 1 && planes->h * planes->w == 1 && blocks.b == 1; b /= 2)
        if (planes->channels % b == 0) {
            blocks.b = b;
            blocks.blocks = planes->channels / b;
        }
    return blocks;
}

/* As channels of positions: feature maps as they stand, otherwise (outer, C, inner) around the axis. */
static struct planes positions_of(const struct ssld_plan *plan, const struct step *step, const struct planes *planes)
{
    const struct ssld_value *value = &plan->graph->values[step->node->output];
    struct planes positions = *planes;
    int32_t axis = step->node->attributes.axis;
    if (planes->b > 1)
        return positions;
    positions.channels = positions.blocks = value->dims[axis];
    positions.h = positions.w = 1;
    for (int32_t i = 0; i < value->ndims; i++)
        if (i < axis)
            positions.n *= value->dims[i];
        else if (i > axis)
            positions.h *= value->dims[i];
    return as_blocks(&positions);
}

/* What one call of a kernel works on: `positions` positions of one image, behind one another in each block. */
struct tile {
    int64_t blocks, hw, channels;
    int64_t positions;
    float   epsilon;
};

/* -- Kernels: one tile -------------------------------------------------------------------------------------------- */

/* Padding lanes are zeros and change no sum. */
ALWAYS_INLINE void moments_tile(int32_t type, int64_t b, const struct tile *tile, const void *src, float *mean,
                                float *inv_std)
{
    double sums[TILE * 16] = { 0 }, squares[TILE * 16] = { 0 }, channels = (double)tile->channels;
    for (int64_t k = 0; k < tile->blocks; k++)
        for (int64_t i = 0; i < tile->positions * b; i++) {
            double x = (double)element_load(type, src, k * tile->hw * b + i);
            sums[i] += x;
            squares[i] += x * x;
        }
    for (int64_t p = 0; p < tile->positions; p++) {
        double sum = 0, square = 0;
        for (int64_t l = 0; l < b; l++) {
            sum += sums[p * b + l];
            square += squares[p * b + l];
        }
        double average = sum / channels, variance = square / channels - average * average;
        mean[p] = (float)average;
        inv_std[p] = (float)(1 / sqrt((variance < 0 ? 0 : variance) + (double)tile->epsilon));
    }
}

ALWAYS_INLINE void forward_tile(int32_t type, int64_t b, const struct tile *tile, const float *scale,
                                const float *shift, const void *src, void *dst)
{
    float mean[TILE], inv_std[TILE];
    moments_tile(type, b, tile, src, mean, inv_std);
    for (int64_t k = 0; k < tile->blocks; k++)
        for (int64_t p = 0; p < tile->positions; p++)
            for (int64_t l = 0; l < b; l++) {
                int64_t i = (k * tile->hw + p) * b + l;
                float y = (element_load(type, src, i) - mean[p]) * inv_std[p] * scale[k * b + l];
                element_store(type, dst, i, shift ? y + shift[k * b + l] : y);
            }
}

MULTIVERSION static void forward_of_tile(int32_t type, int64_t b, const struct tile *tile, const float *scale,
                                         const float *shift, const void *src, void *dst)
{
    WITH_TYPE(type, WITH_BLOCK(b, forward_tile(TYPE, B, tile, scale, shift, src, dst)));
}

/* -- Kernels: rows of C numbers close together -------------------------------------------------------------------- */

ALWAYS_INLINE float row_sum(int32_t type, int64_t count, const void *src, float mean, bool squares)
{
    float lanes[16] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (int64_t l = 0; l < 16; l++) {
            float x = element_load(type, src, i + l) - mean;
            lanes[l] += squares ? x * x : x;
        }
    for (; i < count; i++) {
        float x = element_load(type, src, i) - mean;
        sum += squares ? x * x : x;
    }
    for (int64_t l = 0; l < 16; l++)
        sum += lanes[l];
    return sum;
}

/* The row stays in the nearest cache for all three passes. */
ALWAYS_INLINE void rows_loop(int32_t type, int64_t rows, int64_t count, float epsilon, const float *scale, const float *shift,
                             const void *src, void *dst)
{
    for (int64_t r = 0; r < rows; r++) {
        const void *from = element_at_const(type, src, r * count);
        void *to = element_at(type, dst, r * count);
        float mean = row_sum(type, count, from, 0, false) / (float)count;
        float inv_std = 1.0f / sqrtf(row_sum(type, count, from, mean, true) / (float)count + epsilon);
        for (int64_t i = 0; i < count; i++) {
            float y = (element_load(type, from, i) - mean) * inv_std * scale[i];
            element_store(type, to, i, shift ? y + shift[i] : y);
        }
    }
}

MULTIVERSION static void forward_of_rows(int32_t type, int64_t rows, int64_t count, float epsilon, const float *scale,
                                         const float *shift, const void *src, void *dst)
{
    WITH_TYPE(type, rows_loop(TYPE, rows, count, epsilon, scale, shift, src, dst));
}

/* -- Kernels of backward ------------------------------------------------------------------------------------------ */

/* sums[0 .. C) += diff_dst * x^, sums[C .. 2 C) += diff_dst, C padded to whole blocks. With g = diff_dst * scale, of each
 * position the means over the channels of g and of g * x^. */
ALWAYS_INLINE void diff_sums_tile(int32_t type, int64_t b, const struct tile *tile, const float *scale,
                                  const float *mean, const float *inv_std, const void *src, const void *diff_dst,
                                  float *mean_g, float *mean_product, double *sums)
{
    double g[TILE * 16] = { 0 }, product[TILE * 16] = { 0 }, channels = (double)tile->channels;
    for (int64_t k = 0; k < tile->blocks; k++) {
        float of_scale[16] = { 0 }, of_shift[16] = { 0 };
        for (int64_t p = 0; p < tile->positions; p++)
            for (int64_t l = 0; l < b; l++) {
                int64_t i = (k * tile->hw + p) * b + l;
                float x = (element_load(type, src, i) - mean[p]) * inv_std[p], diff = element_load(type, diff_dst, i);
                of_scale[l] += diff * x;
                of_shift[l] += diff;
                g[p * b + l] += (double)(diff * scale[k * b + l]);
                product[p * b + l] += (double)(diff * scale[k * b + l] * x);
            }
        for (int64_t l = 0; l < b; l++) {
            sums[k * b + l] += (double)of_scale[l];
            sums[(tile->blocks + k) * b + l] += (double)of_shift[l];
        }
    }
    for (int64_t p = 0; p < tile->positions; p++) {
        double sum = 0, products = 0;
        for (int64_t l = 0; l < b; l++) {
            sum += g[p * b + l];
            products += product[p * b + l];
        }
        mean_g[p] = (float)(sum / channels);
        mean_product[p] = (float)(products / channels);
    }
}

/*   diff_src = inv_std * (g - mean of g - x^ * mean of g x^);   padding lanes are zeroed later */
ALWAYS_INLINE void backward_tile(int32_t type, int64_t b, const struct tile *tile, const float *scale, const void *src,
                                 const void *diff_dst, void *diff_src, double *sums)
{
    float mean[TILE], inv_std[TILE], mean_g[TILE], mean_product[TILE];
    moments_tile(type, b, tile, src, mean, inv_std);
    diff_sums_tile(type, b, tile, scale, mean, inv_std, src, diff_dst, mean_g, mean_product, sums);
    for (int64_t k = 0; diff_src && k < tile->blocks; k++)
        for (int64_t p = 0; p < tile->positions; p++)
            for (int64_t l = 0; l < b; l++) {
                int64_t i = (k * tile->hw + p) * b + l;
                float x = (element_load(type, src, i) - mean[p]) * inv_std[p];
                float g = element_load(type, diff_dst, i) * scale[k * b + l];
                element_store(type, diff_src, i, inv_std[p] * (g - mean_g[p] - x * mean_product[p]));
            }
}

MULTIVERSION static void backward_of_tile(int32_t type, int64_t b, const struct tile *tile, const float *scale,
                                          const void *src, const void *diff_dst, void *diff_src, double *sums)
{
    WITH_TYPE(type, WITH_BLOCK(b, backward_tile(TYPE, B, tile, scale, src, diff_dst, diff_src, sums)));
}

/* -- The operator ------------------------------------------------------------------------------------------------- */

static int64_t slices_of(const struct planes *planes)
{
    int64_t tiles = (planes->h * planes->w + TILE - 1) / TILE;
    return tiles < SLICES ? tiles : SLICES;
}

/* The tiles of slice number `slice`: first .. last positions. */
static void positions_of_slice(const struct planes *planes, int64_t slice, int64_t *first, int64_t *last)
{
    int64_t hw = planes->h * planes->w, tiles = (hw + TILE - 1) / TILE, slices = slices_of(planes);
    *first = slice * tiles / slices * TILE;
    *last = (slice + 1) * tiles / slices * TILE;
    if (*last > hw)
        *last = hw;
}

static struct tile tile_at(const struct planes *planes, const struct step *step, int64_t first, int64_t last)
{
    return (struct tile){ .blocks = planes->blocks,
                          .hw = planes->h * planes->w,
                          .channels = planes->channels,
                          .positions = last - first < TILE ? last - first : TILE,
                          .epsilon = step->node->attributes.epsilon };
}

static ssld_status layer_norm_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct planes *src = &ssld_step_src(plan, step, 0)->planes;
    struct planes image = ssld_planes_for(src, 1), planes = positions_of(plan, step, &image);
    ssld_status status = SSLD_OK;
    ssld_tensor_set_planes(ssld_step_dst(plan, step), *src);
    if (plan_trains(plan))
        ssld_plan_need(&plan->partial_bytes, (size_t)(ssld_plan_most_images(plan) * planes.n * slices_of(&planes) * 2 *
                                                      planes.blocks * planes.b) * sizeof(double));
    for (int32_t input = 1; !status && input < step->node->input_count; input++)
        if (step->node->inputs[input] != SSLD_NO_VALUE)
            status = ssld_plan_add_vector(plan, step, input);
    return status;
}

static ssld_status layer_norm_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct planes planes = positions_of(plan, step, &src->planes);
    const struct ssld_parameter *scale = ssld_step_parameter(plan, step, 1), *shift = ssld_step_parameter(plan, step, 2);
    int64_t hw = planes.h * planes.w, slices = slices_of(&planes);
    int32_t type = src->planes.type;
    if (hw == 1) {
        int64_t together = planes.channels < ROWS ? ROWS / planes.channels : 1;
#pragma omp parallel for
        for (int64_t row = 0; row < planes.n; row += together)
            forward_of_rows(type, planes.n - row < together ? planes.n - row : together, planes.channels,
                            step->node->attributes.epsilon, scale->value, shift ? shift->value : NULL,
                            element_at_const(type, src->data, row * planes.channels),
                            element_at(type, dst->data, row * planes.channels));
        return SSLD_OK;
    }
#pragma omp parallel for
    for (int64_t i = 0; i < planes.n * slices; i++) {
        int64_t first, last, image = i / slices * planes.blocks * hw * planes.b;
        for (positions_of_slice(&planes, i % slices, &first, &last); first < last; first += TILE) {
            struct tile tile = tile_at(&planes, step, first, last);
            int64_t at = image + first * planes.b;
            forward_of_tile(type, planes.b, &tile, scale->value, shift ? shift->value : NULL,
                            element_at_const(type, src->data, at), element_at(type, dst->data, at));
        }
    }
    return SSLD_OK;
}

/* The sums of slices, in their order. */
static void add_up(const struct planes *planes, const double *partial, int64_t which, bool fresh,
                   struct ssld_parameter *parameter)
{
    int64_t lanes = planes->blocks * planes->b, parts = planes->n * slices_of(planes);
    for (int64_t c = 0; parameter && c < planes->channels; c++) {
        double sum = 0;
        for (int64_t i = 0; i < parts; i++)
            sum += partial[(i * 2 + which) * lanes + c];
        parameter->diff[c] = (fresh ? 0 : parameter->diff[c]) + (float)sum;
    }
}

static ssld_status layer_norm_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct planes planes = positions_of(plan, step, &src->planes);
    struct ssld_parameter *scale = ssld_step_parameter(plan, step, 1), *shift = ssld_step_parameter(plan, step, 2);
    int64_t hw = planes.h * planes.w, slices = slices_of(&planes), lanes = planes.blocks * planes.b;
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    int32_t type = src->planes.type;
    double *partial = (double *)plan->partial;
#pragma omp parallel for
    for (int64_t i = 0; i < planes.n * slices; i++) {
        int64_t first, last, image = i / slices * lanes * hw;
        double *sums = partial + i * 2 * lanes;
        for (int64_t c = 0; c < 2 * lanes; c++)
            sums[c] = 0;
        for (positions_of_slice(&planes, i % slices, &first, &last); first < last; first += TILE) {
            struct tile tile = tile_at(&planes, step, first, last);
            int64_t at = image + first * planes.b;
            backward_of_tile(type, planes.b, &tile, scale->value, element_at_const(type, src->data, at),
                             element_at_const(type, dst->diff, at), diff_src ? element_at(type, diff_src, at) : NULL, sums);
        }
    }
    add_up(&planes, partial, 0, plan->fresh_diffs, scale);
    add_up(&planes, partial, 1, plan->fresh_diffs, shift);
    if (diff_src)
        ssld_zero_padding(&src->planes, diff_src);
    return SSLD_OK;
}

const struct engine_op ssld_op_layer_norm = {
    .kind = SSLD_OP_LAYER_NORM,
    .cheap = true,
    .backward_reads = READS_SRC,
    .prepare = layer_norm_prepare,
    .forward = layer_norm_forward,
    .backward = layer_norm_backward,
};
