/* SPDX-License-Identifier: BSD-2-Clause */
/* onnx_support.c - docs/onnx-support.md out of the reader's own tables: without arguments it is printed, with a path the file
 * there is compared to it (TAP). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/operators.h"

static const char head[] =
    "# What libssld reads of ONNX\n"
    "\n"
    "<!-- Written by tests/graph/onnx_support.c from the tables in lib/onnx and lib/graph/ops.c; a test compares. -->\n"
    "\n"
    "Opset 7 or later, IR version 3 or later, operators of the default domain. The first input is the image, (N, C, H, W) or\n"
    "(N, H, W, C), its number of channels fixed; batch, height and width may be open. A file that was exported with a fixed batch\n"
    "is read as one with an open batch. The first output is the logits (N, classes). Nodes that the output does not depend on are\n"
    "not looked at. Whatever else is wrong with a file's nodes is listed in one text, by name.\n"
    "\n"
    "- **Batch.** No operator may mix images. Reshapes and transposes may move the batch and merge it with other axes, as\n"
    "  attention is exported; an operator that sums, cuts or multiplies along it is refused.\n"
    "- **Shapes.** What is computed from constants and from Shape, the batch included, is folded when the file is read. Reshape,\n"
    "  Slice, Gather, Pad, Tile, Expand, Resize and reductions need numbers that are known then.\n"
    "- **Channels last.** Transposes that exporters put around convolutions cancel; what is between them is run with channels\n"
    "  first, products with a constant matrix as 1 x 1 convolutions.\n"
    "- **By parts.** GELU (Erf and Tanh), hard swish, hard sigmoid, SiLU, mish, softplus, layer norm and softmax are recognised\n"
    "  where they are spelled with several nodes; the names of tensors inside them are gone then.\n"
    "- **Weights.** float32, float16, bfloat16 and float64 become float32; whole numbers of any width and booleans are read where\n"
    "  they are shapes, indices, masks, or cast. They may stand in other files of the model's folder, not outside it. Each use of a\n"
    "  weight becomes a parameter of its own, also where the file stores equal values once: layers are trained apart.\n"
    "- **Size.** At most 6 dimensions, 2^31 - 1 elements in a tensor. Reading asks for no more memory than\n"
    "  `ssld_model_load_options.memory_limit`, nor for more than 16 times the size of the file and 64 MiB.\n"
    "\n"
    "Opsets: from the one named on, the newest included. An attribute that became an input is read in both forms. No words in\n"
    "brackets behind an attribute: any value.\n"
    "\n"
    "| operator | opset | what is asked of it | attributes |\n"
    "|---|---|---|---|\n";

static const char tail[] =
    "\n"
    "# What libssld writes\n"
    "\n"
    "Opset 17, IR version 8, batch `N`, weights in `float_data`. Batch norm stays as it is. Dropout is written as inference sees\n"
    "it: nothing, or with PaddleClas's `downscale_in_infer` a Mul by 1 - ratio. What opset 17 has not is written by parts, which\n"
    "reading puts together again: SiLU as Sigmoid and Mul, GELU with Erf, its tanh form as x * Sigmoid(2 u), mish with Softplus,\n"
    "layer norm of an image between two Transposes; group norm as InstanceNormalization of groups. A network of the zoo read back\n"
    "and written again is the same bytes; where an operator works on the axis that the batch shares with an image's rows, Reshapes\n"
    "stand around it. Refused by name: logic (And, Or, Xor, Not) and Mod of activations, Pad with `wrap`, Resize with coordinates\n"
    "that opset 17 has not.\n";

/* Does a rule of the reader's speak of the attribute? */
static bool handled(const char *operator_name, const char *attribute)
{
    char text[128];
    const char *name;
    for (int32_t i = 0; (name = ssld_onnx_attribute_rule(operator_name, i, text, sizeof text)); i++)
        if (!strcmp(name, attribute))
            return true;
    return false;
}

static void print_row(FILE *file, const struct onnx_operator *row)
{
    char text[128];
    const char *separator = "";
    fprintf(file, "| %s | %d | %s | ", row->name, row->since < 7 ? 7 : row->since, row->note);
    for (const struct ssld_attribute *place = row->kind < SSLD_OP_KINDS ? ssld_ops[row->kind].attributes : NULL;
         place && place->name; place++) {
        if (place->internal || handled(row->name, place->name))
            continue;
        fprintf(file, "%s`%s`", separator, place->name);
        separator = ", ";
    }
    const char *name;
    for (int32_t i = 0; (name = ssld_onnx_attribute_rule(row->name, i, text, sizeof text)); i++, separator = ", ")
        fprintf(file, *text ? "%s`%s` (%s)" : "%s`%s`", separator, name, text);
    fprintf(file, " |\n");
}

static void print_document(FILE *file)
{
    const struct onnx_operator *row;
    fputs(head, file);
    for (int32_t i = 0; (row = ssld_onnx_operator_at(i)); i++)
        print_row(file, row);
    fputs(tail, file);
}

int main(int argc, char **argv)
{
    static char wanted[65536], found[65536];
    if (argc < 2) {
        print_document(stdout);
        return 0;
    }
    FILE *memory = fmemopen(wanted, sizeof wanted, "w"), *file = fopen(argv[1], "r");
    if (!memory)
        return 2;
    print_document(memory);
    fclose(memory);
    if (file) {
        size_t size = fread(found, 1, sizeof found - 1, file);
        found[size] = 0;
        fclose(file);
    }
    bool same = !strcmp(wanted, found);
    printf("1..1\n%sok 1 - onnx_support_document_is_current\n", same ? "" : "not ");
    if (!same)
        printf("# write it anew: onnx_support > docs/onnx-support.md\n");
    return !same;
}
