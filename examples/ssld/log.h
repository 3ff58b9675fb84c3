/* SPDX-License-Identifier: BSD-2-Clause */
/* log.h - what happened as JSON lines, an object a line, for programs that read along. */
#ifndef SSLD_PROGRAM_LOG_H
#define SSLD_PROGRAM_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Without a file every function does nothing, so that callers need not ask. */
struct log {
    FILE       *file;
    const char *path;
    bool        failed;
};

/* Lines are added to what is there. `path` may be NULL. False after a text on standard error. */
bool log_open(struct log *log, const char *path);
void log_begin(struct log *log, const char *event);
void log_text(struct log *log, const char *name, const char *text);
void log_count(struct log *log, const char *name, uint64_t count);
void log_real(struct log *log, const char *name, double real); /* null if it is not finite */
void log_end(struct log *log);
/* False after a text on standard error if a line could not be written. */
bool log_close(struct log *log);

/* A JSON string with its quotes. */
void print_json_text(FILE *file, const char *text);

#endif
