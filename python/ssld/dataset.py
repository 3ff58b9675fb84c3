# SPDX-License-Identifier: BSD-2-Clause
"""Dataset: where images come from; a sample's id is its position."""

import ctypes

import numpy

from . import _interface
from ._arrays import address, borrow, encode, numbers, shape_of_image
from ._library import library
from ._object import Object, copied_text, create, get_fingerprint, get_shape, integer, make_options
from .context import Context


class Dataset(Object):
    """Samples in a fixed order. len(dataset) is their number. Immutable: any number of threads may use it.

    Dataset(context, text) opens "list:FILE" (PaddleClas's list files), "dir:FOLDER" (a folder for each class) or
    "idx:IMAGES[,LABELS]" (MNIST's format, gzip-compressed or not).

    root        folder that a list's paths start from (default: the list's own)
    limit       take the first `limit` samples only
    classes     labels must be below it (default: largest label + 1)
    """

    def __init__(self, context, text, root=None, limit=None, classes=None):
        options = make_options(_interface.DatasetOptions, root=encode("root", root), limit=limit, classes=classes)
        self._open(context, "ssld_dataset_destroy",
                   create(context, "ssld_dataset_open", Context.pointer_of(context), encode("text", text),
                          ctypes.byref(options)))

    @classmethod
    def from_pixels(cls, context, pixels, labels=None):
        """A data set of a C-contiguous uint8 array (N, H, W) or (N, H, W, 1 or 3), which is borrowed: leave it unchanged.

        labels      a class for each sample, -1 for none
        """
        grey = isinstance(pixels, numpy.ndarray) and pixels.ndim == 3
        borrow("pixels", pixels, numpy.uint8, "(N, H, W)" if grey else "(N, H, W, C)")
        count, height, width = pixels.shape[:3]
        image = shape_of_image((1 if grey else pixels.shape[3], height, width))
        if labels is not None:
            labels = numbers("labels", labels, numpy.int32, count)
        dataset = cls.__new__(cls)
        dataset._open(context, "ssld_dataset_destroy",
                      create(context, "ssld_dataset_from_pixels", Context.pointer_of(context), count, image,
                             address(pixels), address(labels)))
        dataset._handle.keep = pixels
        return dataset

    def __len__(self):
        return library.ssld_dataset_count(self.pointer)

    @property
    def classes(self):
        """Number of classes; 0 if no sample has a label."""
        return library.ssld_dataset_classes(self.pointer)

    @property
    def image(self):
        """(channels, height, width) of every sample; height and width are 0 where files may differ."""
        return get_shape("ssld_dataset_image", self.pointer)

    @property
    def fingerprint(self):
        """16 bytes over the samples' names and sizes, or over the pixels: a store's labels are bound to it."""
        return get_fingerprint("ssld_dataset_fingerprint", self.pointer)

    def label(self, sample):
        """The class of a sample; -1 if none is known or the sample does not exist."""
        return library.ssld_dataset_label(self.pointer, integer("sample", sample, ctypes.c_uint64))

    def name(self, sample):
        """A sample's path as listed, or "#17" for IDX and pixels in memory."""
        return copied_text(library.ssld_dataset_name, self.pointer, integer("sample", sample, ctypes.c_uint64))
