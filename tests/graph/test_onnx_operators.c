/* SPDX-License-Identifier: BSD-2-Clause */
/* Operators that ONNX spells otherwise than the graph: written by parts and put together again, split, sliced, transposed. */
#include "test.h"

#include "onnx_files.h"

/* -- A graph of everything ---------------------------------------------------------------------------------------- */

struct chain {
    ssld_context      *context;
    struct ssld_graph *graph;
    int32_t            value; /* the last one made */
};

static int32_t add(struct chain *chain, int32_t kind, const char *name, int32_t count, const int32_t *inputs,
                   const struct ssld_attributes *attributes)
{
    CHECK_OK(chain->context, ssld_graph_add_node(chain->graph, kind, name, count, inputs, attributes, NULL, &chain->value));
    return chain->value;
}

static int32_t parameter(struct chain *chain, const char *name, bool no_decay, int32_t ndims, const int64_t *dims)
{
    int32_t value;
    CHECK_OK(chain->context, ssld_graph_add_value(chain->graph, name, SSLD_VALUE_PARAMETER, ndims, dims, NULL, &value));
    struct ssld_stream stream = ssld_stream_start(5, (uint64_t)value, 0, 0);
    for (int64_t i = 0; i < ssld_value_elements(&chain->graph->values[value]); i++)
        chain->graph->values[value].data[i] = (float)(ssld_stream_uniform(&stream) - 0.5);
    chain->graph->values[value].no_decay = no_decay;
    return value;
}

static void add_conv(struct chain *chain, const char *name, int64_t outputs)
{
    char weights[64];
    int64_t dims[4] = { outputs, chain->graph->values[chain->value].dims[1], 1, 1 };
    snprintf(weights, sizeof weights, "%s.weight", name);
    add(chain, SSLD_OP_CONV, name, 2, (int32_t[]){ chain->value, parameter(chain, weights, false, 4, dims) }, NULL);
}

static void add_prelu(struct chain *chain, const char *name, int64_t slopes)
{
    char parameters[64];
    snprintf(parameters, sizeof parameters, "%s.slopes", name);
    add(chain, SSLD_OP_PRELU, name, 2, (int32_t[]){ chain->value, parameter(chain, parameters, false, 1, &slopes) }, NULL);
}

static void add_layer_norm(struct chain *chain, const char *name, bool shifted)
{
    char scale[64], shift[64];
    int64_t channels = chain->graph->values[chain->value].dims[1];
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_LAYER_NORM);
    attributes.epsilon = 1e-6f;
    snprintf(scale, sizeof scale, "%s.scale", name);
    snprintf(shift, sizeof shift, "%s.shift", name);
    int32_t inputs[3] = { chain->value, parameter(chain, scale, true, 1, &channels), SSLD_NO_VALUE };
    if (shifted)
        inputs[2] = parameter(chain, shift, true, 1, &channels);
    add(chain, SSLD_OP_LAYER_NORM, name, shifted ? 3 : 2, inputs, &attributes);
}

static int32_t add_slice(struct chain *chain, const char *name, int32_t src, int32_t begin, int32_t end)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_SLICE);
    attributes.begin = begin;
    attributes.end = end;
    return add(chain, SSLD_OP_SLICE, name, 1, &src, &attributes);
}

static const int32_t activations[] = { SSLD_OP_LEAKY_RELU, SSLD_OP_SILU, SSLD_OP_GELU, SSLD_OP_GELU_TANH, SSLD_OP_TANH };
#define ACTIVATIONS (sizeof activations / sizeof activations[0])

static struct ssld_attributes activation_attributes(int32_t kind)
{
    struct ssld_attributes attributes = ssld_op_defaults(kind);
    if (kind == SSLD_OP_LEAKY_RELU)
        attributes.alpha = 0.2f;
    return attributes;
}

static struct ssld_graph *everything(ssld_context *context)
{
    struct chain chain = { context, NULL, 0 };
    CHECK_OK(context, ssld_graph_create(context, "everything", &chain.graph));
    CHECK_OK(context, ssld_graph_add_value(chain.graph, "x", SSLD_VALUE_ACTIVATION, 4, (int64_t[]){ 1, 2, 6, 6 }, NULL,
                                           &chain.value));
    chain.graph->input = chain.value;
    add_conv(&chain, "stem", 6);
    for (size_t i = 0; i < ACTIVATIONS; i++) {
        struct ssld_attributes attributes = activation_attributes(activations[i]);
        add(&chain, activations[i], ssld_ops[activations[i]].name, 1, &chain.value, &attributes);
    }
    add_prelu(&chain, "prelu", 6);
    add_layer_norm(&chain, "norm", true);
    add_layer_norm(&chain, "norm_again", false);
    int32_t whole = chain.value, first = add_slice(&chain, "first", whole, 0, 2), last = add_slice(&chain, "last", whole, 2, 6);
    add(&chain, SSLD_OP_CONCAT, "swapped", 3, (int32_t[]){ last, first, whole }, NULL);
    int32_t features = chain.value;
    add_conv(&chain, "where", 1);
    add(&chain, SSLD_OP_MUL, "attend", 2, (int32_t[]){ features, chain.value }, NULL);
    add(&chain, SSLD_OP_GLOBAL_AVERAGE_POOL, "pool", 1, &chain.value, NULL);
    add(&chain, SSLD_OP_FLATTEN, "flat", 1, &chain.value, NULL);
    add_layer_norm(&chain, "norm_features", true);
    add_prelu(&chain, "prelu_features", 12);
    add_prelu(&chain, "prelu_all", 1);
    chain.graph->output = add(&chain, SSLD_OP_CONCAT, "twice", 2, (int32_t[]){ chain.value, chain.value }, NULL);
    return chain.graph;
}

/* -- Round trips -------------------------------------------------------------------------------------------------- */

TEST(every_operator_written_and_read_is_the_same_node_and_the_same_bytes)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = everything(context);
    struct ssld_map maps[2];
    char folder[64], first[96], second[96];
    make_folder(folder);
    snprintf(first, sizeof first, "%s/first.onnx", folder);
    snprintf(second, sizeof second, "%s/second.onnx", folder);
    CHECK_OK(context, ssld_onnx_write(graph, first));
    struct ssld_graph *read = read_file(context, first, &maps[0]);
    check_same_graph(graph, read);
    CHECK_OK(context, ssld_onnx_write(read, second));
    struct ssld_graph *again = read_file(context, second, &maps[1]);
    CHECK(maps[0].size == maps[1].size && !memcmp(maps[0].bytes, maps[1].bytes, maps[0].size), "%zu and %zu bytes",
          maps[0].size, maps[1].size);
    for (int m = 0; m < 2; m++)
        ssld_map_close(&maps[m]);
    ssld_graph_destroy(graph);
    ssld_graph_destroy(read);
    ssld_graph_destroy(again);
    unlink(first);
    unlink(second);
    rmdir(folder);
    ssld_context_destroy(context);
}

TEST(activations_inside_other_nodes_are_written_behind_them)
{
    ssld_context *context = make_context();
    char folder[64], path[96], wanted[64];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/fused.onnx", folder);
    for (size_t i = 0; i < ACTIVATIONS; i++) {
        struct chain chain = { context, NULL, 0 };
        struct ssld_map map;
        CHECK_OK(context, ssld_graph_create(context, "fused", &chain.graph));
        CHECK_OK(context, ssld_graph_add_value(chain.graph, "x", SSLD_VALUE_ACTIVATION, 4, (int64_t[]){ 1, 2, 6, 6 }, NULL,
                                               &chain.value));
        chain.graph->input = chain.value;
        add_conv(&chain, "conv", 3);
        struct ssld_attributes attributes = activation_attributes(activations[i]);
        chain.graph->output = add(&chain, activations[i], "act", 1, &chain.value, &attributes);
        CHECK_OK(context, ssld_graph_fuse_activations(chain.graph, false));
        CHECK(chain.graph->node_count == 1, "%s was not fused", ssld_ops[activations[i]].name);
        CHECK_OK(context, ssld_onnx_write(chain.graph, path));
        struct ssld_graph *read = read_file(context, path, &map);
        snprintf(wanted, sizeof wanted, "Conv %s", ssld_ops[activations[i]].name);
        CHECK(!strcmp(kinds_of(read), wanted), "%s, not %s", kinds_of(read), wanted);
        CHECK(read->nodes[1].attributes.alpha == attributes.alpha, "alpha %g", (double)read->nodes[1].attributes.alpha);
        ssld_map_close(&map);
        ssld_graph_destroy(read);
        ssld_graph_destroy(chain.graph);
    }
    unlink(path);
    rmdir(folder);
    ssld_context_destroy(context);
}

/* -- Spellings ---------------------------------------------------------------------------------------------------- */

static void spell_gelu_by_division(struct bytes *graph) /* PyTorch's order */
{
    put_number(graph, "root", 1.41421354f);
    put_number(graph, "one", 1);
    put_number(graph, "half", 0.5f);
    put_node(graph, "Div", "", "x,root", "a", NULL);
    put_node(graph, "Erf", "", "a", "b", NULL);
    put_node(graph, "Add", "", "b,one", "c", NULL);
    put_node(graph, "Mul", "", "x,c", "d", NULL);
    put_node(graph, "Mul", "", "d,half", "y", NULL);
}

static void spell_gelu_half_first(struct bytes *graph) /* TensorFlow's */
{
    put_number(graph, "root", 0.707106769f);
    put_number(graph, "one", 1);
    put_number(graph, "half", 0.5f);
    put_node(graph, "Mul", "", "half,x", "h", NULL);
    put_node(graph, "Mul", "", "x,root", "a", NULL);
    put_node(graph, "Erf", "", "a", "b", NULL);
    put_node(graph, "Add", "", "one,b", "c", NULL);
    put_node(graph, "Mul", "", "c,h", "y", NULL);
}

static void spell_gelu_half_between(struct bytes *graph)
{
    put_number(graph, "root", 0.707106769f);
    put_number(graph, "one", 1);
    put_number(graph, "half", 0.5f);
    put_node(graph, "Mul", "", "x,root", "a", NULL);
    put_node(graph, "Erf", "", "a", "b", NULL);
    put_node(graph, "Add", "", "b,one", "c", NULL);
    put_node(graph, "Mul", "", "c,half", "d", NULL);
    put_node(graph, "Mul", "", "d,x", "y", NULL);
}

static void spell_gelu_operator(struct bytes *graph)
{
    put_node(graph, "Gelu", "gelu", "x", "y", NULL);
}

static void spell_gelu_tanh_operator(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_text(&attributes, "approximate", "tanh");
    put_node(graph, "Gelu", "gelu", "x", "y", &attributes);
}

static void spell_swish(struct bytes *graph)
{
    put_node(graph, "Swish", "swish", "x", "y", NULL);
}

static void spell_silu(struct bytes *graph)
{
    put_node(graph, "Sigmoid", "gate", "x", "g", NULL);
    put_node(graph, "Mul", "mul", "g,x", "y", NULL);
}

static void spell_prelu(struct bytes *graph)
{
    put_weights(graph, "slopes", 3, (int64_t[]){ 2, 1, 1 });
    put_node(graph, "PRelu", "prelu", "x,slopes", "y", NULL);
}

static void spell_prelu_with_batch_dimension(struct bytes *graph)
{
    put_weights(graph, "slopes", 4, (int64_t[]){ 1, 2, 1, 1 });
    put_node(graph, "PRelu", "prelu", "x,slopes", "y", NULL);
}

static void spell_prelu_scalar(struct bytes *graph)
{
    put_number(graph, "slope", 0.25f);
    put_node(graph, "PRelu", "prelu", "x,slope", "y", NULL);
}

static void spell_prelu_unsqueezed(struct bytes *graph)
{
    put_weights(graph, "vector", 1, (int64_t[]){ 2 });
    put_integers(graph, "axes", 2, (int64_t[]){ 1, 2 });
    put_node(graph, "Unsqueeze", "unsqueeze", "vector,axes", "slopes", NULL);
    put_node(graph, "PRelu", "prelu", "x,slopes", "y", NULL);
}

static void spell_concat_from_the_end(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_int(&attributes, "axis", -3);
    put_node(graph, "Concat", "concat", "x,x,x", "y", &attributes);
}

static void put_split(struct bytes *graph, const char *inputs, struct bytes *attributes)
{
    put_attribute_int(attributes, "axis", 1);
    put_node(graph, "Split", "split", inputs, "a,b", attributes);
    put_node(graph, "Add", "add", "b,a", "y", NULL);
}

static void spell_split_equal(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_split(graph, "x", &attributes);
}

static void spell_split_attribute(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "split", 2, (int64_t[]){ 1, 1 });
    put_split(graph, "x", &attributes);
}

static void spell_split_input(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_integers(graph, "sizes", 2, (int64_t[]){ 1, 1 });
    put_split(graph, "x,sizes", &attributes);
}

static void spell_split_one_used(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_int(&attributes, "axis", 1);
    put_node(graph, "Split", "split", "x", "a,b", &attributes);
    put_node(graph, "Relu", "relu", "b", "y", NULL);
}

static void spell_slice(struct bytes *graph)
{
    put_integers(graph, "from", 1, (int64_t[]){ -1 });
    put_integers(graph, "to", 1, (int64_t[]){ INT64_MAX });
    put_integers(graph, "axis", 1, (int64_t[]){ 1 });
    put_integers(graph, "step", 1, (int64_t[]){ 1 });
    put_node(graph, "Slice", "slice", "x,from,to,axis,step", "y", NULL);
}

static void spell_slice_attributes(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "starts", 1, (int64_t[]){ 1 });
    put_attribute_ints(&attributes, "ends", 1, (int64_t[]){ 2 });
    put_attribute_ints(&attributes, "axes", 1, (int64_t[]){ -3 });
    put_node(graph, "Slice", "slice", "x", "y", &attributes);
}

static void put_transpose(struct bytes *graph, const char *src, const char *dst, bool last)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_ints(&attributes, "perm", 4, last ? (int64_t[]){ 0, 2, 3, 1 } : (int64_t[]){ 0, 3, 1, 2 });
    put_node(graph, "Transpose", "", src, dst, &attributes);
}

static void spell_layer_norm(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_weights(graph, "scale", 1, (int64_t[]){ 2 });
    put_weights(graph, "shift", 1, (int64_t[]){ 2 });
    put_attribute_float(&attributes, "epsilon", 1e-6f);
    put_attribute_int(&attributes, "axis", 3);
    put_transpose(graph, "x", "t", true);
    put_node(graph, "LayerNormalization", "norm", "t,scale,shift", "n", &attributes);
    put_transpose(graph, "n", "y", false);
}

static void spell_layer_norm_of_features(struct bytes *graph)
{
    put_weights(graph, "scale", 1, (int64_t[]){ 72 });
    put_node(graph, "Flatten", "flat", "x", "f", NULL);
    put_node(graph, "LayerNormalization", "norm", "f,scale", "y,mean,deviation", NULL);
}

static void spell_mul_by_position(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_int(&attributes, "axis", 1);
    put_node(graph, "Split", "split", "x", "a,b", &attributes);
    put_node(graph, "Mul", "mul", "a,x", "y", NULL);
}

TEST(every_spelling_is_read_as_what_it_means)
{
    static const struct {
        void      (*spell)(struct bytes *graph);
        int64_t     opset;
        const char *kinds;
    } cases[] = {
        { spell_gelu_by_division, 17, "Gelu" },
        { spell_gelu_half_first, 13, "Gelu" },
        { spell_gelu_half_between, 13, "Gelu" },
        { spell_gelu_operator, 20, "Gelu" },
        { spell_gelu_tanh_operator, 20, "GeluTanh" },
        { spell_swish, 24, "Silu" },
        { spell_silu, 17, "Silu" },
        { spell_prelu, 17, "PRelu" },
        { spell_prelu_with_batch_dimension, 17, "PRelu" },
        { spell_prelu_scalar, 17, "PRelu" },
        { spell_prelu_unsqueezed, 13, "PRelu" },
        { spell_concat_from_the_end, 13, "Concat" },
        { spell_split_equal, 13, "Slice Slice Add" },
        { spell_split_attribute, 11, "Slice Slice Add" },
        { spell_split_input, 13, "Slice Slice Add" },
        { spell_split_one_used, 13, "Slice Relu" },
        { spell_slice, 13, "Slice" },
        { spell_slice_attributes, 9, "Slice" },
        { spell_layer_norm, 17, "LayerNormalization" },
        { spell_layer_norm_of_features, 17, "Flatten LayerNormalization" },
        { spell_mul_by_position, 13, "Slice Mul" },
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

TEST(channels_and_numbers_arrive_where_they_belong)
{
    ssld_context *context = make_context();
    void (*const second_channel[])(struct bytes *) = { spell_slice, spell_slice_attributes, spell_split_one_used };
    for (size_t i = 0; i < 3; i++) {
        struct ssld_graph *graph = read_spelling(context, second_channel[i]);
        const struct ssld_attributes *attributes = &graph->nodes[0].attributes;
        CHECK(attributes->begin == 1 && attributes->end == 2, "case %zu: channels %d to %d", i, attributes->begin,
              attributes->end);
        ssld_graph_destroy(graph);
    }
    struct ssld_graph *graph = read_spelling(context, spell_layer_norm);
    const struct ssld_node *node = &graph->nodes[0];
    CHECK(node->attributes.epsilon == 1e-6f && node->input_count == 3 && graph->values[node->inputs[1]].no_decay &&
              graph->values[node->inputs[2]].data[1] == 0.2f && graph->values[node->output].dims[1] == 2 &&
              !strcmp(graph->values[node->output].name, "y"), "epsilon %g, output '%s'", (double)node->attributes.epsilon,
          graph->values[node->output].name);
    ssld_graph_destroy(graph);

    graph = read_spelling(context, spell_prelu);
    const struct ssld_value *slopes = &graph->values[graph->nodes[0].inputs[1]];
    CHECK(slopes->ndims == 1 && slopes->dims[0] == 2 && slopes->data[1] == 0.2f, "%d dimensions of %lld", slopes->ndims,
          (long long)slopes->dims[0]);
    ssld_graph_destroy(graph);

    /* The product is the second channel's: the factor comes second, whichever way round the file has it. */
    graph = read_spelling(context, spell_mul_by_position);
    node = &graph->nodes[1];
    CHECK(node->inputs[0] == graph->input && graph->values[node->output].dims[1] == 2, "the factor comes first");
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* -- What is refused ---------------------------------------------------------------------------------------------- */

static void refuse_unknown_gelu(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_attribute_text(&attributes, "approximate", "sigmoid");
    put_node(graph, "Gelu", "gelu", "x", "y", &attributes);
}

static void refuse_slope_count(struct bytes *graph)
{
    put_weights(graph, "slopes", 3, (int64_t[]){ 3, 1, 1 });
    put_node(graph, "PRelu", "prelu", "x,slopes", "y", NULL);
}

/* (2) stands at the columns, not at the channels. */
static void refuse_slopes_of_columns(struct bytes *graph)
{
    put_weights(graph, "slopes", 1, (int64_t[]){ 2 });
    put_node(graph, "PRelu", "prelu", "x,slopes", "y", NULL);
}

static void refuse_split_sizes(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_integers(graph, "sizes", 2, (int64_t[]){ 1, 2 });
    put_split(graph, "x,sizes", &attributes);
}

static void refuse_huge_split_sizes(struct bytes *graph)
{
    struct bytes attributes = { NULL, 0 };
    put_integers(graph, "sizes", 2, (int64_t[]){ INT64_MAX, INT64_MAX });
    put_split(graph, "x,sizes", &attributes);
}

static void put_slice(struct bytes *graph, int64_t begin, int64_t end, int64_t step)
{
    put_integers(graph, "from", 1, &begin);
    put_integers(graph, "to", 1, &end);
    put_integers(graph, "axis", 1, (int64_t[]){ 1 });
    put_integers(graph, "step", 1, &step);
    put_node(graph, "Slice", "slice", "x,from,to,axis,step", "y", NULL);
}

static void refuse_empty_slice(struct bytes *graph) { put_slice(graph, 1, 1, 1); }
static void refuse_slice_behind_the_end(struct bytes *graph) { put_slice(graph, 7, 9, 1); }

static void refuse_short_scale(struct bytes *graph)
{
    put_weights(graph, "scale", 1, (int64_t[]){ 3 });
    put_transpose(graph, "x", "t", true);
    put_node(graph, "LayerNormalization", "norm", "t,scale", "n", NULL);
    put_transpose(graph, "n", "y", false);
}

TEST(every_file_that_cannot_be_read_is_refused_by_name)
{
    static const struct {
        void      (*spell)(struct bytes *graph);
        ssld_status status;
        const char *texts[2];
    } cases[] = {
        { refuse_unknown_gelu, SSLD_UNSUPPORTED, { "'gelu'", "approximate 'sigmoid'" } },
        { refuse_slope_count, SSLD_FORMAT, { "'prelu'", "do not fit" } },
        { refuse_slopes_of_columns, SSLD_FORMAT, { "'prelu'", "do not fit" } },
        { refuse_split_sizes, SSLD_FORMAT, { "'split'", "make up 2 elements" } },
        { refuse_huge_split_sizes, SSLD_FORMAT, { "'split'", "make up 2 elements" } },
        { refuse_empty_slice, SSLD_UNSUPPORTED, { "'slice'", "no elements" } },
        { refuse_slice_behind_the_end, SSLD_UNSUPPORTED, { "'slice'", "no elements" } },
        { refuse_short_scale, SSLD_UNSUPPORTED, { "'norm'", "2 elements" } },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = start();
        struct ssld_graph *graph = NULL;
        cases[i].spell(&bytes);
        CHECK_STATUS(context, read_model(context, &bytes, 17, &graph), cases[i].status);
        CHECK_TEXT(context, "test.onnx: ");
        for (int t = 0; t < 2 && cases[i].texts[t]; t++)
            CHECK_TEXT(context, cases[i].texts[t]);
        CHECK(!graph, "case %zu gave a graph", i);
    }
    ssld_context_destroy(context);
}

/* -- Damage ------------------------------------------------------------------------------------------------------- */

TEST(damaged_files_get_a_verdict)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = everything(context);
    struct ssld_map map;
    char folder[64], path[96];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    CHECK_OK(context, ssld_onnx_write(graph, path));
    CHECK_OK(context, ssld_map_open(context, path, &map));
    struct bytes model = { (uint8_t *)(uintptr_t)map.bytes, map.size };
    int read = read_damaged(&model, 20000);
    /* Names and weights may be damaged without harm, structure may not. */
    CHECK(read > 200 && read < 10000, "%d of 20000 were read", read);
    ssld_map_close(&map);
    ssld_graph_destroy(graph);
    unlink(path);
    rmdir(folder);
    ssld_context_destroy(context);
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

TEST(every_allocation_may_fail)
{
    ssld_context *plenty = make_context();
    struct ssld_graph *graph = everything(plenty);
    struct ssld_map map;
    char folder[64], path[96], copy[96];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    snprintf(copy, sizeof copy, "%s/copy.onnx", folder);
    CHECK_OK(plenty, ssld_onnx_write(graph, path));
    CHECK_OK(plenty, ssld_map_open(plenty, path, &map));
    for (int allowed = 1;; allowed++) {
        int left = allowed;
        ssld_context *context = NULL;
        ssld_context_options options;
        struct ssld_graph *read = NULL;
        ssld_context_options_init(&options, sizeof options);
        options.allocator = test_allocator(&left);
        CHECK_OK(NULL, ssld_context_create(&options, &context));
        ssld_status status = ssld_onnx_read(context, map.bytes, map.size, "model.onnx", 6, 6, &read);
        CHECK((status == SSLD_OK) == (read != NULL), "allocation %d: a graph or a failure, not both", allowed);
        if (!status)
            status = ssld_onnx_write(read, copy);
        CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "allocation %d: %s", allowed, ssld_status_name(status));
        CHECK((status == SSLD_OK) == (access(copy, F_OK) == 0), "allocation %d: half a file", allowed);
        ssld_graph_destroy(read);
        ssld_context_destroy(context);
        if (status == SSLD_OK)
            break;
    }
    ssld_map_close(&map);
    ssld_graph_destroy(graph);
    unlink(path);
    unlink(copy);
    CHECK(rmdir(folder) == 0, "something was left in %s", folder);
    ssld_context_destroy(plenty);
}

TEST_MAIN(TEST_ROW(every_operator_written_and_read_is_the_same_node_and_the_same_bytes),
          TEST_ROW(activations_inside_other_nodes_are_written_behind_them), TEST_ROW(every_spelling_is_read_as_what_it_means),
          TEST_ROW(channels_and_numbers_arrive_where_they_belong), TEST_ROW(every_file_that_cannot_be_read_is_refused_by_name),
          TEST_ROW(damaged_files_get_a_verdict), TEST_ROW(every_allocation_may_fail))
