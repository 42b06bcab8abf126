"""The first part of a model that is not finite has its name in the error."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.evaluation.not_finite import require_finite
from infformer_jax.train.exits import NotFiniteModelError

ONE = jnp.ones(2)
PARAMS = {'blocks': {i: {'mlp': {'bias': ONE}} for i in range(11)}, 'vocabulary': {'embedding': {'e': ONE}}}
STAGES = 13  # the embeddings, 11 layers, the logits


def flags(*stages):
  """The flags of two rows; some stages are not finite in the second."""
  finite_bi = np.ones((2, STAGES), bool)
  finite_bi[1, list(stages)] = False
  return finite_bi


def test_finite_values_pass():
  require_finite(flags(), PARAMS, 'here')


@pytest.mark.parametrize(
  ('stages', 'message'),
  [
    ((0, 1), 'the output of vocabulary/embedding is not finite here'),
    ((11, 12), 'the output of blocks/10 is not finite here, although all parameters are finite'),
    ((12,), 'the logits are not finite here'),
  ],
)
def test_the_first_output_that_is_not_finite_has_its_name_in_the_error(stages, message):
  with pytest.raises(NotFiniteModelError, match=re.escape(message)):
    require_finite(flags(*stages), PARAMS, 'here')


def test_parameters_that_are_not_finite_come_first_in_the_order_of_the_layers():
  def params(*bad, embedding=ONE):
    blocks = {i: {'mlp': {'bias': ONE * jnp.nan if i in bad else ONE}} for i in range(11)}
    return {'blocks': blocks, 'vocabulary': {'embedding': {'e': embedding}}}

  with pytest.raises(NotFiniteModelError, match='the parameters of blocks/2/mlp are not finite'):
    require_finite(flags(5), params(2, 10), 'here')
  with pytest.raises(NotFiniteModelError, match='the parameters of vocabulary/embedding are not finite'):
    require_finite(flags(5), params(2, embedding=ONE * jnp.inf), 'here')
