# SPDX-License-Identifier: BSD-2-Clause
"""Dataset: where images come from; a sample's id is its position."""

import ctypes
import threading

import numpy

from . import _interface
from ._arrays import address, borrow, content, encode, numbers, shape_of_image
from ._library import library
from ._object import Object, check, copied_text, create, get_fingerprint, get_shape, integer, make_options
from .context import Context


class Dataset(Object):
    """Samples in a fixed order. len(dataset) is their number. Immutable: any number of threads may use it.

    Dataset(context, text) opens "list:FILE" (PaddleClas's list files), "dir:FOLDER" (a folder for each class),
    "tar:SHARDS" (WebDataset's tar files: a folder, a file or "train-{0000..0012}.tar") or "idx:IMAGES[,LABELS]" (MNIST's
    format, gzip-compressed or not).

    root           folder that a list's paths start from (default: the list's own)
    limit          take the first `limit` samples only
    classes        labels must be below it (default: largest label + 1)
    hash_contents  1: the fingerprint is over the files' contents instead of their names and sizes
    manifest       ssld.MANIFEST_KEEP (default): what was found is kept in a file beside the data set, and only what has changed
                   is looked at again; ssld.MANIFEST_CHECK: likewise, but look at every file; ssld.MANIFEST_NONE
    manifest_path  where that file is instead
    """

    def __init__(self, context, text, root=None, limit=None, classes=None, hash_contents=None, manifest=None,
                 manifest_path=None):
        options = make_options(_interface.DatasetOptions, root=encode("root", root), limit=limit, classes=classes,
                               hash_contents=hash_contents, manifest=manifest,
                               manifest_path=encode("manifest_path", manifest_path))
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

    @classmethod
    def from_source(cls, context, count, read, labels=None, classes=None, image=None, fingerprint=None):
        """A data set of samples that a function gives when they are needed.

        read         called with a sample's id on threads of a loader; returns the content of a JPEG or PNG file as bytes, or
                     pixels as a C-contiguous uint8 array (H, W, 1 or 3). What it raises is the sample's error
        labels       a class for each sample, -1 for none
        classes      labels must be below it (default: largest label + 1)
        image        (channels, height, width) of pixels, heights and widths 0 if they differ (default: (3, 0, 0))
        fingerprint  16 bytes that stores are bound to (default: zeros)
        """
        reader = _Reader(read)
        source = make_options(_interface.DatasetSource, count=count, classes=classes)
        source.read, source.release = reader.read_function, reader.release_function
        if image is not None:
            source.image = shape_of_image(image)
        if fingerprint is not None:
            if len(fingerprint) != 16:
                raise ValueError("fingerprint: expected 16 bytes, got %d" % len(fingerprint))
            source.fingerprint = _interface.Fingerprint(*fingerprint)
        if labels is not None:
            labels = numbers("labels", labels, numpy.int32, count)
            source.labels = labels.ctypes.data
        dataset = cls.__new__(cls)
        dataset._open(context, "ssld_dataset_destroy",
                      create(context, "ssld_dataset_from_source", Context.pointer_of(context), ctypes.byref(source)))
        dataset._handle.keep = reader
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
        """16 bytes over the samples' names and sizes, their contents or their pixels: a store's labels are bound to it."""
        return get_fingerprint("ssld_dataset_fingerprint", self.pointer)

    def label(self, sample):
        """The class of a sample; -1 if none is known or the sample does not exist."""
        return library.ssld_dataset_label(self.pointer, integer("sample", sample, ctypes.c_uint64))

    def name(self, sample):
        """A sample's path as listed or in its tar file, or "#17" for samples without one."""
        return copied_text(library.ssld_dataset_name, self.pointer, integer("sample", sample, ctypes.c_uint64))

    def content_hash(self, sample):
        """16 bytes: XXH3-128 of a sample's content, if the data set was opened with hash_contents=1."""
        content = _interface.Fingerprint()
        check(self.context, library.ssld_dataset_content_hash(self.pointer, integer("sample", sample, ctypes.c_uint64), content))
        return bytes(content)


class _Reader:
    """Calls a host's function from C and keeps what it gave until C gives it back."""

    def __init__(self, read):
        self.read = read
        self.given = {}
        self.lock = threading.Lock()
        self.next = 1  # a token of 0 would be None
        self.read_function = _interface.ReadFunction(self._read)
        self.release_function = _interface.ReleaseFunction(self._release)

    def _read(self, user, sample, given):
        try:
            value = self.read(sample)
            pixels = isinstance(value, numpy.ndarray) and value.ndim == 3
            array = borrow("read", value, numpy.uint8, "(H, W, C)") if pixels else content("read", value)
        except Exception as error:  # nothing may leave through C
            given.contents.text = ("%s: %s" % (type(error).__name__, error)).encode(errors="replace")[:255]
            return getattr(error, "status", None) or _interface.CONSTANTS["IO"]
        with self.lock:
            token, self.next = self.next, self.next + 1
            self.given[token] = array
        out = given.contents
        out.bytes, out.size, out.token = array.ctypes.data, array.size, token
        if pixels:
            out.height, out.width = array.shape[:2]
        return _interface.CONSTANTS["OK"]

    def _release(self, user, sample, token):
        with self.lock:
            del self.given[token]
