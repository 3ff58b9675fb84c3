/* SPDX-License-Identifier: BSD-2-Clause */
/* order.c - Fisher and Yates' shuffle with counted randomness. */
#include "data/order.h"

#include "core/philox.h"

#define CHUNK ((uint64_t)1 << 18) /* words in a stream */

/* For i = count - 1 down to 1: exchange i with a draw from 0 .. i. The k-th draw is the word k mod 2^18 of the stream
 * (seed, epoch, sub = k / 2^18, SSLD_PURPOSE_ORDER); the order is a contract, runs resume by it. */
void ssld_order_shuffle(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t *order)
{
    struct ssld_stream stream = { 0 };
    for (uint64_t i = 0; i < count; i++)
        order[i] = i;
    for (uint64_t draw = 0; draw + 1 < count; draw++) {
        uint64_t last = count - 1 - draw;
        if (draw % CHUNK == 0)
            stream = ssld_stream_start(seed, epoch, (uint32_t)(draw / CHUNK), SSLD_PURPOSE_ORDER);
        uint32_t other = ssld_stream_below(&stream, (uint32_t)(last + 1));
        uint64_t kept = order[last];
        order[last] = order[other];
        order[other] = kept;
    }
}
