/* SPDX-License-Identifier: BSD-2-Clause */
/* uses.h - who makes and who reads each value of a graph, for passes.
 *
 * A node that moves into the one before it swaps outputs with it: the node before then makes what readers want, nobody reads
 * the other's output any more, and ssld_graph_remove_unused() takes it away. */
#ifndef SSLD_LIB_GRAPH_USES_H
#define SSLD_LIB_GRAPH_USES_H

#include "graph/graph.h"

struct uses {
    int32_t *readers;   /* of each value, how many */
    int32_t *producers; /* node, or SSLD_NO_VALUE */
};

ssld_status ssld_uses_take(const struct ssld_graph *graph, struct uses *uses);
void        ssld_uses_free(const struct ssld_graph *graph, struct uses *uses);
/* The node that makes a value which nobody but its one reader sees; NULL if there is none. */
struct ssld_node *ssld_uses_sole_producer(struct ssld_graph *graph, const struct uses *uses, int32_t value);
void              ssld_uses_swap_outputs(struct uses *uses, struct ssld_node *producer, struct ssld_node *reader);

#endif
