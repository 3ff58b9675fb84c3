/* SPDX-License-Identifier: BSD-2-Clause */
/* op_reduce.c - sums, means, extremes and norms over some axes. Reads any view (blocks too), writes plain.
 *
 * Every function is a start, a step and an end:
 *
 *   sum, mean, log sum   0   s + x            prod          1     s x             max, min   -inf, inf   the larger, smaller
 *   L1                   0   s + |x|          sum of squares, L2   0   s + x^2    log sum exp: with the maximum taken out
 *
 * The loops are those of a walk whose dst has strides of 0 along reduced axes. Kept loops are outside, the longest of src's close
 * ones innermost: either a row is summed in several lanes, or a row of sums takes row after row. */
#include "engine/kernels.h"
#include "engine/layouts.h"

#define LANES 16

struct reduce {
    struct walk walk; /* dst, src: kept loops, then reduced ones */
    int32_t     kept; /* loops */
    int64_t     count; /* elements in a sum */
};

/* -- Functions ---------------------------------------------------------------------------------------------------- */

static float start_of(int32_t function)
{
    return function == SSLD_REDUCE_MAX    ? -INFINITY
           : function == SSLD_REDUCE_MIN  ? INFINITY
           : function == SSLD_REDUCE_PROD ? 1.0f
                                          : 0;
}

/* Only with a constant function, one of kernel_of(). NaN comes through extremes. */
ALWAYS_INLINE float joined(int32_t function, float s, float x)
{
    return function == SSLD_REDUCE_MAX    ? (((x > s) | (x != x)) ? x : s)
           : function == SSLD_REDUCE_MIN  ? (((x < s) | (x != x)) ? x : s)
           : function == SSLD_REDUCE_PROD ? s * x
                                          : s + x;
}

ALWAYS_INLINE float taken(int32_t function, float x)
{
    return function == SSLD_REDUCE_L1 ? fabsf(x) : function == SSLD_REDUCE_L2 ? x * x : x;
}

static float finished(int32_t function, int64_t count, float s)
{
    return function == SSLD_REDUCE_MEAN      ? (float)((double)s / (double)count)
           : function == SSLD_REDUCE_L2      ? sqrtf(s)
           : function == SSLD_REDUCE_LOG_SUM ? logf(s)
                                             : s;
}

/* -- Kernels ------------------------------------------------------------------------------------------------------ */

/* One number of a run of `count`, `step` apart. Sums of sums: LANES side by side, blocks of them added in turn. */
ALWAYS_INLINE float run_loop(int32_t type, int32_t function, int64_t count, int64_t step, float start, const void *src)
{
    float lanes[LANES], s = start;
    int64_t i = 0;
    for (int64_t l = 0; l < LANES; l++)
        lanes[l] = start;
    for (; i + LANES <= count; i += LANES)
        for (int64_t l = 0; l < LANES; l++)
            lanes[l] = joined(function, lanes[l], taken(function, element_load(type, src, (i + l) * step)));
    for (; i < count; i++)
        s = joined(function, s, taken(function, element_load(type, src, i * step)));
    for (int64_t l = 0; l < LANES; l++)
        s = joined(function, s, lanes[l]);
    return s;
}

ALWAYS_INLINE float run_steps(int32_t type, int32_t function, int64_t count, int64_t step, float start, const void *src)
{
    return step == 1 ? run_loop(type, function, count, 1, start, src) : run_loop(type, function, count, step, start, src);
}

/* sums[i] with src[i], i < count, close together. */
ALWAYS_INLINE void row_loop(int32_t type, int32_t function, int64_t count, const void *src, float *sums)
{
    for (int64_t i = 0; i < count; i++)
        sums[i] = joined(function, sums[i], taken(function, element_load(type, src, i)));
}

#define FUNCTIONS(CASE)                                                                                                \
    CASE(SSLD_REDUCE_MEAN) CASE(SSLD_REDUCE_MAX) CASE(SSLD_REDUCE_MIN) CASE(SSLD_REDUCE_PROD) CASE(SSLD_REDUCE_L1)     \
    CASE(SSLD_REDUCE_L2)

/* Functions that join alike. */
static int32_t kernel_of(int32_t function)
{
    return function == SSLD_REDUCE_SUM || function == SSLD_REDUCE_LOG_SUM ? SSLD_REDUCE_MEAN
           : function == SSLD_REDUCE_SUM_SQUARE                          ? SSLD_REDUCE_L2
                                                                         : function;
}

#define RUN_CASE(function)                                                          \
    case function:                                                                  \
        WITH_TYPE(type, s = run_steps(TYPE, function, count, step, start, src));    \
        break;
MULTIVERSION static float reduce_run(int32_t type, int32_t function, int64_t count, int64_t step, const void *src)
{
    float start = start_of(function), s = start;
    switch (kernel_of(function)) {
        FUNCTIONS(RUN_CASE)
    }
    return s;
}

#define ROW_CASE(function)                                             \
    case function:                                                     \
        WITH_TYPE(type, row_loop(TYPE, function, count, src, sums));   \
        break;
MULTIVERSION static void reduce_row(int32_t type, int32_t function, int64_t count, const void *src, float *sums)
{
    switch (kernel_of(function)) {
        FUNCTIONS(ROW_CASE)
    }
}

/* -- Walking ------------------------------------------------------------------------------------------------------ */

struct work {
    const struct reduce *reduce;
    int32_t              type, dst_type, function;
    const void          *src;
    void                *dst;
};

static float joined_of(int32_t function, float a, float b)
{
    switch (kernel_of(function)) {
    case SSLD_REDUCE_MAX: return joined(SSLD_REDUCE_MAX, a, b);
    case SSLD_REDUCE_MIN: return joined(SSLD_REDUCE_MIN, a, b);
    case SSLD_REDUCE_PROD: return joined(SSLD_REDUCE_PROD, a, b);
    default: return a + b;
    }
}

/* Calls for each iteration of the reduced loops first .. last (without last) with an offset in src. */
#define FOR_REDUCED(walk, first, last, offset, ...)                                   \
    do {                                                                              \
        int64_t at_[VIEW_MOST_ATOMS] = { 0 }, offset = 0;                             \
        for (bool more_ = true; more_;) {                                             \
            __VA_ARGS__;                                                              \
            int32_t d_ = (last) - 1;                                                  \
            for (; d_ >= (first); d_--) {                                             \
                bool next_ = ++at_[d_] < (walk)->sizes[d_];                           \
                offset += (next_ ? 1 : 1 - (walk)->sizes[d_]) * (walk)->steps[1][d_]; \
                if (next_)                                                            \
                    break;                                                            \
                at_[d_] = 0;                                                          \
            }                                                                         \
            more_ = d_ >= (first);                                                    \
        }                                                                             \
    } while (0)

static float log_sum_exp(const struct work *work, const void *src)
{
    const struct walk *w = &work->reduce->walk;
    float most = -INFINITY;
    double sum = 0;
    FOR_REDUCED(w, work->reduce->kept, w->ndims, offset, {
        float x = element_load(work->type, src, offset);
        most = x > most || x != x ? x : most;
    });
    FOR_REDUCED(w, work->reduce->kept, w->ndims, offset, sum += exp((double)element_load(work->type, src, offset) - (double)most));
    return (float)(log(sum) + (double)most);
}

/* One number of dst: the last reduced loop is a run. */
static void reduce_number(const struct work *work, const void *src, void *dst)
{
    const struct reduce *reduce = work->reduce;
    const struct walk *w = &reduce->walk;
    int32_t last = w->ndims - 1;
    float s = start_of(work->function);
    if (work->function == SSLD_REDUCE_LOG_SUM_EXP)
        s = log_sum_exp(work, src);
    else if (reduce->kept == w->ndims) /* nothing is reduced */
        s = joined_of(work->function, s, reduce_run(work->type, work->function, 1, 1, src));
    else
        FOR_REDUCED(w, reduce->kept, last, offset,
                    s = joined_of(work->function, s, reduce_run(work->type, work->function, w->sizes[last], w->steps[1][last],
                                                                element_at_const(work->type, src, offset))));
    element_store(work->dst_type, dst, 0, finished(work->function, reduce->count, s));
}

#define ROW 256 /* sums at a time */

/* A row of dst that stands as src does: reduced loops outside. */
static void reduce_rows(const struct work *work, int64_t count, const void *src, void *dst)
{
    const struct reduce *reduce = work->reduce;
    const struct walk *w = &reduce->walk;
    float sums[ROW];
    for (int64_t first = 0; first < count; first += ROW) {
        int64_t some = count - first < ROW ? count - first : ROW;
        for (int64_t i = 0; i < some; i++)
            sums[i] = start_of(work->function);
        FOR_REDUCED(w, reduce->kept, w->ndims, offset,
                    reduce_row(work->type, work->function, some, element_at_const(work->type, src, offset + first), sums));
        for (int64_t i = 0; i < some; i++)
            element_store(work->dst_type, dst, first + i, finished(work->function, reduce->count, sums[i]));
    }
}

/* The kept loops of a walk. */
static struct walk kept_walk(const struct reduce *reduce)
{
    struct walk kept = reduce->walk;
    kept.ndims = reduce->kept;
    if (!kept.ndims) {
        kept.ndims = 1;
        kept.sizes[0] = kept.steps[0][0] = kept.steps[1][0] = 1;
    }
    return kept;
}

static void reduce_body(const void *context, const int64_t *offsets, int64_t count)
{
    const struct work *work = context;
    const struct reduce *reduce = work->reduce;
    const struct walk kept = kept_walk(reduce);
    int64_t dst_step = kept.steps[0][kept.ndims - 1], src_step = kept.steps[1][kept.ndims - 1];
    const void *src = element_at_const(work->type, work->src, offsets[1]);
    void *dst = element_at(work->dst_type, work->dst, offsets[0]);
    bool rows = dst_step == 1 && src_step == 1 && reduce->kept > 0 && reduce->kept < reduce->walk.ndims &&
                work->function != SSLD_REDUCE_LOG_SUM_EXP;
    if (rows) {
        reduce_rows(work, count, src, dst);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        reduce_number(work, element_at_const(work->type, src, i * src_step), element_at(work->dst_type, dst, i * dst_step));
}

/* -- The operator ------------------------------------------------------------------------------------------------- */

/* dst's view with the reduced axes back, and nothing moving along them. */
static struct view repeated_dst(const struct ssld_value *src, const int32_t *axes)
{
    struct view view;
    int64_t kept_dims[SSLD_MOST_DIMS];
    for (int32_t i = 0; i < src->ndims; i++)
        kept_dims[i] = axes[i] ? 1 : src->dims[i];
    view = ssld_view_dense(src->ndims, kept_dims);
    ssld_view_expand(&view, src->ndims, src->dims);
    return view;
}

/* Kept loops are where dst moves; the order within both groups stays. */
static void kept_first(struct reduce *reduce)
{
    struct walk *w = &reduce->walk, sorted = *w;
    int32_t next = 0;
    for (int32_t reduced = 0; reduced < 2; reduced++) {
        for (int32_t i = 0; i < w->ndims; i++) {
            if ((w->steps[0][i] == 0) != reduced)
                continue;
            sorted.sizes[next] = w->sizes[i];
            sorted.steps[0][next] = w->steps[0][i];
            sorted.steps[1][next++] = w->steps[1][i];
        }
        if (!reduced)
            reduce->kept = next;
    }
    *w = sorted;
}

static ssld_status reduce_prepare(struct ssld_plan *plan, struct step *step)
{
    const struct ssld_node *node = step->node;
    const struct ssld_value *src = &plan->graph->values[node->inputs[0]], *dst = &plan->graph->values[node->output];
    struct reduce *reduce = ssld_alloc_zero(plan->context, 1, sizeof *reduce);
    step->state = reduce;
    if (!reduce)
        return ssld_fail_memory(plan->context, "a reduction", sizeof *reduce);
    ssld_tensor_set_planes(ssld_step_dst(plan, step), ssld_planes_of_value(plan, dst));
    struct view to = repeated_dst(src, node->attributes.axes);
    const struct view *views[2] = { &to, &ssld_layout_of(plan, node->inputs[0])->view };
    if (!ssld_walk_make(2, views, &reduce->walk))
        return ssld_fail(plan->context, SSLD_INTERNAL, "'%s': no loops", node->name);
    if (ssld_walk_elements(&reduce->walk) == 1)
        reduce->walk.ndims = 0; /* its single loop is neither kept nor reduced */
    kept_first(reduce);
    reduce->count = ssld_value_elements(src) / ssld_value_elements(dst);
    return SSLD_OK;
}

static ssld_status reduce_forward(struct ssld_plan *plan, struct step *step)
{
    const struct reduce *reduce = step->state;
    struct tensor *dst = ssld_step_dst(plan, step);
    struct work work = { .reduce = reduce, .type = plan->type, .dst_type = dst->planes.type,
                         .function = step->node->attributes.function,
                         .src = ssld_value_data(plan, step->node->inputs[0]), .dst = dst->data };
    struct walk kept = kept_walk(reduce);
    ssld_walk_run(&kept, dst->planes.n, 1, reduce_body, &work);
    return SSLD_OK;
}

const struct engine_op ssld_op_reduce = {
    .kind = SSLD_OP_REDUCE,
    .layout = LAYOUT_VIEWS,
    .cheap = true,
    .prepare = reduce_prepare,
    .forward = reduce_forward,
};
