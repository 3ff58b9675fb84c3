/* SPDX-License-Identifier: BSD-2-Clause */
/* jitter.c - brightness, contrast, saturation and hue changed in a random order, as torchvision's and PaddleClas's
 * ColorJitter do it. */
#include "image/augment.h"

#include <math.h>

#include "image/draws.h"

enum { BRIGHTNESS_BY, CONTRAST_BY, SATURATION_BY, HUE_BY, PARTS };
#define APPLY PARTS

/* Draws: 1. nothing is changed unless below p; 2., 3., 4. the order: for place 3, 2, 1 the place up to it that it
 * changes with; 5. to 8. brightness, contrast, saturation uniform in 1 - s .. 1 + s, from 0 up, and hue in -s .. s.
 * What has no strength is left out. */
void ssld_jitter_draw(const struct operation *operation, struct ssld_stream *stream, struct augmentation *augmentation)
{
    static const enum pixel_operation kinds[PARTS] = { PIXELS_BRIGHTNESS, PIXELS_CONTRAST, PIXELS_COLOR, PIXELS_HUE };
    int order[PARTS] = { 0, 1, 2, 3 };
    double values[PARTS];
    augmentation->count = 0;
    if (!ssld_draw_chance(stream, operation->arguments[APPLY].values[0]))
        return;
    for (int place = PARTS - 1; place > 0; place--) {
        int other = (int)ssld_stream_below(stream, (uint32_t)place + 1), moved = order[place];
        order[place] = order[other];
        order[other] = moved;
    }
    for (int part = 0; part < PARTS; part++) {
        double strength = operation->arguments[part].values[0];
        if (part == HUE_BY)
            values[part] = trunc(255 * ssld_draw_between(stream, -strength, strength));
        else
            values[part] = ssld_draw_between(stream, fmax(0, 1 - strength), 1 + strength);
    }
    for (int place = 0; place < PARTS; place++)
        if (operation->arguments[order[place]].values[0] > 0)
            augmentation->calls[augmentation->count++] =
                (struct pixel_call){ .operation = kinds[order[place]], .value = values[order[place]] };
}

static ssld_status jitter_apply(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                                const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault)
{
    (void)out;
    struct augmentation augmentation;
    ssld_status status = SSLD_OK;
    ssld_jitter_draw(operation, stream, &augmentation);
    for (int32_t i = 0; i < augmentation.count && !status; i++)
        status = ssld_pixels_change(context, &augmentation.calls[i], image, fault);
    return status;
}

const struct operation_kind ssld_operation_color_jitter = {
    .name = "color_jitter",
    .arguments = { [BRIGHTNESS_BY] = { "brightness", ARGUMENT_NUMBER, 0, 100, "0", NULL },
                   [CONTRAST_BY] = { "contrast", ARGUMENT_NUMBER, 0, 100, "0", NULL },
                   [SATURATION_BY] = { "saturation", ARGUMENT_NUMBER, 0, 100, "0", NULL },
                   [HUE_BY] = { "hue", ARGUMENT_NUMBER, 0, 0.5, "0", NULL },
                   [APPLY] = { "p", ARGUMENT_NUMBER, 0, 1, "1", NULL } },
    .shape = ssld_same_shape,
    .apply = jitter_apply,
};
