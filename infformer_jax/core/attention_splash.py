"""Attention by JAX's splash kernel for TPUs, where it computes exactly the result of core/attention.py.

The kernel has windows of consecutive tokens, segment ids, which serve for keys that do not exist, and grouped
keys. It has no position terms, dropout or second part. Its blocks are multiples of 128 tokens, every query
must see a key, and it cannot be partitioned over devices.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from infformer_jax.core.attention_parts import Part, Queries, WeightDropout, WindowKind, finite, seen_by

_BLOCKS = (512, 256, 128)


def covers(queries: Queries, parts: Sequence[Part], dropout: WeightDropout | None) -> bool:
  """Whether the kernel computes exactly this attention, on the devices of this process."""
  if dropout is not None or len(parts) > 1 or jax.device_count() > 1:
    return False
  part, dtype, size = parts[0], queries.q_blhk.dtype, queries.q_blhk.shape[-1]
  if not part.consecutive or part.position is not None or part.window == 'past':
    return False
  # The queries are scaled instead of the scores. In bfloat16 this is exact for powers of 2.
  exact_in_bfloat16 = queries.scale_h is None and math.log2(size) % 2 == 0
  if dtype != jnp.float32 and not (dtype == jnp.bfloat16 and exact_in_bfloat16):
    return False
  return all(tokens % _BLOCKS[-1] == 0 for tokens in (queries.q_blhk.shape[1], part.ok_bm.shape[1]))


def attend(queries: Queries, parts: Sequence[Part], *, interpret: bool = False) -> Float[Array, 'b l h k']:
  """The result of core/attention.py `attend`, where the kernel `covers` it.

  Args:
    queries, parts: as `attend` gets them.
    interpret: whether to interpret the kernel, on any platform.
  """
  (part,) = finite(queries, parts)
  sees_bl = seen_by(queries, part).any(axis=-1)
  q_blhk, (_, length, num_heads, size) = queries.q_blhk, queries.q_blhk.shape
  if queries.scale_h is None:
    q_blhk = q_blhk / math.sqrt(size)
  else:
    q_blhk = q_blhk * queries.scale_h[None, None, :, None]
  kernel = _kernel(part.window, part.reach, num_heads, (length, part.ok_bm.shape[1]), interpret)
  by_head = (jnp.swapaxes(x, 1, 2) for x in (q_blhk, part.k_bmhk, part.v_bmhk))
  # A query without keys gets those that do not exist, which are zeros, so that it sees some.
  context_bhlk = jax.vmap(kernel)(*by_head, sees_bl.astype(jnp.int32), part.ok_bm.astype(jnp.int32))
  return jnp.where(sees_bl[:, :, None, None], jnp.swapaxes(context_bhlk, 1, 2), 0)


def _kernel(
  window: WindowKind, reach: int, num_heads: int, shape: tuple[int, int], interpret: bool
) -> Callable[..., Array]:
  """The function of one row: q, k, v with the heads first, and the segments of queries and keys."""
  from jax.experimental.pallas.ops.tpu import splash_attention as splash  # It takes a second to load.

  past = shape[1] - shape[0]
  mask: Any = splash.CausalMask(shape, offset=past)
  if window == 'sliding':
    mask = splash.LocalMask(shape, window_size=(reach - 1, 0), offset=past)
  q, kv = (next(block for block in _BLOCKS if tokens % block == 0) for tokens in shape)
  blocks = splash.BlockSizes(
    block_q=q,
    block_kv=kv,
    block_kv_compute=kv,
    block_q_dkv=q,
    block_kv_dkv=kv,
    block_kv_dkv_compute=kv,
    block_q_dq=q,
    block_kv_dq=kv,
  )
  kernel = splash.make_splash_mha_single_device(
    mask=splash.MultiHeadMask([mask] * num_heads),
    block_sizes=blocks,
    interpret=interpret,
  )
  return lambda q, k, v, q_segments, kv_segments: kernel(
    q, k, v, segment_ids=splash.SegmentIds(q=q_segments, kv=kv_segments)
  )
