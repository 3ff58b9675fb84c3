/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_round_trip.c - any bytes as instructions to a writer and labels for it. What was appended must be there and be a
 * distribution near the one given, whatever codec, order, commits and reopenings. */
#include "fuzz_store.h"

#include <math.h>

#define SAMPLES 64
#define VIEWS 3
#define MOST_CLASSES 40

struct bytes {
    const uint8_t *next, *end;
};

static unsigned take(struct bytes *bytes)
{
    return bytes->next < bytes->end ? *bytes->next++ : 0;
}

/* A row of logits from few bytes: all kinds of sizes, ties, extremes. */
static void take_logits(struct bytes *bytes, int32_t classes, float *logits)
{
    static const float units[] = { 0, 0.1f, 1, 30, 1e30f };
    float unit = units[take(bytes) % 5];
    for (int32_t c = 0; c < classes; c++)
        logits[c] = unit * (float)((int)take(bytes) - 128) / 16;
}

/* KL(softmax(logits) || row) */
static double divergence(const float *logits, const float *row, int32_t classes)
{
    double largest = (double)logits[0], sum = 0, value = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = (double)logits[c] > largest ? (double)logits[c] : largest;
    for (int32_t c = 0; c < classes; c++)
        sum += exp((double)logits[c] - largest);
    for (int32_t c = 0; c < classes; c++) {
        double p = exp((double)logits[c] - largest) / sum;
        if (!(row[c] > 0))
            abort();
        value += p > 0 ? p * log(p / (double)row[c]) : 0;
    }
    return value;
}

/* All that were given in one batch: the same bits as each alone. */
static void read_together(ssld_context *context, const ssld_store *store, int32_t classes, const bool *given)
{
    ssld_labels *one = NULL, *all = NULL;
    uint64_t samples[VIEWS * SAMPLES];
    uint32_t views[VIEWS * SAMPLES];
    int32_t count = 0;
    for (unsigned id = 0; id < VIEWS * SAMPLES; id++)
        if (given[id]) {
            samples[count] = id % SAMPLES;
            views[count++] = id / SAMPLES;
        }
    if (!count)
        return;
    if (ssld_labels_create(context, 1, classes, &one) || ssld_labels_create(context, count, classes, &all) ||
        ssld_store_read_views(store, count, samples, views, all))
        abort();
    for (int32_t i = 0; i < count; i++)
        if (ssld_store_read_views(store, 1, &samples[i], &views[i], one) ||
            memcmp(ssld_labels_probabilities(one), ssld_labels_probabilities(all) + (size_t)i * (size_t)classes,
                   (size_t)classes * sizeof(float)) != 0)
            abort();
    ssld_labels_destroy(one);
    ssld_labels_destroy(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float logits[VIEWS * SAMPLES][MOST_CLASSES];
    bool given[VIEWS * SAMPLES] = { false };
    struct bytes bytes = { data, data + size };
    ssld_context *context = fuzz_context();
    ssld_store_writer_options options;
    ssld_store_writer *writer = NULL;
    ssld_labels *labels = NULL;
    ssld_store *store = NULL;
    char path[64];
    fuzz_file(data, 0, path);
    unlink(path);
    ssld_store_writer_options_init(&options, sizeof options);
    options.mode = SSLD_STORE_RESUME;
    options.classes = 2 + (int32_t)(take(&bytes) % (MOST_CLASSES - 1));
    options.samples = SAMPLES;
    options.views = VIEWS;
    options.codec = SSLD_CODEC_DENSE_F32 + (int32_t)(take(&bytes) % 4);
    options.top_k = options.codec == SSLD_CODEC_TOPK ? 1 + (int32_t)take(&bytes) % options.classes : 0;
    options.kl_bound = options.codec == SSLD_CODEC_TOPK && take(&bytes) % 2 ? 0.05 : 0;
    options.learn_records = 1 + (int32_t)(take(&bytes) % 20);
    options.block_records = 1 + (int32_t)(take(&bytes) % 20);
    options.tail = SSLD_TAIL_AUTO + (int32_t)(take(&bytes) % 3);
    if (ssld_store_writer_open(context, path, &options, &writer) || ssld_labels_create(context, 1, options.classes, &labels))
        abort();
    while (bytes.next < bytes.end) {
        unsigned word = take(&bytes), id = take(&bytes) % (VIEWS * SAMPLES);
        uint64_t sample = id % SAMPLES;
        uint32_t view = id / SAMPLES;
        if (word % 16 == 0 && ssld_store_writer_commit(writer))
            abort();
        if (word % 64 == 1) { /* closed and opened again */
            if (ssld_store_writer_close(writer) || ssld_store_writer_open(context, path, &options, &writer))
                abort();
        }
        if (!given[id])
            take_logits(&bytes, options.classes, logits[id]);
        int32_t class = word % 3 ? -1 : (int32_t)word % options.classes;
        if (ssld_labels_wrap_logits(labels, 1, logits[id]) ||
            ssld_store_writer_append_labelled(writer, 1, &sample, &view, &class, labels))
            abort();
        given[id] = true;
    }
    if (ssld_store_writer_close(writer) || ssld_store_open(context, path, NULL, &store) ||
        ssld_store_verify(store, NULL, NULL, NULL))
        abort();
    for (unsigned id = 0; id < VIEWS * SAMPLES; id++) {
        uint64_t sample = id % SAMPLES;
        uint32_t view = id / SAMPLES;
        ssld_status status = ssld_store_read_views(store, 1, &sample, &view, labels);
        if (status != (given[id] ? SSLD_OK : SSLD_NOT_FOUND))
            abort();
        /* Dense codecs are off by half a step of 0.3 nats at most; a tail may be anything but 0. */
        if (given[id] && options.codec != SSLD_CODEC_TOPK &&
            divergence(logits[id], ssld_labels_probabilities(labels), options.classes) > 0.05)
            abort();
        if (given[id])
            divergence(logits[id], ssld_labels_probabilities(labels), options.classes);
    }
    read_together(context, store, options.classes, given);
    ssld_store_close(store);
    ssld_labels_destroy(labels);
    ssld_context_destroy(context);
    unlink(path);
    return 0;
}
