/* SPDX-License-Identifier: BSD-2-Clause */
/* log.c - JSON lines, flushed one by one: what was logged is there even if the program is killed. */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

bool log_open(struct log *log, const char *path)
{
    *log = (struct log){ .path = path };
    if (!path)
        return true;
    log->file = fopen(path, "a");
    if (!log->file)
        fprintf(stderr, "ssld: %s: cannot open the log: %s\n", path, strerror(errno));
    return log->file != NULL;
}

void print_json_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *next = (const unsigned char *)text; *next; next++)
        if (*next == '"' || *next == '\\')
            fprintf(file, "\\%c", *next);
        else if (*next < 0x20)
            fprintf(file, "\\u%04x", *next);
        else
            fputc(*next, file);
    fputc('"', file);
}

static void name_field(struct log *log, const char *name)
{
    fputc(',', log->file);
    print_json_text(log->file, name);
    fputc(':', log->file);
}

void log_begin(struct log *log, const char *event)
{
    if (!log->file)
        return;
    fputs("{\"event\":", log->file);
    print_json_text(log->file, event);
}

void log_text(struct log *log, const char *name, const char *text)
{
    if (!log->file)
        return;
    name_field(log, name);
    print_json_text(log->file, text);
}

void log_count(struct log *log, const char *name, uint64_t count)
{
    if (!log->file)
        return;
    name_field(log, name);
    fprintf(log->file, "%" PRIu64, count);
}

void log_real(struct log *log, const char *name, double real)
{
    if (!log->file)
        return;
    name_field(log, name);
    if (isfinite(real))
        fprintf(log->file, "%.9g", real);
    else
        fputs("null", log->file);
}

void log_end(struct log *log)
{
    if (!log->file)
        return;
    fputs("}\n", log->file);
    if (fflush(log->file) && !log->failed) {
        log->failed = true;
        fprintf(stderr, "ssld: %s: cannot write the log: %s\n", log->path, strerror(errno));
    }
}

bool log_close(struct log *log)
{
    if (log->file && fclose(log->file) && !log->failed) {
        log->failed = true;
        fprintf(stderr, "ssld: %s: cannot write the log: %s\n", log->path, strerror(errno));
    }
    log->file = NULL;
    return !log->failed;
}
