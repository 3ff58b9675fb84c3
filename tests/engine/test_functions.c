/* SPDX-License-Identifier: BSD-2-Clause */
/* The exponential and its relatives, against libm in double: every error in functions.h is measured here. */
#include "test.h"

#include "engine/functions.h"

#define SAMPLES 2000000

static double exponential(double x) { return exp(x); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* Functions of functions.h are inlined where they are called; here they need an address. */
static float call_exp(float x) { return exp_of(x); }
static float call_sigmoid(float x) { return sigmoid_of(x); }
static float call_tanh(float x) { return tanh_of(x); }
static float call_erf(float x) { return erf_of(x); }

/* The distance between floats at x. */
static double unit_at(double x)
{
    float f = (float)fabs(x);
    return f < 1.17549435e-38f ? 1.40129846e-45 : (double)nextafterf(f, INFINITY) - (double)f;
}

static double error_at(float x, float (*ours)(float), double (*exact)(double))
{
    double wanted = exact((double)x);
    return fabs((double)ours(x) - wanted) / unit_at(wanted);
}

/* Spread evenly over low .. high, and over the powers of two around zero. */
static double largest_error(float (*ours)(float), double (*exact)(double), double low, double high, float *where)
{
    double largest = 0;
    for (int64_t i = 0; i <= 2 * SAMPLES; i++) {
        double x = low + (high - low) * (double)i / SAMPLES;
        if (i > SAMPLES) /* 2^0 down to 2^-120, of both signs */
            x = ldexp(1 + (double)(i % 997) / 997, -(int)(i % 121)) * (i % 2 ? 1 : -1);
        if (x < low || x > high)
            continue;
        double error = error_at((float)x, ours, exact);
        if (!(error <= largest)) {
            largest = error;
            *where = (float)x;
        }
    }
    return largest;
}

TEST(functions_are_within_the_units_they_promise)
{
    static const struct {
        const char *name;
        float (*ours)(float);
        double (*exact)(double);
        double low, high, units;
    } cases[] = {
        { "exp", call_exp, exponential, -87, 88, 1.1 },
        { "sigmoid", call_sigmoid, sigmoid, -87, 88, 2.5 },
        { "tanh", call_tanh, tanh, -20, 20, 2 },
        { "erf", call_erf, erf, -8, 8, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float where = 0;
        double error = largest_error(cases[i].ours, cases[i].exact, cases[i].low, cases[i].high, &where);
        CHECK(error <= cases[i].units, "%s is %g units off at %.9g", cases[i].name, error, (double)where);
    }
}

TEST(functions_end_well_where_float_ends)
{
    float (*const all[])(float) = { call_exp, call_sigmoid, call_tanh, call_erf };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CHECK(isnan(all[i](NAN)), "function %zu hides NaN", i);
        for (int side = -1; side <= 1; side += 2) {
            float infinite = all[i](side * INFINITY), large = all[i](side * 1e30f);
            CHECK(isfinite(infinite) && infinite == large, "function %zu: %g, %g", i, (double)infinite, (double)large);
        }
    }
    CHECK(call_tanh(INFINITY) == 1 && call_tanh(-INFINITY) == -1 && call_erf(INFINITY) == 1 && call_erf(-INFINITY) == -1 &&
              call_sigmoid(INFINITY) == 1 && call_sigmoid(-INFINITY) < 1e-37f && call_exp(-INFINITY) < 2e-38f &&
              call_exp(INFINITY) > 1e38f, "bounds are missed");
    CHECK(call_tanh(0) == 0 && call_erf(0) == 0 && call_exp(0) == 1 && call_sigmoid(0) == 0.5f, "zero is missed");
}

TEST_MAIN(TEST_ROW(functions_are_within_the_units_they_promise), TEST_ROW(functions_end_well_where_float_ends))
