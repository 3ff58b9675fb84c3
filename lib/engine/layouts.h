/* SPDX-License-Identifier: BSD-2-Clause */
/* layouts.h - where a plan keeps each value: in blocks, plain, or as a view of another value's numbers. */
#ifndef SSLD_LIB_ENGINE_LAYOUTS_H
#define SSLD_LIB_ENGINE_LAYOUTS_H

#include "engine/plan.h"
#include "engine/view.h"

/* What an operator does with layouts; 0 is what convolutions want. */
enum layout_rule {
    LAYOUT_BLOCKS, /* feature maps (1, C, H, W) in blocks, in and out; others dense */
    LAYOUT_SAME,   /* all in blocks, or none: whatever the inputs are */
    LAYOUT_PLAIN,  /* dense in and out */
    LAYOUT_VIEWS,  /* reads any view, writes dense */
    LAYOUT_MOVE,   /* the output is a view of the input */
};

struct layout {
    int32_t     root;    /* the value in whose memory this one stands: itself, but for views */
    bool        blocked; /* struct planes says it all; there is a view only if blocks are full */
    bool        has_view;
    struct view view;    /* of the root's memory */
};

/* After the passes and before the schedule: a layout for every value, REORDER nodes where an operator wants another one. */
ssld_status          ssld_layouts_make(struct ssld_plan *plan);
/* Whether every operator of a graph can keep its feature maps as (N, H, W, C), and any gains by it. */
bool                 ssld_layouts_suit_channels_last(const struct ssld_graph *graph);
const struct layout *ssld_layout_of(const struct ssld_plan *plan, int32_t value);
bool                 ssld_value_is_map(const struct ssld_value *value); /* (1, C, H, W) */

/* The view of a node's output if it were one of its input's; false where it is none. Operators of LAYOUT_MOVE. */
bool ssld_move_view(const struct ssld_graph *graph, const struct ssld_node *node, const struct view *src, struct view *dst);

/* The walks (operand 0 written) that bring a map (1, C, H, W) from one layout to another, NULL being blocks of b channels: one
 * for all full blocks, one for what is left. Returns how many; 0 if there are none, which is never so of dense and blocks. */
int32_t ssld_reorder_walks(const int64_t *dims, int64_t b, const struct layout *src, const struct layout *dst,
                           struct walk walks[2]);

/* The prepare and forward of LAYOUT_MOVE, for operators that are a move sometimes. */
ssld_status ssld_move_prepare(struct ssld_plan *plan, struct step *step);
ssld_status ssld_move_forward(struct ssld_plan *plan, struct step *step);

/* Where a value stands in memory: its own tensor's data, or that of the tensor it is a view of. */
void *ssld_value_data(struct ssld_plan *plan, int32_t value);

/* A view of a constant as it is kept: dense. */
struct view ssld_constant_view(const struct ssld_value *value);

#endif
