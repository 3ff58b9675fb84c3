# SPDX-License-Identifier: BSD-2-Clause
"""Top-1 of the quick start's student in f32 and in bf16, the same seeds in both:

    sh examples/quickstart.sh                    # once: the teacher's labels
    python3 bench/precision.py [--seeds N] [--out docs/performance.md]

The settings are those that examples/quickstart.sh names, which are read from it."""

import argparse
import datetime
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

import report
import section
import student

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
QUICKSTART = os.path.join(TOP, "examples", "quickstart.sh")
TARGET = 0.3  # points of top-1
PRECISIONS = ("f32", "bf16")


def settings():
    """The variables that the script sets for a quick run, with what they hold."""
    values = {}
    with open(QUICKSTART, encoding="utf-8") as file:
        text = file.read()
    for name, quoted, plain in re.findall(r'\b([a-z_]+)=(?:"([^"$]*)"|([\w./-]+))', text.split("# -- Arguments")[0]):
        values[name] = quoted or plain
    folder = re.search(r"data_folder=(\S+)", text).group(1)
    for name in ("train_data", "test_data"):
        values[name] = re.search(name + r'="([^"]*)"', text).group(1).replace("$data_folder", folder)
    return values


def command(arguments, chosen, log, out, precision, seed):
    threads = ["--threads", str(arguments.threads)] if arguments.threads else []
    return [arguments.program, "train", "--data", chosen["train_data"], "--views", chosen["views"], "--model", chosen["student"],
            *chosen["student_options"].split(), "--limit", chosen["limit"], "--batch", chosen["batch"],
            "--epochs", chosen["epochs"], "--view-count", chosen["view_count"], "--seed", str(seed),
            "--eval-data", chosen["test_data"], "--eval-views", chosen["eval_views"], "--eval-every", chosen["epochs"],
            "--labels", arguments.labels, "--precision", precision, "--log", log, "--out", out, *threads]


def top1(arguments, chosen, precision, seed):
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        subprocess.run(command(arguments, chosen, log, os.path.join(folder, "student.onnx"), precision, seed), check=True,
                       stdout=subprocess.DEVNULL)
        with open(log, encoding="utf-8") as file:
            events = [json.loads(line) for line in file if line.startswith("{")]
    return 100 * [event["top1"] for event in events if event.get("event") == "done"][-1]


def measure(arguments):
    """{precision: [top-1 of each seed]}, the precisions in turns."""
    found, chosen = {precision: [] for precision in PRECISIONS}, settings()
    for seed in range(1, arguments.seeds + 1):
        for precision in PRECISIONS:
            found[precision].append(top1(arguments, chosen, precision, seed))
            print("seed %d  %-4s  top-1 %.2f %%" % (seed, precision, found[precision][-1]), flush=True)
    return found


def surroundings(arguments):
    machine = student.machine()
    return report.table(("", ""), [
        ("CPU", "%s, %d cores; %s" % (machine["cpu"], machine["cores"], machine["isa"])),
        ("libssld", "%s; commit %s" % (student.output_of(arguments.program, "--version"), student.commit())),
        ("date, command", "%s, `%s`" % (datetime.date.today().isoformat(), shlex.join(["python3", *sys.argv])))])


def text_of(found, machine):
    differences = [bf16 - f32 for f32, bf16 in zip(found["f32"], found["bf16"])]
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.nan
    rows = [(seed + 1, "%.2f" % f32, "%.2f" % bf16, "%+.2f" % (bf16 - f32))
            for seed, (f32, bf16) in enumerate(zip(found["f32"], found["bf16"]))]
    rows.append(("**mean**", "%.2f" % statistics.mean(found["f32"]), "%.2f" % statistics.mean(found["bf16"]), "%+.2f" % mean))
    return "\n\n".join([
        "# Top-1 in bfloat16",
        report.paragraph("""Written by `bench/precision.py`; change it there. The student of `examples/quickstart.sh`, trained
            from the teacher's stored labels in f32 and in bf16 from the same seeds."""),
        machine, report.table(("seed", "f32, %", "bf16, %", "difference, points"), rows),
        report.paragraph("""Target: a mean within %g points: %s. The mean's standard error is %.2f points.""", TARGET,
                         report.verdict(abs(mean), TARGET, False), error)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(TOP, "build", "examples", "ssld", "ssld"))
    parser.add_argument("--labels", default=os.path.join(TOP, "build", "quickstart", "labels.ssld"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of a student; without it one for each core")
    parser.add_argument("--out", help="the document to write the section into; without it, onto the screen")
    arguments = parser.parse_args()
    if not os.path.exists(arguments.labels):
        sys.exit("%s: there is none; run first: sh examples/quickstart.sh" % arguments.labels)
    found = measure(arguments)
    section.deliver(arguments.out, "bench/precision.py", text_of(found, surroundings(arguments)))


if __name__ == "__main__":
    main()
