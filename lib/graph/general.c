/* SPDX-License-Identifier: BSD-2-Clause */
/* general.c - shape rules of the operators of any rank. Attributes may come from a file: nothing is believed. */
#include "graph/ops.h"

#include <string.h>

static void copy_dims(struct ssld_value *dst, const struct ssld_value *src)
{
    dst->ndims = src->ndims;
    memcpy(dst->dims, src->dims, sizeof dst->dims);
}

static void clear_dims(struct ssld_value *dst, int32_t ndims)
{
    dst->ndims = ndims;
    for (int32_t i = 0; i < SSLD_MOST_DIMS; i++)
        dst->dims[i] = 1;
}

ssld_status ssld_need_axis(const struct ssld_graph *graph, const struct ssld_node *node)
{
    int32_t axis = node->attributes.axis, ndims = input_of(graph, node, 0)->ndims;
    return axis >= 0 && axis < ndims ? SSLD_OK : MISFIT(graph, node, "axis %d of %d", axis, ndims);
}

/* attributes.function, of so many. */
static ssld_status need_function(const struct ssld_graph *graph, const struct ssld_node *node, int32_t functions)
{
    int32_t function = node->attributes.function;
    return function >= 0 && function < functions ? SSLD_OK : MISFIT(graph, node, "no function %d", function);
}

/* -- Elementwise -------------------------------------------------------------------------------------------------- */

bool ssld_broadcast_dims(const struct ssld_value *a, const struct ssld_value *b, struct ssld_value *dst)
{
    int32_t ndims = a->ndims > b->ndims ? a->ndims : b->ndims;
    clear_dims(dst, ndims);
    for (int32_t i = 1; i <= ndims; i++) {
        int64_t from_a = i <= a->ndims ? a->dims[a->ndims - i] : 1, from_b = i <= b->ndims ? b->dims[b->ndims - i] : 1;
        if (from_a != from_b && from_a != 1 && from_b != 1)
            return false;
        dst->dims[ndims - i] = from_a == 1 ? from_b : from_a;
    }
    return true;
}

static ssld_status broadcast_inputs(const struct ssld_graph *graph, const struct ssld_node *node,
                                    struct ssld_value *dst)
{
    struct ssld_value shape;
    copy_dims(dst, input_of(graph, node, 0));
    for (int32_t i = 1; i < node->input_count; i++) {
        const struct ssld_value *next = input_of(graph, node, i);
        if (!ssld_broadcast_dims(dst, next, &shape))
            return MISFIT(graph, node, "the shape of '%.80s' does not suit that of '%.80s'", next->name,
                          input_of(graph, node, 0)->name);
        copy_dims(dst, &shape);
    }
    return SSLD_OK;
}

ssld_status ssld_unary_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    copy_dims(dst, input_of(graph, node, 0));
    return need_function(graph, node, SSLD_UNARIES);
}

ssld_status ssld_binary_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    ssld_status status = need_function(graph, node, SSLD_BINARIES);
    return status ? status : broadcast_inputs(graph, node, dst);
}

ssld_status ssld_where_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    return broadcast_inputs(graph, node, dst);
}

/* -- Matrices ----------------------------------------------------------------------------------------------------- */

/* (..., M, K) (..., K, N) -> (..., M, N), leading axes broadcast. */
ssld_status ssld_matmul_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *a = input_of(graph, node, 0), *b = input_of(graph, node, 1);
    struct ssld_value leading_a = *a, leading_b = *b;
    if (a->ndims < 2 || b->ndims < 2 || a->dims[a->ndims - 1] != b->dims[b->ndims - 2])
        return MISFIT(graph, node, "'%.80s' and '%.80s' cannot be multiplied: %lld columns, %lld rows", a->name,
                      b->name, (long long)a->dims[a->ndims - 1], (long long)(b->ndims < 2 ? 1 : b->dims[b->ndims - 2]));
    int64_t rows = a->dims[a->ndims - 2], columns = b->dims[b->ndims - 1];
    leading_a.dims[a->ndims - 1] = leading_a.dims[a->ndims - 2] = 1;
    leading_b.dims[b->ndims - 1] = leading_b.dims[b->ndims - 2] = 1;
    if (!ssld_broadcast_dims(&leading_a, &leading_b, dst))
        return MISFIT(graph, node, "'%.80s' and '%.80s' differ in their leading axes", a->name, b->name);
    dst->dims[dst->ndims - 2] = rows;
    dst->dims[dst->ndims - 1] = columns;
    return ssld_need_vector(graph, node, 2, columns);
}

int64_t ssld_matmul_macs(const struct ssld_graph *graph, const struct ssld_node *node)
{
    const struct ssld_value *a = input_of(graph, node, 0);
    return ssld_value_elements(&graph->values[node->output]) * a->dims[a->ndims - 1];
}

ssld_status ssld_softmax_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    copy_dims(dst, input_of(graph, node, 0));
    return ssld_need_axis(graph, node);
}

ssld_status ssld_reduce_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    ssld_status status = need_function(graph, node, SSLD_REDUCTIONS);
    int32_t kept = 0;
    clear_dims(dst, src->ndims);
    for (int32_t i = 0; i < src->ndims; i++) {
        if (!node->attributes.axes[i])
            dst->dims[kept++] = src->dims[i];
        else if (node->attributes.keepdims)
            dst->dims[kept++] = 1;
    }
    /* A graph has no tensors without axes: all summed up is (1). */
    dst->ndims = kept ? kept : 1;
    return status;
}

/* -- Moving ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_transpose_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    const int32_t *perm = node->attributes.perm;
    uint32_t seen = 0;
    clear_dims(dst, src->ndims);
    for (int32_t i = 0; i < src->ndims; i++) {
        if (perm[i] < 0 || perm[i] >= src->ndims || (seen >> perm[i] & 1))
            return MISFIT(graph, node, "perm[%d] is %d of %d axes", i, perm[i], src->ndims);
        seen |= 1u << perm[i];
        dst->dims[i] = src->dims[perm[i]];
    }
    return SSLD_OK;
}

ssld_status ssld_reshape_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    int32_t rank = node->attributes.rank;
    int64_t elements = 1;
    if (rank < 1 || rank > SSLD_MOST_DIMS)
        return MISFIT(graph, node, "%d axes; 1 to %d are possible", rank, SSLD_MOST_DIMS);
    clear_dims(dst, rank);
    for (int32_t i = 0; i < rank; i++) {
        dst->dims[i] = node->attributes.sizes[i];
        if (dst->dims[i] < 1 || (elements *= dst->dims[i]) > INT32_MAX)
            return MISFIT(graph, node, "axis %d would have %lld elements", i, (long long)dst->dims[i]);
    }
    if (elements != ssld_value_elements(src))
        return MISFIT(graph, node, "'%.80s' has %lld elements for an image, the new shape %lld", src->name,
                      (long long)ssld_value_elements(src), (long long)elements);
    return SSLD_OK;
}

ssld_status ssld_join_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *first = input_of(graph, node, 0);
    int32_t axis = node->attributes.axis;
    ssld_status status = ssld_need_axis(graph, node);
    if (status)
        return status;
    copy_dims(dst, first);
    dst->dims[axis] = 0;
    for (int32_t i = 0; i < node->input_count; i++) {
        const struct ssld_value *src = input_of(graph, node, i);
        bool fits = src->ndims == first->ndims;
        for (int32_t d = 0; d < first->ndims; d++)
            fits = fits && (d == axis || src->dims[d] == first->dims[d]);
        if (!fits)
            return MISFIT(graph, node, "'%.80s' and '%.80s' differ in more than axis %d", first->name, src->name, axis);
        dst->dims[axis] += src->dims[axis];
    }
    return SSLD_OK;
}

ssld_status ssld_strided_slice_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_attributes *attributes = &node->attributes;
    const struct ssld_value *src = input_of(graph, node, 0);
    clear_dims(dst, src->ndims);
    for (int32_t i = 0; i < src->ndims; i++) {
        int64_t first = attributes->starts[i], size = attributes->sizes[i], step = attributes->steps[i];
        int64_t last = first + (size - 1) * step;
        if (size < 1 || !step || first < 0 || first >= src->dims[i] || last < 0 || last >= src->dims[i])
            return MISFIT(graph, node, "axis %d: %lld elements from %lld on, %lld apart, of %lld", i, (long long)size,
                          (long long)first, (long long)step, (long long)src->dims[i]);
        dst->dims[i] = size;
    }
    return SSLD_OK;
}

ssld_status ssld_gather_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0), *indices = input_of(graph, node, 1);
    int32_t axis = node->attributes.axis;
    ssld_status status = ssld_need_axis(graph, node);
    if (!status)
        status = ssld_need_vector(graph, node, 1, indices->dims[0]);
    if (status)
        return status;
    for (int64_t i = 0; indices->data && i < indices->dims[0]; i++)
        if (!(indices->data[i] >= 0 && indices->data[i] < (float)src->dims[axis]))
            return MISFIT(graph, node, "index %lld is %g; axis %d has %lld elements", (long long)i,
                          (double)indices->data[i], axis, (long long)src->dims[axis]);
    copy_dims(dst, src);
    dst->dims[axis] = indices->dims[0];
    return SSLD_OK;
}

ssld_status ssld_pad_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_attributes *attributes = &node->attributes;
    const struct ssld_value *src = input_of(graph, node, 0);
    if (attributes->mode < 0 || attributes->mode >= SSLD_PAD_MODES)
        return MISFIT(graph, node, "no mode %d", attributes->mode);
    clear_dims(dst, src->ndims);
    for (int32_t i = 0; i < src->ndims; i++) {
        int64_t before = attributes->before[i], after = attributes->after[i], size = src->dims[i];
        if (before < 0 || after < 0)
            return MISFIT(graph, node, "axis %d: pads %lld and %lld", i, (long long)before, (long long)after);
        int64_t most = attributes->mode == SSLD_PAD_REFLECT ? size - 1
                       : attributes->mode == SSLD_PAD_WRAP  ? size
                                                            : INT32_MAX;
        if (before > most || after > most)
            return MISFIT(graph, node, "axis %d: pads %lld and %lld in this mode need more than %lld elements", i,
                          (long long)before, (long long)after, (long long)size);
        dst->dims[i] = before + size + after;
    }
    return SSLD_OK;
}

ssld_status ssld_tile_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    clear_dims(dst, src->ndims);
    for (int32_t i = 0; i < src->ndims; i++) {
        if (node->attributes.sizes[i] < 1)
            return MISFIT(graph, node, "axis %d is repeated %d times", i, node->attributes.sizes[i]);
        dst->dims[i] = src->dims[i] * node->attributes.sizes[i];
    }
    return SSLD_OK;
}

/* -- Feature maps ------------------------------------------------------------------------------------------------- */

ssld_status ssld_resize_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_attributes *attributes = &node->attributes;
    const struct ssld_value *src = input_of(graph, node, 0);
    if (src->ndims != 4)
        return MISFIT(graph, node, "its input has %d dimensions; it takes (N, C, H, W)", src->ndims);
    if (attributes->mode < 0 || attributes->mode >= SSLD_RESIZE_MODES || attributes->coordinates < 0 ||
        attributes->coordinates >= SSLD_COORDINATES || attributes->rounding < 0 ||
        attributes->rounding >= SSLD_ROUNDINGS)
        return MISFIT(graph, node, "no mode %d with coordinates %d and rounding %d", attributes->mode,
                      attributes->coordinates, attributes->rounding);
    copy_dims(dst, src);
    for (int32_t axis = 0; axis < 2; axis++) {
        dst->dims[2 + axis] = attributes->sizes[2 + axis];
        if (dst->dims[2 + axis] < 1 || !(attributes->scales[axis] > 0 && attributes->scales[axis] < 1e6f))
            return MISFIT(graph, node, "to %lld elements by a scale of %g", (long long)dst->dims[2 + axis],
                          (double)attributes->scales[axis]);
    }
    return SSLD_OK;
}

ssld_status ssld_lrn_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    if (src->ndims < 2 || node->attributes.size < 1)
        return MISFIT(graph, node, "a sum of %d channels of %d dimensions", node->attributes.size, src->ndims);
    copy_dims(dst, src);
    return SSLD_OK;
}

ssld_status ssld_group_norm_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    const struct ssld_value *src = input_of(graph, node, 0);
    int64_t group = node->attributes.group;
    if (src->ndims < 2 || group < 1 || src->dims[1] % group)
        return MISFIT(graph, node, "%lld channels in %lld groups", (long long)src->dims[1], (long long)group);
    ssld_status status = SSLD_OK;
    for (int32_t i = 1; i < node->input_count && !status; i++)
        status = ssld_need_vector(graph, node, i, src->dims[1]);
    copy_dims(dst, src);
    return status;
}

ssld_status ssld_reorder_shape(struct ssld_graph *graph, struct ssld_node *node, struct ssld_value *dst)
{
    copy_dims(dst, input_of(graph, node, 0));
    return SSLD_OK;
}
