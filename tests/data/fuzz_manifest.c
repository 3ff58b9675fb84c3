/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_manifest.c - any bytes as the manifest of a folder, of a list or of tar files. The first byte chooses which, and how the
 * data set is opened; behind it are the manifest's bytes. What a fuzzer would not get past is made right first: head, checksum,
 * and stamps that are all zeros become those of the files that they are of. Whatever the manifest says, the data set opens or is
 * refused, its samples can be asked for, and the manifest that is left says the same again. */
#include "fuzz.h"

#include "core/hash.h"
#include "data/dataset.h"
#include "data/listing.h"
#include "data/sources.h"

#define HEAD 64
#define CONTAINER 40
#define SAMPLE 64
#define STAMP 32

/* How the first byte says a data set is opened. */
struct opening {
    int     source; /* of text_of() */
    int32_t manifest, hash, classes;
};

static struct folder folder;
static uint8_t identities[SOURCES][16];

static uint64_t get(const uint8_t *bytes, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static void put(uint8_t *bytes, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

/* -- The data sets ------------------------------------------------------------------------------------------------ */

static void remove_images(void)
{
    remove_all(folder.path);
}

/* Made once. A data set's identity is read from a manifest that the library writes of it. */
static void make_sources(ssld_context *context)
{
    if (*folder.path)
        return;
    if (setjmp(test_end))
        must(false, test_text);
    folder = make_images();
    atexit(remove_images);
    settle();
    for (int source = 0; source < SOURCES; source++) {
        uint8_t head[HEAD];
        ssld_dataset *dataset = NULL;
        ssld_dataset_options options = make_dataset_options();
        options.manifest_path = place("", &folder, "m");
        CHECK_OK(context, ssld_dataset_open(context, text_of(&folder, source), &options, &dataset));
        ssld_dataset_destroy(dataset);
        FILE *file = fopen(options.manifest_path, "rb");
        CHECK(file && fread(head, sizeof head, 1, file) == 1 && !fclose(file), "no manifest");
        memcpy(identities[source], head + 48, 16);
        unlink(options.manifest_path);
    }
}

/* -- What a fuzzer would not get past ------------------------------------------------------------------------------- */

/* The stamp of a name of the source, if there is such a file. */
static void fill_stamp(uint8_t *bytes, int source, const char *name)
{
    static const char *const roots[SOURCES] = { "c/", "", "t/" };
    static const uint8_t none[STAMP];
    char path[SSLD_MOST_PATH + 128];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s%s", folder.path, roots[source], source == LIST && !strcmp(name, "*") ? "list.txt" : name);
    if (memcmp(bytes, none, sizeof none) != 0 || strlen(name) >= SSLD_MOST_PATH || stat(path, &info))
        return;
    struct ssld_stamp stamp = ssld_stamp_of(&info, ssld_now());
    put(bytes, stamp.size, 8);
    put(bytes + 8, stamp.inode, 8);
    put(bytes + 16, (uint64_t)stamp.modified, 8);
    put(bytes + 24, (uint64_t)stamp.changed, 8);
}

static void fill_stamps(uint8_t *bytes, size_t size, int source)
{
    uint64_t left = size - HEAD - 8, samples = get(bytes + 16, 8), containers = get(bytes + 24, 8), names = get(bytes + 32, 8);
    if (samples > left / SAMPLE || containers > left / CONTAINER || names != left - samples * SAMPLE - containers * CONTAINER ||
        !names || bytes[size - 9])
        return;
    uint8_t *container = bytes + HEAD, *sample = container + containers * CONTAINER;
    const char *name = (const char *)sample + samples * SAMPLE;
    for (uint64_t i = 0; i < containers; i++, container += CONTAINER)
        if (get(container, 8) < names)
            fill_stamp(container + 8, source, name + get(container, 8));
    for (uint64_t i = 0; i < samples && source != SHARDS; i++, sample += SAMPLE)
        if (get(sample, 8) < names)
            fill_stamp(sample + 8, source, name + get(sample, 8));
}

static void mend(uint8_t *bytes, size_t size, int source)
{
    static const int32_t kinds[SOURCES] = { SSLD_KIND_DIR, SSLD_KIND_LIST, SSLD_KIND_TAR };
    if (size < HEAD + 8)
        return;
    memcpy(bytes, "SSLDMANI\1\0\0\0", 12);
    put(bytes + 12, (uint64_t)kinds[source], 4);
    memcpy(bytes + 48, identities[source], 16);
    fill_stamps(bytes, size, source);
    put(bytes + size - 8, ssld_checksum(bytes, size - 8), 8);
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

static ssld_dataset *open_with(ssld_context *context, const struct opening *opening, const char *path)
{
    ssld_dataset *dataset = NULL;
    ssld_dataset_options options = make_dataset_options();
    options.manifest = opening->manifest;
    options.hash_contents = opening->hash;
    options.classes = opening->classes;
    options.manifest_path = path;
    ssld_status status = ssld_dataset_open(context, text_of(&folder, opening->source), &options, &dataset);
    must(!status == !!dataset && status != SSLD_INVALID_ARGUMENT, "a wrong status");
    return dataset;
}

static void ask_samples(const ssld_dataset *dataset, int32_t classes)
{
    struct read_buffer buffer = { NULL, 0 };
    must(ssld_dataset_count(dataset) > 0, "an empty data set");
    for (uint64_t i = 0; i < ssld_dataset_count(dataset); i++) {
        struct sample_content content = { 0 };
        struct ssld_fault fault;
        char where[SSLD_MOST_PATH];
        int32_t label = ssld_dataset_label(dataset, i);
        must(label >= -1 && (!classes || label < classes), "a label is out of range");
        ssld_dataset_place(dataset, i, where);
        if (!dataset->source->fetch(dataset, i, &buffer, &content, &fault))
            must(content.size == dataset->sizes[i], "a sample of another size than its data set says");
        else
            must(fault.status && *fault.text, "a failure without a text");
    }
    ssld_free(dataset->context, buffer.bytes);
}

static void must_be_same(const ssld_dataset *one, const ssld_dataset *other)
{
    uint8_t first[16], second[16];
    ssld_dataset_fingerprint(one, first);
    ssld_dataset_fingerprint(other, second);
    must(ssld_dataset_count(one) == ssld_dataset_count(other) && !memcmp(first, second, 16),
         "the manifest that was left is of another data set");
    for (uint64_t i = 0; i < ssld_dataset_count(one); i++)
        must(ssld_dataset_label(one, i) == ssld_dataset_label(other, i), "it has another label");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    if (size < 1 || size > 1 << 20)
        return 0;
    ssld_context *context = fuzz_context();
    make_sources(context);
    const struct opening opening = { .source = data[0] % SOURCES,
                                     .manifest = data[0] & 0x10 ? SSLD_MANIFEST_CHECK : SSLD_MANIFEST_KEEP,
                                     .hash = (data[0] & 0x20) != 0, .classes = data[0] & 0x40 ? 2 : 0 };
    uint8_t *bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    mend(bytes, size - 1, opening.source);
    fuzz_file(bytes, size - 1, path);
    ssld_dataset *dataset = open_with(context, &opening, path);
    if (dataset) {
        ask_samples(dataset, opening.classes);
        ssld_dataset *again = open_with(context, &opening, path);
        must(again != NULL, "it does not open again");
        must_be_same(dataset, again);
        ssld_dataset_destroy(again);
    }
    ssld_dataset_destroy(dataset);
    unlink(path);
    free(bytes);
    ssld_context_destroy(context);
    return 0;
}
