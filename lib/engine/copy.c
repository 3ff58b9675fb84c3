/* SPDX-License-Identifier: BSD-2-Clause */
/* copy.c - numbers from one view to another: whole runs where both lie close, square tiles where they lie across each other. */
#include "engine/kernels.h"
#include "engine/view.h"

#define TILE 16 /* numbers each way */

enum inner { INNER_RUN, INNER_TILES, INNER_LINE };

struct copy {
    struct walk walk; /* the kernel's loops last: one, or two of which the first runs along src */
    enum inner  inner;
    int32_t     src_type, dst_type;
    const void *src;
    void       *dst;
};

/* -- Kernels ------------------------------------------------------------------------------------------------------ */

/* dst (a, b) with rows dst_step apart = src (b, a) with rows src_step apart, transposed. */
#define TRANSPOSE_TILES(name, type)                                                                                   \
    ALWAYS_INLINE void name##_edge(int64_t a, int64_t b, const type *src, int64_t src_step, type *dst, int64_t dst_step) \
    {                                                                                                                 \
        for (int64_t i = 0; i < a; i++)                                                                               \
            for (int64_t k = 0; k < b; k++)                                                                           \
                dst[i * dst_step + k] = src[k * src_step + i];                                                        \
    }                                                                                                                 \
    ALWAYS_INLINE void name##_tile(const type *src, int64_t src_step, type *dst, int64_t dst_step)                    \
    {                                                                                                                 \
        type rows[TILE][TILE];                                                                                        \
        for (int64_t k = 0; k < TILE; k++)                                                                            \
            memcpy(rows[k], src + k * src_step, sizeof rows[k]);                                                      \
        for (int64_t i = 0; i < TILE; i++)                                                                            \
            for (int64_t k = 0; k < TILE; k++)                                                                        \
                dst[i * dst_step + k] = rows[k][i];                                                                   \
    }                                                                                                                 \
    MULTIVERSION static void name(int64_t a, int64_t b, const type *src, int64_t src_step, type *dst, int64_t dst_step) \
    {                                                                                                                 \
        for (int64_t i = 0; i < a; i += TILE)                                                                         \
            for (int64_t k = 0; k < b; k += TILE) {                                                                   \
                const type *from = src + k * src_step + i;                                                            \
                type *to = dst + i * dst_step + k;                                                                    \
                if (a - i >= TILE && b - k >= TILE)                                                                   \
                    name##_tile(from, src_step, to, dst_step);                                                        \
                else                                                                                                  \
                    name##_edge(a - i < TILE ? a - i : TILE, b - k < TILE ? b - k : TILE, from, src_step, to, dst_step); \
            }                                                                                                         \
    }

TRANSPOSE_TILES(transpose_words, uint32_t)
TRANSPOSE_TILES(transpose_halves, uint16_t)

ALWAYS_INLINE void line_loop(int64_t count, int32_t src_type, const void *src, int64_t src_step, int32_t dst_type,
                             void *dst, int64_t dst_step)
{
    for (int64_t i = 0; i < count; i++)
        element_store(dst_type, dst, i * dst_step, element_load(src_type, src, i * src_step));
}

MULTIVERSION static void copy_line(int64_t count, int32_t src_type, const void *src, int64_t src_step, int32_t dst_type,
                                   void *dst, int64_t dst_step)
{
    if (src_type == dst_type)
        WITH_TYPE(src_type, line_loop(count, TYPE, src, src_step, TYPE, dst, dst_step));
    else if (src_type == ELEMENT_F32)
        line_loop(count, ELEMENT_F32, src, src_step, ELEMENT_BF16, dst, dst_step);
    else
        line_loop(count, ELEMENT_BF16, src, src_step, ELEMENT_F32, dst, dst_step);
}

/* -- Loops -------------------------------------------------------------------------------------------------------- */

static void move_loop_behind(struct walk *walk, int32_t from, int32_t to)
{
    int64_t size = walk->sizes[from], dst = walk->steps[0][from], src = walk->steps[1][from];
    for (int32_t i = from; i < to; i++) {
        walk->sizes[i] = walk->sizes[i + 1];
        walk->steps[0][i] = walk->steps[0][i + 1];
        walk->steps[1][i] = walk->steps[1][i + 1];
    }
    walk->sizes[to] = size;
    walk->steps[0][to] = dst;
    walk->steps[1][to] = src;
}

static struct copy copy_start(const struct walk *walk, int32_t src_type, int32_t dst_type)
{
    struct copy copy = { .walk = *walk, .inner = INNER_LINE, .src_type = src_type, .dst_type = dst_type };
    struct walk *w = &copy.walk;
    int32_t last = w->ndims - 1;
    if (src_type != dst_type || w->steps[0][last] != 1)
        return copy;
    if (w->steps[1][last] == 1) {
        copy.inner = INNER_RUN;
        return copy;
    }
    for (int32_t i = 0; i < last; i++)
        if (w->steps[1][i] == 1 && w->sizes[i] > 2) {
            move_loop_behind(w, i, last - 1);
            copy.inner = INNER_TILES;
            break;
        }
    return copy;
}

/* `count` iterations of the first loop of the kernel's. */
static void copy_inner(const struct copy *copy, int64_t count, const void *src, void *dst)
{
    const struct walk *w = &copy->walk;
    int32_t last = w->ndims - 1;
    size_t size = element_size(copy->dst_type);
    if (copy->inner == INNER_RUN)
        memcpy(dst, src, (size_t)count * size);
    else if (copy->inner == INNER_LINE)
        copy_line(count, copy->src_type, src, w->steps[1][last], copy->dst_type, dst, w->steps[0][last]);
    else if (size == sizeof(uint32_t))
        transpose_words(count, w->sizes[last], src, w->steps[1][last], dst, w->steps[0][last - 1]);
    else
        transpose_halves(count, w->sizes[last], src, w->steps[1][last], dst, w->steps[0][last - 1]);
}

static void copy_body(const void *context, const int64_t *offsets, int64_t count)
{
    const struct copy *copy = context;
    copy_inner(copy, count, element_at_const(copy->src_type, copy->src, offsets[1]),
               element_at(copy->dst_type, copy->dst, offsets[0]));
}

void ssld_walk_copy(const struct walk *walk, int64_t images, int32_t src_type, const void *src, int32_t dst_type, void *dst)
{
    struct copy copy = copy_start(walk, src_type, dst_type);
    copy.src = src;
    copy.dst = dst;
    ssld_walk_run(&copy.walk, images, copy.inner == INNER_TILES ? 2 : 1, copy_body, &copy);
}
