"""Tests of the contract of memory/base.py for every kind of memory in the registry."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.memory.base import Memory
from infformer_jax.memory.views import VIEWS
from tests import toy
from tests.memory.contract import (
  NEW_DOC,
  SITE,
  B,
  L,
  S,
  at,
  described,
  every_memory,
  material,
  project,
  rows,
  trial,
  used,
)


@every_memory
@pytest.mark.parametrize('dtype', [toy.DTYPE, 'bfloat16'])
def test_a_state_keeps_its_structure_and_its_leading_lane_axis(name, dtype):
  case, (segments, pasts, keys_bs) = trial(name), material()
  segment, past = jax.tree.map(
    lambda a: a.astype(dtype) if a.dtype == toy.DTYPE else a, (at(segments, 3), at(pasts, 3))
  )

  def through(state):
    state = case.memory.write(case.memory.reset(state, NEW_DOC[:, 3]), past, project, key_b=keys_bs[:, 3])
    return case.memory.observe(state, case.memory.read(state, segment, project).stats)

  state = case.empty(dtype=dtype)
  assert described(jax.eval_shape(through, state)) == described(state)
  assert all(leaf.shape[0] == B for leaf in jax.tree.leaves(state))
  assert case.memory.filled(state).dtype == bool
  assert case.memory.filled(state).shape == (B,)


@every_memory
def test_a_reset_lane_equals_the_initial_state_and_the_others_do_not_change(name):
  case, state = trial(name), used(name)
  new_doc_b = np.array([True, False, True, False])
  after = case.reset(state, new_doc_b)
  chex.assert_trees_all_equal(rows(after, new_doc_b), rows(case.empty(), new_doc_b))
  chex.assert_trees_all_equal(rows(after, ~new_doc_b), rows(state, ~new_doc_b))
  assert not case.memory.filled(after)[new_doc_b].any()


@every_memory
def test_rows_without_a_whole_past_do_not_change(name):
  case, state = trial(name), used(name)
  whole_b = np.array([True, False, False, True])
  _, pasts, keys_bs = material()
  after = case.write(state, dataclasses.replace(at(pasts, -1), whole_b=whole_b), keys_bs[:, -1])
  chex.assert_trees_all_equal(rows(after, ~whole_b), rows(state, ~whole_b))
  if name != 'none':
    assert case.memory.filled(after)[whole_b].all()
    changed = [np.any(a[0] != b[0]) for a, b in zip(*map(jax.tree.leaves, (after, state)), strict=True)]
    assert any(changed)


@every_memory
def test_rows_that_write_use_their_statistics_and_set_them_to_zero(name):
  case, state = trial(name), used(name)
  segments, pasts, _ = material()
  stats = case.read(state, at(segments, 3)).stats
  observed = case.observe(state, stats)
  leaves = [jax.tree.leaves(tree) for tree in (state, observed)]
  kept = [np.any(a != b) for a, b in zip(*leaves, strict=True)]  # The leaves with statistics.
  assert any(kept) == bool(jax.tree.leaves(stats))
  whole_b = np.array([True, False, False, False])
  past = dataclasses.replace(at(pasts, -1), whole_b=whole_b)
  after, without = (
    case.write(observed, past),
    case.write(case.observe(state, jax.tree.map(jnp.zeros_like, stats)), past),
  )
  for holds, before, leaf in zip(kept, leaves[1], jax.tree.leaves(after), strict=True):
    if holds:
      assert not np.any(leaf[0])
      chex.assert_trees_all_equal(leaf[1:], before[1:])
  if any(kept):  # The statistics also affect other leaves.
    others = zip(kept, *map(jax.tree.leaves, (after, without)), strict=True)
    assert any(np.any(a != b) for holds, a, b in others if not holds)


@every_memory
def test_an_empty_memory_is_never_attended(name):
  case, (segments, _, _) = trial(name), material()
  read = case.read(case.empty(), at(segments, 3))
  assert not any(part.ok_bm.any() for part in read.slots)
  assert read.gated is None or not read.gated.gate_blh.any()
  assert read.added_bld is None or not read.added_bld.any()
  assert all(not np.any(leaf) for leaf in jax.tree.leaves((read.stats, read.aux)))


@every_memory
def test_slots_have_the_ages_of_past_tokens(name):
  """Ages count back from the first token of the segment; the newest slots belong to the last write."""
  case, (segments, _, _) = trial(name), material()
  read = case.read(used(name), at(segments, S - 2))
  for part in read.slots:
    newest = part.age_bm[part.ok_bm].min()
    assert (SITE.lag - 1) * L < newest <= SITE.lag * L
    assert np.array_equal(part.ok_bm.any(axis=1), case.memory.filled(used(name)))


@every_memory
def test_statistics_carry_no_gradient(name):
  case, state, (segments, pasts, _) = trial(name), used(name), material()
  past = dataclasses.replace(at(pasts, -1), whole_b=np.ones(B, bool))
  segment = at(segments, 3)

  def total(tree):
    return sum(
      (leaf.sum() for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)), 0.0
    )

  def read_for(q_blhk):
    return case.memory.read(state, dataclasses.replace(segment, q_blhk=q_blhk), project).stats

  stats = read_for(segment.q_blhk)
  to_queries = jax.grad(lambda q_blhk: total(read_for(q_blhk)))(segment.q_blhk)
  to_statistics = jax.grad(
    lambda stats: total(case.memory.write(case.memory.observe(state, stats), past, project))
  )(stats)
  assert not any(np.any(leaf) for leaf in jax.tree.leaves((to_queries, to_statistics)))


@every_memory
def test_reading_token_by_token_equals_reading_a_whole_segment(name):
  """Contexts are equal for each token, statistics and losses in their sums; the slots are always the same."""
  case, (segments, _, _) = trial(name), material()
  segment, state = at(segments, 3), used(name)
  prepared = case.memory.prepare(state, project)
  answer = toy.quickly(case.memory.answer)
  reads = [answer(prepared, jax.tree.map(lambda a, i=i: a[:, i : i + 1], segment)) for i in range(L)]
  whole = case.read(state, segment)
  sums = jax.tree.map(lambda *parts: sum(parts), *[(read.stats, read.aux) for read in reads])
  assert toy.error(sums, (whole.stats, whole.aux)) < toy.TOLERANCE
  parts = [(read.added_bld, read.gated) for read in reads]
  joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *parts)
  assert toy.error(joined, (whole.added_bld, whole.gated)) < toy.TOLERANCE
  chex.assert_trees_all_equal(*[read.slots for read in reads])


@every_memory
def test_padding_has_no_effect(name):
  """Values where ok is False do not affect the statistics, the losses or the other tokens."""
  case, (segments, _, _) = trial(name), material()
  segment, state = at(segments, 3), used(name)
  segment = dataclasses.replace(segment, ok_bl=np.tile([True, True, True, False], (B, 1)))

  def spoiled(a_bl):
    return np.concatenate([a_bl[:, :-1], 10 * a_bl[:, -1:]], axis=1)

  other = dataclasses.replace(segment, q_blhk=spoiled(segment.q_blhk))
  reads = [case.read(state, each) for each in (segment, other)]
  chex.assert_trees_all_equal(*[(read.stats, read.aux, read.slots) for read in reads])
  chex.assert_trees_all_equal(
    *[jax.tree.map(lambda a: a[:, :-1], (read.added_bld, read.gated)) for read in reads]
  )


@every_memory
def test_a_lane_does_not_depend_on_the_others(name):
  """The second lane alone has the same state and reads."""
  case, (segments, pasts, keys_bs) = trial(name), material()
  alone = slice(1, 2)
  state, reads = case.memory.scan(
    case.empty(1),
    *rows((segments, pasts, NEW_DOC), alone),
    project,
    keys_bs=keys_bs[alone],
    view=VIEWS['memory'],
  )
  expected, reads_s = case.loop()
  assert toy.error(state, rows(expected, alone)) < toy.TOLERANCE
  last = at(dataclasses.replace(reads, aux={}), S - 1)
  expected = rows((reads_s[-1].added_bld, reads_s[-1].gated), alone)
  assert toy.error((last.added_bld, last.gated), expected) < toy.TOLERANCE


@every_memory
@pytest.mark.parametrize('view', VIEWS)
def test_the_scan_equals_the_loop_of_the_contract(name, view):
  """For memories that override the default scan; with every view."""
  case, (segments, pasts, keys_bs) = trial(name), material()
  if view != 'memory' and type(case.memory).scan is Memory.scan:
    pytest.skip('uses the default scan')

  @toy.quickly
  def scan(state):
    return case.memory.scan(state, segments, pasts, NEW_DOC, project, keys_bs=keys_bs, view=VIEWS[view])

  state, reads = scan(case.empty())
  expected, reads_s = case.loop(view=VIEWS[view])
  aux = jax.tree.map(lambda *a: sum(a), *[read.aux for read in reads_s])
  assert toy.error((state, reads.aux), (expected, aux)) < toy.TOLERANCE
  assert described(state) == described(case.empty())
  for s, read in enumerate(reads_s):
    mine = at(dataclasses.replace(reads, aux={}), s)
    chex.assert_trees_all_equal(mine.ok_b, read.ok_b)
    assert (
      toy.error((mine.added_bld, mine.gated, mine.plots), (read.added_bld, read.gated, read.plots))
      < toy.TOLERANCE
    )
    for a, b in zip(mine.slots, read.slots, strict=True):
      chex.assert_trees_all_equal(a.ok_bm, b.ok_bm)
      ok_bm = np.asarray(b.ok_bm)
      assert toy.error(*[(x.k_bmhk[ok_bm], x.v_bmhk[ok_bm], x.age_bm[ok_bm]) for x in (a, b)]) < toy.TOLERANCE


@every_memory
def test_random_keys_affect_exactly_the_memories_that_draw(name):
  case = trial(name)
  states = [case.loop(keyed=keyed)[0] for keyed in (True, False)]
  drawn = any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, states), strict=True))
  assert drawn == case.memory.traits.draws


@every_memory
def test_every_weight_has_its_auxiliary_loss(name):
  case, (segments, _, _) = trial(name), material()
  assert case.read(used(name), at(segments, 3)).aux.keys() >= case.memory.aux_weights().keys()
