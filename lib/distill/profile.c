/* SPDX-License-Identifier: BSD-2-Clause */
/* profile.c - a student's steps and a teacher's predictions measured: the plan's sums as means over them, with the loss, which
 * no plan knows. */
#include "ssld/profile.h"

#include "distill/student.h"
#include "distill/teacher.h"

/* -- Students ----------------------------------------------------------------------------------------------------- */

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

/* -- Teachers ----------------------------------------------------------------------------------------------------- */

void ssld_teacher_profile_begin(ssld_teacher *teacher)
{
    for (int32_t m = 0; m < teacher->member_count; m++)
        ssld_teacher_profile_begin(teacher->members[m]);
    if (teacher->member_count)
        return;
    teacher->profiled_from = teacher->forwards;
    ssld_plan_profile_begin(teacher->plan);
}

void ssld_teacher_profile_end(ssld_teacher *teacher)
{
    for (int32_t m = 0; m < teacher->member_count; m++)
        ssld_teacher_profile_end(teacher->members[m]);
    if (!teacher->member_count)
        ssld_plan_profile_end(teacher->plan);
}

static uint64_t profiled_predictions(const ssld_teacher *teacher)
{
    return ssld_plan_profiled(teacher->plan) ? teacher->forwards - teacher->profiled_from : 0;
}

/* The index-th entry of forward, which is all that a prediction has; false past the last. */
static bool forward_entry(const ssld_teacher *teacher, int32_t index, ssld_profile_entry *entry)
{
    for (int32_t i = 0; ssld_plan_profile_entry(teacher->plan, i, entry); i++)
        if (entry->stage == SSLD_STAGE_FORWARD && index-- == 0)
            return true;
    return false;
}

int32_t ssld_teacher_profile_count(const ssld_teacher *teacher)
{
    ssld_profile_entry entry;
    int32_t count = 0;
    for (int32_t m = 0; m < teacher->member_count; m++)
        count += ssld_teacher_profile_count(teacher->members[m]);
    if (!teacher->member_count && profiled_predictions(teacher))
        while (forward_entry(teacher, count, &entry))
            count++;
    return count;
}

ssld_status ssld_teacher_profile_entry(const ssld_teacher *teacher, int32_t index, ssld_profile_entry *entry)
{
    ssld_profile_entry own;
    int32_t count = ssld_teacher_profile_count(teacher);
    if (index < 0 || index >= count)
        return ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "ssld_teacher_profile_entry: entry %d: there are %d%s", index,
                         count, count ? "" : "; begin, and predict before");
    for (int32_t m = 0; m < teacher->member_count; m++) {
        int32_t entries = ssld_teacher_profile_count(teacher->members[m]);
        if (index < entries)
            return ssld_teacher_profile_entry(teacher->members[m], index, entry);
        index -= entries;
    }
    forward_entry(teacher, index, &own);
    own.milliseconds /= (double)profiled_predictions(teacher);
    return ssld_info_give(teacher->context, __func__, entry, &own, sizeof own);
}

ssld_status ssld_teacher_measure_primitives(ssld_teacher *teacher, int32_t repeats, double *milliseconds)
{
    double sum = 0, seconds = 0;
    ssld_status status = SSLD_OK;
    for (int32_t m = 0; !status && m < teacher->member_count; m++) {
        double part = 0;
        status = ssld_teacher_measure_primitives(teacher->members[m], repeats, &part);
        sum += part;
    }
    if (!status && !teacher->member_count)
        status = ssld_plan_measure_primitives(teacher->plan, repeats, &seconds);
    if (!status)
        *milliseconds = sum + 1e3 * seconds;
    return status;
}

int32_t ssld_teacher_precision(const ssld_teacher *teacher)
{
    while (teacher->member_count)
        teacher = teacher->members[0];
    return ssld_plan_is_bf16(teacher->plan) ? SSLD_PRECISION_BF16 : SSLD_PRECISION_F32;
}
