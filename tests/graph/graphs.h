/* SPDX-License-Identifier: BSD-2-Clause */
/* graphs.h - graphs to test with, and what tests ask of them. */
#ifndef SSLD_TESTS_GRAPH_GRAPHS_H
#define SSLD_TESTS_GRAPH_GRAPHS_H

#include "core/hash.h"
#include "core/philox.h"
#include "graph/graph.h"
#include "test.h"

static inline ssld_context *make_context(void)
{
    ssld_context *context = NULL;
    ssld_status status = ssld_context_create(NULL, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    return context;
}

static inline struct ssld_graph *make_zoo(ssld_context *context, const char *name, int32_t classes, int32_t size, bool small)
{
    struct ssld_zoo_options options = { classes, 3, size, size, small, -1, 1 };
    struct ssld_graph *graph = NULL;
    CHECK_OK(context, ssld_zoo_build(context, name, &options, &graph));
    return graph;
}

static inline int64_t count_role(const struct ssld_graph *graph, int32_t role)
{
    int64_t count = 0;
    for (int32_t i = 0; i < graph->value_count; i++)
        if (graph->values[i].role == role)
            count += ssld_value_elements(&graph->values[i]);
    return count;
}

static inline int32_t count_kind(const struct ssld_graph *graph, int32_t kind)
{
    int32_t count = 0;
    for (int32_t n = 0; n < graph->node_count; n++)
        count += graph->nodes[n].kind == kind;
    return count;
}

static inline uint64_t weights_checksum(const struct ssld_graph *graph)
{
    uint64_t sum = 0;
    for (int32_t i = 0; i < graph->value_count; i++)
        if (graph->values[i].data)
            sum = sum * 31 + ssld_checksum(graph->values[i].data, (size_t)ssld_value_elements(&graph->values[i]) * 4);
    return sum;
}

/* Pixels in -2 .. 2. */
static inline float *make_pixels(const struct ssld_graph *graph, int64_t batch)
{
    int64_t count = batch * ssld_value_elements(&graph->values[graph->input]);
    float *pixels = malloc((size_t)count * sizeof *pixels);
    struct ssld_stream stream = ssld_stream_start(11, 0, 0, 0);
    for (int64_t i = 0; i < count; i++) {
        if (i % 100000 == 0)
            stream = ssld_stream_start(11, (uint64_t)i, 0, 0);
        pixels[i] = (float)(4 * ssld_stream_uniform(&stream) - 2);
    }
    return pixels;
}

#endif
