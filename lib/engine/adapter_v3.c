/* SPDX-License-Identifier: BSD-2-Clause */
/* adapter_v3.c - the adapter on oneDNN 3.x: memory descriptors are opaque handles, primitive descriptors are made in one
 * call. */
#include <string.h>

#include "engine/adapter_private.h"

/* struct ssld_md is never defined here: an ssld_md pointer is oneDNN's handle by another name. */
static ssld_md *md_of_handle(dnnl_memory_desc_t handle)
{
    return (ssld_md *)handle;
}

static dnnl_memory_desc_t handle_of(const ssld_md *md)
{
    return (dnnl_memory_desc_t)(uintptr_t)md;
}

/* -- Memory descriptors ------------------------------------------------------------------------------------------- */

ssld_status ssld_md_create(const struct ssld_dnnl *dnnl, int ndims, const int64_t *dims, dnnl_data_type_t type,
                           dnnl_format_tag_t tag, ssld_md **md)
{
    dnnl_memory_desc_t handle = NULL;
    dnnl_dims_t padded = { 0 };
    memcpy(padded, dims, (size_t)ndims * sizeof dims[0]);
    dnnl_status_t status = dnnl_memory_desc_create_with_tag(&handle, ndims, padded, type, tag);
    if (status != dnnl_success)
        return ssld_dnnl_fail(dnnl, status, "a memory descriptor");
    *md = md_of_handle(handle);
    return SSLD_OK;
}

ssld_status ssld_md_create_strided(const struct ssld_dnnl *dnnl, int ndims, const int64_t *dims, const int64_t *strides,
                                   dnnl_data_type_t type, ssld_md **md)
{
    dnnl_memory_desc_t handle = NULL;
    dnnl_dims_t all_dims = { 0 }, all_strides = { 0 };
    memcpy(all_dims, dims, (size_t)ndims * sizeof dims[0]);
    memcpy(all_strides, strides, (size_t)ndims * sizeof strides[0]);
    dnnl_status_t status = dnnl_memory_desc_create_with_strides(&handle, ndims, all_dims, type, all_strides);
    if (status != dnnl_success)
        return ssld_dnnl_fail(dnnl, status, "a memory descriptor");
    *md = md_of_handle(handle);
    return SSLD_OK;
}

void ssld_md_destroy(const struct ssld_dnnl *dnnl, ssld_md *md)
{
    (void)dnnl;
    if (md)
        dnnl_memory_desc_destroy(handle_of(md));
}

size_t ssld_md_size(const ssld_md *md)
{
    return dnnl_memory_desc_get_size(handle_of(md));
}

bool ssld_md_equal(const ssld_md *a, const ssld_md *b)
{
    return dnnl_memory_desc_equal(handle_of(a), handle_of(b));
}

ssld_status ssld_md_of(const struct ssld_dnnl *dnnl, const struct ssld_primitive *primitive, dnnl_query_t what,
                       int index, ssld_md **md)
{
    dnnl_memory_desc_t copy = NULL;
    const_dnnl_memory_desc_t handle = dnnl_primitive_desc_query_md(primitive->descriptor, what, index);
    dnnl_status_t status = handle ? dnnl_memory_desc_clone(&copy, handle) : dnnl_invalid_arguments;
    if (status != dnnl_success)
        return ssld_dnnl_fail(dnnl, status, "a memory descriptor query");
    *md = md_of_handle(copy);
    return SSLD_OK;
}

ssld_status ssld_memory_create(const struct ssld_dnnl *dnnl, const ssld_md *md, void *handle, dnnl_memory_t *memory)
{
    dnnl_status_t status = dnnl_memory_create(memory, handle_of(md), dnnl->engine, handle);
    return status == dnnl_success ? SSLD_OK : ssld_dnnl_fail(dnnl, status, "a memory object");
}

size_t ssld_scratchpad_size(const_dnnl_primitive_desc_t descriptor)
{
    const_dnnl_memory_desc_t handle = dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0);
    return handle ? dnnl_memory_desc_get_size(handle) : 0;
}

/* -- Primitives --------------------------------------------------------------------------------------------------- */

dnnl_status_t ssld_post_ops_append(dnnl_post_ops_t chain, const struct ssld_dnnl_eltwise *eltwise)
{
    return dnnl_post_ops_append_eltwise(chain, eltwise->algorithm, eltwise->alpha, eltwise->beta);
}

dnnl_status_t ssld_post_ops_append_sum(dnnl_post_ops_t chain, const ssld_md *summand)
{
    return dnnl_post_ops_append_binary(chain, dnnl_binary_add, handle_of(summand));
}

/* Wraps the one call that differs between primitives, which sees `attributes` and `hint`. */
#define CREATE(post_ops, forward, call)                                                                                \
    do {                                                                                                               \
        dnnl_primitive_attr_t attributes = NULL;                                                                       \
        const_dnnl_primitive_desc_t hint = (forward) ? (forward)->descriptor : NULL;                                   \
        (void)hint;                                                                                                    \
        *primitive = (struct ssld_primitive){ 0 };                                                                     \
        dnnl_status_t status = ssld_attributes_create((post_ops), &attributes);                                        \
        if (status == dnnl_success)                                                                                    \
            status = (call);                                                                                           \
        if (attributes)                                                                                                \
            dnnl_primitive_attr_destroy(attributes);                                                                   \
        return status == dnnl_success ? ssld_primitive_finish(primitive) : status;                                     \
    } while (0)

#define NO_FORWARD ((const struct ssld_primitive *)NULL)

dnnl_status_t ssld_convolution_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation, const ssld_md *src,
                                       const ssld_md *weights, const ssld_md *bias, const ssld_md *dst,
                                       const struct ssld_window *window, const struct ssld_dnnl_post_ops *post_ops,
                                       struct ssld_primitive *primitive)
{
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    CREATE(post_ops, NO_FORWARD,
           dnnl_convolution_forward_primitive_desc_create(&primitive->descriptor, dnnl->engine, propagation,
                                                          dnnl_convolution_direct, handle_of(src), handle_of(weights),
                                                          handle_of(bias), handle_of(dst), dims.strides, dims.dilations,
                                                          dims.pads_low, dims.pads_high, attributes));
}

dnnl_status_t ssld_convolution_backward_data(const struct ssld_dnnl *dnnl, const ssld_md *diff_src,
                                             const ssld_md *weights, const ssld_md *diff_dst,
                                             const struct ssld_window *window, const struct ssld_primitive *forward,
                                             struct ssld_primitive *primitive)
{
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    CREATE(NULL, forward,
           dnnl_convolution_backward_data_primitive_desc_create(
               &primitive->descriptor, dnnl->engine, dnnl_convolution_direct, handle_of(diff_src), handle_of(weights),
               handle_of(diff_dst), dims.strides, dims.dilations, dims.pads_low, dims.pads_high, hint, attributes));
}

dnnl_status_t ssld_convolution_backward_weights(const struct ssld_dnnl *dnnl, const ssld_md *src,
                                                const ssld_md *diff_weights, const ssld_md *diff_bias,
                                                const ssld_md *diff_dst, const struct ssld_window *window,
                                                const struct ssld_primitive *forward, struct ssld_primitive *primitive)
{
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    CREATE(NULL, forward,
           dnnl_convolution_backward_weights_primitive_desc_create(
               &primitive->descriptor, dnnl->engine, dnnl_convolution_direct, handle_of(src), handle_of(diff_weights),
               handle_of(diff_bias), handle_of(diff_dst), dims.strides, dims.dilations, dims.pads_low, dims.pads_high,
               hint, attributes));
}

dnnl_status_t ssld_inner_product_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation, const ssld_md *src,
                                         const ssld_md *weights, const ssld_md *bias, const ssld_md *dst,
                                         const struct ssld_dnnl_post_ops *post_ops, struct ssld_primitive *primitive)
{
    CREATE(post_ops, NO_FORWARD,
           dnnl_inner_product_forward_primitive_desc_create(&primitive->descriptor, dnnl->engine, propagation,
                                                            handle_of(src), handle_of(weights), handle_of(bias),
                                                            handle_of(dst), attributes));
}

dnnl_status_t ssld_inner_product_backward_data(const struct ssld_dnnl *dnnl, const ssld_md *diff_src,
                                               const ssld_md *weights, const ssld_md *diff_dst,
                                               const struct ssld_primitive *forward, struct ssld_primitive *primitive)
{
    CREATE(NULL, forward,
           dnnl_inner_product_backward_data_primitive_desc_create(&primitive->descriptor, dnnl->engine,
                                                                  handle_of(diff_src), handle_of(weights),
                                                                  handle_of(diff_dst), hint, attributes));
}

dnnl_status_t ssld_inner_product_backward_weights(const struct ssld_dnnl *dnnl, const ssld_md *src,
                                                  const ssld_md *diff_weights, const ssld_md *diff_bias,
                                                  const ssld_md *diff_dst, const struct ssld_primitive *forward,
                                                  struct ssld_primitive *primitive)
{
    CREATE(NULL, forward,
           dnnl_inner_product_backward_weights_primitive_desc_create(
               &primitive->descriptor, dnnl->engine, handle_of(src), handle_of(diff_weights), handle_of(diff_bias),
               handle_of(diff_dst), hint, attributes));
}

dnnl_status_t ssld_matmul(const struct ssld_dnnl *dnnl, const ssld_md *src, const ssld_md *weights, const ssld_md *bias,
                          const ssld_md *dst, const struct ssld_dnnl_post_ops *post_ops, struct ssld_primitive *primitive)
{
    CREATE(post_ops, NO_FORWARD,
           dnnl_matmul_primitive_desc_create(&primitive->descriptor, dnnl->engine, handle_of(src), handle_of(weights),
                                             handle_of(bias), handle_of(dst), attributes));
}

dnnl_status_t ssld_pooling_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation,
                                   dnnl_alg_kind_t algorithm, const ssld_md *src, const ssld_md *dst,
                                   const struct ssld_window *window, struct ssld_primitive *primitive)
{
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    CREATE(NULL, NO_FORWARD,
           dnnl_pooling_forward_primitive_desc_create(&primitive->descriptor, dnnl->engine, propagation, algorithm,
                                                      handle_of(src), handle_of(dst), dims.strides, dims.kernel,
                                                      dims.dilations, dims.pads_low, dims.pads_high, attributes));
}

dnnl_status_t ssld_pooling_backward(const struct ssld_dnnl *dnnl, dnnl_alg_kind_t algorithm, const ssld_md *diff_src,
                                    const ssld_md *diff_dst, const struct ssld_window *window,
                                    const struct ssld_primitive *forward, struct ssld_primitive *primitive)
{
    struct ssld_window_dims dims;
    ssld_window_dims(window, &dims);
    CREATE(NULL, forward,
           dnnl_pooling_backward_primitive_desc_create(
               &primitive->descriptor, dnnl->engine, algorithm, handle_of(diff_src), handle_of(diff_dst), dims.strides,
               dims.kernel, dims.dilations, dims.pads_low, dims.pads_high, hint, attributes));
}

dnnl_status_t ssld_reorder(const struct ssld_dnnl *dnnl, const ssld_md *src, const ssld_md *dst,
                           struct ssld_primitive *primitive)
{
    CREATE(NULL, NO_FORWARD,
           dnnl_reorder_primitive_desc_create(&primitive->descriptor, handle_of(src), dnnl->engine, handle_of(dst),
                                              dnnl->engine, attributes));
}
