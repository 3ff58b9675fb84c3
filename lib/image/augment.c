/* SPDX-License-Identifier: BSD-2-Clause */
/* augment.c - RandAugment and AutoAugment as timm defines them ("rand-m9-mstd0.5-inc1"), and as PaddleClas does.
 *
 * E. D. Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", NeurIPS 2020.
 */
#include "image/augment.h"

#include <math.h>
#include <string.h>

#include "image/draws.h"

/* -- From levels to values ---------------------------------------------------------------------------------------- */

#define MOST_LEVEL 10.0

static double no_value(double level, double sign)
{
    (void)level;
    (void)sign;
    return 0;
}

static double rotate_value(double level, double sign)
{
    return sign * (level / MOST_LEVEL * 30.0);
}

static double posterize_value(double level, double sign)
{
    (void)sign;
    return floor(level / MOST_LEVEL * 4);
}

static double posterize_increasing_value(double level, double sign)
{
    return 4 - posterize_value(level, sign);
}

static double posterize_original_value(double level, double sign)
{
    return posterize_value(level, sign) + 4;
}

static double solarize_value(double level, double sign)
{
    (void)sign;
    return floor(level / MOST_LEVEL * 256);
}

static double solarize_increasing_value(double level, double sign)
{
    return 256 - solarize_value(level, sign);
}

static double solarize_add_value(double level, double sign)
{
    (void)sign;
    return floor(level / MOST_LEVEL * 110);
}

static double enhance_value(double level, double sign)
{
    (void)sign;
    return level / MOST_LEVEL * 1.8 + 0.1;
}

static double enhance_increasing_value(double level, double sign)
{
    return fmax(0.1, 1.0 + sign * (level / MOST_LEVEL * 0.9));
}

static double shear_value(double level, double sign)
{
    return sign * (level / MOST_LEVEL * 0.3);
}

/* A part of the side; the caller multiplies. */
static double translate_value(double level, double sign)
{
    return sign * (level / MOST_LEVEL * 0.45);
}

const struct level_operation ssld_level_operations[LEVEL_NAMES] = {
    [AUTO_CONTRAST] = { "AutoContrast", PIXELS_AUTOCONTRAST, no_value },
    [EQUALIZE] = { "Equalize", PIXELS_EQUALIZE, no_value },
    [INVERT] = { "Invert", PIXELS_INVERT, no_value },
    [ROTATE] = { "Rotate", PIXELS_ROTATE, rotate_value },
    [POSTERIZE] = { "Posterize", PIXELS_POSTERIZE, posterize_value },
    [POSTERIZE_INCREASING] = { "PosterizeIncreasing", PIXELS_POSTERIZE, posterize_increasing_value },
    [POSTERIZE_ORIGINAL] = { "PosterizeOriginal", PIXELS_POSTERIZE, posterize_original_value },
    [SOLARIZE] = { "Solarize", PIXELS_SOLARIZE, solarize_value },
    [SOLARIZE_INCREASING] = { "SolarizeIncreasing", PIXELS_SOLARIZE, solarize_increasing_value },
    [SOLARIZE_ADD] = { "SolarizeAdd", PIXELS_SOLARIZE_ADD, solarize_add_value },
    [COLOR] = { "Color", PIXELS_COLOR, enhance_value },
    [COLOR_INCREASING] = { "ColorIncreasing", PIXELS_COLOR, enhance_increasing_value },
    [CONTRAST] = { "Contrast", PIXELS_CONTRAST, enhance_value },
    [CONTRAST_INCREASING] = { "ContrastIncreasing", PIXELS_CONTRAST, enhance_increasing_value },
    [BRIGHTNESS] = { "Brightness", PIXELS_BRIGHTNESS, enhance_value },
    [BRIGHTNESS_INCREASING] = { "BrightnessIncreasing", PIXELS_BRIGHTNESS, enhance_increasing_value },
    [SHARPNESS] = { "Sharpness", PIXELS_SHARPNESS, enhance_value },
    [SHARPNESS_INCREASING] = { "SharpnessIncreasing", PIXELS_SHARPNESS, enhance_increasing_value },
    [SHEAR_X] = { "ShearX", PIXELS_SHEAR_X, shear_value },
    [SHEAR_Y] = { "ShearY", PIXELS_SHEAR_Y, shear_value },
    [TRANSLATE_X_REL] = { "TranslateXRel", PIXELS_TRANSLATE_X, translate_value },
    [TRANSLATE_Y_REL] = { "TranslateYRel", PIXELS_TRANSLATE_Y, translate_value },
};

/* The lists that RandAugment chooses from, in timm's order: "inc" and without. */
#define LIST 15
static const uint8_t lists[2][LIST] = {
    { AUTO_CONTRAST, EQUALIZE, INVERT, ROTATE, POSTERIZE_INCREASING, SOLARIZE_INCREASING, SOLARIZE_ADD,
      COLOR_INCREASING, CONTRAST_INCREASING, BRIGHTNESS_INCREASING, SHARPNESS_INCREASING, SHEAR_X, SHEAR_Y,
      TRANSLATE_X_REL, TRANSLATE_Y_REL },
    { AUTO_CONTRAST, EQUALIZE, INVERT, ROTATE, POSTERIZE, SOLARIZE, SOLARIZE_ADD, COLOR, CONTRAST, BRIGHTNESS,
      SHARPNESS, SHEAR_X, SHEAR_Y, TRANSLATE_X_REL, TRANSLATE_Y_REL },
};

/* -- Drawing ------------------------------------------------------------------------------------------------------ */

/* Places of arguments; `apply`, `fill` and `resample` stand at different ones in different operations. */
enum { RAND_MAGNITUDE, RAND_OPS, RAND_P, RAND_MSTD, RAND_LIST, RAND_RESAMPLE, RAND_FILL, RAND_APPLY };
enum { AUTO_POLICY, AUTO_MSTD, AUTO_RESAMPLE, AUTO_FILL, AUTO_APPLY };
enum { PADDLE_RAND_MAGNITUDE, PADDLE_RAND_OPS, PADDLE_RAND_FILL };
enum { PADDLE_AUTO_POLICY, PADDLE_AUTO_FILL };
enum { RESAMPLE_BICUBIC, RESAMPLE_BILINEAR, RESAMPLE_RANDOM };
#define RESAMPLES "bicubic|bilinear|random"

static double number(const struct operation *operation, int argument)
{
    return operation->arguments[argument].values[0];
}

static void set_fill(const struct argument *fill, struct pixel_call *call)
{
    for (int c = 0; c < 3; c++)
        call->fill[c] = (uint8_t)(ssld_channel_value(fill, c) + 0.5);
}

static void add_call(struct augmentation *augmentation, const struct pixel_call *call)
{
    augmentation->calls[augmentation->count++] = *call;
}

/* What timm's steps of a RandAugment or AutoAugment share. */
struct level_rule {
    double                 mstd;
    int                    resample;
    const struct argument *fill;
    int32_t                height, width;
};

/* Draws: 1. applied if below p; 2. negative if at least 1/2; 3. bilinear if at least 1/2, for resample=random; 4., 5.
 * the level's normal deviate, if mstd is not 0. */
static void draw_level(const struct level_rule *rule, enum level_name name, double p, double level,
                       struct ssld_stream *stream, struct augmentation *augmentation)
{
    const struct level_operation *kind = &ssld_level_operations[name];
    bool applied = ssld_draw_chance(stream, p);
    double sign = ssld_stream_uniform(stream) < 0.5 ? 1.0 : -1.0;
    bool other = ssld_stream_uniform(stream) >= 0.5;
    if (rule->mstd > 0)
        level += rule->mstd * ssld_draw_normal(stream);
    level = fmax(0.0, fmin(MOST_LEVEL, level));
    if (!applied)
        return;
    struct pixel_call call = { .operation = kind->operation,
                               .value = kind->value(level, sign),
                               .filter = FILTER_BICUBIC };
    if (rule->resample == RESAMPLE_BILINEAR || (rule->resample == RESAMPLE_RANDOM && other))
        call.filter = FILTER_BILINEAR;
    if (call.operation == PIXELS_TRANSLATE_X)
        call.value *= rule->width;
    if (call.operation == PIXELS_TRANSLATE_Y)
        call.value *= rule->height;
    set_fill(rule->fill, &call);
    add_call(augmentation, &call);
}

/* Draws: 1. nothing is applied unless below `apply`; then of each of the `ops` its place in the list; then of each in
 * turn what draw_level() draws. */
static void draw_randaugment(const struct operation *operation, int32_t height, int32_t width,
                             struct ssld_stream *stream, struct augmentation *augmentation)
{
    int32_t ops = (int32_t)number(operation, RAND_OPS);
    const uint8_t *list = lists[(int)number(operation, RAND_LIST)];
    struct level_rule rule = { number(operation, RAND_MSTD), (int)number(operation, RAND_RESAMPLE),
                               &operation->arguments[RAND_FILL], height, width };
    uint32_t chosen[SSLD_MOST_CALLS];
    if (!ssld_draw_chance(stream, number(operation, RAND_APPLY)))
        return;
    for (int32_t i = 0; i < ops; i++)
        chosen[i] = ssld_stream_below(stream, LIST);
    for (int32_t i = 0; i < ops; i++)
        draw_level(&rule, list[chosen[i]], number(operation, RAND_P), number(operation, RAND_MAGNITUDE), stream,
                   augmentation);
}

/* v0r and originalr posterize more with a higher level. */
static enum level_name step_name(const struct policy_step *step, bool research)
{
    bool posterize = step->operation == POSTERIZE || step->operation == POSTERIZE_ORIGINAL;
    return research && posterize ? POSTERIZE_INCREASING : (enum level_name)step->operation;
}

/* Draws: 1. nothing is applied unless below `apply`; 2. the sub-policy; then of both its steps what draw_level()
 * draws. */
static void draw_autoaugment(const struct operation *operation, int32_t height, int32_t width,
                             struct ssld_stream *stream, struct augmentation *augmentation)
{
    int policy = (int)number(operation, AUTO_POLICY); /* v0|v0r|original|originalr */
    const sub_policy *policies = policy < 2 ? ssld_policy_v0 : ssld_policy_original;
    struct level_rule rule = { number(operation, AUTO_MSTD), (int)number(operation, AUTO_RESAMPLE),
                               &operation->arguments[AUTO_FILL], height, width };
    if (!ssld_draw_chance(stream, number(operation, AUTO_APPLY)))
        return;
    const struct policy_step *steps = policies[ssld_stream_below(stream, SSLD_POLICIES)];
    for (int i = 0; i < 2; i++)
        draw_level(&rule, step_name(&steps[i], policy % 2), steps[i].tenths / 10.0, steps[i].level, stream,
                   augmentation);
}

/* What PaddleClas's steps share. Its RandAugment takes level / 10 of the strongest value, its policies the level-th of
 * numpy's linspace() of ten. */
struct paddle_rule {
    bool                   policy;
    const struct argument *fill;
    int32_t                height, width;
};

static double paddle_strength(const struct paddle_rule *rule, double most, double level)
{
    if (!rule->policy)
        return most * (level / MOST_LEVEL);
    return level == 9 ? most : level * (most / 9);
}

/* Shears are bicubic, shifts and rotations nearest; a rotation has no direction and its corners are grey. */
static void add_paddle_call(const struct paddle_rule *rule, enum pixel_operation kind, double level, double sign,
                            struct augmentation *augmentation)
{
    static const double strengths[] = {
        [PIXELS_COLOR] = 0.9,           [PIXELS_CONTRAST] = 0.9,        [PIXELS_BRIGHTNESS] = 0.9,
        [PIXELS_SHARPNESS] = 0.9,       [PIXELS_ROTATE] = 30,           [PIXELS_SHEAR_X] = 0.3,
        [PIXELS_SHEAR_Y] = 0.3,         [PIXELS_TRANSLATE_X] = 150.0 / 331, [PIXELS_TRANSLATE_Y] = 150.0 / 331,
    };
    struct pixel_call call = { .operation = kind, .value = paddle_strength(rule, strengths[kind], level) };
    set_fill(rule->fill, &call);
    if (kind >= PIXELS_COLOR && kind <= PIXELS_SHARPNESS)
        call.value = 1 + call.value * sign;
    else if (kind == PIXELS_POSTERIZE)
        call.value = rule->policy ? rint(8 - paddle_strength(rule, 4, level)) : floor(paddle_strength(rule, 4, level));
    else if (kind == PIXELS_SOLARIZE)
        call.value = rule->policy ? 256 - paddle_strength(rule, 256, level) : paddle_strength(rule, 256, level);
    else if (kind == PIXELS_ROTATE)
        memset(call.fill, 128, sizeof call.fill);
    else if (kind == PIXELS_TRANSLATE_X)
        call.value = call.value * rule->width * sign;
    else if (kind == PIXELS_TRANSLATE_Y)
        call.value = call.value * rule->height * sign;
    else if (kind == PIXELS_SHEAR_X || kind == PIXELS_SHEAR_Y) {
        call.value *= sign;
        call.filter = FILTER_BICUBIC;
    }
    add_call(augmentation, &call);
}

/* PaddleClas's list. */
static const uint8_t paddle_list[] = {
    PIXELS_SHEAR_X,    PIXELS_SHEAR_Y,      PIXELS_TRANSLATE_X, PIXELS_TRANSLATE_Y, PIXELS_ROTATE,
    PIXELS_COLOR,      PIXELS_POSTERIZE,    PIXELS_SOLARIZE,    PIXELS_CONTRAST,    PIXELS_SHARPNESS,
    PIXELS_BRIGHTNESS, PIXELS_AUTOCONTRAST, PIXELS_EQUALIZE,    PIXELS_INVERT,
};

/* Draws, of each of the `ops` in turn: 1. its place in the list; 2. negative if at least 1/2. */
static void draw_paddle_rand(const struct operation *operation, int32_t height, int32_t width,
                             struct ssld_stream *stream, struct augmentation *augmentation)
{
    struct paddle_rule rule = { false, &operation->arguments[PADDLE_RAND_FILL], height, width };
    for (int32_t i = 0; i < (int32_t)number(operation, PADDLE_RAND_OPS); i++) {
        uint32_t place = ssld_stream_below(stream, sizeof paddle_list);
        double sign = ssld_stream_uniform(stream) < 0.5 ? 1.0 : -1.0;
        add_paddle_call(&rule, (enum pixel_operation)paddle_list[place], number(operation, PADDLE_RAND_MAGNITUDE), sign,
                        augmentation);
    }
}

/* Draws: 1. the sub-policy; then of both its steps 2. applied if below its probability, 3. negative if at least 1/2. */
static void draw_paddle_auto(const struct operation *operation, int32_t height, int32_t width,
                             struct ssld_stream *stream, struct augmentation *augmentation)
{
    static const sub_policy *const policies[] = { ssld_policy_imagenet, ssld_policy_cifar10, ssld_policy_svhn };
    struct paddle_rule rule = { true, &operation->arguments[PADDLE_AUTO_FILL], height, width };
    const struct policy_step *steps =
        policies[(int)number(operation, PADDLE_AUTO_POLICY)][ssld_stream_below(stream, SSLD_POLICIES)];
    for (int i = 0; i < 2; i++) {
        bool applied = ssld_draw_chance(stream, steps[i].tenths / 10.0);
        double sign = ssld_stream_uniform(stream) < 0.5 ? 1.0 : -1.0;
        if (applied)
            add_paddle_call(&rule, (enum pixel_operation)steps[i].operation, steps[i].level, sign, augmentation);
    }
}

/* -- Operations --------------------------------------------------------------------------------------------------- */

static const struct {
    const struct operation_kind *kind;
    int                          fill; /* place of the argument */
    void (*draw)(const struct operation *operation, int32_t height, int32_t width, struct ssld_stream *stream,
                 struct augmentation *augmentation);
} rules[] = {
    { &ssld_operation_randaugment, RAND_FILL, draw_randaugment },
    { &ssld_operation_autoaugment, AUTO_FILL, draw_autoaugment },
    { &ssld_operation_paddle_randaugment, PADDLE_RAND_FILL, draw_paddle_rand },
    { &ssld_operation_paddle_autoaugment, PADDLE_AUTO_FILL, draw_paddle_auto },
};

static size_t rule_of(const struct operation *operation)
{
    size_t i = 0;
    while (rules[i].kind != operation->kind)
        i++;
    return i;
}

void ssld_augment_draw(const struct operation *operation, int32_t height, int32_t width, struct ssld_stream *stream,
                       struct augmentation *augmentation)
{
    augmentation->count = 0;
    rules[rule_of(operation)].draw(operation, height, width, stream, augmentation);
}

static ssld_status augment_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                 struct ssld_fault *fault)
{
    if (ssld_check_channels(operation, rules[rule_of(operation)].fill, in, fault))
        return fault->status;
    return ssld_same_shape(operation, in, out, fault);
}

static ssld_status augment_apply(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                                 const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault)
{
    struct augmentation augmentation;
    ssld_status status = SSLD_OK;
    ssld_augment_draw(operation, out[1], out[2], stream, &augmentation);
    for (int32_t i = 0; i < augmentation.count && !status; i++)
        status = ssld_pixels_change(context, &augmentation.calls[i], image, fault);
    return status;
}

const struct operation_kind ssld_operation_randaugment = {
    .name = "randaugment",
    .arguments = { [RAND_MAGNITUDE] = { "magnitude", ARGUMENT_NUMBER, 0, 10, NULL, NULL },
                   [RAND_OPS] = { "ops", ARGUMENT_COUNT, 1, SSLD_MOST_CALLS, "2", NULL },
                   [RAND_P] = { "p", ARGUMENT_NUMBER, 0, 1, "0.5", NULL },
                   [RAND_MSTD] = { "mstd", ARGUMENT_NUMBER, 0, 100, "0.5", NULL },
                   [RAND_LIST] = { "list", ARGUMENT_WORD, 0, 0, "increasing", "increasing|plain" },
                   [RAND_RESAMPLE] = { "resample", ARGUMENT_WORD, 0, 0, "bicubic", RESAMPLES },
                   [RAND_FILL] = { "fill", ARGUMENT_CHANNELS, 0, 255, "124/116/104", NULL },
                   [RAND_APPLY] = { "apply", ARGUMENT_NUMBER, 0, 1, "1", NULL } },
    .shape = augment_shape,
    .apply = augment_apply,
};

const struct operation_kind ssld_operation_autoaugment = {
    .name = "autoaugment",
    .arguments = { [AUTO_POLICY] = { "policy", ARGUMENT_WORD, 0, 0, NULL, "v0|v0r|original|originalr" },
                   [AUTO_MSTD] = { "mstd", ARGUMENT_NUMBER, 0, 100, "0", NULL },
                   [AUTO_RESAMPLE] = { "resample", ARGUMENT_WORD, 0, 0, "bicubic", RESAMPLES },
                   [AUTO_FILL] = { "fill", ARGUMENT_CHANNELS, 0, 255, "124/116/104", NULL },
                   [AUTO_APPLY] = { "apply", ARGUMENT_NUMBER, 0, 1, "1", NULL } },
    .shape = augment_shape,
    .apply = augment_apply,
};

const struct operation_kind ssld_operation_paddle_randaugment = {
    .name = "paddle_randaugment",
    .arguments = { [PADDLE_RAND_MAGNITUDE] = { "magnitude", ARGUMENT_NUMBER, 0, 10, "5", NULL },
                   [PADDLE_RAND_OPS] = { "ops", ARGUMENT_COUNT, 1, SSLD_MOST_CALLS, "2", NULL },
                   [PADDLE_RAND_FILL] = { "fill", ARGUMENT_CHANNELS, 0, 255, "128", NULL } },
    .shape = augment_shape,
    .apply = augment_apply,
};

const struct operation_kind ssld_operation_paddle_autoaugment = {
    .name = "paddle_autoaugment",
    .arguments = { [PADDLE_AUTO_POLICY] = { "policy", ARGUMENT_WORD, 0, 0, "imagenet", "imagenet|cifar10|svhn" },
                   [PADDLE_AUTO_FILL] = { "fill", ARGUMENT_CHANNELS, 0, 255, "128", NULL } },
    .shape = augment_shape,
    .apply = augment_apply,
};
