/* SPDX-License-Identifier: BSD-2-Clause */
/* manifest.c - a listing in a file, so that a data set need not be walked again. docs/manifest-format.md is the layout:
 * head, containers, samples, names, checksum; all little-endian. */
#include "data/listing.h"

#include <stdio.h>
#include <string.h>

static const char magic[8] = { 'S', 'S', 'L', 'D', 'M', 'A', 'N', 'I' };
#define VERSION 1
#define HEAD 64
#define CONTAINER 40
#define SAMPLE 64
#define CHECKSUM 8

static void put(uint8_t *bytes, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *bytes, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static void put_stamp(uint8_t *bytes, const struct ssld_stamp *stamp)
{
    put(bytes, stamp->size, 8);
    put(bytes + 8, stamp->inode, 8);
    put(bytes + 16, (uint64_t)stamp->modified, 8);
    put(bytes + 24, (uint64_t)stamp->changed, 8);
}

static struct ssld_stamp get_stamp(const uint8_t *bytes)
{
    return (struct ssld_stamp){ get(bytes, 8), get(bytes + 8, 8), (int64_t)get(bytes + 16, 8), (int64_t)get(bytes + 24, 8) };
}

/* -- Reading ------------------------------------------------------------------------------------------------------ */

static bool read_containers(struct ssld_listing *listing, const uint8_t *bytes)
{
    for (uint64_t i = 0; i < listing->container_count; i++, bytes += CONTAINER) {
        struct ssld_container *container = &listing->containers[i];
        uint64_t name = get(bytes, 8);
        if (name >= listing->names_size)
            return false;
        *container = (struct ssld_container){ (size_t)name, get_stamp(bytes + 8) };
    }
    return true;
}

static bool read_samples(struct ssld_listing *listing, const uint8_t *bytes)
{
    for (uint64_t i = 0; i < listing->count; i++, bytes += SAMPLE) {
        struct ssld_entry *entry = &listing->entries[i];
        uint64_t name = get(bytes, 8);
        entry->stamp = get_stamp(bytes + 8);
        memcpy(entry->hash, bytes + 40, sizeof entry->hash);
        entry->label = (int32_t)(uint32_t)get(bytes + 56, 4);
        entry->container = (uint32_t)get(bytes + 60, 4);
        if (name >= listing->names_size || entry->container >= listing->container_count || entry->label < -1 ||
            entry->label == INT32_MAX)
            return false;
        entry->name = (size_t)name;
    }
    return true;
}

/* Copies what the map has. The checksum is right, so what does not fit together was written so. */
static ssld_status unpack(const struct ssld_map *map, struct ssld_listing *listing)
{
    const uint8_t *containers = map->bytes + HEAD, *samples = containers + listing->container_count * CONTAINER;
    const uint8_t *names = samples + listing->count * SAMPLE;
    ssld_context *context = listing->context;
    listing->entries = ssld_alloc(context, (size_t)listing->count * sizeof *listing->entries);
    listing->containers = ssld_alloc(context, (size_t)listing->container_count * sizeof *listing->containers);
    listing->names = ssld_alloc(context, listing->names_size);
    listing->capacity = listing->count;
    listing->container_capacity = listing->container_count;
    listing->names_capacity = listing->names_size;
    if (!listing->entries || !listing->containers || !listing->names)
        return ssld_fail_memory(context, "a manifest", map->size);
    memcpy(listing->names, names, listing->names_size);
    bool sound = listing->names_size && !listing->names[listing->names_size - 1] && read_containers(listing, containers) &&
                 read_samples(listing, samples);
    return sound ? SSLD_OK : SSLD_CORRUPT;
}

/* What keeps the file from being a manifest of this data set; NULL: nothing. Sets the listing's counts. */
static const char *look_at_head(const struct ssld_map *map, const uint8_t identity[16], struct ssld_listing *listing)
{
    const uint8_t *bytes = map->bytes;
    if (map->size < HEAD + CHECKSUM || memcmp(bytes, magic, sizeof magic))
        return "it is no manifest";
    if (get(bytes + 8, 4) != VERSION)
        return "it is of another version";
    if (get(bytes + map->size - CHECKSUM, 8) != ssld_checksum(bytes, map->size - CHECKSUM))
        return "it is damaged";
    if (get(bytes + 12, 4) != (uint64_t)listing->kind || memcmp(bytes + 48, identity, 16))
        return "it belongs to another data set";
    uint64_t left = map->size - HEAD - CHECKSUM;
    uint64_t samples = get(bytes + 16, 8), containers = get(bytes + 24, 8), names = get(bytes + 32, 8);
    if (samples > left / SAMPLE || containers > left / CONTAINER || names > left ||
        samples * SAMPLE + containers * CONTAINER + names != left)
        return "its size is not what it says";
    listing->count = samples;
    listing->container_count = containers;
    listing->names_size = (size_t)names;
    return NULL;
}

ssld_status ssld_manifest_read(const char *path, const uint8_t identity[16], struct ssld_listing *listing)
{
    struct ssld_map map = { 0 };
    ssld_context *context = listing->context;
    ssld_status status = ssld_map_open(context, path, &map);
    if (status == SSLD_OUT_OF_MEMORY || status == SSLD_NOT_FOUND)
        return status;
    const char *wrong = status ? "it cannot be read" : look_at_head(&map, identity, listing);
    status = wrong ? SSLD_CORRUPT : unpack(&map, listing);
    ssld_map_close(&map);
    if (status == SSLD_CORRUPT) {
        ssld_log(context, SSLD_LOG_WARNING, "%s: %s; the data set is looked through again", path,
                 wrong ? wrong : "its parts contradict each other");
        status = SSLD_NOT_FOUND;
    }
    if (status)
        ssld_listing_free(listing);
    if (status)
        listing->count = listing->container_count = 0;
    return status;
}

/* -- Writing ------------------------------------------------------------------------------------------------------ */

/* The head is there already. */
static void write_listing(struct ssld_replacement *file, const struct ssld_listing *listing, uint8_t *bytes)
{
    uint8_t *at = bytes + HEAD;
    for (uint64_t i = 0; i < listing->container_count; i++, at += CONTAINER) {
        put(at, listing->containers[i].name, 8);
        put_stamp(at + 8, &listing->containers[i].stamp);
    }
    for (uint64_t i = 0; i < listing->count; i++, at += SAMPLE) {
        const struct ssld_entry *entry = &listing->entries[i];
        put(at, entry->name, 8);
        put_stamp(at + 8, &entry->stamp);
        memcpy(at + 40, entry->hash, sizeof entry->hash);
        put(at + 56, (uint32_t)entry->label, 4);
        put(at + 60, entry->container, 4);
    }
    memcpy(at, listing->names, listing->names_size);
    at += listing->names_size;
    put(at, ssld_checksum(bytes, (size_t)(at - bytes)), CHECKSUM);
    ssld_replacement_write(file, bytes, (size_t)(at - bytes) + CHECKSUM);
}

ssld_status ssld_manifest_write(const char *path, const uint8_t identity[16], const struct ssld_listing *listing)
{
    ssld_context *context = listing->context;
    struct ssld_replacement file;
    size_t size = HEAD + (size_t)listing->container_count * CONTAINER + (size_t)listing->count * SAMPLE +
                  listing->names_size + CHECKSUM;
    uint8_t *bytes = ssld_alloc(context, size);
    if (!bytes)
        return ssld_fail_memory(context, "a manifest", size);
    memset(bytes, 0, HEAD);
    memcpy(bytes, magic, sizeof magic);
    put(bytes + 8, VERSION, 4);
    put(bytes + 12, (uint64_t)listing->kind, 4);
    put(bytes + 16, listing->count, 8);
    put(bytes + 24, listing->container_count, 8);
    put(bytes + 32, listing->names_size, 8);
    memcpy(bytes + 48, identity, 16);
    ssld_status status = ssld_replacement_open(context, path, &file);
    if (!status) {
        write_listing(&file, listing, bytes);
        status = ssld_replacement_commit(&file);
    }
    ssld_free(context, bytes);
    return status;
}
