/* SPDX-License-Identifier: BSD-2-Clause */
/* hash.h - checksums and fingerprints: XXH64 for one block of bytes, XXH3's 128 bits for fingerprints, big-endian
 * (canonical), so that they are the same on every machine. */
#ifndef SSLD_LIB_CORE_HASH_H
#define SSLD_LIB_CORE_HASH_H

#include "core/context.h"

uint64_t ssld_checksum(const void *bytes, size_t size);
void     ssld_hash_bytes(const void *bytes, size_t size, uint8_t hash[16]); /* a fingerprint of bytes that are all there */

struct ssld_hash; /* a running fingerprint */

struct ssld_hash *ssld_hash_create(ssld_context *context); /* NULL: no memory */
void ssld_hash_add(struct ssld_hash *hash, const void *bytes, size_t size);
void ssld_hash_add_u64(struct ssld_hash *hash, uint64_t value); /* eight bytes, little-endian */
void ssld_hash_add_text(struct ssld_hash *hash, const char *text); /* with its zero: "ab" "c" differs from "a" "bc" */
void ssld_hash_finish(struct ssld_hash *hash, uint8_t fingerprint[16]); /* frees it */

#endif
