/* SPDX-License-Identifier: BSD-2-Clause */
/* opening.c - a data set of files is opened: the manifest is read, the source looks at what may have changed, contents are
 * hashed if wanted, the manifest is written if it says something else now. */
#include "data/listing.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Below it nothing is written without being asked: looking through a small data set takes no time. */
#define LEAST_SAMPLES 1000
#define SAMPLES_A_TASK 32

bool ssld_container_holds(const struct ssld_opening *opening, uint64_t old_container, const struct ssld_stamp *now)
{
    return now->inode != opening->holder && ssld_stamp_same(&opening->old.containers[old_container].stamp, now);
}

bool ssld_entry_holds(const struct ssld_opening *opening, const struct ssld_entry *old)
{
    return opening->options->manifest != SSLD_MANIFEST_CHECK && old->stamp.modified;
}

/* -- Contents ----------------------------------------------------------------------------------------------------- */

struct hashing {
    struct ssld_listing *listing;
    const ssld_dataset  *dataset;
};

static ssld_status hash_sample(struct hashing *work, uint64_t sample, struct read_buffer *buffer,
                               struct ssld_problem *problem)
{
    struct sample_content content = { 0 };
    struct ssld_fault fault;
    char place[SSLD_MOST_PATH];
    const ssld_dataset *dataset = work->dataset;
    if (ssld_hash_known(work->listing->entries[sample].hash))
        return SSLD_OK;
    if (!dataset->source->fetch(dataset, sample, buffer, &content, &fault)) {
        ssld_hash_bytes(content.bytes, content.size, work->listing->entries[sample].hash);
        return SSLD_OK;
    }
    ssld_dataset_place(dataset, sample, place);
    return ssld_problem_set(problem, fault.status, "%s: %s", place, fault.text);
}

static ssld_status hash_some(void *user, uint64_t index, struct ssld_problem *problem)
{
    struct hashing *work = user;
    struct read_buffer buffer = { NULL, 0 };
    uint64_t first = index * SAMPLES_A_TASK, end = first + SAMPLES_A_TASK;
    ssld_status status = SSLD_OK;
    for (uint64_t i = first; i < end && i < work->dataset->count && !status; i++)
        status = hash_sample(work, i, &buffer, problem);
    ssld_free(work->dataset->context, buffer.bytes);
    return status;
}

static ssld_status hash_contents(struct ssld_opening *opening)
{
    ssld_dataset *dataset = opening->dataset;
    struct hashing work = { &opening->listing, dataset };
    size_t size = (size_t)dataset->count * sizeof *dataset->hashes;
    ssld_status status = ssld_parallel(dataset->context, (dataset->count + SAMPLES_A_TASK - 1) / SAMPLES_A_TASK, hash_some,
                                       &work);
    if (status)
        return status;
    dataset->hashes = ssld_alloc(dataset->context, size);
    if (!dataset->hashes)
        return ssld_fail_memory(dataset->context, "content hashes", size);
    for (uint64_t i = 0; i < dataset->count; i++)
        memcpy(dataset->hashes[i], opening->listing.entries[i].hash, sizeof dataset->hashes[i]);
    return SSLD_OK;
}

/* -- From listing to data set ------------------------------------------------------------------------------------- */

static ssld_status fail_label(const struct ssld_opening *opening, uint64_t sample)
{
    char place[SSLD_MOST_PATH];
    ssld_dataset_place(opening->dataset, sample, place);
    return ssld_fail(opening->dataset->context, SSLD_FORMAT, "%s: its label is %d, but the number of classes is %d", place,
                     opening->listing.entries[sample].label, opening->options->classes);
}

static ssld_status take_labels(struct ssld_opening *opening)
{
    ssld_dataset *dataset = opening->dataset;
    const struct ssld_listing *listing = &opening->listing;
    int32_t largest = -1, classes = opening->options->classes;
    for (uint64_t i = 0; i < listing->count; i++) {
        int32_t label = listing->entries[i].label;
        if (classes && label >= classes && i < dataset->count)
            return fail_label(opening, i);
        largest = label > largest ? label : largest;
    }
    dataset->classes = largest + 1;
    if (largest < 0)
        return SSLD_OK;
    dataset->labels = ssld_alloc(dataset->context, (size_t)dataset->count * sizeof *dataset->labels);
    if (!dataset->labels)
        return ssld_fail_memory(dataset->context, "labels", (size_t)dataset->count * sizeof *dataset->labels);
    for (uint64_t i = 0; i < dataset->count; i++)
        dataset->labels[i] = listing->entries[i].label;
    return SSLD_OK;
}

static ssld_status take_shards(struct ssld_opening *opening)
{
    ssld_dataset *dataset = opening->dataset;
    const struct ssld_listing *listing = &opening->listing;
    size_t count = (size_t)dataset->count;
    dataset->offsets = ssld_alloc(dataset->context, count * sizeof *dataset->offsets);
    dataset->shard_of = ssld_alloc(dataset->context, count * sizeof *dataset->shard_of);
    dataset->shards = ssld_alloc(dataset->context, (size_t)listing->container_count * sizeof *dataset->shards);
    if (!dataset->offsets || !dataset->shard_of || !dataset->shards)
        return ssld_fail_memory(dataset->context, "an index of tar files", count * sizeof *dataset->offsets);
    for (size_t i = 0; i < count; i++) {
        dataset->offsets[i] = listing->entries[i].stamp.inode;
        dataset->shard_of[i] = listing->entries[i].container;
    }
    for (uint64_t i = 0; i < listing->container_count; i++)
        dataset->shards[i] = (struct shard){ listing->containers[i].name, listing->containers[i].stamp.size };
    return SSLD_OK;
}

/* Everything but hashes. The names are the data set's from here on, and borrowed by the listing. */
static ssld_status take(struct ssld_opening *opening)
{
    ssld_dataset *dataset = opening->dataset;
    const struct ssld_listing *listing = &opening->listing;
    uint64_t limit = opening->options->limit;
    dataset->count = limit && limit < listing->count ? limit : listing->count;
    dataset->image[0] = 3;
    dataset->names = listing->names;
    dataset->starts = ssld_alloc(dataset->context, (size_t)dataset->count * sizeof *dataset->starts);
    dataset->sizes = ssld_alloc(dataset->context, (size_t)dataset->count * sizeof *dataset->sizes);
    if (!dataset->starts || !dataset->sizes)
        return ssld_fail_memory(dataset->context, "the names of a data set", (size_t)dataset->count * sizeof *dataset->starts);
    for (uint64_t i = 0; i < dataset->count; i++) {
        dataset->starts[i] = listing->entries[i].name;
        dataset->sizes[i] = listing->entries[i].stamp.size;
    }
    ssld_status status = listing->kind == SSLD_KIND_TAR ? take_shards(opening) : SSLD_OK;
    return status ? status : take_labels(opening);
}

/* Of names and sizes; or of the contents alone, which may be anywhere and called anything. */
static ssld_status fingerprint(ssld_dataset *dataset)
{
    struct ssld_hash *hash = ssld_hash_create(dataset->context);
    if (!hash)
        return ssld_fail_memory(dataset->context, "a fingerprint", 0);
    ssld_hash_add_text(hash, dataset->hashes ? "contents" : "files");
    for (uint64_t i = 0; i < dataset->count; i++) {
        if (dataset->hashes) {
            ssld_hash_add(hash, dataset->hashes[i], sizeof dataset->hashes[i]);
            continue;
        }
        ssld_hash_add_text(hash, dataset->names + dataset->starts[i]);
        ssld_hash_add_u64(hash, dataset->sizes[i]);
    }
    ssld_hash_finish(hash, dataset->fingerprint);
    return SSLD_OK;
}

/* -- The manifest ------------------------------------------------------------------------------------------------- */

/* A folder that changes when the manifest is written has a stamp that is like no other. */
static void forget_holder(struct ssld_opening *opening)
{
    for (uint64_t i = 0; i < opening->listing.container_count; i++) {
        struct ssld_stamp *stamp = &opening->listing.containers[i].stamp;
        if (opening->listing.kind != SSLD_KIND_TAR && stamp->inode == opening->holder)
            *stamp = (struct ssld_stamp){ .inode = opening->holder };
    }
}

/* But for the order in which names stand in their block. */
static bool same_listing(const struct ssld_listing *one, const struct ssld_listing *other)
{
    if (one->count != other->count || one->container_count != other->container_count)
        return false;
    for (uint64_t i = 0; i < one->container_count; i++)
        if (strcmp(ssld_container_name(one, i), ssld_container_name(other, i)) != 0 ||
            memcmp(&one->containers[i].stamp, &other->containers[i].stamp, sizeof one->containers[i].stamp) != 0)
            return false;
    for (uint64_t i = 0; i < one->count; i++) {
        const struct ssld_entry *a = &one->entries[i], *b = &other->entries[i];
        if (strcmp(ssld_entry_name(one, i), ssld_entry_name(other, i)) != 0 ||
            memcmp(&a->stamp, &b->stamp, sizeof a->stamp) != 0 || memcmp(a->hash, b->hash, sizeof a->hash) != 0 ||
            a->label != b->label || a->container != b->container)
            return false;
    }
    return true;
}

/* A manifest saves time and nothing else: a folder that cannot be written to is no failure. */
static void keep_manifest(struct ssld_opening *opening, const char *path, const uint8_t identity[16])
{
    const ssld_dataset_options *options = opening->options;
    const struct ssld_listing *listing = &opening->listing;
    bool whole = opening->dataset->count == listing->count;
    bool wanted = listing->count >= LEAST_SAMPLES || options->hash_contents || options->manifest_path;
    if (options->manifest == SSLD_MANIFEST_NONE || !whole || !wanted)
        return;
    forget_holder(opening);
    if (same_listing(&opening->old, listing))
        return;
    if (ssld_manifest_write(path, identity, listing))
        ssld_log(listing->context, options->manifest_path ? SSLD_LOG_WARNING : SSLD_LOG_INFO,
                 "%s: the manifest cannot be written there; the data set is looked through again next time", path);
    else
        ssld_log(listing->context, SSLD_LOG_INFO, "%s: written, %llu samples", path, (unsigned long long)listing->count);
}

static ssld_status find_manifest(struct ssld_opening *opening, const struct ssld_listed *how, char path[SSLD_MOST_PATH],
                                 uint8_t identity[16])
{
    ssld_context *context = opening->dataset->context;
    const char *given = opening->options->manifest_path;
    char folder[SSLD_MOST_PATH];
    struct stat info;
    struct ssld_hash *hash = ssld_hash_create(context);
    if (!hash)
        return ssld_fail_memory(context, "a data set", 0);
    ssld_status status = how->locate(opening, path, hash);
    ssld_hash_finish(hash, identity);
    if (status)
        return status;
    if (given && strlen(given) >= SSLD_MOST_PATH)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_dataset_open: options: manifest_path is longer than %d bytes",
                         SSLD_MOST_PATH - 1);
    if (given)
        strcpy(path, given);
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    opening->holder = stat(folder, &info) ? 0 : (uint64_t)info.st_ino;
    if (opening->options->manifest == SSLD_MANIFEST_NONE)
        return SSLD_OK;
    status = ssld_manifest_read(path, identity, &opening->old);
    return status == SSLD_NOT_FOUND ? SSLD_OK : status;
}

ssld_status ssld_listed_open(ssld_dataset *dataset, const struct ssld_listed *how, const char *place,
                             const ssld_dataset_options *options)
{
    ssld_context *context = dataset->context;
    struct ssld_opening opening = { .dataset = dataset, .place = place, .options = options,
                                    .old = { .context = context, .kind = how->kind },
                                    .listing = { .context = context, .kind = how->kind } };
    char path[SSLD_MOST_PATH];
    uint8_t identity[16];
    ssld_status status;
    if ((status = find_manifest(&opening, how, path, identity)) || (status = how->build(&opening)) ||
        (status = take(&opening)))
        goto done;
    dataset->checked = options->hash_contents || (opening.old.count && options->manifest != SSLD_MANIFEST_CHECK);
    if (options->hash_contents && (status = hash_contents(&opening)))
        goto done;
    if ((status = fingerprint(dataset)))
        goto done;
    keep_manifest(&opening, path, identity);
done:
    if (dataset->names)
        opening.listing.names = NULL;
    ssld_listing_free(&opening.listing);
    ssld_listing_free(&opening.old);
    return status;
}
