/* SPDX-License-Identifier: BSD-2-Clause */
/* codec.h - how a label becomes bits and probabilities again: one row a codec.
 *
 *   label --encode--> record: a string of bits --block.h--> payload of a block --decode--> row of probabilities
 *
 * Records of a codec with columns have all the same size; a block takes them apart into planes of bytes, which zstd packs. The
 * others are prefix coded with a model and stand in the block as they are, so that one can be read without the others. */
#ifndef SSLD_LIB_STORE_CODEC_H
#define SSLD_LIB_STORE_CODEC_H

#include "core/multiversion.h"
#include "store/bits.h"
#include "store/label.h"
#include "store/model.h"

/* What a codec needs to know of the store. */
struct ssld_coding {
    int32_t classes;
    int32_t top_k;    /* TOPK: K, the largest one if kl_bound is given */
    double  kl_bound; /* 0: K is fixed */
    bool    shaped;   /* TOPK: the tail is learned */
    int32_t rank;     /* numbers a record that the model is to have */
};

/* Working memory of one thread that encodes. */
struct ssld_encoder {
    struct ssld_coding       coding;
    const struct ssld_model *model;
    float                   *log_p;   /* (stride): for ssld_label_read() */
    float                   *shape;   /* (stride) */
    float                   *work;    /* (stride) */
    float                   *p;       /* (stride) */
    uint32_t                *classes; /* (classes + 1) */
    uint32_t                *order;   /* (classes + 1) */
    uint32_t                *levels;  /* (classes + 1) */
};

/* Bits of a record by what they are for, while a store is measured. */
struct ssld_record_sizes {
    uint64_t classes, values, tail, moments;
};

struct ssld_codec {
    int32_t id;
    int32_t columns; /* bytes of a value in a column; 0: records are prefix coded */
    int32_t codes;   /* prefix codes its model has, beside those of the shape's numbers */
    unsigned (*gap_code)(unsigned zeros); /* see model->gap_quick; NULL: it has no gaps */
    /* Bits of a record at most; exactly so with columns. */
    uint64_t (*most_bits)(const struct ssld_coding *coding);
    void (*encode)(struct ssld_encoder *encoder, const struct ssld_label *label, struct ssld_sink *sink);
    /* Probabilities of the record at `source`, which is left behind it. `row` NULL: only pass over it. False if the record is
     * none of ours. */
    bool (*decode)(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source, float *row,
                   struct ssld_record_sizes *sizes);
    /* Decoding in two steps, for codecs whose rows are sooner made several at a time; else 0 and NULL. A parsed record no longer
     * needs its payload; `parsed` holds `count` of them side by side, all of one model. */
    size_t parsed_bytes;
    bool (*parse)(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source, void *parsed);
    /* Two records at once, sooner than one after the other. False, with the sources as they were: parse them so. */
    bool (*parse_two)(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *const sources[2],
                      void *const parsed[2]);
    void (*spread)(const struct ssld_model *model, int32_t count, const void *parsed, float *const rows[]);
    /* Mean and deviation; `row` is the decoded record, for codecs that have no other source. */
    bool (*moments)(const struct ssld_coding *coding, const struct ssld_model *model, struct ssld_source *source,
                    const float *row, float *mean, float *deviation);
    /* The scale of its model (first step, growth, cap), and the step of the shape's numbers, for labels such as these: log_p
     * (count, stride). */
    void (*fit)(const struct ssld_coding *coding, size_t count, size_t stride, const float *log_p, float scale[3], float *step);
};

#define SSLD_SPREAD 4 /* rows that are made together */

/* NULL if there is no such codec. */
const struct ssld_codec *ssld_codec_find(int32_t id);
size_t                   ssld_codec_most_parsed(void); /* the largest parsed_bytes */

extern const struct ssld_codec ssld_codec_f32, ssld_codec_f16, ssld_codec_log8, ssld_codec_topk;

ssld_status ssld_encoder_make(ssld_context *context, const struct ssld_coding *coding, struct ssld_encoder *encoder);
void        ssld_encoder_free(ssld_context *context, struct ssld_encoder *encoder);

/* -- Numbers of records ------------------------------------------------------------------------------------------- */

/* A number of those the window is sure to hold: code->group, or model->group with any codes, after each filling. */
ALWAYS_INLINE uint32_t ssld_get_by(struct ssld_window *window, const struct ssld_model *model, const uint32_t *quick)
{
    uint32_t entry = quick[window->bits & (SSLD_PREFIX_QUICK - 1)];
    if (__builtin_expect(!entry, 0))
        return ssld_get_number(window, &model->codes[(quick - model->quick[0]) / SSLD_PREFIX_QUICK]);
    uint64_t bits = window->bits & ((UINT64_C(1) << SSLD_QUICK_BITS(entry)) - 1);
    ssld_window_pass(window, SSLD_QUICK_BITS(entry));
    return SSLD_QUICK_FROM(entry) + (uint32_t)(bits >> SSLD_QUICK_CODE(entry));
}

/* By the code's number. */
ALWAYS_INLINE uint32_t ssld_get_next(struct ssld_window *window, const struct ssld_model *model, unsigned code)
{
    return ssld_get_by(window, model, model->quick[code]);
}

/* -- The shape of labels, for codecs with models ------------------------------------------------------------------ */

#define SSLD_SHAPE_CODES 16 /* prefix codes of a record's numbers: number j of a rank r has code 16 j / r */

#define SSLD_SHAPE_NUMBER 127 /* numbers of a record are whole, and not above it nor below its negative */

struct ssld_shape {
    float numbers[SSLD_MOST_RANK];
};

/* The numbers at n <= 2 windows, which are left behind them. */
ALWAYS_INLINE void ssld_shapes_read(const int n, struct ssld_window *windows, const struct ssld_model *model, unsigned first_code,
                                    struct ssld_shape *const *shapes)
{
    const int32_t most = SSLD_SHAPE_NUMBER, rank = model->rank, group = (int32_t)model->group;
    for (int32_t j = 0; j < rank;) {
        for (int i = 0; i < n; i++)
            ssld_window_fill(&windows[i]);
        for (int32_t end = rank - j < group ? rank : j + group; j < end; j++) {
            const uint32_t *quick = model->quick[first_code + model->number_codes[j]];
            for (int i = 0; i < n; i++) {
                int32_t number = ssld_unzigzag(ssld_get_by(&windows[i], model, quick));
                shapes[i]->numbers[j] = (float)(number < -most ? -most : number > most ? most : number);
            }
        }
    }
}

void ssld_shape_put(struct ssld_sink *sink, const struct ssld_model *model, unsigned first_code, const struct ssld_shape *shape);
/* The numbers at `source`, which is left behind them. */
void ssld_shape_get(struct ssld_source *source, const struct ssld_model *model, unsigned first_code, struct ssld_shape *shape);
/* v = row_0 + sum_j q_j row_j over the padded stride. */
void ssld_shape_values(const struct ssld_model *model, const struct ssld_shape *shape, float *v);
/* 64 of them, from class c on, a multiple of 64; zeros if the model has no rows. */
void ssld_shape_part(const struct ssld_model *model, const struct ssld_shape *shape, size_t c, float v[SSLD_SHAPE_VECTOR]);
/* The weights of a tail, max(v_c, e)^4, of all classes, and their sum; for one record, or with one pass over the model's rows for
 * SSLD_SPREAD: the same bits. */
float ssld_shape_weights(const struct ssld_model *model, const struct ssld_shape *shape, float *row);
void  ssld_shape_weights_together(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                                  float *const rows[SSLD_SPREAD], float sums[SSLD_SPREAD]);
bool  ssld_shape_multiplies_pairs(void); /* whether this processor can multiply a model's pairs */
/* The loops of the above for each kind of vectors that this processor has, the best first; returns how many. All give the same
 * bits. */
struct ssld_shape_loops {
    const char *name;
    void (*values)(const struct ssld_model *model, const float *numbers, size_t c, size_t end, float *values);
    float (*weights)(const struct ssld_model *model, const struct ssld_shape *shape, float *row);
    void (*weights_together)(const struct ssld_model *model, const struct ssld_shape *const shapes[SSLD_SPREAD],
                             float *const rows[SSLD_SPREAD], float sums[SSLD_SPREAD]);
};
#define SSLD_SHAPE_LOOPS 3
size_t ssld_shape_loops_here(struct ssld_shape_loops loops[SSLD_SHAPE_LOOPS]);
/* What of that sum is of the tail: without the explicit classes, whose weights are 0 then. */
float ssld_shape_leave_out(const struct ssld_model *model, const uint32_t *explicit, uint32_t count, float *row, float sum);
/* What they are the shape of: fourth roots of probabilities over that of `base`, at most 1; over the padded stride. */
void ssld_shape_roots(const float *log_p, size_t classes, float base, float *y);
/* q = analysis (y - row_0), not rounded; y over the padded stride, zero behind the classes; `work` is as long. */
void ssld_shape_project(const struct ssld_model *model, const float *y, float *work, float *numbers);

/* -- Rows --------------------------------------------------------------------------------------------------------- */

float ssld_row_sum(const float *row, size_t classes);
void  ssld_row_scale(float *row, size_t classes, float factor); /* and nothing below the least normal float */
void  ssld_row_moments(const float *row, int32_t classes, float *mean, float *deviation); /* of its logarithms */

/* Half precision, round to nearest, ties to even, whatever the rounding mode of the host. */
uint16_t ssld_half_from(double value);
double   ssld_half_to(uint16_t half);

#endif
