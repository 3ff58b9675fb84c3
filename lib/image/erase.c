/* SPDX-License-Identifier: BSD-2-Clause */
/* erase.c - random erasing of the normalised view, as timm, torchvision and PaddleClas do it.
 *
 * Z. Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. */
#include "image/operation.h"

#include <math.h>

#include "image/draws.h"
#include "image/exact.h"

enum { ERASE_P, ERASE_AREA, ERASE_RATIO, ERASE_MODE, ERASE_VALUE, ERASE_ASPECT, ERASE_TRIES };
enum { MODE_PIXEL, MODE_RAND, MODE_CONST };
enum { ASPECT_LOG, ASPECT_LINEAR };

/* Draws: 1. nothing is erased unless below p; of each try: 2. the area's share, uniform; 3. the aspect ratio, height
 * to width, uniform or with a uniform logarithm; of the try that fits, smaller than the view both ways: 4. the top
 * row; 5. the left column. Sides are rounded half to even. A height of 0: nothing is erased. */
struct crop_box ssld_erase_box(const struct operation *operation, int32_t height, int32_t width,
                               struct ssld_stream *stream)
{
    const double *area = operation->arguments[ERASE_AREA].values, *ratio = operation->arguments[ERASE_RATIO].values;
    bool linear = operation->arguments[ERASE_ASPECT].values[0] == ASPECT_LINEAR;
    double low = linear ? ratio[0] : ssld_exact_log(ratio[0]), high = linear ? ratio[1] : ssld_exact_log(ratio[1]);
    struct crop_box box = { 0, 0, 0, 0 };
    if (!ssld_draw_chance(stream, operation->arguments[ERASE_P].values[0]))
        return box;
    for (int32_t attempt = 0; attempt < (int32_t)operation->arguments[ERASE_TRIES].values[0]; attempt++) {
        double target = ssld_draw_between(stream, area[0], area[1]) * ((double)height * width);
        double aspect = ssld_draw_between(stream, low, high);
        aspect = linear ? aspect : ssld_exact_exp(aspect);
        double down = rint(sqrt(target * aspect)), across = rint(sqrt(target / aspect));
        if (down >= height || across >= width)
            continue;
        box.height = (int32_t)down;
        box.width = (int32_t)across;
        box.top = (int32_t)ssld_stream_below(stream, (uint32_t)(height - box.height + 1));
        box.left = (int32_t)ssld_stream_below(stream, (uint32_t)(width - box.width + 1));
        return box;
    }
    return box;
}

/* Draws behind those of the box: mode rand: a normal deviate for each channel; pixel: noise, plane by plane, row by
 * row. */
static void erase_apply(const struct operation *operation, struct ssld_stream *stream, const int32_t shape[3],
                        float *view)
{
    struct crop_box box = ssld_erase_box(operation, shape[1], shape[2], stream);
    int mode = (int)operation->arguments[ERASE_MODE].values[0];
    size_t width = (size_t)shape[2], plane = (size_t)shape[1] * width;
    struct noise noise;
    if (box.height && box.width && mode == MODE_PIXEL)
        ssld_noise_start(&noise, stream);
    for (int32_t c = 0; box.height && box.width && c < shape[0]; c++) {
        float value = (float)ssld_channel_value(&operation->arguments[ERASE_VALUE], c);
        if (mode == MODE_RAND)
            value = (float)ssld_draw_normal(stream);
        for (int32_t y = box.top; y < box.top + box.height; y++) {
            float *row = view + (size_t)c * plane + (size_t)y * width + (size_t)box.left;
            if (mode == MODE_PIXEL)
                ssld_noise_take(&noise, row, (size_t)box.width);
            for (int32_t x = 0; mode != MODE_PIXEL && x < box.width; x++)
                row[x] = value;
        }
    }
}

static ssld_status erase_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                               struct ssld_fault *fault)
{
    if (ssld_check_channels(operation, ERASE_VALUE, in, fault))
        return fault->status;
    return ssld_same_shape(operation, in, out, fault);
}

const struct operation_kind ssld_operation_erase = {
    .name = "erase",
    .arguments = { [ERASE_P] = { "p", ARGUMENT_NUMBER, 0, 1, "0.5", NULL },
                   [ERASE_AREA] = { "area", ARGUMENT_RANGE, 0, 1, "0.02..0.3333333333333333", NULL },
                   [ERASE_RATIO] = { "ratio", ARGUMENT_RANGE, 0.01, 100, "0.3..3.3333333333333335", NULL },
                   [ERASE_MODE] = { "mode", ARGUMENT_WORD, 0, 0, "pixel", "pixel|rand|const" },
                   [ERASE_VALUE] = { "value", ARGUMENT_CHANNELS, -1e6, 1e6, "0", NULL },
                   [ERASE_ASPECT] = { "aspect", ARGUMENT_WORD, 0, 0, "log", "log|linear" },
                   [ERASE_TRIES] = { "tries", ARGUMENT_COUNT, 1, 1000, "10", NULL } },
    .stage = STAGE_FLOATS,
    .shape = erase_shape,
    .apply_floats = erase_apply,
};
