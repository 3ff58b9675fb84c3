/* SPDX-License-Identifier: BSD-2-Clause */
/* view.c - views and walks: arithmetic on sizes and strides; the numbers themselves are others' work. */
#include "engine/view.h"

#include <stdlib.h>
#include <string.h>

/* -- Making ------------------------------------------------------------------------------------------------------- */

static bool push(struct view *view, int32_t dim, int64_t size, int64_t stride)
{
    if (size == 1)
        return true;
    if (view->atom_count == VIEW_MOST_ATOMS)
        return false;
    view->atoms[view->atom_count++] = (struct atom){ size, stride };
    view->counts[dim]++;
    return true;
}

static struct view empty_like(const struct view *view, int32_t ndims)
{
    return (struct view){ .ndims = ndims, .offset = view->offset, .image = view->image };
}

struct view ssld_view_dense(int32_t ndims, const int64_t *dims)
{
    struct view view = { .ndims = ndims };
    int64_t stride = 1;
    for (int32_t i = 0; i < ndims; i++)
        stride *= dims[i];
    view.image = stride;
    for (int32_t i = 0; i < ndims; i++) {
        stride /= dims[i];
        push(&view, i, dims[i], stride);
    }
    return view;
}

struct view ssld_view_of_blocks(const int64_t *dims, int64_t b)
{
    struct view view = { .ndims = 4, .image = dims[1] * dims[2] * dims[3] };
    push(&view, 1, dims[1] / b, dims[2] * dims[3] * b);
    push(&view, 1, b, 1);
    push(&view, 2, dims[2], dims[3] * b);
    push(&view, 3, dims[3], b);
    return view;
}

/* -- Asking ------------------------------------------------------------------------------------------------------- */

static int32_t first_atom(const struct view *view, int32_t dim)
{
    int32_t first = 0;
    for (int32_t i = 0; i < dim; i++)
        first += view->counts[i];
    return first;
}

int64_t ssld_view_size(const struct view *view, int32_t dim)
{
    int64_t size = 1;
    for (int32_t i = 0, first = first_atom(view, dim); i < view->counts[dim]; i++)
        size *= view->atoms[first + i].size;
    return size;
}

bool ssld_view_is_dense(const struct view *view)
{
    int64_t stride = 1;
    for (int32_t i = view->atom_count - 1; i >= 0; i--) {
        if (view->atoms[i].stride != stride)
            return false;
        stride *= view->atoms[i].size;
    }
    return view->image == stride;
}

/* -- Changing ----------------------------------------------------------------------------------------------------- */

/* Each dimension takes atoms until it is full, splitting the last one it takes. */
bool ssld_view_reshape(struct view *view, int32_t ndims, const int64_t *dims)
{
    struct view made = empty_like(view, ndims);
    int32_t next = 0;
    struct atom left = { 1, 0 };
    for (int32_t i = 0; i < ndims; i++)
        for (int64_t wanted = dims[i]; wanted > 1;) {
            if (left.size == 1 && next < view->atom_count)
                left = view->atoms[next++];
            if (left.size == 1)
                return false;
            if (left.size <= wanted) {
                if (wanted % left.size || !push(&made, i, left.size, left.stride))
                    return false;
                wanted /= left.size;
                left.size = 1;
            } else {
                if (left.size % wanted || !push(&made, i, wanted, left.stride * (left.size / wanted)))
                    return false;
                left.size /= wanted;
                wanted = 1;
            }
        }
    if (left.size != 1 || next < view->atom_count)
        return false;
    *view = made;
    return true;
}

void ssld_view_transpose(struct view *view, const int32_t *perm)
{
    struct view made = empty_like(view, view->ndims);
    for (int32_t i = 0; i < view->ndims; i++)
        for (int32_t k = 0, first = first_atom(view, perm[i]); k < view->counts[perm[i]]; k++)
            push(&made, i, view->atoms[first + k].size, view->atoms[first + k].stride);
    *view = made;
}

/* Atoms of a dimension that follow each other in memory become one. */
static void join_atoms(struct view *view, int32_t dim)
{
    int32_t first = first_atom(view, dim);
    for (int32_t i = first; i + 1 < first + view->counts[dim];) {
        struct atom *outer = &view->atoms[i], *inner = outer + 1;
        if (outer->stride != inner->stride * inner->size) {
            i++;
            continue;
        }
        *outer = (struct atom){ outer->size * inner->size, inner->stride };
        memmove(inner, inner + 1, (size_t)(view->atom_count - i - 2) * sizeof *inner);
        view->atom_count--;
        view->counts[dim]--;
    }
}

static void remove_atom(struct view *view, int32_t dim, int32_t at)
{
    memmove(&view->atoms[at], &view->atoms[at + 1], (size_t)(view->atom_count - at - 1) * sizeof view->atoms[0]);
    view->atom_count--;
    view->counts[dim]--;
}

/* In several atoms: whole rounds of the inner ones, or a piece of one round. */
static bool slice_atoms(struct view *view, int32_t dim, int32_t at, int32_t end, int64_t start, int64_t step, int64_t count)
{
    int64_t inner = 1;
    for (int32_t i = at + 1; i < end; i++)
        inner *= view->atoms[i].size;
    struct atom *atom = &view->atoms[at];
    int64_t last = start + (count - 1) * step;
    if (inner == 1 || (step == 1 && start % inner == 0 && count % inner == 0)) {
        view->offset += start / inner * atom->stride;
        atom->stride *= step;
        atom->size = count / inner;
        if (atom->size == 1)
            remove_atom(view, dim, at);
        return true;
    }
    if (start / inner != last / inner)
        return false;
    view->offset += start / inner * atom->stride;
    remove_atom(view, dim, at);
    return slice_atoms(view, dim, at, end - 1, start % inner, step, count);
}

bool ssld_view_slice(struct view *view, int32_t dim, int64_t start, int64_t step, int64_t count)
{
    struct view made = *view;
    if (start == 0 && step == 1 && count == ssld_view_size(view, dim))
        return true;
    join_atoms(&made, dim);
    int32_t first = first_atom(&made, dim);
    if (!slice_atoms(&made, dim, first, first + made.counts[dim], start, step, count))
        return false;
    *view = made;
    return true;
}

bool ssld_view_expand(struct view *view, int32_t ndims, const int64_t *dims)
{
    struct view made = empty_like(view, ndims);
    int32_t more = ndims - view->ndims;
    for (int32_t i = 0; i < ndims; i++) {
        int32_t from = i - more;
        if (from < 0 || !view->counts[from]) {
            if (!push(&made, i, dims[i], 0))
                return false;
            continue;
        }
        for (int32_t k = 0, first = first_atom(view, from); k < view->counts[from]; k++)
            if (!push(&made, i, view->atoms[first + k].size, view->atoms[first + k].stride))
                return false;
    }
    *view = made;
    return true;
}

/* -- Walks -------------------------------------------------------------------------------------------------------- */

static int64_t magnitude(int64_t number)
{
    return number < 0 ? -number : number;
}

/* All views cut where any of them is cut: innermost loops first, each as long as the shortest of what the views have left. */
static bool refine(int32_t operands, const struct view *const *views, int32_t dim, struct walk *walk)
{
    int32_t at[WALK_MOST_OPERANDS];
    struct atom left[WALK_MOST_OPERANDS];
    int64_t wanted = ssld_view_size(views[0], dim);
    for (int32_t v = 0; v < operands; v++) {
        at[v] = first_atom(views[v], dim) + views[v]->counts[dim];
        left[v].size = 1;
    }
    while (wanted > 1) {
        int64_t size = wanted;
        for (int32_t v = 0; v < operands; v++) {
            if (left[v].size == 1)
                left[v] = views[v]->atoms[--at[v]];
            if (left[v].size < size)
                size = left[v].size;
        }
        if (walk->ndims == VIEW_MOST_ATOMS)
            return false;
        walk->sizes[walk->ndims] = size;
        for (int32_t v = 0; v < operands; v++) {
            if (left[v].size % size)
                return false;
            walk->steps[v][walk->ndims] = left[v].stride;
            left[v] = (struct atom){ left[v].size / size, left[v].stride * size };
        }
        walk->ndims++;
        wanted /= size;
    }
    return true;
}

static void swap_loops(struct walk *walk, int32_t a, int32_t b)
{
    int64_t size = walk->sizes[a];
    walk->sizes[a] = walk->sizes[b];
    walk->sizes[b] = size;
    for (int32_t v = 0; v < walk->operands; v++) {
        int64_t step = walk->steps[v][a];
        walk->steps[v][a] = walk->steps[v][b];
        walk->steps[v][b] = step;
    }
}

/* Outermost first, by the strides of operand 0; loops of equal stride (0: a sum) by those of the operands behind it. */
static bool is_outside(const struct walk *walk, int32_t a, int32_t b)
{
    for (int32_t v = 0; v < walk->operands; v++)
        if (magnitude(walk->steps[v][a]) != magnitude(walk->steps[v][b]))
            return magnitude(walk->steps[v][a]) > magnitude(walk->steps[v][b]);
    return false;
}

static void join_loops(struct walk *walk)
{
    int32_t kept = 0;
    for (int32_t i = 1; i < walk->ndims; i++) {
        bool one = true;
        for (int32_t v = 0; v < walk->operands; v++)
            one = one && walk->steps[v][kept] == walk->steps[v][i] * walk->sizes[i];
        int64_t size = one ? walk->sizes[kept] * walk->sizes[i] : walk->sizes[i];
        kept += !one;
        walk->sizes[kept] = size;
        for (int32_t v = 0; v < walk->operands; v++)
            walk->steps[v][kept] = walk->steps[v][i];
    }
    walk->ndims = walk->ndims ? kept + 1 : 0;
}

bool ssld_walk_make(int32_t operands, const struct view *const *views, struct walk *walk)
{
    *walk = (struct walk){ .operands = operands };
    for (int32_t v = 0; v < operands; v++) {
        walk->offsets[v] = views[v]->offset;
        walk->images[v] = views[v]->image;
    }
    for (int32_t dim = views[0]->ndims - 1; dim >= 0; dim--)
        if (!refine(operands, views, dim, walk))
            return false;
    for (int32_t i = 0; i < walk->ndims / 2; i++)
        swap_loops(walk, i, walk->ndims - 1 - i);
    for (int32_t i = 1; i < walk->ndims; i++)
        for (int32_t k = i; k > 0 && is_outside(walk, k, k - 1); k--)
            swap_loops(walk, k, k - 1);
    join_loops(walk);
    if (!walk->ndims) { /* a single element */
        walk->sizes[walk->ndims++] = 1;
        for (int32_t v = 0; v < operands; v++)
            walk->steps[v][0] = 1;
    }
    return true;
}

int64_t ssld_walk_elements(const struct walk *walk)
{
    int64_t elements = 1;
    for (int32_t i = 0; i < walk->ndims; i++)
        elements *= walk->sizes[i];
    return elements;
}

void ssld_walk_seek(const struct walk *walk, int32_t loops, int64_t index, int64_t *offsets)
{
    for (int32_t v = 0; v < walk->operands; v++)
        offsets[v] = walk->offsets[v];
    for (int32_t i = loops - 1; i >= 0; i--) {
        int64_t at = index % walk->sizes[i];
        index /= walk->sizes[i];
        for (int32_t v = 0; v < walk->operands; v++)
            offsets[v] += at * walk->steps[v][i];
    }
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

struct runner {
    const struct walk *walk;
    walk_body         *body;
    const void        *context;
    int32_t            outer;              /* loops */
    int64_t            iterations, pieces; /* of an image's outer loops; of the body's first loop */
};

/* What one thread does: tasks first .. last, counted on without divisions. */
static void run_tasks(const struct runner *r, int64_t first, int64_t last)
{
    const struct walk *w = r->walk;
    int64_t at[VIEW_MOST_ATOMS], offsets[WALK_MOST_OPERANDS], moved[WALK_MOST_OPERANDS];
    int64_t piece = first % r->pieces, rest = first / r->pieces % r->iterations, image = first / r->pieces / r->iterations;
    int64_t size = w->sizes[r->outer];
    ssld_walk_seek(w, r->outer, rest, offsets);
    for (int32_t i = r->outer - 1; i >= 0; i--) {
        at[i] = rest % w->sizes[i];
        rest /= w->sizes[i];
    }
    for (int64_t task = first; task < last; task++) {
        int64_t start = size * piece / r->pieces, end = size * (piece + 1) / r->pieces;
        for (int32_t v = 0; v < w->operands; v++)
            moved[v] = image * w->images[v] + offsets[v] + start * w->steps[v][r->outer];
        r->body(r->context, moved, end - start);
        if (++piece < r->pieces)
            continue;
        piece = 0;
        int32_t i = r->outer - 1;
        for (; i >= 0; i--) {
            bool more = ++at[i] < w->sizes[i];
            for (int32_t v = 0; v < w->operands; v++)
                offsets[v] += (more ? 1 : 1 - w->sizes[i]) * w->steps[v][i];
            if (more)
                break;
            at[i] = 0;
        }
        image += i < 0;
    }
}

void ssld_walk_run(const struct walk *walk, int64_t images, int32_t inner, walk_body *body, const void *context)
{
    enum { PARTS = 16, PIECE = 16384 }; /* of all tasks; elements of a piece */
    struct runner r = { .walk = walk, .body = body, .context = context, .iterations = 1 };
    int64_t elements = 1;
    r.outer = walk->ndims < inner ? 0 : walk->ndims - inner;
    for (int32_t i = 0; i < walk->ndims; i++)
        *(i < r.outer ? &r.iterations : &elements) *= walk->sizes[i];
    r.pieces = (elements + PIECE - 1) / PIECE;
    if (r.pieces > walk->sizes[r.outer])
        r.pieces = walk->sizes[r.outer];
    int64_t tasks = images * r.iterations * r.pieces, parts = tasks < PARTS ? tasks : PARTS;
    if (images * r.iterations * elements < PIECE / 2)
        parts = 1;
#pragma omp parallel for if (parts > 1)
    for (int64_t part = 0; part < parts; part++)
        run_tasks(&r, tasks * part / parts, tasks * (part + 1) / parts);
}
