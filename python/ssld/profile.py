# SPDX-License-Identifier: BSD-2-Clause
"""Where the time of a student's steps or of a teacher's predictions goes."""

import ctypes
from collections import namedtuple

from . import _interface
from ._object import check, to_record

ProfileEntry = namedtuple("ProfileEntry", "name direction stage calls milliseconds gflop bytes")
ProfileEntry.__doc__ = """What the operators of one kind did in one direction: name and direction; ssld.STAGE_FORWARD,
STAGE_BACKWARD or STAGE_UPDATE; runs, milliseconds, billions of operations and bytes of tensors of a step or a prediction."""


def profile_entries(owner, function, count):
    """The entries that `function` has of a student or teacher."""
    entries = []
    for index in range(count):
        entry = _interface.ProfileEntry()
        entry.struct_size = ctypes.sizeof(entry)
        check(owner.context, function(owner.pointer, index, ctypes.byref(entry)))
        record = to_record(entry, ProfileEntry)
        entries.append(record._replace(name=record.name.decode(), direction=record.direction.decode()))
    return entries
