/* SPDX-License-Identifier: BSD-2-Clause */
/* ONNX in and out: round trips, every spelling that is read, every file that is refused, and files nobody meant to write. */
#include "test.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "onnx_files.h"
#include "reference.h"

/* -- Files built here --------------------------------------------------------------------------------------------- */

/* A convolution of 2 to 4 channels, its pads chosen to keep 6 x 6. */
static void put_conv(struct bytes *graph, const char *src, const char *dst)
{
    struct bytes attributes = { NULL, 0 };
    put_weights(graph, "conv.w", 4, (int64_t[]){ 4, 2, 3, 3 });
    put_weights(graph, "conv.b", 1, (int64_t[]){ 4 });
    put_attribute_ints(&attributes, "kernel_shape", 2, (int64_t[]){ 3, 3 });
    put_attribute_ints(&attributes, "pads", 4, (int64_t[]){ 1, 1, 1, 1 });
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s,conv.w,conv.b", src);
    put_node(graph, "Conv", "conv", inputs, dst, &attributes);
}

static void put_batch_norm(struct bytes *graph, const char *src, const char *dst)
{
    put_weights(graph, "bn.scale", 1, (int64_t[]){ 4 });
    put_weights(graph, "bn.shift", 1, (int64_t[]){ 4 });
    put_weights(graph, "bn.mean", 1, (int64_t[]){ 4 });
    put_weights(graph, "bn.variance", 1, (int64_t[]){ 4 });
    char inputs[96];
    snprintf(inputs, sizeof inputs, "%s,bn.scale,bn.shift,bn.mean,bn.variance", src);
    put_node(graph, "BatchNormalization", "bn", inputs, dst, NULL);
}

/* A whole classifier, for cutting off and damaging. */
static struct bytes make_classifier(void)
{
    struct bytes graph = start(), attributes = { NULL, 0 };
    put_conv(&graph, "x", "c");
    put_batch_norm(&graph, "c", "n");
    put_node(&graph, "Relu", "relu", "n", "r", NULL);
    put_number(&graph, "low", 0);
    put_number(&graph, "high", 6);
    put_node(&graph, "Clip", "clip", "r,low,high", "k", NULL);
    put_attribute_ints(&attributes, "kernel_shape", 2, (int64_t[]){ 2, 2 });
    put_attribute_ints(&attributes, "strides", 2, (int64_t[]){ 2, 2 });
    put_node(&graph, "MaxPool", "pool", "k", "p", &attributes);
    put_node(&graph, "GlobalAveragePool", "gap", "p", "g", NULL);
    put_integers(&graph, "shape", 2, (int64_t[]){ 0, -1 });
    put_node(&graph, "Reshape", "reshape", "g,shape", "f", NULL);
    put_weights(&graph, "fc.w", 2, (int64_t[]){ 4, 10 });
    put_weights(&graph, "fc.b", 1, (int64_t[]){ 10 });
    put_node(&graph, "Gemm", "fc", "f,fc.w,fc.b", "l", NULL);
    put_node(&graph, "Softmax", "softmax", "l", "y", NULL);
    put_graph_output(&graph, "y");
    return finish_model(&graph, 17);
}

/* -- Round trips -------------------------------------------------------------------------------------------------- */

/* The two differ by dropout alone, which the file has as a factor. */
TEST(written_network_read_back_is_the_same_and_written_again_the_same_bytes)
{
    static const char *const names[] = { "PPLCNet_x0_25", "ResNet18", "ResNet50_vd" };
    ssld_context *context = make_context();
    char folder[64], first[96], second[96];
    make_folder(folder);
    snprintf(first, sizeof first, "%s/first.onnx", folder);
    snprintf(second, sizeof second, "%s/second.onnx", folder);
    for (size_t i = 0; i < 3; i++) {
        struct ssld_zoo_options options = { 10, 3, i ? 32 : 20, 28, true, -1, 1 };
        struct ssld_graph *graph = NULL;
        struct ssld_map maps[2];
        CHECK_OK(context, ssld_zoo_build(context, names[i], &options, &graph));
        CHECK_OK(context, ssld_onnx_write(graph, first));
        struct ssld_graph *read = read_file(context, first, &maps[0]);
        CHECK_OK(context, ssld_onnx_write(read, second));
        struct ssld_graph *again = read_file(context, second, &maps[1]);
        CHECK(maps[0].size == maps[1].size && !memcmp(maps[0].bytes, maps[1].bytes, maps[0].size), "%s: %zu and %zu bytes",
              names[i], maps[0].size, maps[1].size);
        CHECK_OK(context, ssld_graph_drop_training_nodes(graph));
        check_same_graph(graph, read);
        check_same_graph(read, again);
        for (int m = 0; m < 2; m++)
            ssld_map_close(&maps[m]);
        ssld_graph_destroy(graph);
        ssld_graph_destroy(read);
        ssld_graph_destroy(again);
    }
    unlink(first);
    unlink(second);
    rmdir(folder);
    ssld_context_destroy(context);
}

/* Every operator that the writer spells differently: clip, scale, hard sigmoid, dropout of both kinds, fused activations. */
TEST(fused_graph_written_and_read_gives_the_same_logits)
{
    ssld_context *context = make_context();
    struct bytes model = make_classifier();
    struct ssld_graph *graph = NULL;
    struct ssld_map map;
    char folder[64], path[96];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/fused.onnx", folder);
    CHECK_OK(context, ssld_onnx_read(context, model.data, model.size, "classifier", 6, 6, &graph));
    struct ssld_attributes scale = ssld_op_defaults(SSLD_OP_SCALE), sigmoid = ssld_op_defaults(SSLD_OP_HARD_SIGMOID);
    scale.scale = 0.3f;
    sigmoid.alpha = 0.11f;
    int32_t x = graph->output;
    CHECK_OK(context, ssld_graph_add_node(graph, SSLD_OP_SCALE, "scale", 1, &x, &scale, NULL, &x));
    CHECK_OK(context, ssld_graph_add_node(graph, SSLD_OP_HARD_SIGMOID, "gate", 1, &x, &sigmoid, NULL, &x));
    CHECK_OK(context, ssld_graph_add_node(graph, SSLD_OP_DROPOUT, "drop", 1, &x, NULL, NULL, &x));
    CHECK_OK(context, ssld_graph_add_node(graph, SSLD_OP_IDENTITY, "same", 1, &x, NULL, NULL, &graph->output));
    CHECK_OK(context, ssld_graph_fold_batch_norm(graph));
    CHECK_OK(context, ssld_graph_fuse_activations(graph, false));
    CHECK_OK(context, ssld_onnx_write(graph, path));
    struct ssld_graph *read = read_file(context, path, &map);
    CHECK(!strcmp(kinds_of(read), "Conv Relu Clip MaxPool GlobalAveragePool Flatten Gemm Scale HardSigmoid"), "%s",
          kinds_of(read));
    float pixels[72];
    for (int i = 0; i < 72; i++)
        pixels[i] = 0.05f * (float)(i % 13) - 0.3f;
    struct reference a = reference_run(graph, 1, pixels, false), b = reference_run(read, 1, pixels, false);
    CHECK(!memcmp(a.values[graph->output], b.values[read->output], 10 * sizeof(double)), "%g, not %g",
          b.values[read->output][0], a.values[graph->output][0]);
    reference_free(&a);
    reference_free(&b);
    ssld_map_close(&map);
    ssld_graph_destroy(read);
    ssld_graph_destroy(graph);
    free(model.data);
    unlink(path);
    rmdir(folder);
    ssld_context_destroy(context);
}

TEST(failed_write_leaves_the_old_file)
{
    ssld_context *context = make_context();
    struct bytes model = make_classifier();
    struct ssld_graph *graph = NULL;
    struct ssld_map map;
    struct rlimit limit, small;
    char folder[64], path[96];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    CHECK_OK(context, ssld_onnx_read(context, model.data, model.size, "classifier", 6, 6, &graph));
    CHECK_STATUS(context, ssld_onnx_write(graph, "/no/such/folder/model.onnx"), SSLD_NOT_FOUND);
    CHECK_TEXT(context, "/no/such/folder/model.onnx");
    CHECK_OK(context, ssld_onnx_write(graph, path));

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &small);
    ssld_status status = ssld_onnx_write(graph, path);
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(status == SSLD_IO, "status %d", status);
    CHECK_TEXT(context, path);
    struct ssld_graph *old = read_file(context, path, &map);
    CHECK(map.size > 100, "%zu bytes", map.size);
    ssld_map_close(&map);
    ssld_graph_destroy(old);
    ssld_graph_destroy(graph);
    free(model.data);
    unlink(path);
    CHECK(rmdir(folder) == 0, "something else was left in %s", folder);
    ssld_context_destroy(context);
}

/* -- Spellings ---------------------------------------------------------------------------------------------------- */

static void spell_clip_attributes(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_float(&attributes, "min", 0);
    put_attribute_float(&attributes, "max", 6);
    put_node(graph, "Clip", "clip", "x", "y", &attributes);
}

static void spell_clip_inputs(struct bytes *graph)
{
    put_number(graph, "six", 6);
    put_node(graph, "Clip", "clip", "x,,six", "y", NULL);
}

static void spell_scale(struct bytes *graph)
{
    put_number(graph, "factor", 0.8f);
    put_node(graph, "Mul", "mul", "factor,x", "y", NULL);
}

static void spell_constant_node(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    float factor = 0.8f;
    struct bytes tensor = make_tensor("", 1, 0, NULL, &factor, sizeof factor);
    put_attribute_tensor(&attributes, "value", &tensor);
    put_node(graph, "Constant", "constant", "", "factor", &attributes);
    put_node(graph, "Mul", "mul", "x,factor", "y", NULL);
}

static void spell_cast(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_number(graph, "six", 6);
    put_attribute_int(&attributes, "to", 1);
    put_node(graph, "Cast", "cast", "six", "bound", &attributes);
    put_node(graph, "Clip", "clip", "x,,bound", "y", NULL);
}

static void spell_gate_first(struct bytes *graph)
{
    put_node(graph, "GlobalAveragePool", "gap", "x", "g", NULL);
    put_node(graph, "Sigmoid", "sigmoid", "g", "s", NULL);
    put_node(graph, "Mul", "mul", "s,x", "y", NULL);
}

static void spell_hard_swish(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_float(&attributes, "alpha", 1.0f / 6.0f);
    put_node(graph, "HardSigmoid", "gate", "x", "g", &attributes);
    put_node(graph, "Mul", "mul", "x,g", "y", NULL);
}

static void spell_gemm(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_node(graph, "Flatten", "flatten", "x", "f", NULL);
    put_weights(graph, "w", 2, (int64_t[]){ 10, 72 });
    put_attribute_int(&attributes, "transB", 1);
    put_attribute_float(&attributes, "alpha", 1);
    put_node(graph, "Gemm", "fc", "f,w", "y", &attributes);
}

static void spell_matmul_add(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_int(&attributes, "axis", -3);
    put_node(graph, "Flatten", "flatten", "x", "f", &attributes);
    put_weights(graph, "w", 2, (int64_t[]){ 72, 10 });
    put_weights(graph, "b", 2, (int64_t[]){ 1, 10 });
    put_node(graph, "MatMul", "matmul", "f,w", "m", NULL);
    put_node(graph, "Add", "add", "b,m", "y", NULL);
}

static void spell_reshape(struct bytes *graph)
{
    put_integers(graph, "shape", 2, (int64_t[]){ -1, 72 });
    put_node(graph, "Reshape", "reshape", "x,shape", "y", NULL);
}

static void spell_mean(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "axes", 2, (int64_t[]){ -1, -2 });
    put_node(graph, "ReduceMean", "mean", "x", "y", &attributes);
}

static void spell_flat_mean(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_integers(graph, "axes", 2, (int64_t[]){ 2, 3 });
    put_attribute_int(&attributes, "keepdims", 0);
    put_node(graph, "ReduceMean", "mean", "x,axes", "y", &attributes);
}

static void spell_dropout_input(struct bytes *graph)
{
    put_number(graph, "ratio", 0.3f);
    put_node(graph, "Dropout", "dropout", "x,ratio", "y,mask", NULL);
}

static void spell_identities(struct bytes *graph)
{
    put_weights(graph, "shared", 1, (int64_t[]){ 2 });
    put_node(graph, "Identity", "i1", "shared", "scale", NULL);
    put_node(graph, "Identity", "i2", "scale", "mean", NULL);
    put_node(graph, "Identity", "i3", "x", "x2", NULL);
    put_node(graph, "BatchNormalization", "bn", "x2,scale,shared,mean,shared", "y,a,b", NULL);
}

static void spell_auto_pad(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "kernel_shape", 2, (int64_t[]){ 2, 3 });
    put_attribute_ints(&attributes, "strides", 2, (int64_t[]){ 2, 1 });
    put_attribute_text(&attributes, "auto_pad", "SAME_UPPER");
    put_node(graph, "AveragePool", "pool", "x", "y", &attributes);
}

static void spell_dead_nodes(struct bytes *graph)
{
    put_node(graph, "Resize", "unused", "x", "u", NULL);
    put_node(graph, "Relu", "relu", "x", "y", NULL);
    put_node(graph, "Loop", "also unused", "u,y", "v", NULL);
}

static void spell_log_softmax(struct bytes *graph)
{
    put_node(graph, "Flatten", "flatten", "x", "f", NULL);
    put_node(graph, "LogSoftmax", "softmax", "f", "y", NULL);
}

TEST(every_spelling_is_read_as_what_it_means)
{
    static const struct {
        void      (*spell)(struct bytes *graph);
        int64_t     opset;
        const char *kinds;
    } cases[] = {
        { spell_clip_attributes, 7, "Clip" },   { spell_clip_inputs, 13, "Clip" },    { spell_scale, 13, "Scale" },
        { spell_constant_node, 9, "Scale" },    { spell_gate_first, 13, "GlobalAveragePool Sigmoid Mul" },
        { spell_cast, 13, "Clip" },             { spell_hard_swish, 13, "HardSwish" },  { spell_gemm, 11, "Flatten Gemm" },     { spell_matmul_add, 13, "Flatten Gemm" }, { spell_reshape, 13, "Flatten" },
        { spell_mean, 13, "GlobalAveragePool" }, { spell_flat_mean, 18, "GlobalAveragePool Flatten" },
        { spell_dropout_input, 13, "Dropout" }, { spell_identities, 13, "BatchNormalization" },
        { spell_auto_pad, 13, "AveragePool" },  { spell_dead_nodes, 13, "Relu" },     { spell_log_softmax, 13, "Flatten" },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = start();
        struct ssld_graph *graph = NULL;
        cases[i].spell(&bytes);
        CHECK_OK(context, read_model(context, &bytes, cases[i].opset, &graph));
        CHECK(!strcmp(kinds_of(graph), cases[i].kinds), "case %zu: %s, not %s", i, kinds_of(graph), cases[i].kinds);
        CHECK_OK(context, ssld_graph_check(graph));
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

static struct ssld_graph *read_spelling(ssld_context *context, void (*spell)(struct bytes *graph))
{
    struct bytes bytes = start();
    struct ssld_graph *graph = NULL;
    spell(&bytes);
    CHECK_OK(context, read_model(context, &bytes, 17, &graph));
    return graph;
}

TEST(numbers_arrive_where_they_belong)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = read_spelling(context, spell_clip_inputs);
    const struct ssld_node *node = &graph->nodes[0];
    CHECK(node->attributes.alpha < -3e38f && node->attributes.beta == 6, "clip to %g .. %g", (double)node->attributes.alpha,
          (double)node->attributes.beta);
    ssld_graph_destroy(graph);

    graph = read_spelling(context, spell_scale);
    CHECK(graph->nodes[0].attributes.scale == 0.8f, "scale %g", (double)graph->nodes[0].attributes.scale);
    ssld_graph_destroy(graph);

    graph = read_spelling(context, spell_dropout_input);
    CHECK(graph->nodes[0].attributes.ratio == 0.3f, "ratio %g", (double)graph->nodes[0].attributes.ratio);
    ssld_graph_destroy(graph);

    graph = read_spelling(context, spell_auto_pad);
    const int32_t *pads = graph->nodes[0].attributes.window.pads;
    CHECK(pads[0] == 0 && pads[1] == 1 && pads[2] == 0 && pads[3] == 1, "pads %d %d %d %d", pads[0], pads[1], pads[2], pads[3]);
    ssld_graph_destroy(graph);

    /* (72, 10) in the file is (10, 72) in the graph. */
    graph = read_spelling(context, spell_matmul_add);
    node = &graph->nodes[1];
    const struct ssld_value *weights = &graph->values[node->inputs[1]];
    CHECK(weights->dims[0] == 10 && weights->dims[1] == 72 && weights->data[1] == 0.1f && weights->data[72] == 0.2f &&
              node->input_count == 3 && graph->values[node->inputs[2]].data[9] == 1.0f, "weights (%lld, %lld) %g %g",
          (long long)weights->dims[0], (long long)weights->dims[1], (double)weights->data[1], (double)weights->data[72]);
    ssld_graph_destroy(graph);

    /* Four uses of one initializer are four values, each of its own role. */
    graph = read_spelling(context, spell_identities);
    node = &graph->nodes[0];
    for (int32_t i = 1; i < 5; i++) {
        const struct ssld_value *value = &graph->values[node->inputs[i]];
        CHECK(value->role == (i < 3 ? SSLD_VALUE_PARAMETER : SSLD_VALUE_BUFFER) && value->no_decay == (i < 3) &&
                  value->data[1] == 0.2f, "'%s': role %d", value->name, value->role);
        for (int32_t j = 1; j < i; j++)
            CHECK(node->inputs[i] != node->inputs[j] && strcmp(value->name, graph->values[node->inputs[j]].name), "'%s' twice",
                  value->name);
    }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(open_height_and_width_are_the_options)
{
    ssld_context *context = make_context();
    struct bytes bytes = { NULL, 0 };
    struct ssld_graph *graph = NULL;
    put_graph_input(&bytes, "x", 4, (int64_t[]){ 0, 2, 0, 0 });
    put_conv(&bytes, "x", "y");
    put_graph_output(&bytes, "y");
    struct bytes model = finish_model(&bytes, 13);
    CHECK_OK(context, ssld_onnx_read(context, model.data, model.size, "open.onnx", 17, 23, &graph));
    CHECK(graph->values[graph->output].dims[2] == 17 && graph->values[graph->output].dims[3] == 23, "%lld x %lld",
          (long long)graph->values[graph->output].dims[2], (long long)graph->values[graph->output].dims[3]);
    ssld_graph_destroy(graph);
    free(model.data);
    ssld_context_destroy(context);
}

/* -- What is refused ---------------------------------------------------------------------------------------------- */

static void refuse_many(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_node(graph, "Unique", "Unique_12", "x", "a", NULL);
    put_node(graph, "Einsum", "", "a", "b", NULL);
    put_node(graph, "Relu", "fine", "b", "c", NULL);
    put_attribute_int(&attributes, "spatial", 0);
    put_node(graph, "BatchNormalization", "Norm_1", "c,s,s,s,s", "y", &attributes);
    put_weights(graph, "s", 1, (int64_t[]){ 2 });
}

static void refuse_indices(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "kernel_shape", 2, (int64_t[]){ 2, 2 });
    put_node(graph, "MaxPool", "pool", "x", "p,indices", &attributes);
    put_node(graph, "Add", "add", "p,indices", "y", NULL);
}

static void refuse_conv_1d(struct bytes *graph)
{
    put_weights(graph, "w", 3, (int64_t[]){ 4, 2, 3 });
    put_node(graph, "Conv", "conv", "x,w", "y", NULL);
}

static void refuse_weights_of_words(struct bytes *graph)
{
    struct bytes tensor = make_tensor("w", 8, 4, (int64_t[]){ 1, 2, 1, 1 }, "abcd", 4);
    put_message(graph, 5, &tensor);
    put_node(graph, "Conv", "conv", "x,w", "y", NULL);
}

static void refuse_external(struct bytes *graph)
{
    struct bytes tensor = make_tensor("w", 1, 4, (int64_t[]){ 1, 2, 1, 1 }, "", 0);
    put_int(&tensor, 14, 1);
    put_message(graph, 5, &tensor);
    put_node(graph, "Conv", "conv", "x,w", "y", NULL);
}

static void refuse_missing(struct bytes *graph)
{
    put_node(graph, "Conv", "conv", "x,nowhere", "y", NULL);
}

static void refuse_cycle(struct bytes *graph)
{
    put_node(graph, "Add", "one", "x,b", "a", NULL);
    put_node(graph, "Relu", "two", "a", "b", NULL);
    put_node(graph, "Relu", "three", "b", "y", NULL);
}

static void refuse_own_output(struct bytes *graph)
{
    put_node(graph, "Add", "one", "x,y", "y", NULL);
}

static void refuse_two_makers(struct bytes *graph)
{
    put_node(graph, "Relu", "one", "x", "y", NULL);
    put_node(graph, "Relu", "two", "x", "y", NULL);
}

static void refuse_two_initializers(struct bytes *graph)
{
    put_weights(graph, "w", 1, (int64_t[]){ 2 });
    put_weights(graph, "w", 1, (int64_t[]){ 2 });
    put_node(graph, "Relu", "one", "x", "y", NULL);
}

static void refuse_short_data(struct bytes *graph)
{
    struct bytes tensor = make_tensor("w", 1, 4, (int64_t[]){ 1, 2, 1, 1 }, "abcdef", 6);
    put_message(graph, 5, &tensor);
    put_node(graph, "Conv", "conv", "x,w", "y", NULL);
}

static void refuse_huge_dims(struct bytes *graph)
{
    struct bytes tensor = make_tensor("w", 1, 4, (int64_t[]){ INT64_MAX, 2, INT64_MAX, 1 }, "abcd", 4);
    put_message(graph, 5, &tensor);
    put_node(graph, "Conv", "conv", "x,w", "y", NULL);
}

static void refuse_large_claim(struct bytes *graph)
{
    struct bytes tensor = make_tensor("w", 1, 4, (int64_t[]){ 30000, 2, 100, 100 }, "abcd", 4);
    put_message(graph, 5, &tensor);
    put_node(graph, "Conv", "conv", "x,w", "y", NULL);
}

static void refuse_wrong_attribute_type(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_float(&attributes, "strides", 2);
    put_weights(graph, "w", 4, (int64_t[]){ 4, 2, 3, 3 });
    put_node(graph, "Conv", "conv", "x,w", "y", &attributes);
}

static void refuse_attribute_twice(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_float(&attributes, "alpha", 1);
    put_attribute_float(&attributes, "alpha", 2);
    put_node(graph, "HardSigmoid", "gate", "x", "y", &attributes);
}

static void refuse_zero_stride(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "kernel_shape", 2, (int64_t[]){ 2, 2 });
    put_attribute_ints(&attributes, "strides", 2, (int64_t[]){ 0, 0 });
    put_attribute_text(&attributes, "auto_pad", "SAME_LOWER");
    put_node(graph, "MaxPool", "pool", "x", "y", &attributes);
}

static void refuse_overflow(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "kernel_shape", 2, (int64_t[]){ INT64_MAX, 2 });
    put_node(graph, "MaxPool", "pool", "x", "y", &attributes);
}

static void refuse_wrong_channels(struct bytes *graph)
{
    put_weights(graph, "w", 4, (int64_t[]){ 4, 3, 3, 3 });
    put_node(graph, "Conv", "conv", "x,w", "y", NULL);
}

static void refuse_no_inputs(struct bytes *graph)
{
    put_node(graph, "Relu", "relu", "", "y", NULL);
}

static void refuse_constant_output(struct bytes *graph)
{
    put_weights(graph, "w", 1, (int64_t[]){ 10 });
    put_node(graph, "Identity", "same", "w", "y", NULL);
}

static void refuse_computed_shape(struct bytes *graph)
{
    put_node(graph, "Flatten", "shape", "x", "s", NULL);
    put_node(graph, "Reshape", "reshape", "x,s", "y", NULL);
}

static void refuse_control_characters(struct bytes *graph)
{
    put_node(graph, "Unique", "\033[31mred\n", "x", "y", NULL);
}

/* The status of each, and what its text must contain. */
TEST(every_file_that_cannot_be_read_is_refused_by_name)
{
    static const struct {
        void      (*spell)(struct bytes *graph);
        ssld_status status;
        const char *texts[4];
    } cases[] = {
        { refuse_many, SSLD_UNSUPPORTED, { "test.onnx: 3 nodes are not supported", "'Unique_12' (Unique)", "'b' (Einsum)", "'spatial'" } },
        { refuse_indices, SSLD_UNSUPPORTED, { "'indices' is read" } },
        { refuse_conv_1d, SSLD_UNSUPPORTED, { "'w' has 3 dimensions" } },
        { refuse_weights_of_words, SSLD_UNSUPPORTED, { "'w' is of type string" } },
        { refuse_external, SSLD_UNSUPPORTED, { "save it with its weights inside" } },
        { refuse_missing, SSLD_FORMAT, { "'conv'", "'nowhere', which nothing makes" } },
        { refuse_cycle, SSLD_FORMAT, { "'one'", "not in order" } },
        { refuse_own_output, SSLD_FORMAT, { "not in order" } },
        { refuse_two_makers, SSLD_FORMAT, { "'y' is defined twice" } },
        { refuse_two_initializers, SSLD_FORMAT, { "'w' is defined twice" } },
        { refuse_short_data, SSLD_FORMAT, { "'w' has data for 1 elements, its shape says 2" } },
        { refuse_huge_dims, SSLD_FORMAT, { "dimension 0" } },
        { refuse_large_claim, SSLD_FORMAT, { "data for 1 elements, its shape says 600000000" } },
        { refuse_wrong_attribute_type, SSLD_FORMAT, { "'strides'" } },
        { refuse_attribute_twice, SSLD_FORMAT, { "'alpha' is there twice" } },
        { refuse_zero_stride, SSLD_FORMAT, { "stride 0" } },
        { refuse_overflow, SSLD_FORMAT, { "kernel_shape" } },
        { refuse_wrong_channels, SSLD_FORMAT, { "2 input channels" } },
        { refuse_no_inputs, SSLD_FORMAT, { "0 inputs" } },
        { refuse_constant_output, SSLD_FORMAT, { "does not depend on its input" } },
        { refuse_computed_shape, SSLD_UNSUPPORTED, { "its input 1 is not a constant" } },
        { refuse_control_characters, SSLD_UNSUPPORTED, { "'?[31mred?'" } },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = start();
        struct ssld_graph *graph = NULL;
        cases[i].spell(&bytes);
        CHECK_STATUS(context, read_model(context, &bytes, 17, &graph), cases[i].status);
        CHECK_TEXT(context, "test.onnx: ");
        for (int t = 0; t < 4 && cases[i].texts[t]; t++)
            CHECK_TEXT(context, cases[i].texts[t]);
        CHECK(!graph, "case %zu gave a graph", i);
    }
    ssld_context_destroy(context);
}

/* Files that are wrong as a whole. */
TEST(foreign_and_old_files_are_refused)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = NULL;
    static const struct {
        int64_t     opset;
        int         type, ndims;
        int64_t     dims[5];
        const char *output;
        ssld_status status;
        const char *text;
    } cases[] = {
        { 6, 1, 4, { 0, 2, 6, 6 }, "y", SSLD_UNSUPPORTED, "opset 6" },
        { 0, 1, 4, { 0, 2, 6, 6 }, "y", SSLD_FORMAT, "operator set" },
        { 13, 7, 4, { 0, 2, 6, 6 }, "y", SSLD_UNSUPPORTED, "type int64, not float" },
        { 13, 1, 3, { 0, 2, 6 }, "y", SSLD_UNSUPPORTED, "(N, channels, height, width)" },
        { 13, 1, 5, { 0, 2, 6, 6, 6 }, "y", SSLD_UNSUPPORTED, "(N, channels, height, width)" },
        { 13, 1, 4, { 0, 0, 6, 6 }, "y", SSLD_UNSUPPORTED, "channels open" },
        { 13, 1, 4, { 0, 2, -6, 6 }, "y", SSLD_FORMAT, "dimension 2" },
        { 13, 1, 4, { 0, 2, INT32_MAX, INT32_MAX }, "y", SSLD_FORMAT, "2^31" },
        { 13, 1, 4, { 0, 2, 6, 6 }, "z", SSLD_FORMAT, "no output" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = { NULL, 0 };
        put_value_info(&bytes, 11, "x", cases[i].type, cases[i].ndims, cases[i].dims);
        put_node(&bytes, "Relu", "relu", "x", "y", NULL);
        put_graph_output(&bytes, cases[i].output);
        struct bytes model = finish_model(&bytes, cases[i].opset);
        CHECK_STATUS(context, ssld_onnx_read(context, model.data, model.size, "odd.onnx", 6, 6, &graph), cases[i].status);
        CHECK_TEXT(context, "odd.onnx: ");
        CHECK_TEXT(context, cases[i].text);
        free(model.data);
    }
    static const char *const foreign[] = { "", "\x89PNG\r\n\x1a\n", "PK\x03\x04", "hello, this is no model" };
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        CHECK_STATUS(context, ssld_onnx_read(context, foreign[i], strlen(foreign[i]), "foreign.onnx", 6, 6, &graph), SSLD_FORMAT);
        CHECK_TEXT(context, "foreign.onnx: not an ONNX file");
    }
    CHECK(!graph, "a graph was given");
    ssld_context_destroy(context);
}

/* An initializer used by very many nodes would fill memory from a small file. */
TEST(small_file_cannot_unfold_without_end)
{
    ssld_context *context = make_context();
    struct bytes bytes = start();
    struct ssld_graph *graph = NULL;
    put_weights(&bytes, "w", 4, (int64_t[]){ 128, 2, 32, 32 }); /* 1 MiB; the budget is 16 of those and 64 MiB */
    struct bytes pads = { NULL, 0 };
    for (int i = 0; i < 200; i++) {
        char dst[16];
        snprintf(dst, sizeof dst, "c%d", i);
        put_attribute_ints(&pads, "pads", 4, (int64_t[]){ 15, 15, 16, 16 });
        put_node(&bytes, "Conv", "", "x,w", dst, &pads);
        if (i) {
            char inputs[32], sum[16];
            snprintf(inputs, sizeof inputs, "%s%d,c%d", i == 1 ? "c" : "s", i - 1, i);
            snprintf(sum, sizeof sum, i == 199 ? "y" : "s%d", i);
            put_node(&bytes, "Add", "", inputs, sum, NULL);
        }
    }
    CHECK_STATUS(context, read_model(context, &bytes, 13, &graph), SSLD_FORMAT);
    CHECK_TEXT(context, "outgrow the file");
    /* Empty nodes: 2 bytes each in the file, some hundred in memory. */
    struct bytes flood = start();
    for (int i = 0; i < 1000000; i++)
        put_block(&flood, 1, "", 0);
    CHECK_STATUS(context, read_model(context, &flood, 13, &graph), SSLD_FORMAT);
    CHECK_TEXT(context, "unfold");
    ssld_context_destroy(context);
}

/* -- Damage ------------------------------------------------------------------------------------------------------- */

TEST(file_cut_off_at_any_byte_is_refused)
{
    ssld_context *context = make_context();
    struct bytes model = make_classifier();
    for (size_t size = 0; size <= model.size; size++) {
        struct ssld_graph *graph = NULL;
        uint8_t *cut = malloc(size ? size : 1); /* its own block: a read past the end is seen by the sanitizer */
        memcpy(cut, model.data, size);
        ssld_status status = ssld_onnx_read(context, cut, size, "cut.onnx", 6, 6, &graph);
        CHECK(size == model.size ? status == SSLD_OK : status == SSLD_FORMAT, "%zu of %zu bytes: %s", size, model.size,
              ssld_status_name(status));
        ssld_graph_destroy(graph);
        free(cut);
    }
    free(model.data);
    ssld_context_destroy(context);
}

TEST(damaged_files_get_a_verdict)
{
    struct bytes model = make_classifier();
    int read = read_damaged(&model, 20000);
    /* Damage to a weight is a valid weight, so some must be read; most of this small file is structure, so most must not. */
    CHECK(read > 200 && read < 10000, "%d of 20000 were read", read);
    free(model.data);
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

TEST(every_allocation_may_fail)
{
    struct bytes model = make_classifier();
    char folder[64], path[96];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    for (int allowed = 1;; allowed++) {
        int left = allowed;
        ssld_context *context = NULL;
        ssld_context_options options;
        struct ssld_graph *graph = NULL;
        ssld_context_options_init(&options, sizeof options);
        options.allocator = test_allocator(&left);
        CHECK_OK(NULL, ssld_context_create(&options, &context));
        ssld_status status = ssld_onnx_read(context, model.data, model.size, "model.onnx", 6, 6, &graph);
        CHECK((status == SSLD_OK) == (graph != NULL), "allocation %d: a graph or a failure, not both", allowed);
        if (!status)
            status = ssld_onnx_write(graph, path);
        CHECK_STATUS(context, status == SSLD_OK ? SSLD_OUT_OF_MEMORY : status, SSLD_OUT_OF_MEMORY);
        CHECK((status == SSLD_OK) == (access(path, F_OK) == 0), "allocation %d: half a file", allowed);
        ssld_graph_destroy(graph);
        ssld_context_destroy(context);
        if (status == SSLD_OK)
            break;
    }
    unlink(path);
    CHECK(rmdir(folder) == 0, "something was left in %s", folder);
    free(model.data);
}

TEST_MAIN(TEST_ROW(written_network_read_back_is_the_same_and_written_again_the_same_bytes),
          TEST_ROW(fused_graph_written_and_read_gives_the_same_logits), TEST_ROW(failed_write_leaves_the_old_file),
          TEST_ROW(every_spelling_is_read_as_what_it_means), TEST_ROW(numbers_arrive_where_they_belong),
          TEST_ROW(open_height_and_width_are_the_options), TEST_ROW(every_file_that_cannot_be_read_is_refused_by_name),
          TEST_ROW(foreign_and_old_files_are_refused), TEST_ROW(small_file_cannot_unfold_without_end),
          TEST_ROW(file_cut_off_at_any_byte_is_refused), TEST_ROW(damaged_files_get_a_verdict),
          TEST_ROW(every_allocation_may_fail))
