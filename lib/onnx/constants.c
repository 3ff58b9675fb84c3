/* SPDX-License-Identifier: BSD-2-Clause */
/* constants.c - what a file stores: every claim of shape, type, size and place is checked before memory is asked for.
 *
 * Floats of all widths become float32 when somebody asks for them, straight from where they stand: the mapped file, a file beside
 * it, or the parsed message. Whole numbers and booleans, which are shapes and axes, are decoded at once. */
#include "onnx/convert.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LOCATION_EXTERNAL 1

/* -- Types -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t      size; /* of an element in raw_data; 0: not read */
    bool        real;
} types[ELEMENT_TYPES] = {
    { "undefined", 0, false }, { "float", 4, true }, { "uint8", 1, false }, { "int8", 1, false }, { "uint16", 2, false },
    { "int16", 2, false }, { "int32", 4, false }, { "int64", 8, false }, { "string", 0, false }, { "bool", 1, false },
    { "float16", 2, true }, { "double", 8, true }, { "uint32", 4, false }, { "uint64", 8, false },
    { "complex64", 0, false }, { "complex128", 0, false }, { "bfloat16", 2, true },
};

const char *ssld_onnx_type_name(int32_t type)
{
    return type >= 0 && type < ELEMENT_TYPES ? types[type].name : "unknown";
}

bool ssld_onnx_type_is_real(int32_t type)
{
    return type > 0 && type < ELEMENT_TYPES && types[type].real;
}

static const char *tensor_name(const onnx_tensor *tensor)
{
    return tensor->name ? tensor->name : "";
}

/* -- Memory ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_onnx_new_constant(struct reader *reader, bool whole, int64_t elements, struct constant **constant)
{
    size_t bytes = (size_t)elements * (whole ? sizeof(struct whole) : sizeof(float));
    ssld_status status = ssld_onnx_spend(reader, sizeof **constant + bytes);
    if (status)
        return status;
    struct constant *made = ssld_alloc_zero(reader->context, 1, sizeof *made);
    if (!made)
        return ssld_fail_memory(reader->context, "a constant", sizeof *made);
    made->next = reader->constants;
    reader->constants = made;
    made->whole = whole;
    made->elements = elements;
    void *numbers = ssld_alloc_zero(reader->context, 1, bytes ? bytes : 1);
    if (!numbers)
        return ssld_fail_memory(reader->context, "a constant", bytes);
    if (whole)
        made->wholes = numbers;
    else
        made->floats = numbers;
    *constant = made;
    return SSLD_OK;
}

void ssld_onnx_free_constants(struct reader *reader)
{
    while (reader->constants) {
        struct constant *constant = reader->constants;
        reader->constants = constant->next;
        ssld_free(reader->context, constant->floats);
        ssld_free(reader->context, constant->wholes);
        ssld_free(reader->context, constant);
    }
    while (reader->externals) {
        struct external *external = reader->externals;
        reader->externals = external->next;
        ssld_map_close(&external->map);
        ssld_free(reader->context, external);
    }
}

/* -- Data in other files ------------------------------------------------------------------------------------------ */

static const char *external_value(const onnx_tensor *tensor, const char *key)
{
    for (size_t i = 0; i < tensor->n_external_data; i++)
        if (tensor->external_data[i]->key && tensor->external_data[i]->value &&
            !strcmp(tensor->external_data[i]->key, key))
            return tensor->external_data[i]->value;
    return NULL;
}

/* Open the file of that name in the model's folder. What leads out of the folder, by its name or by a link, is refused. */
static ssld_status open_external(struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                 const char *location, struct external **opened)
{
    char path[PATH_MAX], folder[PATH_MAX], real[PATH_MAX];
    for (struct external *known = reader->externals; known; known = known->next)
        if (!strcmp(known->location, location)) {
            *opened = known;
            return SSLD_OK;
        }
    bool leaves = location[0] == '/' || !strcmp(location, "..") || !strncmp(location, "../", 3) ||
                  strstr(location, "/../") ||
                  (strlen(location) >= 3 && !strcmp(location + strlen(location) - 3, "/.."));
    size_t length = strlen(reader->folder);
    if (length + strlen(location) + 2 > sizeof path)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "constant '%.80s': the name of its file is too long",
                                tensor_name(tensor));
    memcpy(path, reader->folder, length);
    path[length] = '/';
    strcpy(path + length + 1, location);
    if (!leaves && !realpath(reader->folder, folder))
        return ssld_fail_errno(reader->context, reader->folder, "find");
    if (!leaves && !realpath(path, real))
        return ssld_onnx_refuse(reader, node, SSLD_NOT_FOUND,
                                "constant '%.80s' is stored in '%.200s', which is not there", tensor_name(tensor),
                                location);
    length = leaves ? 0 : strlen(folder);
    if (leaves || strncmp(real, folder, length) || (real[length] != '/' && length > 1))
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT,
                                "constant '%.80s' is stored in '%.200s', which is outside the model's folder",
                                tensor_name(tensor), location);
    struct external *made = ssld_alloc_zero(reader->context, 1, sizeof *made + strlen(location) + 1);
    if (!made)
        return ssld_fail_memory(reader->context, "the name of a file", strlen(location));
    strcpy(made->location, location);
    ssld_status status = ssld_map_open(reader->context, real, &made->map);
    if (status) {
        ssld_free(reader->context, made);
        return status;
    }
    made->next = reader->externals;
    reader->externals = made;
    /* Its bytes count as the model's: constants may take so much more. */
    uint64_t more = made->map.size > UINT64_MAX - reader->allowed ? UINT64_MAX : reader->allowed + made->map.size;
    reader->allowed = more < reader->limit ? more : reader->limit;
    *opened = made;
    return SSLD_OK;
}

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    if (!text || *text < '0' || *text > '9')
        return false;
    *number = strtoull(text, &end, 10);
    return *end == 0;
}

static ssld_status find_external(struct reader *reader, const onnx_node *node, const onnx_tensor *tensor, size_t wanted,
                                 const uint8_t **bytes)
{
    const char *location = external_value(tensor, "location"), *from = external_value(tensor, "offset"),
               *size = external_value(tensor, "length");
    uint64_t offset = 0, length = wanted;
    struct external *external = NULL;
    if (!reader->folder)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED,
                                "constant '%.80s' is stored outside the file; load the model from its path, or save it with its "
                                "weights inside", tensor_name(tensor));
    if (!location || !*location || (from && !parse_number(from, &offset)) || (size && !parse_number(size, &length)))
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT,
                                "constant '%.80s' does not say where outside the file it is stored",
                                tensor_name(tensor));
    ssld_status status = open_external(reader, node, tensor, location, &external);
    if (status)
        return status;
    if (length != wanted || offset > external->map.size || wanted > external->map.size - offset)
        return ssld_onnx_refuse(
            reader, node, SSLD_FORMAT,
            "constant '%.80s': bytes %llu to %llu of '%.200s', which has %zu, are not the %zu of its shape",
            tensor_name(tensor), (unsigned long long)offset, (unsigned long long)(offset + length), location,
            external->map.size, wanted);
    *bytes = external->map.bytes + offset;
    return SSLD_OK;
}

/* -- Shape and place ---------------------------------------------------------------------------------------------- */

static ssld_status tensor_shape(struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                struct view *view)
{
    *view = (struct view){ .ndims = (int32_t)tensor->n_dims, .batch = -1, .outer = 1 };
    if (tensor->n_dims > SSLD_MOST_DIMS)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' has %zu dimensions, more than %d",
                                tensor_name(tensor), tensor->n_dims, SSLD_MOST_DIMS);
    int64_t product = 1;
    for (size_t i = 0; i < SSLD_MOST_DIMS; i++) {
        view->dims[i] = i < tensor->n_dims ? tensor->dims[i] : 1;
        if (view->dims[i] < 0 || view->dims[i] > INT32_MAX || (product *= view->dims[i]) > INT32_MAX)
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "constant '%.80s': dimension %zu is %lld",
                                    tensor_name(tensor), i, (long long)view->dims[i]);
    }
    return SSLD_OK;
}

/* Where a tensor's numbers stand: as bytes, little-endian, of the type's size; or, NULL, in the message's field of its type. */
static ssld_status find_bytes(struct reader *reader, const onnx_node *node, const onnx_tensor *tensor, int64_t elements,
                              const uint8_t **bytes)
{
    int32_t type = tensor->data_type;
    size_t size = types[type].size, wanted = (size_t)elements * size, given, typed;
    if (tensor->has_data_location && tensor->data_location == LOCATION_EXTERNAL)
        return find_external(reader, node, tensor, wanted, bytes);
    bool floats = type == ELEMENT_FLOAT && tensor->has_floats_offset;
    uint64_t offset = floats ? tensor->floats_offset : tensor->raw_offset;
    typed = type == ELEMENT_FLOAT                                ? tensor->n_float_data
            : type == ELEMENT_INT64                              ? tensor->n_int64_data
            : type == ELEMENT_DOUBLE                             ? tensor->n_double_data
            : type == ELEMENT_UINT32 || type == ELEMENT_UINT64   ? tensor->n_uint64_data
                                                                 : tensor->n_int32_data;
    *bytes = NULL;
    if (tensor->has_raw_offset || floats) {
        given = (size_t)(tensor->has_raw_offset ? tensor->raw_size : tensor->floats_size);
        *bytes = reader->bytes + (tensor->has_raw_offset ? tensor->raw_offset : offset);
    } else if (tensor->has_raw_data) {
        given = tensor->raw_data.len;
        *bytes = tensor->raw_data.data;
    } else {
        given = typed * size;
    }
    if (given != wanted)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT,
                                "constant '%.80s' has data for %zu elements, its shape says %lld", tensor_name(tensor),
                                given / size, (long long)elements);
    return SSLD_OK;
}

/* -- Numbers ------------------------------------------------------------------------------------------------------ */

static uint64_t load(const uint8_t *bytes, size_t size)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++)
        bits |= (uint64_t)bytes[i] << 8 * i;
    return bits;
}

static float float_of_bits(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* IEEE 754 half precision: sign, 5 bits of exponent, 10 of fraction. */
static float float_of_half(uint32_t half)
{
    uint32_t sign = half >> 15 << 31, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31)
        return float_of_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) { /* zero and subnormal: fraction * 2^-24 */
        float number = (float)fraction * 0x1p-24f;
        return sign ? -number : number;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static float real_at(const onnx_tensor *tensor, const uint8_t *bytes, int64_t index)
{
    double number;
    uint64_t bits;
    switch (tensor->data_type) {
    case ELEMENT_FLOAT:
        return bytes ? float_of_bits((uint32_t)load(bytes + 4 * index, 4)) : tensor->float_data[index];
    case ELEMENT_FLOAT16:
        return float_of_half(bytes ? (uint32_t)load(bytes + 2 * index, 2)
                                   : (uint32_t)tensor->int32_data[index] & 0xffff);
    case ELEMENT_BFLOAT16:
        return float_of_bits(
            (bytes ? (uint32_t)load(bytes + 2 * index, 2) : (uint32_t)tensor->int32_data[index] & 0xffff) << 16);
    default: /* double */
        if (!bytes)
            return (float)tensor->double_data[index];
        bits = load(bytes + 8 * index, 8);
        memcpy(&number, &bits, sizeof number);
        return (float)number;
    }
}

static int64_t whole_at(const onnx_tensor *tensor, const uint8_t *bytes, int64_t index)
{
    size_t size = types[tensor->data_type].size;
    uint64_t bits = bytes ? load(bytes + size * (size_t)index, size) : 0;
    switch (tensor->data_type) {
    case ELEMENT_INT64:
        return bytes ? (int64_t)bits : tensor->int64_data[index];
    case ELEMENT_UINT32:
    case ELEMENT_UINT64:
        bits = bytes ? bits : tensor->uint64_data[index];
        return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    case ELEMENT_INT32:
        return bytes ? (int32_t)(uint32_t)bits : tensor->int32_data[index];
    case ELEMENT_INT16:
        return bytes ? (int16_t)(uint16_t)bits : tensor->int32_data[index];
    case ELEMENT_INT8:
        return bytes ? (int8_t)(uint8_t)bits : tensor->int32_data[index];
    default: /* uint8, uint16, bool */
        return bytes ? (int64_t)bits : tensor->int32_data[index];
    }
}

ssld_status ssld_onnx_tensor_operand(struct reader *reader, const onnx_node *node, const onnx_tensor *tensor,
                                     struct operand *operand)
{
    struct view view;
    struct constant *constant = NULL;
    const uint8_t *bytes;
    ssld_status status = tensor_shape(reader, node, tensor, &view);
    if (status)
        return status;
    int32_t type = tensor->data_type;
    if (type <= 0 || type >= ELEMENT_TYPES || !types[type].size)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "constant '%.80s' is of type %s", tensor_name(tensor),
                                ssld_onnx_type_name(type));
    int64_t elements = ssld_view_elements(&view);
    if ((status = find_bytes(reader, node, tensor, elements, &bytes)))
        return status;
    bool real = types[type].real;
    if ((status = ssld_onnx_new_constant(reader, !real, real ? 0 : elements, &constant)))
        return status;
    constant->elements = elements;
    constant->learned = real;
    constant->tensor = tensor;
    for (int64_t i = 0; !real && i < elements; i++)
        constant->wholes[i].plus = whole_at(tensor, bytes, i);
    if (real) {
        ssld_free(reader->context, constant->floats);
        constant->floats = NULL;
    }
    *operand = (struct operand){ view, SSLD_NO_VALUE, constant };
    return SSLD_OK;
}

/* -- Floats ------------------------------------------------------------------------------------------------------- */

static ssld_status floats_of_wholes(struct reader *reader, const onnx_node *node, const struct constant *constant,
                                    float *dst)
{
    if (constant->each)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it computes with the number of an image in its batch");
    for (int64_t i = 0; i < constant->elements; i++) {
        if (constant->wholes[i].per)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it computes with the size of the batch");
        dst[i] = (float)constant->wholes[i].plus;
    }
    return SSLD_OK;
}

static ssld_status decode(struct reader *reader, const onnx_node *node, const struct constant *constant, float *dst)
{
    const uint8_t *bytes = NULL;
    if (constant->whole)
        return floats_of_wholes(reader, node, constant, dst);
    if (constant->floats) {
        memcpy(dst, constant->floats, (size_t)constant->elements * sizeof *dst);
        return SSLD_OK;
    }
    ssld_status status = find_bytes(reader, node, constant->tensor, constant->elements, &bytes);
    if (status)
        return status;
    const uint32_t one = 1;
    bool little = *(const uint8_t *)&one == 1;
    if (bytes && constant->tensor->data_type == ELEMENT_FLOAT && little)
        memcpy(dst, bytes, (size_t)constant->elements * sizeof *dst);
    else
        for (int64_t i = 0; i < constant->elements; i++)
            dst[i] = real_at(constant->tensor, bytes, i);
    return SSLD_OK;
}

ssld_status ssld_onnx_constant_floats(struct reader *reader, const onnx_node *node, struct constant *constant,
                                      const float **floats)
{
    if (!constant->floats) {
        size_t bytes = (size_t)constant->elements * sizeof(float);
        ssld_status status = ssld_onnx_spend(reader, bytes);
        if (status)
            return status;
        float *made = ssld_alloc(reader->context, bytes ? bytes : 1);
        if (!made)
            return ssld_fail_memory(reader->context, "a constant", bytes);
        status = decode(reader, node, constant, made);
        if (status) {
            ssld_free(reader->context, made);
            return status;
        }
        constant->floats = made;
    }
    *floats = constant->floats;
    return SSLD_OK;
}

ssld_status ssld_onnx_copy_floats(struct reader *reader, const onnx_node *node, struct constant *constant, int64_t rows,
                                  int64_t columns, bool transposed, float *dst)
{
    const uint8_t *bytes = NULL;
    const float *floats = NULL;
    if (!transposed)
        return decode(reader, node, constant, dst);
    bool stored = !constant->whole && !constant->floats;
    ssld_status status = stored ? find_bytes(reader, node, constant->tensor, constant->elements, &bytes)
                                : ssld_onnx_constant_floats(reader, node, constant, &floats);
    for (int64_t i = 0; i < rows && !status; i++)
        for (int64_t j = 0; j < columns; j++)
            dst[i * columns + j] = stored ? real_at(constant->tensor, bytes, j * rows + i) : floats[j * rows + i];
    return status;
}
