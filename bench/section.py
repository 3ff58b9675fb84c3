# SPDX-License-Identifier: BSD-2-Clause
"""A part of docs/performance.md that one benchmark writes and the others leave alone, between two comments."""

import os
import re


def put(path, name, text):
    """Replace the section of a benchmark, or add it at the end of the document."""
    begin, end = "<!-- %s: written by it, change it there -->" % name, "<!-- end of %s -->" % name
    whole = "%s\n\n%s\n\n%s" % (begin, text.strip(), end)
    document = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            document = file.read()
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    if re.search(pattern, document, re.S):
        document = re.sub(pattern, lambda _: whole, document, flags=re.S)
    else:
        document = (document.rstrip() + "\n\n" if document.strip() else "") + whole + "\n"
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(document)
    os.replace(path + ".part", path)


def deliver(path, name, text):
    """Into the document, or onto the screen where there is none."""
    if path:
        put(path, name, text)
        print("\nwritten: %s" % path)
    else:
        print("\n" + text)
