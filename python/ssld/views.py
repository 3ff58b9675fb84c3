# SPDX-License-Identifier: BSD-2-Clause
"""ViewSpec: the text that says how a sample is augmented, and its views as pixels."""

import ctypes

import numpy

from ._arrays import address, borrow, content, encode, numbers, receiver, shape_of_image
from ._interface import ViewMix
from ._library import library
from ._object import Object, check, create, integer
from .context import Context


class ViewSpec(Object):
    """ViewSpec(context, "rrc(224) flip(0.5) normalize(imagenet)"): operations from left to right.

    rrc(S), resize(S), center_crop(S), pad_crop(S, P), flip(P), randaugment(M), erase(P), mixup(ALPHA) and more: docs/views.md.
    A view is a pure function of (image, spec, seed, sample, view number): the same bits on every machine.
    """

    def __init__(self, context, text):
        self._open(context, "ssld_view_spec_destroy",
                   create(context, "ssld_view_spec_parse", Context.pointer_of(context), encode("text", text)))

    @property
    def text(self):
        """The canonical text, every argument spelled out. Two specs with the same text render the same."""
        return library.ssld_view_spec_text(self.pointer).decode()

    def __str__(self):
        return self.text

    @property
    def normalization(self):
        """(means, deviations), a tuple of 3 numbers each: a pixel is (byte / 255 - mean) / deviation of its channel."""
        means, deviations = (ctypes.c_double * 3)(), (ctypes.c_double * 3)()
        library.ssld_view_spec_normalization(self.pointer, means, deviations)
        return tuple(means), tuple(deviations)

    def shape(self, image=(3, 0, 0)):
        """(channels, height, width) of the views of an image of (channels, height, width); 0 where it is not known."""
        shape = (ctypes.c_int32 * 3)()
        check(self.context, library.ssld_view_spec_shape(self.pointer, shape_of_image(image), shape))
        return tuple(shape)

    def render(self, data, seed, sample, view, out=None):
        """One view of a JPEG or PNG image given as bytes: a float32 array (channels, height, width).

        out         receives it; needed if the spec does not lead to one size for every image
        """
        data = content("data", data)
        if out is None:
            out = receiver("out", None, self.shape())
        borrow("out", out, numpy.float32, "(C, H, W)", writable=True)
        check(self.context, library.ssld_view_render(self.pointer, address(data), data.size, *_place(seed, sample, view),
                                                     address(out), out.size))
        return out

    def render_bf16(self, data, seed, sample, view, out=None):
        """As render(), in bfloat16: a uint16 array of their bits, (channels, height, width)."""
        data = content("data", data)
        if out is None:
            out = numpy.empty(self.shape(), numpy.uint16)
        borrow("out", out, numpy.uint16, "(C, H, W)", writable=True)
        check(self.context, library.ssld_view_render_bf16(self.pointer, address(data), data.size, *_place(seed, sample, view),
                                                          address(out), out.size))
        return out

    def render_pixels(self, pixels, seed, sample, view, out=None):
        """One view of decoded pixels, a C-contiguous uint8 array (H, W) or (H, W, 1 or 3)."""
        grey = isinstance(pixels, numpy.ndarray) and pixels.ndim == 2
        borrow("pixels", pixels, numpy.uint8, "(H, W)" if grey else "(H, W, C)")
        image = (1 if grey else pixels.shape[2],) + pixels.shape[:2]
        out = receiver("out", out, self.shape(image))
        check(self.context, library.ssld_view_render_pixels(self.pointer, address(pixels), shape_of_image(image),
                                                            *_place(seed, sample, view), address(out), out.size))
        return out

    @property
    def mixes(self):
        """Whether a view is mixed with another sample's: the spec ends in mixup, cutmix or mixup_or_cutmix. render() then
        gives a sample's own part."""
        return bool(library.ssld_view_spec_mixes(self.pointer))

    def partner(self, seed, sample, view, samples, shape):
        """How a view of a data set of `samples` samples is mixed: partner, share, kind (MIX_x), top, left, height, width."""
        mix = ViewMix(struct_size=ctypes.sizeof(ViewMix))
        check(self.context, library.ssld_view_partner(self.pointer, *_place(seed, sample, view),
                                                      integer("samples", samples, ctypes.c_uint64), shape_of_image(shape),
                                                      ctypes.byref(mix)))
        return mix

    def mix_pixels(self, mix, partner, out):
        """Mix the partner's rendering into the sample's own, a float32 array (C, H, W), in place."""
        borrow("partner", partner, numpy.float32, "(C, H, W)")
        borrow("out", out, numpy.float32, "(C, H, W)", writable=True)
        if partner.shape != out.shape:
            raise ValueError(f"partner has shape {partner.shape}, out {out.shape}")
        library.ssld_view_mix_pixels(ctypes.byref(mix), shape_of_image(out.shape), address(partner), address(out))
        return out


def _place(seed, sample, view):
    return (integer("seed", seed, ctypes.c_uint64), integer("sample", sample, ctypes.c_uint64),
            integer("view", view, ctypes.c_uint32))


def verify_image(context, data):
    """Decode all of a JPEG or PNG file given as bytes; (channels, height, width). Fails if anything in it is damaged, where
    rendering looks at the part that a view needs."""
    shape = (ctypes.c_int32 * 3)()
    data = content("data", data)
    check(context, library.ssld_image_verify(Context.pointer_of(context), address(data), data.size, shape))
    return tuple(shape)


def philox4x32(counter, key):
    """The 4 random words of a counter (4 words) and a key (2 words) that views draw from: Philox4x32-10."""
    words = numpy.empty(4, dtype=numpy.uint32)
    library.ssld_philox4x32(address(numbers("counter", counter, numpy.uint32, 4)),
                            address(numbers("key", key, numpy.uint32, 2)), address(words))
    return words
