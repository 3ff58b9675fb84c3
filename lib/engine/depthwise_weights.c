/* SPDX-License-Identifier: BSD-2-Clause */
/* depthwise_weights.c - backward weights of depthwise convolution: for each channel
 *
 *   diff_weights(kh, kw) = sum over n, oh, ow of
 *                          diff_dst(n, oh, ow) * src(n, oh * sh - ph + kh * dh, ow * sw - pw + kw * dw)
 *
 * A block of channels is one vector. As many sums as there are registers for, 5 x 5 in AVX-512, are made in one go over a band
 * of rows: each needs one number of src, which is read with its multiplication, and all share that of diff_dst. */
#include "engine/depthwise.h"

#include "engine/lanes.h"

#define WANTED_TASKS 16         /* pieces of work at least, whatever the number of channels; fixed, for the same bits */
#define BAND_BYTES   (32 << 10) /* rows of src and diff_dst that stay in the first-level cache */
#define MOST_GROUP   5          /* kernel rows that are done together */

typedef float lanes1;

/* Some rows and columns of the kernel over a row of diff_dst. */
struct group_row {
    const float *src[MOST_GROUP]; /* column of the first kernel column for ow = 0, in each row */
    const float *diff_dst;        /* (OW, b) */
    int64_t      ow, stride, dilation;
};

/* sum(r, k) += diff_dst(x) * src(r, x * stride + k * dilation) */
#define GROUP(lanes, rows, width)                                                                       \
    ALWAYS_INLINE void lanes##_group_##rows##x##width(const struct group_row *at, int64_t dilation,     \
                                                      int64_t count, int64_t by_row, float *weights)    \
    {                                                                                                   \
        lanes sum[rows][width];                                                                         \
        for (int r = 0; r < rows; r++)                                                                  \
            for (int k = 0; k < width; k++)                                                             \
                sum[r][k] = ((lanes *)weights)[r * by_row + k];                                         \
        for (int64_t y = 0; y < count; y++, at++) {                                                     \
            const lanes *src[rows], *diff_dst = (const lanes *)at->diff_dst;                            \
            for (int r = 0; r < rows; r++)                                                              \
                src[r] = (const lanes *)at->src[r];                                                     \
            for (int64_t x = 0, column = 0; x < at->ow; x++, column += at->stride) {                    \
                lanes g = diff_dst[x];                                                                  \
                _Pragma("GCC unroll 7")                                                                 \
                for (int r = 0; r < rows; r++)                                                          \
                    _Pragma("GCC unroll 7")                                                             \
                    for (int k = 0; k < width; k++)                                                     \
                        sum[r][k] += g * src[r][column + k * dilation];                                 \
            }                                                                                           \
        }                                                                                               \
        for (int r = 0; r < rows; r++)                                                                  \
            for (int k = 0; k < width; k++)                                                             \
                ((lanes *)weights)[r * by_row + k] = sum[r][k];                                         \
    }

#define GROUPS(lanes)    \
    GROUP(lanes, 1, 1)   \
    GROUP(lanes, 1, 2)   \
    GROUP(lanes, 1, 3)   \
    GROUP(lanes, 1, 4)   \
    GROUP(lanes, 1, 5)   \
    GROUP(lanes, 1, 6)   \
    GROUP(lanes, 1, 7)   \
    GROUP(lanes, 3, 3)
GROUPS(lanes16)
GROUP(lanes16, 5, 5)
GROUP(lanes16, 3, 7)
GROUPS(lanes8)
GROUP(lanes8, 2, 5)
GROUPS(lanes1)

/* Kernel rows that are done together: their sums fit into registers. */
static int64_t group_rows(int64_t b, int64_t width)
{
    return width == 3 ? 3 : width == 5 && b == 16 ? 5 : width == 5 && b == 8 ? 2 : width == 7 && b == 16 ? 3 : 1;
}

#define CASE(lanes, rows, width)                                                            \
    case 10 * rows + width:                                                                 \
        if (at->dilation == 1)                                                              \
            lanes##_group_##rows##x##width(at, 1, count, by_row, weights);                  \
        else                                                                                \
            lanes##_group_##rows##x##width(at, at->dilation, count, by_row, weights);       \
        break;
#define CASES(lanes)   \
    CASE(lanes, 1, 1)  \
    CASE(lanes, 1, 2)  \
    CASE(lanes, 1, 3)  \
    CASE(lanes, 1, 4)  \
    CASE(lanes, 1, 5)  \
    CASE(lanes, 1, 6)  \
    CASE(lanes, 1, 7)  \
    CASE(lanes, 3, 3)

/* `count` rows of diff_dst; `by_row`: columns of the whole kernel. */
MULTIVERSION static void add_group(int64_t b, int64_t rows, int64_t width, const struct group_row *at, int64_t count,
                                   int64_t by_row, float *weights)
{
    if (b == 16) {
        switch (10 * rows + width) {
            CASES(lanes16)
            CASE(lanes16, 5, 5)
            CASE(lanes16, 3, 7)
        }
    } else if (b == 8) {
        switch (10 * rows + width) {
            CASES(lanes8)
            CASE(lanes8, 2, 5)
        }
    } else {
        switch (10 * rows + width) {
            CASES(lanes1)
        }
    }
}

/* -- Bands -------------------------------------------------------------------------------------------------------- */

#define MOST_BAND 32 /* rows of diff_dst */

struct band {
    const struct ssld_window *window;
    struct rows_ring src, diff_dst;
    int64_t oh, ow, rows; /* rows: of diff_dst, that are worked on at a time */
    float  *weights;      /* (KH, KW, b) */
};

/* Columns that the kernel reads, from -padding on. */
static int64_t columns_read(const struct planes *src, const struct planes *dst, const struct ssld_window *window)
{
    int64_t reach = (dst->w - 1) * window->strides[1] + (window->kernel[1] - 1) * window->dilations[1] + 1;
    int64_t all = window->pads[1] + src->w;
    return reach > all ? reach : all;
}

static int64_t slots_for(const struct ssld_window *window, int64_t rows)
{
    return (rows - 1) * window->strides[0] + (window->kernel[0] - 1) * window->dilations[0] + 1;
}

static int64_t rows_of_band(const struct planes *src, const struct planes *dst, const struct ssld_window *window)
{
    int64_t rows = 1, width = columns_read(src, dst, window);
    while (rows < MOST_BAND && rows < dst->h &&
           (slots_for(window, rows + 1) * width + rows * dst->w) * src->b * (int64_t)sizeof(float) <= BAND_BYTES)
        rows++;
    return rows;
}

static int64_t band_floats(const struct planes *src, const struct planes *dst, const struct ssld_window *window)
{
    int64_t rows = rows_of_band(src, dst, window);
    return ssld_rows_ring_floats(columns_read(src, dst, window), slots_for(window, rows), src->b) +
           ssld_rows_ring_floats(dst->w, rows, dst->b);
}

static void make_band(const struct planes *src, const struct planes *dst, const struct ssld_window *window, float *memory,
                      struct band *band)
{
    int64_t width = columns_read(src, dst, window), rows = rows_of_band(src, dst, window), slots = slots_for(window, rows);
    *band = (struct band){ .window = window, .oh = dst->h, .ow = dst->w, .rows = rows };
    ssld_rows_ring_make(&band->src, src, window->pads[1], width, slots, memory);
    ssld_rows_ring_make(&band->diff_dst, dst, 0, dst->w, rows, memory + ssld_rows_ring_floats(width, slots, src->b));
}

/* Kernel rows kh .. kh + rows - 1, columns kw .. kw + width - 1, of output rows first .. last - 1. */
static void add_rows(struct band *band, int64_t first, int64_t last, int64_t kh, int64_t rows, int64_t kw, int64_t width)
{
    const struct ssld_window *window = band->window;
    struct group_row at[MOST_BAND];
    int64_t b = band->src.b;
    for (int64_t y = first; y < last; y++) {
        struct group_row *row = &at[y - first];
        int64_t line = y * window->strides[0] - window->pads[0] + kh * window->dilations[0];
        *row = (struct group_row){ .diff_dst = rows_ring_at(&band->diff_dst, y), .ow = band->ow,
                                   .stride = window->strides[1], .dilation = window->dilations[1] };
        for (int64_t r = 0; r < rows; r++)
            row->src[r] = rows_ring_at(&band->src, line + r * window->dilations[0]) + kw * window->dilations[1] * b;
    }
    add_group(b, rows, width, at, last - first, window->kernel[1],
              band->weights + (kh * window->kernel[1] + kw) * b);
}

/* One block of channels of one image. */
static void add_block(struct band *band, const void *src, const void *diff_dst)
{
    const struct ssld_window *window = band->window;
    ssld_rows_ring_begin(&band->src, src);
    ssld_rows_ring_begin(&band->diff_dst, diff_dst);
    for (int64_t first = 0; first < band->oh; first += band->rows) {
        int64_t last = first + band->rows < band->oh ? first + band->rows : band->oh;
        ssld_rows_ring_need(&band->src, (last - 1) * window->strides[0] - window->pads[0] +
                                            (window->kernel[0] - 1) * window->dilations[0]);
        ssld_rows_ring_need(&band->diff_dst, last - 1);
        for (int64_t kw = 0; kw < window->kernel[1]; kw += DEPTHWISE_MOST_WIDTH) {
            int64_t left = window->kernel[1] - kw, width = left < DEPTHWISE_MOST_WIDTH ? left : DEPTHWISE_MOST_WIDTH;
            int64_t together = group_rows(band->src.b, width), rows;
            for (int64_t kh = 0; kh < window->kernel[0]; kh += rows) {
                rows = kh + together <= window->kernel[0] ? together : 1;
                add_rows(band, first, last, kh, rows, kw, width);
            }
        }
    }
}

/* -- Spreading the work ------------------------------------------------------------------------------------------- */

/* Into how many groups of images the sum is split. */
static int64_t image_groups(const struct planes *src)
{
    int64_t groups = (WANTED_TASKS + src->blocks - 1) / src->blocks;
    return groups < src->n ? groups : src->n;
}

static int64_t partial_floats(const struct planes *src, const struct ssld_window *window)
{
    return image_groups(src) * src->blocks * window->kernel[0] * window->kernel[1] * src->b;
}

size_t ssld_depthwise_weights_room_bytes(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                         int32_t threads)
{
    return (size_t)(partial_floats(src, window) + threads * band_floats(src, dst, window)) * sizeof(float);
}

void ssld_depthwise_backward_weights(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                     const void *src_data, const void *diff_dst, float *room, bool add, float *diff_weights)
{
    int64_t groups = image_groups(src), kernel = window->kernel[0] * window->kernel[1] * src->b;
    int64_t of_src = src->h * src->w * src->b, of_dst = dst->h * dst->w * dst->b;
    float *bands = room + partial_floats(src, window);
#pragma omp parallel for
    for (int64_t task = 0; task < groups * src->blocks; task++) {
        int64_t group = task / src->blocks, block = task % src->blocks;
        struct band band;
        make_band(src, dst, window, bands + ssld_thread_number() * band_floats(src, dst, window), &band);
        band.weights = room + task * kernel;
        for (int64_t i = 0; i < kernel; i++)
            band.weights[i] = 0;
        for (int64_t n = group * src->n / groups; n < (group + 1) * src->n / groups; n++)
            add_block(&band, element_at_const(src->type, src_data, (n * src->blocks + block) * of_src),
                      element_at_const(dst->type, diff_dst, (n * src->blocks + block) * of_dst));
    }
    for (int64_t i = 0; i < src->blocks * kernel; i++) {
        float sum = 0;
        for (int64_t group = 0; group < groups; group++)
            sum += room[group * src->blocks * kernel + i];
        diff_weights[i] = add ? diff_weights[i] + sum : sum;
    }
}
