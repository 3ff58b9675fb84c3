/* SPDX-License-Identifier: BSD-2-Clause */
/* views.c - `ssld views`: chosen views of chosen samples on one picture, with what the teacher said of each. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "class_names.h"
#include "data.h"
#include "picture_file.h"
#include "sheet.h"
#include "store_output.h"

#define MOST_CHOSEN 1000   /* samples, or views of each */
#define STANDARD_VIEWS 4
#define MOST_TOP 10

struct views_values {
    const char  *data, *views, *out, *samples, *view_numbers, *seed, *names;
    struct texts labels;
    struct data_values how;
    int32_t      count, view_count, top, scale;
};

struct choice {
    int32_t  count;
    uint64_t numbers[MOST_CHOSEN];
};

struct viewing {
    struct program            *program;
    const struct views_values *values;
    struct source              source;
    uint64_t                   seed;
    ssld_store                *store; /* NULL without labels */
    ssld_store_info            info;
    struct class_names         names;
    struct choice              samples, views;
    ssld_loader               *loader;
    ssld_batch                *batch;
    ssld_labels               *labels;
    int32_t                    mixes; /* lines that say what a view is mixed with: 0 or 1 */
    struct sheet               sheet;
};

/* -- What is asked for -------------------------------------------------------------------------------------------- */

static bool read_number(const char **text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(*text, &end, 10);
    bool good = **text >= '0' && **text <= '9' && !errno;
    *text = end;
    return good;
}

/* "0,5,10-12", each below `count`. False after a text on standard error. */
static bool read_choice(const char *option, const char *text, uint64_t count, const char *what, struct choice *choice)
{
    const char *next = text;
    choice->count = 0;
    for (;; next++) {
        uint64_t first, last;
        bool good = read_number(&next, &first);
        last = first;
        if (good && *next == '-') {
            next++;
            good = read_number(&next, &last) && last >= first;
        }
        if (!good || (*next && *next != ',')) {
            program_complain("views: --%s: '%s' is not numbers and ranges with commas between them, for example 0,5,10-12",
                             option, text);
            return false;
        }
        if (last >= count) {
            program_complain("views: --%s: there is no %s %" PRIu64 "; they are 0 to %" PRIu64, option, what, last, count - 1);
            return false;
        }
        if (last - first >= (uint64_t)(MOST_CHOSEN - choice->count)) {
            program_complain("views: --%s: more than %d do not fit on a sheet", option, MOST_CHOSEN);
            return false;
        }
        for (uint64_t number = first; number <= last; number++)
            choice->numbers[choice->count++] = number;
        if (!*next)
            return true;
    }
}

/* Those given, or --count of them at even distances: folders come class by class. */
static bool choose_samples(struct viewing *v)
{
    uint64_t all = ssld_dataset_count(v->source.dataset);
    if (v->values->samples)
        return read_choice("samples", v->values->samples, all, "sample", &v->samples);
    v->samples.count = (uint64_t)v->values->count < all ? v->values->count : (int32_t)all;
    for (int32_t i = 0; i < v->samples.count; i++)
        v->samples.numbers[i] = (uint64_t)i * (all / (uint64_t)v->samples.count);
    return true;
}

/* Those given, or the first ones; of a store, no more than it has. */
static bool choose_views(struct viewing *v)
{
    uint64_t most = v->store ? v->info.views : (uint64_t)UINT32_MAX + 1;
    if (v->values->view_numbers)
        return read_choice("view-numbers", v->values->view_numbers, most, "view", &v->views);
    v->views.count = v->values->view_count ? v->values->view_count : most < STANDARD_VIEWS ? (int32_t)most : STANDARD_VIEWS;
    if ((uint64_t)v->views.count > most) {
        program_complain("views: --view-count: %s has %" PRIu64 " views of each image", v->values->labels.items[0], most);
        return false;
    }
    for (int32_t i = 0; i < v->views.count; i++)
        v->views.numbers[i] = (uint64_t)i;
    return true;
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

/* The store says what was shown to the teacher, of how many images; what the command line says must agree with it. */
static ssld_status open_with_store(struct viewing *v)
{
    const struct views_values *values = v->values;
    ssld_store_options options;
    uint8_t fingerprint[16];
    ssld_status status = stores_open(v->program, &values->labels, NULL, &v->store, &v->info);
    if (status)
        return status;
    if (!values->seed)
        v->seed = v->info.view_seed;
    if ((status = data_open(v->program, values->data, values->views ? values->views : ssld_store_view_spec(v->store),
                            v->info.samples, 0, &values->how, &v->source)))
        return status;
    ssld_store_close(v->store);
    v->store = NULL;
    ssld_dataset_fingerprint(v->source.dataset, fingerprint);
    ssld_store_options_init(&options, sizeof options);
    options.samples = ssld_dataset_count(v->source.dataset);
    options.view_spec = ssld_view_spec_text(v->source.spec);
    options.view_seed = &v->seed;
    options.dataset_fingerprint = fingerprint;
    options.missing = SSLD_STORE_SKIP;
    options.damaged = SSLD_STORE_SKIP;
    if ((status = stores_open(v->program, &values->labels, &options, &v->store, &v->info)))
        return status;
    return ssld_labels_create(v->program->context, 1, v->info.classes, &v->labels);
}

static ssld_status open_loader(struct viewing *v)
{
    ssld_loader_options options;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = 1;
    options.threads = 1; /* it goes from place to place, */
    options.prefetch = 1; /* and nothing can be prepared ahead */
    options.view_seed = v->seed;
    ssld_status status = ssld_loader_create(v->program->context, v->source.dataset, v->source.spec, &options, &v->loader);
    return status ? status : ssld_batch_create(v->program->context, &v->batch);
}

static int open_all(struct viewing *v)
{
    const struct views_values *values = v->values;
    ssld_status status = values->labels.count
                             ? open_with_store(v)
                             : data_open(v->program, values->data, values->views, 0, 0, &values->how, &v->source);
    if (status)
        return program_fail(v->program, status);
    if (!choose_samples(v) || !choose_views(v))
        return EXIT_USAGE;
    if (values->names && !class_names_read(values->names, &v->names))
        return EXIT_WORK;
    status = open_loader(v);
    return status ? program_fail(v->program, status) : 0;
}

/* -- Drawing ------------------------------------------------------------------------------------------------------ */

static bool make_sheet(struct viewing *v)
{
    char images[512], views[4096], answers[512];
    const char *headings[] = { images, views, answers, NULL };
    v->mixes = ssld_view_spec_mixes(v->source.spec);
    struct sheet_plan plan = { .rows = v->samples.count, .columns = v->views.count, .scale = v->values->scale,
                               .answers = v->store ? v->values->top : 0, .headings = headings };
    if (v->store && plan.answers > v->info.classes)
        plan.answers = v->info.classes;
    plan.answers += v->mixes;
    memcpy(plan.shape, v->source.shape, sizeof plan.shape);
    snprintf(images, sizeof images, "images  %s", v->values->data);
    snprintf(views, sizeof views, "views   %s, seed %" PRIu64, ssld_view_spec_text(v->source.spec), v->seed);
    snprintf(answers, sizeof answers, "labels  %s%s", v->store ? v->values->labels.items[0] : "",
             v->values->labels.count > 1 ? " and more" : "");
    if (!v->store)
        headings[2] = NULL;
    if (!sheet_make(&plan, &v->sheet))
        return false;
    for (int32_t i = 0; i < v->views.count; i++) {
        char text[32];
        snprintf(text, sizeof text, "view %" PRIu64, v->views.numbers[i]);
        sheet_column(&v->sheet, i, text);
    }
    return true;
}

/* "sample 17   sandal (5)   train/17.png"; what is not known, and names that are the number again, are left out. */
static void draw_caption(struct viewing *v, int32_t row)
{
    char text[600], name[256], class[256] = "";
    uint64_t sample = v->samples.numbers[row];
    int32_t label = ssld_dataset_label(v->source.dataset, sample);
    ssld_dataset_name(v->source.dataset, sample, name, sizeof name);
    if (label >= 0 && class_name(&v->names, label))
        snprintf(class, sizeof class, "   %s (%" PRId32 ")", class_name(&v->names, label), label);
    else if (label >= 0)
        snprintf(class, sizeof class, "   class %" PRId32, label);
    snprintf(text, sizeof text, "sample %" PRIu64 "%s%s%s", sample, class, *name == '#' ? "" : "   ",
             *name == '#' ? "" : name);
    sheet_row(&v->sheet, row, text);
}

/* The most probable class that has not been shown yet, ties by class. */
static int32_t next_best(const float *probabilities, int32_t classes, const int32_t *shown, int32_t count)
{
    int32_t best = -1;
    for (int32_t c = 0; c < classes; c++) {
        bool taken = false;
        for (int32_t i = 0; i < count; i++)
            taken |= shown[i] == c;
        if (!taken && (best < 0 || probabilities[c] > probabilities[best]))
            best = c;
    }
    return best;
}

/* "+30% sample 12", or "+box sample 12": with the largest of ImageNet's numbers it fits into the narrowest column. */
static ssld_status draw_mix(struct viewing *v, int32_t row, int32_t column)
{
    char text[96];
    ssld_view_mix mix = { .struct_size = sizeof mix };
    ssld_status status = ssld_view_partner(v->source.spec, v->seed, v->samples.numbers[row], (uint32_t)v->views.numbers[column],
                                           ssld_dataset_count(v->source.dataset), v->source.shape, &mix);
    if (!status && mix.kind != SSLD_MIX_NONE) {
        if (mix.kind == SSLD_MIX_BOX)
            snprintf(text, sizeof text, "+box sample %" PRIu64, mix.partner);
        else
            snprintf(text, sizeof text, "+%.0f%% sample %" PRIu64, 100 * (1 - mix.share), mix.partner);
        sheet_answer(&v->sheet, row, column, 0, 0, false, text);
    }
    return status;
}

static ssld_status draw_answers(struct viewing *v, int32_t row, int32_t column)
{
    uint64_t sample = v->samples.numbers[row];
    uint32_t view = (uint32_t)v->views.numbers[column];
    int32_t outcome, shown[MOST_TOP], label = ssld_dataset_label(v->source.dataset, sample);
    ssld_status status = ssld_store_read_outcomes(v->store, 1, &sample, &view, v->labels, &outcome);
    if (status)
        return status;
    if (outcome != SSLD_ROW_STORED) {
        sheet_answer(&v->sheet, row, column, v->mixes, 0, false, outcome == SSLD_ROW_MISSING ? "not labelled" : "damaged");
        return SSLD_OK;
    }
    const float *probabilities = ssld_labels_probabilities(v->labels);
    for (int32_t i = 0; i < v->sheet.answers - v->mixes; i++) {
        char text[300];
        int32_t class = shown[i] = next_best(probabilities, v->info.classes, shown, i);
        const char *name = class_name(&v->names, class);
        int length = snprintf(text, sizeof text, "%5.1f%% ", 100 * (double)probabilities[class]);
        if (name)
            snprintf(text + length, sizeof text - (size_t)length, "%s", name);
        else
            snprintf(text + length, sizeof text - (size_t)length, "class %" PRId32, class);
        sheet_answer(&v->sheet, row, column, v->mixes + i, probabilities[class], class == label, text);
    }
    return SSLD_OK;
}

static ssld_status draw_row(struct viewing *v, int32_t row)
{
    double means[3], deviations[3];
    ssld_status status = SSLD_OK;
    ssld_view_spec_normalization(v->source.spec, means, deviations);
    draw_caption(v, row);
    for (int32_t i = 0; !status && i < v->views.count; i++) {
        /* Epoch e renders view e; a batch is one sample. */
        if ((status = ssld_loader_seek(v->loader, v->views.numbers[i], v->samples.numbers[row])) ||
            (status = ssld_loader_next(v->loader, v->batch)))
            break;
        sheet_view(&v->sheet, row, i, ssld_batch_pixels(v->batch), means, deviations);
        if (v->mixes)
            status = draw_mix(v, row, i);
        if (!status && v->store && v->values->top)
            status = draw_answers(v, row, i);
    }
    return status;
}

static int draw(struct viewing *v)
{
    ssld_status status = SSLD_OK;
    if (!make_sheet(v))
        return EXIT_WORK;
    for (int32_t row = 0; !status && row < v->samples.count; row++)
        status = draw_row(v, row);
    if (status)
        return program_fail(v->program, status);
    int code = png_save(v->program, v->values->out, &v->sheet.canvas);
    if (!code)
        printf("%s: %" PRId32 " samples with %" PRId32 " views each, %" PRId32 " x %" PRId32 " pixels\n", v->values->out,
               v->samples.count, v->views.count, v->sheet.canvas.width, v->sheet.canvas.height);
    return code;
}

/* -- The command -------------------------------------------------------------------------------------------------- */

/* What makes no sense whatever the files are. */
static int check_values(const struct views_values *values, uint64_t *seed)
{
    const char *text = values->seed;
    if (!values->views && !values->labels.count)
        program_complain("views: --views is missing: the view spec; or give --labels, which knows it");
    else if (text && (!read_number(&text, seed) || *text))
        program_complain("views: --seed: '%s' is not a whole number", values->seed);
    else if (values->view_numbers && values->view_count)
        program_complain("views: --view-count and --view-numbers exclude each other");
    else
        return 0;
    return EXIT_USAGE;
}

static int run(struct program *program, const void *values)
{
    struct viewing *v = calloc(1, sizeof *v);
    if (!v)
        return program_complain("no memory");
    v->program = program;
    v->values = values;
    int code = check_values(values, &v->seed);
    if (!code && program_open(program, 1, NULL)) {
        if (!(code = open_all(v)))
            code = draw(v);
        ssld_batch_destroy(v->batch);
        ssld_loader_destroy(v->loader);
        ssld_labels_destroy(v->labels);
        ssld_store_close(v->store);
        source_close(&v->source);
        sheet_free(&v->sheet);
        class_names_free(&v->names);
        code = program_close(program, code);
    } else if (!code) {
        code = EXIT_WORK;
    }
    free(v);
    return code;
}

#define AT(field) offsetof(struct views_values, field)

static const struct option options[] = {
    { "data", "D", OPTION_TEXT, AT(data), .required = true,
      .help = "images: " DATA_FORMS },
    DATA_OPTIONS(struct views_values, how),
    { "views", "SPEC", OPTION_TEXT, AT(views),
      .help = "how images are augmented, for example \"rrc(224) flip(0.5) normalize(imagenet)\"; without it as --labels says" },
    { "out", "FILE.png", OPTION_TEXT, AT(out), .required = true, .help = "the picture; replaced if it exists" },
    { "samples", "I,I-I", OPTION_TEXT, AT(samples),
      .help = "which samples, for example 0,5,10-12; without it --count of them at even distances" },
    { "count", "N", OPTION_INT, AT(count), .initial = "6", .least = 1, .most = MOST_CHOSEN, .help = "how many samples" },
    { "view-count", "V", OPTION_INT, AT(view_count), .least = 1, .most = MOST_CHOSEN,
      .help = "the first V views of each; without it 4, or as many as --labels has" },
    { "view-numbers", "I,I-I", OPTION_TEXT, AT(view_numbers), .help = "which views instead, for example 0,7" },
    { "seed", "S", OPTION_TEXT, AT(seed), .help = "seed of the views; without it as --labels says, or 0" },
    { "labels", "FILE", OPTION_TEXTS, AT(labels),
      .help = "a store: the teacher's answers stand under the views; given several times: shards of one labelling" },
    { "top", "K", OPTION_INT, AT(top), .initial = "3", .least = 0, .most = MOST_TOP, .help = "answers under each view" },
    { "names", "FILE", OPTION_TEXT, AT(names), .help = "names of the classes, a line each; or lines of number and name" },
    { "scale", "N", OPTION_INT, AT(scale), .least = 1, .most = 64,
      .help = "enlarge views so many times; without it those below 129 pixels to about 192" },
    { .name = NULL }
};

const struct command views_command = {
    "views", "show views as a picture, and what the teacher said of them",
    "A row of the picture is a sample, a column a view. The pixels are those that teacher and student see,\n"
    "with the normalisation undone. With --labels each view has its most probable classes below it, the\n"
    "sample's own in green; the store must be of this data set, and of this view spec and seed if they are\n"
    "given. Below a view that is mixed stands its partner, with the partner's share or \"box\".\n",
    "  ssld views --data list:train_list.txt --labels labels.ssld --names classes.txt --out sheet.png",
    options, sizeof(struct views_values), run
};
