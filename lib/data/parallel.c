/* SPDX-License-Identifier: BSD-2-Clause */
/* parallel.c - tasks on several threads, which live as long as the call; the calling thread works too. */
#define _GNU_SOURCE /* the strerror_r() that returns its text */
#include "data/parallel.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define MOST_THREADS 64

ssld_status ssld_problem_set(struct ssld_problem *problem, ssld_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->text, sizeof problem->text, format, arguments);
    va_end(arguments);
    problem->status = status;
    return status;
}

ssld_status ssld_problem_errno(struct ssld_problem *problem, const char *path, const char *verb)
{
    char reason[128];
    int error = errno;
    ssld_status status = error == ENOENT || error == ENOTDIR ? SSLD_NOT_FOUND
                         : error == ENOMEM                   ? SSLD_OUT_OF_MEMORY
                                                             : SSLD_IO;
    return ssld_problem_set(problem, status, "%s: cannot %s: %s", path, verb, strerror_r(error, reason, sizeof reason));
}

/* Signals are the host's: they are delivered to its own threads, but for those that a thread causes itself. */
static const int own_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

int ssld_thread_create(pthread_t *thread, void *(*function)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own_signals / sizeof *own_signals; i++)
        sigdelset(&all, own_signals[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct crew {
    ssld_context        *context;
    ssld_task           *task;
    void                *user;
    uint64_t             count;
    atomic_uint_fast64_t next;
    atomic_bool          stop;
    pthread_mutex_t      lock;   /* guards what follows */
    uint64_t             failed; /* the lowest task that failed, UINT64_MAX: none */
    struct ssld_problem  problem;
};

static void *work(void *argument)
{
    struct crew *crew = argument;
    struct ssld_problem problem;
    uint64_t index;
    while (!atomic_load(&crew->stop) && (index = atomic_fetch_add(&crew->next, 1)) < crew->count) {
        ssld_status status = ssld_cancelled(crew->context)
                                 ? ssld_problem_set(&problem, SSLD_CANCELLED, "cancelled by the application")
                                 : crew->task(crew->user, index, &problem);
        if (!status)
            continue;
        pthread_mutex_lock(&crew->lock);
        if (index < crew->failed) {
            crew->failed = index;
            crew->problem = problem;
        }
        pthread_mutex_unlock(&crew->lock);
        atomic_store(&crew->stop, true);
    }
    return NULL;
}

ssld_status ssld_parallel(ssld_context *context, uint64_t count, ssld_task *task, void *user)
{
    struct crew crew = { .context = context, .task = task, .user = user, .count = count, .failed = UINT64_MAX };
    pthread_t threads[MOST_THREADS];
    int32_t wanted = ssld_context_threads(context), started = 0;
    wanted = wanted > MOST_THREADS ? MOST_THREADS : wanted;
    wanted = (uint64_t)wanted > count ? (int32_t)count : wanted;
    atomic_init(&crew.next, 0);
    atomic_init(&crew.stop, false);
    pthread_mutex_init(&crew.lock, NULL);
    /* Where the system refuses a thread, fewer do the work. */
    while (started + 1 < wanted && !ssld_thread_create(&threads[started], work, &crew))
        started++;
    work(&crew);
    for (int32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&crew.lock);
    if (crew.failed == UINT64_MAX)
        return SSLD_OK;
    return ssld_fail(context, crew.problem.status, "%s", crew.problem.text);
}
