/* SPDX-License-Identifier: BSD-2-Clause */
/* decode_png.c - PNG by libpng: all of an image, or rows until a box's last one.
 *
 * Rows depend on those above them, so these are decoded too; columns are cut off when they are copied. Interlaced images
 * are decoded whole. */
#include "image/decode.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

struct png_job {
    struct ssld_decoder base;
    png_structp         png;
    png_infop           info;
    jmp_buf             escape;
    size_t              at; /* bytes that libpng has read */
    struct ssld_fault  *fault;
    bool                no_memory;
    uint8_t            *row; /* a whole one, of which columns are cut */
    /* The running read: */
    struct crop_box   box;
    bool              whole;
    struct ssld_room *room;
};

static _Noreturn void png_on_error(png_structp png, png_const_charp text)
{
    struct png_job *job = png_get_error_ptr(png);
    if (job->no_memory)
        ssld_fault_set(job->fault, SSLD_OUT_OF_MEMORY, "no memory for decoding: %s", text);
    else
        ssld_fault_set(job->fault, SSLD_CORRUPT, "damaged or cut-off PNG: %s", text);
    longjmp(job->escape, 1);
}

static void png_on_warning(png_structp png, png_const_charp text)
{
    (void)png; /* libpng warns of what does not touch the pixels */
    (void)text;
}

static png_voidp png_take(png_structp png, png_alloc_size_t size)
{
    struct png_job *job = png_get_mem_ptr(png);
    void *memory = ssld_alloc(job->base.context, size);
    job->no_memory |= !memory;
    return memory;
}

static void png_give(png_structp png, png_voidp memory)
{
    struct png_job *job = png_get_mem_ptr(png);
    ssld_free(job->base.context, memory);
}

static void png_on_read(png_structp png, png_bytep to, size_t size)
{
    struct png_job *job = png_get_io_ptr(png);
    if (size > job->base.size - job->at)
        png_error(png, "the file ends too early");
    memcpy(to, job->base.bytes + job->at, size);
    job->at += size;
}

/* Whatever the colour type and depth: 8 bits by the high byte, palettes and grey expanded, alpha dropped. */
static void png_ask_for_rgb(struct png_job *job)
{
    png_structp png = job->png;
    png_byte type = png_get_color_type(png, job->info);
    png_set_strip_16(png);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (!(type & PNG_COLOR_MASK_COLOR)) {
        png_set_expand_gray_1_2_4_to_8(png);
        png_set_gray_to_rgb(png);
    }
    png_set_strip_alpha(png);
}

static int32_t find_orientation(struct png_job *job)
{
#ifdef PNG_eXIf_SUPPORTED
    png_bytep tiff = NULL;
    png_uint_32 length = 0;
    if (png_get_eXIf_1(job->png, job->info, &length, &tiff) && tiff)
        return ssld_exif_orientation(tiff, length);
#else
    (void)job;
#endif
    return 1;
}

static bool open_job(struct png_job *job, bool exif)
{
    if (setjmp(job->escape))
        return false;
    job->png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, job, png_on_error, png_on_warning, job, png_take, png_give);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    if (!job->info) {
        ssld_fault_memory(job->fault, "libpng", 0);
        return false;
    }
    png_set_read_fn(job->png, job, png_on_read);
    png_set_user_limits(job->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ssld_decoder_claim() knows better */
    png_set_crc_action(job->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(job->png, job->info);
    job->base.orientation = exif ? find_orientation(job) : 1;
    return !ssld_decoder_claim(&job->base, png_get_image_height(job->png, job->info),
                               png_get_image_width(job->png, job->info), job->fault);
}

static ssld_status png_open(struct ssld_decoder *base, bool exif, struct ssld_fault *fault)
{
    struct png_job *job = (struct png_job *)base;
    job->fault = fault;
    return open_job(job, exif) ? SSLD_OK : fault->status;
}

/* -- Pixels ------------------------------------------------------------------------------------------------------- */

static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t value = n;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? 0xedb88320u ^ value >> 1 : value >> 1;
        table[n] = value;
    }
    for (size_t i = 0; i < size; i++)
        crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

/* libpng compares the checksums of the chunks it has read to the end. The one in which reading stopped is left: compare
 * its, so that every byte that made a pixel is proved. */
static bool last_chunk_is_sound(const struct png_job *job)
{
    const uint8_t *bytes = job->base.bytes;
    for (size_t at = 8; job->base.size - at >= 12;) {
        size_t length = png_get_uint_32(bytes + at);
        if (length > job->base.size - at - 12)
            return false;
        if (at + 12 + length >= job->at)
            return crc32_of(bytes + at + 4, length + 4) == png_get_uint_32(bytes + at + 8 + length);
        at += 12 + length;
    }
    return false;
}

/* Row by row as far as the box reaches, each through `row`. */
static void read_part(struct png_job *job, uint8_t *to, size_t stride)
{
    const struct crop_box *box = &job->box;
    for (int32_t y = 0; y < box->top + box->height; y++) {
        png_read_row(job->png, job->row, NULL);
        if (y < box->top)
            continue;
        memcpy(to, job->row + (size_t)box->left * SSLD_RGB, stride);
        to += stride;
    }
}

static bool read_job(struct png_job *job)
{
    struct crop_box *box = &job->box;
    if (setjmp(job->escape))
        return false;
    png_ask_for_rgb(job);
    int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    size_t row_bytes = (size_t)job->base.width * SSLD_RGB;
    if (png_get_rowbytes(job->png, job->info) != row_bytes)
        png_error(job->png, "its pixels do not expand to RGB");
    if (passes > 1) {
        job->whole = true;
        *box = (struct crop_box){ 0, 0, job->base.height, job->base.width };
    }
    size_t stride = (size_t)box->width * SSLD_RGB;
    uint8_t *pixels = ssld_room_take(job->base.context, job->room, "an image", (size_t)box->height * stride, job->fault);
    if (!pixels)
        return false;
    if (job->whole) {
        for (int pass = 0; pass < passes; pass++)
            for (int32_t y = 0; y < box->height; y++)
                png_read_row(job->png, pixels + (size_t)y * stride, NULL);
    } else {
        job->row = ssld_alloc(job->base.context, row_bytes);
        if (!job->row) {
            ssld_fault_memory(job->fault, "a row of pixels", row_bytes);
            return false;
        }
        read_part(job, pixels, stride);
    }
    if (box->top + box->height == job->base.height)
        png_read_end(job->png, NULL);
    else if (!last_chunk_is_sound(job))
        png_error(job->png, "CRC error, or the file ends too early");
    return true;
}

static ssld_status png_read(struct ssld_decoder *base, const struct crop_box *box, bool whole, struct ssld_room *room,
                            struct ssld_image *image, struct ssld_fault *fault)
{
    struct png_job *job = (struct png_job *)base;
    job->fault = fault;
    job->box = *box;
    job->whole = whole;
    job->room = room;
    if (!read_job(job))
        return fault->status;
    *image = (struct ssld_image){ SSLD_RGB, job->box.height, job->box.width, (size_t)job->box.width * SSLD_RGB,
                                  room->memory, NULL };
    ssld_image_cut(image, box->top - job->box.top, box->left - job->box.left, box->height, box->width);
    return SSLD_OK;
}

static void png_close(struct ssld_decoder *base)
{
    struct png_job *job = (struct png_job *)base;
    if (job->png)
        png_destroy_read_struct(&job->png, &job->info, NULL);
    ssld_free(base->context, job->row);
}

const struct decode_format ssld_decode_png = {
    .name = "PNG",
    .signature = "\x89PNG\r\n\x1a\n",
    .length = 8,
    .job_size = sizeof(struct png_job),
    .open = png_open,
    .read = png_read,
    .close = png_close,
};
