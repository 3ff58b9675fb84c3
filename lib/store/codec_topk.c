/* SPDX-License-Identifier: BSD-2-Clause */
/* codec_topk.c - the most probable classes with their probabilities, and the tail: its whole probability and its shape.
 *
 *   record = count, classes as gaps, base, values, tail, mean, deviation, shape's numbers
 *
 *   p_k = exp(l_k) / S        p_c = t / S * w_c / sum over the tail of w_c        S = t + sum_k exp(l_k)
 *   w_c = max(v_c, e)^4
 *
 * The shape is that of fourth roots, v_c = (p_c / p_base)^(1/4), where p_base is the least explicit probability: between
 * logarithms, in which errors of classes that hardly count weigh as much as all others, and probabilities, in which those of
 * the least do not weigh at all. */
#include "ssld/store.h"
#include "store/codec.h"
#include "store/vector.h"

#define CODE_COUNT 0
#define CODE_BASE 1  /* level of the least probable class */
#define CODE_VALUE 2 /* levels above it */
#define CODE_TAIL 3
#define CODE_MEAN 4
#define CODE_DEVIATION 5
#define CODE_GAP 6 /* how far it is to a class, by where on the model's order of classes the one before stands */
#define GAP_CODES 8
#define CODE_SHAPE (CODE_GAP + GAP_CODES)

#define MEAN_STEPS 8       /* to a nat */
#define DEVIATION_STEPS 16

static uint64_t most_bits(const struct ssld_coding *coding)
{
    /* A number takes at most a code of 10 + 7 bits and 22 more. */
    return 39 * (2 * (uint64_t)coding->top_k + 9 + SSLD_MOST_RANK);
}

/* What a record holds, between label and bits. */
struct record {
    uint32_t          count;      /* explicit classes */
    const uint32_t   *classes;    /* ascending by place in the model's order */
    const uint32_t   *levels;
    uint32_t          base;       /* the largest of the levels */
    uint32_t          tail;       /* level; counts if count < classes */
    struct ssld_shape shape;
};

/* -- Choosing the classes ----------------------------------------------------------------------------------------- */

/* Class a before class b: more probable, or as probable and of a lower number. */
static bool outranks(const float *values, uint32_t a, uint32_t b)
{
    return values[a] != values[b] ? values[a] > values[b] : a < b;
}

static void sift_down(const float *values, uint32_t *heap, size_t size, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && outranks(values, heap[child], heap[child + 1]))
            child++;
        if (!outranks(values, heap[at], heap[child]))
            return;
        uint32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

#define LANES 32
#define FEW 32   /* K up to this are looked for among candidates */
#define PIECE 32 /* classes that are passed over together where none reaches a bound */

/* A bound that at least k <= LANES of the values reach: the k-th largest of what is largest in each of LANES lanes. */
MULTIVERSION static float bound_of_top(const float *values, uint32_t classes, int32_t k)
{
    float lanes[LANES], bound = 0;
    int32_t above[LANES] = { 0 };
    memcpy(lanes, values, sizeof lanes);
    for (size_t c = LANES; c + LANES <= classes; c += LANES)
        for (size_t i = 0; i < LANES; i++)
            lanes[i] = values[c + i] > lanes[i] ? values[c + i] : lanes[i];
    for (int j = 0; j < LANES; j++)
        for (int i = 0; i < LANES; i++)
            above[i] += lanes[j] > lanes[i];
    for (int i = 0; i < LANES; i++) {
        float reached = above[i] < k ? lanes[i] : 0; /* logarithms of probabilities are not above 0 */
        bound = reached < bound ? reached : bound;
    }
    return bound;
}

ALWAYS_INLINE bool any_reaches(const float *values, float bound)
{
    int32_t any = 0;
    for (int i = 0; i < PIECE; i++)
        any |= values[i] >= bound;
    return any;
}

/* The classes whose values reach the bound, ascending. Returns how many. */
MULTIVERSION static size_t gather_from(const float *values, uint32_t classes, float bound, uint32_t *gathered)
{
    size_t count = 0;
    for (uint32_t c = 0; c < classes; c += PIECE) {
        uint32_t end = classes - c < PIECE ? classes : c + PIECE;
        bool any = end < c + PIECE || any_reaches(values + c, bound);
        for (uint32_t i = c; any && i < end; i++) {
            gathered[count] = i;
            count += values[i] >= bound;
        }
    }
    return count;
}

/* The k classes of highest rank, into the first k of `heap`, which has room for all; if `ordered`, from the highest on. */
static void select_top(const float *values, uint32_t classes, uint32_t *heap, size_t k, bool ordered)
{
    size_t count = classes;
    if (k <= FEW && classes >= 2 * LANES)
        count = gather_from(values, classes, bound_of_top(values, classes, (int32_t)k), heap);
    else
        for (uint32_t c = 0; c < classes; c++)
            heap[c] = c;
    for (size_t at = k / 2; at-- > 0;)
        sift_down(values, heap, k, at);
    for (size_t i = k; i < count; i++)
        if (values[heap[i]] > values[heap[0]]) { /* of equal values the lower number is in already */
            heap[0] = heap[i];
            sift_down(values, heap, k, 0);
        }
    for (size_t last = k; ordered && last-- > 1;) { /* heap[0] is the lowest in rank of those left */
        uint32_t swap = heap[0];
        heap[0] = heap[last];
        heap[last] = swap;
        sift_down(values, heap, last, 0);
    }
}

/* The code of the next gap: place 0 has one, 1 and 2 ... , by half the bits of the place; `zeros` are those on the left of
 * 2 * place + 1. */
static unsigned gap_code(unsigned zeros)
{
    unsigned code = (32 - zeros) / 2;
    return CODE_GAP + (code < GAP_CODES ? code : GAP_CODES - 1);
}

/* Shell sort: K is small as a rule, and may be as large as the number of classes. */
static void sort_numbers(uint32_t *classes, size_t count)
{
    size_t gap = 1;
    while (gap < count / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (size_t i = gap; i < count; i++) {
            uint32_t class = classes[i];
            size_t to = i;
            for (; to >= gap && classes[to - gap] > class; to -= gap)
                classes[to] = classes[to - gap];
            classes[to] = class;
        }
}

/* -- The tail ----------------------------------------------------------------------------------------------------- */

/* ln of the probability of all classes that are not explicit. */
static float tail_log(const struct ssld_label *label, int32_t classes, const struct record *record, float *work)
{
    double sum = 0;
    for (uint32_t k = 0; k < record->count; k++)
        sum += exp((double)label->log_p[record->classes[k]]);
    /* The logarithms are floats: of a rest above this, 4 digits are right. A smaller one is summed. */
    if (1 - sum > 1e-2)
        return (float)log(1 - sum);
    double rest = 0;
    for (int32_t c = 0; c < classes; c++)
        work[c] = label->log_p[c];
    for (uint32_t k = 0; k < record->count; k++)
        work[record->classes[k]] = 2 * SSLD_LOG_FLOOR;
    for (int32_t c = 0; c < classes; c++)
        rest += exp((double)work[c]);
    return (float)log(rest);
}

#define REFINEMENTS 3

/* The numbers that fit the tail best: least squares over all classes, the explicit ones standing where the shape itself puts
 * them, in a few rounds. */
static void fit_shape(struct ssld_encoder *encoder, const struct ssld_label *label, struct record *record)
{
    const struct ssld_model *model = encoder->model;
    size_t stride = model->stride;
    float *y = encoder->work, *numbers = record->shape.numbers;
    ssld_shape_roots(label->log_p, (size_t)model->classes, model->scale.log[record->base], y);
    for (uint32_t k = 0; k < record->count; k++)
        y[record->classes[k]] = model->rows[record->classes[k]];
    ssld_shape_project(model, y, encoder->shape, numbers);
    for (int round = 0; round < REFINEMENTS && model->rank > 0; round++) {
        for (uint32_t k = 0; k < record->count; k++) {
            uint32_t c = record->classes[k];
            float value = model->rows[c];
            for (int32_t j = 0; j < model->rank; j++)
                value += numbers[j] * model->rows[(size_t)(j + 1) * stride + c];
            encoder->p[k] = value - y[c];
            y[c] = value;
        }
        for (int32_t j = 0; j < model->rank; j++)
            for (uint32_t k = 0; k < record->count; k++)
                numbers[j] += encoder->p[k] * model->analysis[(size_t)j * stride + record->classes[k]];
    }
    for (int32_t j = 0; j < model->rank; j++) {
        float number = rintf(numbers[j]);
        numbers[j] = number < -127 ? -127 : number > 127 ? 127 : number;
    }
}

/* -- Encoding ----------------------------------------------------------------------------------------------------- */

/* A record of the first `count` classes of encoder->order, and the label's own. */
static void make_record(struct ssld_encoder *encoder, const struct ssld_label *label, uint32_t count, struct record *record)
{
    const struct ssld_model *model = encoder->model;
    uint32_t *classes = encoder->classes;
    bool known = label->class < 0;
    memcpy(classes, encoder->order, count * sizeof *classes);
    for (uint32_t k = 0; k < count; k++)
        known |= classes[k] == (uint32_t)label->class;
    if (!known)
        classes[count++] = (uint32_t)label->class;
    for (uint32_t k = 0; k < count; k++)
        classes[k] = model->places[classes[k]];
    sort_numbers(classes, count);
    for (uint32_t k = 0; k < count; k++)
        classes[k] = model->order[classes[k]];
    *record = (struct record){ .count = count, .classes = classes, .levels = encoder->levels };
    for (uint32_t k = 0; k < count; k++) {
        encoder->levels[k] = ssld_scale_level(&model->scale, label->log_p[classes[k]]);
        record->base = encoder->levels[k] > record->base ? encoder->levels[k] : record->base;
    }
    if (count == (uint32_t)model->classes)
        return;
    record->tail = ssld_scale_level(&model->scale, tail_log(label, model->classes, record, encoder->work));
    if (model->rank >= 0)
        fit_shape(encoder, label, record);
}

static void put_record(const struct ssld_encoder *encoder, const struct ssld_label *label, const struct record *record,
                       struct ssld_sink *sink)
{
    const struct ssld_model *model = encoder->model;
    if (encoder->coding.kl_bound > 0)
        ssld_put_number(sink, CODE_COUNT, record->count - 1);
    else /* K, or one more for the label's class */
        ssld_put_bits(sink, record->count - (uint32_t)encoder->coding.top_k, 1);
    for (uint32_t k = 0, next = 0; k < record->count; k++) {
        uint32_t place = model->places[record->classes[k]];
        ssld_put_number(sink, gap_code((unsigned)__builtin_clz(2 * next + 1)), place - next);
        next = place + 1;
    }
    ssld_put_number(sink, CODE_BASE, record->base);
    for (uint32_t k = 0; k < record->count; k++)
        ssld_put_number(sink, CODE_VALUE, record->base - record->levels[k]);
    if (record->count < (uint32_t)model->classes)
        ssld_put_number(sink, CODE_TAIL, record->tail);
    ssld_put_number(sink, CODE_MEAN, (uint32_t)(-label->mean * MEAN_STEPS + 0.5f));
    ssld_put_number(sink, CODE_DEVIATION, (uint32_t)(label->deviation * DEVIATION_STEPS + 0.5f));
    if (record->count < (uint32_t)model->classes && model->rank >= 0)
        ssld_shape_put(sink, model, CODE_SHAPE, &record->shape);
}

/* KL(label || what is decoded of the record), in nats. */
static double divergence(struct ssld_encoder *encoder, const struct ssld_label *label, const struct record *record)
{
    const struct ssld_model *model = encoder->model;
    const struct ssld_scale *scale = &model->scale;
    size_t classes = (size_t)model->classes;
    bool has_tail = record->count < (uint32_t)classes;
    float *row = encoder->p;
    double sum = has_tail ? (double)scale->probability[record->tail] : 0, value = 0;
    for (uint32_t k = 0; k < record->count; k++)
        sum += (double)scale->probability[record->levels[k]];
    if (has_tail) {
        double weight = (double)(classes - record->count);
        for (size_t c = 0; c < classes && model->rank < 0; c++)
            row[c] = 1;
        if (model->rank >= 0) {
            float all = ssld_shape_weights(model, &record->shape, row);
            weight = (double)ssld_shape_leave_out(model, record->classes, record->count, row, all);
        }
        double factor = (double)scale->probability[record->tail] / weight;
        for (size_t c = 0; c < classes; c++)
            row[c] = (float)((double)row[c] * factor);
    }
    for (uint32_t k = 0; k < record->count; k++)
        row[record->classes[k]] = scale->probability[record->levels[k]];
    for (size_t c = 0; c < classes; c++)
        value += (double)ssld_exp(label->log_p[c]) * ((double)label->log_p[c] - log((double)row[c]));
    return value + log(sum);
}

/* The fewest classes that keep the bound, as far as fewer never keep it better. */
static void choose_count(struct ssld_encoder *encoder, const struct ssld_label *label, struct record *record)
{
    uint32_t most = (uint32_t)encoder->coding.top_k, low = 0, high = 1; /* low does not keep it, high may */
    for (;; low = high, high = 2 * high < most ? 2 * high : most) {
        make_record(encoder, label, high, record);
        if (high == most || divergence(encoder, label, record) <= encoder->coding.kl_bound)
            break;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        make_record(encoder, label, middle, record);
        if (divergence(encoder, label, record) <= encoder->coding.kl_bound)
            high = middle;
        else
            low = middle;
    }
    make_record(encoder, label, high, record);
}

static void encode(struct ssld_encoder *encoder, const struct ssld_label *label, struct ssld_sink *sink)
{
    struct record record;
    uint32_t count = (uint32_t)encoder->coding.top_k;
    select_top(label->log_p, (uint32_t)encoder->coding.classes, encoder->order, count,
               encoder->coding.kl_bound > 0);
    if (encoder->coding.kl_bound > 0)
        choose_count(encoder, label, &record);
    else
        make_record(encoder, label, count, &record);
    put_record(encoder, label, &record, sink);
}

/* -- Decoding ----------------------------------------------------------------------------------------------------- */

/* A record as it is read: the explicit classes, and where each part of it ends. */
struct parsed {
    uint32_t          count;
    float             sum;  /* of the explicit probabilities */
    float             tail;
    float             mean, deviation;
    struct ssld_shape shape;
    uint64_t          ends[4]; /* of classes, values, tail, moments */
    uint32_t          classes[SSLD_FORMAT_TOP_K + 1];
    float             values[SSLD_FORMAT_TOP_K + 1];
};

static bool has_tail(const struct ssld_model *model, const struct parsed *record)
{
    return record->count < (uint32_t)model->classes;
}

/* Numbers of one record follow each other in a chain: where one ends, and which code the next has, is known only when it is
 * there. So two records are read side by side, a number of each by turns, and a processor works on one while it waits for the
 * other. All of `n` is known when this is compiled. */
#define EACH_RECORD for (int i = 0; i < n; i++)

ALWAYS_INLINE uint32_t count_read(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_window *window)
{
    ssld_window_fill(window);
    if (coding->kl_bound > 0)
        return ssld_get_next(window, model, CODE_COUNT) + 1;
    uint32_t more = window->bits & 1;
    ssld_window_pass(window, 1);
    return (uint32_t)coding->top_k + more;
}

ALWAYS_INLINE bool classes_read(const int n, const struct ssld_coding *coding, const struct ssld_model *model,
                                struct ssld_window *windows, struct parsed *const *records)
{
    uint32_t all = (uint32_t)coding->classes, count = records[0]->count, next[2] = { 0 };
    for (uint32_t k = 0; k < count;) {
        EACH_RECORD
            ssld_window_fill(&windows[i]);
        for (uint32_t end = count - k < model->group ? count : k + model->group; k < end; k++)
            EACH_RECORD {
                next[i] += ssld_get_by(&windows[i], model, model->gap_quick[__builtin_clz(2 * next[i] + 1)]);
                if (next[i] >= all)
                    return false;
                records[i]->classes[k] = model->order[next[i]++];
            }
    }
    return true;
}

ALWAYS_INLINE bool values_read(const int n, const struct ssld_model *model, struct ssld_window *windows,
                               struct parsed *const *records)
{
    const struct ssld_scale *scale = &model->scale;
    const uint32_t group = model->codes[CODE_VALUE].group, *quick = model->quick[CODE_VALUE], count = records[0]->count;
    uint32_t base[2];
    float sum[2] = { 0 };
    EACH_RECORD {
        ssld_window_fill(&windows[i]);
        base[i] = ssld_get_next(&windows[i], model, CODE_BASE);
        if (base[i] >= (uint32_t)scale->levels)
            return false;
    }
    for (uint32_t k = 0; k < count;) {
        EACH_RECORD
            ssld_window_fill(&windows[i]);
        for (uint32_t end = count - k < group ? count : k + group; k < end; k++)
            EACH_RECORD {
                uint32_t above = ssld_get_by(&windows[i], model, quick);
                if (above > base[i])
                    return false;
                records[i]->values[k] = scale->probability[base[i] - above];
                sum[i] += records[i]->values[k];
            }
    }
    EACH_RECORD
        records[i]->sum = sum[i];
    return true;
}

/* The tail, mean and deviation. */
ALWAYS_INLINE bool summary_read(const struct ssld_model *model, struct ssld_window *window, struct parsed *record)
{
    bool roomy = model->group >= 3;
    uint32_t level = 0;
    record->tail = 0;
    ssld_window_fill(window);
    if (has_tail(model, record)) {
        level = ssld_get_next(window, model, CODE_TAIL);
        if (level >= (uint32_t)model->scale.levels)
            return false;
        record->tail = model->scale.probability[level];
    }
    record->ends[2] = window->at;
    if (!roomy)
        ssld_window_fill(window);
    record->mean = -(float)ssld_get_next(window, model, CODE_MEAN) / MEAN_STEPS;
    if (!roomy)
        ssld_window_fill(window);
    record->deviation = (float)ssld_get_next(window, model, CODE_DEVIATION) / DEVIATION_STEPS;
    record->ends[3] = window->at;
    return true;
}

/* False also where two records have not as many classes each. */
ALWAYS_INLINE bool records_read(const int n, const struct ssld_coding *coding, const struct ssld_model *model,
                                struct ssld_source *const *sources, struct parsed *const *records)
{
    struct ssld_window windows[2];
    EACH_RECORD {
        windows[i] = ssld_window_open(sources[i]);
        records[i]->count = count_read(coding, model, &windows[i]);
        if (records[i]->count > (uint32_t)coding->top_k + 1 || records[i]->count > (uint32_t)coding->classes ||
            records[i]->count != records[0]->count)
            return false;
    }
    if (!classes_read(n, coding, model, windows, records))
        return false;
    EACH_RECORD
        records[i]->ends[0] = windows[i].at;
    if (!values_read(n, model, windows, records))
        return false;
    EACH_RECORD {
        records[i]->ends[1] = windows[i].at;
        if (!summary_read(model, &windows[i], records[i]))
            return false;
    }
    if (has_tail(model, records[0]) && model->rank >= 0) {
        struct ssld_shape *shapes[2] = { 0 };
        EACH_RECORD
            shapes[i] = &records[i]->shape;
        ssld_shapes_read(n, windows, model, CODE_SHAPE, shapes);
    }
    EACH_RECORD
        sources[i]->at = windows[i].at;
    bool sound = true;
    EACH_RECORD
        sound &= sources[i]->at <= sources[i]->end;
    return sound;
}

MULTIVERSION static bool record_read(const struct ssld_coding *coding, const struct ssld_model *model,
                                     struct ssld_source *source, struct parsed *record)
{
    return records_read(1, coding, model, &source, &record);
}

/* Two that may be read at once, or else one after the other. */
MULTIVERSION static bool two_records_read(const struct ssld_coding *coding, const struct ssld_model *model,
                                          struct ssld_source *const sources[2], struct parsed *const records[2])
{
    return records_read(2, coding, model, sources, records);
}

/* The row of a record, in which the tail's weights are already, if the model has a shape; `sum` is theirs. */
static void finish_row(const struct ssld_model *model, const struct parsed *record, float sum, float *row)
{
    size_t classes = (size_t)model->classes;
    float scale = 1 / (record->sum + record->tail);
    if (has_tail(model, record) && model->rank >= 0) {
        float weight = ssld_shape_leave_out(model, record->classes, record->count, row, sum);
        ssld_row_scale(row, classes, record->tail * scale / weight);
    } else if (has_tail(model, record)) {
        float share = record->tail * scale / (float)(classes - record->count);
        for (size_t c = 0; c < classes; c++)
            row[c] = share;
    }
    for (uint32_t k = 0; k < record->count; k++)
        row[record->classes[k]] = record->values[k] * scale;
}

static bool parse(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source, void *parsed)
{
    return record_read(coding, model, source, parsed);
}

static bool parse_two(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *const sources[2],
                      void *const parsed[2])
{
    uint64_t at[2] = { sources[0]->at, sources[1]->at };
    struct parsed *records[2] = { parsed[0], parsed[1] };
    if (two_records_read(coding, model, sources, records))
        return true;
    sources[0]->at = at[0];
    sources[1]->at = at[1];
    return false;
}

static void spread(const struct ssld_model *model, int32_t count, const void *parsed, float *const rows[])
{
    const struct parsed *records = parsed;
    const struct ssld_shape *shapes[SSLD_SPREAD];
    float sums[SSLD_SPREAD] = { 0 };
    bool together = count == SSLD_SPREAD && model->rank >= 0;
    for (int32_t i = 0; i < count; i++) {
        shapes[i] = &records[i].shape;
        together &= has_tail(model, &records[i]);
    }
    if (together)
        ssld_shape_weights_together(model, shapes, rows, sums);
    for (int32_t i = 0; i < count; i++) {
        if (!together && model->rank >= 0 && has_tail(model, &records[i]))
            sums[i] = ssld_shape_weights(model, shapes[i], rows[i]);
        finish_row(model, &records[i], sums[i], rows[i]);
    }
}

static bool decode(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source, float *row,
                   struct ssld_record_sizes *sizes)
{
    struct parsed record;
    uint64_t begin = source->at;
    if (!record_read(coding, model, source, &record))
        return false;
    if (row)
        spread(model, 1, &record, &row);
    if (sizes) {
        sizes->classes += record.ends[0] - begin;
        sizes->values += record.ends[1] - record.ends[0];
        sizes->tail += record.ends[2] - record.ends[1] + source->at - record.ends[3];
        sizes->moments += record.ends[3] - record.ends[2];
    }
    return true;
}

static bool moments(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source,
                    const float *row, float *mean, float *deviation)
{
    struct parsed record;
    (void)row;
    if (!record_read(coding, model, source, &record))
        return false;
    *mean = record.mean;
    *deviation = record.deviation;
    return true;
}

/* Chosen by measurement: see docs/format.md, "Bytes and fidelity". */
static void fit(const struct ssld_coding *coding, size_t count, size_t stride, const float *log_p, float scale[3], float *step)
{
    (void)count;
    (void)stride;
    (void)log_p;
    float finer = 8.0f / (float)(coding->rank > 0 ? coding->rank : 1);
    scale[0] = 0.03f;
    scale[1] = 1.04f;
    scale[2] = 0.25f;
    *step = finer > 0.5f ? 0.5f : finer < 0.125f ? 0.125f : finer;
}

const struct ssld_codec ssld_codec_topk = {
    .id = SSLD_CODEC_TOPK,
    .codes = CODE_SHAPE,
    .gap_code = gap_code,
    .most_bits = most_bits,
    .encode = encode,
    .decode = decode,
    .parsed_bytes = sizeof(struct parsed),
    .parse = parse,
    .parse_two = parse_two,
    .spread = spread,
    .moments = moments,
    .fit = fit,
};
