/* SPDX-License-Identifier: BSD-2-Clause */
/* The zoo: sizes, names, starts and logits of its networks against PaddleClas's. Figures of "PaddleClas" without a
 * document were taken from its classes run in PaddlePaddle 3.3.1. */
#include "graphs.h"

#include <math.h>
#include <unistd.h>

#include "core/file.h"
#include "onnx/onnx.h"
#include "reference.h"

/* -- Sizes -------------------------------------------------------------------------------------------------------- */

/* With 1000 classes: parameters, buffers and multiply-accumulates at 224 x 224 and at 225 x 225 of PaddleClas's
 * classes; and what its model_list.md prints, in millions of operations and of parameters with buffers, each with a
 * unit of its last digit. It rounds some and cuts others off, so a unit is the tolerance (and 1 % of it: 341.85
 * became 341.86). 0: not documented. */
static const struct size {
    const char *name;
    int64_t     parameters, buffers, macs, macs_225;
    double      operations, operations_unit, all_parameters, all_parameters_unit;
} sizes[] = {
    { "PPLCNet_x0_25", 1521184, 2752, 16773440, 18366920, 18.25, 0.01, 1.52, 0.01 },
    { "PPLCNet_x0_35", 1643090, 3840, 27357832, 30207384, 29.46, 0.01, 1.65, 0.01 },
    { "PPLCNet_x0_5", 1879576, 5472, 44731008, 50158960, 47.28, 0.01, 1.89, 0.01 },
    { "PPLCNet_x0_75", 2357008, 8224, 94786496, 106462712, 98.82, 0.01, 2.37, 0.01 },
    { "PPLCNet_x1_0", 2952520, 10944, 155700480, 175837152, 160.81, 0.01, 2.96, 0.01 },
    { "PPLCNet_x1_5", 4499832, 16416, 334188416, 378314576, 341.86, 0.01, 4.52, 0.01 },
    { "PPLCNet_x2_0", 6521512, 21888, 580194816, 657591232, 590, 1, 6.54, 0.01 },
    { "PPLCNet_x2_5", 9017560, 27360, 893719680, 1013667120, 906.49, 0.01, 9.04, 0.01 },
    { "PPLCNetV2_small", 4128552, 23712, 283463168, 320189456, 0, 0, 0, 0 },
    { "PPLCNetV2_base", 6687208, 40832, 600072192, 680519872, 604, 1, 6.6, 0.1 },
    { "PPLCNetV2_large", 10542120, 62560, 1092344320, 1241755760, 0, 0, 0, 0 },
    { "MobileNetV1_x0_25", 470072, 5472, 41030272, 46069104, 43.56, 0.01, 0.48, 0.01 },
    { "MobileNetV1_x0_5", 1331592, 10944, 149497088, 168855520, 154.57, 0.01, 1.34, 0.01 },
    { "MobileNetV1_x0_75", 2585560, 16416, 325400448, 368359248, 333.00, 0.01, 2.60, 0.01 },
    { "MobileNetV1", 4231976, 21888, 568740352, 644580288, 578.88, 0.01, 4.25, 0.01 },
    { "MobileNetV2_x0_25", 1517392, 10464, 30480864, 34769928, 34.18, 0.01, 1.53, 0.01 },
    { "MobileNetV2_x0_5", 1965736, 18368, 92271040, 105359104, 99.48, 0.01, 1.98, 0.01 },
    { "MobileNetV2_x0_75", 2628592, 26272, 186650528, 213047528, 197.37, 0.01, 2.65, 0.01 },
    { "MobileNetV2", 3505960, 34176, 313619328, 357835200, 327.84, 0.01, 3.54, 0.01 },
    { "MobileNetV2_x1_5", 6852712, 51264, 681017664, 779009088, 702.35, 0.01, 6.90, 0.01 },
    { "MobileNetV2_x2_0", 11262312, 68352, 1188808448, 1361687168, 1217.25, 0.01, 11.33, 0.01 },
    { "MobileNetV3_small_x0_35", 1665954, 4272, 13161528, 14586656, 14.56, 0.01, 1.67, 0.01 },
    { "MobileNetV3_small_x0_5", 1902536, 6160, 20759280, 23461664, 22.60, 0.01, 1.91, 0.01 },
    { "MobileNetV3_small_x0_75", 2375106, 9232, 43048536, 48640600, 46.02, 0.01, 2.38, 0.01 },
    { "MobileNetV3_small_x1_0", 2939958, 12144, 60119520, 69046280, 63.67, 0.01, 2.95, 0.01 },
    { "MobileNetV3_small_x1_25", 3627370, 15280, 95364424, 109137520, 100.07, 0.01, 3.64, 0.01 },
    { "MobileNetV3_large_x0_35", 2104328, 8592, 37188872, 41593192, 40.90, 0.01, 2.11, 0.01 },
    { "MobileNetV3_large_x0_5", 2673422, 12368, 66704432, 75171344, 71.83, 0.01, 2.69, 0.01 },
    { "MobileNetV3_large_x0_75", 3912248, 18448, 143780440, 162161296, 151.70, 0.01, 3.93, 0.01 },
    { "MobileNetV3_large_x1_0", 5480206, 24432, 219799200, 250451720, 229.66, 0.01, 5.50, 0.01 },
    { "MobileNetV3_large_x1_25", 7443308, 30640, 349965896, 397987240, 362.70, 0.01, 7.47, 0.01 },
    { "ResNet18", 11693736, 9728, 1826918400, 2062691520, 1830, 10, 11.70, 0.01 },
    { "ResNet34", 21801896, 17152, 3676606464, 4161948864, 3680, 10, 21.81, 0.01 },
    { "ResNet50", 25557032, 53120, 4089184256, 4626713792, 4110, 10, 25.61, 0.01 },
    { "ResNet101", 44549160, 105344, 7801405440, 8888192192, 7830, 10, 44.65, 0.01 },
    { "ResNet152", 60192808, 151424, 11513626624, 13083937984, 11560, 10, 60.34, 0.01 },
    { "ResNet18_vd", 11712968, 9856, 2066558976, 2306630496, 2070, 10, 11.72, 0.01 },
    { "ResNet34_vd", 21821128, 17280, 3916247040, 4405887840, 3930, 10, 21.84, 0.01 },
    { "ResNet50_vd", 25576264, 53248, 4328824832, 4870652768, 4350, 10, 25.63, 0.01 },
    { "ResNet101_vd", 44568392, 105472, 8041046016, 9132131168, 8080, 10, 44.67, 0.01 },
    { "ResNet152_vd", 60212040, 151552, 11753267200, 13327876960, 11800, 10, 60.36, 0.01 },
    { "ResNeXt101_32x8d_wsl", 88791336, 202880, 16414015488, 18676917440, 16480, 10, 88.99, 0.01 },
    { "ResNeXt101_32x16d_wsl", 194026792, 332928, 36163289088, 41176689856, 36260, 10, 194.36, 0.01 },
    { "Res2Net50_vd_26w_4s", 25718352, 59620, 4494807040, 5048254276, 4520, 10, 25.78, 0.01 },
    { "Res2Net101_vd_26w_4s", 45225920, 119188, 8306615040, 9424054276, 8350, 10, 45.35, 0.01 },
    { "Res2Net200_vd_26w_4s", 76215536, 220804, 15706007040, 17783262276, 15770, 10, 76.44, 0.01 },
    { "PPHGNet_tiny", 14735864, 15040, 4530447104, 4858559664, 4540, 10, 14.75, 0.01 },
    { "PPHGNet_small", 24360872, 20992, 8508610304, 9112024512, 8530, 10, 24.38, 0.01 },
    { "PPHGNet_base", 71578184, 46400, 25109564352, 27081325024, 25140, 10, 71.62, 0.01 },
};

#define SIZES ((int32_t)(sizeof sizes / sizeof sizes[0]))

/* PP-LCNetV2 is documented as it is deployed: with one of the depthwise branches, which is all of them in one. */
static bool is_deployed(const char *name)
{
    const char *branch = strstr(name, ".dw_conv_list.");
    return !branch || branch[strlen(".dw_conv_list.")] == '0';
}

/* Operations as paddle.flops counts them: multiply-accumulates, an addition for each bias, two operations for each
 * element of a batch norm (in the deployed form of branches: none, but a bias), one for each element that a pool
 * averages or makes. */
static double paddle_operations(const struct ssld_graph *graph)
{
    int64_t total = 0;
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        const struct ssld_value *src = &graph->values[node->inputs[0]], *dst = &graph->values[node->output];
        if (!is_deployed(node->name))
            continue;
        if (ssld_ops[node->kind].macs)
            total += ssld_ops[node->kind].macs(graph, node);
        if (node->kind == SSLD_OP_CONV && node->input_count == 3)
            total += ssld_value_elements(dst);
        if (node->kind == SSLD_OP_BATCH_NORM)
            total += (strstr(node->name, ".dw_conv_list.") ? 1 : 2) * ssld_value_elements(dst);
        if (node->kind == SSLD_OP_GLOBAL_AVERAGE_POOL)
            total += ssld_value_elements(src) + ssld_value_elements(dst);
        if (node->kind == SSLD_OP_AVERAGE_POOL)
            total += ssld_value_elements(dst);
    }
    return (double)total / 1e6;
}

/* Millions of trainable values and buffers. */
static double all_parameters(const struct ssld_graph *graph)
{
    int64_t total = 0;
    for (int32_t i = 0; i < graph->value_count; i++)
        if (graph->values[i].role != SSLD_VALUE_ACTIVATION && is_deployed(graph->values[i].name))
            total += ssld_value_elements(&graph->values[i]);
    return (double)total / 1e6;
}

static void check_sizes(const struct ssld_graph *graph, const struct size *size, int64_t macs)
{
    int64_t parameters = count_role(graph, SSLD_VALUE_PARAMETER), buffers = count_role(graph, SSLD_VALUE_BUFFER);
    CHECK(parameters == size->parameters && buffers == size->buffers && ssld_graph_macs(graph) == macs,
          "%s: %lld parameters, %lld buffers, %lld macs", size->name, (long long)parameters, (long long)buffers,
          (long long)ssld_graph_macs(graph));
}

/* Every value is called differently, and L2 is for all parameters but batch norm's. */
static void check_values(const struct ssld_graph *graph)
{
    for (int32_t a = 0; a < graph->value_count; a++)
        for (int32_t b = a + 1; b < graph->value_count; b++)
            CHECK(strcmp(graph->values[a].name, graph->values[b].name), "%s: two values '%s'", graph->name,
                  graph->values[a].name);
    for (int32_t n = 0; n < graph->node_count; n++)
        for (int32_t i = 1; i < graph->nodes[n].input_count; i++) {
            const struct ssld_value *value = &graph->values[graph->nodes[n].inputs[i]];
            bool spared = graph->nodes[n].kind == SSLD_OP_BATCH_NORM && value->role == SSLD_VALUE_PARAMETER;
            CHECK(value->no_decay == spared, "%s: %s", graph->name, value->name);
        }
}

TEST(networks_have_the_sizes_of_paddleclas)
{
    ssld_context *context = make_context();
    for (int32_t i = 0; i < SIZES; i++) {
        const struct size *size = &sizes[i];
        CHECK(ssld_zoo_name(i) && !strcmp(ssld_zoo_name(i), size->name), "network %d is %s", i, ssld_zoo_name(i));
        struct ssld_graph *graph = make_zoo(context, size->name, 1000, 224, false);
        check_sizes(graph, size, size->macs);
        check_values(graph);
        CHECK_OK(context, ssld_graph_check(graph));
        double operations = paddle_operations(graph), all = all_parameters(graph);
        CHECK(!size->operations || fabs(operations - size->operations) < 1.02 * size->operations_unit,
              "%s: %g million operations, documented %g", size->name, operations, size->operations);
        CHECK(!size->all_parameters || fabs(all - size->all_parameters) < 1.02 * size->all_parameters_unit,
              "%s: %g million parameters, documented %g", size->name, all, size->all_parameters);
        ssld_graph_destroy(graph);
    }
    CHECK(!ssld_zoo_name(SIZES) && !ssld_zoo_name(-1), "there are more names");
    ssld_context_destroy(context);
}

/* 225 is odd in every halving: 113, 57, 29, 15, 8. */
TEST(networks_of_odd_size_have_paddleclas_costs_and_survive_a_file)
{
    ssld_context *context = make_context();
    char folder[] = "/tmp/ssld-zoo-XXXXXX", path[64];
    CHECK(mkdtemp(folder), "no folder");
    snprintf(path, sizeof path, "%s/network.onnx", folder);
    for (int32_t i = 0; i < SIZES; i++) {
        struct ssld_graph *graph = make_zoo(context, sizes[i].name, 1000, 225, false);
        struct ssld_map map;
        int32_t nodes = graph->node_count;
        uint64_t weights = weights_checksum(graph);
        check_sizes(graph, &sizes[i], sizes[i].macs_225);
        CHECK_OK(context, ssld_onnx_write(graph, path));
        ssld_graph_destroy(graph); /* the largest has 776 MB */
        CHECK_OK(context, ssld_map_open(context, path, &map));
        CHECK_OK(context, ssld_onnx_read(context, map.bytes, map.size, path, 225, 225, &graph));
        ssld_map_close(&map);
        unlink(path);
        check_sizes(graph, &sizes[i], sizes[i].macs_225);
        CHECK(graph->node_count == nodes && weights_checksum(graph) == weights, "%s: %d nodes, then %d", sizes[i].name,
              nodes, graph->node_count);
        ssld_graph_destroy(graph);
    }
    rmdir(folder);
    ssld_context_destroy(context);
}

/* -- Families ----------------------------------------------------------------------------------------------------- */

/* The smallest of each form. */
static const char *const forms[] = {
    "PPLCNet_x0_25", "PPLCNetV2_small", "MobileNetV1_x0_25", "MobileNetV2_x0_25", "MobileNetV3_small_x0_35",
    "MobileNetV3_large_x0_35", "ResNet18", "ResNet18_vd", "ResNet50", "ResNet50_vd", "ResNeXt101_32x8d_wsl",
    "Res2Net50_vd_26w_4s", "PPHGNet_tiny",
};

#define FORMS (sizeof forms / sizeof forms[0])

/* Height and width of what the last global average pool sees. */
static void last_size(const struct ssld_graph *graph, int64_t size[2])
{
    for (int32_t n = 0; n < graph->node_count; n++)
        if (graph->nodes[n].kind == SSLD_OP_GLOBAL_AVERAGE_POOL)
            memcpy(size, &graph->values[graph->nodes[n].inputs[0]].dims[2], 2 * sizeof *size);
}

TEST(small_variant_halves_three_times_and_standard_five)
{
    ssld_context *context = make_context();
    static const struct {
        int32_t channels, height, width;
        bool    small;
        int64_t last[2]; /* ceil(size / 8) or ceil(size / 32) */
    } cases[] = { { 1, 28, 64, true, { 4, 8 } }, { 3, 33, 32, true, { 5, 4 } }, { 1, 100, 225, false, { 4, 8 } } };
    for (size_t k = 0; k < FORMS; k++)
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            struct ssld_zoo_options options = { 10, cases[c].channels, cases[c].height, cases[c].width, cases[c].small,
                                                -1, 1 };
            struct ssld_graph *graph = NULL;
            int64_t last[2] = { 0, 0 };
            CHECK_OK(context, ssld_zoo_build(context, forms[k], &options, &graph));
            last_size(graph, last);
            CHECK(!memcmp(last, cases[c].last, sizeof last), "%s at %d x %d: %lld x %lld", forms[k], cases[c].height,
                  cases[c].width, (long long)last[0], (long long)last[1]);
            int64_t classes = graph->values[graph->output].dims[1];
            CHECK(classes == 10, "%lld classes", (long long)classes);
            ssld_graph_destroy(graph);
        }
    ssld_context_destroy(context);
}

static const struct ssld_value *find_value(const struct ssld_graph *graph, const char *name)
{
    for (int32_t i = 0; i < graph->value_count; i++)
        if (!strcmp(graph->values[i].name, name))
            return &graph->values[i];
    return NULL;
}

/* Weights that were trained with PaddleClas find their place by name. */
TEST(parameters_have_paddleclas_names_and_shapes)
{
    static const struct {
        const char *network, *name;
        int32_t     ndims;
        int64_t     dims[4];
    } cases[] = {
        { "PPLCNet_x0_25", "blocks6.0.se.conv2.bias", 1, { 64 } },
        { "PPLCNetV2_small", "stages.2.1.dw_conv_list.2.conv.weight", 4, { 384, 1, 1, 1 } },
        { "PPLCNetV2_small", "stages.2.0.pw_conv_1.bn._variance", 1, { 192 } },
        { "MobileNetV1_x0_25", "blocks.12.pointwise_conv.conv.weight", 4, { 256, 256, 1, 1 } },
        { "MobileNetV2_x0_25", "conv1._batch_norm._mean", 1, { 8 } },
        { "MobileNetV2_x0_25", "conv3._first_block._expand_conv._conv.weight", 4, { 24, 4, 1, 1 } },
        { "MobileNetV2_x0_25", "conv5.conv5_4._linear_conv._conv.weight", 4, { 16, 96, 1, 1 } },
        { "MobileNetV2_x0_25", "out.weight", 2, { 10, 1280 } },
        { "MobileNetV3_small_x0_35", "blocks.0.mid_se.conv1.weight", 4, { 2, 8, 1, 1 } },
        { "MobileNetV3_large_x0_35", "blocks.14.bottleneck_conv.conv.weight", 4, { 336, 1, 5, 5 } },
        { "MobileNetV3_large_x0_35", "last_second_conv.bn.weight", 1, { 336 } },
        { "ResNet18_vd", "stem.2.conv.weight", 4, { 64, 32, 3, 3 } },
        { "ResNet50", "blocks.3.short.conv.weight", 4, { 512, 256, 1, 1 } },
        { "ResNeXt101_32x8d_wsl", "_conv3_22._conv1._conv.weight", 4, { 1024, 32, 3, 3 } },
        { "ResNeXt101_32x8d_wsl", "_conv1_0._short._conv._bn.bias", 1, { 256 } },
        { "ResNeXt101_32x8d_wsl", "_out.bias", 1, { 10 } },
        { "Res2Net50_vd_26w_4s", "bb_2_5.res4f_branch2b_3._conv.weight", 4, { 104, 104, 3, 3 } },
        { "Res2Net101_vd_26w_4s", "bb_2_0.res4a_branch2b_1._conv.weight", 4, { 104, 104, 3, 3 } },
        { "Res2Net101_vd_26w_4s", "bb_2_22.res4b22_branch2b_2._batch_norm.weight", 1, { 104 } },
        { "PPHGNet_tiny", "stages.1.downsample.conv.weight", 4, { 224, 1, 3, 3 } },
        { "PPHGNet_tiny", "stages.2.blocks.1.aggregation_conv.conv.weight", 4, { 512, 1312, 1, 1 } },
        { "PPHGNet_tiny", "stages.3.blocks.0.att.conv.bias", 1, { 768 } },
    };
    ssld_context *context = make_context();
    struct ssld_graph *graph = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!graph || strcmp(graph->name, cases[i].network)) {
            ssld_graph_destroy(graph);
            graph = make_zoo(context, cases[i].network, 10, 64, false);
        }
        const struct ssld_value *value = find_value(graph, cases[i].name);
        CHECK(value, "%s has no '%s'", cases[i].network, cases[i].name);
        size_t dims_size = (size_t)cases[i].ndims * sizeof(int64_t);
        CHECK(value->ndims == cases[i].ndims && !memcmp(value->dims, cases[i].dims, dims_size),
              "%s: '%s' begins with %lld, %lld", cases[i].network, cases[i].name, (long long)value->dims[0],
              (long long)value->dims[1]);
    }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

/* The ratio of the dropout before the classifier; 0: there is none. */
static float dropout_of(ssld_context *context, const char *name, float asked)
{
    struct ssld_zoo_options options = { 2, 1, 32, 32, true, asked, 1 };
    struct ssld_graph *graph = NULL;
    float ratio = 0;
    CHECK_OK(context, ssld_zoo_build(context, name, &options, &graph));
    for (int32_t n = 0; n < graph->node_count; n++)
        if (graph->nodes[n].kind == SSLD_OP_DROPOUT) {
            CHECK(ratio == 0 && graph->nodes[n].attributes.downscale_in_infer, "%s: '%s'", name, graph->nodes[n].name);
            ratio = graph->nodes[n].attributes.ratio;
        }
    ssld_graph_destroy(graph);
    return ratio;
}

TEST(dropout_is_the_networks_own_unless_asked_for)
{
    static const struct {
        const char *name;
        float       own;
    } cases[] = {
        { "PPLCNet_x0_25", 0.2f }, { "PPLCNetV2_small", 0.2f }, { "MobileNetV1_x0_25", 0 }, { "MobileNetV2_x0_25", 0 },
        { "MobileNetV3_small_x0_35", 0.2f }, { "ResNet18", 0 }, { "PPHGNet_tiny", 0 }, { "PPHGNet_base", 0.2f },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = cases[i].name;
        CHECK(dropout_of(context, name, -1) == cases[i].own, "%s: %g", name, (double)dropout_of(context, name, -1));
        if (strcmp(name, "PPHGNet_base")) /* 71 million weights, and no other code */
            CHECK(dropout_of(context, name, 0) == 0 && dropout_of(context, name, 0.5f) == 0.5f, "%s, a ratio", name);
    }
    ssld_context_destroy(context);
}

/* -- Initial weights ---------------------------------------------------------------------------------------------- */

TEST(initial_weights_have_paddleclas_distributions)
{
    static const struct {
        const char *network, *value;
        double      deviation; /* its square is written */
        double      bound;     /* of uniform weights, likewise; 0 for normal */
    } cases[] = {
        { "PPLCNet_x1_0", "blocks6.1.pw_conv.conv.weight", 2.0 / 512, 0 },
        { "PPLCNet_x1_0", "blocks6.1.dw_conv.conv.weight", 2.0 / 25, 0 }, /* inputs of one channel */
        { "PPLCNet_x1_0", "last_conv.weight", 2.0 / 512, 0 },
        { "PPLCNet_x1_0", "fc.weight", 6.0 / 2280 / 3, 6.0 / 2280 },
        { "PPLCNetV2_small", "stages.2.1.dw_conv_list.1.conv.weight", 2.0 / 9, 0 },
        { "MobileNetV1_x0_25", "blocks.12.depthwise_conv.conv.weight", 2.0 / 9, 0 },
        { "MobileNetV1_x0_25", "fc.weight", 2.0 / 256, 0 },
        { "MobileNetV2_x0_25", "conv7.conv7_3._bottleneck_conv._conv.weight", 2.0 / 9 / 240, 0 }, /* of all channels */
        { "MobileNetV2_x0_25", "out.weight", 6.0 / 2280 / 3, 6.0 / 2280 },
        { "MobileNetV3_large_x0_35", "blocks.14.bottleneck_conv.conv.weight", 2.0 / 25 / 336, 0 },
        { "MobileNetV3_large_x0_35", "blocks.14.mid_se.conv1.weight", 2.0 / 336, 0 },
        { "ResNet18", "blocks.7.conv1.conv.weight", 2.0 / 4608, 0 },
        { "ResNet18", "fc.weight", 1.0 / 512 / 3, 1.0 / 512 },
        { "ResNeXt101_32x8d_wsl", "_conv4_2._conv1._conv.weight", 2.0 / 9 / 2048, 0 },
        { "ResNeXt101_32x8d_wsl", "_out.weight", 6.0 / 3048 / 3, 6.0 / 3048 },
        { "Res2Net50_vd_26w_4s", "out.weight", 1.0 / 2048 / 3, 1.0 / 2048 },
        { "PPHGNet_tiny", "stages.3.downsample.conv.weight", 2.0 / 9, 0 },
        { "PPHGNet_tiny", "stages.3.blocks.0.att.conv.weight", 2.0 / 768, 0 },
        { "PPHGNet_tiny", "fc.weight", 6.0 / 3048 / 3, 6.0 / 3048 },
    };
    ssld_context *context = make_context();
    struct ssld_graph *graph = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!graph || strcmp(graph->name, cases[i].network)) {
            ssld_graph_destroy(graph);
            graph = make_zoo(context, cases[i].network, 1000, 64, false);
        }
        const struct ssld_value *value = find_value(graph, cases[i].value);
        CHECK(value, "%s has no '%s'", cases[i].network, cases[i].value);
        double deviation = sqrt(cases[i].deviation), count = (double)ssld_value_elements(value);
        double sum = 0, squares = 0, largest = 0;
        for (int64_t e = 0; e < ssld_value_elements(value); e++) {
            sum += value->data[e];
            squares += (double)value->data[e] * value->data[e];
            largest = fmax(largest, fabs(value->data[e]));
        }
        /* Mean and deviation of n draws stray by deviation / sqrt(n): five of those is once in two million. */
        double stray = 5 * deviation / sqrt(count);
        CHECK(fabs(sum / count) < stray, "%s: mean %g", value->name, sum / count);
        CHECK(fabs(sqrt(squares / count) - deviation) < stray, "%s: deviation %g", value->name, sqrt(squares / count));
        CHECK(cases[i].bound == 0 ? largest > 3 * deviation : largest <= (float)sqrt(cases[i].bound), "%s: largest %g",
              value->name, largest);
    }
    ssld_graph_destroy(graph);
    ssld_context_destroy(context);
}

TEST(batch_norms_start_as_identity_and_biases_at_nothing)
{
    ssld_context *context = make_context();
    for (size_t k = 0; k < FORMS; k++) {
        struct ssld_graph *graph = make_zoo(context, forms[k], 2, 32, true);
        for (int32_t n = 0; n < graph->node_count; n++)
            for (int32_t i = 1; i < graph->nodes[n].input_count; i++) {
                const struct ssld_value *value = &graph->values[graph->nodes[n].inputs[i]];
                bool norm = graph->nodes[n].kind == SSLD_OP_BATCH_NORM; /* scale, shift, mean, variance */
                for (int64_t e = 0; value->data && value->ndims == 1 && e < value->dims[0]; e++)
                    CHECK(value->data[e] == (norm && (i == 1 || i == 4)), "%s: '%s' starts at %g", forms[k],
                          value->name, (double)value->data[e]);
            }
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* Pinned: a student's start must not change between machines, compilers or releases. */
TEST(same_seed_same_weights_for_ever)
{
    static const struct {
        const char *name;
        uint64_t    checksum;
    } cases[] = { { "PPLCNet_x0_25", 0x22accd4fee9401afu }, { "MobileNetV3_small_x0_35", 0x9b8b0537db12e66eu },
                  { "MobileNetV1_x0_25", 0x90beb9cb2ec67105u } };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ssld_zoo_options options = { 10, 3, 32, 32, true, -1, 42 };
        struct ssld_graph *first = NULL, *other = NULL;
        CHECK_OK(context, ssld_zoo_build(context, cases[i].name, &options, &first));
        options.seed = 43;
        CHECK_OK(context, ssld_zoo_build(context, cases[i].name, &options, &other));
        uint64_t sum = weights_checksum(first);
        CHECK(sum != weights_checksum(other), "%s: two seeds, one start", cases[i].name);
        CHECK(sum == cases[i].checksum, "%s: checksum %llx", cases[i].name, (unsigned long long)sum);
        ssld_graph_destroy(first);
        ssld_graph_destroy(other);
    }
    ssld_context_destroy(context);
}

/* The words are those of ssld_philox4x32(), at any length of the array, and nothing behind its end is touched. */
TEST(initial_weights_are_draws_of_philox)
{
    static float data[1100];
    for (int64_t length = 1; length < 1090; length += length < 10 ? 1 : 119) {
        struct ssld_value value = { .ndims = 1, .dims = { length, 1, 1, 1 }, .data = data };
        for (int64_t e = 0; e < 1100; e++)
            data[e] = 7;
        ssld_fill_uniform(&value, 0x123456789abcdef0u, 31, 0.25);
        for (int64_t e = 0; e < 1100; e++) {
            uint32_t counter[4] = { (uint32_t)(e / 4), 0, 31, (uint32_t)SSLD_PURPOSE_WEIGHTS << 16 };
            uint32_t key[2] = { 0x9abcdef0u, 0x12345678u }, words[4];
            ssld_philox4x32(counter, key, words);
            double draw = (2 * (words[e % 4] + 0.5) / 4294967296.0 - 1) * 0.25;
            CHECK(data[e] == (e < length ? (float)draw : 7), "element %lld of %lld: %g", (long long)e,
                  (long long)length, (double)data[e]);
        }
    }
}

/* -- Logits ------------------------------------------------------------------------------------------------------- */

#define LOGITS 4

/* The first logits of PaddleClas's classes, in evaluation mode on the first of make_pixels()'s images, with the
 * weights that the zoo makes of seed 1 and the statistics below. */
static const struct {
    const char *name;
    int32_t     size;
    float       logits[LOGITS];
} answers[] = {
    { "PPLCNet_x0_25", 65, { 0.130718708f, -0.220060691f, 0.0605026856f, -0.055274196f } },
    { "PPLCNetV2_small", 33, { 0.900686502f, 1.96371293f, 2.83213496f, -0.570584536f } },
    { "MobileNetV1_x0_25", 65, { -1.97073805f, 0.338970304f, 0.382606506f, -1.28863692f } },
    { "MobileNetV2_x0_25", 65, { 0.882162392f, 1.11813235f, -0.29563123f, 0.400826812f } },
    { "MobileNetV3_small_x0_35", 65, { -0.110153675f, 0.0847979635f, 0.162459761f, -0.0443354808f } },
    { "MobileNetV3_large_x0_35", 65, { -0.0639902577f, -0.0959369466f, -0.180246621f, -0.4781003f } },
    { "ResNet18", 33, { -14.1108799f, 18.9513397f, 7.94655704f, -28.491396f } },
    { "ResNet18_vd", 33, { -3.86968875f, 14.430398f, 4.27518177f, 1.67552483f } },
    { "ResNet50", 33, { 4526.42383f, -2011.96301f, 2231.39282f, -3955.79688f } },
    { "ResNet50_vd", 33, { 1133.06995f, 392.645477f, 300.433258f, 1635.39661f } },
    { "ResNeXt101_32x8d_wsl", 33, { -0.92353785f, 0.860048473f, -4.5291996f, 7.17705154f } },
    { "Res2Net50_vd_26w_4s", 33, { 4670.97852f, -6501.85791f, -4218.93018f, -43218.668f } },
    { "PPHGNet_tiny", 33, { -1.01083338f, 1.12917566f, 0.105214253f, 0.233764201f } },
};

/* Batch norm and biases that do something: scales and variances in 1/2 .. 1 1/2, everything else in -1/5 .. 1/5. */
static void shake(struct ssld_graph *graph)
{
    for (int32_t i = 0; i < graph->value_count; i++) {
        struct ssld_value *value = &graph->values[i];
        struct ssld_stream stream = ssld_stream_start(5, (uint64_t)i, 0, 0);
        bool positive = strstr(value->name, ".weight") || strstr(value->name, "._variance");
        for (int64_t e = 0; value->data && value->ndims == 1 && e < value->dims[0]; e++) {
            double draw = ssld_stream_uniform(&stream);
            value->data[e] = (float)(positive ? 0.5 + draw : 0.4 * (draw - 0.5));
        }
    }
}

TEST(networks_compute_what_paddleclas_computes)
{
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct ssld_graph *graph = make_zoo(context, answers[i].name, 10, answers[i].size, false);
        shake(graph);
        float *pixels = make_pixels(graph, 1);
        struct reference run = reference_run(graph, 1, pixels, false);
        const double *logits = run.values[graph->output];
        double largest = 0;
        for (int k = 0; k < 10; k++)
            largest = fmax(largest, fabs(logits[k]));
        /* Paddle adds up in floats, the reference in doubles: up to 1.6e-6 apart (ResNeXt) when these were taken. */
        for (int k = 0; k < LOGITS; k++)
            CHECK(fabs(logits[k] - answers[i].logits[k]) <= 5e-6 * largest, "%s: logit %d is %.9g, not %.9g",
                  graph->name, k, logits[k], (double)answers[i].logits[k]);
        reference_free(&run);
        free(pixels);
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* -- Bad input ---------------------------------------------------------------------------------------------------- */

TEST(unknown_network_is_answered_with_the_known_ones)
{
    ssld_context *context = make_context();
    struct ssld_zoo_options options = { 10, 3, 32, 32, true, -1, 1 };
    struct ssld_graph *graph = NULL;
    char text[4096];
    CHECK_STATUS(context, ssld_zoo_build(context, "ResNet19", &options, &graph), SSLD_NOT_FOUND);
    ssld_context_error(context, text, sizeof text);
    CHECK(strstr(text, "'ResNet19'"), "the text begins with: %.80s", text);
    for (int32_t i = 0; ssld_zoo_name(i); i++)
        CHECK(strstr(text, ssld_zoo_name(i)), "%s is not in the text", ssld_zoo_name(i));
    CHECK(!graph, "a graph was given");
    ssld_context_destroy(context);
}

/* A single pixel: pads keep it alive, but for vd networks, whose shortcuts pool 2 x 2. */
TEST(image_too_small_is_refused_by_node)
{
    ssld_context *context = make_context();
    for (size_t k = 0; k < FORMS; k++) {
        struct ssld_zoo_options options = { 2, 1, 1, 1, true, -1, 1 };
        struct ssld_graph *graph = NULL;
        ssld_status status = ssld_zoo_build(context, forms[k], &options, &graph);
        CHECK(status == (strstr(forms[k], "_vd") ? SSLD_INVALID_ARGUMENT : SSLD_OK), "%s: status %d", forms[k], status);
        if (status) {
            CHECK_TEXT(context, "avg_pool' (AveragePool)");
            CHECK_TEXT(context, "give a larger image");
        }
        ssld_graph_destroy(graph);
    }
    ssld_context_destroy(context);
}

/* One network of each family, its allocations failing one by one; of those with millions of weights only every few. */
TEST(every_allocation_may_fail)
{
    static const struct {
        const char *name;
        int         step;
    } cases[] = {
        { "PPLCNet_x0_25", 1 }, { "PPLCNetV2_small", 23 }, { "MobileNetV1_x0_25", 1 }, { "MobileNetV2_x0_25", 1 },
        { "MobileNetV3_small_x0_35", 1 }, { "ResNet18", 23 }, { "ResNeXt101_32x8d_wsl", 211 },
        { "Res2Net50_vd_26w_4s", 97 }, { "PPHGNet_tiny", 47 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ssld_status status = SSLD_OUT_OF_MEMORY;
        for (int allowed = 1; status; allowed += cases[i].step) {
            int left = allowed;
            ssld_context *context = NULL;
            ssld_context_options options;
            struct ssld_zoo_options zoo = { 1, 1, 8, 8, true, -1, 1 };
            struct ssld_graph *graph = NULL;
            ssld_context_options_init(&options, sizeof options);
            options.allocator = test_allocator(&left);
            CHECK_OK(NULL, ssld_context_create(&options, &context));
            status = ssld_zoo_build(context, cases[i].name, &zoo, &graph);
            CHECK(status == (graph ? SSLD_OK : SSLD_OUT_OF_MEMORY), "%s, allocation %d: status %d", cases[i].name, allowed,
                  status);
            ssld_graph_destroy(graph);
            ssld_context_destroy(context);
        }
    }
}

TEST_MAIN(TEST_ROW(networks_have_the_sizes_of_paddleclas),
          TEST_ROW(networks_of_odd_size_have_paddleclas_costs_and_survive_a_file),
          TEST_ROW(small_variant_halves_three_times_and_standard_five),
          TEST_ROW(parameters_have_paddleclas_names_and_shapes), TEST_ROW(dropout_is_the_networks_own_unless_asked_for),
          TEST_ROW(initial_weights_have_paddleclas_distributions),
          TEST_ROW(batch_norms_start_as_identity_and_biases_at_nothing), TEST_ROW(same_seed_same_weights_for_ever),
          TEST_ROW(initial_weights_are_draws_of_philox), TEST_ROW(networks_compute_what_paddleclas_computes),
          TEST_ROW(unknown_network_is_answered_with_the_known_ones), TEST_ROW(image_too_small_is_refused_by_node),
          TEST_ROW(every_allocation_may_fail))
