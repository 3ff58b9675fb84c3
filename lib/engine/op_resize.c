/* SPDX-License-Identifier: BSD-2-Clause */
/* op_resize.c - Resize of feature maps, nearest and linear: two taps along each axis, found once. Shapes: src (maps, H, W, b),
 * dst (maps, OH, OW, b), a map being b channels of an image.
 *
 *   dst(y, x) = sum over two rows and two columns of weight * src;   nearest: one row and column of weight 1 */
#include "engine/kernels.h"
#include "engine/layouts.h"

struct tap {
    int32_t from[2];
    float   weight; /* of the second; the first has the rest */
};

struct resize {
    int64_t    sizes[2], outs[2]; /* rows, columns */
    struct tap taps[];            /* of rows, then of columns */
};

static struct tap tap_of(const struct ssld_attributes *attributes, int32_t axis, int64_t in, int64_t out, int64_t x)
{
    double place = ssld_resize_source(attributes, axis, in, out, x);
    if (attributes->mode == SSLD_RESIZE_NEAREST) {
        int32_t from = (int32_t)ssld_resize_round(attributes->rounding, place, in);
        return (struct tap){ { from, from }, 0 };
    }
    place = place < 0 ? 0 : place > (double)(in - 1) ? (double)(in - 1) : place;
    int64_t first = (int64_t)place;
    return (struct tap){ { (int32_t)first, (int32_t)(first + 1 < in ? first + 1 : first) }, (float)(place - (double)first) };
}

static ssld_status resize_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_value *src = &plan->graph->values[step->node->inputs[0]], *dst = &plan->graph->values[step->node->output];
    int64_t taps = dst->dims[2] + dst->dims[3];
    struct resize *resize = ssld_alloc_zero(plan->context, 1, sizeof *resize + (size_t)taps * sizeof(struct tap));
    step->state = resize;
    if (!resize)
        return ssld_fail_memory(plan->context, "a Resize", (size_t)taps * sizeof(struct tap));
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_planes_of_value(plan, dst));
    for (int32_t axis = 0; axis < 2; axis++) {
        resize->sizes[axis] = src->dims[2 + axis];
        resize->outs[axis] = dst->dims[2 + axis];
        for (int64_t x = 0; x < dst->dims[2 + axis]; x++)
            resize->taps[(axis ? dst->dims[2] : 0) + x] =
                tap_of(&step->node->attributes, axis, src->dims[2 + axis], dst->dims[2 + axis], x);
    }
    return SSLD_OK;
}

ALWAYS_INLINE void resize_row(int32_t type, int64_t b, const struct resize *r, int64_t y, const void *src, void *dst)
{
    const struct tap *row = &r->taps[y], *columns = &r->taps[r->outs[0]];
    const void *above = element_at_const(type, src, row->from[0] * r->sizes[1] * b);
    const void *below = element_at_const(type, src, row->from[1] * r->sizes[1] * b);
    for (int64_t x = 0; x < r->outs[1]; x++) {
        const struct tap *column = &columns[x];
        int64_t left = column->from[0] * b, right = column->from[1] * b;
        for (int64_t l = 0; l < b; l++) {
            float upper = element_load(type, above, left + l), lower = element_load(type, below, left + l);
            upper += column->weight * (element_load(type, above, right + l) - upper);
            lower += column->weight * (element_load(type, below, right + l) - lower);
            element_store(type, dst, (y * r->outs[1] + x) * b + l, upper + row->weight * (lower - upper));
        }
    }
}

MULTIVERSION static void resize_row_of(int32_t type, int64_t b, const struct resize *r, int64_t y, const void *src, void *dst)
{
    WITH_TYPE(type, WITH_BLOCK(b, resize_row(TYPE, B, r, y, src, dst)));
}

static ssld_status resize_forward(struct ssld_plan *plan, struct step *step)
{
    const struct resize *r = step->state;
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    int64_t b = dst->planes.b, in = r->sizes[0] * r->sizes[1] * b, out = r->outs[0] * r->outs[1] * b;
    int64_t rows = tensor_elements(dst) / out * r->outs[0];
    int32_t type = dst->planes.type;
#pragma omp parallel for
    for (int64_t task = 0; task < rows; task++) {
        int64_t map = task / r->outs[0];
        resize_row_of(type, b, r, task % r->outs[0], element_at_const(type, src->data, map * in),
                      element_at(type, dst->data, map * out));
    }
    return SSLD_OK;
}

const struct engine_op ssld_op_resize = {
    .kind = SSLD_OP_RESIZE,
    .cheap = true,
    .prepare = resize_prepare,
    .forward = resize_forward,
};
