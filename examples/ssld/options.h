/* SPDX-License-Identifier: BSD-2-Clause */
/* options.h - a command's options as a table: parsing, defaults and help come from the same rows. */
#ifndef SSLD_PROGRAM_OPTIONS_H
#define SSLD_PROGRAM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_TEXT,   /* const char * */
    OPTION_INT,    /* int32_t */
    OPTION_COUNT,  /* uint64_t */
    OPTION_REAL,   /* double */
    OPTION_CHOICE, /* int32_t: position in `choices` */
    OPTION_FLAG,   /* bool; takes no value */
    OPTION_TEXTS   /* struct texts: may be given again and again; without a name, it takes all further arguments */
};

#define MOST_TEXTS 4096

struct texts {
    int32_t     count;
    const char *items[MOST_TEXTS];
};

struct option {
    const char *name;       /* "batch" for --batch; "FILE" in capitals for an argument without a name */
    const char *value;      /* what stands for the value in the help: "N" */
    int         type;       /* OPTION_x */
    size_t      offset;     /* of its variable in the command's struct of values */
    const char *initial;    /* the default as text; NULL: 0, NULL, false, not a number */
    bool        required;
    double      least, most; /* OPTION_INT, OPTION_COUNT, OPTION_REAL; most 0: no bound */
    const char *choices;    /* OPTION_CHOICE: "auto|dense|topk" */
    const char *help;       /* one sentence; the default is added */
};

struct program;

struct command {
    const char          *name;    /* "label", "store info" */
    const char          *purpose; /* one line */
    const char          *details; /* what a newcomer has to know; may be NULL */
    const char          *example;
    const struct option *options; /* ends with a NULL name */
    size_t               values_size;
    int (*run)(struct program *program, const void *values);
};

/* Fill `values` from the arguments behind the command's name. 0; 2 after a text on standard error; -1 if help was
 * asked for. */
int options_parse(const struct command *command, int count, char **arguments, void *values);

/* The command's help text on standard output. */
void options_help(const struct command *command);

#endif
