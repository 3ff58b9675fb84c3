/* SPDX-License-Identifier: BSD-2-Clause */
/* draws.h - normal and beta variates from a stream of words, the same bits on every machine. */
#ifndef SSLD_LIB_IMAGE_DRAWS_H
#define SSLD_LIB_IMAGE_DRAWS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/philox.h"

/* Uniform in [low, high). One word. */
double ssld_draw_between(struct ssld_stream *stream, double low, double high);
/* True with probability p. One word, also for 0 and 1. */
bool ssld_draw_chance(struct ssld_stream *stream, double p);
/* A standard normal variate. Two words. */
double ssld_draw_normal(struct ssld_stream *stream);
/* Beta(alpha, alpha), alpha positive; it may be 0 or 1 where alpha is small. */
double ssld_draw_beta(struct ssld_stream *stream, double alpha);

/* Many normal variates, as float. They come from a Philox of their own, keyed by the next two words of the stream and
 * counted from 0 with the two words after these in the counter's upper half: a stream is too short for an image. */
#define SSLD_NOISE (4 * SSLD_PHILOX_BLOCKS)
struct noise {
    uint32_t key[2], upper[2];
    uint64_t block; /* the next one */
    int32_t  used;  /* values taken of those that are ready */
    float    values[SSLD_NOISE];
};

void ssld_noise_start(struct noise *noise, struct ssld_stream *stream);
void ssld_noise_take(struct noise *noise, float *dst, size_t count);

#endif
