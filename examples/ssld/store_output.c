/* SPDX-License-Identifier: BSD-2-Clause */
/* store_output.c - what the store commands share: codecs by name, stores that are read, outputs that appear when
 * whole. */
#include "store_output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Samples between two looks at the progress; a multiple of any block's records. */
#define COPY_SAMPLES (1u << 20)

/* -- Codecs ------------------------------------------------------------------------------------------------------- */

const char *codec_name(int32_t codec)
{
    static const char *const names[] = { "auto", "f32", "f16", "log8", "topk" };
    return codec >= 0 && codec < (int32_t)(sizeof names / sizeof names[0]) ? names[codec] : "unknown";
}

void describe_codec(const ssld_store_info *info, char *text, size_t size)
{
    char bound[48] = "", tail[64] = "";
    if (info->codec != SSLD_CODEC_TOPK) {
        snprintf(text, size, "%s", codec_name(info->codec));
        return;
    }
    if (info->kl_bound > 0)
        snprintf(bound, sizeof bound, " at most, KL below %g", info->kl_bound);
    if (info->tail == SSLD_TAIL_LEARNED)
        snprintf(tail, sizeof tail, "learned tail of %" PRId32 " numbers", info->tail_coefficients);
    snprintf(text, size, "topk, K = %" PRId32 "%s, %s", info->top_k, bound, *tail ? tail : "uniform tail");
}

static bool is_of_topk(const struct coding *coding)
{
    return coding->top_k || coding->tail || !isnan(coding->kl_bound);
}

bool coding_makes_sense(const struct coding *coding)
{
    bool topk = coding->codec == SSLD_CODEC_AUTO || coding->codec == SSLD_CODEC_TOPK;
    if (!topk && is_of_topk(coding))
        program_complain("--topk, --kl-bound and --tail belong to --codec topk, not to %s", codec_name(coding->codec));
    else if (!topk && coding->codec != SSLD_CODEC_DENSE_LOG8 && coding->tail_coefficients)
        program_complain("--tail-coefficients belongs to --codec topk and log8, not to %s", codec_name(coding->codec));
    else
        return true;
    return false;
}

void coding_apply(const struct coding *coding, ssld_store_writer_options *options)
{
    if (coding->codec != SSLD_CODEC_AUTO)
        options->codec = coding->codec;
    else if (is_of_topk(coding))
        options->codec = SSLD_CODEC_TOPK;
    if (coding->top_k)
        options->top_k = coding->top_k;
    if (coding->tail)
        options->tail = coding->tail;
    if (coding->tail_coefficients)
        options->tail_coefficients = coding->tail_coefficients;
    if (!isnan(coding->kl_bound))
        options->kl_bound = coding->kl_bound;
    if (coding->level)
        options->level = coding->level;
    if (coding->model_from)
        options->model_from = coding->model_from;
}

/* -- Inputs ------------------------------------------------------------------------------------------------------- */

double bytes_per_view(const ssld_store_info *info)
{
    return info->records ? (double)info->file_bytes / (double)info->records : 0;
}

ssld_status stores_open(struct program *program, const struct texts *paths, const ssld_store_options *options,
                        ssld_store **store, ssld_store_info *info)
{
    ssld_status status = paths->count == 1
                             ? ssld_store_open(program->context, paths->items[0], options, store)
                             : ssld_store_open_files(program->context, paths->items, paths->count, options, store);
    info->struct_size = sizeof *info;
    return status ? status : ssld_store_get_info(*store, info);
}

/* -- Outputs ------------------------------------------------------------------------------------------------------ */

/* The name while it is written: with the process in it, so that two commands do not write one file. */
static bool name_part(struct program *program, const char *path, bool replace, struct output *output)
{
    *output = (struct output){ .program = program, .path = path, .replace = replace };
    if (!replace && !access(path, F_OK)) {
        program_complain("%s exists; name another file or give --replace", path);
        return false;
    }
    size_t size = strlen(path) + 32;
    output->part = malloc(size);
    if (!output->part) {
        program_complain("no memory");
        return false;
    }
    snprintf(output->part, size, "%s.part-%ld", path, (long)getpid());
    return true;
}

bool output_begin_file(struct program *program, const char *path, bool replace, struct output *output)
{
    if (!name_part(program, path, replace, output))
        return false;
    output->file = fopen(output->part, "wbx");
    if (output->file)
        return true;
    program_complain("%s: cannot be created: %s", output->part, strerror(errno));
    free(output->part);
    output->part = NULL;
    return false;
}

bool output_begin_store(struct program *program, const char *path, bool replace, ssld_store_writer_options *options,
                        struct output *output)
{
    if (!name_part(program, path, replace, output))
        return false;
    options->mode = SSLD_STORE_CREATE;
    ssld_status status = ssld_store_writer_open(program->context, output->part, options, &output->writer);
    if (!status)
        return true;
    program_fail(program, status);
    free(output->part);
    output->part = NULL;
    return false;
}

/* After this a new name in the file's folder survives a power cut. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? strdup("/") : slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    int file = folder ? open(folder, O_RDONLY | O_DIRECTORY) : -1;
    bool done = file >= 0 && !fsync(file);
    if (file >= 0)
        close(file);
    free(folder);
    return done;
}

static bool close_file(struct output *output)
{
    FILE *file = output->file;
    output->file = NULL;
    bool written = !fflush(file) && !ferror(file) && !fsync(fileno(file));
    int error = errno;
    bool closed = !fclose(file);
    if (!written || !closed)
        program_complain("%s: cannot be written: %s", output->path, strerror(written ? errno : error));
    return written && closed;
}

int output_finish(struct output *output)
{
    int code = 0;
    if (output->writer) {
        ssld_status status = ssld_store_writer_close(output->writer);
        output->writer = NULL;
        code = status ? program_fail(output->program, status) : 0;
    } else if (!close_file(output)) {
        code = EXIT_WORK;
    }
    if (!code && !output->replace && !access(output->path, F_OK))
        code = program_complain("%s has come into being meanwhile and is left as it is", output->path);
    if (!code && (rename(output->part, output->path) || !sync_folder(output->path)))
        code = program_complain("%s: cannot be given its name: %s", output->path, strerror(errno));
    if (code)
        unlink(output->part);
    free(output->part);
    output->part = NULL;
    return code;
}

void output_drop(struct output *output)
{
    ssld_store_writer_abandon(output->writer);
    if (output->file)
        fclose(output->file);
    if (output->part)
        unlink(output->part);
    free(output->part);
    *output = (struct output){ 0 };
}

/* -- Copying ------------------------------------------------------------------------------------------------------ */

ssld_status copy_labels(const char *what, const ssld_store *store, const ssld_store_range *range,
                        ssld_store_writer *writer, uint64_t *added)
{
    ssld_store_info info = { .struct_size = sizeof info };
    ssld_status status = ssld_store_get_info(store, &info);
    ssld_store_range all = { .struct_size = sizeof all, .sample_count = info.samples, .view_count = info.views };
    struct progress progress;
    if (!range)
        range = &all;
    uint64_t wanted = range->sample_count * range->view_count, done = 0;
    progress_start(&progress, what, "views", 0, wanted);
    for (uint32_t v = 0; !status && v < range->view_count; v++)
        for (uint64_t s = 0; !status && s < range->sample_count; s += COPY_SAMPLES) {
            uint64_t left = range->sample_count - s, now = left < COPY_SAMPLES ? left : COPY_SAMPLES, copied = 0;
            ssld_store_range part = { sizeof part, range->sample + s, now, range->view + v, 1 };
            status = ssld_store_writer_copy(writer, store, &part, &copied);
            *added += copied;
            progress_update(&progress, done += now, "");
        }
    progress_clear(&progress);
    return status;
}
