# SPDX-License-Identifier: BSD-2-Clause
"""NumPy arrays in and out without copies, with an error where a copy would be needed; numbers and texts for C."""

import ctypes
import os

import numpy

from ._object import integer


class _Memory:
    """C memory as NumPy's array interface describes it. The array made of it holds this object, and so `keep`."""

    def __init__(self, address, shape, dtype, keep):
        self.keep = keep
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape,
                                    "typestr": numpy.dtype(dtype).str}


def view(address, shape, dtype, keep):
    """A read-only array on C memory; None for NULL. `keep` lives as long as the array and every array made of it."""
    if not address:
        return None
    return numpy.asarray(_Memory(address, shape, dtype, keep))


def _describe(array):
    if not isinstance(array, numpy.ndarray):
        return type(array).__name__
    order = "C-contiguous" if array.flags.c_contiguous else "not C-contiguous"
    return "an array of %s, shape %s, %s" % (array.dtype, array.shape, order)


def borrow(name, array, dtype, axes, writable=False):
    """Check that C can use the array's memory as it is. `axes` names them: "(N, C, H, W)"."""
    dtype = numpy.dtype(dtype)
    fits = (isinstance(array, numpy.ndarray) and array.dtype == dtype and array.flags.c_contiguous
            and array.flags.aligned and array.ndim == axes.count(",") + 1)
    if not fits:
        raise TypeError("%s: expected a C-contiguous %s array %s, got %s; numpy.ascontiguousarray(x, dtype=\"%s\") "
                        "makes one" % (name, dtype, axes, _describe(array), dtype))
    if writable and not array.flags.writeable:
        raise TypeError("%s: the array is read-only" % name)
    return array


def receiver(name, array, shape):
    """The float32 array of `shape` that a function writes to: the caller's, checked, or a new one."""
    if array is None:
        return numpy.empty(shape, dtype=numpy.float32)
    borrow(name, array, numpy.float32, "(" + ", ".join(str(size) for size in shape) + ")", writable=True)
    if array.shape != tuple(shape):
        raise ValueError("%s: expected shape %s, got %s" % (name, tuple(shape), array.shape))
    return array


def numbers(name, values, dtype, count=None):
    """One-dimensional integers as `dtype`: the array itself if it is one, else a copy. `count`: how many there must be."""
    array = numpy.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError("%s: expected integers in one dimension, got %s" % (name, _describe(array)))
    if count is not None and array.size != count:
        raise ValueError("%s: expected %d numbers, got %d" % (name, count, array.size))
    limits = numpy.iinfo(dtype)
    if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
        raise OverflowError("%s: a number does not fit into %s" % (name, numpy.dtype(dtype)))
    return numpy.ascontiguousarray(array, dtype=dtype)


def ids(samples, views):
    """Sample ids and view numbers of one length, for reading and writing stores."""
    samples = numbers("samples", samples, numpy.uint64)
    return samples, numbers("views", views, numpy.uint32, samples.size)


def content(name, data):
    """Bytes, or anything with a buffer, as an array on the same memory."""
    try:
        return numpy.frombuffer(data, dtype=numpy.uint8) if len(data) else numpy.empty(0, dtype=numpy.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise TypeError("%s: expected bytes or a C-contiguous buffer: %s" % (name, error)) from None


def address(array):
    """The array's memory as an argument of a C function; the argument keeps the array. None is NULL."""
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


def shape_of_image(image):
    """(channels, height, width) as C takes them."""
    sizes = tuple(integer("image", size, ctypes.c_int32) for size in image)
    if len(sizes) != 3:
        raise ValueError("image: expected (channels, height, width), got %r" % (tuple(image),))
    return (ctypes.c_int32 * 3)(*sizes)


def encode(name, text):
    """A text or path as C's zero-terminated bytes; None stays None."""
    if text is None:
        return None
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("%s: a zero byte inside %r" % (name, text))
    return encoded
