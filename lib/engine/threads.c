/* SPDX-License-Identifier: BSD-2-Clause */
/* threads.c - the thread count for oneDNN's loops and ours. OpenMP keeps it for the calling thread, so it is set when a plan
 * begins to work and put back when it ends: the host's own count is not touched. */
#include "engine/plan.h"

#ifdef _OPENMP
#include <omp.h>
#endif

int32_t ssld_threads_enter(int32_t threads)
{
#ifdef _OPENMP
    int32_t before = omp_get_max_threads();
    if (before != threads)
        omp_set_num_threads(threads);
    return before;
#else
    return threads;
#endif
}

void ssld_threads_leave(int32_t before)
{
#ifdef _OPENMP
    if (omp_get_max_threads() != before)
        omp_set_num_threads(before);
#else
    (void)before;
#endif
}
