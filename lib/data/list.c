/* SPDX-License-Identifier: BSD-2-Clause */
/* list.c - list:FILE, PaddleClas's list files: "path label" or "path" on each line. Either every line has a label or
 * none has; empty lines are skipped, a carriage return before the line's end is dropped.
 *
 * A manifest spares the look at every file: the list's own stamp says that the lines are the same, the stamps of the
 * folders that no file in them came, went or was renamed. */
#include "data/listing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct list_line {
    const char *path; /* the list's name, for errors */
    uint64_t    number;
    const char *text;
    size_t      length;
};

/* "%.*s" takes SHOWN(text, length): what an error quotes. */
#define SHOWN(text, length) (int)((length) < 120 ? (length) : 120), (text)

/* A whole number from -1 (none) to below `classes`, or any if classes is 0. */
static bool read_label(const char *text, size_t length, int32_t classes, int32_t *label)
{
    int64_t value = 0;
    bool negative = length > 1 && text[0] == '-';
    for (size_t i = negative; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || value >= INT32_MAX)
            return false;
        value = value * 10 + (text[i] - '0');
    }
    if (!length || value >= (classes ? classes : INT32_MAX) || (negative && value != 1))
        return false;
    *label = negative ? -1 : (int32_t)value;
    return true;
}

static ssld_status fail_label(ssld_context *context, struct list_line line, const char *label, size_t length,
                              int32_t classes)
{
    if (classes)
        return ssld_fail(context, SSLD_FORMAT,
                         "%s:%llu: '%.*s' is not a label from 0 to %d; expected 'path label', or more classes",
                         line.path, (unsigned long long)line.number, SHOWN(label, length), classes - 1);
    return ssld_fail(context, SSLD_FORMAT,
                     "%s:%llu: '%.*s' is not a label; expected 'path label', the label a whole number", line.path,
                     (unsigned long long)line.number, SHOWN(label, length));
}

/* Cut a line into path and label. *labelled: whether lines have labels, 1 or 0 once one has told, -1 before. */
static ssld_status read_line(ssld_context *context, struct list_line line, int32_t classes, int *labelled, size_t *path,
                             int32_t *label)
{
    unsigned long long number = line.number;
    if (memchr(line.text, 0, line.length))
        return ssld_fail(context, SSLD_FORMAT, "%s:%llu: a zero byte; this is not a list of images", line.path, number);
    size_t behind = line.length;
    while (behind && line.text[behind - 1] != ' ')
        behind--;
    bool has_label = behind > 0;
    *path = has_label ? behind : line.length;
    *label = -1;
    if (has_label && !read_label(line.text + behind, line.length - behind, classes, label))
        return fail_label(context, line, line.text + behind, line.length - behind, classes);
    if (*labelled >= 0 && has_label != *labelled)
        return ssld_fail(context, SSLD_FORMAT,
                         "%s:%llu: '%.*s' has %s label, but the lines before have %s; expected '%s'", line.path, number,
                         SHOWN(line.text, line.length), has_label ? "a" : "no", has_label ? "none" : "one",
                         has_label ? "path" : "path label");
    *labelled = has_label;
    while (*path && line.text[*path - 1] == ' ')
        --*path;
    if (!*path)
        return ssld_fail(context, SSLD_FORMAT, "%s:%llu: no path before the label; expected 'path label'", line.path,
                         number);
    return SSLD_OK;
}

/* -- Lines to entries --------------------------------------------------------------------------------------------- */

#define FILES_A_TASK 256

struct reading {
    struct ssld_opening *opening;
    struct ssld_text_index    folders; /* of containers, by name */
    struct ssld_text_index    names;   /* of the manifest's samples */
    uint64_t            *lines;   /* (entries) where each stands; NULL if the list was not read */
    uint64_t             capacity;
    uint8_t             *holds;   /* (containers of the manifest) 1: as it was */
    int64_t              now;
};

static const char *container_text(const void *listing, uint64_t number)
{
    return ssld_container_name(listing, number);
}

static const char *entry_text(const void *listing, uint64_t number)
{
    return ssld_entry_name(listing, number);
}

/* Container 0 is the list; each folder with a file is another, by its name as the list has it, "" for the root. Its stamp is
 * taken later. */
static ssld_status container_of(struct reading *reading, const char *name, size_t length, uint32_t *container,
                                struct ssld_problem *problem)
{
    static const struct ssld_stamp none;
    struct ssld_listing *listing = &reading->opening->listing;
    while (length && name[length - 1] != '/')
        length--;
    uint64_t number = ssld_text_index_find(&reading->folders, name, length, container_text, listing);
    ssld_status status = SSLD_OK;
    if (number == UINT64_MAX) {
        number = listing->container_count;
        if (!(status = ssld_listing_container(listing, name, length, &none, problem)))
            status = ssld_text_index_add(&reading->folders, ssld_container_name(listing, number), length, number, container_text,
                                    listing, problem);
    }
    *container = (uint32_t)number;
    return status;
}

static bool keep_line_number(struct reading *reading, uint64_t number)
{
    uint64_t used = reading->opening->listing.count;
    if (used == reading->capacity) {
        uint64_t capacity = used ? used * 2 : 1024;
        uint64_t *lines = ssld_realloc(reading->folders.context, reading->lines, (size_t)used * sizeof *lines,
                                       (size_t)capacity * sizeof *lines);
        if (!lines)
            return false;
        reading->lines = lines;
        reading->capacity = capacity;
    }
    reading->lines[used] = number;
    return true;
}

static ssld_status add_line(struct reading *reading, struct list_line line, int *labelled)
{
    struct ssld_opening *opening = reading->opening;
    ssld_context *context = opening->dataset->context;
    struct ssld_entry entry = { .label = -1 };
    struct ssld_problem problem;
    char path[SSLD_MOST_PATH];
    size_t length = 0;
    if (read_line(context, line, opening->options->classes, labelled, &length, &entry.label))
        return SSLD_FORMAT;
    if (!ssld_files_path(opening->dataset->root, line.text, length, path))
        return ssld_fail(context, SSLD_FORMAT, "%s:%llu: the path is longer than %d bytes", line.path,
                         (unsigned long long)line.number, SSLD_MOST_PATH);
    if (container_of(reading, line.text, length, &entry.container, &problem))
        return ssld_fail(context, problem.status, "%s", problem.text);
    if (!keep_line_number(reading, line.number))
        return ssld_fail_memory(context, "a list's lines", (size_t)reading->capacity * sizeof *reading->lines);
    if (ssld_listing_entry(&opening->listing, line.text, length, &entry, &problem))
        return ssld_fail(context, problem.status, "%s", problem.text);
    return SSLD_OK;
}

static ssld_status add_lines(struct reading *reading)
{
    struct ssld_map map = { 0 };
    const char *place = reading->opening->place;
    ssld_status status = ssld_map_open(reading->folders.context, place, &map);
    int labelled = -1;
    if (status)
        return status;
    const char *at = (const char *)map.bytes, *end = at + map.size;
    for (uint64_t number = 1; !status && at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct list_line line = { place, number, at, (size_t)((stop ? stop : end) - at) };
        while (line.length && (line.text[line.length - 1] == '\r' || line.text[line.length - 1] == ' '))
            line.length--;
        if (line.length)
            status = add_line(reading, line, &labelled);
        at = stop ? stop + 1 : end;
    }
    ssld_map_close(&map);
    return status;
}

/* -- Looking at files --------------------------------------------------------------------------------------------- */

/* "train.txt:17", or the list alone where its lines are those of the manifest and were not read. */
static const char *line_of(const struct reading *reading, uint64_t entry, char *text, size_t size)
{
    if (reading->lines)
        snprintf(text, size, "%.4000s:%llu", reading->opening->place, (unsigned long long)reading->lines[entry]);
    else
        snprintf(text, size, "%.4000s", reading->opening->place);
    return text;
}

/* The old entry of the name if nothing can have happened to the file. */
static const struct ssld_entry *known_entry(const struct reading *reading, const char *name, bool *holds)
{
    const struct ssld_listing *old = &reading->opening->old;
    uint64_t number = ssld_text_index_find(&reading->names, name, strlen(name), entry_text, old);
    const struct ssld_entry *entry = number == UINT64_MAX ? NULL : &old->entries[number];
    *holds = entry && reading->holds[entry->container] && ssld_entry_holds(reading->opening, entry);
    return entry;
}

static ssld_status fail_look(const char *line, const char *path, struct ssld_problem *problem)
{
    char verb[SSLD_MOST_PATH + 16];
    if (errno == ENOENT || errno == ENOTDIR)
        return ssld_problem_set(problem, SSLD_NOT_FOUND, "%s: cannot find '%s'; is the root folder right?", line, path);
    snprintf(verb, sizeof verb, "look at '%s'", path);
    return ssld_problem_errno(problem, line, verb);
}

static ssld_status look_at(struct reading *reading, uint64_t number, struct ssld_problem *problem)
{
    struct ssld_opening *opening = reading->opening;
    struct ssld_entry *entry = &opening->listing.entries[number];
    const char *name = ssld_entry_name(&opening->listing, number), *root = opening->dataset->root;
    char path[SSLD_MOST_PATH], line[SSLD_MOST_PATH];
    struct stat info;
    bool holds;
    const struct ssld_entry *known = known_entry(reading, name, &holds);
    if (holds) {
        entry->stamp = known->stamp;
        memcpy(entry->hash, known->hash, sizeof entry->hash);
        return SSLD_OK;
    }
    ssld_files_path(root, name, strlen(name), path);
    if (stat(path, &info))
        return fail_look(line_of(reading, number, line, sizeof line), path, problem);
    if (!S_ISREG(info.st_mode))
        return ssld_problem_set(problem, SSLD_IO, "%s: '%s' is not a regular file", line_of(reading, number, line, sizeof line),
                                path);
    entry->stamp = ssld_stamp_of(&info, reading->now);
    if (known && ssld_stamp_same(&known->stamp, &entry->stamp))
        memcpy(entry->hash, known->hash, sizeof entry->hash);
    return SSLD_OK;
}

static ssld_status look_at_some(void *user, uint64_t index, struct ssld_problem *problem)
{
    struct reading *reading = user;
    const struct ssld_opening *opening = reading->opening;
    uint64_t first = index * FILES_A_TASK, end = first + FILES_A_TASK, count = opening->listing.count;
    ssld_status status = SSLD_OK;
    if (opening->options->limit && opening->options->limit < count)
        count = opening->options->limit;
    for (uint64_t i = first; i < end && i < count && !status; i++)
        status = look_at(reading, i, problem);
    return status;
}

/* Where a container is. False: it is too long, or not there. */
static bool stat_container(const struct reading *reading, uint64_t number, const char *name, struct stat *info)
{
    const struct ssld_opening *opening = reading->opening;
    char path[SSLD_MOST_PATH];
    if (number == 0)
        return !stat(opening->place, info);
    return *name ? ssld_files_path(opening->dataset->root, name, strlen(name), path) && !stat(path, info)
                 : !stat(opening->dataset->root, info);
}

static ssld_status stamp_container(void *user, uint64_t number, struct ssld_problem *problem)
{
    struct reading *reading = user;
    struct ssld_container *container = &reading->opening->listing.containers[number];
    const char *name = ssld_container_name(&reading->opening->listing, number);
    struct stat info;
    if (!stat_container(reading, number, name, &info))
        return ssld_problem_errno(problem, number ? name : reading->opening->place, "stat");
    container->stamp = ssld_stamp_of(&info, reading->now);
    return SSLD_OK;
}

static ssld_status compare_container(void *user, uint64_t number, struct ssld_problem *problem)
{
    struct reading *reading = user;
    const struct ssld_listing *old = &reading->opening->old;
    struct stat info;
    (void)problem;
    if (!stat_container(reading, number, ssld_container_name(old, number), &info))
        return SSLD_OK;
    struct ssld_stamp stamp = ssld_stamp_of(&info, reading->now);
    /* The list is not a folder: that it lies beside the manifest does not matter. */
    reading->holds[number] = number ? ssld_container_holds(reading->opening, number, &stamp)
                                    : ssld_stamp_same(&old->containers[0].stamp, &stamp);
    return SSLD_OK;
}

/* -- With a manifest ---------------------------------------------------------------------------------------------- */

static ssld_status compare_manifest(struct reading *reading)
{
    const struct ssld_listing *old = &reading->opening->old;
    ssld_context *context = reading->folders.context;
    if (!old->container_count)
        return SSLD_OK;
    reading->holds = ssld_alloc_zero(context, (size_t)old->container_count, 1);
    if (!reading->holds)
        return ssld_fail_memory(context, "a manifest", (size_t)old->container_count);
    return ssld_parallel(context, old->container_count, compare_container, reading);
}

static ssld_status index_manifest(struct reading *reading)
{
    const struct ssld_listing *old = &reading->opening->old;
    struct ssld_problem problem;
    for (uint64_t i = 0; i < old->count; i++) {
        const char *name = ssld_entry_name(old, i);
        if (ssld_text_index_add(&reading->names, name, strlen(name), i, entry_text, old, &problem))
            return ssld_fail(old->context, problem.status, "%s", problem.text);
    }
    return SSLD_OK;
}

/* Are list, folders and files what they were, and labels as they must be? Then there is nothing to read. */
static bool all_holds(const struct reading *reading)
{
    const struct ssld_opening *opening = reading->opening;
    const struct ssld_listing *old = &opening->old;
    int32_t classes = opening->options->classes;
    for (uint64_t i = 0; i < old->container_count; i++)
        if (!reading->holds[i])
            return false;
    for (uint64_t i = 0; i < old->count; i++)
        if ((classes && old->entries[i].label >= classes) || !ssld_entry_holds(opening, &old->entries[i]))
            return false;
    return old->count > 0;
}

static ssld_status copy_old(struct ssld_opening *opening)
{
    const struct ssld_listing *old = &opening->old;
    struct ssld_problem problem;
    if (ssld_listing_append(&opening->listing, old, 0, old->container_count, 0, old->count, -1, &problem))
        return ssld_fail(opening->listing.context, problem.status, "%s", problem.text);
    return SSLD_OK;
}

/* -- The source --------------------------------------------------------------------------------------------------- */

static ssld_status read_list(struct reading *reading)
{
    static const struct ssld_stamp none;
    struct ssld_listing *listing = &reading->opening->listing;
    ssld_context *context = listing->context;
    struct ssld_problem problem;
    if (ssld_listing_container(listing, "*", 1, &none, &problem))
        return ssld_fail(context, problem.status, "%s", problem.text);
    ssld_status status = add_lines(reading);
    if (!status && !listing->count)
        status = ssld_fail(context, SSLD_FORMAT, "%s: no image is listed; expected a line 'path label' or 'path' for each",
                           reading->opening->place);
    if (!status)
        status = index_manifest(reading);
    if (!status)
        status = ssld_parallel(context, (listing->count + FILES_A_TASK - 1) / FILES_A_TASK, look_at_some, reading);
    /* A limit may leave folders out that are not there. */
    uint64_t limit = reading->opening->options->limit;
    if (!status && (!limit || limit >= listing->count))
        status = ssld_parallel(context, listing->container_count, stamp_container, reading);
    return status;
}

static ssld_status list_build(struct ssld_opening *opening)
{
    ssld_context *context = opening->dataset->context;
    struct reading reading = { .opening = opening, .folders.context = context, .names.context = context, .now = ssld_now() };
    ssld_status status = compare_manifest(&reading);
    if (!status)
        status = all_holds(&reading) ? copy_old(opening) : read_list(&reading);
    ssld_text_index_free(&reading.folders);
    ssld_text_index_free(&reading.names);
    ssld_free(context, reading.lines);
    ssld_free(context, reading.holds);
    return status;
}

/* The folder part of a path, "." if it has none. */
static char *folder_of(ssld_context *context, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = ssld_strdup(context, slash ? path : ".");
    if (folder && slash)
        folder[slash == path ? 1 : slash - path] = 0;
    return folder;
}

static ssld_status list_locate(struct ssld_opening *opening, char path[SSLD_MOST_PATH], struct ssld_hash *identity)
{
    ssld_dataset *dataset = opening->dataset;
    const char *root = opening->options->root;
    dataset->root = root ? ssld_strdup(dataset->context, root) : folder_of(dataset->context, opening->place);
    if (!dataset->root)
        return ssld_fail_memory(dataset->context, "a path", strlen(opening->place));
    ssld_hash_add_text(identity, root ? root : "");
    int length = snprintf(path, SSLD_MOST_PATH, "%s.ssld-manifest", opening->place);
    return length < SSLD_MOST_PATH ? SSLD_OK
                                   : ssld_fail(dataset->context, SSLD_IO, "%s: the path is too long", opening->place);
}

static ssld_status list_open(ssld_dataset *dataset, const char *place, const ssld_dataset_options *options)
{
    static const struct ssld_listed how = { SSLD_KIND_LIST, list_locate, list_build };
    return ssld_listed_open(dataset, &how, place, options);
}

const struct source ssld_source_list = { "list", list_open, ssld_files_fetch, ssld_files_place, NULL };
