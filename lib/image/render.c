/* SPDX-License-Identifier: BSD-2-Clause */
/* render.c - from an image to a view: the spec's operations in turn, then bytes to numbers, row by row. */
#include "image/operation.h"

#include <string.h>

#include "core/multiversion.h"

/* -- Bytes to numbers --------------------------------------------------------------------------------------------- */

MULTIVERSION static void line_to_floats(const uint8_t *src, size_t count, double scale, double offset, float *dst)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = (float)(src[i] * scale + offset);
}

static void table_to_floats(const uint8_t *src, size_t count, const float *levels, float *dst)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = levels[src[i]];
}

/* Rounded to the nearest, halves to even. The numbers are finite. */
MULTIVERSION static void floats_to_halves(const float *src, size_t count, uint16_t *dst)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &src[i], sizeof bits);
        dst[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

/* dst[c][y][x] = levels[c][pixel[y][x][c]], into floats or, if those are NULL, through `row` into halves. */
static void write_rows(const ssld_view_spec *spec, struct ssld_scratch *scratch, const int32_t shape[3], float *floats,
                       float *row, uint16_t *halves)
{
    struct ssld_resampler *resampler = &scratch->resampler;
    size_t width = (size_t)shape[2], plane = (size_t)shape[1] * width;
    for (int32_t y = 0; y < shape[1]; y++) {
        ssld_view_enter(scratch->times, VIEW_RESAMPLE);
        const uint8_t *bytes = ssld_resampler_row(resampler, y);
        ssld_view_enter(scratch->times, VIEW_WRITE);
        for (int32_t c = 0; c < shape[0]; c++, bytes += resampler->plane) {
            size_t at = (size_t)c * plane + (size_t)y * width;
            float *to = floats ? floats + at : row;
            if (spec->lines[c].exact)
                line_to_floats(bytes, width, spec->lines[c].scale, spec->lines[c].offset, to);
            else
                table_to_floats(bytes, width, spec->levels[c], to);
            if (!floats)
                floats_to_halves(to, width, halves + at);
        }
    }
}

/* -- The operations in turn --------------------------------------------------------------------------------------- */

struct view_place {
    uint64_t seed, sample;
    uint32_t view;
};

static ssld_status apply_bytes(const ssld_view_spec *spec, const struct view_place *place, struct ssld_frame *frame,
                               struct ssld_fault *fault)
{
    for (int32_t i = 0; i <= spec->normalize; i++) {
        const struct operation *operation = &spec->operations[i];
        const struct operation_kind *kind = operation->kind;
        struct ssld_stream stream = ssld_stream_start(place->seed, place->sample, place->view, (uint16_t)i);
        int32_t in[3], out[3];
        ssld_view_enter(frame->scratch->times, VIEW_AUGMENT);
        ssld_frame_shape(frame, in);
        if (ssld_operation_shape(operation, in, out, fault))
            return fault->status;
        if (kind->frame && kind->frame(operation, &stream, out, frame, fault))
            return fault->status;
        if (!kind->apply)
            continue;
        if (ssld_frame_settle(frame, fault))
            return fault->status;
        ssld_view_enter(frame->scratch->times, VIEW_AUGMENT);
        if (kind->apply(operation, spec->context, &stream, out, &frame->source, fault))
            return fault->status;
        ssld_frame_want_all(frame);
    }
    return SSLD_OK;
}

/* The operations behind normalize, but for mixing. */
static void apply_floats(const ssld_view_spec *spec, const int32_t shape[3], const struct view_place *place, float *dst)
{
    for (int32_t i = spec->normalize + 1; i < (spec->mix < 0 ? spec->count : spec->mix); i++) {
        struct ssld_stream stream = ssld_stream_start(place->seed, place->sample, place->view, (uint16_t)i);
        spec->operations[i].kind->apply_floats(&spec->operations[i], &stream, shape, dst);
    }
}

/* Nothing is written to the target unless all of it is. */
static ssld_status draw(const ssld_view_spec *spec, const struct view_place *place, struct ssld_frame *frame,
                        const struct view_target *target, struct ssld_fault *fault)
{
    int32_t shape[3];
    if (apply_bytes(spec, place, frame, fault))
        return fault->status;
    ssld_frame_shape(frame, shape);
    size_t numbers = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
    if (numbers > target->capacity)
        return ssld_fault_set(fault, SSLD_INVALID_ARGUMENT, "the view has %zu floats, there is room for %zu", numbers,
                              target->capacity);
    if (ssld_frame_begin_rows(frame, fault))
        return fault->status;
    struct ssld_scratch *scratch = frame->scratch;
    bool float_stage = spec->normalize + 1 < (spec->mix < 0 ? spec->count : spec->mix);
    float *floats = target->floats;
    if (!floats) { /* a row at a time, or all of them if something works on floats */
        size_t size = (float_stage ? numbers : (size_t)shape[2]) * sizeof *floats;
        floats = (float *)(void *)ssld_room_take(spec->context, &scratch->floats, "a view's floats", size, fault);
        if (!floats)
            return fault->status;
    }
    bool by_rows = !target->floats && !float_stage;
    write_rows(spec, scratch, shape, by_rows ? NULL : floats, floats, target->halves);
    ssld_view_enter(scratch->times, VIEW_AUGMENT);
    apply_floats(spec, shape, place, floats);
    ssld_view_enter(scratch->times, VIEW_WRITE);
    if (!target->floats && float_stage)
        floats_to_halves(floats, numbers, target->halves);
    return SSLD_OK;
}

/* -- From files and from pixels ----------------------------------------------------------------------------------- */

ssld_status ssld_view_draw_to(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                              uint32_t view, const struct view_target *target, struct ssld_fault *fault)
{
    const struct view_place place = { seed, sample, view };
    struct ssld_decoder *decoder = NULL;
    struct ssld_frame frame;
    bool exif = spec->operations[0].kind->stage == STAGE_FILE;
    struct ssld_scratch *scratch = ssld_pool_take(spec->pool);
    if (!scratch)
        return ssld_fault_memory(fault, "rendering", sizeof *scratch);
    scratch->times = target->times;
    ssld_view_enter(scratch->times, VIEW_DECODE);
    ssld_status status = ssld_decoder_open(spec->context, bytes, size, exif, &decoder, fault);
    if (!status) {
        ssld_frame_of_decoder(&frame, spec->context, scratch, decoder);
        status = draw(spec, &place, &frame, target, fault);
        ssld_view_enter(scratch->times, VIEW_DECODE);
        ssld_frame_free(&frame);
    }
    ssld_view_enter(scratch->times, VIEW_STAGES);
    ssld_pool_give(spec->pool, scratch);
    return status;
}

ssld_status ssld_view_draw(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                           uint32_t view, float *dst, size_t capacity, struct ssld_fault *fault)
{
    const struct view_target target = { dst, NULL, capacity, NULL };
    return ssld_view_draw_to(spec, bytes, size, seed, sample, view, &target, fault);
}

ssld_status ssld_view_draw_pixels_to(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                     uint64_t seed, uint64_t sample, uint32_t view, const struct view_target *target,
                                     struct ssld_fault *fault)
{
    const struct view_place place = { seed, sample, view };
    int32_t channels = image[0], height = image[1], width = image[2];
    if ((channels != 1 && channels != 3) || height < 1 || width < 1)
        return ssld_fault_set(fault, SSLD_INVALID_ARGUMENT,
                              "pixels of shape %d x %d x %d; an image has 1 or 3 channels and at least one pixel",
                              channels, height, width);
    if (height > SSLD_IMAGE_MOST_PIXELS / width)
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%d x %d pixels; at most 2^28 are supported", height, width);
    struct ssld_image borrowed = { channels, height, width, (size_t)width * (size_t)channels, pixels, NULL };
    struct ssld_frame frame;
    struct ssld_scratch *scratch = ssld_pool_take(spec->pool);
    if (!scratch)
        return ssld_fault_memory(fault, "rendering", sizeof *scratch);
    scratch->times = target->times;
    ssld_view_enter(scratch->times, VIEW_AUGMENT);
    ssld_frame_of_image(&frame, spec->context, scratch, &borrowed);
    ssld_status status = draw(spec, &place, &frame, target, fault);
    ssld_frame_free(&frame);
    ssld_view_enter(scratch->times, VIEW_STAGES);
    ssld_pool_give(spec->pool, scratch);
    return status;
}

ssld_status ssld_view_draw_pixels(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                  uint64_t seed, uint64_t sample, uint32_t view, float *dst, size_t capacity,
                                  struct ssld_fault *fault)
{
    const struct view_target target = { dst, NULL, capacity, NULL };
    return ssld_view_draw_pixels_to(spec, pixels, image, seed, sample, view, &target, fault);
}

/* -- Public ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_view_render(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                             uint32_t view, float *dst, size_t capacity)
{
    struct ssld_fault fault;
    if (ssld_view_draw(spec, bytes, size, seed, sample, view, dst, capacity, &fault))
        return ssld_fail(spec->context, fault.status, "ssld_view_render: %s", fault.text);
    return SSLD_OK;
}

ssld_status ssld_view_render_bf16(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed,
                                  uint64_t sample, uint32_t view, uint16_t *dst, size_t capacity)
{
    const struct view_target target = { NULL, dst, capacity, NULL };
    struct ssld_fault fault;
    if (ssld_view_draw_to(spec, bytes, size, seed, sample, view, &target, &fault))
        return ssld_fail(spec->context, fault.status, "ssld_view_render_bf16: %s", fault.text);
    return SSLD_OK;
}

ssld_status ssld_view_render_pixels(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                    uint64_t seed, uint64_t sample, uint32_t view, float *dst, size_t capacity)
{
    struct ssld_fault fault;
    if (ssld_view_draw_pixels(spec, pixels, image, seed, sample, view, dst, capacity, &fault))
        return ssld_fail(spec->context, fault.status, "ssld_view_render_pixels: %s", fault.text);
    return SSLD_OK;
}

ssld_status ssld_image_verify(ssld_context *context, const void *bytes, size_t size, int32_t shape[3])
{
    struct ssld_fault fault;
    struct ssld_image image;
    if (ssld_image_decode(context, bytes, size, &image, &fault))
        return ssld_fail(context, fault.status, "ssld_image_verify: %s", fault.text);
    shape[0] = image.channels;
    shape[1] = image.height;
    shape[2] = image.width;
    ssld_image_free(context, &image);
    return SSLD_OK;
}
