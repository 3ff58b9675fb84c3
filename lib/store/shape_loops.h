/* SPDX-License-Identifier: BSD-2-Clause */
/* shape_loops.h - the loops of shape_values.c over vectors of one width. It is included once for each kind of processor, with
 *
 *   LOOP(name)   a function's name of that kind
 *   TARGET       the attribute that lets the compiler use its instructions
 *   WIDTH        bytes of a vector that fits a register: of larger ones the compiler keeps none there
 *   PAIRS        whether sums are of pairs of whole numbers; then only the weights of several records are made */

#define FLOATS (WIDTH / sizeof(float))
#define VECTOR LOOP(vector)
#define AT(from) (*(const VECTOR *)(const void *)(from))
#define TO(to) (*(VECTOR *)(void *)(to))

typedef float VECTOR __attribute__((vector_size(WIDTH), aligned(4), may_alias));

/* v = max(v, e)^4; by pointer, since how vectors are passed by value depends on the instruction set. */
TARGET static inline __attribute__((always_inline)) void LOOP(raise)(VECTOR *v)
{
    VECTOR root = *v;
    for (size_t i = 0; i < FLOATS; i++) /* the compiler makes it one instruction; of a mask it would make two */
        root[i] = root[i] > LEAST_ROOT ? root[i] : LEAST_ROOT;
    root *= root;
    *v = root * root;
}

#if !PAIRS

/* Values of the classes from c on, up to `end`, which is multiples of SSLD_SHAPE_VECTOR behind it. */
TARGET static void LOOP(values)(const struct ssld_model *model, const float *numbers, size_t c, size_t end, float *values)
{
    for (; c < end; c += 4 * FLOATS, values += 4 * FLOATS) {
        const float *row = model->rows + c;
        VECTOR a = AT(row), b = AT(row + FLOATS), d = AT(row + 2 * FLOATS), e = AT(row + 3 * FLOATS);
        for (int32_t j = 0; j < model->rank; j++) {
            row += model->stride;
            a += numbers[j] * AT(row);
            b += numbers[j] * AT(row + FLOATS);
            d += numbers[j] * AT(row + 2 * FLOATS);
            e += numbers[j] * AT(row + 3 * FLOATS);
        }
        TO(values) = a;
        TO(values + FLOATS) = b;
        TO(values + 2 * FLOATS) = d;
        TO(values + 3 * FLOATS) = e;
    }
}

TARGET static float LOOP(weights)(const struct ssld_model *model, const struct ssld_shape *shape, float *row)
{
    size_t classes = (size_t)model->classes;
    float lanes[SUMMED] = { 0 }, weights[SSLD_SHAPE_VECTOR];
    for (size_t c = 0; c < classes; c += SSLD_SHAPE_VECTOR) {
        size_t count = classes - c < SSLD_SHAPE_VECTOR ? classes - c : SSLD_SHAPE_VECTOR;
        LOOP(values)(model, shape->numbers, c, c + SSLD_SHAPE_VECTOR, weights);
        for (size_t i = 0; i < SSLD_SHAPE_VECTOR; i += FLOATS)
            LOOP(raise)(&TO(weights + i));
        memcpy(row + c, weights, count * sizeof *weights);
        memset(weights + count, 0, (SSLD_SHAPE_VECTOR - count) * sizeof *weights);
        for (size_t i = 0; i < SSLD_SHAPE_VECTOR; i += FLOATS)
            TO(lanes + i % SUMMED) += AT(weights + i);
    }
    return sum_of_lanes(lanes);
}

#endif

/* -- Several records together: two vectors of each at a time, so that what is loaded is multiplied more than once -------- */

#if PAIRS

/* A sum begins as the bits of model->zero + row_0, and whole numbers that are added to these are units added to the float that
 * they are. */
#define NUMBERS(i) \
    int32_t pairs##i[SSLD_MOST_RANK / 2]; \
    pair_numbers(model, shapes[i], pairs##i);
#define BEGIN(i) __m512i x##i = first, y##i = second;
#define ADD(i) \
    x##i = _mm512_dpwssd_epi32(x##i, first, _mm512_set1_epi32(pairs##i[j])); \
    y##i = _mm512_dpwssd_epi32(y##i, second, _mm512_set1_epi32(pairs##i[j]));
#define END(i) VECTOR a##i = (VECTOR)x##i - model->zero, b##i = (VECTOR)y##i - model->zero;
#define VALUES(c) \
    __m512i first = _mm512_loadu_si512(model->first + (c)), second = _mm512_loadu_si512(model->first + (c) + FLOATS); \
    EACH(BEGIN) \
    const int16_t *from = model->pairs + 2 * (c); \
    for (int32_t j = 0; j < (model->rank + 1) / 2; j++, from += 2 * model->stride) { \
        first = _mm512_loadu_si512(from); \
        second = _mm512_loadu_si512(from + 2 * FLOATS); \
        EACH(ADD) \
    } \
    EACH(END)

#else

#define NUMBERS(i) const float *numbers##i = shapes[i]->numbers;
#define BEGIN(i) VECTOR a##i = first, b##i = second;
#define ADD(i) \
    a##i += numbers##i[j] * first; \
    b##i += numbers##i[j] * second;
#define VALUES(c) \
    const float *from = model->rows + (c); \
    VECTOR first = AT(from), second = AT(from + FLOATS); \
    EACH(BEGIN) \
    for (int32_t j = 0; j < model->rank; j++) { \
        from += model->stride; \
        first = AT(from); \
        second = AT(from + FLOATS); \
        EACH(ADD) \
    }

#endif

/* Variables of each of the records: in arrays they would not stay in registers. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3)
#define LANES(i) float lanes##i[SUMMED] = { 0 };
#define RAISE(i) \
    LOOP(raise)(&a##i); \
    LOOP(raise)(&b##i);
#define PUT(i) \
    TO(rows[i] + c + part) = a##i; \
    TO(rows[i] + c + part + FLOATS) = b##i; \
    TO(lanes##i + part) += a##i; \
    TO(lanes##i + part + FLOATS) += b##i;
#define KEEP(i) \
    TO(rest[i] + part) = a##i; \
    TO(rest[i] + part + FLOATS) = b##i;
#define PUT_REST(i) \
    memcpy(rows[i] + c, rest[i], (classes - c) * sizeof(float)); \
    for (size_t k = 0; k < classes - c; k++) \
        lanes##i[k] += rest[i][k];
#define SUM(i) sums[i] = sum_of_lanes(lanes##i);

TARGET static void LOOP(weights_together)(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                          float *const rows[SSLD_SPREAD], float sums[SSLD_SPREAD])
{
    size_t classes = (size_t)model->classes, c = 0;
    float rest[SSLD_SPREAD][SUMMED];
    EACH(NUMBERS)
    EACH(LANES)
    for (; c + SUMMED <= classes; c += SUMMED)
        for (size_t part = 0; part < SUMMED; part += 2 * FLOATS) {
            VALUES(c + part)
            EACH(RAISE)
            EACH(PUT)
        }
    for (size_t part = 0; c < classes && part < SUMMED; part += 2 * FLOATS) {
        VALUES(c + part)
        EACH(RAISE)
        EACH(KEEP)
    }
    if (c < classes) {
        EACH(PUT_REST)
    }
    EACH(SUM)
}

#undef FLOATS
#undef VECTOR
#undef AT
#undef TO
#undef NUMBERS
#undef BEGIN
#undef ADD
#undef END
#undef VALUES
#undef EACH
#undef LANES
#undef RAISE
#undef PUT
#undef KEEP
#undef PUT_REST
#undef SUM
#undef LOOP
#undef TARGET
#undef WIDTH
#undef PAIRS
