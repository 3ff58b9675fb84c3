/* SPDX-License-Identifier: BSD-2-Clause */
/* write.c - a graph into an ONNX file: opset 17, IR version 8, symbolic batch "N".
 *
 * The message is a tree of small structs that point into the graph: weights are packed from where they are, a buffer's worth
 * at a time, so writing needs little memory whatever the size of the network. A file read back and written again is the same
 * bytes: names are kept, constants stand in the order nodes use them, names made here follow from names in the graph. */
#include "onnx/onnx.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "onnx.pb-c.h"

#define OPSET 17
#define IR_VERSION 8
#define TYPE_FLOAT 1
#define BUFFER_SIZE 65536

#define ATTRIBUTE_FLOAT 1
#define ATTRIBUTE_INT 2
#define ATTRIBUTE_INTS 7

#define BATCH "N"

/* -- Memory for the message --------------------------------------------------------------------------------------- */

struct chunk {
    struct chunk *next;
};

struct writer {
    ssld_context            *context;
    const struct ssld_graph *graph;
    Ssld__Onnx__GraphProto  *proto;
    struct chunk            *chunks; /* all memory of the message */
    bool                    *written;  /* values that are initializers already */
    int32_t                 *standing; /* the value that stands for each: another where a node is left out */
    ssld_status              status;
};

/* Zeroed memory that lives as long as the writer; NULL when there is none, which is kept as the writer's status. */
static void *take(struct writer *writer, size_t size)
{
    const size_t header = 64; /* keeps what follows aligned */
    struct chunk *chunk = ssld_alloc_zero(writer->context, 1, header + size);
    if (!chunk) {
        writer->status = ssld_fail_memory(writer->context, "an ONNX message", size);
        return NULL;
    }
    chunk->next = writer->chunks;
    writer->chunks = chunk;
    return (char *)chunk + header;
}

static void free_chunks(struct writer *writer)
{
    while (writer->chunks) {
        struct chunk *chunk = writer->chunks;
        writer->chunks = chunk->next;
        ssld_free(writer->context, chunk);
    }
}

/* A message of a generated type, initialised; NULL without memory. */
#define NEW(writer, type, function) ((Ssld__Onnx__##type *)initialised(take(writer, sizeof(Ssld__Onnx__##type)), \
                                                                       &ssld__onnx__##function##__descriptor))

static void *initialised(void *message, const ProtobufCMessageDescriptor *descriptor)
{
    if (message)
        descriptor->message_init(message);
    return message;
}

static char *text(struct writer *writer, const char *first, const char *second)
{
    size_t a = strlen(first), b = strlen(second);
    char *joined = take(writer, a + b + 1);
    if (joined) {
        memcpy(joined, first, a);
        memcpy(joined + a, second, b + 1);
    }
    return joined;
}

/* -- Initializers ------------------------------------------------------------------------------------------------- */

static void add_tensor(struct writer *writer, char *name, int32_t ndims, const int64_t *dims, size_t elements, float *data)
{
    Ssld__Onnx__TensorProto *tensor = NEW(writer, TensorProto, tensor_proto);
    int64_t *own = take(writer, (size_t)ndims * sizeof *own);
    if (!tensor || !own || !name)
        return;
    for (int32_t i = 0; i < ndims; i++)
        own[i] = dims[i];
    tensor->name = name;
    tensor->n_dims = (size_t)ndims;
    tensor->dims = own;
    tensor->has_data_type = 1;
    tensor->data_type = TYPE_FLOAT;
    tensor->n_float_data = elements;
    tensor->float_data = data;
    writer->proto->initializer[writer->proto->n_initializer++] = tensor;
}

static void add_constant(struct writer *writer, int32_t index)
{
    const struct ssld_value *value = &writer->graph->values[index];
    if (value->role == SSLD_VALUE_ACTIVATION || writer->written[index])
        return;
    writer->written[index] = true;
    add_tensor(writer, value->name, value->ndims, value->dims, (size_t)ssld_value_elements(value), value->data);
}

/* A number that is an attribute in the graph and an input in ONNX; returns its name. */
static char *add_number(struct writer *writer, const char *base, const char *suffix, float number)
{
    char *name = text(writer, base, suffix);
    float *data = take(writer, sizeof *data);
    if (!name || !data)
        return NULL;
    *data = number;
    add_tensor(writer, name, 0, NULL, 1, data);
    return name;
}

/* -- Nodes -------------------------------------------------------------------------------------------------------- */

static Ssld__Onnx__AttributeProto *add_attribute(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name,
                                                 int32_t type)
{
    Ssld__Onnx__AttributeProto *attribute = NEW(writer, AttributeProto, attribute_proto);
    if (!attribute)
        return NULL;
    attribute->name = (char *)name;
    attribute->has_type = 1;
    attribute->type = type;
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

static void add_int(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name, int64_t number)
{
    Ssld__Onnx__AttributeProto *attribute = add_attribute(writer, node, name, ATTRIBUTE_INT);
    if (attribute) {
        attribute->has_i = 1;
        attribute->i = number;
    }
}

/* What the graph's operator table lists. */
static void add_listed_attributes(struct writer *writer, Ssld__Onnx__NodeProto *node, const struct ssld_node *from)
{
    for (const struct ssld_attribute *place = ssld_ops[from->kind].attributes; place->name; place++) {
        static const int32_t types[] = { [SSLD_ATTRIBUTE_INT] = ATTRIBUTE_INT, [SSLD_ATTRIBUTE_FLOAT] = ATTRIBUTE_FLOAT,
                                         [SSLD_ATTRIBUTE_INTS] = ATTRIBUTE_INTS };
        const char *src = (const char *)&from->attributes + place->offset;
        Ssld__Onnx__AttributeProto *attribute = add_attribute(writer, node, place->name, types[place->type]);
        int64_t *numbers = take(writer, (size_t)place->count * sizeof *numbers);
        if (!attribute || !numbers)
            return;
        if (place->type == SSLD_ATTRIBUTE_FLOAT) {
            attribute->has_f = 1;
            memcpy(&attribute->f, src, sizeof attribute->f);
            continue;
        }
        for (int32_t i = 0; i < place->count; i++) {
            int32_t number;
            memcpy(&number, src + (size_t)i * sizeof number, sizeof number);
            numbers[i] = number;
        }
        if (place->type == SSLD_ATTRIBUTE_INT) {
            attribute->has_i = 1;
            attribute->i = numbers[0];
        } else {
            attribute->n_ints = (size_t)place->count;
            attribute->ints = numbers;
        }
    }
}

/* A node with room for inputs and attributes; its strings are borrowed. */
static Ssld__Onnx__NodeProto *add_node(struct writer *writer, char *name, const char *operator_name, char *output)
{
    Ssld__Onnx__NodeProto *node = NEW(writer, NodeProto, node_proto);
    char **inputs = take(writer, SSLD_MOST_INPUTS * sizeof *inputs), **outputs = take(writer, sizeof *outputs);
    Ssld__Onnx__AttributeProto **attributes = take(writer, 8 * sizeof(Ssld__Onnx__AttributeProto *));
    if (!node || !inputs || !outputs || !attributes || !name || !output)
        return NULL;
    node->name = name;
    node->op_type = (char *)operator_name;
    node->input = inputs;
    node->output = outputs;
    node->n_output = 1;
    outputs[0] = output;
    node->attribute = attributes;
    writer->proto->node[writer->proto->n_node++] = node;
    return node;
}

/* What ONNX writes another way than the graph: a number as input, or an attribute the graph has no need of. */
static void add_special(struct writer *writer, Ssld__Onnx__NodeProto *node, const struct ssld_node *from)
{
    const struct ssld_attributes *attributes = &from->attributes;
    switch (from->kind) {
    case SSLD_OP_DROPOUT:
        node->input[node->n_input++] = add_number(writer, node->output[0], "_scale", 1.0f - attributes->ratio);
        node->op_type = (char *)"Mul";
        break;
    case SSLD_OP_CLIP:
        node->input[node->n_input++] = add_number(writer, node->output[0], "_min", attributes->alpha);
        node->input[node->n_input++] = add_number(writer, node->output[0], "_max", attributes->beta);
        break;
    case SSLD_OP_SCALE:
        node->input[node->n_input++] = add_number(writer, node->output[0], "_scale", attributes->scale);
        node->op_type = (char *)"Mul";
        break;
    case SSLD_OP_GEMM:
        add_int(writer, node, "transB", 1);
        break;
    default:
        add_listed_attributes(writer, node, from);
        break;
    }
}

/* The activation inside a fused node, as a node of its own. */
static void write_activation(struct writer *writer, const struct ssld_node *from, char *input, char *output)
{
    struct ssld_node apart = { .kind = from->activation.kind, .attributes = ssld_op_defaults(from->activation.kind) };
    apart.attributes.alpha = from->activation.alpha;
    apart.attributes.beta = from->activation.beta;
    Ssld__Onnx__NodeProto *node = add_node(writer, text(writer, from->name, "_activation"), ssld_ops[apart.kind].name, output);
    if (!node)
        return;
    node->input[node->n_input++] = input;
    add_special(writer, node, &apart);
}

static void write_node(struct writer *writer, const struct ssld_node *from)
{
    const struct ssld_graph *graph = writer->graph;
    bool fused = from->activation.kind != SSLD_OP_IDENTITY;
    /* Inference sees nothing of dropout, or in PaddleClas's mode a factor. */
    if (from->kind == SSLD_OP_IDENTITY || (from->kind == SSLD_OP_DROPOUT && !from->attributes.downscale_in_infer)) {
        writer->standing[from->output] = writer->standing[from->inputs[0]];
        return;
    }
    char *output = graph->values[from->output].name, *own = fused ? text(writer, output, "_before_activation") : output;
    Ssld__Onnx__NodeProto *node = own ? add_node(writer, from->name, ssld_ops[from->kind].name, own) : NULL;
    if (!node)
        return;
    for (int32_t i = 0; i < from->input_count; i++) {
        int32_t input = from->inputs[i] == SSLD_NO_VALUE ? SSLD_NO_VALUE : writer->standing[from->inputs[i]];
        if (input != SSLD_NO_VALUE)
            add_constant(writer, input);
        node->input[node->n_input++] = input == SSLD_NO_VALUE ? (char *)"" : graph->values[input].name;
    }
    add_special(writer, node, from);
    if (fused)
        write_activation(writer, from, own, output);
}

/* -- The file ----------------------------------------------------------------------------------------------------- */

/* A float tensor's name and shape, the batch first and left open. */
static Ssld__Onnx__ValueInfoProto *describe(struct writer *writer, int32_t index)
{
    const struct ssld_value *value = &writer->graph->values[index];
    Ssld__Onnx__ValueInfoProto *info = NEW(writer, ValueInfoProto, value_info_proto);
    Ssld__Onnx__TypeProto *type = NEW(writer, TypeProto, type_proto);
    Ssld__Onnx__TensorTypeProto *tensor = NEW(writer, TensorTypeProto, tensor_type_proto);
    Ssld__Onnx__TensorShapeProto *shape = NEW(writer, TensorShapeProto, tensor_shape_proto);
    Ssld__Onnx__DimensionProto **dims = take(writer, SSLD_MOST_DIMS * sizeof(Ssld__Onnx__DimensionProto *));
    if (!info || !type || !tensor || !shape || !dims)
        return NULL;
    for (int32_t i = 0; i < value->ndims; i++) {
        dims[i] = NEW(writer, DimensionProto, dimension_proto);
        if (!dims[i])
            return NULL;
        dims[i]->has_dim_value = i > 0;
        dims[i]->dim_value = value->dims[i];
        dims[i]->dim_param = i > 0 ? NULL : (char *)BATCH;
    }
    info->name = value->name;
    info->type = type;
    type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = TYPE_FLOAT;
    tensor->shape = shape;
    shape->n_dim = (size_t)value->ndims;
    shape->dim = dims;
    return info;
}

static void write_graph(struct writer *writer, Ssld__Onnx__ModelProto *model)
{
    const struct ssld_graph *graph = writer->graph;
    size_t nodes = (size_t)graph->node_count;
    Ssld__Onnx__GraphProto *proto = NEW(writer, GraphProto, graph_proto);
    Ssld__Onnx__ValueInfoProto **ends = take(writer, 2 * sizeof(Ssld__Onnx__ValueInfoProto *));
    if (!proto || !ends)
        return;
    /* Twice the nodes for activations on their own, two numbers for each of those. */
    proto->node = take(writer, 2 * nodes * sizeof *proto->node);
    proto->initializer = take(writer, ((size_t)graph->value_count + 4 * nodes) * sizeof *proto->initializer);
    writer->written = take(writer, (size_t)graph->value_count);
    writer->standing = take(writer, (size_t)graph->value_count * sizeof *writer->standing);
    if (!proto->node || !proto->initializer || !writer->written || !writer->standing)
        return;
    for (int32_t i = 0; i < graph->value_count; i++)
        writer->standing[i] = i;
    model->graph = writer->proto = proto;
    proto->name = graph->name;
    for (int32_t n = 0; n < graph->node_count && !writer->status; n++)
        write_node(writer, &graph->nodes[n]);
    ends[0] = describe(writer, graph->input);
    ends[1] = describe(writer, writer->standing[graph->output]);
    proto->input = &ends[0];
    proto->output = &ends[1];
    proto->n_input = proto->n_output = 1;
}

static void write_model(struct writer *writer, Ssld__Onnx__ModelProto *model)
{
    Ssld__Onnx__OperatorSetIdProto **opsets = take(writer, sizeof(Ssld__Onnx__OperatorSetIdProto *));
    Ssld__Onnx__OperatorSetIdProto *opset = NEW(writer, OperatorSetIdProto, operator_set_id_proto);
    char *version = take(writer, 32);
    if (!opsets || !opset || !version)
        return;
    snprintf(version, 32, "%d.%d.%d", SSLD_VERSION_MAJOR, SSLD_VERSION_MINOR, SSLD_VERSION_PATCH);
    opset->domain = (char *)"";
    opset->has_version = 1;
    opset->version = OPSET;
    opsets[0] = opset;
    model->has_ir_version = 1;
    model->ir_version = IR_VERSION;
    model->producer_name = (char *)"libssld";
    model->producer_version = version;
    model->n_opset_import = 1;
    model->opset_import = opsets;
    write_graph(writer, model);
}

/* Small pieces are gathered; large ones (weights) go straight to the file. The file keeps its first failure. */
struct buffered_file {
    ProtobufCBuffer         base;
    struct ssld_replacement file;
    size_t                  used;
    uint8_t                 bytes[BUFFER_SIZE];
};

static void flush_buffer(struct buffered_file *buffered)
{
    ssld_replacement_write(&buffered->file, buffered->bytes, buffered->used);
    buffered->used = 0;
}

static void append(ProtobufCBuffer *buffer, size_t size, const uint8_t *bytes)
{
    struct buffered_file *buffered = (struct buffered_file *)buffer;
    if (size > BUFFER_SIZE - buffered->used)
        flush_buffer(buffered);
    if (size > BUFFER_SIZE) {
        ssld_replacement_write(&buffered->file, bytes, size);
        return;
    }
    memcpy(buffered->bytes + buffered->used, bytes, size);
    buffered->used += size;
}

static ssld_status write_file(ssld_context *context, const Ssld__Onnx__ModelProto *model, const char *path)
{
    struct buffered_file *buffered = ssld_alloc(context, sizeof *buffered);
    if (!buffered)
        return ssld_fail_memory(context, "writing an ONNX file", sizeof *buffered);
    buffered->base.append = append;
    buffered->used = 0;
    ssld_status status = ssld_replacement_open(context, path, &buffered->file);
    if (!status) {
        protobuf_c_message_pack_to_buffer(&model->base, &buffered->base);
        flush_buffer(buffered);
        status = ssld_replacement_commit(&buffered->file);
    }
    ssld_free(context, buffered);
    return status;
}

ssld_status ssld_onnx_write(const struct ssld_graph *graph, const char *path)
{
    struct writer writer = { .context = graph->context, .graph = graph };
    Ssld__Onnx__ModelProto model = SSLD__ONNX__MODEL_PROTO__INIT;
    write_model(&writer, &model);
    ssld_status status = writer.status ? writer.status : write_file(graph->context, &model, path);
    free_chunks(&writer);
    return status;
}
