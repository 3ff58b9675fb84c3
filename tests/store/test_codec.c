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
        sum += (double)row[c];
    }
    CHECK(fabs(sum - 1) <= 0x1p-19, "sum %.9g", sum); /* the row was scaled by a sum of floats, 64 partial ones */
}

/* What KL(label || decoded) is at most if every logarithm is off by at most e_c: to second order half of sum p e^2, twice that to
 * be sure of the higher ones. */
static void check_dense(const struct plan *plan, double (*error_of)(double log_p))
{
    int32_t classes = plan->classes;
    float *logits = malloc((size_t)classes * 4), *row = malloc((size_t)classes * 4);
    double *p = malloc((size_t)classes * 8), worst = 0;
    for (uint64_t sample = 0; sample < 20; sample++) {
        make_logits(sample, 0, classes, logits);
        reference_softmax(logits, classes, p);
        CHECK(code_plan_row(plan, logits, true, row), "%d classes", classes);
        check_distribution(row, classes);
        double squares = 0, mean_error = 0;
        for (int32_t c = 0; c < classes; c++) {
            squares += p[c] * error_of(log(p[c])) * error_of(log(p[c]));
            mean_error += p[c] * error_of(log(p[c]));
        }
        for (int32_t c = 0; c < classes; c++) {
            /* its own rounding, the renormalisation (at most the mean rounding, to first order), float arithmetic */
            double error = fabs(log((double)row[c]) - log(p[c]));
            CHECK(error <= error_of(log(p[c])) + 1.1 * mean_error + 2e-6, "codec %d, %d classes, class %d: off by %g of ln p = %g",
                  plan->codec, classes, c, error, log(p[c]));
        }
        double kl = divergence(p, row, classes);
        CHECK(kl <= squares + 1e-9, "codec %d, %d classes: KL %g, bound %g", plan->codec, classes, kl, squares);
        worst = kl > worst ? kl : worst;
    }
    printf("# codec %d, %d classes: largest KL to the dense label %.2g\n", plan->codec, classes, worst);
    free(logits);
    free(row);
    free(p);
}

/* Floats of logarithms, made with an exponential that is right to 2^-21. */
static double f32_error(double log_p)
{
    return fabs(log_p) * 0x1p-22 + 1e-6;
}

/* Half of the larger step beside the level of l, of the scale that was fitted. */
static const struct ssld_scale *log8_scale;

static double log8_error(double log_p)
{
    const struct ssld_scale *scale = log8_scale;
    int32_t level = (int32_t)ssld_scale_level(scale, (float)log_p), last = scale->levels - 1;
    double below = level < last ? (double)(scale->log[level] - scale->log[level + 1]) : 0;
    double above = level > 0 ? (double)(scale->log[level - 1] - scale->log[level]) : 0;
    return (below > above ? below : above) / 2 + 2e-6;
}

static void check_log8(const struct plan *plan)
{
    const struct ssld_model *model = ssld_store_last_model(model_of(plan)->store);
    log8_scale = &model->scale;
    double factor = (double)log8_scale->first / 0.01;
    CHECK(factor >= 0.999 && factor <= 2.501 && fabs((double)log8_scale->growth - 1 - 0.018 * factor) < 1e-6 &&
          fabs((double)log8_scale->cap - 0.3 * factor) < 1e-6, "the scale is %g, %g, %g", (double)log8_scale->first,
          (double)log8_scale->growth, (double)log8_scale->cap);
    check_dense(plan, log8_error);
}

TEST(dense_labels_stay_within_their_bounds)
{
    for (size_t i = 0; i < CLASS_COUNTS; i++) {
        check_dense(&(struct plan){ .classes = class_counts[i], .codec = SSLD_CODEC_DENSE_F32 }, f32_error);
        check_dense(&(struct plan){ .classes = class_counts[i], .codec = SSLD_CODEC_DENSE_F16 }, half_error);
        check_log8(&(struct plan){ .classes = class_counts[i], .codec = SSLD_CODEC_DENSE_LOG8 });
    }
}

/* Half of the step of TOPK's scale. */
static double topk_error(double log_p)
{
    double step = 0.03 + 0.04 * fabs(log_p) + 0.01;
    return (step < 0.25 ? step : 0.25) / 2 + 2e-6;
}

TEST(topk_labels_stay_within_their_bounds)
{
    for (size_t i = 0; i < CLASS_COUNTS; i++) {
        int32_t classes = class_counts[i];
        struct plan plan = { .classes = classes, .codec = SSLD_CODEC_TOPK, .top_k = classes < 10 ? classes : 10 };
        float *logits = malloc((size_t)classes * 4), *row = malloc((size_t)classes * 4);
        double *p = malloc((size_t)classes * 8), kl = 0, uniform = 0;
        for (uint64_t sample = 0; sample < 20; sample++) {
            make_logits(sample, 0, classes, logits);
            reference_softmax(logits, classes, p);
            CHECK(code_plan_row(&plan, logits, true, row), "%d classes", classes);
            check_distribution(row, classes);
            double tail = 0, read_tail = 0, entropy = 0, mean_error = 0;
            int32_t explicit = 0;
            for (int32_t c = 0; c < classes; c++) {
                int32_t above = 0;
                for (int32_t other = 0; other < classes && above < plan.top_k; other++)
                    above += logits[other] > logits[c];
                if (above < plan.top_k) {
                    explicit++;
                    mean_error += p[c] * topk_error(log(p[c]));
                } else {
                    tail += p[c];
                    read_tail += (double)row[c];
                    entropy -= p[c] * log(p[c]);
                }
                p[c] = above < plan.top_k ? p[c] : -p[c]; /* marked */
            }
            mean_error += tail > 0 ? tail * topk_error(log(tail)) : 0;
            for (int32_t c = 0; c < classes; c++) {
                CHECK(p[c] < 0 || fabs(log((double)row[c]) - log(p[c])) <= topk_error(log(p[c])) + 1.1 * mean_error,
                      "%d classes, class %d: %g for %g", classes, c, (double)row[c], p[c]);
                p[c] = fabs(p[c]);
            }
            CHECK(explicit == plan.top_k, "%d explicit classes", explicit);
            if (tail > 0) {
                CHECK(fabs(log(read_tail / tail)) <= topk_error(log(tail)) + 1.1 * mean_error, "tail %g for %g", read_tail, tail);
                uniform += tail * log((classes - explicit) / tail) - entropy;
            }
            kl += divergence(p, row, classes);
        }
        printf("# top-%d of %d classes: mean KL to the dense label %.3g, that of a uniform tail %.3g\n", plan.top_k, classes,
               kl / 20, uniform / 20);
        /* These labels' tails have no shape that could be learned: what a learned one may cost beyond a uniform one is what the
         * scale costs. */
        CHECK(kl / 20 <= 1.25 * uniform / 20 + 0.004, "%d classes: KL %g, uniform %g", classes, kl / 20, uniform / 20);
        free(logits);
        free(row);
        free(p);
    }
}

/* Labels whose logits are a few numbers times fixed directions, as those of a network's last layer are. */
static void make_ranked_logits(uint64_t sample, int32_t classes, float *logits)
{
    uint64_t state = sample * 77 + 5;
    float factors[6];
    for (int j = 0; j < 6; j++)
        factors[j] = (float)(3 * (uniform_random(&state) + uniform_random(&state) - 1));
    for (int32_t c = 0; c < classes; c++) {
        uint64_t direction = (uint64_t)c * 12345 + 17;
        double sum = 0.3 * (uniform_random(&state) - 0.5);
        for (int j = 0; j < 6; j++)
            sum += (double)factors[j] * 3 * (uniform_random(&direction) - 0.5);
        logits[c] = (float)sum;
    }
}

/* A model fitted to 512 labels of the kind above. */
static struct ssld_model *fit_ranked(ssld_context *context, const struct ssld_codec *codec, struct ssld_encoder *encoder)
{
    enum { LABELS = 512 };
    size_t classes = (size_t)encoder->coding.classes, stride = (classes + 63) / 64 * 64;
    float *log_p = calloc(LABELS * stride, sizeof *log_p), *logits = malloc(classes * sizeof *logits);
    int32_t hard[LABELS];
    struct ssld_model *model = NULL;
    for (size_t i = 0; i < LABELS; i++) {
        make_ranked_logits(i, (int32_t)classes, logits);
        ssld_label_read(logits, (int32_t)classes, true, -1, log_p + i * stride);
        hard[i] = -1;
    }
    CHECK_OK(context, ssld_learn(context, codec, encoder, LABELS, log_p, hard, &model));
    free(log_p);
    free(logits);
    return model;
}

TEST(a_learned_tail_has_the_shape_of_labels_that_were_not_learned_from)
{
    enum { CLASSES = 300 };
    ssld_context *context = make_context();
    struct ssld_coding coding = { .classes = CLASSES, .top_k = 10, .shaped = true, .rank = 8 }, flat = coding;
    struct ssld_encoder encoder, flat_encoder;
    double kl = 0, flat_kl = 0, p[CLASSES];
    float logits[CLASSES], row[CLASSES];
    flat.shaped = false;
    flat.rank = -1;
    CHECK_OK(context, ssld_encoder_make(context, &coding, &encoder));
    CHECK_OK(context, ssld_encoder_make(context, &flat, &flat_encoder));
    struct ssld_model *model = fit_ranked(context, &ssld_codec_topk, &encoder);
    struct ssld_model *flat_model = fit_ranked(context, &ssld_codec_topk, &flat_encoder);
    for (uint64_t sample = 10000; sample < 10200; sample++) {
        make_ranked_logits(sample, CLASSES, logits);
        reference_softmax(logits, CLASSES, p);
        CHECK(code_row(&coding, &ssld_codec_topk, model, logits, true, -1, row), "not coded");
        kl += divergence(p, row, CLASSES) / 200;
        CHECK(code_row(&flat, &ssld_codec_topk, flat_model, logits, true, -1, row), "not coded");
        flat_kl += divergence(p, row, CLASSES) / 200;
    }
    printf("# KL to the dense label: tail learned %.4g, uniform %.4g\n", kl, flat_kl);
    CHECK(kl < flat_kl / 5, "learned %g, uniform %g", kl, flat_kl);
    ssld_model_free(context, model);
    ssld_model_free(context, flat_model);
    ssld_encoder_free(context, &encoder);
    ssld_encoder_free(context, &flat_encoder);
    ssld_context_destroy(context);
}

TEST(fitting_gives_the_same_model_each_time)
{
    ssld_context *context = make_context();
    struct ssld_coding coding = { .classes = 100, .top_k = 5, .shaped = true, .rank = 4 };
    struct ssld_encoder encoder;
    CHECK_OK(context, ssld_encoder_make(context, &coding, &encoder));
    struct ssld_model *a = fit_ranked(context, &ssld_codec_topk, &encoder);
    struct ssld_model *b = fit_ranked(context, &ssld_codec_topk, &encoder);
    CHECK(a->size == b->size && !memcmp(a->bytes, b->bytes, a->size) && a->id == b->id, "two models");
    ssld_model_free(context, a);
    ssld_model_free(context, b);
    ssld_encoder_free(context, &encoder);
    ssld_context_destroy(context);
}

TEST(adaptive_k_keeps_its_bound_with_fewer_classes_where_fewer_do)
{
    enum { CLASSES = 200 };
    ssld_context *context = make_context();
    struct ssld_coding coding = { .classes = CLASSES, .top_k = CLASSES, .kl_bound = 0.02, .shaped = true, .rank = 4 };
    struct ssld_encoder encoder;
    float logits[CLASSES], row[CLASSES];
    double p[CLASSES], worst = 0;
    uint64_t least = UINT64_MAX, most = 0;
    CHECK_OK(context, ssld_encoder_make(context, &coding, &encoder));
    struct ssld_model *model = fit_ranked(context, &ssld_codec_topk, &encoder);
    for (uint64_t sample = 10000; sample < 10100; sample++) {
        make_ranked_logits(sample, CLASSES, logits);
        reference_softmax(logits, CLASSES, p);
        struct ssld_sink sink = { .counts = calloc(64, sizeof *sink.counts) };
        struct ssld_label label = ssld_label_read(logits, CLASSES, true, -1, encoder.log_p);
        CHECK(code_row(&coding, &ssld_codec_topk, model, logits, true, -1, row), "not coded");
        double kl = divergence(p, row, CLASSES);
        worst = kl > worst ? kl : worst;
        encoder.model = model;
        CHECK_OK(context, ssld_model_analyse(context, model));
        ssld_codec_topk.encode(&encoder, &label, &sink);
        uint64_t tokens = 0;
        for (int code = 6; code < 14; code++) /* the gaps: one for each explicit class */
            for (int token = 0; token < SSLD_TOKENS; token++)
                tokens += sink.counts[code][token];
        least = tokens < least ? tokens : least;
        most = tokens > most ? tokens : most;
        free(sink.counts);
    }
    CHECK(worst <= 0.0202, "KL %g", worst); /* the encoder's sums are floats */
    CHECK(least < most && most <= CLASSES, "%llu to %llu classes", (unsigned long long)least, (unsigned long long)most);
    printf("# KL at most 0.02: %llu to %llu classes of %d\n", (unsigned long long)least, (unsigned long long)most, CLASSES);
    ssld_model_free(context, model);
    ssld_encoder_free(context, &encoder);
    ssld_context_destroy(context);
}

TEST(the_hard_labels_probability_is_kept_wherever_it_ranks)
{
    struct plan plan = { .classes = 100, .codec = SSLD_CODEC_TOPK, .top_k = 5 };
    float logits[100], row[100];
    double p[100];
    const struct test_model *made = model_of(&plan);
    for (int32_t class = 0; class < 100; class++) {
        make_logits(3, 0, 100, logits);
        reference_softmax(logits, 100, p);
        CHECK(code_row(&made->store->parts[0].coding, &ssld_codec_topk, ssld_store_last_model(made->store), logits, true, class,
                       row), "not coded");
        CHECK(fabs(log((double)row[class] / p[class])) <= 0.25, "class %d: %g for %g", class, (double)row[class], p[class]);
    }
}

/* -- Gradients ---------------------------------------------------------------------------------------------------- */

static void gradient_cosines(const struct plan *plan, double trained, double *soft_ce, double *sym_kl)
{
    enum { LABELS = 200 };
    int32_t classes = plan->classes;
    double ce[LABELS], kl[LABELS];
    float *logits = malloc((size_t)classes * 4), *noise = malloc((size_t)classes * 4), *row = malloc((size_t)classes * 4);
    double *memory = malloc((size_t)classes * 8 * 5), *q = memory, *s = q + classes, *stored = s + classes,
           *dense = stored + classes, *coded = dense + classes;
    for (int i = 0; i < LABELS; i++) {
        make_logits((uint64_t)i, 0, classes, logits);
        make_logits((uint64_t)i, 9999, classes, noise);
        reference_softmax(logits, classes, q);
        bool sound = code_plan_row(plan, logits, true, row);
        CHECK(sound, "label %d", i);
        for (int32_t c = 0; c < classes; c++) {
            noise[c] = (float)(trained * logits[c] + (1 - trained) * noise[c] / 2.5);
            stored[c] = (double)row[c];
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
            struct plan plan = { .classes = class_counts[i], .codec = SSLD_CODEC_DENSE_F16 };
            double soft_ce, sym_kl;
            gradient_cosines(&plan, trained, &soft_ce, &sym_kl);
            printf("# dense f16, %d classes, student %.0f %% trained: cosine soft_ce %.6f sym_kl %.6f\n",
                   plan.classes, 100 * trained, soft_ce, sym_kl);
            /* halves are off by at most 2^-11 of a logarithm: 1 - cosine is of the order of its square */
            CHECK(soft_ce > 0.9999 && sym_kl > 0.9999, "soft_ce %g sym_kl %g", soft_ce, sym_kl);
        }
}

/* sym_kl feels the shape of the tail, which top-K flattens: docs/format.md says so, and gives these figures. */
TEST(topk_labels_give_the_gradient_of_soft_ce)
{
    for (size_t i = 2; i < 4; i++)
        for (double trained = 0; trained < 1; trained += 0.4) {
            struct plan plan = { .classes = class_counts[i], .codec = SSLD_CODEC_TOPK, .top_k = 10 };
            double soft_ce, sym_kl;
            gradient_cosines(&plan, trained, &soft_ce, &sym_kl);
            printf("# top-10 of %d classes, student %.0f %% trained: cosine soft_ce %.6f sym_kl %.6f\n", plan.classes,
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
    for (int32_t codec = SSLD_CODEC_DENSE_F32; codec <= SSLD_CODEC_TOPK; codec++)
        for (int logits = 0; logits < 2; logits++) {
            struct plan plan = { .classes = CLASSES, .codec = codec, .top_k = codec == SSLD_CODEC_TOPK ? 10 : 0 };
            memset(values, 0, sizeof values);
            values[CLASSES - 1] = logits ? 3e38f : 1;
            values[0] = logits ? -3e38f : 0;
            CHECK(code_plan_row(&plan, values, logits, row), "codec %d", codec);
            check_distribution(row, CLASSES);
            CHECK(row[CLASSES - 1] == 1, "%.9g", (double)row[CLASSES - 1]);
        }
}

TEST(uniform_labels_stay_uniform)
{
    enum { CLASSES = 300 };
    static float values[CLASSES], row[CLASSES];
    for (int32_t codec = SSLD_CODEC_DENSE_F32; codec <= SSLD_CODEC_DENSE_LOG8; codec++) {
        struct plan plan = { .classes = CLASSES, .codec = codec };
        CHECK(code_plan_row(&plan, values, true, row), "codec %d", codec);
        check_distribution(row, CLASSES);
        for (int c = 0; c < CLASSES; c++)
            CHECK(row[c] == row[0], "codec %d class %d: %g and %g", codec, c, (double)row[c], (double)row[0]);
    }
}

TEST(probabilities_and_their_logits_give_the_same_label)
{
    enum { CLASSES = 100 };
    float logits[CLASSES], probabilities[CLASSES], a[CLASSES], b[CLASSES];
    double p[CLASSES];
    const struct plan plan = { .classes = CLASSES, .codec = SSLD_CODEC_DENSE_F16 };
    make_logits(1, 0, CLASSES, logits);
    reference_softmax(logits, CLASSES, p);
    for (int c = 0; c < CLASSES; c++)
        probabilities[c] = (float)p[c];
    CHECK(code_plan_row(&plan, logits, true, a) && code_plan_row(&plan, probabilities, false, b), "not coded");
    for (int c = 0; c < CLASSES; c++) /* a float of p may round its logarithm to the next half */
        CHECK(fabs((double)a[c] / (double)b[c] - 1) < 2 * 0x1p-11 * (1 - log(p[c])), "class %d: %g and %g", c, (double)a[c],
              (double)b[c]);
}

TEST(of_equal_classes_the_lower_numbers_are_kept)
{
    float logits[8] = { 0, 1, 1, 1, 1, 0, 2, 0 }, row[8];
    const struct plan plan = { .classes = 8, .codec = SSLD_CODEC_TOPK, .top_k = 3 };
    CHECK(code_plan_row(&plan, logits, true, row), "not coded");
    CHECK(row[6] > row[1] && row[1] == row[2] && row[1] > row[3] && row[1] > row[0], "%g %g %g %g %g", (double)row[0],
          (double)row[1], (double)row[2], (double)row[3], (double)row[6]);
}

/* -- Rows of several records --------------------------------------------------------------------------------------- */

/* A model with rows of any values that its format allows; of exponents up to `exponent`. */
static struct ssld_model *random_model(ssld_context *context, int32_t classes, int32_t rank, int exponent, uint64_t *state)
{
    static int8_t rows[(1 + SSLD_MOST_RANK) * 1000];
    int8_t exponents[1 + SSLD_MOST_RANK];
    uint8_t lengths[1][SSLD_TOKENS];
    uint32_t counts[SSLD_TOKENS] = { 0 };
    struct ssld_model *model = NULL;
    size_t size;
    for (int32_t i = 0; i < (1 + rank) * classes; i++)
        rows[i] = (int8_t)((int)(next_random(state) % 255) - 127);
    for (int32_t j = 0; j <= rank; j++)
        exponents[j] = (int8_t)(exponent - (int)(next_random(state) % 3));
    ssld_prefix_fit(counts, lengths[0]);
    struct ssld_model_parts parts = { .codec = SSLD_CODEC_TOPK, .classes = classes, .rank = rank, .code_count = 1,
                                      .first = 0.1f, .growth = 1, .cap = 1, .rows = rows, .exponents = exponents,
                                      .lengths = (const uint8_t(*)[SSLD_TOKENS])lengths };
    uint8_t *bytes = ssld_model_write(context, &parts, &size);
    CHECK_STATUS(context, ssld_model_read(context, bytes, size, &model), SSLD_OK);
    ssld_free(context, bytes);
    return model;
}

/* Numbers of -127 to 127, the outermost ones often. */
static void random_shape(int32_t rank, struct ssld_shape *shape, uint64_t *state)
{
    for (int32_t j = 0; j < rank; j++) {
        int number = (int)(next_random(state) % 511) - 255;
        shape->numbers[j] = (float)(number < -127 ? -127 : number > 127 ? 127 : number);
    }
}

/* Every kind of loops gives the bits of these rows and sums, and the same values before they are weights. */
static void check_loops(const struct ssld_model *model, const struct ssld_shape *shapes, float *const *rows, const float *sums)
{
    static float made[SSLD_SPREAD][1000 + 1], values[1024], first_values[1024];
    struct ssld_shape_loops loops[SSLD_SHAPE_LOOPS];
    size_t kinds = ssld_shape_loops_here(loops), count = (size_t)model->classes, stride = model->stride;
    CHECK(kinds >= 1 && kinds <= SSLD_SHAPE_LOOPS, "%zu", kinds);
    ssld_shape_values(model, shapes, first_values);
    for (size_t kind = 0; kind < kinds; kind++) {
        const struct ssld_shape *given[SSLD_SPREAD];
        float *into[SSLD_SPREAD], got[SSLD_SPREAD];
        loops[kind].values(model, shapes->numbers, 0, stride, values);
        CHECK(!memcmp(values, first_values, stride * sizeof *values), "%s: other values", loops[kind].name);
        for (int i = 0; i < SSLD_SPREAD; i++) {
            given[i] = &shapes[i];
            into[i] = made[i];
            made[i][count] = -1;
        }
        loops[kind].weights_together(model, given, into, got);
        for (int i = 0; i < SSLD_SPREAD; i++) {
            CHECK(!memcmp(made[i], rows[i], count * sizeof(float)) && got[i] == sums[i] && made[i][count] == -1,
                  "%s, %zu classes, record %d together: not the same bits", loops[kind].name, count, i);
            float sum = loops[kind].weights(model, &shapes[i], made[i]);
            CHECK(!memcmp(made[i], rows[i], count * sizeof(float)) && sum == sums[i] && made[i][count] == -1,
                  "%s, %zu classes, record %d alone: not the same bits", loops[kind].name, count, i);
        }
    }
}

TEST(weights_of_several_records_are_those_of_each_alone_bit_for_bit)
{
    static const int32_t ranks[] = { 0, 1, 3, 8, 40, 127, 128 }, classes[] = { 1, 31, 32, 33, 64, 100, 1000 };
    static const int exponents[] = { 0, -8, -12 }; /* sums may be rounded; are not with few rows; are not */
    static float alone[1000], together[SSLD_SPREAD][1000 + 1];
    ssld_context *context = make_context();
    uint64_t state = 17;
    int paired = 0;
    for (int round = 0; round < 7 * 7 * 3; round++) {
        int32_t rank = ranks[round % 7], count = classes[round / 7 % 7];
        struct ssld_model *model = random_model(context, count, rank, exponents[round / 49], &state);
        struct ssld_shape shapes[SSLD_SPREAD];
        const struct ssld_shape *given[SSLD_SPREAD];
        float *rows[SSLD_SPREAD], sums[SSLD_SPREAD];
        for (int i = 0; i < SSLD_SPREAD; i++) {
            random_shape(rank, &shapes[i], &state);
            given[i] = &shapes[i];
            rows[i] = together[i];
            together[i][count] = -1;
        }
        ssld_shape_weights_together(model, given, rows, sums);
        for (int i = 0; i < SSLD_SPREAD; i++) {
            float sum = ssld_shape_weights(model, &shapes[i], alone);
            CHECK(!memcmp(alone, rows[i], (size_t)count * sizeof(float)) && sum == sums[i],
                  "%d classes, %d numbers, record %d: not the same bits", count, rank, i);
            CHECK(together[i][count] == -1, "%d classes, %d numbers, record %d: written past the row", count, rank, i);
        }
        check_loops(model, shapes, rows, sums);
        paired += model->pairs != NULL;
        ssld_model_free(context, model);
    }
    printf("# %d of %d models multiplied in pairs\n", paired, 7 * 7 * 3);
    CHECK(!paired == !ssld_shape_multiplies_pairs(), "%d", paired);
    ssld_context_destroy(context);
}

/* -- Records and models that no writer writes ---------------------------------------------------------------------- */

/* Two records of these bits parsed at once are what each is alone, or not parsed and the sources left as they were. */
static bool two_are_alike(const struct test_model *made, const struct ssld_source first[2])
{
    const struct ssld_codec *codec = &ssld_codec_topk;
    const struct ssld_coding *coding = &made->store->parts[0].coding;
    const struct ssld_model *model = ssld_store_last_model(made->store);
    static float rows[2][2][100];
    uint8_t *parsed = calloc(4, codec->parsed_bytes);
    struct ssld_source alone[2] = { first[0], first[1] }, sources[2] = { first[0], first[1] };
    void *both[2] = { parsed, parsed + codec->parsed_bytes };
    bool together = codec->parse_two(coding, model, (struct ssld_source *const[2]){ &sources[0], &sources[1] }, both);
    for (int i = 0; i < 2; i++) {
        void *one = parsed + (size_t)(2 + i) * codec->parsed_bytes;
        bool sound = codec->parse(coding, model, &alone[i], one);
        CHECK(sources[i].at == (together ? alone[i].at : first[i].at), "record %d left elsewhere", i);
        if (together) {
            CHECK(sound, "record %d is one only beside another", i);
            codec->spread(model, 1, one, (float *const[1]){ rows[0][i] });
            codec->spread(model, 1, both[i], (float *const[1]){ rows[1][i] });
            CHECK(!memcmp(rows[0][i], rows[1][i], sizeof rows[0][i]), "record %d: other probabilities", i);
        }
    }
    free(parsed);
    return together;
}

TEST(records_of_random_bits_are_decoded_or_refused_within_their_bounds)
{
    uint64_t state = 1;
    long decoded = 0, refused = 0, two = 0;
    for (int32_t codec = SSLD_CODEC_DENSE_LOG8; codec <= SSLD_CODEC_TOPK; codec++) {
        struct plan plan = { .classes = 100, .codec = codec, .top_k = codec == SSLD_CODEC_TOPK ? 5 : 0 };
        const struct test_model *made = model_of(&plan);
        for (int round = 0; round < 20000; round++) {
            /* As large as it says and no larger, for the address sanitizer to watch. */
            size_t bytes = 1 + next_random(&state) % 200;
            uint8_t *bits = malloc(bytes + 8);
            float row[100];
            for (size_t i = 0; i < bytes + 8; i++)
                bits[i] = (uint8_t)next_random(&state);
            struct ssld_source source = { .bytes = bits, .at = next_random(&state) % (8 * bytes), .end = 8 * bytes,
                                          .last = bytes };
            bool sound = ssld_codec_find(codec)->decode(&made->store->parts[0].coding, ssld_store_last_model(made->store),
                                                        &source, row, NULL);
            CHECK(!sound || source.at <= 8 * bytes, "read past its end");
            decoded += sound;
            refused += !sound;
            if (codec == SSLD_CODEC_TOPK) {
                struct ssld_source other = source;
                other.at = next_random(&state) % (8 * bytes);
                source.at = next_random(&state) % (8 * bytes);
                two += two_are_alike(made, (const struct ssld_source[2]){ source, other });
            }
            free(bits);
        }
    }
    printf("# %ld decoded, %ld of them two at once, %ld refused\n", decoded, two, refused);
    CHECK(decoded && refused && two, "%ld decoded, %ld two at once, %ld refused", decoded, two, refused);
}

TEST(no_flipped_bit_of_a_model_breaks_its_reader)
{
    ssld_context *context = make_context();
    const struct plan plan = { .classes = 100, .codec = SSLD_CODEC_TOPK, .top_k = 5 };
    const struct ssld_model *model = ssld_store_last_model(model_of(&plan)->store);
    long read = 0, refused = 0;
    for (size_t bit = 0; bit < 8 * model->size; bit++) {
        uint8_t *bytes = malloc(model->size);
        struct ssld_model *other = NULL;
        memcpy(bytes, model->bytes, model->size);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ssld_status status = ssld_model_read(context, bytes, model->size, &other);
        CHECK(status == SSLD_OK || status == SSLD_FORMAT, "bit %zu: %s", bit, ssld_status_name(status));
        CHECK(!other == (status != SSLD_OK) && (!other || other->id != model->id), "bit %zu", bit);
        read += !status;
        refused += !!status;
        ssld_model_free(context, other);
        free(bytes);
    }
    for (size_t size = 0; size < model->size; size++) {
        struct ssld_model *other = NULL;
        uint8_t *bytes = malloc(size + 1);
        memcpy(bytes, model->bytes, size);
        CHECK_STATUS(context, ssld_model_read(context, bytes, size, &other), SSLD_FORMAT);
        free(bytes);
    }
    CHECK(read && refused, "%ld read, %ld refused", read, refused);
    ssld_context_destroy(context);
}

TEST(prefix_codes_of_any_counts_are_complete_and_read_back)
{
    uint64_t state = 9;
    for (int round = 0; round < 300; round++) {
        uint32_t counts[SSLD_TOKENS] = { 0 };
        uint8_t lengths[SSLD_TOKENS], stored[SSLD_PREFIX_BYTES], read[SSLD_TOKENS];
        struct ssld_prefix code;
        for (int i = 0; i < SSLD_TOKEN_NUMBERS; i++) /* from one token to all, from even to extreme */
            if (next_random(&state) % 100 < (uint64_t)round)
                counts[i] = (uint32_t)(next_random(&state) >> (32 + next_random(&state) % 32));
        ssld_prefix_fit(counts, lengths);
        ssld_prefix_write(lengths, stored);
        ssld_prefix_read(stored, read);
        CHECK(!memcmp(lengths, read, sizeof read) && ssld_prefix_make(read, &code), "round %d", round);
        for (uint32_t value = 0; value < SSLD_NUMBER_MOST; value = value < 100 ? value + 1 : value * 3) {
            uint8_t bytes[32] = { 0 };
            struct ssld_sink sink = { .codes = &code, .bytes = bytes, .bits = 3 };
            ssld_put_number(&sink, 0, value);
            struct ssld_source source = { .bytes = bytes, .at = 3, .end = sink.bits, .last = 16 };
            struct ssld_window window = ssld_window_open(&source);
            CHECK(ssld_get_number(&window, &code) == value && window.at == sink.bits, "round %d: %u", round, value);
        }
    }
}

TEST(the_folder_is_left_as_it_was)
{
    remove_folder();
    CHECK(access(test_folder, F_OK), "%s is not empty", test_folder);
}

TEST_MAIN(TEST_ROW(every_half_survives_the_way_through_double),
          TEST_ROW(halves_round_to_nearest_and_ties_to_even),
          TEST_ROW(dense_labels_stay_within_their_bounds),
          TEST_ROW(topk_labels_stay_within_their_bounds),
          TEST_ROW(a_learned_tail_has_the_shape_of_labels_that_were_not_learned_from),
          TEST_ROW(fitting_gives_the_same_model_each_time),
          TEST_ROW(adaptive_k_keeps_its_bound_with_fewer_classes_where_fewer_do),
          TEST_ROW(the_hard_labels_probability_is_kept_wherever_it_ranks),
          TEST_ROW(dense_labels_give_the_gradients_of_both_losses),
          TEST_ROW(topk_labels_give_the_gradient_of_soft_ce),
          TEST_ROW(certain_labels_keep_every_class_positive),
          TEST_ROW(uniform_labels_stay_uniform),
          TEST_ROW(probabilities_and_their_logits_give_the_same_label),
          TEST_ROW(of_equal_classes_the_lower_numbers_are_kept),
          TEST_ROW(weights_of_several_records_are_those_of_each_alone_bit_for_bit),
          TEST_ROW(records_of_random_bits_are_decoded_or_refused_within_their_bounds),
          TEST_ROW(no_flipped_bit_of_a_model_breaks_its_reader),
          TEST_ROW(prefix_codes_of_any_counts_are_complete_and_read_back),
          TEST_ROW(the_folder_is_left_as_it_was))
