/* SPDX-License-Identifier: BSD-2-Clause */
/* evaluate.c - how good a teacher's answers are: against hard labels, and where there are none, whether they can be right. */
#include "distill/teacher.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- Evaluating --------------------------------------------------------------------------------------------------- */

struct tally {
    uint64_t samples, top1, top5;
    double   loss;
};

/* How many classes a row puts before `label`; of equal logits the first class counts as larger. */
static int32_t rank_of(const float *logits, int32_t classes, int32_t label)
{
    int32_t rank = 0;
    for (int32_t c = 0; c < classes; c++)
        rank += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    return rank;
}

/* -ln softmax(logits)[label] */
static double cross_entropy(const float *logits, int32_t classes, int32_t label)
{
    double largest = logits[0], sum = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = fmax(largest, logits[c]);
    for (int32_t c = 0; c < classes; c++)
        sum += exp(logits[c] - largest);
    return log(sum) + largest - logits[label];
}

static ssld_status past_classes(const ssld_teacher *teacher, int32_t label)
{
    return ssld_fail(teacher->context, SSLD_MISMATCH, "a sample is of class %d, the network has %d classes", label,
                     teacher->info.classes);
}

static ssld_status count_batch(ssld_teacher *teacher, const ssld_batch *batch, const ssld_labels *labels, struct tally *tally)
{
    int32_t classes = teacher->info.classes;
    for (int32_t i = 0; batch->labels && i < batch->count; i++) {
        const float *logits = labels->values + (size_t)i * (size_t)classes;
        int32_t label = batch->labels[i];
        if (label < 0)
            continue;
        if (label >= classes)
            return past_classes(teacher, label);
        int32_t rank = rank_of(logits, classes, label);
        tally->samples++;
        tally->top1 += rank == 0;
        tally->top5 += rank < 5;
        tally->loss += cross_entropy(logits, classes, label);
    }
    return SSLD_OK;
}

ssld_status ssld_teacher_evaluate(ssld_teacher *teacher, ssld_loader *loader, ssld_evaluation *evaluation)
{
    ssld_batch *batch = NULL;
    ssld_labels *labels = NULL;
    struct tally tally = { 0 };
    ssld_status status = ssld_batch_create(teacher->context, &batch);
    if (!status)
        status = ssld_labels_create(teacher->context, teacher->batch, teacher->info.classes, &labels);
    while (!status && !(status = ssld_loader_next(loader, batch))) {
        status = ssld_teacher_predict(teacher, batch, labels);
        if (!status)
            status = count_batch(teacher, batch, labels, &tally);
    }
    if (status == SSLD_END && !tally.samples)
        status = ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "no sample has a label to compare with");
    if (status == SSLD_END) {
        ssld_evaluation own = { .samples = tally.samples, .top1 = (double)tally.top1 / (double)tally.samples,
                                .top5 = (double)tally.top5 / (double)tally.samples,
                                .loss = tally.loss / (double)tally.samples };
        status = ssld_info_give(teacher->context, __func__, evaluation, &own, sizeof own);
    }
    ssld_batch_destroy(batch);
    ssld_labels_destroy(labels);
    return status;
}

/* -- The check: sums over views ----------------------------------------------------------------------------------- */

#define DEFAULT_VIEWS 128
#define CONSTANT_VIEWS 8 /* fewer may well be alike */
#define TOP1_LABELS 32   /* with fewer, 3 deviations are no evidence */

/* Fresh networks answer nearly 1 / C to everything. Beyond this no more than 5 % of ln C can be knowledge, whatever is asked. */
#define UNIFORM 0.95
/* The other way of knowing nothing: always the same, however decided. Where there are two classes and one has but 1 % of the
 * images, a perfect teacher still reaches 0.08. */
#define CONSTANT 0.05
/* Of ten classes the answer gets p = 0.9998, on average. */
#define CERTAIN 0.001
#define DEVIATIONS 3 /* by chance one time in 700 */
/* Normalised pixels have a deviation of about 1: with ImageNet's numbers they are in -2.2 to 2.7, with MNIST's in -0.5 to 2.9.
 * White is beyond 8 only for a deviation below 1 / 8 of the range, which photographs do not have. */
#define PIXEL_MOST 8
#define PIXEL_DEVIATION_LEAST 0.1
#define PIXEL_DEVIATION_MOST 4

struct examination {
    uint64_t views, labelled, top1, not_finite;
    double   entropy;
    double   pixel_least, pixel_most, pixel_sum, pixel_squares;
    uint64_t pixels;
    int32_t  label_least, label_most;
    double  *mean;      /* of each class: sum of its probability */
    double  *row;       /* working memory for classes numbers */
    uint32_t *predicted; /* of each class: how often it had the largest logit among labelled views */
    uint32_t *labels;   /* of each class: how often it was the hard label */
};

static void examination_free(ssld_context *context, struct examination *e)
{
    ssld_free(context, e->mean);
    ssld_free(context, e->row);
    ssld_free(context, e->predicted);
    ssld_free(context, e->labels);
}

static ssld_status examination_make(ssld_context *context, int32_t classes, struct examination *e)
{
    *e = (struct examination){ .pixel_least = INFINITY, .pixel_most = -INFINITY, .label_least = INT32_MAX, .label_most = -1 };
    e->mean = ssld_alloc_zero(context, (size_t)classes, sizeof *e->mean);
    e->row = ssld_alloc_zero(context, (size_t)classes, sizeof *e->row);
    e->predicted = ssld_alloc_zero(context, (size_t)classes, sizeof *e->predicted);
    e->labels = ssld_alloc_zero(context, (size_t)classes, sizeof *e->labels);
    if (e->mean && e->row && e->predicted && e->labels)
        return SSLD_OK;
    examination_free(context, e);
    return ssld_fail_memory(context, "the check of a teacher", (size_t)classes * 3 * sizeof *e->mean);
}

static void examine_pixels(const ssld_batch *batch, struct examination *e)
{
    size_t count = (size_t)batch->count * (size_t)batch->shape[0] * (size_t)batch->shape[1] * (size_t)batch->shape[2];
    for (size_t i = 0; i < count; i++) {
        double pixel = batch->pixels[i];
        if (!isfinite(pixel)) {
            e->not_finite++;
            continue;
        }
        e->pixel_least = fmin(e->pixel_least, pixel);
        e->pixel_most = fmax(e->pixel_most, pixel);
        e->pixel_sum += pixel;
        e->pixel_squares += pixel * pixel;
        e->pixels++;
    }
}

static void examine_label(const float *logits, int32_t classes, int32_t label, struct examination *e)
{
    int32_t largest = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = logits[c] > logits[largest] ? c : largest;
    e->labelled++;
    e->top1 += largest == label;
    e->predicted[largest]++;
    e->labels[label]++;
    e->label_least = label < e->label_least ? label : e->label_least;
    e->label_most = label > e->label_most ? label : e->label_most;
}

/* p = softmax(z), added to the mean; H = -sum p ln p = ln sum exp(z) - sum p z. */
static void examine_logits(const float *logits, int32_t classes, struct examination *e)
{
    double largest = logits[0], sum = 0, weighted = 0;
    for (int32_t c = 0; c < classes; c++) {
        if (!isfinite(logits[c])) {
            e->not_finite++;
            return;
        }
        largest = fmax(largest, logits[c]);
    }
    for (int32_t c = 0; c < classes; c++) {
        e->row[c] = exp(logits[c] - largest);
        sum += e->row[c];
        weighted += e->row[c] * (logits[c] - largest);
    }
    for (int32_t c = 0; c < classes; c++)
        e->mean[c] += e->row[c] / sum;
    e->entropy += log(sum) - weighted / sum;
}

static ssld_status examine(ssld_teacher *teacher, const ssld_batch *batch, struct examination *e)
{
    int32_t classes = teacher->info.classes;
    const float *logits = NULL;
    ssld_status status = ssld_teacher_check_shape(teacher, batch);
    if (!status)
        status = ssld_teacher_answer(teacher, batch, &logits);
    if (status)
        return status;
    examine_pixels(batch, e);
    for (int32_t i = 0; i < batch->count; i++, logits += classes) {
        int32_t label = batch->labels ? batch->labels[i] : -1;
        if (label >= classes)
            return past_classes(teacher, label);
        examine_logits(logits, classes, e);
        if (label >= 0)
            examine_label(logits, classes, label, e);
        e->views++;
    }
    return SSLD_OK;
}

/* -- The verdict -------------------------------------------------------------------------------------------------- */

static double entropy_of_mean(const struct examination *e, int32_t classes)
{
    double entropy = 0;
    for (int32_t c = 0; c < classes; c++) {
        double p = e->mean[c] / (double)e->views;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    return entropy;
}

/* sum_c P(answer = c) P(label = c) */
static double chance_of(const struct examination *e, int32_t classes)
{
    double chance = 0, n = (double)e->labelled;
    for (int32_t c = 0; c < classes; c++)
        chance += e->predicted[c] / n * (e->labels[c] / n);
    return chance;
}

static ssld_teacher_verdict numbers_of(const struct examination *e, int32_t classes)
{
    double views = (double)e->views, pixels = (double)e->pixels;
    ssld_teacher_verdict v = { .struct_size = sizeof v, .views = e->views, .labelled = e->labelled, .top1 = -1, .chance = -1,
                               .entropy = e->entropy / views, .entropy_most = log(classes) };
    v.information = entropy_of_mean(e, classes) - v.entropy;
    if (e->labelled) {
        v.top1 = (double)e->top1 / (double)e->labelled;
        v.chance = chance_of(e, classes);
    }
    if (e->pixels) {
        v.pixel_least = e->pixel_least;
        v.pixel_most = e->pixel_most;
        v.pixel_mean = e->pixel_sum / pixels;
        v.pixel_deviation = sqrt(fmax(0, e->pixel_squares / pixels - v.pixel_mean * v.pixel_mean));
    }
    return v;
}

/* The text, as far as there is room; `length` is that of the whole. */
struct sentences {
    char  *text;
    size_t size, length;
};

static void say(struct sentences *s, const char *format, ...) SSLD_PRINTF(2, 3);

static void say(struct sentences *s, const char *format, ...)
{
    char *at = s->length < s->size ? s->text + s->length : NULL;
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(at, at ? s->size - s->length : 0, format, arguments);
    va_end(arguments);
    s->length += written > 0 ? (size_t)written : 0;
}

static void find(ssld_teacher_verdict *v, struct sentences *s, int32_t finding, int32_t verdict)
{
    v->findings |= finding;
    v->verdict = verdict > v->verdict ? verdict : v->verdict;
    say(s, "%s", s->length ? " " : "");
}

/* What the answers say by themselves. A network of one class can say nothing else. */
static void judge_answers(const struct examination *e, int32_t classes, ssld_teacher_verdict *v, struct sentences *s)
{
    double most = v->entropy_most, telling = log(fmin(classes, (double)e->views));
    bool one_label = e->labelled == e->views && e->label_least == e->label_most;
    if (classes < 2)
        return;
    if (v->entropy > UNIFORM * most) {
        find(v, s, SSLD_FINDING_UNIFORM, SSLD_VERDICT_BAD);
        say(s, "The teacher is guessing: the mean entropy of its answers is %.3f, %.1f %% of ln(%d); it was never trained, or its "
               "weights were not loaded when it was exported.", v->entropy, 100 * v->entropy / most, classes);
    } else if (v->information < CONSTANT * telling && e->views >= CONSTANT_VIEWS && !one_label) {
        find(v, s, SSLD_FINDING_CONSTANT, SSLD_VERDICT_BAD);
        say(s, "The teacher answers nearly the same to every view: knowing the view tells %.4f nats of the %.3f there could be; it was "
               "never trained, or the pixels are not what it was trained with.", v->information, telling);
    }
    if (v->entropy < CERTAIN * most) {
        find(v, s, SSLD_FINDING_CERTAIN, SSLD_VERDICT_DOUBTFUL);
        say(s, "The teacher is certain of everything: the mean entropy of its answers is %.2g; pixels of too large a scale do that, and "
               "such labels tell a student no more than a class for each view.", v->entropy);
    }
}

static void judge_top1(const struct examination *e, int32_t classes, ssld_teacher_verdict *v, struct sentences *s)
{
    bool own = e->label_most >= (int32_t)(0.9 * classes);
    double deviation = sqrt(v->chance * (1 - v->chance) / (double)e->labelled);
    if (e->labelled < TOP1_LABELS || e->label_least == e->label_most || v->top1 >= v->chance + DEVIATIONS * deviation)
        return;
    find(v, s, SSLD_FINDING_TOP1, own ? SSLD_VERDICT_BAD : SSLD_VERDICT_DOUBTFUL);
    say(s, "The teacher's top-1 is %.1f %% of %llu labelled views, and %.1f %% is what chance gives: it is not trained for these "
           "images, the pixels are not what it was trained with, or the labels count other classes than its %d.", 100 * v->top1,
        (unsigned long long)e->labelled, 100 * v->chance, classes);
}

static void judge_pixels(const ssld_teacher *teacher, ssld_teacher_verdict *v, struct sentences *s)
{
    double largest = fmax(fabs(v->pixel_least), fabs(v->pixel_most));
    if (largest > PIXEL_MOST || v->pixel_deviation < PIXEL_DEVIATION_LEAST || v->pixel_deviation > PIXEL_DEVIATION_MOST) {
        find(v, s, SSLD_FINDING_PIXELS, SSLD_VERDICT_DOUBTFUL);
        say(s, "Pixels are in %.4g to %.4g with a standard deviation of %.3g; normalised images have one of about 1: is normalize in "
               "the view spec what the teacher was trained with?", v->pixel_least, v->pixel_most, v->pixel_deviation);
    } else if (v->pixel_least >= 0 && v->pixel_most <= 1 && !teacher->normalises) {
        find(v, s, SSLD_FINDING_PLAIN_PIXELS, SSLD_VERDICT_DOUBTFUL);
        say(s, "Pixels are in 0 to 1, as they are without normalize in the view spec, and the teacher does not normalise them itself: "
               "most teachers are trained with normalize(imagenet).");
    }
}

static ssld_teacher_verdict judge(const ssld_teacher *teacher, const struct examination *e, struct sentences *s)
{
    int32_t classes = teacher->info.classes;
    ssld_teacher_verdict v = numbers_of(e, classes);
    if (e->not_finite) {
        find(&v, s, SSLD_FINDING_NOT_FINITE, SSLD_VERDICT_BAD);
        say(s, "%llu pixels or logits are not finite numbers; with --precision f32 or smaller pixels they may be.",
            (unsigned long long)e->not_finite);
        return v;
    }
    judge_answers(e, classes, &v, s);
    if (e->labelled)
        judge_top1(e, classes, &v, s);
    judge_pixels(teacher, &v, s);
    return v;
}

static ssld_status give_verdict(ssld_teacher *teacher, const struct examination *e, ssld_teacher_verdict *verdict, char *text,
                                size_t size)
{
    struct sentences sentences = { text, text ? size : 0, 0 };
    if (!e->views)
        return ssld_fail(teacher->context, SSLD_INVALID_ARGUMENT, "ssld_teacher_check: there are no views to show");
    if (text && size)
        *text = 0;
    ssld_teacher_verdict own = judge(teacher, e, &sentences);
    return ssld_info_give(teacher->context, "ssld_teacher_check", verdict, &own, sizeof own);
}

ssld_status ssld_teacher_check(ssld_teacher *teacher, ssld_loader *loader, uint64_t views, ssld_teacher_verdict *verdict,
                               char *text, size_t size)
{
    struct examination e;
    ssld_batch *batch = NULL;
    uint64_t wanted = views ? views : DEFAULT_VIEWS;
    ssld_status status = examination_make(teacher->context, teacher->info.classes, &e);
    if (status)
        return status;
    status = ssld_batch_create(teacher->context, &batch);
    while (!status && e.views < wanted && !(status = ssld_loader_next(loader, batch)))
        status = examine(teacher, batch, &e);
    if (status == SSLD_OK || status == SSLD_END)
        status = give_verdict(teacher, &e, verdict, text, size);
    ssld_batch_destroy(batch);
    examination_free(teacher->context, &e);
    return status;
}

ssld_status ssld_teacher_check_batch(ssld_teacher *teacher, const ssld_batch *batch, ssld_teacher_verdict *verdict, char *text,
                                     size_t size)
{
    struct examination e;
    ssld_status status = examination_make(teacher->context, teacher->info.classes, &e);
    if (status)
        return status;
    status = examine(teacher, batch, &e);
    if (!status)
        status = give_verdict(teacher, &e, verdict, text, size);
    examination_free(teacher->context, &e);
    return status;
}
