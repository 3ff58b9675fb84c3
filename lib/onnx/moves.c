/* SPDX-License-Identifier: BSD-2-Clause */
/* moves.c - operators that compute nothing: shapes changed, axes moved, elements taken, joined, repeated, put around. */
#include "onnx/convert.h"

#include <stdlib.h>
#include <string.h>

#define MOST_PARTS 256 /* outputs of a Split */

/* The first input, of any kind, and nothing more than `most` others. */
static ssld_status take_source(struct reader *reader, const onnx_node *node, size_t least, size_t most,
                               struct operand *src)
{
    ssld_status status = ssld_onnx_need_inputs(reader, node, least, most);
    return status ? status : ssld_onnx_operand(reader, node, 0, src);
}

/* A view's dims as whole numbers. */
static void wholes_of_view(const struct view *view, struct whole dims[SSLD_MOST_DIMS])
{
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        dims[i] = i == view->batch ? (struct whole){ view->dims[i], 0 } : (struct whole){ 0, view->dims[i] };
}

/* -- Shapes ------------------------------------------------------------------------------------------------------- */

/* -1: as much as is left; `inferred` is its axis. Elements are counted for one image on both sides. */
static ssld_status infer_size(const struct reader *reader, const onnx_node *node, const struct view *from,
                              int32_t ndims, struct whole *dims, int32_t *inferred)
{
    int64_t product = 1, elements = ssld_view_elements(from);
    int32_t open = -1;
    for (int32_t i = 0; i < ndims; i++) {
        if (!dims[i].per && dims[i].plus == -1) {
            if (open >= 0)
                return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "two axes of its new shape are -1");
            open = i;
            continue;
        }
        int64_t size = dims[i].per ? dims[i].per : dims[i].plus;
        if (size < 0 || size > INT32_MAX || (product *= size) > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %d of its new shape has %lld elements", i,
                                    (long long)size);
    }
    if (open < 0)
        return SSLD_OK;
    if (!product || elements % product)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "%lld elements do not make rows of %lld",
                                (long long)elements, (long long)product);
    dims[open] = (struct whole){ 0, elements / product };
    *inferred = open;
    return SSLD_OK;
}

/* A file exported with a batch of B writes B where the batch is: it is 1 here. */
static void divide_by_batch(const struct view *from, int32_t ndims, struct whole *dims, int64_t batch)
{
    int64_t product = 1;
    if (from->batch < 0 || batch < 2)
        return;
    for (int32_t i = 0; i < ndims; i++) {
        if (dims[i].per || dims[i].plus < 0 || dims[i].plus > INT32_MAX ||
            (product *= dims[i].plus ? dims[i].plus : 1) > INT32_MAX)
            return;
    }
    if (product != ssld_view_elements(from) * batch)
        return;
    int64_t before = from->outer, passed = 1;
    for (int32_t i = 0; i < from->batch; i++)
        before *= from->dims[i];
    for (int32_t i = 0; i < ndims; i++) {
        int64_t size = dims[i].plus;
        if (before % passed == 0 && size % (before / passed * batch) == 0) {
            dims[i] = (struct whole){ size / batch, 0 };
            return;
        }
        passed *= size;
        if (passed > before)
            return;
    }
}

ssld_status ssld_onnx_convert_reshape(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    struct operand src, result;
    struct whole dims[SSLD_MOST_DIMS], old[SSLD_MOST_DIMS];
    int32_t count, open = -1;
    int64_t allow_zero = 0;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 2, 2, &src)) ||
        (status = ssld_onnx_wholes(reader, node, NULL, 1, SSLD_MOST_DIMS, dims, &count)) ||
        (status = ssld_onnx_attribute_int(reader, node, "allowzero", &allow_zero)))
        return status;
    wholes_of_view(&src.view, old);
    for (int32_t i = 0; i < count; i++)
        if (!dims[i].per && !dims[i].plus && !allow_zero) {
            if (i >= src.view.ndims)
                return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %d of its new shape is 0", i);
            dims[i] = old[i];
        }
    divide_by_batch(&src.view, count, dims, reader->fixed_batch);
    if ((status = infer_size(reader, node, &src.view, count, dims, &open)) ||
        (status = ssld_onnx_reshape_open(reader, node, &src, count, dims, open, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* To two axes: those before `axis` and those from it on. */
ssld_status ssld_onnx_convert_flatten(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    struct operand src, result;
    struct whole dims[2] = { { 0, 1 }, { 0, 1 } };
    int64_t axis = 1;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 1, 1, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)) ||
        (axis != src.view.ndims && (status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axis))))
        return status;
    for (int32_t i = 0; i < src.view.ndims; i++)
        dims[i >= axis].plus *= src.view.dims[i];
    if (src.view.batch >= 0)
        dims[src.view.batch >= axis] = (struct whole){ dims[src.view.batch >= axis].plus, 0 };
    if ((status = ssld_onnx_reshape(reader, node, &src, 2, dims, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

ssld_status ssld_onnx_convert_squeeze(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                      struct ssld_attributes *attributes)
{
    struct operand src, result;
    int32_t from[SSLD_MOST_DIMS], kept = 0, count;
    int64_t axes[SSLD_MOST_DIMS];
    bool goes[SSLD_MOST_DIMS] = { false };
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 1, 2, &src)) ||
        (status = ssld_onnx_integers(reader, node, "axes", 1, SSLD_MOST_DIMS, axes, &count)))
        return status;
    for (int32_t i = 0; i < src.view.ndims && count < 0; i++)
        goes[i] = src.view.dims[i] == 1 && i != src.view.batch;
    for (int32_t i = 0; i < count; i++) {
        if ((status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axes[i])))
            return status;
        if (src.view.dims[axes[i]] != 1)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %lld has %lld elements, not one",
                                    (long long)axes[i], (long long)src.view.dims[axes[i]]);
        goes[axes[i]] = true;
    }
    for (int32_t i = 0; i < src.view.ndims; i++)
        if (!goes[i])
            from[kept++] = i;
    if ((status = ssld_onnx_rearrange(reader, node, &src, kept, from, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

ssld_status ssld_onnx_convert_unsqueeze(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                        struct ssld_attributes *attributes)
{
    struct operand src, result;
    int32_t from[SSLD_MOST_DIMS] = { 0 }, count, next = 0;
    int64_t axes[SSLD_MOST_DIMS];
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 1, 2, &src)) ||
        (status = ssld_onnx_integers(reader, node, "axes", 1, SSLD_MOST_DIMS, axes, &count)))
        return status;
    int32_t ndims = src.view.ndims + (count > 0 ? count : 0);
    if (ndims > SSLD_MOST_DIMS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it makes %d dimensions, more than %d", ndims,
                                SSLD_MOST_DIMS);
    for (int32_t i = 0; i < count; i++) {
        if ((status = ssld_onnx_resolve_axis(reader, node, ndims, &axes[i])))
            return status;
        if (from[axes[i]] < 0)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %lld is there twice", (long long)axes[i]);
        from[axes[i]] = -1;
    }
    for (int32_t i = 0; i < ndims; i++)
        from[i] = from[i] < 0 ? -1 : next++;
    if ((status = ssld_onnx_rearrange(reader, node, &src, ndims, from, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

ssld_status ssld_onnx_convert_transpose(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                        struct ssld_attributes *attributes)
{
    struct operand src, result;
    int64_t order[SSLD_MOST_DIMS];
    int32_t perm[SSLD_MOST_DIMS] = { 0 }, count;
    uint32_t seen = 0;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 1, 1, &src)) ||
        (status = ssld_onnx_integers(reader, node, "perm", 1, SSLD_MOST_DIMS, order, &count)))
        return status;
    if (count >= 0 && count != src.view.ndims)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "perm has %d numbers for %d axes", count, src.view.ndims);
    for (int32_t i = 0; i < src.view.ndims; i++) {
        int64_t axis = count < 0 ? src.view.ndims - 1 - i : order[i];
        if (axis < 0 || axis >= src.view.ndims || (seen >> axis & 1))
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "perm[%d] is %lld", i, (long long)axis);
        seen |= 1u << axis;
        perm[i] = (int32_t)axis;
    }
    if ((status = ssld_onnx_transpose(reader, node, &src, perm, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Joining and taking apart ------------------------------------------------------------------------------------- */

/* Along `axis`; where one input has the batch, the others have it too, or are there for every image. */
static ssld_status joined_view(const struct reader *reader, const onnx_node *node, int32_t count,
                               struct operand *operands, int32_t axis, struct view *view)
{
    *view = operands[0].view;
    view->dims[axis] = 0;
    for (int32_t i = 0; i < count; i++) {
        const struct view *own = &operands[i].view;
        bool fits = own->ndims == view->ndims;
        for (int32_t d = 0; d < view->ndims && fits; d++)
            fits = d == axis || own->dims[d] == view->dims[d];
        if (!fits)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its inputs differ in more than axis %d", axis);
        if (own->batch >= 0 && view->batch >= 0 && (own->batch != view->batch || own->outer != view->outer))
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                    "its inputs have the batch in different places: it would mix images");
        if (own->batch >= 0) {
            view->batch = own->batch;
            view->outer = own->outer;
        }
        view->dims[axis] += own->dims[axis];
    }
    return view->batch < 0 ? SSLD_OK : ssld_onnx_need_own_axis(reader, node, view, axis);
}

static ssld_status join_operands(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                 struct ssld_attributes *attributes, int64_t axis, int32_t count,
                                 struct operand *operands, struct operand *result)
{
    struct view view;
    ssld_status status;
    if ((status = ssld_onnx_resolve_axis(reader, node, operands[0].view.ndims, &axis)) ||
        (status = joined_view(reader, node, count, operands, (int32_t)axis, &view)))
        return status;
    attributes->axis = (int32_t)axis;
    return ssld_onnx_emit(reader, node, row->kind, attributes, count, operands, &view, result);
}

/* More inputs than a node of the graph has become several nodes. Vectors of whole numbers may have no elements: they vanish. */
ssld_status ssld_onnx_convert_concat(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    struct operand operands[SSLD_MOST_INPUTS], result;
    int32_t count = 0;
    int64_t axis = 0;
    ssld_status status;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, node->n_input)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)))
        return status;
    for (size_t i = 0; i < node->n_input; i++) {
        if (count == SSLD_MOST_INPUTS) { /* join what there is, and go on with that as the first */
            if ((status = join_operands(reader, row, node, attributes, axis, count, operands, &result)))
                return status;
            operands[0] = result;
            count = 1;
        }
        if (!ssld_onnx_input_name(node, i))
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its input %zu is left out", i);
        if ((status = ssld_onnx_operand(reader, node, i, &operands[count])))
            return status;
        count += !(operands[count].constant && !operands[count].constant->elements && (i + 1 < node->n_input || count));
    }
    if ((status = join_operands(reader, row, node, attributes, axis, count, operands, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* Part of a tensor: of each axis sizes[i] elements from starts[i] on, steps[i] apart. All of it: nothing is emitted. */
static ssld_status take_part(struct reader *reader, const onnx_node *node, const struct operand *src,
                             const struct ssld_attributes *part, struct operand *result)
{
    struct view view = src->view;
    bool all = true;
    for (int32_t i = 0; i < view.ndims; i++) {
        bool whole = !part->starts[i] && part->steps[i] == 1 && part->sizes[i] == view.dims[i];
        ssld_status status = whole ? SSLD_OK : ssld_onnx_need_own_axis(reader, node, &view, i);
        if (status)
            return status;
        view.dims[i] = part->sizes[i];
        all = all && whole;
    }
    *result = *src;
    return all ? SSLD_OK : ssld_onnx_emit(reader, node, SSLD_OP_STRIDED_SLICE, part, 1, src, &view, result);
}

static struct ssld_attributes everything_of(const struct view *view)
{
    struct ssld_attributes part = ssld_op_defaults(SSLD_OP_STRIDED_SLICE);
    for (int32_t i = 0; i < view->ndims; i++)
        part.sizes[i] = (int32_t)view->dims[i];
    return part;
}

/* Sizes are an attribute up to opset 12, an input later; left out: equal, the last one smaller if need be. */
ssld_status ssld_onnx_convert_split(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand src, result;
    int32_t count, outputs = (int32_t)node->n_output;
    int64_t axis = 0, sizes[MOST_PARTS], begin = 0, sum = 0;
    ssld_status status;
    (void)row;
    (void)attributes;
    if (node->n_output > MOST_PARTS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it has %zu outputs, more than %d", node->n_output,
                                MOST_PARTS);
    if (!node->n_input || !ssld_onnx_input_name(node, 0) || node->n_input > 2)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it has %zu inputs; Split takes 1 or 2", node->n_input);
    if ((status = ssld_onnx_operand(reader, node, 0, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)) ||
        (status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axis)) ||
        (status = ssld_onnx_integers(reader, node, "split", 1, MOST_PARTS, sizes, &count)))
        return status;
    int64_t size = src.view.dims[axis], each = (size + outputs - 1) / outputs;
    for (int32_t i = 0; i < outputs && count <= 0; i++)
        sizes[i] = i + 1 < outputs ? each : size - each * (outputs - 1);
    count = count <= 0 ? outputs : count;
    for (int32_t i = 0; i < count; i++)
        sum = sizes[i] < 1 || sizes[i] > size ? INT32_MIN : sum + sizes[i];
    if (count != outputs || sum != size)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its %d parts do not make up %lld elements for %d outputs",
                                count, (long long)size, outputs);
    for (int32_t i = 0; i < count; i++) {
        struct ssld_attributes part = everything_of(&src.view);
        part.starts[axis] = (int32_t)begin;
        part.sizes[axis] = (int32_t)sizes[i];
        begin += sizes[i];
        if (!*node->output[i] || !ssld_names_find(&reader->names, node->output[i])->live)
            continue;
        if ((status = take_part(reader, node, &src, &part, &result)) ||
            (status = ssld_onnx_give(reader, node, (size_t)i, &result)))
            return status;
    }
    return SSLD_OK;
}

/* ONNX's rule for one axis: negative numbers count from the end, what lies outside is cut off. */
static void place_slice(int64_t begin, int64_t end, int64_t step, int64_t size, int32_t axis,
                        struct ssld_attributes *part)
{
    int64_t least = step > 0 ? 0 : -1, most = step > 0 ? size : size - 1;
    begin += begin < 0 ? size : 0;
    end = end < 0 ? (end < -size ? -1 - size : end) + size : end;
    begin = begin < 0 ? 0 : begin > most ? most : begin;
    end = end < least ? least : end > size ? size : end;
    int64_t span = step > 0 ? end - begin : begin - end, stride = step > 0 ? step : -step;
    part->starts[axis] = (int32_t)begin;
    part->sizes[axis] = (int32_t)(span <= 0 ? 0 : (span + stride - 1) / stride);
    part->steps[axis] = (int32_t)(stride > size ? (step > 0 ? size : -size) : step);
}

ssld_status ssld_onnx_convert_slice(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                    struct ssld_attributes *attributes)
{
    struct operand src, result;
    struct whole begins[SSLD_MOST_DIMS], ends[SSLD_MOST_DIMS];
    int64_t axes[SSLD_MOST_DIMS] = { 0, 1, 2, 3, 4, 5 }, steps[SSLD_MOST_DIMS] = { 1, 1, 1, 1, 1, 1 };
    int32_t count, others;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 1, 5, &src)) ||
        (status = ssld_onnx_wholes(reader, node, "starts", 1, SSLD_MOST_DIMS, begins, &count)) ||
        (status = ssld_onnx_wholes(reader, node, "ends", 2, SSLD_MOST_DIMS, ends, &others)))
        return status;
    if (count < 0 || count != others || count > src.view.ndims)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it does not say where it starts and ends");
    if ((status = ssld_onnx_integers(reader, node, "axes", 3, SSLD_MOST_DIMS, axes, &others)))
        return status;
    bool wrong = others >= 0 && others != count;
    if ((status = ssld_onnx_integers(reader, node, NULL, 4, SSLD_MOST_DIMS, steps, &others)))
        return status;
    if (wrong || (others >= 0 && others != count))
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its lists have different lengths");
    struct ssld_attributes part = everything_of(&src.view);
    for (int32_t i = 0; i < count; i++) {
        if ((status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axes[i])))
            return status;
        bool batch = axes[i] == src.view.batch;
        /* 0 to N, or to the end: the whole batch. */
        bool all = batch && !begins[i].per && !begins[i].plus && steps[i] == 1 &&
                   (ends[i].per == src.view.dims[axes[i]] || (!ends[i].per && ends[i].plus >= INT32_MAX));
        if (all)
            continue;
        if (batch || begins[i].per || ends[i].per)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                    "its axis %lld is the batch's, or cut by it: it would mix "
                                    "images",
                                    (long long)axes[i]);
        if (!steps[i] || steps[i] == INT64_MIN)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its step is %lld", (long long)steps[i]);
        place_slice(begins[i].plus, ends[i].plus, steps[i], src.view.dims[axes[i]], (int32_t)axes[i], &part);
    }
    if ((status = take_part(reader, node, &src, &part, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Gather ------------------------------------------------------------------------------------------------------- */

/* The indices as a vector, none negative; `run`: they are one after the other, a slice. */
static ssld_status take_indices(struct reader *reader, const onnx_node *node, const struct operand *given, int64_t size,
                                struct operand *vector, bool *run)
{
    struct constant *made = NULL;
    const struct constant *from = given->constant;
    ssld_status status = from->whole ? ssld_onnx_new_constant(reader, false, from->elements, &made)
                                     : ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its indices are not whole numbers");
    if (status)
        return status;
    *run = from->elements > 0;
    for (int64_t i = 0; i < from->elements; i++) {
        int64_t index = from->wholes[i].plus + (from->wholes[i].plus < 0 ? size : 0);
        if (from->wholes[i].per || index < 0 || index >= size)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "index %lld is %lld of %lld", (long long)i,
                                    (long long)from->wholes[i].plus, (long long)size);
        made->floats[i] = (float)index;
        *run = *run && made->floats[i] == made->floats[0] + (float)i;
    }
    *vector = (struct operand){ { .ndims = 1, .dims = { from->elements, 1, 1, 1, 1, 1 }, .batch = -1, .outer = 1 },
                                SSLD_NO_VALUE, made };
    return SSLD_OK;
}

/* The axis becomes those of the indices: none for a number. */
static ssld_status put_index_axes(struct reader *reader, const onnx_node *node, const struct operand *taken,
                                  int32_t axis, const struct view *indices, struct operand *result)
{
    struct whole dims[2 * SSLD_MOST_DIMS], old[SSLD_MOST_DIMS];
    int32_t count = 0;
    wholes_of_view(&taken->view, old);
    for (int32_t i = 0; i < taken->view.ndims; i++) {
        for (int32_t d = 0; d < indices->ndims && i == axis; d++)
            dims[count++] = d == indices->batch ? (struct whole){ indices->dims[d], 0 }
                                                : (struct whole){ 0, indices->dims[d] };
        if (i != axis)
            dims[count++] = old[i];
    }
    if (count > SSLD_MOST_DIMS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it makes %d dimensions, more than %d", count,
                                SSLD_MOST_DIMS);
    return ssld_onnx_reshape(reader, node, taken, count, dims, result);
}

/* Indices that go on from image to image by as many elements as an image has: within its own elements each image takes the same
 * ones. The newer exporter of PyTorch spells a view of a tensor so. */
static ssld_status gather_of_batch(struct reader *reader, const onnx_node *node, const struct operand *src, int32_t axis,
                                   const struct operand *indices)
{
    struct operand operands[2], result, own = *indices;
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_GATHER);
    struct view view = src->view;
    bool run = false;
    ssld_status status;
    if (src->view.batch != axis || src->view.outer != 1 || indices->constant->each != src->view.dims[axis] ||
        indices->view.batch < 0 || indices->view.outer != 1)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it takes elements of other images: it would mix images");
    for (int32_t i = 0; i < indices->view.batch; i++)
        if (indices->view.dims[i] != 1)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it moves the batch behind its axis %d", i);
    own.constant = NULL;
    if ((status = ssld_onnx_new_constant(reader, true, indices->constant->elements, &own.constant)))
        return status;
    memcpy(own.constant->wholes, indices->constant->wholes, (size_t)own.constant->elements * sizeof *own.constant->wholes);
    operands[0] = *src;
    if ((status = take_indices(reader, node, &own, src->view.dims[axis], &operands[1], &run)))
        return status;
    view.dims[axis] = operands[1].constant->elements;
    attributes.axis = axis;
    result = *src;
    bool all = run && view.dims[axis] == src->view.dims[axis];
    if (!all && (status = ssld_onnx_emit(reader, node, SSLD_OP_GATHER, &attributes, 2, operands, &view, &result)))
        return status;
    if ((status = put_index_axes(reader, node, &result, axis, &indices->view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

ssld_status ssld_onnx_convert_gather(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    struct operand operands[2], indices, result;
    int64_t axis = 0;
    bool run = false;
    ssld_status status;
    if ((status = take_source(reader, node, 2, 2, &operands[0])) ||
        (status = ssld_onnx_operand(reader, node, 1, &indices)) ||
        (status = ssld_onnx_attribute_int(reader, node, "axis", &axis)) ||
        (status = ssld_onnx_resolve_axis(reader, node, operands[0].view.ndims, &axis)))
        return status;
    if (indices.constant && indices.constant->each)
        return gather_of_batch(reader, node, &operands[0], (int32_t)axis, &indices);
    if ((status = ssld_onnx_constant(reader, node, 1, &indices)) ||
        (status = ssld_onnx_need_own_axis(reader, node, &operands[0].view, (int32_t)axis)) ||
        (status = take_indices(reader, node, &indices, operands[0].view.dims[axis], &operands[1], &run)))
        return status;
    if (run) {
        struct ssld_attributes part = everything_of(&operands[0].view);
        part.starts[axis] = (int32_t)operands[1].constant->floats[0];
        part.sizes[axis] = (int32_t)operands[1].constant->elements;
        status = take_part(reader, node, &operands[0], &part, &result);
    } else {
        struct view view = operands[0].view;
        view.dims[axis] = operands[1].constant->elements;
        attributes->axis = (int32_t)axis;
        status = ssld_onnx_emit(reader, node, row->kind, attributes, 2, operands, &view, &result);
    }
    if (status || (status = put_index_axes(reader, node, &result, (int32_t)axis, &indices.view, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Repeating ---------------------------------------------------------------------------------------------------- */

/* TILE by repeats; a constant repeated N times along an axis of one element is there for every image. */
static ssld_status tile(struct reader *reader, const onnx_node *node, const struct operand *src,
                        const struct whole *repeats, struct operand *result)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_TILE);
    struct view view = src->view;
    bool needed = false;
    *result = *src;
    for (int32_t i = 0; i < view.ndims; i++) {
        int64_t times = repeats[i].per ? repeats[i].per : repeats[i].plus;
        bool by_batch = repeats[i].per && !repeats[i].plus && view.batch < 0 && src->constant;
        if ((repeats[i].per && !by_batch) || times < 1 || times > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it repeats axis %d %lld * N + %lld times", i,
                                    (long long)repeats[i].per, (long long)repeats[i].plus);
        if (i == view.batch && times > 1)
            return ssld_onnx_need_own_axis(reader, node, &view, i);
        if (by_batch) {
            view.batch = i;
            view.outer = 1;
        }
        attributes.sizes[i] = (int32_t)times;
        view.dims[i] *= times;
        needed = needed || times > 1;
    }
    if (needed)
        return ssld_onnx_emit(reader, node, SSLD_OP_TILE, &attributes, 1, src, &view, result);
    result->view = view;
    return SSLD_OK;
}

ssld_status ssld_onnx_convert_tile(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    struct operand src, result;
    struct whole repeats[SSLD_MOST_DIMS];
    int32_t count;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 2, 2, &src)) ||
        (status = ssld_onnx_wholes(reader, node, NULL, 1, SSLD_MOST_DIMS, repeats, &count)))
        return status;
    if (count != src.view.ndims)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it says how often for %d of %d axes", count,
                                src.view.ndims);
    if ((status = tile(reader, node, &src, repeats, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* Axes of one element grow to the shape that is asked for; ONNX lets the shape have a 1 where the input has more. */
ssld_status ssld_onnx_convert_expand(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                     struct ssld_attributes *attributes)
{
    struct operand src, result;
    struct whole asked[SSLD_MOST_DIMS], repeats[SSLD_MOST_DIMS];
    int32_t count, from[SSLD_MOST_DIMS];
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_source(reader, node, 2, 2, &src)) ||
        (status = ssld_onnx_wholes(reader, node, NULL, 1, SSLD_MOST_DIMS, asked, &count)))
        return status;
    int32_t ndims = count > src.view.ndims ? count : src.view.ndims;
    for (int32_t i = 0; i < ndims; i++)
        from[i] = i - (ndims - src.view.ndims) < 0 ? -1 : i - (ndims - src.view.ndims);
    if ((status = ssld_onnx_rearrange(reader, node, &src, ndims, from, &src)))
        return status;
    for (int32_t i = 0; i < ndims; i++) {
        struct whole size = i - (ndims - count) < 0 ? (struct whole){ 0, 1 } : asked[i - (ndims - count)];
        int64_t own = src.view.dims[i];
        bool same = i == src.view.batch ? size.per == own && !size.plus : !size.per && size.plus == own;
        bool one = (!size.per && size.plus == 1) || (i == src.view.batch && !size.per && size.plus == own);
        if (!same && !one && own != 1)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT,
                                    "axis %d has %lld elements, not the %lld of its new shape", i, (long long)own,
                                    (long long)(size.per ? size.per : size.plus));
        repeats[i] = same || one ? (struct whole){ 0, 1 } : size;
    }
    if ((status = tile(reader, node, &src, repeats, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

/* -- Depth and space ---------------------------------------------------------------------------------------------- */

/* Reshape to six axes, transpose, reshape back. */
static ssld_status rearrange_image(struct reader *reader, const onnx_node *node, const int64_t inner[6],
                                   const int32_t perm[6], const int64_t outer[4])
{
    struct operand src, result;
    struct whole six[6], four[4];
    ssld_status status = ssld_onnx_image(reader, node, &src);
    for (int i = 0; i < 6; i++)
        six[i] = i ? (struct whole){ 0, inner[i] } : (struct whole){ 1, 0 };
    for (int i = 0; i < 4; i++)
        four[i] = i ? (struct whole){ 0, outer[i] } : (struct whole){ 1, 0 };
    if (status || (status = ssld_onnx_reshape(reader, node, &src, 6, six, &result)) ||
        (status = ssld_onnx_transpose(reader, node, &result, perm, &result)) ||
        (status = ssld_onnx_reshape(reader, node, &result, 4, four, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}

static ssld_status take_block(struct reader *reader, const onnx_node *node, struct view *view, int64_t *block)
{
    struct operand src;
    ssld_status status;
    *block = 0;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_image(reader, node, &src)) ||
        (status = ssld_onnx_attribute_int(reader, node, "blocksize", block)))
        return status;
    *view = src.view;
    return *block >= 1 && *block <= 4096
               ? SSLD_OK
               : ssld_onnx_refuse(reader, node, SSLD_FORMAT, "blocks of %lld", (long long)*block);
}

ssld_status ssld_onnx_convert_depth_to_space(struct reader *reader, const struct onnx_operator *row,
                                             const onnx_node *node, struct ssld_attributes *attributes)
{
    static const char *const modes[] = { "DCR", "CRD", NULL };
    static const int32_t perms[2][6] = { { 0, 3, 4, 1, 5, 2 }, { 0, 1, 4, 2, 5, 3 } };
    struct view view;
    int32_t mode = 0;
    int64_t block;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_block(reader, node, &view, &block)) ||
        (status = ssld_onnx_attribute_word(reader, node, "mode", modes, &mode)))
        return status;
    int64_t depth = view.dims[1] / (block * block), h = view.dims[2], w = view.dims[3];
    if (view.dims[1] % (block * block))
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "%lld channels do not make blocks of %lld x %lld",
                                (long long)view.dims[1], (long long)block, (long long)block);
    const int64_t inner[2][6] = { { 1, block, block, depth, h, w }, { 1, depth, block, block, h, w } };
    return rearrange_image(reader, node, inner[mode], perms[mode], (int64_t[]){ 1, depth, h * block, w * block });
}

ssld_status ssld_onnx_convert_space_to_depth(struct reader *reader, const struct onnx_operator *row,
                                             const onnx_node *node, struct ssld_attributes *attributes)
{
    static const char *const modes[] = { "DCR", "CRD", NULL };
    static const int32_t perms[2][6] = { { 0, 3, 5, 1, 2, 4 }, { 0, 1, 3, 5, 2, 4 } };
    struct view view;
    int32_t mode = 0;
    int64_t block;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = take_block(reader, node, &view, &block)) ||
        (status = ssld_onnx_attribute_word(reader, node, "mode", modes, &mode)))
        return status;
    int64_t h = view.dims[2] / block, w = view.dims[3] / block;
    if (view.dims[2] % block || view.dims[3] % block)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "%lld x %lld pixels do not make blocks of %lld",
                                (long long)view.dims[2], (long long)view.dims[3], (long long)block);
    return rearrange_image(reader, node, (int64_t[]){ 1, view.dims[1], h, block, w, block }, perms[mode],
                           (int64_t[]){ 1, view.dims[1] * block * block, h, w });
}

/* -- Pad ---------------------------------------------------------------------------------------------------------- */

/* Negative pads cut off: a slice before. */
static ssld_status emit_pad(struct reader *reader, const onnx_node *node, struct operand *src, const int64_t *before,
                            const int64_t *after, struct ssld_attributes *attributes, struct operand *result)
{
    struct ssld_attributes part = everything_of(&src->view);
    struct view view;
    bool needed = false;
    for (int32_t i = 0; i < src->view.ndims; i++) {
        int64_t cut_before = before[i] < 0 ? -before[i] : 0, cut_after = after[i] < 0 ? -after[i] : 0;
        if (before[i] > INT32_MAX || after[i] > INT32_MAX || before[i] < -INT32_MAX || after[i] < -INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %d: pads %lld and %lld", i, (long long)before[i],
                                    (long long)after[i]);
        part.starts[i] = (int32_t)cut_before;
        part.sizes[i] = (int32_t)(src->view.dims[i] - cut_before - cut_after);
        attributes->before[i] = (int32_t)(before[i] > 0 ? before[i] : 0);
        attributes->after[i] = (int32_t)(after[i] > 0 ? after[i] : 0);
        if (src->view.dims[i] - cut_before - cut_after < 1)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "axis %d: pads %lld and %lld leave nothing", i,
                                    (long long)before[i], (long long)after[i]);
    }
    ssld_status status = take_part(reader, node, src, &part, result);
    view = result->view;
    for (int32_t i = 0; i < view.ndims && !status; i++) {
        int64_t more = (int64_t)attributes->before[i] + attributes->after[i];
        needed = needed || more;
        view.dims[i] += more;
        if (more)
            status = ssld_onnx_need_own_axis(reader, node, &view, i);
    }
    return status || !needed ? status : ssld_onnx_emit(reader, node, SSLD_OP_PAD, attributes, 1, result, &view, result);
}

/* Pads and value are attributes up to opset 10, inputs later; axes since 18. */
ssld_status ssld_onnx_convert_pad(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                  struct ssld_attributes *attributes)
{
    static const char *const modes[] = { "constant", "reflect", "edge", "wrap", NULL };
    struct operand src, result;
    int64_t pads[2 * SSLD_MOST_DIMS], axes[SSLD_MOST_DIMS] = { 0, 1, 2, 3, 4, 5 }, before[SSLD_MOST_DIMS] = { 0 },
            after[SSLD_MOST_DIMS] = { 0 };
    int32_t count, given;
    ssld_status status;
    (void)row;
    attributes->alpha = 0;
    if ((status = take_source(reader, node, 1, 4, &src)) ||
        (status = ssld_onnx_integers(reader, node, "pads", 1, 2 * SSLD_MOST_DIMS, pads, &count)) ||
        (status = ssld_onnx_attribute_float(reader, node, "value", &attributes->alpha)) ||
        (status = ssld_onnx_number(reader, node, 2, &attributes->alpha)) ||
        (status = ssld_onnx_integers(reader, node, NULL, 3, SSLD_MOST_DIMS, axes, &given)) ||
        (status = ssld_onnx_attribute_word(reader, node, "mode", modes, &attributes->mode)))
        return status;
    int32_t ndims = given < 0 ? src.view.ndims : given;
    if (count != 2 * ndims || ndims > src.view.ndims)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "it has %d pads for %d axes", count, ndims);
    for (int32_t i = 0; i < ndims; i++) {
        if ((status = ssld_onnx_resolve_axis(reader, node, src.view.ndims, &axes[i])))
            return status;
        before[axes[i]] = pads[i];
        after[axes[i]] = pads[ndims + i];
    }
    if ((status = emit_pad(reader, node, &src, before, after, attributes, &result)))
        return status;
    return ssld_onnx_give(reader, node, 0, &result);
}
