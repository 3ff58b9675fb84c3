/* SPDX-License-Identifier: BSD-2-Clause */
/* bytes.h - little-endian numbers in bytes, whatever the machine. */
#ifndef SSLD_LIB_STORE_BYTES_H
#define SSLD_LIB_STORE_BYTES_H

#include <stdint.h>

static inline uint16_t ssld_get_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t ssld_get_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Compilers make one load of it. */
static inline uint64_t ssld_get_u64(const uint8_t *bytes)
{
    return (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 | (uint64_t)bytes[3] << 24 |
           (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 | (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
}

static inline void ssld_put_u16(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

static inline void ssld_put_u32(uint8_t *bytes, uint32_t value)
{
    ssld_put_u16(bytes, value);
    ssld_put_u16(bytes + 2, value >> 16);
}

static inline void ssld_put_u64(uint8_t *bytes, uint64_t value)
{
    ssld_put_u32(bytes, (uint32_t)value);
    ssld_put_u32(bytes + 4, (uint32_t)(value >> 32));
}

#endif
