/* SPDX-License-Identifier: BSD-2-Clause */
/* geometry.c - operations that choose where pixels come from: crops, resizing, flips.
 *
 * The order in which an operation draws its random words is part of what a view is, see operation.c. It stands above each
 * function that draws. */
#include "image/operation.h"

#include <math.h>
#include <string.h>

#include "image/exact.h"

/* Whose rounding or drawing: places in this list are values of the arguments `draw` and `rule`. */
#define RULES "torchvision|paddle"
enum { RULE_TORCHVISION, RULE_PADDLE };

static bool is_paddle(const struct operation *operation, int argument)
{
    return operation->arguments[argument].values[0] == RULE_PADDLE;
}

#define FILTER_ARGUMENT { "filter", ARGUMENT_WORD, 0, 0, "bilinear", SSLD_FILTERS }

static int32_t filter_of(const struct operation *operation, int argument)
{
    return (int32_t)operation->arguments[argument].values[0];
}

/* -- exif --------------------------------------------------------------------------------------------------------- */

/* Which side is which is known when the file is opened. */
static ssld_status exif_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                              struct ssld_fault *fault)
{
    (void)operation;
    (void)fault;
    out[0] = in[0];
    out[1] = out[2] = in[1] == in[2] ? in[1] : 0;
    return SSLD_OK;
}

static ssld_status exif_frame(const struct operation *operation, struct ssld_stream *stream, const int32_t out[3],
                              struct ssld_frame *frame, struct ssld_fault *fault)
{
    (void)operation;
    (void)stream;
    (void)out;
    (void)fault;
    ssld_frame_orient(frame);
    return SSLD_OK;
}

const struct operation_kind ssld_operation_exif = {
    .name = "exif",
    .stage = STAGE_FILE,
    .shape = exif_shape,
    .frame = exif_frame,
};

/* -- rrc(size, scale, ratio, draw, filter) ------------------------------------------------------------------------ */

#define CROP_TRIES 10

static double draw_between(struct ssld_stream *stream, double low, double high)
{
    return low + (high - low) * ssld_stream_uniform(stream);
}

static int32_t at_least_one(double rounded)
{
    return rounded < 1 ? 1 : (int32_t)rounded;
}

/* The largest centred crop within the ratios, when no try fitted. */
static struct crop_box central_box(const double ratio[2], int32_t height, int32_t width)
{
    struct crop_box box = { 0, 0, height, width };
    double shape = (double)width / height;
    if (shape < ratio[0])
        box.height = at_least_one(rint(width / ratio[0]));
    else if (shape > ratio[1])
        box.width = at_least_one(rint(height * ratio[1]));
    box.top = (height - box.height) / 2;
    box.left = (width - box.width) / 2;
    return box;
}

/* Draws of torchvision's rule, of a try: 1. the area's share, uniform in scale; 2. the logarithm of the aspect ratio,
 * uniform; and of the try that fits: 3. the top row; 4. the left column. Sides are rounded half to even, as Python's
 * round(). */
struct crop_box ssld_random_resized_box(const double scale[2], const double ratio[2], int32_t height, int32_t width,
                                        struct ssld_stream *stream)
{
    double area = (double)height * width;
    double log_low = ssld_exact_log(ratio[0]), log_high = ssld_exact_log(ratio[1]);
    for (int attempt = 0; attempt < CROP_TRIES; attempt++) {
        double target = area * draw_between(stream, scale[0], scale[1]);
        double aspect = ssld_exact_exp(draw_between(stream, log_low, log_high));
        double across = rint(sqrt(target * aspect)), down = rint(sqrt(target / aspect));
        if (across < 1 || across > width || down < 1 || down > height)
            continue;
        struct crop_box box = { .height = (int32_t)down, .width = (int32_t)across };
        box.top = (int32_t)ssld_stream_below(stream, (uint32_t)(height - box.height + 1));
        box.left = (int32_t)ssld_stream_below(stream, (uint32_t)(width - box.width + 1));
        return box;
    }
    return central_box(ratio, height, width);
}

/* PaddleClas's rule. Draws: 1. the aspect ratio, uniform (not its logarithm); 2. the area's share, uniform in the part of
 * scale that this ratio leaves possible; 3. the left column; 4. the top row. Sides are cut to whole pixels, and every
 * draw fits. */
struct crop_box ssld_paddle_box(const double scale[2], const double ratio[2], int32_t height, int32_t width,
                                struct ssld_stream *stream)
{
    double aspect = draw_between(stream, ratio[0], ratio[1]);
    double bound = fmin((double)width / height / aspect, (double)height / width * aspect);
    double area = (double)height * width * draw_between(stream, fmin(scale[0], bound), fmin(scale[1], bound));
    double across = floor(sqrt(area * aspect)), down = floor(sqrt(area / aspect));
    struct crop_box box = { .height = at_least_one(fmin(down, height)), .width = at_least_one(fmin(across, width)) };
    box.left = (int32_t)ssld_stream_below(stream, (uint32_t)(width - box.width + 1));
    box.top = (int32_t)ssld_stream_below(stream, (uint32_t)(height - box.height + 1));
    return box;
}

static struct crop_box (*const box_rules[])(const double scale[2], const double ratio[2], int32_t height, int32_t width,
                                            struct ssld_stream *stream) = { ssld_random_resized_box, ssld_paddle_box };

static ssld_status rrc_frame(const struct operation *operation, struct ssld_stream *stream, const int32_t out[3],
                             struct ssld_frame *frame, struct ssld_fault *fault)
{
    int32_t in[3];
    ssld_frame_shape(frame, in);
    struct crop_box box = box_rules[(int)operation->arguments[3].values[0]](
        operation->arguments[1].values, operation->arguments[2].values, in[1], in[2], stream);
    ssld_frame_crop(frame, &box);
    return ssld_frame_resize(frame, out[1], out[2], filter_of(operation, 4), fault);
}

const struct operation_kind ssld_operation_rrc = {
    .name = "rrc",
    .arguments = { SIZE_ARGUMENT(ARGUMENT_SIZE),
                   { "scale", ARGUMENT_RANGE, 1e-6, 1, "0.08..1", NULL },
                   { "ratio", ARGUMENT_RANGE, 0.01, 100, "0.75..1.3333333333333333", NULL },
                   { "draw", ARGUMENT_WORD, 0, 0, "torchvision", RULES },
                   FILTER_ARGUMENT },
    .shape = ssld_fixed_shape,
    .frame = rrc_frame,
};

/* -- resize(size, rule, filter) ----------------------------------------------------------------------------------- */

/* torchvision: side * longer / shorter, cut. PaddleClas: longer * (side / shorter) in double, rounded half to even. */
static int64_t longer_side(const struct operation *operation, int64_t side, int64_t longer, int64_t shorter)
{
    if (is_paddle(operation, 1))
        return (int64_t)rint((double)longer * ((double)side / (double)shorter));
    return side * longer / shorter;
}

static ssld_status resize_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                struct ssld_fault *fault)
{
    int64_t side = (int64_t)operation->arguments[0].values[0];
    if (operation->arguments[0].values[1] > 0)
        return ssld_fixed_shape(operation, in, out, fault);
    out[0] = in[0];
    out[1] = out[2] = 0;
    if (!in[1] || !in[2])
        return SSLD_OK;
    int64_t shorter = in[1] < in[2] ? in[1] : in[2], longer = in[1] < in[2] ? in[2] : in[1];
    int64_t other = longer_side(operation, side, longer, shorter);
    if (other > SSLD_IMAGE_MOST_PIXELS)
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "resize: %d x %d with its shorter side made %lld has more than "
                              "2^28 pixels; crop it first", in[1], in[2], (long long)side);
    out[1] = (int32_t)(in[1] <= in[2] ? side : other);
    out[2] = (int32_t)(in[1] <= in[2] ? other : side);
    return SSLD_OK;
}

static ssld_status resize_frame(const struct operation *operation, struct ssld_stream *stream, const int32_t out[3],
                                struct ssld_frame *frame, struct ssld_fault *fault)
{
    (void)stream;
    return ssld_frame_resize(frame, out[1], out[2], filter_of(operation, 2), fault);
}

const struct operation_kind ssld_operation_resize = {
    .name = "resize",
    .arguments = { SIZE_ARGUMENT(ARGUMENT_SIDE),
                   { "rule", ARGUMENT_WORD, 0, 0, "torchvision", RULES },
                   FILTER_ARGUMENT },
    .shape = resize_shape,
    .frame = resize_frame,
};

/* -- center_crop(size, rule) -------------------------------------------------------------------------------------- */

static ssld_status crop_shape(const struct operation *operation, const int32_t in[3], int32_t padding, int32_t out[3],
                              struct ssld_fault *fault)
{
    ssld_fixed_shape(operation, in, out, fault);
    for (int side = 1; side <= 2; side++)
        if (in[side] && in[side] + 2 * padding < out[side])
            return ssld_fault_set(fault, SSLD_INVALID_ARGUMENT,
                                  "%s: the image is %d x %d, too small for a crop of %d x %d; resize it first",
                                  operation->kind->name, in[1], in[2], out[1], out[2]);
    return SSLD_OK;
}

static ssld_status center_crop_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                     struct ssld_fault *fault)
{
    return crop_shape(operation, in, 0, out, fault);
}

/* Half of a margin. torchvision: an odd one is halved to the even neighbour, int(round(margin / 2)); PaddleClas: down. */
static int32_t half_margin(const struct operation *operation, int32_t margin)
{
    return is_paddle(operation, 1) ? margin / 2 : (int32_t)rint(margin / 2.0);
}

static ssld_status center_crop_frame(const struct operation *operation, struct ssld_stream *stream,
                                     const int32_t out[3], struct ssld_frame *frame, struct ssld_fault *fault)
{
    (void)stream;
    (void)fault;
    int32_t in[3];
    ssld_frame_shape(frame, in);
    struct crop_box box = { half_margin(operation, in[1] - out[1]), half_margin(operation, in[2] - out[2]), out[1],
                            out[2] };
    ssld_frame_crop(frame, &box);
    return SSLD_OK;
}

const struct operation_kind ssld_operation_center_crop = {
    .name = "center_crop",
    .arguments = { SIZE_ARGUMENT(ARGUMENT_SIZE), { "rule", ARGUMENT_WORD, 0, 0, "torchvision", RULES } },
    .shape = center_crop_shape,
    .frame = center_crop_frame,
};

/* -- pad_crop(size, pad, fill) ------------------------------------------------------------------------------------ */

static ssld_status pad_crop_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                  struct ssld_fault *fault)
{
    if (ssld_check_channels(operation, 2, in, fault))
        return fault->status;
    return crop_shape(operation, in, (int32_t)operation->arguments[1].values[0], out, fault);
}

/* The columns or rows of a crop that lie on the image, which begins at `pad` and is `size` long; the crop begins at
 * `at` and is `crop` long. *from: in the image, *to: in the crop. Returns how many, 0 if none does. */
static int32_t overlap(int32_t pad, int32_t size, int32_t at, int32_t crop, int32_t *from, int32_t *to)
{
    int32_t begin = at > pad ? at : pad, end = at + crop < pad + size ? at + crop : pad + size;
    *from = begin - pad;
    *to = begin - at;
    return end > begin ? end - begin : 0;
}

/* Draws: 1. the top row, 2. the left column, both of the padded image. */
static ssld_status pad_crop_apply(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                                  const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault)
{
    int32_t pad = (int32_t)operation->arguments[1].values[0];
    int32_t top = (int32_t)ssld_stream_below(stream, (uint32_t)(image->height + 2 * pad - out[1] + 1));
    int32_t left = (int32_t)ssld_stream_below(stream, (uint32_t)(image->width + 2 * pad - out[2] + 1));
    struct ssld_image made;
    if (ssld_image_make(context, image->channels, out[1], out[2], &made, fault))
        return fault->status;
    ssld_image_fill(&made, &operation->arguments[2]);
    int32_t from_y, to_y, from_x, to_x;
    int32_t rows = overlap(pad, image->height, top, out[1], &from_y, &to_y);
    int32_t columns = overlap(pad, image->width, left, out[2], &from_x, &to_x);
    size_t channels = (size_t)image->channels;
    for (int32_t y = 0; columns && y < rows; y++)
        memcpy(made.own + (size_t)(to_y + y) * made.stride + (size_t)to_x * channels,
               image->pixels + (size_t)(from_y + y) * image->stride + (size_t)from_x * channels,
               (size_t)columns * channels);
    ssld_image_replace(context, image, &made);
    return SSLD_OK;
}

const struct operation_kind ssld_operation_pad_crop = {
    .name = "pad_crop",
    .arguments = { SIZE_ARGUMENT(ARGUMENT_SIZE), { "pad", ARGUMENT_COUNT, 0, SSLD_MOST_SIDE, NULL, NULL },
                   { "fill", ARGUMENT_CHANNELS, 0, 255, "0", NULL } },
    .shape = pad_crop_shape,
    .apply = pad_crop_apply,
};

/* -- flip(p) ------------------------------------------------------------------------------------------------------ */

/* Draws: 1. flipped if below p. */
static ssld_status flip_frame(const struct operation *operation, struct ssld_stream *stream, const int32_t out[3],
                              struct ssld_frame *frame, struct ssld_fault *fault)
{
    (void)out;
    (void)fault;
    if (ssld_stream_uniform(stream) < operation->arguments[0].values[0])
        ssld_frame_mirror(frame);
    return SSLD_OK;
}

const struct operation_kind ssld_operation_flip = {
    .name = "flip",
    .arguments = { { "p", ARGUMENT_NUMBER, 0, 1, "0.5", NULL } },
    .shape = ssld_same_shape,
    .frame = flip_frame,
};

/* -- vflip(p) ----------------------------------------------------------------------------------------------------- */

/* Draws: 1. flipped if below p. */
static ssld_status vflip_apply(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                               const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault)
{
    struct ssld_image made;
    if (ssld_stream_uniform(stream) >= operation->arguments[0].values[0])
        return SSLD_OK;
    if (ssld_image_make(context, image->channels, out[1], out[2], &made, fault))
        return fault->status;
    for (int32_t y = 0; y < image->height; y++)
        memcpy(made.own + (size_t)(image->height - 1 - y) * made.stride, image->pixels + (size_t)y * image->stride,
               made.stride);
    ssld_image_replace(context, image, &made);
    return SSLD_OK;
}

const struct operation_kind ssld_operation_vflip = {
    .name = "vflip",
    .arguments = { { "p", ARGUMENT_NUMBER, 0, 1, "0.5", NULL } },
    .shape = ssld_same_shape,
    .apply = vflip_apply,
};
