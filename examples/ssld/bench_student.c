/* SPDX-License-Identifier: BSD-2-Clause */
/* bench_student.c - `ssld bench student`: how long a training step takes, on what, and how near that is to the limit.
 *
 * Pixels and soft labels are made up, so that nothing but the student is measured: no decoding, no store. The order is
 * creation, warm-up, timed steps, profiled steps (whose clock readings are not in the timed ones), peak memory, and last the
 * bare primitives, which need memory of their own. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define LEARNING_RATE 0.001f /* made-up labels teach nothing: far from where numbers grow */

struct bench_values {
    const char *model;
    int32_t batch, size, classes, variant, precision, threads, steps, repeats, accumulate;
    bool json;
};

struct bench {
    struct program            *program;
    const struct bench_values *values;
    ssld_model_info            info;
    char                       name[256]; /* the model's */
    ssld_student              *student;
    ssld_batch                *batch;
    ssld_labels               *labels;
    float                     *pixels, *logits;
    struct timings             steps; /* milliseconds */
    struct profile             profile;
    double                     create_ms, primitives_ms, peak_mb;
};

/* -- Making ------------------------------------------------------------------------------------------------------- */

static ssld_status make_model(struct bench *bench, ssld_model **model)
{
    const struct bench_values *values = bench->values;
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = values->classes;
    options.height = values->size;
    options.variant = values->variant;
    return model_open(bench->program, values->model, &options, model);
}

/* The student, and how long it took to make it of a model. */
static ssld_status make_student(struct bench *bench)
{
    const struct bench_values *values = bench->values;
    ssld_student_options options;
    ssld_model *model = NULL;
    ssld_status status = make_model(bench, &model);
    if (status)
        return status;
    ssld_student_options_init(&options, sizeof options);
    options.batch = values->batch;
    options.learning_rate = LEARNING_RATE;
    options.precision = precision_of(values->precision);
    options.accumulate = values->accumulate;
    bench->info.struct_size = sizeof bench->info;
    status = ssld_model_get_info(model, &bench->info);
    double before = seconds_now();
    if (!status)
        status = ssld_student_create(bench->program->context, model, &options, &bench->student);
    bench->create_ms = 1e3 * (seconds_now() - before);
    snprintf(bench->name, sizeof bench->name, "%s", ssld_model_name(model));
    ssld_model_destroy(model);
    return status;
}

static ssld_status make_labels(struct bench *bench)
{
    int32_t batch = bench->values->batch, classes = bench->info.classes;
    size_t logits = (size_t)batch * (size_t)classes;
    bench->logits = malloc(logits * sizeof(float));
    if (!bench->logits)
        return SSLD_OUT_OF_MEMORY;
    fill(bench->logits, logits, 2);
    ssld_status status = ssld_labels_create(bench->program->context, batch, classes, &bench->labels);
    return status ? status : ssld_labels_wrap_logits(bench->labels, batch, bench->logits);
}

static void release(struct bench *bench)
{
    ssld_labels_destroy(bench->labels);
    ssld_batch_destroy(bench->batch);
    ssld_student_destroy(bench->student);
    timings_free(&bench->steps);
    free(bench->pixels);
    free(bench->logits);
}

/* -- Measuring ---------------------------------------------------------------------------------------------------- */

static ssld_status run_steps(struct bench *bench, int32_t count, struct timings *timings)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < count; i++) {
        double before = seconds_now();
        status = ssld_student_step(bench->student, bench->batch, bench->labels, NULL);
        if (!status && timings)
            timings_add(timings, 1e3 * (seconds_now() - before));
    }
    return status;
}

static ssld_status profile(struct bench *bench, int32_t steps)
{
    ssld_student_profile_begin(bench->student);
    double before = seconds_now();
    ssld_status status = run_steps(bench, steps, NULL);
    bench->profile.milliseconds = (1e3 * (seconds_now() - before)) / steps;
    ssld_profile_entry *entry;
    for (int32_t i = 0; !status && i < ssld_student_profile_count(bench->student) && (entry = profile_add(&bench->profile)); i++)
        status = ssld_student_profile_entry(bench->student, i, entry);
    ssld_student_profile_end(bench->student);
    profile_sort(&bench->profile);
    return status;
}

static ssld_status measure(struct bench *bench)
{
    int32_t steps = bench->values->steps, profiled = steps / 4 < 2 ? 2 : steps / 4;
    ssld_status status = run_steps(bench, WARMUP_RUNS, NULL);
    if (!status)
        status = run_steps(bench, steps, &bench->steps);
    if (!status)
        status = profile(bench, profiled);
    bench->peak_mb = peak_mb();
    if (!status)
        status = ssld_student_measure_primitives(bench->student, bench->values->repeats, &bench->primitives_ms);
    return status;
}

/* -- Telling ------------------------------------------------------------------------------------------------------ */

/* What both forms of the answer say. */
struct figures {
    double      step_ms, fastest_ms, images_per_s, ratio, gflop_per_s;
    const char *precision;
    char        isa[64];
};

static struct figures figures_of(const struct bench *bench)
{
    struct figures f = { .step_ms = timings_median(&bench->steps, 0), .fastest_ms = timings_fastest(&bench->steps) };
    f.images_per_s = f.step_ms > 0 ? 1e3 * bench->values->batch / f.step_ms : 0;
    f.ratio = bench->primitives_ms > 0 ? f.step_ms / bench->primitives_ms : 0;
    f.gflop_per_s = f.step_ms > 0 ? 1e3 * profile_gflop(&bench->profile) / f.step_ms : 0;
    f.precision = precision_name(ssld_student_precision(bench->student));
    ssld_isa(f.isa, sizeof f.isa);
    return f;
}

static void print_lines(const struct bench *bench)
{
    const ssld_model_info *info = &bench->info;
    struct figures f = figures_of(bench);
    printf("student      %s, %d x %d x %d, %d classes\n", bench->name, info->channels, info->height, info->width, info->classes);
    printf("step         batch %d, %s, %d threads, %s\n", bench->values->batch, f.precision,
           ssld_context_threads(bench->program->context), f.isa);
    printf("creation     %.0f ms\n", bench->create_ms);
    printf("time         %.1f ms (median of %d; fastest %.1f), %.1f images/s, %.1f GFLOP/s\n", f.step_ms, bench->values->steps,
           f.fastest_ms, f.images_per_s, f.gflop_per_s);
    printf("stages       forward %.1f ms, backward %.1f ms, update %.1f ms\n", profile_ms(&bench->profile, SSLD_STAGE_FORWARD),
           profile_ms(&bench->profile, SSLD_STAGE_BACKWARD), profile_ms(&bench->profile, SSLD_STAGE_UPDATE));
    printf("primitives   %.1f ms for the bare convolutions and fully connected layers; a step takes %.2f times as long\n",
           bench->primitives_ms, f.ratio);
    printf("peak memory  %.0f MB\n", bench->peak_mb);
    profile_print(&bench->profile, "a step");
}

static void print_json(const struct bench *bench)
{
    const ssld_model_info *info = &bench->info;
    struct figures f = figures_of(bench);
    printf("{\"model\":");
    print_json_text(stdout, bench->values->model);
    printf(",\"batch\":%d,\"size\":%d,\"classes\":%d,\"precision\":\"%s\",\"threads\":%d,\"steps\":%d", bench->values->batch,
           info->height, info->classes, f.precision, ssld_context_threads(bench->program->context), bench->values->steps);
    printf(",\"create_ms\":%.6g,\"step_ms\":%.6g,\"step_ms_fastest\":%.6g,\"images_per_s\":%.6g", bench->create_ms, f.step_ms,
           f.fastest_ms, f.images_per_s);
    printf(",\"forward_ms\":%.6g,\"backward_ms\":%.6g,\"update_ms\":%.6g,\"gflop_per_s\":%.6g",
           profile_ms(&bench->profile, SSLD_STAGE_FORWARD), profile_ms(&bench->profile, SSLD_STAGE_BACKWARD), profile_ms(&bench->profile, SSLD_STAGE_UPDATE),
           f.gflop_per_s);
    printf(",\"conv_primitives_ms\":%.6g,\"ratio\":%.6g,\"peak_rss_mb\":%.6g,\"isa\":\"%s\"}\n", bench->primitives_ms, f.ratio,
           bench->peak_mb, f.isa);
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static int run(struct program *program, const void *given)
{
    struct bench bench = { .program = program, .values = given };
    if (bench.values->batch % bench.values->accumulate) {
        program_complain("--accumulate must divide --batch: %d is not a multiple of %d", bench.values->batch,
                         bench.values->accumulate);
        return EXIT_USAGE;
    }
    if (!program_open(program, bench.values->threads, NULL))
        return EXIT_WORK;
    int code = 0;
    ssld_status status = make_student(&bench);
    if (!status)
        status = make_batch(program, &bench.info, bench.values->batch, &bench.pixels, &bench.batch);
    if (!status)
        status = make_labels(&bench);
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
    { "MODEL", "MODEL", OPTION_TEXT, AT(model), .required = true,
      .help = "a network's name, for example PPLCNet_x1_0, or an ONNX file" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "32", .least = 1, .most = 65536, .help = "images of a step" },
    { "size", "S", OPTION_INT, AT(size), .least = 1, .most = 4096,
      .help = "height and width of the images; without it the network's own, mostly 224" },
    { "classes", "C", OPTION_INT, AT(classes), .initial = "1000", .least = 2, .most = 1000000,
      .help = "classes of a network that is built by name" },
    { "variant", "V", OPTION_CHOICE, AT(variant), .initial = "standard", .choices = "standard|small",
      .help = "standard: for images of about 224 pixels; small: for 28 to 64" },
    { "precision", "P", OPTION_CHOICE, AT(precision), .initial = "f32", .choices = PRECISIONS, .help = PRECISION_HELP },
    { "accumulate", "K", OPTION_INT, AT(accumulate), .initial = "1", .least = 1, .most = 65536,
      .help = "work through the batch in K parts, in the memory of one" },
    { "steps", "K", OPTION_INT, AT(steps), .initial = "20", .least = 1, .most = 1000000,
      .help = "timed steps; three come before, a quarter as many after them are profiled" },
    { "repeats", "N", OPTION_INT, AT(repeats), .initial = "5", .least = 1, .most = 100,
      .help = "runs of each bare primitive" },
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "compute threads; without it one for each core" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "one line for programs" },
    { .name = NULL }
};

const struct command bench_student_command = {
    "bench student", "measure a student's training steps, and where their time goes",
    "Trains on made-up pixels and labels: nothing but the steps is measured. Convolutions and fully\n"
    "connected layers run alone afterwards, the whole batch at once: the sum of their times is what a\n"
    "step would take if everything else were free.\n",
    "  ssld bench student MobileNetV3_large_x1_0 --batch 32 --size 224 --precision bf16 --threads 2",
    options, sizeof(struct bench_values), run
};
