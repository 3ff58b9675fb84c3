/* SPDX-License-Identifier: BSD-2-Clause */
/* store_export.c - `ssld store export`: labels as a NumPy array or as CSV, for programs that know no stores. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "npy.h"
#include "store_output.h"

#define BATCH 256

struct export_values {
    struct texts paths;
    const char  *out, *ids;
    int32_t      as, top;
    uint64_t     first_view, view_count;
    bool         replace;
};

enum { AS_PROBABILITIES, AS_LOG };

struct exporting {
    struct program             *program;
    const struct export_values *values;
    ssld_store                 *store;
    ssld_store_info             info;
    ssld_labels                *labels;
    bool                        csv;
    struct output               output, ids;
    uint64_t                    rows;
    uint32_t                    end_view; /* behind the last one to be exported */
    float                      *row;   /* classes: what is written */
    int32_t                    *order; /* classes: by falling probability */
};

/* -- Rows --------------------------------------------------------------------------------------------------------- */

static void put_csv_head(const struct exporting *e)
{
    FILE *file = e->output.file;
    fputs("sample,view", file);
    for (int32_t c = 0; c < (e->values->top ? e->values->top : e->info.classes); c++)
        if (e->values->top)
            fprintf(file, ",class%" PRId32 ",p%" PRId32, c + 1, c + 1);
        else
            fprintf(file, ",p%" PRId32, c);
    fputc('\n', file);
}

/* Let order[0 .. top-1] be the classes of the largest values, falling, ties by class: a heap of the best so far would
 * do as well, but `top` is small. */
static void find_top(const float *values, int32_t classes, int32_t top, int32_t *order)
{
    int32_t held = 0;
    for (int32_t c = 0; c < classes; c++) {
        int32_t place = held;
        while (place > 0 && values[order[place - 1]] < values[c])
            place--;
        if (place >= top)
            continue;
        held += held < top;
        memmove(order + place + 1, order + place, (size_t)(held - 1 - place) * sizeof *order);
        order[place] = c;
    }
}

static void put_csv_row(struct exporting *e, uint64_t sample, uint32_t view)
{
    FILE *file = e->output.file;
    int32_t top = e->values->top;
    fprintf(file, "%" PRIu64 ",%" PRIu32, sample, view);
    if (top)
        find_top(e->row, e->info.classes, top, e->order);
    for (int32_t c = 0; c < (top ? top : e->info.classes); c++)
        if (top)
            fprintf(file, ",%" PRId32 ",%.9g", e->order[c], (double)e->row[e->order[c]]);
        else
            fprintf(file, ",%.9g", (double)e->row[c]);
    fputc('\n', file);
}

static void put_row(struct exporting *e, uint64_t sample, uint32_t view, const float *probabilities)
{
    int32_t classes = e->info.classes;
    for (int32_t c = 0; c < classes; c++) /* FLT_TRUE_MIN: what is 0 as a float has a logarithm, too */
        e->row[c] = e->values->as == AS_LOG ? logf(fmaxf(probabilities[c], 1e-45f)) : probabilities[c];
    if (e->csv)
        put_csv_row(e, sample, view);
    else
        fwrite(e->row, sizeof *e->row, (size_t)classes, e->output.file);
    if (e->ids.file) {
        uint64_t id[2] = { sample, view };
        fwrite(id, sizeof id, 1, e->ids.file);
    }
}

/* -- Walking ------------------------------------------------------------------------------------------------------ */

/* The next run of stored views from (view, sample) on, inside what is to be exported. */
static bool next_run(const struct exporting *e, uint32_t *view, uint64_t *sample, uint64_t *count)
{
    if (*sample == e->info.samples) {
        *sample = 0;
        ++*view;
    }
    return *view < e->end_view && !ssld_store_stored(e->store, view, sample, count) && *view < e->end_view;
}

static uint64_t count_rows(const struct exporting *e)
{
    uint64_t sample = 0, count, rows = 0;
    for (uint32_t view = (uint32_t)e->values->first_view; next_run(e, &view, &sample, &count); sample += count)
        rows += count;
    return rows;
}

static ssld_status export_batch(struct exporting *e, uint32_t view, uint64_t sample, int32_t count)
{
    uint64_t samples[BATCH];
    uint32_t views[BATCH];
    for (int32_t i = 0; i < count; i++) {
        samples[i] = sample + (uint64_t)i;
        views[i] = view;
    }
    ssld_status status = ssld_store_read_views(e->store, count, samples, views, e->labels);
    const float *rows = status ? NULL : ssld_labels_probabilities(e->labels);
    for (int32_t i = 0; rows && i < count; i++)
        put_row(e, samples[i], view, rows + (size_t)i * (size_t)e->info.classes);
    return status;
}

static int export_rows(struct exporting *e)
{
    uint64_t sample = 0, count, done = 0;
    ssld_status status = SSLD_OK;
    struct progress progress;
    progress_start(&progress, "exporting", "views", 0, e->rows);
    for (uint32_t view = (uint32_t)e->values->first_view; !status && next_run(e, &view, &sample, &count);
         sample += count)
        for (uint64_t i = 0; !status && i < count; i += BATCH) {
            int32_t now = (int32_t)(count - i < BATCH ? count - i : BATCH);
            status = program_interrupted() ? SSLD_CANCELLED : export_batch(e, view, sample + i, now);
            progress_update(&progress, done += (uint64_t)now, "");
            if (ferror(e->output.file)) /* a full disk: finishing says so */
                break;
        }
    progress_clear(&progress);
    return status ? program_fail(e->program, status) : 0;
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && !strcmp(text + length - tail, end);
}

static bool makes_sense(struct exporting *e)
{
    const struct export_values *values = e->values;
    if (values->top > e->info.classes) {
        program_complain("--top: the store has %" PRId32 " classes only", e->info.classes);
        return false;
    }
    if (values->first_view >= e->info.views || values->view_count > e->info.views - values->first_view) {
        program_complain("--first-view, --view-count: the store has views 0 to %" PRIu32, e->info.views - 1);
        return false;
    }
    e->end_view = (uint32_t)(values->view_count ? values->first_view + values->view_count : e->info.views);
    return true;
}

static bool begin(struct exporting *e)
{
    const struct export_values *values = e->values;
    e->rows = count_rows(e);
    e->row = malloc((size_t)e->info.classes * sizeof *e->row);
    e->order = malloc((size_t)e->info.classes * sizeof *e->order);
    ssld_status status = ssld_labels_create(e->program->context, BATCH, e->info.classes, &e->labels);
    if (status || !e->row || !e->order) {
        program_fail(e->program, SSLD_OUT_OF_MEMORY);
        return false;
    }
    if (!output_begin_file(e->program, values->out, values->replace, &e->output) ||
        (values->ids && !output_begin_file(e->program, values->ids, values->replace, &e->ids)))
        return false;
    if (e->csv)
        put_csv_head(e);
    else
        npy_write_head(e->output.file, "<f4", e->rows, (uint64_t)e->info.classes);
    if (e->ids.file)
        npy_write_head(e->ids.file, "<u8", e->rows, 2);
    return true;
}

static int export_opened(struct exporting *e)
{
    int code = EXIT_WORK;
    ssld_status status = stores_open(e->program, &e->values->paths, NULL, &e->store, &e->info);
    if (status)
        return program_fail(e->program, status);
    if (!makes_sense(e) || !begin(e) || (code = export_rows(e)) || (e->ids.file && (code = output_finish(&e->ids))) ||
        (code = output_finish(&e->output)))
        return code;
    printf("%s: %" PRIu64 " labels of %" PRId32 " classes\n", e->values->out, e->rows, e->info.classes);
    return 0;
}

static int run(struct program *program, const void *given)
{
    const struct export_values *values = given;
    struct exporting e = { .program = program, .values = values, .csv = ends_in(values->out, ".csv") };
    if (!e.csv && !ends_in(values->out, ".npy")) {
        program_complain("--out: '%s' ends neither in .npy nor in .csv", values->out);
        return EXIT_USAGE;
    }
    if (values->top && !e.csv) {
        program_complain("--top is for CSV; a .npy file has all classes");
        return EXIT_USAGE;
    }
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    int code = export_opened(&e);
    output_drop(&e.output);
    output_drop(&e.ids);
    ssld_labels_destroy(e.labels);
    ssld_store_close(e.store);
    free(e.row);
    free(e.order);
    return program_close(program, code);
}

#define AT(field) offsetof(struct export_values, field)

static const struct option options[] = {
    { "FILE", "FILE", OPTION_TEXTS, AT(paths), .required = true,
      .help = "the store; several files of one labelling are taken as one store" },
    { "out", "FILE", OPTION_TEXT, AT(out), .required = true, .help = "what to write: a name in .npy or .csv" },
    { "as", "WHAT", OPTION_CHOICE, AT(as), .initial = "probabilities", .choices = "probabilities|log",
      .help = "probabilities, or their natural logarithms" },
    { "top", "K", OPTION_INT, AT(top), .least = 1,
      .help = "CSV: the K most probable classes, largest first, instead of all" },
    { "first-view", "V", OPTION_COUNT, AT(first_view), .help = "begin with this view of each image; without it 0" },
    { "view-count", "N", OPTION_COUNT, AT(view_count), .least = 1,
      .help = "views of each image; without it all from there" },
    { "ids", "FILE", OPTION_TEXT, AT(ids), .help = "write sample and view of each row to this .npy file" },
    REPLACE_OPTION(struct export_values),
    { .name = NULL }
};

const struct command store_export_command = {
    "store export", "write a store's labels as a NumPy array or as CSV",
    "A row a stored view, in order of view, then sample. In a .npy file rows are float32 of all classes; a\n"
    "line of CSV begins with sample and view.\n",
    "  ssld store export labels.ssld --out labels.npy --ids ids.npy\n"
    "  ssld store export labels.ssld --out top5.csv --top 5",
    options, sizeof(struct export_values), run
};
