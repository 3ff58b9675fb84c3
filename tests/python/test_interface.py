# SPDX-License-Identifier: BSD-2-Clause
"""The package's table of the interface is what the headers say and what the compiler lays out.

Environment: SSLD_LIBRARY, the shared library; SSLD_LAYOUT, the program that prints the layout of the structs.
"""

from tap import check, check_equal, main, test

import ctypes
import os
import re
import subprocess
import sys

import interface
import ssld
from ssld import _interface, _version


def same_type(c, python):
    """Does the ctypes type suit the C type? Addresses of numbers, of bytes and of opaque objects are all one to ctypes."""
    c = c.replace("const ", "")
    scalars = {"int32_t": ctypes.c_int32, "ssld_status": ctypes.c_int32, "uint32_t": ctypes.c_uint32,
               "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t,
               "float": ctypes.c_float, "double": ctypes.c_double, "void": None}
    if c in scalars:
        return python is scalars[c]
    if c == "ssld_store_damage_function":
        return python is _interface.StoreDamageFunction
    if c in _interface.STRUCTS:
        return python is _interface.STRUCTS[c]
    pointed = re.fullmatch(r"(\w+) \*", c)
    if pointed and pointed.group(1) in _interface.STRUCTS:
        return python is ctypes.POINTER(_interface.STRUCTS[pointed.group(1)])
    if pointed and pointed.group(1) in scalars and python is ctypes.POINTER(scalars[pointed.group(1)] or ctypes.c_uint8):
        return True
    if c == "char *":  # a text, or memory that receives one
        return python in (ctypes.c_char_p, ctypes.c_void_p)
    if c.endswith("* *"):
        return python is ctypes.POINTER(ctypes.c_void_p)
    return python is ctypes.c_void_p and ("*" in c or "[" in c)


@test
def every_function_is_declared_as_the_headers_say():
    functions = interface.functions()
    check_equal(sorted(_interface.FUNCTIONS), sorted(functions), "functions")
    for name, (result, arguments) in _interface.FUNCTIONS.items():
        declared = functions[name]
        check(same_type(declared.result, result), "%s returns %s, here %s", name, declared.result, result)
        check_equal(len(arguments), len(declared.parameters), "parameters of " + name)
        for number, (c, python) in enumerate(zip(declared.parameters, arguments), 1):
            check(same_type(c, python), "%s: parameter %d is %s, here %s", name, number, c, python)


@test
def every_constant_has_the_headers_value():
    expected = {name[len("SSLD_"):]: value for name, value in interface.constants().items()
                if not name.startswith("SSLD_VERSION")}
    check_equal(_interface.CONSTANTS, expected, "constants")
    for name, value in expected.items():
        check_equal(getattr(ssld, name), value, "ssld." + name)


@test
def every_struct_has_the_compilers_layout():
    text = subprocess.run([os.environ["SSLD_LAYOUT"]], check=True, capture_output=True, text=True).stdout
    table = interface.parse_layout(text)
    check_equal(sorted(_interface.STRUCTS), sorted(table), "structs")
    for name, struct in _interface.STRUCTS.items():
        own = {"-": (0, ctypes.sizeof(struct))}
        own.update((field, (getattr(struct, field).offset, getattr(struct, field).size)) for field, _ in struct._fields_)
        check_equal(own, table[name], "layout of " + name)


@test
def every_field_has_the_headers_type():
    callbacks = {"ssld_log_function": _interface.LogFunction, "alloc": _interface.AllocFunction,
                 "free": _interface.FreeFunction, "ssld_sample_function": _interface.ReadFunction,
                 "ssld_release_function": _interface.ReleaseFunction}
    for name, fields in interface.structs().items():
        types = dict(_interface.STRUCTS[name]._fields_)
        for field in fields:
            own = types[field.name]
            array = re.fullmatch(r"(\w+)\[(\d+)\]", field.type)
            if field.type == "uint8_t[16]":
                suits = own is _interface.Fingerprint
            elif array and array.group(1) == "char":
                suits = own is ctypes.c_char * int(array.group(2))
            elif array:
                suits = same_type(array.group(1), own._type_) and own._length_ == int(array.group(2))
            elif "(*)" in field.type or field.type in callbacks:
                suits = own is callbacks.get(field.type, callbacks.get(field.name))
            elif field.type.replace("const ", "") in ("uint8_t *", "uint64_t *"):
                suits = own in (ctypes.POINTER(ctypes.c_uint8), ctypes.POINTER(ctypes.c_uint64))
            else:
                suits = same_type(field.type, own)
            check(suits, "%s.%s is %s, here %s", name, field.name, field.type, own)


@test
def versions_are_one():
    numbers = interface.constants()
    header = tuple(numbers["SSLD_VERSION_" + part] for part in ("MAJOR", "MINOR", "PATCH"))
    check_equal(ssld.__version__, "%d.%d.%d" % header, "the package's version")
    check_equal(ssld.version(), header, "the library's version")
    check_equal(_version.VERSION, header[0] * 1000000 + header[1] * 1000 + header[2], "SSLD_VERSION")
    check(ssld.build_info().startswith("libssld " + ssld.__version__), "build_info: %s", ssld.build_info())


@test
def every_status_has_an_exception():
    for name, value in _interface.CONSTANTS.items():
        if value < 0:
            kind = ssld.errors.BY_STATUS[value]
            check(issubclass(kind, ssld.Error) and kind.status == value, "%s: %r", name, kind)
            check_equal(kind("text").status_name, name, "status_name")
            check_equal(ssld.status_name(value), name, "ssld.status_name")
    later = ssld.errors.failure(-12345, "text of a later library")
    check(type(later) is ssld.Error and later.status == -12345 and later.status_name == "UNKNOWN", "%r", later)


@test
def every_name_in_all_is_there_and_explained():
    for name in ssld.__all__:
        value = getattr(ssld, name)
        check(isinstance(value, (int, str)) or value.__doc__, "ssld.%s has no docstring", name)
        if isinstance(value, type) and issubclass(value, ssld._object.Object):
            silent = [member for member, what in vars(value).items() if not member.startswith("_")
                      and not (getattr(what, "__func__", what).__doc__ or hasattr(ssld._object.Object, member))]
            check_equal(silent, [], "members of ssld.%s without a docstring" % name)


def import_with(library):
    run = subprocess.run([sys.executable, "-c", "import ssld"], capture_output=True, text=True,
                         env=dict(os.environ, SSLD_LIBRARY=library))
    check(run.returncode != 0, "import ssld succeeded with SSLD_LIBRARY=%s", library)
    return run.stderr


@test
def import_says_what_is_wrong_with_the_library():
    text = import_with("/nowhere/libssld.so")
    check("ImportError: SSLD_LIBRARY is set to a file that cannot be loaded" in text and "/nowhere" in text, text)
    text = import_with("libc.so.6")
    check("ImportError: libc.so.6 has no ssld_" in text, text)


main()
