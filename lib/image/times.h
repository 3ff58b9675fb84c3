/* SPDX-License-Identifier: BSD-2-Clause */
/* times.h - where the time of a view goes, for those who ask: a watch that is always counting for one stage. */
#ifndef SSLD_LIB_IMAGE_TIMES_H
#define SSLD_LIB_IMAGE_TIMES_H

#include <time.h>

enum view_stage { VIEW_DECODE, VIEW_RESAMPLE, VIEW_AUGMENT, VIEW_WRITE, VIEW_STAGES };

/* To begin with, stage is VIEW_STAGES: what is counted before the first stage means nothing. */
struct ssld_view_times {
    double seconds[VIEW_STAGES + 1]; /* the last: of what is no part of a view */
    double since;
    int    stage;
};

/* From now on time is counted for this stage; VIEW_STAGES: for none. NULL: nobody asks. */
static inline void ssld_view_enter(struct ssld_view_times *times, int stage)
{
    struct timespec now;
    if (!times)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    times->seconds[times->stage] += seconds - times->since;
    times->since = seconds;
    times->stage = stage;
}

#endif
