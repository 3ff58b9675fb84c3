/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * teacher.h - inference: a classifier's logits for a batch of pixels, one network's or the average of several. Also how a
 * trained student is evaluated, and how a teacher that cannot be right is found before a night of labelling.
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
    int32_t output_count; /**< intermediate outputs wanted beside the logits (default 0) */
    int32_t padding;      /**< 0 */
    const char *const *outputs; /**< their names, output_count of them, each an ssld_layer.output; copied */
} ssld_teacher_options;

/** What an ensemble averages. The answer is logits in both cases: the softmax of them is the average. */
#define SSLD_AVERAGE_LOGITS 0        /**< the weighted mean of the members' logits (default) */
#define SSLD_AVERAGE_PROBABILITIES 1 /**< the logarithm of the weighted mean of the members' probabilities */

/** Options of ensembles. Set by ssld_ensemble_options_init(); 0 in a field is its default. */
typedef struct ssld_ensemble_options {
    size_t       struct_size;  /**< set by ssld_ensemble_options_init() */
    int32_t      average;      /**< SSLD_AVERAGE_x */
    int32_t      padding;      /**< 0 */
    const float *weights;      /**< one for each member, above 0, divided by their sum (default NULL: all the same); copied */
} ssld_ensemble_options;

/** A tensor of the network for the views of the last prediction. Filled by ssld_teacher_output(). */
typedef struct ssld_output {
    size_t       struct_size;  /**< set by the caller to sizeof(ssld_output); no more than this is written */
    const char  *name;         /**< as the model calls it; lives as long as the teacher */
    const float *data;         /**< the product of dims floats, row-major; valid until the next prediction */
    int32_t      ndims;        /**< 1 to 8 */
    int32_t      padding;      /**< 0 */
    int64_t      dims[8];      /**< the first counts views (times the rows a view has, mostly 1); 1 past ndims */
} ssld_output;

/** Filled by ssld_teacher_evaluate(). */
typedef struct ssld_evaluation {
    size_t   struct_size;  /**< set by the caller to sizeof(ssld_evaluation); no more than this is written */
    uint64_t samples;      /**< samples with a label */
    double   top1;         /**< share of them whose largest logit is the label's, 0 to 1 */
    double   top5;         /**< share of them whose label is among the five largest logits */
    double   loss;         /**< mean of -ln p(label) */
} ssld_evaluation;

SSLD_API void ssld_teacher_options_init(ssld_teacher_options *options, size_t struct_size);
SSLD_API void ssld_ensemble_options_init(ssld_ensemble_options *options, size_t struct_size);

/**
 * Make a teacher of a model. The model may be destroyed afterwards.
 *
 * @return SSLD_OK; SSLD_UNSUPPORTED for SSLD_BATCH_NORM_BATCH with a model that has no batch norm: the text says how to
 *         export it unfolded; SSLD_NOT_FOUND if it has no tensor of a name in `outputs`: the text has those most like it;
 *         SSLD_INVALID_ARGUMENT; SSLD_OUT_OF_MEMORY; SSLD_BACKEND.
 *
 * Thread-safety: one thread at a time for one teacher. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_create(ssld_context *context, const ssld_model *model,
                                                        const ssld_teacher_options *options, ssld_teacher **teacher);

/** ssld_model_load() and ssld_teacher_create() in one call, with the statuses of both. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_open(ssld_context *context, const char *path,
                                                      const ssld_teacher_options *options, ssld_teacher **teacher);

/**
 * One teacher of several that know the same classes and take the same images. It predicts, evaluates and labels as any other;
 * its fingerprint is of its members, their order, their weights and the kind of average.
 *
 * @param count     number of members, at least 1
 * @param members   borrowed: they must outlive the ensemble, and belong to its thread meanwhile. An ensemble may be one.
 * @param options   NULL for the defaults
 *
 * @return SSLD_OK; SSLD_MISMATCH if classes or shapes differ: the text says which; SSLD_INVALID_ARGUMENT;
 *         SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: one thread at a time for one teacher. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_create_ensemble(ssld_context *context, int32_t count,
                                                                 ssld_teacher *const *members,
                                                                 const ssld_ensemble_options *options,
                                                                 ssld_teacher **teacher);

/** ssld_teacher_open() of every path with the same options, and ssld_teacher_create_ensemble() of them, which owns them. The
 *  statuses of both. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_open_ensemble(ssld_context *context, int32_t count,
                                                               const char *const *paths,
                                                               const ssld_teacher_options *teacher_options,
                                                               const ssld_ensemble_options *ensemble_options,
                                                               ssld_teacher **teacher);

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

/**
 * An intermediate output of the last prediction, by its position in the options' `outputs`. An ensemble has those of its
 * members, one member after the other.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT past the last one, before the first prediction, or for a struct_size of 0.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_output(const ssld_teacher *teacher, int32_t index, ssld_output *output);

/** Shapes and sizes of the teacher's model, as ssld_model_get_info(); of an ensemble operators, parameters and
 *  multiply-accumulates of all members together. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_get_info(const ssld_teacher *teacher, ssld_model_info *info);

/** The model's fingerprint with the batch-norm mode, 16 bytes: a store's labels are bound to it. Since 0.1. */
SSLD_API void ssld_teacher_fingerprint(const ssld_teacher *teacher, uint8_t fingerprint[16]);

/* -- The check ---------------------------------------------------------------------------------------------------- */

#define SSLD_VERDICT_GOOD 0     /**< nothing speaks against this teacher */
#define SSLD_VERDICT_DOUBTFUL 1 /**< something a person should know */
#define SSLD_VERDICT_BAD 2      /**< its answers are of no use for these views */

/* What was found, as bits of ssld_teacher_verdict.findings. n views, C classes, H the entropy in nats. */
#define SSLD_FINDING_NOT_FINITE 1   /**< bad: logits or pixels that are not numbers */
#define SSLD_FINDING_UNIFORM 2      /**< bad: mean H above 0.95 ln C, the answer of a network that was never trained */
#define SSLD_FINDING_CONSTANT 4     /**< bad: the same answer to every view: H of the mean answer less the mean H is below
                                     *   0.05 ln min(C, n). Needs 8 views; not where all hard labels are the same. */
#define SSLD_FINDING_CERTAIN 8      /**< doubtful: mean H below 0.001 ln C; such labels say no more than a class each */
#define SSLD_FINDING_TOP1 16        /**< from 32 hard labels on: top-1 less than 3 standard deviations above chance. Bad if the
                                     *   labels reach the last tenth of the C classes, else they may not be the teacher's:
                                     *   doubtful */
#define SSLD_FINDING_PIXELS 32      /**< doubtful: pixels beyond 8 or a standard deviation outside 0.1 to 4: normalised images
                                     *   have about 1, bytes that nobody divided reach 255 */
#define SSLD_FINDING_PLAIN_PIXELS 64 /**< doubtful: all pixels in 0 to 1, as the view spec leaves them without normalize, and
                                     *   the network does not begin with a normalisation of its own */

/** Numbers behind the check of a teacher. Filled by ssld_teacher_check(). */
typedef struct ssld_teacher_verdict {
    size_t   struct_size;      /**< set by the caller to sizeof(ssld_teacher_verdict); no more than this is written */
    int32_t  verdict;          /**< SSLD_VERDICT_x: the worst of the findings */
    int32_t  findings;         /**< SSLD_FINDING_x, added up */
    uint64_t views;            /**< views the teacher was shown */
    uint64_t labelled;         /**< those with a hard label */
    double   top1;             /**< share of them whose largest logit is the label's; -1 without any */
    double   chance;           /**< top-1 if answers and labels had nothing to do with each other; -1 without any */
    double   entropy;          /**< mean over the views of -sum p ln p, in nats */
    double   entropy_most;     /**< ln(classes): of an answer that says nothing */
    double   information;      /**< entropy of the mean answer less the mean entropy: how well answers tell views apart */
    double   pixel_least;      /**< smallest pixel */
    double   pixel_most;       /**< largest pixel */
    double   pixel_mean;       /**< over all views and channels */
    double   pixel_deviation;  /**< standard deviation of all pixels */
} ssld_teacher_verdict;

/**
 * Show a teacher some views and judge its answers: was it trained, and are the pixels what it was trained with?
 *
 * @param loader    its next batches are used, so let it shuffle: images of one class only look like a teacher that answers
 *                  always the same
 * @param views     stop after the batch that makes it so many; 0: 128
 * @param verdict   receives the numbers
 * @param text      receives a sentence for each finding with its number and remedy, or "" without findings; cut to `size`,
 *                  with a terminating zero; may be NULL if size is 0
 *
 * @return SSLD_OK whatever the verdict; SSLD_MISMATCH if the views' shape is not the teacher's or a hard label is past its
 *         classes; SSLD_INVALID_ARGUMENT; the statuses of ssld_loader_next() and ssld_teacher_predict().
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_check(ssld_teacher *teacher, ssld_loader *loader, uint64_t views,
                                                       ssld_teacher_verdict *verdict, char *text, size_t size);

/** As ssld_teacher_check(), of a host's own batch. */
SSLD_API SSLD_NODISCARD ssld_status ssld_teacher_check_batch(ssld_teacher *teacher, const ssld_batch *batch,
                                                             ssld_teacher_verdict *verdict, char *text, size_t size);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_teacher_destroy(ssld_teacher *teacher);

SSLD_END_DECLS

#endif
