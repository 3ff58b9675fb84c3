# SPDX-License-Identifier: BSD-2-Clause
"""Labels: the teacher's answers for a batch, logits or probabilities, and never one taken for the other."""

import ctypes

import numpy

from . import _interface
from ._arrays import address, borrow, view
from ._library import library
from ._object import Object, Use, check, create, integer
from .context import Context


class Labels(Object):
    """Rows of at most `capacity` views over `classes` classes, empty at first. One thread at a time.

    `logits` and `probabilities` are read-only arrays on the labels' memory, which is written over by the next predict, read
    or softmax: copy what is to be kept.
    """

    def __init__(self, context, capacity, classes):
        self._lent = None
        self._open(context, "ssld_labels_destroy",
                   create(context, "ssld_labels_create", Context.pointer_of(context),
                          integer("capacity", capacity, ctypes.c_int32), integer("classes", classes, ctypes.c_int32)))

    def lend_logits(self, logits):
        """Stand for a C-contiguous float32 array (N, classes) of logits without a copy, N at most the capacity."""
        self._lend("ssld_labels_wrap_logits", "logits", logits)

    def lend_probabilities(self, probabilities):
        """Stand for a C-contiguous float32 array (N, classes) of probabilities without a copy."""
        self._lend("ssld_labels_wrap_probabilities", "probabilities", probabilities)

    @classmethod
    def wrap_logits(cls, context, logits):
        """New labels on an array of logits: see lend_logits()."""
        return cls._wrap(context, "lend_logits", logits)

    @classmethod
    def wrap_probabilities(cls, context, probabilities):
        """New labels on an array of probabilities: see lend_probabilities()."""
        return cls._wrap(context, "lend_probabilities", probabilities)

    @classmethod
    def _wrap(cls, context, lend, values):
        borrow(lend[len("lend_"):], values, numpy.float32, "(N, classes)")
        labels = cls(context, *values.shape)
        getattr(labels, lend)(values)
        return labels

    def _lend(self, function, name, values):
        pointer = self.pointer
        borrow(name, values, numpy.float32, "(N, classes)")
        if values.shape[1] != self.classes:
            raise ValueError("%s: %d columns, these labels have %d classes" % (name, values.shape[1], self.classes))
        count = integer(name, values.shape[0], ctypes.c_int32)
        check(self.context, getattr(library, function)(pointer, count, address(values)))
        self._lent = values

    def _written(self):
        """The library has written to the labels' own memory: nothing is lent any more."""
        self._lent = None

    def close(self):
        super().close()
        self._lent = None

    def softmax(self):
        """Turn logits into probabilities, in the labels' own memory; probabilities stay as they are."""
        was_logits = self.kind == _interface.CONSTANTS["LABELS_LOGITS"]
        check(self.context, library.ssld_labels_softmax(self.pointer))
        if was_logits:
            self._written()

    @property
    def kind(self):
        """ssld.LABELS_EMPTY, ssld.LABELS_LOGITS or ssld.LABELS_PROBABILITIES."""
        return library.ssld_labels_kind(self.pointer)

    @property
    def count(self):
        """Rows; also len(labels)."""
        return library.ssld_labels_count(self.pointer)

    def __len__(self):
        return self.count

    @property
    def capacity(self):
        """Most rows."""
        return library.ssld_labels_capacity(self.pointer)

    @property
    def classes(self):
        """Columns."""
        return library.ssld_labels_classes(self.pointer)

    def _view(self, values):
        return view(values, (self.count, self.classes), numpy.float32, (Use(self._handle), self._lent))

    @property
    def logits(self):
        """(N, classes) logits; None if the labels are not logits."""
        return self._view(library.ssld_labels_logits(self.pointer))

    @property
    def probabilities(self):
        """(N, classes) probabilities; None if the labels are not probabilities."""
        return self._view(library.ssld_labels_probabilities(self.pointer))
