"""Every setting of a sweep against the one without a memory, and against exact windows.

Runs of one seed start from the same parameters and read the same documents in the same order, so that their
difference varies less than their losses. It is averaged over seeds, with the standard error over seeds and,
since all runs are evaluated on the same documents, the standard error over documents.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from infformer_jax.evaluation.by_document import mean_and_error
from infformer_jax.results_schema import Comparison, Measure, NamedFigures, PointFigures

LOSSES: dict[Measure, tuple[str, str]] = {
  'loss_nats_per_token': ('nats', 'num_tokens'),
  'loss_beyond_reach_nats_per_token': ('nats_beyond_reach', 'num_tokens_beyond_reach'),
}
"""The lists in `by_document` that make a loss."""

Seeds = Mapping[int, NamedFigures]


def comparisons(runs: Sequence[NamedFigures]) -> list[Comparison]:
  """Compares every setting that has a memory with the one without that has the same value on the other axis.

  The *ceiling* is the exact window (`recent`) with the largest gain. Other memories are judged by the share
  of its gain that they recover, if it is larger than two of its standard errors: else neither these data nor
  this length of training can show what a memory is worth.

  Args:
    runs: finished ones, in the order of the grid, all with `by_document`.
  Returns:
    For every measure, an entry per setting; none where no setting lacks a memory.
  """
  settings: dict[tuple[str, ...], dict[int, NamedFigures]] = {}
  for run in runs:
    settings.setdefault(tuple(run['values']), {})[run['seed']] = run
  pairs = [(values, _without_memory(values, settings)) for values in settings]
  is_task = any(run['is_task'] for run in runs)
  measures: tuple[Measure, ...] = ('accuracy', 'loss_nats_per_token') if is_task else tuple(LOSSES)
  found = []
  for measure in measures:
    entries = [
      _compared(measure, values, none, settings[values], settings[none]) for values, none in pairs if none
    ]
    for none in dict.fromkeys(tuple(entry['minus']) for entry in entries):
      _add_shares([entry for entry in entries if tuple(entry['minus']) == none])
    found += entries
  return found


def gain(entry: Comparison) -> float | None:
  """By how much the setting is better than the one without a memory; negative if it is worse."""
  difference = entry['difference']
  return difference if difference is None or entry['measure'] == 'accuracy' else -difference


def error(entry: Comparison) -> float | None:
  """The larger of the two standard errors; None for a single seed, whose error is not known."""
  errors = entry['standard_error_over_seeds'], entry['standard_error_over_documents'] or 0.0
  return None if errors[0] is None else max(errors[0], errors[1])


def _kind(seeds: Seeds) -> str:
  return next(iter(seeds.values()))['memory_kind']


def _without_memory(values: tuple[str, ...], settings: Mapping[tuple[str, ...], Seeds]) -> tuple[str, ...]:
  """The setting without a memory that differs in one axis; () for a setting that has none itself."""
  if _kind(settings[values]) == 'none':
    return ()
  for other, seeds in settings.items():
    different = sum(a != b for a, b in zip(values, other, strict=True))
    if _kind(seeds) == 'none' and different == 1:
      return other
  return ()


def _compared(
  measure: Measure, values: tuple[str, ...], none: tuple[str, ...], mine: Seeds, theirs: Seeds
) -> Comparison:
  """One entry, without its share of the ceiling."""
  seeds = sorted(mine.keys() & theirs.keys())
  pairs = [(mine[seed], theirs[seed]) for seed in seeds]
  entry: dict[str, Any] = {
    'measure': measure,
    'values': list(values),
    'minus': list(none),
    'memory_kind': _kind(mine),
    'num_seeds': len(seeds),
    'num_documents': None,
    'difference': None,
    'standard_error_over_seeds': None,
    'standard_error_over_documents': None,
    'is_ceiling': False,
    'share_of_ceiling': None,
  }
  if not pairs:
    entry['difference_reason'] = 'no seed is finished in both settings'
  elif _differ(run['measured_on'] for pair in pairs for run in pair):
    entry['difference_reason'] = 'the runs were evaluated on different texts'
  elif measure == 'accuracy':
    accuracies = [[run['accuracy'] for run in pair] for pair in pairs]
    differences = [a - b for a, b in accuracies if a is not None and b is not None]
    if len(differences) < len(pairs):
      entry['difference_reason'] = 'a run has no accuracy'
    else:
      entry |= _over_seeds(differences)
  else:
    entry |= _losses(*LOSSES[measure], pairs)
  return cast(Comparison, entry)


def _differ(values: Iterable[Any]) -> bool:
  first, *others = values
  return any(other != first for other in others)


def _over_seeds(differences: Sequence[float]) -> dict[str, float | None]:
  num = len(differences)
  spread = statistics.stdev(differences) / math.sqrt(num) if num > 1 else None
  return {'difference': statistics.fmean(differences), 'standard_error_over_seeds': spread}


def _losses(nats: str, tokens: str, pairs: Sequence[tuple[PointFigures, PointFigures]]) -> dict[str, Any]:
  """The paired difference of two losses; s are seeds and i are documents."""
  sums = [cast(tuple[dict, dict], (a['by_document'], b['by_document'])) for a, b in pairs]
  if _differ(run[tokens] for pair in sums for run in pair):
    return {'difference_reason': 'the runs do not have the same tokens beyond the reach'}
  tokens_i = np.array(sums[0][0][tokens])
  read_i = tokens_i > 0
  if not read_i.any():
    return {'difference_reason': 'no document is longer than the reach'}
  nats_si = np.array([np.array(a[nats], float) - np.array(b[nats], float) for a, b in sums])
  if not np.isfinite(nats_si).all():
    return {'difference_reason': 'a loss is not a finite number'}
  _, over_documents = mean_and_error(nats_si.mean(axis=0)[read_i], tokens_i[read_i])
  return {
    **_over_seeds((nats_si.sum(axis=1) / tokens_i.sum()).tolist()),
    'standard_error_over_documents': over_documents,
    'num_documents': int(read_i.sum()),
  }


def _add_shares(entries: Sequence[Comparison]) -> None:
  """Marks the ceiling of entries with one measure and one setting without a memory, and adds the shares."""
  windows = [
    (g, entry) for entry in entries if entry['memory_kind'] == 'recent' and (g := gain(entry)) is not None
  ]
  highest, ceiling = max(windows, key=lambda pair: pair[0], default=(0.0, None))
  reason = ''
  if ceiling is None:
    reason = "no setting has memory.kind = 'recent'"
  else:
    ceiling['is_ceiling'] = True
    if (uncertain := error(ceiling)) is None:
      reason = 'the ceiling has one seed'
    elif not highest > 2 * uncertain:
      reason = 'the ceiling gains nothing significant'
  for entry in entries:
    own = gain(entry)
    if reason or own is None:
      entry['share_of_ceiling_reason'] = reason or entry['difference_reason']
    else:
      entry['share_of_ceiling'] = own / highest
