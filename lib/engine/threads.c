/* SPDX-License-Identifier: BSD-2-Clause */
/* threads.c - the thread count for oneDNN's loops and ours. OpenMP keeps it for the calling thread, so it is set when a
 * plan begins to work and put back when it ends: the host's own settings are not touched.
 *
 * A oneDNN primitive made for n threads waits for n threads: given fewer it never returns. So a plan asks how many it
 * really gets (OMP_THREAD_LIMIT may say less than the host asked for), OpenMP may not take any away while it works
 * (OMP_DYNAMIC), and it does not work inside a parallel region of the host, where nested ones get a single thread. */
#include "engine/plan.h"

#ifdef _OPENMP
#include <omp.h>
#endif

struct thread_settings ssld_threads_enter(int32_t threads)
{
    struct thread_settings before = { 0 };
#ifdef _OPENMP
    before.threads = omp_get_max_threads();
    before.dynamic = omp_get_dynamic();
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
#else
    (void)threads;
#endif
    return before;
}

void ssld_threads_leave(struct thread_settings before)
{
#ifdef _OPENMP
    omp_set_num_threads(before.threads);
    omp_set_dynamic(before.dynamic);
#else
    (void)before;
#endif
}

int32_t ssld_threads_granted(int32_t threads)
{
#ifdef _OPENMP
    int32_t granted = threads;
    struct thread_settings before = ssld_threads_enter(threads);
    #pragma omp parallel
    {
        #pragma omp single
        granted = omp_get_num_threads();
    }
    ssld_threads_leave(before);
    return granted;
#else
    (void)threads;
    return 1;
#endif
}

int32_t ssld_thread_number(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

ssld_status ssld_threads_check(ssld_context *context)
{
#ifdef _OPENMP
    if (omp_in_parallel())
        return ssld_fail(context, SSLD_UNSUPPORTED,
                         "called inside an OpenMP parallel region, where libssld gets a single thread; call it outside, or "
                         "from a thread of the operating system");
#else
    (void)context;
#endif
    return SSLD_OK;
}
