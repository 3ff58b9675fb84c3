/* SPDX-License-Identifier: BSD-2-Clause */
/* make_corpus.c - writes the files that fuzz_decode.c starts from: one small file of each kind that encode.h knows.
 *
 *   make_corpus FOLDER */
#include "image/encode.h"

static int write_file(const char *folder, const char *name, const char *ending, const uint8_t *bytes, size_t size)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/", folder);
    for (; *name; name++)
        path[length++] = *name == ' ' || *name == ':' || *name == ',' ? '-' : *name;
    snprintf(path + length, sizeof path - (size_t)length, "%s", ending);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
        perror(path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    unsigned long size;
    if (argc != 2)
        return 2;
    for (size_t k = 0; k < JPEG_KINDS; k++) {
        uint8_t *bytes = encode_jpeg(&jpeg_kinds[k], 37, 67, &size);
        failed += write_file(argv[1], jpeg_kinds[k].name, ".jpg", bytes, size);
        free(bytes);
    }
    for (size_t k = 0; k < PNG_KINDS; k++) {
        uint8_t *bytes = encode_png(&png_kinds[k], 19, 23, &size);
        failed += write_file(argv[1], png_kinds[k].name, ".png", bytes, size);
        free(bytes);
    }
    uint8_t *turned = encode_orientation(encode_jpeg(&jpeg_kinds[2], 37, 67, &size), &size, 6);
    failed += write_file(argv[1], "turned", ".jpg", turned, size);
    free(turned);
    return failed != 0;
}
