/* SPDX-License-Identifier: BSD-2-Clause */
/* codec.c - the table of codecs, the two dense ones without a model, half precision, an encoder's working memory. */
#include "store/codec.h"

#include <math.h>

#include "ssld/store.h"
#include "store/vector.h"

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

/* -- Dense: every class's log-probability as a float or a half ----------------------------------------------------- */

static uint64_t f32_bits(const struct ssld_coding *coding)
{
    return 32 * (uint64_t)coding->classes;
}

static uint64_t f16_bits(const struct ssld_coding *coding)
{
    return 16 * (uint64_t)coding->classes;
}

static void f32_encode(struct ssld_encoder *encoder, const struct ssld_label *label, struct ssld_sink *sink)
{
    for (int32_t c = 0; c < encoder->coding.classes; c++) {
        uint32_t bits;
        memcpy(&bits, &label->log_p[c], sizeof bits);
        ssld_put_bits(sink, bits, 32);
    }
}

static void f16_encode(struct ssld_encoder *encoder, const struct ssld_label *label, struct ssld_sink *sink)
{
    for (int32_t c = 0; c < encoder->coding.classes; c++)
        ssld_put_bits(sink, ssld_half_from((double)label->log_p[c]), 16);
}

/* Stored logarithms lie in [-64, 0]; anything else was not written by us. The loops go on after one, so that they can be
 * vectors. */
static bool exponentiate(float *row, size_t classes)
{
    int sound = 1;
    for (size_t c = 0; c < classes; c++) {
        sound &= row[c] <= 0 && row[c] >= SSLD_LOG_FLOOR;
        row[c] = ssld_exp(row[c]);
    }
    if (sound)
        ssld_row_scale(row, classes, 1 / ssld_row_sum(row, classes));
    return sound;
}

static bool f32_decode(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source, float *row,
                       struct ssld_record_sizes *sizes)
{
    (void)model;
    const uint8_t *bytes = source->bytes + source->at / 8;
    source->at += f32_bits(coding);
    if (sizes)
        sizes->values += f32_bits(coding);
    for (int32_t c = 0; c < coding->classes && row; c++) {
        uint32_t bits = ssld_get_u32(bytes + 4 * c);
        memcpy(&row[c], &bits, sizeof bits);
    }
    return !row || exponentiate(row, (size_t)coding->classes);
}

static bool f16_decode(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source, float *row,
                       struct ssld_record_sizes *sizes)
{
    (void)model;
    const uint8_t *bytes = source->bytes + source->at / 8;
    source->at += f16_bits(coding);
    if (sizes)
        sizes->values += f16_bits(coding);
    for (int32_t c = 0; c < coding->classes && row; c++)
        row[c] = (float)ssld_half_to(ssld_get_u16(bytes + 2 * c));
    return !row || exponentiate(row, (size_t)coding->classes);
}

static bool dense_moments(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source,
                          const float *row, float *mean, float *deviation)
{
    (void)model;
    (void)source;
    ssld_row_moments(row, coding->classes, mean, deviation);
    return true;
}

const struct ssld_codec ssld_codec_f32 = { .id = SSLD_CODEC_DENSE_F32, .columns = 4, .most_bits = f32_bits,
                                           .encode = f32_encode, .decode = f32_decode, .moments = dense_moments };
const struct ssld_codec ssld_codec_f16 = { .id = SSLD_CODEC_DENSE_F16, .columns = 2, .most_bits = f16_bits,
                                           .encode = f16_encode, .decode = f16_decode, .moments = dense_moments };

/* -- The table ---------------------------------------------------------------------------------------------------- */

static const struct ssld_codec *const codecs[] = { &ssld_codec_f32, &ssld_codec_f16, &ssld_codec_log8, &ssld_codec_topk };

const struct ssld_codec *ssld_codec_find(int32_t id)
{
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
        if (codecs[i]->id == id)
            return codecs[i];
    return NULL;
}

size_t ssld_codec_most_parsed(void)
{
    size_t most = 0;
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
        most = codecs[i]->parsed_bytes > most ? codecs[i]->parsed_bytes : most;
    return most;
}

/* -- Encoders ----------------------------------------------------------------------------------------------------- */

ssld_status ssld_encoder_make(ssld_context *context, const struct ssld_coding *coding, struct ssld_encoder *encoder)
{
    size_t classes = (size_t)coding->classes;
    size_t stride = (classes + SSLD_SHAPE_VECTOR - 1) / SSLD_SHAPE_VECTOR * SSLD_SHAPE_VECTOR;
    size_t floats = 4 * stride, numbers = 3 * (classes + 1);
    *encoder = (struct ssld_encoder){ .coding = *coding };
    float *memory = ssld_alloc_zero(context, floats + numbers, sizeof(float));
    if (!memory)
        return ssld_fail_memory(context, "coding labels", (floats + numbers) * sizeof(float));
    encoder->log_p = memory;
    encoder->shape = memory + stride;
    encoder->work = memory + 2 * stride;
    encoder->p = memory + 3 * stride;
    encoder->classes = (uint32_t *)(void *)(memory + 4 * stride);
    encoder->order = encoder->classes + classes + 1;
    encoder->levels = encoder->order + classes + 1;
    return SSLD_OK;
}

void ssld_encoder_free(ssld_context *context, struct ssld_encoder *encoder)
{
    ssld_free(context, encoder->log_p);
    *encoder = (struct ssld_encoder){ 0 };
}
