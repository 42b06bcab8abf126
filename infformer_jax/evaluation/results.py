"""From the loss of every segment to the figures of results.json, in float64 and without the model."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from infformer_jax.data.base import Split
from infformer_jax.evaluation.by_document import document_sums, mean_and_error
from infformer_jax.evaluation.segment_losses import SegmentLosses
from infformer_jax.memory.views import VIEWS
from infformer_jax.results_schema import (
  ByGroup,
  ByPosition,
  Difference,
  PerToken,
  PerTokenAndBeyond,
  Summary,
)

CONTROLS = tuple(view for view in VIEWS if view != 'memory')
POSITION_BINS = 16
NO_CONTROL = 'no two lanes had filled memories at the same time: there is one document, or all are short'
LEFT_OUT = 'segments without this control are left out, and their share of the text is not known'
NO_TEXT = 'the data are not text'
CUT = 'evaluation.max_tokens cuts a document, and the share of its text is not known'


def summarize(
  losses: SegmentLosses,
  split: Split,
  *,
  lossless: bool,
  segment_length: int,
  short_term_length: int,
  absent: Mapping[str, str],
) -> Summary:
  """The figures of results.json that follow from the losses.

  `beyond_reach` is over the segments of a document from index M/l + 1 on, with the short-term length M and
  the segment length l. In the segments before it, every token sees its whole document through the short-term
  window, and a long-term memory of what has left that window is empty.

  Args:
    losses: of 'memory' and of the controls that are not absent.
    split: the documents, whose words and bytes are counted if all of their tokens were evaluated.
    lossless: whether decoding restores the text exactly; only then are bits per byte meaningful.
    segment_length: l, tokens.
    short_term_length: M, tokens.
    absent: by view, why a control was not evaluated.
  Returns:
    The figures that results_schema.py describes.
  """
  reach = short_term_length // segment_length + 1
  beyond_r = losses.segment_r >= reach
  nothing = (
    NO_CONTROL if beyond_r.any() else f'no document is longer than {reach * segment_length} tokens, the reach'
  )
  sizes, unknown = _text_sizes(losses, split)
  results: dict[str, Any] = {
    'num_documents': len(np.unique(losses.document_r)),
    **_field('num_words', sizes and sizes[0], unknown),
    **_field('num_bytes', sizes and sizes[1], unknown),
    'unk_share': float(losses.unk_rg.sum() / losses.tokens_rg.sum()),
    'beyond_reach_from_token': reach * segment_length,
  }

  def per_token(view: str, ok_r: np.ndarray) -> PerTokenAndBeyond:
    beyond = _per_token(losses, view, ok_r & beyond_r) if (ok_r & beyond_r).any() else None
    both = {**_per_token(losses, view, ok_r), **_field('beyond_reach', beyond, nothing)}
    return cast(PerTokenAndBeyond, both)

  for view in VIEWS:
    ok_r = losses.ok_r.get(view, np.zeros(len(beyond_r), bool))
    if not (ok_r & beyond_r if beyond_r.any() else ok_r).any():
      results |= _field(view, None, absent.get(view, NO_CONTROL))
      continue
    text = (sizes, unknown) if ok_r.all() else (None, LEFT_OUT)
    results[view] = {**per_token(view, ok_r), **_per_text(losses, view, *text, lossless)}
    for name, (total, count) in losses.figures.items() if view == 'memory' else ():
      results[view] |= _field(name, total / count if count else None, 'nothing was read from the memory')
    if view in CONTROLS:
      results[view]['num_segments_left_out'] = int((~ok_r).sum())
      results[view]['memory_over_the_same_tokens'] = per_token('memory', ok_r)
  results['memory_minus'] = {}
  for view in CONTROLS:
    has_both = view in losses.ok_r and (losses.ok_r[view] & beyond_r).any()
    difference = _difference(losses, view, beyond_r) if has_both else None
    results['memory_minus'] |= _field(view, difference, absent.get(view, nothing))
  results['by_position'] = _by_position(losses, segment_length, reach)
  results['by_group'] = _by_group(losses, split.groups)
  results['by_document'] = {view: document_sums(losses, view, beyond_r) for view in losses.ok_r}
  return cast(Summary, results)


def metrics(results: Summary) -> dict[str, float | None]:
  """The losses under flat names, for metrics.jsonl; those of a control start with its name."""
  flat: dict[str, float | None] = {}
  views = {'': results['memory'], 'emptied_': results['emptied'], 'exchanged_': results['exchanged']}
  for prefix, figures in views.items():
    if figures:
      flat[f'{prefix}loss_nats_per_token'] = figures['loss_nats_per_token']
      if beyond := figures['beyond_reach']:
        flat[f'{prefix}loss_beyond_reach_nats_per_token'] = beyond['loss_nats_per_token']
      flat[f'{prefix}accuracy'] = figures['accuracy']
  for group, views_of_group in results['by_group'].items():
    flat[f'accuracy_{group}'] = views_of_group['memory']['accuracy']
  memory = results['memory']
  return flat | {
    'perplexity_per_word': memory['perplexity_per_word'],
    'bits_per_byte': memory['bits_per_byte'],
  }


def _field(name: str, value: Any, reason: str = '') -> dict[str, Any]:
  """A figure, or None and the reason."""
  if isinstance(value, float) and not math.isfinite(value):
    value, reason = None, 'not a finite number'
  return {name: value} if value is not None else {name: None, f'{name}_reason': reason}


def _exp(x: float) -> float:
  return math.exp(x) if x < 700 else math.inf


def _per_token(losses: SegmentLosses, view: str, rows_r: np.ndarray) -> PerToken:
  tokens = int(losses.tokens_r[rows_r].sum())
  loss = float(losses.nll_nats_r[view][rows_r].sum() / tokens) if tokens else math.nan
  # Logits that are not finite have no largest one.
  accuracy = float(losses.correct_r[view][rows_r].sum() / tokens) if math.isfinite(loss) else math.nan
  figures = {
    **_field('loss_nats_per_token', loss),
    **_field('perplexity_per_token', _exp(loss)),
    **_field('accuracy', accuracy),
    'num_tokens': tokens,
  }
  return cast(PerToken, figures)


Sizes = tuple[int, int]
"""Words and bytes of the evaluated text."""


def _text_sizes(losses: SegmentLosses, split: Split) -> tuple[Sizes | None, str]:
  """The sizes, or None and the reason why they are not known."""
  tokens = np.bincount(losses.document_r, weights=losses.tokens_r, minlength=len(split))
  read = np.flatnonzero(tokens)
  sizes = split.text_sizes(read)
  if sizes is None:
    return None, NO_TEXT
  return (None, CUT) if (tokens[read] != split.lengths[read]).any() else (sizes, '')


def _per_text(
  losses: SegmentLosses, view: str, sizes: Sizes | None, unknown: str, lossless: bool
) -> dict[str, Any]:
  nats, (words, num_bytes) = float(losses.nll_nats_r[view].sum()), sizes or (0, 0)
  unk = int(losses.unk_rg.sum())
  fields: dict[str, Any] = {}
  for name, value, reason in (
    ('perplexity_per_word', _exp(nats / words) if words else None, 'the text has no words'),
    (
      'bits_per_byte',
      nats / math.log(2) / num_bytes if num_bytes and lossless else None,
      'the tokenizer loses text',
    ),
  ):
    if unk and value is not None:
      share = f'{unk:,} of {losses.tokens_rg.sum():,} targets are <unk>'
      value, reason = None, f'{share}, whose text is not predicted; the value is at least {value:.4g}'
    fields |= _field(name, value, unknown or reason)
  return fields


def _difference(losses: SegmentLosses, view: str, rows_r: np.ndarray) -> Difference:
  """Loss with the memory minus loss with the control, over the same tokens, paired by document."""
  rows_r = rows_r & losses.ok_r[view]
  _, document_r = np.unique(losses.document_r[rows_r], return_inverse=True)
  nats_r = losses.nll_nats_r['memory'][rows_r] - losses.nll_nats_r[view][rows_r]
  nats = np.bincount(document_r, weights=nats_r)
  tokens = np.bincount(document_r, weights=losses.tokens_r[rows_r])
  mean, error = mean_and_error(nats, tokens)
  figures = {
    **_field('nats_per_token', mean),
    **_field('standard_error', error, 'only one document'),
    'num_documents': len(nats),
    'num_documents_with_lower_loss': int((nats < 0).sum()),
  }
  return cast(Difference, figures)


def _by_group(losses: SegmentLosses, groups: Sequence[str]) -> ByGroup:
  if tuple(groups) == ('all',):
    return {}
  by_group: ByGroup = {}
  for index, group in enumerate(groups):
    alone = losses.of_group(index)
    by_group[group] = {view: _per_token(alone, view, ok_r) for view, ok_r in alone.ok_r.items()}
  return by_group


def _by_position(losses: SegmentLosses, segment_length: int, reach: int) -> ByPosition:
  """Loss and paired differences over logarithmic bins of whole segments; the reach is an edge of a bin."""
  num_segments = int(losses.segment_r.max()) + 1
  edges = np.rint(np.geomspace(1, num_segments, POSITION_BINS)).astype(int).tolist()
  edges = sorted({0, *edges, min(reach, num_segments)})
  bins = [(a <= losses.segment_r) & (losses.segment_r < b) for a, b in itertools.pairwise(edges)]
  views = [view for view in VIEWS if view in losses.ok_r]
  by_position: ByPosition = {
    'start_tokens': [edge * segment_length for edge in edges[:-1]],
    'stop_tokens': [edge * segment_length for edge in edges[1:]],
    'num_tokens': [int(losses.tokens_r[rows_r].sum()) for rows_r in bins],
    'num_documents': [len(np.unique(losses.document_r[rows_r])) for rows_r in bins],
    'loss_nats_per_token': {
      view: [_per_token(losses, view, rows_r & losses.ok_r[view])['loss_nats_per_token'] for rows_r in bins]
      for view in views
    },
    'memory_minus': {},
  }
  for view in views[1:]:
    ok_r = losses.ok_r[view]
    pairs = [_difference(losses, view, rows_r) if (rows_r & ok_r).any() else None for rows_r in bins]
    by_position['memory_minus'][view] = {
      'nats_per_token': [pair and pair['nats_per_token'] for pair in pairs],
      'standard_error': [pair and pair['standard_error'] for pair in pairs],
    }
  return by_position
