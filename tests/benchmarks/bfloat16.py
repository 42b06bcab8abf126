"""The memory of a million tokens with bfloat16 activations: `python -m tests.benchmarks.bfloat16`.

Two memories with the same parameters read the same stream, one as float32 and one as bfloat16, whose state is
float32 too. The error of the signal is that of its values on a grid, that of a read is that of the added
contexts; both are root mean squares relative to those of float32, and the median over segments.
"""

import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core.signal import sample
from infformer_jax.memory.base import Site
from infformer_jax.memory.continuous import Continuous
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.types import Array, Past, PyTree, Segment

D, H, K, L = 16, 2, 8, 64
SETTINGS: Mapping[str, dict[str, Any]] = {
  'τ .75, even': {'sampling': 'even'},
  'τ .75, sticky': {'sampling': 'sticky'},
  'log, even': {'sampling': 'even', 'contraction': 'log'},
  'log, sticky': {'sampling': 'sticky', 'contraction': 'log'},
}
PERIODS = L * np.geomspace(0.1, 1e4, D)
"""Tokens, of the slow parts of the channels; the rest is noise."""


def errors(settings: Mapping[str, Any], tokens: int) -> tuple[np.ndarray, np.ndarray]:
  """The errors of the signal and of a read after every segment, [tokens / L]."""
  site = Site(d_model=D, num_heads=H, head_dim=K, segment_length=L)
  memory = Continuous(ContinuousConfig(num_basis=64, num_samples=128, **settings), site, rngs=nnx.Rngs(0))
  w_q_dhk = jax.random.normal(jax.random.key(1), (D, H, K)) / np.sqrt(D)
  grid_bp = jnp.linspace(0, 1, 256)[None]

  def segment_of(index: Array) -> Array:
    place_l = (index * L + jnp.arange(L)).astype(jnp.float32)
    slow_ld = jnp.sin(2 * np.pi * place_l[:, None] / PERIODS)
    return slow_ld + jax.random.normal(jax.random.fold_in(jax.random.key(2), index), (L, D))

  def through(state: PyTree, x_bld: Array) -> tuple[PyTree, Array, Array]:
    """Writes a segment, then reads for it."""
    state = memory.write(state, Past(x_bld=x_bld, whole_b=jnp.ones(1, bool)))
    q_blhk = jnp.einsum('bld,dhk->blhk', x_bld, w_q_dhk.astype(x_bld.dtype))
    offset_bl = jnp.arange(L, dtype=jnp.float32)[None]
    segment = Segment(q_blhk=q_blhk, ok_bl=jnp.ones((1, L), bool), offset_bl=offset_bl)
    read = memory.read(state, segment, None)
    return (
      memory.observe(state, read.stats),
      sample(memory.config.basis_spec(), state.b_bnd, grid_bp),
      read.added_bld,
    )

  def step(states: PyTree, index: Array) -> tuple[PyTree, tuple[Array, Array]]:
    x_bld = segment_of(index)[None]
    wide, *exact = through(states[0], x_bld)
    narrow, *found = through(states[1], x_bld.astype(jnp.bfloat16))
    assert found[1].dtype == jnp.bfloat16
    assert narrow.b_bnd.dtype == jnp.float32
    return (wide, narrow), tuple(map(relative, found, exact))

  def relative(found: Array, exact: Array) -> Array:
    return jnp.linalg.norm(found.astype(jnp.float32) - exact) / jnp.linalg.norm(exact)

  states = (memory.init_state(1, jnp.float32), memory.init_state(1, jnp.bfloat16))
  _, found = jax.jit(lambda states: jax.lax.scan(step, states, jnp.arange(tokens // L)))(states)
  return np.asarray(found[0]), np.asarray(found[1])


def medians(error_s: np.ndarray, ends: list[int]) -> list[float]:
  """The median error of the last half of the segments before each number of tokens."""
  return [float(np.median(error_s[end // L // 2 : end // L])) for end in ends]


def main() -> None:
  most = int(float(sys.argv[1])) if len(sys.argv) > 1 else 2**20
  ends = [end for end in (2**10, 10_000, 100_000, 2**20) if end <= most]
  print('| | relative error of |', ' | '.join(f'{end:,}' for end in ends), '|')
  print('|---|---|' + '---|' * len(ends))
  for name, settings in SETTINGS.items():
    for what, error_s in zip(('the signal', 'a read'), errors(settings, ends[-1]), strict=True):
      print(f'| {name} | {what} |', ' | '.join(f'{e:.1e}' for e in medians(error_s, ends)), '|', flush=True)


if __name__ == '__main__':
  main()
