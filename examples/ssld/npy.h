/* SPDX-License-Identifier: BSD-2-Clause */
/* npy.h - NumPy's array files, as far as the program needs them: matrices of floats to read, anything flat to write.
 *
 * Format: "\x93NUMPY", version, length of the header, the header (a Python dictionary as text), the elements. */
#ifndef SSLD_PROGRAM_NPY_H
#define SSLD_PROGRAM_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A matrix of float32 in a file. */
struct npy_matrix {
    void        *map;
    size_t       map_size;
    const float *values; /* rows x columns, row by row */
    uint64_t     rows, columns;
};

/* Map a file of two dimensions, little-endian float32, C order. False after a text on standard error. */
bool npy_map(const char *path, struct npy_matrix *matrix);
void npy_unmap(struct npy_matrix *matrix);

/* Write the head of a file: `type` is NumPy's ("<f4"), `columns` 0 for one dimension. False if it cannot be written. */
bool npy_write_head(FILE *file, const char *type, uint64_t rows, uint64_t columns);

#endif
