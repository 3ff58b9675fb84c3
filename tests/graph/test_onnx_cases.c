/* SPDX-License-Identifier: BSD-2-Clause */
/* The ONNX project's node test data: test_onnx_cases [FOLDER [PART OF A NAME]]. TAP, one test for each operator's cases.
 *
 * A case is a model of one node (or a few), its inputs and its outputs. One input, the first of a real type, becomes the image,
 * the others constants of the file, as they are in networks. The graph's tensors are those of one image, so a case is run as
 * one image none of whose axes is the batch; where an operator wants a batch (Conv, pooling, norms), its first axis is. Then
 * once more with all inputs constants, which folding must compute. Each output of several is asked for in turn.
 *
 * What is not run is listed with its reason: an operator this library does not have, or the text that the file is refused
 * with. */
#include "test.h"

#include <dirent.h>
#include <math.h>

#include "core/file.h"
#include "engine/engine.h"
#include "onnx.pb-c.h"
#include "onnx/onnx.h"
#include "onnx/operators.h"

#define DEBIAN_FOLDER "/usr/share/libonnx-testdata/data/node"
#define MOST_CASES 4096
#define MOST_TENSORS 32
#define LEAST_CASES 300 /* of 932 in libonnx-testdata 1.12 */

typedef Ssld__Onnx__ModelProto  model_proto;
typedef Ssld__Onnx__TensorProto tensor_proto;

struct array {
    int64_t elements;
    double *numbers;
    double  tolerance; /* relative */
};

struct test_case {
    char          name[256];
    model_proto  *model;
    tensor_proto *inputs[MOST_TENSORS], *outputs[MOST_TENSORS];
    int           input_count, output_count;
};

static char names[MOST_CASES][128];
static int  computed, folded, skipped, failed;

/* -- Numbers ------------------------------------------------------------------------------------------------------ */

static double half_to_double(uint32_t half)
{
    int exponent = (int)(half >> 10 & 31);
    double fraction = half & 1023, number = exponent == 31 ? (fraction != 0 ? NAN : INFINITY)
                                            : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                                           : ldexp(fraction, -24);
    return half >> 15 ? -number : number;
}

static double raw_number(int type, const uint8_t *raw)
{
    float f;
    double d;
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    switch (type) {
    case 1: memcpy(&f, raw, 4); return f;
    case 2: case 9: return *raw;
    case 3: return *(const int8_t *)raw;
    case 4: memcpy(&u16, raw, 2); return u16;
    case 5: memcpy(&i16, raw, 2); return i16;
    case 6: memcpy(&i32, raw, 4); return i32;
    case 7: memcpy(&i64, raw, 8); return (double)i64;
    case 10: memcpy(&u16, raw, 2); return half_to_double(u16);
    case 11: memcpy(&d, raw, 8); return d;
    case 12: memcpy(&u32, raw, 4); return u32;
    case 13: memcpy(&u64, raw, 8); return (double)u64;
    case 16: memcpy(&u16, raw, 2); u32 = (uint32_t)u16 << 16; memcpy(&f, &u32, 4); return f;
    default: return NAN;
    }
}

static struct array array_of(const tensor_proto *tensor)
{
    static const int sizes[] = { 0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 0, 0, 2 };
    struct array array = { .elements = 1,
                           .tolerance = tensor->data_type == 16   ? 1e-2
                                        : tensor->data_type == 10 ? 2e-3
                                                                  : 1e-3 };
    for (size_t i = 0; i < tensor->n_dims; i++)
        array.elements *= tensor->dims[i];
    array.numbers = calloc((size_t)array.elements + 1, sizeof *array.numbers);
    for (int64_t i = 0; i < array.elements; i++) {
        if (tensor->has_raw_data && tensor->data_type < 17)
            array.numbers[i] = raw_number(tensor->data_type, tensor->raw_data.data + i * sizes[tensor->data_type]);
        else if (tensor->n_float_data)
            array.numbers[i] = tensor->float_data[i];
        else if (tensor->n_int64_data)
            array.numbers[i] = (double)tensor->int64_data[i];
        else if (tensor->n_double_data)
            array.numbers[i] = tensor->double_data[i];
        else if (tensor->n_int32_data)
            array.numbers[i] =
                tensor->data_type == 10 ? half_to_double((uint32_t)tensor->int32_data[i]) : tensor->int32_data[i];
    }
    return array;
}

/* The project's own comparison: relative 1e-3, absolute 1e-7. Reals are computed in float32 here whatever the case has, so where it
 * rounds to float16 or bfloat16, to 2^-11 or 2^-8 of a number, each of its steps may be off by that much: some steps' worth. */
static int64_t first_difference(const struct array *wanted, const float *got)
{
    for (int64_t i = 0; i < wanted->elements; i++) {
        double a = wanted->numbers[i], b = got[i];
        bool same = isnan(a) ? isnan(b) : isinf(a) ? a == b : fabs(a - b) <= 1e-7 + wanted->tolerance * fabs(a);
        if (!same)
            return i;
    }
    return -1;
}

/* -- Cases -------------------------------------------------------------------------------------------------------- */

static ssld_context *context;

static tensor_proto *read_tensor(const char *path)
{
    struct ssld_map map;
    if (ssld_map_open(context, path, &map))
        return NULL;
    tensor_proto *tensor = ssld__onnx__tensor_proto__unpack(NULL, map.size, map.bytes);
    ssld_map_close(&map);
    return tensor;
}

static int read_tensors(const char *folder, const char *name, const char *kind, tensor_proto **tensors)
{
    char path[1024];
    int count = 0;
    for (; count < MOST_TENSORS; count++) {
        snprintf(path, sizeof path, "%s/%.200s/test_data_set_0/%s_%d.pb", folder, name, kind, count);
        if (!(tensors[count] = read_tensor(path)))
            break;
    }
    return count;
}

static bool read_case(const char *folder, const char *name, struct test_case *test)
{
    char path[1024];
    struct ssld_map map;
    memset(test, 0, sizeof *test);
    snprintf(test->name, sizeof test->name, "%.200s", name);
    snprintf(path, sizeof path, "%s/%.200s/model.onnx", folder, name);
    if (ssld_map_open(context, path, &map))
        return false;
    test->model = ssld__onnx__model_proto__unpack(NULL, map.size, map.bytes);
    ssld_map_close(&map);
    test->input_count = read_tensors(folder, name, "input", test->inputs);
    test->output_count = read_tensors(folder, name, "output", test->outputs);
    return test->model && test->model->graph;
}

static void free_case(struct test_case *test)
{
    if (test->model)
        ssld__onnx__model_proto__free_unpacked(test->model, NULL);
    for (int i = 0; i < test->input_count; i++)
        ssld__onnx__tensor_proto__free_unpacked(test->inputs[i], NULL);
    for (int i = 0; i < test->output_count; i++)
        ssld__onnx__tensor_proto__free_unpacked(test->outputs[i], NULL);
}

/* -- Running ------------------------------------------------------------------------------------------------------ */

/* The model with input `image` (-1: none of its own) as its only input and the others as constants; `output` comes first. Parts
 * of the message are borrowed. */
static uint8_t *make_file(const struct test_case *test, int image, int output, size_t *size)
{
    static char nobody[] = "ssld.nobody_reads_this";
    Ssld__Onnx__GraphProto *from = test->model->graph, graph = *from;
    model_proto model = *test->model;
    Ssld__Onnx__OperatorSetIdProto opset = *test->model->opset_import[0], *opsets[1] = { &opset };
    tensor_proto constants[MOST_TENSORS], *initializers[2 * MOST_TENSORS];
    Ssld__Onnx__ValueInfoProto info = SSLD__ONNX__VALUE_INFO_PROTO__INIT, *inputs[1] = { &info }, *outputs[1];
    Ssld__Onnx__TypeProto type = SSLD__ONNX__TYPE_PROTO__INIT;
    Ssld__Onnx__TensorTypeProto tensor = SSLD__ONNX__TENSOR_TYPE_PROTO__INIT;
    Ssld__Onnx__TensorShapeProto shape = SSLD__ONNX__TENSOR_SHAPE_PROTO__INIT;
    Ssld__Onnx__DimensionProto dims[16], *dim_list[16];
    size_t count = 0;
    for (size_t i = 0; i < from->n_initializer && i < MOST_TENSORS; i++)
        initializers[count++] = from->initializer[i];
    for (int i = 0; i < test->input_count; i++) {
        constants[i] = *test->inputs[i];
        constants[i].name = from->input[i]->name;
        if (i != image)
            initializers[count++] = &constants[i];
    }
    for (size_t i = 0; image >= 0 && i < test->inputs[image]->n_dims && i < 16; i++) {
        ssld__onnx__dimension_proto__init(&dims[i]);
        dims[i].has_dim_value = 1;
        dims[i].dim_value = test->inputs[image]->dims[i];
        dim_list[i] = &dims[i];
        shape.n_dim++;
    }
    shape.dim = dim_list;
    tensor.has_elem_type = 1;
    tensor.elem_type = image >= 0 ? test->inputs[image]->data_type : 1;
    tensor.shape = &shape;
    type.tensor_type = &tensor;
    info.name = image >= 0 ? from->input[image]->name : nobody;
    info.type = &type;
    graph.n_input = graph.n_output = 1;
    graph.input = inputs;
    graph.output = outputs;
    outputs[0] = from->output[output];
    graph.n_initializer = count;
    graph.initializer = initializers;
    model.graph = &graph;
    /* The number is that of the opset that the operator is from: below 7 it is the same in 7, or the case would say 7. */
    opset.version = opset.version < 7 ? 7 : opset.version;
    model.n_opset_import = 1;
    model.opset_import = opsets;
    uint8_t *bytes = malloc(ssld__onnx__model_proto__get_packed_size(&model));
    *size = ssld__onnx__model_proto__pack(&model, bytes);
    return bytes;
}

/* One output of a case, read in one way and computed. SSLD_OK with a difference in `text`, or what it was refused with. */
static ssld_status run_output(const struct test_case *test, int image, int output, int32_t input_mode, char text[512])
{
    struct ssld_onnx_options options = { .height = 8, .width = 8, .input = input_mode, .keep_softmax = true };
    struct ssld_graph *graph = NULL;
    struct ssld_plan *plan = NULL;
    const float *got = NULL;
    size_t size;
    uint8_t *bytes = make_file(test, image, output, &size);
    struct array wanted = array_of(test->outputs[output]);
    float *pixels = NULL;
    text[0] = 0;
    ssld_status status = ssld_onnx_read_with(context, bytes, size, test->name, &options, &graph);
    int64_t elements = status ? 0 : ssld_value_elements(&graph->values[graph->output]), batch = 1;
    if (!status && graph->values[graph->output].role != SSLD_VALUE_ACTIVATION) {
        got = graph->values[graph->output].data;
    } else if (!status) {
        struct array given = array_of(test->inputs[image]);
        batch = input_mode == SSLD_ONNX_ROWS ? test->inputs[image]->dims[0] : 1;
        pixels = malloc((size_t)given.elements * sizeof *pixels + 1);
        for (int64_t i = 0; i < given.elements; i++)
            pixels[i] = (float)given.numbers[i];
        free(given.numbers);
        struct ssld_plan_options plan_options = { .mode = SSLD_PLAN_EVAL, .batch = (int32_t)batch, .threads = 1 };
        status = ssld_plan_create(context, graph, &plan_options, &plan);
        if (!status)
            status = ssld_plan_forward(plan, pixels, (int32_t)batch, 0, &got);
    }
    if (!status && elements * batch != wanted.elements)
        snprintf(text, 512, "output %d has %lld elements, not %lld", output, (long long)(elements * batch),
                 (long long)wanted.elements);
    int64_t at = status || text[0] ? -1 : first_difference(&wanted, got);
    if (at >= 0)
        snprintf(text, 512, "output %d: element %lld is %g, not %g", output, (long long)at, (double)got[at],
                 wanted.numbers[at]);
    if (status)
        ssld_context_error(context, text, 512);
    ssld_plan_destroy(plan);
    ssld_graph_destroy(graph);
    free(wanted.numbers);
    free(pixels);
    free(bytes);
    return status;
}

static int64_t elements_of(const tensor_proto *tensor)
{
    int64_t elements = 1;
    for (size_t d = 0; d < tensor->n_dims; d++)
        elements *= tensor->dims[d];
    return elements;
}

/* Which input is the image: the first real one with elements; -1: none. */
static int image_of(const struct test_case *test)
{
    for (int i = 0; i < test->input_count; i++) {
        int type = test->inputs[i]->data_type;
        if ((type == 1 || type == 10 || type == 11 || type == 16) && elements_of(test->inputs[i]) > 0)
            return i;
    }
    return -1;
}

/* Numbers stored as another type than the model says: some of 1.12's bfloat16 numbers are uint16. */
static bool has_other_types(const struct test_case *test)
{
    for (int i = 0; i < test->input_count; i++)
        if (test->model->graph->input[i]->type->tensor_type->elem_type != test->inputs[i]->data_type)
            return true;
    for (int i = 0; i < test->output_count; i++)
        if (test->model->graph->output[i]->type->tensor_type->elem_type != test->outputs[i]->data_type)
            return true;
    return false;
}

/* onnx 1.17 (Debian 13) expects a window that ceil_mode lets reach beyond the padding to be divided by positions that are not
 * there: element 8 is 0.0846616. Later releases expect 0.105827, as the operator's text has it. */
static bool was_corrected(const struct test_case *test)
{
    static const char name[] = "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True";
    if (strcmp(test->name, name) || !test->output_count)
        return false;
    struct array expected = array_of(test->outputs[0]);
    bool corrected = expected.elements > 8 && fabs(expected.numbers[8] - 0.0846616) < 1e-6;
    free(expected.numbers);
    return corrected;
}

/* What cannot be tried at all, NULL if it can. */
static const char *misfit(const struct test_case *test, char text[512])
{
    const Ssld__Onnx__GraphProto *graph = test->model->graph;
    if (strstr(test->name, "training"))
        return "it computes as in training, which is the host's decision, not the file's";
    for (size_t n = 0; n < graph->n_node; n++) {
        const char *domain = graph->node[n]->domain;
        bool ours = ssld_onnx_operator_find(graph->node[n]->op_type) && (!domain || !*domain);
        snprintf(text, 512, "%s is not among the operators", graph->node[n]->op_type);
        if (!ours)
            return text;
    }
    for (size_t i = 0; i < graph->n_input; i++)
        if (!graph->input[i]->type || !graph->input[i]->type->tensor_type)
            return "an input is no tensor";
    for (size_t i = 0; i < graph->n_output; i++)
        if (!graph->output[i]->type || !graph->output[i]->type->tensor_type)
            return "an output is no tensor";
    if ((size_t)test->input_count != graph->n_input || (size_t)test->output_count != graph->n_output ||
        !test->output_count || !test->model->n_opset_import)
        return "its data is not complete";
    for (int i = 0; i < test->output_count; i++)
        if (!elements_of(test->outputs[i]))
            return "an output has no elements, which no tensor of a classifier has";
    if (was_corrected(test))
        return "a later release of onnx corrected what it expects";
    return has_other_types(test) ? "its numbers are stored as another type than it says" : NULL;
}

/* One output, as an activation and as a constant; counts what could be run. False if it was run and is wrong. */
static bool try_output(const struct test_case *test, int image, int output, int *runs, int *folds, char reason[512])
{
    static const int32_t modes[] = { SSLD_ONNX_ONE, SSLD_ONNX_ROWS };
    char text[512] = "";
    ssld_status status = SSLD_UNSUPPORTED;
    for (int m = 0; m < 2 && image >= 0 && status; m++) {
        status = run_output(test, image, output, modes[m], text);
        if (status && m == 0)
            snprintf(reason, 512, "%s", text);
    }
    *runs += !status;
    if (!status && text[0]) {
        printf("# FAILED %s: %s\n", test->name, text);
        return false;
    }
    status = run_output(test, -1, output, SSLD_ONNX_ONE, text);
    *folds += !status;
    if (!status && text[0]) {
        printf("# FAILED %s, of constants: %s\n", test->name, text);
        return false;
    }
    if (status && image < 0)
        snprintf(reason, 512, "%s", text);
    if (!status || image >= 0 || !test->input_count || elements_of(test->inputs[0]) < 1)
        return true;
    /* Pixels of whole numbers, where there is no folding. */
    char other[512] = "";
    if (!(status = run_output(test, 0, output, SSLD_ONNX_ROWS, other)) && other[0]) {
        printf("# FAILED %s, of whole numbers: %s\n", test->name, other);
        return false;
    }
    *runs += !status;
    return true;
}

static void run_case(const struct test_case *test)
{
    char reason[512] = "";
    const char *why = misfit(test, reason);
    int image = why ? -1 : image_of(test), runs = 0, folds = 0;
    for (int output = 0; !why && output < test->output_count; output++)
        if (!try_output(test, image, output, &runs, &folds, reason)) {
            failed++;
            return;
        }
    if (runs)
        printf("# computed %s\n", test->name);
    else if (folds)
        printf("# folded %s%s%s\n", test->name, image < 0 ? "" : ", not computed: ", image < 0 ? "" : reason);
    else
        printf("# skipped %s: %s\n", test->name, why ? why : reason);
    computed += runs > 0;
    folded += !runs && folds;
    skipped += !runs && !folds;
}

/* -- All ---------------------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int list_cases(const char *folder)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    int count = 0;
    while (directory && (entry = readdir(directory)) && count < MOST_CASES)
        if (!strncmp(entry->d_name, "test_", 5) && strlen(entry->d_name) < sizeof names[0])
            strcpy(names[count++], entry->d_name);
    if (directory)
        closedir(directory);
    qsort(names, (size_t)count, sizeof names[0], compare_names);
    return count;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : DEBIAN_FOLDER, *part = argc > 2 ? argv[2] : "";
    int count = list_cases(folder);
    if (!count) {
        printf("1..0 # SKIP no ONNX node test data in %s; Debian's package libonnx-testdata has it\n", folder);
        return 0;
    }
    if (ssld_context_create(NULL, &context))
        return 2;
    for (int i = 0; i < count; i++) {
        struct test_case test;
        if (!strstr(names[i], part))
            continue;
        if (read_case(folder, names[i], &test))
            run_case(&test);
        free_case(&test);
        fflush(stdout);
    }
    ssld_context_destroy(context);
    printf("# %d cases were computed, %d of constants folded, %d skipped, %d failed\n", computed, folded, skipped,
           failed);
    printf("1..2\n%sok 1 - onnx_node_cases_give_the_outputs_of_the_onnx_project\n", failed ? "not " : "");
    bool enough = computed >= LEAST_CASES || *part;
    printf("%sok 2 - most_onnx_node_cases_of_the_operators_are_run\n", enough ? "" : "not ");
    return failed || !enough;
}
