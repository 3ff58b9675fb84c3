/* SPDX-License-Identifier: BSD-2-Clause */
/* functions.c - what the functions of UNARY and BINARY are, in double, and where RESIZE looks; and their ONNX names. */
#include "graph/graph.h"

#include <math.h>

/* -- One number --------------------------------------------------------------------------------------------------- */

/* ln(1 + e^x) without overflow */
static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

double ssld_unary_value(int32_t function, double alpha, double beta, double x)
{
    switch (function) {
    case SSLD_UNARY_SQRT: return sqrt(x);
    case SSLD_UNARY_EXP: return exp(x);
    case SSLD_UNARY_LOG: return log(x);
    case SSLD_UNARY_ABS: return fabs(x);
    case SSLD_UNARY_NEG: return -x;
    case SSLD_UNARY_RECIPROCAL: return 1 / x;
    case SSLD_UNARY_ERF: return erf(x);
    case SSLD_UNARY_SOFTPLUS: return softplus(x);
    case SSLD_UNARY_SOFTSIGN: return x / (1 + fabs(x));
    case SSLD_UNARY_ELU: return x < 0 ? alpha * expm1(x) : x;
    case SSLD_UNARY_CELU: return x < 0 ? alpha * expm1(x / alpha) : x;
    case SSLD_UNARY_SELU: return beta * (x < 0 ? alpha * expm1(x) : x);
    case SSLD_UNARY_MISH: return x * tanh(softplus(x));
    case SSLD_UNARY_FLOOR: return floor(x);
    case SSLD_UNARY_CEIL: return ceil(x);
    case SSLD_UNARY_ROUND: return rint(x);
    case SSLD_UNARY_SIGN: return x > 0 ? 1 : x < 0 ? -1 : x;
    case SSLD_UNARY_SIN: return sin(x);
    case SSLD_UNARY_COS: return cos(x);
    case SSLD_UNARY_NOT: return x == 0;
    default: return x;
    }
}

static double clipped(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

double ssld_activation_value(const struct ssld_activation *activation, double x)
{
    double alpha = activation->alpha, beta = activation->beta;
    switch (activation->kind) {
    case SSLD_OP_RELU: return x < 0 ? 0 : x;
    case SSLD_OP_CLIP: return clipped(x, alpha, beta);
    case SSLD_OP_HARD_SWISH: return x * clipped(x / 6 + 0.5, 0, 1);
    case SSLD_OP_HARD_SIGMOID: return clipped(alpha * x + beta, 0, 1);
    case SSLD_OP_SIGMOID: return 1 / (1 + exp(-x));
    case SSLD_OP_LEAKY_RELU: return x < 0 ? alpha * x : x;
    case SSLD_OP_SILU: return x / (1 + exp(-x));
    case SSLD_OP_GELU: return x / 2 * (1 + erf(x / 1.4142135623730951));
    case SSLD_OP_GELU_TANH: return x / 2 * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case SSLD_OP_TANH: return tanh(x);
    default: return x;
    }
}

static double remainder_of_divisor(double a, double b)
{
    double rest = fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* Min and Max give NaN where one is NaN, as ONNX Runtime and PyTorch do. */
double ssld_binary_value(int32_t function, double a, double b)
{
    switch (function) {
    case SSLD_BINARY_ADD: return a + b;
    case SSLD_BINARY_SUB: return a - b;
    case SSLD_BINARY_MUL: return a * b;
    case SSLD_BINARY_DIV: return a / b;
    case SSLD_BINARY_POW: return pow(a, b);
    case SSLD_BINARY_MIN: return isnan(a) || a < b ? a : b;
    case SSLD_BINARY_MAX: return isnan(a) || a > b ? a : b;
    case SSLD_BINARY_EQUAL: return a == b;
    case SSLD_BINARY_GREATER: return a > b;
    case SSLD_BINARY_GREATER_OR_EQUAL: return a >= b;
    case SSLD_BINARY_LESS: return a < b;
    case SSLD_BINARY_LESS_OR_EQUAL: return a <= b;
    case SSLD_BINARY_AND: return a != 0 && b != 0;
    case SSLD_BINARY_OR: return a != 0 || b != 0;
    case SSLD_BINARY_XOR: return (a != 0) != (b != 0);
    case SSLD_BINARY_MOD: return remainder_of_divisor(a, b);
    case SSLD_BINARY_FMOD: return fmod(a, b);
    default: return a;
    }
}

/* -- Names -------------------------------------------------------------------------------------------------------- */

static const char *const unary_names[SSLD_UNARIES] = {
    [SSLD_UNARY_SQRT] = "Sqrt", [SSLD_UNARY_EXP] = "Exp", [SSLD_UNARY_LOG] = "Log", [SSLD_UNARY_ABS] = "Abs",
    [SSLD_UNARY_NEG] = "Neg", [SSLD_UNARY_RECIPROCAL] = "Reciprocal", [SSLD_UNARY_ERF] = "Erf",
    [SSLD_UNARY_SOFTPLUS] = "Softplus", [SSLD_UNARY_SOFTSIGN] = "Softsign", [SSLD_UNARY_ELU] = "Elu",
    [SSLD_UNARY_CELU] = "Celu", [SSLD_UNARY_SELU] = "Selu", [SSLD_UNARY_MISH] = "Mish", [SSLD_UNARY_FLOOR] = "Floor",
    [SSLD_UNARY_CEIL] = "Ceil", [SSLD_UNARY_ROUND] = "Round", [SSLD_UNARY_SIGN] = "Sign", [SSLD_UNARY_SIN] = "Sin",
    [SSLD_UNARY_COS] = "Cos", [SSLD_UNARY_NOT] = "Not",
};

static const char *const binary_names[SSLD_BINARIES] = {
    [SSLD_BINARY_ADD] = "Add", [SSLD_BINARY_SUB] = "Sub", [SSLD_BINARY_MUL] = "Mul", [SSLD_BINARY_DIV] = "Div",
    [SSLD_BINARY_POW] = "Pow", [SSLD_BINARY_MIN] = "Min", [SSLD_BINARY_MAX] = "Max", [SSLD_BINARY_EQUAL] = "Equal",
    [SSLD_BINARY_GREATER] = "Greater", [SSLD_BINARY_GREATER_OR_EQUAL] = "GreaterOrEqual", [SSLD_BINARY_LESS] = "Less",
    [SSLD_BINARY_LESS_OR_EQUAL] = "LessOrEqual", [SSLD_BINARY_AND] = "And", [SSLD_BINARY_OR] = "Or",
    [SSLD_BINARY_XOR] = "Xor", [SSLD_BINARY_MOD] = "Mod", [SSLD_BINARY_FMOD] = "Mod",
};

static const char *const reduce_names[SSLD_REDUCTIONS] = {
    [SSLD_REDUCE_MEAN] = "ReduceMean",
    [SSLD_REDUCE_SUM] = "ReduceSum",
    [SSLD_REDUCE_MAX] = "ReduceMax",
    [SSLD_REDUCE_MIN] = "ReduceMin",
    [SSLD_REDUCE_PROD] = "ReduceProd",
    [SSLD_REDUCE_L1] = "ReduceL1",
    [SSLD_REDUCE_L2] = "ReduceL2",
    [SSLD_REDUCE_LOG_SUM] = "ReduceLogSum",
    [SSLD_REDUCE_LOG_SUM_EXP] = "ReduceLogSumExp",
    [SSLD_REDUCE_SUM_SQUARE] = "ReduceSumSquare",
};

const char *ssld_node_operator(const struct ssld_node *node)
{
    int32_t function = node->attributes.function;
    if (node->kind == SSLD_OP_UNARY && function >= 0 && function < SSLD_UNARIES)
        return unary_names[function];
    if (node->kind == SSLD_OP_BINARY && function >= 0 && function < SSLD_BINARIES)
        return binary_names[function];
    if (node->kind == SSLD_OP_REDUCE && function >= 0 && function < SSLD_REDUCTIONS)
        return reduce_names[function];
    return ssld_ops[node->kind].name;
}

/* -- Where RESIZE looks ------------------------------------------------------------------------------------------- */

double ssld_resize_source(const struct ssld_attributes *attributes, int32_t axis, int64_t in, int64_t out, int64_t x)
{
    double scale = attributes->scales[axis], at = (double)x;
    switch (attributes->coordinates) {
    case SSLD_COORDINATES_PYTORCH_HALF_PIXEL:
        return out > 1 ? (at + 0.5) / scale - 0.5 : 0;
    case SSLD_COORDINATES_ALIGN_CORNERS: /* ONNX's reference counts with in * scale, which may be more than out */
        return out > 1 ? at * (double)(in - 1) / ((double)in * scale - 1) : 0;
    case SSLD_COORDINATES_ASYMMETRIC:
        return at / scale;
    case SSLD_COORDINATES_TF_HALF_PIXEL:
        return (at + 0.5) / scale;
    case SSLD_COORDINATES_HALF_PIXEL_SYMMETRIC: {
        double adjustment = (double)out / (scale * (double)in), offset = (double)in / 2 * (1 - adjustment);
        return offset + (at + 0.5) / scale - 0.5;
    }
    default:
        return (at + 0.5) / scale - 0.5;
    }
}

int64_t ssld_resize_round(int32_t rounding, double place, int64_t in)
{
    double rounded = rounding == SSLD_ROUND_FLOOR         ? floor(place)
                     : rounding == SSLD_ROUND_CEIL        ? ceil(place)
                     : rounding == SSLD_ROUND_PREFER_CEIL ? floor(place + 0.5)
                                                          : ceil(place - 0.5);
    return rounded < 0 ? 0 : rounded > (double)(in - 1) ? in - 1 : (int64_t)rounded;
}
