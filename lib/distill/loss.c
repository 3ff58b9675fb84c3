/* SPDX-License-Identifier: BSD-2-Clause */
/* loss.c - the losses: a table of rows with value and gradient together, the text they are written in, and the loop over
 * a batch. Everything is computed in double from log-softmax, so logits of any finite size are fine. */
#include "distill/loss.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_PARAMETERS 4
#define SYM_KL_EPSILON 1e-12

/* -- The losses of one view --------------------------------------------------------------------------------------- */

/* What a loss may look at: the student's distribution p with its logarithm, the teacher's q, the class. */
struct view {
    int32_t       classes;
    const double *log_p, *p;
    const double *q;     /* NULL unless the loss needs soft labels */
    int32_t       label; /* counts only if the loss needs hard labels */
    double       *work;  /* `classes` doubles for the loss's own use */
};

/* Returns the value and adds weight * d(value) / d(logits) to diff. */
typedef double loss_function(const struct view *view, const double *parameters, double weight, double *diff);

/*   L = sum_c (q - p) ln((q + e) / (p + e)) / 2
 *   g_c = dL / dp_c = -(ln((q + e) / (p + e)) + (q - p) / (p + e)) / 2        dL / dz_k = p_k (g_k - sum_c p_c g_c)
 *
 * With e in both logarithms, as PaddleClas's dmlloss.py has it; its factor C and its mean over classes cancel. */
static double sym_kl(const struct view *view, const double *parameters, double weight, double *diff)
{
    const double *p = view->p, *q = view->q;
    double value = 0, mean = 0;
    (void)parameters;
    for (int32_t c = 0; c < view->classes; c++) {
        double guarded = p[c] + SYM_KL_EPSILON;
        double log_ratio = log((q[c] + SYM_KL_EPSILON) / guarded);
        double gradient = -0.5 * (log_ratio + (q[c] - p[c]) / guarded);
        value += 0.5 * (q[c] - p[c]) * log_ratio;
        mean += p[c] * gradient;
        view->work[c] = gradient;
    }
    for (int32_t c = 0; c < view->classes; c++)
        diff[c] += weight * p[c] * (view->work[c] - mean);
    return value;
}

/*   L = -sum_c q ln p        dL / dz_k = p_k sum_c q_c - q_k
 *
 * The sum of q is 1 but for rounding in the store; keeping it makes the gradient that of the value. */
static double soft_ce(const struct view *view, const double *parameters, double weight, double *diff)
{
    double value = 0, sum = 0;
    (void)parameters;
    for (int32_t c = 0; c < view->classes; c++) {
        value -= view->q[c] * view->log_p[c];
        sum += view->q[c];
    }
    for (int32_t c = 0; c < view->classes; c++)
        diff[c] += weight * (view->p[c] * sum - view->q[c]);
    return value;
}

/*   t_c = (1 - s) [c = label] + s / C        L = -sum_c t ln p        dL / dz_k = p_k - t_k */
static double hard_ce(const struct view *view, const double *parameters, double weight, double *diff)
{
    double smoothing = parameters[0], share = smoothing / view->classes, sum = 0;
    for (int32_t c = 0; c < view->classes; c++) {
        sum += view->log_p[c];
        diff[c] += weight * (view->p[c] - share);
    }
    diff[view->label] -= weight * (1 - smoothing);
    return -(1 - smoothing) * view->log_p[view->label] - share * sum;
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

struct ssld_loss_row {
    const char    *name;
    loss_function *compute;
    bool           needs_soft, needs_hard;
    int32_t        parameter_count;
    struct {
        const char *name;
        double      initial, least, most;
    } parameters[MOST_PARAMETERS];
};

static const struct ssld_loss_row table[] = {
    { "sym_kl", sym_kl, true, false, 0, { { NULL, 0, 0, 0 } } },
    { "soft_ce", soft_ce, true, false, 0, { { NULL, 0, 0, 0 } } },
    { "hard_ce", hard_ce, false, true, 1, { { "smoothing", 0, 0, 1 } } },
};

#define TABLE_ROWS ((int32_t)(sizeof table / sizeof table[0]))

/* -- The text ----------------------------------------------------------------------------------------------------- */

/*   loss   = term { "+" term }
 *   term   = [ number "*" ] name [ "(" name "=" number { "," name "=" number } ")" ]
 *   number = digits [ "." digits ] [ "e" [ sign ] digits ], not negative        blanks may stand between words */
struct parser {
    ssld_context *context;
    const char   *text, *next;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static void skip_blanks(struct parser *parser)
{
    parser->next += strspn(parser->next, " \t\r\n");
}

static bool take(struct parser *parser, char wanted)
{
    skip_blanks(parser);
    if (*parser->next != wanted)
        return false;
    parser->next++;
    return true;
}

/* The length of the word at `next`: what a text quotes when it is not understood. */
static int word_length(const struct parser *parser)
{
    size_t length = strcspn(parser->next, " \t\r\n+*(),=");
    if (!length && *parser->next)
        length = 1;
    return length < 64 ? (int)length : 64;
}

static ssld_status fail_expected(const struct parser *parser, const char *expected)
{
    if (!*parser->next)
        return ssld_fail(parser->context, SSLD_INVALID_ARGUMENT, "loss '%s': ends where %s was expected", parser->text,
                         expected);
    return ssld_fail(parser->context, SSLD_INVALID_ARGUMENT, "loss '%s': '%.*s' stands where %s was expected",
                     parser->text, word_length(parser), parser->next, expected);
}

/* Independent of the locale. Up to 18 digits count; with at most 15 and an ordinary exponent the result is the nearest
 * double, because both factors are exact. */
static ssld_status take_number(struct parser *parser, double *number)
{
    skip_blanks(parser);
    const char *next = parser->next;
    int64_t digits = 0;
    int exponent = 0, seen = 0, given = 0;
    bool fraction = false, negative = false;
    for (; is_digit(*next) || (*next == '.' && !fraction); next++) {
        if (*next == '.') {
            fraction = true;
            continue;
        }
        seen++;
        if (digits < 100000000000000000) {
            digits = 10 * digits + (*next - '0');
            exponent -= fraction;
        } else {
            exponent += !fraction;
        }
    }
    if (!seen)
        return fail_expected(parser, "a number");
    if (*next == 'e' || *next == 'E') {
        const char *digit = next + 1;
        negative = *digit == '-';
        digit += *digit == '-' || *digit == '+';
        if (!is_digit(*digit))
            return fail_expected(parser, "a number");
        for (; is_digit(*digit); digit++)
            given = given < 1000 ? 10 * given + (*digit - '0') : given;
        next = digit;
    }
    exponent += negative ? -given : given;
    double value = exponent < 0 ? (double)digits / pow(10, -exponent) : (double)digits * pow(10, exponent);
    if (is_name(*next) || *next == '.' || !isfinite(value))
        return fail_expected(parser, "a number");
    parser->next = next;
    *number = value;
    return SSLD_OK;
}

/* Every loss with its parameters and their defaults: "sym_kl, soft_ce, hard_ce(smoothing=0)". */
static void list_losses(char *list, size_t size)
{
    size_t used = 0;
    for (int32_t r = 0; r < TABLE_ROWS && used < size; r++) {
        used += (size_t)snprintf(list + used, size - used, "%s%s", r ? ", " : "", table[r].name);
        for (int32_t i = 0; i < table[r].parameter_count && used < size; i++)
            used += (size_t)snprintf(list + used, size - used, "%s%s=%g%s", i ? ", " : "(", table[r].parameters[i].name,
                                     table[r].parameters[i].initial, i + 1 == table[r].parameter_count ? ")" : "");
    }
}

static ssld_status take_row(struct parser *parser, const struct ssld_loss_row **row)
{
    char known[512];
    skip_blanks(parser);
    size_t length = 0;
    while (is_name(parser->next[length]))
        length++;
    if (!length)
        return fail_expected(parser, "the name of a loss");
    for (int32_t r = 0; r < TABLE_ROWS; r++)
        if (strlen(table[r].name) == length && !memcmp(table[r].name, parser->next, length)) {
            parser->next += length;
            *row = &table[r];
            return SSLD_OK;
        }
    list_losses(known, sizeof known);
    return ssld_fail(parser->context, SSLD_INVALID_ARGUMENT, "loss '%s': there is no loss '%.*s'; there are %s",
                     parser->text, word_length(parser), parser->next, known);
}

static ssld_status take_parameter(struct parser *parser, const struct ssld_loss_row *row, double *parameters)
{
    skip_blanks(parser);
    size_t length = 0;
    int32_t index = 0;
    while (is_name(parser->next[length]))
        length++;
    while (index < row->parameter_count && (strlen(row->parameters[index].name) != length ||
                                            memcmp(row->parameters[index].name, parser->next, length)))
        index++;
    if (index == row->parameter_count)
        return ssld_fail(parser->context, SSLD_INVALID_ARGUMENT, "loss '%s': %s has no parameter '%.*s'%s%s", parser->text,
                         row->name, word_length(parser), parser->next, row->parameter_count ? "; its first is " : "",
                         row->parameter_count ? row->parameters[0].name : "");
    parser->next += length;
    if (!take(parser, '='))
        return fail_expected(parser, "'='");
    ssld_status status = take_number(parser, &parameters[index]);
    if (status)
        return status;
    if (parameters[index] < row->parameters[index].least || parameters[index] > row->parameters[index].most)
        return ssld_fail(parser->context, SSLD_INVALID_ARGUMENT, "loss '%s': %s of %s is %g; it must be %g to %g",
                         parser->text, row->parameters[index].name, row->name, parameters[index],
                         row->parameters[index].least, row->parameters[index].most);
    return SSLD_OK;
}

static ssld_status take_term(struct parser *parser, struct ssld_loss *loss)
{
    const struct ssld_loss_row *row = NULL;
    double weight = 1, parameters[MOST_PARAMETERS] = { 0 };
    ssld_status status;
    if (loss->term_count == SSLD_MOST_LOSS_TERMS)
        return ssld_fail(parser->context, SSLD_INVALID_ARGUMENT, "loss '%s': more than %d terms", parser->text,
                         SSLD_MOST_LOSS_TERMS);
    skip_blanks(parser);
    if (is_digit(*parser->next) || *parser->next == '.') {
        if ((status = take_number(parser, &weight)))
            return status;
        if (!take(parser, '*'))
            return fail_expected(parser, "'*' and the name of a loss");
    }
    if ((status = take_row(parser, &row)))
        return status;
    for (int32_t i = 0; i < row->parameter_count; i++)
        parameters[i] = row->parameters[i].initial;
    if (take(parser, '(')) {
        do {
            if ((status = take_parameter(parser, row, parameters)))
                return status;
        } while (take(parser, ','));
        if (!take(parser, ')'))
            return fail_expected(parser, "')'");
    }
    loss->terms[loss->term_count].row = row;
    loss->terms[loss->term_count].weight = weight;
    memcpy(loss->terms[loss->term_count].parameters, parameters, sizeof parameters);
    loss->term_count++;
    loss->needs_soft |= row->needs_soft;
    loss->needs_hard |= row->needs_hard;
    return SSLD_OK;
}

ssld_status ssld_loss_parse(ssld_context *context, const char *text, struct ssld_loss *loss)
{
    struct parser parser = { context, text, text };
    struct ssld_loss parsed;
    memset(&parsed, 0, sizeof parsed);
    do {
        ssld_status status = take_term(&parser, &parsed);
        if (status)
            return status;
    } while (take(&parser, '+'));
    if (*parser.next)
        return fail_expected(&parser, "'+' or the end");
    *loss = parsed;
    return SSLD_OK;
}

/* -- A batch ------------------------------------------------------------------------------------------------------ */

/* Rows of `classes` doubles: log_p, p, q, work, diff. */
#define SCRATCH_ROWS 5

size_t ssld_loss_scratch(int32_t classes)
{
    return SCRATCH_ROWS * (size_t)classes * sizeof(double);
}

/*   log_p = z - max - ln sum exp(z - max)        p = exp(log_p) */
static void log_softmax(int32_t classes, const float *logits, double *log_p, double *p)
{
    double largest = logits[0], sum = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = logits[c] > largest ? logits[c] : largest;
    for (int32_t c = 0; c < classes; c++) {
        log_p[c] = logits[c] - largest;
        p[c] = exp(log_p[c]);
        sum += p[c];
    }
    double log_sum = log(sum);
    for (int32_t c = 0; c < classes; c++) {
        log_p[c] -= log_sum;
        p[c] /= sum;
    }
}

static ssld_status check_classes(ssld_context *context, int32_t count, int32_t classes, const int32_t *hard)
{
    for (int32_t n = 0; n < count; n++)
        if (hard[n] < 0 || hard[n] >= classes)
            return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                             "view %" PRId32 " of the batch has class %" PRId32 "; hard_ce needs one of 0 to %" PRId32
                             ": leave samples without a label out or use a loss on soft labels",
                             n, hard[n], classes - 1);
    return SSLD_OK;
}

static ssld_status check_soft(ssld_context *context, int32_t count, int32_t classes, const ssld_labels *soft)
{
    bool probabilities = soft->kind == SSLD_LABELS_PROBABILITIES;
    for (int32_t n = 0; n < count; n++)
        for (int32_t c = 0; c < classes; c++) {
            float value = soft->values[(size_t)n * (size_t)classes + (size_t)c];
            if (isfinite(value) && !(probabilities && value < 0))
                continue;
            return ssld_fail(context, isfinite(value) ? SSLD_INVALID_ARGUMENT : SSLD_NOT_FINITE,
                             "the teacher's %s of class %" PRId32 " for view %" PRId32 " of the batch is %g; check the labels",
                             probabilities ? "probability" : "logit", c, n, (double)value);
        }
    return SSLD_OK;
}

ssld_status ssld_loss_check_labels(ssld_context *context, const struct ssld_loss *loss, int32_t count, int32_t classes,
                                   const ssld_labels *soft, const int32_t *hard)
{
    ssld_status status = loss->needs_hard ? check_classes(context, count, classes, hard) : SSLD_OK;
    return status || !loss->needs_soft ? status : check_soft(context, count, classes, soft);
}

static ssld_status fail_not_finite(ssld_context *context, int32_t row, int32_t classes, const float *logits, double value)
{
    for (int32_t c = 0; c < classes; c++)
        if (!isfinite(logits[c]))
            return ssld_fail(context, SSLD_NOT_FINITE,
                             "the loss is %g: the student's logit of class %" PRId32 " for view %" PRId32
                             " of the batch is %g; lower the learning rate, lengthen the warmup or check the pixels",
                             value, c, row, (double)logits[c]);
    return ssld_fail(context, SSLD_NOT_FINITE,
                     "the loss of view %" PRId32 " of the batch is %g; check the labels and weights", row, value);
}

ssld_status ssld_loss_compute(ssld_context *context, const struct ssld_loss *loss, int32_t count, int32_t classes,
                              const float *logits, const ssld_labels *soft, const int32_t *hard, double scale,
                              void *scratch, float *diff_logits, double *value)
{
    size_t stride = (size_t)classes;
    double *log_p = scratch, *p = log_p + stride, *q = p + stride, *work = q + stride, *diff = work + stride, total = 0;
    struct view view = { classes, log_p, p, loss->needs_soft ? q : NULL, 0, work };
    for (int32_t n = 0; n < count; n++) {
        const float *row = logits + (size_t)n * stride;
        double row_value = 0;
        log_softmax(classes, row, log_p, p);
        if (loss->needs_soft && soft->kind == SSLD_LABELS_LOGITS)
            log_softmax(classes, soft->values + (size_t)n * stride, work, q);
        else if (loss->needs_soft)
            for (int32_t c = 0; c < classes; c++)
                q[c] = soft->values[(size_t)n * stride + (size_t)c];
        view.label = loss->needs_hard ? hard[n] : -1;
        /* A store that skips views it does not have gives zeros for them: no label, and nothing to learn from it. */
        bool labelled = false;
        for (int32_t c = 0; c < classes && loss->needs_soft && !labelled; c++)
            labelled = q[c] != 0;
        memset(diff, 0, stride * sizeof *diff);
        for (int32_t t = 0; t < loss->term_count; t++)
            if (labelled || !loss->terms[t].row->needs_soft)
                row_value += loss->terms[t].weight *
                             loss->terms[t].row->compute(&view, loss->terms[t].parameters, loss->terms[t].weight, diff);
        if (!isfinite(row_value))
            return fail_not_finite(context, n, classes, row, row_value);
        for (int32_t c = 0; c < classes; c++)
            diff_logits[(size_t)n * stride + (size_t)c] = (float)(diff[c] * scale / count);
        total += row_value;
    }
    *value = total / count;
    return SSLD_OK;
}
