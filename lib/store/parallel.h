/* SPDX-License-Identifier: BSD-2-Clause */
/* parallel.h - a few threads that wait for work of a writer: tasks numbered 0 to count - 1, each done once by any of them. */
#ifndef SSLD_LIB_STORE_PARALLEL_H
#define SSLD_LIB_STORE_PARALLEL_H

#include "core/context.h"

/* Do one task; `worker` is 0 to the number of threads - 1, and no two tasks run with the same at a time. */
typedef void ssld_task_function(void *user, int32_t worker, int32_t task);

struct ssld_crew;

/* A crew of the calling thread and as many more as `threads` says; fewer if the system gives no more. NULL: no memory. */
struct ssld_crew *ssld_crew_create(ssld_context *context, int32_t threads);
int32_t           ssld_crew_size(const struct ssld_crew *crew);
/* Return when all tasks are done. */
void              ssld_crew_run(struct ssld_crew *crew, int32_t count, ssld_task_function *function, void *user);
void              ssld_crew_destroy(struct ssld_crew *crew); /* NULL is ignored */

#endif
