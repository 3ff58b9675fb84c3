# SPDX-License-Identifier: BSD-2-Clause
"""Find libssld, load it, and see that it is the one this package was written for.

Searched in this order: the file that the environment variable SSLD_LIBRARY names; this package's own folder; the
dynamic loader's places under the soname; what ctypes.util.find_library() knows as "ssld".
"""

import ctypes
import ctypes.util
import os

from . import _interface
from ._version import MAJOR, MINOR, SONAME, VERSION


def _load():
    named = os.environ.get("SSLD_LIBRARY")
    if named:
        try:
            return ctypes.CDLL(named)
        except OSError as error:
            raise ImportError("SSLD_LIBRARY is set to a file that cannot be loaded: %s" % error) from None
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), SONAME)
    candidates = [beside] if os.path.exists(beside) else []
    candidates.append(SONAME)
    tried = []
    for candidate in candidates:
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            tried.append(str(error))
    found = ctypes.util.find_library("ssld")
    if found:
        return ctypes.CDLL(found)
    raise ImportError("libssld was not found (%s); install it with `meson install`, or set SSLD_LIBRARY to the path of "
                      "%s" % ("; ".join(tried), SONAME))


def _declare(library):
    for name, (result, arguments) in _interface.FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError("%s has no %s; the ssld package and the library are of different versions"
                              % (library._name, name)) from None
        function.restype = result
        function.argtypes = arguments


def _check(library):
    """Version and structs are the library's: each options struct, filled with ones, comes back as its size and zeros."""
    version = library.ssld_version()
    if version // 1000 != VERSION // 1000:
        raise ImportError("%s has interface version %d.%d, the ssld package is for %d.%d; install the two together"
                          % (library._name, version // 1000000, version // 1000 % 1000, MAJOR, MINOR))
    for struct, init in _interface.OPTIONS_INIT.items():
        options = struct()
        size = ctypes.sizeof(options)
        ctypes.memset(ctypes.byref(options), 0xFF, size)
        getattr(library, init)(ctypes.byref(options), size)
        rest = bytes(options)[ctypes.sizeof(ctypes.c_size_t):]
        if options.struct_size != size or any(rest):
            raise ImportError("%s: %s() does not set a struct of %d bytes to its defaults; the ssld package and the "
                              "library are of different versions" % (library._name, init, size))


library = _load()
_declare(library)
_check(library)
