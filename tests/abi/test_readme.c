/* SPDX-License-Identifier: BSD-2-Clause */
/* README's example, compiled and run. test_docs.py holds README.md to the lines between the two marks. */
#include "test.h"

#include <unistd.h>

/* README begins */
/* Once: the teacher looks at every view, and its answers are stored. */
static ssld_status label(ssld_loader *loader, ssld_teacher *teacher, ssld_store_writer *writer, ssld_batch *batch,
                         ssld_labels *labels)
{
    ssld_status status;
    while ((status = ssld_loader_next(loader, batch)) == SSLD_OK)
        if ((status = ssld_teacher_predict(teacher, batch, labels)) ||
            (status = ssld_store_writer_append(writer, batch, labels)))
            return status;
    return status == SSLD_END ? ssld_store_writer_commit(writer) : status;
}

/* As often as you like: an epoch of a student that learns from the store, without the teacher. */
static ssld_status train(ssld_loader *loader, ssld_store *store, ssld_student *student, ssld_batch *batch,
                         ssld_labels *labels)
{
    ssld_status status;
    while ((status = ssld_loader_next(loader, batch)) == SSLD_OK)
        if ((status = ssld_store_read(store, batch, labels)) ||
            (status = ssld_student_step(student, batch, labels, NULL)))
            return status;
    return status == SSLD_END ? SSLD_OK : status;
}
/* README ends */

enum { SAMPLES = 16, SIDE = 28, CLASSES = 4, EPOCHS = 3 };

static uint8_t pixels[SAMPLES * SIDE * SIDE];

static ssld_model *make_model(ssld_context *context, uint64_t seed)
{
    ssld_model *model = NULL;
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = CLASSES;
    options.channels = 1;
    options.height = SIDE;
    options.variant = SSLD_VARIANT_SMALL;
    options.seed = seed;
    CHECK_OK(context, ssld_model_create(context, "PPLCNet_x0_25", &options, &model));
    return model;
}

TEST(readme_example_labels_and_trains)
{
    ssld_context *context = NULL;
    CHECK_OK(NULL, ssld_context_create(NULL, &context));
    char folder[] = "/tmp/ssld-test-XXXXXX", path[64];
    CHECK(mkdtemp(folder), "no folder");
    snprintf(path, sizeof path, "%s/labels.ssld", folder);

    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    const int32_t image[3] = { 1, SIDE, SIDE };
    ssld_dataset *data = NULL;
    ssld_view_spec *views = NULL;
    ssld_loader *loader = NULL;
    ssld_batch *batch = NULL;
    ssld_labels *labels = NULL;
    ssld_loader_options loader_options;
    ssld_loader_options_init(&loader_options, sizeof loader_options);
    loader_options.batch = 8;
    loader_options.views = 1;
    CHECK_OK(context, ssld_dataset_from_pixels(context, SAMPLES, image, pixels, NULL, &data));
    CHECK_OK(context, ssld_view_spec_parse(context, "pad_crop(28, 2) flip(0.5) normalize(0.286, 0.353)", &views));
    CHECK_OK(context, ssld_loader_create(context, data, views, &loader_options, &loader));
    CHECK_OK(context, ssld_batch_create(context, &batch));
    CHECK_OK(context, ssld_labels_create(context, 8, CLASSES, &labels));

    ssld_model *model = make_model(context, 1);
    ssld_teacher *teacher = NULL;
    ssld_store_writer *writer = NULL;
    ssld_store_writer_options store_options;
    ssld_store_writer_options_init(&store_options, sizeof store_options);
    store_options.classes = CLASSES;
    store_options.samples = SAMPLES;
    CHECK_OK(context, ssld_teacher_create(context, model, NULL, &teacher));
    CHECK_OK(context, ssld_store_writer_open(context, path, &store_options, &writer));
    CHECK_OK(context, label(loader, teacher, writer, batch, labels));
    CHECK(ssld_store_writer_records(writer) == SAMPLES, "%d records", (int)ssld_store_writer_records(writer));
    CHECK_OK(context, ssld_store_writer_close(writer));
    ssld_teacher_destroy(teacher);
    ssld_model_destroy(model);

    model = make_model(context, 2);
    ssld_store *store = NULL;
    ssld_student *student = NULL;
    ssld_student_options student_options;
    ssld_student_options_init(&student_options, sizeof student_options);
    student_options.batch = 8;
    CHECK_OK(context, ssld_store_open(context, path, NULL, &store));
    CHECK_OK(context, ssld_student_create(context, model, &student_options, &student));
    for (int epoch = 0; epoch < EPOCHS; epoch++)
        CHECK_OK(context, train(loader, store, student, batch, labels));
    CHECK(ssld_student_steps(student) == EPOCHS * SAMPLES / 8, "%d steps", (int)ssld_student_steps(student));

    ssld_student_destroy(student);
    ssld_store_close(store);
    ssld_model_destroy(model);
    ssld_labels_destroy(labels);
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    ssld_view_spec_destroy(views);
    ssld_dataset_destroy(data);
    ssld_context_destroy(context);
    unlink(path);
    rmdir(folder);
}

TEST_MAIN(TEST_ROW(readme_example_labels_and_trains))
