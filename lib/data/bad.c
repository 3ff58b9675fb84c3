/* SPDX-License-Identifier: BSD-2-Clause */
/* bad.c - lists of images that were left out. A loader's threads add to their slot's list; when the batch is delivered it
 * moves to the loader's, so that the order is that of the batches. */
#include "data/bad.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ssld_bad_can_skip(ssld_status status)
{
    static const ssld_status causes[] = { SSLD_INVALID_ARGUMENT, SSLD_UNSUPPORTED, SSLD_MISMATCH, SSLD_IO,
                                          SSLD_NOT_FOUND,        SSLD_CORRUPT,     SSLD_FORMAT };
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
        if (causes[i] == status)
            return true;
    return false;
}

static bool make_room(ssld_context *context, struct ssld_bad_list *list)
{
    if (list->count < list->capacity)
        return true;
    uint64_t capacity = list->capacity ? list->capacity * 2 : 16;
    struct ssld_bad *items = ssld_realloc(context, list->items, (size_t)list->count * sizeof *items,
                                          (size_t)capacity * sizeof *items);
    if (!items)
        return false;
    list->items = items;
    list->capacity = capacity;
    return true;
}

bool ssld_bad_add(ssld_context *context, struct ssld_bad_list *list, const ssld_dataset *dataset, uint64_t sample,
                  int32_t place_in_batch, const struct ssld_fault *fault)
{
    char place[SSLD_MOST_PATH], text[SSLD_MOST_PATH + sizeof fault->text + 2];
    if (!make_room(context, list))
        return false;
    ssld_dataset_place(dataset, sample, place);
    snprintf(text, sizeof text, "%.*s: %s", SSLD_MOST_PATH - 1, place, fault->text);
    char *copy = ssld_strdup(context, text);
    if (!copy)
        return false;
    list->items[list->count++] = (struct ssld_bad){ sample, place_in_batch, fault->status, copy };
    return true;
}

static int by_place(const void *a, const void *b)
{
    int32_t one = ((const struct ssld_bad *)a)->place, other = ((const struct ssld_bad *)b)->place;
    return (one > other) - (one < other);
}

void ssld_bad_sort(struct ssld_bad_list *list)
{
    if (list->count)
        qsort(list->items, (size_t)list->count, sizeof *list->items, by_place);
}

bool ssld_bad_move(ssld_context *context, struct ssld_bad_list *to, uint8_t *seen, struct ssld_bad_list *from)
{
    uint64_t done = 0;
    for (; done < from->count; done++) {
        struct ssld_bad *bad = &from->items[done];
        uint8_t bit = (uint8_t)(1u << bad->sample % 8), *byte = &seen[bad->sample / 8];
        if (!(*byte & bit) && !make_room(context, to))
            break;
        if (*byte & bit)
            ssld_free(context, bad->text);
        else
            to->items[to->count++] = *bad;
        *byte |= bit;
    }
    from->count -= done;
    if (from->count)
        memmove(from->items, from->items + done, (size_t)from->count * sizeof *from->items);
    return !from->count;
}

void ssld_bad_clear(ssld_context *context, struct ssld_bad_list *list)
{
    for (uint64_t i = 0; i < list->count; i++)
        ssld_free(context, list->items[i].text);
    list->count = 0;
}

void ssld_bad_free(ssld_context *context, struct ssld_bad_list *list)
{
    ssld_bad_clear(context, list);
    ssld_free(context, list->items);
    *list = (struct ssld_bad_list){ .count = 0 };
}
