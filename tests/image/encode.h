/* SPDX-License-Identifier: BSD-2-Clause */
/* encode.h - JPEG and PNG files of every kind, made in memory for the tests of decoding. Pixels are gradients with edges and
 * noise, so that every kind of coefficient occurs. */
#ifndef SSLD_TESTS_IMAGE_ENCODE_H
#define SSLD_TESTS_IMAGE_ENCODE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

struct jpeg_kind {
    const char   *name;
    J_COLOR_SPACE stored;      /* what the file has: JCS_GRAYSCALE, JCS_YCbCr, JCS_RGB, JCS_CMYK, JCS_YCCK */
    int           factors[4][2]; /* across and down, of each component; zeros: 1, 1 */
    int           quality;
    bool          progressive;
    bool          separate;    /* a scan for each component */
    int           unfinished;  /* progressive: only so many scans, the rest never came */
    int           restart;     /* MCUs between restart markers */
};

static const struct jpeg_kind jpeg_kinds[] = {
    { "4:4:4", JCS_YCbCr, { { 1, 1 } }, 90, false, false, 0, 0 },
    { "4:2:2", JCS_YCbCr, { { 2, 1 } }, 90, false, false, 0, 0 },
    { "4:2:0", JCS_YCbCr, { { 2, 2 } }, 90, false, false, 0, 0 },
    { "4:4:0", JCS_YCbCr, { { 1, 2 } }, 90, false, false, 0, 0 },
    { "4:1:1", JCS_YCbCr, { { 4, 1 } }, 90, false, false, 0, 0 },
    { "4:1:0", JCS_YCbCr, { { 4, 2 } }, 90, false, false, 0, 0 },
    { "4:2:0 low quality", JCS_YCbCr, { { 2, 2 } }, 30, false, false, 0, 0 },
    { "4:2:0 restart markers", JCS_YCbCr, { { 2, 2 } }, 85, false, false, 0, 3 },
    { "4:4:4 restart markers", JCS_YCbCr, { { 1, 1 } }, 85, false, false, 0, 1 },
    { "4:2:0 progressive", JCS_YCbCr, { { 2, 2 } }, 80, true, false, 0, 0 },
    { "4:2:2 progressive", JCS_YCbCr, { { 2, 1 } }, 80, true, false, 0, 5 },
    { "4:4:4 progressive", JCS_YCbCr, { { 1, 1 } }, 80, true, false, 0, 0 },
    { "4:4:0 progressive", JCS_YCbCr, { { 1, 2 } }, 80, true, false, 0, 0 },
    { "4:2:0 progressive, unfinished", JCS_YCbCr, { { 2, 2 } }, 80, true, false, 4, 0 },
    { "4:2:0 a scan a component", JCS_YCbCr, { { 2, 2 } }, 80, false, true, 0, 0 },
    { "4:2:2 a scan a component", JCS_YCbCr, { { 2, 1 } }, 80, false, true, 0, 2 },
    { "grey", JCS_GRAYSCALE, { { 1, 1 } }, 90, false, false, 0, 0 },
    { "grey progressive", JCS_GRAYSCALE, { { 1, 1 } }, 90, true, false, 0, 0 },
    { "grey 2 x 2", JCS_GRAYSCALE, { { 2, 2 } }, 90, false, false, 0, 0 },
    { "RGB", JCS_RGB, { { 1, 1 } }, 90, false, false, 0, 0 },
    { "CMYK", JCS_CMYK, { { 1, 1 } }, 90, false, false, 0, 0 },
    { "YCCK 4:2:0", JCS_YCCK, { { 2, 2 }, { 1, 1 }, { 1, 1 }, { 2, 2 } }, 90, false, false, 0, 0 },
    { "odd factors", JCS_YCbCr, { { 3, 1 } }, 90, false, false, 0, 0 },
    { "chroma of two sizes", JCS_YCbCr, { { 2, 2 }, { 2, 1 }, { 1, 2 } }, 90, false, false, 0, 0 },
};
#define JPEG_KINDS (sizeof jpeg_kinds / sizeof *jpeg_kinds)

static inline uint8_t encode_noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint8_t)(*state >> 24);
}

static inline void encode_row(int y, int width, int channels, uint32_t *state, uint8_t *row)
{
    for (int x = 0; x < width; x++)
        for (int c = 0; c < channels; c++) {
            int edge = (x / 7 + y / 5 + c) % 2 * 90;
            row[x * channels + c] = (uint8_t)((x * (3 + c) + y * 2 + edge + encode_noise(state) / 6) & 255);
        }
}

/* Stops the compression of an unfinished file where its last scan ends: libjpeg writes all that it is told of. */
static inline void encode_scans(struct jpeg_compress_struct *encoder, const struct jpeg_kind *kind, jpeg_scan_info *scans)
{
    if (kind->progressive) {
        jpeg_simple_progression(encoder);
        if (kind->unfinished)
            encoder->num_scans = kind->unfinished;
    }
    if (kind->separate) {
        for (int c = 0; c < encoder->num_components; c++)
            scans[c] = (jpeg_scan_info){ .comps_in_scan = 1, .component_index = { c }, .Ss = 0, .Se = 63 };
        encoder->scan_info = scans;
        encoder->num_scans = encoder->num_components;
    }
}

/* A file in memory that the caller frees. */
static inline uint8_t *encode_jpeg(const struct jpeg_kind *kind, int height, int width, unsigned long *size)
{
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr errors;
    jpeg_scan_info scans[4];
    unsigned char *bytes = NULL;
    uint32_t state = (uint32_t)(height * 1000 + width);
    encoder.err = jpeg_std_error(&errors);
    jpeg_create_compress(&encoder);
    *size = 0;
    jpeg_mem_dest(&encoder, &bytes, size);
    bool inks = kind->stored == JCS_CMYK || kind->stored == JCS_YCCK;
    encoder.image_height = (JDIMENSION)height;
    encoder.image_width = (JDIMENSION)width;
    encoder.input_components = kind->stored == JCS_GRAYSCALE ? 1 : inks ? 4 : 3;
    encoder.in_color_space = kind->stored == JCS_GRAYSCALE ? JCS_GRAYSCALE : inks ? JCS_CMYK : JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_colorspace(&encoder, kind->stored);
    jpeg_set_quality(&encoder, kind->quality, TRUE);
    for (int c = 0; c < encoder.num_components; c++) {
        encoder.comp_info[c].h_samp_factor = kind->factors[c][0] ? kind->factors[c][0] : 1;
        encoder.comp_info[c].v_samp_factor = kind->factors[c][1] ? kind->factors[c][1] : 1;
    }
    encoder.restart_interval = (unsigned)kind->restart;
    encode_scans(&encoder, kind, scans);
    jpeg_start_compress(&encoder, TRUE);
    uint8_t *row = malloc((size_t)width * 4);
    for (int y = 0; y < height; y++) {
        encode_row(y, width, encoder.input_components, &state, row);
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    free(row);
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    return bytes;
}

/* A big-endian EXIF segment that says `orientation`, put behind the JPEG's first marker. Frees the old bytes. */
static inline uint8_t *encode_orientation(uint8_t *jpeg, unsigned long *size, int orientation)
{
    uint8_t segment[] = { 0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3,
                          0, 0, 0, 1, 0, (uint8_t)orientation, 0, 0, 0, 0, 0, 0 };
    uint8_t *bytes = malloc(*size + sizeof segment);
    memcpy(bytes, jpeg, 2);
    memcpy(bytes + 2, segment, sizeof segment);
    memcpy(bytes + 2 + sizeof segment, jpeg + 2, *size - 2);
    *size += sizeof segment;
    free(jpeg);
    return bytes;
}

struct png_kind {
    const char *name;
    int         type, depth;
    bool        interlaced;
    int         chunk; /* bytes of an IDAT chunk, 0: libpng's own */
};

static const struct png_kind png_kinds[] = {
    { "RGB", PNG_COLOR_TYPE_RGB, 8, false, 0 },
    { "RGB 16 bit", PNG_COLOR_TYPE_RGB, 16, false, 0 },
    { "RGB in small chunks", PNG_COLOR_TYPE_RGB, 8, false, 100 },
    { "RGB interlaced", PNG_COLOR_TYPE_RGB, 8, true, 0 },
    { "RGBA", PNG_COLOR_TYPE_RGB_ALPHA, 8, false, 0 },
    { "RGBA 16 bit interlaced", PNG_COLOR_TYPE_RGB_ALPHA, 16, true, 0 },
    { "grey", PNG_COLOR_TYPE_GRAY, 8, false, 0 },
    { "grey 1 bit", PNG_COLOR_TYPE_GRAY, 1, false, 0 },
    { "grey and alpha", PNG_COLOR_TYPE_GRAY_ALPHA, 8, false, 0 },
    { "palette", PNG_COLOR_TYPE_PALETTE, 8, false, 0 },
    { "palette 2 bit interlaced", PNG_COLOR_TYPE_PALETTE, 2, true, 0 },
};
#define PNG_KINDS (sizeof png_kinds / sizeof *png_kinds)

struct encode_buffer {
    uint8_t *bytes;
    size_t   size;
};

static inline void encode_write(png_structp png, png_bytep data, size_t length)
{
    struct encode_buffer *buffer = png_get_io_ptr(png);
    buffer->bytes = realloc(buffer->bytes, buffer->size + length);
    memcpy(buffer->bytes + buffer->size, data, length);
    buffer->size += length;
}

static inline void encode_flush(png_structp png)
{
    (void)png;
}

static inline uint8_t *encode_png(const struct png_kind *kind, int height, int width, unsigned long *size)
{
    struct encode_buffer buffer = { NULL, 0 };
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    uint32_t state = (uint32_t)(height * 1000 + width);
    png_color palette[256];
    for (int i = 0; i < 256; i++)
        palette[i] = (png_color){ (png_byte)i, (png_byte)(i * 7), (png_byte)(255 - i) };
    png_set_write_fn(png, &buffer, encode_write, encode_flush);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, kind->depth, kind->type,
                 kind->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (kind->type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, 1 << kind->depth);
    if (kind->chunk)
        png_set_compression_buffer_size(png, (size_t)kind->chunk);
    png_write_info(png, info);
    int passes = png_set_interlace_handling(png);
    size_t stride = (size_t)width * 8;
    uint8_t *rows = malloc(stride * (size_t)height);
    for (int y = 0; y < height; y++)
        encode_row(y, width * 8, 1, &state, rows + (size_t)y * stride);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < height; y++)
            png_write_row(png, rows + (size_t)y * stride);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(rows);
    *size = buffer.size;
    return buffer.bytes;
}

#endif
