/* SPDX-License-Identifier: BSD-2-Clause */
/* payloads.c - weights stay in the mapped file: what protobuf-c unpacks, and copies, is the file without them.
 *
 * The file is a nest of messages of known kinds. Each is copied, field by field, but for large raw_data and float_data of
 * tensors, in whose place go two numbers that no file has: where the data stands and how much it is. Lengths of the messages
 * around change with that, so each is measured before it is copied. */
#include "onnx/reader.h"

#include <string.h>

#define LARGE 512 /* bytes of data that are worth leaving in the file */

/* Wire types of protobuf. */
#define WIRE_VARINT 0
#define WIRE_FIXED64 1
#define WIRE_BYTES 2
#define WIRE_FIXED32 5

enum message { MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, OTHER };

/* Messages in messages, by field number. */
static const struct {
    uint8_t outer;
    uint32_t field;
    uint8_t inner;
} nest[] = {
    { MODEL, 7, GRAPH }, { GRAPH, 1, NODE }, { GRAPH, 5, TENSOR }, { NODE, 5, ATTRIBUTE }, { ATTRIBUTE, 5, TENSOR },
};

#define FIELD_FLOATS 4
#define FIELD_RAW 9
#define FIELD_PAYLOAD 2001 /* and three more: onnx.proto's raw_offset, raw_size, floats_offset, floats_size */

struct field {
    uint32_t       number, wire;
    const uint8_t *start; /* of its tag */
    const uint8_t *bytes; /* of its content */
    size_t         size;
};

static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* The field at *at, which moves behind it. */
static bool take_field(const uint8_t **at, const uint8_t *end, struct field *field)
{
    uint64_t tag, value = 0;
    field->start = *at;
    if (!take_varint(at, end, &tag) || tag >> 3 > UINT32_MAX)
        return false;
    field->number = (uint32_t)(tag >> 3);
    field->wire = (uint32_t)(tag & 7);
    field->bytes = *at;
    if (field->wire == WIRE_VARINT) {
        if (!take_varint(at, end, &value))
            return false;
        field->size = (size_t)(*at - field->bytes);
        return true;
    }
    if (field->wire == WIRE_BYTES && !take_varint(at, end, &value))
        return false;
    if (field->wire != WIRE_BYTES && field->wire != WIRE_FIXED64 && field->wire != WIRE_FIXED32)
        return false;
    uint64_t size = field->wire == WIRE_BYTES ? value : field->wire == WIRE_FIXED64 ? 8 : 4;
    field->bytes = *at;
    field->size = (size_t)size;
    if (size > (uint64_t)(end - *at))
        return false;
    *at += size;
    return true;
}

static enum message inner_message(enum message outer, const struct field *field)
{
    for (size_t i = 0; i < sizeof nest / sizeof nest[0] && field->wire == WIRE_BYTES; i++)
        if (nest[i].outer == outer && nest[i].field == field->number)
            return nest[i].inner;
    return OTHER;
}

/* Data that is left in the file. Where a field is there twice, protobuf's rules decide, and both are parsed. */
static bool is_payload(enum message kind, const struct field *field, const uint8_t *message, size_t size)
{
    if (kind != TENSOR || field->wire != WIRE_BYTES || field->size < LARGE ||
        (field->number != FIELD_RAW && field->number != FIELD_FLOATS))
        return false;
    struct field other;
    int same = 0;
    for (const uint8_t *at = message; at < message + size && take_field(&at, message + size, &other);)
        same += other.number == field->number;
    return same == 1;
}

/* Numbers of this library's in a file are nobody's. */
static bool is_forged(enum message kind, const struct field *field)
{
    return kind == TENSOR && field->number >= FIELD_PAYLOAD && field->number < FIELD_PAYLOAD + 4;
}

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        *to++ = (uint8_t)(value & 0x7f) | 0x80;
    *to++ = (uint8_t)value;
    return to;
}

static size_t varint_size(uint64_t value)
{
    uint8_t bytes[10];
    return (size_t)(put_varint(bytes, value) - bytes);
}

static uint8_t *put_payload(uint8_t *to, const struct field *field, uint64_t offset)
{
    uint32_t number = FIELD_PAYLOAD + (field->number == FIELD_RAW ? 0 : 2);
    to = put_varint(to, (uint64_t)number << 3 | WIRE_VARINT);
    to = put_varint(to, offset);
    to = put_varint(to, (uint64_t)(number + 1) << 3 | WIRE_VARINT);
    return put_varint(to, field->size);
}

/* Size of a message without its payloads; false if it is no message. */
static bool measure(const uint8_t *file, enum message kind, const uint8_t *bytes, size_t size, size_t *stripped)
{
    struct field field;
    *stripped = 0;
    for (const uint8_t *at = bytes; at < bytes + size;) {
        uint8_t payload[40];
        size_t inner;
        if (!take_field(&at, bytes + size, &field))
            return false;
        enum message within = inner_message(kind, &field);
        if (is_forged(kind, &field))
            continue;
        if (is_payload(kind, &field, bytes, size)) {
            *stripped += (size_t)(put_payload(payload, &field, (uint64_t)(field.bytes - file)) - payload);
        } else if (within == OTHER) {
            *stripped += (size_t)(at - field.start);
        } else {
            if (!measure(file, within, field.bytes, field.size, &inner))
                return false;
            *stripped += varint_size((uint64_t)field.number << 3 | WIRE_BYTES) + varint_size(inner) + inner;
        }
    }
    return true;
}

/* What has been measured is copied. */
static uint8_t *copy(const uint8_t *file, enum message kind, const uint8_t *bytes, size_t size, uint8_t *to)
{
    struct field field;
    for (const uint8_t *at = bytes; at < bytes + size && take_field(&at, bytes + size, &field);) {
        enum message within = inner_message(kind, &field);
        size_t inner = 0;
        if (is_forged(kind, &field))
            continue;
        if (is_payload(kind, &field, bytes, size)) {
            to = put_payload(to, &field, (uint64_t)(field.bytes - file));
        } else if (within == OTHER) {
            memcpy(to, field.start, (size_t)(at - field.start));
            to += at - field.start;
        } else {
            measure(file, within, field.bytes, field.size, &inner);
            to = put_varint(to, (uint64_t)field.number << 3 | WIRE_BYTES);
            to = put_varint(to, inner);
            to = copy(file, within, field.bytes, field.size, to);
        }
    }
    return to;
}

ssld_status ssld_onnx_take_payloads_out(struct reader *reader, uint8_t **stripped, size_t *size)
{
    if (!measure(reader->bytes, MODEL, reader->bytes, reader->size, size))
        return ssld_fail(reader->context, SSLD_FORMAT, "%s: not an ONNX file, or cut off (%zu bytes)", reader->file,
                         reader->size);
    ssld_status status = ssld_onnx_spend(reader, *size);
    if (status)
        return status;
    *stripped = ssld_alloc(reader->context, *size);
    if (!*stripped)
        return ssld_fail_memory(reader->context, "an ONNX file", *size);
    copy(reader->bytes, MODEL, reader->bytes, reader->size, *stripped);
    return SSLD_OK;
}
