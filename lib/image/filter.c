/* SPDX-License-Identifier: BSD-2-Clause */
/* filter.c - which source pixels a resized pixel is made of, with integer weights.
 *
 * Pillow's filters, for an output position o:
 *
 *   scale = in / out             stretch = max(scale, 1)            centre = (o + 0.5) * scale
 *   reach = support * stretch    (the filter's support: box 0.5, bilinear 1, bicubic 2)
 *   first = trunc(centre - reach + 0.5), at least 0                 end = trunc(centre + reach + 0.5), at most in
 *   w(i)  = filter((i - centre + 0.5) / stretch) / sum of these     weight(i) = round(w(i) * 2^22), halves away from 0
 *
 * Each line is evaluated in double in Pillow's order, so the integers are the same. OpenCV's, in float:
 *
 *   x = (float)((o + 0.5) * (1 / (out / in)) - 0.5)     whole = floor(x)     part = x - whole
 *   weight(i) = round(w(part, i) * 2^11), halves to even; taps beyond an edge weigh the edge's pixel
 */
#include "image/resample.h"

#include <math.h>

/* -- Pillow ------------------------------------------------------------------------------------------------------- */

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys's cubic with a = -0.5. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static const struct kernel {
    double (*weight)(double x);
    double support;
} kernels[] = { [SAMPLE_BILINEAR] = { triangle, 1 }, [SAMPLE_BICUBIC] = { cubic, 2 }, [SAMPLE_BOX] = { box, 0.5 } };

static void fill_pillow(const struct kernel *kernel, int32_t in, double scale, int32_t position, int32_t at,
                        const struct taps *taps, double *exact)
{
    double stretch = scale < 1.0 ? 1.0 : scale, reach = kernel->support * stretch;
    double centre = (position + 0.5) * scale, inverse = 1.0 / stretch, sum = 0.0;
    int32_t first = (int32_t)(centre - reach + 0.5), end = (int32_t)(centre + reach + 0.5);
    first = first < 0 ? 0 : first;
    end = end > in ? in : end;
    int32_t *weights = taps->weights + (size_t)at * (size_t)taps->most;
    for (int32_t i = first; i < end; i++) {
        exact[i - first] = kernel->weight((i - centre + 0.5) * inverse);
        sum += exact[i - first];
    }
    for (int32_t i = 0; i < end - first; i++) {
        double weight = (sum != 0.0 ? exact[i] / sum : exact[i]) * (1 << SSLD_PILLOW_BITS);
        weights[i] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    taps->first[at] = first;
    taps->count[at] = end - first;
}

/* -- OpenCV ------------------------------------------------------------------------------------------------------- */

static void linear_weights(float part, float weights[4])
{
    weights[0] = 1.0f - part;
    weights[1] = part;
}

/* Keys's cubic with a = -0.75. */
static void cubic_weights(float part, float weights[4])
{
    const float a = -0.75f;
    weights[0] = ((a * (part + 1) - 5 * a) * (part + 1) + 8 * a) * (part + 1) - 4 * a;
    weights[1] = ((a + 2) * part - (a + 3)) * part * part + 1;
    weights[2] = ((a + 2) * (1 - part) - (a + 3)) * (1 - part) * (1 - part) + 1;
    weights[3] = 1.0f - weights[0] - weights[1] - weights[2];
}

static void fill_opencv(enum resample_filter filter, double scale, int32_t position, int32_t at, const struct taps *taps)
{
    float x = (float)((position + 0.5) * scale - 0.5), weights[4];
    float whole = floorf(x);
    (filter == SAMPLE_CV_CUBIC ? cubic_weights : linear_weights)(x - whole, weights);
    taps->first[at] = (int32_t)whole - (taps->most / 2 - 1);
    taps->count[at] = taps->most;
    for (int32_t i = 0; i < taps->most; i++)
        taps->weights[at * taps->most + i] = (int32_t)rintf(weights[i] * (1 << SSLD_OPENCV_BITS));
}

/* -- Either ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_taps_make(ssld_context *context, enum resample_filter filter, int32_t in, int32_t out, int32_t begin,
                           int32_t count, struct ssld_room *room, struct taps *taps, struct ssld_fault *fault)
{
    bool opencv = filter >= SAMPLE_CV_LINEAR;
    double scale = opencv ? 1.0 / ((double)out / in) : (double)in / out;
    int32_t most = filter == SAMPLE_CV_CUBIC ? 4 : 2;
    if (!opencv) {
        /* The window is 2 * reach wide; an input this long covers any window that is cut at its ends. */
        double widest = ceil(kernels[filter].support * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
        most = widest < in ? (int32_t)widest : in;
    }
    size_t positions = (size_t)count, weights = positions * (size_t)most, exact = (size_t)most;
    size_t size = exact * sizeof(double) + (2 * positions + weights) * sizeof(int32_t);
    double *memory = (double *)(void *)ssld_room_take(context, room, "resampling weights", size, fault);
    if (!memory)
        return fault->status;
    int32_t *whole = (int32_t *)(void *)(memory + exact);
    *taps = (struct taps){ most, whole, whole + positions, whole + 2 * positions };
    for (int32_t at = 0; at < count; at++) {
        if (opencv)
            fill_opencv(filter, scale, begin + at, at, taps);
        else
            fill_pillow(&kernels[filter], in, scale, begin + at, at, taps, memory);
    }
    return SSLD_OK;
}
