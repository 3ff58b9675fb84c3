/* SPDX-License-Identifier: BSD-2-Clause */
/* mix.c - mixup and cutmix with a partner that is a pure function of (seed, sample, view), so that the teacher sees
 * the mixture and no batch has to be put together again.
 *
 * H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; S. Yun et al., "CutMix: Regularization
 * Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019. */
#include "image/operation.h"

#include <math.h>
#include <string.h>

#include "core/multiversion.h"
#include "image/draws.h"

/* How often of two alphas the second, the box's, is used; what an operation has no argument for is fixed by its kind.
 */
struct mix_rule {
    double blend_alpha, box_alpha, p, box;
};

static struct mix_rule mix_rule(const struct operation *operation)
{
    double first = operation->arguments[0].values[0], second = operation->arguments[1].values[0];
    if (operation->kind == &ssld_operation_mixup)
        return (struct mix_rule){ first, first, second, 0 };
    if (operation->kind == &ssld_operation_cutmix)
        return (struct mix_rule){ first, first, second, 1 };
    return (struct mix_rule){ first, second, operation->arguments[2].values[0], operation->arguments[3].values[0] };
}

/* 0 .. bound - 1: the high 64 bits of word * bound. */
static uint64_t draw_below(struct ssld_stream *stream, uint64_t bound)
{
    uint64_t high = ssld_stream_word(stream), low = ssld_stream_word(stream);
    uint64_t above = bound >> 32, below = bound & 0xffffffffu;
    uint64_t middle = high * below + (low * below >> 32), other = low * above + (middle & 0xffffffffu);
    return high * above + (middle >> 32) + (other >> 32);
}

/* The box's sides are sqrt(1 - share) of the view's, cut to whole pixels; half of it, rounded down, lies on each side
 * of its centre, and what hangs over the view's edge is cut off. */
static void place_box(int32_t length, double part, int32_t centre, int32_t *first, int32_t *count)
{
    int32_t half = (int32_t)(length * part) / 2, end = centre + half < length ? centre + half : length;
    *first = centre > half ? centre - half : 0;
    *count = end - *first;
}

/* Draws: 1. mixed if below p; 2. a box if below the share of boxes; 3., 4. the partner; 5. the share of the sample's
 * own pixels, Beta(alpha, alpha); of a box: 6. the row, 7. the column of its centre. */
void ssld_mix_draw(const ssld_view_spec *spec, uint64_t seed, uint64_t sample, uint32_t view, uint64_t samples,
                   const int32_t shape[3], ssld_view_mix *mix)
{
    *mix = (ssld_view_mix){ .struct_size = sizeof *mix, .kind = SSLD_MIX_NONE, .partner = sample, .share = 1 };
    if (spec->mix < 0)
        return;
    struct ssld_stream stream = ssld_stream_start(seed, sample, view, (uint16_t)spec->mix);
    struct mix_rule rule = mix_rule(&spec->operations[spec->mix]);
    bool mixed = ssld_draw_chance(&stream, rule.p), box = ssld_draw_chance(&stream, rule.box);
    uint64_t partner = draw_below(&stream, samples);
    double share = ssld_draw_beta(&stream, box ? rule.box_alpha : rule.blend_alpha);
    if (!mixed)
        return;
    if (box) {
        double part = sqrt(1 - share);
        int32_t row = (int32_t)ssld_stream_below(&stream, (uint32_t)shape[1]);
        int32_t column = (int32_t)ssld_stream_below(&stream, (uint32_t)shape[2]);
        place_box(shape[1], part, row, &mix->top, &mix->height);
        place_box(shape[2], part, column, &mix->left, &mix->width);
        share = 1 - (double)mix->height * mix->width / ((double)shape[1] * shape[2]);
    }
    mix->kind = share >= 1 ? SSLD_MIX_NONE : box ? SSLD_MIX_BOX : SSLD_MIX_BLEND;
    mix->partner = partner;
    mix->share = share;
}

/* dst = own * dst + other * partner, each product and the sum rounded to float. */
MULTIVERSION static void blend(float own, float other, const float *restrict partner, float *restrict dst, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = own * dst[i] + other * partner[i];
}

static bool box_fits(const ssld_view_mix *mix, const int32_t shape[3])
{
    return mix->top >= 0 && mix->left >= 0 && mix->height >= 0 && mix->width >= 0 && mix->height <= shape[1] &&
           mix->width <= shape[2] && mix->top <= shape[1] - mix->height && mix->left <= shape[2] - mix->width;
}

void ssld_view_mix_pixels(const ssld_view_mix *mix, const int32_t shape[3], const float *partner, float *view)
{
    size_t width = (size_t)shape[2], plane = (size_t)shape[1] * width;
    if (mix->kind == SSLD_MIX_BLEND)
        blend((float)mix->share, (float)(1 - mix->share), partner, view, (size_t)shape[0] * plane);
    for (int32_t c = 0; mix->kind == SSLD_MIX_BOX && box_fits(mix, shape) && c < shape[0]; c++)
        for (int32_t y = mix->top; y < mix->top + mix->height; y++) {
            size_t at = (size_t)c * plane + (size_t)y * width + (size_t)mix->left;
            memcpy(view + at, partner + at, (size_t)mix->width * sizeof *view);
        }
}

int32_t ssld_view_spec_mixes(const ssld_view_spec *spec)
{
    return spec->mix >= 0;
}

ssld_status ssld_view_partner(const ssld_view_spec *spec, uint64_t seed, uint64_t sample, uint32_t view,
                              uint64_t samples, const int32_t shape[3], ssld_view_mix *mix)
{
    ssld_view_mix own;
    if (!samples || sample >= samples)
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT,
                         "ssld_view_partner: sample %llu of %llu; the data set's count belongs here",
                         (unsigned long long)sample, (unsigned long long)samples);
    if (shape[0] < 1 || shape[1] < 1 || shape[2] < 1)
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT, "ssld_view_partner: views of shape %d x %d x %d",
                         shape[0], shape[1], shape[2]);
    ssld_mix_draw(spec, seed, sample, view, samples, shape, &own);
    return ssld_info_give(spec->context, "ssld_view_partner", mix, &own, sizeof own);
}

/* -- Operations --------------------------------------------------------------------------------------------------- */

#define ALPHA(name) { name, ARGUMENT_NUMBER, 0.001, 1000, NULL, NULL }
#define CHANCE(name, standard) { name, ARGUMENT_NUMBER, 0, 1, standard, NULL }

const struct operation_kind ssld_operation_mixup = {
    .name = "mixup",
    .arguments = { ALPHA("alpha"), CHANCE("p", "1") },
    .stage = STAGE_MIX,
    .shape = ssld_same_shape,
};

const struct operation_kind ssld_operation_cutmix = {
    .name = "cutmix",
    .arguments = { ALPHA("alpha"), CHANCE("p", "1") },
    .stage = STAGE_MIX,
    .shape = ssld_same_shape,
};

const struct operation_kind ssld_operation_mixup_or_cutmix = {
    .name = "mixup_or_cutmix",
    .arguments = { ALPHA("mixup"), ALPHA("cutmix"), CHANCE("p", "1"), CHANCE("switch", "0.5") },
    .stage = STAGE_MIX,
    .shape = ssld_same_shape,
};
