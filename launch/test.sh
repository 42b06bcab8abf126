#!/usr/bin/env bash
# Creates .venv, installs the test extra and runs the tests: first those in float32, then, in a separate process,
# those in float64. Arguments are passed to both, e.g. `launch/test.sh -m slow` or `launch/test.sh -k lanes -x`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/venv.sh
make_venv
install_package test

# With arguments, one of the two may select no tests (pytest's exit code 5).
run() { "$@" || { local status=$?; ((status == 5 && arguments)) || return "$status"; }; }
arguments=$#
failed=0
# The tests of a file share compiled functions, so a file stays with one worker; tests/conftest.py orders the files.
pytest=(.venv/bin/python -m pytest -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder)
run "${pytest[@]}" "$@" || failed=1
JAX_ENABLE_X64=1 run "${pytest[@]}" tests/x64 "$@" || failed=1
exit $failed
