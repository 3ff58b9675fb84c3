/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole networks in chunks of any size, in bfloat16, with gradients added up, and with a value that is not finite. */
#include "networks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 16

static const char *const names[] = { "PPLCNet_x0_25", "ResNet18", "MobileNetV3_small_x0_35", "PPHGNet_tiny" };
#define NAMES (sizeof names / sizeof names[0])

static ssld_context *test_context(void)
{
    ssld_context *context = NULL;
    CHECK(ssld_context_create(NULL, &context) == SSLD_OK, "a context");
    return context;
}

static struct ssld_graph *zoo(ssld_context *context, const char *name)
{
    struct ssld_graph *graph = NULL;
    struct ssld_zoo_options options = { .classes = CLASSES, .channels = 3, .height = 32, .width = 32, .small = true,
                                        .dropout = 0.3f, .seed = 3 };
    CHECK_OK(context, ssld_zoo_build(context, name, &options, &graph));
    return graph;
}

/* Logits and every parameter's gradient, one behind the other; the caller frees them. */
struct result {
    float *values;
    size_t logits, count;
};

static void gather(struct ssld_plan *plan, const float *logits, struct result *result)
{
    size_t count = BATCH * CLASSES;
    for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++)
        count += ssld_plan_parameter(plan, i)->diff ? (size_t)ssld_plan_parameter(plan, i)->elements : 0;
    *result = (struct result){ malloc(count * sizeof(float)), BATCH * CLASSES, count };
    memcpy(result->values, logits, BATCH * CLASSES * sizeof(float));
    float *to = result->values + BATCH * CLASSES;
    for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(plan, i);
        if (!parameter->diff)
            continue;
        for (size_t k = (size_t)parameter->elements; parameter->elements == parameter->dims[0] && k < parameter->count; k++)
            CHECK(parameter->diff[k] == 0, "%s: what pads its gradient is %g", parameter->name, (double)parameter->diff[k]);
        CHECK(ssld_plan_parameter_to_plain(plan, i, parameter->diff, to) == SSLD_OK, "%s", parameter->name);
        to += parameter->elements;
    }
}

struct variant {
    size_t  cache_bytes;
    int32_t precision, threads;
    float   moved; /* weights of convolutions are this share of themselves larger or smaller, at most */
};

static void move_weights(struct ssld_plan *plan, float share)
{
    for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++) {
        struct ssld_parameter *parameter = (struct ssld_parameter *)(uintptr_t)ssld_plan_parameter(plan, i);
        if (strstr(parameter->name, "conv.weight"))
            for (int64_t k = 0; k < parameter->elements; k++)
                parameter->value[k] *= 1 + share * grid((uint64_t)k * 131 + (uint64_t)i * 7919, 1);
    }
}

/* How often forward and backward run: the second time adds to the gradients, or replaces them. */
enum passes { ONCE, ADDED, AGAIN };

/* One step; the second backward adds to the first if asked. SSLD_UNSUPPORTED: this CPU has no bfloat16. */
static ssld_status run(ssld_context *context, const struct ssld_graph *graph, struct variant variant, enum passes passes,
                       struct result *result)
{
    struct ssld_plan *plan = NULL;
    struct ssld_plan_options options = { .mode = SSLD_PLAN_TRAIN, .batch = BATCH, .threads = variant.threads, .seed = 5,
                                         .precision = variant.precision, .cache_bytes = variant.cache_bytes };
    float *pixels = net_pixels(graph, BATCH), diff_logits[BATCH * CLASSES];
    const float *logits = NULL;
    for (int i = 0; i < BATCH * CLASSES; i++)
        diff_logits[i] = grid((uint64_t)i, 1);
    ssld_status status = ssld_plan_create(context, graph, &options, &plan);
    if (!status)
        move_weights(plan, variant.moved);
    for (int32_t i = 0; !status && i < (passes == ONCE ? 1 : 2); i++) {
        CHECK_OK(context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
        CHECK_OK(context, ssld_plan_backward(plan, diff_logits, i > 0 && passes == ADDED));
    }
    if (!status)
        gather(plan, logits, result);
    ssld_plan_destroy(plan);
    free(pixels);
    return status;
}

/* |a - b| / |b| over all numbers. */
static double distance(const float *a, const float *b, size_t count, double factor)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += pow((double)a[i] - factor * (double)b[i], 2);
        norm += pow(factor * (double)b[i], 2);
    }
    return sqrt(difference / norm);
}

/* Chunks change the order of sums only. ReLU's slope jumps where an input crosses zero by a rounding, so not bit for bit. */
TEST(chunks_of_any_size_give_the_same_gradients)
{
    ssld_context *context = test_context();
    for (size_t i = 0; i <= NAMES; i++) {
        /* Depthwise branches whose diffs add up, too. */
        const char *name = i < NAMES ? names[i] : "PPLCNetV2_base";
        struct ssld_graph *graph = zoo(context, name);
        struct result whole, single, usual;
        CHECK_OK(context, run(context, graph, (struct variant){ (size_t)1 << 40, SSLD_PRECISION_F32, 2, 0 }, ONCE, &whole));
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 2, 0 }, ONCE, &single));
        CHECK_OK(context, run(context, graph, (struct variant){ 0, SSLD_PRECISION_F32, 2, 0 }, ONCE, &usual));
        double of_single = distance(single.values, whole.values, whole.count, 1);
        double of_usual = distance(usual.values, whole.values, whole.count, 1);
        CHECK(of_single < 1e-4 && of_usual < 1e-4, "%s: chunks of one image or less differ by %g, the usual ones by %g", name,
              of_single, of_usual);
        free(whole.values);
        free(single.values);
        free(usual.values);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

static double norm_of(const float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return sqrt(sum);
}

/* bfloat16 has 8 bits: 0.4 % for each rounding of an activation, which flips ReLUs whose inputs are near zero. How far that leads,
 * the network decides: with freshly drawn weights the gradients of MobileNetV1 and PPLCNetV2_base have next to nothing to do with
 * each other after it, the others keep fixed bounds. So the measure is single precision itself with weights moved by as little;
 * lengths stay in any case.
 * Operators one by one are held closer in test_operators.c. */
TEST(bf16_is_no_further_from_f32_than_weights_moved_by_a_rounding)
{
    static const char *const more[] = { "PPLCNetV2_base", "MobileNetV1" };
    ssld_context *context = test_context();
    for (size_t i = 0; i < NAMES + 2; i++) {
        const char *name = i < NAMES ? names[i] : more[i - NAMES];
        struct ssld_graph *graph = zoo(context, name);
        struct result exact, rounded, moved;
        ssld_status status = run(context, graph, (struct variant){ 1, SSLD_PRECISION_BF16, 2, 0 }, ONCE, &rounded);
        if (status == SSLD_UNSUPPORTED) {
            ssld_graph_destroy(graph);
            ssld_context_destroy(context);
            SKIP("this CPU has no AVX-512");
        }
        CHECK_OK(context, status);
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 2, 0 }, ONCE, &exact));
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 2, 0.008f }, ONCE, &moved));
        double of_logits = distance(rounded.values, exact.values, exact.logits, 1);
        double of_all = distance(rounded.values, exact.values, exact.count, 1);
        double lengths = norm_of(rounded.values, exact.count) / norm_of(exact.values, exact.count);
        double moved_logits = distance(moved.values, exact.values, exact.logits, 1);
        double moved_all = distance(moved.values, exact.values, exact.count, 1);
        CHECK(i >= NAMES || (of_logits < 0.15 && of_all < 0.9), "%s: logits differ by %g, gradients by %g", name, of_logits, of_all);
        CHECK(of_logits < 2 * moved_logits && of_all < 1.1 * moved_all && fabs(lengths - 1) < 0.03,
              "%s: logits differ by %g, with moved weights by %g; gradients by %g and %g; their lengths are as %g", name,
              of_logits, moved_logits, of_all, moved_all, lengths);
        free(exact.values);
        free(rounded.values);
        free(moved.values);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

TEST(gradients_add_up)
{
    ssld_context *context = test_context();
    for (size_t i = 0; i < NAMES; i++) {
        struct ssld_graph *graph = zoo(context, names[i]);
        struct result once, twice;
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 2, 0 }, ONCE, &once));
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 2, 0 }, ADDED, &twice));
        double difference = distance(twice.values + twice.logits, once.values + once.logits, once.count - once.logits, 2);
        CHECK(difference < 1e-6, "%s: the sum of two equal gradients differs from twice one by %g", names[i], difference);
        free(once.values);
        free(twice.values);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

TEST(gradients_of_a_step_replace_those_of_the_last)
{
    ssld_context *context = test_context();
    for (size_t i = 0; i < NAMES; i++) {
        struct ssld_graph *graph = zoo(context, names[i]);
        struct result once, again;
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 2, 0 }, ONCE, &once));
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 2, 0 }, AGAIN, &again));
        CHECK(!memcmp(once.values, again.values, once.count * sizeof *once.values), "%s: the same step gave other gradients",
              names[i]);
        free(once.values);
        free(again.values);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

static struct ssld_parameter *parameter_named(struct ssld_plan *plan, const char *name)
{
    for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++)
        if (!strcmp(ssld_plan_parameter(plan, i)->name, name))
            return (struct ssld_parameter *)(uintptr_t)ssld_plan_parameter(plan, i);
    return NULL;
}

TEST(the_first_layer_that_is_not_finite_is_named)
{
    ssld_context *context = test_context();
    struct ssld_graph *graph = zoo(context, "PPLCNet_x0_25");
    struct ssld_plan *plan = NULL;
    struct ssld_plan_options options = { .mode = SSLD_PLAN_TRAIN, .batch = BATCH, .threads = 2 };
    float *pixels = net_pixels(graph, BATCH);
    const float *logits = NULL;
    CHECK_OK(context, ssld_plan_create(context, graph, &options, &plan));
    CHECK_OK(context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
    const char *nothing = ssld_plan_first_non_finite(plan);
    CHECK(!nothing, "'%s' is said not to be finite", nothing ? nothing : "");

    struct ssld_parameter *weights = parameter_named(plan, "blocks4.1.pw_conv.conv.weight");
    CHECK(weights, "no such parameter");
    float before = weights->value[0];
    weights->value[0] = (float)INFINITY;
    CHECK_OK(context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
    const char *layer = ssld_plan_first_non_finite(plan);
    CHECK(layer && !strcmp(layer, "blocks4.1.pw_conv.conv"), "'%s' is named", layer ? layer : "(none)");
    weights->value[0] = before;

    pixels[7] = (float)NAN;
    CHECK_OK(context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
    layer = ssld_plan_first_non_finite(plan);
    CHECK(layer && !strcmp(layer, "the pixels"), "'%s' is named", layer ? layer : "(none)");
    free(pixels);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* Threads with chunks of their own (those that divide the batch) and threads that share each operator (3, 6). */
TEST(any_number_of_threads_gives_the_same_gradients)
{
    static const int32_t threads[] = { 2, 3, 4, 6 };
    ssld_context *context = test_context();
    for (size_t i = 0; i < NAMES; i += 2) {
        struct ssld_graph *graph = zoo(context, names[i]);
        struct result one;
        CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, 1, 0 }, ONCE, &one));
        for (size_t k = 0; k < sizeof threads / sizeof threads[0]; k++) {
            struct result several;
            CHECK_OK(context, run(context, graph, (struct variant){ 1, SSLD_PRECISION_F32, threads[k], 0 }, ONCE, &several));
            double difference = distance(several.values, one.values, one.count, 1);
            CHECK(difference < 1e-4, "%s: %d threads differ by %g", names[i], threads[k], difference);
            free(several.values);
        }
        free(one.values);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

TEST(the_same_number_of_threads_gives_the_same_bits)
{
    ssld_context *context = test_context();
    struct ssld_graph *graph = zoo(context, "MobileNetV3_small_x0_35");
    for (int32_t threads = 1; threads <= 4; threads++) {
        struct result first, second;
        CHECK_OK(context, run(context, graph, (struct variant){ 0, SSLD_PRECISION_F32, threads, 0 }, ADDED, &first));
        CHECK_OK(context, run(context, graph, (struct variant){ 0, SSLD_PRECISION_F32, threads, 0 }, ADDED, &second));
        CHECK(!memcmp(first.values, second.values, first.count * sizeof(float)), "%d threads: two runs differ", threads);
        free(first.values);
        free(second.values);
    }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* Chunks without images are left out, and nothing of an earlier batch shows. */
TEST(an_inference_plan_takes_fewer_images)
{
    ssld_context *context = test_context();
    struct ssld_graph *graph = zoo(context, "MobileNetV3_small_x0_35");
    float *pixels = net_pixels(graph, BATCH), whole[BATCH * CLASSES];
    for (int32_t threads = 1; threads <= 3; threads++) {
        struct ssld_plan *plan = NULL;
        struct ssld_plan_options options = { .mode = SSLD_PLAN_EVAL, .batch = BATCH, .threads = threads, .cache_bytes = 1 };
        const float *logits = NULL;
        CHECK_OK(context, ssld_plan_create(context, graph, &options, &plan));
        CHECK_OK(context, ssld_plan_forward(plan, pixels, BATCH, 0, &logits));
        memcpy(whole, logits, sizeof whole);
        for (int32_t count = 1; count < BATCH; count += 3) {
            size_t last = (size_t)(BATCH - count) * (size_t)ssld_value_elements(&graph->values[graph->input]);
            CHECK_OK(context, ssld_plan_forward(plan, pixels + last, count, 0, &logits));
            double difference = distance(logits, whole + (BATCH - count) * CLASSES, (size_t)count * CLASSES, 1);
            CHECK(difference < 1e-6, "%d threads, %d images: logits differ by %g", threads, count, difference);
        }
        ssld_plan_destroy(plan);
    }
    free(pixels);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST_MAIN(TEST_ROW(any_number_of_threads_gives_the_same_gradients), TEST_ROW(the_same_number_of_threads_gives_the_same_bits),
          TEST_ROW(an_inference_plan_takes_fewer_images), TEST_ROW(chunks_of_any_size_give_the_same_gradients),
          TEST_ROW(bf16_is_no_further_from_f32_than_weights_moved_by_a_rounding), TEST_ROW(gradients_add_up),
          TEST_ROW(gradients_of_a_step_replace_those_of_the_last),
          TEST_ROW(the_first_layer_that_is_not_finite_is_named))
