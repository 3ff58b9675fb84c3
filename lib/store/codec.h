/* SPDX-License-Identifier: BSD-2-Clause */
/* codec.h - how a distribution becomes bytes: one row a codec.
 *
 *   label --quantise--> record --pack--> columns of a block --unpack--> row of probabilities
 *
 * A record is one label in memory while it waits for its block; columns are what zstd compresses. */
#ifndef SSLD_LIB_STORE_CODEC_H
#define SSLD_LIB_STORE_CODEC_H

#include "store/format.h"

/* No logarithm of a probability is stored below it: exp(-64) = 1.6e-28, so that every class keeps a positive
 * probability that is a normal float, even a share of the tail among 2^24 classes. */
#define SSLD_LOG_FLOOR (-64.0)

/* A label on its way in: ln p(class) = value + shift for logits, ln(value) + shift for probabilities. */
struct ssld_label {
    const float *values;
    bool         logits;
    double       shift;
};

/* What is wrong with a row, to stand behind "the label ..."; NULL for nothing. */
const char *ssld_label_check(const float *values, int32_t classes, bool logits);
/* A row that was checked. */
struct ssld_label ssld_label_read(const float *values, int32_t classes, bool logits);

#define SSLD_MOST_COLUMNS 4

/* Where the columns of a decompressed block begin, in the order of the codec's own list; NULL for an absent one. */
struct ssld_columns {
    const uint8_t *column[SSLD_MOST_COLUMNS];
    uint32_t       records;
};

struct ssld_codec {
    int32_t  id;
    /* The ids of its columns, 0 after the last. */
    uint32_t columns[SSLD_MOST_COLUMNS];
    /* Bytes of a column's values for one record; 0 if this store has no such column. */
    uint32_t (*column_bytes)(const struct ssld_store_header *header, uint32_t column);
    /* Bytes of one record in memory, a multiple of 4. */
    size_t (*record_bytes)(const struct ssld_store_header *header);
    void (*quantise)(const struct ssld_store_header *header, const struct ssld_label *label, void *record);
    /* Put record number `i` of `columns->records` to its places. */
    void (*pack)(const struct ssld_store_header *header, const void *record, uint32_t i, uint8_t *const *columns,
                 uint32_t records);
    /* The probabilities of record `i`. False if the columns hold what no writer writes. */
    bool (*unpack)(const struct ssld_store_header *header, const struct ssld_columns *columns, uint32_t i, float *row);
};

/* NULL if there is no such codec. */
const struct ssld_codec *ssld_codec_find(int32_t id);

/* Bytes of the payload of a block of `records`: every column with its id and length in front. */
uint64_t ssld_payload_bytes(const struct ssld_codec *codec, const struct ssld_store_header *header, uint32_t records);

/* Lay out a payload: ids and lengths are written, columns[i] is where the codec's column i goes, NULL if absent. */
void ssld_payload_begin(const struct ssld_codec *codec, const struct ssld_store_header *header, uint32_t records,
                        uint8_t *payload, uint8_t *columns[SSLD_MOST_COLUMNS]);

/* Find the codec's columns. False if one is missing, of another size, or unknown and not to be skipped. */
bool ssld_payload_read(const struct ssld_codec *codec, const struct ssld_store_header *header, const uint8_t *payload,
                       uint32_t bytes, uint32_t records, struct ssld_columns *columns);

/* Half precision, round to nearest, ties to even, whatever the rounding mode of the host. */
uint16_t ssld_half_from(double value);
double   ssld_half_to(uint16_t half);

#endif
