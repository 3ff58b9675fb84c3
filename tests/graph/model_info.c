/* SPDX-License-Identifier: BSD-2-Clause */
/* model_info.c - a model's sizes as one line of text, for tests written in other languages: model_info FILE.onnx */
#include <stdio.h>

#include "ssld/ssld.h"

int main(int argc, char **argv)
{
    ssld_context *context = NULL;
    ssld_model *model = NULL;
    ssld_model_info info = { .struct_size = sizeof info };
    char text[4096] = "";
    if (argc != 2 || ssld_context_create(NULL, &context))
        return 2;
    ssld_status status = ssld_model_load(context, argv[1], NULL, &model);
    if (!status)
        status = ssld_model_get_info(model, &info);
    ssld_context_error(context, text, sizeof text);
    if (status)
        printf("%s %s\n", ssld_status_name(status), text);
    else
        printf("OK classes=%d channels=%d height=%d width=%d nodes=%d batch_norms=%d parameters=%lld buffers=%lld macs=%lld\n",
               info.classes, info.channels, info.height, info.width, info.nodes, info.batch_norms, (long long)info.parameters,
               (long long)info.buffers, (long long)info.macs);
    ssld_model_destroy(model);
    ssld_context_destroy(context);
    return status != SSLD_OK;
}
