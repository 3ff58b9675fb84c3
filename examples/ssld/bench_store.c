/* SPDX-License-Identifier: BSD-2-Clause */
/* bench_store.c - `ssld bench store`: what labels cost on disk and in time, and what is left of them.
 *
 * The order is: labels, writing, opening, reading in order, reading at random, and last what decoded labels do to a
 * student's gradients, beside TinyViT's form of the same labels: the K largest probabilities as halves, the rest spread
 * evenly. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "fidelity.h"
#include "npy.h"
#include "store_output.h"

#define BATCH 256
#define VIEWS_OF_A_SAMPLE 4
#define OPENINGS 11
#define TINYVIT_K 10 /* of the comparison when no K is given */
/* Made-up labels: logits are sums of FACTORS directions, as those of networks are, and a little noise of their own. */
#define MADE_ROWS_FLOATS ((size_t)16 << 20) /* at most so many numbers: 64 MB */
#define MADE_ROWS 16384
#define FACTORS 32
#define FACTOR_SCALE 1.0f
#define NOISE_SCALE 0.5f
#define UNTRAINED_SCALE 0.1f /* logits of the made-up student */

struct bench_store_values {
    const char   *logits, *student, *folder;
    struct coding coding;
    uint64_t      views, compare_from, compare_end;
    int32_t       classes, compare, repeats, threads;
    bool          json;
};

struct bench_store {
    struct program                  *program;
    const struct bench_store_values *values;
    struct npy_matrix                given, student; /* what files hold */
    float                           *made;
    const float                     *rows; /* row_count x classes */
    uint64_t                         row_count, samples, total;
    int32_t                          classes;
    char                            *path;
    ssld_store                      *store;
    ssld_store_info                  info;
    ssld_store_sizes                 sizes;
    ssld_labels                     *labels;
    uint64_t                        *ids;   /* places at random */
    struct timings                   write, open, ordered, random; /* views/s, ms, views/s, views/s */
    struct timings                   soft_ce, sym_kl, kl, tinyvit_soft_ce, tinyvit_sym_kl, tinyvit_kl;
};

/* -- Labels ------------------------------------------------------------------------------------------------------- */

/* Row r is weights(r) . factors + noise, with weights that differ in size as eigenvalues do. */
static bool make_rows(struct bench_store *b)
{
    size_t classes = (size_t)b->classes,
           rows = MADE_ROWS_FLOATS / classes < MADE_ROWS ? MADE_ROWS_FLOATS / classes : MADE_ROWS;
    float *factors = malloc(FACTORS * classes * sizeof *factors), *weights = malloc(rows * FACTORS * sizeof *weights);
    b->made = malloc(rows * classes * sizeof *b->made);
    if (b->made && factors && weights) {
        fill(b->made, rows * classes, 3);
        fill(factors, FACTORS * classes, 4);
        fill(weights, rows * FACTORS, 5);
        for (size_t r = 0; r < rows; r++) {
            float *row = b->made + r * classes;
            for (size_t c = 0; c < classes; c++)
                row[c] *= NOISE_SCALE;
            for (size_t f = 0; f < FACTORS; f++) {
                float weight = 8 * FACTOR_SCALE / sqrtf((float)(f + 1)) * weights[r * FACTORS + f];
                for (size_t c = 0; c < classes; c++)
                    row[c] += weight * factors[f * classes + c];
            }
        }
    }
    free(factors);
    free(weights);
    b->rows = b->made;
    b->row_count = rows;
    return b->rows != NULL;
}

static int open_labels(struct bench_store *b)
{
    const struct bench_store_values *values = b->values;
    if (!values->logits) {
        b->classes = values->classes ? values->classes : 1000;
        return make_rows(b) ? 0 : program_complain("no memory for labels of %" PRId32 " classes", b->classes);
    }
    if (!npy_map(values->logits, &b->given) || (values->student && !npy_map(values->student, &b->student)))
        return EXIT_WORK;
    if (b->given.columns > INT32_MAX || (values->classes && b->given.columns != (uint64_t)values->classes))
        return program_complain("%s: has %" PRIu64 " columns, --classes is %" PRId32, values->logits, b->given.columns,
                                values->classes);
    if (values->student && (b->student.rows != b->given.rows || b->student.columns != b->given.columns))
        return program_complain("%s: must have the %" PRIu64 " x %" PRIu64
                                " numbers of %s: a student's answers to the same views",
                                values->student, b->given.rows, b->given.columns, values->logits);
    b->rows = b->given.values;
    b->row_count = b->given.rows;
    b->classes = (int32_t)b->given.columns;
    return 0;
}

/* The row that is the label of place i = view * samples + sample. */
static uint64_t row_of(const struct bench_store *b, uint64_t place)
{
    return place % b->row_count;
}

/* The places from `first` on, as many as lie side by side in the rows. */
static int32_t batch_at(const struct bench_store *b, uint64_t first, uint64_t *samples, uint32_t *views)
{
    uint64_t row = row_of(b, first), count = BATCH;
    count = b->total - first < count ? b->total - first : count;
    count = b->row_count - row < count ? b->row_count - row : count;
    for (uint64_t i = 0; i < count; i++) {
        samples[i] = (first + i) % b->samples;
        views[i] = (uint32_t)((first + i) / b->samples);
    }
    return (int32_t)count;
}

/* -- Writing and reading ------------------------------------------------------------------------------------------ */

static ssld_status write_labels(struct bench_store *b, ssld_store_writer *writer)
{
    uint64_t samples[BATCH];
    uint32_t views[BATCH];
    ssld_status status = SSLD_OK;
    for (uint64_t first = 0; !status && first < b->total;) {
        int32_t count = batch_at(b, first, samples, views);
        const float *rows = b->rows + row_of(b, first) * (uint64_t)b->classes;
        if (!(status = ssld_labels_wrap_logits(b->labels, count, rows)))
            status = ssld_store_writer_append_views(writer, count, samples, views, b->labels);
        first += (uint64_t)count;
        if (program_interrupted())
            status = SSLD_CANCELLED;
    }
    return status;
}

/* Everything from creating the file to its index being durable. */
static int write_store(struct bench_store *b)
{
    ssld_store_writer_options options;
    ssld_store_writer *writer = NULL;
    ssld_store_writer_options_init(&options, sizeof options);
    options.classes = b->classes;
    options.samples = b->samples;
    options.views = VIEWS_OF_A_SAMPLE;
    coding_apply(&b->values->coding, &options);
    double before = seconds_now();
    ssld_status status = ssld_store_writer_open(b->program->context, b->path, &options, &writer);
    if (status)
        return program_fail(b->program, status);
    if ((status = write_labels(b, writer))) {
        ssld_store_writer_abandon(writer);
        return program_fail(b->program, status);
    }
    if ((status = ssld_store_writer_close(writer)))
        return program_fail(b->program, status);
    timings_add(&b->write, (double)b->total / (seconds_now() - before));
    return 0;
}

static ssld_status open_store(struct bench_store *b)
{
    ssld_status status = SSLD_OK;
    for (int i = 0; !status && i < OPENINGS; i++) {
        ssld_store_close(b->store);
        b->store = NULL;
        double before = seconds_now();
        status = ssld_store_open(b->program->context, b->path, NULL, &b->store);
        timings_add(&b->open, 1e3 * (seconds_now() - before));
    }
    b->info.struct_size = sizeof b->info;
    b->sizes.struct_size = sizeof b->sizes;
    if (!status && !(status = ssld_store_get_info(b->store, &b->info)))
        status = ssld_store_measure(b->store, &b->sizes);
    return status;
}

static ssld_status read_ordered(struct bench_store *b)
{
    uint64_t samples[BATCH];
    uint32_t views[BATCH];
    ssld_status status = SSLD_OK;
    double before = seconds_now();
    for (uint64_t first = 0; !status && first < b->total;) {
        int32_t count = batch_at(b, first, samples, views);
        status = ssld_store_read_views(b->store, count, samples, views, b->labels);
        first += (uint64_t)count;
    }
    timings_add(&b->ordered, (double)b->total / (seconds_now() - before));
    return status;
}

static ssld_status read_random(struct bench_store *b)
{
    uint64_t samples[BATCH];
    uint32_t views[BATCH];
    ssld_status status = SSLD_OK;
    double before = seconds_now();
    for (uint64_t first = 0; !status && first < b->total; first += BATCH) {
        int32_t count = (int32_t)(b->total - first < BATCH ? b->total - first : BATCH);
        for (int32_t i = 0; i < count; i++) {
            samples[i] = b->ids[first + (uint64_t)i] % b->samples;
            views[i] = (uint32_t)(b->ids[first + (uint64_t)i] / b->samples);
        }
        status = ssld_store_read_views(b->store, count, samples, views, b->labels);
    }
    timings_add(&b->random, (double)b->total / (seconds_now() - before));
    return status;
}

static bool draw_places(struct bench_store *b)
{
    b->ids = malloc(b->total * sizeof *b->ids);
    for (uint64_t i = 0; b->ids && i < b->total; i += 2) {
        uint32_t counter[4] = { (uint32_t)i, (uint32_t)(i >> 32), 0, 0 }, key[2] = { 6, 0 }, words[4];
        ssld_philox4x32(counter, key, words);
        for (uint64_t k = 0; k < 2 && i + k < b->total; k++)
            b->ids[i + k] = ((uint64_t)words[2 * k] << 32 | words[2 * k + 1]) % b->total;
    }
    return b->ids != NULL;
}

/* -- Fidelity ----------------------------------------------------------------------------------------------------- */

/* Rows of C numbers that comparisons work in. */
struct rows {
    double *label, *decoded, *tinyvit, *student, *work;
    float  *made;
};

static bool allocate_rows(struct rows *rows, size_t classes)
{
    double *all = malloc(6 * classes * sizeof *all);
    *rows = (struct rows){ all, all + classes, all + 2 * classes, all + 3 * classes, all + 4 * classes,
                           malloc(classes * sizeof(float)) };
    return all && rows->made;
}

/* The nearest half-precision float. */
static double to_half(double value)
{
    int exponent;
    frexp(value, &exponent);
    int step = exponent - 11 > -24 ? exponent - 11 : -24;
    return ldexp(rint(ldexp(value, -step)), step);
}

static int falling(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left < right) - (left > right);
}

/* The label as TinyViT keeps it. */
static void as_tinyvit(const double *label, int32_t classes, int32_t top_k, double *kept, double *work)
{
    double sum = 0;
    int32_t count = 0;
    top_k = top_k < classes ? top_k : classes;
    memcpy(work, label, (size_t)classes * sizeof *work);
    qsort(work, (size_t)classes, sizeof *work, falling);
    double least = work[top_k - 1];
    /* Those above the K-th value, then as many that equal it as there is room for. */
    for (int32_t pass = 0; pass < 2; pass++)
        for (int32_t c = 0; c < classes; c++) {
            if (!pass)
                kept[c] = -1;
            if (pass ? label[c] == least && count < top_k : label[c] > least) {
                kept[c] = to_half(label[c]);
                sum += kept[c];
                count++;
            }
        }
    for (int32_t c = 0; c < classes; c++)
        if (kept[c] < 0)
            kept[c] = fmax(0, 1 - sum) / (classes - top_k);
}

static void compare_row(struct bench_store *b, uint64_t row, const float *decoded, const struct rows *r)
{
    int32_t classes = b->classes, top_k = b->values->coding.top_k ? b->values->coding.top_k : TINYVIT_K;
    if (b->student.values) {
        softmax_of(b->student.values + row * (uint64_t)classes, classes, r->student);
    } else {
        fill(r->made, (size_t)classes, (uint32_t)row + 7);
        for (int32_t c = 0; c < classes; c++)
            r->made[c] *= UNTRAINED_SCALE;
        softmax_of(r->made, classes, r->student);
    }
    softmax_of(b->rows + row * (uint64_t)classes, classes, r->label);
    as_tinyvit(r->label, classes, top_k, r->tinyvit, r->work);
    for (int32_t c = 0; c < classes; c++)
        r->decoded[c] = (double)decoded[c];
    timings_add(&b->kl, kl_divergence(r->label, r->decoded, classes));
    timings_add(&b->soft_ce, soft_ce_cosine(r->student, r->label, r->decoded, classes, r->work));
    timings_add(&b->sym_kl, sym_kl_cosine(r->student, r->label, r->decoded, classes, r->work));
    timings_add(&b->tinyvit_kl, kl_divergence(r->label, r->tinyvit, classes));
    timings_add(&b->tinyvit_soft_ce, soft_ce_cosine(r->student, r->label, r->tinyvit, classes, r->work));
    timings_add(&b->tinyvit_sym_kl, sym_kl_cosine(r->student, r->label, r->tinyvit, classes, r->work));
}

/* Rows that are spread evenly over all, or over those of --compare-from and --compare-end. */
static ssld_status compare(struct bench_store *b)
{
    uint64_t rows = b->row_count < b->total ? b->row_count : b->total;
    uint64_t from = b->values->compare_from, end = b->values->compare_end;
    rows = end && end < rows ? end : rows;
    if (from >= rows)
        return SSLD_OK;
    rows -= from;
    uint64_t count = (uint64_t)b->values->compare < rows ? (uint64_t)b->values->compare : rows;
    struct rows work;
    ssld_status status = allocate_rows(&work, (size_t)b->classes) ? SSLD_OK : SSLD_OUT_OF_MEMORY;
    for (uint64_t i = 0; !status && i < count; i++) {
        uint64_t place = from + i * rows / count, sample = place % b->samples;
        uint32_t view = (uint32_t)(place / b->samples);
        status = ssld_store_read_views(b->store, 1, &sample, &view, b->labels);
        if (!status)
            compare_row(b, place, ssld_labels_probabilities(b->labels), &work);
    }
    free(work.label);
    free(work.made);
    return status;
}

/* -- Telling ------------------------------------------------------------------------------------------------------ */

static double mean(const struct timings *values)
{
    double sum = 0;
    for (size_t i = 0; i < values->count; i++)
        sum += values->values[i];
    return values->count ? sum / (double)values->count : 0;
}

static double median(const struct timings *values)
{
    return timings_median(values, 0);
}

static void print_json(const struct bench_store *b)
{
    static const struct {
        const char *name;
        size_t      offset;
    } parts[] = {
        { "classes", offsetof(ssld_store_sizes, classes) },       { "values", offsetof(ssld_store_sizes, values) },
        { "tail", offsetof(ssld_store_sizes, tail) },             { "statistics", offsetof(ssld_store_sizes, statistics) },
        { "offsets", offsetof(ssld_store_sizes, offsets) },       { "model", offsetof(ssld_store_sizes, model) },
        { "index", offsetof(ssld_store_sizes, index) },           { "framing", offsetof(ssld_store_sizes, framing) },
    };
    const ssld_store_info *info = &b->info;
    printf("{\"classes\":%" PRId32 ",\"topk\":%" PRId32 ",\"codec\":\"%s\",\"tail_coefficients\":%" PRId32 ",\"logits\":",
           b->classes, info->top_k, codec_name(info->codec), info->tail_coefficients);
    print_json_text(stdout, b->values->logits ? b->values->logits : "made up");
    printf(",\"student\":");
    print_json_text(stdout, b->values->student ? b->values->student : "made up, untrained");
    printf(",\"rows\":%" PRIu64 ",\"views\":%" PRIu64 ",\"threads\":%d,\"bytes_per_view\":%.6g", b->row_count, b->total,
           ssld_context_threads(b->program->context), bytes_per_view(info));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        uint64_t bytes = *(const uint64_t *)(const void *)((const char *)&b->sizes + parts[i].offset);
        printf("%s\"%s\":%.6g", i ? "," : ",\"bytes\":{", parts[i].name, (double)bytes / (double)info->records);
    }
    printf("},\"write_views_per_s\":%.6g,\"random_views_per_s\":%.6g,\"ordered_views_per_s\":%.6g,\"open_ms\":%.6g",
           median(&b->write), median(&b->random), median(&b->ordered), median(&b->open));
    printf(",\"compared\":%zu,\"kl_mean\":%.6g,\"soft_ce_grad_cosine_median\":%.9g,\"sym_kl_grad_cosine_median\":%.9g",
           b->kl.count, mean(&b->kl), median(&b->soft_ce), median(&b->sym_kl));
    printf(",\"tinyvit_kl_mean\":%.6g,\"tinyvit_soft_ce_grad_cosine_median\":%.9g", mean(&b->tinyvit_kl),
           median(&b->tinyvit_soft_ce));
    printf(",\"tinyvit_sym_kl_grad_cosine_median\":%.9g,\"peak_rss_mb\":%.6g}\n", median(&b->tinyvit_sym_kl), peak_mb());
}

static void print_lines(const struct bench_store *b)
{
    const struct bench_store_values *values = b->values;
    char text[128];
    describe_codec(&b->info, text, sizeof text);
    printf("labels       %" PRIu64 " views of %" PRIu64 " labels, %" PRId32 " classes, %s\n", b->total, b->row_count,
           b->classes, values->logits ? values->logits : "made up");
    printf("codec        %s\n", text);
    printf("size         %.2f bytes a view\n", bytes_per_view(&b->info));
    printf("writing      %.0f views/s, %d threads\n", median(&b->write), ssld_context_threads(b->program->context));
    printf("opening      %.3f ms\n", median(&b->open));
    printf("reading      in order %.0f views/s, at random %.0f views/s\n", median(&b->ordered), median(&b->random));
    printf("fidelity     of %zu labels; student: %s\n", b->kl.count,
           values->student ? values->student : "made up, untrained");
    printf("             %-28s %12s %20s\n", "", "this store", "TinyViT's form");
    printf("             %-28s %12.5f %20.5f\n", "mean KL(label || decoded)", mean(&b->kl), mean(&b->tinyvit_kl));
    printf("             %-28s %12.5f %20.5f\n", "soft_ce gradient, cosine", median(&b->soft_ce),
           median(&b->tinyvit_soft_ce));
    printf("             %-28s %12.5f %20.5f\n", "sym_kl gradient, cosine", median(&b->sym_kl),
           median(&b->tinyvit_sym_kl));
    printf("peak memory  %.0f MB\n", peak_mb());
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static int name_file(struct bench_store *b)
{
    const char *folder = b->values->folder ? b->values->folder : getenv("TMPDIR");
    folder = folder && *folder ? folder : "/tmp";
    size_t size = strlen(folder) + 48;
    b->path = malloc(size);
    if (!b->path)
        return program_complain("no memory");
    snprintf(b->path, size, "%s/ssld-bench-%ld.ssld", folder, (long)getpid());
    return 0;
}

/* Read the labels once, so that writing them does not wait for the disk; without it, the pages of made-up ones are
 * there. */
static double touch(const struct bench_store *b)
{
    double sum = 0;
    for (uint64_t i = 0; i < b->row_count * (uint64_t)b->classes; i += 1024)
        sum += (double)b->rows[i];
    return sum;
}

static int measure(struct bench_store *b)
{
    ssld_status status = ssld_labels_create(b->program->context, BATCH, b->classes, &b->labels);
    if (!status && (!draw_places(b) || isnan(touch(b))))
        status = SSLD_OUT_OF_MEMORY;
    int code = status ? program_fail(b->program, status) : write_store(b);
    if (code)
        return code;
    status = open_store(b);
    for (int32_t i = 0; !status && i < b->values->repeats; i++)
        if (!(status = read_ordered(b)))
            status = read_random(b);
    if (!status)
        status = compare(b);
    return status ? program_fail(b->program, status) : 0;
}

static void release(struct bench_store *b)
{
    struct timings *all[] = { &b->write,  &b->open, &b->ordered,         &b->random,         &b->soft_ce,
                              &b->sym_kl, &b->kl,   &b->tinyvit_soft_ce, &b->tinyvit_sym_kl, &b->tinyvit_kl };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        timings_free(all[i]);
    ssld_store_close(b->store);
    ssld_labels_destroy(b->labels);
    if (b->path)
        unlink(b->path);
    npy_unmap(&b->given);
    npy_unmap(&b->student);
    free(b->path);
    free(b->made);
    free(b->ids);
}

static int run(struct program *program, const void *given)
{
    struct bench_store b = { .program = program, .values = given };
    if (b.values->student && !b.values->logits) {
        program_complain("--student needs --logits: its answers are to the same views");
        return EXIT_USAGE;
    }
    if (!coding_makes_sense(&b.values->coding))
        return EXIT_USAGE;
    if (!program_open(program, b.values->threads, NULL))
        return EXIT_WORK;
    b.samples = (b.values->views + VIEWS_OF_A_SAMPLE - 1) / VIEWS_OF_A_SAMPLE;
    b.total = b.samples * VIEWS_OF_A_SAMPLE;
    int code = name_file(&b);
    if (!code)
        code = open_labels(&b);
    if (!code)
        code = measure(&b);
    if (!code)
        (b.values->json ? print_json : print_lines)(&b);
    release(&b);
    return program_close(program, code);
}

#define AT(field) offsetof(struct bench_store_values, field)

static const struct option options[] = {
    { "logits", "FILE", OPTION_TEXT, AT(logits),
      .help = "a teacher's logits, float32 of a row a view (.npy); without it made-up ones" },
    { "student", "FILE", OPTION_TEXT, AT(student),
      .help = "a student's logits of the same views (.npy), for its gradients; without it one that knows nothing" },
    { "classes", "C", OPTION_INT, AT(classes), .least = 2, .most = 1000000,
      .help = "classes of made-up labels; without it 1000" },
    { "views", "N", OPTION_COUNT, AT(views), .initial = "200000", .least = 4, .most = 1e10,
      .help = "views to write, the labels again and again; four of each image" },
    CODING_OPTIONS(struct bench_store_values),
    { "repeats", "N", OPTION_INT, AT(repeats), .initial = "3", .least = 1, .most = 1000,
      .help = "times that all views are read, in order and at random" },
    { "compare", "N", OPTION_INT, AT(compare), .initial = "1000", .least = 1, .most = 10000000,
      .help = "labels that are compared with what is decoded" },
    { "compare-from", "ROW", OPTION_COUNT, AT(compare_from), .initial = "0",
      .help = "compare labels from this row on only: what codecs learn, they learn from the first ones" },
    { "compare-end", "ROW", OPTION_COUNT, AT(compare_end),
      .help = "and only up to this row, not with it; without it all" },
    { "dir", "FOLDER", OPTION_TEXT, AT(folder),
      .help = "where the store is written and removed again; without it TMPDIR or /tmp" },
    { "threads", "N", OPTION_INT, AT(threads), .initial = "1", .least = 1, .most = 1024,
      .help = "threads that code labels" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "one line for programs" },
    { .name = NULL }
};

const struct command bench_store_command = {
    "bench store", "measure what labels cost on disk and in time, and what is left of them",
    "Writes labels into a new store, then reads them in order of view and image, and at random. Fidelity is\n"
    "the mean KL divergence of decoded labels from the given ones, and the median cosine between the\n"
    "gradients that the two give a student, for soft cross entropy and for SSLD's symmetric KL.\n",
    "  ssld bench store --classes 1000 --topk 10 --logits logits.npy --json",
    options, sizeof(struct bench_store_values), run
};
