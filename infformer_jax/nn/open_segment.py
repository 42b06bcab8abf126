"""Generation token by token: every row has an open segment, to which nn/append_token.py appends.

Opening a segment empties and writes the memories as a chunk does, and computes what stays constant while the
segment is open, `Prepared`. A token changes only `Tokens`. A full segment becomes part of the cache when the
next one opens. The results are those of the forward pass over the whole document.
"""

import dataclasses

import jax
import jax.numpy as jnp

from infformer_jax.core.pytree import pytree
from infformer_jax.nn.attention import Attention
from infformer_jax.nn.attention_received import ReceivedAttention
from infformer_jax.nn.block import Block, BlockState
from infformer_jax.nn.key_values import KeyValues
from infformer_jax.nn.transformer import ModelState, Transformer
from infformer_jax.types import Array, Past, PyTree, Segment, Slots


@pytree
class OpenSlots:
  """`Slots` of the long memory, placed."""

  kv: KeyValues
  age_bm: Array
  ok_bm: Array
  of_age_bmd: Array | None  # their sinusoids, where the positions need them


@pytree
class BlockPrepared:
  """What stays constant in one layer while a segment is open."""

  memory: PyTree  # of `Memory.prepare`
  slots: tuple[OpenSlots, ...]


@pytree
class BlockTokens:
  """What the tokens of the open segment change in one layer. What is stored for later tokens is arbitrary."""

  x_bld: Array  # the layer's inputs
  kv: KeyValues  # of the short-term memory and the segment, w = M + l
  stats: PyTree  # the sum of the long memory's `Read.stats`
  received: ReceivedAttention | None  # as BlockState's, of the cache and of the open segment


@pytree
class Prepared:
  """What stays constant while a segment is open."""

  state: ModelState  # caches before this segment; memories written
  blocks: tuple[BlockPrepared, ...]
  # Attention.relative of every layer, with the layout of KeyValues. It has no rows and is the same in all
  # segments. Empty where the positions are not Transformer-XL's.
  relative_hkw: tuple[Array, ...]


@pytree
class Tokens:
  """What the tokens of the open segment change."""

  count_b: Array  # int32, tokens so far, at most l
  hidden_bd: Array  # of the newest token, the input of `Vocabulary.logits`
  blocks: tuple[BlockTokens, ...]
  # bool: whether the embeddings (i = 0) and the outputs of layer i - 1 of all tokens that were appended are
  # finite
  finite_bi: Array


@pytree
class Open:
  """An open segment of every row."""

  prepared: Prepared
  tokens: Tokens


def open_segment(model: Transformer, state: ModelState, new_doc_b: Array) -> Open:
  """Opens the next segment in every row.

  Args:
    state: after the last whole segment.
    new_doc_b: rows that start a document.
  """
  relative: tuple[Array, ...] = ()
  if model.config.positions == 'xl':
    width = model.config.short_term_length + model.config.segment_length
    relative = tuple(block.attention.relative(width).transpose(1, 2, 0) for block in model.blocks)
  return _opened(model, state, new_doc_b, relative)


def renew(model: Transformer, opened: Open) -> Open:
  """Moves the segments of the full rows into their caches and opens the next ones."""
  length = model.config.segment_length
  prepared, tokens = opened.prepared, opened.tokens
  full_b = tokens.count_b == length

  def choose(new: PyTree, old: PyTree) -> PyTree:
    def rows(new: Array, old: Array) -> Array:  # Rows, or rows and heads, are the first axis.
      where = jnp.repeat(full_b, len(new) // len(full_b))
      return jnp.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(rows, new, old)

  def closed(block: Block, state: BlockState, own: BlockTokens) -> BlockState:
    memory = block.memory.observe(state.memory, own.stats)
    cache_btd = state.cache_btd
    if cache_btd is not None:
      cache_btd = jnp.concatenate([cache_btd, own.x_bld], axis=1)[:, length:]
    received = None if own.received is None else own.received.close(length)
    return BlockState(cache_btd=cache_btd, memory=memory, received=received)

  before, increment_b = prepared.state, full_b.astype(jnp.int32)
  state = ModelState(
    segments_b=before.segments_b + increment_b,
    index_b=before.index_b + increment_b,
    blocks=tuple(map(closed, model.blocks, before.blocks, tokens.blocks)),
  )
  new = _opened(model, state, jnp.zeros_like(full_b), prepared.relative_hkw)
  new_tokens = dataclasses.replace(new.tokens, hidden_bd=tokens.hidden_bd, finite_bi=tokens.finite_bi)
  state, blocks, tokens = choose(
    (new.prepared.state, new.prepared.blocks, new_tokens), (before, prepared.blocks, tokens)
  )
  return Open(prepared=dataclasses.replace(prepared, state=state, blocks=blocks), tokens=tokens)


def _opened(model: Transformer, state: ModelState, new_doc_b: Array, relative: tuple[Array, ...]) -> Open:
  since_b = jnp.where(new_doc_b, 0, state.segments_b)
  batch, dtype, positions_td = len(since_b), jnp.dtype(model.config.compute_dtype), model.positions()
  states, prepared, tokens = zip(
    *[
      _open_block(block, block_state, since_b, new_doc_b, positions_td)
      for block, block_state in zip(model.blocks, state.blocks, strict=True)
    ],
    strict=True,
  )
  state = ModelState(segments_b=since_b, index_b=state.index_b, blocks=states)
  return Open(
    prepared=Prepared(state=state, blocks=prepared, relative_hkw=relative),
    tokens=Tokens(
      count_b=jnp.zeros_like(since_b),
      hidden_bd=jnp.zeros((batch, model.config.d_model), dtype),
      blocks=tokens,
      finite_bi=jnp.ones((batch, len(states) + 1), bool),
    ),
  )


def _open_block(
  block: Block, state: BlockState, since_b: Array, new_doc_b: Array, positions_td: Array | None
) -> tuple[BlockState, BlockPrepared, BlockTokens]:
  config, attention, timeline, memory = block.config, block.attention, block.timeline, block.memory
  batch, length, project = len(since_b), config.segment_length, attention.project
  dtype = jnp.dtype(config.compute_dtype)
  x_bld = past_bld = jnp.zeros((batch, length, config.d_model), dtype)
  residual_bld = None
  k_bwhk = v_bwhk = jnp.zeros((batch, length, config.kv_heads, config.width_of_head), dtype)
  if state.cache_btd is not None:
    h_btd = block.attention_input(state.cache_btd)
    if timeline.lag:
      past_bld = h_btd[:, timeline.past]
      residual_bld = state.cache_btd[:, timeline.past] if memory.traits.uses_residual else None
    if short := config.short_term_length:
      k_bmhk, v_bmhk = block.window.of_cache(state.cache_btd, h_btd, since_b, positions_td)
      k_bmhk = attention.placed(k_bmhk, attention.ages(short + length)[:, :short])
      k_bwhk = jnp.concatenate([k_bmhk, k_bwhk], axis=1)
      v_bwhk = jnp.concatenate([v_bmhk, v_bwhk], axis=1)
  past = Past(x_bld=past_bld, whole_b=timeline.has_past(since_b), residual_bld=residual_bld)
  received = state.received
  if received is not None:
    past = dataclasses.replace(past, received_bl=received.past(timeline))
    received = received.extend(length)
  written = memory.write(memory.reset(state.memory, new_doc_b), past, project, key_b=None)
  constant = memory.prepare(written, project)
  # The slots do not depend on the query.
  nothing = Segment(
    q_blhk=jnp.zeros((batch, 1, config.num_heads, config.width_of_head), dtype),
    ok_bl=jnp.zeros((batch, 1), bool),
    offset_bl=jnp.zeros((batch, 1), jnp.float32),
  )
  read = memory.answer(constant, nothing)
  slots = tuple(_open_slots(attention, slots) for slots in read.slots)
  prepared = BlockPrepared(memory=constant, slots=slots)
  tokens = BlockTokens(
    x_bld=x_bld,
    kv=KeyValues.of(k_bwhk, v_bwhk),
    stats=jax.tree.map(jnp.zeros_like, read.stats),
    received=received,
  )
  return dataclasses.replace(state, memory=written), prepared, tokens


def _open_slots(attention: Attention, slots: Slots) -> OpenSlots:
  ok_bm11 = slots.ok_bm[:, :, None, None]
  k_bmhk = attention.placed(jnp.where(ok_bm11, slots.k_bmhk, 0), slots.age_bm)
  kv = KeyValues.of(k_bmhk, jnp.where(ok_bm11, slots.v_bmhk, 0))
  age_bm, of_age_bmd = jnp.broadcast_to(slots.age_bm, slots.ok_bm.shape), None
  if attention.config.positions == 'xl':
    of_age_bmd = attention.sinusoids(age_bm)
  return OpenSlots(kv=kv, age_bm=age_bm, ok_bm=slots.ok_bm, of_age_bmd=of_age_bmd)
