/* SPDX-License-Identifier: BSD-2-Clause */
/* block.c - payloads and their Zstandard frames. Layouts are in docs/format.md, "Payload". */
#include "store/block.h"

#include "core/hash.h"
#include "ssld/store.h"

#define OFFSETS_FIXED 2   /* group, width */
#define PADDING_BYTES 8   /* behind the records, so that 8 bytes may be read from anywhere in them */
#define GROUP 4           /* records from one known place to the next */
#define GROUP_BITS 2048   /* records longer than this have a place each */

#define RAW_MOST (UINT32_C(1) << 17) /* of an uncompressed block of Zstandard's */
#define RAW_FRAME_MOST 16            /* magic, descriptor, size, block header, checksum */

struct ssld_coding ssld_coding_of(const struct ssld_store_header *header)
{
    return (struct ssld_coding){ .classes = header->classes, .top_k = header->top_k, .kl_bound = header->kl_bound,
                                 .shaped = header->shape_rows > 0, .rank = header->shape_rows - 1 };
}

/* -- Payload of prefix-coded records: group, width, places, records, padding ---------------------------------------- */

struct offsets {
    uint32_t group;  /* records between places */
    uint32_t places; /* of records group, 2 group, ..., and of the end */
    uint32_t width;  /* bits of a place */
    uint64_t start;  /* bytes before the records */
};

static struct offsets offsets_of(uint32_t count, uint32_t group, uint32_t width)
{
    struct offsets offsets = { group, (count + group - 1) / group, width, 0 };
    offsets.start = OFFSETS_FIXED + ((uint64_t)offsets.places * width + 7) / 8;
    return offsets;
}

static uint64_t bits_of(const struct ssld_record *records, uint32_t count)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < count; i++)
        bits += records[i].bits;
    return bits;
}

static struct offsets plan_offsets(uint64_t bits, uint32_t count)
{
    uint32_t width = 1;
    while (bits >> width)
        width++;
    return offsets_of(count, bits / count > GROUP_BITS ? 1 : GROUP, width);
}

/* Put `bits` bits of `from` at bit `at` of `to`, whose bits from there on are 0. */
static void copy_bits(uint8_t *to, uint64_t at, const uint8_t *from, uint64_t bits)
{
    unsigned shift = at % 8;
    to += at / 8;
    for (uint64_t i = 0; i < (bits + 7) / 8; i++) {
        unsigned byte = from[i];
        if (i == bits / 8)
            byte &= (1u << bits % 8) - 1;
        to[i] = (uint8_t)(to[i] | byte << shift);
        if (shift)
            to[i + 1] = (uint8_t)(byte >> (8 - shift));
    }
}

static void write_coded(const struct ssld_record *records, uint32_t count, uint64_t size, uint8_t *payload)
{
    uint64_t bits = bits_of(records, count), at = 0;
    struct offsets offsets = plan_offsets(bits, count);
    struct ssld_sink places = { .bytes = payload, .bits = 8 * OFFSETS_FIXED };
    memset(payload, 0, size);
    payload[0] = (uint8_t)offsets.group;
    payload[1] = (uint8_t)offsets.width;
    for (uint32_t i = 0; i < count; i++) {
        at += records[i].bits;
        if ((i + 1) % offsets.group == 0 || i + 1 == count)
            ssld_put_bits(&places, at, offsets.width);
    }
    at = 8 * offsets.start;
    /* The places were written 8 bytes at a time: what they left behind themselves is 0, as everything here. */
    for (uint32_t i = 0; i < count; i++) {
        copy_bits(payload, at, records[i].bytes, records[i].bits);
        at += records[i].bits;
    }
}

/* -- Payload of columns: all lowest bytes, then all next higher ones ------------------------------------------------ */

static void write_columns(unsigned width, const struct ssld_record *records, uint32_t count, uint8_t *payload)
{
    size_t values = (size_t)(records[0].bits / 8) / width, all = values * count;
    for (uint32_t i = 0; i < count; i++)
        for (size_t v = 0; v < values; v++)
            for (unsigned b = 0; b < width; b++)
                payload[b * all + i * values + v] = records[i].bytes[v * width + b];
}

static void read_columns(unsigned width, size_t values, uint32_t count, const uint8_t *payload, uint32_t i, uint8_t *record)
{
    size_t all = values * count;
    for (unsigned b = 0; b < width; b++)
        for (size_t v = 0; v < values; v++)
            record[v * width + b] = payload[b * all + i * values + v];
}

/* -- Zstandard frames of uncompressed payloads ---------------------------------------------------------------------- */

#define ZSTD_MAGIC UINT32_C(0xFD2FB528)

/* A frame's bytes before its payload: magic; descriptor with one segment and a checksum; content size; one last block, raw. */
static size_t raw_head(uint32_t size, uint8_t *bytes)
{
    unsigned field = size < 256 ? 1 : size < 65536 + 256 ? 2 : 4;
    ssld_put_u32(bytes, ZSTD_MAGIC);
    bytes[4] = (uint8_t)(0x20 | 0x04 | (field == 1 ? 0 : field == 2 ? 0x40 : 0x80));
    if (field == 1)
        bytes[5] = (uint8_t)size;
    else if (field == 2)
        ssld_put_u16(bytes + 5, size - 256);
    else
        ssld_put_u32(bytes + 5, size);
    uint32_t block = 1 | size << 3;
    uint8_t *at = bytes + 5 + field;
    at[0] = (uint8_t)block;
    at[1] = (uint8_t)(block >> 8);
    at[2] = (uint8_t)(block >> 16);
    return 5 + field + 3;
}

/* The payload in a frame that is exactly as raw_head() makes it; NULL if it is another. */
static const uint8_t *raw_payload(const struct ssld_block *block)
{
    uint8_t head[RAW_FRAME_MOST];
    if (block->payload_bytes > RAW_MOST)
        return NULL;
    size_t size = raw_head(block->payload_bytes, head);
    return block->compressed_bytes == size + block->payload_bytes + 4 && !memcmp(block->compressed, head, size)
               ? block->compressed + size
               : NULL;
}

/* -- Packing ------------------------------------------------------------------------------------------------------ */

uint64_t ssld_payload_size(const struct ssld_codec *codec, const struct ssld_coding *coding, const struct ssld_record *records,
                           uint32_t count)
{
    if (codec->columns)
        return codec->most_bits(coding) / 8 * count;
    uint64_t bits = bits_of(records, count);
    return plan_offsets(bits, count).start + (bits + 7) / 8 + PADDING_BYTES;
}

size_t ssld_payload_bound(uint64_t payload_bytes)
{
    return ZSTD_compressBound((size_t)payload_bytes) + RAW_FRAME_MOST;
}

size_t ssld_payload_pack(const struct ssld_codec *codec, const struct ssld_coding *coding, const struct ssld_record *records,
                         uint32_t count, ZSTD_CCtx *compressor, uint8_t *payload, uint8_t *frame, uint64_t *checksum)
{
    uint64_t size = ssld_payload_size(codec, coding, records, count);
    if (codec->columns)
        write_columns((unsigned)codec->columns, records, count, payload);
    else
        write_coded(records, count, size, payload);
    *checksum = ssld_checksum(payload, (size_t)size);
    if (!codec->columns && size <= RAW_MOST) {
        size_t head = raw_head((uint32_t)size, frame);
        memcpy(frame + head, payload, (size_t)size);
        ssld_put_u32(frame + head + size, (uint32_t)*checksum); /* Zstandard's own checksum is the low half of ours */
        return head + (size_t)size + 4;
    }
    size_t packed = ZSTD_compress2(compressor, frame, ssld_payload_bound(size), payload, (size_t)size);
    return ZSTD_isError(packed) ? 0 : packed;
}

/* -- Unpacking ---------------------------------------------------------------------------------------------------- */

ssld_status ssld_unpacker_make(ssld_context *context, const struct ssld_store_header *header, struct ssld_unpacker *unpacker)
{
    *unpacker = (struct ssld_unpacker){ .payload_room = header->block_bytes,
                                        .record_room = (size_t)header->classes * 4 + 8 };
    unpacker->payload = ssld_alloc(context, unpacker->payload_room);
    unpacker->record = ssld_alloc_zero(context, 1, unpacker->record_room);
    /* zstd takes an allocator only through its experimental interface, which a shared library need not have: its working
     * memory comes from the C library. */
    unpacker->decompressor = ZSTD_createDCtx();
    if (unpacker->payload && unpacker->record && unpacker->decompressor)
        return SSLD_OK;
    ssld_unpacker_free(context, unpacker);
    return ssld_fail_memory(context, "reading a store", header->block_bytes);
}

void ssld_unpacker_free(ssld_context *context, struct ssld_unpacker *unpacker)
{
    ssld_free(context, unpacker->payload);
    ssld_free(context, unpacker->record);
    ZSTD_freeDCtx(unpacker->decompressor);
    *unpacker = (struct ssld_unpacker){ 0 };
}

const uint8_t *ssld_block_payload(struct ssld_unpacker *unpacker, const struct ssld_block *block)
{
    const uint8_t *payload = raw_payload(block);
    unpacker->passed[0].payload = unpacker->passed[1].payload = NULL;
    if (payload) {
        if (ssld_get_u32(payload + block->payload_bytes) != (uint32_t)block->checksum)
            return NULL;
    } else {
        if (block->payload_bytes > unpacker->payload_room)
            return NULL;
        size_t size = ZSTD_decompressDCtx(unpacker->decompressor, unpacker->payload, block->payload_bytes, block->compressed,
                                          block->compressed_bytes);
        if (ZSTD_isError(size) || size != block->payload_bytes)
            return NULL;
        payload = unpacker->payload;
    }
    return ssld_checksum(payload, block->payload_bytes) == block->checksum ? payload : NULL;
}

static bool offsets_read(const struct ssld_block *block, const uint8_t *payload, struct offsets *offsets)
{
    if (block->payload_bytes < OFFSETS_FIXED + PADDING_BYTES || !payload[0] || !payload[1] || payload[1] > 32)
        return false;
    *offsets = offsets_of(block->records, payload[0], payload[1]);
    return offsets->start + PADDING_BYTES <= block->payload_bytes;
}

/* Bits from the records' beginning to place `i`: place 0 is the beginning. */
static uint64_t place(const struct offsets *offsets, const uint8_t *payload, uint32_t i)
{
    if (!i)
        return 0;
    struct ssld_source source = { .bytes = payload, .at = 8 * OFFSETS_FIXED + (uint64_t)(i - 1) * offsets->width,
                                  .last = UINT64_MAX };
    return ssld_get_bits(&source, offsets->width);
}

bool ssld_payload_record(struct ssld_unpacker *unpacker, const struct ssld_codec *codec, const struct ssld_coding *coding,
                         const struct ssld_model *model, const struct ssld_block *block, const uint8_t *payload, uint32_t i,
                         struct ssld_source *source)
{
    if (codec->columns) {
        uint64_t size = codec->most_bits(coding) / 8;
        if (size * block->records != block->payload_bytes || size + 8 > unpacker->record_room)
            return false;
        read_columns((unsigned)codec->columns, (size_t)size / (unsigned)codec->columns, block->records, payload, i,
                     unpacker->record);
        *source = (struct ssld_source){ .bytes = unpacker->record, .end = 8 * size, .last = size };
        return true;
    }
    struct offsets offsets;
    if (!offsets_read(block, payload, &offsets))
        return false;
    uint64_t start = 8 * offsets.start, last = block->payload_bytes - PADDING_BYTES;
    source->bytes = payload;
    source->last = last;
    source->at = start + place(&offsets, payload, i / offsets.group);
    source->end = start + place(&offsets, payload, i / offsets.group + 1);
    if (source->end > 8 * last || source->at > source->end)
        return false;
    uint32_t before = i / offsets.group * offsets.group, lane = i / offsets.group % 2;
    if (unpacker->passed[lane].payload == payload && unpacker->passed[lane].record >= before &&
        unpacker->passed[lane].record <= i) {
        before = unpacker->passed[lane].record;
        source->at = unpacker->passed[lane].at;
    }
    unpacker->passed[lane].payload = NULL;
    for (; before < i; before++)
        if (!codec->decode(coding, model, source, NULL, NULL))
            return false;
    unpacker->passed[lane].record = i + 1;
    source->lane = lane;
    return true;
}

void ssld_payload_passed(struct ssld_unpacker *unpacker, const struct ssld_source *source)
{
    unpacker->passed[source->lane].payload = source->bytes;
    unpacker->passed[source->lane].at = source->at;
}

uint64_t ssld_payload_overhead(const struct ssld_block *block, const uint8_t *payload)
{
    struct offsets offsets;
    return offsets_read(block, payload, &offsets) ? offsets.start + PADDING_BYTES : 0;
}
