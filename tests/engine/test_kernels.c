/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolution kernels of our own, alone, against the sums that define them, in double: shapes that networks have, and the corners
 * that they have not. */
#include "test.h"

#include "engine/depthwise.h"
#include "engine/pointwise.h"

#include <math.h>

#define UNTOUCHED 0x7B /* of bytes behind a buffer */
#define GUARD     256
#define THREADS   2

static uint32_t state = 1;

/* -1 .. 1, which bfloat16 holds. */
static float next_value(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)((int32_t)(state >> 16 & 255) - 128) / 128;
}

/* Memory with a guard behind it. */
static void *take(size_t bytes)
{
    size_t rounded = (bytes + GUARD + 63) / 64 * 64;
    char *memory = aligned_alloc(64, rounded);
    CHECK(memory, "no memory");
    memset(memory, UNTOUCHED, rounded);
    return memory;
}

static void check_guard(const char *memory, size_t bytes, const char *what)
{
    for (size_t i = bytes; i < bytes + GUARD; i++)
        CHECK(memory[i] == UNTOUCHED, "%s: byte %zu behind its end was written", what, i - bytes);
}

static struct planes make_planes(int32_t type, int64_t n, int64_t channels, int64_t h, int64_t w, int64_t b)
{
    int64_t blocks = (channels + b - 1) / b;
    return (struct planes){ .n = n, .channels = channels, .blocks = blocks, .h = h, .w = w, .b = b, .type = type };
}

static int64_t elements(const struct planes *p)
{
    return p->n * p->blocks * p->h * p->w * p->b;
}

static size_t bytes_of(const struct planes *p)
{
    return (size_t)elements(p) * element_size(p->type);
}

static int64_t index_of(const struct planes *p, int64_t n, int64_t c, int64_t y, int64_t x)
{
    return (((n * p->blocks + c / p->b) * p->h + y) * p->w + x) * p->b + c % p->b;
}

/* Zero outside of the image. */
static double value_at(const struct planes *p, const void *data, int64_t n, int64_t c, int64_t y, int64_t x)
{
    bool inside = y >= 0 && y < p->h && x >= 0 && x < p->w;
    return inside ? (double)element_load(p->type, data, index_of(p, n, c, y, x)) : 0;
}

/* Values, and zeros in the channels that pad the last block. */
static void *make_values(const struct planes *p)
{
    void *data = take(bytes_of(p));
    for (int64_t i = 0; i < elements(p); i++) {
        int64_t c = i / (p->h * p->w * p->b) % p->blocks * p->b + i % p->b;
        element_store(p->type, data, i, c < p->channels ? next_value() : 0);
    }
    return data;
}

/* A rounding of the result to bfloat16 is 2^-9 of it; sums in single precision are off by a millionth of their parts. */
static void check_near(const char *what, int32_t type, double found, double wanted, double parts)
{
    double bound = (type == ELEMENT_BF16 ? fabs(wanted) / 256 : 0) + 4e-6 * (parts + 1);
    CHECK(fabs(found - wanted) <= bound, "%s: %.9g, the sum is %.9g", what, found, wanted);
}

/* -- Pointwise ---------------------------------------------------------------------------------------------------- */

struct pointwise_case {
    int64_t n, inputs, outputs, h, w;
};

struct pointwise {
    struct planes src, dst;
    void         *src_data, *diff_dst;
    float        *plain; /* (O, I), padded to blocks */
};

static float weight_of(const struct pointwise *p, int64_t output, int64_t input)
{
    return p->plain[output * p->src.blocks * 16 + input];
}

static struct pointwise make_pointwise(const struct pointwise_case *c)
{
    struct pointwise p = { make_planes(ELEMENT_BF16, c->n, c->inputs, c->h, c->w, 16),
                           make_planes(ELEMENT_BF16, c->n, c->outputs, c->h, c->w, 16), NULL, NULL, NULL };
    p.src_data = make_values(&p.src);
    p.diff_dst = make_values(&p.dst);
    p.plain = take((size_t)(p.src.blocks * p.dst.blocks) * 256 * sizeof(float));
    for (int64_t o = 0; o < p.dst.blocks * 16; o++)
        for (int64_t i = 0; i < p.src.blocks * 16; i++)
            p.plain[o * p.src.blocks * 16 + i] = o < c->outputs && i < c->inputs ? next_value() : 0;
    return p;
}

/* Tiles of (8 pairs of inputs, 16 outputs, 2), or with inputs and outputs exchanged. */
static uint16_t *tiles_of(const struct pointwise *p, bool transposed)
{
    uint16_t *tiles = take((size_t)(p->src.blocks * p->dst.blocks) * 256 * sizeof *tiles);
    for (int64_t o = 0; o < p->dst.blocks * 16; o++)
        for (int64_t i = 0; i < p->src.blocks * 16; i++) {
            int64_t k = transposed ? o : i, n = transposed ? i : o;
            tiles[(o / 16 * p->src.blocks + i / 16) * 256 + k % 16 / 2 * 32 + n % 16 * 2 + k % 2] =
                bf16_of_float(weight_of(p, o, i));
        }
    return tiles;
}

static void check_multiply(const struct pointwise *p, bool transposed)
{
    const struct planes *from = transposed ? &p->dst : &p->src, *to = transposed ? &p->src : &p->dst;
    const void *in = transposed ? p->diff_dst : p->src_data;
    uint16_t *tiles = tiles_of(p, transposed);
    void *out = take(bytes_of(to));
    float *bias = take((size_t)to->blocks * 16 * sizeof *bias);
    for (int64_t c = 0; c < to->blocks * 16; c++)
        bias[c] = c < to->channels ? next_value() : 0;
    ssld_pointwise_multiply(from, to, tiles, transposed ? p->src.blocks * 256 : 256, transposed ? 256 : p->src.blocks * 256, bias,
                            in, out);
    check_guard(out, bytes_of(to), transposed ? "backward data" : "forward");
    for (int64_t n = 0; n < to->n; n++)
        for (int64_t c = 0; c < to->blocks * 16; c++)
            for (int64_t at = 0; at < to->h * to->w; at++) {
                double sum = (double)bias[c], parts = fabs(sum);
                for (int64_t k = 0; k < from->channels; k++) {
                    double part = value_at(from, in, n, k, at / to->w, at % to->w) *
                                  (double)(transposed ? weight_of(p, k, c) : weight_of(p, c, k));
                    sum += part;
                    parts += fabs(part);
                }
                check_near(transposed ? "backward data" : "forward", ELEMENT_BF16,
                           value_at(to, out, n, c, at / to->w, at % to->w), sum, parts);
            }
    free(tiles);
    free(out);
    free(bias);
}

static void check_pointwise_weights(const struct pointwise *p, bool add)
{
    size_t room_bytes = ssld_pointwise_room_bytes(&p->src, &p->dst);
    size_t bytes = (size_t)(p->src.blocks * p->dst.blocks) * 256 * sizeof(float);
    char *room = take(room_bytes);
    float *diff = take(bytes);
    bool inputs = ssld_pointwise_rows_are_inputs(&p->src, &p->dst);
    for (size_t i = 0; i < bytes / sizeof *diff; i++)
        diff[i] = add ? 1.0f : NAN;
    ssld_pointwise_backward_weights(&p->src, &p->dst, p->src_data, p->diff_dst, room, add, diff);
    check_guard(room, room_bytes, "room of backward weights");
    check_guard((const char *)diff, bytes, "diff of weights");
    for (int64_t o = 0; o < p->dst.blocks * 16; o++)
        for (int64_t i = 0; i < p->src.blocks * 16; i++) {
            double sum = add, parts = add;
            for (int64_t n = 0; n < p->src.n; n++)
                for (int64_t at = 0; at < p->src.h * p->src.w; at++) {
                    double part = value_at(&p->src, p->src_data, n, i, at / p->src.w, at % p->src.w) *
                                  value_at(&p->dst, p->diff_dst, n, o, at / p->src.w, at % p->src.w);
                    sum += part;
                    parts += fabs(part);
                }
            int64_t inside = inputs ? i % 16 * 16 + o % 16 : o % 16 * 16 + i % 16;
            int64_t at = (o / 16 * p->src.blocks + i / 16) * 256 + inside;
            check_near("backward weights", ELEMENT_F32, (double)diff[at], sum, parts);
        }
    free(room);
    free(diff);
}

static void check_pointwise_bias(const struct pointwise *p)
{
    float *diff = take((size_t)p->dst.channels * sizeof *diff);
    for (int64_t c = 0; c < p->dst.channels; c++)
        diff[c] = 1;
    ssld_pointwise_backward_bias(&p->dst, p->diff_dst, true, diff);
    check_guard((const char *)diff, (size_t)p->dst.channels * sizeof *diff, "diff of the bias");
    for (int64_t c = 0; c < p->dst.channels; c++) {
        double sum = 1;
        for (int64_t n = 0; n < p->dst.n; n++)
            for (int64_t at = 0; at < p->dst.h * p->dst.w; at++)
                sum += value_at(&p->dst, p->diff_dst, n, c, at / p->dst.w, at % p->dst.w);
        check_near("backward bias", ELEMENT_F32, (double)diff[c], sum, (double)(p->dst.n * p->dst.h * p->dst.w));
    }
    free(diff);
}

TEST(pointwise_kernels_give_the_sums_that_define_them)
{
    /* One row, fewer rows than a tile has, one more, images as rows; odd numbers of blocks; more than a round of positions. */
    static const struct pointwise_case cases[] = {
        { 1, 16, 16, 1, 1 },   { 5, 48, 160, 1, 1 },  { 20, 20, 40, 1, 1 },  { 33, 16, 16, 1, 1 },   { 2, 33, 17, 3, 1 },
        { 3, 16, 64, 2, 2 },   { 1, 40, 24, 4, 4 },   { 2, 16, 64, 1, 17 },  { 2, 24, 72, 7, 7 },    { 3, 80, 48, 7, 7 },
        { 1, 100, 60, 14, 14 }, { 1, 16, 16, 33, 40 }, { 2, 32, 16, 40, 31 }, { 4, 3, 5, 6, 6 },
    };
    if (!ssld_pointwise_usable())
        SKIP("no tiles here");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pointwise p = make_pointwise(&cases[i]);
        check_multiply(&p, false);
        check_multiply(&p, true);
        check_pointwise_weights(&p, false);
        check_pointwise_weights(&p, true);
        check_pointwise_bias(&p);
        free(p.src_data);
        free(p.diff_dst);
        free(p.plain);
    }
}

/* -- Depthwise ---------------------------------------------------------------------------------------------------- */

struct depthwise_case {
    int64_t n, channels, h, w;
    struct ssld_window window;
};

struct depthwise {
    struct planes src, dst;
    const struct ssld_window *window;
    void  *src_data, *diff_dst;
    float *weights; /* (C/b, KH, KW, b) */
    int64_t kernel; /* of a channel */
};

static int64_t weight_index(const struct depthwise *d, int64_t c, int64_t kh, int64_t kw)
{
    return (c / d->src.b * d->kernel + kh * d->window->kernel[1] + kw) * d->src.b + c % d->src.b;
}

static int64_t output_size(const struct ssld_window *window, int axis, int64_t size)
{
    return (size + window->pads[axis] + window->pads[axis + 2] - (window->kernel[axis] - 1) * window->dilations[axis] - 1) /
               window->strides[axis] + 1;
}

static struct depthwise make_depthwise(const struct depthwise_case *c, int32_t type, int64_t b)
{
    struct depthwise d = { .window = &c->window, .kernel = (int64_t)c->window.kernel[0] * c->window.kernel[1] };
    d.src = make_planes(type, c->n, c->channels, c->h, c->w, b);
    d.dst = make_planes(type, c->n, c->channels, output_size(&c->window, 0, c->h), output_size(&c->window, 1, c->w), b);
    d.src_data = make_values(&d.src);
    d.diff_dst = make_values(&d.dst);
    d.weights = take((size_t)(d.src.blocks * d.kernel * b) * sizeof(float));
    for (int64_t channel = 0; channel < d.src.blocks * b; channel++)
        for (int64_t k = 0; k < d.kernel; k++)
            d.weights[weight_index(&d, channel, 0, k)] = channel < c->channels ? next_value() : 0;
    return d;
}

static void free_depthwise(struct depthwise *d)
{
    free(d->src_data);
    free(d->diff_dst);
    free(d->weights);
}

static void check_depthwise_forward(const struct depthwise *d, float *room)
{
    void *out = take(bytes_of(&d->dst));
    ssld_depthwise_forward(&d->src, &d->dst, d->window, d->src_data, d->weights, room, out);
    check_guard(out, bytes_of(&d->dst), "forward");
    for (int64_t i = 0; i < d->dst.n * d->dst.blocks * 16 * d->dst.h * d->dst.w; i++) {
        int64_t x = i % d->dst.w, y = i / d->dst.w % d->dst.h, c = i / (d->dst.w * d->dst.h) % (d->dst.blocks * 16);
        int64_t n = i / (d->dst.w * d->dst.h * d->dst.blocks * 16);
        double sum = 0;
        for (int64_t k = 0; k < d->kernel; k++) {
            int64_t kh = k / d->window->kernel[1], kw = k % d->window->kernel[1];
            sum += value_at(&d->src, d->src_data, n, c,
                            y * d->window->strides[0] - d->window->pads[0] + kh * d->window->dilations[0],
                            x * d->window->strides[1] - d->window->pads[1] + kw * d->window->dilations[1]) *
                   (double)d->weights[weight_index(d, c, kh, kw)];
        }
        check_near("depthwise forward", d->dst.type, value_at(&d->dst, out, n, c, y, x), sum, (double)d->kernel);
    }
    free(out);
}

static void check_depthwise_data(const struct depthwise *d, float *room)
{
    void *out = take(bytes_of(&d->src));
    const int32_t *strides = d->window->strides;
    ssld_depthwise_backward_data(&d->src, &d->dst, d->window, d->diff_dst, d->weights, room, out);
    check_guard(out, bytes_of(&d->src), "backward data");
    for (int64_t i = 0; i < d->src.n * d->src.blocks * 16 * d->src.h * d->src.w; i++) {
        int64_t x = i % d->src.w, y = i / d->src.w % d->src.h, c = i / (d->src.w * d->src.h) % (d->src.blocks * 16);
        int64_t n = i / (d->src.w * d->src.h * d->src.blocks * 16);
        double sum = 0;
        for (int64_t k = 0; k < d->kernel; k++) {
            int64_t kh = k / d->window->kernel[1], kw = k % d->window->kernel[1];
            int64_t oh = y + d->window->pads[0] - kh * d->window->dilations[0];
            int64_t ow = x + d->window->pads[1] - kw * d->window->dilations[1];
            if (oh >= 0 && ow >= 0 && oh % strides[0] == 0 && ow % strides[1] == 0)
                sum += value_at(&d->dst, d->diff_dst, n, c, oh / strides[0], ow / strides[1]) *
                       (double)d->weights[weight_index(d, c, kh, kw)];
        }
        check_near("depthwise backward data", d->src.type, value_at(&d->src, out, n, c, y, x), sum, (double)d->kernel);
    }
    free(out);
}

static void check_depthwise_weights(const struct depthwise *d, bool add)
{
    size_t room_bytes = ssld_depthwise_weights_room_bytes(&d->src, &d->dst, d->window, THREADS);
    size_t bytes = (size_t)(d->src.blocks * d->kernel * d->src.b) * sizeof(float);
    float *room = take(room_bytes), *diff = take(bytes);
    for (size_t i = 0; i < bytes / sizeof *diff; i++)
        diff[i] = add ? 1.0f : NAN;
    ssld_depthwise_backward_weights(&d->src, &d->dst, d->window, d->src_data, d->diff_dst, room, add, diff);
    check_guard((const char *)room, room_bytes, "room of backward weights");
    check_guard((const char *)diff, bytes, "diff of weights");
    for (int64_t i = 0; i < d->src.blocks * d->src.b * d->kernel; i++) {
        int64_t c = i / d->kernel, kh = i % d->kernel / d->window->kernel[1], kw = i % d->window->kernel[1];
        double sum = add, parts = add;
        for (int64_t at = 0; at < d->dst.n * d->dst.h * d->dst.w; at++) {
            int64_t x = at % d->dst.w, y = at / d->dst.w % d->dst.h, n = at / (d->dst.w * d->dst.h);
            double part = value_at(&d->dst, d->diff_dst, n, c, y, x) *
                          value_at(&d->src, d->src_data, n, c,
                                   y * d->window->strides[0] - d->window->pads[0] + kh * d->window->dilations[0],
                                   x * d->window->strides[1] - d->window->pads[1] + kw * d->window->dilations[1]);
            sum += part;
            parts += fabs(part);
        }
        check_near("depthwise backward weights", ELEMENT_F32, (double)diff[weight_index(d, c, kh, kw)], sum, parts);
    }
    free(room);
    free(diff);
}

#define WINDOW(kh, kw, sh, sw, ph, pw, dh, dw) \
    { .kernel = { kh, kw }, .strides = { sh, sw }, .pads = { ph, pw, ph, pw }, .dilations = { dh, dw } }

/* Kernels with sums for all registers and others, strides that leave rests, maps smaller than the kernel, rows that no output
 * reads, padding wider than the kernel needs, dilation, more rows than a band. */
static const struct depthwise_case depthwise_cases[] = {
    { 2, 20, 9, 11, WINDOW(3, 3, 1, 1, 1, 1, 1, 1) },   { 2, 16, 14, 14, WINDOW(5, 5, 1, 1, 2, 2, 1, 1) },
    { 1, 16, 15, 13, WINDOW(5, 5, 2, 2, 2, 2, 1, 1) },  { 1, 16, 7, 7, WINDOW(3, 3, 2, 2, 1, 1, 1, 1) },
    { 1, 16, 8, 40, WINDOW(7, 7, 1, 1, 3, 3, 1, 1) },   { 1, 16, 12, 12, WINDOW(3, 3, 1, 1, 2, 2, 2, 2) },
    { 1, 33, 12, 10, WINDOW(3, 5, 2, 1, 0, 2, 1, 1) },  { 1, 16, 10, 10, WINDOW(4, 4, 3, 3, 1, 1, 1, 1) },
    { 1, 16, 10, 10, WINDOW(2, 6, 1, 2, 1, 3, 2, 1) },  { 3, 16, 1, 1, WINDOW(5, 5, 1, 1, 2, 2, 1, 1) },
    { 1, 16, 2, 2, WINDOW(3, 3, 2, 2, 1, 1, 1, 1) },    { 1, 16, 9, 9, WINDOW(1, 1, 2, 2, 0, 0, 1, 1) },
    { 1, 16, 50, 20, WINDOW(5, 5, 1, 1, 2, 2, 1, 1) },  { 1, 16, 6, 6, WINDOW(5, 5, 4, 4, 4, 4, 1, 1) },
    { 1, 16, 7, 7, WINDOW(3, 3, 1, 1, 3, 3, 3, 3) },    { 1, 16, 9, 8, WINDOW(2, 2, 4, 3, 0, 0, 1, 1) },
};

TEST(depthwise_forward_and_backward_data_give_the_sums_that_define_them)
{
    struct thread_settings before = ssld_threads_enter(THREADS);
    for (size_t i = 0; i < 2 * sizeof depthwise_cases / sizeof depthwise_cases[0]; i++) {
        struct depthwise d = make_depthwise(&depthwise_cases[i / 2], i % 2 ? ELEMENT_BF16 : ELEMENT_F32, 16);
        size_t bytes = ssld_depthwise_room_bytes(&d.src, &d.dst, d.window, THREADS);
        float *room = take(bytes);
        CHECK(ssld_depthwise_usable(d.window), "case %zu is not usable", i / 2);
        check_depthwise_forward(&d, room);
        check_depthwise_data(&d, room);
        check_guard((const char *)room, bytes, "room");
        free(room);
        free_depthwise(&d);
    }
    ssld_threads_leave(before);
}

TEST(depthwise_backward_weights_gives_the_sums_that_define_it)
{
    static const struct {
        int32_t type;
        int64_t b;
    } kinds[] = { { ELEMENT_F32, 16 }, { ELEMENT_BF16, 16 }, { ELEMENT_F32, 8 }, { ELEMENT_F32, 1 } };
    static const struct depthwise_case wide = { 1, 16, 13, 13, WINDOW(9, 9, 1, 1, 4, 4, 1, 1) };
    size_t count = sizeof depthwise_cases / sizeof depthwise_cases[0];
    struct thread_settings before = ssld_threads_enter(THREADS);
    for (size_t i = 0; i < 4 * (count + 1); i++) {
        const struct depthwise_case *c = i / 4 < count ? &depthwise_cases[i / 4] : &wide;
        struct depthwise d = make_depthwise(c, kinds[i % 4].type, kinds[i % 4].b);
        check_depthwise_weights(&d, false);
        check_depthwise_weights(&d, true);
        free_depthwise(&d);
    }
    ssld_threads_leave(before);
}

TEST(kernels_and_strides_that_are_too_large_are_left_to_onednn)
{
    const struct ssld_window wide = WINDOW(9, 9, 1, 1, 4, 4, 1, 1), far = WINDOW(3, 3, 1, 5, 1, 1, 1, 1);
    CHECK(!ssld_depthwise_usable(&wide) && !ssld_depthwise_usable(&far), "they are said to be usable");
}

TEST_MAIN(TEST_ROW(pointwise_kernels_give_the_sums_that_define_them),
          TEST_ROW(depthwise_forward_and_backward_data_give_the_sums_that_define_them),
          TEST_ROW(depthwise_backward_weights_gives_the_sums_that_define_it),
          TEST_ROW(kernels_and_strides_that_are_too_large_are_left_to_onednn))
