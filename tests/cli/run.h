/* SPDX-License-Identifier: BSD-2-Clause */
/* run.h - what the tests of the ssld program share: a folder of their own with images and a teacher, runs of the
 * program. The program's path is in SSLD_PROGRAM. */
#ifndef SSLD_TESTS_CLI_RUN_H
#define SSLD_TESTS_CLI_RUN_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGES 200
#define SIDE 28
#define CLASSES 4
#define MOST_WORDS 64

static char folder[64];
static ssld_context *context;
static char output[65536], errors[65536]; /* of the last run */

/* -- Files -------------------------------------------------------------------------------------------------------- */

/* A path in the folder; valid for the next eight calls. */
static inline const char *in_folder(const char *name)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = 0;
    if (file)
        fclose(file);
}

static inline off_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) ? -1 : info.st_size;
}

static inline bool same_bytes(const char *one, const char *other)
{
    off_t size = size_of(one);
    if (size < 1 || size != size_of(other))
        return false;
    FILE *first = fopen(one, "rb"), *second = fopen(other, "rb");
    bool same = first && second;
    for (int a = 0; same && a != EOF;) {
        a = fgetc(first);
        same = a == fgetc(second);
    }
    if (first)
        fclose(first);
    if (second)
        fclose(second);
    return same;
}

static inline void put_number(FILE *file, uint32_t number)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        fputc((int)(number >> shift & 255), file);
}

/* MNIST's format: bars that lie, stand, cross or fill, somewhere in the image, on some noise. */
static inline void write_images(const char *images, const char *labels)
{
    FILE *pixels = fopen(in_folder(images), "wb"), *classes = fopen(in_folder(labels), "wb");
    CHECK(pixels && classes, "the images cannot be written");
    put_number(pixels, 0x803);
    put_number(pixels, IMAGES);
    put_number(pixels, SIDE);
    put_number(pixels, SIDE);
    put_number(classes, 0x801);
    put_number(classes, IMAGES);
    for (uint32_t i = 0; i < IMAGES; i++) {
        uint32_t counter[4] = { i, 0, 0, 0 }, key[2] = { 5, 0 }, random[4];
        ssld_philox4x32(counter, key, random);
        int class = (int)(i % CLASSES), row = 6 + (int)(random[0] % 16), column = 6 + (int)(random[1] % 16);
        for (int p = 0; p < SIDE * SIDE; p++) {
            bool lies = abs(p / SIDE - row) < 3, stands = abs(p % SIDE - column) < 3;
            bool inside = class == 0 ? lies : class == 1 ? stands : class == 2 ? lies || stands : lies && stands;
            fputc((inside ? 200 : 20) + (int)(random[2] >> p % 24 & 31), pixels);
        }
        fputc(class, classes);
    }
    CHECK(!fclose(pixels) && !fclose(classes), "the images cannot be written");
}

static inline void write_network(const char *name, uint64_t seed, int32_t classes, int32_t channels)
{
    ssld_model *model = NULL;
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = classes;
    options.channels = channels;
    options.height = SIDE;
    options.variant = SSLD_VARIANT_SMALL;
    options.seed = seed;
    CHECK_OK(context, ssld_model_create(context, "PPLCNet_x0_25", &options, &model));
    CHECK_OK(context, ssld_model_save(model, in_folder(name)));
    ssld_model_destroy(model);
}

/* -- Runs --------------------------------------------------------------------------------------------------------- */

/* Start the program with a command line; words are separated by blanks, "..." keeps them, @ is the folder. Standard
 * error goes to `error_file`, or to the descriptor `terminal` if that is one. */
static inline pid_t start_with(const char *line, const char *error_file, int terminal)
{
    static char text[4096];
    char *words[MOST_WORDS + 2] = { getenv("SSLD_PROGRAM") };
    int count = 1;
    char *to = text;
    for (const char *from = line; *from && count <= MOST_WORDS;) {
        bool quoted = false;
        for (; *from == ' '; from++)
            continue;
        if (!*from)
            break;
        words[count++] = to;
        for (; *from && (quoted || *from != ' '); from++) {
            if (*from == '"')
                quoted = !quoted;
            else if (*from == '@')
                to += sprintf(to, "%s", folder);
            else
                *to++ = *from;
        }
        *to++ = 0;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int out = open(in_folder("out"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int err = terminal >= 0 ? terminal : open(in_folder(error_file), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        execv(words[0], words);
        _exit(127);
    }
    CHECK(child > 0, "cannot fork: %s", strerror(errno));
    return child;
}

static inline pid_t start(const char *line)
{
    return start_with(line, "err", -1);
}

/* The exit code, or minus the signal. Fills output and errors. */
static inline int finish(pid_t child)
{
    int state = 0;
    while (waitpid(child, &state, 0) < 0 && errno == EINTR)
        continue;
    read_text(in_folder("out"), output, sizeof output);
    read_text(in_folder("err"), errors, sizeof errors);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
}

static inline int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline int run(const char *format, ...)
{
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return finish(start(line));
}

#define CHECK_RUN(expected, ...)                                                                          \
    do {                                                                                                  \
        int run_code = run(__VA_ARGS__);                                                                  \
        CHECK(run_code == (expected), "exit code %d; it said: %.600s%.600s", run_code, output, errors);   \
    } while (0)
#define CHECK_SAYS(text, part) CHECK(strstr(text, part), "it says: %.1200s", text)

#define DATA "--data idx:@/images,@/classes "
#define VIEWS "--views \"pad_crop(28,2) flip(0.5) normalize(0.286,0.353)\" "
#define LABEL "label " DATA VIEWS "--teacher @/teacher.onnx "
#define TRAIN "train " DATA VIEWS "--model PPLCNet_x0_25 --variant small --batch 40 --lr 0.05 "

static inline void tear_down(void)
{
    char line[128];
    ssld_context_destroy(context);
    snprintf(line, sizeof line, "rm -r '%s'", folder);
    if (system(line))
        perror(line);
}

/* Images and a teacher, made once for all tests: they only read them, and write files of their own names. The folder
 * goes away with the program. */
static inline void set_up(void)
{
    if (*folder)
        return;
    strcpy(folder, "/tmp/ssld-cli-XXXXXX");
    CHECK(mkdtemp(folder), "no folder");
    atexit(tear_down);
    CHECK(getenv("SSLD_PROGRAM"), "SSLD_PROGRAM does not say where the program is");
    CHECK(ssld_context_create(NULL, &context) == SSLD_OK, "no context");
    write_images("images", "classes");
    write_network("untrained.onnx", 3, CLASSES, 1);
    CHECK_RUN(0, TRAIN "--epochs 8 --seed 7 --out @/teacher.onnx");
}

/* The number behind a key of the JSON line on standard output. */
static inline double told(const char *key)
{
    char name[64];
    snprintf(name, sizeof name, "\"%s\":", key);
    const char *value = strstr(output, name);
    CHECK(value, "no %s in %.1200s", key, output);
    return strtod(value + strlen(name), NULL);
}

/* -- Stores ------------------------------------------------------------------------------------------------------- */

/* Do two stores hold the same labels, record for record, of every view? */
static inline void check_same_labels(const char *one, const char *other, uint32_t views)
{
    ssld_store *stores[2] = { NULL, NULL };
    ssld_labels *labels[2] = { NULL, NULL };
    static uint64_t samples[IMAGES];
    static uint32_t numbers[IMAGES];
    const char *names[2] = { one, other };
    for (int s = 0; s < 2; s++) {
        ssld_store_options options;
        ssld_store_options_init(&options, sizeof options);
        options.verify = 1;
        CHECK_OK(context, ssld_store_open(context, in_folder(names[s]), &options, &stores[s]));
        CHECK_OK(context, ssld_labels_create(context, IMAGES, CLASSES, &labels[s]));
    }
    for (uint32_t view = 0; view < views; view++) {
        for (uint32_t i = 0; i < IMAGES; i++) {
            samples[i] = i;
            numbers[i] = view;
        }
        for (int s = 0; s < 2; s++)
            CHECK_OK(context, ssld_store_read_views(stores[s], IMAGES, samples, numbers, labels[s]));
        CHECK(!memcmp(ssld_labels_probabilities(labels[0]), ssld_labels_probabilities(labels[1]),
                      IMAGES * CLASSES * sizeof(float)), "view %u differs", view);
    }
    for (int s = 0; s < 2; s++) {
        ssld_labels_destroy(labels[s]);
        ssld_store_close(stores[s]);
    }
}

#endif
