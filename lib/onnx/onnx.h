/* SPDX-License-Identifier: BSD-2-Clause */
/* onnx.h - ONNX file <-> graph. Any bytes may come in: a hostile file gets an error, never a crash or an endless allocation. */
#ifndef SSLD_LIB_ONNX_ONNX_H
#define SSLD_LIB_ONNX_ONNX_H

#include "graph/graph.h"

#define SSLD_ONNX_MEMORY_LIMIT ((uint64_t)8 << 30) /* the default */

/* What the first input is: (N, C, H, W) or (N, H, W, C); for tests also (N, ...) of any shape, or any shape of which no axis is the
 * batch. The graph's input then is (1, 1, 1, elements). */
#define SSLD_ONNX_IMAGES 0
#define SSLD_ONNX_ROWS 1
#define SSLD_ONNX_ONE 2

struct ssld_onnx_options {
    int32_t     height, width; /* where the file leaves them open */
    uint64_t    memory_limit;  /* bytes that reading may ask for in all; 0: SSLD_ONNX_MEMORY_LIMIT */
    const char *folder;        /* where weights outside the file may be; NULL: nowhere */
    bool        keep_softmax;  /* a last Softmax or LogSoftmax stays */
    int32_t     input;         /* SSLD_ONNX_x: what the first input is */
};

/* Parse `size` bytes, which stay as they are during the call; `name` stands for the file in texts. */
ssld_status ssld_onnx_read_with(ssld_context *context, const void *bytes, size_t size, const char *name,
                                const struct ssld_onnx_options *options, struct ssld_graph **graph);
/* The same of a file; its folder is where other files with its weights may be, unless the options name one. */
ssld_status ssld_onnx_read_file(ssld_context *context, const char *path, const struct ssld_onnx_options *options,
                                struct ssld_graph **graph);
/* Only height and width are not the defaults. */
ssld_status ssld_onnx_read(ssld_context *context, const void *bytes, size_t size, const char *name, int32_t height,
                           int32_t width, struct ssld_graph **graph);

/* Write a file with batch norm as it is and dropout as inference sees it. */
ssld_status ssld_onnx_write(const struct ssld_graph *graph, const char *path);

#endif
