/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * student.h - training: forward, loss, backward, update of a network on oneDNN primitives.
 *
 * A loss is text, a weighted sum of terms: "sym_kl", "0.5*soft_ce + 0.5*hard_ce(smoothing=0.1)". With p the student's
 * and q the teacher's distribution, and the mean taken over the batch:
 *
 *   sym_kl    sum_c (q - p) ln((q + e) / (p + e)) / 2, e = 1e-12: SSLD's own loss, which PaddleClas calls JS
 *             (ppcls/loss/dmlloss.py); it is half of Jeffreys' divergence, not Jensen and Shannon's
 *   soft_ce   -sum_c q ln p (ppcls/loss/celoss.py with a soft label)
 *   hard_ce   -ln p(label), with smoothing=s: -sum_c ((1 - s) [c = label] + s / classes) ln p
 *
 * An update goes through these, in this order; g is a parameter's gradient, w its value, R and D the factors of its
 * parameter group (1 unless said otherwise; D is 0 for batch norm's scale and shift):
 *
 *   clipping  g = clamp(g, -clip_value, clip_value); then g *= min(1, clip_norm / norm), norm that of all gradients
 *             together (paddle.nn.ClipGradByGlobalNorm)
 *   rate      r = R * the schedule's rate of this step
 *   SGD       g += D l2 w; v = momentum v + g; w -= r v, with nesterov: w -= r (g + momentum v)
 *             (paddle.optimizer.Momentum, torch.optim.SGD)
 *   AdamW     w *= 1 - r D weight_decay; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
 *             w -= r m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), t = 1, 2 ... the steps
 *             (Loshchilov and Hutter 2019; torch.optim.AdamW)
 *   LARS      s = trust |w| / (|g| + D l2 |w| + epsilon); v = momentum v + r s (g + D l2 w); w -= v
 *             (You, Gitman and Ginsburg 2017; paddle's LarsMomentum); s = 1 where D = 0 and where a norm is 0
 *   average   a = ema_decay a + (1 - ema_decay) w, of running statistics too; a begins as the model's weights
 *
 * Schedules, with t the steps done behind the warmup and T = total_steps - warmup_steps. During the warmup the rate
 * rises linearly from 0 to the schedule's rate at t = 0. Past the last step the last rate stays.
 *
 *   constant   rate
 *   cosine     final_rate + (rate - final_rate) (1 + cos(pi t / T)) / 2
 *   step       rate * gamma^floor(t / decay_steps)
 *   multistep  rate * gamma^(number of milestones <= t)
 *   one-cycle  from rate / start_divisor up to rate at t = rise T - 1, then down to
 *              rate / start_divisor / final_divisor at t = T - 1, both along half a cosine (torch's OneCycleLR)
 */
#ifndef SSLD_STUDENT_H
#define SSLD_STUDENT_H

#include "batch.h"
#include "labels.h"
#include "model.h"

SSLD_BEGIN_DECLS

typedef struct ssld_student ssld_student;

#define SSLD_SCHEDULE_CONSTANT 0  /**< the learning rate stays (default) */
#define SSLD_SCHEDULE_COSINE 1    /**< half a cosine down to final_rate; needs total_steps */
#define SSLD_SCHEDULE_STEP 2      /**< times gamma every decay_steps */
#define SSLD_SCHEDULE_MULTISTEP 3 /**< times gamma at each milestone */
#define SSLD_SCHEDULE_ONE_CYCLE 4 /**< up and down along cosines; needs total_steps */

#define SSLD_OPTIMIZER_SGD 0   /**< momentum, Nesterov's too, with an L2 penalty (default) */
#define SSLD_OPTIMIZER_ADAMW 1 /**< Adam with decoupled weight decay */
#define SSLD_OPTIMIZER_LARS 2  /**< momentum with a rate for each layer, for large batches */

/** Options of ssld_student_create(). Set by ssld_student_options_init(); 0 in a field is its default. An option that
 *  the chosen optimizer or schedule does not know must be 0. */
typedef struct ssld_student_options {
    size_t      struct_size;    /**< set by ssld_student_options_init() */
    int32_t     batch;          /**< views of every step (default 32) */
    int32_t     threads;        /**< compute threads (default 0: the context's) */
    const char *loss;           /**< the loss (default NULL: "sym_kl"); copied */
    float       learning_rate;  /**< peak rate (default 0.1; AdamW 0.001) */
    float       momentum;       /**< SGD, LARS: default 0.9; negative: none */
    float       l2;             /**< SGD, LARS: L2 penalty's gradient factor (default 0: none) */
    int32_t     schedule;       /**< SSLD_SCHEDULE_x */
    uint64_t    total_steps;    /**< steps of the whole run; cosine and one-cycle need it */
    uint64_t    warmup_steps;   /**< steps over which the rate first rises linearly from 0 (default 0) */
    uint64_t    seed;           /**< of dropout */
    int32_t     optimizer;      /**< SSLD_OPTIMIZER_x */
    int32_t     nesterov;       /**< SGD: 1 for Nesterov's momentum */
    float       beta1;          /**< AdamW: default 0.9; negative: 0 */
    float       beta2;          /**< AdamW: default 0.999 */
    float       epsilon;        /**< AdamW: default 1e-8; LARS: default 0 */
    float       weight_decay;   /**< AdamW: default 0 (none) */
    float       trust;          /**< LARS: default 0.001 */
    float       ema_decay;      /**< average of the weights over steps, for example 0.9999 (default 0: none) */
    float       clip_norm;      /**< longest gradient, of all parameters together (default 0: any) */
    float       clip_value;     /**< largest absolute value in a gradient (default 0: any) */
    const char *parameter_groups; /**< factors for parameters by name (default NULL: none), see below; copied */
    uint64_t    decay_steps;    /**< step: needed */
    const uint64_t *milestones; /**< multistep: rising, at least one; copied */
    int32_t     milestone_count;
    float       gamma;          /**< step, multistep: default 0.1 */
    float       final_rate;     /**< cosine: where it ends (default 0) */
    float       rise;           /**< one-cycle: share of the steps that rise (default 0.3) */
    float       start_divisor;  /**< one-cycle: default 25 */
    float       final_divisor;  /**< one-cycle: default 10000 */
    int32_t     accumulate;     /**< parts of a step (default 1), see ssld_student_step() */
    int32_t     precision;      /**< SSLD_PRECISION_x */
} ssld_student_options;

/*
 * parameter_groups is text: "fc.*: rate=10; blocks2.*: rate=0.1; *.bn.*: decay=0". A group is a pattern for the names
 * that ssld_student_parameter_name() gives (* stands for any characters, ? for one), a colon, and factors: rate times
 * the schedule's rate, decay times l2 or weight_decay. A parameter belongs to the first group that fits; rate=0 freezes
 * it. decay=1 gives batch norm's scale and shift the penalty that they do not have otherwise.
 */

/** Filled by ssld_student_step(). */
typedef struct ssld_step {
    size_t   struct_size;    /**< set by the caller to sizeof(ssld_step); no more than this is written */
    uint64_t step;           /**< steps done, this one included */
    double   loss;           /**< mean over the batch, before the update */
    double   learning_rate;  /**< used by this update */
    double   top1;           /**< share of the batch's hard labels that the student got right; -1 if it has none */
    double   gradient_norm;  /**< before clip_norm; -1 if nothing needed it (clipping and LARS do) */
} ssld_step;

SSLD_API void ssld_student_options_init(ssld_student_options *options, size_t struct_size);

/**
 * Make a student that starts from a model's weights. The model may be destroyed afterwards.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for an impossible option, an unknown loss, or a parameter group that no
 *         parameter belongs to; SSLD_UNSUPPORTED if an operator of the graph has no backward, the text naming the node,
 *         or if there is nothing to train; SSLD_OUT_OF_MEMORY; SSLD_BACKEND.
 *
 * Thread-safety: one thread at a time for one student. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_create(ssld_context *context, const ssld_model *model,
                                                        const ssld_student_options *options, ssld_student **student);

/**
 * One training step: ssld_student_forward(), ssld_student_backward(), ssld_student_update().
 *
 * With the option `accumulate` = k the batch is worked through in k parts of batch / k views, which takes the memory of
 * one part; their gradients are averaged. A batch norm sees the statistics of each part by itself, and its running
 * statistics take in part after part; without batch norm (and dropout, whose masks differ) the step is that of the
 * whole batch but for rounding.
 *
 * @param batch     exactly the options' batch of views
 * @param labels    the teacher's labels of these views; NULL if the loss needs none
 * @param step      receives loss and rate; may be NULL
 *
 * @return SSLD_OK; SSLD_MISMATCH if shapes, counts or classes do not fit; SSLD_INVALID_ARGUMENT if the loss needs labels
 *         that are not there, or a probability is negative; SSLD_NOT_FINITE if labels, pixels, the loss or (with
 *         clipping or LARS) the gradients are NaN or infinite, the text naming the view or the layer that was first;
 *         SSLD_CANCELLED; SSLD_BACKEND. Weights, running statistics and averages are unchanged then.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_step(ssld_student *student, const ssld_batch *batch,
                                                      const ssld_labels *labels, ssld_step *step);

/** The first part: logits of the batch, in training mode (batch statistics, dropout). @param batch the options' batch of
 *  views, divided by the option `accumulate`. @param logits receives batch x classes floats; may be NULL. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_forward(ssld_student *student, const ssld_batch *batch,
                                                         float *logits);

/** The second part, for the batch of the last forward: the loss and the gradient of every parameter, which replaces the
 *  one before. @param loss may be NULL. On failure there is no gradient to update with. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_backward(ssld_student *student, const ssld_batch *batch,
                                                          const ssld_labels *labels, double *loss);

/**
 * As ssld_student_backward(), but `scale` times the gradient is added to the sum since the last update. A mean over k
 * batches is k times forward and accumulate with a scale of 1 / k, then an update. On failure the sum is dropped.
 *
 * @param loss      receives the loss of this batch, not scaled; may be NULL
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_accumulate(ssld_student *student, const ssld_batch *batch,
                                                            const ssld_labels *labels, float scale, double *loss);

/** The third part: change the parameters by the gradients and count the step. SSLD_INVALID_ARGUMENT without gradients;
 *  SSLD_NOT_FINITE as for ssld_student_step(). */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_update(ssld_student *student);

/** Steps done. Since 0.1. */
SSLD_API uint64_t ssld_student_steps(const ssld_student *student);

/** The trained network as a model of its own, running statistics included. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_get_model(const ssld_student *student, ssld_model **model);

/** As ssld_student_get_model(), with the weights' average: SSLD_INVALID_ARGUMENT without the option ema_decay. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_get_ema_model(const ssld_student *student, ssld_model **model);

/** ssld_student_get_model() and ssld_model_save() in one call. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_export(const ssld_student *student, const char *path);

/**
 * Write a checkpoint: weights, running statistics, the optimizer's momenta, the average and the step. The file appears
 * whole or not at all. ssld_student_restore() then goes on bit for bit as if there had been no interruption.
 *
 * @return SSLD_OK; SSLD_IO, SSLD_NO_SPACE; SSLD_OUT_OF_MEMORY.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_save(const ssld_student *student, const char *path);

/**
 * Take everything from a checkpoint of the same network, the same optimizer, and an average if the student has one.
 *
 * @return SSLD_OK; SSLD_NOT_FOUND, SSLD_IO; SSLD_FORMAT if it is no checkpoint; SSLD_CORRUPT if it is damaged; SSLD_MISMATCH
 *         if it is of another network or optimizer, the text naming the first tensor that differs. The student is
 *         unchanged then.
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

/** Copy `src` to a parameter or its gradient. Before the first step a parameter's average becomes the same. */
SSLD_API SSLD_NODISCARD ssld_status ssld_student_parameter_write(ssld_student *student, int32_t index, int32_t what,
                                                                 const float *src);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_student_destroy(ssld_student *student);

SSLD_END_DECLS

#endif
