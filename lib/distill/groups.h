/* SPDX-License-Identifier: BSD-2-Clause */
/* groups.h - parameter groups: factors for learning rate and decay of parameters by name. Grammar: ssld/student.h. */
#ifndef SSLD_LIB_DISTILL_GROUPS_H
#define SSLD_LIB_DISTILL_GROUPS_H

#include "engine/engine.h"

struct ssld_factors {
    double rate, decay;
};

/* The factors of `count` parameters; those in no group (all, if text is NULL) get a rate of 1 and a decay of 1, or 0 where
 * no_decay says so. Buffers (role) belong to no group. SSLD_INVALID_ARGUMENT quotes what was not understood, or the
 * pattern that fits no parameter. */
ssld_status ssld_groups_apply(ssld_context *context, const char *text, int32_t count,
                              const struct ssld_parameter *const *parameters, struct ssld_factors *factors);

#endif
