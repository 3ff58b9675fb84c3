# SPDX-License-Identifier: BSD-2-Clause
"""Loader: batches of rendered views, prepared ahead by threads of the library."""

from collections import namedtuple
import ctypes

from . import _interface
from ._library import library
from ._object import Object, check, create, get_info, get_shape, integer, make_options
from .batch import Batch
from .context import Context
from .dataset import Dataset
from .views import ViewSpec


LoaderStatistics = namedtuple("LoaderStatistics", "batches images skipped bytes_read cache_hits cache_images cache_bytes "
                              "wait_seconds read_seconds render_seconds")
LoaderStatistics.__doc__ = """What a loader has done so far.

batches, images, skipped   given, and left out; bytes_read: of files; cache_hits: samples that came from memory
cache_images, cache_bytes  in memory
wait_seconds               that next() waited; read_seconds, render_seconds: of all prefetch threads, the latter of the CPU"""

BadImage = namedtuple("BadImage", "sample status text")
BadImage.__doc__ = "An image that was left out: its id, the status it failed with, its file's name and what is wrong."


class Loader(Object):
    """An epoch visits every sample once: `for batch in loader.epoch(3): ...`. One thread at a time.

    batch       views a batch (default 32)
    order       ssld.ORDER_DATASET, or ssld.ORDER_SHUFFLED: a new permutation each epoch, a pure function of `order_seed`
                and the epoch
    last        ssld.LAST_KEEP, or ssld.LAST_DROP: samples that do not fill a batch are left out of the epoch
    threads     prefetch threads (default: the context's); `prefetch`: batches prepared ahead (default 2 + threads)
    views       views of a sample to cycle through: epoch e renders view (first_view + e) mod views (default: a new view
                every epoch)
    first_view  view number of epoch 0
    view_seed   seed of the views' randomness; a store's labels are bound to it
    order_seed  seed of the permutations
    bad         ssld.BAD_STOP: an image that cannot be rendered is an error; ssld.BAD_SKIP: it is left out and listed in `bad`
    cache_bytes memory for samples that are kept; `cache`: ssld.CACHE_AUTO, CACHE_FILES or CACHE_PIXELS
    priority    of the prefetch threads: ssld.PRIORITY_LOW (default) or PRIORITY_NORMAL
    rank, ranks several processes: each sees its part of every epoch
    profile     1: measure what rendering spends its time on, for `statistics`
    """

    def __init__(self, context, dataset, spec, batch=None, order=None, last=None, threads=None, prefetch=None, views=None,
                 first_view=None, view_seed=None, order_seed=None, bad=None, cache_bytes=None, cache=None, priority=None,
                 rank=None, ranks=None, profile=None):
        options = make_options(_interface.LoaderOptions, batch=batch, order=order, last=last, threads=threads,
                               prefetch=prefetch, views=views, first_view=first_view, view_seed=view_seed,
                               order_seed=order_seed, bad=bad, cache_bytes=cache_bytes, cache=cache, priority=priority,
                               rank=rank, ranks=ranks, profile=profile)
        made = create(context, "ssld_loader_create", Context.pointer_of(context), Dataset.pointer_of(dataset),
                      ViewSpec.pointer_of(spec), ctypes.byref(options))
        self._open(context, "ssld_loader_destroy", made, dataset, spec)

    def next(self, batch):
        """Fill `batch` with the next one, waiting for it if need be. False after the last of an epoch; the call after that
        starts the next epoch. After an error of an image the next call goes on with the following batch."""
        pointer, batch_pointer = self.pointer, Batch.pointer_of(batch)
        status = batch._fill(lambda: library.ssld_loader_next(pointer, batch_pointer), self)
        return check(self.context, status) == _interface.CONSTANTS["OK"]

    def seek(self, epoch, batch_number=0):
        """Go to a batch of an epoch: what comes next is what an uninterrupted run would see there."""
        check(self.context, library.ssld_loader_seek(self.pointer, integer("epoch", epoch, ctypes.c_uint64),
                                                     integer("batch_number", batch_number, ctypes.c_uint64)))

    def epoch(self, epoch, batch_number=0):
        """Iterate over the batches of an epoch, from `batch_number` on. One Batch is filled again and again: copy what is
        to be kept of it."""
        self.seek(epoch, batch_number)
        return self._rest()

    def _rest(self):
        batch = Batch(self.context)
        while self.next(batch):
            yield batch

    def __iter__(self):
        """The batches from here to the end of the epoch; again for the next epoch."""
        return self._rest()

    def __len__(self):
        return self.batches

    @property
    def batches(self):
        """Batches in an epoch; also len(loader)."""
        return library.ssld_loader_batches(self.pointer)

    @property
    def shape(self):
        """(channels, height, width) of the views."""
        return get_shape("ssld_loader_shape", self.pointer)

    @property
    def wait_seconds(self):
        """Seconds that next() has waited for batches so far."""
        return library.ssld_loader_wait_seconds(self.pointer)

    @property
    def position(self):
        """(epoch, batch number) of the batch that next() gives next."""
        epoch, number = ctypes.c_uint64(), ctypes.c_uint64()
        library.ssld_loader_position(self.pointer, ctypes.byref(epoch), ctypes.byref(number))
        return epoch.value, number.value

    @property
    def statistics(self):
        """A LoaderStatistics."""
        return get_info(self.context, "ssld_loader_get_statistics", self.pointer, _interface.LoaderStatistics, LoaderStatistics)

    @property
    def bad(self):
        """The images that were left out of the batches so far, a BadImage each."""
        found = []
        for index in range(library.ssld_loader_bad_count(self.pointer)):
            image = _interface.BadImage(struct_size=ctypes.sizeof(_interface.BadImage))
            check(self.context, library.ssld_loader_bad(self.pointer, index, ctypes.byref(image)))
            found.append(BadImage(image.sample, image.status, image.text.decode(errors="surrogateescape")))
        return found
