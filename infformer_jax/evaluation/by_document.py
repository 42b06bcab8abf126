"""Sums over documents, and differences that are paired by document, with their standard error."""

import math
from typing import cast

import numpy as np

from infformer_jax.evaluation.segment_losses import SegmentLosses
from infformer_jax.results_schema import DocumentSums


def document_sums(losses: SegmentLosses, view: str, beyond_r: np.ndarray) -> DocumentSums:
  """The tokens and nats of every document with a view; entry i is document i of the split.

  Args:
    losses: of the evaluated segments.
    view: one of them; segments in which it does not exist count nothing.
    beyond_r: whether a segment is beyond the reach.
  """
  num_documents = int(losses.document_r.max()) + 1
  sums: dict[str, list] = {}
  for suffix, rows_r in (('', losses.ok_r[view]), ('_beyond_reach', losses.ok_r[view] & beyond_r)):
    where = losses.document_r[rows_r]
    tokens = np.bincount(where, losses.tokens_r[rows_r], num_documents)
    nats = np.bincount(where, losses.nll_nats_r[view][rows_r], num_documents)
    sums[f'num_tokens{suffix}'] = tokens.astype(int).tolist()
    sums[f'nats{suffix}'] = [value if math.isfinite(value) else None for value in nats.tolist()]
  return cast(DocumentSums, sums)


def mean_and_error(nats_i: np.ndarray, tokens_i: np.ndarray) -> tuple[float, float | None]:
  """The mean per token over documents, and its standard error over documents.

  The mean is weighted by tokens, so a mean of paired differences is the difference of the two losses. The
  standard error is that of a ratio of two sums; for documents of equal length it is that of a mean.

  Args:
    nats_i: the sum of every document, or the difference of two.
    tokens_i: their numbers of tokens, none of them zero.
  Returns:
    The mean, and None as the error of a single document.

  >>> mean_and_error(np.array([1.0, 3.0]), np.array([2, 2]))
  (1.0, 0.5)
  """
  mean, num = float(nats_i.sum() / tokens_i.sum()), len(nats_i)
  if num == 1:
    return mean, None
  residuals = nats_i - mean * tokens_i
  return mean, float(np.sqrt((residuals**2).sum() * num / (num - 1)) / tokens_i.sum())
