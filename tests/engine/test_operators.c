/* SPDX-License-Identifier: BSD-2-Clause */
/* Every operator, forward and backward, in every layout: values against a double-precision reference, gradients against central
 * differences of that reference. */
#include "networks.h"

#define BATCH 3
#define STEP (1.0 / 65536) /* exact on top of weights on a 1/256 grid */
#define MOST_CHECKED 12    /* elements of each parameter */

/* -- The cases ---------------------------------------------------------------------------------------------------- */

static struct ssld_window window(int32_t kernel, int32_t stride, int32_t dilation, int32_t pad)
{
    return (struct ssld_window){ { kernel, kernel }, { stride, stride }, { dilation, dilation }, { pad, pad, pad, pad } };
}

static void depthwise(struct net *net, int32_t kernel, int32_t stride)
{
    int32_t channels = (int32_t)net_dims(net)[1];
    net_conv(net, channels, window(kernel, stride, 1, kernel / 2), channels, false);
}

static void conv_1x1(struct net *net) { net_conv(net, 20, window(1, 1, 1, 0), 1, false); }
static void conv_3x3_stride_2_bias(struct net *net) { net_conv(net, 7, window(3, 2, 1, 1), 1, true); }
static void conv_5x5_dilated(struct net *net) { net_conv(net, 16, window(5, 1, 2, 4), 1, false); }
static void conv_grouped(struct net *net) { net_conv(net, 24, window(3, 1, 1, 1), 2, true); }
static void conv_uneven_pads(struct net *net)
{
    net_conv(net, 9, (struct ssld_window){ { 3, 2 }, { 2, 1 }, { 1, 1 }, { 0, 1, 2, 0 } }, 1, false);
}
static void depthwise_3x3(struct net *net) { depthwise(net, 3, 1); }
static void depthwise_3x3_stride_2(struct net *net) { depthwise(net, 3, 2); }
static void depthwise_5x5(struct net *net) { depthwise(net, 5, 1); }
static void depthwise_5x5_stride_2(struct net *net) { depthwise(net, 5, 2); }
static void depthwise_9x9(struct net *net) { depthwise(net, 9, 1); }
static void depthwise_dilated(struct net *net)
{
    int32_t channels = (int32_t)net_dims(net)[1];
    net_conv(net, channels, window(3, 1, 2, 2), channels, false);
}
static void depthwise_with_bias(struct net *net)
{
    int32_t channels = (int32_t)net_dims(net)[1];
    net_conv(net, channels, window(3, 1, 1, 1), channels, true);
}
static void batch_norm_alone(struct net *net) { net_batch_norm(net); }
static void batch_norm_then(struct net *net, int32_t activation)
{
    net_batch_norm(net);
    net_unary(net, activation);
}
static void batch_norm_relu(struct net *net) { batch_norm_then(net, SSLD_OP_RELU); }
static void batch_norm_clip(struct net *net) { batch_norm_then(net, SSLD_OP_CLIP); }
static void batch_norm_hard_swish(struct net *net) { batch_norm_then(net, SSLD_OP_HARD_SWISH); }
static void batch_norm_hard_sigmoid(struct net *net) { batch_norm_then(net, SSLD_OP_HARD_SIGMOID); }
static void batch_norm_sigmoid(struct net *net) { batch_norm_then(net, SSLD_OP_SIGMOID); }
static void relu(struct net *net) { net_unary(net, SSLD_OP_RELU); }
static void clip(struct net *net) { net_unary(net, SSLD_OP_CLIP); }
static void hard_swish(struct net *net) { net_unary(net, SSLD_OP_HARD_SWISH); }
static void hard_sigmoid(struct net *net) { net_unary(net, SSLD_OP_HARD_SIGMOID); }
static void sigmoid(struct net *net) { net_unary(net, SSLD_OP_SIGMOID); }
static void identity(struct net *net) { net_unary(net, SSLD_OP_IDENTITY); }
static void pool(struct net *net, int32_t kind, struct ssld_window of, int32_t ceil_mode, int32_t count_include_pad)
{
    struct ssld_attributes attributes = ssld_op_defaults(kind);
    attributes.window = of;
    attributes.ceil_mode = ceil_mode;
    attributes.count_include_pad = count_include_pad;
    net_node(net, kind, 1, &net->value, &attributes);
}
static void max_pool(struct net *net) { pool(net, SSLD_OP_MAX_POOL, window(3, 2, 1, 1), 0, 0); }
static void max_pool_ceil(struct net *net) { pool(net, SSLD_OP_MAX_POOL, window(2, 2, 1, 0), 1, 0); }
static void average_pool_ceil(struct net *net) { pool(net, SSLD_OP_AVERAGE_POOL, window(2, 2, 1, 0), 1, 0); }
static void average_pool_with_padding(struct net *net) { pool(net, SSLD_OP_AVERAGE_POOL, window(3, 1, 1, 1), 0, 1); }
static void average_pool_without_padding(struct net *net) { pool(net, SSLD_OP_AVERAGE_POOL, window(3, 2, 1, 1), 0, 0); }
static void global_average_pool(struct net *net) { net_unary(net, SSLD_OP_GLOBAL_AVERAGE_POOL); }
static void scale(struct net *net)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_SCALE);
    attributes.scale = 0.8f;
    net_node(net, SSLD_OP_SCALE, 1, &net->value, &attributes);
}
static void add_two_branches(struct net *net)
{
    int32_t around = net->value, x = net_conv3(net, net_dims(net)[1]);
    net_binary(net, SSLD_OP_ADD, x, around);
}
static void add_relu(struct net *net)
{
    add_two_branches(net);
    net_unary(net, SSLD_OP_RELU);
}
static void add_hard_swish(struct net *net)
{
    add_two_branches(net);
    net_unary(net, SSLD_OP_HARD_SWISH);
}
static void add_value_to_itself(struct net *net) { net_binary(net, SSLD_OP_ADD, net->value, net->value); }
static void value_with_three_readers(struct net *net)
{
    int32_t x = net->value, a = net_unary(net, SSLD_OP_RELU);
    net->value = x;
    int32_t b = net_unary(net, SSLD_OP_SIGMOID), sum = net_binary(net, SSLD_OP_ADD, a, b);
    net_binary(net, SSLD_OP_MUL, sum, x);
}
static void mul_same_shape(struct net *net)
{
    int32_t x = net->value, y = net_conv3(net, net_dims(net)[1]);
    net_binary(net, SSLD_OP_MUL, x, y);
}
static void squeeze_and_excite(struct net *net)
{
    int32_t x = net->value, channels = (int32_t)net_dims(net)[1];
    net_unary(net, SSLD_OP_GLOBAL_AVERAGE_POOL);
    net_conv(net, 4, window(1, 1, 1, 0), 1, true);
    net_unary(net, SSLD_OP_RELU);
    net_conv(net, channels, window(1, 1, 1, 0), 1, true);
    int32_t gate = net_unary(net, SSLD_OP_HARD_SIGMOID);
    net_binary(net, SSLD_OP_MUL, x, gate);
}
static void gemm_twice(struct net *net)
{
    net_finish(net);
    net_unary(net, SSLD_OP_SIGMOID);
}

#define CASE(name) { #name, name }
static const struct {
    const char *name;
    void (*add)(struct net *net);
} cases[] = {
    CASE(conv_1x1), CASE(conv_3x3_stride_2_bias), CASE(conv_5x5_dilated), CASE(conv_grouped), CASE(conv_uneven_pads),
    CASE(depthwise_3x3), CASE(depthwise_3x3_stride_2), CASE(depthwise_5x5), CASE(depthwise_5x5_stride_2),
    CASE(depthwise_9x9), CASE(depthwise_dilated), CASE(depthwise_with_bias), CASE(batch_norm_alone), CASE(batch_norm_relu),
    CASE(batch_norm_clip), CASE(batch_norm_hard_swish), CASE(batch_norm_hard_sigmoid), CASE(batch_norm_sigmoid), CASE(relu),
    CASE(clip), CASE(hard_swish), CASE(hard_sigmoid), CASE(sigmoid), CASE(identity), CASE(max_pool), CASE(max_pool_ceil),
    CASE(average_pool_ceil), CASE(average_pool_with_padding), CASE(average_pool_without_padding), CASE(global_average_pool),
    CASE(scale), CASE(add_two_branches), CASE(add_relu), CASE(add_hard_swish), CASE(add_value_to_itself),
    CASE(value_with_three_readers), CASE(mul_same_shape), CASE(squeeze_and_excite), CASE(gemm_twice),
};
#define CASES ((int)(sizeof cases / sizeof cases[0]))

/* The operator between a convolution (which gives it a diff to pass on) and a classifier. 10 channels leave padding in every
 * block width, 7 x 9 positions are odd both ways. */
static struct net build(ssld_context *context, int which)
{
    struct net net = net_start(context, 3, 7, 9);
    net_conv3(&net, 10);
    cases[which].add(&net);
    net_finish(&net);
    return net;
}

/* -- Checks ------------------------------------------------------------------------------------------------------- */

static struct ssld_plan *make_plan(struct net *net, int32_t mode, int32_t block)
{
    struct ssld_plan *plan = NULL;
    struct ssld_plan_options options = { .mode = mode, .batch = BATCH, .threads = 2, .block = block };
    CHECK_OK(net->context, ssld_plan_create(net->context, net->graph, &options, &plan));
    return plan;
}

/* Single precision through a few layers of sums over hundreds of terms. */
#define VALUE_TOLERANCE 2e-5

static void check_forward(struct net *net, const float *pixels, int32_t mode, int32_t block, const char *name)
{
    struct ssld_plan *plan = make_plan(net, mode, block);
    struct reference run = reference_run(net->graph, BATCH, pixels, mode != SSLD_PLAN_EVAL);
    const double *expected = run.values[net->graph->output];
    const float *logits = NULL;
    double largest = 0;
    CHECK_OK(net->context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
    for (int i = 0; i < BATCH * CLASSES; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (int i = 0; i < BATCH * CLASSES; i++)
        CHECK(fabs(logits[i] - expected[i]) <= VALUE_TOLERANCE * largest, "%s mode %d block %d: logit %d is %g, expected %g",
              name, mode, block, i, logits[i], expected[i]);
    reference_free(&run);
    ssld_plan_destroy(plan);
}

static double weighted_sum(struct net *net, const float *pixels, const float *diff_logits)
{
    struct reference run = reference_run(net->graph, BATCH, pixels, true);
    double sum = 0;
    for (int i = 0; i < BATCH * CLASSES; i++)
        sum += run.values[net->graph->output][i] * diff_logits[i];
    reference_free(&run);
    return sum;
}

static struct ssld_value *value_of_parameter(struct net *net, const struct ssld_parameter *parameter)
{
    for (int32_t v = 0; v < net->graph->value_count; v++)
        if (net->graph->values[v].data && !strcmp(net->graph->values[v].name, parameter->name))
            return &net->graph->values[v];
    return NULL;
}

/* d(sum of diff_logits * logits) / d(element), by central differences of the reference. */
static double difference(struct net *net, struct ssld_value *value, int64_t element, const float *pixels,
                         const float *diff_logits)
{
    float before = value->data[element];
    value->data[element] = before + (float)STEP;
    double above = weighted_sum(net, pixels, diff_logits);
    value->data[element] = before - (float)STEP;
    double below = weighted_sum(net, pixels, diff_logits);
    value->data[element] = before;
    return (above - below) / (2 * STEP);
}

static void check_parameter(struct net *net, struct ssld_plan *plan, int32_t index, const float *pixels,
                            const float *diff_logits, const char *name)
{
    const struct ssld_parameter *parameter = ssld_plan_parameter(plan, index);
    struct ssld_value *value = value_of_parameter(net, parameter);
    float *plain = malloc((size_t)parameter->elements * sizeof *plain);
    double expected[MOST_CHECKED], largest = 1e-6; /* a gradient that is zero everywhere compares as zero */
    int64_t elements[MOST_CHECKED];
    int64_t checked = parameter->elements < MOST_CHECKED ? parameter->elements : MOST_CHECKED;
    CHECK_OK(net->context, ssld_plan_parameter_to_plain(plan, index, parameter->diff, plain));
    for (int64_t i = 0; i < checked; i++) {
        elements[i] = i * parameter->elements / checked;
        expected[i] = difference(net, value, elements[i], pixels, diff_logits);
        largest = fmax(largest, fabs(expected[i]));
    }
    /* One part in a thousand; of elements below a hundredth of the largest, whose sums cancel, one in a thousand of that. */
    for (int64_t i = 0; i < checked; i++)
        CHECK(fabs(plain[elements[i]] - expected[i]) <= 1e-3 * fmax(fabs(expected[i]), 1e-2 * largest),
              "%s: d/d%s[%lld] is %g, expected %g", name, parameter->name, (long long)elements[i], plain[elements[i]],
              expected[i]);
    free(plain);
}

static void check_backward(struct net *net, const float *pixels, int32_t block, const char *name)
{
    struct ssld_plan *plan = make_plan(net, SSLD_PLAN_TRAIN, block);
    const float *logits = NULL;
    float diff_logits[BATCH * CLASSES];
    for (int i = 0; i < BATCH * CLASSES; i++)
        diff_logits[i] = grid(5000000 + (uint64_t)i, 1);
    CHECK_OK(net->context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
    CHECK_OK(net->context, ssld_plan_backward(plan, diff_logits));
    for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++)
        if (ssld_plan_parameter(plan, i)->diff)
            check_parameter(net, plan, i, pixels, diff_logits, name);
    ssld_plan_destroy(plan);
}

static void check_all(int32_t block, bool backward)
{
    ssld_context *context = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    for (int i = 0; i < CASES; i++) {
        struct net net = build(context, i);
        float *pixels = net_pixels(net.graph, BATCH);
        if (backward) {
            check_backward(&net, pixels, block, cases[i].name);
        } else {
            check_forward(&net, pixels, SSLD_PLAN_EVAL, block, cases[i].name);
            check_forward(&net, pixels, SSLD_PLAN_BATCH_STATISTICS, block, cases[i].name);
            check_forward(&net, pixels, SSLD_PLAN_TRAIN, block, cases[i].name);
        }
        free(pixels);
        ssld_graph_destroy(net.graph);
    }
    ssld_context_destroy(context);
}

TEST(forward_equals_the_reference_in_this_cpus_blocks) { check_all(0, false); }
TEST(forward_equals_the_reference_in_blocks_of_16) { check_all(16, false); }
TEST(forward_equals_the_reference_in_blocks_of_8) { check_all(8, false); }
TEST(forward_equals_the_reference_in_plain_layout) { check_all(1, false); }
TEST(gradients_equal_central_differences_in_this_cpus_blocks) { check_all(0, true); }
TEST(gradients_equal_central_differences_in_blocks_of_8) { check_all(8, true); }
TEST(gradients_equal_central_differences_in_plain_layout) { check_all(1, true); }

/* -- Dropout ------------------------------------------------------------------------------------------------------ */

static struct net dropout_net(ssld_context *context, float ratio, int32_t downscale)
{
    struct net net = net_start(context, 16, 8, 8);
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_DROPOUT);
    attributes.ratio = ratio;
    attributes.downscale_in_infer = downscale;
    net_node(&net, SSLD_OP_DROPOUT, 1, &net.value, &attributes);
    net_finish(&net);
    return net;
}

/* The gradient of the classifier's weights is what it saw: the masked pixels. */
static void seen_pixels(struct ssld_plan *plan, const float *pixels, uint64_t step, float *seen)
{
    const float *logits = NULL;
    float diff_logits[CLASSES] = { 1 };
    ssld_context *context = NULL;
    CHECK(ssld_plan_forward(plan, pixels, 1, step, &logits) == SSLD_OK, "forward");
    CHECK(ssld_plan_backward(plan, diff_logits) == SSLD_OK, "backward");
    for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(plan, i);
        float plain[CLASSES * 1024];
        if (parameter->elements != CLASSES * 1024)
            continue;
        CHECK_OK(context, ssld_plan_parameter_to_plain(plan, i, parameter->diff, plain));
        memcpy(seen, plain, 1024 * sizeof(float));
    }
}

TEST(dropout_drops_its_share_anew_each_step)
{
    ssld_context *context = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    for (int32_t downscale = 0; downscale < 2; downscale++) {
        struct net net = dropout_net(context, 0.25f, downscale);
        struct ssld_plan *plan = NULL;
        struct ssld_plan_options options = { .mode = SSLD_PLAN_TRAIN, .batch = 1, .threads = 2, .seed = 9 };
        CHECK_OK(context, ssld_plan_create(context, net.graph, &options, &plan));
        float pixels[1024], first[1024], again[1024], next[1024];
        for (int i = 0; i < 1024; i++)
            pixels[i] = 1;
        seen_pixels(plan, pixels, 0, first);
        seen_pixels(plan, pixels, 0, again);
        seen_pixels(plan, pixels, 1, next);
        int dropped = 0, differ = 0;
        float kept = downscale ? 1.0f : 1 / 0.75f;
        for (int i = 0; i < 1024; i++) {
            CHECK(first[i] == 0 || fabsf(first[i] - kept) < 1e-6f, "element %d became %g", i, first[i]);
            dropped += first[i] == 0;
            differ += (first[i] == 0) != (next[i] == 0);
        }
        CHECK(!memcmp(first, again, sizeof first), "the same step drew another mask");
        /* 256 expected, standard deviation 13.9; differing 384, standard deviation 15.5: five deviations. */
        CHECK(abs(dropped - 256) < 70 && abs(differ - 384) < 78, "%d dropped, %d differ", dropped, differ);
        ssld_plan_destroy(plan);
        ssld_graph_destroy(net.graph);
    }
    ssld_context_destroy(context);
}

TEST(dropout_at_inference_is_a_factor_or_nothing)
{
    ssld_context *context = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    double sums[2];
    for (int32_t downscale = 0; downscale < 2; downscale++) {
        struct net net = dropout_net(context, 0.25f, downscale);
        struct ssld_plan *plan = make_plan(&net, SSLD_PLAN_EVAL, 0);
        float *pixels = net_pixels(net.graph, BATCH);
        const float *logits = NULL;
        CHECK_OK(context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
        /* The bias is the same in both: it cancels in a difference of two images. */
        sums[downscale] = (double)logits[0] - (double)logits[CLASSES];
        free(pixels);
        ssld_plan_destroy(plan);
        ssld_graph_destroy(net.graph);
    }
    CHECK(fabs(sums[1] - 0.75 * sums[0]) < 1e-5, "%g, expected %g", sums[1], 0.75 * sums[0]);
    ssld_context_destroy(context);
}

TEST_MAIN(TEST_ROW(forward_equals_the_reference_in_this_cpus_blocks), TEST_ROW(forward_equals_the_reference_in_blocks_of_16),
          TEST_ROW(forward_equals_the_reference_in_blocks_of_8), TEST_ROW(forward_equals_the_reference_in_plain_layout),
          TEST_ROW(gradients_equal_central_differences_in_this_cpus_blocks),
          TEST_ROW(gradients_equal_central_differences_in_blocks_of_8),
          TEST_ROW(gradients_equal_central_differences_in_plain_layout), TEST_ROW(dropout_drops_its_share_anew_each_step),
          TEST_ROW(dropout_at_inference_is_a_factor_or_nothing))
