/* SPDX-License-Identifier: BSD-2-Clause */
/* write_general.c - operators of any rank into an ONNX file of opset 17, and the two forms a tensor may have there. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "onnx/writer.h"

/* -- Whole numbers ------------------------------------------------------------------------------------------------ */

/* A list as an initializer; returns its name. */
static char *add_integers(struct writer *writer, const char *base, const char *suffix, int32_t count,
                          const int64_t *numbers)
{
    const int64_t dims[1] = { count };
    char *name = ssld_write_text(writer, base, suffix);
    int64_t *data = ssld_write_take(writer, (size_t)count * sizeof *data);
    Ssld__Onnx__TensorProto *tensor = data ? ssld_write_tensor(writer, name, WRITE_INT64, 1, dims) : NULL;
    if (!tensor)
        return NULL;
    memcpy(data, numbers, (size_t)count * sizeof *data);
    tensor->n_int64_data = (size_t)count;
    tensor->int64_data = data;
    return name;
}

static void add_word(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name, const char *word)
{
    Ssld__Onnx__AttributeProto *attribute =
        node ? ssld_write_attribute(writer, node, name, WRITE_ATTRIBUTE_STRING) : NULL;
    if (!attribute)
        return;
    attribute->has_s = 1;
    attribute->s.len = strlen(word);
    attribute->s.data = (uint8_t *)(uintptr_t)word;
}

static void add_float(struct writer *writer, Ssld__Onnx__NodeProto *node, const char *name, float number)
{
    Ssld__Onnx__AttributeProto *attribute =
        node ? ssld_write_attribute(writer, node, name, WRITE_ATTRIBUTE_FLOAT) : NULL;
    if (!attribute)
        return;
    attribute->has_f = 1;
    attribute->f = number;
}

static void add_input(Ssld__Onnx__NodeProto *node, char *name)
{
    if (node && name)
        node->input[node->n_input++] = name;
}

static void refuse(struct writer *writer, const struct ssld_node *node, const char *why)
{
    if (!writer->status)
        writer->status = ssld_fail(writer->context, SSLD_UNSUPPORTED, "node '%.80s' (%s) cannot be saved: %s",
                                   node->name, ssld_node_operator(node), why);
}

/* -- Forms -------------------------------------------------------------------------------------------------------- */

static bool is_activation(const struct writer *writer, int32_t value)
{
    return value != SSLD_NO_VALUE && writer->graph->values[value].role == SSLD_VALUE_ACTIVATION;
}

/* Inputs that are broadcast: together with the rows in the first axis only where that axis is the same for all. */
static bool broadcasts_rows(const struct writer *writer, const struct ssld_node *node)
{
    const struct ssld_value *dst = &writer->graph->values[node->output];
    bool product = node->kind == SSLD_OP_MATMUL;
    int32_t count = product ? 2 : node->input_count;
    for (int32_t i = 0; i < count; i++) {
        const struct ssld_value *src = &writer->graph->values[node->inputs[i]];
        bool activation = is_activation(writer, node->inputs[i]);
        if (activation ? src->ndims != dst->ndims || src->dims[0] != dst->dims[0]
                       : src->ndims > dst->ndims ||
                             (src->ndims == dst->ndims && src->dims[0] != 1 && !(product && i == 1 && src->ndims == 2)))
            return true;
        if (product && i == 1 && activation && src->ndims == 2)
            return true;
    }
    return false;
}

/* Is the first axis, which the batch would share, anything but left alone? */
static bool touches_first_axis(const struct writer *writer, const struct ssld_node *node)
{
    const struct ssld_attributes *attributes = &node->attributes;
    const struct ssld_value *src = &writer->graph->values[node->inputs[0]];
    switch (node->kind) {
    case SSLD_OP_TRANSPOSE:
        return attributes->perm[0] != 0;
    case SSLD_OP_REDUCE:
        return attributes->axes[0] != 0;
    case SSLD_OP_SOFTMAX: case SSLD_OP_LOG_SOFTMAX: case SSLD_OP_JOIN: case SSLD_OP_GATHER:
        return attributes->axis == 0;
    case SSLD_OP_STRIDED_SLICE:
        return attributes->sizes[0] != src->dims[0] || attributes->steps[0] != 1;
    case SSLD_OP_PAD:
        return attributes->before[0] || attributes->after[0];
    case SSLD_OP_TILE:
        return attributes->sizes[0] != 1;
    case SSLD_OP_BINARY: case SSLD_OP_WHERE: case SSLD_OP_MATMUL:
        return broadcasts_rows(writer, node);
    default:
        return false;
    }
}

bool ssld_write_makes_leading(const struct writer *writer, const struct ssld_node *node)
{
    bool as_it_comes = ssld_op_is_activation(node->kind) || node->kind == SSLD_OP_UNARY ||
                       node->kind == SSLD_OP_SCALE || node->kind == SSLD_OP_DROPOUT;
    return as_it_comes ? writer->leading[writer->standing[node->inputs[0]]] : touches_first_axis(writer, node);
}

bool ssld_write_is_leading(const struct writer *writer, const struct ssld_node *node, int32_t input)
{
    if (!is_activation(writer, input))
        return false;
    return node->kind == SSLD_OP_RESHAPE ? writer->leading[input] : ssld_write_makes_leading(writer, node);
}

/* A Reshape to (-1, sizes ...). */
static char *reshape(struct writer *writer, char *name, char *src, int32_t count, const int64_t *sizes, char *output)
{
    return ssld_write_part(writer, name, "Reshape", src,
                           add_integers(writer, output ? output : "", "_shape", count, sizes), output);
}

char *ssld_write_form(struct writer *writer, int32_t value, bool leading)
{
    const struct ssld_value *of = &writer->graph->values[value];
    int64_t sizes[SSLD_MOST_DIMS + 1] = { -1 };
    if (!is_activation(writer, value) || writer->leading[value] == leading)
        return of->name;
    if (writer->other_forms[value])
        return writer->other_forms[value];
    int32_t count = leading ? of->ndims + 1 : of->ndims;
    for (int32_t i = 1; i < count; i++)
        sizes[i] = of->dims[leading ? i - 1 : i];
    char *name = ssld_write_text(writer, of->name, leading ? "_apart" : "_together");
    writer->other_forms[value] = name ? reshape(writer, name, of->name, count, sizes, name) : NULL;
    return writer->other_forms[value];
}

/* -- Elementwise -------------------------------------------------------------------------------------------------- */

static void write_unary(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    int32_t function = from->attributes.function;
    if (function == SSLD_UNARY_NOT) {
        refuse(writer, from, "ONNX has it of truth values only");
        return;
    }
    if (function == SSLD_UNARY_MISH) { /* an operator since opset 18 */
        char *soft = ssld_write_inner(writer, output, "_softplus", "Softplus", inputs[0], NULL);
        ssld_write_part(writer, from->name, "Mul", inputs[0],
                        ssld_write_inner(writer, output, "_tanh", "Tanh", soft, NULL), output);
        return;
    }
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, ssld_node_operator(from), output);
    add_input(node, inputs[0]);
    if (function == SSLD_UNARY_ELU || function == SSLD_UNARY_CELU || function == SSLD_UNARY_SELU)
        add_float(writer, node, "alpha", from->attributes.alpha);
    if (function == SSLD_UNARY_SELU)
        add_float(writer, node, "gamma", from->attributes.beta);
}

/* Axes of one element before those of an activation of lower rank, which stand behind the batch's. */
static char *align(struct writer *writer, const struct ssld_node *from, int32_t input, char *name, const char *output)
{
    const struct ssld_graph *graph = writer->graph;
    const struct ssld_value *src = &graph->values[from->inputs[input]];
    int32_t more = graph->values[from->output].ndims - src->ndims, count = graph->values[from->output].ndims + 1;
    int64_t sizes[SSLD_MOST_DIMS + 1] = { -1 };
    char suffix[24];
    if (!is_activation(writer, from->inputs[input]) || more < 1 || !writer->leading[from->output])
        return name;
    for (int32_t i = 1; i < count; i++)
        sizes[i] = i <= more ? 1 : src->dims[i - 1 - more];
    snprintf(suffix, sizeof suffix, "_aligned_%d", input);
    char *aligned = ssld_write_text(writer, output, suffix);
    return aligned ? reshape(writer, aligned, name, count, sizes, aligned) : NULL;
}

static void cast(struct writer *writer, char *name, char *src, int32_t type, char *output)
{
    Ssld__Onnx__NodeProto *node = src && output ? ssld_write_node(writer, name, "Cast", output) : NULL;
    add_input(node, src);
    if (node)
        ssld_write_int(writer, node, "to", type);
}

/* Comparisons give truth values, which become numbers. */
static void write_binary(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    int32_t function = from->attributes.function;
    bool truth = function >= SSLD_BINARY_EQUAL && function <= SSLD_BINARY_LESS_OR_EQUAL;
    if ((function >= SSLD_BINARY_AND && function <= SSLD_BINARY_XOR) || function == SSLD_BINARY_MOD) {
        refuse(writer, from, "ONNX has it of truth values or whole numbers only");
        return;
    }
    char *compared = truth ? ssld_write_text(writer, output, "_truth") : output, *name = truth ? compared : from->name;
    Ssld__Onnx__NodeProto *node = compared ? ssld_write_node(writer, name, ssld_node_operator(from), compared) : NULL;
    for (int32_t i = 0; i < 2; i++)
        add_input(node, align(writer, from, i, inputs[i], output));
    if (node && function == SSLD_BINARY_FMOD)
        ssld_write_int(writer, node, "fmod", 1);
    if (truth)
        cast(writer, from->name, compared, WRITE_FLOAT, output);
}

static void write_where(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    char *truth = ssld_write_text(writer, output, "_truth");
    cast(writer, truth, align(writer, from, 0, inputs[0], output), WRITE_BOOL, truth);
    Ssld__Onnx__NodeProto *node = truth ? ssld_write_node(writer, from->name, "Where", output) : NULL;
    add_input(node, truth);
    for (int32_t i = 1; i < 3; i++)
        add_input(node, align(writer, from, i, inputs[i], output));
}

static void write_matmul(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    bool bias = from->input_count > 2 && from->inputs[2] != SSLD_NO_VALUE;
    char *sum = bias ? ssld_write_text(writer, output, "_product") : output;
    char *a = align(writer, from, 0, inputs[0], output), *b = align(writer, from, 1, inputs[1], output);
    if (b)
        ssld_write_part(writer, bias ? sum : from->name, "MatMul", a, b, sum);
    if (bias)
        ssld_write_part(writer, from->name, "Add", sum, inputs[2], output);
}

/* -- Along axes --------------------------------------------------------------------------------------------------- */

static void write_axis(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, ssld_ops[from->kind].name, output);
    add_input(node, inputs[0]);
    if (node)
        ssld_write_int(writer, node, "axis", from->attributes.axis + writer->leading[from->output]);
}

/* Axes are an input of ReduceSum since opset 13, an attribute of the others up to 17. */
static void write_reduce(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    int64_t axes[SSLD_MOST_DIMS];
    int32_t narrow[SSLD_MOST_DIMS], count = 0;
    for (int32_t i = 0; i < writer->graph->values[from->inputs[0]].ndims; i++)
        if (from->attributes.axes[i]) {
            axes[count] = i + writer->leading[from->output];
            narrow[count] = (int32_t)axes[count];
            count++;
        }
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, ssld_node_operator(from), output);
    add_input(node, inputs[0]);
    if (!node)
        return;
    if (from->attributes.function == SSLD_REDUCE_SUM)
        add_input(node, add_integers(writer, output, "_axes", count, axes));
    else
        ssld_write_ints(writer, node, "axes", count, narrow);
    ssld_write_int(writer, node, "keepdims", from->attributes.keepdims);
}

void ssld_write_transpose(struct writer *writer, char *name, char *src, int32_t ndims, const int32_t *perm, char *dst)
{
    Ssld__Onnx__NodeProto *node = src && dst ? ssld_write_node(writer, name, "Transpose", dst) : NULL;
    add_input(node, src);
    if (node)
        ssld_write_ints(writer, node, "perm", ndims, perm);
}

static void write_transpose(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    int32_t perm[SSLD_MOST_DIMS + 1] = { 0 }, leading = writer->leading[from->output];
    int32_t ndims = writer->graph->values[from->output].ndims;
    for (int32_t i = 0; i < ndims; i++)
        perm[i + leading] = from->attributes.perm[i] + leading;
    ssld_write_transpose(writer, from->name, inputs[0], ndims + leading, perm, output);
}

static void write_reshape(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    int64_t sizes[SSLD_MOST_DIMS] = { -1 };
    for (int32_t i = 1; i < from->attributes.rank; i++)
        sizes[i] = from->attributes.sizes[i];
    reshape(writer, from->name, inputs[0], from->attributes.rank, sizes, output);
}

/* A constant is there for every image: Expand with the batch that Shape tells. */
static char *expand_constant(struct writer *writer, const struct ssld_node *from, int32_t input, char *name, char *like,
                             const char *output)
{
    const struct ssld_value *value = &writer->graph->values[from->inputs[input]];
    int32_t leading = writer->leading[from->output];
    int64_t sizes[SSLD_MOST_DIMS];
    char suffix[3][24];
    static const char *const names[3] = { "_batch", "_shape", "_expanded" };
    for (int i = 0; i < 3; i++)
        snprintf(suffix[i], sizeof suffix[i], "%s_%d", names[i], input);
    for (int32_t i = 0; i < value->ndims; i++)
        sizes[i] = value->dims[i];
    char *batch = ssld_write_text(writer, output, suffix[0]), *shape = ssld_write_text(writer, output, suffix[1]);
    Ssld__Onnx__NodeProto *node = batch ? ssld_write_node(writer, batch, "Shape", batch) : NULL;
    add_input(node, like);
    if (node) {
        ssld_write_int(writer, node, "start", 0);
        ssld_write_int(writer, node, "end", 1);
    }
    char *rest = add_integers(writer, shape ? shape : "", "_rest", value->ndims - 1 + leading, sizes + 1 - leading);
    if (!ssld_write_part(writer, shape, "Concat", batch, rest, shape))
        return NULL;
    ssld_write_int(writer, writer->proto->node[writer->proto->n_node - 1], "axis", 0);
    return ssld_write_inner(writer, output, suffix[2], "Expand", name, shape);
}

static void write_join(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    char *names[SSLD_MOST_INPUTS], *like = NULL;
    for (int32_t i = 0; i < from->input_count && !like; i++)
        like = is_activation(writer, from->inputs[i]) ? inputs[i] : NULL;
    for (int32_t i = 0; i < from->input_count; i++)
        names[i] = is_activation(writer, from->inputs[i]) ? inputs[i]
                                                          : expand_constant(writer, from, i, inputs[i], like, output);
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, "Concat", output);
    for (int32_t i = 0; i < from->input_count; i++)
        add_input(node, names[i]);
    if (node)
        ssld_write_int(writer, node, "axis", from->attributes.axis + writer->leading[from->output]);
}

/* -- Elements taken, put around, repeated --------------------------------------------------------------------------- */

static void write_strided_slice(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    const struct ssld_attributes *attributes = &from->attributes;
    const struct ssld_value *src = &writer->graph->values[from->inputs[0]];
    int64_t starts[SSLD_MOST_DIMS], ends[SSLD_MOST_DIMS], axes[SSLD_MOST_DIMS], steps[SSLD_MOST_DIMS];
    int32_t count = 0;
    for (int32_t i = 0; i < src->ndims; i++) {
        if (attributes->sizes[i] == src->dims[i] && attributes->steps[i] == 1)
            continue;
        int64_t step = attributes->steps[i], end = attributes->starts[i] + step * attributes->sizes[i];
        starts[count] = attributes->starts[i];
        ends[count] = end < 0 ? INT64_MIN : end; /* in front of the first: no index says so otherwise */
        axes[count] = i + writer->leading[from->output];
        steps[count++] = step;
    }
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, "Slice", output);
    add_input(node, inputs[0]);
    add_input(node, add_integers(writer, output, "_starts", count, starts));
    add_input(node, add_integers(writer, output, "_ends", count, ends));
    add_input(node, add_integers(writer, output, "_axes", count, axes));
    add_input(node, add_integers(writer, output, "_steps", count, steps));
}

static void write_gather(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    const struct ssld_value *indices = &writer->graph->values[from->inputs[1]];
    int64_t *whole = ssld_write_take(writer, (size_t)indices->dims[0] * sizeof *whole);
    if (!whole)
        return;
    for (int64_t i = 0; i < indices->dims[0]; i++)
        whole[i] = (int64_t)indices->data[i];
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, "Gather", output);
    add_input(node, inputs[0]);
    add_input(node, add_integers(writer, output, "_indices", (int32_t)indices->dims[0], whole));
    if (node)
        ssld_write_int(writer, node, "axis", from->attributes.axis + writer->leading[from->output]);
}

static void write_pad(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    static const char *const modes[SSLD_PAD_MODES] = { "constant", "reflect", "edge", "wrap" };
    int64_t pads[2 * SSLD_MOST_DIMS + 2] = { 0 };
    int32_t leading = writer->leading[from->output], ndims = writer->graph->values[from->output].ndims + leading;
    if (from->attributes.mode == SSLD_PAD_WRAP) {
        refuse(writer, from, "opset 17 has no mode 'wrap'");
        return;
    }
    for (int32_t i = leading; i < ndims; i++) {
        pads[i] = from->attributes.before[i - leading];
        pads[ndims + i] = from->attributes.after[i - leading];
    }
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, "Pad", output);
    add_input(node, inputs[0]);
    add_input(node, add_integers(writer, output, "_pads", 2 * ndims, pads));
    add_input(node, ssld_write_number(writer, output, "_value", from->attributes.alpha));
    add_word(writer, node, "mode", modes[from->attributes.mode]);
}

static void write_tile(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    int64_t repeats[SSLD_MOST_DIMS + 1] = { 1 };
    int32_t leading = writer->leading[from->output], ndims = writer->graph->values[from->output].ndims;
    for (int32_t i = 0; i < ndims; i++)
        repeats[i + leading] = from->attributes.sizes[i];
    ssld_write_part(writer, from->name, "Tile", inputs[0],
                    add_integers(writer, output, "_repeats", ndims + leading, repeats), output);
}

/* -- Feature maps ------------------------------------------------------------------------------------------------- */

/* The smallest change of a scale that makes floor(in * scale) the size. */
static float scale_for(float scale, int64_t in, int64_t out)
{
    for (int i = 0; i < 4 && (int64_t)floor((double)in * scale) < out; i++)
        scale = nextafterf(scale, INFINITY);
    for (int i = 0; i < 4 && (int64_t)floor((double)in * scale) > out; i++)
        scale = nextafterf(scale, 0);
    return scale;
}

static void write_resize(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    static const char *const modes[] = { "nearest", "linear" };
    static const char *const coordinates[SSLD_COORDINATES] = { "half_pixel", "pytorch_half_pixel", "align_corners",
                                                               "asymmetric" };
    static const char *const roundings[] = { "round_prefer_floor", "round_prefer_ceil", "floor", "ceil" };
    const struct ssld_attributes *attributes = &from->attributes;
    const struct ssld_value *src = &writer->graph->values[from->inputs[0]];
    const int64_t four = 4;
    char *scales = ssld_write_text(writer, output, "_scales");
    float *data = ssld_write_take(writer, 4 * sizeof *data);
    if (!coordinates[attributes->coordinates]) {
        refuse(writer, from, "opset 17 has not its coordinates");
        return;
    }
    if (!scales || !data)
        return;
    for (int i = 0; i < 4; i++)
        data[i] = i < 2 ? 1 : scale_for(attributes->scales[i - 2], src->dims[i], attributes->sizes[i]);
    ssld_write_floats(writer, scales, 1, &four, 4, data);
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, "Resize", output);
    add_input(node, inputs[0]);
    add_input(node, (char *)"");
    add_input(node, scales);
    add_word(writer, node, "mode", modes[attributes->mode]);
    add_word(writer, node, "coordinate_transformation_mode", coordinates[attributes->coordinates]);
    add_word(writer, node, "nearest_mode", roundings[attributes->rounding]);
}

static void write_listed(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    Ssld__Onnx__NodeProto *node = ssld_write_node(writer, from->name, ssld_ops[from->kind].name, output);
    add_input(node, inputs[0]);
    if (node)
        ssld_write_listed(writer, node, from);
}

/* (count) numbers, all the same. */
static char *add_constants(struct writer *writer, const char *base, const char *suffix, int64_t count, float number)
{
    char *name = ssld_write_text(writer, base, suffix);
    float *data = ssld_write_take(writer, (size_t)count * sizeof *data);
    for (int64_t i = 0; data && i < count; i++)
        data[i] = number;
    if (name && data)
        ssld_write_floats(writer, name, 1, &count, (size_t)count, data);
    return data ? name : NULL;
}

/* InstanceNormalization of (N, groups, rest); opset 17 has no GroupNormalization. Scale and shift of more channels than groups
 * come after it, as (C, 1, ...). */
static void write_group_norm(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    const struct ssld_value *src = &writer->graph->values[from->inputs[0]];
    int64_t group = from->attributes.group, sizes[SSLD_MOST_DIMS] = { -1 };
    bool instance = group == src->dims[1] && src->ndims > 2;
    char *grouped = inputs[0], *normed = output, *scale = inputs[1], *shift = inputs[2];
    if (!instance) {
        char *name = ssld_write_text(writer, output, "_groups");
        const int64_t three[3] = { -1, group, ssld_value_elements(src) / group };
        normed = ssld_write_text(writer, output, "_normed");
        grouped = name ? reshape(writer, name, inputs[0], 3, three, name) : NULL;
        scale = add_constants(writer, output, "_ones", group, 1);
        shift = add_constants(writer, output, "_zeros", group, 0);
    }
    Ssld__Onnx__NodeProto *node =
        normed ? ssld_write_node(writer, instance ? from->name : normed, "InstanceNormalization", normed) : NULL;
    add_input(node, grouped);
    add_input(node, scale);
    add_input(node, shift);
    add_float(writer, node, "epsilon", from->attributes.epsilon);
    if (instance || !normed)
        return;
    char *back = ssld_write_text(writer, output, "_back");
    for (int32_t i = 1; i < src->ndims; i++)
        sizes[i] = src->dims[i];
    if (!back || !reshape(writer, back, normed, src->ndims, sizes, back))
        return;
    int64_t column[SSLD_MOST_DIMS] = { src->dims[1], 1, 1, 1, 1, 1 };
    char *columns[2];
    static const char *const names[2] = { "_scale", "_shift" };
    for (int i = 0; i < 2; i++) {
        char *name = ssld_write_text(writer, output, names[i]);
        columns[i] = name ? reshape(writer, name, inputs[1 + i], src->ndims - 1, column, name) : NULL;
    }
    char *scaled = ssld_write_inner(writer, output, "_scaled", "Mul", back, columns[0]);
    if (columns[1])
        ssld_write_part(writer, from->name, "Add", scaled, columns[1], output);
}

/* -- The table ---------------------------------------------------------------------------------------------------- */

void ssld_write_general(struct writer *writer, const struct ssld_node *from, char *const *inputs, char *output)
{
    static void (*const functions[SSLD_OP_KINDS])(struct writer *, const struct ssld_node *, char *const *, char *) = {
        [SSLD_OP_UNARY] = write_unary, [SSLD_OP_BINARY] = write_binary, [SSLD_OP_WHERE] = write_where,
        [SSLD_OP_MATMUL] = write_matmul, [SSLD_OP_SOFTMAX] = write_axis, [SSLD_OP_LOG_SOFTMAX] = write_axis,
        [SSLD_OP_REDUCE] = write_reduce, [SSLD_OP_TRANSPOSE] = write_transpose, [SSLD_OP_RESHAPE] = write_reshape,
        [SSLD_OP_JOIN] = write_join, [SSLD_OP_STRIDED_SLICE] = write_strided_slice, [SSLD_OP_GATHER] = write_gather,
        [SSLD_OP_PAD] = write_pad, [SSLD_OP_TILE] = write_tile, [SSLD_OP_RESIZE] = write_resize,
        [SSLD_OP_LRN] = write_listed, [SSLD_OP_GROUP_NORM] = write_group_norm,
    };
    int32_t ndims = writer->graph->values[from->output].ndims;
    if (!functions[from->kind])
        refuse(writer, from, "files have no such operator");
    else if (ndims + writer->leading[from->output] > SSLD_MOST_DIMS)
        refuse(writer, from, "with the batch it has too many axes");
    else
        functions[from->kind](writer, from, inputs, output);
}
