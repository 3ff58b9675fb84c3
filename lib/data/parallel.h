/* SPDX-License-Identifier: BSD-2-Clause */
/* parallel.h - work on many files at once: tasks taken in order by several threads, and threads that leave signals alone. */
#ifndef SSLD_LIB_DATA_PARALLEL_H
#define SSLD_LIB_DATA_PARALLEL_H

#include <pthread.h>

#include "core/context.h"

/* Why a task failed; a path of 4096 bytes fits. The context's own text is one for all threads. */
struct ssld_problem {
    ssld_status status;
    char        text[5000];
};

/* Keep status and text, return the status. */
ssld_status ssld_problem_set(struct ssld_problem *problem, ssld_status status, const char *format, ...) SSLD_PRINTF(3, 4);
/* "PATH: cannot VERB: <errno>" */
ssld_status ssld_problem_errno(struct ssld_problem *problem, const char *path, const char *verb);

typedef ssld_status ssld_task(void *user, uint64_t index, struct ssld_problem *problem);

/* Do the tasks 0 to count - 1 on as many threads as the context has. When one fails, those that have not begun are left
 * out, and the failure of the lowest number becomes the context's, so that the text does not depend on the threads. */
ssld_status ssld_parallel(ssld_context *context, uint64_t count, ssld_task *task, void *user);

/* pthread_create() of a thread to which no signals of the host's are delivered. 0, or an error number. */
int ssld_thread_create(pthread_t *thread, void *(*function)(void *), void *argument);

#endif
