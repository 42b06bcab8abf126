"""The decorator of dataclasses that pass through jax transformations."""

import dataclasses
from typing import TypeVar, dataclass_transform

import jax

_T = TypeVar('_T')


@dataclass_transform(frozen_default=True, kw_only_default=True)
def pytree(cls: type[_T]) -> type[_T]:
  """A frozen, keyword-only dataclass whose fields are pytree children.

  A field with `metadata={'static': True}` belongs to the structure instead; its value is hashable.

  >>> @pytree
  ... class Point:
  ...   x: float
  ...   y: float
  >>> jax.tree.map(lambda value: 2 * value, Point(x=1.0, y=2.0))
  Point(x=2.0, y=4.0)
  """
  return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, kw_only=True)(cls))
