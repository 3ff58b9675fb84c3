/* SPDX-License-Identifier: BSD-2-Clause */
/* block.h - records together: a payload, and the Zstandard frame it is in.
 *
 * Prefix-coded records stand in the payload as they are, with the places where some of them begin, and the payload in the frame
 * uncompressed: a reader maps it and reads one record. Records of columns are taken apart into planes of bytes and compressed. */
#ifndef SSLD_LIB_STORE_BLOCK_H
#define SSLD_LIB_STORE_BLOCK_H

#include <zstd.h>

#include "store/codec.h"

/* A record to be packed: where its bits are. */
struct ssld_record {
    const uint8_t *bytes;
    uint64_t       bits;
};

/* The coding of a store's blocks, and of those coded as halves before there is a model. */
struct ssld_coding ssld_coding_of(const struct ssld_store_header *header);

/* Bytes of the payload of these records, and of the frame it is in at most. */
uint64_t ssld_payload_size(const struct ssld_codec *codec, const struct ssld_coding *coding, const struct ssld_record *records,
                           uint32_t count);
size_t   ssld_payload_bound(uint64_t payload_bytes);

/* Pack records. `payload` has room for ssld_payload_size(), `frame` for the bound. Returns the bytes of the frame, 0 if zstd
 * fails; `checksum` receives the payload's. */
size_t ssld_payload_pack(const struct ssld_codec *codec, const struct ssld_coding *coding, const struct ssld_record *records,
                         uint32_t count, ZSTD_CCtx *compressor, uint8_t *payload, uint8_t *frame, uint64_t *checksum);

/* Working memory for reading payloads that are compressed. */
struct ssld_unpacker {
    ZSTD_DCtx *decompressor;
    uint8_t   *payload; /* block_bytes */
    uint8_t   *record;  /* one record of columns put together again */
    size_t     payload_room, record_room;
    /* Where the record behind the one read last begins, for groups of even and of odd numbers: the next one is there if labels are
     * read in order, also in two groups by turns. */
    struct {
        const uint8_t *payload; /* NULL: not known */
        uint32_t       record;
        uint64_t       at;
    } passed[2];
};

ssld_status ssld_unpacker_make(ssld_context *context, const struct ssld_store_header *header, struct ssld_unpacker *unpacker);
void        ssld_unpacker_free(ssld_context *context, struct ssld_unpacker *unpacker);

/* The block's payload, in its place in the file or decompressed, its checksum looked at. NULL if it is not what it was when
 * written. */
const uint8_t *ssld_block_payload(struct ssld_unpacker *unpacker, const struct ssld_block *block);

/* Where record `i` of a payload begins; false if the payload is none of ours. The record is put together in the unpacker if
 * it has columns. */
bool ssld_payload_record(struct ssld_unpacker *unpacker, const struct ssld_codec *codec, const struct ssld_coding *coding,
                         const struct ssld_model *model, const struct ssld_block *block, const uint8_t *payload, uint32_t i,
                         struct ssld_source *source);

/* Tell that a record that was found was decoded from `source`, which is behind it now; of several in one lane, in the order they
 * were found. */
void ssld_payload_passed(struct ssld_unpacker *unpacker, const struct ssld_source *source);

/* Bytes of a prefix-coded payload that are not its records. */
uint64_t ssld_payload_overhead(const struct ssld_block *block, const uint8_t *payload);

#endif
