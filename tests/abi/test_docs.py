# SPDX-License-Identifier: BSD-2-Clause
"""The documents say what is there: the example is code that runs, links lead somewhere, names exist."""

import os
import re

import interface
from tap import check, check_equal, main, test

SKIPPED = re.compile(r"^(build.*|\.git|__pycache__)$")


def documents():
    for folder, below, names in os.walk(interface.ROOT):
        below[:] = sorted(name for name in below if not SKIPPED.match(name))
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".md"))


@test
def readme_example_is_the_compiled_one():
    source = interface.read(os.path.join(interface.ROOT, "tests", "abi", "test_readme.c"))
    example = re.search(r"/\* README begins \*/\n(.*?)/\* README ends \*/", source, flags=re.S).group(1)
    readme = interface.read(os.path.join(interface.ROOT, "README.md"))
    check("```c\n%s```" % example in readme, "README.md does not have the lines of tests/abi/test_readme.c")


@test
def links_between_documents_lead_somewhere():
    broken = []
    for path in documents():
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", interface.read(path)):
            if not os.path.exists(os.path.join(os.path.dirname(path), target)):
                broken.append("%s: %s" % (os.path.relpath(path, interface.ROOT), target))
    check_equal(broken, [], "links")


@test
def documents_named_in_headers_are_there():
    named = {name for header in interface.header_names()
             for name in re.findall(r"docs/[\w-]+\.md", interface.read(os.path.join(interface.HEADERS, header)))}
    missing = sorted(name for name in named if not os.path.exists(os.path.join(interface.ROOT, name)))
    check_equal(missing, [], "documents")


@test
def documents_name_functions_that_exist():
    known = set(interface.functions()) | {"ssld_context_create"}  # inline, in context.h
    unknown = ["%s: %s()" % (os.path.relpath(path, interface.ROOT), name) for path in documents()
               for name in re.findall(r"\b(ssld_\w+)\(\)", interface.read(path)) if name not in known]
    check_equal(unknown, [], "names that are not of the interface")


main()
