/* SPDX-License-Identifier: BSD-2-Clause */
/* model.h - the inside of a model: a graph whose input and output are a classifier's. */
#ifndef SSLD_LIB_DISTILL_MODEL_H
#define SSLD_LIB_DISTILL_MODEL_H

#include "engine/engine.h"
#include "ssld/model.h"

struct ssld_model {
    ssld_context      *context;
    struct ssld_graph *graph;
};

/* A model that takes the graph over; on failure the graph is destroyed. Checks that it is a classifier. */
ssld_status ssld_model_adopt(ssld_context *context, struct ssld_graph *graph, ssld_model **model);

/* A teacher's or student's SSLD_PRECISION_x into the options of its plan; SSLD_INVALID_ARGUMENT for any other number. */
ssld_status ssld_precision_take(ssld_context *context, const char *function, int32_t precision,
                                struct ssld_plan_options *options);

/* The shape of a value for one image as ssld_layer and ssld_output have it: 1 past its axes. */
void ssld_model_dims(const struct ssld_value *value, int64_t dims[8]);

#endif
