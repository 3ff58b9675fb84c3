/* SPDX-License-Identifier: BSD-2-Clause */
/* files.c - what list: and dir: share: samples that are files, their names kept end to end in one block, their contents
 * read when they are asked for. */
#define _GNU_SOURCE /* the strerror_r() that returns its text */
#include "data/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- Collecting --------------------------------------------------------------------------------------------------- */

ssld_status ssld_files_begin(struct file_list *files, ssld_dataset *dataset, const char *root,
                             const ssld_dataset_options *options)
{
    *files = (struct file_list){ .dataset = dataset, .limit = options->limit, .largest_label = -1 };
    dataset->root = ssld_strdup(dataset->context, root);
    files->hash = ssld_hash_create(dataset->context);
    if (!dataset->root || !files->hash) {
        ssld_files_discard(files);
        return ssld_fail_memory(dataset->context, "a data set", strlen(root));
    }
    ssld_hash_add_text(files->hash, "files");
    dataset->image[0] = 3;
    return SSLD_OK;
}

bool ssld_files_full(const struct file_list *files)
{
    return files->limit && files->dataset->count >= files->limit;
}

/* Room for one more of `used` items: doubles the block. NULL: no memory, the old block stands. */
static void *grown(ssld_context *context, void *memory, uint64_t used, uint64_t capacity, size_t item)
{
    return ssld_realloc(context, memory, (size_t)used * item, (size_t)capacity * item);
}

static bool make_room(struct file_list *files, size_t length)
{
    ssld_dataset *dataset = files->dataset;
    if (dataset->count == files->capacity) {
        uint64_t capacity = files->capacity ? files->capacity * 2 : 1024;
        size_t *starts = grown(dataset->context, dataset->starts, dataset->count, capacity, sizeof *starts);
        if (!starts)
            return false;
        dataset->starts = starts;
        int32_t *labels = grown(dataset->context, dataset->labels, dataset->count, capacity, sizeof *labels);
        if (!labels)
            return false;
        dataset->labels = labels;
        files->capacity = capacity;
    }
    if (files->names_capacity - files->names_used <= length) {
        size_t capacity = files->names_capacity * 2 + length + 4096;
        char *names = grown(dataset->context, dataset->names, files->names_used, capacity, 1);
        if (!names)
            return false;
        dataset->names = names;
        files->names_capacity = capacity;
    }
    return true;
}

ssld_status ssld_files_add(struct file_list *files, const char *name, size_t length, uint64_t size, int32_t label)
{
    ssld_dataset *dataset = files->dataset;
    if (label > files->largest_label)
        files->largest_label = label;
    if (ssld_files_full(files))
        return SSLD_OK;
    if (!make_room(files, length))
        return ssld_fail_memory(dataset->context, "the names of a data set", files->names_used + length);
    char *copy = dataset->names + files->names_used;
    memcpy(copy, name, length);
    copy[length] = 0;
    dataset->starts[dataset->count] = files->names_used;
    dataset->labels[dataset->count] = label;
    dataset->count++;
    files->names_used += length + 1;
    ssld_hash_add_text(files->hash, copy);
    ssld_hash_add_u64(files->hash, size);
    return SSLD_OK;
}

void ssld_files_end(struct file_list *files)
{
    ssld_dataset *dataset = files->dataset;
    dataset->classes = files->largest_label + 1;
    if (files->largest_label < 0) {
        ssld_free(dataset->context, dataset->labels);
        dataset->labels = NULL;
    }
    ssld_hash_finish(files->hash, dataset->fingerprint);
    files->hash = NULL;
}

void ssld_files_discard(struct file_list *files)
{
    uint8_t unused[16];
    if (files->hash)
        ssld_hash_finish(files->hash, unused);
    files->hash = NULL;
}

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

/* -- Reading ------------------------------------------------------------------------------------------------------ */

static ssld_status fault_errno(struct ssld_fault *fault, const char *verb)
{
    char reason[128];
    int error = errno;
    ssld_status status = error == ENOENT || error == ENOTDIR ? SSLD_NOT_FOUND
                         : error == ENOMEM                   ? SSLD_OUT_OF_MEMORY
                                                             : SSLD_IO;
    return ssld_fault_set(fault, status, "cannot %s: %s", verb, strerror_r(error, reason, sizeof reason));
}

/* Read rather than mapped: a file that someone cuts off meanwhile is then a damaged image and no SIGBUS. */
static ssld_status read_whole(int descriptor, size_t size, uint8_t *bytes, struct ssld_fault *fault)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(descriptor, bytes + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fault_errno(fault, "read");
        if (got == 0)
            return ssld_fault_set(fault, SSLD_CORRUPT, "the file became shorter while it was read: %zu of %zu bytes",
                                  done, size);
        done += (size_t)got;
    }
    return SSLD_OK;
}

static ssld_status read_into(ssld_context *context, int descriptor, struct read_buffer *buffer, size_t *size,
                             struct ssld_fault *fault)
{
    struct stat info;
    if (fstat(descriptor, &info))
        return fault_errno(fault, "stat");
    if (!S_ISREG(info.st_mode))
        return ssld_fault_set(fault, SSLD_IO, "not a regular file");
    if (info.st_size > ssld_context_image_bytes(context))
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%lld bytes; the context's image_bytes_limit is %lld",
                              (long long)info.st_size, (long long)ssld_context_image_bytes(context));
    *size = (size_t)info.st_size;
    if (*size > buffer->capacity) {
        size_t capacity = *size + *size / 2;
        ssld_free(context, buffer->bytes);
        buffer->bytes = ssld_alloc(context, capacity);
        buffer->capacity = buffer->bytes ? capacity : 0;
        if (!buffer->bytes)
            return ssld_fault_memory(fault, "an image file", capacity);
    }
    return read_whole(descriptor, *size, buffer->bytes, fault);
}

ssld_status ssld_files_fetch(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                             struct sample_content *content, struct ssld_fault *fault)
{
    char path[SSLD_MOST_PATH];
    size_t size = 0;
    ssld_dataset_place(dataset, sample, path);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return fault_errno(fault, "open");
    ssld_status status = read_into(dataset->context, descriptor, buffer, &size, fault);
    close(descriptor);
    if (!status)
        *content = (struct sample_content){ buffer->bytes, size, false };
    return status;
}
