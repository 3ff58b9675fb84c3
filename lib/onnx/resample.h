/* SPDX-License-Identifier: BSD-2-Clause */
/* resample.h - Resize as products with constant matrices, for what the graph has no operator for. */
#ifndef SSLD_LIB_ONNX_RESAMPLE_H
#define SSLD_LIB_ONNX_RESAMPLE_H

#include "onnx/convert.h"

enum resample_mode { RESAMPLE_NEAREST, RESAMPLE_LINEAR, RESAMPLE_CUBIC };

/* Arrays have an entry for each axis of (N, ...), of which the first is not resampled. */
struct resample {
    int32_t mode;        /* RESAMPLE_x */
    int32_t coordinates; /* SSLD_COORDINATES_x, where there is no region */
    int32_t rounding;    /* RESAMPLE_NEAREST */
    bool    in_region;   /* tf_crop_and_resize */
    bool    antialias, exclude_outside;
    float   cubic;         /* the kernel's parameter: ONNX's cubic_coeff_a */
    float   extrapolation; /* outside of the input, with a region */
    float   region[8];     /* starts, then ends, as shares of the axes */
    float   scales[4];
    int64_t sizes[4];
};

/* The image, of four axes with the batch first, becomes its resized form. */
ssld_status ssld_onnx_resample(struct reader *reader, const onnx_node *node, const struct resample *resample,
                               struct operand *image);

#endif
