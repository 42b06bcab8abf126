"""The modules of the learned compressions, whose formulas core/compression.py has."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.core import compression
from infformer_jax.memory.compressive import CompressiveConfig
from infformer_jax.memory.compressor import Compressor, Decoder
from tests import toy

D, RATE = 6, 2
X_BLD = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2 * toy.LENGTH, D)), toy.DTYPE)


@pytest.mark.parametrize('kind', ['mean', 'max', 'convolution', 'dilated'])
def test_a_segment_becomes_one_slot_for_every_few_tokens(kind):
  config = CompressiveConfig(rate=RATE, compression=kind, loss=None)
  module = Compressor(config, D, X_BLD.dtype, rngs=nnx.Rngs(0))
  x_bmd = module(X_BLD)
  assert x_bmd.shape == (2, toy.LENGTH, D)
  if kind in ('mean', 'max'):
    assert not nnx.state(module)
    pool = {'mean': compression.mean_pool, 'max': compression.max_pool}[kind]
    np.testing.assert_array_equal(x_bmd, pool(X_BLD, RATE))
  else:  # A slot depends on its own tokens; with dilations also on their neighbours.
    moved = module(X_BLD.at[:, RATE].add(1.0))
    changed_m = np.flatnonzero(np.abs(moved - x_bmd).max(axis=(0, 2)) > 1e-6).tolist()
    assert changed_m == {'convolution': [1], 'dilated': [0, 1]}[kind]


def test_a_decoder_gives_the_tokens_of_every_slot():
  decoder = Decoder(RATE, D, X_BLD.dtype, rngs=nnx.Rngs(0))
  assert decoder(X_BLD[:, : toy.LENGTH]).shape == X_BLD.shape
