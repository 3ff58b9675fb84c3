/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * teacher.h - inference: a classifier's logits for a batch of pixels. Also how a trained student is evaluated.
 */
#ifndef SSLD_TEACHER_H
#define SSLD_TEACHER_H

#include "labels.h"
#include "loader.h"
#include "model.h"

SSLD_BEGIN_DECLS

typedef struct ssld_teacher ssld_teacher;

/** Batch norm uses the running statistics and is folded into the convolutions: a sample's logits do not depend on its
 *  batch (default). */
#define SSLD_BATCH_NORM_EVAL 0
/** Batch norm uses each batch's own statistics, as PaddleClas's online SSLD runs its teacher. Labels then depend on the
 *  batch; the model must not have its batch norm folded. */
#define SSLD_BATCH_NORM_BATCH 1

/** Options of ssld_teacher_open(). Set by ssld_teacher_options_init(); 0 in a field is its default. */
typedef struct ssld_teacher_options {
    size_t  struct_size;  /**< set by ssld_teacher_options_init() */
    int32_t batch;        /**< most views in a call (default 32) */
    int32_t batch_norm;   /**< SSLD_BATCH_NORM_x */
    int32_t threads;      /**< compute threads (default 0: the context's) */
    int32_t height;       /**< input height where the file leaves it open (default 224) */
    int32_t width;        /**< input width where the file leaves it open (default: the height) */
    int32_t precision;    /**< SSLD_PRECISION_x */
} ssld_teacher_options;

/** Filled by ssld_teacher_evaluate(). */
typedef struct ssld_evaluation {
    size_t   struct_size;  /**< set by the caller to sizeof(ssld_evaluation); no more than this is written */
    uint64_t samples;      /**< samples with a label */
    double   top1;         /**< share of them whose largest logit is the label's, 0 to 1 */
    double   top5;         /**< share of them whose label is among the five largest logits */
    double   loss;         /**< mean of -ln p(label) */
} ssld_evaluation;

SSLD_API void ssld_teacher_options_init(ssld_teacher_options *options, size_t struct_size);

/**
 * Make a teacher of a model. The model may be destroyed afterwards.
 *
 * @return SSLD_OK; SSLD_UNSUPPORTED for SSLD_BATCH_NORM_BATCH with a model that has no batch norm: the text says how to
 *         export it unfolded; SSLD_INVALID_ARGUMENT; SSLD_OUT_OF_MEMORY; SSLD_BACKEND.
 *
 * Thread-safety: one thread at a time for one teacher. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_create(ssld_context *context, const ssld_model *model,
                                                        const ssld_teacher_options *options, ssld_teacher **teacher);

/** ssld_model_load() and ssld_teacher_create() in one call, with the statuses of both. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_open(ssld_context *context, const char *path,
                                                      const ssld_teacher_options *options, ssld_teacher **teacher);

/**
 * Logits for a batch.
 *
 * @param batch     pixels (N, channels, height, width) of the model's shape, N at most the options' batch
 * @param labels    receives N x classes logits; its classes must be the model's, its capacity at least N
 *
 * @return SSLD_OK; SSLD_MISMATCH if shapes or class counts differ; SSLD_INVALID_ARGUMENT; SSLD_CANCELLED; SSLD_BACKEND.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_predict(ssld_teacher *teacher, const ssld_batch *batch,
                                                         ssld_labels *labels);

/**
 * Top-1, top-5 and loss over the rest of the loader's epoch, against the samples' hard labels.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT if no sample has a label; the statuses of ssld_loader_next() and
 *         ssld_teacher_predict().
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_evaluate(ssld_teacher *teacher, ssld_loader *loader,
                                                          ssld_evaluation *evaluation);

/** Shapes and sizes of the teacher's model, as ssld_model_get_info(). Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_get_info(const ssld_teacher *teacher, ssld_model_info *info);

/** The model's fingerprint with the batch-norm mode, 16 bytes: a store's labels are bound to it. Since 0.1. */
SSLD_API void ssld_teacher_fingerprint(const ssld_teacher *teacher, uint8_t fingerprint[16]);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_teacher_destroy(ssld_teacher *teacher);

SSLD_END_DECLS

#endif
