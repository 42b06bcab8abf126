"""Checks files of golden values: `python -m tests.golden FILE.npz ...`.

Prints the largest error of each quantity, relative to the largest absolute value of its array. The exit
status is 1 if an error exceeds the tolerance, else 2 if nothing in a file is covered, else 0.
"""

import os
import sys

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax

from tests import golden
from tests.golden.check import check_file


def main(paths: list[str]) -> int:
  """Checks the files and returns the exit status."""
  jax.config.update('jax_enable_x64', True)
  if not paths:
    print('usage: python -m tests.golden FILE.npz ...')
    return 2
  statuses = {check_file(path, tolerance=golden.TOLERANCE) for path in paths}
  return 1 if 1 in statuses else max(statuses)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
