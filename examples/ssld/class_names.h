/* SPDX-License-Identifier: BSD-2-Clause */
/* class_names.h - what classes are called, from a text file. */
#ifndef SSLD_PROGRAM_CLASS_NAMES_H
#define SSLD_PROGRAM_CLASS_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct class_names {
    char   *text;  /* the file, with zeros behind the lines */
    char  **names;
    int32_t count;
};

/* Line c is the name of class c; if every line begins with its own number, that is left out. False after a text on standard
 * error. */
bool class_names_read(const char *path, struct class_names *names);
void class_names_free(struct class_names *names);

/* NULL where none is known. */
const char *class_name(const struct class_names *names, int32_t class);

#endif
