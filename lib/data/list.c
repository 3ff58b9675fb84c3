/* SPDX-License-Identifier: BSD-2-Clause */
/* list.c - list:FILE, PaddleClas's list files: "path label" or "path" on each line. Either every line has a label or
 * none has; empty lines are skipped, a carriage return before the line's end is dropped. */
#include "data/dataset.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

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

static ssld_status add_line(struct file_list *files, struct list_line line, int32_t classes, int *labelled)
{
    ssld_context *context = files->dataset->context;
    unsigned long long number = line.number;
    char path[SSLD_MOST_PATH];
    struct stat info;
    size_t length = 0;
    int32_t label = -1;
    if (read_line(context, line, classes, labelled, &length, &label))
        return SSLD_FORMAT;
    if (ssld_files_full(files))
        return ssld_files_add(files, line.text, length, 0, label);
    if (!ssld_files_path(files->dataset->root, line.text, length, path))
        return ssld_fail(context, SSLD_FORMAT, "%s:%llu: the path is longer than %d bytes", line.path, number,
                         SSLD_MOST_PATH);
    if (stat(path, &info))
        return ssld_fail(context, errno == ENOENT || errno == ENOTDIR ? SSLD_NOT_FOUND : SSLD_IO,
                         "%s:%llu: cannot find '%s'; is the root folder right?", line.path, number, path);
    if (!S_ISREG(info.st_mode))
        return ssld_fail(context, SSLD_IO, "%s:%llu: '%s' is not a regular file", line.path, number, path);
    return ssld_files_add(files, line.text, length, (uint64_t)info.st_size, label);
}

static ssld_status add_lines(struct file_list *files, const char *place, const struct ssld_map *map, int32_t classes)
{
    const char *at = (const char *)map->bytes, *end = at + map->size;
    ssld_status status = SSLD_OK;
    int labelled = -1;
    for (uint64_t number = 1; !status && at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct list_line line = { place, number, at, (size_t)((stop ? stop : end) - at) };
        while (line.length && (line.text[line.length - 1] == '\r' || line.text[line.length - 1] == ' '))
            line.length--;
        if (line.length)
            status = add_line(files, line, classes, &labelled);
        at = stop ? stop + 1 : end;
    }
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

static ssld_status list_open(ssld_dataset *dataset, const char *place, const ssld_dataset_options *options)
{
    struct ssld_map map = { 0 };
    struct file_list files = { 0 };
    ssld_status status = ssld_map_open(dataset->context, place, &map);
    if (status)
        return status;
    char *folder = folder_of(dataset->context, place);
    if (folder)
        status = ssld_files_begin(&files, dataset, options->root ? options->root : folder, options);
    else
        status = ssld_fail_memory(dataset->context, "a path", strlen(place));
    if (!status)
        status = add_lines(&files, place, &map, options->classes);
    if (status)
        ssld_files_discard(&files);
    else
        ssld_files_end(&files);
    ssld_free(dataset->context, folder);
    ssld_map_close(&map);
    return status;
}

const struct source ssld_source_list = { "list", list_open, ssld_files_fetch };
