/* SPDX-License-Identifier: BSD-2-Clause */
/* class_names.c - a line a class, with or without its number in front. */
#include "class_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

/* Names of a million classes are less. */
#define MOST_BYTES (64 << 20)

/* The whole file with a zero behind it. NULL after a text on standard error. A folder can be opened and says that it is as long
 * as a number can say, so how much can be read decides. */
static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = file ? malloc(MOST_BYTES + 1) : NULL;
    *size = text ? fread(text, 1, MOST_BYTES, file) : 0;
    if (!text || ferror(file)) {
        program_complain("%s: cannot be read: %s", path, strerror(errno));
        free(text);
        text = NULL;
    } else if (*size == MOST_BYTES) {
        program_complain("%s: more than %d bytes are no list of class names", path, MOST_BYTES);
        free(text);
        text = NULL;
    } else {
        text[*size] = 0;
    }
    if (file)
        fclose(file);
    return text;
}

/* Behind "17 " or "17\t" in line 17, NULL elsewhere. */
static char *behind_number(char *line, int32_t number)
{
    char *end;
    long found = strtol(line, &end, 10);
    return end != line && found == number && (*end == ' ' || *end == '\t') ? end + 1 : NULL;
}

bool class_names_read(const char *path, struct class_names *names)
{
    size_t size = 0, lines = 1;
    memset(names, 0, sizeof *names);
    names->text = read_file(path, &size);
    if (!names->text)
        return false;
    for (size_t i = 0; i < size; i++)
        lines += names->text[i] == '\n' || !names->text[i];
    names->names = malloc(lines * sizeof *names->names);
    if (!names->names || lines > INT32_MAX) {
        program_complain("%s: no memory for %zu names", path, lines);
        class_names_free(names);
        return false;
    }
    for (char *line = names->text, *end; line < names->text + size; line = end + 1) {
        end = line + strcspn(line, "\n");
        *end = 0;
        if (end > line && end[-1] == '\r')
            end[-1] = 0;
        names->names[names->count++] = line;
    }
    bool numbered = true;
    for (int32_t c = 0; c < names->count && numbered; c++)
        numbered = behind_number(names->names[c], c);
    for (int32_t c = 0; c < names->count && numbered; c++)
        names->names[c] = behind_number(names->names[c], c);
    return true;
}

void class_names_free(struct class_names *names)
{
    free(names->names);
    free(names->text);
    memset(names, 0, sizeof *names);
}

const char *class_name(const struct class_names *names, int32_t class)
{
    return class >= 0 && class < names->count ? names->names[class] : NULL;
}
