/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * student.h - training: forward, loss, backward, update of a network on oneDNN primitives, in f32.
 *
 * A loss is text, a weighted sum of terms: "sym_kl", "0.5*soft_ce + 0.5*hard_ce(smoothing=0.1)". With p the student's
 * and q the teacher's distribution, and the mean taken over the batch:
 *
 *   sym_kl    sum_c (q - p) ln((q + e) / (p + e)) / 2, e = 1e-12: SSLD's own loss, which PaddleClas calls JS
 *             (ppcls/loss/dmlloss.py); it is half of Jeffreys' divergence, not Jensen and Shannon's
 *   soft_ce   -sum_c q ln p (ppcls/loss/celoss.py with a soft label)
 *   hard_ce   -ln p(label), with smoothing=s: -sum_c ((1 - s) [c = label] + s / classes) ln p
 *
 * The update is SGD with momentum as PaddleClas's Momentum optimizer: g += l2 * w (not for batch norm's scale and shift);
 * v = momentum * v + g; w -= rate * v.
 */
#ifndef SSLD_STUDENT_H
#define SSLD_STUDENT_H

#include "batch.h"
#include "labels.h"
#include "model.h"

SSLD_BEGIN_DECLS

typedef struct ssld_student ssld_student;

#define SSLD_SCHEDULE_CONSTANT 0 /**< the learning rate stays (default) */
#define SSLD_SCHEDULE_COSINE 1   /**< rate * (1 + cos(pi * (step - warmup) / (total - warmup))) / 2 */

/** Options of ssld_student_create(). Set by ssld_student_options_init(); 0 in a field is its default. */
typedef struct ssld_student_options {
    size_t      struct_size;    /**< set by ssld_student_options_init() */
    int32_t     batch;          /**< views of every step (default 32) */
    int32_t     threads;        /**< compute threads (default 0: the context's) */
    const char *loss;           /**< the loss (default NULL: "sym_kl"); copied */
    float       learning_rate;  /**< peak rate (default 0.1) */
    float       momentum;       /**< default 0.9; negative: none */
    float       l2;             /**< L2 penalty's gradient factor (default 0: none) */
    int32_t     schedule;       /**< SSLD_SCHEDULE_x */
    uint64_t    total_steps;    /**< steps of the whole run; needed for SSLD_SCHEDULE_COSINE */
    uint64_t    warmup_steps;   /**< steps over which the rate first rises linearly from 0 (default 0) */
    uint64_t    seed;           /**< of dropout */
} ssld_student_options;

/** Filled by ssld_student_step(). */
typedef struct ssld_step {
    size_t   struct_size;    /**< set by the caller to sizeof(ssld_step); no more than this is written */
    uint64_t step;           /**< steps done, this one included */
    double   loss;           /**< mean over the batch, before the update */
    double   learning_rate;  /**< used by this update */
    double   top1;           /**< share of the batch's hard labels that the student got right; -1 if it has none */
} ssld_step;

SSLD_API void ssld_student_options_init(ssld_student_options *options, size_t struct_size);

/**
 * Make a student that starts from a model's weights. The model may be destroyed afterwards.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for an impossible option or an unknown loss; SSLD_UNSUPPORTED if an operator of the
 *         graph has no backward, the text naming the node, or if there is nothing to train; SSLD_OUT_OF_MEMORY;
 *         SSLD_BACKEND.
 *
 * Thread-safety: one thread at a time for one student. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_create(ssld_context *context, const ssld_model *model,
                                                        const ssld_student_options *options, ssld_student **student);

/**
 * One training step: ssld_student_forward(), ssld_student_backward(), ssld_student_update().
 *
 * @param batch     exactly the options' batch of views
 * @param labels    the teacher's labels of these views; NULL if the loss needs none
 * @param step      receives loss and rate; may be NULL
 *
 * @return SSLD_OK; SSLD_MISMATCH if shapes, counts or classes do not fit; SSLD_INVALID_ARGUMENT if the loss needs labels
 *         that are not there; SSLD_NOT_FINITE if the loss is NaN or infinite (weights are unchanged); SSLD_CANCELLED;
 *         SSLD_BACKEND.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_step(ssld_student *student, const ssld_batch *batch,
                                                      const ssld_labels *labels, ssld_step *step);

/** The first part: logits of the batch, in training mode (batch statistics, dropout). @param logits receives batch x
 *  classes floats; may be NULL. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_forward(ssld_student *student, const ssld_batch *batch,
                                                         float *logits);

/** The second part, for the batch of the last forward: the loss and the gradient of every parameter, which replaces the
 *  one before. @param loss may be NULL. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_backward(ssld_student *student, const ssld_batch *batch,
                                                          const ssld_labels *labels, double *loss);

/** The third part: change the parameters by the gradients and count the step. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_update(ssld_student *student);

/** Steps done. Since 0.1. */
SSLD_API uint64_t ssld_student_steps(const ssld_student *student);

/** The trained network as a model of its own, running statistics included. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_get_model(const ssld_student *student, ssld_model **model);

/** ssld_student_get_model() and ssld_model_save() in one call. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_export(const ssld_student *student, const char *path);

/**
 * Write a checkpoint: weights, running statistics, momenta and the step. The file appears whole or not at all.
 * ssld_student_restore() then goes on bit for bit as if there had been no interruption.
 *
 * @return SSLD_OK; SSLD_IO, SSLD_NO_SPACE; SSLD_OUT_OF_MEMORY.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_save(const ssld_student *student, const char *path);

/**
 * Take weights, running statistics, momenta and the step from a checkpoint of the same network.
 *
 * @return SSLD_OK; SSLD_NOT_FOUND, SSLD_IO; SSLD_FORMAT if it is no checkpoint; SSLD_CORRUPT if it is damaged; SSLD_MISMATCH
 *         if it is of another network, the text naming the first parameter that differs. The student is unchanged then.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_restore(ssld_student *student, const char *path);

/* -- Parameters, for hosts that average or inspect them ----------------------------------------------------------- */

#define SSLD_PARAMETER_VALUE 0     /**< the parameter itself */
#define SSLD_PARAMETER_GRADIENT 1  /**< the gradient of the last backward */

/** Number of trainable tensors. Since 0.1. */
SSLD_API int32_t ssld_student_parameter_count(const ssld_student *student);

/** Name and shape of a parameter. `dims` receives up to 4 sizes, the rest set to 1. Returns NULL past the last. The name
 *  lives as long as the student. */
SSLD_API const char *ssld_student_parameter_name(const ssld_student *student, int32_t index, int32_t dims[4]);

/** Copy a parameter or its gradient to `dst`, in plain row-major order of its shape. `what`: SSLD_PARAMETER_x. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_parameter_read(const ssld_student *student, int32_t index, int32_t what,
                                                                float *dst);

/** Copy `src` to a parameter or its gradient. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_parameter_write(ssld_student *student, int32_t index, int32_t what,
                                                                 const float *src);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_student_destroy(ssld_student *student);

SSLD_END_DECLS

#endif
