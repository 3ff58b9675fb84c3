# SPDX-License-Identifier: BSD-2-Clause
"""A figure of two builds of ssld, both at the same time with a core each, which they swap from pair to pair:

    python3 bench/paired.py OTHER/examples/ssld/ssld [--program OURS] [--figure NAME] [--pairs N] -- COMMAND ...
    python3 bench/paired.py ../before/build/examples/ssld/ssld -- bench student PPLCNet_x1_0 --batch 32 --threads 1 --json
    python3 bench/paired.py ../before/build/examples/ssld/ssld --figure ordered_views_per_s -- bench store --json

For machines whose speed changes by the minute, where one run behind the other compares two moments. The command prints one line of
JSON, and should use one thread. What is printed in the end is the geometric mean of ours / other's with its standard error. Builds
of the same code differ by a percent or so that no number of pairs takes away, for where their memory lies: less says nothing."""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def start(program, command, core):
    return subprocess.Popen([program, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, {core}))


def figure_of(process, name):
    output = process.communicate()[0]
    if process.returncode:
        sys.exit("%s: exit code %d" % (" ".join(process.args), process.returncode))
    return float(json.loads(output.splitlines()[-1])[name])


def pair(arguments, cores):
    """(ours, other's) of one pair, with ours on the first core."""
    processes = [start(program, arguments.command, core)
                 for program, core in zip((arguments.program, arguments.other), cores)]
    return [figure_of(process, arguments.figure) for process in processes]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the build to compare with")
    parser.add_argument("--program", default=os.path.join(TOP, "build", "examples", "ssld", "ssld"),
                        help="ours (default %(default)s)")
    parser.add_argument("--figure", default="step_ms_fastest", help="which number of the line (default %(default)s)")
    parser.add_argument("--pairs", type=int, default=8, help="default %(default)s; even, so that each has each core as often")
    parser.add_argument("command", nargs="+", help="of ssld, behind --")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2 or arguments.pairs < 2:
        sys.exit("two cores and two pairs are needed")
    logs = []
    for i in range(arguments.pairs):
        ours, other = pair(arguments, cores[::-1] if i % 2 else cores)
        logs.append(math.log(ours / other))
        print("%10.4g %10.4g  %.3f" % (ours, other, ours / other), flush=True)
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    print("%s: ours is %.4f of the other's, standard error %.4f" %
          (arguments.figure, math.exp(statistics.mean(logs)), error))


if __name__ == "__main__":
    main()
