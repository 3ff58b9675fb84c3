/* SPDX-License-Identifier: BSD-2-Clause */
/* affine.c - rotations, shears and shifts, byte for byte as Pillow's Image.transform(AFFINE) and Image.rotate().
 *
 * For the output pixel (x, y), in double and in this order:
 *
 *   u = m0 (x + 1/2) + m1 (y + 1/2) + m2        v = m3 (x + 1/2) + m4 (y + 1/2) + m5
 *
 * A pixel with (u, v) outside the image keeps the fill colour. Bilinear and bicubic weigh the pixels around (u, v) in
 * double: i = floor(u - 1/2), d = u - 1/2 - i, along rows first. Neighbours beyond an edge are the edge's. Nearest
 * walks along the row in 16.16 fixed point, or adds up doubles if the matrix only scales and shifts.
 *
 * The image is copied into words of four bytes with an edge of two pixels all around, so that a neighbour is one load
 * of all channels, wherever it is, and loops become vectors. */
#include "image/pixels.h"

#include <math.h>
#include <string.h>

#include "core/multiversion.h"
#include "image/exact.h"

#define EDGE 2

/* -- Nearest ------------------------------------------------------------------------------------------------------ */

/* The whole number that a coordinate falls into; -1 for all negative ones. */
static int32_t cell_of(double coordinate)
{
    return coordinate < 0.0 ? -1 : coordinate >= INT32_MAX ? INT32_MAX : (int32_t)coordinate;
}

static void copy_pixel(const struct ssld_image *src, int32_t y, int32_t x, struct ssld_image *dst, int32_t to_y,
                       int32_t to_x)
{
    size_t channels = (size_t)src->channels;
    const uint8_t *from = src->pixels + (size_t)y * src->stride + (size_t)x * channels;
    uint8_t *to = dst->own + (size_t)to_y * dst->stride + (size_t)to_x * channels;
    for (size_t c = 0; c < channels; c++)
        to[c] = from[c];
}

/* m1 = m3 = 0: a column of the output is a column of the input. */
static void shift_nearest(const struct ssld_image *src, const double m[6], struct ssld_image *dst)
{
    double v = m[5] + m[4] * 0.5;
    for (int32_t y = 0; y < dst->height; y++, v += m[4]) {
        double u = m[2] + m[0] * 0.5;
        int32_t from_y = cell_of(v);
        for (int32_t x = 0; from_y >= 0 && from_y < src->height && x < dst->width; x++, u += m[0]) {
            int32_t from_x = cell_of(u);
            if (from_x >= 0 && from_x < src->width)
                copy_pixel(src, from_y, from_x, dst, y, x);
        }
    }
}

/* All corners within 2^15: 16.16 fixed point is wide enough. */
static bool fits_fixed(const double m[6], int32_t height, int32_t width)
{
    const double corners[4][2] = { { 0, 0 }, { width, height }, { 0, height }, { width, 0 } };
    bool fits = true;
    for (int i = 0; i < 4; i++)
        fits &= fabs(corners[i][0] * m[0] + corners[i][1] * m[1] + m[2]) < 32768.0 &&
                fabs(corners[i][0] * m[3] + corners[i][1] * m[4] + m[5]) < 32768.0;
    return fits;
}

static int32_t to_fixed(double value)
{
    return (int32_t)floor(value * 65536.0 + 0.5);
}

static void fixed_nearest(const struct ssld_image *src, const double m[6], struct ssld_image *dst)
{
    int32_t m0 = to_fixed(m[0]), m1 = to_fixed(m[1]), m3 = to_fixed(m[3]), m4 = to_fixed(m[4]);
    int32_t first_u = to_fixed(m[2] + m[0] * 0.5 + m[1] * 0.5), first_v = to_fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);
    for (int32_t y = 0; y < dst->height; y++, first_u += m1, first_v += m4) {
        int32_t u = first_u, v = first_v;
        for (int32_t x = 0; x < dst->width; x++, u += m0, v += m3) {
            int32_t from_x = u >> 16, from_y = v >> 16;
            if (from_x >= 0 && from_x < src->width && from_y >= 0 && from_y < src->height)
                copy_pixel(src, from_y, from_x, dst, y, x);
        }
    }
}

static void double_nearest(const struct ssld_image *src, const double m[6], struct ssld_image *dst)
{
    double first_u = m[2] + m[1] * 0.5 + m[0] * 0.5, first_v = m[5] + m[4] * 0.5 + m[3] * 0.5;
    for (int32_t y = 0; y < dst->height; y++, first_u += m[1], first_v += m[4]) {
        double u = first_u, v = first_v;
        for (int32_t x = 0; x < dst->width; x++, u += m[0], v += m[3]) {
            int32_t from_x = cell_of(u), from_y = cell_of(v);
            if (from_x >= 0 && from_x < src->width && from_y >= 0 && from_y < src->height)
                copy_pixel(src, from_y, from_x, dst, y, x);
        }
    }
}

static void nearest(const struct ssld_image *src, const double m[6], struct ssld_image *dst)
{
    if (m[1] == 0 && m[3] == 0)
        shift_nearest(src, m, dst);
    else if (fits_fixed(m, dst->height, dst->width))
        fixed_nearest(src, m, dst);
    else
        double_nearest(src, m, dst);
}

/* -- Bilinear and bicubic ----------------------------------------------------------------------------------------- */

/* What a row of the output needs, each (width) long. The pixels begin .. end - 1 are inside the image: u and v go one
 * way along a row, and rounding does not turn them. */
struct plan {
    int32_t  begin, end;
    int32_t *at;     /* of the pixel (floor(u - 1/2), floor(v - 1/2)) in the wide copy */
    double  *across; /* fractions */
    double  *down;
};

static uint32_t *widen(ssld_context *context, const struct ssld_image *src, size_t *stride)
{
    size_t height = (size_t)src->height + 2 * EDGE, width = (size_t)src->width + 2 * EDGE;
    uint32_t *words = ssld_alloc_zero(context, height, width * sizeof *words);
    *stride = width;
    for (size_t y = 0; words && y < height; y++) {
        int64_t from_y = (int64_t)y - EDGE;
        from_y = from_y < 0 ? 0 : from_y >= src->height ? src->height - 1 : from_y;
        const uint8_t *from = src->pixels + (size_t)from_y * src->stride;
        uint32_t *row = words + y * width, *to = row + EDGE;
        for (size_t x = 0; src->channels == 1 && x < (size_t)src->width; x++)
            to[x] = from[x];
        for (size_t x = 0; src->channels == 3 && x < (size_t)src->width; x++)
            to[x] = from[3 * x] | (uint32_t)from[3 * x + 1] << 8 | (uint32_t)from[3 * x + 2] << 16;
        for (int i = 0; i < EDGE; i++) {
            row[i] = to[0];
            to[(size_t)src->width + (size_t)i] = to[src->width - 1];
        }
    }
    return words;
}

ALWAYS_INLINE double coordinate(const double *m, double x, double y)
{
    return m[0] * x + m[1] * y + m[2];
}

static bool is_inside(const double *m, int32_t x, int32_t y, int32_t height, int32_t width)
{
    double u = coordinate(m, x + 0.5, y + 0.5), v = coordinate(m + 3, x + 0.5, y + 0.5);
    return u >= 0.0 && u < width && v >= 0.0 && v < height;
}

MULTIVERSION static void fill_plan(const double *m, int32_t y, int32_t stride, const struct plan *plan)
{
    int32_t *restrict at = plan->at;
    double *restrict across = plan->across, *restrict down = plan->down;
    const int32_t begin = plan->begin, end = plan->end;
    const double own[6] = { m[0], m[1], m[2], m[3], m[4], m[5] }, y_centre = y + 0.5;
    for (int32_t x = begin; x < end; x++) {
        double u = coordinate(own, x + 0.5, y_centre) - 0.5, v = coordinate(own + 3, x + 0.5, y_centre) - 0.5;
        double left = floor(u), top = floor(v);
        across[x] = u - left;
        down[x] = v - top;
        at[x] = ((int32_t)top + EDGE) * stride + (int32_t)left + EDGE;
    }
}

static void plan_row(const double *m, int32_t y, int32_t height, int32_t width, int32_t stride, struct plan *plan)
{
    plan->begin = 0;
    plan->end = width;
    while (plan->begin < plan->end && !is_inside(m, plan->begin, y, height, width))
        plan->begin++;
    while (plan->begin < plan->end && !is_inside(m, plan->end - 1, y, height, width))
        plan->end--;
    fill_plan(m, y, stride, plan);
}

ALWAYS_INLINE double channel(uint32_t word, int shift)
{
    return (double)(int32_t)(word >> shift & 255);
}

/* Catmull and Rom's cubic with a = -1 through four values, in Pillow's order. */
ALWAYS_INLINE double cubic(double a, double b, double c, double d, double at)
{
    double p2 = -a + c, p3 = 2 * (a - b) + c - d, p4 = -a + b - c + d;
    return b + at * (p2 + at * (p3 + at * p4));
}

ALWAYS_INLINE double cubic_along(const uint32_t *words, int32_t at, int shift, double fraction)
{
    return cubic(channel(words[at - 1], shift), channel(words[at], shift), channel(words[at + 1], shift),
                 channel(words[at + 2], shift), fraction);
}

ALWAYS_INLINE uint8_t clipped(double value)
{
    value = value > 0.0 ? value : 0.0;
    return (uint8_t)(int32_t)(value < 255.0 ? value : 255.0);
}

/* One channel of a row, where it is inside. */
MULTIVERSION static void bicubic_row(const uint32_t *restrict words, int32_t stride, const struct plan *plan,
                                     int shift, uint8_t *restrict to)
{
    const int32_t begin = plan->begin, end = plan->end;
    const int32_t *restrict at = plan->at;
    const double *restrict across = plan->across, *restrict down = plan->down;
    for (int32_t x = begin; x < end; x++) {
        double rows[4];
        for (int32_t row = 0; row < 4; row++)
            rows[row] = cubic_along(words, at[x] + (row - 1) * stride, shift, across[x]);
        to[x] = clipped(cubic(rows[0], rows[1], rows[2], rows[3], down[x]));
    }
}

/* With every `down` 0 the cubic is its second row: shears and shifts along x. */
MULTIVERSION static void bicubic_level_row(const uint32_t *restrict words, const struct plan *plan, int shift,
                                           uint8_t *restrict to)
{
    const int32_t begin = plan->begin, end = plan->end;
    const int32_t *restrict at = plan->at;
    const double *restrict across = plan->across;
    for (int32_t x = begin; x < end; x++)
        to[x] = clipped(cubic_along(words, at[x], shift, across[x]));
}

/* With every `across` 0, likewise along y. */
MULTIVERSION static void bicubic_upright_row(const uint32_t *restrict words, int32_t stride, const struct plan *plan,
                                             int shift, uint8_t *restrict to)
{
    const int32_t begin = plan->begin, end = plan->end;
    const int32_t *restrict at = plan->at;
    const double *restrict down = plan->down;
    for (int32_t x = begin; x < end; x++)
        to[x] =
            clipped(cubic(channel(words[at[x] - stride], shift), channel(words[at[x]], shift),
                          channel(words[at[x] + stride], shift), channel(words[at[x] + 2 * stride], shift), down[x]));
}

MULTIVERSION static void bilinear_row(const uint32_t *restrict words, int32_t stride, const struct plan *plan,
                                      int shift, uint8_t *restrict to)
{
    const int32_t begin = plan->begin, end = plan->end;
    const int32_t *restrict at = plan->at;
    const double *restrict across = plan->across, *restrict down = plan->down;
    for (int32_t x = begin; x < end; x++) {
        double a = channel(words[at[x]], shift), b = channel(words[at[x] + 1], shift);
        double c = channel(words[at[x] + stride], shift), d = channel(words[at[x] + stride + 1], shift);
        double upper = a + (b - a) * across[x], lower = c + (d - c) * across[x];
        to[x] = (uint8_t)(int32_t)(upper + (lower - upper) * down[x]);
    }
}

MULTIVERSION static bool all_zero(const double *restrict values, int32_t count)
{
    int64_t others = 0;
    for (int32_t i = 0; i < count; i++)
        others += values[i] != 0.0;
    return !others;
}

enum row_kind { ROW_BILINEAR, ROW_BICUBIC, ROW_LEVEL, ROW_UPRIGHT };

static enum row_kind kind_of(const struct plan *plan, enum pixel_filter filter)
{
    if (filter == FILTER_BILINEAR)
        return ROW_BILINEAR;
    if (all_zero(plan->down + plan->begin, plan->end - plan->begin))
        return ROW_LEVEL;
    return all_zero(plan->across + plan->begin, plan->end - plan->begin) ? ROW_UPRIGHT : ROW_BICUBIC;
}

static void sample_row(enum row_kind kind, const uint32_t *words, int32_t stride, const struct plan *plan, int shift,
                       uint8_t *to)
{
    switch (kind) {
    case ROW_BILINEAR: bilinear_row(words, stride, plan, shift, to); break;
    case ROW_BICUBIC: bicubic_row(words, stride, plan, shift, to); break;
    case ROW_LEVEL: bicubic_level_row(words, plan, shift, to); break;
    case ROW_UPRIGHT: bicubic_upright_row(words, stride, plan, shift, to); break;
    }
}

/* Planes of a row, `width` apart, to pixels. */
MULTIVERSION static void interleave(const uint8_t *restrict planes, int32_t width, int32_t count, int32_t channels,
                                    uint8_t *restrict to)
{
    for (int32_t x = 0; channels == 1 && x < count; x++)
        to[x] = planes[x];
    for (int32_t x = 0; channels == 3 && x < count; x++) {
        to[3 * x] = planes[x];
        to[3 * x + 1] = planes[width + x];
        to[3 * x + 2] = planes[2 * width + x];
    }
}

static ssld_status smooth(ssld_context *context, const struct ssld_image *src, const double m[6],
                          enum pixel_filter filter, struct ssld_image *dst, struct ssld_fault *fault)
{
    size_t stride, width = (size_t)src->width;
    if (((size_t)src->height + 2 * EDGE) * (width + 2 * EDGE) > INT32_MAX)
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%d x %d pixels are too many to be rotated", src->height,
                              src->width);
    uint32_t *words = widen(context, src, &stride);
    double *fractions = ssld_alloc_zero(context, width, 2 * sizeof *fractions);
    int32_t *at = ssld_alloc_zero(context, width, sizeof *at);
    uint8_t *bytes = ssld_alloc_zero(context, width, 3);
    ssld_status status = SSLD_OK;
    if (!words || !fractions || !at || !bytes)
        status =
            ssld_fault_memory(fault, "an affine transform", ((size_t)src->height + 2 * EDGE) * stride * sizeof *words);
    struct plan plan = { 0, 0, at, fractions, fractions + width };
    for (int32_t y = 0; !status && y < dst->height; y++) {
        plan_row(m, y, src->height, src->width, (int32_t)stride, &plan);
        if (plan.begin == plan.end)
            continue;
        enum row_kind kind = kind_of(&plan, filter);
        for (int32_t c = 0; c < src->channels; c++)
            sample_row(kind, words, (int32_t)stride, &plan, 8 * c, bytes + (size_t)c * width);
        interleave(bytes + plan.begin, src->width, plan.end - plan.begin, src->channels,
                   dst->own + (size_t)y * dst->stride + (size_t)plan.begin * (size_t)src->channels);
    }
    ssld_free(context, words);
    ssld_free(context, fractions);
    ssld_free(context, at);
    ssld_free(context, bytes);
    return status;
}

ssld_status ssld_image_affine(ssld_context *context, const double matrix[6], enum pixel_filter filter,
                              const uint8_t fill[3], struct ssld_image *image, struct ssld_fault *fault)
{
    struct ssld_image made;
    ssld_status status = ssld_image_make(context, image->channels, image->height, image->width, &made, fault);
    if (status)
        return status;
    size_t channels = (size_t)image->channels;
    for (size_t x = 0; x < (size_t)made.width; x++)
        memcpy(made.own + x * channels, fill, channels);
    for (int32_t y = 1; y < made.height; y++)
        memcpy(made.own + (size_t)y * made.stride, made.own, made.stride);
    if (filter == FILTER_NEAREST)
        nearest(image, matrix, &made);
    else
        status = smooth(context, image, matrix, filter, &made, fault);
    if (status)
        ssld_image_free(context, &made);
    else
        ssld_image_replace(context, image, &made);
    return status;
}

/* -- Rotation ----------------------------------------------------------------------------------------------------- */

/* To 15 decimal places, halves to even, |value| at most 1: as Python's round(value, 15). value * 10^15 = product + rest
 * exactly. */
static double round_15(double value)
{
    double product = value * 1e15, rest = fma(value, 1e15, -product), whole = rint(product);
    double beyond = (product - whole) + rest;
    if (beyond > 0.5 || (beyond == 0.5 && fmod(whole, 2) != 0))
        whole += 1;
    else if (beyond < -0.5 || (beyond == -0.5 && fmod(whole, 2) != 0))
        whole -= 1;
    return whole / 1e15;
}

bool ssld_rotation(double degrees, int32_t height, int32_t width, double matrix[6])
{
    double turned = fmod(degrees, 360.0);
    if (turned < 0)
        turned += 360.0;
    double angle = -(turned * (3.141592653589793 / 180.0)), x = width / 2.0, y = height / 2.0;
    double cosine = round_15(ssld_exact_cos(angle)), sine = round_15(ssld_exact_sin(angle));
    double minus_sine = round_15(-ssld_exact_sin(angle));
    matrix[0] = cosine;
    matrix[1] = sine;
    matrix[2] = cosine * -x + sine * -y + 0.0 + x;
    matrix[3] = minus_sine;
    matrix[4] = cosine;
    matrix[5] = minus_sine * -x + cosine * -y + 0.0 + y;
    return turned != 0;
}

/* -- Any operation ------------------------------------------------------------------------------------------------ */

ssld_status ssld_pixels_change(ssld_context *context, const struct pixel_call *call, struct ssld_image *image,
                               struct ssld_fault *fault)
{
    double matrix[6] = { 1, 0, 0, 0, 1, 0 };
    switch (call->operation) {
    case PIXELS_ROTATE:
        if (!ssld_rotation(call->value, image->height, image->width, matrix))
            return SSLD_OK;
        break;
    case PIXELS_SHEAR_X: matrix[1] = call->value; break;
    case PIXELS_SHEAR_Y: matrix[3] = call->value; break;
    case PIXELS_TRANSLATE_X: matrix[2] = call->value; break;
    case PIXELS_TRANSLATE_Y: matrix[5] = call->value; break;
    default: return ssld_pixels_tone(context, call, image, fault);
    }
    return ssld_image_affine(context, matrix, call->filter, call->fill, image, fault);
}
