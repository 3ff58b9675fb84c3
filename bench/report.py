# SPDX-License-Identifier: BSD-2-Clause
"""The tables of student.py as the Markdown of docs/performance.md: medians, ratios, targets met or missed by how much.
A run during which something else kept the machine busy counts only where there is no other."""

import statistics
import textwrap

DISTURBED = 0.05  # share of the machine that others took in a run, above which the run says so
MEMORY_TARGET = 0.6
CREATION = ("ResNet50_vd", 2000)   # milliseconds at most
SCALING = ("ResNet50_vd", 2, 1.8)  # threads, and how many times one thread's rate they reach


def calm(rows):
    """The rows of runs that nothing disturbed; all of them if there is none."""
    return [row for row in rows if row["others"] <= DISTURBED] or rows


def doubts(row):
    """What a reader of a run's figures must know beside them."""
    text = "" if row.get("learns", True) else ", the loss does not fall"
    return text + (", others took %.0f %% of the CPUs" % (100 * row["others"]) if row["others"] > DISTURBED else "")


class Results:
    """The rows of one run of student.py."""

    def __init__(self, facts, rows):
        self.facts, self.rows, self.cases = facts, rows, facts["cases"]
        self.peers = {peer["kind"]: peer for peer in facts["peers"]}

    def select(self, phase, kind, case, threads=None):
        """The successful runs of one kind, without the disturbed ones if there are others."""
        return calm([row for row in self.rows
                     if (row["phase"], row["kind"], row["case"]) == (phase, kind, case["name"]) and
                     "error" not in row and threads in (None, row["threads"])])

    def disturbed(self, *which):
        return any(row["others"] > DISTURBED for row in self.select(*which))

    def median(self, key, *which):
        values = [row[key] for row in self.select(*which) if row.get(key) is not None]
        return statistics.median(values) if values else None

    def step(self, kind, case):
        return self.median("step_ms", "round", kind, case)

    def ratio(self, kind, case):
        """How many times as fast as a peer libssld is."""
        ours, theirs = self.step("ssld", case), self.step(kind, case)
        return theirs / ours if ours and theirs else None

    def primitives(self, case):
        """The step's time in times of the bare convolutions, both of the same process."""
        ratios = [row["step_ms"] / row["conv_primitives_ms"] for row in self.select("round", "ssld", case)
                  if row.get("conv_primitives_ms")]
        return statistics.median(ratios) if ratios else None

    def mode(self, kind, case):
        rows = self.select("round", kind, case)
        return rows[0]["mode"] if rows else None

    def memory(self, kind, case):
        """Peak resident MB: libssld's largest run, a peer's smallest, whatever its mode."""
        if kind == "ssld":
            return max((row["peak_rss_mb"] for row in self.select("round", kind, case)), default=None)
        rows = self.select("round", kind, case) + self.select("mode", kind, case)
        return min((row["peak_rss_mb"] for row in rows if row["learns"]), default=None)

    def scaling(self, case):
        """(all threads, as many processes of one thread) in times of one thread's rate."""
        one = self.median("images_per_s", "threads", "ssld", case, 1)
        many = self.median("images_per_s", "threads", "ssld", case, self.facts["threads"])
        beside = self.median("images_per_s", "beside", "ssld", case)
        return (many / one if one and many else None,
                beside * self.facts["threads"] / one if one and beside else None)


# -- Text -----------------------------------------------------------------------------------------------------------


def number(value, form="%.2f"):
    return "-" if value is None else form % value


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| %s |" % " | ".join(map(str, line)) for line in lines)


def verdict(value, target, least):
    """Whether a value is at least, or at most, its target, and if not by how much of the target it misses it."""
    if value is None:
        return "not measured"
    miss = (target - value if least else value - target) / target
    return "met" if miss <= 0 else "missed by %.0f %%" % max(1, 100 * miss)


def target_rows(results):
    """(what, case, measured, target, verdict) of everything that is promised."""
    def row(what, case, value, target, least, unit="", runs=()):
        """`runs`: those the value's times come from, for select()."""
        doubtful = any(results.disturbed(*which) for which in runs)
        return (what, case["name"], number(value) + (unit if value is not None else ""),
                "%s %g%s" % ("at least" if least else "at most", target, unit),
                verdict(value, target, least) + (", but disturbed: measure again" if doubtful else ""))

    names = {"debian": "times as fast as the PyTorch of Debian", "wheel": "times as fast as PyTorch's wheel"}
    for case in results.cases:
        for kind in names:
            yield row(names[kind], case, results.ratio(kind, case), case[kind], True,
                      runs=(("round", "ssld", case), ("round", kind, case)))
        yield row("times the bare convolutions' time", case, results.primitives(case), case["primitives"], False,
                  runs=(("round", "ssld", case),))
    for case in results.cases:
        ours = results.memory("ssld", case)
        for kind, whose in (("debian", "that of Debian's PyTorch"), ("wheel", "that of PyTorch's wheel")):
            theirs = results.memory(kind, case)
            yield row("of peak memory, in times of " + whose, case, ours / theirs if ours and theirs else None,
                      MEMORY_TARGET, False)
    for case in results.cases:
        if (case["model"], results.facts["threads"]) == SCALING[:2] and case["precision"] == "f32":
            yield row("times one thread's rate with %d threads" % SCALING[1], case, results.scaling(case)[0],
                      SCALING[2], True, runs=(("threads", "ssld", case),))
        if case["model"] == CREATION[0]:
            yield row("to create the student", case, results.median("create_ms", "round", "ssld", case), CREATION[1],
                      False, " ms", runs=(("round", "ssld", case),))


def targets(results):
    return table(("", "case", "measured", "target", ""), target_rows(results))


def spread(rows, time="step_ms"):
    """Slowest minus fastest round, in percent of the median."""
    steps = [row[time] for row in rows]
    return "%.0f %%" % (100 * (max(steps) - min(steps)) / statistics.median(steps)) if len(steps) > 1 else "-"


def steps_table(results):
    rows = []
    for case in results.cases:
        primitives = results.median("conv_primitives_ms", "round", "ssld", case)
        rows.append((case["name"], "**libssld**", "", number(results.step("ssld", case), "%.0f"),
                     number(results.median("images_per_s", "round", "ssld", case), "%.1f"),
                     spread(results.select("round", "ssld", case)), ""))
        for kind, peer in results.peers.items():
            rate = results.median("images_per_s", "round", kind, case)
            rows.append(("", peer["name"], results.mode(kind, case) or "-", number(results.step(kind, case), "%.0f"),
                         number(rate, "%.1f"), spread(results.select("round", kind, case)),
                         number(results.ratio(kind, case))))
        rows.append(("", "bare convolutions", "", number(primitives, "%.0f"),
                     number(case["batch"] / primitives * 1e3 if primitives else None, "%.1f"), "",
                     number(1 / results.primitives(case) if primitives else None)))
    return table(("case", "", "mode", "step, ms", "images/s", "spread", "libssld is times as fast"), rows)


def modes_table(results):
    rows = []
    for case in results.cases:
        for row in results.rows:
            if row["phase"] != "mode" or row["case"] != case["name"]:
                continue
            failed = "error" in row
            rows.append((case["name"], results.peers[row["kind"]]["name"], row["mode"],
                         "-" if failed else number(row["step_ms"], "%.0f"),
                         "-" if failed else number(row["peak_rss_mb"], "%.0f"),
                         "-" if failed else number(row["cores_busy"], "%.1f"),
                         row["error"].replace("|", "/")[:100] if failed else doubts(row).lstrip(", ")))
    return table(("case", "", "mode", "step, ms", "peak memory, MB", "cores busy", ""), rows)


def memory_table(results):
    rows = []
    for case in results.cases:
        ours = results.memory("ssld", case)
        cells = [case["name"], number(ours, "%.0f")]
        for kind in results.peers:
            theirs = results.memory(kind, case)
            cells += [number(theirs, "%.0f"), number(ours / theirs if ours and theirs else None)]
        rows.append(cells)
    head = ["case", "libssld, MB"]
    for peer in results.peers.values():
        head += [peer["name"] + ", MB", "ratio"]
    return table(head, rows)


def imports(results):
    """What a framework takes before it does anything, a sentence each."""
    for kind, peer in results.peers.items():
        sizes = [row["import_rss_mb"] for row in results.rows if row["kind"] == kind and "import_rss_mb" in row]
        if sizes:
            yield "%.0f MB of %s are its import." % (statistics.median(sizes), peer["name"])


def scaling_table(results):
    rows = []
    for case in results.cases:
        one = results.median("images_per_s", "threads", "ssld", case, 1)
        if one:
            threads, processes = results.scaling(case)
            rows.append((case["name"], "%.1f" % one, number(threads), number(processes)))
    many = results.facts["threads"]
    return table(("case", "1 thread, images/s", "%d threads, times that" % many,
                  "%d processes of 1 thread together, times that" % many), rows)


def slower_in_bf16(results):
    """A sentence for each peer that would have been better off in f32."""
    for case in results.cases:
        twin = [other for other in results.cases if (other["model"], other["precision"]) == (case["model"], "f32")]
        if case["precision"] != "bf16" or not twin:
            continue
        for kind, peer in results.peers.items():
            slow, fast = results.step(kind, case), results.step(kind, twin[0])
            if slow and fast and slow > fast:
                yield "%s is slower in bf16 than in f32 on %s: %.0f against %.0f ms." % (
                    peer["name"], case["model"], slow, fast)


def breakdowns(results):
    for case in results.cases:
        for row in results.rows:
            if row["phase"] == "breakdown" and row["case"] == case["name"]:
                yield "%s:\n\n```\n%s\n```" % (case["name"], row["text"])


def surroundings(results):
    facts, machine = results.facts, results.facts["machine"]
    isa = sorted({row["isa"] for row in results.rows if row.get("isa")})
    rows = [
        ("CPU", "%s, %d cores; %s" % (machine["cpu"], machine["cores"], machine["isa"])),
        ("memory, system", "%.0f GB; %s, %s" % (machine["memory_gb"], machine["system"], machine["kernel"])),
        ("libssld", "%s; commit %s%s" % (facts["ssld"], facts["commit"], "; runs on " + ", ".join(isa) if isa else "")),
    ]
    rows += [(peer["name"], peer["version"] + ("" if peer["onednn"] == "-" else ", oneDNN " + peer["onednn"]))
             for peer in facts["peers"]]
    rows.append(("date, command", "%s, `%s`" % (facts["date"], facts["command"])))
    rows.append(("load before the run", facts["load"]))
    return table(("", ""), rows)


def paragraph(text, *values):
    return textwrap.fill(" ".join((text % values if values else text).split()), 116)


def document(results):
    facts = results.facts
    disturbed = sum(row.get("others", 0) > DISTURBED for row in results.rows)
    timed = sum("others" in row for row in results.rows)
    sections = [
        "# Performance of training steps",
        paragraph("""Written by `bench/student.py`; change it there. A step is forward, SSLD's symmetric KL to soft
            labels, backward and SGD with momentum 0.9 and L2, on %d x %d pixels, with %d threads. libssld and the
            frameworks took turns in one run, a process each, for %d round%s; times are the medians over the rounds of
            each process's median step. Ratios hold between machines better than times do.""", facts["size"],
                  facts["size"], facts["threads"], facts["rounds"], "" if facts["rounds"] == 1 else "s"),
        surroundings(results),
        paragraph("""In %d of %d runs something else on the machine took more than %.0f %% of its CPUs' time; such a
            run counts only where there is no other.""", disturbed, timed, 100 * DISTURBED),
        "## Targets of training steps", targets(results),
        "## Steps",
        paragraph("""Each framework runs in its own fastest mode, found by the table further down. "Bare convolutions"
            is the sum of the network's convolution primitives, measured by libssld in the same process. Spread is the
            slowest round minus the fastest, in percent of the median."""),
        steps_table(results),
        "\n".join(slower_in_bf16(results)),
        "## Modes of the frameworks",
        paragraph("""One short run each. A mode whose loss does not fall, although it sees the same batch again and
            again, computes wrong gradients and is not chosen, however fast. "Cores busy" is CPU time by wall time."""),
        modes_table(results),
        "## Memory",
        paragraph("""Peak resident memory of the process: libssld's largest round, a framework's smallest run in any
            mode. """ + " ".join(imports(results))),
        memory_table(results),
        "## Threads", scaling_table(results),
        "## Where the time goes", *breakdowns(results),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"
