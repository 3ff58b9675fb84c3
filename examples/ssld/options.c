/* SPDX-License-Identifier: BSD-2-Clause */
/* options.c - command-line parsing and help texts, both from a command's table of options. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_WIDTH 96
#define HELP_INDENT 28

static bool is_positional(const struct option *option)
{
    return isupper((unsigned char)option->name[0]);
}

static const char *shown_name(const struct option *option, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s%s", is_positional(option) ? "" : "--", option->name);
    return buffer;
}

/* -- Values ------------------------------------------------------------------------------------------------------- */

static int wrong(const struct command *command, const struct option *option, const char *given, const char *expected)
{
    char name[64];
    fprintf(stderr, "ssld %s: %s: '%s' is not %s\n", command->name, shown_name(option, name, sizeof name), given,
            expected);
    return 2;
}

static int wrong_range(const struct command *command, const struct option *option, const char *given)
{
    char expected[96];
    if (option->most > 0)
        snprintf(expected, sizeof expected, "in %.15g to %.15g", option->least, option->most);
    else
        snprintf(expected, sizeof expected, "at least %.15g", option->least);
    return wrong(command, option, given, expected);
}

static int set_number(const struct command *command, const struct option *option, const char *given, void *variable)
{
    char *end = NULL;
    double real = 0;
    uint64_t whole = 0;
    errno = 0;
    if (option->type == OPTION_REAL) {
        real = strtod(given, &end);
    } else {
        whole = strtoull(given, &end, 10);
        real = (double)whole;
    }
    bool whole_number = isdigit((unsigned char)given[0]);
    if (end == given || *end || errno || !isfinite(real) || (option->type != OPTION_REAL && !whole_number))
        return wrong(command, option, given, option->type == OPTION_REAL ? "a number" : "a whole number");
    if (real < option->least || (option->most > 0 && real > option->most) ||
        (option->type == OPTION_INT && whole > INT32_MAX))
        return wrong_range(command, option, given);
    if (option->type == OPTION_REAL)
        *(double *)variable = real;
    else if (option->type == OPTION_INT)
        *(int32_t *)variable = (int32_t)whole;
    else
        *(uint64_t *)variable = whole;
    return 0;
}

static int set_choice(const struct command *command, const struct option *option, const char *given, int32_t *variable)
{
    int32_t index = 0;
    const char *choice = option->choices;
    for (;;) {
        size_t length = strcspn(choice, "|");
        if (strlen(given) == length && !memcmp(choice, given, length)) {
            *variable = index;
            return 0;
        }
        if (!choice[length])
            break;
        choice += length + 1;
        index++;
    }
    char expected[128];
    snprintf(expected, sizeof expected, "one of %s", option->choices);
    return wrong(command, option, given, expected);
}

static int add_text(const struct command *command, const struct option *option, const char *given, struct texts *texts)
{
    if (!*given)
        return wrong(command, option, given, "a text; leave the option out instead");
    if (texts->count == MOST_TEXTS) {
        fprintf(stderr, "ssld %s: '%s' is too much: at most %d are possible\n", command->name, given, MOST_TEXTS);
        return 2;
    }
    texts->items[texts->count++] = given;
    return 0;
}

static int set(const struct command *command, const struct option *option, const char *given, void *values)
{
    void *variable = (char *)values + option->offset;
    switch (option->type) {
    case OPTION_TEXT:
        if (!*given)
            return wrong(command, option, given, "a text; leave the option out instead");
        *(const char **)variable = given;
        return 0;
    case OPTION_TEXTS:
        return add_text(command, option, given, variable);
    case OPTION_CHOICE:
        return set_choice(command, option, given, variable);
    case OPTION_FLAG:
        *(bool *)variable = true;
        return 0;
    default:
        return set_number(command, option, given, variable);
    }
}

/* -- Parsing ------------------------------------------------------------------------------------------------------ */

/* The option that is nearest to what was written: one that begins with it, or shares its first three letters. */
static const struct option *similar(const struct command *command, const char *name, size_t length)
{
    for (size_t common = length; common >= 3; common--)
        for (const struct option *option = command->options; option->name; option++)
            if (!is_positional(option) && !strncmp(option->name, name, common))
                return option;
    return NULL;
}

static int unknown(const struct command *command, const char *given, size_t length)
{
    const struct option *near = similar(command, given + 2, length - 2);
    fprintf(stderr, "ssld %s: unknown option '%.*s'", command->name, (int)length, given);
    if (near)
        fprintf(stderr, "; did you mean --%s?", near->name);
    fprintf(stderr, " ('ssld help %s' lists them)\n", command->name);
    return 2;
}

static const struct option *find(const struct command *command, const char *name, size_t length)
{
    for (const struct option *option = command->options; option->name; option++)
        if (!is_positional(option) && strlen(option->name) == length && !memcmp(option->name, name, length))
            return option;
    return NULL;
}

static const struct option *find_positional(const struct command *command, int index)
{
    for (const struct option *option = command->options; option->name; option++)
        if (is_positional(option) && (index-- == 0 || option->type == OPTION_TEXTS))
            return option;
    return NULL;
}

/* The option that arguments[*next] begins, and its value; *next moves to the last argument used. */
static int take(const struct command *command, int count, char **arguments, int *next, int *positional,
                const struct option **option, const char **value)
{
    const char *given = arguments[*next];
    if (strncmp(given, "--", 2) != 0) {
        *option = find_positional(command, (*positional)++);
        *value = given;
        if (*option)
            return 0;
        fprintf(stderr, "ssld %s: '%s' is too much; options begin with -- ('ssld help %s' lists them)\n", command->name,
                given, command->name);
        return 2;
    }
    const char *equals = strchr(given, '=');
    size_t length = equals ? (size_t)(equals - given) : strlen(given);
    *option = find(command, given + 2, length - 2);
    if (!*option)
        return unknown(command, given, length);
    if ((*option)->type == OPTION_FLAG && equals) {
        fprintf(stderr, "ssld %s: --%s takes no value\n", command->name, (*option)->name);
        return 2;
    }
    if (equals)
        *value = equals + 1;
    else if ((*option)->type == OPTION_FLAG)
        *value = "";
    else if (*next + 1 < count)
        *value = arguments[++*next];
    else {
        fprintf(stderr, "ssld %s: --%s needs a value: %s\n", command->name, (*option)->name, (*option)->value);
        return 2;
    }
    return 0;
}

#define MOST_OPTIONS 64

int options_parse(const struct command *command, int count, char **arguments, void *values)
{
    bool given[MOST_OPTIONS] = { false };
    int positional = 0, status;
    memset(values, 0, command->values_size);
    for (const struct option *option = command->options; option->name; option++) {
        if (option->initial && (status = set(command, option, option->initial, values)))
            return status;
        if (!option->initial && option->type == OPTION_REAL)
            *(double *)(void *)((char *)values + option->offset) = NAN;
    }
    for (int i = 0; i < count; i++)
        if (!strcmp(arguments[i], "--help") || !strcmp(arguments[i], "-h"))
            return -1;
    for (int i = 0; i < count; i++) {
        const struct option *option = NULL;
        const char *value = NULL;
        if ((status = take(command, count, arguments, &i, &positional, &option, &value)) ||
            (status = set(command, option, value, values)))
            return status;
        given[option - command->options] = true;
    }
    for (const struct option *option = command->options; option->name; option++) {
        char name[64];
        if (!option->required || given[option - command->options])
            continue;
        fprintf(stderr, "ssld %s: %s is missing: %s\n", command->name, shown_name(option, name, sizeof name),
                option->help);
        return 2;
    }
    return 0;
}

/* -- Help --------------------------------------------------------------------------------------------------------- */

/* Words from `column` on, wrapped at HELP_WIDTH, further lines indented. */
static void print_wrapped(const char *text, int column, int indent)
{
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column > indent && column + (int)length + 1 > HELP_WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)length, text);
        column += (int)length;
        text += length + strspn(text + length, " ");
    }
    putchar('\n');
}

static void print_option(const struct option *option)
{
    char left[96], text[512];
    int used = snprintf(left, sizeof left, "  %s%s", is_positional(option) ? "" : "--", option->name);
    if (option->type != OPTION_FLAG && !is_positional(option))
        used += snprintf(left + used, sizeof left - (size_t)used, " %s", option->value);
    const char *initial = option->initial;
    snprintf(text, sizeof text, "%s%s%s%s", option->help, initial ? " (default: " : option->required ? " (required)" : "",
             initial ? initial : "", initial ? ")" : "");
    printf("%s", left);
    if (used + 2 > HELP_INDENT)
        printf("\n%*s", HELP_INDENT, "");
    else
        printf("%*s", HELP_INDENT - used, "");
    print_wrapped(text, HELP_INDENT, HELP_INDENT);
}

void options_help(const struct command *command)
{
    printf("ssld %s - %s\n\nusage: ssld %s", command->name, command->purpose, command->name);
    for (const struct option *option = command->options; option->name; option++)
        if (is_positional(option))
            printf(" %s%s", option->name, option->type == OPTION_TEXTS ? " ..." : "");
        else if (option->required)
            printf(" --%s %s", option->name, option->value);
    printf(" [options]\n\n");
    if (command->details)
        printf("%s\n", command->details);
    for (const struct option *option = command->options; option->name; option++)
        print_option(option);
    printf("\nexample:\n%s\n", command->example);
}
