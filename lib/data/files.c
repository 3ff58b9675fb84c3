/* SPDX-License-Identifier: BSD-2-Clause */
/* files.c - what list: and dir: share: samples that are files, read when they are asked for; and the reading of a file's
 * part, which tar: needs too. */
#define _GNU_SOURCE /* the strerror_r() that returns its text */
#include "data/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- Names -------------------------------------------------------------------------------------------------------- */

bool ssld_files_path(const char *root, const char *name, size_t length, char path[SSLD_MOST_PATH])
{
    size_t before = name[0] == '/' || !root[0] ? 0 : strlen(root) + 1;
    if (before + length >= SSLD_MOST_PATH)
        return false;
    if (before) {
        memcpy(path, root, before - 1);
        path[before - 1] = '/';
    }
    memcpy(path + before, name, length);
    path[before + length] = 0;
    return true;
}

void ssld_files_place(const ssld_dataset *dataset, uint64_t sample, char place[SSLD_MOST_PATH])
{
    /* It was checked to fit when the sample was added. */
    const char *name = dataset->names + dataset->starts[sample];
    if (!ssld_files_path(dataset->root, name, strlen(name), place))
        strcpy(place, "a path that is too long");
}

/* -- Reading ------------------------------------------------------------------------------------------------------ */

ssld_status ssld_fault_errno(struct ssld_fault *fault, const char *verb)
{
    char reason[128];
    int error = errno;
    ssld_status status = error == ENOENT || error == ENOTDIR ? SSLD_NOT_FOUND
                         : error == ENOMEM                   ? SSLD_OUT_OF_MEMORY
                                                             : SSLD_IO;
    return ssld_fault_set(fault, status, "cannot %s: %s", verb, strerror_r(error, reason, sizeof reason));
}

/* Read rather than mapped: a file that someone cuts off meanwhile is then a damaged image and no SIGBUS. */
ssld_status ssld_read_part(ssld_context *context, int descriptor, uint64_t offset, uint64_t size,
                           struct read_buffer *buffer, struct ssld_fault *fault)
{
    if (size > (uint64_t)ssld_context_image_bytes(context))
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%llu bytes; the context's image_bytes_limit is %lld",
                              (unsigned long long)size, (long long)ssld_context_image_bytes(context));
    if (size > buffer->capacity || !buffer->bytes) {
        size_t capacity = (size_t)(size + size / 2);
        ssld_free(context, buffer->bytes);
        buffer->bytes = ssld_alloc(context, capacity);
        buffer->capacity = buffer->bytes ? capacity : 0;
        if (!buffer->bytes)
            return ssld_fault_memory(fault, "an image file", capacity);
    }
    for (uint64_t done = 0; done < size;) {
        ssize_t got = pread(descriptor, buffer->bytes + done, (size_t)(size - done), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ssld_fault_errno(fault, "read");
        if (got == 0)
            return ssld_fault_set(fault, SSLD_CORRUPT, "the file became shorter while it was read: %llu of %llu bytes",
                                  (unsigned long long)done, (unsigned long long)size);
        done += (uint64_t)got;
    }
    return SSLD_OK;
}

/* A file that is not the one that was listed makes the fingerprint a lie. */
ssld_status ssld_content_check(const ssld_dataset *dataset, uint64_t sample, const struct sample_content *content,
                               struct ssld_fault *fault)
{
    uint8_t hash[16];
    if (dataset->checked && content->size != dataset->sizes[sample])
        return ssld_fault_set(fault, SSLD_MISMATCH,
                              "%zu bytes now, %llu when it was listed: it was overwritten; open the data set again and let "
                              "every file be checked (--check-files, SSLD_MANIFEST_CHECK)",
                              content->size, (unsigned long long)dataset->sizes[sample]);
    if (!dataset->hashes)
        return SSLD_OK;
    ssld_hash_bytes(content->bytes, content->size, hash);
    if (memcmp(hash, dataset->hashes[sample], sizeof hash) != 0)
        return ssld_fault_set(fault, SSLD_MISMATCH,
                              "its content is not what it was when it was hashed; open the data set again and let every file "
                              "be checked (--check-files, SSLD_MANIFEST_CHECK)");
    return SSLD_OK;
}

static ssld_status read_file(ssld_context *context, int descriptor, struct read_buffer *buffer, size_t *size,
                             struct ssld_fault *fault)
{
    struct stat info;
    if (fstat(descriptor, &info))
        return ssld_fault_errno(fault, "stat");
    if (!S_ISREG(info.st_mode))
        return ssld_fault_set(fault, SSLD_IO, "not a regular file");
    *size = (size_t)info.st_size;
    return ssld_read_part(context, descriptor, 0, (uint64_t)info.st_size, buffer, fault);
}

ssld_status ssld_files_fetch(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                             struct sample_content *content, struct ssld_fault *fault)
{
    char path[SSLD_MOST_PATH];
    size_t size = 0;
    ssld_files_place(dataset, sample, path);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return ssld_fault_errno(fault, "open");
    ssld_status status = read_file(dataset->context, descriptor, buffer, &size, fault);
    close(descriptor);
    if (status)
        return status;
    *content = (struct sample_content){ .bytes = buffer->bytes, .size = size };
    return ssld_content_check(dataset, sample, content, fault);
}
