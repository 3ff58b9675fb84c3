# SPDX-License-Identifier: BSD-2-Clause
"""Labels on disk: `ssld bench store` beside what people keep them in today, alternately in one run on an idle machine:

    python3 bench/environment.py                      # once: PyTorch, for labels.py
    python3 bench/labels.py                           # once: labels of real teachers
    meson setup build && ninja -C build
    python3 bench/store.py [--quick] [--only TEXT]    # half an hour; writes its section of docs/performance.md

For every number of classes and K, libssld and the peers take turns, a process each; figures are medians over the
rounds. The peers (TinyViT's layout, LMDB, HDF5 with gzip, a NumPy memory map, c-blosc2) come from the index that pip is
configured for, into WORK/store. Every run is kept in WORK/store_results.jsonl; --report FILE makes the tables from such
a file again."""

import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys

import environment
import report
import section
import student

BENCH = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(BENCH)
DOCUMENT = os.path.join(TOP, "docs", "performance.md")
PEERS = {"tinyvit": "TinyViT's layout", "lmdb": "LMDB", "hdf5": "HDF5, gzip", "memmap": "NumPy memory map",
         "blosc2": "c-blosc2"}
PACKAGES = ("numpy", "lmdb", "h5py", "blosc2")
MANY = 21841
CASES = tuple((classes, top_k) for classes in (10, 100, 1000, MANY) for top_k in (5, 10, 100) if top_k <= classes)
STUDENTS = ("untrained", "half", "trained")
# (name, arguments, most bytes a view, least cosine of sym_kl's gradient for STUDENTS): what is promised for C = 1000.
FIDELITY = (
    ("topk, K = 10", ["--topk", "10"], 22, None),
    ("topk, K = 10, 40 numbers", ["--topk", "10", "--tail-coefficients", "40"], 64, (0.95, 0.99, 0.99)),
    ("topk, K = 100", ["--topk", "100"], 150, None),
    ("log8", ["--codec", "log8"], 450, (0.9999, 0.9999, 0.9999)),
)
MAIN = (1000, 10)
# A column of the table each, and how its numbers look.
MEASURES = (("bytes_per_view", "%.1f"), ("write_views_per_s", "%.0f"), ("ordered_views_per_s", "%.0f"),
            ("random_views_per_s", "%.0f"), ("open_ms", "%.2f"), ("peak_rss_mb", "%.0f"))


def views_of(views, classes):
    """Views of a store: fewer of so many classes that a view takes long."""
    return max(4096, int(views * min(1, 1000 / classes)))


def name_of(case):
    return "C = %d, K = %d" % case


# -- Measuring --------------------------------------------------------------------------------------------------------


def parsed(output, error):
    """The figures of a run's last line, or {"error": why there are none}."""
    if error:
        return {"error": error}
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": "no line of JSON"}


class Bench:
    def __init__(self, given, python, file):
        self.given, self.python, self.file, self.rows = given, python, file, []
        self.folder = os.path.join(given.work, "store_labels")
        self.scratch = os.path.join(self.folder, "scratch")

    def path(self, name):
        return os.path.join(self.folder, name)

    def derive(self):
        """The labels of every case; the row where pictures begin that were not seen before."""
        os.makedirs(self.folder, exist_ok=True)
        labels = os.path.join(self.given.work, "labels")
        if not os.path.exists(os.path.join(labels, "effnet_logits.npy")):
            sys.exit("%s is not there: run python3 bench/labels.py first" % os.path.join(labels, "effnet_logits.npy"))
        return int(environment.run([self.python, "-B", os.path.join(BENCH, "store_derive.py"), labels, self.folder],
                                   "store_derive.py").split()[-1])

    def views(self, case):
        return views_of(self.given.views, case[0])

    def ours(self, case, *more):
        return [self.given.ssld, "bench", "store", "--logits", self.path("logits_%d.npy" % case[0]), "--views",
                str(self.views(case)), "--dir", self.folder, "--json", *more]

    def theirs(self, kind, case):
        return [self.python, "-B", os.path.join(BENCH, "peers", "label_stores.py"), kind, "--records",
                self.path("records.npy"), "--classes", str(case[0]), "--folder", self.scratch, "--seconds",
                "1" if self.given.quick else "4"]

    def run(self, phase, kind, case, command, **more):
        outcomes, others = student.run_together([command], 1, self.given.work)
        row = {"phase": phase, "kind": kind, "case": name_of(case), "others": round(others, 3), **more,
               **parsed(*outcomes[0])}
        self.rows.append(row)
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        what = "  %-9s %-8s %-18s" % (phase, kind, row["case"])
        if "error" in row:
            print("%s failed: %s" % (what, row["error"]), flush=True)
        else:
            print("%s %7.1f B  write %8.0f  in order %8.0f  at random %8.0f" % (
                what, row["bytes_per_view"], row["write_views_per_s"], row["ordered_views_per_s"],
                row["random_views_per_s"]), flush=True)

    def case(self, case):
        """The rounds of one case; records are made once."""
        environment.run([self.python, "-B", os.path.join(BENCH, "peers", "label_stores.py"), "prepare", "--logits",
                         self.path("logits_%d.npy" % case[0]), "--topk", str(case[1]), "--views", str(self.views(case)),
                         "--records", self.path("records.npy")], "label_stores.py prepare")
        turns = ["ssld", *PEERS]
        for number in range(self.given.rounds):
            first = number % len(turns)
            for kind in turns[first:] + turns[:first]:
                command = self.theirs(kind, case) if kind in PEERS else self.ours(case, "--topk", str(case[1]))
                self.run("round", kind, case, command)
        if case[1] == 10 or case[0] == 10:  # what `auto` chooses below 65 classes, and the choice beside topk above
            self.run("dense", "ssld", case, self.ours(case, "--codec", "log8"))
        os.unlink(self.path("records.npy"))

    def fidelity(self, second):
        """C = 1000 with every student: on pictures that the codec has learned from, and on others."""
        for name, arguments, _, _ in FIDELITY:
            for who in STUDENTS:
                for pictures, start in (("seen", 2048), ("unseen", second)):
                    # Compared rows lie behind the 2048 learned ones; "seen" ends where the other pictures begin.
                    logits, student_file = self.path("logits_1000.npy"), self.path("student_%s_1000.npy" % who)
                    command = [self.given.ssld, "bench", "store", "--logits", logits, "--student", student_file,
                               "--views", "20000", "--repeats", "1", "--compare-from", str(start), "--dir", self.folder,
                               "--json", *arguments]
                    if pictures == "seen":
                        command += ["--compare-end", str(second)]
                    self.run("fidelity", "ssld", MAIN, command, setting=name, who=who, pictures=pictures)


# -- The section ------------------------------------------------------------------------------------------------------


class Results:
    def __init__(self, facts, rows):
        self.facts, self.rows = facts, rows
        self.cases = [case for case in CASES if self.select("round", "ssld", case)]

    def select(self, phase, kind, case, **more):
        return report.calm([row for row in self.rows if (row["phase"], row["kind"], row["case"]) ==
                            (phase, kind, name_of(case)) and "error" not in row and
                            all(row.get(key) == value for key, value in more.items())])

    def median(self, key, *which, **more):
        values = [row[key] for row in self.select(*which, **more)]
        return statistics.median(values) if values else None


def target_rows(results):
    """(what, measured, target, verdict) for C = 1000, K = 10, and the fidelity of the other settings."""
    def row(what, value, target, least, form="%.3g"):
        return (what, "-" if value is None else form % value, ("at least " if least else "at most ") + "%g" % target,
                report.verdict(value, target, least))

    def ours(key):
        return results.median(key, "round", "ssld", MAIN)

    bytes_ = ours("bytes_per_view")
    yield row("bytes a view", bytes_, 22, False, "%.1f")
    for kind in ("blosc2", "hdf5"):
        theirs = results.median("bytes_per_view", "round", kind, MAIN)
        yield row("of the bytes of " + PEERS[kind], bytes_ / theirs if bytes_ and theirs else None, 0.6, False, "%.2f")
    ratio = (ours("kl_mean") or 0) / (ours("tinyvit_kl_mean") or 1) if ours("kl_mean") is not None else None
    yield row("KL(label, decoded), in times of TinyViT's form", ratio, 1, False, "%.2f")
    yield row("cosine of soft_ce's gradient, untrained student",
              results.median("soft_ce_grad_cosine_median", "fidelity", "ssld", MAIN, setting=FIDELITY[0][0],
                             who="untrained", pictures="unseen"), 0.999, True, "%.4f")
    yield row("views read at random a second", ours("random_views_per_s"), 500000, True, "%.0f")
    yield row("views read in order a second", ours("ordered_views_per_s"), 2000000, True, "%.0f")
    yield row("views written a second", ours("write_views_per_s"), 200000, True, "%.0f")
    for name, _, most, cosines in FIDELITY[1:]:
        which = ("fidelity", "ssld", MAIN)
        yield row(name + ": bytes a view", results.median("bytes_per_view", *which, setting=name), most, False, "%.1f")
        for who, least in zip(STUDENTS, cosines or ()):
            yield row("%s: cosine of sym_kl's gradient, student '%s'" % (name, who),
                      results.median("sym_kl_grad_cosine_median", *which, setting=name, who=who, pictures="unseen"),
                      least, True, "%.5f")


def peers_table(results):
    rows = []
    for case in results.cases:
        kinds = [("**libssld**", "round", "ssld"), ("libssld, log8", "dense", "ssld")]
        kinds += [(PEERS[kind], "round", kind) for kind in PEERS]
        for place, (name, phase, kind) in enumerate(kinds):
            if results.select(phase, kind, case):
                cells = [report.number(results.median(key, phase, kind, case), form) for key, form in MEASURES]
                rows.append(["" if place else name_of(case), name, *cells])
    return report.table(("", "", "bytes a view", "written/s", "in order/s", "at random/s", "opening, ms", "memory, MB"),
                        rows)


def fidelity_table(results):
    keys = (("kl_mean", "%.4f"), ("soft_ce_grad_cosine_median", "%.5f"), ("sym_kl_grad_cosine_median", "%.5f"))
    rows = []
    for name, _, _, _ in FIDELITY:
        size = report.number(results.median("bytes_per_view", "fidelity", "ssld", MAIN, setting=name), "%.1f")
        for who in STUDENTS:
            first = who == STUDENTS[0]
            cells = [report.number(results.median(key, "fidelity", "ssld", MAIN, setting=name, who=who,
                                                  pictures=pictures), form)
                     for pictures in ("seen", "unseen") for key, form in keys]
            rows.append((name if first else "", size if first else "", who, *cells))
    return report.table(("", "bytes a view", "student", "KL", "soft_ce", "sym_kl", "KL, unseen", "soft_ce, unseen",
                         "sym_kl, unseen"), rows)


def text_of(results):
    facts, machine = results.facts, results.facts["machine"]
    versions = ", ".join("%s %s" % item for item in sorted(facts["versions"].items()))
    surroundings = report.table(("", ""), [
        ("CPU", "%s, %d cores; %s" % (machine["cpu"], machine["cores"], machine["isa"])),
        ("memory, system", "%.0f GB; %s, %s" % (machine["memory_gb"], machine["system"], machine["kernel"])),
        ("libssld", "%s; commit %s" % (facts["ssld"], facts["commit"])), ("peers", versions),
        ("date, command", "%s, `%s`" % (facts["date"], facts["command"])), ("load before the run", facts["load"])])
    sections = [
        "# Performance of the soft-label store",
        report.paragraph("""Labels of real teachers: EfficientNet-Lite0 for 1000 classes, its answers summed over groups
            of ten classes for 100, a Fashion-MNIST teacher for 10 (`bench/labels.py`), classes split at random for
            21841 (`bench/store_derive.py`). One thread, files in the page cache, medians of %d round%s in which libssld
            and the peers took turns. Peers write TinyViT's records, which are ready before their clock starts;
            libssld's time includes softmax, choice of the top K and coding. All read 256 views at a time and spread
            each out to all classes; the peers from Python, with NumPy doing the spreading. What libssld learns of a
            teacher is in the file once, and in its bytes a view: of %d views up to 1000 classes, of %d for 21841.""",
                         facts["rounds"], "" if facts["rounds"] == 1 else "s", facts["views"],
                         views_of(facts["views"], MANY)),
        surroundings, "## Targets of the store",
        report.table(("C = 1000, K = 10 unless said", "measured", "target", ""), target_rows(results)),
        report.paragraph("""Cosines are those on pictures that the codec has not learned from: the harder case of the
            last table."""),
        "## Beside what labels are kept in today", peers_table(results),
        "## What is left of the labels",
        report.paragraph("""KL(label || decoded), and the median cosine between the gradients that label and decoded
            label give a student. The labels' pictures are few, so codecs learn from 2048 crops of one half of them and
            are compared on other crops of those pictures (seen), and on crops of the other half (unseen), which nothing
            has been learned from: what a large data set shows lies between the two."""),
        fidelity_table(results),
    ]
    return "\n\n".join(sections)


# -- The program ------------------------------------------------------------------------------------------------------


def facts_of(given, rows):
    commit = student.output_of("git", "-C", TOP, "rev-parse", "--short", "HEAD")
    if commit and student.output_of("git", "-C", TOP, "status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    return {
        "date": datetime.date.today().isoformat(), "command": shlex.join(["python3", *given.arguments]),
        "rounds": given.rounds, "views": given.views, "load": given.load, "machine": student.machine(),
        "commit": commit or "unknown",
        "ssld": student.output_of(given.ssld, "--version") or "unknown",
        "versions": {row["peer"]: row["version"] for row in rows if "version" in row and "peer" in row},
    }


def peers_python(work):
    """The interpreter that has the peers."""
    python = os.path.join(work, "store", "bin", "python")
    check = [python, "-c", "import numpy, lmdb, h5py, blosc2"]
    if not os.path.exists(python) or subprocess.run(check, capture_output=True).returncode:
        os.makedirs(work, exist_ok=True)
        environment.run([sys.executable, "-m", "venv", "--clear", os.path.join(work, "store")], "making %s" % python)
        environment.pip(python, *PACKAGES)
    return python


def measure(given):
    if not os.access(given.ssld, os.X_OK):
        sys.exit("%s is not there: build it (ninja -C build) or name it with --ssld" % given.ssld)
    given.load = round(os.getloadavg()[0], 2)
    if given.load > 0.3:
        print("The machine is not idle: load %.2f. Ratios will be off." % given.load)
    with open(os.path.join(given.work, "store_results.jsonl"), "w") as file:
        bench = Bench(given, peers_python(given.work), file)
        second = bench.derive()
        for case in given.cases:
            bench.case(case)
        if MAIN in given.cases:
            bench.fidelity(second)
        known = facts_of(given, bench.rows)
        file.write(json.dumps(known) + "\n")
    return known, bench.rows


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of few views; writes no document")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this; writes no document")
    parser.add_argument("--rounds", type=int, help="rounds (default 3; 1 with --quick)")
    parser.add_argument("--views", type=int,
                        help="views of a store of up to 1000 classes (default 1000000; 20000 with --quick)")
    parser.add_argument("--ssld", default=os.path.join(TOP, "build", "examples", "ssld", "ssld"),
                        help="the program (default %(default)s)")
    parser.add_argument("--work", default=environment.DEFAULT_WORK, help="work folder (default %(default)s)")
    parser.add_argument("--out",
                        help="the document to put the section into (default docs/performance.md after a full run)")
    parser.add_argument("--report", metavar="FILE", help="measure nothing: take the results from this file")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.views = given.views or (20000 if given.quick else 1000000)
    given.cases = [case for case in CASES if given.only.lower() in name_of(case).lower() + ";"]
    given.arguments = [os.path.relpath(sys.argv[0], TOP), *sys.argv[1:]]
    if not given.cases:
        parser.error("no case contains '%s'; there are: %s" % (given.only, "; ".join(map(name_of, CASES))))
    if not given.out and not given.quick and not given.only and not given.report:
        given.out = DOCUMENT
    return given


def main():
    given = parse()
    if given.report:
        with open(given.report) as file:
            *rows, known = map(json.loads, file)
    else:
        known, rows = measure(given)
    section.deliver(given.out, "bench/store.py", text_of(Results(known, rows)))


if __name__ == "__main__":
    main()
