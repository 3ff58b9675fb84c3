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

extern const struct command label_command, train_command, eval_command, store_info_command, bench_student_command;

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

/* A network that infers, teacher or trained student, for the images of a source; `info` receives its shapes. `precision` is
 * a position in PRECISIONS. */
ssld_status network_open(struct program *program, const struct source *source, const char *path, int32_t batch,
                         int32_t batch_norm, int32_t precision, ssld_teacher **network, ssld_model_info *info);

/* Is --model a file, not a network's name? */
bool is_model_file(const char *model);

/* The choices of --precision, and SSLD_PRECISION_x of one. */
#define PRECISIONS "auto|f32|bf16"
#define PRECISION_HELP "what networks compute in; auto: bf16 where the CPU has it"
int32_t precision_of(int32_t choice);

/* Does a network take these views, and are the labels among its classes? False after a text on standard error. */
bool source_fits(const struct source *source, const char *name, const ssld_model_info *info);

#endif
