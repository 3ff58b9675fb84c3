/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_open.c - any bytes as a store. Checksums are made right first: a fuzzer would not get past them. What opens is read,
 * verified, measured and gone on with. */
#include "fuzz_store.h"

/* Frames as far as their sizes lead, each with its checksums made right; blocks are taken for uncompressed ones. */
static void mend(uint8_t *bytes, size_t size)
{
    size_t at = 0;
    uint64_t link = 0;
    while (size - at >= 40 && ssld_get_u32(bytes + at) == 0x184D2A5D) {
        uint64_t frame = 8 + (uint64_t)ssld_get_u32(bytes + at + 4), next = at + frame;
        if (frame < 40 || frame > size - at)
            return;
        if (at) {
            ssld_put_u64(bytes + at + 16, link);
            ssld_put_u64(bytes + at + 24, at);
        }
        if (!memcmp(bytes + at + 8, "SSLDBLCK", 8) && frame >= 96) {
            uint64_t payload = ssld_get_u32(bytes + at + 40), packed = ssld_get_u32(bytes + at + 44);
            if (packed > size - next)
                return;
            if (packed >= payload + 12 && packed - payload <= 16) {
                uint8_t *content = bytes + next + (packed - 4 - payload);
                uint64_t checksum = ssld_checksum(content, payload);
                ssld_put_u32(content + payload, (uint32_t)checksum);
                ssld_put_u64(bytes + at + 48, checksum);
            }
            next += packed;
        }
        if (!memcmp(bytes + at + 8, "SSLDindx", 8) && frame >= 96)
            ssld_put_u64(bytes + at + 64, ssld_checksum(bytes + at, 64));
        ssld_put_u64(bytes + at + frame - 8, ssld_checksum(bytes + at, frame - 8));
        if (!at)
            link = ssld_get_u64(bytes + frame - 8);
        at = next;
    }
}

static void read_store(ssld_context *context, const char *path)
{
    ssld_store *store = NULL;
    ssld_labels *labels = NULL;
    ssld_store_info info = { .struct_size = sizeof info };
    ssld_store_sizes sizes = { .struct_size = sizeof sizes };
    uint32_t view = 0;
    uint64_t sample = 0, count, damaged;
    if (ssld_store_open(context, path, NULL, &store))
        return;
    if (ssld_store_get_info(store, &info) || info.classes > 100000)
        goto done;
    if (!ssld_labels_create(context, 1, info.classes, &labels))
        for (int i = 0; i < 64 && ssld_store_stored(store, &view, &sample, &count) == SSLD_OK; i++, sample++) {
            float mean, deviation;
            if (ssld_store_read_views(store, 1, &sample, &view, labels) == SSLD_OK) {
                const float *row = ssld_labels_probabilities(labels);
                for (int32_t c = 0; c < info.classes; c++)
                    if (!(row[c] >= 0)) /* whatever was stored, never a number that is none */
                        abort();
            }
            if (ssld_store_read_moments(store, 1, &sample, &view, labels, &mean, &deviation))
                continue;
        }
    if (ssld_store_verify(store, NULL, NULL, &damaged) || ssld_store_measure(store, &sizes))
        goto done;
done:
    ssld_labels_destroy(labels);
    ssld_store_close(store);
}

/* Many at a time; some may be damaged: those are left out. */
static void read_many(ssld_context *context, const char *path)
{
    enum { MANY = 64 };
    ssld_store *store = NULL;
    ssld_labels *labels = NULL;
    ssld_store_options options;
    ssld_store_info info = { .struct_size = sizeof info };
    uint64_t samples[MANY], sample = 0, count;
    uint32_t views[MANY], view = 0;
    int32_t rows = 0;
    ssld_store_options_init(&options, sizeof options);
    options.missing = options.damaged = SSLD_STORE_SKIP;
    if (ssld_store_open(context, path, &options, &store))
        return;
    if (ssld_store_get_info(store, &info) || info.classes > 100000 || ssld_labels_create(context, MANY, info.classes, &labels))
        goto done;
    for (; rows < MANY && ssld_store_stored(store, &view, &sample, &count) == SSLD_OK; sample++, rows++) {
        samples[rows] = sample;
        views[rows] = view;
    }
    if (!rows || ssld_store_read_views(store, rows, samples, views, labels))
        goto done;
    for (int32_t i = 0; i < rows * info.classes; i++)
        if (!(ssld_labels_probabilities(labels)[i] >= 0))
            abort();
done:
    ssld_labels_destroy(labels);
    ssld_store_close(store);
}

static void resume_store(ssld_context *context, const char *path)
{
    ssld_store *store = NULL;
    ssld_store_writer *writer = NULL;
    ssld_store_writer_options options;
    ssld_store_writer_options_init(&options, sizeof options);
    if (ssld_store_open(context, path, NULL, &store))
        return;
    ssld_status status = ssld_store_writer_options_like(store, &options);
    options.mode = SSLD_STORE_RESUME;
    /* A map of a bit for each sample of each view is what a writer needs: those of real stores, not 2^48. */
    if (!status && options.samples <= 1 << 20 && options.views <= 16 &&
        !ssld_store_writer_open(context, path, &options, &writer))
        status = ssld_store_writer_close(writer);
    ssld_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ssld_context *context = fuzz_context();
    char path[64];
    if (size > 1 << 20)
        return 0;
    uint8_t *bytes = malloc(size + 1);
    memcpy(bytes, data, size);
    mend(bytes, size);
    fuzz_file(bytes, size, path);
    read_store(context, path);
    read_many(context, path);
    resume_store(context, path);
    unlink(path);
    free(bytes);
    ssld_context_destroy(context);
    return 0;
}
