# SPDX-License-Identifier: BSD-2-Clause
"""What is installed can be used: a C and a C++ program are built with pkg-config against it, and run.

Environment: SSLD_BUILD, the build folder; MESON; CC; CXX (default: g++ or clang++ if there is one).
"""

import atexit
import glob
import os
import shlex
import shutil
import subprocess
import tempfile

import interface
from tap import Skip, check, check_equal, main, test

PROGRAM = r"""
#include <stdio.h>
#include <ssld/ssld.h>

int main(void)
{
    ssld_context *context = NULL;
    ssld_status status = ssld_context_create(NULL, &context);
    const uint32_t counter[4] = { 0, 0, 0, 0 }, key[2] = { 0, 0 };
    uint32_t words[4];
    ssld_philox4x32(counter, key, words);
    printf("%s %08x %d\n", ssld_status_name(status), (unsigned)words[0], ssld_version() == SSLD_VERSION);
    ssld_context_destroy(context);
    return 0;
}
"""

_installed = []


def run(command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **environment))
    check(done.returncode == 0, "%s: exit code %d\n%s%s", " ".join(command), done.returncode, done.stdout, done.stderr)
    return done.stdout


def installed():
    """(destination folder, folder of the library, folder of libssld.pc), installed once."""
    if not _installed:
        folder = tempfile.mkdtemp(prefix="ssld-install-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        run(shlex.split(os.environ["MESON"]) + ["install", "-C", os.environ["SSLD_BUILD"], "--no-rebuild", "--destdir",
                                                folder])
        found = glob.glob(folder + "/**/libssld.pc", recursive=True)
        check_equal(len(found), 1, "libssld.pc files installed")
        _installed.append((folder, os.path.dirname(os.path.dirname(found[0])), os.path.dirname(found[0])))
    return _installed[0]


def build_and_run(compiler, suffix):
    destination, libraries, pkgconfig = installed()
    # The file says where things will be; until then they are below the destination folder.
    environment = {"PKG_CONFIG_PATH": pkgconfig, "PKG_CONFIG_SYSROOT_DIR": destination}
    flags = shlex.split(run(["pkg-config", "--cflags", "--libs", "libssld"], **environment))
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "host" + suffix), os.path.join(folder, "host")
        with open(source, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        run(compiler + ["-Wall", "-Wextra", "-Werror", source, "-o", program] + flags)
        check_equal(run([program], LD_LIBRARY_PATH=libraries), "OK 6627e8d5 1\n", "what the program prints")


@test
def installed_library_serves_a_c_program():
    build_and_run(shlex.split(os.environ.get("CC", "cc")), ".c")


@test
def installed_library_serves_a_cxx_program():
    named = os.environ.get("CXX")
    found = shlex.split(named) if named else [path for path in map(shutil.which, ("g++", "clang++", "c++")) if path][:1]
    if not found:
        raise Skip("no C++ compiler")
    build_and_run(found, ".cpp")


@test
def installed_headers_are_the_public_ones():
    destination = installed()[0]
    headers = glob.glob(destination + "/**/include/ssld/*", recursive=True)
    check_equal(sorted(map(os.path.basename, headers)), interface.header_names(), "headers installed")


@test
def installed_program_starts():
    destination, libraries, _ = installed()
    programs = glob.glob(destination + "/**/bin/ssld", recursive=True)
    if not programs:
        raise Skip("built without -Dexamples=true")
    versions = interface.constants()
    version = "%d.%d.%d" % tuple(versions["SSLD_VERSION_" + part] for part in ("MAJOR", "MINOR", "PATCH"))
    text = run([programs[0], "--version"], LD_LIBRARY_PATH=libraries)
    check(version in text, "ssld --version says: %s", text)


main()
