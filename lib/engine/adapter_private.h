/* SPDX-License-Identifier: BSD-2-Clause */
/* adapter_private.h - what adapter.c and the two versions share. */
#ifndef SSLD_LIB_ENGINE_ADAPTER_PRIVATE_H
#define SSLD_LIB_ENGINE_ADAPTER_PRIVATE_H

#include "engine/adapter.h"

struct ssld_window_dims {
    dnnl_dims_t kernel, strides, dilations, pads_low, pads_high;
};

void          ssld_window_dims(const struct ssld_window *window, struct ssld_window_dims *dims);
dnnl_status_t ssld_attributes_create(const struct ssld_dnnl_post_ops *post_ops, dnnl_primitive_attr_t *attributes);
/* The primitive of a descriptor just made; destroys the descriptor on failure. */
dnnl_status_t ssld_primitive_finish(struct ssld_primitive *primitive);

/* Per version. */
dnnl_status_t ssld_post_ops_append(dnnl_post_ops_t chain, const struct ssld_dnnl_eltwise *eltwise);
dnnl_status_t ssld_post_ops_append_sum(dnnl_post_ops_t chain, const ssld_md *summand);
size_t        ssld_scratchpad_size(const_dnnl_primitive_desc_t descriptor);

#endif
