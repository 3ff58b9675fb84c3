/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * profile.h - where the time of a training step or of a teacher's prediction goes, and how near to the limit it is.
 *
 * Begin, train some steps, read the entries, end:
 *
 *   ssld_student_profile_begin(student);
 *   ... ssld_student_step() ...
 *   entry.struct_size = sizeof entry;
 *   for (int32_t i = 0; i < ssld_student_profile_count(student); i++)
 *       if (ssld_student_profile_entry(student, i, &entry) == SSLD_OK)
 *           ...
 *   ssld_student_profile_end(student);
 *
 * Profiling reads a clock before and after every operator and changes no result. All of these belong to the thread that
 * uses the student, but for ssld_isa().
 *
 * A step of libssld allocates nothing, neither from the context's allocator nor from the C library. oneDNN 2.6 does: about
 * five small pieces with C++'s operator new whenever a primitive runs, given back at once; and LLVM's OpenMP does.
 * tests/distill/test_allocations.c counts them all.
 */
#ifndef SSLD_PROFILE_H
#define SSLD_PROFILE_H

#include "student.h"
#include "teacher.h"

SSLD_BEGIN_DECLS

#define SSLD_STAGE_FORWARD 0  /**< from pixels to logits */
#define SSLD_STAGE_BACKWARD 1 /**< from logits to gradients, the loss included */
#define SSLD_STAGE_UPDATE 2   /**< from gradients to parameters */

/**
 * One kind of work, summed over the network's operators of one kind and over the batch; milliseconds are the mean over the
 * steps since ssld_student_profile_begin(), the rest is the same in every step. Filled by ssld_student_profile_entry().
 *
 *   name         direction         stage     what it is
 *   an operator  forward           forward   ONNX's name, PaddleClas's for what ONNX has not; an activation that is computed
 *                                            in the operator before it is part of that one
 *                forward again     both      of values that are cheaper made again than stored
 *                moments           forward   mean and variance of the batch
 *                reorder           both      of weights and their gradients between layouts and precisions
 *                backward data     backward  gradient of what comes in
 *                backward weights  backward  gradient of weights and bias, addition over chunks included
 *                backward          backward  both, of operators where they are one
 *                sums              backward  over the batch, that batch norm's backward needs first
 *                addition          backward  of gradients of a value that more than one operator reads
 *   Rest         forward           forward   layout of the pixels, going from operator to operator, batch norm's ends of sums
 *                backward          backward  the same of backward
 *   Loss         loss              backward  the check of the labels, the loss and its gradient
 *   Optimizer    update            update    clipping, the optimizer and the average
 */
typedef struct ssld_profile_entry {
    size_t      struct_size;   /**< set by the caller to sizeof(ssld_profile_entry); no more than this is written */
    const char *name;          /**< static text */
    const char *direction;     /**< static text */
    int32_t     stage;         /**< SSLD_STAGE_x */
    int32_t     padding;       /**< 0 */
    int64_t     calls;         /**< runs of an operator in a step; a batch is worked through in chunks of images */
    double      milliseconds;  /**< in a step */
    double      gflop;         /**< in a step: 2e-9 for each multiply-accumulate of convolutions and fully connected layers */
    int64_t     bytes;         /**< of the tensors that must be read and written in a step, each once; 0 where not counted */
} ssld_profile_entry;

/** Set all counters to 0 and begin to count. Since 0.1. */
SSLD_API void ssld_student_profile_begin(ssld_student *student);

/** Stop counting and forget the counters. Since 0.1. */
SSLD_API void ssld_student_profile_end(ssld_student *student);

/** Number of entries; 0 unless profiling has begun and at least one step was done since. Since 0.1. */
SSLD_API int32_t ssld_student_profile_count(const ssld_student *student);

/**
 * The index-th entry. The sum of all entries is the time inside ssld_student_step(), less what it does besides its three
 * parts (counting top-1).
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT past the last entry, or for a struct_size of 0.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_profile_entry(const ssld_student *student, int32_t index,
                                                               ssld_profile_entry *entry);

/**
 * Measure the limit: the time of a step's bare convolution and fully-connected primitives, forward, backward data and backward
 * weights, each for the whole batch on memory of its own, run alone: once to warm up, then `repeats` times, of which the
 * median counts. Primitives are made as the student's are (blocked activations, weights in the layout that oneDNN prefers,
 * the student's precision and threads); for depthwise layers backward weights is the faster of oneDNN's and libssld's.
 * Takes about `repeats` steps' time, and at one time the memory of the largest layer.
 *
 * @param repeats       1 to 100
 * @param milliseconds  receives the sum over all layers; for all parts of a step with the option `accumulate`
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT; SSLD_OUT_OF_MEMORY; SSLD_CANCELLED; SSLD_BACKEND. The student is as it was.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_measure_primitives(ssld_student *student, int32_t repeats,
                                                                    double *milliseconds);

/** SSLD_PRECISION_F32 or SSLD_PRECISION_BF16: what the student computes in, SSLD_PRECISION_AUTO resolved. Since 0.1. */
SSLD_API int32_t ssld_student_precision(const ssld_student *student);

/* -- The same for teachers: of predictions, all of them of SSLD_STAGE_FORWARD -------------------------------------- */

/** Set all counters to 0 and begin to count; of an ensemble, in all members. Since 0.1. */
SSLD_API void ssld_teacher_profile_begin(ssld_teacher *teacher);

/** Stop counting and forget the counters. Since 0.1. */
SSLD_API void ssld_teacher_profile_end(ssld_teacher *teacher);

/** Number of entries, of an ensemble those of its members one after the other; 0 unless profiling has begun and at least one
 *  prediction was made since. With batch statistics only full batches count. Since 0.1. */
SSLD_API int32_t ssld_teacher_profile_count(const ssld_teacher *teacher);

/** The index-th entry, as ssld_student_profile_entry(): milliseconds of a prediction, the mean over those since the beginning;
 *  the rest as for a full batch. The sum of all entries is the time inside ssld_teacher_predict(), less copying the logits. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_profile_entry(const ssld_teacher *teacher, int32_t index,
                                                               ssld_profile_entry *entry);

/** As ssld_student_measure_primitives(), forward only. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_measure_primitives(ssld_teacher *teacher, int32_t repeats,
                                                                    double *milliseconds);

/** SSLD_PRECISION_F32 or SSLD_PRECISION_BF16: what the teacher computes in, of an ensemble its first member. Since 0.1. */
SSLD_API int32_t ssld_teacher_precision(const ssld_teacher *teacher);

/** The instructions that oneDNN uses on this CPU, for example "avx512_core_bf16", as its DNNL_MAX_CPU_ISA says them in lower
 *  case; "default" where it distinguishes none. Copied to `buffer`, cut to `size`, with a terminating zero. Returns the
 *  whole length. Thread-safety: any thread. Since 0.1. */
SSLD_API size_t ssld_isa(char *buffer, size_t size);

SSLD_END_DECLS

#endif
