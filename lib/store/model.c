/* SPDX-License-Identifier: BSD-2-Clause */
/* model.c - a fitted model as bytes and back, its scale of logarithms, and the inverse of its rows. */
#include "store/model.h"

#include <math.h>

#include "core/hash.h"
#include "store/codec.h"

#define MODEL_FIXED 32 /* bytes before exponents: see docs/format.md, "Model" */
#define ROW_UNIT (-14)
#define VECTOR SSLD_SHAPE_VECTOR

/* -- Scale -------------------------------------------------------------------------------------------------------- */

bool ssld_scale_make(float first, float growth, float cap, struct ssld_scale *scale)
{
    double step = (double)first, at = 0;
    int32_t level = 0;
    if (!(first >= 0x1p-12f && first <= cap && cap <= 8 && growth >= 1 && growth <= 2))
        return false;
    /* Additions and multiplications of doubles only: the same levels on every machine. */
    for (; level < SSLD_MOST_LEVELS - 1 && at > SSLD_LOG_FLOOR; level++) {
        scale->log[level] = (float)at;
        at -= step;
        step = step * (double)growth < (double)cap ? step * (double)growth : (double)cap;
    }
    if (at > SSLD_LOG_FLOOR)
        return false;
    scale->log[level] = SSLD_LOG_FLOOR;
    scale->levels = level + 1;
    scale->first = first;
    scale->growth = growth;
    scale->cap = cap;
    for (int32_t i = 0; i <= level; i++)
        scale->probability[i] = (float)exp((double)scale->log[i]);
    int32_t last = 0;
    for (int i = 0; i <= 64 * 16; i++) {
        while (last < level && scale->log[last + 1] >= -(float)i / 16)
            last++;
        scale->start[i] = (uint16_t)last;
    }
    return true;
}

uint32_t ssld_scale_level(const struct ssld_scale *scale, float log_probability)
{
    float l = log_probability < 0 ? log_probability > SSLD_LOG_FLOOR ? log_probability : SSLD_LOG_FLOOR : 0;
    uint32_t level = scale->start[(int32_t)(-l * 16)], last = (uint32_t)scale->levels - 1;
    while (level < last && scale->log[level + 1] >= l)
        level++;
    return level < last && l - scale->log[level + 1] < scale->log[level] - l ? level + 1 : level;
}

/* -- Bytes -------------------------------------------------------------------------------------------------------- */

static size_t model_size(int32_t classes, int32_t rank, int32_t code_count)
{
    size_t rows = (size_t)(rank + 1);
    return MODEL_FIXED + rows + rows * (size_t)classes + (size_t)code_count * SSLD_PREFIX_BYTES;
}

static void put_float(uint8_t *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ssld_put_u32(bytes, bits);
}

static float get_float(const uint8_t *bytes)
{
    uint32_t bits = ssld_get_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint8_t *ssld_model_write(ssld_context *context, const struct ssld_model_parts *parts, size_t *size)
{
    size_t rows = (size_t)(parts->rank + 1), values = rows * (size_t)parts->classes;
    *size = model_size(parts->classes, parts->rank, parts->code_count);
    uint8_t *bytes = ssld_alloc_zero(context, 1, *size), *at = bytes + MODEL_FIXED;
    if (!bytes)
        return NULL;
    ssld_put_u32(bytes, (uint32_t)parts->codec);
    ssld_put_u32(bytes + 4, (uint32_t)parts->classes);
    ssld_put_u32(bytes + 8, (uint32_t)(parts->rank + 1));
    ssld_put_u32(bytes + 12, (uint32_t)parts->code_count);
    put_float(bytes + 16, parts->first);
    put_float(bytes + 20, parts->growth);
    put_float(bytes + 24, parts->cap);
    if (rows) {
        memcpy(at, parts->exponents, rows);
        memcpy(at + rows, parts->rows, values);
    }
    at += rows + values;
    for (int32_t i = 0; i < parts->code_count; i++)
        ssld_prefix_write(parts->lengths[i], at + (size_t)i * SSLD_PREFIX_BYTES);
    return bytes;
}

static bool rows_read(struct ssld_model *model, const uint8_t *bytes)
{
    const int8_t *exponents = (const int8_t *)bytes, *values = exponents + model->rank + 1;
    for (int32_t row = 0; row <= model->rank; row++) {
        if (exponents[row] < ROW_UNIT || exponents[row] > 0)
            return false;
        float unit = ldexpf(1, exponents[row]);
        for (int32_t c = 0; c < model->classes; c++)
            model->rows[(size_t)row * model->stride + (size_t)c] =
                (float)values[(size_t)row * (size_t)model->classes + (size_t)c] * unit;
    }
    return true;
}

/* The exponent of the unit that all values of the rows are whole numbers of; false if they, or the sums of a record's numbers and
 * the rows, have no room as such: 16 bits, and 22 beside the sign. */
static bool pairs_fit(const struct ssld_model *model, const int8_t *exponents, int *unit)
{
    *unit = 0;
    for (int32_t row = 0; row <= model->rank; row++)
        *unit = exponents[row] < *unit ? exponents[row] : *unit;
    for (int32_t row = 1; row <= model->rank; row++)
        if (exponents[row] - *unit > 15 - 7)
            return false;
    for (int32_t c = 0; c < model->classes; c++) {
        float most = fabsf(model->rows[c]);
        for (int32_t j = 1; j <= model->rank; j++)
            most += SSLD_SHAPE_NUMBER * fabsf(model->rows[(size_t)j * model->stride + (size_t)c]);
        if (!(most < ldexpf(1, *unit + 22)))
            return false;
    }
    return true;
}

static bool make_pairs(ssld_context *context, struct ssld_model *model, const int8_t *exponents)
{
    int unit;
    if (model->rank < 1 || !ssld_shape_multiplies_pairs() || !pairs_fit(model, exponents, &unit))
        return true;
    model->first = ssld_alloc(context, model->stride * sizeof *model->first);
    model->pairs = ssld_alloc_zero(context, (size_t)(model->rank + 1) / 2 * model->stride, 2 * sizeof *model->pairs);
    if (!model->first || !model->pairs)
        return false;
    model->zero = ldexpf(1.5f, 23 + unit);
    for (size_t c = 0; c < model->stride; c++) {
        float first = model->zero + model->rows[c];
        memcpy(&model->first[c], &first, sizeof first);
    }
    for (size_t j = 0; j < (size_t)model->rank; j++)
        for (size_t c = 0; c < model->stride; c++)
            model->pairs[(j / 2 * model->stride + c) * 2 + j % 2] =
                (int16_t)ldexpf(model->rows[(j + 1) * model->stride + c], -unit);
    return true;
}

/* Classes by falling row 0: by counting. */
static void order_classes(struct ssld_model *model, const int8_t *row)
{
    uint32_t starts[257] = { 0 };
    for (int32_t c = 0; c < model->classes; c++)
        starts[row ? 128 - row[c] : 1]++; /* 1 to 255 and 256: one behind the value's own start */
    for (int i = 1; i < 257; i++)
        starts[i] += starts[i - 1];
    for (int32_t c = 0; c < model->classes; c++) {
        uint32_t place = starts[(row ? 128 - row[c] : 1) - 1]++;
        model->order[place] = (uint32_t)c;
        model->places[c] = place;
    }
}

static bool fields_read(struct ssld_model *model, const uint8_t *bytes, size_t size)
{
    if (size < MODEL_FIXED)
        return false;
    uint32_t codec = ssld_get_u32(bytes), classes = ssld_get_u32(bytes + 4), rows = ssld_get_u32(bytes + 8),
             codes = ssld_get_u32(bytes + 12);
    if (codec > INT32_MAX || classes < 1 || classes > SSLD_FORMAT_CLASSES || rows > SSLD_MOST_RANK + 1 ||
        (rows && classes > SSLD_MOST_SHAPED_CLASSES) || codes > SSLD_MOST_CODES)
        return false;
    model->codec = (int32_t)codec;
    model->classes = (int32_t)classes;
    model->rank = (int32_t)rows - 1;
    model->code_count = (int32_t)codes;
    model->stride = ((size_t)classes + VECTOR - 1) / VECTOR * VECTOR;
    return size == model_size(model->classes, model->rank, model->code_count) &&
           ssld_scale_make(get_float(bytes + 16), get_float(bytes + 20), get_float(bytes + 24), &model->scale);
}

ssld_status ssld_model_read(ssld_context *context, const uint8_t *bytes, size_t size, struct ssld_model **model)
{
    struct ssld_model *made = ssld_alloc_zero(context, 1, sizeof *made);
    ssld_status status = SSLD_OK;
    if (!made)
        return ssld_fail_memory(context, "a store's model", sizeof *made);
    if (!fields_read(made, bytes, size)) {
        status = ssld_fail(context, SSLD_FORMAT, "a model that this libssld does not understand");
        goto fail;
    }
    size_t rows = (size_t)(made->rank + 1);
    made->rows = ssld_alloc_zero(context, rows * made->stride, sizeof *made->rows);
    made->order = ssld_alloc(context, (size_t)made->classes * sizeof *made->order);
    made->places = ssld_alloc(context, (size_t)made->classes * sizeof *made->places);
    made->codes = ssld_alloc_zero(context, (size_t)made->code_count, sizeof *made->codes);
    made->quick = ssld_alloc(context, (size_t)made->code_count * sizeof *made->quick);
    made->bytes = ssld_alloc(context, size);
    if (!made->rows || !made->codes || !made->quick || !made->bytes || !made->order || !made->places) {
        status = ssld_fail_memory(context, "a store's model", rows * made->stride * sizeof *made->rows);
        goto fail;
    }
    bool sound = !rows || rows_read(made, bytes + MODEL_FIXED);
    const uint8_t *codes = bytes + MODEL_FIXED + rows + rows * (size_t)made->classes;
    for (int32_t i = 0; i < made->code_count && sound; i++) {
        uint8_t lengths[SSLD_TOKENS];
        ssld_prefix_read(codes + (size_t)i * SSLD_PREFIX_BYTES, lengths);
        sound = ssld_prefix_make(lengths, &made->codes[i]);
        if (sound)
            ssld_prefix_make_quick(&made->codes[i], made->quick[i]);
        made->group = !i || made->codes[i].group < made->group ? made->codes[i].group : made->group;
    }
    const struct ssld_codec *codec = ssld_codec_find(made->codec);
    for (unsigned zeros = 0; sound && codec && codec->gap_code && made->code_count >= codec->codes && zeros < 32; zeros++)
        made->gap_quick[zeros] = made->quick[codec->gap_code(zeros)];
    for (int32_t j = 0; j < made->rank; j++)
        made->number_codes[j] = (uint8_t)(SSLD_SHAPE_CODES * j / made->rank);
    if (!sound) {
        status = ssld_fail(context, SSLD_FORMAT, "a model whose rows or codes break the rules of the format");
        goto fail;
    }
    if (!make_pairs(context, made, (const int8_t *)bytes + MODEL_FIXED)) {
        status = ssld_fail_memory(context, "a store's model", rows * made->stride * sizeof *made->pairs);
        goto fail;
    }
    order_classes(made, rows ? (const int8_t *)bytes + MODEL_FIXED + rows : NULL);
    memcpy(made->bytes, bytes, size);
    made->size = size;
    made->id = ssld_checksum(bytes, size);
    *model = made;
    return SSLD_OK;
fail:
    ssld_model_free(context, made);
    return status;
}

bool ssld_model_fits(const struct ssld_model *model, const struct ssld_store_header *header)
{
    const struct ssld_codec *codec = ssld_codec_find(header->codec);
    return codec && !codec->columns && model->codec == header->codec && model->classes == header->classes &&
           model->rank == header->shape_rows - 1 &&
           model->code_count == codec->codes + (model->rank > 0 ? SSLD_SHAPE_CODES : 0);
}

void ssld_model_free(ssld_context *context, struct ssld_model *model)
{
    if (!model)
        return;
    ssld_free(context, model->rows);
    ssld_free(context, model->first);
    ssld_free(context, model->pairs);
    ssld_free(context, model->analysis);
    ssld_free(context, model->order);
    ssld_free(context, model->places);
    ssld_free(context, model->codes);
    ssld_free(context, model->quick);
    ssld_free(context, model->bytes);
    ssld_free(context, model);
}

/* -- The inverse of the rows -------------------------------------------------------------------------------------- */

/* Solve G X = B in place for `columns` right sides, G symmetric and positive: Cholesky. G (n, n), B (n, stride). */
static void solve(double *g, size_t n, float *b, size_t stride, size_t columns)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = g[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= g[i * n + k] * g[j * n + k];
            g[i * n + j] = i == j ? sqrt(sum > 1e-12 ? sum : 1e-12) : sum / g[j * n + j];
        }
    for (size_t c = 0; c < columns; c++) {
        double x[SSLD_MOST_RANK];
        for (size_t i = 0; i < n; i++) {
            double sum = (double)b[i * stride + c];
            for (size_t k = 0; k < i; k++)
                sum -= g[i * n + k] * x[k];
            x[i] = sum / g[i * n + i];
        }
        for (size_t i = n; i-- > 0;) {
            for (size_t k = i + 1; k < n; k++)
                x[i] -= g[k * n + i] * x[k];
            x[i] /= g[i * n + i];
            b[i * stride + c] = (float)x[i];
        }
    }
}

ssld_status ssld_model_analyse(ssld_context *context, struct ssld_model *model)
{
    if (model->rank < 1 || model->analysis)
        return SSLD_OK;
    size_t n = (size_t)model->rank, stride = model->stride;
    double *gram = ssld_alloc_zero(context, n * n, sizeof *gram);
    float *analysis = ssld_alloc(context, n * stride * sizeof *analysis);
    if (!gram || !analysis) {
        ssld_free(context, gram);
        ssld_free(context, analysis);
        return ssld_fail_memory(context, "a store's model", n * stride * sizeof *analysis);
    }
    const float *rows = model->rows + stride;
    memcpy(analysis, rows, n * stride * sizeof *analysis);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t c = 0; c < stride; c++)
                sum += (double)rows[i * stride + c] * (double)rows[j * stride + c];
            gram[i * n + j] = gram[j * n + i] = sum;
        }
    solve(gram, n, analysis, stride, (size_t)model->classes);
    ssld_free(context, gram);
    model->analysis = analysis;
    return SSLD_OK;
}
