# SPDX-License-Identifier: BSD-2-Clause
"""What every class of the package is made of: a C object that is freed once, after everything that needs it.

Python may finalize the objects of a garbage cycle in any order, but libssld wants a context freed after what was made
with it, a loader after the batches it filled, and memory after the NumPy arrays that look at it. So a Handle counts its
users itself and does not rely on the order of finalizers.
"""

import ctypes
import operator
import threading

from . import _interface
from ._library import library
from .errors import failure


class Handle:
    """A pointer from libssld with the function that frees it, and the handles it needs."""

    # Re-entrant: a garbage collection inside the locked lines may drop another handle on the same thread.
    _lock = threading.RLock()

    def __init__(self, pointer, destroy, needs=()):
        self.pointer = pointer
        self.keep = ()  # Python objects whose memory C borrows for as long as the handle lives
        self._destroy = destroy
        self._users = 1
        self._needs = [need.take() for need in needs]
        self._lenders = []

    def take(self):
        with self._lock:
            self._users += 1
        return self

    def drop(self):
        """One user less; the last one frees."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            pointer, self.pointer = self.pointer, None
        if pointer is not None:
            self._destroy(pointer)
        for need in self._lenders + self._needs[::-1]:
            need.drop()

    def release(self):
        """The pointer, for a call that frees it whatever happens; dropping the handle then frees nothing."""
        pointer, self.pointer = self.pointer, None
        return pointer

    def add_lender(self, lender):
        """`lender` may own memory this handle points to from now on."""
        self._lenders.append(lender.take())

    def set_lenders(self, *lenders):
        """Only these own memory this handle points to."""
        old, self._lenders = self._lenders, [lender.take() for lender in lenders]
        for lender in old:
            lender.drop()


class Use:
    """Keeps a handle alive for as long as this object is: what a NumPy array that looks at its memory holds."""

    __slots__ = ("_handle",)

    def __init__(self, handle):
        self._handle = handle.take()

    def __del__(self):
        self._handle.drop()


class Object:
    """Base of all classes with a C object behind them: `close()`, `with`, `closed`, `context`.

    What is not closed is freed when it is no longer referenced. Closing an object early is always safe for the objects
    made of it and for NumPy arrays that look at its memory: the C object is freed after the last of them. Closing an
    object while another thread is inside one of its methods is not.
    """

    _handle = None

    def _open(self, context, destroy, pointer, *needs):
        """Take a fresh C object over. `needs`: objects that must outlive it, besides the context."""
        self.context = context
        handles = [need._handle for need in ((context,) if context is not None else ()) + needs]
        self._handle = Handle(pointer, getattr(library, destroy), handles)

    @property
    def closed(self):
        """True after close()."""
        return self._handle is None

    @property
    def pointer(self):
        """The C object's address, for calls of one's own through ctypes."""
        if self._handle is None:
            raise ValueError("this %s is closed" % type(self).__name__)
        return self._handle.pointer

    @classmethod
    def pointer_of(cls, value):
        """The address of an argument that must be an object of this class: C would not notice another."""
        if not isinstance(value, cls):
            raise TypeError("expected a ssld.%s, got %s" % (cls.__name__, type(value).__name__))
        return value.pointer

    def close(self):
        """Free the C object, or leave that to the last object or array that still needs it. May be called again."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.drop()

    def __enter__(self):
        self.pointer  # a closed object cannot be entered
        return self

    def __exit__(self, *exception):
        self.close()

    def __del__(self):
        self.close()


def check(context, status):
    """Raise what a negative status says, with the context's text; else give the status back."""
    if status < 0:
        raise failure(status, error_text(context))
    return status


def error_text(context):
    return copied_text(library.ssld_context_error, context._lasting.pointer)


def copied_text(function, *arguments):
    """What a function copies to its last two parameters, a buffer and its size; it returns the length of the whole text."""
    size = 1024
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = function(*arguments, buffer, size)
        if length < size:
            return buffer.value.decode(errors="surrogateescape")
        size = length + 1


def create(context, function, *arguments):
    """Call a function whose last parameter receives a handle; returns the handle's address."""
    made = ctypes.c_void_p()
    check(context, getattr(library, function)(*arguments, ctypes.byref(made)))
    return made.value


def make_options(struct, **values):
    """An options struct: defaults, then every value that is not None. Numbers that do not fit are refused."""
    options = struct()
    getattr(library, _interface.OPTIONS_INIT[struct])(ctypes.byref(options), ctypes.sizeof(options))
    types = dict(struct._fields_)
    for name, value in values.items():
        if value is None:
            continue
        if types[name] in INTEGERS:
            value = integer(name, value, types[name])
        setattr(options, name, value)
    return options


INTEGERS = (ctypes.c_int32, ctypes.c_uint32, ctypes.c_int64, ctypes.c_uint64)


def integer(name, value, ctype):
    """`value` as a number that fits into `ctype`: ctypes itself would cut it silently."""
    number = operator.index(value)
    if ctype(number).value != number:
        raise OverflowError("%s: %r does not fit into C's %s" % (name, value, ctype.__name__[2:] + "_t"))
    return number


def get_info(context, function, pointer, struct, record):
    """Call a function that fills a sized struct; returns it as `record`, a named tuple of its fields."""
    info = struct()
    info.struct_size = ctypes.sizeof(info)
    check(context, getattr(library, function)(pointer, ctypes.byref(info)))
    return to_record(info, record)


def to_record(info, record):
    values = (getattr(info, name) for name in record._fields)
    return record(*(bytes(value) if isinstance(value, ctypes.Array) else value for value in values))


def get_fingerprint(function, pointer):
    fingerprint = _interface.Fingerprint()
    getattr(library, function)(pointer, fingerprint)
    return bytes(fingerprint)


def get_shape(function, pointer):
    shape = (ctypes.c_int32 * 3)()
    getattr(library, function)(pointer, shape)
    return tuple(shape)


def interruptible(context, function, *arguments):
    """A call that may take minutes, so that Ctrl-C ends it: Python runs signal handlers on its main thread and only between
    calls, so there the call is made on another thread while the main one waits."""
    if threading.current_thread() is not threading.main_thread():
        return function(*arguments)
    outcome = []
    done = threading.Event()  # an interrupted Thread.join() may take a running thread for a finished one

    def work():
        outcome.append(function(*arguments))
        done.set()

    threading.Thread(target=work).start()
    try:
        done.wait()
    except BaseException:
        library.ssld_context_cancel(context._lasting.pointer)
        while not done.is_set():
            try:
                done.wait()
            except KeyboardInterrupt:
                continue
        library.ssld_context_resume(context._lasting.pointer)
        raise
    return outcome[0]
