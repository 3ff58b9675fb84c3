/* SPDX-License-Identifier: BSD-2-Clause */
/* sheet.c - where things stand on a contact sheet, and how views become visible again. */
#include "sheet.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "program.h"

#define MARGIN 16          /* around the sheet */
#define GAP 10             /* between views */
#define LINE 16            /* from a line of text to the next */
#define EASY_TO_SEE 192    /* pixels that views are enlarged to */
#define LEAST_CELL 120     /* 20 letters */
#define LEAST_WIDTH 480    /* of the sheet: 74 letters of a heading */
#define MOST_SIDE 32767    /* what viewers open */
#define MOST_PIXELS 100000000

static const struct colour black = { 24, 24, 27 }, grey = { 110, 110, 118 }, green = { 17, 122, 55 };
static const struct colour bar = { 214, 228, 244 }, green_bar = { 205, 236, 214 }, rule = { 226, 226, 230 };

/* -- Headings ----------------------------------------------------------------------------------------------------- */

/* How much of a text fits into a line of so many letters: up to a blank if there is one in the line. */
static size_t line_length(const char *text, size_t letters)
{
    size_t length = strlen(text);
    if (length <= letters)
        return length;
    for (length = letters; length && text[length] != ' '; length--)
        continue;
    return length ? length : letters;
}

/* Draw headings from y on, or with no canvas just go through them; where the next line would be. */
static int32_t put_headings(struct canvas *canvas, const char *const *headings, int32_t width, int32_t y)
{
    char line[MOST_SIDE / GLYPH_WIDTH + 1];
    for (; *headings; headings++)
        for (const char *rest = *headings; *rest; y += LINE) {
            size_t length = line_length(rest, (size_t)(width / GLYPH_WIDTH));
            memcpy(line, rest, length);
            line[length] = 0;
            if (canvas)
                canvas_text(canvas, MARGIN, y, width, grey, line);
            rest += length + strspn(rest + length, " ");
        }
    return y;
}

/* -- The grid ----------------------------------------------------------------------------------------------------- */

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* A row: its caption, the views, their answers, air. */
static void measure(const struct sheet_plan *plan, struct sheet *sheet)
{
    memset(sheet, 0, sizeof *sheet);
    memcpy(sheet->shape, plan->shape, sizeof sheet->shape);
    sheet->answers = plan->answers;
    int32_t width = plan->shape[2];
    sheet->scale = plan->scale ? plan->scale : larger(1, (EASY_TO_SEE + width / 2) / width);
    sheet->cell_width = larger(LEAST_CELL, width * sheet->scale);
    sheet->row_height = LINE + plan->shape[1] * sheet->scale + (plan->answers ? plan->answers * LINE + 4 : 0) + GAP + LINE / 2;
}

bool sheet_make(const struct sheet_plan *plan, struct sheet *sheet)
{
    measure(plan, sheet);
    int64_t width = 2 * MARGIN - GAP + (int64_t)plan->columns * (sheet->cell_width + GAP);
    width = width > LEAST_WIDTH ? width : LEAST_WIDTH;
    bool fits = width <= MOST_SIDE;
    if (fits)
        sheet->top = put_headings(NULL, plan->headings, (int32_t)width - 2 * MARGIN, MARGIN) + LINE / 2 + LINE;
    int64_t height = sheet->top + (int64_t)plan->rows * sheet->row_height + MARGIN;
    if (!fits || height > MOST_SIDE || height * width > MOST_PIXELS) {
        program_complain("a sheet of %" PRId32 " x %" PRId32 " views of %" PRId32 " x %" PRId32 " pixels, enlarged %" PRId32
                         " times, is too large for a picture; show fewer, or give a smaller --scale", plan->rows,
                         plan->columns, plan->shape[1], plan->shape[2], sheet->scale);
        return false;
    }
    if (!canvas_make((int32_t)width, (int32_t)height, &sheet->canvas))
        return false;
    put_headings(&sheet->canvas, plan->headings, (int32_t)width - 2 * MARGIN, MARGIN);
    return true;
}

void sheet_free(struct sheet *sheet)
{
    canvas_free(&sheet->canvas);
}

static int32_t left_of(const struct sheet *sheet, int32_t column)
{
    return MARGIN + column * (sheet->cell_width + GAP);
}

/* Of the caption. */
static int32_t top_of(const struct sheet *sheet, int32_t row)
{
    return sheet->top + row * sheet->row_height;
}

void sheet_column(struct sheet *sheet, int32_t column, const char *text)
{
    canvas_text(&sheet->canvas, left_of(sheet, column), sheet->top - LINE, sheet->cell_width, black, text);
}

void sheet_row(struct sheet *sheet, int32_t row, const char *text)
{
    int32_t width = sheet->canvas.width - 2 * MARGIN, y = top_of(sheet, row);
    canvas_fill(&sheet->canvas, MARGIN, y - 2, width, 1, rule);
    canvas_text(&sheet->canvas, MARGIN, y + 1, width, black, text);
}

/* -- Views -------------------------------------------------------------------------------------------------------- */

static uint8_t byte_of(float pixel, double mean, double deviation)
{
    double byte = 255 * (pixel * deviation + mean);
    return byte > 0 ? (uint8_t)(byte < 255 ? lrint(byte) : 255) : 0;
}

void sheet_view(struct sheet *sheet, int32_t row, int32_t column, const float *pixels, const double means[3],
                const double deviations[3])
{
    int32_t height = sheet->shape[1], width = sheet->shape[2], scale = sheet->scale;
    int32_t left = left_of(sheet, column), top = top_of(sheet, row) + LINE;
    size_t plane = (size_t)height * (size_t)width;
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++) {
            const float *pixel = pixels + (size_t)y * (size_t)width + (size_t)x;
            uint8_t bytes[3];
            for (size_t c = 0; c < 3; c++)
                bytes[c] = byte_of(pixel[sheet->shape[0] == 3 ? c * plane : 0], means[c], deviations[c]);
            canvas_fill(&sheet->canvas, left + x * scale, top + y * scale, scale, scale,
                        (struct colour){ bytes[0], bytes[1], bytes[2] });
        }
}

void sheet_answer(struct sheet *sheet, int32_t row, int32_t column, int32_t line, double length, bool right,
                  const char *text)
{
    int32_t left = left_of(sheet, column), width = sheet->cell_width;
    int32_t top = top_of(sheet, row) + LINE + sheet->shape[1] * sheet->scale + 4 + line * LINE;
    canvas_fill(&sheet->canvas, left, top, (int32_t)lrint(length * width), LINE - 2, right ? green_bar : bar);
    canvas_text(&sheet->canvas, left + 2, top + 2, width - 2, right ? green : black, text);
}
