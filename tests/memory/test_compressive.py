"""The compressive memory: gradients of its compression, and the positions of its slots."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.memory.base import Site
from infformer_jax.memory.compressive import Compressive
from infformer_jax.types import Past, Segment
from tests import toy

L = toy.LENGTH


def learning(memory, loss_of, *, size=toy.SEGMENTS, **changes):
  """{path: whether the parameter receives a gradient}."""
  config = toy.config(memory, num_layers=1, **changes)
  graphdef, params = toy.build(config, spread=0.1)
  loss = toy.quickly(jax.grad(lambda params: loss_of(toy.stream(graphdef, params, toy.batch(), size=size))))
  leaves = jax.tree.leaves_with_path(loss(params))
  return {jax.tree_util.keystr(path, simple=True, separator='/'): bool(np.any(leaf)) for path, leaf in leaves}


def auxiliary(output):
  return sum(total for total, _ in output.aux.values())


@pytest.mark.parametrize('size', [1, toy.SEGMENTS])
@pytest.mark.parametrize(
  ('compression', 'loss'),
  [('convolution', 'attention'), ('dilated', 'attention'), ('dilated', 'auto_encoding')],
)
def test_a_compression_loss_trains_only_the_compressor(compression, loss, size):
  memory = toy.small('compressive', rate=4, compression=compression, loss=loss)
  reached = learning(memory, auxiliary, size=size)
  own = {path for path in reached if '/compressor/' in path or '/decoder/' in path}
  assert {path for path, any_of in reached.items() if any_of} == own
  assert len(own) == 2 + 4 * (compression == 'dilated') + 2 * (loss == 'auto_encoding')


def test_the_weights_of_a_projection_closure_get_no_gradient_from_the_compression_loss():
  """In a custom layer, the projection may be any function that closes over the weights."""
  site = Site(d_model=4, num_heads=1, head_dim=4, segment_length=L, param_dtype=jnp.dtype(toy.DTYPE))
  memory = Compressive(toy.small('compressive'), site, rngs=nnx.Rngs(0))
  graphdef, params = nnx.split(memory)
  x_bld = jnp.asarray(np.random.default_rng(0).normal(size=(1, L, 4)), toy.DTYPE)
  q_blhk, ok_bl = x_bld[:, :, None], jnp.ones((1, L), bool)
  segment = Segment(q_blhk=q_blhk, ok_bl=ok_bl, offset_bl=jnp.arange(L)[None])

  def loss(params, w_dk):
    learner = nnx.merge(graphdef, params)

    def project(x_btd):
      return ((x_btd @ w_dk)[:, :, None],) * 2

    past = Past(x_bld=x_bld, whole_b=jnp.ones(1, bool))
    state = learner.write(learner.init_state(1, jnp.dtype(toy.DTYPE)), past, project)
    return learner.read(state, segment, project).aux['attention'][0]

  of_memory, of_projection = jax.grad(loss, argnums=(0, 1))(params, 2 * jnp.eye(4, dtype=toy.DTYPE))
  assert all(np.any(leaf) for leaf in jax.tree.leaves(of_memory))
  assert not np.any(of_projection)


@pytest.mark.parametrize('size', [1, 2, 3])
def test_the_language_model_trains_the_compressor_through_the_reads(size):
  """For chunks of any number of segments; only the layer below needs lag + 1 segments."""
  memory = toy.small('compressive', loss=None)
  reached = learning(memory, lambda output: (output.hidden_bsld**3).sum(), size=size)
  assert all(reached.values())


@pytest.mark.parametrize('name', ['compressive', 'compressive_mean', 'most_used'])
def test_the_age_of_a_slot_is_the_mean_age_of_its_tokens(name):
  """The first channel of a token is its position, so that of a slot is the mean position of its tokens."""
  config = dataclasses.replace(toy.MEMORIES[name], loss=None)
  site = Site(d_model=4, num_heads=1, head_dim=4, segment_length=L, lag=3, param_dtype=jnp.dtype(toy.DTYPE))
  memory = Compressive(config, site, rngs=nnx.Rngs(0))
  if config.compression == 'convolution':
    memory.compressor.w_cde[...] = jnp.broadcast_to(jnp.eye(4) / config.rate, (config.rate, 4, 4))
  project = jax.tree_util.Partial(lambda x_btd: (x_btd[:, :, None],) * 2)
  state, rng = memory.init_state(1, jnp.dtype(toy.DTYPE)), np.random.default_rng(0)
  for start in range(0, 6 * L, L):
    x_bld = jnp.broadcast_to(jnp.arange(start, start + L, dtype=toy.DTYPE)[None, :, None], (1, L, 4))
    past = Past(x_bld=x_bld, whole_b=jnp.ones(1, bool), received_bl=rng.random((1, L)))
    state = memory.write(state, past, project)
  slots = memory.prepare(state, project)[0]
  now = (6 + site.lag - 1) * L  # Start of the reading segment; the last write is lag segments back.
  assert toy.error(now - slots.age_bm, slots.k_bmhk[:, :, 0, 0]) < toy.TOLERANCE
  assert slots.ok_bm.all()

  config = dataclasses.replace(config, positions='index')
  index = Compressive(config, site, rngs=nnx.Rngs(0)).prepare(state, project)[0].age_bm[0]
  np.testing.assert_array_equal(index, (site.lag - 1) * L + np.arange(config.length, 0, -1))


def test_every_real_query_distributes_a_weight_of_one_per_head():
  """Before the first write the tokens keep all weight that they received; padding distributes no weight."""
  config = toy.config(toy.MEMORIES['most_used'])
  tokens = (2 * L, 2 * L - 3, L)
  output = toy.run(*toy.build(config), toy.batch([(n,) for n in tokens], segments=2), size=1)
  for block in output.state.blocks:
    assert (
      toy.error(block.received.sum_bt.sum(1)[:2], config.num_heads * np.array(tokens[:2])) < toy.TOLERANCE
    )
    assert block.received.sum_bt.shape == (3, 2 * L)
    assert (block.received.sum_bt[0] > 0).all()


IMPOSSIBLE = [
  ({'rate': 3}, 'memory.rate = 3 must divide a segment of 4 tokens; use 2 or 4'),
  ({'length': 3}, 'memory.length = 3 must be a multiple of the 2 slots of a segment'),
  ({'compression': 'mean'}, "loss = 'attention' needs a learned compression, not compression = 'mean'"),
  ({'loss_weight': -1.0}, 'memory.loss_weight = -1.0 must not be negative'),
]


@pytest.mark.parametrize(('settings', 'message'), IMPOSSIBLE)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError) as caught:
    toy.config(toy.small('compressive', **settings))
  assert message in str(caught.value)


def test_most_used_without_attention_weights_is_an_error():
  config = toy.small('compressive', compression='most_used', loss=None)
  site = Site(d_model=4, num_heads=1, head_dim=4, segment_length=L)
  memory = Compressive(config, site, rngs=nnx.Rngs(0))
  past = Past(x_bld=jnp.ones((1, L, 4)), whole_b=jnp.ones(1, bool))
  with pytest.raises(ValueError, match=r'Past\.received_bl'):
    memory.write(memory.init_state(1, jnp.dtype('float32')), past, lambda x: (x, x))
