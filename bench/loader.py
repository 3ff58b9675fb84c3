# SPDX-License-Identifier: BSD-2-Clause
"""Images a second of one core: `ssld bench loader` beside what people load images with today, alternately in one run:

    python3 bench/environment.py                      # once: PyTorch
    meson setup build && ninja -C build
    python3 bench/loader.py [--quick] [--only TEXT]   # five minutes; writes its section of docs/performance.md

320 photographs of 500 x 375 (JPEG, quality 90, 4:2:0), made of those in Debian's packages mate-backgrounds and
gnome-backgrounds, become views of 224 x 224: random resized crop, flip, normalisation; and the same with RandAugment
(rand-m9-mstd0.5-inc1). Everybody has the same core and one thread, and files are in the page cache; figures are medians
over the rounds. The peers come from the index that pip is configured for: torchvision, timm, OpenCV and Pillow into
WORK/images beside environment.py's PyTorch, NVIDIA DALI, of which the CPU's path is measured, into WORK/dali. ffcv is not
among them: it comes as source that is built against OpenCV's development files (1.0.2). Every run is kept in WORK/loader_results.jsonl; --report FILE makes the tables from such a file again."""

import argparse
import datetime
import json
import os
import shlex
import statistics
import sys

import environment
import labels
import report
import section
import student

BENCH = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(BENCH)
DOCUMENT = os.path.join(TOP, "docs", "performance.md")
PHOTOGRAPHS = 320
PIPELINES = {
    "plain": "rrc(224) flip(0.5) normalize(imagenet)",
    "randaugment": "rrc(224) flip(0.5) randaugment(9, resample=bilinear) normalize(imagenet)",
}
PEERS = {"torchvision": "Pillow + torchvision", "timm": "Pillow + timm", "opencv": "OpenCV, as PaddleClas uses it",
         "dali": "NVIDIA DALI on the CPU"}
TURNS = {"plain": ("ssld", "torchvision", "opencv", "dali"), "randaugment": ("ssld", "timm")}
# (pipeline, peer, how many times as fast): what is promised.
TARGETS = (("plain", "torchvision", 2.5), ("randaugment", "timm", 2.0))
PARTS = ("read", "decode", "resample", "augment", "write")

environment.VERSION["images"] = "import torchvision, timm, cv2, PIL; print(PIL.__version__, '-')"
environment.VERSION["dali"] = "import nvidia.dali; print(nvidia.dali.__version__, '-')"


# -- The peers --------------------------------------------------------------------------------------------------------


def install_images(python, torch):
    """Beside environment.py's PyTorch, whose folder is read through a .pth file."""
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    with open(os.path.join(environment.run([python, "-c", place], "asking " + python).strip(), "torch.pth"), "w") as file:
        file.write(environment.run([torch, "-c", place], "asking " + torch))
    environment.pip(python, "--no-deps", "torchvision", "timm", "opencv-python-headless")
    # timm posterizes to 0 bits, which Pillow refuses from version 13 on.
    environment.pip(python, "--no-deps", "--ignore-installed", "pillow<13")
    environment.pip(python, "pyyaml", "safetensors", "huggingface_hub")


def find_peers(work):
    """{kind: interpreter} of those that can be had."""
    def torch():
        try:
            found = [peer for peer in student.load_peers(work) if peer["kind"] == "wheel"]
        except SystemExit as reason:
            raise environment.CannotBeHad(str(reason)) from None
        if not found:
            raise environment.CannotBeHad("environment.py has no wheel of PyTorch")
        return found[0]["python"]

    def images():
        return environment.environment(work, "images", torch(), install_images, 1e9, False)

    def dali():
        return environment.environment(work, "dali", "nvidia-dali-cuda120", environment.pip, 4e9, False)

    found = {}
    os.makedirs(work, exist_ok=True)
    for locate, kinds in ((images, ("torchvision", "timm", "opencv")), (dali, ("dali",))):
        try:
            found.update(dict.fromkeys(kinds, locate()))
        except environment.CannotBeHad as reason:
            print("%s cannot be had and will not be compared with: %s" % (", ".join(PEERS[kind] for kind in kinds), reason))
    return found


def prepare(given, peers):
    """The folder of photographs, with a list of them."""
    folder = os.path.join(given.work, "photographs")
    done = os.path.isdir(folder) and len([name for name in os.listdir(folder) if name.endswith(".jpg")]) == PHOTOGRAPHS
    if not done:
        if "torchvision" not in peers:
            sys.exit("%s is not there, and without Pillow it cannot be made" % folder)
        pictures = os.path.join(given.work, "labels")
        os.makedirs(pictures, exist_ok=True)
        labels.fetch_pictures(pictures)
        environment.run([peers["torchvision"], "-B", os.path.join(BENCH, "peers", "image_loaders.py"), "prepare",
                         "--pictures", os.path.join(pictures, "usr"), "--folder", folder, "--count", str(PHOTOGRAPHS)],
                        "image_loaders.py prepare")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".jpg"))
    with open(os.path.join(folder, "list.txt"), "w") as file:
        file.write("".join(name + "\n" for name in names))
    return folder, sum(os.path.getsize(os.path.join(folder, name)) for name in names) / len(names)


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
    def __init__(self, given, peers, folder, file):
        self.given, self.peers, self.folder, self.file, self.rows = given, peers, folder, file, []

    def command(self, kind, pipeline):
        if kind == "ssld":
            return [self.given.ssld, "bench", "loader", "--data", "list:" + os.path.join(self.folder, "list.txt"), "--views",
                    PIPELINES[pipeline], "--threads", "1", "--images", "600" if self.given.quick else "4000", "--json"]
        return [self.peers[kind], "-B", "-W", "ignore", os.path.join(BENCH, "peers", "image_loaders.py"), kind, "--folder",
                self.folder, "--pipeline", pipeline, "--seconds", "2" if self.given.quick else "5"]

    def run(self, kind, pipeline):
        outcomes, others = student.run_together([self.command(kind, pipeline)], 1, self.given.work)
        row = {"kind": kind, "pipeline": pipeline, "others": round(others, 3), **parsed(*outcomes[0])}
        self.rows.append(row)
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        print("  %-12s %-12s %s" % (pipeline, kind, "failed: " + row["error"] if "error" in row else
                                    "%8.1f images/s%s" % (row["images_per_s"], report.doubts(row))), flush=True)

    def alternate(self):
        for number in range(self.given.rounds):
            for pipeline in self.given.pipelines:
                turns = [kind for kind in TURNS[pipeline] if kind == "ssld" or kind in self.peers]
                first = number % len(turns)
                for kind in turns[first:] + turns[:first]:
                    self.run(kind, pipeline)


# -- The section ------------------------------------------------------------------------------------------------------


class Results:
    def __init__(self, facts, rows):
        self.facts, self.rows = facts, rows

    def median(self, key, kind, pipeline):
        values = [row[key] for row in report.calm([row for row in self.rows if "error" not in row and
                                                   (row["kind"], row["pipeline"]) == (kind, pipeline)])]
        return statistics.median(values) if values else None

    def ratio(self, kind, pipeline):
        """How many times as fast as a peer libssld is."""
        ours, theirs = (self.median("images_per_s", who, pipeline) for who in ("ssld", kind))
        return ours / theirs if ours and theirs else None


def target_rows(results):
    for pipeline, kind, least in TARGETS:
        value = results.ratio(kind, pipeline)
        yield ("%s: times as fast as %s" % (pipeline, PEERS[kind]), report.number(value), "at least %g" % least,
               report.verdict(value, least, True))


def rates_table(results):
    rows = []
    for pipeline in PIPELINES:
        for place, kind in enumerate(TURNS[pipeline]):
            rate = results.median("images_per_s", kind, pipeline)
            if rate:
                rows.append(["" if place else pipeline, PEERS.get(kind, "**libssld**"), "%.0f" % rate,
                             "" if kind == "ssld" else "%.2f" % results.ratio(kind, pipeline),
                             "%.0f" % results.median("peak_rss_mb", kind, pipeline)])
    return report.table(("", "", "images/s", "libssld is so many times as fast", "memory, MB"), rows)


def parts_table(results):
    rows = [[pipeline, *(report.number(results.median(part + "_ms", "ssld", pipeline), "%.3f") for part in PARTS)]
            for pipeline in PIPELINES if results.median("images_per_s", "ssld", pipeline)]
    return report.table(("libssld, ms an image", *PARTS), rows)


def text_of(results):
    facts, machine = results.facts, results.facts["machine"]
    surroundings = report.table(("", ""), [
        ("CPU", "%s, %d cores, of which one is used; %s" % (machine["cpu"], machine["cores"], machine["isa"])),
        ("memory, system", "%.0f GB; %s, %s" % (machine["memory_gb"], machine["system"], machine["kernel"])),
        ("libssld", "%s; commit %s" % (facts["ssld"], facts["commit"])),
        ("peers", "; ".join("%s %s" % item for item in sorted(facts["versions"].items()))),
        ("date, command", "%s, `%s`" % (facts["date"], facts["command"])), ("load before the run", facts["load"])])
    return "\n\n".join([
        "# Performance of views",
        report.paragraph("""Images a second of one core: %d photographs of 500 x 375 (JPEG, quality 90, 4:2:0, %.0f kB each),
            random resized crop to 224 x 224 (bilinear with antialiasing; OpenCV's without), flip, normalisation, float32;
            `randaugment` is that with timm's rand-m9-mstd0.5-inc1 before the normalisation. Files are in the page cache,
            everybody has one thread on the same core; medians of %d round%s in which libssld and the peers took turns.
            torchvision and timm run in a DataLoader without worker processes.""",
                         PHOTOGRAPHS, facts["image_bytes"] / 1e3, facts["rounds"], "" if facts["rounds"] == 1 else "s"),
        surroundings, "## Targets of views",
        report.table(("", "measured", "target", ""), target_rows(results)),
        "## Beside what images are loaded with today", rates_table(results), "## Where an image's time goes",
        parts_table(results)])


# -- The program ------------------------------------------------------------------------------------------------------


def facts_of(given, rows, image_bytes):
    commit = student.output_of("git", "-C", TOP, "rev-parse", "--short", "HEAD")
    if commit and student.output_of("git", "-C", TOP, "status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    return {
        "date": datetime.date.today().isoformat(), "command": shlex.join(["python3", *given.arguments]),
        "rounds": given.rounds, "load": given.load, "machine": student.machine(), "commit": commit or "unknown",
        "ssld": student.output_of(given.ssld, "--version") or "unknown", "image_bytes": image_bytes,
        "versions": {row["peer"]: row["version"] for row in rows if "version" in row and "peer" in row},
    }


def measure(given):
    if not os.access(given.ssld, os.X_OK):
        sys.exit("%s is not there: build it (ninja -C build) or name it with --ssld" % given.ssld)
    peers = find_peers(given.work)
    folder, image_bytes = prepare(given, peers)
    given.load = round(os.getloadavg()[0], 2)
    if given.load > 0.3:
        print("The machine is not idle: load %.2f. Ratios will be off." % given.load)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # which the programs inherit
    with open(os.path.join(given.work, "loader_results.jsonl"), "w") as file:
        bench = Bench(given, peers, folder, file)
        bench.alternate()
        known = facts_of(given, bench.rows, image_bytes)
        file.write(json.dumps(known) + "\n")
    return known, bench.rows


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of few images; writes no document")
    parser.add_argument("--only", default="", metavar="TEXT", help="pipelines whose name contains this; writes no document")
    parser.add_argument("--rounds", type=int, help="rounds (default 3; 1 with --quick)")
    parser.add_argument("--ssld", default=os.path.join(TOP, "build", "examples", "ssld", "ssld"),
                        help="the program (default %(default)s)")
    parser.add_argument("--work", default=environment.DEFAULT_WORK, help="work folder (default %(default)s)")
    parser.add_argument("--out",
                        help="the document to put the section into (default docs/performance.md after a full run)")
    parser.add_argument("--report", metavar="FILE", help="measure nothing: take the results from this file")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.pipelines = [name for name in PIPELINES if given.only.lower() in name]
    given.arguments = [os.path.relpath(sys.argv[0], TOP), *sys.argv[1:]]
    if not given.pipelines:
        parser.error("no pipeline contains '%s'; there are: %s" % (given.only, ", ".join(PIPELINES)))
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
    section.deliver(given.out, "bench/loader.py", text_of(Results(known, rows)))


if __name__ == "__main__":
    main()
