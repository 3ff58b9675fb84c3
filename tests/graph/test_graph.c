/* SPDX-License-Identifier: BSD-2-Clause */
/* Graphs: shape rules, and passes that change nothing but speed. */
#include "graphs.h"
#include "reference.h"

/* An empty graph with an input of (1, channels, height, width). */
static struct ssld_graph *make_graph(ssld_context *context, int64_t channels, int64_t height, int64_t width)
{
    struct ssld_graph *graph = NULL;
    CHECK_OK(context, ssld_graph_create(context, "test", &graph));
    CHECK_OK(context, ssld_graph_add_value(graph, "x", SSLD_VALUE_ACTIVATION, 4, (int64_t[]){ 1, channels, height, width }, NULL,
                                           &graph->input));
    return graph;
}

/* A constant of small numbers that differ: its elements draw from Philox, uniform in -1/2 .. 1/2, or 1/2 .. 1 1/2. */
static int32_t add_constant(struct ssld_graph *graph, const char *name, int32_t role, int32_t ndims, const int64_t *dims)
{
    int32_t value;
    CHECK_OK(graph->context, ssld_graph_add_value(graph, name, role, ndims, dims, NULL, &value));
    struct ssld_stream stream = ssld_stream_start(7, (uint64_t)value, 0, 0);
    for (int64_t i = 0; i < ssld_value_elements(&graph->values[value]); i++)
        graph->values[value].data[i] = (float)(ssld_stream_uniform(&stream) + (strstr(name, "positive") ? 0.5 : -0.5));
    return value;
}

static int32_t add_node(struct ssld_graph *graph, int32_t kind, int32_t count, const int32_t *inputs,
                        const struct ssld_attributes *attributes)
{
    int32_t output;
    CHECK_OK(graph->context, ssld_graph_add_node(graph, kind, NULL, count, inputs, attributes, NULL, &output));
    return output;
}

static int32_t add_unary(struct ssld_graph *graph, int32_t kind, int32_t src)
{
    return add_node(graph, kind, 1, &src, NULL);
}

static int32_t add_conv(struct ssld_graph *graph, int32_t src, int32_t weights)
{
    return add_node(graph, SSLD_OP_CONV, 2, (int32_t[]){ src, weights }, NULL);
}

static int32_t add_batch_norm(struct ssld_graph *graph, int32_t src)
{
    int64_t channels = graph->values[src].dims[1];
    int32_t inputs[5] = { src, add_constant(graph, "scale", SSLD_VALUE_PARAMETER, 1, &channels),
                          add_constant(graph, "shift", SSLD_VALUE_PARAMETER, 1, &channels),
                          add_constant(graph, "mean", SSLD_VALUE_BUFFER, 1, &channels),
                          add_constant(graph, "positive variance", SSLD_VALUE_BUFFER, 1, &channels) };
    return add_node(graph, SSLD_OP_BATCH_NORM, 5, inputs, NULL);
}

/* -- Shapes ------------------------------------------------------------------------------------------------------- */

/* One axis (height); the other is the same. `same`: auto_pad 'U'pper or 'L'ower. Expected: output and resolved pads. */
static const struct {
    int32_t kind;
    int64_t in;
    int32_t kernel, stride, dilation, head, tail, ceil;
    char    same;
    int64_t out;
    int32_t new_head, new_tail;
} windows[] = {
    { SSLD_OP_CONV, 224, 3, 2, 1, 1, 1, 0, 0, 112, 1, 1 },
    { SSLD_OP_CONV, 7, 3, 2, 1, 1, 1, 0, 0, 4, 1, 1 },
    { SSLD_OP_CONV, 7, 3, 2, 1, 0, 0, 0, 0, 3, 0, 0 },
    { SSLD_OP_CONV, 9, 3, 1, 2, 0, 0, 0, 0, 5, 0, 0 },
    { SSLD_OP_CONV, 5, 5, 1, 1, 2, 2, 0, 0, 5, 2, 2 },
    { SSLD_OP_CONV, 6, 3, 2, 1, 0, 0, 0, 'U', 3, 0, 1 },
    { SSLD_OP_CONV, 6, 3, 2, 1, 0, 0, 0, 'L', 3, 1, 0 },
    { SSLD_OP_CONV, 7, 4, 2, 1, 0, 0, 0, 'U', 4, 1, 2 },
    { SSLD_OP_CONV, 7, 4, 2, 1, 0, 0, 0, 'L', 4, 2, 1 },
    { SSLD_OP_CONV, 7, 3, 1, 3, 0, 0, 0, 'U', 7, 3, 3 },
    { SSLD_OP_CONV, 8, 1, 2, 1, 0, 0, 0, 'U', 4, 0, 0 }, /* no pads below zero */
    { SSLD_OP_MAX_POOL, 112, 3, 2, 1, 1, 1, 0, 0, 56, 1, 1 },
    { SSLD_OP_MAX_POOL, 111, 3, 2, 1, 1, 1, 1, 0, 56, 1, 1 },
    { SSLD_OP_MAX_POOL, 112, 3, 2, 1, 0, 0, 1, 0, 56, 0, 1 },
    { SSLD_OP_MAX_POOL, 7, 2, 2, 1, 0, 0, 0, 0, 3, 0, 0 },
    { SSLD_OP_MAX_POOL, 7, 2, 2, 1, 0, 0, 1, 0, 4, 0, 1 },
    { SSLD_OP_MAX_POOL, 5, 2, 2, 1, 1, 1, 1, 0, 3, 1, 1 }, /* a fourth window would see pads only */
    { SSLD_OP_MAX_POOL, 6, 3, 4, 1, 0, 0, 1, 0, 2, 0, 1 },
    { SSLD_OP_MAX_POOL, 5, 2, 5, 1, 0, 0, 1, 0, 1, 0, 0 },
    { SSLD_OP_AVERAGE_POOL, 7, 2, 2, 1, 0, 0, 1, 0, 4, 0, 1 },
    { SSLD_OP_AVERAGE_POOL, 8, 2, 2, 1, 0, 0, 1, 0, 4, 0, 0 },
    { SSLD_OP_AVERAGE_POOL, 1, 2, 2, 1, 0, 0, 0, 'U', 1, 0, 1 },
};

TEST(windows_have_the_sizes_and_pads_of_onnx)
{
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        struct ssld_graph *graph = make_graph(context, 2, windows[i].in, windows[i].in);
        struct ssld_attributes attributes = ssld_op_defaults(windows[i].kind);
        struct ssld_window *window = &attributes.window;
        for (int axis = 0; axis < 2; axis++) {
            window->kernel[axis] = windows[i].kernel;
            window->strides[axis] = windows[i].stride;
            window->dilations[axis] = windows[i].dilation;
            window->pads[axis] = windows[i].head;
            window->pads[axis + 2] = windows[i].tail;
        }
        attributes.ceil_mode = windows[i].ceil;
        if (windows[i].same)
            ssld_window_pad_same(window, graph->values[graph->input].dims + 2, windows[i].same == 'U');
        int32_t inputs[2] = { graph->input, SSLD_NO_VALUE }, count = 1;
        if (windows[i].kind == SSLD_OP_CONV) {
            inputs[1] = add_constant(graph, "w", SSLD_VALUE_PARAMETER, 4,
                                     (int64_t[]){ 3, 2, windows[i].kernel, windows[i].kernel });
            count = 2;
        }
        const struct ssld_value *out = &graph->values[add_node(graph, windows[i].kind, count, inputs, &attributes)];
        const struct ssld_attributes *resolved = &graph->nodes[0].attributes;
        CHECK(out->dims[2] == windows[i].out && out->dims[3] == windows[i].out, "row %zu: %lld x %lld", i,
              (long long)out->dims[2], (long long)out->dims[3]);
        CHECK(resolved->window.pads[0] == windows[i].new_head && resolved->window.pads[3] == windows[i].new_tail &&
                  !resolved->ceil_mode, "row %zu: pads %d, %d", i, resolved->window.pads[0], resolved->window.pads[3]);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* The mean at the corner of 3 x 3 pixels under 2 x 2 windows with ceil_mode is the one pixel there, however pads are counted. */
TEST(cells_of_ceil_mode_are_never_counted)
{
    ssld_context *context = make_context();
    for (int include = 0; include < 2; include++) {
        struct ssld_graph *graph = make_graph(context, 1, 3, 3);
        struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_AVERAGE_POOL);
        attributes.window.kernel[0] = attributes.window.kernel[1] = 2;
        attributes.window.strides[0] = attributes.window.strides[1] = 2;
        attributes.ceil_mode = 1;
        attributes.count_include_pad = include;
        graph->output = add_node(graph, SSLD_OP_AVERAGE_POOL, 1, &graph->input, &attributes);
        static const float pixels[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
        struct reference run = reference_run(graph, 1, pixels, false);
        const double *means = run.values[graph->output];
        CHECK(means[0] == 3 && means[1] == 4.5 && means[2] == 7.5 && means[3] == 9, "%g %g %g %g", means[0], means[1], means[2],
              means[3]);
        reference_free(&run);
        ssld_graph_destroy(graph);
    }
    /* Both kinds of pads in one average cannot be told apart later. */
    struct ssld_graph *graph = make_graph(context, 1, 4, 4);
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_AVERAGE_POOL);
    attributes.window = (struct ssld_window){ { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 } };
    attributes.ceil_mode = attributes.count_include_pad = 1;
    int32_t output;
    CHECK_STATUS(context, ssld_graph_add_node(graph, SSLD_OP_AVERAGE_POOL, "both", 1, &graph->input, &attributes, NULL, &output),
                 SSLD_UNSUPPORTED);
    CHECK_TEXT(context, "node 'both'");
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* Every input that does not fit is refused by name, and the graph is as it was. */
TEST(misfits_are_refused_by_name)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = make_graph(context, 4, 5, 5);
    int32_t w = add_constant(graph, "w", SSLD_VALUE_PARAMETER, 4, (int64_t[]){ 6, 2, 3, 3 });
    int32_t large = add_constant(graph, "large", SSLD_VALUE_PARAMETER, 4, (int64_t[]){ 1, 4, 9, 9 });
    int32_t fit = add_constant(graph, "fit", SSLD_VALUE_PARAMETER, 4, (int64_t[]){ 6, 4, 3, 3 });
    int32_t vector = add_constant(graph, "vector", SSLD_VALUE_PARAMETER, 1, (int64_t[]){ 5 });
    int32_t matrix = add_constant(graph, "matrix", SSLD_VALUE_PARAMETER, 2, (int64_t[]){ 3, 7 });
    int32_t pooled = add_unary(graph, SSLD_OP_GLOBAL_AVERAGE_POOL, graph->input), flat = add_unary(graph, SSLD_OP_FLATTEN, pooled);
    int32_t x = graph->input;
    struct ssld_attributes three_groups = ssld_op_defaults(SSLD_OP_CONV), other_kernel = three_groups, no_stride = three_groups,
                           padded = ssld_op_defaults(SSLD_OP_MAX_POOL), clip = ssld_op_defaults(SSLD_OP_CLIP),
                           dropout = ssld_op_defaults(SSLD_OP_DROPOUT), huge = three_groups,
                           before = ssld_op_defaults(SSLD_OP_SLICE), empty = before, behind = before;
    three_groups.group = 3;
    other_kernel.window.kernel[0] = 5;
    no_stride.window.strides[1] = 0;
    padded.window = (struct ssld_window){ { 2, 2 }, { 1, 1 }, { 1, 1 }, { 2, 0, 0, 0 } };
    clip.alpha = 1;
    clip.beta = 0;
    dropout.ratio = 1;
    huge.window.pads[0] = huge.window.pads[1] = 1 << 20;
    before.begin = -1;
    before.end = empty.begin = empty.end = 2;
    behind.end = 5;
    const struct {
        int32_t kind, count, inputs[3];
        const struct ssld_attributes *attributes;
        const char *text;
    } cases[] = {
        { SSLD_OP_CONV, 2, { x, w }, NULL, "channels" },
        { SSLD_OP_CONV, 2, { x, w }, &three_groups, "3 groups" },
        { SSLD_OP_CONV, 2, { x, large }, NULL, "give a larger image" },
        { SSLD_OP_CONV, 2, { x, fit }, &other_kernel, "kernel_shape says 5" },
        { SSLD_OP_CONV, 2, { x, fit }, &no_stride, "stride 0" },
        { SSLD_OP_CONV, 2, { x, fit }, &huge, "at most 2^31 - 1 elements" },
        { SSLD_OP_CONV, 3, { x, fit, vector }, NULL, "'vector'" },
        { SSLD_OP_CONV, 2, { x, x }, NULL, "constant (O, I, KH, KW)" },
        { SSLD_OP_CONV, 1, { x }, NULL, "1 inputs" },
        { SSLD_OP_CONV, 2, { fit, fit }, NULL, "first input is a constant" },
        { SSLD_OP_CONV, 2, { x, 999 }, NULL, "input 1 is missing" },
        { SSLD_OP_CONV, 2, { flat, fit }, NULL, "(N, C, H, W)" },
        { SSLD_OP_MAX_POOL, 1, { x }, NULL, "kernel 0" },
        { SSLD_OP_MAX_POOL, 1, { x }, &padded, "outside the image" },
        { SSLD_OP_ADD, 2, { x, pooled }, NULL, "one shape" },
        { SSLD_OP_MUL, 2, { flat, x }, NULL, "for each channel" },
        { SSLD_OP_MUL, 2, { x, vector }, NULL, "'vector'" },
        { SSLD_OP_GEMM, 2, { flat, matrix }, NULL, "(K, 4)" },
        { SSLD_OP_GEMM, 2, { x, matrix }, NULL, "(N, F)" },
        { SSLD_OP_CLIP, 1, { x }, &clip, "clips to 1 .. 0" },
        { SSLD_OP_DROPOUT, 1, { x }, &dropout, "ratio 1" },
        { SSLD_OP_GLOBAL_AVERAGE_POOL, 1, { flat }, NULL, "(N, C, H, W)" },
        { SSLD_OP_PRELU, 2, { x, vector }, NULL, "'vector' are not a constant vector of 1 or 4" },
        { SSLD_OP_PRELU, 2, { x, pooled }, NULL, "constant vector" },
        { SSLD_OP_LAYER_NORM, 2, { x, vector }, NULL, "'vector' is not a constant vector of 4" },
        { SSLD_OP_LAYER_NORM, 1, { x }, NULL, "1 inputs" },
        { SSLD_OP_CONCAT, 2, { x, pooled }, NULL, "more than their channels" },
        { SSLD_OP_CONCAT, 2, { pooled, flat }, NULL, "more than their channels" },
        { SSLD_OP_CONCAT, 2, { x, fit }, NULL, "'fit' is a constant" },
        { SSLD_OP_SLICE, 1, { x }, &before, "channels -1 to 2 of 4" },
        { SSLD_OP_SLICE, 1, { x }, &empty, "channels 2 to 2 of 4" },
        { SSLD_OP_SLICE, 1, { x }, &behind, "channels 0 to 5 of 4" },
    };
    int32_t values = graph->value_count, nodes = graph->node_count;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int32_t output = -7;
        CHECK_STATUS(context, ssld_graph_add_node(graph, cases[i].kind, i == 5 ? NULL : "the node", cases[i].count,
                                                  cases[i].inputs, cases[i].attributes, NULL, &output), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, cases[i].text);
        if (i != 5)
            CHECK_TEXT(context, "the node");
        CHECK(graph->value_count == values && graph->node_count == nodes && output == -7, "case %zu changed the graph", i);
    }
    int32_t value;
    CHECK_STATUS(context, ssld_graph_add_value(graph, "v", SSLD_VALUE_PARAMETER, 2, (int64_t[]){ 1 << 20, 1 << 20 }, NULL, &value),
                 SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context, ssld_graph_add_value(graph, "v", SSLD_VALUE_PARAMETER, 1, (int64_t[]){ 0 }, NULL, &value),
                 SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context, ssld_graph_add_value(graph, "v", SSLD_VALUE_PARAMETER, 7, (int64_t[]){ 1, 1, 1, 1, 1, 1, 1 }, NULL, &value),
                 SSLD_INVALID_ARGUMENT);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* Attributes that may come from a file: each of these is refused by name. */
TEST(general_operators_refuse_what_does_not_fit)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = make_graph(context, 4, 5, 6);
    int32_t x = graph->input, output;
    int32_t column = add_constant(graph, "column", SSLD_VALUE_PARAMETER, 3, (int64_t[]){ 3, 1, 1 });
    int32_t matrix = add_constant(graph, "matrix", SSLD_VALUE_PARAMETER, 2, (int64_t[]){ 7, 2 });
    int32_t far = add_constant(graph, "far", SSLD_VALUE_BUFFER, 1, (int64_t[]){ 2 });
    graph->values[far].data[1] = 4;
    static const struct ssld_attributes good = { .group = 1, .size = 1, .scales = { 1, 1 }, .rank = 4, .axis = 1,
                                                 .perm = { 0, 1, 2, 3 }, .sizes = { 1, 4, 5, 6 }, .steps = { 1, 1, 1, 1 } };
    struct ssld_attributes function = good, perm = good, sizes = good, rank = good, steps = good, behind = good, pads = good,
                           reflect = good, repeats = good, mode = good, scale = good, group = good, axis = good, size = good;
    function.function = 99;
    perm.perm[1] = 0;
    sizes.sizes[3] = 7;
    rank.rank = 7;
    steps.steps[2] = 0;
    behind.starts[3] = 1;
    pads.before[2] = -1;
    reflect.mode = SSLD_PAD_REFLECT;
    reflect.after[2] = 5;
    repeats.sizes[0] = 0;
    mode.mode = 9;
    scale.scales[1] = 0;
    group.group = 3;
    axis.axis = 4;
    size.size = 0;
    const struct {
        int32_t kind, count, inputs[3];
        const struct ssld_attributes *attributes;
        const char *text;
    } cases[] = {
        { SSLD_OP_UNARY, 1, { x }, &function, "no function 99" },
        { SSLD_OP_BINARY, 2, { x, x }, &function, "no function 99" },
        { SSLD_OP_BINARY, 2, { x, column }, &good, "'column' does not suit" },
        { SSLD_OP_BINARY, 2, { column, column }, &good, "is a constant" },
        { SSLD_OP_WHERE, 3, { x, column, x }, &good, "'column' does not suit" },
        { SSLD_OP_MATMUL, 2, { x, matrix }, &good, "6 columns, 7 rows" },
        { SSLD_OP_SOFTMAX, 1, { x }, &axis, "axis 4 of 4" },
        { SSLD_OP_LAYER_NORM, 2, { x, far }, &good, "constant vector of 4" },
        { SSLD_OP_REDUCE, 1, { x }, &function, "no function 99" },
        { SSLD_OP_TRANSPOSE, 1, { x }, &perm, "perm[1] is 0" },
        { SSLD_OP_RESHAPE, 1, { x }, &sizes, "120 elements for an image, the new shape 140" },
        { SSLD_OP_RESHAPE, 1, { x }, &rank, "7 axes" },
        { SSLD_OP_JOIN, 2, { x, column }, &good, "more than axis 1" },
        { SSLD_OP_STRIDED_SLICE, 1, { x }, &steps, "axis 2" },
        { SSLD_OP_STRIDED_SLICE, 1, { x }, &behind, "6 elements from 1 on" },
        { SSLD_OP_GATHER, 2, { x, far }, &good, "index " },
        { SSLD_OP_PAD, 1, { x }, &pads, "pads -1 and 0" },
        { SSLD_OP_PAD, 1, { x }, &reflect, "more than 5 elements" },
        { SSLD_OP_PAD, 1, { x }, &mode, "no mode 9" },
        { SSLD_OP_TILE, 1, { x }, &repeats, "repeated 0 times" },
        { SSLD_OP_RESIZE, 1, { x }, &mode, "no mode 9" },
        { SSLD_OP_RESIZE, 1, { x }, &scale, "scale of 0" },
        { SSLD_OP_LRN, 1, { x }, &size, "sum of 0 channels" },
        { SSLD_OP_GROUP_NORM, 3, { x, far, far }, &group, "4 channels in 3 groups" },
    };
    int32_t values = graph->value_count;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_STATUS(context, ssld_graph_add_node(graph, cases[i].kind, "the node", cases[i].count, cases[i].inputs,
                                                  cases[i].attributes, NULL, &output), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, cases[i].text);
        CHECK_TEXT(context, "the node");
        CHECK(graph->value_count == values, "case %zu changed the graph", i);
    }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(graph_that_reads_what_is_not_made_is_refused)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = make_graph(context, 4, 5, 5);
    CHECK_STATUS(context, ssld_graph_check(graph), SSLD_INTERNAL); /* no output yet */
    int32_t first = add_unary(graph, SSLD_OP_RELU, graph->input);
    graph->output = add_unary(graph, SSLD_OP_SIGMOID, first);
    CHECK_OK(context, ssld_graph_check(graph));
    struct ssld_node swapped = graph->nodes[0];
    graph->nodes[0] = graph->nodes[1];
    graph->nodes[1] = swapped;
    CHECK_STATUS(context, ssld_graph_check(graph), SSLD_INTERNAL);
    CHECK_TEXT(context, "before it is made");
    graph->nodes[0].inputs[0] = graph->input;
    graph->nodes[1].output = graph->output;
    CHECK_STATUS(context, ssld_graph_check(graph), SSLD_INTERNAL);
    CHECK_TEXT(context, "already there");
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* -- Passes ------------------------------------------------------------------------------------------------------- */

/* Batch norm that does something: every vector of the graph between 1/2 and 1 1/2. */
static void stir_batch_norm(struct ssld_graph *graph)
{
    for (int32_t i = 0; i < graph->value_count; i++) {
        struct ssld_value *value = &graph->values[i];
        if (!value->data || value->ndims != 1)
            continue;
        struct ssld_stream stream = ssld_stream_start(3, (uint64_t)i, 0, 0);
        for (int64_t e = 0; e < value->dims[0]; e++)
            value->data[e] = (float)(0.5 + ssld_stream_uniform(&stream));
    }
}

TEST(folded_and_fused_networks_give_the_same_logits)
{
    static const char *const names[] = { "PPLCNet_x0_25", "ResNet18" };
    ssld_context *context = make_context();
    for (size_t i = 0; i < 2; i++) {
        struct ssld_graph *graph = make_zoo(context, names[i], 10, i ? 8 : 20, true), *copy = NULL;
        stir_batch_norm(graph);
        CHECK_OK(context, ssld_graph_clone(graph, &copy));
        CHECK_OK(context, ssld_graph_fold_batch_norm(copy));
        CHECK_OK(context, ssld_graph_fuse_activations(copy, false));
        CHECK_OK(context, ssld_graph_drop_training_nodes(copy));
        CHECK_OK(context, ssld_graph_check(copy));
        CHECK(count_kind(copy, SSLD_OP_BATCH_NORM) == 0 && count_kind(copy, SSLD_OP_DROPOUT) == 0 &&
                  count_kind(copy, SSLD_OP_HARD_SWISH) == 0 && count_kind(copy, SSLD_OP_RELU) == 0 &&
                  count_role(copy, SSLD_VALUE_BUFFER) == 0, "%s: %d nodes are left", names[i], copy->node_count);
        float *pixels = make_pixels(graph, 2);
        struct reference before = reference_run(graph, 2, pixels, false), after = reference_run(copy, 2, pixels, false);
        double difference = reference_difference(before.values[graph->output], after.values[copy->output], 20);
        /* Folded weights are rounded to float once, 2^-24 = 6e-8 each; over some thirty layers errors add up at random. */
        CHECK(difference < 2e-6, "%s: relative difference %g", names[i], difference);
        reference_free(&before);
        reference_free(&after);
        free(pixels);
        ssld_graph_destroy(copy);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* conv -> norm and a second convolution with the same weights: folding must not change what the second one sees. */
TEST(folding_leaves_shared_weights_and_shared_outputs_alone)
{
    ssld_context *context = make_context();
    for (int shared_output = 0; shared_output < 2; shared_output++) {
        struct ssld_graph *graph = make_graph(context, 3, 4, 4), *copy = NULL;
        int32_t w = add_constant(graph, "w", SSLD_VALUE_PARAMETER, 4, (int64_t[]){ 3, 3, 1, 1 });
        int32_t first = add_conv(graph, graph->input, w);
        int32_t second = shared_output ? first : add_conv(graph, graph->input, w);
        int32_t sum = add_node(graph, SSLD_OP_ADD, 2, (int32_t[]){ add_batch_norm(graph, first), second }, NULL);
        graph->output = add_unary(graph, SSLD_OP_FLATTEN, sum);
        CHECK_OK(context, ssld_graph_clone(graph, &copy));
        CHECK_OK(context, ssld_graph_fold_batch_norm(copy));
        CHECK_OK(context, ssld_graph_check(copy));
        CHECK(count_kind(copy, SSLD_OP_BATCH_NORM) == shared_output, "%d batch norms", count_kind(copy, SSLD_OP_BATCH_NORM));
        float *pixels = make_pixels(graph, 1);
        struct reference before = reference_run(graph, 1, pixels, false), after = reference_run(copy, 1, pixels, false);
        double difference = reference_difference(before.values[graph->output], after.values[copy->output], 48);
        CHECK(difference < 1e-6, "relative difference %g", difference); /* one rounding to float */
        reference_free(&before);
        reference_free(&after);
        free(pixels);
        ssld_graph_destroy(copy);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

TEST(fusing_for_training_keeps_what_backward_needs)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = make_zoo(context, "ResNet18", 10, 32, true), *lcnet = make_zoo(context, "PPLCNet_x0_25", 10, 32, true);
    CHECK_OK(context, ssld_graph_fuse_activations(graph, true));
    CHECK_OK(context, ssld_graph_fuse_activations(lcnet, true));
    CHECK_OK(context, ssld_graph_check(graph));
    CHECK(count_kind(graph, SSLD_OP_RELU) == 0, "%d relus are left: all stand behind batch norm or a sum",
          count_kind(graph, SSLD_OP_RELU));
    /* Behind last_conv and in squeeze-and-excitation, activations stand behind convolutions, whose output backward needs. */
    CHECK(count_kind(lcnet, SSLD_OP_HARD_SWISH) == 1 && count_kind(lcnet, SSLD_OP_RELU) == 2 &&
              count_kind(lcnet, SSLD_OP_HARD_SIGMOID) == 2, "%d hard swishes", count_kind(lcnet, SSLD_OP_HARD_SWISH));
    for (int32_t n = 0; n < lcnet->node_count; n++)
        CHECK(lcnet->nodes[n].kind == SSLD_OP_BATCH_NORM || lcnet->nodes[n].activation.kind == SSLD_OP_IDENTITY, "'%s' is fused",
              lcnet->nodes[n].name);
    ssld_graph_destroy(graph);
    ssld_graph_destroy(lcnet);
    ssld_context_destroy(context);
}

TEST(hard_swish_is_recognised_only_where_it_is_one)
{
    ssld_context *context = make_context();
    static const struct {
        float alpha;
        bool  gate_first, other, joins;
    } cases[] = { { 1.0f / 6.0f, false, false, true }, { 1.0f / 6.0f, true, false, true }, { 0.2f, false, false, false },
                  { 1.0f / 6.0f, false, true, false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ssld_graph *graph = make_graph(context, 3, 4, 4);
        struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_HARD_SIGMOID);
        attributes.alpha = cases[i].alpha;
        int32_t x = add_unary(graph, SSLD_OP_SIGMOID, graph->input);
        int32_t gate = add_node(graph, SSLD_OP_HARD_SIGMOID, 1, &x, &attributes);
        int32_t with = cases[i].other ? graph->input : x;
        graph->output = add_node(graph, SSLD_OP_MUL, 2,
                                 (int32_t[]){ cases[i].gate_first ? gate : with, cases[i].gate_first ? with : gate }, NULL);
        float *pixels = make_pixels(graph, 1);
        struct reference before = reference_run(graph, 1, pixels, false);
        double first = before.values[graph->output][0];
        reference_free(&before);
        CHECK_OK(context, ssld_graph_join_gates(graph));
        CHECK_OK(context, ssld_graph_check(graph));
        CHECK(count_kind(graph, SSLD_OP_HARD_SWISH) == cases[i].joins && count_kind(graph, SSLD_OP_MUL) == !cases[i].joins,
              "case %zu", i);
        struct reference after = reference_run(graph, 1, pixels, false);
        /* alpha is 1/6 rounded to float in one form and exact in the other. */
        CHECK(fabs(after.values[graph->output][0] - first) < 1e-7, "%g, not %g", after.values[graph->output][0], first);
        reference_free(&after);
        free(pixels);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* x * sigmoid(y): SiLU where y is x, GELU by tanh where y is 2 sqrt(2 / pi) (x + 0.044715 x^3), else a product as before. */
TEST(gates_become_silu_and_gelu_only_where_they_are)
{
    ssld_context *context = make_context();
    static const struct {
        int   form; /* 0: y = x; 1: the cubic; 2: y = another value; 3: the gate has a second reader */
        float slope, small;
        int   kind;
    } cases[] = { { 0, 0, 0, SSLD_OP_SILU },
                  { 1, 1.59576912f, 0.044715f, SSLD_OP_GELU_TANH },
                  { 1, 1.6f, 0.044715f, SSLD_OP_MUL },
                  { 1, 1.59576912f, 0.05f, SSLD_OP_MUL },
                  { 2, 0, 0, SSLD_OP_MUL },
                  { 3, 0, 0, SSLD_OP_MUL } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ssld_graph *graph = make_graph(context, 3, 4, 4);
        struct ssld_attributes slope = ssld_op_defaults(SSLD_OP_SCALE), small = slope;
        slope.scale = cases[i].slope;
        small.scale = cases[i].small;
        int32_t x = add_unary(graph, SSLD_OP_TANH, graph->input), y = cases[i].form == 2 ? graph->input : x;
        if (cases[i].form == 1) {
            y = add_node(graph, SSLD_OP_MUL, 2, (int32_t[]){ x, x }, NULL);
            y = add_node(graph, SSLD_OP_MUL, 2, (int32_t[]){ x, y }, NULL);
            y = add_node(graph, SSLD_OP_SCALE, 1, &y, &small);
            y = add_node(graph, SSLD_OP_ADD, 2, (int32_t[]){ y, x }, NULL);
            y = add_node(graph, SSLD_OP_SCALE, 1, &y, &slope);
        }
        int32_t gate = add_unary(graph, SSLD_OP_SIGMOID, y);
        graph->output = add_node(graph, SSLD_OP_MUL, 2, (int32_t[]){ gate, x }, NULL);
        if (cases[i].form == 3)
            graph->output = add_node(graph, SSLD_OP_ADD, 2, (int32_t[]){ graph->output, gate }, NULL);
        float *pixels = make_pixels(graph, 1);
        struct reference before = reference_run(graph, 1, pixels, false);
        double first = before.values[graph->output][0];
        reference_free(&before);
        int32_t nodes = graph->node_count;
        CHECK_OK(context, ssld_graph_join_gates(graph));
        CHECK_OK(context, ssld_graph_check(graph));
        CHECK(count_kind(graph, cases[i].kind) >= 1 && (graph->node_count == nodes) == (cases[i].kind == SSLD_OP_MUL) &&
                  (cases[i].kind == SSLD_OP_MUL || graph->node_count == 2), "case %zu: %d nodes", i, graph->node_count);
        struct reference after = reference_run(graph, 1, pixels, false);
        /* Two constants are rounded to float in one form and exact in the other. */
        CHECK(fabs(after.values[graph->output][0] - first) < 1e-7, "%g, not %g", after.values[graph->output][0], first);
        reference_free(&after);
        free(pixels);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

TEST(channels_are_counted_through_concat_and_slice_and_factors_come_second)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = make_graph(context, 6, 4, 5);
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_SLICE);
    attributes.begin = 2;
    attributes.end = 5;
    int32_t part = add_node(graph, SSLD_OP_SLICE, 1, &graph->input, &attributes);
    int32_t both = add_node(graph, SSLD_OP_CONCAT, 3, (int32_t[]){ graph->input, part, part }, NULL);
    CHECK(graph->values[part].dims[1] == 3 && graph->values[both].dims[1] == 12 && graph->values[both].dims[2] == 4 &&
              graph->values[both].dims[3] == 5, "%lld and %lld channels", (long long)graph->values[part].dims[1],
          (long long)graph->values[both].dims[1]);
    attributes.end = 3;
    int32_t factors[2] = { add_unary(graph, SSLD_OP_GLOBAL_AVERAGE_POOL, graph->input),
                           add_node(graph, SSLD_OP_SLICE, 1, &graph->input, &attributes) };
    for (int i = 0; i < 2; i++) {
        int32_t product = add_node(graph, SSLD_OP_MUL, 2, (int32_t[]){ factors[i], graph->input }, NULL);
        const struct ssld_node *node = &graph->nodes[graph->node_count - 1];
        CHECK(node->inputs[0] == graph->input && node->inputs[1] == factors[i] && graph->values[product].dims[1] == 6 &&
                  graph->values[product].dims[2] == 4, "factor %d comes first", i);
    }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(dropout_becomes_nothing_or_its_factor)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = make_graph(context, 3, 4, 4);
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_DROPOUT);
    int32_t x = add_node(graph, SSLD_OP_DROPOUT, 1, &graph->input, &attributes);
    x = add_unary(graph, SSLD_OP_IDENTITY, add_unary(graph, SSLD_OP_RELU, x));
    attributes.downscale_in_infer = 1;
    attributes.ratio = 0.25f;
    x = add_node(graph, SSLD_OP_DROPOUT, 1, &x, &attributes);
    graph->output = add_unary(graph, SSLD_OP_IDENTITY, x);
    CHECK_OK(context, ssld_graph_drop_training_nodes(graph));
    CHECK_OK(context, ssld_graph_check(graph));
    CHECK(graph->node_count == 2 && graph->nodes[0].kind == SSLD_OP_RELU && graph->nodes[1].kind == SSLD_OP_SCALE &&
              graph->nodes[1].attributes.scale == 0.75f && graph->nodes[1].output == graph->output, "%d nodes are left",
          graph->node_count);
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(clone_is_equal_and_apart)
{
    ssld_context *context = make_context();
    struct ssld_graph *graph = make_zoo(context, "PPLCNet_x0_25", 10, 32, true), *copy = NULL;
    CHECK_OK(context, ssld_graph_clone(graph, &copy));
    CHECK_OK(context, ssld_graph_check(copy));
    uint64_t sum = weights_checksum(graph);
    CHECK(sum == weights_checksum(copy) && copy->node_count == graph->node_count && copy->output == graph->output &&
              !strcmp(copy->name, graph->name), "the copy differs");
    for (int32_t i = 0; i < graph->value_count; i++)
        CHECK(copy->values[i].no_decay == graph->values[i].no_decay, "no_decay of %s", graph->values[i].name);
    ssld_graph_destroy(graph);
    CHECK(sum == weights_checksum(copy), "the copy went with the original");
    ssld_graph_destroy(copy);
    ssld_context_destroy(context);
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

/* A small network through everything: built, cloned, folded, fused, trimmed. */
static ssld_status whole_life(ssld_context *context)
{
    struct ssld_zoo_options options = { 1, 1, 8, 8, true, -1, 1 };
    struct ssld_graph *graph = NULL, *copy = NULL;
    ssld_status status = ssld_zoo_build(context, "PPLCNet_x0_25", &options, &graph);
    if (!status)
        status = ssld_graph_clone(graph, &copy);
    if (!status)
        status = ssld_graph_join_gates(copy);
    if (!status)
        status = ssld_graph_fold_batch_norm(copy);
    if (!status)
        status = ssld_graph_fuse_activations(copy, false);
    if (!status)
        status = ssld_graph_drop_training_nodes(copy);
    if (!status)
        status = ssld_graph_check(copy);
    ssld_graph_destroy(graph);
    ssld_graph_destroy(copy);
    return status;
}

TEST(every_allocation_may_fail)
{
    for (int allowed = 1;; allowed++) {
        int left = allowed;
        ssld_context *context = NULL;
        ssld_context_options options;
        ssld_context_options_init(&options, sizeof options);
        options.allocator = test_allocator(&left);
        CHECK_OK(NULL, ssld_context_create(&options, &context));
        ssld_status status = whole_life(context);
        CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "allocation %d: status %d", allowed, status);
        ssld_context_destroy(context);
        if (status == SSLD_OK)
            break;
    }
}

TEST_MAIN(TEST_ROW(windows_have_the_sizes_and_pads_of_onnx),
          TEST_ROW(cells_of_ceil_mode_are_never_counted), TEST_ROW(misfits_are_refused_by_name),
          TEST_ROW(general_operators_refuse_what_does_not_fit),
          TEST_ROW(graph_that_reads_what_is_not_made_is_refused), TEST_ROW(folded_and_fused_networks_give_the_same_logits),
          TEST_ROW(folding_leaves_shared_weights_and_shared_outputs_alone),
          TEST_ROW(fusing_for_training_keeps_what_backward_needs), TEST_ROW(hard_swish_is_recognised_only_where_it_is_one),
          TEST_ROW(gates_become_silu_and_gelu_only_where_they_are),
          TEST_ROW(channels_are_counted_through_concat_and_slice_and_factors_come_second),
          TEST_ROW(dropout_becomes_nothing_or_its_factor), TEST_ROW(clone_is_equal_and_apart),
          TEST_ROW(every_allocation_may_fail))
