/* SPDX-License-Identifier: BSD-2-Clause */
/* label.c - checking a row of logits or probabilities, and making it log-probabilities. */
#include "store/label.h"

#include <float.h>

#include "store/model.h"
#include "store/vector.h"

#define LARGEST_LANES 64

MULTIVERSION static int row_is_finite(const float *values, int32_t classes)
{
    int bad = 0;
    for (int32_t c = 0; c < classes; c++)
        bad |= !(fabsf(values[c]) <= FLT_MAX);
    return !bad;
}

const char *ssld_label_check(const float *values, int32_t classes, bool logits)
{
    if (!row_is_finite(values, classes))
        return "is not finite";
    if (logits)
        return NULL;
    double sum = 0;
    for (int32_t c = 0; c < classes; c++) {
        if (values[c] < 0)
            return "has a negative probability";
        sum += (double)values[c];
    }
    /* float probabilities of 2^24 classes, summed by whoever made them, are well within a thousandth of 1 */
    return fabs(sum - 1) > 1e-3 ? "has probabilities that do not sum to 1" : NULL;
}

MULTIVERSION static float largest_of(const float *values, int32_t classes)
{
    float lanes[LARGEST_LANES], largest;
    int32_t c = 0;
    for (int i = 0; i < LARGEST_LANES; i++)
        lanes[i] = values[0];
    for (; c + LARGEST_LANES <= classes; c += LARGEST_LANES)
        for (int i = 0; i < LARGEST_LANES; i++)
            lanes[i] = values[c + i] > lanes[i] ? values[c + i] : lanes[i];
    largest = lanes[0];
    for (int i = 1; i < LARGEST_LANES; i++)
        largest = lanes[i] > largest ? lanes[i] : largest;
    for (; c < classes; c++)
        largest = values[c] > largest ? values[c] : largest;
    return largest;
}

/* log_p = values - largest, and the sum of the exponentials. */
MULTIVERSION static double sum_of_exponentials(const float *values, int32_t classes, float largest, float *log_p)
{
    float lanes[SSLD_LANES] = { 0 };
    int32_t c = 0;
    double sum = 0;
    for (; c + SSLD_LANES <= classes; c += SSLD_LANES)
        for (int i = 0; i < SSLD_LANES; i++) {
            float difference = values[c + i] - largest;
            log_p[c + i] = difference;
            lanes[i] += ssld_exp(difference);
        }
    for (; c < classes; c++) {
        log_p[c] = values[c] - largest;
        sum += (double)ssld_exp(log_p[c]);
    }
    for (int i = 0; i < SSLD_LANES; i++)
        sum += (double)lanes[i];
    return sum;
}

/* to = from + shift, cut to [floor, 0]; sums of it and of its square. `to` may be `from`, or NULL. */
MULTIVERSION static void shift_and_sum(const float *from, int32_t classes, float shift, float *to, double *total,
                                       double *squares)
{
    float lanes[SSLD_LANES] = { 0 }, square_lanes[SSLD_LANES] = { 0 };
    int32_t c = 0;
    double sum = 0, square_sum = 0;
    for (; c + SSLD_LANES <= classes; c += SSLD_LANES)
        for (int i = 0; i < SSLD_LANES; i++) {
            float l = from[c + i] + shift;
            l = l < SSLD_LOG_FLOOR ? SSLD_LOG_FLOOR : l > 0 ? 0 : l;
            if (to)
                to[c + i] = l;
            lanes[i] += l;
            square_lanes[i] += l * l;
        }
    for (; c < classes; c++) {
        float l = from[c] + shift;
        l = l < SSLD_LOG_FLOOR ? SSLD_LOG_FLOOR : l > 0 ? 0 : l;
        if (to)
            to[c] = l;
        sum += (double)l;
        square_sum += (double)(l * l);
    }
    for (int i = 0; i < SSLD_LANES; i++) {
        sum += (double)lanes[i];
        square_sum += (double)square_lanes[i];
    }
    *total = sum;
    *squares = square_sum;
}

static double log_probabilities(const float *values, int32_t classes, float *log_p)
{
    double sum = 0;
    for (int32_t c = 0; c < classes; c++) {
        sum += (double)values[c];
        log_p[c] = values[c] > 0 ? logf(values[c]) : 4 * SSLD_LOG_FLOOR;
    }
    return sum;
}

static struct ssld_label label_of(const float *log_p, int32_t classes, int32_t class, double total, double squares)
{
    double mean = total / classes, variance = squares / classes - mean * mean;
    return (struct ssld_label){ log_p, (float)mean, (float)sqrt(variance > 0 ? variance : 0), class };
}

struct ssld_label ssld_label_read(const float *values, int32_t classes, bool logits, int32_t class, float *log_p)
{
    double sum = logits ? sum_of_exponentials(values, classes, largest_of(values, classes), log_p)
                        : log_probabilities(values, classes, log_p);
    double total, squares;
    shift_and_sum(log_p, classes, (float)-log(sum), log_p, &total, &squares);
    return label_of(log_p, classes, class, total, squares);
}

struct ssld_label ssld_label_of(const float *log_p, int32_t classes, int32_t class)
{
    double total, squares;
    shift_and_sum(log_p, classes, 0, NULL, &total, &squares);
    return label_of(log_p, classes, class, total, squares);
}
