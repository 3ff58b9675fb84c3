/* SPDX-License-Identifier: BSD-2-Clause */
/* number.h - numbers in view specs: the same text in every locale. */
#ifndef SSLD_LIB_IMAGE_NUMBER_H
#define SSLD_LIB_IMAGE_NUMBER_H

#include "core/context.h"

/* All of the `length` characters as a finite decimal number; false if they are anything else. */
bool ssld_number_read(const char *text, size_t length, double *value);
/* The shortest decimal text that reads back as the same double, at most 24 characters. Returns its length. */
size_t ssld_number_write(double value, char text[32]);

#endif
