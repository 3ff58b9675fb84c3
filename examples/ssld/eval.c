/* SPDX-License-Identifier: BSD-2-Clause */
/* eval.c - `ssld eval`: top-1, top-5 and loss of a network on labelled images, and how long its forward pass takes. */
#include <inttypes.h>

#include "data.h"
#include "measure.h"

struct eval_values {
    const char *data, *views, *log;
    struct network_values model;
    struct data_values how;
    struct loading_values loading;
    uint64_t limit, view_seed;
    int32_t batch, threads;
};

struct evaluation {
    struct program           *program;
    const struct eval_values *values;
    struct source             source;
    ssld_teacher             *network;
    ssld_model_info           info;
    ssld_loader              *loader;
    ssld_batch               *batch;
    ssld_labels              *logits;
    struct quality            quality;
    struct timings            forward_ms; /* of full batches */
};

static ssld_status open_loader(struct evaluation *e)
{
    ssld_loader_options options;
    ssld_status status;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = e->values->batch;
    options.view_seed = e->values->view_seed;
    loading_apply(&e->values->loading, &options);
    if ((status = ssld_loader_create(e->program->context, e->source.dataset, e->source.spec, &options, &e->loader)) ||
        (status = ssld_batch_create(e->program->context, &e->batch)))
        return status;
    return ssld_labels_create(e->program->context, options.batch, e->info.classes, &e->logits);
}

static ssld_status evaluate(struct evaluation *e)
{
    struct progress progress;
    ssld_status status;
    progress_start(&progress, "evaluating", "images", 0, ssld_dataset_count(e->source.dataset));
    while (!(status = ssld_loader_next(e->loader, e->batch))) {
        double start = seconds_now();
        if ((status = ssld_teacher_predict(e->network, e->batch, e->logits)))
            break;
        if (ssld_batch_count(e->batch) == e->values->batch)
            timings_add(&e->forward_ms, 1e3 * (seconds_now() - start));
        quality_add(&e->quality, e->batch, e->logits);
        progress_update(&progress, e->quality.views, "");
    }
    progress_clear(&progress);
    return status == SSLD_END ? SSLD_OK : status;
}

static void report(struct evaluation *e, double seconds)
{
    char name[256];
    struct log *log = &e->program->log;
    const struct quality *q = &e->quality;
    double labelled = (double)q->labelled, rate = (double)q->views / seconds, forward = timings_median(&e->forward_ms, 0);
    printf("%s: top-1 %.2f %%, top-5 %.2f %%, loss %.4f on %" PRIu64 " images; %.0f images/s",
           network_name(&e->values->model, name, sizeof name),
           100 * (double)q->top1 / labelled, 100 * (double)q->top5 / labelled, q->loss / labelled, q->labelled, rate);
    if (forward > 0)
        printf(", forward %.2f ms for %d", forward, e->values->batch);
    printf(", waiting for images %.0f %%", 100 * ssld_loader_wait_seconds(e->loader) / seconds);
    printf("\n");
    log_begin(log, "done");
    log_count(log, "samples", q->labelled);
    log_real(log, "top1", (double)q->top1 / labelled);
    log_real(log, "top5", (double)q->top5 / labelled);
    log_real(log, "loss", q->loss / labelled);
    log_real(log, "seconds", seconds);
    log_real(log, "images_per_second", rate);
    if (forward > 0)
        log_real(log, "forward_ms", forward);
    log_loader(log, e->loader);
    log_end(log);
}

static int eval_opened(struct evaluation *e)
{
    char name[256];
    ssld_status status = data_open(e->program, e->values->data, e->values->views, e->values->limit, 0, &e->values->how,
                                   &e->source);
    if (status)
        return program_fail(e->program, status);
    if (ssld_dataset_classes(e->source.dataset) == 0)
        return program_complain("%s: no image has a label; top-1 needs data with labels", e->values->data);
    int code = network_open(e->program, &e->source, &e->values->model, e->values->batch, &e->network, &e->info);
    if (code)
        return code;
    if ((status = open_loader(e)))
        return program_fail(e->program, status);
    program_log_start(e->program, "eval");
    log_text(&e->program->log, "model", network_name(&e->values->model, name, sizeof name));
    log_count(&e->program->log, "batch", (uint64_t)e->values->batch);
    log_end(&e->program->log);
    double start = seconds_now();
    status = evaluate(e);
    if (status == SSLD_CANCELLED && program_interrupted())
        return program_complain("interrupted"), EXIT_INTERRUPTED;
    if (status)
        return program_fail(e->program, status);
    if (!e->quality.labelled)
        return program_complain("%s: no image that can be read has a label", e->values->data);
    report(e, seconds_now() - start);
    return report_bad_images(&e->values->loading, e->loader, NULL);
}

static int run(struct program *program, const void *values)
{
    struct evaluation e = { .program = program, .values = values };
    if (!program_open(program, e.values->threads, e.values->log))
        return EXIT_WORK;
    int code = eval_opened(&e);
    ssld_batch_destroy(e.batch);
    ssld_labels_destroy(e.logits);
    ssld_loader_destroy(e.loader);
    ssld_teacher_destroy(e.network);
    source_close(&e.source);
    timings_free(&e.forward_ms);
    return program_close(program, code);
}

#define AT(field) offsetof(struct eval_values, field)

static const struct option options[] = {
    { "model", "FILE.onnx", OPTION_TEXTS, AT(model.paths), .required = true,
      .help = "the network: a teacher or a trained student; given several times: the average of all" },
    { "data", "D", OPTION_TEXT, AT(data), .required = true,
      .help = "labelled images: " DATA_FORMS },
    DATA_OPTIONS(struct eval_values, how),
    LOADING_OPTIONS(struct eval_values, loading),
    { "views", "SPEC", OPTION_TEXT, AT(views), .required = true,
      .help = "how images are prepared, for example \"resize(256) center_crop(224) normalize(imagenet)\"" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "64", .least = 1, .most = 65536, .help = "images at once" },
    NETWORK_OPTIONS(struct eval_values, model),
    { "view-seed", "S", OPTION_COUNT, AT(view_seed), .initial = "0",
      .help = "seed of the views, where they are random" },
    { "limit", "N", OPTION_COUNT, AT(limit), .least = 1, .help = "only the first N images" },
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "compute threads; without it one for each core" },
    { "log", "FILE", OPTION_TEXT, AT(log), .help = "add JSON lines to this file" },
    { .name = NULL }
};

const struct command eval_command = {
    "eval", "measure a network's top-1 on labelled images, and its speed", NULL,
    "  ssld eval --model student.onnx --data list:val_list.txt \\\n"
    "      --views \"resize(256) center_crop(224) normalize(imagenet)\"",
    options, sizeof(struct eval_values), run
};
