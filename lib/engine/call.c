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

/* oneDNN zeroes the padding of memory that gets a new address, so each chunk has a memory object of its own. */
ssld_status ssld_call_bind(struct ssld_plan *plan, struct call *call, int argument, dnnl_query_t what, int index,
                           struct operand operand)
{
    ssld_md *md = NULL;
    int32_t at = call->count++;
    ssld_status status = ssld_md_of(&plan->dnnl, &call->primitive, what, index, &md);
    if (status)
        return status;
    call->identifiers[at] = argument;
    call->by[at] = operand.by;
    call->memories[at] = ssld_alloc_zero(plan->context, (size_t)operand.count, sizeof(dnnl_memory_t));
    if (!call->memories[at])
        status = ssld_fail_memory(plan->context, "arguments of primitives", (size_t)operand.count * sizeof(dnnl_memory_t));
    for (int32_t i = 0; !status && i < operand.count; i++, call->copies[at] = i)
        status = ssld_memory_create(&plan->dnnl, md, operand.base + (size_t)i * operand.stride, &call->memories[at][i]);
    ssld_md_destroy(&plan->dnnl, md);
    return status;
}

ssld_status ssld_call_bind_scratchpad(struct ssld_plan *plan, struct call *call)
{
    return ssld_call_bind(plan, call, DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md, 0,
                          ssld_operand_of_worker(plan, plan->scratchpad, plan->scratchpad_bytes));
}

ssld_status ssld_call_run(struct ssld_plan *plan, const struct step *step, struct call *call,
                          const char *direction)
{
    dnnl_exec_arg_t arguments[CALL_MOST_ARGUMENTS];
    const int32_t at[] = { [OPERAND_ONE] = 0, [OPERAND_BY_WORKER] = plan->worker, [OPERAND_BY_CHUNK] = plan->chunk,
                           [OPERAND_BY_PART] = plan->part };
    for (int32_t i = 0; i < call->count; i++)
        arguments[i] = (dnnl_exec_arg_t){ call->identifiers[i], call->memories[i][at[call->by[i]]] };
    double before = plan->profiled ? ssld_seconds() : 0;
    dnnl_status_t status =
        dnnl_primitive_execute(call->primitive.primitive, plan->dnnl.stream, call->count, arguments);
    if (plan->profiled)
        call->seconds += ssld_seconds() - before;
    return status == dnnl_success ? SSLD_OK : ssld_step_fail(plan, step, status, direction);
}

void ssld_call_release(struct ssld_plan *plan, struct call *call)
{
    for (int32_t i = 0; i < call->count; i++) {
        for (int32_t k = 0; k < call->copies[i]; k++)
            dnnl_memory_destroy(call->memories[i][k]);
        ssld_free(plan->context, call->memories[i]);
    }
    call->count = 0;
    ssld_primitive_destroy(&call->primitive);
}
