# SPDX-License-Identifier: BSD-2-Clause
"""What the Python tests share: small images and data sets, and an allocator that keeps account."""

import contextlib
import ctypes
import shutil
import struct
import tempfile
import threading
import zlib

import numpy

import ssld


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="ssld-test-")
    try:
        yield path
    finally:
        shutil.rmtree(path)


def images(count, height=28, width=28, seed=1):
    """(count, height, width) grey images with something to learn: a bright square whose place is the class."""
    pixels = numpy.random.default_rng(seed).integers(0, 64, (count, height, width), dtype=numpy.uint8)
    classes = numpy.arange(count, dtype=numpy.int32) % 4
    for image, place in zip(pixels, classes):
        row, column = place // 2 * height // 2, place % 2 * width // 2
        image[row:row + height // 2, column:column + width // 2] += 128
    return pixels, classes


def floats(count, channels=1, height=28, width=28, seed=2):
    return numpy.random.default_rng(seed).standard_normal((count, channels, height, width)).astype(numpy.float32)


def png(pixels):
    """A PNG file of (H, W) grey or (H, W, 3) colour bytes."""
    height, width = pixels.shape[:2]

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def idx(array):
    """MNIST's format of a uint8 array."""
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(">%dI" % array.ndim, *array.shape) + array.tobytes()


class Account:
    """An allocator for Context(allocator=...): what is out, the order of what came back, and a k-th call that fails."""

    _c = ctypes.CDLL(None)
    _c.aligned_alloc.restype = ctypes.c_void_p
    _c.aligned_alloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    _c.free.argtypes = [ctypes.c_void_p]

    def __init__(self, fail_at=None):
        self.calls = 0
        self.fail_at = fail_at
        self.out = {}
        self.given_back = []
        self.lock = threading.Lock()

    def alloc(self, size, alignment):
        with self.lock:
            self.calls += 1
            if self.calls - 1 == self.fail_at:
                return None
            memory = self._c.aligned_alloc(alignment, size)
            self.out[memory] = self.calls - 1
            return memory

    def free(self, memory):
        with self.lock:
            self.given_back.append(self.out.pop(memory))
            self._c.free(memory)

    @property
    def allocator(self):
        return self.alloc, self.free


def small_model(context, classes=4, seed=3, **options):
    return ssld.Model(context, "PPLCNet_x0_25", classes=classes, channels=1, height=28, variant=ssld.VARIANT_SMALL,
                      seed=seed, **options)
