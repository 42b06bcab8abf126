"""All plots of a work directory, from its metrics.jsonl, results.json, inspection/ and ablation.json.

Training, evaluation and plot.py use these functions.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from infformer_jax.files import read_json
from infformer_jax.plotting import ablation, held_spans, losses, memory, profit, retrieved_ages
from infformer_jax.records import ABOUT, Inspection
from infformer_jax.results_schema import Results, Sweep

_DRAWN_RESULTS = ('by_position', 'beyond_reach_from_token', 'by_group')


def load_inspection(workdir: epath.Path) -> Inspection | None:
  """The inspection in W/inspection, or in the folder itself if that is one; None if there is none.

  Raises:
    UserError: it is damaged, or another version of the package wrote it.
  """
  folder = workdir if (workdir / ABOUT).exists() else workdir / 'inspection'
  return Inspection.load(folder) if (folder / ABOUT).exists() else None


def draw(workdir: epath.Path) -> bool:
  """Draws the available plots into W/plots; False if there are none."""
  plots, drawn = workdir / 'plots', draw_training(workdir)
  if (results := _json(workdir / 'results.json', _DRAWN_RESULTS)) is not None:
    drawn = True
    _draw_results(results, plots)
  if (inspection := load_inspection(workdir)) is not None:
    drawn = True
    _draw_inspection(inspection, plots)
  if (sweep := _json(workdir / 'ablation.json', Sweep.__required_keys__)) is not None:
    drawn = True
    ablation.sweep(sweep, workdir)
  return drawn


def draw_training(workdir: epath.Path) -> bool:
  """Draws only the curves of training; False if no losses were logged."""
  return losses.loss_curves(losses.logged(workdir), workdir / 'plots' / 'loss.png') is not None


def draw_against(workdir: epath.Path, mine: Inspection, other: epath.Path, theirs: Inspection) -> None:
  """Draws the tokens with a lower loss than in another run on the same text."""
  memories = [dict(_leaves(each.memory)) for each in (mine, theirs)]
  profit.profit(
    mine.record.nll_t,
    theirs.record.nll_t,
    mine.record.counts_t,
    mine.pieces,
    mine.record.held_th,
    names=(_name(workdir, other, *memories), _name(other, workdir, *memories[::-1])),
    path=workdir / 'plots' / f'profit_against_{other.resolve().name}.png',
  )


def _draw_results(results: Results, plots: epath.Path) -> None:
  by_position = results['by_position']
  # The answers of a task may all have one position.
  if sum(count > 0 for count in by_position['num_tokens']) > 1:
    losses.loss_by_position(by_position, results['beyond_reach_from_token'], plots / 'loss_by_position.png')
  if results['by_group']:
    losses.accuracy_by_group(results['by_group'], plots / 'accuracy_by_group.png')


def _draw_inspection(inspection: Inspection, plots: epath.Path) -> None:
  record, pieces = inspection.record, inspection.pieces
  continuous = record.continuous
  age_se = {name: each.age_se for name, each in continuous.items()}
  if continuous:
    memory.where_layers_read(
      {name: each.density_shj.mean(axis=1) for name, each in continuous.items()},
      age_se,
      plots / 'where_layers_read.png',
    )
  for name, each in continuous.items():
    slug = name.replace(', ', '_').replace(' ', '_')
    memory.where_heads_read(name, each.density_shj, each.age_se, plots / f'where_heads_read_{slug}.png')
  histograms = {n: each.histogram_sj for n, each in continuous.items() if each.histogram_sj is not None}
  if histograms:
    memory.sticky_histogram(histograms, age_se, plots / 'sticky_histogram.png')
  shares = {name: each.shares for name, each in continuous.items() if each.shares is not None}
  if shares:
    held_spans.held(shares, pieces, plots / 'held_spans.png')
  if record.neighbours:
    retrieved_ages.ages(record.neighbours, plots / 'retrieved_ages.png')
  if record.emptied_nll_t is not None:
    profit.profit(
      record.nll_t,
      record.emptied_nll_t,
      record.counts_t,
      pieces,
      record.held_th,
      names=('the memory', 'the memory emptied'),
      path=plots / 'profit.png',
    )
  for place, signal in inspection.signals.items():
    memory.basis(signal, plots / f'{place}basis.png')
    memory.reconstruction(signal, plots / f'{place}reconstruction.png')


def _name(folder: epath.Path, other: epath.Path, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
  """The name of a run in a comparison: its directory, and the settings of its memory that differ."""
  name = folder.resolve().name
  if name == other.resolve().name:
    name = str(folder)
  changed = [key for key in mine if key in theirs and mine[key] != theirs[key]]
  differences = [mine['kind']] if 'kind' in changed else [f'{key} {mine[key]}' for key in changed[:3]]
  return f'{name} ({", ".join(differences)})' if differences else name


def _leaves(values: Mapping[str, Any], path: str = '') -> Iterator[tuple[str, Any]]:
  """The values of nested sections by dotted keys."""
  for key, value in values.items():
    if isinstance(value, Mapping):
      yield from _leaves(value, f'{path}{key}.')
    else:
      yield f'{path}{key}', value


def _json(file: epath.Path, keys: Iterable[str]) -> Any:
  """The content of a file, which has these keys; None if there is no such file."""
  return read_json(file, dict.fromkeys(keys, object)) if file.exists() else None
