/* SPDX-License-Identifier: BSD-2-Clause */
/* operation.h - what a view spec is made of: a table of operations with their arguments, and a parsed spec.
 *
 * A new operation is an `operation_kind` beside its functions, in the file of its subject, and a line in operation.c;
 * parser, printer and renderer know none by name. Operations stand in a spec in the order of their stages. */
#ifndef SSLD_LIB_IMAGE_OPERATION_H
#define SSLD_LIB_IMAGE_OPERATION_H

#include "core/philox.h"
#include "image/frame.h"
#include "ssld/view.h"

#define SSLD_MOST_ARGUMENTS 8
#define SSLD_MOST_OPERATIONS 64
#define SSLD_MOST_SIDE 16384

/* Forms of arguments, and what their values are. */
enum argument_form {
    ARGUMENT_SIZE,     /* S or HxW: values are height, width */
    ARGUMENT_SIDE,     /* S or HxW, which mean different things: S has width 0 */
    ARGUMENT_COUNT,    /* a whole number */
    ARGUMENT_NUMBER,   /* a number */
    ARGUMENT_RANGE,    /* low..high */
    ARGUMENT_CHANNELS, /* a number, or three with slashes between */
    ARGUMENT_WORD      /* one of a list of words: its place in it */
};

struct argument_kind {
    const char        *name; /* NULL behind the last */
    enum argument_form form;
    double             least; /* of each number */
    double             most;
    const char        *standard; /* its text if it is not given; NULL: it must be */
    const char        *words;    /* of ARGUMENT_WORD: "torchvision|paddle" */
};

struct argument {
    int32_t count; /* of values */
    double  values[3];
};

struct operation;

/* What an operation works on. A spec goes through the stages in this order, and has exactly one normalize. */
enum operation_stage {
    STAGE_FILE = -1, /* what the file says of its image: `frame`; at most one, the first */
    STAGE_BYTES,     /* 8-bit images: `frame` or `apply` */
    STAGE_NORMALIZE, /* from bytes to floats: the renderer itself, which may do the last flip or crop in the same pass */
    STAGE_FLOATS,    /* the view's floats, in place: `apply_floats` */
    STAGE_MIX        /* the floats of two samples' views: mix.c; at most one, the last */
};

struct operation_kind {
    const char          *name;
    struct argument_kind arguments[SSLD_MOST_ARGUMENTS + 1];
    const char          *preset;           /* a word that may stand for all arguments, or NULL */
    const char          *preset_arguments; /* their text */
    enum operation_stage stage;
    /* Channels, height, width of what it makes of an image of shape `in`; 0 for a side that is not known. */
    ssld_status (*shape)(const struct operation *operation, const int32_t in[3], int32_t out[3],
                         struct ssld_fault *fault);
    /* Geometry: change what is wanted of an image that may not be made yet (frame.h), to something of shape `out`. */
    ssld_status (*frame)(const struct operation *operation, struct ssld_stream *stream, const int32_t out[3],
                         struct ssld_frame *frame, struct ssld_fault *fault);
    /* Everything else on bytes: change the image to its result, of shape `out`. */
    ssld_status (*apply)(const struct operation *operation, ssld_context *context, struct ssld_stream *stream,
                         const int32_t out[3], struct ssld_image *image, struct ssld_fault *fault);
    /* STAGE_FLOATS: change planes of the given shape. It cannot fail: the view is in the caller's memory already. */
    void (*apply_floats)(const struct operation *operation, struct ssld_stream *stream, const int32_t shape[3],
                         float *view);
};

struct operation {
    const struct operation_kind *kind;
    struct argument              arguments[SSLD_MOST_ARGUMENTS];
};

struct ssld_view_spec {
    ssld_context    *context;
    int32_t          count;
    int32_t          normalize; /* its place: bytes before it, floats behind it */
    int32_t          mix;       /* the place of the operation of STAGE_MIX, -1: there is none */
    struct operation operations[SSLD_MOST_OPERATIONS];
    float            levels[3][256];                   /* byte to float, for each channel */
    struct level_line {
        double scale, offset;
        bool   exact; /* (float)(byte * scale + offset) is levels[byte] for every byte */
    } lines[3];
    struct ssld_pool *pool;
    char            *text;
};

/* The table, ended by NULL. */
extern const struct operation_kind *const ssld_operation_kinds[];

/* geometry.c */
extern const struct operation_kind ssld_operation_exif, ssld_operation_rrc, ssld_operation_resize,
    ssld_operation_center_crop, ssld_operation_pad_crop, ssld_operation_flip, ssld_operation_vflip;
/* colour.c */
extern const struct operation_kind ssld_operation_gray, ssld_operation_rgb, ssld_operation_normalize;

/* augment.c, jitter.c, erase.c, mix.c */
extern const struct operation_kind ssld_operation_randaugment, ssld_operation_autoaugment,
    ssld_operation_paddle_randaugment, ssld_operation_paddle_autoaugment, ssld_operation_color_jitter,
    ssld_operation_erase, ssld_operation_mixup, ssld_operation_cutmix, ssld_operation_mixup_or_cutmix;

/* Rows and rules that several operations share. */
#define SIZE_ARGUMENT(form) { "size", form, 1, SSLD_MOST_SIDE, NULL, NULL }
ssld_status ssld_same_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                            struct ssld_fault *fault);
/* The first argument, a size. */
ssld_status ssld_fixed_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                             struct ssld_fault *fault);

/* An ARGUMENT_CHANNELS must be one number, or three where there are three channels: else the fault says so. */
ssld_status ssld_check_channels(const struct operation *operation, int argument, const int32_t in[3],
                                struct ssld_fault *fault);
/* Its value for a channel. */
double ssld_channel_value(const struct argument *argument, int32_t channel);
/* The image's own pixels all of one colour, rounded to whole numbers. */
void ssld_image_fill(struct ssld_image *image, const struct argument *colour);

/* Position and size of a random resized crop of an image; in operation.h for the tests of its statistics. */
struct crop_box ssld_random_resized_box(const double scale[2], const double ratio[2], int32_t height, int32_t width,
                                        struct ssld_stream *stream);
struct crop_box ssld_paddle_box(const double scale[2], const double ratio[2], int32_t height, int32_t width,
                                struct ssld_stream *stream);

/* Where `erase` erases, see erase.c. */
struct crop_box ssld_erase_box(const struct operation *operation, int32_t height, int32_t width,
                               struct ssld_stream *stream);
/* ssld_view_partner() without its checks: samples and the shape must be positive. */
void ssld_mix_draw(const ssld_view_spec *spec, uint64_t seed, uint64_t sample, uint32_t view, uint64_t samples,
                   const int32_t shape[3], ssld_view_mix *mix);

/* The shape after one operation: its rule, and the limit on pixels. */
ssld_status ssld_operation_shape(const struct operation *operation, const int32_t in[3], int32_t out[3],
                                 struct ssld_fault *fault);

/* -- Rendering, with the failure left to the caller; see ssld_view_render() --------------------------------------- */

/* Where a view goes: floats, or bfloat16. */
struct view_target {
    float    *floats; /* or NULL */
    uint16_t *halves;
    size_t    capacity; /* numbers */
    struct ssld_view_times *times; /* added to; NULL: nobody asks */
};

/* As ssld_view_render(): up to mixing, which needs two views. */
ssld_status ssld_view_draw_to(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                              uint32_t view, const struct view_target *target, struct ssld_fault *fault);
ssld_status ssld_view_draw_pixels_to(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                     uint64_t seed, uint64_t sample, uint32_t view, const struct view_target *target,
                                     struct ssld_fault *fault);
ssld_status ssld_view_draw(const ssld_view_spec *spec, const void *bytes, size_t size, uint64_t seed, uint64_t sample,
                           uint32_t view, float *dst, size_t capacity, struct ssld_fault *fault);
ssld_status ssld_view_draw_pixels(const ssld_view_spec *spec, const uint8_t *pixels, const int32_t image[3],
                                  uint64_t seed, uint64_t sample, uint32_t view, float *dst, size_t capacity,
                                  struct ssld_fault *fault);

#endif
