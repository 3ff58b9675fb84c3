/* SPDX-License-Identifier: BSD-2-Clause */
/* checkpoint.c - named float tensors and a step in one file. The layout is docs/checkpoint-format.md.
 *
 *   head   40 bytes, an entry for each tensor, zeros up to a multiple of 8, XXH64 of the head before it
 *   data   the tensors' floats, one tensor behind the other
 *
 * Every byte is covered: the head by its checksum, a tensor by the one in its entry. */
#include "distill/checkpoint.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they stand in memory: swap them here");
_Static_assert(sizeof(float) == 4, "the file has 32-bit floats");

static const char magic[8] = { 'S', 'S', 'L', 'D', 'C', 'K', 'P', 'T' };

#define VERSION 1
#define HEAD_FIXED 40   /* magic, version, tensor count, step, head size, file size */
#define ENTRY_FIXED 20  /* elements, checksum, length of the name */
#define CHECKSUM_SIZE 8
#define LONGEST_NAME 4096

static size_t padded(size_t size)
{
    return (size + 7) / 8 * 8;
}

static uint8_t *put(uint8_t *next, const void *bytes, size_t size)
{
    memcpy(next, bytes, size);
    return next + size;
}

static uint32_t get_u32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint64_t get_u64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* -- Writing ------------------------------------------------------------------------------------------------------ */

/* The sizes of head and file; SSLD_INVALID_ARGUMENT for names the format cannot hold. */
static ssld_status measure(ssld_context *context, const char *path, int32_t tensor_count,
                           const struct ssld_checkpoint_tensor *tensors, uint64_t *head_size, uint64_t *file_size)
{
    uint64_t head = HEAD_FIXED, data = 0;
    for (int32_t i = 0; i < tensor_count; i++) {
        size_t length = strlen(tensors[i].name);
        if (length > LONGEST_NAME)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: the name of tensor %" PRId32 " has %zu bytes; at most %d",
                             path, i, length, LONGEST_NAME);
        head += ENTRY_FIXED + length;
        data += tensors[i].count * sizeof(float);
    }
    *head_size = padded(head) + CHECKSUM_SIZE;
    *file_size = *head_size + data;
    return SSLD_OK;
}

static void fill_head(uint8_t *head, uint64_t head_size, uint64_t file_size, uint64_t step, int32_t tensor_count,
                      const struct ssld_checkpoint_tensor *tensors)
{
    uint32_t version = VERSION, count = (uint32_t)tensor_count;
    uint8_t *next = put(head, magic, sizeof magic);
    next = put(next, &version, sizeof version);
    next = put(next, &count, sizeof count);
    next = put(next, &step, sizeof step);
    next = put(next, &head_size, sizeof head_size);
    next = put(next, &file_size, sizeof file_size);
    for (int32_t i = 0; i < tensor_count; i++) {
        uint64_t checksum = ssld_checksum(tensors[i].data, tensors[i].count * sizeof(float));
        uint32_t length = (uint32_t)strlen(tensors[i].name);
        next = put(next, &tensors[i].count, sizeof tensors[i].count);
        next = put(next, &checksum, sizeof checksum);
        next = put(next, &length, sizeof length);
        next = put(next, tensors[i].name, length);
    }
    uint64_t checksum = ssld_checksum(head, head_size - CHECKSUM_SIZE);
    put(head + head_size - CHECKSUM_SIZE, &checksum, sizeof checksum);
}

ssld_status ssld_checkpoint_write(ssld_context *context, const char *path, uint64_t step, int32_t tensor_count,
                                  const struct ssld_checkpoint_tensor *tensors)
{
    struct ssld_replacement file;
    uint64_t head_size = 0, file_size = 0;
    ssld_status status = measure(context, path, tensor_count, tensors, &head_size, &file_size);
    if (status)
        return status;
    uint8_t *head = ssld_alloc_zero(context, 1, head_size);
    if (!head)
        return ssld_fail_memory(context, "a checkpoint's head", head_size);
    fill_head(head, head_size, file_size, step, tensor_count, tensors);
    if ((status = ssld_replacement_open(context, path, &file)))
        goto fail;
    /* The first failure is kept by the replacement and comes out of its commit. */
    (void)ssld_replacement_write(&file, head, head_size);
    for (int32_t i = 0; i < tensor_count; i++)
        (void)ssld_replacement_write(&file, tensors[i].data, tensors[i].count * sizeof(float));
    status = ssld_replacement_commit(&file);
fail:
    ssld_free(context, head);
    return status;
}

/* -- Reading ------------------------------------------------------------------------------------------------------ */

/* Is it a checkpoint of this version, as long as it says, with a sound head? */
static ssld_status check_head(ssld_context *context, const char *path, const struct ssld_map *map)
{
    const uint8_t *head = map->bytes;
    if (memcmp(head, magic, map->size < sizeof magic ? map->size : sizeof magic) || map->size == 0)
        return ssld_fail(context, SSLD_FORMAT, "%s: not a checkpoint of libssld", path);
    if (map->size < HEAD_FIXED + CHECKSUM_SIZE)
        return ssld_fail(context, SSLD_CORRUPT, "%s: cut off after %zu bytes; use an older checkpoint", path, map->size);
    if (get_u32(head + 8) != VERSION)
        return ssld_fail(context, SSLD_FORMAT, "%s: a checkpoint of version %" PRIu32 ", this libssld reads version %d",
                         path, get_u32(head + 8), VERSION);
    uint64_t head_size = get_u64(head + 24), file_size = get_u64(head + 32);
    if (file_size != map->size)
        return ssld_fail(context, SSLD_CORRUPT, "%s: %zu bytes long, its head says %" PRIu64 "; use an older checkpoint",
                         path, map->size, file_size);
    if (head_size < HEAD_FIXED + CHECKSUM_SIZE || head_size > map->size ||
        get_u64(head + head_size - CHECKSUM_SIZE) != ssld_checksum(head, head_size - CHECKSUM_SIZE))
        return ssld_fail(context, SSLD_CORRUPT, "%s: the head fails its checksum; use an older checkpoint", path);
    return SSLD_OK;
}

/* The next entry's fields. False if it does not end before `limit`. */
static bool next_entry(const uint8_t **next, const uint8_t *limit, uint64_t *count, uint64_t *checksum, uint32_t *length,
                       const char **name)
{
    if (limit - *next < ENTRY_FIXED)
        return false;
    *count = get_u64(*next);
    *checksum = get_u64(*next + 8);
    *length = get_u32(*next + 16);
    *name = (const char *)*next + ENTRY_FIXED;
    if (*length > LONGEST_NAME || limit - *next - ENTRY_FIXED < (ptrdiff_t)*length)
        return false;
    *next += ENTRY_FIXED + *length;
    return true;
}

/* Do the entries name exactly these tensors, and does the data fit its checksums? */
static ssld_status check_tensors(ssld_context *context, const char *path, const struct ssld_map *map, int32_t tensor_count,
                                 const struct ssld_checkpoint_tensor *tensors)
{
    uint64_t head_size = get_u64(map->bytes + 24), offset = head_size, count, checksum;
    uint32_t stored = get_u32(map->bytes + 12), length;
    const uint8_t *next = map->bytes + HEAD_FIXED, *limit = map->bytes + head_size - CHECKSUM_SIZE;
    const char *name;
    for (uint32_t i = 0; i < stored; i++) {
        if (!next_entry(&next, limit, &count, &checksum, &length, &name) || count > (map->size - offset) / sizeof(float))
            return ssld_fail(context, SSLD_CORRUPT, "%s: entry %" PRIu32 " of the head contradicts the file's size", path,
                             i);
        if (i >= (uint32_t)tensor_count)
            return ssld_fail(context, SSLD_MISMATCH, "%s: made for another network or optimizer: it also has '%.*s'", path, (int)length,
                             name);
        const struct ssld_checkpoint_tensor *tensor = &tensors[i];
        if (strlen(tensor->name) != length || memcmp(tensor->name, name, length))
            return ssld_fail(context, SSLD_MISMATCH,
                             "%s: made for another network or optimizer: it has '%.*s' where this one has '%s'", path, (int)length, name,
                             tensor->name);
        if (tensor->count != count)
            return ssld_fail(context, SSLD_MISMATCH,
                             "%s: made for another network or optimizer: its '%s' has %" PRIu64 " values, this one's %" PRIu64, path,
                             tensor->name, count, tensor->count);
        if (ssld_checksum(map->bytes + offset, count * sizeof(float)) != checksum)
            return ssld_fail(context, SSLD_CORRUPT, "%s: '%s' fails its checksum at offset %" PRIu64
                             "; use an older checkpoint", path, tensor->name, offset);
        offset += count * sizeof(float);
    }
    if (stored < (uint32_t)tensor_count)
        return ssld_fail(context, SSLD_MISMATCH, "%s: made for another network or optimizer: it has no '%s'", path,
                         tensors[stored].name);
    if (offset != map->size)
        return ssld_fail(context, SSLD_CORRUPT, "%s: the tensors end at %" PRIu64 ", the file at %zu", path, offset,
                         map->size);
    return SSLD_OK;
}

ssld_status ssld_checkpoint_read(ssld_context *context, const char *path, uint64_t *step, int32_t tensor_count,
                                 const struct ssld_checkpoint_tensor *tensors)
{
    struct ssld_map map = { NULL, 0 };
    ssld_status status = ssld_map_open(context, path, &map);
    if (status)
        return status;
    if ((status = check_head(context, path, &map)) || (status = check_tensors(context, path, &map, tensor_count, tensors)))
        goto fail;
    const uint8_t *data = map.bytes + get_u64(map.bytes + 24);
    for (int32_t i = 0; i < tensor_count; i++) {
        memcpy(tensors[i].data, data, tensors[i].count * sizeof(float));
        data += tensors[i].count * sizeof(float);
    }
    *step = get_u64(map.bytes + 16);
fail:
    ssld_map_close(&map);
    return status;
}
