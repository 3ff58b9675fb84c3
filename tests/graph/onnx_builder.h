/* SPDX-License-Identifier: BSD-2-Clause */
/* onnx_builder.h - ONNX files for tests, right and wrong ones: protobuf written by hand with ONNX's field numbers, so that a
 * mistake in the library's own schema cannot hide.
 *
 *   struct bytes graph = { 0 }, model;
 *   put_graph_input(&graph, "x", 4, (int64_t[]){ 0, 3, 8, 8 });
 *   put_node(&graph, "Relu", "r", "x", "y", NULL);
 *   put_graph_output(&graph, "y");
 *   model = finish_model(&graph, 17);              frees graph
 *   free(model.data); */
#ifndef SSLD_TESTS_GRAPH_ONNX_BUILDER_H
#define SSLD_TESTS_GRAPH_ONNX_BUILDER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *data;
    size_t   size;
};

/* Room grows by powers of two, which follow from the size. */
static inline size_t bytes_capacity(size_t size)
{
    size_t capacity = 64;
    while (capacity < size)
        capacity *= 2;
    return capacity;
}

static inline void put_raw(struct bytes *bytes, const void *data, size_t size)
{
    if (!bytes->data || bytes_capacity(bytes->size + size) > bytes_capacity(bytes->size))
        bytes->data = realloc(bytes->data, bytes_capacity(bytes->size + size));
    if (size)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static inline void put_varint(struct bytes *bytes, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
        put_raw(bytes, &byte, 1);
    } while (value >>= 7);
}

static inline void put_int(struct bytes *bytes, int field, int64_t value)
{
    put_varint(bytes, (uint64_t)field << 3);
    put_varint(bytes, (uint64_t)value);
}

static inline void put_float(struct bytes *bytes, int field, float value)
{
    put_varint(bytes, (uint64_t)field << 3 | 5);
    put_raw(bytes, &value, sizeof value); /* tests run on little-endian machines */
}

static inline void put_block(struct bytes *bytes, int field, const void *data, size_t size)
{
    put_varint(bytes, (uint64_t)field << 3 | 2);
    put_varint(bytes, size);
    put_raw(bytes, data, size);
}

static inline void put_text(struct bytes *bytes, int field, const char *text)
{
    put_block(bytes, field, text, strlen(text));
}

/* A message inside a message; frees the inner one. */
static inline void put_message(struct bytes *bytes, int field, struct bytes *inner)
{
    put_block(bytes, field, inner->data, inner->size);
    free(inner->data);
    *inner = (struct bytes){ NULL, 0 };
}

/* -- Attributes: each appends to a list that put_node() takes and frees -------------------------------------------- */

static inline void put_attribute_int(struct bytes *attributes, const char *name, int64_t value)
{
    struct bytes inner = { NULL, 0 };
    put_text(&inner, 1, name);
    put_int(&inner, 3, value);
    put_int(&inner, 20, 2);
    put_message(attributes, 5, &inner);
}

static inline void put_attribute_float(struct bytes *attributes, const char *name, float value)
{
    struct bytes inner = { NULL, 0 };
    put_text(&inner, 1, name);
    put_float(&inner, 2, value);
    put_int(&inner, 20, 1);
    put_message(attributes, 5, &inner);
}

static inline void put_attribute_text(struct bytes *attributes, const char *name, const char *value)
{
    struct bytes inner = { NULL, 0 };
    put_text(&inner, 1, name);
    put_text(&inner, 4, value);
    put_int(&inner, 20, 3);
    put_message(attributes, 5, &inner);
}

static inline void put_attribute_ints(struct bytes *attributes, const char *name, int count, const int64_t *values)
{
    struct bytes inner = { NULL, 0 };
    put_text(&inner, 1, name);
    for (int i = 0; i < count; i++)
        put_int(&inner, 8, values[i]);
    put_int(&inner, 20, 7);
    put_message(attributes, 5, &inner);
}

/* -- Tensors ------------------------------------------------------------------------------------------------------ */

/* A TensorProto of type 1 (float) or 7 (int64) with raw data. */
static inline struct bytes make_tensor(const char *name, int type, int ndims, const int64_t *dims, const void *data, size_t size)
{
    struct bytes tensor = { NULL, 0 };
    for (int i = 0; i < ndims; i++)
        put_int(&tensor, 1, dims[i]);
    put_int(&tensor, 2, type);
    put_text(&tensor, 8, name);
    put_block(&tensor, 9, data, size);
    return tensor;
}

/* A float initializer whose elements are 0.1, 0.2, ... 1.0, 0.1 and so on. */
static inline void put_weights(struct bytes *graph, const char *name, int ndims, const int64_t *dims)
{
    size_t count = 1;
    for (int i = 0; i < ndims; i++)
        count *= (size_t)dims[i];
    float *data = malloc(count * sizeof *data);
    for (size_t i = 0; i < count; i++)
        data[i] = 0.1f * (float)(i % 10 + 1);
    struct bytes tensor = make_tensor(name, 1, ndims, dims, data, count * sizeof *data);
    put_message(graph, 5, &tensor);
    free(data);
}

static inline void put_number(struct bytes *graph, const char *name, float value)
{
    struct bytes tensor = make_tensor(name, 1, 0, NULL, &value, sizeof value);
    put_message(graph, 5, &tensor);
}

static inline void put_integers(struct bytes *graph, const char *name, int count, const int64_t *values)
{
    struct bytes tensor = make_tensor(name, 7, 1, (int64_t[]){ count }, values, (size_t)count * sizeof *values);
    put_message(graph, 5, &tensor);
}

static inline void put_attribute_tensor(struct bytes *attributes, const char *name, struct bytes *tensor)
{
    struct bytes inner = { NULL, 0 };
    put_text(&inner, 1, name);
    put_message(&inner, 5, tensor);
    put_int(&inner, 20, 4);
    put_message(attributes, 5, &inner);
}

/* -- Graph and model ---------------------------------------------------------------------------------------------- */

/* Names separated by commas; "" between two commas is an input left out. */
static inline void put_names(struct bytes *node, int field, const char *names)
{
    while (*names) {
        size_t length = strcspn(names, ",");
        put_block(node, field, names, length);
        names += length + (names[length] == ',');
    }
}

static inline void put_node(struct bytes *graph, const char *operator_name, const char *name, const char *inputs,
                            const char *outputs, struct bytes *attributes)
{
    struct bytes node = { NULL, 0 };
    put_names(&node, 1, inputs);
    put_names(&node, 2, outputs);
    put_text(&node, 3, name);
    put_text(&node, 4, operator_name);
    if (attributes) {
        put_raw(&node, attributes->data, attributes->size);
        free(attributes->data);
        *attributes = (struct bytes){ NULL, 0 };
    }
    put_message(graph, 1, &node);
}

/* A ValueInfoProto of floats; a size of 0 is the open dimension "d". */
static inline void put_value_info(struct bytes *graph, int field, const char *name, int type, int ndims, const int64_t *dims)
{
    struct bytes info = { NULL, 0 }, outer = { NULL, 0 }, tensor = { NULL, 0 }, shape = { NULL, 0 };
    for (int i = 0; i < ndims; i++) {
        struct bytes dimension = { NULL, 0 };
        if (dims[i])
            put_int(&dimension, 1, dims[i]);
        else
            put_text(&dimension, 2, "d");
        put_message(&shape, 1, &dimension);
    }
    put_int(&tensor, 1, type);
    put_message(&tensor, 2, &shape);
    put_message(&outer, 1, &tensor);
    put_text(&info, 1, name);
    put_message(&info, 2, &outer);
    put_message(graph, field, &info);
}

static inline void put_graph_input(struct bytes *graph, const char *name, int ndims, const int64_t *dims)
{
    put_value_info(graph, 11, name, 1, ndims, dims);
}

static inline void put_graph_output(struct bytes *graph, const char *name)
{
    put_value_info(graph, 12, name, 1, 2, (int64_t[]){ 0, 10 });
}

static inline struct bytes finish_model(struct bytes *graph, int64_t opset)
{
    struct bytes model = { NULL, 0 }, set = { NULL, 0 };
    put_int(&model, 1, 8);
    put_message(&model, 7, graph);
    put_text(&set, 1, "");
    put_int(&set, 2, opset);
    put_message(&model, 8, &set);
    return model;
}

#endif
