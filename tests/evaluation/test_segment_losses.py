"""Losses per segment, independent of steps and lanes."""

import numpy as np

from infformer_jax.evaluation.segment_losses import joined

VIEWS = ('memory', 'emptied')


def step(document_bs, segment_bs, tokens_bs, recall=None):
  """The result of one step; a loss is 10 · document + segment, and twice that with the control."""
  document_bs, segment_bs = np.array(document_bs), np.array(segment_bs)
  nats_bsg = np.stack([10.0 * document_bs + segment_bs, np.zeros(document_bs.shape)], -1)
  tokens_bsg = np.stack([np.array(tokens_bs), np.zeros_like(tokens_bs)], -1)
  common = {'document': document_bs, 'segment': segment_bs, 'tokens': tokens_bsg, 'correct': tokens_bsg}
  common |= {'unk': np.minimum(tokens_bsg, 1), 'ok': np.ones(document_bs.shape, bool)}
  figures = {} if recall is None else {'recall': tuple(np.float32(value) for value in recall)}
  return {
    'memory': common | {'nll_nats': nats_bsg, 'figures': figures},
    'emptied': common | {'nll_nats': 2 * nats_bsg},
  }


def test_rows_are_ordered_by_document_and_segment_without_idle_ones():
  steps = [
    step([[1, 1], [0, 2]], [[0, 1], [0, 0]], [[4, 2], [3, 4]]),
    step([[2, -1], [0, -1]], [[1, -1], [1, -1]], [[4, 0], [4, 0]]),
  ]
  losses = joined(steps, VIEWS)
  rows = list(zip(losses.document_r, losses.segment_r, losses.tokens_r, strict=True))
  assert rows == [(0, 0, 3), (0, 1, 4), (1, 0, 4), (1, 1, 2), (2, 0, 4), (2, 1, 4)]
  assert losses.unk_rg[:, 0].tolist() == [1] * 6
  assert losses.nll_nats_r['memory'].tolist() == [0, 1, 10, 11, 20, 21]
  assert losses.nll_nats_r['emptied'].tolist() == [0, 2, 20, 22, 40, 42]
  assert losses.figures == {}


def test_figures_of_the_reads_are_summed():
  cells = [[0]], [[0]], [[1]]
  losses = joined([step(*cells, recall=(1.0, 2.0)), step(*cells, recall=(0.5, 1.0))], VIEWS)
  assert losses.figures == {'recall': (1.5, 3.0)}


def test_a_group_is_restricted_to_segments_with_its_targets():
  steps = step([[0, 1]], [[0, 0]], [[2, 3]])
  for figures in steps.values():
    figures['tokens'] = np.array([[[2, 0], [1, 3]]])
  losses = joined([steps], VIEWS)
  assert losses.tokens_r.tolist() == [2, 4]
  far = losses.of_group(1)
  assert (far.document_r.tolist(), far.tokens_r.tolist()) == ([1], [3])
  assert far.nll_nats_r['memory'].tolist() == [0]
