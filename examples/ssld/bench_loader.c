/* SPDX-License-Identifier: BSD-2-Clause */
/* bench_loader.c - `ssld bench loader`: how many views a second a core makes of a data set, and what it spends its time on.
 *
 * The order: opening, a quarter as many images to warm up, which also brings files into the system's cache, the timed ones,
 * then as many again as were used to warm up with the loader's own watch, which costs some time itself. */
#include <inttypes.h>
#include <string.h>

#include "bench.h"
#include "data.h"

struct bench_values {
    const char *data, *views;
    struct data_values how;
    struct loading_values loading;
    uint64_t images, view_seed;
    int32_t batch, threads;
    bool json;
};

/* What a loader did between two moments. */
struct stretch {
    ssld_loader_statistics from, to;
    double                 seconds;
};

struct bench {
    struct program            *program;
    const struct bench_values *values;
    struct source              source;
    ssld_loader               *loader;
    ssld_batch                *batch;
    struct stretch             timed, profiled;
    double                     peak_mb;
    int                        listed; /* 0, or the exit code if the report of bad images could not be written */
};

/* -- Measuring ---------------------------------------------------------------------------------------------------- */

static ssld_status open_loader(struct bench *bench, bool profile)
{
    ssld_loader_options options;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = bench->values->batch;
    options.order = SSLD_ORDER_SHUFFLED;
    options.view_seed = bench->values->view_seed;
    options.priority = SSLD_PRIORITY_NORMAL;
    options.profile = profile;
    loading_apply(&bench->values->loading, &options);
    ssld_loader_destroy(bench->loader);
    bench->loader = NULL;
    return ssld_loader_create(bench->program->context, bench->source.dataset, bench->source.spec, &options, &bench->loader);
}

/* At least so many images, epoch after epoch. */
static ssld_status load(struct bench *bench, uint64_t images, struct stretch *stretch)
{
    stretch->from.struct_size = stretch->to.struct_size = sizeof stretch->from;
    ssld_status status = ssld_loader_get_statistics(bench->loader, &stretch->from);
    double begun = seconds_now();
    for (uint64_t done = 0; !status && done < images; done += (uint64_t)ssld_batch_count(bench->batch)) {
        status = ssld_loader_next(bench->loader, bench->batch);
        if (status == SSLD_END)
            status = ssld_loader_next(bench->loader, bench->batch);
    }
    stretch->seconds = seconds_now() - begun;
    if (!status)
        status = ssld_loader_get_statistics(bench->loader, &stretch->to);
    ssld_batch_destroy(bench->batch);
    bench->batch = NULL;
    return status ? status : ssld_batch_create(bench->program->context, &bench->batch);
}

static ssld_status measure(struct bench *bench)
{
    uint64_t warmup = bench->values->images / 4 + 1;
    struct stretch unused;
    ssld_status status;
    if ((status = ssld_batch_create(bench->program->context, &bench->batch)) || (status = open_loader(bench, false)) ||
        (status = load(bench, warmup, &unused)) || (status = load(bench, bench->values->images, &bench->timed)))
        return status;
    bench->listed = report_bad_images(&bench->values->loading, bench->loader, NULL); /* it has seen more than the next one will */
    if ((status = open_loader(bench, true)))
        return status;
    status = load(bench, warmup, &bench->profiled);
    /* Its threads were at work before load() first looked. */
    memset(&bench->profiled.from, 0, sizeof bench->profiled.from);
    bench->peak_mb = peak_mb();
    return status;
}

/* -- Telling ------------------------------------------------------------------------------------------------------ */

/* Milliseconds of an image. */
static double part_ms(const struct stretch *stretch, size_t offset)
{
    double from = *(const double *)(const void *)((const char *)&stretch->from + offset);
    double to = *(const double *)(const void *)((const char *)&stretch->to + offset);
    uint64_t rendered = stretch->to.rendered - stretch->from.rendered;
    return rendered ? 1e3 * (to - from) / (double)rendered : 0;
}

static const struct part {
    const char *name, *what;
    size_t      offset;
} parts[] = {
    { "read", "files, or what is kept of them", offsetof(ssld_loader_statistics, read_seconds) },
    { "decode", "from files to pixels", offsetof(ssld_loader_statistics, decode_seconds) },
    { "resample", "crop, resize, flip", offsetof(ssld_loader_statistics, resample_seconds) },
    { "augment", "other operations", offsetof(ssld_loader_statistics, augment_seconds) },
    { "write", "normalise, to planes of floats", offsetof(ssld_loader_statistics, write_seconds) },
};

#define PARTS (sizeof parts / sizeof parts[0])

/* The watch goes on while a thread waits for its core; so what it says are shares of the CPU time. */
static double share_ms(const struct bench *bench, const struct part *part)
{
    double sum = 0;
    for (size_t i = 0; i < PARTS; i++)
        sum += part_ms(&bench->profiled, parts[i].offset);
    double core_ms = part_ms(&bench->profiled, offsetof(ssld_loader_statistics, render_seconds));
    return sum > 0 ? core_ms * part_ms(&bench->profiled, part->offset) / sum : 0;
}

/* What both forms of the answer say. */
struct figures {
    uint64_t images;
    double   per_s, per_s_core, core_ms, kilobytes;
    char     isa[64];
};

static struct figures figures_of(const struct bench *bench)
{
    const struct stretch *timed = &bench->timed;
    uint64_t rendered = timed->to.rendered - timed->from.rendered;
    struct figures f = { .images = timed->to.images - timed->from.images,
                         .core_ms = part_ms(timed, offsetof(ssld_loader_statistics, render_seconds)) };
    f.per_s = (double)f.images / timed->seconds;
    f.per_s_core = f.core_ms > 0 ? 1e3 / f.core_ms : 0;
    f.kilobytes = rendered ? 1e-3 * (double)(timed->to.bytes_read - timed->from.bytes_read) / (double)rendered : 0;
    ssld_isa(f.isa, sizeof f.isa);
    return f;
}

static void print_lines(const struct bench *bench)
{
    const int32_t *shape = bench->source.shape;
    struct figures f = figures_of(bench);
    printf("images       %s, %" PRIu64 "; %.1f kB read for each\n", bench->values->data, ssld_dataset_count(bench->source.dataset),
           f.kilobytes);
    printf("views        %s\n", ssld_view_spec_text(bench->source.spec));
    printf("shape        %d x %d x %d, %d a batch\n", shape[0], shape[1], shape[2], bench->values->batch);
    printf("rate         %.1f images/s with %d threads (%" PRIu64 " images); %.1f images/s a core, %s\n", f.per_s,
           ssld_context_threads(bench->program->context), f.images, f.per_s_core, f.isa);
    printf("peak memory  %.0f MB\n\nwhere an image's time goes\n\n%-10s %9s %6s\n", bench->peak_mb, "", "ms", "%");
    double sum = 0;
    for (size_t i = 0; i < PARTS; i++)
        sum += share_ms(bench, &parts[i]);
    for (size_t i = 0; i < PARTS; i++) {
        double ms = share_ms(bench, &parts[i]);
        printf("%-10s %9.4f %6.1f  %s\n", parts[i].name, ms, sum > 0 ? 100 * ms / sum : 0, parts[i].what);
    }
}

static void print_json(const struct bench *bench)
{
    const int32_t *shape = bench->source.shape;
    struct figures f = figures_of(bench);
    printf("{\"data\":");
    print_json_text(stdout, bench->values->data);
    printf(",\"views\":");
    print_json_text(stdout, ssld_view_spec_text(bench->source.spec));
    printf(",\"channels\":%d,\"height\":%d,\"width\":%d,\"batch\":%d,\"threads\":%d,\"images\":%" PRIu64, shape[0], shape[1],
           shape[2], bench->values->batch, ssld_context_threads(bench->program->context), f.images);
    printf(",\"images_per_s\":%.6g,\"images_per_s_core\":%.6g,\"core_ms\":%.6g,\"image_kb\":%.6g", f.per_s, f.per_s_core,
           f.core_ms, f.kilobytes);
    for (size_t i = 0; i < PARTS; i++)
        printf(",\"%s_ms\":%.6g", parts[i].name, share_ms(bench, &parts[i]));
    printf(",\"peak_rss_mb\":%.6g,\"isa\":\"%s\"}\n", bench->peak_mb, f.isa);
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static int run(struct program *program, const void *given)
{
    struct bench bench = { .program = program, .values = given };
    if (!program_open(program, bench.values->threads, NULL))
        return EXIT_WORK;
    int code = 0;
    ssld_status status = data_open(program, bench.values->data, bench.values->views, 0, 0, &bench.values->how, &bench.source);
    if (!status)
        status = measure(&bench);
    if (status)
        code = program_fail(program, status);
    else if (bench.values->json)
        print_json(&bench);
    else
        print_lines(&bench);
    code = code ? code : bench.listed;
    ssld_batch_destroy(bench.batch);
    ssld_loader_destroy(bench.loader);
    source_close(&bench.source);
    return program_close(program, code);
}

#define AT(field) offsetof(struct bench_values, field)

static const struct option options[] = {
    { "data", "D", OPTION_TEXT, AT(data), .required = true, .help = "images: " DATA_FORMS },
    DATA_OPTIONS(struct bench_values, how),
    LOADING_OPTIONS(struct bench_values, loading),
    { "views", "SPEC", OPTION_TEXT, AT(views), .required = true,
      .help = "how images are augmented, for example \"rrc(224) flip(0.5) normalize(imagenet)\"" },
    { "images", "N", OPTION_COUNT, AT(images), .initial = "2000", .least = 1,
      .help = "timed images at least; the data set again and again, in a new order each time" },
    { "batch", "N", OPTION_INT, AT(batch), .initial = "64", .least = 1, .most = 65536, .help = "images a batch" },
    { "view-seed", "S", OPTION_COUNT, AT(view_seed), .initial = "0", .help = "seed of the views, where they are random" },
    { "threads", "N", OPTION_INT, AT(threads), .least = 1, .most = 1024,
      .help = "threads that render; without it one for each core; the one that waits for them helps" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "one line for programs" },
    { .name = NULL }
};

const struct command bench_loader_command = {
    "bench loader", "measure how fast views are made of images, and where the time goes",
    "Nobody uses the batches, so threads make them as fast as they can. \"A core\" is a second of the CPU time that\n"
    "they take. Its parts are measured in a second run, by a watch that takes some 10 microseconds a view itself.\n",
    "  ssld bench loader --data list:train_list.txt --views \"rrc(224) flip(0.5) normalize(imagenet)\" --threads 1",
    options, sizeof(struct bench_values), run
};
