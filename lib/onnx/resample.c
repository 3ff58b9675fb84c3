/* SPDX-License-Identifier: BSD-2-Clause */
/* resample.c - Resize in the forms that no operator of the graph has: cubic, with antialiasing, cut to a region, along any axis.
 *
 * Each is linear in the pixels of an axis, so it is a product with a constant matrix of (out, in), a row for each place:
 *
 *   x = place of the row in the input      weight of pixel t = K(scale * (x - t)),  rows with antialiasing made to sum to 1
 *
 * with scale = min(1, out / in) where there is antialiasing, else 1. Pixels past an end are the end's, or left out where
 * exclude_outside says so: then the rest is made to sum to 1. */
#include "onnx/resample.h"

#include <math.h>
#include <string.h>

#define MOST_TAPS 4096 /* pixels under a kernel: a reduction to a thousandth */

/* 1 - |x| up to 1 */
static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys' kernel */
static double cubic(double a, double x)
{
    x = fabs(x);
    return x <= 1  ? ((a + 2) * x - (a + 3)) * x * x + 1
           : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
                   : 0;
}

/* Where the row lies; of a region the ends are shares of the axis. */
static double place_of(const struct resample *r, int32_t axis, int64_t in, int64_t out, int64_t row)
{
    double start = r->region[axis], end = r->region[4 + axis];
    if (!r->in_region) {
        struct ssld_attributes attributes = { .coordinates = r->coordinates };
        attributes.scales[0] = r->scales[axis];
        return ssld_resize_source(&attributes, 0, in, out, row);
    }
    return out > 1 ? start * (double)(in - 1) + (double)row * (end - start) * (double)(in - 1) / (double)(out - 1)
                   : 0.5 * (start + end) * (double)(in - 1);
}

static void add_tap(float *weights, int64_t in, int64_t tap, double weight)
{
    int64_t at = tap < 0 ? 0 : tap >= in ? in - 1 : tap;
    weights[at] = (float)(weights[at] + weight);
}

/* One row of the matrix. False: its place is outside of the input, where the region's extrapolation_value stands. */
static bool fill_row(const struct resample *r, int32_t axis, int64_t in, double x, float *weights)
{
    double scale = r->antialias && r->scales[axis] < 1 ? r->scales[axis] : 1, reach = r->mode == RESAMPLE_CUBIC ? 2 : 1;
    double all = 0, inside = 0;
    if (r->in_region && !(x >= 0 && x <= (double)(in - 1)))
        return false;
    double margin = reach / scale + 1; /* farther out every pixel is the end's */
    x = fmin(fmax(x, -margin), (double)(in - 1) + margin);
    if (r->mode == RESAMPLE_NEAREST) {
        weights[ssld_resize_round(r->rounding, x, in)] = 1;
        return true;
    }
    int64_t first = (int64_t)ceil(x - reach / scale), last = (int64_t)floor(x + reach / scale);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t tap = first; tap <= last; tap++) {
            bool outside = tap < 0 || tap >= in;
            double weight = r->mode == RESAMPLE_CUBIC ? cubic(r->cubic, scale * ((double)tap - x))
                                                      : triangle(scale * ((double)tap - x));
            if (pass == 0) {
                all += weight;
                inside += outside ? 0 : weight;
            } else if (!outside || !r->exclude_outside || inside == 0) {
                add_tap(weights, in, tap, weight / (r->exclude_outside && inside != 0 ? inside : r->antialias ? all : 1));
            }
        }
    return true;
}

/* The matrix (out, in) of an axis, or its transpose, and which rows lie inside. */
static ssld_status make_matrix(struct reader *reader, const onnx_node *node, const struct resample *r, int32_t axis, int64_t in,
                               bool transposed, struct operand *matrix, float *inside)
{
    int64_t out = r->sizes[axis];
    struct constant *made = NULL, *row = NULL;
    double scale = r->antialias && r->scales[axis] < 1 ? r->scales[axis] : 1;
    if (2 * 2 / scale > MOST_TAPS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "scale %g of axis %d", scale, axis);
    ssld_status status = ssld_onnx_new_constant(reader, false, in * out, &made);
    if (!status)
        status = ssld_onnx_new_constant(reader, false, in, &row);
    if (status)
        return status;
    for (int64_t o = 0; o < out; o++) {
        memset(row->floats, 0, (size_t)in * sizeof(float));
        inside[o] = fill_row(r, axis, in, place_of(r, axis, in, out, o), row->floats);
        for (int64_t i = 0; i < in; i++)
            made->floats[transposed ? i * out + o : o * in + i] = row->floats[i];
    }
    *matrix = (struct operand){ { 2, { transposed ? in : out, transposed ? out : in, 1, 1, 1, 1 }, -1, 1 }, SSLD_NO_VALUE, made };
    return SSLD_OK;
}

/* The axis is the last but one in a product from the left, the last in one from the right; before those it is moved. */
static ssld_status resample_axis(struct reader *reader, const onnx_node *node, const struct resample *r, int32_t axis,
                                 struct operand *image, float *inside)
{
    static const int32_t to_last[4] = { 0, 2, 3, 1 }, back[4] = { 0, 3, 1, 2 };
    struct operand matrix;
    int64_t in = image->view.dims[axis];
    ssld_status status = make_matrix(reader, node, r, axis, in, axis != 2, &matrix, inside);
    if (status || axis == 2)
        return status ? status : ssld_onnx_product(reader, node, &matrix, image, image);
    if (axis == 1 && (status = ssld_onnx_transpose(reader, node, image, to_last, image)))
        return status;
    status = ssld_onnx_product(reader, node, image, &matrix, image);
    return status || axis != 1 ? status : ssld_onnx_transpose(reader, node, image, back, image);
}

/* Zeros where all axes are inside, elsewhere the extrapolation_value. */
static ssld_status add_outside(struct reader *reader, const onnx_node *node, const struct resample *r,
                               struct constant *const *inside, struct operand *image)
{
    struct constant *made = NULL;
    struct operand outside = { .view = { 4, { 1, 1, 1, 1, 1, 1 }, -1, 1 }, .value = SSLD_NO_VALUE };
    int64_t elements = 1;
    for (int32_t axis = 1; axis < 4; axis++)
        elements *= outside.view.dims[axis] = inside[axis] ? r->sizes[axis] : 1;
    ssld_status status = ssld_onnx_new_constant(reader, false, elements, &made);
    if (status)
        return status;
    for (int64_t i = 0; i < elements; i++) {
        int64_t rest = i;
        bool all = true;
        for (int32_t axis = 3; axis > 0; axis--) {
            all = all && (!inside[axis] || inside[axis]->floats[rest % outside.view.dims[axis]] > 0);
            rest /= outside.view.dims[axis];
        }
        made->floats[i] = all ? 0 : r->extrapolation;
    }
    outside.constant = made;
    return ssld_onnx_binary(reader, node, SSLD_BINARY_ADD, image, &outside, image);
}

ssld_status ssld_onnx_resample(struct reader *reader, const onnx_node *node, const struct resample *r, struct operand *image)
{
    struct constant *inside[4] = { NULL, NULL, NULL, NULL };
    ssld_status status = SSLD_OK;
    for (int32_t axis = 1; axis < 4 && !status; axis++) {
        if (r->sizes[axis] == image->view.dims[axis] && r->scales[axis] == 1 && !r->in_region)
            continue;
        if (r->in_region && r->region[axis] == 0 && r->region[4 + axis] == 1 && r->sizes[axis] == image->view.dims[axis])
            continue;
        if (!(status = ssld_onnx_new_constant(reader, false, r->sizes[axis], &inside[axis])))
            status = resample_axis(reader, node, r, axis, image, inside[axis]->floats);
    }
    if (!status && r->in_region && r->extrapolation != 0)
        status = add_outside(reader, node, r, inside, image);
    return status;
}
