/* SPDX-License-Identifier: BSD-2-Clause */
/* train_open.c - puts a training run together: images, labels, student, loaders, and what was done before. */
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "store_output.h"

/* SSLD's recipes have 1e-5 to 7e-5; PyTorch's default for AdamW. */
#define DEFAULT_L2 3e-5f
#define DEFAULT_WEIGHT_DECAY 0.01f

/* -- Where labels come from --------------------------------------------------------------------------------------- */

/* The store with everything it must agree with; `classes` receives its own. */
static int open_store(struct training *t, int32_t *classes)
{
    const struct train_values *values = t->values;
    ssld_store_options options;
    ssld_store_info info;
    uint8_t fingerprint[16];
    ssld_status status;
    ssld_store_options_init(&options, sizeof options);
    ssld_dataset_fingerprint(t->source.dataset, fingerprint);
    options.classes = values->classes;
    options.samples = ssld_dataset_count(t->source.dataset);
    options.view_spec = ssld_view_spec_text(t->source.spec);
    options.view_seed = &values->view_seed;
    options.dataset_fingerprint = fingerprint;
    if ((status = stores_open(t->program, &values->labels, &options, &t->store, &info)))
        return program_fail(t->program, status);
    t->view_count = values->view_count ? (uint32_t)values->view_count : info.views;
    uint32_t needed = t->view_count < (uint32_t)values->epochs ? t->view_count : (uint32_t)values->epochs;
    if (needed > info.views)
        return program_complain("%s has %" PRIu32 " views of each image, this run needs %" PRIu32
                                ": label with --view-count %" PRIu32 ", or train with --view-count %" PRIu32,
                                values->labels.items[0], info.views, needed, needed, info.views);
    /* Images that could not be read have no labels, and are left out here, too; one that now can be is missed by name. */
    if (info.records < info.samples * needed && !values->loading.bad)
        return program_complain("%s has %" PRIu64 " of %" PRIu64 " labels this run needs: finish it with `ssld label`",
                                values->labels.items[0], info.records, info.samples * needed);
    *classes = info.classes;
    return 0;
}

static int open_teacher(struct training *t, int32_t *classes)
{
    const struct train_values *values = t->values;
    ssld_model_info info;
    int code = network_open(t->program, &t->source, &values->teacher, values->batch, &t->teacher, &info);
    if (!code)
        code = network_check(t->program, &t->source, &values->teacher, values->batch, values->view_seed, t->teacher);
    *classes = code ? *classes : info.classes;
    return code;
}

/* Sets mode, loss and the number of classes. */
static int open_labels(struct training *t, int32_t *classes)
{
    const struct train_values *values = t->values;
    int code = 0;
    *classes = values->classes ? values->classes : ssld_dataset_classes(t->source.dataset);
    t->mode = values->labels.count ? "offline" : values->teacher.paths.count ? "online" : "hard";
    t->loss = values->loss ? values->loss : values->labels.count || values->teacher.paths.count ? "sym_kl" : "hard_ce";
    t->view_count = (uint32_t)values->view_count;
    if (values->labels.count)
        code = open_store(t, classes);
    else if (values->teacher.paths.count)
        code = open_teacher(t, classes);
    if (code)
        return code;
    if (*classes < 1)
        return program_complain("%s: no image has a label; give --labels or --teacher, or data with labels",
                                values->data);
    if (!values->labels.count && !values->teacher.paths.count)
        return 0;
    ssld_status status = ssld_labels_create(t->program->context, values->batch, *classes, &t->labels);
    return status ? program_fail(t->program, status) : 0;
}

/* -- The student -------------------------------------------------------------------------------------------------- */

static ssld_status make_model(struct training *t, int32_t classes, ssld_model **model)
{
    const struct train_values *values = t->values;
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = classes;
    options.channels = values->channels ? values->channels : t->source.shape[0];
    bool given = values->size && !is_model_file(values->model);
    options.height = given ? values->size : t->source.shape[1];
    options.width = given ? values->size : t->source.shape[2];
    options.variant = values->variant;
    options.dropout = isnan(values->dropout) ? 0 : values->dropout == 0 ? -1 : (float)values->dropout;
    options.seed = values->seed;
    return model_open(t->program, values->model, &options, model);
}

/* An option that was not given is not a number here, and 0, the default, for the library. */
static float real_or_default(double given)
{
    return isnan(given) ? 0 : (float)given;
}

/* Where 0 is a choice of its own that the library is told by a negative number. */
static float real_or_none(double given)
{
    return given == 0 ? -1 : real_or_default(given);
}

static void set_optimizer(const struct train_values *values, ssld_student_options *options)
{
    bool adamw = values->optimizer == SSLD_OPTIMIZER_ADAMW;
    options->optimizer = values->optimizer;
    options->nesterov = values->nesterov;
    options->learning_rate = real_or_default(values->learning_rate);
    options->momentum = real_or_none(values->momentum);
    options->l2 = isnan(values->l2) && !adamw ? DEFAULT_L2 : real_or_default(values->l2);
    options->weight_decay = isnan(values->weight_decay) && adamw ? DEFAULT_WEIGHT_DECAY : real_or_default(values->weight_decay);
    options->beta1 = real_or_none(values->beta1);
    options->beta2 = real_or_default(values->beta2);
    options->epsilon = real_or_default(values->epsilon);
    options->trust = real_or_default(values->trust);
    options->ema_decay = real_or_default(values->ema_decay);
    options->clip_norm = real_or_default(values->clip_norm);
    options->clip_value = real_or_default(values->clip_value);
    options->parameter_groups = values->groups;
}

static ssld_status make_student(struct training *t, const ssld_model *model)
{
    const struct train_values *values = t->values;
    ssld_student_options options;
    ssld_student_options_init(&options, sizeof options);
    options.batch = values->batch;
    options.accumulate = values->accumulate;
    options.precision = precision_of(values->teacher.precision);
    options.loss = t->loss;
    options.total_steps = t->steps_total;
    options.warmup_steps = (uint64_t)llround(values->warmup_epochs * (double)t->steps_epoch);
    options.seed = values->seed;
    set_optimizer(values, &options);
    schedule_apply(&t->schedule, t->steps_epoch, &options);
    return ssld_student_create(t->program->context, model, &options, &t->student);
}

static int open_student(struct training *t, int32_t classes)
{
    ssld_model *model = NULL;
    ssld_status status = make_model(t, classes, &model);
    int code = 0;
    t->info.struct_size = sizeof t->info;
    if (status || (status = ssld_model_get_info(model, &t->info)))
        code = program_fail(t->program, status);
    else if (!source_fits(&t->source, t->values->model, &t->info))
        code = EXIT_WORK;
    else if (t->labels && t->info.classes != classes)
        code = program_complain("%s knows %d classes, the labels %d; use a network with %d", t->values->model,
                                t->info.classes, classes, classes);
    else if ((status = make_student(t, model)))
        code = program_fail(t->program, status);
    ssld_model_destroy(model);
    return code;
}

/* -- Batches ------------------------------------------------------------------------------------------------------ */

/* Order and views depend on the seeds alone: runs that differ only in where labels come from see the same batches. */
static int open_loader(struct training *t)
{
    const struct train_values *values = t->values;
    ssld_loader_options options;
    ssld_status status;
    uint64_t samples = ssld_dataset_count(t->source.dataset);
    if (samples < (uint64_t)values->batch)
        return program_complain("%s has %" PRIu64 " images, fewer than a batch of %" PRId32 "; make --batch smaller",
                                values->data, samples, values->batch);
    ssld_loader_options_init(&options, sizeof options);
    options.batch = values->batch;
    options.order = SSLD_ORDER_SHUFFLED;
    options.last = SSLD_LAST_DROP;
    options.views = t->view_count;
    options.view_seed = values->view_seed;
    options.order_seed = values->seed;
    loading_apply(&values->loading, &options);
    if ((status = ssld_loader_create(t->program->context, t->source.dataset, t->source.spec, &options, &t->loader)) ||
        (status = ssld_batch_create(t->program->context, &t->batch)))
        return program_fail(t->program, status);
    t->steps_epoch = ssld_loader_batches(t->loader);
    t->steps_total = t->steps_epoch * (uint64_t)values->epochs;
    return 0;
}

static int open_evaluation(struct training *t)
{
    const struct train_values *values = t->values;
    ssld_loader_options options;
    ssld_status status;
    if (!values->eval_data)
        return 0;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = values->batch;
    options.views = 1; /* the same view of each image every time */
    loading_apply(&values->loading, &options);
    options.cache_bytes = 0; /* all of it is the training's */
    if ((status = source_open(t->program, values->eval_data, values->eval_views, 0, 0, &t->eval_source)))
        return program_fail(t->program, status);
    if (!source_fits(&t->eval_source, values->model, &t->info))
        return EXIT_WORK;
    if ((status = ssld_loader_create(t->program->context, t->eval_source.dataset, t->eval_source.spec, &options,
                                     &t->eval_loader)))
        return program_fail(t->program, status);
    return 0;
}

/* -- All of it ---------------------------------------------------------------------------------------------------- */

/* What makes no sense whatever the files are. */
static int check_values(const struct train_values *values)
{
    const char *wrong = values->labels.count && values->teacher.paths.count
                            ? "--labels and --teacher exclude each other: labels are read or computed"
                        : !values->eval_data != !values->eval_views
                            ? "--eval-data and --eval-views belong together"
                        : values->accumulate && values->batch % values->accumulate
                            ? "--accumulate must divide --batch"
                        : values->resume && !values->checkpoint ? "--resume needs --checkpoint FILE"
                        : values->warmup_epochs > values->epochs ? "--warmup-epochs is longer than --epochs"
                                                                 : NULL;
    if (!wrong)
        return 0;
    program_complain("train: %s", wrong);
    return EXIT_USAGE;
}

/* Goes on from the checkpoint if there is one. */
static int restore(struct training *t)
{
    const char *path = t->values->checkpoint;
    if (!path || access(path, F_OK))
        return 0;
    if (!t->values->resume)
        return program_complain("%s exists: add --resume to go on with that run, or remove the file", path);
    ssld_status status = ssld_student_restore(t->student, path);
    if (status)
        return program_fail(t->program, status);
    uint64_t steps = ssld_student_steps(t->student);
    if (steps > t->steps_total)
        return program_complain("%s has done %" PRIu64 " steps, this run has %" PRIu64
                                ": give --epochs, --batch, --data and --limit as before", path, steps, t->steps_total);
    if (steps < t->steps_total && (status = ssld_loader_seek(t->loader, steps / t->steps_epoch, steps % t->steps_epoch)))
        return program_fail(t->program, status);
    printf("%s: going on after step %" PRIu64 " of %" PRIu64 "\n", path, steps, t->steps_total);
    return 0;
}

int training_open(struct training *t)
{
    const struct train_values *values = t->values;
    int32_t classes = 0;
    int code = check_values(values);
    if (code)
        return code;
    if (!schedule_parse(values->schedule, &t->schedule))
        return EXIT_USAGE;
    ssld_status status = data_open(t->program, values->data, values->views, values->limit, 0, &values->how, &t->source);
    if (status)
        return program_fail(t->program, status);
    (void)((code = open_labels(t, &classes)) || (code = open_loader(t)) || (code = open_student(t, classes)) ||
           (code = open_evaluation(t)) || (code = restore(t)));
    return code;
}

void training_close(struct training *t)
{
    training_fill_end(t);
    ssld_batch_destroy(t->batch);
    ssld_loader_destroy(t->loader);
    ssld_loader_destroy(t->eval_loader);
    ssld_student_destroy(t->student);
    ssld_teacher_destroy(t->teacher);
    ssld_store_close(t->store);
    ssld_labels_destroy(t->labels);
    source_close(&t->source);
    source_close(&t->eval_source);
    timings_free(&t->step_ms);
    timings_free(&t->label_ms);
}
