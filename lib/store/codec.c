/* SPDX-License-Identifier: BSD-2-Clause */
/* codec.c - dense and top-K codecs, the columns of a payload, half precision. Error bounds are in docs/format.md. */
#include "store/codec.h"

#include <math.h>

#include "ssld/store.h"

#define COLUMN_DENSE_LOG 1
#define COLUMN_TOP_CLASS 2
#define COLUMN_TOP_LOG 3
#define COLUMN_TAIL_LOG 4
#define COLUMN_MAY_BE_SKIPPED UINT32_C(0x80000000)
#define COLUMN_HEAD_BYTES 8 /* id, length */

/* -- Half precision: 1 sign, 5 exponent (bias 15), 10 fraction bits ----------------------------------------------- */

/* value >= 0, below 2^31. */
static uint32_t nearest_even(double value)
{
    uint32_t whole = (uint32_t)value;
    double rest = value - whole;
    return whole + (rest > 0.5 || (rest == 0.5 && (whole & 1)));
}

uint16_t ssld_half_from(double value)
{
    uint32_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    if (isnan(value))
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 65520) /* half-way between the largest half and the one there is not */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x1p-14) /* subnormal; 1024 units are the smallest normal number, bits included */
        return (uint16_t)(sign | nearest_even(magnitude * 0x1p24));
    int exponent;
    double fraction = frexp(magnitude, &exponent); /* 0.5 <= fraction < 1: significand 1024 to 2048 */
    return (uint16_t)(sign + ((uint32_t)(exponent + 13) << 10) + nearest_even(fraction * 2048));
}

double ssld_half_to(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double magnitude = exponent == 0    ? fraction * 0x1p-24
                       : exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                                        : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* Stored logarithms lie in [-64, 0]; anything else was not written by us. */
static bool log_read(uint32_t bits, double *log_probability)
{
    *log_probability = ssld_half_to((uint16_t)bits);
    return *log_probability <= 0 && *log_probability >= SSLD_LOG_FLOOR;
}

/* -- Labels ------------------------------------------------------------------------------------------------------- */

static double log_of(const struct ssld_label *label, int32_t class)
{
    double value = label->values[class];
    return (label->logits ? value : log(value)) + label->shift;
}

static uint16_t log_write(double log_probability)
{
    /* Rounding may not carry a certain class above ln 1, nor a class without probability below the floor. */
    double clamped = log_probability < SSLD_LOG_FLOOR ? SSLD_LOG_FLOOR : log_probability > 0 ? 0 : log_probability;
    return ssld_half_from(clamped);
}

const char *ssld_label_check(const float *values, int32_t classes, bool logits)
{
    double sum = 0;
    for (int32_t c = 0; c < classes; c++) {
        if (!isfinite(values[c]))
            return "is not finite";
        if (!logits && values[c] < 0)
            return "has a negative probability";
        sum += values[c];
    }
    /* float probabilities of 2^24 classes, summed by whoever made them, are well within a thousandth of 1 */
    return !logits && fabs(sum - 1) > 1e-3 ? "has probabilities that do not sum to 1" : NULL;
}

struct ssld_label ssld_label_read(const float *values, int32_t classes, bool logits)
{
    double largest = values[0], sum = 0;
    for (int32_t c = 1; c < classes && logits; c++)
        largest = values[c] > largest ? values[c] : largest;
    for (int32_t c = 0; c < classes; c++)
        sum += logits ? exp(values[c] - largest) : (double)values[c];
    return (struct ssld_label){ values, logits, logits ? -largest - log(sum) : -log(sum) };
}

/* -- Planes ------------------------------------------------------------------------------------------------------- */

/* A column of N values of w bytes is the N lowest bytes, then the N next higher ones: the high bytes of logarithms and
 * of gaps repeat, the low ones are noise. Values go record by record, which packs 4 to 9 % tighter than class by class
 * (measured on labels of a linear teacher) and keeps what one read needs close together. */

static void plane_put(uint8_t *column, size_t count, size_t position, unsigned width, uint32_t value)
{
    for (unsigned i = 0; i < width; i++)
        column[i * count + position] = (uint8_t)(value >> 8 * i);
}

static uint32_t plane_get(const uint8_t *column, size_t count, size_t position, unsigned width)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint32_t)column[i * count + position] << 8 * i;
    return value;
}

/* -- Dense: every class's log-probability as a half --------------------------------------------------------------- */

static uint32_t dense_column_bytes(const struct ssld_store_header *header, uint32_t column)
{
    (void)column;
    return 2 * (uint32_t)header->classes;
}

static size_t dense_record_bytes(const struct ssld_store_header *header)
{
    return ((size_t)header->classes * 2 + 3) / 4 * 4;
}

static void dense_quantise(const struct ssld_store_header *header, const struct ssld_label *label, void *record)
{
    uint16_t *halves = record;
    for (int32_t c = 0; c < header->classes; c++)
        halves[c] = log_write(log_of(label, c));
}

static void dense_pack(const struct ssld_store_header *header, const void *record, uint32_t i, uint8_t *const *columns,
                       uint32_t records)
{
    const uint16_t *halves = record;
    size_t classes = (size_t)header->classes;
    for (size_t c = 0; c < classes; c++)
        plane_put(columns[0], classes * records, i * classes + c, 2, halves[c]);
}

static bool dense_unpack(const struct ssld_store_header *header, const struct ssld_columns *columns, uint32_t i,
                         float *row)
{
    size_t classes = (size_t)header->classes, records = columns->records;
    double sum = 0, log_probability;
    for (size_t c = 0; c < classes; c++) {
        if (!log_read(plane_get(columns->column[0], classes * records, i * classes + c, 2), &log_probability))
            return false;
        row[c] = (float)exp(log_probability);
        sum += row[c];
    }
    double scale = 1 / sum;
    for (size_t c = 0; c < classes; c++)
        row[c] = (float)(row[c] * scale);
    return true;
}

/* -- Top-K: K classes with their log-probabilities, and the logarithm of the rest ----------------------------------- */

/* A record: K class numbers (uint32_t, ascending), K halves, the half of the tail. */
static uint32_t *top_classes(const void *record)
{
    return (uint32_t *)(uintptr_t)record;
}

static uint16_t *top_halves(const struct ssld_store_header *header, const void *record)
{
    return (uint16_t *)(uintptr_t)(top_classes(record) + header->top_k);
}

static unsigned class_width(const struct ssld_store_header *header)
{
    return header->classes <= 1 << 8 ? 1 : header->classes <= 1 << 16 ? 2 : 3;
}

static uint32_t top_column_bytes(const struct ssld_store_header *header, uint32_t column)
{
    uint32_t k = (uint32_t)header->top_k;
    return column == 0   ? k * class_width(header)
           : column == 1 ? k * 2
                         : (header->top_k < header->classes ? 2 : 0);
}

static size_t top_record_bytes(const struct ssld_store_header *header)
{
    return ((size_t)header->top_k * 6 + 2 + 3) / 4 * 4;
}

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

/* The k classes of highest rank, ascending by number. heap[0] is the lowest in rank of those kept so far. */
static void select_top(const float *values, uint32_t classes, uint32_t *heap, size_t k)
{
    for (uint32_t c = 0; c < k; c++)
        heap[c] = c;
    for (size_t at = k / 2; at-- > 0;)
        sift_down(values, heap, k, at);
    for (uint32_t c = (uint32_t)k; c < classes; c++)
        if (values[c] > values[heap[0]]) { /* of equal values the lower number is in already */
            heap[0] = c;
            sift_down(values, heap, k, 0);
        }
    /* Shell sort with gaps of Knuth's: K is small as a rule, and may be as large as the number of classes. */
    size_t gap = 1;
    while (gap < k / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (size_t i = gap; i < k; i++) {
            uint32_t class = heap[i];
            size_t to = i;
            for (; to >= gap && heap[to - gap] > class; to -= gap)
                heap[to] = heap[to - gap];
            heap[to] = class;
        }
}

/* ln of the probability of all classes not in `top` (ascending). */
static double tail_log(const struct ssld_store_header *header, const struct ssld_label *label, const uint32_t *top)
{
    double sum = 0;
    int32_t next = 0;
    for (int32_t k = 0; k < header->top_k; k++)
        sum += exp(log_of(label, (int32_t)top[k]));
    /* A difference of doubles has 12 right digits of such a tail, 8 more than a half; a smaller one is summed. */
    if (1 - sum > 1e-4)
        return log(1 - sum);
    sum = 0;
    for (int32_t c = 0; c < header->classes; c++) {
        if (next < header->top_k && top[next] == (uint32_t)c)
            next++;
        else
            sum += label->logits ? exp(label->values[c] + label->shift) : (double)label->values[c];
    }
    return label->logits ? log(sum) : log(sum) + label->shift;
}

static void top_quantise(const struct ssld_store_header *header, const struct ssld_label *label, void *record)
{
    uint32_t *classes = top_classes(record);
    uint16_t *halves = top_halves(header, record);
    select_top(label->values, (uint32_t)header->classes, classes, (size_t)header->top_k);
    for (int32_t k = 0; k < header->top_k; k++)
        halves[k] = log_write(log_of(label, (int32_t)classes[k]));
    halves[header->top_k] = header->top_k < header->classes ? log_write(tail_log(header, label, classes)) : 0;
}

/* Class numbers as gaps: the first as it is, then the number of classes left out since the one before. */
static void top_pack(const struct ssld_store_header *header, const void *record, uint32_t i, uint8_t *const *columns,
                     uint32_t records)
{
    const uint32_t *classes = top_classes(record);
    const uint16_t *halves = top_halves(header, record);
    size_t k = (size_t)header->top_k, count = k * records;
    for (size_t at = 0; at < k; at++) {
        uint32_t gap = at ? classes[at] - classes[at - 1] - 1 : classes[0];
        plane_put(columns[0], count, i * k + at, class_width(header), gap);
        plane_put(columns[1], count, i * k + at, 2, halves[at]);
    }
    if (columns[2])
        plane_put(columns[2], records, i, 2, halves[k]);
}

static bool top_unpack(const struct ssld_store_header *header, const struct ssld_columns *columns, uint32_t i,
                       float *row)
{
    size_t k = (size_t)header->top_k, records = columns->records, count = k * records;
    uint32_t classes = (uint32_t)header->classes, class = 0;
    double sum = 0, share = 0, log_probability;
    if (columns->column[2]) {
        if (!log_read(plane_get(columns->column[2], records, i, 2), &log_probability))
            return false;
        sum = exp(log_probability);
        share = sum / (classes - (double)k);
    }
    for (size_t at = 0; at < k; at++) {
        if (!log_read(plane_get(columns->column[1], count, i * k + at, 2), &log_probability))
            return false;
        sum += exp(log_probability);
    }
    for (uint32_t c = 0; c < classes; c++)
        row[c] = (float)(share / sum);
    for (size_t at = 0; at < k; at++) {
        class += plane_get(columns->column[0], count, i * k + at, class_width(header)) + (at ? 1 : 0);
        if (class >= classes) /* cannot wrap: it was below 2^24, and gaps are */
            return false;
        log_probability = ssld_half_to((uint16_t)plane_get(columns->column[1], count, i * k + at, 2));
        row[class] = (float)(exp(log_probability) / sum);
    }
    return true;
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

static const struct ssld_codec codecs[] = {
    { SSLD_CODEC_DENSE_F16, { COLUMN_DENSE_LOG }, dense_column_bytes, dense_record_bytes, dense_quantise, dense_pack,
      dense_unpack },
    { SSLD_CODEC_TOPK, { COLUMN_TOP_CLASS, COLUMN_TOP_LOG, COLUMN_TAIL_LOG }, top_column_bytes, top_record_bytes,
      top_quantise, top_pack, top_unpack },
};

const struct ssld_codec *ssld_codec_find(int32_t id)
{
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
        if (codecs[i].id == id)
            return &codecs[i];
    return NULL;
}

/* -- Payload ------------------------------------------------------------------------------------------------------ */

uint64_t ssld_payload_bytes(const struct ssld_codec *codec, const struct ssld_store_header *header, uint32_t records)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < SSLD_MOST_COLUMNS && codec->columns[i]; i++) {
        uint64_t column = (uint64_t)codec->column_bytes(header, i) * records;
        bytes += column ? COLUMN_HEAD_BYTES + column : 0;
    }
    return bytes;
}

void ssld_payload_begin(const struct ssld_codec *codec, const struct ssld_store_header *header, uint32_t records,
                        uint8_t *payload, uint8_t *columns[SSLD_MOST_COLUMNS])
{
    for (uint32_t i = 0; i < SSLD_MOST_COLUMNS; i++) {
        uint32_t bytes = codec->columns[i] ? codec->column_bytes(header, i) * records : 0;
        columns[i] = bytes ? payload + COLUMN_HEAD_BYTES : NULL;
        if (!bytes)
            continue;
        ssld_put_u32(payload, codec->columns[i]);
        ssld_put_u32(payload + 4, bytes);
        payload += COLUMN_HEAD_BYTES + bytes;
    }
}

bool ssld_payload_read(const struct ssld_codec *codec, const struct ssld_store_header *header, const uint8_t *payload,
                       uint32_t bytes, uint32_t records, struct ssld_columns *columns)
{
    *columns = (struct ssld_columns){ .records = records };
    while (bytes) {
        uint32_t length = bytes < COLUMN_HEAD_BYTES ? 0 : ssld_get_u32(payload + 4);
        if (bytes < COLUMN_HEAD_BYTES || length > bytes - COLUMN_HEAD_BYTES)
            return false;
        uint32_t id = ssld_get_u32(payload), i = 0;
        while (i < SSLD_MOST_COLUMNS && codec->columns[i] != id)
            i++;
        if (i == SSLD_MOST_COLUMNS || id == 0) {
            if (!(id & COLUMN_MAY_BE_SKIPPED))
                return false;
        } else if (columns->column[i] || length != (uint64_t)codec->column_bytes(header, i) * records) {
            return false;
        } else {
            columns->column[i] = payload + COLUMN_HEAD_BYTES;
        }
        payload += COLUMN_HEAD_BYTES + length;
        bytes -= COLUMN_HEAD_BYTES + length;
    }
    for (uint32_t i = 0; i < SSLD_MOST_COLUMNS && codec->columns[i]; i++)
        if (!columns->column[i] && codec->column_bytes(header, i))
            return false;
    return true;
}
