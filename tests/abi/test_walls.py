# SPDX-License-Identifier: BSD-2-Clause
"""The walls between the parts, read off the #include lines and the symbols; docs/architecture.md draws them.

Environment: SSLD_PARTS, the static libraries of the parts, separated by spaces.
"""

import os
import re
import subprocess

import interface
from tap import check, check_equal, main, test

LIB = os.path.join(interface.ROOT, "lib")

# A part and the parts it may know.
MAY_KNOW = {
    "core": [],
    "image": ["core"],
    "data": ["image", "core"],
    "store": ["core"],
    "graph": ["core"],
    "onnx": ["graph", "core"],
    "engine": ["graph", "core"],
    "distill": ["core", "image", "data", "store", "graph", "onnx", "engine"],
}

# Headers of other libraries (regular expressions) and the parts that may include them.
FOREIGN = [
    (r"(oneapi/)?dnnl.*", ["engine"]),
    (r"omp\.h", ["engine"]),
    (r"jpeglib\.h|jerror\.h|turbojpeg\.h|png\.h", ["image"]),
    (r"zlib\.h", ["data"]),
    (r"zstd.*", ["store"]),
    (r"(protobuf-c/)?protobuf-c\.h|.*\.pb-c\.h", ["onnx"]),
    (r"xxh.*\.h", ["core"]),
]

# What a library must not do to its host: print, end the process, change what belongs to all of it.
FORBIDDEN = set("""printf vprintf puts putchar fprintf vfprintf fputs fputc perror exit _exit _Exit quick_exit abort atexit
setenv unsetenv putenv clearenv setlocale signal sigaction sigprocmask chdir umask srand rand srandom random strtok setrlimit
omp_set_num_threads""".split())
# The engine shares OpenMP's threads with oneDNN; the number is the calling thread's own setting.
EXCEPT = {"engine": {"omp_set_num_threads"}}


def sources(*folders):
    for top in folders:
        for folder, below, names in os.walk(os.path.join(interface.ROOT, top)):
            below.sort()
            for name in sorted(names):
                if re.search(r"\.(c|h|cpp|py)$", name):
                    yield os.path.join(folder, name)


def includes(path):
    """(line number, bracket, name) of each #include."""
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment.group().count("\n"), interface.read(path), flags=re.S)
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if found:
            yield number, found.group(1), found.group(2)


def wrong_includes(folders, allowed):
    """Lines of `folders` whose include allowed(path, bracket, name) does not hold."""
    return ["%s:%d: %s" % (os.path.relpath(path, interface.ROOT), number, name)
            for path in sources(*folders) for number, bracket, name in includes(path)
            if not allowed(path, bracket, name)]


@test
def every_part_stands_in_the_table():
    folders = sorted(name for name in os.listdir(LIB) if os.path.isdir(os.path.join(LIB, name)))
    check_equal(folders, sorted(MAY_KNOW), "folders of lib")


@test
def parts_include_only_the_parts_they_may_know():
    def allowed(path, bracket, name):
        part = os.path.relpath(path, LIB).split(os.sep)[0]
        first = name.split("/")[0]
        if bracket == "<" or first == "ssld":
            return True
        if "/" not in name:  # of the same folder, or generated for it
            return os.path.exists(os.path.join(os.path.dirname(path), name)) or name.endswith(".pb-c.h")
        return first == part or first in MAY_KNOW[part]

    wrong = wrong_includes(["lib"], allowed)
    check(not wrong, "includes through a wall:\n%s", "\n".join(wrong))


@test
def each_foreign_library_is_included_by_one_part_only():
    def allowed(path, _, name):
        part = os.path.relpath(path, LIB).split(os.sep)[0]
        return all(part in parts for pattern, parts in FOREIGN if re.fullmatch(pattern, name))

    wrong = wrong_includes(["lib", "examples", "include"], allowed)
    check(not wrong, "foreign headers in the wrong part:\n%s", "\n".join(wrong))


@test
def examples_see_the_public_interface_only():
    def allowed(path, bracket, name):
        if bracket == "<" or name.startswith("ssld/"):
            first = name.split("/")[0]
            return first == "ssld" or first not in MAY_KNOW
        return "/" not in name and os.path.exists(os.path.join(os.path.dirname(path), name))

    wrong = wrong_includes(["examples"], allowed)
    check(not wrong, "includes of the inside:\n%s", "\n".join(wrong))


@test
def public_headers_include_public_headers_only():
    def allowed(path, bracket, name):
        return name in ("stddef.h", "stdint.h") if bracket == "<" else name in interface.header_names()

    wrong = wrong_includes(["include"], allowed)
    check(not wrong, "includes of the inside:\n%s", "\n".join(wrong))


@test
def python_imports_nothing_but_numpy():
    standard = {"collections", "ctypes", "operator", "os", "threading", "traceback"}
    wrong = []
    for path in sources("python/ssld"):
        for line in interface.read(path).splitlines():
            found = re.match(r"(?:import|from)\s+(\.|\w+)", line)
            if found and found.group(1) not in standard | {".", "numpy"}:
                wrong.append("%s: %s" % (path, line))
    check(not wrong, "imports:\n%s", "\n".join(wrong))


def symbols(option):
    """{part: [(archive member, symbol)]} of the static libraries."""
    found = {}
    for archive in os.environ["SSLD_PARTS"].split():
        part = re.sub(r"libssld-|\.a$", "", os.path.basename(archive))
        text = subprocess.run(["nm", "-A", option, archive], check=True, capture_output=True, text=True).stdout
        found[part] = [(line.split(":")[-2], line.split()[-1]) for line in text.splitlines() if line.strip()]
    check_equal(sorted(found), sorted(MAY_KNOW), "parts with a static library")
    return found


@test
def every_global_symbol_starts_with_ssld():
    wrong = ["%s: %s" % (member, symbol) for rows in symbols("-g").values() for member, symbol in rows
             if not symbol.startswith("ssld_")]
    # -g lists what is used from elsewhere too: those lines are taken out again.
    used = {"%s: %s" % (member, symbol) for rows in symbols("-u").values() for member, symbol in rows}
    wrong = [line for line in wrong if line not in used and not line.split()[-1].startswith("__")]
    check(not wrong, "global symbols that a static link could clash with:\n%s", "\n".join(wrong))


@test
def library_neither_prints_nor_ends_the_process_nor_touches_its_state():
    wrong = []
    for part, rows in symbols("-u").items():
        for member, symbol in rows:
            plain = re.sub(r"^__(\w+)_chk$", r"\1", symbol)
            if plain in FORBIDDEN - EXCEPT.get(part, set()):
                wrong.append("%s/%s: %s" % (part, member, symbol))
    check(not wrong, "calls of:\n%s", "\n".join(wrong))


@test
def every_file_says_its_licence_and_purpose():
    wrong = []
    for path in sources("lib", "include", "examples", "python", "tests", "bench"):
        text = interface.read(path)
        if text and not re.match(r"(#!.*\n)?(/\*|//|#) SPDX-License-Identifier: BSD-2-Clause", text):
            wrong.append(os.path.relpath(path, interface.ROOT))
    check(not wrong, "files without their SPDX line:\n%s", "\n".join(wrong))


main()
