/* SPDX-License-Identifier: BSD-2-Clause */
/* student_state.c - a student's checkpoint: what its tensors are called, and the way between them and its arrays.
 *
 * Tensors stand in plain order, so that a checkpoint made on one CPU is right on another. Parameter by parameter, in the
 * plan's order: "weights/NAME" of every parameter and buffer; the optimizer's arrays ("velocity/NAME", ...) of every
 * parameter; "ema/NAME" of both if there is an average. */
#include <string.h>

#include "distill/checkpoint.h"
#include "distill/student.h"

#define MOST_ARRAYS 4 /* of one parameter: its value, the optimizer's */
#define LONGEST_PREFIX 16

struct state {
    ssld_context                  *context;
    int32_t                        count;
    struct ssld_checkpoint_tensor *tensors;
    float                         *data;  /* all of them */
    char                          *names; /* all of them */
};

static void release(struct state *state)
{
    ssld_free(state->context, state->tensors);
    ssld_free(state->context, state->data);
    ssld_free(state->context, state->names);
}

/* The arrays of a parameter that a checkpoint has, and what they are called. Returns how many. */
static int32_t arrays_of(const ssld_student *student, int32_t parameter, float *arrays[MOST_ARRAYS],
                         const char *prefixes[MOST_ARRAYS])
{
    int32_t count = 1;
    arrays[0] = ssld_plan_parameter(student->plan, parameter)->value;
    prefixes[0] = "weights";
    for (int32_t a = 0; a < ssld_optimizer_array_count(student->optimizer); a++) {
        float *array = ssld_optimizer_array(student->optimizer, parameter, a);
        if (!array)
            continue;
        arrays[count] = array;
        prefixes[count++] = ssld_optimizer_array_name(student->optimizer, a);
    }
    return count;
}

/* Room for `state` to hold everything. */
static ssld_status allocate(const ssld_student *student, struct state *state)
{
    size_t tensors = 0, floats = 0, names = 0;
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        float *arrays[MOST_ARRAYS];
        const char *prefixes[MOST_ARRAYS];
        size_t count = (size_t)arrays_of(student, i, arrays, prefixes);
        tensors += count;
        floats += count * (size_t)parameter->elements;
        names += count * (LONGEST_PREFIX + strlen(parameter->name) + 2);
    }
    *state = (struct state){ .context = student->context };
    state->tensors = ssld_alloc(student->context, tensors * sizeof *state->tensors);
    state->data = ssld_alloc(student->context, floats * sizeof(float));
    state->names = ssld_alloc(student->context, names);
    if (state->tensors && state->data && state->names)
        return SSLD_OK;
    release(state);
    return ssld_fail_memory(student->context, "a checkpoint", floats * sizeof(float));
}

/* Names and places, no values yet. */
static ssld_status create(const ssld_student *student, struct state *state)
{
    ssld_status status = allocate(student, state);
    if (status)
        return status;
    float *data = state->data;
    char *name = state->names;
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++) {
        const struct ssld_parameter *parameter = ssld_plan_parameter(student->plan, i);
        float *arrays[MOST_ARRAYS];
        const char *prefixes[MOST_ARRAYS];
        int32_t count = arrays_of(student, i, arrays, prefixes);
        for (int32_t a = 0; a < count; a++) {
            state->tensors[state->count++] = (struct ssld_checkpoint_tensor){
                .name = name, .count = (uint64_t)parameter->elements, .data = data };
            strcpy(name, prefixes[a]);
            strcat(name, "/");
            strcat(name, parameter->name);
            name += strlen(name) + 1;
            data += parameter->elements;
        }
    }
    return SSLD_OK;
}

/* The student's arrays into the state's tensors. */
static ssld_status collect(const ssld_student *student, const struct state *state)
{
    const struct ssld_checkpoint_tensor *tensor = state->tensors;
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < ssld_plan_parameter_count(student->plan); i++) {
        float *arrays[MOST_ARRAYS];
        const char *prefixes[MOST_ARRAYS];
        int32_t count = arrays_of(student, i, arrays, prefixes);
        for (int32_t a = 0; !status && a < count; a++, tensor++)
            status = ssld_plan_parameter_to_plain(student->plan, i, arrays[a], tensor->data);
    }
    return status;
}

/* The state's tensors into memory laid out like the student's arrays, one behind the other. */
static ssld_status lay_out(const ssld_student *student, const struct state *state, float *next)
{
    const struct ssld_checkpoint_tensor *tensor = state->tensors;
    ssld_status status = SSLD_OK;
    for (int32_t i = 0; !status && i < ssld_plan_parameter_count(student->plan); i++) {
        float *arrays[MOST_ARRAYS];
        const char *prefixes[MOST_ARRAYS];
        int32_t count = arrays_of(student, i, arrays, prefixes);
        for (int32_t a = 0; !status && a < count; a++, tensor++, next += ssld_plan_parameter(student->plan, i)->count)
            status = ssld_plan_parameter_from_plain(student->plan, i, tensor->data, next);
    }
    return status;
}

/* How many floats lay_out() wants; with `from` they are copied to the student's arrays. */
static size_t copy_in(const ssld_student *student, const float *from)
{
    size_t floats = 0;
    for (int32_t i = 0; i < ssld_plan_parameter_count(student->plan); i++) {
        size_t size = ssld_plan_parameter(student->plan, i)->count;
        float *arrays[MOST_ARRAYS];
        const char *prefixes[MOST_ARRAYS];
        int32_t count = arrays_of(student, i, arrays, prefixes);
        for (int32_t a = 0; a < count; a++, floats += size)
            if (from)
                memcpy(arrays[a], from + floats, size * sizeof(float));
    }
    return floats;
}

ssld_status ssld_student_save(const ssld_student *student, const char *path)
{
    struct state state;
    ssld_status status = create(student, &state);
    if (status)
        return status;
    status = collect(student, &state);
    if (!status)
        status = ssld_checkpoint_write(student->context, path, student->steps, state.count, state.tensors);
    release(&state);
    return status;
}

/* A reorder may fail for want of memory: everything is laid out before anything is copied in. */
ssld_status ssld_student_restore(ssld_student *student, const char *path)
{
    struct state state;
    uint64_t steps = 0;
    size_t floats = copy_in(student, NULL);
    ssld_status status = create(student, &state);
    if (status)
        return status;
    float *layouts = ssld_alloc_zero(student->context, floats, sizeof(float));
    if (!layouts) {
        status = ssld_fail_memory(student->context, "a checkpoint", floats * sizeof(float));
        goto fail;
    }
    if ((status = ssld_checkpoint_read(student->context, path, &steps, state.count, state.tensors)) ||
        (status = lay_out(student, &state, layouts)))
        goto fail;
    copy_in(student, layouts);
    student->steps = steps;
    student->logits = NULL;
    student->done = 0;
    student->kept = false;
    student->observed = false;
fail:
    ssld_free(student->context, layouts);
    release(&state);
    return status;
}
