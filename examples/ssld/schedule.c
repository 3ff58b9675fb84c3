/* SPDX-License-Identifier: BSD-2-Clause */
/* schedule.c - learning-rate schedules as text: a name and its numbers. Epochs become steps when their length is known. */
#include "schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t steps_of(double epochs, uint64_t steps_epoch)
{
    long long steps = llround(epochs * (double)steps_epoch);
    return steps > 1 ? (uint64_t)steps : 1;
}

/* -- What the numbers mean: a function a schedule ----------------------------------------------------------------- */

typedef void apply_function(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options);

static void constant(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options)
{
    (void)schedule;
    (void)steps_epoch;
    (void)options;
}

static void cosine(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options)
{
    (void)steps_epoch;
    options->final_rate = (float)schedule->numbers[0];
}

static void by_steps(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options)
{
    options->decay_steps = steps_of(schedule->numbers[0], steps_epoch);
    options->gamma = (float)schedule->numbers[1];
}

static void by_milestones(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options)
{
    options->milestone_count = schedule->count - 1;
    options->milestones = schedule->milestones;
    for (int32_t i = 0; i < options->milestone_count; i++)
        schedule->milestones[i] = steps_of(schedule->numbers[i], steps_epoch);
    options->gamma = (float)schedule->numbers[schedule->count - 1];
}

static void one_cycle(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options)
{
    (void)steps_epoch;
    options->rise = (float)schedule->numbers[0];
    options->start_divisor = (float)schedule->numbers[1];
    options->final_divisor = (float)schedule->numbers[2];
}

struct schedule_row {
    const char     *name;
    int32_t         kind, least, most; /* SSLD_SCHEDULE_x; how many numbers */
    apply_function *apply;
    const char     *form;
};

static const struct schedule_row rows[] = {
    { "constant", SSLD_SCHEDULE_CONSTANT, 0, 0, constant, "constant" },
    { "cosine", SSLD_SCHEDULE_COSINE, 0, 1, cosine, "cosine or cosine:FINAL, the rate it ends at" },
    { "step", SSLD_SCHEDULE_STEP, 2, 2, by_steps, "step:EPOCHS,FACTOR" },
    { "multistep", SSLD_SCHEDULE_MULTISTEP, 2, MOST_MILESTONES + 1, by_milestones, "multistep:EPOCH,...,FACTOR" },
    { "one-cycle", SSLD_SCHEDULE_ONE_CYCLE, 0, 3, one_cycle,
      "one-cycle or one-cycle:RISE,START,END, a share and two divisors" },
};

/* -- The text ----------------------------------------------------------------------------------------------------- */

static bool wrong(const char *text, const char *expected)
{
    program_complain("train: --schedule: '%s' is not %s", text, expected);
    return false;
}

static bool parse_numbers(const char *text, const char *next, struct schedule *schedule)
{
    while (*next) {
        char *end = NULL;
        double number = strtod(next, &end);
        if (end == next || (*end && *end != ',') || (*end && !end[1]) || !isfinite(number) || number <= 0 ||
            schedule->count == schedule->row->most)
            return wrong(text, schedule->row->form);
        schedule->numbers[schedule->count++] = number;
        next = end + (*end == ',');
    }
    return schedule->count >= schedule->row->least ? true : wrong(text, schedule->row->form);
}

bool schedule_parse(const char *text, struct schedule *schedule)
{
    size_t length = strcspn(text, ":");
    memset(schedule, 0, sizeof *schedule);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if (strlen(rows[r].name) != length || memcmp(rows[r].name, text, length) != 0)
            continue;
        schedule->row = &rows[r];
        if (text[length] && !text[length + 1])
            return wrong(text, rows[r].form);
        return parse_numbers(text, text + length + (text[length] == ':'), schedule);
    }
    return wrong(text, "one of " SCHEDULE_FORMS);
}

void schedule_apply(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options)
{
    options->schedule = schedule->row->kind;
    schedule->row->apply(schedule, steps_epoch, options);
}
