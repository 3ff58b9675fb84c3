/* SPDX-License-Identifier: BSD-2-Clause */
/* model.c - the public face of a graph: made by name, from ONNX or by a student; asked for its sizes and its fingerprint. */
#include "distill/model.h"

#include <stddef.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "onnx/onnx.h"

#define MOST_CLASSES (1 << 20)
#define MOST_PIXELS 16384 /* height or width of an input */
#define DEFAULT_CLASSES 1000
#define DEFAULT_CHANNELS 3
#define DEFAULT_SIZE 224
#define DEFAULT_SMALL_SIZE 32

void ssld_model_options_init(ssld_model_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

void ssld_model_load_options_init(ssld_model_load_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

/* -- Making ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_model_adopt(ssld_context *context, struct ssld_graph *graph, ssld_model **model)
{
    ssld_model *made = NULL;
    ssld_status status = ssld_graph_check(graph);
    if (status)
        goto fail;
    const struct ssld_value *input = &graph->values[graph->input], *output = &graph->values[graph->output];
    if (input->ndims != 4 || output->ndims != 2) {
        status = ssld_fail(context, SSLD_UNSUPPORTED,
                           "%s: no image classifier: its input has %d dimensions, its output %d; (N, channels, height, width) "
                           "and (N, classes) are needed", graph->name, input->ndims, output->ndims);
        goto fail;
    }
    made = ssld_alloc_zero(context, 1, sizeof *made);
    if (!made) {
        status = ssld_fail_memory(context, "a model", sizeof *made);
        goto fail;
    }
    made->context = context;
    made->graph = graph;
    *model = made;
    return SSLD_OK;
fail:
    ssld_graph_destroy(graph);
    return status;
}

void ssld_model_destroy(ssld_model *model)
{
    if (!model)
        return;
    ssld_graph_destroy(model->graph);
    ssld_free(model->context, model);
}

static int32_t or_default(int32_t given, int32_t otherwise)
{
    return given ? given : otherwise;
}

/* An option outside its range, with the range. */
static ssld_status check_range(ssld_context *context, const char *function, const char *option, int32_t value, int32_t least,
                               int32_t most)
{
    if (value >= least && value <= most)
        return SSLD_OK;
    return ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: %s is %d; it must be %d to %d", function, option, value, least, most);
}

static ssld_status resolve_options(ssld_context *context, const ssld_model_options *options, struct ssld_zoo_options *zoo)
{
    static const char function[] = "ssld_model_create";
    bool small = options->variant == SSLD_VARIANT_SMALL;
    ssld_status status;
    zoo->classes = or_default(options->classes, DEFAULT_CLASSES);
    zoo->channels = or_default(options->channels, DEFAULT_CHANNELS);
    zoo->height = or_default(options->height, small ? DEFAULT_SMALL_SIZE : DEFAULT_SIZE);
    zoo->width = or_default(options->width, zoo->height);
    zoo->small = small;
    zoo->seed = options->seed;
    /* Here 0 is the network's own and negative none; in the zoo it is the other way round. */
    zoo->dropout = options->dropout == 0 ? -1 : options->dropout < 0 ? 0 : options->dropout;
    if ((status = check_range(context, function, "variant", options->variant, SSLD_VARIANT_STANDARD, SSLD_VARIANT_SMALL)) ||
        (status = check_range(context, function, "classes", zoo->classes, 1, MOST_CLASSES)) ||
        (status = check_range(context, function, "height", zoo->height, 1, MOST_PIXELS)) ||
        (status = check_range(context, function, "width", zoo->width, 1, MOST_PIXELS)))
        return status;
    if (zoo->channels != 1 && zoo->channels != 3)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: channels is %d; it must be 1 or 3", function, zoo->channels);
    if (!(zoo->dropout < 1))
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: dropout is %g; it must be below 1", function,
                         (double)options->dropout);
    return SSLD_OK;
}

ssld_status ssld_model_create(ssld_context *context, const char *name, const ssld_model_options *given, ssld_model **model)
{
    ssld_model_options options;
    struct ssld_zoo_options zoo;
    struct ssld_graph *graph = NULL;
    ssld_status status = ssld_options_take(context, "ssld_model_create", &options, sizeof options, given, sizeof options);
    if (!status)
        status = resolve_options(context, &options, &zoo);
    if (!status)
        status = ssld_zoo_build(context, name, &zoo, &graph);
    return status ? status : ssld_model_adopt(context, graph, model);
}

const char *ssld_model_zoo_name(int32_t index)
{
    return ssld_zoo_name(index);
}

/* -- Files -------------------------------------------------------------------------------------------------------- */

static ssld_status take_load_options(ssld_context *context, const ssld_model_load_options *given,
                                     struct ssld_onnx_options *onnx)
{
    static const char function[] = "ssld_model_load";
    ssld_model_load_options options;
    const size_t first_size = offsetof(ssld_model_load_options, memory_limit);
    ssld_status status = ssld_options_take(context, function, &options, sizeof options, given, first_size);
    if (status)
        return status;
    int32_t height = or_default(options.height, DEFAULT_SIZE), width = or_default(options.width, height);
    *onnx = (struct ssld_onnx_options){ .height = height, .width = width, .memory_limit = options.memory_limit };
    if ((status = check_range(context, function, "height", height, 1, MOST_PIXELS)))
        return status;
    return check_range(context, function, "width", width, 1, MOST_PIXELS);
}

ssld_status ssld_model_load_memory(ssld_context *context, const void *bytes, size_t size, const char *name,
                                   const ssld_model_load_options *given, ssld_model **model)
{
    struct ssld_onnx_options options;
    struct ssld_graph *graph = NULL;
    ssld_status status = take_load_options(context, given, &options);
    if (!status)
        status = ssld_onnx_read_with(context, bytes, size, name, &options, &graph);
    return status ? status : ssld_model_adopt(context, graph, model);
}

ssld_status ssld_model_load(ssld_context *context, const char *path, const ssld_model_load_options *given,
                            ssld_model **model)
{
    struct ssld_onnx_options options;
    struct ssld_graph *graph = NULL;
    ssld_status status = take_load_options(context, given, &options);
    if (!status)
        status = ssld_onnx_read_file(context, path, &options, &graph);
    return status ? status : ssld_model_adopt(context, graph, model);
}

ssld_status ssld_model_save(const ssld_model *model, const char *path)
{
    return ssld_onnx_write(model->graph, path);
}

/* -- Questions ---------------------------------------------------------------------------------------------------- */

ssld_status ssld_model_get_info(const ssld_model *model, ssld_model_info *info)
{
    const struct ssld_graph *graph = model->graph;
    const struct ssld_value *input = &graph->values[graph->input];
    ssld_model_info own = {
        .struct_size = sizeof own,
        .classes = (int32_t)graph->values[graph->output].dims[1],
        .channels = (int32_t)input->dims[1],
        .height = (int32_t)input->dims[2],
        .width = (int32_t)input->dims[3],
        .nodes = graph->node_count,
        .macs = ssld_graph_macs(graph),
    };
    for (int32_t n = 0; n < graph->node_count; n++)
        own.batch_norms += graph->nodes[n].kind == SSLD_OP_BATCH_NORM;
    for (int32_t i = 0; i < graph->value_count; i++) {
        const struct ssld_value *value = &graph->values[i];
        int64_t elements = ssld_value_elements(value);
        own.parameters += value->role == SSLD_VALUE_PARAMETER ? elements : 0;
        own.buffers += value->role == SSLD_VALUE_BUFFER ? elements : 0;
    }
    return ssld_info_give(model->context, "ssld_model_get_info", info, &own, sizeof own);
}

/* Does a node before the one at `index` read the constant? */
static bool read_before(const struct ssld_graph *graph, int32_t index, int32_t value)
{
    for (int32_t n = 0; n < index; n++)
        for (int32_t i = 0; i < graph->nodes[n].input_count; i++)
            if (graph->nodes[n].inputs[i] == value)
                return true;
    return false;
}

static bool has_window(int32_t kind)
{
    return kind == SSLD_OP_CONV || kind == SSLD_OP_MAX_POOL || kind == SSLD_OP_AVERAGE_POOL;
}

void ssld_model_dims(const struct ssld_value *value, int64_t dims[8])
{
    for (int32_t d = 0; d < 8; d++)
        dims[d] = 1;
    for (int32_t d = 0; d < value->ndims; d++)
        dims[d] = value->dims[d];
}

ssld_status ssld_model_get_layer(const ssld_model *model, int32_t index, ssld_layer *layer)
{
    const struct ssld_graph *graph = model->graph;
    ssld_layer own = { .struct_size = sizeof own };
    if (index < 0 || index >= graph->node_count)
        return ssld_fail(model->context, SSLD_INVALID_ARGUMENT, "ssld_model_get_layer: layer %d; %s has %d", index, graph->name,
                         graph->node_count);
    const struct ssld_node *node = &graph->nodes[index];
    const struct ssld_value *output = &graph->values[node->output];
    own.name = node->name;
    own.kind = ssld_node_operator(node);
    own.output = output->name;
    own.macs = ssld_ops[node->kind].macs ? ssld_ops[node->kind].macs(graph, node) : 0;
    own.group = node->kind == SSLD_OP_CONV ? node->attributes.group : 0;
    own.ndims = output->ndims;
    ssld_model_dims(output, own.dims);
    for (int32_t d = 0; d < 2 && has_window(node->kind); d++) {
        own.kernel[d] = node->attributes.window.kernel[d];
        own.strides[d] = node->attributes.window.strides[d];
    }
    for (int32_t i = 0; i < node->input_count; i++) {
        const struct ssld_value *value = node->inputs[i] == SSLD_NO_VALUE ? NULL : &graph->values[node->inputs[i]];
        if (!value || value->role == SSLD_VALUE_ACTIVATION || read_before(graph, index, node->inputs[i]))
            continue;
        *(value->role == SSLD_VALUE_PARAMETER ? &own.parameters : &own.buffers) += ssld_value_elements(value);
    }
    return ssld_info_give(model->context, __func__, layer, &own, sizeof own);
}

const char *ssld_model_name(const ssld_model *model)
{
    return model->graph->name;
}

/* -- The fingerprint ---------------------------------------------------------------------------------------------- */

/* Floats as they are in memory of a little-endian machine, whatever this one is. */
static void hash_floats(struct ssld_hash *hash, const float *floats, int64_t count)
{
    uint8_t bytes[4096];
    const int64_t batch = (int64_t)(sizeof bytes / 4);
    for (int64_t first = 0; first < count; first += batch) {
        int64_t now = count - first < batch ? count - first : batch;
        for (int64_t i = 0; i < now; i++) {
            uint32_t bits;
            memcpy(&bits, &floats[first + i], sizeof bits);
            for (int byte = 0; byte < 4; byte++)
                bytes[4 * i + byte] = (uint8_t)(bits >> 8 * byte);
        }
        ssld_hash_add(hash, bytes, (size_t)now * 4);
    }
}

static void hash_float(struct ssld_hash *hash, float number)
{
    hash_floats(hash, &number, 1);
}

static void hash_attributes(struct ssld_hash *hash, const struct ssld_node *node)
{
    for (const struct ssld_attribute *place = ssld_ops[node->kind].attributes; place->name; place++) {
        const char *src = (const char *)&node->attributes + place->offset;
        for (int32_t i = 0; i < place->count; i++) {
            int32_t number;
            float fraction;
            memcpy(&number, src + 4 * i, 4);
            memcpy(&fraction, src + 4 * i, 4);
            if (place->type == SSLD_ATTRIBUTE_FLOAT)
                hash_float(hash, fraction);
            else
                ssld_hash_add_u64(hash, (uint64_t)(int64_t)number);
        }
    }
    ssld_hash_add_u64(hash, (uint64_t)node->activation.kind);
    hash_float(hash, node->activation.alpha);
    hash_float(hash, node->activation.beta);
}

/* Values are numbered in the order in which nodes name them, so that order in memory does not matter. A constant is hashed
 * with its data when it is numbered. */
struct numbering {
    int32_t *numbers; /* of each value; 0: none yet */
    int32_t  count;
};

static void hash_value(struct ssld_hash *hash, const struct ssld_graph *graph, struct numbering *numbering, int32_t index)
{
    if (index == SSLD_NO_VALUE) {
        ssld_hash_add_u64(hash, 0);
        return;
    }
    const struct ssld_value *value = &graph->values[index];
    bool first = !numbering->numbers[index];
    if (first)
        numbering->numbers[index] = ++numbering->count;
    ssld_hash_add_u64(hash, (uint64_t)numbering->numbers[index]);
    if (!first || !value->data)
        return;
    for (int32_t i = 0; i < value->ndims; i++)
        ssld_hash_add_u64(hash, (uint64_t)value->dims[i]);
    hash_floats(hash, value->data, ssld_value_elements(value));
}

/* What inference does not see does not count, and dropout's factor counts as one: a model has the fingerprint of the file it
 * is written to. */
static void hash_node(struct ssld_hash *hash, const struct ssld_graph *graph, struct numbering *numbering,
                      const struct ssld_node *node)
{
    bool dropout = node->kind == SSLD_OP_DROPOUT;
    if (node->kind == SSLD_OP_IDENTITY || (dropout && !node->attributes.downscale_in_infer)) {
        numbering->numbers[node->output] = numbering->numbers[node->inputs[0]];
        return;
    }
    struct ssld_node seen = *node;
    if (dropout) {
        seen.kind = SSLD_OP_SCALE;
        seen.attributes.scale = 1.0f - node->attributes.ratio;
    }
    ssld_hash_add_text(hash, ssld_ops[seen.kind].name);
    for (int32_t i = 0; i < node->input_count; i++)
        hash_value(hash, graph, numbering, node->inputs[i]);
    hash_value(hash, graph, numbering, node->output);
    hash_attributes(hash, &seen);
}

void ssld_model_fingerprint(const ssld_model *model, uint8_t fingerprint[16])
{
    const struct ssld_graph *graph = model->graph;
    const struct ssld_value *input = &graph->values[graph->input];
    struct numbering numbering = { ssld_alloc_zero(model->context, (size_t)graph->value_count, sizeof(int32_t)), 0 };
    struct ssld_hash *hash = ssld_hash_create(model->context);
    memset(fingerprint, 0, 16); /* stays so without memory: no model's fingerprint */
    if (hash && numbering.numbers) {
        hash_value(hash, graph, &numbering, graph->input);
        for (int32_t i = 1; i < input->ndims; i++)
            ssld_hash_add_u64(hash, (uint64_t)input->dims[i]);
        for (int32_t n = 0; n < graph->node_count; n++)
            hash_node(hash, graph, &numbering, &graph->nodes[n]);
        hash_value(hash, graph, &numbering, graph->output);
    }
    if (hash) {
        uint8_t print[16];
        ssld_hash_finish(hash, print);
        if (numbering.numbers)
            memcpy(fingerprint, print, 16);
    }
    ssld_free(model->context, numbering.numbers);
}

/* -- Precision ---------------------------------------------------------------------------------------------------- */

ssld_status ssld_precision_take(ssld_context *context, const char *function, int32_t precision,
                                struct ssld_plan_options *options)
{
    if (precision < SSLD_PRECISION_DEFAULT || precision > SSLD_PRECISION_AUTO)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: precision %d is no SSLD_PRECISION_x", function, precision);
    options->precision = precision;
    return SSLD_OK;
}
