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
#include "onnx/writer.h"

#define OPSET 17
#define IR_VERSION 8
#define BUFFER_SIZE 65536

#define BATCH "N"

#define MOST_PARTS 24   /* nodes that one node of the graph becomes, those that change forms of tensors among them */
#define MOST_NUMBERS 16 /* and constants */

/* -- Memory for the message --------------------------------------------------------------------------------------- */

struct chunk {
    struct chunk *next;
};

/* Zeroed memory that lives as long as the writer; NULL when there is none, which is kept as the writer's status. */
void *ssld_write_take(struct writer *writer, size_t size)
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

void *ssld_write_initialised(void *message, const ProtobufCMessageDescriptor *descriptor)
{
    if (message)
        descriptor->message_init(message);
    return message;
}

char *ssld_write_text(struct writer *writer, const char *first, const char *second)
{
    size_t a = strlen(first), b = strlen(second);
    char *joined = ssld_write_take(writer, a + b + 1);
    if (joined) {
        memcpy(joined, first, a);
        memcpy(joined + a, second, b + 1);
    }
    return joined;
}

/* -- Initializers ------------------------------------------------------------------------------------------------- */

Ssld__Onnx__TensorProto *ssld_write_tensor(struct writer *writer, char *name, int32_t type, int32_t ndims,
                                           const int64_t *dims)
{
    Ssld__Onnx__TensorProto *tensor = NEW(writer, TensorProto, tensor_proto);
    int64_t *own = ssld_write_take(writer, (size_t)ndims * sizeof *own);
    if (!tensor || !own || !name)
        return NULL;
    for (int32_t i = 0; i < ndims; i++)
        own[i] = dims[i];
    tensor->name = name;
    tensor->n_dims = (size_t)ndims;
    tensor->dims = own;
    tensor->has_data_type = 1;
    tensor->data_type = type;
    writer->proto->initializer[writer->proto->n_initializer++] = tensor;
    return tensor;
}

void ssld_write_floats(struct writer *writer, char *name, int32_t ndims, const int64_t *dims, size_t elements,
                       float *data)
{
    Ssld__Onnx__TensorProto *tensor = ssld_write_tensor(writer, name, WRITE_FLOAT, ndims, dims);
    if (tensor) {
        tensor->n_float_data = elements;
        tensor->float_data = data;
    }
}

/* An image's slopes of PReLU are (C, 1, 1) in ONNX, so that they stand where the channels do. */
void ssld_write_constant(struct writer *writer, const struct ssld_node *reader, int32_t index)
{
    const struct ssld_value *value = &writer->graph->values[index];
    if (value->role == SSLD_VALUE_ACTIVATION || writer->written[index])
        return;
    bool slopes = reader->kind == SSLD_OP_PRELU && value->dims[0] > 1;
    writer->written[index] = true;
    ssld_write_floats(writer, value->name, slopes ? writer->graph->values[reader->inputs[0]].ndims - 1 : value->ndims,
                      value->dims, (size_t)ssld_value_elements(value), value->data);
}

/* A number that is an attribute in the graph and an input in ONNX; returns its name. */
char *ssld_write_number(struct writer *writer, const char *base, const char *suffix, float number)
{
    char *name = ssld_write_text(writer, base, suffix);
    float *data = ssld_write_take(writer, sizeof *data);
    if (!name || !data)
        return NULL;
    *data = number;
    ssld_write_floats(writer, name, 0, NULL, 1, data);
    return name;
}

/* The same for a list of one integer. */
static char *add_integer(struct writer *writer, const char *base, const char *suffix, int64_t number)
{
    static const int64_t one = 1;
    char *name = ssld_write_text(writer, base, suffix);
    int64_t *data = ssld_write_take(writer, sizeof *data);
    Ssld__Onnx__TensorProto *tensor = data ? ssld_write_tensor(writer, name, WRITE_INT64, 1, &one) : NULL;
    if (!tensor)
        return NULL;
    *data = number;
    tensor->n_int64_data = 1;
    tensor->int64_data = data;
    return name;
}

/* -- Nodes -------------------------------------------------------------------------------------------------------- */

Ssld__Onnx__AttributeProto *ssld_write_attribute(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name,
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

void ssld_write_int(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name, int64_t number)
{
    Ssld__Onnx__AttributeProto *attribute = ssld_write_attribute(writer, node, name, WRITE_ATTRIBUTE_INT);
    if (attribute) {
        attribute->has_i = 1;
        attribute->i = number;
    }
}

void ssld_write_ints(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name, int32_t count,
                     const int32_t *numbers)
{
    Ssld__Onnx__AttributeProto *attribute = ssld_write_attribute(writer, node, name, WRITE_ATTRIBUTE_INTS);
    int64_t *own = ssld_write_take(writer, (size_t)count * sizeof *own);
    if (!attribute || !own)
        return;
    for (int32_t i = 0; i < count; i++)
        own[i] = numbers[i];
    attribute->n_ints = (size_t)count;
    attribute->ints = own;
}

/* What the graph's operator table lists. */
void ssld_write_listed(struct writer *writer, Ssld__Onnx__NodeProto *node, const struct ssld_node *from)
{
    for (const struct ssld_attribute *place = ssld_ops[from->kind].attributes; place->name; place++) {
        const char *src = (const char *)&from->attributes + place->offset;
        int32_t numbers[SSLD_MOST_DIMS]; /* no operator has a longer list */
        if (place->internal)
            continue;
        if (place->type == SSLD_ATTRIBUTE_FLOAT) {
            Ssld__Onnx__AttributeProto *attribute =
                ssld_write_attribute(writer, node, place->name, WRITE_ATTRIBUTE_FLOAT);
            if (!attribute)
                return;
            attribute->has_f = 1;
            memcpy(&attribute->f, src, sizeof attribute->f);
            continue;
        }
        memcpy(numbers, src, (size_t)place->count * sizeof *numbers);
        if (place->type == SSLD_ATTRIBUTE_INT)
            ssld_write_int(writer, node, place->name, numbers[0]);
        else
            ssld_write_ints(writer, node, place->name, place->count, numbers);
    }
}

/* A node with room for inputs and attributes; its strings are borrowed. */
Ssld__Onnx__NodeProto *ssld_write_node(struct writer *writer, char *name, const char *operator_name, char *output)
{
    Ssld__Onnx__NodeProto *node = NEW(writer, NodeProto, node_proto);
    char **inputs = ssld_write_take(writer, SSLD_MOST_INPUTS * sizeof *inputs),
         **outputs = ssld_write_take(writer, sizeof *outputs);
    Ssld__Onnx__AttributeProto **attributes = ssld_write_take(writer, 8 * sizeof(Ssld__Onnx__AttributeProto *));
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
        node->input[node->n_input++] = ssld_write_number(writer, node->output[0], "_scale", 1.0f - attributes->ratio);
        node->op_type = (char *)"Mul";
        break;
    case SSLD_OP_CLIP:
        node->input[node->n_input++] = ssld_write_number(writer, node->output[0], "_min", attributes->alpha);
        node->input[node->n_input++] = ssld_write_number(writer, node->output[0], "_max", attributes->beta);
        break;
    case SSLD_OP_SCALE:
        node->input[node->n_input++] = ssld_write_number(writer, node->output[0], "_scale", attributes->scale);
        node->op_type = (char *)"Mul";
        break;
    case SSLD_OP_GEMM:
        ssld_write_int(writer, node, "transB", 1);
        break;
    case SSLD_OP_CONCAT:
        ssld_write_int(writer, node, "axis", 1);
        break;
    case SSLD_OP_SLICE:
        node->input[node->n_input++] = add_integer(writer, node->output[0], "_begin", attributes->begin);
        node->input[node->n_input++] = add_integer(writer, node->output[0], "_end", attributes->end);
        node->input[node->n_input++] = add_integer(writer, node->output[0], "_axis", 1);
        break;
    default:
        ssld_write_listed(writer, node, from);
        break;
    }
}

/* -- Operators that opset 17 has not, by parts ---------------------------------------------------------------------- *
 *
 * The last part bears the node's name and makes its output; the others are called after the output. The reader puts the
 * parts together again. */

/* One part, of one or two inputs; returns its output, NULL without memory. */
char *ssld_write_part(struct writer *writer, char *name, const char *operator_name, char *first, char *second,
                      char *output)
{
    Ssld__Onnx__NodeProto *node = first && output ? ssld_write_node(writer, name, operator_name, output) : NULL;
    if (!node)
        return NULL;
    node->input[node->n_input++] = first;
    if (second)
        node->input[node->n_input++] = second;
    return output;
}

/* A part that is not the last, called "<output><suffix>". */
char *ssld_write_inner(struct writer *writer, const char *output, const char *suffix, const char *operator_name,
                       char *first, char *second)
{
    char *name = ssld_write_text(writer, output, suffix);
    return ssld_write_part(writer, name, operator_name, first, second, name);
}

/* x * sigmoid(x) */
static void write_silu(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    char *x = inputs[0], *gate = ssld_write_inner(writer, output, "_gate", "Sigmoid", x, NULL);
    ssld_write_part(writer, from->name, "Mul", x, gate, output);
}

/* x * (1 + erf(x / sqrt(2))) / 2 */
static void write_gelu(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    char *x = inputs[0], *root = ssld_write_number(writer, output, "_root", 0.707106781f),
         *one = ssld_write_number(writer, output, "_one", 1.0f), *half = ssld_write_number(writer, output, "_half", 0.5f);
    char *erf = ssld_write_inner(writer, output, "_erf", "Erf",
                                 ssld_write_inner(writer, output, "_scaled", "Mul", x, root), NULL);
    char *twice =
        ssld_write_inner(writer, output, "_twice", "Mul", x, ssld_write_inner(writer, output, "_sum", "Add", erf, one));
    ssld_write_part(writer, from->name, "Mul", twice, half, output);
}

/* x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
static void write_gelu_tanh(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    char *x = inputs[0], *small = ssld_write_number(writer, output, "_small", 0.044715f),
         *slope = ssld_write_number(writer, output, "_slope", 1.59576912f);
    char *cube =
        ssld_write_inner(writer, output, "_cube", "Mul", ssld_write_inner(writer, output, "_square", "Mul", x, x), x);
    char *sum = ssld_write_inner(writer, output, "_sum", "Add", x,
                                 ssld_write_inner(writer, output, "_term", "Mul", cube, small));
    char *scaled = ssld_write_inner(writer, output, "_scaled", "Mul", sum, slope);
    ssld_write_part(writer, from->name, "Mul", x, ssld_write_inner(writer, output, "_gate", "Sigmoid", scaled, NULL),
                    output);
}

/* ONNX normalises over last axes: another one goes there and comes back. */
static void write_layer_norm(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    const struct ssld_value *value = &writer->graph->values[from->output];
    int32_t axis = from->attributes.axis, ndims = value->ndims, to_last[SSLD_MOST_DIMS], back[SSLD_MOST_DIMS],
            count = 0;
    for (int32_t i = 0; i < ndims; i++)
        if (i != axis)
            to_last[count++] = i;
    to_last[count] = axis;
    for (int32_t i = 0; i < ndims; i++)
        back[to_last[i]] = i;
    bool moved = axis != ndims - 1;
    char *src = moved ? ssld_write_text(writer, output, "_channels_last") : inputs[0];
    char *dst = moved ? ssld_write_text(writer, output, "_last") : output;
    if (moved)
        ssld_write_transpose(writer, src, inputs[0], ndims, to_last, src);
    Ssld__Onnx__NodeProto *node =
        src && dst ? ssld_write_node(writer, from->name, ssld_ops[from->kind].name, dst) : NULL;
    if (!node)
        return;
    node->input[node->n_input++] = src;
    for (int32_t i = 1; i < from->input_count; i++)
        node->input[node->n_input++] = inputs[i];
    ssld_write_int(writer, node, "axis", -1);
    ssld_write_listed(writer, node, from);
    if (moved)
        ssld_write_transpose(writer, ssld_write_text(writer, output, "_back"), dst, ndims, back, output);
}

/* -- A node of the graph ------------------------------------------------------------------------------------------ */

/* One node, or the parts of one. */
static void write_operator(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    static void (*const spelled[SSLD_OP_KINDS])(struct writer *, const struct ssld_node *, char *const *, char *) = {
        [SSLD_OP_SILU] = write_silu,
        [SSLD_OP_GELU] = write_gelu,
        [SSLD_OP_GELU_TANH] = write_gelu_tanh,
        [SSLD_OP_LAYER_NORM] = write_layer_norm,
    };
    if (from->kind >= SSLD_OP_UNARY) {
        ssld_write_general(writer, from, inputs, output);
        return;
    }
    if (spelled[from->kind]) {
        spelled[from->kind](writer, from, inputs, output);
        return;
    }
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, ssld_ops[from->kind].name, output);
    if (!node)
        return;
    for (int32_t i = 0; i < from->input_count; i++)
        node->input[node->n_input++] = inputs[i];
    add_special(writer, node, from);
}

/* The activation inside a fused node, as a node of its own. */
static void write_activation(struct writer *writer, const struct ssld_node *from, char *input, char *output)
{
    struct ssld_node apart = { .kind = from->activation.kind, .input_count = 1,
                               .attributes = ssld_op_defaults(from->activation.kind) };
    apart.name = ssld_write_text(writer, from->name, "_activation");
    apart.attributes.alpha = from->activation.alpha;
    apart.attributes.beta = from->activation.beta;
    write_operator(writer, &apart, &input, output);
}

static void write_node(struct writer *writer, const struct ssld_node *from)
{
    const struct ssld_graph *graph = writer->graph;
    bool fused = from->activation.kind != SSLD_OP_IDENTITY;
    char *inputs[SSLD_MOST_INPUTS];
    /* Inference sees nothing of dropout, or in PaddleClas's mode a factor. */
    if (from->kind == SSLD_OP_IDENTITY || (from->kind == SSLD_OP_DROPOUT && !from->attributes.downscale_in_infer)) {
        writer->standing[from->output] = writer->standing[from->inputs[0]];
        return;
    }
    char *output = graph->values[from->output].name,
         *own = fused ? ssld_write_text(writer, output, "_before_activation") : output;
    if (!own)
        return;
    for (int32_t i = 0; i < from->input_count; i++) {
        int32_t input = from->inputs[i] == SSLD_NO_VALUE ? SSLD_NO_VALUE : writer->standing[from->inputs[i]];
        bool indices = from->kind == SSLD_OP_GATHER && i == 1; /* written as whole numbers */
        if (input != SSLD_NO_VALUE && !indices)
            ssld_write_constant(writer, from, input);
        inputs[i] = input == SSLD_NO_VALUE ? (char *)""
                                           : ssld_write_form(writer, input, ssld_write_is_leading(writer, from, input));
        if (!inputs[i])
            return;
    }
    writer->leading[from->output] = ssld_write_makes_leading(writer, from);
    write_operator(writer, from, inputs, own);
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
    Ssld__Onnx__DimensionProto **dims = ssld_write_take(writer, SSLD_MOST_DIMS * sizeof(Ssld__Onnx__DimensionProto *));
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
    tensor->elem_type = WRITE_FLOAT;
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
    Ssld__Onnx__ValueInfoProto **ends = ssld_write_take(writer, 2 * sizeof(Ssld__Onnx__ValueInfoProto *));
    if (!proto || !ends)
        return;
    proto->node = ssld_write_take(writer, MOST_PARTS * nodes * sizeof *proto->node);
    proto->initializer =
        ssld_write_take(writer, ((size_t)graph->value_count + MOST_NUMBERS * nodes) * sizeof *proto->initializer);
    writer->written = ssld_write_take(writer, (size_t)graph->value_count);
    writer->standing = ssld_write_take(writer, (size_t)graph->value_count * sizeof *writer->standing);
    writer->leading = ssld_write_take(writer, (size_t)graph->value_count);
    writer->other_forms = ssld_write_take(writer, (size_t)graph->value_count * sizeof *writer->other_forms);
    if (!proto->node || !proto->initializer || !writer->written || !writer->standing || !writer->leading ||
        !writer->other_forms)
        return;
    for (int32_t i = 0; i < graph->value_count; i++)
        writer->standing[i] = i;
    model->graph = writer->proto = proto;
    proto->name = graph->name;
    for (int32_t n = 0; n < graph->node_count && !writer->status; n++)
        write_node(writer, &graph->nodes[n]);
    int32_t output = writer->standing[graph->output];
    char *name = writer->status ? NULL : ssld_write_form(writer, output, false);
    ends[0] = describe(writer, graph->input);
    ends[1] = describe(writer, output);
    if (ends[1] && name)
        ends[1]->name = name;
    proto->input = &ends[0];
    proto->output = &ends[1];
    proto->n_input = proto->n_output = 1;
}

static void write_model(struct writer *writer, Ssld__Onnx__ModelProto *model)
{
    Ssld__Onnx__OperatorSetIdProto **opsets = ssld_write_take(writer, sizeof(Ssld__Onnx__OperatorSetIdProto *));
    Ssld__Onnx__OperatorSetIdProto *opset = NEW(writer, OperatorSetIdProto, operator_set_id_proto);
    char *version = ssld_write_take(writer, 32);
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
