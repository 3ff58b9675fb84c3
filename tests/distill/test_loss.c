/* SPDX-License-Identifier: BSD-2-Clause */
/* The losses: values against their formulas written out plainly, gradients against central differences, texts that parse
 * or say what they did not understand. */
#include "test.h"

#include <float.h>
#include <math.h>

#include "core/philox.h"
#include "distill/loss.h"

#define MOST_CLASSES 1000
#define MOST_ROWS 3

/* A batch with everything a loss may ask for. Logits are multiples of 2^-10, so that adding or taking away 2^-10 is exact
 * in float and central differences see the very points they assume. */
struct fixture {
    ssld_context *context;
    ssld_labels  *soft;
    int32_t       rows, classes;
    float         student[MOST_ROWS * MOST_CLASSES], teacher[MOST_ROWS * MOST_CLASSES], diff[MOST_ROWS * MOST_CLASSES];
    int32_t       hard[MOST_ROWS];
    double        scratch[8 * MOST_CLASSES];
};

#define STEP (1.0f / 1024)

static struct fixture fixture;

static void set_up(int32_t rows, int32_t classes, double range)
{
    struct fixture *f = &fixture;
    struct ssld_stream stream = ssld_stream_start(7, (uint64_t)classes, (uint32_t)rows, 0);
    CHECK(ssld_context_create(NULL, &f->context) == SSLD_OK, "no context");
    CHECK_OK(f->context, ssld_labels_create(f->context, rows, classes, &f->soft));
    CHECK(ssld_loss_scratch(classes) <= sizeof f->scratch, "the scratch wants %zu bytes", ssld_loss_scratch(classes));
    f->rows = rows;
    f->classes = classes;
    for (int32_t i = 0; i < rows * classes; i++) {
        f->student[i] = STEP * (float)floor((ssld_stream_uniform(&stream) - 0.5) * 2 * range / STEP);
        f->teacher[i] = (float)((ssld_stream_uniform(&stream) - 0.5) * 2 * range);
    }
    for (int32_t n = 0; n < rows; n++)
        f->hard[n] = (int32_t)ssld_stream_below(&stream, (uint32_t)classes);
    CHECK_OK(f->context, ssld_labels_wrap_logits(f->soft, rows, f->teacher));
}

static void tear_down(void)
{
    ssld_labels_destroy(fixture.soft);
    ssld_context_destroy(fixture.context);
}

static double compute(const char *text)
{
    struct fixture *f = &fixture;
    struct ssld_loss loss;
    double value = 0;
    CHECK_OK(f->context, ssld_loss_parse(f->context, text, &loss));
    CHECK_OK(f->context, ssld_loss_compute(f->context, &loss, f->rows, f->classes, f->student, f->soft, f->hard, 1, f->scratch,
                                           f->diff, &value));
    return value;
}

/* -- The formulas, written out without a thought for speed or large logits ---------------------------------------- */

static void softmax(const float *logits, double *p)
{
    double sum = 0;
    for (int32_t c = 0; c < fixture.classes; c++)
        sum += exp((double)logits[c]);
    for (int32_t c = 0; c < fixture.classes; c++)
        p[c] = exp((double)logits[c]) / sum;
}

/* PaddleClas's DMLLoss: k(x, t) = C t ln((t + e) / (x + e)), the mean over batch and classes of (k(p, q) + k(q, p)) / 2. */
static double reference_sym_kl(const double *p, const double *q, int32_t label)
{
    double e = 1e-12, sum = 0;
    int32_t classes = fixture.classes;
    (void)label;
    for (int32_t c = 0; c < classes; c++)
        sum += (classes * q[c] * log((q[c] + e) / (p[c] + e)) + classes * p[c] * log((p[c] + e) / (q[c] + e))) / 2;
    return sum / classes;
}

static double reference_soft_ce(const double *p, const double *q, int32_t label)
{
    double sum = 0;
    (void)label;
    for (int32_t c = 0; c < fixture.classes; c++)
        sum -= q[c] * log(p[c]);
    return sum;
}

static double reference_hard_ce(const double *p, const double *q, int32_t label)
{
    (void)q;
    return -log(p[label]);
}

static double reference_smooth_ce(const double *p, const double *q, int32_t label)
{
    double sum = 0;
    (void)q;
    for (int32_t c = 0; c < fixture.classes; c++)
        sum -= ((c == label ? 0.9 : 0) + 0.1 / fixture.classes) * log(p[c]);
    return sum;
}

static double reference_mixture(const double *p, const double *q, int32_t label)
{
    return 0.25 * reference_sym_kl(p, q, label) + 1.5 * reference_soft_ce(p, q, label) + reference_smooth_ce(p, q, label);
}

static const struct {
    const char *text;
    double (*reference)(const double *p, const double *q, int32_t label);
} losses[] = {
    { "sym_kl", reference_sym_kl },
    { "soft_ce", reference_soft_ce },
    { "hard_ce", reference_hard_ce },
    { "hard_ce(smoothing=0.1)", reference_smooth_ce },
    { "0.25*sym_kl + 1.5*soft_ce + hard_ce(smoothing=0.1)", reference_mixture },
};

#define LOSSES (sizeof losses / sizeof losses[0])

static void check_value(size_t l)
{
    static double p[MOST_CLASSES], q[MOST_CLASSES];
    double expected = 0, value = compute(losses[l].text);
    for (int32_t n = 0; n < fixture.rows; n++) {
        softmax(fixture.student + n * fixture.classes, p);
        softmax(fixture.teacher + n * fixture.classes, q);
        expected += losses[l].reference(p, q, fixture.hard[n]) / fixture.rows;
    }
    /* Both are double: the orders of summation differ by some hundred roundings of 1e-16. */
    CHECK(fabs(value - expected) <= 1e-12 * fabs(expected), "%s, %d classes: %.17g instead of %.17g", losses[l].text,
          fixture.classes, value, expected);
}

/* Every gradient of the batch, or every 37th when there are many. Error of the differences: h^2 / 6 of the third
 * derivative, about 2e-7 of the largest gradient; the float result has 6e-8 of its own. */
static void check_gradient(const char *text)
{
    static float diff[MOST_ROWS * MOST_CLASSES];
    int32_t elements = fixture.rows * fixture.classes, stride = elements > 300 ? 37 : 1;
    double largest = 0;
    compute(text);
    memcpy(diff, fixture.diff, sizeof diff);
    for (int32_t i = 0; i < elements; i++)
        largest = fmax(largest, fabs((double)diff[i]));
    for (int32_t i = 0; i < elements; i += stride) {
        float kept = fixture.student[i];
        fixture.student[i] = kept + STEP;
        double above = compute(text);
        fixture.student[i] = kept - STEP;
        double below = compute(text);
        fixture.student[i] = kept;
        double expected = (above - below) / (2 * (double)STEP);
        CHECK(fabs(diff[i] - expected) <= 1e-5 * fmax(fabs(expected), 0.1 * largest),
              "%s, %d classes, element %d: %.9g instead of %.9g", text, fixture.classes, i, (double)diff[i], expected);
    }
}

static const int32_t class_counts[] = { 2, 10, MOST_CLASSES };

TEST(losses_are_their_formulas)
{
    for (size_t k = 0; k < 3; k++) {
        set_up(MOST_ROWS, class_counts[k], 4);
        for (size_t l = 0; l < LOSSES; l++)
            check_value(l);
        tear_down();
    }
}

TEST(gradients_are_the_slopes_of_the_values)
{
    for (size_t k = 0; k < 3; k++) {
        set_up(k == 2 ? 1 : MOST_ROWS, class_counts[k], 4);
        for (size_t l = 0; l < LOSSES; l++)
            check_gradient(losses[l].text);
        tear_down();
    }
}

/* Where the epsilon decides: the student is surer than 1e-12, so ln(q + e) and (q - p) / (p + e) are far from ln q. */
TEST(sym_kl_gradient_holds_where_the_epsilon_counts)
{
    set_up(1, 4, 1);
    static const float sure[4] = { 0, -26, -27, -28 }, other[4] = { -30, 0, -1, -29 };
    memcpy(fixture.student, sure, sizeof sure);
    memcpy(fixture.teacher, other, sizeof other);
    check_value(0);
    check_gradient("sym_kl");
    tear_down();
}

TEST(logits_and_their_probabilities_give_the_same_loss)
{
    set_up(MOST_ROWS, 10, 4);
    for (size_t l = 0; l < 2; l++) {
        CHECK_OK(fixture.context, ssld_labels_wrap_logits(fixture.soft, fixture.rows, fixture.teacher));
        double of_logits = compute(losses[l].text);
        CHECK_OK(fixture.context, ssld_labels_softmax(fixture.soft));
        double of_probabilities = compute(losses[l].text);
        /* Probabilities are floats: 6e-8 each, in a sum that may cancel. */
        CHECK(fabs(of_logits - of_probabilities) <= 1e-6 * of_logits, "%s: %.9g and %.9g", losses[l].text, of_logits,
              of_probabilities);
    }
    tear_down();
}

TEST(one_hot_teacher_makes_soft_ce_hard_ce)
{
    set_up(MOST_ROWS, 10, 4);
    static float one_hot[MOST_ROWS * 10], diff[MOST_ROWS * 10];
    memset(one_hot, 0, sizeof one_hot);
    for (int32_t n = 0; n < fixture.rows; n++)
        one_hot[n * 10 + fixture.hard[n]] = 1;
    CHECK_OK(fixture.context, ssld_labels_wrap_probabilities(fixture.soft, fixture.rows, one_hot));
    double hard = compute("hard_ce");
    memcpy(diff, fixture.diff, sizeof diff);
    double soft = compute("soft_ce");
    CHECK(fabs(hard - soft) <= 1e-15 * hard, "%.17g and %.17g", hard, soft);
    CHECK(!memcmp(diff, fixture.diff, sizeof diff), "the gradients differ");
    double sym = compute("sym_kl"); /* the teacher's zeros are ln 1e-12, not minus infinity */
    CHECK(isfinite(sym) && sym > 0 && sym < 27.64, "sym_kl is %g; ln(1e12) = 27.63 bounds it", sym);
    check_gradient("sym_kl");
    tear_down();
}

TEST(uniform_student_of_uniform_teacher_has_nothing_to_learn)
{
    set_up(1, MOST_CLASSES, 1);
    memset(fixture.student, 0, sizeof fixture.student);
    memset(fixture.teacher, 0, sizeof fixture.teacher);
    double sym = compute("sym_kl");
    CHECK(sym == 0, "sym_kl is %g", sym);
    double soft = compute("soft_ce");
    CHECK(fabs(soft - log(1000)) < 1e-12, "soft_ce is %.17g, ln 1000 is %.17g", soft, log(1000));
    for (int32_t c = 0; c < MOST_CLASSES; c++) /* p * (a sum of 1000 doubles that is 1) - q */
        CHECK(fabs((double)fixture.diff[c]) < 1e-15, "gradient %d is %g", c, (double)fixture.diff[c]);
    tear_down();
}

TEST(huge_logits_stay_finite)
{
    set_up(2, 3, 1);
    static const float student[6] = { 1e4f, -1e4f, 0, -1e30f, 1e30f, 0 }, teacher[6] = { -1e4f, 1e4f, 0, 1e30f, 0, -1e30f };
    memcpy(fixture.student, student, sizeof student);
    memcpy(fixture.teacher, teacher, sizeof teacher);
    fixture.hard[0] = 0;
    fixture.hard[1] = 1;
    double sym = compute("sym_kl"), bound = log(1e12);
    /* p and q sit on different classes: (ln(1e12) + ln(1e12)) / 2, whatever the logits. */
    CHECK(fabs(sym - bound) < 1e-9, "sym_kl is %.12g instead of %.12g", sym, bound);
    for (int i = 0; i < 6; i++)
        CHECK(isfinite(fixture.diff[i]), "gradient %d is %g", i, (double)fixture.diff[i]);
    double hard = compute("hard_ce");
    CHECK(hard == 0, "hard_ce of a sure and right student is %g", hard);
    double soft = compute("soft_ce");
    CHECK(fabs(soft - (2e4 + 2e30) / 2) <= 1e-6 * 1e30, "soft_ce is %g", soft);
    tear_down();
}

TEST(a_row_of_zeros_is_no_label_and_teaches_nothing)
{
    set_up(2, 50, 6);
    struct fixture *f = &fixture;
    float q[100] = { 0 };
    for (int c = 0; c < 50; c++)
        q[c] = 0.02f;
    CHECK_OK(f->context, ssld_labels_wrap_probabilities(f->soft, 2, q));
    static const char *const texts[] = { "sym_kl", "soft_ce", "sym_kl + 0.5*hard_ce" };
    for (int t = 0; t < 3; t++) {
        double both = compute(texts[t]), sum = 0;
        for (int c = 50; c < 100; c++)
            sum += fabs((double)f->diff[c]);
        CHECK(t == 2 ? sum > 0 : sum == 0, "%s: %g", texts[t], sum); /* the hard label still counts */
        f->rows = 1;
        CHECK_OK(f->context, ssld_labels_wrap_probabilities(f->soft, 1, q));
        double one = compute(texts[t]);
        CHECK(t == 2 || fabs(both - one / 2) <= 1e-12 * one, "%s: %g and %g", texts[t], both, one);
        f->rows = 2;
        CHECK_OK(f->context, ssld_labels_wrap_probabilities(f->soft, 2, q));
    }
    tear_down();
}

TEST(values_that_are_not_finite_are_refused)
{
    set_up(2, 3, 1);
    struct ssld_loss loss;
    double value = 42;
    struct fixture *f = &fixture;
    CHECK_OK(f->context, ssld_loss_parse(f->context, "sym_kl", &loss));
    f->student[4] = NAN;
    CHECK_STATUS(f->context, ssld_loss_compute(f->context, &loss, 2, 3, f->student, f->soft, NULL, 1, f->scratch, f->diff,
                                               &value), SSLD_NOT_FINITE);
    CHECK_TEXT(f->context, "class 1 for view 1");
    CHECK(value == 42, "the value was changed to %g", value);
    tear_down();
}

TEST(labels_that_are_not_finite_or_negative_name_their_view)
{
    set_up(2, 3, 1);
    struct ssld_loss loss;
    struct fixture *f = &fixture;
    CHECK_OK(f->context, ssld_loss_parse(f->context, "sym_kl", &loss));
    for (int i = 0; i < 6; i++)
        f->teacher[i] = 1.0f / 3;
    CHECK_OK(f->context, ssld_labels_wrap_probabilities(f->soft, 2, f->teacher));
    CHECK_OK(f->context, ssld_loss_check_labels(f->context, &loss, 2, 3, f->soft, NULL));
    f->teacher[4] = -0.25f;
    CHECK_STATUS(f->context, ssld_loss_check_labels(f->context, &loss, 2, 3, f->soft, NULL), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f->context, "the teacher's probability of class 1 for view 1 of the batch is -0.25");
    f->teacher[2] = INFINITY;
    CHECK_STATUS(f->context, ssld_loss_check_labels(f->context, &loss, 2, 3, f->soft, NULL), SSLD_NOT_FINITE);
    CHECK_TEXT(f->context, "class 2 for view 0");
    /* A logit may be negative. */
    CHECK_OK(f->context, ssld_labels_wrap_logits(f->soft, 2, f->teacher));
    f->teacher[2] = NAN;
    CHECK_STATUS(f->context, ssld_loss_check_labels(f->context, &loss, 2, 3, f->soft, NULL), SSLD_NOT_FINITE);
    CHECK_TEXT(f->context, "the teacher's logit of class 2");
    f->teacher[2] = 0;
    CHECK_OK(f->context, ssld_loss_check_labels(f->context, &loss, 2, 3, f->soft, NULL));
    tear_down();
}

TEST(classes_that_do_not_exist_are_refused)
{
    set_up(2, 3, 1);
    struct ssld_loss loss;
    struct fixture *f = &fixture;
    static const int32_t wrong[] = { -1, 3 };
    CHECK_OK(f->context, ssld_loss_parse(f->context, "hard_ce", &loss));
    CHECK_OK(f->context, ssld_loss_check_labels(f->context, &loss, 2, 3, NULL, f->hard));
    for (int i = 0; i < 2; i++) {
        f->hard[1] = wrong[i];
        CHECK_STATUS(f->context, ssld_loss_check_labels(f->context, &loss, 2, 3, NULL, f->hard), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(f->context, wrong[i] < 0 ? "has class -1" : "has class 3");
    }
    tear_down();
}

/* -- Texts -------------------------------------------------------------------------------------------------------- */

TEST(texts_say_what_they_need)
{
    static const struct {
        const char *text;
        int32_t terms;
        bool soft, hard;
        double weight, parameter; /* of the last term */
    } cases[] = {
        { "sym_kl", 1, true, false, 1, 0 },
        { "hard_ce", 1, false, true, 1, 0 },
        { "  2.5 * soft_ce  ", 1, true, false, 2.5, 0 },
        { "sym_kl+.5e-1*hard_ce( smoothing = 0.1 )", 2, true, true, 0.05, 0.1 },
        { "1e2*sym_kl + 0*hard_ce(smoothing=1)", 2, true, true, 0, 1 },
        { "0.1*sym_kl + 0.30000000000000004*sym_kl", 2, true, false, 0.30000000000000004, 0 },
    };
    ssld_context *context = NULL;
    CHECK(ssld_context_create(NULL, &context) == SSLD_OK, "no context");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ssld_loss loss;
        CHECK_OK(context, ssld_loss_parse(context, cases[i].text, &loss));
        int32_t last = loss.term_count - 1;
        CHECK(loss.term_count == cases[i].terms && loss.needs_soft == cases[i].soft && loss.needs_hard == cases[i].hard,
              "'%s': %d terms, soft %d, hard %d", cases[i].text, loss.term_count, loss.needs_soft, loss.needs_hard);
        /* Seventeen digits may be off by the last place: two roundings instead of one. */
        CHECK(fabs(loss.terms[last].weight - cases[i].weight) <= DBL_EPSILON * cases[i].weight &&
                  loss.terms[last].parameters[0] == cases[i].parameter,
              "'%s': weight %.17g, parameter %.17g", cases[i].text, loss.terms[last].weight, loss.terms[last].parameters[0]);
    }
    ssld_context_destroy(context);
}

TEST(texts_that_make_no_sense_are_quoted)
{
    static const struct {
        const char *text, *quoted;
    } cases[] = {
        { "", "ends where the name of a loss" },
        { "sym_kll", "no loss 'sym_kll'; there are sym_kl, soft_ce, hard_ce(smoothing=0)" },
        { "sym_kl +", "ends where the name of a loss" },
        { "sym_kl soft_ce", "'soft_ce' stands where '+'" },
        { "sym_kl - soft_ce", "'-' stands where '+'" },
        { "-1*sym_kl", "'-1' stands where the name of a loss" },
        { "2 sym_kl", "'sym_kl' stands where '*'" },
        { "2x*sym_kl", "'2x' stands where a number" },
        { "1.2.3*sym_kl", "'1.2.3' stands where a number" },
        { "1e*sym_kl", "'1e' stands where a number" },
        { "1e999*sym_kl", "'1e999' stands where a number" },
        { ".*sym_kl", "'.' stands where a number" },
        { "sym_kl(t=2)", "sym_kl has no parameter 't'" },
        { "hard_ce(smooth=0.1)", "hard_ce has no parameter 'smooth'; its first is smoothing" },
        { "hard_ce(smoothing 0.1)", "'0.1' stands where '='" },
        { "hard_ce(smoothing=)", "')' stands where a number" },
        { "hard_ce(smoothing=1.5)", "smoothing of hard_ce is 1.5; it must be 0 to 1" },
        { "hard_ce(smoothing=0.1", "ends where ')'" },
        { "hard_ce()", "hard_ce has no parameter ')'" },
        { "sym_kl+sym_kl+sym_kl+sym_kl+sym_kl+sym_kl+sym_kl+sym_kl+sym_kl", "more than 8 terms" },
    };
    ssld_context *context = NULL;
    CHECK(ssld_context_create(NULL, &context) == SSLD_OK, "no context");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ssld_loss loss = { .term_count = 42 };
        CHECK(ssld_loss_parse(context, cases[i].text, &loss) == SSLD_INVALID_ARGUMENT, "'%s' was understood", cases[i].text);
        CHECK_TEXT(context, cases[i].quoted);
        CHECK_TEXT(context, cases[i].text);
        CHECK(loss.term_count == 42, "'%s': the output was changed", cases[i].text);
    }
    ssld_context_destroy(context);
}

TEST_MAIN(TEST_ROW(losses_are_their_formulas), TEST_ROW(a_row_of_zeros_is_no_label_and_teaches_nothing), TEST_ROW(gradients_are_the_slopes_of_the_values),
          TEST_ROW(sym_kl_gradient_holds_where_the_epsilon_counts), TEST_ROW(logits_and_their_probabilities_give_the_same_loss),
          TEST_ROW(one_hot_teacher_makes_soft_ce_hard_ce), TEST_ROW(uniform_student_of_uniform_teacher_has_nothing_to_learn),
          TEST_ROW(huge_logits_stay_finite), TEST_ROW(values_that_are_not_finite_are_refused),
          TEST_ROW(labels_that_are_not_finite_or_negative_name_their_view),
          TEST_ROW(classes_that_do_not_exist_are_refused), TEST_ROW(texts_say_what_they_need),
          TEST_ROW(texts_that_make_no_sense_are_quoted))
