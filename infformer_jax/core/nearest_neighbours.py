"""Attention to the most similar of many stored keys: a search, then a softmax over the keys found.

Source: Wu et al. 2022, Memorizing Transformers, section 3.2; published code: meliad, memory_on_tpu.py
(search) and attention.py, external_attention. Differs from it: empty slots are masked, so that a memory with
fewer keys than requested returns only those.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from infformer_jax.core import attention, placement
from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.attention_softmax import MASKED

TILE_SCORES = 2**23
"""Scores that a search on a CPU computes at a time, for some queries of one group: 32 MiB in float32."""


def search(
  q_blhk: Float[Array, 'b l h k'],
  k_bmgk: Float[Array, 'b m g k'],
  ok_bm: Bool[Array, 'b m'],
  num: int,
  *,
  approximate: bool = False,
) -> Int[Array, 'b l h j']:
  """The slots of the `num` largest dot products, per query and head; it carries no gradient.

  This is the only place that chooses an implementation by the backend.

  Args:
    q_blhk, k_bmgk: unit vectors; h / g consecutive heads share the keys of one group.
    ok_bm: which slots hold a key; the others are ranked last.
    num: j, at most m.
    approximate: may miss one in twenty on a TPU (Chern et al. 2022); elsewhere the search is exact.
  Raises:
    ValueError: there are fewer slots than num.
  """
  if num > k_bmgk.shape[1]:
    raise ValueError(f'num = {num} must be at most the number of slots, {k_bmgk.shape[1]}')
  num_heads, groups = q_blhk.shape[2], k_bmgk.shape[2]
  q_blgk, k_bmgk = jax.lax.stop_gradient((_by_group(q_blhk, groups), k_bmgk))

  def chosen(q_blgk: Array, k_bmgk: Array, ok_bm: Array) -> Array:
    return jax.lax.platform_dependent(
      q_blgk,
      k_bmgk,
      ok_bm,
      cpu=functools.partial(_search_by_tiles, num=num),
      default=functools.partial(_search_at_once, num=num, recall=0.95 if approximate else 1.0),
    )

  index_blgj = placement.by_shard_of_heads(chosen, (q_blgk, k_bmgk, ok_bm), (2, 2, None), out_axes=2)
  return _by_head(index_blgj, num_heads)


def retrieve(
  slots_bmgk: Float[Array, 'b m g k'], index_blhj: Int[Array, 'b l h j']
) -> Float[Array, 'b l h j k']:
  """The keys or values of each head's group, in the slots that the head found."""
  of_group = jax.vmap(lambda slots_mk, index_lj: slots_mk[index_lj], in_axes=1, out_axes=1)
  found_blgjk = jax.vmap(of_group)(slots_bmgk, _by_group(index_blhj, slots_bmgk.shape[2]))
  return _by_head(found_blgjk, index_blhj.shape[2])


def attend(
  q_blhk: Float[Array, 'b l h k'],
  k_blhjk: Float[Array, 'b l h j k'],
  v_blhjk: Float[Array, 'b l h j k'],
  ok_blhj: Bool[Array, 'b l h j'],
  scale_bh: Float[Array, '#b h'],
) -> Float[Array, 'b l h k']:
  """softmax(|scale_bh|·q·k)·v over the keys that were found, where ok; 0 for a query that found none."""
  wide = at_least_float32(q_blhk.dtype)
  scores_blhj = jnp.einsum('blhk,blhjk->blhj', q_blhk, k_blhjk, preferred_element_type=wide)
  weights_blhj = attention.softmax(scores_blhj * jnp.abs(scale_bh)[:, None, :, None], ok_blhj)
  return jnp.einsum('blhj,blhjk->blhk', weights_blhj.astype(v_blhjk.dtype), v_blhjk)


def recall(
  found_blhj: Int[Array, 'b l h j'], nearest_blhj: Int[Array, 'b l h j'], ok_blhj: Bool[Array, 'b l h j']
) -> Float[Array, 'b l h']:
  """The fraction of the nearest slots, where ok, that was found; 0 where none is ok.

  Two searches may return different slots among equally near ones (equal inputs, such as repeated tokens in a
  first layer, have equal keys), which counts as a miss. So the recall can be below 1 even if both
  searches are exact, as they are on a CPU.
  """
  hit_blhj = (found_blhj[..., :, None] == nearest_blhj[..., None, :]).any(axis=-2) & ok_blhj
  return hit_blhj.sum(axis=-1) / jnp.maximum(ok_blhj.sum(axis=-1), 1)


def _search_at_once(
  q_blgk: Array, k_bmgk: Array, ok_bm: Array, *, num: int, recall: float
) -> Int[Array, 'b l g j']:
  """All scores, then the selection for which a TPU has hardware; it is exact for a recall of 1."""
  wide = at_least_float32(q_blgk.dtype)
  scores_blgm = jnp.einsum('blgk,bmgk->blgm', q_blgk, k_bmgk, preferred_element_type=wide)
  scores_blgm = jnp.where(ok_bm[:, None, None], scores_blgm, MASKED)
  # Not jax.lax.top_k, for which XLA gathers the lanes of all devices.
  return jax.lax.approx_max_k(scores_blgm, num, recall_target=recall)[1]


def _search_by_tiles(q_blgk: Array, k_bmgk: Array, ok_bm: Array, *, num: int) -> Int[Array, 'b l g j']:
  """One group at a time, and of it a tile of queries whose scores fit into the cache of a CPU; no sorting."""
  b, length, groups, _ = q_blgk.shape
  tile = min(length, max(1, TILE_SCORES // ok_bm.size))
  padded = jnp.pad(q_blgk, ((0, 0), (0, -length % tile), (0, 0), (0, 0)))
  q_gibtk = jnp.transpose(padded.reshape(b, -1, tile, groups, q_blgk.shape[-1]), (3, 1, 0, 2, 4))
  largest = jax.vmap(jax.vmap(functools.partial(_largest, num=num)))

  def of_group(group_queries: tuple[Array, Array]) -> Int[Array, 'i b t j']:
    group, q_ibtk = group_queries
    k_bmk = jax.lax.dynamic_index_in_dim(k_bmgk, group, axis=2, keepdims=False)

    def of_tile(q_btk: Array) -> Int[Array, 'b t j']:
      # Not einsum, which may compute the transpose: the scores of a query must be contiguous.
      by_row, wide = (((2,), (2,)), ((0,), (0,))), at_least_float32(q_btk.dtype)
      scores_btm = jax.lax.dot_general(q_btk, k_bmk, by_row, preferred_element_type=wide)
      return largest(jnp.where(ok_bm[:, None], scores_btm, MASKED))

    return jax.lax.map(of_tile, q_ibtk)

  index_gibtj = jax.lax.map(of_group, (jnp.arange(groups), q_gibtk))
  return jnp.transpose(index_gibtj, (2, 1, 3, 0, 4)).reshape(b, -1, groups, num)[:, :length]


def _largest(scores_m: Float[Array, ' m'], num: int) -> Int[Array, '{num}']:
  """The places of the largest scores, in descending order.

  The scores are an array [c, m/c], and the largest of every column is known. Each step takes the largest of
  these, and searches the rest of its column for the next one: m + num (c + m/c) operations.
  """
  rows = 2 ** max(0, round(math.log2(scores_m.shape[0]) / 2) - 1)  # c: √m / 2, the fastest of those tried
  scores_cm = jnp.pad(scores_m, (0, -scores_m.shape[0] % rows), constant_values=-jnp.inf).reshape(rows, -1)

  def take(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
    scores_cm, largest_m = carry
    column = jnp.argmax(largest_m)
    row = jnp.argmax(scores_cm[:, column])
    rest_c = scores_cm[:, column].at[row].set(-jnp.inf)
    carry = scores_cm.at[row, column].set(-jnp.inf), largest_m.at[column].set(rest_c.max())
    return carry, (row * scores_cm.shape[1] + column).astype(jnp.int32)

  return jax.lax.scan(take, (scores_cm, scores_cm.max(axis=0)), length=num)[1]


def _by_group(x_blh: Array, groups: int) -> Array:
  """[b, l, h, ...] -> [b, l·h/g, g, ...]: the heads of a group are more queries of the same keys."""
  b, length, num_heads, *rest = x_blh.shape
  x = x_blh.reshape(b, length, groups, num_heads // groups, *rest)
  return jnp.swapaxes(x, 2, 3).reshape(b, length * num_heads // groups, groups, *rest)


def _by_head(x_blg: Array, num_heads: int) -> Array:
  """The inverse of `_by_group`."""
  b, _, groups, *rest = x_blg.shape
  x = x_blg.reshape(b, -1, num_heads // groups, groups, *rest)
  return jnp.swapaxes(x, 2, 3).reshape(b, -1, num_heads, *rest)
