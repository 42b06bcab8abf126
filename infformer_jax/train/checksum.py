"""Checksums of arrays that do not depend on how they are split over devices."""

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
  """uint32 [2]: two sums of the elements' bits, each times an odd number that hashes the element's index.

  Sums of integers do not depend on their order, so neither does this on the sharding, and nothing is
  gathered. One flipped bit changes both sums; any other change goes unseen about once in 2^62.
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
  """What every array is, and its checksum.

  >>> described({'a': jnp.zeros((2, 3))})
  {'a': 'float32[2,3] 0000000000000000'}
  """
  sums = jax.device_get({key: checksum(array) for key, array in arrays.items()})
  return {
    key: f'{kind(array)} {"".join(f"{part:08x}" for part in sums[key])}' for key, array in arrays.items()
  }


def kind(array: Any) -> str:
  """Dtype and shape: 'float32[2,3]'."""
  return f'{array.dtype}[{",".join(map(str, array.shape))}]'


def digest(content: Any) -> str:
  """sha256 of what JSON says, whatever the order of its keys."""
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
