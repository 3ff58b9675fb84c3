/* SPDX-License-Identifier: BSD-2-Clause */
/* zoo_pplcnet.c - PP-LCNet and PP-LCNetV2: depthwise and pointwise convolutions, a wide layer behind the global pool
 * (PaddleClas: legendary_models/pp_lcnet.py, pp_lcnet_v2.py). */
#include "graph/zoo.h"

#include <stdio.h>

#define EXPAND 1280 /* channels before the classifier, whatever the scale */
#define DROPOUT 0.2f

/* -- PP-LCNet ----------------------------------------------------------------------------------------------------- */

/* Batch norm and hard swish behind both convolutions, no residuals. */
static const struct {
    int32_t stage, index;   /* "blocks3.0" */
    int32_t kernel, outputs, stride;
    bool    small_stride_1; /* the halving that the small variant leaves out */
    bool    squeeze_excite;
} blocks[] = {
    { 2, 0, 3, 32, 1, false, false },
    { 3, 0, 3, 64, 2, true, false },   { 3, 1, 3, 64, 1, false, false },
    { 4, 0, 3, 128, 2, false, false }, { 4, 1, 3, 128, 1, false, false },
    { 5, 0, 3, 256, 2, false, false }, { 5, 1, 5, 256, 1, false, false }, { 5, 2, 5, 256, 1, false, false },
    { 5, 3, 5, 256, 1, false, false }, { 5, 4, 5, 256, 1, false, false }, { 5, 5, 5, 256, 1, false, false },
    { 6, 0, 5, 512, 2, false, true },  { 6, 1, 5, 512, 1, false, true },
};

int32_t ssld_zoo_pplcnet(struct builder *b, const struct network *network, int32_t src)
{
    bool small = b->options->small;
    int32_t channels = ssld_zoo_divisible(network, 16);
    int32_t x = ssld_zoo_conv_bn(b, src, dense("conv1", "", channels, 3, small ? 1 : 2), SSLD_OP_HARD_SWISH);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        char block[ZOO_NAME_SIZE];
        int32_t stride = small && blocks[i].small_stride_1 ? 1 : blocks[i].stride;
        snprintf(block, sizeof block, "blocks%d.%d", blocks[i].stage, blocks[i].index);
        struct conv filter = depthwise(block, ".dw_conv", channels, blocks[i].kernel, stride);
        x = ssld_zoo_conv_bn(b, x, filter, SSLD_OP_HARD_SWISH);
        if (blocks[i].squeeze_excite) /* Paddle's slope; ONNX's default is 0.2 */
            x = ssld_zoo_squeeze_excite(b, x, block, ".se", SSLD_OP_HARD_SIGMOID, 1.0f / 6.0f);
        channels = ssld_zoo_divisible(network, blocks[i].outputs);
        x = ssld_zoo_conv_bn(b, x, pointwise(block, ".pw_conv", channels), SSLD_OP_HARD_SWISH);
    }
    return ssld_zoo_wide_head(b, x, EXPAND, SSLD_OP_HARD_SWISH, DROPOUT);
}

/* -- PP-LCNetV2 --------------------------------------------------------------------------------------------------- */

static const struct stage {
    int32_t inputs; /* the stage makes twice as many */
    int32_t kernel;
    bool    branches;       /* several depthwise kernels in parallel */
    bool    squeeze_excite;
    bool    two_pointwise;  /* the first to half the outputs */
    bool    residual;       /* where nothing changes shape */
} stages[4] = {
    { 64, 3, false, false, false, false },
    { 128, 3, false, false, false, false },
    { 256, 5, true, true, true, false },
    { 512, 5, true, false, false, true },
};

/* The sum of kernels 5x5, 3x3 and (at stride 1) 1x1, each with its own batch norm: the form that is trained.
 * PaddleClas's class also holds the one 5x5 convolution that it deploys in their place (dw_conv); training does not
 * touch it. */
static int32_t depthwise_branches(struct builder *b, int32_t src, const char *block, int32_t kernel, int32_t stride)
{
    int32_t channels = ssld_zoo_channels(b, src), sum = SSLD_NO_VALUE;
    for (int32_t branch = 0; kernel - 2 * branch >= (stride == 1 ? 1 : 3); branch++) {
        char layer[ZOO_NAME_SIZE];
        snprintf(layer, sizeof layer, ".dw_conv_list.%d", branch);
        struct conv filter = depthwise(block, layer, channels, kernel - 2 * branch, stride);
        int32_t x = ssld_zoo_conv_bn(b, src, filter, SSLD_OP_IDENTITY);
        snprintf(layer, sizeof layer, ".dw_conv_sum.%d", branch);
        sum = branch ? ssld_zoo_binary(b, sum, x, SSLD_OP_ADD, block, layer) : x;
    }
    return ssld_zoo_unary(b, sum, SSLD_OP_RELU, block, ".act");
}

static int32_t separable(struct builder *b, int32_t src, const struct stage *stage, const char *block, int32_t outputs,
                         int32_t stride)
{
    int32_t x = src, channels = ssld_zoo_channels(b, src);
    if (stage->branches)
        x = depthwise_branches(b, x, block, stage->kernel, stride);
    else
        x = ssld_zoo_conv_bn(b, x, depthwise(block, ".dw_conv", channels, stage->kernel, stride), SSLD_OP_RELU);
    if (stage->squeeze_excite)
        x = ssld_zoo_squeeze_excite(b, x, block, ".se", SSLD_OP_SIGMOID, 0);
    if (stage->two_pointwise) {
        x = ssld_zoo_conv_bn(b, x, pointwise(block, ".pw_conv_1", outputs / 2), SSLD_OP_RELU);
        x = ssld_zoo_conv_bn(b, x, pointwise(block, ".pw_conv_2", outputs), SSLD_OP_RELU);
    } else {
        x = ssld_zoo_conv_bn(b, x, pointwise(block, ".pw_conv", outputs), SSLD_OP_RELU);
    }
    bool residual = stage->residual && stride == 1 && channels == outputs;
    return residual ? ssld_zoo_binary(b, x, src, SSLD_OP_ADD, block, ".add") : x;
}

int32_t ssld_zoo_pplcnet_v2(struct builder *b, const struct network *network, int32_t src)
{
    bool small = b->options->small;
    int32_t channels = ssld_zoo_divisible(network, 32);
    int32_t x = ssld_zoo_conv_bn(b, src, dense("stem.0", "", channels, 3, small ? 1 : 2), SSLD_OP_RELU);
    x = separable(b, x, &stages[0], "stem.1", ssld_zoo_divisible(network, 64), 1);
    for (int32_t s = 0; s < 4; s++)
        for (int32_t i = 0; i < network->depths[s]; i++) {
            char block[ZOO_NAME_SIZE];
            snprintf(block, sizeof block, "stages.%d.%d", s, i);
            int32_t stride = i == 0 && !(small && s == 0) ? 2 : 1;
            x = separable(b, x, &stages[s], block, ssld_zoo_divisible(network, 2 * stages[s].inputs), stride);
        }
    return ssld_zoo_wide_head(b, x, EXPAND, SSLD_OP_RELU, DROPOUT);
}
