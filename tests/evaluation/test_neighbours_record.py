"""The record of a memory of nearest neighbours: the ages of what it retrieves."""

import numpy as np
import pytest

from tests import toy
from tests.evaluation.documents import record


@pytest.mark.parametrize('name', ['neighbours', pytest.param('stacked_neighbours', marks=pytest.mark.slow)])
def test_the_ages_of_retrieved_tokens_are_counted(name):
  memories = record(toy.MEMORIES[name], 23).neighbours
  assert memories
  for memory in memories.values():
    retrieved_a, expected_a = memory.retrieved_a, memory.expected_a
    # Per segment: heads x queries x retrieved tokens, from at most two stored segments.
    found = sum(4 * min(4, 23 - 4 * i) * min(3, 4 * min(i, 2)) for i in range(6))
    assert retrieved_a.sum() == found == pytest.approx(expected_a.sum())
    assert (
      np.flatnonzero(retrieved_a).max() <= 11
    )  # From the last token of a segment to two segments earlier.
    assert (retrieved_a[expected_a < 1e-9] == 0).all()
    age_th = np.arange(23)[:, None] - memory.held_th - 1
    assert (age_th[4:] >= 1).all()
    assert (age_th[4:] <= 11).all()
    assert (memory.held_th[:4] == -1).all()


def test_a_document_of_one_segment_retrieves_nothing():
  (memory,) = record(toy.MEMORIES['neighbours'], 3).neighbours.values()
  assert memory.retrieved_a.tolist() == [0] * 4
  assert memory.expected_a.shape == (4,)
  assert memory.expected_a.sum() == 0
  assert (memory.held_th == -1).all()
