"""Checksums depend on every bit and on the order of the elements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.train.checksum import checksum, described, digest, kind


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'uint8', 'bool'])
def test_every_single_bit_changes_the_checksum(dtype):
  rng = np.random.default_rng(0)
  x = np.asarray(jnp.asarray(rng.integers(0, 2, size=(3, 5)), dtype))
  before = np.asarray(checksum(x)).tolist()
  raw = x.tobytes()
  for bit in range(8 * len(raw)) if dtype != 'bool' else range(0, 8 * len(raw), 8):
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << (bit % 8)
    after = np.asarray(checksum(np.frombuffer(bytes(flipped), x.dtype).reshape(x.shape))).tolist()
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_the_order_of_the_elements_changes_the_checksum_and_the_shape_is_separate():
  x = jnp.arange(12.0).reshape(3, 4)
  assert described({'x': x}) != described({'x': x[::-1]})
  assert described({'x': x}) != described({'x': x.reshape(4, 3)})
  assert described({'x': x})['x'].startswith('float32[3,4] ')


def test_a_digest_does_not_depend_on_the_order_of_keys():
  assert digest({'a': 1, 'b': [0.1]}) == digest({'b': [0.1], 'a': 1})
  assert digest({'a': 1}) != digest({'a': 2})


def test_a_kind_is_the_dtype_and_shape_of_concrete_and_abstract_arrays():
  assert kind(np.zeros((2, 3), np.int32)) == 'int32[2,3]'
  assert kind(jax.ShapeDtypeStruct((), jnp.bfloat16)) == 'bfloat16[]'
