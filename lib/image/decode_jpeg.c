/* SPDX-License-Identifier: BSD-2-Clause */
/* decode_jpeg.c - JPEG by libjpeg-turbo: all of an image, or the rows and columns of a box with the same pixels.
 *
 * A file has no index, so every coefficient up to the box's last row is read; but blocks beside and above the box are not
 * transformed, upsampled or converted, and nothing below it is read at all. The library cuts columns at whole MCUs and
 * upsamples as if the image ended there: one more pixel of chroma on each side makes the box's pixels those of the image.
 * Rows it skips with the context that upsampling needs. Where a part could differ from the whole (blocks of unfinished
 * progressive images are smoothed by their neighbours; sampling factors other than 1, 2 and 4 go untrodden paths), the
 * whole is decoded. */
#include "image/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

/* A file may say a pixel again and again in scans that cost almost nothing to store; real ones have about ten. */
#define MOST_SCANS 500
/* Rows asked of the library in one call. */
#define ROWS 16

/* libjpeg's own small buffers come from malloc, it knows no other; the pixels are the context's. */
struct jpeg_job {
    struct ssld_decoder           base;
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr         errors;
    struct jpeg_progress_mgr      progress;
    jmp_buf                       escape;
    struct ssld_fault            *fault; /* of the call that is running */
    uint8_t                      *inks;  /* a row of CMYK */
    bool                          created;
    /* The running read: */
    struct crop_box   box;
    bool              whole; /* to the end of the file */
    struct ssld_room *room;
    JDIMENSION        left; /* the first column that is decoded */
    JDIMENSION        width;
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

/* -- The header --------------------------------------------------------------------------------------------------- */

/* APP1 holds EXIF data behind this, or something else. */
static const uint8_t exif_signature[6] = { 'E', 'x', 'i', 'f', 0, 0 };

static int32_t find_orientation(const struct jpeg_decompress_struct *decoder)
{
    for (jpeg_saved_marker_ptr marker = decoder->marker_list; marker; marker = marker->next)
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > sizeof exif_signature &&
            !memcmp(marker->data, exif_signature, sizeof exif_signature))
            return ssld_exif_orientation(marker->data + sizeof exif_signature,
                                         marker->data_length - sizeof exif_signature);
    return 1;
}

static bool open_job(struct jpeg_job *job, bool exif)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    if (setjmp(job->escape))
        return false;
    jpeg_create_decompress(decoder);
    job->created = true;
    decoder->progress = &job->progress;
    jpeg_mem_src(decoder, job->base.bytes, job->base.size);
    if (exif)
        jpeg_save_markers(decoder, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(decoder, TRUE);
    if (ssld_decoder_claim(&job->base, decoder->image_height, decoder->image_width, job->fault))
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
    job->base.orientation = exif ? find_orientation(decoder) : 1;
    return true;
}

static ssld_status jpeg_open(struct ssld_decoder *base, bool exif, struct ssld_fault *fault)
{
    struct jpeg_job *job = (struct jpeg_job *)base;
    job->decoder.err = jpeg_std_error(&job->errors);
    job->decoder.client_data = job;
    job->errors.error_exit = jpeg_on_error;
    job->errors.emit_message = jpeg_on_message;
    job->errors.output_message = jpeg_on_output;
    job->progress.progress_monitor = jpeg_on_progress;
    job->fault = fault;
    return open_job(job, exif) ? SSLD_OK : fault->status;
}

/* -- Pixels ------------------------------------------------------------------------------------------------------- */

/* Inks as Adobe's programs store them, inverted, to RGB as Pillow converts: R = K - div255((255 - C) * K). */
static void inks_to_rgb(const uint8_t *inks, int32_t width, uint8_t *rgb)
{
    for (int32_t x = 0; x < width; x++, inks += 4, rgb += SSLD_RGB) {
        int32_t light = inks[3];
        for (int c = 0; c < SSLD_RGB; c++) {
            int32_t product = (255 - inks[c]) * light + 128;
            rgb[c] = (uint8_t)(light - ((product + (product >> 8)) >> 8));
        }
    }
}

static bool is_plain_factor(int factor, int most)
{
    return (factor == 1 || factor == 2 || factor == 4) && most % factor == 0;
}

/* Whether a part of the image has the pixels of the whole. Known when decompression has started: by then all scans but
 * those of a file with one have been read. */
static bool can_cut(const struct jpeg_decompress_struct *decoder)
{
    for (int c = 0; c < decoder->num_components; c++) {
        const jpeg_component_info *component = &decoder->comp_info[c];
        if (!is_plain_factor(component->h_samp_factor, decoder->max_h_samp_factor) ||
            !is_plain_factor(component->v_samp_factor, decoder->max_v_samp_factor))
            return false;
        /* Bits that no scan gave are guessed from the neighbours. */
        for (int k = 0; decoder->coef_bits && k < DCTSIZE2; k++)
            if (decoder->coef_bits[c][k])
                return false;
    }
    return decoder->num_components > 1 || (decoder->max_h_samp_factor == 1 && decoder->max_v_samp_factor == 1);
}

/* Fewer columns, if that is possible and there are enough to leave out. */
static void cut_columns(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    JDIMENSION unit = (JDIMENSION)(DCTSIZE * decoder->max_h_samp_factor), margin = (JDIMENSION)decoder->max_h_samp_factor;
    JDIMENSION left = (JDIMENSION)job->box.left, right = left + (JDIMENSION)job->box.width;
    left = left > margin ? (left - margin) / unit * unit : 0;
    right = (right + margin + unit - 1) / unit * unit;
    right = right < decoder->output_width ? right : decoder->output_width;
    /* Upsampling has special cases for one or two blocks. */
    if (right - left < 4 * unit || right - left == decoder->output_width)
        return;
    job->left = left;
    job->width = right - left;
    jpeg_crop_scanline(decoder, &job->left, &job->width);
}

/* Rows that are thrown away: a few are read, many are skipped. */
static void pass_rows(struct jpeg_job *job, uint8_t *row, bool cut)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    JDIMENSION top = (JDIMENSION)job->box.top;
    if (cut && top >= (JDIMENSION)(2 * DCTSIZE * decoder->max_v_samp_factor))
        jpeg_skip_scanlines(decoder, top);
    while (decoder->output_scanline < top)
        jpeg_read_scanlines(decoder, &row, 1);
}

static void read_inked_rows(struct jpeg_job *job, uint8_t *rgb, size_t stride, JDIMENSION bottom)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    for (; decoder->output_scanline < bottom; rgb += stride) {
        jpeg_read_scanlines(decoder, &job->inks, 1);
        inks_to_rgb(job->inks, (int32_t)job->width, rgb);
    }
}

static void read_rgb_rows(struct jpeg_job *job, uint8_t *rgb, size_t stride, JDIMENSION bottom)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    while (decoder->output_scanline < bottom) {
        JSAMPROW rows[ROWS];
        JDIMENSION left = bottom - decoder->output_scanline, count = left < ROWS ? left : ROWS;
        for (JDIMENSION i = 0; i < count; i++)
            rows[i] = rgb + i * stride;
        rgb += jpeg_read_scanlines(decoder, rows, count) * stride;
    }
}

static bool read_job(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *decoder = &job->decoder;
    if (setjmp(job->escape))
        return false;
    decoder->dct_method = JDCT_ISLOW;
    decoder->do_fancy_upsampling = TRUE;
    decoder->do_block_smoothing = TRUE;
    jpeg_start_decompress(decoder);
    bool cut = !job->whole && can_cut(decoder), inked = decoder->out_color_space == JCS_CMYK;
    job->left = 0;
    job->width = decoder->output_width;
    if (cut)
        cut_columns(job);
    size_t stride = (size_t)job->width * SSLD_RGB;
    JDIMENSION bottom = (JDIMENSION)(job->box.top + job->box.height);
    uint8_t *rgb = ssld_room_take(job->base.context, job->room, "an image", (size_t)job->box.height * stride, job->fault);
    if (!rgb)
        return false;
    if (inked && !(job->inks = ssld_alloc(job->base.context, (size_t)job->width * 4))) {
        ssld_fault_memory(job->fault, "a row of inks", (size_t)job->width * 4);
        return false;
    }
    pass_rows(job, inked ? job->inks : rgb, cut);
    (inked ? read_inked_rows : read_rgb_rows)(job, rgb, stride, bottom);
    if (bottom == decoder->output_height)
        jpeg_finish_decompress(decoder); /* reads to the end marker, so that a file cut there is noticed too */
    return true;
}

static ssld_status jpeg_read(struct ssld_decoder *base, const struct crop_box *box, bool whole, struct ssld_room *room,
                             struct ssld_image *image, struct ssld_fault *fault)
{
    struct jpeg_job *job = (struct jpeg_job *)base;
    job->fault = fault;
    job->box = *box;
    job->whole = whole;
    job->room = room;
    if (!read_job(job))
        return fault->status;
    size_t stride = (size_t)job->width * SSLD_RGB;
    *image = (struct ssld_image){ SSLD_RGB, box->height, box->width, stride,
                                  room->memory + ((size_t)box->left - job->left) * SSLD_RGB, NULL };
    return SSLD_OK;
}

static void jpeg_close(struct ssld_decoder *base)
{
    struct jpeg_job *job = (struct jpeg_job *)base;
    if (job->created)
        jpeg_destroy_decompress(&job->decoder);
    ssld_free(base->context, job->inks);
}

const struct decode_format ssld_decode_jpeg = {
    .name = "JPEG",
    .signature = "\xff\xd8\xff",
    .length = 3,
    .job_size = sizeof(struct jpeg_job),
    .open = jpeg_open,
    .read = jpeg_read,
    .close = jpeg_close,
};
