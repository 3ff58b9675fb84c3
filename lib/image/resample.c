/* SPDX-License-Identifier: BSD-2-Clause */
/* resample.c - the two passes of resizing: across, then down. filter.c has the weights.
 *
 * Pillow rounds to bytes after each pass, out = clip8((2^21 + sum weight * in) >> 22). Sums are of integers, so they may be
 * formed in any order and any number at a time:
 *
 *   - Down, a row is a weighted sum of rows, and compilers make vectors of it.
 *   - Across, each position has other weights and other pixels, which no vector likes. So 64 rows are transposed first:
 *     then a column's 64 bytes lie together and one weight serves them all. Afterwards they are transposed back, each
 *     channel to its own plane, in reverse if the result is mirrored.
 *
 * OpenCV keeps 32-bit sums between the passes. Down, INTER_LINEAR is rounded as its integer code does it,
 * out = (sum over rows of (weight * (sum >> 4) >> 16), + 2) >> 2; INTER_CUBIC is sum weight * sum / 2^22, halves to even, which
 * its vector code forms in float and so may miss by one where the exact value is close to a half. */
#include "image/resample.h"

#include <string.h>

#include "core/multiversion.h"

#define HALF (1 << (SSLD_PILLOW_BITS - 1))
#define LANES 64 /* rows that go across together */
#define STEP 16  /* bytes that are transposed at a time, each way */
#define TILE 64  /* bytes of a row that go down together */

enum { ROOM_ACROSS, ROOM_DOWN, ROOM_ROWS, ROOM_COLUMNS, ROOM_RESULTS, ROOM_ROW };

ALWAYS_INLINE uint8_t clip8(int32_t sum)
{
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static inline int32_t clamp(int32_t value, int32_t end)
{
    return value < 0 ? 0 : value >= end ? end - 1 : value;
}

static bool is_opencv(const struct ssld_resampler *r)
{
    return r->sampling.filter >= SAMPLE_CV_LINEAR;
}

/* -- Transposing -------------------------------------------------------------------------------------------------- */

typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* 16 rows of 16 bytes, `from_step` apart, to columns `to_step` apart. Each of four rounds interleaves the upper half of
 * the rows with the lower. */
static inline void transpose16(const uint8_t *from, size_t from_step, uint8_t *to, size_t to_step)
{
    bytes16 a[16], b[16];
    for (int i = 0; i < 16; i++)
        memcpy(&a[i], from + (size_t)i * from_step, 16);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            b[2 * i + 1] =
                __builtin_shufflevector(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < 16; i++)
        memcpy(to + (size_t)i * to_step, &a[i], 16);
}

/* `rows` (at most LANES) rows of `bytes` to columns (bytes or STEP if that is more, LANES); lanes past the rows hold
 * anything. */
static void to_columns(const uint8_t *src, size_t stride, int32_t rows, size_t bytes, uint8_t *columns)
{
    uint8_t spare[STEP * STEP] = { 0 };
    for (size_t x = 0; x < bytes; x += STEP) {
        /* The last ones again rather than bytes behind them. */
        size_t at = x + STEP <= bytes ? x : bytes < STEP ? 0 : bytes - STEP, length = bytes < STEP ? bytes : STEP;
        for (int32_t row = 0; row < rows; row += STEP) { /* inside: a column is filled while it is in the cache */
            const uint8_t *from = src + (size_t)row * stride + at;
            uint8_t *to = columns + at * LANES + row;
            int32_t count = rows - row < STEP ? rows - row : STEP;
            if (count == STEP && length == STEP) {
                transpose16(from, stride, to, LANES);
                continue;
            }
            for (int32_t r = 0; r < count; r++)
                memcpy(spare + r * STEP, from + (size_t)r * stride, length);
            transpose16(spare, STEP, to, LANES);
        }
    }
}

/* Columns (bytes, LANES) to `rows` rows of `bytes`, a multiple of STEP. */
static void to_rows(const uint8_t *columns, int32_t rows, size_t bytes, uint8_t *dst, size_t stride)
{
    for (int32_t row = 0; row < rows; row += STEP) {
        uint8_t spare[STEP * STEP];
        int32_t count = rows - row < STEP ? rows - row : STEP;
        uint8_t *to = dst + (size_t)row * stride;
        for (size_t x = 0; x < bytes; x += STEP) {
            if (count == STEP) {
                transpose16(columns + x * LANES + row, LANES, to + x, stride);
                continue;
            }
            transpose16(columns + x * LANES + row, LANES, spare, STEP);
            for (int32_t r = 0; r < count; r++)
                memcpy(to + (size_t)r * stride + x, spare + r * STEP, STEP);
        }
    }
}

/* -- Pillow: across ----------------------------------------------------------------------------------------------- */

/* columns: (source positions x channels, LANES), results: (channels, plane, LANES). */
struct strip {
    const struct taps *taps;
    int32_t            begin; /* the source position of the first column */
    int32_t            channels, width;
    size_t             plane;
    bool               mirrored;
    const uint8_t     *columns;
    uint8_t           *results;
};

ALWAYS_INLINE void strip_of(const struct strip *s, int32_t lanes)
{
    size_t step = (size_t)s->channels * LANES;
    for (int32_t o = 0; o < s->width; o++) {
        const int32_t *weights = s->taps->weights + (size_t)o * (size_t)s->taps->most;
        const uint8_t *first = s->columns + (size_t)(s->taps->first[o] - s->begin) * step;
        int32_t count = s->taps->count[o];
        uint8_t *to = s->results + (size_t)(s->mirrored ? s->width - 1 - o : o) * LANES;
        for (int32_t c = 0; c < s->channels; c++, first += LANES, to += s->plane * LANES) {
            int32_t sums[LANES];
            const uint8_t *column = first;
            for (int32_t r = 0; r < lanes; r++)
                sums[r] = HALF;
            for (int32_t i = 0; i < count; i++, column += step)
                for (int32_t r = 0; r < lanes; r++)
                    sums[r] += column[r] * weights[i];
            for (int32_t r = 0; r < lanes; r++)
                to[r] = clip8(sums[r] >> SSLD_PILLOW_BITS);
        }
    }
}

MULTIVERSION static void strip_whole(const struct strip *strip)
{
    strip_of(strip, LANES);
}

MULTIVERSION static void strip_half(const struct strip *strip)
{
    strip_of(strip, LANES / 2);
}

static ssld_status across_pillow(ssld_context *context, struct ssld_resampler *r, const struct ssld_image *part,
                                 uint8_t *rows, struct ssld_fault *fault)
{
    size_t bytes = (size_t)part->width * (size_t)part->channels, stride = r->plane * (size_t)part->channels;
    uint8_t *columns = ssld_room_take(context, &r->rooms[ROOM_COLUMNS], "columns",
                                      (bytes < STEP ? STEP : bytes) * LANES, fault);
    uint8_t *results = columns ? ssld_room_take(context, &r->rooms[ROOM_RESULTS], "columns", stride * LANES, fault) : NULL;
    if (!results)
        return fault->status;
    struct strip strip = { &r->across, r->need.left, part->channels, r->sampling.window.width, r->plane,
                           r->sampling.mirrored, columns, results };
    for (int32_t y = 0; y < part->height; y += LANES) {
        int32_t count = part->height - y < LANES ? part->height - y : LANES;
        to_columns(part->pixels + (size_t)y * part->stride, part->stride, count, bytes, columns);
        (count > LANES / 2 ? strip_whole : strip_half)(&strip);
        to_rows(results, count, stride, rows + (size_t)y * stride, stride);
    }
    return SSLD_OK;
}

/* Without a filter: interleaved to planes. */
MULTIVERSION static void planes_of_row(const uint8_t *src, size_t channels, size_t width, size_t plane, bool mirrored,
                                       uint8_t *dst)
{
    for (size_t c = 0; c < channels; c++, dst += plane) {
        if (mirrored)
            for (size_t x = 0; x < width; x++)
                dst[x] = src[(width - 1 - x) * channels + c];
        else if (channels == 3)
            for (size_t x = 0; x < width; x++)
                dst[x] = src[x * 3 + c];
        else
            memcpy(dst, src, width);
    }
}

/* -- Pillow: down ------------------------------------------------------------------------------------------------- */

ALWAYS_INLINE void down_tile(const int32_t *weights, int32_t count, const uint8_t *rows, size_t stride, size_t bytes,
                             uint8_t *dst)
{
    int32_t sums[TILE];
    for (size_t x = 0; x < bytes; x++)
        sums[x] = HALF;
    for (int32_t i = 0; i < count; i++, rows += stride)
        for (size_t x = 0; x < bytes; x++)
            sums[x] += rows[x] * weights[i];
    for (size_t x = 0; x < bytes; x++)
        dst[x] = clip8(sums[x] >> SSLD_PILLOW_BITS);
}

MULTIVERSION static void down_row(const int32_t *weights, int32_t count, const uint8_t *rows, size_t stride, size_t bytes,
                                  uint8_t *dst)
{
    size_t x = 0;
    for (; x + TILE <= bytes; x += TILE)
        down_tile(weights, count, rows + x, stride, TILE, dst + x);
    for (; x < bytes; x += STEP) /* planes are padded to whole steps */
        down_tile(weights, count, rows + x, stride, STEP, dst + x);
}

/* -- OpenCV ------------------------------------------------------------------------------------------------------- */

/* offsets, weights: (width, most); sums: (channels, plane). */
MULTIVERSION static void sums_of_row(const int32_t *offsets, const int32_t *weights, int32_t most, const uint8_t *src,
                                     int32_t channels, int32_t width, size_t plane, bool mirrored, int32_t *sums)
{
    for (int32_t o = 0; o < width; o++, offsets += most, weights += most) {
        int32_t *to = sums + (mirrored ? width - 1 - o : o);
        for (int32_t c = 0; c < channels; c++, to += plane) {
            int32_t sum = 0;
            for (int32_t i = 0; i < most; i++)
                sum += src[offsets[i] + c] * weights[i];
            *to = sum;
        }
    }
    for (int32_t c = 0; c < channels; c++) /* what pads a plane goes down too */
        for (size_t x = (size_t)width; x < plane; x++)
            sums[(size_t)c * plane + x] = 0;
}

/* The rows that a result needs, which is not all of them when an image becomes much smaller. */
static ssld_status across_opencv(ssld_context *context, struct ssld_resampler *r, const struct ssld_image *part,
                                 int32_t *sums, struct ssld_fault *fault)
{
    const struct ssld_sampling *s = &r->sampling;
    size_t count = (size_t)s->window.width * (size_t)r->across.most, stride = r->plane * (size_t)part->channels;
    size_t size = count * sizeof(int32_t) + (size_t)part->height;
    uint8_t *memory = ssld_room_take(context, &r->rooms[ROOM_COLUMNS], "resampling offsets", size, fault);
    if (!memory)
        return fault->status;
    int32_t *offsets = (int32_t *)(void *)memory;
    uint8_t *done = memory + count * sizeof(int32_t);
    memset(done, 0, (size_t)part->height);
    for (size_t i = 0; i < count; i++) {
        int32_t place = r->across.first[i / (size_t)r->across.most] + (int32_t)(i % (size_t)r->across.most);
        offsets[i] = (clamp(place, s->in_width) - r->need.left) * part->channels;
    }
    for (int32_t y = 0; y < s->window.height; y++)
        for (int32_t i = 0; i < r->down.most; i++) {
            int32_t row = clamp(r->down.first[y] + i, s->in_height) - r->need.top;
            if (!done[row])
                sums_of_row(offsets, r->across.weights, r->across.most, part->pixels + (size_t)row * part->stride,
                            part->channels, s->window.width, r->plane, s->mirrored, sums + (size_t)row * stride);
            done[row] = 1;
        }
    return SSLD_OK;
}

MULTIVERSION static void down_linear(const int32_t *const rows[4], const int32_t weights[4], size_t count, uint8_t *dst)
{
    for (size_t x = 0; x < count; x++)
        dst[x] = clip8((((rows[0][x] >> 4) * weights[0] >> 16) + ((rows[1][x] >> 4) * weights[1] >> 16) + 2) >> 2);
}

MULTIVERSION static void down_cubic(const int32_t *const rows[4], const int32_t weights[4], size_t count, uint8_t *dst)
{
    for (size_t x = 0; x < count; x++) {
        int32_t sum = rows[0][x] * weights[0] + rows[1][x] * weights[1] + rows[2][x] * weights[2] + rows[3][x] * weights[3];
        dst[x] = clip8((sum + HALF - 1 + (sum >> SSLD_PILLOW_BITS & 1)) >> SSLD_PILLOW_BITS);
    }
}

MULTIVERSION static void down_half(const int32_t *const rows[4], size_t count, uint8_t *dst)
{
    for (size_t x = 0; x < count; x++)
        dst[x] = (uint8_t)((rows[0][x] + rows[1][x] + 2) >> 2);
}

static void down_opencv(const struct ssld_resampler *r, int32_t y)
{
    const int32_t *rows[4] = { NULL }, *weights = r->down.weights + (size_t)y * (size_t)r->down.most;
    size_t count = r->plane * (size_t)r->sampling.channels;
    for (int32_t i = 0; i < r->down.most; i++)
        rows[i] = r->sums + (size_t)(clamp(r->down.first[y] + i, r->sampling.in_height) - r->need.top) * count;
    if (r->halved)
        down_half(rows, count, r->row);
    else if (r->sampling.filter == SAMPLE_CV_CUBIC)
        down_cubic(rows, weights, count, r->row);
    else
        down_linear(rows, weights, count, r->row);
}

/* INTER_LINEAR's first pass takes the edge's pixel whole where a tap lies outside; the second does not. */
static void straighten_edges(struct taps *taps, int32_t in, int32_t count)
{
    for (int32_t o = 0; o < count; o++)
        if (taps->first[o] < 0 || taps->first[o] >= in - 1) {
            taps->first[o] = taps->first[o] < 0 ? 0 : in - 1;
            taps->weights[2 * o] = 1 << SSLD_OPENCV_BITS;
            taps->weights[2 * o + 1] = 0;
        }
}

static void weigh_equally(struct taps *taps, int32_t begin, int32_t count)
{
    for (int32_t o = 0; o < count; o++) {
        taps->first[o] = 2 * (begin + o);
        taps->weights[2 * o] = taps->weights[2 * o + 1] = 1;
    }
}

/* -- The resampler ------------------------------------------------------------------------------------------------ */

/* The source positions that a side's taps reach. */
static void reach(const struct taps *taps, int32_t in, int32_t begin, int32_t count, int32_t *first, int32_t *length)
{
    *first = begin;
    *length = count;
    if (!taps->most)
        return;
    *first = clamp(taps->first[0], in);
    *length = clamp(taps->first[count - 1] + taps->count[count - 1] - 1, in) + 1 - *first;
}

ssld_status ssld_resampler_plan(ssld_context *context, const struct ssld_sampling *sampling, struct ssld_resampler *r,
                                struct ssld_fault *fault)
{
    const struct ssld_sampling *s = &r->sampling;
    const struct crop_box *window = &s->window;
    r->sampling = *sampling;
    r->across = r->down = (struct taps){ 0 };
    r->plane = ((size_t)window->width + STEP - 1) / STEP * STEP;
    bool opencv = is_opencv(r), same = s->height == s->in_height && s->width == s->in_width;
    if (same)
        r->sampling.filter = SAMPLE_BILINEAR; /* nothing to weigh: not OpenCV's sums either */
    if (!same && (opencv || s->width != s->in_width) &&
        ssld_taps_make(context, s->filter, s->in_width, s->width, window->left, window->width, &r->rooms[ROOM_ACROSS],
                       &r->across, fault))
        return fault->status;
    if (!same && (opencv || s->height != s->in_height) &&
        ssld_taps_make(context, s->filter, s->in_height, s->height, window->top, window->height, &r->rooms[ROOM_DOWN],
                       &r->down, fault))
        return fault->status;
    r->halved = s->filter == SAMPLE_CV_LINEAR && s->in_width == 2 * s->width && s->in_height == 2 * s->height;
    if (r->halved) {
        weigh_equally(&r->across, window->left, window->width);
        weigh_equally(&r->down, window->top, window->height);
    } else if (s->filter == SAMPLE_CV_LINEAR) {
        straighten_edges(&r->across, s->in_width, window->width);
    }
    reach(&r->across, s->in_width, window->left, window->width, &r->need.left, &r->need.width);
    reach(&r->down, s->in_height, window->top, window->height, &r->need.top, &r->need.height);
    return SSLD_OK;
}

ssld_status ssld_resampler_feed(ssld_context *context, struct ssld_resampler *r, const struct ssld_image *part,
                                struct ssld_fault *fault)
{
    size_t stride = r->plane * (size_t)part->channels, element = is_opencv(r) ? sizeof(int32_t) : 1;
    uint8_t *rows = ssld_room_take(context, &r->rooms[ROOM_ROWS], "rows", (size_t)part->height * stride * element, fault);
    r->row = rows ? ssld_room_take(context, &r->rooms[ROOM_ROW], "a row", stride, fault) : NULL;
    if (!r->row)
        return fault->status;
    if (is_opencv(r)) {
        r->sums = (int32_t *)(void *)rows;
        return across_opencv(context, r, part, (int32_t *)(void *)rows, fault);
    }
    r->rows = rows;
    if (r->across.most)
        return across_pillow(context, r, part, rows, fault);
    for (int32_t y = 0; y < part->height; y++)
        planes_of_row(part->pixels + (size_t)y * part->stride, (size_t)part->channels, (size_t)part->width, r->plane,
                      r->sampling.mirrored, rows + (size_t)y * stride);
    return SSLD_OK;
}

const uint8_t *ssld_resampler_row(struct ssld_resampler *r, int32_t y)
{
    size_t stride = r->plane * (size_t)r->sampling.channels;
    if (is_opencv(r)) {
        down_opencv(r, y);
        return r->row;
    }
    if (!r->down.most)
        return r->rows + (size_t)y * stride;
    down_row(r->down.weights + (size_t)y * (size_t)r->down.most, r->down.count[y],
             r->rows + (size_t)(r->down.first[y] - r->need.top) * stride, stride, stride, r->row);
    return r->row;
}

void ssld_resampler_free(ssld_context *context, struct ssld_resampler *r)
{
    for (size_t i = 0; i < sizeof r->rooms / sizeof *r->rooms; i++)
        ssld_room_free(context, &r->rooms[i]);
}
