/* SPDX-License-Identifier: BSD-2-Clause */
/* program.c - context, signals, error lines, and the images behind --data and --views. */
#include "data.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A signal handler has no argument of ours. */
static ssld_context *signal_context;
static volatile sig_atomic_t signal_seen;

static void on_signal(int number)
{
    (void)number;
    signal_seen = 1;
    ssld_context_cancel(signal_context);
}

bool program_interrupted(void)
{
    return signal_seen;
}

static void library_line(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    fprintf(stderr, "ssld: %s\n", message);
}

bool program_open(struct program *program, int32_t threads, const char *log_path)
{
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.threads = threads;
    options.log_level = SSLD_LOG_WARNING;
    options.log = library_line;
    memset(program, 0, sizeof *program);
    ssld_status status = ssld_context_create(&options, &program->context);
    if (status) {
        char build[128];
        ssld_build_info(build, sizeof build);
        program_complain("cannot start libssld: %s (compiled with header %d, running on %s)", ssld_status_name(status),
                         SSLD_VERSION, build);
        return false;
    }
    if (!log_open(&program->log, log_path)) {
        ssld_context_destroy(program->context);
        return false;
    }
    signal_context = program->context;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return true;
}

int program_close(struct program *program, int code)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    ssld_context_destroy(program->context);
    return log_close(&program->log) || code ? code : EXIT_WORK;
}

int program_fail(struct program *program, ssld_status status)
{
    size_t length = ssld_context_error(program->context, NULL, 0);
    char *text = malloc(length + 1); /* that lists a network's unsupported nodes is long */
    if (text)
        ssld_context_error(program->context, text, length + 1);
    bool interrupted = status == SSLD_CANCELLED && program_interrupted();
    if (!interrupted)
        fprintf(stderr, "ssld: %s\n", text && *text ? text : ssld_status_name(status));
    free(text);
    return interrupted ? EXIT_INTERRUPTED : EXIT_WORK;
}

int program_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("ssld: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return EXIT_WORK;
}

void program_log_start(struct program *program, const char *command)
{
    char build[128];
    ssld_build_info(build, sizeof build);
    log_begin(&program->log, "start");
    log_text(&program->log, "command", command);
    log_text(&program->log, "library", build);
    log_count(&program->log, "threads", (uint64_t)ssld_context_threads(program->context));
}

/* -- Images ------------------------------------------------------------------------------------------------------- */

ssld_status source_open(struct program *program, const char *data, const char *views, uint64_t limit, int32_t classes,
                        struct source *source)
{
    static const struct data_values standard;
    return data_open(program, data, views, limit, classes, &standard, source);
}

void source_close(struct source *source)
{
    ssld_dataset_destroy(source->dataset);
    ssld_view_spec_destroy(source->spec);
    memset(source, 0, sizeof *source);
}

bool is_model_file(const char *model)
{
    size_t length = strlen(model);
    return strchr(model, '/') || (length > 5 && !strcmp(model + length - 5, ".onnx"));
}

ssld_status model_open(struct program *program, const char *model, const ssld_model_options *options, ssld_model **opened)
{
    if (!is_model_file(model))
        return ssld_model_create(program->context, model, options, opened);
    ssld_model_load_options load;
    ssld_model_load_options_init(&load, sizeof load);
    load.height = options->height;
    load.width = options->width;
    return ssld_model_load(program->context, model, &load, opened);
}

int32_t precision_of(int32_t choice)
{
    static const int32_t precisions[] = { SSLD_PRECISION_AUTO, SSLD_PRECISION_F32, SSLD_PRECISION_BF16 };
    return precisions[choice];
}

bool source_fits(const struct source *source, const char *name, const ssld_model_info *info)
{
    const int32_t *shape = source->shape;
    int32_t classes = ssld_dataset_classes(source->dataset);
    if (info->channels != shape[0] || info->height != shape[1] || info->width != shape[2]) {
        program_complain("%s takes images of %d x %d x %d (channels, height, width), the views are %d x %d x %d; "
                         "change --views", name, info->channels, info->height, info->width, shape[0], shape[1], shape[2]);
        return false;
    }
    if (classes > info->classes) {
        program_complain("%s knows %d classes, the data has labels up to %d; use the network this data is meant for",
                         name, info->classes, classes - 1);
        return false;
    }
    return true;
}
