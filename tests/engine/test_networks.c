/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole networks and whole plans: against the reference, against themselves, and out of memory. */
#include "networks.h"

#include "engine/plan.h"

#ifdef _OPENMP
#include <omp.h>
#endif

static ssld_context *make_context(void)
{
    ssld_context *context = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    return context;
}

static struct ssld_graph *zoo(ssld_context *context, const char *name, int32_t size, bool small)
{
    struct ssld_graph *graph = NULL;
    struct ssld_zoo_options options = { .classes = CLASSES, .channels = 3, .height = size, .width = size, .small = small,
                                        .dropout = 0, .seed = 3 };
    CHECK_OK(context, ssld_zoo_build(context, name, &options, &graph));
    return graph;
}

static struct ssld_plan *make_plan(ssld_context *context, const struct ssld_graph *graph, int32_t mode, int32_t batch,
                                   int32_t threads)
{
    struct ssld_plan *plan = NULL;
    struct ssld_plan_options options = { .mode = mode, .batch = batch, .threads = threads };
    CHECK_OK(context, ssld_plan_create(context, graph, &options, &plan));
    return plan;
}

TEST(zoo_networks_give_the_references_logits)
{
    static const struct {
        const char *name;
        int32_t size;
        bool small;
    } networks[] = { { "PPLCNet_x0_25", 28, true }, { "PPLCNet_x0_25", 64, false }, { "ResNet18", 16, true },
                     { "ResNet18", 64, false }, { "ResNet50_vd", 33, false } };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        struct ssld_graph *graph = zoo(context, networks[i].name, networks[i].size, networks[i].small);
        float *pixels = net_pixels(graph, 2);
        for (int32_t mode = SSLD_PLAN_EVAL; mode <= SSLD_PLAN_TRAIN; mode++) {
            struct ssld_plan *plan = make_plan(context, graph, mode, 2, 2);
            struct reference run = reference_run(graph, 2, pixels, mode != SSLD_PLAN_EVAL);
            const double *expected = run.values[graph->output];
            const float *logits = NULL;
            double largest = 0;
            CHECK_OK(context, ssld_plan_forward(plan, pixels, 2, 0, &logits));
            for (int j = 0; j < 2 * CLASSES; j++)
                largest = fmax(largest, fabs(expected[j]));
            /* Batch statistics of two images at one position divide by small differences, fifty layers deep. */
            for (int j = 0; j < 2 * CLASSES; j++)
                CHECK(fabs(logits[j] - expected[j]) <= (mode == SSLD_PLAN_EVAL ? 1e-5 : 1e-3) * largest,
                      "%s mode %d: logit %d is %g, expected %g", networks[i].name, mode, j, logits[j], expected[j]);
            reference_free(&run);
            ssld_plan_destroy(plan);
        }
        free(pixels);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* The largest difference of a batch's tensor from the reference's values, relative to the largest of these. */
static double tensor_difference(const struct planes *planes, const float *data, const double *expected)
{
    int64_t hw = planes->h * planes->w;
    double largest = 0, difference = 0;
    for (int64_t n = 0; n < planes->n; n++)
        for (int64_t c = 0; c < planes->channels; c++)
            for (int64_t p = 0; p < hw; p++) {
                int64_t block = n * planes->blocks + c / planes->b;
                double got = (double)data[(block * hw + p) * planes->b + c % planes->b];
                double want = expected[(n * planes->channels + c) * hw + p];
                largest = fmax(largest, fabs(want));
                difference = fmax(difference, fabs(got - want));
            }
    return largest > 0 ? difference / largest : difference;
}

/* A plan keeps its numbers in the parameters alone; the reference wants them in the graph. */
static void give_graph_its_data(struct ssld_plan *plan)
{
    for (int32_t i = 0; i < plan->parameter_count; i++) {
        struct ssld_value *value = &plan->graph->values[plan->parameters[i].value];
        value->data = ssld_alloc(plan->context, (size_t)ssld_value_elements(value) * sizeof(float));
        CHECK_OK(plan->context, ssld_plan_parameter_to_plain(plan, i, plan->parameters[i].visible.value, value->data));
    }
}

/* What backward reads from memory is there after forward; the rest it makes again. */
TEST(activations_kept_for_backward_are_the_references)
{
    static const char *const names[] = { "PPLCNet_x0_25", "ResNet18" };
    ssld_context *context = make_context();
    for (size_t i = 0; i < 2; i++) {
        struct ssld_graph *graph = zoo(context, names[i], 24, true);
        struct ssld_plan *plan = make_plan(context, graph, SSLD_PLAN_TRAIN, 4, 2);
        float *pixels = net_pixels(graph, 4);
        const float *logits = NULL;
        int32_t compared = 0;
        CHECK_OK(context, ssld_plan_forward(plan, pixels, 4, 0, &logits));
        give_graph_its_data(plan);
        struct reference run = reference_run(plan->graph, 4, pixels, true);
        for (int32_t n = 0; n < plan->graph->node_count; n++) {
            const struct step *step = &plan->steps[n];
            int32_t value = step->node->inputs[0];
            if (!(step->op->backward_reads & READS_SRC) || plan->again[value])
                continue;
            struct operand kept = ssld_operand_of(plan, step->backward_segment, 2 * value);
            struct planes planes = ssld_planes_for(&plan->tensors[value].planes, 4);
            double difference = tensor_difference(&planes, (const float *)kept.base, run.values[value]);
            CHECK(difference < 1e-3, "%s: what '%s' reads differs by %g", names[i], step->node->name, difference);
            compared++;
        }
        CHECK(compared > 20, "%s: only %d activations were compared", names[i], compared);
        reference_free(&run);
        free(pixels);
        ssld_plan_destroy(plan);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

TEST(a_views_logits_do_not_depend_on_its_batch)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = zoo(context, "PPLCNet_x0_25", 32, true);
    struct ssld_plan *plan = make_plan(context, graph, SSLD_PLAN_EVAL, 8, 2);
    float *pixels = net_pixels(graph, 8), all[8 * CLASSES];
    size_t image = 3 * 32 * 32;
    const float *logits = NULL;
    CHECK_OK(context, ssld_plan_forward(plan, pixels, 8, 0, &logits));
    memcpy(all, logits, sizeof all);
    for (int i = 0; i < 8; i++) {
        CHECK_OK(context, ssld_plan_forward(plan, pixels + (size_t)i * image, 1, 0, &logits));
        CHECK(!memcmp(logits, all + i * CLASSES, CLASSES * sizeof(float)), "image %d: %g in a batch, %g alone", i,
              all[i * CLASSES], logits[0]);
    }
    free(pixels);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* What a first call prepares, weights in other layouts for one, must last: a classifier on several threads has two segments. */
TEST(predictions_repeat_in_either_precision_on_any_threads)
{
    static const char *const names[] = { "PPLCNet_x0_25", "MobileNetV3_small_x0_35", "ResNet18" };
    ssld_context *context = make_context();
    for (int i = 0; i < 3 * 2 * 3; i++) {
        struct ssld_graph *graph = zoo(context, names[i % 3], 32, true);
        struct ssld_plan_options options = { .mode = SSLD_PLAN_EVAL, .batch = 6, .threads = 1 + i / 6,
                                             .precision = i / 3 % 2 ? SSLD_PRECISION_BF16 : SSLD_PRECISION_F32 };
        struct ssld_plan *plan = NULL;
        float *pixels = net_pixels(graph, 6), first[6 * CLASSES];
        const float *logits = NULL;
        ssld_status status = ssld_plan_create(context, graph, &options, &plan);
        for (int call = 0; !status && call < 3; call++) {
            CHECK_OK(context, ssld_plan_forward(plan, pixels, 6, 0, &logits));
            if (call == 0)
                memcpy(first, logits, sizeof first);
            CHECK(!memcmp(logits, first, sizeof first), "%s, precision %d, %d threads: %g at first, %g in call %d", names[i % 3],
                  (int)options.precision, options.threads, first[0], logits[0], call + 1);
        }
        free(pixels);
        ssld_plan_destroy(plan);
        ssld_graph_destroy(graph);
        if (status == SSLD_UNSUPPORTED && options.precision == SSLD_PRECISION_BF16)
            continue; /* this CPU has no bf16 */
        CHECK_OK(context, status);
    }
    ssld_context_destroy(context);
}

TEST(same_inputs_give_the_same_bits)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = zoo(context, "PPLCNet_x0_25", 28, true);
    float *pixels = net_pixels(graph, 4), diff_logits[4 * CLASSES];
    float *first = NULL;
    for (int i = 0; i < 4 * CLASSES; i++)
        diff_logits[i] = grid((uint64_t)i, 1);
    for (int repeat = 0; repeat < 3; repeat++) {
        struct ssld_plan *plan = make_plan(context, graph, SSLD_PLAN_TRAIN, 4, 2);
        const float *logits = NULL;
        size_t total = 0;
        CHECK_OK(context, ssld_plan_forward(plan, pixels, 4, 0, &logits));
        CHECK_OK(context, ssld_plan_backward(plan, diff_logits, false));
        for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++)
            total += ssld_plan_parameter(plan, i)->diff ? ssld_plan_parameter(plan, i)->count : 0;
        float *diffs = malloc(total * sizeof *diffs), *to = diffs;
        for (int32_t i = 0; i < ssld_plan_parameter_count(plan); i++) {
            const struct ssld_parameter *parameter = ssld_plan_parameter(plan, i);
            if (!parameter->diff)
                continue;
            memcpy(to, parameter->diff, parameter->count * sizeof(float));
            to += parameter->count;
        }
        if (!first)
            first = diffs;
        else {
            CHECK(!memcmp(first, diffs, total * sizeof(float)), "gradients of run %d differ", repeat);
            free(diffs);
        }
        ssld_plan_destroy(plan);
    }
    free(first);
    free(pixels);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(snapshot_has_the_parameters_as_they_are)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = zoo(context, "PPLCNet_x0_25", 28, true), *copy = NULL;
    struct ssld_plan *plan = make_plan(context, graph, SSLD_PLAN_TRAIN, 2, 2);
    CHECK_OK(context, ssld_plan_snapshot(plan, &copy));
    CHECK(copy->value_count == graph->value_count && copy->node_count == graph->node_count, "%d values of %d",
          copy->value_count, graph->value_count);
    for (int32_t v = 0; v < graph->value_count; v++)
        if (graph->values[v].data)
            CHECK(!memcmp(copy->values[v].data, graph->values[v].data,
                          (size_t)ssld_value_elements(&graph->values[v]) * sizeof(float)),
                  "'%s' came back changed", graph->values[v].name);
    ssld_graph_destroy(copy);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(running_statistics_move_only_when_told)
{
    ssld_context *context = make_context();
    struct net net = net_start(context, 3, 4, 4);
    net_conv3(&net, 4);
    net_batch_norm(&net);
    net_finish(&net);
    struct ssld_plan *plan = make_plan(context, net.graph, SSLD_PLAN_TRAIN, 2, 2);
    float *pixels = net_pixels(net.graph, 2), before[4] = { 0 };
    const struct ssld_parameter *mean = NULL;
    const float *logits = NULL;
    for (int32_t i = 0; !mean && i < ssld_plan_parameter_count(plan); i++)
        if (ssld_plan_parameter(plan, i)->role == SSLD_VALUE_BUFFER)
            mean = ssld_plan_parameter(plan, i);
    CHECK(mean, "no running mean");
    memcpy(before, mean->value, sizeof before);
    CHECK_OK(context, ssld_plan_forward(plan, pixels, 2, 0, &logits));
    CHECK(!memcmp(before, mean->value, sizeof before), "forward moved the running mean");
    ssld_plan_update_statistics(plan);
    struct reference run = reference_run(net.graph, 2, pixels, true);
    const double *conv = run.values[net.graph->nodes[0].output];
    for (int c = 0; c < 4; c++) {
        double batch_mean = 0;
        for (int n = 0; n < 2; n++)
            for (int p = 0; p < 16; p++)
                batch_mean += conv[(n * 4 + c) * 16 + p] / 32;
        double expected = 0.9 * before[c] + 0.1 * batch_mean; /* ONNX's default momentum */
        CHECK(fabs(mean->value[c] - expected) < 1e-6, "channel %d: %g, expected %g", c, mean->value[c], expected);
    }
    reference_free(&run);
    free(pixels);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(net.graph);
    ssld_context_destroy(context);
}

TEST(wrong_batches_and_orders_are_refused)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = zoo(context, "PPLCNet_x0_25", 28, true);
    struct ssld_plan *plan = make_plan(context, graph, SSLD_PLAN_TRAIN, 4, 2);
    float *pixels = net_pixels(graph, 4), diff_logits[4 * CLASSES] = { 0 };
    const float *logits = NULL;
    CHECK_STATUS(context, ssld_plan_backward(plan, diff_logits, false), SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context, ssld_plan_forward(plan, pixels, 3, 0, &logits), SSLD_MISMATCH);
    CHECK_TEXT(context, "batches of exactly 4");
    CHECK_OK(context, ssld_plan_forward(plan, pixels, 4, 0, &logits));
    CHECK_OK(context, ssld_plan_backward(plan, diff_logits, false));
    CHECK_STATUS(context, ssld_plan_backward(plan, diff_logits, false), SSLD_INVALID_ARGUMENT);
    ssld_context_cancel(context);
    CHECK_STATUS(context, ssld_plan_forward(plan, pixels, 4, 0, &logits), SSLD_CANCELLED);
    ssld_context_resume(context);
    CHECK_OK(context, ssld_plan_forward(plan, pixels, 4, 0, &logits));
    free(pixels);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(a_graph_with_nothing_to_train_is_refused)
{
    ssld_context *context = make_context();
    struct net net = net_start(context, 3, 4, 4);
    net_unary(&net, SSLD_OP_GLOBAL_AVERAGE_POOL);
    net.graph->output = net_unary(&net, SSLD_OP_FLATTEN);
    struct ssld_plan *plan = NULL;
    struct ssld_plan_options options = { .mode = SSLD_PLAN_TRAIN, .batch = 1, .threads = 1 };
    CHECK_STATUS(context, ssld_plan_create(context, net.graph, &options, &plan), SSLD_UNSUPPORTED);
    CHECK_TEXT(context, "no parameter to train");
    ssld_graph_destroy(net.graph);
    ssld_context_destroy(context);
}

#ifdef _OPENMP
/* oneDNN's primitives wait for the threads they were made for: with fewer they would never return. */
TEST(fewer_threads_than_asked_for_are_noticed)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = zoo(context, "PPLCNet_x0_25", 28, true);
    float *pixels = net_pixels(graph, 4), diff_logits[4 * CLASSES] = { 1 };
    const float *logits = NULL;
    omp_set_dynamic(1); /* on a busy machine OpenMP would now give one thread */
    struct ssld_plan *plan = make_plan(context, graph, SSLD_PLAN_TRAIN, 4, 2);
    CHECK_OK(context, ssld_plan_forward(plan, pixels, 4, 0, &logits));
    CHECK_OK(context, ssld_plan_backward(plan, diff_logits, false));
    CHECK(omp_get_dynamic(), "the host's setting was changed");
    omp_set_dynamic(0);
    ssld_status inside = SSLD_OK;
    #pragma omp parallel num_threads(2)
    {
        #pragma omp single
        inside = ssld_plan_forward(plan, pixels, 4, 0, &logits);
    }
    CHECK(inside == SSLD_UNSUPPORTED, "inside a parallel region: %s", ssld_status_name(inside));
    free(pixels);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}
#else
TEST(fewer_threads_than_asked_for_are_noticed) { SKIP("built without OpenMP"); }
#endif

/* -- Allocations failing one by one ------------------------------------------------------------------------------- */

TEST(every_allocation_of_a_plan_may_fail)
{
    int left = 1 << 30;
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.allocator = test_allocator(&left);
    CHECK_OK(NULL, ssld_context_create(&options, &context));
    struct net net = net_start(context, 3, 8, 8);
    net_conv3(&net, 8);
    net_batch_norm(&net);
    net_unary(&net, SSLD_OP_RELU);
    net_unary(&net, SSLD_OP_GLOBAL_AVERAGE_POOL);
    net_finish(&net);
    struct ssld_plan_options plan_options = { .mode = SSLD_PLAN_TRAIN, .batch = 2, .threads = 1 };
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

TEST_MAIN(TEST_ROW(zoo_networks_give_the_references_logits),
          TEST_ROW(activations_kept_for_backward_are_the_references),
          TEST_ROW(a_views_logits_do_not_depend_on_its_batch),
          TEST_ROW(predictions_repeat_in_either_precision_on_any_threads),
          TEST_ROW(same_inputs_give_the_same_bits), TEST_ROW(snapshot_has_the_parameters_as_they_are),
          TEST_ROW(running_statistics_move_only_when_told), TEST_ROW(wrong_batches_and_orders_are_refused),
          TEST_ROW(a_graph_with_nothing_to_train_is_refused), TEST_ROW(fewer_threads_than_asked_for_are_noticed),
          TEST_ROW(every_allocation_of_a_plan_may_fail))
