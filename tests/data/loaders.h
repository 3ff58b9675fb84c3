/* SPDX-License-Identifier: BSD-2-Clause */
/* loaders.h - loaders and batches for the tests of loading. */
#ifndef SSLD_TESTS_DATA_LOADERS_H
#define SSLD_TESTS_DATA_LOADERS_H

#include "data/files.h"

static inline ssld_loader_options make_options(int32_t batch, int32_t threads)
{
    ssld_loader_options options;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = batch;
    options.threads = threads;
    options.view_seed = 77;
    options.order_seed = 78;
    return options;
}

static inline ssld_batch *make_batch(ssld_context *context)
{
    ssld_batch *batch = NULL;
    CHECK_OK(context, ssld_batch_create(context, &batch));
    return batch;
}

static inline ssld_loader *make_loader(ssld_context *context, const ssld_dataset *dataset, const ssld_view_spec *spec,
                                       const ssld_loader_options *options)
{
    ssld_loader *loader = NULL;
    CHECK_OK(context, ssld_loader_create(context, dataset, spec, options, &loader));
    return loader;
}

#endif
