/* SPDX-License-Identifier: BSD-2-Clause */
/* prefix.h - prefix codes of tokens: canonical Huffman codes of at most 10 bits, decoded by one look into a table.
 *
 * A code gives bits to the tokens that were met when it was made, and to the escape, which is followed by any token as 7
 * plain bits. Only a code's lengths are stored: half a byte a token. */
#ifndef SSLD_LIB_STORE_PREFIX_H
#define SSLD_LIB_STORE_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#define SSLD_TOKENS 128
#define SSLD_TOKEN_NUMBERS 96 /* tokens of numbers are below; see bits.h */
#define SSLD_TOKEN_ESCAPE 127
#define SSLD_PREFIX_LENGTH 10
#define SSLD_PREFIX_TABLE (1u << SSLD_PREFIX_LENGTH)
#define SSLD_PREFIX_BYTES (SSLD_TOKENS / 2)

struct ssld_prefix {
    uint8_t  lengths[SSLD_TOKENS]; /* 0: no code of its own */
    uint16_t codes[SSLD_TOKENS];   /* first bit lowest */
    uint16_t table[SSLD_PREFIX_TABLE]; /* of the next 10 bits: token | length << 8 */
};

/* The lengths of the best code for these counts; the escape counts 1 at least. */
void ssld_prefix_fit(const uint32_t counts[SSLD_TOKENS], uint8_t lengths[SSLD_TOKENS]);

/* Codes and table of lengths. False unless they are those of a complete code with an escape. */
bool ssld_prefix_make(const uint8_t lengths[SSLD_TOKENS], struct ssld_prefix *code);

void ssld_prefix_write(const uint8_t lengths[SSLD_TOKENS], uint8_t bytes[SSLD_PREFIX_BYTES]);
void ssld_prefix_read(const uint8_t bytes[SSLD_PREFIX_BYTES], uint8_t lengths[SSLD_TOKENS]);

#endif
