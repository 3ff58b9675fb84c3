/* SPDX-License-Identifier: BSD-2-Clause */
/* resample.c - resizing in fixed point, byte for byte as Pillow does it.
 *
 * Two passes, horizontal then vertical, with 8-bit pixels between them. A pass weighs, for each output position o, the
 * input pixels within the filter's reach of its centre:
 *
 *   scale = in / out             stretch = max(scale, 1)            centre = (o + 0.5) * scale
 *   first = trunc(centre - stretch + 0.5), at least 0               end = trunc(centre + stretch + 0.5), at most in
 *   w(i)  = triangle((i - centre + 0.5) / stretch) / sum of these   weight(i) = round(w(i) * 2^22)
 *   out(o) = clip8((2^21 + sum weight(i) * in(i)) >> 22)
 *
 * Each line of that is evaluated in double in Pillow's order, so the integer weights are the same. Since the sums are
 * of integers, they may be formed in any order: the vertical pass goes along rows, which compilers vectorise. */
#include "image/image.h"

#include <math.h>
#include <string.h>

#define WEIGHT_BITS 22 /* 32 bits of a sum, less 8 of a pixel and 2 for overshoot */
#define HALF (1 << (WEIGHT_BITS - 1))

/* The input pixels first .. first + count - 1 with their weights, for each output position. */
struct taps {
    int32_t  most;    /* most taps of a position */
    int32_t *first;   /* (out) */
    int32_t *count;   /* (out) */
    int32_t *weights; /* (out, most) */
};

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static void taps_free(ssld_context *context, struct taps *taps)
{
    ssld_free(context, taps->first);
    ssld_free(context, taps->count);
    ssld_free(context, taps->weights);
}

static void taps_fill_one(const struct taps *taps, int32_t in, double scale, double stretch, int32_t position,
                          double *exact)
{
    double centre = (position + 0.5) * scale;
    double inverse = 1.0 / stretch, sum = 0.0;
    int32_t first = (int32_t)(centre - stretch + 0.5);
    int32_t end = (int32_t)(centre + stretch + 0.5);
    first = first < 0 ? 0 : first;
    end = end > in ? in : end;
    int32_t *weights = taps->weights + (size_t)position * (size_t)taps->most;
    for (int32_t i = first; i < end; i++) {
        exact[i - first] = triangle((i - centre + 0.5) * inverse);
        sum += exact[i - first];
    }
    for (int32_t i = 0; i < end - first; i++) {
        double weight = sum != 0.0 ? exact[i] / sum : exact[i];
        weights[i] = (int32_t)(0.5 + weight * (1 << WEIGHT_BITS)); /* a triangle has no negative weights */
    }
    taps->first[position] = first;
    taps->count[position] = end - first;
}

static ssld_status taps_make(ssld_context *context, int32_t in, int32_t out, struct taps *taps,
                             struct ssld_fault *fault)
{
    double scale = (double)in / out;
    double stretch = scale < 1.0 ? 1.0 : scale;
    /* The window is 2 * stretch wide; an input this long covers any window that is cut at its ends. */
    double widest = ceil(stretch) * 2 + 1;
    *taps = (struct taps){ .most = widest < in ? (int32_t)widest : in };
    size_t outs = (size_t)out, weights = outs * (size_t)taps->most;
    double *exact = ssld_alloc(context, (size_t)taps->most * sizeof *exact);
    taps->first = ssld_alloc(context, outs * sizeof *taps->first);
    taps->count = ssld_alloc(context, outs * sizeof *taps->count);
    taps->weights = ssld_alloc(context, weights * sizeof *taps->weights);
    if (!exact || !taps->first || !taps->count || !taps->weights) {
        ssld_free(context, exact);
        taps_free(context, taps);
        return ssld_fault_memory(fault, "resampling weights", weights * sizeof *taps->weights);
    }
    for (int32_t position = 0; position < out; position++)
        taps_fill_one(taps, in, scale, stretch, position, exact);
    ssld_free(context, exact);
    return SSLD_OK;
}

static inline uint8_t clip8(int32_t sum)
{
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One row. src: (in, channels), dst: (out, channels). `channels` is a constant where this is inlined. */
static inline void horizontal_row(const struct taps *taps, const uint8_t *src, int32_t channels, int32_t out,
                                  uint8_t *dst)
{
    for (int32_t position = 0; position < out; position++, dst += channels) {
        const uint8_t *pixel = src + (size_t)taps->first[position] * (size_t)channels;
        const int32_t *weights = taps->weights + (size_t)position * (size_t)taps->most;
        int32_t sums[3] = { HALF, HALF, HALF };
        for (int32_t i = 0; i < taps->count[position]; i++, pixel += channels)
            for (int32_t c = 0; c < channels; c++)
                sums[c] += pixel[c] * weights[i];
        for (int32_t c = 0; c < channels; c++)
            dst[c] = clip8(sums[c]);
    }
}

static void horizontal_pass(const struct taps *taps, const struct ssld_image *src, struct ssld_image *dst)
{
    for (int32_t y = 0; y < src->height; y++) {
        const uint8_t *from = src->pixels + (size_t)y * src->stride;
        uint8_t *to = dst->own + (size_t)y * dst->stride;
        if (src->channels == 1)
            horizontal_row(taps, from, 1, dst->width, to);
        else
            horizontal_row(taps, from, 3, dst->width, to);
    }
}

/* `sums`: one for each byte of a row. */
static void vertical_pass(const struct taps *taps, const struct ssld_image *src, struct ssld_image *dst, int32_t *sums)
{
    size_t bytes = (size_t)src->width * (size_t)src->channels;
    for (int32_t y = 0; y < dst->height; y++) {
        const uint8_t *row = src->pixels + (size_t)taps->first[y] * src->stride;
        const int32_t *weights = taps->weights + (size_t)y * (size_t)taps->most;
        uint8_t *to = dst->own + (size_t)y * dst->stride;
        for (size_t x = 0; x < bytes; x++)
            sums[x] = HALF;
        for (int32_t i = 0; i < taps->count[y]; i++, row += src->stride)
            for (size_t x = 0; x < bytes; x++)
                sums[x] += row[x] * weights[i];
        for (size_t x = 0; x < bytes; x++)
            to[x] = clip8(sums[x]);
    }
}

static ssld_status resample_width(ssld_context *context, const struct ssld_image *src, int32_t width,
                                  struct ssld_image *dst, struct ssld_fault *fault)
{
    struct taps taps;
    if (taps_make(context, src->width, width, &taps, fault))
        return fault->status;
    ssld_status status = ssld_image_make(context, src->channels, src->height, width, dst, fault);
    if (!status)
        horizontal_pass(&taps, src, dst);
    taps_free(context, &taps);
    return status;
}

static ssld_status resample_height(ssld_context *context, const struct ssld_image *src, int32_t height,
                                   struct ssld_image *dst, struct ssld_fault *fault)
{
    size_t sums_size = (size_t)src->width * (size_t)src->channels * sizeof(int32_t);
    struct taps taps;
    if (taps_make(context, src->height, height, &taps, fault))
        return fault->status;
    int32_t *sums = ssld_alloc(context, sums_size);
    ssld_status status = sums ? ssld_image_make(context, src->channels, height, src->width, dst, fault)
                              : ssld_fault_memory(fault, "a row of sums", sums_size);
    if (!status)
        vertical_pass(&taps, src, dst, sums);
    ssld_free(context, sums);
    taps_free(context, &taps);
    return status;
}

ssld_status ssld_image_resample(ssld_context *context, const struct ssld_image *src, int32_t height, int32_t width,
                                struct ssld_image *dst, struct ssld_fault *fault)
{
    struct ssld_image between = *src, made = { 0 };
    between.own = NULL; /* borrowed so far */
    ssld_status status = SSLD_OK;
    /* A pass that keeps the size would weigh each pixel by one. */
    if (width != src->width)
        status = resample_width(context, src, width, &between, fault);
    if (!status && (height != src->height || !between.own)) {
        status = resample_height(context, &between, height, &made, fault);
        ssld_image_free(context, &between);
        between = made;
    }
    if (!status)
        *dst = between;
    return status;
}
