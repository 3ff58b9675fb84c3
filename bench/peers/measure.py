# SPDX-License-Identifier: BSD-2-Clause
"""What the peers' programs share: their arguments, how steps are timed, and the JSON line a run ends with. Imported
before the framework is, because the number of threads must be in the environment when it loads its OpenMP library."""

import argparse
import json
import os
import resource
import statistics
import sys
import time

import networks


def arguments(modes, purpose):
    """Parse the command line; `modes` is {name: what it means}, the first one the default."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("model", choices=sorted(networks.NETWORKS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--mode", choices=list(modes), default=next(iter(modes)),
                        help="; ".join("%s: %s" % mode for mode in modes.items()))
    parser.add_argument("--warmup", type=int, default=2, help="steps before the timed ones (default 2)")
    parser.add_argument("--steps", type=int, default=10, help="timed steps at most (default 10)")
    parser.add_argument("--seconds", type=float, default=20,
                        help="no further timed step begins after so many seconds, but two are always made (default 20)")
    given = parser.parse_args()
    if min(given.batch, given.size, given.threads, given.steps) < 1 or given.warmup < 0:
        parser.error("batch, size, threads and steps are at least 1, warmup at least 0")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(given.threads)
    return given


def peak_rss_mb():
    """Peak resident memory of this process in MB of 10^6 bytes; Linux gives kibibytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def run(given, peer, version, step, create_s, import_rss_mb):
    """Time step(), which makes one whole training step and returns the loss, and print the JSON line."""
    begun, losses = time.perf_counter(), []
    for _ in range(given.warmup):
        losses.append(step())
    warmup_s = time.perf_counter() - begun
    durations, begun, cpu_begun = [], time.perf_counter(), time.process_time()
    while len(durations) < given.steps and (len(durations) < 2 or time.perf_counter() - begun < given.seconds):
        start = time.perf_counter()
        losses.append(step())
        durations.append(time.perf_counter() - start)
    cores = (time.process_time() - cpu_begun) / (time.perf_counter() - begun)
    step_s = statistics.median(durations)
    line = {
        "peer": peer, "version": version, "mode": given.mode, "model": given.model, "batch": given.batch,
        "size": given.size, "precision": given.precision, "threads": given.threads, "steps": len(durations),
        "step_ms": round(step_s * 1e3, 3), "images_per_s": round(given.batch / step_s, 3),
        "peak_rss_mb": round(peak_rss_mb(), 1), "import_rss_mb": round(import_rss_mb, 1),
        "create_ms": round(create_s * 1e3, 1), "warmup_s": round(warmup_s, 1), "cores_busy": round(cores, 2),
        # The same batch every time: a loss that does not fall comes from gradients that are wrong.
        "learns": losses[-1] < losses[0],
    }
    json.dump(line, sys.stdout)
    print(flush=True)
