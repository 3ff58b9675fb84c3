/* SPDX-License-Identifier: BSD-2-Clause */
/* make_fixtures.c - wrote the stores in fixtures/, with libssld 0.1.0 on a little-endian machine. Every later version must
 * read them: once 0.1 is released they are never made again. Usage: make_store_fixtures FOLDER */
#include "store_helpers.h"

#define CLASSES 20
#define SAMPLES 30
#define VIEWS 2

static void append_all(ssld_context *context, ssld_store_writer *writer, const struct plan *plan, uint64_t first, uint64_t end)
{
    for (uint64_t id = first; id < end; id += 15) {
        uint64_t ids[15];
        for (uint64_t i = 0; i < 15; i++)
            ids[i] = id + i;
        if (append_ids(context, writer, plan, ids, 15))
            abort();
    }
}

static void make(ssld_context *context, const char *folder, const char *name, int32_t codec, bool interrupted)
{
    const struct plan plan = { .classes = CLASSES, .codec = codec, .top_k = codec == SSLD_CODEC_TOPK ? 8 : 0,
                               .block_records = 16, .samples = SAMPLES, .views = VIEWS };
    ssld_store_writer_options options = plain_options(&plan);
    ssld_store_writer *writer = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    options.learn_records = 40;
    if (ssld_store_writer_open(context, path, &options, &writer))
        abort();
    append_all(context, writer, &plan, 0, 15);
    if (interrupted && ssld_store_writer_commit(writer))
        abort();
    append_all(context, writer, &plan, 15, SAMPLES * VIEWS);
    if (interrupted) {
        if (ssld_store_writer_commit(writer))
            abort();
        ssld_store_writer_abandon(writer);
    } else if (ssld_store_writer_close(writer)) {
        abort();
    }
}

int main(int argc, char **argv)
{
    ssld_context *context = NULL;
    if (argc != 2 || ssld_context_create(NULL, &context))
        return 1;
    make(context, argv[1], "dense-f32.ssld", SSLD_CODEC_DENSE_F32, false);
    make(context, argv[1], "dense-f16.ssld", SSLD_CODEC_DENSE_F16, false);
    make(context, argv[1], "dense-log8.ssld", SSLD_CODEC_DENSE_LOG8, false);
    make(context, argv[1], "topk.ssld", SSLD_CODEC_TOPK, false);
    make(context, argv[1], "interrupted.ssld", SSLD_CODEC_TOPK, true);
    ssld_context_destroy(context);
    return 0;
}
