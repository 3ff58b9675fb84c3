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
#define SSLD_PREFIX_QUICK 256u
#define SSLD_PREFIX_BYTES (SSLD_TOKENS / 2)

struct ssld_prefix {
    uint8_t  lengths[SSLD_TOKENS]; /* 0: no code of its own */
    uint16_t codes[SSLD_TOKENS];   /* first bit lowest */
    uint16_t table[SSLD_PREFIX_TABLE]; /* by the next 10 bits: see SSLD_ENTRY */
    uint32_t group;                /* numbers, but for escaped ones, that SSLD_WINDOW_BITS hold whatever they are */
};

/* What a table holds of a token: bits of its code and behind it, the latter alone, and what is before those in the number it
 * begins; or that it begins none, as the escape. */
#define SSLD_ENTRY(length, extra, high) (((length) + (extra)) | (extra) << 6 | (high) << 11)
#define SSLD_ENTRY_BITS(entry) ((entry) & 63)
#define SSLD_ENTRY_EXTRA(entry) ((entry) >> 6 & 31)
#define SSLD_ENTRY_HIGH(entry) ((entry) >> 11)
#define SSLD_ENTRY_SPECIAL (1u << 15) /* of these and above */
#define SSLD_ENTRY_ESCAPE (1u << 14)

#define SSLD_WINDOW_BITS 57 /* of a stream that are at hand after one load: 64, less up to 7 of the byte it begins in */

/* The lengths of the best code for these counts; the escape counts 1 at least. */
void ssld_prefix_fit(const uint32_t counts[SSLD_TOKENS], uint8_t lengths[SSLD_TOKENS]);

/* Codes and table of lengths. False unless they are those of a complete code with an escape. */
bool ssld_prefix_make(const uint8_t lengths[SSLD_TOKENS], struct ssld_prefix *code);

/* A table by the next 8 bits only, which stays in the first cache beside a model's rows, and from which a number takes the fewest
 * instructions: all its bits in the lowest byte; in the next one those of its code, which is before the others; and what is to be
 * added to these. 0 where the code is longer, the token begins no number, or that does not fit: see ssld_get_special(). */
void ssld_prefix_make_quick(const struct ssld_prefix *code, uint32_t quick[SSLD_PREFIX_QUICK]);
#define SSLD_QUICK_ENTRY(bits, code, from) ((bits) | (code) << 8 | (from) << 16)
#define SSLD_QUICK_BITS(entry) ((entry) & 255)
#define SSLD_QUICK_CODE(entry) ((entry) >> 8 & 255)
#define SSLD_QUICK_FROM(entry) ((entry) >> 16)

void ssld_prefix_write(const uint8_t lengths[SSLD_TOKENS], uint8_t bytes[SSLD_PREFIX_BYTES]);
void ssld_prefix_read(const uint8_t bytes[SSLD_PREFIX_BYTES], uint8_t lengths[SSLD_TOKENS]);

#endif
