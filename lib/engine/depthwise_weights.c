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
    const float *src[MOST_GROUP]; /* a row for each row of the kernel */
    const float *diff_dst;        /* (OW, b) */
};

/* What all rows have in common: column x * stride + left + k * dilation of src meets column x of diff_dst. */
struct group {
    int64_t ow, w, stride, dilation, left;
    int64_t first, last; /* x for which all columns exist: first .. last - 1 */
};

/* sum(r, k) += diff_dst(x) * src(r, column k), for x = from .. to - 1 */
#define COLUMNS(rows, width, from, to, test)                                                            \
    for (int64_t x = (from), column = (from) * group->stride + group->left; x < (to);                   \
         x++, column += group->stride)                                                                  \
        _Pragma("GCC unroll 7")                                                                         \
        for (int r = 0; r < rows; r++)                                                                  \
            _Pragma("GCC unroll 7")                                                                     \
            for (int k = 0; k < width; k++)                                                             \
                if (test)                                                                               \
                    sum[r][k] += diff_dst[x] * src[r][column + k * dilation];
#define EXISTS (column + k * dilation >= 0 && column + k * dilation < group->w)

#define GROUP(lanes, rows, width)                                                                       \
    ALWAYS_INLINE void lanes##_group_##rows##x##width(const struct group *group, int64_t dilation,      \
                                                      const struct group_row *at, int64_t count,        \
                                                      int64_t by_row, float *weights)                   \
    {                                                                                                   \
        lanes sum[rows][width];                                                                         \
        for (int r = 0; r < rows; r++)                                                                  \
            for (int k = 0; k < width; k++)                                                             \
                sum[r][k] = ((lanes *)weights)[r * by_row + k];                                         \
        for (int64_t y = 0; y < count; y++, at++) {                                                     \
            const lanes *src[rows], *diff_dst = (const lanes *)at->diff_dst;                            \
            for (int r = 0; r < rows; r++)                                                              \
                src[r] = (const lanes *)at->src[r];                                                     \
            COLUMNS(rows, width, 0, group->first, EXISTS)                                               \
            COLUMNS(rows, width, group->first, group->last, true)                                       \
            COLUMNS(rows, width, group->last, group->ow, EXISTS)                                        \
        }                                                                                               \
        for (int r = 0; r < rows; r++)                                                                  \
            for (int k = 0; k < width; k++)                                                             \
                ((lanes *)weights)[r * by_row + k] = sum[r][k];                                         \
    }

/* The rows and columns of kernels that are done together: one list for functions and for choosing one. */
#define SHAPES(DO, lanes) \
    DO(lanes, 1, 1)       \
    DO(lanes, 1, 2)       \
    DO(lanes, 1, 3)       \
    DO(lanes, 1, 4)       \
    DO(lanes, 1, 5)       \
    DO(lanes, 1, 6)       \
    DO(lanes, 1, 7)       \
    DO(lanes, 3, 3)
#define SHAPES_OF_16(DO) SHAPES(DO, lanes16) DO(lanes16, 5, 5) DO(lanes16, 3, 7)
#define SHAPES_OF_8(DO)  SHAPES(DO, lanes8) DO(lanes8, 2, 5)
#define SHAPES_OF_1(DO)  SHAPES(DO, lanes1)

SHAPES_OF_16(GROUP)
SHAPES_OF_8(GROUP)
SHAPES_OF_1(GROUP)

/* Kernel rows that are done together: their sums fit into registers. */
static int64_t group_rows(int64_t b, int64_t width)
{
    return width == 3 ? 3 : width == 5 && b == 16 ? 5 : width == 5 && b == 8 ? 2 : width == 7 && b == 16 ? 3 : 1;
}

#define CASE(lanes, rows, width)                                                            \
    case 10 * rows + width:                                                                 \
        if (group->dilation == 1)                                                           \
            lanes##_group_##rows##x##width(group, 1, at, count, by_row, weights);           \
        else                                                                                \
            lanes##_group_##rows##x##width(group, group->dilation, at, count, by_row, weights); \
        break;

/* `count` rows of diff_dst; `by_row`: columns of the whole kernel. */
MULTIVERSION static void add_group(int64_t b, int64_t rows, int64_t width, const struct group *group,
                                   const struct group_row *at, int64_t count, int64_t by_row, float *weights)
{
    if (b == 16) {
        switch (10 * rows + width) { SHAPES_OF_16(CASE) }
    } else if (b == 8) {
        switch (10 * rows + width) { SHAPES_OF_8(CASE) }
    } else {
        switch (10 * rows + width) { SHAPES_OF_1(CASE) }
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

/* Rows of bfloat16 are copied with the padding that the kernel reads; others stay where they are. */
static bool is_copied(const struct planes *planes)
{
    return planes->type != ELEMENT_F32;
}

static int64_t columns_read(const struct planes *src, const struct planes *dst, const struct ssld_window *window)
{
    int64_t reach = (dst->w - 1) * window->strides[1] + (window->kernel[1] - 1) * window->dilations[1] + 1;
    int64_t all = window->pads[1] + src->w;
    return !is_copied(src) ? src->w : reach > all ? reach : all;
}

static int64_t slots_for(const struct ssld_window *window, int64_t rows)
{
    return (rows - 1) * window->strides[0] + (window->kernel[0] - 1) * window->dilations[0] + 1;
}

static int64_t rows_of_band(const struct planes *src, const struct planes *dst, const struct ssld_window *window)
{
    int64_t rows = 1, width = columns_read(src, dst, window);
    while (rows < MOST_BAND && rows < dst->h &&
           (!is_copied(src) ||
            (slots_for(window, rows + 1) * width + rows * dst->w) * src->b * (int64_t)sizeof(float) <= BAND_BYTES))
        rows++;
    return rows;
}

static int64_t src_floats(const struct planes *src, const struct planes *dst, const struct ssld_window *window)
{
    int64_t slots = is_copied(src) ? slots_for(window, rows_of_band(src, dst, window)) : 0;
    return ssld_rows_ring_floats(columns_read(src, dst, window), slots, src->b);
}

static int64_t dst_floats(const struct planes *src, const struct planes *dst, const struct ssld_window *window)
{
    return ssld_rows_ring_floats(dst->w, is_copied(dst) ? rows_of_band(src, dst, window) : 0, dst->b);
}

static void make_band(const struct planes *src, const struct planes *dst, const struct ssld_window *window, float *memory,
                      struct band *band)
{
    int64_t rows = rows_of_band(src, dst, window);
    *band = (struct band){ .window = window, .oh = dst->h, .ow = dst->w, .rows = rows };
    ssld_rows_ring_make(&band->src, src, is_copied(src) ? window->pads[1] : 0, columns_read(src, dst, window),
                        is_copied(src) ? slots_for(window, rows) : 0, memory);
    ssld_rows_ring_make(&band->diff_dst, dst, 0, dst->w, is_copied(dst) ? rows : 0, memory + src_floats(src, dst, window));
}

/* The x for which columns x * stride + left to that + reach exist. */
static void find_inside(struct group *group, int64_t reach)
{
    int64_t after = group->w - reach - group->left; /* x * stride must be below */
    group->first = group->left < 0 ? (group->stride - 1 - group->left) / group->stride : 0;
    group->last = after > 0 ? (after - 1) / group->stride + 1 : 0;
    group->last = group->last < group->ow ? group->last : group->ow;
    group->first = group->first < group->last ? group->first : group->last;
}

/* Kernel rows kh .. kh + rows - 1, columns kw .. kw + width - 1, of output rows first .. last - 1. */
static void add_rows(struct band *band, int64_t first, int64_t last, int64_t kh, int64_t rows, int64_t kw, int64_t width)
{
    const struct ssld_window *window = band->window;
    struct group group = { .ow = band->ow, .w = band->src.width, .stride = window->strides[1],
                           .dilation = window->dilations[1],
                           .left = kw * window->dilations[1] - window->pads[1] + band->src.left };
    struct group_row at[MOST_BAND];
    find_inside(&group, (width - 1) * window->dilations[1]);
    for (int64_t y = first; y < last; y++) {
        int64_t line = y * window->strides[0] - window->pads[0] + kh * window->dilations[0];
        at[y - first].diff_dst = rows_ring_at(&band->diff_dst, y);
        for (int64_t r = 0; r < rows; r++)
            at[y - first].src[r] = rows_ring_at(&band->src, line + r * window->dilations[0]);
    }
    add_group(band->src.b, rows, width, &group, at, last - first, window->kernel[1],
              band->weights + (kh * window->kernel[1] + kw) * band->src.b);
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
    int64_t of_band = src_floats(src, dst, window) + dst_floats(src, dst, window);
    return (size_t)(partial_floats(src, window) + threads * of_band) * sizeof(float);
}

void ssld_depthwise_backward_weights(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                     const void *src_data, const void *diff_dst, float *room, bool add, float *diff_weights)
{
    int64_t groups = image_groups(src), kernel = window->kernel[0] * window->kernel[1] * src->b;
    int64_t of_src = src->h * src->w * src->b, of_dst = dst->h * dst->w * dst->b;
    int64_t of_band = src_floats(src, dst, window) + dst_floats(src, dst, window);
    float *bands = room + partial_floats(src, window);
#pragma omp parallel for
    for (int64_t task = 0; task < groups * src->blocks; task++) {
        int64_t group = task / src->blocks, block = task % src->blocks;
        struct band band;
        make_band(src, dst, window, bands + ssld_thread_number() * of_band, &band);
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
