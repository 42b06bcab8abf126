"""The sorting task: name the symbols of a long sequence in the order of their frequency.

Source: Martins, Marinho, Martins, ∞-former (ACL 2022), section 4.1: each symbol is drawn from a mixture of
two distributions, whose weight moves from the first to the second along the sequence, so that no part of it
alone shows the frequencies. Published code: sorting/generate_data.py, which says what the paper does not: a
distribution is 20 integers from 1 to 9, normalized; of symbols that occur equally often the one that occurred
first comes first. It trains on 8,000 sequences again and again, here every sequence of an epoch is new.
"""

import dataclasses
from typing import Literal

import numpy as np

from infformer_jax.data.tasks import Task, TaskConfig, Uniforms
from infformer_jax.errors import ConfigError

_LARGEST_WEIGHT = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class SortingConfig(TaskConfig):
  """A document is `length` symbols, a mark, and all symbols, the most frequent first."""

  kind: str = 'sorting'
  length: int = 4000  # tokens of the sequence
  num_symbols: int = 20
  # What the probabilities of a distribution are proportional to. 'integers': 1 to 9, as published; the counts
  # of a short sequence then differ by chance more than by design. 'exponential': uniform among all
  # distributions (Dirichlet with ones), whose counts differ more.
  weights: Literal['integers', 'exponential'] = 'integers'

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.length < 2:
      raise ConfigError(f'length = {self.length} must be at least 2; the paper has 4000, 8000 and 16000')
    if not 2 <= self.num_symbols <= 10_000:
      raise ConfigError(f'num_symbols = {self.num_symbols} is not in [2, 10,000]')


def source(config: SortingConfig) -> Task:
  """The task; the answers are one group."""

  def make(uniforms: Uniforms) -> tuple[np.ndarray, np.ndarray]:
    sequence = _sequence(config, uniforms)
    answer = sorted_by_frequency(sequence, config.num_symbols)
    tokens = np.concatenate([sequence, np.array([config.num_symbols], np.int32), answer])
    return tokens, np.where(np.arange(len(tokens)) > config.length, 0, -1).astype(np.int32)

  length = config.length + 1 + config.num_symbols
  return Task(config, make, num_symbols=config.num_symbols + 1, groups=['answer'], length=length)


def sorted_by_frequency(sequence: np.ndarray, num_symbols: int) -> np.ndarray:
  """All symbols, the most frequent first, of equals the one that occurs first; then those that never do.

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
