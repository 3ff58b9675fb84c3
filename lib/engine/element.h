/* SPDX-License-Identifier: BSD-2-Clause */
/* element.h - numbers of activations in memory: single precision or bfloat16, computed with in single precision either way.
 *
 * A loop written with element_load() and element_store() and a constant TYPE from WITH_TYPE() becomes a vector loop of its
 * own for each type. */
#ifndef SSLD_LIB_ENGINE_ELEMENT_H
#define SSLD_LIB_ENGINE_ELEMENT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/multiversion.h"


enum element_type { ELEMENT_F32, ELEMENT_BF16 };

/* CALL with TYPE and the block width B constants: bfloat16 comes in blocks of 16 only. */
#define WITH_LAYOUT(type, b, CALL)         \
    do {                                   \
        if ((type) == ELEMENT_BF16) {      \
            enum { TYPE = ELEMENT_BF16 };  \
            enum { B = 16 };               \
            CALL;                          \
        } else {                           \
            enum { TYPE = ELEMENT_F32 };   \
            WITH_BLOCK(b, CALL);           \
        }                                  \
    } while (0)

/* CALL with TYPE a constant. */
#define WITH_TYPE(type, CALL)            \
    do {                                 \
        if ((type) == ELEMENT_BF16) {    \
            enum { TYPE = ELEMENT_BF16 }; \
            CALL;                        \
        } else {                         \
            enum { TYPE = ELEMENT_F32 }; \
            CALL;                        \
        }                                \
    } while (0)

ALWAYS_INLINE size_t element_size(int32_t type)
{
    return type == ELEMENT_BF16 ? 2 : 4;
}

/* The address of element i. */
ALWAYS_INLINE void *element_at(int32_t type, void *data, int64_t i)
{
    return (char *)data + i * (int64_t)element_size(type);
}

ALWAYS_INLINE const void *element_at_const(int32_t type, const void *data, int64_t i)
{
    return (const char *)data + i * (int64_t)element_size(type);
}

ALWAYS_INLINE float bf16_to_float(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest, ties to even. NaN stays NaN as long as it is not one of those with all ones in its lower half, which no
 * arithmetic makes: pixels, which come from outside, go through bf16_of_any(). */
ALWAYS_INLINE uint16_t bf16_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

ALWAYS_INLINE uint16_t bf16_of_any(float value)
{
    return value == value ? bf16_of_float(value) : 0x7FC0;
}

ALWAYS_INLINE float element_load(int32_t type, const void *data, int64_t i)
{
    return type == ELEMENT_BF16 ? bf16_to_float(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

ALWAYS_INLINE void element_store(int32_t type, void *data, int64_t i, float value)
{
    if (type == ELEMENT_BF16)
        ((uint16_t *)data)[i] = bf16_of_float(value);
    else
        ((float *)data)[i] = value;
}

/* bfloat16 numbers to single precision, on one thread. */
void ssld_widen(int64_t count, const uint16_t *src, float *dst);

#endif
