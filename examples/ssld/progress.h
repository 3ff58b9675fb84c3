/* SPDX-License-Identifier: BSD-2-Clause */
/* progress.h - how far a long command is: a bar with rate and time left on a terminal, elsewhere a plain line now and
 * then. */
#ifndef SSLD_PROGRAM_PROGRESS_H
#define SSLD_PROGRAM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;    /* "labelling" */
    const char *unit;    /* "views" */
    uint64_t    total;
    uint64_t    first;   /* done before this run: it does not count for the rate */
    double      started, shown;
    bool        terminal, on_screen;
};

/* Seconds of a clock that only goes forward. */
double seconds_now(void);

void progress_start(struct progress *progress, const char *what, const char *unit, uint64_t first, uint64_t total);
/* Show that `done` of the total are done, if it is time to; `detail` is added: "loss 0.4321", or "". */
void progress_update(struct progress *progress, uint64_t done, const char *detail);
/* Take the bar away, before something is printed or at the end. */
void progress_clear(struct progress *progress);

#endif
