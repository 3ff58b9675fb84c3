/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory plan: what lives at the same time never shares memory, and memory is shared where it can be. */
#include "test.h"

#include "core/philox.h"
#include "engine/plan.h"

#define MOST 200

static void check_apart(const struct lifetime *blocks, int32_t count, size_t size)
{
    for (int32_t a = 0; a < count; a++) {
        CHECK(blocks[a].offset % 64 == 0 && blocks[a].offset + blocks[a].bytes <= size, "block %d at %zu + %zu of %zu", a,
              blocks[a].offset, blocks[a].bytes, size);
        for (int32_t b = 0; b < a; b++) {
            bool same_time = blocks[a].first <= blocks[b].last && blocks[b].first <= blocks[a].last;
            bool same_place = blocks[a].offset < blocks[b].offset + blocks[b].bytes &&
                              blocks[b].offset < blocks[a].offset + blocks[a].bytes;
            CHECK(!same_time || !same_place, "blocks %d and %d overlap", a, b);
        }
    }
}

TEST(blocks_that_live_together_stand_apart)
{
    struct lifetime blocks[MOST];
    int32_t order[MOST];
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct ssld_stream draws = ssld_stream_start(seed, 0, 0, 0);
        int32_t count = 1 + (int32_t)ssld_stream_below(&draws, MOST);
        for (int32_t i = 0; i < count; i++) {
            int32_t first = (int32_t)ssld_stream_below(&draws, 100);
            blocks[i] = (struct lifetime){ .bytes = ssld_stream_below(&draws, 5000), .first = first,
                                           .last = first + (int32_t)ssld_stream_below(&draws, 30) };
        }
        size_t size = ssld_arena_place(blocks, count, order);
        check_apart(blocks, count, size);
    }
}

TEST(a_chain_needs_two_blocks)
{
    struct lifetime blocks[10];
    int32_t order[10];
    for (int32_t i = 0; i < 10; i++)
        blocks[i] = (struct lifetime){ .bytes = 1000, .first = i, .last = i + 1 };
    size_t size = ssld_arena_place(blocks, 10, order);
    CHECK(size == 2 * 1024, "%zu bytes", size);
}

TEST(block_that_nobody_wants_takes_nothing)
{
    struct lifetime blocks[2] = { { .bytes = 0, .first = 0, .last = 9 }, { .bytes = 64, .first = 0, .last = 9 } };
    int32_t order[2];
    size_t size = ssld_arena_place(blocks, 2, order);
    CHECK(size == 64 && blocks[1].offset == 0, "%zu bytes", size);
}

TEST_MAIN(TEST_ROW(blocks_that_live_together_stand_apart), TEST_ROW(a_chain_needs_two_blocks),
          TEST_ROW(block_that_nobody_wants_takes_nothing))
