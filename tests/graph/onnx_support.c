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
    "<!-- Written by tests/graph/onnx_support.c from the tables in lib/onnx/operators.c and lib/graph/ops.c; a test compares. -->\n"
    "\n"
    "Opset 7 or later, IR version 3 or later, operators of the default domain, constants in float32 inside the file. One input\n"
    "(N, channels, height, width) with a fixed number of channels; batch, height and width may be open. The first output is the\n"
    "logits (N, classes). Nodes that the output does not depend on are not looked at. Other operators, and attributes that are\n"
    "not listed, are refused in one text that names every such node.\n"
    "\n"
    "Each use of a constant becomes a parameter of its own, also where the file stores equal values once: layers are trained apart.\n"
    "\n"
    "| operator | what is asked of it | attributes |\n"
    "|---|---|---|\n";

static const char tail[] =
    "\n"
    "# What libssld writes\n"
    "\n"
    "Opset 17, IR version 8, batch `N`, weights in `float_data`. Batch norm stays as it is. Dropout is written as inference sees\n"
    "it: nothing, or with PaddleClas's `downscale_in_infer` a Mul by 1 - ratio. What opset 17 has not is written by parts, which\n"
    "reading puts together again: SiLU as Sigmoid and Mul, GELU with Erf, its tanh form as x * Sigmoid(2 u), layer norm of an image\n"
    "between two Transposes. A written file read back and written again is the same bytes.\n";

static void print_row(FILE *file, const struct onnx_operator *row)
{
    char text[128];
    const char *separator = "";
    fprintf(file, "| %s | %s | ", row->name, row->note);
    for (const struct ssld_attribute *place = row->kind < SSLD_OP_KINDS ? ssld_ops[row->kind].attributes : NULL;
         place && place->name; place++, separator = ", ")
        fprintf(file, "%s`%s`", separator, place->name);
    const char *name;
    for (int32_t i = 0; (name = ssld_onnx_attribute_rule(row->name, i, text, sizeof text)); i++, separator = ", ")
        fprintf(file, "%s`%s` (%s)", separator, name, text);
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
