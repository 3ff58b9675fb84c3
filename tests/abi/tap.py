# SPDX-License-Identifier: BSD-2-Clause
"""tests/test.h for Python: a test states a promise in its name, a script of tests prints TAP.

    @test
    def every_function_is_listed():
        check(missing == [], "not listed: %s", missing)

    main()

An argument runs only the tests whose name contains it. SSLD_TEST_SKIP, when set, is the reason to skip all of them: the
script ends when it imports this module, so before it imports what may not be there.
"""

import os
import sys
import traceback

if os.environ.get("SSLD_TEST_SKIP"):
    print("1..0 # SKIP %s" % os.environ["SSLD_TEST_SKIP"])
    sys.exit()

_tests = []


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def test(function):
    _tests.append(function)
    return function


def check(condition, text, *values):
    """End the test as failed unless `condition`; the rest says what differed."""
    if not condition:
        raise Failure(text % values if values else text)


def check_equal(got, expected, what=""):
    check(got == expected, "%s: got %r, expected %r", what, got, expected)


def check_raises(kind, part, function, *arguments, **named):
    """End the test as failed unless the call raises exactly `kind` with a text that contains `part`; returns it."""
    try:
        result = function(*arguments, **named)
    except Exception as error:
        check(type(error) is kind and part in str(error), "raised %s: %s; expected %s with '%s'", type(error).__name__,
              error, kind.__name__, part)
        return error
    raise Failure("returned %r; expected %s with '%s'" % (result, kind.__name__, part))


def _run(function):
    """("ok" or "not ok", directive, diagnostic lines)"""
    try:
        function()
    except Skip as skip:
        return "ok", " # SKIP %s" % skip, []
    except Failure as failure:
        frames = traceback.extract_tb(failure.__traceback__)
        place = [frame for frame in frames if frame.filename != __file__][-1]
        return "not ok", "", ["%s:%d: %s" % (place.filename, place.lineno, failure)]
    except Exception:
        return "not ok", "", [traceback.format_exc()]
    return "ok", "", []


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = 0
    print("1..%d" % len(_tests))
    for number, function in enumerate(_tests, 1):
        if wanted in function.__name__:
            outcome, directive, lines = _run(function)
        else:
            outcome, directive, lines = "ok", " # SKIP not asked for", []
        for line in "\n".join(lines).splitlines():
            print("# " + line)
        print("%s %d - %s%s" % (outcome, number, function.__name__, directive), flush=True)
        failed += outcome != "ok"
    sys.exit(failed != 0)
