"""Draws all plots of a work directory, or of a sweep, from its logs: without the model and the data.

    python -m infformer_jax.plot --workdir=W
    python -m infformer_jax.plot --workdir=W --against=W2
    python -m infformer_jax.plot --workdir=W --against=W/inspection_NAME

The second command also shows which tokens have a lower loss in W than in W2, a run with another memory, or
with another size of it, that has read the same text with the same tokenizer. The third compares W with what
`main --mode=eval --name=NAME` has evaluated, for example with another size of the memory of W; with
--workdir=W/inspection_NAME --against=W it shows the tokens for which that evaluation is better. The points of
a sweep have work directories of their own.
"""

from absl import flags
from etils import epath

from infformer_jax import paths
from infformer_jax.config import command_line
from infformer_jax.config.parsing import Overrides
from infformer_jax.errors import UserError
from infformer_jax.records import Inspection

_WORKDIR = flags.DEFINE_string('workdir', None, 'of a run, or of a sweep', required=True)
_AGAINST = flags.DEFINE_string(
  'against', None, 'the work directory of another run, or an inspection_NAME of an evaluation'
)


def main(overrides: Overrides) -> None:
  """The command line; there are no overrides."""
  del overrides
  workdir = command_line.path(_WORKDIR)
  try:
    _draw(workdir)
  except OSError as error:
    file = error.filename2 or error.filename or workdir
    raise UserError(f'cannot use {file}: {paths.reason(error)}; correct this') from None
  print(f'the plots are in {workdir / "plots"}')


def _draw(workdir: epath.Path) -> None:
  from infformer_jax.plotting import workdir as plotting  # Here, since matplotlib takes seconds to import.

  if not plotting.draw(workdir):
    problem = 'has no data for plots' if workdir.is_dir() else 'is not a directory'
    raise UserError(f'--workdir = {workdir} {problem}; give the directory of a finished run or sweep')
  if _AGAINST.value is not None:
    other = command_line.path(_AGAINST)
    mine, theirs = _inspection('workdir', workdir), _inspection('against', other)
    if mine.text_sha256 != theirs.text_sha256:
      raise UserError(
        f'--against = {other} was inspected with another text or tokenizer than --workdir = {workdir}; '
        'use two runs with the same evaluation data and tokenizer'
      )
    plotting.draw_against(workdir, mine, other, theirs)


def _inspection(flag: str, workdir: epath.Path) -> Inspection:
  from infformer_jax.plotting import workdir as plotting

  found = plotting.load_inspection(workdir)
  if found is None:
    points = workdir / 'points'
    runs = f'; the runs of a sweep are in {points}' if points.is_dir() else ''
    raise UserError(f'--{flag} = {workdir} has no inspection; a run writes it when it finishes{runs}')
  return found


if __name__ == '__main__':
  command_line.run(main)
