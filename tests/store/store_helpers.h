/* SPDX-License-Identifier: BSD-2-Clause */
/* store_helpers.h - labels that can be made again from their ids, and stores full of them. */
#ifndef SSLD_TESTS_STORE_HELPERS_H
#define SSLD_TESTS_STORE_HELPERS_H

#include "test.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/reader.h"
#include "store/writer.h"
#include "ssld/store.h"

static char test_folder[64];
static char test_path[96];

static inline ssld_context *make_context(void)
{
    ssld_context *context = NULL;
    ssld_status status = ssld_context_create(NULL, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    return context;
}

/* A path for a store that is not there yet. In memory if possible: these tests sync thousands of times. */
static inline const char *fresh_path(void)
{
    if (!test_folder[0]) {
        strcpy(test_folder, access("/dev/shm", W_OK) ? "/tmp/ssld-store-XXXXXX" : "/dev/shm/ssld-store-XXXXXX");
        CHECK(mkdtemp(test_folder), "no folder %s", test_folder);
    }
    snprintf(test_path, sizeof test_path, "%s/labels.ssld", test_folder);
    unlink(test_path);
    return test_path;
}

static inline void remove_models(void);

static inline void remove_folder(void)
{
    if (!test_folder[0])
        return;
    remove_models();
    unlink(test_path);
    rmdir(test_folder);
}

/* SplitMix64: a stream of well-mixed words from any seed. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline double uniform_random(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

/* Logits of a peaked distribution, as classifiers give: noise of standard deviation 2.5, one class 4 to 16 above. */
static inline void make_logits(uint64_t sample, uint32_t view, int32_t classes, float *logits)
{
    uint64_t state = sample * 1000003 + view;
    for (int32_t c = 0; c < classes; c++) {
        double sum = 0;
        for (int i = 0; i < 4; i++)
            sum += uniform_random(&state) - 0.5;
        logits[c] = (float)(sum * 2.5 / sqrt(4.0 / 12));
    }
    logits[next_random(&state) % (uint64_t)classes] += (float)(4 + 12 * uniform_random(&state));
}

struct plan {
    int32_t  classes, codec, top_k, block_records;
    uint64_t samples;
    uint32_t views;
};

static inline ssld_store_writer_options plain_options(const struct plan *plan)
{
    ssld_store_writer_options options;
    ssld_store_writer_options_init(&options, sizeof options);
    options.classes = plan->classes;
    options.codec = plan->codec;
    options.top_k = plan->top_k;
    options.block_records = plan->block_records;
    options.samples = plan->samples;
    options.views = plan->views;
    options.view_seed = 7;
    options.view_spec = "rrc(224) flip(0.5) normalize(imagenet)";
    memset(options.dataset_fingerprint, 0xda, 16);
    memset(options.teacher_fingerprint, 0x7e, 16);
    return options;
}

/* Models for the codecs that need one, fitted once to labels of their own: what is read back does not depend then on which
 * labels came first. Each is in a store of its own. */
#define MOST_TEST_MODELS 24
#define MODEL_LABELS 64

static struct test_model {
    struct plan   plan;
    char          path[128];
    ssld_context *context;
    ssld_store   *store;
} test_models[MOST_TEST_MODELS];
static int test_model_count;

static inline void make_model(struct test_model *made)
{
    struct plan plan = made->plan;
    ssld_store_writer *writer = NULL;
    ssld_labels *labels = NULL;
    uint64_t samples[MODEL_LABELS];
    uint32_t views[MODEL_LABELS] = { 0 };
    float *logits = malloc(MODEL_LABELS * (size_t)plan.classes * sizeof *logits);
    plan.samples = MODEL_LABELS;
    plan.views = 1;
    ssld_store_writer_options options = plain_options(&plan);
    options.learn_records = MODEL_LABELS;
    made->context = make_context();
    for (uint64_t i = 0; i < MODEL_LABELS; i++) {
        samples[i] = i;
        make_logits(1000000 + i, 0, plan.classes, logits + i * (size_t)plan.classes);
    }
    CHECK_OK(made->context, ssld_labels_create(made->context, MODEL_LABELS, plan.classes, &labels));
    CHECK_OK(made->context, ssld_labels_wrap_logits(labels, MODEL_LABELS, logits));
    CHECK_OK(made->context, ssld_store_writer_open(made->context, made->path, &options, &writer));
    CHECK_OK(made->context, ssld_store_writer_append_views(writer, MODEL_LABELS, samples, views, labels));
    CHECK_OK(made->context, ssld_store_writer_close(writer));
    CHECK_OK(made->context, ssld_store_open(made->context, made->path, NULL, &made->store));
    ssld_labels_destroy(labels);
    free(logits);
}

/* NULL for codecs that have none. */
static inline const struct test_model *model_of(const struct plan *plan)
{
    const struct ssld_codec *codec = ssld_codec_find(plan->codec);
    if (!codec || codec->columns)
        return NULL;
    for (int i = 0; i < test_model_count; i++)
        if (test_models[i].plan.classes == plan->classes && test_models[i].plan.codec == plan->codec &&
            test_models[i].plan.top_k == plan->top_k)
            return &test_models[i];
    CHECK(test_model_count < MOST_TEST_MODELS, "too many models");
    if (!test_folder[0])
        fresh_path();
    struct test_model *made = &test_models[test_model_count];
    made->plan = *plan;
    snprintf(made->path, sizeof made->path, "%s/model%d", test_folder, test_model_count++);
    make_model(made);
    return made;
}

static inline void remove_models(void)
{
    for (; test_model_count; test_model_count--) {
        struct test_model *model = &test_models[test_model_count - 1];
        ssld_store_close(model->store);
        ssld_context_destroy(model->context);
        unlink(model->path);
    }
}

static inline ssld_store_writer_options writer_options(const struct plan *plan)
{
    ssld_store_writer_options options = plain_options(plan);
    const struct test_model *model = model_of(plan);
    options.model_from = model ? model->path : NULL;
    return options;
}

#define MOST_BATCH 64

/* Append `count` views of `ids` (sample + view * samples), at most MOST_BATCH. */
static inline ssld_status append_ids(ssld_context *context, ssld_store_writer *writer, const struct plan *plan,
                                     const uint64_t *ids, int32_t count)
{
    uint64_t samples[MOST_BATCH];
    uint32_t views[MOST_BATCH];
    ssld_labels *labels = NULL;
    float *logits = malloc((size_t)count * (size_t)plan->classes * sizeof *logits);
    ssld_status status = ssld_labels_create(context, count, plan->classes, &labels);
    for (int32_t i = 0; i < count; i++) {
        samples[i] = ids[i] % plan->samples;
        views[i] = (uint32_t)(ids[i] / plan->samples);
        make_logits(samples[i], views[i], plan->classes, logits + (size_t)i * (size_t)plan->classes);
    }
    if (!status)
        status = ssld_labels_wrap_logits(labels, count, logits);
    if (!status)
        status = ssld_store_writer_append_views(writer, count, samples, views, labels);
    ssld_labels_destroy(labels);
    free(logits);
    return status;
}

/* Label what is missing, `batch` views at a time, committing after every `commit` batches (0: never). */
static inline ssld_status label_missing(ssld_context *context, ssld_store_writer *writer, const struct plan *plan,
                                        int32_t batch, int32_t commit)
{
    uint32_t view = 0;
    uint64_t sample = 0, count, ids[MOST_BATCH];
    ssld_status status;
    for (int32_t done = 1; (status = ssld_store_writer_missing(writer, &view, &sample, &count)) == SSLD_OK; done++) {
        int32_t taken = count < (uint64_t)batch ? (int32_t)count : batch;
        for (int32_t i = 0; i < taken; i++)
            ids[i] = view * plan->samples + sample + (uint64_t)i;
        if ((status = append_ids(context, writer, plan, ids, taken)))
            return status;
        if (commit && done % commit == 0 && (status = ssld_store_writer_commit(writer)))
            return status;
    }
    return status == SSLD_END ? SSLD_OK : status;
}

/* A complete store, made in one go or completed. */
static inline ssld_status complete_store(ssld_context *context, const char *path, const struct plan *plan, int32_t mode)
{
    ssld_store_writer_options options = writer_options(plan);
    ssld_store_writer *writer = NULL;
    options.mode = mode;
    ssld_status status = ssld_store_writer_open(context, path, &options, &writer);
    if (!status)
        status = label_missing(context, writer, plan, 3, 4);
    if (status) {
        ssld_store_writer_abandon(writer);
        return status;
    }
    return ssld_store_writer_close(writer);
}

/* What the codec makes of a label, without a file. `model` is NULL for codecs that have none. */
static inline bool code_row(const struct ssld_coding *coding, const struct ssld_codec *codec, const struct ssld_model *model,
                            const float *values, bool logits, int32_t class, float *row)
{
    ssld_context *context = make_context();
    struct ssld_encoder encoder;
    struct ssld_model *own = NULL;
    size_t room = (size_t)codec->most_bits(coding) / 8 + 16;
    uint8_t *bytes = calloc(1, room);
    bool sound = !ssld_label_check(values, coding->classes, logits) && !ssld_encoder_make(context, coding, &encoder);
    if (sound && model) /* one whose rows are inverted, which a reader's are not */
        sound = !ssld_model_read(context, model->bytes, model->size, &own) && !ssld_model_analyse(context, own);
    if (sound) {
        struct ssld_label label = ssld_label_read(values, coding->classes, logits, class, encoder.log_p);
        struct ssld_sink sink = { .codes = own ? own->codes : NULL, .bytes = bytes };
        encoder.model = own;
        codec->encode(&encoder, &label, &sink);
        struct ssld_source source = { .bytes = bytes, .end = sink.bits, .last = room - 8 };
        sound = sink.bits <= 8 * (room - 16) && codec->decode(coding, own, &source, row, NULL) && source.at == sink.bits;
        ssld_encoder_free(context, &encoder);
    }
    ssld_model_free(context, own);
    free(bytes);
    ssld_context_destroy(context);
    return sound;
}

/* The same by plan: with the plan's model. */
static inline bool code_plan_row(const struct plan *plan, const float *values, bool logits, float *row)
{
    const struct test_model *made = model_of(plan);
    struct ssld_coding coding = { .classes = plan->classes };
    if (made)
        coding = made->store->parts[0].coding;
    return code_row(&coding, ssld_codec_find(plan->codec), made ? ssld_store_last_model(made->store) : NULL, values, logits, -1,
                    row);
}

/* The rows a store of the plan must give, all of them: (views, samples, classes) floats to be freed. */
static inline float *expected_rows(const struct plan *plan)
{
    size_t classes = (size_t)plan->classes;
    float *rows = malloc(plan->views * plan->samples * classes * sizeof *rows);
    float *logits = malloc(classes * sizeof *logits);
    for (uint32_t view = 0; view < plan->views; view++)
        for (uint64_t sample = 0; sample < plan->samples; sample++) {
            make_logits(sample, view, plan->classes, logits);
            bool sound = code_plan_row(plan, logits, true, rows + (view * plan->samples + sample) * classes);
            CHECK(sound, "sample %llu", (unsigned long long)sample);
        }
    free(logits);
    return rows;
}

/* Read every view, one at a time. Each must be right or not be given at all; returns how many were right, -1 if one was
 * wrong. Statuses other than OK are counted: missing (SSLD_NOT_FOUND) and corrupt. */
static inline int64_t count_right(ssld_context *context, const ssld_store *store, const struct plan *plan,
                                  const float *rows, int64_t *missing, int64_t *corrupt)
{
    int64_t right = 0;
    size_t classes = (size_t)plan->classes;
    ssld_labels *labels = NULL;
    *missing = *corrupt = 0;
    if (ssld_labels_create(context, 1, plan->classes, &labels))
        return -1;
    for (uint64_t id = 0; id < plan->views * plan->samples && right >= 0; id++) {
        uint64_t sample = id % plan->samples;
        uint32_t view = (uint32_t)(id / plan->samples);
        ssld_status status = ssld_store_read_views(store, 1, &sample, &view, labels);
        *missing += status == SSLD_NOT_FOUND;
        *corrupt += status == SSLD_CORRUPT;
        if (status == SSLD_OK)
            right = memcmp(ssld_labels_probabilities(labels), rows + id * classes, classes * 4) ? -1 : right + 1;
        else if (status != SSLD_NOT_FOUND && status != SSLD_CORRUPT)
            right = -1;
    }
    ssld_labels_destroy(labels);
    return right;
}

/* CHECK that the store at `path` holds exactly the labels of the plan. */
static inline void check_complete(ssld_context *context, const char *path, const struct plan *plan, const float *rows)
{
    ssld_store *store = NULL;
    ssld_store_options options;
    ssld_store_options_init(&options, sizeof options);
    options.verify = 1;
    CHECK_OK(context, ssld_store_open(context, path, &options, &store));
    ssld_store_info info = { .struct_size = sizeof info };
    CHECK_OK(context, ssld_store_get_info(store, &info));
    int64_t missing, corrupt, right = count_right(context, store, plan, rows, &missing, &corrupt);
    ssld_store_close(store);
    CHECK(right == (int64_t)(plan->samples * plan->views) && info.records == (uint64_t)right && info.closed,
          "%lld right, %lld missing, %lld corrupt, %llu records, closed %d", (long long)right, (long long)missing,
          (long long)corrupt, (unsigned long long)info.records, info.closed);
}

/* -- Whole files in memory ---------------------------------------------------------------------------------------- */

static inline uint8_t *load_file(const char *path, size_t *size)
{
    struct stat info;
    int file = open(path, O_RDONLY);
    CHECK(file >= 0 && fstat(file, &info) == 0, "no file %s", path);
    uint8_t *bytes = malloc((size_t)info.st_size + 1);
    ssize_t got = read(file, bytes, (size_t)info.st_size);
    close(file);
    CHECK(got == info.st_size, "%zd bytes", got);
    *size = (size_t)got;
    return bytes;
}

static inline void save_file(const char *path, const uint8_t *bytes, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t put = file < 0 ? -1 : write(file, bytes, size);
    if (file >= 0)
        close(file);
    CHECK(put == (ssize_t)size, "%zd of %zu bytes", put, size);
}

static inline bool file_is(const char *path, const uint8_t *bytes, size_t size)
{
    size_t there;
    uint8_t *found = load_file(path, &there);
    bool same = there == size && !memcmp(found, bytes, size);
    free(found);
    return same;
}

/* `zstd -t` on the file: 0 if it passes, -1 if the program is not there. */
static inline int zstd_test(const char *path)
{
    char command[256];
    if (system("command -v zstd >/dev/null 2>&1"))
        return -1;
    snprintf(command, sizeof command, "zstd -tq '%s' >/dev/null 2>&1", path);
    return system(command);
}

#endif
