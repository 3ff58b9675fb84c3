/* SPDX-License-Identifier: BSD-2-Clause */
/* Teachers beyond one network's logits: ensembles, the check before labelling, layers of a model, profiles of predictions. */
#include "test.h"

#include <math.h>
#include <stdbool.h>
#include <unistd.h>

#define SIDE 28
#define CLASSES 4
#define IMAGES 192
#define BATCH 32
#define EPOCHS 30
#define RIGHT "normalize(0.4/0.3/0.2, 0.25/0.2/0.2)"

struct fixture {
    ssld_context *context;
    ssld_dataset *dataset;
    ssld_batch   *batch;   /* of the first BATCH images as RIGHT renders them */
    ssld_loader  *loader;
    ssld_view_spec *spec;
};

static uint8_t images[IMAGES * SIDE * SIDE * 3];
static int32_t classes[IMAGES];

/* Bars that lie, stand, cross or fill where they cross, somewhere in the image, on some noise; the background is reddish. */
static void draw(void)
{
    for (uint32_t i = 0; i < IMAGES; i++) {
        uint32_t counter[4] = { i, 0, 0, 0 }, key[2] = { 5, 0 }, random[4];
        ssld_philox4x32(counter, key, random);
        int class = (int)(i % CLASSES), row = 6 + (int)(random[0] % 16), column = 6 + (int)(random[1] % 16);
        classes[i] = class;
        for (int p = 0; p < SIDE * SIDE; p++) {
            bool lies = abs(p / SIDE - row) < 3, stands = abs(p % SIDE - column) < 3;
            bool inside = class == 0 ? lies : class == 1 ? stands : class == 2 ? lies || stands : lies && stands;
            uint8_t *pixel = &images[(i * SIDE * SIDE + (uint32_t)p) * 3];
            for (int k = 0; k < 3; k++)
                pixel[k] = (uint8_t)((inside ? 190 : 80 - 25 * k) + (int)(random[2] >> (p + 7 * k) % 24 & 31));
        }
    }
}

static ssld_loader *open_loader(struct fixture *f, const char *views, ssld_view_spec **spec)
{
    ssld_loader *loader = NULL;
    ssld_loader_options options;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = BATCH;
    options.order = SSLD_ORDER_SHUFFLED;
    CHECK_OK(f->context, ssld_view_spec_parse(f->context, views, spec));
    CHECK_OK(f->context, ssld_loader_create(f->context, f->dataset, *spec, &options, &loader));
    return loader;
}

static void setup(struct fixture *f, const ssld_context_options *options)
{
    static const int32_t shape[3] = { 3, SIDE, SIDE };
    memset(f, 0, sizeof *f);
    draw();
    CHECK_OK(NULL, ssld_context_create(options, &f->context));
    CHECK_OK(f->context, ssld_dataset_from_pixels(f->context, IMAGES, shape, images, classes, &f->dataset));
    f->loader = open_loader(f, RIGHT, &f->spec);
    CHECK_OK(f->context, ssld_batch_create(f->context, &f->batch));
    CHECK_OK(f->context, ssld_loader_next(f->loader, f->batch));
}

static void teardown(struct fixture *f)
{
    ssld_batch_destroy(f->batch);
    ssld_loader_destroy(f->loader);
    ssld_view_spec_destroy(f->spec);
    ssld_dataset_destroy(f->dataset);
    ssld_context_destroy(f->context);
}

static ssld_model *fresh_model(struct fixture *f, uint64_t seed, int32_t count, int32_t height)
{
    ssld_model *model = NULL;
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = count;
    options.height = height;
    options.variant = SSLD_VARIANT_SMALL;
    options.seed = seed;
    CHECK_OK(f->context, ssld_model_create(f->context, "PPLCNet_x0_25", &options, &model));
    return model;
}

static ssld_teacher *teacher_of(struct fixture *f, const ssld_model *model)
{
    ssld_teacher *teacher = NULL;
    CHECK_OK(f->context, ssld_teacher_create(f->context, model, NULL, &teacher));
    return teacher;
}

static ssld_teacher *fresh_teacher(struct fixture *f, uint64_t seed)
{
    ssld_model *model = fresh_model(f, seed, CLASSES, SIDE);
    ssld_teacher *teacher = teacher_of(f, model);
    ssld_model_destroy(model);
    return teacher;
}

static char trained_path[] = "/tmp/ssld-teacher-XXXXXX";

static void remove_trained(void)
{
    unlink(trained_path);
}

static void train(struct fixture *f)
{
    ssld_model *model = fresh_model(f, 7, CLASSES, SIDE);
    ssld_student *student = NULL;
    ssld_student_options options;
    ssld_student_options_init(&options, sizeof options);
    options.batch = BATCH;
    options.loss = "hard_ce(smoothing=0.1)"; /* or it ends up certain of everything, which the check finds doubtful */
    options.learning_rate = 0.1f;
    options.schedule = SSLD_SCHEDULE_COSINE;
    options.total_steps = EPOCHS * IMAGES / BATCH;
    CHECK_OK(f->context, ssld_student_create(f->context, model, &options, &student));
    for (int epoch = 0; epoch < EPOCHS;) {
        ssld_status status = ssld_loader_next(f->loader, f->batch);
        epoch += status == SSLD_END;
        if (status != SSLD_END) {
            CHECK_OK(f->context, status);
            CHECK_OK(f->context, ssld_student_step(student, f->batch, NULL, NULL));
        }
    }
    CHECK_OK(f->context, ssld_student_export(student, trained_path));
    ssld_student_destroy(student);
    ssld_model_destroy(model);
    CHECK_OK(f->context, ssld_loader_next(f->loader, f->batch));
}

/* A network that has learned the images as RIGHT renders them: trained once, then read from a file. */
static ssld_teacher *trained_teacher(struct fixture *f)
{
    static bool trained;
    ssld_teacher *teacher = NULL;
    if (!trained) {
        close(mkstemp(trained_path));
        atexit(remove_trained);
        train(f);
        trained = true;
    }
    CHECK_OK(f->context, ssld_teacher_open(f->context, trained_path, NULL, &teacher));
    return teacher;
}

static void logits_of(struct fixture *f, ssld_teacher *teacher, float logits[BATCH * CLASSES])
{
    ssld_labels *labels = NULL;
    CHECK_OK(f->context, ssld_labels_create(f->context, BATCH, CLASSES, &labels));
    CHECK_OK(f->context, ssld_teacher_predict(teacher, f->batch, labels));
    CHECK(ssld_labels_kind(labels) == SSLD_LABELS_LOGITS, "the answer is no logits");
    memcpy(logits, ssld_labels_logits(labels), BATCH * CLASSES * sizeof(float));
    ssld_labels_destroy(labels);
}

/* -- Ensembles ---------------------------------------------------------------------------------------------------- */

static void probabilities_of(const float *logits, double *p)
{
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
        sum += p[c] = exp(logits[c]);
    for (int c = 0; c < CLASSES; c++)
        p[c] /= sum;
}

TEST(ensemble_answers_the_weighted_average)
{
    static const float weights[3] = { 3, 1, 0.5f };
    static float logits[3][BATCH * CLASSES], answer[BATCH * CLASSES];
    struct fixture f;
    setup(&f, NULL);
    ssld_teacher *members[3];
    for (int m = 0; m < 3; m++) {
        members[m] = fresh_teacher(&f, (uint64_t)m + 1);
        logits_of(&f, members[m], logits[m]);
    }
    for (int32_t average = SSLD_AVERAGE_LOGITS; average <= SSLD_AVERAGE_PROBABILITIES; average++) {
        ssld_teacher *ensemble = NULL;
        ssld_ensemble_options options;
        ssld_ensemble_options_init(&options, sizeof options);
        options.average = average;
        options.weights = weights;
        CHECK_OK(f.context, ssld_teacher_create_ensemble(f.context, 3, members, &options, &ensemble));
        logits_of(&f, ensemble, answer);
        for (int n = 0; n < BATCH; n++) {
            double expected[CLASSES] = { 0 }, p[CLASSES];
            for (int m = 0; m < 3; m++) {
                probabilities_of(&logits[m][n * CLASSES], p);
                for (int c = 0; c < CLASSES; c++)
                    expected[c] += weights[m] / 4.5 * (average == SSLD_AVERAGE_LOGITS ? (double)logits[m][n * CLASSES + c] : p[c]);
            }
            if (average == SSLD_AVERAGE_PROBABILITIES)
                probabilities_of(&answer[n * CLASSES], p);
            for (int c = 0; c < CLASSES; c++) {
                double own = average == SSLD_AVERAGE_LOGITS ? (double)answer[n * CLASSES + c] : p[c];
                /* The answer is rounded to single precision. */
                CHECK(fabs(own - expected[c]) <= 1e-6 * (1 + fabs(expected[c])), "average %d, view %d, class %d: %.9g, not %.9g",
                      average, n, c, own, expected[c]);
            }
        }
        ssld_teacher_destroy(ensemble);
    }
    for (int m = 0; m < 3; m++)
        ssld_teacher_destroy(members[m]);
    teardown(&f);
}

/* Probabilities that are 0 in single precision keep their logarithm. */
TEST(average_of_probabilities_is_finite_however_certain_members_are)
{
    static float answer[BATCH * CLASSES];
    struct fixture f;
    setup(&f, NULL);
    ssld_teacher *member = trained_teacher(&f), *ensemble = NULL, *members[2] = { member, member };
    ssld_view_spec *spec = NULL;
    ssld_loader *loud = open_loader(&f, "normalize(0, 0.00001)", &spec); /* pixels up to 100000 */
    CHECK_OK(f.context, ssld_loader_next(loud, f.batch));
    ssld_ensemble_options options;
    ssld_ensemble_options_init(&options, sizeof options);
    options.average = SSLD_AVERAGE_PROBABILITIES;
    CHECK_OK(f.context, ssld_teacher_create_ensemble(f.context, 2, members, &options, &ensemble));
    logits_of(&f, ensemble, answer);
    double least = 0;
    for (int i = 0; i < BATCH * CLASSES; i++) {
        CHECK(isfinite(answer[i]), "logit %d is %g", i, answer[i]);
        least = fmin(least, answer[i]);
    }
    CHECK(least < -120, "the least logit is %g: this tests nothing", least);
    ssld_batch_destroy(f.batch);
    f.batch = NULL;
    ssld_loader_destroy(loud);
    ssld_view_spec_destroy(spec);
    ssld_teacher_destroy(ensemble);
    ssld_teacher_destroy(member);
    teardown(&f);
}

static void fingerprint_of(struct fixture *f, ssld_teacher *const *members, int32_t count, int32_t average, const float *weights,
                           uint8_t fingerprint[16])
{
    ssld_teacher *ensemble = NULL;
    ssld_ensemble_options options;
    ssld_ensemble_options_init(&options, sizeof options);
    options.average = average;
    options.weights = weights;
    CHECK_OK(f->context, ssld_teacher_create_ensemble(f->context, count, members, &options, &ensemble));
    ssld_teacher_fingerprint(ensemble, fingerprint);
    ssld_teacher_destroy(ensemble);
}

TEST(fingerprint_of_an_ensemble_is_of_members_weights_and_average)
{
    static const float quarter[] = { 1, 3 }, same[] = { 0.25f, 0.75f }, other[] = { 1, 2 };
    struct fixture f;
    setup(&f, NULL);
    ssld_teacher *one = fresh_teacher(&f, 1), *two = fresh_teacher(&f, 2);
    ssld_teacher *const pair[] = { one, two }, *const turned[] = { two, one }, *const twice[] = { one, one };
    uint8_t prints[6][16], again[16];
    fingerprint_of(&f, pair, 2, SSLD_AVERAGE_LOGITS, quarter, prints[0]);
    fingerprint_of(&f, pair, 2, SSLD_AVERAGE_LOGITS, other, prints[1]);
    fingerprint_of(&f, pair, 2, SSLD_AVERAGE_PROBABILITIES, quarter, prints[2]);
    fingerprint_of(&f, turned, 2, SSLD_AVERAGE_LOGITS, quarter, prints[3]);
    fingerprint_of(&f, twice, 2, SSLD_AVERAGE_LOGITS, quarter, prints[4]);
    ssld_teacher_fingerprint(one, prints[5]);
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < i; k++)
            CHECK(memcmp(prints[i], prints[k], 16), "ensembles %d and %d have one fingerprint", i, k);
    fingerprint_of(&f, pair, 2, SSLD_AVERAGE_LOGITS, same, again);
    CHECK(!memcmp(again, prints[0], 16), "the same weights on another scale change the fingerprint");
    ssld_teacher_destroy(one);
    ssld_teacher_destroy(two);
    teardown(&f);
}

TEST(ensemble_is_a_teacher_like_any_other)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_teacher *good = trained_teacher(&f), *fresh = fresh_teacher(&f, 2), *pair = NULL, *nested = NULL;
    ssld_teacher *const both[] = { good, fresh };
    CHECK_OK(f.context, ssld_teacher_create_ensemble(f.context, 2, both, NULL, &pair));
    CHECK_OK(f.context, ssld_teacher_create_ensemble(f.context, 1, &pair, NULL, &nested));
    float answer[BATCH * CLASSES], again[BATCH * CLASSES];
    logits_of(&f, pair, answer);
    logits_of(&f, nested, again);
    CHECK(!memcmp(answer, again, sizeof answer), "an ensemble of one answers otherwise: %g, not %g", again[0], answer[0]);
    ssld_model_info one = { .struct_size = sizeof one }, sum = { .struct_size = sizeof sum };
    CHECK_OK(f.context, ssld_teacher_get_info(good, &one));
    CHECK_OK(f.context, ssld_teacher_get_info(pair, &sum));
    CHECK(sum.classes == CLASSES && sum.parameters == 2 * one.parameters && sum.macs == 2 * one.macs, "%lld parameters",
          (long long)sum.parameters);
    ssld_evaluation evaluation = { .struct_size = sizeof evaluation };
    CHECK_OK(f.context, ssld_loader_seek(f.loader, 0, 0));
    CHECK_OK(f.context, ssld_teacher_evaluate(pair, f.loader, &evaluation));
    CHECK(evaluation.samples == IMAGES && evaluation.top1 > 0.5, "top-1 is %g of %llu", evaluation.top1,
          (unsigned long long)evaluation.samples);
    ssld_teacher_destroy(nested);
    ssld_teacher_destroy(pair);
    ssld_teacher_destroy(fresh);
    ssld_teacher_destroy(good);
    teardown(&f);
}

TEST(members_that_do_not_fit_are_refused_by_number)
{
    static const float negative[] = { 1, -1 }, nothing[] = { 0, 1 }, infinite[] = { 1, INFINITY };
    struct fixture f;
    setup(&f, NULL);
    ssld_model *five = fresh_model(&f, 1, CLASSES + 1, SIDE), *large = fresh_model(&f, 1, CLASSES, 32);
    ssld_teacher *one = fresh_teacher(&f, 1), *more = teacher_of(&f, five), *larger = teacher_of(&f, large), *made = NULL;
    const struct {
        ssld_teacher *second;
        int32_t       count;
        ssld_ensemble_options options;
        ssld_status   status;
        const char   *text;
    } cases[] = {
        { more, 2, { .average = 0 }, SSLD_MISMATCH, "teacher 1 knows 4, teacher 2 5" },
        { larger, 2, { .average = 0 }, SSLD_MISMATCH, "teacher 2 3 x 32 x 32" },
        { one, 0, { .average = 0 }, SSLD_INVALID_ARGUMENT, "0 members" },
        { one, 2, { .average = 2 }, SSLD_INVALID_ARGUMENT, "average 2 is no SSLD_AVERAGE_x" },
        { one, 2, { .weights = negative }, SSLD_INVALID_ARGUMENT, "weights[1] is -1" },
        { one, 2, { .weights = nothing }, SSLD_INVALID_ARGUMENT, "weights[0] is 0" },
        { one, 2, { .weights = infinite }, SSLD_INVALID_ARGUMENT, "weights[1] is inf" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ssld_teacher *const members[] = { one, cases[i].second };
        ssld_ensemble_options options = cases[i].options;
        options.struct_size = sizeof options;
        CHECK_STATUS(f.context, ssld_teacher_create_ensemble(f.context, cases[i].count, members, &options, &made), cases[i].status);
        CHECK_TEXT(f.context, cases[i].text);
        CHECK(!made, "an ensemble was made");
    }
    const char *const paths[] = { "/tmp/there-is-no-such.onnx" };
    CHECK_STATUS(f.context, ssld_teacher_open_ensemble(f.context, 1, paths, NULL, NULL, &made), SSLD_NOT_FOUND);
    ssld_teacher_destroy(one);
    ssld_teacher_destroy(more);
    ssld_teacher_destroy(larger);
    ssld_model_destroy(five);
    ssld_model_destroy(large);
    teardown(&f);
}

/* -- The check ---------------------------------------------------------------------------------------------------- */

static ssld_teacher_verdict verdict_of(struct fixture *f, ssld_teacher *teacher, const char *views, char text[1536])
{
    ssld_teacher_verdict verdict = { .struct_size = sizeof verdict };
    ssld_view_spec *spec = NULL;
    ssld_loader *loader = open_loader(f, views, &spec);
    CHECK_OK(f->context, ssld_teacher_check(teacher, loader, 0, &verdict, text, 1536));
    ssld_loader_destroy(loader);
    ssld_view_spec_destroy(spec);
    return verdict;
}

TEST(good_teacher_passes_the_check_and_an_untrained_one_does_not)
{
    char text[1536];
    struct fixture f;
    setup(&f, NULL);
    ssld_teacher *good = trained_teacher(&f);
    ssld_teacher_verdict v = verdict_of(&f, good, RIGHT, text);
    CHECK(v.verdict == SSLD_VERDICT_GOOD && !v.findings && !*text, "verdict %d, findings %d: %s", v.verdict, v.findings, text);
    CHECK(v.views == 128 && v.labelled == 128, "%llu views", (unsigned long long)v.views);
    CHECK(v.top1 > 0.8 && v.chance > 0.1 && v.chance < 0.4, "top-1 %g, by chance %g", v.top1, v.chance);
    CHECK(v.entropy < 0.5 * v.entropy_most && v.information > 0.5 * v.entropy_most && fabs(v.entropy_most - log(CLASSES)) < 1e-12,
          "entropy %g, information %g", v.entropy, v.information);
    CHECK(fabs(v.pixel_mean) < 1 && v.pixel_deviation > 0.3 && v.pixel_deviation < 2, "mean %g, deviation %g", v.pixel_mean,
          v.pixel_deviation);
    ssld_teacher_destroy(good);
    for (uint64_t seed = 1; seed < 5; seed++) {
        ssld_teacher *fresh = fresh_teacher(&f, seed);
        v = verdict_of(&f, fresh, RIGHT, text);
        CHECK(v.verdict == SSLD_VERDICT_BAD && v.findings & SSLD_FINDING_UNIFORM, "verdict %d, findings %d", v.verdict, v.findings);
        CHECK(strstr(text, "never trained"), "the text is: %s", text);
        ssld_teacher_destroy(fresh);
    }
    teardown(&f);
}

TEST(good_teacher_with_other_pixels_than_it_was_trained_with_is_found)
{
    static const struct {
        const char *views;
        int32_t     finding, least; /* verdict */
    } cases[] = {
        { "normalize(0, 0.00392156862745098)", SSLD_FINDING_PIXELS, SSLD_VERDICT_DOUBTFUL },        /* 0 to 255 */
        { "center_crop(28)", SSLD_FINDING_PLAIN_PIXELS, SSLD_VERDICT_DOUBTFUL },                    /* 0 to 1 */
        { "normalize(0.4/0.3/0.2, 0.03/0.03/0.03)", SSLD_FINDING_PIXELS, SSLD_VERDICT_DOUBTFUL },   /* 8 times too large */
        /* So dark that no network answers as before; whether it guesses or always says the same depends on its weights. */
        { "normalize(1.8, 0.25)", SSLD_FINDING_TOP1 | SSLD_FINDING_CONSTANT, SSLD_VERDICT_BAD },
    };
    char text[1536];
    struct fixture f;
    setup(&f, NULL);
    ssld_teacher *good = trained_teacher(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ssld_teacher_verdict v = verdict_of(&f, good, cases[i].views, text);
        CHECK(v.verdict >= cases[i].least && v.findings & cases[i].finding, "%s: verdict %d, findings %d, top-1 %g: %s",
              cases[i].views, v.verdict, v.findings, v.top1, text);
        CHECK(*text, "%s: no text", cases[i].views);
    }
    ssld_teacher_destroy(good);
    teardown(&f);
}

/* Labels that count other things, and a batch of one class. */
TEST(labels_of_other_classes_or_of_one_class_are_no_evidence_against_a_teacher)
{
    char text[1536];
    int32_t other[BATCH], same[BATCH];
    static const int32_t shape[3] = { 3, SIDE, SIDE };
    struct fixture f;
    ssld_teacher_verdict v = { .struct_size = sizeof v };
    ssld_batch *batch = NULL;
    setup(&f, NULL);
    ssld_teacher *good = trained_teacher(&f);
    for (int i = 0; i < BATCH; i++) {
        other[i] = (i / 3) % 2; /* two classes that have nothing to do with the teacher's four */
        same[i] = 2;
    }
    CHECK_OK(f.context, ssld_batch_create(f.context, &batch));
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, ssld_batch_pixels(f.batch), NULL, NULL, other));
    CHECK_OK(f.context, ssld_teacher_check_batch(good, batch, &v, text, sizeof text));
    CHECK(v.verdict == SSLD_VERDICT_DOUBTFUL && v.findings == SSLD_FINDING_TOP1, "verdict %d, findings %d: %s", v.verdict, v.findings,
          text);
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, ssld_batch_pixels(f.batch), NULL, NULL, same));
    CHECK_OK(f.context, ssld_teacher_check_batch(good, batch, &v, NULL, 0));
    CHECK(v.verdict == SSLD_VERDICT_GOOD && v.labelled == BATCH, "verdict %d, findings %d", v.verdict, v.findings);
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, ssld_batch_pixels(f.batch), NULL, NULL, NULL));
    CHECK_OK(f.context, ssld_teacher_check_batch(good, batch, &v, NULL, 0));
    CHECK(v.verdict == SSLD_VERDICT_GOOD && v.labelled == 0 && v.top1 == -1, "verdict %d, findings %d", v.verdict, v.findings);
    ssld_batch_destroy(batch);
    ssld_teacher_destroy(good);
    teardown(&f);
}

/* The same answer to everything, and pixels and logits that are no numbers. */
TEST(constant_and_broken_answers_are_bad)
{
    static float pixels[BATCH * 3 * SIDE * SIDE];
    static const int32_t shape[3] = { 3, SIDE, SIDE };
    char text[1536], start[8];
    struct fixture f;
    ssld_teacher_verdict v = { .struct_size = sizeof v };
    ssld_batch *batch = NULL;
    setup(&f, NULL);
    ssld_teacher *good = trained_teacher(&f);
    for (size_t i = 0; i < sizeof pixels / sizeof pixels[0]; i++) /* one image, again and again */
        pixels[i] = ssld_batch_pixels(f.batch)[i % (3 * SIDE * SIDE)];
    CHECK_OK(f.context, ssld_batch_create(f.context, &batch));
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, pixels, NULL, NULL, NULL));
    CHECK_OK(f.context, ssld_teacher_check_batch(good, batch, &v, text, sizeof text));
    CHECK(v.verdict == SSLD_VERDICT_BAD && v.findings & SSLD_FINDING_CONSTANT, "verdict %d, findings %d: %s", v.verdict, v.findings,
          text);
    CHECK_OK(f.context, ssld_teacher_check_batch(good, batch, &v, start, sizeof start));
    CHECK(strlen(start) == 7 && !memcmp(start, text, 7), "cut to '%s'", start);
    pixels[77] = NAN;
    CHECK_OK(f.context, ssld_teacher_check_batch(good, batch, &v, text, sizeof text));
    CHECK(v.verdict == SSLD_VERDICT_BAD && v.findings == SSLD_FINDING_NOT_FINITE, "verdict %d, findings %d", v.verdict, v.findings);
    ssld_batch_destroy(batch);
    ssld_teacher_destroy(good);
    teardown(&f);
}

TEST(check_refuses_what_it_cannot_look_at)
{
    static const int32_t shape[3] = { 3, SIDE, SIDE }, small[3] = { 3, SIDE / 2, SIDE };
    struct fixture f;
    ssld_teacher_verdict v = { .struct_size = sizeof v, .views = 77 };
    ssld_batch *batch = NULL;
    setup(&f, NULL);
    ssld_teacher *teacher = fresh_teacher(&f, 1);
    int32_t past[BATCH] = { CLASSES };
    CHECK_OK(f.context, ssld_batch_create(f.context, &batch));
    CHECK_STATUS(f.context, ssld_teacher_check_batch(teacher, batch, &v, NULL, 0), SSLD_INVALID_ARGUMENT);
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, small, ssld_batch_pixels(f.batch), NULL, NULL, NULL));
    CHECK_STATUS(f.context, ssld_teacher_check_batch(teacher, batch, &v, NULL, 0), SSLD_MISMATCH);
    CHECK_TEXT(f.context, "the views are 3 x 14 x 28");
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, ssld_batch_pixels(f.batch), NULL, NULL, past));
    CHECK_STATUS(f.context, ssld_teacher_check_batch(teacher, batch, &v, NULL, 0), SSLD_MISMATCH);
    CHECK_TEXT(f.context, "a sample is of class 4, the network has 4 classes");
    CHECK_OK(f.context, ssld_batch_wrap(batch, BATCH, shape, ssld_batch_pixels(f.batch), NULL, NULL, NULL));
    CHECK(v.views == 77, "a failed check wrote its verdict");
    v.struct_size = 0;
    CHECK_STATUS(f.context, ssld_teacher_check_batch(teacher, batch, &v, NULL, 0), SSLD_INVALID_ARGUMENT);
    ssld_batch_destroy(batch);
    ssld_teacher_destroy(teacher);
    teardown(&f);
}

/* -- Layers and intermediate outputs ------------------------------------------------------------------------------ */

TEST(layers_add_up_to_the_model)
{
    struct fixture f;
    setup(&f, NULL);
    ssld_model *model = fresh_model(&f, 1, CLASSES, SIDE);
    ssld_model_info info = { .struct_size = sizeof info };
    ssld_layer layer = { .struct_size = sizeof layer };
    int64_t parameters = 0, buffers = 0, macs = 0;
    int32_t norms = 0;
    CHECK_OK(f.context, ssld_model_get_info(model, &info));
    for (int32_t i = 0; i < info.nodes; i++) {
        CHECK_OK(f.context, ssld_model_get_layer(model, i, &layer));
        CHECK(layer.name && layer.kind && layer.output && layer.ndims >= 1, "layer %d has no name", i);
        parameters += layer.parameters;
        buffers += layer.buffers;
        macs += layer.macs;
        norms += !strcmp(layer.kind, "BatchNormalization");
        if (i == 0)
            CHECK(!strcmp(layer.kind, "Conv") && layer.kernel[0] == 3 && layer.kernel[1] == 3 && layer.group == 1 &&
                      layer.ndims == 4 && layer.dims[1] == 8 && layer.dims[7] == 1, "the first layer is %s of %lld channels",
                  layer.kind, (long long)layer.dims[1]);
    }
    CHECK(layer.ndims == 2 && layer.dims[0] == 1 && layer.dims[1] == CLASSES, "the last layer gives %lld numbers",
          (long long)layer.dims[1]);
    CHECK(parameters == info.parameters && buffers == info.buffers && macs == info.macs && norms == info.batch_norms,
          "%lld parameters of %lld, %lld multiply-accumulates of %lld", (long long)parameters, (long long)info.parameters,
          (long long)macs, (long long)info.macs);
    CHECK_STATUS(f.context, ssld_model_get_layer(model, info.nodes, &layer), SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(f.context, ssld_model_get_layer(model, -1, &layer), SSLD_INVALID_ARGUMENT);
    layer.struct_size = 0;
    CHECK_STATUS(f.context, ssld_model_get_layer(model, 0, &layer), SSLD_INVALID_ARGUMENT);
    ssld_model_destroy(model);
    teardown(&f);
}

static ssld_output output_of(struct fixture *f, const ssld_teacher *teacher, int32_t index)
{
    ssld_output output = { .struct_size = sizeof output };
    CHECK_OK(f->context, ssld_teacher_output(teacher, index, &output));
    return output;
}

static double hard_swish(double x)
{
    return x * fmin(fmax(x / 6 + 0.5, 0), 1);
}

static ssld_teacher *teacher_with(struct fixture *f, const ssld_model *model, const char *const *names, int32_t count,
                                  int32_t batch_norm, int32_t precision)
{
    ssld_teacher *teacher = NULL;
    ssld_teacher_options options;
    ssld_teacher_options_init(&options, sizeof options);
    options.outputs = names;
    options.output_count = count;
    options.batch_norm = batch_norm;
    options.precision = precision;
    ssld_status status = ssld_teacher_create(f->context, model, &options, &teacher);
    if (status == SSLD_UNSUPPORTED && precision == SSLD_PRECISION_BF16)
        return NULL;
    CHECK_OK(f->context, status);
    return teacher;
}

/* What a convolution gives by itself, behind batch norm (which is fresh: a division by sqrt(1 + epsilon)) and behind the
 * activation: without being asked for, the three are one operator. 8 channels do not fill a block. */
TEST(outputs_that_fusion_would_swallow_are_given)
{
    static const char *const names[] = { "conv1.bn", "conv1.conv", "conv1.act", "conv1.bn" };
    static float plain[BATCH * CLASSES], logits[BATCH * CLASSES];
    struct fixture f;
    setup(&f, NULL);
    ssld_model *model = fresh_model(&f, 3, CLASSES, SIDE);
    ssld_teacher *teacher = teacher_of(&f, model);
    logits_of(&f, teacher, plain);
    ssld_teacher_destroy(teacher);
    for (int32_t precision = SSLD_PRECISION_F32; precision <= SSLD_PRECISION_BF16; precision++) {
        /* bfloat16 has 8 bits. */
        double close = precision == SSLD_PRECISION_BF16 ? 0.01 : 1e-5;
        if (!(teacher = teacher_with(&f, model, names, 4, SSLD_BATCH_NORM_EVAL, precision)))
            continue;
        logits_of(&f, teacher, logits);
        for (int i = 0; i < BATCH * CLASSES; i++)
            CHECK(fabs((double)logits[i] - plain[i]) <= 2 * close * (1 + fabs(plain[i])), "logit %d is %g, was %g", i, logits[i], plain[i]);
        ssld_output norm = output_of(&f, teacher, 0), conv = output_of(&f, teacher, 1), act = output_of(&f, teacher, 2);
        CHECK(!strcmp(conv.name, "conv1.conv") && conv.ndims == 4 && conv.dims[0] == BATCH && conv.dims[1] == 8,
              "%s: %d axes, %lld x %lld", conv.name, conv.ndims, (long long)conv.dims[0], (long long)conv.dims[1]);
        int64_t count = conv.dims[0] * conv.dims[1] * conv.dims[2] * conv.dims[3];
        double sum = 0;
        for (int64_t i = 0; i < count; i++) {
            sum += fabs(conv.data[i]);
            CHECK(fabs(norm.data[i] - conv.data[i] / sqrt(1 + 1e-5)) <= close * (1e-3 + fabs(conv.data[i])), "batch norm: %g of %g",
                  norm.data[i], conv.data[i]);
            CHECK(fabs(act.data[i] - hard_swish(norm.data[i])) <= close * (1e-3 + fabs(norm.data[i])), "activation: %g of %g",
                  act.data[i], norm.data[i]);
        }
        CHECK(sum > 0.1 * (double)count, "the convolution gives nothing: %g", sum);
        CHECK(!memcmp(norm.data, output_of(&f, teacher, 3).data, (size_t)count * sizeof(float)), "asked for twice, two answers");
        ssld_teacher_destroy(teacher);
    }
    ssld_model_destroy(model);
    teardown(&f);
}

/* A pooled feature, the usual one: the logits are its product with the last layer's weights. */
TEST(pooled_feature_makes_the_logits_in_all_modes_and_batch_sizes)
{
    static const char *const names[] = { "flatten", "fc" };
    static float weights[CLASSES * 1280], bias[CLASSES], logits[BATCH * CLASSES];
    struct fixture f;
    setup(&f, NULL);
    ssld_model *model = fresh_model(&f, 3, CLASSES, SIDE);
    ssld_student *student = NULL;
    CHECK_OK(f.context, ssld_student_create(f.context, model, NULL, &student));
    int32_t count = ssld_student_parameter_count(student), dims[4];
    CHECK(!strcmp(ssld_student_parameter_name(student, count - 1, dims), "fc.bias"), "the last parameter is another");
    CHECK_OK(f.context, ssld_student_parameter_read(student, count - 2, SSLD_PARAMETER_VALUE, weights));
    CHECK_OK(f.context, ssld_student_parameter_read(student, count - 1, SSLD_PARAMETER_VALUE, bias));
    ssld_student_destroy(student);
    ssld_batch *part = NULL;
    ssld_labels *labels = NULL;
    int32_t shape[3];
    ssld_batch_shape(f.batch, shape);
    CHECK_OK(f.context, ssld_batch_create(f.context, &part));
    CHECK_OK(f.context, ssld_labels_create(f.context, BATCH, CLASSES, &labels));
    for (int32_t mode = SSLD_BATCH_NORM_EVAL; mode <= SSLD_BATCH_NORM_BATCH; mode++) {
        ssld_teacher *teacher = teacher_with(&f, model, names, 2, mode, SSLD_PRECISION_F32);
        for (int32_t views = BATCH; views > 0; views -= 13) {
            CHECK_OK(f.context, ssld_batch_wrap(part, views, shape, ssld_batch_pixels(f.batch), NULL, NULL, NULL));
            CHECK_OK(f.context, ssld_teacher_predict(teacher, part, labels));
            memcpy(logits, ssld_labels_logits(labels), (size_t)views * CLASSES * sizeof(float));
            ssld_output feature = output_of(&f, teacher, 0), fc = output_of(&f, teacher, 1);
            CHECK(feature.ndims == 2 && feature.dims[0] == views && feature.dims[1] == 1280, "%lld x %lld",
                  (long long)feature.dims[0], (long long)feature.dims[1]);
            CHECK(!memcmp(fc.data, logits, (size_t)views * CLASSES * sizeof(float)), "the last layer's output is not the logits");
            for (int32_t n = 0; n < views; n++)
                for (int c = 0; c < CLASSES; c++) {
                    double sum = bias[c];
                    for (int i = 0; i < 1280; i++)
                        sum += (double)feature.data[n * 1280 + i] * weights[c * 1280 + i];
                    /* 1280 products in another order. */
                    CHECK(fabs(sum - logits[n * CLASSES + c]) < 1e-5 * (1 + fabs(sum)), "mode %d, view %d of %d: %g, not %g", mode, n,
                          views, logits[n * CLASSES + c], sum);
                }
        }
        ssld_teacher_destroy(teacher);
    }
    ssld_labels_destroy(labels);
    ssld_batch_destroy(part);
    ssld_model_destroy(model);
    teardown(&f);
}

TEST(outputs_that_are_not_there_are_refused_by_name)
{
    static const char *const wrong[] = { "conv1.act", "blocks3.0.dw_conv.cnv" }, *const none[] = { NULL }, *const pool[] = { "flatten" };
    struct fixture f;
    setup(&f, NULL);
    ssld_model *model = fresh_model(&f, 3, CLASSES, SIDE);
    const struct {
        const char *const *names;
        int32_t            count;
        ssld_status        status;
        const char        *text;
    } cases[] = {
        { wrong, 2, SSLD_NOT_FOUND, "no tensor is called 'blocks3.0.dw_conv.cnv'; 'blocks3.0.dw_conv.conv' is" },
        { none, 1, SSLD_INVALID_ARGUMENT, "a name in outputs is NULL" },
        { NULL, 1, SSLD_INVALID_ARGUMENT, "output_count 1 without outputs" },
        { pool, -1, SSLD_INVALID_ARGUMENT, "output_count -1" },
        { pool, 1000000, SSLD_INVALID_ARGUMENT, "it must be 0 to 1024" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ssld_teacher *made = NULL;
        ssld_teacher_options options;
        ssld_teacher_options_init(&options, sizeof options);
        options.outputs = cases[i].names;
        options.output_count = cases[i].count;
        CHECK_STATUS(f.context, ssld_teacher_create(f.context, model, &options, &made), cases[i].status);
        CHECK_TEXT(f.context, cases[i].text);
        CHECK(!made, "a teacher was made");
    }
    ssld_output output = { .struct_size = sizeof output };
    ssld_teacher *one = teacher_with(&f, model, pool, 1, SSLD_BATCH_NORM_EVAL, SSLD_PRECISION_F32);
    ssld_teacher *two = teacher_with(&f, model, wrong, 1, SSLD_BATCH_NORM_EVAL, SSLD_PRECISION_F32), *pair = NULL;
    CHECK_STATUS(f.context, ssld_teacher_output(one, 0, &output), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(f.context, "predict first");
    ssld_teacher *const members[] = { one, two };
    CHECK_OK(f.context, ssld_teacher_create_ensemble(f.context, 2, members, NULL, &pair));
    float logits[BATCH * CLASSES];
    logits_of(&f, pair, logits);
    CHECK(!strcmp(output_of(&f, pair, 0).name, "flatten") && !strcmp(output_of(&f, pair, 1).name, "conv1.act"),
          "the members' outputs are not in order");
    CHECK_STATUS(f.context, ssld_teacher_output(pair, 2, &output), SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(f.context, ssld_teacher_output(pair, -1, &output), SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(f.context, ssld_teacher_output(one, 1, &output), SSLD_INVALID_ARGUMENT);
    output.struct_size = 0;
    CHECK_STATUS(f.context, ssld_teacher_output(one, 0, &output), SSLD_INVALID_ARGUMENT);
    ssld_teacher_destroy(pair);
    ssld_teacher_destroy(two);
    ssld_teacher_destroy(one);
    ssld_model_destroy(model);
    teardown(&f);
}

/* -- Profiles ----------------------------------------------------------------------------------------------------- */

TEST(profile_of_predictions_has_forward_only_and_the_models_operations)
{
    struct fixture f;
    ssld_model_info info = { .struct_size = sizeof info };
    ssld_profile_entry entry = { .struct_size = sizeof entry };
    float logits[BATCH * CLASSES], again[BATCH * CLASSES];
    double gflop = 0, milliseconds = 0;
    setup(&f, NULL);
    ssld_teacher *teacher = fresh_teacher(&f, 1), *pair = NULL;
    ssld_teacher *const members[] = { teacher, teacher };
    CHECK_OK(f.context, ssld_teacher_get_info(teacher, &info));
    logits_of(&f, teacher, logits);
    ssld_teacher_profile_begin(teacher);
    CHECK(ssld_teacher_profile_count(teacher) == 0, "entries before a prediction");
    CHECK_STATUS(f.context, ssld_teacher_profile_entry(teacher, 0, &entry), SSLD_INVALID_ARGUMENT);
    for (int i = 0; i < 3; i++)
        logits_of(&f, teacher, again);
    CHECK(!memcmp(logits, again, sizeof logits), "profiling changes the logits");
    int32_t count = ssld_teacher_profile_count(teacher);
    for (int32_t i = 0; i < count; i++) {
        CHECK_OK(f.context, ssld_teacher_profile_entry(teacher, i, &entry));
        CHECK(entry.stage == SSLD_STAGE_FORWARD, "entry %d, %s, is of stage %d", i, entry.name, entry.stage);
        gflop += entry.gflop;
        milliseconds += entry.milliseconds;
    }
    CHECK(fabs(gflop - 2e-9 * (double)info.macs * BATCH) < 1e-9, "%g GFLOP", gflop);
    CHECK(milliseconds > 0, "no time was taken");
    CHECK_STATUS(f.context, ssld_teacher_profile_entry(teacher, count, &entry), SSLD_INVALID_ARGUMENT);
    ssld_teacher_profile_end(teacher);
    CHECK(ssld_teacher_profile_count(teacher) == 0, "entries after the end");
    CHECK_OK(f.context, ssld_teacher_create_ensemble(f.context, 2, members, NULL, &pair));
    ssld_teacher_profile_begin(pair);
    logits_of(&f, pair, again);
    CHECK(ssld_teacher_profile_count(pair) == 2 * count, "%d entries of two members", ssld_teacher_profile_count(pair));
    CHECK_OK(f.context, ssld_teacher_profile_entry(pair, 2 * count - 1, &entry));
    ssld_teacher_profile_end(pair);
    double one = 0, two = 0;
    CHECK_OK(f.context, ssld_teacher_measure_primitives(teacher, 1, &one));
    CHECK_OK(f.context, ssld_teacher_measure_primitives(pair, 1, &two));
    CHECK(one > 0 && two > one / 4, "%g ms of bare primitives, %g of two", one, two);
    CHECK_STATUS(f.context, ssld_teacher_measure_primitives(teacher, 0, &one), SSLD_INVALID_ARGUMENT);
    CHECK(ssld_teacher_precision(pair) == SSLD_PRECISION_F32, "precision %d", ssld_teacher_precision(pair));
    ssld_teacher_destroy(pair);
    ssld_teacher_destroy(teacher);
    teardown(&f);
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

/* The k-th allocation fails, for all k, until the work succeeds. */
TEST(every_allocation_of_a_teacher_an_ensemble_and_a_check_may_fail)
{
    static const char *const names[] = { "conv1.conv", "flatten" };
    int left = 1 << 30;
    char path[] = "/tmp/ssld-teacher-XXXXXX";
    ssld_context_options context;
    ssld_context_options_init(&context, sizeof context);
    context.allocator = test_allocator(&left);
    context.threads = 1;
    struct fixture f;
    setup(&f, &context);
    close(mkstemp(path));
    ssld_model *model = fresh_model(&f, 1, CLASSES, SIDE);
    CHECK_OK(f.context, ssld_model_save(model, path));
    ssld_teacher *teacher = teacher_of(&f, model);
    ssld_teacher_options options;
    ssld_teacher_options_init(&options, sizeof options);
    options.outputs = names;
    options.output_count = 2;
    options.batch = 1;
    for (int work = 0; work < 4; work++) {
        const char *const paths[] = { path };
        ssld_teacher *const members[] = { teacher, teacher };
        int refused = 0;
        for (ssld_status status = SSLD_OUT_OF_MEMORY; status; refused += status != SSLD_OK) {
            ssld_teacher *made = NULL;
            ssld_teacher_verdict v = { .struct_size = sizeof v };
            left = refused;
            status = work == 0   ? ssld_teacher_create(f.context, model, &options, &made)
                     : work == 1 ? ssld_teacher_create_ensemble(f.context, 2, members, NULL, &made)
                     : work == 2 ? ssld_teacher_check_batch(teacher, f.batch, &v, NULL, 0)
                                 : ssld_teacher_open_ensemble(f.context, 1, paths, &options, NULL, &made);
            left = 1 << 30;
            CHECK(!status || status == SSLD_OUT_OF_MEMORY, "work %d, allocation %d: %s", work, refused, ssld_status_name(status));
            CHECK(!status || !made, "work %d, allocation %d: something was made", work, refused);
            ssld_teacher_destroy(made);
            if (work == 3 && status)
                refused += 6; /* reading a file is tested elsewhere; here every seventh will do */
        }
        CHECK(refused > 2, "work %d allocates %d times", work, refused);
    }
    unlink(path);
    ssld_teacher_destroy(teacher);
    ssld_model_destroy(model);
    teardown(&f);
}

TEST_MAIN(TEST_ROW(ensemble_answers_the_weighted_average),
          TEST_ROW(average_of_probabilities_is_finite_however_certain_members_are),
          TEST_ROW(fingerprint_of_an_ensemble_is_of_members_weights_and_average),
          TEST_ROW(ensemble_is_a_teacher_like_any_other), TEST_ROW(members_that_do_not_fit_are_refused_by_number),
          TEST_ROW(good_teacher_passes_the_check_and_an_untrained_one_does_not),
          TEST_ROW(good_teacher_with_other_pixels_than_it_was_trained_with_is_found),
          TEST_ROW(labels_of_other_classes_or_of_one_class_are_no_evidence_against_a_teacher),
          TEST_ROW(constant_and_broken_answers_are_bad), TEST_ROW(check_refuses_what_it_cannot_look_at),
          TEST_ROW(layers_add_up_to_the_model), TEST_ROW(outputs_that_fusion_would_swallow_are_given),
          TEST_ROW(pooled_feature_makes_the_logits_in_all_modes_and_batch_sizes),
          TEST_ROW(outputs_that_are_not_there_are_refused_by_name),
          TEST_ROW(profile_of_predictions_has_forward_only_and_the_models_operations),
          TEST_ROW(every_allocation_of_a_teacher_an_ensemble_and_a_check_may_fail))
