/* SPDX-License-Identifier: BSD-2-Clause */
/* decode.c - JPEG by libjpeg-turbo and PNG by libpng, to RGB bytes.
 *
 * Both libraries report failure by a call that must not return. Each decoder is therefore two functions: the outer one
 * owns every resource in a job and releases it, the inner one holds the setjmp and only ever touches the job. */
#include "image/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#define RGB 3

static ssld_status check_pixels(int64_t height, int64_t width, struct ssld_fault *fault)
{
    if (height < 1 || width < 1)
        return ssld_fault_set(fault, SSLD_CORRUPT, "damaged image: its size is %lld x %lld", (long long)height,
                              (long long)width);
    if (height > SSLD_IMAGE_MOST_PIXELS / width)
        return ssld_fault_set(fault, SSLD_UNSUPPORTED, "%lld x %lld pixels; at most 2^28 are supported",
                              (long long)height, (long long)width);
    return SSLD_OK;
}

/* -- JPEG --------------------------------------------------------------------------------------------------------- */

/* A file may say a pixel again and again in scans that cost almost nothing to store; real ones have about ten. */
#define MOST_SCANS 500

/* libjpeg's own small buffers come from malloc, it knows no other; the pixels are the context's. */
struct jpeg_job {
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr         errors;
    struct jpeg_progress_mgr      progress;
    jmp_buf                       escape;
    ssld_context                 *context;
    struct ssld_image            *image;
    struct ssld_fault            *fault;
    uint8_t                      *inks; /* a row of CMYK */
};

/* Valid files that this build of libjpeg-turbo cannot decode. Any other error is damage. */
static const int jpeg_unsupported[] = { JERR_BAD_PRECISION, JERR_SOF_UNSUPPORTED, JERR_ARITH_NOTIMPL, JERR_NOTIMPL,
                                        JERR_NOT_COMPILED,  JERR_CCIR601_NOTIMPL, JERR_CONVERSION_NOTIMPL,
                                        JERR_IMAGE_TOO_BIG };
/* Warnings that cost no pixel: versions, colour transforms and profiles it does not know, bytes between segments
 * (which a few files of every large data set have). Any other warning means pixels were made up. */
static const int jpeg_harmless[] = { JWRN_JFIF_MAJOR, JWRN_ADOBE_XFORM, JWRN_BOGUS_ICC, JWRN_EXTRANEOUS_DATA };

static bool is_one_of(int code, const int *codes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (codes[i] == code)
            return true;
    return false;
}

static _Noreturn void jpeg_escape(struct jpeg_job *job)
{
    int code = job->errors.msg_code;
    char text[JMSG_LENGTH_MAX];
    job->errors.format_message((j_common_ptr)&job->decoder, text);
    if (code == JERR_OUT_OF_MEMORY)
        ssld_fault_set(job->fault, SSLD_OUT_OF_MEMORY, "no memory for decoding: %s", text);
    else if (is_one_of(code, jpeg_unsupported, sizeof jpeg_unsupported / sizeof *jpeg_unsupported))
        ssld_fault_set(job->fault, SSLD_UNSUPPORTED, "this kind of JPEG cannot be read: %s; save it as baseline or "
                       "progressive, 8 bits, at most 65500 pixels a side", text);
    else
        ssld_fault_set(job->fault, SSLD_CORRUPT, "damaged or cut-off JPEG: %s", text);
    longjmp(job->escape, 1);
}

static _Noreturn void jpeg_on_error(j_common_ptr decoder)
{
    jpeg_escape(decoder->client_data);
}

static void jpeg_on_message(j_common_ptr decoder, int level)
{
    struct jpeg_job *job = decoder->client_data;
    if (level < 0 && !is_one_of(job->errors.msg_code, jpeg_harmless, sizeof jpeg_harmless / sizeof *jpeg_harmless))
        jpeg_escape(job);
}

static void jpeg_on_output(j_common_ptr decoder)
{
    (void)decoder; /* the library prints nothing */
}

static void jpeg_on_progress(j_common_ptr decoder)
{
    struct jpeg_job *job = decoder->client_data;
    if (job->decoder.input_scan_number <= MOST_SCANS)
        return;
    ssld_fault_set(job->fault, SSLD_UNSUPPORTED, "a JPEG of more than %d scans; save it again", MOST_SCANS);
    longjmp(job->escape, 1);
}

/* Inks as Adobe's programs store them, inverted, to RGB as Pillow converts: R = K - div255((255 - C) * K). */
static void inks_to_rgb(const uint8_t *inks, int32_t width, uint8_t *rgb)
{
    for (int32_t x = 0; x < width; x++, inks += 4, rgb += RGB) {
        int32_t light = inks[3];
        for (int c = 0; c < RGB; c++) {
            int32_t product = (255 - inks[c]) * light + 128;
            rgb[c] = (uint8_t)(light - ((product + (product >> 8)) >> 8));
        }
    }
}

static bool jpeg_read_rows(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    struct ssld_image *image = job->image;
    bool inked = decoder->out_color_space == JCS_CMYK;
    if (ssld_image_make(job->context, RGB, (int32_t)decoder->output_height, (int32_t)decoder->output_width, image,
                        job->fault))
        return false;
    if (inked && !(job->inks = ssld_alloc(job->context, (size_t)image->width * 4))) {
        ssld_fault_memory(job->fault, "a row of inks", (size_t)image->width * 4);
        return false;
    }
    while (decoder->output_scanline < decoder->output_height) {
        uint8_t *rgb = image->own + decoder->output_scanline * image->stride;
        JSAMPROW row = inked ? job->inks : rgb;
        jpeg_read_scanlines(decoder, &row, 1);
        if (inked)
            inks_to_rgb(job->inks, image->width, rgb);
    }
    jpeg_finish_decompress(decoder); /* reads to the end marker, so that a file cut there is noticed too */
    return true;
}

static bool jpeg_run(struct jpeg_job *job, const uint8_t *bytes, size_t size)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    if (setjmp(job->escape))
        return false;
    jpeg_create_decompress(decoder);
    decoder->progress = &job->progress;
    jpeg_mem_src(decoder, bytes, size);
    jpeg_read_header(decoder, TRUE);
    if (check_pixels(decoder->image_height, decoder->image_width, job->fault))
        return false;
    switch (decoder->jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_YCbCr:
    case JCS_RGB:
        decoder->out_color_space = JCS_RGB;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        decoder->out_color_space = JCS_CMYK;
        break;
    default:
        ssld_fault_set(job->fault, SSLD_UNSUPPORTED, "a JPEG of %d colour components; save it as RGB",
                       decoder->num_components);
        return false;
    }
    decoder->dct_method = JDCT_ISLOW;
    decoder->do_fancy_upsampling = TRUE;
    decoder->do_block_smoothing = TRUE;
    jpeg_start_decompress(decoder);
    return jpeg_read_rows(job);
}

static ssld_status decode_jpeg(ssld_context *context, const uint8_t *bytes, size_t size, struct ssld_image *image,
                               struct ssld_fault *fault)
{
    struct jpeg_job job = { .context = context, .image = image, .fault = fault };
    job.decoder.err = jpeg_std_error(&job.errors);
    job.decoder.client_data = &job;
    job.errors.error_exit = jpeg_on_error;
    job.errors.emit_message = jpeg_on_message;
    job.errors.output_message = jpeg_on_output;
    job.progress.progress_monitor = jpeg_on_progress;
    bool done = jpeg_run(&job, bytes, size);
    jpeg_destroy_decompress(&job.decoder);
    ssld_free(context, job.inks);
    if (done)
        return SSLD_OK;
    ssld_image_free(context, image);
    return fault->status;
}

/* -- PNG ---------------------------------------------------------------------------------------------------------- */

struct png_job {
    png_structp        png;
    png_infop          info;
    jmp_buf            escape;
    const uint8_t     *bytes;
    size_t             left;
    ssld_context      *context;
    struct ssld_image *image;
    struct ssld_fault *fault;
    bool               no_memory;
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
    void *memory = ssld_alloc(job->context, size);
    job->no_memory |= !memory;
    return memory;
}

static void png_give(png_structp png, png_voidp memory)
{
    struct png_job *job = png_get_mem_ptr(png);
    ssld_free(job->context, memory);
}

static void png_on_read(png_structp png, png_bytep to, size_t size)
{
    struct png_job *job = png_get_io_ptr(png);
    if (size > job->left)
        png_error(png, "the file ends too early");
    memcpy(to, job->bytes, size);
    job->bytes += size;
    job->left -= size;
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

static bool png_run(struct png_job *job)
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
    png_set_user_limits(job->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* check_pixels() knows better */
    png_set_crc_action(job->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(job->png, job->info);
    png_uint_32 height = png_get_image_height(job->png, job->info), width = png_get_image_width(job->png, job->info);
    if (check_pixels(height, width, job->fault))
        return false;
    png_ask_for_rgb(job);
    int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    if (png_get_rowbytes(job->png, job->info) != (size_t)width * RGB)
        png_error(job->png, "its pixels do not expand to RGB");
    if (ssld_image_make(job->context, RGB, (int32_t)height, (int32_t)width, job->image, job->fault))
        return false;
    for (int pass = 0; pass < passes; pass++)
        for (png_uint_32 y = 0; y < height; y++)
            png_read_row(job->png, job->image->own + y * job->image->stride, NULL);
    png_read_end(job->png, NULL);
    return true;
}

static ssld_status decode_png(ssld_context *context, const uint8_t *bytes, size_t size, struct ssld_image *image,
                              struct ssld_fault *fault)
{
    struct png_job job = { .bytes = bytes, .left = size, .context = context, .image = image, .fault = fault };
    bool done = png_run(&job);
    if (job.png)
        png_destroy_read_struct(&job.png, &job.info, NULL);
    if (done)
        return SSLD_OK;
    ssld_image_free(context, image);
    return fault->status;
}

/* -- Either ------------------------------------------------------------------------------------------------------- */

static const struct format {
    const char *signature;
    size_t      length;
    ssld_status (*decode)(ssld_context *context, const uint8_t *bytes, size_t size, struct ssld_image *image,
                          struct ssld_fault *fault);
} formats[] = {
    { "\xff\xd8\xff", 3, decode_jpeg },
    { "\x89PNG\r\n\x1a\n", 8, decode_png },
};

ssld_status ssld_image_decode(ssld_context *context, const void *bytes, size_t size, struct ssld_image *image,
                              struct ssld_fault *fault)
{
    struct ssld_image made = { 0 };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const struct format *format = &formats[i];
        if (size < format->length || memcmp(bytes, format->signature, format->length))
            continue;
        ssld_status status = format->decode(context, bytes, size, &made, fault);
        if (!status)
            *image = made;
        return status;
    }
    return ssld_fault_set(fault, SSLD_FORMAT, "%zu bytes that are neither a JPEG nor a PNG file; convert the image",
                          size);
}
