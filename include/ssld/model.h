/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * model.h - a network: its graph and its weights, as data. From an ONNX file or built by name; to an ONNX file.
 *
 * A model is an image classifier: one float input (N, channels, height, width) and one output of logits (N, classes).
 * A model does not compute: ssld_teacher predicts with one, ssld_student trains one.
 */
#ifndef SSLD_MODEL_H
#define SSLD_MODEL_H

#include "context.h"

SSLD_BEGIN_DECLS

typedef struct ssld_model ssld_model;

#define SSLD_VARIANT_STANDARD 0  /**< strides for inputs of about 224 pixels, as PaddleClas has them (default) */
#define SSLD_VARIANT_SMALL 1     /**< strides for 28 to 64 pixels: the first halvings are left out */

/* What teachers and students compute in. Sums, statistics and the weights that an optimizer works on are always f32. */
#define SSLD_PRECISION_DEFAULT 0 /**< f32 */
#define SSLD_PRECISION_F32 1     /**< 32-bit floats */
#define SSLD_PRECISION_BF16 2    /**< activations and the weights that are multiplied with them in bfloat16 */
#define SSLD_PRECISION_AUTO 3    /**< bf16 where the CPU multiplies it natively, else f32 */

/** Options of ssld_model_create(). Set by ssld_model_options_init(); 0 in a field is its default. */
typedef struct ssld_model_options {
    size_t   struct_size;  /**< set by ssld_model_options_init() */
    int32_t  classes;      /**< number of classes (default 1000) */
    int32_t  channels;     /**< input channels, 1 or 3 (default 3) */
    int32_t  height;       /**< input height in pixels (default 224; 32 for SSLD_VARIANT_SMALL) */
    int32_t  width;        /**< input width in pixels (default: the height) */
    int32_t  variant;      /**< SSLD_VARIANT_x */
    float    dropout;      /**< dropout before the classifier (default 0: the network's own; negative: none) */
    uint64_t seed;         /**< of the initial weights: same seed, same weights, on any machine */
} ssld_model_options;

/** Options of ssld_model_load(). Set by ssld_model_load_options_init(); 0 in a field is its default. */
typedef struct ssld_model_load_options {
    size_t  struct_size;  /**< set by ssld_model_load_options_init() */
    int32_t height;       /**< input height where the file leaves it open (default 224) */
    int32_t width;        /**< input width where the file leaves it open (default: the height) */
    uint64_t memory_limit; /**< bytes that reading the file may ask for in all (default 8 GiB) */
} ssld_model_load_options;

/** Filled by ssld_model_get_info(). */
typedef struct ssld_model_info {
    size_t  struct_size;      /**< set by the caller to sizeof(ssld_model_info); no more than this is written */
    int32_t classes;          /**< logits a sample */
    int32_t channels;         /**< input shape: (N, channels, height, width) */
    int32_t height;
    int32_t width;
    int32_t nodes;            /**< operators in the graph */
    int32_t batch_norms;      /**< BatchNormalization operators among them; 0 if they were folded */
    int64_t parameters;       /**< trainable values: weights, biases, batch norm scale and shift */
    int64_t buffers;          /**< batch norm's running means and variances */
    int64_t macs;             /**< multiply-accumulates of convolutions and fully connected layers for one image */
} ssld_model_info;

/** An operator of a model. Filled by ssld_model_get_layer(). */
typedef struct ssld_layer {
    size_t      struct_size;  /**< set by the caller to sizeof(ssld_layer); no more than this is written */
    const char *name;         /**< of the node; the texts live as long as the model */
    const char *kind;         /**< the operator: ONNX's name, PaddleClas's for what ONNX has not */
    const char *output;       /**< name of the tensor that it makes, for ssld_teacher_options.outputs */
    int64_t     parameters;   /**< trainable values that it is the first to read */
    int64_t     buffers;      /**< other constants that it is the first to read */
    int64_t     macs;         /**< multiply-accumulates for one image, of convolutions and fully connected layers */
    int32_t     group;        /**< of a convolution; else 0 */
    int32_t     ndims;        /**< of the output, 1 to 8 */
    int64_t     dims[8];      /**< of the output for one image: the first is 1 (or the rows an image has); 1 past ndims */
    int32_t     kernel[2];    /**< height, width of a convolution or pooling; else 0 */
    int32_t     strides[2];   /**< of a convolution or pooling; else 0 */
} ssld_layer;

SSLD_API void ssld_model_options_init(ssld_model_options *options, size_t struct_size);
SSLD_API void ssld_model_load_options_init(ssld_model_load_options *options, size_t struct_size);

/**
 * Build a network by name with freshly initialised weights.
 *
 * Definitions, parameter names and initialisers are PaddleClas's (ppcls/arch/backbone). There are
 *
 *   PPLCNet_x0_25 to _x2_5, PPLCNetV2_small, _base, _large
 *   MobileNetV1_x0_25 to _x0_75, MobileNetV1, MobileNetV2_x0_25 to _x2_0 (1.0 is MobileNetV2)
 *   MobileNetV3_small_x0_35 to _x1_25, MobileNetV3_large_x0_35 to _x1_25
 *   ResNet18, 34, 50, 101, 152, each also as ResNet18_vd ...; ResNeXt101_32x8d_wsl, ResNeXt101_32x16d_wsl
 *   Res2Net50_vd_26w_4s, Res2Net101_vd_26w_4s, Res2Net200_vd_26w_4s, PPHGNet_tiny, _small, _base
 *
 * PPLCNetV2 is built as it is trained, with several depthwise convolutions in parallel.
 *
 * @param name      one of ssld_model_zoo_name()
 * @param options   NULL for the defaults
 *
 * @return SSLD_OK; SSLD_NOT_FOUND for an unknown name (the text lists the known ones); SSLD_INVALID_ARGUMENT.
 *
 * Thread-safety: any thread. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_model_create(ssld_context *context, const char *name,
                                                      const ssld_model_options *options, ssld_model **model);

/** The index-th name that ssld_model_create() knows, NULL past the last. Static text. Since 0.1. */
SSLD_API const char *ssld_model_zoo_name(int32_t index);

/**
 * Read an ONNX classifier (opset 7 or later, IR version 3 or later, default operator domain).
 *
 * The first input that is not an initializer is the image, (N, C, H, W) or (N, H, W, C); pixels are given as
 * (N, C, H, W) in either case. The first output is the logits; a final Softmax or LogSoftmax is left off, because logits
 * are what a teacher is asked for. Weights may be float32, float16, bfloat16 or float64, and may stand in other files of
 * the same folder (external data), but nowhere else. Supported operators: docs/onnx-support.md.
 *
 * @return SSLD_OK; SSLD_NOT_FOUND, SSLD_IO if the file cannot be read; SSLD_FORMAT if it is not ONNX, is cut off or
 *         contradicts itself; SSLD_UNSUPPORTED for operators or attributes that are not supported: the text lists all
 *         problems of a file by node; SSLD_INVALID_ARGUMENT; SSLD_OUT_OF_MEMORY, also where memory_limit is reached.
 *
 * Thread-safety: any thread. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_model_load(ssld_context *context, const char *path,
                                                    const ssld_model_load_options *options, ssld_model **model);

/** As ssld_model_load(), from memory that is no longer needed after the call. `name` stands for the path in texts; weights
 *  outside the file are refused. */
SSLD_API SSLD_NODISCARD ssld_status ssld_model_load_memory(ssld_context *context, const void *bytes, size_t size,
                                                           const char *name, const ssld_model_load_options *options,
                                                           ssld_model **model);

/**
 * Write an ONNX file (opset 17, IR version 8, dynamic batch) with batch norm kept as it is, so that the file can be
 * trained on or serve as a teacher with batch statistics. Dropout is written as inference sees it. The file appears
 * whole or not at all.
 *
 * @return SSLD_OK; SSLD_IO, SSLD_NO_SPACE; SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: any thread. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_model_save(const ssld_model *model, const char *path);

/** Shapes and sizes. SSLD_INVALID_ARGUMENT for a struct_size of 0. Thread-safety: any thread. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_model_get_info(const ssld_model *model, ssld_model_info *info);

/** The index-th operator in the order of computing. SSLD_INVALID_ARGUMENT past the last (ssld_model_info.nodes of them), or
 *  for a struct_size of 0. Thread-safety: any thread. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_model_get_layer(const ssld_model *model, int32_t index, ssld_layer *layer);

/** The zoo's name, or the ONNX graph's. Lives as long as the model. Since 0.1. */
SSLD_API const char *ssld_model_name(const ssld_model *model);

/** 16 bytes that change when the graph or any weight changes: a store's labels are bound to their teacher by it.
 *  Thread-safety: any thread. Since 0.1. */
SSLD_API void ssld_model_fingerprint(const ssld_model *model, uint8_t fingerprint[16]);

/** NULL is ignored. Teachers and students keep what they need: a model may be destroyed before them. Since 0.1. */
SSLD_API void ssld_model_destroy(ssld_model *model);

SSLD_END_DECLS

#endif
