/* SPDX-License-Identifier: BSD-2-Clause */
/* store_copy.c - `ssld store merge`, `split` and `recode`: stores made of stores. The inputs are only read; an output
 * gets its name when it is whole. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_output.h"

/* Open one input as it is, or passing over damaged blocks. */
static ssld_status open_input(struct program *program, const char *path, bool skip_damaged, ssld_store **store,
                              ssld_store_info *info)
{
    ssld_store_options options;
    ssld_store_options_init(&options, sizeof options);
    options.damaged = skip_damaged ? SSLD_STORE_SKIP : SSLD_STORE_ERROR;
    ssld_status status = ssld_store_open(program->context, path, &options, store);
    info->struct_size = sizeof *info;
    return status ? status : ssld_store_get_info(*store, info);
}

/* A store beside `like`: the same labels, coded in the same way. */
static ssld_status options_like(const ssld_store *like, const char *path, const ssld_store_info *info,
                                ssld_store_writer_options *options)
{
    ssld_store_writer_options_init(options, sizeof *options);
    ssld_status status = ssld_store_writer_options_like(like, options);
    if (!status && info->models)
        options->model_from = path;
    return status;
}

/* "FILE: 1000 of 1000 labels, 21.3 bytes a view" */
static int print_result(struct program *program, const char *path)
{
    ssld_store *store = NULL;
    ssld_store_info info;
    ssld_status status = open_input(program, path, false, &store, &info);
    if (!status)
        printf("%s: %" PRIu64 " of %" PRIu64 " labels, %.1f bytes a view\n", path, info.records,
               info.samples * info.views, bytes_per_view(&info));
    ssld_store_close(store);
    return status ? program_fail(program, status) : 0;
}

/* -- merge -------------------------------------------------------------------------------------------------------- */

struct merge_values {
    const char  *out;
    struct texts paths;
    bool         skip_damaged, replace;
};

/* What became of the labels of all inputs. */
struct merging {
    uint64_t held, added, damaged;
};

static ssld_status merge_input(struct program *program, const struct merge_values *values, const char *path,
                               struct output *output, struct merging *merging)
{
    ssld_store *store = NULL;
    ssld_store_info info;
    ssld_store_statistics statistics = { .struct_size = sizeof statistics };
    ssld_status status = open_input(program, path, values->skip_damaged, &store, &info);
    if (!status)
        status = copy_labels("merging", store, NULL, output->writer, &merging->added);
    if (!status)
        status = ssld_store_get_statistics(store, &statistics);
    if (!status) {
        merging->held += info.records;
        merging->damaged += statistics.damaged;
    }
    ssld_store_close(store);
    return status;
}

static bool begin_merge(struct program *program, const struct merge_values *values, struct output *output)
{
    const char *first = values->paths.items[0];
    ssld_store *store = NULL;
    ssld_store_info info;
    ssld_store_writer_options options;
    ssld_status status = open_input(program, first, values->skip_damaged, &store, &info);
    if (!status)
        status = options_like(store, first, &info, &options);
    if (status)
        program_fail(program, status);
    bool begun = !status && output_begin_store(program, values->out, values->replace, &options, output);
    ssld_store_close(store);
    return begun;
}

static int run_merge(struct program *program, const void *given)
{
    const struct merge_values *values = given;
    struct output output = { 0 };
    struct merging merging = { 0 };
    ssld_status status = SSLD_OK;
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    int code = begin_merge(program, values, &output) ? 0 : EXIT_WORK;
    for (int32_t i = 0; !code && i < values->paths.count; i++)
        if ((status = merge_input(program, values, values->paths.items[i], &output, &merging)))
            code = program_fail(program, status);
    if (!code)
        code = output_finish(&output);
    if (!code && merging.damaged)
        printf("%" PRIu64 " labels were in damaged blocks and are left out\n", merging.damaged);
    if (!code && merging.held > merging.added + merging.damaged)
        printf("%" PRIu64 " labels were in more than one file: the first file's are taken\n",
               merging.held - merging.added - merging.damaged);
    if (!code)
        code = print_result(program, values->out);
    output_drop(&output);
    return program_close(program, code);
}

#define AT(field) offsetof(struct merge_values, field)

static const struct option options_of_merge[] = {
    { "OUT", "OUT", OPTION_TEXT, AT(out), .required = true, .help = "the store to be made" },
    { "FILE", "FILE", OPTION_TEXTS, AT(paths), .required = true,
      .help = "stores of one labelling: the same data set, teacher, views and seed" },
    { "skip-damaged", NULL, OPTION_FLAG, AT(skip_damaged),
      .help = "leave damaged blocks out instead of stopping at them" },
    REPLACE_OPTION(struct merge_values),
    { .name = NULL }
};

const struct command store_merge_command = {
    "store merge", "make one store of several, or of what is left of a damaged one",
    "The new store is coded as the first file is. A view that is in several files is taken from the first\n"
    "of them. To read several files as one store they need not be merged.\n",
    "  ssld store merge labels.ssld shard-1.ssld shard-2.ssld", options_of_merge, sizeof(struct merge_values), run_merge
};

/* -- split -------------------------------------------------------------------------------------------------------- */

struct split_values {
    const char *path, *out;
    int32_t     parts, by;
    uint64_t    first_sample, sample_count, first_view, view_count;
    bool        skip_damaged, replace;
};

enum { BY_SAMPLE, BY_VIEW };

/* "labels.ssld", part 2 of 4: "labels-2-of-4.ssld" */
static char *name_of_part(const char *path, int32_t part, int32_t parts)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t size = strlen(path) + 32;
    int stem = dot && dot > path && (!slash || dot > slash + 1) ? (int)(dot - path) : (int)strlen(path);
    char *name = malloc(size);
    if (name)
        snprintf(name, size, "%.*s-%" PRId32 "-of-%" PRId32 "%s", stem, path, part, parts, path + stem);
    return name;
}

/* Write one range of a store into a file of its own. */
static int split_off(struct program *program, const struct split_values *values, const ssld_store *store,
                     const ssld_store_info *info, const ssld_store_range *range, const char *path)
{
    ssld_store_writer_options options;
    struct output output = { 0 };
    uint64_t added = 0;
    int code = 0;
    ssld_status status = options_like(store, values->path, info, &options);
    if (status)
        return program_fail(program, status);
    if (!output_begin_store(program, path, values->replace, &options, &output))
        return EXIT_WORK;
    if ((status = copy_labels("splitting", store, range, output.writer, &added)))
        code = program_fail(program, status);
    else if (!(code = output_finish(&output)))
        code = print_result(program, path);
    output_drop(&output);
    return code;
}

/* The share of part `part` (from 1 on) of `parts` in `count` things. */
static void share(uint64_t count, int32_t part, int32_t parts, uint64_t *first, uint64_t *number)
{
    uint64_t whole = count / (uint64_t)parts, more = count % (uint64_t)parts, before = (uint64_t)part - 1;
    *first = whole * before + (before < more ? before : more);
    *number = whole + (before < more);
}

static int split_in_parts(struct program *program, const struct split_values *values, const ssld_store *store,
                          const ssld_store_info *info)
{
    int code = 0;
    if ((uint64_t)values->parts > (values->by == BY_VIEW ? info->views : info->samples))
        return program_complain("--parts: %s has %" PRIu64 " images and %" PRIu32
                                " views of each, which makes no %" PRId32 " parts",
                                values->path, info->samples, info->views, values->parts);
    for (int32_t part = 1; !code && part <= values->parts; part++) {
        ssld_store_range range = { .struct_size = sizeof range,
                                   .sample_count = info->samples,
                                   .view_count = info->views };
        uint64_t first, count;
        share(values->by == BY_VIEW ? info->views : info->samples, part, values->parts, &first, &count);
        if (values->by == BY_VIEW) {
            range.view = (uint32_t)first;
            range.view_count = (uint32_t)count;
        } else {
            range.sample = first;
            range.sample_count = count;
        }
        char *name = name_of_part(values->out, part, values->parts);
        code = name ? split_off(program, values, store, info, &range, name) : program_complain("no memory");
        free(name);
    }
    return code;
}

/* The range that --first-sample and so on name. False after a text if it is not inside the store. */
static bool read_range(const struct split_values *values, const ssld_store_info *info, ssld_store_range *range)
{
    uint64_t views = info->views;
    if (values->first_sample >= info->samples || values->sample_count > info->samples - values->first_sample ||
        values->first_view >= views || values->view_count > views - values->first_view) {
        program_complain("%s has images 0 to %" PRIu64 " and views 0 to %" PRIu32 " of each: the part must be inside",
                         values->path, info->samples - 1, info->views - 1);
        return false;
    }
    *range = (ssld_store_range){
        .struct_size = sizeof *range,
        .sample = values->first_sample,
        .sample_count = values->sample_count ? values->sample_count : info->samples - values->first_sample,
        .view = (uint32_t)values->first_view,
        .view_count = (uint32_t)(values->view_count ? values->view_count : views - values->first_view),
    };
    return true;
}

static int run_split(struct program *program, const void *given)
{
    const struct split_values *values = given;
    ssld_store *store = NULL;
    ssld_store_info info;
    ssld_store_range range;
    int code;
    bool ranged = values->first_sample || values->sample_count || values->first_view || values->view_count;
    if (ranged == (values->parts > 0)) {
        program_complain(
            "give either --parts, or one of --first-sample, --sample-count, --first-view and --view-count");
        return EXIT_USAGE;
    }
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    ssld_status status = open_input(program, values->path, values->skip_damaged, &store, &info);
    if (status)
        code = program_fail(program, status);
    else if (values->parts)
        code = split_in_parts(program, values, store, &info);
    else
        code = read_range(values, &info, &range) ? split_off(program, values, store, &info, &range, values->out)
                                                 : EXIT_WORK;
    ssld_store_close(store);
    return program_close(program, code);
}

#undef AT
#define AT(field) offsetof(struct split_values, field)

static const struct option options_of_split[] = {
    { "FILE", "FILE", OPTION_TEXT, AT(path), .required = true, .help = "the store" },
    { "OUT", "OUT", OPTION_TEXT, AT(out), .required = true,
      .help = "the store to be made; with --parts, -1-of-N and so on is added to the name" },
    { "parts", "N", OPTION_INT, AT(parts), .least = 2, .most = MOST_TEXTS,
      .help = "make N stores of about the same size" },
    { "by", "WHAT", OPTION_CHOICE, AT(by), .initial = "sample", .choices = "sample|view",
      .help = "whether each part has all views of some images, or some views of all" },
    { "first-sample", "I", OPTION_COUNT, AT(first_sample), .help = "the part begins with this image; without it 0" },
    { "sample-count", "N", OPTION_COUNT, AT(sample_count), .least = 1,
      .help = "images of the part; without it all from there" },
    { "first-view", "V", OPTION_COUNT, AT(first_view), .help = "the part begins with this view; without it 0" },
    { "view-count", "N", OPTION_COUNT, AT(view_count), .least = 1,
      .help = "views of the part; without it all from there" },
    { "skip-damaged", NULL, OPTION_FLAG, AT(skip_damaged),
      .help = "leave damaged blocks out instead of stopping at them" },
    REPLACE_OPTION(struct split_values),
    { .name = NULL }
};

const struct command store_split_command = {
    "store split", "make several stores of one, or one of a part of it",
    "Parts stay parts of the same labelling: they can be opened together or merged again.\n",
    "  ssld store split labels.ssld part.ssld --parts 4\n"
    "  ssld store split labels.ssld first10.ssld --view-count 10",
    options_of_split, sizeof(struct split_values), run_split
};

/* -- recode ------------------------------------------------------------------------------------------------------- */

struct recode_values {
    const char   *path, *out;
    struct coding coding;
    bool          skip_damaged, replace;
};

/* What the output shares with the input but for its coding: that starts from the defaults. */
static ssld_status options_recoded(const struct recode_values *values, const ssld_store *store,
                                   ssld_store_writer_options *options)
{
    ssld_store_writer_options fresh;
    ssld_store_writer_options_init(options, sizeof *options);
    ssld_store_writer_options_init(&fresh, sizeof fresh);
    ssld_status status = ssld_store_writer_options_like(store, options);
    options->codec = fresh.codec;
    options->top_k = fresh.top_k;
    options->tail = fresh.tail;
    options->tail_coefficients = fresh.tail_coefficients;
    options->kl_bound = fresh.kl_bound;
    coding_apply(&values->coding, options);
    return status;
}

static int recode(struct program *program, const struct recode_values *values, const ssld_store *store)
{
    ssld_store_writer_options options;
    struct output output = { 0 };
    uint64_t added = 0;
    int code = 0;
    ssld_status status = options_recoded(values, store, &options);
    if (status)
        return program_fail(program, status);
    if (!output_begin_store(program, values->out, values->replace, &options, &output))
        return EXIT_WORK;
    status = copy_labels("coding", store, NULL, output.writer, &added);
    if (status)
        code = program_fail(program, status);
    else
        code = output_finish(&output);
    output_drop(&output);
    return code;
}

static int run_recode(struct program *program, const void *given)
{
    const struct recode_values *values = given;
    ssld_store *store = NULL;
    ssld_store_info info;
    int code;
    if (!coding_makes_sense(&values->coding))
        return EXIT_USAGE;
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    ssld_status status = open_input(program, values->path, values->skip_damaged, &store, &info);
    if (status) {
        code = program_fail(program, status);
    } else if (!(code = recode(program, values, store))) {
        char text[128];
        describe_codec(&info, text, sizeof text);
        printf("%s: %" PRIu64 " labels, %.1f bytes a view (%s)\n", values->path, info.records, bytes_per_view(&info),
               text);
        code = print_result(program, values->out);
    }
    ssld_store_close(store);
    return program_close(program, code);
}

#undef AT
#define AT(field) offsetof(struct recode_values, field)

static const struct option options_of_recode[] = {
    { "FILE", "FILE", OPTION_TEXT, AT(path), .required = true, .help = "the store" },
    { "OUT", "OUT", OPTION_TEXT, AT(out), .required = true, .help = "the store to be made" },
    CODING_OPTIONS(struct recode_values),
    { "skip-damaged", NULL, OPTION_FLAG, AT(skip_damaged),
      .help = "leave damaged blocks out instead of stopping at them" },
    REPLACE_OPTION(struct recode_values),
    { .name = NULL }
};

const struct command store_recode_command = {
    "store recode", "write a store's labels with another codec",
    "What a codec has left out does not come back: code from the most faithful store you have, which\n"
    "`ssld label --codec log8` makes of a teacher at about 8 bits a class.\n",
    "  ssld store recode dense.ssld small.ssld --codec topk --topk 10", options_of_recode, sizeof(struct recode_values),
    run_recode
};
