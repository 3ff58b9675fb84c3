/* SPDX-License-Identifier: BSD-2-Clause */
/* operators.h - the table of ONNX operators: for the reader, and for docs/onnx-support.md, which is written from it. */
#ifndef SSLD_LIB_ONNX_OPERATORS_H
#define SSLD_LIB_ONNX_OPERATORS_H

#include "graph/graph.h"

struct reader;
struct Ssld__Onnx__NodeProto; /* generated; reader.h calls it onnx_node */

struct onnx_operator {
    const char *name;
    int32_t     kind; /* in the graph; SSLD_OP_KINDS where the operator leaves no node of one kind */
    ssld_status (*convert)(struct reader *reader, const struct onnx_operator *row,
                           const struct Ssld__Onnx__NodeProto *node, struct ssld_attributes *attributes);
    int32_t     since; /* opset that brought the form read here, or an older one that is the same; from 7 on all are */
    const char *note; /* for the document: what is asked of it */
};

/* Rows in alphabetical order; NULL past the last. */
const struct onnx_operator *ssld_onnx_operator_at(int32_t index);
const struct onnx_operator *ssld_onnx_operator_find(const char *name); /* NULL: not supported */

/* An operator's attribute number `index` beyond those of the graph's own table, NULL past the last; what is asked of it goes
 * to `text`. */
const char *ssld_onnx_attribute_rule(const char *operator_name, int32_t index, char *text, size_t size);

#endif
