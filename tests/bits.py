"""Arrays as the integers of their bits: equal bits are stricter than equal numbers (-0 and 0, NaN)."""

import jax
import jax.numpy as jnp
import numpy as np


def bits(tree):
  """The same tree with NumPy arrays of unsigned integers; random keys are the numbers they hold."""

  def of_leaf(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).view(f'uint{8 * leaf.dtype.itemsize}')

  return jax.tree.map(of_leaf, tree)
