/* SPDX-License-Identifier: BSD-2-Clause */
/* order.h - the order of samples in an epoch. */
#ifndef SSLD_LIB_DATA_ORDER_H
#define SSLD_LIB_DATA_ORDER_H

#include <stdint.h>

/* The most samples a permutation is defined for: a draw has 32 bits. */
#define SSLD_ORDER_MOST ((uint64_t)UINT32_MAX)

/* A permutation of 0 .. count - 1, a pure function of seed, epoch and count. */
void ssld_order_shuffle(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t *order);

#endif
