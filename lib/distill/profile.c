/* SPDX-License-Identifier: BSD-2-Clause */
/* profile.c - a student's steps measured: the plan's sums as means over steps, with the loss, which no plan knows. */
#include "ssld/profile.h"

#include "distill/student.h"

void ssld_student_profile_begin(ssld_student *student)
{
    student->loss_seconds = 0;
    student->profiled_from = student->steps;
    ssld_plan_profile_begin(student->plan);
}

void ssld_student_profile_end(ssld_student *student)
{
    ssld_plan_profile_end(student->plan);
    student->loss_seconds = 0;
}

static uint64_t profiled_steps(const ssld_student *student)
{
    return ssld_plan_profiled(student->plan) ? student->steps - student->profiled_from : 0;
}

/* How many entries the plan has; the loss is one more. */
static int32_t plan_entries(const ssld_student *student)
{
    ssld_profile_entry entry;
    int32_t count = 0;
    while (ssld_plan_profile_entry(student->plan, count, &entry))
        count++;
    return count;
}

int32_t ssld_student_profile_count(const ssld_student *student)
{
    return profiled_steps(student) ? plan_entries(student) + 1 : 0;
}

ssld_status ssld_student_profile_entry(const ssld_student *student, int32_t index, ssld_profile_entry *entry)
{
    uint64_t steps = profiled_steps(student);
    ssld_profile_entry own = { .name = "Loss", .direction = "loss", .stage = SSLD_STAGE_BACKWARD, .calls = 1,
                               .milliseconds = 1e3 * student->loss_seconds };
    if (!steps || index < 0 || (!ssld_plan_profile_entry(student->plan, index, &own) && index != plan_entries(student)))
        return ssld_fail(student->context, SSLD_INVALID_ARGUMENT, "ssld_student_profile_entry: entry %d: there are %d%s", index,
                         ssld_student_profile_count(student), steps ? "" : "; begin, and train a step before");
    own.milliseconds /= (double)steps;
    if (own.stage != SSLD_STAGE_UPDATE) {
        own.calls *= student->parts;
        own.gflop *= student->parts;
        own.bytes *= student->parts;
    }
    return ssld_info_give(student->context, __func__, entry, &own, sizeof own);
}

ssld_status ssld_student_measure_primitives(ssld_student *student, int32_t repeats, double *milliseconds)
{
    double seconds = 0;
    ssld_status status = ssld_plan_measure_primitives(student->plan, repeats, &seconds);
    if (!status)
        *milliseconds = 1e3 * seconds * student->parts;
    return status;
}

int32_t ssld_student_precision(const ssld_student *student)
{
    return ssld_plan_is_bf16(student->plan) ? SSLD_PRECISION_BF16 : SSLD_PRECISION_F32;
}
