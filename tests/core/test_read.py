"""Reads in float32 and bfloat16; tests/x64/core/test_read.py compares them with the published order."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import read
from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.core.density import SparsemaxDensity
from infformer_jax.core.gibbs import GibbsRead
from infformer_jax.core.located import LocatedRead

BASES = {
  'gaussian': GaussianBasis(num_basis=8),
  'rectangular': RectangularBasis(num_basis=8),
  'fourier': FourierBasis(num_basis=8),
}
SPECS = {
  'paper': LocatedRead(),
  'spread': LocatedRead(initial_mu='spread', softplus_offset=-4.0),
  'sparsemax': LocatedRead(density=SparsemaxDensity()),
  'mixture': LocatedRead(mixture=3, density=SparsemaxDensity()),
  'renormalized': LocatedRead(renormalize=True, density=SparsemaxDensity()),
  'moments': LocatedRead(affine=False),
  'gibbs': GibbsRead(),
}
CASES = [
  (spec, basis)
  for spec in SPECS
  for basis in BASES
  if not (basis == 'fourier' and spec in ('renormalized', 'moments'))
]


def normal(seed, *shape, dtype=jnp.float32):
  return jax.random.normal(jax.random.key(seed), shape, dtype)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def answer(spec, basis, dtype):
  """A read of random values; the signal is float32, parameters and queries have the dtype."""
  affines = [normal(10 + i, 8, dtype=dtype) for i in range(spec.num_affines)]
  b_bnd = spec.readable(basis, normal(0, 2, 8, 6))
  w_k_dhk, w_v_dhk = normal(1, 6, 3, 4, dtype=dtype), normal(2, 6, 3, 4, dtype=dtype)
  prepared = read.prepare(b_bnd, w_k_dhk, w_v_dhk, *affines)
  found = read.read(spec, basis, prepared, normal(3, 2, 5, 3, 4, dtype=dtype))
  masses_bhj = read.masses(spec, basis, found.density, jnp.ones((2, 5), bool), num_bins=7)
  return found, masses_bhj


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize(('spec', 'basis'), CASES)
def test_a_read_has_the_dtype_of_the_queries_and_its_density_is_float32(spec, basis, dtype):
  found, masses_bhj = answer(SPECS[spec], BASES[basis], dtype)
  chex.assert_shape(found.context_blhk, (2, 5, 3, 4))
  assert found.context_blhk.dtype == dtype
  assert {leaf.dtype for leaf in jax.tree.leaves(found.density)} == {jnp.dtype(jnp.float32)}
  chex.assert_shape(masses_bhj, (2, 3, 7))
  chex.assert_tree_all_finite([*jax.tree.leaves(found), masses_bhj])


@pytest.mark.parametrize(
  ('spec', 'basis'),
  [pytest.param(*case, marks=() if case == ('paper', 'gaussian') else pytest.mark.slow) for case in CASES],
)
def test_a_read_is_the_same_without_jit(spec, basis):
  expected = jax.tree.leaves(answer(SPECS[spec], BASES[basis], jnp.float32))
  with jax.disable_jit():
    leaves = jax.tree.leaves(answer(SPECS[spec], BASES[basis], jnp.float32))
  chex.assert_trees_all_close(leaves, expected, atol=1e-4, rtol=1e-4)


def test_masses_carry_no_gradient():
  def total(q_blhk):
    spec, basis = SPECS['mixture'], BASES['gaussian']
    affines = [normal(10 + i, 8) for i in range(spec.num_affines)]
    prepared = read.prepare(normal(0, 2, 8, 6), normal(1, 6, 3, 4), normal(2, 6, 3, 4), *affines)
    density = read.read(spec, basis, prepared, q_blhk).density
    return read.masses(spec, basis, density, jnp.ones((2, 5), bool), num_bins=7).sum()

  np.testing.assert_array_equal(jax.grad(total)(normal(3, 2, 5, 3, 4)), 0)
