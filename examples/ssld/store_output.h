/* SPDX-License-Identifier: BSD-2-Clause */
/* store_output.h - what the store commands share: how labels are to be coded, stores that are read, and outputs that
 * get their name when they are whole. */
#ifndef SSLD_PROGRAM_STORE_OUTPUT_H
#define SSLD_PROGRAM_STORE_OUTPUT_H

#include "program.h"

/* A choice's position is SSLD_CODEC_x, SSLD_TAIL_x. */
#define CODECS "auto|f32|f16|log8|topk"
#define TAILS "auto|uniform|learned"

/* How labels are to be coded; what is not given stays what it is. */
struct coding {
    int32_t     codec, top_k, tail, tail_coefficients, level;
    double      kl_bound; /* not a number: not given */
    const char *model_from;
};

/* The rows of `struct coding coding` in a command's table of options; `values` is the struct it is a member of. */
#define CODING_OPTIONS(values)                                                                                        \
    { "codec", "CODEC", OPTION_CHOICE, offsetof(values, coding.codec), .initial = "auto", .choices = CODECS,          \
      .help = "f32, f16 and log8 keep every class (log8 in 8 bits or less), topk the most probable "                  \
              "ones and the shape of the others; auto: log8 below 65 classes" },                                      \
    { "topk", "K", OPTION_INT, offsetof(values, coding.top_k), .least = 1,                                            \
      .help = "classes kept by topk; without it 10, with --kl-bound as many as needed" },                             \
    { "kl-bound", "NATS", OPTION_REAL, offsetof(values, coding.kl_bound), .least = 0,                                 \
      .help = "topk: of each label as few classes as keep KL(teacher || stored) below this" },                        \
    { "tail", "TAIL", OPTION_CHOICE, offsetof(values, coding.tail), .initial = "auto", .choices = TAILS,              \
      .help = "what topk keeps of the other classes: uniform: their sum; learned (auto): their shape too" },          \
    { "tail-coefficients", "N", OPTION_INT, offsetof(values, coding.tail_coefficients), .least = 1, .most = 128,      \
      .help = "numbers a label that say the shape of topk's learned tail (without it 8), or of log8 (64)" },          \
    { "level", "N", OPTION_INT, offsetof(values, coding.level), .least = 1, .most = 19,                               \
      .help = "zstd level of f32 and f16; without it 3" },                                                            \
    { "model-from", "STORE", OPTION_TEXT, offsetof(values, coding.model_from),                                        \
      .help = "code with what this store has learned, so that the two merge block by block" }

/* Do the options go together? False after a text on standard error. */
bool coding_makes_sense(const struct coding *coding);
/* Put what is given into writer options. */
void coding_apply(const struct coding *coding, ssld_store_writer_options *options);

const char *codec_name(int32_t codec);
/* "topk, K = 10, learned tail of 4 numbers" */
void describe_codec(const ssld_store_info *info, char *text, size_t size);

double bytes_per_view(const ssld_store_info *info);

/* Open one file, or several as one store, and say what it is. */
ssld_status stores_open(struct program *program, const struct texts *paths, const ssld_store_options *options,
                        ssld_store **store, ssld_store_info *info);

/* A file that is written under another name in the same folder, and gets its own when it is whole: an interrupted
 * command leaves nothing that looks finished. */
struct output {
    struct program    *program;
    const char        *path;
    char              *part;   /* the other name */
    bool               replace;
    FILE              *file;   /* either this */
    ssld_store_writer *writer; /* or this */
};

/* Begin a file or a store. False after a text on standard error. An existing `path` is refused unless it may be
 * replaced. */
bool output_begin_file(struct program *program, const char *path, bool replace, struct output *output);
bool output_begin_store(struct program *program, const char *path, bool replace, ssld_store_writer_options *options,
                        struct output *output);
/* Make the output durable and give it its name. 0, or an exit code after a text on standard error. */
int output_finish(struct output *output);
/* Remove what is there of an output that is not finished; nothing otherwise. */
void output_drop(struct output *output);

#define REPLACE_OPTION(values)                                                                                        \
    { "replace", NULL, OPTION_FLAG, offsetof(values, replace), .help = "replace the output if it exists" }

/* Copy a part of a store (NULL: all) with progress; `added` counts up. */
ssld_status copy_labels(const char *what, const ssld_store *store, const ssld_store_range *range,
                        ssld_store_writer *writer, uint64_t *added);

#endif
