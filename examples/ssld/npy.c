/* SPDX-License-Identifier: BSD-2-Clause */
/* npy.c - NumPy's array files: a header that is checked word by word, then plain elements. */
#include "npy.h"

#include <fcntl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

static const char magic[] = "\x93NUMPY";

#define MAGIC_SIZE 6
#define MOST_HEADER 4096 /* a matrix's takes about 60 */
#define ALIGNMENT 64     /* of the first element, as NumPy writes it */

/* What follows 'name': in the header's dictionary, or NULL. */
static const char *value_of(const char *header, const char *name)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", name);
    const char *found = strstr(header, quoted);
    if (!found)
        return NULL;
    found += strlen(quoted);
    return found + strspn(found, " ");
}

static bool starts_with(const char *text, const char *beginning)
{
    return text && !strncmp(text, beginning, strlen(beginning));
}

/* The two numbers of "(20000, 1000)". */
static bool read_shape(const char *text, uint64_t *rows, uint64_t *columns)
{
    char *end;
    if (!text || *text != '(')
        return false;
    *rows = strtoull(text + 1, &end, 10);
    if (end == text + 1 || *end != ',')
        return false;
    text = end + 1;
    *columns = strtoull(text, &end, 10);
    return end != text && end[strspn(end, ", ")] == ')';
}

/* Offset of the first element, 0 if the bytes are no matrix of the wanted form; `why` receives what is wrong then. */
static size_t read_head(const uint8_t *bytes, size_t size, struct npy_matrix *matrix, const char **why)
{
    char header[MOST_HEADER + 1];
    *why = "it is not a NumPy array file (.npy)";
    if (size < 12 || memcmp(bytes, magic, MAGIC_SIZE) || bytes[6] < 1 || bytes[6] > 3)
        return 0;
    size_t start = bytes[6] == 1 ? 10 : 12, length = bytes[8] | (size_t)bytes[9] << 8;
    if (bytes[6] > 1)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > MOST_HEADER || length > size - start)
        return 0;
    memcpy(header, bytes + start, length);
    header[length] = 0;
    *why = "it must hold float32 ('<f4'); save it with array.astype('<f4')";
    if (!starts_with(value_of(header, "descr"), "'<f4'"))
        return 0;
    *why = "it must be in C order; save it with numpy.ascontiguousarray";
    if (!starts_with(value_of(header, "fortran_order"), "False"))
        return 0;
    *why = "it must have two dimensions, views and classes";
    if (!read_shape(value_of(header, "shape"), &matrix->rows, &matrix->columns) || !matrix->rows || !matrix->columns)
        return 0;
    *why = "it is cut short";
    size_t elements = (size - start - length) / sizeof(float);
    return matrix->columns > elements || matrix->rows > elements / matrix->columns ? 0 : start + length;
}

bool npy_map(const char *path, struct npy_matrix *matrix)
{
    struct stat info;
    const char *why = NULL;
    *matrix = (struct npy_matrix){ 0 };
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &info) || !S_ISREG(info.st_mode)) {
        program_complain("%s: cannot be read: %s", path, file < 0 ? strerror(errno) : "it is not a file");
        if (file >= 0)
            close(file);
        return false;
    }
    matrix->map_size = (size_t)info.st_size;
    matrix->map = matrix->map_size ? mmap(NULL, matrix->map_size, PROT_READ, MAP_PRIVATE, file, 0) : NULL;
    close(file);
    if (matrix->map == MAP_FAILED) {
        program_complain("%s: cannot be mapped: %s", path, strerror(errno));
        return false;
    }
    size_t offset = read_head(matrix->map, matrix->map_size, matrix, &why);
    if (!offset || offset % sizeof(float)) {
        program_complain("%s: %s", path, why);
        npy_unmap(matrix);
        return false;
    }
    matrix->values = (const float *)((const char *)matrix->map + offset);
    return true;
}

void npy_unmap(struct npy_matrix *matrix)
{
    if (matrix->map)
        munmap(matrix->map, matrix->map_size);
    *matrix = (struct npy_matrix){ 0 };
}

bool npy_write_head(FILE *file, const char *type, uint64_t rows, uint64_t columns)
{
    char header[256], second[32] = "";
    if (columns)
        snprintf(second, sizeof second, " %" PRIu64, columns);
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ",%s), }",
                          type, rows, second);
    /* Blanks and a newline fill the header up to the alignment. */
    int padded = (length + 1 + 10 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - 10;
    fwrite(magic, 1, MAGIC_SIZE, file);
    fprintf(file, "%c%c%c%c", 1, 0, padded & 255, padded >> 8);
    fprintf(file, "%s%*s\n", header, padded - length - 1, "");
    return !ferror(file);
}
