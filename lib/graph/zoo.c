/* SPDX-License-Identifier: BSD-2-Clause */
/* zoo.c - networks by name, as PaddleClas defines them (ppcls/arch/backbone: legendary_models and model_zoo): the
 * table, and the steps that all families share.
 *
 * Parameters carry PaddleClas's names. Batch norm's scale and shift are spared L2 in every family, as ssld/student.h
 * says, also where PaddleClas does not (MobileNetV1, V2, ResNet, ResNeXt, Res2Net). The small variant halves the
 * image three times instead of five, for 28 to 64 pixels: the stem has stride 1, and the next halving after it,
 * strided block or max pool, is left out. A 7x7 stem becomes 3x3. */
#include "graph/zoo.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- Names and sizes ---------------------------------------------------------------------------------------------- */

/* Names are the zoo's own: the longest, "stages.2.0.dw_conv_list.0.bn._variance", is far from this. */
#define FULL_NAME_SIZE 128

/* `first` and `second` in `name`, which is returned. */
static const char *join(char name[FULL_NAME_SIZE], const char *first, const char *second)
{
    size_t length = strlen(first);
    memcpy(name, first, length);
    strcpy(name + length, second);
    return name;
}

static const struct ssld_value *value_at(const struct builder *b, int32_t value)
{
    return &b->graph->values[value];
}

int32_t ssld_zoo_channels(const struct builder *b, int32_t value)
{
    return b->status ? 0 : (int32_t)value_at(b, value)->dims[1];
}

int32_t ssld_zoo_divisible(const struct network *network, int32_t channels)
{
    double exact = channels * network->scale;
    int32_t rounded = (int32_t)(exact + 4) / 8 * 8;
    if (rounded < 8)
        rounded = 8;
    return rounded < 0.9 * exact ? rounded + 8 : rounded;
}

/* -- Nodes -------------------------------------------------------------------------------------------------------- */

/* A constant filled with one number, layer + suffix. */
static int32_t constant(struct builder *b, const char *layer, const char *suffix, int32_t role, int32_t ndims,
                        const int64_t *dims, float fill)
{
    char name[FULL_NAME_SIZE];
    int32_t value = SSLD_NO_VALUE;
    if (b->status)
        return value;
    b->status = ssld_graph_add_value(b->graph, join(name, layer, suffix), role, ndims, dims, NULL, &value);
    if (b->status)
        return SSLD_NO_VALUE;
    int64_t elements = ssld_value_elements(value_at(b, value));
    for (int64_t i = 0; fill != 0 && i < elements; i++)
        b->graph->values[value].data[i] = fill;
    b->parameters += role == SSLD_VALUE_PARAMETER;
    return value;
}

int32_t ssld_zoo_node(struct builder *b, int32_t kind, const char *block, const char *layer, int32_t input_count,
                      const int32_t *inputs, const struct ssld_attributes *attributes)
{
    char name[FULL_NAME_SIZE];
    int32_t output = SSLD_NO_VALUE;
    if (b->status)
        return SSLD_NO_VALUE;
    join(name, block, layer);
    b->status = ssld_graph_add_node(b->graph, kind, name, input_count, inputs, attributes, NULL, &output);
    return output;
}

int32_t ssld_zoo_unary(struct builder *b, int32_t src, int32_t kind, const char *block, const char *layer)
{
    return ssld_zoo_node(b, kind, block, layer, 1, &src, NULL);
}

int32_t ssld_zoo_binary(struct builder *b, int32_t first, int32_t second, int32_t kind, const char *block,
                        const char *layer)
{
    return ssld_zoo_node(b, kind, block, layer, 2, (int32_t[]){ first, second }, NULL);
}

/* -- Convolution and batch norm ----------------------------------------------------------------------------------- */

int32_t ssld_zoo_conv(struct builder *b, int32_t src, struct conv c)
{
    char name[FULL_NAME_SIZE];
    if (b->status)
        return SSLD_NO_VALUE;
    join(name, c.block, c.layer);
    int64_t all_inputs = value_at(b, src)->dims[1], inputs = all_inputs / c.group, outputs = c.outputs;
    int64_t fan_in = (b->spread_by_all_inputs ? all_inputs : inputs) * c.kernel * c.kernel;
    uint32_t parameter = b->parameters;
    int64_t dims[4] = { outputs, inputs, c.kernel, c.kernel };
    int32_t values[3] = { src, constant(b, name, ".weight", SSLD_VALUE_PARAMETER, 4, dims, 0), SSLD_NO_VALUE };
    if (!b->status)
        ssld_fill_normal(&b->graph->values[values[1]], b->options->seed, parameter, sqrt(2.0 / (double)fan_in));
    if (c.bias)
        values[2] = constant(b, name, ".bias", SSLD_VALUE_PARAMETER, 1, &outputs, 0);

    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_CONV);
    attributes.group = c.group;
    for (int axis = 0; axis < 2; axis++) {
        attributes.window.strides[axis] = c.stride;
        attributes.window.pads[axis] = attributes.window.pads[axis + 2] = (c.kernel - 1) / 2;
    }
    return ssld_zoo_node(b, SSLD_OP_CONV, name, "", c.bias ? 3 : 2, values, &attributes);
}

static int32_t batch_norm(struct builder *b, int32_t src, const char *layer, const char *suffix)
{
    char name[FULL_NAME_SIZE];
    if (b->status)
        return SSLD_NO_VALUE;
    join(name, layer, suffix);
    int64_t channels = value_at(b, src)->dims[1];
    int32_t values[5] = {
        src,
        constant(b, name, ".weight", SSLD_VALUE_PARAMETER, 1, &channels, 1),
        constant(b, name, ".bias", SSLD_VALUE_PARAMETER, 1, &channels, 0),
        constant(b, name, "._mean", SSLD_VALUE_BUFFER, 1, &channels, 0),
        constant(b, name, "._variance", SSLD_VALUE_BUFFER, 1, &channels, 1),
    };
    if (!b->status)
        b->graph->values[values[1]].no_decay = b->graph->values[values[2]].no_decay = true;
    return ssld_zoo_node(b, SSLD_OP_BATCH_NORM, name, "", 5, values, NULL);
}

int32_t ssld_zoo_conv_bn(struct builder *b, int32_t src, struct conv c, int32_t activation)
{
    char layer[FULL_NAME_SIZE];
    c.block = join(layer, c.block, c.layer);
    c.layer = b->conv_name;
    int32_t x = batch_norm(b, ssld_zoo_conv(b, src, c), layer, b->norm_name);
    return activation == SSLD_OP_IDENTITY ? x : ssld_zoo_unary(b, x, activation, layer, ".act");
}

/* -- Pools and gates ---------------------------------------------------------------------------------------------- */

static struct ssld_attributes square_window(int32_t kind, int32_t kernel, int32_t stride, int32_t pad)
{
    struct ssld_attributes attributes = ssld_op_defaults(kind);
    for (int axis = 0; axis < 2; axis++) {
        attributes.window.kernel[axis] = kernel;
        attributes.window.strides[axis] = stride;
        attributes.window.pads[axis] = attributes.window.pads[axis + 2] = pad;
    }
    return attributes;
}

int32_t ssld_zoo_max_pool(struct builder *b, int32_t src, const char *name, int32_t kernel, int32_t stride, int32_t pad)
{
    struct ssld_attributes attributes = square_window(SSLD_OP_MAX_POOL, kernel, stride, pad);
    return ssld_zoo_node(b, SSLD_OP_MAX_POOL, name, "", 1, &src, &attributes);
}

int32_t ssld_zoo_average_pool(struct builder *b, int32_t src, const char *block, const char *layer, int32_t kernel,
                              int32_t stride, int32_t pad, bool ceil)
{
    struct ssld_attributes attributes = square_window(SSLD_OP_AVERAGE_POOL, kernel, stride, pad);
    attributes.ceil_mode = ceil;
    return ssld_zoo_node(b, SSLD_OP_AVERAGE_POOL, block, layer, 1, &src, &attributes);
}

int32_t ssld_zoo_squeeze_excite(struct builder *b, int32_t src, const char *block, const char *layer, int32_t gate,
                                float slope)
{
    char name[FULL_NAME_SIZE];
    int32_t channels = ssld_zoo_channels(b, src);
    struct conv squeeze = pointwise(join(name, block, layer), ".conv1", channels / 4);
    struct conv excite = pointwise(name, ".conv2", channels);
    struct ssld_attributes attributes = ssld_op_defaults(gate);
    if (gate == SSLD_OP_HARD_SIGMOID)
        attributes.alpha = slope;
    squeeze.bias = excite.bias = true;

    int32_t x = ssld_zoo_unary(b, src, SSLD_OP_GLOBAL_AVERAGE_POOL, name, ".avg_pool");
    x = ssld_zoo_unary(b, ssld_zoo_conv(b, x, squeeze), SSLD_OP_RELU, name, ".relu");
    x = ssld_zoo_conv(b, x, excite);
    x = ssld_zoo_node(b, gate, name, ".hardsigmoid", 1, &x, &attributes);
    return ssld_zoo_binary(b, src, x, SSLD_OP_MUL, name, "");
}

/* -- Classifiers -------------------------------------------------------------------------------------------------- */

static int32_t fully_connected(struct builder *b, int32_t src, const char *name, int32_t start)
{
    if (b->status)
        return SSLD_NO_VALUE;
    int64_t dims[2] = { b->options->classes, value_at(b, src)->dims[1] };
    double classes = (double)dims[0], inputs = (double)dims[1];
    uint32_t parameter = b->parameters;
    int32_t values[3] = { src, constant(b, name, ".weight", SSLD_VALUE_PARAMETER, 2, dims, 0),
                          constant(b, name, ".bias", SSLD_VALUE_PARAMETER, 1, dims, 0) };
    if (b->status)
        return SSLD_NO_VALUE;
    struct ssld_value *weights = &b->graph->values[values[1]];
    if (start == START_KAIMING_NORMAL)
        ssld_fill_normal(weights, b->options->seed, parameter, sqrt(2.0 / inputs));
    else
        ssld_fill_uniform(weights, b->options->seed, parameter,
                          start == START_XAVIER_UNIFORM ? sqrt(6.0 / (inputs + classes)) : 1 / sqrt(inputs));
    return ssld_zoo_node(b, SSLD_OP_GEMM, name, "", 3, values, NULL);
}

int32_t ssld_zoo_classify(struct builder *b, int32_t src, const char *name, float dropout, int32_t start)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_DROPOUT);
    attributes.ratio = b->options->dropout < 0 ? dropout : b->options->dropout;
    attributes.downscale_in_infer = 1;
    int32_t x = src;
    if (attributes.ratio > 0)
        x = ssld_zoo_node(b, SSLD_OP_DROPOUT, "dropout", "", 1, &x, &attributes);
    x = ssld_zoo_unary(b, x, SSLD_OP_FLATTEN, "flatten", "");
    return fully_connected(b, x, name, start);
}

int32_t ssld_zoo_wide_head(struct builder *b, int32_t src, int32_t width, int32_t activation, float dropout)
{
    int32_t x = ssld_zoo_unary(b, src, SSLD_OP_GLOBAL_AVERAGE_POOL, "avg_pool", "");
    x = ssld_zoo_conv(b, x, pointwise("last_conv", "", width));
    x = ssld_zoo_unary(b, x, activation, "act", "");
    return ssld_zoo_classify(b, x, "fc", dropout, START_XAVIER_UNIFORM);
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

static const struct network networks[] = {
    { "PPLCNet_x0_25", ssld_zoo_pplcnet, .scale = 0.25 },
    { "PPLCNet_x0_35", ssld_zoo_pplcnet, .scale = 0.35 },
    { "PPLCNet_x0_5", ssld_zoo_pplcnet, .scale = 0.5 },
    { "PPLCNet_x0_75", ssld_zoo_pplcnet, .scale = 0.75 },
    { "PPLCNet_x1_0", ssld_zoo_pplcnet, .scale = 1.0 },
    { "PPLCNet_x1_5", ssld_zoo_pplcnet, .scale = 1.5 },
    { "PPLCNet_x2_0", ssld_zoo_pplcnet, .scale = 2.0 },
    { "PPLCNet_x2_5", ssld_zoo_pplcnet, .scale = 2.5 },
    { "PPLCNetV2_small", ssld_zoo_pplcnet_v2, .scale = 0.75, .depths = { 2, 2, 4, 2 } },
    { "PPLCNetV2_base", ssld_zoo_pplcnet_v2, .scale = 1.0, .depths = { 2, 2, 6, 2 } },
    { "PPLCNetV2_large", ssld_zoo_pplcnet_v2, .scale = 1.25, .depths = { 2, 2, 8, 2 } },
    { "MobileNetV1_x0_25", ssld_zoo_mobilenet_v1, .scale = 0.25 },
    { "MobileNetV1_x0_5", ssld_zoo_mobilenet_v1, .scale = 0.5 },
    { "MobileNetV1_x0_75", ssld_zoo_mobilenet_v1, .scale = 0.75 },
    { "MobileNetV1", ssld_zoo_mobilenet_v1, .scale = 1.0 },
    { "MobileNetV2_x0_25", ssld_zoo_mobilenet_v2, .scale = 0.25 },
    { "MobileNetV2_x0_5", ssld_zoo_mobilenet_v2, .scale = 0.5 },
    { "MobileNetV2_x0_75", ssld_zoo_mobilenet_v2, .scale = 0.75 },
    { "MobileNetV2", ssld_zoo_mobilenet_v2, .scale = 1.0 },
    { "MobileNetV2_x1_5", ssld_zoo_mobilenet_v2, .scale = 1.5 },
    { "MobileNetV2_x2_0", ssld_zoo_mobilenet_v2, .scale = 2.0 },
    { "MobileNetV3_small_x0_35", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_SMALL, .scale = 0.35 },
    { "MobileNetV3_small_x0_5", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_SMALL, .scale = 0.5 },
    { "MobileNetV3_small_x0_75", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_SMALL, .scale = 0.75 },
    { "MobileNetV3_small_x1_0", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_SMALL, .scale = 1.0 },
    { "MobileNetV3_small_x1_25", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_SMALL, .scale = 1.25 },
    { "MobileNetV3_large_x0_35", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_LARGE, .scale = 0.35 },
    { "MobileNetV3_large_x0_5", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_LARGE, .scale = 0.5 },
    { "MobileNetV3_large_x0_75", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_LARGE, .scale = 0.75 },
    { "MobileNetV3_large_x1_0", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_LARGE, .scale = 1.0 },
    { "MobileNetV3_large_x1_25", ssld_zoo_mobilenet_v3, .form = MOBILENET_V3_LARGE, .scale = 1.25 },
    { "ResNet18", ssld_zoo_resnet, .form = RESNET_BASIC, .depths = { 2, 2, 2, 2 } },
    { "ResNet34", ssld_zoo_resnet, .form = RESNET_BASIC, .depths = { 3, 4, 6, 3 } },
    { "ResNet50", ssld_zoo_resnet, .form = RESNET_BOTTLENECK, .depths = { 3, 4, 6, 3 } },
    { "ResNet101", ssld_zoo_resnet, .form = RESNET_BOTTLENECK, .depths = { 3, 4, 23, 3 } },
    { "ResNet152", ssld_zoo_resnet, .form = RESNET_BOTTLENECK, .depths = { 3, 8, 36, 3 } },
    { "ResNet18_vd", ssld_zoo_resnet, .form = RESNET_BASIC, .depths = { 2, 2, 2, 2 }, .vd = true },
    { "ResNet34_vd", ssld_zoo_resnet, .form = RESNET_BASIC, .depths = { 3, 4, 6, 3 }, .vd = true },
    { "ResNet50_vd", ssld_zoo_resnet, .form = RESNET_BOTTLENECK, .depths = { 3, 4, 6, 3 }, .vd = true },
    { "ResNet101_vd", ssld_zoo_resnet, .form = RESNET_BOTTLENECK, .depths = { 3, 4, 23, 3 }, .vd = true },
    { "ResNet152_vd", ssld_zoo_resnet, .form = RESNET_BOTTLENECK, .depths = { 3, 8, 36, 3 }, .vd = true },
    { "ResNeXt101_32x8d_wsl", ssld_zoo_resnext_wsl, .depths = { 3, 4, 23, 3 }, .width = 8 },
    { "ResNeXt101_32x16d_wsl", ssld_zoo_resnext_wsl, .depths = { 3, 4, 23, 3 }, .width = 16 },
    { "Res2Net50_vd_26w_4s", ssld_zoo_res2net_vd, .depths = { 3, 4, 6, 3 } },
    { "Res2Net101_vd_26w_4s", ssld_zoo_res2net_vd, .depths = { 3, 4, 23, 3 } },
    { "Res2Net200_vd_26w_4s", ssld_zoo_res2net_vd, .depths = { 3, 12, 48, 3 } },
    { "PPHGNet_tiny", ssld_zoo_pphgnet, .form = PPHGNET_TINY },
    { "PPHGNet_small", ssld_zoo_pphgnet, .form = PPHGNET_SMALL },
    { "PPHGNet_base", ssld_zoo_pphgnet, .form = PPHGNET_BASE },
};

#define NETWORKS ((int32_t)(sizeof networks / sizeof networks[0]))

const char *ssld_zoo_name(int32_t index)
{
    return index >= 0 && index < NETWORKS ? networks[index].name : NULL;
}

static ssld_status unknown_network(ssld_context *context, const char *name)
{
    char known[NETWORKS * 32] = "";
    for (int32_t i = 0; i < NETWORKS; i++) {
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", networks[i].name);
    }
    return ssld_fail(context, SSLD_NOT_FOUND, "no network is called '%.80s'; there are: %s", name, known);
}

ssld_status ssld_zoo_build(ssld_context *context, const char *name, const struct ssld_zoo_options *options,
                           struct ssld_graph **graph)
{
    const struct network *network = networks;
    while (network < networks + NETWORKS && strcmp(network->name, name))
        network++;
    if (network == networks + NETWORKS)
        return unknown_network(context, name);

    struct builder b = { .options = options, .conv_name = ".conv", .norm_name = ".bn" };
    int64_t dims[4] = { 1, options->channels, options->height, options->width };
    int32_t input;
    b.status = ssld_graph_create(context, name, &b.graph);
    if (b.status)
        return b.status;
    b.status = ssld_graph_add_value(b.graph, "input", SSLD_VALUE_ACTIVATION, 4, dims, NULL, &input);
    if (!b.status) {
        b.graph->input = input;
        b.graph->output = network->build(&b, network, input);
    }
    if (b.status) {
        ssld_graph_destroy(b.graph);
        return b.status;
    }
    *graph = b.graph;
    return SSLD_OK;
}
