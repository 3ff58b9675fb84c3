/* SPDX-License-Identifier: BSD-2-Clause */
/* op_elementwise.c - functions of one, two and three numbers, with ONNX's broadcasting, on plain tensors, views and blocks.
 *
 * A broadcast operand is a view with strides of 0, so all shapes are one loop nest (view.h), of which a kernel does the two
 * innermost loops. What networks compute often is a vector loop each; the rest goes through graph/functions.c in double, number
 * by number. In bf16 plans constants stay single precision. */
#include "engine/kernels.h"
#include "engine/layouts.h"

struct elementwise {
    struct walk walk;       /* operand 0 is dst */
    int32_t     function;   /* the node's, or a faster one that is the same */
    int32_t     sources[3]; /* the inputs that operands 1 .. 3 are */
};

/* The two innermost loops: rows of columns. */
struct plane {
    int64_t rows, columns;
    int64_t row[WALK_MOST_OPERANDS], column[WALK_MOST_OPERANDS]; /* steps */
    int32_t types[WALK_MOST_OPERANDS];
};

struct work {
    struct plane            plane;
    const struct ssld_node *node;
    int32_t                 function;
    void                   *data[WALK_MOST_OPERANDS];
};

/* -- Two numbers -------------------------------------------------------------------------------------------------- */

ALWAYS_INLINE float binary_value(int32_t function, float a, float b)
{
    return function == SSLD_BINARY_ADD   ? a + b
           : function == SSLD_BINARY_SUB ? a - b
           : function == SSLD_BINARY_MUL ? a * b
           : function == SSLD_BINARY_DIV ? a / b
           : function == SSLD_BINARY_MIN ? (((a < b) | (a != a)) ? a : b)
                                         : (((a > b) | (a != a)) ? a : b);
}

static bool is_common_binary(int32_t function)
{
    return function == SSLD_BINARY_ADD || function == SSLD_BINARY_SUB || function == SSLD_BINARY_MUL ||
           function == SSLD_BINARY_DIV || function == SSLD_BINARY_MIN || function == SSLD_BINARY_MAX;
}

/* Steps within a row are 1, or 0 for one of the inputs. */
ALWAYS_INLINE void binary_rows(int32_t function, int32_t dst_type, int32_t a_type, int32_t b_type, int64_t columns,
                               int64_t a_step, int64_t b_step, const struct plane *p, void *dst, const void *a, const void *b)
{
    for (int64_t r = 0; r < p->rows; r++) {
        void *to = element_at(dst_type, dst, r * p->row[0]);
        const void *from_a = element_at_const(a_type, a, r * p->row[1]), *from_b = element_at_const(b_type, b, r * p->row[2]);
        for (int64_t i = 0; i < columns; i++)
            element_store(dst_type, to, i, binary_value(function, element_load(a_type, from_a, i * a_step),
                                                        element_load(b_type, from_b, i * b_step)));
    }
}

ALWAYS_INLINE void binary_steps(int32_t function, int32_t dst_type, int32_t a_type, int32_t b_type, const struct plane *p,
                                void *dst, const void *a, const void *b)
{
    if (!p->column[2])
        binary_rows(function, dst_type, a_type, b_type, p->columns, 1, 0, p, dst, a, b);
    else if (!p->column[1])
        binary_rows(function, dst_type, a_type, b_type, p->columns, 0, 1, p, dst, a, b);
    else if (p->columns == 16)
        binary_rows(function, dst_type, a_type, b_type, 16, 1, 1, p, dst, a, b);
    else
        binary_rows(function, dst_type, a_type, b_type, p->columns, 1, 1, p, dst, a, b);
}

ALWAYS_INLINE void binary_types(int32_t function, const struct plane *p, void *dst, const void *a, const void *b)
{
    if (p->types[0] == ELEMENT_F32)
        binary_steps(function, ELEMENT_F32, ELEMENT_F32, ELEMENT_F32, p, dst, a, b);
    else if (p->types[2] == ELEMENT_F32)
        binary_steps(function, ELEMENT_BF16, ELEMENT_BF16, ELEMENT_F32, p, dst, a, b);
    else if (p->types[1] == ELEMENT_F32)
        binary_steps(function, ELEMENT_BF16, ELEMENT_F32, ELEMENT_BF16, p, dst, a, b);
    else
        binary_steps(function, ELEMENT_BF16, ELEMENT_BF16, ELEMENT_BF16, p, dst, a, b);
}

#define BINARY_CASE(function)                 \
    case function:                            \
        binary_types(function, p, dst, a, b); \
        break
MULTIVERSION static void binary_plane(int32_t function, const struct plane *p, void *dst, const void *a, const void *b)
{
    switch (function) {
        BINARY_CASE(SSLD_BINARY_ADD);
        BINARY_CASE(SSLD_BINARY_SUB);
        BINARY_CASE(SSLD_BINARY_MUL);
        BINARY_CASE(SSLD_BINARY_DIV);
        BINARY_CASE(SSLD_BINARY_MIN);
        BINARY_CASE(SSLD_BINARY_MAX);
    }
}

/* Any function, any steps. */
static void binary_slowly(int32_t function, const struct plane *p, void *dst, const void *a, const void *b)
{
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t i = 0; i < p->columns; i++) {
            double x = (double)element_load(p->types[1], a, r * p->row[1] + i * p->column[1]);
            double y = (double)element_load(p->types[2], b, r * p->row[2] + i * p->column[2]);
            element_store(p->types[0], dst, r * p->row[0] + i * p->column[0], (float)ssld_binary_value(function, x, y));
        }
}

static void binary_work(const struct work *work, const struct plane *p, void *const *data)
{
    bool along = p->column[0] == 1 && (p->column[1] | 1) == 1 && (p->column[2] | 1) == 1 && p->column[1] + p->column[2] > 0;
    if (along && is_common_binary(work->function))
        binary_plane(work->function, p, data[0], data[1], data[2]);
    else
        binary_slowly(work->function, p, data[0], data[1], data[2]);
}

/* -- One number --------------------------------------------------------------------------------------------------- */

/* x tanh(ln(1 + e^x)) = x n / (n + 2), n = e^x (e^x + 2); above 20 it is x. */
ALWAYS_INLINE float mish_value(float x)
{
    float e = exp_of(x > 20.0f ? 20.0f : x), n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
}

ALWAYS_INLINE float unary_value(int32_t function, float alpha, float beta, float x)
{
    return function == SSLD_UNARY_SQRT         ? sqrtf(x)
           : function == SSLD_UNARY_EXP        ? exp_of(x)
           : function == SSLD_UNARY_ABS        ? fabsf(x)
           : function == SSLD_UNARY_NEG        ? -x
           : function == SSLD_UNARY_RECIPROCAL ? 1.0f / x
           : function == SSLD_UNARY_ERF        ? erf_of(x)
           : function == SSLD_UNARY_SOFTSIGN   ? x / (1.0f + fabsf(x))
           : function == SSLD_UNARY_ELU        ? (x < 0 ? alpha * (exp_of(x) - 1.0f) : x)
           : function == SSLD_UNARY_SELU       ? beta * (x < 0 ? alpha * (exp_of(x) - 1.0f) : x)
                                               : mish_value(x);
}

ALWAYS_INLINE void unary_loop(int32_t type, int32_t function, float alpha, float beta, int64_t count, const void *src,
                              void *dst)
{
    for (int64_t i = 0; i < count; i++)
        element_store(type, dst, i, unary_value(function, alpha, beta, element_load(type, src, i)));
}

#define UNARY_CASE(function)                                                                \
    case function:                                                                          \
        WITH_TYPE(type, unary_loop(TYPE, function, alpha, beta, count, src, dst));          \
        return true
/* False: not one of the common ones. */
MULTIVERSION static bool unary_line(int32_t function, float alpha, float beta, int32_t type, int64_t count, const void *src,
                                    void *dst)
{
    switch (function) {
        UNARY_CASE(SSLD_UNARY_SQRT);
        UNARY_CASE(SSLD_UNARY_EXP);
        UNARY_CASE(SSLD_UNARY_ABS);
        UNARY_CASE(SSLD_UNARY_NEG);
        UNARY_CASE(SSLD_UNARY_RECIPROCAL);
        UNARY_CASE(SSLD_UNARY_ERF);
        UNARY_CASE(SSLD_UNARY_SOFTSIGN);
        UNARY_CASE(SSLD_UNARY_ELU);
        UNARY_CASE(SSLD_UNARY_SELU);
        UNARY_CASE(SSLD_UNARY_MISH);
    }
    return false;
}

static void unary_work(const struct work *work, const struct plane *p, void *const *data)
{
    const struct ssld_attributes *attributes = &work->node->attributes;
    float alpha = attributes->alpha, beta = attributes->beta;
    for (int64_t r = 0; r < p->rows; r++) {
        void *dst = element_at(p->types[0], data[0], r * p->row[0]);
        const void *src = element_at_const(p->types[1], data[1], r * p->row[1]);
        if (p->column[0] == 1 && p->column[1] == 1 && p->types[0] == p->types[1] &&
            unary_line(work->function, alpha, beta, p->types[0], p->columns, src, dst))
            continue;
        for (int64_t i = 0; i < p->columns; i++) {
            double x = (double)element_load(p->types[1], src, i * p->column[1]);
            double y = ssld_unary_value(work->function, (double)alpha, (double)beta, x);
            element_store(p->types[0], dst, i * p->column[0], (float)y);
        }
    }
}

/* -- Three numbers ------------------------------------------------------------------------------------------------ */

static void where_work(const struct work *work, const struct plane *p, void *const *data)
{
    (void)work;
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t i = 0; i < p->columns; i++) {
            int32_t from = element_load(p->types[1], data[1], r * p->row[1] + i * p->column[1]) != 0 ? 2 : 3;
            float x = element_load(p->types[from], data[from], r * p->row[from] + i * p->column[from]);
            element_store(p->types[0], data[0], r * p->row[0] + i * p->column[0], x);
        }
}

/* -- Preparing ---------------------------------------------------------------------------------------------------- */

/* An operand of a node that works in blocks: padding lanes are channels like others. A constant has a number for each of them,
 * or zeros behind (as parameters have). */
static struct view view_in_blocks(const struct ssld_plan *plan, int32_t index)
{
    const struct ssld_value *value = &plan->graph->values[index];
    int32_t channels = value->ndims >= 3 ? value->ndims - 3 : 0;
    int64_t b = plan_block_of(plan, value->ndims >= 3 ? value->dims[channels] : 1);
    if (value->role == SSLD_VALUE_ACTIVATION) {
        int64_t dims[4] = { 1, (value->dims[1] + b - 1) / b * b, value->dims[2], value->dims[3] };
        struct view view = ssld_view_of_blocks(dims, b);
        ssld_view_slice(&view, 1, 0, 1, value->dims[1] == 1 ? 1 : dims[1]);
        return view;
    }
    struct view view;
    int64_t dims[SSLD_MOST_DIMS];
    memcpy(dims, value->dims, sizeof dims);
    if (value->ndims >= 3 && dims[channels] > 1)
        dims[channels] = (dims[channels] + b - 1) / b * b;
    view = ssld_view_dense(value->ndims, dims);
    view.image = 0;
    return view;
}

static struct view view_of_operand(const struct ssld_plan *plan, int32_t index, bool blocks)
{
    if (blocks)
        return view_in_blocks(plan, index);
    if (plan_has_activation(plan, index))
        return ssld_layout_of(plan, index)->view;
    struct view view = ssld_constant_view(&plan->graph->values[index]);
    view.image = 0;
    return view;
}

static ssld_status make_walk(struct ssld_plan *plan, struct step *step, struct elementwise *made)
{
    const struct ssld_node *node = step->node;
    bool blocks = ssld_layout_of(plan, node->output)->blocked;
    struct view views[WALK_MOST_OPERANDS];
    const struct view *pointers[WALK_MOST_OPERANDS];
    int64_t dims[SSLD_MOST_DIMS];
    views[0] = view_of_operand(plan, node->output, blocks);
    pointers[0] = &views[0];
    for (int32_t d = 0; d < views[0].ndims; d++)
        dims[d] = ssld_view_size(&views[0], d);
    for (int32_t i = 0; i < node->input_count; i++) {
        views[i + 1] = view_of_operand(plan, node->inputs[i], blocks);
        pointers[i + 1] = &views[i + 1];
        if (!ssld_view_expand(&views[i + 1], views[0].ndims, dims))
            return ssld_fail(plan->context, SSLD_INTERNAL, "'%s': no view", node->name);
    }
    return ssld_walk_make(node->input_count + 1, pointers, &made->walk)
               ? SSLD_OK : ssld_fail(plan->context, SSLD_INTERNAL, "'%s': no loops", node->name);
}

static ssld_status elementwise_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_node *node = step->node;
    struct elementwise *made = ssld_alloc_zero(plan->context, 1, sizeof *made);
    ssld_status status = SSLD_OK;
    step->state = made;
    if (!made)
        return ssld_fail_memory(plan->context, "an elementwise operator", sizeof *made);
    *made = (struct elementwise){ .function = node->attributes.function, .sources = { 0, 1, 2 } };
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_planes_of_value(plan, &plan->graph->values[node->output]));
    for (int32_t i = 0; !status && i < node->input_count; i++)
        if (!plan_has_activation(plan, node->inputs[i]))
            status = ssld_plan_add_vector(plan, step, i);
    return status ? status : make_walk(plan, step, made);
}

/* A square is a product. */
static ssld_status elementwise_bind(struct ssld_plan *plan, struct step *step)
{
    struct elementwise *made = step->state;
    const struct ssld_parameter *exponent = ssld_step_parameter(plan, step, 1);
    struct walk *walk = &made->walk;
    if (step->node->kind != SSLD_OP_BINARY || made->function != SSLD_BINARY_POW || !exponent || exponent->elements != 1 ||
        exponent->value[0] != 2.0f)
        return SSLD_OK;
    made->function = SSLD_BINARY_MUL;
    made->sources[1] = 0;
    memcpy(walk->steps[2], walk->steps[1], sizeof walk->steps[2]);
    walk->offsets[2] = walk->offsets[1];
    walk->images[2] = walk->images[1];
    return SSLD_OK;
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

static void run_body(const void *context, const int64_t *offsets, int64_t count)
{
    const struct work *work = context;
    struct plane plane = work->plane;
    void *data[WALK_MOST_OPERANDS];
    for (int32_t v = 0; v <= work->node->input_count; v++)
        data[v] = element_at(plane.types[v], work->data[v], offsets[v]);
    *(plane.rows ? &plane.rows : &plane.columns) = count;
    if (!plane.rows)
        plane.rows = 1;
    if (work->node->kind == SSLD_OP_UNARY)
        unary_work(work, &plane, data);
    else if (work->node->kind == SSLD_OP_BINARY)
        binary_work(work, &plane, data);
    else
        where_work(work, &plane, data);
}

static ssld_status elementwise_forward(struct ssld_plan *plan, struct step *step)
{
    const struct elementwise *made = step->state;
    const struct ssld_node *node = step->node;
    const struct walk *walk = &made->walk;
    struct tensor *dst = ssld_step_dst(plan, step);
    struct work work = { .node = node, .function = made->function };
    int32_t last = walk->ndims - 1;
    work.data[0] = dst->data;
    work.plane.types[0] = dst->planes.type;
    for (int32_t i = 0; i < node->input_count; i++) {
        struct ssld_parameter *constant = ssld_step_parameter(plan, step, made->sources[i]);
        work.data[i + 1] = constant ? constant->value : ssld_value_data(plan, node->inputs[made->sources[i]]);
        work.plane.types[i + 1] = constant ? ELEMENT_F32 : plan->type;
    }
    work.plane.rows = walk->ndims > 1 ? walk->sizes[last - 1] : 0; /* 0: one loop */
    work.plane.columns = walk->sizes[last];
    for (int32_t v = 0; v < walk->operands; v++) {
        work.plane.column[v] = walk->steps[v][last];
        work.plane.row[v] = walk->ndims > 1 ? walk->steps[v][last - 1] : 0;
    }
    ssld_walk_run(walk, dst->planes.n, 2, run_body, &work);
    if (ssld_layout_of(plan, node->output)->blocked)
        ssld_zero_padding(&dst->planes, dst->data);
    return SSLD_OK;
}

#define ELEMENTWISE(name, operator)                                                                                    \
    const struct engine_op name = { .kind = operator,                                                                  \
                                    .layout = LAYOUT_SAME,                                                             \
                                    .cheap = true,                                                                     \
                                    .prepare = elementwise_prepare,                                                    \
                                    .bind = elementwise_bind,                                                          \
                                    .forward = elementwise_forward }

ELEMENTWISE(ssld_op_unary, SSLD_OP_UNARY);
ELEMENTWISE(ssld_op_binary, SSLD_OP_BINARY);
ELEMENTWISE(ssld_op_where, SSLD_OP_WHERE);
