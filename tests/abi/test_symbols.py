# SPDX-License-Identifier: BSD-2-Clause
"""What libssld exports is what the headers declare and the version script lists, no more and no less.

Environment: SSLD_LIBRARY, the shared library.
"""

import os
import re
import subprocess

import interface
from tap import check, check_equal, main, test

LIBRARY = os.environ["SSLD_LIBRARY"]
MAP = os.path.join(interface.ROOT, "lib", "libssld.map")


def nodes():
    """{node: names} of the version script."""
    text = interface.without_comments(interface.read(MAP))
    return {node: re.findall(r"(\w+)\s*;", body.split("local:")[0].split("global:")[1])
            for node, body in re.findall(r"(\w+(?:\.\w+)*)\s*\{(.*?)\}", text, flags=re.S)}


def exported():
    """{name: node} of the library's defined dynamic symbols, without the nodes themselves."""
    lines = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[-1] for line in lines.splitlines() if line.split()[-2] != "A"]
    return {name: node for name, _, node in (symbol.replace("@@", "@").partition("@") for symbol in symbols)}


def difference(one, other):
    return "only here: %s; only there: %s" % (sorted(set(one) - set(other)), sorted(set(other) - set(one)))


@test
def every_declaration_in_the_headers_is_understood():
    marks = sum(len(re.findall(r"\bSSLD_API\b", interface.without_comments(interface._declarations(header))))
                for header in interface.header_names())
    check_equal(len(interface.functions()), marks, "functions parsed of those marked SSLD_API")


@test
def version_script_lists_every_declared_function():
    listed = [name for names in nodes().values() for name in names]
    check(set(listed) == set(interface.functions()), "lib/libssld.map and include/ssld: %s",
          difference(listed, interface.functions()))
    check_equal(len(listed), len(set(listed)), "names listed, without repeats")
    for node, names in nodes().items():
        check_equal(names, sorted(names), "order of the names of %s" % node)


@test
def library_exports_the_version_script_and_nothing_else():
    listed = {name: node for node, names in nodes().items() for name in names}
    found = exported()
    check(set(found) == set(listed), "%s and lib/libssld.map: %s", LIBRARY, difference(found, listed))
    check_equal({name: node for name, node in found.items() if node != listed[name]}, {}, "functions of another node")


@test
def soname_follows_the_interface_version():
    versions = interface.constants()
    major, minor = versions["SSLD_VERSION_MAJOR"], versions["SSLD_VERSION_MINOR"]
    text = subprocess.run(["readelf", "-d", LIBRARY], check=True, capture_output=True, text=True).stdout
    soname = re.search(r"SONAME.*\[(.*)\]", text).group(1)
    check_equal(soname, "libssld.so.0.%d" % minor if major == 0 else "libssld.so.%d" % major, "soname")


# What an interface may be made of, so that every language can call it and no compiler flag changes it.
PLAIN = {"int32_t", "uint32_t", "int64_t", "uint64_t", "uint8_t", "uint16_t", "size_t", "float", "double", "char",
         "void", "ssld_status", "ssld_log_function", "ssld_store_damage_function", "ssld_sample_function",
         "ssld_release_function"}


@test
def interface_has_fixed_width_types_and_pointers_only():
    known = PLAIN | set(interface.opaque()) | set(interface.structs())
    for function in interface.functions().values():
        for kind in [function.result] + function.parameters:
            base = re.sub(r"\[\w*\]|\*|\bconst\b", "", kind).strip()
            check(base in known, "%s: type '%s'", function.name, kind)
            check("*" in kind or base not in interface.structs(), "%s: struct '%s' by value", function.name, kind)
    for struct, fields in interface.structs().items():
        for field in fields:
            base = re.sub(r"\(\*\).*|\[\w*\]|\*|\bconst\b", "", field.type).strip()
            check(base in known, "%s.%s: type '%s'", struct, field.name, field.type)


main()
