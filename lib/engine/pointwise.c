/* SPDX-License-Identifier: BSD-2-Clause */
/* pointwise.c - 1 x 1 convolution of bfloat16 on the processor's tiles.
 *
 * A tile is 16 rows of 64 bytes. TDPBF16PS adds to a tile of 16 x 16 floats the product of one of 16 rows of 16 pairs and one
 * of 16 pairs of rows: C(m, n) += sum over k of A(m, 2k) B(k, 2n) + A(m, 2k + 1) B(k, 2n + 1).
 *
 * See Intel, Architecture Instruction Set Extensions Programming Reference, AMX. */
#include "engine/pointwise.h"

#include "engine/lanes.h"

/* -- Bias --------------------------------------------------------------------------------------------------------- */

/* The sums of a block of channels over the positions of one image. */
MULTIVERSION static void add_positions(int64_t hw, const uint16_t *diff_dst, double *sums)
{
    lanes16 sum[MOST_UNIT] = { { 0 } }, x[MOST_UNIT];
    for (int64_t at = 0; at < hw; at += MOST_UNIT) {
        lanes_load(ELEMENT_BF16, diff_dst, at, at + MOST_UNIT <= hw ? MOST_UNIT : 1, x);
        for (int i = 0; i < MOST_UNIT; i++)
            sum[i] += x[i];
    }
    lanes_add_to_channels(ELEMENT_BF16, sum, sums);
}

void ssld_pointwise_backward_bias(const struct planes *dst, const void *diff_dst, bool add, float *diff_bias)
{
    int64_t hw = dst->h * dst->w;
#pragma omp parallel for
    for (int64_t block = 0; block < dst->blocks; block++) {
        double sums[LANES] = { 0 };
        for (int64_t n = 0; n < dst->n; n++)
            add_positions(hw, (const uint16_t *)diff_dst + (n * dst->blocks + block) * hw * LANES, sums);
        for (int64_t c = block * LANES; c < dst->channels && c < (block + 1) * LANES; c++)
            diff_bias[c] = add ? diff_bias[c] + (float)sums[c % LANES] : (float)sums[c % LANES];
    }
}

bool ssld_pointwise_rows_are_inputs(const struct planes *src, const struct planes *dst)
{
    return src->blocks <= dst->blocks; /* the tiles of rows cost more to pack */
}

#if defined(MULTIVERSION_X86) && defined(SSLD_TILES) && defined(__linux__)

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TARGET __attribute__((target("arch=x86-64-v4,avx512bf16")))
#define TARGET_INLINE TARGET static inline __attribute__((always_inline))
#define BLOCK 16
#define TILE_BYTES 1024

/* GCC's own do not say that they read and write memory. */
#define TILE_LOAD(tile, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((int64_t)(stride)) : "memory")
#define TILE_STORE(tile, to, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"((int64_t)(stride)) : "memory")
#define TILE_CLEAR(tile) __asm__ volatile("tilezero %tmm" #tile)
#define TILE_MULTIPLY(c, a, b) __asm__ volatile("tdpbf16ps %tmm" #b ", %tmm" #a ", %tmm" #c)

/* Four tiles of C (0 to 3), two of A (4, 5), two of B (6, 7). */
struct tile_shapes {
    uint8_t  palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
};

static void begin_tiles(int64_t rows, int64_t pairs)
{
    struct tile_shapes shapes = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        shapes.rows[i] = (uint8_t)(i < 6 ? rows : pairs);
        shapes.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? 4 * pairs : 64);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(shapes) : "memory");
}

static void end_tiles(void)
{
    __asm__ volatile("tilerelease");
}

bool ssld_pointwise_usable(void)
{
    enum { ARCH_GET_XCOMP_PERM = 0x1022, XFEATURE_XTILEDATA = 18 };
    uint64_t allowed = 0;
    return ssld_dnnl_has_tiles() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("x86-64-v4") &&
           !syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &allowed) && allowed >> XFEATURE_XTILEDATA & 1;
}

/* Positions as rows of a matrix, in elements: those of an image, or where there is one only, the images. */
struct matrix {
    int64_t images, rows;
    int64_t by_image, by_row, by_block;
    int64_t blocks;
};

static struct matrix matrix_of(const struct planes *planes)
{
    int64_t hw = planes->h * planes->w, image = planes->blocks * hw * BLOCK;
    return hw == 1 ? (struct matrix){ 1, planes->n, 0, image, BLOCK, planes->blocks }
                   : (struct matrix){ planes->n, hw, image, BLOCK, hw * BLOCK, planes->blocks };
}

/* -- Forward and backward data ------------------------------------------------------------------------------------ */

struct product {
    struct matrix   src, dst;
    const uint16_t *weights;
    int64_t         by_input, by_output;
    const float    *bias;
    const uint16_t *src_data;
    uint16_t       *dst_data;
    int64_t         height; /* rows of a tile */
};

/* A tile of sums, as bfloat16, to so many rows of dst. */
TARGET_INLINE void store_rows(const float *sums, const float *bias, int64_t rows, int64_t by_row, uint16_t *dst)
{
    __m512 add = bias ? _mm512_loadu_ps(bias) : _mm512_setzero_ps();
    int64_t row = 0;
    for (; row + 2 <= rows; row += 2) {
        __m512 even = _mm512_add_ps(_mm512_load_ps(sums + row * BLOCK), add);
        __m512 odd = _mm512_add_ps(_mm512_load_ps(sums + (row + 1) * BLOCK), add);
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
        _mm256_storeu_si256((__m256i *)(dst + row * by_row), _mm512_castsi512_si256(both));
        _mm256_storeu_si256((__m256i *)(dst + (row + 1) * by_row), _mm512_extracti64x4_epi64(both, 1));
    }
    if (row < rows)
        _mm256_storeu_si256((__m256i *)(dst + row * by_row),
                            (__m256i)_mm512_cvtneps_pbh(_mm512_add_ps(_mm512_load_ps(sums + row * BLOCK), add)));
}

/* Rows from first and from second on, of output blocks `output` and the next; `rows` and `outputs` say how many there are of
 * each, 1 or 2. */
TARGET_INLINE void product_tiles(const struct product *p, const uint16_t *src, uint16_t *dst, int64_t first, int64_t second,
                                 int64_t output, int rows, int outputs)
{
    float sums[4][BLOCK * BLOCK] __attribute__((aligned(64)));
    const uint16_t *a = src + first * p->src.by_row, *below = src + second * p->src.by_row;
    const uint16_t *b = p->weights + output * p->by_output, *beside = b + p->by_output;
    int64_t stride = p->src.by_row * 2;
    TILE_CLEAR(0);
    if (outputs > 1)
        TILE_CLEAR(1);
    if (rows > 1)
        TILE_CLEAR(2);
    if (rows > 1 && outputs > 1)
        TILE_CLEAR(3);
    for (int64_t block = 0; block < p->src.blocks; block++) {
        TILE_LOAD(4, a + block * p->src.by_block, stride);
        TILE_LOAD(6, b + block * p->by_input, 64);
        TILE_MULTIPLY(0, 4, 6);
        if (outputs > 1) {
            TILE_LOAD(7, beside + block * p->by_input, 64);
            TILE_MULTIPLY(1, 4, 7);
        }
        if (rows > 1) {
            TILE_LOAD(5, below + block * p->src.by_block, stride);
            TILE_MULTIPLY(2, 5, 6);
        }
        if (rows > 1 && outputs > 1)
            TILE_MULTIPLY(3, 5, 7);
    }
    TILE_STORE(0, sums[0], 64);
    if (outputs > 1)
        TILE_STORE(1, sums[1], 64);
    if (rows > 1)
        TILE_STORE(2, sums[2], 64);
    if (rows > 1 && outputs > 1)
        TILE_STORE(3, sums[3], 64);
    for (int row = 0; row < rows; row++)
        for (int o = 0; o < outputs; o++)
            store_rows(sums[2 * row + o], p->bias ? p->bias + (output + o) * BLOCK : NULL, p->height, p->dst.by_row,
                       dst + (output + o) * p->dst.by_block + (row ? second : first) * p->dst.by_row);
}

/* All outputs of the rows of one or two tiles. */
TARGET_INLINE void product_rows(const struct product *p, const uint16_t *src, uint16_t *dst, int64_t first, int64_t second,
                                int rows)
{
    int64_t output = 0;
    for (; output + 2 <= p->dst.blocks; output += 2)
        product_tiles(p, src, dst, first, second, output, rows, 2);
    if (output < p->dst.blocks)
        product_tiles(p, src, dst, first, second, output, rows, 1);
}

/* The last task of an image has what is left too, so that no two write the same rows. */
#define ROWS_OF_TASK 256

/* The last rows of an image are a tile that overlaps with the one before, and gives the same numbers again. */
TARGET static void product_task(const struct product *p, int64_t image, int64_t from, int64_t to)
{
    const uint16_t *src = p->src_data + image * p->src.by_image;
    uint16_t *dst = p->dst_data + image * p->dst.by_image;
    int64_t last = p->src.rows - p->height;
    begin_tiles(p->height, BLOCK / 2);
    for (int64_t row = from; row < to; row += 2 * p->height) {
        int64_t first = row < last ? row : last, second = row + p->height < last ? row + p->height : last;
        if (row + p->height < to)
            product_rows(p, src, dst, first, second, 2);
        else
            product_rows(p, src, dst, first, first, 1);
    }
    end_tiles();
}

void ssld_pointwise_multiply(const struct planes *src, const struct planes *dst, const uint16_t *weights, int64_t by_input,
                             int64_t by_output, const float *bias, const void *src_data, void *dst_data)
{
    struct product p = { matrix_of(src), matrix_of(dst), weights, by_input, by_output, bias, src_data, dst_data, BLOCK };
    if (p.src.rows < p.height)
        p.height = p.src.rows;
    int64_t pieces = p.src.rows < 2 * ROWS_OF_TASK ? 1 : p.src.rows / ROWS_OF_TASK;
#pragma omp parallel for
    for (int64_t task = 0; task < p.src.images * pieces; task++) {
        int64_t piece = task % pieces, from = piece * ROWS_OF_TASK;
        product_task(&p, task / pieces, from, piece + 1 < pieces ? from + ROWS_OF_TASK : p.src.rows);
    }
}

/* -- Backward weights --------------------------------------------------------------------------------------------- *
 *
 * The sum runs over positions, so these must stand in pairs: as rows of a tile B that is (16 pairs, 16 channels, 2), or in a
 * row of a tile A that is (16 channels, 16 pairs, 2). A round packs some positions of all channels of both operands into such
 * tiles, then multiplies each A with each B. */

#define STEP 32               /* positions of a tile */
#define ROUND_BYTES (512 << 10) /* packed tiles that stay in the second-level cache, with the weights' diff beside them */
#define MOST_ROUND_STEPS 32
#define LEAST_ROUND_STEPS 4

struct operand_rows {
    const uint16_t *data;
    int64_t         blocks, by_image, by_block;
    char           *packed; /* (blocks, steps of the round) tiles */
    bool            rows;   /* tiles are A's */
};

struct sums {
    struct operand_rows a, b;
    int64_t hw, positions;
    int64_t first, steps; /* of the round: its first position */
    int64_t by_a, by_b;   /* in diff_weights, from a tile to the next */
    bool    add;
    float  *diff_weights;
};

static int64_t steps_of_round(const struct planes *src, const struct planes *dst)
{
    int64_t steps = ROUND_BYTES / ((src->blocks + dst->blocks) * TILE_BYTES), all = (src->n * src->h * src->w + STEP - 1) / STEP;
    steps = steps < LEAST_ROUND_STEPS ? LEAST_ROUND_STEPS : steps > MOST_ROUND_STEPS ? MOST_ROUND_STEPS : steps;
    return steps < all ? steps : all;
}

size_t ssld_pointwise_room_bytes(const struct planes *src, const struct planes *dst)
{
    return (size_t)(steps_of_round(src, dst) * (src->blocks + dst->blocks)) * TILE_BYTES;
}

TARGET_INLINE __m512i two_positions(const uint16_t *one, const uint16_t *other)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)one)),
                              _mm256_loadu_si256((const __m256i *)other), 1);
}

/* Positions one behind the other need no list. */
#define AT(i) (at ? at[i] : (i) * BLOCK)
#define UNROLL _Pragma("GCC unroll 16")

/* Row k of the tile: channels 0 to 15 of positions 2 k and 2 k + 1 in turn. */
TARGET_INLINE void pack_pairs(const uint16_t *data, const int64_t *at, char *tile)
{
    static const uint16_t order[32] = { 0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };
    __m512i turn = _mm512_loadu_si512(order);
    UNROLL for (int k = 0; k < STEP; k += 2)
        _mm512_store_si512(tile + 32 * k, _mm512_permutexvar_epi16(turn, two_positions(data + AT(k), data + AT(k + 1))));
}

/* Row c of the tile: positions 0 to 31 of channel c. Words, pairs and fours of eight positions come together inside quarters
 * of vectors, which then are put in their order. */
TARGET_INLINE void pack_rows(const uint16_t *data, const int64_t *at, char *tile)
{
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    __m512i x[16], y[16];
    UNROLL for (int p = 0; p < 16; p++)
        x[p] = two_positions(data + AT(p), data + AT(p + 16));
    UNROLL for (int p = 0; p < 16; p += 2) { /* y: positions p and p + 1 of channels 0 to 3, of 4 to 7 */
        y[p] = _mm512_unpacklo_epi16(x[p], x[p + 1]);
        y[p + 1] = _mm512_unpackhi_epi16(x[p], x[p + 1]);
    }
    UNROLL for (int i = 0; i < 8; i++) { /* x: positions p to p + 3 of channels 0 and 1, 2 and 3, ... */
        int p = i / 2 * 4, half = i % 2;
        x[p + 2 * half] = _mm512_unpacklo_epi32(y[p + half], y[p + 2 + half]);
        x[p + 2 * half + 1] = _mm512_unpackhi_epi32(y[p + half], y[p + 2 + half]);
    }
    UNROLL for (int i = 0; i < 8; i++) { /* y: positions p to p + 7 of one channel */
        int p = i / 4 * 8, pair = i % 4;
        y[p + 2 * pair] = _mm512_unpacklo_epi64(x[p + pair], x[p + 4 + pair]);
        y[p + 2 * pair + 1] = _mm512_unpackhi_epi64(x[p + pair], x[p + 4 + pair]);
    }
    UNROLL for (int c = 0; c < 8; c++) {
        _mm512_store_si512(tile + 64 * c, _mm512_permutex2var_epi64(y[c], low, y[c + 8]));
        _mm512_store_si512(tile + 64 * (c + 8), _mm512_permutex2var_epi64(y[c], high, y[c + 8]));
    }
}

/* Where positions from `place` of an image on stand in the first block. */
static void find_positions(const struct operand_rows *operand, int64_t hw, int64_t image, int64_t place, int64_t *at)
{
    for (int64_t i = 0; i < STEP; i++) {
        at[i] = image * operand->by_image + place * BLOCK;
        if (++place == hw) {
            place = 0;
            image++;
        }
    }
}

/* The last positions of all, fewer than a tile has, and zeros behind them. */
static void copy_rest(const uint16_t *data, const int64_t *at, int64_t count, uint16_t *rest)
{
    memset(rest, 0, STEP * BLOCK * sizeof *rest);
    for (int64_t i = 0; i < count; i++)
        memcpy(rest + i * BLOCK, data + at[i], BLOCK * sizeof *rest);
}

/* A round of one block. `rows`: as tiles of A. */
TARGET_INLINE void pack_steps(const struct sums *s, const struct operand_rows *operand, int64_t block, bool rows)
{
    const uint16_t *data = operand->data + block * operand->by_block;
    for (int64_t step = 0; step < s->steps; step++) {
        uint16_t rest[STEP * BLOCK];
        int64_t list[STEP], first = s->first + step * STEP, image = first / s->hw, place = first % s->hw;
        const uint16_t *from = data + image * operand->by_image + place * BLOCK;
        char *tile = operand->packed + (block * s->steps + step) * TILE_BYTES;
        bool together = place + STEP <= s->hw;
        if (!together) {
            find_positions(operand, s->hw, image, place, list);
            from = data;
        }
        if (first + STEP > s->positions) {
            copy_rest(data, list, s->positions - first, rest);
            from = rest;
            together = true;
        }
        if (together && rows)
            pack_rows(from, NULL, tile);
        else if (together)
            pack_pairs(from, NULL, tile);
        else if (rows)
            pack_rows(from, list, tile);
        else
            pack_pairs(from, list, tile);
    }
}

TARGET static void pack_block(const struct sums *s, const struct operand_rows *operand, int64_t block)
{
    if (operand->rows)
        pack_steps(s, operand, block, true);
    else
        pack_steps(s, operand, block, false);
}

/* The product of A's blocks `a` and the next with B's `b` and the next; `as` and `bs` say how many there are. */
TARGET_INLINE void sum_tiles(const struct sums *s, int64_t a, int64_t b, int as, int bs)
{
    const char *left = s->a.packed + a * s->steps * TILE_BYTES, *below = left + s->steps * TILE_BYTES;
    const char *top = s->b.packed + b * s->steps * TILE_BYTES, *beside = top + s->steps * TILE_BYTES;
    float *c = s->diff_weights + a * s->by_a + b * s->by_b;
    if (s->add || s->first) {
        TILE_LOAD(0, c, 64);
        if (bs > 1)
            TILE_LOAD(1, c + s->by_b, 64);
        if (as > 1)
            TILE_LOAD(2, c + s->by_a, 64);
        if (as > 1 && bs > 1)
            TILE_LOAD(3, c + s->by_a + s->by_b, 64);
    } else {
        TILE_CLEAR(0);
        TILE_CLEAR(1);
        TILE_CLEAR(2);
        TILE_CLEAR(3);
    }
    for (int64_t at = 0; at < s->steps * TILE_BYTES; at += TILE_BYTES) {
        TILE_LOAD(4, left + at, 64);
        TILE_LOAD(6, top + at, 64);
        TILE_MULTIPLY(0, 4, 6);
        if (bs > 1) {
            TILE_LOAD(7, beside + at, 64);
            TILE_MULTIPLY(1, 4, 7);
        }
        if (as > 1) {
            TILE_LOAD(5, below + at, 64);
            TILE_MULTIPLY(2, 5, 6);
        }
        if (as > 1 && bs > 1)
            TILE_MULTIPLY(3, 5, 7);
    }
    TILE_STORE(0, c, 64);
    if (bs > 1)
        TILE_STORE(1, c + s->by_b, 64);
    if (as > 1)
        TILE_STORE(2, c + s->by_a, 64);
    if (as > 1 && bs > 1)
        TILE_STORE(3, c + s->by_a + s->by_b, 64);
}

TARGET_INLINE void sum_row(const struct sums *s, int64_t a, int as)
{
    int64_t b = 0;
    for (; b + 2 <= s->b.blocks; b += 2)
        sum_tiles(s, a, b, as, 2);
    if (b < s->b.blocks)
        sum_tiles(s, a, b, as, 1);
}

TARGET static void sum_task(const struct sums *s, int64_t a)
{
    begin_tiles(BLOCK, STEP / 2);
    if (a + 1 < s->a.blocks)
        sum_row(s, a, 2);
    else
        sum_row(s, a, 1);
    end_tiles();
}

static struct operand_rows operand_rows_of(const struct planes *planes, const void *data, char *packed, bool rows)
{
    int64_t hw = planes->h * planes->w;
    return (struct operand_rows){ data, planes->blocks, planes->blocks * hw * BLOCK, hw * BLOCK, packed, rows };
}

void ssld_pointwise_backward_weights(const struct planes *src, const struct planes *dst, const void *src_data,
                                     const void *diff_dst, char *room, bool add, float *diff_weights)
{
    bool inputs = ssld_pointwise_rows_are_inputs(src, dst);
    int64_t most = steps_of_round(src, dst), tile = BLOCK * BLOCK;
    struct operand_rows of_src = operand_rows_of(src, src_data, room, inputs);
    struct operand_rows of_dst = operand_rows_of(dst, diff_dst, room + most * src->blocks * TILE_BYTES, !inputs);
    struct sums s = { .a = inputs ? of_src : of_dst, .b = inputs ? of_dst : of_src, .hw = src->h * src->w,
                      .positions = src->n * src->h * src->w, .by_a = inputs ? tile : src->blocks * tile,
                      .by_b = inputs ? src->blocks * tile : tile, .add = add, .diff_weights = diff_weights };
    for (; s.first < s.positions; s.first += s.steps * STEP) {
        int64_t left = (s.positions - s.first + STEP - 1) / STEP;
        s.steps = left < most ? left : most;
#pragma omp parallel for
        for (int64_t block = 0; block < s.a.blocks + s.b.blocks; block++)
            pack_block(&s, block < s.a.blocks ? &s.a : &s.b, block < s.a.blocks ? block : block - s.a.blocks);
#pragma omp parallel for
        for (int64_t a = 0; a < s.a.blocks; a += 2)
            sum_task(&s, a);
    }
}

#else

bool ssld_pointwise_usable(void)
{
    return false;
}

void ssld_pointwise_multiply(const struct planes *src, const struct planes *dst, const uint16_t *weights, int64_t by_input,
                             int64_t by_output, const float *bias, const void *src_data, void *dst_data)
{
    (void)src, (void)dst, (void)weights, (void)by_input, (void)by_output, (void)bias, (void)src_data, (void)dst_data;
}

size_t ssld_pointwise_room_bytes(const struct planes *src, const struct planes *dst)
{
    (void)src, (void)dst;
    return 0;
}

void ssld_pointwise_backward_weights(const struct planes *src, const struct planes *dst, const void *src_data,
                                     const void *diff_dst, char *room, bool add, float *diff_weights)
{
    (void)src, (void)dst, (void)src_data, (void)diff_dst, (void)room, (void)add, (void)diff_weights;
}

#endif
