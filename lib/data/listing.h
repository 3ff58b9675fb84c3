/* SPDX-License-Identifier: BSD-2-Clause */
/* listing.h - what a data set of files consists of, as it is found on the disk or in a manifest: names, sizes, times,
 * content hashes. It lives while a data set is opened, which keeps of it what fetching needs. */
#ifndef SSLD_LIB_DATA_LISTING_H
#define SSLD_LIB_DATA_LISTING_H

#include <sys/stat.h>

#include "data/dataset.h"
#include "data/parallel.h"

/* What the file system says of a file; two stamps that are the same are of the same content. */
struct ssld_stamp {
    uint64_t size;
    uint64_t inode;
    int64_t  modified; /* nanoseconds since 1970; 0: the stamp is like no other, not even itself */
    int64_t  changed;  /* likewise, of the inode: no program can set it back */
};

/* A sample. In a tar file it has no inode of its own: `inode` is the offset of its content. */
struct ssld_entry {
    size_t            name; /* offset of its text */
    struct ssld_stamp stamp;
    uint8_t           hash[16]; /* of its content, zeros: not known */
    int32_t           label;
    uint32_t          container;
};

/* Where samples are: a folder, or a tar file. A folder's stamp changes when a file in it appears, goes or is renamed. */
struct ssld_container {
    size_t            name;
    struct ssld_stamp stamp;
};

#define SSLD_KIND_LIST 1 /* containers: the list itself, then the folders of its files */
#define SSLD_KIND_DIR 2  /* containers: the classes' folders, each before those inside it */
#define SSLD_KIND_TAR 3  /* containers: the shards */

struct ssld_listing {
    ssld_context          *context;
    int32_t                kind;
    struct ssld_entry     *entries;
    uint64_t               count, capacity;
    struct ssld_container *containers;
    uint64_t               container_count, container_capacity;
    char                  *names; /* each with its zero */
    size_t                 names_size, names_capacity;
};

/* -- Filling one; each fails with SSLD_OUT_OF_MEMORY and says so in the problem ------------------------------------- */

ssld_status ssld_listing_name(struct ssld_listing *listing, const char *name, size_t length, size_t *offset,
                              struct ssld_problem *problem);
ssld_status ssld_listing_entry(struct ssld_listing *listing, const char *name, size_t length,
                               const struct ssld_entry *entry, struct ssld_problem *problem); /* its name is set */
ssld_status ssld_listing_container(struct ssld_listing *listing, const char *name, size_t length,
                                   const struct ssld_stamp *stamp, struct ssld_problem *problem);
/* Add a range of another listing's containers with all entries in them, which are a range too. Labels are set to `label`
 * unless it is -1. */
ssld_status ssld_listing_append(struct ssld_listing *listing, const struct ssld_listing *from, uint64_t first_container,
                                uint64_t container_count, uint64_t first_entry, uint64_t entry_count, int32_t label,
                                struct ssld_problem *problem);
void ssld_listing_free(struct ssld_listing *listing); /* a zeroed one is ignored */

static inline const char *ssld_entry_name(const struct ssld_listing *listing, uint64_t entry)
{
    return listing->names + listing->entries[entry].name;
}

static inline const char *ssld_container_name(const struct ssld_listing *listing, uint64_t container)
{
    return listing->names + listing->containers[container].name;
}

/* -- Stamps ------------------------------------------------------------------------------------------------------- */

/* A file that was written a moment ago may change again without a change of its times, which are only that fine: its stamp
 * is like no other. `now` in nanoseconds since 1970. */
struct ssld_stamp ssld_stamp_of(const struct stat *info, int64_t now);
bool              ssld_stamp_same(const struct ssld_stamp *one, const struct ssld_stamp *other);
int64_t           ssld_now(void);

bool ssld_hash_known(const uint8_t hash[16]);

/* -- Finding names ------------------------------------------------------------------------------------------------ */

/* From texts to numbers. Texts are borrowed. */
struct ssld_text_index {
    ssld_context *context;
    uint64_t     *slots; /* number + 1, 0: free */
    uint64_t      size;  /* a power of two */
    uint64_t      used;
};

/* The number of a text, UINT64_MAX if it is not there. `text_of` gives the text of a number. */
typedef const char *ssld_text_function(const void *user, uint64_t number);
uint64_t    ssld_text_index_find(const struct ssld_text_index *index, const char *text, size_t length, ssld_text_function *text_of,
                            const void *user);
ssld_status ssld_text_index_add(struct ssld_text_index *index, const char *text, size_t length, uint64_t number,
                           ssld_text_function *text_of, const void *user, struct ssld_problem *problem);
void        ssld_text_index_free(struct ssld_text_index *index);

/* -- Opening ------------------------------------------------------------------------------------------------------ */

/* A data set of files that is being opened. */
struct ssld_opening {
    ssld_dataset               *dataset;
    const char                 *place;
    const ssld_dataset_options *options;
    struct ssld_listing         old;     /* what the manifest says; empty without one */
    struct ssld_listing         listing; /* what there is */
    uint64_t                    holder;  /* inode of the folder that the manifest is in: writing it changes the folder */
};

/* How a source is opened with the help of a manifest. */
struct ssld_listed {
    int32_t kind;
    /* Set dataset->root; say where the manifest is if no path is given, and what must be the same for it to be used. */
    ssld_status (*locate)(struct ssld_opening *opening, char path[SSLD_MOST_PATH], struct ssld_hash *identity);
    /* Make the listing, from `old` where that still holds. */
    ssld_status (*build)(struct ssld_opening *opening);
};

/* For build: is the old stamp of a container still that of the file system? A folder's also says that nothing came or went. */
bool        ssld_container_holds(const struct ssld_opening *opening, uint64_t old_container, const struct ssld_stamp *now);
/* Must the files themselves be looked at, too? */
bool        ssld_entry_holds(const struct ssld_opening *opening, const struct ssld_entry *old);
ssld_status ssld_listed_open(ssld_dataset *dataset, const struct ssld_listed *how, const char *place,
                             const ssld_dataset_options *options);

/* -- The manifest: docs/manifest-format.md -------------------------------------------------------------------------- */

/* SSLD_OK; SSLD_NOT_FOUND if there is none that can be used, which a log line says unless there is none at all;
 * SSLD_OUT_OF_MEMORY. */
ssld_status ssld_manifest_read(const char *path, const uint8_t identity[16], struct ssld_listing *listing);
ssld_status ssld_manifest_write(const char *path, const uint8_t identity[16], const struct ssld_listing *listing);

#endif
