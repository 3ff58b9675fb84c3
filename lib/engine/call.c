/* SPDX-License-Identifier: BSD-2-Clause */
/* call.c - oneDNN primitives with their arguments bound once, so that running one costs no look-up. */
#include "engine/plan.h"

#include <stdio.h>

ssld_status ssld_step_fail(struct ssld_plan *plan, const struct step *step, dnnl_status_t status, const char *direction)
{
    char what[256];
    snprintf(what, sizeof what, "%s '%s', %s", ssld_ops[step->node->kind].name, step->node->name, direction);
    return ssld_dnnl_fail(&plan->dnnl, status, what);
}

void ssld_call_made(struct ssld_plan *plan, const struct call *call)
{
    ssld_plan_need(&plan->scratchpad_bytes, call->primitive.scratchpad);
}

ssld_status ssld_call_bind(struct ssld_plan *plan, struct call *call, int argument, dnnl_query_t what, int index,
                           float *handle)
{
    ssld_md *md = NULL;
    dnnl_memory_t memory = NULL;
    ssld_status status = ssld_md_of(&plan->dnnl, &call->primitive, what, index, &md);
    if (!status)
        status = ssld_memory_create(&plan->dnnl, md, handle, &memory);
    ssld_md_destroy(&plan->dnnl, md);
    if (!status)
        call->arguments[call->count++] = (dnnl_exec_arg_t){ argument, memory };
    return status;
}

ssld_status ssld_call_bind_scratchpad(struct ssld_plan *plan, struct call *call)
{
    return ssld_call_bind(plan, call, DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md, 0, (float *)plan->scratchpad);
}

ssld_status ssld_call_run(struct ssld_plan *plan, const struct step *step, const struct call *call,
                          const char *direction)
{
    dnnl_status_t status =
        dnnl_primitive_execute(call->primitive.primitive, plan->dnnl.stream, call->count, call->arguments);
    return status == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, status, direction);
}

void ssld_call_release(struct call *call)
{
    for (int32_t i = 0; i < call->count; i++)
        dnnl_memory_destroy(call->arguments[i].memory);
    call->count = 0;
    ssld_primitive_destroy(&call->primitive);
}
