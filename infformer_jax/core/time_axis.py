"""Where the tokens of a document are on the time axis [0, 1] of a signal, and where a write moves them.

    Geometric      a write squeezes the old signal into [0, τ]: a segment has τ times the share of the next
    Uniform        the write after k others has τ = k/(k+1): all segments have the same share
    Logarithmic    t(a) = 1 - log(1 + a/a0) / log(1 + H/a0) for an age of a tokens: all octaves of age beyond
                   a0 have the same share, and what is older than H tokens is dropped

Ages are in tokens, 0 the newest. The token of age a has the interval (time(a + 1), time(a)], and a write of l
values makes everything l tokens older. The first two axes are full after the first write. The logarithmic one
fills from the newest end: a document of k segments begins at `start`, t(k l), and what is before it is empty.

Sources: ∞-former, section 3.2 (Geometric). A logarithmic axis of the past: Shankar and Howard (2013),
Jacques et al., "DeepSITH" (2021).
"""

import abc
import dataclasses
import math
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from infformer_jax.core.arrays import ArrayT, on_last_axis


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeAxis(abc.ABC):
  """One contraction. `writes` is a number of writes of one document."""

  segment_length: int  # l, tokens per write

  @abc.abstractmethod
  def moved(self, u: Any, writes: Any) -> Any:
    """Where the write that follows `writes` >= 1 others places what was at u; negative: it is dropped.

    Args:
      u: of NumPy or jax.
      writes: an int, or an array that broadcasts with u.
    """

  @abc.abstractmethod
  def new_times(self, writes: Any) -> Any:
    """Where the write that follows `writes` >= 1 others places its l values: increasing to 1.

    Args:
      writes: an int, or a floating array [...], whose dtype the result has.
    Returns:
      float64 [l] on the host for an int, else [..., l].
    """

  @abc.abstractmethod
  def time(self, age: Float[np.ndarray, '*a'], writes: int) -> Float[np.ndarray, '*a']:
    """The time of tokens after `writes` writes, on the host; 0 for ages that are not held."""

  @abc.abstractmethod
  def age(self, time: Float[np.ndarray, '*a'], writes: int) -> Float[np.ndarray, '*a']:
    """The age of what is at times in [0, 1] after `writes` writes, on the host: the inverse of `time`.

    On a logarithmic axis also for the empty part, whose ages exceed the length of the document.
    """

  def start(self, writes_b: Int[Array, '*b'], dtype: Any) -> Float[Array, '*b'] | None:
    """Where the document begins, after at least one write; None: always at 0."""
    return None

  def limited(self, points_bp: Float[Array, 'b p']) -> Float[Array, 'b p']:
    """The points at which a sticky memory samples the old signal, as far as this axis allows.

    Args:
      points_bp: increasing; point i is written where (i + 1) / P would be.
    """
    return points_bp


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Squeezed(TimeAxis):
  """An axis whose writes squeeze the old signal into [0, τ]; times are linear in age within a segment."""

  @abc.abstractmethod
  def tau(self, writes: Any) -> Any:
    """τ of the write that follows `writes` others, in the type of `writes`."""

  @abc.abstractmethod
  def boundaries(self, writes: int) -> Float[np.ndarray, 'w']:
    """The times between segments after `writes` writes, from the newest, 1, to the oldest, 0."""

  def moved(self, u: Any, writes: Any) -> Any:
    return self.tau(writes) * u

  def new_times(self, writes: Any) -> Any:
    even_l = np.arange(1, self.segment_length + 1) / self.segment_length
    tau = self.tau(writes)
    if isinstance(writes, int):
      return tau + (1 - tau) * even_l
    tau, even_l = tau[..., None], on_last_axis(even_l.astype(writes.dtype), writes.ndim + 1)
    return tau + (1 - tau) * even_l

  def time(self, age: Float[np.ndarray, '*a'], writes: int) -> Float[np.ndarray, '*a']:
    return np.interp(age, self._ages(writes), self.boundaries(writes))

  def age(self, time: Float[np.ndarray, '*a'], writes: int) -> Float[np.ndarray, '*a']:
    return np.interp(time, self.boundaries(writes)[::-1], self._ages(writes)[::-1])

  def _ages(self, writes: int) -> Float[np.ndarray, 'w']:
    return self.segment_length * np.arange(writes + 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometric(_Squeezed):
  """The published contraction."""

  contraction: float  # τ

  def tau(self, writes: Any) -> Any:
    return 0 * writes + self.contraction

  def boundaries(self, writes: int) -> Float[np.ndarray, 'w']:
    return np.append(self.contraction ** np.arange(writes), 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform(_Squeezed):
  """Positions depend on the number of writes, so that every write solves its own regression."""

  def tau(self, writes: Any) -> Any:
    return writes / (writes + 1)

  def boundaries(self, writes: int) -> Float[np.ndarray, 'w']:
    return np.arange(writes, -1, -1) / writes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logarithmic(TimeAxis):
  """The same positions for every write, and the same resolution for every octave of age."""

  horizon: float  # H, tokens
  scale: float  # a0, tokens: younger tokens have equal shares

  def moved(self, u: ArrayT, writes: Any) -> ArrayT:
    xp = np if isinstance(u, np.ndarray) else jnp
    return self._time(self._age(u, xp) + self.segment_length, xp)

  def new_times(self, writes: Any) -> Any:
    times_l = self._time(np.arange(self.segment_length - 1.0, -1, -1), np)
    if isinstance(writes, int):
      return times_l
    shape = (*writes.shape, self.segment_length)
    return jnp.broadcast_to(on_last_axis(times_l.astype(writes.dtype), len(shape)), shape)

  def time(self, age: Float[np.ndarray, '*a'], writes: int) -> Float[np.ndarray, '*a']:
    return np.maximum(self._time(age, np), 0)

  def age(self, time: Float[np.ndarray, '*a'], writes: int) -> Float[np.ndarray, '*a']:
    return self._age(time, np)

  def start(self, writes_b: Int[Array, '*b'], dtype: Any) -> Float[Array, '*b']:
    tokens_b = self.segment_length * jnp.maximum(writes_b, 1).astype(dtype)
    return jnp.maximum(self._time(tokens_b, jnp), 0)

  def limited(self, points_bp: Float[Array, 'b p']) -> Float[Array, 'b p']:
    """Content that is read ages at half the speed at least, other content at one and a half at most.

    Even writes move old content by little. Points without this limit would displace it further, with every
    one of thousands of writes, so that an age would lose its place, and overshoots would grow. They still
    can, slowly, where every segment is read exactly where the signal is largest.
    """
    num = points_bp.shape[-1]
    u_p = np.arange(1, num + 1) / num
    step_p = (u_p - self.moved(u_p, 1)) / 2
    low_p, high_p = (jnp.asarray(a, points_bp.dtype)[None] for a in (u_p - step_p, u_p + step_p))
    return jnp.clip(points_bp, jnp.maximum(low_p, 0), jnp.minimum(high_p, 1))

  def _time(self, age: ArrayT, xp: ModuleType) -> ArrayT:
    return 1 - xp.log1p(age / self.scale) / math.log1p(self.horizon / self.scale)

  def _age(self, time: ArrayT, xp: ModuleType) -> ArrayT:
    return self.scale * xp.expm1((1 - time) * math.log1p(self.horizon / self.scale))
