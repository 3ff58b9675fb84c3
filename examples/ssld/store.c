/* SPDX-License-Identifier: BSD-2-Clause */
/* store.c - `ssld store info` and `ssld store verify`: what a store holds and what it is bound to; whether all of it
 * can be read. */
#include <inttypes.h>

#include "store_output.h"

/* -- info --------------------------------------------------------------------------------------------------------- */

struct info_values {
    struct texts paths;
    bool json, verify, quick;
};

/* A store's bytes by what they are for, in the order they are shown. */
static const struct part {
    const char *name, *field;
    size_t      offset;
} parts[] = {
    { "classes", "classes", offsetof(ssld_store_sizes, classes) },
    { "values", "values", offsetof(ssld_store_sizes, values) },
    { "tail", "tail", offsetof(ssld_store_sizes, tail) },
    { "statistics", "statistics", offsetof(ssld_store_sizes, statistics) },
    { "offsets", "offsets", offsetof(ssld_store_sizes, offsets) },
    { "learned model", "model", offsetof(ssld_store_sizes, model) },
    { "index", "index", offsetof(ssld_store_sizes, index) },
    { "framing", "framing", offsetof(ssld_store_sizes, framing) },
};

#define PARTS (sizeof parts / sizeof parts[0])

static uint64_t bytes_of(const ssld_store_sizes *sizes, const struct part *part)
{
    return *(const uint64_t *)(const void *)((const char *)sizes + part->offset);
}

static const char *hexadecimal(const uint8_t fingerprint[16], char text[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", fingerprint[i]);
    return text;
}

static void print_parts(const ssld_store_info *info, const ssld_store_sizes *sizes)
{
    for (size_t i = 0; i < PARTS; i++) {
        uint64_t bytes = bytes_of(sizes, &parts[i]);
        if (bytes)
            printf("  %-13s %9.2f bytes a view, %4.1f %%\n", parts[i].name, (double)bytes / (double)info->records,
                   100 * (double)bytes / (double)sizes->file_bytes);
    }
}

static void print_lines(const struct info_values *values, const ssld_store_info *info, const ssld_store_sizes *sizes,
                        const char *spec)
{
    char text[128];
    uint64_t wanted = info->samples * info->views;
    if (info->files > 1)
        printf("files        %" PRId32 ", %" PRIu64 " bytes\n", info->files, info->file_bytes);
    else
        printf("file         %s, %" PRIu64 " bytes\n", values->paths.items[0], info->file_bytes);
    printf("labels       %" PRIu64 " of %" PRIu64 " (%" PRIu64 " images, %" PRIu32 " views of each)%s\n", info->records,
           wanted, info->samples, info->views, info->records == wanted ? "" : ": incomplete, `ssld label` goes on");
    printf("size         %.1f bytes a view, %" PRIu64 " blocks\n", bytes_per_view(info), info->blocks);
    if (sizes && info->records)
        print_parts(info, sizes);
    describe_codec(info, text, sizeof text);
    printf("classes      %" PRId32 "\ncodec        %s\n", info->classes, text);
    printf("views        %s\n", spec);
    printf("view seed    %" PRIu64 "\n", info->view_seed);
    printf("batch norm   %s\n", info->batch_norm == SSLD_BATCH_NORM_BATCH ? "batch" : "eval");
    printf("data set     %s\n", hexadecimal(info->dataset_fingerprint, text));
    printf("teacher      %s\n", hexadecimal(info->teacher_fingerprint, text));
    printf("closed       %s\n", info->closed ? "yes" : "no: being written, or interrupted");
}

static void print_json(const struct info_values *values, const ssld_store_info *info, const ssld_store_sizes *sizes,
                       const char *spec)
{
    char text[33];
    printf("{\"file\":");
    print_json_text(stdout, values->paths.items[0]);
    printf(",\"files\":%" PRId32 ",\"file_bytes\":%" PRIu64 ",\"records\":%" PRIu64 ",\"samples\":%" PRIu64
           ",\"views\":%" PRIu32 ",\"bytes_per_view\":%.9g,\"blocks\":%" PRIu64 ",\"classes\":%" PRId32,
           info->files, info->file_bytes, info->records, info->samples, info->views, bytes_per_view(info), info->blocks,
           info->classes);
    printf(",\"codec\":\"%s\",\"top_k\":%" PRId32 ",\"kl_bound\":%.9g,\"tail_coefficients\":%" PRId32,
           codec_name(info->codec), info->top_k, info->kl_bound, info->tail_coefficients);
    printf(",\"batch_norm\":\"%s\",\"view_seed\":%" PRIu64 ",\"closed\":%s,\"view_spec\":",
           info->batch_norm == SSLD_BATCH_NORM_BATCH ? "batch" : "eval", info->view_seed,
           info->closed ? "true" : "false");
    print_json_text(stdout, spec);
    printf(",\"dataset_fingerprint\":\"%s\"", hexadecimal(info->dataset_fingerprint, text));
    printf(",\"teacher_fingerprint\":\"%s\"", hexadecimal(info->teacher_fingerprint, text));
    for (size_t i = 0; sizes && i < PARTS; i++)
        printf("%s\"%s\":%" PRIu64, i ? "," : ",\"bytes\":{", parts[i].field, bytes_of(sizes, &parts[i]));
    printf("%s}\n", sizes ? "}" : "");
}

static int run_info(struct program *program, const void *given)
{
    const struct info_values *values = given;
    ssld_store *store = NULL;
    ssld_store_info info;
    ssld_store_sizes sizes = { .struct_size = sizeof sizes };
    ssld_store_options options;
    ssld_status status;
    int code = 0;
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    ssld_store_options_init(&options, sizeof options);
    options.verify = values->verify;
    if ((status = stores_open(program, &values->paths, &options, &store, &info)) ||
        (!values->quick && (status = ssld_store_measure(store, &sizes))))
        code = program_fail(program, status);
    else if (values->json)
        print_json(values, &info, values->quick ? NULL : &sizes, ssld_store_view_spec(store));
    else
        print_lines(values, &info, values->quick ? NULL : &sizes, ssld_store_view_spec(store));
    ssld_store_close(store);
    return program_close(program, code);
}

#define AT(field) offsetof(struct info_values, field)

static const struct option options_of_info[] = {
    { "FILE", "FILE", OPTION_TEXTS, AT(paths), .required = true,
      .help = "the store; several files of one labelling are taken as one store" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "print one JSON object" },
    { "verify", NULL, OPTION_FLAG, AT(verify), .help = "check every block's checksum first" },
    { "quick", NULL, OPTION_FLAG, AT(quick),
      .help = "leave out what bytes are for: to find that, the whole store is read" },
    { .name = NULL }
};

const struct command store_info_command = {
    "store info", "say what a store holds and what it was made for", NULL, "  ssld store info labels.ssld",
    options_of_info, sizeof(struct info_values), run_info
};

/* -- verify ------------------------------------------------------------------------------------------------------- */

struct verify_values {
    struct texts paths;
    bool json;
};

struct verification {
    bool     json;
    uint64_t places, records;
};

static void report_damage(void *user, const ssld_store_damage *damage)
{
    struct verification *v = user;
    if (v->json) {
        printf("%s{\"file\":", v->places ? "," : "");
        print_json_text(stdout, damage->path);
        printf(",\"offset\":%" PRIu64 ",\"records\":%" PRIu64 ",\"sample\":%" PRIu64 ",\"view\":%" PRIu32 ",\"text\":",
               damage->offset, damage->records, damage->sample, damage->view);
        print_json_text(stdout, damage->text);
        putchar('}');
    } else {
        printf("%s: offset %" PRIu64 ": %s", damage->path, damage->offset, damage->text);
        if (damage->records)
            printf(" (%" PRIu64 " labels, the first of sample %" PRIu64 ", view %" PRIu32 ")", damage->records,
                   damage->sample, damage->view);
        putchar('\n');
    }
    v->places++;
    v->records += damage->records;
}

static int run_verify(struct program *program, const void *given)
{
    const struct verify_values *values = given;
    struct verification v = { .json = values->json };
    ssld_store *store = NULL;
    ssld_store_info info;
    int code = 0;
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    ssld_status status = stores_open(program, &values->paths, NULL, &store, &info);
    if (status) {
        code = program_fail(program, status);
        return program_close(program, code);
    }
    if (v.json)
        printf("{\"damage\":[");
    status = ssld_store_verify(store, report_damage, &v, NULL);
    if (v.json)
        printf("],\"damaged_places\":%" PRIu64 ",\"lost_records\":%" PRIu64 ",\"records\":%" PRIu64 ",\"closed\":%s}\n",
               v.places, v.records, info.records, info.closed ? "true" : "false");
    else if (!status)
        printf("%" PRIu64 " labels in %" PRIu64 " blocks, all of them intact%s\n", info.records, info.blocks,
               info.closed ? "" : "; not closed: being written, or interrupted");
    if (status == SSLD_CORRUPT && v.places)
        code = program_complain("%" PRIu64 " damaged places; `ssld store merge OUT FILE --skip-damaged` saves the rest, "
                                "`ssld label` then labels again what was lost",
                                v.places);
    else if (status)
        code = program_fail(program, status);
    ssld_store_close(store);
    return program_close(program, code);
}

#undef AT
#define AT(field) offsetof(struct verify_values, field)

static const struct option options_of_verify[] = {
    { "FILE", "FILE", OPTION_TEXTS, AT(paths), .required = true,
      .help = "the store; several files of one labelling are taken as one store" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "print one JSON object" },
    { .name = NULL }
};

const struct command store_verify_command = {
    "store verify", "check that every label of a store can be read",
    "Decodes every label and checks every checksum, without a teacher. Each damaged place is named with\n"
    "the labels that are lost with it; exit code 1 if there is one.\n",
    "  ssld store verify labels.ssld", options_of_verify, sizeof(struct verify_values), run_verify
};
