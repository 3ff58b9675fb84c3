/* SPDX-License-Identifier: BSD-2-Clause */
/* frame.c - crops, sizes and flips collected before any pixel is made. */
#include "image/frame.h"

#include <string.h>

void ssld_frame_want_all(struct ssld_frame *frame)
{
    int32_t height = frame->source.height, width = frame->source.width;
    frame->box = (struct crop_box){ 0, 0, height, width };
    frame->sampling = (struct ssld_sampling){ SAMPLE_BILINEAR, frame->source.channels, height, width, height, width,
                                              frame->box, false };
}

void ssld_frame_of_decoder(struct ssld_frame *frame, ssld_context *context, struct ssld_scratch *scratch,
                           struct ssld_decoder *decoder)
{
    *frame = (struct ssld_frame){ .context = context, .scratch = scratch, .decoder = decoder, .orientation = 1 };
    frame->source.channels = 3;
    ssld_decoder_size(decoder, &frame->source.height, &frame->source.width);
    ssld_frame_want_all(frame);
}

void ssld_frame_of_image(struct ssld_frame *frame, ssld_context *context, struct ssld_scratch *scratch,
                         const struct ssld_image *image)
{
    *frame = (struct ssld_frame){ .context = context, .scratch = scratch, .source = *image, .orientation = 1 };
    ssld_frame_want_all(frame);
}

void ssld_frame_free(struct ssld_frame *frame)
{
    ssld_decoder_close(frame->decoder);
    frame->decoder = NULL;
    ssld_image_free(frame->context, &frame->source);
}

void ssld_frame_shape(const struct ssld_frame *frame, int32_t shape[3])
{
    shape[0] = frame->sampling.channels;
    shape[1] = frame->sampling.window.height;
    shape[2] = frame->sampling.window.width;
}

/* -- What is wanted ----------------------------------------------------------------------------------------------- */

static bool is_resized(const struct ssld_sampling *sampling)
{
    return sampling->height != sampling->in_height || sampling->width != sampling->in_width;
}

void ssld_frame_orient(struct ssld_frame *frame)
{
    int32_t height = frame->source.height;
    if (!frame->decoder)
        return;
    frame->orientation = ssld_decoder_orientation(frame->decoder);
    if (!ssld_orientation_turns(frame->orientation))
        return;
    frame->source.height = frame->source.width;
    frame->source.width = height;
    ssld_frame_want_all(frame);
}

void ssld_frame_crop(struct ssld_frame *frame, const struct crop_box *box)
{
    struct ssld_sampling *s = &frame->sampling;
    int32_t left = s->mirrored ? s->window.width - box->left - box->width : box->left;
    s->window.top += box->top;
    s->window.left += left;
    s->window.height = box->height;
    s->window.width = box->width;
    if (is_resized(s))
        return;
    frame->box.top += s->window.top;
    frame->box.left += s->window.left;
    frame->box.height = s->in_height = s->height = box->height;
    frame->box.width = s->in_width = s->width = box->width;
    s->window.top = s->window.left = 0;
}

/* A resized image, resized again, is made of the rounded bytes of the first; and a mirrored image's weights are not quite
 * those of the image mirrored. Such an image is made first. */
ssld_status ssld_frame_resize(struct ssld_frame *frame, int32_t height, int32_t width, int32_t filter,
                              struct ssld_fault *fault)
{
    struct ssld_sampling *s = &frame->sampling;
    if (s->window.height == height && s->window.width == width)
        return SSLD_OK;
    if ((is_resized(s) || s->mirrored) && ssld_frame_settle(frame, fault))
        return fault->status;
    s->filter = (enum resample_filter)filter;
    s->height = s->window.height = height;
    s->width = s->window.width = width;
    return SSLD_OK;
}

void ssld_frame_mirror(struct ssld_frame *frame)
{
    frame->sampling.mirrored = !frame->sampling.mirrored;
}

/* -- Pixels ------------------------------------------------------------------------------------------------------- */

/* The pixels of a part of the upright source. */
static ssld_status fetch(struct ssld_frame *frame, const struct crop_box *part, struct ssld_image *image,
                         struct ssld_fault *fault)
{
    struct ssld_image stored;
    if (!frame->decoder) {
        *image = frame->source;
        image->own = NULL;
        ssld_image_cut(image, part->top, part->left, part->height, part->width);
        return SSLD_OK;
    }
    int32_t height, width;
    ssld_decoder_size(frame->decoder, &height, &width);
    struct crop_box box = ssld_orientation_stored(frame->orientation, part, height, width);
    ssld_view_enter(frame->scratch->times, VIEW_DECODE);
    if (ssld_decoder_read(frame->decoder, &box, &frame->scratch->decoded, &stored, fault))
        return fault->status;
    if (frame->orientation == 1) {
        *image = stored;
        return SSLD_OK;
    }
    uint8_t *pixels = ssld_room_take(frame->context, &frame->scratch->upright, "an upright image",
                                     (size_t)part->height * (size_t)part->width * (size_t)stored.channels, fault);
    if (!pixels)
        return fault->status;
    ssld_orientation_apply(frame->orientation, &stored, pixels, image);
    return SSLD_OK;
}

ssld_status ssld_frame_begin_rows(struct ssld_frame *frame, struct ssld_fault *fault)
{
    struct ssld_resampler *resampler = &frame->scratch->resampler;
    struct ssld_image part;
    ssld_view_enter(frame->scratch->times, VIEW_RESAMPLE);
    if (ssld_resampler_plan(frame->context, &frame->sampling, resampler, fault))
        return fault->status;
    struct crop_box need = resampler->need;
    need.top += frame->box.top;
    need.left += frame->box.left;
    if (fetch(frame, &need, &part, fault))
        return fault->status;
    ssld_view_enter(frame->scratch->times, VIEW_RESAMPLE);
    return ssld_resampler_feed(frame->context, resampler, &part, fault);
}

/* planes to interleaved */
static void join_row(const uint8_t *row, size_t plane, size_t channels, size_t width, uint8_t *dst)
{
    if (channels == 3)
        for (size_t x = 0; x < width; x++) {
            dst[3 * x] = row[x];
            dst[3 * x + 1] = row[plane + x];
            dst[3 * x + 2] = row[2 * plane + x];
        }
    else
        memcpy(dst, row, width);
}

static ssld_status make_rows(struct ssld_frame *frame, struct ssld_image *made, struct ssld_fault *fault)
{
    int32_t shape[3];
    ssld_frame_shape(frame, shape);
    size_t stride = (size_t)shape[2] * (size_t)shape[0];
    if (ssld_frame_begin_rows(frame, fault))
        return fault->status;
    uint8_t *pixels = ssld_room_take(frame->context, &frame->scratch->settled[frame->turn], "an image",
                                     (size_t)shape[1] * stride, fault);
    if (!pixels)
        return fault->status;
    for (int32_t y = 0; y < shape[1]; y++)
        join_row(ssld_resampler_row(&frame->scratch->resampler, y), frame->scratch->resampler.plane, (size_t)shape[0],
                 (size_t)shape[2], pixels + (size_t)y * stride);
    *made = (struct ssld_image){ shape[0], shape[1], shape[2], stride, pixels, NULL };
    frame->turn ^= 1;
    return SSLD_OK;
}

ssld_status ssld_frame_settle(struct ssld_frame *frame, struct ssld_fault *fault)
{
    struct ssld_image made = { 0 };
    bool plain = !is_resized(&frame->sampling) && !frame->sampling.mirrored;
    if (plain && !frame->decoder) {
        ssld_image_cut(&frame->source, frame->box.top, frame->box.left, frame->box.height, frame->box.width);
        ssld_frame_want_all(frame);
        return SSLD_OK;
    }
    if (plain ? fetch(frame, &frame->box, &made, fault) : make_rows(frame, &made, fault))
        return fault->status;
    ssld_decoder_close(frame->decoder);
    frame->decoder = NULL;
    frame->orientation = 1;
    ssld_image_replace(frame->context, &frame->source, &made);
    ssld_frame_want_all(frame);
    return SSLD_OK;
}
