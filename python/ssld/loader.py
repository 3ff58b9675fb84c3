# SPDX-License-Identifier: BSD-2-Clause
"""Loader: batches of rendered views, prepared ahead by threads of the library."""

import ctypes

from . import _interface
from ._library import library
from ._object import Object, check, create, get_shape, integer, make_options
from .batch import Batch
from .context import Context
from .dataset import Dataset
from .views import ViewSpec


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
    """

    def __init__(self, context, dataset, spec, batch=None, order=None, last=None, threads=None, prefetch=None, views=None,
                 first_view=None, view_seed=None, order_seed=None):
        options = make_options(_interface.LoaderOptions, batch=batch, order=order, last=last, threads=threads,
                               prefetch=prefetch, views=views, first_view=first_view, view_seed=view_seed,
                               order_seed=order_seed)
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
