/* SPDX-License-Identifier: BSD-2-Clause */
/* loader.c - batches prepared ahead by threads.
 *
 * A ring of slots, each with the memory of one batch:
 *
 *     FREE --a thread takes the next position of the epoch--> FILLING --rendered--> READY --next()--> LENT --> FREE
 *
 * Positions are handed out in order under the lock, whole batches at a time, and delivered in that order. So the batch
 * that is wanted is always READY, FILLING or about to be taken, and results do not depend on the number of threads.
 * Sample ids are copied into the slot when it is taken, so one permutation, that of the producers' epoch, is enough.
 * A seek begins a new generation; slots of an older one are dropped when their thread notices. */
#include "core/batch.h"
#include "data/dataset.h"
#include "data/order.h"
#include "image/operation.h"
#include "ssld/loader.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define STANDARD_BATCH 32
#define MOST_BATCH (1 << 20)
#define MOST_THREADS 1024
#define MOST_PREFETCH 65536
#define NO_EPOCH UINT64_MAX
/* ssld_context_cancel() may come from a signal handler and so cannot wake a waiting reader: it looks this often. */
#define CANCEL_POLL_NANOSECONDS 20000000

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_READY, SLOT_LENT };

struct position {
    uint64_t epoch;
    uint64_t number; /* of the batch in the epoch */
};

struct slot {
    enum slot_state   state;
    uint64_t          generation;
    struct position   position;
    int32_t           count;
    float            *pixels;
    uint64_t         *samples;
    uint32_t         *views;
    int32_t          *labels;
    uint64_t          failed; /* the sample that could not be rendered */
    struct ssld_fault fault;  /* status SSLD_OK: none */
};

struct ssld_loader {
    ssld_context         *context;
    const ssld_dataset   *dataset;
    const ssld_view_spec *spec;
    ssld_loader_options   options;
    int32_t               shape[3];
    size_t                view_floats;
    uint64_t              batches;
    struct position       delivered; /* what next() gives next */
    double                waited;
    int32_t               slot_count;
    struct slot          *slots;
    pthread_t            *threads;
    int32_t               started;
    bool                  ready; /* lock and conditions exist */
    atomic_bool           stop;
    atomic_uint_fast64_t  generation;
    pthread_mutex_t       lock;    /* guards slots' states, produced, order */
    pthread_cond_t        freed;   /* a slot is free, or stop */
    pthread_cond_t        settled; /* a slot is READY or was dropped */
    struct position       produced; /* what a thread takes next */
    uint64_t             *order;    /* (count) of order_epoch; NULL: the data set's order */
    uint64_t              order_epoch;
};

void ssld_loader_options_init(ssld_loader_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Producing ---------------------------------------------------------------------------------------------------- */

static int32_t batch_count(const ssld_loader *loader, uint64_t number)
{
    uint64_t left = loader->dataset->count - number * (uint64_t)loader->options.batch;
    return left < (uint64_t)loader->options.batch ? (int32_t)left : loader->options.batch;
}

static uint32_t view_of_epoch(const ssld_loader *loader, uint64_t epoch)
{
    uint64_t view = loader->options.first_view + epoch;
    return (uint32_t)(loader->options.views ? view % loader->options.views : view);
}

static struct slot *find_free(ssld_loader *loader)
{
    for (int32_t i = 0; i < loader->slot_count; i++)
        if (loader->slots[i].state == SLOT_FREE)
            return &loader->slots[i];
    return NULL;
}

/* Under the lock: give the slot the next position, with its samples. */
static void take_position(ssld_loader *loader, struct slot *slot)
{
    struct position position = loader->produced;
    const ssld_dataset *dataset = loader->dataset;
    uint64_t first = position.number * (uint64_t)loader->options.batch;
    if (loader->order && loader->order_epoch != position.epoch) {
        ssld_order_shuffle(loader->options.order_seed, position.epoch, dataset->count, loader->order);
        loader->order_epoch = position.epoch;
    }
    slot->state = SLOT_FILLING;
    slot->generation = atomic_load(&loader->generation);
    slot->position = position;
    slot->count = batch_count(loader, position.number);
    slot->fault.status = SSLD_OK;
    for (int32_t i = 0; i < slot->count; i++) {
        uint64_t place = first + (uint64_t)i;
        slot->samples[i] = loader->order ? loader->order[place] : place;
        slot->views[i] = view_of_epoch(loader, position.epoch);
        slot->labels[i] = ssld_dataset_label(dataset, slot->samples[i]);
    }
    loader->produced.number++;
    if (loader->produced.number == loader->batches)
        loader->produced = (struct position){ position.epoch + 1, 0 };
}

/* What a thread works with. */
struct worker {
    struct read_buffer buffer;
    float             *partner; /* a view, for specs that mix two */
};

/* A sample's own part of a view. */
static ssld_status render_sample(const ssld_loader *loader, uint64_t sample, uint32_t view, struct worker *worker,
                                 float *dst, struct ssld_fault *fault)
{
    const ssld_dataset *dataset = loader->dataset;
    uint64_t seed = loader->options.view_seed;
    struct sample_content content;
    if (dataset->source->fetch(dataset, sample, &worker->buffer, &content, fault))
        return fault->status;
    if (content.decoded)
        return ssld_view_draw_pixels(loader->spec, content.bytes, dataset->image, seed, sample, view, dst,
                                     loader->view_floats, fault);
    return ssld_view_draw(loader->spec, content.bytes, content.size, seed, sample, view, dst, loader->view_floats,
                          fault);
}

/* A mixed view has no class of its own. */
static ssld_status mix_in_partner(const ssld_loader *loader, struct slot *slot, int32_t i, struct worker *worker,
                                  float *dst)
{
    ssld_view_mix mix;
    ssld_mix_draw(loader->spec, loader->options.view_seed, slot->samples[i], slot->views[i], loader->dataset->count,
                  loader->shape, &mix);
    if (mix.kind == SSLD_MIX_NONE)
        return SSLD_OK;
    slot->failed = mix.partner;
    if (!worker->partner)
        worker->partner = ssld_alloc(loader->context, loader->view_floats * sizeof *dst);
    if (!worker->partner)
        return ssld_fault_memory(&slot->fault, "the view of a partner", loader->view_floats * sizeof *dst);
    if (render_sample(loader, mix.partner, slot->views[i], worker, worker->partner, &slot->fault))
        return slot->fault.status;
    ssld_view_mix_pixels(&mix, loader->shape, worker->partner, dst);
    slot->labels[i] = -1;
    return SSLD_OK;
}

static ssld_status render_one(const ssld_loader *loader, struct slot *slot, int32_t i, struct worker *worker)
{
    float *dst = slot->pixels + (size_t)i * loader->view_floats;
    slot->failed = slot->samples[i];
    if (render_sample(loader, slot->samples[i], slot->views[i], worker, dst, &slot->fault))
        return slot->fault.status;
    return loader->spec->mix < 0 ? SSLD_OK : mix_in_partner(loader, slot, i, worker, dst);
}

/* Without the lock. Stops at the first image that fails, and when nobody wants the batch any more. */
static void fill_slot(ssld_loader *loader, struct slot *slot, struct worker *worker)
{
    for (int32_t i = 0; i < slot->count; i++) {
        if (atomic_load(&loader->stop) || atomic_load(&loader->generation) != slot->generation)
            return;
        if (render_one(loader, slot, i, worker))
            return;
    }
}

static void *produce(void *argument)
{
    ssld_loader *loader = argument;
    struct worker worker = { { NULL, 0 }, NULL };
    pthread_mutex_lock(&loader->lock);
    for (;;) {
        struct slot *slot = NULL;
        while (!atomic_load(&loader->stop) && !(slot = find_free(loader)))
            pthread_cond_wait(&loader->freed, &loader->lock);
        if (!slot)
            break;
        take_position(loader, slot);
        pthread_mutex_unlock(&loader->lock);
        fill_slot(loader, slot, &worker);
        pthread_mutex_lock(&loader->lock);
        slot->state = slot->generation == atomic_load(&loader->generation) ? SLOT_READY : SLOT_FREE;
        pthread_cond_signal(&loader->settled);
    }
    pthread_mutex_unlock(&loader->lock);
    ssld_free(loader->context, worker.buffer.bytes);
    ssld_free(loader->context, worker.partner);
    return NULL;
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

struct whole_option {
    const char *name;
    int32_t     value, least, most;
};

static ssld_status take_options(ssld_context *context, const ssld_loader_options *given, ssld_loader_options *options)
{
    ssld_status status = ssld_options_take(context, "ssld_loader_create", options, sizeof *options, given,
                                           sizeof(ssld_loader_options));
    if (status)
        return status;
    const struct whole_option wholes[] = {
        { "batch", options->batch, 0, MOST_BATCH },
        { "order", options->order, SSLD_ORDER_DATASET, SSLD_ORDER_SHUFFLED },
        { "last", options->last, SSLD_LAST_KEEP, SSLD_LAST_DROP },
        { "threads", options->threads, 0, MOST_THREADS },
        { "prefetch", options->prefetch, 0, MOST_PREFETCH },
    };
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
        if (wholes[i].value < wholes[i].least || wholes[i].value > wholes[i].most)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "ssld_loader_create: options: %s is %d; it must be %d to %d", wholes[i].name,
                             wholes[i].value, wholes[i].least, wholes[i].most);
    options->batch = options->batch ? options->batch : STANDARD_BATCH;
    options->threads = options->threads ? options->threads : ssld_context_threads(context);
    options->prefetch = options->prefetch ? options->prefetch : 2 + options->threads;
    return SSLD_OK;
}

static ssld_status measure(ssld_loader *loader)
{
    const ssld_dataset *dataset = loader->dataset;
    uint64_t batch = (uint64_t)loader->options.batch;
    if (!dataset->count)
        return ssld_fail(loader->context, SSLD_INVALID_ARGUMENT, "ssld_loader_create: the data set is empty");
    bool drop = loader->options.last == SSLD_LAST_DROP;
    loader->batches = dataset->count / batch + (!drop && dataset->count % batch ? 1 : 0);
    if (!loader->batches)
        return ssld_fail(loader->context, SSLD_INVALID_ARGUMENT,
                         "ssld_loader_create: options: batch is %d, but the data set has %llu samples and the last "
                         "batch is to be dropped; make the batch smaller",
                         loader->options.batch, (unsigned long long)dataset->count);
    if (loader->options.order == SSLD_ORDER_SHUFFLED && dataset->count > SSLD_ORDER_MOST)
        return ssld_fail(loader->context, SSLD_UNSUPPORTED,
                         "ssld_loader_create: %llu samples cannot be shuffled; at most 2^32 - 1",
                         (unsigned long long)dataset->count);
    ssld_status status = ssld_view_spec_shape(loader->spec, dataset->image, loader->shape);
    loader->view_floats = (size_t)loader->shape[0] * (size_t)loader->shape[1] * (size_t)loader->shape[2];
    return status;
}

static ssld_status make_slots(ssld_loader *loader)
{
    ssld_context *context = loader->context;
    size_t batch = (size_t)loader->options.batch;
    /* Those prepared ahead, and the one the reader works on. */
    loader->slot_count = loader->options.prefetch + 1;
    loader->slots = ssld_alloc_zero(context, (size_t)loader->slot_count, sizeof *loader->slots);
    loader->threads = ssld_alloc_zero(context, (size_t)loader->options.threads, sizeof *loader->threads);
    bool good = loader->slots && loader->threads;
    for (int32_t i = 0; good && i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        slot->pixels = ssld_alloc_zero(context, batch, loader->view_floats * sizeof *slot->pixels);
        slot->samples = ssld_alloc_zero(context, batch, sizeof *slot->samples);
        slot->views = ssld_alloc_zero(context, batch, sizeof *slot->views);
        slot->labels = ssld_alloc_zero(context, batch, sizeof *slot->labels);
        good = slot->pixels && slot->samples && slot->views && slot->labels;
    }
    loader->order_epoch = NO_EPOCH;
    if (good && loader->options.order == SSLD_ORDER_SHUFFLED) {
        loader->order = ssld_alloc_zero(context, (size_t)loader->dataset->count, sizeof *loader->order);
        good = loader->order != NULL;
    }
    return good ? SSLD_OK
                : ssld_fail_memory(context, "prefetched batches; make batch or prefetch smaller",
                                   (size_t)loader->slot_count * batch * loader->view_floats * sizeof(float));
}

/* Signals are the host's: they are delivered to its own threads, but for those that a thread causes itself. */
static const int own_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

static ssld_status start_threads(ssld_loader *loader)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    int error = 0;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->freed, NULL);
    pthread_cond_init(&loader->settled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    loader->ready = true;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own_signals / sizeof *own_signals; i++)
        sigdelset(&all, own_signals[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (loader->started < loader->options.threads && !error) {
        error = pthread_create(&loader->threads[loader->started], NULL, produce, loader);
        loader->started += !error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return ssld_fail(loader->context, SSLD_OUT_OF_MEMORY,
                         "ssld_loader_create: the system refuses prefetch thread %d of %d; ask for fewer",
                         loader->started + 1, loader->options.threads);
    return SSLD_OK;
}

ssld_status ssld_loader_create(ssld_context *context, const ssld_dataset *dataset, const ssld_view_spec *spec,
                               const ssld_loader_options *options, ssld_loader **loader)
{
    ssld_loader_options own;
    ssld_status status = take_options(context, options, &own);
    if (status)
        return status;
    ssld_loader *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a loader", sizeof *made);
    made->context = context;
    made->dataset = dataset;
    made->spec = spec;
    made->options = own;
    atomic_init(&made->stop, false);
    atomic_init(&made->generation, 0);
    status = measure(made);
    if (!status)
        status = make_slots(made);
    if (!status)
        status = start_threads(made);
    if (status) {
        ssld_loader_destroy(made);
        return status;
    }
    *loader = made;
    return SSLD_OK;
}

void ssld_loader_destroy(ssld_loader *loader)
{
    if (!loader)
        return;
    ssld_context *context = loader->context;
    if (loader->ready) {
        pthread_mutex_lock(&loader->lock);
        atomic_store(&loader->stop, true);
        pthread_cond_broadcast(&loader->freed);
        pthread_mutex_unlock(&loader->lock);
        for (int32_t i = 0; i < loader->started; i++)
            pthread_join(loader->threads[i], NULL);
        pthread_mutex_destroy(&loader->lock);
        pthread_cond_destroy(&loader->freed);
        pthread_cond_destroy(&loader->settled);
    }
    for (int32_t i = 0; loader->slots && i < loader->slot_count; i++) {
        ssld_free(context, loader->slots[i].pixels);
        ssld_free(context, loader->slots[i].samples);
        ssld_free(context, loader->slots[i].views);
        ssld_free(context, loader->slots[i].labels);
    }
    ssld_free(context, loader->slots);
    ssld_free(context, loader->threads);
    ssld_free(context, loader->order);
    ssld_free(context, loader);
}

/* -- Delivering --------------------------------------------------------------------------------------------------- */

static void free_slot(ssld_loader *loader, struct slot *slot)
{
    slot->state = SLOT_FREE;
    pthread_cond_signal(&loader->freed);
}

/* The batch lets go of a slot. */
static void release_slot(void *owner, void *lent)
{
    ssld_loader *loader = owner;
    pthread_mutex_lock(&loader->lock);
    free_slot(loader, lent);
    pthread_mutex_unlock(&loader->lock);
}

/* Under the lock: the slot of the position if it is READY. *held: how many slots batches hold. */
static struct slot *find_ready(ssld_loader *loader, struct position position, int32_t *held)
{
    *held = 0;
    for (int32_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        if (slot->state == SLOT_READY && slot->position.epoch == position.epoch &&
            slot->position.number == position.number)
            return slot;
        *held += slot->state == SLOT_LENT;
    }
    return NULL;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Under the lock, which is let go meanwhile: until a slot settles, or it is time to look whether we are cancelled. */
static void wait_a_little(ssld_loader *loader)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += CANCEL_POLL_NANOSECONDS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&loader->settled, &loader->lock, &until);
}

/* Under the lock. */
static ssld_status wait_for(ssld_loader *loader, struct slot **slot)
{
    double begin = 0;
    ssld_status status = SSLD_OK;
    int32_t held;
    while (!(*slot = find_ready(loader, loader->delivered, &held)) && !status) {
        if (held == loader->slot_count)
            status = ssld_fail(loader->context, SSLD_INVALID_ARGUMENT,
                               "ssld_loader_next: other batches hold all %d of the loader's; give one back or make "
                               "prefetch larger",
                               held);
        else if (!(status = ssld_check_cancelled(loader->context))) {
            begin = begin > 0 ? begin : seconds_now();
            wait_a_little(loader);
        }
    }
    if (begin > 0)
        loader->waited += seconds_now() - begin;
    return status;
}

static void lend(ssld_loader *loader, struct slot *slot, ssld_batch *batch)
{
    slot->state = SLOT_LENT;
    batch->count = slot->count;
    memcpy(batch->shape, loader->shape, sizeof batch->shape);
    batch->pixels = slot->pixels;
    batch->samples = slot->samples;
    batch->views = slot->views;
    batch->labels = loader->dataset->labels ? slot->labels : NULL;
    batch->release = release_slot;
    batch->owner = loader;
    batch->slot = slot;
}

static ssld_status fail_slot(ssld_loader *loader, struct slot *slot)
{
    char place[SSLD_MOST_PATH];
    ssld_dataset_place(loader->dataset, slot->failed, place);
    ssld_status status = ssld_fail(loader->context, slot->fault.status, "%s: %s", place, slot->fault.text);
    free_slot(loader, slot);
    return status;
}

/* The batch is emptied first, so that its slot can be filled again, and stays empty on SSLD_END and on failure; only a
 * cancelled call leaves it as it is. */
ssld_status ssld_loader_next(ssld_loader *loader, ssld_batch *batch)
{
    struct slot *slot = NULL;
    ssld_status status = ssld_check_cancelled(loader->context);
    if (status)
        return status;
    ssld_batch_empty(batch);
    if (loader->delivered.number == loader->batches) {
        loader->delivered = (struct position){ loader->delivered.epoch + 1, 0 };
        return SSLD_END;
    }
    pthread_mutex_lock(&loader->lock);
    status = wait_for(loader, &slot);
    if (!status) {
        loader->delivered.number++;
        if (slot->fault.status)
            status = fail_slot(loader, slot);
        else
            lend(loader, slot, batch);
    }
    pthread_mutex_unlock(&loader->lock);
    return status;
}

ssld_status ssld_loader_seek(ssld_loader *loader, uint64_t epoch, uint64_t batch_number)
{
    if (batch_number >= loader->batches || epoch == NO_EPOCH)
        return ssld_fail(loader->context, SSLD_INVALID_ARGUMENT,
                         "ssld_loader_seek: batch %llu; an epoch has batches 0 to %llu",
                         (unsigned long long)batch_number, (unsigned long long)loader->batches - 1);
    pthread_mutex_lock(&loader->lock);
    loader->delivered = loader->produced = (struct position){ epoch, batch_number };
    atomic_fetch_add(&loader->generation, 1);
    for (int32_t i = 0; i < loader->slot_count; i++)
        if (loader->slots[i].state == SLOT_READY)
            loader->slots[i].state = SLOT_FREE;
    pthread_cond_broadcast(&loader->freed);
    pthread_mutex_unlock(&loader->lock);
    return SSLD_OK;
}

/* -- Asked -------------------------------------------------------------------------------------------------------- */

uint64_t ssld_loader_batches(const ssld_loader *loader)
{
    return loader->batches;
}

void ssld_loader_shape(const ssld_loader *loader, int32_t shape[3])
{
    memcpy(shape, loader->shape, sizeof loader->shape);
}

double ssld_loader_wait_seconds(const ssld_loader *loader)
{
    return loader->waited;
}
