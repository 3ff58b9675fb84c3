/* SPDX-License-Identifier: BSD-2-Clause */
/* train.c - `ssld train`: epochs of steps, with labels from a store, from a teacher or from the data set. */
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* What an epoch adds up. */
struct epoch {
    uint64_t number, steps; /* counted from 1; steps of this run */
    double   loss, right, rate, started, waited;
    size_t   first_timing;
};

/* What the run adds up beside its steps. */
struct totals {
    double started, evaluating, top1, train_top1;
};

/* -- One step ----------------------------------------------------------------------------------------------------- */

/* The teacher's labels of the batch, from where they come. */
static ssld_status get_labels(struct training *t, const ssld_batch *batch)
{
    return t->store     ? ssld_store_read(t->store, batch, t->labels)
           : t->teacher ? ssld_teacher_predict(t->teacher, batch, t->labels)
                        : SSLD_OK;
}

/* Waiting for the loader is not the step's: it is reported beside it. */
static ssld_status train_step(struct training *t, struct epoch *epoch)
{
    ssld_step step = { .struct_size = sizeof step };
    ssld_status status = ssld_loader_next(t->loader, t->batch);
    if (status)
        return status;
    double start = seconds_now();
    ssld_batch *batch;
    int32_t rows = training_fill(t, &batch);
    if (rows < 0)
        return SSLD_OUT_OF_MEMORY;
    t->rows_filled += (uint64_t)rows;
    if ((status = get_labels(t, batch)))
        return status;
    double labelled = seconds_now();
    if ((status = ssld_student_step(t->student, batch, t->labels, &step)))
        return status;
    timings_add(&t->label_ms, 1e3 * (labelled - start));
    timings_add(&t->step_ms, 1e3 * (seconds_now() - start));
    epoch->steps++;
    epoch->loss += step.loss;
    epoch->right += step.top1;
    epoch->rate = step.learning_rate;
    return SSLD_OK;
}

/* -- Evaluation, checkpoint --------------------------------------------------------------------------------------- */

/* The network as it will be used: the average of its weights if one is kept. */
static ssld_status trained_model(const struct training *t, ssld_model **model)
{
    return t->values->ema_decay > 0 ? ssld_student_get_ema_model(t->student, model) : ssld_student_get_model(t->student, model);
}

static ssld_status evaluate(struct training *t, struct totals *totals)
{
    double start = seconds_now();
    ssld_model *model = NULL;
    ssld_teacher *network = NULL;
    ssld_teacher_options options;
    ssld_evaluation evaluation = { .struct_size = sizeof evaluation };
    ssld_status status;
    ssld_teacher_options_init(&options, sizeof options);
    options.batch = t->values->batch;
    options.precision = precision_of(t->values->teacher.precision);
    if ((status = ssld_loader_seek(t->eval_loader, 0, 0)) || (status = trained_model(t, &model)) ||
        (status = ssld_teacher_create(t->program->context, model, &options, &network)) ||
        (status = ssld_teacher_evaluate(network, t->eval_loader, &evaluation)))
        goto fail;
    totals->top1 = evaluation.top1;
    totals->evaluating += seconds_now() - start;
fail:
    ssld_teacher_destroy(network);
    ssld_model_destroy(model);
    return status;
}

static ssld_status save(struct training *t)
{
    return t->values->checkpoint ? ssld_student_save(t->student, t->values->checkpoint) : SSLD_OK;
}

/* -- Epochs ------------------------------------------------------------------------------------------------------- */

static void report_epoch(struct training *t, const struct epoch *epoch, double seconds, bool evaluated,
                         struct totals *totals)
{
    struct log *log = &t->program->log;
    double steps = (double)epoch->steps, rate = steps * t->values->batch / seconds;
    double step_ms = timings_median(&t->step_ms, epoch->first_timing);
    double waited = ssld_loader_wait_seconds(t->loader) - epoch->waited;
    totals->train_top1 = epoch->right / steps;
    printf("epoch %" PRIu64 "/%d  loss %.4f  rate %.5f  %.0f images/s  reader %.2f ms + step %.2f ms (waiting %.1f %%)",
           epoch->number, t->values->epochs, epoch->loss / steps, epoch->rate, rate, 1e3 * waited / steps, step_ms,
           100 * waited / seconds);
    if (totals->train_top1 >= 0)
        printf("  train top-1 %.2f %%", 100 * totals->train_top1);
    if (evaluated)
        printf("  top-1 %.2f %%", 100 * totals->top1);
    printf("\n");
    fflush(stdout);
    log_begin(log, "epoch");
    log_count(log, "epoch", epoch->number);
    log_real(log, "loss", epoch->loss / steps);
    log_real(log, "learning_rate", epoch->rate);
    log_real(log, "images_per_second", rate);
    log_real(log, "step_ms", step_ms);
    log_real(log, "reader_ms", 1e3 * waited / steps);
    log_real(log, "wait_seconds", waited);
    if (totals->train_top1 >= 0)
        log_real(log, "train_top1", totals->train_top1);
    if (evaluated)
        log_real(log, "top1", totals->top1);
    log_end(log);
}

static ssld_status train_epoch(struct training *t, struct progress *progress, struct totals *totals)
{
    uint64_t done = ssld_student_steps(t->student), batch = (uint64_t)t->values->batch;
    struct epoch epoch = { .number = done / t->steps_epoch + 1, .started = seconds_now(),
                           .waited = ssld_loader_wait_seconds(t->loader), .first_timing = t->step_ms.count };
    ssld_status status;
    while (!(status = train_step(t, &epoch))) {
        char detail[96];
        snprintf(detail, sizeof detail, "epoch %" PRIu64 "/%d  loss %.4f", epoch.number, t->values->epochs,
                 epoch.loss / (double)epoch.steps);
        progress_update(progress, (done + epoch.steps) * batch, detail);
    }
    progress_clear(progress);
    if (status != SSLD_END)
        return status;
    double seconds = seconds_now() - epoch.started;
    bool last = epoch.number == (uint64_t)t->values->epochs;
    bool evaluated = t->eval_loader && (last || epoch.number % (uint64_t)t->values->eval_every == 0);
    /* The checkpoint first: an epoch that is done stays done, whatever evaluation comes to. */
    if ((status = save(t)) || (evaluated && (status = evaluate(t, totals))))
        return status;
    if (epoch.steps)
        report_epoch(t, &epoch, seconds, evaluated, totals);
    return SSLD_OK;
}

static ssld_status train_epochs(struct training *t, struct totals *totals)
{
    struct progress progress;
    uint64_t batch = (uint64_t)t->values->batch;
    ssld_status status = SSLD_OK;
    progress_start(&progress, "training", "images", ssld_student_steps(t->student) * batch, t->steps_total * batch);
    while (!status && ssld_student_steps(t->student) < t->steps_total)
        status = train_epoch(t, &progress, totals);
    if (!status && t->step_ms.count == 0 && t->eval_loader) /* a checkpoint of a run that was complete */
        status = evaluate(t, totals);
    return status;
}

/* -- The run ------------------------------------------------------------------------------------------------------ */

static void report_start(struct training *t)
{
    const struct train_values *values = t->values;
    printf("%s: %" PRId64 " parameters, %d classes, %d x %d x %d; %" PRIu64 " images, %s labels, loss %s\n",
           values->model, t->info.parameters, t->info.classes, t->info.channels, t->info.height, t->info.width,
           ssld_dataset_count(t->source.dataset), t->mode, t->loss);
    fflush(stdout);
    program_log_start(t->program, "train");
    log_text(&t->program->log, "mode", t->mode);
    log_text(&t->program->log, "model", values->model);
    log_text(&t->program->log, "loss", t->loss);
    log_text(&t->program->log, "schedule", values->schedule);
    log_count(&t->program->log, "parameters", (uint64_t)t->info.parameters);
    log_count(&t->program->log, "images", ssld_dataset_count(t->source.dataset));
    log_count(&t->program->log, "batch", (uint64_t)values->batch);
    log_count(&t->program->log, "epochs", (uint64_t)values->epochs);
    log_count(&t->program->log, "steps", t->steps_total);
    log_count(&t->program->log, "views", t->view_count);
    log_count(&t->program->log, "seed", values->seed);
    log_end(&t->program->log);
}

static void report_end(struct training *t, const struct totals *totals)
{
    struct log *log = &t->program->log;
    double seconds = seconds_now() - totals->started - totals->evaluating, step_ms = timings_median(&t->step_ms, 0);
    double label_ms = timings_median(&t->label_ms, 0), waited = ssld_loader_wait_seconds(t->loader);
    double rate = (double)t->step_ms.count * t->values->batch / seconds;
    printf("%s: %zu steps in %.1f s: %.0f images/s, step %.2f ms of which labels %.2f ms, waiting for images %.1f s (%.1f %%)",
           t->mode, t->step_ms.count, seconds, rate, step_ms, label_ms, waited, 100 * waited / seconds);
    if (t->eval_loader)
        printf(", top-1 %.2f %%", 100 * totals->top1);
    printf("\n");
    if (t->rows_filled)
        printf("%" PRIu64 " of %" PRIu64 " rows were images that stood twice in their batch, in the place of bad ones\n",
               t->rows_filled, (uint64_t)t->step_ms.count * (uint64_t)t->values->batch);
    log_begin(log, "done");
    log_text(log, "mode", t->mode);
    log_count(log, "steps", t->step_ms.count);
    log_real(log, "seconds", seconds);
    log_real(log, "evaluation_seconds", totals->evaluating);
    log_real(log, "images_per_second", rate);
    log_real(log, "step_ms", step_ms);
    log_real(log, "label_ms", label_ms);
    log_loader(log, t->loader);
    log_count(log, "rows_filled", t->rows_filled);
    if (t->eval_loader)
        log_real(log, "top1", totals->top1);
    log_end(log);
}

/* After a signal: the steps done so far are kept if there is a checkpoint. */
static int interrupted(struct training *t)
{
    uint64_t steps = ssld_student_steps(t->student);
    ssld_context_resume(t->program->context);
    ssld_status status = save(t);
    if (status)
        return program_fail(t->program, status);
    if (t->values->checkpoint)
        program_complain("interrupted after step %" PRIu64 " of %" PRIu64
                         "; the same command with --resume goes on from %s", steps, t->steps_total, t->values->checkpoint);
    else
        program_complain("interrupted after step %" PRIu64 " of %" PRIu64
                         "; with --checkpoint FILE the work would have been kept", steps, t->steps_total);
    return EXIT_INTERRUPTED;
}

static ssld_status export(const struct training *t)
{
    ssld_model *model = NULL;
    ssld_status status = trained_model(t, &model);
    if (!status)
        status = ssld_model_save(model, t->values->out);
    ssld_model_destroy(model);
    return status;
}

/* The step that failed left no trace, and the checkpoint is older. */
static int stopped(struct training *t, ssld_status status)
{
    int code = program_fail(t->program, status);
    uint64_t steps = ssld_student_steps(t->student), kept = steps / t->steps_epoch * t->steps_epoch;
    if (status == SSLD_NOT_FINITE && t->values->checkpoint && kept)
        program_complain("stopped after step %" PRIu64 " of %" PRIu64 "; %s has the state after step %" PRIu64, steps,
                         t->steps_total, t->values->checkpoint, kept);
    return code;
}

static int train_opened(struct training *t)
{
    struct totals totals = { .started = seconds_now(), .top1 = -1, .train_top1 = -1 };
    report_start(t);
    ssld_status status = train_epochs(t, &totals);
    int listed = report_bad_images(&t->values->loading, t->loader, t->eval_loader);
    if (status == SSLD_CANCELLED && program_interrupted())
        return interrupted(t);
    if (status)
        return stopped(t, status);
    report_end(t, &totals);
    if (t->values->out && (status = export(t)))
        return program_fail(t->program, status);
    return listed;
}

static int run(struct program *program, const void *values)
{
    struct training t;
    memset(&t, 0, sizeof t);
    t.program = program;
    t.values = values;
    if (!program_open(program, t.values->threads, t.values->log))
        return EXIT_WORK;
    int code = training_open(&t);
    if (!code)
        code = train_opened(&t);
    training_close(&t);
    return program_close(program, code);
}

/* -- Its options -------------------------------------------------------------------------------------------------- */

#define AT(field) offsetof(struct train_values, field)

static const struct option options[] = {
    { "data", "D", OPTION_TEXT, AT(data), .required = true,
      .help = "images: " DATA_FORMS },
    DATA_OPTIONS(struct train_values, how),
    LOADING_OPTIONS(struct train_values, loading),
    { "views", "SPEC", OPTION_TEXT, AT(views), .required = true,
      .help = "how images are augmented; with --labels the very spec they were made with" },
    { "model", "NAME|FILE.onnx", OPTION_TEXT, AT(model), .required = true,
      .help = "the student: a network by name, fresh, or an ONNX file with its weights" },
    { "labels", "FILE", OPTION_TEXTS, AT(labels),
      .help = "offline: read the teacher's answers from this store; given several times: files of one labelling" },
    { "teacher", "FILE.onnx", OPTION_TEXTS, AT(teacher.paths),
      .help = "online: run this teacher in every step; given several times: the average of all" },
    NETWORK_OPTIONS(struct train_values, teacher),
    CHECK_OPTION(struct train_values, teacher),
    { "loss", "TEXT", OPTION_TEXT, AT(loss),
      .help = "for example \"sym_kl + 0.5*hard_ce(smoothing=0.1)\"; without it sym_kl, and hard_ce if there is "
              "neither --labels nor --teacher" },
    { "epochs", "E", OPTION_INT, AT(epochs), .initial = "10", .least = 1, .help = "how often every image is seen" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "64", .least = 1, .most = 65536, .help = "images in a step" },
    { "accumulate", "K", OPTION_INT, AT(accumulate), .least = 1, .most = 65536,
      .help = "work through a step in K parts, which takes the memory of one; batch norm sees each part by itself" },
    { "lr", "R", OPTION_REAL, AT(learning_rate), .least = 1e-9, .most = 1e6,
      .help = "learning rate at its peak; without it 0.1, for adamw 0.001" },
    { "optimizer", "O", OPTION_CHOICE, AT(optimizer), .initial = "sgd", .choices = "sgd|adamw|lars",
      .help = "sgd with momentum, adamw, or lars for very large batches" },
    { "momentum", "M", OPTION_REAL, AT(momentum), .most = 0.9999, .help = "of sgd and lars; without it 0.9" },
    { "nesterov", NULL, OPTION_FLAG, AT(nesterov), .help = "sgd with Nesterov's momentum" },
    { "l2", "F", OPTION_REAL, AT(l2), .most = 1,
      .help = "of sgd and lars: L2 penalty on weights, not on batch norm; without it 0.00003" },
    { "weight-decay", "F", OPTION_REAL, AT(weight_decay), .most = 1, .help = "of adamw; without it 0.01" },
    { "beta1", "B", OPTION_REAL, AT(beta1), .most = 0.9999, .help = "of adamw; without it 0.9" },
    { "beta2", "B", OPTION_REAL, AT(beta2), .least = 0.1, .most = 0.999999, .help = "of adamw; without it 0.999" },
    { "epsilon", "E", OPTION_REAL, AT(epsilon), .least = 1e-30, .most = 1,
      .help = "of adamw, without it 0.00000001; of lars, without it 0" },
    { "trust", "T", OPTION_REAL, AT(trust), .least = 1e-9, .most = 1, .help = "of lars: trust coefficient; without it 0.001" },
    { "groups", "TEXT", OPTION_TEXT, AT(groups),
      .help = "factors for parameters by name: \"fc.*: rate=10; blocks2.*: rate=0.1; *.bn.*: decay=0\"" },
    { "clip-norm", "N", OPTION_REAL, AT(clip_norm), .least = 1e-9, .most = 1e9,
      .help = "shorten the gradient of all parameters together to this" },
    { "clip-value", "V", OPTION_REAL, AT(clip_value), .least = 1e-9, .most = 1e9,
      .help = "bound every value of the gradient" },
    { "ema-decay", "D", OPTION_REAL, AT(ema_decay), .least = 1e-6, .most = 0.999999,
      .help = "keep an average of the weights, for example 0.9999: it is what is evaluated and written" },
    { "warmup-epochs", "E", OPTION_REAL, AT(warmup_epochs), .initial = "0", .most = 1e6,
      .help = "epochs over which the rate rises from 0" },
    { "schedule", "S", OPTION_TEXT, AT(schedule), .initial = "cosine",
      .help = "learning rate after the warmup: " SCHEDULE_FORMS },
    { "view-count", "V", OPTION_INT, AT(view_count), .least = 1,
      .help = "repeat the first V views of each image; without it as many as the store has, and new views every "
              "epoch if there is no store" },
    { "view-seed", "S", OPTION_COUNT, AT(view_seed), .initial = "0",
      .help = "seed of the views: `ssld label --seed`" },
    { "seed", "S", OPTION_COUNT, AT(seed), .initial = "0", .help = "seed of weights, order and dropout" },
    { "classes", "C", OPTION_INT, AT(classes), .least = 1,
      .help = "classes; without it those of labels, teacher or data" },
    { "variant", "V", OPTION_CHOICE, AT(variant), .initial = "standard", .choices = "standard|small",
      .help = "small: strides for images of 28 to 64 pixels" },
    { "size", "PIXELS", OPTION_INT, AT(size), .least = 1, .most = 65536,
      .help = "height and width of the network's input; without it those of the views" },
    { "channels", "N", OPTION_INT, AT(channels), .least = 1, .most = 3,
      .help = "input channels; without it those of the views" },
    { "dropout", "R", OPTION_REAL, AT(dropout), .most = 0.99,
      .help = "dropout before the classifier; without it the network's own" },
    { "eval-data", "D", OPTION_TEXT, AT(eval_data), .help = "images to measure top-1 on; needs --eval-views" },
    { "eval-views", "SPEC", OPTION_TEXT, AT(eval_views), .help = "how they are prepared: no randomness here" },
    { "eval-every", "E", OPTION_INT, AT(eval_every), .initial = "1", .least = 1,
      .help = "evaluate after every E epochs, and at the end" },
    { "out", "FILE.onnx", OPTION_TEXT, AT(out), .help = "write the trained student here" },
    { "checkpoint", "FILE", OPTION_TEXT, AT(checkpoint),
      .help = "save the run here after every epoch and when interrupted" },
    { "resume", NULL, OPTION_FLAG, AT(resume), .help = "go on from the checkpoint if it exists" },
    { "limit", "N", OPTION_COUNT, AT(limit), .least = 1, .help = "only the first N images" },
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "compute threads; without it one for each core" },
    { "log", "FILE", OPTION_TEXT, AT(log), .help = "add JSON lines to this file" },
    { .name = NULL }
};

const struct command train_command = {
    "train", "train a student on stored labels, with a teacher, or on the data's own labels",
    "With --labels it is offline distillation, with --teacher online distillation, with neither ordinary\n"
    "training on hard labels. The same seeds give the same start and the same images in all three.\n"
    "\"reader\" in an epoch's line is what a step waits for its images, beside its own time.\n",
    "  ssld train --data list:train_list.txt --views \"rrc(224) flip(0.5) normalize(imagenet)\" --labels labels.ssld \\\n"
    "      --model PPLCNet_x1_0 --epochs 100 --batch 128 --lr 0.1 --warmup-epochs 5 --out student.onnx",
    options, sizeof(struct train_values), run
};
