/* SPDX-License-Identifier: BSD-2-Clause */
/* names.c - the dictionary of an ONNX file: every name once, found in constant time however many there are. */
#include "onnx/reader.h"

#include <string.h>

#define FIRST_SLOTS 256u

/* FNV-1a. */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash ^ hash >> 15;
}

void ssld_names_free(struct names *names)
{
    ssld_free(names->context, names->entries);
    ssld_free(names->context, names->slots);
    names->entries = NULL;
    names->slots = NULL;
}

/* The slot a name is in or would go to. */
static int32_t *slot_of(const struct names *names, const char *name)
{
    uint32_t mask = names->slot_count - 1, at = hash_of(name) & mask;
    while (names->slots[at] && strcmp(names->entries[names->slots[at] - 1].name, name))
        at = (at + 1) & mask;
    return &names->slots[at];
}

struct entry *ssld_names_find(const struct names *names, const char *name)
{
    int32_t index = names->slots ? *slot_of(names, name) : 0;
    return index ? &names->entries[index - 1] : NULL;
}

/* Twice the slots, every entry at its new place. */
static bool grow(struct names *names)
{
    uint32_t slot_count = names->slots ? 2 * names->slot_count : FIRST_SLOTS;
    int32_t capacity = (int32_t)(slot_count / 2);
    int32_t *slots = ssld_alloc_zero(names->context, slot_count, sizeof *slots);
    if (!slots)
        return false;
    struct entry *entries = ssld_realloc(names->context, names->entries, (size_t)names->count * sizeof *entries,
                                         (size_t)capacity * sizeof *entries);
    if (!entries) {
        ssld_free(names->context, slots);
        return false;
    }
    ssld_free(names->context, names->slots);
    names->slots = slots;
    names->slot_count = slot_count;
    names->entries = entries;
    names->capacity = capacity;
    for (int32_t i = 0; i < names->count; i++)
        *slot_of(names, entries[i].name) = i + 1;
    return true;
}

struct entry *ssld_names_add(struct names *names, const char *name, int32_t kind)
{
    if (names->count == names->capacity && (names->count >= 1 << 26 || !grow(names)))
        return NULL;
    struct entry *entry = &names->entries[names->count];
    *entry = (struct entry){ .name = name, .kind = kind, .operand.value = SSLD_NO_VALUE };
    *slot_of(names, name) = ++names->count;
    return entry;
}
