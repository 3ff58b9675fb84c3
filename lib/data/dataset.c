/* SPDX-License-Identifier: BSD-2-Clause */
/* dataset.c - the data set as an object: opened by its prefix or made of a host's pixels, asked for its samples. */
#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

static const struct source *const sources[] = { &ssld_source_list, &ssld_source_folder, &ssld_source_tar, &ssld_source_idx };
#define SOURCES (sizeof sources / sizeof *sources)

static const struct source pixels_source = { "pixels", NULL, ssld_pixels_fetch, NULL, NULL };

void ssld_dataset_options_init(ssld_dataset_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Made --------------------------------------------------------------------------------------------------------- */

static const struct source *find_source(const char *text, const char **place)
{
    for (size_t i = 0; i < SOURCES; i++) {
        size_t length = strlen(sources[i]->prefix);
        if (strncmp(text, sources[i]->prefix, length) || text[length] != ':')
            continue;
        *place = text + length + 1;
        return **place ? sources[i] : NULL;
    }
    return NULL;
}

static ssld_status take_options(ssld_context *context, const ssld_dataset_options *given, ssld_dataset_options *options)
{
    ssld_status status = ssld_options_take(context, "ssld_dataset_open", options, sizeof *options, given,
                                           sizeof(ssld_dataset_options));
    if (status)
        return status;
    if (options->classes < 0)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "ssld_dataset_open: options: classes is %d; it must be 0 or more", options->classes);
    if (options->hash_contents < 0 || options->hash_contents > 1)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_dataset_open: options: hash_contents is %d; it must be 0 or 1",
                         options->hash_contents);
    if (options->manifest < SSLD_MANIFEST_KEEP || options->manifest > SSLD_MANIFEST_NONE)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_dataset_open: options: manifest is %d; it must be %d to %d",
                         options->manifest, SSLD_MANIFEST_KEEP, SSLD_MANIFEST_NONE);
    return SSLD_OK;
}

ssld_status ssld_dataset_open(ssld_context *context, const char *text, const ssld_dataset_options *options,
                              ssld_dataset **dataset)
{
    ssld_dataset_options own;
    const char *place = NULL;
    ssld_status status = take_options(context, options, &own);
    if (status)
        return status;
    const struct source *source = find_source(text ? text : "", &place);
    if (!source)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "ssld_dataset_open: '%s' is no data set; expected list:FILE, dir:FOLDER, tar:SHARDS or "
                         "idx:IMAGES[,LABELS]",
                         text ? text : "");
    ssld_dataset *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a data set", sizeof *made);
    made->context = context;
    made->source = source;
    status = source->open(made, place, &own);
    if (status) {
        ssld_dataset_destroy(made);
        return status;
    }
    if (own.classes)
        made->classes = own.classes;
    *dataset = made;
    return SSLD_OK;
}

ssld_status ssld_dataset_take_labels(ssld_dataset *dataset, const int32_t *labels, uint64_t all, uint64_t *wrong)
{
    int32_t largest = -1;
    for (uint64_t i = 0; i < all; i++) {
        if (labels[i] < -1 || labels[i] == INT32_MAX || (dataset->classes && labels[i] >= dataset->classes)) {
            *wrong = i;
            return SSLD_FORMAT;
        }
        largest = labels[i] > largest ? labels[i] : largest;
    }
    if (!dataset->classes)
        dataset->classes = largest + 1;
    if (largest < 0)
        return SSLD_OK;
    dataset->labels = ssld_alloc(dataset->context, (size_t)dataset->count * sizeof *labels);
    if (!dataset->labels)
        return ssld_fail_memory(dataset->context, "labels", (size_t)dataset->count * sizeof *labels);
    memcpy(dataset->labels, labels, (size_t)dataset->count * sizeof *labels);
    return SSLD_OK;
}

static size_t image_size(const ssld_dataset *dataset)
{
    return (size_t)dataset->image[0] * (size_t)dataset->image[1] * (size_t)dataset->image[2];
}

ssld_status ssld_dataset_hash_pixels(ssld_dataset *dataset)
{
    struct ssld_hash *hash = ssld_hash_create(dataset->context);
    if (!hash)
        return ssld_fail_memory(dataset->context, "a fingerprint", 0);
    ssld_hash_add_text(hash, "pixels");
    for (int i = 0; i < 3; i++)
        ssld_hash_add_u64(hash, (uint64_t)dataset->image[i]);
    ssld_hash_add(hash, dataset->pixels, (size_t)dataset->count * image_size(dataset));
    ssld_hash_finish(hash, dataset->fingerprint);
    return SSLD_OK;
}

ssld_status ssld_dataset_from_pixels(ssld_context *context, uint64_t count, const int32_t image[3],
                                     const uint8_t *pixels, const int32_t *labels, ssld_dataset **dataset)
{
    static const char function[] = "ssld_dataset_from_pixels";
    bool shaped = (image[0] == 1 || image[0] == 3) && image[1] > 0 && image[2] > 0 &&
                  image[1] <= SSLD_IMAGE_MOST_PIXELS / image[2];
    if (!shaped)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "%s: images of shape %d x %d x %d; expected 1 or 3 channels and 1 to 2^28 pixels",
                         function, image[0], image[1], image[2]);
    size_t size = (size_t)image[0] * (size_t)image[1] * (size_t)image[2];
    if (count > SIZE_MAX / 2 / size || (count && !pixels))
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: %llu images without pixels, or more than memory can hold",
                         function, (unsigned long long)count);
    ssld_dataset *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a data set", sizeof *made);
    uint64_t wrong = 0;
    made->context = context;
    made->source = &pixels_source;
    made->count = count;
    memcpy(made->image, image, sizeof made->image);
    made->pixels = pixels ? pixels : (const uint8_t *)"";
    ssld_status status = labels ? ssld_dataset_take_labels(made, labels, count, &wrong) : SSLD_OK;
    if (status == SSLD_FORMAT)
        status = ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: label %llu is %d; a label is -1 or a class from 0 on",
                           function, (unsigned long long)wrong, labels[wrong]);
    if (!status)
        status = ssld_dataset_hash_pixels(made);
    if (status) {
        ssld_dataset_destroy(made);
        return status;
    }
    *dataset = made;
    return SSLD_OK;
}

void ssld_dataset_destroy(ssld_dataset *dataset)
{
    if (!dataset)
        return;
    ssld_context *context = dataset->context;
    ssld_free(context, dataset->labels);
    ssld_free(context, dataset->root);
    ssld_free(context, dataset->names);
    ssld_free(context, dataset->starts);
    ssld_free(context, dataset->sizes);
    ssld_free(context, dataset->hashes);
    ssld_free(context, dataset->offsets);
    ssld_free(context, dataset->shard_of);
    ssld_free(context, dataset->shards);
    ssld_free(context, dataset->own);
    ssld_map_close(&dataset->map);
    ssld_free(context, dataset);
}

/* -- Asked -------------------------------------------------------------------------------------------------------- */

ssld_status ssld_pixels_fetch(const ssld_dataset *dataset, uint64_t sample, struct read_buffer *buffer,
                              struct sample_content *content, struct ssld_fault *fault)
{
    (void)buffer;
    (void)fault;
    *content = (struct sample_content){ .bytes = dataset->pixels + sample * image_size(dataset), .decoded = true };
    memcpy(content->image, dataset->image, sizeof content->image);
    return SSLD_OK;
}

uint64_t ssld_dataset_count(const ssld_dataset *dataset)
{
    return dataset->count;
}

int32_t ssld_dataset_classes(const ssld_dataset *dataset)
{
    return dataset->classes;
}

int32_t ssld_dataset_label(const ssld_dataset *dataset, uint64_t sample)
{
    return dataset->labels && sample < dataset->count ? dataset->labels[sample] : -1;
}

void ssld_dataset_image(const ssld_dataset *dataset, int32_t image[3])
{
    memcpy(image, dataset->image, sizeof dataset->image);
}

void ssld_dataset_fingerprint(const ssld_dataset *dataset, uint8_t fingerprint[16])
{
    memcpy(fingerprint, dataset->fingerprint, sizeof dataset->fingerprint);
}

size_t ssld_dataset_name(const ssld_dataset *dataset, uint64_t sample, char *buffer, size_t size)
{
    char number[32];
    const char *name = number;
    if (dataset->starts && sample < dataset->count)
        name = dataset->names + dataset->starts[sample];
    else
        snprintf(number, sizeof number, "#%llu", (unsigned long long)sample);
    size_t length = strlen(name);
    if (size) {
        size_t copied = length < size ? length : size - 1;
        memcpy(buffer, name, copied);
        buffer[copied] = 0;
    }
    return length;
}

ssld_status ssld_dataset_content_hash(const ssld_dataset *dataset, uint64_t sample, uint8_t hash[16])
{
    if (!dataset->hashes || sample >= dataset->count)
        return ssld_fail(dataset->context, SSLD_NOT_FOUND, "ssld_dataset_content_hash: sample %llu %s",
                         (unsigned long long)sample,
                         dataset->hashes ? "does not exist" : "has no hash; open the data set with hash_contents");
    memcpy(hash, dataset->hashes[sample], 16);
    return SSLD_OK;
}

void ssld_dataset_place(const ssld_dataset *dataset, uint64_t sample, char place[SSLD_MOST_PATH])
{
    if (dataset->source->place)
        dataset->source->place(dataset, sample, place);
    else
        snprintf(place, SSLD_MOST_PATH, "sample #%llu", (unsigned long long)sample);
}

void ssld_dataset_release(const ssld_dataset *dataset, uint64_t sample, struct sample_content *content)
{
    if (dataset->source->release)
        dataset->source->release(dataset, sample, content);
}
