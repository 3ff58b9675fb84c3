# SPDX-License-Identifier: BSD-2-Clause
"""Training steps of a student, libssld beside the frameworks, alternately in one run on an idle machine:

    python3 bench/environment.py                      # once: the frameworks
    meson setup build && ninja -C build
    python3 bench/student.py [--quick] [--only TEXT]  # an hour or two on two cores; writes its section of docs/performance.md

First every peer runs each of its modes once and goes on in the fastest; then come the rounds, in which libssld and the
peers take turns, a process each; then libssld with one thread and with all. Figures are medians over the rounds. Every
run is kept in WORK/results.jsonl; --report FILE makes the tables from such a file again."""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import environment
import report
import section

BENCH = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(BENCH)
DOCUMENT = os.path.join(TOP, "docs", "performance.md")
SIZE = 224
PATIENCE_S = 1800  # a run that takes longer is stopped; compiling a ResNet took PyTorch two minutes


@dataclass(frozen=True)
class Case:
    """What is trained, and what is promised: how many times as fast as the PyTorch of Debian and as PyTorch's wheel,
    and at most how many times the sum of the bare convolution primitives."""
    model: str
    batch: int
    precision: str
    debian: float
    wheel: float
    primitives: float

    @property
    def name(self):
        return "%s, N=%d, %s" % (self.model, self.batch, self.precision)


CASES = (
    Case("MobileNetV3_large_x1_0", 32, "f32", 3.5, 2.5, 1.5),
    Case("MobileNetV3_large_x1_0", 32, "bf16", 5.0, 3.5, 1.7),
    Case("PPLCNet_x1_0", 32, "f32", 3.5, 2.5, 1.5),
    Case("ResNet50_vd", 16, "f32", 1.7, 1.3, 1.25),
    Case("ResNet50_vd", 16, "bf16", 1.4, 1.3, 1.3),
)
# The modes that can win; --all-modes adds those that lost in every case (2026-11-23: PyTorch's contiguous layout took 1.06 to 1.7
# times as long as channels_last, Paddle's static graphs 1.08 to 2.4 times as long as eager).
MODES = {
    "debian": ("channels_last",),
    "wheel": ("channels_last", "channels_last+compile"),
    "paddle": ("eager",),
}
SLOWER_MODES = {
    "debian": ("contiguous",),
    "wheel": ("contiguous", "compile"),
    "paddle": ("static", "static+onednn"),
}

# -- One run --------------------------------------------------------------------------------------------------------


def busy_seconds():
    """Time that all CPUs together have worked, or were kept from working by the hypervisor, since the machine began."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupt, soft_interrupt, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + interrupt + soft_interrupt + steal) / os.sysconf("SC_CLK_TCK")


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def finish(process, deadline):
    """(output, error text) of a process, which is ended with its children at the deadline."""
    try:
        output, errors = process.communicate(timeout=max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # of its own session, so nobody else's
        process.communicate()
        return "", "stopped after %d s" % PATIENCE_S
    if process.returncode:
        lines = [line.strip() for line in (errors or output).splitlines() if line.strip()]
        return "", lines[-1] if lines else "ended with status %d" % process.returncode
    return output, ""


def run_together(commands, threads, work):
    """Run commands at the same time; [(output, error text)] and the share of the machine that others took meanwhile."""
    # PyTorch compiles in its own process, whose CPU time is counted, and keeps what it compiled for the next round.
    variables = dict(os.environ, OMP_NUM_THREADS=str(threads), TORCHINDUCTOR_COMPILE_THREADS="1",
                     TORCHINDUCTOR_CACHE_DIR=os.path.join(work, "inductor"))
    begun, busy, own = time.monotonic(), busy_seconds(), children_seconds()
    processes = [subprocess.Popen(command, env=variables, text=True, start_new_session=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]
    outcomes = [finish(process, begun + PATIENCE_S) for process in processes]
    capacity = (time.monotonic() - begun) * os.cpu_count()
    others = (busy_seconds() - busy - (children_seconds() - own)) / capacity
    return outcomes, max(0.0, others)


def parsed(output, error, time="step_ms"):
    """The figures of a run's last line, `time` among them, or {"error": why there are none}."""
    if error:
        return {"error": error}
    try:
        figures = json.loads(output.strip().splitlines()[-1])
        return figures if figures[time] > 0 else {"error": "%s is not above 0" % time}
    except (IndexError, KeyError, TypeError, ValueError):
        return {"error": "no line of JSON with %s" % time}


# -- All runs -------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, given, peers, file):
        self.given, self.peers, self.file = given, peers, file
        self.rows, self.failed = [], set()

    def ours(self, case, threads, *more):
        return [self.given.ssld, "bench", "student", case.model, "--batch", str(case.batch), "--size", str(SIZE),
                "--precision", case.precision, "--threads", str(threads), *more]

    def theirs(self, peer, case, mode, warmup, steps):
        script = os.path.join(BENCH, "peers", "%s_train.py" % peer["module"])
        return [peer["python"], "-B", "-W", "ignore", script, case.model, "--batch", str(case.batch),
                "--size", str(SIZE), "--precision", case.precision, "--threads", str(self.given.threads),
                "--mode", mode, "--warmup", str(warmup), "--steps", str(steps)]

    def keep(self, phase, kind, case, threads, others, figures):
        row = {"phase": phase, "kind": kind, "case": case.name, "threads": threads, "others": round(others, 3),
               **figures}
        self.rows.append(row)
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        what = "  %-7s %-7s %-38s %-22s" % (phase, kind, case.name, row.get("mode", "%d threads" % threads))
        if "error" in row:
            print("%s failed: %s" % (what, row["error"]), flush=True)
        else:
            print("%s %9.1f ms %8.2f images/s%s" % (what, row["step_ms"], row["images_per_s"], report.doubts(row)),
                  flush=True)
        return row

    def run(self, phase, kind, case, threads, command, mode=None):
        """Run once, unless the same failed before."""
        key = (kind, case, threads, mode)
        if key in self.failed:
            return
        outcomes, others = run_together([command], threads, self.given.work)
        figures = parsed(*outcomes[0])
        if mode:
            figures["mode"] = mode
        if "error" in self.keep(phase, kind, case, threads, others, figures):
            self.failed.add(key)

    def find_modes(self):
        """{(kind, case): the peer's fastest mode}. A mode whose loss does not fall computes something else."""
        best = {}
        for case in self.given.cases:
            for peer in self.peers:
                kind = peer["kind"]
                for mode in MODES[kind] + (SLOWER_MODES[kind] if self.given.all_modes else ()):
                    if self.given.quick and "compile" in mode:  # minutes, before the first step
                        continue
                    self.run("mode", kind, case, self.given.threads, self.theirs(peer, case, mode, 1, 3), mode)
                valid = [row for row in self.rows if row["kind"] == kind and row["case"] == case.name and
                         "error" not in row and row["learns"]]
                if valid:
                    best[kind, case] = min(valid, key=lambda row: row["step_ms"])["mode"]
        return best

    def alternate(self, best):
        """The rounds. Who begins changes from round to round, so that no one always follows the same neighbour."""
        warmup, steps = (1, 2) if self.given.quick else (2, 10)
        for number in range(self.given.rounds):
            for case in self.given.cases:
                turns = [("ssld", None)] + [(peer["kind"], peer) for peer in self.peers if (peer["kind"], case) in best]
                first = number % len(turns)
                for kind, peer in turns[first:] + turns[:first]:
                    if peer:
                        mode = best[kind, case]
                        command = self.theirs(peer, case, mode, warmup, steps)
                        self.run("round", kind, case, self.given.threads, command, mode)
                    else:
                        self.run("round", kind, case, self.given.threads, self.ours(case, self.given.threads, "--json"))

    def scale(self):
        """libssld alone: one thread, all threads, and as many processes of one thread at the same time."""
        for _ in range(self.given.rounds):
            for case in self.given.cases:
                if case.precision != "f32":
                    continue
                for threads in (1, self.given.threads):
                    self.run("threads", "ssld", case, threads, self.ours(case, threads, "--json"))
                if ("ssld", case, 1, None) not in self.failed:
                    outcomes, others = run_together([self.ours(case, 1, "--json")] * self.given.threads, 1,
                                                    self.given.work)
                    for outcome in outcomes:
                        self.keep("beside", "ssld", case, 1, others, parsed(*outcome))

    def break_down(self):
        """What the program prints for a reader, once a case."""
        for case in self.given.cases:
            if ("ssld", case, self.given.threads, None) in self.failed:
                continue
            (output, error), = run_together([self.ours(case, self.given.threads)], self.given.threads,
                                            self.given.work)[0]
            row = {"phase": "breakdown", "kind": "ssld", "case": case.name, "text": output.rstrip() or error}
            self.rows.append(row)
            self.file.write(json.dumps(row) + "\n")


# -- The machine ----------------------------------------------------------------------------------------------------


def first_of(path, pattern, otherwise="unknown"):
    try:
        with open(path) as file:
            found = re.search(pattern, file.read(), flags=re.M)
    except OSError:
        found = None
    return found.group(1).strip() if found else otherwise


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine():
    flags = set(first_of("/proc/cpuinfo", r"^flags\s*: (.*)", "").split())
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
    return {
        "cpu": "%s (family %s, model %s)" % tuple(first_of("/proc/cpuinfo", r"^%s\s*: (.*)" % key) for key in
                                               ("model name", "cpu family", r"model\b(?! name)")),
        "isa": ", ".join(name for name in known if name in flags) or "unknown",
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": "%s %s" % (platform.system(), platform.release()),
        "system": first_of("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)'),
    }


def commit():
    name = output_of("git", "-C", TOP, "rev-parse", "--short", "HEAD")
    if name and output_of("git", "-C", TOP, "status", "--porcelain", "--untracked-files=no"):
        name += " with changes"
    return name or "unknown"


def run_facts(given):
    """What every benchmark says of its run."""
    return {
        "date": datetime.date.today().isoformat(), "command": shlex.join(["python3", *given.arguments]),
        "threads": given.threads, "rounds": given.rounds, "size": SIZE, "load": round(os.getloadavg()[0], 2),
        "machine": machine(), "commit": commit(), "ssld": output_of(given.ssld, "--version") or "unknown",
    }


def facts(given, peers):
    return {
        **run_facts(given),
        "peers": [{key: peer[key] for key in ("kind", "name", "version", "onednn")} for peer in peers],
        "cases": [dict(asdict(case), name=case.name) for case in given.cases],
    }


# -- The program ----------------------------------------------------------------------------------------------------


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="one round of few steps, nothing compiled; writes no document")
    parser.add_argument("--all-modes", action="store_true", help="also the peers' modes that were slower whenever measured")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this; writes no document")
    parser.add_argument("--rounds", type=int, help="rounds (default 3; 1 with --quick)")
    parser.add_argument("--threads", type=int, default=2, help="threads of everybody (default 2)")
    parser.add_argument("--ssld", default=os.path.join(TOP, "build", "examples", "ssld", "ssld"),
                        help="the program (default %(default)s)")
    parser.add_argument("--work", default=environment.DEFAULT_WORK, help="work folder (default %(default)s)")
    parser.add_argument("--out", help="where the document goes (default docs/performance.md after a full run)")
    parser.add_argument("--report", metavar="FILE", help="measure nothing: take the results from this file")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.cases = [case for case in CASES if given.only.lower() in case.name.lower()]
    given.arguments = [os.path.relpath(sys.argv[0], TOP), *sys.argv[1:]]
    if not given.cases:
        parser.error("no case contains '%s'; there are: %s" % (given.only, "; ".join(case.name for case in CASES)))
    if given.rounds < 1 or given.threads < 1:
        parser.error("rounds and threads are at least 1")
    if not given.out and not given.quick and not given.only and not given.report:
        given.out = DOCUMENT
    return given


def load_peers(work):
    path = os.path.join(work, "peers.json")
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        sys.exit("%s is not there: run python3 bench/environment.py%s first" % (
            path, "" if work == environment.DEFAULT_WORK else " --work " + shlex.quote(work)))


def measure(given):
    """Run everything; (facts, rows)."""
    if not os.access(given.ssld, os.X_OK):
        sys.exit("%s is not there: build it (ninja -C build) or name it with --ssld" % given.ssld)
    peers = load_peers(given.work)
    known = facts(given, peers)
    if known["load"] > 0.3:
        print("The machine is not idle: load %.2f. Ratios will be off." % known["load"])
    with open(os.path.join(given.work, "results.jsonl"), "w") as file:
        file.write(json.dumps(known) + "\n")
        bench = Bench(given, peers, file)
        best = bench.find_modes()
        bench.alternate(best)
        bench.scale()
        bench.break_down()
    return known, bench.rows


def main():
    given = parse()
    if given.report:
        with open(given.report) as file:
            known, *rows = map(json.loads, file)
    else:
        known, rows = measure(given)
    results = report.Results(known, rows)
    print("\n" + report.targets(results))
    if given.out:
        section.put(given.out, "bench/student.py", report.document(results))
        print("\nwritten: %s" % given.out)


if __name__ == "__main__":
    main()
