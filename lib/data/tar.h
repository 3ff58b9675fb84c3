/* SPDX-License-Identifier: BSD-2-Clause */
/* tar.h - the headers of a tar file: which members it has, and where. */
#ifndef SSLD_LIB_DATA_TAR_H
#define SSLD_LIB_DATA_TAR_H

#include "data/dataset.h"
#include "data/parallel.h"

#define SSLD_TAR_WINDOW 65536

/* Reads headers through a window, which also has what is small and stands between them. */
struct ssld_tar {
    ssld_context *context;
    const char   *path;
    int           descriptor;
    uint64_t      size;
    uint64_t      next;   /* offset of the header to be read */
    uint64_t      start;  /* of the window in the file */
    size_t        filled; /* bytes of the window */
    uint8_t      *window;
    char         *extended; /* a pax header's content */
};

/* A regular file in it. */
struct ssld_member {
    char     name[SSLD_MOST_PATH];
    uint64_t header; /* offset */
    uint64_t offset; /* of the content */
    uint64_t size;
};

/* The problem names file and offset. Close it whatever happens. */
ssld_status ssld_tar_open(ssld_context *context, const char *path, struct ssld_tar *tar, struct ssld_problem *problem);
/* SSLD_END behind the last one. */
ssld_status ssld_tar_next(struct ssld_tar *tar, struct ssld_member *member, struct ssld_problem *problem);
/* Bytes offset to offset + size, at most SSLD_TAR_WINDOW of them, valid until the next call; NULL after a problem. */
const uint8_t *ssld_tar_bytes(struct ssld_tar *tar, uint64_t offset, size_t size, struct ssld_problem *problem);
void           ssld_tar_close(struct ssld_tar *tar);

#endif
