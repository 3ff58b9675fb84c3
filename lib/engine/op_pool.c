/* SPDX-License-Identifier: BSD-2-Clause */
/* op_pool.c - max and average pooling on oneDNN, and global average pooling of our own. */
#include "engine/kernels.h"

struct pooling {
    struct call forward, backward;
};

/* -- Max and average ---------------------------------------------------------------------------------------------- */

static dnnl_alg_kind_t algorithm_of(const struct ssld_node *node)
{
    if (node->kind == SSLD_OP_MAX_POOL)
        return dnnl_pooling_max;
    return node->attributes.count_include_pad ? dnnl_pooling_avg_include_padding : dnnl_pooling_avg_exclude_padding;
}

/* Max pooling remembers where each maximum was: bytes of one image. */
static ssld_status need_workspace(struct ssld_plan *plan, struct step *step, const struct ssld_primitive *primitive)
{
    ssld_md *workspace = NULL;
    ssld_status status = ssld_md_of(&plan->dnnl, primitive, dnnl_query_workspace_md, 0, &workspace);
    if (!status)
        step->workspace_bytes = ssld_md_size(workspace) / (size_t)ssld_step_images(plan, step, false);
    ssld_md_destroy(&plan->dnnl, workspace);
    return status;
}

struct pooling_descriptors {
    ssld_md *src, *dst;
};

static ssld_status describe(struct ssld_plan *plan, const struct step *step, bool backward, struct pooling_descriptors *d)
{
    int64_t images = ssld_step_images(plan, step, backward);
    struct planes src = ssld_planes_for(&ssld_step_src(plan, step, 0)->planes, images);
    struct planes dst = ssld_planes_for(&ssld_step_dst(plan, step)->planes, images);
    ssld_status status = ssld_planes_md(plan, &src, false, &d->src);
    return status ? status : ssld_planes_md(plan, &dst, false, &d->dst);
}

static void release_descriptors(struct ssld_plan *plan, struct pooling_descriptors *d)
{
    ssld_md_destroy(&plan->dnnl, d->src);
    ssld_md_destroy(&plan->dnnl, d->dst);
}

static ssld_status create_forward(struct ssld_plan *plan, const struct step *step, const struct pooling_descriptors *d,
                                  struct ssld_primitive *primitive)
{
    dnnl_status_t created = ssld_pooling_forward(
        &plan->dnnl, plan_trains(plan) ? dnnl_forward_training : dnnl_forward_inference, algorithm_of(step->node), d->src,
        d->dst, &step->node->attributes.window, primitive);
    return created == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, created, "forward");
}

/* The hint is a forward of as many images as backward has. */
static ssld_status prepare_backward(struct ssld_plan *plan, struct step *step, struct pooling *pool)
{
    struct pooling_descriptors d = { NULL, NULL };
    struct ssld_primitive hint = { 0 };
    ssld_status status = describe(plan, step, true, &d);
    if (!status)
        status = create_forward(plan, step, &d, &hint);
    if (!status) {
        dnnl_status_t created = ssld_pooling_backward(&plan->dnnl, algorithm_of(step->node), d.src, d.dst,
                                                      &step->node->attributes.window, &hint, &pool->backward.primitive);
        if (created != dnnl_success)
            status = ssld_step_fail(plan, step, created, "backward");
        else
            ssld_call_made(plan, &pool->backward);
    }
    ssld_primitive_destroy(&hint);
    release_descriptors(plan, &d);
    return status;
}

static ssld_status pooling_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_value *dst_value = &plan->graph->values[step->node->output];
    struct planes planes = ssld_step_src(plan, step, 0)->planes;
    struct pooling_descriptors d = { NULL, NULL };
    struct pooling *pool = ssld_alloc_zero(plan->context, 1, sizeof *pool);
    step->state = pool;
    if (!pool)
        return ssld_fail_memory(plan->context, "a pooling", sizeof *pool);
    planes.h = dst_value->dims[2];
    planes.w = dst_value->dims[3];
    ssld_tensor_set_planes(ssld_step_dst(plan, step), planes);
    ssld_status status = describe(plan, step, false, &d);
    if (!status)
        status = create_forward(plan, step, &d, &pool->forward.primitive);
    if (!status)
        ssld_call_made(plan, &pool->forward);
    if (!status && plan_trains(plan) && step->node->kind == SSLD_OP_MAX_POOL)
        status = need_workspace(plan, step, &pool->forward.primitive);
    if (!status && ssld_step_src(plan, step, 0)->wants_diff)
        status = prepare_backward(plan, step, pool);
    release_descriptors(plan, &d);
    return status;
}

static ssld_status pooling_bind(struct ssld_plan *plan, struct step *step)
{
    struct pooling *pool = step->state;
    struct call *forward = &pool->forward, *backward = &pool->backward;
    ssld_status status =
        ssld_call_bind(plan, forward, DNNL_ARG_SRC, dnnl_query_src_md, 0, ssld_operand_src(plan, step, false, 0));
    if (!status)
        status = ssld_call_bind(plan, forward, DNNL_ARG_DST, dnnl_query_dst_md, 0, ssld_operand_dst(plan, step));
    if (!status && step->workspace_bytes)
        status = ssld_call_bind(plan, forward, DNNL_ARG_WORKSPACE, dnnl_query_workspace_md, 0,
                                ssld_operand_workspace(plan, step, false));
    if (!status)
        status = ssld_call_bind_scratchpad(plan, forward);
    if (status || !backward->primitive.primitive)
        return status;
    status = ssld_call_bind(plan, backward, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, ssld_operand_diff_dst(plan, step));
    if (!status)
        status = ssld_call_bind(plan, backward, DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, 0,
                                ssld_operand_diff_src(plan, step, 0));
    if (!status && step->workspace_bytes)
        status = ssld_call_bind(plan, backward, DNNL_ARG_WORKSPACE, dnnl_query_workspace_md, 0,
                                ssld_operand_workspace(plan, step, true));
    return status ? status : ssld_call_bind_scratchpad(plan, backward);
}

static ssld_status pooling_forward(struct ssld_plan *plan, struct step *step)
{
    struct pooling *pool = step->state;
    return ssld_call_run(plan, step, &pool->forward, "forward");
}

static ssld_status pooling_backward(struct ssld_plan *plan, struct step *step)
{
    struct pooling *pool = step->state;
    return pool->backward.primitive.primitive ? ssld_call_run(plan, step, &pool->backward, "backward") : SSLD_OK;
}

static void pooling_release(struct ssld_plan *plan, struct step *step)
{
    struct pooling *pool = step->state;
    ssld_call_release(plan, &pool->forward);
    ssld_call_release(plan, &pool->backward);
}

#define POOLING(name, operator)                                                                                        \
    const struct engine_op name = { .kind = operator,                                                                  \
                                    .prepare = pooling_prepare,                                                        \
                                    .bind = pooling_bind,                                                              \
                                    .forward = pooling_forward,                                                        \
                                    .backward = pooling_backward,                                                      \
                                    .release = pooling_release }

POOLING(ssld_op_max_pool, SSLD_OP_MAX_POOL);
POOLING(ssld_op_average_pool, SSLD_OP_AVERAGE_POOL);

/* -- Global average: dst (N, C/b, 1, b) = mean over HW of src (N, C/b, HW, b) ----------------------------------------- */

static ssld_status global_prepare(struct ssld_plan *plan, struct step *step)
{
    struct planes planes = ssld_step_src(plan, step, 0)->planes;
    planes.h = planes.w = 1;
    ssld_tensor_set_planes(ssld_step_dst(plan, step), planes);
    return SSLD_OK;
}

ALWAYS_INLINE void mean_block(int32_t type, int64_t b, int64_t hw, const void *src, void *dst)
{
    float sum[16] = { 0 };
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++)
            sum[l] += element_load(type, src, p * b + l);
    for (int64_t l = 0; l < b; l++)
        element_store(type, dst, l, sum[l] / (float)hw);
}

MULTIVERSION static void mean_of_block(int32_t type, int64_t b, int64_t hw, const void *src, void *dst)
{
    WITH_TYPE(type, WITH_BLOCK(b, mean_block(TYPE, B, hw, src, dst)));
}

#define MOST_LANES 64 /* of a wide block at a time */

ALWAYS_INLINE void mean_lanes(int32_t type, int64_t b, int64_t lanes, int64_t hw, const void *src, void *dst)
{
    float sum[MOST_LANES] = { 0 };
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < lanes; l++)
            sum[l] += element_load(type, src, p * b + l);
    for (int64_t l = 0; l < lanes; l++)
        element_store(type, dst, l, sum[l] / (float)hw);
}

/* `lanes` of a block of b. */
MULTIVERSION static void mean_of_lanes(int32_t type, int64_t b, int64_t lanes, int64_t hw, const void *src, void *dst)
{
    if (lanes == MOST_LANES)
        WITH_TYPE(type, mean_lanes(TYPE, b, MOST_LANES, hw, src, dst));
    else
        WITH_TYPE(type, mean_lanes(TYPE, b, lanes, hw, src, dst));
}

static void mean_channels_last(const struct planes *planes, const void *src, void *dst)
{
    int64_t b = planes->b, hw = planes->h * planes->w, pieces = (b + MOST_LANES - 1) / MOST_LANES;
#pragma omp parallel for
    for (int64_t i = 0; i < planes->n * pieces; i++) {
        int64_t n = i / pieces, first = i % pieces * MOST_LANES, lanes = b - first < MOST_LANES ? b - first : MOST_LANES;
        mean_of_lanes(planes->type, b, lanes, hw, element_at_const(planes->type, src, n * hw * b + first),
                      element_at(planes->type, dst, n * b + first));
    }
}

static ssld_status global_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    int64_t b = src->planes.b, size = src->planes.h * src->planes.w * b, blocks = src->planes.n * src->planes.blocks;
    int32_t type = src->planes.type;
    if (plan->channels_last && src->planes.b == src->planes.channels) {
        mean_channels_last(&src->planes, src->data, dst->data);
        return SSLD_OK;
    }
#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++)
        mean_of_block(type, b, size / b, element_at_const(type, src->data, i * size), element_at(type, dst->data, i * b));
    return SSLD_OK;
}

/* diff_src = diff_dst / HW everywhere */
ALWAYS_INLINE void spread_block(int32_t type, int64_t b, int64_t hw, const void *diff_dst, void *diff_src)
{
    float share[16];
    for (int64_t l = 0; l < b; l++)
        share[l] = element_load(type, diff_dst, l) / (float)hw;
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++)
            element_store(type, diff_src, p * b + l, share[l]);
}

MULTIVERSION static void spread_over_block(int32_t type, int64_t b, int64_t hw, const void *diff_dst, void *diff_src)
{
    WITH_TYPE(type, WITH_BLOCK(b, spread_block(TYPE, B, hw, diff_dst, diff_src)));
}

static ssld_status global_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0), *dst = ssld_step_dst(plan, step);
    int64_t b = src->planes.b, size = src->planes.h * src->planes.w * b, blocks = src->planes.n * src->planes.blocks;
    int32_t type = src->planes.type;
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (!diff_src)
        return SSLD_OK;
#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++)
        spread_over_block(type, b, size / b, element_at_const(type, dst->diff, i * b), element_at(type, diff_src, i * size));
    return SSLD_OK;
}

const struct engine_op ssld_op_global_average_pool = {
    .kind = SSLD_OP_GLOBAL_AVERAGE_POOL,
    .prepare = global_prepare,
    .forward = global_forward,
    .backward = global_backward,
};
