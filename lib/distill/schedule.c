/* SPDX-License-Identifier: BSD-2-Clause */
/* schedule.c - the learning rate of a step: PaddleClas's schedules, which count from the end of the warmup, and PyTorch's
 * one-cycle. A schedule is a function and its place in the table. */
#include "distill/schedule.h"

#include <math.h>

#include "ssld/student.h"

#define PI 3.14159265358979323846

/* From `first` at part 0 to `last` at part 1, along half a cosine. */
static double half_cosine(double first, double last, double part)
{
    return last + (first - last) * (1 + cos(PI * part)) / 2;
}

/* Each: the rate `step` steps behind the warmup, of `total` in all (0: a run without an end). */
typedef double rate_function(const struct ssld_schedule *schedule, uint64_t step, uint64_t total);

static double constant(const struct ssld_schedule *schedule, uint64_t step, uint64_t total)
{
    (void)step;
    (void)total;
    return schedule->rate;
}

/* Reaches the final rate at step = total, one behind the last. */
static double cosine(const struct ssld_schedule *schedule, uint64_t step, uint64_t total)
{
    return total ? half_cosine(schedule->rate, schedule->final_rate, (double)step / (double)total) : schedule->rate;
}

static double by_steps(const struct ssld_schedule *schedule, uint64_t step, uint64_t total)
{
    (void)total;
    return schedule->rate * pow(schedule->gamma, (double)(step / schedule->decay_steps));
}

static double by_milestones(const struct ssld_schedule *schedule, uint64_t step, uint64_t total)
{
    int32_t passed = 0;
    (void)total;
    while (passed < schedule->milestone_count && schedule->milestones[passed] <= step)
        passed++;
    return schedule->rate * pow(schedule->gamma, passed);
}

/*   up:   start .. peak at steps 0 .. top,  top = rise * total - 1
 *   down: peak .. end   at steps top .. total - 1
 * As in PyTorch the top may lie between two steps; one that lies before step 0 leaves only the way down. */
static double one_cycle(const struct ssld_schedule *schedule, uint64_t step, uint64_t total)
{
    double start = schedule->rate / schedule->start_divisor, end = start / schedule->final_divisor;
    double top = schedule->rise * (double)total - 1, last = (double)total - 1, at = (double)step;
    if (top > 0 && at <= top)
        return half_cosine(start, schedule->rate, at / top);
    top = top > 0 ? top : 0;
    return last > top ? half_cosine(schedule->rate, end, (at - top) / (last - top)) : schedule->rate;
}

static rate_function *const table[] = {
    [SSLD_SCHEDULE_CONSTANT] = constant,       [SSLD_SCHEDULE_COSINE] = cosine,       [SSLD_SCHEDULE_STEP] = by_steps,
    [SSLD_SCHEDULE_MULTISTEP] = by_milestones, [SSLD_SCHEDULE_ONE_CYCLE] = one_cycle,
};

double ssld_schedule_rate(const struct ssld_schedule *schedule, uint64_t step)
{
    uint64_t warmup = schedule->warmup_steps, total = schedule->total_steps;
    uint64_t rest = total > warmup ? total - warmup : 0;
    if (total && step >= total)
        step = total - 1;
    if (step >= warmup)
        return table[schedule->kind](schedule, step - warmup, rest);
    return table[schedule->kind](schedule, 0, rest) * (double)step / (double)warmup;
}
