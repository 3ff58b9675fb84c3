/* SPDX-License-Identifier: BSD-2-Clause */
/* prefix.c - making prefix codes from counts and from stored lengths. */
#include "store/prefix.h"

#include <string.h>

#include "store/bits.h"

#define TOKEN_BITS 7                /* of a token behind the escape */
#define NOWHERE (UINT32_C(1) << 31) /* bits that no payload has: SSLD_FORMAT_BLOCK_BYTES is 2^26 */

/* Huffman's algorithm by looking for the two least of at most 128 weights each time; ties go to the lower number, so that
 * every machine makes the same code. Returns the longest code's length. */
static unsigned huffman(const uint64_t *weights, uint8_t *lengths)
{
    uint64_t weight[2 * SSLD_TOKENS];
    int parent[2 * SSLD_TOKENS], nodes = SSLD_TOKENS, alive = 0;
    bool joined[2 * SSLD_TOKENS] = { false };
    for (int i = 0; i < SSLD_TOKENS; i++) {
        weight[i] = weights[i];
        parent[i] = -1;
        alive += weights[i] != 0;
    }
    for (; alive > 1; alive--, nodes++) {
        int least[2] = { -1, -1 };
        for (int pick = 0; pick < 2; pick++) {
            for (int i = 0; i < nodes; i++)
                if (weight[i] && !joined[i] && (least[pick] < 0 || weight[i] < weight[least[pick]]))
                    least[pick] = i;
            joined[least[pick]] = true;
            parent[least[pick]] = nodes;
        }
        weight[nodes] = weight[least[0]] + weight[least[1]];
        parent[nodes] = -1;
    }
    unsigned longest = 0;
    for (int i = 0; i < SSLD_TOKENS; i++) {
        unsigned length = 0;
        for (int node = parent[i]; weights[i] && node >= 0; node = parent[node])
            length++;
        lengths[i] = (uint8_t)length;
        longest = length > longest ? length : longest;
    }
    return longest;
}

void ssld_prefix_fit(const uint32_t counts[SSLD_TOKENS], uint8_t lengths[SSLD_TOKENS])
{
    uint64_t weights[SSLD_TOKENS];
    int met = 0;
    for (int i = 0; i < SSLD_TOKENS; i++) {
        weights[i] = counts[i];
        met += counts[i] != 0;
    }
    weights[SSLD_TOKEN_ESCAPE] += weights[SSLD_TOKEN_ESCAPE] == 0;
    if (!met)
        weights[0] = 1; /* two codes at least, or the only one would have no bits */
    /* Codes that come out too long: make the weights more alike until they do not. */
    while (huffman(weights, lengths) > SSLD_PREFIX_LENGTH)
        for (int i = 0; i < SSLD_TOKENS; i++)
            weights[i] = weights[i] ? weights[i] / 2 + 1 : 0;
}

static uint16_t reversed(unsigned code, unsigned length)
{
    unsigned result = 0;
    for (unsigned i = 0; i < length; i++)
        result |= (code >> i & 1) << (length - 1 - i);
    return (uint16_t)result;
}

static unsigned extra_bits(unsigned token)
{
    return token < 16 || token >= SSLD_TOKEN_NUMBERS ? 0 : (token - 16) / 4 + 2;
}

static unsigned entry_of(unsigned token, unsigned length)
{
    if (token >= SSLD_TOKEN_NUMBERS)
        return length | SSLD_ENTRY_SPECIAL | (token == SSLD_TOKEN_ESCAPE ? SSLD_ENTRY_ESCAPE : 0);
    return SSLD_ENTRY(length, extra_bits(token), token < 16 ? token : 4 + (token - 16) % 4);
}

bool ssld_prefix_make(const uint8_t lengths[SSLD_TOKENS], struct ssld_prefix *code)
{
    unsigned next = 0, space = 0, most = 1;
    for (unsigned i = 0; i < SSLD_TOKENS; i++) {
        if (lengths[i] > SSLD_PREFIX_LENGTH)
            return false;
        space += lengths[i] ? SSLD_PREFIX_TABLE >> lengths[i] : 0;
        most = lengths[i] && lengths[i] + extra_bits(i) > most ? lengths[i] + extra_bits(i) : most;
    }
    if (space != SSLD_PREFIX_TABLE || !lengths[SSLD_TOKEN_ESCAPE])
        return false;
    code->group = SSLD_WINDOW_BITS / most;
    memcpy(code->lengths, lengths, SSLD_TOKENS);
    memset(code->codes, 0, sizeof code->codes);
    /* Canonical: shorter codes first, of equal lengths the lower token first. */
    for (unsigned length = 1; length <= SSLD_PREFIX_LENGTH; length++, next <<= 1)
        for (unsigned token = 0; token < SSLD_TOKENS; token++) {
            if (lengths[token] != length)
                continue;
            uint16_t bits = reversed(next++, length);
            code->codes[token] = bits;
            for (unsigned rest = 0; rest < SSLD_PREFIX_TABLE >> length; rest++)
                code->table[bits | rest << length] = (uint16_t)entry_of(token, length);
        }
    return true;
}

void ssld_prefix_make_quick(const struct ssld_prefix *code, uint32_t quick[SSLD_PREFIX_QUICK])
{
    for (unsigned i = 0; i < SSLD_PREFIX_QUICK; i++) {
        unsigned entry = code->table[i], bits = SSLD_ENTRY_BITS(entry), extra = SSLD_ENTRY_EXTRA(entry);
        uint32_t from = SSLD_ENTRY_HIGH(entry) << extra;
        bool fits = entry < SSLD_ENTRY_SPECIAL && SSLD_PREFIX_QUICK >> (bits - extra) && from <= UINT16_MAX;
        quick[i] = fits ? SSLD_QUICK_ENTRY(bits, bits - extra, from) : 0;
    }
}

struct ssld_special ssld_get_special(const struct ssld_source *source, uint64_t at, const struct ssld_prefix *code)
{
    struct ssld_window window = { source, at, 0 };
    ssld_window_fill(&window);
    unsigned entry = code->table[window.bits & (SSLD_PREFIX_TABLE - 1)], length = 0;
    if (entry >= SSLD_ENTRY_SPECIAL) {
        length = SSLD_ENTRY_BITS(entry);
        ssld_window_pass(&window, length);
        uint32_t token = window.bits & (SSLD_TOKENS - 1);
        if (!(entry & SSLD_ENTRY_ESCAPE) || token >= SSLD_TOKEN_NUMBERS)
            return (struct ssld_special){ 0, NOWHERE };
        entry = entry_of(token, TOKEN_BITS);
    }
    return (struct ssld_special){ ssld_entry_number(entry, window.bits), length + SSLD_ENTRY_BITS(entry) };
}

void ssld_prefix_write(const uint8_t lengths[SSLD_TOKENS], uint8_t bytes[SSLD_PREFIX_BYTES])
{
    for (int i = 0; i < SSLD_PREFIX_BYTES; i++)
        bytes[i] = (uint8_t)(lengths[2 * i] | lengths[2 * i + 1] << 4);
}

void ssld_prefix_read(const uint8_t bytes[SSLD_PREFIX_BYTES], uint8_t lengths[SSLD_TOKENS])
{
    for (int i = 0; i < SSLD_PREFIX_BYTES; i++) {
        lengths[2 * i] = bytes[i] & 15;
        lengths[2 * i + 1] = bytes[i] >> 4;
    }
}
