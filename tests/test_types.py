"""The pytrees that are passed between parts: absent values are None, which has no leaves."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

from infformer_jax import types
from infformer_jax.types import Gated, Past, Read, Slots

TREES = [
  each
  for each in vars(types).values()
  if dataclasses.is_dataclass(each) and each.__module__ == types.__name__
]


def test_an_empty_read_has_no_leaves():
  assert jax.tree.leaves(Read()) == []


def test_a_read_passes_through_jit_with_its_fields():
  gated = Gated(context_blhk=jnp.ones((1, 2, 3, 4)), gate_blh=jnp.full((1, 2, 3), 0.5))
  read = jax.jit(lambda gated: Read(gated=gated))(gated)
  assert read.slots == ()
  assert read.added_bld is None
  chex.assert_trees_all_equal(read.gated, gated)


def test_a_past_with_received_attention_has_another_structure_than_one_without():
  fields = {'x_bld': jnp.ones((1, 2, 3)), 'whole_b': jnp.ones(1, bool)}
  without, having = Past(**fields), Past(**fields, received_bl=jnp.ones((1, 2)))
  assert len(jax.tree.leaves(without)) + 1 == len(jax.tree.leaves(having))
  assert jax.tree.structure(without) != jax.tree.structure(having)


@pytest.mark.parametrize('tree', TREES, ids=lambda tree: tree.__name__)
def test_every_type_is_frozen_takes_only_keywords_and_has_its_fields_as_children(tree):
  values = {field.name: jnp.zeros(()) for field in dataclasses.fields(tree)}
  instance = tree(**values)
  assert len(jax.tree.leaves(instance)) == len(values)
  with pytest.raises(dataclasses.FrozenInstanceError):
    setattr(instance, next(iter(values)), None)
  with pytest.raises(TypeError):
    tree(*values.values())


def test_slots_keep_their_dtypes_in_a_tree_map():
  slots = Slots(
    k_bmhk=jnp.ones((1, 2, 3, 4), jnp.bfloat16),
    v_bmhk=jnp.ones((1, 2, 3, 4), jnp.bfloat16),
    age_bm=jnp.ones((1, 2)),
    ok_bm=jnp.ones((1, 2), bool),
  )
  chex.assert_trees_all_equal_shapes_and_dtypes(jax.tree.map(jnp.asarray, slots), slots)
