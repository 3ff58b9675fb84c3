/* SPDX-License-Identifier: BSD-2-Clause */
/* tar.c - tar headers: POSIX's ustar with pax records for long paths and large sizes, GNU's long names, and the old form.
 *
 * A header is 512 bytes: name at 0 (100), size at 124 (12: octal, or base 256 with the highest bit set), checksum at 148 (8),
 * type at 156, magic at 257 (6), prefix of the name at 345 (155). The content follows, filled up to 512. Zeros end it. */
#define _GNU_SOURCE /* strnlen() */
#include "data/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 512
/* What a header's read brings along: the label behind it, and the header behind that. */
#define WINDOW_LEAST 4096
#define MOST_EXTENDED ((uint64_t)1 << 20)

/* -- Bytes -------------------------------------------------------------------------------------------------------- */

static ssld_status fail_at(const struct ssld_tar *tar, uint64_t offset, const char *what, struct ssld_problem *problem)
{
    return ssld_problem_set(problem, SSLD_FORMAT, "%s: %s at offset %llu", tar->path, what, (unsigned long long)offset);
}

static ssld_status fail_short(const struct ssld_tar *tar, struct ssld_problem *problem)
{
    return ssld_problem_set(problem, SSLD_FORMAT, "%s: the tar file is cut off, it ends at offset %llu; fetch it again",
                            tar->path, (unsigned long long)tar->size);
}

/* `size` bytes at `offset` of the file, which has them, to `to`. */
static ssld_status read_bytes(const struct ssld_tar *tar, uint64_t offset, size_t size, void *to,
                              struct ssld_problem *problem)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(tar->descriptor, (char *)to + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ssld_problem_errno(problem, tar->path, "read");
        if (got == 0)
            return fail_short(tar, problem);
        done += (size_t)got;
    }
    return SSLD_OK;
}

const uint8_t *ssld_tar_bytes(struct ssld_tar *tar, uint64_t offset, size_t size, struct ssld_problem *problem)
{
    if (offset > tar->size || size > tar->size - offset) {
        fail_short(tar, problem);
        return NULL;
    }
    if (offset >= tar->start && offset - tar->start + size <= tar->filled)
        return tar->window + (offset - tar->start);
    size_t wanted = size > WINDOW_LEAST ? size : WINDOW_LEAST;
    if (wanted > tar->size - offset)
        wanted = (size_t)(tar->size - offset);
    tar->filled = 0;
    if (read_bytes(tar, offset, wanted, tar->window, problem))
        return NULL;
    tar->start = offset;
    tar->filled = wanted;
    return tar->window;
}

ssld_status ssld_tar_open(ssld_context *context, const char *path, struct ssld_tar *tar, struct ssld_problem *problem)
{
    struct stat info;
    *tar = (struct ssld_tar){ .context = context, .path = path, .descriptor = -1 };
    tar->window = ssld_alloc(context, SSLD_TAR_WINDOW);
    if (!tar->window)
        return ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for reading tar files");
    tar->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (tar->descriptor < 0)
        return ssld_problem_errno(problem, path, "open");
    if (fstat(tar->descriptor, &info))
        return ssld_problem_errno(problem, path, "stat");
    if (!S_ISREG(info.st_mode))
        return ssld_problem_set(problem, SSLD_IO, "%s: not a regular file", path);
    tar->size = (uint64_t)info.st_size;
    /* Only headers are read: reading ahead would bring in the images between them. */
    posix_fadvise(tar->descriptor, 0, 0, POSIX_FADV_RANDOM);
    return SSLD_OK;
}

void ssld_tar_close(struct ssld_tar *tar)
{
    if (tar->descriptor >= 0)
        close(tar->descriptor);
    ssld_free(tar->context, tar->window);
    ssld_free(tar->context, tar->extended);
    tar->window = NULL;
    tar->extended = NULL;
    tar->descriptor = -1;
}

/* -- Numbers ------------------------------------------------------------------------------------------------------ */

/* Octal digits, with blanks or zeros around them; or a big-endian number behind a set bit. False: neither. */
static bool read_number(const uint8_t *field, int length, uint64_t *number)
{
    uint64_t value = 0;
    int i = 0;
    if (field[0] == 0x80) {
        for (i = 1; i < length; i++) {
            if (value >> 56)
                return false;
            value = value << 8 | field[i];
        }
        *number = value;
        return true;
    }
    while (i < length && field[i] == ' ')
        i++;
    for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    for (; i < length; i++)
        if (field[i] && field[i] != ' ')
            return false;
    *number = value;
    return true;
}

/* The sum of all bytes, those of the checksum as blanks; old programs took bytes as signed. */
static bool checksum_is_right(const uint8_t *header)
{
    uint64_t stored = 0;
    int64_t sum = 0, signed_sum = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint8_t byte = i >= 148 && i < 156 ? ' ' : header[i];
        sum += byte;
        signed_sum += (int8_t)byte;
    }
    return read_number(header + 148, 8, &stored) && ((int64_t)stored == sum || (int64_t)stored == signed_sum);
}

static bool is_zero(const uint8_t *header)
{
    for (int i = 0; i < BLOCK; i++)
        if (header[i])
            return false;
    return true;
}

/* -- Names -------------------------------------------------------------------------------------------------------- */

/* What headers before a member's own say of it. */
struct extra {
    bool     named, sized;
    char     name[SSLD_MOST_PATH];
    uint64_t size;
};

static void plain_name(const uint8_t *header, char name[SSLD_MOST_PATH])
{
    const char *text = (const char *)header;
    int length = (int)strnlen(text, 100), before = (int)strnlen(text + 345, 155);
    /* GNU's magic ends in a blank, and it has other things where POSIX has the prefix. */
    bool posix = !memcmp(header + 257, "ustar\0", 6);
    if (posix && before)
        snprintf(name, SSLD_MOST_PATH, "%.*s/%.*s", before, text + 345, length, text);
    else
        snprintf(name, SSLD_MOST_PATH, "%.*s", length, text);
}

/* A pax record: "LENGTH KEY=VALUE\n", the length of all of it in decimal. Returns its length, 0 if it is none. */
static uint64_t read_record(const char *text, uint64_t left, struct extra *extra)
{
    uint64_t length = 0, at = 0;
    for (; at < left && text[at] >= '0' && text[at] <= '9' && length < MOST_EXTENDED; at++)
        length = length * 10 + (uint64_t)(text[at] - '0');
    if (at == left || text[at] != ' ' || length > left || length < at + 4 || text[length - 1] != '\n')
        return 0;
    const char *key = text + at + 1, *end = text + length - 1, *equals = memchr(key, '=', (size_t)(end - key));
    if (!equals)
        return 0;
    const char *value = equals + 1;
    size_t value_length = (size_t)(end - value);
    if (equals - key == 4 && !memcmp(key, "path", 4)) {
        if (value_length >= sizeof extra->name || memchr(value, 0, value_length))
            return 0;
        memcpy(extra->name, value, value_length);
        extra->name[value_length] = 0;
        extra->named = true;
    } else if (equals - key == 4 && !memcmp(key, "size", 4)) {
        extra->size = 0;
        for (size_t i = 0; i < value_length; i++) {
            if (value[i] < '0' || value[i] > '9' || extra->size >> 59)
                return 0;
            extra->size = extra->size * 10 + (uint64_t)(value[i] - '0');
        }
        extra->sized = true;
    }
    return length;
}

/* A header whose content is about the next member: its name, or pax records. */
static ssld_status read_extra(struct ssld_tar *tar, uint8_t type, uint64_t header, uint64_t size, struct extra *extra,
                              struct ssld_problem *problem)
{
    uint64_t offset = header + BLOCK;
    if (size > (type == 'L' ? SSLD_MOST_PATH : MOST_EXTENDED))
        return fail_at(tar, header, type == 'L' ? "a name that is too long" : "an extended header that is too large", problem);
    if (size > tar->size - offset)
        return fail_short(tar, problem);
    if (type == 'L') {
        ssld_status status = read_bytes(tar, offset, (size_t)size, extra->name, problem);
        bool closed = size && memchr(extra->name, 0, (size_t)size);
        if (!status && !closed && size == SSLD_MOST_PATH)
            return fail_at(tar, header, "a name that is too long", problem);
        if (!closed && size < SSLD_MOST_PATH)
            extra->name[size] = 0;
        extra->named = true;
        return status;
    }
    ssld_free(tar->context, tar->extended);
    tar->extended = ssld_alloc(tar->context, (size_t)size);
    if (!tar->extended)
        return ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for an extended header");
    ssld_status status = read_bytes(tar, offset, (size_t)size, tar->extended, problem);
    for (uint64_t at = 0, length; !status && at < size; at += length)
        if (!(length = read_record(tar->extended + at, size - at, extra)))
            return fail_at(tar, header, "a damaged extended header", problem);
    return status;
}

/* -- Members ------------------------------------------------------------------------------------------------------ */

static ssld_status read_header(struct ssld_tar *tar, const uint8_t **header, uint64_t *size, struct ssld_problem *problem)
{
    if (tar->next == tar->size)
        return ssld_problem_set(problem, SSLD_FORMAT,
                                "%s: the tar file is cut off, it ends at offset %llu without the zeros that close it; fetch "
                                "it again", tar->path, (unsigned long long)tar->size);
    *header = ssld_tar_bytes(tar, tar->next, BLOCK, problem);
    if (!*header)
        return problem->status;
    if (is_zero(*header))
        return SSLD_END;
    if (!checksum_is_right(*header) || !read_number(*header + 124, 12, size))
        return fail_at(tar, tar->next, tar->next ? "a damaged tar header" : "this is no tar file: no header", problem);
    return SSLD_OK;
}

static ssld_status take_member(struct ssld_tar *tar, const uint8_t *header, uint64_t size, const struct extra *extra,
                               struct ssld_member *member, struct ssld_problem *problem)
{
    member->header = tar->next;
    member->offset = tar->next + BLOCK;
    member->size = extra->sized ? extra->size : size;
    if (extra->named)
        strcpy(member->name, extra->name);
    else
        plain_name(header, member->name);
    if (member->size > tar->size - member->offset)
        return ssld_problem_set(problem, SSLD_FORMAT,
                                "%s: the tar file is cut off, it ends at offset %llu inside '%.200s', which begins at %llu; "
                                "fetch it again", tar->path, (unsigned long long)tar->size, member->name,
                                (unsigned long long)member->header);
    return SSLD_OK;
}

/* Links, devices and folders have no content, whatever their size says. */
static bool has_content(uint8_t type)
{
    return type < '1' || type > '6';
}

ssld_status ssld_tar_next(struct ssld_tar *tar, struct ssld_member *member, struct ssld_problem *problem)
{
    struct extra extra = { .named = false };
    for (;;) {
        const uint8_t *header = NULL;
        uint64_t size = 0;
        ssld_status status = read_header(tar, &header, &size, problem);
        if (status)
            return status;
        uint8_t type = header[156];
        bool file = type == '0' || type == 0 || type == '7';
        if (type == 'S')
            return fail_at(tar, tar->next, "a sparse file, which is not supported; pack it without --sparse,", problem);
        if (type == 'L' || type == 'x')
            status = read_extra(tar, type, tar->next, size, &extra, problem);
        else if (file)
            status = take_member(tar, header, size, &extra, member, problem);
        if (status)
            return status;
        size = !has_content(type) ? 0 : file ? member->size : size;
        if (size > tar->size - tar->next - BLOCK)
            return fail_short(tar, problem);
        uint64_t filled = (size + BLOCK - 1) / BLOCK * BLOCK, left = tar->size - tar->next - BLOCK;
        tar->next += BLOCK + (filled < left ? filled : left);
        if (file)
            return SSLD_OK;
        if (type != 'L' && type != 'K' && type != 'x' && type != 'g')
            extra = (struct extra){ .named = false };
    }
}
