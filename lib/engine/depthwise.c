/* SPDX-License-Identifier: BSD-2-Clause */
/* depthwise.c - backward weights of depthwise convolution: for each channel
 *
 *   diff_weights(kh, kw) = sum over n, oh, ow of
 *                          diff_dst(n, oh, ow) * src(n, oh * sh - ph + kh * dh, ow * sw - pw + kw * dw)
 *
 * A block of channels is one vector, a kernel row is as many accumulators, and the padding is handled at the ends of a
 * row, so that the middle has no test in it. */
#include "engine/kernels.h"

#define MOST_KERNEL_WIDTH 7 /* wider kernels are done in pieces */
#define WANTED_TASKS 16     /* pieces of work at least, whatever the number of channels; fixed, for the same bits */

typedef float lanes16 __attribute__((vector_size(64)));
typedef float lanes8 __attribute__((vector_size(32)));
typedef float lanes1;

/* One row of the kernel over one channel block of one image. */
struct row {
    const float *src;      /* (H, W, b) */
    const float *diff_dst; /* (OH, OW, b) */
    float       *weights;  /* += (KW, b) */
    int64_t h, w, oh, ow;
    int64_t stride_h, stride_w, dilation_w;
    int64_t top;           /* kh * dilation - padding: src row = oh * stride_h + top */
    int64_t left;          /* -padding */
};

/* The ow for which every column of the kernel row falls into the image: first .. last - 1. */
static inline void inside(const struct row *row, int64_t width, int64_t *first, int64_t *last)
{
    int64_t low = -row->left, reach = row->w - 1 - (width - 1) * row->dilation_w - row->left;
    *first = low > 0 ? (low + row->stride_w - 1) / row->stride_w : 0;
    *last = reach < 0 ? 0 : reach / row->stride_w + 1;
    if (*last > row->ow)
        *last = row->ow;
    if (*first > *last)
        *first = *last;
}

/* sum[k] += diff_dst(ow) * src(column k) for the columns that exist */
#define EDGE(lanes, width, from, to)                                                           \
    for (int64_t x = (from); x < (to); x++)                                                    \
        for (int64_t k = 0; k < (width); k++) {                                                \
            int64_t column = x * row->stride_w + row->left + k * row->dilation_w;              \
            if (column >= 0 && column < row->w)                                                \
                sum[k] += diff_dst[x] * src[column];                                           \
        }

#define KERNEL_ROW(lanes, width)                                                               \
    ALWAYS_INLINE void lanes##_row##width(const struct row *row)                               \
    {                                                                                          \
        lanes sum[width];                                                                      \
        int64_t first, last;                                                                   \
        inside(row, width, &first, &last);                                                     \
        for (int64_t k = 0; k < width; k++)                                                    \
            sum[k] = (lanes){ 0 };                                                             \
        for (int64_t y = 0; y < row->oh; y++) {                                                \
            int64_t line = y * row->stride_h + row->top;                                       \
            if (line < 0 || line >= row->h)                                                    \
                continue;                                                                      \
            const lanes *src = (const lanes *)row->src + line * row->w;                        \
            const lanes *diff_dst = (const lanes *)row->diff_dst + y * row->ow;                \
            EDGE(lanes, width, 0, first)                                                       \
            for (int64_t x = first; x < last; x++) {                                           \
                const lanes *column = src + x * row->stride_w + row->left;                     \
                lanes g = diff_dst[x];                                                         \
                _Pragma("GCC unroll 7")                                                        \
                for (int64_t k = 0; k < width; k++)                                            \
                    sum[k] += g * column[k * row->dilation_w];                                 \
            }                                                                                  \
            EDGE(lanes, width, last, row->ow)                                                  \
        }                                                                                      \
        for (int64_t k = 0; k < width; k++)                                                    \
            ((lanes *)row->weights)[k] += sum[k];                                              \
    }

#define KERNEL_ROWS(lanes) \
    KERNEL_ROW(lanes, 1)   \
    KERNEL_ROW(lanes, 2)   \
    KERNEL_ROW(lanes, 3)   \
    KERNEL_ROW(lanes, 4)   \
    KERNEL_ROW(lanes, 5)   \
    KERNEL_ROW(lanes, 6)   \
    KERNEL_ROW(lanes, 7)

KERNEL_ROWS(lanes16)
KERNEL_ROWS(lanes8)
KERNEL_ROWS(lanes1)

#define CHOOSE_WIDTH(lanes)                \
    switch (width) {                       \
    case 1: lanes##_row1(row); break;      \
    case 2: lanes##_row2(row); break;      \
    case 3: lanes##_row3(row); break;      \
    case 4: lanes##_row4(row); break;      \
    case 5: lanes##_row5(row); break;      \
    case 6: lanes##_row6(row); break;      \
    default: lanes##_row7(row);            \
    }

MULTIVERSION static void kernel_row(int64_t b, int64_t width, const struct row *row)
{
    if (b == 16)
        CHOOSE_WIDTH(lanes16)
    else if (b == 8)
        CHOOSE_WIDTH(lanes8)
    else
        CHOOSE_WIDTH(lanes1)
}

/* -- Spreading the work ------------------------------------------------------------------------------------------- */

/* Into how many groups of images the sum is split. */
static int64_t image_groups(const struct planes *src)
{
    int64_t groups = (WANTED_TASKS + src->blocks - 1) / src->blocks;
    return groups < src->n ? groups : src->n;
}

static size_t partial_floats(const struct planes *src, const struct ssld_window *window)
{
    return (size_t)(image_groups(src) * src->blocks * window->kernel[0] * window->kernel[1] * src->b);
}

/* Behind the partial sums each thread has room for one block of one image of src and of diff_dst in single precision. */
static size_t block_floats(const struct planes *planes)
{
    return planes->type == ELEMENT_F32 ? 0 : (size_t)(planes->h * planes->w * planes->b);
}

size_t ssld_depthwise_partial_bytes(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                    int32_t threads)
{
    return (partial_floats(src, window) + (size_t)threads * (block_floats(src) + block_floats(dst))) * sizeof(float);
}

/* A block of an image in single precision: where it is, or widened into `room`. */
static const float *widened(const struct planes *planes, const void *data, int64_t block, float *room)
{
    int64_t count = planes->h * planes->w * planes->b;
    const void *at = element_at_const(planes->type, data, block * count);
    if (planes->type == ELEMENT_F32)
        return at;
    ssld_widen(count, at, room);
    return room;
}

/* All kernel rows of one channel block of one image. */
static void kernel_of_image(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                            const float *src_data, const float *diff_dst, float *weights)
{
    struct row row = { .src = src_data, .diff_dst = diff_dst, .h = src->h, .w = src->w, .oh = dst->h, .ow = dst->w,
                       .stride_h = window->strides[0], .stride_w = window->strides[1],
                       .dilation_w = window->dilations[1] };
    for (int64_t kh = 0; kh < window->kernel[0]; kh++) {
        row.top = kh * window->dilations[0] - window->pads[0];
        for (int64_t kw = 0; kw < window->kernel[1]; kw += MOST_KERNEL_WIDTH) {
            int64_t width = window->kernel[1] - kw;
            row.left = kw * window->dilations[1] - window->pads[1];
            row.weights = weights + (kh * window->kernel[1] + kw) * src->b;
            kernel_row(src->b, width < MOST_KERNEL_WIDTH ? width : MOST_KERNEL_WIDTH, &row);
        }
    }
}

void ssld_depthwise_backward_weights(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                     const void *src_data, const void *diff_dst, float *partial, bool add,
                                     float *diff_weights)
{
    int64_t groups = image_groups(src), kernel = window->kernel[0] * window->kernel[1] * src->b;
    float *rooms = partial + partial_floats(src, window);
    size_t room = block_floats(src) + block_floats(dst);
#pragma omp parallel for
    for (int64_t task = 0; task < groups * src->blocks; task++) {
        int64_t group = task / src->blocks, block = task % src->blocks;
        float *weights = partial + task * kernel, *src_room = rooms + room * (size_t)ssld_thread_number();
        for (int64_t i = 0; i < kernel; i++)
            weights[i] = 0;
        for (int64_t n = group * src->n / groups; n < (group + 1) * src->n / groups; n++)
            kernel_of_image(src, dst, window, widened(src, src_data, n * src->blocks + block, src_room),
                            widened(dst, diff_dst, n * src->blocks + block, src_room + block_floats(src)), weights);
    }
    for (int64_t i = 0; i < src->blocks * kernel; i++) {
        float sum = 0;
        for (int64_t group = 0; group < groups; group++)
            sum += partial[group * src->blocks * kernel + i];
        diff_weights[i] = add ? diff_weights[i] + sum : sum;
    }
}
