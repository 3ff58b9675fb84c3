/* SPDX-License-Identifier: BSD-2-Clause */
/* bench.c - made-up pixels, profiles and their table, for `ssld bench student` and `ssld bench teacher`. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void fill(float *values, size_t count, uint32_t key)
{
    for (size_t i = 0; i < count; i += 4) {
        uint32_t counter[4] = { (uint32_t)i, (uint32_t)((uint64_t)i >> 32), 0, 0 }, keys[2] = { key, 0 }, words[4];
        ssld_philox4x32(counter, keys, words);
        for (size_t k = i; k < i + 4 && k < count; k++)
            values[k] = (float)((double)words[k - i] / 2147483648.0 - 1.0);
    }
}

ssld_status make_batch(struct program *program, const ssld_model_info *info, int32_t count, float **pixels, ssld_batch **batch)
{
    int32_t shape[3] = { info->channels, info->height, info->width };
    size_t values = (size_t)count * (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
    *pixels = malloc(values * sizeof(float));
    if (!*pixels)
        return SSLD_OUT_OF_MEMORY;
    fill(*pixels, values, 1);
    ssld_status status = ssld_batch_create(program->context, batch);
    return status ? status : ssld_batch_wrap(*batch, count, shape, *pixels, NULL, NULL, NULL);
}

/* -- Profiles ----------------------------------------------------------------------------------------------------- */

ssld_profile_entry *profile_add(struct profile *profile)
{
    if (profile->count == MOST_ENTRIES)
        return NULL;
    ssld_profile_entry *entry = &profile->entries[profile->count++];
    memset(entry, 0, sizeof *entry);
    entry->struct_size = sizeof *entry;
    return entry;
}

static int longest_first(const void *a, const void *b)
{
    double left = ((const ssld_profile_entry *)a)->milliseconds, right = ((const ssld_profile_entry *)b)->milliseconds;
    return (left < right) - (left > right);
}

void profile_sort(struct profile *profile)
{
    qsort(profile->entries, (size_t)profile->count, sizeof *profile->entries, longest_first);
}

double profile_ms(const struct profile *profile, int32_t stage)
{
    double sum = 0;
    for (int32_t i = 0; i < profile->count; i++)
        if (stage < 0 || profile->entries[i].stage == stage)
            sum += profile->entries[i].milliseconds;
    return sum;
}

double profile_gflop(const struct profile *profile)
{
    double sum = 0;
    for (int32_t i = 0; i < profile->count; i++)
        sum += profile->entries[i].gflop;
    return sum;
}

static const char *stage_name(int32_t stage)
{
    return stage == SSLD_STAGE_FORWARD ? "forward" : stage == SSLD_STAGE_BACKWARD ? "backward" : "update";
}

static void print_rate(double amount, double ms)
{
    if (amount > 0 && ms > 0)
        printf(" %8.1f", 1e3 * amount / ms);
    else
        printf(" %8s", "-");
}

void profile_print(const struct profile *profile, const char *run)
{
    printf("\nwhere the time goes (%.1f ms %s while it is watched)\n\n"
           "%-20s %-16s %-8s %7s %9s %6s %8s %8s\n", profile->milliseconds, run, "operator", "direction", "stage", "calls", "ms",
           "%", "GFLOP/s", "GB/s");
    for (int32_t i = 0; i < profile->count; i++) {
        const ssld_profile_entry *entry = &profile->entries[i];
        printf("%-20s %-16s %-8s %7" PRId64 " %9.3f %6.1f", entry->name, entry->direction, stage_name(entry->stage), entry->calls,
               entry->milliseconds, 100 * entry->milliseconds / profile->milliseconds);
        print_rate(entry->gflop, entry->milliseconds);
        print_rate(1e-9 * (double)entry->bytes, entry->milliseconds);
        putchar('\n');
    }
}

/* -- Figures ------------------------------------------------------------------------------------------------------ */

double peak_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024 / 1e6;
}

double timings_fastest(const struct timings *timings)
{
    double least = timings->count ? timings->values[0] : 0;
    for (size_t i = 1; i < timings->count; i++)
        least = timings->values[i] < least ? timings->values[i] : least;
    return least;
}

const char *precision_name(int32_t precision)
{
    return precision == SSLD_PRECISION_BF16 ? "bf16" : "f32";
}
