/* SPDX-License-Identifier: BSD-2-Clause */
/* model.h - what is fitted to a teacher once and kept in the file: the shape its labels have, a scale for logarithms, and
 * prefix codes.
 *
 *   shape      v_c = row_0[c] + sum_j q_j row_j[c]        c a class, q_j the numbers a record has
 *
 * What a row holds are whole numbers of -127 to 127 times a power of two no less than 2^-14; so a sum below 512 has no
 * rounding in floats and is the same on every machine and in every order. */
#ifndef SSLD_LIB_STORE_MODEL_H
#define SSLD_LIB_STORE_MODEL_H

#include "store/format.h"
#include "store/prefix.h"

/* No logarithm of a probability is stored below it: exp(-64) = 1.6e-28. */
#define SSLD_LOG_FLOOR (-64.0f)

#define SSLD_MOST_RANK 128
#define SSLD_MOST_SHAPED_CLASSES 65536 /* models of more classes have no shape */
#define SSLD_SHAPE_VECTOR 64 /* rows are padded with zeros to whole vectors of as many */
#define SSLD_MOST_LEVELS 4096
#define SSLD_MOST_CODES 64

/* Levels of a logarithm l <= 0: level 0 is 0, each step is `growth` times the one before until it is `cap`. The last level is
 * at or below the floor. Steps that grow keep errors of probabilities alike where they are large, and of logarithms where
 * they are small. */
struct ssld_scale {
    float    first, growth, cap;
    int32_t  levels;
    float    log[SSLD_MOST_LEVELS];         /* of each level; the last is the floor */
    float    probability[SSLD_MOST_LEVELS]; /* exp of it */
    uint16_t start[64 * 16 + 1];            /* by floor(-16 l): the last level not below that */
};

bool     ssld_scale_make(float first, float growth, float cap, struct ssld_scale *scale);
uint32_t ssld_scale_level(const struct ssld_scale *scale, float log_probability); /* the nearest; of two, the lower number */

struct ssld_model {
    uint64_t id;      /* its bytes' checksum: what blocks call it by; 0 is no model */
    int32_t  codec;   /* SSLD_CODEC_x it is for */
    int32_t  classes;
    int32_t  rank;    /* numbers a record; -1: no shape, not even row 0 */
    int32_t  code_count;
    uint32_t group;   /* the least of its codes: numbers that a window holds whichever they are coded with */
    uint8_t  number_codes[SSLD_MOST_RANK]; /* of the SSLD_SHAPE_CODES, that of each number of the shape */
    size_t   stride;  /* of rows: classes, rounded up to whole vectors */
    float   *rows;    /* (1 + rank, stride) */
    /* The rows as whole numbers of units: row 0 as the bits of the float zero + row_0, where zero's last bit is a unit; and rows 1
     * and 2, 3 and 4 ... side by side, a class's two values next to each other: ((rank + 1) / 2, stride, 2). NULL where the
     * processor cannot multiply them or a sum might leave their range. */
    int32_t  *first;
    int16_t  *pairs;
    float     zero;
    uint32_t *order;  /* (classes): classes by falling row 0, of equal ones the lower numbers first; by number without rows */
    uint32_t *places; /* (classes): the place of each class in that order */
    float   *analysis; /* (rank, stride), made for a writer only: q = analysis (v - row_0), rounded */
    struct ssld_prefix *codes;
    uint32_t (*quick)[SSLD_PREFIX_QUICK]; /* of each code */
    /* TOPK: where in `quick` the table of the code of the next gap is, by the zero bits on the left of 2 * place + 1. */
    const uint32_t *gap_quick[32];
    struct ssld_scale   scale;
    uint8_t *bytes;   /* as stored */
    size_t   size;
};

/* What a model is made of before it is stored: rows as they are in bytes. */
struct ssld_model_parts {
    int32_t       codec, classes, rank, code_count;
    float         first, growth, cap;
    const int8_t *rows;      /* (1 + rank, classes) */
    const int8_t *exponents; /* 1 + rank */
    const uint8_t (*lengths)[SSLD_TOKENS];
};

/* Bytes of a model, freed by the caller. NULL: no memory. */
uint8_t *ssld_model_write(ssld_context *context, const struct ssld_model_parts *parts, size_t *size);

/* A model from its bytes. SSLD_FORMAT if they are none, with a text without a file; SSLD_OUT_OF_MEMORY. */
ssld_status ssld_model_read(ssld_context *context, const uint8_t *bytes, size_t size, struct ssld_model **model);
/* Whether blocks of a store with this header may be coded with it. */
bool        ssld_model_fits(const struct ssld_model *model, const struct ssld_store_header *header);
/* Make `analysis`, if it is not there. */
ssld_status ssld_model_analyse(ssld_context *context, struct ssld_model *model);
void        ssld_model_free(ssld_context *context, struct ssld_model *model); /* NULL is ignored */

#endif
