/* SPDX-License-Identifier: BSD-2-Clause */
/* onnx.h - ONNX file <-> graph. Any bytes may come in: a hostile file gets an error, never a crash or an endless allocation. */
#ifndef SSLD_LIB_ONNX_ONNX_H
#define SSLD_LIB_ONNX_ONNX_H

#include "graph/graph.h"

/* Parse `size` bytes; `name` stands for the file in texts; height and width serve where the file leaves them open. */
ssld_status ssld_onnx_read(ssld_context *context, const void *bytes, size_t size, const char *name, int32_t height,
                           int32_t width, struct ssld_graph **graph);

/* Write a file with batch norm as it is and dropout as inference sees it. */
ssld_status ssld_onnx_write(const struct ssld_graph *graph, const char *path);

#endif
