/* SPDX-License-Identifier: BSD-2-Clause */
/* zoo.h - what networks of the zoo are built from: the shared steps, which zoo.c has, and one function a family,
 * which stands in its zoo_*.c and is named by the family's rows in the table of networks. */
#ifndef SSLD_LIB_GRAPH_ZOO_H
#define SSLD_LIB_GRAPH_ZOO_H

#include "graph/graph.h"

#define ZOO_NAME_SIZE 64 /* of a block */

/* A graph being built. The first failure is kept; every step after it does nothing, so networks read without checks.
 * Steps take and give indices of values; `src` is what they read. */
struct builder {
    struct ssld_graph             *graph;
    const struct ssld_zoo_options *options;
    uint32_t                       parameters; /* made so far: the index their draws are counted by */
    ssld_status                    status;
    /* Habits of a family, set before its first step. */
    const char *conv_name, *norm_name; /* the two in a layer: ".conv" and ".bn" unless the family says otherwise */
    bool        spread_by_all_inputs;  /* see ssld_zoo_conv() */
};

/* A row of the table of networks. What a family does not know stands at zero. */
struct network {
    const char *name;
    int32_t   (*build)(struct builder *b, const struct network *network, int32_t src); /* gives the logits */
    int32_t     form;      /* which of the family's configurations: its own enum */
    double      scale;     /* of all widths */
    int32_t     depths[4]; /* blocks in each stage */
    int32_t     width;     /* ResNeXt: channels of a group in the first stage */
    bool        vd;        /* ResNet: a stem of three 3x3, average pools in the shortcuts */
};

enum { MOBILENET_V3_SMALL, MOBILENET_V3_LARGE };
enum { RESNET_BASIC, RESNET_BOTTLENECK };
enum { PPHGNET_TINY, PPHGNET_SMALL, PPHGNET_BASE };

int32_t ssld_zoo_pplcnet(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_pplcnet_v2(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_mobilenet_v1(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_mobilenet_v2(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_mobilenet_v3(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_resnet(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_resnext_wsl(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_res2net_vd(struct builder *b, const struct network *network, int32_t src);
int32_t ssld_zoo_pphgnet(struct builder *b, const struct network *network, int32_t src);

/* -- Steps -------------------------------------------------------------------------------------------------------- */

/* Every step names what it makes block + layer: "blocks2.0" + ".dw_conv". */

/* Channels of an activation; 0 after a failure. */
int32_t ssld_zoo_channels(const struct builder *b, int32_t value);
/* The multiple of 8 nearest to scale * channels, but not under 90 % of it. */
int32_t ssld_zoo_divisible(const struct network *network, int32_t channels);

int32_t ssld_zoo_node(struct builder *b, int32_t kind, const char *block, const char *layer, int32_t input_count,
                      const int32_t *inputs, const struct ssld_attributes *attributes);
/* One input, the operator's defaults. */
int32_t ssld_zoo_unary(struct builder *b, int32_t src, int32_t kind, const char *block, const char *layer);
/* Two inputs: ADD, MUL. */
int32_t ssld_zoo_binary(struct builder *b, int32_t first, int32_t second, int32_t kind, const char *block,
                        const char *layer);

/* A convolution whose pads keep the size at stride 1. */
struct conv {
    const char *block, *layer;
    int32_t     outputs, kernel, stride, group;
    bool        bias;
};

static inline struct conv grouped(const char *block, const char *layer, int32_t outputs, int32_t kernel, int32_t stride,
                                  int32_t group)
{
    return (struct conv){ block, layer, outputs, kernel, stride, group, false };
}

static inline struct conv dense(const char *block, const char *layer, int32_t outputs, int32_t kernel, int32_t stride)
{
    return grouped(block, layer, outputs, kernel, stride, 1);
}

static inline struct conv depthwise(const char *block, const char *layer, int32_t channels, int32_t kernel,
                                    int32_t stride)
{
    return grouped(block, layer, channels, kernel, stride, channels);
}

static inline struct conv pointwise(const char *block, const char *layer, int32_t outputs)
{
    return grouped(block, layer, outputs, 1, 1, 1);
}

/* Weights are normal with deviation sqrt(2 / fan_in), biases are 0. For a grouped convolution fan_in counts the
 * inputs of one group (Paddle's KaimingNormal) or, where the family leaves the initialiser to Paddle's Conv2D, those
 * of all groups. */
int32_t ssld_zoo_conv(struct builder *b, int32_t src, struct conv c);
/* Convolution, batch norm, activation (SSLD_OP_IDENTITY: none): block + layer + conv_name, norm_name, ".act". */
int32_t ssld_zoo_conv_bn(struct builder *b, int32_t src, struct conv c, int32_t activation);

/* Windows of kernel x kernel cells. Averages do not count pads, and have a window more where cells are left over
 * (`ceil`). */
int32_t ssld_zoo_max_pool(struct builder *b, int32_t src, const char *name, int32_t kernel, int32_t stride,
                          int32_t pad);
int32_t ssld_zoo_average_pool(struct builder *b, int32_t src, const char *block, const char *layer, int32_t kernel,
                              int32_t stride, int32_t pad, bool ceil);

/* Each channel times a gate of all channels' means: pool, 1x1 to a quarter of the channels, ReLU, 1x1 back, `gate`,
 * whose slope counts for SSLD_OP_HARD_SIGMOID. */
int32_t ssld_zoo_squeeze_excite(struct builder *b, int32_t src, const char *block, const char *layer, int32_t gate,
                                float slope);

/* How the classifier's weights start; its bias starts at 0. */
enum zoo_start {
    START_XAVIER_UNIFORM, /* +-sqrt(6 / (inputs + classes)): Paddle's Linear */
    START_INPUT_UNIFORM,  /* +-1 / sqrt(inputs) */
    START_KAIMING_NORMAL  /* deviation sqrt(2 / inputs) */
};

/* Means of the channels to logits: dropout (`dropout` is the network's own ratio, 0: none; the options may say
 * another), flatten, fully connected layer `name`. */
int32_t ssld_zoo_classify(struct builder *b, int32_t src, const char *name, float dropout, int32_t start);
/* Global pool, 1x1 convolution "last_conv" to `width` channels without batch norm, activation, then "fc" as above
 * from Xavier. */
int32_t ssld_zoo_wide_head(struct builder *b, int32_t src, int32_t width, int32_t activation, float dropout);

#endif
