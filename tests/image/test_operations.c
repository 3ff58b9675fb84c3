/* SPDX-License-Identifier: BSD-2-Clause */
/* Random operations: that each draws what its definition says (chi-square over 100,000 draws), that their views are
 * pinned, that they change nothing else, that mixing is a pure function. What they do to pixels is compared with
 * Pillow elsewhere. */
#include "image/help.h"

#include <math.h>

#include "image/augment.h"
#include "image/draws.h"
#include "image/exact.h"

#define DRAWS 100000

/* -- Statistics --------------------------------------------------------------------------------------------------- */

/* Pearson's statistic of `cells` counts against expected ones, in standard deviations from its mean. Draws are fixed by
 * their seed, so that a bound of 4 is no matter of luck at each run. */
static double unevenness(const int *counts, const double *expected, int cells)
{
    double sum = 0;
    for (int i = 0; i < cells; i++)
        sum += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
    return (sum - (cells - 1)) / sqrt(2.0 * (cells - 1));
}

static void check_even(const int *counts, int cells, const char *what)
{
    double total = 0, expected[64];
    for (int i = 0; i < cells; i++)
        total += counts[i];
    for (int i = 0; i < cells; i++)
        expected[i] = total / cells;
    double distance = unevenness(counts, expected, cells);
    CHECK(distance < 4 && total > 0, "%s: %g standard deviations from even", what, distance);
}

/* `count` of `draws` is no further than 4 standard deviations from probability p. */
static void check_share(int count, double p, int draws, const char *what)
{
    double distance = (count - p * draws) / sqrt(p * (1 - p) * draws);
    CHECK(fabs(distance) < 4, "%s: %d of %d, %g standard deviations from %g", what, count, draws, distance, p);
}

static int cell_of(double value, double low, double high, int cells)
{
    int cell = (int)floor((value - low) / (high - low) * cells);
    return cell < 0 ? 0 : cell >= cells ? cells - 1 : cell;
}

/* Exact normal distribution function, by the C library: the tests' own. */
static double below_normal(double x)
{
    return 0.5 * erfc(-x * sqrt(0.5));
}

#define NORMAL_CELLS 16

/* Cells of equal probability of a standard normal variate. */
static void count_normal(double z, int *counts)
{
    counts[cell_of(below_normal(z), 0, 1, NORMAL_CELLS)]++;
}

TEST(normal_variates_are_normal_one_by_one_and_in_bulk)
{
    int single[NORMAL_CELLS] = { 0 }, bulk[NORMAL_CELLS] = { 0 }, pairs[NORMAL_CELLS] = { 0 };
    struct noise noise;
    static float values[DRAWS];
    for (int i = 0; i < DRAWS; i++) {
        struct ssld_stream stream = ssld_stream_start(1, (uint64_t)i, 2, 3);
        count_normal(ssld_draw_normal(&stream), single);
    }
    struct ssld_stream stream = ssld_stream_start(4, 5, 6, 7);
    ssld_noise_start(&noise, &stream);
    for (int taken = 0, some = 1; taken < DRAWS; taken += some, some = some % 700 + 1) {
        some = some < DRAWS - taken ? some : DRAWS - taken;
        ssld_noise_take(&noise, values + taken, (size_t)some);
    }
    for (int i = 0; i < DRAWS; i++)
        count_normal(values[i], bulk);
    for (int i = 0; i + 1 < DRAWS; i++) /* neighbours are independent: their difference is normal with variance 2 */
        count_normal((values[i] - values[i + 1]) * sqrt(0.5), pairs);
    check_even(single, NORMAL_CELLS, "single");
    check_even(bulk, NORMAL_CELLS, "bulk");
    check_even(pairs, NORMAL_CELLS, "differences of neighbours");
}

TEST(exact_sin_and_cos_are_close_to_the_true_ones)
{
    double worst = 0;
    for (int i = -100000; i <= 100000; i++) {
        double x = i * 1e-4 + i * 1e-9;
        worst = fmax(worst, fabs(ssld_exact_sin(x) - sin(x)));
        worst = fmax(worst, fabs(ssld_exact_cos(x) - cos(x)));
    }
    CHECK(worst < 3e-16, "%g away",
          worst); /* 2^-53 is 1.1e-16; ours may be off by two of them, the C library's by one */
}

/* The distribution function of Beta(a, a) by summing its density over a fine grid, at `cells` - 1 inner bounds. */
static void beta_cells(double a, double *expected, int cells)
{
    enum { STEPS = 64000 };
    double total = 0;
    for (int i = 0; i < cells; i++)
        expected[i] = 0;
    for (int i = 0; i < STEPS; i++) { /* in t, x = sin^2 t: smooth at both ends, dx = 2 sin t cos t dt */
        double t = (i + 0.5) / STEPS * acos(-1) / 2, x = sin(t) * sin(t);
        double mass = pow(sin(t), 2 * a - 1) * pow(cos(t), 2 * a - 1);
        expected[cell_of(x, 0, 1, cells)] += mass;
        total += mass;
    }
    for (int i = 0; i < cells; i++)
        expected[i] *= DRAWS / total;
}

TEST(beta_variates_have_the_beta_distribution)
{
    enum { CELLS = 20 };
    static const double alphas[] = { 0.5, 0.8, 1, 2.5, 7 };
    for (size_t row = 0; row < sizeof alphas / sizeof *alphas; row++) {
        int counts[CELLS] = { 0 };
        double expected[CELLS];
        beta_cells(alphas[row], expected, CELLS);
        for (int i = 0; i < DRAWS; i++) {
            struct ssld_stream stream = ssld_stream_start(6, (uint64_t)i, (uint32_t)row, 0);
            counts[cell_of(ssld_draw_beta(&stream, alphas[row]), 0, 1, CELLS)]++;
        }
        double distance = unevenness(counts, expected, CELLS);
        CHECK(distance < 4, "Beta(%g): %g standard deviations away", alphas[row], distance);
    }
    /* So small that a gamma variate is below every double. Var Beta(a, a) = 1 / (4 (2 a + 1)). */
    double sum = 0, squares = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct ssld_stream stream = ssld_stream_start(7, (uint64_t)i, 0, 0);
        double x = ssld_draw_beta(&stream, 0.001);
        CHECK(x >= 0 && x <= 1, "%g", x);
        sum += x - 0.5;
        squares += (x - 0.5) * (x - 0.5);
    }
    CHECK(fabs(sum) < 4 * 0.5 * sqrt(DRAWS) && squares / DRAWS > 0.2494, "sum %g, variance %g", sum, squares / DRAWS);
}

/* -- Crops -------------------------------------------------------------------------------------------------------- */

TEST(paddle_crops_are_uniform_in_ratio_share_and_position_and_always_fit)
{
    enum { CELLS = 20, SIDE = 10000 };
    static const double scale[2] = { 0.1, 0.4 }, ratio[2] = { 0.75, 4.0 / 3 }, whole[2] = { 1, 1 };
    int areas[CELLS] = { 0 }, ratios[CELLS] = { 0 }, tops[CELLS] = { 0 }, lefts[CELLS] = { 0 };
    for (int i = 0; i < DRAWS; i++) {
        struct ssld_stream stream = ssld_stream_start(5, (uint64_t)i, 0, 0);
        struct crop_box box = ssld_paddle_box(scale, ratio, SIDE, SIDE, &stream);
        areas[cell_of((double)box.height * box.width / ((double)SIDE * SIDE), 0.1, 0.4, CELLS)]++;
        ratios[cell_of((double)box.width / box.height, ratio[0], ratio[1], CELLS)]++;
        tops[cell_of((double)box.top / (SIDE - box.height + 1), 0, 1, CELLS)]++;
        lefts[cell_of((double)box.left / (SIDE - box.width + 1), 0, 1, CELLS)]++;
        /* The ratio bounds the area here: nothing is tried again, and one side is the image's. */
        int32_t height = 1 + i % 97, width = 1 + i % 331;
        box = ssld_paddle_box(whole, ratio, height, width, &stream);
        CHECK(box.height >= 1 && box.width >= 1 && box.top >= 0 && box.left >= 0 && box.top + box.height <= height &&
                  box.left + box.width <= width,
              "%d x %d: %d + %d, %d + %d", height, width, box.top, box.height, box.left, box.width);
        /* Less one: sides are cut to whole pixels, and the square root of a product may be just below the side. */
        CHECK(box.height >= height - 1 || box.width >= width - 1, "%d x %d of %d x %d", box.height, box.width, height,
              width);
    }
    check_even(areas, CELLS, "areas");
    check_even(ratios, CELLS, "ratios");
    check_even(tops, CELLS, "tops");
    check_even(lefts, CELLS, "lefts");
}

/* -- RandAugment, AutoAugment ------------------------------------------------------------------------------------- */

static struct augmentation augment(const ssld_view_spec *spec, int i)
{
    struct augmentation drawn;
    struct ssld_stream stream = ssld_stream_start(9, (uint64_t)i, 0, 0);
    ssld_augment_draw(&spec->operations[0], 100, 200, &stream, &drawn);
    return drawn;
}

/* The level that a call's value stands for, and whether it was negated. False: none can be told. */
static bool level_of(const struct pixel_call *call, double *level, bool *negative)
{
    double most = call->operation == PIXELS_ROTATE ? 30 : 0.3, value = call->value;
    if (call->operation == PIXELS_TRANSLATE_X || call->operation == PIXELS_TRANSLATE_Y)
        most = 0.45 * (call->operation == PIXELS_TRANSLATE_X ? 200 : 100);
    else if (call->operation >= PIXELS_COLOR && call->operation <= PIXELS_SHARPNESS) {
        most = 0.9;
        value -= 1;
    } else if (call->operation < PIXELS_ROTATE)
        return false;
    *level = fabs(value) / most * 10;
    *negative = value < 0;
    return true;
}

TEST(randaugment_chooses_evenly_and_levels_are_normal)
{
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "randaugment(5, ops=2, p=0.5, mstd=0.5)");
    int kinds[16] = { 0 }, levels[NORMAL_CELLS] = { 0 }, applied[3] = { 0 }, negatives = 0, told = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct augmentation drawn = augment(spec, i);
        CHECK(drawn.count <= 2, "%d calls", drawn.count);
        applied[drawn.count]++;
        for (int32_t c = 0; c < drawn.count; c++) {
            double level;
            bool negative;
            CHECK(drawn.calls[c].operation != PIXELS_HUE, "hue");
            kinds[drawn.calls[c].operation - (drawn.calls[c].operation > PIXELS_HUE)]++;
            if (!level_of(&drawn.calls[c], &level, &negative))
                continue;
            count_normal((level - 5) / 0.5, levels);
            negatives += negative;
            told++;
        }
    }
    check_even(kinds, 15, "operations");
    check_even(levels, NORMAL_CELLS, "levels");
    check_share(negatives, 0.5, told, "negated");
    check_share(applied[0], 0.25, DRAWS, "nothing applied");
    check_share(applied[2], 0.25, DRAWS, "both applied");
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* Level 9, deviation 0.5: a level above 10 is 10, with the probability that a normal variate is above 2. */
TEST(randaugment_cuts_levels_at_ten_and_applies_with_its_probability)
{
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "randaugment(9, ops=1, p=1, apply=0.3, resample=random)");
    int cut = 0, told = 0, nothing = 0, bilinear = 0, calls = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct augmentation drawn = augment(spec, i);
        double level;
        bool negative;
        nothing += drawn.count == 0;
        calls += drawn.count;
        bilinear += drawn.count && drawn.calls[0].filter == FILTER_BILINEAR;
        if (!drawn.count || drawn.calls[0].operation < PIXELS_ROTATE || !level_of(&drawn.calls[0], &level, &negative))
            continue;
        CHECK(level <= 10 + 1e-9, "level %.17g", level);
        cut += level > 10 - 1e-9;
        told++;
    }
    check_share(nothing, 0.7, DRAWS, "nothing applied");
    check_share(cut, below_normal(-2), told, "cut");
    check_share(bilinear, 0.5, calls, "bilinear");
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* A sub-policy of `original` is told by an operation that it alone begins with: (ShearX 0.6, Equalize 1.0) is one of
 * 25. */
TEST(policies_choose_evenly_and_steps_come_with_their_probabilities)
{
    ssld_context *context = make_context();
    static const char *const texts[] = { "autoaugment(original)", "paddle_autoaugment(imagenet)" };
    for (int row = 0; row < 2; row++) {
        ssld_view_spec *spec = parse(context, texts[row]);
        int sheared = 0, sharp = 0, whole = 0;
        for (int i = 0; i < DRAWS; i++) {
            struct augmentation drawn = augment(spec, i);
            sheared += drawn.count == 2 && drawn.calls[0].operation == PIXELS_SHEAR_X;
            sharp += drawn.count && drawn.calls[0].operation == PIXELS_SHARPNESS;
            /* rotate 0.8 at level 8, then color 1.0 at level 2 */
            whole += drawn.count == 2 && drawn.calls[0].operation == PIXELS_ROTATE &&
                     drawn.calls[1].operation == PIXELS_COLOR;
        }
        check_share(sheared, 0.6 / 25, DRAWS, "sheared");
        check_share(sharp, 0.4 / 25, DRAWS, "sharpness first");
        /* Two of the sub-policies: the other is (rotate 0.8, color 0.4). */
        check_share(whole, (0.8 + 0.8 * 0.4) / 25, DRAWS, "rotated, then coloured");
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

TEST(paddle_randaugment_has_fixed_strengths_and_even_choices)
{
    static const struct {
        enum pixel_operation operation;
        double               value;
    } rows[] = { { PIXELS_SHEAR_X, 0.15 },     { PIXELS_SHEAR_Y, 0.15 },       { PIXELS_TRANSLATE_X, 75.0 / 331 * 200 },
                 { PIXELS_ROTATE, 15 },        { PIXELS_TRANSLATE_Y, 75.0 / 331 * 100 }, { PIXELS_COLOR, 0.45 },
                 { PIXELS_POSTERIZE, 2 },      { PIXELS_SOLARIZE, 128 },       { PIXELS_BRIGHTNESS, 0.45 } };
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "paddle_randaugment");
    int kinds[16] = { 0 }, even[14], cells = 0;
    for (int i = 0; i < DRAWS / 2; i++) {
        struct augmentation drawn = augment(spec, i);
        CHECK(drawn.count == 2, "%d calls", drawn.count);
        for (int c = 0; c < 2; c++) {
            const struct pixel_call *call = &drawn.calls[c];
            double value =
                call->operation >= PIXELS_COLOR && call->operation <= PIXELS_SHARPNESS ? call->value - 1 : call->value;
            kinds[call->operation]++;
            for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
                CHECK(call->operation != rows[row].operation || fabs(fabs(value) - rows[row].value) < 1e-12,
                      "operation %d has value %g", (int)call->operation, call->value);
            CHECK(call->operation != PIXELS_ROTATE || (call->value > 0 && call->filter == FILTER_NEAREST), "rotate %g",
                  call->value);
        }
    }
    CHECK(!kinds[PIXELS_SOLARIZE_ADD] && !kinds[PIXELS_HUE], "operations that are not in the list");
    for (int i = 0; i < 16; i++)
        if (i != PIXELS_SOLARIZE_ADD && i != PIXELS_HUE)
            even[cells++] = kinds[i];
    check_even(even, 14, "operations");
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* -- Colour jitter ------------------------------------------------------------------------------------------------ */

TEST(colour_jitter_is_uniform_in_order_and_strength)
{
    enum { CELLS = 20 };
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "color_jitter(0.4, 0.3, 1.5, 0.1, p=0.8)");
    static const enum pixel_operation kinds[4] = { PIXELS_BRIGHTNESS, PIXELS_CONTRAST, PIXELS_COLOR, PIXELS_HUE };
    static const double lows[4] = { 0.6, 0.7, 0, -25.5 }, highs[4] = { 1.4, 1.3, 2.5, 25.5 };
    int orders[64] = { 0 }, packed[24], cells = 0, values[4][CELLS] = { { 0 } }, applied = 0, turned[51] = { 0 };
    for (int i = 0; i < DRAWS; i++) {
        struct augmentation drawn;
        struct ssld_stream stream = ssld_stream_start(11, (uint64_t)i, 0, 0);
        ssld_jitter_draw(&spec->operations[0], &stream, &drawn);
        int order[4] = { 0 };
        applied += drawn.count == 4;
        for (int32_t c = 0; c < drawn.count; c++)
            for (int k = 0; k < 4; k++)
                if (drawn.calls[c].operation == kinds[k]) {
                    order[c] = k;
                    values[k][cell_of(drawn.calls[c].value, lows[k], highs[k], CELLS)]++;
                    if (k == 3)
                        turned[(int)drawn.calls[c].value + 25]++;
                }
        if (drawn.count)
            orders[order[0] * 16 + order[1] * 4 + order[2]]++;
    }
    for (int i = 0; i < 64; i++)
        if (i / 16 != i / 4 % 4 && i / 16 != i % 4 && i / 4 % 4 != i % 4)
            packed[cells++] = orders[i];
    check_share(applied, 0.8, DRAWS, "applied");
    check_even(packed, 24, "orders");
    for (int k = 0; k < 3; k++)
        check_even(values[k], CELLS, "strengths");
    /* Cut to whole numbers: 0 comes from -1..1, the others from one each. */
    double expected[51];
    for (int i = 0; i < 51; i++)
        expected[i] = applied * (i == 25 ? 2 : i == 0 || i == 50 ? 0.5 : 1) / 51;
    CHECK(unevenness(turned, expected, 51) < 4, "hues: %g", unevenness(turned, expected, 51));
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* -- Erasing ------------------------------------------------------------------------------------------------------ */

TEST(erased_boxes_are_uniform_in_area_ratio_and_position)
{
    enum { CELLS = 20, SIDE = 10000 };
    static const char *const texts[] = { "erase(0.4, area=0.05..0.2, ratio=0.5..2)",
                                         "erase(0.4, area=0.05..0.2, ratio=0.5..2, aspect=linear)" };
    ssld_context *context = make_context();
    for (int linear = 0; linear < 2; linear++) {
        ssld_view_spec *spec = parse(context, texts[linear]);
        int areas[CELLS] = { 0 }, ratios[CELLS] = { 0 }, tops[CELLS] = { 0 }, lefts[CELLS] = { 0 }, erased = 0;
        for (int i = 0; i < DRAWS; i++) {
            struct ssld_stream stream = ssld_stream_start(13, (uint64_t)i, 0, 0);
            struct crop_box box = ssld_erase_box(&spec->operations[1], SIDE, SIDE, &stream);
            if (!box.height)
                continue;
            double ratio = (double)box.height / box.width;
            erased++;
            areas[cell_of((double)box.height * box.width / ((double)SIDE * SIDE), 0.05, 0.2, CELLS)]++;
            ratios[linear ? cell_of(ratio, 0.5, 2, CELLS) : cell_of(log(ratio), -log(2), log(2), CELLS)]++;
            tops[cell_of((double)box.top / (SIDE - box.height + 1), 0, 1, CELLS)]++;
            lefts[cell_of((double)box.left / (SIDE - box.width + 1), 0, 1, CELLS)]++;
        }
        check_share(erased, 0.4, DRAWS, "erased");
        check_even(areas, CELLS, "areas");
        check_even(ratios, CELLS, "ratios");
        check_even(tops, CELLS, "tops");
        check_even(lefts, CELLS, "lefts");
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

TEST(erasing_fills_the_box_and_nothing_else)
{
    enum { SIDE = 32, FLOATS = 3 * SIDE * SIDE };
    static const char *const texts[] = { "normalize(0, 1) erase(1, mode=pixel)", "normalize(0, 1) erase(1, mode=rand)",
                                         "normalize(0, 1) erase(1, mode=const, value=0.25/0.5/-3)" };
    ssld_context *context = make_context();
    static const uint8_t pixels[FLOATS];
    static float view[FLOATS];
    for (int mode = 0; mode < 3; mode++) {
        ssld_view_spec *spec = parse(context, texts[mode]);
        for (int sample = 0; sample < 200; sample++) {
            struct ssld_stream stream = ssld_stream_start(15, (uint64_t)sample, 0, 1);
            struct crop_box box = ssld_erase_box(&spec->operations[1], SIDE, SIDE, &stream);
            CHECK_OK(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, SIDE, SIDE }, 15,
                                                      (uint64_t)sample, 0, view, FLOATS));
            for (int i = 0; i < FLOATS; i++) {
                int x = i % SIDE, y = i / SIDE % SIDE, c = i / (SIDE * SIDE);
                bool in = y >= box.top && y < box.top + box.height && x >= box.left && x < box.left + box.width;
                float first = view[(c * SIDE + box.top) * SIDE + box.left];
                CHECK(in || view[i] == 0, "pixel %d %d is %g", y, x, view[i]);
                CHECK(!in || mode == 0 || view[i] == first, "not of one colour");
                CHECK(!in || view[i] != 0, "pixel %d %d is not erased", y, x);
            }
            if (mode == 2 && box.height)
                CHECK(view[box.top * SIDE + box.left] == 0.25f && view[(2 * SIDE + box.top) * SIDE + box.left] == -3.0f,
                      "value %g", view[box.top * SIDE + box.left]);
        }
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

/* -- Mixing ------------------------------------------------------------------------------------------------------- */

TEST(partners_are_uniform_and_shares_have_their_distribution)
{
    enum { CELLS = 20, SAMPLES = 50 };
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "mixup_or_cutmix(mixup=0.8, cutmix=1, p=0.6, switch=0.3)");
    int partners[SAMPLES] = { 0 }, shares[CELLS] = { 0 }, boxes = 0, mixed = 0, rows[CELLS] = { 0 };
    double expected[CELLS], scale;
    beta_cells(0.8, expected, CELLS);
    for (int i = 0; i < DRAWS; i++) {
        ssld_view_mix mix = { .struct_size = sizeof mix };
        CHECK_OK(context, ssld_view_partner(spec, 17, (uint64_t)(i % SAMPLES), (uint32_t)(i / SAMPLES), SAMPLES,
                                            (const int32_t[3]){ 3, 1000, 1000 }, &mix));
        if (mix.kind == SSLD_MIX_NONE)
            continue;
        mixed++;
        partners[mix.partner]++;
        boxes += mix.kind == SSLD_MIX_BOX;
        if (mix.kind == SSLD_MIX_BLEND)
            shares[cell_of(mix.share, 0, 1, CELLS)]++;
        else if (mix.top > 0 && mix.top + mix.height < 1000 && mix.height < 200) /* the centre is in the middle part */
            rows[cell_of(mix.top + mix.height / 2, 100, 900, CELLS)] += mix.top + mix.height / 2 >= 100 &&
                                                                        mix.top + mix.height / 2 < 900;
    }
    check_share(mixed, 0.6, DRAWS, "mixed");
    check_share(boxes, 0.3, mixed, "boxes");
    check_even(partners, SAMPLES, "partners");
    check_even(rows, CELLS, "rows");
    scale = (double)(mixed - boxes) / DRAWS;
    for (int i = 0; i < CELLS; i++)
        expected[i] *= scale;
    CHECK(unevenness(shares, expected, CELLS) < 4, "shares: %g", unevenness(shares, expected, CELLS));
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

/* Cutmix with alpha 1: before what hangs over is cut off, the box's area is uniform. Its share says what is left of
 * it. */
TEST(boxes_have_the_area_that_they_say)
{
    enum { CELLS = 20 };
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "cutmix(1)");
    int areas[CELLS] = { 0 };
    for (int i = 0; i < DRAWS; i++) {
        ssld_view_mix mix = { .struct_size = sizeof mix };
        CHECK_OK(context,
                 ssld_view_partner(spec, 19, (uint64_t)i, 0, 1ull << 40, (const int32_t[3]){ 3, 3000, 2000 }, &mix));
        CHECK(mix.partner < 1ull << 40 && mix.top >= 0 && mix.left >= 0 && mix.top + mix.height <= 3000 &&
                  mix.left + mix.width <= 2000,
              "%d + %d, %d + %d", mix.top, mix.height, mix.left, mix.width);
        double share = 1 - (double)mix.height * mix.width / 6e6;
        CHECK(mix.kind == SSLD_MIX_BOX ? mix.share == share : mix.share == 1, "share %g of %g", mix.share, share);
        if (mix.top && mix.left && mix.top + mix.height < 3000 && mix.left + mix.width < 2000 && mix.height < 750)
            areas[cell_of(sqrt((double)mix.height * mix.width / 6e6), 0, 0.25, CELLS)]++;
    }
    /* Not cut off: the area a = r^2 with density 1, and the centre (1 - r)^2 of all places: 2 r (1 - r)^2 dr. */
    double expected[CELLS], total = 0, all = 0;
    for (int i = 0; i < CELLS; i++) {
        double low = i * 0.25 / CELLS, high = (i + 1) * 0.25 / CELLS;
#define PART(r) ((r) * (r) - 4 * (r) * (r) * (r) / 3 + (r) * (r) * (r) * (r) / 2)
        expected[i] = PART(high) - PART(low);
        total += expected[i];
        all += areas[i];
    }
    for (int i = 0; i < CELLS; i++)
        expected[i] *= all / total;
    CHECK(unevenness(areas, expected, CELLS) < 4, "areas: %g", unevenness(areas, expected, CELLS));
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

TEST(mixing_is_the_formula_and_bad_boxes_change_nothing)
{
    const int32_t shape[3] = { 2, 3, 4 };
    float own[24], other[24], before[24];
    for (int i = 0; i < 24; i++) {
        before[i] = own[i] = (float)i;
        other[i] = (float)(100 + i * i);
    }
    ssld_view_mix mix = { .struct_size = sizeof mix, .share = 0.3, .kind = SSLD_MIX_BLEND };
    ssld_view_mix_pixels(&mix, shape, other, own);
    for (int i = 0; i < 24; i++)
        CHECK(own[i] == 0.3f * before[i] + (float)(1 - 0.3) * other[i], "pixel %d is %g", i, own[i]);
    memcpy(own, before, sizeof own);
    mix = (ssld_view_mix){
        .struct_size = sizeof mix, .kind = SSLD_MIX_BOX, .top = 1, .left = 2, .height = 2, .width = 1
    };
    ssld_view_mix_pixels(&mix, shape, other, own);
    for (int i = 0; i < 24; i++)
        CHECK(own[i] == (i % 4 == 2 && i / 4 % 3 >= 1 ? other[i] : before[i]), "pixel %d is %g", i, own[i]);
    memcpy(own, before, sizeof own);
    mix.height = 3;
    ssld_view_mix_pixels(&mix, shape, other, own);
    mix.height = INT32_MAX;
    ssld_view_mix_pixels(&mix, shape, other, own);
    CHECK(!memcmp(own, before, sizeof own), "a box outside was copied");
}

TEST(partners_of_impossible_samples_are_refused)
{
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "mixup(0.2)"), *plain = parse(context, "flip");
    ssld_view_mix mix = { .struct_size = sizeof mix, .partner = 7 };
    const int32_t shape[3] = { 1, 2, 2 }, empty[3] = { 1, 0, 2 };
    CHECK_STATUS(context, ssld_view_partner(spec, 0, 5, 0, 5, shape, &mix), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "ssld_view_partner: sample 5 of 5; the data set's count belongs here");
    CHECK_STATUS(context, ssld_view_partner(spec, 0, 0, 0, 0, shape, &mix), SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context, ssld_view_partner(spec, 0, 0, 0, 5, empty, &mix), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "1 x 0 x 2");
    CHECK(mix.partner == 7, "partner %d", (int)mix.partner);
    CHECK(ssld_view_spec_mixes(spec) == 1 && ssld_view_spec_mixes(plain) == 0, "mixes");
    CHECK_OK(context, ssld_view_partner(plain, 0, 3, 0, 5, shape, &mix));
    CHECK(mix.kind == SSLD_MIX_NONE && mix.partner == 3 && mix.share == 1, "kind %d", mix.kind);
    ssld_view_spec_destroy(spec);
    ssld_view_spec_destroy(plain);
    ssld_context_destroy(context);
}

/* -- Views -------------------------------------------------------------------------------------------------------- */

#define SIDE 40
#define FLOATS (3 * SIDE * SIDE)

static const char *const operations[] = {
    "rrc(24, draw=paddle) flip",
    "resize(23, rule=paddle) center_crop(22, rule=paddle) vflip",
    "pad_crop(44, 4, fill=10/20/30)",
    "color_jitter(0.4, 0.4, 0.4, 0.1)",
    "randaugment(9, ops=3, p=0.9)",
    "randaugment(7, ops=4, p=1, list=plain, resample=random, fill=128)",
    "autoaugment(v0)",
    "autoaugment(originalr, mstd=0.5, resample=bilinear)",
    "paddle_randaugment(5, ops=3)",
    "paddle_autoaugment(cifar10)",
    "paddle_autoaugment(svhn)",
    "normalize(imagenet) erase(1)",
    "normalize(imagenet) erase(1, mode=rand)",
};

static void fill_pixels(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pixels[i] = (uint8_t)(i * i / 7 + i % 3 * 90 + i / 120);
}

/* A view is for ever, on every machine: over 16 samples each, so that every operation of a list has its turn. */
TEST(views_of_random_operations_are_pinned)
{
    static const uint64_t hashes[sizeof operations / sizeof *operations] = {
        0x8f3f7f6a6fc3c236, 0x42c50dc002a02e30, 0xcf0758d20273a7d1, 0x20d1d666751194c3, 0x9ae73676a79c1e77,
        0xc30135e90181d617, 0x525b1f61e5d0777f, 0x958fafffb9f1fbcc, 0x01f2aa1fb952536d, 0x10014083875fd055,
        0x19636fe1e4a15c9a, 0x483ee40288b3f0bc, 0xa919e8042bd434c1,
    };
    ssld_context *context = make_context();
    static uint8_t pixels[FLOATS];
    static float dst[3 * 48 * 48];
    fill_pixels(pixels, FLOATS);
    char wrong[1500] = "";
    for (size_t row = 0; row < sizeof operations / sizeof *operations; row++) {
        ssld_view_spec *spec = parse(context, operations[row]);
        uint64_t all[16];
        for (uint64_t sample = 0; sample < 16; sample++) {
            int32_t shape[3];
            CHECK_OK(context, ssld_view_spec_shape(spec, (const int32_t[3]){ 3, SIDE, SIDE }, shape));
            CHECK_OK(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, SIDE, SIDE }, 21, sample, 1,
                                                      dst, 3 * 48 * 48));
            all[sample] = hash_floats(dst, (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2]);
        }
        uint64_t hash = 0;
        for (int i = 0; i < 16; i++)
            hash = (hash ^ all[i]) * 0x9e3779b97f4a7c15u;
        if (hash != hashes[row])
            snprintf(wrong + strlen(wrong), sizeof wrong - strlen(wrong), "\n0x%016llx, /* %s */",
                     (unsigned long long)hash, operations[row]);
        ssld_view_spec_destroy(spec);
    }
    CHECK(!*wrong, "%s", wrong);
    ssld_context_destroy(context);
}

TEST(grey_images_are_augmented_too_and_colours_for_them_are_refused)
{
    ssld_context *context = make_context();
    static uint8_t pixels[SIDE * SIDE];
    static float dst[SIDE * SIDE];
    const int32_t image[3] = { 1, SIDE, SIDE };
    int32_t shape[3];
    fill_pixels(pixels, sizeof pixels);
    static const char *const grey[] = { "randaugment(9, ops=6, p=1, fill=128)", "color_jitter(1, 1, 1, 0.5)",
                                        "paddle_randaugment", "autoaugment(v0, fill=0)", "erase(1)" };
    for (size_t i = 0; i < sizeof grey / sizeof *grey; i++) {
        ssld_view_spec *spec = parse(context, grey[i]);
        for (uint64_t sample = 0; sample < 50; sample++)
            CHECK_OK(context, ssld_view_render_pixels(spec, pixels, image, 1, sample, 0, dst, SIDE * SIDE));
        ssld_view_spec_destroy(spec);
    }
    static const char *const coloured[] = { "randaugment(9)", "autoaugment(v0)", "pad_crop(8, 1, fill=1/2/3)",
                                            "erase(value=1/2/3)" };
    for (size_t i = 0; i < sizeof coloured / sizeof *coloured; i++) {
        ssld_view_spec *spec = parse(context, coloured[i]);
        CHECK_STATUS(context, ssld_view_spec_shape(spec, image, shape), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, "has 3 numbers, but there is 1 channel; give one, or put rgb before it");
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

/* Borrowed pixels stay as they are: operations that work in place copy first. */
TEST(the_host_s_pixels_are_not_written_to)
{
    ssld_context *context = make_context();
    static uint8_t pixels[FLOATS], before[FLOATS];
    static float dst[3 * 48 * 48];
    fill_pixels(pixels, FLOATS);
    memcpy(before, pixels, FLOATS);
    for (size_t row = 0; row < sizeof operations / sizeof *operations; row++) {
        ssld_view_spec *spec = parse(context, operations[row]);
        for (uint64_t sample = 0; sample < 30; sample++)
            CHECK_OK(context, ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, SIDE, SIDE }, 2, sample, 0,
                                                      dst, 3 * 48 * 48));
        CHECK(!memcmp(before, pixels, FLOATS), "%s wrote to the host's pixels", operations[row]);
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

TEST(images_of_one_row_column_or_pixel_are_augmented)
{
    ssld_context *context = make_context();
    static const int32_t sizes[][2] = { { 1, 1 }, { 1, 40 }, { 40, 1 }, { 2, 2 }, { 3, 3 } };
    static uint8_t pixels[FLOATS];
    static float dst[FLOATS];
    fill_pixels(pixels, FLOATS);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t row = 3; row < sizeof operations / sizeof *operations; row++) {
            ssld_view_spec *spec = parse(context, operations[row]);
            for (uint64_t sample = 0; sample < 40; sample++)
                CHECK_OK(context,
                         ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, sizes[i][0], sizes[i][1] }, 2,
                                                 sample, 0, dst, FLOATS));
            ssld_view_spec_destroy(spec);
        }
    ssld_context_destroy(context);
}

TEST(every_allocation_of_an_augmentation_may_fail)
{
    static uint8_t pixels[FLOATS];
    static float dst[3 * 48 * 48];
    fill_pixels(pixels, FLOATS);
    for (size_t row = 0; row < sizeof operations / sizeof *operations; row++)
        for (uint64_t sample = 0; sample < 8; sample++) {
            bool done = false;
            for (int allowed = 0; !done; allowed++) {
                struct budget budget;
                ssld_context *context = make_poor_context(&budget, allowed);
                ssld_view_spec *spec = NULL;
                ssld_status status = ssld_view_spec_parse(context, operations[row], &spec);
                if (!status)
                    status = ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, SIDE, SIDE }, 2, sample, 0,
                                                     dst, 3 * 48 * 48);
                CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%s, %d allocations: %s", operations[row],
                      allowed, ssld_status_name(status));
                done = !status;
                ssld_view_spec_destroy(spec);
                CHECK(atomic_load(&budget.out) == 1, "%s, %d allocations: %d blocks left", operations[row], allowed,
                      atomic_load(&budget.out) - 1);
                ssld_context_destroy(context);
            }
        }
}

/* -- Texts -------------------------------------------------------------------------------------------------------- */

TEST(texts_of_operations_round_trip)
{
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        { "randaugment(9)", "randaugment(magnitude=9, ops=2, p=0.5, mstd=0.5, list=increasing, resample=bicubic, "
                            "fill=124/116/104, apply=1) normalize(mean=0, std=1)" },
        { "autoaugment(original)", "autoaugment(policy=original, mstd=0, resample=bicubic, fill=124/116/104, apply=1) "
                                   "normalize(mean=0, std=1)" },
        { "paddle_randaugment", "paddle_randaugment(magnitude=5, ops=2, fill=128) normalize(mean=0, std=1)" },
        { "paddle_autoaugment", "paddle_autoaugment(policy=imagenet, fill=128) normalize(mean=0, std=1)" },
        { "color_jitter(0.4, hue=0.1)",
          "color_jitter(brightness=0.4, contrast=0, saturation=0, hue=0.1, p=1) normalize(mean=0, std=1)" },
        { "erase(0.1) mixup(0.2)", "normalize(mean=0, std=1) erase(p=0.1, area=0.02..0.3333333333333333, "
                                   "ratio=0.3..3.3333333333333335, mode=pixel, "
                                   "value=0, aspect=log, tries=10) mixup(alpha=0.2, p=1)" },
        { "cutmix(1, 0.5)", "normalize(mean=0, std=1) cutmix(alpha=1, p=0.5)" },
        { "normalize(0, 1) mixup_or_cutmix(0.8, 1)",
          "normalize(mean=0, std=1) mixup_or_cutmix(mixup=0.8, cutmix=1, p=1, switch=0.5)" },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_view_spec *spec = parse(context, rows[i].text);
        CHECK(!strcmp(ssld_view_spec_text(spec), rows[i].canonical), "'%s' is written '%s'", rows[i].text,
              ssld_view_spec_text(spec));
        ssld_view_spec *again = parse(context, rows[i].canonical);
        CHECK(!strcmp(ssld_view_spec_text(again), rows[i].canonical), "'%s' is written '%s'", rows[i].canonical,
              ssld_view_spec_text(again));
        ssld_view_spec_destroy(again);
        ssld_view_spec_destroy(spec);
    }
    ssld_context_destroy(context);
}

TEST(impossible_operations_are_refused_with_what_was_expected)
{
    static const struct {
        const char *text, *said;
    } rows[] = {
        { "randaugment", "randaugment: no magnitude; expected randaugment(magnitude, ops=2, p=0.5" },
        { "randaugment(11)", "'11' is not a possible magnitude; expected a number from 0 to 10" },
        { "randaugment(9, ops=17)", "'17' is not a possible ops; expected a whole number from 1 to 16" },
        { "randaugment(9, list=inc)", "'inc' is not a possible list; expected one of increasing|plain" },
        { "randaugment(9, resample=nearest)", "expected one of bicubic|bilinear|random" },
        { "randaugment(9, fill=300)", "'300' is not a possible fill" },
        { "autoaugment(v1)", "'v1' is not a possible policy; expected one of v0|v0r|original|originalr" },
        { "color_jitter(hue=0.6)", "'0.6' is not a possible hue; expected a number from 0 to 0.5" },
        { "erase(0.5) flip", "'flip' stands behind erase, which works on floats; put it before that" },
        { "erase(0.5) normalize(0, 1)", "'normalize(0, 1)': there is a normalize before it already" },
        { "erase(mode=noise)", "'noise' is not a possible mode; expected one of pixel|rand|const" },
        { "mixup", "mixup: no alpha" },
        { "mixup(0)", "'0' is not a possible alpha; expected a number from 0.001 to 1000" },
        { "mixup(1) erase", "'erase' stands behind mixup, which works on mixed views; put it before that" },
        { "mixup(1) cutmix(1)", "'cutmix(1)' stands behind mixup; a view is mixed once, mixup_or_cutmix chooses" },
    };
    ssld_context *context = make_context();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_view_spec *spec = NULL;
        CHECK_STATUS(context, ssld_view_spec_parse(context, rows[i].text, &spec), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, rows[i].said);
    }
    ssld_context_destroy(context);
}

TEST_MAIN(TEST_ROW(normal_variates_are_normal_one_by_one_and_in_bulk),
          TEST_ROW(exact_sin_and_cos_are_close_to_the_true_ones), TEST_ROW(beta_variates_have_the_beta_distribution),
          TEST_ROW(paddle_crops_are_uniform_in_ratio_share_and_position_and_always_fit),
          TEST_ROW(randaugment_chooses_evenly_and_levels_are_normal),
          TEST_ROW(randaugment_cuts_levels_at_ten_and_applies_with_its_probability),
          TEST_ROW(policies_choose_evenly_and_steps_come_with_their_probabilities),
          TEST_ROW(paddle_randaugment_has_fixed_strengths_and_even_choices),
          TEST_ROW(colour_jitter_is_uniform_in_order_and_strength),
          TEST_ROW(erased_boxes_are_uniform_in_area_ratio_and_position),
          TEST_ROW(erasing_fills_the_box_and_nothing_else),
          TEST_ROW(partners_are_uniform_and_shares_have_their_distribution),
          TEST_ROW(boxes_have_the_area_that_they_say), TEST_ROW(mixing_is_the_formula_and_bad_boxes_change_nothing),
          TEST_ROW(partners_of_impossible_samples_are_refused), TEST_ROW(views_of_random_operations_are_pinned),
          TEST_ROW(grey_images_are_augmented_too_and_colours_for_them_are_refused),
          TEST_ROW(the_host_s_pixels_are_not_written_to), TEST_ROW(images_of_one_row_column_or_pixel_are_augmented),
          TEST_ROW(every_allocation_of_an_augmentation_may_fail), TEST_ROW(texts_of_operations_round_trip),
          TEST_ROW(impossible_operations_are_refused_with_what_was_expected))
