/* SPDX-License-Identifier: BSD-2-Clause */
/* philox.h - counter-based randomness: a draw is a pure function of what it is for.
 *
 * Philox4x32-10: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef SSLD_LIB_CORE_PHILOX_H
#define SSLD_LIB_CORE_PHILOX_H

#include "ssld/view.h" /* ssld_philox4x32() */

/* What a stream of draws is for. The seed is the key; the rest fills the counter's 128 bits:
 * word 0, 1: index (low, high)   word 2: sub   word 3: purpose (high 16 bits), draw block (low 16 bits). */
struct ssld_stream {
    uint64_t seed;
    uint64_t index;   /* sample id, parameter, epoch ... */
    uint32_t sub;     /* view number, step ... */
    uint16_t purpose; /* operation's position in a view spec, or an SSLD_PURPOSE_x */
    uint16_t block;   /* counts blocks of four words: 2^18 words, then it wraps; longer streams change sub */
    uint32_t words[4];
    int32_t  used;    /* words taken of the block; 4: none is made yet */
};

/* Purposes outside view specs, which use 0 to 255. */
#define SSLD_PURPOSE_ORDER 0x100   /* permutation of an epoch */
#define SSLD_PURPOSE_WEIGHTS 0x101 /* initial weights */
#define SSLD_PURPOSE_DROPOUT 0x102

/* Many blocks at once, for filling arrays: word w of block i is words[w][i], that of ssld_philox4x32() with the counter
 * { low and high half of first + i, word2, word3 }. A round of all blocks after another, so that it becomes vectors. */
#define SSLD_PHILOX_BLOCKS 64 /* their words, and numbers made of them, stay in the first-level cache */
void ssld_philox_blocks(uint64_t first, uint32_t word2, uint32_t word3, const uint32_t key[2],
                        uint32_t words[4][SSLD_PHILOX_BLOCKS]);

struct ssld_stream ssld_stream_start(uint64_t seed, uint64_t index, uint32_t sub, uint16_t purpose);
uint32_t ssld_stream_word(struct ssld_stream *stream);
/* [0, 1) with 32 bits: word / 2^32. */
double ssld_stream_uniform(struct ssld_stream *stream);
/* 0 .. bound - 1: the high word of word * bound. */
uint32_t ssld_stream_below(struct ssld_stream *stream, uint32_t bound);

#endif
