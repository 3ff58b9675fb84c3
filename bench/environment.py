# SPDX-License-Identifier: BSD-2-Clause
"""The frameworks that student.py measures beside libssld, each in a place of its own under one work folder:

    python3 bench/environment.py [--work DIR] [--torch REQUIREMENT] [--paddle REQUIREMENT] [--again]

PyTorch and PaddlePaddle come from the index that pip is configured for, into virtual environments; Debian's
python3-torch is used where it is installed. What can be had is written to DIR/peers.json, what cannot is said with its
reason."""

import argparse
import json
import os
import shutil
import subprocess
import sys

DEFAULT_WORK = os.path.join(os.path.expanduser("~"), ".cache", "ssld-bench")
DEBIAN_PYTHON = "/usr/bin/python3"

# PyTorch's x86-64 wheel on the package index is the CUDA build: 1.2 GB that do not load without 2.8 GB of CUDA
# libraries (2.15.0). These of its requirements it loads without, on CPUs.
NOT_NEEDED = {"triton", "cuda-bindings"}
NOT_NEEDED_EXTRAS = {"cuda-toolkit": {"cusolver", "nvtx"}}
TORCH_BYTES, PADDLE_BYTES = 8e9, 2e9  # installed (4.1 and 0.9 GB), and the downloads beside them while pip runs

# Run inside an environment: what the installed torch requires here, less the above, one requirement a line.
REQUIREMENTS_OF_TORCH = """
import importlib.metadata, sys
from pip._vendor.packaging.requirements import Requirement
without, without_extras = %r, %r
for text in importlib.metadata.requires("torch"):
    requirement = Requirement(text)
    if requirement.name in without or requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        continue
    requirement.extras -= without_extras.get(requirement.name, set())
    requirement.marker = None
    print(requirement)
"""

VERSION = {
    "torch": "import re, torch; found = re.search(r'(?:MKL-DNN|oneDNN) v([0-9.]+)', torch.__config__.show()); "
             "print(torch.__version__, found.group(1) if found else '-')",
    "paddle": "import paddle; print(paddle.__version__, '-')",
}


class CannotBeHad(Exception):
    pass


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def run(command, what):
    """The command's output; its last line of errors is the reason if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise CannotBeHad("%s: %s" % (what, error)) from None
    if done.returncode:
        raise CannotBeHad("%s: %s" % (what, last_line(done.stderr or done.stdout)))
    return done.stdout


def version(python, module):
    """(version, oneDNN's version) of a module that an interpreter can import."""
    return last_line(run([python, "-W", "ignore", "-c", VERSION[module]], "importing %s" % module)).split()


def pip(python, *arguments):
    run([python, "-m", "pip", "install", "--quiet", *arguments], "pip install %s" % " ".join(arguments[-3:]))


def install_torch(python, requirement):
    pip(python, "--no-deps", requirement)
    listed = run([python, "-c", REQUIREMENTS_OF_TORCH % (NOT_NEEDED, NOT_NEEDED_EXTRAS)], "what torch requires")
    pip(python, "numpy", *listed.splitlines())
    try:
        version(python, "torch")
    except CannotBeHad:  # a version that needs what was left out
        pip(python, requirement)


def install_paddle(python, requirement):
    pip(python, requirement)


def environment(work, module, requirement, install, space, again):
    """The interpreter of a virtual environment in which the module can be imported."""
    folder = os.path.join(work, module)
    python = os.path.join(folder, "bin", "python")
    if os.path.exists(python) and not again:
        try:
            version(python, module)
            return python
        except CannotBeHad:
            pass  # left half made: made anew
    free = shutil.disk_usage(work).free
    if free < space:
        raise CannotBeHad("%s has %.1f GB free, %.1f are needed" % (work, free / 1e9, space / 1e9))
    run([sys.executable, "-m", "venv", "--clear", folder],
        "making %s (on Debian: apt-get install python3-venv)" % folder)
    install(python, requirement)
    return python


def debian_torch():
    try:
        version(DEBIAN_PYTHON, "torch")
    except CannotBeHad as reason:
        raise CannotBeHad("%s; apt-get install python3-torch" % reason) from None
    return DEBIAN_PYTHON


def peers(given):
    """(kind, name, module, how its interpreter is found); student.py knows the kinds."""
    return (
        ("debian", "PyTorch of Debian", "torch", debian_torch),
        ("wheel", "PyTorch's wheel", "torch", lambda: environment(
            given.work, "torch", given.torch, install_torch, TORCH_BYTES, given.again)),
        ("paddle", "PaddlePaddle's wheel", "paddle", lambda: environment(
            given.work, "paddle", given.paddle, install_paddle, PADDLE_BYTES, given.again)),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=DEFAULT_WORK, help="work folder (default %(default)s)")
    parser.add_argument("--torch", default="torch", help="pip's requirement for PyTorch, for example torch==2.6.0")
    parser.add_argument("--paddle", default="paddlepaddle", help="pip's requirement for PaddlePaddle")
    parser.add_argument("--again", action="store_true", help="make environments anew that are there already")
    given = parser.parse_args()
    os.makedirs(given.work, exist_ok=True)
    found = []
    for kind, name, module, locate in peers(given):
        print("%s ..." % name, end=" ", flush=True)
        try:
            python = locate()
            number, onednn = version(python, module)
        except CannotBeHad as reason:
            print("cannot be had and will not be compared with: %s" % reason)
            continue
        print("%s, %s" % (number, python))
        found.append({"kind": kind, "name": name, "version": number, "onednn": onednn, "python": python,
                      "module": module})
    path = os.path.join(given.work, "peers.json")
    with open(path, "w") as file:
        json.dump(found, file, indent=1)
    print("%d of 3 peers; written to %s" % (len(found), path))
    if not shutil.which("c++") and not shutil.which("g++"):
        print("There is no C++ compiler: torch.compile will not run")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
