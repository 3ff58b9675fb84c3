/* SPDX-License-Identifier: BSD-2-Clause */
/* png.c - PNG (ISO/IEC 15948) of RGB pixels: each row as the difference to the row above it, and those bytes deflated
 * (RFC 1951) with the fixed codes, a repeated pixel as one match. That shrinks what contact sheets are full of: plain areas
 * and enlarged pixels. */
#include "png.h"

#include <stdlib.h>
#include <string.h>

#include "store_output.h"

#define UP 2           /* PNG's filter: byte - byte above */
#define PIXEL 3        /* bytes; the distance of every match */
#define LEAST_MATCH 3
#define MOST_MATCH 258
#define END_OF_BLOCK 256
#define FIRST_LENGTH 257

/* Packed bytes; there is always room for the worst case. */
struct packed {
    uint8_t *bytes;
    size_t   count;
    uint32_t bits; /* those that do not fill a byte yet, the next one lowest */
    int      waiting;
};

static void put_bits(struct packed *packed, uint32_t value, int count)
{
    packed->bits |= value << packed->waiting;
    for (packed->waiting += count; packed->waiting >= 8; packed->waiting -= 8) {
        packed->bytes[packed->count++] = (uint8_t)packed->bits;
        packed->bits >>= 8;
    }
}

/* Huffman codes go in from their highest bit on. */
static void put_code(struct packed *packed, uint32_t code, int length)
{
    uint32_t reversed = 0;
    for (int i = 0; i < length; i++)
        reversed |= (code >> i & 1) << (length - 1 - i);
    put_bits(packed, reversed, length);
}

/* The fixed code of a literal, the end or a length (RFC 1951, 3.2.6). */
static void put_symbol(struct packed *packed, uint32_t symbol)
{
    if (symbol < 144)
        put_code(packed, 0x30 + symbol, 8);
    else if (symbol < 256)
        put_code(packed, 0x190 + symbol - 144, 9);
    else if (symbol < 280)
        put_code(packed, symbol - 256, 7);
    else
        put_code(packed, 0xc0 + symbol - 280, 8);
}

/* Lengths come in groups of four symbols, of which each stands for 2^extra lengths; below 11 for one, and 258 has its own. */
static void put_match(struct packed *packed, uint32_t length)
{
    uint32_t symbol = FIRST_LENGTH + length - LEAST_MATCH, rest = 0;
    int extra = 0;
    if (length == MOST_MATCH) {
        symbol = 285;
    } else if (length > 10) {
        uint32_t above = length - LEAST_MATCH; /* 8 to 254 */
        while (above >> (extra + 3))
            extra++;
        symbol = FIRST_LENGTH + 4 * (uint32_t)extra + (above >> extra);
        rest = above & ((1u << extra) - 1);
    }
    put_symbol(packed, symbol);
    put_bits(packed, rest, extra);
    put_code(packed, PIXEL - 1, 5); /* distances 1 to 4 have a code each */
}

static void deflate_bytes(struct packed *packed, const uint8_t *bytes, size_t count)
{
    put_bits(packed, 1, 1); /* the last block, */
    put_bits(packed, 1, 2); /* of fixed codes */
    for (size_t at = 0; at < count;) {
        size_t length = 0, most = count - at < MOST_MATCH ? count - at : MOST_MATCH;
        while (at >= PIXEL && length < most && bytes[at + length] == bytes[at + length - PIXEL])
            length++;
        if (length >= LEAST_MATCH) {
            put_match(packed, (uint32_t)length);
            at += length;
        } else {
            put_symbol(packed, bytes[at++]);
        }
    }
    put_symbol(packed, END_OF_BLOCK);
    put_bits(packed, 0, 7); /* to the end of the byte */
}

static uint32_t adler32(const uint8_t *bytes, size_t count)
{
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = (low + bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

static void put_word(uint8_t bytes[4], uint32_t word)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(word >> (24 - 8 * i));
}

/* -- The file ----------------------------------------------------------------------------------------------------- */

static uint32_t crc_of(uint32_t crc, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return crc;
}

static void write_chunk(FILE *file, const char *type, const uint8_t *bytes, size_t count)
{
    uint8_t head[8], tail[4];
    put_word(head, (uint32_t)count);
    memcpy(head + 4, type, 4);
    put_word(tail, ~crc_of(crc_of(~0u, head + 4, 4), bytes, count));
    fwrite(head, 1, sizeof head, file);
    fwrite(bytes, 1, count, file);
    fwrite(tail, 1, sizeof tail, file);
}

/* Rows with their filter, as differences to the row above: count = height x (1 + width x 3). */
static void filter_rows(const struct canvas *canvas, uint8_t *rows)
{
    size_t stride = (size_t)canvas->width * PIXEL;
    for (size_t y = 0; y < (size_t)canvas->height; y++) {
        const uint8_t *row = canvas->pixels + y * stride;
        *rows++ = UP;
        for (size_t x = 0; x < stride; x++)
            *rows++ = (uint8_t)(row[x] - (y ? row[x - stride] : 0));
    }
}

static void write_file(FILE *file, const struct canvas *canvas, const struct packed *packed)
{
    static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    uint8_t header[13] = { [8] = 8, [9] = 2 }; /* 8 bits, RGB */
    put_word(header, (uint32_t)canvas->width);
    put_word(header + 4, (uint32_t)canvas->height);
    fwrite(signature, 1, sizeof signature, file);
    write_chunk(file, "IHDR", header, sizeof header);
    write_chunk(file, "IDAT", packed->bytes, packed->count);
    write_chunk(file, "IEND", header, 0);
}

int png_save(struct program *program, const char *path, const struct canvas *canvas)
{
    size_t count = (size_t)canvas->height * ((size_t)canvas->width * PIXEL + 1);
    uint8_t *rows = malloc(count);
    struct packed packed = { .bytes = malloc(count + count / 8 + 16) }; /* 9 bits a byte at most */
    struct output output = { .file = NULL };
    int code = EXIT_WORK;
    if (!rows || !packed.bytes) {
        program_complain("no memory for packing a picture of %d x %d", canvas->width, canvas->height);
    } else if (output_begin_file(program, path, true, &output)) {
        filter_rows(canvas, rows);
        packed.bytes[packed.count++] = 0x78; /* zlib's head (RFC 1950): deflate, 32 KiB window, no dictionary */
        packed.bytes[packed.count++] = 0x01;
        deflate_bytes(&packed, rows, count);
        put_word(packed.bytes + packed.count, adler32(rows, count));
        packed.count += 4;
        write_file(output.file, canvas, &packed);
        code = output_finish(&output);
    }
    output_drop(&output);
    free(packed.bytes);
    free(rows);
    return code;
}
