"""The dataclass decorator for pytrees."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

from infformer_jax.core.pytree import pytree


@pytree
class Pair:
  first: jax.Array
  second: jax.Array | None = None


def test_a_pytree_passes_through_transformations():
  doubled = jax.jit(lambda pair: jax.tree.map(lambda a: 2 * a, pair))(Pair(first=jnp.ones(3)))
  assert doubled.second is None
  chex.assert_trees_all_equal(doubled, Pair(first=2 * jnp.ones(3)))


def test_a_pytree_is_frozen_and_takes_keyword_arguments_only():
  with pytest.raises(dataclasses.FrozenInstanceError):
    Pair(first=jnp.ones(1)).first = jnp.zeros(1)
  with pytest.raises(TypeError):
    Pair(jnp.ones(1))
