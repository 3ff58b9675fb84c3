/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- Maps --------------------------------------------------------------------------------------------------------- */

ssld_status ssld_map_open(ssld_context *context, const char *path, struct ssld_map *map)
{
    ssld_status status = SSLD_OK;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (descriptor < 0)
        return ssld_fail_errno(context, path, "open");
    if (fstat(descriptor, &info)) {
        status = ssld_fail_errno(context, path, "stat");
    } else if (!S_ISREG(info.st_mode)) {
        status = ssld_fail(context, SSLD_IO, "%s: not a regular file", path);
    } else if (info.st_size == 0) {
        map->bytes = (const uint8_t *)"";
        map->size = 0;
    } else {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
        if (bytes == MAP_FAILED) {
            status = ssld_fail_errno(context, path, "map");
        } else {
            map->bytes = bytes;
            map->size = (size_t)info.st_size;
        }
    }
    close(descriptor);
    return status;
}

void ssld_map_close(struct ssld_map *map)
{
    if (map->size)
        munmap((void *)map->bytes, map->size);
    map->bytes = NULL;
    map->size = 0;
}

/* -- Writing ------------------------------------------------------------------------------------------------------ */

int ssld_write_all(int descriptor, const void *bytes, size_t size)
{
    const char *next = bytes;
    while (size) {
        ssize_t written = write(descriptor, next, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        next += written;
        size -= (size_t)written;
    }
    return 0;
}

int ssld_sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!slash)
        strcpy(folder, ".");
    else if (length == 0)
        strcpy(folder, "/");
    else {
        memcpy(folder, path, length);
        folder[length] = 0;
    }
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return -1;
    int result = fsync(descriptor);
    if (result && errno == EINVAL) /* a file system whose folders cannot be synced need not be */
        result = 0;
    close(descriptor);
    return result;
}

/* -- Atomic replacement ------------------------------------------------------------------------------------------- */

static void replacement_free(struct ssld_replacement *file)
{
    ssld_free(file->context, file->path);
    ssld_free(file->context, file->temporary);
    file->path = file->temporary = NULL;
    file->descriptor = -1;
}

ssld_status ssld_replacement_open(ssld_context *context, const char *path, struct ssld_replacement *file)
{
    static const char suffix[] = ".XXXXXX";
    size_t length = strlen(path);
    *file = (struct ssld_replacement){ .context = context, .descriptor = -1 };
    file->path = ssld_strdup(context, path);
    file->temporary = ssld_alloc(context, length + sizeof suffix);
    if (!file->path || !file->temporary) {
        replacement_free(file);
        return ssld_fail_memory(context, "a path", length);
    }
    memcpy(file->temporary, path, length);
    memcpy(file->temporary + length, suffix, sizeof suffix);
    file->descriptor = mkstemp(file->temporary);
    if (file->descriptor < 0) {
        ssld_status status = ssld_fail_errno(context, path, "create");
        replacement_free(file);
        return status;
    }
    /* mkstemp makes private files; a result is an ordinary one, or what the file it replaces was. */
    struct stat old;
    fchmod(file->descriptor, stat(path, &old) == 0 ? old.st_mode & 07777 : 0644);
    return SSLD_OK;
}

ssld_status ssld_replacement_write(struct ssld_replacement *file, const void *bytes, size_t size)
{
    if (!file->status && ssld_write_all(file->descriptor, bytes, size))
        file->status = ssld_fail_errno(file->context, file->path, "write");
    return file->status;
}

ssld_status ssld_replacement_commit(struct ssld_replacement *file)
{
    ssld_status status = file->status;
    if (!status && fsync(file->descriptor))
        status = ssld_fail_errno(file->context, file->path, "sync");
    if (close(file->descriptor) && !status)
        status = ssld_fail_errno(file->context, file->path, "close");
    if (!status && rename(file->temporary, file->path))
        status = ssld_fail_errno(file->context, file->path, "replace");
    if (status)
        unlink(file->temporary);
    else if (ssld_sync_folder(file->path))
        status = ssld_fail_errno(file->context, file->path, "sync the folder of");
    replacement_free(file);
    return status;
}

void ssld_replacement_discard(struct ssld_replacement *file)
{
    if (file->descriptor >= 0) {
        close(file->descriptor);
        unlink(file->temporary);
    }
    replacement_free(file);
}
