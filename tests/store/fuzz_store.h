/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_store.h - what the fuzz targets of the store share: a context of one thread, a file in memory, and without libFuzzer a
 * program that replays corpora. */
#ifndef SSLD_TESTS_STORE_FUZZ_H
#define SSLD_TESTS_STORE_FUZZ_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "ssld/store.h"
#include "store/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline ssld_context *fuzz_context(void)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.threads = 1;
    if (ssld_context_create(&options, &context))
        abort();
    return context;
}

/* The bytes as a file; `path` receives its name. */
static inline void fuzz_file(const uint8_t *bytes, size_t size, char path[64])
{
    snprintf(path, 64, "%s/ssld-fuzz-%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (long)getpid());
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
        abort();
}

#ifndef SSLD_FUZZ
static inline void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        abort();
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
        abort();
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
            char path[1024];
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
