/* SPDX-License-Identifier: BSD-2-Clause */
/* teacher_logits.c - a teacher's logits as a file of floats, for tests written in other languages:
 *
 *   teacher_logits FILE.onnx PIXELS COUNT CHANNELS HEIGHT WIDTH f32|bf16 THREADS LOGITS */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ssld/ssld.h"

static float *read_floats(const char *path, size_t count)
{
    float *values = malloc(count * sizeof *values);
    FILE *file = fopen(path, "rb");
    bool whole = values && file && fread(values, sizeof *values, count, file) == count;
    if (file)
        fclose(file);
    if (whole)
        return values;
    free(values);
    return NULL;
}

static bool write_floats(const char *path, const float *values, size_t count)
{
    FILE *file = fopen(path, "wb");
    bool whole = file && fwrite(values, sizeof *values, count, file) == count;
    return file ? !fclose(file) && whole : false;
}

static ssld_status predict(ssld_context *context, char **argv, const float *pixels, const int32_t shape[3], int32_t count)
{
    ssld_teacher *teacher = NULL;
    ssld_batch *batch = NULL;
    ssld_labels *labels = NULL;
    ssld_model_info info = { .struct_size = sizeof info };
    ssld_teacher_options options;
    ssld_teacher_options_init(&options, sizeof options);
    options.batch = count;
    options.height = shape[1];
    options.width = shape[2];
    options.threads = atoi(argv[8]);
    options.precision = strcmp(argv[7], "bf16") ? SSLD_PRECISION_F32 : SSLD_PRECISION_BF16;
    ssld_status status = ssld_teacher_open(context, argv[1], &options, &teacher);
    if (!status)
        status = ssld_teacher_get_info(teacher, &info);
    if (!status)
        status = ssld_batch_create(context, &batch);
    if (!status)
        status = ssld_batch_wrap(batch, count, shape, pixels, NULL, NULL, NULL);
    if (!status)
        status = ssld_labels_create(context, count, info.classes, &labels);
    if (!status)
        status = ssld_teacher_predict(teacher, batch, labels);
    if (!status && !write_floats(argv[9], ssld_labels_logits(labels), (size_t)count * (size_t)info.classes))
        status = SSLD_IO;
    ssld_labels_destroy(labels);
    ssld_batch_destroy(batch);
    ssld_teacher_destroy(teacher);
    return status;
}

int main(int argc, char **argv)
{
    ssld_context *context = NULL;
    char text[8192] = "";
    if (argc != 10 || ssld_context_create(NULL, &context))
        return 2;
    int32_t count = atoi(argv[3]);
    const int32_t shape[3] = { atoi(argv[4]), atoi(argv[5]), atoi(argv[6]) };
    float *pixels = read_floats(argv[2], (size_t)count * (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2]);
    ssld_status status = pixels ? predict(context, argv, pixels, shape, count) : SSLD_IO;
    ssld_context_error(context, text, sizeof text);
    if (status)
        printf("%s %s\n", ssld_status_name(status), text);
    free(pixels);
    ssld_context_destroy(context);
    return status != SSLD_OK;
}
