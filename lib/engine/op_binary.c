/* SPDX-License-Identifier: BSD-2-Clause */
/* op_binary.c - addition with its activation, multiplication (squeeze-and-excitation's broadcast too), scaling by a
 * constant. */
#include "engine/kernels.h"
#include "engine/layouts.h"

/* Both inputs must stand in memory alike. */
static ssld_status check_layout(struct ssld_plan *plan, const struct step *step)
{
    const struct planes *a = &ssld_step_src(plan, step, 0)->planes, *b = &ssld_step_src(plan, step, 1)->planes;
    if (a->b == b->b && a->blocks == b->blocks)
        return SSLD_OK;
    return ssld_fail(plan->context, SSLD_UNSUPPORTED,
                     "%s '%s': one input is the image itself, the other a layer's output",
                     ssld_ops[step->node->kind].name, step->node->name);
}

/* -- Add: dst = act(a + b) ---------------------------------------------------------------------------------------- */

static ssld_status add_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_step_src(plan, step, 0)->planes);
    return check_layout(plan, step);
}

#define PIECE 4096 /* elements that a thread takes at a time */

ALWAYS_INLINE void add_loop(int32_t type, bool relu, int64_t count, const void *a, const void *b, void *dst)
{
    for (int64_t i = 0; i < count; i++) {
        float sum = element_load(type, a, i) + element_load(type, b, i);
        element_store(type, dst, i, relu ? relu_value(sum) : sum);
    }
}

MULTIVERSION static void add_range(int32_t type, bool relu, int64_t count, const void *a, const void *b, void *dst)
{
    if (relu)
        WITH_TYPE(type, add_loop(TYPE, true, count, a, b, dst));
    else
        WITH_TYPE(type, add_loop(TYPE, false, count, a, b, dst));
}

static ssld_status add_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    const void *a = ssld_step_src(plan, step, 0)->data, *b = ssld_step_src(plan, step, 1)->data;
    int64_t count = tensor_elements(dst);
    const struct ssld_activation *activation = &step->node->activation;
    int32_t type = dst->planes.type;
#pragma omp parallel for
    for (int64_t i = 0; i < count; i += PIECE)
        add_range(type, activation->kind == SSLD_OP_RELU, count - i < PIECE ? count - i : PIECE,
                  element_at_const(type, a, i), element_at_const(type, b, i), element_at(type, dst->data, i));
    if (activation->kind != SSLD_OP_IDENTITY && activation->kind != SSLD_OP_RELU) {
        ssld_activation_forward(activation, type, count, dst->data, dst->data);
        if (ssld_activation_of_zero(activation) != 0)
            ssld_zero_padding(&dst->planes, dst->data);
    }
    return SSLD_OK;
}

/* diff_a = diff_b = diff_dst * act'; training fuses only ReLU, whose slope shows in dst. */
ALWAYS_INLINE void add_diff_loop(int32_t type, bool relu, int64_t count, const void *sum, const void *diff,
                                 void *diff_src)
{
    for (int64_t i = 0; i < count; i++) {
        bool passes = !relu || element_load(type, sum, i) > 0;
        element_store(type, diff_src, i, passes ? element_load(type, diff, i) : 0);
    }
}

MULTIVERSION static void add_diff_range(int32_t type, bool relu, int64_t count, const void *sum, const void *diff,
                                        void *diff_src)
{
    if (relu)
        WITH_TYPE(type, add_diff_loop(TYPE, true, count, sum, diff, diff_src));
    else
        WITH_TYPE(type, add_diff_loop(TYPE, false, count, sum, diff, diff_src));
}

static ssld_status add_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    int64_t count = tensor_elements(dst);
    int32_t type = dst->planes.type;
    bool relu = step->node->activation.kind == SSLD_OP_RELU;
    for (int32_t input = 0; input < 2; input++) {
        void *diff_src = ssld_step_diff_src(plan, step, input);
        if (!diff_src)
            continue;
#pragma omp parallel for
        for (int64_t i = 0; i < count; i += PIECE)
            add_diff_range(type, relu, count - i < PIECE ? count - i : PIECE, element_at_const(type, dst->data, i),
                           element_at_const(type, dst->diff, i), element_at(type, diff_src, i));
    }
    return SSLD_OK;
}

const struct engine_op ssld_op_add = {
    .kind = SSLD_OP_ADD,
    .layout = LAYOUT_SAME,
    .cheap = true,
    .backward_reads = READS_DST,
    .prepare = add_prepare,
    .forward = add_forward,
    .backward = add_backward,
};

/* -- Mul: dst = x * s, where s is (N, C, 1, 1), (N, 1, H, W) or of x's shape ------------------------------------------ */

#define MUL_PIECE 16384 /* elements of a task: a block may be a whole image */

enum factor { FACTOR_OF_ELEMENT, FACTOR_OF_CHANNEL, FACTOR_OF_POSITION };

static enum factor factor_kind(const struct tensor *x, const struct tensor *s)
{
    if (s->planes.channels != x->planes.channels)
        return FACTOR_OF_POSITION;
    return s->planes.h * s->planes.w == x->planes.h * x->planes.w ? FACTOR_OF_ELEMENT : FACTOR_OF_CHANNEL;
}

static ssld_status mul_prepare(struct ssld_plan *plan, struct step *step)
{
    struct tensor *x = ssld_step_src(plan, step, 0), *s = ssld_step_src(plan, step, 1);
    ssld_tensor_set_planes(ssld_step_dst(plan, step), x->planes);
    return factor_kind(x, s) == FACTOR_OF_POSITION ? SSLD_OK : check_layout(plan, step);
}

/* s of a position stands in lane 0 of its own blocks, which are `width` wide. */
ALWAYS_INLINE void mul_block(int32_t type, int64_t b, int64_t hw, enum factor kind, int64_t width, const void *x,
                             const void *s, void *dst)
{
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++) {
            int64_t at = kind == FACTOR_OF_POSITION ? p * width : kind == FACTOR_OF_CHANNEL ? l : p * b + l;
            element_store(type, dst, p * b + l, element_load(type, x, p * b + l) * element_load(type, s, at));
        }
}

MULTIVERSION static void mul_of_block(int32_t type, int64_t b, int64_t hw, enum factor kind, int64_t width,
                                      const void *x, const void *s, void *dst)
{
    if (kind == FACTOR_OF_CHANNEL)
        WITH_TYPE(type, WITH_BLOCK(b, mul_block(TYPE, B, hw, FACTOR_OF_CHANNEL, width, x, s, dst)));
    else if (kind == FACTOR_OF_POSITION)
        WITH_TYPE(type, WITH_BLOCK(b, mul_block(TYPE, B, hw, FACTOR_OF_POSITION, width, x, s, dst)));
    else
        WITH_TYPE(type, WITH_BLOCK(b, mul_block(TYPE, B, hw, FACTOR_OF_ELEMENT, width, x, s, dst)));
}

/* Of two tensors' layouts, on any data that stands like them. */
static void mul(const struct tensor *first, const struct tensor *second, const void *x, const void *s, void *dst)
{
    enum factor kind = factor_kind(first, second);
    int32_t type = first->planes.type;
    int64_t b = first->planes.b, size = first->planes.h * first->planes.w * b, width = second->planes.b;
    int64_t blocks = first->planes.n * first->planes.blocks, hw = size / b;
    int64_t factors = second->planes.h * second->planes.w * width; /* of a block of s */
    int64_t rows = MUL_PIECE / b > 0 ? MUL_PIECE / b : 1, pieces = (hw + rows - 1) / rows;
#pragma omp parallel for
    for (int64_t task = 0; task < blocks * pieces; task++) {
        int64_t i = task / pieces, p = task % pieces * rows, block = kind == FACTOR_OF_POSITION ? i / first->planes.blocks : i;
        int64_t moved = kind == FACTOR_OF_POSITION ? p * width : kind == FACTOR_OF_ELEMENT ? p * b : 0;
        mul_of_block(type, b, hw - p < rows ? hw - p : rows, kind, width, element_at_const(type, x, i * size + p * b),
                     element_at_const(type, s, block * factors + moved), element_at(type, dst, i * size + p * b));
    }
}

static ssld_status mul_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *x = ssld_step_src(plan, step, 0), *s = ssld_step_src(plan, step, 1);
    mul(x, s, x->data, s->data, ssld_step_dst(plan, step)->data);
    return SSLD_OK;
}

/* Of a channel: diff_s = sum over positions of diff_dst * x */
ALWAYS_INLINE void mul_sum_block(int32_t type, int64_t b, int64_t hw, const void *x, const void *diff_dst, void *diff_s)
{
    float sum[16] = { 0 };
    for (int64_t p = 0; p < hw; p++)
        for (int64_t l = 0; l < b; l++)
            sum[l] += element_load(type, x, p * b + l) * element_load(type, diff_dst, p * b + l);
    for (int64_t l = 0; l < b; l++)
        element_store(type, diff_s, l, sum[l]);
}

MULTIVERSION static void mul_sum_of_block(int32_t type, int64_t b, int64_t hw, const void *x, const void *diff_dst,
                                          void *diff_s)
{
    WITH_TYPE(type, WITH_BLOCK(b, mul_sum_block(TYPE, B, hw, x, diff_dst, diff_s)));
}

static void mul_sums_of_channels(const struct tensor *like, const void *x, const void *diff_dst, void *diff_s)
{
    int32_t type = like->planes.type;
    int64_t b = like->planes.b, size = like->planes.h * like->planes.w * b, blocks = like->planes.n * like->planes.blocks;
#pragma omp parallel for
    for (int64_t i = 0; i < blocks; i++)
        mul_sum_of_block(type, b, size / b, element_at_const(type, x, i * size), element_at_const(type, diff_dst, i * size),
                         element_at(type, diff_s, i * b));
}

#define RUN 64 /* positions whose sums are kept at a time */

/* Of a position: diff_s = sum over channels of diff_dst * x, into lane 0 of `width`; `blocks` of x stand `stride` apart. */
ALWAYS_INLINE void mul_sum_run(int32_t type, int64_t b, int64_t blocks, int64_t stride, int64_t count, int64_t width,
                               const void *x, const void *diff_dst, void *diff_s)
{
    float sums[RUN * 16] = { 0 };
    for (int64_t k = 0; k < blocks; k++)
        for (int64_t i = 0; i < count * b; i++)
            sums[i] += element_load(type, x, k * stride + i) * element_load(type, diff_dst, k * stride + i);
    for (int64_t p = 0; p < count; p++) {
        float sum = 0;
        for (int64_t l = 0; l < b; l++)
            sum += sums[p * b + l];
        for (int64_t l = 0; l < width; l++)
            element_store(type, diff_s, p * width + l, l ? 0 : sum);
    }
}

MULTIVERSION static void mul_sum_of_run(int32_t type, int64_t b, int64_t blocks, int64_t stride, int64_t count,
                                        int64_t width, const void *x, const void *diff_dst, void *diff_s)
{
    WITH_TYPE(type, WITH_BLOCK(b, mul_sum_run(TYPE, B, blocks, stride, count, width, x, diff_dst, diff_s)));
}

static void mul_sums_of_positions(const struct tensor *like, int64_t width, const void *x, const void *diff_dst,
                                  void *diff_s)
{
    const struct planes *planes = &like->planes;
    int32_t type = like->planes.type;
    int64_t b = planes->b, hw = planes->h * planes->w, image = planes->blocks * hw * b;
#pragma omp parallel for collapse(2)
    for (int64_t n = 0; n < planes->n; n++)
        for (int64_t first = 0; first < hw; first += RUN) {
            int64_t count = hw - first < RUN ? hw - first : RUN, at = n * image + first * b;
            mul_sum_of_run(type, b, planes->blocks, hw * b, count, width, element_at_const(type, x, at),
                           element_at_const(type, diff_dst, at), element_at(type, diff_s, (n * hw + first) * width));
        }
}

static ssld_status mul_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *x = ssld_step_src(plan, step, 0), *s = ssld_step_src(plan, step, 1),
                  *dst = ssld_step_dst(plan, step);
    void *diff_x = ssld_step_diff_src(plan, step, 0), *diff_s = ssld_step_diff_src(plan, step, 1);
    enum factor kind = factor_kind(x, s);
    if (diff_x)
        mul(x, s, dst->diff, s->data, diff_x);
    if (diff_s && kind == FACTOR_OF_ELEMENT)
        mul(x, x, dst->diff, x->data, diff_s);
    else if (diff_s && kind == FACTOR_OF_CHANNEL)
        mul_sums_of_channels(x, x->data, dst->diff, diff_s);
    else if (diff_s)
        mul_sums_of_positions(x, s->planes.b, x->data, dst->diff, diff_s);
    return SSLD_OK;
}

const struct engine_op ssld_op_mul = {
    .kind = SSLD_OP_MUL,
    .layout = LAYOUT_SAME,
    .cheap = true,
    .backward_reads = READS_SRC,
    .prepare = mul_prepare,
    .forward = mul_forward,
    .backward = mul_backward,
};

/* -- Scale: dst = scale * src ------------------------------------------------------------------------------------- */

static ssld_status scale_prepare(struct ssld_plan *plan, struct step *step)
{
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_step_src(plan, step, 0)->planes);
    return SSLD_OK;
}

ALWAYS_INLINE void scale_loop(int32_t type, float factor, int64_t count, const void *src, void *dst)
{
    for (int64_t i = 0; i < count; i++)
        element_store(type, dst, i, factor * element_load(type, src, i));
}

MULTIVERSION static void scale_range(int32_t type, float factor, int64_t count, const void *src, void *dst)
{
    WITH_TYPE(type, scale_loop(TYPE, factor, count, src, dst));
}

static void scale(float factor, const struct tensor *like, const void *src, void *dst)
{
    int64_t count = tensor_elements(like);
    int32_t type = like->planes.type;
#pragma omp parallel for
    for (int64_t i = 0; i < count; i += PIECE)
        scale_range(type, factor, count - i < PIECE ? count - i : PIECE, element_at_const(type, src, i),
                    element_at(type, dst, i));
}

static ssld_status scale_forward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *src = ssld_step_src(plan, step, 0);
    scale(step->node->attributes.scale, src, src->data, ssld_step_dst(plan, step)->data);
    return SSLD_OK;
}

static ssld_status scale_backward(struct ssld_plan *plan, struct step *step)
{
    struct tensor *dst = ssld_step_dst(plan, step);
    void *diff_src = ssld_step_diff_src(plan, step, 0);
    if (diff_src)
        scale(step->node->attributes.scale, dst, dst->diff, diff_src);
    return SSLD_OK;
}

const struct engine_op ssld_op_scale = {
    .kind = SSLD_OP_SCALE,
    .layout = LAYOUT_SAME,
    .cheap = true,
    .prepare = scale_prepare,
    .forward = scale_forward,
    .backward = scale_backward,
};
