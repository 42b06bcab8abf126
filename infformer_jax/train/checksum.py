"""Checksums of arrays, independent of their sharding."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.types import Array


@jax.jit
def checksum(x: Array) -> Array:
  """Two sums over the elements, uint32 [2]: their bits times an odd hash of the index of the element.

  A sum of integers does not depend on the order, so the checksum does not depend on the sharding, and no
  array is gathered. One flipped bit changes both sums; any other change is missed with probability 2^-62.
  """
  if x.dtype == bool:
    x = x.astype(jnp.uint8)
  elif x.dtype.itemsize == 8:
    x = jax.lax.bitcast_convert_type(x, jnp.uint32)
  else:
    x = jax.lax.bitcast_convert_type(x, f'uint{8 * x.dtype.itemsize}')
  index = jnp.zeros(x.shape, jnp.uint32)
  for axis, size in enumerate(x.shape):
    index = index * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)

  def weight(multiplier: int) -> Array:
    mixed = (index + 1) * np.uint32(multiplier)
    mixed = (mixed ^ (mixed >> 16)) * np.uint32(0x85EBCA6B)
    return (mixed ^ (mixed >> 13)) | 1

  bits = x.astype(jnp.uint32)
  return jnp.stack([(bits * weight(m)).sum(dtype=jnp.uint32) for m in (0x9E3779B1, 0xC2B2AE3D)])


def described(arrays: Mapping[str, Array]) -> dict[str, str]:
  """The kind of every array, and its checksum.

  >>> described({'a': jnp.zeros((2, 3))})
  {'a': 'float32[2,3] 0000000000000000'}
  """
  # One after the other: on a CPU, programs of many devices that communicate at the same time can block.
  sums = {key: np.asarray(checksum(array)) for key, array in arrays.items()}
  return {
    key: f'{kind(array)} {"".join(f"{part:08x}" for part in sums[key])}' for key, array in arrays.items()
  }


def kind(array: Any) -> str:
  """Dtype and shape: 'float32[2,3]'."""
  return f'{array.dtype}[{",".join(map(str, array.shape))}]'


def kind_in(description: str) -> str:
  """The kind of an array that `described` has described.

  >>> kind_in('float32[2,3] 0000000000000000')
  'float32[2,3]'
  """
  return description.rpartition(' ')[0]


def digest(content: Any) -> str:
  """sha256 of the content as JSON with sorted keys."""
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
