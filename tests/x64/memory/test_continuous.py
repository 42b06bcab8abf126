"""The state of a memory in float32 against float64, over 100,000 segments."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.memory.base import Site
from infformer_jax.memory.continuous import Continuous
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.types import Past

L, D = 16, 4
STORED, ROUNDS = 1000, 100


def coefficients(config, dtype):
  """B after every pass over the stored segments, each with a histogram of reads: [rounds, n, d]."""
  site = Site(d_model=D, num_heads=1, head_dim=D, segment_length=L, param_dtype=jnp.dtype(dtype))
  memory = Continuous(config, site, rngs=nnx.Rngs(0))
  rng = np.random.default_rng(0)
  x_sld = rng.normal(size=(STORED, L, D)).astype(np.float32).astype(dtype)
  histogram_sj = (rng.exponential(size=(STORED, config.histogram_bins)) ** 3).astype(np.float32).astype(dtype)

  def step(state, now):
    x_ld, histogram_j = now
    if state.histogram_bj is not None:
      state = dataclasses.replace(state, histogram_bj=histogram_j[None])
    return memory.write(state, Past(x_bld=x_ld[None], whole_b=jnp.ones(1, bool))), None

  def once_through(state, _):
    state, _ = jax.lax.scan(step, state, (x_sld, histogram_sj))
    return state, state.b_bnd[0]

  state = memory.init_state(1, jnp.dtype(dtype))
  _, b_rnd = jax.jit(lambda state: jax.lax.scan(once_through, state, None, length=ROUNDS))(state)
  assert b_rnd.dtype == dtype
  return np.asarray(b_rnd, np.float64)


@pytest.mark.slow
@pytest.mark.parametrize(('sampling', 'tolerance'), [('even', 2e-6), ('sticky', 1e-4)])
def test_a_logarithmic_state_in_float32_stays_close_to_float64_over_a_hundred_thousand_segments(
  sampling, tolerance
):
  """Beyond the horizon of 62,500 segments.

  A write contracts rounding errors with the signal, so that a few float32 ulps remain (7e-7 measured). Sticky
  points are rounded as well, and the signal has details of the size of 1/n (3e-5 measured).
  The histograms are given: through reads, errors would also move the densities.
  """
  config = ContinuousConfig(num_basis=32, num_samples=128, contraction='log', sampling=sampling)
  narrow, wide = (coefficients(config, dtype) for dtype in (np.float32, np.float64))
  early, late = np.abs(wide[: ROUNDS // 2]).max(), np.abs(wide[ROUNDS // 2 :]).max()
  assert late < 1.1 * early
  assert np.abs(narrow - wide).max() < tolerance * early
