/* SPDX-License-Identifier: BSD-2-Clause */
/* fixture.h - what tests of students share: a small network, a batch with both kinds of labels, and what a student's network
 * answers. */
#ifndef SSLD_TESTS_DISTILL_FIXTURE_H
#define SSLD_TESTS_DISTILL_FIXTURE_H

#include "test.h"

#include <math.h>

#define SIZE 28
#define BATCH 4
#define CLASSES 3
#define PIXELS (SIZE * SIZE)

static const int32_t shape[3] = { 1, SIZE, SIZE };

struct fixture {
    ssld_context *context;
    ssld_model   *model;
    ssld_batch   *batch;
    ssld_labels  *labels;
    float         pixels[BATCH * PIXELS];
    float         logits[BATCH * CLASSES];
    int32_t       classes[BATCH];
};

static inline void setup(struct fixture *f, const ssld_context_options *options)
{
    memset(f, 0, sizeof *f);
    CHECK_OK(NULL, ssld_context_create(options, &f->context));
    ssld_model_options model;
    ssld_model_options_init(&model, sizeof model);
    model.classes = CLASSES;
    model.channels = 1;
    model.height = SIZE;
    model.variant = SSLD_VARIANT_SMALL;
    model.seed = 11;
    CHECK_OK(f->context, ssld_model_create(f->context, "PPLCNet_x0_25", &model, &f->model));
    for (int i = 0; i < BATCH * PIXELS; i++)
        f->pixels[i] = (float)sin(0.37 * i) + (float)(i / PIXELS % CLASSES);
    for (int i = 0; i < BATCH * CLASSES; i++)
        f->logits[i] = (float)cos(2.1 * i);
    for (int i = 0; i < BATCH; i++)
        f->classes[i] = i % CLASSES;
    CHECK_OK(f->context, ssld_batch_create(f->context, &f->batch));
    CHECK_OK(f->context, ssld_batch_wrap(f->batch, BATCH, shape, f->pixels, NULL, NULL, f->classes));
    CHECK_OK(f->context, ssld_labels_create(f->context, BATCH, CLASSES, &f->labels));
    CHECK_OK(f->context, ssld_labels_wrap_logits(f->labels, BATCH, f->logits));
}

static inline void teardown(struct fixture *f)
{
    ssld_labels_destroy(f->labels);
    ssld_batch_destroy(f->batch);
    ssld_model_destroy(f->model);
    ssld_context_destroy(f->context);
}

/* The student's logits as inference gives them. */
static inline void inferred(struct fixture *f, const ssld_student *student, float logits[BATCH * CLASSES])
{
    ssld_model *model = NULL;
    ssld_teacher *teacher = NULL;
    ssld_labels *labels = NULL;
    CHECK_OK(f->context, ssld_student_get_model(student, &model));
    CHECK_OK(f->context, ssld_teacher_create(f->context, model, NULL, &teacher));
    CHECK_OK(f->context, ssld_labels_create(f->context, BATCH, CLASSES, &labels));
    CHECK_OK(f->context, ssld_teacher_predict(teacher, f->batch, labels));
    memcpy(logits, ssld_labels_logits(labels), BATCH * CLASSES * sizeof(float));
    ssld_labels_destroy(labels);
    ssld_teacher_destroy(teacher);
    ssld_model_destroy(model);
}

#endif
