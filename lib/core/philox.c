/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/philox.h"

#include "core/multiversion.h"

#define ROUNDS 10
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0 0x9E3779B9u
#define WEYL_1 0xBB67AE85u

void ssld_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t product0 = (uint64_t)MULTIPLIER_0 * c0;
        uint64_t product1 = (uint64_t)MULTIPLIER_1 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

/* The same operations in the same order, thus the same bits, whatever the width of vectors. */
MULTIVERSION void ssld_philox_blocks(uint64_t first, uint32_t word2, uint32_t word3, const uint32_t key[2],
                                     uint32_t words[4][SSLD_PHILOX_BLOCKS])
{
    uint32_t k0 = key[0], k1 = key[1];
    for (int i = 0; i < SSLD_PHILOX_BLOCKS; i++) {
        words[0][i] = (uint32_t)(first + (uint64_t)i);
        words[1][i] = (uint32_t)((first + (uint64_t)i) >> 32);
        words[2][i] = word2;
        words[3][i] = word3;
    }
    for (int round = 0; round < ROUNDS; round++, k0 += WEYL_0, k1 += WEYL_1)
        for (int i = 0; i < SSLD_PHILOX_BLOCKS; i++) {
            uint64_t product0 = (uint64_t)MULTIPLIER_0 * words[0][i], product1 = (uint64_t)MULTIPLIER_1 * words[2][i];
            words[0][i] = (uint32_t)(product1 >> 32) ^ words[1][i] ^ k0;
            words[1][i] = (uint32_t)product1;
            words[2][i] = (uint32_t)(product0 >> 32) ^ words[3][i] ^ k1;
            words[3][i] = (uint32_t)product0;
        }
}

struct ssld_stream ssld_stream_start(uint64_t seed, uint64_t index, uint32_t sub, uint16_t purpose)
{
    struct ssld_stream stream = { .seed = seed, .index = index, .sub = sub, .purpose = purpose, .used = 4 };
    return stream;
}

uint32_t ssld_stream_word(struct ssld_stream *stream)
{
    if (stream->used == 4) {
        uint32_t counter[4] = { (uint32_t)stream->index, (uint32_t)(stream->index >> 32), stream->sub,
                                (uint32_t)stream->purpose << 16 | stream->block++ };
        uint32_t key[2] = { (uint32_t)stream->seed, (uint32_t)(stream->seed >> 32) };
        ssld_philox4x32(counter, key, stream->words);
        stream->used = 0;
    }
    return stream->words[stream->used++];
}

double ssld_stream_uniform(struct ssld_stream *stream)
{
    return ssld_stream_word(stream) * (1.0 / 4294967296.0);
}

uint32_t ssld_stream_below(struct ssld_stream *stream, uint32_t bound)
{
    return (uint32_t)((uint64_t)ssld_stream_word(stream) * bound >> 32);
}
