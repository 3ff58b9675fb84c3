/* SPDX-License-Identifier: BSD-2-Clause */
/* listing.c - names, entries and containers in growing arrays; stamps; an index of names. */
#include "data/listing.h"

#include <string.h>
#include <time.h>

/* File systems keep times to a few milliseconds, old and remote ones to a second. */
#define SETTLED_NANOSECONDS ((int64_t)1500000000)

/* -- Growing ------------------------------------------------------------------------------------------------------ */

/* Room for `more` behind `used` items. NULL: no memory, the old block stands. */
static void *grown(ssld_context *context, void *memory, uint64_t used, uint64_t more, uint64_t *capacity, size_t item)
{
    if (memory && used + more <= *capacity)
        return memory;
    uint64_t larger = used + more + used / 2 + 64;
    if (larger > SIZE_MAX / item)
        return NULL;
    memory = ssld_realloc(context, memory, (size_t)used * item, (size_t)larger * item);
    if (memory)
        *capacity = larger;
    return memory;
}

static ssld_status no_memory(struct ssld_problem *problem, uint64_t count)
{
    return ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for the names of a data set (%llu of them)",
                            (unsigned long long)count);
}

ssld_status ssld_listing_name(struct ssld_listing *listing, const char *name, size_t length, size_t *offset,
                              struct ssld_problem *problem)
{
    uint64_t capacity = listing->names_capacity;
    char *names = grown(listing->context, listing->names, listing->names_size, length + 1, &capacity, 1);
    if (!names)
        return no_memory(problem, listing->count);
    listing->names = names;
    listing->names_capacity = (size_t)capacity;
    *offset = listing->names_size;
    memcpy(names + *offset, name, length);
    names[*offset + length] = 0;
    listing->names_size += length + 1;
    return SSLD_OK;
}

ssld_status ssld_listing_entry(struct ssld_listing *listing, const char *name, size_t length,
                               const struct ssld_entry *entry, struct ssld_problem *problem)
{
    struct ssld_entry *entries = grown(listing->context, listing->entries, listing->count, 1, &listing->capacity,
                                       sizeof *entries);
    if (!entries)
        return no_memory(problem, listing->count);
    listing->entries = entries;
    entries[listing->count] = *entry;
    ssld_status status = ssld_listing_name(listing, name, length, &entries[listing->count].name, problem);
    listing->count += !status;
    return status;
}

ssld_status ssld_listing_container(struct ssld_listing *listing, const char *name, size_t length,
                                   const struct ssld_stamp *stamp, struct ssld_problem *problem)
{
    uint64_t used = listing->container_count;
    struct ssld_container *containers = used < UINT32_MAX ? grown(listing->context, listing->containers, used, 1,
                                                                  &listing->container_capacity, sizeof *containers)
                                                          : NULL;
    if (!containers)
        return no_memory(problem, listing->count);
    listing->containers = containers;
    containers[used].stamp = *stamp;
    ssld_status status = ssld_listing_name(listing, name, length, &containers[used].name, problem);
    listing->container_count += !status;
    return status;
}

ssld_status ssld_listing_append(struct ssld_listing *listing, const struct ssld_listing *from, uint64_t first_container,
                                uint64_t container_count, uint64_t first_entry, uint64_t entry_count, int32_t label,
                                struct ssld_problem *problem)
{
    uint64_t base = listing->container_count;
    ssld_status status = SSLD_OK;
    for (uint64_t i = first_container; i < first_container + container_count && !status; i++) {
        const char *name = ssld_container_name(from, i);
        status = ssld_listing_container(listing, name, strlen(name), &from->containers[i].stamp, problem);
    }
    for (uint64_t i = first_entry; i < first_entry + entry_count && !status; i++) {
        struct ssld_entry entry = from->entries[i];
        const char *name = ssld_entry_name(from, i);
        entry.container = (uint32_t)(base + entry.container - first_container);
        entry.label = label >= 0 ? label : entry.label;
        status = ssld_listing_entry(listing, name, strlen(name), &entry, problem);
    }
    return status;
}

void ssld_listing_free(struct ssld_listing *listing)
{
    if (!listing->context)
        return;
    ssld_free(listing->context, listing->entries);
    ssld_free(listing->context, listing->containers);
    ssld_free(listing->context, listing->names);
    *listing = (struct ssld_listing){ .context = listing->context, .kind = listing->kind };
}

/* -- Stamps ------------------------------------------------------------------------------------------------------- */

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t ssld_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return nanoseconds(now);
}

struct ssld_stamp ssld_stamp_of(const struct stat *info, int64_t now)
{
    struct ssld_stamp stamp = { (uint64_t)info->st_size, (uint64_t)info->st_ino, nanoseconds(info->st_mtim),
                                nanoseconds(info->st_ctim) };
    if (stamp.modified > now - SETTLED_NANOSECONDS || stamp.changed > now - SETTLED_NANOSECONDS)
        stamp.modified = 0;
    return stamp;
}

bool ssld_stamp_same(const struct ssld_stamp *one, const struct ssld_stamp *other)
{
    return one->size == other->size && one->inode == other->inode && one->modified == other->modified &&
           one->changed == other->changed && one->modified;
}

bool ssld_hash_known(const uint8_t hash[16])
{
    static const uint8_t unknown[16];
    return memcmp(hash, unknown, sizeof unknown) != 0;
}

/* -- Index -------------------------------------------------------------------------------------------------------- */

/* The slot with the text, or the free one where it belongs. The table is never full. */
static uint64_t slot_of(const struct ssld_text_index *index, const char *text, size_t length, ssld_text_function *text_of,
                        const void *user)
{
    uint64_t at = ssld_checksum(text, length) & (index->size - 1);
    for (; index->slots[at]; at = (at + 1) & (index->size - 1)) {
        const char *there = text_of(user, index->slots[at] - 1);
        if (!strncmp(there, text, length) && !there[length])
            break;
    }
    return at;
}

uint64_t ssld_text_index_find(const struct ssld_text_index *index, const char *text, size_t length, ssld_text_function *text_of,
                         const void *user)
{
    return index->size ? index->slots[slot_of(index, text, length, text_of, user)] - 1 : UINT64_MAX;
}

static bool enlarge(struct ssld_text_index *index, ssld_text_function *text_of, const void *user)
{
    struct ssld_text_index larger = { .context = index->context, .size = index->size ? index->size * 2 : 256 };
    larger.slots = ssld_alloc_zero(index->context, (size_t)larger.size, sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (uint64_t i = 0; i < index->size; i++) {
        if (!index->slots[i])
            continue;
        const char *text = text_of(user, index->slots[i] - 1);
        larger.slots[slot_of(&larger, text, strlen(text), text_of, user)] = index->slots[i];
    }
    ssld_free(index->context, index->slots);
    index->slots = larger.slots;
    index->size = larger.size;
    return true;
}

ssld_status ssld_text_index_add(struct ssld_text_index *index, const char *text, size_t length, uint64_t number,
                           ssld_text_function *text_of, const void *user, struct ssld_problem *problem)
{
    if (index->used * 2 >= index->size && !enlarge(index, text_of, user))
        return no_memory(problem, index->used);
    uint64_t at = slot_of(index, text, length, text_of, user);
    index->used += !index->slots[at];
    index->slots[at] = number + 1;
    return SSLD_OK;
}

void ssld_text_index_free(struct ssld_text_index *index)
{
    if (index->slots)
        ssld_free(index->context, index->slots);
    index->slots = NULL;
    index->size = index->used = 0;
}
