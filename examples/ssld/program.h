/* SPDX-License-Identifier: BSD-2-Clause */
/* program.h - what the commands share: the context, signals, error lines, the images behind --data and --views. */
#ifndef SSLD_PROGRAM_PROGRAM_H
#define SSLD_PROGRAM_PROGRAM_H

#include "log.h"
#include "options.h"
#include "progress.h"
#include "ssld/ssld.h"

#define EXIT_WORK 1        /* the work failed */
#define EXIT_USAGE 2       /* the command line makes no sense */
#define EXIT_INTERRUPTED 130

struct program {
    ssld_context *context;
    struct log    log;
};

extern const struct command label_command, train_command, eval_command, views_command, store_info_command,
    bench_student_command, bench_teacher_command, model_info_command, store_verify_command, store_check_command, store_merge_command,
    store_split_command, store_recode_command, store_export_command, store_import_command, bench_store_command, bench_loader_command;

/* Context and log. From here on SIGINT and SIGTERM cancel the context; a second one ends the program at once. */
bool program_open(struct program *program, int32_t threads, const char *log_path);
/* Returns `code`, or EXIT_WORK if the log could not be written. */
int  program_close(struct program *program, int code);
/* "ssld: <the library's text>" on standard error; EXIT_WORK, or EXIT_INTERRUPTED if that is why it failed. */
int  program_fail(struct program *program, ssld_status status);
/* "ssld: ..." on standard error; EXIT_WORK. */
int  program_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Was there a signal? */
bool program_interrupted(void);
/* The beginning of the log: command and versions; the caller adds fields and ends the line. */
void program_log_start(struct program *program, const char *command);

/* A data set with its views. */
struct source {
    ssld_dataset   *dataset;
    ssld_view_spec *spec;
    int32_t         shape[3]; /* channels, height, width of every view */
};

ssld_status source_open(struct program *program, const char *data, const char *views, uint64_t limit, int32_t classes,
                        struct source *source);
void        source_close(struct source *source);

/* Is --model a file, not a network's name? */
bool is_model_file(const char *model);

/* A network by name, or from a file; the zeros of `options` are its defaults. */
ssld_status model_open(struct program *program, const char *model, const ssld_model_options *options, ssld_model **opened);

/* The choices of --precision, and SSLD_PRECISION_x of one. */
#define PRECISIONS "auto|f32|bf16"
#define PRECISION_HELP "what networks compute in; auto: bf16 where the CPU has it"
int32_t precision_of(int32_t choice);

/* Does a network take these views, and are the labels among its classes? False after a text on standard error. */
bool source_fits(const struct source *source, const char *name, const ssld_model_info *info);

/* -- Networks that infer: teachers and trained students ----------------------------------------------------------- */

/* What the command line says of them. */
struct network_values {
    struct texts paths;    /* several: an ensemble */
    const char  *weights;  /* "2,1", or NULL */
    int32_t      average, batch_norm, precision;
    bool         no_check;
};

/* The rows of all options but the paths, and the one that is for commands that run for hours. */
#define NETWORK_OPTIONS(values, member)                                                                                \
    { "teacher-weights", "W,W", OPTION_TEXT, offsetof(values, member.weights),                                         \
      .help = "of several networks: how much each counts, for example 2,1; without it all the same" },                 \
    { "teacher-average", "WHAT", OPTION_CHOICE, offsetof(values, member.average), .initial = "logits",                 \
      .choices = "logits|probabilities", .help = "of several networks: what is averaged" },                            \
    { "batch-norm", "MODE", OPTION_CHOICE, offsetof(values, member.batch_norm), .initial = "eval",                     \
      .choices = "eval|batch",                                                                                         \
      .help = "eval: stored statistics; batch: those of each batch, as PaddleClas's online SSLD runs its teacher" },   \
    { "precision", "P", OPTION_CHOICE, offsetof(values, member.precision), .initial = "f32", .choices = PRECISIONS,    \
      .help = PRECISION_HELP }
#define CHECK_OPTION(values, member)                                                                                   \
    { "no-check", NULL, OPTION_FLAG, offsetof(values, member.no_check),                                                \
      .help = "do not look at the teacher's first answers, and go on whatever they are" }

/* One network, or the ensemble of several, for the images of a source; `info` receives its shapes. 0, or an exit code after a
 * text on standard error. */
int network_open(struct program *program, const struct source *source, const struct network_values *values, int32_t batch,
                 ssld_teacher **network, ssld_model_info *info);
/* Show a teacher some views before hours are spent on it, unless --no-check. 0, or an exit code after a text. */
int network_check(struct program *program, const struct source *source, const struct network_values *values, int32_t batch,
                  uint64_t view_seed, ssld_teacher *network);
/* "teacher.onnx", or "teacher.onnx and 2 more". */
const char *network_name(const struct network_values *values, char *buffer, size_t size);

#endif
