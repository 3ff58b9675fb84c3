/* SPDX-License-Identifier: BSD-2-Clause */
/* parallel.c - threads that wait for work. Tasks are taken from one counter; the caller works too. */
#include "store/parallel.h"

#include <pthread.h>
#include <stdatomic.h>

struct worker {
    pthread_t         thread;
    struct ssld_crew *crew;
    int32_t           number;
};

struct ssld_crew {
    ssld_context       *context;
    pthread_mutex_t     lock;  /* guards what stands up to `working` */
    pthread_cond_t      begun, done;
    uint64_t            round; /* grows with every run */
    bool                ends;
    int32_t             working;
    ssld_task_function *function;
    void               *user;
    int32_t             count;
    atomic_int          next;
    int32_t             workers; /* beside the caller */
    struct worker       worker[];
};

static void work(struct ssld_crew *crew, int32_t number)
{
    for (int32_t task; (task = atomic_fetch_add(&crew->next, 1)) < crew->count;)
        crew->function(crew->user, number, task);
}

static void *live(void *argument)
{
    struct worker *worker = argument;
    struct ssld_crew *crew = worker->crew;
    uint64_t seen = 0;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        while (crew->round == seen && !crew->ends)
            pthread_cond_wait(&crew->begun, &crew->lock);
        if (crew->ends)
            break;
        seen = crew->round;
        pthread_mutex_unlock(&crew->lock);
        work(crew, worker->number);
        pthread_mutex_lock(&crew->lock);
        if (--crew->working == 0)
            pthread_cond_signal(&crew->done);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

struct ssld_crew *ssld_crew_create(ssld_context *context, int32_t threads)
{
    struct ssld_crew *crew = ssld_alloc_zero(context, 1, sizeof *crew + (size_t)threads * sizeof crew->worker[0]);
    if (!crew)
        return NULL;
    crew->context = context;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->begun, NULL);
    pthread_cond_init(&crew->done, NULL);
    atomic_init(&crew->next, 0);
    for (; crew->workers < threads - 1; crew->workers++) {
        struct worker *worker = &crew->worker[crew->workers];
        *worker = (struct worker){ .crew = crew, .number = crew->workers + 1 };
        if (pthread_create(&worker->thread, NULL, live, worker))
            break;
    }
    return crew;
}

int32_t ssld_crew_size(const struct ssld_crew *crew)
{
    return crew->workers + 1;
}

void ssld_crew_run(struct ssld_crew *crew, int32_t count, ssld_task_function *function, void *user)
{
    if (count < 2 || !crew->workers) {
        for (int32_t task = 0; task < count; task++)
            function(user, 0, task);
        return;
    }
    pthread_mutex_lock(&crew->lock);
    crew->function = function;
    crew->user = user;
    crew->count = count;
    crew->working = crew->workers;
    atomic_store(&crew->next, 0);
    crew->round++;
    pthread_cond_broadcast(&crew->begun);
    pthread_mutex_unlock(&crew->lock);
    work(crew, 0);
    pthread_mutex_lock(&crew->lock);
    while (crew->working)
        pthread_cond_wait(&crew->done, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

void ssld_crew_destroy(struct ssld_crew *crew)
{
    if (!crew)
        return;
    pthread_mutex_lock(&crew->lock);
    crew->ends = true;
    pthread_cond_broadcast(&crew->begun);
    pthread_mutex_unlock(&crew->lock);
    for (int32_t i = 0; i < crew->workers; i++)
        pthread_join(crew->worker[i].thread, NULL);
    pthread_cond_destroy(&crew->begun);
    pthread_cond_destroy(&crew->done);
    pthread_mutex_destroy(&crew->lock);
    ssld_free(crew->context, crew);
}
