/* SPDX-License-Identifier: BSD-2-Clause */
/* gelu.c - GELU: as the operator that opset 20 has, and as exporters spell it before.
 *
 *   x / 2 * (1 + erf(x / sqrt(2)))      as Div or Mul, Erf, Add and two Muls, in any order of the factors
 *
 * The graph has no node for erf alone. What Erf makes is remembered in the entry of its name, what Add and Mul make of that
 * too, until the product is whole. */
#include "onnx/convert.h"

#include <math.h>
#include <string.h>

static bool close_to(float number, double wanted)
{
    return fabs((double)number - wanted) < 1e-6;
}

ssld_status ssld_onnx_convert_gelu(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                   struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE, kind = SSLD_OP_GELU;
    const onnx_attribute *form = ssld_onnx_find_attribute(node, "approximate");
    ssld_status status;
    (void)row;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)) ||
        (form && (status = ssld_onnx_check_attribute_type(reader, node, form, TYPE_STRING))))
        return status;
    if (form && form->s.len == 4 && !memcmp(form->s.data, "tanh", 4))
        kind = SSLD_OP_GELU_TANH;
    else if (form && (form->s.len != 4 || memcmp(form->s.data, "none", 4)))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "attribute 'approximate' is neither 'none' nor 'tanh'");
    return ssld_onnx_add_node(reader, node, kind, 1, &src, attributes);
}

/* -- By parts ----------------------------------------------------------------------------------------------------- */

/* The graph's node that multiplies by a number and makes this entry's value; NULL if there is none. */
static const struct ssld_node *scale_node(const struct reader *reader, const struct entry *entry)
{
    const struct ssld_node *made =
        entry && entry->graph_node != SSLD_NO_VALUE ? &reader->graph->nodes[entry->graph_node] : NULL;
    return made && made->kind == SSLD_OP_SCALE ? made : NULL;
}

ssld_status ssld_onnx_convert_erf(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                  struct ssld_attributes *attributes)
{
    int32_t src = SSLD_NO_VALUE;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = ssld_onnx_need_inputs(reader, node, 1, 1)) || (status = ssld_onnx_activation_input(reader, node, 0, &src)))
        return status;
    const struct ssld_node *scale = scale_node(reader, ssld_onnx_input(reader, node, 0));
    if (!scale || !close_to(scale->attributes.scale, 0.70710678118654752))
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it is not of x / sqrt(2), as in GELU");
    ssld_onnx_set_output(reader, node, 0, scale->inputs[0], SSLD_NO_VALUE);
    ssld_names_find(&reader->names, node->output[0])->gelu = (struct gelu_part){ .stage = GELU_ERF, .factor = 1 };
    return SSLD_OK;
}

/* The other input of Mul is x, x times a number, or a number: true, and the part holds it too. */
static bool multiply_part(const struct reader *reader, const struct entry *other, int32_t x, float number,
                          struct gelu_part *part)
{
    const struct ssld_node *scale = scale_node(reader, other);
    if (other->kind == ENTRY_TENSOR) {
        part->factor *= number;
        return true;
    }
    if (part->times_x || other->gelu.stage || other->channels_last)
        return false;
    if (other->value != x && !(scale && scale->inputs[0] == x))
        return false;
    part->factor *= other->value == x ? 1 : scale->attributes.scale;
    part->times_x = true;
    return true;
}

/* One node further: from erf to 1 + erf by Add, then factor by factor by Mul. */
ssld_status ssld_onnx_continue_gelu(struct reader *reader, const onnx_node *node, bool *taken)
{
    const struct entry *inputs[2] = { ssld_onnx_input(reader, node, 0), ssld_onnx_input(reader, node, 1) };
    size_t which = inputs[1]->gelu.stage ? 1 : 0;
    const struct entry *other = inputs[1 - which];
    struct gelu_part part = inputs[which]->gelu;
    int32_t x = inputs[which]->value;
    float number = 0;
    *taken = part.stage != GELU_NONE && !strcmp(node->op_type, part.stage == GELU_ERF ? "Add" : "Mul");
    if (!*taken)
        return SSLD_OK;
    ssld_status status = other->kind == ENTRY_TENSOR ? ssld_onnx_number_input(reader, node, 1 - which, &number) : SSLD_OK;
    if (status)
        return status;
    bool fits = part.stage == GELU_ERF ? other->kind == ENTRY_TENSOR && number == 1
                                       : multiply_part(reader, other, x, number, &part);
    part.stage = GELU_ERF_PLUS_ONE;
    bool whole = fits && part.times_x && close_to(part.factor, 0.5);
    if (!fits)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "it does not continue GELU, which Erf began");
    if (whole)
        return ssld_onnx_add_node(reader, node, SSLD_OP_GELU, 1, &x, NULL);
    ssld_onnx_set_output(reader, node, 0, x, SSLD_NO_VALUE);
    ssld_names_find(&reader->names, node->output[0])->gelu = part;
    return SSLD_OK;
}
