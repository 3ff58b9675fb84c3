/* SPDX-License-Identifier: BSD-2-Clause */
/* store.c - `ssld store info`: what a store holds and what it is bound to. */
#include <inttypes.h>

#include "program.h"

struct info_values {
    const char *path;
    bool json, verify;
};

static const char *codec_name(int32_t codec)
{
    return codec == SSLD_CODEC_DENSE_F16 ? "dense" : codec == SSLD_CODEC_TOPK ? "topk" : "unknown";
}

static const char *hexadecimal(const uint8_t fingerprint[16], char text[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", fingerprint[i]);
    return text;
}

static double bytes_per_view(const ssld_store_info *info)
{
    return info->records ? (double)info->file_bytes / (double)info->records : 0;
}

static void print_lines(const char *path, const ssld_store_info *info, const char *spec)
{
    char text[33];
    uint64_t wanted = info->samples * info->views;
    printf("file         %s, %" PRIu64 " bytes\n", path, info->file_bytes);
    printf("labels       %" PRIu64 " of %" PRIu64 " (%" PRIu64 " images, %" PRIu32 " views of each)%s\n", info->records,
           wanted, info->samples, info->views, info->records == wanted ? "" : ": incomplete, `ssld label` goes on");
    printf("size         %.1f bytes a view, %" PRIu64 " blocks\n", bytes_per_view(info), info->blocks);
    printf("classes      %" PRId32 "\n", info->classes);
    if (info->top_k)
        printf("codec        %s, K = %" PRId32 "\n", codec_name(info->codec), info->top_k);
    else
        printf("codec        %s\n", codec_name(info->codec));
    printf("views        %s\n", spec);
    printf("view seed    %" PRIu64 "\n", info->view_seed);
    printf("batch norm   %s\n", info->batch_norm == SSLD_BATCH_NORM_BATCH ? "batch" : "eval");
    printf("data set     %s\n", hexadecimal(info->dataset_fingerprint, text));
    printf("teacher      %s\n", hexadecimal(info->teacher_fingerprint, text));
    printf("closed       %s\n", info->closed ? "yes" : "no: being written, or interrupted");
}

static void print_json(const char *path, const ssld_store_info *info, const char *spec)
{
    char text[33];
    printf("{\"file\":");
    print_json_text(stdout, path);
    printf(",\"file_bytes\":%" PRIu64 ",\"records\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"views\":%" PRIu32
           ",\"bytes_per_view\":%.9g,\"blocks\":%" PRIu64 ",\"classes\":%" PRId32 ",\"codec\":\"%s\",\"top_k\":%" PRId32,
           info->file_bytes, info->records, info->samples, info->views, bytes_per_view(info), info->blocks, info->classes,
           codec_name(info->codec), info->top_k);
    printf(",\"batch_norm\":\"%s\",\"view_seed\":%" PRIu64 ",\"closed\":%s,\"view_spec\":",
           info->batch_norm == SSLD_BATCH_NORM_BATCH ? "batch" : "eval", info->view_seed, info->closed ? "true" : "false");
    print_json_text(stdout, spec);
    printf(",\"dataset_fingerprint\":\"%s\"", hexadecimal(info->dataset_fingerprint, text));
    printf(",\"teacher_fingerprint\":\"%s\"}\n", hexadecimal(info->teacher_fingerprint, text));
}

static int run(struct program *program, const void *given)
{
    const struct info_values *values = given;
    ssld_store *store = NULL;
    ssld_store_info info = { .struct_size = sizeof info };
    ssld_store_options options;
    ssld_status status;
    int code = 0;
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    ssld_store_options_init(&options, sizeof options);
    options.verify = values->verify;
    if ((status = ssld_store_open(program->context, values->path, &options, &store)) ||
        (status = ssld_store_get_info(store, &info)))
        code = program_fail(program, status);
    else if (values->json)
        print_json(values->path, &info, ssld_store_view_spec(store));
    else
        print_lines(values->path, &info, ssld_store_view_spec(store));
    ssld_store_close(store);
    return program_close(program, code);
}

static const struct option options_of_info[] = {
    { "FILE", "FILE", OPTION_TEXT, offsetof(struct info_values, path), .required = true, .help = "the store" },
    { "json", NULL, OPTION_FLAG, offsetof(struct info_values, json), .help = "print one JSON object" },
    { "verify", NULL, OPTION_FLAG, offsetof(struct info_values, verify),
      .help = "check every block's checksum first" },
    { .name = NULL }
};

const struct command store_info_command = {
    "store info", "say what a store holds and what it was made for", NULL, "  ssld store info labels.ssld", options_of_info,
    sizeof(struct info_values), run
};
