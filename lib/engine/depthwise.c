/* SPDX-License-Identifier: BSD-2-Clause */
/* depthwise.c - forward and backward data of depthwise convolution, for each channel
 *
 *   dst(oh, ow) = sum over kh, kw of weights(kh, kw) * src(oh * sh - ph + kh * dh, ow * sw - pw + kw * dw)
 *   diff_src(h, w) = sum over kh, kw of weights(kh, kw) * diff_dst((h + ph - kh * dh) / sh, (w + pw - kw * dw) / sw)
 *
 * the latter where both divisions leave no rest: columns w that leave the same rest see the same columns of the kernel, and
 * are a convolution of stride 1 of their own. So both are this: some outputs of a row, `step` columns apart, each the sum of the
 * same taps on columns `stride` apart. Fourteen outputs, a vector of channels each, stay in registers, since most maps are
 * multiples of seven wide. */
#include "engine/depthwise.h"

#include "engine/lanes.h"

/* What outputs of one rest add up. */
struct taps {
    int64_t count;
    int64_t column[DEPTHWISE_MOST_WIDTH]; /* of the kernel */
    int64_t offset[DEPTHWISE_MOST_WIDTH]; /* columns from the row's first that can be read, for output 0 */
};

/* The rows that a row of outputs adds up. */
struct row_taps {
    int64_t        count;
    const lanes16 *src[DEPTHWISE_MOST_WIDTH];
    const lanes16 *weights[DEPTHWISE_MOST_WIDTH]; /* (KW) */
};

/* Channels in their order, unlike lanes_store()'s. */
ALWAYS_INLINE void store_output(int32_t type, const lanes16 *sum, void *dst, int64_t position)
{
    if (type == ELEMENT_F32) {
        memcpy((float *)dst + position * LANES, sum, sizeof *sum);
        return;
    }
    bits16 bits = (bits16)*sum;
    uint16_t *to = (uint16_t *)dst + position * LANES;
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    for (int l = 0; l < LANES; l++)
        to[l] = (uint16_t)bits[l];
}

#define MOST_OUTPUTS 14
#define UNROLL _Pragma("GCC unroll 14")

/* Outputs first .. first + count - 1; count is a constant. */
ALWAYS_INLINE void some_outputs(const struct row_taps *rows, const struct taps *taps, int64_t stride, int32_t type, int64_t step,
                                int64_t first, int count, void *dst)
{
    lanes16 sum[MOST_OUTPUTS];
    UNROLL for (int i = 0; i < count; i++)
        sum[i] = (lanes16){ 0 };
    for (int64_t r = 0; r < rows->count; r++) {
        const lanes16 *src = rows->src[r] + first * stride, *weights = rows->weights[r];
        for (int64_t t = 0; t < taps->count; t++) {
            lanes16 weight = weights[taps->column[t]];
            const lanes16 *at = src + taps->offset[t];
            UNROLL for (int i = 0; i < count; i++)
                sum[i] += weight * at[i * stride];
        }
    }
    UNROLL for (int i = 0; i < count; i++)
        store_output(type, &sum[i], dst, (first + i) * step);
}

ALWAYS_INLINE void outputs_of_row(const struct row_taps *rows, const struct taps *taps, int64_t stride, int32_t type,
                                  int64_t step, int64_t count, void *dst)
{
    int64_t first = 0;
    for (; first + 14 <= count; first += 14)
        some_outputs(rows, taps, stride, type, step, first, 14, dst);
    for (; first + 7 <= count; first += 7)
        some_outputs(rows, taps, stride, type, step, first, 7, dst);
    for (; first + 4 <= count; first += 4)
        some_outputs(rows, taps, stride, type, step, first, 4, dst);
    for (; first < count; first++)
        some_outputs(rows, taps, stride, type, step, first, 1, dst);
}

MULTIVERSION static void add_taps(const struct row_taps *rows, const struct taps *taps, int64_t stride, int32_t type,
                                  int64_t step, int64_t count, void *dst)
{
    if (type == ELEMENT_BF16 && stride == 1)
        outputs_of_row(rows, taps, 1, ELEMENT_BF16, step, count, dst);
    else if (type == ELEMENT_BF16 && stride == 2)
        outputs_of_row(rows, taps, 2, ELEMENT_BF16, step, count, dst);
    else
        outputs_of_row(rows, taps, stride, type, step, count, dst);
}

/* -- Either direction --------------------------------------------------------------------------------------------- */

#define MOST_STRIDE 4

struct pass {
    const struct planes      *in, *out;
    const struct ssld_window *window;
    bool        backward;
    int64_t     rests;             /* of output columns, 1 forward */
    struct taps taps[MOST_STRIDE]; /* of each */
    int64_t     left, width;       /* columns that are read: -left .. width - left - 1 */
    int64_t     slots;             /* rows that are read together */
};

bool ssld_depthwise_usable(const struct ssld_window *window)
{
    return window->kernel[0] <= DEPTHWISE_MOST_WIDTH && window->kernel[1] <= DEPTHWISE_MOST_WIDTH &&
           window->strides[0] <= MOST_STRIDE && window->strides[1] <= MOST_STRIDE;
}

static int64_t outputs_of(const struct pass *pass, int64_t rest)
{
    return (pass->out->w - rest + pass->rests - 1) / pass->rests;
}

/* The columns that output `rest` adds up: offsets from column 0 of the image, which may be negative. */
static void find_taps(struct pass *pass, int64_t rest)
{
    const struct ssld_window *window = pass->window;
    struct taps *taps = &pass->taps[rest];
    for (int64_t kw = 0; kw < window->kernel[1]; kw++) {
        int64_t column = pass->backward ? rest + window->pads[1] - kw * window->dilations[1]
                                        : kw * window->dilations[1] - window->pads[1];
        if (column % pass->rests)
            continue;
        taps->column[taps->count] = kw;
        taps->offset[taps->count++] = column / pass->rests;
    }
}

static void make_pass(const struct planes *in, const struct planes *out, const struct ssld_window *window, bool backward,
                      struct pass *pass)
{
    int64_t stride = backward ? 1 : window->strides[1], rows = (window->kernel[0] - 1) * window->dilations[0];
    *pass = (struct pass){ .in = in, .out = out, .window = window, .backward = backward,
                           .rests = backward ? window->strides[1] : 1,
                           .slots = backward ? rows / window->strides[0] + 2 : rows + 1 };
    for (int64_t rest = 0; rest < pass->rests; rest++) {
        find_taps(pass, rest);
        for (int64_t t = 0; t < pass->taps[rest].count; t++)
            if (-pass->taps[rest].offset[t] > pass->left)
                pass->left = -pass->taps[rest].offset[t];
    }
    for (int64_t rest = 0; rest < pass->rests; rest++)
        for (int64_t t = 0; t < pass->taps[rest].count; t++) {
            int64_t reach = (outputs_of(pass, rest) - 1) * stride + pass->taps[rest].offset[t] + 1;
            pass->taps[rest].offset[t] += pass->left;
            if (pass->left + reach > pass->width)
                pass->width = pass->left + reach;
        }
    if (pass->width <= pass->left)
        pass->width = pass->left + 1;
}

/* The row of `in` that kernel row kh brings to output row `row`, or -1. */
static int64_t row_for(const struct pass *pass, int64_t row, int64_t kh)
{
    const struct ssld_window *window = pass->window;
    int64_t stride = window->strides[0], at = kh * window->dilations[0] - window->pads[0];
    at = pass->backward ? row - at : row * stride + at;
    if (at < 0 || (pass->backward && at % stride))
        return -1;
    at = pass->backward ? at / stride : at;
    return at < pass->in->h ? at : -1;
}

static void compute_row(const struct pass *pass, struct rows_ring *ring, const float *weights, int64_t row, char *out)
{
    const struct ssld_window *window = pass->window;
    struct row_taps rows = { 0 };
    int64_t found[DEPTHWISE_MOST_WIDTH], last = -1;
    for (int64_t kh = 0; kh < window->kernel[0]; kh++) {
        found[kh] = row_for(pass, row, kh);
        last = found[kh] > last ? found[kh] : last;
    }
    ssld_rows_ring_need(ring, last);
    for (int64_t kh = 0; kh < window->kernel[0]; kh++) {
        if (found[kh] < 0)
            continue;
        rows.src[rows.count] = (const lanes16 *)rows_ring_at(ring, found[kh]);
        rows.weights[rows.count++] = (const lanes16 *)weights + kh * window->kernel[1];
    }
    for (int64_t rest = 0; rest < pass->rests; rest++)
        add_taps(&rows, &pass->taps[rest], pass->backward ? 1 : window->strides[1], pass->out->type, pass->rests,
                 outputs_of(pass, rest), element_at(pass->out->type, out, rest * LANES));
}

static int64_t room_floats(const struct pass *pass)
{
    return ssld_rows_ring_floats(pass->width, pass->slots, LANES) + pass->window->kernel[0] * pass->window->kernel[1] * LANES;
}

/* The weights of a block, as the numbers are. */
static void round_weights(int32_t type, int64_t count, const float *weights, float *rounded)
{
    for (int64_t i = 0; i < count; i++)
        rounded[i] = type == ELEMENT_BF16 ? bf16_to_float(bf16_of_float(weights[i])) : weights[i];
}

static void compute(const struct pass *pass, const void *in, const float *weights, float *room, void *out)
{
    const struct planes *from = pass->in, *to = pass->out;
    int64_t kernel = pass->window->kernel[0] * pass->window->kernel[1] * LANES;
    int64_t of_in = from->h * from->w * LANES, of_row = to->w * LANES, of_out = to->h * of_row;
#pragma omp parallel for
    for (int64_t task = 0; task < from->n * from->blocks; task++) {
        float *rounded = room + ssld_thread_number() * room_floats(pass);
        struct rows_ring ring;
        ssld_rows_ring_make(&ring, from, pass->left, pass->width, pass->slots, rounded + kernel);
        ssld_rows_ring_begin(&ring, element_at_const(from->type, in, task * of_in));
        round_weights(from->type, kernel, weights + task % from->blocks * kernel, rounded);
        for (int64_t row = 0; row < to->h; row++)
            compute_row(pass, &ring, rounded, row, element_at(to->type, out, task * of_out + row * of_row));
    }
}

size_t ssld_depthwise_room_bytes(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                 int32_t threads)
{
    struct pass forward, backward;
    make_pass(src, dst, window, false, &forward);
    make_pass(dst, src, window, true, &backward);
    int64_t most = room_floats(&forward), other = room_floats(&backward);
    return (size_t)((other > most ? other : most) * threads) * sizeof(float);
}

void ssld_depthwise_forward(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                            const void *src_data, const float *weights, float *room, void *dst_data)
{
    struct pass pass;
    make_pass(src, dst, window, false, &pass);
    compute(&pass, src_data, weights, room, dst_data);
}

void ssld_depthwise_backward_data(const struct planes *src, const struct planes *dst, const struct ssld_window *window,
                                  const void *diff_dst, const float *weights, float *room, void *diff_src)
{
    struct pass pass;
    make_pass(dst, src, window, true, &pass);
    compute(&pass, diff_dst, weights, room, diff_src);
}
