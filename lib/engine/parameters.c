/* SPDX-License-Identifier: BSD-2-Clause */
/* parameters.c - weights in the layout that convolutions want, and the way between it and plain order. */
#include "engine/plan.h"

#include <string.h>

/* Vectors are padded to whole blocks of the widest kind, weights to whole cache lines. */
#define PADDING_FLOATS 16

/* -- Declaring (in prepare) --------------------------------------------------------------------------------------- */

static struct parameter *add(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    int32_t index = plan->parameter_count++; /* room for one a value was made with the plan */
    int32_t value_index = step->node->inputs[input];
    const struct ssld_value *value = &plan->graph->values[value_index];
    struct parameter *parameter = &plan->parameters[index];
    *parameter = (struct parameter){ .value = value_index };
    parameter->visible.name = value->name;
    parameter->visible.role = value->role;
    parameter->visible.no_decay = value->no_decay;
    parameter->visible.dims = value->dims;
    parameter->visible.elements = ssld_value_elements(value);
    plan->tensors[value_index].parameter = index;
    return parameter;
}

static size_t padded(size_t floats)
{
    return (floats + PADDING_FLOATS - 1) / PADDING_FLOATS * PADDING_FLOATS;
}

static ssld_status refuse_sharing(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    int32_t value = step->node->inputs[input];
    if (plan->tensors[value].parameter < 0)
        return SSLD_OK;
    return ssld_fail(plan->context, SSLD_UNSUPPORTED,
                     "%s '%s': parameter '%s' is used by an earlier node too; give each its own",
                     ssld_ops[step->node->kind].name, step->node->name, plan->graph->values[value].name);
}

ssld_status ssld_plan_add_vector(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    const struct ssld_value *value = &plan->graph->values[step->node->inputs[input]];
    int32_t index = plan->tensors[step->node->inputs[input]].parameter;
    /* What nobody changes may be read by any number of nodes. */
    if (index >= 0 && !plan->parameters[index].layout && (!plan_trains(plan) || value->role == SSLD_VALUE_BUFFER))
        return SSLD_OK;
    ssld_status status = refuse_sharing(plan, step, input);
    if (!status) {
        struct parameter *parameter = add(plan, step, input);
        parameter->given = (size_t)parameter->visible.elements;
        parameter->visible.count = padded(parameter->given);
    }
    return status;
}

ssld_status ssld_plan_add_weights(struct ssld_plan *plan, const struct step *step, int32_t input, ssld_md *plain,
                                  ssld_md *layout)
{
    ssld_status status = refuse_sharing(plan, step, input);
    if (status) {
        ssld_md_destroy(&plan->dnnl, plain);
        ssld_md_destroy(&plan->dnnl, layout);
        return status;
    }
    struct parameter *parameter = add(plan, step, input);
    parameter->plain = plain;
    parameter->layout = layout;
    parameter->given = ssld_md_size(layout) / sizeof(float);
    parameter->visible.count = padded(parameter->given);
    dnnl_status_t created = ssld_reorder(&plan->dnnl, layout, plain, &parameter->to_plain);
    if (created == dnnl_unimplemented && !plan_trains(plan))
        created = dnnl_success; /* no way back from Winograd's weights, and nobody asks for it */
    if (created == dnnl_success)
        created = ssld_reorder(&plan->dnnl, plain, layout, &parameter->from_plain);
    if (created != dnnl_success)
        return ssld_step_fail(plan, step, created, "reorder of weights");
    ssld_plan_need(&plan->scratchpad_bytes, parameter->to_plain.scratchpad);
    ssld_plan_need(&plan->scratchpad_bytes, parameter->from_plain.scratchpad);
    return SSLD_OK;
}

struct ssld_parameter *ssld_step_parameter(struct ssld_plan *plan, const struct step *step, int32_t input)
{
    if (input >= step->node->input_count || step->node->inputs[input] == SSLD_NO_VALUE)
        return NULL;
    int32_t index = plan->tensors[step->node->inputs[input]].parameter;
    return index < 0 ? NULL : &plan->parameters[index].visible;
}

/* -- Memory and first values -------------------------------------------------------------------------------------- */

struct parameter *ssld_action_parameter(struct ssld_plan *plan, const struct action *action, int32_t input)
{
    const struct step *step = &plan->steps[action->step];
    if (action->kind != ACTION_BACKWARD || step->op->observe || step->node->inputs[input] == SSLD_NO_VALUE)
        return NULL;
    int32_t index = plan->tensors[step->node->inputs[input]].parameter;
    return index >= 0 && plan->parameters[index].visible.role == SSLD_VALUE_PARAMETER ? &plan->parameters[index] : NULL;
}

/* Workers' diffs are joined at the end of each segment, so that those of the next one can stand where they stood: the most that a
 * segment needs. */
static size_t place_parts(struct ssld_plan *plan)
{
    size_t most = 0;
    for (int32_t s = 0; s < plan->segment_count; s++) {
        const struct segment *segment = &plan->segments[s];
        size_t end = 0;
        for (int32_t a = segment->first; a < segment->first + segment->count; a++) {
            const struct step *step = &plan->steps[plan->actions[a].step];
            for (int32_t k = 1; k < step->node->input_count; k++) {
                struct parameter *parameter = ssld_action_parameter(plan, &plan->actions[a], k);
                if (parameter)
                    parameter->part = end;
                end += parameter ? parameter->visible.count : 0;
            }
        }
        most = end > most ? end : most;
    }
    return most;
}

ssld_status ssld_parameters_allocate(struct ssld_plan *plan)
{
    size_t values = 0, diffs = 0, all;
    for (int32_t i = 0; i < plan->parameter_count; i++) {
        const struct ssld_parameter *parameter = &plan->parameters[i].visible;
        values += parameter->count;
        if (plan_trains(plan) && parameter->role == SSLD_VALUE_PARAMETER)
            diffs += parameter->count;
    }
    plan->parts_count = plan_trains(plan) ? place_parts(plan) : 0;
    all = values + diffs + plan->parts_count * ((size_t)plan->worker_count - 1);
    plan->values_count = values;
    plan->diffs_count = diffs;
    /* Values are cleared as they are loaded: not sooner, so that their pages are taken one by one. */
    plan->values = all > SIZE_MAX / sizeof(float) ? NULL : ssld_alloc(plan->context, all * sizeof(float));
    if (!plan->values)
        return ssld_fail_memory(plan->context, "the network's weights", all * sizeof(float));
    memset((float *)plan->values + values, 0, (all - values) * sizeof(float));

    float *value = (float *)plan->values, *diff = value + values;
    for (int32_t i = 0; i < plan->parameter_count; i++) {
        struct ssld_parameter *parameter = &plan->parameters[i].visible;
        parameter->value = value;
        value += parameter->count;
        if (plan_trains(plan) && parameter->role == SSLD_VALUE_PARAMETER) {
            parameter->diff = diff;
            diff += parameter->count;
        }
    }
    return SSLD_OK;
}

/* The graph's numbers go as they are taken, so that a large network is never there a third time. */
ssld_status ssld_parameters_load(struct ssld_plan *plan)
{
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < plan->parameter_count; i++) {
        struct ssld_value *value = &plan->graph->values[plan->parameters[i].value];
        struct ssld_parameter *visible = &plan->parameters[i].visible;
        memset(visible->value, 0, visible->count * sizeof(float));
        status = ssld_plan_parameter_from_plain(plan, i, value->data, visible->value);
        ssld_free(plan->context, value->data);
        value->data = NULL;
    }
    return status;
}

void ssld_parameters_release(struct ssld_plan *plan)
{
    for (int32_t i = 0; i < plan->parameter_count; i++) {
        ssld_md_destroy(&plan->dnnl, plan->parameters[i].plain);
        ssld_md_destroy(&plan->dnnl, plan->parameters[i].layout);
        ssld_primitive_destroy(&plan->parameters[i].to_plain);
        ssld_primitive_destroy(&plan->parameters[i].from_plain);
    }
    ssld_free(plan->context, plan->values);
}

/* -- Between the layouts ------------------------------------------------------------------------------------------ */

static ssld_status reorder(struct ssld_plan *plan, const struct ssld_primitive *primitive, const ssld_md *src_md,
                           const float *src, const ssld_md *dst_md, float *dst)
{
    dnnl_memory_t from = NULL, to = NULL, scratchpad = NULL;
    ssld_md *scratchpad_md = NULL;
    ssld_status status = ssld_memory_create(&plan->dnnl, src_md, (float *)(uintptr_t)src, &from);
    if (!status)
        status = ssld_memory_create(&plan->dnnl, dst_md, dst, &to);
    if (!status)
        status = ssld_md_of(&plan->dnnl, primitive, dnnl_query_scratchpad_md, 0, &scratchpad_md);
    if (!status)
        status = ssld_memory_create(&plan->dnnl, scratchpad_md, plan->scratchpad, &scratchpad);
    if (!status) {
        struct thread_settings before = ssld_threads_enter(plan_primitive_threads(plan));
        dnnl_exec_arg_t arguments[] = { { DNNL_ARG_FROM, from },
                                        { DNNL_ARG_TO, to },
                                        { DNNL_ARG_SCRATCHPAD, scratchpad } };
        dnnl_status_t executed = dnnl_primitive_execute(primitive->primitive, plan->dnnl.stream, 3, arguments);
        ssld_threads_leave(before);
        if (executed != dnnl_success)
            status = ssld_dnnl_fail(&plan->dnnl, executed, "reorder of weights");
    }
    ssld_md_destroy(&plan->dnnl, scratchpad_md);
    if (from)
        dnnl_memory_destroy(from);
    if (to)
        dnnl_memory_destroy(to);
    if (scratchpad)
        dnnl_memory_destroy(scratchpad);
    return status;
}

ssld_status ssld_plan_parameter_to_plain(struct ssld_plan *plan, int32_t index, const float *layout, float *plain)
{
    const struct parameter *parameter = &plan->parameters[index];
    if (parameter->layout && !parameter->to_plain.primitive)
        return ssld_fail(plan->context, SSLD_INTERNAL, "parameter '%s' of a plan that does not train has no plain form",
                         parameter->visible.name);
    if (parameter->layout)
        return reorder(plan, &parameter->to_plain, parameter->layout, layout, parameter->plain, plain);
    memcpy(plain, layout, (size_t)parameter->visible.elements * sizeof(float));
    return SSLD_OK;
}

ssld_status ssld_plan_parameter_from_plain(struct ssld_plan *plan, int32_t index, const float *plain, float *layout)
{
    const struct parameter *parameter = &plan->parameters[index];
    if (parameter->layout)
        return reorder(plan, &parameter->from_plain, parameter->plain, plain, parameter->layout, layout);
    memcpy(layout, plain, (size_t)parameter->visible.elements * sizeof(float));
    return SSLD_OK;
}

/* -- For distill/ ------------------------------------------------------------------------------------------------- */

int32_t ssld_plan_parameter_count(const struct ssld_plan *plan)
{
    return plan->parameter_count;
}

const struct ssld_parameter *ssld_plan_parameter(const struct ssld_plan *plan, int32_t index)
{
    return &plan->parameters[index].visible;
}

/* Passes renumber values but keep the names of parameters. */
static float *data_of_name(const struct ssld_graph *graph, const char *name)
{
    for (int32_t v = 0; v < graph->value_count; v++)
        if (graph->values[v].data && !strcmp(graph->values[v].name, name))
            return graph->values[v].data;
    return NULL;
}

ssld_status ssld_plan_snapshot(struct ssld_plan *plan, struct ssld_graph **graph)
{
    struct ssld_graph *copy = NULL;
    ssld_status status = ssld_graph_clone(plan->source, &copy);
    for (int32_t i = 0; !status && i < plan->parameter_count; i++) {
        const struct ssld_parameter *parameter = &plan->parameters[i].visible;
        float *plain = data_of_name(copy, parameter->name);
        status = plain ? ssld_plan_parameter_to_plain(plan, i, parameter->value, plain)
                       : ssld_fail(plan->context, SSLD_INTERNAL, "parameter '%s' is not in the source graph",
                                   parameter->name);
    }
    if (status)
        ssld_graph_destroy(copy);
    else
        *graph = copy;
    return status;
}
