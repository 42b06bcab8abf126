"""The sorting task: name the symbols of a long sequence in the order of their frequency.

Source: Martins, Marinho, Martins, ∞-former (ACL 2022), section 4.1: each symbol is drawn from a mixture of
two distributions, whose weight moves from the first to the second along the sequence, so that no part of it
alone shows the frequencies. The paper does not say how the distributions are drawn nor how ties are broken.
Here they are uniform among all distributions (Dirichlet with ones), and of symbols that occur equally often
the one with the smaller number comes first.
"""

import dataclasses

import numpy as np

from infformer_jax.config import ConfigError
from infformer_jax.data.tasks import Task, TaskConfig, Uniforms


@dataclasses.dataclass(frozen=True, kw_only=True)
class SortingConfig(TaskConfig):
  """A document is `length` symbols, a mark, and all symbols, the most frequent first."""

  kind: str = 'sorting'
  length: int = 4000  # tokens of the sequence
  num_symbols: int = 20

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
    counts = np.bincount(sequence, minlength=config.num_symbols)
    answer = np.argsort(-counts, kind='stable').astype(np.int32)
    tokens = np.concatenate([sequence, np.array([config.num_symbols], np.int32), answer])
    return tokens, np.where(np.arange(len(tokens)) > config.length, 0, -1).astype(np.int32)

  length = config.length + 1 + config.num_symbols
  return Task(config, make, num_symbols=config.num_symbols + 1, groups=['answer'], length=length)


def _sequence(config: SortingConfig, uniforms: Uniforms) -> np.ndarray:
  exponentials = -np.log1p(-uniforms.uniform(2, config.num_symbols))
  cumulative = np.cumsum(exponentials, axis=1)
  cumulative /= cumulative[:, -1:]
  second = uniforms.uniform(config.length) < np.arange(config.length) / (config.length - 1)
  drawn = uniforms.uniform(config.length)
  first, last = (np.searchsorted(row, drawn, side='right') for row in cumulative)
  return np.minimum(np.where(second, last, first), config.num_symbols - 1).astype(np.int32)
