/* SPDX-License-Identifier: BSD-2-Clause */
/* adapter.c - what is the same in both majors of oneDNN. */
#include "engine/adapter.h"

#include <oneapi/dnnl/dnnl_debug.h>

#include <stdio.h>

#include "engine/adapter_private.h"
#include "ssld/version.h"

size_t ssld_build_info(char *buffer, size_t size)
{
    const dnnl_version_t *loaded = dnnl_version();
    int length = snprintf(buffer, size, "libssld %d.%d.%d, oneDNN %d.%d.%d (compiled for %d.%d.%d)", SSLD_VERSION_MAJOR,
                          SSLD_VERSION_MINOR, SSLD_VERSION_PATCH, loaded->major, loaded->minor, loaded->patch,
                          DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, DNNL_VERSION_PATCH);
    return length < 0 ? 0 : (size_t)length;
}

ssld_status ssld_dnnl_fail(const struct ssld_dnnl *dnnl, dnnl_status_t status, const char *what)
{
    if (status == dnnl_out_of_memory)
        return ssld_fail(dnnl->context, SSLD_OUT_OF_MEMORY, "%s: oneDNN has no memory", what);
    return ssld_fail(dnnl->context, SSLD_BACKEND, "%s: oneDNN %d.%d.%d answered '%s'", what, dnnl_version()->major,
                     dnnl_version()->minor, dnnl_version()->patch, dnnl_status2str(status));
}

bool ssld_dnnl_multiplies_bf16(void)
{
    unsigned wanted = dnnl_cpu_isa_avx512_core_bf16;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted; /* each set of instructions includes its forerunners' bits */
}

bool ssld_dnnl_has_tiles(void)
{
    unsigned wanted = dnnl_cpu_isa_avx512_core_amx;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

const char *ssld_dnnl_isa(void)
{
    /* Each set of instructions includes its forerunners' bits, so the first that is contained is the widest. */
    static const struct {
        unsigned    bits;
        const char *name;
    } sets[] = {
        { dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx" },
        { dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16" },
        { dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni" },
        { dnnl_cpu_isa_avx512_core, "avx512_core" },
        { dnnl_cpu_isa_avx2_vnni, "avx2_vnni" },
        { dnnl_cpu_isa_avx2, "avx2" },
        { dnnl_cpu_isa_avx, "avx" },
        { dnnl_cpu_isa_sse41, "sse41" },
    };
    unsigned used = (unsigned)dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if ((used & sets[i].bits) == sets[i].bits)
            return sets[i].name;
    return "default";
}

dnnl_data_type_t ssld_dnnl_type(int32_t type)
{
    return type == ELEMENT_BF16 ? dnnl_bf16 : dnnl_f32;
}

ssld_status ssld_dnnl_open(ssld_context *context, struct ssld_dnnl *dnnl)
{
    *dnnl = (struct ssld_dnnl){ .context = context };
    const dnnl_version_t *loaded = dnnl_version();
    if (loaded->major != DNNL_VERSION_MAJOR)
        return ssld_fail(context, SSLD_BACKEND,
                         "oneDNN %d.%d.%d is loaded, libssld was compiled for %d.x; install that one or compile again",
                         loaded->major, loaded->minor, loaded->patch, DNNL_VERSION_MAJOR);
    dnnl_status_t status = dnnl_engine_create(&dnnl->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&dnnl->stream, dnnl->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        ssld_dnnl_close(dnnl);
        return ssld_dnnl_fail(dnnl, status, "the CPU engine");
    }
    return SSLD_OK;
}

ssld_status ssld_dnnl_share(const struct ssld_dnnl *dnnl, struct ssld_dnnl *shared)
{
    *shared = (struct ssld_dnnl){ .context = dnnl->context, .engine = dnnl->engine };
    dnnl_status_t status = dnnl_stream_create(&shared->stream, shared->engine, dnnl_stream_default_flags);
    return status == dnnl_success ? SSLD_OK : ssld_dnnl_fail(dnnl, status, "a stream");
}

void ssld_dnnl_unshare(struct ssld_dnnl *shared)
{
    if (shared->stream)
        dnnl_stream_destroy(shared->stream);
    shared->stream = NULL;
}

void ssld_dnnl_close(struct ssld_dnnl *dnnl)
{
    if (dnnl->stream)
        dnnl_stream_destroy(dnnl->stream);
    if (dnnl->engine)
        dnnl_engine_destroy(dnnl->engine);
    dnnl->stream = NULL;
    dnnl->engine = NULL;
}

dnnl_status_t ssld_attributes_create(const struct ssld_dnnl_post_ops *post_ops, dnnl_primitive_attr_t *attributes)
{
    dnnl_post_ops_t chain = NULL;
    *attributes = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && post_ops && (post_ops->count || post_ops->summand)) {
        status = dnnl_post_ops_create(&chain);
        if (status == dnnl_success && post_ops->summand)
            status = ssld_post_ops_append_sum(chain, post_ops->summand);
        for (int32_t i = 0; status == dnnl_success && i < post_ops->count; i++)
            status = ssld_post_ops_append(chain, &post_ops->eltwise[i]);
        if (status == dnnl_success)
            status = dnnl_primitive_attr_set_post_ops(*attributes, chain);
        if (chain)
            dnnl_post_ops_destroy(chain);
    }
    if (status != dnnl_success && *attributes) {
        dnnl_primitive_attr_destroy(*attributes);
        *attributes = NULL;
    }
    return status;
}

dnnl_status_t ssld_primitive_finish(struct ssld_primitive *primitive)
{
    dnnl_status_t status = dnnl_primitive_create(&primitive->primitive, primitive->descriptor);
    if (status != dnnl_success) {
        ssld_primitive_destroy(primitive);
        return status;
    }
    primitive->scratchpad = ssld_scratchpad_size(primitive->descriptor);
    return dnnl_success;
}

void ssld_primitive_destroy(struct ssld_primitive *primitive)
{
    if (primitive->primitive)
        dnnl_primitive_destroy(primitive->primitive);
    if (primitive->descriptor)
        dnnl_primitive_desc_destroy(primitive->descriptor);
    *primitive = (struct ssld_primitive){ 0 };
}

const char *ssld_primitive_name(const struct ssld_primitive *primitive)
{
    const char *name = NULL;
    if (dnnl_primitive_desc_query(primitive->descriptor, dnnl_query_impl_info_str, 0, &name) != dnnl_success || !name)
        return "unknown";
    return name;
}

/* oneDNN's prototypes take DNNL_MAX_NDIMS values whatever the operator has. */
void ssld_window_dims(const struct ssld_window *window, struct ssld_window_dims *dims)
{
    *dims = (struct ssld_window_dims){ 0 };
    for (int i = 0; i < 2; i++) {
        dims->strides[i] = window->strides[i];
        dims->dilations[i] = window->dilations[i] - 1;
        dims->kernel[i] = window->kernel[i];
        dims->pads_low[i] = window->pads[i];
        dims->pads_high[i] = window->pads[2 + i];
    }
}
