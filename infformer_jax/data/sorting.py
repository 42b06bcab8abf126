"""The sorting task: list the symbols of a long sequence in the order of their frequency.

Source: Martins, Marinho, Martins, ∞-former (ACL 2022), section 4.1: each symbol is drawn from a mixture of
two distributions, whose weight moves from the first to the second along the sequence, so that no part of it
alone shows the frequencies. Published code: sorting/generate_data.py, which adds what the paper leaves out: a
distribution is 20 integers from 1 to 9, normalized; of symbols that are equally frequent, the one that
occurred first comes first. It trains on the same 8,000 sequences in every epoch; here, every sequence of an
epoch is new.
"""

import dataclasses
from typing import Literal

import numpy as np
from etils import epath

from infformer_jax.data.tasks import MOST_TOKENS, Task, TaskConfig, Uniforms
from infformer_jax.errors import check_range

_LARGEST_WEIGHT = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class SortingConfig(TaskConfig):
  """A document is `length` symbols, a mark, and all symbols, the most frequent first."""

  kind: str = 'sorting'
  length: int = 4000  # tokens of the sequence
  num_symbols: int = 20
  # What the probabilities of a distribution are proportional to. 'integers': 1 to 9, as published; in a short
  # sequence, most differences of the counts are then due to chance. 'exponential': uniform over all
  # distributions (a Dirichlet distribution with ones), with larger differences.
  weights: Literal['integers', 'exponential'] = 'integers'

  def __post_init__(self) -> None:
    super().__post_init__()
    check_range('length', self.length, 2, MOST_TOKENS)
    check_range('num_symbols', self.num_symbols, 2, 10_000)

  def source(self, workdir: epath.Path) -> Task:
    """The task; the answers are one group."""
    del workdir

    def make(uniforms: Uniforms) -> tuple[np.ndarray, np.ndarray]:
      sequence = _sequence(self, uniforms)
      answer = sorted_by_frequency(sequence, self.num_symbols)
      tokens = np.concatenate([sequence, np.array([self.num_symbols], np.int32), answer])
      return tokens, np.where(np.arange(len(tokens)) > self.length, 0, -1).astype(np.int32)

    length = self.length + 1 + self.num_symbols
    return Task(self, make, num_symbols=self.num_symbols + 1, groups=['answer'], length=length)


def sorted_by_frequency(sequence: np.ndarray, num_symbols: int) -> np.ndarray:
  """All symbols by descending frequency, ties by first occurrence; last those that do not occur.

  >>> sorted_by_frequency(np.array([3, 1, 3, 0, 1, 2]), 5).tolist()
  [3, 1, 0, 2, 4]
  """
  first = np.full(num_symbols, len(sequence))
  found, where = np.unique(sequence, return_index=True)
  first[found] = where
  counts = np.bincount(sequence, minlength=num_symbols)
  return np.lexsort((first, -counts)).astype(np.int32)


def _sequence(config: SortingConfig, uniforms: Uniforms) -> np.ndarray:
  if config.weights == 'integers':
    weights = 1.0 + uniforms.integers(_LARGEST_WEIGHT, 2, config.num_symbols)
  else:
    weights = -np.log1p(-uniforms.uniform(2, config.num_symbols))
  cumulative = np.cumsum(weights, axis=1)
  cumulative /= cumulative[:, -1:]
  second = uniforms.uniform(config.length) < np.arange(1, config.length + 1) / config.length
  drawn = uniforms.uniform(config.length)
  first, last = (np.searchsorted(row, drawn, side='right') for row in cumulative)
  return np.minimum(np.where(second, last, first), config.num_symbols - 1).astype(np.int32)
