# SPDX-License-Identifier: BSD-2-Clause
"""Predictions of a teacher: `ssld bench teacher` beside ONNX Runtime and OpenVINO, alternately in one run on an idle machine:

    meson setup build && ninja -C build
    python3 bench/teacher.py [--quick] [--only TEXT]   # twenty minutes; writes its section of docs/performance.md

All read the same ONNX files, which PyTorch exports from torchvision and timm (bench/export.py). For every network, batch and
precision libssld and the peers take turns, a process each; figures are medians over the rounds. The peers, and what exports,
come from the index that pip is configured for, into WORK/onnx. Every run is kept in WORK/teacher_results.jsonl; --report FILE
makes the tables from such a file again."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass

import environment
import report
import section
import student

BENCH = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(BENCH)
DOCUMENT = os.path.join(TOP, "docs", "performance.md")
PEERS = {"ort": "ONNX Runtime", "openvino": "OpenVINO"}
PACKAGES = ("onnxruntime", "openvino", "onnx", "onnxscript", "pillow", "pyyaml", "huggingface_hub", "safetensors")
WITHOUT_REQUIREMENTS = ("torchvision", "timm")  # they would bring PyTorch's CUDA libraries
NEEDED = "import numpy, onnx, onnxruntime, onnxscript, openvino, timm, torch, torchvision"
LARGE = "resnext101_32x16d"
OPENING = (5.0, 2.2)  # seconds, and times the weights in memory, at most


@dataclass(frozen=True)
class Case:
    """What predicts, and how many times as fast as each peer is promised. ONNX Runtime has no bf16: it runs in f32."""
    model: str
    batch: int
    precision: str
    ort: float = None
    openvino: float = None

    @property
    def name(self):
        return "%s, N=%d, %s" % (self.model, self.batch, self.precision)

    def precision_of(self, kind):
        return "f32" if kind == "ort" else self.precision


CASES = (
    Case("resnet50", 1, "f32", 1.0, 0.95), Case("resnet50", 32, "f32", 1.0, 0.95),
    Case("mobilenet_v3_large", 1, "f32", 1.2, 0.95), Case("mobilenet_v3_large", 32, "f32", 1.2, 0.95),
    Case("vit_small_patch16_224", 1, "f32", 0.9), Case("vit_small_patch16_224", 32, "f32", 0.9),
    Case("resnet50", 1, "bf16", 1.7), Case("resnet50", 32, "bf16", 1.7),
    Case("mobilenet_v3_large", 1, "bf16"), Case("mobilenet_v3_large", 32, "bf16"),
    Case("vit_small_patch16_224", 1, "bf16"), Case("vit_small_patch16_224", 32, "bf16"),
)

# -- Measuring --------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, given, python, file):
        self.given, self.python, self.file, self.rows = given, python, file, []
        self.folder = os.path.join(given.work, "teachers")

    def export(self):
        """The networks' files, made once."""
        environment.run([self.python, "-B", os.path.join(BENCH, "export.py"), self.folder], "bench/export.py")

    def path(self, model):
        return os.path.join(self.folder, model + ".onnx")

    def command(self, kind, case, runs):
        file, batch, threads = self.path(case.model), str(case.batch), str(self.given.threads)
        more = ["--batch", batch, "--precision", case.precision_of(kind), "--threads", threads, "--runs", str(runs)]
        if kind == "ssld":
            return [self.given.ssld, "bench", "teacher", file, *more, "--json"]
        return [self.python, "-B", "-W", "ignore", os.path.join(BENCH, "peers", "onnx_infer.py"), kind, file, *more]

    def keep(self, row):
        self.rows.append(row)
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()

    def run(self, phase, kind, case, runs):
        outcomes, others = student.run_together([self.command(kind, case, runs)], self.given.threads, self.given.work)
        row = {"phase": phase, "kind": kind, "case": case.name, "others": round(others, 3),
               **student.parsed(*outcomes[0], "batch_ms")}
        self.keep(row)
        what = "  %-8s %-9s %-36s" % (phase, kind, row["case"])
        if "error" in row:
            print("%s failed: %s" % (what, row["error"]), flush=True)
        else:
            print("%s %9.2f ms %9.2f images/s%s" % (what, row["batch_ms"], row["images_per_s"], report.doubts(row)), flush=True)

    def alternate(self, phase, cases, runs):
        """The rounds. Who begins changes from round to round."""
        turns = ["ssld", *PEERS]
        for number in range(self.given.rounds):
            first = number % len(turns)
            for case in cases:
                for kind in turns[first:] + turns[:first]:
                    self.run(phase, kind, case, runs)

    def break_down(self):
        """What the program prints for a reader, once a case."""
        for case in self.given.cases:
            command = [word for word in self.command("ssld", case, 5) if word != "--json"]
            (output, error), = student.run_together([command], self.given.threads, self.given.work)[0]
            self.keep({"phase": "breakdown", "kind": "ssld", "case": case.name, "text": output.rstrip() or error})


# -- The section ------------------------------------------------------------------------------------------------------


class Results:
    def __init__(self, facts, rows):
        self.facts, self.rows = facts, rows
        self.cases = [case for case in CASES if self.select("ssld", case)]

    def select(self, kind, case, phase="round"):
        return report.calm([row for row in self.rows if "error" not in row and
                            (row["phase"], row["kind"], row["case"]) == (phase, kind, case.name)])

    def median(self, key, *which):
        values = [row[key] for row in self.select(*which)]
        return statistics.median(values) if values else None

    def ratio(self, kind, case):
        """How many times as fast as a peer libssld is."""
        ours, theirs = self.median("batch_ms", "ssld", case), self.median("batch_ms", kind, case)
        return theirs / ours if ours and theirs else None

    def opening(self, kind):
        """(seconds until it can predict, peak MB after predictions) of the large file."""
        milliseconds = [row["create_ms"] + row.get("load_ms", 0) for row in self.select(kind, LARGE_CASE, "opening")]
        peak = self.median("peak_rss_mb", kind, LARGE_CASE, "opening")
        return (statistics.median(milliseconds) / 1e3, peak) if milliseconds else (None, None)


LARGE_CASE = Case(LARGE, 1, "f32")


def target_rows(results):
    """(what, case, measured, target, verdict) of everything that is promised."""
    for case in results.cases:
        for kind, least in (("ort", case.ort), ("openvino", case.openvino)):
            if least:
                value, other = results.ratio(kind, case), "" if case.precision_of(kind) == case.precision else " in f32"
                yield ("times as fast as %s%s" % (PEERS[kind], other), case.name, report.number(value),
                       "at least %g" % least, report.verdict(value, least, True))
    seconds, peak = results.opening("ssld")
    weights = results.facts["large_mb"]
    yield ("to open a file of %.0f MB" % weights, LARGE, report.number(seconds, "%.2f s"), "at most %g s" % OPENING[0],
           report.verdict(seconds, OPENING[0], False))
    times = peak / weights if peak else None
    yield ("of peak memory, in times of its weights", LARGE, report.number(times), "at most %g" % OPENING[1],
           report.verdict(times, OPENING[1], False))


def predictions_table(results):
    rows = []
    for case in results.cases:
        for place, (kind, name) in enumerate({"ssld": "**libssld**", **PEERS}.items()):
            runs = results.select(kind, case)
            if runs:
                precision = case.precision_of(kind) if kind != "ssld" else case.precision
                rows.append(("" if place else case.name, name, precision,
                             report.number(results.median("batch_ms", kind, case)),
                             report.number(results.median("images_per_s", kind, case), "%.1f"),
                             report.spread(runs, "batch_ms"), report.number(results.median("peak_rss_mb", kind, case), "%.0f"),
                             "" if kind == "ssld" else report.number(results.ratio(kind, case))))
    return report.table(("case", "", "precision", "batch, ms", "images/s", "spread", "peak memory, MB",
                         "libssld is times as fast"), rows)


def opening_table(results):
    rows = []
    for kind, name in {"ssld": "**libssld**", **PEERS}.items():
        seconds, peak = results.opening(kind)
        times = peak / results.facts["large_mb"] if peak else None
        rows.append((name, report.number(seconds), report.number(peak, "%.0f"), report.number(times)))
    return report.table(("", "ready after, s", "peak memory, MB", "in times of the weights"), rows)


def text_of(results):
    facts = results.facts
    peers = [{"name": name, "version": version, "onednn": "-"} for name, version in sorted(facts["versions"].items())]
    surroundings = report.surroundings(report.Results({**facts, "peers": [{**peer, "kind": peer["name"]} for peer in peers],
                                                       "cases": []}, results.rows))
    breakdowns = ["%s:\n\n```\n%s\n```" % (row["case"], row["text"]) for row in results.rows if row["phase"] == "breakdown"]
    sections = [
        "# Performance of predictions",
        report.paragraph("""Logits of a batch of %d x %d pixels with %d threads, of networks with random weights exported by
            PyTorch. libssld, ONNX Runtime and OpenVINO took turns in one run, a process each, for %d round%s; times are the
            medians over the rounds of each process's median prediction. The peers know the batch beforehand.""",
                         facts["size"], facts["size"], facts["threads"], facts["rounds"], "" if facts["rounds"] == 1 else "s"),
        surroundings, "## Targets of predictions", report.table(("", "case", "measured", "target", ""), target_rows(results)),
        "## Predictions", predictions_table(results),
        "## Opening a large file",
        report.paragraph("""%s of %.0f MB: the time until it can predict, and the most memory of the process with
            predictions of one image.""", LARGE, facts["large_mb"]),
        opening_table(results),
        "## Where the time of predictions goes", *breakdowns,
    ]
    return "\n\n".join(sections)


# -- The program ------------------------------------------------------------------------------------------------------


def peers_python(work):
    """The interpreter that has the peers and what exports."""
    folder = os.path.join(work, "onnx")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python) or subprocess.run([python, "-W", "ignore", "-c", NEEDED], capture_output=True).returncode:
        os.makedirs(work, exist_ok=True)
        environment.run([sys.executable, "-m", "venv", "--clear", folder], "making %s" % python)
        environment.install_torch(python, "torch")
        environment.pip(python, "--no-deps", *WITHOUT_REQUIREMENTS)
        environment.pip(python, *PACKAGES)
    return python


def measure(given):
    if not os.access(given.ssld, os.X_OK):
        sys.exit("%s is not there: build it (ninja -C build) or name it with --ssld" % given.ssld)
    known = student.run_facts(given)
    if known["load"] > 0.3:
        print("The machine is not idle: load %.2f. Ratios will be off." % known["load"])
    with open(os.path.join(given.work, "teacher_results.jsonl"), "w") as file:
        bench = Bench(given, peers_python(given.work), file)
        bench.export()
        bench.alternate("round", given.cases, 5 if given.quick else 20)
        bench.alternate("opening", [LARGE_CASE], 1)
        bench.break_down()
        known["versions"] = {row["peer"]: row["version"] for row in bench.rows if "version" in row}
        known["large_mb"] = os.path.getsize(bench.path(LARGE)) / 1e6
        file.write(json.dumps(known) + "\n")
    return known, bench.rows


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of few predictions; writes no document")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this; writes no document")
    parser.add_argument("--rounds", type=int, help="rounds (default 3; 1 with --quick)")
    parser.add_argument("--threads", type=int, default=2, help="threads of everybody (default 2)")
    parser.add_argument("--ssld", default=os.path.join(TOP, "build", "examples", "ssld", "ssld"),
                        help="the program (default %(default)s)")
    parser.add_argument("--work", default=environment.DEFAULT_WORK, help="work folder (default %(default)s)")
    parser.add_argument("--out", help="the document to put the section into (default docs/performance.md after a full run)")
    parser.add_argument("--report", metavar="FILE", help="measure nothing: take the results from this file")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.cases = [case for case in CASES if given.only.lower() in case.name.lower()]
    given.arguments = [os.path.relpath(sys.argv[0], TOP), *sys.argv[1:]]
    if not given.cases:
        parser.error("no case contains '%s'; there are: %s" % (given.only, "; ".join(case.name for case in CASES)))
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
    section.deliver(given.out, "bench/teacher.py", text_of(Results(known, rows)))


if __name__ == "__main__":
    main()
