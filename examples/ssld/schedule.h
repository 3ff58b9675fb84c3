/* SPDX-License-Identifier: BSD-2-Clause */
/* schedule.h - the text of --schedule: "cosine", "step:30,0.1", ... */
#ifndef SSLD_PROGRAM_SCHEDULE_H
#define SSLD_PROGRAM_SCHEDULE_H

#include "program.h"

#define MOST_MILESTONES 32

struct schedule {
    const struct schedule_row *row;
    double                     numbers[MOST_MILESTONES + 1]; /* as they stand in the text; those left out are 0 */
    int32_t                    count;
    uint64_t                   milestones[MOST_MILESTONES];  /* in steps, once schedule_apply() has made them */
};

#define SCHEDULE_FORMS "constant, cosine[:FINAL], step:EPOCHS,FACTOR, multistep:EPOCH,...,FACTOR, one-cycle[:RISE,START,END]"

/* False after a text on standard error. */
bool schedule_parse(const char *text, struct schedule *schedule);
/* Set the schedule's fields of a student's options, which refer to `schedule` from then on. */
void schedule_apply(struct schedule *schedule, uint64_t steps_epoch, ssld_student_options *options);

#endif
