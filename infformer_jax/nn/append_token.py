"""A token of every row is appended to its open segment (nn/open_segment.py)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import attention as attention_core
from infformer_jax.core.attention import Part, WindowKind
from infformer_jax.core.positions import Aged, Relative
from infformer_jax.core.pytree import pytree
from infformer_jax.nn import window
from infformer_jax.nn.attention import Attention, Biases
from infformer_jax.nn.block import Block
from infformer_jax.nn.key_values import KeyValues, put
from infformer_jax.nn.open_segment import BlockPrepared, BlockTokens, OpenSlots, Prepared, Tokens
from infformer_jax.nn.transformer import Transformer, all_finite
from infformer_jax.types import Array, Segment


@pytree
class _Now:
  """What all layers share for one token."""

  count_b: Array  # int32, tokens of the segment before it
  active_b: Array  # bool
  since_b: Array  # int32, segments of the document before this one
  biases: Biases


def append(model: Transformer, prepared: Prepared, tokens: Tokens, token_b: Array, active_b: Array) -> Tokens:
  """Appends a token in the rows where active_b; the other rows do not change. No segment may be full.

  `tokens` are updated in place, if they are donated.
  """
  now = _Now(
    count_b=tokens.count_b, active_b=active_b, since_b=prepared.state.segments_b, biases=model.biases()
  )
  row_bl = window.rows(model.config, now.since_b, np.zeros(1, np.int32)) + now.count_b[:, None]
  x_bld, ok_bl = model.embed(token_b[:, None], row_bl), active_b[:, None]
  blocks, finite = [], [all_finite(x_bld, ok_bl)]
  relative = prepared.relative_hkw or [None] * len(model.blocks)
  layers = zip(model.blocks, prepared.blocks, tokens.blocks, relative, strict=True)
  for block, constant, own, relative_hkw in layers:
    x_bld, own = _append_block(block, x_bld, now, constant, own, relative_hkw)
    blocks.append(own)
    finite.append(all_finite(x_bld, ok_bl))
  hidden_bld = model.final_norm(x_bld) if model.config.final_norm else x_bld
  return Tokens(
    count_b=now.count_b + active_b.astype(now.count_b.dtype),
    hidden_bd=jnp.where(ok_bl, hidden_bld[:, 0], tokens.hidden_bd),
    blocks=tuple(blocks),
    finite_bi=tokens.finite_bi & jnp.stack(finite, axis=1),
  )


def _append_block(
  block: Block,
  x_bld: Array,
  now: _Now,
  prepared: BlockPrepared,
  tokens: BlockTokens,
  relative_hkw: Array | None,
) -> tuple[Array, BlockTokens]:
  attention, ok_bl = block.attention, now.active_b[:, None]
  h_bld, offset_bl = block.attention_input(x_bld), now.count_b[:, None].astype(jnp.float32)
  q_blhk, (k_blhk, v_blhk) = attention.queries(h_bld), attention.project(h_bld)
  own = KeyValues.of(attention.placed(k_blhk, -offset_bl), v_blhk)
  kv = tokens.kv.put(own, block.config.short_term_length + now.count_b)
  read = block.memory.answer(prepared.memory, Segment(q_blhk=q_blhk, ok_bl=ok_bl, offset_bl=offset_bl))
  parts = [_window(block, kv, now, relative_hkw)]
  parts += [_slots(attention, slots, offset_bl) for slots in prepared.slots]
  queries = attention.ask(q_blhk, offset_bl, now.biases)
  out_bld = attention.attend(queries, parts, read.gated)
  if read.added_bld is not None:
    out_bld = out_bld + read.added_bld.astype(out_bld.dtype)
  joined_bld = block.joined(x_bld[:, None], out_bld[:, None], keys_bs=None)[:, 0]
  received = tokens.received
  if received is not None:
    width = parts[0].ok_bm.shape[1]
    received = received.accumulate(attention_core.sum_received(queries, parts, ok_bl, width=width))
  tokens = BlockTokens(
    x_bld=put(tokens.x_bld, x_bld, now.count_b, axis=0),
    kv=kv,
    stats=jax.tree.map(jnp.add, tokens.stats, read.stats),
    received=received,
  )
  return joined_bld, tokens


def _window(block: Block, kv: KeyValues, now: _Now, relative_hkw: Array | None) -> Part:
  """The keys of the short-term memory, and of the segment up to its newest token."""
  length = block.config.segment_length
  own_bl = jnp.arange(length, dtype=now.count_b.dtype)[None] <= now.count_b[:, None]
  ok_bw = jnp.concatenate([block.timeline.in_document(now.since_b), own_bl], axis=1)
  part = _part(block.attention, kv, block.attention.ages(ok_bw.shape[1]), ok_bw)
  if relative_hkw is None:
    return part
  relative = Relative(r_mhk=relative_hkw.transpose(2, 0, 1), after_bl=(length - 1) - now.count_b[:, None])
  return dataclasses.replace(part, position=relative)


def _slots(attention: Attention, slots: OpenSlots, offset_bl: Array) -> Part:
  part = _part(attention, slots.kv, slots.age_bm, slots.ok_bm, window='block')
  if not isinstance(part.position, Aged):
    return part
  of_offset_bld = attention.sinusoids(offset_bl)
  term = dataclasses.replace(part.position, of_offset_bld=of_offset_bld, of_age_bmd=slots.of_age_bmd)
  return dataclasses.replace(part, position=term)


def _part(
  attention: Attention, kv: KeyValues, age_bm: Array, ok_bm: Array, window: WindowKind | None = None
) -> Part:
  part = attention.placed_keys(*kv.by_row(len(ok_bm)), age_bm, ok_bm, window=window)
  return dataclasses.replace(part, finite=True)
