/* SPDX-License-Identifier: BSD-2-Clause */
/* loader.c - batches prepared ahead by threads.
 *
 * A ring of slots, each with the memory of one batch:
 *
 *     FREE --a thread takes the next position of the epoch--> FILLING --rendered--> READY --next()--> LENT --> FREE
 *
 * Positions are handed out in order under the lock, and delivered in that order. So the batch that is wanted is always READY,
 * FILLING or about to be taken. All threads fill the oldest batch together, image by image, and so does the host's thread
 * when it would have to wait: prefetch threads have a priority so low that others' work may keep them from running at all.
 * What is in a batch does not depend on who rendered it. Sample ids are copied into the slot when it is taken, so one
 * permutation, that of the producers' epoch, is enough. A seek begins a new generation; slots of an older one are dropped by the
 * last who works on them. */
#define _GNU_SOURCE /* SCHED_IDLE */
#include "core/batch.h"
#include "data/bad.h"
#include "data/cache.h"
#include "data/order.h"
#include "data/parallel.h"
#include "image/operation.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define STANDARD_BATCH 32
#define MOST_BATCH (1 << 20)
#define MOST_THREADS 1024
#define MOST_PREFETCH 65536
#define MOST_RANKS 65536
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
    int32_t           count;   /* images; fewer when it is READY if some were left out */
    atomic_int        next;    /* image to be rendered */
    int32_t           working; /* threads that render */
    float            *pixels;
    uint64_t         *samples;
    uint32_t         *views;
    int32_t          *labels;
    int32_t           failed; /* place of the first image that could not be rendered, */
    uint64_t          failed_sample; /* the sample whose image it is, */
    struct ssld_fault fault;  /* and why; status SSLD_OK: none */
    struct ssld_bad_list bad; /* images that were left out */
};

/* What a thread that renders has of its own. */
struct worker {
    struct read_buffer buffer;
    float             *partner;       /* a view, for specs that mix two */
    uint64_t           bytes;         /* of files, read since they were last added up */
    uint64_t           hits;          /* samples from the cache */
    uint64_t           rendered;      /* samples' parts of views */
    double             read, render;  /* seconds, the second of the CPU */
    struct ssld_view_times times;     /* with the option `profile` */
};

struct ssld_loader {
    ssld_context         *context;
    const ssld_dataset   *dataset;
    const ssld_view_spec *spec;
    ssld_loader_options   options;
    int32_t               shape[3];
    size_t                view_floats;
    struct ssld_cache    *cache;   /* NULL: none */
    uint64_t              whole;   /* batches of every rank that are whole */
    uint64_t              rest;    /* samples behind them */
    uint64_t              batches; /* of this rank */
    struct position       delivered; /* what next() gives next */
    struct ssld_bad_list  bad;       /* delivered, each sample once */
    uint8_t              *seen_bad;  /* a bit for each sample; NULL: images are not left out */
    struct worker         host;      /* the thread in next() */
    ssld_loader_statistics statistics; /* the threads' parts under the lock */
    int32_t               slot_count;
    struct slot          *slots;
    pthread_t            *threads;
    int32_t               started;
    bool                  ready; /* lock and conditions exist */
    atomic_bool           stop;
    atomic_uint_fast64_t  generation;
    pthread_mutex_t       lock;    /* guards slots' states, produced, order */
    pthread_cond_t        freed;   /* a slot is free or wants hands, or stop */
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

/* A batch's places in the permutation of its epoch. All ranks together take one group of batches after another, rank by rank;
 * what does not fill a group is shared out evenly. */
static uint64_t first_place(const ssld_loader *loader, uint64_t number, int32_t *count)
{
    uint64_t batch = (uint64_t)loader->options.batch, rank = (uint64_t)loader->options.rank;
    uint64_t ranks = (uint64_t)loader->options.ranks, first = loader->rest * rank / ranks;
    if (number < loader->whole) {
        *count = loader->options.batch;
        return (number * ranks + rank) * batch;
    }
    *count = (int32_t)(loader->rest * (rank + 1) / ranks - first);
    return loader->whole * ranks * batch + first;
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
    uint64_t first = first_place(loader, position.number, &slot->count);
    if (loader->order && loader->order_epoch != position.epoch) {
        ssld_order_shuffle(loader->options.order_seed, position.epoch, dataset->count, loader->order);
        loader->order_epoch = position.epoch;
    }
    slot->state = SLOT_FILLING;
    slot->generation = atomic_load(&loader->generation);
    slot->position = position;
    slot->fault.status = SSLD_OK;
    atomic_store(&slot->next, 0);
    ssld_bad_clear(loader->context, &slot->bad);
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

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Draw a sample's own part of a view, from the cache or the data set. */
static ssld_status draw_sample(ssld_loader *loader, uint64_t sample, uint32_t view, float *dst, struct worker *worker,
                               struct ssld_fault *fault)
{
    const ssld_dataset *dataset = loader->dataset;
    struct sample_content content;
    uint64_t seed = loader->options.view_seed;
    bool kept;
    double start = seconds_of(CLOCK_MONOTONIC);
    ssld_status status = ssld_cache_fetch(loader->cache, dataset, sample, &worker->buffer, &content, &kept, fault);
    worker->read += seconds_of(CLOCK_MONOTONIC) - start;
    if (status)
        return status;
    worker->hits += kept;
    worker->bytes += kept ? 0 : content.size;
    worker->rendered++;
    const struct view_target target = { .floats = dst, .capacity = loader->view_floats,
                                        .times = loader->options.profile ? &worker->times : NULL };
    if (content.decoded)
        status = ssld_view_draw_pixels_to(loader->spec, content.bytes, content.image, seed, sample, view, &target, fault);
    else
        status = ssld_view_draw_to(loader->spec, content.bytes, content.size, seed, sample, view, &target, fault);
    if (!kept)
        ssld_dataset_release(dataset, sample, &content);
    return status;
}

/* A mixed view has no class of its own. */
static ssld_status mix_in_partner(ssld_loader *loader, struct slot *slot, int32_t i, struct worker *worker, float *dst,
                                  uint64_t *bad, struct ssld_fault *fault)
{
    ssld_view_mix mix;
    ssld_mix_draw(loader->spec, loader->options.view_seed, slot->samples[i], slot->views[i], loader->dataset->count,
                  loader->shape, &mix);
    if (mix.kind == SSLD_MIX_NONE)
        return SSLD_OK;
    *bad = mix.partner;
    if (!worker->partner)
        worker->partner = ssld_alloc(loader->context, loader->view_floats * sizeof *dst);
    if (!worker->partner)
        return ssld_fault_memory(fault, "the view of a partner", loader->view_floats * sizeof *dst);
    if (draw_sample(loader, mix.partner, slot->views[i], worker->partner, worker, fault))
        return fault->status;
    struct ssld_view_times *times = loader->options.profile ? &worker->times : NULL;
    ssld_view_enter(times, VIEW_AUGMENT);
    ssld_view_mix_pixels(&mix, loader->shape, worker->partner, dst);
    ssld_view_enter(times, VIEW_STAGES);
    slot->labels[i] = -1;
    return SSLD_OK;
}

/* The slot's i-th sample. On failure *bad is the one whose image is bad: itself, or the one it is mixed with. */
static ssld_status render_one(ssld_loader *loader, struct slot *slot, int32_t i, struct worker *worker, uint64_t *bad,
                              struct ssld_fault *fault)
{
    float *dst = slot->pixels + (size_t)i * loader->view_floats;
    *bad = slot->samples[i];
    if (draw_sample(loader, slot->samples[i], slot->views[i], dst, worker, fault))
        return fault->status;
    return loader->spec->mix < 0 ? SSLD_OK : mix_in_partner(loader, slot, i, worker, dst, bad, fault);
}

/* Under the lock: note an image that is left out, or ends the batch. Images are taken in order, so those before it are done or
 * under way, and the first that fails is found whoever is faster. */
static void note_failure(ssld_loader *loader, struct slot *slot, int32_t i, uint64_t bad, struct ssld_fault *fault)
{
    if (loader->options.bad == SSLD_BAD_SKIP && ssld_bad_can_skip(fault->status)) {
        if (ssld_bad_add(loader->context, &slot->bad, loader->dataset, bad, i, fault))
            return;
        ssld_fault_memory(fault, "the list of bad images", 0);
    }
    if (!slot->fault.status || i < slot->failed) {
        slot->failed = i;
        slot->failed_sample = bad;
        slot->fault = *fault;
    }
    atomic_store(&slot->next, slot->count);
}

/* Without the lock: render images until none is left, nobody wants the batch any more, or the host's thread is cancelled. */
static void fill_slot(ssld_loader *loader, struct slot *slot, struct worker *worker)
{
    bool host = worker == &loader->host;
    double start = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    while (!atomic_load(&loader->stop) && atomic_load(&loader->generation) == slot->generation &&
           !(host && ssld_cancelled(loader->context))) {
        struct ssld_fault fault = { .status = SSLD_OK };
        int32_t i = atomic_fetch_add(&slot->next, 1);
        uint64_t bad;
        if (i >= slot->count)
            break;
        if (!render_one(loader, slot, i, worker, &bad, &fault))
            continue;
        pthread_mutex_lock(&loader->lock);
        note_failure(loader, slot, i, bad, &fault);
        pthread_mutex_unlock(&loader->lock);
    }
    worker->render += seconds_of(CLOCK_THREAD_CPUTIME_ID) - start;
}

/* Close the gaps that images left which were left out. */
static void close_gaps(const ssld_loader *loader, struct slot *slot)
{
    int32_t rows = 0;
    uint64_t bad = 0;
    ssld_bad_sort(&slot->bad);
    for (int32_t i = 0; i < slot->count; i++) {
        if (bad < slot->bad.count && slot->bad.items[bad].place == i) {
            bad++;
            continue;
        }
        if (rows < i) {
            memcpy(slot->pixels + (size_t)rows * loader->view_floats, slot->pixels + (size_t)i * loader->view_floats,
                   loader->view_floats * sizeof *slot->pixels);
            slot->samples[rows] = slot->samples[i];
            slot->views[rows] = slot->views[i];
            slot->labels[rows] = slot->labels[i];
        }
        rows++;
    }
    slot->count = rows;
}

/* Under the lock, which is let go meanwhile: work on a slot that is FILLING. */
static void work_on(ssld_loader *loader, struct slot *slot, struct worker *worker)
{
    ssld_loader_statistics *statistics = &loader->statistics;
    slot->working++;
    pthread_mutex_unlock(&loader->lock);
    fill_slot(loader, slot, worker);
    pthread_mutex_lock(&loader->lock);
    statistics->bytes_read += worker->bytes;
    statistics->cache_hits += worker->hits;
    statistics->read_seconds += worker->read;
    statistics->render_seconds += worker->render;
    statistics->rendered += worker->rendered;
    statistics->decode_seconds += worker->times.seconds[VIEW_DECODE];
    statistics->resample_seconds += worker->times.seconds[VIEW_RESAMPLE];
    statistics->augment_seconds += worker->times.seconds[VIEW_AUGMENT];
    statistics->write_seconds += worker->times.seconds[VIEW_WRITE];
    worker->bytes = worker->hits = worker->rendered = 0;
    worker->read = worker->render = 0;
    memset(worker->times.seconds, 0, sizeof worker->times.seconds);
    if (--slot->working)
        return;
    if (slot->generation != atomic_load(&loader->generation)) {
        slot->state = SLOT_FREE;
    } else if (atomic_load(&slot->next) >= slot->count) {
        if (slot->bad.count && !slot->fault.status)
            close_gaps(loader, slot);
        slot->state = SLOT_READY;
        pthread_cond_signal(&loader->settled);
        return;
    }
    pthread_cond_broadcast(&loader->freed);
}

static bool is_before(struct position one, struct position other)
{
    return one.epoch < other.epoch || (one.epoch == other.epoch && one.number < other.number);
}

/* Under the lock: the oldest batch that has images to be rendered, NULL: none. */
static struct slot *find_unfinished(ssld_loader *loader)
{
    struct slot *oldest = NULL;
    for (int32_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        if (slot->state == SLOT_FILLING && slot->generation == atomic_load(&loader->generation) &&
            atomic_load(&slot->next) < slot->count && (!oldest || is_before(slot->position, oldest->position)))
            oldest = slot;
    }
    return oldest;
}

/* Under the lock: that, else the next position in a free slot, NULL: neither. */
static struct slot *find_work(ssld_loader *loader)
{
    struct slot *slot = find_unfinished(loader);
    if (!slot && (slot = find_free(loader)))
        take_position(loader, slot);
    return slot;
}

/* Prefetch threads take what those that compute leave, and everything while these wait. */
static void lower_priority(void)
{
#ifdef SCHED_IDLE
    const struct sched_param none = { .sched_priority = 0 };
    sched_setscheduler(0, SCHED_IDLE, &none); /* of the calling thread */
#endif
}

static void *produce(void *argument)
{
    ssld_loader *loader = argument;
    struct worker worker = { .times = { .stage = VIEW_STAGES } };
    if (loader->options.priority == SSLD_PRIORITY_LOW)
        lower_priority();
    pthread_mutex_lock(&loader->lock);
    while (!atomic_load(&loader->stop)) {
        struct slot *slot = find_work(loader);
        if (slot)
            work_on(loader, slot, &worker);
        else
            pthread_cond_wait(&loader->freed, &loader->lock);
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
        { "bad", options->bad, SSLD_BAD_STOP, SSLD_BAD_SKIP },
        { "ranks", options->ranks, 0, MOST_RANKS },
        { "rank", options->rank, 0, options->ranks ? options->ranks - 1 : 0 },
        { "cache", options->cache, SSLD_CACHE_AUTO, SSLD_CACHE_PIXELS },
        { "profile", options->profile, 0, 1 },
        { "priority", options->priority, SSLD_PRIORITY_LOW, SSLD_PRIORITY_NORMAL },
    };
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
        if (wholes[i].value < wholes[i].least || wholes[i].value > wholes[i].most)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "ssld_loader_create: options: %s is %d; it must be %d to %d", wholes[i].name,
                             wholes[i].value, wholes[i].least, wholes[i].most);
    options->batch = options->batch ? options->batch : STANDARD_BATCH;
    options->threads = options->threads ? options->threads : ssld_context_threads(context);
    options->prefetch = options->prefetch ? options->prefetch : 2 + options->threads;
    options->ranks = options->ranks ? options->ranks : 1;
    return SSLD_OK;
}

static ssld_status measure(ssld_loader *loader)
{
    const ssld_dataset *dataset = loader->dataset;
    uint64_t group = (uint64_t)loader->options.batch * (uint64_t)loader->options.ranks;
    int32_t last = 0;
    if (!dataset->count)
        return ssld_fail(loader->context, SSLD_INVALID_ARGUMENT, "ssld_loader_create: the data set is empty");
    loader->whole = dataset->count / group;
    loader->rest = dataset->count % group;
    first_place(loader, loader->whole, &last);
    loader->batches = loader->whole + (loader->options.last == SSLD_LAST_KEEP && last > 0);
    if (!loader->batches && loader->options.ranks > 1)
        return ssld_fail(loader->context, SSLD_INVALID_ARGUMENT,
                         "ssld_loader_create: options: rank %d of %d has no batch of %d of a data set of %llu samples; make "
                         "batch or ranks smaller", loader->options.rank, loader->options.ranks, loader->options.batch,
                         (unsigned long long)dataset->count);
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
    if (good && loader->options.bad == SSLD_BAD_SKIP) {
        loader->seen_bad = ssld_alloc_zero(context, (size_t)(loader->dataset->count + 7) / 8, 1);
        good = loader->seen_bad != NULL;
    }
    if (good && loader->options.cache_bytes && !loader->dataset->pixels) {
        loader->cache = ssld_cache_create(context, loader->dataset, loader->options.cache_bytes, loader->options.cache);
        good = loader->cache != NULL;
    }
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

static ssld_status start_threads(ssld_loader *loader)
{
    pthread_condattr_t monotonic;
    int error = 0;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->freed, NULL);
    pthread_cond_init(&loader->settled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    loader->ready = true;
    while (loader->started < loader->options.threads && !error) {
        error = ssld_thread_create(&loader->threads[loader->started], produce, loader);
        loader->started += !error;
    }
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
    made->host.times.stage = VIEW_STAGES;
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
        ssld_bad_free(context, &loader->slots[i].bad);
    }
    ssld_bad_free(context, &loader->bad);
    ssld_free(context, loader->host.buffer.bytes);
    ssld_free(context, loader->host.partner);
    ssld_free(context, loader->seen_bad);
    ssld_cache_destroy(loader->cache);
    ssld_free(context, loader->slots);
    ssld_free(context, loader->threads);
    ssld_free(context, loader->order);
    ssld_free(context, loader);
}

/* -- Delivering --------------------------------------------------------------------------------------------------- */

static void free_slot(ssld_loader *loader, struct slot *slot)
{
    slot->state = SLOT_FREE;
    pthread_cond_broadcast(&loader->freed);
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

/* Under the lock: render images of the batch that is wanted. False: there are none, others are at the last ones. */
static bool help(ssld_loader *loader)
{
    bool taken = is_before(loader->delivered, loader->produced);
    struct slot *slot = taken ? find_unfinished(loader) : find_work(loader);
    if (!slot || is_before(loader->delivered, slot->position))
        return false;
    work_on(loader, slot, &loader->host);
    return true;
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
            begin = begin > 0 ? begin : seconds_of(CLOCK_MONOTONIC);
            if (!help(loader))
                wait_a_little(loader);
        }
    }
    if (begin > 0)
        loader->statistics.wait_seconds += seconds_of(CLOCK_MONOTONIC) - begin;
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
    ssld_dataset_place(loader->dataset, slot->failed_sample, place);
    ssld_status status = ssld_fail(loader->context, slot->fault.status, "%s: %s", place, slot->fault.text);
    free_slot(loader, slot);
    return status;
}

/* Under the lock: the slot that is wanted leaves the ring, as a batch or as a failure. SSLD_END: all of its images were left
 * out, and there is nothing to deliver. */
static ssld_status deliver(ssld_loader *loader, struct slot *slot, ssld_batch *batch)
{
    loader->delivered.number++;
    if (slot->fault.status)
        return fail_slot(loader, slot);
    if (slot->bad.count) {
        loader->statistics.skipped += slot->bad.count;
        if (!ssld_bad_move(loader->context, &loader->bad, loader->seen_bad, &slot->bad)) {
            free_slot(loader, slot);
            return ssld_fail_memory(loader->context, "the list of bad images", 0);
        }
    }
    if (!slot->count) {
        free_slot(loader, slot);
        return SSLD_END;
    }
    loader->statistics.batches++;
    loader->statistics.images += (uint64_t)slot->count;
    lend(loader, slot, batch);
    return SSLD_OK;
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
    do {
        if (loader->delivered.number == loader->batches) {
            loader->delivered = (struct position){ loader->delivered.epoch + 1, 0 };
            return SSLD_END;
        }
        pthread_mutex_lock(&loader->lock);
        status = wait_for(loader, &slot);
        if (!status)
            status = deliver(loader, slot, batch);
        pthread_mutex_unlock(&loader->lock);
    } while (status == SSLD_END);
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
        if (loader->slots[i].state == SLOT_READY ||
            (loader->slots[i].state == SLOT_FILLING && !loader->slots[i].working))
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
    return loader->statistics.wait_seconds;
}

void ssld_loader_position(const ssld_loader *loader, uint64_t *epoch, uint64_t *batch_number)
{
    *epoch = loader->delivered.epoch;
    *batch_number = loader->delivered.number;
}

ssld_status ssld_loader_get_statistics(ssld_loader *loader, ssld_loader_statistics *statistics)
{
    pthread_mutex_lock(&loader->lock);
    ssld_loader_statistics own = loader->statistics;
    pthread_mutex_unlock(&loader->lock);
    ssld_cache_count(loader->cache, &own.cache_images, &own.cache_bytes);
    return ssld_info_give(loader->context, "ssld_loader_get_statistics", statistics, &own, sizeof own);
}

uint64_t ssld_loader_bad_count(const ssld_loader *loader)
{
    return loader->bad.count;
}

ssld_status ssld_loader_bad(const ssld_loader *loader, uint64_t index, ssld_bad_image *image)
{
    if (index >= loader->bad.count)
        return ssld_fail(loader->context, SSLD_INVALID_ARGUMENT, "ssld_loader_bad: %llu; %llu images were left out",
                         (unsigned long long)index, (unsigned long long)loader->bad.count);
    const struct ssld_bad *bad = &loader->bad.items[index];
    ssld_bad_image own = { .sample = bad->sample, .status = bad->status, .text = bad->text };
    return ssld_info_give(loader->context, "ssld_loader_bad", image, &own, sizeof own);
}
