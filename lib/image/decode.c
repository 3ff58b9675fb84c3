/* SPDX-License-Identifier: BSD-2-Clause */
/* decode.c - image files to RGB bytes: which format, how large, which part. */
#include "image/decode.h"

#include <string.h>

static const struct decode_format *const formats[] = { &ssld_decode_jpeg, &ssld_decode_png };

ssld_status ssld_decoder_claim(struct ssld_decoder *decoder, int64_t height, int64_t width, struct ssld_fault *fault)
{
    int64_t most = ssld_context_image_pixels(decoder->context);
    if (height < 1 || width < 1)
        return ssld_fault_set(fault, SSLD_CORRUPT, "damaged image: its size is %lld x %lld", (long long)height,
                              (long long)width);
    if (height > most / width)
        return ssld_fault_set(fault, SSLD_UNSUPPORTED,
                              "%lld x %lld pixels; the context's image_pixels_limit is %lld", (long long)height,
                              (long long)width, (long long)most);
    decoder->height = (int32_t)height;
    decoder->width = (int32_t)width;
    return SSLD_OK;
}

static const struct decode_format *find_format(const void *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (size >= formats[i]->length && !memcmp(bytes, formats[i]->signature, formats[i]->length))
            return formats[i];
    return NULL;
}

ssld_status ssld_decoder_open(ssld_context *context, const void *bytes, size_t size, bool exif,
                              struct ssld_decoder **decoder, struct ssld_fault *fault)
{
    const struct decode_format *format = find_format(bytes, size);
    if (!size)
        return ssld_fault_set(fault, SSLD_FORMAT, "0 bytes: the file is empty");
    if (!format)
        return ssld_fault_set(fault, SSLD_FORMAT, "%zu bytes that are neither a JPEG nor a PNG file; convert the image",
                              size);
    if (size > (uint64_t)ssld_context_image_bytes(context))
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%zu bytes; the context's image_bytes_limit is %lld", size,
                              (long long)ssld_context_image_bytes(context));
    struct ssld_decoder *made = ssld_alloc_zero(context, 1, format->job_size);
    if (!made)
        return ssld_fault_memory(fault, "a decoder", format->job_size);
    *made = (struct ssld_decoder){ .format = format, .context = context, .bytes = bytes, .size = size, .orientation = 1 };
    ssld_status status = format->open(made, exif, fault);
    if (status)
        ssld_decoder_close(made);
    else
        *decoder = made;
    return status;
}

void ssld_decoder_size(const struct ssld_decoder *decoder, int32_t *height, int32_t *width)
{
    *height = decoder->height;
    *width = decoder->width;
}

int32_t ssld_decoder_orientation(const struct ssld_decoder *decoder)
{
    return decoder->orientation;
}

ssld_status ssld_decoder_read(struct ssld_decoder *decoder, const struct crop_box *box, struct ssld_room *room,
                              struct ssld_image *image, struct ssld_fault *fault)
{
    const struct crop_box all = { 0, 0, decoder->height, decoder->width };
    return decoder->format->read(decoder, box ? box : &all, !box, room, image, fault);
}

void ssld_decoder_close(struct ssld_decoder *decoder)
{
    if (!decoder)
        return;
    decoder->format->close(decoder);
    ssld_free(decoder->context, decoder);
}

ssld_status ssld_image_decode(ssld_context *context, const void *bytes, size_t size, struct ssld_image *image,
                              struct ssld_fault *fault)
{
    struct ssld_decoder *decoder = NULL;
    struct ssld_room room = { NULL, 0 };
    struct ssld_image made;
    if (ssld_decoder_open(context, bytes, size, false, &decoder, fault))
        return fault->status;
    ssld_status status = ssld_decoder_read(decoder, NULL, &room, &made, fault);
    ssld_decoder_close(decoder);
    if (status) {
        ssld_room_free(context, &room);
        return status;
    }
    made.own = room.memory;
    *image = made;
    return SSLD_OK;
}
