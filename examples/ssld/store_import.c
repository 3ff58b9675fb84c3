/* SPDX-License-Identifier: BSD-2-Clause */
/* store_import.c - `ssld store import`: labels that other programs have made, TinyViT's files or a NumPy array, as a
 * store. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "npy.h"
#include "store_output.h"
#include "tinyvit.h"

#define BATCH 256
#define MOST_SAMPLES ((uint64_t)1 << 40) /* a key beyond it is a mistake, not an image */

struct import_values {
    const char   *from, *out, *data, *teacher, *view_spec, *seeds;
    struct coding coding;
    uint64_t      samples, seed;
    int32_t       classes, of;
    bool          replace;
};

enum { OF_LOGITS, OF_PROBABILITIES };

/* An image's name in the data set and its number. */
struct named {
    char    *name;
    uint64_t sample;
};

struct importing {
    struct program             *program;
    const struct import_values *values;
    ssld_dataset               *dataset; /* NULL: keys are numbers */
    struct named               *names;   /* of all images, in the order of the last parts of their names */
    struct tinyvit              files;
    struct npy_matrix           matrix;
    uint64_t                    samples;
    int32_t                     classes;
    uint32_t                    views;
    struct output               output;
    ssld_labels                *labels;
    float                      *rows;    /* BATCH x classes: TinyViT's, spread out */
    int32_t                    *seeds;   /* views x samples */
    uint64_t                    pending_samples[BATCH];
    int32_t                     pending;
    uint32_t                    view;    /* of those */
    uint64_t                    done, twice;
    struct progress             progress;
    int                         code;    /* why a walk was ended */
};

/* -- Names -------------------------------------------------------------------------------------------------------- */

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static int by_last_part(const void *a, const void *b)
{
    return strcmp(last_part(((const struct named *)a)->name), last_part(((const struct named *)b)->name));
}

static bool load_names(struct importing *im)
{
    im->names = calloc(im->samples, sizeof *im->names);
    for (uint64_t i = 0; im->names && i < im->samples; i++) {
        size_t length = ssld_dataset_name(im->dataset, i, NULL, 0);
        im->names[i] = (struct named){ malloc(length + 1), i };
        if (!im->names[i].name)
            return false;
        ssld_dataset_name(im->dataset, i, im->names[i].name, length + 1);
    }
    if (im->names)
        qsort(im->names, im->samples, sizeof *im->names, by_last_part);
    return im->names != NULL;
}

/* The image of a key: that of exactly this name, else the only one whose last part is the key's. */
static bool find_name(const struct importing *im, const char *key, uint64_t *sample)
{
    uint64_t low = 0, high = im->samples, matching = 0;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (strcmp(last_part(im->names[middle].name), last_part(key)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < im->samples && !strcmp(last_part(im->names[low].name), last_part(key)); low++) {
        *sample = im->names[low].sample;
        matching++;
        if (!strcmp(im->names[low].name, key))
            return true;
    }
    return matching == 1;
}

static bool find_sample(const struct importing *im, const struct tinyvit_record *record, uint64_t *sample)
{
    char *end;
    if (im->names) {
        if (find_name(im, record->key, sample))
            return true;
        program_complain("%s:%" PRIu64 ": '%s' is no image of %s, or more than one", record->keys_path, record->line,
                         record->key, im->values->data);
        return false;
    }
    errno = 0;
    *sample = strtoull(record->key, &end, 10);
    if (end == record->key || *end || *record->key == '-' || errno)
        program_complain("%s:%" PRIu64 ": '%s' is not a number: give --data, where its name can be found",
                         record->keys_path, record->line, record->key);
    else if (*sample >= im->samples)
        program_complain("%s:%" PRIu64 ": there is no image %" PRIu64 " of %" PRIu64, record->keys_path, record->line,
                         *sample, im->samples);
    else
        return true;
    return false;
}

/* -- The store ---------------------------------------------------------------------------------------------------- */

static ssld_status teacher_fingerprint(struct importing *im, uint8_t fingerprint[16])
{
    ssld_teacher *teacher = NULL;
    ssld_status status = ssld_teacher_open(im->program->context, im->values->teacher, NULL, &teacher);
    if (!status)
        ssld_teacher_fingerprint(teacher, fingerprint);
    ssld_teacher_destroy(teacher);
    return status;
}

/* The writer, once classes, samples and views are known. What the labels are bound to is as much as is given. */
static int begin(struct importing *im)
{
    const struct import_values *values = im->values;
    ssld_store_writer_options options;
    ssld_status status = SSLD_OK;
    ssld_store_writer_options_init(&options, sizeof options);
    options.classes = im->classes;
    options.samples = im->samples;
    options.views = im->views;
    options.view_spec = values->view_spec;
    options.view_seed = values->seed;
    if (im->dataset)
        ssld_dataset_fingerprint(im->dataset, options.dataset_fingerprint);
    if ((values->teacher && (status = teacher_fingerprint(im, options.teacher_fingerprint))) ||
        (status = ssld_labels_create(im->program->context, BATCH, im->classes, &im->labels)))
        return program_fail(im->program, status);
    coding_apply(&values->coding, &options);
    return output_begin_store(im->program, values->out, values->replace, &options, &im->output) ? 0 : EXIT_WORK;
}

static int append(struct importing *im, int32_t count, const uint64_t *samples, const float *rows, bool logits)
{
    uint32_t views[BATCH];
    uint64_t before = ssld_store_writer_records(im->output.writer);
    for (int32_t i = 0; i < count; i++)
        views[i] = im->view;
    ssld_status status = logits ? ssld_labels_wrap_logits(im->labels, count, rows)
                                : ssld_labels_wrap_probabilities(im->labels, count, rows);
    if (!status)
        status = ssld_store_writer_append_views(im->output.writer, count, samples, views, im->labels);
    if (!status && program_interrupted())
        status = SSLD_CANCELLED;
    if (status)
        return program_fail(im->program, status);
    im->twice += (uint64_t)count - (ssld_store_writer_records(im->output.writer) - before);
    im->done += (uint64_t)count;
    progress_update(&im->progress, im->done, "");
    return 0;
}

static int finish(struct importing *im)
{
    progress_clear(&im->progress);
    uint64_t records = ssld_store_writer_records(im->output.writer), wanted = im->samples * im->views;
    int code = output_finish(&im->output);
    if (code)
        return code;
    if (im->twice)
        printf("%" PRIu64 " labels were there more than once: the first ones are taken\n", im->twice);
    printf("%s: %" PRIu64 " of %" PRIu64 " labels, %" PRId32 " classes, %" PRIu32 " views\n", im->values->out, records,
           wanted, im->classes, im->views);
    return 0;
}

/* -- From TinyViT ------------------------------------------------------------------------------------------------- */

static bool count_record(void *user, const struct tinyvit_record *record)
{
    struct importing *im = user;
    uint64_t sample;
    if (!find_sample(im, record, &sample))
        return false;
    im->done = sample >= im->done ? sample + 1 : im->done;
    return true;
}

/* How many images there are if nobody says: as many as the largest number in the keys wants. */
static bool count_samples(struct importing *im)
{
    im->samples = MOST_SAMPLES;
    for (uint32_t view = 0; view < im->views; view++)
        if (!tinyvit_walk(&im->files, view, count_record, im))
            return false;
    im->samples = im->done;
    im->done = 0;
    if (!im->samples)
        program_complain("%s: holds no labels", im->values->from);
    return im->samples > 0;
}

static bool flush(struct importing *im)
{
    if (im->pending)
        im->code = append(im, im->pending, im->pending_samples, im->rows, false);
    im->pending = 0;
    return !im->code;
}

static bool take_record(void *user, const struct tinyvit_record *record)
{
    struct importing *im = user;
    uint64_t sample;
    if (!find_sample(im, record, &sample))
        return false;
    const char *wrong = tinyvit_expand(record, im->files.top_k, im->classes,
                                       im->rows + (size_t)im->pending * (size_t)im->classes);
    if (wrong) {
        program_complain("%s: record %" PRIu64 ", that of '%s': %s", record->values_path, record->line, record->key,
                         wrong);
        return false;
    }
    if (im->seeds)
        im->seeds[im->view * im->samples + sample] = record->seed;
    im->pending_samples[im->pending++] = sample;
    return im->pending < BATCH || flush(im);
}

static int write_seeds(struct importing *im)
{
    struct output output;
    if (!output_begin_file(im->program, im->values->seeds, im->values->replace, &output))
        return EXIT_WORK;
    npy_write_head(output.file, "<i4", im->views, im->samples);
    fwrite(im->seeds, sizeof *im->seeds, im->views * im->samples, output.file);
    return output_finish(&output);
}

static int import_tinyvit(struct importing *im)
{
    const struct import_values *values = im->values;
    if (!tinyvit_open(values->from, &im->files))
        return EXIT_WORK;
    im->classes = values->classes;
    im->views = im->files.epochs;
    if (im->classes < im->files.top_k)
        return program_complain("--classes is needed, and at least %" PRId32
                                ": TinyViT's files do not say how many there are",
                                im->files.top_k);
    if (im->dataset && !load_names(im))
        return program_complain("no memory for the names of %" PRIu64 " images", im->samples);
    if (!im->samples && !count_samples(im))
        return EXIT_WORK;
    im->rows = malloc((size_t)BATCH * (size_t)im->classes * sizeof *im->rows);
    im->seeds = values->seeds ? calloc(im->views * im->samples, sizeof *im->seeds) : NULL;
    if (!im->rows || (values->seeds && !im->seeds))
        return program_complain("no memory");
    int code = begin(im);
    progress_start(&im->progress, "importing", "views", 0, im->samples * im->views);
    for (im->view = 0; !code && im->view < im->views; im->view++)
        if (!tinyvit_walk(&im->files, im->view, take_record, im) || !flush(im))
            code = im->code ? im->code : EXIT_WORK;
    progress_clear(&im->progress);
    if (!code && im->seeds)
        code = write_seeds(im);
    return code ? code : finish(im);
}

/* -- From NumPy --------------------------------------------------------------------------------------------------- */

/* Row v * samples + i is view v of image i. */
static int import_rows(struct importing *im)
{
    uint64_t samples[BATCH];
    int code = 0;
    progress_start(&im->progress, "importing", "views", 0, im->matrix.rows);
    for (im->view = 0; im->view < im->views; im->view++)
        for (uint64_t first = 0; !code && first < im->samples; first += BATCH) {
            int32_t count = (int32_t)(im->samples - first < BATCH ? im->samples - first : BATCH);
            for (int32_t i = 0; i < count; i++)
                samples[i] = first + (uint64_t)i;
            code = append(im, count, samples, im->matrix.values + (im->view * im->samples + first) * im->matrix.columns,
                          im->values->of == OF_LOGITS);
        }
    progress_clear(&im->progress);
    return code;
}

static int import_numpy(struct importing *im)
{
    const struct import_values *values = im->values;
    if (values->seeds)
        return program_complain("--seeds: a NumPy array has none");
    if (!npy_map(values->from, &im->matrix))
        return EXIT_WORK;
    im->samples = im->samples ? im->samples : im->matrix.rows;
    if (im->matrix.rows % im->samples || im->matrix.rows / im->samples > UINT32_MAX)
        return program_complain("%s: has %" PRIu64 " rows, which is not a number of views of each of %" PRIu64
                                " images",
                                values->from, im->matrix.rows, im->samples);
    if (im->matrix.columns > INT32_MAX || (values->classes && (uint64_t)values->classes != im->matrix.columns))
        return program_complain("%s: has %" PRIu64 " columns, --classes is %" PRId32, values->from, im->matrix.columns,
                                values->classes);
    im->classes = (int32_t)im->matrix.columns;
    im->views = (uint32_t)(im->matrix.rows / im->samples);
    int code = begin(im);
    if (!code)
        code = import_rows(im);
    return code ? code : finish(im);
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static int import_opened(struct importing *im)
{
    const struct import_values *values = im->values;
    struct stat info;
    if (stat(values->from, &info))
        return program_complain("%s: cannot be read: %s", values->from, strerror(errno));
    im->samples = values->samples;
    if (values->data) {
        ssld_dataset_options options;
        ssld_dataset_options_init(&options, sizeof options);
        options.limit = values->samples;
        ssld_status status = ssld_dataset_open(im->program->context, values->data, &options, &im->dataset);
        if (status)
            return program_fail(im->program, status);
        im->samples = ssld_dataset_count(im->dataset);
    }
    return S_ISDIR(info.st_mode) ? import_tinyvit(im) : import_numpy(im);
}

static int run(struct program *program, const void *given)
{
    struct importing im = { .program = program, .values = given };
    if (!coding_makes_sense(&im.values->coding))
        return EXIT_USAGE;
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    int code = import_opened(&im);
    output_drop(&im.output);
    ssld_labels_destroy(im.labels);
    for (uint64_t i = 0; im.names && i < im.samples; i++)
        free(im.names[i].name);
    free(im.names);
    ssld_dataset_destroy(im.dataset);
    npy_unmap(&im.matrix);
    free(im.rows);
    free(im.seeds);
    return program_close(program, code);
}

#define AT(field) offsetof(struct import_values, field)

static const struct option options[] = {
    { "FROM", "FROM", OPTION_TEXT, AT(from), .required = true,
      .help = "a folder with TinyViT's logits_top{K}_epoch{E}, or a .npy file" },
    { "OUT", "OUT", OPTION_TEXT, AT(out), .required = true, .help = "the store to be made" },
    { "classes", "C", OPTION_INT, AT(classes), .least = 2, .help = "classes; TinyViT's files do not say" },
    { "samples", "N", OPTION_COUNT, AT(samples), .least = 1, .most = 1e12,
      .help = "images; without it those of --data, else as many as TinyViT's keys number, else a row each" },
    { "data", "D", OPTION_TEXT, AT(data),

      .help = "the images: list:FILE, dir:FOLDER, tar:SHARDS or idx:IMAGES; binds the store to them, and TinyViT's keys are looked up "
              "in their names" },
    { "teacher", "FILE", OPTION_TEXT, AT(teacher), .help = "the teacher, an ONNX classifier: binds the store to it" },
    { "views", "SPEC", OPTION_TEXT, AT(view_spec),
      .help = "what is written as the views' specification; without it nothing" },
    { "seed", "S", OPTION_COUNT, AT(seed), .initial = "0", .help = "seed of the views" },
    { "seeds", "FILE", OPTION_TEXT, AT(seeds),
      .help = "write the seed of each TinyViT view to this .npy file, views x images" },
    { "of", "WHAT", OPTION_CHOICE, AT(of), .initial = "logits", .choices = "logits|probabilities",
      .help = "what a .npy file holds" },
    CODING_OPTIONS(struct import_values),
    REPLACE_OPTION(struct import_values),
    { .name = NULL }
};

const struct command store_import_command = {
    "store import", "make a store of labels that another program has made",
    "TinyViT's epochs become views. Its views are drawn by its own program from the seeds that --seeds\n"
    "saves: `ssld train` cannot draw them, a host that trains with TinyViT's code can read their labels.\n"
    "Row v * N + i of a .npy file (float32, N images) is view v of image i.\n",
    "  ssld store import teacher_logits/ labels.ssld --classes 1000 --data list:train_list.txt --seeds seeds.npy\n"
    "  ssld store import logits.npy labels.ssld",
    options, sizeof(struct import_values), run
};
