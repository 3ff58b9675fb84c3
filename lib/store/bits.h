/* SPDX-License-Identifier: BSD-2-Clause */
/* bits.h - strings of bits, lowest first, and whole numbers as tokens of a prefix code.
 *
 *   number v      token                                    bits behind the token's code
 *   0 .. 15       v                                        none
 *   16 ..         16 + 4 (n - 4) + (v >> (n - 2) & 3)      the n - 2 lowest bits of v, n = floor(log2 v) */
#ifndef SSLD_LIB_STORE_BITS_H
#define SSLD_LIB_STORE_BITS_H

#include "core/multiversion.h"
#include "store/bytes.h"
#include "store/prefix.h"

#define SSLD_NUMBER_MOST (UINT32_C(1) << 24) /* numbers are below: 2^24 classes */

/* -- Writing ------------------------------------------------------------------------------------------------------ */

/* Where numbers go: into bits with `codes`, or, while a model is fitted, into a histogram of tokens a context. */
struct ssld_sink {
    const struct ssld_prefix *codes;   /* NULL while counting */
    uint32_t (*counts)[SSLD_TOKENS];   /* NULL while writing */
    uint8_t                  *bytes;   /* room for what a codec says a record needs at most, and 8 more */
    uint64_t                  bits;    /* written so far */
};

static inline void ssld_put_bits(struct ssld_sink *sink, uint64_t value, unsigned count)
{
    if (sink->bytes) {
        uint8_t *at = sink->bytes + sink->bits / 8;
        ssld_put_u64(at, (ssld_get_u64(at) & ((UINT64_C(1) << sink->bits % 8) - 1)) | value << sink->bits % 8);
    }
    sink->bits += count;
}

static inline uint32_t ssld_token_of(uint32_t value, unsigned *extra)
{
    *extra = 0;
    if (value < 16)
        return value;
    unsigned n = 31 - (unsigned)__builtin_clz(value);
    *extra = n - 2;
    return 16 + 4 * (n - 4) + (value >> (n - 2) & 3);
}

static inline void ssld_put_number(struct ssld_sink *sink, unsigned context, uint32_t value)
{
    unsigned extra;
    uint32_t token = ssld_token_of(value, &extra);
    if (sink->counts) {
        sink->counts[context][token]++;
        return;
    }
    const struct ssld_prefix *code = &sink->codes[context];
    if (code->lengths[token])
        ssld_put_bits(sink, code->codes[token], code->lengths[token]);
    else /* a token that was not met while the model was fitted */
        ssld_put_bits(sink, code->codes[SSLD_TOKEN_ESCAPE] | (uint64_t)token << code->lengths[SSLD_TOKEN_ESCAPE],
                      code->lengths[SSLD_TOKEN_ESCAPE] + 7u);
    if (extra)
        ssld_put_bits(sink, value & ((UINT32_C(1) << extra) - 1), extra);
}

/* 0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ... */
static inline uint32_t ssld_zigzag(int32_t value)
{
    return value < 0 ? 2 * (uint32_t)-(value + 1) + 1 : 2 * (uint32_t)value;
}

static inline int32_t ssld_unzigzag(uint32_t value)
{
    return (int32_t)(value >> 1 ^ (0 - (value & 1))); /* no jump: signs cannot be foretold */
}

/* -- Reading ------------------------------------------------------------------------------------------------------ */

/* A place in a payload. `last` is the last byte from which 8 may be read: places behind it read from there, and whoever
 * reads finds in the end that `at` is behind `end`. */
struct ssld_source {
    const uint8_t *bytes;
    uint64_t       at, end; /* bits */
    uint64_t       last;
    uint32_t       lane;    /* of a payload's: which of the unpacker's places its end is remembered in */
};

static inline uint64_t ssld_peek_bits(const struct ssld_source *source)
{
    uint64_t byte = source->at / 8;
    return ssld_get_u64(source->bytes + (byte < source->last ? byte : source->last)) >> source->at % 8;
}

static inline uint32_t ssld_get_bits(struct ssld_source *source, unsigned count)
{
    uint64_t bits = ssld_peek_bits(source);
    source->at += count;
    return (uint32_t)(bits & ((UINT64_C(1) << count) - 1));
}

/* The next bits of a source in a register, for numbers one behind the other. Whoever takes them says when to load more, after as
 * many numbers as are sure to be there (the codes' group): to ask before each one costs a jump that cannot be foretold. */
struct ssld_window {
    const struct ssld_source *source;
    uint64_t                  at, bits;
};

ALWAYS_INLINE struct ssld_window ssld_window_open(const struct ssld_source *source)
{
    return (struct ssld_window){ source, source->at, 0 };
}

/* SSLD_WINDOW_BITS are there then. */
ALWAYS_INLINE void ssld_window_fill(struct ssld_window *window)
{
    uint64_t byte = window->at / 8, last = window->source->last;
    window->bits = ssld_get_u64(window->source->bytes + (byte < last ? byte : last)) >> window->at % 8;
}

ALWAYS_INLINE void ssld_window_pass(struct ssld_window *window, unsigned count)
{
    window->bits >>= count;
    window->at += count;
}

/* The number of an entry that begins one, with the next bits of the stream. */
ALWAYS_INLINE uint32_t ssld_entry_number(unsigned entry, uint64_t bits)
{
    unsigned extra = SSLD_ENTRY_EXTRA(entry);
    uint32_t behind = (uint32_t)(bits >> (SSLD_ENTRY_BITS(entry) - extra)) & ((UINT32_C(1) << extra) - 1);
    return SSLD_ENTRY_HIGH(entry) << extra | behind;
}

struct ssld_special {
    uint32_t number;
    uint32_t bits; /* that it takes; where none begins, more than any source has */
};

/* Any number of those at bit `at`: with a long code, or whose token is the escape, or none. */
struct ssld_special ssld_get_special(const struct ssld_source *source, uint64_t at, const struct ssld_prefix *code);

/* A number, however it is coded; SSLD_WINDOW_BITS are there behind it. A window's address is not given away here, or it would not
 * be kept in registers. */
ALWAYS_INLINE uint32_t ssld_get_number(struct ssld_window *window, const struct ssld_prefix *code)
{
    struct ssld_special found = ssld_get_special(window->source, window->at, code);
    window->at += found.bits;
    ssld_window_fill(window);
    return found.number;
}

#endif
