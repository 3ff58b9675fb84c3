/* SPDX-License-Identifier: BSD-2-Clause */
/* The learning rate of every step, against values known beforehand and against the formulas of ssld/student.h. */
#include "test.h"

#include <math.h>

#include "distill/schedule.h"

#define PI 3.14159265358979323846

TEST(warmup_rises_from_zero_then_cosine_falls)
{
    struct ssld_schedule schedule = { .kind = SSLD_SCHEDULE_COSINE, .rate = 0.4, .total_steps = 100, .warmup_steps = 20 };
    static const struct {
        uint64_t step;
        double rate;
    } cases[] = { { 0, 0 }, { 5, 0.1 }, { 10, 0.2 }, { 19, 0.38 }, { 20, 0.4 }, { 60, 0.2 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double rate = ssld_schedule_rate(&schedule, cases[i].step);
        CHECK(fabs(rate - cases[i].rate) < 1e-15, "step %d: %.17g", (int)cases[i].step, rate);
    }
    /* (1 + cos(79 pi / 80)) / 2 = sin(pi / 160)^2 */
    double last = ssld_schedule_rate(&schedule, 99), expected = 0.4 * pow(sin(PI / 160), 2);
    CHECK(fabs(last - expected) < 1e-15, "last step: %.17g instead of %.17g", last, expected);
    for (uint64_t step = 21; step < 100; step++)
        CHECK(ssld_schedule_rate(&schedule, step) < ssld_schedule_rate(&schedule, step - 1), "step %d rises", (int)step);
}

TEST(cosine_ends_at_the_final_rate)
{
    struct ssld_schedule schedule = { .kind = SSLD_SCHEDULE_COSINE, .rate = 0.4, .total_steps = 100, .final_rate = 0.1 };
    CHECK(fabs(ssld_schedule_rate(&schedule, 0) - 0.4) < 1e-15, "the first rate is not the peak");
    CHECK(fabs(ssld_schedule_rate(&schedule, 50) - 0.25) < 1e-15, "half-way is not between");
    double last = ssld_schedule_rate(&schedule, 99), expected = 0.1 + 0.3 * pow(sin(PI / 200), 2);
    CHECK(fabs(last - expected) < 1e-15, "last step: %.17g instead of %.17g", last, expected);
}

TEST(past_its_end_a_schedule_keeps_the_last_rate)
{
    struct ssld_schedule cosine = { .kind = SSLD_SCHEDULE_COSINE, .rate = 0.4, .total_steps = 100, .warmup_steps = 20 };
    CHECK(ssld_schedule_rate(&cosine, 100) == ssld_schedule_rate(&cosine, 99), "step 100 differs");
    CHECK(ssld_schedule_rate(&cosine, UINT64_MAX) == ssld_schedule_rate(&cosine, 99), "the last step there is differs");
}

TEST(constant_schedule_needs_no_total)
{
    struct ssld_schedule constant = { .kind = SSLD_SCHEDULE_CONSTANT, .rate = 0.1, .warmup_steps = 4 };
    static const double rates[] = { 0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1 };
    for (uint64_t step = 0; step < 7; step++) {
        double rate = ssld_schedule_rate(&constant, step);
        CHECK(fabs(rate - rates[step]) < 1e-16, "step %d: %.17g", (int)step, rate);
    }
}

TEST(run_that_is_all_warmup_does_not_divide_by_zero)
{
    struct ssld_schedule schedule = { .kind = SSLD_SCHEDULE_COSINE, .rate = 0.4, .total_steps = 10, .warmup_steps = 10 };
    double rate = ssld_schedule_rate(&schedule, 9);
    CHECK(fabs(rate - 0.36) < 1e-15, "step 9: %.17g", rate);
    schedule.warmup_steps = 20;
    rate = ssld_schedule_rate(&schedule, 1000);
    CHECK(fabs(rate - 0.18) < 1e-15, "past the end: %.17g", rate);
}

TEST(step_schedule_decays_every_so_many_steps_behind_the_warmup)
{
    struct ssld_schedule schedule = {
        .kind = SSLD_SCHEDULE_STEP, .rate = 0.8, .warmup_steps = 3, .decay_steps = 4, .gamma = 0.5 };
    for (uint64_t step = 0; step < 24; step++) {
        double expected = step < 3 ? 0.8 * (double)step / 3 : 0.8;
        for (uint64_t decayed = 4; step >= 3 && decayed <= step - 3; decayed += 4)
            expected *= 0.5;
        double rate = ssld_schedule_rate(&schedule, step);
        CHECK(fabs(rate - expected) < 1e-15, "step %d: %.17g instead of %.17g", (int)step, rate, expected);
    }
}

TEST(multistep_schedule_decays_at_each_milestone_behind_the_warmup)
{
    static const uint64_t milestones[] = { 2, 5, 6 };
    struct ssld_schedule schedule = {
        .kind = SSLD_SCHEDULE_MULTISTEP, .rate = 1, .total_steps = 40, .warmup_steps = 1, .gamma = 0.1, .milestones = milestones,
        .milestone_count = 3 };
    static const double rates[] = { 0, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.001, 0.001 };
    for (uint64_t step = 0; step < sizeof rates / sizeof rates[0]; step++) {
        double rate = ssld_schedule_rate(&schedule, step);
        CHECK(fabs(rate - rates[step]) < 1e-15, "step %d: %.17g instead of %g", (int)step, rate, rates[step]);
    }
    CHECK(fabs(ssld_schedule_rate(&schedule, 1000) - 0.001) < 1e-15, "past the end it changes");
}

/* With the top between two steps, at 3.4. tests/python/test_pytorch.py compares with torch's OneCycleLR. */
TEST(one_cycle_rises_to_the_peak_and_falls_to_the_end)
{
    struct ssld_schedule schedule = {
        .kind = SSLD_SCHEDULE_ONE_CYCLE, .rate = 1, .total_steps = 11, .rise = 0.4, .start_divisor = 10,
        .final_divisor = 100 };
    double top = 0.4 * 11 - 1;
    for (uint64_t step = 0; step < 11; step++) {
        double at = (double)step;
        double expected = at <= top ? 0.1 + 0.9 * (1 - cos(PI * at / top)) / 2
                                    : 0.001 + 0.999 * (1 + cos(PI * (at - top) / (10 - top))) / 2;
        double rate = ssld_schedule_rate(&schedule, step);
        CHECK(fabs(rate - expected) < 1e-15, "step %d: %.17g instead of %.17g", (int)step, rate, expected);
    }
    CHECK(fabs(ssld_schedule_rate(&schedule, 0) - 0.1) < 1e-15 && fabs(ssld_schedule_rate(&schedule, 10) - 0.001) < 1e-15,
          "it does not begin and end where it should");
}

TEST(one_cycle_of_few_steps_stays_between_its_rates)
{
    for (uint64_t total = 1; total < 8; total++)
        for (uint64_t step = 0; step < total + 2; step++) {
            struct ssld_schedule schedule = {
                .kind = SSLD_SCHEDULE_ONE_CYCLE, .rate = 1, .total_steps = total, .rise = 0.3, .start_divisor = 25,
                .final_divisor = 1e4 };
            double rate = ssld_schedule_rate(&schedule, step);
            CHECK(rate >= 0.99 / 25e4 && rate <= 1, "step %d of %d: %.17g", (int)step, (int)total, rate);
        }
}

TEST(warmup_of_one_cycle_rises_to_where_the_cycle_begins)
{
    struct ssld_schedule schedule = {
        .kind = SSLD_SCHEDULE_ONE_CYCLE, .rate = 1, .total_steps = 20, .warmup_steps = 4, .rise = 0.5, .start_divisor = 10,
        .final_divisor = 100 };
    for (uint64_t step = 0; step <= 4; step++) {
        double rate = ssld_schedule_rate(&schedule, step);
        CHECK(fabs(rate - 0.025 * (double)step) < 1e-15, "step %d: %.17g", (int)step, rate);
    }
    CHECK(fabs(ssld_schedule_rate(&schedule, 4 + 7) - 1) < 1e-15, "the peak is not at half of the 16 steps");
}

TEST_MAIN(TEST_ROW(warmup_rises_from_zero_then_cosine_falls), TEST_ROW(cosine_ends_at_the_final_rate),
          TEST_ROW(past_its_end_a_schedule_keeps_the_last_rate), TEST_ROW(constant_schedule_needs_no_total),
          TEST_ROW(run_that_is_all_warmup_does_not_divide_by_zero),
          TEST_ROW(step_schedule_decays_every_so_many_steps_behind_the_warmup),
          TEST_ROW(multistep_schedule_decays_at_each_milestone_behind_the_warmup),
          TEST_ROW(one_cycle_rises_to_the_peak_and_falls_to_the_end),
          TEST_ROW(one_cycle_of_few_steps_stays_between_its_rates),
          TEST_ROW(warmup_of_one_cycle_rises_to_where_the_cycle_begins))
