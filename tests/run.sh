#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Installs what is missing, builds, runs every test. The last line is "N passed, N failed"; exit code 1 if any failed.
#
#   sh tests/run.sh [arguments of `meson test`, for example --suite abi]
#
#   BUILD                build folder (default: build-tests in the checkout)
#   SSLD_TEST_OPTIONS    options of `meson setup`, for example "-Db_sanitize=address,undefined -Db_lundef=false"
#   SSLD_TEST_TORCH=1    install python3-torch too, for the comparisons with PyTorch
#   CC                   the compiler
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$top/build-tests}
options=${SSLD_TEST_OPTIONS:-}

to_build="gcc g++ meson ninja-build pkg-config libdnnl-dev libjpeg62-turbo-dev libpng-dev libzstd-dev libprotobuf-c-dev
    protobuf-c-compiler libxxhash-dev zlib1g-dev"
to_test="python3 python3-numpy python3-pil python3-pip python3-setuptools python3-wheel zstd dataset-fashion-mnist
    libonnx-testdata"
[ "${SSLD_TEST_TORCH:-0}" = 1 ] && to_test="$to_test python3-torch"

# What went wrong before any test could run counts as one failure.
give_up() {
    echo "tests/run.sh: $1" >&2
    echo "0 passed, 1 failed"
    exit 1
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_missing() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        echo "Not a Debian system: these packages, or what they are called here, must be installed:" $to_build $to_test
        return
    fi
    missing=
    for package in $to_build $to_test; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || give_up "not root and no sudo; install first:$missing"
        as_root=sudo
    fi
    echo "Installing:$missing"
    $as_root apt-get update -qq || give_up "apt-get update failed"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 \
        $missing >/dev/null || give_up "apt-get could not install:$missing"
}

install_missing

mkdir -p "$build" || give_up "$build: no such folder can be made"
again=
[ -f "$build/build.ninja" ] && again=--reconfigure
meson setup $again "$build" "$top" -Dwerror=true $options >"$build/setup.txt" 2>&1 ||
    { cat "$build/setup.txt"; give_up "meson setup failed"; }
ninja -C "$build" || give_up "the build failed"

# A test's threads sleep while they wait, or the tests that run beside it would crawl.
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY
# Sanitizers: a program stops at its first report, and leaks are reports.
UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
ASAN_OPTIONS=${ASAN_OPTIONS:-halt_on_error=1:abort_on_error=1:detect_leaks=1}
export UBSAN_OPTIONS ASAN_OPTIONS
case $options in
*sanitize*) patience=6 ;;
*) patience=2 ;;
esac

rm -f "$build/meson-logs/testlog.json"
meson test -C "$build" --num-processes "$(nproc)" --timeout-multiplier "$patience" "$@"
python3 "$top/tests/count.py" "$build"
