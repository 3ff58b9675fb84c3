/* SPDX-License-Identifier: BSD-2-Clause */
/* op_channels.c - Concat and Slice: channels of one tensor copied into another.
 *
 * Where both stand at the same place in their blocks, whole blocks move. Where they do not (after a tensor of 20 channels in
 * blocks of 16, say), lanes are packed anew: a run of channels is cut wherever a block of either side ends. */
#include "engine/kernels.h"

#include <string.h>

/* Channels of a tensor from `first` on; its values or its diffs. */
struct channels {
    const struct tensor *tensor;
    int64_t              first;
    char                *data;
};

/* -- Copying ------------------------------------------------------------------------------------------------------ */

/* `count` lanes of each of hw positions, from blocks s wide into blocks d wide. */
ALWAYS_INLINE void lanes_loop(int32_t type, int64_t hw, int64_t count, int64_t s, const void *src, int64_t d, void *dst)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < count; l++)
            element_store(type, dst, p * d + l, element_load(type, src, p * s + l));
}

MULTIVERSION static void copy_lanes(int32_t type, int64_t hw, int64_t count, int64_t s, const void *src, int64_t d,
                                    void *dst)
{
    WITH_TYPE(type, lanes_loop(TYPE, hw, count, s, src, d, dst));
}

/* Channels first .. last of `to`, which lie in one of its blocks, of one image. */
static void copy_block(const struct channels *from, const struct channels *to, int64_t image, int64_t first, int64_t last)
{
    const struct planes *a = &from->tensor->planes, *z = &to->tensor->planes;
    int64_t s = a->b, d = z->b, hw = z->h * z->w;
    int32_t type = to->tensor->planes.type;
    for (int64_t c = first; c < last;) {
        int64_t k = from->first + (c - to->first), lane = k % s;
        int64_t count = last - c < s - lane ? last - c : s - lane;
        const void *in = element_at_const(type, from->data, (image * a->blocks + k / s) * hw * s + lane);
        void *out = element_at(type, to->data, (image * z->blocks + c / d) * hw * d + c % d);
        if (count == s && count == d)
            memcpy(out, in, (size_t)(hw * d) * element_size(type));
        else
            copy_lanes(type, hw, count, s, in, d, out);
        c += count;
    }
}

/* Copy `count` channels of every image; the others of `to` stay as they are. */
static void copy_channels(const struct channels *from, const struct channels *to, int64_t count)
{
    const struct planes *a = &from->tensor->planes, *z = &to->tensor->planes;
    int64_t hw = z->h * z->w, b = z->b, end = to->first + count;
    int32_t type = to->tensor->planes.type;
    if (a->b == 1 && b == 1) { /* plain: one run an image */
#pragma omp parallel for
        for (int64_t n = 0; n < z->n; n++)
            memcpy(element_at(type, to->data, (n * z->channels + to->first) * hw),
                   element_at_const(type, from->data, (n * a->channels + from->first) * hw),
                   (size_t)(count * hw) * element_size(type));
        return;
    }
    int64_t first_block = to->first / b, blocks = (end + b - 1) / b - first_block;
#pragma omp parallel for collapse(2)
    for (int64_t n = 0; n < z->n; n++)
        for (int64_t k = 0; k < blocks; k++) {
            int64_t first = (first_block + k) * b, last = first + b;
            copy_block(from, to, n, first < to->first ? to->first : first, last > end ? end : last);
        }
}

/* -- Concat: dst = src 0, src 1, ... behind one another ----------------------------------------------------------------- */

/* The image itself, plain, beside layers' outputs, in blocks, is no trouble. */
static ssld_status concat_prepare(struct ssld_plan *plan, struct step *step)
{
    struct planes planes = ssld_planes_of_value(plan, &plan->graph->values[step->node->output]);
    ssld_tensor_set_planes(ssld_step_dst(plan, step), planes);
    return SSLD_OK;
}

static ssld_status concat_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    struct channels to = { dst, 0, (char *)dst->data };
    for (int32_t i = 0; i < step->node->input_count; i++) {
        struct tensor *src = ssld_step_src(plan, step, i);
        struct channels from = { src, 0, (char *)src->data };
        copy_channels(&from, &to, src->planes.channels);
        to.first += src->planes.channels;
    }
    ssld_zero_padding(&dst->planes, dst->data);
    return SSLD_OK;
}

static ssld_status concat_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    struct channels from = { dst, 0, (char *)dst->diff };
    for (int32_t i = 0; i < step->node->input_count; i++) {
        struct tensor *src = ssld_step_src(plan, step, i);
        void *diff_src = ssld_step_diff_src(plan, step, i);
        struct channels to = { src, 0, diff_src };
        if (diff_src) {
            copy_channels(&from, &to, src->planes.channels);
            ssld_zero_padding(&src->planes, diff_src);
        }
        from.first += src->planes.channels;
    }
    return SSLD_OK;
}

const struct engine_op ssld_op_concat = {
    .kind = SSLD_OP_CONCAT,
    .cheap = true,
    .prepare = concat_prepare,
    .forward = concat_forward,
    .backward = concat_backward,
};

/* -- Slice: dst = channels begin .. end of src ------------------------------------------------------------------------- */

static ssld_status slice_prepare(struct ssld_plan *plan, struct step *step)
{
    struct planes planes = ssld_step_src(plan, step, 0)->planes;
    planes.channels = step->node->attributes.end - step->node->attributes.begin;
    planes.b = planes.b > 1 ? plan_block_of(plan, planes.channels) : 1;
    planes.blocks = (planes.channels + planes.b - 1) / planes.b;
    ssld_tensor_set_planes(ssld_step_dst(plan, step), planes);
    return SSLD_OK;
}

static ssld_status slice_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct channels from = { src, step->node->attributes.begin, (char *)src->data }, to = { dst, 0, (char *)dst->data };
    copy_channels(&from, &to, dst->planes.channels);
    ssld_zero_padding(&dst->planes, dst->data);
    return SSLD_OK;
}

/* diff_src is zero outside the slice. */
static ssld_status slice_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    struct channels from = { dst, 0, (char *)dst->diff }, to = { src, step->node->attributes.begin, diff_src };
    if (!diff_src)
        return SSLD_OK;
    int64_t images = src->planes.n, image = tensor_elements(src) / images;
#pragma omp parallel for
    for (int64_t n = 0; n < images; n++)
        memset(element_at(src->planes.type, diff_src, n * image), 0, (size_t)image * element_size(src->planes.type));
    copy_channels(&from, &to, dst->planes.channels);
    return SSLD_OK;
}

const struct engine_op ssld_op_slice = {
    .kind = SSLD_OP_SLICE,
    .cheap = true,
    .prepare = slice_prepare,
    .forward = slice_forward,
    .backward = slice_backward,
};
