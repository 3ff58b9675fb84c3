/* SPDX-License-Identifier: BSD-2-Clause */
/* The learning rate of every step, and SGD against its formula. */
#include "test.h"

#include <math.h>

#include "core/philox.h"
#include "distill/optimizer.h"

TEST(warmup_rises_from_zero_then_cosine_falls)
{
    struct ssld_schedule schedule = { SSLD_SCHEDULE_COSINE, 0.4, 100, 20 };
    static const struct {
        uint64_t step;
        double rate;
    } cases[] = { { 0, 0 }, { 5, 0.1 }, { 10, 0.2 }, { 19, 0.38 }, { 20, 0.4 }, { 60, 0.2 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double rate = ssld_schedule_rate(&schedule, cases[i].step);
        CHECK(fabs(rate - cases[i].rate) < 1e-15, "step %d: %.17g", (int)cases[i].step, rate);
    }
    /* (1 + cos(79 pi / 80)) / 2 = sin(pi / 160)^2 */
    double last = ssld_schedule_rate(&schedule, 99), expected = 0.4 * pow(sin(3.14159265358979323846 / 160), 2);
    CHECK(fabs(last - expected) < 1e-15, "last step: %.17g instead of %.17g", last, expected);
    for (uint64_t step = 21; step < 100; step++)
        CHECK(ssld_schedule_rate(&schedule, step) < ssld_schedule_rate(&schedule, step - 1), "step %d rises", (int)step);
}

TEST(past_its_end_a_schedule_keeps_the_last_rate)
{
    struct ssld_schedule cosine = { SSLD_SCHEDULE_COSINE, 0.4, 100, 20 };
    CHECK(ssld_schedule_rate(&cosine, 100) == ssld_schedule_rate(&cosine, 99), "step 100 differs");
    CHECK(ssld_schedule_rate(&cosine, UINT64_MAX) == ssld_schedule_rate(&cosine, 99), "the last step there is differs");
}

TEST(constant_schedule_needs_no_total)
{
    struct ssld_schedule constant = { SSLD_SCHEDULE_CONSTANT, 0.1, 0, 4 };
    static const double rates[] = { 0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1 };
    for (uint64_t step = 0; step < 7; step++) {
        double rate = ssld_schedule_rate(&constant, step);
        CHECK(fabs(rate - rates[step]) < 1e-16, "step %d: %.17g", (int)step, rate);
    }
}

TEST(run_that_is_all_warmup_does_not_divide_by_zero)
{
    struct ssld_schedule schedule = { SSLD_SCHEDULE_COSINE, 0.4, 10, 10 };
    double rate = ssld_schedule_rate(&schedule, 9);
    CHECK(fabs(rate - 0.36) < 1e-15, "step 9: %.17g", rate);
    schedule.warmup_steps = 20;
    rate = ssld_schedule_rate(&schedule, 1000);
    CHECK(fabs(rate - 0.18) < 1e-15, "past the end: %.17g", rate);
}

/* Sizes below and above the one from which several cores work, with an odd rest. */
TEST(sgd_is_momentum_with_l2_in_the_gradient)
{
    static const size_t counts[] = { 1, 7, 1000, 70001 };
    static float weights[70001], velocity[70001], diff[70001], start[70001];
    const float rate = 0.1f, momentum = 0.9f, l2 = 1e-2f;
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        struct ssld_stream stream = ssld_stream_start(3, k, 0, 0);
        for (size_t i = 0; i < counts[k]; i++) {
            start[i] = weights[i] = (float)ssld_stream_uniform(&stream) - 0.5f;
            diff[i] = (float)ssld_stream_uniform(&stream) - 0.5f;
            velocity[i] = 0;
        }
        for (int step = 0; step < 3; step++)
            ssld_sgd_update(counts[k], weights, velocity, diff, rate, momentum, l2);
        for (size_t i = 0; i < counts[k]; i++) {
            double w = start[i], v = 0;
            for (int step = 0; step < 3; step++) {
                v = 0.9 * v + (diff[i] + 1e-2 * w);
                w -= 0.1 * v;
            }
            /* Three steps of a handful of float roundings on numbers below 2. */
            CHECK(fabs(weights[i] - w) < 1e-6 && fabs(velocity[i] - v) < 1e-6,
                  "element %zu of %zu: %.9g, %.9g instead of %.9g, %.9g", i, counts[k], (double)weights[i],
                  (double)velocity[i], w, v);
        }
    }
}

TEST_MAIN(TEST_ROW(warmup_rises_from_zero_then_cosine_falls), TEST_ROW(past_its_end_a_schedule_keeps_the_last_rate),
          TEST_ROW(constant_schedule_needs_no_total), TEST_ROW(run_that_is_all_warmup_does_not_divide_by_zero),
          TEST_ROW(sgd_is_momentum_with_l2_in_the_gradient))
