/* SPDX-License-Identifier: BSD-2-Clause */
/* resample.h - images resized in fixed point, the same bytes on every machine.
 *
 * A resampler is planned, which says what part of the source it needs; is fed with that part; and then gives the rows of
 * the result. Its memory is used again by the next plan. */
#ifndef SSLD_LIB_IMAGE_RESAMPLE_H
#define SSLD_LIB_IMAGE_RESAMPLE_H

#include "image/image.h"

/* The words of the argument `filter` are places in this list. The first three are Pillow's, widened by the reduction
 * (antialiasing); the others OpenCV's INTER_LINEAR and INTER_CUBIC, which always weigh 2 x 2 and 4 x 4 pixels. */
#define SSLD_FILTERS "bilinear|bicubic|box|cv_linear|cv_cubic"
enum resample_filter { SAMPLE_BILINEAR, SAMPLE_BICUBIC, SAMPLE_BOX, SAMPLE_CV_LINEAR, SAMPLE_CV_CUBIC };

/* What is asked for. Equal sizes before and after: no filter is applied. */
struct ssld_sampling {
    enum resample_filter filter;
    int32_t              channels;
    int32_t              in_height, in_width; /* of the source */
    int32_t              height, width;       /* of what it is resized to */
    struct crop_box      window;              /* the wanted part of that */
    bool                 mirrored;            /* left to right, within the window */
};

/* For each position of the window along one side: the source positions first .. first + count - 1 with their weights. */
struct taps {
    int32_t  most;    /* weights kept for a position; 0: position i is source position first[0] + i */
    int32_t *first;   /* (positions); OpenCV's may lie outside the source, whose edge then stands for it */
    int32_t *count;   /* (positions) */
    int32_t *weights; /* (positions, most) */
};

struct ssld_resampler {
    struct ssld_sampling sampling;
    struct crop_box      need; /* the part of the source that must be fed */
    struct taps          across, down;
    bool                 halved;   /* OpenCV's INTER_LINEAR to half of both sides is the mean of 2 x 2 */
    size_t               plane;    /* bytes of one channel of a row; a row is its channels' planes */
    const uint8_t       *rows;     /* (need.height, channels, plane): after the pass across; Pillow's filters */
    const int32_t       *sums;     /* the same before rounding; OpenCV's */
    uint8_t             *row;      /* a finished row */
    struct ssld_room     rooms[6]; /* taps across and down, rows, columns, results, row */
};

ssld_status ssld_resampler_plan(ssld_context *context, const struct ssld_sampling *sampling,
                                struct ssld_resampler *resampler, struct ssld_fault *fault);
/* `part`: the pixels of `need`. They are not looked at later. */
ssld_status ssld_resampler_feed(ssld_context *context, struct ssld_resampler *resampler, const struct ssld_image *part,
                                struct ssld_fault *fault);
/* Row y of the window: channel c begins at c * plane. Valid until the next row is asked for. */
const uint8_t *ssld_resampler_row(struct ssld_resampler *resampler, int32_t y);
void           ssld_resampler_free(ssld_context *context, struct ssld_resampler *resampler);

/* -- filter.c ----------------------------------------------------------------------------------------------------- */

#define SSLD_PILLOW_BITS 22 /* of weights: 32 bits of a sum, less 8 of a pixel and 2 for overshoot */
#define SSLD_OPENCV_BITS 11

/* The taps of `count` positions from `begin` on, of `out` that `in` are resized to, in memory of `room`. */
ssld_status ssld_taps_make(ssld_context *context, enum resample_filter filter, int32_t in, int32_t out, int32_t begin,
                           int32_t count, struct ssld_room *room, struct taps *taps, struct ssld_fault *fault);

#endif
