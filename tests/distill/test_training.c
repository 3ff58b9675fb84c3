/* SPDX-License-Identifier: BSD-2-Clause */
/* Teacher and student from C, through the public interface alone: what training promises, and every way to ask for the
 * impossible. */
#include "test.h"

#include "graph/onnx_builder.h"

#include "distill/fixture.h"

#include <stdbool.h>
#include <unistd.h>

static ssld_student *make_student(struct fixture *f, const char *loss)
{
    ssld_student *student = NULL;
    ssld_student_options options;
    ssld_student_options_init(&options, sizeof options);
    options.batch = BATCH;
    options.loss = loss;
    options.learning_rate = 0.05f;
    options.l2 = 1e-4f;
    CHECK_OK(f->context, ssld_student_create(f->context, f->model, &options, &student));
    return student;
}

TEST(student_learns_what_the_teacher_says)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student *student = make_student(&f, NULL);
    ssld_step first = { .struct_size = sizeof first }, last = { .struct_size = sizeof last };
    CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, &first));
    for (int i = 0; i < 30; i++)
        CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, &last));
    CHECK(last.loss < 0.25 * first.loss, "loss %g after 31 steps, %g at first", last.loss, first.loss);
    CHECK(last.step == 31 && ssld_student_steps(student) == 31, "%llu steps", (unsigned long long)last.step);
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(step_that_is_not_finite_changes_nothing)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student *student = make_student(&f, "sym_kl");
    CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, NULL));
    float before[BATCH * CLASSES], after[BATCH * CLASSES];
    inferred(&f, student, before);

    float broken[BATCH * PIXELS];
    memcpy(broken, f.pixels, sizeof broken);
    broken[100] = NAN;
    ssld_batch *batch = NULL;
    CHECK_OK(f.context, ssld_batch_create(f.context, &batch));
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, broken, NULL, NULL, NULL));
    CHECK_STATUS(f.context, ssld_student_step(student, batch, f.labels, NULL), SSLD_NOT_FINITE);
    CHECK_STATUS(f.context, ssld_student_update(student), SSLD_INVALID_ARGUMENT);
    ssld_batch_destroy(batch);

    inferred(&f, student, after);
    CHECK(!memcmp(before, after, sizeof before), "logit 0 was %g and is %g", before[0], after[0]);
    CHECK(ssld_student_steps(student) == 1, "%llu steps", (unsigned long long)ssld_student_steps(student));
    CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, NULL));
    ssld_student_destroy(student);
    teardown(&f);
}

TEST(checkpoint_of_another_network_is_refused_and_changes_nothing)
{
    struct fixture f;
    setup(&f, NULL);
    char path[] = "/tmp/ssld-checkpoint-XXXXXX";
    close(mkstemp(path));
    ssld_student *student = make_student(&f, "sym_kl"), *other = NULL;
    ssld_model *model = NULL;
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = CLASSES + 1;
    options.channels = 1;
    options.height = SIZE;
    options.variant = SSLD_VARIANT_SMALL;
    CHECK_OK(f.context, ssld_model_create(f.context, "PPLCNet_x0_25", &options, &model));
    CHECK_OK(f.context, ssld_student_create(f.context, model, NULL, &other));
    CHECK_OK(f.context, ssld_student_save(other, path));
    float before[BATCH * CLASSES], after[BATCH * CLASSES];
    inferred(&f, student, before);
    CHECK_STATUS(f.context, ssld_student_restore(student, path), SSLD_MISMATCH);
    CHECK_TEXT(f.context, "fc.weight");
    CHECK_STATUS(f.context, ssld_student_restore(student, "/tmp/there-is-no-such-file"), SSLD_NOT_FOUND);
    inferred(&f, student, after);
    CHECK(!memcmp(before, after, sizeof before), "logit 0 was %g and is %g", before[0], after[0]);
    ssld_student_destroy(other);
    ssld_student_destroy(student);
    ssld_model_destroy(model);
    unlink(path);
    teardown(&f);
}

TEST(impossible_options_are_named)
{
    struct fixture f;
    setup(&f, NULL);
    static const uint64_t flat[] = { 1, 3, 3 };
    static const struct {
        const char *text;
        ssld_student_options options;
    } cases[] = {
        { "batch", { .batch = -1 } },
        { "learning_rate", { .learning_rate = -0.1f } },
        { "momentum", { .momentum = 1 } },
        { "l2", { .l2 = -1 } },
        { "schedule", { .schedule = 7 } },
        { "total_steps", { .schedule = SSLD_SCHEDULE_COSINE } },
        { "warmup_steps", { .total_steps = 5, .warmup_steps = 6 } },
        { "optimizer is no", { .optimizer = 3 } },
        { "optimizer is no", { .optimizer = -1 } },
        { "nesterov must be", { .nesterov = 2 } },
        { "nesterov needs a momentum", { .nesterov = 1, .momentum = -1 } },
        { "nesterov is set, but SSLD_OPTIMIZER_LARS", { .nesterov = 1, .optimizer = SSLD_OPTIMIZER_LARS } },
        { "momentum is set, but SSLD_OPTIMIZER_ADAMW", { .momentum = 0.9f, .optimizer = SSLD_OPTIMIZER_ADAMW } },
        { "l2 is set, but SSLD_OPTIMIZER_ADAMW", { .l2 = 1e-4f, .optimizer = SSLD_OPTIMIZER_ADAMW } },
        { "weight_decay is set, but SSLD_OPTIMIZER_SGD", { .weight_decay = 0.1f } },
        { "epsilon is set, but SSLD_OPTIMIZER_SGD", { .epsilon = 0.1f } },
        { "trust is set, but SSLD_OPTIMIZER_SGD", { .trust = 0.1f } },
        { "trust is -1", { .trust = -1, .optimizer = SSLD_OPTIMIZER_LARS } },
        { "beta1 is 1;", { .beta1 = 1, .optimizer = SSLD_OPTIMIZER_ADAMW } },
        { "beta2 is 1;", { .beta2 = 1, .optimizer = SSLD_OPTIMIZER_ADAMW } },
        { "beta2 is -0.5;", { .beta2 = -0.5f, .optimizer = SSLD_OPTIMIZER_ADAMW } },
        { "weight_decay is inf;", { .weight_decay = INFINITY, .optimizer = SSLD_OPTIMIZER_ADAMW } },
        { "learning_rate is nan;", { .learning_rate = NAN } },
        { "ema_decay is 1;", { .ema_decay = 1 } },
        { "clip_norm is -1;", { .clip_norm = -1 } },
        { "clip_value is nan;", { .clip_value = NAN } },
        { "there is no 'speed'", { .parameter_groups = "fc.*: speed=10" } },
        { "no parameter fits 'head.*'", { .parameter_groups = "head.*: rate=10" } },
        { "SSLD_SCHEDULE_ONE_CYCLE needs total_steps", { .schedule = SSLD_SCHEDULE_ONE_CYCLE } },
        { "rise is 1;", { .schedule = SSLD_SCHEDULE_ONE_CYCLE, .total_steps = 9, .rise = 1 } },
        { "start_divisor is 0.5;", { .schedule = SSLD_SCHEDULE_ONE_CYCLE, .total_steps = 9, .start_divisor = 0.5f } },
        { "final_divisor is set, but SSLD_SCHEDULE_COSINE", { .schedule = SSLD_SCHEDULE_COSINE, .total_steps = 9,
          .final_divisor = 10 } },
        { "final_rate is set, but SSLD_SCHEDULE_CONSTANT", { .final_rate = 0.1f } },
        { "gamma is set, but SSLD_SCHEDULE_COSINE", { .schedule = SSLD_SCHEDULE_COSINE, .total_steps = 9, .gamma = 0.1f } },
        { "SSLD_SCHEDULE_STEP needs decay_steps", { .schedule = SSLD_SCHEDULE_STEP } },
        { "decay_steps is set, but SSLD_SCHEDULE_CONSTANT", { .decay_steps = 3 } },
        { "SSLD_SCHEDULE_MULTISTEP needs milestones", { .schedule = SSLD_SCHEDULE_MULTISTEP } },
        { "but 3 follows 3", { .schedule = SSLD_SCHEDULE_MULTISTEP, .milestones = flat,
          .milestone_count = 3 } },
        { "milestones is set, but SSLD_SCHEDULE_STEP", { .schedule = SSLD_SCHEDULE_STEP, .decay_steps = 2,
          .milestones = flat, .milestone_count = 1 } },
        { "accumulate is 3; it must divide the batch of 4", { .batch = 4, .accumulate = 3 } },
        { "accumulate is -2", { .accumulate = -2 } },
        { "precision 9", { .precision = 9 } },
        { "'cosine_similarity'", { .loss = "sym_kl + cosine_similarity" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ssld_student *student = NULL;
        ssld_student_options options = cases[i].options;
        options.struct_size = sizeof options;
        CHECK_STATUS(f.context, ssld_student_create(f.context, f.model, &options, &student), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(f.context, cases[i].text);
        CHECK(!student, "a student was made");
    }
    ssld_teacher *teacher = NULL;
    ssld_teacher_options options;
    ssld_teacher_options_init(&options, sizeof options);
    options.batch_norm = 9;
    CHECK_STATUS(f.context, ssld_teacher_create(f.context, f.model, &options, &teacher), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "batch_norm");
    ssld_teacher_options_init(&options, sizeof options);
    options.precision = -1;
    CHECK_STATUS(f.context, ssld_teacher_create(f.context, f.model, &options, &teacher), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "ssld_teacher_create: precision -1");
    teardown(&f);
}

TEST(what_does_not_fit_is_refused_and_the_student_stays_usable)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_student *student = make_student(&f, "sym_kl + hard_ce");
    ssld_batch *batch = NULL;
    ssld_labels *labels = NULL;
    static const int32_t wide[3] = { 1, SIZE, SIZE + 1 };
    static float larger[BATCH * SIZE * (SIZE + 1)];
    CHECK_OK(f.context, ssld_batch_create(f.context, &batch));
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, wide, larger, NULL, NULL, f.classes));
    CHECK_STATUS(f.context, ssld_student_step(student, batch, f.labels, NULL), SSLD_MISMATCH);
    CHECK_TEXT(f.context, "1 x 28 x 29");
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH - 1, shape, f.pixels, NULL, NULL, f.classes));
    CHECK_STATUS(f.context, ssld_student_step(student, batch, f.labels, NULL), SSLD_MISMATCH);
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, f.pixels, NULL, NULL, NULL));
    CHECK_STATUS(f.context, ssld_student_step(student, batch, f.labels, NULL), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "hard labels");
    CHECK_STATUS(f.context, ssld_student_step(student, f.batch, NULL, NULL), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "teacher's labels");
    CHECK_OK(f.context, ssld_labels_create(f.context, BATCH, CLASSES + 1, &labels));
    float other[BATCH * (CLASSES + 1)] = { 0 };
    CHECK_OK(f.context, ssld_labels_wrap_logits(labels, BATCH, other));
    CHECK_STATUS(f.context, ssld_student_step(student, f.batch, labels, NULL), SSLD_MISMATCH);
    CHECK_STATUS(f.context, ssld_student_update(student), SSLD_INVALID_ARGUMENT);
    CHECK_OK(f.context, ssld_student_step(student, f.batch, f.labels, NULL));
    ssld_labels_destroy(labels);
    ssld_batch_destroy(batch);
    ssld_student_destroy(student);
    teardown(&f);
}

/* -- Batch statistics --------------------------------------------------------------------------------------------- */

TEST(batch_statistics_depend_on_the_batch_and_stored_ones_do_not)
{
    struct fixture f;
    setup(&f, NULL);
    for (int32_t mode = SSLD_BATCH_NORM_EVAL; mode <= SSLD_BATCH_NORM_BATCH; mode++) {
        ssld_teacher *teacher = NULL;
        ssld_teacher_options options;
        ssld_teacher_options_init(&options, sizeof options);
        options.batch = BATCH;
        options.batch_norm = mode;
        CHECK_OK(f.context, ssld_teacher_create(f.context, f.model, &options, &teacher));
        float whole[BATCH * CLASSES];
        ssld_labels *labels = NULL;
        ssld_batch *part = NULL;
        CHECK_OK(f.context, ssld_labels_create(f.context, BATCH, CLASSES, &labels));
        CHECK_OK(f.context, ssld_teacher_predict(teacher, f.batch, labels));
        memcpy(whole, ssld_labels_logits(labels), sizeof whole);
        CHECK_OK(f.context, ssld_batch_create(f.context, &part));
        CHECK_OK(f.context, ssld_batch_wrap(part, 2, shape, f.pixels, NULL, NULL, NULL));
        CHECK_OK(f.context, ssld_teacher_predict(teacher, part, labels));
        bool same = !memcmp(whole, ssld_labels_logits(labels), 2 * CLASSES * sizeof(float));
        CHECK(same == (mode == SSLD_BATCH_NORM_EVAL), "mode %d: %g in a batch of four, %g of two", mode, whole[0],
              ssld_labels_logits(labels)[0]);
        ssld_batch_destroy(part);
        ssld_labels_destroy(labels);
        ssld_teacher_destroy(teacher);
    }
    teardown(&f);
}

/* As exporters write a network whose batch norm they folded: there is none left. */
TEST(folded_batch_norm_is_refused_with_the_export_flag_to_use)
{
    struct fixture f;
    setup(&f, NULL);
    struct bytes graph = { 0 };
    put_graph_input(&graph, "x", 4, (int64_t[]){ 0, 1, 2, 2 });
    put_weights(&graph, "w", 4, (int64_t[]){ 8, 1, 1, 1 });
    put_node(&graph, "Conv", "conv", "x,w", "c", NULL);
    put_node(&graph, "GlobalAveragePool", "pool", "c", "p", NULL);
    put_node(&graph, "Flatten", "flatten", "p", "y", NULL);
    put_graph_output(&graph, "y");
    struct bytes file = finish_model(&graph, 17);
    ssld_model *folded = NULL;
    ssld_teacher *teacher = NULL;
    ssld_teacher_options options;
    ssld_teacher_options_init(&options, sizeof options);
    options.batch_norm = SSLD_BATCH_NORM_BATCH;
    CHECK_OK(f.context, ssld_model_load_memory(f.context, file.data, file.size, "folded.onnx", NULL, &folded));
    CHECK_STATUS(f.context, ssld_teacher_create(f.context, folded, &options, &teacher), SSLD_UNSUPPORTED);
    CHECK_TEXT(f.context, "TrainingMode.PRESERVE");
    options.batch_norm = SSLD_BATCH_NORM_EVAL;
    CHECK_OK(f.context, ssld_teacher_create(f.context, folded, &options, &teacher));
    ssld_teacher_destroy(teacher);
    ssld_model_destroy(folded);
    free(file.data);
    teardown(&f);
}

/* -- Allocations failing one by one ------------------------------------------------------------------------------- */

TEST(every_allocation_of_teacher_and_student_may_fail)
{
    int left = 1 << 30;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.allocator = test_allocator(&left);
    options.threads = 1;
    struct fixture f;
    setup(&f, &options);
    ssld_student_options student_options;
    ssld_student_options_init(&student_options, sizeof student_options);
    static const uint64_t milestones[] = { 2, 4 };
    student_options.batch = BATCH;
    student_options.accumulate = 2;
    student_options.optimizer = SSLD_OPTIMIZER_ADAMW;
    student_options.ema_decay = 0.9f;
    student_options.parameter_groups = "fc.*: rate=10";
    student_options.schedule = SSLD_SCHEDULE_MULTISTEP;
    student_options.milestones = milestones;
    student_options.milestone_count = 2;
    /* The plans' own allocations are tried one by one in the engine's tests: here every seventh, for all objects above. */
    ssld_status status = SSLD_OUT_OF_MEMORY;
    for (int allowed = 0; status; allowed += 7) {
        ssld_student *student = NULL;
        ssld_teacher *teacher = NULL;
        ssld_model *model = NULL;
        left = allowed;
        status = ssld_student_create(f.context, f.model, &student_options, &student);
        if (!status)
            status = ssld_student_get_ema_model(student, &model);
        if (!status)
            status = ssld_teacher_create(f.context, model, NULL, &teacher);
        left = 1 << 30;
        CHECK(!status || status == SSLD_OUT_OF_MEMORY, "%s after %d allocations", ssld_status_name(status), allowed);
        ssld_teacher_destroy(teacher);
        ssld_model_destroy(model);
        ssld_student_destroy(student);
    }
    teardown(&f);
}

TEST_MAIN(TEST_ROW(student_learns_what_the_teacher_says), TEST_ROW(step_that_is_not_finite_changes_nothing),
          TEST_ROW(checkpoint_of_another_network_is_refused_and_changes_nothing), TEST_ROW(impossible_options_are_named),
          TEST_ROW(what_does_not_fit_is_refused_and_the_student_stays_usable),
          TEST_ROW(batch_statistics_depend_on_the_batch_and_stored_ones_do_not),
          TEST_ROW(folded_batch_norm_is_refused_with_the_export_flag_to_use),
          TEST_ROW(every_allocation_of_teacher_and_student_may_fail))
