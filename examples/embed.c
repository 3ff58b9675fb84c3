/* SPDX-License-Identifier: BSD-2-Clause */
/* embed.c - distillation inside a program of your own: its pixels, no files. A teacher learns to tell four shapes apart,
 * looks at two views of each image once, and a smaller student learns from its answers alone, without the true classes.
 *
 *   cc embed.c $(pkg-config --cflags --libs libssld) -o embed && ./embed */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ssld/ssld.h"

enum { CLASSES = 4, IMAGES = 512, VIEWS = 2, SIDE = 28, PIXELS = SIDE * SIDE, BATCH = 32, EPOCHS = 4 };

static uint8_t images[IMAGES][PIXELS];           /* what the host has: here grey drawings */
static int32_t classes[IMAGES];
static float views[VIEWS * IMAGES][PIXELS];      /* what networks see; view v of image i is [v * IMAGES + i] */
static float answers[VIEWS * IMAGES][CLASSES];   /* what the teacher says to each: the soft labels */
static const int32_t shape[3] = { 1, SIDE, SIDE };
static ssld_context *context;

/* Every call can fail; the context has the text. */
#define TRY(call) do { if ((call) != SSLD_OK) die(#call); } while (0)

static void die(const char *call)
{
    char text[1024] = "";
    if (context)
        ssld_context_error(context, text, sizeof text);
    fprintf(stderr, "%s\n%s\n", call, text);
    exit(1);
}

/* A disc, a square, a cross or a triangle of some size, somewhere. */
static void draw(int image)
{
    uint32_t counter[4] = { (uint32_t)image, 0, 0, 0 }, key[2] = { 1, 0 }, random[4];
    ssld_philox4x32(counter, key, random);
    int radius = 5 + (int)(random[0] % 5), row = 10 + (int)(random[1] % 9), column = 10 + (int)(random[2] % 9);
    classes[image] = (int32_t)(random[3] % CLASSES);
    for (int i = 0; i < PIXELS; i++) {
        int y = i / SIDE - row, x = abs(i % SIDE - column), near = x <= radius && abs(y) <= radius;
        int inside[CLASSES] = { x * x + y * y <= radius * radius, near, near && (x < 2 || abs(y) < 2),
                                near && 2 * x <= y + radius };
        images[image][i] = inside[classes[image]] ? 230 : 20;
    }
}

/* A fresh network of the zoo, ready to be trained. */
static ssld_student *make_student(const char *network, const char *loss, float rate)
{
    ssld_model *model;
    ssld_student *student;
    ssld_model_options form;
    ssld_student_options training;
    ssld_model_options_init(&form, sizeof form);
    form.classes = CLASSES;
    form.channels = 1;
    form.height = SIDE;
    form.variant = SSLD_VARIANT_SMALL;
    TRY(ssld_model_create(context, network, &form, &model));
    ssld_student_options_init(&training, sizeof training);
    training.batch = BATCH;
    training.loss = loss;
    training.learning_rate = rate;
    training.schedule = SSLD_SCHEDULE_COSINE;
    training.total_steps = EPOCHS * IMAGES / BATCH;
    TRY(ssld_student_create(context, model, &training, &student));
    ssld_model_destroy(model); /* the student keeps what it needs */
    return student;
}

/* Every epoch is one view of every image; without `soft` the student learns the true classes. Prints the mean losses. */
static void train(const char *who, ssld_student *student, ssld_batch *batch, ssld_labels *soft)
{
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        double sum = 0;
        for (int i = 0, view = epoch % VIEWS * IMAGES; i < IMAGES; i += BATCH) {
            ssld_step step = { .struct_size = sizeof step };
            TRY(ssld_batch_wrap(batch, BATCH, shape, views[view + i], NULL, NULL, soft ? NULL : &classes[i]));
            if (soft)
                TRY(ssld_labels_wrap_logits(soft, BATCH, answers[view + i]));
            TRY(ssld_student_step(student, batch, soft, &step));
            sum += step.loss;
        }
        printf("%s, epoch %d: loss %.4f\n", who, epoch + 1, sum * BATCH / IMAGES);
    }
}

int main(void)
{
    ssld_view_spec *spec;
    ssld_batch *batch;
    ssld_labels *labels;
    ssld_model *trained;
    ssld_teacher *teacher;
    TRY(ssld_context_create(NULL, &context));
    TRY(ssld_batch_create(context, &batch));
    TRY(ssld_labels_create(context, BATCH, CLASSES, &labels));
    TRY(ssld_view_spec_parse(context, "pad_crop(28,2) flip(0.5) normalize(0.2,0.4)", &spec));
    for (int i = 0; i < IMAGES; i++) {
        draw(i);
        for (int v = 0; v < VIEWS; v++)
            TRY(ssld_view_render_pixels(spec, images[i], shape, 0, (uint64_t)i, (uint32_t)v, views[v * IMAGES + i], PIXELS));
    }
    ssld_student *first = make_student("PPLCNet_x0_5", "hard_ce", 0.05f);
    train("teacher", first, batch, NULL);
    TRY(ssld_student_get_model(first, &trained));
    TRY(ssld_teacher_create(context, trained, NULL, &teacher));
    for (int i = 0; i < VIEWS * IMAGES; i += BATCH) { /* once: the teacher looks at every view */
        TRY(ssld_batch_wrap(batch, BATCH, shape, views[i], NULL, NULL, NULL));
        TRY(ssld_teacher_predict(teacher, batch, labels));
        memcpy(answers[i], ssld_labels_logits(labels), BATCH * sizeof answers[0]);
    }
    ssld_student *student = make_student("PPLCNet_x0_25", "sym_kl", 0.05f); /* SSLD's own loss */
    train("student", student, batch, labels);
    ssld_student_destroy(student), ssld_student_destroy(first), ssld_teacher_destroy(teacher), ssld_model_destroy(trained);
    ssld_view_spec_destroy(spec), ssld_labels_destroy(labels), ssld_batch_destroy(batch), ssld_context_destroy(context);
    return 0;
}
