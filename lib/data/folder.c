/* SPDX-License-Identifier: BSD-2-Clause */
/* folder.c - dir:FOLDER, a folder for each class. Names that begin with a dot are passed over; folders inside a class
 * are entered unless they are symbolic links, which could lead round in circles. */
#include "data/dataset.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Names found in folders, to be sorted. */
struct found {
    char    *name; /* relative to the data set's folder */
    uint64_t size; /* of the file */
};

struct finds {
    ssld_context *context;
    struct found *items;
    size_t        count;
    size_t        capacity;
};

static void finds_free(struct finds *finds)
{
    for (size_t i = 0; i < finds->count; i++)
        ssld_free(finds->context, finds->items[i].name);
    ssld_free(finds->context, finds->items);
}

static ssld_status finds_add(struct finds *finds, const char *name, uint64_t size)
{
    if (finds->count == finds->capacity) {
        size_t capacity = finds->capacity ? finds->capacity * 2 : 64;
        struct found *items = ssld_realloc(finds->context, finds->items, finds->count * sizeof *items,
                                           capacity * sizeof *items);
        if (!items)
            return ssld_fail_memory(finds->context, "a folder's names", capacity * sizeof *items);
        finds->items = items;
        finds->capacity = capacity;
    }
    char *copy = ssld_strdup(finds->context, name);
    if (!copy)
        return ssld_fail_memory(finds->context, "a file name", strlen(name));
    finds->items[finds->count++] = (struct found){ copy, size };
    return SSLD_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->name, ((const struct found *)b)->name);
}

static void finds_sort(struct finds *finds)
{
    if (finds->count)
        qsort(finds->items, finds->count, sizeof *finds->items, by_name);
}

static bool is_image_name(const char *name)
{
    static const char *const endings[] = { ".jpg", ".jpeg", ".png" };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i]))
            return true;
    return false;
}

/* Folders in folders that are entered; more are no data set. */
#define MOST_DEPTH 32

static int depth_of(const char *name)
{
    int depth = 0;
    for (; *name; name++)
        depth += *name == '/';
    return depth;
}

/* One entry of a folder: `name` relative to root, `path` from here. */
typedef ssld_status entry_function(const char *root, const char *name, const char *path, struct finds *finds);

/* Call `each` for the entries of the folder root/below (root itself if below is empty). */
static ssld_status for_each_entry(const char *root, const char *below, entry_function *each, struct finds *finds)
{
    char path[SSLD_MOST_PATH], name[SSLD_MOST_PATH];
    ssld_status status = SSLD_OK;
    struct dirent *entry;
    if (!ssld_files_path(root, below, strlen(below), path) || depth_of(below) > MOST_DEPTH)
        return ssld_fail(finds->context, SSLD_IO, "%s/%s: the path is too long or too deep", root, below);
    DIR *folder = opendir(path);
    if (!folder)
        return ssld_fail_errno(finds->context, path, "open the folder");
    while (!status && (errno = 0, entry = readdir(folder))) {
        size_t before = below[0] ? strlen(below) + 1 : 0, length = strlen(entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        if (before + length >= sizeof name) {
            status = ssld_fail(finds->context, SSLD_IO, "%s/%s: the path is too long", path, entry->d_name);
            break;
        }
        if (before) {
            memcpy(name, below, before - 1);
            name[before - 1] = '/';
        }
        memcpy(name + before, entry->d_name, length + 1);
        if (ssld_files_path(root, name, before + length, path))
            status = each(root, name, path, finds);
        else
            status = ssld_fail(finds->context, SSLD_IO, "%s/%s: the path is too long", root, name);
    }
    if (!status && errno)
        status = ssld_fail_errno(finds->context, root, "read the folder");
    closedir(folder);
    return status;
}

static ssld_status collect_class(const char *root, const char *name, const char *path, struct finds *finds)
{
    struct stat info;
    (void)root;
    if (stat(path, &info))
        return ssld_fail_errno(finds->context, path, "stat");
    return S_ISDIR(info.st_mode) ? finds_add(finds, name, 0) : SSLD_OK;
}

static ssld_status collect_image(const char *root, const char *name, const char *path, struct finds *finds)
{
    struct stat info;
    if (lstat(path, &info))
        return ssld_fail_errno(finds->context, path, "stat");
    if (S_ISDIR(info.st_mode))
        return for_each_entry(root, name, collect_image, finds);
    if (!is_image_name(name))
        return SSLD_OK;
    if (stat(path, &info)) /* a link's target */
        return ssld_fail_errno(finds->context, path, "stat");
    return S_ISREG(info.st_mode) ? finds_add(finds, name, (uint64_t)info.st_size) : SSLD_OK;
}

static ssld_status add_class(struct file_list *files, const char *root, const char *class_name, int32_t label)
{
    struct finds images = { .context = files->dataset->context };
    ssld_status status = for_each_entry(root, class_name, collect_image, &images);
    finds_sort(&images);
    for (size_t i = 0; i < images.count && !status; i++)
        status = ssld_files_add(files, images.items[i].name, strlen(images.items[i].name), images.items[i].size, label);
    finds_free(&images);
    return status;
}

static ssld_status folder_open(ssld_dataset *dataset, const char *place, const ssld_dataset_options *options)
{
    struct finds classes = { .context = dataset->context };
    struct file_list files = { 0 };
    ssld_status status = for_each_entry(place, "", collect_class, &classes);
    if (status)
        goto done;
    finds_sort(&classes);
    if (options->classes && classes.count > (size_t)options->classes) {
        status = ssld_fail(dataset->context, SSLD_FORMAT, "%s: %zu folders, but the number of classes is %d", place,
                           classes.count, options->classes);
        goto done;
    }
    status = ssld_files_begin(&files, dataset, place, options);
    for (size_t i = 0; i < classes.count && !status; i++)
        status = add_class(&files, place, classes.items[i].name, (int32_t)i);
    if (!status && !dataset->count)
        status = ssld_fail(dataset->context, SSLD_FORMAT, "%s: no JPEG or PNG file in a folder of a class; expected "
                           "%s/CLASS/IMAGE.jpg", place, place);
    if (!status)
        ssld_files_end(&files);
done:
    ssld_files_discard(&files);
    finds_free(&classes);
    return status;
}

const struct source ssld_source_folder = { "dir", folder_open, ssld_files_fetch };
