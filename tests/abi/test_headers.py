# SPDX-License-Identifier: BSD-2-Clause
"""Each public header stands alone, for the oldest C and C++ that a host may use.

Environment: CC, the C compiler; CXX, the C++ compiler (default: g++ or clang++ if there is one).
"""

import os
import shlex
import shutil
import subprocess
import tempfile

import interface
from tap import Skip, check, check_equal, main, test

STRICT = ["-pedantic-errors", "-Wall", "-Wextra", "-Wundef", "-Werror", "-fsyntax-only"]


def cxx():
    named = os.environ.get("CXX")
    found = shlex.split(named) if named else [path for path in map(shutil.which, ("g++", "clang++", "c++")) if path][:1]
    if not found:
        raise Skip("no C++ compiler")
    return found


def compile_each(compiler, standard, suffix, more):
    with tempfile.TemporaryDirectory() as folder:
        for header in interface.header_names():
            source = os.path.join(folder, "alone" + suffix)
            with open(source, "w", encoding="utf-8") as file:
                # Twice: the guard works. A declaration of its own: ISO C has no empty translation units.
                file.write("#include <ssld/%s>\n#include <ssld/%s>\nextern int alone;\n" % (header, header))
            run = subprocess.run(compiler + ["-std=" + standard] + STRICT + more
                                 + ["-I", os.path.join(interface.ROOT, "include"), source],
                                 capture_output=True, text=True)
            check(run.returncode == 0, "%s as %s:\n%s", header, standard, run.stderr)


@test
def each_header_alone_is_strict_c99():
    compile_each(shlex.split(os.environ.get("CC", "cc")), "c99", ".c", ["-Wstrict-prototypes"])


@test
def each_header_alone_is_strict_cxx11():
    compile_each(cxx(), "c++11", ".cpp", ["-Wold-style-cast"])


@test
def ssld_h_includes_every_header():
    text = interface.read(os.path.join(interface.HEADERS, "ssld.h"))
    missing = [name for name in interface.header_names() if name not in ("ssld.h", "export.h")
               and '#include "%s"' % name not in text]
    check_equal(missing, [], "headers that ssld.h does not include")


@test
def every_header_is_installed():
    text = interface.read(os.path.join(interface.HEADERS, "meson.build"))
    missing = [name for name in interface.header_names() if "'%s'" % name not in text]
    check_equal(missing, [], "headers that include/ssld/meson.build does not install")


main()
