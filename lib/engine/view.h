/* SPDX-License-Identifier: BSD-2-Clause */
/* view.h - where the numbers of a tensor stand, as sizes and strides: Transpose, Reshape, Slice and Expand change those and move
 * nothing. A view is of one image; images stand one behind the other.
 *
 * A dimension is one or several atoms, loops nested in one another: 48 channels in blocks of 16 are the atoms (3, H * W * 16) and
 * (16, 1). So a Reshape that joins dimensions which do not follow each other in memory is a view too. */
#ifndef SSLD_LIB_ENGINE_VIEW_H
#define SSLD_LIB_ENGINE_VIEW_H

#include "graph/graph.h"

#define VIEW_MOST_ATOMS 16

struct atom {
    int64_t size, stride; /* elements; a stride of 0 repeats, a negative one goes backwards */
};

struct view {
    int32_t     ndims;
    int32_t     counts[SSLD_MOST_DIMS]; /* atoms of each dimension; none: its size is 1 */
    int32_t     atom_count;
    struct atom atoms[VIEW_MOST_ATOMS]; /* of all dimensions in turn, outermost first; no size is 1 */
    int64_t     offset;                 /* of the first element from the start of the image */
    int64_t     image;                  /* elements from one image to the next */
};

/* Row-major. */
struct view ssld_view_dense(int32_t ndims, const int64_t *dims);
/* (1, C, H, W) as (C / b, H, W, b); b divides C. */
struct view ssld_view_of_blocks(const int64_t *dims, int64_t b);

int64_t ssld_view_size(const struct view *view, int32_t dim);
bool    ssld_view_is_dense(const struct view *view); /* row-major from offset on, images without gaps */

/* False, and the view is as it was, where the result is not one: the numbers must be copied to a dense place first. */
bool ssld_view_reshape(struct view *view, int32_t ndims, const int64_t *dims);
void ssld_view_transpose(struct view *view, const int32_t *perm);
bool ssld_view_slice(struct view *view, int32_t dim, int64_t start, int64_t step, int64_t count);
/* Dimensions of size 1, and those in front that the view has not, repeat. */
bool ssld_view_expand(struct view *view, int32_t ndims, const int64_t *dims);

/* -- Walks: several views of the same dimensions, element by element ------------------------------------------------------ */

#define WALK_MOST_OPERANDS 4

struct walk {
    int32_t operands;
    int32_t ndims;                                               /* loops, outermost first */
    int64_t sizes[VIEW_MOST_ATOMS];
    int64_t steps[WALK_MOST_OPERANDS][VIEW_MOST_ATOMS]; /* elements */
    int64_t offsets[WALK_MOST_OPERANDS], images[WALK_MOST_OPERANDS];
};

/* Views whose dimensions have the same sizes; false if their atoms do not divide each other, which never happens beside dense
 * ones. Loops that can be one are; there is one at least. The order is that of the first view's strides, which is the one written. */
bool ssld_walk_make(int32_t operands, const struct view *const *views, struct walk *walk);
int64_t ssld_walk_elements(const struct walk *walk); /* of one image */

/* The offsets of the operands at iteration `index` of the outermost `loops` loops, in the first image. */
void ssld_walk_seek(const struct walk *walk, int32_t loops, int64_t index, int64_t *offsets);

/* `body` for each iteration of the images and of all but the last `inner` loops (1 or 2), on several threads. It gets the
 * operands' offsets, and how many iterations of its first loop to do: long ones come in pieces. */
typedef void walk_body(const void *context, const int64_t *offsets, int64_t count);
void ssld_walk_run(const struct walk *walk, int64_t images, int32_t inner, walk_body *body, const void *context);

/* Copy operand 1 to operand 0 for so many images. Types are ELEMENT_x. */
void ssld_walk_copy(const struct walk *walk, int64_t images, int32_t src_type, const void *src, int32_t dst_type,
                    void *dst);

#endif
