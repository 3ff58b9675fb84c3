/* SPDX-License-Identifier: BSD-2-Clause */
/* label.c - `ssld label`: the teacher looks at every view once; its answers go into a store. */
#include <inttypes.h>
#include <math.h>

#include "measure.h"
#include "program.h"

#define COMMIT_SECONDS 10.0
/* A mean entropy above this share of ln(classes) is what an untrained network answers. */
#define GUESSING 0.95

struct label_values {
    const char *data, *teacher, *views, *labels, *log;
    uint64_t limit, seed;
    int32_t view_count, codec, top_k, batch, batch_norm, precision, threads;
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
    uint64_t                   total; /* views to be labelled */
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
    options.codec = l->values->codec;
    options.top_k = l->values->top_k;
    options.batch_norm = l->values->batch_norm;
    options.view_seed = l->values->seed;
    options.view_spec = ssld_view_spec_text(l->source.spec);
    ssld_dataset_fingerprint(l->source.dataset, options.dataset_fingerprint);
    ssld_teacher_fingerprint(l->teacher, options.teacher_fingerprint);
    ssld_status status = ssld_store_writer_open(l->program->context, l->values->labels, &options, &l->writer);
    if (status)
        return status;
    l->total = options.samples * options.views;
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

/* Epoch v of the loader is view v of every sample, in order, in batches that always begin at multiples of the batch size:
 * after an interruption the batch with the first missing view is done again as a whole, so that a teacher with batch
 * statistics sees what it would have seen. The writer leaves views alone that it has. */
static ssld_status label_views(struct labelling *l)
{
    uint32_t view = 0;
    uint64_t sample = 0, count = 0;
    ssld_status status = ssld_store_writer_missing(l->writer, &view, &sample, &count);
    if (status)
        return status == SSLD_END ? SSLD_OK : status;
    if ((status = ssld_loader_seek(l->loader, view, sample / (uint64_t)l->values->batch)))
        return status;
    struct progress progress;
    double committed = seconds_now();
    progress_start(&progress, "labelling", "views", l->before, l->total);
    while (view < (uint32_t)l->values->view_count) {
        status = label_batch(l);
        if (status == SSLD_END) {
            view++;
            status = SSLD_OK;
        }
        if (!status && seconds_now() - committed > COMMIT_SECONDS) {
            status = ssld_store_writer_commit(l->writer);
            committed = seconds_now();
        }
        if (status)
            break;
        progress_update(&progress, ssld_store_writer_records(l->writer), "");
    }
    progress_clear(&progress);
    return status;
}

static void report_teacher(const struct labelling *l)
{
    const struct quality *q = &l->quality;
    double most = log(l->info.classes), entropy = q->entropy / (double)q->views;
    if (q->labelled)
        printf("teacher: top-1 %.2f %% of %" PRIu64 " views with a label, mean entropy %.3f (at most %.3f)\n",
               100.0 * (double)q->top1 / (double)q->labelled, q->labelled, entropy, most);
    else
        printf("teacher: mean entropy %.3f (at most %.3f)\n", entropy, most);
    if (l->info.classes > 1 && entropy > GUESSING * most)
        program_complain("warning: the teacher is guessing: its mean entropy is %.0f %% of ln(%d); is %s trained, and are "
                         "--views what it was trained with?", 100 * entropy / most, l->info.classes, l->values->teacher);
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
    printf("%s: %" PRIu64 " views (%" PRIu64 " new) in %.1f s: %.0f views/s, %.1f bytes a view\n", l->values->labels,
           info.records, added, seconds, (double)added / seconds, bytes);
    if (l->quality.views)
        report_teacher(l);
    log_begin(log, "done");
    log_count(log, "views", info.records);
    log_count(log, "new_views", added);
    log_real(log, "seconds", seconds);
    log_real(log, "views_per_second", (double)added / seconds);
    log_real(log, "bytes_per_view", bytes);
    log_real(log, "teacher_ms", timings_median(&l->teacher_ms, 0));
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
    if (!code) {
        status = report(l, seconds_now() - l->started);
        return status ? program_fail(l->program, status) : 0;
    }
    program_complain("%s%" PRIu64 " of %" PRIu64 " views are in %s; the same command goes on from there",
                     code == EXIT_INTERRUPTED ? "interrupted: " : "", records, l->total, l->values->labels);
    return code;
}

static int label_opened(struct labelling *l)
{
    ssld_status status;
    if ((status = source_open(l->program, l->values->data, l->values->views, l->values->limit, 0, &l->source)) ||
        (status = network_open(l->program, &l->source, l->values->teacher, l->values->batch, l->values->batch_norm,
                               l->values->precision, &l->teacher, &l->info)))
        return program_fail(l->program, status);
    if (!source_fits(&l->source, l->values->teacher, &l->info))
        return EXIT_WORK;
    if ((status = open_loader(l)) || (status = open_writer(l)))
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
      .help = "images: list:FILE, dir:FOLDER or idx:IMAGES[,LABELS]" },
    { "teacher", "FILE", OPTION_TEXT, AT(teacher), .required = true, .help = "the teacher, an ONNX classifier" },
    { "views", "SPEC", OPTION_TEXT, AT(views), .required = true,
      .help = "how images are augmented, for example \"rrc(224) flip(0.5) normalize(imagenet)\"" },
    { "labels", "FILE", OPTION_TEXT, AT(labels), .required = true, .help = "the store to write or to go on with" },
    { "view-count", "V", OPTION_INT, AT(view_count), .initial = "1", .least = 1, .help = "views of each image" },
    { "seed", "S", OPTION_COUNT, AT(seed), .initial = "0",
      .help = "seed of the views; `ssld train --view-seed` must be the same" },
    { "limit", "N", OPTION_COUNT, AT(limit), .least = 1, .help = "only the first N images" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "64", .least = 1, .most = 65536,
      .help = "images the teacher is shown at once" },
    { "batch-norm", "MODE", OPTION_CHOICE, AT(batch_norm), .initial = "eval", .choices = "eval|batch",
      .help = "eval: the teacher's stored statistics; batch: those of each batch, as PaddleClas's online SSLD does" },
    { "codec", "CODEC", OPTION_CHOICE, AT(codec), .initial = "auto", .choices = "auto|dense|topk",
      .help = "dense keeps every class, topk the most probable; auto: dense below 65 classes" },
    { "topk", "K", OPTION_INT, AT(top_k), .least = 1, .help = "classes kept by topk; without it 10" },
    { "precision", "P", OPTION_CHOICE, AT(precision), .initial = "f32", .choices = PRECISIONS, .help = PRECISION_HELP },
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "compute threads; without it one for each core" },
    { "log", "FILE", OPTION_TEXT, AT(log), .help = "add JSON lines to this file" },
    { .name = NULL }
};

const struct command label_command = {
    "label", "show every view of every image to a teacher once and store its answers",
    "If the store exists, labelling goes on where it ended: after Ctrl-C, a crash or a full disk give the\n"
    "same command again. Keep --batch the same when you use --batch-norm batch.\n",
    "  ssld label --data list:train_list.txt --teacher resnet50.onnx --views \"rrc(224) flip(0.5) normalize(imagenet)\" \\\n"
    "      --view-count 10 --labels labels.ssld",
    options, sizeof(struct label_values), run
};
