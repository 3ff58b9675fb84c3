/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c - the ssld program: offline knowledge distillation from the command line, on libssld's public interface. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

/* How often a thread that has nothing to do looks for work before it sleeps: a quarter of a millisecond. */
#define SPINS "10000"

static const struct command *const commands[] = { &label_command, &train_command, &eval_command, &views_command,
                                                &model_info_command, &store_info_command, &store_verify_command, &store_check_command,
                                                &store_merge_command, &store_split_command, &store_recode_command,
                                                &store_export_command, &store_import_command, &bench_student_command,
                                                &bench_teacher_command, &bench_store_command, &bench_loader_command };

#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_overview(FILE *file)
{
    fputs("ssld - offline knowledge distillation: a teacher labels every view once, students train from its answers\n\n"
          "usage: ssld COMMAND [options]\n\ncommands:\n",
          file);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(file, "  %-13s %s\n", commands[i]->name, commands[i]->purpose);
    fputs("\n  help COMMAND   a command's options with their defaults\n"
          "  --version      versions of the program and of what it runs on\n\n"
          "first steps:\n"
          "  ssld label --data D --teacher teacher.onnx --views SPEC --labels labels.ssld\n"
          "  ssld train --data D --views SPEC --labels labels.ssld --model PPLCNet_x1_0 --out student.onnx\n"
          "  ssld eval  --model student.onnx --data D --views SPEC\n\n"
          "exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted\n",
          file);
}

/* The command whose name the arguments begin with, one word or two; `words` receives how many. */
static const struct command *find_command(int count, char **arguments, int *words)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *name = commands[i]->name, *space = strchr(name, ' ');
        size_t first = space ? (size_t)(space - name) : strlen(name);
        *words = space ? 2 : 1;
        if (count >= *words && strlen(arguments[0]) == first && !memcmp(arguments[0], name, first) &&
            (!space || !strcmp(arguments[1], space + 1)))
            return commands[i];
    }
    return NULL;
}

/* Does a command's name begin with this word and go on with another? */
static bool begins_with_word(const struct command *command, const char *word)
{
    size_t length = strlen(word);
    return !strncmp(command->name, word, length) && command->name[length] == ' ';
}

/* With the commands of two words of which the first is right. */
static int unknown_command(int count, char **arguments)
{
    size_t near = 0, shown = 0;
    for (size_t i = 0; i < COMMANDS; i++)
        near += begins_with_word(commands[i], arguments[0]);
    const char *second = near && count > 1 ? arguments[1] : "";
    fprintf(stderr, "ssld: unknown command '%s%s%s'", arguments[0], *second ? " " : "", second);
    for (size_t i = 0; i < COMMANDS; i++)
        if (begins_with_word(commands[i], arguments[0]))
            fprintf(stderr, "%s'%s'", shown++ ? ", " : near > 1 ? "; there are " : "; did you mean ", commands[i]->name);
    fprintf(stderr, "%s ('ssld --help' lists them)\n", near == 1 ? "?" : "");
    return EXIT_USAGE;
}

static int help(int count, char **arguments)
{
    int words;
    const struct command *command = count ? find_command(count, arguments, &words) : NULL;
    if (count && !command)
        return unknown_command(count, arguments);
    if (command)
        options_help(command);
    else
        print_overview(stdout);
    return 0;
}

static int run(const struct command *command, int count, char **arguments)
{
    struct program program;
    void *values = malloc(command->values_size);
    if (!values)
        return program_complain("no memory");
    int code = options_parse(command, count, arguments, values);
    if (code < 0) {
        options_help(command);
        code = 0;
    } else if (!code) {
        code = command->run(&program, values);
    }
    free(values);
    return code;
}

static int dispatch(int count, char **arguments)
{
    int words = 0;
    if (!count) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(arguments[0], "help") || !strcmp(arguments[0], "--help") || !strcmp(arguments[0], "-h"))
        return help(count - 1, arguments + 1);
    if (!strcmp(arguments[0], "--version")) {
        char build[128];
        ssld_build_info(build, sizeof build);
        printf("ssld %d.%d.%d (%s)\n", SSLD_VERSION_MAJOR, SSLD_VERSION_MINOR, SSLD_VERSION_PATCH, build);
        return 0;
    }
    const struct command *command = find_command(count, arguments, &words);
    return command ? run(command, count - words, arguments + words) : unknown_command(count, arguments);
}

/* Compute threads wait for each other several times a step, and prefetch threads render views meanwhile, but not on a core
 * whose thread spins. libgomp lets it spin for milliseconds, longer than most such waits. How long is read from the environment
 * before main(), so the program starts itself again; where that cannot be, it goes on as it is. */
static void shorten_spinning(char **arguments)
{
    char path[4096];
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || setenv("GOMP_SPINCOUNT", SPINS, 1))
        return;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return;
    path[length] = 0;
    execv(path, arguments);
}

int main(int count, char **arguments)
{
    shorten_spinning(arguments);
    int code = dispatch(count - 1, arguments + 1);
    /* A full disk or a closed pipe behind standard output is a failure like any other. */
    if (fflush(stdout) || ferror(stdout)) {
        perror("ssld: standard output");
        return code ? code : EXIT_WORK;
    }
    return code;
}
