"""Arrays as integers of their bits, for comparisons stricter than equality of numbers (-0 and 0, NaN)."""

import jax
import jax.numpy as jnp
import numpy as np


def bits(tree):
  """The tree with NumPy arrays of unsigned integers; random keys are replaced by their data."""

  def of_leaf(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).view(f'uint{8 * leaf.dtype.itemsize}')

  return jax.tree.map(of_leaf, tree)
