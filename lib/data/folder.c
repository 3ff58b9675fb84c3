/* SPDX-License-Identifier: BSD-2-Clause */
/* folder.c - dir:FOLDER, a folder for each class. Names that begin with a dot are passed over; folders inside a class
 * are entered unless they are symbolic links, which could lead round in circles.
 *
 * Classes are looked through in parallel. One whose folders all have the stamps of the manifest is taken from there: nothing
 * came, went or was renamed in them. */
#define _GNU_SOURCE /* d_type */
#include "data/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Folders in folders that are entered; more are no data set. */
#define MOST_DEPTH 32

/* -- Names that stay where they are, to be sorted ----------------------------------------------------------------- */

#define PIECE_BYTES 65536

struct piece {
    struct piece *next;
    size_t        used;
    char          text[PIECE_BYTES - 2 * sizeof(void *)];
};

struct find {
    const char       *name; /* relative to the data set's folder */
    struct ssld_stamp stamp;
    uint64_t          folder; /* its number in the class */
};

struct finds {
    struct find *items;
    size_t       count, capacity;
};

static ssld_status no_memory(struct ssld_problem *problem)
{
    return ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for a folder's names");
}

static const char *keep_name(ssld_context *context, struct piece **pieces, const char *name)
{
    size_t size = strlen(name) + 1;
    if (!*pieces || (*pieces)->used + size > sizeof (*pieces)->text) {
        struct piece *piece = ssld_alloc(context, sizeof *piece);
        if (!piece)
            return NULL;
        piece->next = *pieces;
        piece->used = 0;
        *pieces = piece;
    }
    char *copy = (*pieces)->text + (*pieces)->used;
    memcpy(copy, name, size);
    (*pieces)->used += size;
    return copy;
}

static void free_names(ssld_context *context, struct piece *pieces)
{
    while (pieces) {
        struct piece *next = pieces->next;
        ssld_free(context, pieces);
        pieces = next;
    }
}

static ssld_status add_find(ssld_context *context, struct piece **pieces, struct finds *finds, const char *name,
                            const struct ssld_stamp *stamp, uint64_t folder, struct ssld_problem *problem)
{
    if (finds->count == finds->capacity) {
        size_t capacity = finds->capacity ? finds->capacity * 2 : 64;
        struct find *items = ssld_realloc(context, finds->items, finds->count * sizeof *items, capacity * sizeof *items);
        if (!items)
            return no_memory(problem);
        finds->items = items;
        finds->capacity = capacity;
    }
    const char *kept = keep_name(context, pieces, name);
    if (!kept)
        return no_memory(problem);
    finds->items[finds->count++] = (struct find){ kept, *stamp, folder };
    return SSLD_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct find *)a)->name, ((const struct find *)b)->name);
}

static void sort_finds(struct finds *finds)
{
    if (finds->count)
        qsort(finds->items, finds->count, sizeof *finds->items, by_name);
}

/* -- Walking ------------------------------------------------------------------------------------------------------ */

struct class {
    const char      *name;
    ssld_status      status;
    struct piece    *names;
    struct finds     folders, images; /* what was found, unless the class is taken from the manifest */
    uint64_t         old_folder, old_folder_count, old_image, old_image_count; /* its part of the manifest */
    bool             known; /* it has a part there */
    bool             reused;
};

struct walk {
    struct ssld_opening *opening;
    ssld_context        *context;
    const char          *root;
    int                  descriptor; /* of the root */
    int64_t              now;
    struct piece        *names;
    struct finds         found;   /* the classes' folders */
    struct class        *classes; /* (found.count) */
};

static bool is_image_name(const char *name)
{
    static const char *const endings[] = { ".jpg", ".jpeg", ".png" };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i]))
            return true;
    return false;
}

static ssld_status fail_at(const struct walk *walk, const char *name, const char *verb, struct ssld_problem *problem)
{
    char path[SSLD_MOST_PATH + 300];
    int error = errno;
    snprintf(path, sizeof path, "%s%s%s", walk->root, *name ? "/" : "", name);
    errno = error;
    return ssld_problem_errno(problem, path, verb);
}

/* stat() failed, perhaps at a link's target. */
static ssld_status fail_stat(const struct walk *walk, const char *name, unsigned char type, struct ssld_problem *problem)
{
    if (type != DT_LNK || errno != ENOENT)
        return fail_at(walk, name, "stat", problem);
    return ssld_problem_set(problem, SSLD_NOT_FOUND, "%s/%s: a link to something that is not there; remove it or mend it",
                            walk->root, name);
}

static ssld_status walk_folder(struct walk *walk, struct class *class, int parent, const char *last, const char *name,
                               int depth, struct ssld_problem *problem);

/* One entry of a folder that is open: an image, a folder to be entered, or nothing of ours. */
static ssld_status walk_entry(struct walk *walk, struct class *class, int folder, uint64_t number,
                              const struct dirent *entry, const char *name, int depth, struct ssld_problem *problem)
{
    struct stat info;
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN) {
        if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW))
            return fail_at(walk, name, "stat", problem);
        type = S_ISDIR(info.st_mode) ? DT_DIR : S_ISREG(info.st_mode) ? DT_REG : S_ISLNK(info.st_mode) ? DT_LNK : DT_FIFO;
    }
    if (type == DT_DIR)
        return walk_folder(walk, class, folder, entry->d_name, name, depth + 1, problem);
    if ((type != DT_REG && type != DT_LNK) || !is_image_name(entry->d_name))
        return SSLD_OK;
    if (fstatat(folder, entry->d_name, &info, 0)) /* a link's target */
        return fail_stat(walk, name, type, problem);
    struct ssld_stamp stamp = ssld_stamp_of(&info, walk->now);
    return S_ISREG(info.st_mode) ? add_find(walk->context, &class->names, &class->images, name, &stamp, number, problem)
                                 : SSLD_OK;
}

/* The stamp is taken before the names are read: what comes meanwhile makes it an old one. */
static ssld_status read_folder(struct walk *walk, struct class *class, DIR *folder, const char *name, int depth,
                               struct ssld_problem *problem)
{
    char below[SSLD_MOST_PATH];
    size_t length = strlen(name), room = sizeof below - length - 1;
    uint64_t number = class->folders.count;
    struct dirent *entry;
    struct stat info;
    if (fstat(dirfd(folder), &info))
        return fail_at(walk, name, "stat", problem);
    struct ssld_stamp stamp = ssld_stamp_of(&info, walk->now);
    ssld_status status = add_find(walk->context, &class->names, &class->folders, name, &stamp, number, problem);
    memcpy(below, name, length);
    below[length] = '/';
    while (!status && (errno = 0, entry = readdir(folder))) {
        size_t more = strlen(entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        if (more >= room || strlen(walk->root) + 1 + length + 1 + more >= SSLD_MOST_PATH)
            return ssld_problem_set(problem, SSLD_IO, "%s/%s/%s: the path is too long", walk->root, name, entry->d_name);
        memcpy(below + length + 1, entry->d_name, more + 1);
        status = walk_entry(walk, class, dirfd(folder), number, entry, below, depth, problem);
        if (status)
            return status;
    }
    return !status && errno ? fail_at(walk, name, "read the folder", problem) : status;
}

/* `last` is the folder's own name, `name` its path from the root. */
static ssld_status walk_folder(struct walk *walk, struct class *class, int parent, const char *last, const char *name,
                               int depth, struct ssld_problem *problem)
{
    if (depth > MOST_DEPTH)
        return ssld_problem_set(problem, SSLD_IO, "%s/%s: the path is too deep, more than %d folders", walk->root, name,
                                MOST_DEPTH);
    int descriptor = openat(parent, last, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = descriptor < 0 ? NULL : fdopendir(descriptor);
    if (!folder) {
        ssld_status status = fail_at(walk, name, "open the folder", problem);
        if (descriptor >= 0)
            close(descriptor);
        return status;
    }
    ssld_status status = read_folder(walk, class, folder, name, depth, problem);
    closedir(folder);
    return status;
}

/* -- Classes ------------------------------------------------------------------------------------------------------ */

static ssld_status find_class(struct walk *walk, const struct dirent *entry, struct ssld_problem *problem)
{
    static const struct ssld_stamp none;
    struct stat info;
    bool folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) {
        if (fstatat(walk->descriptor, entry->d_name, &info, 0))
            return fail_stat(walk, entry->d_name, DT_LNK, problem);
        folder = S_ISDIR(info.st_mode);
    }
    return folder ? add_find(walk->context, &walk->names, &walk->found, entry->d_name, &none, 0, problem) : SSLD_OK;
}

static ssld_status find_classes(struct walk *walk, struct ssld_problem *problem)
{
    ssld_status status = SSLD_OK;
    struct dirent *entry;
    walk->descriptor = open(walk->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int other = walk->descriptor < 0 ? -1 : openat(walk->descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = other < 0 ? NULL : fdopendir(other);
    if (!folder) {
        status = fail_at(walk, "", "open the folder", problem);
        if (other >= 0)
            close(other);
        return status;
    }
    while (!status && (errno = 0, entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            status = find_class(walk, entry, problem);
    if (!status && errno)
        status = fail_at(walk, "", "read the folder", problem);
    closedir(folder);
    sort_finds(&walk->found);
    return status;
}

static int by_class(const void *a, const void *b)
{
    return strcmp(((const struct class *)a)->name, ((const struct class *)b)->name);
}

/* A container without a slash is a class's folder, and those up to the next one are inside it. */
static void assign_containers(struct walk *walk, const struct ssld_listing *old)
{
    struct class *class = NULL;
    for (uint64_t i = 0; i < old->container_count; i++) {
        struct class key = { .name = ssld_container_name(old, i) };
        if (!strchr(key.name, '/')) {
            class = bsearch(&key, walk->classes, walk->found.count, sizeof *walk->classes, by_class);
            if (class && !class->known) {
                class->known = true;
                class->old_folder = i;
            } else {
                class = NULL;
            }
        }
        if (class)
            class->old_folder_count++;
    }
}

/* The images of a class stand together: those in its containers. */
static void assign_images(struct walk *walk, const struct ssld_listing *old)
{
    uint64_t at = 0;
    for (size_t c = 0; c < walk->found.count; c++) {
        struct class *class = &walk->classes[c];
        uint64_t first = class->old_folder, end = first + class->old_folder_count;
        if (!class->known)
            continue;
        while (at < old->count && old->entries[at].container < first)
            at++;
        class->old_image = at;
        while (at < old->count && old->entries[at].container < end && old->entries[at].container >= first)
            at++;
        class->old_image_count = at - class->old_image;
    }
}

/* Are the files themselves what the manifest says? Unless they are trusted, each is looked at. */
static bool images_hold(const struct walk *walk, const struct class *class)
{
    const struct ssld_opening *opening = walk->opening;
    for (uint64_t i = class->old_image; i < class->old_image + class->old_image_count; i++) {
        const struct ssld_entry *entry = &opening->old.entries[i];
        struct stat info;
        if (ssld_entry_holds(opening, entry))
            continue;
        if (fstatat(walk->descriptor, ssld_entry_name(&opening->old, i), &info, 0))
            return false;
        struct ssld_stamp stamp = ssld_stamp_of(&info, walk->now);
        if (!ssld_stamp_same(&stamp, &entry->stamp))
            return false;
    }
    return true;
}

static bool class_holds(const struct walk *walk, const struct class *class)
{
    const struct ssld_opening *opening = walk->opening;
    if (!class->known)
        return false;
    for (uint64_t i = class->old_folder; i < class->old_folder + class->old_folder_count; i++) {
        struct stat info;
        if (fstatat(walk->descriptor, ssld_container_name(&opening->old, i), &info, 0))
            return false;
        struct ssld_stamp stamp = ssld_stamp_of(&info, walk->now);
        if (!ssld_container_holds(opening, i, &stamp))
            return false;
    }
    return images_hold(walk, class);
}

static ssld_status look_through(void *user, uint64_t index, struct ssld_problem *problem)
{
    struct walk *walk = user;
    struct class *class = &walk->classes[index];
    class->reused = class_holds(walk, class);
    if (class->reused)
        return SSLD_OK;
    ssld_status status = walk_folder(walk, class, walk->descriptor, class->name, class->name, 0, problem);
    sort_finds(&class->images);
    return status;
}

/* Both are sorted: the hash of an image that is what it was. */
static void recall_hash(const struct walk *walk, const struct class *class, uint64_t *at, const struct find *image,
                        uint8_t hash[16])
{
    const struct ssld_listing *old = &walk->opening->old;
    uint64_t end = class->old_image + class->old_image_count;
    int order = 1;
    while (*at < end && (order = strcmp(ssld_entry_name(old, *at), image->name)) < 0)
        ++*at;
    if (*at < end && !order && ssld_stamp_same(&old->entries[*at].stamp, &image->stamp))
        memcpy(hash, old->entries[*at].hash, 16);
}

static ssld_status add_class(struct walk *walk, const struct class *class, int32_t label, struct ssld_problem *problem)
{
    struct ssld_listing *listing = &walk->opening->listing;
    uint64_t base = listing->container_count, at = class->old_image;
    ssld_status status = SSLD_OK;
    if (class->reused)
        return ssld_listing_append(listing, &walk->opening->old, class->old_folder, class->old_folder_count,
                                   class->old_image, class->old_image_count, label, problem);
    for (size_t i = 0; i < class->folders.count && !status; i++) {
        const struct find *folder = &class->folders.items[i];
        status = ssld_listing_container(listing, folder->name, strlen(folder->name), &folder->stamp, problem);
    }
    for (size_t i = 0; i < class->images.count && !status; i++) {
        const struct find *image = &class->images.items[i];
        struct ssld_entry entry = { .stamp = image->stamp, .label = label,
                                    .container = (uint32_t)(base + image->folder) };
        recall_hash(walk, class, &at, image, entry.hash);
        status = ssld_listing_entry(listing, image->name, strlen(image->name), &entry, problem);
    }
    return status;
}

static void end_walk(struct walk *walk)
{
    for (size_t i = 0; walk->classes && i < walk->found.count; i++) {
        struct class *class = &walk->classes[i];
        ssld_free(walk->context, class->folders.items);
        ssld_free(walk->context, class->images.items);
        free_names(walk->context, class->names);
    }
    ssld_free(walk->context, walk->classes);
    ssld_free(walk->context, walk->found.items);
    free_names(walk->context, walk->names);
    if (walk->descriptor >= 0)
        close(walk->descriptor);
}

static ssld_status walk_classes(struct walk *walk, struct ssld_problem *problem)
{
    size_t count = walk->found.count;
    walk->classes = ssld_alloc_zero(walk->context, count, sizeof *walk->classes);
    if (!walk->classes)
        return no_memory(problem);
    for (size_t i = 0; i < count; i++)
        walk->classes[i].name = walk->found.items[i].name;
    assign_containers(walk, &walk->opening->old);
    assign_images(walk, &walk->opening->old);
    ssld_status status = ssld_parallel(walk->context, count, look_through, walk);
    if (status)
        return problem->status = SSLD_OK, status; /* the text is the context's already */
    for (size_t i = 0; i < count && !status; i++)
        status = add_class(walk, &walk->classes[i], (int32_t)i, problem);
    return status;
}

static ssld_status folder_build(struct ssld_opening *opening)
{
    ssld_context *context = opening->dataset->context;
    const char *place = opening->place;
    int32_t most = opening->options->classes;
    struct ssld_problem problem = { .status = SSLD_OK };
    struct walk walk = { .opening = opening, .context = context, .root = place, .descriptor = -1, .now = ssld_now() };
    ssld_status status = find_classes(&walk, &problem);
    if (!status && most && walk.found.count > (size_t)most)
        status = ssld_problem_set(&problem, SSLD_FORMAT, "%s: %zu folders, but the number of classes is %d", place,
                                  walk.found.count, most);
    if (!status)
        status = walk_classes(&walk, &problem);
    if (!status && !opening->listing.count)
        status = ssld_problem_set(&problem, SSLD_FORMAT, "%s: no JPEG or PNG file in a folder of a class; expected "
                                  "%s/CLASS/IMAGE.jpg", place, place);
    end_walk(&walk);
    return status && problem.status ? ssld_fail(context, problem.status, "%s", problem.text) : status;
}

static ssld_status folder_locate(struct ssld_opening *opening, char path[SSLD_MOST_PATH], struct ssld_hash *identity)
{
    ssld_context *context = opening->dataset->context;
    (void)identity; /* a folder may be moved as a whole */
    opening->dataset->root = ssld_strdup(context, opening->place);
    if (!opening->dataset->root)
        return ssld_fail_memory(context, "a path", strlen(opening->place));
    int length = snprintf(path, SSLD_MOST_PATH, "%s/.ssld-manifest", opening->place);
    return length < SSLD_MOST_PATH ? SSLD_OK : ssld_fail(context, SSLD_IO, "%s: the path is too long", opening->place);
}

static ssld_status folder_open(ssld_dataset *dataset, const char *place, const ssld_dataset_options *options)
{
    static const struct ssld_listed how = { SSLD_KIND_DIR, folder_locate, folder_build };
    return ssld_listed_open(dataset, &how, place, options);
}

const struct source ssld_source_folder = { "dir", folder_open, ssld_files_fetch, ssld_files_place, NULL };
