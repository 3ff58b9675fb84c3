/* SPDX-License-Identifier: BSD-2-Clause */
/* tinyvit.h - teacher labels as TinyViT's programs store them.
 *
 * A folder logits_top{K}_epoch{E} an epoch; in it, a pair of files for each process R that wrote it:
 *
 *     rank{R}-keys.txt      a line a record: the image's name, or its number
 *     rank{R}-values.bin    records of 4 + 4 K bytes: seed of the view (int32), K classes (int16), their probabilities
 *                           (float16), all little-endian
 *
 * The probabilities are the K largest of a softmax; TinyViT spreads what is left evenly over the other classes. */
#ifndef SSLD_PROGRAM_TINYVIT_H
#define SSLD_PROGRAM_TINYVIT_H

#include <stdbool.h>
#include <stdint.h>

struct tinyvit {
    const char *folder; /* that the epochs' folders are in */
    int32_t     top_k;
    uint32_t    first_epoch, epochs;
};

struct tinyvit_record {
    const char    *keys_path, *values_path, *key;
    uint64_t       line;   /* in keys_path, from 1 on; the record's number in values_path, too */
    int32_t        seed;
    const uint8_t *bytes;  /* K classes, K probabilities */
};

/* Takes one record; false ends the walk. */
typedef bool (*tinyvit_visitor)(void *user, const struct tinyvit_record *record);

/* Which epochs and which K a folder has. False after a text on standard error. */
bool tinyvit_open(const char *folder, struct tinyvit *files);
/* All records of one epoch (from 0 on: the first one there is), in the order of the files' names. An epoch without a
 * folder has none, which a warning says. False after a text, or if the visitor has ended it. */
bool tinyvit_walk(const struct tinyvit *files, uint32_t epoch, tinyvit_visitor visit, void *user);
/* Spread a record out to a row of all classes. What is wrong with it, or NULL. */
const char *tinyvit_expand(const struct tinyvit_record *record, int32_t top_k, int32_t classes, float *row);

#endif
