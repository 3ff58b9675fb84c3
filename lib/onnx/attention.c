/* SPDX-License-Identifier: BSD-2-Clause */
/* attention.c - Attention as one operator (opset 23), as PyTorch's newer exporter writes it: by the parts that older opsets spell.
 *
 *   softmax(cap(scale * Q K') + mask) V        cap(x) = c tanh(x / c) where there is a soft cap c
 *
 * Q, K, V are (N, heads, positions, depth), or (N, positions, heads * depth) with the numbers of heads as attributes. */
#include "onnx/convert.h"

#include <math.h>

#define HIDDEN (-1e30f) /* a score that softmax gives nothing; less than infinity, so that no difference is undefined */

struct attention {
    struct operand q, k, v;
    int64_t        q_heads, kv_heads, causal;
    float          scale, softcap;
    bool           flat; /* three axes */
};

/* (N, positions, heads * depth) to (N, heads, positions, depth) */
static ssld_status split_heads(struct reader *reader, const onnx_node *node, int64_t heads, struct operand *operand)
{
    static const int32_t perm[4] = { 0, 2, 1, 3 };
    const int64_t *dims = operand->view.dims;
    if (heads < 1 || dims[2] % heads)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "%lld features do not make %lld heads", (long long)dims[2],
                                (long long)heads);
    const struct whole apart[4] = { operand->view.batch ? (struct whole){ 0, dims[0] } : (struct whole){ dims[0], 0 },
                                    { 0, dims[1] }, { 0, heads }, { 0, dims[2] / heads } };
    ssld_status status = ssld_onnx_reshape(reader, node, operand, 4, apart, operand);
    return status ? status : ssld_onnx_transpose(reader, node, operand, perm, operand);
}

/* Heads of queries that follow each other share one of keys and values. */
static ssld_status repeat_heads(struct reader *reader, const onnx_node *node, int64_t heads, struct operand *operand)
{
    struct ssld_attributes attributes = ssld_op_defaults(SSLD_OP_GATHER);
    struct operand operands[2] = { *operand,
                                   { { 1, { heads, 1, 1, 1, 1, 1 }, -1, 1 }, SSLD_NO_VALUE, NULL } };
    struct view view = operand->view;
    int64_t own = view.dims[1];
    if (own == heads)
        return SSLD_OK;
    if (own < 1 || heads % own || view.batch == 1)
        return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "%lld heads share %lld", (long long)heads, (long long)own);
    ssld_status status = ssld_onnx_new_constant(reader, false, heads, &operands[1].constant);
    if (status)
        return status;
    for (int64_t i = 0; i < heads; i++)
        operands[1].constant->floats[i] = (float)(i / (heads / own));
    attributes.axis = 1;
    view.dims[1] = heads;
    return ssld_onnx_emit(reader, node, SSLD_OP_GATHER, &attributes, 2, operands, &view, operand);
}

static ssld_status read_attention(struct reader *reader, const onnx_node *node, struct attention *a)
{
    struct operand *const inputs[3] = { &a->q, &a->k, &a->v };
    const int64_t *const heads[3] = { &a->q_heads, &a->kv_heads, &a->kv_heads };
    int64_t left = -1, right = -1;
    ssld_status status;
    *a = (struct attention){ .scale = NAN };
    if ((status = ssld_onnx_need_inputs(reader, node, 3, 4)) ||
        (status = ssld_onnx_attribute_int(reader, node, "q_num_heads", &a->q_heads)) ||
        (status = ssld_onnx_attribute_int(reader, node, "kv_num_heads", &a->kv_heads)) ||
        (status = ssld_onnx_attribute_int(reader, node, "is_causal", &a->causal)) ||
        (status = ssld_onnx_attribute_int(reader, node, "left_window_size", &left)) ||
        (status = ssld_onnx_attribute_int(reader, node, "right_window_size", &right)) ||
        (status = ssld_onnx_attribute_float(reader, node, "scale", &a->scale)) ||
        (status = ssld_onnx_attribute_float(reader, node, "softcap", &a->softcap)))
        return status;
    if (left >= 0 || right >= 0)
        return ssld_onnx_refuse(reader, node, SSLD_UNSUPPORTED, "its windows are not supported");
    for (size_t i = 0; i < 3; i++) {
        if ((status = ssld_onnx_operand(reader, node, i, inputs[i])))
            return status;
        bool flat = inputs[i]->view.ndims == 3;
        if ((!flat && inputs[i]->view.ndims != 4) || (i && flat != a->flat))
            return ssld_onnx_refuse(reader, node, SSLD_FORMAT, "its input %zu has %d dimensions", i, inputs[i]->view.ndims);
        a->flat = flat;
        if (flat && (status = split_heads(reader, node, *heads[i], inputs[i])))
            return status;
    }
    if ((status = repeat_heads(reader, node, a->q.view.dims[1], &a->k)) ||
        (status = repeat_heads(reader, node, a->q.view.dims[1], &a->v)))
        return status;
    if (isnan(a->scale))
        a->scale = 1 / sqrtf((float)a->q.view.dims[3]);
    return SSLD_OK;
}

static ssld_status scale_by(struct reader *reader, const onnx_node *node, float factor, struct operand *operand)
{
    struct operand number;
    ssld_status status = ssld_onnx_scalar(reader, factor, &number);
    return status ? status : ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, operand, &number, operand);
}

/* What is added to scores, and, where a row may have nothing to see, what its weights are multiplied with. */
struct mask {
    struct operand added, shown; /* neither value nor constant: none */
    bool           hides, hides_rows;
};

/* Truth values hide where they are false; numbers are added, and hide where they are as good as minus infinity. */
static ssld_status read_mask(struct reader *reader, const onnx_node *node, struct mask *mask)
{
    const float *numbers;
    struct operand given;
    ssld_status status = ssld_onnx_operand(reader, node, 3, &given);
    mask->added = given;
    if (status || !given.constant)
        return status;
    int64_t columns = given.view.ndims ? given.view.dims[given.view.ndims - 1] : 1, seen = 0;
    mask->shown = given;
    if ((status = ssld_onnx_constant_floats(reader, node, given.constant, &numbers)) ||
        (status = ssld_onnx_new_constant(reader, false, given.constant->elements, &mask->added.constant)) ||
        (status = ssld_onnx_new_constant(reader, false, given.constant->elements, &mask->shown.constant)))
        return status;
    for (int64_t i = 0; i < given.constant->elements; i++) {
        bool hidden = given.constant->whole ? numbers[i] == 0 : numbers[i] <= HIDDEN;
        mask->added.constant->floats[i] = hidden ? HIDDEN : given.constant->whole ? 0 : numbers[i];
        mask->shown.constant->floats[i] = hidden ? 0 : 1;
        mask->hides = mask->hides || hidden;
        seen += !hidden;
        if ((i + 1) % columns == 0) {
            mask->hides_rows = mask->hides_rows || !seen;
            seen = 0;
        }
    }
    return SSLD_OK;
}

/* Position i sees those up to i. */
static ssld_status causal_mask(struct reader *reader, const struct operand *scores, struct mask *mask)
{
    int64_t rows = scores->view.dims[2], columns = scores->view.dims[3];
    mask->added = mask->shown =
        (struct operand){ { 2, { rows, columns, 1, 1, 1, 1 }, -1, 1 }, SSLD_NO_VALUE, NULL };
    ssld_status status = ssld_onnx_new_constant(reader, false, rows * columns, &mask->added.constant);
    if (!status)
        status = ssld_onnx_new_constant(reader, false, rows * columns, &mask->shown.constant);
    for (int64_t i = 0; i < rows * columns && !status; i++) {
        bool hidden = i % columns > i / columns;
        mask->added.constant->floats[i] = hidden ? HIDDEN : 0;
        mask->shown.constant->floats[i] = hidden ? 0 : 1;
    }
    return status;
}

/* Scores become weights. A row that sees nothing has none. */
static ssld_status weigh(struct reader *reader, const onnx_node *node, bool causal, struct operand *scores)
{
    struct ssld_attributes softmax = ssld_op_defaults(SSLD_OP_SOFTMAX);
    struct mask given = { .hides = false }, later = { .hides = false };
    bool masked = ssld_onnx_input_name(node, 3) != NULL;
    ssld_status status;
    softmax.axis = 3;
    if ((masked && ((status = read_mask(reader, node, &given)) ||
                    (status = ssld_onnx_binary(reader, node, SSLD_BINARY_ADD, scores, &given.added, scores)))) ||
        (causal && ((status = causal_mask(reader, scores, &later)) ||
                    (status = ssld_onnx_binary(reader, node, SSLD_BINARY_ADD, scores, &later.added, scores)))) ||
        (status = ssld_onnx_emit(reader, node, SSLD_OP_SOFTMAX, &softmax, 1, scores, &scores->view, scores)))
        return status;
    if (!given.hides_rows && !(given.hides && causal))
        return SSLD_OK;
    if ((status = ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, scores, &given.shown, scores)) ||
        (causal && (status = ssld_onnx_binary(reader, node, SSLD_BINARY_MUL, scores, &later.shown, scores))))
        return status;
    return SSLD_OK;
}

static ssld_status cap(struct reader *reader, const onnx_node *node, float most, struct operand *scores)
{
    const struct ssld_attributes tanh = ssld_op_defaults(SSLD_OP_TANH);
    ssld_status status;
    if ((status = scale_by(reader, node, 1 / most, scores)) ||
        (status = ssld_onnx_emit(reader, node, SSLD_OP_TANH, &tanh, 1, scores, &scores->view, scores)))
        return status;
    return scale_by(reader, node, most, scores);
}

ssld_status ssld_onnx_convert_attention(struct reader *reader, const struct onnx_operator *row, const onnx_node *node,
                                        struct ssld_attributes *attributes)
{
    static const int32_t turned[4] = { 0, 1, 3, 2 }, joined[4] = { 0, 2, 1, 3 };
    struct attention a;
    struct operand result;
    ssld_status status;
    (void)row;
    (void)attributes;
    if ((status = read_attention(reader, node, &a)) || (status = ssld_onnx_transpose(reader, node, &a.k, turned, &a.k)) ||
        (status = ssld_onnx_product(reader, node, &a.q, &a.k, &result)) ||
        (status = scale_by(reader, node, a.scale, &result)) ||
        (a.softcap > 0 && (status = cap(reader, node, a.softcap, &result))) ||
        (status = weigh(reader, node, a.causal != 0, &result)) ||
        (status = ssld_onnx_product(reader, node, &result, &a.v, &result)))
        return status;
    if (a.flat) {
        const int64_t *d = result.view.dims;
        const struct whole line[3] = { result.view.batch ? (struct whole){ 0, d[0] } : (struct whole){ d[0], 0 }, { 0, d[2] },
                                       { 0, d[1] * d[3] } };
        if ((status = ssld_onnx_transpose(reader, node, &result, joined, &result)) ||
            (status = ssld_onnx_reshape(reader, node, &result, 3, line, &result)))
            return status;
    }
    return ssld_onnx_give(reader, node, 0, &result);
}
