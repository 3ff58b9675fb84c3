/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_spec.c - any bytes as a view spec, for libFuzzer (-Dfuzz=true with clang); else a program that replays the
 * files it is given, or those of a folder. What is read must print a text that reads back as the same spec and the
 * same text, and must render small images, or say why not. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/operation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST_FLOATS (3 * 256 * 256)

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* Two images, where the views are small enough to be quick. */
static void render(const ssld_view_spec *spec)
{
    static const int32_t images[2][3] = { { 3, 9, 13 }, { 1, 7, 1 } };
    static uint8_t pixels[3 * 9 * 13];
    static float dst[MOST_FLOATS];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    for (int i = 0; i < 2; i++) {
        int32_t at[3] = { images[i][0], images[i][1], images[i][2] }, shape[3];
        bool small = true;
        struct ssld_fault fault;
        for (int32_t o = 0; o < spec->count && small; o++) {
            small = !ssld_operation_shape(&spec->operations[o], at, shape, &fault) &&
                    (int64_t)shape[0] * shape[1] * shape[2] <= MOST_FLOATS;
            memcpy(at, shape, sizeof at);
        }
        /* exif leaves the size open until the file says it. */
        bool known = small && at[1] > 0 && at[2] > 0;
        if (small && ssld_view_render_pixels(spec, pixels, images[i], 1, 2, 3, dst, MOST_FLOATS) == SSLD_OK &&
            known) {
            ssld_view_mix mix = { .struct_size = sizeof mix };
            must(ssld_view_partner(spec, 1, 2, 3, 10, at, &mix) == SSLD_OK, "no partner");
            ssld_view_mix_pixels(&mix, at, dst, dst);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ssld_context *context = NULL;
    ssld_view_spec *spec = NULL, *again = NULL;
    char *text = malloc(size + 1);
    if (!text || ssld_context_create(NULL, &context))
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    if (ssld_view_spec_parse(context, text, &spec) == SSLD_OK) {
        must(ssld_view_spec_parse(context, ssld_view_spec_text(spec), &again) == SSLD_OK,
             "the printed text is not read");
        must(!strcmp(ssld_view_spec_text(spec), ssld_view_spec_text(again)), "the printed text is printed otherwise");
        must(spec->count == again->count && spec->normalize == again->normalize && spec->mix == again->mix &&
                 !memcmp(spec->operations, again->operations, sizeof spec->operations),
             "the printed text is another spec");
        render(spec);
    }
    ssld_view_spec_destroy(again);
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
    free(text);
    return 0;
}

#ifndef SSLD_FUZZ
static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return 2;
    static uint8_t data[1 << 16];
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    return 0;
}

/* Files, or folders of files. */
int main(int argc, char **argv)
{
    int failed = argc < 2 ? 2 : 0;
    for (int i = 1; i < argc && !failed; i++) {
        DIR *folder = opendir(argv[i]);
        struct dirent *entry;
        char path[4096];
        if (!folder)
            failed = replay(argv[i]);
        while (folder && !failed && (entry = readdir(folder))) {
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            failed = entry->d_name[0] == '.' ? 0 : replay(path);
        }
        if (folder)
            closedir(folder);
    }
    return failed;
}
#endif
