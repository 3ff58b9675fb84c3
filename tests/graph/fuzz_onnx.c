/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_onnx.c - any bytes as an ONNX file, for libFuzzer (-Dfuzz=true with clang); else a program that replays the files it is
 * given. What is read must be whole, and must survive every pass. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "onnx/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ssld_context *context = NULL;
    struct ssld_graph *graph = NULL;
    if (ssld_context_create(NULL, &context))
        abort();
    if (ssld_onnx_read(context, data, size, "fuzz.onnx", 32, 32, &graph) == SSLD_OK) {
        if (ssld_graph_check(graph) || ssld_graph_fold_batch_norm(graph) || ssld_graph_check(graph) ||
            ssld_graph_fuse_activations(graph, false) || ssld_graph_drop_training_nodes(graph) || ssld_graph_check(graph))
            abort();
    }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
    return 0;
}

#ifndef SSLD_FUZZ
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file)
            return 2;
        fseek(file, 0, SEEK_END);
        long size = ftell(file);
        rewind(file);
        uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
        if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
            return 2;
        fclose(file);
        LLVMFuzzerTestOneInput(data, (size_t)size);
        free(data);
    }
    return 0;
}
#endif
