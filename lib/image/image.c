/* SPDX-License-Identifier: BSD-2-Clause */
/* image.c - images and faults as objects: made, freed, replaced, cut. */
#include "image/image.h"

#include <stdio.h>

ssld_status ssld_fault_set(struct ssld_fault *fault, ssld_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
    fault->status = status;
    return status;
}

ssld_status ssld_fault_memory(struct ssld_fault *fault, const char *what, size_t size)
{
    return ssld_fault_set(fault, SSLD_OUT_OF_MEMORY, "no memory for %s (%zu bytes)", what, size);
}

ssld_status ssld_image_make(ssld_context *context, int32_t channels, int32_t height, int32_t width,
                            struct ssld_image *image, struct ssld_fault *fault)
{
    size_t stride = (size_t)width * (size_t)channels;
    uint8_t *own = ssld_alloc(context, (size_t)height * stride);
    if (!own)
        return ssld_fault_memory(fault, "an image", (size_t)height * stride);
    *image = (struct ssld_image){ channels, height, width, stride, own, own };
    return SSLD_OK;
}

void ssld_image_free(ssld_context *context, struct ssld_image *image)
{
    ssld_free(context, image->own);
    *image = (struct ssld_image){ 0 };
}

void ssld_image_replace(ssld_context *context, struct ssld_image *image, const struct ssld_image *other)
{
    ssld_free(context, image->own);
    *image = *other;
}

void ssld_image_cut(struct ssld_image *image, int32_t top, int32_t left, int32_t height, int32_t width)
{
    image->pixels += (size_t)top * image->stride + (size_t)left * (size_t)image->channels;
    image->height = height;
    image->width = width;
}

uint8_t *ssld_room_take(ssld_context *context, struct ssld_room *room, const char *what, size_t size,
                        struct ssld_fault *fault)
{
    if (size > room->size) {
        ssld_room_free(context, room);
        room->memory = ssld_alloc(context, size);
        room->size = room->memory ? size : 0;
    }
    if (!room->memory)
        ssld_fault_memory(fault, what, size);
    return room->memory;
}

void ssld_room_free(ssld_context *context, struct ssld_room *room)
{
    ssld_free(context, room->memory);
    *room = (struct ssld_room){ NULL, 0 };
}
