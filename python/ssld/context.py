# SPDX-License-Identifier: BSD-2-Clause
"""Context: threads, memory, log and cancellation for everything made with it."""

import ctypes
import traceback

from . import _interface
from ._library import library
from ._object import Object, copied_text, error_text, integer, make_options
from ._version import VERSION
from .errors import failure


class Context(Object):
    """What everything else is made with. Two contexts do not know of each other.

    threads     compute threads; 0: one for each core this process may use
    log         called with (level, message) for each log line, from whichever thread has something to say; it must not
                call the library
    log_level   ssld.LOG_WARNING, ssld.LOG_INFO; by default LOG_WARNING if `log` is given
    allocator   (alloc, free): alloc(size, alignment) returns an address or None, free(address) takes it back; both are
                called from any thread. By default the C library's.
    image_pixels_limit, image_bytes_limit
                the largest image that is decoded, the largest image file; 0: 2^28 pixels, 2^30 bytes, the most

    The library does not see exceptions inside callbacks: they are printed, and in `alloc` mean that there is no memory.
    """

    def __init__(self, threads=0, log=None, log_level=None, allocator=None, image_pixels_limit=0, image_bytes_limit=0):
        if log_level is None:
            log_level = _interface.CONSTANTS["LOG_WARNING" if log else "LOG_SILENT"]
        options = make_options(_interface.ContextOptions, threads=threads, log_level=log_level,
                               image_pixels_limit=image_pixels_limit, image_bytes_limit=image_bytes_limit)
        callbacks = []
        if log is not None:
            callbacks = [_interface.LogFunction(lambda user, level, line: log(level, line.decode(errors="replace")))]
            options.log = callbacks[0]
        if allocator is not None:
            alloc, free = allocator
            callbacks += [_interface.AllocFunction(lambda user, size, alignment: _memory_or_none(alloc, size, alignment)),
                          _interface.FreeFunction(lambda user, memory: free(memory))]
            options.allocator.alloc, options.allocator.free = callbacks[-2:]
        made = ctypes.c_void_p()
        status = library.ssld_context_create_version(VERSION, ctypes.byref(options), ctypes.byref(made))
        if status < 0:
            # There is no context yet that could have a text.
            name = library.ssld_status_name(status).decode()
            raise failure(status, "%s: a context of %d threads cannot be made with %s" % (name, threads, build_info()))
        self._open(None, "ssld_context_destroy", made.value)
        self._handle.keep = callbacks
        # What was made with the context may fail, or be interrupted, after the context itself was closed.
        self._lasting = self._handle

    @property
    def threads(self):
        """The number of compute threads."""
        return library.ssld_context_threads(self.pointer)

    @property
    def error(self):
        """The text of the last failure of any call made with this context; "" if nothing failed yet."""
        self.pointer  # a closed context has none
        return error_text(self)

    def cancel(self):
        """Every running and future call of this context ends soon with CancelledError; any thread may call this."""
        library.ssld_context_cancel(self.pointer)

    def resume(self):
        """Take cancel() back: later calls run again."""
        library.ssld_context_resume(self.pointer)


def _memory_or_none(alloc, size, alignment):
    """ctypes leaves the result of a callback that raises undefined, and C would take it for memory."""
    try:
        return alloc(size, alignment)
    except BaseException:
        traceback.print_exc()
        return None


def build_info():
    """One line about the library: its version, and the oneDNN it was compiled for and runs on."""
    return copied_text(library.ssld_build_info)


def isa():
    """The instructions that oneDNN uses on this CPU, for example "avx512_core_bf16"."""
    return copied_text(library.ssld_isa)


def version():
    """The loaded library's version as (major, minor, patch)."""
    number = library.ssld_version()
    return number // 1000000, number // 1000 % 1000, number % 1000


def status_name(status):
    """The name of a status, for example "CORRUPT"."""
    return library.ssld_status_name(integer("status", status, ctypes.c_int32)).decode()
