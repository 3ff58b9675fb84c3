/* SPDX-License-Identifier: BSD-2-Clause */
/* sheet.h - a contact sheet: some lines on top, then a row of views for each image, and answers under each view.
 *
 *   heading                            heading
 *   view 0        view 1        view 2
 *   sample 17   sandal (5)   train/17.png
 *   +---------+   +---------+   +---------+
 *   |         |   |         |   |         |
 *   +---------+   +---------+   +---------+
 *    93.1% sandal  88.0% sandal  61.7% bag */
#ifndef SSLD_PROGRAM_SHEET_H
#define SSLD_PROGRAM_SHEET_H

#include "canvas.h"

struct sheet_plan {
    int32_t            shape[3];   /* channels, height, width of the views */
    int32_t            rows, columns, scale, answers; /* scale 0: enlarged to a size that is easy to look at */
    const char *const *headings;   /* ends with NULL; long ones go on in the next line */
};

struct sheet {
    struct canvas canvas;
    int32_t       shape[3];
    int32_t       scale, answers;
    int32_t       top;       /* where the first row begins */
    int32_t       cell_width, row_height;
};

/* An empty sheet with its headings. False after a text on standard error. */
bool sheet_make(const struct sheet_plan *plan, struct sheet *sheet);
void sheet_free(struct sheet *sheet);

void sheet_column(struct sheet *sheet, int32_t column, const char *text);
void sheet_row(struct sheet *sheet, int32_t row, const char *text);
/* A view: planes of floats, and how they were normalised. */
void sheet_view(struct sheet *sheet, int32_t row, int32_t column, const float *pixels, const double means[3],
                const double deviations[3]);
/* Line `line` under a view, with a bar of this length, 0 to 1; `right`: the answer is that of the label. */
void sheet_answer(struct sheet *sheet, int32_t row, int32_t column, int32_t line, double length, bool right,
                  const char *text);

#endif
