/* SPDX-License-Identifier: BSD-2-Clause */
/* adapter_v2.c - the adapter on oneDNN 2.6: operation descriptors are structs, memory descriptors are copied by value. */
#include <string.h>

#include "engine/adapter_private.h"

struct ssld_md {
    dnnl_memory_desc_t value;
};

/* -- Memory descriptors ------------------------------------------------------------------------------------------- */

static ssld_status md_copy(const struct ssld_dnnl *dnnl, const dnnl_memory_desc_t *value, ssld_md **md)
{
    ssld_md *made = ssld_alloc(dnnl->context, sizeof *made);
    if (!made)
        return ssld_fail_memory(dnnl->context, "a memory descriptor", sizeof *made);
    made->value = *value;
    *md = made;
    return SSLD_OK;
}

ssld_status ssld_md_create(const struct ssld_dnnl *dnnl, int ndims, const int64_t *dims, dnnl_data_type_t type,
                           dnnl_format_tag_t tag, ssld_md **md)
{
    dnnl_memory_desc_t value;
    dnnl_dims_t padded = { 0 };
    memcpy(padded, dims, (size_t)ndims * sizeof dims[0]);
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&value, ndims, padded, type, tag);
    return status == dnnl_success ? md_copy(dnnl, &value, md) : ssld_dnnl_fail(dnnl, status, "a memory descriptor");
}

ssld_status ssld_md_create_strided(const struct ssld_dnnl *dnnl, int ndims, const int64_t *dims, const int64_t *strides,
                                   dnnl_data_type_t type, ssld_md **md)
{
    dnnl_memory_desc_t value;
    dnnl_dims_t all_dims = { 0 }, all_strides = { 0 };
    memcpy(all_dims, dims, (size_t)ndims * sizeof dims[0]);
    memcpy(all_strides, strides, (size_t)ndims * sizeof strides[0]);
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(&value, ndims, all_dims, type, all_strides);
    return status == dnnl_success ? md_copy(dnnl, &value, md) : ssld_dnnl_fail(dnnl, status, "a memory descriptor");
}

void ssld_md_destroy(const struct ssld_dnnl *dnnl, ssld_md *md)
{
    ssld_free(dnnl->context, md);
}

size_t ssld_md_size(const ssld_md *md)
{
    return dnnl_memory_desc_get_size(&md->value);
}

bool ssld_md_equal(const ssld_md *a, const ssld_md *b)
{
    return dnnl_memory_desc_equal(&a->value, &b->value);
}

ssld_status ssld_md_of(const struct ssld_dnnl *dnnl, const struct ssld_primitive *primitive, dnnl_query_t what,
                       int index, ssld_md **md)
{
    const dnnl_memory_desc_t *value = dnnl_primitive_desc_query_md(primitive->descriptor, what, index);
    if (!value)
        return ssld_dnnl_fail(dnnl, dnnl_invalid_arguments, "a memory descriptor query");
    return md_copy(dnnl, value, md);
}

ssld_status ssld_memory_create(const struct ssld_dnnl *dnnl, const ssld_md *md, void *handle, dnnl_memory_t *memory)
{
    dnnl_status_t status = dnnl_memory_create(memory, &md->value, dnnl->engine, handle);
    return status == dnnl_success ? SSLD_OK : ssld_dnnl_fail(dnnl, status, "a memory object");
}

static const dnnl_memory_desc_t *value_of(const ssld_md *md)
{
    return md ? &md->value : NULL;
}

size_t ssld_scratchpad_size(const_dnnl_primitive_desc_t descriptor)
{
    const dnnl_memory_desc_t *value = dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0);
    return value ? dnnl_memory_desc_get_size(value) : 0;
}

/* -- Primitives --------------------------------------------------------------------------------------------------- */

dnnl_status_t ssld_post_ops_append(dnnl_post_ops_t chain, const struct ssld_dnnl_eltwise *eltwise)
{
    return dnnl_post_ops_append_eltwise(chain, 1.0f, eltwise->algorithm, eltwise->alpha, eltwise->beta);
}

dnnl_status_t ssld_post_ops_append_sum(dnnl_post_ops_t chain, const ssld_md *summand)
{
    return dnnl_post_ops_append_binary(chain, dnnl_binary_add, &summand->value);
}

/* The second half of every creation: `operation` is the result of the _desc_init before it. */
static dnnl_status_t create(const struct ssld_dnnl *dnnl, dnnl_status_t operation, const_dnnl_op_desc_t description,
                            const struct ssld_dnnl_post_ops *post_ops, const struct ssld_primitive *forward,
                            struct ssld_primitive *primitive)
{
    dnnl_primitive_attr_t attributes = NULL;
    *primitive = (struct ssld_primitive){ 0 };
    dnnl_status_t status = operation;
    if (status == dnnl_success)
        status = ssld_attributes_create(post_ops, &attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(&primitive->descriptor, description, attributes, dnnl->engine,
                                            forward ? forward->descriptor : NULL);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    return status == dnnl_success ? ssld_primitive_finish(primitive) : status;
}

/* Winograd's algorithm multiplies 16 or 36 times for 4 or 16 results of a 3 x 3 convolution, where others do 36 or 144 times. Its
 * weights are as much larger than the plain ones: worth it if they are read for as many pixels as this. */
#define WINOGRAD_PIXELS 196

static bool suits_winograd(dnnl_prop_kind_t propagation, const ssld_md *src, const struct ssld_window *window)
{
    const dnnl_dim_t *dims = src->value.dims;
    return propagation == dnnl_forward_inference && src->value.data_type == dnnl_f32 && window->kernel[0] == 3 &&
           window->kernel[1] == 3 && dims[0] * dims[2] * dims[3] >= WINOGRAD_PIXELS;
}

static dnnl_status_t forward_by(dnnl_alg_kind_t algorithm, const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation,
                                const ssld_md *src, const ssld_md *weights, const ssld_md *bias, const ssld_md *dst,
                                const struct ssld_window *window, const struct ssld_dnnl_post_ops *post_ops,
                                struct ssld_primitive *primitive)
{
    dnnl_convolution_desc_t description;
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &description, propagation, algorithm, &src->value, &weights->value, value_of(bias), &dst->value, dims.strides,
        dims.dilations, dims.pads_low, dims.pads_high);
    return create(dnnl, status, &description, post_ops, NULL, primitive);
}

dnnl_status_t ssld_convolution_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation, const ssld_md *src,
                                       const ssld_md *weights, const ssld_md *bias, const ssld_md *dst,
                                       const struct ssld_window *window, const struct ssld_dnnl_post_ops *post_ops,
                                       struct ssld_primitive *primitive)
{
    /* What it cannot do (strides, groups, some numbers of channels, processors without AVX-512) it refuses. */
    if (suits_winograd(propagation, src, window) &&
        forward_by(dnnl_convolution_winograd, dnnl, propagation, src, weights, bias, dst, window, post_ops, primitive) ==
            dnnl_success)
        return dnnl_success;
    return forward_by(dnnl_convolution_direct, dnnl, propagation, src, weights, bias, dst, window, post_ops, primitive);
}

dnnl_status_t ssld_convolution_backward_data(const struct ssld_dnnl *dnnl, const ssld_md *diff_src,
                                             const ssld_md *weights, const ssld_md *diff_dst,
                                             const struct ssld_window *window, const struct ssld_primitive *forward,
                                             struct ssld_primitive *primitive)
{
    dnnl_convolution_desc_t description;
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    dnnl_status_t status = dnnl_dilated_convolution_backward_data_desc_init(
        &description, dnnl_convolution_direct, &diff_src->value, &weights->value, &diff_dst->value, dims.strides,
        dims.dilations, dims.pads_low, dims.pads_high);
    return create(dnnl, status, &description, NULL, forward, primitive);
}

dnnl_status_t ssld_convolution_backward_weights(const struct ssld_dnnl *dnnl, const ssld_md *src,
                                                const ssld_md *diff_weights, const ssld_md *diff_bias,
                                                const ssld_md *diff_dst, const struct ssld_window *window,
                                                const struct ssld_primitive *forward, struct ssld_primitive *primitive)
{
    dnnl_convolution_desc_t description;
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    dnnl_status_t status = dnnl_dilated_convolution_backward_weights_desc_init(
        &description, dnnl_convolution_direct, &src->value, &diff_weights->value, value_of(diff_bias), &diff_dst->value,
        dims.strides, dims.dilations, dims.pads_low, dims.pads_high);
    return create(dnnl, status, &description, NULL, forward, primitive);
}

dnnl_status_t ssld_inner_product_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation, const ssld_md *src,
                                         const ssld_md *weights, const ssld_md *bias, const ssld_md *dst,
                                         const struct ssld_dnnl_post_ops *post_ops, struct ssld_primitive *primitive)
{
    dnnl_inner_product_desc_t description;
    dnnl_status_t status = dnnl_inner_product_forward_desc_init(&description, propagation, &src->value, &weights->value,
                                                                value_of(bias), &dst->value);
    return create(dnnl, status, &description, post_ops, NULL, primitive);
}

dnnl_status_t ssld_inner_product_backward_data(const struct ssld_dnnl *dnnl, const ssld_md *diff_src,
                                               const ssld_md *weights, const ssld_md *diff_dst,
                                               const struct ssld_primitive *forward, struct ssld_primitive *primitive)
{
    dnnl_inner_product_desc_t description;
    dnnl_status_t status =
        dnnl_inner_product_backward_data_desc_init(&description, &diff_src->value, &weights->value, &diff_dst->value);
    return create(dnnl, status, &description, NULL, forward, primitive);
}

dnnl_status_t ssld_inner_product_backward_weights(const struct ssld_dnnl *dnnl, const ssld_md *src,
                                                  const ssld_md *diff_weights, const ssld_md *diff_bias,
                                                  const ssld_md *diff_dst, const struct ssld_primitive *forward,
                                                  struct ssld_primitive *primitive)
{
    dnnl_inner_product_desc_t description;
    dnnl_status_t status = dnnl_inner_product_backward_weights_desc_init(
        &description, &src->value, &diff_weights->value, value_of(diff_bias), &diff_dst->value);
    return create(dnnl, status, &description, NULL, forward, primitive);
}

dnnl_status_t ssld_matmul(const struct ssld_dnnl *dnnl, const ssld_md *src, const ssld_md *weights, const ssld_md *bias,
                          const ssld_md *dst, const struct ssld_dnnl_post_ops *post_ops, struct ssld_primitive *primitive)
{
    dnnl_matmul_desc_t description;
    dnnl_status_t status = dnnl_matmul_desc_init(&description, &src->value, &weights->value, value_of(bias), &dst->value);
    return create(dnnl, status, &description, post_ops, NULL, primitive);
}

dnnl_status_t ssld_pooling_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation,
                                   dnnl_alg_kind_t algorithm, const ssld_md *src, const ssld_md *dst,
                                   const struct ssld_window *window, struct ssld_primitive *primitive)
{
    dnnl_pooling_v2_desc_t description;
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    dnnl_status_t status =
        dnnl_pooling_v2_forward_desc_init(&description, propagation, algorithm, &src->value, &dst->value, dims.strides,
                                          dims.kernel, dims.dilations, dims.pads_low, dims.pads_high);
    return create(dnnl, status, &description, NULL, NULL, primitive);
}

dnnl_status_t ssld_pooling_backward(const struct ssld_dnnl *dnnl, dnnl_alg_kind_t algorithm, const ssld_md *diff_src,
                                    const ssld_md *diff_dst, const struct ssld_window *window,
                                    const struct ssld_primitive *forward, struct ssld_primitive *primitive)
{
    dnnl_pooling_v2_desc_t description;
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    dnnl_status_t status =
        dnnl_pooling_v2_backward_desc_init(&description, algorithm, &diff_src->value, &diff_dst->value, dims.strides,
                                           dims.kernel, dims.dilations, dims.pads_low, dims.pads_high);
    return create(dnnl, status, &description, NULL, forward, primitive);
}

dnnl_status_t ssld_reorder(const struct ssld_dnnl *dnnl, const ssld_md *src, const ssld_md *dst,
                           struct ssld_primitive *primitive)
{
    dnnl_primitive_attr_t attributes = NULL;
    *primitive = (struct ssld_primitive){ 0 };
    dnnl_status_t status = ssld_attributes_create(NULL, &attributes);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&primitive->descriptor, &src->value, dnnl->engine, &dst->value,
                                                    dnnl->engine, attributes);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    return status == dnnl_success ? ssld_primitive_finish(primitive) : status;
}
