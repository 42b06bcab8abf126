"""Remakes all plots of a work directory, or of a sweep, from what was logged: no model, no data.

    python -m infformer_jax.plot --workdir=W
    python -m infformer_jax.plot --workdir=W --against=W2
    python -m infformer_jax.plot --workdir=W --against=W/inspection_NAME

The second also draws which tokens profit in W in comparison with W2, a run with another memory, or another
size of one, that has read the same text with the same tokenizer; the third in comparison with what
`main --mode=eval --name=NAME` has evaluated, such as another size of the memory of W; the other way round,
--workdir=W/inspection_NAME --against=W, it shows what that one is better at. The points of a sweep are work
directories of their own.
"""

import pathlib
from typing import Any

from absl import flags

from infformer_jax.config import command_line
from infformer_jax.config.parsing import Overrides
from infformer_jax.errors import UserError

_WORKDIR = flags.DEFINE_string('workdir', None, 'of a run, or of a sweep', required=True)
_AGAINST = flags.DEFINE_string(
  'against', None, 'the work directory of another run, or an inspection_NAME of an evaluation'
)


def main(overrides: Overrides) -> None:
  """The command line; there are no overrides."""
  del overrides
  from infformer_jax.plotting import workdir as plotting  # A mistake in a flag need not wait for matplotlib.

  workdir = pathlib.Path(_WORKDIR.value)
  if not plotting.draw(workdir):
    missing = 'holds nothing to draw' if workdir.is_dir() else 'is no directory'
    raise UserError(
      f'--workdir = {workdir} {missing}; give a directory in which a run or a sweep has finished'
    )
  if _AGAINST.value is not None:
    other = pathlib.Path(_AGAINST.value)
    mine, theirs = _inspection(workdir), _inspection(other)
    if mine.about['text_sha256'] != theirs.about['text_sha256']:
      raise UserError(
        f'{workdir} and {other} were inspected with other texts, or other tokenizers: their losses cannot be '
        f'compared token by token'
      )
    plotting.draw_against(workdir, mine, other, theirs)
  print(f'the plots are in {workdir / "plots"}')


def _inspection(workdir: pathlib.Path) -> Any:
  from infformer_jax.plotting import workdir as plotting

  found = plotting.load_inspection(workdir)
  if found is None:
    runs = f'; the runs of a sweep are in {workdir / "points"}' if (workdir / 'points').is_dir() else ''
    raise UserError(f'{workdir / "inspection"} is missing: a run writes it when it finishes{runs}')
  return found


if __name__ == '__main__':
  command_line.run(main)
