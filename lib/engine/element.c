/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/element.h"

MULTIVERSION void ssld_widen(int64_t count, const uint16_t *restrict src, float *restrict dst)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = bf16_to_float(src[i]);
}
