/* SPDX-License-Identifier: BSD-2-Clause */
/* What a student keeps between steps, and what it never does: every optimizer resumed, averages, parts of a step, groups,
 * clipping, numbers that are not finite, memory. */
#include "test.h"

#include "distill/checkpoint.h"
#include "graph/onnx_builder.h"

#include "distill/fixture.h"

#include <stdbool.h>
#include <unistd.h>

/* -- Students ----------------------------------------------------------------------------------------------------- */

static ssld_student_options options_of(int32_t optimizer)
{
    ssld_student_options options;
    ssld_student_options_init(&options, sizeof options);
    options.batch = BATCH;
    options.optimizer = optimizer;
    options.learning_rate = optimizer == SSLD_OPTIMIZER_ADAMW ? 1e-3f : 0.05f;
    return options;
}

static ssld_student *make(struct fixture *f, const ssld_model *model, const ssld_student_options *options)
{
    ssld_student *student = NULL;
    CHECK_OK(f->context, ssld_student_create(f->context, model ? model : f->model, options, &student));
    return student;
}

static void steps(struct fixture *f, ssld_student *student, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_OK(f->context, ssld_student_step(student, f->batch, f->labels, NULL));
}

/* Weights and running statistics in 16 bytes: of the network as it is, or of its average. */
struct print {
    uint8_t bytes[16];
};

static struct print print_of(struct fixture *f, const ssld_student *student, bool average)
{
    struct print print;
    ssld_model *model = NULL;
    CHECK_OK(f->context, average ? ssld_student_get_ema_model(student, &model) : ssld_student_get_model(student, &model));
    ssld_model_fingerprint(model, print.bytes);
    ssld_model_destroy(model);
    return print;
}

static bool same(struct print one, struct print other)
{
    return !memcmp(one.bytes, other.bytes, sizeof one.bytes);
}

static int32_t index_of(const ssld_student *student, const char *name, int32_t *count)
{
    int32_t dims[4];
    const char *found;
    for (int32_t i = 0; (found = ssld_student_parameter_name(student, i, dims)); i++)
        if (!strcmp(found, name)) {
            *count = dims[0] * dims[1] * dims[2] * dims[3];
            return i;
        }
    CHECK(found, "there is no parameter '%s'", name);
    return -1;
}

/* A parameter or its gradient; the caller frees it. */
static float *read_array(struct fixture *f, const ssld_student *student, const char *name, int32_t what, int32_t *count)
{
    int32_t index = index_of(student, name, count);
    float *values = malloc((size_t)*count * sizeof *values);
    CHECK_OK(f->context, ssld_student_parameter_read(student, index, what, values));
    return values;
}

static void fill(struct fixture *f, ssld_student *student, const char *name, int32_t what, float value)
{
    int32_t count, index = index_of(student, name, &count);
    float *values = malloc((size_t)count * sizeof *values);
    for (int32_t i = 0; i < count; i++)
        values[i] = value;
    CHECK_OK(f->context, ssld_student_parameter_write(student, index, what, values));
    free(values);
}

/* The first `count` views of the fixture's batch from view `first` on, with their labels. */
static void part_of(struct fixture *f, int32_t first, int32_t count, ssld_batch **batch, ssld_labels **labels)
{
    CHECK_OK(f->context, ssld_batch_create(f->context, batch));
    CHECK_OK(f->context, ssld_batch_wrap(*batch, count, shape, f->pixels + (size_t)first * PIXELS, NULL, NULL,
                                         f->classes + first));
    CHECK_OK(f->context, ssld_labels_create(f->context, count, CLASSES, labels));
    CHECK_OK(f->context, ssld_labels_wrap_logits(*labels, count, f->logits + (size_t)first * CLASSES));
}

/* Convolution, ReLU, pooling, fully connected: neither batch norm nor dropout. */
static ssld_model *plain_network(struct fixture *f)
{
    struct bytes graph = { 0 }, attributes = { 0 };
    ssld_model *model = NULL;
    put_graph_input(&graph, "x", 4, (int64_t[]){ 0, 1, SIZE, SIZE });
    put_weights(&graph, "conv.weight", 4, (int64_t[]){ 8, 1, 3, 3 });
    put_weights(&graph, "fc.weight", 2, (int64_t[]){ CLASSES, 8 });
    put_weights(&graph, "fc.bias", 1, (int64_t[]){ CLASSES });
    put_node(&graph, "Conv", "conv", "x,conv.weight", "c", NULL);
    put_node(&graph, "Relu", "relu", "c", "r", NULL);
    put_node(&graph, "GlobalAveragePool", "pool", "r", "p", NULL);
    put_node(&graph, "Flatten", "flatten", "p", "f", NULL);
    put_attribute_int(&attributes, "transB", 1);
    put_node(&graph, "Gemm", "fc", "f,fc.weight,fc.bias", "y", &attributes);
    put_graph_output(&graph, "y");
    struct bytes file = finish_model(&graph, 17);
    CHECK_OK(f->context, ssld_model_load_memory(f->context, file.data, file.size, "plain.onnx", NULL, &model));
    free(file.data);
    return model;
}

static ssld_model *without_dropout(struct fixture *f)
{
    ssld_model *model = NULL;
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = CLASSES;
    options.channels = 1;
    options.height = SIZE;
    options.variant = SSLD_VARIANT_SMALL;
    options.dropout = -1;
    CHECK_OK(f->context, ssld_model_create(f->context, "PPLCNet_x0_25", &options, &model));
    return model;
}

/* -- Checkpoints -------------------------------------------------------------------------------------------------- */

TEST(resumed_run_equals_uninterrupted_run_with_every_optimizer)
{
    struct fixture f;
    setup(&f, NULL);
    char path[] = "/tmp/ssld-checkpoint-XXXXXX";
    close(mkstemp(path));
    for (int32_t optimizer = SSLD_OPTIMIZER_SGD; optimizer <= SSLD_OPTIMIZER_LARS; optimizer++)
        for (int average = 0; average < 2; average++) {
            ssld_student_options options = options_of(optimizer);
            options.ema_decay = average ? 0.75f : 0;
            options.nesterov = optimizer == SSLD_OPTIMIZER_SGD && average;
            options.accumulate = average ? 2 : 1;
            options.clip_norm = 1;
            options.schedule = SSLD_SCHEDULE_ONE_CYCLE;
            options.total_steps = 6;
            ssld_student *whole = make(&f, NULL, &options), *first = make(&f, NULL, &options), *second = make(&f, NULL, &options);
            steps(&f, whole, 6);
            steps(&f, first, 3);
            CHECK_OK(f.context, ssld_student_save(first, path));
            CHECK_OK(f.context, ssld_student_restore(second, path));
            steps(&f, second, 3);
            CHECK(same(print_of(&f, whole, false), print_of(&f, second, false)), "optimizer %d, average %d: weights differ",
                  optimizer, average);
            CHECK(!same(print_of(&f, whole, false), print_of(&f, first, false)), "three steps changed nothing");
            CHECK(!average || same(print_of(&f, whole, true), print_of(&f, second, true)), "optimizer %d: averages differ",
                  optimizer);
            ssld_student_destroy(whole);
            ssld_student_destroy(first);
            ssld_student_destroy(second);
        }
    unlink(path);
    teardown(&f);
}

TEST(checkpoint_of_another_optimizer_is_refused_by_name)
{
    static const struct {
        int32_t saved, restored;
        float   saved_average, restored_average;
        const char *text;
    } cases[] = {
        { SSLD_OPTIMIZER_SGD, SSLD_OPTIMIZER_ADAMW, 0, 0, "it has 'velocity/conv1.conv.weight' where this one has 'moment1/" },
        { SSLD_OPTIMIZER_SGD, SSLD_OPTIMIZER_LARS, 0, 0, "where this one has 'lars_velocity/conv1.conv.weight'" },
        { SSLD_OPTIMIZER_ADAMW, SSLD_OPTIMIZER_SGD, 0, 0, "where this one has 'velocity/" },
        { SSLD_OPTIMIZER_SGD, SSLD_OPTIMIZER_SGD, 0, 0.5f, "where this one has 'ema/conv1.conv.weight'" },
        { SSLD_OPTIMIZER_SGD, SSLD_OPTIMIZER_SGD, 0.5f, 0, "it has 'ema/conv1.conv.weight'" },
    };
    struct fixture f;
    setup(&f, NULL);
    char path[] = "/tmp/ssld-checkpoint-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ssld_student_options saved = options_of(cases[i].saved), restored = options_of(cases[i].restored);
        saved.ema_decay = cases[i].saved_average;
        restored.ema_decay = cases[i].restored_average;
        ssld_student *one = make(&f, NULL, &saved), *other = make(&f, NULL, &restored);
        steps(&f, one, 1);
        CHECK_OK(f.context, ssld_student_save(one, path));
        struct print before = print_of(&f, other, false);
        CHECK_STATUS(f.context, ssld_student_restore(other, path), SSLD_MISMATCH);
        CHECK_TEXT(f.context, cases[i].text);
        CHECK(same(before, print_of(&f, other, false)) && !ssld_student_steps(other), "case %zu: something was read", i);
        ssld_student_destroy(one);
        ssld_student_destroy(other);
    }
    unlink(path);
    teardown(&f);
}

/* The first release had SGD only: these tensors, in this order. */
TEST(checkpoint_of_the_first_release_is_restored)
{
    static float conv[2][72], weights[2][8 * CLASSES], bias[2][CLASSES];
    static const struct ssld_checkpoint_tensor tensors[] = {
        { "weights/conv.weight", 72, conv[0] },           { "velocity/conv.weight", 72, conv[1] },
        { "weights/fc.weight", 8 * CLASSES, weights[0] }, { "velocity/fc.weight", 8 * CLASSES, weights[1] },
        { "weights/fc.bias", CLASSES, bias[0] },          { "velocity/fc.bias", CLASSES, bias[1] },
    };
    struct fixture f;
    setup(&f, NULL);
    char path[] = "/tmp/ssld-checkpoint-XXXXXX";
    close(mkstemp(path));
    for (int i = 0; i < 8 * CLASSES; i++) {
        weights[0][i] = 0.01f * (float)i;
        weights[1][i] = (float)i;
    }
    CHECK_OK(f.context, ssld_checkpoint_write(f.context, path, 41, 6, tensors));
    ssld_model *model = plain_network(&f);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    ssld_student *student = make(&f, model, &options);
    CHECK_OK(f.context, ssld_student_restore(student, path));
    CHECK(ssld_student_steps(student) == 41, "%d steps", (int)ssld_student_steps(student));
    int32_t count;
    float *read = read_array(&f, student, "fc.weight", SSLD_PARAMETER_VALUE, &count);
    CHECK(!memcmp(read, weights[0], sizeof weights[0]), "the weights differ");
    free(read);
    /* An update without a gradient moves by the velocity alone: w -= rate * momentum * v. */
    CHECK_OK(f.context, ssld_student_forward(student, f.batch, NULL));
    CHECK_OK(f.context, ssld_student_backward(student, f.batch, f.labels, NULL));
    fill(&f, student, "fc.weight", SSLD_PARAMETER_GRADIENT, 0);
    CHECK_OK(f.context, ssld_student_update(student));
    read = read_array(&f, student, "fc.weight", SSLD_PARAMETER_VALUE, &count);
    for (int i = 0; i < count; i++)
        CHECK(fabs(read[i] - (0.01 * i - 0.05 * 0.9 * i)) < 1e-6, "weight %d is %g", i, (double)read[i]);
    free(read);
    ssld_student_destroy(student);
    ssld_model_destroy(model);
    unlink(path);
    teardown(&f);
}

/* -- Averages ----------------------------------------------------------------------------------------------------- */

TEST(average_is_that_of_the_weights_after_each_step)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_ADAMW);
    options.ema_decay = 0.75f;
    ssld_student *student = make(&f, NULL, &options);
    /* A host's own start is the average's, too. */
    fill(&f, student, "fc.bias", SSLD_PARAMETER_VALUE, 0.5f);
    double average[CLASSES] = { 0.5, 0.5, 0.5 };
    int32_t count;
    for (int step = 0; step < 3; step++) {
        steps(&f, student, 1);
        float *weights = read_array(&f, student, "fc.bias", SSLD_PARAMETER_VALUE, &count);
        for (int i = 0; i < CLASSES; i++)
            average[i] = 0.75 * average[i] + 0.25 * weights[i];
        free(weights);
    }
    ssld_model *model = NULL;
    CHECK_OK(f.context, ssld_student_get_ema_model(student, &model));
    ssld_student *reader = make(&f, model, &options);
    float *got = read_array(&f, reader, "fc.bias", SSLD_PARAMETER_VALUE, &count);
    for (int i = 0; i < CLASSES; i++) /* three roundings of numbers below 1 */
        CHECK(fabs(got[i] - average[i]) < 5e-7, "average %d is %.9g instead of %.9g", i, (double)got[i], average[i]);
    free(got);
    ssld_student_destroy(reader);
    ssld_model_destroy(model);
    ssld_student_destroy(student);
    teardown(&f);
}

/* With hardly any memory the average is the network itself, running statistics included: it infers the same. */
TEST(average_includes_running_statistics)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    options.ema_decay = 1e-7f;
    ssld_student *student = make(&f, NULL, &options);
    steps(&f, student, 5);
    ssld_model *model = NULL;
    CHECK_OK(f.context, ssld_student_get_ema_model(student, &model));
    ssld_student *average = make(&f, model, &options);
    float live[BATCH * CLASSES], averaged[BATCH * CLASSES];
    inferred(&f, student, live);
    inferred(&f, average, averaged);
    for (int i = 0; i < BATCH * CLASSES; i++) /* every weight may be off by a rounding */
        CHECK(fabsf(live[i] - averaged[i]) < 1e-3f * fmaxf(1, fabsf(live[i])), "logit %d: %g, averaged %g", i,
              (double)live[i], (double)averaged[i]);
    ssld_student_destroy(average);
    ssld_model_destroy(model);
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(student_without_an_average_says_how_to_get_one)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    ssld_student *student = make(&f, NULL, &options);
    ssld_model *model = NULL;
    CHECK_STATUS(f.context, ssld_student_get_ema_model(student, &model), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "ema_decay");
    CHECK(!model, "a model was made");
    ssld_student_destroy(student);
    teardown(&f);
}

/* -- Parts of a step ---------------------------------------------------------------------------------------------- */

TEST(step_in_four_parts_is_the_whole_step_without_batch_norm)
{
    static const char *const names[] = { "conv.weight", "fc.weight", "fc.bias" };
    struct fixture f;
    setup(&f, NULL);
    ssld_model *model = plain_network(&f);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    options.loss = "sym_kl + hard_ce";
    ssld_student *whole = make(&f, model, &options);
    options.accumulate = 4;
    ssld_student *parts = make(&f, model, &options);
    for (int step = 0; step < 3; step++) {
        ssld_step one = { .struct_size = sizeof one }, four = { .struct_size = sizeof four };
        CHECK_OK(f.context, ssld_student_step(whole, f.batch, f.labels, &one));
        CHECK_OK(f.context, ssld_student_step(parts, f.batch, f.labels, &four));
        CHECK(fabs(one.loss - four.loss) < 1e-5 * one.loss && one.top1 == four.top1 && one.step == four.step,
              "loss %g, in parts %g; top-1 %g, in parts %g", one.loss, four.loss, one.top1, four.top1);
    }
    for (int n = 0; n < 3; n++) {
        int32_t count;
        float *one = read_array(&f, whole, names[n], SSLD_PARAMETER_VALUE, &count);
        float *four = read_array(&f, parts, names[n], SSLD_PARAMETER_VALUE, &count);
        for (int32_t i = 0; i < count; i++) /* sums over 26 x 26 places in another order, three times */
            CHECK(fabsf(one[i] - four[i]) < 1e-5f * fmaxf(1, fabsf(one[i])), "%s[%d] is %.9g, in parts %.9g", names[n], i,
                  (double)one[i], (double)four[i]);
        free(one);
        free(four);
    }
    ssld_student_destroy(whole);
    ssld_student_destroy(parts);
    ssld_model_destroy(model);
    teardown(&f);
}

/* With batch norm, dropout and an average. */
TEST(host_that_accumulates_gets_the_same_bits_as_a_step_in_parts)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    options.accumulate = 2;
    options.ema_decay = 0.5f;
    ssld_student *step = make(&f, NULL, &options), *host = make(&f, NULL, &options);
    for (int i = 0; i < 3; i++) {
        ssld_step info = { .struct_size = sizeof info };
        double sum = 0;
        CHECK_OK(f.context, ssld_student_step(step, f.batch, f.labels, &info));
        for (int p = 0; p < 2; p++) {
            ssld_batch *batch = NULL;
            ssld_labels *labels = NULL;
            double loss = 0;
            part_of(&f, 2 * p, 2, &batch, &labels);
            CHECK_OK(f.context, ssld_student_forward(host, batch, NULL));
            CHECK_OK(f.context, ssld_student_accumulate(host, batch, labels, 0.5f, &loss));
            sum += loss / 2;
            ssld_labels_destroy(labels);
            ssld_batch_destroy(batch);
        }
        CHECK_OK(f.context, ssld_student_update(host));
        CHECK(sum == info.loss, "loss %.17g, the step's %.17g", sum, info.loss);
    }
    CHECK(same(print_of(&f, step, false), print_of(&f, host, false)), "the networks differ");
    CHECK(same(print_of(&f, step, true), print_of(&f, host, true)), "the averages differ");
    ssld_student_destroy(step);
    ssld_student_destroy(host);
    teardown(&f);
}

TEST(backward_replaces_what_was_accumulated_and_its_statistics)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_model *model = without_dropout(&f);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    ssld_student *clean = make(&f, model, &options), *other = make(&f, model, &options);
    steps(&f, clean, 1);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(f.context, ssld_student_forward(other, f.batch, NULL));
        CHECK_OK(f.context, ssld_student_accumulate(other, f.batch, f.labels, 3, NULL));
    }
    CHECK_OK(f.context, ssld_student_forward(other, f.batch, NULL));
    CHECK_OK(f.context, ssld_student_backward(other, f.batch, f.labels, NULL));
    CHECK_OK(f.context, ssld_student_update(other));
    CHECK(same(print_of(&f, clean, false), print_of(&f, other, false)), "the networks differ");
    ssld_student_destroy(clean);
    ssld_student_destroy(other);
    ssld_model_destroy(model);
    teardown(&f);
}

TEST(part_that_fails_drops_the_parts_before_it)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    options.accumulate = 2;
    options.ema_decay = 0.5f;
    ssld_student *student = make(&f, NULL, &options);
    steps(&f, student, 2);
    struct print before = print_of(&f, student, false), average = print_of(&f, student, true);
    float pixel = f.pixels[3 * PIXELS + 7];
    f.pixels[3 * PIXELS + 7] = INFINITY;
    CHECK_STATUS(f.context, ssld_student_step(student, f.batch, f.labels, NULL), SSLD_NOT_FINITE);
    CHECK_TEXT(f.context, "a pixel of view 1 of the batch is inf");
    CHECK(same(before, print_of(&f, student, false)), "the network has changed");
    /* The same by hand. */
    for (int p = 0; p < 2; p++) {
        ssld_batch *batch = NULL;
        ssld_labels *labels = NULL;
        part_of(&f, 2 * p, 2, &batch, &labels);
        CHECK_OK(f.context, ssld_student_forward(student, batch, NULL));
        CHECK_STATUS(f.context, ssld_student_accumulate(student, batch, labels, 0.5f, NULL), p ? SSLD_NOT_FINITE : SSLD_OK);
        ssld_labels_destroy(labels);
        ssld_batch_destroy(batch);
    }
    CHECK_STATUS(f.context, ssld_student_update(student), SSLD_INVALID_ARGUMENT);
    CHECK(same(before, print_of(&f, student, false)) && same(average, print_of(&f, student, true)), "the network has changed");
    f.pixels[3 * PIXELS + 7] = pixel;
    /* It goes on as one that was never disturbed. */
    ssld_student *clean = make(&f, NULL, &options);
    steps(&f, student, 1);
    steps(&f, clean, 3);
    CHECK(same(print_of(&f, clean, false), print_of(&f, student, false)), "the networks differ after another step");
    CHECK(same(print_of(&f, clean, true), print_of(&f, student, true)), "the averages differ after another step");
    ssld_student_destroy(clean);
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(parts_take_their_own_number_of_views)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    options.accumulate = 2;
    ssld_student *student = make(&f, NULL, &options);
    ssld_batch *batch = NULL;
    ssld_labels *labels = NULL;
    part_of(&f, 0, 2, &batch, &labels);
    CHECK_STATUS(f.context, ssld_student_forward(student, f.batch, NULL), SSLD_MISMATCH);
    CHECK_TEXT(f.context, "4 views, the student was made for parts of 2");
    CHECK_STATUS(f.context, ssld_student_step(student, batch, labels, NULL), SSLD_MISMATCH);
    CHECK_TEXT(f.context, "2 views, the student was made for steps of 4");
    CHECK_STATUS(f.context, ssld_student_accumulate(student, batch, labels, 1, NULL), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "no forward");
    CHECK_OK(f.context, ssld_student_forward(student, batch, NULL));
    CHECK_STATUS(f.context, ssld_student_accumulate(student, batch, labels, NAN, NULL), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "scale is nan");
    steps(&f, student, 1);
    ssld_labels_destroy(labels);
    ssld_batch_destroy(batch);
    ssld_student_destroy(student);
    teardown(&f);
}

/* -- Groups, clipping --------------------------------------------------------------------------------------------- */

TEST(group_freezes_its_parameters_and_no_others)
{
    static const char *const names[] = { "fc.weight", "fc.bias", "conv1.conv.weight" };
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_ADAMW);
    options.weight_decay = 0.1f;
    options.parameter_groups = "fc.*: rate=0";
    ssld_student *student = make(&f, NULL, &options);
    for (int n = 0; n < 3; n++) {
        int32_t count;
        float *before = read_array(&f, student, names[n], SSLD_PARAMETER_VALUE, &count);
        steps(&f, student, 1);
        float *after = read_array(&f, student, names[n], SSLD_PARAMETER_VALUE, &count);
        CHECK(!memcmp(before, after, (size_t)count * sizeof *after) == (n < 2), "%s: %g was %g", names[n], (double)after[0],
              (double)before[0]);
        free(before);
        free(after);
    }
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(step_reports_the_norm_of_all_gradients)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    ssld_step step = { .struct_size = sizeof step };
    ssld_student *student = make(&f, NULL, &options);
    CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, &step));
    CHECK(step.gradient_norm == -1, "without clipping the norm is %g", step.gradient_norm);
    ssld_student_destroy(student);
    options.clip_norm = 1e-3f;
    student = make(&f, NULL, &options);
    CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, &step));
    double sum = 0;
    int32_t dims[4], count;
    const char *name;
    for (int32_t i = 0; (name = ssld_student_parameter_name(student, i, dims)); i++) {
        float *gradient = read_array(&f, student, name, SSLD_PARAMETER_GRADIENT, &count);
        for (int32_t k = 0; k < count; k++)
            sum += (double)gradient[k] * gradient[k];
        free(gradient);
    }
    /* The same squares in double, added in another order. */
    CHECK(fabs(step.gradient_norm - sqrt(sum)) < 1e-12 * sqrt(sum), "%.17g instead of %.17g", step.gradient_norm, sqrt(sum));
    ssld_student_destroy(student);
    teardown(&f);
}

/* -- Numbers that are not finite ---------------------------------------------------------------------------------- */

TEST(loss_that_is_not_finite_names_the_first_layer)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    ssld_student *student = make(&f, NULL, &options);
    steps(&f, student, 1);
    int32_t count, index = index_of(student, "blocks4.0.pw_conv.conv.weight", &count);
    float *weights = read_array(&f, student, "blocks4.0.pw_conv.conv.weight", SSLD_PARAMETER_VALUE, &count);
    fill(&f, student, "blocks4.0.pw_conv.conv.weight", SSLD_PARAMETER_VALUE, INFINITY);
    struct print before = print_of(&f, student, false);
    CHECK_STATUS(f.context, ssld_student_step(student, f.batch, f.labels, NULL), SSLD_NOT_FINITE);
    CHECK_TEXT(f.context, "'blocks4.0.pw_conv.conv' is the first layer");
    CHECK(same(before, print_of(&f, student, false)), "the network has changed");
    CHECK_OK(f.context, ssld_student_parameter_write(student, index, SSLD_PARAMETER_VALUE, weights));
    free(weights);
    steps(&f, student, 1);
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(labels_that_are_not_finite_or_negative_name_the_view)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    ssld_student *student = make(&f, NULL, &options);
    struct print before = print_of(&f, student, false);
    f.logits[2 * CLASSES + 1] = NAN;
    CHECK_STATUS(f.context, ssld_student_step(student, f.batch, f.labels, NULL), SSLD_NOT_FINITE);
    CHECK_TEXT(f.context, "logit of class 1 for view 2");
    float probabilities[BATCH * CLASSES];
    for (int i = 0; i < BATCH * CLASSES; i++)
        probabilities[i] = i % CLASSES ? 0 : 1;
    probabilities[3 * CLASSES] = -0.5f;
    CHECK_OK(f.context, ssld_labels_wrap_probabilities(f.labels, BATCH, probabilities));
    CHECK_STATUS(f.context, ssld_student_step(student, f.batch, f.labels, NULL), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "probability of class 0 for view 3 of the batch is -0.5");
    CHECK(same(before, print_of(&f, student, false)), "the network has changed");
    probabilities[3 * CLASSES] = 1;
    steps(&f, student, 1);
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(gradient_that_is_not_finite_is_named_when_gradients_are_clipped)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
    options.clip_norm = 1;
    options.ema_decay = 0.5f;
    ssld_student *student = make(&f, NULL, &options);
    struct print before = print_of(&f, student, false);
    CHECK_OK(f.context, ssld_student_forward(student, f.batch, NULL));
    CHECK_OK(f.context, ssld_student_backward(student, f.batch, f.labels, NULL));
    fill(&f, student, "conv1.bn.weight", SSLD_PARAMETER_GRADIENT, NAN);
    fill(&f, student, "last_conv.weight", SSLD_PARAMETER_GRADIENT, INFINITY);
    CHECK_STATUS(f.context, ssld_student_update(student), SSLD_NOT_FINITE);
    CHECK_TEXT(f.context, "the gradient of 'last_conv.weight' is not finite");
    CHECK_STATUS(f.context, ssld_student_update(student), SSLD_INVALID_ARGUMENT);
    CHECK(same(before, print_of(&f, student, false)) && same(before, print_of(&f, student, true)), "the network has changed");
    CHECK(ssld_student_steps(student) == 0, "the step was counted");
    steps(&f, student, 1);
    ssld_student_destroy(student);
    teardown(&f);
}

/* -- Options ------------------------------------------------------------------------------------------------------ */

TEST(options_of_the_first_release_still_work)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student_options whole = options_of(SSLD_OPTIMIZER_SGD), old = whole;
    old.struct_size = offsetof(ssld_student_options, optimizer);
    old.optimizer = 77; /* memory behind the caller's struct */
    old.ema_decay = NAN;
    ssld_student *student = make(&f, NULL, &whole), *other = make(&f, NULL, &old);
    struct {
        size_t struct_size; /* ssld_step as it was */
        uint64_t step;
        double loss, learning_rate, top1, behind;
    } step = { offsetof(ssld_step, gradient_norm), 0, 0, 0, 0, 42 };
    steps(&f, student, 1);
    CHECK_OK(f.context, ssld_student_step(other, f.batch, f.labels, (ssld_step *)(void *)&step));
    CHECK(step.step == 1 && step.behind == 42, "step %d, and behind the struct stands %g", (int)step.step, step.behind);
    CHECK(same(print_of(&f, student, false), print_of(&f, other, false)), "the networks differ");
    ssld_student_destroy(student);
    ssld_student_destroy(other);
    teardown(&f);
}

/* The default is f32; auto is one of the two; bf16 computes something else, but not much else. */
TEST(precision_chooses_what_the_engine_computes_in)
{
    struct print prints[4];
    double losses[4];
    struct fixture f;
    setup(&f, NULL);
    for (int32_t precision = SSLD_PRECISION_DEFAULT; precision <= SSLD_PRECISION_AUTO; precision++) {
        ssld_student_options options = options_of(SSLD_OPTIMIZER_SGD);
        ssld_student *student = NULL;
        ssld_step step = { .struct_size = sizeof step };
        options.precision = precision;
        ssld_status status = ssld_student_create(f.context, f.model, &options, &student);
        if (status == SSLD_UNSUPPORTED && precision == SSLD_PRECISION_BF16) {
            teardown(&f);
            SKIP("no bf16 on this CPU");
        }
        CHECK_OK(f.context, status);
        CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, &step));
        prints[precision] = print_of(&f, student, false);
        losses[precision] = step.loss;
        ssld_student_destroy(student);
    }
    CHECK(same(prints[SSLD_PRECISION_DEFAULT], prints[SSLD_PRECISION_F32]), "the default is not f32");
    CHECK(same(prints[SSLD_PRECISION_AUTO], prints[SSLD_PRECISION_F32]) ||
          same(prints[SSLD_PRECISION_AUTO], prints[SSLD_PRECISION_BF16]), "auto is neither");
    double f32 = losses[SSLD_PRECISION_F32], bf16 = losses[SSLD_PRECISION_BF16];
    CHECK(!same(prints[SSLD_PRECISION_BF16], prints[SSLD_PRECISION_F32]), "bf16 is f32");
    /* bfloat16 has 8 bits: a few of its roundings a layer, 27 layers. */
    CHECK(fabs(bf16 - f32) < 0.1 * f32, "the loss is %g in bf16, %g in f32", bf16, f32);
    teardown(&f);
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

TEST(step_allocates_nothing)
{
    int left = 1 << 30;
    ssld_context_options context;
    ssld_context_options_init(&context, sizeof context);
    context.allocator = test_allocator(&left);
    struct fixture f;
    setup(&f, &context);
    for (int32_t optimizer = SSLD_OPTIMIZER_SGD; optimizer <= SSLD_OPTIMIZER_LARS; optimizer++) {
        ssld_student_options options = options_of(optimizer);
        options.ema_decay = 0.5f;
        options.clip_norm = 1;
        options.accumulate = optimizer + 1 == 3 ? 4 : optimizer + 1;
        ssld_student *student = make(&f, NULL, &options);
        left = 0;
        steps(&f, student, 3);
        left = 1 << 30;
        ssld_student_destroy(student);
    }
    teardown(&f);
}

/* The k-th allocation fails, for all k: the student stays as it is, until the work succeeds. */
TEST(every_allocation_of_a_checkpoint_and_an_average_may_fail)
{
    int left = 1 << 30;
    ssld_context_options context;
    ssld_context_options_init(&context, sizeof context);
    context.allocator = test_allocator(&left);
    struct fixture f;
    setup(&f, &context);
    char path[] = "/tmp/ssld-checkpoint-XXXXXX";
    close(mkstemp(path));
    ssld_student_options options = options_of(SSLD_OPTIMIZER_ADAMW);
    options.ema_decay = 0.5f;
    ssld_model *plain = plain_network(&f);
    ssld_student *student = make(&f, plain, &options);
    steps(&f, student, 1);
    CHECK_OK(f.context, ssld_student_save(student, path));
    struct print saved = print_of(&f, student, false);
    steps(&f, student, 1);
    for (int work = 0; work < 3; work++) {
        struct print before = print_of(&f, student, false);
        int refused = 0;
        for (ssld_status status = SSLD_OUT_OF_MEMORY; status; refused += status != SSLD_OK) {
            ssld_model *model = NULL;
            left = refused;
            status = work == 0   ? ssld_student_get_ema_model(student, &model)
                     : work == 1 ? ssld_student_restore(student, path)
                                 : ssld_student_save(student, path);
            left = 1 << 30;
            CHECK(!status || status == SSLD_OUT_OF_MEMORY, "work %d: %s after %d allocations", work, ssld_status_name(status),
                  refused);
            CHECK(same(!status && work == 1 ? saved : before, print_of(&f, student, false)),
                  "work %d: after %d allocations the network is another", work, refused);
            ssld_model_destroy(model);
        }
        CHECK(refused > 3, "work %d: %d allocations were refused", work, refused);
    }
    ssld_student_destroy(student);
    ssld_model_destroy(plain);
    unlink(path);
    teardown(&f);
}

TEST_MAIN(TEST_ROW(resumed_run_equals_uninterrupted_run_with_every_optimizer),
          TEST_ROW(checkpoint_of_another_optimizer_is_refused_by_name),
          TEST_ROW(checkpoint_of_the_first_release_is_restored), TEST_ROW(average_is_that_of_the_weights_after_each_step),
          TEST_ROW(average_includes_running_statistics), TEST_ROW(student_without_an_average_says_how_to_get_one),
          TEST_ROW(step_in_four_parts_is_the_whole_step_without_batch_norm),
          TEST_ROW(host_that_accumulates_gets_the_same_bits_as_a_step_in_parts),
          TEST_ROW(backward_replaces_what_was_accumulated_and_its_statistics),
          TEST_ROW(part_that_fails_drops_the_parts_before_it), TEST_ROW(parts_take_their_own_number_of_views),
          TEST_ROW(group_freezes_its_parameters_and_no_others), TEST_ROW(step_reports_the_norm_of_all_gradients),
          TEST_ROW(loss_that_is_not_finite_names_the_first_layer),
          TEST_ROW(labels_that_are_not_finite_or_negative_name_the_view),
          TEST_ROW(gradient_that_is_not_finite_is_named_when_gradients_are_clipped),
          TEST_ROW(options_of_the_first_release_still_work), TEST_ROW(precision_chooses_what_the_engine_computes_in),
          TEST_ROW(step_allocates_nothing),
          TEST_ROW(every_allocation_of_a_checkpoint_and_an_average_may_fail))
