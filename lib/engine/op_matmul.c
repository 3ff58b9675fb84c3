/* SPDX-License-Identifier: BSD-2-Clause */
/* op_matmul.c - matrix products on oneDNN.
 *
 *   dst (..., M, N) = act(scale * a (..., M, K) b (..., K, N) + bias (N))
 *
 * With a constant b of two axes this is a fully connected layer of all rows (op_gemm.c). Here both are activations, as in
 * attention, or one is a constant of several matrices. Transposes and slices before and behind a product are strides of its
 * operands (layouts.c), so queries, keys and values are read where one layer wrote them all. */
#include "engine/kernels.h"
#include "engine/layouts.h"
#include "engine/weighted.h"

enum operand_of_product { OPERAND_A, OPERAND_B, OPERAND_DST, OPERANDS };

#define MOST_AXES (SSLD_MOST_DIMS + 1) /* images in front */

/* All three with the same number of axes. */
struct product {
    int32_t ndims;
    int64_t dims[OPERANDS][MOST_AXES], strides[OPERANDS][MOST_AXES];
};

struct matmul {
    struct call forward;
    uint16_t   *narrow[2];    /* constants in bf16 */
};

bool ssld_is_fully_connected(const struct ssld_graph *graph, const struct ssld_node *node)
{
    const struct ssld_value *weights = &graph->values[node->inputs[1]];
    return weights->role != SSLD_VALUE_ACTIVATION && weights->ndims == 2;
}

/* -- Axes --------------------------------------------------------------------------------------------------------- */

/* One operand, its axes aligned with dst's last ones. What is not there has one element. */
static void list_axes(const struct view *view, bool constant, int64_t images, int32_t ndims, int64_t *dims, int64_t *strides)
{
    int32_t more = ndims - view->ndims, atom = view->atom_count;
    int64_t stride = 1; /* of an axis of one element: what a dense tensor would have */
    for (int32_t i = ndims - 1; i >= 0; i--) {
        int32_t from = i - more;
        bool there = from >= 0 && view->counts[from];
        dims[i + 1] = there ? view->atoms[--atom].size : 1;
        strides[i + 1] = there ? view->atoms[atom].stride : stride;
        stride = strides[i + 1] * dims[i + 1];
    }
    dims[0] = constant ? 1 : images;
    strides[0] = constant ? stride : view->image;
}

/* Whether axis i of all operands can be one with the next: both as in dst, or both of one element. */
static bool is_one_axis(const struct product *p, int32_t i)
{
    for (int32_t o = 0; o < OPERANDS; o++) {
        bool repeats = p->dims[o][i] == 1 && p->dims[o][i + 1] == 1;
        bool follows = p->dims[o][i] == p->dims[OPERAND_DST][i] && p->dims[o][i + 1] == p->dims[OPERAND_DST][i + 1] &&
                       p->strides[o][i] == p->strides[o][i + 1] * p->dims[o][i + 1];
        if (!repeats && !follows)
            return false;
    }
    return true;
}

static void remove_axis(struct product *p, int32_t axis)
{
    for (int32_t o = 0; o < OPERANDS; o++)
        for (int32_t i = axis; i + 1 < p->ndims; i++) {
            p->dims[o][i] = p->dims[o][i + 1];
            p->strides[o][i] = p->strides[o][i + 1];
        }
    p->ndims--;
}

/* As few leading axes as can be: generated code takes one. */
static void join_axes(struct product *p)
{
    for (int32_t i = p->ndims - 3; i >= 0; i--) {
        if (p->dims[OPERAND_DST][i] == 1) {
            remove_axis(p, i);
        } else if (i + 1 < p->ndims - 2 && is_one_axis(p, i)) {
            for (int32_t o = 0; o < OPERANDS; o++)
                p->dims[o][i + 1] *= p->dims[o][i];
            remove_axis(p, i);
        }
    }
}

static struct product describe(const struct ssld_plan *plan, const struct step *step, int64_t images)
{
    const struct ssld_node *node = step->node;
    const int32_t values[OPERANDS] = { node->inputs[0], node->inputs[1], node->output };
    struct product p = { .ndims = plan->graph->values[node->output].ndims + 1 };
    for (int32_t o = 0; o < OPERANDS; o++)
        list_axes(&ssld_layout_of(plan, values[o])->view, !plan_has_activation(plan, values[o]), images, p.ndims - 1,
                  p.dims[o], p.strides[o]);
    join_axes(&p);
    return p;
}

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

static void post_ops_of(const struct ssld_node *node, struct ssld_dnnl_post_ops *post_ops)
{
    ssld_activation_post_ops(&node->activation, post_ops);
    if (node->attributes.scale == 1.0f)
        return;
    for (int32_t i = post_ops->count++; i > 0; i--)
        post_ops->eltwise[i] = post_ops->eltwise[i - 1];
    post_ops->eltwise[0] = (struct ssld_dnnl_eltwise){ dnnl_eltwise_linear, node->attributes.scale, 0 };
}

static ssld_status create(struct ssld_plan *plan, const struct step *step, struct ssld_primitive *primitive)
{
    struct product p = describe(plan, step, ssld_step_images(plan, step, false));
    int32_t dst_type = ssld_step_dst(plan, step)->planes.type;
    const dnnl_data_type_t types[OPERANDS] = { ssld_dnnl_type(plan->type), ssld_dnnl_type(plan->type), ssld_dnnl_type(dst_type) };
    bool biased = step->node->input_count > 2 && step->node->inputs[2] != SSLD_NO_VALUE;
    struct ssld_dnnl_post_ops post_ops;
    ssld_md *mds[OPERANDS] = { NULL }, *bias = NULL;
    ssld_status status = SSLD_OK;
    post_ops_of(step->node, &post_ops);
    for (int32_t o = 0; !status && o < OPERANDS; o++)
        status = ssld_md_create_strided(&plan->dnnl, p.ndims, p.dims[o], p.strides[o], types[o], &mds[o]);
    if (!status && biased) {
        int64_t dims[MOST_AXES], strides[MOST_AXES], columns = p.dims[OPERAND_DST][p.ndims - 1];
        for (int32_t i = 0; i < p.ndims; i++) {
            dims[i] = i == p.ndims - 1 ? columns : 1;
            strides[i] = i == p.ndims - 1 ? 1 : columns;
        }
        status = ssld_md_create_strided(&plan->dnnl, p.ndims, dims, strides, dnnl_f32, &bias);
    }
    if (!status) {
        dnnl_status_t created = ssld_matmul(&plan->dnnl, mds[OPERAND_A], mds[OPERAND_B], bias, mds[OPERAND_DST], &post_ops,
                                            primitive);
        status = created == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, created, "forward");
    }
    for (int32_t o = 0; o < OPERANDS; o++)
        ssld_md_destroy(&plan->dnnl, mds[o]);
    ssld_md_destroy(&plan->dnnl, bias);
    return status;
}

static ssld_status matmul_prepare(struct ssld_plan *plan, struct step *step)
{
    struct matmul *matmul = ssld_alloc_zero(plan->context, 1, sizeof *matmul);
    ssld_status status = SSLD_OK;
    step->state = matmul;
    if (!matmul)
        return ssld_fail_memory(plan->context, "a matrix product", sizeof *matmul);
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_planes_of_output(plan, step));
    for (int32_t i = 0; !status && i < step->node->input_count; i++)
        if (step->node->inputs[i] != SSLD_NO_VALUE && !plan_has_activation(plan, step->node->inputs[i]))
            status = ssld_plan_add_vector(plan, step, i);
    if (!status)
        status = create(plan, step, &matmul->forward.primitive);
    if (status)
        return status;
    ssld_call_made(plan, &matmul->forward);
    ssld_log(plan->context, SSLD_LOG_INFO, "MatMul '%s' forward: %s", step->node->name,
             ssld_primitive_name(&matmul->forward.primitive));
    return SSLD_OK;
}

/* -- Binding and running ------------------------------------------------------------------------------------------ */

static ssld_status narrow_constant(struct ssld_plan *plan, struct matmul *matmul, int32_t input, const float *from, int64_t count)
{
    uint16_t *narrow = matmul->narrow[input] = ssld_alloc(plan->context, (size_t)count * sizeof *narrow);
    if (!narrow)
        return ssld_fail_memory(plan->context, "a constant matrix", (size_t)count * sizeof *narrow);
    for (int64_t i = 0; i < count; i++)
        narrow[i] = bf16_of_any(from[i]);
    return SSLD_OK;
}

static ssld_status bind_input(struct ssld_plan *plan, struct step *step, int32_t input)
{
    static const int arguments[2] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS };
    static const dnnl_query_t queries[2] = { dnnl_query_src_md, dnnl_query_weights_md };
    struct matmul *matmul = step->state;
    const struct ssld_parameter *constant = ssld_step_parameter(plan, step, input);
    struct operand operand;
    if (constant && plan->type == ELEMENT_BF16) {
        ssld_status status = narrow_constant(plan, matmul, input, constant->value, constant->elements);
        if (status)
            return status;
        operand = ssld_operand_at(matmul->narrow[input]);
    } else if (constant) {
        operand = ssld_operand_at(constant->value);
    } else {
        operand = ssld_operand_src(plan, step, false, input);
        operand.base += ssld_layout_of(plan, step->node->inputs[input])->view.offset * (int64_t)element_size(plan->type);
    }
    return ssld_call_bind(plan, &matmul->forward, arguments[input], queries[input], 0, operand);
}

static ssld_status matmul_bind(struct ssld_plan *plan, struct step *step)
{
    struct matmul *matmul = step->state;
    const struct ssld_parameter *bias = ssld_step_parameter(plan, step, 2);
    ssld_status status = bind_input(plan, step, 0);
    if (!status)
        status = bind_input(plan, step, 1);
    if (!status && bias)
        status = ssld_call_bind(plan, &matmul->forward, DNNL_ARG_BIAS, dnnl_query_weights_md, 1, ssld_operand_at(bias->value));
    if (!status)
        status = ssld_call_bind(plan, &matmul->forward, DNNL_ARG_DST, dnnl_query_dst_md, 0, ssld_operand_dst(plan, step));
    return status ? status : ssld_call_bind_scratchpad(plan, &matmul->forward);
}

static ssld_status matmul_forward(struct ssld_plan *plan, struct step *step)
{
    struct matmul *matmul = step->state;
    return ssld_call_run(plan, step, &matmul->forward, "forward");
}

static void matmul_release(struct ssld_plan *plan, struct step *step)
{
    struct matmul *matmul = step->state;
    ssld_call_release(plan, &matmul->forward);
    ssld_free(plan->context, matmul->narrow[0]);
    ssld_free(plan->context, matmul->narrow[1]);
}

const struct engine_op ssld_op_matmul = {
    .kind = SSLD_OP_MATMUL,
    .prepare = matmul_prepare,
    .bind = matmul_bind,
    .forward = matmul_forward,
    .release = matmul_release,
};
