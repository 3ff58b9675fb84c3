# SPDX-License-Identifier: BSD-2-Clause
"""Batch: the pixels of N views with their sample ids, view numbers and hard labels, wherever their memory is."""

import ctypes

import numpy

from ._arrays import address, borrow, numbers, view
from ._library import library
from ._object import Object, Use, check, create, get_shape, integer
from .context import Context


class Batch(Object):
    """Empty until a loader fills it or wrap() lends it an array; neither copies. One thread at a time.

    `pixels`, `samples`, `views` and `labels` are read-only arrays on the batch's memory. They stay safe to read for as long
    as they are referenced, but a loader's memory gets other content once the batch is filled again or closed: copy what
    is to be kept.
    """

    def __init__(self, context):
        self._lender = None
        self._open(context, "ssld_batch_destroy", create(context, "ssld_batch_create", Context.pointer_of(context)))

    @classmethod
    def wrap(cls, context, pixels, samples=None, views=None, labels=None):
        """A new batch on an array: see lend()."""
        batch = cls(context)
        batch.lend(pixels, samples, views, labels)
        return batch

    def lend(self, pixels, samples=None, views=None, labels=None):
        """Let the batch stand for a C-contiguous float32 array (N, C, H, W) without a copy.

        The array is referenced until the batch is filled or lent another; changes to it are seen by the library.

        samples     N sample ids (uint64), needed with a store
        views       N view numbers (uint32), needed with a store; one number serves for all
        labels      N classes (int32), -1 for none
        """
        pointer = self.pointer
        borrow("pixels", pixels, numpy.float32, "(N, C, H, W)")
        count = integer("pixels", pixels.shape[0], ctypes.c_int32)
        if samples is not None:
            samples = numbers("samples", samples, numpy.uint64, count)
        if views is not None:
            if numpy.ndim(views) == 0:
                views = numpy.full(count, integer("views", views, ctypes.c_uint32), dtype=numpy.uint32)
            views = numbers("views", views, numpy.uint32, count)
        if labels is not None:
            labels = numbers("labels", labels, numpy.int32, count)
        shape = (ctypes.c_int32 * 3)(*pixels.shape[1:])
        check(self.context, library.ssld_batch_wrap(pointer, count, shape, address(pixels), address(samples),
                                                    address(views), address(labels)))
        self._lender = (pixels, samples, views, labels)
        self._handle.set_lenders()

    def _fill(self, fill, loader):
        """Let fill() put the loader's memory in place of what the batch had; the loader then outlives the batch."""
        self._handle.add_lender(loader._handle)
        status = fill()
        if status == 0:
            # Arrays keep the batch, too: freed, it gives its memory back to be filled again.
            self._lender = (Use(loader._handle), Use(self._handle))
            self._handle.set_lenders(loader._handle)
        return status

    def close(self):
        super().close()
        self._lender = None

    @property
    def count(self):
        """Views in the batch; 0 when empty. Also len(batch)."""
        return library.ssld_batch_count(self.pointer)

    def __len__(self):
        return self.count

    @property
    def shape(self):
        """(channels, height, width) of a view."""
        return get_shape("ssld_batch_shape", self.pointer)

    @property
    def pixels(self):
        """(N, C, H, W) floats; None when empty."""
        return view(library.ssld_batch_pixels(self.pointer), (self.count,) + self.shape, numpy.float32, self._lender)

    @property
    def samples(self):
        """N sample ids, or None."""
        return view(library.ssld_batch_samples(self.pointer), (self.count,), numpy.uint64, self._lender)

    @property
    def views(self):
        """N view numbers, or None."""
        return view(library.ssld_batch_views(self.pointer), (self.count,), numpy.uint32, self._lender)

    @property
    def labels(self):
        """N classes, -1 for none, or None."""
        return view(library.ssld_batch_labels(self.pointer), (self.count,), numpy.int32, self._lender)
