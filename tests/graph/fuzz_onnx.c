/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_onnx.c - any bytes as an ONNX file, for libFuzzer (-Dfuzz=true with clang); else a program that replays the files it is
 * given, or those of a folder. What is read must be whole, and must survive every pass that a teacher's plan runs. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "onnx/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssld_status fuse_for_inference(struct ssld_graph *graph)
{
    return ssld_graph_fuse_activations(graph, false);
}

static const struct {
    const char *name;
    ssld_status (*run)(struct ssld_graph *graph);
} passes[] = {
    { "drop_training_nodes", ssld_graph_drop_training_nodes },
    { "fold_batch_norm", ssld_graph_fold_batch_norm },
    { "merge_branches", ssld_graph_merge_branches },
    { "fold_constants", ssld_graph_fold_constants },
    { "fuse_activations", fuse_for_inference },
    { "join_results", ssld_graph_join_results },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ssld_context *context = NULL;
    struct ssld_graph *graph = NULL;
    if (ssld_context_create(NULL, &context))
        abort();
    /* Little memory, so that what is legal but large ends soon. */
    struct ssld_onnx_options options = { .height = 32, .width = 32, .memory_limit = 64 << 20 };
    bool whole = ssld_onnx_read_with(context, data, size, "fuzz.onnx", &options, &graph) == SSLD_OK;
    if (whole && ssld_graph_check(graph))
        abort();
    for (size_t i = 0; whole && i < sizeof passes / sizeof passes[0]; i++)
        if (passes[i].run(graph) || ssld_graph_check(graph)) {
            fprintf(stderr, "behind the pass %s\n", passes[i].name);
            abort();
        }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
    return 0;
}

#ifndef SSLD_FUZZ
static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return 2;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    bool read = data && size >= 0 && fread(data, 1, (size_t)size, file) == (size_t)size;
    fclose(file);
    if (read)
        LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return read ? 0 : 2;
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
