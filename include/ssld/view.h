/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * view.h - one augmented rendering of a sample, the same bits on every machine.
 *
 * A view is a pure function of (image, view spec, seed, sample id, view number): no state, no order, no thread count.
 * Randomness is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed by the
 * seed and counted by (sample, view, operation, draw).
 *
 * A view spec is text: operations with arguments, left to right, separated by spaces. docs/views.md explains the
 * language and docs/recipes.md has the specs of known recipes; in short, with what may be left out in brackets:
 *
 *   exif                           first, if at all: the image upright, as its EXIF orientation says, which
 *                                  is ignored otherwise: pixels are taken as they are stored
 *   rrc(S [, scale, ratio, draw])  random resized crop, by torchvision's rule or PaddleClas's (draw=paddle)
 *   resize(S), resize(HxW)         the shorter side to S; exactly H x W [rule=paddle]. Crop and resize have
 *                                  filter=bilinear|bicubic|box (Pillow's) or cv_linear|cv_cubic (OpenCV's)
 *   center_crop(S)                 the middle [rule=paddle]
 *   pad_crop(S, P [, fill])        P pixels on each side, then a random crop
 *   flip, vflip [(p)]              left-right, upside down
 *   gray, rgb                      to one channel, to three
 *   color_jitter(b, c, s, h [, p]) brightness, contrast, saturation, hue
 *   randaugment(M [, ops, p, mstd, list, resample, fill, apply])
 *                                  timm's; rand-m9-mstd0.5-inc1 is randaugment(9)
 *   autoaugment(policy)            timm's v0, v0r, original, originalr
 *   paddle_randaugment, paddle_autoaugment
 *                                  PaddleClas's
 *   normalize(mean, std)           (x / 255 - mean) / std; one number or three; normalize(imagenet)
 *   erase [(p, area, ratio, mode)] random erasing
 *   mixup(A), cutmix(A), mixup_or_cutmix(A, B) [p]
 *                                  last, if at all: with another sample's view
 *
 * rrc and resize take filter=W: bilinear (the default), bicubic and box are Pillow's (up to its version 11, which newer ones
 * are not equal to), widened by the reduction, byte for byte; cv_linear and cv_cubic are OpenCV's INTER_LINEAR and INTER_CUBIC as
 * PaddleClas uses them: the former byte for byte, the latter but for a level in one byte of ten thousand or fewer, where
 * OpenCV's float sums round otherwise (Intel's IPP, which OpenCV may use for cubic, gives other pixels).
 * An image that has the size already is not filtered.
 *
 * Sizes are S or HxW, ranges low..high, colours one number or r/g/b. Without normalize pixels are x / 255.
 */
#ifndef SSLD_VIEW_H
#define SSLD_VIEW_H

#include "context.h"

SSLD_BEGIN_DECLS

typedef struct ssld_view_spec ssld_view_spec;

/**
 * Read a view spec.
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for an unknown word, a missing or impossible argument: the text quotes it and
 *         says what was expected; SSLD_OUT_OF_MEMORY.
 *
 * Thread-safety: any thread; a spec is immutable and may be used by any number of threads. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_view_spec_parse(ssld_context *context, const char *text,
                                                         ssld_view_spec **spec);

/** The canonical text, every argument spelled out: parsing it gives the same spec, and two specs with the same text
 *  render the same. Lives as long as the spec. Since 0.1. */
SSLD_API const char *ssld_view_spec_text(const ssld_view_spec *spec);

/**
 * What normalize computes from a byte of channel c: (byte / 255 - means[c]) / deviations[c]. With it pixels can be
 * shown: byte = 255 * (pixel * deviations[c] + means[c]), rounded and kept within 0 to 255.
 *
 * @param means, deviations  receive 3 numbers each; those of the only channel three times where there is one
 *
 * Thread-safety: any thread. Since 0.1.
 */
SSLD_API void ssld_view_spec_normalization(const ssld_view_spec *spec, double means[3], double deviations[3]);

/**
 * The shape of a rendered view.
 *
 * @param image     channels, height, width of the image; 0 for a height or width not known
 * @param shape     receives channels, height, width of every view of such an image
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT if the spec does not lead to one size for images of this size, or does not
 *         suit the channels.
 *
 * Thread-safety: any thread. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_view_spec_shape(const ssld_view_spec *spec, const int32_t image[3],
                                                         int32_t shape[3]);

/**
 * Render one view of a JPEG or PNG image; if the spec mixes, the sample's own part of it. Decoded images are RGB: grey
 * is repeated, alpha is dropped, 16 bit is cut to 8; JPEG by the accurate integer inverse transform with smooth upsampling.
 *
 * Only the part that the spec's crops and sizes lead to is decoded and resampled; its pixels are those of the whole image. So
 * damage is found from the file's beginning to the last row that the view needs, and what lies below it is not looked at: a file
 * cut off there gives the same view as the sound one. PNG's checksums are compared up to the chunk of that row. A JPEG of
 * several scans is always read to its end. ssld_image_verify() looks at everything.
 *
 * @param bytes     the file's content, `size` bytes
 * @param dst       receives channels x height x width floats (see ssld_view_spec_shape())
 * @param capacity  floats that fit into dst
 *
 * @return SSLD_OK; SSLD_FORMAT if the bytes are neither JPEG nor PNG; SSLD_CORRUPT if the image is damaged or cut off;
 *         SSLD_UNSUPPORTED beyond the context's limits on pixels and bytes, and for kinds of JPEG that few programs write;
 *         SSLD_INVALID_ARGUMENT if dst is too small.
 *
 * Thread-safety: any number of threads. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_view_render(const ssld_view_spec *spec, const void *bytes, size_t size,
                                                     uint64_t seed, uint64_t sample, uint32_t view, float *dst,
                                                     size_t capacity);

/** As ssld_view_render(), in bfloat16: each float rounded to the nearest, halves to even. Since 0.1. */
SSLD_API SSLD_NODISCARD ssld_status ssld_view_render_bf16(const ssld_view_spec *spec, const void *bytes, size_t size,
                                                          uint64_t seed, uint64_t sample, uint32_t view, uint16_t *dst,
                                                          size_t capacity);

/** As ssld_view_render(), from decoded pixels: height x width x channels bytes without padding, channels 1 or 3. */
SSLD_API SSLD_NODISCARD ssld_status ssld_view_render_pixels(const ssld_view_spec *spec, const uint8_t *pixels,
                                                            const int32_t image[3], uint64_t seed, uint64_t sample,
                                                            uint32_t view, float *dst, size_t capacity);

/**
 * Decode all of a JPEG or PNG file and check what rendering of a part may not look at: everything to the file's end.
 *
 * @param shape     receives channels (3), height, width, as stored
 *
 * @return SSLD_OK; the failures of ssld_view_render(), the text without the file's name.
 *
 * Thread-safety: any number of threads. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_image_verify(ssld_context *context, const void *bytes, size_t size,
                                                      int32_t shape[3]);

/* -- Mixing: mixup and cutmix ------------------------------------------------------------------------------------- */

/** 1 if the spec ends in mixup, cutmix or mixup_or_cutmix. A view is then made of two renderings: ssld_view_render()
 *  gives each sample's own, ssld_view_partner() says whose they are, ssld_view_mix_pixels() puts them together. A
 *  loader does all of it. Since 0.1. */
SSLD_API int32_t ssld_view_spec_mixes(const ssld_view_spec *spec);

#define SSLD_MIX_NONE 0  /**< the view is the sample's own */
#define SSLD_MIX_BLEND 1 /**< mixup: share x own + (1 - share) x partner */
#define SSLD_MIX_BOX 2   /**< cutmix: the partner's pixels in a box */

/** How a view is mixed. Filled by ssld_view_partner(). */
typedef struct ssld_view_mix {
    size_t   struct_size; /**< set by the caller to sizeof(ssld_view_mix); no more than this is written */
    uint64_t partner;     /**< the other sample; it may be the sample itself */
    double   share;       /**< of the sample's own pixels, 0 to 1 */
    int32_t  kind;        /**< SSLD_MIX_x */
    int32_t  top;         /**< the box of SSLD_MIX_BOX, in pixels of the view */
    int32_t  left;
    int32_t  height;
    int32_t  width;
    int32_t  padding;     /**< 0 */
} ssld_view_mix;

/**
 * Which sample a view is mixed with, and how: a pure function of the spec, seed, sample, view, the data set's count
 * and the view's shape. The partner is uniform among all samples; its part is rendered with the same spec, seed and
 * view number under its own sample id, up to the mixing. A mixed view has no class of its own: loaders give it the
 * hard label -1.
 *
 * @param samples   the data set's count; a store is bound to it by the data set's fingerprint
 * @param shape     channels, height, width of the view
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for a sample that is not below `samples` or an empty shape.
 *
 * Thread-safety: any number of threads. Since 0.1.
 */
SSLD_API SSLD_NODISCARD ssld_status ssld_view_partner(const ssld_view_spec *spec, uint64_t seed, uint64_t sample,
                                                      uint32_t view, uint64_t samples, const int32_t shape[3],
                                                      ssld_view_mix *mix);

/** Mix the partner's rendering into the sample's own, in place; both have `shape`. A box that does not lie within it
 *  changes nothing. Thread-safety: any number of threads. Since 0.1. */
SSLD_API void ssld_view_mix_pixels(const ssld_view_mix *mix, const int32_t shape[3], const float *partner, float *view);

/** NULL is ignored. Since 0.1. */
SSLD_API void ssld_view_spec_destroy(ssld_view_spec *spec);

/**
 * The 4 random words that views draw from: Philox4x32-10 of a counter and a key. With it a host can replay any draw,
 * and the published test vectors can be checked from outside. Thread-safety: any thread. Since 0.1.
 */
SSLD_API void ssld_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

SSLD_END_DECLS

#endif
