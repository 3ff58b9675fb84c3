/* SPDX-License-Identifier: BSD-2-Clause */
/* bench_teacher.c - `ssld bench teacher`: how long a prediction takes, on what, and how near that is to the limit.
 *
 * The order is that of `ssld bench student`: opening, warm-up, timed predictions, profiled ones, peak memory, and last the bare
 * primitives. */
#include <inttypes.h>
#include <stdlib.h>

#include "bench.h"

/* Predictions are made until there are `runs` of them, and until so much time has gone by: those of a small network take less
 * than a millisecond, in which a machine has no steady speed. */
#define LEAST_SECONDS 1.0
#define MOST_RUNS 100000

struct bench_values {
    const char *model;
    int32_t batch, size, classes, variant, precision, threads, runs, repeats;
    bool json;
};

struct bench {
    struct program            *program;
    const struct bench_values *values;
    ssld_model_info            info;
    char                       name[256]; /* the model's */
    ssld_teacher              *teacher;
    ssld_batch                *batch;
    ssld_labels               *labels;
    float                     *pixels;
    struct timings             runs; /* milliseconds */
    struct profile             profile;
    double                     load_ms, create_ms, primitives_ms, peak_mb;
};

/* -- Making ------------------------------------------------------------------------------------------------------- */

static ssld_status make_teacher(struct bench *bench)
{
    const struct bench_values *values = bench->values;
    ssld_model_options shape;
    ssld_teacher_options options;
    ssld_model *model = NULL;
    double start = seconds_now();
    ssld_model_options_init(&shape, sizeof shape);
    shape.classes = values->classes;
    shape.height = values->size;
    shape.variant = values->variant;
    ssld_status status = model_open(bench->program, values->model, &shape, &model);
    if (status)
        return status;
    ssld_teacher_options_init(&options, sizeof options);
    options.batch = values->batch;
    options.precision = precision_of(values->precision);
    bench->load_ms = 1e3 * (seconds_now() - start);
    bench->info.struct_size = sizeof bench->info;
    start = seconds_now();
    if (!(status = ssld_model_get_info(model, &bench->info)))
        status = ssld_teacher_create(bench->program->context, model, &options, &bench->teacher);
    bench->create_ms = 1e3 * (seconds_now() - start);
    snprintf(bench->name, sizeof bench->name, "%s", ssld_model_name(model));
    ssld_model_destroy(model);
    return status;
}

static void release(struct bench *bench)
{
    ssld_labels_destroy(bench->labels);
    ssld_batch_destroy(bench->batch);
    ssld_teacher_destroy(bench->teacher);
    timings_free(&bench->runs);
    free(bench->pixels);
}

/* -- Measuring ---------------------------------------------------------------------------------------------------- */

static ssld_status predict(struct bench *bench, int32_t count)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < count; i++)
        status = ssld_teacher_predict(bench->teacher, bench->batch, bench->labels);
    return status;
}

static ssld_status time_runs(struct bench *bench)
{
    double begun = seconds_now(), before = begun;
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < MOST_RUNS && (i < bench->values->runs || before - begun < LEAST_SECONDS); i++) {
        status = predict(bench, 1);
        double after = seconds_now();
        timings_add(&bench->runs, 1e3 * (after - before));
        before = after;
    }
    return status;
}

static ssld_status profile(struct bench *bench, int32_t runs)
{
    ssld_teacher_profile_begin(bench->teacher);
    double before = seconds_now();
    ssld_status status = predict(bench, runs);
    bench->profile.milliseconds = (1e3 * (seconds_now() - before)) / runs;
    ssld_profile_entry *entry;
    for (int32_t i = 0; !status && i < ssld_teacher_profile_count(bench->teacher) && (entry = profile_add(&bench->profile)); i++)
        status = ssld_teacher_profile_entry(bench->teacher, i, entry);
    ssld_teacher_profile_end(bench->teacher);
    profile_sort(&bench->profile);
    return status;
}

static ssld_status measure(struct bench *bench)
{
    ssld_status status = predict(bench, WARMUP_RUNS);
    if (!status)
        status = time_runs(bench);
    int32_t profiled = (int32_t)bench->runs.count / 4 < 2 ? 2 : (int32_t)bench->runs.count / 4;
    if (!status)
        status = profile(bench, profiled);
    bench->peak_mb = peak_mb();
    if (!status)
        status = ssld_teacher_measure_primitives(bench->teacher, bench->values->repeats, &bench->primitives_ms);
    return status;
}

/* -- Telling ------------------------------------------------------------------------------------------------------ */

/* What both forms of the answer say. */
struct figures {
    double      batch_ms, fastest_ms, images_per_s, ratio, gflop_per_s;
    const char *precision;
    char        isa[64];
};

static struct figures figures_of(const struct bench *bench)
{
    struct figures f = { .batch_ms = timings_median(&bench->runs, 0), .fastest_ms = timings_fastest(&bench->runs) };
    f.images_per_s = f.batch_ms > 0 ? 1e3 * bench->values->batch / f.batch_ms : 0;
    f.ratio = bench->primitives_ms > 0 ? f.batch_ms / bench->primitives_ms : 0;
    f.gflop_per_s = f.batch_ms > 0 ? 1e3 * profile_gflop(&bench->profile) / f.batch_ms : 0;
    f.precision = precision_name(ssld_teacher_precision(bench->teacher));
    ssld_isa(f.isa, sizeof f.isa);
    return f;
}

static void print_lines(const struct bench *bench)
{
    const ssld_model_info *info = &bench->info;
    struct figures f = figures_of(bench);
    printf("teacher      %s, %d x %d x %d, %d classes\n", bench->name, info->channels, info->height, info->width, info->classes);
    printf("prediction   batch %d, %s, %d threads, %s\n", bench->values->batch, f.precision,
           ssld_context_threads(bench->program->context), f.isa);
    printf("opening      %.0f ms to read or build it, %.0f ms to make it ready\n", bench->load_ms, bench->create_ms);
    printf("time         %.2f ms (median of %zu; fastest %.2f), %.1f images/s, %.1f GFLOP/s\n", f.batch_ms, bench->runs.count,
           f.fastest_ms, f.images_per_s, f.gflop_per_s);
    printf("primitives   %.2f ms for the bare convolutions and fully connected layers; a prediction takes %.2f times as long\n",
           bench->primitives_ms, f.ratio);
    printf("peak memory  %.0f MB\n", bench->peak_mb);
    profile_print(&bench->profile, "a prediction");
}

static void print_json(const struct bench *bench)
{
    const ssld_model_info *info = &bench->info;
    struct figures f = figures_of(bench);
    printf("{\"model\":");
    print_json_text(stdout, bench->values->model);
    printf(",\"batch\":%d,\"size\":%d,\"classes\":%d,\"precision\":\"%s\",\"threads\":%d,\"runs\":%zu", bench->values->batch,
           info->height, info->classes, f.precision, ssld_context_threads(bench->program->context), bench->runs.count);
    printf(",\"load_ms\":%.6g,\"create_ms\":%.6g,\"batch_ms\":%.6g,\"batch_ms_fastest\":%.6g,\"images_per_s\":%.6g", bench->load_ms,
           bench->create_ms, f.batch_ms, f.fastest_ms, f.images_per_s);
    printf(",\"gflop_per_s\":%.6g,\"conv_primitives_ms\":%.6g,\"ratio\":%.6g,\"peak_rss_mb\":%.6g,\"isa\":\"%s\"}\n",
           f.gflop_per_s, bench->primitives_ms, f.ratio, bench->peak_mb, f.isa);
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static int run(struct program *program, const void *given)
{
    struct bench bench = { .program = program, .values = given };
    if (!program_open(program, bench.values->threads, NULL))
        return EXIT_WORK;
    int code = 0;
    ssld_status status = make_teacher(&bench);
    if (!status)
        status = make_batch(program, &bench.info, bench.values->batch, &bench.pixels, &bench.batch);
    if (!status)
        status = ssld_labels_create(program->context, bench.values->batch, bench.info.classes, &bench.labels);
    if (!status)
        status = measure(&bench);
    if (status)
        code = program_fail(program, status);
    else if (bench.values->json)
        print_json(&bench);
    else
        print_lines(&bench);
    release(&bench);
    return program_close(program, code);
}

#define AT(field) offsetof(struct bench_values, field)

static const struct option options[] = {
    { "FILE", "FILE", OPTION_TEXT, AT(model), .required = true,
      .help = "an ONNX classifier, or a network's name, for example ResNet50" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "32", .least = 1, .most = 65536, .help = "images of a prediction" },
    { "size", "S", OPTION_INT, AT(size), .least = 1, .most = 4096,
      .help = "height and width of the images where the network leaves them open; without it mostly 224" },
    { "classes", "C", OPTION_INT, AT(classes), .initial = "1000", .least = 2, .most = 1000000,
      .help = "classes of a network that is built by name" },
    { "variant", "V", OPTION_CHOICE, AT(variant), .initial = "standard", .choices = "standard|small",
      .help = "of a network that is built by name; small: for images of 28 to 64 pixels" },
    { "precision", "P", OPTION_CHOICE, AT(precision), .initial = "f32", .choices = PRECISIONS, .help = PRECISION_HELP },
    { "runs", "K", OPTION_INT, AT(runs), .initial = "20", .least = 1, .most = MOST_RUNS,
      .help = "timed predictions at least, for at least a second; three come before, a quarter as many after them are profiled" },
    { "repeats", "N", OPTION_INT, AT(repeats), .initial = "5", .least = 1, .most = 100,
      .help = "runs of each bare primitive" },
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "compute threads; without it one for each core" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "one line for programs" },
    { .name = NULL }
};

const struct command bench_teacher_command = {
    "bench teacher", "measure a teacher's predictions, and where their time goes",
    "Predicts on made-up pixels: nothing but the predictions is measured. Convolutions and fully connected\n"
    "layers run alone afterwards, the whole batch at once: the sum of their times is what a prediction would\n"
    "take if everything else were free.\n",
    "  ssld bench teacher resnet50.onnx --batch 32 --precision bf16 --threads 2",
    options, sizeof(struct bench_values), run
};
