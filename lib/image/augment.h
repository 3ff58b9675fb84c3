/* SPDX-License-Identifier: BSD-2-Clause */
/* augment.h - RandAugment and AutoAugment: what is drawn, apart from its pixels. */
#ifndef SSLD_LIB_IMAGE_AUGMENT_H
#define SSLD_LIB_IMAGE_AUGMENT_H

#include "image/operation.h"
#include "image/pixels.h"

#define SSLD_MOST_CALLS 16

/* What one rendering of an operation applies, in this order. */
struct augmentation {
    int32_t           count;
    struct pixel_call calls[SSLD_MOST_CALLS];
};

/* An operation as it stands in timm's lists: what it does to pixels, and how a level of 0 to 10 becomes its value.
 * `sign` is 1 or -1, which operations that have no direction ignore. */
struct level_operation {
    const char          *name; /* timm's */
    enum pixel_operation operation;
    double (*value)(double level, double sign);
};

/* Places in ssld_level_operations[]. */
enum level_name {
    AUTO_CONTRAST, EQUALIZE, INVERT, ROTATE, POSTERIZE, POSTERIZE_INCREASING, POSTERIZE_ORIGINAL, SOLARIZE,
    SOLARIZE_INCREASING, SOLARIZE_ADD, COLOR, COLOR_INCREASING, CONTRAST, CONTRAST_INCREASING, BRIGHTNESS,
    BRIGHTNESS_INCREASING, SHARPNESS, SHARPNESS_INCREASING, SHEAR_X, SHEAR_Y, TRANSLATE_X_REL, TRANSLATE_Y_REL,
    LEVEL_NAMES
};
extern const struct level_operation ssld_level_operations[LEVEL_NAMES];

#define SSLD_POLICIES 25 /* sub-policies of each policy */

/* An operation of a sub-policy: its probability in tenths, its level. */
struct policy_step {
    uint8_t operation; /* timm: an enum level_name; PaddleClas: an enum pixel_operation */
    uint8_t tenths;
    uint8_t level;
};
typedef struct policy_step sub_policy[2];

/* policies.c: timm's v0 and original (the r variants differ in how they posterize), PaddleClas's ImageNet, CIFAR-10 and
 * SVHN. */
extern const sub_policy ssld_policy_v0[SSLD_POLICIES], ssld_policy_original[SSLD_POLICIES],
    ssld_policy_imagenet[SSLD_POLICIES], ssld_policy_cifar10[SSLD_POLICIES], ssld_policy_svhn[SSLD_POLICIES];

/* What the operation, one of the four below, applies to an image of this size. */
void ssld_augment_draw(const struct operation *operation, int32_t height, int32_t width, struct ssld_stream *stream,
                       struct augmentation *augmentation);

/* What color_jitter applies. */
void ssld_jitter_draw(const struct operation *operation, struct ssld_stream *stream, struct augmentation *augmentation);

#endif
