/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_onnx.c - any bytes as an ONNX file. What is read must be whole, and must survive every pass that a teacher's plan runs. */
#include "fuzz.h"

#include "onnx/onnx.h"

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
