/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_store.h - what the fuzz targets of the store share. */
#ifndef SSLD_TESTS_STORE_FUZZ_H
#define SSLD_TESTS_STORE_FUZZ_H

#include "fuzz.h"

#include "core/hash.h"
#include "ssld/store.h"
#include "store/format.h"

#endif
