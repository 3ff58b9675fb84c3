/* SPDX-License-Identifier: BSD-2-Clause */
/* pixels.h - what changes the pixels of an image of bytes, each as Pillow does it, byte for byte.
 *
 * Point operations are tables of 256 bytes a channel; enhancements blend the image with a plainer one of itself; affine
 * transforms sample it. Which of them are applied, and how strongly, is drawn elsewhere (augment.c, jitter.c). */
#ifndef SSLD_LIB_IMAGE_PIXELS_H
#define SSLD_LIB_IMAGE_PIXELS_H

#include "image/image.h"

enum pixel_operation {
    PIXELS_AUTOCONTRAST, /* ImageOps.autocontrast(): each channel's range stretched to 0..255 */
    PIXELS_EQUALIZE,     /* ImageOps.equalize() */
    PIXELS_INVERT,       /* ImageOps.invert() */
    PIXELS_POSTERIZE,    /* ImageOps.posterize(): value is the upper bits that stay, 8 or more: all */
    PIXELS_SOLARIZE,     /* ImageOps.solarize(): bytes from value up are inverted */
    PIXELS_SOLARIZE_ADD, /* value is added to bytes below 128 */
    PIXELS_COLOR,        /* ImageEnhance.Color: value 0 grey, 1 unchanged */
    PIXELS_CONTRAST,     /* ImageEnhance.Contrast: value 0 the mean grey */
    PIXELS_BRIGHTNESS,   /* ImageEnhance.Brightness: value 0 black */
    PIXELS_SHARPNESS,    /* ImageEnhance.Sharpness: value 0 smoothed */
    PIXELS_HUE,          /* the hue of HSV turned by value / 256 of a circle, whole numbers */
    PIXELS_ROTATE,       /* Image.rotate(): value in degrees, counter-clockwise */
    PIXELS_SHEAR_X,      /* Image.transform(AFFINE): x + value * y */
    PIXELS_SHEAR_Y,      /* y + value * x */
    PIXELS_TRANSLATE_X,  /* x + value */
    PIXELS_TRANSLATE_Y   /* y + value */
};

/* Filters of affine transforms. */
enum pixel_filter { FILTER_NEAREST, FILTER_BILINEAR, FILTER_BICUBIC };

struct pixel_call {
    enum pixel_operation operation;
    double               value;
    enum pixel_filter    filter;
    uint8_t              fill[3]; /* what lies outside the image */
};

ssld_status ssld_pixels_change(ssld_context *context, const struct pixel_call *call, struct ssld_image *image,
                               struct ssld_fault *fault);

/* -- Parts -------------------------------------------------------------------------------------------------------- */

/* The image's pixels in memory of its own, which may be written to: (return + y * stride). NULL: no memory, the fault
 * is set. A borrowed image is copied first. */
uint8_t *ssld_image_own(ssld_context *context, struct ssld_image *image, struct ssld_fault *fault);

/* tones.c: the operations from autocontrast to hue. */
ssld_status ssld_pixels_tone(ssld_context *context, const struct pixel_call *call, struct ssld_image *image,
                             struct ssld_fault *fault);

/* affine.c: Image.transform(size, AFFINE, matrix, filter): the output's (x, y) is the input's
 * (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]). */
ssld_status ssld_image_affine(ssld_context *context, const double matrix[6], enum pixel_filter filter,
                              const uint8_t fill[3], struct ssld_image *image, struct ssld_fault *fault);
/* The matrix of Image.rotate(degrees) about the centre. False: it leaves the image as it is. */
bool ssld_rotation(double degrees, int32_t height, int32_t width, double matrix[6]);

#endif
