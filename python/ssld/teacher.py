# SPDX-License-Identifier: BSD-2-Clause
"""Teacher: a classifier's logits for a batch of pixels; also how a trained student is evaluated."""

import ctypes
from collections import namedtuple

from . import _interface
from ._arrays import encode
from ._library import library
from ._object import Object, check, create, get_fingerprint, get_info, interruptible, make_options, to_record
from .batch import Batch
from .context import Context
from .labels import Labels
from .loader import Loader
from .model import Model, ModelInfo

Evaluation = namedtuple("Evaluation", "samples top1 top5 loss")
Evaluation.__doc__ = """Against the hard labels of `samples` samples: top-1 and top-5 shares, 0 to 1, and the mean of
-ln p(label)."""


class Teacher(Object):
    """Inference with a model, for one thread at a time. Teacher(context, model), or Teacher.open(context, "teacher.onnx").

    batch       most views in a call (default 32)
    batch_norm  ssld.BATCH_NORM_EVAL (running statistics), or ssld.BATCH_NORM_BATCH (each batch's own, as PaddleClas's
                online SSLD runs its teacher)
    threads     compute threads (default: the context's)
    precision   ssld.PRECISION_F32 (default), PRECISION_BF16, or PRECISION_AUTO: bf16 where the CPU has it
    height      of the input where the model leaves it open (default 224); `width` is the height unless given
    """

    def __init__(self, context, model, batch=None, batch_norm=None, threads=None, height=None, width=None,
                 precision=None):
        options = make_options(_interface.TeacherOptions, batch=batch, batch_norm=batch_norm, threads=threads,
                               height=height, width=width, precision=precision)
        self._open(context, "ssld_teacher_destroy",
                   create(context, "ssld_teacher_create", Context.pointer_of(context), Model.pointer_of(model),
                          ctypes.byref(options)))

    @classmethod
    def open(cls, context, path, batch=None, batch_norm=None, threads=None, height=None, width=None, precision=None):
        """Read an ONNX file and make a teacher of it."""
        options = make_options(_interface.TeacherOptions, batch=batch, batch_norm=batch_norm, threads=threads,
                               height=height, width=width, precision=precision)
        teacher = cls.__new__(cls)
        teacher._open(context, "ssld_teacher_destroy",
                      create(context, "ssld_teacher_open", Context.pointer_of(context), encode("path", path),
                             ctypes.byref(options)))
        return teacher

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

    @property
    def info(self):
        """The model's ModelInfo."""
        return get_info(self.context, "ssld_teacher_get_info", self.pointer, _interface.ModelInfo, ModelInfo)

    @property
    def fingerprint(self):
        """16 bytes over the model and the batch-norm mode: a store's labels are bound to it."""
        return get_fingerprint("ssld_teacher_fingerprint", self.pointer)
