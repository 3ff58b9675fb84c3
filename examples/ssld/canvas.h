/* SPDX-License-Identifier: BSD-2-Clause */
/* canvas.h - a picture to draw on: rectangles, enlarged views, text in a small fixed font; saved as PNG. */
#ifndef SSLD_PROGRAM_CANVAS_H
#define SSLD_PROGRAM_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GLYPH_WIDTH 6   /* a letter with the gap behind it */
#define GLYPH_HEIGHT 12 /* from the top of a capital to the bottom of a g */

struct colour {
    uint8_t red, green, blue;
};

struct canvas {
    int32_t  width, height;
    uint8_t *pixels; /* RGB, row by row, without gaps */
};

/* White all over. False after a text on standard error. */
bool canvas_make(int32_t width, int32_t height, struct canvas *canvas);
void canvas_free(struct canvas *canvas);

/* Whatever lies outside the canvas is left out. */
void canvas_fill(struct canvas *canvas, int32_t x, int32_t y, int32_t width, int32_t height, struct colour colour);

/* A line of text whose top left is at (x, y). UTF-8; what is not ASCII becomes a box. Text wider than `room` pixels ends
 * in three dots. */
void canvas_text(struct canvas *canvas, int32_t x, int32_t y, int32_t room, struct colour colour, const char *text);

#endif
