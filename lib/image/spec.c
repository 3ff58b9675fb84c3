/* SPDX-License-Identifier: BSD-2-Clause */
/* spec.c - view specs: text to operations and back.
 *
 *   spec      = operation { blank operation }
 *   operation = word [ "(" [ argument { "," argument } ] ")" ]
 *   argument  = [ name "=" ] value            positions first, names behind them
 */
#include "image/operation.h"

#include <stdio.h>
#include <string.h>

#include "image/number.h"

/* A part of the text, not ended by a zero. "%.*s" takes SLICE(x). */
struct slice {
    const char *at;
    size_t      length;
};
#define SLICE(part) (int)((part).length < 80 ? (part).length : 80), (part).at

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice trimmed(struct slice part)
{
    while (part.length && is_blank(part.at[0])) {
        part.at++;
        part.length--;
    }
    while (part.length && is_blank(part.at[part.length - 1]))
        part.length--;
    return part;
}

/* Cut `rest` at the first `separator`: returns what is before it, rest is what is behind; *found: there was one. */
static struct slice cut_at(struct slice *rest, const char *separator, bool *found)
{
    size_t length = strlen(separator);
    for (size_t i = 0; i + length <= rest->length; i++) {
        if (memcmp(rest->at + i, separator, length))
            continue;
        struct slice before = { rest->at, i };
        rest->at += i + length;
        rest->length -= i + length;
        *found = true;
        return before;
    }
    struct slice all = *rest;
    rest->at += rest->length;
    rest->length = 0;
    *found = false;
    return all;
}

static bool equals(struct slice part, const char *word)
{
    return strlen(word) == part.length && !memcmp(part.at, word, part.length);
}

/* -- Forms of arguments ------------------------------------------------------------------------------------------- */

static bool read_whole(struct slice part, double *value)
{
    return strspn(part.at, "0123456789") >= part.length && ssld_number_read(part.at, part.length, value);
}

static bool read_size(struct slice text, struct argument *argument)
{
    bool two;
    struct slice height = cut_at(&text, "x", &two);
    argument->count = 2;
    if (!read_whole(height, &argument->values[0]))
        return false;
    argument->values[1] = argument->values[0];
    return !two || read_whole(text, &argument->values[1]);
}

static bool read_side(struct slice text, struct argument *argument)
{
    if (!read_size(text, argument))
        return false;
    if (!memchr(text.at, 'x', text.length)) {
        argument->count = 1;
        argument->values[1] = 0;
    }
    return true;
}

static bool read_count(struct slice text, struct argument *argument)
{
    argument->count = 1;
    return read_whole(text, &argument->values[0]);
}

static bool read_number(struct slice text, struct argument *argument)
{
    argument->count = 1;
    return ssld_number_read(text.at, text.length, &argument->values[0]);
}

static bool read_range(struct slice text, struct argument *argument)
{
    bool two;
    struct slice low = cut_at(&text, "..", &two);
    argument->count = 2;
    return two && ssld_number_read(low.at, low.length, &argument->values[0]) &&
           ssld_number_read(text.at, text.length, &argument->values[1]) && argument->values[0] <= argument->values[1];
}

static bool read_channels(struct slice text, struct argument *argument)
{
    bool more = true;
    int32_t count = 0;
    for (; more && count < 3; count++) {
        struct slice number = cut_at(&text, "/", &more);
        if (!ssld_number_read(number.at, number.length, &argument->values[count]))
            return false;
    }
    argument->count = count;
    return !more && count != 2;
}

/* The place of `word` in "some|words", -1 if it is not there. */
static int find_word(const char *words, struct slice word)
{
    struct slice rest = { words, strlen(words) };
    bool more = true;
    for (int place = 0; more; place++) {
        struct slice one = cut_at(&rest, "|", &more);
        if (one.length == word.length && !memcmp(one.at, word.at, word.length))
            return place;
    }
    return -1;
}

/* The word at a place that find_word() gave. */
static struct slice word_at(const char *words, int place)
{
    struct slice rest = { words, strlen(words) }, one;
    bool more;
    do
        one = cut_at(&rest, "|", &more);
    while (place-- > 0);
    return one;
}

/* Printed with the separator between the numbers; `once`: equal numbers are said once, as that reads back the same. */
static const struct form {
    const char *expected;
    const char *separator;
    bool        once;
    bool (*read)(struct slice text, struct argument *argument);
} forms[] = {
    [ARGUMENT_SIZE] = { "a size, S or HxW,", "x", true, read_size },
    [ARGUMENT_SIDE] = { "a size, S or HxW,", "x", false, read_side },
    [ARGUMENT_COUNT] = { "a whole number", "", false, read_count },
    [ARGUMENT_NUMBER] = { "a number", "", false, read_number },
    [ARGUMENT_RANGE] = { "a range, low..high,", "..", false, read_range },
    [ARGUMENT_CHANNELS] = { "a number, or three as 0.1/0.2/0.3,", "/", false, read_channels },
    [ARGUMENT_WORD] = { NULL, NULL, false, NULL }, /* needs the list of words */
};

/* -- Reading ------------------------------------------------------------------------------------------------------ */

#define MOST_USAGE 512

/* "rrc(size, scale=0.08..1, ratio=0.75..1.3333333333333333)" */
static const char *usage(const struct operation_kind *kind, char text[MOST_USAGE])
{
    size_t length = (size_t)snprintf(text, MOST_USAGE, "%s", kind->name);
    for (const struct argument_kind *argument = kind->arguments; argument->name; argument++)
        length += (size_t)snprintf(text + length, MOST_USAGE - length, "%s%s%s%s",
                                   argument == kind->arguments ? "(" : ", ", argument->name,
                                   argument->standard ? "=" : "", argument->standard ? argument->standard : "");
    if (kind->arguments[0].name)
        snprintf(text + length, MOST_USAGE - length, ")");
    return text;
}

static ssld_status read_word(ssld_context *context, const struct operation_kind *kind, int index, struct slice text,
                             struct argument *argument)
{
    const struct argument_kind *expected = &kind->arguments[index];
    int place = find_word(expected->words, text);
    if (place < 0)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "view spec: %s: '%.*s' is not a possible %s; expected one of %s", kind->name, SLICE(text),
                         expected->name, expected->words);
    argument->count = 1;
    argument->values[0] = place;
    return SSLD_OK;
}

static ssld_status read_value(ssld_context *context, const struct operation_kind *kind, int index, struct slice text,
                              struct argument *argument)
{
    const struct argument_kind *expected = &kind->arguments[index];
    const struct form *form = &forms[expected->form];
    if (expected->form == ARGUMENT_WORD)
        return read_word(context, kind, index, text, argument);
    bool good = form->read(text, argument);
    for (int32_t i = 0; good && i < argument->count; i++)
        good = argument->values[i] >= expected->least && argument->values[i] <= expected->most;
    if (good)
        return SSLD_OK;
    return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                     "view spec: %s: '%.*s' is not a possible %s; expected %s from %g to %g", kind->name, SLICE(text),
                     expected->name, form->expected, expected->least, expected->most);
}

/* Which argument a piece is: by its name, cut off from it, or by its position. *named: whether a piece so far had a
 * name. -1: failed. */
static int find_argument(ssld_context *context, const struct operation_kind *kind, int position, bool *named,
                         struct slice *piece)
{
    char text[MOST_USAGE];
    bool has_name;
    struct slice value = *piece;
    struct slice name = trimmed(cut_at(&value, "=", &has_name));
    if (!has_name && *named) {
        ssld_fail(context, SSLD_INVALID_ARGUMENT,
                  "view spec: %s: '%.*s' has no name but stands behind one that has; expected %s",
                  kind->name, SLICE(*piece), usage(kind, text));
        return -1;
    }
    int index = 0;
    while (kind->arguments[index].name && !(has_name ? equals(name, kind->arguments[index].name) : index == position))
        index++;
    if (kind->arguments[index].name) {
        *named |= has_name;
        if (has_name)
            *piece = trimmed(value);
        return index;
    }
    if (has_name)
        ssld_fail(context, SSLD_INVALID_ARGUMENT, "view spec: %s: unknown argument '%.*s'; expected %s", kind->name,
                  SLICE(name), usage(kind, text));
    else
        ssld_fail(context, SSLD_INVALID_ARGUMENT, "view spec: %s: '%.*s' is one argument too many; expected %s",
                  kind->name, SLICE(*piece), usage(kind, text));
    return -1;
}

static ssld_status fill_standards(ssld_context *context, const bool *given, struct operation *operation)
{
    const struct operation_kind *kind = operation->kind;
    char text[MOST_USAGE];
    for (int index = 0; kind->arguments[index].name; index++) {
        const char *standard = kind->arguments[index].standard;
        if (given[index])
            continue;
        if (!standard)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT, "view spec: %s: no %s; expected %s", kind->name,
                             kind->arguments[index].name, usage(kind, text));
        struct slice value = { standard, strlen(standard) };
        if (read_value(context, kind, index, value, &operation->arguments[index]))
            return SSLD_INVALID_ARGUMENT;
    }
    return SSLD_OK;
}

static ssld_status read_arguments(ssld_context *context, struct slice body, struct operation *operation)
{
    const struct operation_kind *kind = operation->kind;
    bool given[SSLD_MOST_ARGUMENTS] = { false }, named = false;
    body = trimmed(body);
    if (kind->preset && equals(body, kind->preset))
        body = (struct slice){ kind->preset_arguments, strlen(kind->preset_arguments) };
    bool more = body.length > 0;
    for (int position = 0; more; position++) {
        struct slice piece = trimmed(cut_at(&body, ",", &more));
        int index = find_argument(context, kind, position, &named, &piece);
        if (index < 0)
            return SSLD_INVALID_ARGUMENT;
        if (given[index])
            return ssld_fail(context, SSLD_INVALID_ARGUMENT, "view spec: %s: %s is given twice", kind->name,
                             kind->arguments[index].name);
        given[index] = true;
        if (read_value(context, kind, index, piece, &operation->arguments[index]))
            return SSLD_INVALID_ARGUMENT;
    }
    return fill_standards(context, given, operation);
}

static const struct operation_kind *find_kind(struct slice word)
{
    const struct operation_kind *const *kind = ssld_operation_kinds;
    while (*kind && !equals(word, (*kind)->name))
        kind++;
    return *kind;
}

static ssld_status fail_unknown(ssld_context *context, struct slice word)
{
    char known[512];
    size_t length = 0;
    for (const struct operation_kind *const *kind = ssld_operation_kinds; *kind; kind++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", length ? ", " : "", (*kind)->name);
    return ssld_fail(context, SSLD_INVALID_ARGUMENT, "view spec: unknown operation '%.*s'; there are %s", SLICE(word),
                     known);
}

/* One operation off the front of `rest`, which is trimmed and not empty. */
static ssld_status read_operation(ssld_context *context, struct slice *rest, struct operation *operation)
{
    size_t end = 0;
    while (end < rest->length && !is_blank(rest->at[end]) && rest->at[end] != '(')
        end++;
    struct slice word = { rest->at, end }, body = { rest->at + end, 0 };
    *operation = (struct operation){ .kind = find_kind(word) };
    if (!operation->kind)
        return fail_unknown(context, word);
    struct slice tail = { rest->at + end, rest->length - end };
    if (tail.length && tail.at[0] == '(') {
        bool closed;
        tail.at++;
        tail.length--;
        body = cut_at(&tail, ")", &closed);
        if (!closed)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT, "view spec: '%.*s' has no ')'", SLICE(*rest));
        if (tail.length && !is_blank(tail.at[0]))
            return ssld_fail(context, SSLD_INVALID_ARGUMENT, "view spec: '%.*s' follows %s without a space",
                             SLICE(tail), operation->kind->name);
    }
    *rest = trimmed(tail);
    return read_arguments(context, body, operation);
}

/* Stages in their order, and one normalize. */
static ssld_status check_stage(const ssld_view_spec *spec, struct slice from)
{
    const struct operation_kind *kind = spec->operations[spec->count - 1].kind;
    const struct operation_kind *before = spec->count > 1 ? spec->operations[spec->count - 2].kind : NULL;
    if (before && kind->stage == STAGE_NORMALIZE && spec->normalize >= 0)
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT,
                         "view spec: '%.*s': there is a normalize before it already", SLICE(from));
    if (before && kind->stage == STAGE_MIX && before->stage == STAGE_MIX)
        return ssld_fail(
            spec->context, SSLD_INVALID_ARGUMENT,
            "view spec: '%.*s' stands behind %s; a view is mixed once, mixup_or_cutmix chooses between the two",
            SLICE(from), before->name);
    if (before && kind->stage == STAGE_FILE)
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT, "view spec: '%.*s' stands behind %s; %s must be first",
                         SLICE(from), before->name, kind->name);
    if (before && kind->stage < before->stage)
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT,
                         "view spec: '%.*s' stands behind %s, which works on %s; put it before that", SLICE(from),
                         before->name, before->stage == STAGE_MIX ? "mixed views" : "floats");
    return SSLD_OK;
}

/* Without a normalize, pixels are x / 255. */
static ssld_status add_normalize(ssld_view_spec *spec)
{
    struct slice plain = { "normalize(0, 1)", 15 };
    spec->normalize = spec->count;
    return read_operation(spec->context, &plain, &spec->operations[spec->count++]);
}

static ssld_status too_many_operations(const ssld_view_spec *spec)
{
    return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT, "view spec: more than %d operations beside normalize",
                     SSLD_MOST_OPERATIONS - 1);
}

static ssld_status read_spec(ssld_view_spec *spec, const char *text)
{
    struct slice rest = trimmed((struct slice){ text, strlen(text) });
    spec->normalize = spec->mix = -1;
    if (!rest.length)
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT,
                         "view spec: it is empty; 'normalize(0, 1)' is pixels as x / 255");
    while (rest.length) {
        struct slice from = rest;
        struct operation *operation = &spec->operations[spec->count];
        /* One place is kept for normalize, written or added: what is printed has it and must be read again. */
        bool full = spec->count - (spec->normalize >= 0) == SSLD_MOST_OPERATIONS - 1;
        if (spec->count == SSLD_MOST_OPERATIONS)
            return too_many_operations(spec);
        if (read_operation(spec->context, &rest, operation))
            return SSLD_INVALID_ARGUMENT;
        if (full && operation->kind->stage != STAGE_NORMALIZE)
            return too_many_operations(spec);
        if (operation->kind->stage > STAGE_NORMALIZE && spec->normalize < 0) {
            struct operation floats = *operation;
            if (add_normalize(spec))
                return SSLD_INVALID_ARGUMENT;
            operation = &spec->operations[spec->count];
            *operation = floats;
        }
        spec->count++;
        if (check_stage(spec, from))
            return SSLD_INVALID_ARGUMENT;
        if (operation->kind->stage == STAGE_NORMALIZE)
            spec->normalize = spec->count - 1;
        if (operation->kind->stage == STAGE_MIX)
            spec->mix = spec->count - 1;
    }
    return spec->normalize < 0 ? add_normalize(spec) : SSLD_OK;
}

/* -- Writing ------------------------------------------------------------------------------------------------------ */

/* More than any operation needs: its names, and three numbers of 24 characters for each argument. */
#define MOST_OPERATION_TEXT 1024

static size_t write_argument(const struct argument_kind *kind, const struct argument *argument, char *text, size_t room)
{
    const struct form *form = &forms[kind->form];
    int32_t count = argument->count;
    if (kind->form == ARGUMENT_WORD) {
        struct slice word = word_at(kind->words, (int)argument->values[0]);
        return (size_t)snprintf(text, room, "%s=%.*s", kind->name, SLICE(word));
    }
    bool same = form->once;
    for (int32_t i = 1; i < count; i++)
        same &= argument->values[i] == argument->values[0];
    size_t length = (size_t)snprintf(text, room, "%s=", kind->name);
    for (int32_t i = 0; i < (same ? 1 : count); i++) {
        char number[32];
        ssld_number_write(argument->values[i], number);
        length += (size_t)snprintf(text + length, room - length, "%s%s", i ? form->separator : "", number);
    }
    return length;
}

static char *write_spec(const ssld_view_spec *spec)
{
    size_t room = (size_t)spec->count * MOST_OPERATION_TEXT, length = 0;
    char *text = ssld_alloc(spec->context, room);
    for (int32_t i = 0; text && i < spec->count; i++) {
        const struct operation *operation = &spec->operations[i];
        const struct argument_kind *kind = operation->kind->arguments;
        length += (size_t)snprintf(text + length, room - length, "%s%s", i ? " " : "", operation->kind->name);
        for (int a = 0; kind[a].name; a++) {
            length += (size_t)snprintf(text + length, room - length, "%s", a ? ", " : "(");
            length += write_argument(&kind[a], &operation->arguments[a], text + length, room - length);
        }
        if (kind[0].name)
            length += (size_t)snprintf(text + length, room - length, ")");
    }
    return text;
}

/* -- The object --------------------------------------------------------------------------------------------------- */

/* (x / 255 - mean) / std in double, rounded to float once. */
static void fill_levels(ssld_view_spec *spec)
{
    double means[3], deviations[3];
    ssld_view_spec_normalization(spec, means, deviations);
    for (int c = 0; c < 3; c++)
        for (int x = 0; x < 256; x++)
            spec->levels[c][x] = (float)((x / 255.0 - means[c]) / deviations[c]);
    /* A line is faster than a table where it gives the same floats, which it nearly always does: it rounds in double
     * first. */
    for (int c = 0; c < 3; c++) {
        struct level_line line = { 1 / (255.0 * deviations[c]), -means[c] / deviations[c], true };
        for (int x = 0; x < 256; x++)
            line.exact &= (float)(x * line.scale + line.offset) == spec->levels[c][x];
        spec->lines[c] = line;
    }
}

ssld_status ssld_view_spec_parse(ssld_context *context, const char *text, ssld_view_spec **spec)
{
    ssld_status status = SSLD_OK;
    ssld_view_spec *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a view spec", sizeof *made);
    made->context = context;
    status = read_spec(made, text ? text : "");
    if (status)
        goto fail;
    fill_levels(made);
    made->pool = ssld_pool_create(context);
    if (!made->pool) {
        status = ssld_fail_memory(context, "a view spec", 0);
        goto fail;
    }
    made->text = write_spec(made);
    if (!made->text) {
        status = ssld_fail_memory(context, "a view spec's text", (size_t)made->count * MOST_OPERATION_TEXT);
        goto fail;
    }
    *spec = made;
    return SSLD_OK;
fail:
    ssld_view_spec_destroy(made);
    return status;
}

const char *ssld_view_spec_text(const ssld_view_spec *spec)
{
    return spec->text;
}

void ssld_view_spec_normalization(const ssld_view_spec *spec, double means[3], double deviations[3])
{
    const struct operation *normalize = &spec->operations[spec->normalize];
    for (int c = 0; c < 3; c++) {
        means[c] = ssld_channel_value(&normalize->arguments[0], c);
        deviations[c] = ssld_channel_value(&normalize->arguments[1], c);
    }
}

ssld_status ssld_view_spec_shape(const ssld_view_spec *spec, const int32_t image[3], int32_t shape[3])
{
    struct ssld_fault fault;
    int32_t at[3] = { image[0], image[1], image[2] };
    if ((at[0] != 1 && at[0] != 3) || at[1] < 0 || at[2] < 0)
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT,
                         "view spec: an image of shape %d x %d x %d; there must be 1 or 3 channels",
                         at[0], at[1], at[2]);
    for (int32_t i = 0; i < spec->count; i++) {
        int32_t next[3];
        if (ssld_operation_shape(&spec->operations[i], at, next, &fault))
            return ssld_fail(spec->context, fault.status, "view spec: %s", fault.text);
        memcpy(at, next, sizeof at);
    }
    if (!at[1] || !at[2])
        return ssld_fail(spec->context, SSLD_INVALID_ARGUMENT,
                         "view spec: '%s' makes views of different sizes from images of different sizes; put rrc(S), "
                         "resize(HxW) or center_crop(S) into it",
                         spec->text);
    memcpy(shape, at, sizeof at);
    return SSLD_OK;
}

void ssld_view_spec_destroy(ssld_view_spec *spec)
{
    if (!spec)
        return;
    ssld_pool_destroy(spec->pool);
    ssld_free(spec->context, spec->text);
    ssld_free(spec->context, spec);
}
