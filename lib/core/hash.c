/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/hash.h"

#define XXH_INLINE_ALL /* no symbol of xxhash is exported or needed at run time */
#include <string.h>
#include <xxhash.h>

struct ssld_hash {
    ssld_context *context;
    XXH3_state_t  state; /* wants 64-byte alignment, which ssld_alloc gives */
};

uint64_t ssld_checksum(const void *bytes, size_t size)
{
    return XXH64(bytes, size, 0);
}

void ssld_hash_bytes(const void *bytes, size_t size, uint8_t hash[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, size));
    memcpy(hash, canonical.digest, 16);
}

struct ssld_hash *ssld_hash_create(ssld_context *context)
{
    struct ssld_hash *hash = ssld_alloc_zero(context, 1, sizeof *hash);
    if (hash) {
        hash->context = context;
        XXH3_128bits_reset(&hash->state);
    }
    return hash;
}

void ssld_hash_add(struct ssld_hash *hash, const void *bytes, size_t size)
{
    XXH3_128bits_update(&hash->state, bytes, size);
}

void ssld_hash_add_u64(struct ssld_hash *hash, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    ssld_hash_add(hash, bytes, sizeof bytes);
}

void ssld_hash_add_text(struct ssld_hash *hash, const char *text)
{
    ssld_hash_add(hash, text, strlen(text) + 1);
}

void ssld_hash_finish(struct ssld_hash *hash, uint8_t fingerprint[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&hash->state));
    memcpy(fingerprint, canonical.digest, 16);
    ssld_free(hash->context, hash);
}
