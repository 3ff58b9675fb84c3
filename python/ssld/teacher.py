# SPDX-License-Identifier: BSD-2-Clause
"""Teacher: a classifier's logits for a batch of pixels, one network's or an ensemble's; also how a trained student is evaluated,
and how a teacher that cannot be right is found."""

import ctypes
from collections import namedtuple

import numpy

from . import _interface
from ._arrays import encode, view
from ._library import library
from ._object import (Object, Use, check, create, get_fingerprint, get_info, integer, interruptible, make_options, to_record)
from .batch import Batch
from .context import Context
from .labels import Labels
from .loader import Loader
from .model import Model, ModelInfo
from .profile import profile_entries

Evaluation = namedtuple("Evaluation", "samples top1 top5 loss")
Evaluation.__doc__ = """Against the hard labels of `samples` samples: top-1 and top-5 shares, 0 to 1, and the mean of
-ln p(label)."""


Verdict = namedtuple("Verdict", "verdict findings views labelled top1 chance entropy entropy_most information pixel_least "
                     "pixel_most pixel_mean pixel_deviation text")
Verdict.__doc__ = """What Teacher.check() found: ssld.VERDICT_GOOD, VERDICT_DOUBTFUL or VERDICT_BAD; ssld.FINDING_... added up; the
numbers behind them, which include/ssld/teacher.h explains; a sentence for each finding."""


def _teacher_options(batch, batch_norm, threads, height, width, precision, outputs):
    """The options struct, and what its pointers point to, which must live until the call."""
    options = make_options(_interface.TeacherOptions, batch=batch, batch_norm=batch_norm, threads=threads, height=height,
                           width=width, precision=precision)
    names = [encode("outputs", name) for name in outputs or ()]
    array = (ctypes.c_char_p * max(len(names), 1))(*names)
    if names:
        options.outputs = ctypes.cast(array, ctypes.c_void_p)
        options.output_count = len(names)
    return options, array


def _ensemble_options(count, average, weights):
    options = make_options(_interface.EnsembleOptions, average=average)
    if weights is None:
        return options, None
    array = numpy.ascontiguousarray(weights, dtype=numpy.float32)
    if array.shape != (count,):
        raise ValueError("weights: expected %d numbers, one for each member, got shape %s" % (count, array.shape))
    options.weights = array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return options, array


class Teacher(Object):
    """Inference with a model, for one thread at a time. Teacher(context, model), or Teacher.open(context, "teacher.onnx").

    batch       most views in a call (default 32)
    batch_norm  ssld.BATCH_NORM_EVAL (running statistics), or ssld.BATCH_NORM_BATCH (each batch's own, as PaddleClas's
                online SSLD runs its teacher)
    threads     compute threads (default: the context's)
    precision   ssld.PRECISION_F32 (default), PRECISION_BF16, or PRECISION_AUTO: bf16 where the CPU has it
    height      of the input where the model leaves it open (default 224); `width` is the height unless given
    outputs     names of tensors wanted beside the logits, as Model.layers has them: see output()
    """

    def __init__(self, context, model, batch=None, batch_norm=None, threads=None, height=None, width=None,
                 precision=None, outputs=None):
        options, names = _teacher_options(batch, batch_norm, threads, height, width, precision, outputs)
        self._open(context, "ssld_teacher_destroy",
                   create(context, "ssld_teacher_create", Context.pointer_of(context), Model.pointer_of(model),
                          ctypes.byref(options)))

    @classmethod
    def open(cls, context, path, batch=None, batch_norm=None, threads=None, height=None, width=None, precision=None,
             outputs=None):
        """Read an ONNX file and make a teacher of it."""
        options, names = _teacher_options(batch, batch_norm, threads, height, width, precision, outputs)
        teacher = cls.__new__(cls)
        teacher._open(context, "ssld_teacher_destroy",
                      create(context, "ssld_teacher_open", Context.pointer_of(context), encode("path", path),
                             ctypes.byref(options)))
        return teacher

    @classmethod
    def ensemble(cls, members, average=None, weights=None):
        """One teacher of several that know the same classes and take the same images. average: ssld.AVERAGE_LOGITS (default)
        or AVERAGE_PROBABILITIES; weights: one number above 0 for each member (default: all the same)."""
        members = list(members)
        if not members:
            raise ValueError("members: an ensemble needs at least one")
        pointers = (ctypes.c_void_p * len(members))(*[cls.pointer_of(member) for member in members])
        context = members[0].context
        options, array = _ensemble_options(len(members), average, weights)
        teacher = cls.__new__(cls)
        teacher._open(context, "ssld_teacher_destroy",
                      create(context, "ssld_teacher_create_ensemble", Context.pointer_of(context), len(members), pointers,
                             ctypes.byref(options)), *members)
        return teacher

    @classmethod
    def open_ensemble(cls, context, paths, average=None, weights=None, batch=None, batch_norm=None, threads=None, height=None,
                      width=None, precision=None, outputs=None):
        """Read several ONNX files and make an ensemble of them."""
        names = [encode("paths", path) for path in paths]
        array = (ctypes.c_char_p * max(len(names), 1))(*names)
        options, output_names = _teacher_options(batch, batch_norm, threads, height, width, precision, outputs)
        ensemble, weight_array = _ensemble_options(len(names), average, weights)
        teacher = cls.__new__(cls)
        teacher._open(context, "ssld_teacher_destroy",
                      create(context, "ssld_teacher_open_ensemble", Context.pointer_of(context), len(names), array,
                             ctypes.byref(options), ctypes.byref(ensemble)))
        return teacher

    def output(self, index):
        """The index-th of `outputs` as the last predict() has made it: a read-only float32 array, valid until the next one."""
        output = _interface.Output()
        output.struct_size = ctypes.sizeof(output)
        check(self.context, library.ssld_teacher_output(self.pointer, integer("index", index, ctypes.c_int32),
                                                        ctypes.byref(output)))
        return view(output.data, tuple(output.dims[:output.ndims]), numpy.float32, Use(self._handle))

    def check(self, source, views=None):
        """Show the teacher some views and judge its answers: a Verdict. source: a Loader, best a shuffling one, of which the next
        `views` (default 128) are taken; or a Batch."""
        verdict = _interface.TeacherVerdict()
        verdict.struct_size = ctypes.sizeof(verdict)
        text = ctypes.create_string_buffer(4096)
        if isinstance(source, Batch):
            check(self.context, library.ssld_teacher_check_batch(self.pointer, source.pointer, ctypes.byref(verdict), text,
                                                                 len(text)))
        else:
            views = integer("views", views or 0, ctypes.c_uint64)
            check(self.context, interruptible(self.context, library.ssld_teacher_check, self.pointer,
                                              Loader.pointer_of(source), views, ctypes.byref(verdict), text, len(text)))
        numbers = [getattr(verdict, name) for name in Verdict._fields[:-1]]
        return Verdict(*numbers, text.value.decode(errors="replace"))

    def predict(self, batch, labels=None):
        """Logits of a batch, into `labels` or into new ones; returns them."""
        pointer, batch_pointer = self.pointer, Batch.pointer_of(batch)
        if labels is None:
            labels = Labels(self.context, max(batch.count, 1), self.info.classes)
        check(self.context, library.ssld_teacher_predict(pointer, batch_pointer, Labels.pointer_of(labels)))
        labels._written()
        return labels

    def evaluate(self, loader):
        """An Evaluation over the rest of the loader's epoch. Ctrl-C ends it."""
        evaluation = _interface.Evaluation()
        evaluation.struct_size = ctypes.sizeof(evaluation)
        check(self.context, interruptible(self.context, library.ssld_teacher_evaluate, self.pointer,
                                          Loader.pointer_of(loader), ctypes.byref(evaluation)))
        return to_record(evaluation, Evaluation)

    def profile_begin(self):
        """From now on count where the time of predictions goes, from 0."""
        library.ssld_teacher_profile_begin(self.pointer)

    def profile_end(self):
        """Stop counting and forget the counters."""
        library.ssld_teacher_profile_end(self.pointer)

    @property
    def profile(self):
        """A list of ProfileEntry for the predictions since profile_begin(), empty without any."""
        count = library.ssld_teacher_profile_count(self.pointer)
        return profile_entries(self, library.ssld_teacher_profile_entry, count)

    def measure_primitives(self, repeats=5):
        """Milliseconds of a prediction's bare convolutions and fully connected layers, each run alone for the whole batch."""
        milliseconds = ctypes.c_double()
        check(self.context, interruptible(self.context, library.ssld_teacher_measure_primitives, self.pointer,
                                          integer("repeats", repeats, ctypes.c_int32), ctypes.byref(milliseconds)))
        return milliseconds.value

    @property
    def precision(self):
        """ssld.PRECISION_F32 or PRECISION_BF16: what the teacher computes in."""
        return library.ssld_teacher_precision(self.pointer)

    @property
    def info(self):
        """The model's ModelInfo."""
        return get_info(self.context, "ssld_teacher_get_info", self.pointer, _interface.ModelInfo, ModelInfo)

    @property
    def fingerprint(self):
        """16 bytes over the model and the batch-norm mode: a store's labels are bound to it."""
        return get_fingerprint("ssld_teacher_fingerprint", self.pointer)
