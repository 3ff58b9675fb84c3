/* SPDX-License-Identifier: BSD-2-Clause */
/* files.h - folders of files for the tests of data sets, removed at the end of each. */
#ifndef SSLD_TESTS_DATA_FILES_H
#define SSLD_TESTS_DATA_FILES_H

#include "image/help.h"

#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/samples.h"

struct folder {
    char path[64];
};

static inline struct folder make_folder(void)
{
    struct folder folder = { "/tmp/ssld-test-XXXXXX" };
    CHECK(mkdtemp(folder.path), "no folder");
    return folder;
}

/* `prefix`folder/name, in one of a few static buffers. */
static inline const char *place(const char *prefix, const struct folder *folder, const char *name)
{
    static char texts[8][512];
    static int next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "%s%s/%s", prefix, folder->path, name);
    return text;
}

static inline void add_file(const struct folder *folder, const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(place("", folder, name), "wb");
    CHECK(file, "cannot make %s", name);
    size_t written = fwrite(bytes, 1, size, file);
    fclose(file);
    CHECK(written == size, "cannot write %s", name);
}

static inline void add_text(const struct folder *folder, const char *name, const char *text)
{
    add_file(folder, name, text, strlen(text));
}

static inline void add_folder(const struct folder *folder, const char *name)
{
    CHECK(mkdir(place("", folder, name), 0755) == 0, "cannot make %s", name);
}

static inline void remove_all(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    struct stat info;
    while (folder && (entry = readdir(folder))) {
        char below[512];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(below, sizeof below, "%.200s/%.255s", path, entry->d_name);
        if (!lstat(below, &info) && S_ISDIR(info.st_mode))
            remove_all(below);
        else
            unlink(below);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

/* Permissions do not bind root: after this the process is nobody until become_root(). False: it is not root anyway. */
static inline bool become_nobody(void)
{
    return geteuid() == 0 && seteuid(65534) == 0;
}

static inline void become_root(bool was)
{
    if (was && seteuid(0))
        abort();
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

static inline ssld_dataset *open_dataset(ssld_context *context, const char *text, const ssld_dataset_options *options)
{
    ssld_dataset *dataset = NULL;
    CHECK_OK(context, ssld_dataset_open(context, text, options, &dataset));
    return dataset;
}

static inline ssld_dataset_options make_dataset_options(void)
{
    ssld_dataset_options options;
    ssld_dataset_options_init(&options, sizeof options);
    return options;
}

/* Opening fails with this status and a text with this in it, and gives nothing. */
static inline void check_refused(ssld_context *context, const char *text, const ssld_dataset_options *options,
                                 ssld_status status, const char *said)
{
    ssld_dataset *dataset = NULL;
    CHECK_STATUS(context, ssld_dataset_open(context, text, options, &dataset), status);
    CHECK(!dataset, "%s gave a data set", text);
    CHECK_TEXT(context, said);
}

/* -- IDX ---------------------------------------------------------------------------------------------------------- */

#define IDX_COUNT 10
#define IDX_SIDE 6
#define IDX_IMAGES_SIZE (16 + IDX_COUNT * IDX_SIDE * IDX_SIDE)
#define IDX_LABELS_SIZE (8 + IDX_COUNT)

/* Ten images of 6 x 6, and labels 0 to 4. */
static inline void make_idx(uint8_t images[IDX_IMAGES_SIZE], uint8_t labels[IDX_LABELS_SIZE])
{
    static const uint8_t images_header[16] = { 0, 0, 8, 3, 0, 0, 0, IDX_COUNT, 0, 0, 0, IDX_SIDE, 0, 0, 0, IDX_SIDE };
    static const uint8_t labels_header[8] = { 0, 0, 8, 1, 0, 0, 0, IDX_COUNT };
    memcpy(images, images_header, 16);
    memcpy(labels, labels_header, 8);
    for (int i = 0; i < IDX_COUNT * IDX_SIDE * IDX_SIDE; i++)
        images[16 + i] = (uint8_t)(i * 7 + i / 5);
    for (int i = 0; i < IDX_COUNT; i++)
        labels[8 + i] = (uint8_t)(i * 3 % 5);
}

#endif
