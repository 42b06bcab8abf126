"""Gradients and the loop of a chunk; test_contract.py compares its values with the loop of the contract."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from infformer_jax.memory.base import Memory
from infformer_jax.memory.continuous import Continuous
from tests import toy
from tests.memory.contract import NEW_DOC, material, trial


def number(name, scan):
  """(graphdef, parameters) and a function of parameters, queries and values: all reads and the last state."""
  segments, pasts, keys_bs = material()
  graphdef, params = nnx.split(trial(name).memory)

  def total(params, q_blhk, x_bld):
    memory = nnx.merge(graphdef, params)
    state, reads = scan(
      memory,
      memory.init_state(len(NEW_DOC), toy.DTYPE),
      dataclasses.replace(segments, q_blhk=q_blhk),
      dataclasses.replace(pasts, x_bld=x_bld),
      NEW_DOC,
      keys_bs=keys_bs,
    )
    return (reads.added_bld**2).sum() + (state.b_bnd**2).sum()

  return total, (params, segments.q_blhk, pasts.x_bld)


@pytest.mark.parametrize('name', ['random', pytest.param('equal', marks=pytest.mark.slow)])
def test_its_gradients_are_those_of_the_loop_of_the_contract(name):
  gradients = []
  for scan in (Continuous.scan, Memory.scan):
    total, args = number(name, scan)
    gradients.append(jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*args))
  ours, theirs = map(jax.tree.leaves, gradients)
  assert any(np.abs(leaf).max() > 0 for leaf in theirs)
  for mine, other in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_without_sticky_memories_only_the_product_with_the_old_signal_is_in_the_loop():
  total, args = number('even', Continuous.scan)
  loops = [eqn.params['jaxpr'] for eqn in jax.make_jaxpr(total)(*args).eqns if eqn.primitive.name == 'scan']
  assert sum(str(loop).count('dot_general') for loop in loops) == 1
