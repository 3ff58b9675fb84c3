/* SPDX-License-Identifier: BSD-2-Clause */
/* shapes.c - where constants come from: Constant, and what is known of a tensor without its elements: Shape, Size, and what is
 * made of them, ConstantOfShape and Range. */
#include "onnx/convert.h"

#include <math.h>
#include <string.h>

#define MOST_RANGE (1 << 24)

static struct view vector_view(int64_t elements)
{
    return (struct view){ .ndims = 1, .dims = { elements, 1, 1, 1, 1, 1 }, .batch = -1, .outer = 1 };
}

/* Numbers of an attribute: one, or a list of them. */
static ssld_status give_numbers(struct reader *reader, const onnx_node *node, bool list, size_t count,
                                const float *floats, const int64_t *integers)
{
    struct constant *made = NULL;
    ssld_status status = ssld_onnx_new_constant(reader, !floats, (int64_t)count, &made);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        if (floats)
            made->floats[i] = floats[i];
        else
            made->wholes[i].plus = integers[i];
    }
    struct operand operand = { vector_view((int64_t)count), SSLD_NO_VALUE, made };
    operand.view.ndims = list;
    return ssld_onnx_give(reader, node, 0, &operand);
}

ssld_status ssld_onnx_convert_constant(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                       struct ssld_attributes *attributes)
{
    struct operand operand;
    const onnx_attribute *value = ssld_onnx_find_attribute(node, "value"), *one;
    ssld_status status = ssld_onnx_need_inputs(reader, node, 0, 0);
    (void)row;
    (void)attributes;
    if (status)
        return status;
    if (value) {
        if ((status = ssld_onnx_check_attribute_type(reader, node, value, TYPE_TENSOR)) ||
            (status = ssld_onnx_tensor_operand(reader, node, value->t, &operand)))
            return status;
        operand.constant->name = node->output[0];
        return ssld_onnx_give(reader, node, 0, &operand);
    }
    if ((one = ssld_onnx_find_attribute(node, "value_float")))
        return (status = ssld_onnx_check_attribute_type(reader, node, one, TYPE_FLOAT))
                   ? status : give_numbers(reader, node, false, 1, &one->f, NULL);
    if ((one = ssld_onnx_find_attribute(node, "value_int")))
        return (status = ssld_onnx_check_attribute_type(reader, node, one, TYPE_INT))
                   ? status : give_numbers(reader, node, false, 1, NULL, &one->i);
    if ((one = ssld_onnx_find_attribute(node, "value_floats")))
        return (status = ssld_onnx_check_attribute_type(reader, node, one, TYPE_FLOATS))
                   ? status
                   : give_numbers(reader, node, true, one->n_floats, one->floats ? one->floats : (const float[]){ 0 },
                                  NULL);
    if ((one = ssld_onnx_find_attribute(node, "value_ints")))
        return (status = ssld_onnx_check_attribute_type(reader, node, one, TYPE_INTS))
                   ? status : give_numbers(reader, node, true, one->n_ints, NULL, one->ints);
    return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it has no numbers");
}

static struct whole size_of_axis(const struct view *view, int32_t axis)
{
    return axis == view->batch ? (struct whole){ view->dims[axis], 0 } : (struct whole){ 0, view->dims[axis] };
}

static int64_t clip_axis(int64_t axis, int32_t ndims)
{
    axis += axis < 0 ? ndims : 0;
    return axis < 0 ? 0 : axis > ndims ? ndims : axis;
}

/* The sizes of axes start .. end (without end). */
ssld_status ssld_onnx_convert_shape(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand src;
    struct constant *made = NULL;
    int64_t start = 0, end = SSLD_MOST_DIMS;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "start", &start)) ||
        (status = ssld_onnx_attribute_int(reader, node, "end", &end)))
        return status;
    start = clip_axis(start, src.view.ndims);
    end = clip_axis(end, src.view.ndims);
    int64_t count = end > start ? end - start : 0;
    if ((status = ssld_onnx_new_constant(reader, true, count, &made)))
        return status;
    for (int64_t i = 0; i < count; i++)
        made->wholes[i] = size_of_axis(&src.view, (int32_t)(start + i));
    struct operand operand = { vector_view(count), SSLD_NO_VALUE, made };
    return ssld_onnx_give(reader, node, 0, &operand);
}

ssld_status ssld_onnx_convert_size(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    struct operand src;
    struct constant *made = NULL;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_new_constant(reader, true, 1, &made)))
        return status;
    int64_t elements = ssld_view_elements(&src.view);
    made->wholes[0] = src.view.batch >= 0 ? (struct whole){ elements, 0 } : (struct whole){ 0, elements };
    struct operand operand = { vector_view(1), SSLD_NO_VALUE, made };
    operand.view.ndims = 0;
    return ssld_onnx_give(reader, node, 0, &operand);
}

/* An axis of N elements is one of one, there for every image. */
ssld_status ssld_onnx_convert_constant_of_shape(struct reader *reader, const struct onnx_operator *row,
                                                const onnx_node *node, struct ssld_attributes *attributes)
{
    struct whole dims[SSLD_MOST_DIMS];
    struct view view = { .dims = { 1, 1, 1, 1, 1, 1 }, .batch = -1, .outer = 1 };
    struct operand number = { .constant = NULL };
    struct constant *made = NULL;
    const onnx_attribute *value = ssld_onnx_find_attribute(node, "value");
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) ||
        (status = ssld_onnx_wholes(reader, node, NULL, 0, SSLD_MOST_DIMS, dims, &view.ndims)))
        return status;
    for (int32_t i = 0; i < view.ndims; i++) {
        view.dims[i] = dims[i].per ? dims[i].per : dims[i].plus;
        if ((dims[i].per && (dims[i].plus || view.batch >= 0)) || view.dims[i] < 0 || view.dims[i] > INT32_MAX ||
            ssld_view_elements(&(struct view){ .ndims = i + 1,
                                               .dims = { view.dims[0], view.dims[1], view.dims[2], view.dims[3],
                                                         view.dims[4], view.dims[5] } }) > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %d has %lld * N + %lld elements", i,
                                    (long long)dims[i].per, (long long)dims[i].plus);
        view.batch = dims[i].per ? i : view.batch;
    }
    if (value && ((status = ssld_onnx_check_attribute_type(reader, node, value, TYPE_TENSOR)) ||
                  (status = ssld_onnx_tensor_operand(reader, node, value->t, &number))))
        return status;
    if (number.constant && number.constant->elements != 1)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its value is not one number");
    bool whole = number.constant && number.constant->whole;
    const float *filled = NULL;
    if ((number.constant && !whole && (status = ssld_onnx_constant_floats(reader, node, number.constant, &filled))) ||
        (status = ssld_onnx_new_constant(reader, whole, ssld_view_elements(&view), &made)))
        return status;
    for (int64_t i = 0; i < made->elements; i++) {
        if (whole)
            made->wholes[i] = number.constant->wholes[0];
        else
            made->floats[i] = filled ? filled[0] : 0;
    }
    struct operand operand = { view, SSLD_NO_VALUE, made };
    return ssld_onnx_give(reader, node, 0, &operand);
}

/* From a number to k * N steps behind it: k numbers for each image, which grow by k steps from one to the next. False: it is no
 * such range. */
static ssld_status range_of_batch(struct reader *reader, const onnx_node *node, bool *is_one)
{
    struct operand inputs[3];
    struct constant *made = NULL;
    ssld_status status = SSLD_OK;
    *is_one = true;
    for (size_t i = 0; i < 3 && !status; i++) {
        status = ssld_onnx_constant(reader, node, i, &inputs[i]);
        *is_one = *is_one && !status && inputs[i].constant->whole && inputs[i].constant->elements == 1;
    }
    if (status || !*is_one)
        return status;
    const struct whole start = inputs[0].constant->wholes[0], limit = inputs[1].constant->wholes[0],
                       step = inputs[2].constant->wholes[0];
    *is_one = limit.per && !start.per && !step.per && limit.plus == start.plus && step.plus > 0 && limit.per > 0 &&
              limit.per % step.plus == 0 && limit.per / step.plus <= MOST_RANGE;
    if (!*is_one)
        return SSLD_OK;
    int64_t count = limit.per / step.plus;
    if ((status = ssld_onnx_new_constant(reader, true, count, &made)))
        return status;
    for (int64_t i = 0; i < count; i++)
        made->wholes[i].plus = (int64_t)((uint64_t)start.plus + (uint64_t)i * (uint64_t)step.plus);
    made->each = limit.per;
    struct operand operand = { vector_view(count), SSLD_NO_VALUE, made };
    operand.view.batch = 0;
    return ssld_onnx_give(reader, node, 0, &operand);
}

/* start, start + step, ... before limit */
ssld_status ssld_onnx_convert_range(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand inputs[3];
    const float *floats[3] = { NULL, NULL, NULL };
    double numbers[3];
    struct constant *made = NULL;
    bool whole = true, of_batch = false;
    ssld_status status = ssld_onnx_need_inputs(reader, node, 3, 3);
    (void)row;
    (void)attributes;
    if (status || (status = range_of_batch(reader, node, &of_batch)) || of_batch)
        return status;
    for (size_t i = 0; i < 3 && !status; i++) {
        status = ssld_onnx_constant(reader, node, i, &inputs[i]);
        if (!status && inputs[i].constant->elements != 1)
            status = ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its input %zu is not one number", i);
        if (!status)
            status = ssld_onnx_constant_floats(reader, node, inputs[i].constant, &floats[i]);
        whole = whole && !status && inputs[i].constant->whole;
        numbers[i] = status ? 0 : inputs[i].constant->whole ? (double)inputs[i].constant->wholes[0].plus : floats[i][0];
    }
    if (status)
        return status;
    double count = ceil((numbers[1] - numbers[0]) / numbers[2]);
    if (!(count <= MOST_RANGE))
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "from %g to %g by %g", numbers[0], numbers[1], numbers[2]);
    if ((status = ssld_onnx_new_constant(reader, whole, count > 0 ? (int64_t)count : 0, &made)))
        return status;
    for (int64_t i = 0; i < made->elements; i++) {
        double number = numbers[0] + (double)i * numbers[2];
        if (whole)
            made->wholes[i].plus = (int64_t)number;
        else
            made->floats[i] = (float)number;
    }
    struct operand operand = { vector_view(made->elements), SSLD_NO_VALUE, made };
    return ssld_onnx_give(reader, node, 0, &operand);
}

/* A copy of a constant with parts of it replaced: each row of the indices says where one part of the updates goes. */
static ssld_status scatter(struct reader *reader, const onnx_node *node, const struct operand *inputs,
                           struct constant *made)
{
    const struct view *data = &inputs[0].view, *rows = &inputs[1].view;
    const struct constant *indices = inputs[1].constant, *updates = inputs[2].constant;
    int64_t depth = rows->dims[rows->ndims - 1], count = ssld_view_elements(rows) / depth, part = 1;
    for (int32_t i = (int32_t)depth; i < data->ndims; i++)
        part *= data->dims[i];
    if (count * part != updates->elements || !indices->whole)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its updates are not those of %lld places",
                                (long long)count);
    for (int64_t r = 0; r < count; r++) {
        int64_t at = 0;
        for (int64_t d = 0; d < depth; d++) {
            struct whole index = indices->wholes[r * depth + d];
            index.plus += index.plus < 0 ? data->dims[d] : 0;
            if (index.per || index.plus < 0 || index.plus >= data->dims[d])
                return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "index %lld is not one of %lld",
                                        (long long)index.plus, (long long)data->dims[d]);
            at = at * data->dims[d] + index.plus;
        }
        if (made->whole)
            memcpy(made->wholes + at * part, updates->wholes + r * part, (size_t)part * sizeof *made->wholes);
        else
            memcpy(made->floats + at * part, updates->floats + r * part, (size_t)part * sizeof *made->floats);
    }
    return SSLD_OK;
}

ssld_status ssld_onnx_convert_scatter_nd(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                         struct ssld_attributes *attributes)
{
    struct operand inputs[3], result;
    struct constant *made = NULL;
    const float *floats[2] = { NULL, NULL };
    ssld_status status = ssld_onnx_need_inputs(reader, node, 3, 3);
    (void)row;
    (void)attributes;
    static const char *const reductions[] = { "none", NULL };
    int32_t reduction = 0;
    if (!status)
        status = ssld_onnx_attribute_word(reader, node, "reduction", reductions, &reduction);
    for (size_t i = 0; i < 3 && !status; i++)
        status = ssld_onnx_constant(reader, node, i, &inputs[i]);
    if (status)
        return status;
    struct constant *data = inputs[0].constant, *updates = inputs[2].constant;
    int32_t ndims = inputs[1].view.ndims;
    int64_t depth = ndims ? inputs[1].view.dims[ndims - 1] : 0;
    if (depth < 1 || depth > inputs[0].view.ndims || data->whole != updates->whole)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its indices name %lld of %d axes", (long long)depth,
                                inputs[0].view.ndims);
    if ((!data->whole && ((status = ssld_onnx_constant_floats(reader, node, data, &floats[0])) ||
                          (status = ssld_onnx_constant_floats(reader, node, updates, &floats[1])))) ||
        (status = ssld_onnx_new_constant(reader, data->whole, data->elements, &made)))
        return status;
    if (data->whole)
        memcpy(made->wholes, data->wholes, (size_t)data->elements * sizeof *made->wholes);
    else
        memcpy(made->floats, data->floats, (size_t)data->elements * sizeof *made->floats);
    if ((status = scatter(reader, node, inputs, made)))
        return status;
    result = (struct operand){ inputs[0].view, SSLD_NO_VALUE, made };
    return ssld_onnx_give(reader, node, 0, &result);
}
