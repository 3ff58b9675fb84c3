# SPDX-License-Identifier: BSD-2-Clause
"""Predictions of an ONNX classifier in ONNX Runtime or OpenVINO; prints one JSON line. Set up as a careful user would: all
optimizations, the batch told before the network is made ready, no threads but those asked for."""

import argparse
import json
import os
import statistics
import sys
import time

import measure

LEAST_SECONDS = 1.0  # as `ssld bench teacher`: predictions go on until so much time has gone by


def onnx_runtime(given, shape):
    """(version, function that predicts)."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = given.threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_free_dimension_override_by_name("batch", shape[0])
    session = onnxruntime.InferenceSession(given.file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return onnxruntime.__version__, lambda pixels: session.run(None, {name: pixels})[0]


def openvino(given, shape):
    import openvino
    core = openvino.Core()
    model = core.read_model(given.file)
    model.reshape(list(shape))
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": given.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": given.precision, "ENABLE_HYPER_THREADING": True})
    request = compiled.create_infer_request()
    return openvino.__version__.split("-")[0], lambda pixels: request.infer({0: pixels})[0]


ENGINES = {"ort": ("ONNX Runtime", onnx_runtime), "openvino": ("OpenVINO", openvino)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=sorted(ENGINES))
    parser.add_argument("file")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--warmup", type=int, default=3, help="predictions before the timed ones (default 3)")
    parser.add_argument("--runs", type=int, default=20, help="timed predictions at least (default 20)")
    return parser.parse_args()


def main():
    given = arguments()
    import numpy
    import_rss_mb = measure.peak_rss_mb()
    shape = (given.batch, 3, given.size, given.size)
    pixels = numpy.random.default_rng(7).standard_normal(shape, dtype=numpy.float32)
    name, make = ENGINES[given.engine]
    begun = time.perf_counter()
    version, predict = make(given, shape)
    create_ms = 1e3 * (time.perf_counter() - begun)
    for _ in range(given.warmup):
        logits = predict(pixels)
    durations, begun = [], time.perf_counter()
    while len(durations) < given.runs or time.perf_counter() - begun < LEAST_SECONDS:
        start = time.perf_counter()
        logits = predict(pixels)
        durations.append(time.perf_counter() - start)
    if logits.shape[0] != given.batch or not numpy.isfinite(logits).all():
        sys.exit("the logits are not finite numbers of shape (%d, classes)" % given.batch)
    batch_s = statistics.median(durations)
    json.dump({"peer": name, "version": version, "batch": given.batch, "size": given.size, "precision": given.precision,
               "threads": given.threads, "runs": len(durations), "batch_ms": round(1e3 * batch_s, 4),
               "images_per_s": round(given.batch / batch_s, 3), "create_ms": round(create_ms, 1),
               "peak_rss_mb": round(measure.peak_rss_mb(), 1), "import_rss_mb": round(import_rss_mb, 1)}, sys.stdout)
    print(flush=True)


if __name__ == "__main__":
    main()
