"""Attention to the most similar of many stored keys: a search, and a softmax over what it found.

Source: Wu et al. 2022, Memorizing Transformers, section 3.2; published code: meliad, memory_on_tpu.py
(search) and attention.py, external_attention. Differs from it: what is empty is masked, so that a memory with
fewer keys than are asked for gives only those.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from infformer_jax.core import attention


def search(
  q_blhk: Float[Array, 'b l h k'],
  k_bmhk: Float[Array, 'b m h k'],
  ok_bm: Bool[Array, 'b m'],
  num: int,
  *,
  approximate: bool = False,
) -> Int[Array, 'b l h j']:
  """The slots of the `num` largest dot products, per query and head; it carries no gradient.

  Args:
    q_blhk, k_bmhk: unit vectors.
    ok_bm: which slots hold a key. Those that do not come after all that do.
    num: j, at most m.
    approximate: may miss one in twenty on a TPU (Chern et al. 2022); elsewhere the search is exact.
  """
  q_blhk, k_bmhk = jax.lax.stop_gradient((q_blhk, k_bmhk))
  wide = jnp.promote_types(q_blhk.dtype, jnp.float32)
  scores_blhm = jnp.einsum('blhk,bmhk->blhm', q_blhk, k_bmhk, preferred_element_type=wide)
  scores_blhm = jnp.where(ok_bm[:, None, None], scores_blhm, attention.MASKED)
  # Not jax.lax.top_k, for which XLA gathers the lanes of all devices; with a target of 1 this is exact.
  return jax.lax.approx_max_k(scores_blhm, num, recall_target=0.95 if approximate else 1.0)[1]


def retrieve(
  slots_bmhk: Float[Array, 'b m h k'], index_blhj: Int[Array, 'b l h j']
) -> Float[Array, 'b l h j k']:
  """What each head has stored in the slots that it found."""
  of_head = jax.vmap(lambda slots_mk, index_lj: slots_mk[index_lj], in_axes=1, out_axes=1)
  return jax.vmap(of_head)(slots_bmhk, index_blhj)


def attend(
  q_blhk: Float[Array, 'b l h k'],
  k_blhjk: Float[Array, 'b l h j k'],
  v_blhjk: Float[Array, 'b l h j k'],
  ok_blhj: Bool[Array, 'b l h j'],
  scale_h: Float[Array, ' h'],
) -> Float[Array, 'b l h k']:
  """softmax(|scale_h|·q·k)·v over the keys that were found, where ok; 0 for a query that found none."""
  wide = jnp.promote_types(q_blhk.dtype, jnp.float32)
  scores_blhj = jnp.einsum('blhk,blhjk->blhj', q_blhk, k_blhjk, preferred_element_type=wide)
  weights_blhj = attention.softmax(scores_blhj * jnp.abs(scale_h)[:, None], ok_blhj)
  return jnp.einsum('blhj,blhjk->blhk', weights_blhj.astype(v_blhjk.dtype), v_blhjk)


def recall(
  found_blhj: Int[Array, 'b l h j'], nearest_blhj: Int[Array, 'b l h j'], ok_blhj: Bool[Array, 'b l h j']
) -> Float[Array, 'b l h']:
  """Which fraction of the nearest slots, where ok, was found; 0 where none is ok.

  Of slots that are equally near, to rounding, two searches may name others, which counts as a miss: equal
  inputs, such as repeated tokens in a first layer, have equal keys. So it can be below 1 where both searches
  are exact, as they are on a CPU.
  """
  hit_blhj = (found_blhj[..., :, None] == nearest_blhj[..., None, :]).any(axis=-2) & ok_blhj
  return hit_blhj.sum(axis=-1) / jnp.maximum(ok_blhj.sum(axis=-1), 1)
