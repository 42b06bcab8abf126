"""All plots of a work directory from what was logged there: metrics.jsonl, results.json, inspection/.

A run draws with these very functions, so that plot.py gives the same files.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from infformer_jax.plotting import ablation, held_spans, losses, memory, profit, retrieved_ages


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
  """What W/inspection holds: see evaluation/inspection.py and document_record.py."""

  about: Mapping[str, Any]
  arrays: Mapping[str, Mapping[str, np.ndarray]]

  def of(self, what: str) -> Mapping[str, np.ndarray]:
    """By layer or view; {} where there is nothing."""
    return self.arrays.get(what, {})


def load_inspection(workdir: Path) -> Inspection | None:
  """What a finished run has kept, or what an inspection's own folder holds; None where there is none."""
  folder = workdir if (workdir / 'about.json').is_file() else workdir / 'inspection'
  if not (folder / 'about.json').is_file():
    return None
  arrays: dict[str, dict[str, np.ndarray]] = {}
  with np.load(folder / 'arrays.npz') as flat:
    for key in flat.files:
      what, _, name = key.partition('/')
      arrays.setdefault(what, {})[name] = flat[key]
  return Inspection(about=json.loads((folder / 'about.json').read_text(encoding='utf-8')), arrays=arrays)


def draw(workdir: Path) -> bool:
  """Draws whatever there is to draw, into W/plots; False where there is nothing."""
  plots, found = workdir / 'plots', draw_training(workdir)
  if (results := _json(workdir / 'results.json')) is not None:
    found = True
    _draw_results(results, plots)
  if (inspection := load_inspection(workdir)) is not None:
    found = True
    _draw_inspection(inspection, plots)
  if (sweep := _json(workdir / 'ablation.json')) is not None:
    found = True
    ablation.sweep(sweep, workdir)
  return found


def draw_training(workdir: Path) -> bool:
  """Draws the curves of training alone; False where nothing was logged."""
  return losses.loss_curves(losses.logged(workdir), workdir / 'plots' / 'loss.png') is not None


def draw_against(workdir: Path, mine: Inspection, other: Path, theirs: Inspection) -> None:
  """Draws which tokens profit in comparison with another run that has read the same text."""
  memories = [dict(_leaves(each.about.get('memory', {}))) for each in (mine, theirs)]  # Older ones have none.
  profit.profit(
    mine.of('nll_t')['memory'],
    theirs.of('nll_t')['memory'],
    mine.of('counts_t')['targets'],
    mine.about['pieces'],
    mine.of('held_th'),
    names=(_name(workdir, other, *memories), _name(other, workdir, *memories[::-1])),
    path=workdir / 'plots' / f'profit_against_{other.resolve().name}.png',
  )


def _draw_results(results: Mapping[str, Any], plots: Path) -> None:
  by_position = results['by_position']
  if (
    sum(count > 0 for count in by_position['num_tokens']) > 1
  ):  # The answers of a task may have one position.
    losses.loss_by_position(by_position, results['beyond_reach_from_token'], plots / 'loss_by_position.png')
  if results['by_group']:
    losses.accuracy_by_group(results['by_group'], plots / 'accuracy_by_group.png')


def _draw_inspection(inspection: Inspection, plots: Path) -> None:
  of, pieces = inspection.of, inspection.about['pieces']
  if densities := of('density_shj'):
    memory.where_layers_read(
      {n: a.mean(axis=1) for n, a in densities.items()}, plots / 'where_layers_read.png'
    )
    for name, density_shj in densities.items():
      slug = name.replace(', ', '_').replace(' ', '_')
      memory.where_heads_read(name, density_shj, plots / f'where_heads_read_{slug}.png')
  if histograms := of('histogram_sj'):
    memory.sticky_histogram(histograms, plots / 'sticky_histogram.png')
  if shares := of('share_mt'):
    held_spans.held(shares, of('even_share_mt'), of('moment_m'), pieces, plots / 'held_spans.png')
  if retrieved := of('retrieved_a'):
    retrieved_ages.ages(retrieved, of('expected_a'), of('held_th'), plots / 'retrieved_ages.png')
  if 'emptied' in of('nll_t'):
    profit.profit(
      of('nll_t')['memory'],
      of('nll_t')['emptied'],
      of('counts_t')['targets'],
      pieces,
      of('held_th'),
      names=('the memory', 'it emptied'),
      path=plots / 'profit.png',
    )
  for part, times_t in of('basis_times_t').items():
    memory.basis(times_t, of('basis_tn')[part].astype(float), plots / f'{part}basis.png')
    fits: list[dict[str, Any]] = []
    while f'fit{len(fits)}_title' in inspection.arrays:
      keys = ('times_p', 'values_p', 'times_t', 'signal_t')
      fit: dict[str, Any] = {key: of(f'fit{len(fits)}_{key}')[part] for key in keys}
      fits.append(fit | {'title': str(of(f'fit{len(fits)}_title')[part])})
    memory.reconstruction(fits, plots / f'{part}reconstruction.png')


def _name(folder: Path, other: Path, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
  """A run in the words of a comparison: its directory, and how its memory, by dotted keys, differs."""
  name = folder.resolve().name
  if name == other.resolve().name:
    name = str(folder)
  changed = [key for key in mine if key in theirs and mine[key] != theirs[key]]
  differences = [mine['kind']] if 'kind' in changed else [f'{key} {mine[key]}' for key in changed[:3]]
  return f'{name} ({", ".join(differences)})' if differences else name


def _leaves(values: Mapping[str, Any], path: str = '') -> Iterator[tuple[str, Any]]:
  """The values of nested sections, by dotted keys."""
  for key, value in values.items():
    if isinstance(value, Mapping):
      yield from _leaves(value, f'{path}{key}.')
    else:
      yield f'{path}{key}', value


def _json(file: Path) -> Any:
  """What a file holds; None where there is none."""
  return json.loads(file.read_text(encoding='utf-8')) if file.is_file() else None
