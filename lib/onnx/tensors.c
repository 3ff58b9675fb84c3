/* SPDX-License-Identifier: BSD-2-Clause */
/* tensors.c - constants of an ONNX file: every claim of shape, type and size is checked before memory is asked for. */
#include "onnx/reader.h"

#include <stdio.h>
#include <string.h>

#define TYPE_FLOAT 1
#define TYPE_INT64 7
#define LOCATION_EXTERNAL 1

/* Names of ONNX's element types, for texts. */
static const char *const type_names[] = { "undefined", "float", "uint8",  "int8",    "uint16", "int16", "int32",
                                          "int64",     "string", "bool",  "float16", "double", "uint32", "uint64",
                                          "complex64", "complex128", "bfloat16" };

static const char *tensor_name(const onnx_tensor *tensor)
{
    return tensor->name ? tensor->name : "";
}

static uint32_t load_u32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static ssld_status check_type(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor, int32_t type)
{
    if (tensor->has_data_location && tensor->data_location == LOCATION_EXTERNAL)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "constant '%.80s' is stored outside the file; save the model with its weights inside",
                                tensor_name(tensor));
    if (tensor->data_type != type) {
        bool known = tensor->data_type >= 0 && (size_t)tensor->data_type < sizeof type_names / sizeof type_names[0];
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' is of type %s, not %s", tensor_name(tensor),
                                known ? type_names[tensor->data_type] : "unknown", type_names[type]);
    }
    return SSLD_OK;
}

ssld_status ssld_onnx_tensor_shape(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                   int32_t *ndims, int64_t dims[SSLD_MOST_DIMS], int64_t *elements)
{
    if (tensor->n_dims > SSLD_MOST_DIMS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' has %zu dimensions, more than %d",
                                tensor_name(tensor), tensor->n_dims, SSLD_MOST_DIMS);
    int64_t product = 1;
    for (size_t i = 0; i < SSLD_MOST_DIMS; i++) {
        dims[i] = i < tensor->n_dims ? tensor->dims[i] : 1;
        if (dims[i] < 1 || dims[i] > INT32_MAX || (product *= dims[i]) > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "constant '%.80s': dimension %zu is %lld", tensor_name(tensor),
                                    i, (long long)dims[i]);
    }
    *ndims = (int32_t)tensor->n_dims;
    *elements = product;
    return SSLD_OK;
}

/* The data stands in raw_data or in the field of its type; it must be what the shape says. */
static ssld_status check_size(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor, int64_t elements,
                              size_t element_size, size_t typed)
{
    size_t given = tensor->has_raw_data ? tensor->raw_data.len / element_size : typed;
    if (given != (uint64_t)elements || (tensor->has_raw_data && tensor->raw_data.len % element_size))
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "constant '%.80s' has data for %zu elements, its shape says %lld",
                                tensor_name(tensor), given, (long long)elements);
    return SSLD_OK;
}

static float float_at(const onnx_tensor *tensor, int64_t index)
{
    if (!tensor->has_raw_data)
        return tensor->float_data[index];
    uint32_t bits = load_u32(tensor->raw_data.data + 4 * index);
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

ssld_status ssld_onnx_tensor_number(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                    float *number)
{
    int32_t ndims;
    int64_t dims[SSLD_MOST_DIMS], elements = 0;
    ssld_status status = ssld_onnx_tensor_shape(reader, node, tensor, &ndims, dims, &elements);
    if (!status)
        status = check_type(reader, node, tensor, TYPE_FLOAT);
    if (!status && elements != 1)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' is not one number", tensor_name(tensor));
    if (!status)
        status = check_size(reader, node, tensor, 1, 4, tensor->n_float_data);
    if (!status)
        *number = float_at(tensor, 0);
    return status;
}

ssld_status ssld_onnx_tensor_integers(const struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                      int32_t most, int64_t *integers, int32_t *count)
{
    int32_t ndims;
    int64_t dims[SSLD_MOST_DIMS], elements = 0;
    ssld_status status = ssld_onnx_tensor_shape(reader, node, tensor, &ndims, dims, &elements);
    if (!status)
        status = check_type(reader, node, tensor, TYPE_INT64);
    if (!status && elements > most)
        status = ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' has %lld elements, more than %d",
                                  tensor_name(tensor), (long long)elements, most);
    if (!status)
        status = check_size(reader, node, tensor, elements, 8, tensor->n_int64_data);
    if (status)
        return status;
    for (int64_t i = 0; i < elements; i++) {
        const uint8_t *raw = tensor->has_raw_data ? tensor->raw_data.data + 8 * i : NULL;
        integers[i] = raw ? (int64_t)(load_u32(raw) | (uint64_t)load_u32(raw + 4) << 32) : tensor->int64_data[i];
    }
    *count = (int32_t)elements;
    return SSLD_OK;
}

const char *ssld_onnx_new_name(struct reader *reader, const char *name, char *made_up, size_t size)
{
    do
        snprintf(made_up, size, "%.200s_%u", name, reader->made_up++);
    while (ssld_names_find(&reader->names, made_up));
    return made_up;
}

static void fill(float *dst, const onnx_tensor *tensor, int64_t rows, int64_t columns, bool transposed)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            dst[i * columns + j] = float_at(tensor, transposed ? j * rows + i : i * columns + j);
}

ssld_status ssld_onnx_add_constant(struct reader *reader, const onnx_node *node, size_t index, int32_t role, int32_t ndims,
                                   const int64_t *dims, bool transposed, int32_t *value)
{
    struct entry *entry = ssld_onnx_input(reader, node, index);
    int32_t file_ndims, added;
    int64_t file_dims[SSLD_MOST_DIMS], elements, rows = dims[0];
    char made_up[256];
    if (!entry || (entry->kind != ENTRY_TENSOR && entry->kind != ENTRY_COLUMN))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its input %zu is not a constant", index);
    ssld_status status = ssld_onnx_tensor_shape(reader, node, entry->tensor, &file_ndims, file_dims, &elements);
    if (!status)
        status = check_type(reader, node, entry->tensor, TYPE_FLOAT);
    if (!status)
        status = check_size(reader, node, entry->tensor, elements, 4, entry->tensor->n_float_data);
    if (status)
        return status;
    size_t bytes = (size_t)elements * sizeof(float);
    if (bytes > reader->budget) {
        reader->over_budget = true;
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "constant '%.80s' is used so often that it outgrows the file",
                                entry->name);
    }
    reader->budget -= bytes;
    const char *name = entry->value == SSLD_NO_VALUE ? entry->name
                                                     : ssld_onnx_new_name(reader, entry->name, made_up, sizeof made_up);
    status = ssld_graph_add_value(reader->graph, name, role, ndims, dims, NULL, &added);
    if (status)
        return status;
    fill(reader->graph->values[added].data, entry->tensor, rows, elements / rows, transposed);
    if (entry->value == SSLD_NO_VALUE)
        entry->value = added;
    else if (!ssld_names_add(&reader->names, reader->graph->values[added].name, ENTRY_TENSOR))
        return ssld_fail_memory(reader->context, "a name", strlen(name));
    *value = added;
    return SSLD_OK;
}
