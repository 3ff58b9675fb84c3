# SPDX-License-Identifier: BSD-2-Clause
"""Failures as exceptions: one class for each status, the library's text as the message."""

from . import _interface
from ._library import library


class Error(Exception):
    """A call of libssld failed. str() is the library's text, `status` the number (ssld.CORRUPT, ...)."""

    status = None

    def __init__(self, text, status=None):
        super().__init__(text)
        if status is not None:
            self.status = status

    @property
    def status_name(self):
        """The status's name, for example "CORRUPT"."""
        return library.ssld_status_name(self.status or 0).decode()


class InvalidArgumentError(Error, ValueError):
    """An argument or option outside its documented range."""


class UnsupportedError(Error):
    """Valid, but not something this version can do."""


class MismatchError(Error):
    """Two things that do not belong together: classes, data set, view spec ..."""


class OutOfMemoryError(Error, MemoryError):
    """The context's allocator had no memory."""


class InputOutputError(Error):
    """The operating system refused a read or write."""


class NotFoundError(Error, LookupError):
    """No such file, view or name."""


class BusyError(Error):
    """Held by another writer."""


class NoSpaceError(Error):
    """The disk or the quota is full."""


class CorruptError(Error):
    """A checksum or a structure that was once right is wrong now."""


class FormatError(Error):
    """Not a file or text of the expected form."""


class CancelledError(Error):
    """Context.cancel() was called."""


class NotFiniteError(Error, ArithmeticError):
    """A loss became NaN or infinite; nothing was updated."""


class BackendError(Error):
    """oneDNN reported an error."""


class InternalError(Error):
    """A defect of libssld; please report the text."""


BY_STATUS = {
    _interface.CONSTANTS[name]: error for name, error in (
        ("INVALID_ARGUMENT", InvalidArgumentError), ("UNSUPPORTED", UnsupportedError), ("MISMATCH", MismatchError),
        ("OUT_OF_MEMORY", OutOfMemoryError), ("IO", InputOutputError), ("NOT_FOUND", NotFoundError),
        ("BUSY", BusyError), ("NO_SPACE", NoSpaceError), ("CORRUPT", CorruptError), ("FORMAT", FormatError),
        ("CANCELLED", CancelledError), ("NOT_FINITE", NotFiniteError), ("BACKEND", BackendError),
        ("INTERNAL", InternalError))
}
for _status, _error in BY_STATUS.items():
    _error.status = _status


def failure(status, text):
    """The exception for a status; a status of a later library is a plain Error."""
    return BY_STATUS.get(status, Error)(text or library.ssld_status_name(status).decode(), status)
