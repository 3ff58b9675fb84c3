/* SPDX-License-Identifier: BSD-2-Clause */
/* progress.c - progress on standard error; results go to standard output and are not mixed with it. */
#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_INTERVAL 0.1
#define PLAIN_INTERVAL 10.0
#define BAR_CELLS 24

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_start(struct progress *progress, const char *what, const char *unit, uint64_t first, uint64_t total)
{
    const char *kind = getenv("TERM");
    double now = seconds_now();
    *progress = (struct progress){ .what = what, .unit = unit, .total = total, .first = first, .started = now,
                                   .shown = now };
    progress->terminal = isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* "45 s", "2 min 10 s", "3 h 25 min" */
static void print_duration(char *text, size_t size, double seconds)
{
    unsigned long whole = (unsigned long)(seconds + 0.5);
    if (whole < 60)
        snprintf(text, size, "%lu s", whole);
    else if (whole < 3600)
        snprintf(text, size, "%lu min %lu s", whole / 60, whole % 60);
    else
        snprintf(text, size, "%lu h %lu min", whole / 3600, whole % 3600 / 60);
}

void progress_update(struct progress *progress, uint64_t done, const char *detail)
{
    char bar[BAR_CELLS + 1], left[48] = "", line[512];
    double now = seconds_now(), elapsed = now - progress->started;
    if (now - progress->shown < (progress->terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL))
        return;
    progress->shown = now;
    double share = progress->total ? (double)done / (double)progress->total : 1;
    double rate = elapsed > 0 ? (double)(done - progress->first) / elapsed : 0;
    if (rate > 0) {
        print_duration(left, sizeof left, (double)(progress->total - done) / rate);
        strcat(left, " left");
    }
    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', (size_t)(share * BAR_CELLS));
    bar[BAR_CELLS] = 0;
    snprintf(line, sizeof line, "%s%s%s%s  %3d %%  %.*f %s/s  %s%s%s", progress->what, progress->terminal ? "  [" : "",
             progress->terminal ? bar : "", progress->terminal ? "]" : "", (int)floor(share * 100), rate < 100 ? 1 : 0,
             rate, progress->unit, left, *detail ? "  " : "", detail);
    if (progress->terminal)
        fprintf(stderr, "\r%.*s\033[K", terminal_width() - 1, line);
    else
        fprintf(stderr, "%s\n", line);
    progress->on_screen = progress->terminal;
}

void progress_clear(struct progress *progress)
{
    if (progress->on_screen)
        fprintf(stderr, "\r\033[K");
    progress->on_screen = false;
}
