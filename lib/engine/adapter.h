/* SPDX-License-Identifier: BSD-2-Clause */
/* adapter.h - oneDNN in the shape of its version 3, on version 2.6 as well. meson compiles adapter_v2.c or adapter_v3.c.
 *
 * Operators include this and never dnnl.h's version-dependent calls. Enum names are the same in both majors, their
 * values are not: nothing of oneDNN is ever stored in a file. Every primitive takes its scratchpad from its user,
 * because the library's own is tied to the thread that created the primitive. */
#ifndef SSLD_LIB_ENGINE_ADAPTER_H
#define SSLD_LIB_ENGINE_ADAPTER_H

#include <oneapi/dnnl/dnnl.h>

#include "engine/element.h"
#include "graph/graph.h"

/* An owned memory descriptor: 3.x's opaque one, or a copy of 2.x's struct. */
typedef struct ssld_md ssld_md;

struct ssld_dnnl {
    ssld_context *context;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

/* A primitive with what is asked of its descriptor afterwards. */
struct ssld_primitive {
    dnnl_primitive_t      primitive;
    dnnl_primitive_desc_t descriptor;
    size_t                scratchpad; /* bytes */
};

/* -- The engine --------------------------------------------------------------------------------------------------- */

ssld_status ssld_dnnl_open(ssld_context *context, struct ssld_dnnl *dnnl); /* checks the loaded major version */
void        ssld_dnnl_close(struct ssld_dnnl *dnnl);
/* The same engine with a stream of its own, for another thread; closed before the one it is of. */
ssld_status ssld_dnnl_share(const struct ssld_dnnl *dnnl, struct ssld_dnnl *shared);
void        ssld_dnnl_unshare(struct ssld_dnnl *shared);
/* SSLD_BACKEND or SSLD_OUT_OF_MEMORY with a text; `what` names operator and node: "Conv 'conv1', backward data". */
ssld_status ssld_dnnl_fail(const struct ssld_dnnl *dnnl, dnnl_status_t status, const char *what);

/* Whether the CPU has instructions for products of bfloat16, and oneDNN uses them. */
bool            ssld_dnnl_multiplies_bf16(void);
/* Whether it has tiles too (AMX), which oneDNN's convolutions use if channels come last. */
bool            ssld_dnnl_has_tiles(void);
/* The widest instructions that oneDNN uses, by the names of its DNNL_MAX_CPU_ISA in lower case; "default": it does not tell. */
const char     *ssld_dnnl_isa(void);
dnnl_data_type_t ssld_dnnl_type(int32_t type); /* of an ELEMENT_x */

/* -- Memory descriptors ---------------------------------------------------------------------------------- */

ssld_status ssld_md_create(const struct ssld_dnnl *dnnl, int ndims, const int64_t *dims, dnnl_data_type_t type,
                           dnnl_format_tag_t tag, ssld_md **md);
/* With a stride for each axis, in elements. */
ssld_status ssld_md_create_strided(const struct ssld_dnnl *dnnl, int ndims, const int64_t *dims, const int64_t *strides,
                                   dnnl_data_type_t type, ssld_md **md);
void        ssld_md_destroy(const struct ssld_dnnl *dnnl, ssld_md *md); /* NULL is ignored */
size_t      ssld_md_size(const ssld_md *md);                            /* bytes, padding included */
bool        ssld_md_equal(const ssld_md *a, const ssld_md *b);
/* A copy of what a primitive chose: dnnl_query_weights_md with index 0 for weights and 1 for bias ... */
ssld_status ssld_md_of(const struct ssld_dnnl *dnnl, const struct ssld_primitive *primitive, dnnl_query_t what, int index,
                       ssld_md **md);
ssld_status ssld_memory_create(const struct ssld_dnnl *dnnl, const ssld_md *md, void *handle, dnnl_memory_t *memory);

/* -- Primitives --------------------------------------------------------------------------------------------------- */

/* A post-op: dst = eltwise(dst). */
struct ssld_dnnl_eltwise {
    dnnl_alg_kind_t algorithm;
    float           alpha, beta;
};
#define SSLD_MOST_POST_OPS 3
#define SSLD_ARG_SUMMAND (DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1)

struct ssld_dnnl_post_ops {
    const ssld_md           *summand; /* NULL, or of a tensor that is added before the others: argument SSLD_ARG_SUMMAND */
    int32_t                  count;
    struct ssld_dnnl_eltwise eltwise[SSLD_MOST_POST_OPS];
};

/* Dilations in a window count as ONNX's (1: dense). `bias` may be NULL everywhere, `post_ops` too. Backward takes the
 * forward primitive as its hint. For inference, oneDNN 2 may choose weights that cannot be reordered to plain ones. */
dnnl_status_t ssld_convolution_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation, const ssld_md *src,
                                       const ssld_md *weights, const ssld_md *bias, const ssld_md *dst,
                                       const struct ssld_window *window, const struct ssld_dnnl_post_ops *post_ops,
                                       struct ssld_primitive *primitive);
dnnl_status_t ssld_convolution_backward_data(const struct ssld_dnnl *dnnl, const ssld_md *diff_src,
                                             const ssld_md *weights, const ssld_md *diff_dst,
                                             const struct ssld_window *window,
                                             const struct ssld_primitive *forward, struct ssld_primitive *primitive);
dnnl_status_t ssld_convolution_backward_weights(const struct ssld_dnnl *dnnl, const ssld_md *src,
                                                const ssld_md *diff_weights, const ssld_md *diff_bias,
                                                const ssld_md *diff_dst, const struct ssld_window *window,
                                                const struct ssld_primitive *forward, struct ssld_primitive *primitive);

dnnl_status_t ssld_inner_product_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation, const ssld_md *src,
                                         const ssld_md *weights, const ssld_md *bias, const ssld_md *dst,
                                         const struct ssld_dnnl_post_ops *post_ops, struct ssld_primitive *primitive);
dnnl_status_t ssld_inner_product_backward_data(const struct ssld_dnnl *dnnl, const ssld_md *diff_src,
                                               const ssld_md *weights, const ssld_md *diff_dst,
                                               const struct ssld_primitive *forward, struct ssld_primitive *primitive);
dnnl_status_t ssld_inner_product_backward_weights(const struct ssld_dnnl *dnnl, const ssld_md *src,
                                                  const ssld_md *diff_weights, const ssld_md *diff_bias,
                                                  const ssld_md *diff_dst, const struct ssld_primitive *forward,
                                                  struct ssld_primitive *primitive);

/* src (..., M, K), weights (..., K, N), dst (..., M, N), bias (1, ..., N): as many axes each. */
dnnl_status_t ssld_matmul(const struct ssld_dnnl *dnnl, const ssld_md *src, const ssld_md *weights, const ssld_md *bias,
                          const ssld_md *dst, const struct ssld_dnnl_post_ops *post_ops, struct ssld_primitive *primitive);

dnnl_status_t ssld_pooling_forward(const struct ssld_dnnl *dnnl, dnnl_prop_kind_t propagation, dnnl_alg_kind_t algorithm,
                                   const ssld_md *src, const ssld_md *dst, const struct ssld_window *window,
                                   struct ssld_primitive *primitive);
dnnl_status_t ssld_pooling_backward(const struct ssld_dnnl *dnnl, dnnl_alg_kind_t algorithm, const ssld_md *diff_src,
                                    const ssld_md *diff_dst, const struct ssld_window *window,
                                    const struct ssld_primitive *forward, struct ssld_primitive *primitive);

dnnl_status_t ssld_reorder(const struct ssld_dnnl *dnnl, const ssld_md *src, const ssld_md *dst,
                           struct ssld_primitive *primitive);

void        ssld_primitive_destroy(struct ssld_primitive *primitive); /* a zeroed one is ignored */
/* The implementation's name, for example "jit:avx512_core". */
const char *ssld_primitive_name(const struct ssld_primitive *primitive);

#endif
