/* SPDX-License-Identifier: BSD-2-Clause */
/* general_reference.h - graph/reference.h for operators of any rank: one image at a time, one element of the output at a time,
 * in double.
 *
 *   struct reference run = general_run(graph, batch, pixels);
 */
#ifndef SSLD_TESTS_ENGINE_GENERAL_REFERENCE_H
#define SSLD_TESTS_ENGINE_GENERAL_REFERENCE_H

#include "graph/reference.h"

/* A node's input for one image. */
struct general_input {
    const struct ssld_value *value;
    const double            *activation;
    int64_t                  strides[SSLD_MOST_DIMS];
};

static inline double general_at(const struct general_input *in, int64_t i)
{
    return in->activation ? in->activation[i] : in->value->data[i];
}

static inline void general_strides(const struct ssld_value *value, int64_t *strides)
{
    int64_t stride = 1;
    for (int32_t i = value->ndims - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= value->dims[i];
    }
}

/* The element that a broadcast input has at an index of dst. */
static inline double general_broadcast(const struct general_input *in, const struct ssld_value *dst, const int64_t *index)
{
    int64_t at = 0;
    for (int32_t i = 0; i < in->value->ndims; i++) {
        int64_t k = index[dst->ndims - in->value->ndims + i];
        at += in->value->dims[i] == 1 ? 0 : k * in->strides[i];
    }
    return general_at(in, at);
}

static inline void general_index(const struct ssld_value *value, int64_t flat, int64_t *index)
{
    for (int32_t i = value->ndims - 1; i >= 0; i--) {
        index[i] = flat % value->dims[i];
        flat /= value->dims[i];
    }
}

static inline double general_matmul(const struct general_input *in, const struct ssld_value *dst, const int64_t *index)
{
    const struct general_input *a = &in[0], *b = &in[1];
    int32_t rank_a = a->value->ndims, rank_b = b->value->ndims;
    int64_t from_a = 0, from_b = 0, depth = a->value->dims[rank_a - 1];
    double sum = 0;
    for (int32_t i = 0; i < rank_a - 2; i++)
        from_a += a->value->dims[i] == 1 ? 0 : index[dst->ndims - rank_a + i] * a->strides[i];
    for (int32_t i = 0; i < rank_b - 2; i++)
        from_b += b->value->dims[i] == 1 ? 0 : index[dst->ndims - rank_b + i] * b->strides[i];
    from_a += index[dst->ndims - 2] * a->strides[rank_a - 2];
    from_b += index[dst->ndims - 1];
    for (int64_t k = 0; k < depth; k++)
        sum += general_at(a, from_a + k) * general_at(b, from_b + k * b->strides[rank_b - 2]);
    return sum + (in[2].value ? general_at(&in[2], index[dst->ndims - 1]) : 0);
}

/* Softmax, LogSoftmax and layer norm: the row of the axis through an index. */
static inline double general_row(const struct ssld_node *node, const struct general_input *in, const int64_t *index)
{
    int32_t axis = node->attributes.axis;
    int64_t first = 0, size = in->value->dims[axis], step = in->strides[axis];
    double most = -INFINITY, sum = 0, mean = 0, variance = 0;
    for (int32_t i = 0; i < in->value->ndims; i++)
        first += i == axis ? 0 : index[i] * in->strides[i];
    double x = general_at(in, first + index[axis] * step);
    for (int64_t k = 0; k < size; k++) {
        most = fmax(most, general_at(in, first + k * step));
        mean += general_at(in, first + k * step) / (double)size;
    }
    for (int64_t k = 0; k < size; k++) {
        sum += exp(general_at(in, first + k * step) - most);
        variance += pow(general_at(in, first + k * step) - mean, 2) / (double)size;
    }
    if (node->kind == SSLD_OP_SOFTMAX)
        return exp(x - most) / sum;
    if (node->kind == SSLD_OP_LOG_SOFTMAX)
        return x - most - log(sum);
    return (x - mean) / sqrt(variance + node->attributes.epsilon) * general_at(&in[1], index[axis]) +
           (in[2].value ? general_at(&in[2], index[axis]) : 0);
}

static inline double general_reduce(const struct ssld_node *node, const struct general_input *in, const struct ssld_value *dst,
                                    const int64_t *index)
{
    int32_t function = node->attributes.function, kept = 0;
    int64_t place[SSLD_MOST_DIMS], count = 0;
    double sum = 0, most = -INFINITY, least = INFINITY, product = 1, norm = 0, squares = 0, exponentials = 0;
    (void)dst;
    for (int32_t i = 0; i < in->value->ndims; i++)
        if (!node->attributes.axes[i] || node->attributes.keepdims)
            place[i] = index[kept++];
        else
            place[i] = 0;
    for (int64_t flat = 0; flat < ssld_value_elements(in->value); flat++) {
        int64_t at[SSLD_MOST_DIMS];
        bool ours = true;
        general_index(in->value, flat, at);
        for (int32_t i = 0; i < in->value->ndims; i++)
            ours = ours && (node->attributes.axes[i] || at[i] == place[i]);
        if (!ours)
            continue;
        double x = general_at(in, flat);
        count++;
        sum += x;
        most = fmax(most, x);
        least = fmin(least, x);
        product *= x;
        norm += fabs(x);
        squares += x * x;
        exponentials += exp(x);
    }
    const double results[SSLD_REDUCTIONS] = {
        [SSLD_REDUCE_MEAN] = sum / (double)count, [SSLD_REDUCE_SUM] = sum, [SSLD_REDUCE_MAX] = most,
        [SSLD_REDUCE_MIN] = least, [SSLD_REDUCE_PROD] = product, [SSLD_REDUCE_L1] = norm, [SSLD_REDUCE_L2] = sqrt(squares),
        [SSLD_REDUCE_LOG_SUM] = log(sum), [SSLD_REDUCE_LOG_SUM_EXP] = log(exponentials), [SSLD_REDUCE_SUM_SQUARE] = squares,
    };
    return results[function];
}

/* Operators that give an element of the input, or the fill. */
static inline double general_moved(const struct ssld_node *node, const struct general_input *in, const int64_t *index)
{
    const struct ssld_attributes *a = &node->attributes;
    int64_t at = 0;
    for (int32_t i = 0; i < in->value->ndims; i++) {
        int64_t k = index[i], size = in->value->dims[i];
        if (node->kind == SSLD_OP_TRANSPOSE) {
            at += k * in->strides[a->perm[i]];
            continue;
        }
        if (node->kind == SSLD_OP_STRIDED_SLICE)
            k = a->starts[i] + k * a->steps[i];
        else if (node->kind == SSLD_OP_TILE)
            k %= size;
        else if (node->kind == SSLD_OP_GATHER)
            k = i == a->axis ? (int64_t)in[1].value->data[k] : k;
        else { /* Pad */
            k -= a->before[i];
            if (k < 0 || k >= size) {
                if (a->mode == SSLD_PAD_CONSTANT)
                    return a->alpha;
                k = a->mode == SSLD_PAD_EDGE   ? (k < 0 ? 0 : size - 1)
                    : a->mode == SSLD_PAD_WRAP ? (k + size) % size
                                               : (k < 0 ? -k : 2 * size - 2 - k);
            }
        }
        at += k * in->strides[i];
    }
    return general_at(in, at);
}

static inline double general_join(const struct ssld_node *node, const struct general_input *in, int32_t inputs, const int64_t *index)
{
    int64_t along = index[node->attributes.axis];
    int32_t i = 0;
    while (i + 1 < inputs && along >= in[i].value->dims[node->attributes.axis])
        along -= in[i++].value->dims[node->attributes.axis];
    int64_t at = 0;
    for (int32_t d = 0; d < in[i].value->ndims; d++)
        at += (d == node->attributes.axis ? along : index[d]) * in[i].strides[d];
    return general_at(&in[i], at);
}

static inline double general_resize(const struct ssld_node *node, const struct general_input *in, const struct ssld_value *dst,
                                    const int64_t *index)
{
    const struct ssld_attributes *a = &node->attributes;
    double sum = 0, places[2];
    for (int32_t axis = 0; axis < 2; axis++) {
        int64_t size = in->value->dims[2 + axis];
        places[axis] = ssld_resize_source(a, axis, size, dst->dims[2 + axis], index[2 + axis]);
        if (a->mode == SSLD_RESIZE_NEAREST)
            places[axis] = (double)ssld_resize_round(a->rounding, places[axis], size);
        places[axis] = fmin(fmax(places[axis], 0), (double)(size - 1));
    }
    /* The hat function of each pixel. */
    for (int64_t y = 0; y < in->value->dims[2]; y++)
        for (int64_t x = 0; x < in->value->dims[3]; x++) {
            double weight = fmax(0, 1 - fabs(places[0] - (double)y)) * fmax(0, 1 - fabs(places[1] - (double)x));
            sum += weight * general_at(in, index[0] * in->strides[0] + index[1] * in->strides[1] + y * in->strides[2] + x);
        }
    return sum;
}

static inline double general_group_norm(const struct ssld_node *node, const struct general_input *in, const int64_t *index)
{
    int64_t channels = in->value->dims[1] / node->attributes.group, size = channels * in->strides[1];
    int64_t first = index[0] * in->strides[0] + index[1] / channels * size, at = 0;
    double mean = 0, variance = 0;
    for (int32_t i = 0; i < in->value->ndims; i++)
        at += index[i] * in->strides[i];
    for (int64_t k = 0; k < size; k++)
        mean += general_at(in, first + k) / (double)size;
    for (int64_t k = 0; k < size; k++)
        variance += pow(general_at(in, first + k) - mean, 2) / (double)size;
    return (general_at(in, at) - mean) / sqrt(variance + node->attributes.epsilon) * general_at(&in[1], index[1]) +
           general_at(&in[2], index[1]);
}

static inline double general_lrn(const struct ssld_node *node, const struct general_input *in, const int64_t *index)
{
    const struct ssld_attributes *a = &node->attributes;
    int64_t at = 0, first = index[1] - (a->size - 1) / 2;
    double sum = 0;
    for (int32_t i = 0; i < in->value->ndims; i++)
        at += index[i] * in->strides[i];
    for (int64_t k = first; k < first + a->size; k++)
        if (k >= 0 && k < in->value->dims[1])
            sum += pow(general_at(in, at + (k - index[1]) * in->strides[1]), 2);
    return general_at(in, at) / pow(a->scale + a->alpha / a->size * sum, a->beta);
}

static inline double general_element(const struct ssld_node *node, const struct general_input *in, const struct ssld_value *dst,
                                     int64_t flat, const int64_t *index)
{
    const struct ssld_attributes *a = &node->attributes;
    switch (node->kind) {
    case SSLD_OP_UNARY:
        return ssld_unary_value(a->function, a->alpha, a->beta, general_at(in, flat));
    case SSLD_OP_BINARY:
        return ssld_binary_value(a->function, general_broadcast(&in[0], dst, index), general_broadcast(&in[1], dst, index));
    case SSLD_OP_WHERE:
        return general_broadcast(&in[general_broadcast(&in[0], dst, index) != 0 ? 1 : 2], dst, index);
    case SSLD_OP_MATMUL:
        return general_matmul(in, dst, index);
    case SSLD_OP_REDUCE:
        return general_reduce(node, in, dst, index);
    case SSLD_OP_RESHAPE:
        return general_at(in, flat);
    case SSLD_OP_JOIN:
        return general_join(node, in, node->input_count, index);
    case SSLD_OP_RESIZE:
        return general_resize(node, in, dst, index);
    case SSLD_OP_GROUP_NORM:
        return general_group_norm(node, in, index);
    case SSLD_OP_LRN:
        return general_lrn(node, in, index);
    case SSLD_OP_SOFTMAX:
    case SSLD_OP_LOG_SOFTMAX:
    case SSLD_OP_LAYER_NORM:
        return general_row(node, in, index);
    default:
        return general_moved(node, in, index);
    }
}

static inline void general_node(const struct reference *run, const struct ssld_node *node)
{
    const struct ssld_value *dst = &run->graph->values[node->output];
    int64_t elements = ssld_value_elements(dst);
    for (int64_t n = 0; n < run->batch; n++) {
        struct general_input in[SSLD_MOST_INPUTS] = { { NULL, NULL, { 0 } } };
        for (int32_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] == SSLD_NO_VALUE)
                continue;
            in[i].value = &run->graph->values[node->inputs[i]];
            general_strides(in[i].value, in[i].strides);
            if (in[i].value->role == SSLD_VALUE_ACTIVATION)
                in[i].activation = run->values[node->inputs[i]] + n * ssld_value_elements(in[i].value);
        }
        for (int64_t flat = 0; flat < elements; flat++) {
            int64_t index[SSLD_MOST_DIMS];
            general_index(dst, flat, index);
            run->values[node->output][n * elements + flat] = general_element(node, in, dst, flat, index);
        }
    }
}

static inline struct reference general_run(const struct ssld_graph *graph, int64_t batch, const float *pixels)
{
    struct reference run = { graph, batch, false, calloc((size_t)graph->value_count, sizeof(double *)) };
    for (int32_t i = 0; i < graph->value_count; i++)
        if (graph->values[i].role == SSLD_VALUE_ACTIVATION)
            run.values[i] = calloc((size_t)(batch * ssld_value_elements(&graph->values[i])), sizeof(double));
    for (int64_t i = 0; i < batch * ssld_value_elements(&graph->values[graph->input]); i++)
        run.values[graph->input][i] = pixels[i];
    for (int32_t n = 0; n < graph->node_count; n++)
        if (graph->nodes[n].kind >= SSLD_OP_UNARY || graph->nodes[n].kind == SSLD_OP_LAYER_NORM)
            general_node(&run, &graph->nodes[n]);
        else
            reference_node(&run, &graph->nodes[n]);
    return run;
}

#endif
