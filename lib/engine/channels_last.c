/* SPDX-License-Identifier: BSD-2-Clause */
/* channels_last.c - bfloat16 between blocks of 16 channels and channels last.
 *
 * A few positions are copied block by block, 32 bytes of a position at a time, so that both sides stay in the first-level cache
 * although one of them is always read or written in strides. */
#include "engine/channels_last.h"

#define BLOCK 16
#define RUN 16 /* positions that a task copies */

/* Positions first .. first + count - 1 of one image. `channels`: of the block, BLOCK in all but the last. */
ALWAYS_INLINE void gather(int64_t channels, int64_t all, int64_t count, const uint16_t *restrict block, uint16_t *restrict last)
{
    for (int64_t p = 0; p < count; p++)
        memcpy(last + p * all, block + p * BLOCK, (size_t)channels * sizeof *last);
}

ALWAYS_INLINE void scatter(int64_t channels, int64_t all, int64_t count, const uint16_t *restrict last, uint16_t *restrict block)
{
    for (int64_t p = 0; p < count; p++) {
        memcpy(block + p * BLOCK, last + p * all, (size_t)channels * sizeof *last);
        if (channels < BLOCK)
            memset(block + p * BLOCK + channels, 0, (size_t)(BLOCK - channels) * sizeof *last);
    }
}

/* One task: where its positions begin, and how many they are. */
struct positions {
    int64_t image, first, count;
};

static int64_t runs_of(const struct planes *planes)
{
    return (planes->h * planes->w + RUN - 1) / RUN;
}

static struct positions positions_of(const struct planes *planes, int64_t task)
{
    int64_t runs = runs_of(planes), hw = planes->h * planes->w, first = task % runs * RUN;
    return (struct positions){ task / runs, first, hw - first < RUN ? hw - first : RUN };
}

MULTIVERSION static void gather_positions(const struct planes *planes, struct positions at, const uint16_t *blocked,
                                          uint16_t *last)
{
    int64_t hw = planes->h * planes->w, channels = planes->channels, full = channels / BLOCK;
    uint16_t *to = last + (at.image * hw + at.first) * channels;
    const uint16_t *from = blocked + (at.image * planes->blocks * hw + at.first) * BLOCK;
    for (int64_t block = 0; block < full; block++)
        gather(BLOCK, channels, at.count, from + block * hw * BLOCK, to + block * BLOCK);
    if (full < planes->blocks)
        gather(channels - full * BLOCK, channels, at.count, from + full * hw * BLOCK, to + full * BLOCK);
}

MULTIVERSION static void scatter_positions(const struct planes *planes, struct positions at, const uint16_t *last,
                                           uint16_t *blocked)
{
    int64_t hw = planes->h * planes->w, channels = planes->channels, full = channels / BLOCK;
    const uint16_t *from = last + (at.image * hw + at.first) * channels;
    uint16_t *to = blocked + (at.image * planes->blocks * hw + at.first) * BLOCK;
    for (int64_t block = 0; block < full; block++)
        scatter(BLOCK, channels, at.count, from + block * BLOCK, to + block * hw * BLOCK);
    if (full < planes->blocks)
        scatter(channels - full * BLOCK, channels, at.count, from + full * BLOCK, to + full * hw * BLOCK);
}

void ssld_to_channels_last(const struct planes *planes, const void *blocked, void *last)
{
    int64_t tasks = planes->n * runs_of(planes);
#pragma omp parallel for
    for (int64_t task = 0; task < tasks; task++)
        gather_positions(planes, positions_of(planes, task), blocked, last);
}

void ssld_from_channels_last(const struct planes *planes, const void *last, void *blocked)
{
    int64_t tasks = planes->n * runs_of(planes);
#pragma omp parallel for
    for (int64_t task = 0; task < tasks; task++)
        scatter_positions(planes, positions_of(planes, task), last, blocked);
}
