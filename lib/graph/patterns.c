/* SPDX-License-Identifier: BSD-2-Clause */
/* patterns.c - operators that files spell with several nodes, because their opset had not the one, put together again.
 *
 * Products are looked at as a whole: x * 0.5 * (1 + erf(x / 1.414)) is the factors x and 1 + erf(...) with the coefficient 0.5,
 * in whatever order a file multiplies and divides. The last node of a pattern becomes the operator and reads what the first ones
 * read; those in between go, where nobody else reads them, with ssld_graph_remove_unused(). */
#include "graph/uses.h"

#include <math.h>
#include <string.h>

struct matcher {
    struct ssld_graph *graph;
    struct uses        uses;
    bool              *bare; /* of each node: a layer norm made here that has no scale or shift of the file's yet */
};

/* -- What a value is ---------------------------------------------------------------------------------------------- */

/* Factors of forms like 1 / 6 are rounded to float, some twice. */
static bool close_to(double number, double wanted)
{
    return fabs(number - wanted) <= 2e-6 * fabs(wanted);
}

static struct ssld_node *maker(const struct matcher *matcher, int32_t value)
{
    int32_t node = value == SSLD_NO_VALUE ? SSLD_NO_VALUE : matcher->uses.producers[value];
    return node == SSLD_NO_VALUE ? NULL : &matcher->graph->nodes[node];
}

static struct ssld_node *made_by(const struct matcher *matcher, int32_t value, int32_t kind, int32_t function)
{
    struct ssld_node *node = maker(matcher, value);
    bool has_function = kind == SSLD_OP_UNARY || kind == SSLD_OP_BINARY || kind == SSLD_OP_REDUCE;
    return node && node->kind == kind && (!has_function || node->attributes.function == function) ? node : NULL;
}

static bool number_of(const struct matcher *matcher, int32_t value, double *number)
{
    const struct ssld_value *constant = &matcher->graph->values[value];
    if (constant->role == SSLD_VALUE_ACTIVATION || !constant->data || ssld_value_elements(constant) != 1)
        return false;
    *number = constant->data[0];
    return true;
}

/* value = other + number, in either order. */
static bool is_sum(const struct matcher *matcher, int32_t value, int32_t *other, double *number)
{
    const struct ssld_node *node = made_by(matcher, value, SSLD_OP_BINARY, SSLD_BINARY_ADD);
    for (int i = 0; node && i < 2; i++)
        if (number_of(matcher, node->inputs[i], number)) {
            *other = node->inputs[1 - i];
            return true;
        }
    return false;
}

/* value = x to the power of 2 or 3, spelled with Pow or with Mul. */
static bool is_power(const struct matcher *matcher, int32_t value, int32_t x, int power)
{
    double exponent;
    const struct ssld_node *node = made_by(matcher, value, SSLD_OP_BINARY, SSLD_BINARY_POW);
    if (node)
        return node->inputs[0] == x && number_of(matcher, node->inputs[1], &exponent) && exponent == power;
    node = made_by(matcher, value, SSLD_OP_BINARY, SSLD_BINARY_MUL);
    if (!node || power < 2)
        return power == 1 && value == x;
    return (node->inputs[0] == x && is_power(matcher, node->inputs[1], x, power - 1)) ||
           (node->inputs[1] == x && is_power(matcher, node->inputs[0], x, power - 1));
}

/* -- Products ----------------------------------------------------------------------------------------------------- */

#define MOST_FACTORS 4
#define MOST_DEPTH 8 /* of products in products: a pattern has three or four */

struct product {
    double  coefficient;
    int32_t factors[MOST_FACTORS]; /* values that are no numbers */
    int32_t count;                 /* MOST_FACTORS + 1: too many */
};

static void add_factors(const struct matcher *matcher, int32_t value, int depth, struct product *product)
{
    const struct ssld_node *node = maker(matcher, value);
    double number;
    bool inner =
        node && node->kind == SSLD_OP_BINARY && (!depth || (depth < MOST_DEPTH && matcher->uses.readers[value] == 1));
    if (number_of(matcher, value, &number)) {
        product->coefficient *= number;
    } else if (inner && node->attributes.function == SSLD_BINARY_MUL) {
        add_factors(matcher, node->inputs[0], depth + 1, product);
        add_factors(matcher, node->inputs[1], depth + 1, product);
    } else if (inner && node->attributes.function == SSLD_BINARY_DIV && number_of(matcher, node->inputs[1], &number)) {
        product->coefficient /= number;
        add_factors(matcher, node->inputs[0], depth + 1, product);
    } else if (product->count < MOST_FACTORS) {
        product->factors[product->count++] = value;
    } else {
        product->count = MOST_FACTORS + 1;
    }
}

static struct product product_of(const struct matcher *matcher, int32_t value)
{
    struct product product = { .coefficient = 1 };
    add_factors(matcher, value, 0, &product);
    return product;
}

/* value = number * x */
static bool is_multiple(const struct matcher *matcher, int32_t value, int32_t x, double number)
{
    struct product product = product_of(matcher, value);
    return product.count == 1 && product.factors[0] == x && close_to(product.coefficient, number);
}

/* -- Activations -------------------------------------------------------------------------------------------------- */

/* value = 1 + erf(x / sqrt(2)) */
static bool is_erf_gate(const struct matcher *matcher, int32_t value, int32_t x)
{
    int32_t inner;
    double one;
    if (!is_sum(matcher, value, &inner, &one) || one != 1)
        return false;
    const struct ssld_node *erf = made_by(matcher, inner, SSLD_OP_UNARY, SSLD_UNARY_ERF);
    return erf && is_multiple(matcher, erf->inputs[0], x, 0.70710678118654752);
}

/* value = x + 0.044715 * x^3 */
static bool is_cubic(const struct matcher *matcher, int32_t value, int32_t x)
{
    const struct ssld_node *sum = made_by(matcher, value, SSLD_OP_BINARY, SSLD_BINARY_ADD);
    for (int i = 0; sum && i < 2; i++) {
        if (sum->inputs[i] != x)
            continue;
        struct product term = product_of(matcher, sum->inputs[1 - i]);
        bool cube = term.count == 1 && is_power(matcher, term.factors[0], x, 3);
        cube = cube || (term.count == 2 && ((term.factors[0] == x && is_power(matcher, term.factors[1], x, 2)) ||
                                            (term.factors[1] == x && is_power(matcher, term.factors[0], x, 2))));
        cube = cube || (term.count == 3 && term.factors[0] == x && term.factors[1] == x && term.factors[2] == x);
        if (cube && close_to(term.coefficient, 0.044715))
            return true;
    }
    return false;
}

/* value = 1 + 0.044715 * x^2 */
static bool is_quadratic(const struct matcher *matcher, int32_t value, int32_t x)
{
    int32_t inner;
    double one;
    if (!is_sum(matcher, value, &inner, &one) || one != 1)
        return false;
    struct product term = product_of(matcher, inner);
    bool square = (term.count == 1 && is_power(matcher, term.factors[0], x, 2)) ||
                  (term.count == 2 && term.factors[0] == x && term.factors[1] == x);
    return square && close_to(term.coefficient, 0.044715);
}

/* value = 1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)), also with x before the brackets */
static bool is_tanh_gate(const struct matcher *matcher, int32_t value, int32_t x)
{
    int32_t inner;
    double one;
    if (!is_sum(matcher, value, &inner, &one) || one != 1)
        return false;
    const struct ssld_node *tanh_node = made_by(matcher, inner, SSLD_OP_TANH, 0);
    if (!tanh_node)
        return false;
    struct product argument = product_of(matcher, tanh_node->inputs[0]);
    if (!close_to(argument.coefficient, 0.79788456080286536))
        return false;
    if (argument.count == 1)
        return is_cubic(matcher, argument.factors[0], x);
    return argument.count == 2 && ((argument.factors[0] == x && is_quadratic(matcher, argument.factors[1], x)) ||
                                   (argument.factors[1] == x && is_quadratic(matcher, argument.factors[0], x)));
}

/* value = clip(x + 3, 0, 6), by Clip or by Max and Min */
static bool is_hard_gate(const struct matcher *matcher, int32_t value, int32_t *x)
{
    double low, high, three;
    int32_t sum;
    const struct ssld_node *node = maker(matcher, value);
    if (node && node->kind == SSLD_OP_CLIP) {
        low = node->attributes.alpha;
        high = node->attributes.beta;
        sum = node->inputs[0];
    } else {
        const struct ssld_node *upper = made_by(matcher, value, SSLD_OP_BINARY, SSLD_BINARY_MIN);
        int side = upper && number_of(matcher, upper->inputs[0], &high) ? 0 : 1;
        if (!upper || !number_of(matcher, upper->inputs[side], &high))
            return false;
        int32_t inner = upper->inputs[1 - side];
        const struct ssld_node *lower = made_by(matcher, inner, SSLD_OP_BINARY, SSLD_BINARY_MAX);
        if (made_by(matcher, inner, SSLD_OP_RELU, 0)) {
            low = 0;
            sum = maker(matcher, inner)->inputs[0];
        } else if (lower &&
                   (number_of(matcher, lower->inputs[0], &low) || number_of(matcher, lower->inputs[1], &low))) {
            sum = number_of(matcher, lower->inputs[0], &low) ? lower->inputs[1] : lower->inputs[0];
        } else {
            return false;
        }
    }
    return low == 0 && high == 6 && is_sum(matcher, sum, x, &three) && three == 3;
}

static void become(struct matcher *matcher, struct ssld_node *node, int32_t kind, int32_t src)
{
    for (int32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != SSLD_NO_VALUE)
            matcher->uses.readers[node->inputs[i]]--;
    matcher->uses.readers[src]++;
    node->kind = kind;
    node->attributes = ssld_op_defaults(kind);
    node->inputs[0] = src;
    for (int32_t i = 1; i < SSLD_MOST_INPUTS; i++)
        node->inputs[i] = SSLD_NO_VALUE;
    node->input_count = 1;
}

static void join_product(struct matcher *matcher, struct ssld_node *node)
{
    struct product product = product_of(matcher, node->output);
    int32_t x;
    if (product.count == 1 && is_hard_gate(matcher, product.factors[0], &x) && close_to(product.coefficient, 1.0 / 6)) {
        become(matcher, node, SSLD_OP_HARD_SIGMOID, x);
        node->attributes.alpha = 1.0f / 6.0f;
        node->attributes.beta = 0.5f;
        return;
    }
    for (int i = 0; product.count == 2 && i < 2; i++) {
        int32_t gate = product.factors[1 - i], of = SSLD_NO_VALUE;
        const struct ssld_node *maker_of_gate = maker(matcher, gate);
        x = product.factors[i];
        bool half = close_to(product.coefficient, 0.5);
        if (half && is_erf_gate(matcher, gate, x)) {
            become(matcher, node, SSLD_OP_GELU, x);
        } else if (half && is_tanh_gate(matcher, gate, x)) {
            become(matcher, node, SSLD_OP_GELU_TANH, x);
        } else if (close_to(product.coefficient, 1.0 / 6) && is_hard_gate(matcher, gate, &of) && of == x) {
            become(matcher, node, SSLD_OP_HARD_SWISH, x);
        } else if (product.coefficient == 1 && maker_of_gate && maker_of_gate->kind == SSLD_OP_TANH) {
            const struct ssld_node *softplus =
                made_by(matcher, maker_of_gate->inputs[0], SSLD_OP_UNARY, SSLD_UNARY_SOFTPLUS);
            if (!softplus || softplus->inputs[0] != x)
                continue;
            become(matcher, node, SSLD_OP_UNARY, x);
            node->attributes.function = SSLD_UNARY_MISH;
        } else {
            continue;
        }
        return;
    }
}

/* ln(1 + e^x) */
static void join_softplus(struct matcher *matcher, struct ssld_node *node)
{
    int32_t inner;
    double one;
    if (!is_sum(matcher, node->inputs[0], &inner, &one) || one != 1)
        return;
    const struct ssld_node *power = made_by(matcher, inner, SSLD_OP_UNARY, SSLD_UNARY_EXP);
    if (!power)
        return;
    become(matcher, node, SSLD_OP_UNARY, power->inputs[0]);
    node->attributes.function = SSLD_UNARY_SOFTPLUS;
}

/* -- Softmax ------------------------------------------------------------------------------------------------------ */

/* The one axis that a reduction with keepdims sums over; -1: it is another one. */
static int32_t reduced_axis(const struct matcher *matcher, const struct ssld_node *node)
{
    int32_t axis = -1;
    for (int32_t i = 0; i < matcher->graph->values[node->inputs[0]].ndims; i++)
        if (node->attributes.axes[i])
            axis = axis < 0 ? i : SSLD_MOST_DIMS;
    return node->attributes.keepdims && axis < SSLD_MOST_DIMS ? axis : -1;
}

/* e^x / sum e^x, or with x - max x for x */
static void join_softmax(struct matcher *matcher, struct ssld_node *node)
{
    const struct ssld_node *power = made_by(matcher, node->inputs[0], SSLD_OP_UNARY, SSLD_UNARY_EXP);
    const struct ssld_node *sum = made_by(matcher, node->inputs[1], SSLD_OP_REDUCE, SSLD_REDUCE_SUM);
    int32_t axis = power && sum && sum->inputs[0] == power->output ? reduced_axis(matcher, sum) : -1;
    if (axis < 0)
        return;
    int32_t x = power->inputs[0];
    const struct ssld_node *shifted = made_by(matcher, x, SSLD_OP_BINARY, SSLD_BINARY_SUB);
    const struct ssld_node *largest =
        shifted ? made_by(matcher, shifted->inputs[1], SSLD_OP_REDUCE, SSLD_REDUCE_MAX) : NULL;
    if (largest && largest->inputs[0] == shifted->inputs[0] && reduced_axis(matcher, largest) == axis)
        x = shifted->inputs[0];
    become(matcher, node, SSLD_OP_SOFTMAX, x);
    node->attributes.axis = axis;
}

/* -- Layer norm --------------------------------------------------------------------------------------------------- */

/* value = x - mean(x) over one axis */
static bool is_centred(const struct matcher *matcher, int32_t value, int32_t *x, int32_t *axis)
{
    const struct ssld_node *difference = made_by(matcher, value, SSLD_OP_BINARY, SSLD_BINARY_SUB);
    const struct ssld_node *mean =
        difference ? made_by(matcher, difference->inputs[1], SSLD_OP_REDUCE, SSLD_REDUCE_MEAN) : NULL;
    if (!mean || mean->inputs[0] != difference->inputs[0])
        return false;
    *x = difference->inputs[0];
    *axis = reduced_axis(matcher, mean);
    return *axis >= 0;
}

/* value = sqrt(mean((x - mean x)^2) + epsilon) */
static bool is_deviation(const struct matcher *matcher, int32_t value, int32_t *x, int32_t *axis, double *epsilon)
{
    const struct ssld_node *root = made_by(matcher, value, SSLD_OP_UNARY, SSLD_UNARY_SQRT);
    int32_t variance, centred = SSLD_NO_VALUE;
    if (!root || !is_sum(matcher, root->inputs[0], &variance, epsilon))
        return false;
    const struct ssld_node *mean = made_by(matcher, variance, SSLD_OP_REDUCE, SSLD_REDUCE_MEAN);
    const struct ssld_node *square = mean ? maker(matcher, mean->inputs[0]) : NULL;
    if (square && square->kind == SSLD_OP_BINARY)
        centred = square->inputs[0];
    return centred != SSLD_NO_VALUE && is_power(matcher, mean->inputs[0], centred, 2) &&
           is_centred(matcher, centred, x, axis) && reduced_axis(matcher, mean) == *axis && *epsilon >= 0;
}

static bool same_norm(const struct matcher *matcher, int32_t centred, int32_t deviation, int32_t *x, int32_t *axis,
                      double *epsilon)
{
    int32_t other, other_axis;
    return is_centred(matcher, centred, &other, &other_axis) && is_deviation(matcher, deviation, x, axis, epsilon) &&
           *x == other && *axis == other_axis;
}

/* A constant of one number for each element of `axis`, in whatever shape that broadcasts so; its data. */
static const float *vector_along(const struct matcher *matcher, int32_t value, int32_t axis, int32_t ndims,
                                 int64_t count)
{
    const struct ssld_value *constant = &matcher->graph->values[value];
    int32_t own = axis - (ndims - constant->ndims);
    if (constant->role == SSLD_VALUE_ACTIVATION || ssld_value_elements(constant) != count || own < 0 ||
        constant->dims[own] != count)
        return NULL;
    return constant->data;
}

/* Adds a vector to the graph: of the constant's numbers and role, or of ones. */
static ssld_status add_vector(struct matcher *matcher, int32_t like, const float *data, int64_t count, int32_t *value)
{
    int32_t role = like == SSLD_NO_VALUE ? SSLD_VALUE_PARAMETER : matcher->graph->values[like].role;
    ssld_status status = ssld_graph_add_value(matcher->graph, NULL, role, 1, &count, data, value);
    for (int64_t i = 0; !status && !data && i < count; i++)
        matcher->graph->values[*value].data[i] = 1;
    if (!status)
        matcher->graph->values[*value].no_decay = true;
    return status;
}

static ssld_status make_norm(struct matcher *matcher, struct ssld_node *node, int32_t x, int32_t axis, double epsilon,
                             int32_t scale, int32_t shift)
{
    int64_t count = matcher->graph->values[x].dims[axis];
    const float *scales = scale == SSLD_NO_VALUE ? NULL : matcher->graph->values[scale].data;
    int32_t own_scale = SSLD_NO_VALUE, own_shift = SSLD_NO_VALUE;
    ssld_status status = add_vector(matcher, scale, scales, count, &own_scale);
    if (!status && shift != SSLD_NO_VALUE)
        status = add_vector(matcher, shift, matcher->graph->values[shift].data, count, &own_shift);
    if (status)
        return status;
    become(matcher, node, SSLD_OP_LAYER_NORM, x);
    node->attributes.axis = axis;
    node->attributes.epsilon = (float)epsilon;
    node->inputs[1] = own_scale;
    node->inputs[2] = own_shift;
    node->input_count = own_shift == SSLD_NO_VALUE ? 2 : 3;
    matcher->bare[node - matcher->graph->nodes] = scale == SSLD_NO_VALUE;
    return SSLD_OK;
}

/* (x - mean) / deviation, or times its reciprocal: a norm without scale and shift. */
static ssld_status join_bare_norm(struct matcher *matcher, struct ssld_node *node)
{
    int32_t x, axis;
    double epsilon;
    for (int i = 0; i < 2; i++) {
        int32_t centred = node->inputs[i], deviation = node->inputs[1 - i];
        if (node->attributes.function == SSLD_BINARY_MUL) {
            const struct ssld_node *inverse = made_by(matcher, deviation, SSLD_OP_UNARY, SSLD_UNARY_RECIPROCAL);
            deviation = inverse ? inverse->inputs[0] : SSLD_NO_VALUE;
        } else if (i || node->attributes.function != SSLD_BINARY_DIV) {
            return SSLD_OK;
        }
        if (same_norm(matcher, centred, deviation, &x, &axis, &epsilon))
            return make_norm(matcher, node, x, axis, epsilon, SSLD_NO_VALUE, SSLD_NO_VALUE);
    }
    return SSLD_OK;
}

/* Mul or Add behind a norm made here brings its scale or shift. */
static ssld_status join_scale_and_shift(struct matcher *matcher, struct ssld_node *node)
{
    bool scale = node->attributes.function == SSLD_BINARY_MUL;
    for (int i = 0; i < 2; i++) {
        struct ssld_node *norm = made_by(matcher, node->inputs[i], SSLD_OP_LAYER_NORM, 0);
        if (!norm || matcher->uses.readers[norm->output] != 1 || norm->input_count > 2 ||
            (scale && !matcher->bare[norm - matcher->graph->nodes]))
            continue;
        const struct ssld_value *dst = &matcher->graph->values[norm->output];
        int32_t axis = norm->attributes.axis, other = node->inputs[1 - i], vector;
        int64_t count = dst->dims[axis];
        const float *data = vector_along(matcher, other, axis, dst->ndims, count);
        if (!data)
            continue;
        ssld_status status = add_vector(matcher, other, data, count, &vector);
        if (status)
            return status;
        if (scale) {
            norm->inputs[1] = vector;
            matcher->bare[norm - matcher->graph->nodes] = false;
        } else {
            norm->inputs[2] = vector;
            norm->input_count = 3;
        }
        /* What is left of the node reads nothing of its own. */
        become(matcher, node, SSLD_OP_IDENTITY, norm->inputs[0]);
        ssld_uses_swap_outputs(&matcher->uses, norm, node);
        return SSLD_OK;
    }
    return SSLD_OK;
}

/* TensorFlow's: x * r + (shift - mean * r) with r = scale / deviation. */
static ssld_status join_tensorflow_norm(struct matcher *matcher, struct ssld_node *node)
{
    for (int i = 0; i < 2; i++) {
        const struct ssld_node *scaled = made_by(matcher, node->inputs[i], SSLD_OP_BINARY, SSLD_BINARY_MUL);
        const struct ssld_node *rest = made_by(matcher, node->inputs[1 - i], SSLD_OP_BINARY, SSLD_BINARY_SUB);
        const struct ssld_node *moved =
            rest ? made_by(matcher, rest->inputs[1], SSLD_OP_BINARY, SSLD_BINARY_MUL) : NULL;
        for (int k = 0; scaled && moved && k < 4; k++) {
            int32_t x = scaled->inputs[k & 1], r = scaled->inputs[1 - (k & 1)], mean = moved->inputs[k >> 1];
            const struct ssld_node *mean_node = made_by(matcher, mean, SSLD_OP_REDUCE, SSLD_REDUCE_MEAN);
            const struct ssld_node *factor = made_by(matcher, r, SSLD_OP_BINARY, SSLD_BINARY_MUL);
            if (moved->inputs[1 - (k >> 1)] != r || !mean_node || mean_node->inputs[0] != x || !factor)
                continue;
            for (int side = 0; side < 2; side++) {
                const struct ssld_node *inverse =
                    made_by(matcher, factor->inputs[side], SSLD_OP_UNARY, SSLD_UNARY_RECIPROCAL);
                int32_t of, axis, scale = factor->inputs[1 - side], shift = rest->inputs[0];
                double epsilon;
                if (!inverse || !is_deviation(matcher, inverse->inputs[0], &of, &axis, &epsilon) || of != x ||
                    reduced_axis(matcher, mean_node) != axis)
                    continue;
                const struct ssld_value *src = &matcher->graph->values[x];
                if (vector_along(matcher, scale, axis, src->ndims, src->dims[axis]) &&
                    vector_along(matcher, shift, axis, src->ndims, src->dims[axis]))
                    return make_norm(matcher, node, x, axis, epsilon, scale, shift);
            }
        }
    }
    return SSLD_OK;
}

/* -- The pass ----------------------------------------------------------------------------------------------------- */

static ssld_status join_node(struct matcher *matcher, struct ssld_node *node)
{
    ssld_status status = SSLD_OK;
    int32_t function = node->attributes.function;
    if (node->kind == SSLD_OP_UNARY && function == SSLD_UNARY_LOG)
        join_softplus(matcher, node);
    if (node->kind != SSLD_OP_BINARY)
        return SSLD_OK;
    if (function == SSLD_BINARY_DIV)
        join_softmax(matcher, node);
    if (node->kind == SSLD_OP_BINARY && (function == SSLD_BINARY_DIV || function == SSLD_BINARY_MUL))
        status = join_bare_norm(matcher, node);
    if (!status && node->kind == SSLD_OP_BINARY && function == SSLD_BINARY_ADD)
        status = join_tensorflow_norm(matcher, node);
    if (!status && node->kind == SSLD_OP_BINARY && (function == SSLD_BINARY_ADD || function == SSLD_BINARY_MUL))
        status = join_scale_and_shift(matcher, node);
    if (!status && node->kind == SSLD_OP_BINARY && (function == SSLD_BINARY_DIV || function == SSLD_BINARY_MUL))
        join_product(matcher, node);
    return status;
}

ssld_status ssld_graph_join_patterns(struct ssld_graph *graph)
{
    struct matcher matcher = { .graph = graph };
    ssld_status status = ssld_uses_take(graph, &matcher.uses);
    if (status)
        return status;
    matcher.bare = ssld_alloc_zero(graph->context, (size_t)graph->node_count + 1, sizeof *matcher.bare);
    if (!matcher.bare)
        status = ssld_fail_memory(graph->context, "a graph pass", (size_t)graph->node_count + 1);
    /* Values made here are constants, which nobody looks up: the arrays of uses need not grow. */
    for (int32_t n = 0; n < graph->node_count && !status; n++)
        status = join_node(&matcher, &graph->nodes[n]);
    ssld_free(graph->context, matcher.bare);
    ssld_uses_free(graph, &matcher.uses);
    return status ? status : ssld_graph_remove_unused(graph);
}
