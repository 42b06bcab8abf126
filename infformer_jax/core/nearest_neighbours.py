"""Attention to the most similar of many stored keys: a search, then a softmax over the keys found.

Source: Wu et al. 2022, Memorizing Transformers, section 3.2; published code: meliad, memory_on_tpu.py
(search) and attention.py, external_attention. Differs from it: empty slots are masked, so that a memory with
fewer keys than requested returns only those.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from infformer_jax.core import attention
from infformer_jax.core.arrays import at_least_float32


def search(
  q_blhk: Float[Array, 'b l h k'],
  k_bmgk: Float[Array, 'b m g k'],
  ok_bm: Bool[Array, 'b m'],
  num: int,
  *,
  approximate: bool = False,
) -> Int[Array, 'b l h j']:
  """The slots of the `num` largest dot products, per query and head; it carries no gradient.

  Args:
    q_blhk, k_bmgk: unit vectors; h / g consecutive heads share the keys of one group.
    ok_bm: which slots hold a key; the others are ranked last.
    num: j, at most m.
    approximate: may miss one in twenty on a TPU (Chern et al. 2022); elsewhere the search is exact.
  """
  num_heads, groups = q_blhk.shape[2], k_bmgk.shape[2]
  q_blgk, k_bmgk = jax.lax.stop_gradient((_by_group(q_blhk, groups), k_bmgk))
  wide = at_least_float32(q_blgk.dtype)
  scores_blgm = jnp.einsum('blgk,bmgk->blgm', q_blgk, k_bmgk, preferred_element_type=wide)
  scores_blgm = jnp.where(ok_bm[:, None, None], scores_blgm, attention.MASKED)
  # Not jax.lax.top_k, for which XLA gathers the lanes of all devices; with a target of 1 this is exact.
  index_blgj = jax.lax.approx_max_k(scores_blgm, num, recall_target=0.95 if approximate else 1.0)[1]
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
  scale_h: Float[Array, ' h'],
) -> Float[Array, 'b l h k']:
  """softmax(|scale_h|·q·k)·v over the keys that were found, where ok; 0 for a query that found none."""
  wide = at_least_float32(q_blhk.dtype)
  scores_blhj = jnp.einsum('blhk,blhjk->blhj', q_blhk, k_blhjk, preferred_element_type=wide)
  weights_blhj = attention.softmax(scores_blhj * jnp.abs(scale_h)[None, None, :, None], ok_blhj)
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
