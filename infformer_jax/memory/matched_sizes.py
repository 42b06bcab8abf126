"""Memories of about the same number of bytes, for comparisons."""

import math

from infformer_jax.memory.compressive import CompressiveConfig
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.memory.neighbours import NeighboursConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.memory.recent import RecentConfig

KINDS = (
  'none',
  'recent',
  'recent_4x',
  'recent_8x',
  'recent_16x',
  'compressive',
  'neighbours',
  'continuous',
  'continuous_even',
  'continuous_log',
  'continuous_log_even',
  'continuous_gibbs',
  'continuous_log_gibbs',
)


def of_size(
  kind: str, *, num_vectors: int, num_layers: int, bytes_per_value: int, horizon: float | None = None
) -> MemoryConfig:
  """A memory with the bytes of `num_vectors` vectors of width d in every layer, to the nearest whole segment.

  Exact windows of more tokens, such as recent_8x with eight times the bytes, show what can be gained at all.
  A continuous memory is sticky, or sampled evenly; `log` puts its past on a logarithmic axis. With `gibbs` a
  head reads an evenly sampled signal by a softmax over time instead of a Gaussian.

  Args:
    kind: one of KINDS.
    num_vectors: a multiple of the segment length.
    num_layers: of the trunk.
    bytes_per_value: of its activations.
    horizon: of a logarithmic axis, tokens; None: its default.
  """
  if kind == 'none':
    return NothingConfig()
  if kind.startswith('recent'):
    times = kind.removeprefix('recent').strip('_x')
    return RecentConfig(length=int(times or 1) * num_vectors)
  if kind == 'compressive':
    # The reconstruction loss would also store an uncompressed segment.
    return CompressiveConfig(length=num_vectors, loss=None)
  if kind == 'neighbours':  # Keys and values in one layer: the bytes of all layers of the others.
    return NeighboursConfig(length=num_vectors * math.ceil(num_layers / 2))
  num_basis = num_vectors * bytes_per_value // 4  # Coefficients are float32 for any dtype of activations.
  logarithmic, gibbs = 'log' in kind, 'gibbs' in kind
  return ContinuousConfig(
    num_basis=num_basis,
    # Short segments need fewer than 512 samples.
    num_samples=2 * num_basis if logarithmic else min(512, 2 * num_vectors),
    sampling='even' if gibbs or kind.endswith('even') else 'sticky',
    contraction='log' if logarithmic else 0.75,
    horizon=horizon if logarithmic else None,
    density='gibbs' if gibbs else 'gaussian',
    gibbs_grid=2 * num_basis + 1 if gibbs else None,
  )
