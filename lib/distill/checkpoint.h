/* SPDX-License-Identifier: BSD-2-Clause */
/* checkpoint.h - a student's state in one file: named float tensors and counters, with a checksum over all of it.
 * Layout: docs/checkpoint-format.md. Little-endian. */
#ifndef SSLD_LIB_DISTILL_CHECKPOINT_H
#define SSLD_LIB_DISTILL_CHECKPOINT_H

#include "core/context.h"

struct ssld_checkpoint_tensor {
    const char *name;  /* "weights/conv1.weight", "velocity/conv1.weight", ... */
    uint64_t    count; /* floats */
    float      *data;  /* row-major */
};

/* Write step and tensors; the file appears whole or not at all. */
ssld_status ssld_checkpoint_write(ssld_context *context, const char *path, uint64_t step, int32_t tensor_count,
                                  const struct ssld_checkpoint_tensor *tensors);

/* Read into tensors of exactly these names, in this order, and counts. Everything is checked before anything is written.
 * SSLD_MISMATCH names the first tensor that differs. */
ssld_status ssld_checkpoint_read(ssld_context *context, const char *path, uint64_t *step, int32_t tensor_count,
                                 const struct ssld_checkpoint_tensor *tensors);

#endif
