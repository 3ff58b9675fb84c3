/* SPDX-License-Identifier: BSD-2-Clause */
/* groups.c - the text of parameter groups: patterns for names, and the factors that they give.
 *
 *   groups   = group { ";" group } [ ";" ]
 *   group    = pattern ":" property "=" number { "," property "=" number }      blanks may stand between words
 *   property = "rate" | "decay"
 *
 * A pattern may hold colons itself (some exporters' names do): the group's last one ends it. */
#include "distill/groups.h"

#include <string.h>

#include "image/number.h"

/* A piece of the text. */
struct span {
    const char *at;
    size_t      length;
};

struct group {
    struct span pattern;
    double      rate, decay;
    bool        has_rate, has_decay;
};

static struct span trimmed(const char *at, const char *end)
{
    while (at < end && strchr(" \t\r\n", *at))
        at++;
    while (end > at && strchr(" \t\r\n", end[-1]))
        end--;
    return (struct span){ at, (size_t)(end - at) };
}

static bool is_word(struct span span, const char *word)
{
    return span.length == strlen(word) && !memcmp(span.at, word, span.length);
}

/* What error texts quote of a span. */
static int shown(struct span span)
{
    return span.length < 200 ? (int)span.length : 200;
}

/* Does the name fit the pattern? After a star the rest is tried from the next place on when it did not fit so far; only the
 * last star need be remembered, because what stood before it has fitted. */
static bool fits(struct span pattern, const char *name)
{
    const char *next = pattern.at, *end = pattern.at + pattern.length, *star = NULL, *from = NULL;
    while (*name) {
        if (next < end && *next == '*') {
            star = ++next;
            from = name;
        } else if (next < end && (*next == '?' || *next == *name)) {
            next++;
            name++;
        } else if (star) {
            next = star;
            name = ++from;
        } else {
            return false;
        }
    }
    while (next < end && *next == '*')
        next++;
    return next == end;
}

static ssld_status take_property(ssld_context *context, struct span text, struct group *group)
{
    const char *equals = memchr(text.at, '=', text.length), *end = text.at + text.length;
    double number;
    if (!equals)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "parameter_groups: '%.*s' stands where rate=NUMBER or decay=NUMBER was expected", shown(text),
                         text.at);
    struct span name = trimmed(text.at, equals), value = trimmed(equals + 1, end);
    bool rate = is_word(name, "rate");
    if (!rate && !is_word(name, "decay"))
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "parameter_groups: there is no '%.*s' in '%.*s'; there are rate and decay", shown(name), name.at,
                         shown(text), text.at);
    if (!ssld_number_read(value.at, value.length, &number) || number < 0)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "parameter_groups: '%.*s' in '%.*s' is not a number, at least 0", shown(value), value.at,
                         shown(text), text.at);
    if (rate ? group->has_rate : group->has_decay)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "parameter_groups: '%.*s': %s is given twice",
                         shown(group->pattern), group->pattern.at, rate ? "rate" : "decay");
    *(rate ? &group->rate : &group->decay) = number;
    *(rate ? &group->has_rate : &group->has_decay) = true;
    return SSLD_OK;
}

/* "fc.*: rate=10, decay=0" */
static ssld_status take_group(ssld_context *context, struct span text, struct group *group)
{
    const char *end = text.at + text.length, *colon = end;
    while (colon > text.at && colon[-1] != ':')
        colon--;
    *group = (struct group){ .rate = 1 };
    if (colon > text.at)
        group->pattern = trimmed(text.at, colon - 1);
    if (!group->pattern.length)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "parameter_groups: '%.*s' is not 'PATTERN: rate=NUMBER, decay=NUMBER'", shown(text), text.at);
    for (const char *next = colon;;) {
        const char *comma = memchr(next, ',', (size_t)(end - next));
        ssld_status status = take_property(context, trimmed(next, comma ? comma : end), group);
        if (status || !comma)
            return status;
        next = comma + 1;
    }
}

/* The group's factors for its parameters that no earlier group has, which `taken` marks. */
static ssld_status apply(ssld_context *context, const struct group *group, int32_t count,
                         const struct ssld_parameter *const *parameters, bool *taken, struct ssld_factors *factors)
{
    bool any = false;
    for (int32_t i = 0; i < count; i++) {
        if (parameters[i]->role != SSLD_VALUE_PARAMETER || !fits(group->pattern, parameters[i]->name))
            continue;
        any = true;
        if (taken[i])
            continue;
        taken[i] = true;
        factors[i].rate = group->rate;
        if (group->has_decay)
            factors[i].decay = group->decay;
    }
    if (any)
        return SSLD_OK;
    return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                     "parameter_groups: no parameter fits '%.*s'; the first is called '%s'", shown(group->pattern),
                     group->pattern.at, count ? parameters[0]->name : "");
}

ssld_status ssld_groups_apply(ssld_context *context, const char *text, int32_t count,
                              const struct ssld_parameter *const *parameters, struct ssld_factors *factors)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; i < count; i++)
        factors[i] = (struct ssld_factors){ .rate = 1, .decay = parameters[i]->no_decay ? 0 : 1 };
    if (!text)
        return SSLD_OK;
    bool *taken = ssld_alloc_zero(context, (size_t)count, sizeof *taken);
    if (!taken)
        return ssld_fail_memory(context, "the parameter groups", (size_t)count);
    for (const char *next = text; !status;) {
        size_t length = strcspn(next, ";");
        struct span piece = trimmed(next, next + length);
        struct group group;
        if (piece.length)
            status = take_group(context, piece, &group);
        if (!status && piece.length)
            status = apply(context, &group, count, parameters, taken, factors);
        if (!next[length])
            break;
        next += length + 1;
    }
    ssld_free(context, taken);
    return status;
}
