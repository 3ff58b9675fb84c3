/* SPDX-License-Identifier: BSD-2-Clause */
/* networks.h - small graphs for the engine's tests. Weights lie on a grid of 1/256, so that a weight moved by 2^-16 is still
 * exact in single precision and differences can be taken in double. */
#ifndef SSLD_TESTS_ENGINE_NETWORKS_H
#define SSLD_TESTS_ENGINE_NETWORKS_H

#include "test.h"

#include "core/philox.h"
#include "engine/engine.h"
#include "graph/reference.h"

#define CLASSES 5

struct net {
    ssld_context      *context;
    struct ssld_graph *graph;
    int32_t            value; /* what the next layer reads */
    uint64_t           draws;
};

static inline float grid(uint64_t index, double scale)
{
    struct ssld_stream stream = ssld_stream_start(index, 77, 0, 0);
    return (float)(rint((ssld_stream_uniform(&stream) * 2 - 1) * scale * 256) / 256);
}

static inline struct net net_start(ssld_context *context, int64_t channels, int64_t height, int64_t width)
{
    struct net net = { .context = context };
    int64_t dims[4] = { 1, channels, height, width };
    CHECK_OK(context, ssld_graph_create(context, "test", &net.graph));
    CHECK_OK(context, ssld_graph_add_value(net.graph, "input", SSLD_VALUE_ACTIVATION, 4, dims, NULL, &net.value));
    net.graph->input = net.value;
    return net;
}

static inline int32_t net_constant(struct net *net, int32_t role, int32_t ndims, const int64_t *dims, double scale, double add)
{
    int32_t value;
    CHECK_OK(net->context, ssld_graph_add_value(net->graph, NULL, role, ndims, dims, NULL, &value));
    for (int64_t i = 0; i < ssld_value_elements(&net->graph->values[value]); i++)
        net->graph->values[value].data[i] = (float)add + grid(++net->draws, scale);
    return value;
}

static inline const int64_t *net_dims(const struct net *net)
{
    return net->graph->values[net->value].dims;
}

static inline int32_t net_node(struct net *net, int32_t kind, int32_t count, const int32_t *inputs,
                               const struct ssld_attributes *attributes)
{
    CHECK_OK(net->context, ssld_graph_add_node(net->graph, kind, NULL, count, inputs, attributes, NULL, &net->value));
    return net->value;
}

static inline int32_t net_conv(struct net *net, int64_t outputs, struct ssld_window window, int32_t group, bool bias)
{
    int64_t inputs = net_dims(net)[1];
    int64_t dims[4] = { outputs, inputs / group, window.kernel[0], window.kernel[1] };
    double scale = 1.5 / sqrt((double)(dims[1] * dims[2] * dims[3]));
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_CONV);
    attributes.window = window;
    attributes.group = group;
    int32_t values[3] = { net->value, net_constant(net, SSLD_VALUE_PARAMETER, 4, dims, scale, 0), SSLD_NO_VALUE };
    if (bias)
        values[2] = net_constant(net, SSLD_VALUE_PARAMETER, 1, &outputs, 0.5, 0);
    return net_node(net, SSLD_OP_CONV, bias ? 3 : 2, values, &attributes);
}

static inline int32_t net_conv3(struct net *net, int64_t outputs)
{
    return net_conv(net, outputs, (struct ssld_window){ { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } }, 1, false);
}

static inline int32_t net_batch_norm(struct net *net)
{
    int64_t channels = net_dims(net)[1];
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_BATCH_NORM);
    int32_t values[5] = { net->value, net_constant(net, SSLD_VALUE_PARAMETER, 1, &channels, 0.5, 1),
                          net_constant(net, SSLD_VALUE_PARAMETER, 1, &channels, 0.5, 0),
                          net_constant(net, SSLD_VALUE_BUFFER, 1, &channels, 0.5, 0),
                          net_constant(net, SSLD_VALUE_BUFFER, 1, &channels, 0.25, 1) };
    return net_node(net, SSLD_OP_BATCH_NORM, 5, values, &attributes);
}

static inline int32_t net_unary(struct net *net, int32_t kind)
{
    struct ssld_attributes attributes = ssld_op_defaults(kind);
    if (kind == SSLD_OP_CLIP) {
        attributes.alpha = -0.25f;
        attributes.beta = 0.75f;
    }
    return net_node(net, kind, 1, &net->value, &attributes);
}

static inline int32_t net_binary(struct net *net, int32_t kind, int32_t a, int32_t b)
{
    return net_node(net, kind, 2, (int32_t[]){ a, b }, NULL);
}

/* Flatten (without pooling, so that every position counts) and classify. */
static inline void net_finish(struct net *net)
{
    if (net->graph->values[net->value].ndims == 4)
        net_unary(net, SSLD_OP_FLATTEN);
    int64_t dims[2] = { CLASSES, net_dims(net)[1] };
    int64_t classes = CLASSES;
    int32_t values[3] = { net->value, net_constant(net, SSLD_VALUE_PARAMETER, 2, dims, 2 / sqrt((double)dims[1]), 0),
                          net_constant(net, SSLD_VALUE_PARAMETER, 1, &classes, 0.5, 0) };
    net->graph->output = net_node(net, SSLD_OP_GEMM, 3, values, NULL);
}

static inline float *net_pixels(const struct ssld_graph *graph, int32_t batch)
{
    int64_t count = batch * ssld_value_elements(&graph->values[graph->input]);
    float *pixels = malloc((size_t)count * sizeof *pixels);
    for (int64_t i = 0; i < count; i++)
        pixels[i] = grid(1000000 + (uint64_t)i, 1);
    return pixels;
}

#endif
