/* SPDX-License-Identifier: BSD-2-Clause */
/* windows.c - convolution and pooling.
 *
 * The graph's windows have two axes. What has one becomes an image of one row, (N, C, W) to (N, C, 1, W). A pooling of three is
 * two, one behind the other: over (H, W) of C * D channels, then over D of rows of H * W pixels. Maxima, sums and the numbers of
 * cells that a mean divides by all come apart so. */
#include "onnx/convert.h"

#include <string.h>

#define MOST_RANK 3 /* axes of a window */
#define NO_AXIS (-1)

/* A window as the file has it: an entry for each axis behind the channels. */
struct box {
    int32_t rank, padding; /* auto_pad */
    int64_t kernel[MOST_RANK], strides[MOST_RANK], dilations[MOST_RANK];
    int64_t pads[2 * MOST_RANK]; /* before each axis, then after each */
};

static ssld_status read_numbers(struct reader *reader, const onnx_node *node, const char *name, int32_t wanted,
                                int64_t otherwise, int64_t *numbers)
{
    int32_t count;
    for (int32_t i = 0; i < wanted; i++)
        numbers[i] = otherwise;
    int64_t given[2 * MOST_RANK];
    ssld_status status = ssld_onnx_integers(reader, node, name, SIZE_MAX, 2 * MOST_RANK, given, &count);
    if (status || count < 0)
        return status;
    if (count != wanted)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "attribute '%s' has %d numbers, not the %d of its input",
                                name, count, wanted);
    for (int32_t i = 0; i < wanted; i++) {
        if (given[i] < INT32_MIN || given[i] > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "attribute '%s' is %lld", name, (long long)given[i]);
        numbers[i] = given[i];
    }
    return SSLD_OK;
}

/* A kernel that is left out is 0. */
static ssld_status read_box(struct reader *reader, const onnx_node *node, int32_t rank, struct box *box)
{
    static const char *const modes[] = { "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", NULL };
    ssld_status status;
    *box = (struct box){ .rank = rank };
    if ((status = read_numbers(reader, node, "kernel_shape", rank, 0, box->kernel)) ||
        (status = read_numbers(reader, node, "strides", rank, 1, box->strides)) ||
        (status = read_numbers(reader, node, "dilations", rank, 1, box->dilations)) ||
        (status = read_numbers(reader, node, "pads", 2 * rank, 0, box->pads)))
        return status;
    return ssld_onnx_attribute_word(reader, node, "auto_pad", modes, &box->padding);
}

/* Input 0, (N, C, ...) with `least` to `most` axes behind the channels. */
static ssld_status take_source(struct reader *reader, const onnx_node *node, int32_t least, int32_t most, struct operand *src)
{
    ssld_status status = ssld_onnx_activation(reader, node, 0, src);
    if (status)
        return status;
    const struct view *view = &src->view;
    if (view->batch || view->dims[0] != 1 || view->ndims - 2 < least || view->ndims - 2 > most)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, H, W)");
    return SSLD_OK;
}

/* (N, a, b, c) of as many elements. */
static ssld_status as_image(struct reader *reader, const onnx_node *node, const struct operand *src, int64_t a, int64_t b,
                            int64_t c, struct operand *image)
{
    const struct whole dims[4] = { { 1, 0 }, { 0, a }, { 0, b }, { 0, c } };
    return ssld_onnx_reshape(reader, node, src, 4, dims, image);
}

/* Two axes of the box (NO_AXIS: one cell) as the graph's window over an image, auto_pad resolved. */
static ssld_status window_of(const struct reader *reader, const onnx_node *node, const struct box *box, const int32_t axes[2],
                             const struct view *image, struct ssld_window *window)
{
    for (int i = 0; i < 2; i++) {
        int32_t axis = axes[i];
        bool there = axis != NO_AXIS;
        window->kernel[i] = there ? (int32_t)box->kernel[axis] : 1;
        window->strides[i] = there ? (int32_t)box->strides[axis] : 1;
        window->dilations[i] = there ? (int32_t)box->dilations[axis] : 1;
        window->pads[i] = there && !box->padding ? (int32_t)box->pads[axis] : 0;
        window->pads[2 + i] = there && !box->padding ? (int32_t)box->pads[box->rank + axis] : 0;
        if (box->padding && (window->strides[i] < 1 || window->kernel[i] < 1 || window->kernel[i] > UINT16_MAX ||
                             window->dilations[i] < 1 || window->dilations[i] > INT16_MAX))
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "kernel %d, stride %d, dilation %d are no window",
                                    window->kernel[i], window->strides[i], window->dilations[i]);
    }
    if (box->padding > 1)
        ssld_window_pad_same(window, image->dims + 2, box->padding == 2);
    return SSLD_OK;
}

/* (N, C, H, W) where the graph says so, the size after a window: known to the graph's rule alone. */
static ssld_status add_window_node(struct reader *reader, const onnx_node *node, int32_t kind,
                                   const struct ssld_attributes *attributes, int32_t count, const int32_t *values,
                                   const struct view *src, struct operand *result)
{
    struct ssld_node probe = { .kind = kind, .input_count = count, .attributes = *attributes };
    struct ssld_value shape = { .role = SSLD_VALUE_ACTIVATION };
    struct view view = *src;
    memcpy(probe.inputs, values, (size_t)count * sizeof *values);
    probe.name = node->name && *node->name ? node->name : node->output[0];
    ssld_status status = ssld_ops[kind].shape(reader->graph, &probe, &shape);
    if (status)
        return status;
    memcpy(view.dims, shape.dims, sizeof view.dims);
    return ssld_onnx_add_node(reader, node, kind, attributes, count, values, &view, result);
}

/* -- Convolution -------------------------------------------------------------------------------------------------- */

ssld_status ssld_onnx_convert_conv(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    struct operand src, weights, result;
    struct box box;
    int32_t values[3] = { SSLD_NO_VALUE, SSLD_NO_VALUE, SSLD_NO_VALUE };
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 2, 3)) || (status = take_source(reader, node, 1, 2, &src)) ||
        (status = read_box(reader, node, src.view.ndims - 2, &box)) ||
        (status = ssld_onnx_constant(reader, node, 1, &weights)))
        return status;
    bool flat = box.rank == 1;
    int64_t *dims = weights.view.dims;
    if (weights.view.ndims != src.view.ndims)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' has %d dimensions, not %d",
                                node->input[1], weights.view.ndims, src.view.ndims);
    for (int32_t axis = 0; axis < box.rank; axis++)
        if (!box.kernel[axis])
            box.kernel[axis] = dims[2 + axis];
    if (flat) {
        dims[3] = dims[2];
        dims[2] = 1;
        if ((status = as_image(reader, node, &src, src.view.dims[1], 1, src.view.dims[2], &src)))
            return status;
    }
    values[0] = src.value;
    if ((status = window_of(reader, node, &box, flat ? (int32_t[]){ NO_AXIS, 0 } : (int32_t[]){ 0, 1 }, &src.view,
                            &attributes->window)) ||
        (status =
             ssld_onnx_add_constant(reader, node, weights.constant, SSLD_VALUE_PARAMETER, 4, dims, false, &values[1])))
        return status;
    bool bias = ssld_onnx_input_name(node, 2) != NULL;
    if ((bias && (status = ssld_onnx_vector(reader, node, 2, SSLD_VALUE_PARAMETER, dims[0], &values[2]))) ||
        (status = add_window_node(reader, node, row->kind, attributes, bias ? 3 : 2, values, &src.view, &result)))
        return status;
    if (flat) {
        const struct whole line[3] = { { 1, 0 }, { 0, result.view.dims[1] }, { 0, result.view.dims[3] } };
        if ((status = ssld_onnx_reshape(reader, node, &result, 3, line, &result)))
            return status;
    }
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Pooling ------------------------------------------------------------------------------------------------------ */

/* A mean that counts pads, but not what ceil_mode adds behind them: the pads become zeros of the image. */
static ssld_status put_zeros_around(struct reader *reader, const onnx_node *node, struct ssld_attributes *attributes,
                                    struct operand *image)
{
    struct ssld_attributes pad = ssld_op_defaults(SSLD_OP_PAD);
    struct ssld_window *window = &attributes->window;
    struct view view = image->view;
    for (int axis = 0; axis < 2; axis++) {
        pad.before[2 + axis] = window->pads[axis];
        pad.after[2 + axis] = window->pads[2 + axis];
        view.dims[2 + axis] += (int64_t)window->pads[axis] + window->pads[2 + axis];
    }
    ssld_window_pad_ceil(window, image->view.dims + 2);
    for (int axis = 0; axis < 2; axis++) {
        window->pads[axis] = 0;
        window->pads[2 + axis] -= pad.after[2 + axis];
    }
    attributes->ceil_mode = attributes->count_include_pad = 0;
    return ssld_onnx_emit(reader, node, SSLD_OP_PAD, &pad, 1, image, &view, image);
}

/* One pass over two axes of an image. fill: cells that ceil_mode adds are pads like any other. */
static ssld_status pool_axes(struct reader *reader, const onnx_node *node, int32_t kind, const struct ssld_attributes *attributes,
                             const struct box *box, const int32_t axes[2], bool fill, struct operand *image)
{
    struct ssld_attributes own = *attributes;
    ssld_status status = window_of(reader, node, box, axes, &image->view, &own.window);
    bool sane = own.ceil_mode, padded = false; /* what is not, the graph refuses */
    for (int i = 0; i < 4; i++) {
        sane = sane && own.window.pads[i] >= 0 && own.window.pads[i] <= INT16_MAX && own.window.strides[i % 2] > 0 &&
               own.window.strides[i % 2] <= INT16_MAX && own.window.kernel[i % 2] > 0;
        padded = padded || own.window.pads[i];
    }
    if (!status && sane && fill) {
        ssld_window_pad_ceil(&own.window, image->view.dims + 2);
        own.ceil_mode = 0;
    } else if (!status && sane && padded && own.count_include_pad) {
        status = put_zeros_around(reader, node, &own, image);
    }
    return status ? status : add_window_node(reader, node, kind, &own, 1, &image->value, &image->view, image);
}

static ssld_status pool(struct reader *reader, const onnx_node *node, int32_t kind, const struct ssld_attributes *attributes,
                        const struct box *box, bool fill, struct operand *src)
{
    static const int32_t lines[] = { NO_AXIS, 0 }, planes[] = { 0, 1 }, slices[] = { 1, 2 }, depth[] = { 0, NO_AXIS };
    const struct view view = src->view;
    const int64_t channels = view.dims[1], front = view.dims[2];
    struct operand image;
    ssld_status status;
    if (box->rank == 2)
        return pool_axes(reader, node, kind, attributes, box, planes, fill, src);
    if (box->rank == 1) {
        if ((status = as_image(reader, node, src, channels, 1, front, &image)) ||
            (status = pool_axes(reader, node, kind, attributes, box, lines, fill, &image)))
            return status;
        const struct whole line[3] = { { 1, 0 }, { 0, channels }, { 0, image.view.dims[3] } };
        return ssld_onnx_reshape(reader, node, &image, 3, line, src);
    }
    if ((status = as_image(reader, node, src, channels * front, view.dims[3], view.dims[4], &image)) ||
        (status = pool_axes(reader, node, kind, attributes, box, slices, fill, &image)))
        return status;
    int64_t height = image.view.dims[2], width = image.view.dims[3];
    if ((status = as_image(reader, node, &image, channels, front, height * width, &image)) ||
        (status = pool_axes(reader, node, kind, attributes, box, depth, fill, &image)))
        return status;
    const struct whole dims[5] = {
        { 1, 0 }, { 0, channels }, { 0, image.view.dims[2] }, { 0, height }, { 0, width }
    };
    return ssld_onnx_reshape(reader, node, &image, 5, dims, src);
}

ssld_status ssld_onnx_convert_pool(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    struct operand src;
    struct box box;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = take_source(reader, node, 1, MOST_RANK, &src)) ||
        (status = read_box(reader, node, src.view.ndims - 2, &box)) ||
        (status = pool(reader, node, row->kind, attributes, &box, false, &src)))
        return status;
    return ssld_onnx_give(reader, node, 0, &src);
}

/* The root of a sum of powers: |x|^p, its mean over the window times the window's cells, ^(1/p). */
ssld_status ssld_onnx_convert_lp_pool(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    struct operand src, power, root, cells, result;
    struct box box;
    int64_t p = 2, ceil_mode = 0;
    double count = 1;
    ssld_status status;
    (void)row;
    *attributes = ssld_op_defaults(SSLD_OP_AVERAGE_POOL);
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = take_source(reader, node, 1, MOST_RANK, &src)) ||
        (status = read_box(reader, node, src.view.ndims - 2, &box)) ||
        (status = ssld_onnx_attribute_int(reader, node, "p", &p)) ||
        (status = ssld_onnx_attribute_int(reader, node, "ceil_mode", &ceil_mode)))
        return status;
    for (int32_t i = 0; i < box.rank; i++)
        count *= (double)box.kernel[i];
    if (p < 1 || p > 64)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its p is %lld", (long long)p);
    attributes->count_include_pad = 1;
    attributes->ceil_mode = ceil_mode != 0;
    if ((status = ssld_onnx_scalar(reader, (float)p, &power)) ||
        (status = ssld_onnx_scalar(reader, 1.0f / (float)p, &root)) ||
        (status = ssld_onnx_scalar(reader, (float)count, &cells)) ||
        (status = ssld_onnx_unary(reader, node, SSLD_UNARY_ABS, 0, 0, &src, &result)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_POW, &result, &power, &result)) ||
        (status = pool(reader, node, SSLD_OP_AVERAGE_POOL, attributes, &box, true, &result)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, &result, &cells, &result)) ||
        (status = ssld_onnx_binary(reader, node, SSLD_BINARY_POW, &result, &root, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* Global pools are reductions over all axes behind the channels. */
ssld_status ssld_onnx_convert_global_pool(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                          struct ssld_attributes *attributes)
{
    struct operand src, power, root, result;
    int64_t p = 2;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) ||
        (status = ssld_onnx_activation(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "p", &p)))
        return status;
    bool lp = !strcmp(row->name, "GlobalLpPool");
    if (src.view.ndims < 3 || src.view.batch || p < 1 || p > 64)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, H, W), or its p is %lld",
                                (long long)p);
    struct view view = src.view;
    for (int32_t i = 2; i < view.ndims; i++) {
        attributes->axes[i] = 1;
        view.dims[i] = 1;
    }
    attributes->function = !lp ? !strcmp(row->name, "GlobalMaxPool") ? SSLD_REDUCE_MAX : SSLD_REDUCE_MEAN
                           : p == 1 ? SSLD_REDUCE_L1 : p == 2 ? SSLD_REDUCE_L2 : SSLD_REDUCE_SUM;
    bool spelled = lp && p > 2;
    result = src;
    if (spelled && ((status = ssld_onnx_scalar(reader, (float)p, &power)) ||
                    (status = ssld_onnx_scalar(reader, 1.0f / (float)p, &root)) ||
                    (status = ssld_onnx_unary(reader, node, SSLD_UNARY_ABS, 0, 0, &src, &result)) ||
                    (status = ssld_onnx_binary(reader, node, SSLD_BINARY_POW, &result, &power, &result))))
        return status;
    if ((status = ssld_onnx_emit(reader, node, SSLD_OP_REDUCE, attributes, 1, &result, &view, &result)) ||
        (spelled && (status = ssld_onnx_binary(reader, node, SSLD_BINARY_POW, &result, &root, &result))))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}
