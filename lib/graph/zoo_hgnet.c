/* SPDX-License-Identifier: BSD-2-Clause */
/* zoo_hgnet.c - PP-HGNet: blocks of serial 3x3 convolutions whose results are all gathered by one 1x1, gated by all
 * channels' means (PaddleClas: legendary_models/pp_hgnet.py). */
#include "graph/zoo.h"

#include <stdio.h>

#define EXPAND 2048 /* channels before the classifier */
#define STAGES 4
#define MOST_LAYERS 7 /* of a block */

struct stage {
    int32_t width, outputs, blocks;
};

static const struct form {
    int32_t      stem[3];
    int32_t      layers; /* 3x3 convolutions of a block */
    float        dropout;
    struct stage stages[STAGES];
} forms[] = {
    [PPHGNET_TINY] = { { 48, 48, 96 }, 5, 0,
                       { { 96, 224, 1 }, { 128, 448, 1 }, { 160, 512, 2 }, { 192, 768, 1 } } },
    [PPHGNET_SMALL] = { { 64, 64, 128 }, 6, 0,
                        { { 128, 256, 1 }, { 160, 512, 1 }, { 192, 768, 2 }, { 224, 1024, 1 } } },
    [PPHGNET_BASE] = { { 96, 96, 160 }, 7, 0.2f,
                       { { 192, 320, 1 }, { 224, 640, 2 }, { 256, 960, 3 }, { 288, 1280, 2 } } },
};

/* Each channel times a sigmoid of a 1x1 of all channels' means. */
static int32_t effective_squeeze_excite(struct builder *b, int32_t src, const char *block)
{
    struct conv mix = pointwise(block, ".att.conv", ssld_zoo_channels(b, src));
    mix.bias = true;
    int32_t gate = ssld_zoo_unary(b, src, SSLD_OP_GLOBAL_AVERAGE_POOL, block, ".att.avg_pool");
    gate = ssld_zoo_unary(b, ssld_zoo_conv(b, gate, mix), SSLD_OP_SIGMOID, block, ".att.sigmoid");
    return ssld_zoo_binary(b, src, gate, SSLD_OP_MUL, block, ".att");
}

/* What comes in and what each layer makes, gathered; the residual goes around all but a stage's first block. */
static int32_t hg_block(struct builder *b, int32_t src, const struct stage *stage, const char *block, int32_t layers,
                        bool residual)
{
    int32_t parts[1 + MOST_LAYERS] = { src }, x;
    for (int32_t i = 0; i < layers; i++) {
        char layer[ZOO_NAME_SIZE];
        snprintf(layer, sizeof layer, ".layers.%d", i);
        parts[i + 1] = ssld_zoo_conv_bn(b, parts[i], dense(block, layer, stage->width, 3, 1), SSLD_OP_RELU);
    }
    x = ssld_zoo_node(b, SSLD_OP_CONCAT, block, ".concat", 1 + layers, parts, NULL);
    x = ssld_zoo_conv_bn(b, x, pointwise(block, ".aggregation_conv", stage->outputs), SSLD_OP_RELU);
    x = effective_squeeze_excite(b, x, block);
    return residual ? ssld_zoo_binary(b, x, src, SSLD_OP_ADD, block, ".add") : x;
}

int32_t ssld_zoo_pphgnet(struct builder *b, const struct network *network, int32_t src)
{
    const struct form *form = &forms[network->form];
    bool small = b->options->small;
    char name[ZOO_NAME_SIZE];
    int32_t x = src;
    for (int32_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "stem.%d", i);
        x = ssld_zoo_conv_bn(b, x, dense(name, "", form->stem[i], 3, i == 0 && !small ? 2 : 1), SSLD_OP_RELU);
    }
    if (!small)
        x = ssld_zoo_max_pool(b, x, "pool", 3, 2, 1);
    for (int32_t s = 0; s < STAGES; s++) {
        int32_t channels = ssld_zoo_channels(b, x);
        snprintf(name, sizeof name, "stages.%d.downsample", s);
        if (s > 0)
            x = ssld_zoo_conv_bn(b, x, depthwise(name, "", channels, 3, 2), SSLD_OP_IDENTITY);
        for (int32_t i = 0; i < form->stages[s].blocks; i++) {
            snprintf(name, sizeof name, "stages.%d.blocks.%d", s, i);
            x = hg_block(b, x, &form->stages[s], name, form->layers, i > 0);
        }
    }
    return ssld_zoo_wide_head(b, x, EXPAND, SSLD_OP_RELU, form->dropout);
}
