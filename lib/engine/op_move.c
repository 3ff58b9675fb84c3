/* SPDX-License-Identifier: BSD-2-Clause */
/* op_move.c - operators that give the same numbers elsewhere: Transpose, Reshape, slices, Tile, and the engine's own Reorder.
 *
 * At inference the first ones are views (layouts.c) and do nothing. In training they copy, and backward copies back. */
#include <string.h>

#include "engine/kernels.h"
#include "engine/layouts.h"

/* Nothing to do, or one or two walks: operand 0 is dst. */
struct move {
    int32_t     walks; /* 0: dst is a view of src's root */
    struct walk walk[2];
    bool        sums; /* several elements of dst come from one of src */
    bool        gaps; /* elements of src that nobody reads */
};

/* -- Views -------------------------------------------------------------------------------------------------------- */

static bool slice_view(const struct ssld_attributes *attributes, struct view *view)
{
    for (int32_t i = 0; i < view->ndims; i++)
        if (!ssld_view_slice(view, i, attributes->starts[i], attributes->steps[i], attributes->sizes[i]))
            return false;
    return true;
}

/* (a, b) twice each way is (2, a, 2, b) with repeats that go nowhere. */
static bool tile_view(const int32_t *repeats, struct view *view)
{
    struct view made = { .ndims = view->ndims, .offset = view->offset, .image = view->image };
    int32_t next = 0;
    for (int32_t i = 0; i < view->ndims; i++) {
        if (made.atom_count + 1 + view->counts[i] > VIEW_MOST_ATOMS)
            return false;
        made.counts[i] = view->counts[i] + (repeats[i] > 1);
        if (repeats[i] > 1)
            made.atoms[made.atom_count++] = (struct atom){ repeats[i], 0 };
        for (int32_t k = 0; k < view->counts[i]; k++)
            made.atoms[made.atom_count++] = view->atoms[next++];
    }
    *view = made;
    return true;
}

bool ssld_move_view(const struct ssld_graph *graph, const struct ssld_node *node, const struct view *src, struct view *dst)
{
    const struct ssld_value *value = &graph->values[node->output];
    *dst = *src;
    switch (node->kind) {
    case SSLD_OP_TRANSPOSE:
        ssld_view_transpose(dst, node->attributes.perm);
        return true;
    case SSLD_OP_STRIDED_SLICE:
        return slice_view(&node->attributes, dst);
    case SSLD_OP_TILE:
        return tile_view(node->attributes.sizes, dst);
    default: /* Reshape, Flatten */
        return ssld_view_reshape(dst, value->ndims, value->dims);
    }
}

/* One side of a reorder: channels `first` to `last` of a map. */
static bool side_view(const int64_t *dims, int64_t b, const struct layout *layout, int64_t first, int64_t last,
                      struct view *view)
{
    int64_t padded[4] = { 1, (dims[1] + b - 1) / b * b, dims[2], dims[3] };
    *view = layout && layout->has_view ? layout->view : ssld_view_of_blocks(padded, b);
    return ssld_view_slice(view, 1, first, 1, last - first);
}

int32_t ssld_reorder_walks(const int64_t *dims, int64_t b, const struct layout *src, const struct layout *dst,
                           struct walk walks[2])
{
    int64_t full = dims[1] / b * b;
    const int64_t bounds[3] = { 0, full, dims[1] };
    bool padded = !(src && src->has_view) || !(dst && dst->has_view);
    int32_t count = 0;
    for (int32_t part = 0; part < 2; part++) {
        int64_t first = padded ? bounds[part] : 0, last = padded ? bounds[part + 1] : dims[1];
        struct view from, to;
        const struct view *views[2] = { &to, &from };
        if (first == last)
            continue;
        if (!side_view(dims, b, src, first, last, &from) || !side_view(dims, b, dst, first, last, &to) ||
            !ssld_walk_make(2, views, &walks[count++]))
            return 0;
        if (!padded)
            break;
    }
    return count;
}

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

static ssld_status move_make(struct ssld_plan *plan, struct step *step, struct move **move)
{
    step->state = *move = ssld_alloc_zero(plan->context, 1, sizeof **move);
    struct tensor *dst = ssld_step_dst(plan, step);
    struct planes planes = ssld_planes_of_value(plan, &plan->graph->values[step->node->output]);
    int32_t root = ssld_layout_of(plan, step->node->output)->root;
    if (root != step->node->output)
        planes.type = plan->tensors[root].planes.type;
    ssld_tensor_set_planes(dst, planes);
    if (root != step->node->output) /* it has no bytes of its own */
        dst->bytes = dst->image_bytes = 0;
    return *move ? SSLD_OK : ssld_fail_memory(plan->context, "a copy", sizeof **move);
}

ssld_status ssld_move_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_node *node = step->node;
    const struct layout *src = ssld_layout_of(plan, node->inputs[0]), *dst = ssld_layout_of(plan, node->output);
    struct view from;
    const struct view *views[2] = { &dst->view, &from };
    struct move *move;
    ssld_status status = move_make(plan, step, &move);
    if (status || dst->root != node->output)
        return status;
    move->walks = ssld_move_view(plan->graph, node, &src->view, &from) && ssld_walk_make(2, views, &move->walk[0]);
    move->sums = node->kind == SSLD_OP_TILE;
    move->gaps = node->kind == SSLD_OP_STRIDED_SLICE;
    return move->walks ? SSLD_OK : ssld_fail(plan->context, SSLD_INTERNAL, "'%s': no loops", node->name);
}

static ssld_status reorder_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_node *node = step->node;
    const struct ssld_value *value = &plan->graph->values[node->output];
    const struct layout *src = ssld_layout_of(plan, node->inputs[0]), *dst = ssld_layout_of(plan, node->output);
    struct move *move;
    ssld_status status = move_make(plan, step, &move);
    if (status || dst->root != node->output)
        return status;
    if (ssld_value_is_map(value)) {
        move->walks = ssld_reorder_walks(value->dims, plan_block_of(plan, value->dims[1]), src, dst, move->walk);
    } else {
        const struct view *views[2] = { &dst->view, &src->view };
        move->walks = ssld_walk_make(2, views, &move->walk[0]);
    }
    return move->walks ? SSLD_OK : ssld_fail(plan->context, SSLD_INTERNAL, "'%s': no loops", node->name);
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

static struct walk turn_round(const struct walk *walk)
{
    struct walk turned = *walk;
    for (int32_t v = 0; v < 2; v++) {
        memcpy(turned.steps[v], walk->steps[1 - v], sizeof turned.steps[v]);
        turned.offsets[v] = walk->offsets[1 - v];
        turned.images[v] = walk->images[1 - v];
    }
    return turned;
}

ssld_status ssld_move_forward(struct ssld_plan *plan, struct step *step)
{
    const struct move *move = step->state;
    struct tensor *dst = ssld_step_dst(plan, step);
    const void *src = ssld_value_data(plan, step->node->inputs[0]);
    if (!move->walks) {
        dst->data = ssld_value_data(plan, step->node->output);
        return SSLD_OK;
    }
    for (int32_t i = 0; i < move->walks; i++)
        ssld_walk_copy(&move->walk[i], dst->planes.n, plan->type, src, dst->planes.type, dst->data);
    if (ssld_layout_of(plan, step->node->output)->blocked)
        ssld_zero_padding(&dst->planes, dst->data);
    return SSLD_OK;
}

/* diff_src += diff_dst, element by element. */
static void add_walk(const struct walk *walk, int64_t images, int32_t type, const void *diff_dst, void *diff_src)
{
    int64_t elements = ssld_walk_elements(walk);
#pragma omp parallel for
    for (int64_t n = 0; n < images; n++)
        for (int64_t i = 0; i < elements; i++) {
            int64_t at[WALK_MOST_OPERANDS];
            ssld_walk_seek(walk, walk->ndims, i, at);
            int64_t from = n * walk->images[0] + at[0], to = n * walk->images[1] + at[1];
            element_store(type, diff_src, to, element_load(type, diff_src, to) + element_load(type, diff_dst, from));
        }
}

static ssld_status move_backward(struct ssld_plan *plan, struct step *step)
{
    const struct move *move = step->state;
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (!diff_src)
        return SSLD_OK;
    if (move->sums || move->gaps)
        memset(diff_src, 0, (size_t)tensor_elements(src) * element_size(plan->type));
    for (int32_t i = 0; i < move->walks; i++) {
        struct walk turned = turn_round(&move->walk[i]);
        if (move->sums)
            add_walk(&move->walk[i], dst->planes.n, plan->type, dst->diff, diff_src);
        else
            ssld_walk_copy(&turned, dst->planes.n, plan->type, dst->diff, plan->type, diff_src);
    }
    if (ssld_layout_of(plan, step->node->inputs[0])->blocked)
        ssld_zero_padding(&src->planes, diff_src);
    return SSLD_OK;
}

#define MOVE(name, operator)                                                                                           \
    const struct engine_op name = { .kind = operator,                                                                  \
                                    .layout = LAYOUT_MOVE,                                                             \
                                    .cheap = true,                                                                     \
                                    .prepare = ssld_move_prepare,                                                      \
                                    .forward = ssld_move_forward,                                                      \
                                    .backward = move_backward }

MOVE(ssld_op_transpose, SSLD_OP_TRANSPOSE);
MOVE(ssld_op_reshape, SSLD_OP_RESHAPE);
MOVE(ssld_op_strided_slice, SSLD_OP_STRIDED_SLICE);
MOVE(ssld_op_tile, SSLD_OP_TILE);

const struct engine_op ssld_op_reorder = {
    .kind = SSLD_OP_REORDER,
    .cheap = true,
    .prepare = reorder_prepare,
    .forward = ssld_move_forward,
    .backward = move_backward,
};
