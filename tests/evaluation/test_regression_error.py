"""The regression error of a model, compared with a plain loop over the writes of one memory."""

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import signal
from infformer_jax.core.signal_spec import even_points
from infformer_jax.evaluation.regression_error import regression_error
from tests import toy
from tests.evaluation.documents import split


def looped(trained, documents):
  """Σ|X - X̄|² / Σ|X|² of the memory of layer 0; the window has one segment."""
  model, totals = trained.model(), np.zeros(2)
  spec, length = model.blocks[0].memory.spec, toy.LENGTH
  present_l = spec.contraction + (1 - spec.contraction) * even_points(length)
  for index in range(len(documents)):
    tokens = np.concatenate([[0], documents.tokens(index)[:-1]])
    x_td = model.blocks[0].attention_input(model.embed(tokens[None], jnp.arange(len(tokens))[None]))[0]
    num_segments = -(-len(tokens) // length)
    b_bnd = jnp.zeros((1, spec.basis.num_basis, x_td.shape[-1]), x_td.dtype)
    for write in range(num_segments - 2):  # The last two segments are in the window.
      x_bld = x_td[None, write * length : (write + 1) * length]
      b_bnd = signal.write(spec, b_bnd, jnp.full(1, write), x_bld)
      if write:
        error_bld = x_bld - signal.sample(spec.basis, b_bnd, present_l[None])
        totals += float((error_bld**2).sum()), float((x_bld**2).sum())
  return totals[0] / totals[1]


def test_the_error_equals_that_of_a_loop_over_the_writes():
  trained = toy.trained(toy.config(toy.small('continuous', sampling='even', layers=(0,))))
  documents = split(23, 5, 30)
  error = regression_error(trained, documents, 0)
  assert 0 < error < 1
  assert error == pytest.approx(looped(trained, documents), rel=10 * toy.TOLERANCE)


def test_a_stack_has_the_error_of_its_continuous_memory():
  trained = toy.trained(toy.config(toy.MEMORIES['stacked']))
  assert 0 < regression_error(trained, split(23, 30), 0) < 1


@pytest.mark.parametrize(('name', 'length'), [('recent', 30), ('even', 3 * toy.LENGTH)])
def test_without_a_second_write_to_a_continuous_memory_there_is_no_error(name, length):
  assert regression_error(toy.trained(toy.config(toy.MEMORIES[name])), split(length), 0) is None
