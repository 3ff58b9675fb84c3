#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The node test cases of the installed `onnx` package, which go up to the newest opset: test_onnx_package.py TEST_ONNX_CASES
[PART OF A NAME]. Writes them as libonnx-testdata has them, and lets test_onnx_cases run them.

TAP; skipped without the package. It may be in another Python: SSLD_TORCH_PYTHON names it."""

import os
import subprocess
import sys
import tempfile
import warnings

try:
    import numpy
    import onnx
    from onnx.backend.test.case.node import collect_testcases
except ImportError as error:
    python = os.environ.pop("SSLD_TORCH_PYTHON", None)
    if python:
        os.execv(python, [python] + sys.argv)
    print("1..0 # SKIP %s; SSLD_TORCH_PYTHON may name a Python that has it" % error)
    sys.exit(0)

LEAST_CASES = 1000  # 1884 in onnx 1.23: fewer, and they were not found


def write(case, folder):
    """A case's model, and the tensors that go in and come out; what is no tensor is left out, and the case skipped later."""
    data = os.path.join(folder, case.name, "test_data_set_0")
    os.makedirs(data)
    onnx.save(case.model, os.path.join(folder, case.name, "model.onnx"))
    given, wanted = case.data_sets[0]
    for kind, values, infos in ("input", given, case.model.graph.input), ("output", wanted, case.model.graph.output):
        for i, value in enumerate(values):
            if value is None or isinstance(value, (list, dict)):
                continue
            tensor = value if isinstance(value, onnx.TensorProto) else onnx.numpy_helper.from_array(
                numpy.asarray(value), infos[i].name)
            with open(os.path.join(data, "%s_%d.pb" % (kind, i)), "wb") as file:
                file.write(tensor.SerializeToString())


def main():
    warnings.filterwarnings("ignore")
    cases = [case for case in collect_testcases(None) if case.model is not None and case.data_sets]
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            write(case, folder)
        print("# %d cases of onnx %s, opset %d" % (len(cases), onnx.__version__, onnx.defs.onnx_opset_version()), flush=True)
        return subprocess.run([sys.argv[1], folder, *sys.argv[2:]], check=False).returncode or len(cases) < LEAST_CASES


if __name__ == "__main__":
    sys.exit(main())
