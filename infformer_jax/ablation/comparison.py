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

from infformer_jax.ablation.student_t import critical_value
from infformer_jax.evaluation.by_document import mean_and_error
from infformer_jax.results_schema import Comparison, Measure, NamedFigures, PointFigures

LOSSES: dict[Measure, tuple[str, str, str]] = {
  'loss_nats_per_token': ('nats', 'num_tokens', ''),
  'loss_beyond_reach_nats_per_token': ('nats_beyond_reach', 'num_tokens_beyond_reach', ' beyond the reach'),
}
"""The lists in `by_document` that make a loss, and which tokens these are."""

LEVEL = 0.05
"""The two-sided level of the test of a ceiling, for all exact windows together: if they change nothing, the
best one has a significant gain in at most half as many sweeps."""

Seeds = Mapping[int, NamedFigures]


def comparisons(runs: Sequence[NamedFigures]) -> list[Comparison]:
  """Compares every setting that has a memory with the one without that has the same value on the other axis.

  The *ceiling* is the exact window (`recent`) with the largest gain. Other memories are judged by the share
  of its gain that they recover, if this gain is significant: else neither these data nor this length of
  training can show what a memory is worth.

  It is significant if it is larger than t standard errors over seeds and than t standard errors over
  documents. Here, t is the two-sided 95 % quantile of Student's distribution, with one degree of freedom less
  than there are seeds, or documents. The level of 5 % is divided by the number of windows, since the largest
  gain was selected among them (Bonferroni). A single seed is not enough. An accuracy and a single document
  have no error over documents: then seeds alone decide.

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
  """The larger of the two standard errors; None for a single seed, whose error is not known.

  It is a lower bound of the error for other seeds and other documents, to which both contribute.
  """
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
    'significant_gain': None,
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


def _losses(
  nats: str, tokens: str, where: str, pairs: Sequence[tuple[PointFigures, PointFigures]]
) -> dict[str, Any]:
  """The paired difference of two losses; s are seeds and i are documents."""
  sums = [cast(tuple[dict, dict], (a['by_document'], b['by_document'])) for a, b in pairs]
  if _differ(run[tokens] for pair in sums for run in pair):
    return {'difference_reason': f'the runs do not have the same tokens{where}'}
  tokens_i = np.array(sums[0][0][tokens])
  read_i = tokens_i > 0
  if not read_i.any():
    return {'difference_reason': f'no document has tokens{where}'}
  nats_si = np.array([np.array(a[nats], float) - np.array(b[nats], float) for a, b in sums])
  if not np.isfinite(nats_si).all():
    return {'difference_reason': 'a loss is not a finite number'}
  _, over_documents = mean_and_error(nats_si.mean(axis=0)[read_i], tokens_i[read_i])
  return {
    **_over_seeds((nats_si.sum(axis=1) / tokens_i.sum()).tolist()),
    'standard_error_over_documents': over_documents,
    'num_documents': int(read_i.sum()),
  }


def _significant_gain(ceiling: Comparison, num_windows: int) -> float | None:
  """What the gain of the best of several windows must exceed; None for one seed."""
  over_seeds, over_documents = ceiling['standard_error_over_seeds'], ceiling['standard_error_over_documents']
  if over_seeds is None:
    return None
  required = over_seeds * critical_value(LEVEL / num_windows, ceiling['num_seeds'] - 1)
  if over_documents is None or ceiling['num_documents'] is None:
    return required
  return max(required, over_documents * critical_value(LEVEL / num_windows, ceiling['num_documents'] - 1))


def _add_shares(entries: Sequence[Comparison]) -> None:
  """Marks the ceiling of entries with one measure and one setting without a memory, and adds the shares."""
  recent = [entry for entry in entries if entry['memory_kind'] == 'recent']
  windows = [(g, entry) for entry in recent if (g := gain(entry)) is not None]
  highest, ceiling = max(windows, key=lambda pair: pair[0], default=(0.0, None))
  reason = ''
  if not recent:
    reason = "no setting has memory.kind = 'recent'"
  elif ceiling is None:
    reason = 'no exact window can be compared'
  else:
    ceiling['is_ceiling'] = True
    ceiling['significant_gain'] = required = _significant_gain(ceiling, len(windows))
    if required is None:
      reason = 'the ceiling has one seed'
    elif not highest > required:
      reason = 'the ceiling gains nothing significant'
  for entry in entries:
    own = gain(entry)
    if reason or own is None:
      entry['share_of_ceiling_reason'] = reason or entry['difference_reason']
    else:
      entry['share_of_ceiling'] = own / highest
