"""Reads that keep no expectations in float32; tests/x64/core/test_gaussian_context.py has their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import gaussian_context
from infformer_jax.core.basis import expectation
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.density import GaussianDensity

BASIS = GaussianBasis(num_basis=64)
B, L, H, K = 2, 33, 3, 4
RNG = np.random.default_rng(0)
MU = jnp.asarray(RNG.uniform(size=(B, H, L)), jnp.float32)
SIGMA_SQ = jnp.asarray(10 ** RNG.uniform(-6, 0, size=(B, H, L)), jnp.float32)
VALUES = jnp.asarray(RNG.normal(size=(B, H, 64, K)), jnp.float32)


def test_expectations_are_not_kept_for_the_backward_pass():
  _, gradients = jax.vjp(lambda *args: gaussian_context.context(BASIS, *args), MU, SIGMA_SQ, VALUES)
  kept = sum(leaf.size for leaf in jax.tree.leaves(gradients))
  assert kept <= MU.size + SIGMA_SQ.size + VALUES.size < B * H * L * 64


def test_values_in_bfloat16_are_weighted_by_expectations_in_float32():
  values = jnp.asarray(VALUES, jnp.bfloat16)
  context_blhk = gaussian_context.context(BASIS, MU, SIGMA_SQ, values)
  r_bhln = expectation(BASIS, GaussianDensity(), MU, SIGMA_SQ)
  expected = jnp.einsum('bhln,bhnk->blhk', r_bhln, values.astype(jnp.float32), precision='highest')
  assert context_blhk.dtype == jnp.bfloat16
  np.testing.assert_allclose(context_blhk, expected, rtol=0, atol=0.01 * np.abs(expected).max())


def test_several_widths_are_refused():
  basis = GaussianBasis(num_basis=64, widths=(0.5, 1.0))
  with pytest.raises(ValueError, match='must be one width'):
    gaussian_context.context(basis, MU, SIGMA_SQ, VALUES)


@pytest.mark.parametrize('platform', ['cpu', 'tpu', 'cuda'])
def test_heads_are_read_one_after_the_other_on_cpus_alone(platform):
  basis = GaussianBasis(num_basis=512)
  shapes = (B, H, L), (B, H, L), (B, H, 512, K)
  args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  traced = jax.jit(jax.grad(lambda *a: gaussian_context.context(basis, *a).sum())).trace(*args)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ('stablehlo.while' in text) == (platform == 'cpu')
