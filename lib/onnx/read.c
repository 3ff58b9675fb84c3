/* SPDX-License-Identifier: BSD-2-Clause */
/* read.c - an ONNX file as a whole: parsed within a memory budget, its names resolved, its live nodes converted in order.
 *
 * Nodes that the logits do not depend on are not looked at further than their names. Nodes that are not supported are
 * collected, so that one text names all of them. */
#include "onnx/onnx.h"

#include <stdio.h>
#include <string.h>

#include "onnx/convert.h"

#define LEAST_OPSET 7
#define LEAST_IR 3
#define BUDGET_FACTOR 16u /* parsed messages and the graph, as multiples of the file: honest files need about 3 */
#define BUDGET_BASE ((size_t)64 << 20)
#define TEXT_SIZE 2048
#define LIST_SIZE 3500 /* of the 4096 characters that a failure text has */

/* What the walk over the nodes has found that it cannot do. */
struct unsupported {
    char    text[LIST_SIZE];
    size_t  length;
    int32_t count, left_out;
};

/* -- Texts -------------------------------------------------------------------------------------------------------- */

/* Names come from the file; what could garble a terminal is shown as '?'. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

ssld_status ssld_onnx_refuse(const struct reader *reader, const onnx_node *node, ssld_status status, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *name = node->name && *node->name ? node->name : node->n_output ? node->output[0] : "";
    return ssld_fail(reader->context, status, "node '%.80s' (%.40s): %s", name, node->op_type ? node->op_type : "no operator",
                     text);
}

static ssld_status refuse_file(const struct reader *reader, ssld_status status, const char *format, ...) SSLD_PRINTF(3, 4);
static ssld_status refuse_file(const struct reader *reader, ssld_status status, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    make_printable(text);
    return ssld_fail(reader->context, status, "%s: %s", reader->file, text);
}

/* The text of a failure inside the graph, with the file's name before it. What does not fit is the file's fault. */
static ssld_status name_file(const struct reader *reader, ssld_status status)
{
    char text[TEXT_SIZE];
    if (status == SSLD_OUT_OF_MEMORY)
        return status;
    ssld_context_error(reader->context, text, sizeof text);
    return refuse_file(reader, status == SSLD_INVALID_ARGUMENT ? SSLD_FORMAT : status, "%s", text);
}

static void collect(const struct reader *reader, struct unsupported *list)
{
    char text[TEXT_SIZE];
    ssld_context_error(reader->context, text, sizeof text);
    make_printable(text);
    size_t length = strlen(text);
    list->count++;
    if (list->left_out || list->length + length + 3 > sizeof list->text) {
        list->left_out++;
        return;
    }
    list->length += (size_t)snprintf(list->text + list->length, sizeof list->text - list->length, "%s%s",
                                     list->length ? "; " : "", text);
}

static ssld_status refuse_unsupported(const struct reader *reader, const struct unsupported *list)
{
    char more[48] = "";
    if (list->left_out)
        snprintf(more, sizeof more, "; and %d more", list->left_out);
    return ssld_fail(reader->context, SSLD_UNSUPPORTED, "%s: %d node%s not supported (see docs/onnx-support.md): %s%s",
                     reader->file, list->count, list->count == 1 ? " is" : "s are", list->text, more);
}

/* -- Parsing ------------------------------------------------------------------------------------------------------ */

/* protobuf-c's memory comes from the context and out of the budget, which is not given back: it bounds the work too. */
static void *budget_alloc(void *user, size_t size)
{
    struct reader *reader = user;
    size_t rounded = (size + 63) & ~(size_t)63;
    if (rounded < size || rounded > reader->budget) {
        reader->over_budget = true;
        return NULL;
    }
    void *memory = ssld_alloc(reader->context, size);
    if (memory)
        reader->budget -= rounded;
    reader->no_memory = !memory;
    return memory;
}

static void budget_free(void *user, void *memory)
{
    struct reader *reader = user;
    ssld_free(reader->context, memory);
}

static ssld_status parse(struct reader *reader, ProtobufCAllocator *allocator, const void *bytes, size_t size,
                         Ssld__Onnx__ModelProto **model)
{
    reader->budget = size > (SIZE_MAX - BUDGET_BASE) / BUDGET_FACTOR ? SIZE_MAX : BUDGET_FACTOR * size + BUDGET_BASE;
    *model = ssld__onnx__model_proto__unpack(allocator, size, bytes);
    if (*model)
        return SSLD_OK;
    if (reader->no_memory)
        return ssld_fail_memory(reader->context, "an ONNX file", size);
    if (reader->over_budget)
        return refuse_file(reader, SSLD_FORMAT, "its %zu bytes unfold to more than %u times their size", size, BUDGET_FACTOR);
    return refuse_file(reader, SSLD_FORMAT, "not an ONNX file, or cut off (%zu bytes)", size);
}

static bool default_domain(const char *domain)
{
    return !domain || !*domain || !strcmp(domain, "ai.onnx");
}

static ssld_status check_model(const struct reader *reader, const Ssld__Onnx__ModelProto *model)
{
    int64_t opset = 0;
    for (size_t i = 0; i < model->n_opset_import; i++)
        if (default_domain(model->opset_import[i]->domain))
            opset = model->opset_import[i]->version;
    if (!model->graph)
        return refuse_file(reader, SSLD_FORMAT, "not an ONNX file: it has no graph");
    if (!model->has_ir_version || model->ir_version < LEAST_IR || !opset)
        return refuse_file(reader, SSLD_FORMAT, "not an ONNX file of IR version %d or later with an operator set", LEAST_IR);
    if (opset < LEAST_OPSET)
        return refuse_file(reader, SSLD_UNSUPPORTED, "opset %lld; export the model with opset %d or later (17 suits)",
                           (long long)opset, LEAST_OPSET);
    return SSLD_OK;
}

/* -- Names -------------------------------------------------------------------------------------------------------- */

const char *ssld_onnx_input_name(const onnx_node *node, size_t index)
{
    return index < node->n_input && *node->input[index] ? node->input[index] : NULL;
}

struct entry *ssld_onnx_input(const struct reader *reader, const onnx_node *node, size_t index)
{
    const char *name = ssld_onnx_input_name(node, index);
    return name ? ssld_names_find(&reader->names, name) : NULL;
}

static ssld_status add_name(struct reader *reader, const char *name, int32_t kind, const onnx_tensor *tensor)
{
    if (!name || !*name)
        return refuse_file(reader, SSLD_FORMAT, "an input or initializer has no name");
    if (ssld_names_find(&reader->names, name))
        return refuse_file(reader, SSLD_FORMAT, "'%.80s' is defined twice", name);
    struct entry *entry = ssld_names_add(&reader->names, name, kind);
    if (!entry)
        return ssld_fail_memory(reader->context, "the names of an ONNX file", strlen(name));
    entry->tensor = tensor;
    return SSLD_OK;
}

/* Initializers and inputs; up to IR version 3 every initializer is an input as well. The first other input is the image. */
static ssld_status add_sources(struct reader *reader, const Ssld__Onnx__GraphProto *graph,
                               const Ssld__Onnx__ValueInfoProto **image)
{
    ssld_status status = SSLD_OK;
    *image = NULL;
    for (size_t i = 0; i < graph->n_initializer && !status; i++)
        status = add_name(reader, graph->initializer[i]->name, ENTRY_TENSOR, graph->initializer[i]);
    for (size_t i = 0; i < graph->n_input && !status; i++) {
        const char *name = graph->input[i]->name;
        const struct entry *known = name ? ssld_names_find(&reader->names, name) : NULL;
        if (known && known->kind == ENTRY_TENSOR)
            continue;
        status = add_name(reader, name, *image ? ENTRY_INPUT : ENTRY_IMAGE, NULL);
        if (!*image)
            *image = graph->input[i];
    }
    if (!status && !*image)
        status = refuse_file(reader, SSLD_FORMAT, "it has no input");
    return status;
}

static ssld_status refuse_undefined(const struct reader *reader, const Ssld__Onnx__GraphProto *graph, size_t index,
                                    const char *name)
{
    for (size_t n = index; n < graph->n_node; n++)
        for (size_t i = 0; i < graph->node[n]->n_output; i++)
            if (!strcmp(graph->node[n]->output[i], name))
                return ssld_onnx_refuse(reader, graph->node[index], SSLD_FORMAT,
                                        "it reads '%.80s', which comes later or depends on it: nodes are not in order", name);
    return ssld_onnx_refuse(reader, graph->node[index], SSLD_FORMAT, "it reads '%.80s', which nothing makes", name);
}

/* Every node reads only what stands before it, and makes what nothing else makes. */
static ssld_status add_nodes(struct reader *reader, const Ssld__Onnx__GraphProto *graph)
{
    for (size_t n = 0; n < graph->n_node; n++) {
        const onnx_node *node = graph->node[n];
        for (size_t i = 0; i < node->n_input; i++) {
            const char *name = ssld_onnx_input_name(node, i);
            if (name && !ssld_names_find(&reader->names, name))
                return name_file(reader, refuse_undefined(reader, graph, n, name));
        }
        for (size_t i = 0; i < node->n_output; i++) {
            if (!*node->output[i])
                continue;
            ssld_status status = add_name(reader, node->output[i], ENTRY_OUTPUT, NULL);
            if (status)
                return status;
        }
    }
    return SSLD_OK;
}

/* From the logits backwards: which names matter, and how many readers each has. */
static ssld_status mark_live(struct reader *reader, const Ssld__Onnx__GraphProto *graph)
{
    struct entry *output = graph->n_output && graph->output[0]->name
                               ? ssld_names_find(&reader->names, graph->output[0]->name) : NULL;
    if (!output)
        return refuse_file(reader, SSLD_FORMAT, "it has no output, or one that nothing makes");
    reader->output = output->name;
    output->live = true;
    output->readers = 1;
    for (size_t n = graph->n_node; n-- > 0;) {
        const onnx_node *node = graph->node[n];
        bool live = false;
        for (size_t i = 0; i < node->n_output && !live; i++)
            live = *node->output[i] && ssld_names_find(&reader->names, node->output[i])->live;
        for (size_t i = 0; i < node->n_input && live; i++) {
            struct entry *input = ssld_onnx_input(reader, node, i);
            if (!input)
                continue;
            input->live = true;
            input->readers++;
        }
    }
    return SSLD_OK;
}

/* -- The image ---------------------------------------------------------------------------------------------------- */

/* A size the file gives, or `fallback` where it leaves it open. */
static int64_t size_of(const Ssld__Onnx__DimensionProto *dimension, int64_t fallback)
{
    return dimension->has_dim_value && dimension->dim_value != 0 && dimension->dim_value != -1 ? dimension->dim_value : fallback;
}

static ssld_status add_image(struct reader *reader, const Ssld__Onnx__ValueInfoProto *image, int32_t height, int32_t width)
{
    const Ssld__Onnx__TensorTypeProto *type = image->type ? image->type->tensor_type : NULL;
    const Ssld__Onnx__TensorShapeProto *shape = type ? type->shape : NULL;
    int32_t value;
    if (!shape || shape->n_dim != 4)
        return refuse_file(reader, SSLD_UNSUPPORTED, "input '%.80s' is not an image of shape (N, channels, height, width)",
                           image->name);
    if (type->elem_type != TYPE_FLOAT)
        return refuse_file(reader, SSLD_UNSUPPORTED, "input '%.80s' is not of type float; export the model in float32",
                           image->name);
    int64_t dims[4] = { 1, size_of(shape->dim[1], 0), size_of(shape->dim[2], height), size_of(shape->dim[3], width) };
    if (dims[1] < 1)
        return refuse_file(reader, SSLD_UNSUPPORTED, "input '%.80s' leaves its number of channels open; export it fixed",
                           image->name);
    ssld_status status = ssld_graph_add_value(reader->graph, image->name, SSLD_VALUE_ACTIVATION, 4, dims, NULL, &value);
    if (status)
        return name_file(reader, status);
    reader->graph->input = value;
    ssld_names_find(&reader->names, image->name)->value = value;
    return SSLD_OK;
}

/* -- Nodes -------------------------------------------------------------------------------------------------------- */

/* Mark what the node makes as unknown: nodes behind it cannot be converted, but their operators can still be judged. */
static void give_up(struct reader *reader, const onnx_node *node)
{
    for (size_t i = 0; i < node->n_output; i++)
        if (*node->output[i])
            ssld_names_find(&reader->names, node->output[i])->unknown = true;
}

static bool reads_unknown(const struct reader *reader, const onnx_node *node)
{
    for (size_t i = 0; i < node->n_input; i++) {
        const struct entry *input = ssld_onnx_input(reader, node, i);
        if (input && input->unknown)
            return true;
    }
    return false;
}

/* Of all but Split, nobody reads an output beyond the first. A live node without further live outputs has its first one. */
static ssld_status check_outputs(const struct reader *reader, const struct onnx_operator *row, const onnx_node *node)
{
    for (size_t i = 1; i < node->n_output && row->convert != ssld_onnx_convert_split; i++)
        if (*node->output[i] && ssld_names_find(&reader->names, node->output[i])->live)
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its output %zu '%.80s' is read", i, node->output[i]);
    return SSLD_OK;
}

static ssld_status convert_node(struct reader *reader, const onnx_node *node)
{
    struct ssld_attributes attributes;
    const struct onnx_operator *row = node->op_type ? ssld_onnx_operator_find(node->op_type) : NULL;
    if (!default_domain(node->domain))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "operator domain '%.80s'", node->domain);
    if (!row)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "no such operator here");
    ssld_status status = ssld_onnx_read_attributes(reader, row, node, &attributes);
    if (!status)
        status = check_outputs(reader, row, node);
    if (status)
        return status;
    if (reads_unknown(reader, node)) {
        give_up(reader, node);
        return SSLD_OK;
    }
    return row->convert(reader, row, node, &attributes);
}

static bool node_is_live(const struct reader *reader, const onnx_node *node)
{
    for (size_t i = 0; i < node->n_output; i++)
        if (*node->output[i] && ssld_names_find(&reader->names, node->output[i])->live)
            return true;
    return false;
}

static ssld_status convert_nodes(struct reader *reader, const Ssld__Onnx__GraphProto *graph)
{
    struct unsupported list = { .length = 0 };
    for (size_t n = 0; n < graph->n_node; n++) {
        const onnx_node *node = graph->node[n];
        if (!node_is_live(reader, node))
            continue;
        ssld_status status = convert_node(reader, node);
        if (status == SSLD_UNSUPPORTED) {
            collect(reader, &list);
            give_up(reader, node);
        } else if (status) {
            return name_file(reader, status);
        }
    }
    return list.count ? refuse_unsupported(reader, &list) : SSLD_OK;
}

/* -- The whole ---------------------------------------------------------------------------------------------------- */

static ssld_status build(struct reader *reader, const Ssld__Onnx__GraphProto *proto, int32_t height, int32_t width)
{
    const Ssld__Onnx__ValueInfoProto *image;
    ssld_status status;
    if ((status = add_sources(reader, proto, &image)) || (status = add_nodes(reader, proto)) ||
        (status = mark_live(reader, proto)))
        return status;
    const char *name = proto->name && *proto->name ? proto->name : reader->file;
    if ((status = ssld_graph_create(reader->context, name, &reader->graph)) ||
        (status = add_image(reader, image, height, width)) || (status = convert_nodes(reader, proto)))
        return status;
    const struct entry *output = ssld_names_find(&reader->names, reader->output);
    if (output->value == SSLD_NO_VALUE || output->kind == ENTRY_TENSOR)
        return refuse_file(reader, SSLD_FORMAT, "its output '%.80s' does not depend on its input", reader->output);
    if (output->channels_last || output->gelu.stage)
        return refuse_file(reader, SSLD_UNSUPPORTED, "its output '%.80s' is %s", reader->output,
                           output->channels_last ? "an image with its channels last" : "the inside of a GELU");
    reader->graph->output = output->value;
    if ((status = ssld_graph_join_gates(reader->graph)) || (status = ssld_graph_check(reader->graph)))
        return status;
    return SSLD_OK;
}

ssld_status ssld_onnx_read(ssld_context *context, const void *bytes, size_t size, const char *name, int32_t height,
                           int32_t width, struct ssld_graph **graph)
{
    struct reader reader = { .context = context, .file = name, .names = { .context = context } };
    ProtobufCAllocator allocator = { budget_alloc, budget_free, &reader };
    Ssld__Onnx__ModelProto *model = NULL;
    ssld_status status = parse(&reader, &allocator, bytes, size, &model);
    if (!status)
        status = check_model(&reader, model);
    if (!status)
        status = build(&reader, model->graph, height, width);
    if (!status)
        *graph = reader.graph;
    else
        ssld_graph_destroy(reader.graph);
    ssld_names_free(&reader.names);
    if (model)
        ssld__onnx__model_proto__free_unpacked(model, &allocator);
    return status;
}
