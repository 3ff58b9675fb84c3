/* SPDX-License-Identifier: BSD-2-Clause */
/* archive.h - tar files made byte by byte, right and wrong, for the tests of shards. */
#ifndef SSLD_TESTS_DATA_ARCHIVE_H
#define SSLD_TESTS_DATA_ARCHIVE_H

#include "data/files.h"

#define ARCHIVE_BLOCK 512

struct archive {
    uint8_t bytes[1 << 17];
    size_t  size;
};

/* The checksum of a header, over which its own field counts as blanks. */
static inline void seal_header(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < ARCHIVE_BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

/* A member of a type: '0' a file, 'L' a long name, 'x' pax records ... Returns its header. */
static inline uint8_t *add_typed(struct archive *archive, const char *name, char type, const void *content, size_t size)
{
    uint8_t *header = archive->bytes + archive->size;
    size_t filled = (size + ARCHIVE_BLOCK - 1) / ARCHIVE_BLOCK * ARCHIVE_BLOCK;
    CHECK(archive->size + ARCHIVE_BLOCK + filled + 2 * ARCHIVE_BLOCK <= sizeof archive->bytes, "the archive is too small");
    memset(header, 0, ARCHIVE_BLOCK + filled);
    memcpy(header, name, strlen(name) < 100 ? strlen(name) : 100);
    snprintf((char *)header + 100, 8, "%07o", 0644);
    snprintf((char *)header + 124, 12, "%011o", (unsigned)size);
    header[156] = (uint8_t)type;
    memcpy(header + 257, "ustar\00000", 8);
    memcpy(header + ARCHIVE_BLOCK, content, size);
    seal_header(header);
    archive->size += ARCHIVE_BLOCK + filled;
    return header;
}

static inline void add_member(struct archive *archive, const char *name, const void *content, size_t size)
{
    add_typed(archive, name, '0', content, size);
}

static inline void add_label(struct archive *archive, const char *name, const char *text)
{
    add_member(archive, name, text, strlen(text));
}

/* Two blocks of zeros. */
static inline void end_archive(struct archive *archive)
{
    memset(archive->bytes + archive->size, 0, 2 * ARCHIVE_BLOCK);
    archive->size += 2 * ARCHIVE_BLOCK;
}

static inline void write_archive(const struct archive *archive, const struct folder *folder, const char *name)
{
    add_file(folder, name, archive->bytes, archive->size);
}

#endif
