/* SPDX-License-Identifier: BSD-2-Clause */
/* orientation.c - EXIF's orientation: the tag, and images turned and mirrored as it says.
 *
 *   value        1   2   3   4   5   6   7   8
 *   swapped      .   .   .   .   x   x   x   x      upright (y, x) is stored (x, y); then, in the stored image,
 *   rows back    .   .   x   x   .   x   x   .      row r is height - 1 - r
 *   columns back .   x   x   .   .   .   x   x      column c is width - 1 - c */
#include "image/image.h"

#include <string.h>

static const struct turn {
    bool swapped, rows_back, columns_back;
} turns[9] = {
    [1] = { false, false, false }, [2] = { false, false, true }, [3] = { false, true, true },
    [4] = { false, true, false },  [5] = { true, false, false }, [6] = { true, true, false },
    [7] = { true, true, true },    [8] = { true, false, true },
};

/* -- The tag ------------------------------------------------------------------------------------------------------ */

#define TAG_ORIENTATION 0x112
#define TYPE_SHORT 3
#define TYPE_LONG 4
#define ENTRY 12 /* bytes: tag, type, count, value */

struct tiff {
    const uint8_t *bytes;
    size_t         size;
    bool           big; /* endian */
};

static uint32_t number(const struct tiff *tiff, size_t at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)tiff->bytes[at + (size_t)i] << 8 * (tiff->big ? bytes - 1 - i : i);
    return value;
}

int32_t ssld_exif_orientation(const uint8_t *bytes, size_t size)
{
    struct tiff tiff = { bytes, size, size > 0 && bytes[0] == 'M' };
    if (size < 8 || bytes[0] != bytes[1] || (bytes[0] != 'M' && bytes[0] != 'I') || number(&tiff, 2, 2) != 42)
        return 1;
    size_t at = number(&tiff, 4, 4);
    if (at > size - 2)
        return 1;
    size_t entries = number(&tiff, at, 2);
    for (at += 2; entries && at + ENTRY <= size; entries--, at += ENTRY) {
        uint32_t type = number(&tiff, at + 2, 2);
        if (number(&tiff, at, 2) != TAG_ORIENTATION || (type != TYPE_SHORT && type != TYPE_LONG) ||
            number(&tiff, at + 4, 4) != 1)
            continue;
        uint32_t value = number(&tiff, at + 8, type == TYPE_SHORT ? 2 : 4);
        return value >= 1 && value <= 8 ? (int32_t)value : 1;
    }
    return 1;
}

/* -- Pixels ------------------------------------------------------------------------------------------------------- */

bool ssld_orientation_turns(int32_t orientation)
{
    return turns[orientation].swapped;
}

struct crop_box ssld_orientation_stored(int32_t orientation, const struct crop_box *upright, int32_t height,
                                        int32_t width)
{
    const struct turn *turn = &turns[orientation];
    struct crop_box box = *upright;
    if (turn->swapped)
        box = (struct crop_box){ upright->left, upright->top, upright->width, upright->height };
    if (turn->rows_back)
        box.top = height - box.top - box.height;
    if (turn->columns_back)
        box.left = width - box.left - box.width;
    return box;
}

void ssld_orientation_apply(int32_t orientation, const struct ssld_image *stored, uint8_t *pixels,
                            struct ssld_image *dst)
{
    const struct turn *turn = &turns[orientation];
    size_t channels = (size_t)stored->channels;
    ptrdiff_t row = (ptrdiff_t)stored->stride, column = (ptrdiff_t)channels;
    const uint8_t *first = stored->pixels;
    if (turn->rows_back) {
        first += (size_t)(stored->height - 1) * stored->stride;
        row = -row;
    }
    if (turn->columns_back) {
        first += (size_t)(stored->width - 1) * channels;
        column = -column;
    }
    int32_t height = turn->swapped ? stored->width : stored->height, width = turn->swapped ? stored->height : stored->width;
    ptrdiff_t down = turn->swapped ? column : row, across = turn->swapped ? row : column;
    *dst = (struct ssld_image){ stored->channels, height, width, (size_t)width * channels, pixels, NULL };
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++, pixels += channels)
            memcpy(pixels, first + y * down + x * across, channels);
}
