/* SPDX-License-Identifier: BSD-2-Clause */
/* Optimizers against their formulas in double precision, written out parameter by parameter: clipping, groups and averages
 * included; groups' texts; what happens to gradients that are not finite. */
#include "test.h"

#include <math.h>
#include <stdbool.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "core/philox.h"
#include "distill/groups.h"
#include "distill/optimizer.h"

/* Sizes below and above a slice, with odd rests; the last is a buffer. */
#define TENSORS 5
#define MOST 70001
#define STEPS 4
static const size_t sizes[TENSORS] = { 70001, 7, 1000, 32768, 12 };
static const char *const names[TENSORS] = { "conv1.conv.weight", "conv1.bn.weight", "blocks2.0.weight", "fc.weight",
                                            "conv1.bn._mean" };

struct fixture {
    ssld_context                *context;
    struct ssld_parameter        parameters[TENSORS];
    const struct ssld_parameter *pointers[TENSORS];
    float                        value[TENSORS][MOST], diff[TENSORS][MOST];
};

static struct fixture fixture;

/* Gradients of a step; those of one parameter are much larger than the others'. */
static void draw_gradients(uint64_t step)
{
    for (int t = 0; t < TENSORS - 1; t++) {
        struct ssld_stream stream = ssld_stream_start(5, step, (uint32_t)t, 0);
        for (size_t i = 0; i < sizes[t]; i++)
            fixture.diff[t][i] = (t == 2 ? 8 : 1) * ((float)ssld_stream_uniform(&stream) - 0.5f);
    }
}

static void set_up(const ssld_context_options *options)
{
    struct fixture *f = &fixture;
    CHECK(ssld_context_create(options, &f->context) == SSLD_OK, "no context");
    for (int t = 0; t < TENSORS; t++) {
        struct ssld_stream stream = ssld_stream_start(3, (uint64_t)t, 0, 0);
        for (size_t i = 0; i < sizes[t]; i++)
            f->value[t][i] = (float)ssld_stream_uniform(&stream) - 0.5f;
        bool buffer = t == TENSORS - 1;
        f->parameters[t] = (struct ssld_parameter){ .name = names[t], .role = buffer ? SSLD_VALUE_BUFFER : SSLD_VALUE_PARAMETER,
                                                    .no_decay = t == 1, .elements = (int64_t)sizes[t], .count = sizes[t],
                                                    .value = f->value[t], .diff = buffer ? NULL : f->diff[t] };
        f->pointers[t] = &f->parameters[t];
    }
}

static void tear_down(void)
{
    ssld_context_destroy(fixture.context);
}

/* -- The formulas of ssld/student.h, in double ---------------------------------------------------------------------- */

struct reference {
    double w[TENSORS][MOST], m[TENSORS][MOST], v[TENSORS][MOST], average[TENSORS][MOST];
    double rate[TENSORS], decay[TENSORS]; /* factors of the groups */
};

static struct reference reference;

static void reference_start(void)
{
    memset(&reference, 0, sizeof reference);
    for (int t = 0; t < TENSORS; t++) {
        reference.rate[t] = 1;
        reference.decay[t] = t == 1 ? 0 : 1;
        for (size_t i = 0; i < sizes[t]; i++)
            reference.w[t][i] = reference.average[t][i] = fixture.value[t][i];
    }
}

static double clamped(double g, double limit)
{
    return limit > 0 ? fmax(-limit, fmin(limit, g)) : g;
}

static double norm_of(const double *values, const float *diff, size_t count, double limit)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values ? values[i] * values[i] : pow(clamped(diff[i], limit), 2);
    return sqrt(sum);
}

static void reference_tensor(const struct ssld_optimizer_options *o, int t, double rate, int step, double scale)
{
    struct reference *r = &reference;
    double decay = o->decay * r->decay[t], local = rate * r->rate[t];
    double w_norm = norm_of(r->w[t], NULL, sizes[t], 0), g_norm = scale * norm_of(NULL, fixture.diff[t], sizes[t], o->clip_value);
    if (o->kind == SSLD_OPTIMIZER_LARS && r->decay[t] > 0)
        local *= o->trust * w_norm / (g_norm + decay * w_norm + o->epsilon);
    for (size_t i = 0; i < sizes[t]; i++) {
        double *w = &r->w[t][i], *m = &r->m[t][i], *v = &r->v[t][i], g = scale * clamped(fixture.diff[t][i], o->clip_value);
        if (o->kind == SSLD_OPTIMIZER_SGD) {
            g += decay * *w;
            *m = o->momentum * *m + g;
            *w -= local * (o->nesterov ? g + o->momentum * *m : *m);
        } else if (o->kind == SSLD_OPTIMIZER_LARS) {
            *m = o->momentum * *m + local * (g + decay * *w);
            *w -= *m;
        } else {
            *w *= 1 - local * decay;
            *m = o->beta1 * *m + (1 - o->beta1) * g;
            *v = o->beta2 * *v + (1 - o->beta2) * g * g;
            *w -= local * *m / (1 - pow(o->beta1, step + 1)) / (sqrt(*v / (1 - pow(o->beta2, step + 1))) + o->epsilon);
        }
        r->average[t][i] = o->ema_decay * r->average[t][i] + (1 - o->ema_decay) * *w;
    }
}

/* Returns the norm of all gradients. */
static double reference_step(const struct ssld_optimizer_options *o, double rate, int step)
{
    double sum = 0;
    for (int t = 0; t < TENSORS - 1; t++)
        sum += pow(norm_of(NULL, fixture.diff[t], sizes[t], o->clip_value), 2);
    double scale = o->clip_norm > 0 ? fmin(1, o->clip_norm / sqrt(sum)) : 1;
    for (int t = 0; t < TENSORS - 1; t++)
        reference_tensor(o, t, rate, step, scale);
    return sqrt(sum);
}

/* Numbers stay below 4, a step rounds a handful of times, and AdamW's quotient carries the errors of both moments. */
#define TOLERANCE 4e-6

static void compare(const struct ssld_optimizer *optimizer, const char *what)
{
    for (int t = 0; t < TENSORS; t++) {
        const float *average = ssld_optimizer_average(optimizer, t);
        for (size_t i = 0; i < sizes[t]; i++) {
            double w = reference.w[t][i], a = reference.average[t][i];
            CHECK(fabs(fixture.value[t][i] - w) < TOLERANCE, "%s: %s[%zu] is %.9g instead of %.9g", what, names[t], i,
                  (double)fixture.value[t][i], w);
            CHECK(!average || fabs(average[i] - a) < TOLERANCE, "%s: the average of %s[%zu] is %.9g instead of %.9g", what,
                  names[t], i, (double)average[i], a);
        }
    }
}

/* STEPS updates of both; `rates` and `decays`, if not NULL, are the factors that the groups should give. */
static void follow(const char *what, struct ssld_optimizer_options options, const double *rates, const double *decays)
{
    struct ssld_optimizer *optimizer = NULL;
    set_up(NULL);
    reference_start();
    if (rates) {
        memcpy(reference.rate, rates, sizeof reference.rate);
        memcpy(reference.decay, decays, sizeof reference.decay);
    }
    CHECK_OK(fixture.context, ssld_optimizer_create(fixture.context, &options, TENSORS, fixture.pointers, &optimizer));
    for (int step = 0; step < STEPS; step++) {
        double norm = 0, rate = 0.1 / (step + 1);
        draw_gradients((uint64_t)step);
        CHECK_OK(fixture.context, ssld_optimizer_update(optimizer, rate, (uint64_t)step, &norm));
        double expected = reference_step(&options, rate, step);
        bool needed = options.clip_norm > 0 || options.clip_value > 0 || options.kind == SSLD_OPTIMIZER_LARS;
        CHECK(needed ? fabs(norm - expected) < 1e-6 * expected : norm == -1, "%s: the norm is %g instead of %g", what, norm,
              expected);
        /* Running statistics move by themselves. */
        for (size_t i = 0; i < sizes[TENSORS - 1]; i++) {
            double moved = reference.w[TENSORS - 1][i] += 0.125;
            fixture.value[TENSORS - 1][i] = (float)moved;
            reference.average[TENSORS - 1][i] += (1 - options.ema_decay) * (moved - reference.average[TENSORS - 1][i]);
        }
        ssld_optimizer_average_buffers(optimizer);
    }
    compare(optimizer, what);
    ssld_optimizer_destroy(optimizer);
    tear_down();
}

#define BASE .momentum = 0.9, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .trust = 0.02

TEST(sgd_is_momentum_with_l2_in_the_gradient)
{
    follow("sgd", (struct ssld_optimizer_options){ BASE, .decay = 1e-2 }, NULL, NULL);
    follow("no momentum", (struct ssld_optimizer_options){ .decay = 1e-2 }, NULL, NULL);
    follow("nesterov", (struct ssld_optimizer_options){ BASE, .nesterov = true, .decay = 1e-2 }, NULL, NULL);
}

TEST(adamw_decays_weights_apart_from_the_gradient)
{
    follow("adamw", (struct ssld_optimizer_options){ BASE, .kind = SSLD_OPTIMIZER_ADAMW, .decay = 0.3 }, NULL, NULL);
}

TEST(lars_has_a_rate_for_each_layer)
{
    follow("lars", (struct ssld_optimizer_options){ BASE, .kind = SSLD_OPTIMIZER_LARS, .decay = 1e-2 }, NULL, NULL);
    follow("lars without decay", (struct ssld_optimizer_options){ BASE, .kind = SSLD_OPTIMIZER_LARS }, NULL, NULL);
}

TEST(average_follows_weights_and_buffers_of_every_optimizer)
{
    for (int32_t kind = SSLD_OPTIMIZER_SGD; kind <= SSLD_OPTIMIZER_LARS; kind++)
        follow("average", (struct ssld_optimizer_options){ BASE, .kind = kind, .decay = 1e-2, .ema_decay = 0.75 }, NULL, NULL);
    follow("average, nesterov", (struct ssld_optimizer_options){ BASE, .nesterov = true, .ema_decay = 0.75 }, NULL, NULL);
}

/* The gradients' norm is about 100, their largest value 4. */
TEST(gradients_are_clipped_by_value_then_by_norm)
{
    for (int32_t kind = SSLD_OPTIMIZER_SGD; kind <= SSLD_OPTIMIZER_LARS; kind++) {
        follow("clip_value", (struct ssld_optimizer_options){ BASE, .kind = kind, .clip_value = 0.25 }, NULL, NULL);
        follow("clip_norm", (struct ssld_optimizer_options){ BASE, .kind = kind, .clip_norm = 5 }, NULL, NULL);
        follow("norm in bounds", (struct ssld_optimizer_options){ BASE, .kind = kind, .clip_norm = 500 }, NULL, NULL);
        follow("both", (struct ssld_optimizer_options){ BASE, .kind = kind, .clip_norm = 5, .clip_value = 0.25 }, NULL, NULL);
    }
}

TEST(groups_scale_rate_and_decay_of_their_parameters)
{
    static const double rates[TENSORS] = { 1, 0, 0.5, 10, 1 }, decays[TENSORS] = { 1, 2, 1, 0, 1 };
    for (int32_t kind = SSLD_OPTIMIZER_SGD; kind <= SSLD_OPTIMIZER_ADAMW; kind++)
        follow("groups", (struct ssld_optimizer_options){ BASE, .kind = kind, .decay = 1e-2,
               .groups = "*.bn.*: decay=2, rate=0; blocks?.*:rate=0.5 ; fc.*: rate=10, decay=0; *: rate=1;" }, rates, decays);
}

TEST(result_does_not_depend_on_the_number_of_threads)
{
#ifdef _OPENMP
    static float first[TENSORS][MOST];
    struct ssld_optimizer_options options = { BASE, .kind = SSLD_OPTIMIZER_LARS, .decay = 1e-2, .clip_norm = 5 };
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        struct ssld_optimizer *optimizer = NULL;
        set_up(NULL);
        omp_set_num_threads(threads);
        CHECK_OK(fixture.context, ssld_optimizer_create(fixture.context, &options, TENSORS, fixture.pointers, &optimizer));
        for (uint64_t step = 0; step < STEPS; step++) {
            double norm;
            draw_gradients(step);
            CHECK_OK(fixture.context, ssld_optimizer_update(optimizer, 0.1, step, &norm));
        }
        if (threads == 1)
            memcpy(first, fixture.value, sizeof first);
        CHECK(!memcmp(first, fixture.value, sizeof first), "%d threads give other bits than one", threads);
        ssld_optimizer_destroy(optimizer);
        tear_down();
    }
    omp_set_num_threads(before);
#else
    SKIP("built without OpenMP");
#endif
}

TEST(gradient_that_is_not_finite_is_named_and_nothing_changes)
{
    static const struct ssld_optimizer_options cases[] = {
        { BASE, .clip_norm = 5 }, { BASE, .clip_value = 0.25 }, { BASE, .kind = SSLD_OPTIMIZER_ADAMW, .clip_norm = 1 },
        { BASE, .kind = SSLD_OPTIMIZER_LARS, .clip_value = 1 },
    };
    static const float wrong[] = { NAN, INFINITY, -INFINITY };
    static float before[TENSORS][MOST];
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct ssld_optimizer *optimizer = NULL;
        double norm;
        set_up(NULL);
        memcpy(before, fixture.value, sizeof before);
        CHECK_OK(fixture.context, ssld_optimizer_create(fixture.context, &cases[c], TENSORS, fixture.pointers, &optimizer));
        for (int w = 0; w < 3; w++) {
            draw_gradients(0);
            fixture.diff[0][40000] = wrong[w];
            fixture.diff[2][3] = wrong[w];
            CHECK_STATUS(fixture.context, ssld_optimizer_update(optimizer, 0.1, 0, &norm), SSLD_NOT_FINITE);
            CHECK_TEXT(fixture.context, "'blocks2.0.weight'");
            CHECK(!memcmp(before, fixture.value, sizeof before), "weights have changed");
        }
        draw_gradients(0);
        CHECK_OK(fixture.context, ssld_optimizer_update(optimizer, 0.1, 0, &norm));
        ssld_optimizer_destroy(optimizer);
        tear_down();
    }
}

/* -- Groups ------------------------------------------------------------------------------------------------------- */

TEST(first_group_that_fits_counts)
{
    static const struct {
        const char *text;
        double rate, decay; /* of conv1.conv.weight */
    } cases[] = {
        { NULL, 1, 1 },
        { "", 1, 1 },
        { " ; ", 1, 1 },
        { "conv1.conv.weight: rate=2", 2, 1 },
        { "conv1*weight: rate=2e-1, decay=.5; *: rate=7", 0.2, 0.5 },
        { "*: decay=0; conv1.*: rate=3", 1, 0 },
        { "c*v1.*.w?ight:rate=4", 4, 1 },
        { "*t: rate=5", 5, 1 },
        { "***: rate=6", 6, 1 },
        { "*.*.*: rate=8", 8, 1 },
        { "fc*: rate=9", 1, 1 },
        { "?onv1.conv.weigh?: rate=11 ;fc.weight: rate=1", 11, 1 },
    };
    set_up(NULL);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct ssld_factors factors[TENSORS];
        CHECK_OK(fixture.context, ssld_groups_apply(fixture.context, cases[c].text, TENSORS, fixture.pointers, factors));
        CHECK(factors[0].rate == cases[c].rate && factors[0].decay == cases[c].decay, "'%s': rate %g, decay %g",
              cases[c].text ? cases[c].text : "", factors[0].rate, factors[0].decay);
    }
    tear_down();
}

TEST(pattern_may_hold_colons)
{
    struct ssld_factors factors[TENSORS];
    set_up(NULL);
    fixture.parameters[3].name = "model/head::weight:0";
    CHECK_OK(fixture.context, ssld_groups_apply(fixture.context, "model/head::*:0: rate=10", TENSORS, fixture.pointers, factors));
    CHECK(factors[3].rate == 10 && factors[0].rate == 1, "rate %g", factors[3].rate);
    tear_down();
}

TEST(groups_that_make_no_sense_are_quoted)
{
    static const struct {
        const char *text, *quoted;
    } cases[] = {
        { "fc.*", "'fc.*' is not 'PATTERN: rate" },
        { ": rate=1", "': rate=1' is not 'PATTERN: rate" },
        { "fc.*:", "'' stands where rate=NUMBER" },
        { "fc.*: rate", "'rate' stands where rate=NUMBER" },
        { "fc.*: rate=1,", "'' stands where rate=NUMBER" },
        { "fc.*: speed=1", "there is no 'speed' in 'speed=1'; there are rate and decay" },
        { "fc.*: rate=fast", "'fast' in 'rate=fast' is not a number" },
        { "fc.*: rate=-1", "'-1' in 'rate=-1' is not a number, at least 0" },
        { "fc.*: rate=nan", "'nan'" },
        { "fc.*: rate=", "'' in 'rate='" },
        { "fc.*: rate=1, rate=2", "'fc.*': rate is given twice" },
        { "fc.*: rate=1; head.*: rate=10", "no parameter fits 'head.*'; the first is called 'conv1.conv.weight'" },
        { "*._mean: rate=1", "no parameter fits '*._mean'" },
        { "conv1: rate=2", "no parameter fits 'conv1'" },
    };
    set_up(NULL);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct ssld_factors factors[TENSORS];
        CHECK_STATUS(fixture.context, ssld_groups_apply(fixture.context, cases[c].text, TENSORS, fixture.pointers, factors),
                     SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(fixture.context, cases[c].quoted);
    }
    tear_down();
}

TEST(every_allocation_may_fail)
{
    int left = 1 << 30, refused = 0;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.allocator = test_allocator(&left);
    set_up(&options);
    struct ssld_optimizer_options sgd = { BASE, .ema_decay = 0.5, .groups = "*: rate=2" };
    for (ssld_status status = SSLD_OUT_OF_MEMORY; status; refused += status != SSLD_OK) {
        struct ssld_optimizer *optimizer = NULL;
        left = refused;
        status = ssld_optimizer_create(fixture.context, &sgd, TENSORS, fixture.pointers, &optimizer);
        left = 1 << 30;
        CHECK(status ? status == SSLD_OUT_OF_MEMORY && !optimizer : optimizer != NULL, "%s", ssld_status_name(status));
        ssld_optimizer_destroy(optimizer);
    }
    /* The optimizer, its groups' factors and marks, its targets, slices and arrays. */
    CHECK(refused == 6, "%d allocations were refused", refused);
    left = 0;
    tear_down();
}

TEST_MAIN(TEST_ROW(sgd_is_momentum_with_l2_in_the_gradient), TEST_ROW(adamw_decays_weights_apart_from_the_gradient),
          TEST_ROW(lars_has_a_rate_for_each_layer), TEST_ROW(average_follows_weights_and_buffers_of_every_optimizer),
          TEST_ROW(gradients_are_clipped_by_value_then_by_norm), TEST_ROW(groups_scale_rate_and_decay_of_their_parameters),
          TEST_ROW(result_does_not_depend_on_the_number_of_threads),
          TEST_ROW(gradient_that_is_not_finite_is_named_and_nothing_changes), TEST_ROW(first_group_that_fits_counts),
          TEST_ROW(pattern_may_hold_colons), TEST_ROW(groups_that_make_no_sense_are_quoted),
          TEST_ROW(every_allocation_may_fail))
