/* SPDX-License-Identifier: BSD-2-Clause */
/* tones.c - operations that leave pixels where they are: point operations through tables, Pillow's enhancements, hue.
 *
 * Pillow blends in float, a + alpha * (b - a), cut to whole numbers and clipped; so does this, and since the bytes are
 * whole numbers the same bits come out whatever the width of vectors. */
#include "image/pixels.h"

#include <math.h>
#include <string.h>

#include "core/multiversion.h"

typedef uint8_t byte_table[256];

uint8_t *ssld_image_own(ssld_context *context, struct ssld_image *image, struct ssld_fault *fault)
{
    if (image->own)
        return image->own + (image->pixels - image->own);
    struct ssld_image made;
    if (ssld_image_make(context, image->channels, image->height, image->width, &made, fault))
        return NULL;
    for (int32_t y = 0; y < image->height; y++)
        memcpy(made.own + (size_t)y * made.stride, image->pixels + (size_t)y * image->stride, made.stride);
    *image = made;
    return image->own;
}

/* -- Tables ------------------------------------------------------------------------------------------------------- */

/* Each channel's bytes through its table, in place. */
static void through_tables(const struct ssld_image *image, uint8_t *pixels, byte_table tables[3])
{
    size_t width = (size_t)image->width;
    for (int32_t y = 0; y < image->height; y++) {
        uint8_t *row = pixels + (size_t)y * image->stride;
        for (size_t x = 0; image->channels == 1 && x < width; x++)
            row[x] = tables[0][row[x]];
        for (size_t x = 0; image->channels == 3 && x < width; x++, row += 3) {
            row[0] = tables[0][row[0]];
            row[1] = tables[1][row[1]];
            row[2] = tables[2][row[2]];
        }
    }
}

/* counts[channel][byte] */
static void count_bytes(const struct ssld_image *image, uint32_t counts[3][256])
{
    size_t width = (size_t)image->width;
    memset(counts, 0, 3 * sizeof *counts);
    for (int32_t y = 0; y < image->height; y++) {
        const uint8_t *row = image->pixels + (size_t)y * image->stride;
        for (size_t x = 0; image->channels == 1 && x < width; x++)
            counts[0][row[x]]++;
        for (size_t x = 0; image->channels == 3 && x < width; x++, row += 3) {
            counts[0][row[0]]++;
            counts[1][row[1]]++;
            counts[2][row[2]]++;
        }
    }
}

static void keep(byte_table table)
{
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)i;
}

/* The range low..high that occurs goes to 0..255. */
static void stretch(const uint32_t counts[256], byte_table table)
{
    int low = 0, high = 255;
    while (low < 255 && !counts[low])
        low++;
    while (high > 0 && !counts[high])
        high--;
    if (high <= low) {
        keep(table);
        return;
    }
    double scale = 255.0 / (high - low), offset = -low * scale;
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)fmax(0, fmin(255, trunc(i * scale + offset)));
}

/* A byte's place among all bytes, in steps of 1 / 255 of those below the largest that occurs. */
static void equalize(const uint32_t counts[256], byte_table table)
{
    uint64_t all = 0, largest = 0, place;
    int kinds = 0;
    for (int i = 0; i < 256; i++) {
        all += counts[i];
        kinds += counts[i] != 0;
        largest = counts[i] ? counts[i] : largest;
    }
    uint64_t step = (all - largest) / 255;
    if (kinds <= 1 || !step) {
        keep(table);
        return;
    }
    place = step / 2;
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)(place / step < 255 ? place / step : 255);
        place += counts[i];
    }
}

ALWAYS_INLINE uint8_t blended(float plain, float own, float alpha)
{
    float value = plain + alpha * (own - plain);
    value = value > 0.0f ? value : 0.0f;
    return (uint8_t)(int32_t)(value < 255.0f ? value : 255.0f);
}

/* From the value that the call gives to a table that serves all channels. */
static void fill_table(enum pixel_operation operation, double value, byte_table table)
{
    int bits = value < 0 ? 0 : value > 8 ? 8 : (int)value;
    for (int i = 0; i < 256; i++) {
        int out = i;
        if (operation == PIXELS_INVERT || (operation == PIXELS_SOLARIZE && i >= value))
            out = 255 - i;
        else if (operation == PIXELS_POSTERIZE)
            out = i & ~((1 << (8 - bits)) - 1);
        else if (operation == PIXELS_SOLARIZE_ADD && i < 128)
            out = i + value < 255 ? i + (int)value : 255;
        else if (operation == PIXELS_BRIGHTNESS)
            out = blended(0.0f, (float)i, (float)value);
        table[i] = (uint8_t)out;
    }
}

/* -- Enhancements ------------------------------------------------------------------------------------------------- */

/* ITU-R 601 luma as Pillow's convert("L"). */
ALWAYS_INLINE uint32_t luma(const uint8_t *pixel)
{
    return (pixel[0] * 19595u + pixel[1] * 38470u + pixel[2] * 7471u + 32768u) >> 16;
}

MULTIVERSION static uint64_t sum_luma_row(const uint8_t *row, size_t width)
{
    uint32_t sum = 0; /* of at most 2^24 pixels; longer rows come in parts */
    for (size_t x = 0; x < width; x++)
        sum += luma(row + 3 * x);
    return sum;
}

static uint64_t sum_luma(const struct ssld_image *image)
{
    uint64_t sum = 0;
    const size_t most = 1 << 20;
    for (int32_t y = 0; y < image->height; y++) {
        const uint8_t *row = image->pixels + (size_t)y * image->stride;
        size_t width = (size_t)image->width;
        for (size_t x = 0; image->channels == 1 && x < width; x++)
            sum += row[x];
        for (size_t x = 0; image->channels == 3 && x < width; x += most)
            sum += sum_luma_row(row + 3 * x, width - x < most ? width - x : most);
    }
    return sum;
}

/* Blended with the rounded mean of the image's luma. */
static void contrast_table(const struct ssld_image *image, double value, byte_table table)
{
    double pixels = (double)image->width * image->height;
    float mean = (float)floor((double)sum_luma(image) / pixels + 0.5);
    for (int i = 0; i < 256; i++)
        table[i] = blended(mean, (float)i, (float)value);
}

MULTIVERSION static void colour_row(uint8_t *row, size_t width, float alpha)
{
    for (size_t x = 0; x < width; x++) {
        float grey = (float)(int32_t)luma(row + 3 * x);
        for (int c = 0; c < 3; c++)
            row[3 * x + (size_t)c] = blended(grey, (float)row[3 * x + (size_t)c], alpha);
    }
}

/* Smoothed by the kernel (1 1 1, 1 5 1, 1 1 1) / 13. Pillow sums in float, but a thirteenth is never near enough to a
 * half for that to show: rounding in whole numbers is the same. `step` is the distance of neighbours in bytes. */
MULTIVERSION static void sharpness_row(const uint8_t *above, const uint8_t *row, const uint8_t *below, size_t step,
                                       size_t count, float alpha, uint8_t *to)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *a = above + i, *r = row + i, *b = below + i;
        uint32_t sum = (uint32_t)(a[0] + a[step] + a[2 * step] + r[0] + 5 * r[step] + r[2 * step] + b[0] + b[step] +
                                  b[2 * step]);
        uint32_t smooth = (2 * sum + 13) / 26;
        to[i] = blended((float)(int32_t)smooth, (float)r[step], alpha);
    }
}

static ssld_status sharpen(ssld_context *context, double value, struct ssld_image *image, struct ssld_fault *fault)
{
    struct ssld_image made;
    size_t step = (size_t)image->channels, row_bytes = (size_t)image->width * step;
    if (image->width < 3 || image->height < 3)
        return SSLD_OK;
    if (ssld_image_make(context, image->channels, image->height, image->width, &made, fault))
        return fault->status;
    for (int32_t y = 0; y < image->height; y++) {
        const uint8_t *row = image->pixels + (size_t)y * image->stride;
        uint8_t *to = made.own + (size_t)y * made.stride;
        /* The outermost pixels are not smoothed, so blending leaves them. */
        memcpy(to, row, row_bytes);
        if (y > 0 && y < image->height - 1)
            sharpness_row(row - image->stride, row, row + image->stride, step, row_bytes - 2 * step, (float)value,
                          to + step);
    }
    ssld_image_replace(context, image, &made);
    return SSLD_OK;
}

/* -- Hue ---------------------------------------------------------------------------------------------------------- */

static uint8_t clipped(int32_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Pillow's convert("HSV") of a pixel, in float where it is in float. */
static void to_hsv(const uint8_t rgb[3], uint8_t hsv[3])
{
    uint8_t r = rgb[0], g = rgb[1], b = rgb[2];
    uint8_t most = r > g ? (r > b ? r : b) : (g > b ? g : b), least = r < g ? (r < b ? r : b) : (g < b ? g : b);
    hsv[0] = hsv[1] = 0;
    hsv[2] = most;
    if (most == least)
        return;
    float range = (float)(most - least), saturation = range / (float)most;
    float red = (float)(most - r) / range, green = (float)(most - g) / range, blue = (float)(most - b) / range;
    float hue = r == most ? blue - green : g == most ? (float)(2.0 + red - blue) : (float)(4.0 + green - red);
    hue = (float)fmod(hue / 6.0 + 1.0, 1.0);
    hsv[0] = clipped((int32_t)(hue * 255.0));
    hsv[1] = clipped((int32_t)(saturation * 255.0));
}

/* Pillow's convert("RGB") of an HSV pixel. */
static void from_hsv(const uint8_t hsv[3], uint8_t rgb[3])
{
    uint8_t v = hsv[2];
    rgb[0] = rgb[1] = rgb[2] = v;
    if (!hsv[1])
        return;
    double hue = hsv[0] * 6.0 / 255.0;
    int32_t sector = (int32_t)hue;
    float f = (float)(hue - sector), saturation = (float)(hsv[1] / 255.0);
    uint8_t p = clipped((int32_t)round(v * (1.0 - saturation)));
    uint8_t q = clipped((int32_t)round(v * (1.0 - saturation * f)));
    uint8_t t = clipped((int32_t)round(v * (1.0 - saturation * (1.0 - f))));
    const uint8_t sectors[6][3] = { { v, t, p }, { q, v, p }, { p, v, t }, { p, q, v }, { t, p, v }, { v, p, q } };
    memcpy(rgb, sectors[sector % 6], 3);
}

static void turn_hue(const struct ssld_image *image, uint8_t *pixels, double value)
{
    uint8_t shift = (uint8_t)(int32_t)value, hsv[3];
    for (int32_t y = 0; y < image->height; y++) {
        uint8_t *pixel = pixels + (size_t)y * image->stride;
        for (int32_t x = 0; x < image->width; x++, pixel += 3) {
            to_hsv(pixel, hsv);
            hsv[0] = (uint8_t)(hsv[0] + shift);
            from_hsv(hsv, pixel);
        }
    }
}

/* -- All of them -------------------------------------------------------------------------------------------------- */

/* The tables of point operations. False: the operation is none. */
static bool make_tables(const struct pixel_call *call, const struct ssld_image *image, byte_table tables[3])
{
    uint32_t counts[3][256];
    bool counted = call->operation == PIXELS_AUTOCONTRAST || call->operation == PIXELS_EQUALIZE;
    if (counted)
        count_bytes(image, counts);
    for (int32_t c = 0; counted && c < image->channels; c++)
        (call->operation == PIXELS_EQUALIZE ? equalize : stretch)(counts[c], tables[c]);
    if (counted)
        return true;
    if (call->operation == PIXELS_CONTRAST)
        contrast_table(image, call->value, tables[0]);
    else if (call->operation == PIXELS_COLOR || call->operation == PIXELS_SHARPNESS || call->operation == PIXELS_HUE)
        return false;
    else
        fill_table(call->operation, call->value, tables[0]);
    memcpy(tables[1], tables[0], sizeof tables[0]);
    memcpy(tables[2], tables[0], sizeof tables[0]);
    return true;
}

ssld_status ssld_pixels_tone(ssld_context *context, const struct pixel_call *call, struct ssld_image *image,
                             struct ssld_fault *fault)
{
    byte_table tables[3];
    if (call->operation == PIXELS_SHARPNESS)
        return sharpen(context, call->value, image, fault);
    if ((call->operation == PIXELS_COLOR || call->operation == PIXELS_HUE) && image->channels == 1)
        return SSLD_OK;
    uint8_t *pixels = ssld_image_own(context, image, fault);
    if (!pixels)
        return fault->status;
    if (make_tables(call, image, tables))
        through_tables(image, pixels, tables);
    else if (call->operation == PIXELS_HUE)
        turn_hue(image, pixels, call->value);
    else
        for (int32_t y = 0; y < image->height; y++)
            colour_row(pixels + (size_t)y * image->stride, (size_t)image->width, (float)call->value);
    return SSLD_OK;
}
