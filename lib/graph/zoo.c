/* SPDX-License-Identifier: BSD-2-Clause */
/* zoo.c - networks by name, as PaddleClas defines them (ppcls/arch/backbone/legendary_models: pp_lcnet.py, resnet.py).
 *
 * Parameters carry PaddleClas's names. The small variant halves the image three times instead of five, for 28 to 64 pixels:
 * PPLCNet keeps stem and first strided block at full size; ResNet has a 3x3 stem of stride 1 (vd: three of them, as always)
 * and no max pool. */
#include "graph/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_SIZE 96
#define PPLCNET_EXPAND 1280 /* channels before the classifier, whatever the scale */
#define PPLCNET_DROPOUT 0.2f

/* A graph being built. The first failure is kept; every step after it does nothing, so networks read without checks. */
struct builder {
    struct ssld_graph             *graph;
    const struct ssld_zoo_options *options;
    uint32_t                       parameters; /* made so far: the index their draws are counted by */
    ssld_status                    status;
};

/* What a step leaves out stands at zero: no bias, no normalisation, no activation. */
struct conv {
    const char *name;
    int32_t     outputs, kernel, stride, group;
    bool        bias;
};

/* -- Steps -------------------------------------------------------------------------------------------------------- */

/* Names are this file's own: the longest, "blocks5.5.pw_conv.bn._variance", is far from NAME_SIZE. */
static const char *join(char name[NAME_SIZE], const char *first, const char *second)
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

/* A constant filled with one number. */
static int32_t constant(struct builder *b, const char *name, int32_t role, int32_t ndims, const int64_t *dims, float fill)
{
    int32_t value = SSLD_NO_VALUE;
    if (b->status)
        return value;
    b->status = ssld_graph_add_value(b->graph, name, role, ndims, dims, NULL, &value);
    if (b->status)
        return SSLD_NO_VALUE;
    int64_t elements = ssld_value_elements(value_at(b, value));
    for (int64_t i = 0; fill != 0 && i < elements; i++)
        b->graph->values[value].data[i] = fill;
    b->parameters += role == SSLD_VALUE_PARAMETER;
    return value;
}

static int32_t node(struct builder *b, int32_t kind, const char *name, int32_t input_count, const int32_t *inputs,
                    const struct ssld_attributes *attributes)
{
    int32_t output = SSLD_NO_VALUE;
    if (!b->status)
        b->status = ssld_graph_add_node(b->graph, kind, name, input_count, inputs, attributes, NULL, &output);
    return output;
}

/* A node with one input and the operator's defaults, named after its block: "blocks2.0.se" + ".pool". */
static int32_t unary(struct builder *b, int32_t kind, const char *block, const char *suffix, int32_t src)
{
    char name[NAME_SIZE];
    return node(b, kind, join(name, block, suffix), 1, &src, NULL);
}

/* Weights are normal with deviation sqrt(2 / fan_in): Paddle's KaimingNormal, and what its convolutions start from without
 * being told. Biases start at 0. */
static int32_t conv(struct builder *b, int32_t src, struct conv c)
{
    char name[NAME_SIZE];
    if (b->status)
        return SSLD_NO_VALUE;
    if (!c.group)
        c.group = 1;
    int64_t inputs = value_at(b, src)->dims[1] / c.group, outputs = c.outputs;
    int32_t values[3] = { src, SSLD_NO_VALUE, SSLD_NO_VALUE };
    uint32_t parameter = b->parameters;
    values[1] = constant(b, join(name, c.name, ".weight"), SSLD_VALUE_PARAMETER, 4,
                         (int64_t[]){ outputs, inputs, c.kernel, c.kernel }, 0);
    if (!b->status)
        ssld_fill_normal(&b->graph->values[values[1]], b->options->seed, parameter,
                         sqrt(2.0 / (double)(inputs * c.kernel * c.kernel)));
    if (c.bias)
        values[2] = constant(b, join(name, c.name, ".bias"), SSLD_VALUE_PARAMETER, 1, &outputs, 0);

    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_CONV);
    attributes.group = c.group;
    for (int axis = 0; axis < 2; axis++) {
        attributes.window.strides[axis] = c.stride;
        attributes.window.pads[axis] = attributes.window.pads[axis + 2] = (c.kernel - 1) / 2;
    }
    return node(b, SSLD_OP_CONV, c.name, c.bias ? 3 : 2, values, &attributes);
}

static int32_t batch_norm(struct builder *b, int32_t src, const char *layer)
{
    char name[NAME_SIZE], full[NAME_SIZE];
    if (b->status)
        return SSLD_NO_VALUE;
    int64_t channels = value_at(b, src)->dims[1];
    join(name, layer, ".bn");
    int32_t values[5] = {
        src,
        constant(b, join(full, name, ".weight"), SSLD_VALUE_PARAMETER, 1, &channels, 1),
        constant(b, join(full, name, ".bias"), SSLD_VALUE_PARAMETER, 1, &channels, 0),
        constant(b, join(full, name, "._mean"), SSLD_VALUE_BUFFER, 1, &channels, 0),
        constant(b, join(full, name, "._variance"), SSLD_VALUE_BUFFER, 1, &channels, 1),
    };
    if (!b->status)
        b->graph->values[values[1]].no_decay = b->graph->values[values[2]].no_decay = true;
    return node(b, SSLD_OP_BATCH_NORM, name, 5, values, NULL);
}

/* Convolution without bias, batch norm, activation (SSLD_OP_IDENTITY: none). The convolution is called c.name + ".conv". */
static int32_t conv_bn(struct builder *b, int32_t src, struct conv c, int32_t activation)
{
    char name[NAME_SIZE];
    const char *layer = c.name;
    c.name = join(name, layer, ".conv");
    int32_t dst = batch_norm(b, conv(b, src, c), layer);
    return activation == SSLD_OP_IDENTITY ? dst : unary(b, activation, layer, ".act", dst);
}

static int32_t pool(struct builder *b, int32_t kind, const char *name, int32_t src, int32_t kernel, int32_t pad)
{
    struct ssld_attributes attributes = ssld_op_defaults(kind);
    for (int axis = 0; axis < 2; axis++) {
        attributes.window.kernel[axis] = kernel;
        attributes.window.strides[axis] = 2;
        attributes.window.pads[axis] = attributes.window.pads[axis + 2] = pad;
    }
    attributes.ceil_mode = kind == SSLD_OP_AVERAGE_POOL;
    return node(b, kind, name, 1, &src, &attributes);
}

/* Weights are uniform in -bound .. bound, the bias is 0. */
static int32_t fully_connected(struct builder *b, int32_t src, double bound)
{
    if (b->status)
        return SSLD_NO_VALUE;
    int64_t dims[2] = { b->options->classes, value_at(b, src)->dims[1] };
    uint32_t parameter = b->parameters;
    int32_t values[3] = { src, constant(b, "fc.weight", SSLD_VALUE_PARAMETER, 2, dims, 0),
                          constant(b, "fc.bias", SSLD_VALUE_PARAMETER, 1, dims, 0) };
    if (!b->status)
        ssld_fill_uniform(&b->graph->values[values[1]], b->options->seed, parameter, bound);
    return node(b, SSLD_OP_GEMM, "fc", 3, values, NULL);
}

/* -- Networks ----------------------------------------------------------------------------------------------------- */

struct network {
    const char *name;
    int32_t   (*build)(struct builder *b, const struct network *network, int32_t src);
    double      scale;      /* PPLCNet: of all widths */
    int32_t     depths[4];  /* ResNet: blocks in each stage */
    bool        bottleneck; /* ResNet: blocks of 1x1, 3x3, 1x1 instead of two 3x3 */
    bool        vd;         /* ResNet: a stem of three 3x3, average pools in the shortcuts */
};

/* The multiple of 8 nearest to scale * channels, but not under 90 % of it. */
static int32_t scaled(const struct network *network, int32_t channels)
{
    double exact = channels * network->scale;
    int32_t rounded = (int32_t)(exact + 4) / 8 * 8;
    if (rounded < 8)
        rounded = 8;
    return rounded < 0.9 * exact ? rounded + 8 : rounded;
}

/* Squeeze and excitation: each channel times a gate of all channels' means. */
static int32_t squeeze_excite(struct builder *b, int32_t src, const char *block)
{
    char name[NAME_SIZE], layer[NAME_SIZE];
    if (b->status)
        return SSLD_NO_VALUE;
    int32_t channels = (int32_t)value_at(b, src)->dims[1];
    join(name, block, ".se");
    int32_t gate = unary(b, SSLD_OP_GLOBAL_AVERAGE_POOL, name, ".avg_pool", src);
    gate = conv(b, gate, (struct conv){ join(layer, name, ".conv1"), channels / 4, 1, 1, 1, true });
    gate = unary(b, SSLD_OP_RELU, name, ".relu", gate);
    gate = conv(b, gate, (struct conv){ join(layer, name, ".conv2"), channels, 1, 1, 1, true });

    struct ssld_attributes slope = ssld_op_defaults(SSLD_OP_HARD_SIGMOID);
    slope.alpha = 1.0f / 6.0f; /* Paddle's default; ONNX's is 0.2 */
    gate = node(b, SSLD_OP_HARD_SIGMOID, join(layer, name, ".hardsigmoid"), 1, &gate, &slope);
    return node(b, SSLD_OP_MUL, name, 2, (int32_t[]){ src, gate }, NULL);
}

/* Depthwise and pointwise convolutions, batch norm and hard swish behind each, no residuals. */
static const struct {
    int32_t stage, index;   /* "blocks3.0" */
    int32_t kernel, outputs, stride;
    bool    small_stride_1; /* the halving that the small variant leaves out */
    bool    squeeze_excite;
} pplcnet_blocks[] = {
    { 2, 0, 3, 32, 1, false, false },
    { 3, 0, 3, 64, 2, true, false },   { 3, 1, 3, 64, 1, false, false },
    { 4, 0, 3, 128, 2, false, false }, { 4, 1, 3, 128, 1, false, false },
    { 5, 0, 3, 256, 2, false, false }, { 5, 1, 5, 256, 1, false, false }, { 5, 2, 5, 256, 1, false, false },
    { 5, 3, 5, 256, 1, false, false }, { 5, 4, 5, 256, 1, false, false }, { 5, 5, 5, 256, 1, false, false },
    { 6, 0, 5, 512, 2, false, true },  { 6, 1, 5, 512, 1, false, true },
};

static int32_t build_pplcnet(struct builder *b, const struct network *network, int32_t src)
{
    const struct ssld_zoo_options *options = b->options;
    int32_t x = conv_bn(b, src, (struct conv){ "conv1", scaled(network, 16), 3, options->small ? 1 : 2, 1, false },
                        SSLD_OP_HARD_SWISH);
    int32_t channels = scaled(network, 16);
    for (size_t i = 0; i < sizeof pplcnet_blocks / sizeof pplcnet_blocks[0]; i++) {
        char block[NAME_SIZE], name[NAME_SIZE];
        int32_t outputs = scaled(network, pplcnet_blocks[i].outputs);
        int32_t stride = options->small && pplcnet_blocks[i].small_stride_1 ? 1 : pplcnet_blocks[i].stride;
        snprintf(block, sizeof block, "blocks%d.%d", pplcnet_blocks[i].stage, pplcnet_blocks[i].index);
        x = conv_bn(b, x, (struct conv){ join(name, block, ".dw_conv"), channels, pplcnet_blocks[i].kernel, stride, channels,
                                         false }, SSLD_OP_HARD_SWISH);
        if (pplcnet_blocks[i].squeeze_excite)
            x = squeeze_excite(b, x, block);
        x = conv_bn(b, x, (struct conv){ join(name, block, ".pw_conv"), outputs, 1, 1, 1, false }, SSLD_OP_HARD_SWISH);
        channels = outputs;
    }
    x = unary(b, SSLD_OP_GLOBAL_AVERAGE_POOL, "avg_pool", "", x);
    x = conv(b, x, (struct conv){ "last_conv", PPLCNET_EXPAND, 1, 1, 1, false });
    x = unary(b, SSLD_OP_HARD_SWISH, "act", "", x);
    float ratio = options->dropout < 0 ? PPLCNET_DROPOUT : options->dropout;
    if (ratio > 0) {
        struct ssld_attributes dropout = ssld_op_defaults(SSLD_OP_DROPOUT);
        dropout.ratio = ratio;
        dropout.downscale_in_infer = 1;
        x = node(b, SSLD_OP_DROPOUT, "dropout", 1, &x, &dropout);
    }
    x = unary(b, SSLD_OP_FLATTEN, "flatten", "", x);
    /* Paddle's default for fully connected layers, XavierUniform: sqrt(6 / (fan_in + fan_out)). */
    return fully_connected(b, x, sqrt(6.0 / (PPLCNET_EXPAND + (double)options->classes)));
}

/* The other way around a block: nothing, or a 1x1 convolution with batch norm. In vd networks an average pool takes the
 * stride (2x2, ceil: PaddlePaddle's SAME padding, never counted), so that no cell is skipped. */
static int32_t resnet_shortcut(struct builder *b, int32_t src, const char *block, int32_t outputs, int32_t stride, bool pooled)
{
    char name[NAME_SIZE], layer[NAME_SIZE];
    join(name, block, ".short");
    if (pooled)
        src = pool(b, SSLD_OP_AVERAGE_POOL, join(layer, name, ".avg_pool"), src, 2, 0);
    return conv_bn(b, src, (struct conv){ name, outputs, 1, pooled ? 1 : stride, 1, false }, SSLD_OP_IDENTITY);
}

static int32_t resnet_block(struct builder *b, const struct network *network, int32_t src, const char *block, int32_t width,
                            int32_t stride, bool first_of_stage, bool first_of_all)
{
    char name[NAME_SIZE];
    int32_t x = src, outputs = network->bottleneck ? 4 * width : width;
    if (network->bottleneck) {
        x = conv_bn(b, x, (struct conv){ join(name, block, ".conv0"), width, 1, 1, 1, false }, SSLD_OP_RELU);
        x = conv_bn(b, x, (struct conv){ join(name, block, ".conv1"), width, 3, stride, 1, false }, SSLD_OP_RELU);
        x = conv_bn(b, x, (struct conv){ join(name, block, ".conv2"), outputs, 1, 1, 1, false }, SSLD_OP_IDENTITY);
    } else {
        x = conv_bn(b, x, (struct conv){ join(name, block, ".conv0"), width, 3, stride, 1, false }, SSLD_OP_RELU);
        x = conv_bn(b, x, (struct conv){ join(name, block, ".conv1"), width, 3, 1, 1, false }, SSLD_OP_IDENTITY);
    }
    int32_t around = first_of_stage ? resnet_shortcut(b, src, block, outputs, stride, network->vd && !first_of_all) : src;
    x = node(b, SSLD_OP_ADD, join(name, block, ".add"), 2, (int32_t[]){ x, around }, NULL);
    return unary(b, SSLD_OP_RELU, block, ".relu", x);
}

static int32_t resnet_stem(struct builder *b, const struct network *network, int32_t src)
{
    bool small = b->options->small;
    int32_t x = src;
    if (network->vd) {
        x = conv_bn(b, x, (struct conv){ "stem.0", 32, 3, small ? 1 : 2, 1, false }, SSLD_OP_RELU);
        x = conv_bn(b, x, (struct conv){ "stem.1", 32, 3, 1, 1, false }, SSLD_OP_RELU);
        x = conv_bn(b, x, (struct conv){ "stem.2", 64, 3, 1, 1, false }, SSLD_OP_RELU);
    } else {
        x = conv_bn(b, x, (struct conv){ "stem.0", 64, small ? 3 : 7, small ? 1 : 2, 1, false }, SSLD_OP_RELU);
    }
    return small ? x : pool(b, SSLD_OP_MAX_POOL, "max_pool", x, 3, 1);
}

/* Every stage's first block has a convolution in its shortcut, the first stage's too (torchvision has none there). */
static int32_t build_resnet(struct builder *b, const struct network *network, int32_t src)
{
    int32_t x = resnet_stem(b, network, src), index = 0;
    for (int32_t stage = 0; stage < 4; stage++)
        for (int32_t i = 0; i < network->depths[stage]; i++, index++) {
            char block[NAME_SIZE];
            snprintf(block, sizeof block, "blocks.%d", index);
            x = resnet_block(b, network, x, block, 64 << stage, i == 0 && stage > 0 ? 2 : 1, i == 0, index == 0);
        }
    x = unary(b, SSLD_OP_GLOBAL_AVERAGE_POOL, "avg_pool", "", x);
    if (b->options->dropout > 0) {
        struct ssld_attributes dropout = ssld_op_defaults(SSLD_OP_DROPOUT);
        dropout.ratio = b->options->dropout;
        dropout.downscale_in_infer = 1;
        x = node(b, SSLD_OP_DROPOUT, "dropout", 1, &x, &dropout);
    }
    x = unary(b, SSLD_OP_FLATTEN, "flatten", "", x);
    return fully_connected(b, x, b->status ? 0 : 1 / sqrt((double)value_at(b, x)->dims[1]));
}

static const struct network networks[] = {
    { "PPLCNet_x0_25", build_pplcnet, .scale = 0.25 },
    { "PPLCNet_x0_35", build_pplcnet, .scale = 0.35 },
    { "PPLCNet_x0_5", build_pplcnet, .scale = 0.5 },
    { "PPLCNet_x0_75", build_pplcnet, .scale = 0.75 },
    { "PPLCNet_x1_0", build_pplcnet, .scale = 1.0 },
    { "PPLCNet_x1_5", build_pplcnet, .scale = 1.5 },
    { "PPLCNet_x2_0", build_pplcnet, .scale = 2.0 },
    { "PPLCNet_x2_5", build_pplcnet, .scale = 2.5 },
    { "ResNet18", build_resnet, .depths = { 2, 2, 2, 2 } },
    { "ResNet34", build_resnet, .depths = { 3, 4, 6, 3 } },
    { "ResNet50_vd", build_resnet, .depths = { 3, 4, 6, 3 }, .bottleneck = true, .vd = true },
};

#define NETWORKS ((int32_t)(sizeof networks / sizeof networks[0]))

const char *ssld_zoo_name(int32_t index)
{
    return index >= 0 && index < NETWORKS ? networks[index].name : NULL;
}

static ssld_status unknown_network(ssld_context *context, const char *name)
{
    char known[512] = "";
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

    struct builder b = { .options = options };
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
