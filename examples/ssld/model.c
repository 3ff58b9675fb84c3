/* SPDX-License-Identifier: BSD-2-Clause */
/* model.c - `ssld model info`: a network's sizes, operators and layers; or all that is not supported of a file at once. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

struct model_values {
    const char *model;
    int32_t size, classes, variant;
    bool json;
};

/* How many nodes there are of an operator. */
struct operator_count {
    const char *kind;
    int32_t     count;
};

struct description {
    ssld_model_info        info;
    ssld_layer            *layers;
    struct operator_count *operators; /* most frequent first */
    int32_t                operator_count;
    uint8_t                fingerprint[16];
};

/* -- Asking ------------------------------------------------------------------------------------------------------- */

static int most_frequent_first(const void *a, const void *b)
{
    const struct operator_count *left = a, *right = b;
    return left->count != right->count ? right->count - left->count : strcmp(left->kind, right->kind);
}

static void count_operator(struct description *d, const char *kind)
{
    int32_t i = 0;
    while (i < d->operator_count && strcmp(d->operators[i].kind, kind) != 0)
        i++;
    if (i == d->operator_count)
        d->operators[d->operator_count++].kind = kind;
    d->operators[i].count++;
}

static ssld_status describe(const ssld_model *model, struct description *d)
{
    d->info.struct_size = sizeof d->info;
    ssld_status status = ssld_model_get_info(model, &d->info);
    if (status)
        return status;
    size_t nodes = (size_t)d->info.nodes + 1; /* calloc may answer NULL to 0 */
    d->layers = calloc(nodes, sizeof *d->layers);
    d->operators = calloc(nodes, sizeof *d->operators);
    if (!d->layers || !d->operators)
        return SSLD_OUT_OF_MEMORY;
    for (int32_t i = 0; i < d->info.nodes; i++) {
        d->layers[i].struct_size = sizeof d->layers[i];
        if ((status = ssld_model_get_layer(model, i, &d->layers[i])))
            return status;
        count_operator(d, d->layers[i].kind);
    }
    qsort(d->operators, (size_t)d->operator_count, sizeof *d->operators, most_frequent_first);
    ssld_model_fingerprint(model, d->fingerprint);
    return SSLD_OK;
}

/* -- For people --------------------------------------------------------------------------------------------------- */

/* "16 x 112 x 112": the axes behind the first, which is shown only where an image has several rows. */
static const char *shape_text(const ssld_layer *layer, char *text, size_t size)
{
    size_t used = 0;
    *text = 0;
    for (int32_t d = layer->ndims > 1 && layer->dims[0] == 1 ? 1 : 0; d < layer->ndims && used < size; d++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, used ? " x " : "", layer->dims[d]);
    return text;
}

/* "Conv 3x3 /2 in 16 groups" */
static const char *operator_text(const ssld_layer *layer, char *text, size_t size)
{
    int used = snprintf(text, size, "%s", layer->kind);
    if (layer->kernel[0] && (size_t)used < size)
        used += snprintf(text + used, size - (size_t)used, " %dx%d", layer->kernel[0], layer->kernel[1]);
    if (layer->strides[0] > 1 && (size_t)used < size)
        used += snprintf(text + used, size - (size_t)used, " /%d", layer->strides[0]);
    if (layer->group > 1 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, ", %d groups", layer->group);
    return text;
}

static void print_count(int64_t count, int width)
{
    if (count)
        printf(" %*" PRId64, width, count);
    else
        printf(" %*s", width, "-");
}

static void print_layers(const struct description *d)
{
    char operator[96], shape[96];
    int operators = 8, shapes = 6;
    for (int32_t i = 0; i < d->info.nodes; i++) {
        int length = (int)strlen(operator_text(&d->layers[i], operator, sizeof operator));
        operators = length > operators ? length : operators;
        length = (int)strlen(shape_text(&d->layers[i], shape, sizeof shape));
        shapes = length > shapes ? length : shapes;
    }
    printf("\n%4s  %-*s  %-*s %11s %13s  %s\n", "", operators, "operator", shapes, "output", "parameters", "mult-adds", "tensor");
    for (int32_t i = 0; i < d->info.nodes; i++) {
        const ssld_layer *layer = &d->layers[i];
        printf("%4" PRId32 "  %-*s  %-*s", i, operators, operator_text(layer, operator, sizeof operator), shapes,
               shape_text(layer, shape, sizeof shape));
        print_count(layer->parameters, 11);
        print_count(layer->macs, 13);
        printf("  %s\n", layer->output ? layer->output : "");
    }
}

static void print_lines(const char *path, const char *name, const struct description *d)
{
    const ssld_model_info *info = &d->info;
    printf("model        %s", name && *name ? name : path);
    printf("%s%s\n", is_model_file(path) ? ", from " : ", freshly initialised", is_model_file(path) ? path : "");
    printf("input        %d x %d x %d (channels, height, width)\n", info->channels, info->height, info->width);
    printf("output       %d classes\n", info->classes);
    printf("parameters   %.3f million, %.1f MB in f32", 1e-6 * (double)info->parameters, 4e-6 * (double)info->parameters);
    if (info->buffers)
        printf("; %.3f million other constants", 1e-6 * (double)info->buffers);
    printf("\nmult-adds    %.1f million an image\noperators   ", 1e-6 * (double)info->macs);
    for (int32_t i = 0; i < d->operator_count; i++)
        printf("%s %s %d", i ? "," : "", d->operators[i].kind, d->operators[i].count);
    printf("\nfingerprint  ");
    for (int i = 0; i < 16; i++)
        printf("%02x", d->fingerprint[i]);
    printf("\n");
    print_layers(d);
}

/* -- For programs ------------------------------------------------------------------------------------------------- */

static void print_pair(const char *name, const int32_t pair[2])
{
    if (pair[0])
        printf(",\"%s\":[%d,%d]", name, pair[0], pair[1]);
}

static void print_json_layer(const ssld_layer *layer)
{
    printf("{\"name\":");
    print_json_text(stdout, layer->name ? layer->name : "");
    printf(",\"operator\":");
    print_json_text(stdout, layer->kind);
    printf(",\"output\":");
    print_json_text(stdout, layer->output ? layer->output : "");
    printf(",\"dims\":[");
    for (int32_t i = 0; i < layer->ndims; i++)
        printf("%s%" PRId64, i ? "," : "", layer->dims[i]);
    printf("],\"parameters\":%" PRId64 ",\"buffers\":%" PRId64 ",\"macs\":%" PRId64, layer->parameters, layer->buffers,
           layer->macs);
    print_pair("kernel", layer->kernel);
    print_pair("strides", layer->strides);
    if (layer->group)
        printf(",\"group\":%d", layer->group);
    printf("}");
}

static void print_json(const char *path, const char *name, const struct description *d)
{
    const ssld_model_info *info = &d->info;
    printf("{\"model\":");
    print_json_text(stdout, path);
    printf(",\"supported\":true,\"name\":");
    print_json_text(stdout, name ? name : "");
    printf(",\"input\":[%d,%d,%d],\"classes\":%d,\"parameters\":%" PRId64 ",\"buffers\":%" PRId64 ",\"macs\":%" PRId64
           ",\"nodes\":%d,\"fingerprint\":\"", info->channels, info->height, info->width, info->classes, info->parameters,
           info->buffers, info->macs, info->nodes);
    for (int i = 0; i < 16; i++)
        printf("%02x", d->fingerprint[i]);
    printf("\",\"operators\":{");
    for (int32_t i = 0; i < d->operator_count; i++) {
        printf("%s", i ? "," : "");
        print_json_text(stdout, d->operators[i].kind);
        printf(":%d", d->operators[i].count);
    }
    printf("},\"layers\":[");
    for (int32_t i = 0; i < info->nodes; i++) {
        printf("%s", i ? "," : "");
        print_json_layer(&d->layers[i]);
    }
    printf("]}\n");
}

/* What a file has that cannot be run; the text is on standard error too. */
static void print_json_unsupported(struct program *program, const char *path)
{
    size_t length = ssld_context_error(program->context, NULL, 0);
    char *text = malloc(length + 1);
    if (!text)
        return;
    ssld_context_error(program->context, text, length + 1);
    printf("{\"model\":");
    print_json_text(stdout, path);
    printf(",\"supported\":false,\"problem\":");
    print_json_text(stdout, text);
    printf("}\n");
    free(text);
}

/* -- The command -------------------------------------------------------------------------------------------------- */

static int run(struct program *program, const void *given)
{
    const struct model_values *values = given;
    struct description d = { .layers = NULL };
    ssld_model *model = NULL;
    ssld_model_options options;
    int code = 0;
    if (!program_open(program, 0, NULL))
        return EXIT_WORK;
    ssld_model_options_init(&options, sizeof options);
    options.classes = values->classes;
    options.height = values->size;
    options.variant = values->variant;
    ssld_status status = model_open(program, values->model, &options, &model);
    if (status == SSLD_UNSUPPORTED && values->json)
        print_json_unsupported(program, values->model);
    if (!status)
        status = describe(model, &d);
    if (status)
        code = program_fail(program, status);
    else if (values->json)
        print_json(values->model, ssld_model_name(model), &d);
    else
        print_lines(values->model, ssld_model_name(model), &d);
    free(d.layers);
    free(d.operators);
    ssld_model_destroy(model);
    return program_close(program, code);
}

#define AT(field) offsetof(struct model_values, field)

static const struct option options_of_info[] = {
    { "MODEL", "MODEL", OPTION_TEXT, AT(model), .required = true,
      .help = "an ONNX file, or a network's name, for example PPLCNet_x1_0" },
    { "size", "S", OPTION_INT, AT(size), .least = 1, .most = 16384,
      .help = "height and width of the images where the network leaves them open; without it mostly 224" },
    { "classes", "C", OPTION_INT, AT(classes), .initial = "1000", .least = 1, .most = 1000000,
      .help = "classes of a network that is built by name" },
    { "variant", "V", OPTION_CHOICE, AT(variant), .initial = "standard", .choices = "standard|small",
      .help = "of a network that is built by name; small: for images of 28 to 64 pixels" },
    { "json", NULL, OPTION_FLAG, AT(json), .help = "one JSON object" },
    { .name = NULL }
};

const struct command model_info_command = {
    "model info", "list a network's layers, shapes, parameters and operations",
    "Of a file that cannot be run it says everything that is not supported, node by node. The last column\n"
    "has the names by which hosts ask a teacher for intermediate outputs.\n",
    "  ssld model info teacher.onnx", options_of_info, sizeof(struct model_values), run
};
