/* SPDX-License-Identifier: BSD-2-Clause */
/* read.c - an ONNX file as a whole: parsed within a memory budget, its names resolved, its live nodes converted in order, and
 * the graph brought to the form that is fast.
 *
 * Nodes that the logits do not depend on are not looked at further than their names. What is wrong with nodes is collected, so
 * that one text names all of them. */
#include "onnx/onnx.h"

#include <stdio.h>
#include <string.h>

#include "onnx/convert.h"

#define LEAST_OPSET 7
#define LEAST_IR 3
#define BUDGET_FACTOR 16u /* parsed messages and the graph, as multiples of the file: honest files need about 3 */
#define BUDGET_BASE ((uint64_t)64 << 20)
#define TEXT_SIZE 2048
#define MOST_UNDEFINED 64 /* names that are looked for further: each costs a walk */
#define LIST_SIZE 3500 /* of the 4096 characters that a failure text has */

/* What the walk over the nodes has found that it cannot do. */
struct problems {
    char        text[LIST_SIZE];
    size_t      length;
    int32_t     count, left_out;
    ssld_status status; /* SSLD_UNSUPPORTED unless a worse one is among them */
};

/* -- Texts -------------------------------------------------------------------------------------------------------- */

/* Names come from the file; what could garble a terminal is shown as '?'. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

ssld_status ssld_onnx_refuse(const struct reader *reader, const onnx_node *node, ssld_status status, const char *format,
                             ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *name = node->name && *node->name ? node->name : node->n_output ? node->output[0] : "";
    return ssld_fail(reader->context, status, "node '%.80s' (%.40s): %s", name,
                     node->op_type ? node->op_type : "no operator", text);
}

static ssld_status refuse_file(const struct reader *reader, ssld_status status, const char *format, ...)
    SSLD_PRINTF(3, 4);
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

/* Take the last failure down. Only what no other node could do better about ends the walk: true then. */
static bool collect(const struct reader *reader, struct problems *list, ssld_status status)
{
    char text[TEXT_SIZE];
    if (reader->over_budget)
        return true;
    if (status != SSLD_UNSUPPORTED && status != SSLD_FORMAT && status != SSLD_INVALID_ARGUMENT &&
        status != SSLD_NOT_FOUND)
        return true;
    ssld_context_error(reader->context, text, sizeof text);
    make_printable(text);
    size_t length = strlen(text);
    list->count++;
    list->status = status != SSLD_UNSUPPORTED ? SSLD_FORMAT : list->status ? list->status : SSLD_UNSUPPORTED;
    if (list->left_out || list->length + length + 3 > sizeof list->text) {
        list->left_out++;
        return false;
    }
    list->length += (size_t)snprintf(list->text + list->length, sizeof list->text - list->length, "%s%s",
                                     list->length ? "; " : "", text);
    return false;
}

static ssld_status refuse_problems(const struct reader *reader, const struct problems *list)
{
    char more[48] = "";
    if (!list->count)
        return SSLD_OK;
    if (list->left_out)
        snprintf(more, sizeof more, "; and %d more", list->left_out);
    if (list->status == SSLD_UNSUPPORTED)
        return ssld_fail(reader->context, SSLD_UNSUPPORTED,
                         "%s: %d node%s not supported (see docs/onnx-support.md): %s%s", reader->file, list->count,
                         list->count == 1 ? " is" : "s are", list->text, more);
    if (list->count == 1)
        return ssld_fail(reader->context, SSLD_FORMAT, "%s: %s", reader->file, list->text);
    return ssld_fail(reader->context, SSLD_FORMAT, "%s: %d problems: %s%s", reader->file, list->count, list->text,
                     more);
}

/* -- Parsing ------------------------------------------------------------------------------------------------------ */

ssld_status ssld_onnx_spend(struct reader *reader, uint64_t bytes)
{
    if (bytes <= reader->allowed - reader->taken) {
        reader->taken += bytes;
        return SSLD_OK;
    }
    reader->over_budget = true;
    if (reader->allowed == reader->limit)
        return ssld_fail(reader->context, SSLD_OUT_OF_MEMORY,
                         "%s: reading it would take more than %llu bytes; allow more with ssld_model_load_options.memory_limit",
                         reader->file, (unsigned long long)reader->limit);
    return ssld_fail(reader->context, SSLD_FORMAT,
                     "%s: its %zu bytes unfold to more than %u times their size: constants "
                     "outgrow the file",
                     reader->file, reader->size, BUDGET_FACTOR);
}

/* protobuf-c's memory comes from the context and out of the budget. */
static void *budget_alloc(void *user, size_t size)
{
    struct reader *reader = user;
    size_t rounded = (size + 63) & ~(size_t)63;
    if (rounded < size || rounded > reader->allowed - reader->taken) {
        reader->over_budget = true;
        return NULL;
    }
    void *memory = ssld_alloc(reader->context, size);
    if (memory)
        reader->taken += rounded;
    reader->no_memory = !memory;
    return memory;
}

static void budget_free(void *user, void *memory)
{
    struct reader *reader = user;
    ssld_free(reader->context, memory);
}

static ssld_status parse(struct reader *reader, ProtobufCAllocator *allocator, Ssld__Onnx__ModelProto **model)
{
    uint8_t *stripped = NULL;
    size_t size = 0;
    uint64_t by_size = (uint64_t)reader->size > (UINT64_MAX - BUDGET_BASE) / BUDGET_FACTOR
                           ? UINT64_MAX : BUDGET_FACTOR * (uint64_t)reader->size + BUDGET_BASE;
    reader->allowed = by_size < reader->limit ? by_size : reader->limit;
    ssld_status status = ssld_onnx_take_payloads_out(reader, &stripped, &size);
    if (status)
        return status;
    *model = ssld__onnx__model_proto__unpack(allocator, size, stripped);
    ssld_free(reader->context, stripped);
    if (*model)
        return SSLD_OK;
    if (reader->no_memory)
        return ssld_fail_memory(reader->context, "an ONNX file", size);
    if (reader->over_budget)
        return ssld_onnx_spend(reader, UINT64_MAX);
    return refuse_file(reader, SSLD_FORMAT, "not an ONNX file, or cut off (%zu bytes)", reader->size);
}

static bool default_domain(const char *domain)
{
    return !domain || !*domain || !strcmp(domain, "ai.onnx");
}

static ssld_status check_model(struct reader *reader, const Ssld__Onnx__ModelProto *model)
{
    int64_t opset = 0;
    for (size_t i = 0; i < model->n_opset_import; i++)
        if (default_domain(model->opset_import[i]->domain))
            opset = model->opset_import[i]->version;
    if (!model->graph)
        return refuse_file(reader, SSLD_FORMAT, "not an ONNX file: it has no graph");
    if (!model->has_ir_version || model->ir_version < LEAST_IR || !opset)
        return refuse_file(reader, SSLD_FORMAT, "not an ONNX file of IR version %d or later with an operator set",
                           LEAST_IR);
    if (opset < LEAST_OPSET)
        return refuse_file(reader, SSLD_UNSUPPORTED, "opset %lld; export the model with opset %d or later (17 suits)",
                           (long long)opset, LEAST_OPSET);
    reader->opset = opset;
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
    struct problems *list = ssld_alloc_zero(reader->context, 1, sizeof *list);
    ssld_status status = list ? SSLD_OK : ssld_fail_memory(reader->context, "the names of an ONNX file", sizeof *list);
    for (size_t n = 0; n < graph->n_node && !status; n++) {
        const onnx_node *node = graph->node[n];
        for (size_t i = 0; i < node->n_input && list->count < MOST_UNDEFINED; i++) {
            const char *name = ssld_onnx_input_name(node, i);
            if (name && !ssld_names_find(&reader->names, name))
                collect(reader, list, refuse_undefined(reader, graph, n, name));
        }
        for (size_t i = 0; i < node->n_output && !status; i++)
            if (*node->output[i])
                status = add_name(reader, node->output[i], ENTRY_OUTPUT, NULL);
    }
    if (!status)
        status = refuse_problems(reader, list);
    ssld_free(reader->context, list);
    return status;
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
    for (size_t n = graph->n_node; n-- > 0;) {
        const onnx_node *node = graph->node[n];
        bool live = false;
        for (size_t i = 0; i < node->n_output && !live; i++)
            live = *node->output[i] && ssld_names_find(&reader->names, node->output[i])->live;
        for (size_t i = 0; i < node->n_input && live; i++) {
            struct entry *input = ssld_onnx_input(reader, node, i);
            if (input)
                input->live = true;
        }
    }
    return SSLD_OK;
}

/* -- The image ---------------------------------------------------------------------------------------------------- */

/* A size the file gives, or `fallback` where it leaves it open. */
static int64_t size_of(const Ssld__Onnx__DimensionProto *dimension, int64_t fallback)
{
    return dimension->has_dim_value && dimension->dim_value != 0 && dimension->dim_value != -1 ? dimension->dim_value
                                                                                               : fallback;
}

static bool is_channels(int64_t size)
{
    return size == 1 || size == 3 || size == 4;
}

/* The graph's input is (1, C, H, W). Where a file has its channels last, as TensorFlow does, what it sees is transposed. */
static ssld_status add_planes(struct reader *reader, const char *name, bool last, int64_t channels, int64_t height,
                              int64_t width)
{
    struct ssld_graph *graph = reader->graph;
    struct operand *operand = &ssld_names_find(&reader->names, name)->operand;
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_TRANSPOSE);
    static const int32_t to_last[4] = { 0, 2, 3, 1 };
    const int64_t dims[4] = { 1, channels, height, width };
    char made_up[256];
    ssld_status status = ssld_graph_add_value(graph, name, SSLD_VALUE_ACTIVATION, 4, dims, NULL, &graph->input);
    operand->value = graph->input;
    operand->view = (struct view){ .ndims = 4, .dims = { 1, channels, height, width, 1, 1 }, .batch = 0, .outer = 1 };
    if (status || !last)
        return status;
    memcpy(attributes.perm, to_last, sizeof to_last);
    ssld_onnx_new_name(reader, name, made_up, sizeof made_up);
    operand->view = (struct view){ .ndims = 4, .dims = { 1, height, width, channels, 1, 1 }, .batch = 0, .outer = 1 };
    return ssld_graph_add_node(graph, SSLD_OP_TRANSPOSE, made_up, 1, &graph->input, &attributes, made_up,
                               &operand->value);
}

/* Any shape, in a row for the graph's sake; its first axis is the batch, or none is. */
static ssld_status add_any(struct reader *reader, const char *name, const Ssld__Onnx__TensorShapeProto *shape,
                           bool rows)
{
    struct ssld_graph *graph = reader->graph;
    struct operand *operand = &ssld_names_find(&reader->names, name)->operand;
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_RESHAPE);
    int64_t dims[4] = { 1, 1, 1, 1 };
    char made_up[256];
    if (shape->n_dim > SSLD_MOST_DIMS || (rows && !shape->n_dim))
        return refuse_file(reader, SSLD_UNSUPPORTED, "input '%.80s' has %zu dimensions", name, shape->n_dim);
    operand->view = (struct view){
        .ndims = (int32_t)shape->n_dim, .dims = { 1, 1, 1, 1, 1, 1 }, .batch = rows ? 0 : -1, .outer = 1
    };
    attributes.rank = shape->n_dim ? (int32_t)shape->n_dim : 1;
    attributes.sizes[0] = 1;
    for (size_t i = rows; i < shape->n_dim; i++) {
        int64_t size = size_of(shape->dim[i], 1);
        operand->view.dims[i] = size;
        if (size < 1 || size > INT32_MAX || (dims[3] *= size) > INT32_MAX)
            return refuse_file(reader, SSLD_FORMAT, "input '%.80s': dimension %zu is %lld", name, i, (long long)size);
        attributes.sizes[i] = (int32_t)size;
    }
    ssld_status status = ssld_graph_add_value(graph, name, SSLD_VALUE_ACTIVATION, 4, dims, NULL, &graph->input);
    ssld_onnx_new_name(reader, name, made_up, sizeof made_up);
    return status ? status
                  : ssld_graph_add_node(graph, SSLD_OP_RESHAPE, made_up, 1, &graph->input, &attributes, made_up,
                                        &operand->value);
}

static ssld_status add_image(struct reader *reader, const Ssld__Onnx__ValueInfoProto *image,
                             const struct ssld_onnx_options *options)
{
    const Ssld__Onnx__TensorTypeProto *type = image->type ? image->type->tensor_type : NULL;
    const Ssld__Onnx__TensorShapeProto *shape = type ? type->shape : NULL;
    /* Bytes are given as floats too: 0 to 255. */
    if (type && !ssld_onnx_type_is_real(type->elem_type) && type->elem_type != ELEMENT_UINT8)
        return refuse_file(reader, SSLD_UNSUPPORTED,
                           "input '%.80s' is of type %s, not float; export the model in float32", image->name,
                           ssld_onnx_type_name(type->elem_type));
    if (shape && options->input != SSLD_ONNX_IMAGES)
        return add_any(reader, image->name, shape, options->input == SSLD_ONNX_ROWS);
    if (!shape || shape->n_dim != 4)
        return refuse_file(reader, SSLD_UNSUPPORTED,
                           "input '%.80s' is not an image of shape (N, channels, height, width)", image->name);
    int64_t first = size_of(shape->dim[1], 0), last = size_of(shape->dim[3], 0), batch = size_of(shape->dim[0], 1);
    bool channels_last = is_channels(last) && !is_channels(first) && (first == 0 || first > 4);
    const Ssld__Onnx__DimensionProto *height = shape->dim[channels_last ? 1 : 2],
                                     *width = shape->dim[channels_last ? 2 : 3];
    int64_t channels = channels_last ? last : first;
    if (channels < 1)
        return refuse_file(reader, SSLD_UNSUPPORTED,
                           "input '%.80s' leaves its number of channels open; export it fixed", image->name);
    reader->fixed_batch = batch > 1 && batch < INT32_MAX ? batch : 1;
    ssld_status status = add_planes(reader, image->name, channels_last, channels, size_of(height, options->height),
                                    size_of(width, options->width));
    return status ? name_file(reader, status) : SSLD_OK;
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
            return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its output %zu '%.80s' is read", i,
                                    node->output[i]);
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
    reader->own_values = reader->graph->value_count;
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
    struct problems *list = ssld_alloc_zero(reader->context, 1, sizeof *list);
    ssld_status status = list ? SSLD_OK : ssld_fail_memory(reader->context, "reading an ONNX file", sizeof *list);
    for (size_t n = 0; n < graph->n_node && !status; n++) {
        const onnx_node *node = graph->node[n];
        if (!node_is_live(reader, node) || !(status = convert_node(reader, node)))
            continue;
        if (collect(reader, list, status))
            break;
        give_up(reader, node);
        status = SSLD_OK;
    }
    if (!status)
        status = refuse_problems(reader, list);
    else if (status != SSLD_OUT_OF_MEMORY && !reader->over_budget)
        status = name_file(reader, status);
    ssld_free(reader->context, list);
    return status;
}

/* -- The whole ---------------------------------------------------------------------------------------------------- */

/* The operators as they are fast: what files spell by parts joined, channels where the engine has them, special operators in
 * the place of general ones. */
static ssld_status bring_into_form(struct ssld_graph *graph)
{
    ssld_status status;
    if ((status = ssld_graph_join_patterns(graph)) || (status = ssld_graph_move_transposes(graph)) ||
        (status = ssld_graph_specialise(graph)) || (status = ssld_graph_join_gates(graph)))
        return status;
    return ssld_graph_remove_unused(graph);
}

/* Logits are asked for: what makes probabilities of them at the very end is left off. */
static void leave_softmax_off(struct ssld_graph *graph)
{
    for (int32_t n = 0; n < graph->node_count; n++) {
        const struct ssld_node *node = &graph->nodes[n];
        bool last_axis = node->attributes.axis == graph->values[node->output].ndims - 1;
        if (node->output == graph->output && (node->kind == SSLD_OP_SOFTMAX || node->kind == SSLD_OP_LOG_SOFTMAX) &&
            last_axis)
            graph->output = node->inputs[0];
    }
}

static ssld_status build(struct reader *reader, const Ssld__Onnx__GraphProto *proto,
                         const struct ssld_onnx_options *options)
{
    const Ssld__Onnx__ValueInfoProto *image;
    ssld_status status;
    if ((status = add_sources(reader, proto, &image)) || (status = add_nodes(reader, proto)) ||
        (status = mark_live(reader, proto)))
        return status;
    const char *name = proto->name && *proto->name ? proto->name : reader->file;
    if ((status = ssld_graph_create(reader->context, name, &reader->graph)) ||
        (status = add_image(reader, image, options)) || (status = convert_nodes(reader, proto)))
        return status;
    const struct operand *output = &ssld_names_find(&reader->names, reader->output)->operand;
    if (output->constant && options->input != SSLD_ONNX_IMAGES) {
        const int64_t *dims = output->view.dims;
        return ssld_onnx_add_constant(reader, proto->node[proto->n_node - 1], output->constant, SSLD_VALUE_BUFFER,
                                      output->view.ndims ? output->view.ndims : 1, dims, false, &reader->graph->output);
    }
    if (output->value == SSLD_NO_VALUE || output->constant)
        return refuse_file(reader, SSLD_FORMAT, "its output '%.80s' does not depend on its input", reader->output);
    reader->graph->output = output->value;
    if (!options->keep_softmax)
        leave_softmax_off(reader->graph);
    if ((status = bring_into_form(reader->graph)) || (status = ssld_graph_check(reader->graph)))
        return status == SSLD_INVALID_ARGUMENT ? name_file(reader, status) : status;
    return SSLD_OK;
}

ssld_status ssld_onnx_read_with(ssld_context *context, const void *bytes, size_t size, const char *name,
                                const struct ssld_onnx_options *options, struct ssld_graph **graph)
{
    struct reader reader = { .context = context, .file = name, .folder = options->folder, .bytes = bytes, .size = size,
                             .fixed_batch = 1, .names = { .context = context },
                             .limit = options->memory_limit ? options->memory_limit : SSLD_ONNX_MEMORY_LIMIT };
    ProtobufCAllocator allocator = { budget_alloc, budget_free, &reader };
    Ssld__Onnx__ModelProto *model = NULL;
    ssld_status status = parse(&reader, &allocator, &model);
    if (!status)
        status = check_model(&reader, model);
    if (!status)
        status = build(&reader, model->graph, options);
    if (!status)
        *graph = reader.graph;
    else
        ssld_graph_destroy(reader.graph);
    ssld_onnx_free_constants(&reader);
    ssld_names_free(&reader.names);
    if (model)
        ssld__onnx__model_proto__free_unpacked(model, &allocator);
    return status;
}

ssld_status ssld_onnx_read(ssld_context *context, const void *bytes, size_t size, const char *name, int32_t height,
                           int32_t width, struct ssld_graph **graph)
{
    return ssld_onnx_read_with(context, bytes, size, name,
                               &(struct ssld_onnx_options){ .height = height, .width = width }, graph);
}

ssld_status ssld_onnx_read_file(ssld_context *context, const char *path, const struct ssld_onnx_options *options,
                                struct ssld_graph **graph)
{
    struct ssld_onnx_options own = *options;
    struct ssld_map map = { NULL, 0 };
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    char *folder = NULL;
    ssld_status status = ssld_map_open(context, path, &map);
    if (status)
        return status;
    if (!own.folder) {
        folder = ssld_strdup(context, !slash ? "." : length ? path : "/");
        if (!folder) {
            status = ssld_fail_memory(context, "the name of a folder", length);
            goto done;
        }
        if (length)
            folder[length] = 0;
        own.folder = folder;
    }
    status = ssld_onnx_read_with(context, map.bytes, map.size, path, &own, graph);
done:
    ssld_free(context, folder);
    ssld_map_close(&map);
    return status;
}
