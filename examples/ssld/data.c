/* SPDX-License-Identifier: BSD-2-Clause */
/* data.c - the images behind --data, and those of them that were left out. */
#include "data.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SHOWN 5 /* bad images, where there is no report */

ssld_status data_open(struct program *program, const char *data, const char *views, uint64_t limit, int32_t classes,
                      const struct data_values *values, struct source *source)
{
    ssld_dataset_options options;
    int32_t image[3];
    ssld_status status;
    bool none = values->manifest && !strcmp(values->manifest, "none");
    ssld_dataset_options_init(&options, sizeof options);
    options.limit = limit;
    options.classes = classes;
    options.hash_contents = values->hash_contents;
    options.manifest_path = none ? NULL : values->manifest;
    options.manifest = none ? SSLD_MANIFEST_NONE : values->check_files ? SSLD_MANIFEST_CHECK : SSLD_MANIFEST_KEEP;
    memset(source, 0, sizeof *source);
    if ((status = ssld_view_spec_parse(program->context, views, &source->spec)) ||
        (status = ssld_dataset_open(program->context, data, &options, &source->dataset)))
        goto fail;
    ssld_dataset_image(source->dataset, image);
    if ((status = ssld_view_spec_shape(source->spec, image, source->shape)))
        goto fail;
    return SSLD_OK;
fail:
    source_close(source);
    return status;
}

void loading_apply(const struct loading_values *values, ssld_loader_options *options)
{
    options->bad = values->bad ? SSLD_BAD_SKIP : SSLD_BAD_STOP;
    options->cache_bytes = values->cache << 20;
}

void log_loader(struct log *log, ssld_loader *loader)
{
    ssld_loader_statistics s = { .struct_size = sizeof s };
    if (ssld_loader_get_statistics(loader, &s))
        return;
    log_real(log, "wait_seconds", s.wait_seconds);
    log_real(log, "read_seconds", s.read_seconds);
    log_real(log, "render_seconds", s.render_seconds);
    log_count(log, "bytes_read", s.bytes_read);
    log_count(log, "cache_hits", s.cache_hits);
    log_count(log, "cache_bytes", s.cache_bytes);
    log_count(log, "bad_images", ssld_loader_bad_count(loader));
}

/* -- Bad images --------------------------------------------------------------------------------------------------- */

/* A report's line: number, status, text, with tabs between. A file's name may hold anything: line ends in it become blanks. */
static void write_line(FILE *file, const ssld_bad_image *image)
{
    fprintf(file, "%" PRIu64 "\t%s\t", image->sample, ssld_status_name(image->status));
    for (const char *text = image->text; *text; text++)
        fputc(*text == '\n' || *text == '\r' ? ' ' : *text, file);
    fputc('\n', file);
}

static void write_lines(FILE *file, const ssld_loader *loader, uint64_t most)
{
    uint64_t count = loader ? ssld_loader_bad_count(loader) : 0;
    for (uint64_t i = 0; i < count && i < most; i++) {
        ssld_bad_image image = { .struct_size = sizeof image };
        if (ssld_loader_bad(loader, i, &image))
            continue;
        if (file == stderr)
            fputs("ssld:   ", stderr);
        write_line(file, &image);
    }
}

int report_bad_images(const struct loading_values *values, const ssld_loader *loader, const ssld_loader *others)
{
    uint64_t count = (loader ? ssld_loader_bad_count(loader) : 0) + (others ? ssld_loader_bad_count(others) : 0);
    const char *path = values->bad_report;
    if (count && path)
        program_complain("%" PRIu64 " %s left out because they cannot be read; %s lists them", count,
                         count == 1 ? "image was" : "images were", path);
    else if (count)
        program_complain("%" PRIu64 " %s left out because they cannot be read%s", count, count == 1 ? "image was" : "images were",
                         count > SHOWN ? "; --bad-report FILE would list all, the first are:" : ":");
    if (!path) {
        write_lines(stderr, loader, SHOWN);
        write_lines(stderr, others, SHOWN);
        return 0;
    }
    /* Without bad images the report is empty: an old one would be mistaken for this run's. */
    FILE *file = fopen(path, "w");
    if (!file)
        return program_complain("%s: cannot write: %s", path, strerror(errno));
    write_lines(file, loader, UINT64_MAX);
    write_lines(file, others, UINT64_MAX);
    bool failed = ferror(file);
    return fclose(file) || failed ? program_complain("%s: cannot write: %s", path, strerror(errno)) : 0;
}
