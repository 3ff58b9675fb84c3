# SPDX-License-Identifier: BSD-2-Clause
"""Count the tests of a meson build folder by its meson-logs/testlog.json, test by test rather than program by program.

count.py BUILD   prints what was skipped and why, what failed and how, and last "N passed, N failed[, N skipped]".

A test that a program announced but did not come to (crash, time limit) counts as failed; so does a program that fails
without a failed test; a program that does not print TAP is one test. Exit code 1 if anything failed or nothing was run.
"""

import json
import os
import re
import sys

MOST_LINES = 40  # of a program's diagnostics, the last ones: enough for a sanitizer's report


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []  # (name, diagnostic lines)
        self.skips = []

    def fail(self, name, lines):
        self.failed += 1
        self.failures.append((name, lines))

    def skip(self, name, reason):
        self.skipped += 1
        self.skips.append("%s: %s" % (name, reason or "no reason given"))

    def program(self, result):
        """Add the tests of one program."""
        name, planned, seen, failed_before, lines = result["name"], None, 0, self.failed, []
        for line in result.get("stdout", "").splitlines():
            plan = re.match(r"1\.\.(\d+)(?:\s*#\s*SKIP\s*(.*))?", line, re.I)
            test = re.match(r"(not ok|ok)\b\s*(\d*)\s*-?\s*(.*?)\s*(?:#\s*(SKIP|TODO)\b:?\s*(.*))?$", line, re.I)
            if plan:
                planned = int(plan.group(1))
                if planned == 0:
                    self.skip(name, plan.group(2))
            elif test:
                seen += 1
                outcome, _, title, directive, reason = test.groups()
                title = "%s: %s" % (name, title)
                if outcome == "not ok":
                    self.fail(title, lines)
                elif directive:
                    self.skip(title, reason)
                else:
                    self.passed += 1
                lines = []
            else:
                lines.append(line)
        lines += result.get("stderr", "").splitlines()
        ending = "%s, exit code %s, after %.0f s" % (result["result"], result["returncode"], result["duration"])
        good = result["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
        if planned is not None and seen < planned:
            self.fail("%s: %d tests not reached (%s)" % (name, planned - seen, ending), lines)
            self.failed += planned - seen - 1
        elif not good and self.failed == failed_before:
            self.fail("%s: the program itself (%s)" % (name, ending), lines)
        elif planned is None and seen == 0:  # not TAP: its exit code is its one test
            if result["result"] == "SKIP":
                self.skip(name, "exit code %s" % result["returncode"])
            else:
                self.passed += 1

    def report(self):
        if self.skips:
            print("\nSkipped:")
            print("\n".join("  " + line for line in self.skips))
        if self.failures:
            print("\nFailed:")
        for name, lines in self.failures:
            print("  " + name)
            print("\n".join("      " + line for line in lines[-MOST_LINES:]))
        print("\n%d passed, %d failed%s" % (self.passed, self.failed,
                                             ", %d skipped" % self.skipped if self.skipped else ""))


def main():
    count = Count()
    path = os.path.join(sys.argv[1], "meson-logs", "testlog.json")
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            for line in log:
                count.program(json.loads(line))
    except FileNotFoundError:
        count.fail("no test was run: %s is not there" % path, [])
    if count.passed + count.failed == 0:
        count.fail("no test was run", [])
    count.report()
    sys.exit(count.failed != 0)


if __name__ == "__main__":
    main()
