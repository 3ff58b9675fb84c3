/* SPDX-License-Identifier: BSD-2-Clause */
/* shards.c - tar:PLACE, WebDataset's shards: tar files in which members of one name, up to the first dot of the last part,
 * stand together and are a sample: its image and, in .cls, its label.
 *
 * Headers are read once, shard by shard in parallel; a manifest spares those whose stamps it has. Samples are then read in
 * any order by their offsets. */
#include "data/listing.h"
#include "data/tar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MOST_SHARDS 1000000
#define MOST_LABEL 64 /* bytes of a .cls member */

/* -- Which shards ------------------------------------------------------------------------------------------------- */

struct shard_work {
    struct ssld_listing found;    /* with one container */
    uint64_t            old;      /* the container of the manifest that it is, if `reused` */
    bool                reused;
};

struct indexing {
    struct ssld_opening *opening;
    struct ssld_listing  shards;    /* containers: the names */
    struct shard_work   *works;     /* (shards.container_count) */
    struct ssld_text_index    old_names; /* of the manifest's containers */
    uint64_t            *first;     /* (the manifest's containers + 1) entries */
    int64_t              now;
};

static ssld_status add_shard(struct ssld_listing *shards, const char *name, struct ssld_problem *problem)
{
    static const struct ssld_stamp none;
    if (shards->container_count == MOST_SHARDS)
        return ssld_problem_set(problem, SSLD_INVALID_ARGUMENT, "more than %d tar files", MOST_SHARDS);
    return ssld_listing_container(shards, name, strlen(name), &none, problem);
}

/* What stands before the last slash that no range comes before, with the slash. */
static size_t root_length(const char *place)
{
    size_t length = strcspn(place, "{");
    while (length && place[length - 1] != '/')
        length--;
    return length;
}

/* {0000..0012}: the first range of a pattern. */
struct range {
    const char *open, *close; /* its braces */
    uint64_t    first, last;
    int         width;
};

static bool read_range(const char *pattern, struct range *range)
{
    char *end;
    range->open = strchr(pattern, '{');
    range->close = range->open ? strchr(range->open, '}') : NULL;
    if (!range->close || range->open[1] < '0' || range->open[1] > '9')
        return false;
    range->first = strtoull(range->open + 1, &end, 10);
    size_t width = (size_t)(end - range->open - 1);
    if (strncmp(end, "..", 2) || end[2] < '0' || end[2] > '9')
        return false;
    const char *second = end + 2;
    range->last = strtoull(second, &end, 10);
    bool padded = range->open[1] == '0' && width > 1;
    range->width = padded ? (int)width : 1;
    return end == range->close && width < 20 && end - second < 20 && range->last >= range->first;
}

static ssld_status expand(struct ssld_listing *shards, const char *pattern, struct ssld_problem *problem)
{
    struct range range;
    char name[SSLD_MOST_PATH];
    ssld_status status = SSLD_OK;
    if (!strchr(pattern, '{'))
        return add_shard(shards, pattern, problem);
    if (!read_range(pattern, &range))
        return ssld_problem_set(problem, SSLD_INVALID_ARGUMENT,
                                "tar:%s: what stands in braces is no range; expected two numbers as in {0000..0012}", pattern);
    for (uint64_t i = range.first; i <= range.last && !status; i++) {
        int length = snprintf(name, sizeof name, "%.*s%0*llu%s", (int)(range.open - pattern), pattern, range.width,
                              (unsigned long long)i, range.close + 1);
        status = length < (int)sizeof name ? expand(shards, name, problem)
                                           : ssld_problem_set(problem, SSLD_INVALID_ARGUMENT, "tar:%s: too long", pattern);
    }
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names are in the listing's block; sorting is done beside it. */
static ssld_status sort_shards(struct ssld_listing *shards, struct ssld_problem *problem)
{
    size_t count = (size_t)shards->container_count;
    const char **names = ssld_alloc(shards->context, count * sizeof *names);
    if (!names)
        return ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for a folder's names");
    for (size_t i = 0; i < count; i++)
        names[i] = ssld_container_name(shards, i);
    if (count)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++)
        shards->containers[i].name = (size_t)(names[i] - shards->names);
    ssld_free(shards->context, names);
    return SSLD_OK;
}

static ssld_status find_shards(struct ssld_listing *shards, const char *path, struct ssld_problem *problem)
{
    ssld_status status = SSLD_OK;
    struct dirent *entry;
    DIR *folder = opendir(path);
    if (!folder)
        return ssld_problem_errno(problem, path, "open the folder");
    while (!status && (errno = 0, entry = readdir(folder))) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && length > 4 && !strcasecmp(entry->d_name + length - 4, ".tar"))
            status = add_shard(shards, entry->d_name, problem);
    }
    if (!status && errno)
        status = ssld_problem_errno(problem, path, "read the folder");
    closedir(folder);
    if (!status && !shards->container_count)
        status = ssld_problem_set(problem, SSLD_FORMAT, "%s: no .tar file in this folder", path);
    return status ? status : sort_shards(shards, problem);
}

/* -- What is in a shard ------------------------------------------------------------------------------------------- */

/* The sample whose members are being read. */
struct sample {
    char              key[SSLD_MOST_PATH]; /* "" before the first */
    char              name[SSLD_MOST_PATH]; /* of the image */
    uint64_t          header; /* of its first member */
    bool              has_image, has_label;
    struct ssld_entry entry;
};

static ssld_status end_sample(const char *path, struct sample *sample, struct ssld_listing *found,
                              struct ssld_problem *problem)
{
    if (!sample->key[0])
        return SSLD_OK;
    if (!sample->has_image)
        return ssld_problem_set(problem, SSLD_FORMAT,
                                "%s: the sample '%.500s' at offset %llu has no .jpg, .jpeg or .png; a sample's members must "
                                "stand together", path, sample->key, (unsigned long long)sample->header);
    return ssld_listing_entry(found, sample->name, strlen(sample->name), &sample->entry, problem);
}

/* A whole number, with blanks around it. */
static bool read_class(const uint8_t *text, uint64_t size, int32_t *label)
{
    int64_t value = 0;
    uint64_t i = 0, digits = 0;
    while (i < size && strchr(" \t\r\n", text[i]) && text[i])
        i++;
    for (; i < size && text[i] >= '0' && text[i] <= '9' && value < INT32_MAX; i++, digits++)
        value = value * 10 + (text[i] - '0');
    while (i < size && strchr(" \t\r\n", text[i]) && text[i])
        i++;
    *label = (int32_t)value;
    return digits && i == size && value < INT32_MAX;
}

static ssld_status take_class(struct ssld_tar *tar, const struct ssld_member *member, int32_t classes, struct sample *sample,
                              struct ssld_problem *problem)
{
    const uint8_t *text = NULL;
    int32_t label = -1;
    if (member->size <= MOST_LABEL && !(text = ssld_tar_bytes(tar, member->offset, (size_t)member->size, problem)))
        return problem->status;
    if (!text || !read_class(text, member->size, &label))
        return ssld_problem_set(problem, SSLD_FORMAT, "%s: '%.500s' at offset %llu is not a label; expected a whole number",
                                tar->path, member->name, (unsigned long long)member->header);
    if (classes && label >= classes)
        return ssld_problem_set(problem, SSLD_FORMAT, "%s: '%.500s' at offset %llu is the label %d, not one from 0 to %d",
                                tar->path, member->name, (unsigned long long)member->header, label, classes - 1);
    sample->entry.label = label;
    return SSLD_OK;
}

static bool is_image_ending(const char *ending)
{
    return !strcasecmp(ending, "jpg") || !strcasecmp(ending, "jpeg") || !strcasecmp(ending, "png");
}

static ssld_status take_member(struct ssld_tar *tar, const struct ssld_member *member, int32_t classes,
                               struct sample *sample, struct ssld_listing *found, struct ssld_problem *problem)
{
    const char *name = member->name;
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name, *dot = strchr(last, '.');
    if (!dot || dot == last) /* not of a sample; hidden */
        return SSLD_OK;
    size_t length = (size_t)(dot - name);
    if (strncmp(sample->key, name, length) || sample->key[length]) {
        ssld_status status = end_sample(tar->path, sample, found, problem);
        if (status)
            return status;
        memcpy(sample->key, name, length);
        sample->key[length] = 0;
        sample->header = member->header;
        sample->has_image = sample->has_label = false;
        sample->entry = (struct ssld_entry){ .label = -1 };
    }
    bool image = is_image_ending(dot + 1), label = !strcasecmp(dot + 1, "cls");
    if ((image && sample->has_image) || (label && sample->has_label))
        return ssld_problem_set(problem, SSLD_FORMAT, "%s: '%.500s' at offset %llu is a second %s of its sample", tar->path, name,
                                (unsigned long long)member->header, image ? "image" : "label");
    sample->has_image |= image;
    sample->has_label |= label;
    if (image) {
        strcpy(sample->name, name);
        sample->entry.stamp = (struct ssld_stamp){ .size = member->size, .inode = member->offset };
    }
    return label ? take_class(tar, member, classes, sample, problem) : SSLD_OK;
}

static ssld_status read_members(struct ssld_tar *tar, int32_t classes, struct sample *sample, struct ssld_member *member,
                                struct ssld_listing *found, struct ssld_problem *problem)
{
    ssld_status status;
    while (!(status = ssld_tar_next(tar, member, problem)))
        if ((status = take_member(tar, member, classes, sample, found, problem)))
            return status;
    return status == SSLD_END ? end_sample(tar->path, sample, found, problem) : status;
}

static ssld_status index_shard(struct indexing *indexing, const char *path, struct shard_work *work,
                               struct ssld_problem *problem)
{
    struct ssld_tar tar;
    ssld_context *context = indexing->shards.context;
    struct sample *sample = ssld_alloc_zero(context, 1, sizeof *sample);
    struct ssld_member *member = ssld_alloc(context, sizeof *member);
    ssld_status status = ssld_tar_open(context, path, &tar, problem);
    if (!status && (!sample || !member))
        status = ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for reading tar files");
    if (!status)
        status = read_members(&tar, indexing->opening->options->classes, sample, member, &work->found, problem);
    ssld_tar_close(&tar);
    ssld_free(context, sample);
    ssld_free(context, member);
    return status;
}

/* -- All of them -------------------------------------------------------------------------------------------------- */

static const char *container_text(const void *listing, uint64_t number)
{
    return ssld_container_name(listing, number);
}

/* May its part of the manifest be used? Labels beyond the number of classes are named by reading it again. */
static bool shard_holds(const struct indexing *indexing, uint64_t old, const struct ssld_stamp *stamp)
{
    const struct ssld_opening *opening = indexing->opening;
    int32_t classes = opening->options->classes;
    if (old == UINT64_MAX || !ssld_container_holds(opening, old, stamp))
        return false;
    for (uint64_t i = indexing->first[old]; i < indexing->first[old + 1]; i++)
        if (opening->old.entries[i].container != old || (classes && opening->old.entries[i].label >= classes))
            return false;
    return true;
}

static ssld_status look_at_shard(void *user, uint64_t index, struct ssld_problem *problem)
{
    struct indexing *indexing = user;
    struct shard_work *work = &indexing->works[index];
    const char *name = ssld_container_name(&indexing->shards, index);
    char path[SSLD_MOST_PATH];
    struct stat info;
    if (!ssld_files_path(indexing->opening->dataset->root, name, strlen(name), path))
        return ssld_problem_set(problem, SSLD_IO, "%s: the path is too long", name);
    if (stat(path, &info))
        return ssld_problem_errno(problem, path, "open");
    struct ssld_stamp stamp = ssld_stamp_of(&info, indexing->now);
    work->old = ssld_text_index_find(&indexing->old_names, name, strlen(name), container_text, &indexing->opening->old);
    work->reused = shard_holds(indexing, work->old, &stamp);
    if (work->reused)
        return SSLD_OK;
    work->found.context = indexing->shards.context;
    ssld_status status = ssld_listing_container(&work->found, name, strlen(name), &stamp, problem);
    return status ? status : index_shard(indexing, path, work, problem);
}

/* The manifest's containers by name, and where the entries of each begin. Entries out of order make it useless. */
static ssld_status index_manifest(struct indexing *indexing, struct ssld_problem *problem)
{
    const struct ssld_listing *old = &indexing->opening->old;
    ssld_status status = SSLD_OK;
    indexing->first = ssld_alloc_zero(old->context, (size_t)old->container_count + 1, sizeof *indexing->first);
    if (!indexing->first)
        return ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for a manifest");
    uint64_t at = 0;
    for (uint64_t i = 0; i < old->container_count && !status; i++) {
        const char *name = ssld_container_name(old, i);
        indexing->first[i] = at;
        while (at < old->count && old->entries[at].container <= i)
            at++;
        status = ssld_text_index_add(&indexing->old_names, name, strlen(name), i, container_text, old, problem);
    }
    indexing->first[old->container_count] = at;
    return status;
}

static ssld_status merge(struct indexing *indexing, struct ssld_problem *problem)
{
    struct ssld_opening *opening = indexing->opening;
    struct ssld_listing *listing = &opening->listing;
    ssld_status status = SSLD_OK;
    for (uint64_t i = 0; i < indexing->shards.container_count && !status; i++) {
        const struct shard_work *work = &indexing->works[i];
        uint64_t first = work->reused ? indexing->first[work->old] : 0;
        uint64_t count = work->reused ? indexing->first[work->old + 1] - first : work->found.count;
        status = ssld_listing_append(listing, work->reused ? &opening->old : &work->found, work->reused ? work->old : 0, 1,
                                     first, count, -1, problem);
    }
    for (uint64_t i = 1; i < listing->count && !status; i++) {
        bool labelled = listing->entries[i].label >= 0;
        if (labelled != (listing->entries[0].label >= 0))
            status = ssld_problem_set(problem, SSLD_FORMAT, "%s: '%.500s' has %s, but the samples before have %s",
                                      ssld_container_name(listing, listing->entries[i].container), ssld_entry_name(listing, i),
                                      labelled ? "a label" : "no label (.cls)", labelled ? "none" : "one");
    }
    if (!status && !listing->count)
        status = ssld_problem_set(problem, SSLD_FORMAT, "%s: no sample in the tar files", opening->place);
    return status;
}

static ssld_status index_shards(struct indexing *indexing, struct ssld_problem *problem)
{
    struct ssld_opening *opening = indexing->opening;
    ssld_context *context = indexing->shards.context;
    struct stat info;
    ssld_status status;
    if (!stat(opening->place, &info) && S_ISDIR(info.st_mode))
        status = find_shards(&indexing->shards, opening->place, problem);
    else
        status = expand(&indexing->shards, opening->place + root_length(opening->place), problem);
    if (!status)
        status = index_manifest(indexing, problem);
    if (status)
        return status;
    indexing->works = ssld_alloc_zero(context, (size_t)indexing->shards.container_count, sizeof *indexing->works);
    if (!indexing->works)
        return ssld_problem_set(problem, SSLD_OUT_OF_MEMORY, "no memory for an index of tar files");
    status = ssld_parallel(context, indexing->shards.container_count, look_at_shard, indexing);
    if (status)
        return problem->status = SSLD_OK, status; /* the text is the context's already */
    return merge(indexing, problem);
}

static ssld_status shards_build(struct ssld_opening *opening)
{
    ssld_context *context = opening->dataset->context;
    struct ssld_problem problem = { .status = SSLD_OK };
    struct indexing indexing = { .opening = opening, .shards.context = context, .old_names.context = context,
                                 .now = ssld_now() };
    ssld_status status = index_shards(&indexing, &problem);
    for (uint64_t i = 0; indexing.works && i < indexing.shards.container_count; i++)
        ssld_listing_free(&indexing.works[i].found);
    ssld_free(context, indexing.works);
    ssld_free(context, indexing.first);
    ssld_text_index_free(&indexing.old_names);
    ssld_listing_free(&indexing.shards);
    return status && problem.status ? ssld_fail(context, problem.status, "%s", problem.text) : status;
}

/* The root is the folder itself, or that of the pattern. */
static ssld_status shards_locate(struct ssld_opening *opening, char path[SSLD_MOST_PATH], struct ssld_hash *identity)
{
    ssld_dataset *dataset = opening->dataset;
    const char *place = opening->place;
    struct stat info;
    bool folder = !stat(place, &info) && S_ISDIR(info.st_mode);
    size_t length = folder ? strlen(place) : root_length(place);
    dataset->root = ssld_alloc(dataset->context, length + 1);
    if (!dataset->root)
        return ssld_fail_memory(dataset->context, "a path", length);
    memcpy(dataset->root, place, length);
    /* Without the slash, which comes back when a name follows; the root folder stays what it is. */
    dataset->root[length > 1 && !folder ? length - 1 : length] = 0;
    ssld_hash_add_text(identity, folder ? "" : place + length);
    int whole = snprintf(path, SSLD_MOST_PATH, "%s%s.ssld-manifest", place, folder ? "/" : "");
    return whole < SSLD_MOST_PATH ? SSLD_OK : ssld_fail(dataset->context, SSLD_IO, "%s: the path is too long", place);
}

static ssld_status shards_open(ssld_dataset *dataset, const char *place, const ssld_dataset_options *options)
{
    static const struct ssld_listed how = { SSLD_KIND_TAR, shards_locate, shards_build };
    return ssld_listed_open(dataset, &how, place, options);
}

/* -- A sample ----------------------------------------------------------------------------------------------------- */

static bool shard_path(const ssld_dataset *dataset, uint64_t sample, char path[SSLD_MOST_PATH])
{
    const char *name = dataset->names + dataset->shards[dataset->shard_of[sample]].name;
    return ssld_files_path(dataset->root, name, strlen(name), path);
}

static void shards_place(const ssld_dataset *dataset, uint64_t sample, char place[SSLD_MOST_PATH])
{
    char path[SSLD_MOST_PATH];
    if (!shard_path(dataset, sample, path))
        path[0] = 0;
    snprintf(place, SSLD_MOST_PATH, "%.2000s: %.2000s", path, dataset->names + dataset->starts[sample]);
}

static ssld_status read_member(const ssld_dataset *dataset, uint64_t sample, int descriptor, struct read_buffer *buffer,
                               struct ssld_fault *fault)
{
    struct stat info;
    if (fstat(descriptor, &info))
        return ssld_fault_errno(fault, "stat");
    if ((uint64_t)info.st_size != dataset->shards[dataset->shard_of[sample]].size)
        return ssld_fault_set(fault, SSLD_MISMATCH, "the tar file has another size than when its headers were read; open the "
                              "data set again");
    return ssld_read_part(dataset->context, descriptor, dataset->offsets[sample], dataset->sizes[sample], buffer, fault);
}

static ssld_status shards_fetch(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                                struct sample_content *content, struct ssld_fault *fault)
{
    char path[SSLD_MOST_PATH];
    int descriptor = shard_path(dataset, sample, path) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (descriptor < 0)
        return ssld_fault_errno(fault, "open");
    ssld_status status = read_member(dataset, sample, descriptor, buffer, fault);
    close(descriptor);
    if (status)
        return status;
    *content = (struct sample_content){ .bytes = buffer->bytes, .size = (size_t)dataset->sizes[sample] };
    return ssld_content_check(dataset, sample, content, fault);
}

const struct source ssld_source_tar = { "tar", shards_open, shards_fetch, shards_place, NULL };
