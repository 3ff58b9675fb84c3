/* SPDX-License-Identifier: BSD-2-Clause */
/* resize.c - Resize and Upsample, whose spelling changed with every few opsets. */
#include "onnx/resample.h"

#include <math.h>
#include <string.h>

/* What a node asks for, an entry for each axis of (N, C, H, W). */
struct request {
    float   scales[4];
    int64_t sizes[4];
};

/* Of nearest, Upsample and Resize of opset 10 take the pixel at floor(x / scale). */
static ssld_status emit_resize(struct reader *reader, const onnx_node *node, const struct operand *src,
                               const struct request *request, struct ssld_attributes *attributes)
{
    struct operand result;
    struct view view = src->view;
    if (request->sizes[0] != 1 || request->sizes[1] != view.dims[1])
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it resizes more than height and width");
    for (int axis = 0; axis < 2; axis++) {
        if (request->sizes[2 + axis] < 1 || request->sizes[2 + axis] > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it resizes to %lld",
                                    (long long)request->sizes[2 + axis]);
        attributes->scales[axis] = request->scales[2 + axis];
        attributes->sizes[2 + axis] = (int32_t)request->sizes[2 + axis];
        view.dims[2 + axis] = request->sizes[2 + axis];
    }
    /* The other axes for whoever looks: they stay. */
    attributes->sizes[0] = 1;
    attributes->sizes[1] = (int32_t)view.dims[1];
    ssld_status status = ssld_onnx_emit(reader, node, SSLD_OP_RESIZE, attributes, 1, src, &view, &result);
    return status ? status : ssld_onnx_give(reader, node, 0, &result);
}

/* By scales: out = floor(in * scale). */
static ssld_status request_scales(const struct reader *reader, const onnx_node *node, const struct view *view,
                                  int32_t count, const float *scales, const int64_t *axes, struct request *request)
{
    for (int32_t i = 0; i < count; i++) {
        double size = floor((double)view->dims[axes[i]] * scales[i]);
        if (!(scales[i] > 0) || !(size <= INT32_MAX))
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "scale %g of axis %lld", (double)scales[i],
                                    (long long)axes[i]);
        request->scales[axes[i]] = scales[i];
        request->sizes[axes[i]] = (int64_t)size;
    }
    return SSLD_OK;
}

static ssld_status request_sizes(const struct reader *reader, const onnx_node *node, const struct view *view,
                                 int32_t count, const struct whole *sizes, const int64_t *axes, struct request *request)
{
    for (int32_t i = 0; i < count; i++) {
        bool batch = axes[i] == view->batch;
        int64_t size = batch ? view->dims[axes[i]] : sizes[i].plus;
        bool kept = sizes[i].per == view->dims[axes[i]] || sizes[i].plus == view->dims[axes[i]] * reader->fixed_batch;
        if (batch ? !kept : sizes[i].per != 0 || size < 1)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "axis %lld gets %lld * N + %lld elements",
                                    (long long)axes[i], (long long)sizes[i].per, (long long)sizes[i].plus);
        request->sizes[axes[i]] = size;
        request->scales[axes[i]] = (float)((double)size / (double)view->dims[axes[i]]);
    }
    return SSLD_OK;
}

static ssld_status take_image(struct reader *reader, const onnx_node *node, size_t most, struct operand *src,
                              struct request *request)
{
    ssld_status status = ssld_onnx_need_inputs(reader, node, 1, most);
    if (!status)
        status = ssld_onnx_activation(reader, node, 0, src);
    if (!status && (src->view.ndims != 4 || src->view.batch || src->view.dims[0] != 1))
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input is not (N, C, H, W)");
    for (int i = 0; i < 4 && !status; i++) {
        request->scales[i] = 1;
        request->sizes[i] = src->view.dims[i];
    }
    return status;
}

/* Channels last, as TensorFlow has it: resized as (N, C, H, W) between two transposes, which the graph's passes take away. */
static ssld_status resize_last(struct reader *reader, const onnx_node *node, struct operand *src,
                               struct request *request, struct ssld_attributes *attributes)
{
    static const int32_t to_first[4] = { 0, 3, 1, 2 }, to_last[4] = { 0, 2, 3, 1 };
    struct request first = *request;
    struct operand moved, result;
    bool last = request->sizes[3] == src->view.dims[3] && request->sizes[1] != src->view.dims[1];
    if (!last)
        return emit_resize(reader, node, src, request, attributes);
    for (int i = 1; i < 4; i++) {
        first.scales[i] = request->scales[to_first[i]];
        first.sizes[i] = request->sizes[to_first[i]];
    }
    ssld_status status = ssld_onnx_transpose(reader, node, src, to_first, &moved);
    if (status || (status = emit_resize(reader, node, &moved, &first, attributes)))
        return status;
    moved = ssld_names_find(&reader->names, node->output[0])->operand;
    if ((status = ssld_onnx_transpose(reader, node, &moved, to_last, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

static const char *const modes[] = { "nearest", "linear", NULL };

/* The policies that keep an image's shape take one scale for all axes: the least or the largest. */
static void keep_aspect_ratio(const struct view *view, bool smaller, int32_t count, const int64_t *axes,
                              struct request *request)
{
    double chosen = 0;
    for (int32_t i = 0; i < count; i++) {
        double scale = (double)request->sizes[axes[i]] / (double)view->dims[axes[i]];
        if (axes[i] != view->batch && (!(chosen > 0) || (smaller ? scale < chosen : scale > chosen)))
            chosen = scale;
    }
    for (int32_t i = 0; i < count; i++) {
        double size = floor((double)view->dims[axes[i]] * chosen + 0.5);
        if (axes[i] == view->batch)
            continue;
        request->scales[axes[i]] = (float)chosen;
        request->sizes[axes[i]] = size < 1 ? 1 : size < INT32_MAX ? (int64_t)size : INT32_MAX;
    }
}

/* What a node asks for beside sizes. */
static ssld_status read_form(struct reader *reader, const onnx_node *node, const struct ssld_attributes *attributes,
                             int32_t count, const int64_t *axes, struct resample *form)
{
    static const char *const kernels[] = { "nearest", "linear", "cubic", NULL };
    static const char *const regions[] = { "tf_crop_and_resize", NULL };
    const onnx_attribute *coordinates = ssld_onnx_find_attribute(node, "coordinate_transformation_mode");
    float region[8];
    int64_t antialias = 0, exclude = 0;
    int32_t region_count = -1, mode = 0;
    ssld_status status;
    *form = (struct resample){ .coordinates = attributes->coordinates, .rounding = attributes->rounding, .cubic = -0.75f };
    for (int i = 0; i < 4; i++)
        form->region[4 + i] = 1;
    if ((status = ssld_onnx_attribute_word(reader, node, "mode", kernels, &form->mode)) ||
        (status = ssld_onnx_attribute_int(reader, node, "antialias", &antialias)) ||
        (status = ssld_onnx_attribute_int(reader, node, "exclude_outside", &exclude)) ||
        (status = ssld_onnx_attribute_float(reader, node, "cubic_coeff_a", &form->cubic)) ||
        (status = ssld_onnx_attribute_float(reader, node, "extrapolation_value", &form->extrapolation)))
        return status;
    form->antialias = antialias != 0 && form->mode != RESAMPLE_NEAREST;
    form->exclude_outside = exclude != 0 && form->mode == RESAMPLE_CUBIC;
    form->in_region = coordinates && coordinates->has_s && coordinates->s.len == strlen(regions[0]) &&
                      !memcmp(coordinates->s.data, regions[0], coordinates->s.len);
    if (!form->in_region)
        return SSLD_OK;
    if ((status = ssld_onnx_attribute_word(reader, node, "coordinate_transformation_mode", regions, &mode)) ||
        (status = ssld_onnx_floats(reader, node, NULL, 1, 8, region, &region_count)))
        return status;
    if (region_count != 2 * count)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its region has %d numbers for %d axes", region_count, count);
    for (int32_t i = 0; i < count; i++) {
        form->region[axes[i]] = region[i];
        form->region[4 + axes[i]] = region[count + i];
    }
    return SSLD_OK;
}

/* By the graph's operator where it has the form, and for height and width; else by products. */
static ssld_status resize_as(struct reader *reader, const onnx_node *node, struct operand *src, struct request *request,
                             struct resample *form, struct ssld_attributes *attributes)
{
    bool last = request->sizes[3] == src->view.dims[3] && request->sizes[1] != src->view.dims[1];
    bool channels = request->sizes[last ? 3 : 1] != src->view.dims[last ? 3 : 1];
    if (form->mode != RESAMPLE_CUBIC && !form->antialias && !form->in_region && !channels) {
        attributes->mode = form->mode == RESAMPLE_NEAREST ? SSLD_RESIZE_NEAREST : SSLD_RESIZE_LINEAR;
        return resize_last(reader, node, src, request, attributes);
    }
    struct operand image = *src;
    memcpy(form->scales, request->scales, sizeof form->scales);
    memcpy(form->sizes, request->sizes, sizeof form->sizes);
    for (int32_t axis = 1; axis < 4; axis++)
        if (form->sizes[axis] < 1 || form->sizes[axis] > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it resizes to %lld", (long long)form->sizes[axis]);
    if (form->sizes[0] != 1 || form->region[0] != 0 || form->region[4] != 1)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it resizes the batch");
    ssld_status status = ssld_onnx_resample(reader, node, form, &image);
    return status ? status : ssld_onnx_give(reader, node, 0, &image);
}

/* Opset 10: X, scales. Later: X, roi, scales or sizes. */
ssld_status ssld_onnx_convert_resize(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    static const char *const coordinates[] = { "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
                                               "half_pixel_symmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize", NULL };
    static const char *const roundings[] = { "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL };
    static const char *const policies[] = { "stretch", "not_larger", "not_smaller", NULL };
    struct operand src;
    struct request request;
    struct resample form;
    struct whole sizes[4];
    float scales[4];
    int64_t axes[4] = { 0, 1, 2, 3 };
    int32_t scale_count, size_count = -1, axis_count, policy = 0;
    bool old = reader->opset < 11;
    ssld_status status;
    (void)row;
    attributes->coordinates = old ? SSLD_COORDINATES_ASYMMETRIC : SSLD_COORDINATES_HALF_PIXEL;
    attributes->rounding = old ? SSLD_ROUND_FLOOR : SSLD_ROUND_PREFER_FLOOR;
    if ((status = take_image(reader, node, 4, &src, &request)) ||
        (status = ssld_onnx_attribute_word(reader, node, "coordinate_transformation_mode", coordinates,
                                           &attributes->coordinates)) ||
        (status = ssld_onnx_attribute_word(reader, node, "nearest_mode", roundings, &attributes->rounding)) ||
        (status = ssld_onnx_attribute_word(reader, node, "keep_aspect_ratio_policy", policies, &policy)) ||
        (status = ssld_onnx_integers(reader, node, "axes", SIZE_MAX, 4, axes, &axis_count)) ||
        (status = ssld_onnx_floats(reader, node, NULL, old ? 1 : 2, 4, scales, &scale_count)) ||
        (!old && (status = ssld_onnx_wholes(reader, node, NULL, 3, 4, sizes, &size_count))))
        return status;
    int32_t wanted = axis_count < 0 ? 4 : axis_count, given = size_count > 0 ? size_count : scale_count;
    for (int32_t i = 0; i < wanted; i++)
        if ((status = ssld_onnx_resolve_axis(reader, node, 4, &axes[i])))
            return status;
    if (given != wanted)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it has %d scales and %d sizes for %d axes", scale_count,
                                size_count, wanted);
    if ((status = size_count > 0 ? request_sizes(reader, node, &src.view, size_count, sizes, axes, &request)
                                 : request_scales(reader, node, &src.view, scale_count, scales, axes, &request)) ||
        (status = read_form(reader, node, attributes, wanted, axes, &form)))
        return status;
    if (policy && size_count > 0)
        keep_aspect_ratio(&src.view, policy == 1, wanted, axes, &request);
    return resize_as(reader, node, &src, &request, &form, attributes);
}

/* Opset 7: scales is an attribute; 9: an input. */
ssld_status ssld_onnx_convert_upsample(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                       struct ssld_attributes *attributes)
{
    struct operand src;
    struct request request;
    float scales[4];
    int32_t count;
    ssld_status status;
    (void)row;
    attributes->coordinates = SSLD_COORDINATES_ASYMMETRIC;
    attributes->rounding = SSLD_ROUND_FLOOR;
    static const int64_t axes[4] = { 0, 1, 2, 3 };
    if ((status = take_image(reader, node, 2, &src, &request)) ||
        (status = ssld_onnx_attribute_word(reader, node, "mode", modes, &attributes->mode)) ||
        (status = ssld_onnx_floats(reader, node, "scales", 1, 4, scales, &count)))
        return status;
    if (count != 4)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it has %d scales for 4 axes", count);
    if ((status = request_scales(reader, node, &src.view, count, scales, axes, &request)))
        return status;
    return resize_last(reader, node, &src, &request, attributes);
}
