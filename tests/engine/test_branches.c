/* SPDX-License-Identifier: BSD-2-Clause */
/* Parallel convolutions that are added: merged at inference into one, with the same result; left alone where they differ. */
#include "networks.h"

#include "engine/plan.h"

#define BATCH 2

static ssld_context *test_context(void)
{
    ssld_context *context = NULL;
    CHECK(ssld_context_create(NULL, &context) == SSLD_OK, "a context");
    return context;
}

static int32_t count_of(const struct ssld_graph *graph, int32_t kind)
{
    int32_t count = 0;
    for (int32_t n = 0; n < graph->node_count; n++)
        count += graph->nodes[n].kind == kind;
    return count;
}

struct branch {
    int32_t kernel, stride, dilation, group;
    bool    bias;
};

static struct ssld_window centred(const struct branch *branch)
{
    int32_t pad = branch->dilation * (branch->kernel - 1) / 2;
    return (struct ssld_window){ { branch->kernel, branch->kernel }, { branch->stride, branch->stride },
                                 { branch->dilation, branch->dilation }, { pad, pad, pad, pad } };
}

/* The sum of the branches over 16 channels of 9 x 7, ReLU, mean, 5 logits. */
static struct ssld_graph *branches(ssld_context *context, const struct branch *list, int32_t count)
{
    struct net net = net_start(context, 16, 9, 7);
    int32_t src = net.value, sum = SSLD_NO_VALUE;
    for (int32_t i = 0; i < count; i++) {
        net.value = src;
        int32_t made = net_conv(&net, 16, centred(&list[i]), list[i].group, list[i].bias);
        sum = i ? net_binary(&net, SSLD_OP_ADD, sum, made) : made;
    }
    net.value = sum;
    net_unary(&net, SSLD_OP_RELU);
    net_finish(&net);
    return net.graph;
}

static void logits_of(ssld_context *context, const struct ssld_graph *graph, int32_t mode, float *logits, int32_t *convolutions)
{
    struct ssld_plan *plan = NULL;
    struct ssld_plan_options options = { .mode = mode, .batch = BATCH, .threads = 1 };
    float *pixels = net_pixels(graph, BATCH);
    const float *given = NULL;
    CHECK_OK(context, ssld_plan_create(context, graph, &options, &plan));
    CHECK_OK(context, ssld_plan_forward(plan, pixels, BATCH, 0, &given));
    memcpy(logits, given, BATCH * CLASSES * sizeof *logits);
    *convolutions = count_of(plan->graph, SSLD_OP_CONV);
    ssld_plan_destroy(plan);
    free(pixels);
}

/* Plans for batch statistics merge nothing. */
static void check_merged(const struct branch *list, int32_t count, int32_t left)
{
    ssld_context *context = test_context();
    struct ssld_graph *graph = branches(context, list, count);
    float merged[BATCH * CLASSES], apart[BATCH * CLASSES];
    int32_t convolutions, all;
    logits_of(context, graph, SSLD_PLAN_EVAL, merged, &convolutions);
    logits_of(context, graph, SSLD_PLAN_BATCH_STATISTICS, apart, &all);
    CHECK(all == count && convolutions == left, "%d of %d convolutions are left, %d should be", convolutions, all, left);
    for (int32_t i = 0; i < BATCH * CLASSES; i++)
        CHECK(fabs((double)merged[i] - (double)apart[i]) < 1e-5, "logit %d is %g, apart %g", i, (double)merged[i],
              (double)apart[i]);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(dense_branches_become_one)
{
    check_merged((struct branch[]){ { 5, 1, 1, 1, true }, { 3, 1, 1, 1, false }, { 1, 1, 1, 1, true } }, 3, 1);
}

TEST(the_larger_may_come_last)
{
    check_merged((struct branch[]){ { 1, 2, 1, 1, false }, { 3, 2, 1, 1, true }, { 5, 2, 1, 1, false } }, 3, 1);
}

TEST(depthwise_and_grouped_branches_become_one)
{
    check_merged((struct branch[]){ { 5, 2, 1, 16, true }, { 3, 2, 1, 16, true } }, 2, 1);
    check_merged((struct branch[]){ { 3, 1, 1, 4, false }, { 1, 1, 1, 4, false } }, 2, 1);
}

TEST(dilated_kernels_merge_where_their_cells_meet)
{
    check_merged((struct branch[]){ { 3, 1, 2, 1, true }, { 1, 1, 1, 1, true } }, 2, 1);
    check_merged((struct branch[]){ { 3, 1, 2, 1, true }, { 3, 1, 1, 1, true } }, 2, 2);
}

TEST(branches_of_other_groups_stay)
{
    check_merged((struct branch[]){ { 3, 1, 1, 16, true }, { 3, 1, 1, 1, true } }, 2, 2);
}

TEST(pplcnetv2_is_deployed_with_one_kernel_a_block)
{
    ssld_context *context = test_context();
    struct ssld_graph *graph = NULL;
    struct ssld_plan *plan = NULL;
    struct ssld_zoo_options zoo = { .classes = CLASSES, .channels = 3, .height = 32, .width = 32, .small = true, .seed = 3 };
    struct ssld_plan_options options = { .mode = SSLD_PLAN_EVAL, .batch = BATCH, .threads = 1 };
    CHECK_OK(context, ssld_zoo_build(context, "PPLCNetV2_base", &zoo, &graph));
    CHECK_OK(context, ssld_plan_create(context, graph, &options, &plan));
    CHECK(count_of(graph, SSLD_OP_ADD) > count_of(plan->graph, SSLD_OP_ADD) &&
              count_of(graph, SSLD_OP_CONV) - count_of(plan->graph, SSLD_OP_CONV) ==
                  count_of(graph, SSLD_OP_ADD) - count_of(plan->graph, SSLD_OP_ADD),
          "%d convolutions and %d additions of %d and %d are left", count_of(plan->graph, SSLD_OP_CONV),
          count_of(plan->graph, SSLD_OP_ADD), count_of(graph, SSLD_OP_CONV), count_of(graph, SSLD_OP_ADD));
    ssld_plan_destroy(plan);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST_MAIN(TEST_ROW(dense_branches_become_one), TEST_ROW(the_larger_may_come_last),
          TEST_ROW(depthwise_and_grouped_branches_become_one), TEST_ROW(dilated_kernels_merge_where_their_cells_meet),
          TEST_ROW(branches_of_other_groups_stay), TEST_ROW(pplcnetv2_is_deployed_with_one_kernel_a_block))
