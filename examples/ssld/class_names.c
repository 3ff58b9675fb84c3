/* SPDX-License-Identifier: BSD-2-Clause */
/* class_names.c - a line a class, with or without its number in front. */
#include "class_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

/* The whole file with a zero behind it. NULL after a text on standard error. */
static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file && !fseek(file, 0, SEEK_END)) {
        long end = ftell(file);
        text = end >= 0 ? malloc((size_t)end + 1) : NULL;
        rewind(file);
        *size = text ? fread(text, 1, (size_t)end, file) : 0;
        if (text && (ferror(file) || *size != (size_t)end)) {
            free(text);
            text = NULL;
        }
    }
    if (text)
        text[*size] = 0;
    else
        program_complain("%s: cannot be read: %s", path, strerror(errno));
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
