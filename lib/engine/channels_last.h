/* SPDX-License-Identifier: BSD-2-Clause */
/* channels_last.h - a chunk in blocks, (N, C/b, HW, b), as (N, HW, C) and back: where oneDNN wants channels last. */
#ifndef SSLD_LIB_ENGINE_CHANNELS_LAST_H
#define SSLD_LIB_ENGINE_CHANNELS_LAST_H

#include "engine/plan.h"

void ssld_to_channels_last(const struct planes *planes, const void *blocked, void *last);
/* The last block's padding becomes zero. */
void ssld_from_channels_last(const struct planes *planes, const void *last, void *blocked);

#endif
