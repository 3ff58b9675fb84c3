# SPDX-License-Identifier: BSD-2-Clause
"""StoreWriter and Store: soft labels on disk, written once by a teacher, read by every student."""

import ctypes
from collections import namedtuple

from . import _interface
from ._arrays import address, encode, ids
from ._library import library
from ._object import Object, check, create, get_info, integer, make_options
from .batch import Batch
from .context import Context
from .errors import Error
from .labels import Labels

StoreInfo = namedtuple("StoreInfo", "file_bytes records samples views classes codec top_k batch_norm closed blocks "
                                    "view_seed dataset_fingerprint teacher_fingerprint tail tail_coefficients kl_bound files "
                                    "models")
StoreInfo.__doc__ = """What a store's header says and what is there: size of the file, stored labels, samples of the data
set, views of each that were to be labelled, classes, ssld.CODEC_x, its K, the teacher's ssld.BATCH_NORM_x, 1 if the
writer was closed, blocks, seed of the views, fingerprints (16 bytes each), ssld.TAIL_x, numbers a record that say the tail's
shape, the bound that K adapts to, files opened together, fitted models in them."""

StoreSizes = namedtuple("StoreSizes", "classes values tail statistics offsets model index framing file_bytes")
StoreSizes.__doc__ = "Bytes of a store by what they are for; they sum to file_bytes."

StoreStatistics = namedtuple("StoreStatistics", "rows reused missing damaged")
StoreStatistics.__doc__ = "What reads of a store met so far: rows given, of another view, of zeros; views in damaged blocks."

Missing = namedtuple("Missing", "view sample count")
Missing.__doc__ = "`count` consecutive samples, from `sample` on, of which view `view` is not stored."


def _fingerprint(name, value):
    if value is None:
        return None
    if len(value) != 16:
        raise ValueError("%s: expected 16 bytes, got %d" % (name, len(value)))
    return _interface.Fingerprint.from_buffer_copy(bytes(value))


class StoreWriter(Object):
    """Writes a store, for one thread at a time. `with` commits and closes it, after an exception too.

    classes, samples    of a label and of the data set; must be given
    views               views to be labelled of each sample (default 1)
    resume              True: go on with the file if it exists; what is given here must agree with it
    codec               ssld.CODEC_x; CODEC_TOPK with `top_k` (default 10), `tail` (ssld.TAIL_x), `tail_coefficients`, and
                        `kl_bound` to let K adapt
    learn_records       labels that codecs are fitted to first; model_from: a store whose fitted model is used instead
    batch_norm          the teacher's ssld.BATCH_NORM_x
    view_spec           ViewSpec.text of the views, or the ViewSpec; view_seed: the loader's
    dataset_fingerprint, teacher_fingerprint    what the labels are bound to: Dataset.fingerprint, Teacher.fingerprint
    block_records       records in a block; level: of zstd for CODEC_DENSE_F32 and F16, 1 to 19 (default 3)

    A writer that is neither closed nor left by `with` gives up what was not committed.
    """

    def __init__(self, context, path, classes, samples, views=None, resume=False, codec=None, top_k=None,
                 batch_norm=None, view_seed=None, view_spec=None, dataset_fingerprint=None, teacher_fingerprint=None, block_records=None,
                 level=None, tail=None, tail_coefficients=None, kl_bound=None, learn_records=None, model_from=None):
        options = make_options(
            _interface.StoreWriterOptions, mode=_interface.CONSTANTS["STORE_RESUME" if resume else "STORE_CREATE"],
            classes=classes, samples=samples, views=views, codec=codec, top_k=top_k, batch_norm=batch_norm,
            view_seed=view_seed, view_spec=_spec_text(view_spec), block_records=block_records, level=level,
            tail=tail, tail_coefficients=tail_coefficients, kl_bound=kl_bound, learn_records=learn_records,
            model_from=encode("model_from", model_from) if model_from is not None else None,
            dataset_fingerprint=_fingerprint("dataset_fingerprint", dataset_fingerprint),
            teacher_fingerprint=_fingerprint("teacher_fingerprint", teacher_fingerprint))
        self._open(context, "ssld_store_writer_abandon",
                   create(context, "ssld_store_writer_open", Context.pointer_of(context), encode("path", path),
                          ctypes.byref(options)))

    def append(self, batch, labels):
        """Add the labels of a batch; a view already stored is left as it is. Durable after the next commit()."""
        check(self.context, library.ssld_store_writer_append(self.pointer, Batch.pointer_of(batch),
                                                             Labels.pointer_of(labels)))

    def append_views(self, samples, views, labels):
        """As append(), with sample ids and view numbers as integer arrays."""
        samples, views = ids(samples, views)
        check(self.context, library.ssld_store_writer_append_views(
            self.pointer, integer("samples", samples.size, ctypes.c_int32), address(samples), address(views),
            Labels.pointer_of(labels)))

    def copy(self, store):
        """Add what another Store of the same labels has and this one has not; returns how many records."""
        added = ctypes.c_uint64()
        check(self.context, library.ssld_store_writer_copy(self.pointer, Store.pointer_of(store), None, ctypes.byref(added)))
        return added.value

    def commit(self):
        """Return when everything appended is on the disk."""
        check(self.context, library.ssld_store_writer_commit(self.pointer))

    def missing(self, view=0, sample=0):
        """The first views from there on that are not stored, in order of view, then sample: a Missing; None if none is."""
        view = ctypes.c_uint32(integer("view", view, ctypes.c_uint32))
        sample = ctypes.c_uint64(integer("sample", sample, ctypes.c_uint64))
        count = ctypes.c_uint64()
        status = check(self.context, library.ssld_store_writer_missing(self.pointer, ctypes.byref(view),
                                                                       ctypes.byref(sample), ctypes.byref(count)))
        if status == _interface.CONSTANTS["END"]:
            return None
        return Missing(view.value, sample.value, count.value)

    @property
    def records(self):
        """Records stored or appended so far."""
        return library.ssld_store_writer_records(self.pointer)

    def close(self):
        """Commit, write the index and free the writer; it is gone even if this fails. May be called again."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        status = library.ssld_store_writer_close(handle.release())
        try:
            check(self.context, status)
        finally:
            handle.drop()

    def abandon(self):
        """Free the writer without committing what is pending."""
        super().close()

    def __exit__(self, kind, exception, trace):
        try:
            self.close()
        except Error:
            if kind is None:
                raise  # otherwise the exception under way is the cause, and says more

    def __del__(self):
        self.abandon()


class Store(Object):
    """Reads a store; any number of threads may share one, each with labels of its own. len(store) is its records.

    path        the file, or a list of files that are opened as one: shards of one labelling
    verify      True: check every block now, instead of each when it is read
    missing, damaged    ssld.STORE_x: what a view that is not stored, or whose block is damaged, is answered with
    classes, samples, view_spec, view_seed, dataset_fingerprint, teacher_fingerprint
                what is given is compared with the file: MismatchError says what differs
    """

    def __init__(self, context, path, verify=False, classes=None, samples=None, view_spec=None, view_seed=None,
                 dataset_fingerprint=None, teacher_fingerprint=None, missing=None, damaged=None):
        seed = None
        if view_seed is not None:
            seed = ctypes.pointer(ctypes.c_uint64(integer("view_seed", view_seed, ctypes.c_uint64)))
        options = make_options(
            _interface.StoreOptions, verify=bool(verify), missing=missing, damaged=damaged, classes=classes, samples=samples,
            view_spec=_spec_text(view_spec), view_seed=seed,
            dataset_fingerprint=_fingerprint("dataset_fingerprint", dataset_fingerprint),
            teacher_fingerprint=_fingerprint("teacher_fingerprint", teacher_fingerprint))
        paths = [encode("path", one) for one in (path if isinstance(path, (list, tuple)) else [path])]
        self._open(context, "ssld_store_close",
                   create(context, "ssld_store_open_files", Context.pointer_of(context), (ctypes.c_char_p * len(paths))(*paths),
                          len(paths), ctypes.byref(options)))

    def read(self, batch, labels=None):
        """Probabilities of a batch's samples and views, into `labels` or into new ones; returns them."""
        pointer, batch_pointer = self.pointer, Batch.pointer_of(batch)
        if labels is None:
            labels = Labels(self.context, max(batch.count, 1), self.info.classes)
        check(self.context, library.ssld_store_read(pointer, batch_pointer, Labels.pointer_of(labels)))
        labels._written()
        return labels

    def read_views(self, samples, views, labels=None):
        """As read(), with sample ids and view numbers as integer arrays, in any order, repeats allowed."""
        pointer = self.pointer
        samples, views = ids(samples, views)
        if labels is None:
            labels = Labels(self.context, max(samples.size, 1), self.info.classes)
        check(self.context, library.ssld_store_read_views(
            pointer, integer("samples", samples.size, ctypes.c_int32), address(samples), address(views),
            Labels.pointer_of(labels)))
        labels._written()
        return labels

    def verify(self):
        """Decode every label once; CorruptError says what is damaged first."""
        check(self.context, library.ssld_store_verify(self.pointer, _interface.StoreDamageFunction(), None, None))

    @property
    def sizes(self):
        """A StoreSizes; reads the whole store once."""
        return get_info(self.context, "ssld_store_measure", self.pointer, _interface.StoreSizes, StoreSizes)

    @property
    def statistics(self):
        """A StoreStatistics."""
        return get_info(self.context, "ssld_store_get_statistics", self.pointer, _interface.StoreStatistics, StoreStatistics)

    @property
    def info(self):
        """A StoreInfo."""
        return get_info(self.context, "ssld_store_get_info", self.pointer, _interface.StoreInfo, StoreInfo)

    def __len__(self):
        return self.info.records

    @property
    def view_spec(self):
        """The canonical view spec the labels are bound to."""
        return library.ssld_store_view_spec(self.pointer).decode()


def _spec_text(spec):
    return None if spec is None else encode("view_spec", str(spec))
