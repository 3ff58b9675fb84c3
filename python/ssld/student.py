# SPDX-License-Identifier: BSD-2-Clause
"""Student: training of a model, by steps or by their three parts; its parameters as arrays; checkpoints; ONNX out."""

import ctypes
from collections import namedtuple

import numpy

from . import _interface
from ._arrays import address, encode, numbers, receiver
from ._library import library
from ._object import Object, check, create, integer, interruptible, make_options, to_record
from .batch import Batch
from .context import Context
from .labels import Labels
from .model import Model
from .profile import profile_entries

Step = namedtuple("Step", "step loss learning_rate top1 gradient_norm")
Step.__doc__ = """Steps done, this one included; mean loss over the batch, before the update; rate used by the update; share
of the batch's hard labels that the student got right, -1 if it has none; norm of all gradients before clipping, -1 if
neither clipping nor LARS needed it."""


class Student(Object):
    """Trains a model, starting from its weights; the model stays as it is. One thread at a time.

    batch           views of every step (default 32), worked through in `accumulate` parts (default 1), of which a step
                    takes the memory of one
    threads         compute threads (default: the context's)
    loss            a weighted sum of terms: "sym_kl" (default), "0.5*soft_ce + 0.5*hard_ce(smoothing=0.1)"
    learning_rate   peak rate (default 0.1; AdamW 0.001)
    optimizer       ssld.OPTIMIZER_SGD (default): momentum (default 0.9; negative: none), nesterov, l2 (L2 penalty's
                    gradient factor, default none); ssld.OPTIMIZER_ADAMW: beta1, beta2, epsilon, weight_decay;
                    ssld.OPTIMIZER_LARS: momentum, l2, trust, epsilon
    parameter_groups  factors for parameters by name: "fc.*: rate=10; *.bn.*: decay=0"
    clip_norm       longest gradient, of all parameters together; clip_value: largest absolute value in it
    ema_decay       keep an average of the weights over steps, for get_ema_model()
    schedule        ssld.SCHEDULE_CONSTANT, SCHEDULE_COSINE (final_rate), SCHEDULE_STEP (decay_steps, gamma),
                    SCHEDULE_MULTISTEP (milestones, gamma), SCHEDULE_ONE_CYCLE (rise, start_divisor, final_divisor)
    total_steps     steps of the whole run, for cosine and one-cycle; warmup_steps: steps over which the rate first
                    rises linearly from 0
    seed            of dropout
    precision       ssld.PRECISION_F32 (default), PRECISION_BF16, or PRECISION_AUTO: bf16 where the CPU has it
    """

    def __init__(self, context, model, batch=None, threads=None, loss=None, learning_rate=None, momentum=None, l2=None,
                 schedule=None, total_steps=None, warmup_steps=None, seed=None, optimizer=None, nesterov=None, beta1=None,
                 beta2=None, epsilon=None, weight_decay=None, trust=None, ema_decay=None, clip_norm=None, clip_value=None,
                 parameter_groups=None, decay_steps=None, milestones=None, gamma=None, final_rate=None, rise=None,
                 start_divisor=None, final_divisor=None, accumulate=None, precision=None):
        if milestones is not None:
            milestones = numbers("milestones", milestones, numpy.uint64)
        options = make_options(_interface.StudentOptions, batch=batch, threads=threads, loss=encode("loss", loss),
                               learning_rate=learning_rate, momentum=momentum, l2=l2, schedule=schedule,
                               total_steps=total_steps, warmup_steps=warmup_steps, seed=seed, optimizer=optimizer,
                               nesterov=nesterov, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay,
                               trust=trust, ema_decay=ema_decay, clip_norm=clip_norm, clip_value=clip_value,
                               parameter_groups=encode("parameter_groups", parameter_groups), decay_steps=decay_steps,
                               gamma=gamma, final_rate=final_rate, rise=rise, start_divisor=start_divisor,
                               final_divisor=final_divisor, accumulate=accumulate, precision=precision)
        if milestones is not None:  # the array lives until the call below has copied it
            options.milestones = milestones.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64))
            options.milestone_count = milestones.size
        self._open(context, "ssld_student_destroy",
                   create(context, "ssld_student_create", Context.pointer_of(context), Model.pointer_of(model),
                          ctypes.byref(options)))
        self._classes = model.info.classes

    def step(self, batch, labels=None):
        """forward(), backward(), update(); returns a Step. labels: the teacher's, if the loss needs them."""
        step = _interface.Step()
        step.struct_size = ctypes.sizeof(step)
        check(self.context, library.ssld_student_step(self.pointer, Batch.pointer_of(batch), _labels(labels),
                                                      ctypes.byref(step)))
        return to_record(step, Step)

    def forward(self, batch, out=None):
        """The logits of a batch (of one part, with `accumulate`) in training mode: a float32 array (N, classes), `out` if
        given."""
        pointer, batch_pointer = self.pointer, Batch.pointer_of(batch)
        out = receiver("out", out, (batch.count, self._classes))
        check(self.context, library.ssld_student_forward(pointer, batch_pointer, address(out)))
        return out

    def backward(self, batch, labels=None):
        """The loss of the batch of the last forward(), returned, and the gradient of every parameter."""
        loss = ctypes.c_double()
        check(self.context, library.ssld_student_backward(self.pointer, Batch.pointer_of(batch), _labels(labels),
                                                          ctypes.byref(loss)))
        return loss.value

    def accumulate(self, batch, labels=None, scale=1):
        """As backward(), but `scale` times the gradient is added to the sum since the last update(). Returns the loss."""
        loss = ctypes.c_double()
        check(self.context, library.ssld_student_accumulate(self.pointer, Batch.pointer_of(batch), _labels(labels), scale,
                                                            ctypes.byref(loss)))
        return loss.value

    def update(self):
        """Change the parameters by the gradients and count the step."""
        check(self.context, library.ssld_student_update(self.pointer))

    @property
    def steps(self):
        """Steps done."""
        return library.ssld_student_steps(self.pointer)

    def get_model(self):
        """The trained network as a Model of its own."""
        Context.pointer_of(self.context)
        return Model._from_pointer(self.context, create(self.context, "ssld_student_get_model", self.pointer))

    def get_ema_model(self):
        """The average of the network over the steps as a Model of its own; needs ema_decay."""
        Context.pointer_of(self.context)
        return Model._from_pointer(self.context, create(self.context, "ssld_student_get_ema_model", self.pointer))

    def export(self, path):
        """Write the trained network as an ONNX file."""
        check(self.context, library.ssld_student_export(self.pointer, encode("path", path)))

    def save(self, path):
        """Write a checkpoint: weights, running statistics, the optimizer's momenta, the average and the step."""
        check(self.context, library.ssld_student_save(self.pointer, encode("path", path)))

    def restore(self, path):
        """Go on from a checkpoint of the same network and optimizer as if there had been no interruption."""
        check(self.context, library.ssld_student_restore(self.pointer, encode("path", path)))

    def profile_begin(self):
        """From now on count where the time of steps goes, from 0."""
        library.ssld_student_profile_begin(self.pointer)

    def profile_end(self):
        """Stop counting and forget the counters."""
        library.ssld_student_profile_end(self.pointer)

    @property
    def profile(self):
        """A list of ProfileEntry for the steps since profile_begin(), empty without any."""
        count = library.ssld_student_profile_count(self.pointer)
        return profile_entries(self, library.ssld_student_profile_entry, count)

    def measure_primitives(self, repeats=5):
        """Milliseconds of a step's bare convolutions and fully connected layers, each run alone for the whole batch."""
        milliseconds = ctypes.c_double()
        check(self.context, interruptible(self.context, library.ssld_student_measure_primitives, self.pointer,
                                          integer("repeats", repeats, ctypes.c_int32), ctypes.byref(milliseconds)))
        return milliseconds.value

    @property
    def precision(self):
        """ssld.PRECISION_F32 or PRECISION_BF16: what the student computes in."""
        return library.ssld_student_precision(self.pointer)

    @property
    def parameters(self):
        """All trainable tensors: a list of Parameter."""
        return [Parameter(self, index) for index in range(library.ssld_student_parameter_count(self.pointer))]


def _labels(labels):
    return None if labels is None else Labels.pointer_of(labels)


class Parameter:
    """A trainable tensor of a student. `value` and `gradient` are read as new arrays and written by assignment."""

    def __init__(self, student, index):
        dims = (ctypes.c_int32 * 4)()
        self.student = student
        self.index = index
        self.name = library.ssld_student_parameter_name(student.pointer, index, dims).decode()
        self.shape = tuple(dims)  # 4 sizes; those a tensor does not have are 1

    def __repr__(self):
        return "Parameter(%r, %s)" % (self.name, self.shape)

    def _read(self, what):
        values = numpy.empty(self.shape, dtype=numpy.float32)
        check(self.student.context, library.ssld_student_parameter_read(self.student.pointer, self.index, what,
                                                                        address(values)))
        return values

    def _write(self, what, values):
        values = numpy.ascontiguousarray(numpy.broadcast_to(values, self.shape), dtype=numpy.float32)
        check(self.student.context, library.ssld_student_parameter_write(self.student.pointer, self.index, what,
                                                                         address(values)))

    @property
    def value(self):
        """The parameter itself, a float32 array of `shape`."""
        return self._read(_interface.CONSTANTS["PARAMETER_VALUE"])

    @value.setter
    def value(self, values):
        self._write(_interface.CONSTANTS["PARAMETER_VALUE"], values)

    @property
    def gradient(self):
        """The gradient of the last backward(), a float32 array of `shape`."""
        return self._read(_interface.CONSTANTS["PARAMETER_GRADIENT"])

    @gradient.setter
    def gradient(self, values):
        self._write(_interface.CONSTANTS["PARAMETER_GRADIENT"], values)
