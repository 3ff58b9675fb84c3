/* SPDX-License-Identifier: BSD-2-Clause */
/* Codecs: what they lose, against the bounds that docs/format.md states. */
#include "store_helpers.h"

/* -- Half precision ----------------------------------------------------------------------------------------------- */

TEST(every_half_survives_the_way_through_double)
{
    for (uint32_t half = 0; half < 65536; half++) {
        double value = ssld_half_to((uint16_t)half);
        if (isnan(value))
            CHECK((ssld_half_from(value) & 0x7fff) == 0x7e00, "%04x", half);
        else
            CHECK(ssld_half_from(value) == half, "%04x became %04x", half, ssld_half_from(value));
    }
}

TEST(halves_round_to_nearest_and_ties_to_even)
{
    for (uint32_t half = 0; half < 0x7bff; half++) {
        double low = ssld_half_to((uint16_t)half), high = ssld_half_to((uint16_t)(half + 1));
        double middle = (low + high) / 2; /* exact in double */
        uint32_t even = half & 1 ? half + 1 : half;
        CHECK(ssld_half_from(middle) == even, "tie above %04x went to %04x", half, ssld_half_from(middle));
        CHECK(ssld_half_from(nextafter(middle, 0)) == half, "below the tie above %04x", half);
        CHECK(ssld_half_from(nextafter(middle, 1e9)) == half + 1, "above the tie above %04x", half);
        CHECK(ssld_half_from(-middle) == (even | 0x8000), "negative tie at %04x", half);
    }
    CHECK(ssld_half_from(65519.99) == 0x7bff && ssld_half_from(65520) == 0x7c00, "the largest half");
}

/* -- Reference: everything in double ------------------------------------------------------------------------------ */

static void reference_softmax(const float *logits, int32_t classes, double *p)
{
    double largest = logits[0], sum = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = logits[c] > largest ? logits[c] : largest;
    for (int32_t c = 0; c < classes; c++)
        sum += p[c] = exp(logits[c] - largest);
    for (int32_t c = 0; c < classes; c++)
        p[c] /= sum;
}

/* KL(p || q). A row of floats sums to 1 up to 2^-24, which is more than some codecs lose: q is normalised here. */
static double divergence(const double *p, const float *q, int32_t classes)
{
    double sum = 0, total = 0;
    for (int32_t c = 0; c < classes; c++) {
        sum += p[c] > 0 ? p[c] * log(p[c] / q[c]) : 0;
        total += q[c];
    }
    return sum + log(total);
}

/* d soft_ce / d logits = s - q. */
static void soft_ce_gradient(const double *s, const double *q, int32_t classes, double *gradient)
{
    for (int32_t c = 0; c < classes; c++)
        gradient[c] = s[c] - q[c];
}

/* sym_kl = (KL(q||s) + KL(s||q)) / 2:  d / d logits = ((s - q) + s (ln(s/q) - sum s ln(s/q))) / 2. */
static void sym_kl_gradient(const double *s, const double *q, int32_t classes, double *gradient)
{
    double mean = 0;
    for (int32_t c = 0; c < classes; c++)
        mean += s[c] * log(s[c] / q[c]);
    for (int32_t c = 0; c < classes; c++)
        gradient[c] = (s[c] - q[c] + s[c] * (log(s[c] / q[c]) - mean)) / 2;
}

static double cosine(const double *a, const double *b, int32_t classes)
{
    double ab = 0, aa = 0, bb = 0;
    for (int32_t c = 0; c < classes; c++) {
        ab += a[c] * b[c];
        aa += a[c] * a[c];
        bb += b[c] * b[c];
    }
    return ab / sqrt(aa * bb);
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* -- Bounds ------------------------------------------------------------------------------------------------------- */

static const int32_t class_counts[] = { 2, 10, 100, 1000, 21841 };
#define CLASS_COUNTS (sizeof class_counts / sizeof class_counts[0])

/* Half of the last place of a half: 2^-11 of the value, at least half the smallest subnormal. */
static double half_error(double value)
{
    double relative = fabs(value) * 0x1p-11;
    return relative > 0x1p-25 ? relative : 0x1p-25;
}

/* The row is a distribution: positive everywhere, sum 1 as far as `classes` floats can say it. */
static void check_distribution(const float *row, int32_t classes)
{
    double sum = 0;
    for (int32_t c = 0; c < classes; c++) {
        CHECK(row[c] > 0 && isfinite(row[c]), "class %d: %g", c, row[c]);
        sum += row[c];
    }
    CHECK(fabs(sum - 1) <= 0x1p-22, "sum %.9g", sum); /* each term is within 2^-23 of its own size */
}

TEST(dense_labels_stay_within_their_bounds)
{
    for (size_t i = 0; i < CLASS_COUNTS; i++) {
        int32_t classes = class_counts[i];
        struct ssld_store_header header = { .classes = classes, .codec = SSLD_CODEC_DENSE_F16 };
        float *logits = malloc((size_t)classes * 4), *row = malloc((size_t)classes * 4);
        double *p = malloc((size_t)classes * 8), worst = 0;
        for (uint64_t sample = 0; sample < 20; sample++) {
            make_logits(sample, 0, classes, logits);
            reference_softmax(logits, classes, p);
            CHECK(code_row(&header, logits, true, row), "%d classes", classes);
            check_distribution(row, classes);
            double squares = 0, mean_error = 0;
            for (int32_t c = 0; c < classes; c++) {
                squares += p[c] * log(p[c]) * log(p[c]);
                mean_error += p[c] * half_error(log(p[c]));
            }
            for (int32_t c = 0; c < classes; c++) {
                /* its own rounding, the renormalisation (at most the mean rounding, to first order), two float roundings */
                double error = fabs(log(row[c]) - log(p[c]));
                CHECK(error <= half_error(log(p[c])) + 1.01 * mean_error + 0x1p-22,
                      "%d classes, class %d: off by %g of ln p = %g", classes, c, error, log(p[c]));
            }
            double kl = divergence(p, row, classes);
            CHECK(kl <= 0x1p-22 * squares + 1e-12, "%d classes: KL %g, bound %g", classes, kl, 0x1p-22 * squares);
            worst = kl > worst ? kl : worst;
        }
        printf("# dense f16, %d classes: largest KL to the dense label %.2g\n", classes, worst);
        free(logits);
        free(row);
        free(p);
    }
}

TEST(topk_labels_stay_within_their_bounds)
{
    for (size_t i = 0; i < CLASS_COUNTS; i++) {
        int32_t classes = class_counts[i];
        struct ssld_store_header header = { .classes = classes, .codec = SSLD_CODEC_TOPK,
                                            .top_k = classes < 10 ? classes : 10 };
        float *logits = malloc((size_t)classes * 4), *row = malloc((size_t)classes * 4);
        double *p = malloc((size_t)classes * 8), worst = 0;
        for (uint64_t sample = 0; sample < 20; sample++) {
            make_logits(sample, 0, classes, logits);
            reference_softmax(logits, classes, p);
            CHECK(code_row(&header, logits, true, row), "%d classes", classes);
            check_distribution(row, classes);
            /* The tail's classes all have the same, smallest share. */
            float least = row[0];
            for (int32_t c = 1; c < classes; c++)
                least = row[c] < least ? row[c] : least;
            double tail = 0, tail_entropy = 0, squares = 0;
            int32_t outside = 0;
            for (int32_t c = 0; c < classes; c++) {
                if (header.top_k < classes && row[c] == least) {
                    tail += p[c];
                    tail_entropy -= p[c] * log(p[c]);
                    outside++;
                } else {
                    squares += p[c] * log(p[c]) * log(p[c]);
                    CHECK(fabs(log(row[c]) - log(p[c])) <= 2.02 * half_error(-20),
                          "class %d: %g for %g", c, row[c], p[c]);
                }
            }
            CHECK(outside == classes - header.top_k, "%d classes in the tail of %d", outside, classes);
            if (outside)
                squares += tail * log(tail) * log(tail);
            /* KL = what a uniform tail loses + what halves lose */
            double uniform = outside ? tail * log(outside / tail) - tail_entropy : 0;
            double kl = divergence(p, row, classes);
            CHECK(fabs(kl - uniform) <= 0x1p-22 * squares + 1e-12,
                  "%d classes: KL %g, uniform tail %g, bound %g", classes, kl, uniform, 0x1p-22 * squares);
            worst = kl > worst ? kl : worst;
        }
        printf("# top-%d of %d classes: largest KL to the dense label %.2g\n", header.top_k, classes, worst);
        free(logits);
        free(row);
        free(p);
    }
}

/* Cosine of the gradient from the stored label with that from the dense one, for a student `trained` between 0 (random
 * weights) and 1 (the teacher itself): medians over 200 labels. */
static void gradient_cosines(struct ssld_store_header *header, double trained, double *soft_ce, double *sym_kl)
{
    enum { LABELS = 200 };
    int32_t classes = header->classes;
    double ce[LABELS], kl[LABELS];
    float *logits = malloc((size_t)classes * 4), *noise = malloc((size_t)classes * 4), *row = malloc((size_t)classes * 4);
    double *memory = malloc((size_t)classes * 8 * 5), *q = memory, *s = q + classes, *stored = s + classes,
           *dense = stored + classes, *coded = dense + classes;
    for (int i = 0; i < LABELS; i++) {
        make_logits((uint64_t)i, 0, classes, logits);
        make_logits((uint64_t)i, 9999, classes, noise);
        reference_softmax(logits, classes, q);
        bool sound = code_row(header, logits, true, row);
        CHECK(sound, "label %d", i);
        for (int32_t c = 0; c < classes; c++) {
            noise[c] = (float)(trained * logits[c] + (1 - trained) * noise[c] / 2.5);
            stored[c] = row[c];
        }
        reference_softmax(noise, classes, s);
        soft_ce_gradient(s, q, classes, dense);
        soft_ce_gradient(s, stored, classes, coded);
        ce[i] = cosine(dense, coded, classes);
        sym_kl_gradient(s, q, classes, dense);
        sym_kl_gradient(s, stored, classes, coded);
        kl[i] = cosine(dense, coded, classes);
    }
    qsort(ce, LABELS, sizeof *ce, compare_doubles);
    qsort(kl, LABELS, sizeof *kl, compare_doubles);
    *soft_ce = ce[LABELS / 2];
    *sym_kl = kl[LABELS / 2];
    free(logits);
    free(noise);
    free(row);
    free(memory);
}

TEST(dense_labels_give_the_gradients_of_both_losses)
{
    for (size_t i = 1; i < 4; i++)
        for (double trained = 0; trained < 1; trained += 0.4) {
            struct ssld_store_header header = { .classes = class_counts[i], .codec = SSLD_CODEC_DENSE_F16 };
            double soft_ce, sym_kl;
            gradient_cosines(&header, trained, &soft_ce, &sym_kl);
            printf("# dense f16, %d classes, student %.0f %% trained: cosine soft_ce %.6f sym_kl %.6f\n",
                   header.classes, 100 * trained, soft_ce, sym_kl);
            /* halves are off by at most 2^-11 of a logarithm: 1 - cosine is of the order of its square */
            CHECK(soft_ce > 0.9999 && sym_kl > 0.9999, "soft_ce %g sym_kl %g", soft_ce, sym_kl);
        }
}

/* sym_kl feels the shape of the tail, which top-K flattens: docs/format.md says so, and gives these figures. */
TEST(topk_labels_give_the_gradient_of_soft_ce)
{
    for (size_t i = 2; i < 4; i++)
        for (double trained = 0; trained < 1; trained += 0.4) {
            struct ssld_store_header header = { .classes = class_counts[i], .codec = SSLD_CODEC_TOPK, .top_k = 10 };
            double soft_ce, sym_kl;
            gradient_cosines(&header, trained, &soft_ce, &sym_kl);
            printf("# top-10 of %d classes, student %.0f %% trained: cosine soft_ce %.6f sym_kl %.6f\n", header.classes,
                   100 * trained, soft_ce, sym_kl);
            CHECK(soft_ce > 0.99, "soft_ce %g", soft_ce);
            CHECK(sym_kl > 0.95, "sym_kl %g", sym_kl);
        }
}

/* -- Edges -------------------------------------------------------------------------------------------------------- */

TEST(certain_labels_keep_every_class_positive)
{
    enum { CLASSES = 1000 };
    static float values[CLASSES], row[CLASSES];
    for (int32_t codec = SSLD_CODEC_DENSE_F16; codec <= SSLD_CODEC_TOPK; codec++)
        for (int logits = 0; logits < 2; logits++) {
            struct ssld_store_header header = { .classes = CLASSES, .codec = codec,
                                                .top_k = codec == SSLD_CODEC_TOPK ? 10 : 0 };
            memset(values, 0, sizeof values);
            values[CLASSES - 1] = logits ? 3e38f : 1;
            values[0] = logits ? -3e38f : 0;
            CHECK(code_row(&header, values, logits, row), "codec %d", codec);
            check_distribution(row, CLASSES);
            CHECK(row[CLASSES - 1] == 1, "%.9g", row[CLASSES - 1]);
        }
}

TEST(probabilities_and_their_logits_give_the_same_label)
{
    enum { CLASSES = 100 };
    float logits[CLASSES], probabilities[CLASSES], a[CLASSES], b[CLASSES];
    double p[CLASSES];
    struct ssld_store_header header = { .classes = CLASSES, .codec = SSLD_CODEC_DENSE_F16 };
    make_logits(1, 0, CLASSES, logits);
    reference_softmax(logits, CLASSES, p);
    for (int c = 0; c < CLASSES; c++)
        probabilities[c] = (float)p[c];
    CHECK(code_row(&header, logits, true, a) && code_row(&header, probabilities, false, b), "not coded");
    for (int c = 0; c < CLASSES; c++) /* a float of p may round its logarithm to the next half */
        CHECK(fabs(a[c] / b[c] - 1) < 2 * 0x1p-11 * (1 - log(p[c])), "class %d: %g and %g", c, a[c], b[c]);
}

TEST(of_equal_classes_the_lower_numbers_are_kept)
{
    float logits[8] = { 0, 1, 1, 1, 1, 0, 2, 0 }, row[8];
    struct ssld_store_header header = { .classes = 8, .codec = SSLD_CODEC_TOPK, .top_k = 3 };
    CHECK(code_row(&header, logits, true, row), "not coded");
    CHECK(row[6] > row[1] && row[1] == row[2] && row[3] == row[4] && row[3] == row[0] && row[1] > row[3],
          "%g %g %g %g %g", row[0], row[1], row[2], row[3], row[6]);
}

TEST(top_of_all_classes_is_dense)
{
    float logits[10], top[10], dense[10];
    struct ssld_store_header header = { .classes = 10, .codec = SSLD_CODEC_TOPK, .top_k = 10 };
    make_logits(3, 0, 10, logits);
    CHECK(code_row(&header, logits, true, top), "not coded");
    header.codec = SSLD_CODEC_DENSE_F16;
    CHECK(code_row(&header, logits, true, dense), "not coded");
    for (int c = 0; c < 10; c++) /* the same halves, normalised in another order of roundings */
        CHECK(fabs(top[c] / dense[c] - 1) < 0x1p-21, "class %d: %.9g and %.9g", c, top[c], dense[c]);
}

TEST(columns_that_no_writer_writes_are_refused)
{
    struct ssld_store_header header = { .classes = 10, .codec = SSLD_CODEC_TOPK, .top_k = 2 };
    const struct ssld_codec *codec = ssld_codec_find(SSLD_CODEC_TOPK);
    uint8_t payload[64], *places[SSLD_MOST_COLUMNS];
    struct ssld_columns columns;
    float row[10];
    uint32_t bytes = (uint32_t)ssld_payload_bytes(codec, &header, 1);
    ssld_payload_begin(codec, &header, 1, payload, places);
    memset(places[0], 0, 2);
    memset(places[1], 0, 4);
    memset(places[2], 0, 2);
    CHECK(ssld_payload_read(codec, &header, payload, bytes, 1, &columns) && codec->unpack(&header, &columns, 0, row),
          "zeros");
    places[0][1] = 9; /* classes 0 and 10 */
    CHECK(!codec->unpack(&header, &columns, 0, row), "a class outside");
    places[0][1] = 0;
    for (uint32_t half = 0; half < 65536; half++) {
        ssld_put_u16(places[2], half);
        double value = ssld_half_to((uint16_t)half);
        bool right = value <= 0 && value >= SSLD_LOG_FLOOR;
        CHECK(codec->unpack(&header, &columns, 0, row) == right, "half %04x", half);
    }
    for (uint32_t cut = 0; cut < bytes; cut++)
        CHECK(!ssld_payload_read(codec, &header, payload, cut, 1, &columns), "cut to %u bytes", cut);
    CHECK(!ssld_payload_read(codec, &header, payload, bytes, 2, &columns), "two records");
    ssld_put_u32(payload + bytes, 0x80000063); /* a column of a later version that may be skipped */
    ssld_put_u32(payload + bytes + 4, 3);
    CHECK(ssld_payload_read(codec, &header, payload, bytes + 11, 1, &columns), "a column to be skipped");
    ssld_put_u32(payload + bytes, 0x63);
    CHECK(!ssld_payload_read(codec, &header, payload, bytes + 11, 1, &columns), "a column not to be skipped");
}

TEST_MAIN(TEST_ROW(every_half_survives_the_way_through_double), TEST_ROW(halves_round_to_nearest_and_ties_to_even),
          TEST_ROW(dense_labels_stay_within_their_bounds), TEST_ROW(topk_labels_stay_within_their_bounds),
          TEST_ROW(dense_labels_give_the_gradients_of_both_losses), TEST_ROW(topk_labels_give_the_gradient_of_soft_ce),
          TEST_ROW(certain_labels_keep_every_class_positive), TEST_ROW(probabilities_and_their_logits_give_the_same_label),
          TEST_ROW(of_equal_classes_the_lower_numbers_are_kept), TEST_ROW(top_of_all_classes_is_dense),
          TEST_ROW(columns_that_no_writer_writes_are_refused))
