/* SPDX-License-Identifier: BSD-2-Clause */
/* zoo_resnet.c - ResNet, its vd form, ResNeXt (wsl) and Res2Net (vd) (PaddleClas: legendary_models/resnet.py,
 * model_zoo/resnext101_wsl.py, model_zoo/res2net_vd.py).
 *
 * All are a stem, four stages of residual blocks, and a fully connected layer. The first block of a stage has a
 * convolution in its shortcut, in the first stage too (torchvision's ResNet18 and ResNet34 have none there). In vd
 * networks an average pool takes that shortcut's stride (2x2, ceil: PaddlePaddle's SAME padding, never counted), so
 * that no cell is skipped. */
#include "graph/zoo.h"

#include <stdio.h>

/* Where a block stands, and the channels in its middle. */
struct place {
    int32_t width, outputs, stride;
    bool    first_of_stage, first_of_all;
};

static struct place place_of(int32_t stage, int32_t index, int32_t width, int32_t outputs)
{
    return (struct place){ width, outputs, index == 0 && stage > 0 ? 2 : 1, index == 0, index == 0 && stage == 0 };
}

/* -- Shared ------------------------------------------------------------------------------------------------------- */

/* One 7x7 convolution or, in vd networks, three 3x3; then a max pool. */
static int32_t stem(struct builder *b, int32_t src, const char *const names[3], bool vd)
{
    bool small = b->options->small;
    int32_t x = src, stride = small ? 1 : 2;
    if (vd) {
        x = ssld_zoo_conv_bn(b, x, dense(names[0], "", 32, 3, stride), SSLD_OP_RELU);
        x = ssld_zoo_conv_bn(b, x, dense(names[1], "", 32, 3, 1), SSLD_OP_RELU);
        x = ssld_zoo_conv_bn(b, x, dense(names[2], "", 64, 3, 1), SSLD_OP_RELU);
    } else {
        x = ssld_zoo_conv_bn(b, x, dense(names[0], "", 64, small ? 3 : 7, stride), SSLD_OP_RELU);
    }
    return small ? x : ssld_zoo_max_pool(b, x, "max_pool", 3, 2, 1);
}

/* The other way around a block: nothing, or a 1x1 convolution with batch norm. */
static int32_t shortcut(struct builder *b, int32_t src, const char *block, const char *layer, const struct place *place,
                        bool vd)
{
    bool pooled = vd && !place->first_of_all;
    if (!place->first_of_stage)
        return src;
    if (pooled)
        src = ssld_zoo_average_pool(b, src, block, ".short.avg_pool", 2, 2, 0, true);
    struct conv change = dense(block, layer, place->outputs, 1, pooled ? 1 : place->stride);
    return ssld_zoo_conv_bn(b, src, change, SSLD_OP_IDENTITY);
}

static int32_t join_paths(struct builder *b, int32_t through, int32_t around, const char *block)
{
    int32_t x = ssld_zoo_binary(b, through, around, SSLD_OP_ADD, block, ".add");
    return ssld_zoo_unary(b, x, SSLD_OP_RELU, block, ".relu");
}

/* -- ResNet ------------------------------------------------------------------------------------------------------- */

static int32_t resnet_block(struct builder *b, int32_t src, const struct network *network, const char *block,
                            const struct place *place)
{
    int32_t x = src, width = place->width, stride = place->stride;
    if (network->form == RESNET_BOTTLENECK) {
        x = ssld_zoo_conv_bn(b, x, pointwise(block, ".conv0", width), SSLD_OP_RELU);
        x = ssld_zoo_conv_bn(b, x, dense(block, ".conv1", width, 3, stride), SSLD_OP_RELU);
        x = ssld_zoo_conv_bn(b, x, pointwise(block, ".conv2", place->outputs), SSLD_OP_IDENTITY);
    } else {
        x = ssld_zoo_conv_bn(b, x, dense(block, ".conv0", width, 3, stride), SSLD_OP_RELU);
        x = ssld_zoo_conv_bn(b, x, dense(block, ".conv1", width, 3, 1), SSLD_OP_IDENTITY);
    }
    return join_paths(b, x, shortcut(b, src, block, ".short", place, network->vd), block);
}

int32_t ssld_zoo_resnet(struct builder *b, const struct network *network, int32_t src)
{
    int32_t x = stem(b, src, (const char *const[]){ "stem.0", "stem.1", "stem.2" }, network->vd), number = 0;
    for (int32_t stage = 0; stage < 4; stage++)
        for (int32_t i = 0; i < network->depths[stage]; i++, number++) {
            char block[ZOO_NAME_SIZE];
            int32_t width = 64 << stage, outputs = network->form == RESNET_BOTTLENECK ? 4 * width : width;
            struct place place = place_of(stage, i, width, outputs);
            snprintf(block, sizeof block, "blocks.%d", number);
            x = resnet_block(b, x, network, block, &place);
        }
    x = ssld_zoo_unary(b, x, SSLD_OP_GLOBAL_AVERAGE_POOL, "avg_pool", "");
    return ssld_zoo_classify(b, x, "fc", 0, START_INPUT_UNIFORM);
}

/* -- ResNeXt: bottlenecks whose 3x3 is in 32 groups --------------------------------------------------------------- */

#define GROUPS 32

int32_t ssld_zoo_resnext_wsl(struct builder *b, const struct network *network, int32_t src)
{
    b->conv_name = "._conv";
    b->norm_name = "._bn";
    b->spread_by_all_inputs = true;
    int32_t x = stem(b, src, (const char *const[]){ "_conv_stem", NULL, NULL }, false);
    for (int32_t stage = 0; stage < 4; stage++)
        for (int32_t i = 0; i < network->depths[stage]; i++) {
            char block[ZOO_NAME_SIZE];
            struct place place = place_of(stage, i, GROUPS * network->width << stage, 256 << stage);
            snprintf(block, sizeof block, "_conv%d_%d", stage + 1, i);
            int32_t y = ssld_zoo_conv_bn(b, x, pointwise(block, "._conv0", place.width), SSLD_OP_RELU);
            y = ssld_zoo_conv_bn(b, y, grouped(block, "._conv1", place.width, 3, place.stride, GROUPS), SSLD_OP_RELU);
            y = ssld_zoo_conv_bn(b, y, pointwise(block, "._conv2", place.outputs), SSLD_OP_IDENTITY);
            x = join_paths(b, y, shortcut(b, x, block, "._short._conv", &place, false), block);
        }
    x = ssld_zoo_unary(b, x, SSLD_OP_GLOBAL_AVERAGE_POOL, "_avg_pool", "");
    return ssld_zoo_classify(b, x, "_out", 0, START_XAVIER_UNIFORM);
}

/* -- Res2Net: the 3x3 of a bottleneck in four parts that see each other ------------------------------------------- */

#define PARTS 4
#define PART_WIDTH 26 /* in the first stage */

/* The 3x3 convolutions carry names from before PaddleClas: "res3b", but "res4b1" in the third stage of networks with
 * over 50 layers. */
static void branch_name(char layer[ZOO_NAME_SIZE], const struct network *network, int32_t stage, int32_t index,
                        int32_t part)
{
    if (stage == 2 && network->depths[2] > 6 && index > 0)
        snprintf(layer, ZOO_NAME_SIZE, ".res4b%d_branch2b_%d", index, part + 1);
    else
        snprintf(layer, ZOO_NAME_SIZE, ".res%d%c_branch2b_%d", stage + 2, 'a' + index, part + 1);
}

static int32_t part_of(struct builder *b, int32_t src, const char *block, int32_t part)
{
    char layer[ZOO_NAME_SIZE];
    int32_t width = ssld_zoo_channels(b, src) / PARTS;
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_SLICE);
    attributes.begin = part * width;
    attributes.end = attributes.begin + width;
    snprintf(layer, sizeof layer, ".split_%d", part);
    return ssld_zoo_node(b, SSLD_OP_SLICE, block, layer, 1, &src, &attributes);
}

/* Of the parts x_0 .. x_3 of x, concatenated:
 *   y_0 = 3x3(x_0)     y_p = 3x3(x_p + y_(p-1)), at stride 2 3x3(x_p)     y_3 = x_3, at stride 2 its 3x3 average */
static int32_t hierarchical(struct builder *b, int32_t src, const struct network *network, const char *block,
                            int32_t stage, int32_t index)
{
    int32_t parts[PARTS], width = ssld_zoo_channels(b, src) / PARTS, stride = index == 0 && stage > 0 ? 2 : 1;
    for (int32_t p = 0; p < PARTS - 1; p++) {
        char layer[ZOO_NAME_SIZE], sum[ZOO_NAME_SIZE];
        int32_t x = part_of(b, src, block, p);
        snprintf(sum, sizeof sum, ".sum_%d", p);
        if (p > 0 && stride == 1)
            x = ssld_zoo_binary(b, x, parts[p - 1], SSLD_OP_ADD, block, sum);
        branch_name(layer, network, stage, index, p);
        parts[p] = ssld_zoo_conv_bn(b, x, dense(block, layer, width, 3, stride), SSLD_OP_RELU);
    }
    parts[PARTS - 1] = part_of(b, src, block, PARTS - 1);
    if (stride == 2)
        parts[PARTS - 1] = ssld_zoo_average_pool(b, parts[PARTS - 1], block, ".pool2d_avg", 3, 2, 1, false);
    return ssld_zoo_node(b, SSLD_OP_CONCAT, block, ".concat", PARTS, parts, NULL);
}

int32_t ssld_zoo_res2net_vd(struct builder *b, const struct network *network, int32_t src)
{
    b->conv_name = "._conv";
    b->norm_name = "._batch_norm";
    int32_t x = stem(b, src, (const char *const[]){ "conv1_1", "conv1_2", "conv1_3" }, true);
    for (int32_t stage = 0; stage < 4; stage++)
        for (int32_t i = 0; i < network->depths[stage]; i++) {
            char block[ZOO_NAME_SIZE];
            struct place place = place_of(stage, i, PARTS * PART_WIDTH << stage, 256 << stage);
            snprintf(block, sizeof block, "bb_%d_%d", stage, i);
            int32_t y = ssld_zoo_conv_bn(b, x, pointwise(block, ".conv0", place.width), SSLD_OP_RELU);
            y = hierarchical(b, y, network, block, stage, i);
            y = ssld_zoo_conv_bn(b, y, pointwise(block, ".conv2", place.outputs), SSLD_OP_IDENTITY);
            x = join_paths(b, y, shortcut(b, x, block, ".short", &place, true), block);
        }
    x = ssld_zoo_unary(b, x, SSLD_OP_GLOBAL_AVERAGE_POOL, "pool2d_avg", "");
    return ssld_zoo_classify(b, x, "out", 0, START_INPUT_UNIFORM);
}
