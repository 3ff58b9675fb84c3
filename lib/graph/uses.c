/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/uses.h"

ssld_status ssld_uses_take(const struct ssld_graph *graph, struct uses *uses)
{
    size_t count = (size_t)graph->value_count + 1;
    uses->readers = ssld_alloc(graph->context, 2 * count * sizeof(int32_t));
    if (!uses->readers)
        return ssld_fail_memory(graph->context, "the readers of a graph's values", 2 * count * sizeof(int32_t));
    uses->producers = uses->readers + count;
    ssld_graph_count_readers(graph, uses->readers, uses->producers);
    return SSLD_OK;
}

void ssld_uses_free(const struct ssld_graph *graph, struct uses *uses)
{
    ssld_free(graph->context, uses->readers);
}

struct ssld_node *ssld_uses_sole_producer(struct ssld_graph *graph, const struct uses *uses, int32_t value)
{
    if (uses->readers[value] != 1 || uses->producers[value] == SSLD_NO_VALUE)
        return NULL;
    return &graph->nodes[uses->producers[value]];
}

void ssld_uses_swap_outputs(struct uses *uses, struct ssld_node *producer, struct ssld_node *reader)
{
    int32_t inner = producer->output, outer = reader->output;
    producer->output = outer;
    reader->output = inner;
    int32_t node = uses->producers[inner];
    uses->producers[inner] = uses->producers[outer];
    uses->producers[outer] = node;
}
