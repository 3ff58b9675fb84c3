/* SPDX-License-Identifier: BSD-2-Clause */
/* idx.c - idx:IMAGES[,LABELS], MNIST's format: a big-endian magic number 0x000008RR (unsigned bytes, RR dimensions),
 * the dimensions, then the bytes. Plain files stay mapped, gzip files are unpacked no further than the header says. */
#include "data/dataset.h"

#include <string.h>
#include <zlib.h>

#define IMAGE_DIMENSIONS 3 /* count, rows, columns */
#define LABEL_DIMENSIONS 1 /* count */
#define FIRST_CAPACITY ((size_t)1 << 16)

struct idx_file {
    const char     *path;
    int             dimensions;
    uint64_t        sizes[IMAGE_DIMENSIONS];
    struct ssld_map map;  /* a plain file */
    uint8_t        *own;  /* a gzip file's content */
    const uint8_t  *data; /* behind the header */
};

static void idx_close(ssld_context *context, struct idx_file *file)
{
    ssld_map_close(&file->map);
    ssld_free(context, file->own);
    file->own = NULL;
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static size_t header_size(const struct idx_file *file)
{
    return 4 + 4 * (size_t)file->dimensions;
}

/* Sizes from the header, and the size of the whole content. */
static ssld_status read_header(ssld_context *context, struct idx_file *file, const uint8_t *bytes, uint64_t *whole)
{
    uint32_t magic = big_endian(bytes), expected = 0x800u | (uint32_t)file->dimensions;
    if (magic != expected)
        return ssld_fail(context, SSLD_FORMAT,
                         "%s: the magic number at offset 0 is 0x%08x, not 0x%08x; is it the IDX file of the %s?",
                         file->path, (unsigned)magic, (unsigned)expected,
                         file->dimensions == IMAGE_DIMENSIONS ? "images" : "labels");
    for (int i = 0; i < file->dimensions; i++)
        file->sizes[i] = big_endian(bytes + 4 + 4 * i);
    uint64_t pixels = 1;
    if (file->dimensions == IMAGE_DIMENSIONS) {
        if (!file->sizes[1] || !file->sizes[2] || file->sizes[1] > (uint64_t)SSLD_IMAGE_MOST_PIXELS / file->sizes[2])
            return ssld_fail(context, SSLD_FORMAT,
                             "%s: images of %llu x %llu pixels at offset 8; they may have 1 to 2^28", file->path,
                             (unsigned long long)file->sizes[1], (unsigned long long)file->sizes[2]);
        pixels = file->sizes[1] * file->sizes[2];
    }
    *whole = header_size(file) + file->sizes[0] * pixels; /* below 2^60 */
    return SSLD_OK;
}

static ssld_status check_size(ssld_context *context, const struct idx_file *file, uint64_t size, uint64_t whole)
{
    if (size < whole)
        return ssld_fail(context, SSLD_FORMAT,
                         "%s: the data ends at offset %llu, the header promises %llu bytes; fetch the file again",
                         file->path, (unsigned long long)size, (unsigned long long)whole);
    if (size > whole)
        return ssld_fail(context, SSLD_FORMAT, "%s: there is data behind offset %llu, where the header says it ends",
                         file->path, (unsigned long long)whole);
    return SSLD_OK;
}

static ssld_status fail_short(ssld_context *context, const struct idx_file *file, uint64_t size)
{
    return ssld_fail(context, SSLD_FORMAT, "%s: the data ends at offset %llu, in the header of an IDX file", file->path,
                     (unsigned long long)size);
}

/* -- gzip --------------------------------------------------------------------------------------------------------- */

static voidpf zlib_take(voidpf context, uInt items, uInt size)
{
    return ssld_alloc(context, (size_t)items * size);
}

static void zlib_give(voidpf context, voidpf memory)
{
    ssld_free(context, memory);
}

struct unpacking {
    z_stream stream;
    size_t   taken;    /* of the compressed file, before what the stream holds now */
    uint8_t *bytes;
    size_t   used;
    size_t   capacity;
    uint64_t whole;    /* 0: the header is not read yet */
};

static ssld_status make_room(ssld_context *context, struct unpacking *work)
{
    if (work->used < work->capacity)
        return SSLD_OK;
    size_t capacity = work->capacity ? work->capacity * 2 : FIRST_CAPACITY;
    /* One byte more than the content, so that a longer one is noticed. */
    if (work->whole && capacity > work->whole + 1)
        capacity = (size_t)work->whole + 1;
    uint8_t *bytes = ssld_realloc(context, work->bytes, work->used, capacity);
    if (!bytes)
        return ssld_fail_memory(context, "an IDX file's content", capacity);
    work->bytes = bytes;
    work->capacity = capacity;
    return SSLD_OK;
}

/* Unpack some more. *ended: a member of the file is complete. */
static ssld_status inflate_some(ssld_context *context, const struct idx_file *file, struct unpacking *work, bool *ended)
{
    z_stream *stream = &work->stream;
    size_t in_left = file->map.size - work->taken, out_left = work->capacity - work->used;
    uInt in = in_left < 1u << 30 ? (uInt)in_left : 1u << 30, out = out_left < 1u << 30 ? (uInt)out_left : 1u << 30;
    stream->next_in = (z_const Bytef *)(file->map.bytes + work->taken);
    stream->avail_in = in;
    stream->next_out = work->bytes + work->used;
    stream->avail_out = out;
    int result = inflate(stream, Z_NO_FLUSH);
    work->taken += in - stream->avail_in;
    work->used += out - stream->avail_out;
    *ended = result == Z_STREAM_END;
    if (result == Z_OK || result == Z_STREAM_END)
        return SSLD_OK;
    if (result == Z_MEM_ERROR)
        return ssld_fail_memory(context, "unpacking", 0);
    if (result == Z_BUF_ERROR)
        return ssld_fail(context, SSLD_FORMAT, "%s: the gzip file is cut off at offset %zu; fetch it again", file->path,
                         work->taken);
    return ssld_fail(context, SSLD_FORMAT, "%s: damaged gzip data at offset %zu: %s", file->path, work->taken,
                     stream->msg ? stream->msg : "it does not unpack");
}

static ssld_status inflate_all(ssld_context *context, struct idx_file *file, struct unpacking *work)
{
    bool ended = false;
    while (!ended || work->taken < file->map.size) {
        if (ended && inflateReset(&work->stream) != Z_OK) /* gzip files may stand one behind the other */
            return ssld_fail(context, SSLD_INTERNAL, "%s: zlib cannot be reset", file->path);
        ssld_status status = make_room(context, work);
        if (!status)
            status = inflate_some(context, file, work, &ended);
        if (!status && !work->whole && work->used >= header_size(file))
            status = read_header(context, file, work->bytes, &work->whole);
        if (!status && work->whole && work->used > work->whole)
            status = check_size(context, file, work->used, work->whole);
        if (status)
            return status;
    }
    return work->whole ? check_size(context, file, work->used, work->whole) : fail_short(context, file, work->used);
}

static ssld_status unpack(ssld_context *context, struct idx_file *file)
{
    struct unpacking work = { .stream = { .zalloc = zlib_take, .zfree = zlib_give, .opaque = context } };
    if (inflateInit2(&work.stream, 15 + 16) != Z_OK) /* the largest window, gzip's wrapper */
        return ssld_fail_memory(context, "unpacking", 0);
    ssld_status status = inflate_all(context, file, &work);
    inflateEnd(&work.stream);
    if (status) {
        ssld_free(context, work.bytes);
        return status;
    }
    file->own = work.bytes;
    file->data = work.bytes + header_size(file);
    ssld_map_close(&file->map);
    return SSLD_OK;
}

/* -- The source --------------------------------------------------------------------------------------------------- */

static ssld_status idx_read(ssld_context *context, const char *path, int dimensions, struct idx_file *file)
{
    uint64_t whole = 0;
    *file = (struct idx_file){ .path = path, .dimensions = dimensions };
    ssld_status status = ssld_map_open(context, path, &file->map);
    if (status)
        return status;
    if (file->map.size >= 2 && file->map.bytes[0] == 0x1f && file->map.bytes[1] == 0x8b) {
        status = unpack(context, file);
    } else if (file->map.size < header_size(file)) {
        status = fail_short(context, file, file->map.size);
    } else {
        status = read_header(context, file, file->map.bytes, &whole);
        if (!status)
            status = check_size(context, file, file->map.size, whole);
        file->data = file->map.bytes + header_size(file);
    }
    if (status)
        idx_close(context, file);
    return status;
}

/* dataset->count is the number of samples taken, `all` that of the images file. */
static ssld_status read_labels(ssld_dataset *dataset, const char *path, const char *images, uint64_t all)
{
    ssld_context *context = dataset->context;
    struct idx_file file;
    int32_t *labels = NULL;
    uint64_t wrong = 0;
    ssld_status status = idx_read(context, path, LABEL_DIMENSIONS, &file);
    if (status)
        return status;
    if (file.sizes[0] != all) {
        status =
            ssld_fail(context, SSLD_FORMAT, "%s: %llu labels, but %s has %llu images; they are not of one data set",
                      path, (unsigned long long)file.sizes[0], images, (unsigned long long)all);
        goto done;
    }
    labels = ssld_alloc(context, (size_t)all * sizeof *labels);
    if (!labels) {
        status = ssld_fail_memory(context, "labels", (size_t)all * sizeof *labels);
        goto done;
    }
    for (uint64_t i = 0; i < all; i++)
        labels[i] = file.data[i];
    status = ssld_dataset_take_labels(dataset, labels, all, &wrong);
    if (status == SSLD_FORMAT)
        ssld_fail(context, SSLD_FORMAT, "%s: the label at offset %llu is %d, but the number of classes is %d", path,
                  (unsigned long long)(header_size(&file) + wrong), labels[wrong], dataset->classes);
done:
    ssld_free(context, labels);
    idx_close(context, &file);
    return status;
}

static ssld_status idx_open(ssld_dataset *dataset, const char *place, const ssld_dataset_options *options)
{
    ssld_context *context = dataset->context;
    struct idx_file file = { 0 };
    char *images = ssld_strdup(context, place);
    if (!images)
        return ssld_fail_memory(context, "a path", strlen(place));
    char *comma = strrchr(images, ',');
    if (comma)
        *comma = 0;
    ssld_status status = idx_read(context, images, IMAGE_DIMENSIONS, &file);
    if (status)
        goto done;
    dataset->count = options->limit && options->limit < file.sizes[0] ? options->limit : file.sizes[0];
    dataset->image[0] = 1;
    dataset->image[1] = (int32_t)file.sizes[1];
    dataset->image[2] = (int32_t)file.sizes[2];
    dataset->pixels = file.data;
    dataset->own = file.own;
    dataset->map = file.map;
    dataset->classes = options->classes;
    status = comma ? read_labels(dataset, comma + 1, images, file.sizes[0]) : SSLD_OK;
    if (!status)
        status = ssld_dataset_hash_pixels(dataset);
done:
    ssld_free(context, images);
    return status;
}

const struct source ssld_source_idx = { "idx", idx_open, ssld_pixels_fetch, NULL, NULL };
