# SPDX-License-Identifier: BSD-2-Clause
"""Offline knowledge distillation with libssld, on NumPy arrays without copies.

A teacher looks at every view once, its predictions are stored, students learn from the store:

    import ssld

    with ssld.Context() as context:
        data = ssld.Dataset(context, "list:train_list.txt")
        views = ssld.ViewSpec(context, "rrc(224) flip(0.5) normalize(imagenet)")
        teacher = ssld.Teacher.open(context, "teacher.onnx")
        loader = ssld.Loader(context, data, views, views=10)

        with ssld.StoreWriter(context, "labels.ssld", teacher.info.classes, len(data), views=10, view_spec=views,
                              dataset_fingerprint=data.fingerprint, teacher_fingerprint=teacher.fingerprint) as writer:
            for epoch in range(10):
                for batch in loader.epoch(epoch):
                    writer.append(batch, teacher.predict(batch))

        store = ssld.Store(context, "labels.ssld", view_spec=views, dataset_fingerprint=data.fingerprint)
        model = ssld.Model(context, "PPLCNet_x1_0", classes=teacher.info.classes)
        student = ssld.Student(context, model, learning_rate=0.4)
        loader = ssld.Loader(context, data, views, views=10, order=ssld.ORDER_SHUFFLED, last=ssld.LAST_DROP)
        for epoch in range(30):
            for batch in loader.epoch(epoch):
                student.step(batch, store.read(batch))
        student.export("student.onnx")

The classes follow the C headers one to one (include/ssld/*.h), which are the manual in full. Failures raise subclasses of
ssld.Error with the library's text. Calls release Python's global lock, so other Python threads run meanwhile.
"""

from . import _interface
from ._version import __version__
from .batch import Batch
from .context import Context, build_info, isa, status_name, version
from .dataset import Dataset
from .errors import (BackendError, BusyError, CancelledError, CorruptError, Error, FormatError, InputOutputError,
                     InternalError, InvalidArgumentError, MismatchError, NoSpaceError, NotFiniteError, NotFoundError,
                     OutOfMemoryError, UnsupportedError)
from .labels import Labels
from .loader import BadImage, Loader, LoaderStatistics
from .model import Layer, Model, ModelInfo, zoo
from .profile import ProfileEntry
from .store import Missing, Store, StoreInfo, StoreSizes, StoreStatistics, StoreWriter
from .student import Parameter, Step, Student
from .teacher import Evaluation, Teacher, Verdict
from .views import ViewSpec, philox4x32, verify_image

# ssld.ORDER_SHUFFLED is C's SSLD_ORDER_SHUFFLED, and so on.
globals().update(_interface.CONSTANTS)

__all__ = [
    "BackendError", "BadImage", "Batch", "BusyError", "CancelledError", "Context", "CorruptError", "Dataset", "Error", "Evaluation",
    "FormatError", "InputOutputError", "InternalError", "InvalidArgumentError", "Labels", "Layer", "Loader",
    "LoaderStatistics", "MismatchError",
    "Missing", "Model", "ModelInfo", "NoSpaceError", "NotFiniteError", "NotFoundError", "OutOfMemoryError", "Parameter",
    "ProfileEntry", "Step", "Store", "StoreInfo", "StoreSizes", "StoreStatistics", "StoreWriter", "Student", "Teacher", "UnsupportedError", "Verdict", "ViewSpec",
    "__version__", "build_info", "isa", "philox4x32", "status_name", "verify_image", "version", "zoo",
] + sorted(_interface.CONSTANTS)
