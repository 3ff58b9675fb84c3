# SPDX-License-Identifier: BSD-2-Clause
"""The interface's version that this package was written against; a test holds it equal to include/ssld/version.h."""

__version__ = "0.1.0"

MAJOR, MINOR, PATCH = (int(part) for part in __version__.split("."))
VERSION = MAJOR * 1000000 + MINOR * 1000 + PATCH
# Before 1.0 every minor release may break the interface, and has a soname of its own.
SONAME = "libssld.so.0.%d" % MINOR if MAJOR == 0 else "libssld.so.%d" % MAJOR
