/* SPDX-License-Identifier: BSD-2-Clause */
/* label.c - `ssld label`: the teacher looks at every view once; its answers go into a store. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "data.h"
#include "measure.h"
#include "store_output.h"

#define COMMIT_SECONDS 10.0
/* A mean entropy above this share of ln(classes) is what an untrained network answers. */
#define GUESSING 0.95

struct label_values {
    const char *data, *views, *labels, *shard, *log;
    struct network_values teacher;
    struct coding coding;
    struct data_values how;
    struct loading_values loading;
    uint64_t limit, seed;
    int32_t view_count, batch, threads;
};

struct labelling {
    struct program            *program;
    const struct label_values *values;
    struct source              source;
    ssld_teacher              *teacher;
    ssld_model_info            info;
    ssld_store_writer         *writer;
    ssld_loader               *loader;
    ssld_batch                *batch;
    ssld_labels               *labels;
    uint64_t                   first_batch, end_batch; /* of each view: those of the shard */
    uint64_t                   total;  /* views to be labelled */
    uint64_t                   before; /* views that were there already */
    struct quality             quality;
    struct timings             teacher_ms;
    double                     started;
};

static ssld_status open_writer(struct labelling *l)
{
    ssld_store_writer_options options;
    ssld_store_writer_options_init(&options, sizeof options);
    options.mode = SSLD_STORE_RESUME;
    options.classes = l->info.classes;
    options.samples = ssld_dataset_count(l->source.dataset);
    options.views = (uint32_t)l->values->view_count;
    options.batch_norm = l->values->teacher.batch_norm;
    options.view_seed = l->values->seed;
    options.view_spec = ssld_view_spec_text(l->source.spec);
    ssld_dataset_fingerprint(l->source.dataset, options.dataset_fingerprint);
    ssld_teacher_fingerprint(l->teacher, options.teacher_fingerprint);
    coding_apply(&l->values->coding, &options);
    ssld_status status = ssld_store_writer_open(l->program->context, l->values->labels, &options, &l->writer);
    if (status)
        return status;
    uint64_t batch = (uint64_t)l->values->batch, end = l->end_batch * batch;
    l->total = ((end < options.samples ? end : options.samples) - l->first_batch * batch) * options.views;
    l->before = ssld_store_writer_records(l->writer);
    return SSLD_OK;
}

static ssld_status open_loader(struct labelling *l)
{
    ssld_loader_options options;
    ssld_status status;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = l->values->batch;
    options.views = (uint32_t)l->values->view_count;
    options.view_seed = l->values->seed;
    loading_apply(&l->values->loading, &options);
    if ((status = ssld_loader_create(l->program->context, l->source.dataset, l->source.spec, &options, &l->loader)) ||
        (status = ssld_batch_create(l->program->context, &l->batch)))
        return status;
    return ssld_labels_create(l->program->context, options.batch, l->info.classes, &l->labels);
}

/* One batch: pixels, logits, records. */
static ssld_status label_batch(struct labelling *l)
{
    ssld_status status = ssld_loader_next(l->loader, l->batch);
    if (status)
        return status;
    double start = seconds_now();
    if ((status = ssld_teacher_predict(l->teacher, l->batch, l->labels)))
        return status;
    if (ssld_batch_count(l->batch) == l->values->batch)
        timings_add(&l->teacher_ms, 1e3 * (seconds_now() - start));
    quality_add(&l->quality, l->batch, l->labels);
    return ssld_store_writer_append(l->writer, l->batch, l->labels);
}

/* The first missing views of the shard from a batch of a view on: where they are, and the batch behind them. SSLD_END if none
 * is missing. */
static ssld_status find_missing(const struct labelling *l, uint32_t *view, uint64_t *batch, uint64_t *end)
{
    uint64_t size = (uint64_t)l->values->batch, sample = *batch * size, count;
    for (;;) {
        ssld_status status = ssld_store_writer_missing(l->writer, view, &sample, &count);
        if (status)
            return status;
        *batch = sample / size;
        *end = (sample + count + size - 1) / size;
        *end = *end < l->end_batch ? *end : l->end_batch;
        if (*batch >= l->first_batch && *batch < l->end_batch)
            return SSLD_OK;
        *view += *batch >= l->end_batch;
        sample = l->first_batch * size;
    }
}

/* Label batches of a view, from where the loader is up to `end`; every now and then what was done is made durable. Batches of
 * which no image can be read are passed over, perhaps up to the end of the view (SSLD_END). */
static ssld_status label_view(struct labelling *l, uint32_t view, uint64_t end, double *committed, struct progress *progress)
{
    uint64_t epoch = view, batch = 0;
    ssld_status status = SSLD_OK;
    ssld_loader_position(l->loader, &epoch, &batch);
    while (!status && epoch == view && batch < end) {
        status = label_batch(l);
        if (!status && seconds_now() - *committed > COMMIT_SECONDS) {
            status = ssld_store_writer_commit(l->writer);
            *committed = seconds_now();
        }
        progress_update(progress, ssld_store_writer_records(l->writer), "");
        ssld_loader_position(l->loader, &epoch, &batch);
    }
    return status;
}

/* Epoch v of the loader is view v of every sample, in order, in batches that always begin at multiples of the batch size:
 * after an interruption the batch with the first missing view is done again as a whole, so that a teacher with batch
 * statistics sees what it would have seen. The writer leaves views alone that it has. Views of images that were left out stay
 * missing; what has been tried once is behind the place from which the next missing ones are looked for. */
static ssld_status label_views(struct labelling *l)
{
    uint32_t view = 0;
    uint64_t batch = l->first_batch, end = 0, epoch, number;
    double committed = seconds_now();
    struct progress progress;
    ssld_status status;
    progress_start(&progress, "labelling", "views", l->before, l->total);
    while (!(status = find_missing(l, &view, &batch, &end))) {
        ssld_loader_position(l->loader, &epoch, &number);
        if (number == ssld_loader_batches(l->loader) && (status = ssld_loader_next(l->loader, l->batch)) != SSLD_END)
            break;
        ssld_loader_position(l->loader, &epoch, &number);
        if ((epoch != view || number != batch) && (status = ssld_loader_seek(l->loader, view, batch)))
            break;
        if ((status = label_view(l, view, end, &committed, &progress)) && status != SSLD_END)
            break;
        view += end == l->end_batch;
        batch = end == l->end_batch ? l->first_batch : end;
    }
    progress_clear(&progress);
    return status == SSLD_END ? SSLD_OK : status;
}

/* "2/4": the second of four parts of every view, as equal as whole batches allow. The parts' files together are the store. */
static bool choose_batches(struct labelling *l)
{
    uint64_t batches = ssld_loader_batches(l->loader), part = 1, parts = 1;
    const char *text = l->values->shard;
    char *end = NULL;
    if (text) {
        part = strtoull(text, &end, 10);
        parts = *end == '/' ? strtoull(end + 1, &end, 10) : 0;
        if (*end || part < 1 || part > parts || parts > batches) {
            program_complain("--shard: '%s' is not I/N with I from 1 to N, and N at most the %" PRIu64 " batches of a view", text,
                             batches);
            return false;
        }
    }
    l->first_batch = batches * (part - 1) / parts;
    l->end_batch = batches * part / parts;
    return true;
}

static void report_teacher(const struct labelling *l)
{
    char name[256];
    const struct quality *q = &l->quality;
    double most = log(l->info.classes), entropy = q->entropy / (double)q->views;
    if (q->labelled)
        printf("teacher: top-1 %.2f %% of %" PRIu64 " views with a label, mean entropy %.3f (at most %.3f)\n",
               100.0 * (double)q->top1 / (double)q->labelled, q->labelled, entropy, most);
    else
        printf("teacher: mean entropy %.3f (at most %.3f)\n", entropy, most);
    if (l->info.classes > 1 && entropy > GUESSING * most)
        program_complain("warning: the teacher is guessing: its mean entropy is %.0f %% of ln(%d); is %s trained, and are "
                         "--views what it was trained with?", 100 * entropy / most, l->info.classes,
                         network_name(&l->values->teacher, name, sizeof name));
}

/* The store is closed by now: its size is final. */
static ssld_status report(struct labelling *l, double seconds)
{
    struct log *log = &l->program->log;
    ssld_store *store = NULL;
    ssld_store_info info = { .struct_size = sizeof info };
    ssld_status status = ssld_store_open(l->program->context, l->values->labels, NULL, &store);
    if (!status)
        status = ssld_store_get_info(store, &info);
    ssld_store_close(store);
    if (status)
        return status;
    uint64_t added = info.records - l->before;
    double bytes = info.records ? (double)info.file_bytes / (double)info.records : 0;
    printf("%s: %" PRIu64 " views (%" PRIu64 " new) in %.1f s: %.0f views/s, %.1f bytes a view, waiting for images %.0f %%\n",
           l->values->labels, info.records, added, seconds, (double)added / seconds, bytes,
           100 * ssld_loader_wait_seconds(l->loader) / seconds);
    if (info.records < l->total)
        printf("%s: %" PRIu64 " views of images that cannot be read%s have no label; train with --bad-images skip\n",
               l->values->labels, l->total - info.records,
               ssld_view_spec_mixes(l->source.spec) ? ", or are mixed with one," : "");
    if (l->quality.views)
        report_teacher(l);
    log_begin(log, "done");
    log_count(log, "views", info.records);
    log_count(log, "new_views", added);
    log_real(log, "seconds", seconds);
    log_real(log, "views_per_second", (double)added / seconds);
    log_real(log, "bytes_per_view", bytes);
    log_real(log, "teacher_ms", timings_median(&l->teacher_ms, 0));
    log_count(log, "missing_views", l->total - info.records);
    log_loader(log, l->loader);
    if (l->quality.labelled)
        log_real(log, "top1", (double)l->quality.top1 / (double)l->quality.labelled);
    if (l->quality.views)
        log_real(log, "entropy", l->quality.entropy / (double)l->quality.views);
    log_end(log);
    return SSLD_OK;
}

/* Whatever ended the work, what was labelled is made durable, and the text says how to go on. */
static int finish(struct labelling *l, ssld_status work)
{
    uint64_t records = ssld_store_writer_records(l->writer);
    int code = work ? program_fail(l->program, work) : 0;
    ssld_context_resume(l->program->context);
    ssld_status status = ssld_store_writer_close(l->writer);
    l->writer = NULL;
    if (status)
        return program_fail(l->program, status);
    int listed = report_bad_images(&l->values->loading, l->loader, NULL);
    if (!code) {
        status = report(l, seconds_now() - l->started);
        return status ? program_fail(l->program, status) : listed;
    }
    program_complain("%s%" PRIu64 " of %" PRIu64 " views are in %s; the same command goes on from there",
                     code == EXIT_INTERRUPTED ? "interrupted: " : "", records, l->total, l->values->labels);
    return code;
}

static int label_opened(struct labelling *l)
{
    const struct label_values *values = l->values;
    int code;
    ssld_status status = data_open(l->program, values->data, values->views, values->limit, 0, &values->how, &l->source);
    if (status)
        return program_fail(l->program, status);
    if ((code = network_open(l->program, &l->source, &values->teacher, values->batch, &l->teacher, &l->info)) ||
        (code = network_check(l->program, &l->source, &values->teacher, values->batch, values->seed, l->teacher)))
        return code;
    if ((status = open_loader(l)))
        return program_fail(l->program, status);
    if (!choose_batches(l))
        return EXIT_USAGE;
    if ((status = open_writer(l)))
        return program_fail(l->program, status);
    program_log_start(l->program, "label");
    log_count(&l->program->log, "views", l->total);
    log_count(&l->program->log, "stored", l->before);
    log_end(&l->program->log);
    if (l->before)
        printf("%s: %" PRIu64 " of %" PRIu64 " views are there already\n", l->values->labels, l->before, l->total);
    return finish(l, label_views(l));
}

static int run(struct program *program, const void *given)
{
    const struct label_values *values = given;
    struct labelling l = { .program = program, .values = values, .started = seconds_now() };
    if (!coding_makes_sense(&values->coding))
        return EXIT_USAGE;
    if (!program_open(program, values->threads, values->log))
        return EXIT_WORK;
    int code = label_opened(&l);
    ssld_store_writer_abandon(l.writer);
    ssld_batch_destroy(l.batch);
    ssld_labels_destroy(l.labels);
    ssld_loader_destroy(l.loader);
    ssld_teacher_destroy(l.teacher);
    source_close(&l.source);
    timings_free(&l.teacher_ms);
    return program_close(program, code);
}

#define AT(field) offsetof(struct label_values, field)

static const struct option options[] = {
    { "data", "D", OPTION_TEXT, AT(data), .required = true,
      .help = "images: " DATA_FORMS },
    DATA_OPTIONS(struct label_values, how),
    LOADING_OPTIONS(struct label_values, loading),
    { "teacher", "FILE", OPTION_TEXTS, AT(teacher.paths), .required = true,
      .help = "the teacher, an ONNX classifier; given several times: the average of all" },
    { "views", "SPEC", OPTION_TEXT, AT(views), .required = true,
      .help = "how images are augmented, for example \"rrc(224) flip(0.5) normalize(imagenet)\"" },
    { "labels", "FILE", OPTION_TEXT, AT(labels), .required = true, .help = "the store to write or to go on with" },
    { "view-count", "V", OPTION_INT, AT(view_count), .initial = "1", .least = 1, .help = "views of each image" },
    { "seed", "S", OPTION_COUNT, AT(seed), .initial = "0",
      .help = "seed of the views; `ssld train --view-seed` must be the same" },
    { "limit", "N", OPTION_COUNT, AT(limit), .least = 1, .help = "only the first N images" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "64", .least = 1, .most = 65536,
      .help = "images the teacher is shown at once" },
    NETWORK_OPTIONS(struct label_values, teacher),
    CHECK_OPTION(struct label_values, teacher),
    { "shard", "I/N", OPTION_TEXT, AT(shard),
      .help = "label only the I-th of N parts of each view, into a file of its own: N processes share the work" },
    CODING_OPTIONS(struct label_values),
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "compute threads; without it one for each core" },
    { "log", "FILE", OPTION_TEXT, AT(log), .help = "add JSON lines to this file" },
    { .name = NULL }
};

const struct command label_command = {
    "label", "show every view of every image to a teacher once and store its answers",
    "If the store exists, labelling goes on where it ended: after Ctrl-C, a crash or a full disk give the\n"
    "same command again. Keep --batch the same when you use --batch-norm batch. With --shard 1/4 to\n"
    "--shard 4/4 four processes or machines label a quarter each, all with the same --batch; train with the\n"
    "four files together, or with what `ssld store merge` makes of them.\n",
    "  ssld label --data list:train_list.txt --teacher resnet50.onnx --views \"rrc(224) flip(0.5) normalize(imagenet)\" \\\n"
    "      --view-count 10 --labels labels.ssld",
    options, sizeof(struct label_values), run
};
