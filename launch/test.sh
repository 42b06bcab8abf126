#!/usr/bin/env bash
# Makes .venv, installs the test extra and runs the tests: first those in float32, then, in a process of their
# own, those in float64. Arguments go to both, e.g. `launch/test.sh -m slow` or `launch/test.sh -k lanes -x`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/venv.sh
make_venv
install_package test

# With arguments one of the two may have nothing to run (pytest's exit code 5).
run() { "$@" || { local status=$?; ((status == 5 && arguments)) || return "$status"; }; }
arguments=$#
failed=0
# A file's tests share what they compile, so a file stays with one worker.
pytest=(.venv/bin/python -m pytest -n auto --maxprocesses=4 --dist=loadfile)
run "${pytest[@]}" "$@" || failed=1
JAX_ENABLE_X64=1 run "${pytest[@]}" tests/x64 "$@" || failed=1
exit $failed
