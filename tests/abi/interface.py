# SPDX-License-Identifier: BSD-2-Clause
"""The interface as the public headers say it: functions, structs with their fields, constants. For the tests, which hold
the version script, the Python package and the pinned layouts to it, and generate C from it:

    interface.py headers          prints the headers' paths
    interface.py resolve OUTPUT   a program that takes the address of every function
    interface.py layout OUTPUT    a program that prints size and offset of every struct's fields
"""

import collections
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADERS = os.path.join(ROOT, "include", "ssld")

Function = collections.namedtuple("Function", "name result parameters header")  # parameters: C types
Field = collections.namedtuple("Field", "name type")


def header_names():
    return sorted(name for name in os.listdir(HEADERS) if name.endswith(".h"))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)


def _declarations(header):
    text = without_comments(read(os.path.join(HEADERS, header)))
    return re.sub(r"^[ \t]*#[^\n]*$", "", text, flags=re.M)


def _type_and_name(declaration):
    """("const int32_t[3]", "shape") of "const int32_t shape[3]", a parameter or field; None for "void"."""
    declaration = " ".join(declaration.split())
    if declaration == "void":
        return None
    pointer_to_function = re.match(r"(.*?)\(\s*\*\s*(\w+)\s*\)\s*\((.*)\)$", declaration)
    if pointer_to_function:
        result, name, parameters = pointer_to_function.groups()
        return "%s (*)(%s)" % (result.strip(), parameters), name
    kind, name, array = re.match(r"(.*?)(\w+)\s*(\[\w*\])?$", declaration).groups()
    return (kind.replace(" *", "*").replace("*", " *").strip() + (array or "")), name


def functions():
    """All SSLD_API functions by name."""
    found = {}
    for header in header_names():
        for result, name, parameters in re.findall(
                r"SSLD_API\s+(?:SSLD_NODISCARD\s+)?([\w\s]+?[\s*]+)(ssld_\w+)\s*\(([^;{]*)\)\s*;", _declarations(header)):
            types = [_type_and_name(part) for part in parameters.split(",")]
            kind = " ".join(result.split()).replace("*", " *").replace("  ", " ")
            found[name] = Function(name, kind, [kind[0] for kind in types if kind], header)
    return found


def structs():
    """All structs with fields by name: lists of Field."""
    found = {}
    for header in header_names():
        for name, body in re.findall(r"typedef struct (\w+)\s*\{(.*?)\}\s*\1\s*;", _declarations(header), flags=re.S):
            pairs = (_type_and_name(part) for part in body.split(";") if part.strip())
            found[name] = [Field(field, kind) for kind, field in pairs]
    return found


def constants():
    """All #define SSLD_X with an integer value, and header of each: name -> value."""
    found = {}
    for header in header_names():
        text = without_comments(read(os.path.join(HEADERS, header)))
        for name, value in re.findall(r"^#define (SSLD_\w+)[ \t]+\(?(-?\d+)\)?[ \t]*$", text, flags=re.M):
            found[name] = int(value)
    return found


def opaque():
    """Names of the structs that hosts only have pointers to."""
    return sorted({name for header in header_names()
                   for name in re.findall(r"typedef struct (ssld_\w+) \1;", _declarations(header))})


# -- Generated C ---------------------------------------------------------------------------------------------------

RESOLVE = """/* Made by tests/abi/interface.py: that this links says that every declared function is exported. */
#include "test.h"

typedef void (*function)(void);

TEST(every_declared_function_resolves)
{
    /* volatile: the compiler must not decide that no address is NULL. */
    static const volatile function functions[] = {
%s
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        CHECK(functions[i], "function %%zu is NULL", i);
}

TEST_MAIN(TEST_ROW(every_declared_function_resolves))
"""

LAYOUT = """/* Made by tests/abi/interface.py: prints "struct field offset size" for each field, "struct - 0 size" for a struct. */
#include <stdio.h>

#include "ssld/ssld.h"

int main(void)
{
%s
    return 0;
}
"""


def resolve_source():
    return RESOLVE % "\n".join("        (function)%s," % name for name in sorted(functions()))


def layout_source():
    lines = []
    for struct, fields in sorted(structs().items()):
        lines.append('    printf("%s - 0 %%zu\\n", sizeof(%s));' % (struct, struct))
        lines += ['    printf("%s %s %%zu %%zu\\n", offsetof(%s, %s), sizeof(((%s *)0)->%s));'
                  % (struct, field.name, struct, field.name, struct, field.name) for field in fields]
    return LAYOUT % "\n".join(lines)


def parse_layout(text):
    """{struct: {field: (offset, size)}} of what the layout program prints; "-" is the struct itself; # is a comment."""
    table = {}
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words:
            struct, field, offset, size = words
            table.setdefault(struct, {})[field] = (int(offset), int(size))
    return table


if __name__ == "__main__":
    if sys.argv[1] == "headers":
        print("\n".join(os.path.join(HEADERS, name) for name in header_names()))
    else:
        source = {"resolve": resolve_source, "layout": layout_source}[sys.argv[1]]()
        with open(sys.argv[2], "w", encoding="utf-8") as output:
            output.write(source)
