/* SPDX-License-Identifier: BSD-2-Clause */
/* operation.h - what a view spec is made of: a table of operations with their arguments, and a parsed spec.
 *
 * A new operation is a row in operation.c with its shape rule and its function; parser, printer and renderer know none
 * by name. */
#ifndef SSLD_LIB_IMAGE_OPERATION_H
#define SSLD_LIB_IMAGE_OPERATION_H

#include "core/philox.h"
#include "image/image.h"
#include "ssld/view.h"

#define SSLD_MOST_ARGUMENTS 3
#define SSLD_MOST_OPERATIONS 64
#define SSLD_MOST_SIDE 16384

/* Forms of arguments, and what their values are. */
enum argument_form {
    ARGUMENT_SIZE,    /* S or HxW: values are height, width */
    ARGUMENT_SIDE,    /* S or HxW, which mean different things: S has width 0 */
    ARGUMENT_COUNT,   /* a whole number */
    ARGUMENT_NUMBER,  /* a number */
    ARGUMENT_RANGE,   /* low..high */
    ARGUMENT_CHANNELS /* a number, or three with slashes between */
};

struct argument_kind {
    const char        *name; /* NULL behind the last */
    enum argument_form form;
    double             least; /* of each number */
    double             most;
    const char        *standard; /* its text if it is not given; NULL: it must be */
};

struct argument {
    int32_t count; /* of values */
    double  values[3];
};

struct operation;

struct operation_kind {
    const char          *name;
    struct argument_kind arguments[SSLD_MOST_ARGUMENTS + 1];
    const char          *preset;           /* a word that may stand for all arguments, or NULL */
    const char          *preset_arguments; /* their text */
    bool                 last;             /* nothing may follow it */
    /* Channels, height, width of what it makes of an image of shape `in`; 0 for a side that is not known. */
    ssld_status (*shape)(const struct operation *operation, const int32_t in[3], int32_t out[3],
                         struct ssld_fault *fault);
    /* Change the image to its result, of shape `out`; NULL if the renderer's last step does it. */
    ssld_status (*apply)(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                         const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault);
};

struct operation {
    const struct operation_kind *kind;
    struct argument              arguments[SSLD_MOST_ARGUMENTS];
};

struct ssld_view_spec {
    ssld_context    *context;
    int32_t          count;
    struct operation operations[SSLD_MOST_OPERATIONS]; /* the last is normalize */
    float            levels[3][256];                   /* byte to float, for each channel */
    char            *text;
};

/* The table; behind its last row a name of NULL. */
extern const struct operation_kind ssld_operation_kinds[];

/* Position and size of a random resized crop of an image; in operation.h for the tests of its statistics. */
struct crop_box {
    int32_t top, left, height, width;
};
struct crop_box ssld_random_resized_box(const double scale[2], const double ratio[2], int32_t height, int32_t width,
                                        struct ssld_stream *stream);

/* The shape after one operation: its rule, and the limit on pixels. */
ssld_status ssld_operation_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                 struct ssld_fault *fault);

/* -- Rendering, with the failure left to the caller; see ssld_view_render() --------------------------------------- */

ssld_status ssld_view_draw(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                           uint32_t view, float *dst, size_t capacity, struct ssld_fault *fault);
ssld_status ssld_view_draw_pixels(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                  uint64_t seed, uint64_t sample, uint32_t view, float *dst, size_t capacity,
                                  struct ssld_fault *fault);

#endif
