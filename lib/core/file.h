/* SPDX-License-Identifier: BSD-2-Clause */
/* file.h - whole files: read, mapped, replaced atomically. */
#ifndef SSLD_LIB_CORE_FILE_H
#define SSLD_LIB_CORE_FILE_H

#include "core/context.h"

/* A read-only map of a whole file. An empty file has bytes != NULL and size 0. */
struct ssld_map {
    const uint8_t *bytes;
    size_t         size;
};

ssld_status ssld_map_open(ssld_context *context, const char *path, struct ssld_map *map);
void        ssld_map_close(struct ssld_map *map); /* a zeroed map is ignored */

/* A file that appears under its name whole or not at all: written beside it, synced, renamed, its folder synced.
 *
 *   struct ssld_replacement file;
 *   if (ssld_replacement_open(context, path, &file)) ...
 *   ssld_replacement_write(&file, bytes, size);     as often as needed; the first failure is kept
 *   status = ssld_replacement_commit(&file);        or ssld_replacement_discard(&file)
 */
struct ssld_replacement {
    ssld_context *context;
    char         *path;
    char         *temporary;
    int           descriptor;
    ssld_status   status; /* of the first failure */
};

ssld_status ssld_replacement_open(ssld_context *context, const char *path, struct ssld_replacement *file);
ssld_status ssld_replacement_write(struct ssld_replacement *file, const void *bytes, size_t size);
ssld_status ssld_replacement_commit(struct ssld_replacement *file);  /* frees what open made, whatever it returns */
void        ssld_replacement_discard(struct ssld_replacement *file); /* likewise, and the old file stands */

/* Write all of it at the descriptor's position, going on after interruptions and short writes. 0, or -1 with errno. */
int ssld_write_all(int descriptor, const void *bytes, size_t size);
/* Make the name of a new file durable: fsync of the folder it is in. 0, or -1 with errno. */
int ssld_sync_folder(const char *path);

#endif
