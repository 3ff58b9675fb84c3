/* SPDX-License-Identifier: BSD-2-Clause */
/* data.h - what the commands share about images: how --data is opened, how its images are loaded, what is told of images that
 * were left out. */
#ifndef SSLD_PROGRAM_DATA_H
#define SSLD_PROGRAM_DATA_H

#include "program.h"

#define DATA_FORMS "list:FILE, dir:FOLDER, tar:SHARDS or idx:IMAGES[,LABELS]"

/* How a data set is opened. */
struct data_values {
    bool        hash_contents, check_files;
    const char *manifest; /* a path, or "none"; NULL: beside the data set */
};

/* The rows of `struct data_values member` in a command's table of options; `values` is the struct it is a member of. */
#define DATA_OPTIONS(values, member)                                                                                   \
    { "hash-contents", NULL, OPTION_FLAG, offsetof(values, member.hash_contents),                                      \
      .help = "bind labels to the contents of the files, not to their names and sizes: each is read once, and only "   \
              "what changes again; give it to all commands on these labels" },                                         \
    { "manifest", "FILE", OPTION_TEXT, offsetof(values, member.manifest),                                              \
      .help = "where what was found of the images is kept for the next time; without it beside them; none: nowhere" }, \
    { "check-files", NULL, OPTION_FLAG, offsetof(values, member.check_files),                                          \
      .help = "look at every file, not only at folders that have changed" }

/* How images are loaded. */
struct loading_values {
    int32_t     bad;
    const char *bad_report;
    uint64_t    cache; /* MiB */
};

#define LOADING_OPTIONS(values, member)                                                                                \
    { "bad-images", "WHAT", OPTION_CHOICE, offsetof(values, member.bad), .initial = "stop", .choices = "stop|skip",    \
      .help = "images that cannot be read: stop: end with an error; skip: leave them out and say which" },             \
    { "bad-report", "FILE", OPTION_TEXT, offsetof(values, member.bad_report),                                          \
      .help = "write a line for each image that was left out: its number, status, name and what is wrong" },           \
    { "cache", "MIB", OPTION_COUNT, offsetof(values, member.cache), .least = 1, .most = 1 << 24,                       \
      .help = "keep images in this much memory, decoded if all of them fit" }

/* Open a data set with its views. */
ssld_status data_open(struct program *program, const char *data, const char *views, uint64_t limit, int32_t classes,
                      const struct data_values *values, struct source *source);
void        loading_apply(const struct loading_values *values, ssld_loader_options *options);
/* Say on standard error how many images were left out of a loader's batches, and in the report which; `others` is of another
 * loader of the same command, or NULL. 0, or an exit code after a text. */
int         report_bad_images(const struct loading_values *values, const ssld_loader *loader, const ssld_loader *others);
/* What a loader did, in a line of the log that has begun. */
void        log_loader(struct log *log, ssld_loader *loader);

#endif
