/* SPDX-License-Identifier: BSD-2-Clause */
/* op_channels.c - Concat and Slice: channels of one tensor copied into another.
 *
 * Where both stand at the same place in their blocks, whole blocks move. Where they do not (after a tensor of 20 channels in
 * blocks of 16, say), lanes are packed anew: a run of channels is cut wherever a block of either side ends. */
#include "engine/kernels.h"

#include <string.h>

/* Some channels of a tensor. */
struct channels {
    const struct planes *planes;
    int64_t              first;
};

/* -- Copying ------------------------------------------------------------------------------------------------------ */

/* `count` lanes of each of hw positions; s and d are the widths of the blocks. */
MULTIVERSION static void copy_lanes(int64_t hw, int64_t count, int64_t s, const float *src, int64_t d, float *dst)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < count; l++)
            dst[p * d + l] = src[p * s + l];
}

/* Channels first .. last of `to` that lie in one of its blocks, of one image. */
static void copy_block(const struct channels *from, const float *src, const struct channels *to, float *dst,
                       int64_t first, int64_t last)
{
    int64_t s = from->planes->b, d = to->planes->b, hw = to->planes->h * to->planes->w;
    for (int64_t c = first; c < last;) {
        int64_t k = from->first + (c - to->first), lane = k % s;
        int64_t count = last - c < s - lane ? last - c : s - lane;
        const float *in = src + k / s * hw * s + lane;
        float *out = dst + c / d * hw * d + c % d;
        if (count == s && count == d)
            memcpy(out, in, (size_t)(hw * d) * sizeof(float));
        else
            copy_lanes(hw, count, s, in, d, out);
        c += count;
    }
}

/* Copy `count` channels; the others of dst stay as they are. */
static void copy_channels(const struct channels *from, const float *src, const struct channels *to, float *dst,
                          int64_t count)
{
    const struct planes *a = from->planes, *z = to->planes;
    int64_t hw = z->h * z->w, b = z->b, end = to->first + count;
    int64_t src_image = a->blocks * hw * a->b, dst_image = z->blocks * hw * b;
    if (a->b == 1 && b == 1) { /* plain: one run an image */
#pragma omp parallel for
        for (int64_t n = 0; n < z->n; n++)
            memcpy(dst + n * dst_image + to->first * hw, src + n * src_image + from->first * hw,
                   (size_t)(count * hw) * sizeof(float));
        return;
    }
    int64_t first_block = to->first / b, blocks = (end + b - 1) / b - first_block;
#pragma omp parallel for collapse(2)
    for (int64_t n = 0; n < z->n; n++)
        for (int64_t k = 0; k < blocks; k++) {
            int64_t first = (first_block + k) * b, last = first + b;
            copy_block(from, src + n * src_image, to, dst + n * dst_image, first < to->first ? to->first : first,
                       last > end ? end : last);
        }
}

/* -- Concat: dst = src 0, src 1, ... behind one another ----------------------------------------------------------------- */

static ssld_status concat_prepare(struct ssld_plan *plan, struct step *step)
{
    struct planes planes = ssld_planes_of_value(plan, &plan->graph->values[step->node->output]);
    ssld_tensor_set_planes(ssld_step_dst(plan, step), planes);
    return SSLD_OK;
}

static ssld_status concat_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    struct channels to = { &dst->planes, 0 };
    for (int32_t i = 0; i < step->node->input_count; i++) {
        struct tensor *src = ssld_step_src(plan, step, i);
        struct channels from = { &src->planes, 0 };
        copy_channels(&from, src->data, &to, dst->data, src->planes.channels);
        to.first += src->planes.channels;
    }
    ssld_zero_padding(&dst->planes, dst->data);
    return SSLD_OK;
}

static ssld_status concat_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    struct channels from = { &dst->planes, 0 };
    for (int32_t i = 0; i < step->node->input_count; i++) {
        struct tensor *src = ssld_step_src(plan, step, i);
        struct channels to = { &src->planes, 0 };
        float *diff_src = ssld_step_diff_src(plan, step, i);
        if (diff_src) {
            copy_channels(&from, dst->diff, &to, diff_src, src->planes.channels);
            ssld_zero_padding(&src->planes, diff_src);
        }
        from.first += src->planes.channels;
    }
    return SSLD_OK;
}

const struct engine_op ssld_op_concat = {
    .kind = SSLD_OP_CONCAT,
    .prepare = concat_prepare,
    .forward = concat_forward,
    .backward = concat_backward,
};

/* -- Slice: dst = channels begin .. end of src ------------------------------------------------------------------------- */

static ssld_status slice_prepare(struct ssld_plan *plan, struct step *step)
{
    struct planes planes = ssld_step_src(plan, step, 0)->planes;
    planes.channels = step->node->attributes.end - step->node->attributes.begin;
    planes.blocks = (planes.channels + planes.b - 1) / planes.b;
    ssld_tensor_set_planes(ssld_step_dst(plan, step), planes);
    return SSLD_OK;
}

static ssld_status slice_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct channels from = { &src->planes, step->node->attributes.begin }, to = { &dst->planes, 0 };
    copy_channels(&from, src->data, &to, dst->data, dst->planes.channels);
    ssld_zero_padding(&dst->planes, dst->data);
    return SSLD_OK;
}

/* diff_src is zero outside the slice. */
static ssld_status slice_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    struct channels from = { &dst->planes, 0 }, to = { &src->planes, step->node->attributes.begin };
    float *diff_src = ssld_step_diff_src(plan, step, 0);
    if (!diff_src)
        return SSLD_OK;
    int64_t image = src->planes.blocks * src->planes.h * src->planes.w * src->planes.b;
#pragma omp parallel for
    for (int64_t n = 0; n < src->planes.n; n++)
        memset(diff_src + n * image, 0, (size_t)image * sizeof(float));
    copy_channels(&from, dst->diff, &to, diff_src, dst->planes.channels);
    return SSLD_OK;
}

const struct engine_op ssld_op_slice = {
    .kind = SSLD_OP_SLICE,
    .prepare = slice_prepare,
    .forward = slice_forward,
    .backward = slice_backward,
};
