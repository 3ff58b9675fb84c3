/* SPDX-License-Identifier: BSD-2-Clause */
/* op_join.c - tensors of any rank put together and taken apart by index: Join, Gather, Pad. Plain, but Join reads views. */
#include <string.h>

#include "engine/kernels.h"
#include "engine/layouts.h"

static ssld_status give_dense_planes(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_planes_of_value(plan, &plan->graph->values[step->node->output]));
    return SSLD_OK;
}

/* -- Join: inputs behind one another along an axis ---------------------------------------------------------------------- */

static ssld_status join_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_node *node = step->node;
    int32_t axis = node->attributes.axis;
    int64_t first = 0;
    struct walk *walks = ssld_alloc_zero(plan->context, (size_t)node->input_count, sizeof *walks);
    ssld_status status = give_dense_planes(plan, step);
    step->state = walks;
    if (!walks)
        return ssld_fail_memory(plan->context, "a Join", (size_t)node->input_count * sizeof *walks);
    for (int32_t i = 0; !status && i < node->input_count; i++) {
        const struct ssld_value *src = &plan->graph->values[node->inputs[i]];
        struct view to = ssld_layout_of(plan, node->output)->view, from = ssld_layout_of(plan, node->inputs[i])->view;
        const struct view *views[2] = { &to, &from };
        if (src->role != SSLD_VALUE_ACTIVATION) {
            from.image = 0; /* the same for every image */
            status = ssld_plan_add_vector(plan, step, i);
        }
        if (!status && (!ssld_view_slice(&to, axis, first, 1, src->dims[axis]) || !ssld_walk_make(2, views, &walks[i])))
            status = ssld_fail(plan->context, SSLD_INTERNAL, "'%s': no loops", node->name);
        first += src->dims[axis];
    }
    return status;
}

static ssld_status join_forward(struct ssld_plan *plan, struct step *step)
{
    const struct walk *walks = step->state;
    struct tensor *dst = ssld_step_dst(plan, step);
    for (int32_t i = 0; i < step->node->input_count; i++) {
        const struct ssld_parameter *constant = ssld_step_parameter(plan, step, i);
        const void *src = constant ? constant->value : ssld_value_data(plan, step->node->inputs[i]);
        ssld_walk_copy(&walks[i], dst->planes.n, constant ? ELEMENT_F32 : plan->type, src, dst->planes.type, dst->data);
    }
    return SSLD_OK;
}

const struct engine_op ssld_op_join = {
    .kind = SSLD_OP_JOIN,
    .layout = LAYOUT_VIEWS,
    .cheap = true,
    .prepare = join_prepare,
    .forward = join_forward,
};

/* -- Elements by index: of each axis of dst the index in src, or -1 for a constant --------------------------------------- */

struct pick {
    int32_t ndims;
    int64_t dims[SSLD_MOST_DIMS];
    int64_t strides[SSLD_MOST_DIMS];  /* of src */
    int64_t elements, src_elements;   /* of an image */
    int32_t run_from;                 /* from this axis on dst and src are alike: one run */
    int64_t run;
    float   fill;
    int32_t first[SSLD_MOST_DIMS];    /* where an axis's indices begin */
    int32_t indices[];                /* of all axes in turn */
};

static ssld_status pick_make(struct ssld_plan *plan, struct step *step, struct pick **made)
{
    const struct ssld_value *src = &plan->graph->values[step->node->inputs[0]], *dst = &plan->graph->values[step->node->output];
    int64_t count = 0, stride = ssld_value_elements(src);
    for (int32_t i = 0; i < dst->ndims; i++)
        count += dst->dims[i];
    struct pick *p = ssld_alloc_zero(plan->context, 1, sizeof *p + (size_t)count * sizeof p->indices[0]);
    step->state = *made = p;
    if (!p)
        return ssld_fail_memory(plan->context, "indices", (size_t)count * sizeof p->indices[0]);
    p->ndims = dst->ndims;
    p->elements = ssld_value_elements(dst);
    p->src_elements = stride;
    count = 0;
    for (int32_t i = 0; i < dst->ndims; i++) {
        stride /= src->dims[i];
        p->dims[i] = dst->dims[i];
        p->strides[i] = stride;
        p->first[i] = (int32_t)count;
        for (int64_t k = 0; k < dst->dims[i]; k++)
            p->indices[count++] = (int32_t)k;
    }
    return give_dense_planes(plan, step);
}

/* Once the indices are there: the axes behind the last that has other ones are a run. */
static void pick_finish(struct pick *p, const struct ssld_value *src)
{
    p->run = 1;
    p->run_from = p->ndims;
    for (int32_t i = p->ndims - 1; i >= 0; i--) {
        bool alike = p->dims[i] == src->dims[i];
        for (int64_t k = 0; alike && k < p->dims[i]; k++)
            alike = p->indices[p->first[i] + k] == k;
        if (!alike)
            break;
        p->run *= p->dims[i];
        p->run_from = i;
    }
}

static void pick_row(const struct pick *p, int32_t type, int64_t row, const void *src, void *dst)
{
    int64_t at = 0, rest = row;
    bool filled = false;
    for (int32_t i = p->run_from - 1; i >= 0; i--) {
        int32_t index = p->indices[p->first[i] + rest % p->dims[i]];
        rest /= p->dims[i];
        filled = filled || index < 0;
        at += index * p->strides[i];
    }
    if (!filled)
        memcpy(element_at(type, dst, row * p->run), element_at_const(type, src, at), (size_t)p->run * element_size(type));
    else
        for (int64_t i = 0; i < p->run; i++)
            element_store(type, dst, row * p->run + i, p->fill);
}

static ssld_status pick_forward(struct ssld_plan *plan, struct step *step)
{
    const struct pick *p = step->state;
    struct tensor *dst = ssld_step_dst(plan, step);
    const char *src = ssld_step_src(plan, step, 0)->data;
    int32_t type = dst->planes.type;
    int64_t rows = p->elements / p->run, images = dst->planes.n;
#pragma omp parallel for
    for (int64_t row = 0; row < images * rows; row++) {
        int64_t image = row / rows;
        pick_row(p, type, row % rows, element_at_const(type, src, image * p->src_elements),
                    element_at(type, dst->data, image * p->elements));
    }
    return SSLD_OK;
}

static ssld_status gather_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_node *node = step->node;
    const struct ssld_value *indices = &plan->graph->values[node->inputs[1]];
    struct pick *p;
    ssld_status status = pick_make(plan, step, &p);
    if (!status)
        status = ssld_plan_add_vector(plan, step, 1);
    if (status)
        return status;
    for (int64_t k = 0; k < indices->dims[0]; k++)
        p->indices[p->first[node->attributes.axis] + k] = (int32_t)indices->data[k];
    pick_finish(p, &plan->graph->values[node->inputs[0]]);
    return SSLD_OK;
}

/* Element k of the padded axis, which has `before` elements in front of `size`. */
static int32_t padded_index(int32_t mode, int64_t k, int64_t before, int64_t size)
{
    int64_t at = k - before;
    if (at >= 0 && at < size)
        return (int32_t)at;
    switch (mode) {
    case SSLD_PAD_REFLECT:
        return (int32_t)(at < 0 ? -at : 2 * (size - 1) - at);
    case SSLD_PAD_EDGE:
        return (int32_t)(at < 0 ? 0 : size - 1);
    case SSLD_PAD_WRAP:
        return (int32_t)(at < 0 ? at + size : at - size);
    default:
        return -1;
    }
}

static ssld_status pad_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_attributes *attributes = &step->node->attributes;
    const struct ssld_value *src = &plan->graph->values[step->node->inputs[0]];
    struct pick *p;
    ssld_status status = pick_make(plan, step, &p);
    if (status)
        return status;
    for (int32_t i = 0; i < p->ndims; i++)
        for (int64_t k = 0; k < p->dims[i]; k++)
            p->indices[p->first[i] + k] = padded_index(attributes->mode, k, attributes->before[i], src->dims[i]);
    p->fill = attributes->alpha;
    pick_finish(p, src);
    return SSLD_OK;
}

#define PICK(name, operator, prepares)                                                                              \
    const struct engine_op name = {                                                                                    \
        .kind = operator, .layout = LAYOUT_PLAIN, .cheap = true, .prepare = prepares, .forward = pick_forward,      \
    }

PICK(ssld_op_gather, SSLD_OP_GATHER, gather_prepare);
PICK(ssld_op_pad, SSLD_OP_PAD, pad_prepare);
