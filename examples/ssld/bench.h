/* SPDX-License-Identifier: BSD-2-Clause */
/* bench.h - what `ssld bench student` and `ssld bench teacher` share: made-up pixels, profiles, tables. */
#ifndef SSLD_PROGRAM_BENCH_H
#define SSLD_PROGRAM_BENCH_H

#include "measure.h"
#include "program.h"

#define WARMUP_RUNS 3 /* the first one touches memory, the second one fills what it left */
#define MOST_ENTRIES 256

/* Numbers in -1 to 1 from the library's own random words. */
void fill(float *values, size_t count, uint32_t key);

/* `count` made-up images; `pixels` is to be freed after the batch. */
ssld_status make_batch(struct program *program, const ssld_model_info *info, int32_t count, float **pixels, ssld_batch **batch);

/* Where time went: the entries of a profile, longest first. */
struct profile {
    ssld_profile_entry entries[MOST_ENTRIES];
    int32_t            count;
    double             milliseconds; /* of a run while it was watched */
};

/* Room for one more entry, with its struct_size; NULL when there is none. */
ssld_profile_entry *profile_add(struct profile *profile);
void   profile_sort(struct profile *profile);
/* Milliseconds of all entries of a stage; SSLD_STAGE_x, or -1 for all. */
double profile_ms(const struct profile *profile, int32_t stage);
double profile_gflop(const struct profile *profile);
/* The table; `run` is what the milliseconds are of: "a step". */
void   profile_print(const struct profile *profile, const char *run);

/* Peak resident memory of this process in MB of 10^6 bytes. */
double peak_mb(void);
double timings_fastest(const struct timings *timings);
const char *precision_name(int32_t precision); /* "f32", "bf16" */

#endif
