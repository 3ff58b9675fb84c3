/* SPDX-License-Identifier: BSD-2-Clause */
/* zoo_mobilenet.c - MobileNetV1, V2 and V3 (PaddleClas: legendary_models/mobilenet_v1.py and mobilenet_v3.py,
 * model_zoo/mobilenet_v2.py). */
#include "graph/zoo.h"

#include <stdio.h>

/* -- MobileNetV1: depthwise and pointwise convolutions, ReLU behind both ------------------------------------------ */

static const struct {
    int32_t outputs, stride;
    bool    small_stride_1; /* the halving that the small variant leaves out */
} v1_blocks[] = {
    { 64, 1, false },  { 128, 2, true },  { 128, 1, false },  { 256, 2, false }, { 256, 1, false },
    { 512, 2, false }, { 512, 1, false }, { 512, 1, false },  { 512, 1, false }, { 512, 1, false },
    { 512, 1, false }, { 1024, 2, false }, { 1024, 1, false },
};

/* V1 and V2 cut widths off where V3 rounds them to multiples of 8. */
static int32_t cut(const struct network *network, int32_t channels)
{
    return (int32_t)(channels * network->scale);
}

int32_t ssld_zoo_mobilenet_v1(struct builder *b, const struct network *network, int32_t src)
{
    bool small = b->options->small;
    int32_t channels = cut(network, 32);
    int32_t x = ssld_zoo_conv_bn(b, src, dense("conv", "", channels, 3, small ? 1 : 2), SSLD_OP_RELU);
    for (size_t i = 0; i < sizeof v1_blocks / sizeof v1_blocks[0]; i++) {
        char block[ZOO_NAME_SIZE];
        int32_t stride = small && v1_blocks[i].small_stride_1 ? 1 : v1_blocks[i].stride;
        snprintf(block, sizeof block, "blocks.%d", (int)i);
        x = ssld_zoo_conv_bn(b, x, depthwise(block, ".depthwise_conv", channels, 3, stride), SSLD_OP_RELU);
        channels = cut(network, v1_blocks[i].outputs);
        x = ssld_zoo_conv_bn(b, x, pointwise(block, ".pointwise_conv", channels), SSLD_OP_RELU);
    }
    x = ssld_zoo_unary(b, x, SSLD_OP_GLOBAL_AVERAGE_POOL, "avg_pool", "");
    return ssld_zoo_classify(b, x, "fc", 0, START_KAIMING_NORMAL);
}

/* -- MobileNetV2: inverted residuals, ReLU6 ----------------------------------------------------------------------- */

static const struct {
    int32_t expansion, outputs, blocks, stride;
    bool    small_stride_1;
} v2_stages[] = {
    { 1, 16, 1, 1, false }, { 6, 24, 2, 2, true },  { 6, 32, 3, 2, false }, { 6, 64, 4, 2, false },
    { 6, 96, 3, 1, false }, { 6, 160, 3, 2, false }, { 6, 320, 1, 1, false },
};

/* ReLU6 is a Clip, whose bounds are no defaults. */
static int32_t v2_layer(struct builder *b, int32_t src, struct conv c, bool activation)
{
    char layer[ZOO_NAME_SIZE];
    struct ssld_attributes clip = ssld_op_defaults(SSLD_OP_CLIP);
    clip.alpha = 0;
    clip.beta = 6;
    int32_t x = ssld_zoo_conv_bn(b, src, c, SSLD_OP_IDENTITY);
    snprintf(layer, sizeof layer, "%s.act", c.layer);
    return activation ? ssld_zoo_node(b, SSLD_OP_CLIP, c.block, layer, 1, &x, &clip) : x;
}

/* Expansion (with factor 1 too), depthwise convolution, projection; the residual goes around all but a stage's first
 * block. */
static int32_t v2_block(struct builder *b, int32_t src, const char *block, int32_t expansion, int32_t outputs,
                        int32_t stride, bool residual)
{
    int32_t expanded = expansion * ssld_zoo_channels(b, src);
    int32_t x = v2_layer(b, src, pointwise(block, "._expand_conv", expanded), true);
    x = v2_layer(b, x, depthwise(block, "._bottleneck_conv", expanded, 3, stride), true);
    x = v2_layer(b, x, pointwise(block, "._linear_conv", outputs), false);
    return residual ? ssld_zoo_binary(b, src, x, SSLD_OP_ADD, block, ".add") : x;
}

int32_t ssld_zoo_mobilenet_v2(struct builder *b, const struct network *network, int32_t src)
{
    bool small = b->options->small;
    b->conv_name = "._conv";
    b->norm_name = "._batch_norm";
    b->spread_by_all_inputs = true;
    int32_t x = v2_layer(b, src, dense("conv1", "", cut(network, 32), 3, small ? 1 : 2), true);
    for (int32_t s = 0; s < (int32_t)(sizeof v2_stages / sizeof v2_stages[0]); s++)
        for (int32_t i = 0; i < v2_stages[s].blocks; i++) {
            char block[ZOO_NAME_SIZE];
            int32_t stride = i || (small && v2_stages[s].small_stride_1) ? 1 : v2_stages[s].stride;
            if (i == 0)
                snprintf(block, sizeof block, "conv%d._first_block", s + 2);
            else
                snprintf(block, sizeof block, "conv%d.conv%d_%d", s + 2, s + 2, i + 1);
            x = v2_block(b, x, block, v2_stages[s].expansion, cut(network, v2_stages[s].outputs), stride, i > 0);
        }
    x = v2_layer(b, x, pointwise("conv9", "", network->scale > 1 ? cut(network, 1280) : 1280), true);
    x = ssld_zoo_unary(b, x, SSLD_OP_GLOBAL_AVERAGE_POOL, "pool2d_avg", "");
    return ssld_zoo_classify(b, x, "out", 0, START_XAVIER_UNIFORM);
}

/* -- MobileNetV3: inverted residuals with squeeze and excitation -------------------------------------------------- */

#define V3_STEM 16
#define V3_EXPAND 1280 /* channels before the classifier, whatever the scale */
#define V3_DROPOUT 0.2f
#define V3_GATE_SLOPE 0.2f

struct v3_block {
    int32_t kernel, expanded, outputs;
    bool    squeeze_excite;
    int32_t activation, stride;
    bool    small_stride_1;
};

static const struct v3_block v3_large[] = {
    { 3, 16, 16, false, SSLD_OP_RELU, 1, false },        { 3, 64, 24, false, SSLD_OP_RELU, 2, true },
    { 3, 72, 24, false, SSLD_OP_RELU, 1, false },        { 5, 72, 40, true, SSLD_OP_RELU, 2, false },
    { 5, 120, 40, true, SSLD_OP_RELU, 1, false },        { 5, 120, 40, true, SSLD_OP_RELU, 1, false },
    { 3, 240, 80, false, SSLD_OP_HARD_SWISH, 2, false }, { 3, 200, 80, false, SSLD_OP_HARD_SWISH, 1, false },
    { 3, 184, 80, false, SSLD_OP_HARD_SWISH, 1, false }, { 3, 184, 80, false, SSLD_OP_HARD_SWISH, 1, false },
    { 3, 480, 112, true, SSLD_OP_HARD_SWISH, 1, false }, { 3, 672, 112, true, SSLD_OP_HARD_SWISH, 1, false },
    { 5, 672, 160, true, SSLD_OP_HARD_SWISH, 2, false }, { 5, 960, 160, true, SSLD_OP_HARD_SWISH, 1, false },
    { 5, 960, 160, true, SSLD_OP_HARD_SWISH, 1, false },
};

static const struct v3_block v3_small[] = {
    { 3, 16, 16, true, SSLD_OP_RELU, 2, true },         { 3, 72, 24, false, SSLD_OP_RELU, 2, false },
    { 3, 88, 24, false, SSLD_OP_RELU, 1, false },       { 5, 96, 40, true, SSLD_OP_HARD_SWISH, 2, false },
    { 5, 240, 40, true, SSLD_OP_HARD_SWISH, 1, false }, { 5, 240, 40, true, SSLD_OP_HARD_SWISH, 1, false },
    { 5, 120, 48, true, SSLD_OP_HARD_SWISH, 1, false }, { 5, 144, 48, true, SSLD_OP_HARD_SWISH, 1, false },
    { 5, 288, 96, true, SSLD_OP_HARD_SWISH, 2, false }, { 5, 576, 96, true, SSLD_OP_HARD_SWISH, 1, false },
    { 5, 576, 96, true, SSLD_OP_HARD_SWISH, 1, false },
};

static const struct v3_form {
    const struct v3_block *blocks;
    int32_t                count, last; /* `last`: channels of the convolution before the global pool */
} v3_forms[] = {
    [MOBILENET_V3_SMALL] = { v3_small, sizeof v3_small / sizeof v3_small[0], 576 },
    [MOBILENET_V3_LARGE] = { v3_large, sizeof v3_large / sizeof v3_large[0], 960 },
};

/* The expansion is there in every block, also where it expands nothing (16 to 16). The residual goes around blocks
 * that keep size and channels. */
static int32_t v3_block(struct builder *b, int32_t src, const struct network *network, const struct v3_block *row,
                        const char *block)
{
    int32_t expanded = ssld_zoo_divisible(network, row->expanded), outputs = ssld_zoo_divisible(network, row->outputs);
    int32_t stride = b->options->small && row->small_stride_1 ? 1 : row->stride;
    int32_t x = ssld_zoo_conv_bn(b, src, pointwise(block, ".expand_conv", expanded), row->activation);
    x = ssld_zoo_conv_bn(b, x, depthwise(block, ".bottleneck_conv", expanded, row->kernel, stride), row->activation);
    if (row->squeeze_excite)
        x = ssld_zoo_squeeze_excite(b, x, block, ".mid_se", SSLD_OP_HARD_SIGMOID, V3_GATE_SLOPE);
    x = ssld_zoo_conv_bn(b, x, pointwise(block, ".linear_conv", outputs), SSLD_OP_IDENTITY);
    bool residual = stride == 1 && ssld_zoo_channels(b, src) == outputs;
    return residual ? ssld_zoo_binary(b, src, x, SSLD_OP_ADD, block, ".add") : x;
}

int32_t ssld_zoo_mobilenet_v3(struct builder *b, const struct network *network, int32_t src)
{
    b->spread_by_all_inputs = true;
    const struct v3_form *form = &v3_forms[network->form];
    int32_t first = ssld_zoo_divisible(network, V3_STEM), last = ssld_zoo_divisible(network, form->last);
    int32_t x = ssld_zoo_conv_bn(b, src, dense("conv", "", first, 3, b->options->small ? 1 : 2), SSLD_OP_HARD_SWISH);
    for (int32_t i = 0; i < form->count; i++) {
        char block[ZOO_NAME_SIZE];
        snprintf(block, sizeof block, "blocks.%d", i);
        x = v3_block(b, x, network, &form->blocks[i], block);
    }
    x = ssld_zoo_conv_bn(b, x, pointwise("last_second_conv", "", last), SSLD_OP_HARD_SWISH);
    return ssld_zoo_wide_head(b, x, V3_EXPAND, SSLD_OP_HARD_SWISH, V3_DROPOUT);
}
