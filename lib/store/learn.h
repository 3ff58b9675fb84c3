/* SPDX-License-Identifier: BSD-2-Clause */
/* learn.h - fitting a model to the first labels of a teacher. */
#ifndef SSLD_LIB_STORE_LEARN_H
#define SSLD_LIB_STORE_LEARN_H

#include "store/codec.h"

/* Fit a model of the codec to `count` labels: log_p (count, stride of encoder->log_p), hard labels or -1. The same labels
 * give the same model whatever the machine's number of threads. SSLD_OUT_OF_MEMORY, SSLD_CANCELLED. */
ssld_status ssld_learn(ssld_context *context, const struct ssld_codec *codec, struct ssld_encoder *encoder, size_t count,
                       const float *log_p, const int32_t *classes, struct ssld_model **model);

#endif
