/* SPDX-License-Identifier: BSD-2-Clause */
/* reference.h - the slow and plain way to run a graph: one loop nest an operator, everything in double. What it computes is what
 * the engine and the graph's passes are measured against.
 *
 *   struct reference run = reference_run(graph, batch, pixels, false);
 *   run.values[graph->output]     (batch, classes) doubles; every other activation is there too
 *   reference_free(&run);
 */
#ifndef SSLD_TESTS_GRAPH_REFERENCE_H
#define SSLD_TESTS_GRAPH_REFERENCE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

struct reference {
    const struct ssld_graph *graph;
    int64_t                  batch;
    bool                     batch_statistics; /* batch norm uses the batch's mean and variance, not the running ones */
    double                 **values;           /* of each activation: (batch, its dims without the first); constants: NULL */
};

static inline double reference_activation(int32_t kind, double alpha, double beta, double x)
{
    double gate;
    switch (kind) {
    case SSLD_OP_RELU:
        return x > 0 ? x : 0;
    case SSLD_OP_CLIP:
        return x < alpha ? alpha : x > beta ? beta : x;
    case SSLD_OP_HARD_SWISH:
        gate = x / 6 + 0.5;
        return x * (gate < 0 ? 0 : gate > 1 ? 1 : gate);
    case SSLD_OP_HARD_SIGMOID:
        gate = alpha * x + beta;
        return gate < 0 ? 0 : gate > 1 ? 1 : gate;
    case SSLD_OP_SIGMOID:
        return 1 / (1 + exp(-x));
    case SSLD_OP_LEAKY_RELU:
        return x < 0 ? alpha * x : x;
    case SSLD_OP_SILU:
        return x / (1 + exp(-x));
    case SSLD_OP_GELU:
        return x / 2 * (1 + erf(x / sqrt(2)));
    case SSLD_OP_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case SSLD_OP_TANH:
        return tanh(x);
    default:
        return x;
    }
}

/* What node operators see: constants, and for each activation its doubles and sizes. */
static inline const struct ssld_value *reference_value(const struct reference *run, const struct ssld_node *node, int32_t i)
{
    return i < node->input_count && node->inputs[i] != SSLD_NO_VALUE ? &run->graph->values[node->inputs[i]] : NULL;
}

static inline const float *reference_constant(const struct reference *run, const struct ssld_node *node, int32_t i)
{
    const struct ssld_value *value = reference_value(run, node, i);
    return value ? value->data : NULL;
}

static inline void reference_conv(const struct reference *run, const struct ssld_node *node, const double *src, double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0), *w = reference_value(run, node, 1);
    const struct ssld_value *out = &run->graph->values[node->output];
    const struct ssld_window *window = &node->attributes.window;
    const float *bias = reference_constant(run, node, 2);
    int64_t each = w->dims[1], outputs_each = w->dims[0] / node->attributes.group;
    for (int64_t n = 0; n < run->batch; n++)
        for (int64_t o = 0; o < out->dims[1]; o++)
            for (int64_t y = 0; y < out->dims[2]; y++)
                for (int64_t x = 0; x < out->dims[3]; x++) {
                    double sum = bias ? bias[o] : 0;
                    for (int64_t i = 0; i < each; i++)
                        for (int64_t ky = 0; ky < w->dims[2]; ky++)
                            for (int64_t kx = 0; kx < w->dims[3]; kx++) {
                                int64_t row = y * window->strides[0] + ky * window->dilations[0] - window->pads[0];
                                int64_t column = x * window->strides[1] + kx * window->dilations[1] - window->pads[1];
                                if (row < 0 || row >= in->dims[2] || column < 0 || column >= in->dims[3])
                                    continue;
                                int64_t channel = o / outputs_each * each + i;
                                sum += src[((n * in->dims[1] + channel) * in->dims[2] + row) * in->dims[3] + column] *
                                       w->data[((o * each + i) * w->dims[2] + ky) * w->dims[3] + kx];
                            }
                    dst[((n * out->dims[1] + o) * out->dims[2] + y) * out->dims[3] + x] = sum;
                }
}

static inline void reference_pool(const struct reference *run, const struct ssld_node *node, const double *src, double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0), *out = &run->graph->values[node->output];
    const struct ssld_window *window = &node->attributes.window;
    bool largest = node->kind == SSLD_OP_MAX_POOL;
    for (int64_t plane = 0; plane < run->batch * in->dims[1]; plane++)
        for (int64_t y = 0; y < out->dims[2]; y++)
            for (int64_t x = 0; x < out->dims[3]; x++) {
                double result = largest ? -INFINITY : 0;
                int64_t cells = 0;
                for (int64_t ky = 0; ky < window->kernel[0]; ky++)
                    for (int64_t kx = 0; kx < window->kernel[1]; kx++) {
                        int64_t row = y * window->strides[0] + ky * window->dilations[0] - window->pads[0];
                        int64_t column = x * window->strides[1] + kx * window->dilations[1] - window->pads[1];
                        if (row < 0 || row >= in->dims[2] || column < 0 || column >= in->dims[3])
                            continue;
                        double cell = src[(plane * in->dims[2] + row) * in->dims[3] + column];
                        result = !largest ? result + cell : cell > result ? cell : result;
                        cells++;
                    }
                if (!largest)
                    result /= node->attributes.count_include_pad ? (double)window->kernel[0] * window->kernel[1]
                                                                 : (double)cells;
                dst[(plane * out->dims[2] + y) * out->dims[3] + x] = result;
            }
}

static inline void reference_batch_norm(const struct reference *run, const struct ssld_node *node, const double *src,
                                        double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0);
    int64_t channels = in->dims[1], area = in->dims[2] * in->dims[3];
    for (int64_t c = 0; c < channels; c++) {
        double mean = reference_constant(run, node, 3)[c], variance = reference_constant(run, node, 4)[c];
        if (run->batch_statistics) {
            double count = (double)(run->batch * area);
            mean = variance = 0;
            for (int64_t n = 0; n < run->batch; n++)
                for (int64_t i = 0; i < area; i++)
                    mean += src[(n * channels + c) * area + i] / count;
            for (int64_t n = 0; n < run->batch; n++)
                for (int64_t i = 0; i < area; i++)
                    variance += pow(src[(n * channels + c) * area + i] - mean, 2) / count;
        }
        double factor = reference_constant(run, node, 1)[c] / sqrt(variance + node->attributes.epsilon);
        for (int64_t n = 0; n < run->batch; n++)
            for (int64_t i = (n * channels + c) * area; i < (n * channels + c + 1) * area; i++)
                dst[i] = (src[i] - mean) * factor + reference_constant(run, node, 2)[c];
    }
}

static inline void reference_gemm(const struct reference *run, const struct ssld_node *node, const double *src, double *dst)
{
    const struct ssld_value *w = reference_value(run, node, 1);
    const float *bias = reference_constant(run, node, 2);
    for (int64_t n = 0; n < run->batch; n++)
        for (int64_t k = 0; k < w->dims[0]; k++) {
            double sum = bias ? bias[k] : 0;
            for (int64_t f = 0; f < w->dims[1]; f++)
                sum += src[n * w->dims[1] + f] * w->data[k * w->dims[1] + f];
            dst[n * w->dims[0] + k] = sum;
        }
}

static inline void reference_global_pool(const struct reference *run, const struct ssld_node *node, const double *src,
                                         double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0);
    int64_t area = in->dims[2] * in->dims[3];
    for (int64_t plane = 0; plane < run->batch * in->dims[1]; plane++) {
        dst[plane] = 0;
        for (int64_t i = 0; i < area; i++)
            dst[plane] += src[plane * area + i];
        dst[plane] /= (double)area;
    }
}

/* One value from one value (or two): everything that keeps its shape. */
static inline void reference_elementwise(const struct reference *run, const struct ssld_node *node, const double *src,
                                         double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0), *second = reference_value(run, node, 1);
    const struct ssld_attributes *attributes = &node->attributes;
    int64_t count = run->batch * ssld_value_elements(in), area = in->dims[2] * in->dims[3];
    const double *other = second ? run->values[node->inputs[1]] : NULL;
    bool same = second && ssld_value_elements(second) == ssld_value_elements(in);
    bool by_position = second && !same && second->dims[1] == 1 && in->dims[1] != 1;
    for (int64_t i = 0; i < count; i++)
        switch (node->kind) {
        case SSLD_OP_ADD:
            dst[i] = src[i] + other[i];
            break;
        case SSLD_OP_MUL:
            dst[i] = src[i] * other[same ? i : by_position ? i / area / in->dims[1] * area + i % area : i / area];
            break;
        case SSLD_OP_SCALE:
            dst[i] = src[i] * attributes->scale;
            break;
        case SSLD_OP_DROPOUT: /* as inference sees it */
            dst[i] = attributes->downscale_in_infer ? src[i] * (1.0f - attributes->ratio) : src[i];
            break;
        default:
            dst[i] = reference_activation(node->kind, attributes->alpha, attributes->beta, src[i]);
            break;
        }
}

static inline void reference_prelu(const struct reference *run, const struct ssld_node *node, const double *src, double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0), *slopes = reference_value(run, node, 1);
    int64_t area = in->dims[2] * in->dims[3];
    for (int64_t i = 0; i < run->batch * ssld_value_elements(in); i++) {
        int64_t channel = slopes->dims[0] > 1 ? i / area % in->dims[1] : 0;
        dst[i] = src[i] < 0 ? slopes->data[channel] * src[i] : src[i];
    }
}

static inline void reference_concat(const struct reference *run, const struct ssld_node *node, const double *src, double *dst)
{
    const struct ssld_value *out = &run->graph->values[node->output];
    int64_t area = out->dims[2] * out->dims[3];
    (void)src;
    for (int64_t n = 0; n < run->batch; n++)
        for (int32_t i = 0; i < node->input_count; i++) {
            int64_t count = reference_value(run, node, i)->dims[1] * area;
            memcpy(dst, run->values[node->inputs[i]] + n * count, (size_t)count * sizeof *dst);
            dst += count;
        }
}

static inline void reference_slice(const struct reference *run, const struct ssld_node *node, const double *src, double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0), *out = &run->graph->values[node->output];
    int64_t area = in->dims[2] * in->dims[3], count = out->dims[1] * area;
    for (int64_t n = 0; n < run->batch; n++)
        memcpy(dst + n * count, src + (n * in->dims[1] + node->attributes.begin) * area, (size_t)count * sizeof *dst);
}

static inline void reference_layer_norm(const struct reference *run, const struct ssld_node *node, const double *src,
                                        double *dst)
{
    const struct ssld_value *in = reference_value(run, node, 0);
    const float *scale = reference_constant(run, node, 1), *shift = reference_constant(run, node, 2);
    int64_t channels = in->dims[1], area = in->dims[2] * in->dims[3];
    for (int64_t i = 0; i < run->batch * area; i++) {
        int64_t first = i / area * channels * area + i % area;
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < channels; c++)
            mean += src[first + c * area] / (double)channels;
        for (int64_t c = 0; c < channels; c++)
            variance += pow(src[first + c * area] - mean, 2) / (double)channels;
        for (int64_t c = 0; c < channels; c++)
            dst[first + c * area] = (src[first + c * area] - mean) / sqrt(variance + node->attributes.epsilon) * scale[c] +
                                    (shift ? shift[c] : 0);
    }
}

static inline void reference_node(const struct reference *run, const struct ssld_node *node)
{
    static void (*const functions[SSLD_OP_KINDS])(const struct reference *, const struct ssld_node *, const double *,
                                                  double *) = {
        [SSLD_OP_CONV] = reference_conv,
        [SSLD_OP_BATCH_NORM] = reference_batch_norm,
        [SSLD_OP_MAX_POOL] = reference_pool,
        [SSLD_OP_AVERAGE_POOL] = reference_pool,
        [SSLD_OP_GLOBAL_AVERAGE_POOL] = reference_global_pool,
        [SSLD_OP_GEMM] = reference_gemm,
        [SSLD_OP_PRELU] = reference_prelu,
        [SSLD_OP_CONCAT] = reference_concat,
        [SSLD_OP_SLICE] = reference_slice,
        [SSLD_OP_LAYER_NORM] = reference_layer_norm,
    };
    double *dst = run->values[node->output];
    (functions[node->kind] ? functions[node->kind] : reference_elementwise)(run, node, run->values[node->inputs[0]], dst);
    int64_t count = run->batch * ssld_value_elements(&run->graph->values[node->output]);
    for (int64_t i = 0; node->activation.kind != SSLD_OP_IDENTITY && i < count; i++)
        dst[i] = reference_activation(node->activation.kind, node->activation.alpha, node->activation.beta, dst[i]);
}

/* Run a graph on (batch, C, H, W) pixels. */
static inline struct reference reference_run(const struct ssld_graph *graph, int64_t batch, const float *pixels,
                                             bool batch_statistics)
{
    struct reference run = { graph, batch, batch_statistics, calloc((size_t)graph->value_count, sizeof(double *)) };
    for (int32_t i = 0; i < graph->value_count; i++)
        if (graph->values[i].role == SSLD_VALUE_ACTIVATION)
            run.values[i] = calloc((size_t)(batch * ssld_value_elements(&graph->values[i])), sizeof(double));
    for (int64_t i = 0; i < batch * ssld_value_elements(&graph->values[graph->input]); i++)
        run.values[graph->input][i] = pixels[i];
    for (int32_t n = 0; n < graph->node_count; n++)
        reference_node(&run, &graph->nodes[n]);
    return run;
}

static inline void reference_free(struct reference *run)
{
    for (int32_t i = 0; i < run->graph->value_count; i++)
        free(run->values[i]);
    free(run->values);
}

/* The largest difference of two rows of numbers, relative to the largest number. */
static inline double reference_difference(const double *a, const double *b, int64_t count)
{
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(a[i]));
        difference = fmax(difference, fabs(a[i] - b[i]));
    }
    return largest > 0 ? difference / largest : difference;
}

#endif
