# SPDX-License-Identifier: BSD-2-Clause
"""`pip install ./python` gives a package that works, without a network and without a compiler.

Environment: SSLD_LIBRARY, the shared library.
"""

from tap import Skip, check, check_equal, main, test

import importlib.util
import os
import shutil
import subprocess
import sys

import interface
from helper import folder


@test
def package_installs_with_pip_and_imports():
    missing = [name for name in ("pip", "setuptools", "wheel") if importlib.util.find_spec(name) is None]
    if missing:
        raise Skip("this Python has no %s" % ", ".join(missing))
    with folder() as path:
        # A copy: setuptools builds beside its sources.
        shutil.copytree(os.path.join(interface.ROOT, "python"), path + "/python",
                        ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
        run = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
                              "--no-build-isolation", "--disable-pip-version-check", "--root-user-action=ignore",
                              "--target", path + "/site", path + "/python"], capture_output=True, text=True)
        check(run.returncode == 0, "pip: %s%s", run.stdout, run.stderr)
        code = "import ssld; print(ssld.__file__); print(ssld.__version__); print(ssld.Context(threads=2).threads)"
        environment = dict(os.environ, PYTHONPATH=path + "/site")
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=path)
        check(run.returncode == 0, "import: %s", run.stderr)
        versions = interface.constants()
        version = "%d.%d.%d" % tuple(versions["SSLD_VERSION_" + part] for part in ("MAJOR", "MINOR", "PATCH"))
        check_equal(run.stdout.splitlines(), [path + "/site/ssld/__init__.py", version, "2"], "what the package says")


main()
