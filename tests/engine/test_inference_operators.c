/* SPDX-License-Identifier: BSD-2-Clause */
/* The operators of teachers, and small graphs as exporters write them: forward in every layout, both precisions, one thread and
 * several, against a double-precision reference. */
#include "general_networks.h"

#include "engine/plan.h"
#include "general_reference.h"

#define CASE(name) { #name, name }
static const struct {
    const char *name;
    void (*add)(struct net *net);
} cases[] = {
    CASE(every_unary), CASE(steps_of_numbers), CASE(unary_in_blocks), CASE(unary_of_a_view), CASE(every_binary),
    CASE(comparisons), CASE(squares_and_roots), CASE(constants_by_channel), CASE(constants_by_channel_padded),
    CASE(constants_by_position), CASE(constants_by_position_padded), CASE(channels_times_positions), CASE(rows_and_columns),
    CASE(where), CASE(the_image_itself), CASE(image_beside_layers), CASE(linear_of_rows), CASE(matmul_with_bias_and_scale),
    CASE(product_of_two), CASE(product_with_constants), CASE(product_of_one_row), CASE(softmax_of_rows),
    CASE(softmax_of_columns), CASE(log_softmax), CASE(softmax_of_channels_in_blocks), CASE(softmax_of_long_rows),
    CASE(layer_norm_of_rows), CASE(layer_norm_of_an_axis_between), CASE(layer_norm_of_maps_and_rows), CASE(group_norm),
    CASE(lrn), CASE(reduce_rows), CASE(reduce_columns), CASE(reduce_maps), CASE(reduce_maps_padded), CASE(reduce_channels),
    CASE(reduce_all), CASE(reduce_outer_and_inner), CASE(reduce_a_view), CASE(transpose_of_a_transpose),
    CASE(transpose_padded), CASE(every_transpose_of_three), CASE(slices), CASE(slices_of_maps), CASE(patches_of_pixels),
    CASE(gather), CASE(tile), CASE(pads), CASE(class_token), CASE(resizes), CASE(resize_of_many_maps), CASE(vit_block),
    CASE(swin_block), CASE(convnext_block), CASE(channel_shuffle), CASE(channel_shuffle_padded), CASE(pixel_shuffle),
};
#define CASES ((int)(sizeof cases / sizeof cases[0]))

/* -- Checks ------------------------------------------------------------------------------------------------------- */

/* Single precision through a few layers of sums over hundreds of terms. */
#define TOLERANCE 2e-5
/* Every number in memory has 8 bits; a block of a transformer stores some twenty times. Measured: at most 1.9 %. */
#define BF16_TOLERANCE 0.03

static int32_t count_of(const struct ssld_graph *graph, int32_t kind)
{
    int32_t count = 0;
    for (int32_t n = 0; n < graph->node_count; n++)
        count += graph->nodes[n].kind == kind;
    return count;
}

/* The plan's results, and how many nodes of `kind` it has (`left` negative: any number). The graph is destroyed. */
static void check_net(struct net *net, const char *name, const struct ssld_plan_options *options, double tolerance, int32_t kind,
                      int32_t left)
{
    ssld_context *context = net->context;
    struct ssld_plan *plan = NULL;
    int32_t batch = options->batch;
    float *pixels = net_pixels(net->graph, batch);
    struct reference run = general_run(net->graph, batch, pixels);
    const double *expected = run.values[net->graph->output];
    const float *found = NULL;
    int64_t count = batch * ssld_value_elements(&net->graph->values[net->graph->output]);
    double largest = 0;
    ssld_status status = ssld_plan_create(context, net->graph, options, &plan);
    if (status == SSLD_UNSUPPORTED && options->precision == SSLD_PRECISION_BF16)
        SKIP("this CPU has no bf16");
    if (status) {
        char text[1024];
        ssld_context_error(context, text, sizeof text);
        CHECK(false, "%s: %s", name, text);
    }
    left -= kind == SSLD_OP_REORDER && plan->channels_last; /* the image is as the first norm reads it */
    CHECK(left < 0 || count_of(plan->graph, kind) == left, "%s: %d nodes are left, expected %d", name,
          count_of(plan->graph, kind), left);
    CHECK_OK(context, ssld_plan_forward(plan, pixels, batch, 0, &found));
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (int64_t i = 0; i < count; i++)
        CHECK(fabs(found[i] - expected[i]) <= tolerance * largest, "%s, block %d: element %lld is %g, expected %g of %g", name,
              options->block, (long long)i, found[i], expected[i], largest);
    reference_free(&run);
    free(pixels);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(net->graph);
}

static void check_all(const struct ssld_plan_options *options, double tolerance)
{
    ssld_context *context = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    for (int i = 0; i < CASES; i++) {
        struct net net = net_start(context, 3, 6, 8);
        cases[i].add(&net);
        net.graph->output = net.value;
        check_net(&net, cases[i].name, options, tolerance, 0, -1);
    }
    ssld_context_destroy(context);
}

TEST(forward_equals_the_reference_in_this_cpus_blocks)
{
    check_all(&(struct ssld_plan_options){ .batch = 3, .threads = 2 }, TOLERANCE);
}
TEST(forward_equals_the_reference_in_blocks_of_16)
{
    check_all(&(struct ssld_plan_options){ .batch = 2, .threads = 1, .block = 16 }, TOLERANCE);
}
TEST(forward_equals_the_reference_in_blocks_of_8)
{
    check_all(&(struct ssld_plan_options){ .batch = 4, .threads = 2, .block = 8, .cache_bytes = 1 }, TOLERANCE);
}
TEST(forward_equals_the_reference_in_plain_layout)
{
    check_all(&(struct ssld_plan_options){ .batch = 3, .threads = 2, .block = 1 }, TOLERANCE);
}
TEST(forward_in_bf16_is_close_to_the_reference)
{
    check_all(&(struct ssld_plan_options){ .batch = 4, .threads = 2, .precision = SSLD_PRECISION_BF16 }, BF16_TOLERANCE);
}

/* -- What inference leaves out ------------------------------------------------------------------------------------ */

static void pad_of(struct net *net, int32_t axis, float value)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_PAD);
    attributes.before[axis] = 1;
    attributes.after[axis] = 2;
    attributes.alpha = value;
    net_node(net, SSLD_OP_PAD, 1, &net->value, &attributes);
}
static void average(struct net *net)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_AVERAGE_POOL);
    attributes.window = (struct ssld_window){ { 4, 4 }, { 2, 2 }, { 1, 1 }, { 0, 0, 0, 0 } };
    net_node(net, SSLD_OP_AVERAGE_POOL, 1, &net->value, &attributes);
}

static void channels_scaled_and_shifted(struct net *net)
{
    maps(net, 10);
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 3, 10, 1, 1));
    with_constant(net, SSLD_BINARY_ADD, constant(net, 0.5, 1, 4, 1, 10, 1, 1));
    with_constant(net, SSLD_BINARY_DIV, constant(net, 0, 2, 1, 1));
    with_constant(net, SSLD_BINARY_SUB, constant(net, 0.5, 1, 3, 10, 1, 1));
}
static void features_scaled(struct net *net) /* layer scale */
{
    rows(net, 20);
    linear(net, 12);
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 1, 12));
    with_constant(net, SSLD_BINARY_ADD, constant(net, 0.5, 1, 3, 1, 1, 12));
}
static void positions_scaled(struct net *net) /* no weights can do that */
{
    maps(net, 10);
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 2, 6, 8));
}
static void scaled_for_one_of_two_readers(struct net *net)
{
    int32_t x = maps(net, 10);
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0.5, 1, 3, 10, 1, 1));
    net_binary(net, SSLD_OP_ADD, x, net->value);
}
static void scores_scaled(struct net *net)
{
    int32_t x = plain_rows(net, 20);
    transpose(net, 3, 0, 2, 1);
    int32_t k = with_constant(net, SSLD_BINARY_MUL, constant(net, 0, 0.5, 1, 1));
    net->value = x;
    int32_t q = with_constant(net, SSLD_BINARY_DIV, constant(net, 0, 4, 1, 1));
    matmul(net, q, k);
    with_constant(net, SSLD_BINARY_MUL, constant(net, 0, 3, 1, 1));
    softmax(net, 2);
}
static void zeros_before_a_convolution(struct net *net)
{
    maps(net, 10);
    pad_of(net, 2, 0);
    pad_of(net, 3, 0);
    maps(net, 5);
}
static void numbers_before_a_convolution(struct net *net)
{
    maps(net, 10);
    pad_of(net, 2, 0.5f);
    maps(net, 5);
}
static void zero_channels_before_a_convolution(struct net *net)
{
    maps(net, 10);
    pad_of(net, 1, 0);
    maps(net, 5);
}
static void zeros_before_an_average(struct net *net)
{
    maps(net, 10);
    pad_of(net, 3, 0);
    average(net);
}
static void residual_of(struct net *net, bool first, int32_t activation)
{
    int32_t x = maps(net, 10), y = maps(net, 10);
    net_binary(net, SSLD_OP_ADD, first ? y : x, first ? x : y);
    if (activation != SSLD_OP_IDENTITY)
        net_unary(net, activation);
    maps(net, 5);
}
static void residual_sum(struct net *net) { residual_of(net, false, SSLD_OP_IDENTITY); }
static void residual_sum_turned_round(struct net *net) { residual_of(net, true, SSLD_OP_HARD_SWISH); }
static void residual_sum_and_relu(struct net *net) { residual_of(net, false, SSLD_OP_RELU); }
static void residual_of_the_image(struct net *net)
{
    int32_t image = net->value;
    net_binary(net, SSLD_OP_ADD, maps(net, 3), image);
}
static void sum_of_two_convolutions(struct net *net) /* of different sources: branches.c merges others */
{
    int32_t x = maps(net, 10), y = maps(net, 10);
    net_unary(net, SSLD_OP_TANH);
    int32_t z = maps(net, 10);
    net->value = x;
    net_unary(net, SSLD_OP_SIGMOID);
    int32_t w = maps(net, 10);
    (void)y;
    net_binary(net, SSLD_OP_ADD, z, w);
}
static void sum_with_a_later_value(struct net *net) /* which the convolution cannot wait for */
{
    int32_t x = maps(net, 10), y = maps(net, 10);
    net->value = x;
    net_unary(net, SSLD_OP_TANH);
    net_node(net, SSLD_OP_MUL, 2, (int32_t[]){ x, net->value }, NULL);
    net_binary(net, SSLD_OP_ADD, y, net->value);
}
static void activation_of_a_product(struct net *net)
{
    plain_rows(net, 20);
    net_unary(net, SSLD_OP_GELU);
    int32_t x = linear(net, 20);
    matmul(net, x, transpose(net, 3, 0, 2, 1));
    net_unary(net, SSLD_OP_GELU);
}
static void weights_of_two_products(struct net *net)
{
    int32_t weights;
    rows(net, 20);
    weights = constant(net, 0.5, 0, 2, 20, 20);
    matmul(net, net->value, weights);
    net_unary(net, SSLD_OP_TANH);
    matmul(net, net->value, weights);
}
static void constant_of_three_nodes(struct net *net)
{
    int32_t number = constant(net, 0.5, 1, 1, 20), x = plain_rows(net, 20);
    int32_t a = binary(net, SSLD_BINARY_MAX, x, number), b = binary(net, SSLD_BINARY_MIN, x, number);
    binary(net, SSLD_BINARY_MUL, a, b);
    with_constant(net, SSLD_BINARY_MUL, number);
}

/* What is left of a kind when a plan is made. */
static const struct {
    const char *name;
    void (*add)(struct net *net);
    int32_t kind, left;
} fusions[] = {
    { "channels_scaled_and_shifted", channels_scaled_and_shifted, SSLD_OP_BINARY, 0 },
    { "features_scaled", features_scaled, SSLD_OP_BINARY, 0 },
    { "positions_scaled", positions_scaled, SSLD_OP_BINARY, 1 },
    { "scaled_for_one_of_two_readers", scaled_for_one_of_two_readers, SSLD_OP_BINARY, 1 },
    { "scores_scaled", scores_scaled, SSLD_OP_BINARY, 0 },
    { "zeros_before_a_convolution", zeros_before_a_convolution, SSLD_OP_PAD, 1 }, /* one window takes one border */
    { "numbers_before_a_convolution", numbers_before_a_convolution, SSLD_OP_PAD, 1 },
    { "zero_channels_before_a_convolution", zero_channels_before_a_convolution, SSLD_OP_PAD, 1 },
    { "zeros_before_an_average", zeros_before_an_average, SSLD_OP_PAD, 0 },
    { "residual_sum", residual_sum, SSLD_OP_ADD, 0 },
    { "residual_sum_turned_round", residual_sum_turned_round, SSLD_OP_ADD, 0 },
    { "residual_sum_and_relu", residual_sum_and_relu, SSLD_OP_ADD, 0 },
    { "residual_of_the_image", residual_of_the_image, SSLD_OP_ADD, 0 },
    { "sum_of_two_convolutions", sum_of_two_convolutions, SSLD_OP_ADD, 0 },
    { "sum_with_a_later_value", sum_with_a_later_value, SSLD_OP_ADD, 1 },
    { "activation_of_a_product", activation_of_a_product, SSLD_OP_GELU, 0 },
    { "weights_of_two_products", weights_of_two_products, SSLD_OP_MATMUL, 2 },
    { "constant_of_three_nodes", constant_of_three_nodes, SSLD_OP_BINARY, 4 },
    { "transposes_of_attention", vit_block, SSLD_OP_REORDER, 2 }, /* what the first norm reads, and the last row */
};

static void check_fusions(const struct ssld_plan_options *options, double tolerance)
{
    ssld_context *context = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    for (size_t i = 0; i < sizeof fusions / sizeof fusions[0]; i++) {
        struct net net = net_start(context, 3, 6, 8);
        fusions[i].add(&net);
        net.graph->output = net.value;
        check_net(&net, fusions[i].name, options, tolerance, fusions[i].kind, fusions[i].left);
    }
    ssld_context_destroy(context);
}

TEST(inference_leaves_out_what_it_can_and_gives_the_same)
{
    check_fusions(&(struct ssld_plan_options){ .batch = 3, .threads = 1 }, TOLERANCE);
}
TEST(inference_leaves_out_what_it_can_in_blocks_of_8_on_two_threads)
{
    check_fusions(&(struct ssld_plan_options){ .batch = 4, .threads = 2, .block = 8, .cache_bytes = 1 }, TOLERANCE);
}
TEST(inference_leaves_out_what_it_can_in_bf16)
{
    check_fusions(&(struct ssld_plan_options){ .batch = 2, .threads = 1, .precision = SSLD_PRECISION_BF16 }, BF16_TOLERANCE);
}

TEST(operators_without_backward_are_refused_by_name_in_training)
{
    ssld_context *context = NULL;
    struct ssld_plan *plan = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    struct net net = net_start(context, 3, 6, 8);
    softmax_of_rows(&net);
    net.graph->output = net.value;
    struct ssld_plan_options options = { .mode = SSLD_PLAN_TRAIN, .batch = 2, .threads = 1 };
    CHECK(ssld_plan_create(context, net.graph, &options, &plan) == SSLD_UNSUPPORTED, "it was not refused");
    CHECK_TEXT(context, "Softmax '");
    ssld_graph_destroy(net.graph);
    ssld_context_destroy(context);
}

/* -- Allocations failing one by one ------------------------------------------------------------------------------- */

static void check_allocations(void (*add)(struct net *net))
{
    int left = 1 << 30;
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.allocator = test_allocator(&left);
    CHECK_OK(NULL, ssld_context_create(&options, &context));
    struct net net = net_start(context, 3, 6, 8);
    add(&net);
    net.graph->output = net.value;
    struct ssld_plan_options plan_options = { .batch = 2, .threads = 1 };
    ssld_status status = SSLD_OUT_OF_MEMORY;
    for (int allowed = 0; status != SSLD_OK; allowed++) {
        struct ssld_plan *plan = NULL;
        left = allowed;
        status = ssld_plan_create(context, net.graph, &plan_options, &plan);
        left = 1 << 30;
        CHECK(status == SSLD_OK || (status == SSLD_OUT_OF_MEMORY && !plan), "status %s after %d allocations",
              ssld_status_name(status), allowed);
        CHECK(allowed < 10000, "still out of memory");
        ssld_plan_destroy(plan);
    }
    ssld_graph_destroy(net.graph);
    ssld_context_destroy(context);
}

TEST(every_allocation_of_a_plan_may_fail)
{
    void (*const nets[])(struct net *net) = { vit_block, product_with_constants, resizes, gather, pads, reduce_columns,
                                              residual_sum, features_scaled, weights_of_two_products, where };
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++)
        check_allocations(nets[i]);
}

TEST_MAIN(TEST_ROW(forward_equals_the_reference_in_this_cpus_blocks), TEST_ROW(forward_equals_the_reference_in_blocks_of_16),
          TEST_ROW(forward_equals_the_reference_in_blocks_of_8), TEST_ROW(forward_equals_the_reference_in_plain_layout),
          TEST_ROW(forward_in_bf16_is_close_to_the_reference), TEST_ROW(inference_leaves_out_what_it_can_and_gives_the_same),
          TEST_ROW(inference_leaves_out_what_it_can_in_blocks_of_8_on_two_threads),
          TEST_ROW(inference_leaves_out_what_it_can_in_bf16),
          TEST_ROW(operators_without_backward_are_refused_by_name_in_training),
          TEST_ROW(every_allocation_of_a_plan_may_fail))
