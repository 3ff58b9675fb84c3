/* SPDX-License-Identifier: BSD-2-Clause */
/* host.c - a data set whose samples a host's own function gives, as files' contents or as pixels. */
#include "data/dataset.h"

#include <string.h>

/* What the host gave is no status of a failure, or no image. */
static ssld_status check_sample(const ssld_dataset *dataset, const ssld_sample *sample, struct ssld_fault *fault)
{
    const int32_t *image = dataset->image, height = sample->height, width = sample->width;
    if (!sample->bytes)
        return ssld_fault_set(fault, SSLD_INVALID_ARGUMENT, "the host's function gave no bytes");
    if (sample->size && !height && !width)
        return SSLD_OK;
    if (height < 1 || width < 1 || height > SSLD_IMAGE_MOST_PIXELS / width)
        return ssld_fault_set(fault, SSLD_INVALID_ARGUMENT,
                              "the host's function gave %d x %d pixels and a size of %zu; an image has a height and a width, a "
                              "file's content a size", height, width, sample->size);
    if ((image[1] && image[1] != height) || (image[2] && image[2] != width))
        return ssld_fault_set(fault, SSLD_MISMATCH, "the host's function gave %d x %d pixels, the data set has %d x %d", height,
                              width, image[1], image[2]);
    return SSLD_OK;
}

static void host_release(const ssld_dataset *dataset, uint64_t number, struct sample_content *content)
{
    if (dataset->host.release)
        dataset->host.release(dataset->host.user, number, content->token);
}

static ssld_status host_fetch(const ssld_dataset *dataset, uint64_t number, struct read_buffer *buffer,
                              struct sample_content *content, struct ssld_fault *fault)
{
    ssld_sample sample = { .struct_size = sizeof sample };
    (void)buffer;
    ssld_status status = dataset->host.read(dataset->host.user, number, &sample);
    if (status) {
        sample.text[sizeof sample.text - 1] = 0;
        return ssld_fault_set(fault, status < 0 ? status : SSLD_INVALID_ARGUMENT, "%s",
                              sample.text[0] ? sample.text : "the host's function failed");
    }
    *content = (struct sample_content){ .bytes = sample.bytes, .token = sample.token };
    content->decoded = sample.height || sample.width;
    content->size = content->decoded ? 0 : sample.size;
    content->image[0] = dataset->image[0];
    content->image[1] = sample.height;
    content->image[2] = sample.width;
    status = check_sample(dataset, &sample, fault);
    if (status)
        host_release(dataset, number, content);
    return status;
}

static const struct source host_source = { "host", NULL, host_fetch, NULL, host_release };

void ssld_dataset_source_init(ssld_dataset_source *source, size_t struct_size)
{
    ssld_options_zero(source, struct_size);
}

static ssld_status check_source(ssld_context *context, const ssld_dataset_source *source)
{
    const int32_t *image = source->image;
    bool sizes = image[1] >= 0 && image[2] >= 0 && !image[1] == !image[2];
    if (!source->read)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_dataset_from_source: there is no function to read samples with");
    if ((image[0] != 0 && image[0] != 1 && image[0] != 3) || !sizes ||
        (image[1] && image[1] > SSLD_IMAGE_MOST_PIXELS / image[2]))
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "ssld_dataset_from_source: images of shape %d x %d x %d; expected 1 or 3 channels, and 0 x 0 or 1 to "
                         "2^28 pixels", image[0], image[1], image[2]);
    if (source->classes < 0)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "ssld_dataset_from_source: classes is %d; it must be 0 or more",
                         source->classes);
    return SSLD_OK;
}

ssld_status ssld_dataset_from_source(ssld_context *context, const ssld_dataset_source *source, ssld_dataset **dataset)
{
    ssld_dataset_source own;
    uint64_t wrong = 0;
    ssld_status status = ssld_options_take(context, "ssld_dataset_from_source", &own, sizeof own, source,
                                           sizeof(ssld_dataset_source));
    if (status || (status = check_source(context, &own)))
        return status;
    ssld_dataset *made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(context, "a data set", sizeof *made);
    made->context = context;
    made->source = &host_source;
    made->count = own.count;
    made->classes = own.classes;
    made->host = own;
    memcpy(made->image, own.image, sizeof made->image);
    made->image[0] = own.image[0] ? own.image[0] : 3;
    memcpy(made->fingerprint, own.fingerprint, sizeof made->fingerprint);
    status = own.labels ? ssld_dataset_take_labels(made, own.labels, own.count, &wrong) : SSLD_OK;
    if (status == SSLD_FORMAT)
        status = ssld_fail(context, SSLD_INVALID_ARGUMENT,
                           "ssld_dataset_from_source: label %llu is %d; a label is -1 or a class from 0 on, below `classes`",
                           (unsigned long long)wrong, own.labels[wrong]);
    made->host.labels = NULL; /* copied */
    if (status) {
        ssld_dataset_destroy(made);
        return status;
    }
    *dataset = made;
    return SSLD_OK;
}
