/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_shards.c - any bytes as a tar file of samples. Headers' checksums are made right first: a fuzzer would not get past them.
 * What opens as a data set has samples inside the file, and reading one gives the bytes that stand there. */
#include "fuzz.h"

#include "data/dataset.h"

#define BLOCK 512
#define CLASSES 3 /* of the second opening */

/* Blocks with the magic of tar are taken for headers. */
static void mend(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; size - at >= BLOCK; at += BLOCK) {
        uint8_t *header = bytes + at;
        unsigned sum = 0;
        if (memcmp(header + 257, "ustar", 5) != 0)
            continue;
        memset(header + 148, ' ', 8);
        for (int i = 0; i < BLOCK; i++)
            sum += header[i];
        snprintf((char *)header + 148, 8, "%06o", sum);
    }
}

static void check_sample(const ssld_dataset *dataset, uint64_t sample, const uint8_t *bytes, size_t size, int32_t classes)
{
    struct read_buffer buffer = { NULL, 0 };
    struct sample_content content = { 0 };
    struct ssld_fault fault;
    char place[SSLD_MOST_PATH];
    int32_t label = ssld_dataset_label(dataset, sample);
    uint64_t offset = dataset->offsets[sample], length = dataset->sizes[sample];
    must(offset <= size && length <= size - offset, "a sample is not inside the file");
    must(label >= -1 && (!classes || label < classes), "a label is out of range");
    must(ssld_dataset_name(dataset, sample, NULL, 0) > 0, "a sample has no name");
    ssld_dataset_place(dataset, sample, place);
    must(!dataset->source->fetch(dataset, sample, &buffer, &content, &fault), "a sample cannot be read");
    must(content.size == length && !memcmp(content.bytes, bytes + offset, content.size), "other bytes are read");
    ssld_free(dataset->context, buffer.bytes);
}

static void open_and_read(ssld_context *context, const char *text, const uint8_t *bytes, size_t size, int32_t classes)
{
    ssld_dataset *dataset = NULL;
    ssld_dataset_options options;
    ssld_dataset_options_init(&options, sizeof options);
    options.classes = classes;
    options.manifest = SSLD_MANIFEST_NONE;
    ssld_status status = ssld_dataset_open(context, text, &options, &dataset);
    must(status == (dataset ? SSLD_OK : SSLD_FORMAT), "a wrong status");
    must(!dataset || ssld_dataset_count(dataset) > 0, "an empty data set");
    for (uint64_t i = 0; dataset && i < ssld_dataset_count(dataset); i++)
        check_sample(dataset, i, bytes, size, classes);
    ssld_dataset_destroy(dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], text[80];
    if (size > 1 << 20)
        return 0;
    ssld_context *context = fuzz_context();
    uint8_t *bytes = malloc(size + 1);
    memcpy(bytes, data, size);
    mend(bytes, size);
    fuzz_file(bytes, size, path);
    snprintf(text, sizeof text, "tar:%s", path);
    open_and_read(context, text, bytes, size, 0);
    open_and_read(context, text, bytes, size, CLASSES);
    unlink(path);
    free(bytes);
    ssld_context_destroy(context);
    return 0;
}
