# SPDX-License-Identifier: BSD-2-Clause
"""Model: a network's graph and weights as data; from an ONNX file or by name, to an ONNX file."""

import ctypes
from collections import namedtuple

from . import _interface
from ._arrays import address, content, encode
from ._library import library
from ._object import Object, check, create, get_fingerprint, get_info, make_options
from .context import Context

ModelInfo = namedtuple("ModelInfo", "classes channels height width nodes batch_norms parameters buffers macs")
ModelInfo.__doc__ = """Shapes and sizes of a model: logits a sample; channels, height and width of the input; operators, and
BatchNormalization operators among them; trainable values; running means and variances; multiply-accumulates an image."""


Layer = namedtuple("Layer", "name kind output parameters buffers macs group shape kernel strides")
Layer.__doc__ = """An operator of a model: its name, ONNX's name of what it does, and the name of the tensor that it makes (for
Teacher's `outputs`); trainable values, other constants and multiply-accumulates an image; groups of a convolution; shape of the
output for one image; height and width of kernel and strides, None where there are none."""


def zoo():
    """The names that Model() knows."""
    names = []
    while True:
        name = library.ssld_model_zoo_name(len(names))
        if name is None:
            return names
        names.append(name.decode())


class Model(Object):
    """An image classifier: one float input (N, channels, height, width), one output of logits (N, classes).

    Model(context, "PPLCNet_x1_0") builds one of ssld.zoo() with freshly initialised weights:

    classes     number of classes (default 1000)
    channels    input channels, 1 or 3 (default 3)
    height      input height (default 224; 32 for VARIANT_SMALL); `width` is the height unless given
    variant     ssld.VARIANT_STANDARD, or ssld.VARIANT_SMALL for inputs of 28 to 64 pixels
    dropout     before the classifier (default: the network's own; negative: none)
    seed        of the initial weights
    """

    def __init__(self, context, name, classes=None, channels=None, height=None, width=None, variant=None, dropout=None,
                 seed=None):
        options = make_options(_interface.ModelOptions, classes=classes, channels=channels, height=height, width=width,
                               variant=variant, dropout=dropout, seed=seed)
        self._open(context, "ssld_model_destroy",
                   create(context, "ssld_model_create", Context.pointer_of(context), encode("name", name),
                          ctypes.byref(options)))

    @classmethod
    def load(cls, context, path, height=None, width=None, memory_limit=None):
        """Read an ONNX classifier. height, width: of the input where the file leaves them open (default 224).
        memory_limit: bytes that reading may ask for in all (default 8 GiB)."""
        options = make_options(_interface.ModelLoadOptions, height=height, width=width, memory_limit=memory_limit)
        return cls._from_pointer(context, create(context, "ssld_model_load", Context.pointer_of(context),
                                                 encode("path", path), ctypes.byref(options)))

    @classmethod
    def load_memory(cls, context, data, name="memory", height=None, width=None, memory_limit=None):
        """Read an ONNX classifier from bytes. `name` stands for the path in error texts."""
        options = make_options(_interface.ModelLoadOptions, height=height, width=width, memory_limit=memory_limit)
        data = content("data", data)
        return cls._from_pointer(context, create(context, "ssld_model_load_memory", Context.pointer_of(context),
                                                 address(data), data.size, encode("name", name), ctypes.byref(options)))

    @classmethod
    def _from_pointer(cls, context, pointer):
        model = cls.__new__(cls)
        model._open(context, "ssld_model_destroy", pointer)
        return model

    def save(self, path):
        """Write an ONNX file, batch norm kept as it is. The file appears whole or not at all."""
        check(self.context, library.ssld_model_save(self.pointer, encode("path", path)))

    @property
    def info(self):
        """A ModelInfo."""
        return get_info(self.context, "ssld_model_get_info", self.pointer, _interface.ModelInfo, ModelInfo)

    @property
    def layers(self):
        """A list of Layer, in the order of computing."""
        return [self._layer(index) for index in range(self.info.nodes)]

    def _layer(self, index):
        layer = _interface.Layer()
        layer.struct_size = ctypes.sizeof(layer)
        check(self.context, library.ssld_model_get_layer(self.pointer, index, ctypes.byref(layer)))
        texts = [text.decode(errors="replace") for text in (layer.name, layer.kind, layer.output)]
        return Layer(*texts, layer.parameters, layer.buffers, layer.macs, layer.group, tuple(layer.dims[:layer.ndims]),
                     tuple(layer.kernel) if layer.kernel[0] else None, tuple(layer.strides) if layer.kernel[0] else None)

    @property
    def name(self):
        """The zoo's name, or the ONNX graph's."""
        return library.ssld_model_name(self.pointer).decode(errors="replace")

    @property
    def fingerprint(self):
        """16 bytes that change when the graph or any weight changes."""
        return get_fingerprint("ssld_model_fingerprint", self.pointer)
