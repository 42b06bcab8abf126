"""The state of a memory in float32 against float64, over 100,000 segments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.memory.base import Site
from infformer_jax.memory.continuous import Continuous
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.types import Past, Segment
from tests import toy

L, D, H, K = 16, 4, 2, 4
STORED, ROUNDS = 1000, 100


def coefficients(config, dtype):
  """B after every pass over the stored segments, with a read before every write: [rounds, n, d]."""
  site = Site(d_model=D, num_heads=H, head_dim=K, segment_length=L, param_dtype=jnp.dtype(dtype))
  graphdef, params = nnx.split(Continuous(config, site, rngs=nnx.Rngs(0)))
  rng = np.random.default_rng(0)
  # Equal parameters in both dtypes, so that only the arithmetic differs.
  params = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32).astype(dtype) / 8, params)
  memory = nnx.merge(graphdef, params)
  x_sld = jnp.asarray(rng.normal(size=(STORED, L, D)).astype(np.float32), dtype)
  q_lhk = jnp.asarray(rng.normal(size=(1, L, H, K)).astype(np.float32), dtype)
  segment = Segment(
    q_blhk=q_lhk, ok_bl=jnp.ones((1, L), bool), offset_bl=jnp.arange(L, dtype=jnp.float32)[None]
  )

  def step(state, x_ld):
    state = memory.observe(state, memory.read(state, segment, None).stats)
    return memory.write(state, Past(x_bld=x_ld[None], whole_b=jnp.ones(1, bool)), None), None

  def once_through(state, _):
    state, _ = jax.lax.scan(step, state, x_sld)
    return state, state.b_bnd[0]

  state = memory.init_state(1, jnp.dtype(dtype))
  _, b_rnd = jax.jit(lambda state: jax.lax.scan(once_through, state, None, length=ROUNDS))(state)
  assert b_rnd.dtype == dtype
  return np.asarray(b_rnd, np.float64)


@pytest.mark.slow
@pytest.mark.parametrize(('sampling', 'tolerance'), [('even', 1e-5), ('sticky', 1e-4)])
def test_a_logarithmic_state_in_float32_stays_close_to_float64_over_a_hundred_thousand_segments(
  sampling, tolerance
):
  """Beyond the horizon of 62,500 segments.

  An even write contracts rounding errors with the signal, so that those of one write are what remains. Sticky
  samples move with the densities, whose places depend on the signal: an error comes back through them.
  """
  config = ContinuousConfig(num_basis=32, num_samples=128, contraction='log', sampling=sampling)
  narrow, wide = (coefficients(config, dtype) for dtype in (np.float32, np.float64))
  largest = np.abs(wide).max()
  assert np.abs(wide[ROUNDS // 2 :]).max() < 1.1 * np.abs(wide[: ROUNDS // 2]).max()
  assert np.abs(narrow - wide).max() < tolerance * largest
  print(sampling, np.abs(narrow - wide).max() / largest, toy.error(narrow[-1], wide[-1]))
