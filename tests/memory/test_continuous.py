"""A memory that streams indefinitely: 100,000 segments of hidden states of real text."""

import argparse
import inspect
import subprocess
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.core.signal import sample
from infformer_jax.memory import registry
from infformer_jax.memory.base import Site
from infformer_jax.memory.continuous import Continuous
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.types import Past, Segment
from tests import toy

STORED, ROUNDS = 1000, 100  # One hundred passes over a thousand segments.
L, D, H, K = 16, 16, 2, 8


@pytest.fixture(scope='module')
def segments():
  """Hidden states [stored, l, d] of source text after the last norm, as a further layer would write them."""
  text = ''.join(inspect.getsource(module) for module in (argparse, subprocess, typing)).encode()
  config = toy.config(segment_length=L, short_term_length=L)
  graphdef, params = toy.build(config, vocabulary=256, spread=0.1)
  batch = toy.batch(documents=((STORED * L,),), segments=STORED, length=L)
  batch.tokens_bsl[:] = np.frombuffer(text, np.uint8)[: STORED * L].reshape(1, STORED, L)
  return toy.run(graphdef, params, batch, size=STORED).hidden_bsld[0]


@pytest.mark.parametrize(
  ('sampling', 'num_basis', 'settings'),
  [
    pytest.param('even', 64, {}, marks=pytest.mark.slow),
    pytest.param('sticky', 64, {}, marks=pytest.mark.slow),
    pytest.param('random', 64, {}, marks=pytest.mark.slow),
    pytest.param('even', 16, {}, marks=pytest.mark.slow),
    pytest.param('sticky', 16, {}, marks=pytest.mark.slow),
    pytest.param('sticky', 16, {'basis': 'fourier'}, marks=pytest.mark.slow),
    ('even', 32, {'contraction': 'log'}),
    pytest.param('random', 32, {'contraction': 'log'}, marks=pytest.mark.slow),
    pytest.param('sticky', 32, {'contraction': 'log'}, marks=pytest.mark.slow),
  ],
)
def test_a_hundred_thousand_segments_leave_the_state_finite_and_bounded(
  segments, sampling, num_basis, settings
):
  site = Site(d_model=D, num_heads=H, head_dim=K, segment_length=L)
  config = ContinuousConfig(num_basis=num_basis, num_samples=128, sampling=sampling, **settings)
  memory = Continuous(config, site, rngs=nnx.Rngs(0))
  w_q_dhk = jax.random.normal(jax.random.key(0), (D, H, K)) / np.sqrt(D)
  grid_bp = jnp.linspace(0, 1, 4 * num_basis + 1)[None]

  def step(state, x_ld):
    """Reads for a segment, then writes it."""
    x_bld, yes = x_ld[None], jnp.ones(1, bool)
    q_blhk = jnp.einsum('bld,dhk->blhk', x_bld, w_q_dhk)
    offset_bl = jnp.arange(L, dtype=jnp.float32)[None]
    segment = Segment(q_blhk=q_blhk, ok_bl=jnp.ones((1, L), bool), offset_bl=offset_bl)
    state = memory.observe(state, memory.read(state, segment, None).stats)
    key_b = jax.vmap(jax.random.key)(state.writes_b) if memory.traits.draws else None
    state = memory.write(state, Past(x_bld=x_bld, whole_b=yes), None, key_b=key_b)
    return state, jnp.abs(sample(config.basis_spec(), state.b_bnd, grid_bp)).max()

  def once_through(state, _):
    state, peaks = jax.lax.scan(step, state, segments)
    return state, peaks.max()

  stream = jax.jit(lambda state: jax.lax.scan(once_through, state, None, length=ROUNDS))
  state, peak_by_round = stream(memory.init_state(1, jnp.float32))
  assert state.writes_b[0] == STORED * ROUNDS
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
  # The values of the signal stay in the range of the written values, and do not grow from pass to pass.
  assert peak_by_round.max() < 5 * jnp.abs(segments).max()
  early, late = np.median(peak_by_round[: ROUNDS // 2]), np.median(peak_by_round[ROUNDS // 2 :])
  assert late < 1.1 * early
  # Linear and contracting: all passes are equal, where the signal forgets a pass within the next.
  if sampling == 'even' and config.contraction != 'log':
    assert np.ptp(peak_by_round[1:]) < 1e-5 * late


def test_a_past_without_the_residual_stream_is_refused_where_it_is_fed():
  site = Site(d_model=D, num_heads=H, head_dim=K, segment_length=L)
  memory = Continuous(toy.small('continuous', feed='residual'), site, rngs=nnx.Rngs(0))
  past = Past(x_bld=jnp.ones((1, L, D)), whole_b=jnp.ones(1, bool))
  with pytest.raises(ValueError, match=r'past.residual_bld = None: .* needs the residual stream'):
    memory.write(memory.init_state(1, jnp.float32), past)


def test_the_published_start_is_that_of_the_gpt2_code():
  """nn.Linear is N(0, .02²); the gate, a Conv1d, keeps PyTorch's default, U(-1/√(3 d), 1/√(3 d))."""
  site = Site(d_model=64, num_heads=2, head_dim=32, segment_length=L)
  config = toy.small('continuous', num_basis=512, num_samples=512, initial_output='published', gate=True)
  params = nnx.to_pure_dict(nnx.state(registry.build(config, site, rngs=nnx.Rngs(0))))
  gate = params.pop('gate')
  assert params.keys() == {'w_k_dhk', 'w_v_dhk', 'w_o_hkd', 'w_mu_n', 'w_sigma_n'}
  for name, leaf in params.items():
    assert leaf.std() == pytest.approx(0.02, rel=0.1), name
  bound = 1 / np.sqrt(3 * 64)
  for leaf in gate.values():
    assert 0.9 * bound < np.abs(leaf).max() <= bound
    assert leaf.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)
