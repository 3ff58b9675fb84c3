/* SPDX-License-Identifier: BSD-2-Clause */
/* png.h - RGB pixels to a PNG file. The program links nothing but libssld, so it packs them itself. */
#ifndef SSLD_PROGRAM_PNG_H
#define SSLD_PROGRAM_PNG_H

#include <stdint.h>

#include "canvas.h"
#include "program.h"

/* Write a PNG; a file of that name is replaced when the new one is whole. 0, or an exit code after a text on standard
 * error. */
int png_save(struct program *program, const char *path, const struct canvas *canvas);

#endif
