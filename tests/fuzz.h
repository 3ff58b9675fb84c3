/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz.h - what fuzz targets share: a context of one thread, a file in memory, and without libFuzzer (-Dfuzz=true with clang) a
 * program that replays the files, or the files of the folders, that it is given. */
#ifndef SSLD_TESTS_FUZZ_H
#define SSLD_TESTS_FUZZ_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ssld/context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static inline ssld_context *fuzz_context(void)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.threads = 1;
    must(ssld_context_create(&options, &context) == SSLD_OK, "no context");
    return context;
}

/* A name of this process's own in memory, where there is such a folder. */
static inline void fuzz_path(const char *name, char path[64])
{
    snprintf(path, 64, "%s/ssld-fuzz-%ld%s", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (long)getpid(), name);
}

static inline void fuzz_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    must(file && fwrite(bytes, 1, size, file) == size && !fclose(file), "a file cannot be written");
}

/* The bytes as a file; `path` receives its name. */
static inline void fuzz_file(const uint8_t *bytes, size_t size, char path[64])
{
    fuzz_path("", path);
    fuzz_write(path, bytes, size);
}

#ifndef SSLD_FUZZ
static inline void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    must(file && !fseek(file, 0, SEEK_END), path);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1); /* no byte more, so that reading past the end is noticed */
    must(data && size >= 0 && fread(data, 1, (size_t)size, file) == (size_t)size, path);
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
}

int main(int argc, char **argv)
{
    long replayed = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (!folder) {
            replay_file(argv[i]);
            replayed++;
            continue;
        }
        for (struct dirent *entry; (entry = readdir(folder));) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            replay_file(path);
            replayed++;
        }
        closedir(folder);
    }
    printf("%ld inputs replayed\n", replayed);
    return replayed ? 0 : 1;
}
#endif

#endif
