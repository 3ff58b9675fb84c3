/* SPDX-License-Identifier: BSD-2-Clause */
/* store_check.c - `ssld store check`: the teacher looks at some of the views again. Do its answers agree with the labels?
 *
 * The answers are coded as the store codes, with what it has learned, so that what a codec leaves out is left out of both;
 * what remains is a difference of teacher, views or data. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data.h"
#include "fidelity.h"
#include "measure.h"
#include "store_output.h"

/* A view agrees if no event's probability differs by more than this. The same teacher on another CPU, or in bf16,
 * moves logits by up to 1 % and codes by a step: 0.02 at most. Labels of other views or teachers differ by 0.5 and
 * more. */
#define AGREES 0.05
/* Shares of agreeing views: below the first the labels are not this teacher's of these views. */
#define MOSTLY 0.90
#define WHOLLY 0.99

struct check_values {
    struct texts          paths;
    const char           *data;
    struct data_values    how;
    struct network_values teacher;
    uint64_t              views, seed;
    int32_t               batch, threads;
    bool                  json;
};

struct checking {
    struct program            *program;
    const struct check_values *values;
    struct network_values      teacher_values;
    struct source              source;
    ssld_teacher              *teacher;
    ssld_model_info            model;
    ssld_store                *store, *again; /* the labels, and the answers coded in the same way */
    ssld_store_info            info;
    ssld_store_writer         *writer;
    char                      *path;  /* of `again` */
    ssld_loader               *loader;
    ssld_batch                *batch;
    ssld_labels               *answers, *stored, *coded;
    double                    *rows;  /* 4 x classes */
    uint64_t                   absent, top1;
    struct timings             kl, difference, elsewhere; /* a number a view */
};

enum { STORED, CODED, ANSWER, PREVIOUS };

static double *row_of(const struct checking *c, int which)
{
    return c->rows + (size_t)which * (size_t)c->info.classes;
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

/* The store says how views are drawn, of how many images, and how the teacher's batch norm ran; then it must say that
 * data set and teacher are those. */
static int open_all(struct checking *c)
{
    const struct check_values *values = c->values;
    uint8_t dataset[16], teacher[16];
    ssld_store_options options;
    ssld_status status = stores_open(c->program, &values->paths, NULL, &c->store, &c->info);
    if (status || (status = data_open(c->program, values->data, ssld_store_view_spec(c->store), c->info.samples, 0, &values->how,
                                      &c->source)))
        return program_fail(c->program, status);
    c->teacher_values = values->teacher;
    c->teacher_values.batch_norm = c->info.batch_norm == SSLD_BATCH_NORM_BATCH;
    int code = network_open(c->program, &c->source, &c->teacher_values, values->batch, &c->teacher, &c->model);
    if (code)
        return code;
    ssld_store_close(c->store);
    c->store = NULL;
    ssld_store_options_init(&options, sizeof options);
    ssld_dataset_fingerprint(c->source.dataset, dataset);
    ssld_teacher_fingerprint(c->teacher, teacher);
    options.classes = c->model.classes;
    options.dataset_fingerprint = dataset;
    options.teacher_fingerprint = teacher;
    options.missing = SSLD_STORE_SKIP;
    status = stores_open(c->program, &values->paths, &options, &c->store, &c->info);
    return status ? program_fail(c->program, status) : 0;
}

static ssld_status make_loader(struct checking *c)
{
    ssld_loader_options options;
    ssld_context *context = c->program->context;
    ssld_status status;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = c->values->batch;
    options.views = c->info.views;
    options.view_seed = c->info.view_seed;
    options.prefetch = 1; /* the next batch is somewhere else */
    if ((status = ssld_loader_create(context, c->source.dataset, c->source.spec, &options, &c->loader)) ||
        (status = ssld_batch_create(context, &c->batch)) ||
        (status = ssld_labels_create(context, options.batch, c->info.classes, &c->answers)) ||
        (status = ssld_labels_create(context, options.batch, c->info.classes, &c->stored)))
        return status;
    return ssld_labels_create(context, options.batch, c->info.classes, &c->coded);
}

/* A store of a batch's answers, coded as the labels are. */
static ssld_status code_answers(struct checking *c)
{
    ssld_store_writer_options options;
    ssld_store_writer_options_init(&options, sizeof options);
    ssld_store_close(c->again);
    c->again = NULL;
    unlink(c->path);
    ssld_status status = ssld_store_writer_options_like(c->store, &options);
    if (!status && c->info.models)
        options.model_from = c->values->paths.items[0];
    if (!status)
        status = ssld_store_writer_open(c->program->context, c->path, &options, &c->writer);
    if (!status)
        status = ssld_store_writer_append(c->writer, c->batch, c->answers);
    if (!status) {
        status = ssld_store_writer_close(c->writer);
        c->writer = NULL;
    }
    if (!status)
        status = ssld_store_open(c->program->context, c->path, NULL, &c->again);
    return status ? status : ssld_store_read(c->again, c->batch, c->coded);
}

/* -- Comparing ---------------------------------------------------------------------------------------------------- */

static int32_t largest(const double *row, int32_t classes)
{
    int32_t best = 0;
    for (int32_t c = 1; c < classes; c++)
        best = row[c] > row[best] ? c : best;
    return best;
}

/* Labels that were committed before the codec had learned are dense: those are compared with the answer itself. */
static void compare_row(struct checking *c, int32_t row)
{
    int32_t classes = c->info.classes;
    size_t offset = (size_t)row * (size_t)classes;
    double *stored = row_of(c, STORED), *coded = row_of(c, CODED), *answer = row_of(c, ANSWER),
           *previous = row_of(c, PREVIOUS);
    softmax_of(ssld_labels_logits(c->answers) + offset, classes, answer);
    for (int32_t k = 0; k < classes; k++) {
        stored[k] = (double)ssld_labels_probabilities(c->stored)[offset + (size_t)k];
        coded[k] = (double)ssld_labels_probabilities(c->coded)[offset + (size_t)k];
    }
    timings_add(&c->difference,
                fmin(total_variation(stored, coded, classes), total_variation(stored, answer, classes)));
    timings_add(&c->kl, kl_divergence(answer, stored, classes));
    if (c->kl.count > 1)
        timings_add(&c->elsewhere, total_variation(stored, previous, classes));
    c->top1 += stored[largest(answer, classes)] >= stored[largest(stored, classes)]; /* codecs make near ones equal */
    memcpy(previous, answer, (size_t)classes * sizeof *answer);
}

static ssld_status check_batch(struct checking *c, uint32_t view, uint64_t number)
{
    int32_t outcomes[4096];
    ssld_status status;
    if ((status = ssld_loader_seek(c->loader, view, number)) || (status = ssld_loader_next(c->loader, c->batch)) ||
        (status = ssld_teacher_predict(c->teacher, c->batch, c->answers)))
        return status;
    int32_t count = ssld_batch_count(c->batch);
    status = ssld_store_read_outcomes(c->store, count, ssld_batch_samples(c->batch), ssld_batch_views(c->batch),
                                      c->stored, outcomes);
    if (!status)
        status = code_answers(c);
    for (int32_t i = 0; !status && i < count; i++)
        if (outcomes[i] == SSLD_ROW_STORED)
            compare_row(c, i);
        else
            c->absent++;
    return status;
}

/* Batches at places that the seed draws, until enough views were compared or as many places were tried as there are. */
static ssld_status check_views(struct checking *c)
{
    uint64_t batches = ssld_loader_batches(c->loader), places = batches * c->info.views;
    uint64_t tries = places < 4 * c->values->views ? places : 4 * c->values->views;
    ssld_status status = SSLD_OK;
    struct progress progress;
    progress_start(&progress, "checking", "views", 0, c->values->views);
    for (uint64_t i = 0; !status && i < tries && c->kl.count < c->values->views; i++) {
        uint32_t counter[4] = { (uint32_t)i, (uint32_t)(i >> 32), 0, 0 }, words[4];
        uint32_t key[2] = { (uint32_t)c->values->seed, (uint32_t)(c->values->seed >> 32) };
        ssld_philox4x32(counter, key, words);
        uint64_t place = ((uint64_t)words[0] << 32 | words[1]) % places;
        if (places <= tries) /* a small store: all of it, in order */
            place = i;
        status = check_batch(c, (uint32_t)(place / batches), place % batches);
        progress_update(&progress, c->kl.count < c->values->views ? c->kl.count : c->values->views, "");
    }
    progress_clear(&progress);
    return status;
}

/* -- The verdict -------------------------------------------------------------------------------------------------- */

struct verdict {
    const char *name, *text;
    bool        good;
};

static double share_that_agrees(const struct checking *c)
{
    size_t agreeing = 0;
    for (size_t i = 0; i < c->difference.count; i++)
        agreeing += c->difference.values[i] <= AGREES;
    return (double)agreeing / (double)c->difference.count;
}

static struct verdict judge(const struct checking *c)
{
    static const struct verdict verdicts[] = {
        { "agree", "the labels are this teacher's of these views", true },
        { "mostly", "most labels are this teacher's, but not all: some images may have changed", false },
        { "near", "the labels are of these views, but not quite this teacher's answers: is its precision, or with "
                  "--batch-norm batch its --batch, that of labelling?", false },
        { "differ", "the labels are not this teacher's of these views: have images changed since?", false },
    };
    double share = share_that_agrees(c), elsewhere = timings_median(&c->elsewhere, 0);
    bool near = timings_median(&c->difference, 0) < elsewhere / 2;
    return verdicts[share >= WHOLLY ? 0 : share >= MOSTLY ? 1 : near ? 2 : 3];
}

static double mean(const struct timings *values)
{
    double sum = 0;
    for (size_t i = 0; i < values->count; i++)
        sum += values->values[i];
    return values->count ? sum / (double)values->count : 0;
}

static double most(const struct timings *values)
{
    double largest_value = 0;
    for (size_t i = 0; i < values->count; i++)
        largest_value = fmax(largest_value, values->values[i]);
    return largest_value;
}

static int report(const struct checking *c)
{
    struct verdict verdict = judge(c);
    double count = (double)c->kl.count, share = share_that_agrees(c);
    if (c->values->json) {
        printf("{\"verdict\":\"%s\",\"compared\":%zu,\"not_stored\":%" PRIu64
               ",\"agreeing\":%.6g,\"difference_median\":%.6g,"
               "\"difference_most\":%.6g,\"difference_elsewhere\":%.6g,\"kl_mean\":%.6g,\"same_top1\":%.6g}\n",
               verdict.name, c->kl.count, c->absent, share, timings_median(&c->difference, 0), most(&c->difference),
               timings_median(&c->elsewhere, 0), mean(&c->kl), (double)c->top1 / count);
    } else {
        printf("compared     %zu views; %" PRIu64 " more are not stored\n", c->kl.count, c->absent);
        printf("agreeing     %.1f %% of them: no event's probability differs by more than %g\n", 100 * share, AGREES);
        printf("difference   median %.5f, most %.5f; of labels of different views %.5f\n",
               timings_median(&c->difference, 0), most(&c->difference), timings_median(&c->elsewhere, 0));
        printf("KL           %.5f nats from the teacher's answer to the label, in the mean\n", mean(&c->kl));
        printf("same top-1   %.1f %%\n", 100 * (double)c->top1 / count);
        printf("verdict      %s\n", verdict.text);
    }
    return verdict.good ? 0 : EXIT_WORK;
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static int name_file(struct checking *c)
{
    const char *folder = getenv("TMPDIR");
    folder = folder && *folder ? folder : "/tmp";
    size_t size = strlen(folder) + 48;
    c->path = malloc(size);
    c->rows = malloc(4 * (size_t)c->info.classes * sizeof *c->rows);
    if (!c->path || !c->rows)
        return program_complain("no memory");
    snprintf(c->path, size, "%s/ssld-check-%ld.ssld", folder, (long)getpid());
    return 0;
}

static int check_opened(struct checking *c)
{
    int code = open_all(c);
    ssld_status status = code ? SSLD_OK : make_loader(c);
    if (!code && !status)
        code = name_file(c);
    if (!code && !status)
        status = check_views(c);
    if (code || status)
        return code ? code : program_fail(c->program, status);
    if (!c->kl.count)
        return program_complain("%s: none of the views that were drawn is stored", c->values->paths.items[0]);
    return report(c);
}

static int run(struct program *program, const void *given)
{
    struct checking c = { .program = program, .values = given };
    if (!program_open(program, c.values->threads, NULL))
        return EXIT_WORK;
    int code = check_opened(&c);
    ssld_store_writer_abandon(c.writer);
    ssld_store_close(c.again);
    ssld_store_close(c.store);
    if (c.path)
        unlink(c.path);
    ssld_batch_destroy(c.batch);
    ssld_loader_destroy(c.loader);
    ssld_labels_destroy(c.answers);
    ssld_labels_destroy(c.stored);
    ssld_labels_destroy(c.coded);
    ssld_teacher_destroy(c.teacher);
    source_close(&c.source);
    timings_free(&c.kl);
    timings_free(&c.difference);
    timings_free(&c.elsewhere);
    free(c.path);
    free(c.rows);
    return program_close(program, code);
}

#define AT(field) offsetof(struct check_values, field)

static const struct option options[] = {
    { "FILE", "FILE", OPTION_TEXTS, AT(paths), .required = true,
      .help = "the store; several files of one labelling are taken as one store" },
    { "data", "D", OPTION_TEXT, AT(data), .required = true,
      .help = "the images it was made of: " DATA_FORMS },
    DATA_OPTIONS(struct check_values, how),
    { "teacher", "FILE", OPTION_TEXTS, AT(teacher.paths), .required = true,
      .help = "the teacher it was made by; given several times: the average of all" },
    { "teacher-weights", "W,W", OPTION_TEXT, AT(teacher.weights),
      .help = "of several networks: as given to `ssld label`" },
    { "teacher-average", "WHAT", OPTION_CHOICE, AT(teacher.average), .initial = "logits",
      .choices = "logits|probabilities", .help = "of several networks: as given to `ssld label`" },
    { "precision", "P", OPTION_CHOICE, AT(teacher.precision), .initial = "f32", .choices = PRECISIONS,
      .help = PRECISION_HELP },
    { "count", "N", OPTION_COUNT, AT(views), .initial = "256", .least = 1, .most = 1e9,
      .help = "views to look at again" },
    { "seed", "S", OPTION_COUNT, AT(seed), .initial = "0", .help = "which views those are" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "64", .least = 1, .most = 4096,
      .help = "images the teacher is shown at once; for a store made with --batch-norm batch that of labelling" },
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "compute threads; without it one for each core" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "print one JSON object" },
    { .name = NULL }
};

const struct command store_check_command = {
    "store check", "let the teacher look at a sample of the views again and compare",
    "Whole batches at places drawn by --seed. Exit code 0 if the labels are this teacher's of these views,\n"
    "1 if they are not. To check the file alone, `ssld store verify` needs no teacher.\n",
    "  ssld store check labels.ssld --data list:train_list.txt --teacher resnet50.onnx",
    options, sizeof(struct check_values), run
};
